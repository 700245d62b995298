# %% [markdown]
# # 03 · Read the dialogue context and add commonsense
#
# **What you will do.** Turn a dialogue into the numbers that CTSM reads, build attention and an
# encoder, retrieve commonsense phrases about the last utterance, and combine both in the
# *inference-enriched context*.
#
# **What you will learn.** How a model represents word order and speaker; how masks keep padding
# out; the five questions about a speaker that commonsense phrases answer; how a gate controls
# which information passes; Eq. (1) and the fusion of Sec. 3.3.
#
# **What you need.** Lessons 01 (batches, masks) and 02 (word features). About 75 minutes.
#
# *Paper: Sec. 3.3. Library: `knowledge`, `model/layers`, `model/context`.*

# %%
import numpy as np
import torch
from ctsm_lib.batches import context_batch
from ctsm_lib.corpus import CLS, EMOTIONS, PAD, SYS, USR
from ctsm_lib.knowledge import RELATIONS, empty_inference
from ctsm_lib.sources import cache_folder
from ctsm_workbench.course import checks, lessons
from ipywidgets import Text

lessons.begin("context")

# %% [markdown]
# The highlighted boxes are the parts that this lesson builds. The model has two inputs: the
# words of the dialogue, and commonsense phrases that are not in the dialogue but that a
# listener would infer. We use a trained model, so most numbers below are ones that it really
# uses. Where we try a part that this model does not have, its weights are random.

# %%
prepared, run = lessons.data(), lessons.trained_run()
model, vocabulary = run.model, run.vocabulary
torch.set_grad_enabled(False)  # we only look at the model; we do not train it
print(lessons.describe())
print(f"model: width {run.config.dim}, {run.config.heads} heads, {run.iteration} iterations")

# %% [markdown]
# ## 1 · A dialogue becomes one sequence
#
# We join all turns so far into one sequence and put `[CLS]` in front:
# $C = [\mathrm{CLS}] \oplus u_1 \oplus \dots \oplus u_n$. The model needs three kinds of
# information about each token. The word itself is one. The other two are not in the word:
# **who** says it, and at **which position** it stands.

# %%
turns = [
    "I failed my driving test again.",
    "Oh no, what happened?",
    "I was so nervous that I forgot to look back.",
]
dialogues = [turns, turns[:1]]
utterances = [dialogue[-1] for dialogue in dialogues]
inferences = prepared.provider.infer_all(utterances, cache_folder(), progress=False)
batch = context_batch(dialogues, inferences, vocabulary, run.config.max_context)
mask = batch.context != PAD
speakers = {USR: "speaker", SYS: "listener", CLS: "CLS", PAD: "PAD"}
for place, (word, state) in enumerate(zip(batch.context[0], batch.speaker[0], strict=True)):
    if place < 14:
        print(f"{place:3} {speakers[int(state)]:9} {vocabulary.words[word]}")

# %% [markdown]
# The embedding $E_C$ is the sum of three vectors per token. Each vector is as wide as the
# model:
#
# | part | shape | source |
# |---|---|---|
# | word | B x L x d | the word table, one row for each word |
# | speaker | B x L x d | the same table, one row each for speaker, listener, CLS |
# | position | L x d | computed, not learned |
# | $E_C$ | B x L x d | their sum; d = 300 in the paper |
#
# The paper calls the second part the *dialogue state*. We call it the speaker embedding.
#
# Attention, which comes next, ignores order: if you shuffle its input, the output is shuffled
# in the same way. So we add a signal that is different at each position. The columns of this
# signal come in pairs. Each pair is a sine and a cosine, like the hand of a clock, and each
# pair turns at its own speed:
#
# $$
# P(p, 2i) = \sin\left(p \cdot 10000^{-2i/d}\right), \qquad
# P(p, 2i+1) = \cos\left(p \cdot 10000^{-2i/d}\right)
# $$

# %% [markdown]
# ### Exercise 3.1 · Position signal
#
# **Goal:** compute the signal of the positions 0 to `length` - 1.
# **Difficulty:** ★ **Minutes:** 10
#
# <details><summary>Hint</summary>
#
# `torch.arange(0, dim, 2)` gives the numbers 2i of the formula. A column [length, 1] times a
# row [dim / 2] gives every angle. `signal[:, 0::2] = ...` writes into every second column.
#
# </details>


# %%
def position_signal(length, dim):
    """[length, dim] sinusoidal position signal; dim is even."""
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
from ctsm_lib.kernels import positions

