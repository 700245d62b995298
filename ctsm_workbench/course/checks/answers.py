"""Checks of lesson 08: the nucleus, both perplexities, Distinct. Paper: Sec. 4.3."""

import numpy as np
import torch

from ctsm_workbench.course.checks.frame import Answer, Expect, check


@check("8.1")
def nucleus(mine: Answer, expect: Expect) -> None:
    """`mine(probabilities [V], top_p) -> [V]`: the distribution to draw from, word by word."""
    probabilities = torch.tensor([0.1, 0.4, 0.05, 0.3, 0.15])
    result = expect.shape(mine(probabilities.clone(), 0.6), (5,))
    expect(int(torch.as_tensor(result).argmax()) == 1, "place")
    expect.close(result[2], 0.0, "unlikely")
    expect(float(result[3]) > 0, "reaches")
    expect(float(result[4]) == 0, "smallest")
    expect.close(result.sum(), 1.0, "sum")
    expect.close(result, [0, 4 / 7, 0, 3 / 7, 0], "place")
    expect.close(mine(probabilities.clone(), 0.2), [0, 1, 0, 0, 0], "always")
    expect.close(mine(probabilities.clone(), 1.0), probabilities, "all")


@check("8.2")
def two_perplexities(mine: Answer, expect: Expect) -> None:
    """`mine(nll [n], tokens [n]) -> (ppl_peer, ppl_token)`; nll is summed over an answer's tokens.

    `ppl_peer` is the perplexity as the baselines' released code computes it.
    """
    nll = np.array([2.0, 30.0, 12.0])
    tokens = np.array([2.0, 10.0, 6.0])
    result = mine(nll.copy(), tokens.copy())
    expect(len(result) == 2, "two")
    peer, token = result
    expect.close(mine(np.array([6.0]), np.array([3.0])), [np.e**2] * 2, "one_answer")
    expect.differs(peer, np.exp(nll / tokens).mean(), "exp_of_mean")
    expect.close(peer, np.exp((nll / tokens).mean()), "answers_first")
    expect.close(token, np.exp(44 / 18), "token")


@check("8.3")
def dist(mine: Answer, expect: Expect) -> None:
    """`mine(answers, n) -> per cent`; each answer is a list of words."""
    twice = [["a", "b"], ["a", "b"]]
    result = mine(twice, 1)
    expect.close(mine([["a", "b", "c"]], 1), 100.0, "different")
    expect.close(result, 50.0, "together")
    expect.close(mine(twice, 2), 50.0, "within")
    expect.close(mine([["a", "a", "a", "b"]], 2), 100 * 2 / 3, "n_grams")
    expect.close(mine([["a", "b"], ["b", "a"]], 2), 100.0, "order")
    expect.close(mine([["hi"], []], 2), 0.0, "empty")
