"""The learning rate of each step: linear warm-up, then a cosine down to zero."""

import math


def learning_rate_at(step, *, steps, learning_rate, warmup=0.05, schedule="cosine"):
    """Return the learning rate of one optimiser step, counted from 1.

        w = round(warmup * steps)
        rate(s) = learning_rate * s / w                                              for s <= w
        rate(s) = learning_rate * (1 + cos(pi (s - 1 - w) / (steps - w))) / 2        for s > w ("cosine")

    The cosine starts at the full learning rate and would be zero at the step after the last.

    Arguments:
        step: 1 ... steps.
        steps: length of the training.
        learning_rate: the largest rate.
        warmup: fraction of the steps over which the rate rises, 0 <= warmup < 1.
        schedule: "cosine", or None for a constant rate after the warm-up.
    Example:
        >>> [round(learning_rate_at(s, steps=10, learning_rate=1.0, warmup=0.2), 3) for s in (1, 2, 3, 7, 10)]
        [0.5, 1.0, 1.0, 0.5, 0.038]

    Reference: Loshchilov and Hutter 2016, arXiv:1608.03983 (the cosine).
    """
    rising = round(warmup * steps)
    if step <= rising:
        return learning_rate * step / rising
    if schedule is None:
        return learning_rate
    return 0.5 * learning_rate * (1 + math.cos(math.pi * (step - 1 - rising) / (steps - rising)))
