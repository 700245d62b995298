# %% [markdown]
# # 09 · Ask what each part buys
#
# **What you will do.** Put the paper's Tables 1 and 3 beside what was run here, find a factor of some hundreds in a sum, train a bag of words as
# a yardstick, take a part out of CTSM and look whether anything happens.
#
# **What you will learn.** How to read a table of results: what is the same in two rows, what is not, and how much is chance.
#
# **What you need.** Lessons 07 and 08. About 60 minutes.
#
# *Paper: Sec. 4.1, 5.1 and 5.3 (Tables 1 and 3). Library: `baselines`, `comparison`; results in `figures/results`.*

# %%
import json
import tempfile
from pathlib import Path

import numpy as np
import plotly.graph_objects as go
import torch
from ctsm_lib.checkpoint import read_log
from ctsm_lib.runs import load_run
from ctsm_lib.scores import score_pairs
from ctsm_lib.sources import PROJECT
from ctsm_lib.training import build_model, train
from ctsm_workbench.baselines import BASELINES
from ctsm_workbench.course import checks, lessons
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
# ## 1 · Table 1, and what was run here
#
# The paper compares CTSM with seven systems, from a plain Transformer to CASE. Each was published with code of its own: another tokenizer here, a
# summed loss there, a test split that is half as long. In this laboratory all of them stand on **one** backbone, and `ctsm train --model moel`
# trains any of them. What is left to differ is the idea. Here they are, with what each adds to the loss of a batch:

# %%
config = lessons.lesson_config(origin)
pairs, batch_size = prepared.pairs["train"], 16
batch = pairs.collate(np.arange(batch_size))
for name in ["ctsm", *BASELINES]:
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
# The numbers of the paper, as printed, and beside them ours. Ours come from files that `ctsm compare` writes: it gives every row the same budget,
# data and seeds, and says below the table what they were. A row that says *not run* has no run; nothing is filled in.

# %%
RESULTS = (PROJECT or Path("..")) / "figures" / "results"


def table(name):
    """A table of the paper with our runs beside it, as `ctsm compare` left it."""
    path = RESULTS / f"{name}.json"
    if not path.is_file():
        return Markdown(f"No {path.name} here yet: `ctsm compare` makes it.")
    return Markdown(markdown(json.loads(path.read_text())))


table("table1")

# %% [markdown]
# Now compare runs with longer schedules, of presets `paper`, `improved` and `best`. Before comparing two rows, ask what else differs
# between them. Ours carry the answer:

# %%
best = RESULTS.glob("best/comparison/*/ctsm-seed*.json")
for path in sorted([*RESULTS.glob("*_test.json"), *best]):
    result = json.loads(path.read_text())
    run, scores = result["run"], "  ".join(f"{score} {result[score]:.2f}" for score in SCORES)
    vectors = (run.get("vectors") or {}).get("note", "-")
    print(
        f"{run['model']} {run['preset']}, {run['iterations']:,} iterations, seed {run['seed']}: {scores}"
    )
    print(
        f"    {result['n']:,} pairs, {result['decoding']['method']}; vectors: {vectors}; commonsense: {run['knowledge']}; {run['precision']}"
    )

# %% [markdown]
# A row of Table 1 is not "the model": it is the model, its optimisation, its word vectors, its seed, and its way of answering. Preset
# `improved` keeps CTSM's components and changes the optimisation. Where it beats the paper, the components cannot be the reason.
#
# ## 2 · A factor of some hundreds
#
# Some of the systems in Table 1 know the emotion in a third of all cases, others in two fifths. Their papers explain it by architecture. The
# released code has another candidate. A loss has to be brought from many numbers to one, by **mean** or by **sum**. In the code of
# Transformer, MoEL and MIME the loss of the words is *summed* over the batch, while the loss of the emotion is a *mean* over dialogues.
# How many words has a batch?

# %%
tokens = batch_size * float((pairs.target_length + 1).mean())
print(f"words to answer in a batch of {batch_size}: {tokens:.0f} on average")

