# %% [markdown]
# # 11 · Let people judge, and judge the judges
#
# **What you will do.** Make a blind sheet from two systems' answers, judge some of it, compute by hand how far judges agree, find out what a
# careless judge does to a table, and recover from the paper's Table 2 a number that it does not print.
#
# **What you will learn.** Who decides what is empathetic; what Fleiss' kappa counts; why intervals are drawn over items; what a table of wins
# can say and what it cannot.
#
# **What you need.** NumPy; an idea of greedy and nucleus answers (lesson 08). A trained model: a small one is trained if there is none.
# About 45 minutes.
#
# *Paper: Sec. 4.3.2 and 5.2 (Table 2). Library: `judging`.*

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
from ctsm_lib.runs import evaluate, write_jsonl
from ctsm_workbench import judging
from ctsm_workbench.course import checks, lessons
from ctsm_workbench.judging.files import judge_file, write_answers
from ctsm_workbench.judging.scoring import gather, score
from IPython.display import Markdown
from scipy.stats import binomtest
from statsmodels.stats.inter_rater import aggregate_raters
from statsmodels.stats.inter_rater import fleiss_kappa as statsmodels_kappa

lessons.begin("judgement")

# %% [markdown]
# No score of lesson 08 asks whether an answer does somebody good. The paper asks three people. They see a conversation and two answers, one by
# CTSM and one by another system, and say *win*, *tie* or *lose* for each of three aspects:
#
# | aspect | the question, as our sheets put it |
# |---|---|
# | **empathy** | Which answer better understands what the speaker feels, and responds to it? |
# | **relevance** | Which answer fits better with what was said? |
# | **fluency** | Which answer reads better, as grammatical, natural English? |
#
# Comparing is easier than giving marks: one judge's 4 is another one's 3, but both can say which answer they prefer.

# %%
run, prepared = lessons.trained_run(), lessons.portion(lessons.data(), test=100)
print(lessons.describe())
print(f"run: {run.config.preset}, {run.iteration} iterations")

# %% [markdown]
# ## 1 · Three systems
#
# Ours is the trained run, answering greedily. It is compared with the same model under nucleus sampling, and with a system that needs no
# training: it gives one polite answer to everybody.

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
# A judge who knows which answer is ours is of no use, and neither is one who can guess it. `make` draws contexts so that emotions have equal
# shares, mixes the comparisons, puts our answer to the left in exactly half of each, and seals who is who in a **key**. Every now and then
# comes an **attention check**, whose right answer is plain: a human answer beside its own words shuffled, or beside an answer to somebody
# else.

# %%
room = tempfile.TemporaryDirectory(prefix="judging-")  # goes when the kernel goes
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
# This is what a judge sees. Decide before you read on: which one understands better what the speaker feels?

# %%
sheet = judging.read_sheet(sheets)
by_name = {item.name: item for item in sheet.items}


def seen(item):
    """An item as Markdown, as blind as the sheet has it."""
    roles = ("Speaker", "Listener")
    turns = [f"> **{roles[turn % 2]}:** {text}" for turn, text in enumerate(item.turns)]
    return Markdown(
        "\n>\n".join([f"> *{item.name}*", *turns, f"> **A:** {item.a}", f"> **B:** {item.b}"])
    )


seen(sheet.items[0])

# %% [markdown]
# The key knows. We open it here because we are about to play the judges ourselves; in earnest nobody opens it before all have judged.

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
# Judge some rows yourself: click into the screen, then use the keys that it names. Every answer is saved at once. This is a copy of the sheet
# of your own: nothing that you answer enters the numbers below, and it goes when the notebook is closed. (Outside a notebook:
# `ctsm judge serve FOLDER --judge NAME`.)

# %%
yours = folder / "yours"
shutil.copytree(sheets, yours)
judging.widget(yours, "you")

