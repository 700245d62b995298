# %% [markdown]
# # 10 · Test how often trait and state differ
#
# **What you will do.** You repeat the analysis of Section 5.4 and redraw Figure 3. Then you
# examine the paper's number, 48.75 %, until you know what it depends on.
#
# **What you will learn.** How to compute a polarity from word vectors; why a percentage means
# little until you know which words were counted and which percentage we would get by chance;
# leave-one-out, permutation, bootstrap; what an external standard adds; what changes when we
# look at a word in its contexts.
#
# **What you need.** Lesson 02 (valence), and lesson 04 for the last part. The last part trains
# a small model if there is none. About 60 minutes.
#
# *Paper: Sec. 5.4 and Figure 3. Library: `polarity`, `vectors`; `study`,
# `pictures` in `ctsm_workbench`.*

# %%
import dataclasses
from textwrap import fill

import numpy as np
import plotly.graph_objects as go
from ctsm_lib.corpus import SPECIALS
from ctsm_workbench import pictures as figures
from ctsm_workbench.course import checks, lessons
from ctsm_workbench.study.polarity import PAPER_SHARE, analyse_prepared
from ipywidgets import FloatSlider
from scipy.stats import norm

lessons.begin("polarity")

# %% [markdown]
# ## 1 · The claim
#
# The paper gives two polarities to each of 23,712 words. The **trait polarity** is positive if
# the valence of the word is above 0.5. The **state polarity** is positive if the *vector* of
# the word is more similar to the mean vector of the positive words than to that of the negative
# words. For 11,559 words (48.75 %) the two polarities differ. The paper concludes that trait
# and state emotions are different things, and that a model should contain both. Of the 32
# emotion words, only "surprised" differs.
#
# We ask four questions. Can we repeat this result? Which words are counted? Which result would
# we get by chance? And is there a better way to measure the difference?

# %%
prepared = lessons.data()
print(lessons.describe())
first = len(SPECIALS)
words = np.array(prepared.corpus.vocabulary.words[first:])
vad, rated = (array[first:] for array in prepared.lexicon.table(prepared.corpus.vocabulary))
vectors, found = np.array(prepared.vectors.matrix[first:]), prepared.vectors.kind[first:] >= 0
counts = prepared.corpus.counts[first:]
print(f"{len(words):,} words; {rated.mean():.0%} have a rating, {found.mean():.0%} a vector")

# %% [markdown]
# ## 2 · Two polarities
#
# Let $V(w)$ be the valence of a word and $x_w$ its vector. Let $c^+$ and $c^-$ be the mean
# vectors (centroids) of the words with positive and negative trait polarity:
#
# $$ P_t(w) = [\, V(w) > 0.5 \,] \qquad P_s(w) = [\, \cos(x_w, c^+) > \cos(x_w, c^-) \,] $$
#
# | | shape | |
# |---|---|---|
# | $x$ | n x d | vectors of the words that have one |
# | $P_t$, $P_s$ | n | 1 positive, 0 negative |
# | $c^+$, $c^-$ | d | one centroid for each polarity |
#
# There is no context in these formulas. "State" in Section 5.4 means the position of the word's
# only vector. Section 10 of this lesson comes back to this point.

# %% [markdown]
# ### Exercise 10.1 · State polarity
#
# **Goal:** compute $P_s$ for all words at once. **Difficulty:** ★★ **Minutes:** 10
#
# <details><summary>Hint</summary>
#
# `vectors[trait == 1].mean(axis=0)` is the positive centroid. A cosine is the dot product of
# two vectors of length 1. The length of the word's own vector does not change the comparison,
# but the lengths of the two centroids do.
#
# </details>


# %%
def state_polarity(vectors, trait):
    """State polarity [n] from vectors [n, d] and trait polarity [n], both 1 or 0.

    A word has 1 if its vector is closer to the positive centroid.
    """
    ### BEGIN SOLUTION
    centres = np.stack([vectors[trait == side].mean(axis=0) for side in (1, 0)])
    centres = centres / np.linalg.norm(centres, axis=1, keepdims=True)
    positive, negative = (vectors @ centres.T).T
    return (positive > negative).astype(int)
    ### END SOLUTION


