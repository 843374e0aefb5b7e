# ---
# jupyter:
#   kernelspec: {display_name: Python 3 (ipykernel), language: python, name: python3}
#   lhcml: {title: "What a tagger knows", kind: tutorial, extras: [], gpu: true, minutes: {laptop: 5, gpu: 5}}
# ---

# %% [markdown]
# # 14a What a tagger knows
#
# **Goal.** Open a trained ParticleNet that tells quark jets from gluon jets, and find out what it holds of a jet: how
# many numbers, which observables they are, whether they are still the same for jets of another shower. Then train a
# small network whose inner numbers are made to be read.
#
# **Before you start.** [Lecture 14](../lectures/14_explainability.ipynb), sections 1 to 3; tutorial 04a for
# ParticleNet, 04b for these jets. **Time:** about 5 minutes of computing on a laptop; two hours with the exercises.
#
# Units are GeV and rad. Signal is the quark, label 1; gluon jets have label 0.

# %%
import numpy as np
import torch
from torch.nn.functional import binary_cross_entropy_with_logits

import lhcml_tutor as lt
from lhcml_tutor import explain, taggers
from lhcml_tutor.metrics import auc, rejection
from lhcml_tutor.physics import jet_contents
from lhcml_tutor.physics.substructure import energy_correlators, girth

scale = lt.scale()
p = lt.parameters(
    n_train=scale.pick(ci=3_000, laptop=18_000, gpu=18_000),
    n_valid=scale.pick(ci=500, laptop=2_000, gpu=2_000),
    n_test=scale.pick(ci=3_000, laptop=10_000, gpu=10_000),
    n_other=scale.pick(ci=2_000, laptop=4_000, gpu=4_000),  # jets of another shower
    steps=scale.pick(ci=300, laptop=1_000, gpu=5_000),
    batch_size=scale.pick(ci=32, laptop=128, gpu=512),
    steps_small=scale.pick(ci=500, laptop=2_000, gpu=5_000),  # of the read-outs and of the disentangled classifier
    most=80,  # constituents
    latent=5,  # numbers of the disentangled classifier
    seed=1,
)
device = lt.device()

# %% [markdown]
# ## 1. Jets, and what physicists know of them
#
# Quarks and gluons beside a $Z$ that decays to neutrinos, from Pythia, particle level, anti-$k_T$ with $R = 0.4$ and
# $500 < p_T < 550$ GeV, up to 80 constituents each. With $z_i = p_{T,i} / \sum_j p_{T,j}$ and distances $\Delta R_i$
# to the axis and $\Delta R_{ij}$ between constituents, seven observables:
#
# | | | knows about |
# | --- | --- | --- |
# | $n_{pf}$ | number of constituents | how much radiates |
# | $w_{pf}$ | $\sum_i z_i \Delta R_i$ | width |
# | $p_TD$ | $\sqrt{\sum_i z_i^2}$ | one hard constituent, or many |
# | $C_{0.2}$ | $\sum_{i<j} z_i z_j \Delta R_{ij}^{0.2}$ | width, and how hard the hardest are |
# | $S_{frag}$ | $-\sum_i z_i \ln z_i$ | how evenly the $p_T$ is spread |
# | $S_{PID}$ | $-\sum_k f_k \ln f_k$, $f_k$: part of the constituents that are of kind $k$ | how mixed the kinds are |
# | $E_Q$ | $\sum_{charged} z_i$ | share of charged particles in $p_T$ |
#
# ("pf" is for particle flow, the usual name of constituents. A kind $k$ in $S_{PID}$ is a PDG number with its sign, so
# $\pi^+$ and $\pi^-$ are two; the tagger is told one of six coarser kinds. The width is an angle, so [rad] or [1].)

# %%
events = lt.datasets.load_quark_gluon_jets(n=p.n_train + p.n_valid + p.n_test, seed=p.seed)
parts = {"test": slice(0, p.n_test), "valid": slice(p.n_test, p.n_test + p.n_valid),
         "train": slice(p.n_test + p.n_valid, None)}  # fmt: skip
NAMES = {"n_pf": "$n_{pf}$", "w_pf": "$w_{pf}$", "pTD": "$p_TD$", "C_0.2": "$C_{0.2}$", "S_frag": "$S_{frag}$",
         "S_PID": "$S_{PID}$", "E_Q": "$E_Q$"}  # fmt: skip


