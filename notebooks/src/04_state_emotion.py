# %% [markdown]
# # 04 · Measure how context bends a word
#
# **What you will do.** Build the *state embedding*, which says towards which of 32 emotions a word leans where it stands; rebuild
# Figure 1 of the paper; and find out by experiment which part of a word's state comes from where.
#
# **What you will learn.** State inclination and its cosine, Eqs. (5) to (9); what the equations can show and what they cannot; how
# to take a claim apart by changing one thing at a time.
#
# **What you need.** Lesson 02 (traits) and 03 ($E_C$, $H_C$, encoders). About 70 minutes.
#
# *Paper: Sec. 1 (Figure 1) and 3.4.2. Library: `model/emotion`.*

# %%
import numpy as np
import torch
import torch.nn.functional as F
from ctsm_lib.batches import context_batch
from ctsm_lib.corpus import CLS, EMOTIONS, PAD, SYS, USR, tokenize
from ctsm_lib.knowledge import empty_inference
from ctsm_lib.model import CTSM
from ctsm_workbench.course import checks, lessons
from ipywidgets import Dropdown, Text

lessons.begin("state")

# %% [markdown]
# Training makes the difference in this lesson, so we need a model before it and the same model after it: same seed, same words.

# %%
prepared, run = lessons.data(), lessons.trained_run()
vocabulary = run.vocabulary
torch.manual_seed(run.config.seed)
untrained = CTSM(run.config, prepared.tables(run.config)).eval()
models = {"before": untrained, "after": run.model}
torch.set_grad_enabled(False)
print(lessons.describe())
print(
    f"after {run.iteration} iterations: {run.facts.get('acc', float('nan')):.1f} % of the dev emotions right, of 32"
)

# %% [markdown]
# Keep the last number in mind. Whatever this model says about emotions, it is worth that much; a model that was trained for a night says
# more (`CTSM_RUN` chooses another).
#
# ## 1 · One word, two contexts
#
# The paper opens with a word that everybody takes for a happy one:
#
# > A. Christmas is coming and I'm so **excited** to get my dream gift.
# >
# > B. I was too **excited** to shake my legs before bungee jumping.
#
# Its **trait**, lesson 02, is the same in both. That is the left half of Figure 1:

# %%
A = "Christmas is coming and I'm so excited to get my dream gift."
B = "I was too excited to shake my legs before bungee jumping."
for name, text in (("A", A), ("B", B)):
    tokens = tokenize(text)
    unknown = [word for word in tokens if word not in vocabulary]
    print(
        f"{name}: excited is token {tokens.index('excited') + 1}; words the model does not know: {unknown}"
    )
vad = prepared.lexicon.ratings["excited"]
lessons.show(
    lessons.bars(
        {"context A": vad, "context B": vad},
        ["valence", "arousal", "dominance"],
        "Figure 1 (a): the trait of “excited”",
        "rating",
    ),
    "Pairs of equal bars: a lexicon has one entry for a word and does not read the sentence.",
)

# %% [markdown]
# The right half of the figure is the claim of this lesson: in A "excited" leans to happiness and anticipation, in B to terror and anxiety. We
# build what the paper builds, and then look whether it does that.
#
# ## 2 · State inclination
#
# The 32 emotion labels are words, so they have vectors in the same table as every token. Two linear maps bring both into one space, and the
# **cosine** there says how far a token leans towards a label:
#
# $$ \tilde E_e = W_1 E_e + b_1 \quad (5) \qquad \tilde E_C = W_2 E_C + b_2 \quad (6) \qquad V_{cos} = \cos(\tilde E_C, \tilde E_e^{\top}) \quad (7) $$
#
# | | shape | |
# |---|---|---|
# | $E_e$ | 32 x d | vectors of the label words |
# | $E_C$ | B x L x d | embedding of the context: word + speaker + position |
# | $V_{cos}$ | B x L x 32 | from -1 (turned away) over 0 (indifferent) to 1 |
#
# The labels here are the *words*, all 32 of them, the same for each dialogue. The label of the dialogue is not among the inputs.

