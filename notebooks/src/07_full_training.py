# %% [markdown]
# # 07 · Train everything together
#
# **What you will do.** You add up the losses of all parts. You write the learning-rate schedule
# and the training loop, and you watch each loss by its name. You press Ctrl-C in the middle of
# training and continue as if nothing had happened.
#
# **What you will learn.** Eq. (25); why the learning rate first rises and then falls; when to
# stop; what a checkpoint must contain; how several GPUs can take the same steps as one GPU.
#
# **What you need.** Lessons 05 and 06, which explain the losses. About 60 minutes.
#
# *Paper: Sec. 3.6.2 (Eq. 25) and 4.2. Library: `model/ctsm`, `training`, `checkpoint`,
# `parallel`.*

# %%
import copy
import dataclasses
import json
import signal
import tempfile
from pathlib import Path

import numpy as np
import plotly.graph_objects as go
import torch
from ctsm_lib.batches import Shuffled
from ctsm_lib.checkpoint import load_weights, newest_checkpoint
from ctsm_lib.config import preset
from ctsm_lib.scores import score_pairs, teacher_forced
from ctsm_lib.sources import PROJECT
from ctsm_lib.training import build_model, learning_rate, make_optimizer
from ctsm_workbench.course import checks, lessons
from ctsm_workbench.running.log import read_log
from ctsm_workbench.running.train import train
from safetensors.torch import load_file
from torch import nn

lessons.begin("training")

# %%
prepared = lessons.data()
origin = prepared.description["data"]
ITERATIONS = 60 if origin == "sample" else 30  # a class can wait for this
config = lessons.lesson_config(origin).override(
    ["batch_size=16", "learning_rate=0.001", "warmup=20", f"max_iterations={ITERATIONS}"]
)
pairs = prepared.pairs["train"]
model = build_model(config, prepared)
print(lessons.describe())
print(f"parameters: {sum(p.numel() for p in model.parameters()):,}")

# %% [markdown]
# ## 1 · Five losses become one
#
# Lessons 05 and 06 introduced several losses. Training needs a single number to minimise, and
# Eq. (25) adds them up:
#
# $$ \mathcal{L} = \gamma_1 (\mathcal{L}_{tchr} + \mathcal{L}_{stu}) + \gamma_2 \mathcal{L}_g +
# \gamma_3 \mathcal{L}_{ccl} + \gamma_4 \mathcal{L}_{div} $$
#
# | loss | aim | from | weight |
# |---|---|---|---|
# | teacher | predict the emotion from trait and state embeddings | Eq. (15) | $\gamma_1 = 1$ |
# | student | match the soft labels of the teacher network | Eq. (18) | $\gamma_1 = 1$ |
# | generation | give the listener's real words a high probability | Eq. (21) | $\gamma_2 = 1$ |
# | contrast | bring five pairs of views of a dialogue together | Eq. (24) | $\gamma_3 = 1$ |
# | diversity | like generation, but frequent words count less | Sec. 3.6.1 | $\gamma_4 = 1.5$ |
#
# The model returns all of them by name, together with their weighted sum, `total`. Presets
# `improved` and `sample` add one term that the paper does not have: the student is also trained
# on the gold label (`student_label_weight=1`). Without this term the student has only the
# teacher's predictions to learn from. Let us add up the losses by hand:

# %%
batch = pairs.collate(Shuffled(pairs, config.batch_size, config.seed)[0])
model.train()
losses = {name: loss.detach() for name, loss in model(batch).losses.items()}
emotion = (
    losses["teacher"]
    + losses["student"]
    + config.student_label_weight * losses["student_label"]
)
by_hand = (
    config.weight_emotion * emotion
    + config.weight_generation * losses["generation"]
    + config.weight_contrast * losses["contrast"]
    + config.weight_diversity * losses["diversity"]
)
torch.testing.assert_close(by_hand, losses["total"])
print(f"Our sum, {float(by_hand):.4f}, is the model's total.")

# %% [markdown]
# Equal weights do not mean equal shares of the total. How much does each loss contribute before
# the model has learned anything?