def seven(events):
    """Return the seven observables of all jets by name, (n,) each."""
    momenta, pdg_id = events["constituents"], events["pdg_id"]
    charged = torch.isin(pdg_id.abs(), torch.tensor([11, 13, 211, 321, 2212])).to(momenta) * pdg_id.sign()
    return {
        "n_pf": jet_contents.multiplicity(momenta),
        "w_pf": girth(momenta),
        "pTD": jet_contents.pt_dispersion(momenta),
        "C_0.2": energy_correlators(momenta, beta=0.2)[0],
        "S_frag": jet_contents.entropy(momenta),
        "S_PID": jet_contents.identity_entropy(momenta, pdg_id),
        "E_Q": jet_contents.charged_fraction(momenta, charged),
    }


table = seven(events)
label = events["label"].float()
truth = label[parts["test"]]
for name, values in table.items():
    found = auc(values, label)
    print(f"{name:7s} AUC alone {max(found, 1 - found):.3f}, correlation with n_pf "
          f"{np.corrcoef(values, table['n_pf'])[0, 1]:+.2f}")  # fmt: skip

# %%
fig, panels = lt.plots.figure(columns=3, size=(14, 4.2))
for ax, name, bins in zip(panels, ("n_pf", "pTD", "w_pf"), (np.arange(0.5, 81, 4), 40, np.linspace(0, 0.25, 41))):
    columns = {kind: table[name][label == number] for kind, number in (("quark", 1), ("gluon", 0))}
    lt.plots.histogram(columns, bins, ax=ax, xlabel=f"{NAMES[name]} [1]", density=True)
lt.show(fig, "Number of constituents, momentum dispersion and width of quark and gluon jets")

# %% [markdown]
# *What you see.* Gluons radiate more: more constituents, softer, wider. And the observables know the same in part:
# four of the six others are, strongly, with the number of constituents. That is what makes the question of this
# tutorial hard. (The last bin of the first panel, 77 to 80, holds a fifteenth of the gluons: a twentieth has been cut
# at 80.)
#
# ## 2. The tagger


# %%
def inputs(events):
    """Return features (n, most, 11) with the kind of each constituent, and mask."""
    return taggers.constituent_features(events["relative"], events["pdg_id"], most=p.most)


features, mask = inputs(events)
data = {name: {"features": features[rows], "mask": mask[rows], "label": label[rows]} for name, rows in parts.items()}


def loss(model, batch):
    return binary_cross_entropy_with_logits(model(batch["features"], batch["mask"]), batch["label"])


lt.seed_everything(p.seed)
untrained = taggers.ParticleNet(features.shape[2])
lt.seed_everything(p.seed)
tagger = taggers.ParticleNet(features.shape[2])
history = lt.fit(tagger, loss, data["train"], valid=data["valid"], steps=p.steps, batch_size=p.batch_size,
                 learning_rate=2e-3, seed=p.seed, label="ParticleNet")  # fmt: skip


def inside(model, features, mask):
    """Return what a tagger holds of jets, on the CPU: pooled (n, 64), the layer before its output (n, 128), logit."""
    model.to(device).eval()
    found = []
    with torch.no_grad():
        for x, m in zip(features.split(500), mask.split(500)):
            pooled = model.pooled(x.to(device), m.to(device))
            last = model.together.layers[:-1](pooled)
            found.append([values.cpu() for values in (pooled, last, model.together.layers[-1](last)[:, 0])])
    return [torch.cat(values) for values in zip(*found)]


pooled, last, logit = inside(tagger, data["test"]["features"], data["test"]["mask"])
for name, score in (("ParticleNet", logit), ("number of constituents alone", -table["n_pf"][parts["test"]])):
    found = rejection(score, truth, 0.5)
    print(f"{name}: AUC {auc(score, truth):.4f}, rejection of gluons at 50% {found.value:.1f} +- {found.error:.1f}")

# %% [markdown]
# ## 3. Where to look
#
# ParticleNet averages the 64 features of all constituents of a jet (the *pooled* representation), then a layer of 128
# numbers, then the logit. A tempting place to look is that last layer.

