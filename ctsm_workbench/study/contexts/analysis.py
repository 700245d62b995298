"""Polarity from contexts beside the vector rule, the lexicon and the dialogues' labels; and the same without training."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy import sparse

from ctsm_lib.corpus import EMOTIONS, SPECIALS
from ctsm_lib.model import CTSM
from ctsm_lib.polarity import group_cosines, group_sums, group_weights, lengths_of, trait_polarity
from ctsm_lib.prepare import Prepared
from ctsm_lib.runs import Run, require_same_words
from ctsm_workbench.study.contexts.dependence import dependence, explained, null_bands
from ctsm_workbench.study.contexts.reading import (
    MIN_COUNT,
    SPACES,
    Collected,
    Plan,
    collect_states,
    plan,
)
from ctsm_workbench.study.intervals import (
    auc,
    compared,
    estimate,
    rank_correlation,
    resampled,
    times_drawn,
)
from ctsm_workbench.study.polarity.standards import against_lexicon, dialogue_words, label_sides

COMMON = 200  # occurrences of a word that may be listed as most or least dependent
LISTED = 15  # words in these lists
BOTH = 3  # occurrences of a word in positive and in negative dialogues, to compare them


@dataclass(frozen=True)
class Known:
    """Facts about words and dialogues that need no trained model.

    Attributes:
        words: [W] the vocabulary.
        valence, rated, trait: [W] the lexicon's.
        vectors: [W] graded polarity by the vector rule.
        counts: [D, W - specials] how often each dialogue has each word.
        sides: [32] 1 for a positive label, 0 for a negative one, -1 for an unrated one.
        dialogue_side: [D] the side of its label.
    """

    words: list[str]
    valence: np.ndarray
    rated: np.ndarray
    trait: np.ndarray
    vectors: np.ndarray
    counts: sparse.csr_matrix
    sides: np.ndarray
    dialogue_side: np.ndarray


@dataclass(frozen=True)
class Study:
    """The states that one model gives, and everything that they are compared with.

    Attributes:
        grades: [W] by space: how positive a word is in its contexts.
        directions: [features of the space] by space: the same for any features.
        depends: as `dependence` returns it.
    """

    laid: Plan
    collected: Collected
    known: Known
    grades: dict[str, np.ndarray]
    directions: dict[str, np.ndarray]
    depends: dict[str, np.ndarray]
    draws: int
    seed: int


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
        leaning: the number of words, the most frequent first, whose mean inclination to all 32 emotions is returned.

    Returns:
        JSON data: trained and untrained (each: explained, bands, varies, most, least, agreement, dialogues,
        within_words), words, conclusion.

    Raises:
        RunError: the run has another vocabulary, or no state embedding.

    Paper: Eq. (7) and (9). Departure: the paper uses static vectors (Sec. 5.4); this uses every occurrence.
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
        "intervals": f"95 %, {draws} draws; dialogues, words, or pairs of occurrences are resampled",
    }
    ratios: dict[str, dict[str, np.ndarray]] = {}
    for name, model in models.items():
        collected = collect_states(
            model, laid, words=len(known.words), mask=known.rated, device=device, progress=progress
        )
        bands = null_bands(laid, collected, seed)
        grades, directions = _graded(collected, known)
        study = Study(
            laid=laid,
            collected=collected,
            known=known,
            grades=grades,
            directions=directions,
            depends=dependence(collected, bands),
            draws=draws,
            seed=seed,
        )
        result[name] = {
            "explained": explained(laid, collected, draws, seed),
            "bands": bands,
            **_varying(study),
            "agreement": _agreement(study),
            "dialogues": _dialogues(study),
            "within_words": _within_words(study),
        }
        if name == "trained":
            result["words"] = _columns(study, leaning)
        ratios[name] = study.depends
    if control:
        result["dependence_trained_and_untrained"] = {}
        for space in SPACES:
            both = np.stack([depends[space] for depends in ratios.values()])
            both = both[:, ~np.isnan(both).any(axis=0)]
            row = rank_correlation(*both, draws=draws, seed=seed)
            result["dependence_trained_and_untrained"][space] = row
    return result | {"conclusion": _conclusion(result)}


def _known(prepared: Prepared) -> Known:
    vad, rated = prepared.lexicon.table(prepared.corpus.vocabulary)
    valence = vad[:, 0].astype(np.float64)
    trait = trait_polarity(valence)
    matrix = np.array(prepared.vectors.matrix)
    matrix[: len(SPECIALS)] = 0
    counts, labels = dialogue_words(prepared.corpus)
    sides = label_sides(prepared.lexicon)
    return Known(
        words=prepared.corpus.vocabulary.words,
        valence=valence,
        rated=rated,
        trait=trait,
        vectors=_leave_one_out(matrix, lengths_of(matrix), trait, rated),
        counts=counts,
        sides=sides,
        dialogue_side=sides[labels],
    )


def _leave_one_out(
    matrix: np.ndarray, lengths: np.ndarray, trait: np.ndarray, rated: np.ndarray
) -> np.ndarray:
    """[W] cosine to the positive minus cosine to the negative rated words, without the word itself."""
    weights = group_weights(trait, lengths * rated, unit=False)
    leave_out = np.ones(2, dtype=bool)
    cosines = group_cosines(matrix, lengths, weights=weights, leave_out=leave_out)
    return cosines[:, 0] - cosines[:, 1]


def _graded(
    collected: Collected, known: Known
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Grades of words and directions of features by space, see `Study`.

    V_cos: mean inclination to the positive label words minus that to the negative ones. H_s, whose axes have no names:
    the rule of Section 5.4 on mean states, with the centroids of rated words.
    """
    means = collected.means
    positive = known.sides == 1
    negative = known.sides == 0
    lean = positive / max(positive.sum(), 1) - negative / max(negative.sum(), 1)
    states = means[:, SPACES["H_s"]]
    lengths = lengths_of(states) * (collected.count > 0)
    sums = group_sums(states, group_weights(known.trait, lengths * known.rated, unit=False))
    centroids = sums / np.maximum(lengths_of(sums), 1e-30)[:, None]
    grades = {
        "V_cos": means[:, SPACES["V_cos"]] @ lean,
        "H_s": _leave_one_out(states, lengths, known.trait, known.rated),
    }
    return grades, {"V_cos": lean, "H_s": centroids[0] - centroids[1]}


