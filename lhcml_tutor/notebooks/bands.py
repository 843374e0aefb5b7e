"""The bands of verdicts: the rule that sets them, those a source states, and the report that compares both."""

import ast
import math
from statistics import median

from ..scale import SCALES
from .sources import Problem, code_cells, verdict_calls

FEWEST_SEEDS = 5


def half_width(values, floor) -> float:
    """Return half the width that the rule gives a band: max(5 MAD, floor |median|).

    Example:
        >>> half_width([1.0, 1.1, 0.9, 1.0, 1.2], floor=0.1)
        0.5
    """
    middle = median(values)
    return round(max(5 * median(abs(value - middle) for value in values), floor * abs(middle)), 12)


def proposal(values, floor) -> tuple[float, float]:
    """Return the band median +- half_width, its ends rounded outwards to two digits of the width.

    Example:
        >>> proposal([1.0, 1.1, 0.9, 1.0, 1.2], floor=0.1)
        (0.5, 1.5)
    """
    middle, half = median(values), half_width(values, floor)
    digits = 1 - math.floor(math.log10(half)) if half > 0 else 12
    low, high = round(middle - half, 12), round(middle + half, 12)
    return math.floor(low * 10**digits) / 10**digits, math.ceil(high * 10**digits) / 10**digits


def stated(source) -> dict[str, dict]:
    """Return {verdict: {"ci": band, "laptop": band, "gpu": band or None}} as a source states them.

    Raises:
        Problem: a verdict's name or band is not written out, so that no test could hold it to its measurement.
    """
    found = {}
    for cell in code_cells(source.text):
        for call in verdict_calls(cell):
            words = {word.arg: word.value for word in call.keywords}
            try:
                name = ast.literal_eval(call.args[0])
                bands = {at: ast.literal_eval(words[at]) for at in SCALES}
            except (IndexError, KeyError, ValueError):
                line = ast.unparse(call)[:80]
                raise Problem(f"{source.key}: write out the name and the bands ci, laptop, gpu in {line}...") from None
            if name in found:
                raise Problem(f"{source.key}: two verdicts are named {name!r}")
            found[name] = bands
    return found


def floors(source) -> dict[str, float]:
    """Return {verdict: floor} of those verdicts whose floor a source writes out; it judges, so the source's counts."""
    found = {}
    for cell in code_cells(source.text):
        for call in verdict_calls(cell):
            written = {word.arg: word.value for word in call.keywords}.get("floor")
            if isinstance(written, ast.Constant) and call.args and isinstance(call.args[0], ast.Constant):
                found[call.args[0].value] = float(written.value)
    return found


def by_name(runs, floors=None) -> dict[str, list[dict]]:
    """Return {verdict: [its entry in each run]}, with these floors instead of the recorded ones.

    Example:
        >>> by_name([{"verdicts": [{"name": "width", "value": 1.0, "floor": 0.1}]}], {"width": 0.2})
        {'width': [{'name': 'width', 'value': 1.0, 'floor': 0.2}]}
    """
    entries = {}
    for run in runs:
        for entry in run["verdicts"]:
            own = {"floor": floors[entry["name"]]} if floors and entry["name"] in floors else {}
            entries.setdefault(entry["name"], []).append({**entry, **own})
    return entries


def judge(name, band, entries) -> list[str]:
    """Return what is wrong with a band, given the entries of this verdict over the seeds.

    Example:
        >>> entries = [{"value": v, "control": {"untrained": 9.0}, "floor": 0.1} for v in (1.0, 1.1, 0.9, 1.0, 1.2)]
        >>> judge("width", (0.5, 1.5), entries)
        []
        >>> judge("width", (0.5, 1.1), entries)
        ["'width': the band 0.5 to 1.1 does not cover 1.2"]
        >>> judge("width", (0.5, 9.5), entries)     # doctest: +ELLIPSIS
        ["'width': the band 0.5 to 9.5 ... twice the rule...", "'width': ... does not reject untrained (9)"]
    """
    if len(entries) < FEWEST_SEEDS:
        return [f"{name!r}: measured with {len(entries)} seeds, a band needs {FEWEST_SEEDS}"]
    values = [math.nan if entry["value"] is None else entry["value"] for entry in entries]
    said, (low, high) = f"{name!r}: the band {band[0]:g} to {band[1]:g}", band
    missed = [f"{value:g}" for value in values if not low <= value <= high]
    problems = [f"{said} does not cover {', '.join(missed)}"] if missed else []
    rule = 2 * half_width(values, entries[0]["floor"])
    if high - low > 2 * rule:
        problems.append(f"{said} is wider than twice the rule, {rule:.3g}")
    inside = {what: number for entry in entries for what, number in entry["control"].items()
              if number is not None and low <= number <= high}  # fmt: skip
    problems += [f"{said} does not reject {what} ({number:g})" for what, number in inside.items()]
    if not all(entry["control"] for entry in entries):
        problems.append(f"{name!r} has no control, so nothing shows that it can fail")
    return problems


def report(source, scale, runs) -> str:
    """Return a table of what the runs measured: median, MAD, the band they propose, the one stated, and its faults.

    Example:
        >>> from .sources import Source
        >>> report(Source("99", None, None), "ci", [])
        'no verdict was recorded'
    """
    entries = by_name(runs, floors(source) if runs else None)
    if not entries:
        return "no verdict was recorded"
    lines, current = [], stated(source)
    for name, found in entries.items():
        values = [entry["value"] for entry in found if entry["value"] is not None]
        lines.append(f"{name}  ({len(found)} seeds)")
        if len(values) < len(found):
            lines.append(f"    not finite in {len(found) - len(values)} of them")
        if values:
            middle = median(values)
            mad, band = median(abs(value - middle) for value in values), proposal(values, found[0]["floor"])
            span = f"{min(values):.4g} to {max(values):.4g}"
            lines.append(f"    median {middle:.4g}, MAD {mad:.2g}, values {span}, floor {found[0]['floor']:g}")
            lines.append(f"    proposed {scale}=({band[0]:g}, {band[1]:g}){_controls(found, band)}")
        if stands := current.get(name, {}).get(scale):
            faults = "; ".join(judge(name, stands, found)) or "covers its values and rejects its controls"
            lines.append(f"    stated   {scale}=({stands[0]:g}, {stands[1]:g}): {faults}")
        else:
            lines.append(f"    stated   {scale}=None")
    return "\n".join(lines)


def _controls(entries, band):
    ranges = {}
    for entry in entries:
        for what, number in entry["control"].items():
            ranges.setdefault(what, []).append(math.nan if number is None else number)
    told = []
    for what, numbers in ranges.items():
        blind = any(band[0] <= number <= band[1] for number in numbers)
        verb = "DOES NOT REJECT" if blind else "rejects"
        told.append(f", {verb} {what} ({min(numbers):.4g} to {max(numbers):.4g})")
    return "".join(told)