# %%
for name, layer in (("pooled", pooled), ("last layer", last)):
    components = explain.principal_components(layer, standardised=False)
    z = components(layer)
    r = float(torch.corrcoef(torch.stack([z[:, 0], logit.double()]))[0, 1])
    share = 100 * components.share[0]
    print(f"{name:11s} first component: {share:.0f}% of the variance, correlation with the logit {r:+.3f}")

# %% [markdown]
# The first component of the last layer *is* the output. Whoever finds there that "the leading direction separates
# quarks from gluons" has found that the network was trained. The pooled layer is better, if not free of this: its first
# component has a correlation of 0.9 with the logit, too. Keep it in mind in section 5: what goes along with the first
# component, goes along with the output. The components behind it are the news.
#
# ## 4. Directions
#
# ### Exercise 1: the share of the variance
#
# From numbers $x$ of many jets, return the share of the variance along each principal component, the largest first.


# %% tags=["solution"]
def explained_variance(x):
    """Return the share of the variance along each principal component, the largest first; x (n, d) -> (d,)."""
    # solution
    centred = x - x.mean(0)
    variances = torch.linalg.eigvalsh(centred.T @ centred / len(x)).flip(0)
    return variances / variances.sum()


# %%
# NBVAL_CHECK_OUTPUT
explained_variance = lt.checks.latent_space.explained_variance(explained_variance)

# %% [markdown]
# <details><summary>Hint</summary>
#
# They are the eigenvalues of the covariance. `torch.linalg.eigvalsh` gives them in rising order.
# </details>
#
# [Solution](solutions/14a_latent_space.ipynb)
#
# All 64 are means of features of one layer, in one unit, so their scales stay as they are: a number that hardly changes
# from jet to jet should not be blown up. The directions come from the jets that the tagger was trained on.

# %%
# NBVAL_CHECK_OUTPUT
train_pooled, _, _ = inside(tagger, data["train"]["features"], data["train"]["mask"])
components = explain.principal_components(train_pooled, standardised=False)
z_train, z = components(train_pooled), components(pooled)
by_hand = explained_variance(train_pooled.double())
print("by hand and scikit-learn agree:", torch.allclose(by_hand[:5], components.share[:5], atol=1e-6))
entries = explain.off_diagonal(torch.corrcoef(z_train[:, :5].T))
print("components are uncorrelated:", bool(entries.abs().max() < 1e-6))

# %% [markdown]
# **How many does the tagger need?** Variance is not importance. So we ask a second question: a small network gets the
# first $K$ components of the training jets and learns to tell quarks from gluons. How much of the rejection is back, on
# the test jets? The controls get the *last* five components, and five random directions.
# (Some of the 64 never change, and their components have no variance; "the last five" are the last with any.)


# %%
def network(train, label, test, seed):
    """Return the logits of test jets (n,) from a network on a few numbers (m, k) of the training jets."""
    return explain.network_scores(train, label, test, steps=p.steps_small, seed=seed)


labels = data["train"]["label"], truth
curve = explain.read_out(z_train, labels[0], z, labels[1], sizes=(1, 2, 3, 5, 8), scores=network, seed=p.seed)
full = rejection(logit, truth, 0.5)
for one in curve:
    print(f"first {one.k:2d} components: AUC {one.auc.value:.4f}, rejection {one.rejection.value:.1f} +- "
          f"{one.rejection.error:.1f}, {100 * one.rejection.value / full.value:.0f}% of the tagger's")  # fmt: skip
alive = int((components.share > 1e-9).sum())
generator = torch.Generator().manual_seed(p.seed)
directions = torch.linalg.qr(torch.randn(z.shape[1], 5, generator=generator, dtype=torch.float64))[0]
controls = {"last five": [values[:, alive - 5 : alive] for values in (z_train, z)],
            "five random directions": [values @ directions for values in (z_train, z)]}  # fmt: skip
shares = {"first five": curve[3].rejection.value / full.value}
for name, (of_train, of_test) in controls.items():
    shares[name] = rejection(network(of_train, labels[0], of_test, seed=p.seed), truth, 0.5).value / full.value
for name, share in shares.items():
    print(f"{name}: {100 * share:.0f}% of the rejection of the tagger itself")

