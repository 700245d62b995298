# %% [markdown]
# # 05 · Train a student network on a teacher's soft labels
#
# **What you will do.** Build the two emotion predictors of CTSM, the teacher network and the
# student network; train one on the predictions of the other; and see what happens if one call,
# `detach`, is missing.
#
# **What you will learn.** Intensity weighting, attention pooling and soft labels; the effect of
# a stop-gradient on gradients; why two networks that learn from each other can agree on useless
# predictions; Eqs. (10) to (19).
#
# **What you need.** Lessons 02 and 04 for the trait and state embeddings; cross-entropy.
# About 60 minutes.
#
# *Paper: Sec. 3.5. Library: `model/guidance`.*

# %%
import numpy as np
import plotly.graph_objects as go
import torch
from ctsm_lib.corpus import EMOTIONS
from ctsm_workbench.course import checks, lessons
from ipywidgets import IntSlider

lessons.begin("guidance")

# %% [markdown]
# The highlighted boxes are the parts that this lesson builds. We use a model that was trained
# for a short time. If there is no trained model yet, the next cell trains one.
#
# In this lesson, the *teacher* and the *student* are always the two networks.

# %%
prepared, run = lessons.data(), lessons.trained_run()
model, words, pairs = run.model, run.vocabulary, prepared.pairs["train"]
print(lessons.describe())
print(f"model: preset {run.config.preset}, {run.iteration} iterations, d = {run.config.dim}")

# %% [markdown]
# ## 1 · Two networks read one dialogue
#
# Each dialogue has one of 32 labels, but feelings are seldom so clear: a person who is
# *devastated* is also *sad*. So the paper trains two predictors. The **teacher** learns from
# the label. The **student** learns from the teacher's prediction: all 32 probabilities, which
# are called a **soft label**. In the paper, the student's loss does not contain the label. The
# presets `improved` and `sample` go beyond the paper and add it (`student_label_weight=1`).
# When the model answers, it uses only the student.
#
# The two networks read the same dialogue, but their inputs are different:
#
# $$
# V^{tchr} = [\,H^{tchr} ; V_t ; V_s\,] \quad (10) \qquad\qquad
# V^{stu} = [\,H^{stu} ; H_t ; H_s\,] \quad (16)
# $$
#
# | | context with commonsense (lesson 03) | trait emotion (02) | state emotion (04) | total |
# |---|---|---|---|---|
# | teacher | $H^{tchr}$, $d$ | embedding $V_t$, 14 | embedding $V_s$, 43 | $d + 57$ |
# | student | $H^{stu}$, $d$ | encoded $H_t$, 14 | encoded $H_s$, 43 | $d + 57$ |
#
# The teacher gets the emotion embeddings, with the ratings of the lexicon and the cosines with
# the label words. The student gets the outputs of the emotion encoders. So the student's loss
# also trains these encoders. The paper prints $d_s$ as the width of both inputs, but $d_s = 43$
# is the width of $V_s$ alone. With the paper's $d = 300$, both inputs are 357 wide.

# %%
first_of = [np.flatnonzero(pairs.label == label)[0] for label in np.unique(pairs.label)]
batch = pairs.collate(np.array(first_of))  # one dialogue for each emotion


def two_inputs(batch):
    """V_tchr and V_stu [B, L, W], intensity [B, L] and mask [B, L] of a batch."""
    read = model.read(batch)
    mask = read.mask
    enriched = model.teacher_fusion(read.H_C, read.K, mask)
    teacher = torch.cat([enriched, read.V_ts], dim=-1)  # Eq. (10)
    return teacher, read.V_stu, read.intensity, mask  # V_stu: Eq. (16)


with torch.no_grad():
    V_tchr, V_stu, intensity, mask = two_inputs(batch)
for name, values in (("V_tchr", V_tchr), ("V_stu", V_stu), ("intensity", intensity)):
    print(f"{name:9} {list(values.shape)}")

# %% [markdown]
# ## 2 · Weighting tokens by intensity
#
# Before the tokens are pooled, each one is weighted by its emotion intensity $I$ (lesson 02). A
# softmax over the tokens of the dialogue gives more weight to words with a strong emotion:
#
# $$ C_l = n \cdot \mathrm{softmax}(I)_l \; V_l \qquad (11), (17) $$
#
# $n$ is the number of real tokens. With this factor, the mean weight is 1, however long the
# dialogue is.

