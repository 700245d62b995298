# %% [markdown]
# # 03 · Read a context, and what lies behind it
#
# **What you will do.** Turn a dialogue into the numbers that CTSM reads, build attention and an encoder, fetch commonsense about
# what was said, and join both in the *inference-enriched context*.
#
# **What you will learn.** How a model knows order and speaker, how masks keep padding out, what five questions about a speaker
# commonsense answers, and how a gate lets through what helps; Eq. (1) and the fusion of Sec. 3.3.
#
# **What you need.** Lessons 01 (batches, masks) and 02 (word features). About 75 minutes.
#
# *Paper: Sec. 3.3. Library: `knowledge`, `model/layers`, `model/context`.*

# %%
import numpy as np
import torch
from ctsm_lib.batches import context_batch
from ctsm_lib.corpus import CLS, EMOTIONS, PAD, SYS, USR
from ctsm_lib.knowledge import RELATIONS, empty_inference, infer_cached
from ctsm_lib.sources import cache_folder
from ctsm_workbench.course import checks, lessons
from ipywidgets import Text

lessons.begin("context")

# %% [markdown]
# The lit boxes are what this lesson builds. Two streams meet: the words of the dialogue, and phrases that nobody said but everybody
# would understand. We look into a model that was trained already, so that every number below is one that the model uses.

# %%
prepared, run = lessons.data(), lessons.trained_run()
model, vocabulary = run.model, run.vocabulary
torch.set_grad_enabled(False)  # we look, we do not train
print(lessons.describe())
print(f"model: width {run.config.dim}, {run.config.heads} heads, {run.iteration} iterations")

# %% [markdown]
# ## 1 · A dialogue becomes one sequence
#
# All turns so far are laid one behind the other, with `[CLS]` in front: $C = [\mathrm{CLS}] \oplus u_1 \oplus \dots \oplus u_n$. Two of
# the three things that are told of each token are not in the words: **who** speaks, and **where** it stands.

# %%
turns = [
    "I failed my driving test again.",
    "Oh no, what happened?",
    "I was so nervous that I forgot to look back.",
]
dialogues = [turns, turns[:1]]
utterances = [dialogue[-1] for dialogue in dialogues]
inferences = infer_cached(prepared.provider, utterances, cache_folder(), False)
batch = context_batch(dialogues, inferences, vocabulary, run.config.max_context)
mask = batch.context != PAD
speakers = {USR: "speaker", SYS: "listener", CLS: "CLS", PAD: "PAD"}
for place, (word, state) in enumerate(zip(batch.context[0], batch.speaker[0], strict=True)):
    if place < 14:
        print(f"{place:3} {speakers[int(state)]:9} {vocabulary.words[word]}")

# %% [markdown]
# The embedding $E_C$ is the sum of three vectors per token, each as wide as the model:
#
# | part | shape | from |
# |---|---|---|
# | word | B x L x d | the word table, a row for each word |
# | dialogue state | B x L x d | the same table, one row each for speaker, listener, CLS |
# | position | L x d | computed, not learned |
# | $E_C$ | B x L x d | their sum; d = 300 in the paper |
#
# Attention, which comes next, does not see order: shuffle its input and the output is shuffled the same way. So each place gets
# a signal of its own. Columns come in pairs, and each pair is a clock hand of another speed:
#
# $$ P(p, 2i) = \sin\left(p \cdot 10000^{-2i/d}\right), \qquad P(p, 2i+1) = \cos\left(p \cdot 10000^{-2i/d}\right) $$

# %% [markdown]
# ### Exercise 3.1 · Position signal
#
# **Goal:** the signal of the places 0 to `length` - 1. **Difficulty:** ★ **Minutes:** 10
#
# <details><summary>Hint</summary>
#
# `torch.arange(0, dim, 2)` are the numbers 2i of the formula. A column [length, 1] times a row [dim / 2] gives every angle. With
# `signal[:, 0::2] = ...` you write into every second column.
#
# </details>


