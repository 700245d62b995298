"""Groups of settings, and checked changes of them.

Every field is a name that `--set` takes. Defaults are the paper's values (preset `paper`).
"""

import dataclasses
import difflib
import sys
import typing
from collections.abc import Iterable
from dataclasses import dataclass
from math import inf as INF
from typing import Any, Literal, TypeVar

from ctsm_lib.errors import ConfigError

Settings = TypeVar("Settings", bound=Any)


@dataclass(frozen=True)
class LayerSizes:
    """Sizes of a Transformer layer."""

    heads: int = 2
    key_depth: int = 40  # of all heads together, for keys and values alike
    ffn_dim: int = 50
    ffn: Literal["linear", "conv"] = "linear"
    dropout: float = 0.0


@dataclass(frozen=True)
class AnswerBias:
    """Biases of a trained model's answers. They change its perplexity, and nothing of training."""

    copy_bias: float = 0.0  # added to the log-odds of copying
    tilt: float = 0.0  # times log p(v) is subtracted from the logit of word v
    repeat_bias: float = 0.0  # added to the logit of the previous word


@dataclass(frozen=True)
class DataSettings:
    """Settings of the data: vocabulary, commonsense, length of contexts, neutral VAD."""

    vocab: Literal["protocol", "train"] = "protocol"
    knowledge: Literal["auto", "comet", "atomic", "none"] = "auto"
    comet_model: str = "mismayil/comet-bart-ai2"
    max_context: int = 256  # tokens; longer contexts lose their beginning
    neutral_vad: Literal["standard", "printed"] = "standard"


@dataclass(frozen=True)
class ModelSettings:
    """The paper's model. Paper: Sec. 3 and 4.2."""

    dim: int = 300
    encoder_layers: int = 1
    decoder_layers: int = 1
    heads: int = 2
    key_depth: int = 40
    ffn: Literal["linear", "conv"] = "linear"
    ffn_dim: int = 50
    small_heads: int = 2  # encoders of commonsense, refinement, emotions and responses
    small_key_depth: int = 40
    small_ffn_dim: int = 50
    dropout: float = 0.0
    embedding_scale: float = 300**0.5
    tie_output: bool = False
    output_bias: Literal["zero", "unigram"] = "zero"
    train_vectors: bool = True
    trait: bool = True  # TEE
    state: bool = True  # SEE
    guidance: bool = True  # EGM
    contrast: bool = True  # CCL
    compressed_dim: int = 10
    memory: Literal["student", "emotion"] = "student"
    contrast_negatives: Literal["both", "cross"] = "both"
    temperature: float = 0.07
    student_label_weight: float = 0.0  # of a label loss that Eq. (18) does not have
    weight_emotion: float = 1.0
    weight_generation: float = 1.0
    weight_contrast: float = 1.0
    weight_diversity: float = 1.5

    @property
    def layer(self) -> LayerSizes:
        """Sizes of the backbone's layers."""
        return LayerSizes(self.heads, self.key_depth, self.ffn_dim, self.ffn, self.dropout)

    @property
    def small_layer(self) -> LayerSizes:
        """Sizes of the smaller encoders' layers."""
        sizes = (self.small_heads, self.small_key_depth, self.small_ffn_dim)
        return LayerSizes(*sizes, self.ffn, self.dropout)


@dataclass(frozen=True)
class BeyondSettings(AnswerBias):
    """Settings that are not the paper's: `ctsm_workbench.beyond` implements them."""

    fusion: Literal["separate", "joint"] = "separate"
    bag_expert: bool = False  # a bag of the context's words contributes to the emotion
    word_dropout: float = 0.0  # share of the context's words that are hidden in training
    head_dropout: float = 0.0  # before the last layer of teacher and student
    copy_once: bool = False  # a word that the answer has already is not copied again


@dataclass(frozen=True)
class BaselineSettings:
    """Settings of the compared systems."""

    label_smoothing: float = 0.1  # of the words, in the systems whose papers have it
    bag_strength: float = 1.0  # TF-IDF: inverse strength of the L2 penalty, scikit-learn's C
    concepts: bool = True  # KEMP, CASE: use emotion concepts where the data folder has them
    cem_fusion: Literal["separate", "joint"] = "separate"  # as in CEM's paper, or as in `improved`
    peer_losses: bool = False  # sum the words' loss over a batch, as MoEL's and MIME's code does


@dataclass(frozen=True)
class TrainingSettings:
    """Optimisation. Paper: Sec. 4.2."""

    optimizer: Literal["adam", "adamw"] = "adam"
    beta1: float = 0.9
    beta2: float = 0.98
    epsilon: float = 1e-9
    weight_decay: float = 0.0
    schedule: Literal["noam", "linear"] = "noam"
    learning_rate: float = 1.0  # Noam's factor, or the linear schedule's peak
    warmup: int = 8_000
    batch_size: int = 16
    clip: float = 0.0  # 0: none
    max_iterations: int = 24_000
    check_every: int = 500
    check_from: int = 8_000
    patience: int = 4  # dev checks without a better ppl_token; 0: never stop early
    precision: Literal["float32", "bf16"] = "float32"


def require(holds: bool, name: str, value: object, expected: str) -> None:
    if not holds:
        raise ConfigError(f"{name}={value} is not possible: it must be {expected}.")


def require_limits(settings: Any, limits: Iterable[dict]) -> None:
    """Refuse values outside of the limits of `presets.toml`."""
    for limit in limits:
        for name in limit["names"].split():
            value = getattr(settings, name)
            holds = limit.get("least", -INF) <= value <= limit.get("most", INF)
            holds &= limit.get("above", -INF) < value < limit.get("below", INF)
            require(holds, name, value, limit["expected"])


def overridden(settings: Settings, changes: Iterable[str]) -> Settings:
    """Any dataclass of settings with `key=value` changes; a wrong one raises a `ConfigError`."""
    known = typing.get_type_hints(type(settings))
    values: dict[str, Any] = {}
    for change in changes:
        name, equals, text = change.partition("=")
        if not equals:
            raise ConfigError(f"--set takes key=value, not {change!r}.")
        name = name.strip()
        values[name] = checked(name, _parsed(name, text.strip(), known), known)
    return dataclasses.replace(settings, **values)


def nearest(name: str, names: Iterable[str]) -> str:
    """A sentence with the name that was probably meant, or with all of them."""
    names = list(names)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.4)
    return f"Did you mean {close[0]!r}?" if close else f"There are: {', '.join(names)}."


def _parsed(name: str, text: str, known: dict[str, Any]) -> Any:
    kind = known.get(name)
    if kind is bool:
        return {"true": True, "false": False, "1": True, "0": False}.get(text.lower(), text)
    try:
        return kind(text) if kind in (int, float) else text
    except ValueError:
        return text


KINDS = {bool: "true or false", int: "a whole number", float: "a finite number", str: "text"}


def checked(name: str, value: Any, known: dict[str, Any]) -> Any:
    if name not in known:
        raise ConfigError(f"There is no setting {name!r}. {nearest(name, known)}")
    kind = known[name]
    if typing.get_origin(kind) is Literal:
        choices = typing.get_args(kind)
        if value not in choices:
            raise ConfigError(f"{name}={value!r} is not possible. {nearest(str(value), choices)}")
        return value
    # The comparison is false for nan, too.
    if kind is float and type(value) in (int, float) and abs(value) <= sys.float_info.max:
        return float(value)
    if type(value) is not kind or kind is float:
        require(False, name, repr(value), KINDS[kind])
    return value