# %% [markdown]
# ### Exercise 5.1 · Intensity weights
#
# **Goal:** compute $n \cdot \mathrm{softmax}(I)$ over the real tokens of each dialogue. PAD
# gets 0.
# **Difficulty:** ★★ **Minutes:** 8
#
# <details><summary>Hint</summary>
#
# $e^0$ is 1, not 0, so a PAD token with intensity 0 would get a share.
# `masked_fill(~mask, float("-inf"))` before the softmax gives it a share of 0.
# `mask.sum(dim=1, keepdim=True)` counts the real tokens of each dialogue, including CLS.
#
# </details>


# %%
def intensity_weights(intensity, mask):
    """Weights [B, L] of tokens with intensity [B, L]; mask [B, L] is True at real tokens."""
    ### BEGIN SOLUTION
    share = intensity.masked_fill(~mask, float("-inf")).softmax(dim=1)
    return share * mask.sum(dim=1, keepdim=True)
    ### END SOLUTION


# %%
checks.intensity_weights(intensity_weights)

# %%
from ctsm_lib.model.guidance import intensity_weights as library_weights

weights = library_weights(intensity, mask)
share = torch.softmax(intensity.masked_fill(~mask, float("-inf")), dim=1)
torch.testing.assert_close(weights, share * mask.sum(dim=1, keepdim=True))
row = int(intensity.max(dim=1).values.argmax())  # a dialogue with a word of high intensity
n = min(int(mask[row].sum()), 30)
tokens = [f"{i} {words.words[w]}" for i, w in enumerate(batch.context[row, :n].tolist())]
figure = lessons.bars(
    {"weight": weights[row, :n].tolist()}, tokens, "Weights of Eq. (11), token by token"
)
lessons.show(
    figure.add_hline(y=1, line_dash="dot"),
    f"A dialogue with the label {EMOTIONS[batch.label[row]]}. Unrated words are below 1. The "
    "strongest word gets at most about e = 2.7 times the weight of an unrated word.",
)

# %% [markdown]
# > **Departure.** The paper prints $\sigma(I) \times V$ without $n$. A softmax over $n$ tokens
# > gives each token about $1/n$. So the token vectors of a long dialogue would be smaller than
# > those of a short one when they enter the next layer. The library multiplies these weights by
# > $n$.

# %%
length = mask.sum(dim=1)
order = length.argsort()
size = {}
for name, weight in (("printed: softmax(I) V", share), ("with the factor n", weights)):
    norms = (V_tchr * weight.unsqueeze(-1)).norm(dim=-1).sum(dim=1) / length
    size[name] = norms[order].tolist()
    print(f"{name:22} shortest dialogue {size[name][0]:6.2f}   longest {size[name][-1]:6.2f}")
print(f"lengths: {int(length.min())} to {int(length.max())} tokens")

# %% [markdown]
# The numbers are the mean lengths (norms) of the token vectors that enter Eq. (12). In the
# first row, they are smaller for the longest dialogue. In the second row, the factor $n$
# removes this effect.
#
# ### Why Eq. (11) cannot contain the sum
#
# Eq. (11) as printed ends with $\mathrm{SUM}_{d=1}$, a sum over tokens. But the text says that
# $C$ is in $\mathbb{R}^{L \times d_s}$, and Eq. (12) takes a softmax over the tokens of $C$. If
# we compute the sum first, only one vector remains, and the softmax of one number is 1:

# %%
W = V_tchr.shape[-1]
attend, score = torch.nn.Linear(W, W), torch.nn.Linear(W, 1, bias=False)
summed = (V_tchr * weights.unsqueeze(-1)).sum(dim=1, keepdim=True)  # B 1 W, as printed
S = score(attend(summed).tanh()).squeeze(-1).softmax(dim=1)  # B 1
print("S for five dialogues:", S[:5, 0].tolist())
target = torch.randn(len(summed), W)
loss = ((S.unsqueeze(1) @ summed).squeeze(1) - target).square().mean()
loss.backward()
largest = max(float(p.grad.abs().max()) for p in (*attend.parameters(), *score.parameters()))
print(f"largest gradient in W_c, b and v: {largest}")

