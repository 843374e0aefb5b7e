"""Many calls of one function: here one after the other, in local processes, or on a Dask cluster.

Results come back in whatever order they are ready; what a call returns must depend on its arguments alone.
"""

import asyncio
import concurrent.futures
import contextlib
import logging
import re

from ..extras import require

ATTEMPTS = 3  # of a call before it is given up
PATIENCE = 8  # seconds to wait for a scheduler, and then for its first worker
ADDRESS = re.compile(r"(tcp|tls|ws|wss|ucx)://[^\s/:]+:\d+")
ENDED = (asyncio.CancelledError, concurrent.futures.CancelledError)


class CallFailed(RuntimeError):
    """A call failed three times; `key` says which one, and the error that it gave is the cause."""

    def __init__(self, key, problem):
        super().__init__(f"{key} failed {ATTEMPTS} times: {type(problem).__name__}: {problem}")
        self.key, self.problem = key, problem


@contextlib.contextmanager
def pool(workers: int = 1, scheduler: str | None = None):
    """Give a function run(function, calls) that yields (key, result) of each call as it is ready.

    Arguments:
        workers: processes on this machine; one: this process, without Dask.
        scheduler: address of a Dask cluster to use instead, "tcp://host:8786".
    Raises:
        MissingExtra: Dask is not installed. ValueError: no address. OSError: nobody answers there, or no worker.
        CallFailed (by run): a call failed three times.
    Example:
        >>> with pool() as run:
        ...     dict(run(max, {"a": (1, 2), "b": (4, 3)}))
        {'a': 2, 'b': 4}
    """
    if scheduler is None and workers == 1:
        yield _one_by_one
        return
    if scheduler is not None and not ADDRESS.fullmatch(scheduler):
        raise ValueError(f"{scheduler!r} is no address of a Dask scheduler; it looks like tcp://127.0.0.1:8786")
    distributed = require("distributed", "simulation")
    with contextlib.ExitStack() as stack:
        client = _connected(distributed, scheduler) if scheduler else _local(distributed, workers, stack)
        stack.enter_context(client)
        yield lambda function, calls: _as_ready(distributed, client, function, calls)


def _one_by_one(function, calls):
    for key, arguments in calls.items():
        for attempt in range(1, ATTEMPTS + 1):
            try:
                result = function(*arguments)
                break
            except Exception as problem:
                if attempt == ATTEMPTS:
                    raise CallFailed(key, problem) from problem
        yield key, result


def _local(distributed, workers, stack):
    """Start processes with one thread each; nothing of theirs goes to the disk."""
    import dask

    stack.enter_context(dask.config.set({"distributed.scheduler.allowed-failures": ATTEMPTS - 1}))
    cluster = distributed.LocalCluster(
        n_workers=workers, threads_per_worker=1, processes=True, host="127.0.0.1", dashboard_address="127.0.0.1:0",
        memory_limit=0, silence_logs=logging.CRITICAL, env={"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"},
    )  # fmt: skip
    return distributed.Client(stack.enter_context(cluster))


def _connected(distributed, scheduler):
    remedy = "start it with `dask scheduler` and `dask worker`, or leave --scheduler out to use this machine"
    try:
        client = distributed.Client(scheduler, timeout=PATIENCE)
    except OSError as problem:
        raise OSError(f"no Dask scheduler answers at {scheduler}; {remedy}") from problem
    try:
        client.wait_for_workers(1, timeout=PATIENCE)
    except OSError as problem:
        client.close()
        raise OSError(f"the Dask scheduler at {scheduler} has no workers; {remedy}") from problem
    return client


def _as_ready(distributed, client, function, calls):
    keys = {
        client.submit(function, *arguments, pure=False, retries=ATTEMPTS - 1): key for key, arguments in calls.items()
    }
    try:
        for future in distributed.as_completed(list(keys)):
            key = keys.pop(future)
            try:
                result = future.result()
            except ENDED as problem:
                raise OSError("the Dask cluster was lost; run the same command again to go on") from problem
            except Exception as problem:
                raise CallFailed(key, problem) from problem
            yield key, result
    finally:
        with contextlib.suppress(Exception):
            client.cancel(list(keys))
