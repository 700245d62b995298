# %% [markdown]
# # 11 · Let people judge, and judge the judges
#
# **What you will do.** You make a blind sheet from the answers of two systems, and you judge
# some of it. You compute by hand how much the judges agree. You find out how a careless judge
# changes a table. From the paper's Table 2 you recover a number that the paper does not print.
#
# **What you will learn.** Who decides what is empathetic; what Fleiss' kappa counts; why
# intervals are drawn over items; what a table of wins can show and what it cannot.
#
# **What you need.** NumPy; an idea of greedy and nucleus answers (lesson 08). You also need a
# trained model: if there is none, the notebook trains a small one. About 45 minutes.
#
# *Paper: Sec. 4.3.2 and 5.2 (Table 2). Library: `judging` in
# `ctsm_workbench`.*

# %%
import math
import shutil
import tempfile
from collections import Counter
from functools import cache
from pathlib import Path

import numpy as np
import plotly.graph_objects as go
from ctsm_lib.decoding import Decoding
from ctsm_workbench import judging
from ctsm_workbench.course import checks, lessons
from ctsm_workbench.judging.files import judge_file, write_answers
from ctsm_workbench.judging.scoring import gather, score
from ctsm_workbench.study.evaluation import evaluate, write_jsonl
from IPython.display import Markdown
from scipy.stats import binomtest
from statsmodels.stats.inter_rater import aggregate_raters
from statsmodels.stats.inter_rater import fleiss_kappa as statsmodels_kappa

lessons.begin("judgement")

# %% [markdown]
# No score of lesson 08 tells whether an answer is good for the person who receives it. The
# paper asks three people. They see a conversation and two answers, one by CTSM and one by
# another system. For each of three aspects they choose *win*, *tie* or *lose*:
#
# | aspect | the question on our sheets |
# |---|---|
# | **empathy** | Which answer better understands what the speaker feels, and responds to it? |
# | **relevance** | Which answer fits better with what was said? |
# | **fluency** | Which answer reads better, as grammatical, natural English? |
#
# It is easier to compare two answers than to give marks. Where one judge gives a 4, another
# gives a 3, but both can tell which answer they prefer.

# %%
run, prepared = lessons.trained_run(), lessons.portion(lessons.data(), test=100)
print(lessons.describe())
print(f"run: {run.config.preset}, {run.iteration} iterations")

# %% [markdown]
# ## 1 · Three systems
#
# Our system is the trained run with greedy decoding. We compare it with the same model under
# nucleus sampling, and with a system that needs no training: it gives the same polite answer to
# everybody.

# %%
OURS, POLITE = "greedy", "oh , i see . how did that make you feel ?"
_, greedy = evaluate(run, prepared, how=Decoding(max_length=20), progress=False)
_, nucleus = evaluate(
    run, prepared, how=Decoding(method="nucleus", max_length=20), progress=False
)
answers = {
    OURS: greedy,
    "nucleus": nucleus,
    "polite": [row | {"response": POLITE} for row in greedy],
}
for name, rows in answers.items():
    print(f"{name:8} {rows[0]['response']}")

# %% [markdown]
# ## 2 · A blind sheet
#
# Judges must not know which answer is ours, and they must not be able to guess it. `make` draws
# contexts so that all emotions have equal shares. It mixes the comparisons and puts our answer
# on the left in exactly half of each comparison. It stores which answer belongs to which system
# in a separate **key** file. From time to time there is an **attention check** with an obvious
# right answer: a human answer beside the same words in random order, or beside an answer from
# another conversation.

# %%
room = tempfile.TemporaryDirectory(prefix="judging-")  # deleted when the kernel stops
folder = Path(room.name)
for name, rows in answers.items():
    write_jsonl(folder / f"{name}.jsonl", rows)
files = [(name, folder / f"{name}.jsonl") for name in answers]
sheets = folder / "sheets"
ITEMS = 40
report = judging.make(files, sheets, items=ITEMS, seed=11)
print({key: report[key] for key in ("items", "comparisons", "checks", "rows", "same_answer")})
print("files:", sorted(path.name for path in sheets.iterdir()))

