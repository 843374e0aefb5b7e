# ---
# jupyter:
#   kernelspec: {display_name: Python 3 (ipykernel), language: python, name: python3}
#   lhcml: {title: "Explainability", kind: lecture, extras: [explain], minutes: {laptop: 1, gpu: 1}}
# ---

# %% [markdown] slideshow={"slide_type": "slide"}
# # 14 Explainability
#
# **Before you start:** [lecture 04](04_classification.ipynb), sections 2 to 6 (likelihood ratio, calibration).
# Eigenvectors of symmetric matrices.
#
# **Goal:** you can ask a trained network what it has learned, in three languages: directions of its latent space,
# shares of its inputs in an answer, and a formula in its place. You can derive the first two, compute each exactly in a
# case whose answer is known, and say where each misleads.
#
# **Time:** 35 minutes of reading. The code runs in less than half a minute on one CPU core, at every scale alike.

# %% slideshow={"slide_type": "skip"}
import math

import torch

import lhcml_tutor as lt
from lhcml_tutor import explain

scale = lt.scale()
p = lt.parameters(n=20_000, seed=1)
generator = torch.Generator().manual_seed(p.seed)
real = torch.float64

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 1. What would an answer look like?
#
# A tagger with tens of thousands of weights tells quark jets from gluon jets better than any observable that was
# thought of before. Why? "Because of its weights" is true and useless. A physicist wants to hear one of these:
#
# - "It mostly counts particles, and then looks at the width." **What the network's inner variables are.**
# - "This jet is called a gluon since it has 62 constituents." **Which input made this answer.**
# - "Its output is nearly $\tanh(\dots)$ of two observables." **A formula that one can take home.**
#
# Each answer is a *summary*, and a summary leaves things out. So ask how much of the network it holds: components have
# a share of the variance and a read-out (a small network that gets them alone, section 2), formulas an error and an
# AUC. Shapley values add up to the whole by construction, so there the question is what they mean. Each method comes
# with a case in which it goes wrong. One distinction first. Explaining the *network* is not explaining the *jets*: a
# network may use one of two observables that say the same, and its explanation will not mention the other.

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 2. Directions: principal components
#
# Inside a network a jet is a vector $x$ of, say, 64 numbers, a point in the **latent space** of this layer. How many
# say something *different*? Look for the direction $v$, $|v| = 1$, along which the jets differ most. With the
# covariance $C = \langle (x - \bar x)(x - \bar x)^T \rangle$ the variance along $v$ is $v^T C\, v$. Its maximum under
# the constraint, with a Lagrange multiplier $\lambda$:
#
# $$ \frac{\partial}{\partial v} \big[ v^T C\, v - \lambda (v^T v - 1) \big] = 0 \quad\Longrightarrow\quad
# C v = \lambda v , \qquad v^T C v = \lambda . $$
#
# So the direction is an **eigenvector** of the covariance, and the variance along it is the **eigenvalue**. The next
# direction, orthogonal to the first, is the next eigenvector, and so on. The numbers $z_k = v_k \cdot (x - \bar x)$ are
# the **principal components**. They are uncorrelated, $\langle z_k z_l \rangle = v_k^T C v_l = \lambda_k \delta_{kl}$,
# and the share of the variance that the first $K$ of $d$ explain is
#
# $$ \frac{\lambda_1 + \dots + \lambda_K}{\lambda_1 + \dots + \lambda_d} . $$
#
# Among all linear maps to $K$ numbers and back, this one loses least in the mean square (Eckart and Young 1936).
#
# For two features of width 1 and correlation $\rho$ the eigenvectors are $(1, \pm 1)/\sqrt 2$, with eigenvalues
# $1 \pm \rho$. (`explain.principal_components` first divides each feature by its width; here the widths are 1.)

