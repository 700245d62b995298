# %% [markdown]
# # 04 · Measure how context changes a word
#
# **What you will do.** Build the *state embedding*, which measures how close each token is to
# each of 32 emotions; rebuild Figure 1 of the paper; and find out by experiment which parts of
# the state come from the context.
#
# **What you will learn.** State inclination and its cosine, Eqs. (5) to (9); what the equations
# can show and what they cannot; how to test a claim by changing one thing at a time.
#
# **What you need.** Lessons 02 (traits) and 03 ($E_C$, $H_C$, encoders). About 70 minutes.
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
# In this lesson, the *state* of a word always means its **state emotion**: the emotion that the
# word has in its context.
#
# We compare the model before and after training. The untrained model has the same seed and the
# same vocabulary as the trained one.

# %%
prepared, run = lessons.data(), lessons.trained_run()
vocabulary = run.vocabulary
torch.manual_seed(run.config.seed)
untrained = CTSM(run.config, prepared.tables(run.config)).eval()
models = {"before": untrained, "after": run.model}
torch.set_grad_enabled(False)
print(lessons.describe())
print(
    f"after {run.iteration} iterations:",
    f"{run.facts.get('acc', float('nan')):.1f} % of the dev emotions right, of 32",
)

# %% [markdown]
# Remember the last number. It is the accuracy of this model, and it limits how far you can
# trust what the model predicts about emotions. To use a model with a longer training or with
# more data, set `CTSM_RUN` to its folder.
#
# ## 1 · One word, two contexts
#
# The paper begins with a word that most people consider a happy one:
#
# > A. Christmas is coming and I'm so **excited** to get my dream gift.
# >
# > B. I was too **excited** to shake my legs before bungee jumping.
#
# Its ratings in the lexicon (its **trait**, lesson 02) are the same in both sentences. The left
# half of Figure 1 shows this:

# %%
A = "Christmas is coming and I'm so excited to get my dream gift."
B = "I was too excited to shake my legs before bungee jumping."
for name, text in (("A", A), ("B", B)):
    tokens = tokenize(text)
    unknown = [word for word in tokens if word not in vocabulary]
    print(
        f"{name}: excited is token {tokens.index('excited') + 1};",
        f"words that the model does not know: {unknown}",
    )
vad = prepared.lexicon.ratings["excited"]
lessons.show(
    lessons.bars(
        {"context A": vad, "context B": vad},
        ["valence", "arousal", "dominance"],
        "Figure 1 (a): the trait of “excited”",
        "rating",
    ),
    "The two bars of a pair are equal, because a lexicon has one entry for a word. This entry "
    "does not depend on the sentence.",
)

# %% [markdown]
# The right half of the figure is the claim of the paper that this lesson tests: in A, "excited"
# is close to happiness and anticipation, and in B, it is close to terror and anxiety. We build
# what the paper builds, and then we check whether it behaves like this.
#
# ## 2 · State inclination
#
# The 32 emotion labels are words, so they have vectors in the same table as every token. Two
# linear maps bring tokens and labels into one space. There, the **cosine** measures how
# strongly a token inclines towards a label:
#
# $$
# \tilde E_e = W_1 E_e + b_1 \quad (5) \qquad
# \tilde E_C = W_2 E_C + b_2 \quad (6) \qquad
# V_{cos} = \cos(\tilde E_C, \tilde E_e^{\top}) \quad (7)
# $$
#
# | part | shape | content |
# |---|---|---|
# | $E_e$ | 32 x d | vectors of the label words |
# | $E_C$ | B x L x d | embedding of the context: word + speaker + position |
# | $V_{cos}$ | B x L x 32 | -1: opposite direction, 0: unrelated, 1: same direction |
#
# The labels in these equations are the *words*, all 32 of them, and they are the same for each
# dialogue. The label of the dialogue is not an input.