# %% [markdown]
# A judge sees the following. Decide before you read on: which answer better understands what
# the speaker feels?

# %%
sheet = judging.read_sheet(sheets)
by_name = {item.name: item for item in sheet.items}


def seen(item):
    """An item of the blind sheet as Markdown."""
    roles = ("Speaker", "Listener")
    turns = [f"> **{roles[turn % 2]}:** {text}" for turn, text in enumerate(item.turns)]
    return Markdown(
        "\n>\n".join([f"> *{item.name}*", *turns, f"> **A:** {item.a}", f"> **B:** {item.b}"])
    )


seen(sheet.items[0])

# %% [markdown]
# The key file tells which answer is ours. We open it here because we will simulate the judges
# ourselves. In a real study nobody opens it before all judges have finished.

# %%
key = judging.read_key(sheets / "key.json", sheet)
secrets = key["items"]
compared = [name for name, secret in secrets.items() if secret["kind"] == "comparison"]
tests = [name for name in secrets if name not in compared]
left = Counter(
    (secrets[n]["B"] if secrets[n]["A"] == OURS else secrets[n]["A"], secrets[n]["A"] == OURS)
    for n in compared
)
for (other, ours_left), count in sorted(left.items()):
    print(f"{OURS} vs. {other}: ours {'left ' if ours_left else 'right'} in {count} rows")
print(
    f"attention check, {secrets[tests[0]]['kind']}; expected: {secrets[tests[0]]['expected']}"
)
seen(by_name[tests[0]])

# %% [markdown]
# Judge some rows yourself: click on the screen, then use the keys that it shows. Every answer
# is saved at once. This is your own copy of the sheet. Your answers do not enter the numbers
# below, and they are deleted when the notebook is closed. (Outside a notebook:
# `ctsm judge serve FOLDER --judge NAME`.)

# %%
yours = folder / "yours"
shutil.copytree(sheets, yours)
judging.widget(yours, "you")

# %% [markdown]
# ## 3 · Simulated judges
#
# A lesson cannot hire three people. **From here on every judgement is made up for the
# exercise.** The judgements come from a simulation. They tell nothing about any system and are
# not a result of this laboratory. The advantage of a simulation is that we know the truth, so
# we can check whether the table finds it. With real judges, we never know the truth.
#
# These are all our assumptions:
#
# - The *lead* of our answer is a number that says how much better it is than the other answer.
#   It is the sum of a mean lead (`LEAD`) and a random value with standard deviation 1. Each
#   item has one random value, which is the same for all judges. In attention checks the right
#   answer has a lead of 4.
# - Each judge sees this lead plus a random error (*noise*) and a *bias* towards the left
#   answer. If the absolute value of the result is below 0.5, the judge chooses *tie*.
# - A *careless* judge does not read a certain share of the questions, and guesses there.

# %%
MADE_UP = "Made up for the exercise: all judges are simulated, no person judged anything."
LEAD = {
    "nucleus": {"empathy": 0.4, "relevance": 0.9, "fluency": 1.2},
    "polite": {"empathy": -0.3, "relevance": 0.6, "fluency": 0.0},
}
JUDGES = {  # noise, bias to the left, share of questions not read
    "careful": (0.5, 0.0, 0.0),
    "leaning": (0.5, 0.8, 0.0),
    "careless": (0.5, 0.0, 0.5),
}


def choose(lead_of_a, noise, lean, guessing, random):
    """The choice (A, tie or B) of a judge, given the lead of the left answer."""
    felt = lead_of_a + lean + noise * random.normal()
    if random.random() < guessing:
        felt = random.normal()
    return "tie" if abs(felt) < 0.5 else "A" if felt > 0 else "B"


# %%
random = np.random.default_rng(11)


def lead_of_a(secret, aspect):
    """The lead of the left answer in the simulation."""
    if secret["kind"] != "comparison":
        return 4.0 if secret["expected"] == "A" else -4.0
    other = secret["B"] if secret["A"] == OURS else secret["A"]
    lead = LEAD[other][aspect] + random.normal()
    return lead if secret["A"] == OURS else -lead


