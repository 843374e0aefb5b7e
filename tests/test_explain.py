"""Explanations: Shapley values against closed forms and shap, latent spaces of toys whose directions are known."""

import itertools
import math
from functools import partial

import numpy as np
import pytest
import torch
from scipy import stats
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler

import lhcml_tutor as lt
from lhcml_tutor import explain
from lhcml_tutor.explain import shapley
from lhcml_tutor.layers import MLP
from lhcml_tutor.metrics import auc, bootstrap

REASON = "needs shap: pip install lhcml-tutor[explain]"


def normal(*shape, seed=1):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def network(d, seed=1):
    """A function of d inputs that is far from linear."""
    torch.manual_seed(seed)
    model = MLP(d, 1, hidden=(16, 16)).double()
    for weights in model.parameters():
        torch.nn.init.normal_(weights, std=0.7)
    return lambda x: model(x)[:, 0].detach()


def by_orders(worth):
    """Shapley values from all orders in which the players can come, without any weights."""
    d = int(math.log2(len(worth)))
    values, orders = torch.zeros(d, *worth.shape[1:], dtype=worth.dtype), list(itertools.permutations(range(d)))
    for order in orders:
        inside = 0
        for player in order:
            values[player] += worth[inside + 2**player] - worth[inside]
            inside += 2**player
    return values / len(orders)


def test_games_by_hand():
    two = shapley.shapley_of_game(torch.tensor([0.0, 1.0, 3.0, 10.0], dtype=torch.float64))
    assert two.tolist() == [4.0, 6.0]
    left, other_left, right = shapley.members(3).unbind(1)  # a pair of gloves is worth 1, a single one nothing
    gloves = shapley.shapley_of_game(((left | other_left) & right).double())
    assert torch.allclose(gloves, torch.tensor([1 / 6, 1 / 6, 2 / 3], dtype=torch.float64))


def test_axioms_hold_for_any_game():
    worth, other = normal(32, 3), normal(32, 3, seed=2)
    value = shapley.shapley_of_game(worth)
    assert torch.allclose(value, by_orders(worth))
    assert torch.allclose(value.sum(0), worth[-1] - worth[0])  # efficiency
    assert torch.allclose(shapley.shapley_of_game(2 * worth + other), 2 * value + shapley.shapley_of_game(other))
    inside = shapley.members(5)
    number = (inside * 2 ** torch.arange(5)).sum(1)
    first, second = inside[:, 0], inside[:, 1]
    swapped = number - first.long() - 2 * second.long() + 2 * first.long() + second.long()
    symmetric = shapley.shapley_of_game(worth + worth[swapped])
    assert torch.allclose(symmetric[0], symmetric[1]) and not torch.allclose(symmetric[0], symmetric[2])
    dummy = shapley.shapley_of_game(worth[number - 16 * inside[:, 4].long()])  # the fifth player changes nothing
    assert dummy[4].abs().max() == 0 and dummy[3].abs().max() > 0


def test_linear_model_has_its_closed_form():
    x, background, w = normal(7, 4), 1 + normal(50, 4, seed=2), torch.tensor([1.0, -2.0, 0.0, 0.5]).double()
    wanted = w * (x - background.mean(0))
    assert torch.allclose(explain.shapley_values(lambda x: x @ w + 3, x, background), wanted)
    found = explain.sampled_shapley(lambda x: x @ w + 3, x, background, pairs=400)
    assert ((found.values - wanted).abs() < 5 * found.error + 1e-12).all() and (found.error[:, 2] < 1e-12).all()
    # inputs that know nothing of each other: there is no difference between marginal and conditional
    width = torch.tensor([1.0, 2.0, 3.0, 0.1]).double()
    worth = explain.conditional_coalitions(lambda x: x @ w + 3, x, background.mean(0), width.square().diag(), draws=2)
    assert torch.allclose(explain.shapley_of_game(worth).T, wanted)


def test_values_add_up_and_memory_changes_nothing():
    f, x, background = network(5), normal(6, 5), normal(40, 5, seed=2)
    found = explain.shapley_values(f, x, background)
    assert torch.allclose(found.sum(1), f(x) - f(background).mean())
    small = explain.coalitions(f, x, background, batch_size=7)
    assert torch.allclose(explain.shapley_of_game(small).T, found)
    sampled = [explain.sampled_shapley(f, x, background, 30, batch_size=size) for size in (64, 2**16)]
    assert torch.equal(sampled[1].values, explain.sampled_shapley(f, x, background, 30).values)
    assert all(torch.isfinite(one.error).all() for one in sampled)