# %% slideshow={"slide_type": "subslide"}
# NBVAL_CHECK_OUTPUT
rho = 0.8
covariance = torch.tensor([[1.0, rho], [rho, 1.0]], dtype=real)
x = torch.randn(p.n, 2, dtype=real, generator=generator) @ torch.linalg.cholesky(covariance).T
components = explain.principal_components(x)
print("shares of the variance:", [round(float(share), 2) for share in components.share],
      "expected:", [round((1 + sign * rho) / 2, 2) for sign in (1, -1)])  # fmt: skip
print("first direction:", [round(float(v), 2) for v in components.directions[0]])
print("the components are uncorrelated:", abs(float(torch.corrcoef(components(x).T)[0, 1])) < 1e-6)

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### Is the longest axis the important one?
#
# Two classes of equal size and the same covariance $C_0$, whose means differ by a vector $\delta$. All jets together,
# whose axes one looks for, have $C = C_0 + \delta \delta^T / 4$: the distance of the classes adds to the variance.
# Along a direction $v$ the classes are two Gaussians at a distance $|v \cdot \delta|$, each of variance $v^T C_0 v$,
# so the component along $v$ alone has
#
# $$ \mathrm{AUC} = \Phi\left( \frac{|v \cdot \delta|}{\sqrt{2\, v^T C_0\, v}} \right) , $$
#
# $\Phi$ being the integral of the standard Gaussian. Variance and AUC ask for different things: long, and far apart
# compared with the length.

# %% slideshow={"slide_type": "subslide"}
explorer = lt.explorers.explainability.principal_axes
lt.show(
    explorer.figures({"angle": 45}, {"angle": 135}, size=(9.6, 9.2)),
    "A correlated cloud of two classes with its axes; the share of the variance and the AUC of each component, for a"
    " class difference along the long axis and one along the short axis",
)

# %% [markdown] slideshow={"slide_type": "skip"}
# *What you see.* Left the cloud with its two axes (drawn two widths to each side); right the share of the variance
# along each, and how well each component alone tells the classes apart. "Both" is the best linear combination. Above,
# the classes differ along the long axis, which then knows it all. Below, by the same distance along the short one:
# the first component holds 80% of the variance and knows *nothing* of the class.
#
# Try: (a) correlation 0: which direction is the first? (b) the scale of the second feature at ten, as if its unit had
# been changed: what happens to the axes, what to their AUC, and what to the AUC of both? (c) the same, standardised.

# %% tags=["explorer"] slideshow={"slide_type": "subslide"}
explorer.show()

# %% [markdown] slideshow={"slide_type": "skip"}
# **Three warnings, from the sliders.**
#
# 1. *Variance is not importance.* A direction may be long because something varies that the classes share. So ask a
#    second question: train a small **read-out** on the first $K$ components and see how much of the rejection is back.
# 2. *Units matter.* Features in other units give other components; standardise, or know why not.
# 3. *Lines only.* A curve in the latent space is spread over several components, and correlations with observables can
#    be curved, too: look at rank correlations (Spearman) beside linear ones (Pearson).
#
# And one on *where* to look. In the last layer before the output the jets are nearly on a line: its first component
# is the output. That is no finding. The output is one direction of this layer, and training has stretched the layer
# along it, since nothing else is needed any more. Look at the **pooled** representation, where the constituents have
# just been averaged, and read it out with a non-linear network.