# %%
weights = {
    "teacher": config.weight_emotion,
    "student": config.weight_emotion,
    "student_label": config.weight_emotion * config.student_label_weight,
    "generation": config.weight_generation,
    "contrast": config.weight_contrast,
    "diversity": config.weight_diversity,
}
shares = {
    name: 100 * weight * float(losses[name] / losses["total"])
    for name, weight in weights.items()
}
figure = lessons.bars(
    {"share": list(shares.values())},
    list(shares),
    "Share of the total loss at the first step",
    "%",
)
lessons.show(
    figure,
    "Generation and diversity are made of the same word losses. Compare their bars with the "
    "three emotion losses: teacher, student and student_label.",
)

# %% [markdown]
# What does the diversity loss add? It multiplies the loss of each word by
# $w_v = 1 - f_v / \max f$, scaled to a mean of 1, where $f_v$ counts how often the model has
# predicted $v$. For how many words does that make a difference?

# %%
for step in range(4):
    model(pairs.collate(Shuffled(pairs, config.batch_size, config.seed)[step]))
word_weights = model.diversity.weights(torch.arange(len(prepared.corpus.vocabulary)))
changed = ((word_weights - word_weights.median()).abs() > 0.01).nonzero().squeeze(1)
print(
    f"weights that differ by more than 0.01 from the median "
    f"{float(word_weights.median()):.4f}: {len(changed)} of {len(word_weights):,} words"
)
lowest = changed[word_weights[changed].argsort()][:6].tolist()
print(
    ", ".join(
        f"{prepared.corpus.vocabulary.words[i]!r} {float(word_weights[i]):.2f}" for i in lowest
    )
)

# %% [markdown]
# At this point, the diversity loss is the generation loss again, with less weight on the few
# words that the model predicts most often. All other words keep their weight. With the paper's
# weights, the two together act like a generation loss of weight 2.5 in which the commonest
# words count less. The answers themselves must show what this changes. Lesson 09 reports their
# diversity.
#
# ## 2 · The learning rate
#
# Large steps at the start can make a Transformer diverge, because the normalisation layers and
# the averages of Adam have not settled yet. The paper uses the schedule known as **Noam**
# (named after an author of the Transformer). With width $d$, warm-up $w$ and a factor $f$,
# iteration $i$ has the learning rate
#
# $$ \eta_i = f \; d^{-1/2} \, \min ( i^{-1/2}, \; i \, w^{-3/2} ) $$
#
# For $i < w$ the second term is the smaller one, and the rate rises in a straight line. After
# that it falls in proportion to $1 / \sqrt{i}$.

# %% [markdown]
# ### Exercise 7.1 · The Noam schedule
#
# **Goal:** compute $\eta_i$. Iterations are counted from 1. **Difficulty:** ★ **Minutes:** 5
#
# <details><summary>Hint</summary>
#
# `iteration**-0.5` is $1 / \sqrt{i}$. At $i = w$ both terms of the minimum are equal. You can
# use this to check your own answer.
#
# </details>


# %%
def noam(iteration, dim, warmup, factor=1.0):
    """The learning rate of an iteration, counted from 1."""
    ### BEGIN SOLUTION
    return factor * dim**-0.5 * min(iteration**-0.5, iteration * warmup**-1.5)
    ### END SOLUTION


# %%
checks.noam(noam)

# %% [markdown]
# The library's `learning_rate(config, iteration)` offers this schedule and a second one,
# "linear": the rate rises to a peak and then falls to 0 at the last iteration. Here are two
# full-size presets:

# %%
paper, improved = preset("paper"), preset("improved")
figure = go.Figure()
for settings, dash in ((paper, "solid"), (improved, "dash")):
    steps = np.arange(1, settings.max_iterations + 1, 50)
    rates = [learning_rate(settings, int(step)) for step in steps]
    name = f"{settings.preset}: {settings.schedule}, batch {settings.batch_size}"
    figure.add_scatter(x=steps, y=rates, name=name, mode="lines", line_dash=dash)
