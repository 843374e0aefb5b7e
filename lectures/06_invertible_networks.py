# ---
# jupyter:
#   kernelspec: {display_name: Python 3 (ipykernel), language: python, name: python3}
#   lhcml: {title: "Invertible networks", kind: lecture, extras: [], minutes: {laptop: 1, gpu: 1}}
# ---

# %% [markdown] slideshow={"slide_type": "slide"}
# # 06 Invertible networks
#
# **Before you start:** [lecture 01](01_fitting.ipynb), sections 2 to 4 (the likelihood);
# [lecture 03](03_bayesian_networks.ipynb), sections 4 and 7, for section 10 alone. Determinants, and the chain rule in
# several variables.
#
# **Goal:** you can turn a network into a *density*: one that says how likely an event is, and that makes new events.
# You can derive the change of variables with its sign, write a coupling layer and a spline by hand, train both on the
# likelihood, and say by how many nats you miss the truth. And you know what a smooth map cannot do, and which
# coordinates help.
#
# **Time:** 40 minutes of reading. The code runs in less than half a minute on one CPU core, at every scale alike.

# %% slideshow={"slide_type": "skip"}
import math

import torch
from torch import nn

import lhcml_tutor as lt
from lhcml_tutor.bijections import Compose, Logit, Standardise, spline_knots

scale = lt.scale()
p = lt.parameters(n_train=20_000, steps=250, seed=1)
generator = torch.Generator().manual_seed(p.seed)
real = torch.float64  # to compare with closed formulas

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 1. Why a density?
#
# A generator makes events: momenta of muons and jets that look like those of Pythia, thousands of times faster. For
# that alone it need not know how likely an event is. Three things need more.
#
# - **Training.** A density has a likelihood, so training is a fit (lecture 01). Leaving out a part of phase space costs
#   $-\log p \to \infty$ for each event there. A network that was trained to fool a classifier (lecture 05) pays nothing
#   for what it never makes, and may lose whole regions: *mode collapse*.
# - **Weights.** Integrals and reweighting need the ratio of two densities at the same point: $p_{true}/p_\theta$
#   corrects each event, and makes a generator a proposal for importance sampling (lecture 07).
# - **Inference.** The likelihood of a measured event as a function of theory parameters, or of parton momenta given
#   what the detector saw (lectures 12 and 13), is a conditional density.
#
# An **invertible network**, or *normalising flow*, has both: events by one pass, densities by one pass the other way.

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 2. Change of variables
#
# **One dimension.** Let $z(x)$ be smooth and strictly monotonic, and let $z$ be distributed with density $p_z$. The
# events between $x$ and $x + dx$ are the events between $z(x)$ and $z(x + dx)$. Their probability is the same number:
#
# $$ p_x(x)\, |dx| = p_z(z)\, |dz| \qquad\Longrightarrow\qquad
# p_x(x) = p_z\big(z(x)\big)\, \left|\frac{dz}{dx}\right| . $$
#
# The absolute value, because probabilities are positive also where $z$ falls. Where the map is steep, a short piece of
# $x$ takes the events of a long piece of $z$: the density of $x$ is large.
#
# **$d$ dimensions.** A small cube at $x$ with edges $\epsilon\, e_1, \dots, \epsilon\, e_d$ becomes, to first order, a
# parallelepiped at $z(x)$ with edges $\epsilon\, J e_1, \dots, \epsilon\, J e_d$, where $J_{ij} = \partial z_i/\partial
# x_j$ is the Jacobian. The volume of a parallelepiped is the absolute value of the determinant of its edges. So volumes
# grow by $|\det J|$, and with equal probability inside,
#
# $$ \boxed{\ \log p_x(x) = \log p_z\big(z(x)\big) + \log\left|\det\frac{\partial z}{\partial x}\right|\ } $$
#
# **The sign, once for the whole course.** A bijection returns `z, log_det = bijection(x)` with
# `log_det` $= \log|\det \partial z/\partial x|$, *new over old*. Its inverse returns
# `x, log_det = bijection.inverse(z)` with $\log|\det \partial x/\partial z|$, again new over old, which at the same
# point is minus the other: the matrices are inverse, so are the determinants. Maps in a row, $z = f_2(f_1(x))$,
# multiply their Jacobians, so **log_dets add**.
#
# A test that cannot be fooled: let $z$ be a Gaussian and $x = \sinh z$. Then $z = \mathrm{asinh}\, x$,
# $dz/dx = 1/\sqrt{1 + x^2}$.

# %% slideshow={"slide_type": "skip"}
# NBVAL_CHECK_OUTPUT
x = torch.linspace(-80, 80, 400_001, dtype=real)
log_gauss = -0.5 * x.asinh().square() - 0.5 * math.log(2 * math.pi)
log_det = -0.5 * (1 + x.square()).log()
for name, sign in (("+ log_det", 1), ("without log_det", 0), ("- log_det", -1)):
    print(f"{name:16s} integral from -80 to 80 = {torch.trapezoid((log_gauss + sign * log_det).exp(), x):.3g}")

# %% [markdown] slideshow={"slide_type": "skip"}
# Only one of the three is a density. Without the Jacobian the best "log-likelihood" is that of all events at $z = 0$,
# with the wrong sign there is no best one: it has no upper limit. A training goes there at once, and it looks like a
# great success. An integral or a box test (section 7) finds this bug, a falling loss does not.

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 3. Two directions, and why not just any network
#
# Choose $p_z$ simple: a Gaussian of mean 0 and width 1 in each of the $d$ dimensions, the *base*. Then one map gives
#
# - the **density**: events in, $z(x)$ and its log_det out. This is what training needs;
# - **events**: draw $z$ from the Gaussian, apply the *inverse*.
#
# They are the two directions of one map. Why not take any network $z_\theta(x)$ with $d$ inputs and $d$ outputs?
#
# 1. It need not be **invertible**. Where $\det J$ changes its sign, the map folds: two events have the same $z$, and
#    the formula above counts only one of them.
# 2. Even if it is, its **inverse** is known only as the solution of a non-linear system.
# 3. Its **determinant** costs $d$ passes backwards for $J$ and then of order $d^3$ operations, for each event of each
#    step.
#
# How often does a network fold? We take plain networks with two inputs and outputs as they come from initialisation,
# and again with weights four times larger, as after a training. We look for a sign change of $\det J$ on a grid in the
# square $|x_i| < 3$.

# %% slideshow={"slide_type": "subslide"}
axis = torch.linspace(-3, 3, 16)
square = torch.cartesian_prod(axis, axis)
folds = {}
for factor in (1.0, 4.0):
    torch.manual_seed(p.seed)
    found = 0
    for _ in range(50):
        network = lt.layers.MLP(2, 2, hidden=(32, 32))
        for layer in network.layers:
            if isinstance(layer, nn.Linear):
                layer.weight.data.mul_(factor)
        jacobian = torch.func.vmap(torch.func.jacrev(network))(square)  # (256, 2, 2)
        sign = torch.linalg.det(jacobian).sign()
        found += bool((sign != sign[0]).any())
    folds[factor] = found
    print(f"weights times {factor:g}: {found} of 50 networks fold the square")

