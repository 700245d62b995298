# %% [markdown]
# # 08 · Let the model answer, and score its answers
#
# **What you will do.** Write greedy, beam and nucleus decoding in the open, compute perplexity in two ways, and raise a diversity score
# without making the model any better.
#
# **What you will learn.** That a model is one thing and a way of speaking another; why the perplexities of Table 1 are lower than those of
# other papers; what Distinct counts, and what it does not see.
#
# **What you need.** Lesson 06 for the decoder. A trained model: the first cell that needs it trains a small one if there is none.
# About 60 minutes.
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
from ctsm_lib.decoding import NEVER, Decoding, answer_batch, answer_pairs
from ctsm_lib.scores import (
    distinct,
    emotion_scores,
    perplexities,
    response_scores,
    response_tokens,
    score_pairs,
)
from ctsm_lib.sources import PROJECT
from ctsm_workbench.course import checks, lessons
from IPython.display import Markdown
from ipywidgets import FloatSlider, IntSlider

lessons.begin("answers")

# %%
run, data = lessons.trained_run(), lessons.data()
prepared = lessons.portion(
    data, test=300
)  # scored here: all of the sample, a part of real data
pairs, words = prepared.pairs["test"], run.vocabulary.words
print(lessons.describe())
print(f"run: {run.config.preset}, {run.iteration} iterations, {len(pairs)} test pairs")

# %% [markdown]
# ## 1 · A model gives probabilities, not sentences
#
# After a context $C$ and the words $y_1 \dots y_{t-1}$ of an unfinished answer, the model has a probability for every word of the vocabulary:
#
# $$ P(y_t \mid y_{<t}, C), \qquad \log P(Y \mid C) = \sum_t \log P(y_t \mid y_{<t}, C) $$
#
# How to get from there to a sentence is a decision that training has no part in. We write one function that gives the next word's
# log-probabilities, slowly and plainly: the decoder reads everything said so far from the beginning.

# %%
model = run.model.eval()
batch = pairs.collate(np.array([3]))
with torch.no_grad():
    memory = model.encode(batch)
print("context:", " / ".join(prepared.corpus.splits["test"].context_texts(3)))


@torch.no_grad()
def next_log_prob(memory, said):
    """Log-probabilities [V] of the word after the ids `said`; special tokens cannot be said."""
    cache = model.start(memory)
    for token in [SOS, *said]:
        log_prob, _, _ = model.step(cache, torch.tensor([token]))
    log_prob = log_prob[0].clone()
    log_prob[list(NEVER)] = float("-inf")
    return log_prob


first = next_log_prob(memory, []).exp()
print(
    "likeliest first words:",
    [(words[i], round(float(first[i]), 3)) for i in first.topk(5).indices],
)

# %% [markdown]
# ## 2 · Greedy and beam
#
# **Greedy**: always the likeliest word, until the end token comes. The scores of the paper are of greedy answers of at most 50 tokens.


# %%
def greedy(memory, longest):
    """Ids of the greedy answer, EOS included where it was reached."""
    said = []
    while len(said) < longest and (not said or said[-1] != EOS):
        said.append(int(next_log_prob(memory, said).argmax()))
    return said


def text(ids):
    """Words of an answer."""
    return " ".join(words[i] for i in ids if i != EOS)


ours = greedy(memory, 20)
library = answer_batch(model, batch, Decoding(max_length=20))[0][0]
assert library.ids == [i for i in ours if i != EOS]
print("greedy:", text(ours))

# %% [markdown]
# The library does the same for many contexts at once, remembers keys and values instead of reading everything again, and lets finished
# rows leave the batch.
#
# The likeliest *words* need not make the likeliest *sentence*: a good beginning may lead nowhere. **Beam search** keeps the $k$ best
# beginnings. Long sentences have lower probabilities, since every word multiplies by something below 1; so finished ones are compared by
# $\log P / \text{length}$.


# %%
def beam(memory, width, longest):
    """The answer with the best mean log-probability among those that `width` beams find."""
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
# Both searches look for what is likeliest. Do people say what is likeliest? We let the model judge: its own greedy answers, and the real
# ones of the listeners.

# %%
N = min(len(pairs), 100)
speak = partial(
    answer_pairs,
    model,
    lessons.portion(prepared, test=N).pairs["test"],
    log_unigram=model.log_unigram,
)
greedy_answers, logits = speak(Decoding(max_length=30))
scored = score_pairs(model, pairs)
own = sum(a.log_prob for a in greedy_answers) / sum(len(a.alpha) for a in greedy_answers)
people = -scored["nll"].sum() / scored["tokens"].sum()
print(
    f"mean probability of a word (geometric): greedy {np.exp(own):.3f}, people {np.exp(people):.4f}"
)

