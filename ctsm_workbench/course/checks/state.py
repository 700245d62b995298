"""Checks of lesson 04: state inclination, state embedding, changes by context.

Paper: Sec. 3.4.2.
"""

from collections.abc import Callable, Sequence

import torch

from ctsm_workbench.course.checks.frame import check, cosine, expect, expect_close, expect_shape


def _cosines(tokens: Sequence[list], labels: Sequence[list]) -> list[list[float]]:
    return [[cosine(token, label) for label in labels] for token in tokens]


@check("4.1")
def state_inclination(mine: Callable) -> None:
    """`mine(tokens [B, L, D], emotions [K, D], mask [B, L]) -> V_cos [B, L, K]`; PAD rows are 0."""
    random = torch.Generator().manual_seed(0)
    tokens = torch.randn(2, 4, 5, generator=random)
    emotions = torch.randn(3, 5, generator=random)
    mask = torch.tensor([[True] * 4, [True, True, False, False]])
    result = mine(tokens, emotions, mask)
    expect_shape(result, (2, 4, 3), "Return a number for each emotion at each token.")
    hint = "Tokens that are ten times longer must give the same: divide by the length of the token."
    expect_close(mine(tokens * 10, emotions, mask)[0], result[0], hint)
    hint = "Ten times longer emotion words must give the same: divide by their length, too."
    expect_close(mine(tokens, emotions * 10, mask)[0], result[0], hint)
    changed = tokens.clone()
    changed[0, 1:] += 1.0
    hint = "A token's inclination depends on that token alone: take its length over the last axis."
    expect_close(mine(changed, emotions, mask)[0, 0], result[0, 0], hint)
    same = mine(emotions.unsqueeze(0), emotions, mask[:1, :3])[0]
    expect_close(same.diagonal(), [1.0] * 3, "A vector has the cosine 1 with itself.")
    opposite = mine(-emotions.unsqueeze(0), emotions, mask[:1, :3])[0]
    hint = "A vector has the cosine -1 with its opposite."
    expect_close(opposite.diagonal(), [-1.0] * 3, hint)
    expected = _cosines(tokens[0].tolist(), emotions.tolist())
    expect_close(result[0], expected, "Compute a . b / (|a| |b|).")
    hint = "PAD rows are zero: padding has no inclination."
    expect(float(result[1, 2:].abs().max()) == 0, hint)
    tokens[0, 2] = 0
    result = mine(tokens, emotions, mask)
    hint = "A token of zeros has no direction: return 0, not NaN. Do not divide by 0."
    zero = float(result[0, 2].abs().max()) == 0
    expect(bool(torch.isfinite(result).all()) and zero, hint)


@check("4.2")
def state_embedding(mine: Callable) -> None:
    """`mine(embedded, labels, w1, b1, w2, b2, idf, meaning, mask) -> [B, L, 43]`.

    Shapes: embedded [B, L, D], labels [32, D], idf [B, L], meaning [B, L, 10], mask [B, L].
    """
    random = torch.Generator().manual_seed(0)
    shapes = ((2, 3, 4), (32, 4), (2, 3, 10), (4, 4), (4,), (4, 4), (4,))
    drawn = (torch.randn(*shape, generator=random) for shape in shapes)
    embedded, labels, meaning, w1, b1, w2, b2 = drawn
    idf = torch.rand(2, 3)
    mask = torch.tensor([[True] * 3, [True, True, False]])

    def embed(*maps: torch.Tensor) -> torch.Tensor:
        return mine(embedded, labels, *maps, idf, meaning, mask)

    result = embed(w1, b1, w2, b2)
    expect_shape(result, (2, 3, 43), "32 inclinations, 1 IDF, 10 of the compressed context.")
    expect_close(result[0, :, 33:], meaning[0], "The last ten columns are the compressed context.")
    expect_close(result[0, :, 32], idf[0], "Column 32 is the IDF, after the inclinations.")
    expect(float(result[1, 2].abs().max()) == 0, "PAD rows are zero, in all 43 columns.")
    # Both maps are the identity without bias: plain cosines of tokens and labels.
    one = torch.eye(4)
    none = torch.zeros(4)
    hint = "With maps that change nothing: the cosine of token and label (Eq. 7)."
    plain = embed(one, none, one, none)[0, :, :32]
    expect_close(plain, _cosines(embedded[0].tolist(), labels.tolist()), hint)
    # One map turns the first two coordinates, the other does nothing.
    turn = torch.tensor([[0.0, -1.0, 0, 0], [1.0, 0.0, 0, 0], [0, 0, 1.0, 0], [0, 0, 0, 1.0]])
    turned = [[-label[1], label[0], label[2], label[3]] for label in labels.tolist()]
    hint = "W_1 maps the labels (Eq. 5), and W_2 maps the tokens (Eq. 6)."
    hint += " PyTorch keeps weights as [out, in]: x @ W.T."
    found = embed(turn, none, one, none)[0, :, :32]
    expect_close(found, _cosines(embedded[0].tolist(), turned), hint)
    hint = "The bias b_2 is added to the tokens, before the cosine."
    shifted = [[x + b for x, b in zip(v, b2.tolist(), strict=True)] for v in embedded[0].tolist()]
    found = embed(one, none, one, b2)[0, :, :32]
    expect_close(found, _cosines(shifted, labels.tolist()), hint)
    hint = "The bias b_1 is added to the labels, before the cosine."
    shifted = [[x + b for x, b in zip(v, b1.tolist(), strict=True)] for v in labels.tolist()]
    found = embed(one, b1, one, none)[0, :, :32]
    expect_close(found, _cosines(embedded[0].tolist(), shifted), hint)


@check("4.3")
def bend(mine: Callable) -> None:
    """`mine(states [N, W], words [N], size) -> [size]`.

    Mean cosine distance between two occurrences of each word.
    """
    states = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0], [0.5, 2.0], [3.0, 0.0], [2.0, 1.0]])
    words = torch.tensor([0, 0, 2, 3, 3, 3])
    result = mine(states, words, 5)
    expect_shape(result, (5,), "Return one number for each word of the vocabulary, seen or not.")
    hint = "Words that occur less than twice have no pair: return 0, not NaN."
    expect(torch.isfinite(result).all(), hint)
    hint = "Two occurrences at right angles have one pair, with the distance 1."
    hint += " Is an occurrence with itself counted as a pair?"
    expect_close(result[0], 1.0, hint)
    hint = "A word that does not occur has 0."
    expect(float(result[1]) == 0 and float(result[4]) == 0, hint)
    expect(abs(float(result[2])) < 1e-6, "A word that occurs once has no pair: 0.")
    hint = "The distance is between directions: bring every state to length 1 first."
    lengths = torch.tensor([[1.0], [5.0], [1.0], [7.0], [1.0], [2.0]])
    expect_close(mine(states * lengths, words, 5), result, hint)
    hint = "Three occurrences: take the mean over their three pairs."
    expect_close(result[3], _slow_bend(states[3:].tolist()), hint)
    random = torch.Generator().manual_seed(1)
    states = torch.randn(40, 6, generator=random)
    words = torch.randint(0, 7, (40,), generator=random)
    expected = [_slow_bend(states[words == word].tolist()) for word in range(7)]
    expect_close(mine(states, words, 7), expected, "Words come in any order, and many at once.")


def _slow_bend(rows: Sequence[list]) -> float:
    pairs = [1 - cosine(rows[i], rows[j]) for i in range(len(rows)) for j in range(i)]
    return sum(pairs) / len(pairs) if pairs else 0.0
