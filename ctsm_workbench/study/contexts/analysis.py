"""Polarity from contexts, beside the vector rule, the lexicon and the dialogues' labels; and the same without training."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from ctsm_lib.corpus import EMOTIONS, SPECIALS
from ctsm_lib.model import CTSM
from ctsm_lib.polarity import group_cosines, group_sums, group_weights, lengths_of, trait_polarity
from ctsm_lib.prepare import Prepared
from ctsm_lib.runs import Run, require_same_words
from ctsm_workbench.study.contexts.dependence import dependence, explained, null_bands
from ctsm_workbench.study.contexts.reading import MIN_COUNT, SPACES, Gathered, Plan, gather, plan
from ctsm_workbench.study.polarity.standards import (
    against_lexicon,
    auc,
    compared,
    dialogue_words,
    estimate,
    label_sides,
    rank_correlation,
)

COMMON, LISTED = (
    200,
    15,
)  # words at least this frequent may be named most or least dependent, this many of them
SIDES = 3  # occurrences of a word that each side needs, to compare them within the word


def analyse_contexts(
    run: Run,
    prepared: Prepared,
    *,
    control: bool = True,
    leaning: int = 300,
    device: str = "cpu",
    draws: int = 200,
    seed: int = 0,
    progress: bool = True,
) -> dict:
    """Read every dialogue with a trained run, and with the same model before any training.

    Args:
        prepared: data with the run's vocabulary.
        control: also read with the untrained model.
        leaning: of how many words, the most frequent first, the mean inclination to all 32 emotions is told.

    Returns:
        What JSON holds: trained and untrained (each: explained, bands, varies, most, least, agreement, dialogues,
        within_words), words, conclusion.

    Raises:
        RunError: the run has another vocabulary, or no state embedding.

    Paper: Eq. (7) and (9). Departure: the paper looks at static vectors (Sec. 5.4); this looks at every occurrence.
    """
    require_same_words(run, prepared)
    known = _known(prepared)
    laid = plan(prepared.corpus, run.config.max_context, seed)
    models = {"trained": run.ctsm()}
    if control:
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            models["untrained"] = CTSM(run.config, prepared.tables(run.config)).to(device)
    result: dict = {
        "description": run.about(device, prepared.description),
        "occurrences": len(laid.tokens),
        "left_out": laid.left_out,
        "dialogues": len(laid.begin),
        "kept": len(laid.kept),
        "min_count": MIN_COUNT,
        "intervals": f"95 %, {draws} draws; what is resampled: dialogues, words, or pairs of occurrences",
    }
    ratios: dict[str, np.ndarray] = {}
    for name, model in models.items():
        gathered = gather(
            model, laid, len(prepared.corpus.vocabulary), known["rated"], device, progress
        )
        grades = _grades(gathered, known)
        bands = null_bands(laid, gathered, seed)
        depends = dependence(laid, gathered, bands)
        result[name] = {"explained": explained(laid, gathered, draws, seed), "bands": bands}
        result[name] |= _varying(prepared, gathered, depends, known)
        result[name]["agreement"] = _agreement(gathered, grades, known, draws, seed)
        result[name]["dialogues"] = _dialogues(laid, gathered, grades, known, draws, seed)
        result[name]["within_words"] = _within_words(laid, gathered, grades, known, draws, seed)
        if name == "trained":
            result["words"] = _columns(prepared, gathered, grades, depends, leaning)
        for space in SPACES:
            ratios[f"{name} {space}"] = depends[space]
    if control:
        result["dependence_trained_and_untrained"] = {
            space: rank_correlation(
                *_both(ratios[f"trained {space}"], ratios[f"untrained {space}"]), draws, seed
            )
            for space in SPACES
        }
    return result | {"conclusion": _conclusion(result)}


def _known(prepared: Prepared) -> dict[str, Any]:
    """What is known of words and dialogues without any model."""
    vad, rated = prepared.lexicon.table(prepared.corpus.vocabulary)
    valence, matrix = vad[:, 0].astype(np.float64), np.array(prepared.vectors.matrix)
    matrix[: len(SPECIALS)] = 0
    trait = trait_polarity(valence)
    counts, labels = dialogue_words(prepared.corpus)
    sides = label_sides(prepared.lexicon)
    vectors = _leave_one_out(matrix, lengths_of(matrix), trait, rated)
    return {
        "valence": valence, "rated": rated, "trait": trait, "vectors": vectors, "counts": counts, "sides": sides,
        "dialogue_side": sides[labels],
    }  # fmt: skip


def _leave_one_out(
    matrix: np.ndarray, lengths: np.ndarray, trait: np.ndarray, rated: np.ndarray
) -> np.ndarray:
    """[W] cosine to the positive minus cosine to the negative rated words, a word's own vote left out."""
    weights = group_weights(trait, lengths * rated, unit=False)
    cosines = group_cosines(matrix, lengths, weights, np.ones(2, dtype=bool))
    return cosines[:, 0] - cosines[:, 1]


