# %% [markdown]
# # 09 · Test what each part contributes
#
# **What you will do.** You put the paper's Tables 1 and 3 beside the runs of this laboratory.
# You find out that a loss is a few hundred times larger if it is a sum and not a mean. You
# train a bag of words as a baseline. Then you remove a part of CTSM and test whether anything
# changes.
#
# **What you will learn.** How to read a table of results: what is the same in two rows, what is
# different, and how much may be chance.
#
# **What you need.** Lessons 07 and 08. About 60 minutes.
#
# *Paper: Sec. 4.1, 5.1 and 5.3 (Tables 1 and 3). Library: `baselines`, `study` in
# `ctsm_workbench`; results in `figures/results`.*

# %%
import json
import tempfile
from pathlib import Path

import numpy as np
import plotly.graph_objects as go
import torch
from ctsm_lib.registry import available
from ctsm_lib.runs import load_run
from ctsm_lib.scores import score_pairs
from ctsm_lib.sources import PROJECT
from ctsm_lib.training import build_model
from ctsm_workbench.course import checks, lessons
from ctsm_workbench.running.log import read_log
from ctsm_workbench.running.train import train
from ctsm_workbench.study.comparison import SCORES, TABLES, markdown
from IPython.display import Markdown
from scipy.stats import bootstrap
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import SGDClassifier
from sklearn.pipeline import make_pipeline

lessons.begin("baselines")

# %%
prepared = lessons.data()
origin = prepared.description["data"]
print(lessons.describe())

# %% [markdown]
# ## 1 · Table 1 and our runs
#
# The paper compares CTSM with seven systems, from a plain Transformer to CASE. Each one was
# published with its own code, and this code differs in details: another tokenizer, a summed
# loss, a test split of half the length. In this laboratory all systems share their backbone:
# word table, encoder, decoder, optimizer and scores. `ctsm train --model moel` trains any of
# them. The list below shows each system with the losses that it computes for a batch:

# %%
config = lessons.lesson_config(origin)
pairs, batch_size = prepared.pairs["train"], 16
batch = pairs.collate(np.arange(batch_size))
for name in available("models"):
    model = build_model(config.override([f"model={name}"]), prepared).train()
    losses = {
        part: loss.item() for part, loss in model(batch).losses.items() if part != "total"
    }
    count = sum(p.numel() for p in model.parameters()) / 1e6
    print(
        f"{name:<18} {count:5.2f} M  "
        + "  ".join(f"{part} {loss:.2f}" for part, loss in losses.items())
    )

# %% [markdown]
# The next table shows the numbers printed in the paper, and ours beside them. Our numbers come
# from files that `ctsm compare` writes. It gives every row the same budget, data and seeds, and
# names them below the table. A row that says *not run* has no run; we do not fill in missing
# values.

# %%
RESULTS = (PROJECT or Path("..")) / "figures" / "results"


def table(name):
    """A table of the paper with our runs beside it, as `ctsm compare` wrote it."""
    path = RESULTS / f"{name}.json"
    if not path.is_file():
        return Markdown(f"There is no {path.name} yet. `ctsm compare` writes it.")
    return Markdown(markdown(json.loads(path.read_text())))


table("table1")

# %% [markdown]
# Look at the column Dist-2. CASE, CEM and CTSM use the diversity loss of lesson 06. They have
# the highest values among our runs.
#
# The next list shows longer runs, of presets `paper`, `improved` and `best`. Before you compare
# two runs, ask what else differs between them. Our result files contain the answer:

# %%
best = RESULTS.glob("best/comparison/*/ctsm-seed*.json")
for path in sorted([*RESULTS.glob("*_test.json"), *best]):
    result = json.loads(path.read_text())
    run, scores = result["run"], "  ".join(f"{score} {result[score]:.2f}" for score in SCORES)
    vectors = (run.get("vectors") or {}).get("note", "-")
    print(
        f"{run['model']} {run['preset']}, {run['iterations']:,} iterations, "
        f"seed {run['seed']}: {scores}"
    )
    print(
        f"    {result['n']:,} pairs, {result['decoding']['method']}; vectors: {vectors}; "
        f"commonsense: {run['knowledge']}; {run['precision']}"
    )