# %%
checks.state_polarity(state_polarity)

# %% [markdown]
# The library's function uses the same rule. We write the rule out once more and compare the
# results word by word. If both cosines are equal up to rounding, the library calls the word
# negative.

# %%
from ctsm_lib.polarity import centroids, state_polarity, trait_polarity

x, words, counts = vectors[found].astype(np.float64), words[found], counts[found]
valence, r = vad[found, 0].astype(np.float64), rated[found]  # r: is rated
t = trait_polarity(valence)  # unrated words have the neutral valence, 0.5


def unit(a):
    """The rows of `a`, scaled to length 1."""
    return a / np.linalg.norm(a, axis=-1, keepdims=True)


c = np.stack([x[t == side].mean(axis=0) for side in (1, 0)])
np.testing.assert_allclose(c, centroids(x, t), rtol=1e-6)
margin = unit(x) @ (unit(c[0]) - unit(c[1]))  # cosine to c+ minus cosine to c-
state = state_polarity(x, t)
np.testing.assert_array_equal(margin > 1e-6, state == 1)
print(f"Ours equals the library's for {len(t):,} words.")
print(
    f"Trait and state polarity differ for {(t != state).mean():.2%}; the paper: {PAPER_SHARE} %"
)

# %% [markdown]
# The line with `margin` shows something that the formula hides. The rule uses only a
# **single direction** of the d-dimensional space: the line from one centroid to the other. The
# state polarity of a word only tells on which side of a plane its vector lies.
#
# ## 3 · Which words are counted?
#
# The neutral valence of an unrated word is 0.5, and 0.5 is not *above* 0.5. So the rule calls
# every unrated word **negative**: "the", "of", names, typing errors. These words are counted,
# and their vectors are also part of $c^-$.

# %%
only = state_polarity(x[r], t[r])  # centroids, too, from rated words only
shares = {
    "all words<br>(the paper's rule)": (t != state).mean(),
    "of these,<br>rated words": (t != state)[r].mean(),
    "of these,<br>unrated words": (t != state)[~r].mean(),
    "rated words,<br>rated centroids": (t[r] != only).mean(),
}
print(f"unrated: {(~r).mean():.1%} of the words counted, {(~r)[t == 0].mean():.1%} of c-")
c_rated = centroids(x[r], t[r])
for name, (plus, minus) in (("all words", c), ("rated words", c_rated)):
    print(f"cosine of the two centroids, {name}: {unit(plus) @ unit(minus):.3f}")
lessons.show(
    lessons.bars(
        {"differ": [100 * share for share in shares.values()]},
        list(shares),
        "Words whose trait and state polarity differ",
        "%",
    ),
    "The first bar is the weighted mean of the second and the third. Only the last bar does "
    "not use unrated words at all.",
)

# %% [markdown]
# > **Departure.** The paper reports one number for the whole vocabulary. In the vocabulary of
# > the paper's own data, about 60 % of the words are not in the lexicon. An unrated word has no
# > rating, so its vector can neither agree nor disagree with one. By the rule, the two
# > polarities of such a word differ whenever its vector happens to lie on the positive side. We
# > keep the paper's rule as the first row of every table, and show the rated words beside it.
#
# **Words without a vector** are the other gap. The rule needs a cosine, and a zero vector has
# none. We leave these words out. If we count them, the result can lie anywhere between two
# bounds: all of them agree, or all of them differ.

# %%
analysis = analyse_prepared(prepared)  # all choices at once; see section 7
print(f"{analysis['with_vector']:,} of {analysis['words']:,} words have a vector")
for row in analysis["choices"]:
    if row["missing"] != "left out" and row["vectors"] != "exact":
        print(f"{row['label']:40} {row['share']:5.1f} % of {row['words']:,}")

# %% [markdown]
# The row "random" shows what happens if a program draws a random vector for each missing word,
# as models do before training. Half of these words then differ, whatever the data says. If
# there are rows called "published", they use only those vectors that somebody has trained on a
# large corpus.
#
# ## 4 · A word is part of its own centroid
#
# The centroid of the positive words contains the very word that we compare with it. In a large
# group one word hardly matters. In a small group it does.