# %% [markdown]
# > **Departure.** With the sum in Eq. (11), the parameters of Eq. (12) would have no effect:
# > $S = 1$ for all values of them, and their gradient is exactly 0. The product $C^\top S$ in
# > Eq. (13) already sums over the tokens. So we use Eq. (11) only to weight the tokens, and Eq.
# > (13) to sum them.

# %% [markdown]
# ## 3 · Attention pooling
#
# A dialogue has many tokens but one emotion. Pooling learns which tokens are important. Each
# token gets a score, a softmax turns the scores into shares, and the tokens are summed with
# these shares as weights:
#
# $$
# S = \mathrm{softmax}_l\big(v^\top \tanh(W_c C_l + b)\big) \quad (12) \qquad\qquad
# C^\top S = \sum_l S_l\, C_l
# $$
#
# | part | shape | content |
# |---|---|---|
# | $C$ | B x L x W | the weighted tokens |
# | $S$ | B x L | one share per token |
# | $C^\top S$ | B x W | one vector for the dialogue |
#
# The paper prints $\mathbb{R}^{L \times d}$ as the shape of $S$. This would be one share per
# token *and* dimension.

# %% [markdown]
# ### Exercise 5.2 · Attention pooling
#
# **Goal:** compute the pooled vector and the shares $S$. PAD must get no share.
# **Difficulty:** ★★ **Minutes:** 12
#
# <details><summary>Hint</summary>
#
# `values @ weight.T + bias` applies the linear map to every token. `@ score` with a vector [W]
# removes the last axis and leaves [B, L]. The softmax is over the tokens, so use `dim=1`.
# `torch.einsum("bl,blw->bw", S, values)` is the weighted sum.
#
# </details>


# %%
def attention_pooling(values, weight, bias, score, mask):
    """Pooled vectors [B, W] and shares S [B, L] of the values C [B, L, W].

    The parameters are weight W_c [W, W], bias b [W] and score v [W]; mask is [B, L].
    """
    ### BEGIN SOLUTION
    scores = (values @ weight.T + bias).tanh() @ score
    S = scores.masked_fill(~mask, float("-inf")).softmax(dim=1)
    return torch.einsum("bl,blw->bw", S, values), S
    ### END SOLUTION


# %%
checks.attention_pooling(attention_pooling)

# %% [markdown]
# Two more layers turn the pooled vector into 32 probabilities. The teacher and the student have
# separate weights:
#
# $$
# S' = \tanh(W_4\, (C^\top S) + b_4) \quad (13) \qquad\qquad
# P_e = \mathrm{softmax}(W_{out}\, S' + b_{out}) \quad (14)
# $$
#
# We compute this step by step with the trained weights of both networks, and we compare it with
# the library's `EmotionPredictor`:


# %%
def predict(values, intensity, mask, part):
    """Emotion logits [B, 32] and shares S [B, L] of a predictor `part`, Eq. (11) to (14)."""
    C = values * library_weights(intensity, mask).unsqueeze(-1)
    scores = part.attend(C).tanh() @ part.score.weight[0]
    S = scores.masked_fill(~mask, float("-inf")).softmax(dim=1)
    hidden = part.hidden(torch.einsum("bl,blw->bw", S, C)).tanh()
    return part.classify(hidden), S


with torch.no_grad():
    for part, values in ((model.teacher, V_tchr), (model.student, V_stu)):
        mine, theirs = predict(values, intensity, mask, part), part(values, intensity, mask)
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-5)
print("Our teacher and our student equal the library's.")


# %%
def attention_shares(dialogue: int = 0):
    """Bars of the shares S that teacher and student give to the tokens of a dialogue."""
    with torch.no_grad():
        shares = {
            "teacher": model.teacher(V_tchr, intensity, mask)[1][dialogue],
            "student": model.student(V_stu, intensity, mask)[1][dialogue],
        }
    n = int(mask[dialogue].sum())
    tokens = [
        f"{i} {words.words[w]}" for i, w in enumerate(batch.context[dialogue, :n].tolist())
    ]
    title = f"Attention shares in a dialogue with the label {EMOTIONS[batch.label[dialogue]]}"
    return lessons.bars({k: v[:n].tolist() for k, v in shares.items()}, tokens, title, "share")


