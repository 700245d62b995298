"""One pass over the corpus that reads every dialogue once and keeps sums, never all occurrences.

Each dialogue is read whole, so that each of its words occurs exactly once. A model is trained on contexts that end with
a speaker's turn; here a last turn of the listener is read as well, else the words of last answers would be missing.
Legend of shapes: W words of the vocabulary, D dialogues, N occurrences, K kept ones, P pairs, R dialogues read at once,
L length, F = 32 + the width of H_s (43) features of an occurrence: V_cos and H_s, the latter scaled to length 1.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm import tqdm

from ctsm_lib import parallel
from ctsm_lib.batches import padded_rows
from ctsm_lib.corpus import CLS, PAD, SPECIALS, SPLITS, USR, Corpus
from ctsm_lib.errors import RunError
from ctsm_lib.model import CTSM
from ctsm_lib.model.emotion import LABELS

SPACES = {"V_cos": slice(0, LABELS), "H_s": slice(LABELS, None)}
TOKENS = 8192  # read at once
MIN_COUNT = 20  # occurrences that a word must have for some of them to be kept
PER_WORD = 48  # occurrences kept of a word, half of them from training
PAIRS_PER_WORD = 20  # else all pairs would be of "i" and "the"
MAX_PAIRS = 20_000


@dataclass(frozen=True)
class Plan:
    """The occurrences that are read, and those that are kept; the same for every model.

    Attributes:
        tokens, speaker: [N] of all splits, one dialogue after the other, without the beginning of overlong ones.
        begin, length: [D] the place of a dialogue's first token, and the number of its tokens.
        split: [D] index into `SPLITS`.
        dialogue, place: [N] of each occurrence; a dialogue's first word has place 1, after CLS.
        kept: [K] sorted indices of occurrences.
        pairs: [P, 3] rows of `kept`: an occurrence, another of the same word, speaker and place, and any other of the
            same word; the second and the third are in other dialogues than the first.
        left_out: the number of occurrences in the beginnings of overlong dialogues.
    """

    tokens: np.ndarray
    speaker: np.ndarray
    begin: np.ndarray
    length: np.ndarray
    split: np.ndarray
    dialogue: np.ndarray
    place: np.ndarray
    kept: np.ndarray
    pairs: np.ndarray
    left_out: int


@dataclass(frozen=True)
class Collected:
    """Sums over all occurrences, and the features of the kept ones.

    Attributes:
        count, sums, squares: [W], [W, F] and [W, 2]: occurrences of a word, the sum of their features, and the sum of
            their squared lengths in either space.
        dialogue_sums, dialogue_counts: [2, D, F] and [2, D]: over all words of a dialogue, and over those of a mask.
        kept: [K, F] float32 features of the plan's kept occurrences.
    """

    count: np.ndarray
    sums: np.ndarray
    squares: np.ndarray
    dialogue_sums: np.ndarray
    dialogue_counts: np.ndarray
    kept: np.ndarray

    @property
    def means(self) -> np.ndarray:
        """[W, F]; zeros for a word that was not read."""
        return self.sums / np.maximum(self.count, 1)[:, None]


def plan(corpus: Corpus, max_context: int = 256, seed: int = 0) -> Plan:
    """Lay out all dialogues, and draw the occurrences that are kept.

    Args:
        max_context: longer dialogues lose their beginning, as contexts do; CLS takes one place.
    """
    parts: dict[str, list[np.ndarray]] = {"tokens": [], "speaker": [], "length": [], "split": []}
    left_out = 0
    for number, name in enumerate(SPLITS):
        split = corpus.splits[name]
        ends = split.turn_offsets[split.dialogue_offsets]
        whole = np.diff(ends)
        length = np.minimum(whole, max_context - 1)
        inside = np.arange(ends[-1]) >= np.repeat(ends[1:] - length, whole)
        parts["tokens"].append(np.asarray(split.tokens)[inside])
        parts["speaker"].append(split.speaker[inside])
        parts["length"].append(length)
        parts["split"].append(np.full(len(length), number))
        left_out += int(whole.sum() - length.sum())
    flat = {name: np.concatenate(arrays).astype(np.int64) for name, arrays in parts.items()}
    begin = np.cumsum(flat["length"]) - flat["length"]
    flat["dialogue"] = np.repeat(np.arange(len(begin)), flat["length"])
    flat["place"] = np.arange(len(flat["tokens"])) - begin[flat["dialogue"]] + 1
    kept, pairs = _drawn(**flat, random=np.random.default_rng(seed))
    return Plan(**flat, begin=begin, kept=kept, pairs=pairs, left_out=left_out)


def _drawn(
    tokens: np.ndarray,
    speaker: np.ndarray,
    length: np.ndarray,
    split: np.ndarray,
    dialogue: np.ndarray,
    place: np.ndarray,
    random: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """Indices of kept occurrences [K], and pairs [P, 3] among them."""
    counts = np.bincount(tokens, minlength=len(SPECIALS))
    counts[: len(SPECIALS)] = 0
    shuffled = random.permutation(np.flatnonzero(counts[tokens] >= MIN_COUNT))
    training = split[dialogue[shuffled]] == 0
    sample = shuffled[_rank(2 * tokens[shuffled] + training) < PER_WORD // 2]
    # A twin is the next occurrence of the same word, speaker and place, in the order of the shuffle.
    cells = (tokens * 2 + (speaker == USR)) * (place.max(initial=0) + 1) + place
    first, twin = _neighbours(shuffled, cells[shuffled], dialogue)
    some = random.permutation(len(first))
    some = some[_rank(tokens[first[some]]) < PAIRS_PER_WORD][:MAX_PAIRS]
    first = first[some]
    other = first
    if len(first):
        by_word = shuffled[np.argsort(tokens[shuffled], kind="stable")]
        start = np.searchsorted(tokens[by_word], tokens[first])
        other = by_word[start + random.integers(0, counts[tokens[first]])]
    triples = np.stack([first, twin[some], other], axis=1)[dialogue[other] != dialogue[first]]
    kept = np.unique(np.concatenate([sample, triples.ravel()]))
    return kept, np.searchsorted(kept, triples)


def _rank(groups: np.ndarray) -> np.ndarray:
    """The number of earlier entries of the same group, for each entry."""
    order = np.argsort(groups, kind="stable")
    starts = np.flatnonzero(np.diff(groups[order], prepend=-1))
    sizes = np.diff(np.append(starts, len(groups)))
    rank = np.empty(len(groups), dtype=np.int64)
    rank[order] = np.arange(len(groups)) - np.repeat(starts, sizes)
    return rank


def _neighbours(
    chosen: np.ndarray, cells: np.ndarray, dialogue: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of occurrences that follow each other in a cell and are in different dialogues."""
    by_cell = np.argsort(cells, kind="stable")
    order = chosen[by_cell]
    same = np.diff(cells[by_cell]) == 0
    same &= dialogue[order[1:]] != dialogue[order[:-1]]
    return order[:-1][same], order[1:][same]