# %% [markdown]
# ### Exercise 10.2 · Leave one out
#
# **Goal:** compute the cosine of each word with the centroid of a group. If the word is a
# member of the group, leave its own vector out of the centroid.
# **Difficulty:** ★★ **Minutes:** 15
#
# <details><summary>Hint</summary>
#
# A mean and a sum have the same direction, so you can use the sum. `vectors * member[:, None]`
# gives what you must subtract from the sum for each word: its own vector if the word is a
# member, and zero if it is not.
#
# </details>


# %%
def leave_one_out_cosine(vectors, member):
    """Cosine [n] of vectors [n, d] with the sum of all other members; member [n] is bool."""
    ### BEGIN SOLUTION
    rest = vectors[member].sum(axis=0) - vectors * member[:, None]
    lengths = np.linalg.norm(rest, axis=1) * np.linalg.norm(vectors, axis=1)
    return (vectors * rest).sum(axis=1) / lengths
    ### END SOLUTION


# %%
checks.leave_one_out_cosine(leave_one_out_cosine)

# %% [markdown]
# How much does this matter? We create vectors and trait labels that have
# **nothing to do with each other**. The right answer is then 50 %. We count as before. The
# comparison adds up the dot products of a word with all $n$ words. These dot products are
# random numbers with standard deviation $\sqrt d$. The only exception is the word's dot product
# with itself, which is $\lvert x \rvert^2 \approx d$. So the share that differs becomes about
# $\Phi(-\sqrt{d / n})$, where $\Phi$ is the cumulative distribution function of the normal
# distribution.

# %%
random, d = np.random.default_rng(0), x.shape[1]
sizes = [50, 100, 200, 400, 800, 1600, 3200]
curves = {"with the word itself": [], "leave-one-out": []}
for n in sizes:
    noise, coin = random.normal(size=(n, d)), np.arange(n) % 2
    for name, out in zip(curves, (False, True), strict=True):
        side = state_polarity(noise, coin, leave_one_out=out)
        curves[name].append(100 * (side != coin).mean())
figure = go.Figure()
for (name, share), color in zip(curves.items(), (figures.ORANGE, figures.BLUE), strict=True):
    figure.add_scatter(x=sizes, y=share, name=name, mode="lines+markers", line_color=color)
theory = 100 * norm.cdf(-np.sqrt(d / np.array(sizes)))
figure.add_scatter(x=sizes, y=theory, name="theory", line={"color": figures.INK, "dash": "dot"})
figure.update_xaxes(type="log", title="words", tickvals=sizes)
figure.update_yaxes(range=[0, 65], title="words that differ (%)")
figure.update_layout(title=f"Pure noise in {d} dimensions", width=860, height=380)
lessons.show(
    figure,
    "With few words, even noise seems to agree with noise, because each word pulls the "
    "centroid of its group towards itself. With leave-one-out, the share stays near 50 %.",
)

# %%
for name, some in (("all words", np.ones_like(r)), ("rated words", r)):
    labels = t[some]
    with_it, without = (
        100 * (state_polarity(x[some], labels, leave_one_out=out) != labels).mean()
        for out in (False, True)
    )
    print(f"{name:12} {with_it:.1f} % differ; {without:.1f} % with leave-one-out")
    print(f"{'':12} noise of this size: {100 * norm.cdf(-np.sqrt(d / some.sum())):.1f} %")

# %% [markdown]
# Compare each of the two percentages with its own chance level. For the first one, this is the
# value for noise in the line below it; for leave-one-out, it is 50 %. The library leaves the
# word out without a second pass over the vectors, by the same algebra as your solution.
#
# ## 5 · What would we get by chance?
#
# Real vectors are not Gaussian noise: they share common directions, and the two groups have
# different sizes. So we use the real vectors to find out which share we would get by chance. We
# shuffle the trait labels, so that the number of positive labels stays the same. Then we repeat
# the whole procedure, with new centroids.

# %% [markdown]
# ### Exercise 10.3 · The share expected by chance
#
# **Goal:** compute the share of words that differ, in per cent, for each of `draws` shuffles of
# the labels. **Difficulty:** ★★ **Minutes:** 10
#
# <details><summary>Hint</summary>
#
# Create one generator, `np.random.default_rng(seed)`, before the loop, and call
# `random.permutation(trait)` inside it. Use the shuffled labels for the centroids and also for
# the comparison.
#
# </details>