# %% [markdown] slideshow={"slide_type": "skip"}
# Most of them fold before any training. So we build maps that *cannot* fold, with an inverse in closed form and a
# determinant that costs nothing.

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 4. The coupling layer
#
# The idea (Dinh, Krueger, Bengio 2014; Dinh, Sohl-Dickstein, Bengio 2016): split the features in two, $x = (x_A, x_B)$.
# Leave $x_A$ as it is. Scale and shift $x_B$ by numbers that a network makes of $x_A$:
#
# $$ z_A = x_A , \qquad z_B = x_B \odot e^{s(x_A)} + t(x_A) , $$
#
# where $\odot$ multiplies feature by feature.
#
# **Inverse.** $x_A = z_A$ is still there. So $s$ and $t$ can be computed again, with the same network in the *same*
# direction, and $x_B = (z_B - t)\, e^{-s}$. The network itself is never inverted: it may be anything.
#
# **Determinant.** Sort the features as $(A, B)$. Then
#
# $$ J = \frac{\partial(z_A, z_B)}{\partial(x_A, x_B)} = \begin{pmatrix} 1 & 0 \\[2pt]
# \dfrac{\partial z_B}{\partial x_A} & \mathrm{diag}\; e^{s} \end{pmatrix} , \qquad
# \log|\det J| = \sum_{i \in B} s_i . $$
#
# (The 1 is a unit matrix.) The corner below on the left is complicated, all derivatives of the network. It does not
# matter: the determinant of a triangular matrix is the product of its diagonal. (Another order of the features is a
# permutation of rows and of columns alike, and changes nothing.)
#
# **Why the halves alternate.** One layer leaves $x_A$ untouched: its distribution would never become Gaussian. So the
# next layer moves $A$ and keeps $B$. Two layers move everything once. More of them are a richer map: we use four here.
#
# In the code $s$ is kept between $\pm 3$ by a tanh, so that no exponential runs away, and the last layer of the
# network starts small, so that the flow starts near the identity.


# %% slideshow={"slide_type": "subslide"}
class AffineCoupling(nn.Module):
    """z_B = x_B exp(s) + t with (s, t) = network(x_A, condition); stays: the columns A, moves: the columns B."""

    def __init__(self, stays, moves, condition=0, hidden=(32, 32), limit=3.0):
        super().__init__()
        self.stays, self.moves, self.limit = stays, moves, limit
        self.network = lt.layers.MLP(len(stays) + condition, 2 * len(moves), hidden)
        for parameter in self.network.layers[-1].parameters():
            parameter.data.mul_(0.1)

    def scale_and_shift(self, x, condition):
        seen = x[:, self.stays] if condition is None else torch.cat([x[:, self.stays], condition], dim=1)
        s, t = self.network(seen).chunk(2, dim=1)  # (n, b) each
        return self.limit * (s / self.limit).tanh(), t

    def forward(self, x, condition=None):
        s, t = self.scale_and_shift(x, condition)
        z = x.clone()
        z[:, self.moves] = x[:, self.moves] * s.exp() + t
        return z, s.sum(1)

    def inverse(self, z, condition=None):
        s, t = self.scale_and_shift(z, condition)  # z_A = x_A
        x = z.clone()
        x[:, self.moves] = (z[:, self.moves] - t) * (-s).exp()
        return x, -s.sum(1)


# %% slideshow={"slide_type": "skip"}
# NBVAL_CHECK_OUTPUT
torch.manual_seed(p.seed)
layer = AffineCoupling([0, 2], [1, 3]).double()
x = torch.randn(50, 4, dtype=real, generator=generator)
z, log_det = layer(x)
x_again, log_det_back = layer.inverse(z)
jacobian = torch.func.vmap(torch.func.jacrev(lambda row: layer(row[None])[0][0]))(x)  # (50, 4, 4)
print("the inverse returns the events:", torch.allclose(x_again, x))
print("the log_dets of both directions are opposite:", torch.allclose(log_det, -log_det_back))
print("sum of s is the log of the full determinant:", torch.allclose(log_det, torch.linalg.slogdet(jacobian)[1]))
order = [0, 2, 1, 3]
print("in the order (A, B) the corner above is zero:", bool((jacobian[:, order][:, :, order][:, :2, 2:] == 0).all()))

# %% [markdown] slideshow={"slide_type": "fragment"}
# **Check yourself 1.** Two coupling layers in a row that move the *same* half $B$ with the same $A$. What have you
# gained over one of them?
#
# <details><summary>Answer</summary>
#
# Nothing, for affine layers: $z_B = (x_B\, e^{s_1} + t_1)\, e^{s_2} + t_2$ is again a scale $e^{s_1 + s_2}$ and a shift
# $t_1 e^{s_2} + t_2$ that depend on $x_A$. And $A$ has still not moved. With splines (next section) two are a richer
# function of $x_B$ than one, but $A$ has not moved either.
# </details>

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 5. The rational-quadratic spline
#
# An affine map has one slope for all values of $x_B$. To turn one peak into two in a single layer we need a map with
# *many* slopes, that is still monotonic, with an inverse in closed form. Durkan et al. (2019) take splines that
# Gregory and Delbourgo used in 1982: in each bin a ratio of two quadratic functions.
#
# **One bin.** It goes from $(x_0, y_0)$ to $(x_1, y_1)$ with width $w$, height $h$ and mean slope $s = h/w$ (another
# $s$ than in section 4). The slopes $d_0 > 0$ and $d_1 > 0$ at both ends are given. With
# $u = (x - x_0)/w \in [0, 1]$ and $v = u(1 - u)$ we try
#
# $$ y = y_0 + h\, \frac{s u^2 + \alpha\, v}{s + \beta\, v} . $$
#
# *The ends fit for any $\alpha$, $\beta$*: $v$ vanishes at both, so $y(0) = y_0$ and $y(1) = y_0 + h$. *The slopes*:
# near $u = 0$, $v \approx u$ and the numerator is $\alpha u$ to first order, so $dy/dx = (h/w)\, \alpha/s = \alpha$.
# Hence $\alpha = d_0$. Near $u = 1$ put $u = 1 - \eta$, $v \approx \eta$: the ratio is
# $\frac{s - 2 s\eta + d_0 \eta}{s + \beta\eta} \approx 1 - \eta\, \frac{2s - d_0 + \beta}{s}$, so the slope is
# $2 s - d_0 + \beta$. Hence $\beta = d_0 + d_1 - 2s$.
#
# $$ \boxed{\ y = y_0 + h\, \frac{s u^2 + d_0\, v}{D} , \qquad D = s + (d_0 + d_1 - 2 s)\, v\ } $$
#
# **It is monotonic.** First, $D > 0$: since $v \le \frac14$, $D \ge s - 2 s v \ge s/2$. Now differentiate. With
# $N = s u^2 + d_0 v$ and $v' = 1 - 2u$ the slope is $s\, (N' D - N D')/D^2$, and
#
# $$ N' D - N D' = \big(2 s u + d_0 v'\big)\big(s + \beta v\big) - \big(s u^2 + d_0 v\big)\,\beta v'
# = s \big[ 2 s u + d_0 v' \big] + s \beta \big[ 2 u v - u^2 v' \big] . $$
#
# The last bracket is $2u^2(1-u) - u^2(1 - 2u) = u^2$. Insert $\beta$, and collect $d_1$, $s$ and $d_0$: $u^2$,
# $2u - 2u^2 = 2v$, and $1 - 2u + u^2 = (1-u)^2$. So
#
# $$ \frac{dy}{dx} = \frac{s^2 \left[ d_1 u^2 + 2 s\, u(1-u) + d_0 (1-u)^2 \right]}{D^2} > 0 . $$
#
# Every term is positive. The spline cannot fold, for *any* positive heights, widths and slopes.

