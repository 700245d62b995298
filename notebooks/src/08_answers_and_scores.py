# %% [markdown]
# # 08 · Let the model answer, and score its answers
#
# **What you will do.** You write greedy, beam and nucleus decoding step by step. You compute
# perplexity in two ways. You raise a diversity score without making the model any better.
#
# **What you will learn.** Why the model and its decoding method are two different things; why
# the perplexities of Table 1 are lower than those of other papers; what Distinct counts, and
# what it does not see.
#
# **What you need.** Lesson 06 for the decoder, and a trained model. If there is none, the first
# cell that needs it trains a small one. About 60 minutes.
#
# *Paper: Sec. 4.3, 5.1 and 5.5 (Table 4). Library: `decoding`, `scores`, `runs`.*

# %%
from functools import partial
from pathlib import Path

import numpy as np
import plotly.graph_objects as go
import torch
from ctsm_lib.batches import context_batch
from ctsm_lib.corpus import EMOTIONS, EOS, SOS
from ctsm_lib.decoding import NEVER, Decoding, answer_batch
from ctsm_lib.scores import distinct, emotion_scores, perplexities, response_tokens, score_pairs
from ctsm_lib.sources import PROJECT
from ctsm_workbench.course import checks, lessons
from ctsm_workbench.study.evaluation import answer_pairs, response_scores
from IPython.display import Markdown
from ipywidgets import FloatSlider, IntSlider

lessons.begin("answers")

# %%
run, data = lessons.trained_run(), lessons.data()
# The lesson scores the whole test split of the sample, or a part of the real one.
prepared = lessons.portion(data, test=300)
pairs, words = prepared.pairs["test"], run.vocabulary.words
print(lessons.describe())
print(f"run: {run.config.preset}, {run.iteration} iterations, {len(pairs)} test pairs")

# %% [markdown]
# ## 1 · A model gives probabilities, not sentences
#
# After a context $C$ and the words $y_1 \dots y_{t-1}$ of an unfinished answer, the model gives
# a probability to every word of the vocabulary:
#
# $$ P(y_t \mid y_{<t}, C), \qquad \log P(Y \mid C) = \sum_t \log P(y_t \mid y_{<t}, C) $$
#
# Training does not decide how to turn these probabilities into a sentence. That is the job of
# the decoding method. We first write a function that gives the log-probabilities of the next
# word. It is slow but simple: the decoder reads the whole unfinished answer again from the
# beginning.

# %%
model = run.model.eval()
batch = pairs.collate(np.array([3]))
with torch.no_grad():
    memory = model.encode(batch)
print("context:", " / ".join(prepared.corpus.splits["test"].context_texts(3)))


@torch.no_grad()
def next_log_prob(memory, said):
    """Log-probabilities [V] of the word after the ids `said`; special tokens are excluded."""
    cache = model.start(memory)
    for token in [SOS, *said]:
        log_prob, _, _ = model.step(cache, torch.tensor([token]))
    log_prob = log_prob[0].clone()
    log_prob[list(NEVER)] = float("-inf")
    return log_prob


first = next_log_prob(memory, []).exp()
print(
    "most likely first words:",
    [(words[i], round(float(first[i]), 3)) for i in first.topk(5).indices],
)

# %% [markdown]
# ## 2 · Greedy and beam
#
# **Greedy** decoding always takes the most likely word, until it reaches the end token. The
# paper computes its scores from greedy answers of at most 50 tokens.


# %%
def greedy(memory, longest):
    """Ids of the greedy answer, with EOS if it was reached."""
    said = []
    while len(said) < longest and (not said or said[-1] != EOS):
        said.append(int(next_log_prob(memory, said).argmax()))
    return said


def text(ids):
    """The words of an answer as one string."""
    return " ".join(words[i] for i in ids if i != EOS)


ours = greedy(memory, 20)
library = answer_batch(model, batch, Decoding(max_length=20))[0][0]
assert library.ids == [i for i in ours if i != EOS]
print("greedy:", text(ours))

# %% [markdown]
# The library does the same for many contexts at once. It stores keys and values, so that it
# does not have to read everything again, and it removes finished rows from the batch.
#
# The most likely *words* do not always form the most likely *sentence*: a good beginning may
# have only poor continuations. **Beam search** keeps the $k$ best beginnings. Every further
# word multiplies the probability by a number below 1, so long sentences have lower
# probabilities. Finished sentences are therefore compared by $\log P / \text{length}$.


