"""How a check runs and reports, and small formulas in plain Python that several checks use."""

import math
import os
from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any

import numpy as np
import torch

CHECKS: dict[str, Callable[..., None]] = {}


class CheckFailed(AssertionError):
    """An answer is not right yet. The message is a hint about the mistake."""


def check(exercise: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Make a function a check. It takes the student's function and calls `expect` and its kin.

    A function without code (NotImplementedError) does not fail: a lesson must run to its end
    before any exercise is solved. nbgrader gives points for checks that pass, so it sees the error.

    Args:
        exercise: number of the exercise, as the lesson prints it.
    """

    def decorate(function: Callable[..., None]) -> Callable[..., None]:
        @wraps(function)
        def run(mine: Callable) -> None:
            def call(*arguments: Any) -> Any:
                result = mine(*arguments)
                expect(result is not None, "Your function returns None: is a `return` missing?")
                return result

            try:
                function(call)
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


def expect(condition: object, hint: str) -> None:
    """Raise `CheckFailed(hint)` unless the condition holds."""
    if not bool(condition):
        raise CheckFailed(hint)


def expect_shape(actual: Any, shape: tuple[int, ...], hint: str = "") -> None:
    """Expect a tensor, an array or a number of this shape."""
    found = tuple(getattr(actual, "shape", np.shape(actual)))
    expect(found == shape, f"The shape should be {list(shape)}, not {list(found)}. {hint}".strip())


def expect_close(actual: Any, expected: Any, hint: str, tolerance: float = 1e-5) -> None:
    """Expect this shape and these values; the message adds the place that is furthest off."""
    wanted = _array(expected)
    expect_shape(actual, wanted.shape)
    got = _array(actual)
    if np.isnan(got).any() and not np.isnan(wanted).any():
        raise CheckFailed(f"There is NaN in your result. {hint}")
    distance = np.abs(got - wanted) - tolerance * np.abs(wanted)
    if distance.size and distance.max() > tolerance:
        place = np.unravel_index(int(distance.argmax()), distance.shape)
        where = f" at {[int(i) for i in place]}" if place else ""
        values = f"Yours{where}: {got[place]:.4g}, expected: {wanted[place]:.4g}."
        raise CheckFailed(f"{hint} ({values})")


def expect_not(actual: Any, wrong: Any, hint: str, tolerance: float = 1e-6) -> None:
    """Give the hint if the answer is the result of a known mistake."""
    same = np.allclose(_array(actual), _array(wrong), rtol=0, atol=tolerance)
    expect(not same, hint)


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