# %%
def position_signal(length, dim):
    """[length, dim] sinusoidal signal; dim is even."""
    ### BEGIN SOLUTION
    rate = 10_000.0 ** (-torch.arange(0, dim, 2) / dim)
    angle = torch.arange(length).unsqueeze(1) * rate
    signal = torch.zeros(length, dim)
    signal[:, 0::2], signal[:, 1::2] = angle.sin(), angle.cos()
    return signal
    ### END SOLUTION


# %%
checks.position_signal(position_signal)

# %%
from ctsm_lib.model.layers import positions

signal = positions(60, 64, torch.device("cpu"))
figure = lessons.heatmap(
    signal[:, 0::2].T,
    [str(i) if i % 8 == 0 else "" for i in range(0, 64, 2)],
    [str(p) if p % 10 == 0 else "" for p in range(60)],
    "Position signal, sines only: a column for each place, a row for each pair",
    middle=0,
)
lessons.show(
    figure.update_layout(height=460),
    "The upper rows turn quickly and tell neighbours apart; the lower ones are slow and tell the beginning from the end of long texts.",
)

# %% [markdown]
# Now the sum. The paper does not say how loud the three parts are, and it matters: word vectors come from elsewhere and have a
# length of their own. The Transformer's authors multiply words by $\sqrt{d}$; the setting `embedding_scale` says it here, and the
# speaker rows, which are rows of the same table, are multiplied with the words.

# %%
table = model.embed.words.weight
seen = batch.context[mask]
where = positions(batch.context.shape[1], run.config.dim, torch.device("cpu"))
print(f"length of the position signal: {where.norm(dim=-1).mean():6.1f}")
scales = {"alone": 1, "of this run": run.config.embedding_scale, "sqrt(d)": run.config.dim**0.5}
for name, scale in scales.items():
    loud = scale * table[seen].norm(dim=-1).mean()
    print(f"length of a word, scale {scale:5.1f} ({name}): {loud:6.1f}")

# %% [markdown]
# > **A gap in the paper.** Too small a scale and the position drowns the words; too large a one and order is not heard. Preset
# > `paper` has $\sqrt{d}$; `improved` and `sample` have 3. Lesson 04 comes back to this: how far context can bend a word depends on it.

# %%
scale = run.config.embedding_scale
E_C = scale * table[batch.context] + scale * table[batch.speaker] + where
read = model.read(batch)  # the library: everything it makes of a context, by the paper's names
torch.testing.assert_close(E_C, read["E_C"])
print("E_C", list(E_C.shape), "equals the library's.")

# %% [markdown]
# ## 2 · Attention
#
# Each token asks every other one a question and mixes their answers. From the states $X$ come queries, keys and values, each a
# linear map; for one head of depth $k$:
#
# $$ A = \mathrm{softmax}\left(\frac{Q K^{\top}}{\sqrt{k}}\right), \qquad \mathrm{mixed} = A V $$
#
# Row $l$ of $A$ says how much token $l$ takes from each token, and sums to 1. PAD must get exactly nothing, and a token that may look at
# nothing must take nothing. The second case is easy to forget and breaks a training silently:

# %%
scores = torch.zeros(2, 3, requires_grad=True)
allowed = torch.tensor([[True, True, False], [False, False, False]])
with torch.enable_grad():
    blocked = torch.zeros(2, 3).masked_fill(~allowed, float("-inf"))  # the usual recipe
    weights = (scores + blocked).softmax(dim=-1)
    weights.nan_to_num().sum().backward()  # even where the NaN itself is wiped away ...
print("weights: ", weights.tolist())
print("gradient:", scores.grad.tolist())  # ... it is in the gradient

# %% [markdown]
# ### Exercise 3.2 · Softmax under a mask
#
# **Goal:** softmax over the last axis among the places where the mask is true; zeros for a row without any, also when gradients flow.
# **Difficulty:** ★★ **Minutes:** 15
#
# <details><summary>Hint</summary>
#
# Find the empty rows first: `mask.any(dim=-1, keepdim=True)`. Open them for the softmax, so that it has something finite to do, and set
# their weights to zero afterwards.
#
# </details>


