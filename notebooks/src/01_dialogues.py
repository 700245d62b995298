# %% [markdown]
# # 01 · Read what people say when they feel something
#
# **What you will do.** Open the conversations that everything here is trained on, cut them into words, see which text gives the answer
# away, and pack dialogues of all lengths into batches.
#
# **What you will learn.** How EmpatheticDialogues was made; what a token, a vocabulary and a (context, response) pair are; why masks must be
# right; how to sort by length without teaching the model an order.
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
from ctsm_lib.corpus import CLS, CONTRACTIONS, EMOTIONS, PAD, SPECIALS, SPLITS, SYS, USR
from ctsm_workbench.course import checks, lessons

lessons.begin("dialogues")

# %% [markdown]
# The lit box is the way in: no number of the model is better than the tokens that it gets.

# %%
prepared = lessons.data()
corpus, vocabulary = prepared.corpus, prepared.corpus.vocabulary
train = corpus.splits["train"]
print(lessons.describe())

# %% [markdown]
# ## 1 · A file of conversations
#
# EmpatheticDialogues (Rashkin et al. 2019) was written by pairs of crowd workers. The **speaker** got one of 32 emotions, wrote down a **situation** of
# their own life in which they felt it, and then talked about it. The **listener** saw neither the emotion nor the situation, only what
# the speaker said. This is how the file looks:

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
# | column | what it is |
# |---|---|
# | `conv_id`, `utterance_idx` | the dialogue, and the turn in it, from 1. Odd turns are the speaker's |
# | `context` | the **emotion**; an unlucky name, since what models call context is what was said before |
# | `prompt` | the situation |
# | `utterance` | the turn. `_comma_` stands for a comma, because the file has no quotes |
#
# A reader that trusts a CSV library stumbles over lone quotes in this file; ours splits at commas and names every row that it has to leave out.


# %%
def tell(who, text):
    """Print a long text below itself, behind who says it."""
    print(textwrap.fill(text, 92, initial_indent=who, subsequent_indent=" " * len(who)))


dialogue = dialogues["train"][6]
print("rows left out:", len(corpus.problems), f"\n\nemotion:   {dialogue.emotion}")
tell("situation: ", dialogue.situation)
print()
for number, turn in enumerate(dialogue.turns, start=1):
    tell("speaker:  " if number % 2 else "listener: ", turn)

# %% [markdown]
# ## 2 · Thirty-two emotions
#
# The paper calls the label $\varepsilon$ and asks the model to find it out of the dialogue. Guessing is right once in 32 times. Which words tell
# the labels apart? For each word and label we compare how often the speaker says it under this label and in all dialogues.

# %%
turn_of = np.repeat(np.arange(len(train.turn_offsets) - 1), np.diff(train.turn_offsets))
dialogue_of = np.repeat(np.arange(len(train.labels)), np.diff(train.dialogue_offsets))[turn_of]
spoken = train.speaker == USR
V = len(vocabulary)
cells = train.labels[dialogue_of][spoken] * V + train.tokens[spoken]
said = np.bincount(cells, minlength=32 * V).reshape(32, V)  # how often, label by word
usual = said.sum(axis=0) / said.sum()
ratio = (said + 5 * usual) / (said.sum(axis=1, keepdims=True) + 5) / np.maximum(usual, 1e-12)
per_label = np.bincount(train.labels, minlength=32)
print(f"dialogues of a label: {per_label.min()} to {per_label.max()}")
print(f"words of the speakers: {said.sum():,}")


# %%
def telling(emotion: str = "lonely"):
    """Bars: the words that add most to the likelihood of what is said under a label."""
    row = EMOTIONS.index(emotion)
    best = np.argsort(-said[row] * np.log(np.maximum(ratio[row], 1e-12)))[:12]
    figure = lessons.bars(
        {"ratio": ratio[row][best].tolist()},
        [vocabulary.words[i] for i in best],
        f"{emotion}: times as frequent as in all dialogues",
    )
    return figure.add_hline(y=1, line_dash="dot")


lessons.show(
    telling(),
    "At the dotted line a word would say nothing about the label. "
    "Not all that tells is a word of feeling: people, places and little words do, too.",
)

# %% [markdown]
# Look through other labels. Which of them would *you* confuse?

# %%
lessons.play(telling, emotion=list(EMOTIONS))

# %%
typical = np.maximum(np.log(np.maximum(ratio, 1e-12)), 0)  # words that a label has too often
weights = typical * np.sqrt(said)
weights /= np.linalg.norm(weights, axis=1, keepdims=True)
alike = np.triu(weights @ weights.T, 1)
print("labels whose words are most alike:")
for place in np.argsort(-alike, axis=None)[:6]:
    a, b = np.unravel_index(place, alike.shape)
    print(f"  {EMOTIONS[a]:12} {EMOTIONS[b]:12} {alike[a, b]:.2f}")