# %% [markdown]
# ### Exercise 9.1 · One loss out of two tasks
#
# **Goal:** add the loss of the words and of the emotion, with the words reduced by "mean" or by "sum"; the emotion is always a mean.
# **Difficulty:** ★ **Minutes:** 10
#
# <details><summary>Hint</summary>
#
# The mean is over all *real* tokens of the batch at once: not over padding, and not first within each answer (lesson 08 has seen what that
# does).
#
# </details>


# %%
def joint_loss(nll, mask, emotion, reduction):
    """A scalar from nll [B, T], mask [B, T] (True: a real token), emotion [B], and "mean" or "sum"."""
    ### BEGIN SOLUTION
    total = (nll * mask).sum()
    words = total / mask.sum() if reduction == "mean" else total
    return words + emotion.mean()
    ### END SOLUTION


# %%
checks.joint_loss(joint_loss)

# %% [markdown]
# With "sum" the emotion's gradient stands beside one that is as many times larger as there are words. Adam divides by the size of the
# gradient, so the size of the sum does not matter, but its **direction** does. Whose direction does the shared context encoder follow?

# %%
model = build_model(config, prepared).train()
losses = model(pairs.collate(np.arange(batch_size))).losses
emotion_loss = losses["teacher"] + losses["student"] + losses["student_label"]
shared = [
    p for name, p in model.named_parameters() if name.startswith("encoder.") and p.dim() > 1
]


def direction(loss):
    """The loss's gradient at the context encoder, as one vector."""
    return torch.cat(
        [g.flatten() for g in torch.autograd.grad(loss, shared, retain_graph=True)]
    )


word, feeling = direction(losses["generation"]), direction(emotion_loss)
for reduction, factor in (("mean", 1.0), ("sum", tokens)):
    step = factor * word + feeling
    cosines = [float(torch.cosine_similarity(step, g, dim=0)) for g in (word, feeling)]
    print(
        f"{reduction:<5} cosine of the step with the words {cosines[0]:+.3f}, with the emotion {cosines[1]:+.3f}"
    )

# %% [markdown]
# A cosine of 1 means that one task alone decides. Under the mean both have a say, at the first step the emotion more than the words: all of
# its gradient comes through one pooled vector. Under the sum, the emotion has next to none in what the encoder learns to read.
#
# > **Departure.** Here every loss is a mean, for every model. Otherwise a comparison of architectures compares accidents of scale. The setting
# > `peer_losses` brings the sum back; in section 5 we train both ways and look at what the emotion learns.
#
# And on the real data? MoEL once as in the table above, and once with the sum, everything else the same:

# %%
for reduction, folder in (("mean", RESULTS), ("sum", RESULTS / "peer_losses")):
    path = folder / "comparison" / "improved-1500" / "moel-seed0.json"
    if path.is_file():
        scores = json.loads(path.read_text())
        print(f"MoEL, {reduction:<4}:", *(f"{score} {scores[score]:.2f} " for score in SCORES))

# %% [markdown]
# The paper prints 32.00 and 38.04 of MoEL. How much of what the table says of its ear for emotions is about how it is built?
#
# ## 3 · A yardstick without a network
#
# How good is 43 per cent? By guessing one has 3. An honest yardstick is the simplest method that could work: count words, weigh each by rarity
# (TF-IDF), and put a linear classifier with logistic loss on top. No order, no vectors, no commonsense, no state. It takes a few seconds.

# %%
splits = prepared.corpus.splits


def contexts(split):
    """The contexts of all pairs as plain text."""
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
# (The library has it as `ctsm train --model tfidf`, on the same tokens as all models, and as a row of the table above.)
#
# On the sample nothing can be learned that carries over: a few hundred invented dialogues for 32 emotions. Set `CTSM_DATA` to the real data,
# run this cell again, and hold its last line against the column "acc" of Table 1. Whoever proposes a network for this task should print
# that line in the table. What does the bag look at?

# %%
from ctsm_lib.corpus import EMOTIONS

