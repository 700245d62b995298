# %% [markdown]
# # 05 · Learn from a teacher that sees more
#
# **What you will do.** Build the two emotion predictors of CTSM, the teacher and the student, let one learn from the other, and
# watch what happens when one word, `detach`, is missing.
#
# **What you will learn.** Intensity weighting, attention pooling, soft labels; what a stop-gradient does to gradients, and why
# two networks that may both move can agree on nothing worth knowing; Eqs. (10) to (19).
#
# **What you need.** Lessons 02 and 04 for the trait and state embeddings; cross-entropy. About 60 minutes.
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
# The lit boxes are what this lesson builds. We look into a model that was trained for a short while; the first lesson that you
# open trains it.

# %%
prepared, run = lessons.data(), lessons.trained_run()
model, words, pairs = run.model, run.vocabulary, prepared.pairs["train"]
print(lessons.describe())
print(f"model: preset {run.config.preset}, {run.iteration} iterations, d = {run.config.dim}")

# %% [markdown]
# ## 1 · Two readers of one dialogue
#
# A dialogue comes with one of 32 labels, but a feeling is rarely that tidy: somebody who is *devastated* is *sad* as well. So the
# paper trains two predictors. The **teacher** learns from the label. The **student** never sees the label: it learns from what the
# teacher believes, all 32 probabilities of it. When the model answers, the teacher is gone and the student works alone.
#
# The two read the same dialogue in different ways:
#
# $$ V^{tchr} = [\,H^{tchr} ; V_t ; V_s\,] \quad (10) \qquad\qquad V^{stu} = [\,H^{stu} ; H_t ; H_s\,] \quad (16) $$
#
# | | context with commonsense (lesson 03) | trait (02) | state (04) | together |
# |---|---|---|---|---|
# | teacher | $H^{tchr}$, $d$ | embedding $V_t$, 14 | embedding $V_s$, 43 | $d + 57$ |
# | student | $H^{stu}$, $d$ | encoded $H_t$, 14 | encoded $H_s$, 43 | $d + 57$ |
#
# The teacher gets the raw material (ratings of the lexicon, cosines to the label words); the student gets what the emotion encoders made
# of it. Learning from the teacher therefore trains these encoders, too. The paper prints both widths as $d_s$, which is the 43 of $V_s$
# alone; with the paper's $d = 300$ they are 357.

# %%
first_of = [np.flatnonzero(pairs.label == label)[0] for label in np.unique(pairs.label)]
batch = pairs.collate(np.array(first_of))  # one dialogue for each emotion


def two_readings(batch):
    """V_tchr and V_stu [B, L, W], intensity [B, L] and mask [B, L] of a batch."""
    read = model.read(batch)
    mask = read["mask"]
    enriched = model.teacher_fusion(read["H_C"], read["K"], mask)
    teacher = torch.cat([enriched, read["V_ts"]], dim=-1)  # Eq. (10)
    student = torch.cat([read["H_stu"], read["H_ts"]], dim=-1)  # Eq. (16)
    return teacher, student, read["intensity"], mask


with torch.no_grad():
    V_tchr, V_stu, intensity, mask = two_readings(batch)
for name, values in (("V_tchr", V_tchr), ("V_stu", V_stu), ("intensity", intensity)):
    print(f"{name:9} {list(values.shape)}")

# %% [markdown]
# ## 2 · Strong words first
#
# Before anything is pooled, each token is weighed by its emotion intensity $I$ (lesson 02): a softmax over the tokens of the dialogue
# gives strong words more.
#
# $$ C_l = n \cdot \mathrm{softmax}(I)_l \; V_l \qquad (11), (17) $$
#
# $n$ is the number of real tokens. With it the weights are 1 on average, however long the dialogue is.

# %% [markdown]
# ### Exercise 5.1 · Intensity weights
#
# **Goal:** $n \cdot \mathrm{softmax}(I)$ over the real tokens of each dialogue; PAD gets 0. **Difficulty:** ★★ **Minutes:** 8
#
# <details><summary>Hint</summary>
#
# $e^0$ is 1, not 0: a PAD token with intensity 0 would take its share. `masked_fill(~mask, float("-inf"))` before the softmax gives it
# nothing. `mask.sum(dim=1, keepdim=True)` counts the real tokens of each dialogue, CLS among them.
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
row = int(intensity.max(dim=1).values.argmax())  # a dialogue with a very strong word
n = min(int(mask[row].sum()), 30)
tokens = [f"{i} {words.words[w]}" for i, w in enumerate(batch.context[row, :n].tolist())]
figure = lessons.bars(
    {"weight": weights[row, :n].tolist()}, tokens, "Weights of Eq. (11), token by token"
)
lessons.show(
    figure.add_hline(y=1, line_dash="dot"),
    f"A dialogue labelled {EMOTIONS[batch.label[row]]}. Unrated words stay a little below 1. "
    "The strongest word gets at most e = 2.7 times as much as an unrated one: a nudge, no more.",
)

