# %% [markdown]
# # 01 · Read what people say when they feel something
#
# **What you will do.** Open the conversations that the model is trained on, split them into
# tokens, find out which text reveals the label, and pack dialogues of different lengths into
# batches.
#
# **What you will learn.** How EmpatheticDialogues was made; what a token, a vocabulary and a
# (context, response) pair are; why masks must be right; how to sort training pairs by length
# and still keep their order random.
#
# **What you need.** Python and a little PyTorch (tensors); lesson 00. About 45 minutes.
#
# *Paper: Sec. 3.2, 4.2. Library: `corpus`, `batches`.*

# %%
import textwrap
from collections import Counter

import numpy as np
import plotly.graph_objects as go
import torch
from ctsm_lib.corpus import CLS, EMOTIONS, PAD, SPECIALS, SPLITS, SYS, USR
from ctsm_lib.dialogues import CONTRACTIONS
from ctsm_workbench.course import checks, lessons

lessons.begin("dialogues")

# %% [markdown]
# The highlighted boxes are the data: the dialogues that the model reads and the responses that
# it learns to write.

# %%
prepared = lessons.data()
corpus, vocabulary = prepared.corpus, prepared.corpus.vocabulary
train = corpus.splits["train"]
print(lessons.describe())

# %% [markdown]
# ## 1 · A file of conversations
#
# Pairs of crowd workers wrote EmpatheticDialogues (Rashkin et al. 2019). The **speaker** was
# given one of 32 emotions and wrote down a **situation** from their own life in which they had
# felt it. Then the speaker talked about this situation with the **listener**. The listener saw
# neither the emotion nor the situation, only the speaker's turns. The file looks like this:

# %%
from ctsm_lib.corpus import read_dialogues

folder = lessons.sources().dialogues
with open(folder / "train.csv", encoding="utf-8") as file:
    for line in [next(file) for _ in range(3)]:
        print(line.rstrip()[:85], "...")
dialogues = {split: read_dialogues(folder / f"{split}.csv")[0] for split in SPLITS}
print()
for split, found in dialogues.items():
    print(f"{split:6} {len(found):6,} dialogues, {sum(len(d.turns) for d in found):7,} turns")

# %% [markdown]
# | column | content |
# |---|---|
# | `conv_id` | the dialogue |
# | `utterance_idx` | the number of the turn, from 1; the speaker has the odd turns |
# | `context` | the **emotion label**, not the dialogue context |
# | `prompt` | the situation |
# | `utterance` | the turn; `_comma_` stands for a comma, because the file has no quoting |
#
# The name of the column `context` is confusing. In this course, the *dialogue context* is
# always the text of the earlier turns.
#
# Some turns contain a single quotation mark, and a standard CSV reader fails on these rows. Our
# reader simply splits at commas. It lists every row that it must leave out.


# %%
def print_wrapped(prefix, text):
    """Print `prefix` and a text; the lines of a long text are aligned below its first line."""
    print(textwrap.fill(text, 92, initial_indent=prefix, subsequent_indent=" " * len(prefix)))


dialogue = dialogues["train"][6]
print("rows left out:", len(corpus.problems), f"\n\nemotion:   {dialogue.emotion}")
print_wrapped("situation: ", dialogue.situation)
print()
for number, turn in enumerate(dialogue.turns, start=1):
    print_wrapped("speaker:  " if number % 2 else "listener: ", turn)

# %% [markdown]
# ## 2 · Thirty-two emotions
#
# The paper calls the label $\varepsilon$. The model must predict it from the dialogue. Random
# guessing is right once in 32 times. Which words distinguish the labels? For each word and
# label, we compare how often speakers use the word under this label with how often they use it
# in all dialogues.

# %%
turn_of = np.repeat(np.arange(len(train.turn_offsets) - 1), np.diff(train.turn_offsets))
dialogue_of = np.repeat(np.arange(len(train.labels)), np.diff(train.dialogue_offsets))[turn_of]
spoken = train.speaker == USR
V = len(vocabulary)
cells = train.labels[dialogue_of][spoken] * V + train.tokens[spoken]
uses = np.bincount(cells, minlength=32 * V).reshape(32, V)  # counts, label by word
usual = uses.sum(axis=0) / uses.sum()
ratio = (uses + 5 * usual) / (uses.sum(axis=1, keepdims=True) + 5) / np.maximum(usual, 1e-12)
per_label = np.bincount(train.labels, minlength=32)
print(f"dialogues per label: {per_label.min()} to {per_label.max()}")
print(f"words of the speakers: {uses.sum():,}")


