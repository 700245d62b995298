"""A trained run, ready to answer, score and explain itself. What the command line, notebooks and explorers share."""

from __future__ import annotations

import json
import os
import random
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from ctsm_lib import parallel
from ctsm_lib.batches import context_batch
from ctsm_lib.checkpoint import load_weights, newest_checkpoint, read_run, require_size, write_text
from ctsm_lib.config import LEANINGS, Config
from ctsm_lib.corpus import EMOTIONS, SPLITS, Vocabulary, tokenize
from ctsm_lib.decoding import Answer, Decoding, answer_batch, answer_pairs
from ctsm_lib.dialogues import quotation
from ctsm_lib.errors import ConfigError, DataError, RunError
from ctsm_lib.knowledge import Provider, provider_for
from ctsm_lib.model import CTSM, Tables
from ctsm_lib.prepare import Prepared, make_provider
from ctsm_lib.scores import (
    EMOTION_SCORES,
    WORD_SCORES,
    response_scores,
    score_pairs,
    teacher_forced,
)
from ctsm_lib.sources import Sources
from ctsm_lib.versions import versions
from ctsm_workbench.baselines import AnyModel, make_model
from ctsm_workbench.baselines.tfidf import TfIdf

OPTIONAL = ("knowledge", "concepts")  # data that not every model reads
MAX_CHARACTERS = 100_000  # of one turn: longer text is cut from the left before it is tokenised


@dataclass
class Run:
    """A model with its words and settings.

    Attributes:
        facts: of the weights: the iteration they are from, and their dev scores.
        description: which data it was trained on.
        note: what the user should know, e.g. that training has not reached a dev check.
    """

    folder: Path
    config: Config
    vocabulary: Vocabulary
    model: AnyModel
    facts: dict
    description: dict
    note: str = ""

    @property
    def iteration(self) -> int:
        """Iterations that the weights were trained for."""
        return int(self.facts.get("iteration", 0))

    def about(self, device: str, data: dict | None = None) -> dict:
        """What every result carries."""
        data = data or self.description
        used = {
            name: data.get(name, "none") if name in self.model.reads else "not read"
            for name in OPTIONAL
        }
        return {
            "model": self.config.model, "preset": self.config.preset, "seed": self.config.seed,
            "iterations": self.iteration, "data": data.get("data"), "fingerprint": data.get("dialogues"),
            "vectors": self.description.get("vectors"), **used,
            "leaning": {name: value for name in LEANINGS if (value := getattr(self.config, name))},
            "vocab": self.description.get("vocab"), "precision": self.config.precision, "device": device,
            "trained_on": self.description.get("data"), "versions": versions(),
        }  # fmt: skip

    def lean(self, settings: Iterable[str]) -> None:
        """Let it answer, and be scored, with other strengths of `LEANINGS` than it was trained with: `key=value`.

        Raises:
            ConfigError: another setting, or a value of the wrong kind.
        """
        settings = list(settings)
        for setting in settings:
            if (name := setting.partition("=")[0].strip()) not in LEANINGS:
                raise ConfigError(
                    f"{name} is settled by training. A trained run can be told: {', '.join(LEANINGS)}."
                )
        self.config = self.config.override(settings)
        if not isinstance(self.model, TfIdf):
            for name in LEANINGS:
                setattr(self.model.decoder.pointer, name, getattr(self.config, name))

    def ctsm(self) -> CTSM:
        """Its model, for what only CTSM has.

        Raises:
            RunError: the run is of a baseline.
        """
        if not isinstance(self.model, CTSM):
            raise RunError(
                f"{self.folder} is a run of {self.config.model}; this needs one of ctsm."
            )
        return self.model

    def provider(self, sources: Sources | None) -> tuple[Provider, str]:
        """The knowledge provider it was trained with, or `none` with a note where that is not to be had."""
        trained = str(self.description.get("knowledge", "none"))
        if trained == "atomic" and (sources is None or sources.knowledge is None):
            return provider_for(
                "none", None
            ), "no ATOMIC tables here: answering without commonsense"
        if sources is None:
            return provider_for(trained, None, comet_model=self.config.comet_model), ""
        config = self.config.override([f"knowledge={trained}"])
        return make_provider(config, sources), ""

    def respond(
        self,
        contexts: Sequence[Sequence[str]],
        provider: Provider,
        how: Decoding | None = None,
        device: str = "cpu",
    ) -> list[Response]:
        """Answer conversations.

        Args:
            contexts: each a list of turns, the speaker's first.

        Raises:
            DataError: a context without turns or words.
        """
        cleaned = [[clean_turn(turn) for turn in turns] for turns in contexts]
        for turns in cleaned:
            if not turns or not any(tokenize(turns[-1])):
                raise DataError("There is nothing to answer: the last turn holds no word.")
        inferences = provider.infer([turns[-1] for turns in cleaned], progress=False)
        batch = context_batch(cleaned, inferences, self.vocabulary, self.config.max_context).to(
            device
        )
        how = how or Decoding(max_length=self.config.max_response)
        if isinstance(self.model, TfIdf):
            answers, memory = [Answer([], 0.0, [])] * len(cleaned), self.model.encode(batch)
        else:
            answers, memory = answer_batch(self.model, batch, how, self.model.log_unigram)
        probabilities = memory.emotion_logits.float().softmax(dim=-1).tolist()
        return [
            self._response(answer, row) for answer, row in zip(answers, probabilities, strict=True)
        ]

    def _response(self, answer: Answer, probabilities: list[float]) -> Response:
        ranked = sorted(zip(EMOTIONS, probabilities, strict=True), key=lambda item: -item[1])
        if not self.model.predicts_emotion:
            ranked = []
        words = self.vocabulary.decode(answer.ids)
        return Response(detokenize(words), words, dict(ranked), answer.log_prob, answer.alpha)


