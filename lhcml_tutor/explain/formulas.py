"""Symbolic regression: formulas of a few observables that stand in for a network.

    front = find_formulas(x, logit, names=["n_pf", "w_pf", "C_beta"])     # from short and rough to long and right
    formula = front[-1]
    formula, formula.complexity, formula.error, formula.latex(), formula(x)
    judge_formula(formula, x, label)                                           # AUC, rejection, calibration

Formulas are bred: trees of operations are changed, crossed and selected by two aims at once, small error and few nodes.
Nothing says that the best one is found; another seed may find another. Take several.
"""

import math
from typing import NamedTuple

import numpy as np
import torch

from ..classification import calibration_error, calibration_limit
from ..extras import MissingExtra, require
from ..metrics import Estimate, rejection
from .classifiers import auc_with_error
from .expressions import EXACT, Formula, compiled, complexity, refitted, rounded, simplified, symbols

UNARY = ("square", "sqrt", "exp", "log", "sin", "cos", "tanh", "abs")
BINARY = {"add": "+", "sub": "-", "mul": "*", "div": "/"}


def find_formulas(x, target, names, operators=("add", "sub", "mul", "div", "square", "tanh"), longest=25,
                  population=500, generations=50, restarts=1, digits=3, gain=0.01, seed=1):  # fmt: skip
    """Search formulas for a target, and return those that no shorter one is as good as, shortest first.

        minimise  mean (formula(x) - target)^2  and  complexity,  both

    Each formula that the search brings is simplified, its constants are fitted once more and rounded. Error and
    complexity are those of what is printed. The same seed gives the same formulas: the search runs on one thread.

    Arguments:
        target: what the formula should give, such as the logit or the probability of a network.
        names: of the columns of x.
        operators: any of add, sub, mul, div, square, sqrt, exp, log, sin, cos, tanh, abs.
        longest: largest complexity.
        population, generations: of the search; its time is proportional to both and to the number of events.
        restarts: searches with other random numbers, whose results are put together.
        digits: of the constants.
        gain: a longer formula must have an error smaller by this share to be kept.
        seed: of the search.
    Shapes:
        x (n, d), target (n,) -> list of Formula, complexity rising, error falling
    Raises:
        MissingExtra: pyoperon is not installed.
        ValueError: shapes do not fit, numbers are not finite, a column or the target is constant, an unknown operator.
    Example:
        >>> x = torch.linspace(-1, 1, 200, dtype=torch.float64)[:, None]
        >>> front = find_formulas(x, 2 * x[:, 0] ** 2 + 1, ["a"], population=100, generations=10)
        >>> front[-1], front[-1].complexity
        (2*a**2 + 1, 7)

    Reference: Burlacu, Kronberger, Kommenda 2020, doi:10.1145/3377929.3398099 (Operon); Deb et al. 2002,
    doi:10.1109/4235.996017 (two aims); for the LHC: Butter, Plehn, Soybelman, Brehmer 2021, arXiv:2109.10414.
    """
    x, target, names = _checked(x, target, names)
    if unknown := [name for name in operators if name not in (*BINARY, *UNARY)]:
        raise ValueError(f"unknown operators {unknown}; choose from {', '.join((*BINARY, *UNARY))}")
    require("pyoperon", "explain")
    from pyoperon.sklearn import SymbolicRegressor

    scale = x.std(0)  # variables come with a factor of their own, so this costs no complexity
    found = []
    for restart in range(restarts):
        search = SymbolicRegressor(
            allowed_symbols=",".join((*operators, "constant", "variable")),
            objectives=["r2", "length"],
            max_length=longest,
            population_size=population,
            generations=generations,
            max_evaluations=2**40,  # the number of generations ends the search
            optimizer_iterations=5,
            epsilon=1e-6,
            uncertainty=[1.0],
            n_threads=1,
            random_state=1000 * seed + restart,
        )
        search.fit(x / scale, target)
        order = {hash_value: i for i, hash_value in enumerate(search.variables_)}
        found += [_expression(one["tree"].Nodes, order, names, scale) for one in search.pareto_front_]
    return _front(found, names, x, target, longest, digits, gain)


def find_formulas_with_pysr(x, target, names, operators=("add", "sub", "mul", "div", "square", "tanh"), longest=25,
                  iterations=40, digits=3, gain=0.01, seed=1):  # fmt: skip
    """Search formulas with PySR in place of Operon: slower, and often with shorter results.

    Arguments:
        as in `find_formulas`; iterations: of the search.
    Shapes:
        x (n, d), target (n,) -> list of Formula
    Raises:
        MissingExtra: PySR is not installed; it is in none of the extras, since it brings a whole Julia along.
        ValueError: as in `find_formulas`.
    Example:
        >>> try:
        ...     front = find_formulas_with_pysr(torch.rand(100, 1), torch.rand(100), ["a"], iterations=1)
        ... except MissingExtra as problem:
        ...     print(problem)  # doctest: +SKIP

    Reference: Cranmer 2023, arXiv:2305.01582.
    """
    x, target, names = _checked(x, target, names)
    try:
        pysr = require("pysr", "explain")
    except MissingExtra:
        raise MissingExtra("pysr is not installed; run: pip install pysr (it installs Julia, too)") from None
    search = pysr.PySRRegressor(
        binary_operators=[BINARY[name] for name in operators if name in BINARY],
        unary_operators=[name for name in operators if name in UNARY],
        maxsize=longest,
        niterations=iterations,
        random_state=seed,
        deterministic=True,
        parallelism="serial",
        progress=False,
        verbosity=0,
        temp_equation_file=True,
    )
    search.fit(x, target)
    columns = {f"x{i}": symbol for i, symbol in enumerate(symbols(names))}
    found = [
        one.xreplace({symbol: columns[symbol.name] for symbol in one.free_symbols})
        for one in search.equations_["sympy_format"]
    ]
    return _front(found, names, x, target, longest, digits, gain)