# %% [markdown]
# ## 3 · Judges who are made up
#
# A lesson cannot hire three people. **From here on every judgement is made up for the exercise:** it comes from a simulation, says nothing
# about any system, and is no result of this laboratory. In return we know the truth, which one never does with people, and can look whether
# the table finds it.
#
# The assumptions, all of them:
#
# - An answer of ours leads the other one by a *mean lead* (`LEAD`), plus something of each item that all judges see alike, with standard
#   deviation 1. In attention checks the right answer leads by 4.
# - A judge feels this lead with *noise* of the judge's own, plus a *lean* to the left side; and says *tie* if less than 0.5 is left.
# - A *careless* judge does not look at all in that share of the questions, and guesses.

# %%
MADE_UP = "Made up for the exercise: simulated judges, no person judged anything here."
LEAD = {
    "nucleus": {"empathy": 0.4, "relevance": 0.9, "fluency": 1.2},
    "polite": {"empathy": -0.3, "relevance": 0.6, "fluency": 0.0},
}
JUDGES = {  # noise, lean to the left, share of questions not looked at
    "careful": (0.5, 0.0, 0.0),
    "leaning": (0.5, 0.8, 0.0),
    "careless": (0.5, 0.0, 0.5),
}


def choose(lead_of_a, noise, lean, guessing, random):
    """A, tie or B, by how much the left answer leads."""
    felt = lead_of_a + lean + noise * random.normal()
    if random.random() < guessing:
        felt = random.normal()
    return "tie" if abs(felt) < 0.5 else "A" if felt > 0 else "B"


# %%
random = np.random.default_rng(11)


def lead_of_a(secret, aspect):
    """How far the left answer leads in the simulation."""
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
# First, from sides to systems: 0 is a win of ours, 1 a tie, 2 a loss. Then count for each item how many judges said what.
#
# | | shape | |
# |---|---|---|
# | codes | items x judges | 0, 1 or 2 |
# | counts $n_{ik}$ | items x categories | rows sum to the number of judges $n$ |


# %%
def codes_of(other, aspect):
    """[items, judges] of one row of the table: 0 win, 1 tie, 2 lose."""
    items = [n for n in compared if {secrets[n]["A"], secrets[n]["B"]} == {OURS, other}]
    side = {"tie": lambda n: 1, "A": lambda n: 0, "B": lambda n: 2}  # as if ours were left
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
# How many of the *pairs* of judges agree on item $i$? Of $n(n-1)$ ordered pairs, those in category $k$ are $n_{ik}(n_{ik}-1)$; so
#
# $$ P_i = \frac{\sum_k n_{ik}^2 - n}{n(n-1)}, \qquad \bar P = \frac{1}{N} \sum_i P_i . $$
#
# Some agreement comes by chance. If a share $p_k$ of *all* judgements is $k$, two judgements drawn blindly agree with probability
# $P_e = \sum_k p_k^2$. **Fleiss' kappa** is what was reached of what chance leaves to reach:
#
# $$ \kappa = \frac{\bar P - P_e}{1 - P_e} $$
#
# 1: always agree; 0: no more than chance; below 0: less.

# %% [markdown]
# ### Exercise 11.1 · Fleiss' kappa
#
# **Goal:** kappa from a table of counts [items, categories]. **Difficulty:** ★★ **Minutes:** 10
#
# <details><summary>Hint</summary>
#
# `n = counts.sum(axis=1)[0]`. The shares $p_k$ are of the whole table: sum over items, then divide by the sum of everything. Three lines
# follow, one for each formula.
#
# </details>


# %%
def fleiss_kappa(counts):
    """Fleiss' kappa, a number, from how many judges put each item into each category [N, K]."""
    ### BEGIN SOLUTION
    n = counts.sum(axis=1)[0]
    observed = (((counts**2).sum(axis=1) - n) / (n * (n - 1))).mean()
    chance = ((counts.sum(axis=0) / counts.sum()) ** 2).sum()
    return (observed - chance) / (1 - chance)
    ### END SOLUTION


# %%
checks.fleiss_kappa(fleiss_kappa)

