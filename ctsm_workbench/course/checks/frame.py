"""How a check is run and what it says; the checks themselves are in the modules beside this one."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import wraps
from typing import Any

import numpy as np
import torch

CHECKS: dict[str, Callable[..., None]] = {}


class CheckFailed(AssertionError):
    """An answer is not right yet; the message says what to think about."""


def check(exercise: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Make a function a check: it takes the student's answer, and raises through `expect` and its kin.

    An exercise that nobody has begun (NotImplementedError) is no failure: a lesson runs to its end without a single answer.
    nbgrader, which gives points for checks that pass, does see the error.

    Args:
        exercise: number, as the lesson prints it.
    """

    def decorate(function: Callable[..., None]) -> Callable[..., None]:
        @wraps(function)
        def run(*mine: Any) -> None:
            try:
                function(*mine)
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
    """The answer is a tensor, an array or a number of this shape."""
    expect(actual is not None, "Your function returns None: is a `return` missing?")
    found = tuple(getattr(actual, "shape", np.shape(actual)))
    expect(found == shape, f"The shape should be {list(shape)}, not {list(found)}. {hint}".strip())


def expect_close(actual: Any, expected: Any, hint: str, tolerance: float = 1e-5) -> None:
    """The answer has the expected shape and values; the message adds the place that is furthest off."""
    wanted = _array(expected)
    expect_shape(actual, wanted.shape)
    got = _array(actual)
    if np.isnan(got).any() and not np.isnan(wanted).any():
        raise CheckFailed(f"There is NaN in your result. {hint}")
    distance = np.abs(got - wanted) - tolerance * np.abs(wanted)
    if distance.size and distance.max() > tolerance:
        place = np.unravel_index(int(distance.argmax()), distance.shape)
        where = f" at {[int(i) for i in place]}" if place else ""
        raise CheckFailed(
            f"{hint} (Yours{where}: {got[place]:.4g}, expected: {wanted[place]:.4g}.)"
        )


def _array(value: Any) -> np.ndarray:
    if isinstance(value, torch.Tensor):
        value = value.detach().cpu().double().numpy()
    return np.asarray(value, dtype=np.float64)