def read_states(model: CTSM, context: Tensor, speaker: Tensor) -> tuple[Tensor, Tensor]:
    """V_cos [R, L, 32] and H_s [R, L, 43], without the parts that the answer needs (knowledge, fusion, decoder).

    Args:
        context, speaker: [R, L] as in `Batch`.

    Raises:
        RunError: the model has no state embedding (`state=false`).

    Paper: Eq. (1), (3), (7) to (9).
    """
    emotion = model.emotion
    if emotion.inclination is None:
        raise RunError("This run was trained with state=false: it has no state inclination.")
    mask = context != PAD
    words = model.embed.look_up({"context": context, "speaker": speaker, "labels": model.labels})
    embedded = model.embed(words["context"], words["speaker"])
    encoded = model.encoder(embedded, mask)
    vad = model.vad[context]
    idf = model.idf[context].unsqueeze(-1)
    # [V_t ; V_s] and [H_t ; H_s]; V_s begins with V_cos.
    v_ts, h_ts = emotion(encoded, embedded, words["labels"], vad, idf, mask)
    first = emotion.trait_width
    return v_ts[..., first : first + LABELS], h_ts[..., first:]


def _blocks(laid: Plan) -> Iterator[np.ndarray]:
    """Dialogues of similar length, as many as fit into `TOKENS`."""
    block: list[int] = []
    for dialogue in np.argsort(laid.length, kind="stable"):
        width = laid.length[dialogue] + 1
        if block and (len(block) + 1) * width > TOKENS:
            yield np.array(block)
            block = []
        if laid.length[dialogue]:
            block.append(dialogue)
    if block:
        yield np.array(block)


