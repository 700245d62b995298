# %% [markdown]
# # 02 · Read the emotion that a word has by itself
#
# **What you will do.** Look up words in an emotion lexicon, find a misprint in the paper by
# looking at data, and build the *trait embedding* that CTSM gives every token.
#
# **What you will learn.** What valence, arousal and dominance are; how to measure the emotion
# intensity and the rarity of a word; Eqs. (2) to (4).
#
# **What you need.** PyTorch basics (tensors, `nn.Linear`); lesson 01 for what a batch is.
# About 45 minutes.
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
# The highlighted boxes are the parts that this lesson builds. A word's ratings, its intensity
# and its rarity are *fixed before training*: they are the same in every sentence. Lesson 04
# shows how the context changes the emotion of a word.

# %%
prepared = lessons.data()
lexicon, vocabulary = prepared.lexicon, prepared.corpus.vocabulary
print(lessons.describe())
print(f"lexicon: {len(lexicon):,} words, scale {lexicon.scale}")

# %% [markdown]
# ## 1 · Three numbers for an emotion
#
# Psychologists describe emotions in three dimensions, each from 0 to 1:
#
# | dimension | question | low | high |
# |---|---|---|---|
# | **valence** | How pleasant is it? | grief | joy |
# | **arousal** | How active or excited is it? | sleep | panic |
# | **dominance** | How much control does it give? | helpless | powerful |
#
# In the NRC VAD lexicon, people have rated thousands of words in this way. We made up the
# ratings in the sample that comes with this laboratory. If you work on the real data, you see
# the real ratings.


# %%
def word_bars(words: str = "excited terrified lonely calm furious proud"):
    """Bars of valence, arousal and dominance; words without a rating are left out."""
    rated = [word for word in words.lower().split() if word in lexicon.ratings]
    ratings = np.array([lexicon.ratings[word] for word in rated]).reshape(-1, 3)
    values = dict(zip(("valence", "arousal", "dominance"), ratings.T.tolist(), strict=True))
    return lessons.bars(values, rated, "Ratings of single words", "rating")


lessons.show(
    word_bars(),
    "“Excited” and “terrified” have about the same arousal. They differ in valence and "
    "dominance.",
)

# %% [markdown]
# Try words of your own. Can you find two words with different meanings that these three numbers
# cannot tell apart?

# %%
lessons.play(word_bars, words=Text("happy sad angry", continuous_update=False))
# %% [markdown]
# ## 2 · Words without a rating
#
# Most words of a conversation are not in the lexicon. The paper gives such a word the *neutral*
# triple $[0.00, 0.50, 0.00]$. Before we use these numbers, we look up what they mean on the
# scale of the lexicon.

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
# Valence 0 is the most negative value on the scale. With the printed triple, "the" and "of"
# would be about as unpleasant as the worst words above. The released code of all related
# systems uses $[0.5, 0.0, 0.5]$ instead. With this triple, an unrated word is neither pleasant
# nor unpleasant, has no arousal, and has a medium dominance.
#
# > **Departure.** We consider the printed triple a misprint and use $[0.5, 0, 0.5]$. The
# > setting `neutral_vad="printed"` restores the printed triple, so that you can measure the
# > difference.
#
# The choice matters, because it affects most tokens. The next cell computes the mean valence of
# joyful, sad and furious dialogues with both triples:

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
    "With the printed triple, every dialogue has a low mean valence, even a joyful one. The "
    "reason is the unrated words, which are the majority.",
)

# %% [markdown]
# ## 3 · How strong is the emotion of a word?
#
# A word can be important for an emotion because it is pleasant *or* because it is unpleasant.
# So the **emotion intensity** is a distance. A word is a point with two coordinates: its
# valence and half of its arousal. We measure how far this point is from a calm, neutral centre:
#
# $$ I(w) = \frac{\lVert [V(w),\, A(w)/2] - [0.5,\, 0] \rVert_2 - 0.06467}{0.607468} $$
#
# The two constants come from an earlier system, KEMP. They scale the distance to about
# $[0, 1]$; the exact range depends on the lexicon. Unrated words get exactly 0. The teacher and
# student networks of lesson 05 use the intensity to weight the tokens.

