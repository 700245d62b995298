"""One pass over the corpus that reads every dialogue once and keeps sums, never all occurrences.

Each dialogue is read whole, so that each of its words occurs exactly once. A model is trained on contexts that end with a
speaker's turn; here a last turn of the listener is read as well, else the words of last answers would be missing.
Legend of shapes: W words of the vocabulary, D dialogues, N occurrences, R read at once, L length, F = 32 + the width of
H_s (43) features of an occurrence: V_cos and, brought to length 1, H_s.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
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
PER_WORD, MIN_COUNT = (
    48,
    20,
)  # occurrences kept of a word (half from training), of words at least this frequent
PAIRS = 20_000


@dataclass(frozen=True)
class Plan:
    """Which occurrences are read, and which of them are kept; the same for every model.

    Attributes:
        tokens, speaker: [N] of all splits, one dialogue behind the other, the beginning of overlong ones left out.
        begin, length: [D] where a dialogue's tokens are, and how many.
        dialogue, place: [N] of each occurrence; its first word has place 1, after CLS.
        split, label: [D] index into `SPLITS` and `EMOTIONS`.
        kept: [K] sorted indices of occurrences.
        pairs: [P, 3] rows of `kept`: an occurrence, another of the same word, speaker and place, and any other of the
            same word; all in different dialogues.
        left_out: occurrences in the beginnings of overlong dialogues.
    """

    tokens: np.ndarray
    speaker: np.ndarray
    begin: np.ndarray
    length: np.ndarray
    dialogue: np.ndarray
    place: np.ndarray
    split: np.ndarray
    label: np.ndarray
    kept: np.ndarray
    pairs: np.ndarray
    left_out: int


@dataclass(frozen=True)
class Gathered:
    """What the pass leaves of all occurrences.

    Attributes:
        count, sums, squares: [W], [W, F] and [W, 2]: how often a word was read, the sum of its features, and the sum of
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
    parts: dict[str, list[np.ndarray]] = {
        name: [] for name in ("tokens", "speaker", "length", "split", "label")
    }
    left_out = 0
    for number, name in enumerate(SPLITS):
        split = corpus.splits[name]
        ends = split.turn_offsets[split.dialogue_offsets]
        keep = np.minimum(np.diff(ends), max_context - 1)
        left_out += int(np.diff(ends).sum() - keep.sum())
        inside = np.arange(ends[-1]) >= np.repeat(ends[1:] - keep, np.diff(ends))
        for key, array in (
            ("tokens", np.asarray(split.tokens)[inside]), ("speaker", split.speaker[inside]), ("length", keep),
            ("split", np.full(len(keep), number)), ("label", np.asarray(split.labels)),
        ):  # fmt: skip
            parts[key].append(array)
    whole = {key: np.concatenate(arrays).astype(np.int64) for key, arrays in parts.items()}
    begin = np.cumsum(whole["length"]) - whole["length"]
    dialogue = np.repeat(np.arange(len(begin)), whole["length"])
    place = np.arange(len(dialogue)) - begin[dialogue] + 1
    kept, pairs = _chosen(
        whole["tokens"], whole["speaker"], place, dialogue, whole["split"][dialogue] == 0, seed
    )
    return Plan(
        begin=begin,
        dialogue=dialogue,
        place=place,
        kept=kept,
        pairs=pairs,
        left_out=left_out,
        **whole,
    )


