"""Many runs of one notebook: over seeds and over parameters, a few at a time, resumed where they were interrupted."""

import itertools
import os
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor, as_completed

from ..scale import _like as like
from .execute import run
from .results import recorded
from .sources import Problem, check_parameters


def product(parameters, seeds) -> list[dict]:
    """Return every combination of parameter values and seeds, as {name: value, "seed": seed}.

    Example:
        >>> product({"n_train": ["1000", "10000"]}, seeds=1)
        [{'n_train': '1000', 'seed': 1}, {'n_train': '10000', 'seed': 1}]
    """
    values = [[(name, value) for value in parameters[name]] for name in parameters]
    return [{**dict(chosen), "seed": seed} for chosen in itertools.product(*values) for seed in range(1, seeds + 1)]


def matches(record, chosen, until=None) -> bool:
    """Tell whether a recorded run is the one that was asked for: same values, everything else the notebook's own.

    Example:
        >>> record = {"seed": 1, "parameters": {"n": 1000, "depth": 3}, "changed": ["n"], "verdicts": []}
        >>> matches(record, {"n": "1e3", "seed": 1}), matches(record, {"seed": 1})
        (True, False)
    """
    values = {**record["parameters"], "seed": record["seed"]}
    if not set(record["changed"]) <= set(chosen) or not set(chosen) <= set(values):
        return False
    names = [entry["name"] for entry in record["verdicts"]]
    if until is not None and until not in names:
        return False
    if until is None and record.get("until"):
        return False
    return all(like(values[name], value, name) == values[name] for name, value in chosen.items())


def run_all(source, wanted, *, scale, until=None, jobs=1, fresh=False, say=print) -> list[dict]:
    """Run a notebook with each of the wanted parameters and return the records, those of earlier runs included.

    Arguments:
        wanted: from `product`.
        until: name of the verdict after which a run may stop.
        jobs: how many at a time; each gets its share of the cores.
        fresh: run again what runs/ already has.
    Raises:
        Problem: a parameter is wrong, or a run failed; the message ends with what it printed last.
    """
    for chosen in wanted:
        check_parameters(source, chosen)
    earlier = [] if fresh else recorded(source, scale)
    done = [next((record for record in reversed(earlier) if matches(record, chosen, until)), None) for chosen in wanted]
    todo = [number for number, record in enumerate(done) if record is None]
    if len(todo) < len(wanted):
        say(f"{len(wanted) - len(todo)} of {len(wanted)} runs are already in runs/")
    threads = max(1, _cores() // jobs)
    started, failed, stop = time.perf_counter(), [], threading.Event()

    def one(number):
        if stop.is_set():
            return None
        return run(
            source, scale=scale, parameters=wanted[number], strict=False, until=until, threads=threads, capture=True
        )

    with ThreadPoolExecutor(jobs) as pool:
        futures = {pool.submit(one, number): number for number in todo}
        try:
            for ended, future in enumerate(as_completed(futures), 1):
                outcome, number = future.result(), futures[future]
                done[number] = outcome.record
                what = ", ".join(f"{name} {value}" for name, value in wanted[number].items())
                left = (time.perf_counter() - started) / ended * (len(todo) - ended)
                end = f"failed with status {outcome.status}" if outcome.status else f"{outcome.seconds:.1f} s"
                say(f"[{ended}/{len(todo)}] {what}: {end}; about {_duration(left)} left")
                if outcome.status:
                    failed.append((what, outcome.output))
        except BaseException:
            stop.set()
            raise
    if failed:
        what, output = failed[0]
        tail = "\n".join(output.strip().splitlines()[-15:])
        raise Problem(f"{len(failed)} of {len(todo)} runs failed; the others are kept. {what} ended with\n{tail}")
    return [record for record in done if record]


def _cores():
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


def _duration(seconds):
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