# %%
def beam(memory, width, longest):
    """The answer with the highest mean log-probability that `width` beams find."""
    beams, finished = [(0.0, [])], []
    for length in range(1, longest + 1):
        candidates = []
        for score, said in beams:
            best = next_log_prob(memory, said).topk(2 * width)
            for value, word in zip(best.values.tolist(), best.indices.tolist(), strict=True):
                candidates.append((score + value, [*said, word]))
        candidates.sort(key=lambda candidate: -candidate[0])
        for score, said in candidates[:width]:
            if said[-1] == EOS or length == longest:
                finished.append((score / length, said))
        beams = [c for c in candidates if c[1][-1] != EOS][:width]
    return max(finished)[1]


ours = beam(memory, 3, 12)
library = answer_batch(model, batch, Decoding(method="beam", beams=3, max_length=12))[0][0]
assert library.ids == [i for i in ours if i != EOS]
print("beam 3:", text(ours))

# %% [markdown]
# ## 3 · Nucleus
#
# Greedy and beam search both look for the most likely answer. Do people choose the most likely
# words? We use the model to compare its own greedy answers with the real answers of the
# listeners.

# %%
N = min(len(pairs), 100)
speak = partial(answer_pairs, model, lessons.portion(prepared, test=N).pairs["test"])
greedy_answers, logits = speak(Decoding(max_length=30))
scored = score_pairs(model, pairs)
own = sum(a.log_prob for a in greedy_answers) / sum(len(a.alpha) for a in greedy_answers)
people = -scored["nll"].sum() / scored["tokens"].sum()
print("geometric mean of a word's probability:")
print(f"greedy answers {np.exp(own):.3f}, people's answers {np.exp(people):.4f}")

# %% [markdown]
# People use far less predictable words than a search does. We can therefore *draw* words at
# random instead. But a vocabulary of thousands of words has a long tail of words that make no
# sense here. Each of them is improbable, but together they are not. **Nucleus sampling**
# (top-$p$) keeps the smallest set of words whose probabilities add up to at least $p$, and
# draws from this set:
#
# $$ \sum_{w \in \text{nucleus}} P(w) \ge p, \qquad
# P'(w) = P(w) \, / \sum_{v \in \text{nucleus}} P(v) $$

# %% [markdown]
# ### Exercise 8.1 · The nucleus
#
# **Goal:** compute $P'$ [V] from probabilities [V], in the order of the vocabulary. It must be
# zero outside the nucleus and sum to 1. **Difficulty:** ★★ **Minutes:** 10
#
# <details><summary>Hint</summary>
#
# Sort in descending order. A word stays if the sum of the words *before* it is still below p.
# So the word at which the sum reaches p stays, and the first word always stays.
# `kept[order] = ...` puts sorted values back in their places.
#
# </details>


# %%
def nucleus(probabilities, top_p):
    """P' [V] from probabilities [V]."""
    ### BEGIN SOLUTION
    ordered, order = probabilities.sort(descending=True)
    before = ordered.cumsum(0) - ordered
    kept = torch.zeros_like(probabilities)
    kept[order] = torch.where(before < top_p, ordered, 0.0)
    return kept / kept.sum()
    ### END SOLUTION


# %%
checks.nucleus(nucleus)


# %% [markdown]
# With the nucleus, drawing an answer takes only a short loop. With the same random numbers it
# gives the same answer as the library:


# %%
def draw(memory, top_p, longest, random):
    """Draw an answer from the nucleus, word by word."""
    said = []
    while len(said) < longest and (not said or said[-1] != EOS):
        ordered, order = next_log_prob(memory, said).softmax(dim=0).sort(descending=True)
        kept = torch.where(ordered.cumsum(0) - ordered < top_p, ordered, 0.0)
        said.append(int(order[torch.multinomial(kept, 1, generator=random)]))
    return said


ours = draw(memory, 0.9, 20, torch.Generator().manual_seed(0))
how = Decoding(method="nucleus", top_p=0.9, max_length=20, seed=0)
assert answer_batch(model, batch, how)[0][0].ids == [i for i in ours if i != EOS]
for seed in range(3):
    print("nucleus:", text(draw(memory, 0.9, 20, torch.Generator().manual_seed(seed))))

# %%
said = greedy(memory, 2)
figure, sizes = go.Figure(), {}
for name, ids in (("first word", []), (f"after “{text(said)}”", said)):
    reached = next_log_prob(memory, ids).exp().sort(descending=True).values.cumsum(0)
    sizes[name] = int((reached < 0.9).sum()) + 1
    ranks = np.unique(np.geomspace(1, len(reached), 80).astype(int))
    figure.add_scatter(x=ranks, y=reached[ranks - 1].tolist(), name=name, mode="lines")
