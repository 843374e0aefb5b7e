"""The functions and classes that a notebook defines by hand, without running anything else of it."""

import ast
import math

import torch
from torch import nn

import lhcml_tutor as lt
from lhcml_tutor.notebooks import sources


def defined_in(key, wanted, **given):
    """Return a dict with the wanted functions and classes of notebook `key`, on top of the given names."""
    names = {"torch": torch, "nn": nn, "math": math, "lt": lt, **given}
    missing = set(wanted)
    for cell in sources.code_cells(sources.get(key).text):
        for node in ast.parse(cell).body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name in wanted:
                exec(compile(ast.Module([node], []), key, "exec"), names)
                missing.discard(node.name)
    assert not missing, f"notebook {key} does not define {sorted(missing)}"
    return names
