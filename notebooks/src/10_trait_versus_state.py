# %% [markdown]
# # 10 · Ask whether words say one thing and do another
#
# **What you will do.** Repeat the analysis of Section 5.4, redraw Figure 3, and take the paper's number, 48.75 %, apart until you know
# what it rests on.
#
# **What you will learn.** How a polarity is read off word vectors; why a share means nothing before you know who was counted and what
# chance gives; leave-one-out, permutation, bootstrap; what an outside standard adds; what changes when a word is read in its contexts.
#
# **What you need.** Lesson 02 (valence); lesson 04 for the last part, which trains a small model if there is none. About 60 minutes.
#
# *Paper: Sec. 5.4 and Figure 3. Library: `polarity`, `contextual`, `figures`, `vectors`.*

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
# The paper gives each of 23,712 words two polarities. **Trait**: positive where its valence is above 0.5. **State**: positive where its
# *vector* is more similar to the mean vector of the positive words than to that of the negative ones. For 11,559 words, 48.75 %, the two
# differ, and the paper concludes that trait and state are different things, both worth modelling. Of the 32 emotion words, "surprised"
# differs.
#
# We ask: can it be repeated? Who is counted? What would chance give? And is there a better way to ask?

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
# With $V(w)$ the valence, $x_w$ the vector, and $c^+$, $c^-$ the mean vectors of the words of positive and negative trait:
#
# $$ P_t(w) = [\, V(w) > 0.5 \,] \qquad\qquad P_s(w) = [\, \cos(x_w, c^+) > \cos(x_w, c^-) \,] $$
#
# | | shape | |
# |---|---|---|
# | $x$ | n x d | vectors of the words that have one |
# | $P_t$, $P_s$ | n | 1 positive, 0 negative |
# | $c^+$, $c^-$ | d | one centroid for each side |
#
# There is no context in this: "state" here is where the one vector of a word lies. Section 10 comes back to that.

# %% [markdown]
# ### Exercise 10.1 · State polarity
#
# **Goal:** $P_s$ for all words at once. **Difficulty:** ★★ **Minutes:** 10
#
# <details><summary>Hint</summary>
#
# `vectors[trait == 1].mean(axis=0)` is the positive centroid. A cosine is a product of two vectors of length 1; the length of the word's own vector
# does not matter for the comparison, that of the two centroids does.
#
# </details>


# %%
def state_polarity(vectors, trait):
    """[n] 1 where a word of vectors [n, d] is closer to the positive centroid; trait [n] is 0 or 1."""
    ### BEGIN SOLUTION
    centres = np.stack([vectors[trait == side].mean(axis=0) for side in (1, 0)])
    centres = centres / np.linalg.norm(centres, axis=1, keepdims=True)
    positive, negative = (vectors @ centres.T).T
    return (positive > negative).astype(int)
    ### END SOLUTION


# %%
checks.state_polarity(state_polarity)

# %% [markdown]
# The library's function is the same rule. We write it once more in the open and compare word by word. Where both cosines are the same up to
# rounding, the library says negative.

# %%
from ctsm_lib.polarity import centroids, state_polarity, trait_polarity

x, words, counts = vectors[found].astype(np.float64), words[found], counts[found]
valence, r = vad[found, 0].astype(np.float64), rated[found]  # r: who is rated
t = trait_polarity(valence)  # an unrated word has the neutral valence, 0.5


def unit(a):
    """Rows brought to length 1."""
    return a / np.linalg.norm(a, axis=-1, keepdims=True)


c = np.stack([x[t == side].mean(axis=0) for side in (1, 0)])
np.testing.assert_allclose(c, centroids(x, t), rtol=1e-6)
margin = unit(x) @ (unit(c[0]) - unit(c[1]))  # cosine to c+ minus cosine to c-
state = state_polarity(x, t)
np.testing.assert_array_equal(margin > 1e-6, state == 1)
print(f"Ours equals the library's for {len(t):,} words.")
print(f"Trait and state differ for {(t != state).mean():.2%}; the paper: {PAPER_SHARE} %")

# %% [markdown]
# The line with `margin` says something that the formula hides. The rule looks along a **single direction** of the d-dimensional space,
# from one centroid to the other. All that "state" can mean here is on which side of a plane a vector lies.
#
# ## 3 · Who was counted?
#
# The neutral valence of an unrated word is 0.5, and 0.5 is not *above* 0.5. So the rule calls every word that nobody rated **negative**:
# "the", "of", names, typing errors. They are counted, and they have a vote in $c^-$, too.

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
    "The first bar is a mixture of the second and the third. Only the last one leaves "
    "words that nobody rated out altogether.",
)

