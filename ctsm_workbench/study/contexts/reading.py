"""One pass over the corpus that reads every dialogue once and keeps sums, never all occurrences.

Each dialogue is read whole, so that each of its words occurs exactly once. A model is trained on
contexts that end with a speaker's turn; here a last turn of the listener is read as well, else the
words of last answers would be missing.
Shapes: W words of the vocabulary, D dialogues, N occurrences, K kept ones, P pairs, R dialogues
read at once, L length, F = 32 + 43 features of an occurrence: V_cos, and H_s scaled to length 1.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm import tqdm

from ctsm_lib.batches import context_batch, padded_rows
from ctsm_lib.corpus import CLS, EMOTIONS, PAD, SPECIALS, SPLITS, UNK, USR, Corpus
from ctsm_lib.errors import DataError, RunError
from ctsm_lib.knowledge import Provider
from ctsm_lib.model import CTSM
from ctsm_lib.parallel import all_sum, share
from ctsm_lib.runs import Run, clean_turn
from ctsm_workbench.study.intervals import Array, rounded

SPACES = {"V_cos": slice(0, len(EMOTIONS)), "H_s": slice(len(EMOTIONS), None)}
TOKENS = 8192  # read at once
MIN_COUNT = 20  # occurrences that a word must have for some of them to be kept
PER_WORD = 48  # occurrences kept of a word, half of them from training
PAIRS_PER_WORD = 20  # else all pairs would be of "i" and "the"
MAX_PAIRS = 20_000
# The contexts of the paper's Figure 1.
PAPER_CONTEXTS = (
    "Christmas is coming and I'm so excited to get my dream gift.",
    "I was too excited to shake my legs before bungee jumping.",
)


@dataclass(frozen=True)
class Plan:
    """The occurrences that are read, and those that are kept; the same for every model."""

    tokens: Array  # [N] of all splits, one dialogue after the other
    speaker: Array  # [N]
    dialogue: Array  # [N]
    place: Array  # [N] in the dialogue; its first word has place 1, after CLS
    begin: Array  # [D] index of the first token
    length: Array  # [D]
    split: Array  # [D] index into `SPLITS`
    left_out: int  # occurrences in the beginnings of overlong dialogues
    kept: Array  # [K] sorted indices of occurrences
    # [P, 3] rows of `kept`: an occurrence, another of the same word, speaker and place, and any
    # other of the same word; the latter two are in other dialogues than the first.
    pairs: Array


@dataclass(frozen=True)
class Collected:
    """Sums over all occurrences, and the features of the kept ones."""

    count: Array  # [W]
    sums: Array  # [W, F]
    squares: Array  # [W, 2] sums of squared lengths in either space
    dialogue_sums: Array  # [2, D, F] over all words, and over those of a mask
    dialogue_counts: Array  # [2, D]
    kept: Array  # [K, F] float32

    @property
    def means(self) -> Array:
        """[W, F]; zeros for a word that was not read."""
        return self.sums / np.maximum(self.count, 1)[:, None]


def plan(corpus: Corpus, max_context: int = 256) -> Plan:
    """Lay out all dialogues, without the beginning of overlong ones, and draw what is kept."""
    parts = []
    for number, split in enumerate(corpus.splits[name] for name in SPLITS):
        ends = split.turn_offsets[split.dialogue_offsets]
        whole = np.diff(ends)
        length = np.minimum(whole, max_context - 1)  # CLS takes one place
        inside = np.arange(ends[-1]) >= np.repeat(ends[1:] - length, whole)
        part = (np.asarray(split.tokens)[inside], split.speaker[inside])
        parts.append((*part, length, np.full(len(length), number)))
    arrays = (np.concatenate(array).astype(np.int64) for array in zip(*parts, strict=True))
    tokens, speaker, length, splits = arrays
    begin = np.cumsum(length) - length
    dialogue = np.repeat(np.arange(len(begin)), length)
    place = np.arange(len(tokens)) - begin[dialogue] + 1
    # Occurrences of one cell have the same word, speaker and place.
    cells = (tokens * 2 + (speaker == USR)) * (place.max(initial=0) + 1) + place
    kept, triples = _drawn(tokens, cells, dialogue, training=splits[dialogue] == 0)
    return Plan(
        tokens=tokens, speaker=speaker, dialogue=dialogue, place=place, begin=begin, length=length,
        split=splits, left_out=sum(len(s.tokens) for s in corpus.splits.values()) - len(tokens),
        kept=kept, pairs=np.searchsorted(kept, triples),
    )  # fmt: skip


def _drawn(tokens: Array, cells: Array, dialogue: Array, training: Array) -> tuple[Array, Array]:
    """Indices of kept occurrences [K], and pairs [P, 3] of them, from facts [N] of all."""
    random = np.random.default_rng(0)
    counts = np.bincount(tokens, minlength=len(SPECIALS))
    counts[: len(SPECIALS)] = 0
    shuffled = random.permutation(np.flatnonzero(counts[tokens] >= MIN_COUNT))
    sample = shuffled[_rank(2 * tokens[shuffled] + training[shuffled]) < PER_WORD // 2]
    # A twin is the next occurrence of the same cell, after the shuffle.
    order = shuffled[np.argsort(cells[shuffled], kind="stable")]
    pairs = np.stack([order[:-1], order[1:]], axis=1)
    same_cell = cells[pairs[:, 0]] == cells[pairs[:, 1]]
    pairs = pairs[same_cell & (dialogue[pairs[:, 0]] != dialogue[pairs[:, 1]])]
    pairs = pairs[random.permutation(len(pairs))]
    pairs = pairs[_rank(tokens[pairs[:, 0]]) < PAIRS_PER_WORD][:MAX_PAIRS]
    first = pairs[:, 0]
    by_word = shuffled[np.argsort(tokens[shuffled], kind="stable")]
    start = np.searchsorted(tokens[by_word], tokens[first])
    other = by_word[start + random.integers(0, counts[tokens[first]])]
    triples = np.column_stack([pairs, other])[dialogue[other] != dialogue[first]]
    return np.unique(np.concatenate([sample, triples.ravel()])), triples


def _rank(groups: Array) -> Array:
    """The number of earlier entries of the same group, for each entry."""
    order = np.argsort(groups, kind="stable")
    rank = np.arange(len(groups)) - np.searchsorted(groups[order], groups[order])
    return rank[np.argsort(order)]


def read_states(model: CTSM, context: Tensor, speaker: Tensor) -> tuple[Tensor, Tensor]:
    """V_cos [R, L, 32] and H_s [R, L, 43] by Eq. (1) to (9), without knowledge and fusion.

    `context` and `speaker` are [R, L] as in `Batch`. A `RunError`: the model has `state=false`.
    """
    mask = context != PAD
    words = model.embed.look_up({"context": context, "speaker": speaker, "labels": model.labels})
    embedded = model.embed(words["context"], words["speaker"])
    states = model.emotion(
        context=model.encoder(embedded, mask), embedded=embedded, labels=words["labels"],
        mask=mask, vad=model.vad[context], idf=model.idf[context].unsqueeze(-1),
    )  # fmt: skip
    if states.V_cos is None or states.H_s is None:
        raise RunError("This run was trained with state=false: it has no state inclination.")
    return states.V_cos, states.H_s


def _blocks(laid: Plan) -> Iterator[Array]:
    """Dialogues of similar length, as many as fit into `TOKENS`."""
    block: list[int] = []
    order = np.argsort(laid.length, kind="stable")
    for dialogue in order[laid.length[order] > 0]:
        if block and (len(block) + 1) * (laid.length[dialogue] + 1) > TOKENS:
            yield np.array(block)
            block = []
        block.append(dialogue)
    if block:
        yield np.array(block)


@torch.no_grad()
def collect_states(
    model: CTSM, laid: Plan, words: int, mask: Array, device: str = "cpu", progress: bool = True
) -> Collected:
    """Read every dialogue once; several processes share the reading, and all of them get all sums.

    `words` is the size of the vocabulary, `mask` [W] are the words of the second dialogue sum.
    """
    model.eval()
    width = len(EMOTIONS) + model.emotion.state_width
    sums = torch.zeros(words, width, dtype=torch.float64)
    squares = torch.zeros(words, len(SPACES), dtype=torch.float64)
    dialogue_sums = torch.zeros(2, len(laid.begin), width, dtype=torch.float64)
    kept = torch.zeros(len(laid.kept), width)
    masks = torch.from_numpy(np.stack([np.arange(words) >= len(SPECIALS), mask]))  # [2, W]
    row_of = np.full(len(laid.tokens), -1)
    row_of[laid.kept] = np.arange(len(laid.kept))
    blocks = list(_blocks(laid))[share()]
    for block in tqdm(blocks, desc="reading", unit="block", disable=not progress):
        begin = laid.begin[block]
        length = laid.length[block]
        column = np.arange(length.max())
        flat = (laid.tokens, laid.speaker)
        rows = (padded_rows(ids, begin, length, len(column)) for ids in flat)
        ids = (torch.from_numpy(np.insert(row, 0, CLS, axis=1)).to(device) for row in rows)
        inclination, state = (part[:, 1:].float().cpu() for part in read_states(model, *ids))
        real = column < length[:, None]  # not by PAD: <unk> and typed special words count as well
        features = torch.cat([inclination, F.normalize(state, dim=-1)], dim=-1)[real].double()
        index = (begin[:, None] + column)[real]
        word = torch.from_numpy(laid.tokens[index])
        where = torch.from_numpy(laid.dialogue[index])
        lengths = [(features[:, part] ** 2).sum(dim=1) for part in SPACES.values()]
        sums.index_add_(0, word, features)
        squares.index_add_(0, word, torch.stack(lengths, dim=1))
        dialogue_sums.index_add_(1, where, features * masks[:, word, None])
        row = torch.from_numpy(row_of[index])
        kept[row[row >= 0]] = features[row >= 0].float()
    counted = masks.numpy()[:, laid.tokens]  # [2, N]: is the occurrence in the sum?
    size = len(laid.begin)
    sums, squares, dialogue_sums, kept = map(all_sum, (sums, squares, dialogue_sums, kept))
    return Collected(
        count=np.bincount(laid.tokens, minlength=words).astype(np.float64), sums=sums.numpy(),
        squares=squares.numpy(), dialogue_sums=dialogue_sums.numpy(), kept=kept.numpy(),
        dialogue_counts=np.stack([np.bincount(laid.dialogue, own, size) for own in counted]),
    )  # fmt: skip


@torch.no_grad()
def word_in_contexts(
    run: Run, word: str = "excited", contexts: Sequence[str] = PAPER_CONTEXTS,
    provider: Provider | None = None, device: str = "cpu",
) -> dict:  # fmt: skip
    """A word's trait; in each context its state inclination and the emotions of the whole text.

    Contexts are one turn of a speaker each; every occurrence of the word in one is a row of the
    JSON data, with V_cos, H_s and the predicted emotions as `heard`, which alone commonsense
    changes. `trait` is None where the word is unrated. A `DataError`: the run does not know the
    word, or a context lacks it. Paper: Figure 1, Eq. (7).
    """
    word = word.strip().lower()
    model = run.ctsm()
    (index,) = run.vocabulary.encode([word])
    if index == UNK:
        words = f"The run's {len(run.vocabulary):,} words"
        raise DataError(f"{words} do not include {word!r}. Choose another --word.")
    turns = [clean_turn(text) for text in contexts]
    inferences = [{} for _ in turns] if provider is None else provider.infer(turns, progress=False)
    conversations = [[turn] for turn in turns]
    batch = context_batch(conversations, inferences, run.vocabulary, run.config.max_context)
    batch = batch.to(device)
    inclination, state = read_states(model, batch.context, batch.speaker)
    predicted = model.encode(batch).emotion_logits.float().softmax(dim=-1)
    rows = []
    for number, turn in enumerate(turns):
        places = (batch.context[number] == index).nonzero().flatten().tolist()
        if not places:
            raise DataError(f"The context {turn!r} does not have the word {word!r}.")
        for place in places:
            values = {"V_cos": inclination[number, place], "H_s": state[number, place]}
            values["heard"] = predicted[number]
            row = {"context": turn, "number": number, "place": place}
            rows.append(row | {key: rounded(own.tolist(), 5) for key, own in values.items()})
    vad = dict(zip(("valence", "arousal", "dominance"), model.vad[index].tolist(), strict=True))
    trait = rounded(vad, 3) if model.intensity[index] else None  # 0 for unrated words alone
    valence = rounded(model.vad[model.labels, 0].tolist(), 3)
    return {
        "description": run.about(device), "note": run.note, "word": word, "trait": trait,
        "emotions": list(EMOTIONS), "label_valence": valence,
        "knowledge": provider.name if provider else "none", "rows": rows,
    }  # fmt: skip
