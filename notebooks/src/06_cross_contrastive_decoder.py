# %% [markdown]
# # 06 · Write an answer that matches the feeling
#
# **What you will do.** You build the decoder and let it copy words from the dialogue. You use
# contrastive learning to bring the answer, the dialogue and the emotions together. Then you
# look inside an answer, word by word.
#
# **What you will learn.** The pointer generator in log space; why each loss is a mean and not a
# sum; NT-Xent, its temperature and its negatives; what the diversity loss changes; Eqs. (20) to
# (24).
#
# **What you need.** Lesson 03 for attention, and lesson 05 for the student's context.
# About 75 minutes.
#
# *Paper: Sec. 3.6. Library: `model/generation`, `model/pointer`, `model/contrast`.*

# %%
import textwrap

import numpy as np
import torch
import torch.nn.functional as F
from ctsm_workbench.course import checks, lessons
from ipywidgets import FloatLogSlider, Text

lessons.begin("decoder")

# %%
prepared, run = lessons.data(), lessons.trained_run()
model, words, pairs = run.model, run.vocabulary, prepared.pairs["train"]
print(lessons.describe())
print(f"model: {run.config.preset}, {run.iteration} iterations")
chosen = np.random.default_rng(0).choice(len(pairs), 32, replace=False)
batch = pairs.collate(chosen)
real = batch.target != 1  # PAD is id 1
print("context", list(batch.context.shape), " target", list(batch.target.shape))

# %% [markdown]
# ## 1 · The decoder
#
# The decoder writes the answer word by word. Each word depends on the words before it and on
# the student's context (Eq. 20):
#
# $$ P_w = \mathrm{PoGen}\big(\mathrm{Decoder}(E_Y, H^{stu})\big) $$
#
# PoGen is the pointer generator of section 2. A decoder layer has three parts: attention to the
# answer so far, attention to the context, and a feed-forward network that is applied to each
# position separately. Each part starts with a LayerNorm, and its result is added to its input.
#
# | | shape | |
# |---|---|---|
# | $E_Y$ | B x T x d | the answer so far: SOS (start of answer), then the shifted target |
# | $H^{stu}$ | B x L x d | the student's context, to which the decoder attends |
# | $o$ | B x T x d | the states of the decoder |
# | weights | B x T x L | attention to context, mean over heads; section 2 copies with them |


# %%
def decoder_layer(layer, states, memory, causal, mask):
    """Decoder states [B, T, d] after one layer, and attention to the context [B, H, T, L]."""
    x = layer.self_norm(states)
    states = states + layer.self_attention(x, layer.self_attention.keys_values(x), causal)[0]
    x = layer.cross_norm(states)
    attended, weights = layer.cross_attention(x, memory, mask)
    states = states + attended
    return states + layer.ffn(layer.ffn_norm(states), None), weights


def decode(batch):
    """Decoder states [B, T, d] and copy weights [B, T, L].

    This is teacher forcing: each position reads the true words before it.
    """
    read = model.read(batch)
    T = batch.target.shape[1]
    causal = torch.ones(1, T, T, dtype=torch.bool).tril()  # no word sees a later one
    states = model.embed(read.words["previous"])
    for layer in model.decoder.layers:
        memory = layer.cross_attention.keys_values(read.H_stu)
        states, weights = decoder_layer(layer, states, memory, causal, read.mask[:, None])
    return model.decoder.norm(states), weights.mean(dim=1)


# %%
with torch.no_grad():
    states, copy = decode(batch)
    read = model.read(batch)
    memory = model.encode(batch)
    taught = model.decoder.teach(
        model.embed, read.words["previous"], model.start(memory), batch.target
    )
torch.testing.assert_close(states[real], taught.states[real], rtol=1e-4, atol=1e-4)
print("Our decoder equals the library's: states", list(states.shape), " copy", list(copy.shape))

# %% [markdown]
# During training, all positions are computed at once. The lower triangle `causal` makes sure
# that no position can see the words after it. Let us test this. We change the fourth word of
# every answer. The first four states predict words one to four, so they must not change:

# %%
from dataclasses import replace