class Judged(NamedTuple):
    """A formula as a classifier: AUC and rejection, calibration error, and what that would be of one that is right."""

    complexity: int
    auc: Estimate
    rejection: Estimate
    calibration: float
    calibration_limit: float


def judge_formula(formula, x, label, logit=True, signal_efficiency=0.5):
    """Judge a formula that tells signal from background.

    Arguments:
        logit: whether it gives the logit, or the probability of signal, which is then cut off near 0 and 1.
        signal_efficiency: at which the background rejection is taken.
    Shapes:
        x (n, d), label (n,) -> Judged
    Raises:
        ValueError: shapes do not fit, or a class is missing.
    Example:
        >>> x = torch.randn(2000, 1, generator=torch.Generator().manual_seed(1))
        >>> label = torch.rand(2000, generator=torch.Generator().manual_seed(2)) < torch.sigmoid(2 * x[:, 0])
        >>> found = judge_formula(Formula(2 * symbols("x")[0], ("x",), 0.0, 0.0), x, label)
        >>> found.complexity, found.auc.value > 0.8, found.calibration < 2 * found.calibration_limit
        (3, True, True)
    """
    score = torch.as_tensor(formula(x)).double()
    stated = score if logit else torch.logit(score, eps=1e-6)
    return Judged(
        formula.complexity,
        auc_with_error(score, label),
        rejection(score, label, signal_efficiency),
        calibration_error(stated, label),
        calibration_limit(stated),
    )


def _expression(nodes, order, names, scale):
    """Return a tree of Operon, which lists operations behind what they work on, as an expression."""
    sympy = require("sympy", "explain")
    inputs = symbols(names)
    operations = {
        "+": sympy.Add,
        "-": lambda a, *b: a - sum(b) if b else -a,
        "*": sympy.Mul,
        "/": lambda a, *b: a / sympy.Mul(*b) if b else 1 / a,
        "square": lambda a: a**2,
        "abs": sympy.Abs,
    }
    stack = []
    for node in nodes:
        if node.IsVariable:
            i = order[node.HashValue]
            stack.append(sympy.Float(float(node.Value) / scale[i]) * inputs[i])
        elif node.IsConstant:
            stack.append(sympy.Float(float(node.Value)))
        else:
            operation = operations.get(node.Name) or getattr(sympy, node.Name)
            stack.append(operation(*(stack.pop() for _ in range(node.Arity))))
    (expression,) = stack
    return expression


def _front(found, names, x, target, longest, digits, gain):
    """Return the formulas that are better than every shorter one, with constants fitted and rounded."""
    sympy = require("sympy", "explain")
    floor = EXACT * target.std()
    candidates = {}
    for exact in found:
        exact = refitted(simplified(exact), names, x, target, gain)
        short = simplified(rounded(exact, digits))
        if short in candidates or short.has(sympy.nan, sympy.zoo, sympy.oo, sympy.I) or complexity(short) > longest:
            continue
        before, after = (_distance(one, names, x, target) for one in (exact, short))
        if math.isfinite(after):
            candidates[short] = Formula(short, names, after, max(after, floor) / max(before, floor) - 1)
    front = []
    for one in sorted(candidates.values(), key=lambda one: (one.complexity, one.error)):
        if not front or one.error + floor < (1 - gain) * front[-1].error:
            front.append(one)
    return front


def _distance(expression, names, x, target):
    with np.errstate(all="ignore"):
        return float(np.sqrt(np.mean((compiled(expression, names, "numpy")(*x.T) - target) ** 2)))


def _checked(x, target, names):
    """Return x (n, d) and target (n,) as arrays of float64 and the names as a tuple, or say what is wrong with them."""
    x, target = (torch.as_tensor(values).detach().cpu().double().numpy() for values in (x, target))
    names = tuple(names)
    if x.ndim != 2 or target.shape != x.shape[:1]:
        raise ValueError(f"x must be (n, d) and target (n,), not {x.shape} and {target.shape}; (n, 1) by .squeeze(-1)")
    if len(names) != x.shape[1] or len(set(names)) != len(names):
        raise ValueError(f"names must name each of the {x.shape[1]} columns of x differently, not {names}")
    if len(x) < 10:
        raise ValueError(f"a formula needs 10 events or more, not {len(x)}")
    for name, column in (*zip(names, x.T, strict=True), ("target", target)):
        if bad := int((~np.isfinite(column)).sum()):
            raise ValueError(
                f"{name} is NaN or infinite in {bad} of {len(x)} events: leave them out, or bound the logit"
            )
        if np.ptp(column) <= 1e-12 * np.abs(column).max():
            raise ValueError(
                f"{name} is {column[0] + 0.0:g} in all events, nothing can be learned from it: leave it out"
            )
    return x, target, names