@dataclass
class Response:
    """An answer as text, its words, all emotions with probabilities (likeliest first), and alpha of each token."""

    text: str
    words: list[str]
    emotions: dict[str, float]
    log_prob: float
    alpha: list[float]

    def asdict(self, top: int = 5) -> dict:
        """As JSON, with the `top` emotions."""
        values = asdict(self)
        values["emotions"] = dict(list(self.emotions.items())[:top])
        return values


def clean_turn(text: str) -> str:
    """A turn as the model may read it: no control characters, not longer than `MAX_CHARACTERS`.

    Raises:
        DataError: it is not text.
    """
    if not isinstance(text, str):
        raise DataError(f"A turn is text, not {type(text).__name__}.")
    text = text.encode("utf-8", errors="replace").decode("utf-8")
    text = "".join(c if c.isprintable() else " " for c in text)
    return text[-MAX_CHARACTERS:].strip()


def detokenize(words: Sequence[str]) -> str:
    """Words as a person would write them: spacing around punctuation, capitals at sentence starts and for "I"."""
    text = ""
    for word in words:
        attach = word in {
            ".",
            ",",
            "!",
            "?",
            ";",
            ":",
            "%",
            ")",
            "'s",
            "n't",
            "'re",
            "'ve",
            "'ll",
            "'d",
            "'m",
            "...",
        }
        text += word if attach or not text or text.endswith("(") else f" {word}"
    sentences, start = [], True
    for character in text:
        sentences.append(character.upper() if start and character.isalpha() else character)
        start = character in ".!?" or (start and not character.isalnum())
    text = "".join(sentences)
    return " ".join(
        "I" if word == "i" else f"I{word[1:]}" if word[:2] in ("i'", "i,") else word
        for word in text.split(" ")
    )


def load_run(folder: Path, device: str = "cpu") -> Run:
    """Load a run: its best weights, or the newest checkpoint's where no dev check was reached.

    Raises:
        RunError: the folder is missing, damaged, or holds no weights yet.
    """
    config, vocabulary, description = read_run(folder)
    note = ""
    weights = folder / "best.safetensors"
    if not weights.is_file():
        checkpoint = newest_checkpoint(folder)
        if checkpoint is None:
            raise RunError(
                f"{folder} has no weights yet: its training has not reached a checkpoint."
            )
        weights, note = (
            checkpoint / "model.safetensors",
            "no dev check yet: these are the newest weights, not the best",
        )
    require_size(weights, config)  # before a model is made that no memory holds
    model = make_model(config, Tables.empty(len(vocabulary), config.dim))
    facts = load_weights(weights, model)
    return Run(folder, config, vocabulary, model.to(device).eval(), facts, description, note)


def require_same_words(run: Run, prepared: Prepared) -> None:
    """Refuse data whose vocabulary is not the run's, and other data or weights than those of the main process.

    Raises:
        RunError: it is another one; the message names both.
        ConfigError: processes that work together differ.
    """
    parallel.require_alike(prepared.description | {"iteration": run.iteration})
    if prepared.corpus.vocabulary.words != run.vocabulary.words:
        trained = run.description.get("data")
        raise RunError(
            f"{run.folder} was trained on other data ({trained}, {len(run.vocabulary):,} words) than this "
            f"({prepared.description['data']}, {len(prepared.corpus.vocabulary):,} words). Set CTSM_DATA to its data."
        )