# %%
def typical_words(emotion: str = "lonely"):
    """Bars of the words that contribute most to the likelihood of a label's turns."""
    row = EMOTIONS.index(emotion)
    best = np.argsort(-uses[row] * np.log(np.maximum(ratio[row], 1e-12)))[:12]
    figure = lessons.bars(
        {"ratio": ratio[row][best].tolist()},
        [vocabulary.words[i] for i in best],
        f"{emotion}: frequency relative to all dialogues",
    )
    return figure.add_hline(y=1, line_dash="dot")


lessons.show(
    typical_words(),
    "A word at the dotted line is as frequent under this label as in all dialogues. Not only "
    "words for feelings are typical of a label: people, places and function words are, too.",
)

# %% [markdown]
# Look at other labels. Which of them would *you* confuse?

# %%
lessons.play(typical_words, emotion=list(EMOTIONS))

# %%
typical = np.maximum(np.log(np.maximum(ratio, 1e-12)), 0)  # only words that a label favours
weights = typical * np.sqrt(uses)
weights /= np.linalg.norm(weights, axis=1, keepdims=True)
alike = np.triu(weights @ weights.T, 1)
print("labels with the most similar words:")
for place in np.argsort(-alike, axis=None)[:6]:
    a, b = np.unravel_index(place, alike.shape)
    print(f"  {EMOTIONS[a]:12} {EMOTIONS[b]:12} {alike[a, b]:.2f}")

# %% [markdown]
# Some labels are so similar that we cannot expect an accuracy near 100 % here. Even a careful
# human reader cannot always tell which of two similar labels the speaker was given.
#
# ## 3 · From text to tokens
#
# The model reads **tokens**: words, punctuation marks, and pieces such as "n't". All systems in
# Table 1 of the paper use the same protocol. We must follow it, too, so that the scores can be
# compared. It has four steps: change the text to lower case; expand 23 contractions; split it
# into sentences; split each sentence into tokens.

# %%
from nltk.tokenize import NLTKWordTokenizer, PunktSentenceTokenizer


def cut(text):
    """The tokens of a text, step by step."""
    text = text.lower()
    for short, long in CONTRACTIONS.items():
        text = text.replace(short, long)
    return [
        word
        for sentence in PunktSentenceTokenizer().tokenize(text)
        for word in NLTKWordTokenizer().tokenize(sentence)
    ]


print(cut("I'm fine. It didn't hurt, really."))
print("without sentences:", NLTKWordTokenizer().tokenize("i am fine. it did not hurt, really."))

# %% [markdown]
# Without the third step, "fine." with its full stop would be one token. The usual function
# `nltk.word_tokenize` needs to download a model. The two classes used here do not. The
# library's `tokenize` gives the same tokens:

# %%
from ctsm_lib.corpus import tokenize

for dialogue in dialogues["train"][:60]:
    for turn in dialogue.turns:
        assert cut(turn) == tokenize(turn)
print("The library splits 60 dialogues into the same tokens.")
examples = ["I don't know", "I haven't slept", "I can't sleep", "the rabbit's ears"]
for text in [*examples, "I don’t know"]:  # the last one has a curly apostrophe
    print(f"{text:20} {tokenize(text)}")

# %% [markdown]
# The last lines show the weaknesses of this protocol. The list of contractions contains "don't"
# but not "haven't". So the same word becomes "not" in one case and "n't" in the other.
# "rabbit's" ends in "it's" by chance and is expanded. The curly apostrophe (’) is a different
# character from the straight one (') in the list, so the last contraction is not found. How
# often does this happen?

# %%
for word in ("not", "n't", "dont", "’"):
    count = corpus.counts[vocabulary.index[word]] if word in vocabulary else 0
    print(f"{word:5} {count:7,} times in the training turns")

# %% [markdown]
# > **No departure.** We keep these rules, although better rules exist. Perplexity is computed
# > per token, so scores can be compared only if all systems use the same tokens.
#
# Try a sentence of your own. The table shows the token that the model reads in place of an
# unknown word.