# %% [markdown]
# ### Exercise 4.1 · State inclination
#
# **Goal:** write Eq. (7): the cosine of each token with each emotion, zero at PAD.
# **Difficulty:** ★★ **Minutes:** 10
#
# <details><summary>Hint</summary>
#
# The cosine of two vectors is their dot product after both have been scaled to length 1.
# `F.normalize(x, dim=-1)` scales vectors to length 1 and leaves a zero vector zero. One matrix
# product with a transposed matrix gives all dot products at once.
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
# We compute this step by step with the trained weights, and we compare the result with the
# library's:

# %%
from ctsm_lib.model.emotion import state_inclination


def batch_of(*texts):
    """A batch of dialogues of one turn each, without commonsense (this lesson needs none)."""
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
E_C = read.E_C @ W_2.weight.T + W_2.bias  # Eq. (6)
V_cos = state_inclination(E_C, E_e, mask)  # Eq. (7)
torch.testing.assert_close(V_cos, read.V_cos)
print("V_cos", list(V_cos.shape), f"from {V_cos[mask].min():.2f} to {V_cos[mask].max():.2f}")

# %%
words = ["CLS", *tokenize(A)]
lessons.show(
    lessons.heatmap(
        V_cos[0, : len(words)], words, EMOTIONS, "State inclination in context A", middle=0
    ),
    "Each row is a token, each column an emotion. Orange is a positive cosine, blue a negative "
    "one. Two similar rows are two words with similar inclinations.",
)

# %% [markdown]
# ## 3 · Figure 1, rebuilt
#
# Now we take the row of "excited" from both contexts, before and after training.


# %%
def excited(text, model, part="V_cos", start=0, speaker=None, word="excited"):
    """A part of the state of `word` in a text: "V_cos" [32], "context" [10] or "H_s" [43]."""
    batch = batch_of(text)
    if speaker is not None:
        batch.speaker = torch.where(batch.speaker == USR, speaker, batch.speaker)
    place = tokenize(text).index(word) + 1
    return {name: states[0, place] for name, states in state(batch, model, start).items()}[part]


def state(batch, model, start=0):
    """The parts of the state of all tokens; `start` is the position of the first one."""
    mask = batch.context != PAD
    ids = {"context": batch.context, "speaker": batch.speaker, "labels": model.labels}
    found = model.embed.look_up(ids)
    E_C = model.embed(found["context"], found["speaker"], start)
    H_C = model.encoder(E_C, mask)
    vad, idf = model.vad[batch.context], model.idf[batch.context].unsqueeze(-1)
    emotion = model.emotion(
        context=H_C, embedded=E_C, labels=found["labels"], vad=vad, idf=idf, mask=mask
    )
    return {"V_cos": emotion.V_cos, "context": emotion.V_s[..., 33:], "H_s": emotion.H_s}


torch.testing.assert_close(state(batch, model)["V_cos"], V_cos)
torch.testing.assert_close(state(batch, model)["H_s"], read.H_s)

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
    "Compare the rows in pairs: A with B before training, and A with B after training. How "
    "much do the two rows of a pair differ?",
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
# There is a difference: some labels have a higher value in A, others in B. It is tempting to
# interpret it. But first ask **where the difference can come from**.
#
# Look at Eq. (6) again. It takes the embedding $E_C$, not the encoded context $H_C$. In $E_C$,
# the row of a token is the sum of its word, its speaker and its position. The words "Christmas"
# and "bungee jumping" are in other rows, so they cannot change the row of "excited". Both
# sentences come from the speaker. One thing remains: "excited" is at a different position. If
# the position is the only cause, then the difference must vanish when the position is the same:

# %%
A_same = "I'm so excited to get my dream gift. Christmas is coming."  # A, reordered
for name, text in (("A", A), ("A reordered", A_same), ("B", B)):
    print(f"{name:12} excited at position {tokenize(text).index('excited') + 1}")
for when, chosen in models.items():
    change = (excited(A_same, chosen) - excited(B, chosen)).abs().max()
    print(f"{when}: largest difference of V_cos between A reordered and B: {change:.7f}")

