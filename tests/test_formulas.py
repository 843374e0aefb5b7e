"""Symbolic regression: known formulas are found again, what is printed is what is computed, and seeds repeat."""

import builtins
import math
from itertools import pairwise

import numpy as np
import pytest
import torch

from lhcml_tutor import explain
from lhcml_tutor.explain import expressions, formulas
from lhcml_tutor.explain.expressions import complexity, refitted, rounded, simplified, symbols
from lhcml_tutor.extras import MissingExtra

sympy = pytest.importorskip("sympy", reason="needs sympy: pip install lhcml-tutor[explain]")
NAMES = ("a", "b", "c")
QUICK = {"population": 300, "generations": 20, "longest": 15}


def normal(*shape, seed=1):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


X = normal(500, 3)
A, B, C = X.unbind(1)


@pytest.fixture(scope="module")
def operon():
    return pytest.importorskip("pyoperon", reason="needs pyoperon: pip install lhcml-tutor[explain]")


@pytest.fixture(scope="module")
def noisy(operon):
    """Formulas for tanh(0.7 a - 0.4 b^2) with noise of 0.05."""
    target = torch.tanh(0.7 * A - 0.4 * B**2) + 0.05 * normal(500, seed=2)
    return target, explain.find_formulas(X, target, NAMES, **QUICK)


@pytest.mark.parametrize(
    ("target", "wanted", "size"),
    [
        (A * B + C, "a*b + c", 5),
        (torch.tanh(0.7 * A - 0.4 * B**2), "tanh(0.7*a - 0.4*b**2)", 10),
    ],
    ids=["product", "tanh"],
)
def test_known_formulas_are_found(operon, target, wanted, size):
    best = explain.find_formulas(X, target, NAMES, **QUICK)[-1]
    known = sympy.sympify(wanted, locals={s.name: s for s in symbols(NAMES)})
    fresh = normal(1000, 3, seed=5)
    function = explain.Formula(known, NAMES, 0.0, 0.0)
    assert (best(fresh) - function(fresh)).abs().max() < 1e-6, best
    assert best.complexity == complexity(known) == size and best.error < 1e-6 and abs(best.rounding) < 1e-3
    other = torch.roll(target, 1)  # the control: a target that knows nothing of x
    assert explain.find_formulas(X, other, NAMES, population=50, generations=5)[-1].error > 0.8 * other.std()


def test_units_of_the_columns_do_not_matter(operon):
    """In MeV and per mille the same formula comes out, with other constants."""
    units = torch.tensor([1e6, 1e-3, 1.0]).double()
    best = explain.find_formulas(X * units, torch.tanh(0.7 * A - 0.4 * B**2), NAMES, **QUICK)[-1]
    assert str(best) in ("tanh(7.0e-7*a - 400000*b**2)", "tanh(7.0e-7*a - 4.0e+5*b**2)")


def test_with_noise_the_front_falls_to_the_noise(noisy):
    target, front = noisy
    for short, long in pairwise(front):
        assert short.complexity < long.complexity and short.error > long.error
    assert len(front) >= 3 and 0.045 < front[-1].error < 0.055
    for one in front:
        assert abs(float((one(X) - target).square().mean().sqrt()) - one.error) < 1e-9
        assert one.complexity <= 15 and abs(one.rounding) < 0.05


def test_the_same_seed_gives_the_same_formulas(operon):
    """A search that is far from its end, so that any other random number would show."""
    short = {"population": 50, "generations": 3, "longest": 9}
    target = A * B * C + torch.sin(3 * A)
    one, again, other = (explain.find_formulas(X, target, NAMES, **short, seed=seed) for seed in (1, 1, 2))
    assert one == again and one != other
    both = explain.find_formulas(X, target, NAMES, **short, restarts=2)
    assert both[-1].error <= one[-1].error * 1.01