# %% [markdown]
# ### Exercise 4.1 · State inclination
#
# **Goal:** Eq. (7): the cosine of each token with each emotion, zero at PAD. **Difficulty:** ★★ **Minutes:** 10
#
# <details><summary>Hint</summary>
#
# A cosine is the product of two vectors of length 1. `F.normalize(x, dim=-1)` brings vectors to length 1 and leaves a zero vector zero. All
# products at once are a matrix product with a transpose.
#
# </details>


# %%
def state_inclination(tokens, emotions, mask):
    """V_cos [B, L, K] from tokens [B, L, D], emotions [K, D], mask [B, L]."""
    ### BEGIN SOLUTION
    cosine = F.normalize(tokens, dim=-1) @ F.normalize(emotions, dim=-1).T
    return cosine * mask.unsqueeze(-1)
    ### END SOLUTION


# %%
checks.state_inclination(state_inclination)

# %% [markdown]
# With the trained weights, in the open, and then compared with the library:

# %%
from ctsm_lib.model.emotion import state_inclination


def batch_of(*texts):
    """A batch of one-turn dialogues; what follows does not read commonsense."""
    nothing = [empty_inference()] * len(texts)
    return context_batch(
        [[text] for text in texts], nothing, vocabulary, run.config.max_context
    )


batch = batch_of(A, B)
mask = batch.context != PAD
model = models["after"]
read = model.read(batch)
labels = model.embed.look_up({"labels": model.labels})["labels"]  # 32 d
W_1, W_2 = model.emotion.inclination.emotion_words, model.emotion.inclination.tokens
E_e = labels @ W_1.weight.T + W_1.bias  # Eq. (5)
E_C = read["E_C"] @ W_2.weight.T + W_2.bias  # Eq. (6)
V_cos = state_inclination(E_C, E_e, mask)  # Eq. (7)
trait_width = model.emotion.trait_width  # 14: the library has [V_t ; V_s] in one tensor
torch.testing.assert_close(V_cos, read["V_ts"][..., trait_width : trait_width + 32])
print("V_cos", list(V_cos.shape), f"from {V_cos[mask].min():.2f} to {V_cos[mask].max():.2f}")

# %%
words = ["CLS", *tokenize(A)]
lessons.show(
    lessons.heatmap(
        V_cos[0, : len(words)], words, EMOTIONS, "State inclination in context A", middle=0
    ),
    "Each row is a token, each column an emotion. Orange leans towards it, blue away from it; rows that look alike are words that lean alike.",
)

# %% [markdown]
# ## 3 · Figure 1, rebuilt
#
# Now the row of "excited" from both contexts, before training and after it.


# %%
def excited(text, model, part="V_cos", start=0, speaker=None, word="excited"):
    """A part of the state of `word` in a text: "V_cos" [32], "context" [10] or "H_s" [43]."""
    batch = batch_of(text)
    if speaker is not None:
        batch.speaker = torch.where(batch.speaker == USR, speaker, batch.speaker)
    place = tokenize(text).index(word) + 1
    return {name: states[0, place] for name, states in state(batch, model, start).items()}[part]


def state(batch, model, start=0):
    """The parts of the state of all tokens; `start` is the place of the first one."""
    mask = batch.context != PAD
    ids = {"context": batch.context, "speaker": batch.speaker, "labels": model.labels}
    found = model.embed.look_up(ids)
    E_C = model.embed(found["context"], found["speaker"], start)
    H_C = model.encoder(E_C, mask)
    features = model.vad[batch.context], model.idf[batch.context].unsqueeze(-1)
    embedding, encoded = model.emotion(H_C, E_C, found["labels"], *features, mask)
    V_s, H_s = embedding[..., -43:], encoded[..., -43:]
    return {"V_cos": V_s[..., :32], "context": V_s[..., 33:], "H_s": H_s}


torch.testing.assert_close(state(batch, model)["V_cos"], V_cos)
torch.testing.assert_close(state(batch, model)["H_s"], read["H_ts"][..., -43:])

# %%
rows, names = [], []
for when, chosen in models.items():
    for name, text in (("A", A), ("B", B)):
        rows.append(excited(text, chosen))
        names.append(f"{name}, {when} training")
figure = lessons.heatmap(
    torch.stack(rows), names, EMOTIONS, "Figure 1 (c): V_cos of “excited”", middle=0
)
lessons.show(
    figure.update_layout(height=330),
    "Compare the rows in pairs: A with B before training, A with B after it. The rows of a pair are nearly the same.",
)