# %%
fig, (left, right) = lt.plots.figure(columns=2)
left.plot(np.arange(1, 11), 100 * components.share[:10], "o-", color=lt.plots.COLOURS[0])
left.set(xlabel="principal component [1]", ylabel="share of the variance [%]", ylim=(0, None))
right.axhspan(full.value - full.error, full.value + full.error, color="0.85", label="the tagger itself")
right.errorbar([one.k for one in curve[:-1]], [one.rejection.value for one in curve[:-1]],
               [one.rejection.error for one in curve[:-1]], fmt="o", color=lt.plots.COLOURS[1],
               label="first $K$ components")  # fmt: skip
right.set(xlabel="components $K$ [1]", ylabel=r"rejection of gluons at 50% [1]", ylim=(0, None))
right.legend(loc="lower right")
lt.show(fig, "Left: share of the variance of each component. Right: rejection with the first K, and of the tagger")

# %%
# NBVAL_CHECK_OUTPUT
lt.verdict("AUC of ParticleNet", auc(logit, truth), ci=(0.847, 0.877), laptop=(0.8755, 0.8933), gpu=None,
           control={"number of constituents alone": auc(-table["n_pf"][parts["test"]], truth)}, floor=0.01)  # fmt: skip
lt.verdict("rejection from five components over that of the tagger", shares["first five"], ci=(0.79, 1.18),
           laptop=(0.89, 1.089), gpu=None, control={"last five": shares["last five"]})  # fmt: skip

# %% [markdown]
# *What you see.* A few directions hold most of the variance, and the first component alone most of the rejection. (The
# read-out scales what it gets, so that no component is lost for being small.) Each rejection has an error of several
# per cent, so the share that five components bring back, 94% to 102% at laptop scale over five seeds, is not known to
# a per cent, and rejections cannot tell three components from five. Rejections of two networks on the same jets move
# together, so their ratio is known a little better; and the AUC, which all jets have a say in, is known best: it grows
# up to three components, then hardly. All 64 (printed, not drawn) need not be the best: their read-out begins to learn
# its jets by heart. The reference is therefore the tagger, not the 64. The last five are the control. Five *random*
# directions are none: each holds a bit of the leading components.
#
# ## 5. What are they?
#
# Correlations of the first five components with the seven observables, over all jets of the test sample, with errors
# from drawing the jets anew. Pearson's coefficient is for lines, Spearman's, that of the ranks, for any rising curve.
# The sign of a component is a convention (its largest entry is positive); only its size, and the signs of observables
# relative to each other, mean something.

# %%
observed = {name: values[parts["test"]] for name, values in table.items()}
correlations = explain.correlation_table(z[:, :5], observed)
print("Pearson (Spearman)" + "".join(f"{f'PC{k + 1}':>18s}" for k in range(5)))
for name, found in correlations.items():
    cells = [f"{a:+.2f} ({b:+.2f})" for a, b in zip(found.pearson, found.spearman)]
    print(f"{name:18s}" + "".join(f"{cell:>18s}" for cell in cells))
largest = max(float(found.pearson_error.max()) for found in correlations.values())
print(f"the largest error is {largest:.3f}")


def heat(ax, correlations, columns):
    """Draw a table of correlations, observables down, components across; return the picture."""
    numbers = np.stack([found.pearson.numpy() for found in correlations.values()])
    picture = ax.imshow(numbers, cmap="RdBu_r", vmin=-1, vmax=1, aspect="auto")
    for (i, j), value in np.ndenumerate(numbers):
        ax.text(j, i, f"{value:+.2f}", ha="center", va="center", color="white" if abs(value) > 0.6 else "black")
    ax.set_xticks(range(len(columns)), columns)
    ax.set_yticks(range(len(correlations)), [NAMES[name] for name in correlations])
    ax.tick_params(which="both", length=0)
    return picture


fig, ax = lt.plots.figure(size=(8, 5))
picture = heat(ax, correlations, [f"PC{k + 1}" for k in range(5)])
ax.set(xlabel="component of the pooled representation", ylabel="observable")
fig.colorbar(picture, label="correlation [1]")
lt.show(fig, "Correlations of five principal components with seven observables")

