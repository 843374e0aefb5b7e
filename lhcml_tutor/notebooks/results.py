"""What is kept of runs: data/results/<notebook>.<scale>.json, under results.schema.json."""

import json
from pathlib import Path

from ..scale import SCALES
from .files import runs_folder, write_text
from .sources import Problem

SCHEMA = Path(__file__).with_name("results.schema.json")
KEPT = ("seed", "parameters", "changed", "device", "seconds", "date", "code", "versions", "verdicts")


def path_of(source, scale) -> Path:
    """Return the file of a notebook's results at a scale.

    Example:
        >>> from .sources import Source
        >>> path_of(Source("01a", None, Path("course")), "laptop").as_posix()
        'course/data/results/01a.laptop.json'
    """
    return source.root / "data" / "results" / f"{source.key}.{scale}.json"


def load(source, scale) -> list[dict]:
    """Return the stored runs of a notebook at a scale; none where nothing is stored.

    Example:
        >>> from .sources import Source
        >>> load(Source("no such", None, Path("course")), "ci")
        []
    """
    path = path_of(source, scale)
    if not path.exists():
        return []
    try:
        runs = json.loads(path.read_text(encoding="utf-8"))["runs"]
        lacking = [name for run in runs for name in KEPT if name not in run]
    except (ValueError, KeyError, TypeError):
        lacking = ["a list of runs"]
    if lacking:
        raise Problem(f"{path} has no {lacking[0]}: it does not fit {SCHEMA.name}; write it with `lhcml promote`")
    return runs


def defaults(source, scale) -> list[dict]:
    """Return the stored runs with the notebook's own parameters and its current code, one for each seed."""
    return [run for run in load(source, scale) if not run["changed"] and run["code"] == source.code]


def recorded(source, scale) -> list[dict]:
    """Return the runs in runs/ of a notebook's current code at a scale, oldest first."""
    runs = []
    for path in sorted(runs_folder(source.root).glob(f"{source.key}.{scale}.*.json")):
        run = json.loads(path.read_text(encoding="utf-8"))
        if run["code"] == source.code:
            runs.append(run)
    return runs


def promote(source, scale=None, keep=False, say=print) -> list[Path]:
    """Merge the runs of the current code into data/results/; return the files written.

    A new run replaces a stored one of the same seed and parameters; of two with the same code, verdicts that only
    one of them has are kept. Stored runs of older code are dropped unless `keep`.

    Raises:
        Problem: there is no run to promote, or one does not fit the schema.
    Example:
        >>> from .sources import Source
        >>> promote(Source("99", Path("README.md"), Path(".")), "huge")
        Traceback (most recent call last):
        lhcml_tutor.notebooks.sources.Problem: 'huge' is not a scale; it is one of ci, laptop, gpu
    """
    if scale is not None and scale not in SCALES:
        raise Problem(f"{scale!r} is not a scale; it is one of {', '.join(SCALES)}")
    written = []
    for at in [scale] if scale else SCALES:
        if not (new := recorded(source, at)):
            continue
        stored = load(source, at)
        old = [run for run in stored if run["code"] != source.code]
        merged = _merge([run for run in stored if run["code"] == source.code] + [_rounded(run) for run in new])
        document = {"schema": 1, "notebook": source.key, "scale": at, "runs": _ordered(merged + (old if keep else []))}
        validate(document)
        write_text(path_of(source, at), dumps(document))
        written.append(path_of(source, at))
        fate = "kept beside them" if keep else "dropped"
        aside = f"; {len(old)} stored runs of older code {fate}" if old else ""
        say(f"{path_of(source, at).name}: {len(merged)} runs of code {source.code}{aside}")
    if not written:
        at = scale or "any scale"
        raise Problem(
            f"runs/ holds no run of {source.key} at {at} with its current code ({source.code}); make some with "
            f"`lhcml bands {source.key}` or `lhcml scan {source.key} -p ...`"
        )
    return written


def validate(document) -> None:
    """Demand that a document of results fits the published schema.

    Raises:
        Problem: it does not; the message says where.
    Example:
        >>> validate({"schema": 1, "notebook": "01a", "scale": "ci", "runs": []})
    """
    try:
        import jsonschema
    except ModuleNotFoundError:
        raise Problem("this needs jsonschema; install it with `pip install jsonschema`") from None
    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
    for error in jsonschema.Draft202012Validator(schema).iter_errors(document):
        where = "/".join(map(str, error.absolute_path)) or "the top"
        raise Problem(f"results do not fit {SCHEMA.name} at {where}: {error.message}")


def dumps(document) -> str:
    """Return the text of a document of results: one line for each run, so that a diff shows runs.

    Example:
        >>> print(dumps({"schema": 1, "runs": [{"seed": 1}]}), end="")
        {"schema": 1, "runs": [
        {"seed": 1}
        ]}
    """
    head = json.dumps({name: value for name, value in document.items() if name != "runs"})[:-1]
    return head + ', "runs": [\n' + ",\n".join(json.dumps(run) for run in document["runs"]) + "\n]}\n"


def _merge(runs):
    merged = {}
    for run in runs:
        key = _key(run)
        before = {entry["name"]: entry for entry in merged[key]["verdicts"]} if key in merged else {}
        now = {entry["name"]: entry for entry in run["verdicts"]}
        merged[key] = {**run, "verdicts": list({**before, **now}.values())}
    return list(merged.values())


def _key(run):
    return json.dumps(run["parameters"], sort_keys=True), run["seed"]


def _ordered(runs):
    return sorted(runs, key=lambda run: (run["changed"], _key(run), run["code"] or ""))


def _rounded(run):
    run = {name: run[name] for name in KEPT}
    return {**run, "verdicts": [_significant(entry) for entry in run["verdicts"]]}


def _significant(value):
    if isinstance(value, float):
        return float(f"{value:.6g}")
    if isinstance(value, dict):
        return {name: _significant(part) for name, part in value.items()}
    return [_significant(part) for part in value] if isinstance(value, list) else value