def _varying(study: Study) -> dict:
    """The share of words that vary more and less than chance, the extreme words, and the relation to valence."""
    known = study.known
    count = study.collected.count
    spelled = np.array([word.isalpha() for word in known.words])
    strength = np.abs(known.valence - 0.5)
    result: dict = {"varies": {}, "most": {}, "least": {}, "valence_and_dependence": {}}
    for space in SPACES:
        ratio = study.depends[space]
        z = study.depends[f"{space}: z"]
        some = ~np.isnan(z)

        def row(i: int, ratio: np.ndarray = ratio, z: np.ndarray = z) -> dict:
            own = {"word": known.words[i], "count": int(count[i])}
            return own | {"ratio": round(float(ratio[i]), 4), "z": round(float(z[i]), 2)}

        result["varies"][space] = {
            "words": int(some.sum()),
            "more": _percent(z[some] > 1),
            "less": _percent(z[some] < -1),
        }
        order = np.argsort(-np.where(np.isnan(ratio), -np.inf, ratio), kind="stable")
        order = order[(spelled & some & (count >= COMMON))[order]]
        result["most"][space] = [row(i) for i in order[:LISTED]]
        result["least"][space] = [row(i) for i in order[::-1][:LISTED]]
        rated = some & known.rated
        result["valence_and_dependence"][space] = rank_correlation(strength[rated], ratio[rated])
    return result


def _percent(values: np.ndarray) -> float | None:
    return round(100 * float(values.mean()), 4) if len(values) else None


def _columns(study: Study, leaning: int) -> dict:
    """Polarity and dependence of all frequent words, the most frequent first; the mean inclination of the first ones."""
    collected = study.collected
    order = np.argsort(-collected.count, kind="stable")
    chosen = order[(collected.count[order] >= MIN_COUNT) & (order >= len(SPECIALS))]
    names = [study.known.words[i] for i in chosen]
    columns: dict = {"word": names, "count": collected.count[chosen].astype(int).tolist()}
    for space in SPACES:
        grade = study.grades[space][chosen]
        columns[space] = {
            "grade": [_number(value) for value in grade],
            "polarity": (grade > 0).astype(int).tolist(),
            "dependence": [_number(value) for value in study.depends[space][chosen]],
        }
    mean = collected.means[chosen[:leaning], SPACES["V_cos"]].round(3).tolist()
    columns["emotions"] = list(EMOTIONS)
    columns["inclination"] = dict(zip(names, mean, strict=False))
    return columns