# %% [markdown] slideshow={"slide_type": "subslide"}
# **Inverse.** Let $r = y - y_0$. Multiply $r D = h\,(s u^2 + d_0 v)$ out, with $v = u - u^2$:
#
# $$ a u^2 + b u - c = 0 , \qquad a = h (s - d_0) + r \beta , \quad b = h d_0 - r\beta , \quad c = s\, r . $$
#
# At $u = 0$ the left side is $-c \le 0$, at $u = 1$ it is $a + b - c = s (h - r) \ge 0$, and the map is monotonic: one
# root in between. The textbook form $u = (-b + \sqrt{b^2 + 4ac})/2a$ subtracts nearly equal numbers where $ac$ is
# small, and divides by zero where the bin is a straight line ($a = 0$). Multiply by the conjugate:
#
# $$ u = \frac{2c}{b + \sqrt{b^2 + 4 a c}} . $$
#
# **A whole spline** has $K$ bins on $[-B, B]$; neighbours share knots and slopes, so the slope is continuous. Outside
# it is the identity, which fixes the outer knots on the diagonal and their slopes to 1. A network delivers, for each
# moved feature, $K$ widths and $K$ heights (through a softmax, times $2B$) and $K - 1$ inner slopes (through a
# softplus): $3K - 1$ numbers. This bookkeeping is in `spline_knots`; the mathematics is here.


# %% slideshow={"slide_type": "subslide"}
def bin_numbers(value, edges, knots_x, knots_y, slopes):
    """Return x_0, y_0, w, h, d_0, d_1 of the bin of each value (n, b); knots and slopes are (n, b, K + 1)."""
    k = (value[..., None] >= edges[..., 1:-1]).sum(-1, keepdim=True)  # (n, b, 1), from 0 to K - 1
    (x_0, y_0, d_0), (x_1, y_1, d_1) = (
        [part.gather(-1, i)[..., 0] for part in (knots_x, knots_y, slopes)] for i in (k, k + 1)
    )
    return x_0, y_0, x_1 - x_0, y_1 - y_0, d_0, d_1


def log_slope(u, s, d_0, d_1):
    """Return log dy/dx at u in a bin with mean slope s and end slopes d_0, d_1."""
    v = u * (1 - u)
    top = d_1 * u**2 + 2 * s * v + d_0 * (1 - u) ** 2
    return 2 * s.log() + top.log() - 2 * (s + (d_0 + d_1 - 2 * s) * v).log()


def spline(x, knots_x, knots_y, slopes):
    """Return y and log dy/dx, both (n, b); the identity outside of the knots."""
    inside = (x > knots_x[..., 0]) & (x < knots_x[..., -1])
    x_0, y_0, w, h, d_0, d_1 = bin_numbers(x, knots_x, knots_x, knots_y, slopes)
    u, s = ((x - x_0) / w).clamp(0, 1), h / w
    v = u * (1 - u)
    y = y_0 + h * (s * u**2 + d_0 * v) / (s + (d_0 + d_1 - 2 * s) * v)
    return torch.where(inside, y, x), torch.where(inside, log_slope(u, s, d_0, d_1), 0.0)


def spline_inverse(y, knots_x, knots_y, slopes):
    """Return x and log dx/dy, both (n, b)."""
    inside = (y > knots_y[..., 0]) & (y < knots_y[..., -1])
    x_0, y_0, w, h, d_0, d_1 = bin_numbers(y, knots_y, knots_x, knots_y, slopes)
    s, r = h / w, (y - y_0).clamp(min=0)
    r = torch.minimum(r, h)
    beta = d_0 + d_1 - 2 * s
    a, b, c = h * (s - d_0) + r * beta, h * d_0 - r * beta, s * r
    u = 2 * c / (b + (b**2 + 4 * a * c).sqrt())
    return torch.where(inside, x_0 + w * u, y), torch.where(inside, -log_slope(u, s, d_0, d_1), 0.0)


# %% slideshow={"slide_type": "subslide"}
class SplineCoupling(AffineCoupling):
    """The same layer with a spline in place of the scale and shift."""

    def __init__(self, stays, moves, condition=0, hidden=(32, 32), bins=8, bound=5.0):
        super().__init__(stays, moves, condition, hidden)
        self.bins, self.bound = bins, bound
        self.network = lt.layers.MLP(len(stays) + condition, (3 * bins - 1) * len(moves), hidden)
        for parameter in self.network.layers[-1].parameters():
            parameter.data.mul_(0.1)

    def knots(self, x, condition):
        seen = x[:, self.stays] if condition is None else torch.cat([x[:, self.stays], condition], dim=1)
        raw = self.network(seen).unflatten(1, (3 * self.bins - 1, len(self.moves)))  # (n, 3K - 1, b)
        return [part.permute(1, 2, 0) for part in spline_knots(raw.transpose(0, 1), self.bound)]  # (n, b, K + 1) each

    def forward(self, x, condition=None):
        moved, slopes = spline(x[:, self.moves], *self.knots(x, condition))
        z = x.clone()
        z[:, self.moves] = moved
        return z, slopes.sum(1)

    def inverse(self, z, condition=None):
        moved, slopes = spline_inverse(z[:, self.moves], *self.knots(z, condition))
        x = z.clone()
        x[:, self.moves] = moved
        return x, slopes.sum(1)


# %% slideshow={"slide_type": "skip"}
# NBVAL_CHECK_OUTPUT
raw = 2 * torch.randn(23, 400, 1, dtype=real, generator=generator)  # 400 different splines of 8 bins
knots = [part.permute(1, 2, 0) for part in spline_knots(raw, 5.0)]
x = (12 * torch.rand(400, 1, dtype=real, generator=generator) - 6).requires_grad_()
y, slope = spline(x, *knots)
by_autograd = torch.autograd.grad(y.sum(), x)[0]
x_again, slope_back = spline_inverse(y, *knots)
print("the slope formula is the derivative:", torch.allclose(slope, by_autograd.log()))
print(
    "the inverse returns x:", torch.allclose(x_again, x), "and minus the log slope:", torch.allclose(slope_back, -slope)
)
at, heights = spline(knots[0][:, 0, 3:4], *knots)[0], knots[1][:, 0, 3:4]
print("the curve meets its knots:", torch.allclose(at, heights))
u, a, b = torch.tensor(0.3), torch.tensor(1e-6), torch.tensor(1.0)  # nearly a straight line, in float32
c = a * u**2 + b * u
textbook, stable = (-b + (b**2 + 4 * a * c).sqrt()) / (2 * a), 2 * c / (b + (b**2 + 4 * a * c).sqrt())
print(f"u = 0.3 from the textbook root: {textbook:.3f}; from the stable one: {stable:.3f}")

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### One spline in your hands

# %% slideshow={"slide_type": "subslide"}
explorer = lt.explorers.flows.spline
lt.show(
    explorer.figure(),
    "A monotonic spline of three bins, its slope on a logarithmic axis, and the density with two peaks that it makes",
)