figure.add_hline(y=0.9, line_dash="dot", line_color="#75797f", annotation_text="p = 0.9")
figure.update_xaxes(
    type="log", title="number of most likely words", tickvals=[10**k for k in range(6)]
)
figure.update_yaxes(title="their total probability", range=[0, 1.02])
figure.update_layout(title="How large is the nucleus?", width=860, height=400)
listed = " and ".join(f"{size:,}" for size in sizes.values())
lessons.show(
    figure,
    f"The nucleus ends where a curve crosses the dotted line: at {listed} of {len(words):,} "
    "words. With the same p, a more certain model has a smaller nucleus.",
)

# %% [markdown]
# Now try different settings. A temperature below 1 makes the probabilities sharper. The slider
# `penalty` lowers the scores of very frequent words.


# %%
provider, note = run.provider(lessons.sources())
print(note or f"commonsense: {provider.name}")


def talk(said="I failed my driving test again.", method="greedy", temperature=1.0, top_p=0.9,
         beams=3, penalty=0.0, seed=0):  # fmt: skip
    """A figure of the answer, with the model's probability of each word."""
    how = Decoding(
        method=method,
        temperature=temperature,
        top_p=top_p,
        beams=beams,
        unigram_penalty=penalty,
        seed=seed,
        max_length=25,
    )
    known = provider.infer([said], progress=False)
    batch = context_batch([[said]], known, run.vocabulary, run.config.max_context)
    answers, memory = answer_batch(model, batch, how)
    ids = answers[0].ids
    chances = [float(next_log_prob(memory, ids[:t])[word].exp()) for t, word in enumerate(ids)]
    names = [f"{t} {words[i]}" for t, i in enumerate(ids, 1)]
    figure = lessons.bars({"probability": chances}, names, text(ids), "probability")
    return figure.update_layout(yaxis_range=[0, 1])


lessons.show(
    talk(),
    "Each word is the most likely one at its position, but its probability may still be low.",
)

# %%
lessons.play(
    talk,
    said=lessons.text("I failed my driving test again."),
    method=["greedy", "beam", "nucleus"],
    temperature=FloatSlider(1.0, min=0.2, max=2.0, step=0.1, continuous_update=False),
    top_p=FloatSlider(0.9, min=0.05, max=1.0, step=0.05, continuous_update=False),
    beams=IntSlider(3, min=1, max=8, continuous_update=False),
    penalty=FloatSlider(0.0, min=0.0, max=0.6, step=0.1, continuous_update=False),
    seed=IntSlider(0, min=0, max=20, continuous_update=False),
)

# %% [markdown]
# The **answer explorer** compares two decoding methods: choose the same run again under *Beside
# it*, and select another method.

# %%
from ctsm_workbench import explorers as widgets

widgets.answer_explorer(run)

# %% [markdown]
# ## 4 · Perplexity, twice
#
# Perplexity measures how surprised the model is by the real answers. It is exp of the mean
# negative log-probability of a word. There are two ways to take this mean. Let answer $i$ have
# $n_i$ words (with EOS), and let $m_i$ be its mean loss per word:
#
# $$ \mathrm{ppl}_{token} = \exp \frac{\sum_i n_i m_i}{\sum_i n_i} \qquad\qquad
# \mathrm{ppl}_{peer} = \exp \frac{1}{N} \sum_i m_i $$
#
# The first one is the usual perplexity: every word has the same weight. The second one is what
# the released code of the compared systems (Table 1) computes. That code tests with one answer
# in each batch and averages over batches. There, every *answer* has the same weight, so a word
# of a short answer counts more than a word of a long one.

# %% [markdown]
# ### Exercise 8.2 · Both perplexities
#
# **Goal:** compute both perplexities from the summed loss and the number of tokens of each
# answer. **Difficulty:** ★ **Minutes:** 5
#
# <details><summary>Hint</summary>
#
# `nll` is already a sum over the tokens of an answer: $n_i m_i$. Take exp last.
#
# </details>


# %%
def two_perplexities(nll, tokens):
    """(ppl_peer, ppl_token) from nll [n], summed over each answer's tokens, and tokens [n]."""
    ### BEGIN SOLUTION
    return np.exp((nll / tokens).mean()), np.exp(nll.sum() / tokens.sum())
    ### END SOLUTION


# %%
checks.two_perplexities(two_perplexities)