# %%
for when, chosen in models.items():
    change = excited(A, chosen) - excited(B, chosen)
    distance = 1 - F.cosine_similarity(excited(A, chosen), excited(B, chosen), dim=0)
    order = change.argsort()
    print(f"{when}: distance of A and B {distance:.3f} (0 the same direction, 1 unrelated)")
    print(
        "  more in A:", ", ".join(f"{EMOTIONS[i]} {change[i]:+.2f}" for i in order.flip(0)[:4])
    )
    print("  more in B:", ", ".join(f"{EMOTIONS[i]} {-change[i]:+.2f}" for i in order[:4]))

# %% [markdown]
# There is a difference, and one could be tempted to read it: some labels rise in A, others in B. Before you read it, ask **where it can come from**.
#
# Look at Eq. (6) again. It takes $E_C$, the embedding, not $H_C$, the encoded context. In $E_C$ a token's row is the sum of its word, its speaker and
# its place. Christmas is in another row, and so is bungee jumping. Both sentences are said by the speaker. What remains is that "excited" stands at
# another place. If that is so, the difference must vanish when it stands at the same place:

# %%
A_same = "I'm so excited to get my dream gift. Christmas is coming."  # A, reordered
for name, text in (("A", A), ("A reordered", A_same), ("B", B)):
    print(f"{name:12} excited at place {tokenize(text).index('excited') + 1}")
for when, chosen in models.items():
    change = (excited(A_same, chosen) - excited(B, chosen)).abs().max()
    print(f"{when}: largest difference of V_cos between A reordered and B: {change:.7f}")

# %% [markdown]
# It vanishes, to the last digits of floating point. Training cannot change that: there is no way from the neighbours into $V_{cos}$.
#
# > **What is printed, and what it can do.** The paper calls $V_{cos}$ a *dynamic* inclination and draws it as a heat map that differs between contexts.
# > With Eq. (6) as printed, two things other than the word can move it: who speaks and at which place. What the difference says about Christmas
# > and bungee jumping is nothing. We keep the printed equation: it is the specification of the model whose scores the paper reports, and the
# > context has another way into the state, as the next section shows. If you want to try $H_C$ in Eq. (6), it is one argument in
# > `EmotionEncoding.forward`.

# %% [markdown]
# ## 4 · State embedding and state encoder
#
# $V_{cos}$ is joined by the IDF and by the ten numbers of compressed context that the trait embedding has, too; then an encoder of its own lets the tokens see
# each other:
#
# $$ V_s = [\,V_{cos} ; \mathrm{IDF} ; \tilde H_C\,] \quad (8) \qquad\qquad H_s = \mathrm{Encoder}_s(V_s) \quad (9) $$
#
# | | shape | context comes in through |
# |---|---|---|
# | $V_{cos}$ | B x L x 32 | speaker and place only |
# | IDF | B x L x 1 | nothing |
# | $\tilde H_C = W_C H_C$ | B x L x 10 | attention of the context encoder |
# | $V_s$ | B x L x **43** | |
# | $H_s$ | B x L x **43** | attention over all $V_s$ |

# %% [markdown]
# ### Exercise 4.2 · State embedding
#
# **Goal:** Eqs. (5) to (8) in one function. **Difficulty:** ★★ **Minutes:** 15
#
# <details><summary>Hint</summary>
#
# Weights are stored as PyTorch stores them, [out, in]: `x @ w.T + b`. The first map belongs to the labels, the second to the tokens. You may
# call the `state_inclination` of the cell above.
#
# </details>


# %%
def state_embedding(embedded, labels, w1, b1, w2, b2, idf, meaning, mask):
    """V_s [B, L, 43]: embedded [B, L, D], labels [32, D], idf [B, L], meaning [B, L, 10], mask [B, L]."""
    ### BEGIN SOLUTION
    cosine = state_inclination(embedded @ w2.T + b2, labels @ w1.T + b1, mask)
    return torch.cat([cosine, idf.unsqueeze(-1), meaning], dim=-1) * mask.unsqueeze(-1)
    ### END SOLUTION


# %%
checks.state_embedding(state_embedding)

# %% [markdown]
# In the open with the trained weights: ours equals the library's, both the embedding and its encoding.