# %% [markdown]
# People are far more surprising than a search. So one may *draw* words instead. But a vocabulary of thousands has a long tail of words that
# make no sense here; each is improbable, together they are not. **Nucleus sampling** (top-$p$) keeps the smallest set of words whose
# probabilities add up to at least $p$, and draws among these:
#
# $$ \sum_{w \in \text{nucleus}} P(w) \ge p, \qquad P'(w) = P(w) \, / \sum_{v \in \text{nucleus}} P(v) $$

# %% [markdown]
# ### Exercise 8.1 · The nucleus
#
# **Goal:** from probabilities [V] to $P'$ [V], in the order of the vocabulary: zero outside the nucleus, and summing to 1.
# **Difficulty:** ★★ **Minutes:** 10
#
# <details><summary>Hint</summary>
#
# Sort descending. A word stays if the sum of the words *before* it is still below p: so the word that crosses p stays, and the first word
# always does. `kept[order] = ...` brings sorted values back to their places.
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
# Drawing an answer is then a short loop. With the same random numbers it gives what the library draws:


# %%
def draw(memory, top_p, longest, random):
    """An answer drawn word by word from the nucleus."""
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
    type="log", title="that many of the likeliest words", tickvals=[10**k for k in range(6)]
)
figure.update_yaxes(title="hold this much probability", range=[0, 1.02])
figure.update_layout(title="How large is the nucleus?", width=860, height=400)
lessons.show(
    figure,
    f"Where a curve crosses the dotted line, its nucleus ends: {' and '.join(f'{size:,}' for size in sizes.values())} of "
    f"{len(words):,} words. The surer the model, the smaller the nucleus; p stays the same.",
)

# %% [markdown]
# Play with it: temperature below 1 makes the model surer than it is, the slider `rare` takes words down that people say all the time.


# %%
provider, note = run.provider(lessons.sources())
print(note or f"commonsense: {provider.name}")


def talk(said="I failed my driving test again.", method="greedy", temperature=1.0, top_p=0.9,
         beams=3, rare=0.0, seed=0):  # fmt: skip
    """The answer, with the model's probability for each of its words."""
    how = Decoding(
        method=method,
        temperature=temperature,
        top_p=top_p,
        beams=beams,
        unigram_penalty=rare,
        seed=seed,
        max_length=25,
    )
    known = provider.infer([said], progress=False)
    batch = context_batch([[said]], known, run.vocabulary, run.config.max_context)
    answers, memory = answer_batch(model, batch, how, model.log_unigram)
    ids = answers[0].ids
    chances = [float(next_log_prob(memory, ids[:t])[word].exp()) for t, word in enumerate(ids)]
    names = [f"{t} {words[i]}" for t, i in enumerate(ids, 1)]
    figure = lessons.bars({"probability": chances}, names, text(ids), "probability")
    return figure.update_layout(yaxis_range=[0, 1])


lessons.show(
    talk(),
    "Each word of a greedy answer is the likeliest one at its place, but that may still be unlikely.",
)

# %%
lessons.play(
    talk,
    said=lessons.text("I failed my driving test again."),
    method=["greedy", "beam", "nucleus"],
    temperature=FloatSlider(1.0, min=0.2, max=2.0, step=0.1, continuous_update=False),
    top_p=FloatSlider(0.9, min=0.05, max=1.0, step=0.05, continuous_update=False),
    beams=IntSlider(3, min=1, max=8, continuous_update=False),
    rare=FloatSlider(0.0, min=0.0, max=0.6, step=0.1, continuous_update=False),
    seed=IntSlider(0, min=0, max=20, continuous_update=False),
)

# %% [markdown]
# The **answer explorer** holds two ways of speaking side by side: choose the run once more under *Beside it*, and another method.

# %%
from ctsm_workbench import explorers as widgets

widgets.answer_explorer(run)

# %% [markdown]
# ## 4 · Perplexity, twice
#
# Perplexity asks how surprised the model is by what people really answered: exp of the mean negative log-probability of a word. There are
# two means. Let answer $i$ have $n_i$ words (with EOS) and the mean loss $m_i$ per word:
#
# $$ \mathrm{ppl}_{token} = \exp \frac{\sum_i n_i m_i}{\sum_i n_i} \qquad\qquad \mathrm{ppl}_{peer} = \exp \frac{1}{N} \sum_i m_i $$
#
# The first is the usual one: all words weigh the same. The second comes out of the code of the systems in Table 1: they test with one answer
# in a batch, and average over batches. There all *answers* weigh the same, and each word of a short one more.

# %% [markdown]
# ### Exercise 8.2 · Both perplexities
#
# **Goal:** from the summed loss and the number of tokens of each answer to both. **Difficulty:** ★ **Minutes:** 5
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
# The last line is no coincidence but algebra: the gap is the covariance of length and loss, divided by the mean length. When long answers
# cost more per word than short ones, the peers' number is the lower one. Short answers are often stock phrases ("oh no !"), and a larger
# part of them is the end token, which is easy. Let us look:

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
    "Where the bars rise to the right, the mean over answers is lower than the mean over words.",
)