# %% [markdown]
# Such neighbours are why an accuracy far below 100 % is no scandal here: a careful reader could not always say either which of two labels the
# speaker was given.
#
# ## 3 · From text to tokens
#
# The model reads **tokens**: words, punctuation, pieces such as "n't". All systems of the paper's Table 1 take the same steps, and so must we if
# scores are to be comparable: lower-case; write out 23 contractions; split into sentences; split into words.

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
# Without the third step "fine." would be a word of its own. The usual `nltk.word_tokenize` needs a model that is downloaded; the two classes here do
# not. The library's `tokenize` is the same:

# %%
from ctsm_lib.corpus import tokenize

for dialogue in dialogues["train"][:60]:
    for turn in dialogue.turns:
        assert cut(turn) == tokenize(turn)
print("The library cuts 60 dialogues as we do.")
for text in (
    "I don't know",
    "I haven't slept",
    "I can't sleep",
    "the rabbit's ears",
    "I don’t know",
):
    print(f"{text:20} {tokenize(text)}")

# %% [markdown]
# The protocol has its price, as the last lines show. "don't" is on the list, "haven't" is not, and so the same "not" becomes two
# words. "rabbit's" happens to end in "it's". And a typographer's apostrophe is not the one that is looked for. How much is that?

# %%
for word in ("not", "n't", "dont", "’"):
    count = corpus.counts[vocabulary.index[word]] if word in vocabulary else 0
    print(f"{word:5} {count:7,} times in the training turns")

# %% [markdown]
# > **No departure.** We keep these rules although they could be better: perplexity counts tokens, so whoever cuts differently is measured with another ruler.
#
# Cut a sentence of your own; unknown words are shown as what the model would read.


# %%
def tokens(text: str = "I can't believe it's my cat's birthday!"):
    """A small table: each token, its id, and how often training has it."""
    words = tokenize(text)
    ids = vocabulary.encode(words)
    columns = [
        words,
        ids,
        [vocabulary.words[i] for i in ids],
        [int(corpus.counts[i]) for i in ids],
    ]
    table = go.Table(
        header={"values": ["token", "id", "the model reads", "in training"], "height": 28},
        cells={"values": columns, "height": 26},
    )
    return go.Figure(table).update_layout(
        title="What a sentence becomes", width=860, height=220 + 26 * len(ids)
    )


lessons.show(
    tokens(), "An id below 7 is a special token; 0 is <unk>, a word that no dialogue had."
)

# %%
lessons.play(tokens, text=lessons.text("I can't believe it's my cat's birthday!"))

# %% [markdown]
# ## 4 · The vocabulary
#
# Each distinct token gets an **id**: first seven special ones, then all words, commonest first. The protocol counts the turns that belong to
# a pair, and the situations, of *all three* splits, and leaves nothing out.

# %%
situations = {
    split: [tokenize(d.situation) for d in found] for split, found in dialogues.items()
}
counter, known = Counter(), Counter()
for split, part in corpus.splits.items():
    for first, last in zip(part.dialogue_offsets[:-1], part.dialogue_offsets[1:], strict=True):
        # A last speaker turn that nobody answers belongs to no pair.
        answered = first + (last - first) // 2 * 2
        ids = part.tokens[part.turn_offsets[first] : part.turn_offsets[answered]]
        counter.update(vocabulary.decode(ids))
    for words in situations[split]:
        counter.update(words)
    if split == "train":
        known = Counter(counter)
counter.update(dict.fromkeys(EMOTIONS, 0))  # lesson 04 looks all 32 labels up
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
print(f"{unknown / len(answers):.2%} of the test answers' tokens were never seen before")

# %% [markdown]
# > **Departure.** The paper counts 23,712 words in EmpatheticDialogues; its rule is not printed, and no rule that we tried gives just this number.
# > We take the rule of the public baselines. It lets the vocabulary know words that only the test has, for which a model learns nothing. With `vocab="train"` the words
# > of the last line above become `<unk>`; results say which rule they were made with.

