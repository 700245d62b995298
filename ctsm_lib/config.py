"""All settings of a run, and the named presets of `presets.toml`.

Settings that are not the paper's are in `settings.BeyondSettings`.
"""

import dataclasses
import tomllib
import typing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from ctsm_lib import settings
from ctsm_lib.errors import ConfigError
from ctsm_lib.registry import available
from ctsm_lib.settings import AnswerBias, checked, nearest, overridden, require, require_limits

_FILE = tomllib.loads(Path(__file__).with_name("presets.toml").read_text(encoding="utf-8"))
DECODING_LIMITS: list[dict] = _FILE["decoding_limits"]
ABLATIONS: dict[str, dict[str, bool]] = _FILE["ablations"]
PRESET_NOTES: dict[str, str] = {name: table["note"] for name, table in _FILE["presets"].items()}
PRESET_NOTES["PRESET-wo-tee"] = (
    "an ablation of Table 3; also -wo-see, -wo-egm, -wo-ccl, -wo-egm-ccl"
)


def _presets() -> dict[str, dict[str, Any]]:
    """Changes of each preset and each of its ablations."""
    whole: dict[str, dict[str, Any]] = {}
    ablated: dict[str, dict[str, Any]] = {}
    for name, table in _FILE["presets"].items():
        own = {key: value for key, value in table.items() if key not in ("base", "note")}
        more = {part: own.pop(part, {}) for part in ABLATIONS}
        whole[name] = whole.get(table.get("base", ""), {}) | own
        for part, without in ABLATIONS.items():
            ablated[f"{name}-{part}"] = whole[name] | without | more[part]
    return whole | ablated


PRESETS = _presets()


@dataclass(frozen=True)
class Config(
    settings.TrainingSettings, settings.BaselineSettings, settings.BeyondSettings,
    settings.ModelSettings, settings.DataSettings,
):  # fmt: skip
    """All settings of a run, in groups. A part of the library takes the group that it needs."""

    preset: str = "paper"
    model: str = "ctsm"  # or a name that `ctsm_lib.registry` finds
    seed: int = 0
    max_response: int = 50  # words of an answer

    def __post_init__(self) -> None:
        require_limits(self, _FILE["limits"])
        for depth, heads in (("key_depth", "heads"), ("small_key_depth", "small_heads")):
            value, divisor = getattr(self, depth), getattr(self, heads)
            require(value % divisor == 0, depth, value, f"a multiple of {heads}={divisor}")
        if self.model != "ctsm" and self.model not in (models := ["ctsm", *available("models")]):
            way_out = nearest(self.model, models)
            raise ConfigError(f"model={self.model!r} is not possible. {way_out}")

    def goes_beyond_paper(self) -> bool:
        """True if any setting goes beyond the paper's model."""
        own = {field.name: field.default for field in dataclasses.fields(settings.BeyondSettings)}
        return self.peer_losses or any(getattr(self, name) != own[name] for name in own)

    def answer_bias(self) -> AnswerBias:
        """The biases of its answers."""
        return AnswerBias(self.copy_bias, self.tilt, self.repeat_bias)

    def asdict(self) -> dict[str, Any]:
        """The settings as JSON has them."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Settings from JSON; a wrong name or type raises a `ConfigError`."""
        known = typing.get_type_hints(cls)
        return cls(**{name: checked(name, value, known) for name, value in values.items()})

    def override(self, changes: Iterable[str]) -> Self:
        """These settings with `key=value` changes, as `--set` takes them."""
        return overridden(self, changes)


def preset(name: str, changes: Iterable[str] = ()) -> Config:
    """A named preset with changes; a name that does not exist raises a `ConfigError`."""
    if name not in PRESETS:
        raise ConfigError(f"There is no preset {name!r}. {nearest(name, PRESETS)}")
    return Config(preset=name, **PRESETS[name]).override(changes)