def _number(value: float) -> float | None:
    return None if np.isnan(value) else round(float(value), 4)


def _agreement(study: Study) -> dict:
    """Polarity from contexts against the vector rule and the lexicon, for frequent words."""
    known = study.known
    frequent = study.collected.count >= MIN_COUNT
    frequent[: len(SPECIALS)] = False
    scores = {"vectors": known.vectors} | study.grades
    some = frequent & ~np.isnan(np.stack(list(scores.values()))).any(axis=0)
    rated = some & known.rated
    positive = known.trait == 1
    lexicon = against_lexicon(scores, rated, positive, study.draws, study.seed)
    vectors: dict = {"words": int(some.sum())}
    for name, score in scores.items():
        lexicon[name]["agree"] = _alike(score[rated] > 0, positive[rated])
        if name in SPACES:
            rank = rank_correlation(score[some], known.vectors[some], study.draws, study.seed)
            alike = _alike(score[some] > 0, known.vectors[some] > 0)
            vectors[name] = {"agree": alike, "rank_correlation": rank}
    return {"lexicon": lexicon, "vectors": vectors}


def _alike(a: np.ndarray, b: np.ndarray) -> dict:
    """Per cent of cases in which two judgements agree, the agreement by chance, and Cohen's kappa."""
    if not len(a):
        return {"share": None, "by_chance": None, "kappa": None}
    share = float((a == b).mean())
    chance = float(a.mean() * b.mean() + (1 - a.mean()) * (1 - b.mean()))
    kappa = (share - chance) / (1 - chance) if chance < 1 else 0.0
    values = {"share": 100 * share, "by_chance": 100 * chance, "kappa": kappa}
    return {name: round(value, 4) for name, value in values.items()}


def _groups(laid: Plan) -> dict[str, np.ndarray]:
    return {"training": laid.split == 0, "held out": laid.split > 0}


def _dialogues(study: Study) -> list[dict]:
    """AUC of a dialogue's mean grade for the side of its label; dialogues are resampled, the same for every grade."""
    known = study.known
    collected = study.collected
    first = len(SPECIALS)
    usable = ~np.isnan(known.vectors[first:])
    static = {"vectors": known.vectors}
    result = []
    for number, name in enumerate(("all words", "rated words")):
        if name == "rated words":
            static["lexicon"] = known.valence
            usable = usable & known.rated[first:]
        counts = known.counts[:, usable]
        size = np.maximum(np.asarray(counts.sum(axis=1)).ravel(), 1)
        read = collected.dialogue_counts[number]
        scores = {key: counts @ values[first:][usable] / size for key, values in static.items()}
        for space, direction in study.directions.items():
            total = collected.dialogue_sums[number][:, SPACES[space]] @ direction
            scores[space] = total / np.maximum(read, 1)
        for group, inside in _groups(study.laid).items():
            some = inside & (known.dialogue_side >= 0) & (read > 0)
            positive = known.dialogue_side[some] == 1
            times = times_drawn(len(positive), study.draws, study.seed)
            drawn = {
                key: auc(np.round(value[some], 12), times * positive, times * ~positive)
                for key, value in scores.items()
            }
            row = {"words": name, "dialogues_of": group, "dialogues": len(positive)}
            result.append(row | compared(drawn))
    return result


