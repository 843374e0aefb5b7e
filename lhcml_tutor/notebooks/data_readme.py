"""data/README.md: what the manifest says of each sample, for people to read."""

import tomllib
from pathlib import Path

MANIFEST = Path(__file__).parents[1] / "datasets" / "manifest.toml"  # read as text: `lhcml build` needs no torch
INTRODUCTION = """\
# The samples of the course

Written by `lhcml build` from `lhcml_tutor/datasets/manifest.toml`; do not edit. `lhcml data verify` holds the files
against it, `lhcml data verify --remake` makes 1% of them again and compares. Momenta are (E, px, py, pz).
"""


def expected(root, manifest=None) -> dict:
    """Return {path: text} of what is built in data/: its README; nothing in a course that has no data/README.md.

    Example:
        >>> expected("/no such folder")
        {}
    """
    path = Path(root) / "data" / "README.md"
    return {path: text(_entries(manifest))} if path.exists() else {}


def missing(root, manifest=None) -> list[str]:
    """Return a line for each sample whose figure is not in data/figures/, and for each figure without a sample.

    Example:
        >>> missing("/no such folder")
        []
    """
    folder, known = Path(root) / "data" / "figures", _entries(manifest)
    if not (Path(root) / "data" / "README.md").exists():
        return []
    remedy = "run `python -m lhcml_tutor.datasets.commit"
    lost = [f"{folder / name}.png is missing; {remedy} {name}`" for name in known if not _figure(folder, name).exists()]
    strays = sorted(path for path in folder.glob("*.png") if path.stem not in known)
    return lost + [f"{path} shows no sample of the manifest; remove it" for path in strays]


def text(entries: dict) -> str:
    """Return the text of data/README.md.

    Example:
        >>> print(text({}).partition("\\n")[0])
        # The samples of the course
    """
    table = ["| Sample | Events | MB | Files |", "| --- | ---: | ---: | --- |"]
    for name, entry in entries.items():
        files = [entry["file"]] if isinstance(entry["file"], str) else entry["file"]
        links = ", ".join(f"[{file}]({file})" for file in files)
        table.append(f"| [{name}](#{name}) | {entry['events']:,d} | {entry['bytes'] / 1e6:.2f} | {links} |")
    return "\n".join([INTRODUCTION, *table, *(_section(name, entry) for name, entry in entries.items())]) + "\n"


def _section(name, entry):
    process, _, cuts = entry["provenance"]["what"].partition("; ")
    columns = [
        f"| `{column}` | {_shape(about['shape'])} | {about['unit']} | {about['dtype']} |"
        for column, about in entry["columns"].items()
    ]
    made = ", ".join(f"{package} {version}" for package, version in entry["versions"].items())
    shards = f" in {len(entry['shards'])} shards of {entry['per_shard']:,d} tries" if "shards" in entry else ""
    return "\n".join(
        [
            f"\n## {name}\n",
            f"- Process: {_plain(process)}",
            f"- Cuts and definitions: {_plain(cuts or 'none')}",
            f"- Made with: `{entry['command']}`{shards} ({made})",
            f"- Licence: {entry['licence']}\n",
            "| Column | Shape | Unit | Type |",
            "| --- | --- | --- | --- |",
            *columns,
            f"\n![Distributions of {', '.join(entry['columns'])} in the sample {name}](figures/{name}.png)",
        ]
    )


def _shape(shape):
    return "(" + ", ".join(["n", *map(str, shape[1:])]) + ("," if len(shape) == 1 else "") + ")"


def _plain(words):
    """Return words with nothing that Markdown would take for its own."""
    return "".join(f"\\{letter}" if letter in "*_|<>[]`" else letter for letter in words)


def _figure(folder, name):
    return folder / f"{name}.png"


def _entries(manifest):
    return tomllib.loads(Path(manifest or MANIFEST).read_text(encoding="utf-8"))
