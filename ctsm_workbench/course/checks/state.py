"""Checks of lesson 04: state inclination and embedding, changes by context. Paper: Sec. 3.4.2."""

import torch
from scipy.spatial.distance import pdist

from ctsm_workbench.course.checks.frame import Answer, Expect, check, cosines, normal


@check("4.1")
def state_inclination(mine: Answer, expect: Expect) -> None:
    """`mine(tokens [B, L, D], emotions [K, D], mask [B, L]) -> V_cos [B, L, K]`; PAD rows are 0."""
    tokens, emotions = normal((2, 4, 5), (3, 5))
    mask = torch.tensor([[True] * 4, [True, True, False, False]])
    result = expect.shape(mine(tokens, emotions, mask), (2, 4, 3))
    expect.close(mine(tokens * 10, emotions, mask)[0], result[0], "token_length")
    expect.close(mine(tokens, emotions * 10, mask)[0], result[0], "label_length")
    changed = tokens.clone()
    changed[0, 1:] += 1.0
    expect.close(mine(changed, emotions, mask)[0, 0], result[0, 0], "own_length")
    same = mine(emotions.unsqueeze(0), emotions, mask[:1, :3])[0]
    expect.close(same.diagonal(), [1.0] * 3, "same")
    opposite = mine(-emotions.unsqueeze(0), emotions, mask[:1, :3])[0]
    expect.close(opposite.diagonal(), [-1.0] * 3, "opposite")
    expect.close(result[0], cosines(tokens[0], emotions), "formula")
    expect(float(result[1, 2:].abs().max()) == 0, "pad")
    tokens[0, 2] = 0
    result = mine(tokens, emotions, mask)
    zero = float(result[0, 2].abs().max()) == 0
    expect(bool(torch.isfinite(result).all()) and zero, "zero")


@check("4.2")
def state_embedding(mine: Answer, expect: Expect) -> None:
    """`mine(embedded, labels, w1, b1, w2, b2, idf, meaning, mask) -> [B, L, 43]`.

    Shapes: embedded [B, L, D], labels [32, D], idf [B, L], meaning [B, L, 10], mask [B, L].
    """
    shapes = ((2, 3, 4), (32, 4), (2, 3, 10), (4, 4), (4,), (4, 4), (4,), (2, 3))
    embedded, labels, meaning, w1, b1, w2, b2, idf = normal(*shapes)
    mask = torch.tensor([[True] * 3, [True, True, False]])

    def embed(*maps: torch.Tensor) -> torch.Tensor:
        return mine(embedded, labels, *maps, idf, meaning, mask)

    result = expect.shape(embed(w1, b1, w2, b2), (2, 3, 43))
    expect.close(result[0, :, 33:], meaning[0], "compressed")
    expect.close(result[0, :, 32], idf[0], "idf")
    expect(float(result[1, 2].abs().max()) == 0, "pad")
    # `turn` turns the first two coordinates; `one` and `none` change nothing.
    turn = torch.tensor([[0.0, -1.0, 0, 0], [1.0, 0.0, 0, 0], [0, 0, 1.0, 0], [0, 0, 0, 1.0]])
    turned = torch.stack([-labels[:, 1], *labels.T[[0, 2, 3]]], dim=1)
    one = torch.eye(4)
    none = torch.zeros(4)
    for maps, token, label, hint in (
        ((one, none, one, none), embedded[0], labels, "plain"),
        ((turn, none, one, none), embedded[0], turned, "maps"),
        ((one, none, one, b2), embedded[0] + b2, labels, "bias_tokens"),
        ((one, b1, one, none), embedded[0], labels + b1, "bias_labels"),
    ):
        expect.close(embed(*maps)[0, :, :32], cosines(token, label), hint)


@check("4.3")
def bend(mine: Answer, expect: Expect) -> None:
    """`mine(states [N, W], words [N], size) -> [size]`.

    Mean cosine distance between two occurrences of each word.
    """
    states = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0], [0.5, 2.0], [3.0, 0.0], [2.0, 1.0]])
    words = torch.tensor([0, 0, 2, 3, 3, 3])
    result = expect.shape(mine(states, words, 5), (5,))
    expect(torch.isfinite(result).all(), "no_nan")
    expect.close(result[0], 1.0, "right_angle")
    expect(float(result[1]) == 0 and float(result[4]) == 0, "unseen")
    expect(abs(float(result[2])) < 1e-6, "once")
    lengths = torch.tensor([[1.0], [5.0], [1.0], [7.0], [1.0], [2.0]])
    expect.close(mine(states * lengths, words, 5), result, "length")
    expect.close(result[3], pdist(states[3:], "cosine").mean(), "three")
    [states] = normal((40, 6))
    words = torch.randint(0, 7, (40,), generator=torch.Generator().manual_seed(1))
    expected = [pdist(states[words == word], "cosine").mean() for word in range(7)]
    expect.close(mine(states, words, 7), expected, "many")