# %%
idf = model.idf[batch.context].unsqueeze(-1)
meaning = read["H_C"] @ model.emotion.compress.weight.T  # Eq. (3)
V_s = torch.cat([V_cos, idf, meaning], dim=-1) * mask.unsqueeze(-1)  # Eq. (8)
H_s = model.emotion.state_encoder(V_s, mask) * mask.unsqueeze(-1)  # Eq. (9)
torch.testing.assert_close(V_s, read["V_ts"][..., trait_width:])
torch.testing.assert_close(H_s, read["H_ts"][..., trait_width:])
print("V_s", list(V_s.shape), " H_s", list(H_s.shape), "equal the library's.")

# %% [markdown]
# ## 5 · One change at a time
#
# What moves the state of "excited", and which part of it? We start from the reordered A and change one thing: the place, the speaker, the
# neighbours (context B), and for comparison the word itself. A bar is the distance (1 - cosine) from where we started.


# %%
def distances(model):
    """For each change: how far V_cos, the compressed context and H_s move."""
    changes = {
        "place: 8, not 4": dict(text=A_same, start=4),
        "said by the listener": dict(text=A_same, speaker=SYS),
        "neighbours of B": dict(text=B),
        "“terrified” instead": dict(
            text=A_same.replace("excited", "terrified"), word="terrified"
        ),
    }
    moved = {}
    for part, name in (("V_cos", "V_cos"), ("context", "compressed context"), ("H_s", "H_s")):
        base = excited(A_same, model, part)
        after = [excited(model=model, part=part, **change) for change in changes.values()]
        moved[name] = [float(1 - F.cosine_similarity(base, x, dim=0)) for x in after]
    return moved, list(changes)


captions = {
    "before": "Random weights: the neighbours give V_cos no bar at all, because it cannot see them.",
    "after": "Training gives V_cos no eyes either. Compare the other two bars of the neighbours with those above.",
}
for when, chosen in models.items():
    moved, changes = distances(chosen)
    title = f"What moves the state of “excited”, {when} training"
    lessons.show(lessons.bars(moved, changes, title, "distance"), captions[when])

# %% [markdown]
# So context does bend a word in CTSM, by another door: $\tilde H_C$ brings in what the context encoder read, and the state encoder mixes
# all tokens' states. Compare the heights before and after training; how much of the bend was there with random weights?
#
# How much the *place* moves $V_{cos}$ depends on how loud the position is beside the word (`embedding_scale`, lesson 03).

# %%
signal = model.embed(torch.zeros(1, 16, run.config.dim))[0]  # nothing but position
step = ((signal[8] - signal[4]) @ W_2.weight.T).norm()
whole = (read["E_C"][mask] @ W_2.weight.T).norm(dim=-1).mean()
print(
    f"after W_2, tokens are {whole:.1f} long; going from place 4 to 8 moves them by {step:.1f}"
)

# %% [markdown]
# ## 6 · Can we read H_s as emotions?
#
# $V_{cos}$ has a column for each label. $H_s$ has 43 columns without names. But the encoder *adds* to its input (lesson 03), so the first 32
# columns might still mean what they meant in $V_{cos}$. Over the tokens of some dialogues, column by column:

# %%
pairs = prepared.pairs["train"]
dialogue = pairs.split.pairs[:, 5]
last = np.flatnonzero(np.append(dialogue[1:] != dialogue[:-1], True))[:300]  # whole dialogues
some = pairs.collate(last)
real = (some.context != PAD) & (some.context != CLS)
states = {}
for when, chosen in models.items():
    states[when] = {part: x[real] for part, x in state(some, chosen).items()}
print(f"{len(last)} dialogues, {int(real.sum()):,} tokens")
for when, parts in states.items():
    both = torch.stack([parts["V_cos"], parts["H_s"][:, :32]])
    z = (both - both.mean(dim=1, keepdim=True)) / both.std(dim=1, keepdim=True)
    correlation = (z[0] * z[1]).mean(dim=0).mean()
    print(
        f"{when}: correlation of a column of V_cos with the same one of H_s: {correlation:.2f}"
    )

