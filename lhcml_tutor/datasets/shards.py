"""Samples made in shards, by one process or many: the same file for any number of them, and a killed run goes on.

    path = make_sample("ttbar", events=100_000, workers=4)

Each finished shard is kept in the cache folder under the sample's name, settings, seed and code. How many shards are
made is decided in rounds, from the accepted events of the shards before, never from who was faster.
"""

import contextlib
import hashlib
import json
import tempfile
from itertools import accumulate
from pathlib import Path

from tqdm import tqdm

from ..extras import require
from . import registry
from .cache import cache_folder, intact, say
from .cluster import CallFailed, pool
from .events import Events
from .files import BadSample, read, unpack, write_whole
from .locks import locked
from .one_shard import fingerprint, make_shard


class ShardFailed(RuntimeError):
    """A shard failed three times; the finished ones are kept."""


def make_sample(name, events=None, *, seed=1, workers=1, scheduler=None, output=None, **settings) -> Path:
    """Make the first `events` accepted events of a sample, and return the file.

    Two processes that ask for the same sample make it once: the second waits and reads the first one's file.

    Arguments:
        events: how many; by default as many as are committed.
        seed: 1 to 899,000; each shard has a seed of its own, made of this one and its number.
        workers: processes on this machine. scheduler: address of a Dask cluster to use instead.
        output: an .npz file to write as well; needed where the cache folder cannot be written.
        settings: of the sample, see `lhcml data list`.
    Raises:
        ValueError: an unknown sample or setting, events or seed out of range. MissingExtra: a package is missing.
        OSError: full disk, a folder that cannot be written, a scheduler that does not answer.
        ShardFailed: a shard failed three times; the others are kept.
    Example:
        >>> import os, tempfile
        >>> os.environ["LHCML_CACHE"] = tempfile.mkdtemp()
        >>> Events.load(make_sample("toy", events=1200))
        sample toy: made of 3 shards and kept in the cache (toy-1200-...npz)
        Events(1,200 events: pt (n,) GeV, phi (n,) rad)
        >>> del os.environ["LHCML_CACHE"]
    """
    order = Order(name, events, seed, settings)
    if workers < 1:
        raise ValueError(f"workers = {workers}; at least one must do the work")
    if output is not None and (Path(output).suffix != ".npz" or Path(output).is_dir()):
        raise ValueError(f"the output {output} is no .npz file; a sample is saved as NAME.npz")
    final = cache_folder() / "made" / f"{name}-{order.events}-{order.digest(order.events)}.npz"
    with contextlib.ExitStack() as stack:
        if intact(final) is None:
            folder = _work_in(order, stack, output)
            final = final if folder else Path(output)
            if intact(final) is not None:  # another process made it while this one waited
                say(name, f"from the cache ({final.name}), where another process has just put it")
            else:
                folder = folder or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="lhcml-")))
                _write(order, folder, final, workers, scheduler)
        else:
            say(name, f"from the cache ({final.name})")
    if output is not None and Path(output) != final:
        write_whole(output, final.read_bytes())
    return Path(output) if output is not None else final


class Order:
    """What is to be made: a sample with its number of events, seed and settings, all checked.

    Example:
        >>> Order("toy", 0, 1, {})
        Traceback (most recent call last):
        ValueError: events = 0; it must be an integer from 1 to 1000000 ...
    """

    def __init__(self, name, events, seed, settings):
        self.name, self.sample = name, registry.sample(name)
        self.events = self.sample.events if events is None else events
        self.seed, self.settings = seed, registry.checked_settings(name, settings)
        most = registry.MOST_SHARDS * (self.sample.per_shard or self.sample.events)
        hint = "the shards of one seed hold no more; take several seeds"
        _check_whole("events", self.events, most, hint)
        _check_whole("seed", seed, registry.MOST_SEED, "other seeds would share the shards of their neighbours")
        for package in self.sample.packages:
            require(package, self.sample.extra)
        self.code = fingerprint(self.sample.make, self.sample.packages)

    def digest(self, events=None) -> str:
        """Return what tells this sample from others: name, settings, seed, code, and events for the whole."""
        sample = self.sample
        key = [self.name, self.seed, self.settings, sample.arguments, sample.per_shard, self.code, events]
        return hashlib.sha256(json.dumps(key, sort_keys=True, allow_nan=False).encode()).hexdigest()[:16]

    def call(self, shard) -> tuple:
        """Return the arguments of `make_shard` for one shard."""
        sample, whole = self.sample, self.sample.per_shard is None
        seed = self.seed if whole else registry.shard_seed(self.seed, shard)
        arguments = {**sample.arguments, **self.settings}
        tries = self.events if whole else sample.per_shard
        return sample.make, tries, seed, arguments, sample.units, sample.packages, self.code


def accepted(name, events=None, seed=1, **settings) -> list[int]:
    """Return how many events of a sample come from each of its shards, which are in the cache or are made.

    Raises:
        as `make_sample`
    Example:
        >>> import os, tempfile
        >>> os.environ["LHCML_CACHE"] = tempfile.mkdtemp()
        >>> counts = accepted("toy", events=800)
        >>> len(counts), sum(counts)
        (2, 800)
        >>> del os.environ["LHCML_CACHE"]
    """
    order = Order(name, events, seed, settings)
    with contextlib.ExitStack() as stack:
        return _used(_make_shards(order, _work_in(order, stack, None), 1, None), order)


