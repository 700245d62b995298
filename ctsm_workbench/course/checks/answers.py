"""Checks of lesson 08: the nucleus, both perplexities, Distinct. Paper: Sec. 4.3."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch

from ctsm_workbench.course.checks.frame import check, expect, expect_close, expect_shape


@check("8.1")
def nucleus(mine: Callable) -> None:
    """`mine(probabilities [V], top_p) -> [V]`: the distribution to draw from, in the order of the vocabulary."""
    probabilities = torch.tensor([0.1, 0.4, 0.05, 0.3, 0.15])
    result = mine(probabilities.clone(), 0.6)
    expect_shape(result, (5,), "One probability for each word, also for those that are out.")
    place = "Each kept probability stays at its own word's place: undo the sorting."
    expect(int(torch.as_tensor(result).argmax()) == 1, place)
    expect_close(
        result[2], 0.0, "The least likely word is outside of the nucleus: its probability is 0."
    )
    expect(
        float(result[3]) > 0,
        "The word with which the sum reaches p belongs to the nucleus: 0.4 + 0.3 >= 0.6.",
    )
    expect(
        float(result[4]) == 0,
        "The nucleus is the smallest set: once the sum reaches p, no further word gets in.",
    )
    expect_close(result.sum(), 1.0, "Divide what is kept by its sum: a distribution sums to 1.")
    expect_close(result, [0, 4 / 7, 0, 3 / 7, 0], place)
    expect_close(
        mine(probabilities.clone(), 0.2),
        [0, 1, 0, 0, 0],
        "The likeliest word always stays, also where p is small.",
    )
    expect_close(
        mine(probabilities.clone(), 1.0), probabilities, "With p = 1 everything stays as it is."
    )


@check("8.2")
def two_perplexities(mine: Callable) -> None:
    """`mine(nll [n], tokens [n]) -> (ppl_peer, ppl_token)`; nll is summed over an answer's tokens."""
    nll, tokens = np.array([2.0, 30.0, 12.0]), np.array([2.0, 10.0, 6.0])
    result = mine(nll.copy(), tokens.copy())
    expect(result is not None, "Your function returns None: is a `return` missing?")
    expect(len(result) == 2, "Two numbers: (ppl_peer, ppl_token).")
    peer, token = result
    single = mine(np.array([6.0]), np.array([3.0]))
    expect_close(
        single[0],
        math.e**2,
        "One answer of three tokens with a summed loss of 6: both perplexities are exp(2).",
    )
    expect_close(
        single[1],
        math.e**2,
        "One answer of three tokens with a summed loss of 6: both perplexities are exp(2).",
    )
    average = sum(float(loss) / float(count) for loss, count in zip(nll, tokens, strict=True)) / 3
    expect(
        abs(float(peer) - sum(math.exp(float(v)) for v in nll / tokens) / 3) > 1e-6,
        "Take exp of the mean, not the mean of exp.",
    )
    expect_close(
        peer,
        math.exp(average),
        "ppl_peer: each answer's mean loss first, then the mean of these over the answers.",
    )
    expect_close(
        token,
        math.exp(44 / 18),
        "ppl_token: the loss of all tokens divided by the number of all tokens.",
    )


@check("8.3")
def dist(mine: Callable) -> None:
    """`mine(answers, n) -> per cent`; each answer is a list of words."""
    same = [["oh", "no"], ["oh", "no"]]
    result = mine(same, 1)
    expect(result is not None, "Your function returns None: is a `return` missing?")
    expect_close(mine([["a", "b", "c"]], 1), 100.0, "Three different words of three: 100 per cent.")
    expect_close(
        result,
        50.0,
        "The same answer twice: two different words of four. Count over all answers together.",
    )
    expect_close(
        mine([["a", "b"], ["a", "b"]], 2),
        50.0,
        "Two answers of two words have two bigrams: none reaches across.",
    )
    expect_close(
        mine([["a", "a", "a", "b"]], 2), 100 * 2 / 3, "aa, aa, ab: two different bigrams of three."
    )
    expect_close(
        mine([["a", "b"], ["b", "a"]], 2), 100.0, "The order of words matters: ab is not ba."
    )
    expect_close(
        mine([["hi"], []], 2), 0.0, "Where there is no n-gram at all the score is 0, not an error."
    )