# %% [markdown]
# The difference vanishes, up to the precision of the numbers. Training cannot change this,
# because $V_{cos}$ of a token does not depend on the neighbouring tokens at all.
#
# > **What the paper prints, and what it can show.** The paper calls $V_{cos}$ a *dynamic*
# > inclination and draws it as a heat map that differs between contexts. With Eq. (6) as
# > printed, only two things besides the word can change $V_{cos}$: the speaker and the
# > position. So the difference between A and B tells us nothing about Christmas or bungee
# > jumping.
# >
# > We keep the printed equation, because it is the specification of the model whose scores the
# > paper reports. The context can change the state in another way, as the next section shows.
# > To try $H_C$ in Eq. (6), you need to change only one argument in `EmotionEncoding.forward`.

# %% [markdown]
# ## 4 · State embedding and state encoder
#
# The state embedding joins $V_{cos}$, the IDF and the ten numbers of compressed context that
# are also part of the trait embedding. A separate encoder then lets each token attend to the
# state embeddings of all tokens:
#
# $$
# V_s = [\,V_{cos} ; \mathrm{IDF} ; \tilde H_C\,] \quad (8) \qquad\qquad
# H_s = \mathrm{Encoder}_s(V_s) \quad (9)
# $$
#
# | part | shape | how the context can change it |
# |---|---|---|
# | $V_{cos}$ | B x L x 32 | only by speaker and position |
# | IDF | B x L x 1 | not at all |
# | $\tilde H_C = W_C H_C$ | B x L x 10 | by the attention of the context encoder |
# | $V_s$ | B x L x **43** | by the parts above |
# | $H_s$ | B x L x **43** | also by the attention of the state encoder |

# %% [markdown]
# ### Exercise 4.2 · State embedding
#
# **Goal:** write Eqs. (5) to (8) in one function.
# **Difficulty:** ★★ **Minutes:** 15
#
# <details><summary>Hint</summary>
#
# Weights have PyTorch's shape, [out, in], so a linear map is `x @ w.T + b`. The first map is
# for the labels, the second one for the tokens. You may call the `state_inclination` of the
# cell above.
#
# </details>


# %%
def state_embedding(embedded, labels, w1, b1, w2, b2, idf, meaning, mask):
    """V_s [B, L, 43] from embedded E_C [B, L, D], labels E_e [32, D] and idf [B, L].

    `meaning` is the compressed context [B, L, 10]; mask [B, L] is True at real tokens.
    """
    ### BEGIN SOLUTION
    cosine = state_inclination(embedded @ w2.T + b2, labels @ w1.T + b1, mask)
    return torch.cat([cosine, idf.unsqueeze(-1), meaning], dim=-1) * mask.unsqueeze(-1)
    ### END SOLUTION


# %%
checks.state_embedding(state_embedding)

# %% [markdown]
# With the trained weights, our state embedding and its encoding equal the library's:

# %%
idf = model.idf[batch.context].unsqueeze(-1)
meaning = read.H_C @ model.emotion.compress.weight.T  # Eq. (3)
V_s = torch.cat([V_cos, idf, meaning], dim=-1) * mask.unsqueeze(-1)  # Eq. (8)
H_s = model.emotion.state_encoder(V_s, mask) * mask.unsqueeze(-1)  # Eq. (9)
torch.testing.assert_close(V_s, read.V_s)
torch.testing.assert_close(H_s, read.H_s)
print("V_s", list(V_s.shape), " H_s", list(H_s.shape), "equal the library's.")

# %% [markdown]
# ## 5 · One change at a time
#
# What changes the state of "excited", and which part of it? We start from the reordered A and
# change one thing at a time: the position, the speaker, the neighbours (context B), and, for
# comparison, the word itself. Each bar is the distance (1 - cosine) from the state that we
# started with.