# %% [markdown] slideshow={"slide_type": "skip"}
# *What you see.* Left, $z(x)$ through four knots; in the middle its slope, which meets the given values at the knots;
# right the density $N(z(x))\, dz/dx$ of $x$. Where the curve is flat there are few events; where it is steep, many.
# Three bins turn a Gaussian into two peaks. The integral under the sliders stays one wherever they stand.
#
# Try: (a) all slopes 1, heights 0.25 and 0.5, width 0.5: what is the curve? (b) slope 5 at one knot and 0.1 at the
# other: does the curve ever fall? (c) as flat a valley as you can: how deep can the density between the peaks get?

# %% tags=["explorer"] slideshow={"slide_type": "subslide"}
explorer.show()

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 6. Maximum likelihood is minimal divergence
#
# The flow has a density $p_\theta(x)$. The loss is the negative log-likelihood of the events, as in lecture 01:
#
# $$ L(\theta) = -\frac1n \sum_{i=1}^n \log p_\theta(x_i)
# = \frac1n \sum_{i=1}^n \left[ \frac{|z_\theta(x_i)|^2}{2} - \log|\det J_\theta(x_i)| \right] + \frac d2 \log 2\pi . $$
#
# Two terms pull against each other. The first wants all events at $z = 0$. The second forbids it: squeezing costs
# volume. For many events the mean becomes an average over the truth, and
#
# $$ L(\theta) \to -\big\langle \log p_\theta \big\rangle_{p}
# = \underbrace{\Big\langle \log\frac{p}{p_\theta} \Big\rangle_{p}}_{\mathrm{KL}(p \| p_\theta)\ \ge\ 0}
# \underbrace{-\big\langle \log p \big\rangle_{p}}_{\mathrm{entropy\ of\ the\ truth}} . $$
#
# The entropy does not know $\theta$. So maximising the likelihood *is* minimising the Kullback-Leibler divergence from
# truth to model, and where the truth is known the difference **$L$ − entropy, on test events, is the divergence
# itself**: the gap in *nats* that we quote in this chapter. A gap of 0.01 means: on average, densities are off by
# factors whose logarithm averages to 0.01. For small deviations $p_\theta = p\,(1 + \delta)$ it is
# $\frac12 \langle\delta^2\rangle$, so 0.005 nats are about 10% of relative deviation, typically.
#
# Which direction of the KL matters: $\langle\ \rangle_p$ visits all *true* events. A region without model is
# infinitely expensive. A region with model but without events costs only the probability that is missing elsewhere.
# **Flows rather put too much in between than leave something out.**


# %% slideshow={"slide_type": "subslide"}
class Flow(nn.Module):
    """Coupling layers behind each other, in front of a Gaussian; preprocess: a fixed bijection in front of them."""

    def __init__(self, kind, layers=4, condition=0, preprocess=None, alternate=True):
        super().__init__()
        halves = [([0], [1]), ([1], [0])]  # two features
        chosen = [halves[i % 2 if alternate else 0] for i in range(layers)]
        self.layers = nn.ModuleList([kind(stays, moves, condition) for stays, moves in chosen])
        self.preprocess = preprocess

    def forward(self, x, condition=None):
        total = 0.0
        if self.preprocess is not None:
            x, total = self.preprocess(x)
        for layer in self.layers:
            x, log_det = layer(x, condition)
            total = total + log_det  # log_dets add
        return x, total

    def log_prob(self, x, condition=None):
        z, log_det = self(x, condition)
        return (-0.5 * z**2 - 0.5 * math.log(2 * math.pi)).sum(1) + log_det

    @torch.no_grad()
    def sample(self, n, condition=None):
        x = torch.randn(n, 2)
        for layer in reversed(self.layers):
            x, _ = layer.inverse(x, condition)
        return x if self.preprocess is None else self.preprocess.inverse(x)[0]


# %% slideshow={"slide_type": "subslide"}
def likelihood(flow, batch):
    return -flow.log_prob(batch["x"], batch.get("condition")).mean()


def train(flow, loss=likelihood, steps=p.steps, **data):
    """Train where lt.fit decides, return the flow on the CPU."""
    lt.fit(flow, loss, data, steps=steps, batch_size=256, learning_rate=0.01, progress=False)
    return flow.cpu()


# %% [markdown] slideshow={"slide_type": "slide"}
# ## 7. Two moons, in nats
#
# The toy: two half circles, smeared; its density is a sum of 64 Gaussians, known exactly. Four trainings: affine
# layers, spline layers, and, with fewer steps, spline layers that all move the same feature and some whose loss has
# *forgotten the log_det*.


# %% slideshow={"slide_type": "subslide"}
def events_of(toy, n, seed):
    """Return n events of a toy, float32, shape (n, 2)."""
    return toy.sample(n, torch.Generator().manual_seed(seed)).float()


@torch.no_grad()
def gap(flow, toy, x):
    """Return the divergence from truth to flow in nats and its error, on test events x."""
    difference = toy.log_prob(x.double()) - flow.log_prob(x).double()
    return float(difference.mean()), float(difference.std()) / math.sqrt(len(x))


def without_log_det(flow, batch):
    return flow(batch["x"])[0].square().sum(1).mean() / 2


moons = lt.datasets.make_toy("two_moons")
x, test = events_of(moons, p.n_train, p.seed), events_of(moons, 20_000, p.seed + 1000)
before = Standardise.fit(x)
kinds = {"affine": (AffineCoupling, likelihood, True), "spline": (SplineCoupling, likelihood, True),
         "spline, same half": (SplineCoupling, likelihood, False),
         "log_det forgotten": (SplineCoupling, without_log_det, True)}  # fmt: skip
flows, gaps = {}, {}
for name, (kind, loss, alternate) in kinds.items():
    lt.seed_everything(p.seed)
    flow = Flow(kind, preprocess=before, alternate=alternate)
    gaps.setdefault("untrained", gap(flow, moons, test)[0])
    flows[name] = train(flow, loss, steps=p.steps if name in ("affine", "spline") else 60, x=x)
    gaps[name], error = gap(flows[name], moons, test)
    print(f"{name:18s} {gaps[name]:7.3f} +- {error:.3f} nats from the truth")
print(f"{'untrained':18s} {gaps['untrained']:7.3f}")

# %% slideshow={"slide_type": "subslide"}
fig, panels = lt.plots.figure(columns=3, sharey=True)
edges = torch.linspace(-1.6, 2.6, 141), torch.linspace(-1.2, 1.7, 97)
grid = torch.cartesian_prod(*edges)
for panel, name in zip(panels, ("truth", "affine", "spline")):
    with torch.no_grad():
        log_p = moons.log_prob(grid.double()) if name == "truth" else flows[name].log_prob(grid)
    picture = log_p.exp().reshape(141, 97).T.clamp(max=0.6)
    panel.pcolormesh(*edges, picture, cmap="Blues", vmin=0, vmax=0.6, rasterized=True)
    made = events_of(moons, 400, 5) if name == "truth" else flows[name].sample(400)
    panel.plot(made[:, 0], made[:, 1], ".", color=lt.plots.COLOURS[1], markersize=2.5)
    panel.set(xlabel="first feature [1]", xlim=(-1.6, 2.6), ylim=(-1.2, 1.7))
    panel.set_title(name)