# %%
def masked_softmax(scores, mask):
    """[..., M] weights from scores [..., M] and a mask [..., M], True where a place may be looked at."""
    ### BEGIN SOLUTION
    empty = ~mask.any(dim=-1, keepdim=True)
    weights = scores.masked_fill(~(mask | empty), float("-inf")).softmax(dim=-1)
    return weights.masked_fill(~mask, 0.0)
    ### END SOLUTION


# %%
checks.masked_softmax(masked_softmax)

# %% [markdown]
# Several **heads** attend side by side, each in its own slice of queries, keys and values. In CTSM the slices together need not be as
# wide as the model: the paper's encoder is 300 wide with keys and values of 40 in all, two heads of 20.

# %%
from ctsm_lib.model.layers import masked_softmax


def attend(layer, states, mask):
    """Self-attention in the open: [B, L, D] and the weights of each head [B, H, L, L]."""
    query = layer.query(states).split(layer.depth, dim=-1)  # a slice for each head
    key, value = (
        x.split(layer.depth, dim=-1) for x in layer.key_value(states).chunk(2, dim=-1)
    )
    mixed, weights = [], []
    for q, k, v in zip(query, key, value, strict=True):
        A = masked_softmax(q @ k.transpose(1, 2) / layer.depth**0.5, mask.unsqueeze(1))
        mixed.append(A @ v)
        weights.append(A)
    return layer.result(torch.cat(mixed, dim=-1)), torch.stack(weights, dim=1)


# %%
layer = model.encoder.layers[0]
normed = layer.attention_norm(E_C)
mine, weights = attend(layer.attention, normed, mask)
theirs, library_weights = layer.attention(
    normed, layer.attention.keys_values(normed), mask.unsqueeze(1)
)
torch.testing.assert_close(mine, theirs)
torch.testing.assert_close(weights, library_weights)
print("weights [B, H, L, L]:", list(weights.shape))
print("the first rows sum to", [f"{total:.3f}" for total in weights[0, 0].sum(dim=-1)[:3]])

# %%
words = [f"{i} {vocabulary.words[w]}" for i, w in enumerate(batch.context[0].tolist())]
average = weights[0].mean(dim=0)
lessons.show(
    lessons.heatmap(average, words, words, "Who looks at whom (mean over heads)"),
    "Each row is a token that looks, each column one that is looked at. A column that is blue from top to bottom is heard by all.",
)

# %% [markdown]
# ## 3 · The context encoder
#
# An encoder layer adds what attention found to what was there, and then what a small network makes of each token alone. LayerNorm
# stands *before* each part ("pre-norm"), and once more at the end:
#
# $$ X' = X + \mathrm{Attention}(\mathrm{LN}(X)), \qquad X'' = X' + \mathrm{FFN}(\mathrm{LN}(X')), \qquad H_C = \mathrm{LN}(X'') \quad (1) $$


# %%
def encode(encoder, states, mask):
    """Eq. (1) in the open: [B, L, D] from [B, L, D]."""
    for layer in encoder.layers:
        attended, _ = attend(layer.attention, layer.attention_norm(states), mask)
        states = states + attended
        states = states + layer.ffn.second(layer.ffn.first(layer.ffn_norm(states)).relu())
    return encoder.norm(states)


H_C = encode(model.encoder, E_C, mask)
torch.testing.assert_close(H_C[mask], read["H_C"][mask])
print("H_C", list(H_C.shape), "equals the library's at every real token.")

# %% [markdown]
# The systems that the paper compares itself with have another small network here: two convolutions that read three neighbours each. At
# a sentence's end the neighbours are PAD. Do they matter? The same sentence, alone and beside a longer one:

# %%
from ctsm_lib.model.layers import FeedForward