# %% [markdown]
# A row of Table 1 shows more than "the model". It shows a model together with its optimisation,
# its word vectors, its seed and its decoding method. Our presets differ in more than one way,
# too. Preset `improved` changes the optimisation and also parts of the model: another fusion, a
# gold label for the student, other contrastive negatives, two decoder layers, and an output
# layer that shares its weights with the word embeddings. If it scores better than preset
# `paper`, this comparison cannot say which of these changes is the reason.
#
# ## 2 · Sum or mean of the word losses
#
# Some of the systems in Table 1 recognise the emotion in a third of all cases, others in two
# fifths. Their papers explain the difference by the architecture. The released code suggests
# another possible reason. A loss reduces many numbers to one, by a **mean** or by a **sum**. In
# the code of MoEL and MIME, the loss of the words is *summed* over the batch, while the loss of
# the emotion is a *mean* over dialogues. How many words does a batch have?

# %%
tokens = batch_size * float((pairs.target_length + 1).mean())
print(f"words in the answers of a batch of {batch_size}: {tokens:.0f} on average")

# %% [markdown]
# ### Exercise 9.1 · One loss for two tasks
#
# **Goal:** add the loss of the words and the loss of the emotion. The words are reduced by
# "mean" or by "sum"; the emotion is always a mean. **Difficulty:** ★ **Minutes:** 10
#
# <details><summary>Hint</summary>
#
# Take the mean over all *real* tokens of the batch at once. Do not count padding, and do not
# take a mean within each answer first (lesson 08 showed that this gives another number).
#
# </details>


# %%
def joint_loss(nll, mask, emotion, reduction):
    """The total loss, a scalar, from the losses nll [B, T] and emotion [B].

    `mask` [B, T] is True for real tokens; `reduction` is "mean" or "sum".
    """
    ### BEGIN SOLUTION
    total = (nll * mask).sum()
    words = total / mask.sum() if reduction == "mean" else total
    return words + emotion.mean()
    ### END SOLUTION


# %%
checks.joint_loss(joint_loss)

# %% [markdown]
# With "sum", the gradient of the words is multiplied by the number of words, and the gradient
# of the emotion is not. Adam divides by the size of the gradient, so the total size does not
# matter, but the **direction** does. Which of the two tasks decides the direction for the
# shared context encoder?

# %%
model = build_model(config, prepared).train()
losses = model(pairs.collate(np.arange(batch_size))).losses
emotion_loss = losses["teacher"] + losses["student"] + losses["student_label"]
shared = [
    p for name, p in model.named_parameters() if name.startswith("encoder.") and p.dim() > 1
]


def direction(loss):
    """The gradient of a loss at the context encoder, as one vector."""
    return torch.cat(
        [g.flatten() for g in torch.autograd.grad(loss, shared, retain_graph=True)]
    )


word, feeling = direction(losses["generation"]), direction(emotion_loss)
for reduction, factor in (("mean", 1.0), ("sum", tokens)):
    step = factor * word + feeling
    cosines = [float(torch.cosine_similarity(step, g, dim=0)) for g in (word, feeling)]
    print(
        f"{reduction:<5} cosine of the step with the words {cosines[0]:+.3f}, "
        f"with the emotion {cosines[1]:+.3f}"
    )

# %% [markdown]
# A cosine of 1 means that one task alone decides the direction. With the mean, both tasks
# contribute to the step. With the sum, the step points almost exactly in the direction of the
# words, so the emotion contributes very little to what the encoder learns.
#
# > **Departure.** Here every loss is a mean, for every model. Otherwise a comparison of
# > architectures would also be a comparison of loss scales. The setting `peer_losses` uses the
# > sum again. In section 5 we train in both ways and look at what the emotion part learns.
#
# What happens on the real data? Here is MoEL, once as in the table above and once with the sum.
# The run with the sum is of an earlier version, in which an oracle chose the listener in most
# of the training. That version had an accuracy of 39.53 with the mean, so the sum is the main
# difference between the two lines:

# %%
for reduction, folder in (("mean", RESULTS), ("sum", RESULTS / "peer_losses")):
    path = folder / "comparison" / "improved-1500" / "moel-seed0.json"
    if path.is_file():
        scores = json.loads(path.read_text())
        print(f"MoEL, {reduction:<4}:", *(f"{score} {scores[score]:.2f} " for score in SCORES))

# %% [markdown]
# For MoEL the paper prints 32.00 (accuracy) and 38.04 (perplexity). How much of the accuracy in
# the table comes from the architecture?
#
# ## 3 · A baseline without a network
#
# Is an accuracy of 43 per cent good? Guessing gives 3 per cent. A fair baseline is the simplest
# method that could work: count words, weight each word by how rare it is (TF-IDF), and train a
# linear classifier with a logistic loss. It uses no word order, no vectors, no commonsense and
# no state emotions, and it takes a few seconds.

# %%
splits = prepared.corpus.splits