# %%
def distances(model):
    """For each change: the distances that V_cos, the compressed context and H_s move."""
    changes = {
        "position 8, not 4": dict(text=A_same, start=4),
        "spoken by the listener": dict(text=A_same, speaker=SYS),
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
    "before": "Random weights. V_cos has no bar at the neighbours, because it does not depend "
    "on them. The speaker vectors are close to 0 before training, so the speaker changes "
    "little.",
    "after": "After training, V_cos still does not depend on the neighbours. Compare the other "
    "two bars of the neighbours with those above.",
}
for when, chosen in models.items():
    moved, changes = distances(chosen)
    title = f"Changes of the state of “excited”, {when} training"
    lessons.show(lessons.bars(moved, changes, title, "distance"), captions[when])

# %% [markdown]
# So the context does change the state of a word in CTSM, but not through $V_{cos}$. It changes
# the state through $\tilde H_C$, the compressed output of the context encoder, and through the
# attention of the state encoder. Compare the heights before and after training. How much of the
# change was already there with random weights?
#
# How much the *position* changes $V_{cos}$ depends on the length of the position signal
# relative to the word vector (`embedding_scale`, lesson 03):

# %%
signal = model.embed(torch.zeros(1, 16, run.config.dim))[0]  # the position signal alone
step = ((signal[8] - signal[4]) @ W_2.weight.T).norm()
whole = (read.E_C[mask] @ W_2.weight.T).norm(dim=-1).mean()
print(
    f"mean length of a token after W_2: {whole:.1f};",
    f"change from position 4 to position 8: {step:.1f}",
)

# %% [markdown]
# ## 6 · Can we interpret H_s as emotions?
#
# Each column of $V_{cos}$ belongs to a label. The 43 columns of $H_s$ have no names. But the
# encoder *adds* to its input (lesson 03), so the first 32 columns of $H_s$ might still have the
# meaning that they have in $V_{cos}$. To check this, we compute the correlation of each of
# these columns in $V_{cos}$ with the same column in $H_s$, over the tokens of some dialogues:

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
        f"{when}: mean correlation of a column of V_cos with the same one of H_s:",
        f"{correlation:.2f}",
    )

# %% [markdown]
# A correlation of 1 would mean that the columns have kept their meaning. A correlation of 0
# would mean that they have lost it. Nothing in the training requires a column of $H_s$ to keep
# its meaning. So if the correlation is far from 1, a heat map of $H_s$ with the labels below it
# would be misleading.
#
# There is a valid way to connect $H_s$ with the labels. The student network of lesson 05 reads
# $H_s$ and gives a probability to each of the 32 labels. So we can measure the *effect* of a
# token's state: by how much would $\log P(\mathrm{emotion})$ fall if this token had an average
# state instead of its own?


# %%
def influence(text, when):
    """[L, 32]: how much H_s of each token adds to the log-probability of each emotion."""
    model, average = models[when], states[when]["H_s"].mean(dim=0)
    read = model.read(batch_of(text))
    n = read.mask.shape[1]
    own = read.V_stu.expand(n, -1, -1)  # [H_stu ; H_ts], a copy for each token
    hidden = own.clone()
    hidden[range(n), range(n), -43:] = average  # each copy hides the state of one token
    guide = read.intensity.expand(n, -1), read.mask.expand(n, -1)
    with_it, without = (model.student(x, *guide)[0].log_softmax(dim=-1) for x in (own, hidden))
    return with_it - without


# %%
rows, names = [], []
for when in models:
    for name, text in (("A", A), ("B", B)):
        rows.append(influence(text, when)[tokenize(text).index("excited") + 1])
        names.append(f"{name}, {when} training")
title = "Figure 1 (c) again: the effect of the state of “excited” on each emotion"
lessons.show(
    lessons.heatmap(torch.stack(rows), names, EMOTIONS, title, middle=0).update_layout(
        height=330
    ),
    "Orange: the state of “excited” makes the emotion more probable. Blue: it makes the "
    "emotion less probable. Compare A with B before training, and then after training.",
)

