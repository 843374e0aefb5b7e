"""Formulas as expressions: how long they are, how they are made shorter, and how they become fast functions."""

import math
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import torch

from ..extras import require

FUNCTIONS = ("tanh", "exp", "log", "sqrt", "sin", "cos")  # of one number, named alike in sympy, numpy and torch
EXACT = 1e-6  # error over the spread of the target below which a formula counts as right


def symbols(names):
    """Return the real symbols of the columns; of equal names they are equal.

    Example:
        >>> symbols(["n_pf"])
        (n_pf,)
    """
    sympy = require("sympy", "explain")
    return tuple(sympy.Symbol(name, real=True) for name in names)


def complexity(expression):
    """Return how long a formula is: its constants, variables, operations and functions, as a person would write them.

        a - b x   5,      x / y   3,      x^2   3,      tanh(x)   2

    Example:
        >>> x, y = symbols("xy")
        >>> complexity(0.3 - 2 * x), complexity(x / y), complexity(x**2)
        (5, 3, 3)
    """
    sympy = require("sympy", "explain")
    if not expression.args:
        return 1
    if expression.is_Add:  # a minus is the operation between two terms
        leading = all(term.could_extract_minus_sign() for term in expression.args)
        return sum(complexity(_without_minus(term)) for term in expression.args) + len(expression.args) - 1 + leading
    if expression.is_Mul:
        above, below = sympy.fraction(expression, exact=True)
        if below != 1:
            return complexity(above) + 1 + complexity(below)
        if expression.args[0] == -1:
            return 1 + complexity(-expression)
        return sum(map(complexity, expression.args)) + len(expression.args) - 1
    if expression.is_Pow and expression.exp.is_Number:
        if expression.exp < 0:
            return 2 + complexity(expression.base**-expression.exp)
        if expression.exp * 2 == 1:
            return 1 + complexity(expression.base)
    return sum(map(complexity, expression.args)) + (1 if expression.is_Function else len(expression.args) - 1)


@lru_cache(maxsize=4096)
def simplified(expression):
    """Return the same formula, shorter where multiplying out or putting factors in front makes it so.

    Example:
        >>> x, y, z = symbols("xyz")
        >>> simplified(2 * (3 + 4 * x)), simplified(x * y + x * z)
        (8*x + 6, x*(y + z))
    """
    sympy = require("sympy", "explain")
    if expression.args:
        expression = expression.func(*map(simplified, expression.args))
    return min((expression, sympy.expand(expression, deep=False), sympy.factor_terms(expression)), key=complexity)


def rounded(expression, digits):
    """Return the formula with constants of so many significant digits; whole numbers become integers.

    Example:
        >>> x, = symbols("x")
        >>> rounded(0.12345 * x**2 + 0.99999 * x, 3)
        0.123*x**2 + x
    """
    sympy = require("sympy", "explain")
    if digits < 1:
        raise ValueError(f"digits counts significant digits of constants, at least 1, not {digits}")
    new = {}
    for constant in expression.atoms(sympy.Float):
        value = float(f"{float(constant):.{digits - 1}e}")
        new[constant] = sympy.Integer(int(value)) if value == int(value) else sympy.Float(value)
    return expression.xreplace(new)


def refitted(expression, names, x, target, gain=0.01):
    """Return the formula with the constants that fit best, by least squares, without those that are not worth it.

    Arguments:
        gain: a constant goes where 0, 1 or -1 in its place makes the formula shorter and the error no larger than this.
    Shapes:
        x (n, d), target (n,), arrays
    Example:
        >>> x, (a,) = np.linspace(0, 1, 50)[:, None], symbols("a")
        >>> rounded(refitted(1.1 * a**2 + 0.3 * a + 0.2, ["a"], x, 2 * x[:, 0] + 0.5), 6)
        2*a + 0.5
    """
    sympy = require("sympy", "explain")
    floor = EXACT * target.std()
    while old := sorted(expression.atoms(sympy.Float), key=float):
        constants = sympy.symbols(f"constant:{len(old)}")
        form = expression.xreplace(dict(zip(old, constants, strict=True)))
        function = sympy.lambdify([*symbols(names), *constants], form, "numpy", cse=True)
        values, error, valleys = _least_squares(function, x, target, np.array(old, dtype=float))

        def with_constants(values, form=form, constants=constants):
            numbers = [sympy.Integer(int(v)) if v in (0, 1, -1) else sympy.Float(v) for v in values.tolist()]
            return form.xreplace(dict(zip(constants, numbers, strict=True)))

        expression, trials = with_constants(values), []
        for trial in _with_one_constant_less(values, valleys):
            if (1 - gain) * (worse := error(trial)) <= error(values) + floor:
                trials.append((worse, trial.tolist()))
        for _, trial in sorted(trials):
            shorter = simplified(with_constants(np.array(trial)))
            if complexity(shorter) < complexity(expression):
                expression = shorter
                break
        else:
            break
    return expression