# %% [markdown] slideshow={"slide_type": "fragment"}
# **Check yourself 1.** The first component of a latent space has a correlation of 0.95 with the number of constituents.
# Does the network count constituents?
#
# <details><summary>Answer</summary>
#
# It has a number inside that goes along with the count in *these* jets. It may be the count, or a sum of something that
# grows with it, such as an entropy. To tell them apart, look at jets where they differ: another generator, or what is
# left of the component at fixed count (its *residual*).
# </details>
#
# **Check yourself 2.** The second feature is given in MeV instead of GeV. What happens to the first component, and what
# to a network that was trained after this change?
#
# <details><summary>Answer</summary>
#
# Not standardised, the first component becomes the second feature, with nearly all of the variance. The best
# combination of *both* components has the same AUC as before: nothing is lost, the axes are just other ones. A network
# that is trained long enough can undo the scale in its first layer. Components depend on units, information does not.
# </details>

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 3. A latent space that is made to be read
#
# One can ask for legible directions in training. A **disentangled latent classifier** squeezes the representation $x$
# into a few numbers $z = E(x)$, and is asked three things at once:
#
# $$ \mathcal L = \underbrace{\tfrac1d \langle | D(z) - x |^2 \rangle}_{\text{keep what was known}}
# + \underbrace{\mathcal L_{\text{cross entropy}}\big(H(z), y\big)}_{\text{know the class}}
# + \gamma \underbrace{\sum_{i \ne j} \mathrm{corr}(z_i, z_j)^2}_{\text{repeat nothing}} . $$
#
# $E$, $D$ and $H$ (the head) are networks, $d$ is the length of $x$, $y$ the class, $\gamma$ a weight. Without the
# first term one number in $z$ would do, the output. Without the third the numbers could share each meaning. The third
# makes them *uncorrelated*, which is less than independent. Take points on a circle, $z = (\cos\varphi, \sin\varphi)$:
# no correlation, although each number fixes the other up to a sign. The squares tell.

# %% slideshow={"slide_type": "subslide"}
# NBVAL_CHECK_OUTPUT
phi = 2 * math.pi * torch.arange(360, dtype=real) / 360
z = torch.stack([phi.cos(), phi.sin()], dim=1)
print(f"circle: correlation {abs(float(torch.corrcoef(z.T)[0, 1])):.3f},",
      f"of the squares {float(torch.corrcoef((z**2).T)[0, 1]):.3f}")  # fmt: skip
for name, pair in {"circle": z, "the same number twice": z[:, [0, 0]]}.items():
    penalty = explain.off_diagonal(explain.correlation_matrix(pair)).square().sum()
    print(f"penalty, {name}: {float(penalty):.3f}")

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 4. Shares: Shapley values
#
# A network says $f(x)$ for this jet, and $\langle f \rangle$ on average. Who is responsible for the difference? Think
# of the inputs as players who enter a room one by one. Let $v(S)$ be what the network says when the inputs $S$ are
# known. Player $i$ adds $v(S + i) - v(S)$ when coming in after $S$. ($S + i$ is $S$ with $i$ added, $|S|$ the number
# of its members, $d$ that of all inputs.) This depends on the order, so take the mean over all $d!$ orders. A given
# set $S$ of those before $i$ occurs in $|S|!\, (d - |S| - 1)!$ of them:
#
# $$ \boxed{\ \phi_i = \sum_{S \not\ni i} \frac{|S|!\, (d - |S| - 1)!}{d!} \big[ v(S + i) - v(S) \big]\ } $$
#
# Shapley (1953) showed that this is the *only* way to share with four properties:
#
# - **efficiency**: $\sum_i \phi_i = v(\text{all}) - v(\text{nobody})$;
# - **symmetry**: two players who add the same to every coalition get the same;
# - **dummy**: who never adds anything gets nothing;
# - **additivity**: the shares in a sum of two games are the sums of the shares.
#
# The first is seen from one order: the terms telescope, so each order shares out exactly
# $v(\text{all}) - v(\text{nobody})$, and so does the mean.
#
# **A sum.** If $f(x) = \sum_i w_i x_i$ and unknown inputs are replaced by their mean, then
# $v(S + i) - v(S) = w_i (x_i - \bar x_i)$ whoever is there, so $\phi_i = w_i (x_i - \bar x_i)$. **A product** $x_1 x_2$
# of independent inputs with means zero is worth nothing without both, so each gets half.
#
# The code replaces unknown inputs by those of other events, one after the other, and takes the mean of $f$. This sample
# is called the **background** (it has nothing to do with signal and background), and $\langle f \rangle$ is the mean
# over it. There are $2^d$ coalitions; for many inputs one draws random orders, and the shares get an error.

