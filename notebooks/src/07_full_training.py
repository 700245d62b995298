# %% [markdown]
# # 07 · Train everything together
#
# **What you will do.** Add five losses up to one, write the learning-rate schedule and the training loop, watch every loss by its
# name, press Ctrl-C in the middle and go on as if nothing had happened.
#
# **What you will learn.** Eq. (25); why the rate first rises and then falls; when to stop; what a checkpoint must hold; how many GPUs
# take the same steps as one.
#
# **What you need.** Lessons 05 and 06 for what each loss wants. About 60 minutes.
#
# *Paper: Sec. 3.6.2 (Eq. 25) and 4.2. Library: `model/ctsm`, `training`, `checkpoint`, `parallel`.*

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
from ctsm_lib.checkpoint import load_weights, newest_checkpoint, read_log
from ctsm_lib.config import preset
from ctsm_lib.scores import score_pairs, teacher_forced
from ctsm_lib.sources import PROJECT
from ctsm_lib.training import build_model, learning_rate, make_optimizer, train
from ctsm_workbench.course import checks, lessons
from safetensors.torch import load_file
from torch import nn

lessons.begin("training")

# %%
prepared = lessons.data()
origin = prepared.description["data"]
ITERATIONS = 60 if origin == "sample" else 30  # what a class can wait for
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
# Every earlier lesson ended with a loss. Training needs a single number to walk down from, and Eq. (25) adds them up:
#
# $$ \mathcal{L} = \gamma_1 (\mathcal{L}_{tchr} + \mathcal{L}_{stu}) + \gamma_2 \mathcal{L}_g + \gamma_3 \mathcal{L}_{ccl} + \gamma_4 \mathcal{L}_{div} $$
#
# | loss | wants | from | weight |
# |---|---|---|---|
# | teacher | name the emotion, seeing trait and state embeddings | Eq. (15) | $\gamma_1 = 1$ |
# | student | agree with the teacher's soft labels | Eq. (18) | $\gamma_1 = 1$ |
# | generation | give the listener's real words a high probability | Eq. (21) | $\gamma_2 = 1$ |
# | contrast | bring five pairs of views of a dialogue together | Eq. (24) | $\gamma_3 = 1$ |
# | diversity | the same as generation, weighing words less that the model says all the time | Sec. 3.6.1 | $\gamma_4 = 1.5$ |
#
# The model returns all of them by name, and `total`. Presets `improved` and `sample` add one term: the student also sees the hard label
# (`student_label_weight=1`; without it the student lags behind at first, see the end of lesson 05). We add them up by hand:

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
# A weight of 1 does not mean an equal share. What does each loss contribute before anything is learned?

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
    "Generation and diversity, the two that are made of the same word losses, are about half of what is minimised.",
)

# %% [markdown]
# Is diversity something of its own? It multiplies each word's loss with $w_v = 1 - f_v / \max f$, scaled to a mean of 1, where $f_v$
# counts how often the model has predicted $v$. How many words does that change?

# %%
for step in range(4):
    model(pairs.collate(Shuffled(pairs, config.batch_size, config.seed)[step]))
word_weights = model.diversity.weights(torch.arange(len(prepared.corpus.vocabulary)))
changed = ((word_weights - word_weights.median()).abs() > 0.01).nonzero().squeeze(1)
print(
    f"weights that differ from the median {float(word_weights.median()):.4f} by more than 0.01: "
    f"{len(changed)} of {len(word_weights):,} words"
)
lowest = changed[word_weights[changed].argsort()][:6].tolist()
print(
    ", ".join(
        f"{prepared.corpus.vocabulary.words[i]!r} {float(word_weights[i]):.2f}" for i in lowest
    )
)

# %% [markdown]
# It is the generation loss once more, without the handful of words that the model says most; all others keep their weight. So the pair
# acts like a generation loss of weight 2.5 that cares less about the commonest words. Keep this in mind when Table 3 of the paper
# (lesson 09) speaks of diversity.
#
# ## 2 · How fast to walk
#
# Large steps at the start throw a Transformer off: its normalisations and Adam's averages are not settled. The paper uses the schedule
# known as **Noam** (after an author of the Transformer): with width $d$, warm-up $w$ and a factor $f$, iteration $i$ has the rate
#
# $$ \eta_i = f \; d^{-1/2} \, \min ( i^{-1/2}, \; i \, w^{-3/2} ) $$
#
# For $i < w$ the second term is the smaller one, and the rate rises in a straight line; after that it falls like one over the root of $i$.

