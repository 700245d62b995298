# %% [markdown]
# # 02 · Read what a word carries by itself
#
# **What you will do.** Look words up in a lexicon of feelings, find a misprint in the paper by looking at data, and build the
# *trait embedding* that CTSM gives every token.
#
# **What you will learn.** What valence, arousal and dominance are; how emotion intensity and rarity weigh a word; Eqs. (2) to (4).
#
# **What you need.** PyTorch basics (tensors, `nn.Linear`); lesson 01 for what a batch is. About 45 minutes.
#
# *Paper: Sec. 3.4.1. Library: `lexicon`, `model/emotion`.*

# %%
import numpy as np
import torch
from ctsm_workbench.course import checks, lessons
from ipywidgets import Text
from torch import nn

lessons.begin("trait")

# %% [markdown]
# The lit boxes are what this lesson builds. Everything here is *fixed before training*: a word's trait is the same in every
# sentence. How context bends a word is the subject of lesson 04.

# %%
prepared = lessons.data()
lexicon, vocabulary = prepared.lexicon, prepared.corpus.vocabulary
print(lessons.describe())
print(f"lexicon: {len(lexicon):,} words, scale {lexicon.scale}")

# %% [markdown]
# ## 1 · Three numbers for a feeling
#
# Psychologists describe feelings in three dimensions, each from 0 to 1:
#
# | | asks | low | high |
# |---|---|---|---|
# | **valence** | how pleasant? | grief | joy |
# | **arousal** | how stirred up? | sleep | panic |
# | **dominance** | how much in control? | helpless | mighty |
#
# People rated thousands of words this way (the NRC VAD lexicon). The sample that comes with this laboratory has ratings that
# we made up for illustration; with `CTSM_DATA` set you see the real ones.


# %%
def word_bars(words: str = "excited terrified lonely calm furious proud"):
    """Bars of valence, arousal and dominance for the rated ones of some words."""
    rated = [word for word in words.lower().split() if word in lexicon.ratings]
    ratings = np.array([lexicon.ratings[word] for word in rated]).reshape(-1, 3)
    values = dict(zip(("valence", "arousal", "dominance"), ratings.T.tolist(), strict=True))
    return lessons.bars(values, rated, "What a word carries by itself", "rating")


lessons.show(
    word_bars(),
    "Excited and terrified are stirred up alike (arousal); what sets them apart is valence and dominance.",
)

# %% [markdown]
# Try words of your own. Which two are the hardest to tell apart by these three numbers alone?

# %%
lessons.play(word_bars, words=Text("happy sad angry", continuous_update=False))
# %% [markdown]
# ## 2 · What about words nobody rated?
#
# Most words of a conversation are not in the lexicon. The paper says that such a word gets the *neutral* triple
# $[0.00, 0.50, 0.00]$. Before we believe it, we look at what these numbers mean on the lexicon's own scale.

# %%
vad, rated = lexicon.table(vocabulary)
tokens = np.asarray(prepared.corpus.splits["train"].tokens)
lowest = sorted(lexicon.ratings, key=lambda word: lexicon.ratings[word][0])[:5]
print(f"rated: {rated.mean():.0%} of the vocabulary, {rated[tokens].mean():.0%} of all tokens")
print(
    "least pleasant words:",
    ", ".join(f"{word} {lexicon.ratings[word][0]:.2f}" for word in lowest),
)
print(
    f"words with a valence below 0.05: {sum(v < 0.05 for v, _, _ in lexicon.ratings.values())}"
)

# %% [markdown]
# Valence 0 is the most negative value there is. With the printed triple, "the" and "of" would be about as unpleasant as the
# worst words above. Every code base that this one descends from uses $[0.5, 0.0, 0.5]$ instead: neither pleasant nor unpleasant,
# not stirred up, neither weak nor strong.
#
# > **Departure.** We take the printed triple for a misprint and use $[0.5, 0, 0.5]$. The setting `neutral_vad="printed"` restores
# > what is printed, so that you can measure the difference.
#
# It is no small thing, since it concerns most tokens. Here is the mean valence of dialogues of happy and of sad people under both:

# %%
split, labels = prepared.corpus.splits["train"], prepared.corpus.splits["train"].labels
from ctsm_lib.corpus import EMOTIONS

turns = np.repeat(np.arange(len(split.turn_offsets) - 1), np.diff(split.turn_offsets))
dialogue = np.repeat(np.arange(len(labels)), np.diff(split.dialogue_offsets))[turns]
means = {}
for choice in ("standard", "printed"):
    valence = lexicon.table(vocabulary, choice)[0][:, 0][tokens]
    means[choice] = [
        valence[labels[dialogue] == EMOTIONS.index(name)].mean()
        for name in ("joyful", "sad", "furious")
    ]
lessons.show(
    lessons.bars(
        means,
        ["joyful", "sad", "furious"],
        "Mean valence of all tokens in dialogues of a label",
        "valence",
    ),
    "With the printed triple every dialogue looks unpleasant: the unrated words drag it down, whatever is said.",
)