# %%
def tokens(text: str = "I can't believe it's my cat's birthday!"):
    """A table of the tokens of a text with their ids and their counts in training."""
    words = tokenize(text)
    ids = vocabulary.encode(words)
    read = [vocabulary.words[i] for i in ids]
    counts = [int(corpus.counts[i]) for i in ids]
    table = go.Table(
        header={"values": ["token", "id", "the model reads", "in training"], "height": 28},
        cells={"values": [words, ids, read, counts], "height": 26},
    )
    return go.Figure(table).update_layout(
        title="From a sentence to ids", width=860, height=220 + 26 * len(ids)
    )


lessons.show(
    tokens(),
    "The ids 0 to 6 are special tokens. The id 0 is <unk>, which stands for an unknown word.",
)

# %%
lessons.play(tokens, text=lessons.text("I can't believe it's my cat's birthday!"))

# %% [markdown]
# ## 4 · The vocabulary
#
# Each distinct token gets an **id**. The seven special tokens come first. All other tokens
# follow in order of frequency. To count the words, the protocol uses all turns that belong to a
# pair (section 5) and all situations, in *all three* splits. Every word that occurs in them
# gets an id.

# %%
situations = {
    split: [tokenize(d.situation) for d in found] for split, found in dialogues.items()
}
counter, known = Counter(), Counter()
for split, part in corpus.splits.items():
    for first, last in zip(part.dialogue_offsets[:-1], part.dialogue_offsets[1:], strict=True):
        # The last turn belongs to no pair if it is a speaker turn: it has no response.
        answered = first + (last - first) // 2 * 2
        ids = part.tokens[part.turn_offsets[first] : part.turn_offsets[answered]]
        counter.update(vocabulary.decode(ids))
    for words in situations[split]:
        counter.update(words)
    if split == "train":
        known = Counter(counter)
counter.update(dict.fromkeys(EMOTIONS, 0))  # lesson 04 needs the vectors of all 32 labels
for special in SPECIALS:
    counter.pop(special, None)
words = [*SPECIALS, *sorted(counter, key=lambda word: (-counter[word], word))]
assert words == vocabulary.words
print(f"{len(words):,} words, the same as the library's:", " ".join(words[:16]), "...")

# %%
once = sum(count == 1 for count in counter.values())
test = corpus.splits["test"]
answers = vocabulary.decode(test.tokens[test.speaker == SYS])
unknown = sum(word not in known for word in answers)
print(f"{once / len(words):.0%} of the words occur once")
print(f"{unknown / len(answers):.2%} of the test answers' tokens do not occur in training")

# %% [markdown]
# > **Departure.** The paper counts 23,712 words in EmpatheticDialogues. It does not print its
# > rule, and no rule that we tried gives exactly this number. We use the rule of the public
# > baselines. With this rule, the vocabulary also contains words that occur only in the test
# > split. The model cannot learn anything about these words. If you set `vocab="train"`, they
# > become `<unk>`. The last line of the output above shows how often this happens in the test
# > answers. Every result states which rule was used.

# %%
counts = np.sort(corpus.counts[len(SPECIALS) :])[::-1]
share = np.cumsum(counts) / counts.sum()
rank = np.unique(np.geomspace(1, (counts > 0).sum(), 80).astype(int))
figure = go.Figure(go.Scatter(x=rank, y=share[rank - 1], mode="lines+markers"))
figure.update_xaxes(type="log", title="number of most frequent words")
figure.update_yaxes(tickformat=".0%", range=[0, 1.03], title="share of all tokens")
lessons.show(
    figure.update_layout(title="A few words make up most of the text", width=860, height=380),
    f"The ten most frequent words make up {share[9]:.0%} of all tokens, the hundred most "
    f"frequent {share[99]:.0%}. This is one reason why models tend to write generic answers. "
    "Lesson 06 shows what the paper does about it.",
)

# %% [markdown]
# ## 5 · Pairs
#
# A dialogue gives one training example at each listener turn. The paper writes
# $D = [u_1, \dots, u_n]$ for the earlier turns, the dialogue context, and
# $R = [r_1, \dots, r_m]$ for the response. A **pair** is one $(D, R)$. All pairs of a dialogue
# have the emotion label of the dialogue.

