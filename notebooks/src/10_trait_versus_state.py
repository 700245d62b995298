# %% [markdown]
# # 10 · Ask whether words say one thing and do another
#
# **What you will do.** Repeat the analysis of Section 5.4, redraw Figure 3, and take the paper's number, 48.75 %, apart until you know
# what it rests on.
#
# **What you will learn.** How a polarity is read off word vectors; why a share means nothing before you know what chance gives and who was
# counted; leave-one-out, permutation, bootstrap; what an outside standard adds.
#
# **What you need.** Lesson 02 (valence); lesson 04 helps for the last part. About 60 minutes.
#
# *Paper: Sec. 5.4 and Figure 3. Library: `polarity`, `contextual`, `figures`, `vectors`.*

# %%
import numpy as np
from ctsm_lib import checks, figures, lessons
from ctsm_lib.corpus import EMOTIONS, SPECIALS
from ctsm_lib.polarity import PAPER_SHARE, Rule, analyse_prepared, outside_standards
from ipywidgets import FloatSlider

lessons.begin("polarity")

# %% [markdown]
# ## 1 · The claim
#
# The paper gives each of 23,712 words two polarities. **Trait**: positive where its valence is above 0.5. **State**: positive where its
# *vector* is closer to the mean vector of the positive words than to that of the negative ones. For 11,559 words, 48.75 %, the two differ, and
# the paper concludes that trait and state are different things, both worth modelling. Of the 32 emotion words, "surprised" differs.
#
# We ask three questions. Can we repeat it? What is counted? What would chance give?

# %%
prepared = lessons.data()
print(lessons.describe())
first = len(SPECIALS)
words = prepared.corpus.vocabulary.words[first:]
vad, rated = (array[first:] for array in prepared.lexicon.table(prepared.corpus.vocabulary))
vectors, found = np.array(prepared.vectors.matrix[first:]), prepared.vectors.found[first:]
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

# %%
from ctsm_lib.polarity import state_polarity, trait_polarity

trait = trait_polarity(vad[:, 0])  # unrated words have the neutral valence 0.5: negative
x, t = vectors[found], trait[found]
state = state_polarity(x, t)
c = np.stack([x[t == side].mean(axis=0) for side in (1, 0)])
c /= np.linalg.norm(c, axis=1, keepdims=True)
ours = (x @ c.T) @ [1, -1] > 0
print(f"ours and the library's agree on {(ours == state).mean():.2%} of the words")
print(
    f"trait and state differ for {(t != state).mean():.1%} of {len(t):,} words; the paper: {PAPER_SHARE} %"
)

# %% [markdown]
# ## 3 · Who was counted?
#
# The neutral valence of an unrated word is 0.5, and 0.5 is not *above* 0.5. So the rule calls every word that nobody rated **negative**: "the", "of",
# names, typing errors. Let us look at rated and unrated words apart.

# %%
r = rated[found]
print(f"unrated among the counted words: {(~r).mean():.0%}")
for name, some in (("rated", r), ("unrated", ~r)):
    print(
        f"{name:8} differ {(t != state)[some].mean():6.1%}   positive state {state[some].mean():6.1%}"
    )
only = state_polarity(x[r], t[r])  # centroids, too, from rated words only
print(f"rated words, with centroids of rated words: {(t[r] != only).mean():.1%} differ")

# %% [markdown]
# An unrated word cannot agree or disagree with a rating that it has not got. What it adds to the share is how often vectors of any word fall on the positive side.
#
# ## 4 · A word votes for itself
#
# The centroid of the positive words contains the word that is compared with it. In a large group one vote is nothing, in a small one it is not.

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

# %%
for name, chosen in (("all words", np.ones_like(r)), ("rated words", r)):
    shares = [
        (state_polarity(x[chosen], t[chosen], leave_one_out=out) != t[chosen]).mean()
        for out in (False, True)
    ]
    print(f"{name}: {shares[0]:.1%} differ, {shares[1]:.1%} where no word votes for itself")

# %% [markdown]
# The smaller the groups and the more dimensions, the more it matters: compare the sample with the real data.
#
# ## 5 · What would chance give?
#
# Suppose the vectors knew nothing of valence. We deal the trait labels out anew, as many positive ones as before, and repeat the whole procedure, centroids included.

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

for name, chosen in (("all words", np.ones_like(r)), ("rated words", r)):
    observed = 100 * (state_polarity(x[chosen], t[chosen]) != t[chosen]).mean()
    chance = shuffled_shares(
        x[chosen], t[chosen], np.ones(chosen.sum(), bool), draws=40, seed=0
    )
    low, high = np.quantile(chance, (0.025, 0.975))
    print(
        f"{name}: {observed:.1f} % differ; chance {chance.mean():.1f} % ({low:.1f} to {high:.1f})"
    )