@pytest.mark.filterwarnings("ignore")
def test_exact_values_are_those_of_shap(monkeypatch):
    numba = pytest.importorskip("numba", reason=REASON)
    monkeypatch.setattr(numba.config, "DISABLE_JIT", True)  # compiling takes longer than running
    shap = pytest.importorskip("shap", reason=REASON)
    f, x, background = network(5), normal(4, 5), normal(40, 5, seed=2)
    found = explain.shapley_values(f, x, background).numpy()

    def as_arrays(x):
        return f(torch.as_tensor(x)).numpy()

    masker = shap.maskers.Independent(background.numpy(), max_samples=40)
    exact = shap.ExactExplainer(as_arrays, masker)(x.numpy()).values
    assert np.abs(found - exact).max() < 1e-6 * np.abs(exact).max()
    size = np.abs(exact).max(1, keepdims=True)
    orders = shap.PermutationExplainer(as_arrays, masker, seed=1)(x.numpy(), max_evals=1000, silent=True).values
    assert (np.abs(found - orders) < 0.05 * size).all()
    kernel = shap.KernelExplainer(as_arrays, background.numpy()).shap_values(x.numpy(), silent=True)
    assert (np.abs(found - kernel) < 0.05 * size).all()
    sampled = explain.sampled_shapley(f, x, background, pairs=4000).values.numpy()
    assert (np.abs(sampled - exact) < 0.05 * size).all()


def test_the_error_of_the_sampled_values_is_right():
    f, x, background = network(6), normal(20, 6), normal(30, 6, seed=2)
    exact = explain.shapley_values(f, x, background)
    found = [explain.sampled_shapley(f, x, background, pairs=100, seed=seed) for seed in range(8)]
    pulls = torch.stack([(one.values - exact) / one.error for one in found])
    assert abs(pulls.mean()) < 0.1 and 0.92 < pulls.std() < 1.1
    assert torch.equal(found[3].values, explain.sampled_shapley(f, x, background, pairs=100, seed=3).values)


def test_a_pair_of_orders_is_exact_for_two_inputs_at_a_time():
    x, background = normal(5, 4), normal(1, 4, seed=2)

    def f(x):
        return x[:, 0] * x[:, 1] - 2 * x[:, 2] * x[:, 3] + x[:, 0] ** 2

    found = explain.sampled_shapley(f, x, background, pairs=2)
    assert torch.allclose(found.values, explain.shapley_values(f, x, background)) and found.error.max() < 1e-12
    three = explain.sampled_shapley(lambda x: x.prod(1), x, background, pairs=2)
    assert three.error.max() > 0.1  # the control: products of more inputs depend on the order


def test_the_trap_of_inputs_that_know_each_other():
    """f = x_1 alone, x_2 = x_1 + noise of 0.1: conditional values give x_2 its half, x_2 / (2 (1 + 0.01))."""
    noise = 0.1
    x = normal(1000, 2)
    x[:, 1] = x[:, 0] + noise * x[:, 1]
    covariance = torch.tensor([[1.0, 1.0], [1.0, 1 + noise**2]]).double()
    marginal = explain.shapley_values(lambda x: x[:, 0], x[:100], x[100:])
    assert marginal[:, 1].abs().max() == 0
    assert torch.allclose(marginal[:, 0], x[:100, 0] - x[100:, 0].mean())
    worth = explain.conditional_coalitions(lambda x: x[:, 0], x[:100], torch.zeros(2), covariance, draws=2)
    found = explain.shapley_of_game(worth).T
    second = x[:100, 1] / (2 * (1 + noise**2))
    assert torch.allclose(found, torch.stack([x[:100, 0] - second, second], dim=1))
    share = found.abs().mean(0) / found.abs().mean(0).sum()
    assert 0.47 < share[1] < 0.53
    fitted = explain.conditional_coalitions(lambda x: x[:, 0], x[:100], x.mean(0), x.T.cov(), draws=2)
    assert (explain.shapley_of_game(fitted).T - found).abs().max() < 0.05