def test_what_is_printed_is_what_is_computed(noisy):
    _, front = noisy
    points = normal(20, 3, seed=7)
    for one in front:
        with_numpy, with_torch = one(points.numpy()), one(points)
        by_hand = [float(one.expression.evalf(30, dict(zip(symbols(NAMES), row.tolist())))) for row in points]
        assert np.abs(with_numpy - by_hand).max() < 1e-6 and np.abs(with_torch.numpy() - by_hand).max() < 1e-6
        read_again = sympy.sympify(str(one), locals={s.name: s for s in symbols(NAMES)})
        assert sympy.simplify(read_again - one.expression) == 0
        assert one(points.float()).dtype == torch.float32


def test_trees_are_translated_as_operon_computes_them(operon):
    """Every operator, on the trees of a short search, against the interpreter of Operon itself."""
    from pyoperon.sklearn import SymbolicRegressor

    x = 0.5 + X.abs().numpy()
    seen = set()
    for names in (("add", "sub", "mul", "div"), ("add", "exp", "log", "sqrt"), ("mul", "sin", "cos", "abs", "tanh")):
        search = SymbolicRegressor(
            ",".join((*names, "square", "constant", "variable")), population_size=100, generations=2,
            objectives=["r2", "length"], random_state=1, uncertainty=[1.0],
        )  # fmt: skip
        search.fit(x, x[:, 0] - np.sin(x[:, 1]) / x[:, 2])
        order = {key: i for i, key in enumerate(search.variables_)}
        trees = [one.Genotype for one in search.individuals_][:40]
        for tree in trees:
            found = formulas._expression(tree.Nodes, order, NAMES, np.ones(3))
            if found.has(sympy.zoo, sympy.nan, sympy.oo, sympy.I):
                continue
            seen |= {node.Name for node in tree.Nodes}
            wanted = search.evaluate_model(tree, x)
            with np.errstate(all="ignore"):
                value = expressions.compiled(found, NAMES, "numpy")(*x.T) + np.zeros(len(x))
            fine = np.isfinite(wanted) & (np.abs(wanted) < 1e4)
            assert np.allclose(value[fine], wanted[fine], rtol=2e-3, atol=2e-3), found
    assert {"+", "-", "*", "/", "exp", "log", "sqrt", "sin", "cos", "abs", "tanh", "square"} <= seen


def test_complexity_counts_what_a_person_writes():
    a, b, c = symbols(NAMES)
    for expression, size in (
        (a, 1), (-a, 2), (a + b, 3), (a - b, 3), (-a - b, 4), (2.5 * a, 3), (-2.5 * a, 3), (a - 2.5 * b, 5), (a / b, 3),
        (1 / a, 3), (1 / a**2, 5), (a**2, 3), (a * b * c, 5), (sympy.sqrt(a), 2), (a / sympy.sqrt(b), 4),
        (sympy.tanh(0.7 * a - 0.4 * b**2), 10), (sympy.exp(-a), 3), (sympy.Abs(a) / (1 + b), 6), (a * sympy.exp(-b), 5),
    ):  # fmt: skip
        assert complexity(expression) == size, expression


def test_shorter_means_shorter_and_equal():
    a, b, _ = symbols(NAMES)
    for expression in (
        0.3 + 1.7 * (2 * a + 0.5 * b) + 0.4 * a,
        sympy.tanh(2 * (a + 3) * b) * (a * b + a),
        (a + 1) * (a - 1) / (2 * b**2 + 4),
        3 * sympy.exp(2 * (a + b)) + a * (1 + 1 / a),
    ):
        short = simplified(expression)
        assert complexity(short) <= complexity(expression)
        for point in ((0.3, 1.2), (-2.0, 0.7)):
            values = [float(one.subs(dict(zip((a, b), point)))) for one in (expression, short)]
            assert values[0] == pytest.approx(values[1], rel=1e-12)
    assert complexity(simplified(0.3 + 1.7 * (2 * a + 0.5 * b) + 0.4 * a)) == 9