signal = positions(60, 64, torch.device("cpu"))
figure = lessons.heatmap(
    signal[:, 0::2].T,
    [str(i) if i % 8 == 0 else "" for i in range(0, 64, 2)],
    [str(p) if p % 10 == 0 else "" for p in range(60)],
    "Position signal (sines only): one column per position, one row per pair",
    middle=0,
)
lessons.show(
    figure.update_layout(height=460),
    "The upper rows change quickly and distinguish neighbouring positions. The lower rows "
    "change slowly and distinguish the beginning of a long text from its end.",
)

# %% [markdown]
# Now we compute the sum. The paper does not say how the three parts are scaled, and the scale
# matters. Word vectors are trained separately, and their length can differ from that of the
# position signal. The authors of the Transformer multiply word vectors by $\sqrt{d}$. Here, the
# setting `embedding_scale` is this factor. It also applies to the speaker rows, because they
# are rows of the same table.

# %%
table = model.embed.words.weight
seen = batch.context[mask]
where = positions(batch.context.shape[1], run.config.dim, torch.device("cpu"))
print(f"length of the position signal: {where.norm(dim=-1).mean():6.1f}")
scales = {"none": 1, "of this run": run.config.embedding_scale, "sqrt(d)": run.config.dim**0.5}
for name, scale in scales.items():
    norm = scale * table[seen].norm(dim=-1).mean()
    print(f"length of a word vector, scale {scale:5.1f} ({name}): {norm:6.1f}")

# %% [markdown]
# > **A gap in the paper.** If the scale is too small, the position dominates the word. If it is
# > too large, the position has almost no effect. Preset `paper` uses $\sqrt{d}$, `improved`
# > uses 3, and `sample` uses 1. Lesson 04 comes back to this setting, because it determines how
# > much the position changes the state of a word.

# %%
scale = run.config.embedding_scale
E_C = scale * table[batch.context] + scale * table[batch.speaker] + where
read = model.read(batch)  # all that the library computes from a context, by the paper's names
torch.testing.assert_close(E_C, read.E_C)
print("E_C", list(E_C.shape), "equals the library's.")

# %% [markdown]
# ## 2 · Attention
#
# Attention lets each token collect information from all tokens. Three linear maps turn the
# hidden states $X$ into queries $Q$, keys $K$ and values $V$. For one head of depth $k$:
#
# $$
# A = \mathrm{softmax}\left(\frac{Q K^{\top}}{\sqrt{k}}\right), \qquad \mathrm{mixed} = A V
# $$
#
# Row $l$ of $A$ contains the shares that token $l$ takes from all tokens. These shares sum
# to 1. PAD must get a share of exactly 0. If a row may attend to no token at all, its output
# must be 0. This second case is easy to forget, and the usual code then fails without an error
# message:

# %%
scores = torch.zeros(2, 3, requires_grad=True)
allowed = torch.tensor([[True, True, False], [False, False, False]])
with torch.enable_grad():
    blocked = torch.zeros(2, 3).masked_fill(~allowed, float("-inf"))  # the usual way
    weights = (scores + blocked).softmax(dim=-1)
    weights.nan_to_num().sum().backward()  # replacing NaN in the result is not enough ...
print("weights: ", weights.tolist())
print("gradient:", scores.grad.tolist())  # ... because NaN remains in the gradient

# %% [markdown]
# ### Exercise 3.2 · Softmax under a mask
#
# **Goal:** compute the softmax over the last axis, using only the positions where the mask is
# true. A row without any such position gets zeros, and its gradients must not be NaN.
# **Difficulty:** ★★ **Minutes:** 15
#
# <details><summary>Hint</summary>
#
# First find the rows without any true position: `mask.any(dim=-1, keepdim=True)`. Let the
# softmax of these rows use all positions, so that it is finite. Set their weights to zero
# afterwards.
#
# </details>


# %%
def masked_softmax(scores, mask):
    """Weights [..., M] from scores [..., M] and a mask [..., M], True at allowed positions."""
    ### BEGIN SOLUTION
    empty = ~mask.any(dim=-1, keepdim=True)
    weights = scores.masked_fill(~(mask | empty), float("-inf")).softmax(dim=-1)
    return weights.masked_fill(~mask, 0.0)
    ### END SOLUTION


# %%
checks.masked_softmax(masked_softmax)

# %% [markdown]
# Several **heads** compute attention in parallel. Each head has its own slice of the queries,
# keys and values. In CTSM, the slices together need not be as wide as the model. The paper's
# encoder is 300 wide, but its keys and values are only 40 wide in total: two heads of 20.

# %%
from ctsm_lib.kernels import masked_softmax