figure.update_layout(
    title="Learning rate",
    width=860,
    height=380,
    xaxis_title="iteration",
    yaxis_rangemode="tozero",
)
lessons.show(
    figure,
    "The rate of preset paper rises for 8,000 iterations and never reaches zero again. The "
    "schedule of preset improved is shorter, has a higher peak, and ends at zero.",
)

# %%
CONVERGED = 17_250  # Sec. 4.2
rates = np.array([learning_rate(paper, i) for i in range(1, CONVERGED + 1)])
print(f"peak of the paper's schedule: {rates.max():.2e} at iteration {rates.argmax() + 1:,}")
print(f"the paper's model has converged after {CONVERGED:,} iterations")
print(f"the warm-up takes {paper.warmup / CONVERGED:.0%} of these iterations")
passes = CONVERGED * paper.batch_size / len(pairs)
print(f"on the {len(pairs):,} pairs of this notebook they would be {passes:.1f} passes")

# %% [markdown]
# > **Departure.** The paper states that it uses Adam, "NoamOpt" and batch size 16, and after
# > how many iterations training converged. It gives neither the warm-up nor the constants of
# > Adam. Preset `paper` takes them from the systems that the paper compares itself with (factor
# > 1, warm-up 8,000, betas 0.9 and 0.98). Preset `improved` changes the optimisation: AdamW, a
# > linear schedule of fixed length, gradients clipped to length 1, dropout. It also changes the
# > model. Among other things, it fuses context and commonsense in another way, trains the
# > student on the gold label, uses other contrastive negatives, and has two decoder layers with
# > wider attention. It is therefore a different model from the paper's, and not only a
# > better-trained one.
#
# ## 3 · The training loop
#
# This is the training loop, step by step. Nothing in it is specific to CTSM: take a batch, set
# the learning rate, compute the total loss and its gradients, and update the weights.


# %%
def walk(model, optimizer, first, last, watch=lambda *_: None):
    """Train from iteration `first` to `last`; `watch` gets the output of each iteration."""
    order = Shuffled(pairs, config.batch_size, config.seed)
    model.train()
    for iteration in range(first, last + 1):
        batch = pairs.collate(order[iteration - 1])
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(config, iteration)
        output = model(batch)
        output.losses["total"].backward()
        nn.utils.clip_grad_norm_(model.parameters(), config.clip)
        optimizer.step()
        optimizer.zero_grad()
        watch(iteration, output)


# %% [markdown]
# `Shuffled` computes the pairs of any iteration from the seed and the iteration number alone.
# You can ask for batch 1,000 without drawing the 999 batches before it. This will matter soon.
#
# While the loop runs, we plot each loss by its name. Batches of 16 are noisy, so each point is
# the mean of five iterations. We also keep a copy of the weights after iterations 12 and 24.

# %%
STYLES = {
    "diversity": ("#2a7de1", "dash"),
    "generation": ("#2a7de1", "solid"),
    "teacher": ("#c45f0a", "solid"),
    "student": ("#c45f0a", "dash"),
    "contrast": ("#75797f", "solid"),
}