def _grades(gathered: Gathered, known: dict) -> dict:
    """How positive a word is in its contexts, and the directions that give the same of any features.

    V_cos: mean inclination to the positive label words minus that to the negative ones. H_s, whose axes have no names:
    the rule of Section 5.4 on mean states, with the centroids of rated words.
    """
    means, sides = gathered.means, known["sides"]
    lean = (sides == 1) / max((sides == 1).sum(), 1) - (sides == 0) / max((sides == 0).sum(), 1)
    states = means[:, SPACES["H_s"]]
    lengths = lengths_of(states) * (gathered.count > 0)
    sums = group_sums(states, group_weights(known["trait"], lengths * known["rated"], unit=False))
    positive, negative = sums / np.maximum(lengths_of(sums), 1e-30)[:, None]
    words = {"V_cos": means[:, SPACES["V_cos"]] @ lean}
    words["H_s"] = _leave_one_out(states, lengths, known["trait"], known["rated"])
    return {"words": words, "directions": {"V_cos": lean, "H_s": positive - negative}}


def _varying(
    prepared: Prepared, gathered: Gathered, depends: dict[str, np.ndarray], known: dict
) -> dict:
    """How many words vary more and less than chance, and which most and least; and whether emotional words do."""
    spelled = np.array([word.isalpha() for word in prepared.corpus.vocabulary.words])
    result: dict = {"varies": {}, "most": {}, "least": {}, "valence_and_dependence": {}}
    for space in SPACES:
        ratio, z = depends[space], depends[f"{space}: z"]
        some = ~np.isnan(z)
        result["varies"][space] = {
            "words": int(some.sum()),
            "more": round(100 * float((z[some] > 1).mean()), 4) if some.any() else None,
            "less": round(100 * float((z[some] < -1).mean()), 4) if some.any() else None,
        }
        order = np.argsort(-np.where(np.isnan(ratio), -np.inf, ratio), kind="stable")
        order = order[(spelled & some & (gathered.count >= COMMON))[order]]
        for name, chosen in (("most", order[:LISTED]), ("least", order[::-1][:LISTED])):
            result[name][space] = [
                _row(prepared, gathered, i) | _values(depends, space, i) for i in chosen
            ]
        rated = some & known["rated"]
        strength = np.abs(known["valence"] - 0.5)
        result["valence_and_dependence"][space] = rank_correlation(strength[rated], ratio[rated])
    return result


def _row(prepared: Prepared, gathered: Gathered, i: int) -> dict:
    return {"word": prepared.corpus.vocabulary.words[i], "count": int(gathered.count[i])}


def _values(depends: dict[str, np.ndarray], space: str, i: int) -> dict:
    return {
        "ratio": round(float(depends[space][i]), 4),
        "z": round(float(depends[f"{space}: z"][i]), 2),
    }


def _columns(
    prepared: Prepared,
    gathered: Gathered,
    grades: dict,
    depends: dict[str, np.ndarray],
    leaning: int,
) -> dict:
    """Every frequent word, the most frequent first: polarity and dependence; the mean inclination of the first ones."""
    order = np.argsort(-gathered.count, kind="stable")
    chosen = [i for i in order if gathered.count[i] >= MIN_COUNT and i >= len(SPECIALS)]
    names = [prepared.corpus.vocabulary.words[i] for i in chosen]
    columns: dict = {"word": names, "count": [int(gathered.count[i]) for i in chosen]}
    for space in SPACES:
        grade = grades["words"][space]
        columns[space] = {
            "grade": [_number(grade[i]) for i in chosen],
            "polarity": [int(grade[i] > 0) for i in chosen],
            "dependence": [_number(depends[space][i]) for i in chosen],
        }
    mean = gathered.means[chosen[:leaning], SPACES["V_cos"]].round(3).tolist()
    return columns | {
        "emotions": list(EMOTIONS),
        "inclination": dict(zip(names, mean, strict=False)),
    }


