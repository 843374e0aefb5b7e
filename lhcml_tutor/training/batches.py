"""Shuffled batches of a dict of tensors that already live on the device."""

import torch

BLOCK_BYTES = 2**24  # rows are gathered this much at a time: few calls, and no second copy of a large sample


class Batches:
    """Endless shuffled batches: one permutation an epoch, an incomplete last batch is dropped.

    The permutation of each epoch is `torch.randperm(n, generator=generator, device=device)` with
    `generator = torch.Generator(device).manual_seed(seed)`, so that a loop by hand can draw the same one.
    A sample smaller than one batch is used whole at each step. With more than one process each takes its own
    contiguous part of every batch, so all of them together use the rows that a single one would.

    Arguments:
        data: {name: tensor (n, ...)}, all on one device.
        batch_size: rows of a batch over all processes.
        seed: of the permutations.
        rank, world: number of this process and how many there are.
    Raises:
        ValueError: a batch has fewer rows than there are processes.
    Example:
        >>> batches = Batches({"x": torch.arange(10)}, batch_size=4, seed=1)
        >>> stream = iter(batches)
        >>> first, second, third = next(stream), next(stream), next(stream)
        >>> len(first["x"]), len(set(first["x"].tolist() + second["x"].tolist()))
        (4, 8)
    """

    def __init__(self, data, batch_size, seed, rank=0, world=1):
        self.data = data
        column = next(iter(data.values()))
        self.rows = len(column)
        self.size = min(batch_size, self.rows)
        if self.size < world:
            raise ValueError(f"{world} processes cannot share batches of {self.size} rows; use a larger batch_size")
        self.per_epoch = self.rows // self.size
        self.start, self.stop = rank * self.size // world, (rank + 1) * self.size // world
        # Gradients are averaged over processes; this weight makes it the average over rows where parts are unequal.
        self.weight = (self.stop - self.start) * world / self.size
        self.device = column.device
        self.generator = torch.Generator(self.device).manual_seed(seed)
        self.epoch_state = self.generator.get_state()
        self.used = 0  # batches of this epoch that were handed out
        row_bytes = sum(values[:1].numel() * values.element_size() for values in data.values())
        self.block = max(1, BLOCK_BYTES // max(1, row_bytes * self.size))

    def __iter__(self):
        while True:
            self.epoch_state = self.generator.get_state()
            order = torch.randperm(self.rows, generator=self.generator, device=self.device)  # (n,)
            order = order[: self.per_epoch * self.size].view(self.per_epoch, self.size)
            while self.used < self.per_epoch:
                rows = order[self.used : self.used + self.block, self.start : self.stop].reshape(-1)
                parts = [values.index_select(0, rows).split(self.stop - self.start) for values in self.data.values()]
                for part in zip(*parts, strict=True):
                    self.used += 1
                    yield dict(zip(self.data, part, strict=True))
            self.used = 0

    def state_dict(self):
        return {"epoch_state": self.epoch_state, "used": self.used}

    def load_state_dict(self, state):
        self.generator.set_state(state["epoch_state"])
        self.used = state["used"]