def test_conditional_worth_is_the_conditional_mean():
    """Linear: by regression on a large sample of the Gaussian; x_0 x_1 and x_1^2 by hand."""
    mix = normal(3, 3)
    mean, covariance = torch.tensor([1.0, -1.0, 0.5]).double(), mix @ mix.T
    x = mean + normal(4, 3, seed=2) @ mix.T
    w = torch.tensor([1.0, 2.0, -1.0]).double()
    worth = explain.conditional_coalitions(lambda x: x @ w, x, mean, covariance, draws=2)
    sample = mean + normal(200_000, 3, seed=3) @ mix.T
    for known, found in zip(shapley.members(3), worth, strict=True):
        design = torch.cat([torch.ones(len(sample), 1).double(), sample[:, known]], dim=1)
        line = torch.linalg.lstsq(design, (sample @ w)[:, None]).solution[:, 0]
        wanted = line[0] + x[:, known] @ line[1:]
        assert (found - wanted).abs().max() < 0.05, known
    worth = explain.conditional_coalitions(lambda x: x[:, 0] * x[:, 1], x, mean, covariance, draws=20_000)
    slope = covariance[0, 1] / covariance[0, 0]
    given_first = x[:, 0] * (mean[1] + slope * (x[:, 0] - mean[0]))
    for number, wanted in ((0, mean[0] * mean[1] + covariance[0, 1]), (1, given_first), (3, x[:, 0] * x[:, 1])):
        assert (worth[number] - wanted).abs().max() < 0.05, number
    worth = explain.conditional_coalitions(lambda x: x[:, 1] ** 2, x, mean, covariance, draws=20_000)
    left = covariance[1, 1] - slope * covariance[0, 1]  # what the first input leaves open
    assert (worth[1] - (mean[1] + slope * (x[:, 0] - mean[0])) ** 2 - left).abs().max() < 0.05 < 0.1 < left


def test_inputs_that_are_one_and_the_same_share_alike():
    x = normal(5, 1).expand(5, 2).contiguous()
    worth = explain.conditional_coalitions(lambda x: x[:, 0] ** 3, x, torch.zeros(2), torch.ones(2, 2), draws=64)
    found = explain.shapley_of_game(worth)
    assert torch.allclose(found[0], found[1], atol=1e-6)


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: shapley.shapley_of_game(torch.zeros(6)), "no power of two"),
        (lambda: shapley.members(17), "use sampled_shapley"),
        (lambda: explain.shapley_values(lambda x: x, torch.zeros(2, 3), torch.zeros(2, 3)), "choose one output"),
        (lambda: explain.shapley_values(lambda x: x[:, 0], torch.zeros(2, 3), torch.zeros(2, 2)), r"\(n, d\) and"),
        (lambda: explain.shapley_values(lambda x: x[:, 0].log(), torch.zeros(2, 3), torch.ones(2, 3)), "not finite"),
        (
            lambda: explain.sampled_shapley(lambda x: x[:, 0], torch.zeros(2, 3), torch.full((2, 3), math.nan)),
            "2 of 2 rows of background",
        ),
        (lambda: explain.sampled_shapley(None, torch.zeros(2, 3), torch.zeros(2, 3), pairs=1), "at least 2"),
        (
            lambda: explain.conditional_coalitions(None, torch.zeros(2, 2), torch.zeros(2), torch.ones(3, 3)),
            r"\(2, 2\), not \(3, 3\)",
        ),
        (
            lambda: explain.conditional_coalitions(None, torch.zeros(2, 2), torch.zeros(2), -torch.eye(2)),
            "no negative eigenvalue",
        ),
        (
            lambda: explain.conditional_coalitions(None, torch.zeros(2, 2), torch.zeros(2), torch.eye(2), draws=3),
            "even number",
        ),
    ],
)
def test_bad_input_of_shapley_values_is_named(call, text):
    with pytest.raises(ValueError, match=text):
        call()


@pytest.mark.parametrize("standardised", [True, False])
def test_components_are_those_of_the_covariance(standardised):
    latent = normal(500, 6) @ (normal(6, 6, seed=2) * torch.tensor([1.0, 5.0, 1.0, 0.1, 3.0, 1.0]).double())
    found = explain.principal_components(latent, standardised=standardised)
    matrix = torch.corrcoef(latent.T) if standardised else latent.T.cov()
    size, axes = torch.linalg.eigh(matrix)
    assert torch.allclose(found.share, size.flip(0) / size.sum())
    assert torch.allclose((found.directions * axes.T.flip(0)).sum(1).abs(), torch.ones(6).double())
    z = found(latent)
    assert torch.allclose(z.T.cov(), torch.diag(z.var(0)), atol=1e-9 * float(z.var(0)[0]))
    theirs = PCA().fit_transform(StandardScaler(with_std=standardised).fit_transform(latent))
    assert np.allclose(np.abs(theirs), z.abs())
    assert (found.directions.gather(1, found.directions.abs().argmax(1, keepdim=True)) > 0).all()