# %% [markdown]
# Chance is the yardstick. A share near it says that vectors and lexicon have little to do with each other; a share far *below* it says that they mostly agree.
# The paper's 48.75 % stands without this yardstick. Is it nearer to chance or to what you see for rated words? A high share may be evidence for two kinds of
# emotion, or just for vectors that do not know.
#
# ## 6 · All choices on one picture
#
# The library makes the same count under every choice that the paper leaves open, with intervals from a bootstrap over words.

# %%
analysis = analyse_prepared(prepared, draws=40)
print(analysis["conclusion"])
lessons.show(
    figures.sensitivity(analysis),
    "Each mark is the same question with one thing changed. The dashed line is the paper's number; crosses are chance.",
)


# %% [markdown]
# Try two of the choices yourself: where positive begins, and how wide a band around it counts as neutral and is left out.


# %%
def choose(threshold: float = 0.5, band: float = 0.0):
    """The share that differs among rated words under one's own threshold and neutral band."""
    own = Rule("yours", unrated="left out", threshold=threshold, band=band)
    report = next(
        row
        for row in analyse_prepared(prepared, own=own, draws=0)["choices"]
        if row["label"] == "yours"
    )
    share = 0.0 if report["share"] is None else report["share"]
    title = f"{share:.1f} % of {report['words']:,} rated words differ"
    figure = lessons.bars(
        {"differ": [share]}, [f"> {threshold:.2f}, band {band:.2f}"], title, "%"
    )
    return figure.update_layout(yaxis_range=[0, 60])


lessons.show(
    choose(0.5, 0.2),
    "Words of clear valence differ less: where the lexicon is sure, the vectors tend to agree.",
)

# %%
lessons.play(
    choose,
    threshold=FloatSlider(0.5, min=0.3, max=0.7, step=0.05, continuous_update=False),
    band=FloatSlider(0.0, min=0.0, max=0.4, step=0.05, continuous_update=False),
)

# %% [markdown]
# ## 7 · Figure 3
#
# The 32 emotion words in the space of valence, arousal and dominance. Where the polarities agree, the two marks overlap; where they differ, both are blue and the state's mark is
# set off to its side.

# %%
print(analysis["labels_note"])
lessons.show(
    figures.fig3(analysis),
    "Turn it. Every blue pair is an emotion word whose vector lies with the other side, by the paper's rule.",
)

# %% [markdown]
# The list above is not the paper's list. Word vectors decide it, and ours are either learned from little text or, with real data, approximate for most words;
# `analysis["description"]` says which. Look at the second list, with centroids of rated words only, before you explain any single word.
#
# ## 8 · Which rule is the better one?
#
# Agreement between two of our own measures decides nothing. Two standards from outside do: the **labels of the dialogues**, 32 emotions of which we take those of positive valence as
# one side, and **VADER**, a second lexicon by other raters. The question for the first is: from the mean polarity of its words, can you tell a dialogue's side? AUC is the probability that a
# dialogue of a positive label gets the higher value; 0.5 is chance.

# %%
standards = outside_standards(prepared, draws=40)
print(standards["conclusion"])

# %% [markdown]
# ## 9 · Beyond static vectors
#
# Everything so far used one vector per word. That is not what the paper calls *state*: a state depends on the context. `ctsm contextual RUN` reads every occurrence of every word with a trained
# model, and with the same model before training. Here is one word in the paper's two contexts, as the trained run reads it:

# %%
from ctsm_lib.contextual import PAPER_CONTEXTS, PAPER_WORD, word_in_contexts

run = lessons.trained_run()
seen = word_in_contexts(run, PAPER_WORD, PAPER_CONTEXTS)
for row in seen["rows"]:
    top = np.argsort(row["V_cos"])[::-1][:4]
    leans = ", ".join(f"{EMOTIONS[i]} {row['V_cos'][i]:.2f}" for i in top)
    print(f"{row['context'][:34]}... leans to {leans}")

# %% [markdown]
# Lesson 04 took this apart: $V_{cos}$ of Eq. (7) sees the word, the speaker and the place, and not its neighbours. So the inclination that the paper draws as context-dependent is nearly as static as the
# vectors; what context does to a word is in $H_s$. The command reports both, how much of each is speaker and place only, and what the untrained model shows; its result on the real data is
# `figures/contextual.json` and its picture.
#
# ## What you have now
#
# - The paper's analysis in a few lines, equal to the library's.
# - Three reasons to be careful with one percentage: who was counted, what chance gives, and what else could have been chosen.
# - A better question, and two outside standards that answer it.
#
# Lesson 11 asks people instead of vectors.