# %%
# NBVAL_CHECK_OUTPUT
leading = abs(float(correlations["n_pf"].pearson[0]))
shuffled = observed["n_pf"][torch.randperm(p.n_test, generator=generator)]
chance = abs(float(torch.corrcoef(torch.stack([z[:, 0], shuffled.double()]))[0, 1]))
ranks = abs(float(correlations["n_pf"].spearman[0]))
lt.verdict("correlation of the first component with the number of constituents", leading, ci=(0.767, 0.893),
           laptop=(0.68, 0.92), gpu=None, control={"jets shuffled": chance}, floor=0.05)  # fmt: skip
lt.verdict("the same correlation of ranks", ranks, ci=(0.886, 0.98), laptop=(0.855, 0.979), gpu=None,
           control={"jets shuffled": chance}, floor=0.05)  # fmt: skip

# %% [markdown]
# *What you see.* The first component goes along with the count: over five seeds at laptop scale the correlation of
# ranks is 0.87 to 0.94, the linear one 0.77 to 0.83, as the relation is bent. But it goes along with the entropy and
# the dispersion as much. All of them say how much has been radiated, and nobody can tell from this table which one
# the network uses. The width is spread over several components. Identities have only small correlations, the largest
# of them with one of the last; yet they raise the AUC of deep sets by 0.003 to 0.010 (tutorial 04b). The order and the
# signs of all but the first change with the seed.
#
# Has the network *learned* this? Ask the one control that is easy to forget: the same network, untrained. (The read-out
# of its components learns from half of the test jets and is judged on the other half, fewer jets than the trained one
# has: a difference of some thousandths proves nothing.)

# %%
untrained_pooled, _, untrained_logit = inside(untrained, data["test"]["features"], data["test"]["mask"])
random_z = explain.principal_components(untrained_pooled, standardised=False)(untrained_pooled)
found = explain.correlation_table(random_z[:, :5], observed)
print("untrained network, correlation with PC1 ... PC5:")
for name in ("n_pf", "pTD", "w_pf"):
    print(f"{name:8s}" + "".join(f"{value:+7.2f}" for value in found[name].pearson))