def _least_squares(function, x, target, start):
    """Return the constants that fit best, the error as a function of them, and directions in which it stays the same.

    A direction is one of the logarithms of the constants: a / (b x + c) does not change when all three are doubled.
    """
    from scipy.optimize import least_squares

    spread = target.std()

    def residuals(values):
        with np.errstate(all="ignore"):
            return np.clip(np.nan_to_num((function(*x.T, *values) - target) / spread, nan=1e9), -1e9, 1e9)

    def error(values):
        return spread * math.sqrt(np.mean(residuals(values) ** 2))

    if len(x) < len(start):
        return start, error, []
    found = least_squares(
        residuals, start, method="lm", x_scale="jac", max_nfev=50 * (len(start) + 1),
        diff_step=1e-8,  # of each constant; the default is no smaller than 1e-8 even where constants are 1e-17
    )  # fmt: skip
    values = found.x if np.isfinite(found.x).all() and error(found.x) < error(start) else start
    _, size, axes = np.linalg.svd(found.jac * values, full_matrices=False)
    return values, error, axes[size < 1e-5 * size[0]]


def _with_one_constant_less(values, valleys):
    """Yield the constants with one of them 0, 1 or -1, the others as they are or moved along a valley."""
    for i in range(len(values)):
        for whole in (0.0, 1.0, -1.0):
            yield np.where(np.arange(len(values)) == i, whole, values)
        for valley in valleys:
            if abs(valley[i]) > 1e-2 and values[i]:
                with np.errstate(all="ignore"):
                    moved = values * np.exp(-np.log(abs(values[i])) / valley[i] * valley)
                yield np.where(np.arange(len(values)) == i, np.sign(values[i]), moved)


class Formula(NamedTuple):
    """A formula of the columns of x with rounded constants, and how far it is from its target.

        error = sqrt( mean (formula - target)^2 ),      rounding = error / error before the constants were rounded - 1

    formula(x) takes a tensor (n, d), on any device and with gradients, or an array, and gives (n,) of the same kind.

    Example:
        >>> a, b = symbols("ab")
        >>> formula = Formula(0.5 * a**2 - b - 1, ("a", "b"), error=0.0, rounding=0.0)
        >>> formula, formula.complexity, formula.latex()
        (0.5*a**2 - b - 1, 9, '0.5 a^{2} - b - 1')
        >>> formula(torch.tensor([[2.0, 3.0]]))
        tensor([-2.])
    """

    expression: Any
    names: tuple
    error: float
    rounding: float

    @property
    def complexity(self):
        """How long it is."""
        return complexity(self.expression)

    def latex(self, **names):
        """Return it as LaTeX; a name of a column can be given its own, n_pf=r"n_\\mathrm{pf}"."""
        sympy = require("sympy", "explain")
        written = {symbol: names[symbol.name] for symbol in symbols(self.names) if symbol.name in names}
        return sympy.latex(self.expression, full_prec=False, symbol_names=written)

    def __call__(self, x):
        if x.ndim != 2 or x.shape[1] != len(self.names):
            raise ValueError(f"x must be (n, {len(self.names)}): {', '.join(self.names)}; it is {tuple(x.shape)}")
        if torch.is_tensor(x):
            return compiled(self.expression, self.names, "torch")(*x.unbind(1)) + torch.zeros_like(x[:, 0])
        return compiled(self.expression, self.names, "numpy")(*x.T) + np.zeros(len(x))

    def __repr__(self):
        sympy = require("sympy", "explain")
        return sympy.sstr(self.expression, full_prec=False)


def _without_minus(term):
    return -term if term.could_extract_minus_sign() else term


@lru_cache(maxsize=1024)
def compiled(expression, names, library):
    """Return the formula as a function of columns, for "numpy" or "torch"; common parts are computed once.

    Example:
        >>> x, = symbols("x")
        >>> compiled(x**2 + 1, ("x",), "numpy")(np.array([2.0]))
        array([5.])
    """
    sympy = require("sympy", "explain")
    modules = "numpy"
    if library == "torch":
        modules = [{name: getattr(torch, name) for name in FUNCTIONS} | {"Abs": torch.abs, "sign": torch.sign}]
    return sympy.lambdify(symbols(names), expression, modules, cse=True)