# %% slideshow={"slide_type": "subslide"}
# NBVAL_CHECK_OUTPUT
background = torch.randn(2000, 3, dtype=real, generator=generator)
background -= background.mean(0)
event = torch.tensor([[1.0, 2.0, -1.0]], dtype=real)
weights = torch.tensor([3.0, -1.0, 0.0], dtype=real)
shares = explain.shapley_values(lambda x: x @ weights, event, background)[0]
print("a sum:", [round(float(share), 6) + 0.0 for share in shares])
product = lambda x: x[:, 0] * x[:, 1]  # noqa: E731
shares = explain.shapley_values(product, event, background)[0]
print("a product is shared equally:", abs(float(shares[0] - shares[1])) < 1e-9, "and not with the third:",
      abs(float(shares[2])) < 1e-9)  # fmt: skip
whole = product(event)[0] - product(background).mean()  # what is said of this event minus the average
print("all shares together are the whole:", abs(float(shares.sum() - whole)) < 1e-9)

# %% [markdown] slideshow={"slide_type": "fragment"}
# **Check yourself 3.** A trigger fires, $v = 1$, if both legs see a muon; with one leg or none, $v = 0$. How is the 1
# shared? And if one leg is enough?
#
# <details><summary>Answer</summary>
#
# Half and half, in both cases, by symmetry and efficiency. In the first, who comes in last adds all; in the second, who
# comes in first does. The shares do not tell an AND from an OR: they say *how much*, not *how together*.
# </details>

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 5. The trap: what is an unknown input?
#
# Everything depends on $v(S)$, and "the input is not known" can mean two things.
#
# - **Marginal** (also: interventional). Unknown inputs are taken from other events, whatever the known ones are:
#   $v(S) = \langle f(x_S, x'_R) \rangle_{x'}$, with $R$ for the rest. The network is asked about jets that *cannot
#   exist*: 80 constituents, and the width of a jet with ten.
# - **Conditional.** Unknown inputs are taken as they are in events with the same known ones:
#   $v(S) = \langle f(x) | x_S \rangle$. Only real jets, but now an input that the network *never looks at* gets a
#   share, since it tells about one that it does.
#
# Two Gaussian inputs of width 1 with correlation $\rho$, and a network that uses the first alone, $f = x_1$. Given
# $x_2$, the mean of $x_1$ is $\rho x_2$. Nobody known: $v = 0$ in both, the mean of $f$.
#
# | | $v(\{1\})$ | $v(\{2\})$ | $v(\{1,2\})$ | $\phi_1$ | $\phi_2$ |
# | --- | --- | --- | --- | --- | --- |
# | marginal | $x_1$ | 0 | $x_1$ | $x_1$ | $0$ |
# | conditional | $x_1$ | $\rho x_2$ | $x_1$ | $x_1 - \rho x_2 / 2$ | $\rho x_2 / 2$ |

# %% slideshow={"slide_type": "subslide"}
# NBVAL_CHECK_OUTPUT
rho, event = 0.9, torch.tensor([[1.5, 1.2]], dtype=real)
covariance = torch.tensor([[1.0, rho], [rho, 1.0]], dtype=real)
sample = torch.randn(4000, 2, dtype=real, generator=generator) @ torch.linalg.cholesky(covariance).T
sample -= sample.mean(0)
only_first = lambda x: x[:, 0]  # noqa: E731
marginal = explain.shapley_values(only_first, event, sample)[0]
worth = explain.conditional_coalitions(only_first, event, torch.zeros(2, dtype=real), covariance)
conditional = explain.shapley_of_game(worth)[:, 0]
print("marginal:   ", [round(float(value), 3) + 0.0 for value in marginal])
print("conditional:", [round(float(value), 3) for value in conditional], "expected:",
      [round(1.5 - rho * 1.2 / 2, 3), round(rho * 1.2 / 2, 3)])  # fmt: skip

