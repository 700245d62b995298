"""The whole analysis of Section 5.4: every choice, the 32 labels one by one, and chance."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from ctsm_lib import polarity as paper
from ctsm_lib.corpus import EMOTIONS, SPECIALS
from ctsm_lib.polarity import NO_STATE, trait_polarity
from ctsm_lib.prepare import Prepared
from ctsm_workbench.study.intervals import percentiles, rounded
from ctsm_workbench.study.polarity import choices
from ctsm_workbench.study.polarity.chance import shuffled_shares
from ctsm_workbench.study.polarity.choices import Outcome, PolarityReport, Rule, Words
from ctsm_workbench.study.sentences import sentence

PAPER_SHARE = 48.75  # per cent of 23,712 words


def analyse(
    data: Words, labels: Sequence[str] = EMOTIONS, own: Rule | None = None, *,
    draws: int = 100, seed: int = 0,
) -> dict:  # fmt: skip
    """The paper's count, and the same count under every choice that the paper leaves open.

    `labels` are words that are reported one by one, `own` is a further choice. `draws` and `seed`
    are of permutations and bootstrap. The JSON data are choices (the paper's rule, rated words
    only, ...), sweep, permutation, labels, conclusion. Without a positive or without a negative
    word, a `DataError` is raised.

    Paper: Sec. 5.4. Departure: the paper gives one number; most of its words have no rating.
    """
    trait = trait_polarity(data.valence) * data.rated
    paper.both_groups(paper.group_weights(trait, data.lengths, unit=False))
    rules = choices.rules_for(data, own)
    outcomes, reports = choices.evaluate(data, rules, np.random.default_rng(seed))
    rows: dict[bool, list[dict]] = {False: [], True: []}  # is it part of the sweep?
    for rule, report in zip(rules, reports, strict=True):
        rows[rule.label.startswith("sweep")].append(asdict(rule) | asdict(report))
    index = {word: i for i, word in enumerate(data.words)}
    table = [_label(word, index[word], data, outcomes) for word in labels if word in index]
    has = data.lengths > 0
    result = {
        "words": len(data.words),
        "rated": int(data.rated.sum()),
        "with_vector": int(has.sum()),
        "rated_with_vector": int((data.rated & has).sum()),
        "paper_share": PAPER_SHARE,
        "choices": rows[False],
        "sweep": rows[True],
        "permutation": _permutations(data, reports, draws, seed),
        "labels": table,
        "labels_differ": [row["word"] for row in table if row["differ"]],
        "labels_missing": [word for word in labels if word not in index],
    }
    return result | {"labels_note": _labels_note(table), "conclusion": _conclusion(result)}


def analyse_prepared(
    prepared: Prepared, neutral: str = "standard", own: Rule | None = None, draws: int = 100,
    ids: np.ndarray | None = None,
) -> dict:  # fmt: skip
    """`analyse` for prepared data, with the description of data, vectors and lexicon.

    `neutral` is the rating of unrated words, a key of `lexicon.NEUTRAL_VAD`; all are negative.
    `ids` [n] are the words; by default the whole vocabulary, without special tokens.
    """
    corpus = prepared.corpus
    vectors = prepared.vectors
    words = corpus.vocabulary.words
    ids = np.arange(len(SPECIALS), len(words)) if ids is None else ids
    vad, rated = (array[ids] for array in prepared.lexicon.table(corpus.vocabulary, neutral))
    data = Words(
        words=[words[i] for i in ids], vad=vad, rated=rated, vectors=vectors.matrix[ids],
        kind=vectors.kind[ids], counts=corpus.counts[ids],
    )  # fmt: skip
    description = prepared.description | {"neutral_vad": neutral}
    return {"description": description} | analyse(data, own=own, draws=draws)


def _label(word: str, i: int, data: Words, outcomes: Sequence[Outcome]) -> dict:
    """A label's ratings, cosines, and polarities by the paper's rule and with rated words only."""
    names = ("valence", "arousal", "dominance", "cos_positive", "cos_negative")
    values = dict(zip(names, (*data.vad[i], *outcomes[0].cosines[i]), strict=True))
    row: dict[str, Any] = {"word": word, "rated": bool(data.rated[i])}
    row |= {"trait": int(outcomes[0].trait[i])} | rounded(values, 6)
    for name, (trait, state, _) in zip(("", "_rated_only"), outcomes, strict=True):
        known = state[i] != NO_STATE
        row[f"state{name}"] = int(state[i]) if known else None
        row[f"differ{name}"] = bool(state[i] != trait[i]) if known else None
    return row


def _permutations(data: Words, reports: Sequence[PolarityReport], draws: int, seed: int) -> dict:
    """Shares that differ when traits are shuffled among all words or among the rated ones."""
    has = data.lengths > 0
    everything = np.ones_like(has)
    trait = trait_polarity(data.valence) * data.rated
    result: dict = {"draws": draws, "seed": seed}
    for name, used, free, observed in (
        ("all words", has, everything, reports[0].share),
        ("all words, only ratings shuffled", has, data.rated, reports[0].share),
        ("rated words", has & data.rated, everything, reports[1].share),
    ):
        if observed is not None and draws:
            vectors = data.vectors[used]
            shares = shuffled_shares(vectors, trait[used], free[used], draws, seed=seed)
            row = {"mean": shares.mean(), "observed": observed}
            row["low"], row["high"] = percentiles(shares)
            row["p"] = (1 + (shares <= observed + 1e-4).sum()) / (1 + draws)
            result[name] = rounded(row)
    return result


def _labels_note(table: Sequence[dict]) -> str:
    named = {}
    for key in ("differ", "differ_rated_only"):
        words = [row["word"] for row in table if row[key]]
        named[key] = f"{len(words)}: {', '.join(words)}" if words else "0"
    return sentence("polarity", "labels", count=len(table), **named)


def _conclusion(result: dict) -> str:
    own, rated = result["choices"][:2]
    chance = result["permutation"].get("rated words")
    unrated = 100 - 100 * result["rated_with_vector"] / result["with_vector"]
    start = sentence("polarity", "paper", paper=own, paper_share=PAPER_SHARE, unrated=unrated)
    if chance is None:
        return f"{start} {sentence('polarity', 'no_rated')}"
    fewer = "fewer" if chance["p"] < 0.05 else "no fewer"
    return f"{start} {sentence('polarity', 'rated', rated=rated, chance=chance, fewer=fewer)}"