# %%
def shuffled_shares(vectors, trait, side_of, draws, seed):
    """Per cent of words [draws] for which side_of(vectors, labels) differs from labels.

    The labels of each draw are a new permutation of trait [n].
    """
    ### BEGIN SOLUTION
    random, shares = np.random.default_rng(seed), []
    for _ in range(draws):
        labels = random.permutation(trait)
        shares.append(100 * (side_of(vectors, labels) != labels).mean())
    return np.array(shares)
    ### END SOLUTION


# %%
checks.shuffled_shares(shuffled_shares)

# %%
from ctsm_workbench.study.polarity import shuffled_shares

chance = shuffled_shares(x[r], t[r], np.ones(r.sum(), bool), draws=200, seed=0)
observed = 100 * (t[r] != only).mean()
low, high = np.quantile(chance, (0.025, 0.975))
print(
    f"rated words: {observed:.1f} % differ; chance {chance.mean():.1f} % ({low:.1f}-{high:.1f})"
)
figure = go.Figure(go.Histogram(x=chance, nbinsx=25, marker_color=figures.INK, name="chance"))
figure.add_vline(x=observed, line={"color": figures.BLUE, "width": 3})
figure.add_annotation(
    x=observed, y=1, yref="paper", text="observed", yanchor="bottom", showarrow=False
)
figure.update_xaxes(
    title="rated words that differ (%)", range=[min(observed, low) - 4, high + 4]
)
figure.update_layout(title="Shares by chance", yaxis_title="shuffles", width=860, height=340)
lessons.show(
    figure,
    "In each shuffle, the vectors contain no information on the labels. Still, chance is "
    "not at 50 %, because each word is part of its own centroid here, too.",
)

# %% [markdown]
# We should always compare the share with chance. If the share is close to chance, the vectors
# and the lexicon have little in common. If it is far *below* chance, they agree for many words.
# The paper reports 48.75 % without a chance level. A coin would make half of the words differ.
# So a high share may be evidence for two kinds of emotion, or it may only show that the vectors
# contain no information on valence. The number alone cannot tell us which.
#
# **How certain is the share?** Another sample of words would have given another value. The
# bootstrap draws the words again, with replacement:

# %%
random, differs = np.random.default_rng(0), t[r] != only
again = [100 * differs[random.integers(r.sum(), size=r.sum())].mean() for _ in range(500)]
row = analysis["choices"][1]
print(
    f"bootstrap by hand: {np.quantile(again, 0.025):.1f} to {np.quantile(again, 0.975):.1f} %"
)
print(f"the library's:     {row['low']:.1f} to {row['high']:.1f} % ({row['label']})")

# %% [markdown]
# This interval covers only the *random choice of words*. It does not cover our decisions: which
# words are counted, which words form the centroids, and above which valence a word is positive.
# Compare its width with the differences between the bars of section 3.
#
# ## 6 · Above which valence is a word positive?
#
# A rating of 0.51 is hardly positive, but the rule treats it like 0.98. We can move the
# threshold, or leave out a **neutral band** around it.


# %%
def rule(threshold, band):
    """Rated words outside the band: indices, margins, and whether their polarities differ."""
    some = np.flatnonzero(r & ((band == 0) | (np.abs(valence - threshold) > band + 1e-6)))
    trait = trait_polarity(valence[some], threshold)
    plus, minus = (unit(part) for part in centroids(x[some], trait))
    gap = unit(x[some]) @ (plus - minus)
    return some, gap, (gap > 1e-6) != (trait == 1)


