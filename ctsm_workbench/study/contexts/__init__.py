"""Beyond the paper: every word in every context that it occurs in, as a trained run reads it.

Polarity from contexts is compared with the vector rule, the lexicon, and the dialogues' labels.
"""

from typing import Any

import numpy as np
import torch

from ctsm_lib.corpus import EMOTIONS, SPECIALS
from ctsm_lib.model import CTSM
from ctsm_lib.polarity import group_sums, group_weights, lengths_of, trait_polarity
from ctsm_lib.prepare import Prepared
from ctsm_lib.registry import model_class
from ctsm_lib.runs import Run, require_same_words
from ctsm_workbench.study import intervals, sentence
from ctsm_workbench.study.contexts import reading
from ctsm_workbench.study.contexts.reading import SPACES, collect_states, plan
from ctsm_workbench.study.contexts.variation import dependence, explained
from ctsm_workbench.study.intervals import Array, percent, rank_correlation, rounded
from ctsm_workbench.study.polarity import standards

COMMON = 200  # occurrences of a word that may be listed as most or least dependent
LISTED = 15  # words in these lists
BOTH = 3  # occurrences of a word in positive and in negative dialogues, to compare them


class Study:
    """W words in D dialogues, and the states that a model gives them."""

    def __init__(self, prepared: Prepared, max_context: int, draws: int):
        vocabulary = prepared.corpus.vocabulary
        self.laid = plan(prepared.corpus, max_context)
        self.groups = {"training": self.laid.split == 0, "held out": self.laid.split > 0}
        self.draws = draws
        self.words = vocabulary.words
        vad, self.rated = prepared.lexicon.table(vocabulary)
        self.valence = vad[:, 0].astype(np.float64)
        self.trait = trait_polarity(self.valence)
        matrix = np.array(prepared.vectors.matrix)
        matrix[: len(SPECIALS)] = 0
        self.vectors = self._leave_one_out(matrix)  # W, graded polarity by the vector rule
        self.sides = standards.label_sides(prepared.lexicon)
        # D W-specials how often each dialogue has each word, and D the polarity of its label
        self.dialogue_words, labels = standards.dialogue_words(prepared.corpus)
        self.dialogue_side = self.sides[labels]

    def _leave_one_out(self, matrix: Array) -> Array:
        """[W] graded state with the centroids of rated words, without the own word."""
        lengths = lengths_of(matrix)
        among = lengths * self.rated
        return standards.graded_states(matrix, self.trait, lengths, among, leave_one_out=True)[0]

    def results(self, model: CTSM, **how: Any) -> dict:
        """Read all dialogues with a model; the results of its states.

        `directions` of features, and by them `grades` [W] of words, are positive. V_cos: mean
        inclination to the positive label words minus that to the negative ones. H_s, whose axes
        have no names: the rule of Section 5.4 on mean states, with the centroids of rated words.
        """
        self.states = collect_states(model, self.laid, len(self.words), self.rated, **how)
        bands, self.depends = dependence(self.laid, self.states)
        inclination, state = (self.states.means[:, part] for part in SPACES.values())
        groups = (self.sides == 1, self.sides == 0)
        lean = np.subtract(*(group / max(group.sum(), 1) for group in groups))
        sums = group_sums(state, group_weights(self.trait, lengths_of(state) * self.rated, False))
        centroids = sums / np.maximum(lengths_of(sums), 1e-30)[:, None]
        self.directions = {"V_cos": lean, "H_s": centroids[0] - centroids[1]}
        self.grades = {"V_cos": inclination @ lean, "H_s": self._leave_one_out(state)}
        result = {"explained": explained(self.laid, self.states, self.draws), "bands": bands}
        result |= _varying(self) | {"agreement": _agreement(self)}
        return result | {"dialogues": _dialogues(self), "within_words": _within_words(self)}


