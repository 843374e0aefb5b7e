"""Where the samples of manifest.toml are: found, fetched or made, each held against its sha256, and said aloud.

`find(name)` looks in this order:

    1. data/ of the checkout           committed, small
    2. the cache folder                LHCML_CACHE, or the platform's own (Linux: ~/.cache/lhcml-tutor)
    3. the repository on the network   the file at this version's tag (needs the extra `download`)
    4. made on the spot                by the function and the settings that the manifest names
"""

import importlib
import importlib.metadata
import os
import tomllib
from pathlib import Path

from .. import __version__
from ..extras import MissingExtra, require
from .cache import cache_folder, cached, cached_shards, intact, make_or_keep, say
from .files import BadSample, read

__all__ = ["SampleNotFound", "address", "cache_folder", "cached", "cached_shards", "find", "make", "manifest", "status"]

ROOT = Path(__file__).resolve().parents[2]  # the checkout, where there is one
MANIFEST = Path(__file__).with_name("manifest.toml")


class SampleNotFound(FileNotFoundError):
    """A sample is neither here nor to be had; the message lists every place and what went wrong there."""


def manifest() -> dict:
    """Return the known samples: name -> file, sha256, bytes, events, columns, provenance, maker, settings.

    Example:
        >>> "z_mumu" in manifest()
        True
    """
    with open(MANIFEST, "rb") as file:
        return tomllib.load(file)


def find(name: str) -> Path:
    """Return the path of a known sample, intact, and say in one line where it came from.

    Raises:
        ValueError: there is no sample of this name.
        BadSample: the committed file is damaged.
        SampleNotFound: not in the checkout, not in the cache, not to be fetched and not to be made.
    Example:
        >>> find("z_mumu").name
        sample z_mumu: ...
        'z_mumu.npz'
    """
    entry = _entry(name)
    committed = ROOT / "data" / entry["file"]
    if committed.exists():
        read(committed, entry["sha256"])
        say(name, f"committed with the course (data/{entry['file']})")
        return committed
    stored = cache_folder() / entry["file"]
    if intact(stored, entry["sha256"]) is not None:
        say(name, f"from the cache ({entry['file']})")
        return stored
    trouble = [f"not committed: there is no {committed}", f"not in the cache: there is no intact {stored}"]
    try:
        path = _download(name, entry)
        say(name, f"downloaded from {address(name)}")
        return path
    except (MissingExtra, OSError, BadSample) as problem:
        trouble.append(f"not downloaded: {problem}")
    try:
        return make(name)
    except (MissingExtra, OSError) as problem:
        trouble.append(f"not made on the spot: {problem}")
    raise SampleNotFound(f"the sample {name!r} cannot be had.\n  - " + "\n  - ".join(trouble))


def make(name: str) -> Path:
    """Make a known sample with the function and settings of the manifest, and return its file in the cache.

    The events are the manifest's; the bytes of the file need not be, so its sha256 is not compared.

    Raises:
        ValueError: there is no sample of this name. MissingExtra: its generator is not installed.
        OSError: no function is known that makes it, or the cache folder cannot be written.
    Example:
        >>> make("no such sample")
        Traceback (most recent call last):
        ValueError: there is no sample 'no such sample'; the samples are: ...
    """
    entry = _entry(name)
    if "maker" not in entry:
        raise SampleNotFound(f"no function is known that makes {name!r}; it can only be downloaded")
    module, function = entry["maker"].split(":")
    _, path = make_or_keep(name, getattr(importlib.import_module(module), function), entry["settings"])
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
        for where, folder in (("checkout", ROOT / "data"), ("cache", cache_folder())):
            path = folder / entry["file"]
            if path.exists():
                row |= {"where": where, "path": path, **_checked(path, entry["sha256"])}
                break
        table.append(row)
    return table


def _checked(path, sha256):
    try:
        read(path, sha256)
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
    base = os.environ.get("LHCML_REPOSITORY", "").strip() or _repository()
    return f"{base.rstrip('/')}/raw/v{__version__}/data/{_entry(name)['file']}"


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


def _download(name, entry):
    """Fetch a sample into the cache; pooch writes beside it, compares the sha256 and only then puts it in place."""
    pooch = require("pooch", extra="download")
    url, folder = address(name), cache_folder()
    pooch.get_logger().setLevel("ERROR")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        registry = {entry["file"]: f"sha256:{entry['sha256']}"}
        store = pooch.create(path=folder, base_url="", registry=registry, urls={entry["file"]: url}, retry_if_failed=1)
        return Path(store.fetch(entry["file"], downloader=pooch.HTTPDownloader(timeout=20)))
    except ValueError as problem:
        raise BadSample(f"what {url} gives is not the file of the manifest ({problem})") from problem
    except OSError as problem:  # the errors of requests are OSErrors
        why = f"{type(problem).__name__}: {problem}"[:200]
        raise OSError(f"{url} could not be fetched; is there a network, is this version released? ({why})") from problem
