"""Checks of lessons 04 to 06: state, guidance, decoder. Paper: Sec. 3.4.2 to 3.6."""

import numpy as np
import torch
from scipy.spatial.distance import pdist
from scipy.special import logsumexp

from ctsm_workbench.course.checks.frame import Answer, Expect, check, cosines, normal, softmax


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
def variation(mine: Answer, expect: Expect) -> None:
    """`mine(states [N, W], words [N], size) -> [size]`, mean distance between occurrences."""
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


@check("5.1")
def intensity_weights(mine: Answer, expect: Expect) -> None:
    """`mine(intensity, mask) -> [B, L]`: `n softmax(I)` over the n real tokens of a dialogue."""
    intensity = torch.tensor([[0.0, 0.9, 0.3, 0.5], [0.8, 0.2, 0.0, 0.0]])
    mask = torch.tensor([[True] * 4, [True, True, False, False]])
    result = expect.shape(mine(intensity, mask), (2, 4))
    shares = softmax(intensity, mask)
    expect.close(result[0] / result[0].sum(), shares[0], "shares")
    expect.close(result[0], 4 * shares[0], "factor")
    expect(float(result[1, 2:].abs().max()) == 0, "pad")
    expect.close(result[1, :2], 2 * shares[1, :2], "real_tokens")


@check("5.2")
def attention_pooling(mine: Answer, expect: Expect) -> None:
    """`mine(values, weight, bias, score, mask) -> (pooled [B, W], S [B, L])`.

    Shapes: values [B, L, W], weight [W, W], bias [W], score [W], mask [B, L].
    """
    values, *parameters = normal((2, 4, 3), (3, 3), (3,), (3,))
    weight, bias, score = (2 * parameter for parameter in parameters)
    mask = torch.tensor([[True] * 4, [True, True, False, False]])
    result = mine(values, weight, bias, score, mask)
    expect(isinstance(result, tuple) and len(result) == 2, "two")
    pooled, shares = result
    expect.shape(shares, (2, 4), "shares_shape")
    expect.shape(pooled, (2, 3), "pooled_shape")
    expect.close(shares[0].sum(), 1.0, "sum")
    hidden = (torch.einsum("blw,vw->blv", values, weight) + bias).tanh()
    expected = softmax(hidden @ score, mask)
    expect.close(shares[0], expected[0], "score")
    expect(float(shares[1, 2:].abs().max()) == 0, "pad")
    expect.close(shares[1], expected[1], "second")
    expect.close(pooled, np.einsum("bl,blw->bw", expected, values), "values")


@check("5.3")
def soft_label_loss(mine: Answer, expect: Expect) -> None:
    """`mine(student [B, K], teacher [B, K]) -> [B]`, cross-entropy with a constant teacher."""
    student, teacher = (logits.requires_grad_() for logits in normal((3, 5), (3, 5)))
    result = expect.shape(mine(student, teacher), (3,))
    p = softmax(teacher)
    q = softmax(student)

    def cross(of: np.ndarray, by: np.ndarray) -> np.ndarray:
        return -(of * np.log(by)).sum(axis=1)

    expect.differs(result, cross(q, p), "swapped", tolerance=1e-5)
    favourite = -np.log(q[range(3), p.argmax(axis=1)])
    expect.differs(result, favourite, "favourite", tolerance=1e-5)
    expect.differs(result, cross(p, q) - cross(p, p), "divergence", tolerance=1e-5)
    expect.close(result, cross(p, q), "formula")
    expect(result.requires_grad, "student")
    inputs = (student, teacher)
    to_student, to_teacher = torch.autograd.grad(result.sum(), inputs, allow_unused=True)
    expect(to_student is not None, "student")
    expect(to_teacher is None or float(to_teacher.abs().max()) == 0, "teacher")
    expect.close(to_student, q - p, "gradient")
    extreme = mine(torch.tensor([[200.0, -200.0]]), torch.tensor([[0.0, 0.0]]))
    expect.close(extreme, [200.0], "log_softmax")