# %% [markdown]
# > **Departure.** The paper reports one number for the whole vocabulary. In the vocabulary of the paper's own data, about 60 % of the
# > words are not in the lexicon. An unrated word cannot agree or disagree with a rating that it does not have: what it adds to the share
# > is how often the vector of just any word lies on the positive side. We keep the paper's rule as the first row of every table, and put
# > the rated words beside it.
#
# **Words without a vector** are the other gap. The rule needs a cosine, and a zero vector has none. We leave such words out. If one
# counts them, anything between two bounds can come out: suppose all of them agree, or all of them differ.

# %%
analysis = analyse_prepared(prepared)  # all choices at once; section 7 shows them
print(f"{analysis['with_vector']:,} of {analysis['words']:,} words have a vector")
for row in analysis["choices"]:
    if row["missing"] != "left out" and row["vectors"] != "exact":
        print(f"{row['label']:40} {row['share']:5.1f} % of {row['words']:,}")

# %% [markdown]
# "random" is what happens if a program draws a random vector for each missing word, as models do before training: half of these words
# differ, whatever the language is like. "published" rows, where there are any, take only vectors that somebody trained on much text for
# vectors at all.
#
# ## 4 · A word votes for itself
#
# The centroid of the positive words contains the very word that is compared with it. In a large group one vote is nothing; in a small one
# it is not.

# %% [markdown]
# ### Exercise 10.2 · Leave one out
#
# **Goal:** the cosine of each word with the centroid of a group, where a member's own vector is left out. **Difficulty:** ★★ **Minutes:** 15
#
# <details><summary>Hint</summary>
#
# A mean and a sum point into the same direction, so the sum will do. `vectors * member[:, None]` is what each word would have to take away: nothing
# where it is not a member.
#
# </details>


# %%
def leave_one_out_cosine(vectors, member):
    """[n] cosine of vectors [n, d] with the sum of the members [n] but the word itself."""
    ### BEGIN SOLUTION
    rest = vectors[member].sum(axis=0) - vectors * member[:, None]
    lengths = np.linalg.norm(rest, axis=1) * np.linalg.norm(vectors, axis=1)
    return (vectors * rest).sum(axis=1) / lengths
    ### END SOLUTION


# %%
checks.leave_one_out_cosine(leave_one_out_cosine)

# %% [markdown]
# How much does it matter? We make vectors and traits that have **nothing to do with each other**, so that the right answer is 50 %, and
# count as before. The own vote adds $\lvert x \rvert^2 \approx d$ to a sum of $n$ random terms of spread $\sqrt d$ each, so that the
# share becomes about $\Phi(-\sqrt{d / n})$ with $\Phi$ the normal distribution's cumulative function.

# %%
random, d = np.random.default_rng(0), x.shape[1]
sizes = [50, 100, 200, 400, 800, 1600, 3200]
curves = {"with its own vote": [], "leave-one-out": []}
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
    "With few words, noise seems to agree with noise: each word pulls its group's "
    "centroid towards itself. Without the own vote, the share stays around 50 %.",
)

# %%
for name, some in (("all words", np.ones_like(r)), ("rated words", r)):
    labels = t[some]
    with_it, without = (
        100 * (state_polarity(x[some], labels, leave_one_out=out) != labels).mean()
        for out in (False, True)
    )
    print(f"{name:12} {with_it:.1f} % differ; {without:.1f} % where no word votes for itself")
    print(f"{'':12} noise of this size: {100 * norm.cdf(-np.sqrt(d / some.sum())):.1f} %")

# %% [markdown]
# Read the two numbers against their own zero points: the first against noise of this size, the second against 50 %. The library leaves
# the word out without a second pass over the vectors, by the same algebra as your solution.
#
# ## 5 · What would chance give?
#
# Real vectors are no Gaussian noise: they have common directions, and the groups are not equally large. So we let chance use the real
# ones. We deal the trait labels out anew, as many positive ones as before, and repeat the whole procedure, centroids included.

# %% [markdown]
# ### Exercise 10.3 · The share under chance
#
# **Goal:** the share that differs, in per cent, in each of `draws` shuffles of the labels. **Difficulty:** ★★ **Minutes:** 10
#
# <details><summary>Hint</summary>
#
# One generator, `np.random.default_rng(seed)`, before the loop; `random.permutation(trait)` in it. Both the centroids and the comparison use the shuffled
# labels: there are no others in a world of chance.
#
# </details>