def test_silent_latent_numbers_do_no_harm():
    latent = torch.cat([normal(100, 3), torch.full((100, 2), 0.1).double()], dim=1)
    found = explain.principal_components(latent)
    assert torch.allclose(found.share.sum(), torch.ones(()).double()) and found.share[3:].abs().max() < 1e-12
    assert torch.isfinite(found(latent)).all()


def two_classes(n, shifts, seed=1):
    """Gaussians whose mean differs by `shifts` between the classes."""
    label = torch.arange(n) % 2
    return normal(n, len(shifts), seed=seed) + label[:, None] * torch.tensor(shifts), label


quick_network = partial(explain.network_scores, steps=300)


@pytest.mark.parametrize("scores", [quick_network, explain.tree_scores], ids=["network", "trees"])
def test_read_out_reaches_the_closed_form(scores):
    """The best AUC of Gaussians a distance s apart is Phi(s / sqrt 2); the third number knows nothing."""
    train, test = two_classes(3000, (1.0, 1.2, 0.0)), two_classes(3000, (1.0, 1.2, 0.0), seed=2)
    found = explain.read_out(*train, *test, sizes=(1, 2), scores=scores)
    assert [one.k for one in found] == [1, 2, 3]
    for one, distance in zip(found, (1.0, math.hypot(1.0, 1.2), math.hypot(1.0, 1.2)), strict=True):
        best = 0.5 * (1 + math.erf(distance / 2))
        assert best - 0.012 - 3 * one.auc.error < one.auc.value < best + 4 * one.auc.error
    assert found[0].share.value < 0.8 and abs(found[1].share.value - 1) < 3 * found[1].share.error + 0.05
    assert found[2].share == (1.0, 0.0) and 0 < found[1].share.error < 0.2


def test_read_out_sees_curves_and_is_not_fooled_by_labels_of_others():
    x, test = normal(4000, 2), normal(4000, 2, seed=2)
    ring, ring_test = (x[:, 0].abs() > 0.7).long(), (test[:, 0].abs() > 0.7).long()
    (found,) = explain.read_out(x, ring, test, ring_test, (), scores=quick_network)
    assert auc(test[:, 0], ring_test) < 0.55 < 0.97 < found.auc.value
    (control,) = explain.read_out(x, ring, test, ring_test.roll(1), (), scores=quick_network)
    assert abs(control.auc.value - 0.5) < 4 * control.auc.error


def test_auc_and_its_error_are_those_of_the_bootstrap():
    x, label = two_classes(1000, (0.7, 0.7))
    first, second = x[:, 0], (2 * (x[:, 0] + 0.3 * x[:, 1])).round()  # with ties
    for score in (first, second):
        found, drawn = explain.auc_with_error(score, label), bootstrap(auc, score, label, repeats=100)
        assert abs(found.value - drawn.value) < 1e-12 and 0.8 < found.error / drawn.error < 1.25
    found = explain.auc_difference(second, first, label)
    drawn = bootstrap(lambda a, b, y: auc(a, y) - auc(b, y), second, first, label, repeats=100)
    assert abs(found.value - drawn.value) < 1e-12 and 0.8 < found.error / drawn.error < 1.25
    assert found.error < 0.6 * explain.auc_with_error(first, label).error


def test_correlations_and_their_errors():
    z = normal(2000, 2)
    observables = {"linear": 0.8 * z[:, 0] + 0.6 * normal(2000, seed=2), "steep": (3 * z[:, 1]).exp()}
    found = explain.correlation_table(z, observables)
    for name, column in observables.items():
        for i in range(2):
            assert abs(found[name].pearson[i] - stats.pearsonr(z[:, i], column).statistic) < 1e-12
            assert abs(found[name].spearman[i] - stats.spearmanr(z[:, i], column).statistic) < 1e-12
    for i, r in enumerate((0.8, 0.0)):  # of Gaussians: (1 - r^2) / sqrt(n)
        assert 0.8 < found["linear"].pearson_error[i] / ((1 - r**2) / math.sqrt(2000)) < 1.25
        assert 0.7 < found["linear"].spearman_error[i] / ((1 - r**2) / math.sqrt(2000)) < 1.4
    assert found["steep"].pearson[1] < 0.7 < 0.999 < found["steep"].spearman[1]