def contexts(split):
    """The contexts of all pairs of a split as plain text."""
    return [
        " ".join(splits[split].context_texts(pair))
        for pair in range(len(prepared.pairs[split]))
    ]


bag = make_pipeline(
    TfidfVectorizer(sublinear_tf=True, min_df=2),
    SGDClassifier(loss="log_loss", alpha=3e-5, random_state=0),
)
bag.fit(contexts("train"), pairs.label)
print(f"{len(pairs):,} pairs, {len(bag[0].vocabulary_):,} words")
for split in ("valid", "test"):
    guesses = bag.predict(contexts(split))
    right = guesses == prepared.pairs[split].label
    print(f"{split:<5} accuracy {100 * right.mean():.2f} % of {len(right):,} pairs")

# %% [markdown]
# (In the library, `ctsm train --model tfidf` trains this classifier on the same tokens as all
# other models. It is a row of the table above.)
#
# On the sample, this classifier learns little that helps with other dialogues: the sample has
# only a few hundred invented dialogues for 32 emotions. A trained CTSM scores higher on the
# sample, but it also reads commonsense phrases, and we knew the dialogues of all three splits
# when we wrote the phrases of the sample. They often reveal the label. So the difference is no
# evidence for the network. For a fair comparison, set `CTSM_DATA` to the real data, run this
# cell again, and compare its last line with the column "acc" of Table 1. A paper that proposes
# a network for this task should print this line in its table. Which words does the classifier
# use?

# %%
from ctsm_lib.corpus import EMOTIONS

names = np.array(bag[0].get_feature_names_out())
for emotion in ("excited", "lonely", "terrified", "proud"):
    row = list(bag[1].classes_).index(EMOTIONS.index(emotion))
    print(f"{emotion:<10}", ", ".join(names[bag[1].coef_[row].argsort()[::-1][:7]]))

# %% [markdown]
# Is the network right in every case in which the bag of words is right, and in other cases,
# too? For every test pair, `ctsm compare` stores whether its emotion was predicted correctly:


# %%
def found(key):
    """For each test pair [N]: whether a run of Table 1 predicted its emotion correctly."""
    examples = np.load(RESULTS / "comparison" / "improved-1500" / f"{key}-seed0.npz")
    return examples["right"].astype(bool)


the_bag, network = found("tfidf"), found("ctsm")
for who, which in (
    ("both", the_bag & network),
    ("the bag alone", the_bag & ~network),
    ("CTSM alone", ~the_bag & network),
    ("at least one", the_bag | network),
):
    print(f"{who:<14} {100 * which.mean():.1f} % of {len(which):,}")

# %% [markdown]
# Each of the two is right in some cases in which the other is wrong. So it may help to combine
# them. Preset `best` trains a bag of words beside the student, each with its own loss, and
# takes the mean of their logits (`ctsm_workbench/beyond/extras.py`; the results are in
# `figures/results/search.md`).

# %% [markdown]
# ## 4 · Remove parts
#
# An ablation removes one component and trains the model again. Table 3 has five ablations. They
# are without TEE (trait emotions: $V_t$, $H_t$), without SEE (state emotions: $V_s$, $H_s$),
# without EGM (guidance by the teacher network), without CCL (contrastive loss), and without the
# last two together. Our runs are ablations of preset `improved`. Its student is trained on the
# gold label, which makes the teacher network largely redundant. So our row without EGM says
# nothing about the EGM of the paper:

# %%
table("table3")

# %% [markdown]
# Removing a component changes the widths. The teacher network reads $[H^{tchr} ; V_t ; V_s]$,
# and the student reads $[H^{stu} ; H_t ; H_s]$. Both inputs have the width $d + |V_t| + |V_s|$.
# The contrastive loss compares $[H_t ; H_s]$ with other views.
#
# | | contains | width |
# |---|---|---|
# | $V_t$, $H_t$ | VAD, IDF, compressed context | 3 + 1 + 10 |
# | $V_s$, $H_s$ | cosines to 32 labels, IDF, compressed context | 32 + 1 + 10 |

# %% [markdown]
# ### Exercise 9.2 · The widths of the ablations
#
# **Goal:** compute the width of the input of the teacher network and of the student, and the
# width of $[H_t ; H_s]$. **Difficulty:** ★ **Minutes:** 5
#
# <details><summary>Hint</summary>
#
# The ablation w/o TEE has `trait=False`. It removes all of $V_t$ and $H_t$, with their copies
# of IDF and of the compressed context. The copies in $V_s$ stay.
#
# </details>