# %% [markdown]
# In the open once more, this time by counting pairs one by one, and beside it the library and statsmodels, which the library uses:

# %%
pairs = [(row[i], row[j]) for row in codes for i in range(3) for j in range(3) if i != j]
observed = sum(one == other for one, other in pairs) / len(pairs)
chance = sum(np.mean(codes == k) ** 2 for k in range(3))
kappa = (observed - chance) / (1 - chance)
found = judging.agreement(codes, draws=1000)
by_statsmodels = statsmodels_kappa(aggregate_raters(codes, n_cat=3)[0])
np.testing.assert_allclose([found["value"], by_statsmodels], kappa)
print(
    f"pairs that agree: {observed:.3f}, by chance {chance:.3f}, kappa {kappa:.3f}, three ways"
)

# %% [markdown]
# Two judges agree in 80 % of all cases and kappa is low. How can that be? Keep the 80 % and change only how common the commoner of two
# categories is:

# %%
common = np.linspace(0.5, 0.9, 81)  # the split 20 % give either category at least 10 %
by_chance = common**2 + (1 - common) ** 2
curve = (0.8 - by_chance) / (1 - by_chance)
figure = go.Figure(go.Scatter(x=100 * common, y=curve, mode="lines", line={"width": 3}))
figure.update_layout(
    title="Two judges who always agree in 80 % of all cases",
    xaxis_title="share of the commoner category (%)",
    yaxis_title="kappa",
    width=860,
    height=380,
)
lessons.show(
    figure,
    f"Kappa falls from {curve[0]:.2f} to {curve[-1]:.2f}: where nearly all judgements are alike, chance alone agrees that often.",
)

# %% [markdown]
# So a low kappa can mean poor judges, or an aspect in which there was little to tell apart. Report the shares beside it.
#
# ## 5 · How sure is kappa?
#
# Other contexts would have given another kappa. The **bootstrap** asks how different: draw as many *items* as there are, with replacement,
# all judgements of an item together; compute kappa; repeat. The middle 95 % are the interval.

# %%
dice = np.random.default_rng(0)
draws = [codes[dice.integers(len(codes), size=len(codes))] for _ in range(1000)]
low, high = np.percentile(
    [statsmodels_kappa(aggregate_raters(d, n_cat=3)[0]) for d in draws], [2.5, 97.5]
)
np.testing.assert_allclose([low, high], [found["low"], found["high"]])
print(f"kappa {kappa:.2f}, 95 % interval {low:.2f} to {high:.2f}: the library's, draw for draw")

# %% [markdown]
# "Moderate" is a name for 0.41 to 0.60, "substantial" for 0.61 to 0.80. Which of these names does the interval allow? Here is how it narrows
# with more items (new made-up items with the same three judges):


# %%
def more_items(count, random):
    """[count, 3] codes for relevance against nucleus, of new items; ours is left in every second."""
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
    title="Kappa with its 95 % interval (made-up judges)", width=860, height=380
)
figure.update_layout(xaxis_title="items judged", yaxis_title="kappa", xaxis_type="category")
width = [result["high"] - result["low"] for result in many]
lessons.show(
    figure,
    f"{SIZES[0]} items: an interval {width[0]:.2f} wide; {SIZES[-1]} items: {width[-1]:.2f}. It narrows slowly.",
)

# %% [markdown]
# ## 6 · Who wins?
#
# Three judgements of one item are not three independent votes on a system: the item itself may be easy. So each item gets one **verdict**,
# what *more than half* of its judges say; otherwise none.

# %% [markdown]
# ### Exercise 11.2 · The majority's verdict
#
# **Goal:** the verdict on each item: 0 win, 1 tie, 2 lose, or 3 where no category has more than half of the judges.
# **Difficulty:** ★ **Minutes:** 5
#
# <details><summary>Hint</summary>
#
# Count as in section 4. The category with the most judges is `counts.argmax(axis=1)`; whether it has *more than half* is another question,
# and `np.where` brings both together.
#
# </details>