# %% [markdown]
# ### Exercise 7.1 · The Noam schedule
#
# **Goal:** write $\eta_i$; iterations count from 1. **Difficulty:** ★ **Minutes:** 5
#
# <details><summary>Hint</summary>
#
# `iteration**-0.5` is one over the root. At $i = w$ both terms of the minimum are equal: a good thing to check your own answer with.
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
# The library's `learning_rate(config, iteration)` has this schedule and a second one, "linear": up to a peak, then down to 0 at the last
# iteration. Here are the two full-size presets:

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
    "The paper's schedule climbs for 8,000 iterations and never comes down to zero; ours is short, higher, and ends at zero.",
)

# %%
CONVERGED = 17_250  # Sec. 4.2
rates = np.array([learning_rate(paper, i) for i in range(1, CONVERGED + 1)])
print(f"peak of the paper's schedule: {rates.max():.2e} at iteration {rates.argmax() + 1:,}")
print(
    f"warm-up takes {paper.warmup / CONVERGED:.0%} of the {CONVERGED:,} iterations after which the paper has converged"
)
print(
    f"that is {CONVERGED * paper.batch_size / len(pairs):.1f} passes over the {len(pairs):,} pairs here"
)

# %% [markdown]
# > **Departure.** The paper names Adam, "NoamOpt", batch 16 and the place of convergence, but neither warm-up nor Adam's constants. Preset
# > `paper` takes those of the systems it compares itself with (factor 1, warm-up 8,000, betas 0.9 and 0.98). Preset `improved` keeps every
# > component and changes the optimisation: AdamW, a linear schedule of fixed length, gradients clipped to length 1, dropout.
#
# ## 3 · The loop
#
# Now the loop itself, in the open. Nothing of it is special to CTSM: take a batch, set the rate, sum the losses, walk a step.


# %%
def walk(model, optimizer, first, last, watch=lambda *_: None):
    """Train from iteration `first` to `last`; `watch` sees each iteration's output."""
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
# `Shuffled` knows the pairs of every iteration from seed and number alone: ask for batch 1,000 and you need not have drawn the 999 before.
# That will matter in a moment.
#
# We draw the losses by name while the loop runs, five times as coarse as they are (batches of 16 jump about), and keep a copy of the
# weights after iterations 12 and 24.

# %%
STYLES = {
    "diversity": ("#2a7de1", "dash"),
    "generation": ("#2a7de1", "solid"),
    "teacher": ("#c45f0a", "solid"),
    "student": ("#c45f0a", "dash"),
    "contrast": ("#75797f", "solid"),
}


def curves(history):
    """The losses by name, means over five iterations."""
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
    alt = "The five losses over the iterations, each a line; generation and diversity run side by side."
    return figure.update_layout(
        title="Every loss by its name", width=860, height=400, meta={"alt": alt}
    )


# %%
history, kept = {name: [] for name in STYLES}, {}
update = lessons.live(curves(history))


def watch(iteration, output):
    """Draw, and remember the weights of two iterations."""
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
# *Generation and diversity fall together, as they must. Teacher and student begin near the logarithm of 32, which is guessing: a rise of
# the accuracy is yet to come.*

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
# A few dozen iterations show that everything works; they make no model.
#
# ## 4 · Ctrl-C
#
# A night's training will be interrupted: by you, by a power cut, by a cluster's time limit. The library's `train` is our loop with three
# things around it: a log, dev checks, and a checkpoint when it is told to stop. We let somebody press Ctrl-C while batch 12 is put together,
# by sending the very signal that the key sends:


# %%
def with_ctrl_c(prepared, at):
    """The same data; while batch number `at` is put together, somebody presses Ctrl-C."""
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
# It finished the iteration at hand, saved, and returned. Until here it should have done exactly what our own loop did. Not nearly, but bit
# for bit:


# %%
def compare(weights, ours):
    """Whether two sets of weights are the same, and how far apart they are."""
    same = all(torch.equal(weights[name], ours[name]) for name in ours)
    floats = [name for name, value in ours.items() if value.is_floating_point()]
    apart = max(float((weights[n] - ours[n]).abs().max()) for n in floats)
    return f"the same bit for bit: {same}; largest difference {apart:.1e}"


checkpoint = newest_checkpoint(folder)
print(checkpoint.name, "-", compare(load_file(checkpoint / "model.safetensors"), kept[12]))
for path in sorted(checkpoint.iterdir()):
    print(f"  {path.name:<24} {path.stat().st_size / 1e6:8.3f} MB")

# %% [markdown]
# | file | without it, after resuming |
# |---|---|
# | `model` | all is lost (it also holds the counts of the diversity loss) |
# | `optimizer` | Adam has forgotten its averages: the first steps go astray |
# | `random` | dropout switches off other units |
# | `state` | position, best dev score, number of bad checks: data would come in another order, or training would stop too late |
#
# Does that matter? First we go on from the model alone, with the right random state but a fresh Adam. Then as it should be.

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
# An interrupted run is the uninterrupted one. So there is no reason to leave a machine running for fear of losing something, and a result
# with a pause in it is as good as one without.
#
# ## 5 · When to stop
#
# The training loss always falls. The perplexity on dialogues that the model never learns from falls and then rises again: it begins to
# memorise. **Early stopping** checks the dev split (`valid` in lesson 01) now and then, keeps the best weights, and ends when `patience` checks in a row were no
# better than the best one.