def _check_whole(name, value, most, hint):
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
        raise ValueError(f"{name} = {value!r}; it must be an integer from 1 to {most} ({hint})")


def _work_in(order, stack, output):
    """Return the folder of the shards, with its lock held; None where the cache cannot be written."""
    folder = cache_folder() / "shards" / f"{order.name}-{order.digest(order.events if _whole(order) else None)}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        told = "another process is making it; waiting for its file"
        stack.enter_context(locked(folder / "lock", waiting=lambda: say(order.name, told)))
        tempfile.TemporaryFile(dir=folder).close()  # a lock may be had where nothing can be written
    except OSError as problem:
        why = f"{cache_folder()} cannot be written ({problem.strerror or problem})"
        if output is None:
            raise OSError(
                problem.errno, f"{why}; set LHCML_CACHE to a folder that can, or name a file with --output"
            ) from problem
        say(order.name, f"{why}; the shards are kept in a temporary folder until the end")
        return None
    for left in [*folder.glob(".*.part"), *cache_folder().glob(f"made/.{order.name}-{order.events}-*.part")]:
        left.unlink(missing_ok=True)  # of a run that was killed while it wrote; the lock says that it is gone
    return folder


def _whole(order):
    return order.sample.per_shard is None


def _write(order, folder, final, workers, scheduler):
    enough = len(_used(_make_shards(order, folder, workers, scheduler), order))
    events = Events.join(part for shard in range(enough) for part in _stored(folder / f"{shard:05d}.npz", order))
    events = events if _whole(order) else events[: order.events]
    events.provenance["seed"] = order.seed
    if order.settings:
        events.provenance["settings"] = order.settings
    write_whole(final, events.packed())
    say(order.name, f"made of {enough} shards and kept in the cache ({final.name})")


def _make_shards(order, folder, workers, scheduler):
    """Make all the shards that are needed and not there; return the accepted events of each."""
    if kept := len(list(folder.glob("*.npz"))):
        say(order.name, f"{kept} shards of an earlier run found, going on from there")
    counts, run = [], None
    with contextlib.ExitStack() as stack:
        bar = stack.enter_context(tqdm(total=order.events, desc=order.name, unit=" events", disable=None))
        while _missing(order, counts) > 0:
            batch, done, calls = _next_round(order, counts), {}, {}
            for shard in batch:
                parts = _stored(folder / f"{shard:05d}.npz", order)
                if parts is None:
                    calls[shard] = order.call(shard)
                else:
                    done[shard] = sum(map(len, parts))
            if not bar.disable:
                bar.initial += sum(done.values())  # so that the time left is that of the shards to be made
            bar.update(sum(done.values()))
            if calls:
                run = run or stack.enter_context(pool(workers, scheduler))
                for shard, data in _run(run, calls, order):
                    write_whole(folder / f"{shard:05d}.npz", data)
                    done[shard] = _accepted(data)
                    bar.update(done[shard])
            counts += [done[shard] for shard in batch]
    return counts


def _run(run, calls, order):
    try:
        yield from run(make_shard, calls)
    except CallFailed as failed:
        why = f"{type(failed.problem).__name__}: {failed.problem}"
        text = f"shard {failed.key} of {order.name!r} failed three times ({why}); the finished shards are kept"
        raise ShardFailed(text) from failed.problem


def _used(counts, order):
    """Return how many events of each shard are in the sample; the last one need not be used up."""
    if _whole(order):
        return counts
    before = [0, *accumulate(counts)]
    return [min(count, order.events - start) for count, start in zip(counts, before) if start < order.events]


def _missing(order, counts):
    if _whole(order):
        return 1 - len(counts)
    return order.events - sum(counts)


def _next_round(order, counts):
    """Return the shards to make next: as many as the acceptance of all shards so far asks for, rounded down."""
    per_shard = order.sample.per_shard or order.events
    if counts and not sum(counts):
        further = len(counts)  # nothing passed yet: twice as many
    else:
        further = int(_missing(order, counts) / (sum(counts) / len(counts) if counts else per_shard))
    stop = min(len(counts) + max(further, 1), registry.MOST_SHARDS)
    if stop == len(counts):
        raise ValueError(
            f"only {sum(counts)} of {order.events} events of {order.name!r} after {stop} shards of {per_shard} tries, "
            "the most that one seed has; ask for fewer events, or make the rest with another seed"
        )
    return range(len(counts), stop)


def _stored(path, order):
    """Return the events of a finished shard as a list: empty where no try passed; None: it is not there."""
    try:
        columns, units, provenance = unpack(read(path), path)
    except FileNotFoundError:
        return None
    except BadSample as problem:
        say(order.name, f"{problem} (done for you: it is made again)")
        path.unlink()
        return None
    return [Events(columns, units, provenance)] if columns else []


def _accepted(data):
    columns = unpack(data)[0]
    return len(next(iter(columns.values()))) if columns else 0