short = int(mask.sum(dim=1).argmin())
lessons.show(
    attention_shares(short),
    "The shares of each network sum to 1. Which tokens get the largest shares, and do the two "
    "networks choose the same ones?",
)

# %% [markdown]
# Look at other dialogues. There is one for each emotion. When do both networks attend to a word
# that you would call emotional, and when do they not?

# %%
lessons.play(
    attention_shares, dialogue=IntSlider(short, 0, len(mask) - 1, continuous_update=False)
)

# %% [markdown]
# ## 4 · What do soft labels add to a label?
#
# The teacher learns from the labels with the usual cross-entropy
# $L_{tchr} = -\log P^{tchr}(e^*)$ (15), where $e^*$ is the label. But its predictions contain
# more information than the label. For each emotion, we take some training dialogues and average
# the probabilities that the teacher predicts for them.

# %%
chosen = np.concatenate([np.flatnonzero(pairs.label == label)[:8] for label in range(32)])
chosen = chosen[np.argsort(pairs.context_length[chosen])]  # similar lengths need little padding
teacher_logits, labels = [], []
with torch.no_grad():
    for index in np.array_split(chosen, 8):
        some = pairs.collate(index)
        values, _, strength, real = two_inputs(some)
        teacher_logits.append(model.teacher(values, strength, real)[0])
        labels.append(some.label)
soft_labels, labels = torch.cat(teacher_logits).softmax(dim=-1), torch.cat(labels)
right = (soft_labels.argmax(dim=1) == labels).float().mean()
of_label = soft_labels.gather(1, labels.unsqueeze(1)).mean()
print(f"{len(labels)} training dialogues: the teacher is right in {right:.0%} of them.")
print(f"It gives the label a mean probability of {of_label:.0%}; other emotions get the rest.")

# %%
mean = torch.stack([soft_labels[labels == k].mean(dim=0) for k in range(32)])
lessons.show(
    lessons.heatmap(
        mean.clamp(max=0.3), EMOTIONS, EMOTIONS, "Mean soft label for each label (up to 0.3)"
    ).update_layout(height=860),
    "Each row is a label; each column is the probability that the teacher gives to an emotion. "
    "The diagonal repeats what the label already says. All other cells are information that "
    "only the teacher adds.",
)
beside = mean.clone().fill_diagonal_(0)
for place in beside.flatten().topk(6).indices.tolist():
    label, other = divmod(place, 32)
    print(f"label {EMOTIONS[label]:13} -> {EMOTIONS[other]:13} {mean[label, other]:.2f}")

# %% [markdown]
# Hinton and others called this *dark knowledge*: the soft labels show which wrong answers are
# nearly right. Do the pairs above make sense? This depends on the data and the training of the
# teacher. Compare a run on the real data with one on the sample.
#
# ## 5 · Learning from soft labels
#
# Eq. (18) of the paper is $L_{stu} = -\log P^{stu}(P^{tchr})$.
#
# > **Departure.** As printed, a probability distribution, $P^{tchr}$, is used as the index of
# > an emotion. This is not defined. We could use the most probable emotion of the teacher as
# > the index, but this would lose the information that makes a soft label useful. We interpret
# > Eq. (18) as the cross-entropy between two distributions. The teacher's distribution is a
# > constant ($\mathrm{sg}$: stop-gradient, `detach` in PyTorch):
#
# $$
# L_{stu} = -\sum_{e=1}^{32} \mathrm{sg}\big(P^{tchr}(e)\big)\, \log P^{stu}(e) \qquad (18)
# $$
#
# The loss of both networks together is $L_e = L_{tchr} + L_{stu}$ (19).

# %% [markdown]
# ### Exercise 5.3 · The soft-label loss
#
# **Goal:** compute Eq. (18) from logits, one number per dialogue. No gradient may reach the
# teacher.
# **Difficulty:** ★★ **Minutes:** 8
#
# <details><summary>Hint</summary>
#
# Use `log_softmax` for the student and `softmax` for the teacher. `.detach()` returns a
# constant with the same values: no gradient flows through it. Which of the two networks must be
# the constant?
#
# </details>