truth = {(n, a): lead_of_a(secrets[n], a) for n in by_name for a in judging.ASPECTS}
judged = {
    judge: {question: choose(lead, *habits, random) for question, lead in truth.items()}
    for judge, habits in JUDGES.items()
}
for judge, choices in judged.items():
    write_answers(judge_file(sheets, judge), sheet, choices)
    print(f"{judge:9}", dict(Counter(choices[n, "empathy"] for n in compared)))

# %% [markdown]
# ## 4 · Do judges agree?
#
# First we convert left and right to systems: 0 is a win of ours, 1 a tie, 2 a loss. Then we
# count for each item how many judges chose each category.
#
# | | shape | |
# |---|---|---|
# | codes | items x judges | 0, 1 or 2 |
# | counts $n_{ik}$ | items x categories | each row sums to the number of judges $n$ |


# %%
def codes_of(other, aspect):
    """Codes [items, judges] of one row of the table: 0 win, 1 tie, 2 lose."""
    items = [n for n in compared if {secrets[n]["A"], secrets[n]["B"]} == {OURS, other}]
    side = {"tie": lambda n: 1, "A": lambda n: 0, "B": lambda n: 2}  # if ours is on the left
    return np.array(
        [
            [
                side[c](n) if secrets[n]["A"] == OURS else 2 - side[c](n)
                for c in (judged[judge][n, aspect] for judge in sorted(judged))
            ]
            for n in items
        ]
    )


codes = codes_of("nucleus", "relevance")
counts = np.stack([(codes == k).sum(axis=1) for k in range(3)], axis=1)
print("codes", codes.shape, " counts", counts.shape, " first rows:", counts[:4].tolist())

# %% [markdown]
# How many of the *pairs* of judges agree on item $i$? There are $n(n-1)$ ordered pairs. Of
# these, $n_{ik}(n_{ik}-1)$ pairs agree on category $k$. So
#
# $$ P_i = \frac{\sum_k n_{ik}^2 - n}{n(n-1)}, \qquad \bar P = \frac{1}{N} \sum_i P_i . $$
#
# Some agreement happens by chance. If a share $p_k$ of *all* judgements is in category $k$, two
# judgements drawn at random agree with probability $P_e = \sum_k p_k^2$. So agreement beyond
# chance can be at most $1 - P_e$. **Fleiss' kappa** is the fraction of this maximum that the
# judges reached:
#
# $$ \kappa = \frac{\bar P - P_e}{1 - P_e} $$
#
# Kappa is 1 if all judges always agree, 0 if they agree as often as by chance, and negative if
# they agree less often than that.

# %% [markdown]
# ### Exercise 11.1 · Fleiss' kappa
#
# **Goal:** compute kappa from a table of counts [items, categories].
# **Difficulty:** ★★ **Minutes:** 10
#
# <details><summary>Hint</summary>
#
# `n = counts.sum(axis=1)[0]`. The shares $p_k$ belong to the whole table: sum over the items,
# then divide by the sum of all counts. The rest is three lines, one for each formula.
#
# </details>


# %%
def fleiss_kappa(counts):
    """Fleiss' kappa from counts [N, K]: how many judges put item i into category k."""
    ### BEGIN SOLUTION
    n = counts.sum(axis=1)[0]
    observed = (((counts**2).sum(axis=1) - n) / (n * (n - 1))).mean()
    chance = ((counts.sum(axis=0) / counts.sum()) ** 2).sum()
    return (observed - chance) / (1 - chance)
    ### END SOLUTION


# %%
checks.fleiss_kappa(fleiss_kappa)

# %% [markdown]
# We compute kappa once more, this time by counting the pairs one by one. We compare the result
# with the library and with statsmodels, which the library uses:

# %%
pairs = [(row[i], row[j]) for row in codes for i in range(3) for j in range(3) if i != j]
observed = sum(one == other for one, other in pairs) / len(pairs)
chance = sum(np.mean(codes == k) ** 2 for k in range(3))
kappa = (observed - chance) / (1 - chance)
found = judging.agreement(codes, draws=1000)
by_statsmodels = statsmodels_kappa(aggregate_raters(codes, n_cat=3)[0])
np.testing.assert_allclose([found["value"], by_statsmodels], kappa)
print(
    f"pairs that agree: {observed:.3f}, by chance {chance:.3f}, kappa {kappa:.3f}, all the same"
)

# %% [markdown]
# Two judges can agree in 80 % of all cases while kappa is low. How is that possible? We keep
# the 80 % fixed and use only two categories. We change only the share of the more common
# category:

# %%
common = np.linspace(0.5, 0.9, 81)  # with 20 % disagreement, the rarer one has at least 10 %
by_chance = common**2 + (1 - common) ** 2
curve = (0.8 - by_chance) / (1 - by_chance)
figure = go.Figure(go.Scatter(x=100 * common, y=curve, mode="lines", line={"width": 3}))
figure.update_layout(
    title="Two judges who agree in 80 % of all cases",
    xaxis_title="share of the more common category (%)",
    yaxis_title="kappa",
    width=860,
    height=380,
)
lessons.show(
    figure,
    f"Kappa falls from {curve[0]:.2f} to {curve[-1]:.2f}. If nearly all judgements are in one "
    "category, chance alone already gives so much agreement.",
)

# %% [markdown]
# So a low kappa can have two reasons: the judges are poor, or nearly all answers fall into one
# category. Always report the shares of the categories beside kappa.
#
# ## 5 · How certain is kappa?
#
# Other contexts would have given another kappa. The **bootstrap** estimates how different it
# could be. Draw as many *items* as there are, with replacement, and keep all judgements of an
# item together. Compute kappa, and repeat. The middle 95 % of the values are the interval.

# %%
dice = np.random.default_rng(0)
draws = [codes[dice.integers(len(codes), size=len(codes))] for _ in range(1000)]
low, high = np.percentile(
    [statsmodels_kappa(aggregate_raters(d, n_cat=3)[0]) for d in draws], [2.5, 97.5]
)
np.testing.assert_allclose([low, high], [found["low"], found["high"]])
print(f"kappa {kappa:.2f}, 95 % interval {low:.2f} to {high:.2f}, equal to the library's")

# %% [markdown]
# A kappa from 0.41 to 0.60 is often called "moderate", and one from 0.61 to 0.80 "substantial".
# Which of these names are compatible with the interval? The next figure shows how the interval
# becomes narrower with more items (new simulated items with the same three judges):


# %%
def more_items(count, random):
    """Codes [count, 3] of new items, for relevance against nucleus; ours alternates sides."""
    rows = []
    for number in range(count):
        lead, sign = LEAD["nucleus"]["relevance"] + random.normal(), 1 - 2 * (number % 2)
        said = [choose(sign * lead, *habits, random) for habits in JUDGES.values()]
        rows.append([1 if c == "tie" else 0 if (c == "A") == (sign > 0) else 2 for c in said])
    return np.array(rows)


# %%
SIZES = (20, 50, 100, 200, 400)
wide = more_items(max(SIZES), np.random.default_rng(3))
many = [judging.agreement(wide[:size], draws=300) for size in SIZES]
middle = [result["value"] for result in many]
figure = go.Figure(
    go.Scatter(
        x=[str(size) for size in SIZES],
        y=middle,
        mode="markers",
        marker={"size": 11},
        error_y={
            "symmetric": False,
            "array": [r["high"] - r["value"] for r in many],
            "arrayminus": [r["value"] - r["low"] for r in many],
        },
    )
)
figure.update_layout(
    title="Kappa with its 95 % interval (simulated judges)", width=860, height=380
)
figure.update_layout(xaxis_title="items judged", yaxis_title="kappa", xaxis_type="category")
width = [result["high"] - result["low"] for result in many]
lessons.show(
    figure,
    f"With {SIZES[0]} items the interval is {width[0]:.2f} wide, with {SIZES[-1]} items "
    f"{width[-1]:.2f}.",
)