names = np.array(bag[0].get_feature_names_out())
for emotion in ("excited", "lonely", "terrified", "proud"):
    row = list(bag[1].classes_).index(EMOTIONS.index(emotion))
    print(f"{emotion:<10}", ", ".join(names[bag[1].coef_[row].argsort()[::-1][:7]]))

# %% [markdown]
# Does the network know all that the bag knows, and more? `ctsm compare` keeps for every test pair whether its emotion was found:


# %%
def found(key):
    """Whether each test pair's emotion was found, [N] bool, by a run of Table 1."""
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
# Each finds what the other misses. That is worth more than a better third system: preset `best` keeps a bag beside the student, lets each learn by
# itself, and takes the mean of their logits (`model/bag`; what came of it: `figures/results/search.md`).

# %% [markdown]
# ## 4 · Take parts away
#
# An ablation takes one component out and trains again. Table 3 has five: without TEE (trait: $V_t$, $H_t$), SEE (state: $V_s$, $H_s$), EGM (the teacher's guidance), CCL (contrastive loss), and the last two together:

# %%
table("table3")

# %% [markdown]
# Taking something out changes widths. The teacher reads $[H^{tchr} ; V_t ; V_s]$ and the student $[H^{stu} ; H_t ; H_s]$, both of width
# $d + |V_t| + |V_s|$. The contrastive loss compares $[H_t ; H_s]$ with other views.
#
# | | holds | width |
# |---|---|---|
# | $V_t$, $H_t$ | VAD, IDF, compressed context | 3 + 1 + 10 |
# | $V_s$, $H_s$ | cosines to 32 labels, IDF, compressed context | 32 + 1 + 10 |

# %% [markdown]
# ### Exercise 9.2 · The widths of the ablations
#
# **Goal:** the width that teacher and student read, and that of $[H_t ; H_s]$. **Difficulty:** ★ **Minutes:** 5
#
# <details><summary>Hint</summary>
#
# w/o TEE has `trait=False`: everything of $V_t$ and $H_t$ goes, its copies of IDF and of the compressed context included. Those in $V_s$ stay.
#
# </details>


# %%
def widths(dim, labels, compressed, trait, state):
    """(width of the teacher's and the student's input, width of [H_t ; H_s])."""
    ### BEGIN SOLUTION
    emotion = trait * (3 + 1 + compressed) + state * (labels + 1 + compressed)
    return dim + emotion, emotion
    ### END SOLUTION


# %%
checks.widths(widths)

# %% [markdown]
# In the library an ablation is a setting, and a preset of its own: `ctsm train --preset improved-wo-tee`. The models know their own widths:

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
        f"{name:<14} reads {model.student.attend.in_features}, emotion {model.emotion.width}, {count:>12,} parameters"
    )

# %% [markdown]
# ### How much of Table 3 is chance?
#
# The test split has 5,255 pairs in the paper's protocol. If a system is right in a share $p$ of $N$ cases, $p$ has the standard error
# $\sqrt{p(1-p)/N}$, and the difference of two systems $\sqrt{2p(1-p)(1-\rho)/N}$, where $\rho$ says how much they are right on the *same* pairs.
# The paper does not print $\rho$; we draw the interval for 0 and for 0.6.

# %%
whole, *parts = TABLES["table3"]
N, p = 5_255, whole.paper[0] / 100
change = [part.paper[0] - whole.paper[0] for part in parts]
figure = go.Figure()
for rho, color in ((0.0, "#2a7de1"), (0.6, "#c45f0a")):
    half = 1.96 * 100 * np.sqrt(2 * p * (1 - p) * (1 - rho) / N)
    figure.add_scatter(
        x=[part.name for part in parts], y=change, mode="markers", marker_color=color, name=f"rho = {rho}: +- {half:.2f}",
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
    "Intervals that cross the dotted line are compatible with no effect at all. Only the two ablations without EGM could stand out; "
    "and how much another seed would move the points, no interval of one run can say.",
)