panels[0].set_ylabel("second feature [1]")
lt.show(fig, "Density (blue) and samples (orange dots) of two moons: the truth, an affine flow, a spline flow")

# %% slideshow={"slide_type": "skip"}
# NBVAL_CHECK_OUTPUT
halves = [gap(flows["spline"], moons, part)[0] for part in test.chunk(2)]
control = {name: gaps[name] for name in ("untrained", "spline, same half", "log_det forgotten")}
lt.verdict("gap of the spline flow on two moons in nats", gaps["spline"], ci=(0, 0.0707), laptop=(0, 0.0707), gpu=None,
           control=control, floor=0.3)  # fmt: skip
lt.verdict("gap of the affine over that of the spline flow on two moons", gaps["affine"] / gaps["spline"],
           ci=(3.59, 6.67), laptop=(3.59, 6.67), gpu=None,
           control={"spline on one half of the events over the other": halves[0] / halves[1]}, floor=0.3)  # fmt: skip

# %% [markdown] slideshow={"slide_type": "skip"}
# *What you see.* Blue: the density; orange: samples of the same flow. The affine flow keeps a bridge between the moons,
# the spline flow nearly cuts it. Splines are closer to the truth for the same number of layers and steps. If only one
# feature moves the gap stays large, for any number of steps: the other feature keeps its own distribution, which is
# 0.15 nats from a Gaussian. And without log_det all events are pulled to $z = 0$: its "loss" falls towards zero, and
# the density is worse than before any training.
#
# **Do samples and density belong together?** They use two directions of the code, so a bug in one of them shows in a
# comparison. Take a box: the fraction of samples inside must be $\int_{\mathrm{box}} p_\theta$, within the error of
# counting. We do the integral on a grid. As a control we forget the Jacobian of the preprocessing in the density.

# %% slideshow={"slide_type": "subslide"}
n_box, boxes = 100_000, {"upper moon": (-1.2, 0.0, 0.2, 1.3), "between the moons": (0.3, 0.7, -0.2, 0.9)}
made, pulls = flows["spline"].sample(n_box), {}
for name, (left, right, low, high) in boxes.items():
    line = [a + (b - a) * (torch.arange(200) + 0.5) / 200 for a, b in ((left, right), (low, high))]
    with torch.no_grad():
        expected = float(flows["spline"].log_prob(torch.cartesian_prod(*line)).exp().mean())
    expected *= (right - left) * (high - low)
    inside = (made[:, 0] > left) & (made[:, 0] < right) & (made[:, 1] > low) & (made[:, 1] < high)
    error = math.sqrt(expected * (1 - expected) / n_box)
    wrong = expected * float(before.std.prod())  # as if the Jacobian of the standardisation were forgotten
    pulls[name] = [(float(inside.float().mean()) - value) / error for value in (expected, wrong)]
    print(f"{name:18s} samples {inside.float().mean():.4f}, integral {expected:.4f}, {pulls[name][0]:+.1f} errors;",
          f"Jacobian forgotten {pulls[name][1]:+.0f}")  # fmt: skip

# %% slideshow={"slide_type": "skip"}
# NBVAL_CHECK_OUTPUT
print("samples and density agree within 5 errors:", all(abs(ours) < 5 for ours, _ in pulls.values()))
print("with a forgotten Jacobian they do not:", all(abs(wrong) > 5 for _, wrong in pulls.values()))

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### Layer by layer

# %% slideshow={"slide_type": "subslide"}
explorer = lt.explorers.flows.push
lt.show(
    explorer.figures({"layers": 0}, {"layers": 2}, {"layers": 6}, size=(8.0, 11.6)),
    "Two moons before, after two, and after six coupling layers, where they are a Gaussian; beside it the bent grid",
)

# %% [markdown] slideshow={"slide_type": "skip"}
# *What you see.* Left the events; their colour is the sector of the Gaussian in which each ends. Right a square grid
# that goes through the same layers. Every layer moves points along one axis alone. The grid is stretched where there
# were many events and squeezed where there were few (section 2), but its lines never cross: the map does not fold.
#
# Try: (a) the other direction: watch a Gaussian become two moons; (b) the ring: where does its hole go? (c) the grid of
# 25 peaks: what is left between the peaks, and what does the number in nats say?

# %% tags=["explorer"] slideshow={"slide_type": "subslide"}
explorer.show()

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 8. Conditional flows
#
# Give the networks of all layers the condition $c$ as a further input: `torch.cat([x_A, c])`. For each $c$ the map is
# invertible in $x$, and nothing in the derivation changes: one flow is a density $p_\theta(x|c)$ for each $c$. The loss
# is $-\log p_\theta(x_i|c_i)$ for pairs, and its minimum is the conditional density of the training pairs, whatever the
# distribution of the $c_i$: by the same steps as in section 6 it minimises
# $\big\langle \mathrm{KL}\big(p(x|c)\,\|\,p_\theta(x|c)\big) \big\rangle_c$. What $c$ may be: the number of jets, the
# beam energy, a detector's output, a parameter of the theory.
#
# The toy: a Gaussian whose correlation is the condition, $-0.9 < c < 0.9$. The exact density is known for each $c$.


# %% slideshow={"slide_type": "subslide"}
def correlated(c, seed):
    """Return pairs x (n, 2) with correlation c (n, 1)."""
    a, b = torch.randn(2, len(c), 1, generator=torch.Generator().manual_seed(seed))
    return torch.cat([a, c * a + (1 - c**2).sqrt() * b], dim=1)


def exact_log_prob(x, c):
    rest = (1 - c[:, 0] ** 2).sqrt()
    z = (x[:, 1] - c[:, 0] * x[:, 0]) / rest
    return -0.5 * (x[:, 0] ** 2 + z**2) - math.log(2 * math.pi) - rest.log()


c = 1.8 * torch.rand(p.n_train, 1, generator=generator) - 0.9
lt.seed_everything(p.seed)
conditional = train(Flow(AffineCoupling, layers=2, condition=1), x=correlated(c, 2), condition=c)
ours, blind = {}, {}
for value in (-0.8, 0.0, 0.8):
    at = torch.full((20_000, 1), value)
    x_c = correlated(at, 3)
    with torch.no_grad():
        differences = exact_log_prob(x_c, at) - conditional.log_prob(x_c, at)
        ours[value], error = float(differences.mean()), float(differences.std()) / math.sqrt(len(at))
        blind[value] = float((exact_log_prob(x_c, at) - conditional.log_prob(x_c, 0 * at)).mean())
    seen = torch.corrcoef(conditional.sample(20_000, at).T)[0, 1]
    print(f"c = {value:+.1f}: correlation of samples {seen:+.3f}, gap {ours[value]:.4f} +- {error:.4f} nats; "
          f"told c = 0: {blind[value]:.3f}")  # fmt: skip

# %% slideshow={"slide_type": "skip"}
# NBVAL_CHECK_OUTPUT
lt.verdict("largest gap of the conditional flow in nats", max(ours.values()), ci=(0.00336, 0.0387),
           laptop=(0.00336, 0.0387),
           gpu=None, control={"told a wrong condition": blind[0.8]}, floor=0.5)  # fmt: skip