# %%
def shuffled_shares(vectors, trait, side_of, draws, seed):
    """[draws] per cent of words whose side_of(vectors, labels) differs from the shuffled labels."""
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
from ctsm_lib.polarity import shuffled_shares

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
figure.update_layout(title="What chance gives", yaxis_title="shuffles", width=860, height=340)
lessons.show(
    figure,
    "Each count in the histogram is a world in which vectors know nothing of valence. "
    "Chance is not at 50 %: there, too, words vote for themselves.",
)

# %% [markdown]
# Chance is the yardstick. A share near it says that vectors and lexicon have little to do with each other; a share far *below* it says
# that they agree for many words. The paper's 48.75 % comes without a yardstick. Half of the words differing is what a coin would give, so
# a high share may be evidence for two kinds of emotion, or just for vectors that do not know. The number alone cannot tell these apart.
#
# **How sure is the share?** Another sample of words would have given another one. The bootstrap draws the words again, with replacement:

# %%
random, differs = np.random.default_rng(0), t[r] != only
again = [100 * differs[random.integers(r.sum(), size=r.sum())].mean() for _ in range(500)]
row = analysis["choices"][1]
print(
    f"bootstrap by hand: {np.quantile(again, 0.025):.1f} to {np.quantile(again, 0.975):.1f} %"
)
print(f"the library's:     {row['low']:.1f} to {row['high']:.1f} % ({row['label']})")

# %% [markdown]
# The interval tells about the *drawing of words* only. It is silent about choices: who is counted, who votes, where positive begins.
# Compare its width with the differences between the bars of section 3.
#
# ## 6 · Where does positive begin?
#
# A rating of 0.51 is hardly positive, but the rule makes no difference between it and 0.98. One can move the threshold, or leave out a
# **neutral band** around it.


# %%
def rule(threshold, band):
    """Rated words outside the band: their indices, margins, and whether both polarities differ."""
    some = np.flatnonzero(r & ((band == 0) | (np.abs(valence - threshold) > band + 1e-6)))
    trait = trait_polarity(valence[some], threshold)
    plus, minus = (unit(part) for part in centroids(x[some], trait))
    gap = unit(x[some]) @ (plus - minus)
    return some, gap, (gap > 1e-6) != (trait == 1)


# %%
def sides(threshold: float = 0.5, band: float = 0.0):
    """Some rated words by valence and margin; the share among all of those outside the band."""
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
    "Right of the line the rating is positive, above it the vector; blue words are in the "
    "two quadrants where both differ. Point at some of them.",
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
# Read along a row: what happens to the share once words of unclear valence are left out? Play with both, and look which words remain blue
# with a wide band. These are the interesting ones: the lexicon is sure, and the vector says otherwise.

# %%
lessons.play(
    sides,
    threshold=FloatSlider(0.5, min=0.35, max=0.65, step=0.05, continuous_update=False),
    band=FloatSlider(0.0, min=0.0, max=0.25, step=0.05, continuous_update=False),
)

# %% [markdown]
# **By word or by occurrence?** The rule counts "the" once, like a word that was said once. One can weigh each by how often it occurs.
# Then a few common words decide:

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
# `ctsm figures discrepant` shows such words with a quotation of each.
#
# ## 7 · All choices in one picture
#
# The same count under every choice that the paper leaves open, and the conclusion that the library words from the numbers:

# %%
print(fill(analysis["conclusion"], 96))
lessons.show(
    figures.sensitivity(analysis).update_layout(width=880),
    "Each mark is the same question with one thing changed. The dashed line is the "
    "paper's number; crosses are chance.",
)

# %% [markdown]
# Which of the marks come near 48.75 %, and what do they count? That is what the number rests on.
#
# ## 8 · Figure 3
#
# The 32 emotion words in the space of valence, arousal and dominance. Where the polarities agree, the two marks overlap; where they
# differ, both are blue and the state's mark is set off to its side.

# %%
print(fill(analysis["labels_note"], 96))
lessons.show(
    figures.fig3(analysis).update_layout(width=880),
    "Turn it. Every blue pair is an emotion word whose vector lies with the other side, "
    "by the paper's rule.",
)

# %% [markdown]
# The list is not the paper's list. The vectors decide it, and the first line of this notebook's output says where ours come from. Compare
# both lists: what changes when unrated words have no vote? No single word, "surprised" included, carries an argument that changes with
# the choice of centroids. Look a word up:


# %%
def look_up(word: str = "surprised"):
    """A word's two polarities, and the words nearest to it."""
    if not len(place := np.flatnonzero(words == word.strip().lower())):
        return print(f"{word!r} has no vector here, or is not in the vocabulary.")
    i = int(place[0])
    rating = f"valence {valence[i]:.2f}" if r[i] else "not rated, so by the rule negative"
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
# The **word explorer** of lesson 02 draws both polarities, and quotes dialogues in which a word is said.

# %%
from ctsm_workbench import explorers as widgets

widgets.word_explorer("surprised")

# %% [markdown]
# The nearest words tell what a vector knows: what a word is used *with*. Opposites are used with the same words, and that is one reason
# why similarity of vectors is a weak guide to valence. `ctsm figures map` draws the vocabulary on a map by UMAP. Read it with care:
# neighbours on it have similar vectors, but how far apart two groups are, how large they look and where the axes point mean nothing, and
# another seed gives another map.
#
# ## 9 · Which of the two is right?
#
# Two measures of our own that differ do not say which one to believe. Something from outside can. **Dialogue labels:** from the mean of
# its rated words, can one tell whether a dialogue's label is a positive emotion? **VADER:** a second lexicon, rated by other people. AUC
# is the probability that something positive gets the higher value; 0.5 is chance.

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
        "Who tells the side better?",
        "AUC",
    ).add_hline(y=0.5, line_dash="dash"),
    "The dashed line is chance. The closer the state bars come to the trait bar, the more "
    "of the valence the vectors know.",
)

# %% [markdown]
# VADER asked people the very question that a rating answers, so a high trait bar there says only that people agree about words (the
# sample's ratings are our own). The fair comparison of trait and state is the dialogue labels. `ctsm polarity` prints all standards with
# differences and intervals.
#
# ## 10 · State from contexts
#
# So far each word had one vector. But a state is meant to depend on context. A trained model has two answers for each *occurrence*: the
# inclination $V_{cos}$ (Eq. 7) and the representation $H_s$ (Eq. 9), lesson 04. We read some dialogues and ask first: **what makes a
# word's $V_{cos}$ vary?** Take two occurrences of a word by the same kind of speaker at the same place of *different* dialogues, and
# compare their distance with that of any two occurrences of the word.

# %%
from ctsm_workbench.study.contexts import analyse_contexts, collect_states, explained, plan

run = lessons.trained_run()


def beginning(split, dialogues):
    """The first dialogues of a split."""
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
gathered = collect_states(run.model, laid, len(some.corpus.vocabulary), is_rated, progress=False)
source = explained(laid, gathered, draws=50)
print(
    f"{len(laid.tokens):,} occurrences in {len(laid.begin)} dialogues; {source['pairs']} pairs"
)
for space in ("V_cos", "H_s"):
    row = source[space]
    print(
        f"{space:5} varies by {row['variance']:.4f}, alike in speaker and place {row['alike']:.4f}:"
        f" {row['explained']:.1f} % is speaker and place"
    )

# %% [markdown]
# > **What is printed, and what it can do.** $V_{cos}$ is computed from $E_C$: word, speaker and place. No other word reaches it, and no
# > training changes that. A "state" read from $V_{cos}$ is nearly as static as the vectors of Section 5.4. What other words do to a word
# > is in $H_s$: its line above says how much of that is left when speaker and place are the same.
#
# Second: **does the bend mean anything?** Compare a word only with itself: is it more positive in dialogues with a positive label? A
# static vector scores 0.5 here by construction; $V_{cos}$ can leave 0.5 only as far as speaker and place go with the label. And a
# control: the $H_s$ of a model that was never trained should not know the label.

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
    "0.5 (dashed): a word is the same in both. Held-out dialogues only. Compare trained "
    "with untrained, and each with its interval above.",
)

# %%
print(fill(contexts["conclusion"], 96))

# %% [markdown]
# These are few dialogues, and the intervals come from drawing words, not dialogues: take small differences for nothing. `ctsm contextual
# RUN --json F` reads the whole corpus and adds which words depend on context most, measured against words as frequent, since a rare word
# varies by chance.
#
# ## What you have now
#
# - The paper's analysis in a few lines, equal to the library's, and Figure 3.
# - The reasons why one percentage is not enough: who was counted, who voted, what chance gives, where positive begins.
# - A better question with an answer from outside, and a state that does see the context: $H_s$.
#
# **Try.** Take a word that you find ambiguous, such as "sick" or "mad". Look up its two polarities here, then its contexts in lesson 04.
# **Next:** lesson 11 asks people instead of vectors.