def analyse_contexts(
    run: Run, prepared: Prepared, *, control: bool = True, leaning: int = 300,
    device: str = "cpu", draws: int = 200, progress: bool = True,
) -> dict:  # fmt: skip
    """Read every dialogue with a trained run, and with the same model before any training.

    `control` asks for the untrained model, `leaning` is the number of words whose mean inclination
    to all 32 emotions is returned. The JSON data are trained and untrained (each: explained, bands,
    varies, most, least, agreement, dialogues, within_words), words, conclusion. A `RunError` is
    raised where the run has another vocabulary than the data, or no state embedding.

    Paper: Eq. (7) and (9). Departure: the paper uses static vectors (Sec. 5.4), not occurrences.
    """
    require_same_words(run, prepared)
    study = Study(prepared, run.config.max_context, draws)
    laid = study.laid
    result: dict = {"description": run.about(device, prepared.description)}
    result |= {"occurrences": len(laid.tokens), "left_out": laid.left_out}
    result |= {"dialogues": len(laid.begin), "kept": len(laid.kept), "min_count": reading.MIN_COUNT}
    result["intervals"] = sentence("contexts", "intervals", draws=draws)
    result["trained"] = study.results(run.ctsm(), device=device, progress=progress)
    result["words"] = _columns(study, leaning)
    if control:
        trained = study.depends
        with torch.random.fork_rng():
            torch.manual_seed(0)
            model = model_class(run.config)(run.config, prepared.tables(run.config)).to(device)
        result["untrained"] = study.results(model, device=device, progress=progress)
        alike = result["dependence_trained_and_untrained"] = {}
        for space in SPACES:
            both = np.stack([trained[space], study.depends[space]])
            a, b = both[:, ~np.isnan(both).any(axis=0)]
            alike[space] = rank_correlation(a, b, draws)
    return result | {"conclusion": _conclusion(result)}


def _varying(study: Study) -> dict:
    """Words that vary more and less than chance, the extreme words, and the relation to valence."""
    count = study.states.count
    spelled = np.array([word.isalpha() for word in study.words])
    strength = np.abs(study.valence - 0.5)
    result: dict = {"varies": {}, "most": {}, "least": {}, "valence_and_dependence": {}}
    for space in SPACES:
        ratio = study.depends[space]
        z = study.depends[f"{space}: z"]
        some = ~np.isnan(z)
        shares = {"more": percent(z[some] > 1), "less": percent(z[some] < -1)}
        result["varies"][space] = {"words": int(some.sum())} | shares
        order = np.flatnonzero(spelled & some & (count >= COMMON))
        order = order[np.argsort(-ratio[order], kind="stable")]
        for kind, chosen in (("most", order[:LISTED]), ("least", order[::-1][:LISTED])):
            result[kind][space] = [
                {"word": study.words[i], "count": int(count[i])}
                | {"ratio": rounded(ratio[i]), "z": rounded(z[i], 2)}
                for i in chosen
            ]
        some &= study.rated
        result["valence_and_dependence"][space] = rank_correlation(strength[some], ratio[some])
    return result


def _columns(study: Study, leaning: int) -> dict:
    """Polarity and dependence of frequent words, the most frequent first; inclinations of some."""
    count = study.states.count
    order = np.argsort(-count, kind="stable")
    chosen = order[(count[order] >= reading.MIN_COUNT) & (order >= len(SPECIALS))]
    names = [study.words[i] for i in chosen]
    columns: dict = {"word": names, "count": count[chosen].astype(int).tolist()}
    for space in SPACES:
        grade = study.grades[space][chosen]
        columns[space] = {"grade": rounded(grade), "polarity": (grade > 0).astype(int).tolist()}
        columns[space]["dependence"] = rounded(study.depends[space][chosen])
    mean = study.states.means[chosen[:leaning], SPACES["V_cos"]].round(3).tolist()
    inclination = dict(zip(names, mean, strict=False))
    return columns | {"emotions": list(EMOTIONS), "inclination": inclination}


def _agreement(study: Study) -> dict:
    """Polarity from contexts against the vector rule and the lexicon, for frequent words."""
    scores = {"vectors": study.vectors} | study.grades
    some = (study.states.count >= reading.MIN_COUNT) & ~np.isnan([*scores.values()]).any(axis=0)
    some[: len(SPECIALS)] = False
    rated = some & study.rated
    positive = study.trait == 1
    lexicon = standards.against_lexicon(scores, rated, positive, study.draws)
    vectors: dict = {"words": int(some.sum())}
    for name, score in scores.items():
        lexicon[name]["agree"] = _alike(score[rated] > 0, positive[rated])
        if name in SPACES:
            alike = _alike(score[some] > 0, study.vectors[some] > 0)
            rank = rank_correlation(score[some], study.vectors[some], study.draws)
            vectors[name] = {"agree": alike, "rank_correlation": rank}
    return {"lexicon": lexicon, "vectors": vectors}


def _alike(a: Array, b: Array) -> dict:
    """Per cent of cases in which two judgements agree, the agreement by chance, Cohen's kappa."""
    if not len(a):
        return dict.fromkeys(("share", "by_chance", "kappa"))
    share = float((a == b).mean())
    chance = float(a.mean() * b.mean() + (1 - a.mean()) * (1 - b.mean()))
    kappa = (share - chance) / (1 - chance) if chance < 1 else 0.0
    return rounded({"share": 100 * share, "by_chance": 100 * chance, "kappa": kappa})