# %% [markdown]
# ## 6 · Who wins?
#
# Three judgements of one item are not three independent votes for a system, because all of them
# depend on this item. So each item gets one **verdict**: the category that *more than half* of
# its judges chose. If there is no such category, it gets no verdict.

# %% [markdown]
# ### Exercise 11.2 · The majority's verdict
#
# **Goal:** compute the verdict on each item: 0 win, 1 tie, 2 lose, or 3 if no category was
# chosen by more than half of the judges. **Difficulty:** ★ **Minutes:** 5
#
# <details><summary>Hint</summary>
#
# Count as in section 4. `counts.argmax(axis=1)` gives the category with the most judges. It may
# still have *half or less* of them. `np.where` handles both cases.
#
# </details>


# %%
def majority(codes):
    """Verdicts [N] from 0 to 3, from the codes [N, J] of any number J of judges."""
    ### BEGIN SOLUTION
    counts = np.stack([(codes == k).sum(axis=1) for k in range(3)], axis=1)
    return np.where(2 * counts.max(axis=1) > codes.shape[1], counts.argmax(axis=1), 3)
    ### END SOLUTION


# %%
checks.majority(majority)

# %% [markdown]
# Are $w$ wins and $l$ losses more unequal than we would expect from a fair coin? The
# **binomial test** adds up the probabilities of all results that are at least as unequal:
#
# $$ p = 2 \sum_{k \ge \max(w, l)} \binom{w+l}{k} \, 2^{-(w+l)}, \quad \text{at most } 1. $$


# %%
@cache
def coin(wins, losses):
    """Two-sided p-value of wins against losses."""
    n = wins + losses
    return min(1.0, 2 * sum(math.comb(n, k) for k in range(max(wins, losses), n + 1)) / 2**n)


result = score(gather([sheets]), draws=500)  # the library's table, computed from the files
row = next(
    r for r in result["table"] if "nucleus" in r["comparison"] and r["aspect"] == "relevance"
)
wins, losses = row["test"]["wins"], row["test"]["losses"]
np.testing.assert_allclose(
    [coin(wins, losses)] * 2, [row["test"]["p"], binomtest(wins, wins + losses).pvalue]
)
np.testing.assert_allclose(row["kappa"]["value"], kappa)
print(f"relevance, verdicts: {wins} wins, {losses} losses, p = {coin(wins, losses):.2g}")

# %% [markdown]
# There are three times as many judgements as items. Why not test all judgements together? Let
# two systems be *equal*, and simulate many studies. A test at the 5 % level should give a false
# alarm in at most 5 % of them:

# %%
dice = np.random.default_rng(6)
felt = dice.normal(size=(1000, ITEMS, 1)) + 0.5 * dice.normal(size=(1000, ITEMS, 3))
equal = np.where(np.abs(felt) < 0.5, 1, np.where(felt > 0, 0, 2))  # three careful judges
most = np.where((equal == 0).sum(2) > 1, 0, np.where((equal == 2).sum(2) > 1, 2, 1))
for name, cells in {"all judgements": equal.reshape(1000, -1), "verdicts": most}.items():
    p = [coin(int((c == 0).sum()), int((c == 2).sum())) for c in cells]
    print(f"false alarms, {name:14}: {np.mean(np.array(p) < 0.05):.1%}")

# %% [markdown]
# ## 7 · Judge the judges
#
# Our answer is on the left in half of the rows. So the share of *left* choices depends only on
# the judge, no matter which system is better:

# %%
for judge, about in result["judges"].items():
    sides, test = about["sides"], about["side_test"]
    print(
        f"{judge:9} left {sides['A']:3}, tie {sides['tie']:3}, right {sides['B']:3}; "
        f"p of left against right {test['p']:.2g}; "
        f"attention checks passed: {about['passed']} of {about['checks']}"
    )