changed = batch.target.clone()
changed[:, 3] = words.index["the"]
with torch.no_grad():
    other, _ = decode(replace(batch, target=changed))
moved = (other - states).abs().amax(dim=(0, 2))
print("largest change at each position:", [round(x, 3) for x in moved[:8].tolist()])

# %% [markdown]
# ## 2 · Generate or copy
#
# Some words of an answer already occur in the context: names, things, the speaker's own words.
# A **pointer generator** can copy them from there. A gate $\alpha$ decides how much to generate
# and how much to copy:
#
# $$ \alpha = \sigma(w \cdot o_t + b) \qquad\qquad
# P(y) = \alpha\, \mathrm{softmax}(W o_t)_y + (1 - \alpha) \sum_{l:\, x_l = y} a_{t,l} $$
#
# Here $a_t$ is the attention of the last layer, and the sum runs over all positions at which
# the word occurs. How many words of the real answers could be copied?

# %%
inside = (batch.context[:, None, :] == batch.target[:, :, None]).any(dim=2)
print(f"{inside[real].float().mean():.0%} of the target tokens occur in their context")
print(f"alpha on average: {taught.scores.alpha.mean():.2f}")
order = taught.scores.alpha.argsort()[:8].tolist()
print(
    "the next word where alpha is lowest:",
    ", ".join(words.words[taught.target[i]] for i in order),
)

# %% [markdown]
# ### Why in log space
#
# The loss needs $\log P$. On paper the formula above is fine. On a computer, however, a softmax
# can underflow. If the logit of a word is 110 below the largest one, its float32 probability is
# 0, the logarithm is $-\infty$, and the gradient is NaN. Some code adds a small number inside
# the logarithm. This hides the NaN, but it also sets the gradient to zero.

# %%
results = {}
for name in ("log(P)", "log(P + 1e-12)", "log_softmax"):
    logits = torch.tensor([110.0, 0.0], requires_grad=True)
    P = logits.softmax(dim=0)
    value = {
        "log(P)": P.log(),
        "log(P + 1e-12)": (P + 1e-12).log(),
        "log_softmax": logits.log_softmax(dim=0),
    }[name]
    value[1].backward()
    print(f"{name:15} log P = {value[1].item():8.2f}   gradient {logits.grad.tolist()}")

# %% [markdown]
# So we stay in log space. `torch.logaddexp` computes $\log(x + y)$ from $\log x$ and $\log y$,
# and `F.logsigmoid(g)` computes $\log \sigma(g)$.

# %% [markdown]
# ### Exercise 6.1 · The mixture in log space
#
# **Goal:** compute $\log P$ of every word. Values and gradients must stay finite, even if
# nothing can be copied or the gate is extreme. **Difficulty:** ★★★ **Minutes:** 30
#
# <details><summary>Hint</summary>
#
# `torch.zeros_like(logits).scatter_add_(1, context, copy)` adds up the copy weights of each
# word. Remember that $1 - \sigma(g) = \sigma(-g)$. If a word cannot be copied, there is nothing
# to add. In that case `clamp(min=tiny)` keeps the logarithm finite
# (`tiny = torch.finfo(torch.float32).tiny`), and `torch.where(copied > 0, mixed, generated)`
# leaves this value out of the result.
#
# </details>


# %%
def pointer_mixture(logits, gate, copy, context):
    """log P [B, V] from logits [B, V], copy weights [B, L] and context ids [B, L].

    `gate` [B, 1] is the value before the sigmoid.
    """
    ### BEGIN SOLUTION
    generated = F.logsigmoid(gate) + logits.log_softmax(dim=1)
    copied = torch.zeros_like(logits).scatter_add_(1, context, copy)
    tiny = torch.finfo(torch.float32).tiny
    mixed = torch.logaddexp(generated, F.logsigmoid(-gate) + copied.clamp(min=tiny).log())
    return torch.where(copied > 0, mixed, generated)
    ### END SOLUTION


# %%
checks.pointer_mixture(pointer_mixture)

# %% [markdown]
# Now we write the mixture out in plain probabilities and double precision, and compare it with
# the library's version in log space:

# %%
from ctsm_lib.model.pointer import mixture