# %% [markdown]
# > **Departure.** The paper prints $\sigma(I) \times V$ without $n$. A softmax over $n$ tokens gives each about $1/n$, so the tokens of a
# > long dialogue would enter the next layer smaller than those of a short one. The library multiplies by $n$.

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
# These are mean lengths of a token's vector in Eq. (12). The first row shrinks as a dialogue grows, the second does not.
#
# ### Why Eq. (11) cannot sum
#
# Eq. (11) as printed ends in $\mathrm{SUM}_{d=1}$, a sum over tokens. But the text says that $C$ is in $\mathbb{R}^{L \times d_s}$, and
# Eq. (12) takes a softmax over its tokens. If we sum first, one vector is left, and a softmax over one number is 1:

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
# > **Departure.** With the sum of Eq. (11), all parameters of Eq. (12) would be dead: $S = 1$ whatever they are, and their gradient is
# > exactly 0. The sum over tokens is already there, as the product $C^\top S$ in Eq. (13). So we weigh in (11) and sum in (13) only.

# %% [markdown]
# ## 3 · Attention pooling
#
# A dialogue has many tokens and one emotion. Pooling learns which tokens to listen to: each gets a score, a softmax makes shares of
# the scores, and the shares mix the tokens.
#
# $$ S = \mathrm{softmax}_l\big(v^\top \tanh(W_c C_l + b)\big) \quad (12) \qquad\qquad C^\top S = \sum_l S_l\, C_l $$
#
# | | shape | |
# |---|---|---|
# | $C$ | B x L x W | weighed tokens |
# | $S$ | B x L | one share a token (the printed $\mathbb{R}^{L \times d}$ would be one a token *and* dimension) |
# | $C^\top S$ | B x W | the dialogue |

# %% [markdown]
# ### Exercise 5.2 · Attention pooling
#
# **Goal:** the pooled dialogue and the shares $S$; PAD must get no share. **Difficulty:** ★★ **Minutes:** 12
#
# <details><summary>Hint</summary>
#
# `values @ weight.T + bias` applies the linear map to every token. `@ score` with a vector [W] removes the last axis and leaves [B, L]:
# the softmax goes over the tokens, `dim=1`. `torch.einsum("bl,blw->bw", S, values)` is the weighted sum.
#
# </details>


# %%
def attention_pooling(values, weight, bias, score, mask):
    """Pooled [B, W], S [B, L] from values C [B, L, W], weight W_c [W, W], bias b, score v [W], mask [B, L]."""
    ### BEGIN SOLUTION
    scores = (values @ weight.T + bias).tanh() @ score
    S = scores.masked_fill(~mask, float("-inf")).softmax(dim=1)
    return torch.einsum("bl,blw->bw", S, values), S
    ### END SOLUTION


# %%
checks.attention_pooling(attention_pooling)

# %% [markdown]
# Two more layers turn the pooled dialogue into 32 probabilities. Teacher and student each have weights of their own:
#
# $$ S' = \tanh(W_4\, (C^\top S) + b_4) \quad (13) \qquad\qquad P_e = \mathrm{softmax}(W_{out}\, S' + b_{out}) \quad (14) $$
#
# In the open, with the weights of the trained teacher, and beside the library's `EmotionPredictor`:


# %%
def predict(values, intensity, mask, part):
    """Emotion logits [B, 32] and S [B, L] with an EmotionPredictor's weights. Eq. (11) to (14)."""
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
def listening(dialogue: int = 0):
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
    title = f"Where they listen: a dialogue labelled {EMOTIONS[batch.label[dialogue]]}"
    return lessons.bars({k: v[:n].tolist() for k, v in shares.items()}, tokens, title, "share")


short = int(mask.sum(dim=1).argmin())
lessons.show(
    listening(short),
    "The shares of each reader add up to 1. A few tokens get most of them, and the two readers "
    "need not choose the same.",
)

# %% [markdown]
# Other dialogues, one for each emotion. When do both listen to a word that you would call emotional, and when not?

# %%
lessons.play(listening, dialogue=IntSlider(short, 0, len(mask) - 1, continuous_update=False))