# %% [markdown]
# The rows of A and B can differ for two reasons: because the *state* of "excited" differs, or
# because everything around it differs. The student network predicts from the whole context, so
# we must separate the two. We transplant the state: context B stays as it is, and only its
# "excited" gets the state that the word had in A.


# %%
def transplant(when):
    """[32] relative changes of B's probabilities if its "excited" had the state from A."""
    model, read = models[when], models[when].read(batch_of(A, B))
    places = [tokenize(text).index("excited") + 1 for text in (A, B)]
    own = read.V_stu  # [H_stu ; H_ts]
    changed = own.clone()
    changed[1, places[1], -43:] = own[0, places[0], -43:]
    guide = read.intensity, read.mask
    chances = [model.student(x, *guide)[0][1].log_softmax(dim=-1) for x in (changed, own)]
    return (chances[0] - chances[1]).expm1()


for when in models:
    change = transplant(when)
    order = change.argsort(descending=True)
    print(f"{when}: the probability of a label changes by {change.abs().mean():.1%}")
    print("  more:", ", ".join(f"{EMOTIONS[i]} {change[i]:+.1%}" for i in order[:5]))
    print("  less:", ", ".join(f"{EMOTIONS[i]} {change[i]:+.1%}" for i in order.flip(0)[:5]))

# %% [markdown]
# This experiment measures what the context adds to one word through $H_s$, with nothing else
# changed. Compare the two percentages. If the one after training is close to zero, the student
# network of this run makes almost no use of the state of "excited" in this sentence. If it is
# clearly larger, look at the names: a good model would connect A's state with joy and B's state
# with fear. How far you can trust the names depends on the accuracy at the top of this lesson.

# %% [markdown]
# Finally, these are the predictions of the student network for the two whole contexts:

# %%
chances = model.encode(batch).emotion_logits.softmax(dim=-1)
order = chances.sum(dim=0).argsort(descending=True)[:10]
values = {name: chances[i, order].tolist() for i, name in enumerate(("context A", "context B"))}
title = "Emotions predicted by the student network"
lessons.show(
    lessons.bars(values, [EMOTIONS[i] for i in order], title, "probability"),
    "Where the two colours differ, the model predicts different emotions for the two contexts. "
    "The accuracy at the top of this lesson tells you how far to trust the predictions.",
)

# %% [markdown]
# ## 7 · Which words does the context change most?
#
# One word in two sentences is only an example. Now we measure all words in many dialogues. For
# each word, we compute the mean distance (1 - cosine) between two of its occurrences. We call
# this number the **context variation** of the word: it measures how much the direction of its
# vector varies between contexts.
#
# A loop over all pairs of occurrences is slow, because a frequent word such as "i" has very
# many pairs. There is a faster way. For unit vectors $u_1, \dots, u_n$
#
# $$ \lVert \sum_i u_i \rVert^2 = n + 2 \sum_{i < j} u_i \cdot u_j $$
#
# so the sum over all pairs follows from one sum over all occurrences.

# %% [markdown]
# ### Exercise 4.3 · The context variation of a word
#
# **Goal:** compute the context variation of every word at once, with the equation above.
# **Difficulty:** ★★★ **Minutes:** 25
#
# <details><summary>Hint</summary>
#
# `torch.zeros(size, W).index_add(0, words, unit)` sums the rows of each word.
# `torch.bincount(words, minlength=size)` counts them. A word that occurs fewer than two times
# has no pair: avoid 0 / 0 with `clamp(min=1)` and give the word 0.
#
# </details>


# %%
def variation(states, words, size):
    """[size] mean cosine distances over all pairs of occurrences of a word.

    states [N, W] are the vectors of the occurrences; words [N] are their ids, below `size`.
    """
    ### BEGIN SOLUTION
    unit = F.normalize(states, dim=-1)
    sums = torch.zeros(size, unit.shape[1]).index_add(0, words, unit)
    count = torch.bincount(words, minlength=size)
    between = (sums.square().sum(dim=-1) - count) / (count * (count - 1)).clamp(min=1)
    return torch.where(count > 1, 1 - between, 0.0)
    ### END SOLUTION