# %%
counts = np.sort(corpus.counts[len(SPECIALS) :])[::-1]
share = np.cumsum(counts) / counts.sum()
rank = np.unique(np.geomspace(1, (counts > 0).sum(), 80).astype(int))
figure = go.Figure(go.Scatter(x=rank, y=share[rank - 1], mode="lines+markers"))
figure.update_xaxes(type="log", title="the commonest ... words")
figure.update_yaxes(tickformat=".0%", range=[0, 1.03], title="share of all tokens")
lessons.show(
    figure.update_layout(title="A few words do most of the talking", width=860, height=380),
    f"The ten commonest words make up {share[9]:.0%} of what is said, "
    f"the hundred commonest {share[99]:.0%}. "
    "Hence models like to answer with them; lesson 06 works against that.",
)

# %% [markdown]
# ## 5 · Pairs
#
# A dialogue of $n$ turns gives a training example at each listener turn. The paper writes $D = [u_1, \dots, u_n]$ for what was said before and $R = [r_1, \dots, r_m]$ for the
# response; a **pair** is one $(D, R)$, and the emotion of the dialogue belongs to all of its pairs.

# %% [markdown]
# ### Exercise 1.1 · The pairs of a dialogue
#
# **Goal:** all (context, response) pairs of a dialogue. A context is *one* list with the words of all earlier turns. **Difficulty:** ★ **Minutes:** 5
#
# <details><summary>Hint</summary>
#
# The listener has the turns with index 1, 3, 5, ...: `range(1, len(turns), 2)`. Keep a list of the words said so far and copy what you need from it.
#
# </details>


# %%
def dialogue_pairs(turns):
    """[(context, response), ...] of a dialogue; turns are lists of words, the speaker's first."""
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
# The library copies nothing. All turns of a split lie one behind the other in one array, and a pair is three numbers: where its context begins, where
# it ends and the response begins, and where that ends.

