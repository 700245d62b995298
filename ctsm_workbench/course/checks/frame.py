"""The frame in which a check runs and reports, and inputs and formulas that several checks use."""

import os
import tomllib
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.spatial.distance import cdist

CHECKS: dict[str, Callable[..., None]] = {}
HINTS = tomllib.loads(Path(__file__).with_name("hints.toml").read_text(encoding="utf-8"))
Answer = Callable[..., Any]  # the function that a student writes


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

    def shape(self, actual: Any, shape: tuple[int, ...], hint: str = "shape") -> Any:
        """Expect a tensor, an array or a number of this shape, and return it."""
        return _of_shape(actual, shape, self._text(hint))

    def close(
        self, actual: Any, expected: Any, hint: str, *, tolerance: float = 1e-5, **values: Any
    ) -> None:
        """Expect this shape and these values; the message adds the place that is furthest off."""
        text = self._text(hint, **values)
        wanted = array(expected)
        got = array(_of_shape(actual, wanted.shape))
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
        self(not np.allclose(array(actual), array(wrong), rtol=0, atol=tolerance), hint)

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
        def run(mine: Answer) -> None:
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


def _of_shape(actual: Any, shape: tuple[int, ...], hint: str = "") -> Any:
    found = tuple(getattr(actual, "shape", np.shape(actual)))
    if found != shape:
        raise CheckFailed(f"The shape should be {[*shape]}, not {[*found]}. {hint}".strip())
    return actual


def array(value: Any) -> np.ndarray:
    """A tensor, an array or nested lists as an array in double precision."""
    if isinstance(value, torch.Tensor):
        value = value.detach().cpu()
    return np.asarray(value, dtype=np.float64)


def normal(*shapes: tuple[int, ...]) -> list[torch.Tensor]:
    """A random tensor of each shape, the same at every call."""
    random = torch.Generator().manual_seed(0)
    return [torch.randn(*shape, generator=random) for shape in shapes]


def cosines(first: Any, second: Any) -> np.ndarray:
    """[n, m] cosine of each vector of `first` [n, d] with each of `second` [m, d]."""
    return 1 - cdist(array(first), array(second), "cosine")


def softmax(scores: Any, mask: Any = True) -> np.ndarray:
    """Softmax over the last axis, with 0 where the mask is False. An empty row gives zeros."""
    powers = np.exp(array(scores)) * array(mask)
    total = powers.sum(axis=-1, keepdims=True)
    return powers / np.where(total > 0, total, 1.0)