# %%
checks.variation(variation)

# %% [markdown]
# The project's own function for this is `context_variation`. To interpret the number, we need
# something to compare it with: the mean distance between any two tokens, whatever their words
# are.

# %%
from ctsm_workbench.study.contexts.variation import context_variation

ids = some.context[real]
count = torch.bincount(ids, minlength=len(vocabulary))
often = torch.nonzero(count >= 10).squeeze(1)
variations = {}
for when, parts in states.items():
    for part in ("V_cos", "H_s"):
        same_word = context_variation(parts[part], ids, len(vocabulary))[often]
        any_two = context_variation(parts[part], torch.zeros_like(ids), 1)[0]
        variations[when, part] = same_word / any_two
        print(
            f"{when:6} {part:5} variation of a word:",
            f"{same_word.mean() / any_two:.0%} of the distance between any two tokens",
        )

# %%
share = variations["after", "H_s"]
order = share.argsort(descending=True)
shown = torch.cat([order[:10], order[-10:]])
values = {part: variations["after", part][shown].tolist() for part in ("V_cos", "H_s")}
lessons.show(
    lessons.bars(
        values,
        [vocabulary.words[often[i]] for i in shown],
        "The words that context changes most (left) and least (right), after training",
        "share",
    ),
    "At a share of 1, two occurrences of the word differ as much as any two tokens. V_cos "
    "depends only on word, position and speaker. H_s also depends on the neighbours.",
)

# %% [markdown]
# Do the words on the left have something in common? Do the words on the right? Here is a
# hypothesis that you can test: words that name a feeling keep their state, and function words
# take their state from their neighbours. The sample has too few dialogues for this test. Use
# real data and a longer training.
#
# ## 8 · Your own contexts
#
# Type any sentence. You can choose between $V_{cos}$ and the influence of $H_s$ on the student
# network, before or after training.


# %%
def state_map(text: str = B, view: str = "influence (of H_s)", when: str = "after"):
    """A heat map of a text's tokens and the 32 emotions."""
    words = [vocabulary.words[i] for i in batch_of(text).context[0].tolist()]
    if view.startswith("influence"):
        values = influence(text, when)
    else:
        values = state(batch_of(text), models[when])["V_cos"][0]
    return lessons.heatmap(values, words, EMOTIONS, f"{view}, {when} training", middle=0)


lessons.show(
    state_map(),
    "Context B. The rows with the strongest colours are the words whose states change the "
    "prediction most. <unk> is a word that the model does not know.",
)

# %%
lessons.play(
    state_map,
    text=Text("I was terrified, then so relieved.", continuous_update=False),
    view=Dropdown(options=["influence (of H_s)", "inclination (V_cos)"]),
    when=Dropdown(options=["after", "before"]),
)

# %% [markdown]
# The **context explorer** shows a dialogue before and after a change, side by side. You can
# edit a word or leave out a turn. Its bars show to which tokens the teacher and student
# networks attend. Lesson 05 explains these networks.

# %%
from ctsm_workbench import explorers as widgets

widgets.context_explorer(A.replace("excited", "worried"), run=run)

# %% [markdown]
# ## What you have now
#
# - You have $V_{cos}$, the cosine of every token with 32 emotion words, and an experiment that
#   shows what it depends on: word, speaker and position.
# - You have $V_s$ and $H_s$, both 43 wide. The context changes them through $\tilde H_C$ and
#   through the attention of the state encoder.
# - You have rebuilt Figure 1 of the paper, and you know which conclusions it supports and which
#   it does not.
#
# **Next:** in lesson 05, a teacher network reads $V_t$ and $V_s$, a student network reads $H_t$
# and $H_s$, and the student learns from the teacher.