def _number(value: float) -> float | None:
    return None if np.isnan(value) else round(float(value), 4)


def _both(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    some = ~np.isnan(a) & ~np.isnan(b)
    return a[some], b[some]


def _agreement(gathered: Gathered, grades: dict, known: dict, draws: int, seed: int) -> dict:
    """Polarity from contexts against the vector rule and the lexicon, for frequent words."""
    frequent = gathered.count >= MIN_COUNT
    frequent[: len(SPECIALS)] = False
    scores = {"vectors": known["vectors"]} | grades["words"]
    some = frequent & ~np.isnan(np.stack(list(scores.values()))).any(axis=0)
    rated = some & known["rated"]
    result: dict = {
        "lexicon": against_lexicon(scores, rated, known["trait"] == 1, draws, seed),
        "vectors": {"words": int(some.sum())},
    }
    for space in SPACES:
        result["lexicon"][space]["agree"] = _alike(
            grades["words"][space][rated] > 0, known["trait"][rated] == 1
        )
        alike = _alike(grades["words"][space][some] > 0, known["vectors"][some] > 0)
        rank = rank_correlation(grades["words"][space][some], known["vectors"][some], draws, seed)
        result["vectors"][space] = {"agree": alike, "rank_correlation": rank}
    result["lexicon"]["vectors"]["agree"] = _alike(
        known["vectors"][rated] > 0, known["trait"][rated] == 1
    )
    return result


def _alike(a: np.ndarray, b: np.ndarray) -> dict:
    """Per cent of cases in which two judgements agree, what their shares alone would give, and Cohen's kappa."""
    if not len(a):
        return {"share": None, "by_chance": None, "kappa": None}
    share = float((a == b).mean())
    chance = float(a.mean() * b.mean() + (1 - a.mean()) * (1 - b.mean()))
    kappa = (share - chance) / (1 - chance) if chance < 1 else 0.0
    return {
        "share": round(100 * share, 4),
        "by_chance": round(100 * chance, 4),
        "kappa": round(kappa, 4),
    }


def _dialogues(
    laid: Plan, gathered: Gathered, grades: dict, known: dict, draws: int, seed: int
) -> list[dict]:
    """AUC of a dialogue's mean grade for its label's side; dialogues are resampled, the same ones for every grade."""
    first, result = len(SPECIALS), []
    usable = ~np.isnan(known["vectors"][first:])
    for number, (name, mask) in enumerate(
        (("all words", usable), ("rated words", known["rated"][first:] & usable))
    ):
        counts = known["counts"][:, mask]
        size = np.maximum(np.asarray(counts.sum(axis=1)).ravel(), 1)
        static = {"vectors": known["vectors"]} | ({"lexicon": known["valence"]} if number else {})
        scores = {key: counts @ values[first:][mask] / size for key, values in static.items()}
        for space, direction in grades["directions"].items():
            total = gathered.dialogue_sums[number][:, SPACES[space]] @ direction
            scores[space] = total / np.maximum(gathered.dialogue_counts[number], 1)
        for group, inside in (("training", laid.split == 0), ("held out", laid.split > 0)):
            some = (
                inside
                & (known["dialogue_side"] >= 0)
                & (size > 0)
                & (gathered.dialogue_counts[number] > 0)
            )
            positive, n = known["dialogue_side"][some] == 1, int(some.sum())
            times = np.ones((1 + draws, n))
            times[1:] = (
                np.random.default_rng(seed).multinomial(n, np.full(n, 1 / max(n, 1)), size=draws)
                if n
                else 0
            )
            drawn = {
                k: auc(np.round(v[some], 12), times * positive, times * ~positive)
                for k, v in scores.items()
            }
            result.append({"words": name, "dialogues_of": group, "dialogues": n} | compared(drawn))
    return result


def _within_words(
    laid: Plan, gathered: Gathered, grades: dict, known: dict, draws: int, seed: int
) -> list[dict]:
    """Is the same word more positive in positive dialogues? Mean over words of the AUC between its own occurrences.

    0.5 where a word's state does not follow the dialogue. Words are resampled. This is what a static vector, the same in
    every dialogue, cannot do at all. `fitted` is the direction that tells the sides of training dialogues best, words
    apart: what a space knows of the dialogue, whether or not it lies along the polarity of words.
    """
    word, dialogue = laid.tokens[laid.kept], laid.dialogue[laid.kept]
    side, result, random = known["dialogue_side"][dialogue], [], np.random.default_rng(seed)
    residual = gathered.kept - gathered.means[word]
    learn = (laid.split[dialogue] == 0) & (side >= 0)
    directions = {space: (part, grades["directions"][space]) for space, part in SPACES.items()}
    for space, part in SPACES.items():
        directions[f"{space}, fitted"] = (
            part,
            _discriminant(residual[learn, part], side[learn] == 1),
        )
    for group, inside in (("training", laid.split == 0), ("held out", laid.split > 0)):
        some = np.flatnonzero(inside[dialogue] & (side >= 0))
        some = some[np.argsort(word[some], kind="stable")]
        groups = np.split(some, np.flatnonzero(np.diff(word[some])) + 1) if len(some) else []
        enough = [g for g in groups if SIDES <= (side[g] == 1).sum() <= len(g) - SIDES]
        row: dict = {"dialogues_of": group, "words": len(enough)}
        for space, (part, direction) in directions.items():
            grade = gathered.kept[:, part].astype(np.float64) @ direction
            values = np.array([_one_auc(grade[g], side[g] == 1) for g in enough])
            means = (
                [
                    values[random.integers(len(values), size=len(values))].mean()
                    for _ in range(draws)
                ]
                if enough
                else []
            )
            row[space] = estimate(np.array([values.mean() if enough else np.nan, *means]))
        result.append(row)
    return result


def _discriminant(features: np.ndarray, positive: np.ndarray) -> np.ndarray:
    """Fisher's linear discriminant [F] of [n, F]; zeros where a side is empty."""
    if positive.all() or not positive.any():
        return np.zeros(features.shape[1])
    means = [features[some].mean(axis=0, dtype=np.float64) for some in (positive, ~positive)]
    spread = np.cov(features.astype(np.float64), rowvar=False)
    ridge = 1e-6 * np.trace(spread) / len(spread) + 1e-12
    return np.linalg.solve(spread + ridge * np.eye(len(spread)), means[0] - means[1])


def _one_auc(scores: np.ndarray, positive: np.ndarray) -> float:
    return float(auc(np.round(scores, 9), positive[None], ~positive[None])[0])


def _conclusion(result: dict) -> str:
    """The answers in plain words, made of the numbers."""
    trained, other = result["trained"], result.get("untrained")
    source = trained["explained"]
    text = f"{result['occurrences']:,} occurrences in {result['dialogues']:,} dialogues."
    if source["V_cos"] is None:
        return f"{text} Too few words repeat to say what their variation comes from."
    text += (
        f" How a word's V_cos varies is to {source['V_cos']['explained']:.1f} % who speaks and the place: no other word"
        f" reaches it. Of H_s that explains {source['H_s']['explained']:.1f} % ({source['H_s']['low']:.1f} to"
        f" {source['H_s']['high']:.1f}); the rest comes from the other words."
    )
    lexicon = trained["agreement"]["lexicon"]
    if lexicon["vectors"]["value"] is not None:
        text += (
            f" The side of {lexicon['words']:,} frequent rated words is told by "
            + ", by ".join(
                f"{name} with an AUC of {lexicon[key]['value']:.3f}"
                for name, key in (
                    ("the vector rule", "vectors"),
                    ("mean V_cos", "V_cos"),
                    ("mean H_s", "H_s"),
                )
            )
        )
        text += "."
    held_out = _held_out(trained["within_words"])
    if (value := held_out["H_s"])["value"] is not None:
        verdict = "is" if value["low"] > 0.5 else "is not"
        text += f" The same word's H_s {verdict} more positive in positive dialogues that were held out (AUC {_told(value)}"
        text += f"; untrained {_told(_held_out(other['within_words'])['H_s'])})" if other else ")"
        text += f", its V_cos: {_told(held_out['V_cos'])}."
    for row in trained["dialogues"]:
        if (
            row["words"] == "rated words"
            and row["dialogues_of"] == "held out"
            and row["H_s"]["value"] is not None
        ):
            text += (
                f" The label's side of a dialogue that was held out is told by its rated words' H_s with an AUC of"
                f" {_told(row['H_s'])}, by their valence {row['lexicon']['value']:.3f}, by the vector rule"
                f" {row['vectors']['value']:.3f}, by V_cos {row['V_cos']['value']:.3f}."
            )
    return text


def _held_out(rows: list[dict]) -> dict:
    return next(row for row in rows if row["dialogues_of"] == "held out")


def _told(value: dict) -> str:
    return f"{value['value']:.3f}, {value['low']:.3f} to {value['high']:.3f}"