def attend(layer, states, mask):
    """Self-attention step by step: [B, L, D] and the weights of each head [B, H, L, L]."""
    query = layer.query(states).split(layer.depth, dim=-1)  # one slice for each head
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
    lessons.heatmap(average, words, words, "Attention weights (mean over heads)"),
    "Each row is a token that attends, and each column is a token that is attended to. If a "
    "column is blue from top to bottom, all tokens attend to this token.",
)

# %% [markdown]
# ## 3 · The context encoder
#
# An encoder layer has two parts. The first part is attention, and its result is added to the
# input. The second part is a small feed-forward network, which processes each token separately,
# and its result is added as well. LayerNorm comes *before* each part ("pre-norm") and once more
# at the end:
#
# $$
# X' = X + \mathrm{Attention}(\mathrm{LN}(X)), \qquad
# X'' = X' + \mathrm{FFN}(\mathrm{LN}(X')), \qquad
# H_C = \mathrm{LN}(X'') \quad (1)
# $$


# %%
def encode(encoder, states, mask):
    """Eq. (1) step by step: [B, L, D] from [B, L, D]."""
    for layer in encoder.layers:
        attended, _ = attend(layer.attention, layer.attention_norm(states), mask)
        states = states + attended
        states = states + layer.ffn.second(layer.ffn.first(layer.ffn_norm(states)).relu())
    return encoder.norm(states)


H_C = encode(model.encoder, E_C, mask)
torch.testing.assert_close(H_C[mask], read.H_C[mask])
print("H_C", list(H_C.shape), "equals the library's at every real token.")

# %% [markdown]
# The baselines of the paper have another feed-forward network. It consists of two convolutions,
# and each of them reads a token and its two neighbours. At the end of a sentence, the next
# neighbour is PAD. Does PAD change the result? We process the same sentence with and without
# PAD behind it:

# %%
from ctsm_lib.model.layers import FeedForward
from ctsm_lib.settings import LayerSizes

torch.manual_seed(0)
conv = FeedForward(run.config.dim, LayerSizes(ffn_dim=50, ffn="conv"))
length = int(mask[1].sum())
beside, alone = H_C[1:2], H_C[1:2, :length]
full, cut = mask[1:2], mask[1:2, :length]


def unmasked(states):
    """The convolutions without a mask."""
    return conv(states, torch.ones(states.shape[:2]))


pairs = {
    "without mask": (unmasked(beside), unmasked(alone)),
    "masked": (conv(beside, full), conv(alone, cut)),
}
print("largest change at the last four tokens")
for name, (one, other) in pairs.items():
    change = (one[:, :length] - other).abs().amax(dim=-1)[0]
    print(f"{name:13}", "  ".join(f"{c:.3f}" for c in change[-4:]))

# %% [markdown]
# > **Departure.** An answer must not depend on the other dialogues in the batch. So our default
# > feed-forward network processes each token separately. If you set `ffn="conv"`, you get the
# > convolutions, and PAD is set to zero before each of them. Every module of the library has a
# > test which checks that padding changes nothing.

# %% [markdown]
# ## 4 · Commonsense: what the text does not say
#
# "I failed my driving test again." A listener understands without further explanation that this
# person wanted to pass, has taken lessons, and is discouraged. The ATOMIC knowledge base
# contains such inferences. People wrote them about everyday events. The paper asks five
# questions about the speaker, X:
#
# | relation | question | kind |
# |---|---|---|
# | xIntent | Why did X do it? | cognitive |
# | xNeed | What did X need to do before? | cognitive |
# | xWant | What would X want to do next? | cognitive |
# | xEffect | What happens to X? | cognitive |
# | xReact | How does X feel? | affective |
#
# The questions are asked only about the last utterance. Each question gets up to five phrases
# as its answer.

# %%
for relation, phrases in inferences[1].items():
    print(f"{relation:8}", "; ".join(phrases) or "(nothing found)")
if prepared.provider.name == "atomic":
    nearest = prepared.provider.nearest(utterances[1])[:3]
    found = "; ".join(f"{event} ({value:.2f})" for event, value in nearest)
    print("\nnearest events:", found)

# %% [markdown]
# > **Departure.** The paper follows an earlier system, CEM. CEM *generates* the phrases with
# > COMET, a language model that was trained on ATOMIC. COMET is large, slow on a laptop, and
# > must be downloaded. So our default *retrieves* phrases: it finds the events that are most
# > similar to the utterance and returns what people wrote about them. Retrieval has two
# > weaknesses. If no similar event exists, it finds nothing. If the most similar event has
# > another meaning, its phrases do not fit: "pass a test", for example, is similar to "fail a
# > test".
# >
# > `knowledge=comet` generates phrases, and `knowledge=none` uses none. The source of the
# > phrases is called the **provider**, and every result states it.
#
# For how many utterances of the training split does the provider find a phrase?