with torch.no_grad():
    o, a = states[:, 0], copy[:, 0]  # the first word of each answer
    pointer, table = model.decoder.pointer, model.embed.words.weight
    alpha = pointer.gate(o).double().sigmoid()
    P = alpha * pointer.logits(o, table).double().softmax(dim=1)
    P.scatter_add_(1, batch.context, (1 - alpha) * a.double())
    log_prob, gate = mixture(pointer.logits(o, table), pointer.gate(o), a, batch.context)
torch.testing.assert_close(log_prob.double().exp(), P, rtol=1e-3, atol=1e-6)
torch.testing.assert_close(gate.double(), alpha[:, 0], rtol=1e-3, atol=1e-6)
print(
    f"Equal. The probabilities of an answer's first word add up to {P.sum(dim=1).mean():.4f}."
)

# %% [markdown]
# ### Inside an answer
#
# The trained model now answers greedily: it takes the most likely word each time. We record the
# gate and the attention at every step. A model that was trained for only a few minutes tends to
# repeat itself, so we do not allow any word to occur twice.

# %%
from ctsm_lib.batches import context_batch
from ctsm_lib.decoding import NEVER, Decoding, answer_batch
from ctsm_lib.sources import find_sources

EOS, SOS = 2, 3
provider, note = run.provider(find_sources())


@torch.no_grad()
def answer(turns, longest=16):
    """A greedy answer: ids [T], alphas [T], copy weights [T, L], and its batch of one."""
    known = provider.infer(turns[-1:], progress=False)
    asked = context_batch([turns], known, words, run.config.max_context)
    cache, token = model.start(model.encode(asked)), torch.tensor([SOS])
    said, alphas, weights = [], [], []
    while len(said) < longest and int(token) != EOS:
        log_prob, alpha, copy = model.step(cache, token)
        log_prob[:, [*NEVER, *said]] = float("-inf")
        token = log_prob.argmax(dim=1)
        said.append(int(token))
        alphas.append(float(alpha))
        weights.append(copy[0])
    return said, alphas, torch.stack(weights), asked


# %%
plain = Decoding(max_length=16, block_ngrams=1)
answers, _ = answer_batch(model, replace(batch, target=None, label=None), plain)
long = [i for i, found in enumerate(answers) if len(found.ids) > 4] or [0]
most = min(long, key=lambda i: np.mean(answers[i].alpha))  # the answer that copies most
turns = prepared.corpus.splits["train"].context_texts(int(chosen[most]))
said, alphas, weights, asked = answer(turns)
library = answer_batch(model, asked, plain)[0][0]
assert [i for i in said if i != EOS] == library.ids
torch.testing.assert_close(alphas, library.alpha, rtol=1e-3, atol=1e-3)
print("last turn:", textwrap.shorten(turns[-1], 80))
print("answer:   ", " ".join(words.words[i] for i in said))
names = [f"{n} {words.words[i]}" for n, i in enumerate(said)]
figure = lessons.bars({"alpha": alphas}, names, "Alpha: generate (1) or copy (0)")
lessons.show(
    figure.update_yaxes(range=[0, 1]),
    "Alpha of each word. Near 1, the word comes from the vocabulary. Where alpha is low, the "
    "model gives more weight to copying from the context.",
)


# %%
def look_inside(said, alphas, weights, asked):
    """Heat map of copy weights: a row for each answer word, a column for each context word."""
    context = asked.context[0].tolist()
    rows = [
        f"{words.words[i]}  (alpha {alpha:.2f})" for i, alpha in zip(said, alphas, strict=True)
    ]
    shown = slice(max(len(context) - 45, 0), None)  # the end of a long context
    columns = [words.words[i] for i in context[shown]]
    figure = lessons.heatmap(
        weights[:, shown], rows, columns, "Copy weights of each answer word"
    )
    return figure.update_layout(width=860, margin_b=90)


lessons.show(
    look_inside(said, alphas, weights, asked),
    "The weights in each row add up to 1. The probability of a word is alpha times its "
    "generated part plus 1 - alpha times its copy weight.",
)

