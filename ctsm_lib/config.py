"""Settings: one frozen dataclass, named presets, and overrides that refuse what does not exist.

Every field is a name that `--set` takes. What a preset changes stands in `PRESETS`; everything else is the paper's
value (specification, Sections 1 to 4).
"""

from __future__ import annotations

import dataclasses
import difflib
import sys
import typing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from ctsm_lib.errors import ConfigError

# What a whole number can be at most, where more could only be a slip that fills the memory before anything is said.
_SIZES = dict.fromkeys(
    ("dim", "heads", "key_depth", "ffn_dim", "small_heads", "small_key_depth", "small_ffn_dim", "compressed_dim"), 65_536
) | dict(
    encoder_layers=100, decoder_layers=100, batch_size=10**6, max_response=10**6, max_iterations=10**9,
    check_every=10**9, warmup=10**9,
)  # fmt: skip


@dataclass(frozen=True)
class Config:
    """All settings of one run. Paper: Sec. 4.2; the defaults are preset `paper`."""

    preset: str = "paper"
    model: Literal[
        "ctsm",
        "transformer",
        "multi-transformer",
        "moel",
        "mime",
        "empdg",
        "kemp",
        "cem",
        "case",
        "tfidf",
    ] = "ctsm"
    seed: int = 0

    # Data
    vocab: Literal["protocol", "train"] = "protocol"
    knowledge: Literal["auto", "comet", "atomic", "none"] = "auto"
    comet_model: str = "mismayil/comet-bart-ai2"
    max_context: int = 256  # tokens; longer contexts lose their beginning
    neutral_vad: Literal["standard", "printed"] = "standard"

    # Backbone
    dim: int = 300
    encoder_layers: int = 1
    decoder_layers: int = 1
    heads: int = 2
    key_depth: int = 40  # of all heads together, keys and values alike
    ffn: Literal["linear", "conv"] = "linear"
    ffn_dim: int = 50
    small_heads: int = 2  # knowledge, refining, emotion and response encoders
    small_key_depth: int = 40
    small_ffn_dim: int = 50
    dropout: float = 0.0
    embedding_scale: float = 300**0.5
    tie_output: bool = False
    output_bias: Literal["zero", "unigram"] = "zero"
    train_vectors: bool = True

    # CTSM
    trait: bool = True  # TEE
    state: bool = True  # SEE
    guidance: bool = True  # EGM
    contrast: bool = True  # CCL
    fusion: Literal["separate", "joint"] = "separate"
    compressed_dim: int = 10
    memory: Literal["student", "emotion"] = "student"
    contrast_negatives: Literal["both", "cross"] = "both"
    temperature: float = 0.07
    student_label_weight: float = 0.0
    bag_expert: bool = (
        False  # beyond the paper: a bag of the context's words has a say in the emotion
    )
    word_dropout: float = (
        0.0  # beyond the paper: share of the context's words that are hidden in training
    )
    head_dropout: float = 0.0  # beyond the paper: before the last layer of teacher and student
    weight_emotion: float = 1.0  # gamma 1 to 4 of Eq. (25)
    weight_generation: float = 1.0
    weight_contrast: float = 1.0
    weight_diversity: float = 1.5
    copy_bias: float = 0.0  # beyond the paper: added to the log-odds of copying, once trained
    copy_once: bool = (
        False  # beyond the paper: a word that the answer has already is not copied again
    )
    tilt: float = 0.0  # beyond the paper: away from words that every answer has, once trained
    repeat_bias: float = 0.0  # beyond the paper: added to the word just said's logit, not to its copies, once trained
    peer_losses: bool = False  # sum the loss of the words over a batch, as MoEL's and MIME's code does, not average it

    # Baselines
    label_smoothing: float = 0.1  # of the words, in those whose papers have it
    bag_strength: float = 1.0  # TF-IDF: inverse strength of the L2 penalty, scikit-learn's C
    concepts: bool = True  # KEMP, CASE: use emotion concepts where the data folder has them

    # Training
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

    # Answers
    max_response: int = 50

    def __post_init__(self) -> None:
        for name, most in _SIZES.items():
            value = getattr(self, name)
            _require(1 <= value <= most, name, value, f"a whole number from 1 to {most:,}")
        _require(
            self.key_depth % self.heads == 0,
            "key_depth",
            self.key_depth,
            f"a multiple of heads={self.heads}",
        )
        small = f"a multiple of small_heads={self.small_heads}"
        _require(
            self.small_key_depth % self.small_heads == 0,
            "small_key_depth",
            self.small_key_depth,
            small,
        )
        _require(0 <= self.seed < 2**63, "seed", self.seed, "a whole number from 0")
        _require(
            2 <= self.max_context <= 10**6, "max_context", self.max_context, "2 to 1,000,000 tokens"
        )
        for name in (
            "dropout",
            "word_dropout",
            "head_dropout",
            "label_smoothing",
            "beta1",
            "beta2",
        ):
            _require(
                0 <= getattr(self, name) < 1,
                name,
                getattr(self, name),
                "a number from 0 to below 1",
            )
        for name in ("epsilon", "weight_decay", "clip"):
            _require(getattr(self, name) >= 0, name, getattr(self, name), "0 or more")
        _require(self.temperature > 0, "temperature", self.temperature, "above 0")
        _require(self.bag_strength > 0, "bag_strength", self.bag_strength, "above 0")
        _require(self.learning_rate > 0, "learning_rate", self.learning_rate, "above 0")

    def asdict(self) -> dict[str, Any]:
        """The settings as JSON has them."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Config:
        """Settings from JSON.

        Raises:
            ConfigError: a name that does not exist or a value of the wrong type.
        """
        known = typing.get_type_hints(cls)
        return cls(**{name: _checked(name, value, known) for name, value in values.items()})

    def override(self, settings: Iterable[str]) -> Config:
        """These settings with `key=value` changes, as `--set` takes them.

        Raises:
            ConfigError: no `=`, an unknown name (with the nearest valid one), or a value of the wrong kind.
        """
        return overridden(self, settings)


Settings = TypeVar("Settings", bound=Any)


def overridden(settings: Settings, changes: Iterable[str]) -> Settings:
    """Any dataclass of settings with `key=value` changes.

    Raises:
        ConfigError: as `Config.override`.
    """
    known = typing.get_type_hints(type(settings))
    values: dict[str, Any] = {}
    for change in changes:
        name, equals, text = change.partition("=")
        if not equals:
            raise ConfigError(f"--set takes key=value, not {change!r}.")
        name = name.strip()
        values[name] = _checked(name, _parsed(name, text.strip(), known), known)
    return dataclasses.replace(settings, **values)


def _require(true: bool, name: str, value: object, expected: str) -> None:
    if not true:
        raise ConfigError(f"{name}={value} is not possible: it must be {expected}.")


def _nearest(name: str, names: Iterable[str]) -> str:
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


def _checked(name: str, value: Any, known: dict[str, Any]) -> Any:
    if name not in known:
        raise ConfigError(f"There is no setting {name!r}. {_nearest(name, known)}")
    kind = known[name]
    if typing.get_origin(kind) is Literal:
        choices = typing.get_args(kind)
        if value not in choices:
            raise ConfigError(f"{name}={value!r} is not possible. {_nearest(str(value), choices)}")
        return value
    if (
        kind is float and type(value) in (int, float) and abs(value) <= sys.float_info.max
    ):  # false for nan, too
        return float(value)
    if type(value) is not kind or kind is float:
        expected = {
            bool: "true or false",
            int: "a whole number",
            float: "a finite number",
            str: "text",
        }[kind]
        raise ConfigError(f"{name}={value!r} is not possible: it must be {expected}.")
    return value


_IMPROVED: dict[str, Any] = dict(
    encoder_layers=1, decoder_layers=2, heads=6, key_depth=300, ffn_dim=1024, dropout=0.15, embedding_scale=3.0,
    fusion="joint", tie_output=True, output_bias="unigram", contrast_negatives="cross", student_label_weight=1.0,
    optimizer="adamw", epsilon=1e-8, weight_decay=0.01, schedule="linear", learning_rate=1e-3, warmup=300,
    batch_size=32, clip=1.0, max_iterations=4_500, check_every=1_000, check_from=1_000, patience=0,
)  # fmt: skip
# Beyond the paper; how it was found: figures/results/search.md.
_BEST: dict[str, Any] = _IMPROVED | dict(
    bag_expert=True, word_dropout=0.2, head_dropout=0.3, dropout=0.2, copy_bias=2.2, copy_once=True, tilt=0.1,
    repeat_bias=-2.0, max_iterations=8_625, check_every=2_875, check_from=2_875,
)  # fmt: skip
# Chosen on the sample's dev dialogues for answers that read well: a small model on 892 pairs has learned them half by heart
# before it stops to say one thing to everybody, long after its best dev perplexity. So only the last weights are kept.
_SAMPLE: dict[str, Any] = _IMPROVED | dict(
    dim=96, heads=4, key_depth=96, ffn_dim=384, decoder_layers=1, small_key_depth=16, small_ffn_dim=32, max_context=64,
    dropout=0.05, embedding_scale=1.0, tie_output=False, weight_contrast=0.5, weight_diversity=0.3,
    learning_rate=4e-3, warmup=40, batch_size=8, max_iterations=700, check_every=350, check_from=700,
)  # fmt: skip

# Paper: Sec. 4.4, Table 3. What is left out, under any of the presets: "paper-wo-tee", "improved-wo-egm", ...
ABLATIONS: dict[str, dict[str, bool]] = {
    "wo-tee": {"trait": False},
    "wo-see": {"state": False},
    "wo-egm": {"guidance": False},
    "wo-ccl": {"contrast": False},
    "wo-egm-ccl": {"guidance": False, "contrast": False},
}

# What changes answers and their perplexity, and nothing of training: a trained run may be told other values.
LEANINGS = ("copy_bias", "tilt", "repeat_bias")

_WHOLE: dict[str, dict[str, Any]] = {
    "paper": {},
    "improved": _IMPROVED,
    "best": _BEST,
    "sample": _SAMPLE,
}
PRESETS: dict[str, dict[str, Any]] = _WHOLE | {
    f"{whole}-{part}": settings | without
    for whole, settings in _WHOLE.items()
    for part, without in ABLATIONS.items()
}
PRESET_NOTES = {
    "paper": "what the paper and its specification say: Adam, Noam 1/8000, batch 16, no dropout",
    "improved": "the same components, better optimised: the default for real data",
    "best": "beyond the paper: a bag of words has a say in the emotion, answers lean towards what is particular",
    "sample": "small, for the embedded sample: about a minute on two cores",
    "PRESET-wo-tee": "an ablation of Table 3: without TEE; also -wo-see, -wo-egm, -wo-ccl, -wo-egm-ccl",
}


def preset(name: str, settings: Iterable[str] = ()) -> Config:
    """A named preset with overrides.

    Raises:
        ConfigError: an unknown preset or setting.
    """
    if name not in PRESETS:
        raise ConfigError(f"There is no preset {name!r}. {_nearest(name, PRESETS)}")
    return Config(preset=name, **PRESETS[name]).override(settings)