# %%
def majority(codes):
    """Verdicts [N] in 0 .. 3 from the codes [N, J] of any number J of judges."""
    ### BEGIN SOLUTION
    counts = np.stack([(codes == k).sum(axis=1) for k in range(3)], axis=1)
    return np.where(2 * counts.max(axis=1) > codes.shape[1], counts.argmax(axis=1), 3)
    ### END SOLUTION


# %%
checks.majority(majority)

# %% [markdown]
# Are $w$ wins and $l$ losses more than a fair coin does? The **binomial test** adds up what is at least as lopsided:
#
# $$ p = 2 \sum_{k \ge \max(w, l)} \binom{w+l}{k} \, 2^{-(w+l)}, \quad \text{at most } 1. $$


# %%
@cache
def coin(wins, losses):
    """Two-sided p of wins against losses."""
    n = wins + losses
    return min(1.0, 2 * sum(math.comb(n, k) for k in range(max(wins, losses), n + 1)) / 2**n)


result = score(gather([sheets]), draws=500)  # the library's whole table, read from the files
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
# Why not test all judgements at once, three times as many? Let two systems be *equal*, and let many judgings happen. A test at 5 % should
# raise a false alarm in at most 5 % of them:

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
# Ours is left in half of the rows. So a judge's share of *left* says something about the judge only, whoever is better:

# %%
for judge, about in result["judges"].items():
    sides, test = about["sides"], about["side_test"]
    print(
        f"{judge:9} left {sides['A']:3}, tie {sides['tie']:3}, right {sides['B']:3}; p of a side "
        f"{test['p']:.2g}; attention checks passed: {about['passed']} of {about['checks']}"
    )

noise, lean, guessing = JUDGES["careless"]
dice = np.random.default_rng(8)
passes = np.mean([choose(4.0, noise, lean, guessing, dice) == "A" for _ in range(4000)])
passes_all = passes ** len(tests)
print(
    f"looking at half of the questions passes all {len(tests)} checks with p = {passes_all:.2f}"
)

# %% [markdown]
# The lean is plain to see. Carelessness is not: its sides are balanced, and a few checks are passed now and then by somebody who looks at half
# of the rows. A long sheet with more checks finds such a judge out; a short one may not.
#
# What if we had put ours to the left always? We let the leaning judge compare two *equal* systems, many times:

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
# Balance does not make a leaning judge good: much of what this judge says is still about the side. It makes the lean cost precision instead of
# truth. Excluding a judge is another matter: decide on the rule *before* anybody sees the table, or the table decides.
#
# ## 8 · Table 2, in the paper's form

# %%
Markdown(judging.markdown(result, MADE_UP))

# %%
lessons.show(
    judging.figure(result, MADE_UP),
    "Made-up judgements. Where blue is longer than orange, ours wins more often; kappa stands at the right of each bar.",
)

# %% [markdown]
# This time we know the truth. Which leads did the table find at 5 %, corrected for testing six times (Holm)?

# %%
for row in result["table"]:
    lead = LEAD[row["comparison"].split()[-1]][row["aspect"]]
    test, p = row["test"], row["p_holm"]
    better = "ours" if test["wins"] > test["losses"] else "other"
    said = better if p is not None and p < 0.05 else "nothing"
    print(
        f"{row['comparison']:18} {row['aspect']:9} true lead {lead:+.1f}; the table says: {said}"
    )

# %% [markdown]
# "Nothing" is not "equal". A lead that exists can be missed with so few items; one that is zero should seldom be found.
#
# ## 9 · The paper's Table 2
#
# These are the printed numbers, of people: shares of win and lose of CTSM in percent, and kappa. What is left to 100 are ties.

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
# How many contexts were judged is not printed. But a share is a count divided by a total: with 100 judgements, 48.6 % cannot occur. Which
# totals can give *all eighteen* shares, each rounded to one decimal?

# %%
shares = [share for _, _, win, lose, _ in rows for share in (win, lose)]