# %% [markdown]
# Now try it yourself. What must you write so that the model copies one of your words?


# %%
def ask(text="i lost my dog in the park and i feel terrible"):
    """Print the answer to a text and return its heat map of copy weights."""
    if not any(c.isalnum() for c in text):
        return "Write at least one word."
    said, alphas, weights, asked = answer([text])
    print(" ".join(words.words[i] for i in said))
    return look_inside(said, alphas, weights, asked)


lessons.play(
    ask, text=Text("i lost my dog in the park and i feel terrible", continuous_update=False)
)

# %% [markdown]
# The **answer explorer** does the same for a whole conversation. A bar shows each word's
# probability, split into a generated part and a copied part.

# %%
from ctsm_workbench import explorers as widgets

widgets.answer_explorer(run)

# %% [markdown]
# ## 3 · Each loss is a mean
#
# Eq. (21) prints $L_g$ as a *sum* over the words of an answer. Eq. (25) then adds four losses
# (emotion, generation, contrast and diversity) with the weights 1 : 1 : 1 : 1.5. What do such
# weights mean? We take a copy of the model without dropout and compute all losses of our batch.
# We weight them as the paper does; the run itself may use other weights.

# %%
import copy as copying

twin = copying.deepcopy(model)
for part in twin.modules():
    if isinstance(part, torch.nn.Dropout):
        part.p = 0.0
losses = {name: value.item() for name, value in twin.train()(batch).losses.items()}
emotion = losses["teacher"] + losses["student"]
emotion += run.config.student_label_weight * losses["student_label"]  # 0 in the paper
tokens_each = float(real.sum() / len(batch))
for kind, factor in (("mean over tokens", 1.0), ("sum over an answer's tokens", tokens_each)):
    parts = {
        "L_e": emotion,
        "L_g": factor * losses["generation"],
        "L_ccl": losses["contrast"],
        "1.5 L_div": 1.5 * factor * losses["diversity"],
    }
    shares = ", ".join(f"{k} {v:.1f} ({v / sum(parts.values()):.0%})" for k, v in parts.items())
    print(f"{kind:28} {shares}")
print(f"an answer has {tokens_each:.1f} tokens on average, EOS included")

# %% [markdown]
# > **Departure.** With a sum, the two word losses ($L_g$ and $L_{div}$) grow with the length of
# > the answer, and the emotion loss and the contrastive loss hardly count. The weights would
# > then mean something different in every batch. We take the mean over all target tokens, EOS
# > included.
#
# ## 4 · Five pairs of views
#
# A model may recognise an emotion and still write an answer that does not fit it.
# **Contrastive learning** trains this match directly. It uses four *views* of one dialogue: the
# true answer, its emotions, its context, and what the decoder is about to generate.
#
# | view | | mean over all positions of |
# |---|---|---|
# | target | $H_Y$ | an encoder of the true answer, used only in training |
# | emotion | $H_{ts}$ | $[H_t ; H_s]$, mapped from 57 to $d$ by a linear layer |
# | context | $H^{stu}$ | the decoder's memory |
# | generated | $P_w$ | the decoder's states |
#
# > **Departure.** Views are compared by a dot product, so they must have the same width. But
# > $P_w$ has one entry for each word of the vocabulary, and $H_{ts}$ is 57 wide. For $P_w$ we
# > take the decoder's states before the output layer. $H_{ts}$ passes through a linear layer,
# > which the paper does not mention.
#
# Four views give six pairs, and Eq. (22) uses five of them. The paper leaves out the pair
# (context, emotion), so that emotions are not aligned with the semantics of other contexts.
# This cell computes the four views step by step:

# %%
from ctsm_lib.kernels import masked_mean
from ctsm_lib.model.contrast import POSITIVE_PAIRS, VIEWS, cross_contrastive_loss, pair_loss


@torch.no_grad()
def four_views(model, batch):
    """Four views of each dialogue [B, 4, d], in the order of VIEWS, without dropout."""
    read, memory = model.read(batch), model.encode(batch)
    real = batch.target != 1
    taught = model.decoder.teach(
        model.embed, read.words["previous"], model.start(memory), batch.target
    )
    H_Y = model.target_encoder(model.embed(read.words["target"]), real)
    H_ts = model.emotion_view(masked_mean(read.H_ts, read.mask))
    H_stu = masked_mean(read.H_stu, read.mask)
    return torch.stack(
        [masked_mean(H_Y, real), H_ts, H_stu, masked_mean(taught.states, real)], dim=1
    )


