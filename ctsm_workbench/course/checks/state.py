"""Checks of lesson 04: state inclination and embedding, changes by context. Paper: Sec. 3.4.2."""

from collections.abc import Callable, Sequence

import torch

from ctsm_workbench.course.checks.frame import Expect, check, cosine


def _cosines(tokens: Sequence[list], labels: Sequence[list]) -> list[list[float]]:
    return [[cosine(token, label) for label in labels] for token in tokens]


@check("4.1")
def state_inclination(mine: Callable, expect: Expect) -> None:
    """`mine(tokens [B, L, D], emotions [K, D], mask [B, L]) -> V_cos [B, L, K]`; PAD rows are 0."""
    random = torch.Generator().manual_seed(0)
    tokens = torch.randn(2, 4, 5, generator=random)
    emotions = torch.randn(3, 5, generator=random)
    mask = torch.tensor([[True] * 4, [True, True, False, False]])
    result = mine(tokens, emotions, mask)
    expect.shape(result, (2, 4, 3), "shape")
    expect.close(mine(tokens * 10, emotions, mask)[0], result[0], "token_length")
    expect.close(mine(tokens, emotions * 10, mask)[0], result[0], "label_length")
    changed = tokens.clone()
    changed[0, 1:] += 1.0
    expect.close(mine(changed, emotions, mask)[0, 0], result[0, 0], "own_length")
    same = mine(emotions.unsqueeze(0), emotions, mask[:1, :3])[0]
    expect.close(same.diagonal(), [1.0] * 3, "same")
    opposite = mine(-emotions.unsqueeze(0), emotions, mask[:1, :3])[0]
    expect.close(opposite.diagonal(), [-1.0] * 3, "opposite")
    expected = _cosines(tokens[0].tolist(), emotions.tolist())
    expect.close(result[0], expected, "formula")
    expect(float(result[1, 2:].abs().max()) == 0, "pad")
    tokens[0, 2] = 0
    result = mine(tokens, emotions, mask)
    zero = float(result[0, 2].abs().max()) == 0
    expect(bool(torch.isfinite(result).all()) and zero, "zero")


@check("4.2")
def state_embedding(mine: Callable, expect: Expect) -> None:
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
    expect.shape(result, (2, 3, 43), "shape")
    expect.close(result[0, :, 33:], meaning[0], "compressed")
    expect.close(result[0, :, 32], idf[0], "idf")
    expect(float(result[1, 2].abs().max()) == 0, "pad")
    # Both maps are the identity without bias: plain cosines of tokens and labels.
    one = torch.eye(4)
    none = torch.zeros(4)
    plain = embed(one, none, one, none)[0, :, :32]
    expect.close(plain, _cosines(embedded[0].tolist(), labels.tolist()), "plain")
    # One map turns the first two coordinates, the other does nothing.
    turn = torch.tensor([[0.0, -1.0, 0, 0], [1.0, 0.0, 0, 0], [0, 0, 1.0, 0], [0, 0, 0, 1.0]])
    turned = [[-label[1], label[0], label[2], label[3]] for label in labels.tolist()]
    found = embed(turn, none, one, none)[0, :, :32]
    expect.close(found, _cosines(embedded[0].tolist(), turned), "maps")
    shifted = [[x + b for x, b in zip(v, b2.tolist(), strict=True)] for v in embedded[0].tolist()]
    found = embed(one, none, one, b2)[0, :, :32]
    expect.close(found, _cosines(shifted, labels.tolist()), "bias_tokens")
    shifted = [[x + b for x, b in zip(v, b1.tolist(), strict=True)] for v in labels.tolist()]
    found = embed(one, b1, one, none)[0, :, :32]
    expect.close(found, _cosines(embedded[0].tolist(), shifted), "bias_labels")


@check("4.3")
def bend(mine: Callable, expect: Expect) -> None:
    """`mine(states [N, W], words [N], size) -> [size]`.

    Mean cosine distance between two occurrences of each word.
    """
    states = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0], [0.5, 2.0], [3.0, 0.0], [2.0, 1.0]])
    words = torch.tensor([0, 0, 2, 3, 3, 3])
    result = mine(states, words, 5)
    expect.shape(result, (5,), "shape")
    expect(torch.isfinite(result).all(), "no_nan")
    expect.close(result[0], 1.0, "right_angle")
    expect(float(result[1]) == 0 and float(result[4]) == 0, "unseen")
    expect(abs(float(result[2])) < 1e-6, "once")
    lengths = torch.tensor([[1.0], [5.0], [1.0], [7.0], [1.0], [2.0]])
    expect.close(mine(states * lengths, words, 5), result, "length")
    expect.close(result[3], _slow_bend(states[3:].tolist()), "three")
    random = torch.Generator().manual_seed(1)
    states = torch.randn(40, 6, generator=random)
    words = torch.randint(0, 7, (40,), generator=random)
    expected = [_slow_bend(states[words == word].tolist()) for word in range(7)]
    expect.close(mine(states, words, 7), expected, "many")


def _slow_bend(rows: Sequence[list]) -> float:
    pairs = [1 - cosine(rows[i], rows[j]) for i in range(len(rows)) for j in range(i)]
    return sum(pairs) / len(pairs) if pairs else 0.0