# %% [markdown]
# 1 would mean that nothing was lost, 0 that the column has become something else. The further from 1, the less a column of $H_s$ may be called
# by the name of a label; nothing in the training asks it to keep that meaning. A heat map of $H_s$ with labels below it would be a picture of
# names, not of emotions.
#
# There is an honest way to names. The student of lesson 05 reads $H_s$ and gives a probability to each of the 32 labels. So we can ask what a token's
# state *does*: by how much would $\log P(\mathrm{emotion})$ fall if this token had an average state instead of its own?


# %%
def influence(text, when):
    """[L, 32] what the H_s of each token adds to the log-probability of each emotion."""
    model, average = models[when], states[when]["H_s"].mean(dim=0)
    read = model.read(batch_of(text))
    n = read["mask"].shape[1]
    own = torch.cat([read["H_stu"], read["H_ts"]], dim=-1)
    own = own.expand(n, -1, -1)  # a copy for each token
    hidden = own.clone()
    hidden[range(n), range(n), -43:] = average  # and in each copy one token without its state
    guide = read["intensity"].expand(n, -1), read["mask"].expand(n, -1)
    with_it, without = (model.student(x, *guide)[0].log_softmax(dim=-1) for x in (own, hidden))
    return with_it - without


# %%
rows, names = [], []
for when in models:
    for name, text in (("A", A), ("B", B)):
        rows.append(influence(text, when)[tokenize(text).index("excited") + 1])
        names.append(f"{name}, {when} training")
title = "Figure 1 (c) again: what the state of “excited” does to each emotion"
lessons.show(
    lessons.heatmap(torch.stack(rows), names, EMOTIONS, title, middle=0).update_layout(
        height=330
    ),
    "Orange: this state makes the emotion likelier, blue: less likely. Compare A with B before training, then after it.",
)

# %% [markdown]
# The rows differ, but two things could be the reason: the *state* of "excited" in A and B, or everything else around it, since the student judges
# whole contexts. So we transplant: context B stays as it is, and only its "excited" gets the state that the word had in A.


# %%
def transplant(when):
    """[32] relative change of the probabilities of context B if its "excited" had its state from A."""
    model, read = models[when], models[when].read(batch_of(A, B))
    places = [tokenize(text).index("excited") + 1 for text in (A, B)]
    own = torch.cat([read["H_stu"], read["H_ts"]], dim=-1)
    changed = own.clone()
    changed[1, places[1], -43:] = own[0, places[0], -43:]
    guide = read["intensity"], read["mask"]
    chances = [model.student(x, *guide)[0][1].log_softmax(dim=-1) for x in (changed, own)]
    return (chances[0] - chances[1]).expm1()


for when in models:
    change = transplant(when)
    order = change.argsort(descending=True)
    print(f"{when}: the probability of a label changes by {change.abs().mean():.1%}")
    print("  more:", ", ".join(f"{EMOTIONS[i]} {change[i]:+.1%}" for i in order[:5]))
    print("  less:", ", ".join(f"{EMOTIONS[i]} {change[i]:+.1%}" for i in order.flip(0)[:5]))

# %% [markdown]
# This is what context adds to one word by way of $H_s$, with nothing else changed. Whether it says the right thing, joy for A's state and fear for B's,
# depends on the model's training; look at the accuracy at the top before you take the names at their word.

# %% [markdown]
# And the student's prediction for the two whole contexts:

# %%
chances = model.encode(batch).emotion_logits.softmax(dim=-1)
order = chances.sum(dim=0).argsort(descending=True)[:10]
values = {name: chances[i, order].tolist() for i, name in enumerate(("context A", "context B"))}
lessons.show(
    lessons.bars(values, [EMOTIONS[i] for i in order], "What the student hears", "probability"),
    "Where the two colours differ, the model hears different feelings. How far to trust it says the accuracy at the top.",
)

# %% [markdown]
# ## 7 · Which words are bent most?
#
# One word in two sentences is an anecdote. Over many dialogues, a word's **bend** is the mean distance (1 - cosine) between two of its occurrences.
# Going over all pairs is slow: "i" occurs thousands of times. There is a shortcut. For unit vectors $u_1, \dots, u_n$
#
# $$ \lVert \sum_i u_i \rVert^2 = n + 2 \sum_{i < j} u_i \cdot u_j $$
#
# so the sum over all pairs follows from one sum over all occurrences.