views = four_views(model, batch)
ours = cross_contrastive_loss(views, run.config.temperature, run.config.contrast_negatives)
torch.testing.assert_close(float(ours), losses["contrast"], rtol=1e-3, atol=1e-4)
print("views", list(views.shape))
print("pairs", *(f"({a}, {b})" for a, b in POSITIVE_PAIRS), sep="\n  ")

# %% [markdown]
# Each view of a dialogue should be closer to another view *of the same dialogue* than to any
# other dialogue of the batch:
#
# $$ L(p, q) = -\log \frac{e^{p \cdot q / \tau}}{\sum_k e^{p \cdot k / \tau}} \quad (23)
# \qquad\qquad L_{ccl} = \frac{1}{5} \sum_{pairs} L \quad (24) $$
#
# All vectors have length 1, so $p \cdot q$ is a cosine. The cosine lies in $[-1, 1]$. The
# **temperature** $\tau = 0.07$ multiplies it by $1/\tau = 14.3$, so that the softmax can
# separate similar values. The vectors $k$ in the denominator are called keys. In each pair,
# both views take the role of the anchor $p$ in turn, so a batch of $B$ dialogues has $2B$
# anchors.
#
# > **Departure.** As printed, the sum in the denominator runs over the negative pairs only. The
# > fraction could then be larger than 1, and the loss would have no lower bound. The paper
# > follows earlier work with the loss NT-Xent. There, the sum also includes the positive pair.
# > The loss is then a cross-entropy, and its lowest possible value is 0.

# %%
tau = 0.07
p, q = torch.tensor([1.0, 0.0]), torch.tensor([1.0, 0.0])  # a perfect pair
others = torch.tensor([[-1.0, 0.0], [0.0, 1.0]])  # far-away negatives
positive, negative = (p @ q / tau).exp(), (others @ p / tau).exp().sum()
print(f"sum over the negatives only: {-torch.log(positive / negative):.2f}")
print(f"sum with the positive:       {-torch.log(positive / (positive + negative)):.2g}")

# %% [markdown]
# ### Exercise 6.2 · One pair of views
#
# **Goal:** compute the loss of one pair as a mean over the $2B$ anchors. The negatives are the
# other dialogues, in *both* views. **Difficulty:** ★★★ **Minutes:** 20
#
# <details><summary>Hint</summary>
#
# Stack both views to [2B, D] and normalise them. The scores are a [2B, 2B] matrix. An anchor is
# not its own negative, so put -inf on the diagonal. The positive of row i is row i + B, and the
# positive of row i + B is row i. `F.cross_entropy(scores, goal)` does the rest.
#
# </details>


# %%
def contrastive_pair(first, second, temperature):
    """The loss of two views [B, D] of the same B dialogues; vectors may have any length."""
    ### BEGIN SOLUTION
    both = F.normalize(torch.cat([first, second]), dim=1)
    scores = both @ both.T / temperature
    scores = scores.masked_fill(torch.eye(len(both), dtype=torch.bool), float("-inf"))
    goal = torch.arange(len(both)).roll(len(first))
    return F.cross_entropy(scores, goal)
    ### END SOLUTION


# %%
checks.contrastive_pair(contrastive_pair)

# %% [markdown]
# The library computes all five pairs at once. We check it against plain loops:


# %%
def plain_loops(first, second, temperature):
    """The same loss, computed for one anchor at a time."""
    everybody, size = [*first, *second], len(first)
    total = 0.0
    for i, anchor in enumerate(everybody):
        keys = [k for k in range(2 * size) if k != i]
        scores = torch.stack([anchor @ everybody[k] for k in keys]) / temperature
        total -= scores.log_softmax(dim=0)[keys.index((i + size) % (2 * size))]
    return total / len(everybody)


