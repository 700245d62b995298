"""How a check runs and reports, and small formulas in plain Python that several checks use."""

import math
import os
import tomllib
from collections.abc import Callable, Sequence
from functools import wraps
from pathlib import Path
from typing import Any

import numpy as np
import torch

CHECKS: dict[str, Callable[..., None]] = {}
HINTS: dict[str, dict[str, str]] = tomllib.loads(
    Path(__file__).with_name("hints.toml").read_text(encoding="utf-8")
)


class CheckFailed(AssertionError):
    """An answer is not right yet. The message is a hint about the mistake."""


class Expect:
    """Expectations of one exercise. Each names the hint that an answer gets if it is not met."""

    def __init__(self, hints: dict[str, str]):
        self.hints = hints

    def __call__(self, condition: object, hint: str, *, note: str = "", **values: Any) -> None:
        """Expect that the condition holds. `note` follows the hint; `values` fill its braces."""
        text = self._text(hint, **values)
        if not bool(condition):
            raise CheckFailed(f"{text} ({note})" if note else text)

    def shape(self, actual: Any, shape: tuple[int, ...], hint: str) -> None:
        """Expect a tensor, an array or a number of this shape."""
        _same_shape(actual, shape, self._text(hint))

    def close(
        self, actual: Any, expected: Any, hint: str, *, tolerance: float = 1e-5, **values: Any
    ) -> None:
        """Expect this shape and these values; the message adds the place that is furthest off."""
        text = self._text(hint, **values)
        wanted = _array(expected)
        _same_shape(actual, wanted.shape)
        got = _array(actual)
        if np.isnan(got).any() and not np.isnan(wanted).any():
            raise CheckFailed(f"There is NaN in your result. {text}")
        distance = np.abs(got - wanted) - tolerance * np.abs(wanted)
        if distance.size and distance.max() > tolerance:
            place = np.unravel_index(int(distance.argmax()), distance.shape)
            where = f" at {[int(i) for i in place]}" if place else ""
            note = f"Yours{where}: {got[place]:.4g}, expected: {wanted[place]:.4g}."
            raise CheckFailed(f"{text} ({note})")

    def differs(self, actual: Any, wrong: Any, hint: str, *, tolerance: float = 1e-6) -> None:
        """Expect another result than that of a known mistake."""
        self(not np.allclose(_array(actual), _array(wrong), rtol=0, atol=tolerance), hint)

    def _text(self, hint: str, **values: Any) -> str:
        # Looked up before the answer is judged, so that a right answer finds a missing hint.
        return " ".join(self.hints[hint].split()).format(**values)


def check(exercise: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Make a function the check of an exercise, such as "1.2". It takes the answer and `Expect`.

    A function without code (NotImplementedError) does not fail: a lesson must run to its end
    before any exercise is solved. nbgrader gives points for checks that pass, so it sees the error.
    """

    def decorate(function: Callable[..., None]) -> Callable[..., None]:
        @wraps(function)
        def run(mine: Callable) -> None:
            def call(*arguments: Any) -> Any:
                result = mine(*arguments)
                if result is None:
                    raise CheckFailed("Your function returns None: is a `return` missing?")
                return result

            try:
                function(call, Expect(HINTS[exercise]))
            except NotImplementedError:
                if os.environ.get("NBGRADER_EXECUTION"):
                    raise
                print(f"Exercise {exercise} waits for you.")
                return
            except CheckFailed:
                raise
            except Exception as error:
                raise CheckFailed(f"Your code raised {type(error).__name__}: {error}") from error
            print(f"✓ Exercise {exercise} is solved.")

        run.exercise = exercise  # type: ignore[attr-defined]
        CHECKS[function.__name__] = run
        return run

    return decorate


def _same_shape(actual: Any, shape: tuple[int, ...], hint: str = "") -> None:
    found = tuple(getattr(actual, "shape", np.shape(actual)))
    if found != shape:
        text = f"The shape should be {list(shape)}, not {list(found)}. {hint}"
        raise CheckFailed(text.strip())


def _array(value: Any) -> np.ndarray:
    if isinstance(value, torch.Tensor):
        value = value.detach().cpu().double().numpy()
    return np.asarray(value, dtype=np.float64)


def dot(first: Sequence[float], second: Sequence[float]) -> float:
    """Sum of the products of two vectors."""
    return sum(a * b for a, b in zip(first, second, strict=True))


def cosine(first: Sequence[float], second: Sequence[float]) -> float:
    """Cosine of two vectors."""
    return dot(first, second) / math.sqrt(dot(first, first) * dot(second, second))


def softmax(scores: Sequence[float], mask: Sequence[bool] | None = None) -> list[float]:
    """Softmax of the scores where the mask is True, and 0 elsewhere. An empty row gives zeros."""
    kept = mask or [True] * len(scores)
    powers = [math.exp(score) if keep else 0.0 for score, keep in zip(scores, kept, strict=True)]
    return [power / (sum(powers) or 1.0) for power in powers]