# %%
def widths(dim, labels, compressed, trait, state):
    """Return (width of the teacher's and the student's input, width of [H_t ; H_s])."""
    ### BEGIN SOLUTION
    emotion = trait * (3 + 1 + compressed) + state * (labels + 1 + compressed)
    return dim + emotion, emotion
    ### END SOLUTION


# %%
checks.widths(widths)

# %% [markdown]
# In the library, an ablation is a setting, and also a preset with its own name:
# `ctsm train --preset improved-wo-tee`. We can ask the models for their widths:

# %%
ABLATIONS = {
    "CTSM": [],
    "w/o TEE": ["trait=false"],
    "w/o SEE": ["state=false"],
    "w/o EGM": ["guidance=false"],
    "w/o CCL": ["contrast=false"],
    "w/o EGM & CCL": ["guidance=false", "contrast=false"],
}
for name, changes in ABLATIONS.items():
    model = build_model(config.override(changes), prepared)
    count = sum(p.numel() for p in model.parameters() if p.requires_grad)
    print(
        f"{name:<14} input {model.student.attend.in_features}, "
        f"emotion {model.emotion.width}, {count:>12,} parameters"
    )

# %% [markdown]
# ### How much of Table 3 is chance?
#
# In the paper's protocol the test split has 5,255 pairs. If a system is right in a share $p$ of
# $N$ cases, the standard error of $p$ is $\sqrt{p(1-p)/N}$. The standard error of the
# difference of two systems is $\sqrt{2p(1-p)(1-\rho)/N}$. Here $\rho$ is the correlation
# between the two: it is high if both are right on the *same* pairs. The paper does not print
# $\rho$, so we draw the interval for $\rho = 0$ and for $\rho = 0.6$. Both formulas treat the
# pairs as independent. They are not: a dialogue has two pairs on average, with the same label.
# The true intervals are therefore wider.

# %%
whole, *parts = TABLES["table3"]
N, p = 5_255, whole.paper[0] / 100
change = [part.paper[0] - whole.paper[0] for part in parts]
figure = go.Figure()
for rho, color in ((0.0, "#2a7de1"), (0.6, "#c45f0a")):
    half = 1.96 * 100 * np.sqrt(2 * p * (1 - p) * (1 - rho) / N)
    figure.add_scatter(
        x=[part.name for part in parts], y=change, mode="markers", marker_color=color,
        name=f"rho = {rho}: +- {half:.2f}",
        error_y={"type": "constant", "value": half, "thickness": 2, "width": 8 + 20 * rho},
    )  # fmt: skip
figure.add_hline(y=0, line_dash="dot", line_color="#75797f")
figure.update_layout(
    title="Table 3: accuracy against full CTSM, with 95 % intervals",
    yaxis_title="points",
    width=860,
    height=420,
)
lessons.show(
    figure,
    "If an interval crosses the dotted line, the result is compatible with no effect. The "
    "intervals do not show how much the points would change with another seed.",
)

# %% [markdown]
# ## 5 · An ablation in class
#
# Now we train three models with the same budget, data and seed: CTSM; CTSM without state
# emotions; and CTSM with the *summed* word losses of section 2 (`--set peer_losses=true`, which
# works for any model). The budget is small: a few passes over 160 pairs. (In a terminal,
# `ctsm train --set state=false --out runs/wo-see` trains an ablation in full.)

# %%
small = lessons.portion(prepared, train=160, valid=200)
steps = 60 if origin == "sample" else 40
class_room = config.override(
    [f"batch_size={batch_size}", "learning_rate=0.002", "warmup=12", "clip=1", "patience=0"]
    + [f"{name}={steps}" for name in ("max_iterations", "check_every", "check_from")]
)
VARIANTS = {"CTSM": [], "w/o SEE": ["state=false"], "CTSM, words summed": ["peer_losses=true"]}
folders = {}
for name, changes in VARIANTS.items():
    folders[name] = Path(tempfile.mkdtemp()) / "run"
    train(class_room.override(changes), small, folders[name], cpu=True, progress=False)

# %%
right, learned = {}, {}
for name, folder in folders.items():
    log = read_log(folder)
    learned[name] = [(record["iteration"], record["acc"]) for record in log if "acc" in record]
    scored = score_pairs(load_run(folder).model, small.pairs["valid"])
    right[name] = (scored["logits"].argmax(1) == scored["label"]).astype(float)
    dev = [record for record in log if "dev_acc" in record][-1]
    print(
        f"{name:<19} training accuracy {learned[name][-1][1]:5.1f} %   "
        f"dev accuracy {dev['dev_acc']:5.2f} %   dev ppl_token {dev['dev_ppl_token']:.1f}"
    )