# %%
offsets = prepared.pairs["train"].phrases.offsets
found = (np.diff(offsets).reshape(-1, 5) > 0).mean(axis=0)
lessons.show(
    lessons.bars({"share": found.tolist()}, RELATIONS, "Utterances with at least one phrase"),
    f"Provider: {prepared.provider.name}. Where a relation has no phrase, the model uses a "
    "learned vector instead.",
)

# %% [markdown]
# The model represents each relation by **one vector**. The phrases of a relation are joined
# behind a CLS token and encoded. For the four cognitive relations, the vector is the hidden
# state of CLS. The phrases of xReact are mostly single adjectives. For this relation, the
# vector is the mean over the words, without CLS.

# %%
ids = batch.knowledge[1]  # 5 S: the second dialogue
embedded = scale * table[ids] + positions(ids.shape[1], run.config.dim, ids.device)
there = ids != PAD
K = model.knowledge.absent.clone()  # 5 d: the learned vectors for relations without a phrase
for r in range(5):
    if there[r, 1:].any():
        rows, keep = embedded[r : r + 1], there[r : r + 1]
        if RELATIONS[r] != "xReact":
            K[r] = encode(model.knowledge.cognitive, rows, keep)[0, 0]
        else:
            states = encode(model.knowledge.emotional, rows[:, 1:], keep[:, 1:])
            K[r] = states[0, keep[0, 1:]].mean(dim=0)
torch.testing.assert_close(K, read.K[1])
print("K", list(K.shape), "equals the library's.")

# %% [markdown]
# ## 5 · Combining context and commonsense
#
# To combine context and commonsense, the paper follows CEM again. Each relation's vector $K_r$
# is concatenated with every token of the context. A *refining encoder* processes the result. A
# gated network turns the five results into one hidden state:
#
# $$
# U_r = \mathrm{Encoder}_r([H_C ; K_r]), \qquad
# Z = [U_1 ; \dots ; U_5], \qquad
# H = W_2\, \mathrm{relu}(W_1\, (\sigma(Z) \cdot Z))
# $$
#
# | part | shape | remark |
# |---|---|---|
# | $[H_C ; K_r]$ | B x L x 2d | the same $K_r$ at each token |
# | $U_r$ | B x L x d | one encoder for the four cognitive relations, another for xReact |
# | $Z$ | B x L x 5d | the five results, concatenated |
# | $H$ | B x L x d | the hidden layer is 3d wide; no biases |
#
# The sigmoid is the **gate**: $\sigma(z) \cdot z$ leaves a large positive entry almost
# unchanged and brings a large negative entry close to 0. The model computes all this twice with
# separate weights: $H^{tchr}$ for the teacher network and $H^{stu}$ for the student network of
# lesson 05.

# %% [markdown]
# ### Exercise 3.3 · Gated fusion
#
# **Goal:** write the formula above without the refining encoders. Here $U_r$ is only a linear
# map of $[H_C ; K_r]$, with the same matrix `join` for all five relations. `first` is $W_1$,
# `second` is $W_2$.
# **Difficulty:** ★★★ **Minutes:** 20
#
# <details><summary>Hint</summary>
#
# `knowledge[:, r : r + 1].expand_as(context)` repeats the vector of one relation at each token.
# Concatenate it with the context by `torch.cat`, and map the result by `@ join.T`. Then
# concatenate the five results in the order of the relations.
#
# </details>


# %%
def gated_fusion(context, knowledge, join, first, second):
    """H [B, L, D] from context [B, L, D] and knowledge [B, 5, D].

    The weights are join [D, 2D], first [3D, 5D] and second [D, 3D].
    """
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
# The library's `SeparateFusion` does the same and includes the encoders. It applies the two
# halves of `join` separately: $W [H ; K] = W_H H + W_K K$. Since $K$ is the same at every
# token, the library computes $W_K K$ once per dialogue, not once per token.

# %%
from ctsm_lib.model.context import SeparateFusion
from ctsm_lib.model.layers import Encoder

d = run.config.dim


def small(width):
    """The encoder of the paper's small parts: one layer, 2 heads, depth 40, feed-forward 50."""
    return Encoder(width, 1, LayerSizes(heads=2, key_depth=40, ffn_dim=50))


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
    pair = torch.cat([H_C, read.K[:, r : r + 1].expand_as(H_C)], dim=-1)  # B L 2d
    U.append(encode(refine, pair @ join.T, mask))