# %% [markdown]
# ### Exercise 4.3 · How far a word is bent
#
# **Goal:** the bend of every word at once, with the shortcut. **Difficulty:** ★★★ **Minutes:** 25
#
# <details><summary>Hint</summary>
#
# `torch.zeros(size, W).index_add(0, words, unit)` sums the rows of each word, `torch.bincount(words, minlength=size)` counts them. Words that
# occur less than twice have no pair: keep 0 / 0 away with `clamp(min=1)` and give them 0.
#
# </details>


# %%
def bend(states, words, size):
    """[size] mean cosine distance over pairs of occurrences; states [N, W], words [N] ids below size."""
    ### BEGIN SOLUTION
    unit = F.normalize(states, dim=-1)
    sums = torch.zeros(size, unit.shape[1]).index_add(0, words, unit)
    count = torch.bincount(words, minlength=size)
    between = (sums.square().sum(dim=-1) - count) / (count * (count - 1)).clamp(min=1)
    return torch.where(count > 1, 1 - between, 0.0)
    ### END SOLUTION


# %%
checks.bend(bend)

# %% [markdown]
# The library calls it `bending`. A bend needs something to compare it with: the distance between any two tokens, whatever their words.

# %%
from ctsm_lib.model.emotion import bending

ids = some.context[real]
count = torch.bincount(ids, minlength=len(vocabulary))
often = torch.nonzero(count >= 10).squeeze(1)
bends = {}
for when, parts in states.items():
    for part in ("V_cos", "H_s"):
        bent = bending(parts[part], ids, len(vocabulary))[often]
        anyone = bending(parts[part], torch.zeros_like(ids), 1)[0]
        bends[when, part] = bent / anyone
        print(
            f"{when:6} {part:5} bend of a word: {bent.mean() / anyone:.0%} of the distance between any two tokens"
        )

# %%
share = bends["after", "H_s"]
order = share.argsort(descending=True)
shown = torch.cat([order[:10], order[-10:]])
values = {part: bends["after", part][shown].tolist() for part in ("V_cos", "H_s")}
lessons.show(
    lessons.bars(
        values,
        [vocabulary.words[often[i]] for i in shown],
        "The most and the least bent words, after training",
        "share",
    ),
    "1 would be as different as two tokens of any words. V_cos moves with place and speaker alone; H_s mixes in the neighbours.",
)

# %% [markdown]
# Do the words at either end have something in common? A guess to test: words that name a feeling keep their own, words that hold a sentence together take
# what stands around them. The sample has too few dialogues to tell; real data and a longer training are the place to look.
#
# ## 8 · Your own contexts
#
# Type any sentence. Choose between $V_{cos}$ and what the student makes of $H_s$, before training or after.


# %%
def state_map(text: str = B, view: str = "influence (of H_s)", when: str = "after"):
    """Heat map of a text's tokens over the 32 emotions."""
    words = [vocabulary.words[i] for i in batch_of(text).context[0].tolist()]
    if view.startswith("influence"):
        values = influence(text, when)
    else:
        values = state(batch_of(text), models[when])["V_cos"][0]
    return lessons.heatmap(values, words, EMOTIONS, f"{view}, {when} training", middle=0)


lessons.show(
    state_map(),
    "Context B. Strong rows are the words that decide what the student hears; <unk> is a word that the model does not know.",
)

# %%
lessons.play(
    state_map,
    text=Text("I was terrified, then so relieved.", continuous_update=False),
    view=Dropdown(options=["influence (of H_s)", "inclination (V_cos)"]),
    when=Dropdown(options=["after", "before"]),
)

# %% [markdown]
# The **context explorer** puts a dialogue before and after a change side by side: edit a word, or leave out a turn. Its bars show where the
# teacher and the student look; they are the subject of lesson 05.

# %%
from ctsm_workbench import explorers as widgets

widgets.context_explorer(A.replace("excited", "worried"), run=run)

# %% [markdown]
# ## What you have now
#
# - $V_{cos}$: the cosine of every token with 32 emotion words, and an experiment that shows what it can see: word, speaker, place.
# - $V_s$ and $H_s$, 43 wide, in which context arrives: through $\tilde H_C$ and through the state encoder's attention.
# - Figure 1 of the paper, rebuilt, with what may be read off it and what may not.
#
# **Next:** lesson 05 gives $V_t$ and $V_s$ to a teacher, $H_t$ and $H_s$ to a student, and lets one learn from the other.