# %%
figure = go.Figure()
for (name, points), dash in zip(learned.items(), ("solid", "dash", "dot"), strict=True):
    x, y = zip((0, 100 / 32), *points, strict=True)
    figure.add_scatter(x=x, y=y, name=name, mode="lines+markers", line_dash=dash)
figure.update_layout(
    title="Emotion accuracy on the training pairs",
    xaxis_title="iteration",
    yaxis_title="%",
    width=860,
    height=400,
)
lessons.show(
    figure,
    "All three runs use the same data and number of steps. Compare two gaps: between CTSM and "
    "w/o SEE (dashed), and between CTSM and the summed word losses (dotted).",
)

# %% [markdown]
# What about the dev split, and what about SEE? Before we interpret a difference between two
# numbers, we need to know how large it could be by chance. The **paired bootstrap** asks: how
# large could the difference have been with other dialogues in the dev split? It draws the
# dialogues again with replacement, *the same dialogues for both systems*. Then it takes the
# middle 95 per cent of the differences.
#
# Why dialogues and not pairs? A dialogue with four turns gives two pairs. Both have the same
# label and share most of their words: whoever is right on one is mostly right on the other. The
# two pairs are not two independent observations. If we drew pairs, the interval would be too
# narrow. So we draw whole dialogues, each with all of its pairs.

# %% [markdown]
# ### Exercise 9.3 · The paired bootstrap
#
# **Goal:** compute a 95 % interval for the difference in accuracy (in points, a minus b) of two
# systems on the same pairs. Draw dialogues. **Difficulty:** ★★★ **Minutes:** 20
#
# <details><summary>Hint</summary>
#
# First add up the differences within each dialogue: `np.bincount(dialogue, right_a - right_b)`.
# Count its pairs: `np.bincount(dialogue)`. With G dialogues,
# `random.integers(0, G, (samples, G))` gives the dialogues of all draws at once. The difference
# of one draw is the sum of its differences, divided by the number of its pairs. Then call
# `np.quantile(differences, [0.025, 0.975])`.
#
# </details>


# %%
def paired_bootstrap(right_a, right_b, dialogue, samples, seed):
    """The interval (low, high) in points.

    right_a, right_b [n] are 1 (right) or 0 (wrong); dialogue [n] counts dialogues from 0.
    """
    ### BEGIN SOLUTION
    random = np.random.default_rng(seed)
    difference = np.bincount(dialogue, right_a - right_b)  # of each dialogue, summed
    pairs = np.bincount(dialogue)
    draws = random.integers(0, len(pairs), (samples, len(pairs)))
    differences = 100 * difference[draws].sum(axis=1) / pairs[draws].sum(axis=1)
    low, high = np.quantile(differences, [0.025, 0.975])
    return low, high
    ### END SOLUTION


# %%
checks.paired_bootstrap(paired_bootstrap)

# %% [markdown]
# scipy offers the same method (`paired=True`), and also better intervals for small samples. Our
# statistic is a ratio of two sums over dialogues:

# %%
split = small.pairs["valid"].split
dialogue = split.pairs[: len(right["CTSM"]), 5]  # the last column: the dialogue of each pair


def interval(a, b):
    """The same interval, computed by scipy."""
    per_dialogue = (np.bincount(dialogue, a - b), np.bincount(dialogue))
    ratio = lambda x, n, axis=-1: 100 * x.sum(axis=axis) / n.sum(axis=axis)  # noqa: E731
    found = bootstrap(
        per_dialogue,
        ratio,
        paired=True,
        n_resamples=2_000,
        method="percentile",
        rng=np.random.default_rng(0),
    )
    return found.confidence_interval


for name in list(VARIANTS)[1:]:
    low, high = interval(right["CTSM"], right[name])
    verdict = "contains 0: no difference is shown" if low <= 0 <= high else "does not contain 0"
    difference = 100 * (right["CTSM"] - right[name]).mean()
    print(
        f"CTSM minus {name:<19} {difference:+.1f} points on dev, "
        f"95 % from {low:+.1f} to {high:+.1f}: {verdict}"
    )

# %% [markdown]
# The budget of a class is too small to measure the effect of SEE. That needs full training, all
# dev pairs and several seeds. But this section shows how to make a fair comparison, and why you
# should not rely on a table of single runs without intervals.
#
# ## What you have now
#
# - Tables 1 and 3 with our runs beside them, and a clear list of what has not been run.
# - Three other possible reasons for a difference between two architectures: the optimisation,
#   the scale of a loss, and chance.
# - A baseline that takes seconds.
#
# **Next:** lesson 10 examines the claim that gave the model its name. Do the trait and the
# state emotion of a word really differ?