@torch.no_grad()
def collect_states(
    model: CTSM,
    laid: Plan,
    words: int,
    mask: np.ndarray,
    device: str = "cpu",
    progress: bool = True,
) -> Collected:
    """Read every dialogue once; several processes share the reading, and all of them get all sums.

    Args:
        words: the size of the vocabulary.
        mask: [W] bool, the words of the second sum over dialogues.

    Raises:
        RunError: the model has no state embedding.
    """
    model.eval()
    width = LABELS + model.emotion.state_width
    dialogues = len(laid.begin)
    count = torch.zeros(words, dtype=torch.float64)
    sums = torch.zeros(words, width, dtype=torch.float64)
    squares = torch.zeros(words, len(SPACES), dtype=torch.float64)
    dialogue_sums = torch.zeros(2, dialogues, width, dtype=torch.float64)
    dialogue_counts = torch.zeros(2, dialogues, dtype=torch.float64)
    kept = torch.zeros(len(laid.kept), width)
    masks = (torch.arange(words) >= len(SPECIALS), torch.from_numpy(np.asarray(mask)))
    row_of = np.full(len(laid.tokens), -1)
    row_of[laid.kept] = np.arange(len(laid.kept))
    blocks = list(_blocks(laid))[parallel.share()]
    total = int(sum(laid.length[block].sum() for block in blocks))
    bar = tqdm(total=total, desc="reading", unit=" words", unit_scale=True, disable=not progress)
    for block in blocks:
        begin = laid.begin[block]
        length = laid.length[block]
        column = np.arange(length.max())
        rows = [
            padded_rows(flat, begin, length, len(column)) for flat in (laid.tokens, laid.speaker)
        ]
        context, speaker = (
            torch.from_numpy(np.insert(row, 0, CLS, axis=1)).to(device) for row in rows
        )
        inclination, state = (
            part[:, 1:].float().cpu() for part in read_states(model, context, speaker)
        )
        real = column < length[:, None]  # not by PAD: <unk> and typed special words count as well
        features = torch.cat([inclination, F.normalize(state, dim=-1)], dim=-1)[real].double()
        index = (begin[:, None] + column)[real]
        ids = torch.from_numpy(laid.tokens[index])
        where = torch.from_numpy(laid.dialogue[index])
        lengths = [(features[:, part] ** 2).sum(dim=1) for part in SPACES.values()]
        count.index_add_(0, ids, torch.ones(len(ids), dtype=torch.float64))
        sums.index_add_(0, ids, features)
        squares.index_add_(0, ids, torch.stack(lengths, dim=1))
        for number, chosen in enumerate(masks):
            dialogue_sums[number].index_add_(0, where, features * chosen[ids, None])
            dialogue_counts[number].index_add_(0, where, chosen[ids].double())
        row = torch.from_numpy(row_of[index])
        kept[row[row >= 0]] = features[row >= 0].float()
        bar.update(len(ids))
    bar.close()
    arrays = (count, sums, squares, dialogue_sums, dialogue_counts, kept)
    return Collected(*(parallel.all_sum(array).numpy() for array in arrays))