unit = F.normalize(views[:8], dim=-1).transpose(0, 1)  # K B d, eight dialogues
a, b = unit[0], unit[1]
torch.testing.assert_close(pair_loss(a[None], b[None], tau, "both")[0], plain_loops(a, b, tau))
print(f"loss of (target, emotion): {plain_loops(a, b, tau):.3f} in both versions")

# %% [markdown]
# ### A loss that starts too high
#
# If every key were equally likely, the loss would be $\ln(2B - 1)$, its *chance value*. A new
# model should start close to this value. Does it?

# %%
from ctsm_lib.training import build_model

fresh = build_model(run.config, prepared).eval()
kinds = {"new": four_views(fresh, batch), "trained": views}
off = ~torch.eye(len(batch), dtype=torch.bool)
for way, keys in (("both", 2 * len(batch) - 1), ("cross", len(batch))):
    print(f"chance, negatives {way}: ln {keys} = {np.log(keys):.2f}")
for kind, found in kinds.items():
    both, cross = (cross_contrastive_loss(found, tau, way) for way in ("both", "cross"))
    unit = F.normalize(found, dim=-1).transpose(0, 1)
    within = (unit @ unit.transpose(1, 2))[:, off].mean(dim=1)
    alike = ", ".join(f"{n} {x:.2f}" for n, x in zip(VIEWS, within.tolist(), strict=True))
    print(f"{kind:8} negatives of both views {both:5.2f}, of the other view only {cross:5.2f}")
    print(f"         cosine between different dialogues: {alike}")

# %% [markdown]
# In a new model, *different* dialogues look nearly the same within one view, because every
# context has passed through the same random layers. Two *views* of one dialogue come from
# different layers and may have nothing in common. So the negatives in the anchor's own view get
# a higher score than the positive; the difference is of the order of $1/\tau$. With the
# negatives of both views, the loss therefore starts far above its chance value. The first
# training steps then only push dialogues apart, before the model has learned anything about
# them.
#
# > **Departure.** The paper takes all other dialogues as negatives, but does not say in which
# > view. Presets `paper` and `faithful` take both views, as NT-Xent does. The other presets set
# > `contrast_negatives="cross"`: they use the other dialogues in the *other* view only. This
# > loss starts near its chance value, $\ln B$.
#
# ### Change the temperature


# %%
def losses_at(temperature=0.07, negatives="both"):
    """Bar chart of the losses of the five pairs, for a new and for the trained model."""
    heights = {}
    for kind, found in kinds.items():
        unit = F.normalize(found, dim=-1).transpose(0, 1)
        first = torch.stack([unit[VIEWS.index(a)] for a, _ in POSITIVE_PAIRS])
        second = torch.stack([unit[VIEWS.index(b)] for _, b in POSITIVE_PAIRS])
        heights[kind] = pair_loss(first, second, temperature, negatives).tolist()
    pairs = [f"{a}, {b}" for a, b in POSITIVE_PAIRS]
    title = f"Loss of each pair, temperature {temperature:.2g}, negatives: {negatives}"
    return lessons.bars(heights, pairs, title, "loss")


lessons.show(
    losses_at(),
    "With negatives from both views, the losses of a new model are of the order of 1/tau = 14. "
    "The trained model learned with the negatives that its own settings choose, which may not "
    "be the ones shown here.",
)

# %%
lessons.play(
    losses_at,
    temperature=FloatLogSlider(0.07, min=-2, max=1, continuous_update=False),
    negatives=["both", "cross"],
)

# %% [markdown]
# With a high temperature, every loss is close to $\ln$ of the number of keys, and there is
# nothing to learn. With a low temperature, only the single hardest negative matters.
#
# ## 5 · The diversity loss
#
# Dialogue models often answer "i am sorry to hear that". The paper takes the loss $L_{div}$
# from CEM to reduce this. It counts how often the model predicts each word $v$ during training.
# This count is $f_v$. Words that are rarely predicted get a higher weight:
#
# $$ w_v = 1 - \frac{f_v}{\max f}, \text{ rescaled to mean 1 over the vocabulary}, \qquad
# L_{div} = \frac{1}{N} \sum_t w_{y_t}\, (-\log P(y_t)) $$