def _chosen(
    tokens: np.ndarray,
    speaker: np.ndarray,
    place: np.ndarray,
    dialogue: np.ndarray,
    training: np.ndarray,
    seed: int,
) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    counts = np.bincount(tokens, minlength=len(SPECIALS))
    counts[: len(SPECIALS)] = 0
    shuffled = random.permutation(np.flatnonzero(counts[tokens] >= MIN_COUNT))
    sample = shuffled[_rank(2 * tokens[shuffled] + training[shuffled]) < PER_WORD // 2]
    # Neighbours among the occurrences of one word, speaker and place, and neighbours among those of one word.
    cells = (tokens * 2 + (speaker == USR)) * (place.max(initial=0) + 1) + place
    first, twin = _neighbours(shuffled, cells[shuffled], dialogue)
    some = random.permutation(len(first))
    some = some[_rank(tokens[first[some]]) < 20][:PAIRS]  # else all pairs would be of "i" and "the"
    first, twin = first[some], twin[some]
    by_word = shuffled[np.argsort(tokens[shuffled], kind="stable")]
    start = np.searchsorted(tokens[by_word], tokens[first])
    other = by_word[start + random.integers(0, counts[tokens[first]])] if len(first) else first
    apart = dialogue[other] != dialogue[first]
    triples = np.stack([first, twin, other], axis=1)[apart]
    kept = np.unique(np.concatenate([sample, triples.ravel()]))
    return kept, np.searchsorted(kept, triples)


def _rank(groups: np.ndarray) -> np.ndarray:
    """How many earlier entries are of the same group, for each entry."""
    order = np.argsort(groups, kind="stable")
    starts = np.flatnonzero(np.diff(groups[order], prepend=-1))
    rank = np.empty(len(groups), dtype=np.int64)
    rank[order] = np.arange(len(groups)) - np.repeat(
        starts, np.diff(np.append(starts, len(groups)))
    )
    return rank


def _neighbours(
    chosen: np.ndarray, cells: np.ndarray, dialogue: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    order = chosen[np.argsort(cells, kind="stable")]
    ordered = np.sort(cells, kind="stable")
    same = (ordered[1:] == ordered[:-1]) & (dialogue[order[1:]] != dialogue[order[:-1]])
    return order[:-1][same], order[1:][same]


def read_states(model: CTSM, context: Tensor, speaker: Tensor) -> tuple[Tensor, Tensor]:
    """V_cos [R, L, 32] and H_s [R, L, 43] of contexts, without what the answer needs (knowledge, fusion, decoder).

    Args:
        context, speaker: [R, L] as in `Batch`.

    Raises:
        RunError: the model has no state embedding (`state=false`).

    Paper: Eq. (1), (3), (7) to (9).
    """
    emotion = model.emotion
    if emotion.inclination is None:
        raise RunError(
            "This run was trained with state=false: it has no state inclination to look at."
        )
    mask = context != PAD
    words = model.embed.look_up({"context": context, "speaker": speaker, "labels": model.labels})
    embedded = model.embed(words["context"], words["speaker"])
    vad, idf = model.vad[context], model.idf[context].unsqueeze(-1)
    embeddings, encoded = emotion(
        model.encoder(embedded, mask), embedded, words["labels"], vad, idf, mask
    )
    first = emotion.trait_width
    return embeddings[..., first : first + LABELS], encoded[..., first:]


def _blocks(laid: Plan) -> Iterator[np.ndarray]:
    """Dialogues of like length, as many as make `TOKENS`."""
    order = np.argsort(laid.length, kind="stable")
    order, start = order[laid.length[order] > 0], 0
    while start < len(order):
        stop = start + 1
        while stop < len(order) and (stop + 1 - start) * (laid.length[order[stop]] + 1) <= TOKENS:
            stop += 1
        yield order[start:stop]
        start = stop


@torch.no_grad()
def gather(
    model: CTSM,
    laid: Plan,
    words: int,
    mask: np.ndarray,
    device: str = "cpu",
    progress: bool = True,
) -> Gathered:
    """Read every dialogue once; several processes share out the reading, and all get all sums.

    Args:
        words: how many the vocabulary has.
        mask: [W] bool, the words that dialogues are summed over beside the sum over all.

    Raises:
        RunError: the model has no state embedding.
    """
    model.eval()
    width = LABELS + model.emotion.state_width
    count = torch.zeros(words, dtype=torch.float64)
    sums, squares = (torch.zeros(words, n, dtype=torch.float64) for n in (width, len(SPACES)))
    dialogue_sums = torch.zeros(2, len(laid.begin), width, dtype=torch.float64)
    dialogue_counts = torch.zeros(2, len(laid.begin), dtype=torch.float64)
    masks = (torch.arange(words) >= len(SPECIALS)), torch.from_numpy(np.asarray(mask))
    row_of = np.full(len(laid.tokens), -1)
    row_of[laid.kept] = np.arange(len(laid.kept))
    kept = torch.zeros(len(laid.kept), width)
    blocks = list(_blocks(laid))[parallel.share()]
    total_words = int(sum(laid.length[block].sum() for block in blocks))
    with tqdm(
        total=total_words, desc="reading", unit=" words", unit_scale=True, disable=not progress
    ) as bar:
        for block in blocks:
            begin, length = laid.begin[block], laid.length[block]
            wide = int(length.max())
            rows = [padded_rows(flat, begin, length, wide) for flat in (laid.tokens, laid.speaker)]
            context, speaker = (
                torch.from_numpy(np.insert(row, 0, CLS, axis=1)).to(device) for row in rows
            )
            inclination, state = (
                part[:, 1:].float().cpu() for part in read_states(model, context, speaker)
            )
            real = (
                torch.arange(wide) < torch.from_numpy(length)[:, None]
            )  # an <unk> or a typed special counts, too
            features = torch.cat(
                [inclination, torch.nn.functional.normalize(state, dim=-1)], dim=-1
            )[real].double()
            ids, where = (
                torch.from_numpy(rows[0])[real],
                torch.from_numpy(block)[:, None].expand_as(real)[real],
            )
            lengths = torch.stack(
                [(features[:, part] ** 2).sum(dim=1) for part in SPACES.values()], dim=1
            )
            for total, values in (
                (count, torch.ones(len(ids)).double()),
                (sums, features),
                (squares, lengths),
            ):
                total.index_add_(0, ids, values)
            for side, chosen in enumerate(masks):
                dialogue_sums[side].index_add_(0, where, features * chosen[ids, None])
                dialogue_counts[side].index_add_(0, where, chosen[ids].double())
            index = row_of[(begin[:, None] + np.arange(wide))[real.numpy()]]
            kept[torch.from_numpy(index[index >= 0])] = features[
                torch.from_numpy(index >= 0)
            ].float()
            bar.update(len(ids))
    arrays = (count, sums, squares, dialogue_sums, dialogue_counts, kept)
    return Gathered(*(parallel.all_sum(array).numpy() for array in arrays))