# %%
def sides(threshold: float = 0.5, band: float = 0.0):
    """A figure of up to 800 rated words outside the band, by valence and margin."""
    some, gap, differ = rule(threshold, band)
    pick = np.random.default_rng(0).permutation(len(some))[:800]
    figure = go.Figure()
    for name, color, part in (
        ("agree", figures.INK, ~differ),
        ("differ", figures.BLUE, differ),
    ):
        here = pick[part[pick]]
        place = {
            "x": valence[some][here].round(2),
            "y": gap[here].round(3),
            "text": words[some][here],
        }
        figure.add_scatter(
            **place, name=name, mode="markers", marker={"color": color, "size": 5}
        )
    figure.add_vline(x=threshold, line_dash="dash").add_hline(y=0, line_dash="dash")
    title = f"{differ.mean():.1%} of {len(some):,} rated words differ"
    figure.update_layout(
        title=title, xaxis_title="valence (trait)", yaxis_title="margin (state)"
    )
    return figure.update_layout(width=860, height=460)


# %%
lessons.show(
    sides(),
    "A word to the right of the vertical line has a positive rating. A word above the "
    "horizontal line has a positive state polarity. Blue words lie in the two quadrants where "
    "the polarities differ. Point at a dot to see its word.",
)

# %%
from ctsm_workbench.study.polarity import BANDS, THRESHOLDS

print("threshold", *(f"band {band:<5}" for band in BANDS))
for threshold in THRESHOLDS:
    part = [row for row in analysis["sweep"] if row["threshold"] == threshold]
    cells = [
        "-" if row["share"] is None else f"{row['share']:.1f} %"
        for row in part
        if row["unrated"] == "left out"
    ]
    print(f"{threshold:<9}", *(f"{cell:10}" for cell in cells))

# %% [markdown]
# Read the table row by row. What happens to the share when we leave out words of unclear
# valence? Try both controls. Look at the words that are still blue with a wide band. These are
# the interesting ones: the lexicon gives a clear rating, and the vector disagrees with it.

# %%
lessons.play(
    sides,
    threshold=FloatSlider(0.5, min=0.35, max=0.65, step=0.05, continuous_update=False),
    band=FloatSlider(0.0, min=0.0, max=0.25, step=0.05, continuous_update=False),
)

# %% [markdown]
# **By word or by occurrence?** The rule counts every word once, both "the" and a word that
# occurs only once. We can also weight each word by its frequency. A few common words then
# decide the result:

# %%
for name, some, differ in (
    ("all words", np.ones_like(r), t != state),
    ("rated words", r, differs),
):
    n = counts[some]
    share, order = 100 * np.average(differ, weights=n), np.argsort(-n * differ)[:8]
    print(f"{name}: {100 * differ.mean():.1f} % of words, {share:.1f} % of occurrences differ")
    print("   most frequent that differ:", ", ".join(words[some][order]))

# %% [markdown]
# `ctsm figures discrepant` lists words whose two polarities differ, each with a quotation.
#
# ## 7 · All choices in one picture
#
# The next figure shows the same share for every choice that the paper leaves open. Above it is
# the conclusion, generated from the numbers:

# %%
print(fill(analysis["conclusion"], 96))
lessons.show(
    figures.sensitivity(analysis).update_layout(width=880),
    "Each mark shows the share under one choice. The dashed line is the paper's number. "
    "The crosses show chance.",
)

# %% [markdown]
# Which of the marks are close to 48.75 %, and which words do they count? The paper's number
# depends on these choices.
#
# ## 8 · Figure 3
#
# The figure shows the 32 emotion words in the space of valence, arousal and dominance. If the
# two polarities of a word agree, its two marks overlap. If they differ, both marks are blue,
# and the mark of the state polarity is shifted to the side.

# %%
print(fill(analysis["labels_note"], 96))
lessons.show(
    figures.fig3(analysis).update_layout(width=880),
    "You can rotate the figure. Every blue pair is an emotion word whose trait and state "
    "polarity differ by the paper's rule.",
)

# %% [markdown]
# Our list differs from the list in the paper. It depends on the vectors, and the first lines of
# output of this notebook say where ours come from. Compare the two lists above: what changes
# when unrated words are not part of the centroids? No single word, not even "surprised", can
# support an argument if its polarity changes with the choice of the centroids. Look up any
# word:


# %%
def look_up(word: str = "surprised"):
    """Print the two polarities of a word, and the words with the nearest vectors."""
    if not len(place := np.flatnonzero(words == word.strip().lower())):
        return print(f"{word!r} has no vector here, or is not in the vocabulary.")
    i = int(place[0])
    rating = f"valence {valence[i]:.2f}" if r[i] else "not rated, so negative by the rule"
    print(f"{words[i]}: trait {'+' if t[i] else '-'} ({rating})")
    for name, (plus, minus) in (("all words", c), ("rated words", c_rated)):
        gap = unit(x[i]) @ (unit(plus) - unit(minus))
        print(f"   state {'+' if gap > 1e-6 else '-'} (margin {gap:+.3f}; centroids of {name})")
    near = np.argsort(-(unit(x) @ unit(x[i])))[1:9]
    print("   nearest:", ", ".join(words[near]))


look_up()

# %%
lessons.play(look_up, word=lessons.text("lonely"))

# %% [markdown]
# The **word explorer** of lesson 02 shows both polarities, and quotes dialogues in which the
# word occurs.

# %%
from ctsm_workbench import explorers as widgets

widgets.word_explorer("surprised")

# %% [markdown]
# The nearest words show what a vector has learned: which words are used in similar contexts.
# Opposites are often used in similar contexts, too. This is one reason why the similarity of
# vectors is a weak guide to valence. `ctsm figures map` draws a map of the vocabulary with
# UMAP. Read this map with care. Neighbours on it have similar vectors, but the distance between
# two groups, their size and the direction of the axes have no meaning, and another seed gives
# another map.
#
# ## 9 · Which of the two agrees better with other standards?
#
# If two of our own measures disagree, we cannot tell from them alone which one to trust. An
# external standard can help. **Dialogue labels:** we take the mean of a measure over the rated
# words of a dialogue. Does it predict whether the label of the dialogue is a positive emotion?
# **VADER:** this is a second lexicon, rated by other people. AUC is the probability that a
# positive item gets a higher value than a negative one; 0.5 is chance.

# %%
from ctsm_workbench.study.polarity import standards

scores, is_rated, has = standards.word_scores(prepared)
both = is_rated & has
chosen = {name: score[both] for name, score in scores.items()}
in_dialogue, labels = standards.dialogue_words(prepared.corpus)
label_side = standards.label_sides(prepared.lexicon)[labels]
result = {
    "dialogue labels": standards.against_labels(in_dialogue[:, both], label_side, chosen, 50)
}
heights = {"dialogue labels": result["dialogue labels"]["by_dialogue"]}
if (vader := standards.read_vader()) is not None:
    human = np.array([vader.get(w, 0.0) for w in prepared.corpus.vocabulary.words[first:]])
    known = both & (human != 0)
    heights["VADER"] = standards.against_lexicon(scores, known, human > 0, 50)
for name, rows in heights.items():
    for score in scores:
        v = rows[score]
        print(f"{name:16} {score:24} AUC {v['value']:.3f} ({v['low']:.3f} to {v['high']:.3f})")

# %%
lessons.show(
    lessons.bars(
        {score: [rows[score]["value"] for rows in heights.values()] for score in scores},
        list(heights),
        "Which measure predicts the polarity better?",
        "AUC",
    ).add_hline(y=0.5, line_dash="dash"),
    "The dashed line is chance. The closer the state bars are to the trait bar, the more "
    "information on valence the vectors contain.",
)

# %% [markdown]
# VADER asked people the same question as our lexicon did. So a high bar for trait polarity in
# this comparison only shows that people agree about words (the ratings of the sample are our
# own). The dialogue labels give the fairer comparison of trait and state polarity.
# `ctsm polarity` prints all standards, with differences and intervals.
#
# ## 10 · State emotions from contexts
#
# So far each word had one vector. But a state emotion is supposed to depend on the context. For
# each *occurrence* of a word, a trained model gives two results, which you know from lesson 04:
# the state inclination $V_{cos}$ (Eq. 7) and the state representation $H_s$ (Eq. 9). We run the
# model on some dialogues. Our first question is: **why does the $V_{cos}$ of a word vary?** We
# take two occurrences of a word in *different* dialogues, in turns of the same role (speaker or
# listener) and at the same position. We compare their distance with the distance of any two
# occurrences of this word.

# %%
from ctsm_workbench.study.contexts import analyse_contexts, collect_states, explained, plan