# %% [markdown] slideshow={"slide_type": "subslide"}
# For $\rho \to 1$, where $x_2 = x_1$, the conditional shares are half and half, and the marginal ones all and
# nothing. But there the network might as well have used $x_2$, or the mean of both. Networks with *equal answers for
# every real event* have marginal shares $(x_1, 0)$, $(0, x_1)$, $(x_1/2, x_1/2)$, or even $(5 x_1, -4 x_1)$. The plot
# shows, for four of them, the part of the first input in their shares,
# $\langle|\phi_1|\rangle / (\langle|\phi_1|\rangle + \langle|\phi_2|\rangle)$:

# %% slideshow={"slide_type": "subslide"}
networks = {"$x_1$": (1.0, 0.0), "$x_2$": (0.0, 1.0), "$(x_1 + x_2)/2$": (0.5, 0.5), "$5 x_1 - 4 x_2$": (5.0, -4.0)}
correlations = torch.tensor([0.0, 0.2, 0.4, 0.6, 0.8, 0.9, 0.95, 0.98, 1.0], dtype=real)
noise = torch.randn(400, 2, dtype=real, generator=generator)
parts = {(how, name): [] for how in ("marginal", "conditional") for name in networks}
for rho in correlations.tolist():
    events = torch.stack([noise[:, 0], rho * noise[:, 0] + math.sqrt(1 - rho**2) * noise[:, 1]], dim=1)
    covariance = torch.tensor([[1.0, rho], [rho, 1.0]], dtype=real)
    for name, weights in networks.items():
        f = lambda x, a=weights[0], b=weights[1]: a * x[:, 0] + b * x[:, 1]  # noqa: E731
        game = explain.conditional_coalitions(f, events, torch.zeros(2, dtype=real), covariance, draws=2)
        tables = {"marginal": explain.shapley_values(f, events, events), "conditional": explain.shapley_of_game(game).T}
        for how, shares in tables.items():
            size = shares.abs().mean(0)
            parts[how, name].append(float(size[0] / size.sum()))
fig, axes = lt.plots.figure(columns=2, sharey=True)
for ax, how in zip(axes, ("marginal", "conditional")):
    for k, name in enumerate(networks):
        look = {"color": lt.plots.COLOURS[k], "linestyle": lt.plots.LINES[k], "marker": "os^D"[k], "markersize": 5}
        ax.plot(correlations, parts[how, name], label=f"$f$ = {name}", **look)
    ax.set(xlabel=r"correlation $\rho$ [1]", xlim=(0, 1.01), ylim=(-0.05, 1.4), yticks=(0, 0.25, 0.5, 0.75, 1))
    ax.set_title(f"{how} shares")
axes[0].set_ylabel("part of the first input [1]")
axes[0].legend(loc="upper left", fontsize=12, ncols=2, columnspacing=1.0)
lt.show(fig, "The part of the first of two inputs in marginal and in conditional shares of four networks, against the"
        " correlation of the inputs")  # fmt: skip

# %% slideshow={"slide_type": "subslide"}
# NBVAL_CHECK_OUTPUT
for how in ("marginal", "conditional"):
    values = ", ".join(f"{name.replace('$', '')}: {parts[how, name][-1]:.2f}" for name in networks)
    print(f"at correlation 1, {how}: {values}")

# %% [markdown] slideshow={"slide_type": "skip"}
# *What you see.* Left, the marginal shares do not know the correlation at all: they read off the sizes of the weights
# (the picture is of $|\phi|$, so the signs are lost), and $5 x_1 - 4 x_2$ gets $5/9 = 0.56$. Right, the conditional
# shares of all four networks meet at a half, where the four networks have become one and the same function of real
# events. For $5 x_1 - 4 x_2$ this happens only at the very end: large weights make much of a small difference
# $x_1 - x_2$.
#
# **Marginal shares say what the network does with its inputs, on jets that cannot exist, too; conditional shares say
# what the inputs tell about its answer for real jets.** Neither says whether the answer is right. With correlated
# inputs, as in every jet, say which you show. A bar chart that does not, explains nothing.