# %% [markdown] slideshow={"slide_type": "skip"}
# The flow makes the correlation that it is asked for, and knows the density for each $c$. If it is told the wrong
# condition the gap is half a nat: the condition is used, which is the first thing to test about a conditional network.

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 9. What an invertible map cannot do, and which coordinates help
#
# A flow is continuous and has a continuous inverse. Such maps keep the *topology*: what is connected stays connected,
# and a hole stays a hole. The Gaussian has no hole and is in one piece. So the flow's density is in one piece, too.
#
# **Two pieces.** In one dimension we can say how hard it is. The exact map from a density to the Gaussian is
# $z = \Phi^{-1}(F(x))$ with the cumulative distributions $F$ and $\Phi$, and $dz/dx = p(x)/N(z)$. Two Gaussians of
# width 1 at $\pm\Delta/2$: in the middle $z = 0$ and $p = N(\Delta/2)$, so the slope there is $e^{-\Delta^2/8}$. For a
# distance of 8 widths it is $3 \cdot 10^{-4}$: a map that must be nearly, but not quite, flat. Layers multiply small
# slopes, so it is in reach, but hardly any event lies there to ask for it: after a finite training a *filament* of
# events stays between the pieces.
#
# **A hole.** A ring of radius 4 and width 0.3. The flow must open the hole by pushing events aside from a point or a
# cut, and a filament remains where it did so. But in *polar coordinates* $(r, \varphi)$ there is no hole, and the
# density is a product. The map has the Jacobian
# $\big|\partial(r, \varphi)/\partial(x, y)\big| = 1/r$, hence `log_det` $= -\log r$; for $(\log r, \varphi)$, which
# we use, $-2 \log r$. The angle is even on an interval: the quantile map $\Phi^{-1}$ of the subsection on hard edges
# makes it a Gaussian.


# %% slideshow={"slide_type": "subslide"}
class Polar(nn.Module):
    """(x, y) -> (log r, phi) with -pi < phi < pi; log_det = -2 log r, as d(log r) = dr / r."""

    def forward(self, x, condition=None):
        log_r = 0.5 * x.square().sum(1).log()
        return torch.stack([log_r, torch.atan2(x[:, 1], x[:, 0])], dim=1), -2 * log_r

    def inverse(self, z, condition=None):
        r = z[:, 0].exp()
        return torch.stack([r * z[:, 1].cos(), r * z[:, 1].sin()], dim=1), 2 * z[:, 0]


class Quantile(nn.Module):
    """Open the interval (low, high) by the quantiles of a Gaussian, z = Phi^-1((x - low) / (high - low))."""

    def __init__(self, low=0.0, high=1.0):
        super().__init__()
        self.low, self.width = low, high - low

    def forward(self, x, condition=None):
        u = ((x.double() - self.low) / self.width).clamp(1e-7, 1 - 1e-7)  # float32 rounds onto the ends
        z = torch.special.ndtri(u)
        log_slope = 0.5 * z**2 + 0.5 * math.log(2 * math.pi) - math.log(self.width)  # du / N(z) = dz
        return z.to(x), log_slope.sum(1).to(x)

    def inverse(self, z, condition=None):
        log_slope = -0.5 * z**2 - 0.5 * math.log(2 * math.pi) + math.log(self.width)
        return (self.low + self.width * torch.special.ndtr(z.double())).to(z), log_slope.sum(1)


def behind(*maps, x):
    """Return these maps in a row, and a standardisation fitted behind them."""
    first = Compose(*maps)
    return Compose(first, Standardise.fit(first(x)[0]))


# %% slideshow={"slide_type": "subslide"}
ring = lt.datasets.make_toy("ring", width=0.3)
x, test = events_of(ring, p.n_train, p.seed), events_of(ring, 20_000, p.seed + 1000)
angle = lt.bijections.OnColumns([1], Quantile(-math.pi, math.pi))
rings = {"plain": Standardise.fit(x), "polar": behind(Polar(), angle, x=x)}
holes = {}
for name, coordinates in rings.items():
    lt.seed_everything(p.seed)
    flow = Flow(SplineCoupling, preprocess=coordinates, layers=4 if name == "plain" else 2)
    rings[name] = train(flow, steps=200, x=x)
    made = rings[name].sample(50_000)
    holes[name] = float((made.norm(dim=1) < 2.5).float().mean())
    gaps["ring, " + name], error = gap(rings[name], ring, test)
    print(f"{name:6s} gap {gaps['ring, ' + name]:.4f} +- {error:.4f} nats; "
          f"{100 * holes[name]:.3f}% of the samples have r < 2.5")  # fmt: skip
print(f"truth: {100 * float(ring.cdf(torch.tensor(2.5, dtype=real))):.6f}%")

# %% slideshow={"slide_type": "subslide"}
fig, panels = lt.plots.figure(columns=2, sharey=True)
for panel, (name, flow) in zip(panels, rings.items()):
    made = flow.sample(6000)
    panel.plot(made[:, 0], made[:, 1], ".", color=lt.plots.COLOURS[0], markersize=1.5)
    panel.set(xlabel="$x$ [1]", xlim=(-5.5, 5.5), ylim=(-5.5, 5.5))
    panel.set_aspect("equal")
    panel.set_title(f"{name} coordinates")
panels[0].set_ylabel("$y$ [1]")
lt.show(
    fig, "Samples of a ring: in plain coordinates a filament crosses ring or hole, in polar coordinates there is none"
)

# %% slideshow={"slide_type": "skip"}
# NBVAL_CHECK_OUTPUT
lt.verdict("gap of the ring in polar coordinates in nats", gaps["ring, polar"], ci=(0, 0.00335),
           laptop=(0, 0.00335), gpu=None, control={"plain coordinates": gaps["ring, plain"]}, floor=0.3)  # fmt: skip
x_polar = events_of(ring, 50, 7).double()
jacobian = torch.func.vmap(torch.func.jacrev(lambda row: Polar()(row[None])[0][0]))(x_polar)
print("log_det of the polar map is -2 log r:", torch.allclose(Polar()(x_polar)[1], torch.linalg.slogdet(jacobian)[1]))

# %% [markdown] slideshow={"slide_type": "skip"}
# *What you see.* In plain coordinates the flow leaves events inside the ring, where the truth has none, or thins the
# ring where it was cut: one or two samples in a thousand have $r < 2.5$, the truth has three in ten million. Polar
# coordinates are ten lines, need half the layers, and the gap in nats is about ten times smaller. At the LHC:
# $\Delta R > 0.4$ between two jets is such a hole, the peak of the $Z$ a narrow ridge across the momenta of its muons.
# [Tutorial 06a](../tutorials/06a_event_generation.ipynb) gives both their own coordinates.
#
# **The circle.** The angle of the polar map has lost something: $-\pi$ and $\pi$ are the same place, but the flow does
# not know it, and its density need not agree there. Splines can live *on* the circle (Rezende et al. 2020): keep the
# end points at $\pm\pi$, demand *equal slopes* at both, and use a flat base on $[-\pi, \pi]$ in place of the Gaussian.
# Then the density, here the slope over $2\pi$, goes around without a jump (a kink may stay, as at each knot). A network
# that looks at an angle should see $\cos\varphi$ and $\sin\varphi$, for the same reason.