def evaluate(
    run: Run,
    prepared: Prepared,
    split: str = "test",
    how: Decoding | None = None,
    device: str = "cpu",
    progress: bool = True,
    batch_size: int = 64,
    examples: Path | None = None,
) -> tuple[dict, list[dict]]:
    """All scores of a split, and every answer with its context; several processes share the work, and all get all of it.

    Args:
        examples: let the main process write scores of each example to this `.npz`: right [n] (1: its emotion was
            found), nll [n] (mean over its tokens); a model that hears or says nothing has none.

    Raises:
        RunError: an unknown split, or the data's vocabulary is not the run's.
    """
    if split not in SPLITS:
        raise RunError(f"There is no split {split!r}. There are: {', '.join(SPLITS)}.")
    require_same_words(run, prepared)
    how = how or Decoding(max_length=run.config.max_response)
    pairs, part = prepared.pairs[split], prepared.corpus.splits[split]
    scored = score_pairs(run.model, pairs, device, batch_size, progress)
    scores: dict = dict.fromkeys((*EMOTION_SCORES, *WORD_SCORES)) | teacher_forced(scored)
    if examples and parallel.rank() == 0:
        _write_examples(examples, scored)
    if isinstance(run.model, TfIdf):
        result = scores | {"n": len(pairs), "split": split, "decoding": asdict(how)}
        return result | {"run": run.about(device, prepared.description)}, []
    answers, logits = answer_pairs(
        run.model, pairs, how, device, batch_size, run.model.log_unigram, progress
    )
    texts = [" ".join(run.vocabulary.decode(answer.ids)) for answer in answers]
    references = [part.response_text(pair) for pair in range(len(pairs))]
    scores |= response_scores(texts, references)
    alphas = [alpha for answer in answers for alpha in answer.alpha]
    scores["copy_rate"] = 100 * (1 - sum(alphas) / len(alphas)) if alphas else None
    rows = [
        {
            "emotion": EMOTIONS[part.pairs[pair, 3]],
            "predicted": EMOTIONS[int(logits[pair].argmax())]
            if run.model.predicts_emotion
            else None,
            "context": part.context_texts(pair),
            "response": texts[pair],
            "reference": references[pair],
        }
        for pair in range(len(pairs))
    ]
    result = scores | {"split": split, "decoding": asdict(how)}
    return result | {"run": run.about(device, prepared.description)}, rows


def _write_examples(path: Path, scored: dict[str, np.ndarray]) -> None:
    arrays = {}
    if "logits" in scored:
        arrays["right"] = (scored["logits"].argmax(axis=1) == scored["label"]).astype(np.int8)
    if "nll" in scored:
        arrays["nll"] = (scored["nll"] / np.maximum(scored["tokens"], 1)).astype(np.float32)
    path.parent.mkdir(parents=True, exist_ok=True)
    side = path.with_name(f".{path.stem}.{os.getpid()}.npz")
    try:
        np.savez_compressed(side, **arrays)
        os.replace(side, path)
    except OSError as error:
        raise RunError(f"{path} cannot be written: {error.strerror}.") from error
    finally:
        side.unlink(missing_ok=True)


def write_samples(path: Path, rows: Sequence[dict], count: int = 40, seed: int = 0) -> None:
    """Random answers as Markdown, contexts shortened to quotations, and the commonest answers beside them."""
    chosen = random.Random(seed).sample(list(rows), min(count, len(rows)))
    lines = [
        f"# {len(chosen)} random answers out of {len(rows):,}",
        "",
        "| emotion | heard | last turn | answer |",
        "|---|---|---|---|",
    ]
    for row in chosen:
        cells = (
            row["emotion"],
            row["predicted"] or "-",
            quotation(row["context"][-1]),
            row["response"],
        )
        lines.append("| " + " | ".join(cell.replace("|", "/") for cell in cells) + " |")
    common = Counter(row["response"] for row in rows).most_common(15)
    lines += ["", "## The commonest answers", "", "| answer | times |", "|---|---|"]
    lines += [f"| {text or '(nothing)'} | {times} |" for text, times in common]
    write_text(path, "\n".join(lines) + "\n")


def write_jsonl(path: Path, rows: Sequence[dict]) -> None:
    """One JSON object a line."""
    write_text(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