# %% [markdown]
# ## 4 · What does a teacher know that a label does not say?
#
# The teacher learns from labels, with the usual cross-entropy $L_{tchr} = -\log P^{tchr}(e^*)$ (15). What comes out is more than a
# label. For each emotion we take some training dialogues and average what the teacher believes of them.

# %%
chosen = np.concatenate([np.flatnonzero(pairs.label == label)[:8] for label in range(32)])
chosen = chosen[np.argsort(pairs.context_length[chosen])]  # alike in length: little padding
teacher_logits, labels = [], []
with torch.no_grad():
    for index in np.array_split(chosen, 8):
        some = pairs.collate(index)
        values, _, strength, real = two_readings(some)
        teacher_logits.append(model.teacher(values, strength, real)[0])
        labels.append(some.label)
beliefs, labels = torch.cat(teacher_logits).softmax(dim=-1), torch.cat(labels)
right = (beliefs.argmax(dim=1) == labels).float().mean()
trust = beliefs.gather(1, labels.unsqueeze(1)).mean()
print(f"{len(labels)} training dialogues: the teacher is right in {right:.0%} of them,")
print(f"and gives the label {trust:.0%} on average; the rest goes to other emotions")

# %%
mean = torch.stack([beliefs[labels == k].mean(dim=0) for k in range(32)])
lessons.show(
    lessons.heatmap(
        mean.clamp(max=0.3), EMOTIONS, EMOTIONS, "Mean soft label for each label (up to 0.3)"
    ).update_layout(height=860),
    "Rows: the label. Columns: what the teacher believes. The diagonal is what the label says "
    "too; everything beside it is what only the teacher says.",
)
beside = mean.clone().fill_diagonal_(0)
for place in beside.flatten().topk(6).indices.tolist():
    label, belief = divmod(place, 32)
    print(f"labelled {EMOTIONS[label]:13} -> {EMOTIONS[belief]:13} {mean[label, belief]:.2f}")

# %% [markdown]
# Hinton and others called this *dark knowledge*: which wrong answers are nearly right. How sensible the pairs above are depends on
# how much the teacher has read; compare a run on the real data with one on the sample.
#
# ## 5 · Learning from soft labels
#
# Eq. (18) reads $L_{stu} = -\log P^{stu}(P^{tchr})$.
#
# > **Departure.** Taken literally, the student's probabilities are indexed by a distribution, which is not defined. Indexing by the teacher's
# > favourite would throw away what makes a soft label soft. We read it as the cross-entropy between two distributions, where the teacher's is a
# > constant ($\mathrm{sg}$: stop-gradient, `detach` in PyTorch):
#
# $$ L_{stu} = -\sum_{e=1}^{32} \mathrm{sg}\big(P^{tchr}(e)\big)\, \log P^{stu}(e) \qquad (18) $$
#
# and $L_e = L_{tchr} + L_{stu}$ (19) is what the two are trained with.

# %% [markdown]
# ### Exercise 5.3 · The soft-label loss
#
# **Goal:** Eq. (18) from logits, one number a dialogue; no gradient may reach the teacher. **Difficulty:** ★★ **Minutes:** 8
#
# <details><summary>Hint</summary>
#
# `log_softmax` is what you want for the student, `softmax` for the teacher. `.detach()` gives the same values as a constant: think about
# which of the two is the one that must not move.
#
# </details>


# %%
def soft_label_loss(student, teacher):
    """[B] from logits student [B, 32] and teacher [B, 32]."""
    ### BEGIN SOLUTION
    soft_labels = teacher.detach().softmax(dim=-1)
    return -(soft_labels * student.log_softmax(dim=-1)).sum(dim=-1)
    ### END SOLUTION


# %%
checks.soft_label_loss(soft_label_loss)

# %% [markdown]
# ## 6 · The stop-gradient, seen in the gradients
#
# With $p$ for the teacher's and $q$ for the student's probabilities, and $L = -\sum_e p_e \log q_e$, the derivatives by the logits $z$ are
#
# $$ \frac{\partial L}{\partial z^{stu}_e} = q_e - p_e \qquad\qquad \frac{\partial L}{\partial z^{tchr}_e} = p_e\,(-\log q_e - L). $$
#
# The left one pulls the student to the teacher. The right one exists only without stop-gradient, and it is odd: the teacher's logit
# rises wherever $-\log q_e < L$, that is, for emotions of which the *student* is already sure. The teacher would learn from the
# student what is easy to say.

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
# Now in the whole model: how large is the gradient that each loss sends into each part?

# %%
PARTS = ("teacher", "teacher_fusion", "student", "student_fusion", "emotion", "encoder")