@check("6.1")
def pointer_mixture(mine: Answer, expect: Expect) -> None:
    """`mine(logits [B, V], gate [B, 1], copy [B, L], context [B, L]) -> log P [B, V]`."""
    [logits] = normal((2, 6))
    gate = torch.tensor([[0.4], [-1.2]])
    copy = torch.tensor([[0.5, 0.3, 0.2], [0.6, 0.4, 0.0]])
    # Word 4 stands twice in the first row. The second row ends in PAD.
    context = torch.tensor([[4, 2, 4], [3, 5, 1]])
    result = expect.shape(torch.as_tensor(mine(logits, gate, copy, context)), (2, 6))
    alpha = gate.double().sigmoid().numpy()
    expected = alpha * softmax(logits)
    for row, place in np.ndindex(2, 3):
        expected[row, context[row, place]] += (1 - alpha[row, 0]) * float(copy[row, place])
    expect(float(result.max()) <= 1e-6, "logarithm")
    probability = result.exp()
    expect.close(probability[:, 0], expected[:, 0], "generated")
    expect.close(probability[0, 2], expected[0, 2], "copied")
    expect.close(probability[0, 4], expected[0, 4], "twice")
    expect.close(probability.sum(dim=1), [1.0, 1.0], "sum")
    expect.close(probability, expected, "formula")
    far = torch.tensor([[300.0, 0.0, 0.0, 0.0, 0.0, 0.0]], requires_grad=True)
    open_gate = torch.tensor([[200.0]], requires_grad=True)
    weights = copy[1:].clone().requires_grad_()  # its PAD cannot be copied
    extreme = mine(far, open_gate, weights, context[1:])
    expect(torch.isfinite(extreme).all(), "log_space")
    expect.close(extreme[0, 1], -300.0, "no_floor")
    grads = torch.autograd.grad(extreme.sum(), (far, open_gate, weights), allow_unused=True)
    expect(all(grad is None or bool(torch.isfinite(grad).all()) for grad in grads), "gradient")


@check("6.2")
def contrastive_pair(mine: Answer, expect: Expect) -> None:
    """`mine(first [B, D], second [B, D], temperature)`: NT-Xent with negatives of both views."""
    alike = torch.tensor([[1.0, 0.0], [1.0, 0.0], [1.0, 0.0]])
    result = expect.shape(mine(alike, alike, 0.5), (), "scalar")
    for keys, hint in ((6, "not_itself"), (4, "positive"), (3, "both_views")):
        expect.differs(result, np.log(keys), hint, tolerance=1e-4)
    expect.close(result, np.log(5), "ln5")
    first, second = normal((4, 3), (4, 3))

    def losses(temperature: float) -> np.ndarray:
        anchors = torch.cat([first, second])
        scores = cosines(anchors, anchors) / temperature
        np.fill_diagonal(scores, -np.inf)
        return logsumexp(scores, axis=1) - np.roll(scores, 4, axis=1).diagonal()

    each = losses(0.5)
    result = mine(first, second, 0.5)
    expect.close(mine(first * 3, second * 0.2, 0.5), result, "length", tolerance=1e-4)
    expect.differs(result, each[:4].mean(), "both_anchors", tolerance=1e-4)
    expect.differs(result, each.sum(), "sum", tolerance=1e-4)
    expect.differs(result, losses(2.0).mean(), "temperature", tolerance=1e-4)
    expect.close(result, each.mean(), "formula")
    alone = mine(torch.ones(1, 3), torch.tensor([[1.0, 0.0, -1.0]]), 0.07)
    expect.close(alone, 0.0, "alone")
    opposite = torch.tensor([[1.0, 0.0], [-1.0, 0.0]])
    expect.close(mine(opposite, opposite, 0.02), 0.0, "opposite")


@check("6.3")
def diversity_weights(mine: Answer, expect: Expect) -> None:
    """`mine(counts [V], target [N]) -> [N]`, `1 - f / max f` with mean 1 over the vocabulary."""
    counts = torch.tensor([40, 10, 0, 30, 0, 0])
    target = torch.tensor([0, 2, 2, 3, 1])
    result = expect.shape(mine(counts, target), (5,))
    expect.close(result[0], 0.0, "frequent")
    raw = 1 - counts.numpy() / 40
    chosen = raw[target]
    expect.close(result[4] / result[1], raw[1], "quarter")
    expect.differs(result[1], 1, "rescale")
    expect.differs(result[1], 1 / chosen.mean(), "vocabulary")
    expect.close(result, chosen / raw.mean(), "formula")
    expect.close(mine(torch.zeros(6, dtype=torch.int64), target), [1.0] * 5, "uncounted")