Z = torch.cat(U, dim=-1)
H = fusion.second(fusion.first(Z.sigmoid() * Z).relu())
torch.testing.assert_close(H[mask], fusion(H_C, read.K, mask)[mask])
print("Z", list(Z.shape), " H", list(H.shape), "equals the library's.")

# %% [markdown]
# > **Departure.** The refining encoders run five times for the student network and five times
# > for the teacher network. They take a large part of the training time, and the context can
# > reach $H$ only through the gates. The presets `improved` and `sample` therefore use
# > `fusion="joint"`. This fusion needs only one pass for all relations. The context reaches $H$
# > directly, and the gate controls only what is *added* to it. Preset `paper` uses the paper's
# > fusion. The next cell counts the parameters of both at the paper's width of 300:

# %%
from ctsm_workbench.beyond.extended import JointFusion

for kind in (SeparateFusion, JointFusion):
    count = sum(p.numel() for p in kind(300, small).parameters())
    print(f"{kind.__name__:15} {count:>10,} parameters")
print("this run has fusion =", run.config.fusion)

# %%
joint = JointFusion(d, small)
both_in = torch.cat([joint.context_in.weight, joint.knowledge_in.weight], dim=1)  # d 6d
every = read.K.flatten(1).unsqueeze(1).expand(-1, H_C.shape[1], -1)  # B L 5d
refined = encode(joint.refine, torch.cat([H_C, every], dim=-1) @ both_in.T, mask)
both = torch.cat([H_C, refined], dim=-1)
added = joint.second(joint.first(both).relu())
H = joint.norm(H_C + joint.gate(both).sigmoid() * added)
torch.testing.assert_close(H[mask], joint(H_C, read.K, mask)[mask])
print("The joint fusion equals the workbench's.")

# %% [markdown]
# ## 6 · Does commonsense change the prediction?
#
# To see whether a component matters, we can remove it. We let the trained model read the same
# utterance with its phrases and without them, and we compare the emotions that the student
# network predicts.


# %%
def predicted(utterance: str = turns[0]):
    """Bars of the student network's most probable emotions, with and without commonsense."""
    found = prepared.provider.infer([utterance], progress=False)
    chances = {}
    for name, phrases in (("with commonsense", found), ("without", [empty_inference()])):
        asked = context_batch([[utterance]], phrases, vocabulary, run.config.max_context)
        chances[name] = model.encode(asked).emotion_logits[0].softmax(dim=-1)
    order = sum(chances.values()).argsort(descending=True)[:8]
    title = "Emotions predicted by the student network"
    if not any(found[0].values()):
        title += " (no phrase found: no difference)"
    bars = {name: chance[order].tolist() for name, chance in chances.items()}
    return lessons.bars(bars, [EMOTIONS[i] for i in order], title, "probability")


lessons.show(
    predicted(),
    f"The eight most probable emotions of “{turns[0]}” How much the phrases change them "
    "depends on the training of the model.",
)

# %% [markdown]
# Try another utterance. On the sample, the provider knows only the events in
# `data/sample/atomic/events.tsv`. Look there for ideas.

# %%
lessons.play(predicted, utterance=Text("I lost my house keys.", continuous_update=False))

# %% [markdown]
# One example is not evidence. So we take the test dialogues for which the provider found a
# phrase. How often does the most probable emotion change when the phrases are removed, and how
# often is it right?

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
        f"{len(known)} utterances with phrases;",
        f"the most probable emotion changes in {changed:.0%}",
    )
    for name, guess in (("with", with_it), ("without", without)):
        print(f"right {name} them: {(guess == sample.label).float().mean():.0%}")

# %% [markdown]
# Be careful with this comparison, for three reasons. First, look at the number of utterances: a
# difference on a few of them may be chance. Second, the model was trained with phrases, so it
# is at a disadvantage without them. A fair comparison needs a second model that was *trained*
# without commonsense (`--set knowledge=none`), and several seeds of both. Third, on the sample
# the comparison says nothing about commonsense. When we wrote most events of the sample, we
# knew the dialogues of all three splits, so the phrases can reveal the label.
#
# ## What you have now
#
# - You have $E_C$, the sum of word, speaker and position, and you know that their scale
#   matters.
# - You have attention and an encoder whose results do not depend on padding. Its output is
#   $H_C$ of Eq. (1).
# - You have five commonsense relations with one vector each, and the fused context $H^{stu}$,
#   which the decoder of lesson 06 reads.
#
# **Next:** lesson 04 uses $E_C$ and $H_C$. There, a word gets a *state emotion*, which depends
# on the context.