noise, lean, guessing = JUDGES["careless"]
dice = np.random.default_rng(8)
passes = np.mean([choose(4.0, noise, lean, guessing, dice) == "A" for _ in range(4000)])
passes_all = passes ** len(tests)
print(
    f"a judge who reads half of the questions passes all {len(tests)} checks "
    f"with probability {passes_all:.2f}"
)

# %% [markdown]
# The judge called "leaning" is biased towards the left answer, and this is easy to see.
# Carelessness is not easy to see: the careless judge chooses left and right equally often, and
# somebody who reads only half of the rows may still pass a few attention checks. A long sheet
# with many checks detects such a judge. A short one may not.
#
# What would happen if our answer were always on the left? We let the biased judge compare two
# *equal* systems many times:

# %%
dice = np.random.default_rng(7)
for name, ours_left in {
    "ours always left": np.ones(2000, bool),
    "balanced": np.arange(2000) % 2 == 0,
}.items():
    said = [
        choose(dice.normal() * (1 if here else -1), *JUDGES["leaning"], dice)
        for here in ours_left
    ]
    wins = sum(c == ("A" if here else "B") for c, here in zip(said, ours_left, strict=True))
    losses = sum(c == ("B" if here else "A") for c, here in zip(said, ours_left, strict=True))
    print(f"{name:16}: win {wins / 20:.1f} %, lose {losses / 20:.1f} %")

# %% [markdown]
# Balancing does not make a biased judge good: a large part of this judge's choices still
# depends on the position. But balancing turns a systematic error into noise. Whether to exclude
# a judge is another question. Fix the rule *before* anybody sees the table. Otherwise the table
# may influence the rule.
#
# ## 8 · Table 2 for the simulated judges

# %%
Markdown(judging.markdown(result, MADE_UP))

# %%
lessons.show(
    judging.figure(result, MADE_UP),
    "Simulated judgements. If blue is longer than orange, our system wins more often. Kappa is "
    "shown at the right of each bar.",
)

# %% [markdown]
# This time we know the truth. Which leads did the table detect at the 5 % level, after Holm's
# correction for six tests?

# %%
for row in result["table"]:
    lead = LEAD[row["comparison"].split()[-1]][row["aspect"]]
    test, p = row["test"], row["p_holm"]
    better = "ours" if test["wins"] > test["losses"] else "other"
    said = better if p is not None and p < 0.05 else "no difference"
    print(
        f"{row['comparison']:18} {row['aspect']:9} true lead {lead:+.1f}; "
        f"the table finds: {said}"
    )

# %% [markdown]
# "No difference" does not mean that the systems are equal. With so few items, a real lead can
# be missed. If the true lead is zero, the test should seldom report a difference.
#
# ## 9 · The paper's Table 2
#
# These numbers are printed in the paper, and they come from people: the shares of win and lose
# for CTSM in per cent, and kappa. The rest up to 100 % are ties.

# %%
PRINTED = {
    "KEMP": {"Emp.": (48.6, 8.1, 0.64), "Rel.": (52.6, 13.3, 0.60), "Flu.": (35.1, 14.1, 0.56)},
    "CEM": {"Emp.": (38.5, 10.9, 0.62), "Rel.": (47.9, 17.0, 0.68), "Flu.": (28.9, 15.8, 0.44)},
    "CASE": {
        "Emp.": (36.8, 14.6, 0.57),
        "Rel.": (49.1, 16.5, 0.53),
        "Flu.": (28.1, 13.8, 0.48),
    },
}
rows = [
    (name, aspect, *cells) for name, part in PRINTED.items() for aspect, cells in part.items()
]

# %% [markdown]
# The paper does not print how many contexts were judged. But a share is a count divided by a
# total. With 100 judgements, for example, 48.6 % is impossible. Which totals can give *all
# eighteen* shares, each rounded to one decimal?

# %%
shares = [share for _, _, win, lose, _ in rows for share in (win, lose)]


def possible(share, total):
    """Whether a count out of `total` gives this percentage, rounded to one decimal."""
    count = round(share * total / 100)
    return abs(100 * count / total - share) <= 0.05 + 1e-9


