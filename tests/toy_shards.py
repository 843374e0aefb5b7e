"""Samples for test_data_make.py that can be called on workers: slow, failing, dying; run as a script it makes one.

python tests/toy_shards.py NAME EVENTS WORKERS
"""

import os
import sys
import time
from pathlib import Path

import numpy as np

from lhcml_tutor.datasets import registry
from lhcml_tutor.datasets.events import Events
from lhcml_tutor.datasets.registry import Sample
from lhcml_tutor.datasets.spectrum import make_spectrum

UNITS = {"pt": "GeV", "phi": "rad"}


def make_slowly(tries, seed):
    """Wait from shard 5 on until the file GATE exists, so that a test can choose the moment."""
    while seed % 1000 >= 5 and "GATE" in os.environ and not Path(os.environ["GATE"]).exists():
        time.sleep(0.02)
    return make_spectrum(tries, seed)


def make_rarely(tries, seed):
    """Return nothing in two of three shards."""
    return make_spectrum(tries, seed) if seed % 3 == 0 else None


def make_never(tries, seed):
    return None


def make_badly(tries, seed):
    if seed % 1000 == 3:
        raise ZeroDivisionError("the third shard")
    return make_spectrum(tries, seed)


def make_and_die_once(tries, seed, folder=""):
    """Kill the process that makes shard 1, the first time."""
    been = Path(folder) / "been here"
    if seed % 1000 == 1 and not been.exists():
        been.write_text("")
        os._exit(9)
    return make_spectrum(tries, seed)


def make_at_the_third_try(tries, seed, folder=""):
    """Fail twice in shard 1."""
    been = list(Path(folder).glob("try *"))
    if seed % 1000 == 1 and len(been) < 2:
        (Path(folder) / f"try {len(been)}").write_text("")
        raise OSError("not yet")
    return make_spectrum(tries, seed)


def make_where(tries, seed):
    """Return in which process and with how many threads a shard was made."""
    import torch

    row = {"process": np.full(5, os.getpid()), "threads": np.full(5, torch.get_num_threads())}
    return Events(row, {"process": "1", "threads": "1"})


def make_other_units(tries, seed):
    return Events({"pt": np.ones(3), "phi": np.ones(3)}, {"pt": "MeV", "phi": "rad"})


def toy(function, per_shard=200, units=UNITS, **settings):
    return Sample(f"toy_shards:{function}", "toy; none", units, 1000, per_shard, settings=settings)


SAMPLES = {
    "slow": toy("make_slowly"),
    "rare": toy("make_rarely"),
    "never": toy("make_never"),
    "bad": toy("make_badly"),
    "dying": toy("make_and_die_once", folder=""),
    "third": toy("make_at_the_third_try", folder=""),
    "where": toy("make_where", units={"process": "1", "threads": "1"}, per_shard=5),
    "units": toy("make_other_units"),
}


if __name__ == "__main__":
    from lhcml_tutor.datasets.shards import make_sample

    registry.SAMPLES.update(SAMPLES)
    print(make_sample(sys.argv[1], int(sys.argv[2]), workers=int(sys.argv[3])))