@pytest.fixture(scope="module")
def mixed_factors():
    """Three independent factors, mixed linearly into eight numbers; the first two make the class."""
    factors = torch.rand(6000, 3, generator=torch.Generator().manual_seed(1)) * 2 - 1
    x = factors @ normal(3, 8, seed=2).float()
    return {"x": x / x.std(0), "label": (factors[:, 0] + factors[:, 1] > 0).float()}


def trained(data, correlation):
    def loss(model, batch):
        return explain.disentangled_loss(model, batch, correlation=correlation)

    torch.manual_seed(1)
    model = explain.DisentangledClassifier(8, latent=3, hidden=(32,))
    some = {name: values[:4000] for name, values in data.items()}
    lt.fit(model, loss, some, steps=400, batch_size=256, learning_rate=5e-3, seed=1, progress=False)
    with torch.no_grad():
        return [part.cpu() for part in model(data["x"][4000:].to(lt.device()))]


def test_disentangled_latent_space(mixed_factors):
    x, label = mixed_factors["x"][4000:], mixed_factors["label"][4000:]
    z, again, logit = trained(mixed_factors, correlation=1.0)
    entries = explain.off_diagonal(torch.corrcoef(z.T)).abs()
    assert entries.max() < 0.05, entries
    assert (again - x).square().mean() < 0.05 and auc(logit, label) > 0.98
    _, weights, _ = np.linalg.svd(np.corrcoef(z.T))
    assert weights.min() > 0.9  # three directions, none lost
    z, again, logit = trained(mixed_factors, correlation=0.0)  # the control
    assert explain.off_diagonal(torch.corrcoef(z.T)).abs().max() > 0.2
    assert (again - x).square().mean() < 0.05 and auc(logit, label) > 0.98


def test_terms_of_the_disentangled_loss_by_hand():
    class Known(torch.nn.Module):
        def forward(self, x):
            return x[:, :2], x + 0.5, torch.zeros(len(x))

    x = normal(50, 4)
    terms = explain.disentangled_loss(Known(), {"x": x, "label": torch.ones(50)}, correlation=3.0)
    r = stats.pearsonr(x[:, 0], x[:, 1]).statistic
    wanted = {"reconstruction": 0.25, "class": math.log(2), "correlation": 3 * 2 * r**2}
    assert {name: float(term) for name, term in terms.items()} == pytest.approx(wanted)
    assert torch.isfinite(explain.correlation_matrix(torch.ones(5, 2))).all()


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: explain.principal_components(torch.zeros(5)), r"latent must be \(n, d\)"),
        (lambda: explain.principal_components(torch.zeros(5, 8)), "more events than 5"),
        (lambda: explain.principal_components(torch.ones(50, 8)), "the same for all events"),
        (lambda: explain.principal_components(torch.full((50, 8), math.nan)), "50 of 50 rows of latent"),
        (lambda: explain.correlation_table(torch.rand(9, 2), {"n_pf": torch.ones(9)}), "n_pf is the same in all"),
        (lambda: explain.correlation_table(torch.rand(9, 2), {"n_pf": torch.rand(8)}), r"n_pf must be \(9,\)"),
        (lambda: explain.correlation_table(torch.rand(2, 2), {"w": torch.tensor([1.0, math.inf])}), "w is not finite"),
        (
            lambda: explain.read_out(torch.rand(9, 2), torch.ones(8), torch.rand(9, 2), torch.ones(9)),
            "train_label .* do not fit",
        ),
        (
            lambda: explain.read_out(torch.rand(9, 2), torch.ones(9), torch.rand(9, 2), torch.ones(9), (3,)),
            "from 1 to 2",
        ),
        (
            lambda: explain.read_out(torch.rand(9, 2), torch.ones(9), torch.rand(9, 2), torch.ones(9), (1,)),
            "both 0 .* and 1",
        ),
        (lambda: explain.auc_with_error([0.3, 0.2], [0, 1]), "two events or more"),
    ],
)
def test_bad_input_of_latent_spaces_is_named(call, text):
    with pytest.raises(ValueError, match=text):
        call()