# %% slideshow={"slide_type": "skip"}
# NBVAL_CHECK_OUTPUT
edge = math.pi - 1e-9
phi = torch.linspace(-edge, edge, 20_001, dtype=real)[:, None]
free = 2 * torch.randn(23, 1, 1, dtype=real, generator=generator)  # one spline of 8 bins
ends = {}
for name, factor in (("equal", 1.0), ("unequal", 2.0)):
    knots = [part.permute(1, 2, 0).expand(len(phi), 1, -1).clone() for part in spline_knots(free, math.pi)]
    knots[2][..., -1] *= factor  # the slope at the end
    density = spline(phi, *knots)[1].exp()[:, 0] / (2 * math.pi)  # flat base
    ends[name] = bool(abs(density[0] / density[-1] - 1) < 1e-4)
    print(f"{name} slopes: integral over the circle {torch.trapezoid(density, phi[:, 0]):.3f},",
          f"the same density on both sides of the cut: {ends[name]}")  # fmt: skip

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### Hard edges
#
# Momenta start at a cut; efficiencies and momentum fractions live between 0 and 1. A flow in plain coordinates smears
# the density across the wall: some of its events are unphysical, and just inside the density is too small. A map that
# opens the interval to the whole line puts the wall at infinity, exactly. The usual one is the **logit**,
#
# $$ z = \log\frac{u}{1 - u} , \qquad \frac{dz}{du} = \frac{1}{u(1 - u)} . $$
#
# A flat density becomes $u(1-u) \to e^{-|z|}$ for large $|z|$: tails that are exponential, where the base falls like
# $e^{-z^2/2}$. The layers have to bend them. The **quantile map** $z = \Phi^{-1}(u)$ above makes a flat density exactly
# Gaussian: nothing is left to learn at a flat edge. The toy is the wedge ramp, $p(x, y) = 2x$ on the unit square, with
# one wall where the density is largest.

# %% slideshow={"slide_type": "subslide"}
wedge = lt.datasets.make_toy("wedge_ramp")
x, test = events_of(wedge, p.n_train, p.seed), events_of(wedge, 20_000, p.seed + 1000)
maps = {"plain": Standardise.fit(x), "logit": behind(Logit(0.0, 1.0), x=x), "quantile": behind(Quantile(), x=x)}
walls = {}
for name, coordinates in maps.items():
    lt.seed_everything(p.seed)
    maps[name] = train(Flow(SplineCoupling, preprocess=coordinates, layers=2), steps=120, x=x)
    made = maps[name].sample(50_000)
    outside = float(((made < 0) | (made > 1)).any(1).float().mean())
    near = torch.tensor([[0.995, y] for y in torch.linspace(0.1, 0.9, 9).tolist()])
    with torch.no_grad():
        walls[name] = float(maps[name].log_prob(near).exp().mean()) / 1.99
    gaps["wedge, " + name], error = gap(maps[name], wedge, test)
    print(f"{name:9s} gap {gaps['wedge, ' + name]:.4f} +- {error:.4f} nats; {100 * outside:.2f}% outside; "
          f"density at x = 0.995 over truth {walls[name]:.2f}")  # fmt: skip

# %% slideshow={"slide_type": "skip"}
# NBVAL_CHECK_OUTPUT
lt.verdict("gap of the wedge ramp behind the quantile map in nats", gaps["wedge, quantile"], ci=(0, 0.00252),
           laptop=(0, 0.00252), gpu=None,
           control={"plain coordinates": gaps["wedge, plain"], "logit": gaps["wedge, logit"]}, floor=0.3)  # fmt: skip

# %% [markdown] slideshow={"slide_type": "skip"}
# Plain coordinates put some events outside, two or three per cent here, and only half as many as they should just
# inside. Behind a map none can be outside. The logit leaves exponential tails to be bent, the quantile map next to
# nothing: the gaps above are in this order.

# %% [markdown] slideshow={"slide_type": "fragment"}
# **Check yourself 2.** You preprocess pT by $z = \log(p_T/\mathrm{GeV} - 20)$, standardise, and train a flow on it.
# `flow.log_prob` is $-3.1$ at an event, with all Jacobians. You change the unit to TeV and train again, with equal
# success. What does `log_prob` say now?
#
# <details><summary>Answer</summary>
#
# $-3.1 + \log 1000 = 3.8$: a density per TeV is a thousand times one per GeV. Even the sign has changed. Only
# *differences* of log-densities at the same point, in the same units, mean something: gaps, ratios. A "loss of $-5$"
# alone says nothing about a flow.
# </details>

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 10. Bayesian flows, in a page
#
# Lecture 03 gave each weight a Gaussian and trained the ELBO. Nothing there asked for a *regression*: any likelihood
# will do, and a flow has one (Bellagente et al. 2021). Replace the linear maps of the coupling networks by Bayesian
# ones and train
#
# $$ L = -\frac1n \sum_i \big\langle \log p_w(x_i) \big\rangle_{w \sim q}
# + \frac1n\, \mathrm{KL}\big(q\,\|\,p(w)\big) . $$
#
# - **Draw weights, keep them fixed for all events**: each draw is one density, normalised to one.
# - The **prediction** is the mean over draws of $p_w(x)$, a density again. (Not the exponential of the
#   mean of $\log p_w$: by Jensen's inequality it integrates to less than one.)
# - Its **error** $\sigma(x)$ is the spread of $p_w(x)$ over draws, at each point of phase space. It is a *statistical*
#   error: it comes from the finite training sample, falls about like $1/\sqrt n$, and is correlated between points,
#   because each draw is normalised: $\int dx\, [p_w(x) - \langle p_w(x)\rangle_w] = 0$. More here is less there.
# - A deterministic generator made of few events can still make many. The error band says what these are worth: as much
#   as the training sample, plus what the smoothness of the network adds.
#
# **It cannot see bias.** All draws have the same layers, the same coordinates, the same filament and the same smeared
# edge. What they share does not spread. The band is the answer to "how would this flow look after other events of the
# same kind?", not to "how far is it from the truth?". [Tutorial 06b](../tutorials/06b_bayesian_flows.ipynb) shows both
# in numbers, on ramps where the right error is that of a fit with two parameters.

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 11. A classifier as judge
#
# For real events the true density is unknown. But we have true *samples*. Train a classifier $D(x)$ between true events
# (label 1) and as many generated ones (label 0), with the loss of lecture 04. Point by point it minimises
# $-p \log D - p_\theta \log(1 - D)$, whose derivative vanishes at
#
# $$ D(x) = \frac{p(x)}{p(x) + p_\theta(x)} , \qquad w(x) = \frac{D}{1 - D} = \frac{p(x)}{p_\theta(x)} . $$
#
# So the best classifier *is* the density ratio. Its uses: **(a)** one number, the area under its ROC curve, AUC(gen):
# 0.5 if nothing can tell the samples apart; **(b)** the distribution of $w$: tails show where the generator fails, $w
# \gg 1$ where events are missing, $w \ll 1$ where there are too many; **(c)** weights: generated events weighted by $w$
# follow the truth, if $p_\theta$ leaves nothing out; **(d)** a training signal.
#
# **The judge needs power.** AUC = 0.5 may mean: perfect generator. Or: poor classifier, wrong inputs, too few events.
# With $n$ events on each side the AUC of pure noise scatters by $1/\sqrt{6n}$. So plant a defect of known size, and see
# whether the judge finds it. Two defects in a two-dimensional Gaussian, judged by the *exact* ratio, which no
# classifier can beat: a shift of one feature by $\delta$, where AUC $= \Phi(\delta/\sqrt2)$; and a correlation $\rho$
# with untouched marginals.