# %%
both = perplexities(scored["nll"], scored["tokens"])
n, m = scored["tokens"], scored["nll"] / scored["tokens"]
gap = np.log(both["ppl_token"]) - np.log(both["ppl_peer"])
covariance = ((n - n.mean()) * (m - m.mean())).mean() / n.mean()
np.testing.assert_allclose(gap, covariance, rtol=1e-6, atol=1e-9)
print({name: round(value, 2) for name, value in both.items()})
print(f"ln ppl_token - ln ppl_peer = cov(n, m) / mean(n) = {covariance:+.4f}")

# %% [markdown]
# The last line is not a coincidence. It is algebra: the gap between the two logarithms is the
# covariance of length and loss, divided by the mean length. If long answers have a higher loss
# per word than short ones, $\mathrm{ppl}_{peer}$ is the lower number. Short answers are often
# stock phrases ("oh no !"), and the end token, which is easy to predict, is a larger part of
# them. Let us look at the data:

# %%
edges = np.quantile(n, [0, 0.25, 0.5, 0.75, 1])
bins = np.clip(np.searchsorted(edges, n, side="left") - 1, 0, 3)
present = [b for b in range(4) if (bins == b).any()]
names = [f"{int(n[bins == b].min())} to {int(n[bins == b].max())}" for b in present]
figure = lessons.bars(
    {"all words of the answer": [m[bins == b].mean() for b in present]},
    names,
    "Loss per word, by the length of the real answer (quarters)",
    "nats",
)
figure.update_layout(xaxis_title="tokens, EOS included", yaxis_rangemode="tozero")
lessons.show(
    figure,
    "If the bars rise to the right, the mean over answers is lower than the mean over words.",
)

# %% [markdown]
# On the whole test split of EmpatheticDialogues, the difference is about 21 per cent for our
# runs of presets `paper` and `improved`. This is more than twice the difference between the
# first and the last line of Table 1.
# **Never compare a number of one kind with a number of the other.** This laboratory always
# prints both, under these names. Also, perplexities can only be compared if the vocabulary and
# the tokenization are the same.
#
# While the model computed these losses, it also predicted the emotions. So we get the accuracy
# of the emotions from the same results. This score does not need any generated answers either:

# %%
print(
    {
        name: round(value, 1)
        for name, value in emotion_scores(scored["logits"], scored["label"]).items()
    }
)

# %% [markdown]
# ## 5 · Distinct, and how to raise it
#
# Dist-$n$ is the number of *different* $n$-grams in all answers, divided by the number of all
# $n$-grams, times 100. It was invented to detect models that answer "i am sorry to hear that"
# to everybody. An n-gram never continues from one answer into the next.

# %% [markdown]
# ### Exercise 8.3 · Distinct n-grams
#
# **Goal:** compute Dist-n of many answers, in per cent. **Difficulty:** ★ **Minutes:** 5
#
# <details><summary>Hint</summary>
#
# A sentence of L words has L - n + 1 n-grams. A list cannot be an element of a set, but a tuple
# can. Use one set for all answers together.
#
# </details>


# %%
def dist(answers, n):
    """Dist-n of answers, each a list of words; 0 where there is no n-gram."""
    ### BEGIN SOLUTION
    ngrams = [tuple(words[i : i + n]) for words in answers for i in range(len(words) - n + 1)]
    return 100 * len(set(ngrams)) / len(ngrams) if ngrams else 0.0
    ### END SOLUTION


# %%
checks.dist(dist)

# %% [markdown]
# Now we try to raise the score. We take the same model, without any further training, with six
# decoding methods. We add the real answers, and two systems that nobody would want to use. One
# stops after four words, and the other puts random words of the vocabulary together.

# %%
MANNERS = {
    "greedy": Decoding(max_length=30),
    "beam 3": Decoding(method="beam", beams=3, max_length=30),
    "nucleus 0.9": Decoding(method="nucleus", max_length=30),
    "nucleus, temperature 0.7": Decoding(method="nucleus", temperature=0.7, max_length=30),
    "greedy, penalty 0.3": Decoding(unigram_penalty=0.3, max_length=30),
    "greedy, no pair twice": Decoding(block_ngrams=2, max_length=30),
}
spoken = {name: [text(answer.ids) for answer in speak(how)[0]] for name, how in MANNERS.items()}
split, random = data.corpus.splits["test"], np.random.default_rng(0)
spoken["people"] = [split.response_text(pair) for pair in range(N)]
spoken["greedy, cut after 4 words"] = [" ".join(t.split()[:4]) for t in spoken["greedy"]]
spoken["random words"] = [" ".join(random.choice(words[7:], 10)) for _ in range(N)]
rows = [
    "| answers | Dist-1 | Dist-2 | words | distinct answers % | looping % |",
    "|---|---|---|---|---|---|",
]
columns = ("dist1", "dist2", "mean_length", "distinct_responses", "looping")
results = {name: response_scores(texts) for name, texts in spoken.items()}
for name, scores in results.items():
    rows.append(
        f"| {name} | " + " | ".join(f"{scores[column]:.1f}" for column in columns) + " |"
    )