# %% [markdown]
# ## 5 · An ablation in class
#
# Now we train three models with the same budget, data and seed: CTSM; CTSM without state emotions; and CTSM with the *summed* word losses of
# section 2 (`--set peer_losses=true`, for any model). The budget is small: a few passes over 160 pairs. (In a terminal a real one is `ctsm train --set state=false --out runs/wo-see`.)

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
        f"{name:<19} training accuracy {learned[name][-1][1]:5.1f} %   dev accuracy {dev['dev_acc']:5.2f} %   "
        f"dev ppl_token {dev['dev_ppl_token']:.1f}"
    )

# %%
figure = go.Figure()
for (name, points), dash in zip(learned.items(), ("solid", "dash", "dot"), strict=True):
    x, y = zip((0, 100 / 32), *points, strict=True)
    figure.add_scatter(x=x, y=y, name=name, mode="lines+markers", line_dash=dash)
figure.update_layout(
    title="Emotion accuracy on the pairs that are learned",
    xaxis_title="iteration",
    yaxis_title="%",
    width=860,
    height=400,
)
lessons.show(
    figure,
    "The same model, data and steps, and with summed word losses (dotted) the same again. How much does an accident of scale cost beside "
    "a component?",
)

# %% [markdown]
# What about the dev split, and what about SEE? Before anybody reads anything into two numbers there, we need to know how far they would be
# apart by chance. The **paired bootstrap** asks: had the dev split held other dialogues, how might the difference have come out? It draws
# pairs again, with replacement, *the same ones for both systems*, and takes the middle 95 per cent of the differences.

# %% [markdown]
# ### Exercise 9.3 · The paired bootstrap
#
# **Goal:** a 95 % interval for the difference in accuracy (points, a minus b) of two systems on the same items. **Difficulty:** ★★
# **Minutes:** 15
#
# <details><summary>Hint</summary>
#
# `random.integers(0, n, (samples, n))` gives the items of all draws at once. Use one and the same draw for both systems. Then
# `np.quantile(differences, [0.025, 0.975])`.
#
# </details>


# %%
def paired_bootstrap(right_a, right_b, samples, seed):
    """(low, high) in points, from right_a and right_b [n] (1: right, 0: wrong)."""
    ### BEGIN SOLUTION
    random, n = np.random.default_rng(seed), len(right_a)
    draws = random.integers(0, n, (samples, n))
    differences = 100 * (right_a[draws].mean(axis=1) - right_b[draws].mean(axis=1))
    low, high = np.quantile(differences, [0.025, 0.975])
    return low, high
    ### END SOLUTION


# %%
checks.paired_bootstrap(paired_bootstrap)

# %% [markdown]
# scipy has it ready (`paired=True`), also with better intervals for small samples:


# %%
def interval(a, b):
    """The same by scipy."""
    statistic = lambda x, y, axis=-1: 100 * (x.mean(axis=axis) - y.mean(axis=axis))  # noqa: E731
    found = bootstrap(
        (a, b),
        statistic,
        paired=True,
        n_resamples=2_000,
        method="percentile",
        rng=np.random.default_rng(0),
    )
    return found.confidence_interval


for name in list(VARIANTS)[1:]:
    low, high = interval(right["CTSM"], right[name])
    verdict = "contains 0: nothing is shown" if low <= 0 <= high else "does not contain 0"
    difference = 100 * (right["CTSM"] - right[name]).mean()
    print(
        f"CTSM minus {name:<19} {difference:+.1f} points on dev, 95 % from {low:+.1f} to {high:+.1f}: {verdict}"
    )

# %% [markdown]
# A class room's budget cannot say what SEE is worth: that takes full training, all dev pairs, and several seeds. What it does show is how an
# honest comparison is made, and that one should distrust a table of single runs without intervals.
#
# ## What you have now
#
# - Tables 1 and 3 with our runs beside them, and a plain list of what has not been run.
# - Three rivals of every explanation by architecture: optimisation, the scale of a loss, and chance.
# - A yardstick that takes seconds.
#
# **Next:** lesson 10 looks at the claim that gave the model its name: do words say one thing and do another?