torch.manual_seed(0)
conv = FeedForward(run.config.dim, 50, kind="conv")
length = int(mask[1].sum())
beside, alone = H_C[1:2], H_C[1:2, :length]
full, cut = mask[1:2], mask[1:2, :length]


def blind(states):
    """The convolutions without a mask."""
    return conv(states, torch.ones(states.shape[:2]))


pairs = {
    "without mask": (blind(beside), blind(alone)),
    "masked": (conv(beside, full), conv(alone, cut)),
}
print("largest change at the last four tokens")
for name, (one, other) in pairs.items():
    change = (one[:, :length] - other).abs().amax(dim=-1)[0]
    print(f"{name:13}", "  ".join(f"{c:.3f}" for c in change[-4:]))

# %% [markdown]
# > **Departure.** An answer must not depend on who else is in the batch. By default we use a network that sees each token alone; with
# > `ffn="conv"` you get the convolutions, with PAD zeroed before each of them. Every module of the library is tested for this.

# %% [markdown]
# ## 4 · What nobody said
#
# "I failed my driving test again." Nobody needs to be told that this person wanted to pass, took lessons, and is discouraged. The ATOMIC
# knowledge base has such inferences, written by people about everyday events; the paper asks five questions about the speaker, X:
#
# | relation | question | kind |
# |---|---|---|
# | xIntent | why did X do it? | cognitive |
# | xNeed | what did X need before? | cognitive |
# | xWant | what would X want next? | cognitive |
# | xEffect | what happens to X? | cognitive |
# | xReact | how does X feel? | affective |
#
# Only the last utterance is asked about; up to five phrases answer each question.

# %%
for relation, phrases in inferences[1].items():
    print(f"{relation:8}", "; ".join(phrases) or "(nothing found)")
if prepared.provider.name == "atomic":
    nearest = prepared.provider.nearest(utterances[1])[:3]
    print("\nasked were:", "; ".join(f"{event} ({value:.2f})" for event, value in nearest))

# %% [markdown]
# > **Departure.** The paper follows CEM, which *generates* phrases with COMET, a language model trained on ATOMIC. It is large, slow on a laptop, and
# > must be fetched, so the default here *retrieves*: it finds the events nearest to the utterance and returns what people wrote about
# > them. The price is silence where no event is near, and
# > phrases that miss the point where the nearest event is another one: a test passed is near to a test failed. `knowledge=comet` generates, `knowledge=none` says nothing. Results name the provider.
#
# How often does it say anything about the utterances of the training split?

# %%
offsets = prepared.pairs["train"].phrases.offsets
found = (np.diff(offsets).reshape(-1, 5) > 0).mean(axis=0)
lessons.show(
    lessons.bars({"share": found.tolist()}, RELATIONS, "Utterances with at least one phrase"),
    f"Provider: {prepared.provider.name}. Where a relation is silent, the model uses a vector that it learned for silence.",
)

# %% [markdown]
# Each relation becomes **one vector**. Its phrases are laid behind a CLS and encoded. For the four cognitive relations the state of CLS
# is taken; for xReact, whose phrases are mostly single adjectives, the mean over the words, without CLS.

# %%
ids = batch.knowledge[1]  # 5 S: the second dialogue
embedded = scale * table[ids] + positions(ids.shape[1], run.config.dim, ids.device)
there = ids != PAD
K = model.knowledge.absent.clone()  # 5 d: what is used where nothing was found
for r in range(5):
    if there[r, 1:].any():
        rows, keep = embedded[r : r + 1], there[r : r + 1]
        if RELATIONS[r] != "xReact":
            K[r] = encode(model.knowledge.cognitive, rows, keep)[0, 0]
        else:
            states = encode(model.knowledge.emotional, rows[:, 1:], keep[:, 1:])
            K[r] = states[0, keep[0, 1:]].mean(dim=0)
torch.testing.assert_close(K, read["K"][1])
print("K", list(K.shape), "equals the library's.")