# %% [markdown] slideshow={"slide_type": "fragment"}
# **Check yourself 4.** Which of the four properties does the conditional share of an unused input seem to break?
#
# <details><summary>Answer</summary>
#
# "Dummy", seemingly: the network never looks at it. But the property speaks of the *game* $v$, and in the conditional
# game the input does add something, information about the others. The theorem holds; what has changed is the question.
# </details>

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 6. Formulas: symbolic regression
#
# The oldest explanation in physics is a formula. **Symbolic regression** searches trees of operations, $+, -, \times,
# /, \tanh, (\cdot)^2$, variables and constants, for one that gives what the network gives. There are more trees of 25
# nodes than anybody can try, so they are *bred*: a population is changed, crossed and selected. Two aims at once: a
# small error and few nodes. The result is a **Pareto front**: formulas that no shorter one beats.
# The length is counted in **nodes**: each constant, variable, operation and function is one. So $a + b\,x$ has five,
# $a, +, b, \times, x$, and $a\,x + b\,x y$ has nine. This number is also called the **complexity**.
#
# With a small alphabet one can try *all*. Take the terms $1, x, y, \tanh x, xy, x^2, y^2$, each with a constant in
# front or not there: $2^7 - 1 = 127$ formulas. Each is linear in its constants, so least squares fits it at once.

# %% slideshow={"slide_type": "subslide"}
explorer = lt.explorers.explainability.formulas
lt.show(
    explorer.figures({"longest": 5}, {"longest": 9}, size=(10.6, 9.2)),
    "Error of all 127 formulas against their complexity with the Pareto front; target and chosen formula, for a limit"
    " of five and of nine nodes",
)

# %% [markdown] slideshow={"slide_type": "skip"}
# *What you see.* Left, each grey point is a formula. Circles: the best up to each length, on the noisy points that
# were fitted. Triangles: how far the same formulas are from the target itself, which nobody sees in real life. The
# chosen one is marked, printed above, and drawn on the right along $y = x$ and $y = -x$. Up to five nodes nothing is
# right. At nine the error drops to 0.17, nearly all of it the noise (0.3, or 0.16 of the spread of the target), and
# stays there: the target, $1.5\,x - x y$, has been found. Longer formulas gain a little on the points and *lose* on
# the target. The **knee** of the front is the place to stop.
#
# Try: (a) 10 points and the longest formula: where do the two curves part? (b) the target "quotient", which is none of
# the 127: is there a knee? (c) noise 2: can you still find the formula, and with how many points? (d) correlation 0.95,
# 20 points, noise 1: which line on the right is still good, and why?

# %% tags=["explorer"] slideshow={"slide_type": "subslide"}
explorer.show()

# %% [markdown] slideshow={"slide_type": "skip"}
# Now without a list of terms: a real search, on 500 points of a target that contains a $\tanh$ of a product. It knows
# the operations, not the shape.

# %% slideshow={"slide_type": "subslide"}
points = torch.randn(500, 2, dtype=real, generator=generator)
target = torch.tanh(0.7 * points[:, 0] * points[:, 1]) - 0.4 * points[:, 1]
try:
    front = explain.find_formulas(points, target, ["x", "y"], longest=15, population=300, generations=20, seed=p.seed)
    for formula in front:
        print(f"complexity {formula.complexity:2d}, error {formula.error / float(target.std()):.3f}: {formula}")
except ImportError as missing:
    print(f"SKIPPED ({missing})")

# %% [markdown] slideshow={"slide_type": "skip"}
# *What the lines say.* Errors are in units of the spread of the target. The short ones are each a part of the truth.
# The last has hardly any error, and the constants of the target. No noise was added; with noise the error stops at a
# knee, as above.

