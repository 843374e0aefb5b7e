"""Where the samples of manifest.toml are: found, fetched or made, each held against its sha256, and said aloud.

`find(name)` looks in this order:

    1. data/ of the checkout           committed, small
    2. the cache folder                LHCML_CACHE, or the platform's own (Linux: ~/.cache/lhcml-tutor)
    3. the repository on the network   the file at this version's tag (needs the extra `download`)
    4. made on the spot                in shards (registry.py), or by the function that the manifest names

A sample that is too large for one file lies in parts, NAME.0.npz, NAME.1.npz, ...; `Events.load` takes them all.
"""

import importlib.metadata
import os
import tomllib
from pathlib import Path

from .. import __version__
from ..extras import MissingExtra, require
from .cache import cache_folder, cached, cached_shards, intact, make_or_keep, say
from .files import BadSample, read

__all__ = [
    "SampleNotFound",
    "address",
    "cache_folder",
    "cached",
    "cached_shards",
    "files_of",
    "find",
    "make",
    "manifest",
    "status",
]

ROOT = Path(__file__).resolve().parents[2]  # the checkout, where there is one
MANIFEST = Path(__file__).with_name("manifest.toml")


class SampleNotFound(FileNotFoundError):
    """A sample is neither here nor to be had; the message lists every place and what went wrong there."""


def manifest(path=None) -> dict:
    """Return the known samples: name -> file, sha256, bytes, events, command, seed, columns, provenance and more.

    Example:
        >>> "z_mumu" in manifest()
        True
    """
    with open(path or MANIFEST, "rb") as file:
        return tomllib.load(file)


def files_of(entry: dict) -> dict:
    """Return the files of an entry of the manifest and their sha256: one, or the parts in order.

    Example:
        >>> files_of({"file": ["a.0.npz", "a.1.npz"], "sha256": ["12", "34"]})
        {'a.0.npz': '12', 'a.1.npz': '34'}
    """
    file, sha256 = entry["file"], entry["sha256"]
    return {file: sha256} if isinstance(file, str) else dict(zip(file, sha256, strict=True))


def find(name: str) -> Path | list[Path]:
    """Return the path of a known sample, intact, and say in one line where it came from; a list if it lies in parts.

    Raises:
        ValueError: there is no sample of this name.
        BadSample: the committed file is damaged.
        SampleNotFound: not in the checkout, not in the cache, not to be fetched and not to be made.
    Example:
        >>> find("z_mumu").name
        sample z_mumu: ...
        'z_mumu.npz'
    """
    files, folder = files_of(_entry(name)), ROOT / "data"
    first, more = next(iter(files)), f" and {len(files) - 1} more" if len(files) > 1 else ""
    if all((folder / file).exists() for file in files):
        for file, sha256 in files.items():
            read(folder / file, sha256)
        say(name, f"committed with the course (data/{first}{more})")
        return _one_or_all(folder, files)
    store = cache_folder()
    if all(intact(store / file, sha256) is not None for file, sha256 in files.items()):
        say(name, f"from the cache ({first}{more})")
        return _one_or_all(store, files)
    trouble = [f"not committed: there is no {folder / first}", f"not in the cache: there is no intact {store / first}"]
    try:
        for file, sha256 in files.items():
            _download(file, sha256)
        say(name, f"downloaded from {address(name)}{more}")
        return _one_or_all(store, files)
    except (MissingExtra, OSError, BadSample) as problem:
        trouble.append(f"not downloaded: {problem}")
    try:
        return make(name)
    except (MissingExtra, OSError, RuntimeError) as problem:  # RuntimeError: a shard failed three times
        trouble.append(f"not made on the spot: {problem}")
    raise SampleNotFound(f"the sample {name!r} cannot be had.\n  - " + "\n  - ".join(trouble))