# %% [markdown]
# ### Exercise 1.1 · The pairs of a dialogue
#
# **Goal:** return all (context, response) pairs of a dialogue. A context is *one* list with the
# words of all earlier turns.
# **Difficulty:** ★ **Minutes:** 5
#
# <details><summary>Hint</summary>
#
# The listener has the turns with the indices 1, 3, 5, ...: `range(1, len(turns), 2)`. Make a
# new list for every context. Two pairs must not share one list.
#
# </details>


# %%
def dialogue_pairs(turns):
    """[(context, response), ...] of a dialogue; turns are lists of words, speaker first."""
    ### BEGIN SOLUTION
    pairs = []
    for i in range(1, len(turns), 2):
        context = [word for turn in turns[:i] for word in turn]
        pairs.append((context, turns[i]))
    return pairs
    ### END SOLUTION


# %%
checks.dialogue_pairs(dialogue_pairs)

# %% [markdown]
# The library copies no text. It stores all turns of a split one after the other in one array.
# Three positions in this array define the text of a pair: the beginning of the context, the end
# of the context (where the response begins), and the end of the response.

# %%
begin, middle, end, label, last_turn, dialogue = train.pairs.T
pair = 1
print_wrapped(
    "context:  ", " ".join(vocabulary.decode(train.tokens[begin[pair] : middle[pair]]))
)
print_wrapped("response: ", " ".join(vocabulary.decode(train.tokens[middle[pair] : end[pair]])))
first = dialogues["train"][0]
cut_turns = [tokenize(turn) for turn in first.turns]
for k in range(len(first.turns) // 2):
    context = [word for turn in cut_turns[: 2 * k + 1] for word in turn]
    assert vocabulary.decode(train.tokens[begin[k] : middle[k]]) == context
    assert vocabulary.decode(train.tokens[middle[k] : end[k]]) == cut_turns[2 * k + 1]
assert len(train.pairs) == sum(len(d.turns) // 2 for d in dialogues["train"])
print(f"\nThe first dialogue's pairs match its turns. There are {len(train.pairs):,} in all.")

# %% [markdown]
# > **Departure.** A script that reads the file row by row may store each dialogue only when the
# > *next* one begins. Then it never stores the last dialogue. The preprocessing scripts that
# > the public baselines share have this error. They lose the last dialogue of each split: their
# > arrays hold only 5,255 test pairs. We keep the last dialogue of every file. How many pairs
# > does this add here?

# %%
for split, found in dialogues.items():
    pairs, lost = len(corpus.splits[split].pairs), len(found[-1].turns) // 2
    print(f"{split:6} {pairs:6,} pairs, {pairs - lost:6,} without the last dialogue")

# %%
context_length, answer_length = middle - begin, end - middle
edges = np.arange(0, np.quantile(context_length, 0.995) + 4, 4)
bins = [f"{int(e)}-{int(e) + 3}" for e in edges[:-1]]
heights = {
    name: (np.histogram(lengths, edges)[0] / len(lengths)).tolist()
    for name, lengths in (("contexts", context_length), ("responses", answer_length))
}
lessons.show(
    lessons.bars(heights, bins, "Lengths of contexts and responses", "share of the pairs"),
    f"Lengths in tokens. The median context has {np.median(context_length):.0f} tokens and "
    f"the longest has {context_length.max()}. The median response has "
    f"{np.median(answer_length):.0f}. The lengths of contexts vary much more than those of "
    "responses, because each turn makes the context longer.",
)

# %% [markdown]
# ## 6 · The text that the model must not read
#
# The file contains more than the dialogue: it also contains the **situation**. The speaker
# wrote it *before* the conversation and *for* the label. A model that reads the situation knows
# in advance what the speaker will say. We can measure this. Take the words that a turn uses for
# the first time in its dialogue. How many of them occur in the situation of the same dialogue?
# How many occur in the situation of another dialogue with the same emotion? We do not count the
# 150 most frequent words.

# %%
common = set(vocabulary.words[: 150 + len(SPECIALS)])
groups, random = {}, np.random.default_rng(0)
for d, words in zip(dialogues["train"], situations["train"], strict=True):
    groups.setdefault(d.emotion, []).append(set(words) - common)
found = {"own situation": np.zeros((4, 2)), "another, same emotion": np.zeros((4, 2))}
for d, words in list(zip(dialogues["train"], situations["train"], strict=True))[:4000]:
    own = set(words) - common
    others = [other for other in groups[d.emotion] if other != own]
    other, before = others[random.integers(len(others))], common
    for t, turn in enumerate(d.turns[:4]):
        new = set(tokenize(turn)) - before
        before = before | new
        for name, situation in zip(found, (own, other), strict=True):
            found[name][t] += len(new & situation), len(new)

# %%
places = ["turn 1, speaker", "turn 2, listener", "turn 3, speaker", "turn 4, listener"]
shares = {name: (hits[:, 0] / hits[:, 1]).tolist() for name, hits in found.items()}
figure = lessons.bars(
    shares, places, "New words of a turn that occur in a situation", "share of the new words"
)
lessons.show(
    figure.update_yaxes(tickformat=".0%"),
    "Where blue is higher than orange, the situation reveals words of the dialogue in advance. "
    "This also concerns the listener's turns, which the model has to write.",
)

# %% [markdown]
# Does the situation reveal the label as well? We train a simple classifier (naive Bayes), which
# counts words and ignores their order. It is trained once on the first turn, once on all turns
# of the speaker, and once on the situation. The cell prints its accuracy and how often the text
# contains the label itself.

# %%
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.naive_bayes import ComplementNB
from sklearn.pipeline import make_pipeline

texts = {
    "first turn": lambda d: d.turns[0],
    "all speaker turns": lambda d: " ".join(d.turns[::2]),
    "situation": lambda d: d.situation,
}
held_out = [*dialogues["valid"], *dialogues["test"]]
accuracy, error = {}, {}
for name, text in texts.items():
    classifier = make_pipeline(TfidfVectorizer(min_df=2, sublinear_tf=True), ComplementNB())
    classifier.fit(
        [text(d) for d in dialogues["train"]], [d.emotion for d in dialogues["train"]]
    )
    p = classifier.score([text(d) for d in held_out], [d.emotion for d in held_out])
    accuracy[name], error[name] = p, 1.96 * (p * (1 - p) / len(held_out)) ** 0.5
    words_of = classifier[0].build_analyzer()
    named = np.mean([d.emotion in words_of(text(d)) for d in held_out])
    print(f"{name:18} {p:5.1%} ± {error[name]:.1%} right, {named:5.1%} contain the label")

# %%
bars = go.Bar(
    x=list(accuracy),
    y=list(accuracy.values()),
    error_y={"type": "data", "array": list(error.values())},
)
figure = go.Figure(bars).add_hline(y=1 / 32, line_dash="dot")
figure.update_yaxes(tickformat=".0%", rangemode="tozero")
lessons.show(
    figure.update_layout(title="Which text reveals the label?", width=860, height=380),
    f"Accuracy among 32 labels on {len(held_out):,} dialogues that were not used for training. "
    "The error bars are 95 % intervals. Where two of them overlap, there may be too few "
    "dialogues to tell the two texts apart. The dotted line is random guessing.",
)

# %% [markdown]
# On the **sample**, the situation does not reveal the label. We avoided label words when we
# invented the situations, and a few hundred dialogues are too few for the classifier to learn
# from other words. In the **real data**, the crowd workers wrote the situation for the label.
# There the situation predicts the label better than the other two texts. A classifier that
# counts the words of the situation comes close to the 43.41 % that the paper reports for CTSM,
# which reads the dialogue. Which of these two cases does your figure show?
#
# So the rule is: **the situation is never an input.** Remember this rule when you compare
# systems, because some of them read the situation. The same holds for the label. The label is
# used to train the model but not when the model answers. The tests of this laboratory change
# the label and require the same answer.
#
# ## 7 · Batches and masks
#
# A graphics card works with rectangular arrays, but dialogues have different lengths. So we
# **pad** the short ones, and we keep a **mask** that marks the real tokens. Each context begins
# with the token CLS. The model's output at this position represents the dialogue as a whole. If
# a context is too long, we drop its *beginning*.
#
# | | shape | content |
# |---|---|---|
# | `context` | B x L | ids of CLS and the words, then PAD (id 1) |
# | `speaker` | B x L | USR at tokens of the speaker, SYS at tokens of the listener |
# | mask | B x L | true at real tokens |
# | `target` | B x T | ids of the response, then EOS (end of the answer), then PAD |
# | `label` | B | index of the emotion |

# %% [markdown]
# ### Exercise 1.2 · A padded batch and its mask
#
# **Goal:** return ids and mask of some contexts. No row is longer than `max_length`, and CLS
# counts as part of the row.
# **Difficulty:** ★★ **Minutes:** 10
#
# <details><summary>Hint</summary>
#
# `tokens[-n:]` gives the last n tokens. Begin with `torch.full((B, L), PAD)` and a mask that is
# False everywhere. Then fill them row by row from the left.
#
# </details>


# %%
def padded_batch(contexts, max_length):
    """ids [B, L] (long) and mask [B, L] (bool) of contexts, which are lists of ids without CLS.

    Each row begins with CLS.
    """
    ### BEGIN SOLUTION
    rows = [[CLS, *tokens[-(max_length - 1) :]] for tokens in contexts]
    width = max(len(row) for row in rows)
    ids = torch.full((len(rows), width), PAD)
    mask = torch.zeros(len(rows), width, dtype=torch.bool)
    for i, row in enumerate(rows):
        ids[i, : len(row)] = torch.tensor(row)
        mask[i, : len(row)] = True
    return ids, mask
    ### END SOLUTION


# %%
checks.padded_batch(padded_batch)

# %% [markdown]
# The library does this without a loop. It makes a grid of positions and compares each position
# with the length of its row.

# %%
pairs = prepared.pairs["train"]
index = np.array([0, 1, 2, 3, 40, 41])
batch = pairs.collate(index)
length = pairs.context_length[index]
place = np.arange(length.max())
valid = place < length[:, None]  # B L: a column is compared with a row
ids = np.where(
    valid, train.tokens[np.where(valid, pairs.context_begin[index, None] + place, 0)], PAD
)
with_cls = torch.from_numpy(np.concatenate([np.full((len(ids), 1), CLS), ids], axis=1))
torch.testing.assert_close(with_cls.long(), batch.context)
print("context", list(batch.context.shape), "equals the library's.")
print("target ", list(batch.target.shape))
print_wrapped("a target: ", " ".join(vocabulary.decode(batch.target[0].tolist())))

# %%
kind = torch.full_like(batch.context, 0)
for value, state in enumerate((CLS, USR, SYS), start=1):
    kind[batch.speaker == state] = value
colors = ["#e9eaec", "#75797f", "#2a7de1", "#c45f0a"]
steps = [[(i + edge) / 4, color] for i, color in enumerate(colors) for edge in (0, 1)]
bar = {
    "tickvals": [0.375, 1.125, 1.875, 2.625],
    "ticktext": ["PAD", "CLS", "speaker", "listener"],
}
named = [[vocabulary.words[i] for i in row] for row in batch.context.tolist()]
picture = go.Heatmap(
    z=kind.numpy(), colorscale=steps, zmin=0, zmax=3, colorbar=bar, xgap=1, ygap=3,
    customdata=named, hovertemplate="%{customdata}<extra></extra>",
)  # fmt: skip
figure = go.Figure(picture).update_xaxes(title="position")
figure.update_yaxes(autorange="reversed", title="pair", dtick=1)
lessons.show(
    figure.update_layout(title="A batch", width=860, height=320),
    "Each row is a context. Contexts of the same dialogue begin with the same tokens, and each "
    "is two turns longer than the one before. The pale area is padding. It must not change any "
    "result.",
)

# %% [markdown]
# What happens if we forget a mask? We compute the mean rarity (IDF, lesson 02) of the words in
# the first context. We put this context into a batch with a short, a medium and a long context.
# PAD has the IDF 0.

# %%
idf = torch.from_numpy(corpus.idf)
order = np.argsort(pairs.context_length, kind="stable")
for other in (order[:1], order[len(order) // 2 :][:1], order[-1:]):
    both = pairs.collate(np.concatenate([index[:1], other]))
    mask = both.context != PAD
    values = idf[both.context]
    wrong = values.mean(dim=1)[0]
    right = (values * mask).sum(dim=1)[0] / mask.sum(dim=1)[0]
    beside = pairs.context_length[other[0]]
    print(f"beside {beside:3} tokens: without mask {wrong:.3f}, with mask {right:.3f}")

# %% [markdown]
# Without a mask, the features of a dialogue depend on the other dialogues in the batch. The
# program does not crash, and training continues, but the scores are slightly wrong. For this
# reason, each module of this laboratory has a test that adds padding and requires the same
# result.
#
# ## 8 · Which pairs share a batch
#
# Padding costs time. If we draw batches at random, one long dialogue adds padding to all the
# others in its batch. If we sort all pairs by length, there is hardly any padding, but the same
# pairs always share a batch and every epoch goes from short to long. **Length bucketing**
# avoids both problems. It has four steps: shuffle the pairs; divide them into pools of several
# batches; sort *within* each pool and cut it into batches; shuffle the order of the batches.

# %% [markdown]
# ### Exercise 1.3 · Length buckets
#
# **Goal:** return the batches of one epoch as index arrays. Follow the four steps above.
# **Difficulty:** ★★★ **Minutes:** 10
#
# <details><summary>Hint</summary>
#
# `random.permutation(n)` gives a shuffled `range(n)`.
# `part[np.argsort(lengths[part], kind="stable")]` sorts a pool by length. Collect the batches
# in a list. At the end, return them in the order of a second permutation.
#
# </details>


# %%
def length_buckets(lengths, batch_size, pool, random):
    """Index arrays of the batches of one epoch.

    lengths [n] is a numpy array; `pool` is the number of batches in a pool; `random` is a
    numpy Generator. The last batch of a pool may be smaller than `batch_size`.
    """
    ### BEGIN SOLUTION
    order, step, batches = random.permutation(len(lengths)), pool * batch_size, []
    for begin in range(0, len(order), step):
        part = order[begin : begin + step]
        part = part[np.argsort(lengths[part], kind="stable")]
        batches += [part[i : i + batch_size] for i in range(0, len(part), batch_size)]
    return [batches[i] for i in random.permutation(len(batches))]
    ### END SOLUTION


# %%
checks.length_buckets(length_buckets)

# %% [markdown]
# The library's `Shuffled` needs only one sort, first by pool and then by length. Its order
# depends only on the seed and the epoch. So an interrupted run continues with exactly the
# batches that it would have had without the interruption.

# %%
from ctsm_lib.batches import Shuffled

size, pool = 16, 8
batches = Shuffled(pairs, size, seed=0, pool=pool)
order = np.random.default_rng([0, 0, 0]).permutation(len(pairs))  # seed, epoch, purpose
keys = (
    pairs.target_length[order],
    pairs.context_length[order],
    np.arange(len(order)) // (size * pool),
)
order = order[np.lexsort(keys)]  # lexsort sorts by its last key first
slots = np.random.default_rng([0, 0, 1]).permutation(batches.per_epoch)
for i, slot in enumerate(slots):
    assert (batches[i] == order[slot * size : (slot + 1) * size]).all()
print(f"{batches.per_epoch:,} batches, the same as the library's")


# %%
def padding(indices):
    """The share of PAD among all context positions of some batches."""
    lengths = [pairs.context_length[i] + 1 for i in indices]
    return 1 - sum(one.sum() for one in lengths) / sum(one.max() * len(one) for one in lengths)


at_random = np.array_split(np.random.default_rng(0).permutation(len(pairs)), batches.per_epoch)
ways = {"at random": at_random}
for pool in (2, 8, 64):
    shuffled = Shuffled(pairs, size, seed=0, pool=pool)
    ways[f"pools of {pool}"] = [shuffled[i] for i in range(shuffled.per_epoch)]
ways["all sorted"] = list(pairs.in_order(size))
shares = [float(padding(indices)) for indices in ways.values()]
figure = lessons.bars(
    {"PAD": shares}, list(ways), f"Padding in batches of {size}", "share of all positions"
)
lessons.show(
    figure.update_yaxes(tickformat=".0%"),
    "A larger pool needs less padding, but it also makes the batches less random. The library "
    "uses pools of 64 batches in training. When it computes scores, the order does not matter, "
    "so it sorts all pairs.",
)

# %% [markdown]
# ## What you have now
#
# - You know the protocol from text to ids that all compared systems use, and you have counted
#   its weaknesses.
# - You can build the pairs of a dialogue. The library (`corpus`) stores them as slices of one
#   array, and the situation is never an input.
# - You can build batches with masks, little padding, and an order that can be reproduced. In
#   the library, this is `batches`.
#
# **Next:** so far, a word is only an id without meaning. Lesson 02 looks up the emotion that a
# word has by itself.