# %% [markdown]
# ## 3 · How strong is a word?
#
# A word can matter to a feeling because it is pleasant *or* unpleasant. **Emotion intensity** is the distance from a calm centre
# in the plane of valence and halved arousal, brought to about $[0, 1]$:
#
# $$ I(w) = \frac{\lVert [V(w),\, A(w)/2] - [0.5,\, 0] \rVert_2 - 0.06467}{0.607468} $$
#
# The two constants are the smallest and the range of the distance in the lexicon. Unrated words get exactly 0. The teacher and the
# student of lesson 05 use it to look at strong words first.

# %% [markdown]
# ### Exercise 2.1 · Emotion intensity
#
# **Goal:** write $I(w)$ for many words at once, without a loop. **Difficulty:** ★ **Minutes:** 5
#
# <details><summary>Hint</summary>
#
# `np.hypot(a, b)` is the length of the vector (a, b). `np.where(rated, x, 0.0)` keeps x where `rated` is true.
#
# </details>


# %%
def intensity(vad, rated):
    """Emotion intensity [n] of words with ratings vad [n, 3]; 0 where not rated [n]."""
    ### BEGIN SOLUTION
    distance = np.hypot(vad[:, 0] - 0.5, vad[:, 1] / 2)
    return np.where(rated, (distance - 0.06467) / 0.607468, 0.0)
    ### END SOLUTION


# %%
checks.intensity(intensity)

# %% [markdown]
# The library's version is the same formula; from here on we use it.

# %%
from ctsm_lib.lexicon import intensity as library_intensity

strength = library_intensity(vad, rated)
sentence = "my wonderful dog died yesterday and i feel terrible and alone".split()
values = [
    float(strength[vocabulary.index[word]]) if word in vocabulary else 0.0 for word in sentence
]
figure = lessons.bars(
    {"intensity": values},
    [f"{i} {word}" for i, word in enumerate(sentence)],
    "Emotion intensity, word by word",
)
lessons.show(
    figure, "Both ends of the valence scale are strong: a wonderful dog as well as its death."
)

# %% [markdown]
# ## 4 · How rare is a word?
#
# "The" says little, "Christmas" says a lot. **Inverse document frequency** (IDF) measures it; here a *document* is one utterance
# of the training dialogues. With $N$ utterances, of which $df(w)$ contain $w$:
#
# $$ \mathrm{idf}(w) = \ln \frac{1 + N}{1 + df(w)} + 1, \qquad \text{then scaled to } [0, 1]. $$
#
# Words that no training utterance has get 1.

# %% [markdown]
# ### Exercise 2.2 · Inverse document frequency
#
# **Goal:** IDF for every id of a small vocabulary, scaled so that the commonest seen word has 0 and the rarest seen one 1.
# **Difficulty:** ★★ **Minutes:** 10
#
# <details><summary>Hint</summary>
#
# A document counts once for a word, however often it has it: think of `set(document)`. Take minimum and maximum over the words that
# were seen; the others get 1 afterwards.
#
# </details>


# %%
def inverse_document_frequency(documents, size):
    """[size] IDF of the ids 0 .. size - 1, in [0, 1]; documents are lists of ids."""
    ### BEGIN SOLUTION
    frequency = np.zeros(size)
    for document in documents:
        frequency[list(set(document))] += 1
    raw = np.log((1 + len(documents)) / (1 + frequency)) + 1
    low, high = raw[frequency > 0].min(), raw[frequency > 0].max()
    return np.where(frequency > 0, (raw - low) / (high - low), 1.0)
    ### END SOLUTION


# %%
checks.inverse_document_frequency(inverse_document_frequency)

# %%
idf = prepared.corpus.idf  # the library's, for the whole vocabulary, without a loop
order = np.argsort(idf[7:]) + 7  # the first seven ids are special tokens
print("commonest:", ", ".join(f"{vocabulary.words[i]} {idf[i]:.2f}" for i in order[:8]))
print("rarest:   ", ", ".join(f"{vocabulary.words[i]} {idf[i]:.2f}" for i in order[-5:]))

# %% [markdown]
# ## 5 · The trait embedding
#
# VAD and IDF are four numbers. The model adds ten more that say what the word *means here*, a compressed copy of the encoded context
# $H_C$ (lesson 03):
#
# $$ \tilde H_C = W_C H_C \quad (3) \qquad\qquad V_t = [\,\mathrm{VAD} ; \mathrm{IDF} ; \tilde H_C\,] \quad (2) $$
#
# | | shape | from |
# |---|---|---|
# | VAD | B x L x 3 | lexicon |
# | IDF | B x L x 1 | training dialogues |
# | $H_C$ | B x L x 300 | context encoder |
# | $\tilde H_C$ | B x L x 10 | a linear map without bias |
# | $V_t$ | B x L x **14** | |
#
# B dialogues, L tokens in the longest one. Shorter ones are padded, and what stands at the padding must never matter.