# %% [markdown]
# ### Exercise 2.1 · Emotion intensity
#
# **Goal:** compute $I(w)$ for many words at once, without a loop.
# **Difficulty:** ★ **Minutes:** 5
#
# <details><summary>Hint</summary>
#
# `np.hypot(a, b)` is the length of the vector (a, b). `np.where(rated, x, 0.0)` keeps x where
# `rated` is true.
#
# </details>


# %%
def intensity(vad, rated):
    """Emotion intensity [n] of words with ratings vad [n, 3]; 0 where rated [n] is False."""
    ### BEGIN SOLUTION
    distance = np.hypot(vad[:, 0] - 0.5, vad[:, 1] / 2)
    return np.where(rated, (distance - 0.06467) / 0.607468, 0.0)
    ### END SOLUTION


# %%
checks.intensity(intensity)

# %% [markdown]
# The library uses the same formula. From here on we use the library's version.

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
    figure,
    "Words at both ends of the valence scale have a high intensity: the pleasant word "
    "“wonderful” as well as the unpleasant word “died”.",
)

# %% [markdown]
# ## 4 · How rare is a word?
#
# "The" carries little information, "Christmas" carries a lot. **Inverse document frequency**
# (IDF) measures this. Here, a *document* is one utterance of the training dialogues. There are
# $N$ utterances, and $df(w)$ of them contain the word $w$:
#
# $$ \mathrm{idf}(w) = \ln \frac{1 + N}{1 + df(w)} + 1, \qquad \text{then scaled to } [0, 1]. $$
#
# Words that occur in no training utterance get 1.

# %% [markdown]
# ### Exercise 2.2 · Inverse document frequency
#
# **Goal:** compute the IDF for every id of a small vocabulary. Scale it so that, among the
# words of the documents, the most frequent word gets 0 and the rarest word gets 1.
# **Difficulty:** ★★ **Minutes:** 10
#
# <details><summary>Hint</summary>
#
# A document counts once for a word, even if it contains the word several times: use
# `set(document)`. Take the minimum and the maximum over the words that occur. Give all other
# words 1 afterwards.
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
print("most frequent:", ", ".join(f"{vocabulary.words[i]} {idf[i]:.2f}" for i in order[:8]))
print("rarest:       ", ", ".join(f"{vocabulary.words[i]} {idf[i]:.2f}" for i in order[-5:]))

# %% [markdown]
# ## 5 · The trait embedding
#
# VAD and IDF are four numbers. The model adds ten more, which describe what the word *means in
# its context*. They are a compressed copy of $H_C$, the output of the context encoder (lesson
# 03):
#
# $$
# \tilde H_C = W_C H_C \quad (3) \qquad\qquad
# V_t = [\,\mathrm{VAD} ; \mathrm{IDF} ; \tilde H_C\,] \quad (2)
# $$
#
# | part | shape | source |
# |---|---|---|
# | VAD | B x L x 3 | lexicon |
# | IDF | B x L x 1 | training dialogues |
# | $H_C$ | B x L x 300 | context encoder |
# | $\tilde H_C$ | B x L x 10 | a linear map without bias |
# | $V_t$ | B x L x **14** | all of the above |
#
# B is the number of dialogues and L the number of tokens in the longest one. Shorter dialogues
# are padded. The values at padded positions must never change a result.
#
# Note that only four of the fourteen numbers are the same in every sentence. The other ten
# depend on the context, although the paper calls $V_t$ the embedding of the *trait*.

# %% [markdown]
# ### Exercise 2.3 · The trait embedding
#
# **Goal:** write Eqs. (2) and (3). The rows of PAD are zero.
# **Difficulty:** ★★ **Minutes:** 10
#
# <details><summary>Hint</summary>
#
# `weight` has PyTorch's shape, [out, in], so the linear map is `context @ weight.T`.
# `unsqueeze(-1)` turns [B, L] into [B, L, 1]. You need this for the IDF and for the mask.
#
# </details>


