"""The student version of a solution cell: everything below the line `# solution` becomes a stub."""

import ast
import re

from .sources import Problem

LINE = re.compile(r"^(?P<indent>\s*)# solution\s*$")


def stub(cell) -> str:
    """Return a solution cell as students get it.

    What stands below a line `# solution`, as far as it is indented, becomes `return lt.TODO`; where the line is not
    indented, the names assigned below it become lt.TODO. Without such a line that holds for the whole cell.

    Raises:
        Problem: there is nothing to cut.
    Example:
        >>> print(stub('def square(x):\\n    # solution\\n    return x * x'))
        def square(x):
            return lt.TODO
        >>> print(stub("answer = 42"))
        answer = lt.TODO
    """
    return split(cell)[0]


def split(cell) -> tuple[str, list[str]]:
    """Return a solution cell as students get it, and the lines that were cut.

    Example:
        >>> split('def square(x):\\n    # solution\\n    return x * x')[1]
        ['    return x * x']
    """
    lines = cell.split("\n")
    if not any(LINE.match(line) for line in lines):
        lines = _mark(cell)
    kept, cut = [], []
    while lines:
        line = lines.pop(0)
        if not (marker := LINE.match(line)):
            kept.append(line)
            continue
        indent = marker["indent"]
        block = []
        while lines and (not lines[0].strip() or lines[0].startswith(indent)) and not LINE.match(lines[0]):
            block.append(lines.pop(0))
        cut += block
        kept += [f"{indent}return lt.TODO"] if indent else _assignments("\n".join(block))
        if lines:  # keep the distance to what follows
            kept += [""] * (len(block) - len("\n".join(block).rstrip("\n").split("\n")))
    return "\n".join(kept).rstrip("\n"), cut


def _mark(cell):
    """Set the line `# solution` where it is missing: as the body of each function, or above the first assignment."""
    lines = cell.split("\n")
    try:
        tree = ast.parse(cell)
    except SyntaxError as error:
        raise Problem(f"the solution cell {lines[0]!r} is not Python: {error}") from None
    functions = [node for node in tree.body if isinstance(node, ast.FunctionDef)]
    for function in reversed(functions):
        body = function.body[1:] if ast.get_docstring(function) else function.body
        if not body:
            raise Problem(f"the solution of {function.name} is empty")
        lines.insert(body[0].lineno - 1, " " * body[0].col_offset + "# solution")
    if not functions:
        assigned = [node for node in tree.body if isinstance(node, ast.Assign)]
        if not assigned:
            raise Problem(f"nothing to cut in the solution cell {lines[0]!r}: it has no function and no assignment")
        lines.insert(assigned[0].lineno - 1, "# solution")
    return lines


def _assignments(block):
    names = []
    for node in ast.parse(block).body:
        for target in node.targets if isinstance(node, ast.Assign) else []:
            names += [part.id for part in ast.walk(target) if isinstance(part, ast.Name)]
    if not names:
        raise Problem(f"nothing to answer below `# solution`: no name is assigned in {block!r}")
    return [f"{name} = lt.TODO" for name in dict.fromkeys(names)]
