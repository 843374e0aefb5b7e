"""Samples that were fetched or made, kept in one folder between runs.

    events = cached("z_jets", make_z_jets, n=10_000, seed=1)        # made once, read back from then on

A sample is kept under its arguments *and* the code that made it: who changes the physics gets new events.
"""

import contextlib
import functools
import hashlib
import inspect
import json
import os
import sys
from pathlib import Path

from .. import __version__
from ..scale import is_main_process
from .events import Events
from .files import BadSample

PACKAGE = Path(__file__).resolve().parents[1]
# modules of this folder that move samples about and have no part in what is in them
MOVERS = ("registry", "shards", "one_shard", "cluster", "locks", "commit", "pictures", "verify")


def cache_folder() -> Path:
    """Return the folder of samples that were fetched or made: LHCML_CACHE, or the platform's cache folder.

    Example:
        >>> cache_folder().is_absolute()
        True
    """
    if chosen := os.environ.get("LHCML_CACHE", "").strip():
        return Path(chosen).expanduser().resolve()
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "lhcml-tutor"


def cached(name: str, make, **key) -> Events:
    """Return make(**key), kept in the cache folder under its arguments and the code that made it.

    Two processes may ask at once: each makes the sample and puts its whole file in place, and neither reads half a
    file. A folder that cannot be written costs a message, not the sample. Large samples: see `cached_shards`.

    Arguments:
        name: of the sample, the first part of its file name.
        make: function of the key's arguments that returns Events; the same arguments, the same events.
        key: arguments that JSON can hold.
    Raises:
        ValueError: NaN or inf in the sample. TypeError: an argument that JSON cannot hold, or make returns no Events.
    Example:
        >>> import tempfile, torch
        >>> os.environ["LHCML_CACHE"] = tempfile.mkdtemp()
        >>> make_line = lambda n: Events({"x": torch.arange(float(n))}, {"x": "1"})
        >>> events = cached("line", make_line, n=5)
        sample line: made on the spot and kept in the cache (line-...npz)
        >>> cached("line", make_line, n=5)
        sample line: from the cache (line-...npz)
        Events(5 events: x (n,) 1)
        >>> del os.environ["LHCML_CACHE"]
    """
    return make_or_keep(name, make, key)[0]


def cached_shards(name: str, make, *, n: int, per_shard: int, **key) -> Events:
    """Return n events out of shards that are made one by one and kept: an interrupted run goes on where it stopped.

    A larger sample begins with the events of a smaller one.

    Arguments:
        make: function of n, shard (0, 1, ...) and the key's arguments that returns Events; it seeds by shard.
        n: events in all; per_shard: events that each call of make is asked for.
    Example:
        >>> import tempfile, torch
        >>> os.environ["LHCML_CACHE"] = tempfile.mkdtemp()
        >>> make_line = lambda n, shard: Events({"x": torch.arange(float(n)) + shard * n}, {"x": "1"})
        >>> cached_shards("line", make_line, n=5, per_shard=3)["x"]
        sample line: made on the spot and kept in the cache (line-...npz)
        sample line: made on the spot and kept in the cache (line-...npz)
        tensor([0., 1., 2., 3., 4.])
        >>> del os.environ["LHCML_CACHE"]
    """
    if n < 1 or per_shard < 1:
        raise ValueError(f"n={n} events in shards of per_shard={per_shard}; both must be at least 1")
    shards = range(-(-n // per_shard))
    return Events.join(cached(name, make, n=per_shard, shard=shard, **key) for shard in shards)[:n]


def make_or_keep(name: str, make, key: dict) -> tuple[Events, Path | None]:
    """Return the sample that `cached` returns, and its file in the cache, None where it could not be kept.

    Example:
        >>> make_or_keep("line", make=None, key={"n": object()})
        Traceback (most recent call last):
        TypeError: the arguments of a cached sample must be plain numbers, texts and lists: ...
    """
    try:
        arguments = json.dumps(key, sort_keys=True, allow_nan=False)
    except (TypeError, ValueError) as problem:
        raise TypeError(f"the arguments of a cached sample must be plain numbers, texts and lists: {problem}") from None
    digest = hashlib.sha256("\n".join([name, arguments, code_hash(make)]).encode()).hexdigest()[:16]
    path = cache_folder() / "made" / f"{name}-{digest}.npz"
    if (events := intact(path)) is not None:
        say(name, f"from the cache ({path.name})")
        return events, path
    events = make(**key)
    if not isinstance(events, Events):
        raise TypeError(f"the maker of {name!r} returned {type(events).__name__}; it must return Events")
    try:
        events.save(path, compress=False)
    except OSError as problem:
        say(name, f"made on the spot, not kept: {problem.strerror or problem}")
        return events, None
    say(name, f"made on the spot and kept in the cache ({path.name})")
    return events, path


def intact(path, sha256=None) -> Events | None:
    """Return the sample in a cached file, None where there is none; a damaged file is moved aside, never used.

    Example:
        >>> intact("no_such_file.npz") is None
        True
    """
    path = Path(path)
    try:
        return Events.load(path, sha256)
    except OSError:  # not there, or not to be read: as good as not there
        return None
    except BadSample as problem:
        aside = path.with_name(f"{path.name}.damaged")
        with contextlib.suppress(FileNotFoundError):  # another process was faster
            os.replace(path, aside)
        say(path.stem, f"{problem} (done for you: it is now {aside.name})")
        return None


def say(name: str, text: str) -> None:
    """Print one line about a sample, from the main process only.

    Example:
        >>> say("z_mumu", "from the cache")
        sample z_mumu: from the cache
    """
    if is_main_process():
        print(f"sample {name}: {text}")


def code_hash(make) -> str:
    """Return a hash of all that decides what a maker makes: the package's physics and the maker's own source.

    Example:
        >>> code_hash(say) == code_hash(say), code_hash(say) == code_hash(intact)
        (True, False)
    """
    try:
        own = inspect.getsource(make)
    except (OSError, TypeError):  # typed at a prompt
        own = repr((make.__code__.co_code, make.__code__.co_names)) if hasattr(make, "__code__") else repr(type(make))
    return hashlib.sha256((_physics() + own).encode()).hexdigest()


@functools.cache
def _physics():
    files = [PACKAGE / "kinematics.py", *PACKAGE.glob("physics/**/*.py"), *PACKAGE.glob("datasets/**/*.py")]
    kept = [path for path in sorted(files) if path.exists() and path.stem not in MOVERS]
    text = [f"{path.relative_to(PACKAGE)}\n{path.read_text()}" for path in kept]
    return hashlib.sha256("\n".join([__version__, *text]).encode()).hexdigest()