# %%
def trait_embedding(vad, idf, context, weight, mask):
    """V_t [B, L, 14] from vad [B, L, 3], idf [B, L] and context H_C [B, L, D].

    weight is W_C [10, D]; mask [B, L] is True at real tokens.
    """
    ### BEGIN SOLUTION
    compressed = context @ weight.T
    return torch.cat([vad, idf.unsqueeze(-1), compressed], dim=-1) * mask.unsqueeze(-1)
    ### END SOLUTION


# %%
checks.trait_embedding(trait_embedding)

# %% [markdown]
# ## 6 · The trait encoder
#
# So far, the four fixed numbers of a token say nothing about its neighbours. A small
# Transformer encoder lets each token attend to the trait embeddings of all tokens (Eq. 4):
# $H_t = \mathrm{Encoder}_t(V_t)$. The encoder is 14 wide and has two heads. If the two heads
# divided these 14 numbers, each would get only 7. So the queries, keys and values have a larger
# width of their own: 40 in total, 20 for each head.

# %%
from ctsm_lib.model.emotion import EmotionEncoding
from ctsm_lib.model.layers import Encoder
from ctsm_lib.settings import LayerSizes

D = prepared.vectors.matrix.shape[1]


def small(width):
    """The encoder of the paper's small parts: one layer, 2 heads, depth 40, feed-forward 50."""
    return Encoder(width, 1, LayerSizes(heads=2, key_depth=40, ffn_dim=50))


compress, encoder_t = nn.Linear(D, 10, bias=False), small(14)
print(f"parameters of the trait encoder: {sum(p.numel() for p in encoder_t.parameters()):,}")

# %% [markdown]
# Now we use real dialogues. We take a batch, look up its features by token id, and carry out
# both steps ourselves. The context encoder follows in lesson 03. Here we only want to see the
# shapes, so a random $H_C$ is enough.

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
# The library's `EmotionEncoding` computes the trait and the state emotion together. Here we use
# only its trait part and give it our weights. Both results must agree:

# %%
library = EmotionEncoding(D, small, compressed=10, state=False)
library.compress.load_state_dict(compress.state_dict())
library.trait_encoder.load_state_dict(encoder_t.state_dict())
idf_BL1 = idf_BL.unsqueeze(-1)
theirs = library(
    context=context_BLD, embedded=context_BLD, labels=None, vad=vad_BL3, idf=idf_BL1, mask=mask
)
torch.testing.assert_close(theirs.V_t, V_t)
torch.testing.assert_close(theirs.H_t, H_t)
print("The library's trait embedding and encoder equal ours.")

# %% [markdown]
# Does padding change the result? We take the shortest dialogue out of the batch and cut off its
# padding. The result must stay the same.

# %%
short = mask.sum(dim=1).argmin()
n = int(mask[short].sum())
alone = encoder_t(V_t[short : short + 1, :n], mask[short : short + 1, :n])
torch.testing.assert_close(alone[0], H_t[short, :n])
print(
    f"dialogue {int(short)}: the same {n} rows with and without",
    f"{V_t.shape[1] - n} PAD positions",
)

# %% [markdown]
# ## 7 · All results in one place
#
# The **word explorer** shows the values of this lesson for any word that you type. It also
# shows sentences in which people use the word, the words with the most similar vectors, and a
# polarity that is computed from the vectors. Lesson 10 explains this polarity.

# %%
from ctsm_workbench import explorers as widgets

widgets.word_explorer("bittersweet")

# %% [markdown]
# ## What you have now
#
# - You have three fixed numbers for every word, neutral values for unrated words, and a
#   misprint that you found by looking at data.
# - You can compute the intensity of a word (how strong its emotion is) and its IDF (how rare it
#   is). Later parts of the model use both.
# - You have the trait embedding $V_t$, 14 wide, and its encoder. In the library, they are in
#   `model/emotion`.
#
# **But:** "excited" has the same VAD, the same intensity and the same IDF in every sentence,
# before a birthday as well as before an operation. Lesson 04 adds the emotion that depends on
# the context. First, lesson 03 reads the context.
