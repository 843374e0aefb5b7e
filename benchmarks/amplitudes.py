"""How fast the amplitude samples are made, cuts included: python benchmarks/amplitudes.py [n]

Interleaved runs without the cache; the best of them counts, since other work on the machine can only slow a run down.
The rate per second of processor time hardly depends on that other work; with more than one thread it counts waiting.
"""

import sys
import time

import torch

from lhcml_tutor.datasets.amplitudes import make_amplitudes
from lhcml_tutor.physics.amplitudes import qqbar_to_z_gluons

GOAL = 5_000  # Zgg events per second on two cores


def main(n=30_000, repeats=5):
    """Print a table of events per second and return the best rate of Zgg samples."""
    momenta = {process: make_amplitudes(process, n, seed=1)["momenta"] for process in ("qqbar_zg", "qqbar_zgg")}
    runs = {
        ("sample", "qqbar_zg"): lambda: make_amplitudes("qqbar_zg", n, seed=1),
        ("sample", "qqbar_zgg"): lambda: make_amplitudes("qqbar_zgg", n, seed=1),
        ("amplitude alone", "qqbar_zg"): lambda: qqbar_to_z_gluons(momenta["qqbar_zg"]),
        ("amplitude alone", "qqbar_zgg"): lambda: qqbar_to_z_gluons(momenta["qqbar_zgg"]),
    }
    rates = dict.fromkeys(runs, (0.0, 0.0))
    for _ in range(repeats):
        for key, run in runs.items():
            wall, processor = time.perf_counter(), time.process_time()
            run()
            now = n / (time.perf_counter() - wall), n / (time.process_time() - processor)
            rates[key] = tuple(map(max, rates[key], now))
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, {n:,} events, best of {repeats}")
    print(f"{'':26s} {'events/s':>12s} {'per s of processor time':>25s}")
    for (what, process), (wall, processor) in rates.items():
        print(f"{what:16s} {process:9s} {wall:12,.0f} {processor:25,.0f}")
    rate = rates["sample", "qqbar_zgg"][0]
    print(f"goal: {GOAL:,} Zgg events/s, {'reached' if rate >= GOAL else 'MISSED'} ({rate / GOAL:.1f} x)")
    return rate


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