run = lessons.trained_run()


def beginning(split, dialogues):
    """The first `dialogues` dialogues of a split."""
    dialogues = min(dialogues, len(split.labels))
    turns = split.dialogue_offsets[dialogues]
    return dataclasses.replace(
        split,
        tokens=split.tokens[: split.turn_offsets[turns]],
        turn_offsets=split.turn_offsets[: turns + 1],
        dialogue_offsets=split.dialogue_offsets[: dialogues + 1],
        labels=split.labels[:dialogues],
    )


sizes = {"train": 240, "valid": 60, "test": 60}
parts = {name: beginning(prepared.corpus.splits[name], n) for name, n in sizes.items()}
some = dataclasses.replace(prepared, corpus=dataclasses.replace(prepared.corpus, splits=parts))

# %%
laid = plan(some.corpus, run.config.max_context)
is_rated = some.lexicon.table(some.corpus.vocabulary)[1]
gathered = collect_states(
    run.model, laid, len(some.corpus.vocabulary), is_rated, progress=False
)
source = explained(laid, gathered, draws=50)
print(
    f"{len(laid.tokens):,} occurrences in {len(laid.begin)} dialogues; {source['pairs']} pairs"
)
for space in ("V_cos", "H_s"):
    row = source[space]
    print(
        f"{space:5} variance {row['variance']:.4f}, same speaker and position "
        f"{row['alike']:.4f}: these two explain {row['explained']:.1f} %"
    )

# %% [markdown]
# > **The equation as printed.** $V_{cos}$ is computed from $E_C$: word, speaker and position.
# > It does not depend on any other word, and training cannot change that. So a state emotion
# > that is based on $V_{cos}$ is nearly as static as the vectors of Section 5.4. The influence
# > of other words is in $H_s$. Its line above shows how much of the variance is left when
# > speaker and position are the same.
#
# Our second question is: **does this influence of the context mean anything?** We compare a
# word only with itself. Is it more positive in dialogues with a positive label? A static vector
# has an AUC of 0.5 here by construction. $V_{cos}$ can differ from 0.5 only as far as speaker
# and position are related to the label. As a control we use a model that was never trained: its
# $H_s$ should not be related to the label.

# %%
contexts = analyse_contexts(run, some, draws=50, progress=False)
within = {}
for when in ("trained", "untrained"):
    rows = contexts[when]["within_words"]
    row = next(row for row in rows if row["dialogues_of"] == "held out")
    within[when] = [row[space]["value"] for space in ("V_cos", "H_s")]
    for space in ("V_cos", "H_s"):
        value, lo, hi = (row[space][key] for key in ("value", "low", "high"))
        print(
            f"{when:10} {space:5} AUC {value:.3f} ({lo:.3f} to {hi:.3f}), {row['words']} words"
        )
figure = lessons.bars(
    within, ["V_cos", "H_s"], "The same word in positive and negative dialogues", "AUC"
)
lessons.show(
    figure.add_hline(y=0.5, line_dash="dash").update_yaxes(range=[0.3, 0.9]),
    "At 0.5 (dashed), a word has about the same values in dialogues with positive and with "
    "negative labels. Only held-out dialogues are used. Compare trained with untrained, and "
    "look at the intervals above.",
)

# %%
print(fill(contexts["conclusion"], 96))

# %% [markdown]
# These are only a few dialogues, and the intervals come from drawing words, not dialogues. Do
# not interpret small differences. `ctsm contextual RUN --json F` uses the whole corpus. It also
# lists the words that depend most on context. It compares each of them with words of the same
# frequency, because a rare word varies more by chance.
#
# ## What you have now
#
# - The paper's analysis in a few lines, with the same result as the library's, and Figure 3.
# - The reasons why one percentage is not enough. It depends on the words that are counted, on
#   the words in the centroids, on the chance level, and on the threshold.
# - A better question that an external standard can answer, and a state representation that does
#   depend on the context: $H_s$.
#
# **Try it.** Take a word that you find ambiguous, such as "sick" or "mad". Look up its two
# polarities here, and then its contexts in lesson 04.
#
# **Next:** in lesson 11 we ask people instead of vectors.