half = slice(0, p.n_test // 2), slice(p.n_test // 2, None)
score = network(random_z[half[0], :5], truth[half[0]], random_z[half[1], :5], seed=p.seed)
print(
    f"read-out of its first five: AUC {auc(score, truth[half[1]]):.4f}; of the trained ones: {curve[3].auc.value:.4f}"
)

# %% [markdown]
# *What the numbers say.* A network that has learned nothing has correlations of 0.5 and more with the count, in its
# first two components: any average over neighbours feels how crowded a jet is. And a read-out of five of them is
# not bad. As components are uncorrelated, the squares of their correlations add up to what all together know (by a
# linear fit). Do the sum: the untrained five know the count about as well as the trained ones. Training has not found
# the count. It has made it the *leading direction*, and has added the width and the dispersion, whose sums grow. So a
# correlation of 0.8 is not 0.8 of an explanation. (An untrained network has not learned the scale of its inputs either:
# they are not standardised.)
#
# ## 6. What is left at fixed count?
#
# Most of it is correlated with $n_{pf}$, so a table of correlations tells the same story five times. Take the
# count out of each observable: subtract its best polynomial in $n_{pf}$. What is left, $o^\perp$, is what the
# observable knows *beyond* the count.
#
# ### Exercise 2: the residual observable
#
# Fit the observable with a cubic polynomial in the standardised count, by least squares, and return what is left.


# %% tags=["solution"]
def residual(observable, count):
    """Return what is left of an observable (n,) when its best cubic polynomial in the count (n,) is taken away."""
    # solution
    x = (count - count.mean()) / count.std()
    powers = torch.stack([x**k for k in range(4)], dim=1)  # (n, 4)
    return observable - powers @ torch.linalg.lstsq(powers, observable[:, None]).solution[:, 0]


# %%
# NBVAL_CHECK_OUTPUT
residual = lt.checks.latent_space.residual(residual)

# %% [markdown]
# <details><summary>Hint</summary>
#
# `torch.stack([x**k for k in range(4)], dim=1)` are the columns of the fit, and `torch.linalg.lstsq` solves it.
# </details>
#
# [Solution](solutions/14a_latent_space.ipynb)

# %%
count = observed["n_pf"].double()
beyond = {name: residual(values.double(), count) for name, values in observed.items() if name != "n_pf"}
left_over = torch.stack([residual(z[:, k], count) for k in range(5)], dim=1)
perpendicular = explain.correlation_table(left_over, beyond)
fig, ax = lt.plots.figure(size=(8, 4.6))
picture = heat(ax, perpendicular, [f"PC{k + 1}" for k in range(5)])
ax.set(xlabel="component, without the count", ylabel="observable, without the count")
fig.colorbar(picture, label="correlation [1]")
lt.show(
    fig, "Correlations of five components with six observables when the number of constituents is taken out of both"
)
for name, values in beyond.items():
    alone, left = (0.5 + abs(auc(x, truth) - 0.5) for x in (observed[name], values))
    print(f"{name:7s} AUC alone {alone:.3f}, beyond the count {left:.3f}")

# %%
# NBVAL_CHECK_OUTPUT
none_left = max(abs(float(torch.corrcoef(torch.stack([values, count]))[0, 1])) for values in beyond.values())
print("nothing of the count is left:", none_left < 1e-6)

# %% [markdown]
# *What you see.* What is left of the first component has correlations of a third at most, with dispersion, entropy and
# identities. So it is mostly the count, but not only: alone it brings back more of the rejection (section 4) than the
# count has (compare the areas: 0.87 against 0.84). What the next ones hold comes out instead: the width together with
# $C_{0.2}$ in one, entropy and dispersion, which pull against each other, in another.
#
# And the printed lines: dispersion, entropy and $C_{0.2}$, with areas of 0.80 to 0.83, have residuals that *alone* tell
# next to nothing. Those of the width and of $S_{PID}$ do. Be careful: an area of one half does not prove that nothing
# is there. Among jets of equal count, gluons have the larger $C_{0.2}$ if the count is below 30, quarks if it is 45 or
# more, and in the area the two cancel (`benchmarks/showers.py`). Tutorial 14b finds formulas with such products.
#
# ## 7. Another shower
#
# Jets of the same process with showers by Vincia, whose radiation comes from pairs of partons (antennae) and has its
# own coupling. The model of hadrons is the same, but its parameters were tuned again. Does the tagger still work, and
# do its directions still mean the same? Nothing is fitted again: directions and read-outs are those of Pythia's own
# shower.

# %%
other = lt.datasets.load_quark_gluon_jets(n=p.n_other, seed=p.seed, shower="vincia")
other_label, other_table = other["label"].float(), seven(other)
other_pooled, _, other_logit = inside(tagger, *inputs(other))
other_z = components(other_pooled)
for kind, number in (("quark", 1), ("gluon", 0)):
    means = [values["n_pf"][y == number].mean() for values, y in ((table, label), (other_table, other_label))]
    print(f"constituents of a {kind} jet: {means[0]:.1f} with Pythia's shower, {means[1]:.1f} with Vincia's")
for name, score, y in (("Pythia", logit, truth), ("Vincia", other_logit, other_label)):
    found, reject = explain.auc_with_error(score, y), rejection(score, y, 0.5)
    off, limit = lt.classification.calibration_error(score, y), lt.classification.calibration_limit(score)
    print(f"{name}: AUC {found.value:.4f} +- {found.error:.4f}, rejection {reject.value:.1f} +- {reject.error:.1f}, "
          f"calibration error {off:.3f} (statistics alone {limit:.3f})")  # fmt: skip
counts = [auc(-values, y) for values, y in ((observed["n_pf"], truth), (other_table["n_pf"], other_label))]
print(f"number of constituents alone: AUC {counts[0]:.4f} and {counts[1]:.4f}")
moved = explain.correlation_table(other_z[:, :5], other_table)
print("correlations with PC1, Pythia and Vincia:")
for name in NAMES:
    print(f"{name:8s}{float(correlations[name].pearson[0]):+7.2f}{float(moved[name].pearson[0]):+7.2f}")

# %%
fig, panels = lt.plots.figure(columns=2)
for ax, k in zip(panels, (0, 1)):
    bins = np.linspace(*np.quantile(z[:, k], [0.002, 0.998]), 31)
    columns = {f"{kind}, {shower}": values[y == number, k] for kind, number in (("quark", 1), ("gluon", 0))
               for shower, values, y in (("Pythia", z, truth), ("Vincia", other_z, other_label))}  # fmt: skip
    lt.plots.histogram(columns, bins, ax=ax, xlabel=f"component PC{k + 1} [1]", density=True, reference=None)
lt.show(fig, "First two components for quark and gluon jets with the showers of Pythia and of Vincia")

# %%
# NBVAL_CHECK_OUTPUT
kept = abs(float(moved["n_pf"].pearson[0])) / leading
lt.verdict("that correlation with the other shower over the one before", kept, ci=(0.914, 1.011),
           laptop=(0.81, 1.04), gpu=None, control={"jets shuffled": chance / leading}, floor=0.05)  # fmt: skip

# %% [markdown]
# *What you see.* Vincia's jets have one constituent more, of either kind. The tagger works, in this run even better
# than on the jets it was trained on, while the count alone has hardly become better and the width alone is worse. Trees
# that get both find the same, 0.865 after 0.852 (`benchmarks/showers.py`): at equal count, the widths of Vincia's
# quarks and gluons are further apart. One observable at a time cannot show it. But the probabilities are off, by two to
# three times what statistics would explain: separation survives a change of the simulation more easily than calibration
# does. The first component keeps its meaning: its correlation with the count is lower by 2% to 11% over five seeds. In
# the picture more of Vincia's gluons are in the peak of PC1.
#
# ## 8. A latent space that is made to be read
#
# Principal components were found after training, and carry the class only by the way. A **disentangled classifier**
# squeezes the 64 numbers into five, $z = E(x)$, that must do three things: give the 64 back, tell the class, and not
# repeat each other.
#
# $$ \mathcal L = \tfrac{1}{64} \langle |D(z) - x|^2 \rangle + \mathcal L_{\text{cross entropy}}(H(z), y)
# + \gamma \sum_{i \ne j} \mathrm{corr}(z_i, z_j)^2 . $$
#
# ### Exercise 3: the penalty
#
# Return the sum of the squared off-diagonal entries of the correlation matrix of $z$.


# %% tags=["solution"]
def covariance_penalty(z):
    """Return the sum of the squared off-diagonal entries of the correlation matrix of z (n, d), a scalar."""
    # solution
    z = (z - z.mean(0)) / z.std(0, correction=0)
    R = z.T @ z / len(z)
    return (R - torch.diag(R.diag())).square().sum()


# %%
# NBVAL_CHECK_OUTPUT
covariance_penalty = lt.checks.latent_space.covariance_penalty(covariance_penalty)

# %% [markdown]
# <details><summary>Hint</summary>
#
# Standardise the columns of $z$; then the correlation matrix is $z^T z / n$.
# </details>
#
# [Solution](solutions/14a_latent_space.ipynb)
#
# ($D$ and $H$, the head, are networks like $E$. The penalty takes out *linear* correlations; uncorrelated is less
# than independent. The 64 numbers are scaled to width 1 here, so quiet ones count as much as loud ones. In the last
# line that is printed, for principal components, they are as they were in section 4: do not compare the two.)
#
# It trains on the jets the tagger has trained on, and is judged on the test jets. For comparison the same without the
# penalty, $\gamma = 0$. Our goal: an AUC within 0.005 of the tagger's, and no correlation above 0.05.

# %%
valid_pooled, _, _ = inside(tagger, data["valid"]["features"], data["valid"]["mask"])
mean, width = train_pooled.mean(0), train_pooled.std(0).clamp(min=1e-6)
scaled = {
    "train": (train_pooled - mean) / width,
    "valid": (valid_pooled - mean) / width,
    "test": (pooled - mean) / width,
}


def three_aims(model, batch, gamma):
    """Return the terms of the loss by name."""
    z, again, logit = model(batch["x"])
    return {"reconstruction": (again - batch["x"]).square().mean(),
            "class": binary_cross_entropy_with_logits(logit, batch["label"]),
            "correlation": gamma * covariance_penalty(z)}  # fmt: skip


def disentangled(gamma):
    """Train with a weight of the penalty; return latent numbers and logits of the test jets, the variance lost."""
    lt.seed_everything(p.seed)
    model = explain.DisentangledClassifier(scaled["train"].shape[1], latent=p.latent)
    sets = [{"x": scaled[name], "label": data[name]["label"]} for name in ("train", "valid")]
    lt.fit(model, lambda model, batch: three_aims(model, batch, gamma), sets[0], sets[1], steps=p.steps_small,
           batch_size=512, learning_rate=2e-3, seed=p.seed, label=f"gamma = {gamma:g}")  # fmt: skip
    with torch.no_grad():
        found, again, logit = (values.cpu() for values in model(scaled["test"].to(device)))
    return found, logit, float((again - scaled["test"]).square().sum() / scaled["test"].square().sum())


latent, latent_logit, rest = disentangled(gamma=1.0)
free, free_logit, free_rest = disentangled(gamma=0.0)
entangled = {}
for name, numbers, score, lost in (("with", latent, latent_logit, rest), ("without", free, free_logit, free_rest)):
    entangled[name] = float(explain.off_diagonal(torch.corrcoef(numbers.T)).abs().max())
    gap = explain.auc_difference(logit, score, truth)
    print(f"{name} penalty: AUC of the tagger minus this {gap.value:.4f} +- {gap.error:.4f}, "
          f"largest correlation {entangled[name]:.3f}, {100 * lost:.0f}% of the variance lost")  # fmt: skip
print(f"five principal components lose {100 * (1 - float(components.share[:5].sum())):.0f}% of the variance")

# %%
strength = [abs(auc(latent[:, k], truth) - 0.5) for k in range(p.latent)]
order = np.argsort(strength)[::-1].copy()
readable = explain.correlation_table(latent[:, order], observed)
fig, ax = lt.plots.figure(size=(8, 5))
picture = heat(ax, readable, [f"$z_{k + 1}$\nAUC {0.5 + strength[i]:.2f}" for k, i in enumerate(order)])
ax.set(xlabel="latent number, with its own AUC", ylabel="observable")
fig.colorbar(picture, label="correlation [1]")
lt.show(fig, "Correlations of the five latent numbers of a disentangled classifier with seven observables")

# %%
# NBVAL_CHECK_OUTPUT
mixed = latent_logit[torch.randperm(p.n_test, generator=generator)]
ratios = {name: auc(score, truth) / auc(logit, truth) for name, score in (("five", latent_logit), ("mixed", mixed))}
lt.verdict("AUC of five disentangled numbers over that of the tagger", ratios["five"], ci=(0.993, 1.0123),
           laptop=(0.9947, 1.0068), gpu=None, control={"jets shuffled": ratios["mixed"]}, floor=0.006)  # fmt: skip
lt.verdict("largest correlation of two disentangled numbers", entangled["with"], ci=(0, 0.135), laptop=(0, 0.053),
           gpu=None, control={"without the penalty": entangled["without"]}, floor=0.5)  # fmt: skip

# %% [markdown]
# *What you see.* Five numbers are enough: over five seeds at laptop scale their AUC is within 0.001 of the tagger's
# (the goal was 0.005), and no two of them have a correlation above 0.035 (goal 0.05); without the penalty it is 0.52
# to 0.76. The penalty itself costs a thousandth or two of the area at most. Are they legible? The columns of the
# figure are in the order of their areas. The first is legible: the count and its relatives, once more, with most of the
# separation. The others have small areas of their own and mixed correlations. Uncorrelated numbers need not be
# physicists' numbers.
#
# ## 9. What you have seen
#
# - The last layer before the output only knows the output. Look where constituents have just been averaged.
# - A few directions carry most of what the tagger uses; the first goes along with the number of constituents.
# - A correlation is not a proof of use, and an untrained network has some, too. Controls cost one line.
# - At fixed count other observables appear. Residuals tell what correlations hide.
# - Another shower moves the jets, and the meaning of the first direction hardly.
# - A latent space can be trained to have few, uncorrelated numbers, at a cost of a thousandth or two in AUC. Whether
#   they can be *read* is what their table of correlations says.
#
# **Where research goes on.** The taggers of quarks and gluons explained with ParticleNet on Pythia and Herwig
# (arXiv:2507.21214), which this tutorial follows; observables found by following a network's decisions
# (arXiv:2010.11998); and what "quark jet" means beyond the leading order (arXiv:1704.03878).
#
# **Next:** tutorial 14b shares out a tagger's answer among its inputs, and looks for a formula in its place.