# %%
def soft_label_loss(student, teacher):
    """Losses [B] from the logits of the student [B, 32] and of the teacher [B, 32]."""
    ### BEGIN SOLUTION
    soft_labels = teacher.detach().softmax(dim=-1)
    return -(soft_labels * student.log_softmax(dim=-1)).sum(dim=-1)
    ### END SOLUTION


# %%
checks.soft_label_loss(soft_label_loss)

# %% [markdown]
# ## 6 · What the stop-gradient changes
#
# Let $p$ be the teacher's probabilities, $q$ the student's probabilities, and
# $L = -\sum_e p_e \log q_e$. The derivatives with respect to the logits $z$ are
#
# $$
# \frac{\partial L}{\partial z^{stu}_e} = q_e - p_e \qquad\qquad
# \frac{\partial L}{\partial z^{tchr}_e} = p_e\,(-\log q_e - L).
# $$
#
# The first gradient moves the student towards the teacher. The second gradient exists only
# without the stop-gradient. A training step with this gradient would increase the teacher's
# logit wherever $-\log q_e < L$, that is, for emotions to which the *student* already gives a
# high probability. The teacher would learn to predict what is easy for the student.

# %%
from ctsm_lib.model.guidance import label_loss
from ctsm_lib.model.guidance import soft_label_loss as library_soft_label_loss

z_stu = torch.randn(32, dtype=torch.double, requires_grad=True)
z_tchr = torch.randn(32, dtype=torch.double, requires_grad=True)
p, log_q = z_tchr.softmax(dim=0), z_stu.log_softmax(dim=0)
loss = -(p * log_q).sum()
loss.backward()
torch.testing.assert_close(z_stu.grad, log_q.exp() - p)
torch.testing.assert_close(z_tchr.grad, p * (-log_q - loss))
z_tchr.grad = None
library_soft_label_loss(z_stu[None].float(), z_tchr[None].float()).sum().backward()
print("Both formulas hold. With the library's loss the teacher's gradient is", z_tchr.grad)

# %% [markdown]
# Now we look at the whole model: how large is the gradient of each loss in each part?

# %%
PARTS = ("teacher", "teacher_fusion", "student", "student_fusion", "emotion", "encoder")


def gradient_norms(loss_of):
    """Norm of the gradient in each of PARTS, for a loss of (student logits, teacher logits)."""
    model.zero_grad()
    teacher_input, student_input, strength, real = two_inputs(batch)
    teacher, student = (
        model.teacher(teacher_input, strength, real)[0],
        model.student(student_input, strength, real)[0],
    )
    loss_of(student, teacher).mean().backward()
    parts = [[p.grad for p in getattr(model, name).parameters()] for name in PARTS]
    model.zero_grad()
    return [
        float(sum(g.square().sum() for g in part if g is not None)) ** 0.5 for part in parts
    ]


def without_stop(student, teacher):
    """The soft-label loss without the stop-gradient."""
    return -(teacher.softmax(dim=-1) * student.log_softmax(dim=-1)).sum(dim=-1)


norms = {
    "L_tchr": gradient_norms(lambda student, teacher: label_loss(teacher, batch.label)),
    "L_stu": gradient_norms(library_soft_label_loss),
    "L_stu without stop": gradient_norms(without_stop),
}

# %%
print(f"{'':18}" + "".join(f"{name:>15}" for name in PARTS))
for name, values in norms.items():
    print(f"{name:18}" + "".join(f"{value:15.4f}" for value in values))
lessons.show(
    lessons.bars(norms, PARTS, "Gradient of each loss in each part", "norm"),
    "With the stop-gradient, L_stu has a gradient of exactly 0 in both parts of the teacher. "
    "Without it, the gradient is not 0. Both losses train the encoders that the two networks "
    "share.",
)

