"""Lesson 07: a right answer for each check, and wrong ones with the hint they must get."""


def noam(iteration, dim, warmup, factor=1.0):
    rise, fall = iteration / warmup**1.5, 1 / iteration**0.5
    return factor / dim**0.5 * (rise if iteration < warmup else fall)


def noam_maximum(iteration, dim, warmup, factor=1.0):
    return factor * dim**-0.5 * max(iteration**-0.5, iteration * warmup**-1.5)


def noam_without_width(iteration, dim, warmup, factor=1.0):
    return factor * min(iteration**-0.5, iteration * warmup**-1.5)


def noam_of_root_warmup(iteration, dim, warmup, factor=1.0):
    return factor * dim**-0.5 * min(iteration**-0.5, iteration * warmup**-0.5)


def noam_without_factor(iteration, dim, warmup, factor=1.0):
    return noam(iteration, dim, warmup)


def stop(perplexities, patience):
    for made in range(1, len(perplexities) + 1):
        seen = perplexities[:made]
        best = seen.index(min(seen))
        if patience and made - 1 - best >= patience:
            return made, best
    return len(perplexities), perplexities.index(min(perplexities))


def stop_without_reset(perplexities, patience):
    best, bad = 0, 0
    for number in range(1, len(perplexities)):
        if perplexities[number] < perplexities[best]:
            best = number
        else:
            bad += 1
            if patience and bad >= patience:
                return number + 1, best
    return len(perplexities), best


def stop_against_the_last(perplexities, patience):
    best, bad = 0, 0
    for number in range(1, len(perplexities)):
        bad = 0 if perplexities[number] < perplexities[number - 1] else bad + 1
        best = number if perplexities[number] < perplexities[best] else best
        if patience and bad >= patience:
            return number + 1, best
    return len(perplexities), best


def stop_equal_is_better(perplexities, patience):
    best, bad = 0, 0
    for number in range(1, len(perplexities)):
        best, bad = (number, 0) if perplexities[number] <= perplexities[best] else (best, bad + 1)
        if patience and bad >= patience:
            return number + 1, best
    return len(perplexities), best


def stop_too_late(perplexities, patience):
    return stop(perplexities, patience + 1)


def stop_at_once_without_patience(perplexities, patience):
    return stop(perplexities, max(patience, 1))


CASES = {
    "noam": (
        noam,
        [
            (noam_maximum, "straight line"),
            (noam_without_width, "both terms"),
            (noam_of_root_warmup, "straight line|both terms"),
            (noam_without_factor, "factor multiplies"),
        ],
    ),
    "early_stopping": (
        stop,
        [
            (stop_without_reset, "back to 0"),
            (stop_against_the_last, "best so far"),
            (stop_equal_is_better, "equal perplexity"),
            (stop_too_late, "first bad check"),
            (stop_at_once_without_patience, "never stops"),
        ],
    ),
}