def test_rounding_and_its_price():
    a, b, _ = symbols(NAMES)
    exact = 0.123456 * a**2 - 98765.4 * b + 0.999999
    assert str(rounded(exact, 3).xreplace({})) == str(sympy.Float(0.123) * a**2 - 98800 * b + 1)
    assert rounded(exact, 6) != rounded(exact, 3)
    target = (0.123456 * A**2 - 0.987654 * B).numpy()
    rough, fine = (
        formulas._front([0.12 * a**2 - 0.99 * b], NAMES, X.numpy(), target, 25, digits, 0.01)[0] for digits in (1, 3)
    )
    by_hand = math.sqrt(np.mean(((0.1 * A**2 - B).numpy() - target) ** 2))
    assert rough.error == pytest.approx(by_hand) and fine.error < rough.error / 20
    assert rough.rounding > 1000  # it was exact before
    assert not formulas._front([0.12 * a**2 - 0.99 * b], NAMES, X.numpy(), target, 8, 3, 0.01)  # 9 is too long


def test_constants_are_fitted_and_the_idle_ones_go():
    a, b, c = symbols(NAMES)
    target = torch.tanh(0.7 * A - 0.4 * B**2).numpy() + 0.01 * normal(500, seed=3).numpy()
    found = refitted(0.9 * sympy.tanh(1.1 * a - 0.1 * b**2 + 0.05 * a * b) + 0.2, NAMES, X.numpy(), target)
    assert str(simplified(rounded(found, 1))) == "tanh(0.7*a - 0.4*b**2)"
    quotient = (2 * B / (C**2 + 1.5) - 0.25 * A).numpy()  # whose constants can all be doubled, above and below
    found = refitted(-0.3 * a + 0.8 * b / (0.4 * c**2 + 0.6), NAMES, X.numpy(), quotient)
    assert complexity(found) == 13 and formulas._distance(found, NAMES, X.numpy(), quotient) < 1e-6
    kept = refitted(0.9 * a + 0.2, NAMES, X.numpy(), (A + 0.3).numpy())
    assert str(rounded(kept, 3).evalf(3)) == "a + 0.3"  # a constant that matters stays


def test_a_huge_factor_before_tiny_constants_goes():
    """The search brings such products; steps of 1e-8 would be far too large for their derivatives."""
    a, b, _ = symbols(NAMES)
    target = ((2 + 1.5 * A) * (0.7 - B) + 0.3 + 0.1 * normal(500, seed=6)).numpy()
    product = sympy.Mul(sympy.Float(2.48e17), 8e-18 + 6e-18 * a, 0.6 - b) + 0.2
    assert complexity(product) == 13
    short = refitted(product, NAMES, X.numpy(), target)
    assert complexity(short) == 11 and max(abs(float(c)) for c in short.atoms(sympy.Float)) < 10
    assert formulas._distance(short, NAMES, X.numpy(), target) < 0.11


def test_formula_is_a_fast_differentiable_function():
    a, b, c = symbols(("a", "lambda", "p_T / GeV"))  # names that are no names of Python
    formula = explain.Formula(sympy.tanh(a * b) + sympy.Abs(c), ("a", "lambda", "p_T / GeV"), 0.0, 0.0)
    x = X.clone().requires_grad_()
    formula(x).sum().backward()
    assert torch.allclose(x.grad[:, 0], B * (1 - torch.tanh(A * B) ** 2)) and torch.equal(x.grad[:, 2], C.sign())
    assert explain.Formula(sympy.Float(0.5), ("a",), 0.0, 0.0)(torch.zeros(4, 1)).tolist() == [0.5] * 4
    with pytest.raises(ValueError, match=r"x must be \(n, 3\): a, lambda"):
        formula(torch.zeros(4, 2))
    written = explain.Formula(symbols(["n_pf"])[0] / 2.5, ("n_pf",), 0.0, 0.0)
    assert written.latex() == r"0.4 n_{pf}" and written.latex(n_pf=r"n_\mathrm{pf}") == r"0.4 n_\mathrm{pf}"