def curves(history):
    """A figure of the losses by name, as means over five iterations."""
    figure = go.Figure()
    for name, (color, dash) in STYLES.items():
        values = np.array(history[name])[: len(history[name]) // 5 * 5].reshape(-1, 5).mean(1)
        figure.add_scatter(
            x=5 * np.arange(1, len(values) + 1),
            y=values,
            name=name,
            line={"color": color, "dash": dash},
        )
    figure.update_xaxes(title="iteration", range=[0, ITERATIONS + 1])
    figure.update_yaxes(title="loss", rangemode="tozero")
    alt = "A line for each of the five losses over the iterations; two of them fall together."
    return figure.update_layout(
        title="The five losses", width=860, height=400, meta={"alt": alt}
    )


# %%
history, kept = {name: [] for name in STYLES}, {}
update = lessons.live(curves(history))


def watch(iteration, output):
    """Update the figure, and keep the weights of two iterations."""
    for name, values in history.items():
        values.append(float(output.losses[name].detach()))
    if iteration % 5 == 0:
        update(curves(history))
    if iteration in (12, 24):
        kept[iteration] = copy.deepcopy(model.state_dict())


model = build_model(config, prepared)  # sets the seed, too
optimizer = make_optimizer(config, model)
walk(model, optimizer, 1, ITERATIONS, watch)

# %% [markdown]
# *Generation and diversity fall together, because both are made of the same word losses.
# Teacher and student start near $\ln 32$, which is the loss of guessing. The next cell shows
# how far they have come.*

# %%
for name, values in history.items():
    print(f"{name:<11} {np.mean(values[:5]):.2f} -> {np.mean(values[-5:]):.2f}")
print(f"guessing among 32 emotions: {np.log(32):.2f}")
small = lessons.portion(prepared, train=40, valid=60)
scores = teacher_forced(score_pairs(model, small.pairs["valid"]))
print(
    f"on {len(small.pairs['valid'])} dev pairs: ppl_token {scores['ppl_token']:.0f}, "
    f"accuracy {scores['acc']:.0f} %, by guessing {100 / 32:.0f} %"
)

# %% [markdown]
# A few dozen iterations show that everything works. They are not enough to train a useful
# model.
#
# ## 4 · Ctrl-C
#
# A training run that takes all night may be interrupted: by you, by a power cut, by the time
# limit of a cluster. The library's `train` is our loop with three additions: a log, checks on
# the dev split, and a checkpoint when it is told to stop. Let us press Ctrl-C while batch 12 is
# being prepared. The code sends the same signal as the key:


# %%
def with_ctrl_c(prepared, at):
    """The same data, with a Ctrl-C while batch number `at` is being prepared."""
    nervous, count = copy.copy(prepared.pairs["train"]), iter(range(1, 10**9))

    def collate(*arguments):
        if next(count) == at:
            signal.raise_signal(signal.SIGINT)
        return pairs.collate(*arguments)

    nervous.collate = collate
    return dataclasses.replace(prepared, pairs=prepared.pairs | {"train": nervous})


folder = Path(tempfile.mkdtemp()) / "run"
result = train(config, with_ctrl_c(prepared, 12), folder, cpu=True, progress=False)
print("interrupted:", result["interrupted"], "after iteration", result["iteration"])


# %% [markdown]
# `train` finished the current iteration, saved a checkpoint, and returned. Up to this point it
# should have done exactly what our own loop did. The weights should be identical, bit for bit:


# %%
def compare(weights, ours):
    """Compare two sets of weights; report whether they are identical, and the difference."""
    same = all(torch.equal(weights[name], ours[name]) for name in ours)
    floats = [name for name, value in ours.items() if value.is_floating_point()]
    apart = max(float((weights[n] - ours[n]).abs().max()) for n in floats)
    return f"identical, bit for bit: {same}; largest difference {apart:.1e}"


checkpoint = newest_checkpoint(folder)
print(checkpoint.name, "-", compare(load_file(checkpoint / "model.safetensors"), kept[12]))
for path in sorted(checkpoint.iterdir()):
    print(f"  {path.name:<24} {path.stat().st_size / 1e6:8.3f} MB")

# %% [markdown]
# | file | what happens after resuming without it |
# |---|---|
# | `model` | everything is lost (it also holds the counts of the diversity loss) |
# | `optimizer` | Adam has lost its averages, and the first steps go in other directions |
# | `random` | dropout switches off other units |
# | `state` | the batches come in another order, or training stops too late |
#
# (`state` holds the position in the data, the best dev score and the number of bad checks.)
#
# Do these files matter? First we continue from the model alone, with the right random state but
# with a new Adam optimizer. Then we resume from all files.

# %%
forgetful = build_model(config, prepared)
load_weights(checkpoint / "model.safetensors", forgetful)
torch.set_rng_state(load_file(checkpoint / "random.safetensors")["cpu"])
walk(forgetful, make_optimizer(config, forgetful), 13, 24)
print("fresh Adam:   ", compare(forgetful.state_dict(), kept[24]))

result = train(config, prepared, folder, resume=True, stop_after=24, cpu=True, progress=False)
resumed = load_file(newest_checkpoint(folder) / "model.safetensors")
print("with --resume:", compare(resumed, kept[24]))

# %% [markdown]
# After resuming, an interrupted run gives the same result as an uninterrupted one. You can stop
# a run at any time without losing anything, and a result with a pause in it is as good as one
# without.
#
# ## 5 · When to stop
#
# The training loss keeps falling. The perplexity on dialogues outside the training split falls
# at first, and then rises again, because the model begins to memorise. **Early stopping**
# measures this perplexity on the dev split (`valid` in lesson 01) at regular intervals and
# keeps the best weights. Training ends after `patience` checks in a row without a new best
# value.

# %% [markdown]
# ### Exercise 7.2 · Early stopping with patience
#
# **Goal:** you are given the dev perplexities in the order of the checks. Return the number of
# checks that are made before training ends, and the index of the best one (counted from 0).
# With `patience=0` training never ends early. **Difficulty:** ★★ **Minutes:** 10
#
# <details><summary>Hint</summary>
#
# Go through the list with a counter of bad checks. A better check sets the counter back to 0.
# Any other check, even one with an equal value, raises it by 1. Compare with the *best* value
# so far, not with the previous one.
#
# </details>


# %%
def early_stopping(perplexities, patience):
    """Return (number of checks made, index of the best check)."""
    ### BEGIN SOLUTION
    best, bad = 0, 0
    for number, perplexity in enumerate(perplexities):
        if number == 0 or perplexity < perplexities[best]:
            best, bad = number, 0
        else:
            bad += 1
        if 0 < patience <= bad:
            return number + 1, best
    return len(perplexities), best
    ### END SOLUTION


# %%
checks.early_stopping(early_stopping)

# %% [markdown]
# Now we force the model to memorise. It learns from only forty pairs, eight in a batch. We
# start the bias of the output layer at zero (`output_bias=zero`) and not at the log frequencies
# of the words, so that there is more to learn. A check is made every five iterations, and the
# patience is 6. The library's `train` stops by itself.

# %%
no_help = ["batch_size=8", "learning_rate=0.002", "warmup=6", "dropout=0", "output_bias=zero"]
checked = ["patience=6", "check_every=5", "check_from=5", "max_iterations=150"]
hasty = config.override([*no_help, *checked])
memory = Path(tempfile.mkdtemp()) / "memorising"
result = train(hasty, small, memory, cpu=True, progress=False)
dev = [record for record in read_log(memory) if "dev_ppl_token" in record]
print(f"stopped after iteration {result['iteration']} of {hasty.max_iterations}")
best = result["best"]
print(f"best.safetensors: iteration {best['iteration']}, dev ppl_token {best['ppl_token']:.0f}")

# %%
log = [record for record in read_log(memory) if "ppl" in record]
figure = go.Figure()
for records, key, name in ((log, "ppl", "training"), (dev, "dev_ppl_token", "dev")):
    x, y = [record["iteration"] for record in records], [record[key] for record in records]
    figure.add_scatter(x=x, y=y, name=name, mode="lines+markers")
figure.add_vline(x=result["best"]["iteration"], line_dash="dot", line_color="#75797f")
figure.update_xaxes(title="iteration", rangemode="tozero")
ticks = [base * 10**power for power in range(5) for base in (1, 2, 5)]
figure.update_yaxes(title="perplexity", type="log", tickvals=ticks)
figure.update_layout(title="The model memorises forty pairs", width=860, height=400)
lessons.show(
    figure,
    "The training perplexity keeps falling. The dev perplexity is lowest at the dotted line, "
    "and the weights of that iteration are kept.",
)

# %% [markdown]
# Two practical remarks. First, use **all** dev pairs for the check. With a small sample the
# best value looks better than it is, because you choose the best of many noisy numbers. Second,
# do not stop early with a linear schedule (`patience=0` in `improved`). A good part of the
# improvement comes at the end, when the rate goes to zero.
#
# ## 6 · Many GPUs, the same steps
#
# With several processes, each one takes a share of every batch and computes gradients. The
# gradients are then averaged over all processes before the step. The steps should be the same
# as with one process, and this is easy to get wrong. If each process averages over *its own*
# tokens, then the words of a process with short answers get more weight. Here, every loss is
# divided by the number of tokens or pairs in the **whole** batch, so that the shares add up to
# the right total:

# %%
index = Shuffled(pairs, config.batch_size, config.seed)[0]
short_first = index[np.argsort(pairs.target_length[index], kind="stable")]
index = np.stack(
    np.array_split(short_first, 2), axis=1
).ravel()  # the hardest case: short, long, ...
model.eval()  # no dropout: two half batches would drop other units than the whole one


def gradient(batches):
    """Summed loss of the batches, and its gradient at one weight of the context encoder."""
    model.zero_grad()
    total = sum(model(batch).losses["total"] for batch in batches)
    total.backward()
    weight = next(
        p for name, p in model.named_parameters() if name.startswith("encoder.") and p.dim() > 1
    )
    return total.detach(), weight.grad.clone()


whole = gradient([pairs.collate(index)])
shares = [pairs.collate(index, slice(rank, None, 2)) for rank in range(2)]
torch.testing.assert_close(gradient(shares), whole)
own = [
    dataclasses.replace(s, total_tokens=int((s.target != 1).sum()), total_pairs=len(s))
    for s in shares
]
print("tokens of the two shares:", [batch.total_tokens for batch in own])
print(f"loss of the whole batch  {float(whole[0]):.6f}")
print(f"two shares, added        {float(gradient(shares)[0]):.6f}")
print(f"two means, averaged      {float(gradient(own)[0]) / 2:.6f}")

# %% [markdown]
# The contrastive loss is not a sum over dialogues: the negatives of each dialogue are *all*
# other dialogues of the batch. For this loss, the processes first exchange their views
# (`parallel.gather_rows`). Gradients flow back through the exchange.
#
# ## 7 · A full training run
#
# In a terminal, on one machine with or without a GPU:
#
# ```
# ctsm data fetch                                   # once; asks you to read the terms
# ctsm train --preset improved --out runs/improved  # or --preset paper
# ctsm train --out runs/improved --resume           # after Ctrl-C
# ctsm evaluate runs/improved --json scores.json
# ```
#
# If one machine has several GPUs, the package accelerate finds them. Prepare the data first, so
# that every process can read it:
#
# ```
# ctsm data prepare
# torchrun --nproc-per-node 4 -m ctsm_lib train --preset improved --out runs/improved
# ```
#
# On a GPU that supports bfloat16, add `--set precision=bf16`. `batch_size` is the total over
# all processes. Without dropout the result does not depend on their number; with dropout, each
# process draws random numbers of its own. To open your run in the other lessons, set `CTSM_RUN`
# to its folder. How long does a full run take?

# %%
results = (PROJECT or Path("..")) / "figures" / "results"
for path in sorted(results.glob("*_training.json")):
    records = json.loads(path.read_text())["records"]
    measured = np.median([r["examples_per_s"] for r in records if "examples_per_s" in r])
    best = min((r for r in records if "dev_ppl_token" in r), key=lambda r: r["dev_ppl_token"])
    print(
        f"{path.name}: best dev ppl_token {best['dev_ppl_token']:.1f} at {best['iteration']:,}"
    )
    for settings, steps in ((paper, CONVERGED), (improved, improved.max_iterations)):
        examples = steps * settings.batch_size
        print(
            f"  {settings.preset}: {steps:,} x {settings.batch_size} = {examples:,} examples: "
            f"{examples / measured / 3600:.1f} hours at this run's {measured:.0f} examples/s"
        )

# %% [markdown]
# ## What you have now
#
# - Eq. (25), term by term, and the share of each term in the total.
# - A schedule, a loop and early stopping. You wrote two of them, and all three agree with the
#   library's.
# - A reason to trust `--resume`: you compared the bits. The losses of several processes add up
#   to those of one.
#
# **But:** a low loss does not guarantee good answers. In lesson 08 the model answers, and we
# ask what the paper's scores can measure.