def _dialogues(study: Study) -> list[dict]:
    """AUC of a dialogue's mean grade for the polarity of its label; dialogues are resampled."""
    usable = ~np.isnan(study.vectors)
    static = {"vectors": study.vectors}
    both = {"vectors": study.vectors, "lexicon": study.valence}
    sets = (("all words", usable, static), ("rated words", usable & study.rated, both))
    result = []
    for number, (name, usable, static) in enumerate(sets):
        counts = study.dialogue_words[:, usable[len(SPECIALS) :]]
        size = np.maximum(np.asarray(counts.sum(axis=1)).ravel(), 1)
        scores = {key: counts @ values[usable] / size for key, values in static.items()}
        read = study.states.dialogue_counts[number]
        for space, direction in study.directions.items():
            total = study.states.dialogue_sums[number][:, SPACES[space]] @ direction
            scores[space] = total / np.maximum(read, 1)
        for group, inside in study.groups.items():
            some = inside & (study.dialogue_side >= 0) & (read > 0)
            positive = study.dialogue_side[some] == 1
            own = {key: np.round(value[some], 12) for key, value in scores.items()}
            row = {"words": name, "dialogues_of": group, "dialogues": len(positive)}
            times = intervals.times_drawn(len(positive), study.draws)
            result.append(row | intervals.compared_aucs(own, positive, times))
    return result


def _within_words(study: Study) -> list[dict]:
    """The mean AUC between a word's own occurrences in positive and in negative dialogues.

    It is 0.5 for every static vector. Words are resampled. `fitted` is the direction that separates
    the training dialogues best: it shows all that a space contains about the label.
    """
    kept = study.states.kept
    word = study.laid.tokens[study.laid.kept]
    dialogue = study.laid.dialogue[study.laid.kept]
    side = study.dialogue_side[dialogue]
    random = np.random.default_rng(0)
    residual = kept - study.states.means[word]
    learn = study.groups["training"][dialogue] & (side >= 0)
    directions = dict(study.directions)
    for space, part in SPACES.items():
        directions[f"{space}, fitted"] = _discriminant(residual[learn, part], side[learn] == 1)
    result = []
    for group, inside in study.groups.items():
        some = np.flatnonzero(inside[dialogue] & (side >= 0))
        some = some[np.argsort(word[some], kind="stable")]
        words = np.split(some, np.flatnonzero(np.diff(word[some])) + 1)
        words = [own for own in words if BOTH <= (side[own] == 1).sum() <= len(own) - BOTH]
        row: dict = {"dialogues_of": group, "words": len(words)}
        for space, direction in directions.items():
            features = kept[:, SPACES[space.removesuffix(", fitted")]].astype(np.float64)
            grade = np.round(features @ direction, 9)
            up = side[None] == 1
            aucs = [intervals.auc(grade[own], up[:, own], ~up[:, own]) for own in words]
            drawn = intervals.means(np.array(aucs).ravel(), study.draws, random)
            row[space] = intervals.estimate(drawn)
        result.append(row)
    return result


def _discriminant(features: Array, positive: Array) -> Array:
    """Fisher's linear discriminant [F] of [n, F]; zeros where a class is empty."""
    if positive.all() or not positive.any():
        return np.zeros(features.shape[1])
    centres = [features[some].mean(axis=0, dtype=np.float64) for some in (positive, ~positive)]
    spread = np.cov(features.astype(np.float64), rowvar=False)
    ridge = 1e-6 * np.trace(spread) / len(spread) + 1e-12
    return np.linalg.solve(spread + ridge * np.eye(len(spread)), centres[0] - centres[1])


def _conclusion(result: dict) -> str:
    trained = result["trained"]
    texts = [sentence("contexts", "read", **result)]
    if not trained["explained"]["pairs"]:
        return " ".join([*texts, sentence("contexts", "nothing")])
    texts.append(sentence("contexts", "sources", **trained["explained"]))
    within = trained["within_words"][-1]  # of the dialogues held out
    verdict = "is" if (within["H_s"]["low"] or 0) > 0.5 else "is not"
    rows = {"lexicon": trained["agreement"]["lexicon"], "within": within | {"verdict": verdict}}
    if "untrained" in result:
        rows["untrained"] = result["untrained"]["within_words"][-1]
    rows["dialogues"] = trained["dialogues"][-1]
    known = [name for name, row in rows.items() if row["H_s"]["value"] is not None]
    return " ".join([*texts, *(sentence("contexts", name, **rows[name]) for name in known)])
