"""The generated tables of README.md: chapters with badges and status, and measured results."""

import re
from statistics import mean, median, stdev

from ..scale import SCALES
from . import bands, colab, results
from .files import load

TAGGERS = ("trees", "deep sets", "image", "ParticleNet", "transformer")
SCORES = {"accuracy": 4, "AUC": 4, "Rej70": 0, "Rej50": 0, "calibration error": 4}  # and the digits that are shown


def filled(text, sources) -> str:
    """Return the text of README.md with the tables between its markers renewed.

    Arguments:
        text: with `<!-- chapters:begin -->`, `<!-- chapters:end -->`, and the same for `results` and `taggers`.
        sources: from `sources.find`.
    Example:
        >>> print(filled("<!-- chapters:begin -->old<!-- chapters:end -->", {}))
        <!-- chapters:begin -->
        | | Notebook | On Colab | Minutes (laptop / GPU) | Status |
        | --- | --- | --- | --- | --- |
        <!-- chapters:end -->
    """
    for name, table in (("chapters", chapters), ("results", measured), ("taggers", scoreboard)):
        begin, end = f"<!-- {name}:begin -->", f"<!-- {name}:end -->"
        pattern = re.compile(f"{begin}.*?{end}", re.DOTALL)
        if pattern.search(text):
            new = f"{begin}\n{table(sources)}\n{end}"
            text = pattern.sub(lambda _, new=new: new, text)
    return text


def chapters(sources) -> str:
    """Return the table of notebooks.

    Example:
        >>> chapters({}).count("|")
        12
    """
    lines = ["| | Notebook | On Colab | Minutes (laptop / GPU) | Status |", "| --- | --- | --- | --- | --- |"]
    for key, source in sources.items():
        header = source.header
        title = f"[{'Lecture: ' if source.is_lecture else ''}{header['title']}]({source.opened})"
        if source.student:
            title += f" ([solution]({source.complete.relative_to(source.root).as_posix()}))"
        minutes = f"{header['minutes'].get('laptop', '')} / {header['minutes'].get('gpu', '')}"
        lines.append(f"| {key.lstrip('L')} | {title} | {colab.badge(source.opened)} | {minutes} | {state(source)} |")
    return "\n".join(lines)


def measured(sources) -> str:
    """Return the table of what the stored runs with a notebook's own parameters gave, over their seeds.

    Example:
        >>> measured({}).splitlines()[0]
        '| Notebook | Measured | Scale | Median | Lowest to highest | Seeds | Band |'
    """
    lines = ["| Notebook | Measured | Scale | Median | Lowest to highest | Seeds | Band |", "| --- " * 7 + "|"]
    for key, source in sources.items():
        entries = {at: bands.by_name(results.defaults(source, at)) for at in SCALES}
        stated = bands.stated(source) if any(entries.values()) else {}
        for name, band in stated.items():
            # ci only shows that the code works; it stands in where nothing larger was measured
            for at in [at for at in ("laptop", "gpu") if name in entries[at]] or ["ci"]:
                values = [entry["value"] for entry in entries[at].get(name, []) if entry["value"] is not None]
                if values:
                    span = f"{min(values):.4g} to {max(values):.4g}"
                    limits = f"{band[at][0]:g} to {band[at][1]:g}" if band[at] else "not yet set"
                    said = name.replace("|", "\\|")  # a bare bar would end the cell
                    lines.append(
                        f"| {key} | {said} | {at} | {median(values):.4g} | {span} | {len(values)} | {limits} |"
                    )
    return "\n".join(lines)


def scoreboard(sources) -> str:
    """Return the table of taggers of tutorial 04a at laptop scale: mean and spread of its stored runs.

    Example:
        >>> scoreboard({}).splitlines()[0]
        '| Tagger | Accuracy | AUC | Rejection at 70% | at 50% | Calibration error | Trainings |'
    """
    lines = ["| Tagger | Accuracy | AUC | Rejection at 70% | at 50% | Calibration error | Trainings |"]
    lines.append("| --- " * 7 + "|")
    runs = results.load(sources["04a"], "laptop") if "04a" in sources else []
    runs = [run for run in runs if set(run["changed"]) <= {"tagger"} and run["code"] == sources["04a"].code]
    for tagger in TAGGERS:
        fixed = tagger in ("trees", "deep sets")  # these are in every run
        part = tagger if fixed else "second tagger"
        own = [run for run in runs if run["parameters"]["tagger"] == ("ParticleNet" if fixed else tagger)]
        cells = []
        for name, digits in SCORES.items():
            values = [entry["value"] for run in own for entry in run["verdicts"] if entry["name"] == f"{part}, {name}"]
            spread = f" ± {stdev(values):.{digits}f}" if len(values) > 1 else ""
            cells.append(f"{mean(values):.{digits}f}{spread}" if values else "-")
        if any(cell != "-" for cell in cells):
            lines.append(f"| {tagger} | {' | '.join(cells)} | {len(own)} |")
    return "\n".join(lines)


def state(source) -> str:
    """Return what has been done with a notebook, in words."""
    notebook = load(source.complete)
    if notebook is None:
        return "not built"
    header = notebook.metadata.get("lhcml", {})
    if header.get("code") != source.code:
        return "to be built"
    told = f"executed at {header['scale']} scale" if "scale" in header else "not executed"
    seeds = {at: len({run["seed"] for run in results.defaults(source, at)}) for at in SCALES}
    found = ", ".join(f"{at} ({count} seeds)" for at, count in seeds.items() if count)
    return f"{told}; measured at {found}" if found else told