def _within_words(study: Study) -> list[dict]:
    """The mean over words of the AUC between a word's occurrences in positive and in negative dialogues.

    It is 0.5 where a word's state does not follow the dialogue, as for every static vector. Words are resampled.
    `fitted` is the direction that separates the two kinds of training dialogues best, apart from the words: it measures
    what a space contains about the dialogue, whether or not it lies along the polarity of words.
    """
    laid = study.laid
    kept = study.collected.kept
    word = laid.tokens[laid.kept]
    dialogue = laid.dialogue[laid.kept]
    side = study.known.dialogue_side[dialogue]
    random = np.random.default_rng(study.seed)
    residual = kept - study.collected.means[word]
    learn = (laid.split[dialogue] == 0) & (side >= 0)
    directions = {space: (part, study.directions[space]) for space, part in SPACES.items()}
    for space, part in SPACES.items():
        fitted = _discriminant(residual[learn, part], side[learn] == 1)
        directions[f"{space}, fitted"] = (part, fitted)
    result = []
    for group, inside in _groups(laid).items():
        some = np.flatnonzero(inside[dialogue] & (side >= 0))
        some = some[np.argsort(word[some], kind="stable")]
        groups = np.split(some, np.flatnonzero(np.diff(word[some])) + 1)
        enough = [g for g in groups if BOTH <= (side[g] == 1).sum() <= len(g) - BOTH]
        row: dict = {"dialogues_of": group, "words": len(enough)}
        for space, (part, direction) in directions.items():
            grade = np.round(kept[:, part].astype(np.float64) @ direction, 9)
            positive = [side[g] == 1 for g in enough]
            own = [auc(grade[g], p[None], ~p[None]) for g, p in zip(enough, positive, strict=True)]
            values = np.array(own).ravel()
            means = resampled(lambda i, v=values: v[i].mean(), len(values), study.draws, random)  # type: ignore[misc]
            row[space] = estimate(means)
        result.append(row)
    return result


def _discriminant(features: np.ndarray, positive: np.ndarray) -> np.ndarray:
    """Fisher's linear discriminant [F] of [n, F]; zeros where a class is empty."""
    if positive.all() or not positive.any():
        return np.zeros(features.shape[1])
    means = [features[some].mean(axis=0, dtype=np.float64) for some in (positive, ~positive)]
    spread = np.cov(features.astype(np.float64), rowvar=False)
    ridge = 1e-6 * np.trace(spread) / len(spread) + 1e-12
    return np.linalg.solve(spread + ridge * np.eye(len(spread)), means[0] - means[1])


def _conclusion(result: dict) -> str:
    """The main results as sentences, generated from the numbers."""
    trained = result["trained"]
    source = trained["explained"]
    text = f"{result['occurrences']:,} occurrences in {result['dialogues']:,} dialogues."
    if source["V_cos"] is None:
        return f"{text} Too few words repeat to say where their variation comes from."
    state = source["H_s"]
    text += (
        f" The speaker and the place in the dialogue explain {source['V_cos']['explained']:.1f} % "
        "of the variation of a word's V_cos: no other word reaches it. They explain "
        f"{state['explained']:.1f} % ({state['low']:.1f} to {state['high']:.1f}) for H_s; the rest "
        "comes from the other words."
    )
    lexicon = trained["agreement"]["lexicon"]
    if lexicon["vectors"]["value"] is not None:
        text += (
            f" AUC for the polarity of {lexicon['words']:,} frequent rated words: the vector rule "
            f"{lexicon['vectors']['value']:.3f}, mean V_cos {lexicon['V_cos']['value']:.3f}, mean "
            f"H_s {lexicon['H_s']['value']:.3f}."
        )
    own = _held_out(trained["within_words"])
    if own["H_s"]["value"] is not None:
        verdict = "is" if own["H_s"]["low"] > 0.5 else "is not"
        control = ""
        if "untrained" in result:
            control = f"; untrained {_shown(_held_out(result['untrained']['within_words'])['H_s'])}"
        text += (
            f" The same word's H_s {verdict} more positive in positive held-out dialogues (AUC "
            f"{_shown(own['H_s'])}{control}); for V_cos the AUC is {_shown(own['V_cos'])}."
        )
    row = _held_out([row for row in trained["dialogues"] if row["words"] == "rated words"])
    if row["H_s"]["value"] is not None:
        text += (
            " AUC of a dialogue's rated words for the polarity of its label, held out: by H_s "
            f"{_shown(row['H_s'])}, by valence {row['lexicon']['value']:.3f}, by the vector rule "
            f"{row['vectors']['value']:.3f}, by V_cos {row['V_cos']['value']:.3f}."
        )
    return text


def _held_out(rows: list[dict]) -> dict:
    return next(row for row in rows if row["dialogues_of"] == "held out")


def _shown(value: dict) -> str:
    return f"{value['value']:.3f}, {value['low']:.3f} to {value['high']:.3f}"