# %% [markdown]
# ### Exercise 6.3 · The weights of the diversity loss
#
# **Goal:** compute the weight of each target word from the counts. It must also work before
# anything has been counted. **Difficulty:** ★★ **Minutes:** 8
#
# <details><summary>Hint</summary>
#
# Rescale by the mean over the *vocabulary*, then select the targets with `weights[target]`.
# When all counts are 0, `clamp(min=1)` on the maximum makes every weight 1.
#
# </details>


# %%
def diversity_weights(counts, target):
    """Weights [N] of the target words [N], from the counts [V] of all predictions so far."""
    ### BEGIN SOLUTION
    raw = 1 - counts / counts.max().clamp(min=1)
    return (raw / raw.mean())[target]
    ### END SOLUTION


# %%
checks.diversity_weights(diversity_weights)

# %% [markdown]
# Which words did the trained model count, and which weights follow from the counts?

# %%
counts = model.diversity.counts.double()
by_word = 1 - counts / counts.max().clamp(min=1)
by_word = (by_word / by_word.mean()).float()
torch.testing.assert_close(model.diversity.weights(torch.arange(len(counts))), by_word)
top = counts.topk(8).indices.tolist()
print(f"counted: {int(counts.sum()):,} predictions of {int((counts > 0).sum()):,} words")
print(
    "most frequent, with weight:", ", ".join(f"{words.words[i]} {by_word[i]:.2f}" for i in top)
)
by_token = by_word[batch.target[real]]
for name, w in (("words of the vocabulary", by_word), ("tokens of the answers", by_token)):
    near = ((w - w.max()).abs() < 0.01).float().mean()
    low, middle = w.quantile(0.01), w.median()
    print(
        f"{name:24} 1 % below {low:.3f}, median {middle:.3f}, "
        f"within 0.01 of the largest: {near:.1%}"
    )

# %% [markdown]
# Nearly every *word* of the vocabulary has the same weight. Only a few very common words have a
# lower weight, but these words make up a large part of every answer. The weights do not
# distinguish rare words from one another. Does $L_{div}$ then teach the model anything that
# $L_g$ does not teach? To find out, we compare the directions in which the two losses would
# move the decoder.

# %%
read, memory = model.read(batch), model.encode(batch)
taught = model.decoder.teach(
    model.embed, read.words["previous"], model.start(memory), batch.target
)
nll = -taught.scores.log_prob
L_g, L_div = nll.mean(), (model.diversity.weights(taught.target) * nll).mean()
parameters = [p for p in model.decoder.parameters() if p.requires_grad]
directions = []
for loss in (L_g, L_div):
    grads = torch.autograd.grad(loss, parameters, retain_graph=True)
    directions.append(torch.cat([g.flatten() for g in grads]))
cosine = F.cosine_similarity(*directions, dim=0)
print(f"L_g {L_g:.2f}, L_div {L_div:.2f}; cosine between their gradients {cosine:.2f}")
ratio = 1.5 * losses["diversity"] / losses["total"]
print(f"1.5 L_div, divided by the total loss with this run's own weights: {ratio:.0%}")

# %% [markdown]
# The closer this cosine is to 1, the more $L_{div}$ acts like a second $L_g$ in which full
# stops and pronouns count less. Section 3 shows how large the share of $L_{div}$ in Eq. (25) is
# with the paper's weight of 1.5. A similar direction does not mean that $L_{div}$ has no effect
# on the answers: a lower weight for the commonest words may still change which words the model
# chooses. Only the answers can show this. Lesson 08 measures diversity and shows how much it
# depends on decoding.
#
# ## What you have now
#
# - A decoder that generates or copies words, and a heat map that shows where it copies from.
# - A mixture of probabilities that never takes the logarithm of 0.
# - Five pairs of views that training brings closer together, and a way to check how a
#   contrastive loss starts.
# - A way to inspect the diversity loss: look at the spread of its weights before you rely on
#   it.
#
# The library's versions are in `model/generation`, `model/pointer` and `model/contrast`. You
# have now seen all losses. Lesson 07 adds them up and trains the model.
