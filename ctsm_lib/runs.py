"""A trained run, ready to answer and to be scored."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Self

from ctsm_lib.batches import context_batch
from ctsm_lib.checkpoint import load_weights, newest_checkpoint, require_size
from ctsm_lib.config import Config
from ctsm_lib.corpus import EMOTIONS, Vocabulary, tokenize
from ctsm_lib.decoding import Answer, Decoding, answer_batch
from ctsm_lib.errors import DataError, RunError
from ctsm_lib.interface import Tables
from ctsm_lib.knowledge import Provider, provider_for
from ctsm_lib.model import CTSM
from ctsm_lib.prepare import Prepared, make_provider
from ctsm_lib.registry import model_class
from ctsm_lib.run_folder import read_run, versions
from ctsm_lib.settings import AnswerBias
from ctsm_lib.sources import Sources

OPTIONAL = ("knowledge", "concepts")  # data that not every model uses
MAX_CHARACTERS = 100_000  # of a turn; the beginning of a longer text is cut off


@dataclass
class Response:
    """An answer as text."""

    text: str
    words: list[str]
    emotions: dict[str, float]  # all emotions with probabilities, the likeliest first
    log_prob: float
    alpha: list[float]  # for each token, the probability of generating it

    def asdict(self, top: int = 5) -> dict:
        """As JSON, with the `top` emotions."""
        return asdict(self) | {"emotions": dict(list(self.emotions.items())[:top])}


@dataclass
class Run:
    """A model with its words and settings."""

    folder: Path
    config: Config
    vocabulary: Vocabulary
    model: Any
    facts: dict  # of the weights: their iteration and dev scores
    description: dict  # of the data that it was trained on
    note: str = ""  # for the user, e.g. that no dev check was reached

    @property
    def iteration(self) -> int:
        """Iterations that the weights were trained for."""
        return int(self.facts.get("iteration", 0))

    def about(self, device: str, data: dict | None = None) -> dict:
        """Facts that every result carries."""
        data = data or self.description
        used = {n: data.get(n, "none") if n in self.model.uses else "not read" for n in OPTIONAL}
        biases = asdict(self.config.answer_bias())
        return {
            "model": self.config.model, "preset": self.config.preset, "seed": self.config.seed,
            "iterations": self.iteration, "data": data.get("data"),
            "fingerprint": data.get("dialogues"), "vectors": self.description.get("vectors"),
            **used,
            "leaning": {name: value for name, value in biases.items() if value},
            "vocab": self.description.get("vocab"), "precision": self.config.precision,
            "device": device, "trained_on": self.description.get("data"), "versions": versions(),
        }  # fmt: skip

    def biased(self, bias: AnswerBias) -> Self:
        """The same run with other biases of its answers; it shares no weights with this one."""
        config = replace(self.config, **asdict(bias))
        model = _new_model(config, self.vocabulary)
        model.load_state_dict(self.model.state_dict())
        device = next(self.model.parameters()).device
        return replace(self, config=config, model=model.to(device).eval())

    def ctsm(self) -> CTSM:
        """Its model, for things that only CTSM has; a `RunError` for a run of a baseline."""
        if not isinstance(self.model, CTSM):
            model = self.config.model
            raise RunError(f"{self.folder} is a run of {model}; this needs one of ctsm.")
        return self.model

    def provider(self, sources: Sources | None) -> tuple[Provider, str]:
        """The commonsense provider that it was trained with, or `none` and a note."""
        trained = str(self.description.get("knowledge", "none"))
        if trained == "atomic" and (sources is None or sources.knowledge is None):
            note = "no ATOMIC tables here: answering without commonsense"
            return provider_for("none", None), note
        if sources is None:
            return provider_for(trained, None, comet_model=self.config.comet_model), ""
        return make_provider(self.config.override([f"knowledge={trained}"]), sources), ""

    def respond(
        self, contexts: Sequence[Sequence[str]], provider: Provider, how: Decoding | None = None,
        device: str = "cpu",
    ) -> list[Response]:  # fmt: skip
        """Answer conversations, each a list of turns, the speaker's first.

        Raises `DataError` where a context has no turn or no word.
        """
        cleaned = [[clean_turn(turn) for turn in turns] for turns in contexts]
        for turns in cleaned:
            if not turns or not any(tokenize(turns[-1])):
                raise DataError("There is nothing to answer: the last turn holds no word.")
        inferences = provider.infer([turns[-1] for turns in cleaned], progress=False)
        batch = context_batch(cleaned, inferences, self.vocabulary, self.config.max_context)
        how = how or Decoding(max_length=self.config.max_response)
        answers, memory = answer_batch(self.model, batch.to(device), how)
        probabilities = memory.emotion_logits.float().softmax(dim=-1).tolist()
        both = zip(answers, probabilities, strict=True)
        return [self._response(answer, row) for answer, row in both]

    def _response(self, answer: Answer, probabilities: list[float]) -> Response:
        ranked = sorted(zip(EMOTIONS, probabilities, strict=True), key=lambda item: -item[1])
        emotions = dict(ranked) if self.model.predicts_emotion else {}
        words = self.vocabulary.decode(answer.ids)
        return Response(detokenize(words), words, emotions, answer.log_prob, alpha=answer.alpha)


def _new_model(config: Config, vocabulary: Vocabulary) -> Any:
    return model_class(config)(config, Tables.empty(len(vocabulary), config.dim))


def load_run(folder: Path, device: str = "cpu", bias: AnswerBias | None = None) -> Run:
    """Load a run: its best weights, or the newest ones where no dev check was reached.

    `bias` takes the place of the biases that it was trained with.
    Raises `RunError` where the folder is missing, damaged, or holds no weights yet.
    """
    config, vocabulary, description = read_run(folder)
    if bias is not None:
        config = replace(config, **asdict(bias))
    weights = folder / "best.safetensors"
    note = ""
    if not weights.is_file():
        checkpoint = newest_checkpoint(folder)
        if checkpoint is None:
            found = f"{folder} has no weights yet"
            raise RunError(f"{found}: its training has not reached a checkpoint.")
        weights = checkpoint / "model.safetensors"
        note = "no dev check yet: these are the newest weights, not the best"
    require_size(weights, config)  # before a model is made that no memory holds
    model = _new_model(config, vocabulary)
    facts = load_weights(weights, model)
    model = model.to(device).eval()
    return Run(
        folder=folder, config=config, vocabulary=vocabulary, model=model, facts=facts,
        description=description, note=note,
    )  # fmt: skip


def clean_turn(text: str) -> str:
    """A turn as the model may read it: no control characters, at most `MAX_CHARACTERS`."""
    if not isinstance(text, str):
        raise DataError(f"A turn is text, not {type(text).__name__}.")
    text = text.encode("utf-8", errors="replace").decode("utf-8")
    text = "".join(c if c.isprintable() else " " for c in text)
    return text[-MAX_CHARACTERS:].strip()


def detokenize(words: Sequence[str]) -> str:
    """Words as a person would write them, with capitals at sentence starts and for "I"."""
    from nltk.tokenize.treebank import TreebankWordDetokenizer  # its import takes long

    sentences, start = [], True
    for character in TreebankWordDetokenizer().detokenize(list(words)):
        sentences.append(character.upper() if start and character.isalpha() else character)
        start = character in ".!?" or (start and not character.isalnum())
    text = "".join(sentences).split(" ")
    return " ".join(
        "I" if word == "i" else f"I{word[1:]}" if word[:2] in ("i'", "i,") else word
        for word in text
    )


def require_same_words(run: Run, prepared: Prepared) -> None:
    """Refuse data whose vocabulary is not the run's with a `RunError` that names both."""
    if (words := prepared.corpus.vocabulary).words != run.vocabulary.words:
        trained = f"{run.description.get('data')}, {len(run.vocabulary):,} words"
        given = f"{prepared.description['data']}, {len(words):,} words"
        raise RunError(
            f"{run.folder} was trained on other data ({trained}) than this ({given}). "
            "Set CTSM_DATA to its data."
        )
