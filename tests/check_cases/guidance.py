"""Lesson 05: a right answer for each check, and wrong ones with the hint they must get."""

import torch


def weights(intensity, mask):
    kept = intensity.exp() * mask
    return kept / kept.sum(dim=1, keepdim=True) * mask.sum(dim=1, keepdim=True)


def weights_over_the_batch(intensity, mask):
    return intensity.softmax(dim=0) * mask.sum(dim=1, keepdim=True)


def weights_without_n(intensity, mask):
    return intensity.masked_fill(~mask, float("-inf")).softmax(dim=1)


def weights_with_pad(intensity, mask):
    return intensity.softmax(dim=1) * mask.sum(dim=1, keepdim=True)


def weights_masked_after(intensity, mask):
    return intensity.softmax(dim=1) * mask * mask.sum(dim=1, keepdim=True)


def weights_padded_length(intensity, mask):
    return weights_without_n(intensity, mask) * intensity.shape[1]


def pooling(values, weight, bias, score, mask, activation=torch.tanh):
    scores = activation(torch.einsum("ij,blj->bli", weight, values) + bias) @ score
    kept = scores.exp() * mask
    shares = kept / kept.sum(dim=1, keepdim=True)
    return (shares.unsqueeze(-1) * values).sum(dim=1), shares


def pooling_without_mask(values, weight, bias, score, mask):
    return pooling(values, weight, bias, score, torch.ones_like(mask))


def pooling_over_the_batch(values, weight, bias, score, mask):
    shares = ((values @ weight.T + bias).tanh() @ score).softmax(dim=0)
    return (shares.unsqueeze(-1) * values).sum(dim=1), shares


def pooling_without_tanh(values, weight, bias, score, mask):
    return pooling(values, weight, bias, score, mask, lambda x: x)


def pooling_transposed(values, weight, bias, score, mask):
    return pooling(values, weight.T, bias, score, mask)


def pooling_of_the_hidden(values, weight, bias, score, mask):
    shares = pooling(values, weight, bias, score, mask)[1]
    return (shares.unsqueeze(-1) * (values @ weight.T + bias).tanh()).sum(dim=1), shares


def pooling_alone(values, weight, bias, score, mask):
    return pooling(values, weight, bias, score, mask)[0]


def soft(student, teacher):
    p = teacher.detach().softmax(dim=-1)
    return (p * (student.logsumexp(dim=-1, keepdim=True) - student)).sum(dim=-1)


def soft_without_stop(student, teacher):
    return -(teacher.softmax(dim=-1) * student.log_softmax(dim=-1)).sum(dim=-1)


def soft_wrong_stop(student, teacher):
    return soft_without_stop(student.detach(), teacher)


def soft_nothing_learns(student, teacher):
    return soft_without_stop(student.detach(), teacher.detach())


def soft_divergence(student, teacher):
    p = teacher.detach().softmax(dim=-1)
    return (p * (p.log() - student.log_softmax(dim=-1))).sum(dim=-1)


def soft_favourite(student, teacher):
    return torch.nn.functional.cross_entropy(student, teacher.argmax(dim=-1), reduction="none")


def soft_swapped(student, teacher):
    return -(student.softmax(dim=-1) * teacher.detach().log_softmax(dim=-1)).sum(dim=-1)


def soft_log_of_softmax(student, teacher):
    return -(teacher.detach().softmax(dim=-1) * student.softmax(dim=-1).log()).sum(dim=-1)


def soft_mean(student, teacher):
    return soft(student, teacher).mean()


CASES = {
    "intensity_weights": (
        weights,
        [
            (weights_over_the_batch, "axis of the softmax"),
            (weights_without_n, "factor n"),
            (weights_with_pad, "mask before the softmax"),
            (weights_masked_after, "n counts the real tokens"),
            (weights_padded_length, "n counts the real tokens"),
        ],
    ),
    "attention_pooling": (
        pooling,
        [
            (pooling_alone, "Return two things"),
            (pooling_over_the_batch, "softmax goes over its tokens"),
            (pooling_without_tanh, "Is the tanh there"),
            (pooling_transposed, "transposed"),
            (pooling_without_mask, "PAD gets no share"),
            (pooling_of_the_hidden, "not their tanh"),
        ],
    ),
    "soft_label_loss": (
        soft,
        [
            (soft_mean, "one loss per dialogue"),
            (soft_swapped, "roles are swapped"),
            (soft_favourite, "favourite emotion only"),
            (soft_divergence, "KL divergence"),
            (soft_without_stop, "reaches the teacher"),
            (soft_wrong_stop, "which of the two must be detached"),
            (soft_nothing_learns, "which of the two must be detached"),
            (soft_log_of_softmax, "use log_softmax"),
        ],
    ),
}