# %% slideshow={"slide_type": "subslide"}
n_judge = 20_000
noise = 1 / math.sqrt(6 * n_judge)
truth = torch.randn(n_judge, 2, dtype=real, generator=generator)
judged, label = {}, torch.cat([torch.ones(n_judge), torch.zeros(n_judge)])
for delta in (0.01, 0.05, 0.2):
    spoiled = torch.randn(n_judge, 2, dtype=real, generator=generator) + torch.tensor([delta, 0.0], dtype=real)
    both = torch.cat([truth, spoiled])
    exact = float(torch.special.ndtr(torch.tensor(delta / math.sqrt(2), dtype=real)))
    judged[delta] = lt.metrics.auc(-both[:, 0], label), exact
    print(f"shift {delta:4.2f}: AUC {judged[delta][0]:.4f}, formula {exact:.4f}, noise {noise:.4f}")
rho = 0.3
spoiled = correlated(torch.full((n_judge, 1), rho), 11).double()
both = torch.cat([truth, spoiled])
c = torch.full((len(both), 1), rho, dtype=real)
log_ratio = exact_log_prob(both, 0 * c) - exact_log_prob(both, c)
sees_both, sees_one = (lt.metrics.auc(score, label) for score in (log_ratio, both[:, 0].abs()))
print(f"correlation {rho}: AUC {sees_both:.4f} for the ratio of both features, {sees_one:.4f} for a judge of one")

# %% slideshow={"slide_type": "skip"}
# NBVAL_CHECK_OUTPUT
print("AUC of the exact ratio follows the formula within 5 errors:",
      all(abs(found - exact) < 5 * noise for found, exact in judged.values()))  # fmt: skip
print("a shift of 0.01 is below three errors, one of 0.05 above:",
      judged[0.01][1] - 0.5 < 3 * noise < judged[0.05][1] - 0.5)  # fmt: skip
print("who sees one feature alone is blind to the correlation:", abs(sees_one - 0.5) < 5 * noise < sees_both - 0.5)

# %% [markdown] slideshow={"slide_type": "fragment"}
# **Check yourself 3.** A flow and its truth differ by $\delta(x) = p_\theta/p - 1$, small. What is AUC(gen) − ½ to
# first order, and how does it compare with the gap in nats?
#
# <details><summary>Answer</summary>
#
# AUC is the probability that a true event has a larger ratio $w = 1/(1 + \delta)$ than a generated one. Generated
# events are true ones with weights $1 + \delta'$, so it is the mean of $1 + \delta'$ over pairs of true events with
# $\delta < \delta'$. (Exchange both events and take the mean: $\mathrm{AUC} = \frac12 +
# \frac12\langle\max(\delta, \delta')\rangle$, and $\langle\delta\rangle = 0$.) Hence
# $\mathrm{AUC} - \frac12 = \frac14 \langle|\delta - \delta'|\rangle$, for a Gaussian
# $\delta$ of width $\sigma_\delta$: $\frac14 \cdot \frac{2}{\sqrt\pi}\, \sigma_\delta = 0.28\, \sigma_\delta$. The
# gap is $\frac12\sigma_\delta^2$. A gap of 0.005 nats is $\sigma_\delta = 10\%$ and AUC = 0.528. For a shift $\delta$
# of a Gaussian: gap $\delta^2/2$, and $\Phi(\delta/\sqrt2) - \frac12 \approx 0.28\, \delta$. It agrees.
# </details>

# %% [markdown] slideshow={"slide_type": "fragment"}
# **Check yourself 4.** Why does a flow of $d = 14$ features not need $d \times d$ derivatives per event, and what would
# a feature cost that is *exactly* determined by the others, such as the energy of a massless particle next to its three
# momenta?
#
# <details><summary>Answer</summary>
#
# Each layer's Jacobian is triangular, its determinant a sum of $s_i$ or log-slopes that the layer computes anyway. A
# determined feature puts all events on a surface: the true density is infinite on it and zero beside. The likelihood
# then grows without bound, slopes run to the limits of float32, and the rest is learned badly. Leave such features out
# and compute them afterwards.
# </details>

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 12. What can go wrong
#
# - **log_det with the wrong sign, or forgotten, or averaged.** The loss falls nicely. Integral or box test.
# - **Mean over the wrong axis**: $\log p$ is a *sum* over features and a mean over events. A mean over features divides
#   the Gaussian part by $d$ but not the log_det: $z$ gets the width $\sqrt d$, and samples are $\sqrt d$ too narrow.
# - **Preprocessing outside of the density.** The flow's density is then that of the transformed features. Put
#   every map into the flow, with its Jacobian.
# - **Comparing losses in different coordinates or units** (question 2).
# - **The same half in every layer** (section 7).
# - **Events outside of the spline's interval** go through as they are: standardise first, and look at the range.
# - **float32 at the end of an interval.** $u = 1 - 10^{-9}$ is 1 in float32, its logit infinite. Clamp, or cut.
# - **Discrete or determined features.** Their density does not exist. Make the count a condition, leave the determined
#   out.
# - **Holes, pieces, edges** (section 9). Look at the samples in the plane, not at histograms of each feature alone.
# - **Believing a small loss in the tail.** The likelihood is a mean over events: a tail with one event in a thousand
#   has a thousandth of the weight.
# - **AUC = 0.5 from a judge that was never tested** (section 11).
# - **Reading the Bayesian band as the distance to the truth** (section 10).

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 13. References
#
# - L. Dinh, D. Krueger, Y. Bengio, *NICE: non-linear independent components estimation*, arXiv:1410.8516: the coupling.
# - L. Dinh, J. Sohl-Dickstein, S. Bengio, *Density estimation using Real NVP*, arXiv:1605.08803: with a scale.
# - D. P. Kingma, P. Dhariwal, *Glow: generative flow with invertible 1x1 convolutions*, arXiv:1807.03039: learned
#   permutations between the layers.
# - C. Durkan, A. Bekasov, I. Murray, G. Papamakarios, *Neural spline flows*, arXiv:1906.04032; J. A. Gregory,
#   R. Delbourgo, *Piecewise rational quadratic interpolation to monotonic data*, IMA J. Numer. Anal. 2 (1982) 123.
# - G. Papamakarios et al., *Normalizing flows for probabilistic modeling and inference*, arXiv:1912.02762: the review.
# - D. J. Rezende et al., *Normalizing flows on tori and spheres*, arXiv:2002.02428: the circle.
# - R. Cornish et al., *Relaxing bijectivity constraints with continuously indexed normalising flows*, arXiv:1909.13833:
#   topology.
# - M. Bellagente et al., *Understanding event-generation networks via uncertainties*, arXiv:2104.04543: Bayesian flows.
# - A. Butter et al., *Generative networks for precision enthusiasts*, arXiv:2110.13632: Z with jets, weights from a
#   classifier, augmentation.
# - R. Das et al., *How to understand limitations of generative networks*, arXiv:2305.16774: tails of the weights.
#
# **Next:** [tutorial 06a](../tutorials/06a_event_generation.ipynb) generates Z with jets, and
# [tutorial 06b](../tutorials/06b_bayesian_flows.ipynb) asks how sure a density is of itself.