def test_formula_as_a_classifier():
    """Where the formula is the logit of the truth its AUC is the best and its probability is right; else not."""
    a, b, _ = symbols(NAMES)
    x = normal(20_000, 3, seed=4)
    logit = 2 * x[:, 0] - x[:, 1] ** 2
    label = (torch.rand(20_000, generator=torch.Generator().manual_seed(5)) < torch.sigmoid(logit)).long()
    right = explain.judge_formula(explain.Formula(2 * a - b**2, NAMES, 0.0, 0.0), x, label)
    assert right.complexity == 7 and right.rejection.value > 5
    assert right.calibration < 2 * right.calibration_limit
    bold = explain.judge_formula(explain.Formula(4 * a - 2 * b**2, NAMES, 0.0, 0.0), x, label)
    assert bold.auc == right.auc and bold.calibration > 5 * bold.calibration_limit
    poor = explain.judge_formula(explain.Formula(2 * a, NAMES, 0.0, 0.0), x, label)
    gap = explain.auc_difference(2 * x[:, 0], logit, label)
    assert poor.auc.value - right.auc.value == pytest.approx(gap.value) and gap.value < -10 * gap.error
    half = explain.Formula((1 + sympy.tanh(a - b**2 / 2)) / 2, NAMES, 0.0, 0.0)  # the same as a probability
    as_probability = explain.judge_formula(half, x, label, logit=False)
    assert as_probability.auc == right.auc and as_probability.calibration == pytest.approx(right.calibration)


@pytest.mark.parametrize(
    ("x", "target", "names", "options", "text"),
    [
        (X[:, 0], A, ["a"], {}, r"x must be \(n, d\)"),
        (X, A[:, None], NAMES, {}, "squeeze"),
        (X, A, ["a", "b"], {}, "each of the 3 columns"),
        (X, A, ["a", "b", "a"], {}, "differently"),
        (X[:5], A[:5], NAMES, {}, "10 events or more"),
        (X * torch.tensor([1.0, math.nan, 1.0]), A, NAMES, {}, "b is NaN or infinite in 500 of 500 events: leave"),
        (X, A / 0, NAMES, {}, "target is NaN or infinite"),
        (X * torch.tensor([1.0, 1.0, 0.0]), A, NAMES, {}, "c is 0 in all events.*leave it out"),
        (X, torch.full((500,), 0.1), NAMES, {}, "target is 0.1 in all events"),
        (X, A, NAMES, {"operators": ("add", "plus")}, r"unknown operators \['plus'\]; choose from add, sub"),
    ],
)
def test_bad_input_is_named(x, target, names, options, text):
    with pytest.raises(ValueError, match=text):
        explain.find_formulas(x, target, names, **options)


def test_missing_extra_says_what_to_install(monkeypatch):
    found = builtins.__import__

    def without(name, *arguments, **options):
        if name.split(".")[0] == "pyoperon":
            raise ModuleNotFoundError("No module named 'pyoperon'", name="pyoperon")
        return found(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    monkeypatch.setattr("lhcml_tutor.extras.import_module", without)
    with pytest.raises(MissingExtra, match=r'pyoperon is not installed; run: pip install "lhcml-tutor\[explain\]"'):
        explain.find_formulas(X, A, NAMES)


def test_pysr_finds_a_formula_or_says_what_to_install():
    try:
        import pysr  # noqa: F401
    except ImportError:
        with pytest.raises(MissingExtra, match="pip install pysr"):
            explain.find_formulas_with_pysr(X, A * B + C, NAMES)
        pytest.skip("needs PySR and its Julia: pip install pysr")
    assert explain.find_formulas_with_pysr(X, A * B + C, NAMES, iterations=5)[-1].error < 1e-3