def make(name: str) -> Path:
    """Make a known sample as the manifest says, and return its file in the cache.

    The events are the manifest's; the bytes of the file need not be, so its sha256 is not compared.

    Raises:
        ValueError: there is no sample of this name. MissingExtra: its generator is not installed.
        OSError: no function is known that makes it, or the cache folder cannot be written.
    Example:
        >>> make("no such sample")
        Traceback (most recent call last):
        ValueError: there is no sample 'no such sample'; the samples are: ...
    """
    from . import registry, shards

    entry = _entry(name)
    if name in registry.SAMPLES:
        return shards.make_sample(name, entry["events"], seed=entry["seed"])
    if "maker" not in entry:
        raise SampleNotFound(f"no function is known that makes {name!r}; it can only be downloaded")
    _, path = make_or_keep(name, registry.function(entry["maker"]), entry["settings"])
    if path is None:
        raise OSError(f"{cache_folder()} cannot be written; set LHCML_CACHE to a folder that can")
    return path


def status() -> list[dict]:
    """Return for each known sample where it is and whether it is intact; nothing is fetched, made or changed.

    Returns:
        list of dicts with name, events, bytes, where ("checkout", "cache" or None), path, intact (True, False, or
        None where the sample is absent) and problem (why it is not intact, or how to get it).
    Example:
        >>> sorted(status()[0])
        ['bytes', 'events', 'intact', 'name', 'path', 'problem', 'where']
    """
    table = []
    for name, entry in manifest().items():
        row = {"name": name, "events": entry["events"], "bytes": entry["bytes"], "where": None, "path": None}
        row |= {"intact": None, "problem": f"not here; `lhcml data make {name}` makes it, the first use fetches it"}
        files = files_of(entry)
        for where, folder in (("checkout", ROOT / "data"), ("cache", cache_folder())):
            if any((folder / file).exists() for file in files):
                row |= {"where": where, "path": _one_or_all(folder, files), **_checked(folder, files)}
                break
        table.append(row)
    return table


def _one_or_all(folder, files):
    paths = [folder / file for file in files]
    return paths[0] if len(paths) == 1 else paths


def _checked(folder, files):
    try:
        for file, sha256 in files.items():
            read(folder / file, sha256)
        return {"intact": True, "problem": None}
    except (BadSample, OSError) as problem:
        return {"intact": False, "problem": str(problem)}


def address(name: str) -> str:
    """Return where a sample lies on the network: the raw file of the repository at this version's tag.

    The repository is [project.urls] Repository of pyproject.toml, or LHCML_REPOSITORY where that is set.

    Example:
        >>> address("z_mumu").endswith("/data/z_mumu.npz")
        True
    """
    return _address(next(iter(files_of(_entry(name)))))


def _address(file):
    base = os.environ.get("LHCML_REPOSITORY", "").strip() or _repository()
    return f"{base.rstrip('/')}/raw/v{__version__}/data/{file}"


def _repository():
    source = ROOT / "pyproject.toml"
    if source.exists():
        return tomllib.loads(source.read_text())["project"]["urls"]["Repository"]
    urls = importlib.metadata.metadata("lhcml-tutor").get_all("Project-URL") or []
    return dict(url.split(", ", 1) for url in urls)["Repository"]


def _entry(name):
    known = manifest()
    if name not in known:
        raise ValueError(f"there is no sample {name!r}; the samples are: {', '.join(known)}")
    return known[name]


def _download(file, sha256):
    """Fetch a file into the cache; pooch writes beside it, compares the sha256 and only then puts it in place."""
    pooch = require("pooch", extra="download")
    url, folder = _address(file), cache_folder()
    pooch.get_logger().setLevel("ERROR")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        known = {file: f"sha256:{sha256}"}
        store = pooch.create(path=folder, base_url="", registry=known, urls={file: url}, retry_if_failed=1)
        return Path(store.fetch(file, downloader=pooch.HTTPDownloader(timeout=20)))
    except ValueError as problem:
        raise BadSample(f"what {url} gives is not the file of the manifest ({problem})") from problem
    except OSError as problem:  # the errors of requests are OSErrors
        why = f"{type(problem).__name__}: {problem}"[:200]
        raise OSError(f"{url} could not be fetched; is there a network, is this version released? ({why})") from problem
