"""Checks of lesson 08: the nucleus, both perplexities, Distinct. Paper: Sec. 4.3."""

import math
from collections.abc import Callable

import numpy as np
import torch

from ctsm_workbench.course.checks.frame import check, expect, expect_close, expect_not, expect_shape


@check("8.1")
def nucleus(mine: Callable) -> None:
    """`mine(probabilities [V], top_p) -> [V]`: the distribution to draw from, word by word."""
    probabilities = torch.tensor([0.1, 0.4, 0.05, 0.3, 0.15])
    result = mine(probabilities.clone(), 0.6)
    expect_shape(result, (5,), "Return a probability for each word, also outside the nucleus.")
    place = "Each kept probability must stay at its own word's place: undo the sorting."
    expect(int(torch.as_tensor(result).argmax()) == 1, place)
    hint = "The least likely word is outside of the nucleus, so its probability is 0."
    expect_close(result[2], 0.0, hint)
    hint = "The word with which the sum reaches p belongs to the nucleus: 0.4 + 0.3 >= 0.6."
    expect(float(result[3]) > 0, hint)
    hint = "The nucleus is the smallest set of words whose sum reaches p: add no word after that."
    expect(float(result[4]) == 0, hint)
    hint = "Divide the kept probabilities by their sum: a distribution sums to 1."
    expect_close(result.sum(), 1.0, hint)
    expect_close(result, [0, 4 / 7, 0, 3 / 7, 0], place)
    hint = "The most likely word is always kept, even when p is small."
    expect_close(mine(probabilities.clone(), 0.2), [0, 1, 0, 0, 0], hint)
    hint = "With p = 1 all probabilities stay as they are."
    expect_close(mine(probabilities.clone(), 1.0), probabilities, hint)


@check("8.2")
def two_perplexities(mine: Callable) -> None:
    """`mine(nll [n], tokens [n]) -> (ppl_peer, ppl_token)`; nll is summed over an answer's tokens.

    `ppl_peer` is the perplexity as the baselines' released code computes it.
    """
    nll = np.array([2.0, 30.0, 12.0])
    tokens = np.array([2.0, 10.0, 6.0])
    result = mine(nll.copy(), tokens.copy())
    expect(len(result) == 2, "Return two numbers: (ppl_peer, ppl_token).")
    peer, token = result
    hint = "For one answer of three tokens with a summed loss of 6, both perplexities are exp(2)."
    expect_close(mine(np.array([6.0]), np.array([3.0])), [math.e**2] * 2, hint)
    means = [float(loss) / float(count) for loss, count in zip(nll, tokens, strict=True)]
    hint = "ppl_peer: take the exp of the mean, not the mean of exp."
    expect_not(peer, sum(math.exp(mean) for mean in means) / 3, hint)
    hint = "ppl_peer: take each answer's mean loss first, then the mean of these over the answers."
    expect_close(peer, math.exp(sum(means) / 3), hint)
    hint = "ppl_token: divide the loss of all tokens by the number of all tokens."
    expect_close(token, math.exp(44 / 18), hint)


@check("8.3")
def dist(mine: Callable) -> None:
    """`mine(answers, n) -> per cent`; each answer is a list of words."""
    twice = [["a", "b"], ["a", "b"]]
    result = mine(twice, 1)
    expect_close(mine([["a", "b", "c"]], 1), 100.0, "Three words, all different: 100 per cent.")
    hint = "Two answers with the same two words: two of four differ. Count all answers together."
    expect_close(result, 50.0, hint)
    hint = "Two answers of two words have two bigrams: none reaches across from answer to answer."
    expect_close(mine(twice, 2), 50.0, hint)
    hint = "The bigrams are aa, aa and ab: two different bigrams of three."
    expect_close(mine([["a", "a", "a", "b"]], 2), 100 * 2 / 3, hint)
    hint = "The order of words matters: ab is not ba."
    expect_close(mine([["a", "b"], ["b", "a"]], 2), 100.0, hint)
    hint = "Without any n-gram the score is 0, not an error."
    expect_close(mine([["hi"], []], 2), 0.0, hint)