def possible(share, total):
    """Whether some count out of `total` is this percentage, rounded to one decimal."""
    count = round(share * total / 100)
    return abs(100 * count / total - share) <= 0.05 + 1e-9


totals = [t for t in range(1, 1001) if all(possible(share, t) for share in shares)]
smallest = totals[0]
by_accident = sum((t / 1000) ** len(shares) for t in range(1, smallest + 1))
print(f"totals up to 1,000 that fit: {totals[:6]}, ...")
print(
    f"smallest: {smallest} = 3 x {smallest / 3:g}; p of one so small by accident: {by_accident:.1g}"
)
print(
    f"100 contexts x 3 judges: {sum(possible(s, 300) for s in shares)} of {len(shares)} shares fit"
)

# %% [markdown]
# Any total of 1,000 or more fits anything, and if a total below 500 fits, so does 1,000 less it. But the smallest one is striking: it divides
# by the three annotators. So probably each comparison had that many contexts, every one judged by all three, and the
# table counts judgements. This is our inference from the digits; the paper does not say it.
#
# Two more numbers follow, on assumptions that we name. *Pairs that agree*: kappa turned around, $\bar P = P_e + \kappa (1 - P_e)$, if the
# shares are of all judgements. *p*: the binomial test, if each context had one verdict and the verdicts had the printed shares; the real
# verdicts by majority are not printed.

# %%
contexts = smallest // 3
lines = [
    "| CTSM vs. | aspect | win % | tie % | lose % | kappa | pairs that agree % | p, if one verdict a context |",
    "|---|---|---|---|---|---|---|---|",
]
for name, aspect, win, lose, printed in rows:
    tie = 100 - win - lose
    chance = sum((share / 100) ** 2 for share in (win, tie, lose))
    agree = 100 * (chance + printed * (1 - chance))
    p = coin(round(contexts * win / 100), round(contexts * lose / 100))
    lines.append(
        f"| {name} | {aspect} | {win} | {tie:.1f} | {lose} | {printed:.2f} | {agree:.0f} | {p:.2g} |"
    )
Markdown("\n".join(lines))

# %% [markdown]
# **What these numbers can say.** CTSM's answers were preferred to those of three systems in all nine rows, by margins that a coin
# seldom makes, if our assumption on the verdicts is about right. Fluency is closest, has the most ties and the lowest kappas. Judges disagree about a good part of the pairs even where kappa is
# called substantial: that is how people are.
#
# **What they cannot say.**
#
# - *How sure kappa is.* No interval is printed, and section 5 shows how wide one can be.
# - *Whether judges were blind and sides balanced.* The paper says A/B testing and three professional annotators, no more; nor how contexts
#   were drawn, nor whether attention was checked.
# - *Whether CTSM is empathetic.* It was preferred to other models, never compared with a person. One can win against poor answers.
# - *Whether anybody was helped.* Annotators read about a feeling; they do not have it. The one who could decide what is empathetic, the
#   speaker, was not asked.
#
# > **Departure.** Our Table 2 adds what is missing: ties, verdicts by majority, a test with correction, an interval for kappa, each judge's
# > sides and attention checks. No judgement by people comes with this laboratory: the ones above are made up, and Table 2 of our own model
# > waits for people. That is you.
#
# With files of answers and a few friends (pseudonyms, please), it takes three commands:
#
# ```text
# ctsm judge make ours=A.jsonl theirs=B.jsonl --out judging/first --items 20
# ctsm judge serve judging/first --judge NAME
# ctsm judge score judging/first --out judging/first/table
# ```

# %% [markdown]
# ## What you have now
#
# - A blind sheet with balanced sides, a sealed key and attention checks; and a reason for each of them.
# - Fleiss' kappa from counted pairs, its interval over items, and why 80 % of agreement may be worth nothing.
# - A verdict for each item, a test that does not count one item three times, and a number that Table 2 hides in its digits.
#
# **But:** judges tell which answer they *prefer*. Why they do is not in any table: read the items on which they disagree.