# %% [markdown]
# On the whole test split of EmpatheticDialogues the difference is about 21 per cent in both of our runs: more than twice all progress between the first and the last
# line of Table 1. **Never compare a number of one kind with one of the other.** Everything in this laboratory prints both, by these names.
# A perplexity is also only comparable on the same vocabulary and the same splitting into words.
#
# Beside it stands the accuracy of the emotion, which needs no answers either:

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
# Dist-$n$ is the number of *different* $n$-grams in all answers, divided by the number of all $n$-grams, times 100. It was invented against
# models that say "i am sorry to hear that" to everybody. N-grams must not reach from one answer into the next.

# %% [markdown]
# ### Exercise 8.3 · Distinct n-grams
#
# **Goal:** Dist-n of many answers, in per cent. **Difficulty:** ★ **Minutes:** 5
#
# <details><summary>Hint</summary>
#
# A sentence of L words has L - n + 1 n-grams. Lists cannot be in a set, tuples can. One set for all answers together.
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
# Now we game it. The same model, never trained any further, in six ways of speaking; the people; and two systems that nobody would want: one
# stops after four words, and one throws words of the vocabulary together.

# %%
MANNERS = {
    "greedy": Decoding(max_length=30),
    "beam 3": Decoding(method="beam", beams=3, max_length=30),
    "nucleus 0.9": Decoding(method="nucleus", max_length=30),
    "nucleus, temperature 0.7": Decoding(method="nucleus", temperature=0.7, max_length=30),
    "greedy, rare words 0.3": Decoding(unigram_penalty=0.3, max_length=30),
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
    f"One model, {len(MANNERS)} ways of speaking; and others ({N} answers each)",
    "per cent",
)
lessons.show(
    figure.update_xaxes(automargin=True),
    "One trained model covers this whole range by the way it speaks. Random words (not drawn) beat everybody.",
)

# %% [markdown]
# Nothing was learned between these rows. So a Dist in a table means little without the way of decoding, the length, and the share of distinct
# answers beside it. It also falls with the *number* of answers, since words repeat themselves sooner or later:

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
figure.update_layout(title="Dist of the same people's answers", width=860, height=380)
lessons.show(
    figure,
    "The people do not become duller; there are only more of them. Dist of 100 answers says nothing beside Dist of 5,000.",
)

# %% [markdown]
# ## 6 · Read the answers
#
# No score replaces reading. Three test dialogues with what our run says; then the first context of the paper's Table 4, where the paper's own
# model answered: *"That is awesome. I am sure it was a good thing to have a good time to go back to the 90s and the best of us."*

# %%
for pair in (3, N // 2, N - 1):
    heard = EMOTIONS[int(logits[pair].argmax())]
    print(
        f"{EMOTIONS[pairs.label[pair]]} (heard: {heard})   ... {split.context_texts(pair)[-1][-140:]}"
    )
    for name in ("greedy", "beam 3", "nucleus 0.9", "greedy, rare words 0.3", "people"):
        print(f"    {name:<24} {spoken[name][pair]}")

# %%
nostalgic = "Last week when Toys R Us closed, it really made me start thinking of the 90s and my childhood."
for name in ("greedy", "beam 3", "nucleus 0.9", "greedy, rare words 0.3"):
    answer = run.respond([[nostalgic]], provider, MANNERS[name])[0]
    print(f"{name:<24} {answer.text}")
print("heard:", ", ".join(f"{e} {p:.2f}" for e, p in list(answer.emotions.items())[:4]))

# %% [markdown]
# A model that saw a few hundred dialogues for a minute babbles and loops. With `CTSM_RUN` set to a fully trained run, this page reads
# differently. The commonest answers of such a run, over the whole test split, lie in the results of this laboratory:

# %%
answers = (PROJECT or Path("..")) / "figures" / "results" / "improved_answers.md"
if answers.is_file():
    commonest = answers.read_text(encoding="utf-8").split("## The commonest answers")[1]
    print("\n".join(commonest.strip().splitlines()[:10]))

# %% [markdown]
# These are fluent, kind, and said to hundreds of people. Accuracy and perplexity do not see that; Dist and the share of distinct answers do.
#
# A table with two chosen cases shows that something *can* happen. How often it does, only random cases tell, judged by people who do not know
# which system wrote what: lesson 11. `ctsm evaluate RUN --samples FILE` writes forty random answers.
#
# ## What you have now
#
# - Three ways of speaking, each equal to the library's.
# - Two perplexities, and the one line of algebra that separates them.
# - A healthy distrust of Dist: by decoding, by length, by number of answers.
#
# **But:** is what CTSM adds to a plain Transformer worth anything? Lesson 09 takes parts away and looks.