# %% [markdown]
# ### Exercise 2.3 · The trait embedding
#
# **Goal:** Eqs. (2) and (3), with PAD rows zero. **Difficulty:** ★★ **Minutes:** 10
#
# <details><summary>Hint</summary>
#
# `weight` is stored as PyTorch stores it, [out, in]: the map is `context @ weight.T`. `unsqueeze(-1)` turns [B, L] into [B, L, 1], both for
# the IDF and for the mask.
#
# </details>


# %%
def trait_embedding(vad, idf, context, weight, mask):
    """V_t [B, L, 14] from vad [B, L, 3], idf [B, L], context [B, L, D], weight [10, D], mask [B, L]."""
    ### BEGIN SOLUTION
    compressed = context @ weight.T
    return torch.cat([vad, idf.unsqueeze(-1), compressed], dim=-1) * mask.unsqueeze(-1)
    ### END SOLUTION


# %%
checks.trait_embedding(trait_embedding)

# %% [markdown]
# ## 6 · The trait encoder
#
# So far each token knows only itself. A small Transformer encoder lets the traits of a sentence see each other (Eq. 4):
# $H_t = \mathrm{Encoder}_t(V_t)$. It has width 14, two heads, and keys and values that are 40 wide in all: 14 is not divisible into
# heads of a useful size, so the heads divide the depth of the keys, not the width.

# %%
from ctsm_lib.model.emotion import EmotionEncoding
from ctsm_lib.model.layers import Encoder

D = prepared.vectors.matrix.shape[1]


def small(width):
    """The encoder of the paper's small parts: one layer, 2 heads, depth 40, feed-forward 50."""
    return Encoder(
        width, layers=1, heads=2, key_depth=40, ffn_dim=50, ffn="linear", dropout=0.0
    )


compress, encoder_t = nn.Linear(D, 10, bias=False), small(14)
print(f"parameters of the trait encoder: {sum(p.numel() for p in encoder_t.parameters()):,}")

# %% [markdown]
# Now with real dialogues: we take a batch, gather its features by token id, and run both steps in the open. The context encoder comes
# in lesson 03; a random $H_C$ will do to see the shapes.

# %%
batch = prepared.pairs["train"].collate(np.arange(4))
mask = batch.context != 1  # PAD is id 1
vad_BL3 = torch.from_numpy(vad)[batch.context]
idf_BL = torch.from_numpy(idf)[batch.context]
context_BLD = torch.randn(*batch.context.shape, D)

V_t = torch.cat(
    [vad_BL3, idf_BL.unsqueeze(-1), compress(context_BLD)], dim=-1
) * mask.unsqueeze(-1)
H_t = encoder_t(V_t, mask) * mask.unsqueeze(-1)
print("V_t", list(V_t.shape), " H_t", list(H_t.shape))

# %% [markdown]
# The library's `EmotionEncoding` does the same for trait and state at once. With our weights put into it, both must agree:

# %%
library = EmotionEncoding(D, compressed=10, trait=True, state=False, make_encoder=small)
library.compress.load_state_dict(compress.state_dict())
library.trait_encoder.load_state_dict(encoder_t.state_dict())
embedding, encoded = library(
    context_BLD, context_BLD, None, vad_BL3, idf_BL.unsqueeze(-1), mask
)
torch.testing.assert_close(embedding, V_t)
torch.testing.assert_close(encoded, H_t)
print("The library's trait embedding and encoder equal ours.")

# %% [markdown]
# Does padding matter? We take the shortest dialogue out of the batch and cut its padding off: nothing may change.

# %%
short = mask.sum(dim=1).argmin()
n = int(mask[short].sum())
alone = encoder_t(V_t[short : short + 1, :n], mask[short : short + 1, :n])
torch.testing.assert_close(alone[0], H_t[short, :n])
print(
    f"dialogue {int(short)}: the same {n} rows with {V_t.shape[1] - n} PAD positions beside it and without"
)

# %% [markdown]
# ## 7 · All of it at once
#
# The **word explorer** shows what this lesson computed for any word you type. It also shows how people use the word, which words are used
# alike, and a polarity read off those: lesson 10 is about that one.

# %%
from ctsm_workbench import explorers as widgets

widgets.word_explorer("bittersweet")

# %% [markdown]
# ## What you have now
#
# - Three fixed numbers for every word, neutral where nobody rated it, and a misprint settled by looking at data.
# - Intensity (how strong) and IDF (how rare), which later parts use to decide where to look.
# - The trait embedding $V_t$, 14 wide, and its encoder: `model/emotion` in the library.
#
# **But:** "excited" got the same numbers in every sentence. Whether it comes before a birthday or before an operation, nothing here
# can tell. That is what lesson 04 is for; first, lesson 03 reads the context.