totals = [t for t in range(1, 1001) if all(possible(share, t) for share in shares)]
smallest = totals[0]
by_accident = sum((t / 1000) ** len(shares) for t in range(1, smallest + 1))
print(f"totals up to 1,000 that fit: {totals[:6]}, ...")
print(f"smallest: {smallest} = 3 x {smallest / 3:g}")
print(f"probability of such a small total by accident: {by_accident:.1g}")
fitting = sum(possible(share, 300) for share in shares)
print(f"100 contexts x 3 judges: {fitting} of {len(shares)} shares fit")

# %% [markdown]
# Any total of 1,000 or more can give any share. And if a total $t$ below 500 fits, then
# $1000 - t$ fits, too. But the smallest total is remarkable: it is divisible by three, the
# number of annotators. So each comparison probably had a third of this number of contexts, each
# context was judged by all three annotators, and the table counts judgements. This is our
# inference from the digits. The paper does not state it.
#
# We can compute two more numbers under assumptions. *Pairs that agree*: we solve the formula of
# kappa for the agreement, $\bar P = P_e + \kappa (1 - P_e)$, and assume that the shares are
# shares of all judgements. *p*: we use the binomial test, and assume that each context has one
# verdict and that the verdicts have the printed shares. The paper does not print the real
# majority verdicts.

# %%
contexts = smallest // 3
lines = [
    "| CTSM vs. | aspect | win % | tie % | lose % | kappa | pairs that agree % "
    "| p, with one verdict for each context |",
    "|---|---|---|---|---|---|---|---|",
]
for name, aspect, win, lose, printed in rows:
    tie = 100 - win - lose
    chance = sum((share / 100) ** 2 for share in (win, tie, lose))
    agree = 100 * (chance + printed * (1 - chance))
    p = coin(round(contexts * win / 100), round(contexts * lose / 100))
    lines.append(
        f"| {name} | {aspect} | {win} | {tie:.1f} | {lose} | {printed:.2f} "
        f"| {agree:.0f} | {p:.2g} |"
    )
Markdown("\n".join(lines))

# %% [markdown]
# **What these numbers can show.** In all nine rows, CTSM's answers were preferred to those of
# the other system. If our assumption about the verdicts is about right, such margins are
# unlikely by chance. In each of the three comparisons, fluency has the smallest margin, the
# most ties and the lowest kappa. Even where kappa is called substantial, judges disagree on a
# good part of the pairs. With human judges this is normal.
#
# **What they cannot show.**
#
# - *How certain kappa is.* No interval is printed, and section 5 shows how wide it can be.
# - *Whether the judges were blind and the positions balanced.* The paper reports A/B testing
#   and three professional annotators. It does not report how contexts were drawn, or whether
#   attention was checked.
# - *Whether CTSM is empathetic.* It was preferred to other models. It was never compared with a
#   person. A system can win against poor answers.
# - *Whether anybody was helped.* Annotators read about a feeling; they do not have it
#   themselves. The speaker, who could decide what is empathetic, was not asked.
#
# > **Departure.** Our Table 2 adds what is missing: ties, majority verdicts, a test with
# > correction, an interval for kappa, and each judge's positions and attention checks. This
# > laboratory contains no judgements by people. The ones above are simulated. Table 2 for our
# > own model still needs people, and you can be one of them.
#
# If you have files of answers and a few friends (please use pseudonyms), you need three
# commands:
#
# ```text
# ctsm judge make ours=A.jsonl theirs=B.jsonl --out judging/first --items 20
# ctsm judge serve judging/first --judge NAME
# ctsm judge score judging/first --out judging/first/table
# ```

# %% [markdown]
# ## What you have now
#
# - A blind sheet with balanced positions, a separate key file and attention checks, and a
#   reason for each of them.
# - Fleiss' kappa from counted pairs, its interval over items, and the reason why 80 % agreement
#   may mean little.
# - A verdict for each item, a test that does not count one item three times, and a number that
#   can be inferred from the digits of Table 2.
#
# **But:** judges tell which answer they *prefer*. No table tells why. To find out, read the
# items on which they disagree.
