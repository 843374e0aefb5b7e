"""One shard: what a worker makes, here or on another machine, and the hash of all that decides what comes out."""

import hashlib
import importlib.metadata
import json
import platform

from . import registry
from .cache import code_hash
from .events import Events
from .files import pack


def versions(packages) -> dict:
    """Return the versions of what the numbers of a sample depend on: numpy, its packages and the platform.

    Raises:
        PackageNotFoundError: one is not installed.
    Example:
        >>> list(versions(packages=()))
        ['numpy', 'platform']
    """
    found = {package: importlib.metadata.version(package) for package in ("numpy", *packages)}
    return {**found, "platform": f"{platform.system()} {platform.machine()}"}


def fingerprint(make, packages=()) -> str:
    """Return a hash of the code and of the versions that make a sample.

    Example:
        >>> len(fingerprint("lhcml_tutor.datasets.spectrum:make_spectrum"))
        64
    """
    text = code_hash(registry.function(make)) + json.dumps(versions(packages))
    return hashlib.sha256(text.encode()).hexdigest()


def make_shard(make, tries, seed, arguments, units, packages, code) -> bytes:
    """Make one shard, wherever this runs, and return it as the bytes of a file.

    Raises:
        RuntimeError: the code or the packages here are not those of the process that asked.
        TypeError, ValueError: the function returns something other than Events with the units of the sample.
    Example:
        >>> toy = registry.sample("toy")
        >>> len(make_shard(toy.make, 100, 1, {}, toy.units, (), fingerprint(toy.make))) > 500
        True
    """
    if fingerprint(make, packages) != code:
        raise RuntimeError("this worker has other versions of lhcml-tutor or of its packages; install the same ones")
    events = registry.function(make)(tries, seed, **arguments)
    if events is None:
        return pack({}, {}, {}, compress=False)
    if not isinstance(events, Events):
        raise TypeError(f"{make} returned {type(events).__name__}; it must return Events")
    if events.units != units:
        raise ValueError(f"{make} returned columns with the units {events.units}; the registry says {units}")
    return events.packed(compress=False)