# %% [markdown]
# ## 7 · The collapse
#
# How much harm does a missing stop-gradient do? We train a new teacher and a new student on
# fixed inputs: the dialogues of our batch, one for each emotion. We do this in four ways: with
# and without the stop-gradient, and with and without the label loss $L_{tchr}$. The cell trains
# four pairs of networks:

# %%
from ctsm_lib.model.guidance import EmotionPredictor

STEPS = 60


def train_pair(stop, with_labels):
    """L_tchr, L_stu, number of emotions the teacher predicts, and its entropy, at each step."""
    torch.manual_seed(0)
    teacher, student = EmotionPredictor(W), EmotionPredictor(W)
    optimizer = torch.optim.Adam([*teacher.parameters(), *student.parameters()], lr=1e-3)
    history = []
    for _ in range(STEPS):
        z_tchr, _ = teacher(V_tchr, intensity, mask)
        z_stu, _ = student(V_stu, intensity, mask)
        soft = (library_soft_label_loss if stop else without_stop)(z_stu, z_tchr).mean()
        hard = label_loss(z_tchr, batch.label).mean()
        optimizer.zero_grad()
        (soft + hard if with_labels else soft).backward()
        optimizer.step()
        entropy = torch.distributions.Categorical(logits=z_tchr).entropy().mean()
        kinds = len(z_tchr.argmax(dim=1).unique())
        history.append((hard.item(), soft.item(), kinds, entropy.item()))
    return np.array(history).T


ways = {
    (stop, labels): train_pair(stop, labels)
    for labels in (True, False)
    for stop in (True, False)
}

# %%
print(f"after {STEPS} steps:         L_tchr   L_stu   emotions predicted   teacher's entropy")
figure = go.Figure()
for (stop, labels), (hard, soft, kinds, entropy) in ways.items():
    name = f"{'stop' if stop else 'no stop'}, {'labels' if labels else 'no labels'}"
    print(f"{name:20} {hard[-1]:10.2f} {soft[-1]:7.2f} {kinds[-1]:14.0f} {entropy[-1]:22.3f}")
    line = dict(color="#2a7de1" if stop else "#c45f0a", dash="solid" if labels else "dot")
    figure.add_scatter(x=list(range(STEPS)), y=kinds.tolist(), name=name, line=line)
lessons.show(
    figure.update_layout(
        title="How many of the 32 emotions the teacher predicts",
        xaxis_title="step",
        yaxis_title="different predictions",
        width=860,
        height=400,
    ),
    "The dotted orange line is the training without stop-gradient and without labels: the "
    "teacher predicts fewer and fewer emotions. The two solid lines are the trainings with "
    "labels.",
)

# %% [markdown]
# Read the table from bottom to top. The *entropy* of a soft label measures how evenly the
# probability is spread over the emotions.
#
# - **no stop, no labels**: $L_{stu}$ falls to about 0, the lowest possible value, because both
#   networks become certain of the same few emotions, whatever the dialogue is. They have
#   learned nothing useful: $L_{tchr}$ shows how wrong they are. Somebody who looked only at
#   $L_{stu}$ would think that the training was a success.
# - **stop, no labels**: the teacher stays as it was at the beginning, and the student learns
#   its random predictions. This is useless, but it is not a collapse.
# - **no stop, labels**: the labels prevent the collapse, but the wrong gradient is still there.
#   The teacher becomes more certain, because this makes the student's loss smaller. Compare its
#   entropy with that of *stop, labels*: the soft labels lose information.
# - **stop, labels**: this is the paper's way. The teacher learns from the label, and the
#   student learns from the teacher.
#
# ## What you have now
#
# - You have a predictor that weights tokens by intensity, pools them by attention, and predicts
#   one of 32 emotions. The model contains it twice, with different inputs.
# - You have a student that learns from 32 probabilities instead of one label, and you know why
#   no gradient of its loss may reach the teacher.
# - You know three places where the printed equations cannot be used as they are: the sum and
#   the missing $n$ in Eq. (11), and the index in Eq. (18).
#
# In the library, all this is in `model/guidance`. A setting beyond the paper,
# `student_label_weight`, adds the label to the student's loss. Without it, the student learns
# only from the teacher's probabilities, which say little before the teacher has learned
# something. Lesson 06 uses the student's context $H^{stu}$ to write an answer.