# %% [markdown]
# ## 5 · Joining both
#
# The paper follows an earlier system, CEM, in joining them. Each relation's vector $K_r$ is set beside every token of the context, a
# *refining encoder* looks at the pair, and a gated network makes one state of the five results:
#
# $$ U_r = \mathrm{Encoder}_r([H_C ; K_r]), \qquad Z = [U_1 ; \dots ; U_5], \qquad H = W_2\, \mathrm{relu}(W_1\, (\sigma(Z) \cdot Z)) $$
#
# | | shape | |
# |---|---|---|
# | $[H_C ; K_r]$ | B x L x 2d | the same $K_r$ at each token |
# | $U_r$ | B x L x d | one encoder for the four cognitive relations, another for xReact |
# | $Z$ | B x L x 5d | |
# | $H$ | B x L x d | by way of 3d; no biases |
#
# The sigmoid is the **gate**: $\sigma(z) \cdot z$ leaves a large positive entry as it is and closes on a negative one. It is done twice with separate
# weights: $H^{tchr}$ for the teacher and $H^{stu}$ for the student of lesson 05.

# %% [markdown]
# ### Exercise 3.3 · Gated fusion
#
# **Goal:** the formula above with the refining encoders left out, so that $U_r$ is a linear map of $[H_C ; K_r]$: the same `join` for all five
# relations. `first` is $W_1$, `second` is $W_2$.
# **Difficulty:** ★★★ **Minutes:** 20
#
# <details><summary>Hint</summary>
#
# `knowledge[:, r : r + 1].expand_as(context)` sets one relation's vector beside each token. Join five such pairs with `torch.cat`, map each
# by `@ join.T`, and join the five results in the order of the relations.
#
# </details>


# %%
def gated_fusion(context, knowledge, join, first, second):
    """H [B, L, D] from context [B, L, D], knowledge [B, 5, D], join [D, 2D], first [3D, 5D], second [D, 3D]."""
    ### BEGIN SOLUTION
    refined = []
    for r in range(5):
        beside = knowledge[:, r : r + 1].expand_as(context)
        refined.append(torch.cat([context, beside], dim=-1) @ join.T)
    Z = torch.cat(refined, dim=-1)
    return (Z.sigmoid() * Z @ first.T).relu() @ second.T
    ### END SOLUTION


# %%
checks.gated_fusion(gated_fusion)

# %% [markdown]
# The library's `SeparateFusion` is this with the encoders. It applies the two halves of `join` apart, $W [H ; K] = W_H H + W_K K$: since $K$ is the same at
# every token, its half is computed once a dialogue instead of once a token.

# %%
from ctsm_lib.model.context import SeparateFusion
from ctsm_lib.model.layers import Encoder

d = run.config.dim


def small(width):
    """The encoder of the paper's small parts: one layer, 2 heads, depth 40, feed-forward 50."""
    return Encoder(width, 1, 2, 40, 50, "linear", 0.0)


# %%
fusion = SeparateFusion(d, small)
halves = [
    (fusion.context_in, fusion.knowledge_in, fusion.cognitive),
    (fusion.emotion_context_in, fusion.emotion_knowledge_in, fusion.emotional),
]
U = []
for r in range(5):
    of_context, of_knowledge, refine = halves[r == 4]
    join = torch.cat([of_context.weight, of_knowledge.weight], dim=1)  # d 2d
    pair = torch.cat([H_C, read["K"][:, r : r + 1].expand_as(H_C)], dim=-1)  # B L 2d
    U.append(encode(refine, pair @ join.T, mask))
Z = torch.cat(U, dim=-1)
H = fusion.second(fusion.first(Z.sigmoid() * Z).relu())
torch.testing.assert_close(H[mask], fusion(H_C, read["K"], mask)[mask])
print("Z", list(Z.shape), " H", list(H.shape), "equals the library's.")

# %% [markdown]
# > **Departure.** Five refining passes for the student and five for the teacher are a good part of a training's time, and the context
# > can reach $H$ through the gates only. The presets `improved` and `sample` have `fusion="joint"`: one pass for all relations, and a gate on what is
# > *added* to the context. Preset `paper` does it the paper's way. What the two weigh at the paper's width of 300:

# %%
from ctsm_lib.model.context import JointFusion

for kind in (SeparateFusion, JointFusion):
    count = sum(p.numel() for p in kind(300, small).parameters())
    print(f"{kind.__name__:15} {count:>10,} parameters")
print("this run has fusion =", run.config.fusion)

# %%
joint = JointFusion(d, small)
both_in = torch.cat([joint.context_in.weight, joint.knowledge_in.weight], dim=1)  # d 6d
every = read["K"].flatten(1).unsqueeze(1).expand(-1, H_C.shape[1], -1)  # B L 5d
refined = encode(joint.refine, torch.cat([H_C, every], dim=-1) @ both_in.T, mask)
both = torch.cat([H_C, refined], dim=-1)
added = joint.second(joint.first(both).relu())
H = joint.norm(H_C + joint.gate(both).sigmoid() * added)
torch.testing.assert_close(H[mask], joint(H_C, read["K"], mask)[mask])
print("The joint fusion equals the library's.")

# %% [markdown]
# ## 6 · Does it help?
#
# A component that can be left out without a trace is no component. We let the trained model read the same utterance with its phrases and without, and
# look at which emotion the student hears.


# %%
def heard(utterance: str = turns[0]):
    """Bars of the student's likeliest emotions with commonsense and without."""
    found = prepared.provider.infer([utterance], progress=False)
    chances = {}
    for name, phrases in (("with commonsense", found), ("without", [empty_inference()])):
        asked = context_batch([[utterance]], phrases, vocabulary, run.config.max_context)
        chances[name] = model.encode(asked).emotion_logits[0].softmax(dim=-1)
    order = sum(chances.values()).argsort(descending=True)[:8]
    title = "What the student hears"
    if not any(found[0].values()):
        title += " (no phrase found: no difference)"
    bars = {name: chance[order].tolist() for name, chance in chances.items()}
    return lessons.bars(bars, [EMOTIONS[i] for i in order], title, "probability")


lessons.show(
    heard(),
    f"The eight likeliest emotions of “{turns[0]}”. How much the phrases move them depends on how long the model was trained.",
)

# %% [markdown]
# Say something else. On the sample it knows the events of `data/sample/atomic/events.tsv` and no others; look there for ideas.

# %%
lessons.play(heard, utterance=Text("I lost my house keys.", continuous_update=False))

# %% [markdown]
# One picture is not evidence. Over the test dialogues, among those about which something was found, how often does the likeliest emotion change,
# and how often is it the right one?

# %%
pairs = prepared.pairs["test"]
known = np.flatnonzero(np.diff(pairs.phrases.offsets).reshape(-1, 5).any(axis=1))[:256]
if len(known):
    sample = pairs.collate(known)
    with_it = model.encode(sample).emotion_logits.argmax(dim=-1)
    sample.knowledge = torch.full_like(sample.knowledge, PAD)
    sample.knowledge[..., 0] = CLS
    without = model.encode(sample).emotion_logits.argmax(dim=-1)
    changed = (with_it != without).float().mean()
    print(
        f"{len(known)} utterances with phrases; the likeliest emotion changes in {changed:.0%}"
    )
    for name, guess in (("with", with_it), ("without", without)):
        print(f"right {name} them: {(guess == sample.label).float().mean():.0%}")

# %% [markdown]
# Mind the number of utterances before you believe a difference. A fair answer needs a model that was *trained* without commonsense: `--set
# knowledge=none`, and as many seeds as you have patience for.
#
# ## What you have now
#
# - $E_C$: word, speaker and place in one sum; and a scale that decides who is heard.
# - Attention and an encoder whose answers do not depend on padding, with $H_C$ of Eq. (1).
# - Five relations of commonsense, one vector each, and the fused context $H^{stu}$, which the decoder of lesson 06 reads.
#
# **Next:** $E_C$ and $H_C$ go into lesson 04, where a word that has the same trait everywhere gets a *state*.