def gradient_norms(loss_of):
    """Norm of the gradient in each of PARTS, for a loss of (student logits, teacher logits)."""
    model.zero_grad()
    seen, heard, strength, real = two_readings(batch)
    teacher, student = (
        model.teacher(seen, strength, real)[0],
        model.student(heard, strength, real)[0],
    )
    loss_of(student, teacher).mean().backward()
    parts = [[p.grad for p in getattr(model, name).parameters()] for name in PARTS]
    model.zero_grad()
    return [
        float(sum(g.square().sum() for g in part if g is not None)) ** 0.5 for part in parts
    ]


def without_stop(student, teacher):
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
    "With the stop-gradient, L_stu moves nothing of the teacher: both its parts get exactly 0. "
    "Without it, they move. Encoders that both readers share are trained by either loss.",
)

# %% [markdown]
# ## 7 · The collapse
#
# How bad is it? We train a new teacher and a new student, on the readings of our dialogues (one for each emotion, kept fixed), in four ways:
# with and without stop-gradient, with and without the label loss $L_{tchr}$. This takes a moment: it really trains.

# %%
from ctsm_lib.model.guidance import EmotionPredictor

STEPS = 60


def train_pair(stop, with_labels):
    """Each step's L_tchr, L_stu, number of emotions the teacher predicts, and its doubt."""
    torch.manual_seed(0)
    teacher, student = EmotionPredictor(W), EmotionPredictor(W)
    optimizer = torch.optim.Adam([*teacher.parameters(), *student.parameters()], lr=1e-3)
    history = []
    for _ in range(STEPS):
        taught, _ = teacher(V_tchr, intensity, mask)
        learned, _ = student(V_stu, intensity, mask)
        soft = (library_soft_label_loss if stop else without_stop)(learned, taught).mean()
        hard = label_loss(taught, batch.label).mean()
        optimizer.zero_grad()
        (soft + hard if with_labels else soft).backward()
        optimizer.step()
        doubt = torch.distributions.Categorical(logits=taught).entropy().mean()
        kinds = len(taught.argmax(dim=1).unique())
        history.append((hard.item(), soft.item(), kinds, doubt.item()))
    return np.array(history).T


ways = {
    (stop, labels): train_pair(stop, labels)
    for labels in (True, False)
    for stop in (True, False)
}

# %%
print(f"after {STEPS} steps:         L_tchr   L_stu   emotions predicted   the teacher's doubt")
figure = go.Figure()
for (stop, labels), (hard, soft, kinds, doubt) in ways.items():
    name = f"{'stop' if stop else 'no stop'}, {'labels' if labels else 'no labels'}"
    print(f"{name:20} {hard[-1]:10.2f} {soft[-1]:7.2f} {kinds[-1]:14.0f} {doubt[-1]:22.3f}")
    line = dict(color="#2a7de1" if stop else "#c45f0a", dash="solid" if labels else "dot")
    figure.add_scatter(x=list(range(STEPS)), y=kinds.tolist(), name=name, line=line)
lessons.show(
    figure.update_layout(
        title="How many of 32 emotions the teacher predicts",
        xaxis_title="step",
        yaxis_title="different predictions",
        width=860,
        height=400,
    ),
    "Orange and dotted, without stop-gradient and labels: teacher and student agree on one "
    "or two emotions for everybody. Both solid lines have labels, which hold the teacher up.",
)

# %% [markdown]
# Read the table from below. *Doubt* is the entropy of the soft labels: how much they say beyond one emotion.
#
# - **no stop, no labels**: $L_{stu}$ falls to about 0, the lowest it can be, because both are certain of the same one or two emotions,
#   whatever the dialogue says. Nobody learned anything; $L_{tchr}$ shows how wrong they are. The loss alone would have looked like a success.
# - **stop, no labels**: the teacher stays what it was at the beginning, and the student copies its noise. Useless, but no collapse.
# - **no stop, labels**: the labels prevent the collapse, but the force is the same: the teacher makes life easy for the student by being
#   surer of itself. Compare its doubt with the row above: what made soft labels soft is being squeezed out.
# - **stop, labels**: the paper's way. The label teaches the teacher, the teacher teaches the student.
#
# ## What you have now
#
# - A predictor that weighs words by intensity, pools by attention, and names one of 32 emotions; twice, with different inputs.
# - A student that learns from 32 probabilities instead of one label, and why its teacher must not listen back.
# - Three places where the print cannot be taken at its word: the sum and the missing $n$ in Eq. (11), and the index in Eq. (18).
#
# The library's is `model/guidance`. A setting beyond the paper, `student_label_weight`, adds the label to the student's loss; without
# it the student lags behind its teacher early in training. Lesson 06 uses the student's context to write an answer.