# %%
begin, middle, end, label, last_turn, dialogue = train.pairs.T
pair = 1
tell("context:  ", " ".join(vocabulary.decode(train.tokens[begin[pair] : middle[pair]])))
tell("response: ", " ".join(vocabulary.decode(train.tokens[middle[pair] : end[pair]])))
first = dialogues["train"][0]
cut_turns = [tokenize(turn) for turn in first.turns]
for k in range(len(first.turns) // 2):
    context = [word for turn in cut_turns[: 2 * k + 1] for word in turn]
    assert vocabulary.decode(train.tokens[begin[k] : middle[k]]) == context
    assert vocabulary.decode(train.tokens[middle[k] : end[k]]) == cut_turns[2 * k + 1]
assert len(train.pairs) == sum(len(d.turns) // 2 for d in dialogues["train"])
print(f"\nThe first dialogue's pairs are those of its turns; {len(train.pairs):,} in all.")

# %% [markdown]
# > **Departure.** Reading row by row, it is tempting to store a dialogue when the *next* one begins. The scripts that the public baselines share do so and lose the last
# > dialogue of each split; their arrays therefore hold 5,255 test pairs. We keep it. How many pairs does that concern here?

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
    lessons.bars(heights, bins, "How long contexts and responses are", "share of the pairs"),
    f"In tokens. The median context has {np.median(context_length):.0f}, "
    f"the longest {context_length.max()}; the median response has "
    f"{np.median(answer_length):.0f}. Responses are alike in length, contexts are not: "
    "each turn makes them longer.",
)

# %% [markdown]
# ## 6 · What the model must not read
#
# The file offers more than the dialogue: the **situation**. It was written *before* the talk, *for* the label. A model that reads it knows what the speaker is
# going to say. We can measure that: of the words that a turn brings up for the first time, how many stand in the dialogue's own situation,
# and how many in the situation of another dialogue with the same emotion? The 150 commonest words do not count.

# %%
common = set(vocabulary.words[: 150 + len(SPECIALS)])
groups, random = {}, np.random.default_rng(0)
for d, words in zip(dialogues["train"], situations["train"], strict=True):
    groups.setdefault(d.emotion, []).append(set(words) - common)
found = {"own situation": np.zeros((4, 2)), "another, same emotion": np.zeros((4, 2))}
for d, words in list(zip(dialogues["train"], situations["train"], strict=True))[:4000]:
    own = set(words) - common
    strangers = [other for other in groups[d.emotion] if other != own]
    other, before = strangers[random.integers(len(strangers))], common
    for t, turn in enumerate(d.turns[:4]):
        new = set(tokenize(turn)) - before
        before = before | new
        for name, situation in zip(found, (own, other), strict=True):
            found[name][t] += len(new & situation), len(new)

# %%
places = ["turn 1, speaker", "turn 2, listener", "turn 3, speaker", "turn 4, listener"]
shares = {name: (hits[:, 0] / hits[:, 1]).tolist() for name, hits in found.items()}
figure = lessons.bars(
    shares, places, "New words of a turn that the situation already had", "share"
)
lessons.show(
    figure.update_yaxes(tickformat=".0%"),
    "Blue above orange is what the situation tells ahead of the talk. "
    "It concerns the listener's turns as well, which are what the model has to write.",
)

# %% [markdown]
# And the label? A plain classifier, which counts words and knows nothing of their order (naive Bayes), is trained once on what the speaker
# says and once on situations. Beside its accuracy stands how often the text simply names the label.

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
    print(f"{name:18} {p:5.1%} ± {error[name]:.1%} right, {named:5.1%} name the label")

# %%
bars = go.Bar(
    x=list(accuracy),
    y=list(accuracy.values()),
    error_y={"type": "data", "array": list(error.values())},
)
figure = go.Figure(bars).add_hline(y=1 / 32, line_dash="dot")
figure.update_yaxes(tickformat=".0%", rangemode="tozero")
lessons.show(
    figure.update_layout(title="Which text gives the label away?", width=860, height=380),
    f"Right labels of 32 in {len(held_out):,} dialogues that were not trained on; "
    "the whiskers are 95 % intervals. Where two of them overlap, "
    "so many dialogues cannot decide. The dotted line is guessing.",
)

# %% [markdown]
# The **sample** gives nothing away here: whoever invented its situations took care not to name the label, and its few hundred dialogues are too few to learn
# the rest from. The crowd workers of the **real data** wrote for the label: there the situation is the most telling of the three texts, and even a word counter that reads it comes
# close to the 43.41 % that the paper reports for CTSM from the dialogue. Which of the two do you see?
#
# So the rule is: **the situation is never an input.** Keep it in mind when you compare systems: some read it. The same goes for the label itself. It trains
# the model, and is not looked at when the model answers: the tests of this laboratory change it and ask for the same answer.
#
# ## 7 · Batches and masks
#
# A graphics card wants rectangles, and dialogues are ragged. So we **pad** the short ones, and keep a **mask** that says what is real. Before each
# context stands CLS, whose place the model uses for what concerns the dialogue as a whole. A context that is too long loses its *beginning*.
#
# | | shape | |
# |---|---|---|
# | `context` | B x L | ids of CLS and the words, then PAD (id 1) |
# | `speaker` | B x L | USR where the speaker talks, SYS where the listener does |
# | mask | B x L | true where a token stands |
# | `target` | B x T | ids of the response, then EOS (end of the answer), then PAD |
# | `label` | B | index of the emotion |

# %% [markdown]
# ### Exercise 1.2 · A padded batch and its mask
#
# **Goal:** ids and mask of some contexts. No row is longer than `max_length`, CLS included. **Difficulty:** ★★ **Minutes:** 10
#
# <details><summary>Hint</summary>
#
# `tokens[-n:]` are the last n tokens. Begin with `torch.full((B, L), PAD)` and a mask of False, and fill row by row from the left.
#
# </details>


# %%
def padded_batch(contexts, max_length):
    """ids [B, L] (torch.long) and mask [B, L] (torch.bool) of contexts, lists of ids without CLS."""
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
# The library does it without a loop: a grid of places, and the question which of them are below each row's length.

# %%
pairs = prepared.pairs["train"]
index = np.array([0, 1, 2, 3, 40, 41])
batch = pairs.collate(index)
length = pairs.context_length[index]
place = np.arange(length.max())
valid = place < length[:, None]  # B L: a column against a row
ids = np.where(
    valid, train.tokens[np.where(valid, pairs.context_begin[index, None] + place, 0)], PAD
)
with_cls = torch.from_numpy(np.concatenate([np.full((len(ids), 1), CLS), ids], axis=1))
torch.testing.assert_close(with_cls.long(), batch.context)
print(
    "context",
    list(batch.context.shape),
    "equals the library's; target",
    list(batch.target.shape),
)
tell("a target: ", " ".join(vocabulary.decode(batch.target[0].tolist())))

# %%
kind = torch.full_like(batch.context, 0)
for value, state in enumerate((CLS, USR, SYS), start=1):
    kind[batch.speaker == state] = value
colors = ["#e9eaec", "#75797f", "#2a7de1", "#c45f0a"]
steps = [[(i + side) / 4, color] for i, color in enumerate(colors) for side in (0, 1)]
bar = {
    "tickvals": [0.375, 1.125, 1.875, 2.625],
    "ticktext": ["PAD", "CLS", "speaker", "listener"],
}
named = [[vocabulary.words[i] for i in row] for row in batch.context.tolist()]
picture = go.Heatmap(
    z=kind.numpy(), colorscale=steps, zmin=0, zmax=3, colorbar=bar, xgap=1, ygap=3,
    customdata=named, hovertemplate="%{customdata}<extra></extra>",
)  # fmt: skip
figure = go.Figure(picture).update_xaxes(title="place")
figure.update_yaxes(autorange="reversed", title="pair", dtick=1)
lessons.show(
    figure.update_layout(title="A batch", width=860, height=320),
    "Each row is a context. Pairs of the same dialogue begin alike and grow by two turns; "
    "the pale rest is padding that the model must not notice.",
)

# %% [markdown]
# What happens if a mask is forgotten? We take the mean rarity (IDF, lesson 02) of the first context's words, beside shorter and longer company. PAD has the IDF 0.

# %%
idf = torch.from_numpy(corpus.idf)
order = np.argsort(pairs.context_length, kind="stable")
for company in (order[:1], order[len(order) // 2 :][:1], order[-1:]):
    both = pairs.collate(np.concatenate([index[:1], company]))
    mask = both.context != PAD
    values = idf[both.context]
    wrong = values.mean(dim=1)[0]
    right = (values * mask).sum(dim=1)[0] / mask.sum(dim=1)[0]
    beside = pairs.context_length[company[0]]
    print(f"beside {beside:3} tokens: without mask {wrong:.3f}, with mask {right:.3f}")

# %% [markdown]
# Without a mask a dialogue's features depend on who happens to be in the batch. Nothing crashes, training goes on, and the scores are a little wrong. That is why each
# module of this laboratory has a test that adds padding and asks for the same result.
#
# ## 8 · Who sits beside whom
#
# Padding costs time. If batches are drawn by lot, a long dialogue makes everybody wait. If all pairs are sorted by length, there is hardly any padding; but then the same
# pairs always meet, and every epoch goes from short to long. The way out is **length bucketing**: shuffle; divide into pools of some batches; sort *within* each
# pool and cut it into batches; mix the order of the batches.

# %% [markdown]
# ### Exercise 1.3 · Length buckets
#
# **Goal:** one epoch of batches, as index arrays, made in the four steps above. **Difficulty:** ★★★ **Minutes:** 10
#
# <details><summary>Hint</summary>
#
# `random.permutation(n)` is a shuffled `range(n)`. `part[np.argsort(lengths[part], kind="stable")]` sorts a pool by length. Collect the
# batches in a list, and at the end return them in the order of another permutation.
#
# </details>


# %%
def length_buckets(lengths, batch_size, pool, random):
    """Index arrays from lengths [n] (numpy), the last may be smaller; `pool` counts batches; `random`: Generator."""
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
# The library's `Shuffled` does it in one sort, by pool first and length second. Its order depends on seed and epoch only, so that a run that was interrupted goes on
# with the very batches that it would have had.

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
order = order[np.lexsort(keys)]  # the last key counts first
seats = np.random.default_rng([0, 0, 1]).permutation(batches.per_epoch)
for i, seat in enumerate(seats):
    assert (batches[i] == order[seat * size : (seat + 1) * size]).all()
print(f"{batches.per_epoch:,} batches, the same as the library's")


# %%
def padding(indices):
    """Share of PAD among all context places of some batches."""
    lengths = [pairs.context_length[i] + 1 for i in indices]
    return 1 - sum(one.sum() for one in lengths) / sum(one.max() * len(one) for one in lengths)


by_lot = np.array_split(np.random.default_rng(0).permutation(len(pairs)), batches.per_epoch)
ways = {"drawn by lot": by_lot}
for pool in (2, 8, 64):
    shuffled = Shuffled(pairs, size, seed=0, pool=pool)
    ways[f"pools of {pool}"] = [shuffled[i] for i in range(shuffled.per_epoch)]
ways["all sorted"] = list(pairs.in_order(size))
shares = [float(padding(indices)) for indices in ways.values()]
figure = lessons.bars(
    {"PAD": shares}, list(ways), f"Padding in batches of {size}", "share of all places"
)
lessons.show(
    figure.update_yaxes(tickformat=".0%"),
    "The larger the pool, the less padding, and the less chance decides who meets whom; the "
    "library takes pools of 64 batches. For scores the order does not matter: all is sorted.",
)

# %% [markdown]
# ## What you have now
#
# - A protocol from text to ids that is the same for all systems, with its flaws counted.
# - Pairs as slices of one array: `corpus`. Nothing is stored twice, and the situation stays outside.
# - Batches with masks, little padding and an order that can be repeated: `batches`.
#
# **Next:** so far a word is a number without meaning. Lesson 02 looks up what it carries by itself.