# %% [markdown]
# ### Exercise 7.2 · Early stopping with patience
#
# **Goal:** from the dev perplexities in the order of the checks, say how many checks are made before training ends and which was the best
# (counted from 0). With `patience=0` training never ends early. **Difficulty:** ★★ **Minutes:** 10
#
# <details><summary>Hint</summary>
#
# Go through the list with a counter of bad checks. A better check sets the counter back to 0, anything else (also an equal one) raises it.
# Compare with the *best* so far, not with the one before.
#
# </details>


# %%
def early_stopping(perplexities, patience):
    """(checks made, index of the best one)."""
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
# We provoke it: forty pairs to learn from, eight in a batch, no word frequencies to begin with (`output_bias=zero`, so that there is something
# to learn at all), a check every five iterations, patience 6. The library's `train` stops by itself.

# %%
no_help = ["batch_size=8", "learning_rate=0.002", "warmup=6", "dropout=0", "output_bias=zero"]
checked = ["patience=6", "check_every=5", "check_from=5", "max_iterations=150"]
hasty = config.override([*no_help, *checked])
memory = Path(tempfile.mkdtemp()) / "memorising"
result = train(hasty, small, memory, cpu=True, progress=False)
dev = [record for record in read_log(memory) if "dev_ppl_token" in record]
print(f"stopped after iteration {result['iteration']} of {hasty.max_iterations}")
print(
    f"best.safetensors is of iteration {result['best']['iteration']}, ppl_token {result['best']['ppl_token']:.0f}"
)

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
figure.update_layout(title="Forty pairs, learned by heart", width=860, height=400)
lessons.show(
    figure,
    "The training perplexity goes on falling; the dev perplexity has its lowest point at the dotted line. Those weights are kept.",
)

# %% [markdown]
# Two remarks from practice. Use **all** dev pairs for the check: a small sample of them flatters, because you choose the best of many
# noisy numbers. And with a linear schedule do not stop early at all (`patience=0` in `improved`): the last third, where the rate goes to
# zero, is where much of the gain comes from.
#
# ## 6 · Many GPUs, the same steps
#
# With several processes each takes a share of every batch, computes gradients, and all average theirs before the step. The steps should be
# those of one process, and that is easy to get wrong: if each process averages over *its own* tokens, a process with short answers gives
# its words more weight. Here every loss is divided by what the **whole** batch holds, so that shares add up:

# %%
index = Shuffled(pairs, config.batch_size, config.seed)[0]
short_first = index[np.argsort(pairs.target_length[index], kind="stable")]
index = np.stack(
    np.array_split(short_first, 2), axis=1
).ravel()  # the hardest case: short, long, ...
model.eval()  # no dropout: two halves of a batch would draw other units than the whole


def gradient(batches):
    """Summed loss of the batches, and the gradient at one weight of the context encoder."""
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
# The contrastive loss is no sum over dialogues: each dialogue's negatives are *all* others of the batch. There the processes exchange
# their views first (`parallel.gather_rows`), and gradients find their way back through the exchange.
#
# ## 7 · The recipe for a full run
#
# In a terminal, on one machine with or without a GPU:
#
# ```
# ctsm data fetch                                    # once; asks you to read the terms of the data
# ctsm train --preset improved --out runs/improved   # or --preset paper
# ctsm train --out runs/improved --resume            # after Ctrl-C
# ctsm evaluate runs/improved --json scores.json
# ```
#
# With several GPUs of one machine (accelerate finds them; every process must see prepared data):
#
# ```
# ctsm data prepare
# torchrun --nproc-per-node 4 -m ctsm_lib train --preset improved --out runs/improved
# ```
#
# On a GPU that knows bfloat16 add `--set precision=bf16`. `batch_size` is that of all processes together, so results do not depend on how
# many there are. To look into your run in the other lessons, set `CTSM_RUN` to its folder. What does a full run cost?

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
            f"  {settings.preset}: {steps:,} x {settings.batch_size} = {examples:,} examples; "
            f"at the {measured:.0f} examples/s of this run {examples / measured / 3600:.1f} hours"
        )

# %% [markdown]
# ## What you have now
#
# - Eq. (25), term by term, and the knowledge that its largest part is the word loss, twice.
# - A schedule, a loop, an early stop: all three in the open, two written by you, each the library's own.
# - Trust in `--resume`, because you compared the bits; and in several GPUs, because shares add up.
#
# **But:** a low loss is not a good answer. Lesson 08 lets the model speak, and asks what the scores of the paper can see.