# %% [markdown] slideshow={"slide_type": "slide"}
# ### What to demand of a formula
#
# - Its **AUC** beside the network's, on the *same* events: the error of a difference is far below that of each.
# - Its **calibration**: an AUC knows the order only, and $2f$ has that of $f$.
# - That it **comes back** with other seeds. Correlated observables make many formulas equally good, so a single one,
#   found once, is an example and not the law.
# - **Few digits**, and physical units: round, and see what it costs.
#
# An example: events with one feature $x$ (the first of section 2) whose true logit is $2x$, and a score that says
# $4x$. "Calibrated" is: an error below twice what statistics alone would give (lecture 04, section 6).

# %% slideshow={"slide_type": "subslide"}
# NBVAL_CHECK_OUTPUT
label = (torch.rand(p.n, generator=generator) < torch.sigmoid(2 * x[:, 0])).double()  # the true logit is 2 x
for name, logit in (("2 x", 2 * x[:, 0]), ("4 x", 4 * x[:, 0])):
    ratio = lt.classification.calibration_error(logit, label) / lt.classification.calibration_limit(logit)
    print(f"logit {name}: AUC {lt.metrics.auc(logit, label):.2f}, calibrated: {ratio < 2}")

# %% [markdown] slideshow={"slide_type": "fragment"}
# **Check yourself 5.** Two searches give $f = 4 - 0.1\,n$ and $g = 4 - 1.5\,S$, with the multiplicity $n$ and an
# entropy $S$ that are strongly correlated. Their AUCs agree within 0.001. Which one is "what the network does"?
#
# <details><summary>Answer</summary>
#
# The AUC cannot tell: both say nearly the same of real jets, which is the trap of section 5 again. If the question is
# about the *network*, ask it about jets that do not exist, $n$ changed at fixed $S$: that is what its marginal shares
# do. If it is about *jets*, the two formulas are the same statement, and the one to take home is the one whose
# observable is better understood.
# </details>

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 7. What can go wrong
#
# - **Explaining a bad network.** First judge it; an explanation of noise looks as convincing.
# - **The penultimate layer**, whose first component is the output.
# - **Variance taken for importance**, components that depend on units.
# - **Correlation taken for use** (check yourself 1).
# - **Marginal Shapley values of correlated inputs read as physics**, or an unstated background sample.
# - **Sampled Shapley values without their error**, larger than the differences shown.
# - **One formula from one seed.** Constants with eight digits, of which two matter.
# - **The simulation explained.** Components that follow the generator's tune tell of the generator. Test with another
#   one.

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 8. References
#
# - C. Eckart, G. Young, *The approximation of one matrix by another of lower rank*, Psychometrika 1 (1936) 211.
# - L. S. Shapley, *A value for n-person games*, Contributions to the Theory of Games II (1953) 307.
# - S. Lundberg, S.-I. Lee, *A unified approach to interpreting model predictions*, arXiv:1705.07874: Shapley values of
#   networks, and the library shap.
# - K. Aas, M. Jullum, A. Løland, *Explaining individual predictions when features are dependent: more accurate
#   approximations to Shapley values*, arXiv:1903.10464: conditional shares.
# - A. Butter, T. Plehn, N. Soybelman, J. Brehmer, *Back to the formula: LHC edition*, arXiv:2109.10414: formulas for
#   optimal observables.
# - M. Cranmer, *Interpretable machine learning for science with PySR and SymbolicRegression.jl*, arXiv:2305.01582.
# - S. Vent, R. Winterhalder, T. Plehn, *How to deep-learn the theory behind quark-gluon tagging*, arXiv:2507.21214
#   (the title of its first version): a tagger explained in all three languages.
#
# **Next:** tutorial 14a looks into the latent space of a tagger; tutorial 14b shares out its answers and looks for a
# formula.