Markdown("\n".join(rows))

# %%
names = [name for name in results if name != "random words"]
figure = lessons.bars(
    {
        "Dist-1": [results[n]["dist1"] for n in names],
        "Dist-2": [results[n]["dist2"] for n in names],
    },
    names,
    f"One model, {len(MANNERS)} decoding methods; and others ({N} answers each)",
    "per cent",
)
lessons.show(
    figure.update_xaxes(automargin=True),
    f"The first {len(MANNERS)} pairs of bars come from one trained model. Random words are "
    "not shown: the table has their values.",
)

# %% [markdown]
# The model is the same in the first six rows; only the decoding changed. So a Dist value in a
# table means little without the decoding method, the length of the answers and the share of
# distinct answers. Dist also falls with the *number* of answers, because sooner or later words
# are used again:

# %%
everyone = [response_tokens(split.response_text(pair)) for pair in range(len(split.pairs))]
sizes = [
    s for s in (10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000) if s < 0.8 * len(everyone)
] + [len(everyone)]
figure = go.Figure()
for n_gram in (1, 2):
    values = [distinct(everyone[:size], n_gram) for size in sizes]
    figure.add_scatter(x=sizes, y=values, name=f"Dist-{n_gram}", mode="lines+markers")
figure.update_xaxes(type="log", title="number of answers", tickvals=sizes)
figure.update_yaxes(title="per cent", rangemode="tozero")
figure.update_layout(title="Dist for different numbers of answers", width=860, height=380)
lessons.show(
    figure,
    "Only the number of answers changes along the curves. So Dist of 100 answers must not be "
    "compared with Dist of 5,000.",
)

# %% [markdown]
# ## 6 · Read the answers
#
# No score replaces reading. First we look at three test dialogues and the answers of our run.
# Then we take the first context of the paper's Table 4. The paper's own model answered: *"That
# is awesome. I am sure it was a good thing to have a good time to go back to the 90s and the
# best of us."*

# %%
for pair in (3, N // 2, N - 1):
    heard = EMOTIONS[int(logits[pair].argmax())]
    label = EMOTIONS[pairs.label[pair]]
    last = split.context_texts(pair)[-1]
    print(f"{label} (predicted: {heard})   ... {last[-140:]}")
    for name in ("greedy", "beam 3", "nucleus 0.9", "greedy, penalty 0.3", "people"):
        print(f"    {name:<24} {spoken[name][pair]}")

# %%
nostalgic = (
    "Last week when Toys R Us closed, it really made me start thinking of the 90s and my "
    "childhood."
)
for name in ("greedy", "beam 3", "nucleus 0.9", "greedy, penalty 0.3"):
    answer = run.respond([[nostalgic]], provider, MANNERS[name])[0]
    print(f"{name:<24} {answer.text}")
print("predicted:", ", ".join(f"{e} {p:.2f}" for e, p in list(answer.emotions.items())[:4]))

# %% [markdown]
# A small model that was trained for a minute on a few hundred dialogues often produces broken
# or repetitive sentences. If you set `CTSM_RUN` to a fully trained run, the answers on this
# page are different. The results of this laboratory contain the most frequent answers of such a
# run on the whole test split:

# %%
answers = (PROJECT or Path("..")) / "figures" / "results" / "improved_answers.md"
if answers.is_file():
    commonest = answers.read_text(encoding="utf-8").split("## The commonest answers")[1]
    print("\n".join(commonest.strip().splitlines()[:10]))

# %% [markdown]
# These answers are fluent and kind, but the same sentence goes to many people, in some cases to
# hundreds. Accuracy and perplexity cannot show this. Dist and the share of distinct answers
# can.
#
# A table with two selected cases shows that something *can* happen. To learn how often it
# happens, we need random cases, and judges who do not know which system wrote which answer.
# This is the topic of lesson 11. `ctsm evaluate RUN --samples FILE` writes forty random
# answers.
#
# ## What you have now
#
# - Three decoding methods, each with the same result as the library's.
# - Two perplexities, and the one line of algebra that relates them.
# - Good reasons to be careful with Dist: it depends on the decoding method, the length and the
#   number of answers.
#
# **But:** does CTSM do better than a plain Transformer, and which of its parts help? In lesson
# 09 we remove parts and measure the result.
