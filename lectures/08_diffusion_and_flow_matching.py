# ---
# jupyter:
#   kernelspec: {display_name: Python 3 (ipykernel), language: python, name: python3}
#   lhcml: {title: "Diffusion and flow matching", kind: lecture, extras: [], gpu: false, minutes: {laptop: 1, gpu: 1}}
# ---

# %% [markdown] slideshow={"slide_type": "slide"}
# # 08 Diffusion and flow matching
#
# **Before you start:** the KL divergence and the ELBO of [lecture 03](03_bayesian_networks.ipynb), section 4; the
# change of variables $p(x) = p(z)\,|\det \partial z/\partial x|$ and the gap in nats of
# [lecture 06](06_invertible_networks.ipynb), sections 2 and 6. Partial derivatives, Gaussians.
#
# **Goal:** you can derive the loss of a diffusion model from a likelihood, and the loss of flow matching from the
# conservation of events; write both, their samplers, and the density of a flow by hand; say how many steps a solver
# needs, what crossing paths cost, and how to go from one distribution of events to another.
#
# **Time:** 40 minutes of reading. The code runs in less than half a minute on one CPU core, at every scale alike.

# %% slideshow={"slide_type": "skip"}
import math

import torch
from torch import nn

import lhcml_tutor as lt
from lhcml_tutor.layers import MLP

scale = lt.scale()
p = lt.parameters(n=20_000, steps=2000, seed=1)
generator = torch.Generator().manual_seed(p.seed)
real = torch.float64  # to compare with closed formulas

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 1. Why remove noise?
#
# We want a network that makes LHC events: $x$ are the momenta of a $Z$ and its jets, and we have a sample of them. The
# network gets random numbers and returns events with the right density $p(x)$.
#
# - A **GAN** (lecture 05) learns this against an opponent. There is no likelihood, and the two may never agree.
# - An **invertible network** (lecture 06) has a likelihood, but each layer must have an inverse and a cheap Jacobian.
#   The network is a chain of special layers, and cannot be any function we like.
#
# The idea of this lecture: *the way from events to noise is trivial*. Add a little noise to an event, and again, and
# again. After many steps nothing is left of it. If we could take one small step *back*, we could take all of them, and
# turn noise into events. A small step back is an easy thing to learn: it is a **regression**, with a squared error, for
# a network without any constraint. The price comes later: an event costs many evaluations of the network instead of
# one.
#
# Two ways to do it have become standard. *Diffusion* takes random steps in discrete time. *Flow matching* solves a
# differential equation in continuous time, and knows its density.

# %% [markdown] slideshow={"slide_type": "subslide"}
# **The toy.** One number per event, such as a jet mass, shifted and scaled to mean 0 and width 1: two peaks, like $W$
# and $Z$ in a detector that just separates them. All densities of this lecture can then be written down.


# %% slideshow={"slide_type": "subslide"}
weights, means, widths = torch.tensor([[0.65, 0.35], [-0.7, 1.3], [0.35, 0.25]], dtype=real)


def log_density(x, shrink=1.0, noise=0.0):
    """Return the log density of shrink * x_0 + noise * (a standard Gaussian), x_0 from the toy; x (n, 1) -> (n,)."""
    width = (shrink**2 * widths**2 + noise**2) ** 0.5
    return torch.logsumexp(
        weights.log() - width.log() - ((x - shrink * means) / width) ** 2 / 2 - math.log(2 * math.pi) / 2, 1
    )


def draw(n):
    """Return events of the toy, shape (n, 1)."""
    which = torch.multinomial(weights, n, replacement=True, generator=generator)
    return (means[which] + widths[which] * torch.randn(n, generator=generator, dtype=real))[:, None]


def distance(x):
    """Return the largest distance between the distribution functions of a sample (n, 1) and of the toy."""
    x = x.double().flatten().sort().values
    truth = torch.special.ndtr((x[:, None] - means) / widths) @ weights
    steps = torch.arange(len(x) + 1, dtype=real) / len(x)
    return float(torch.maximum((truth - steps[:-1]).abs(), (truth - steps[1:]).abs()).max())


train, test = draw(p.n), draw(p.n)
print(f"mean {train.mean():.3f}, width {train.std():.3f}")
print(f"{p.n} events of the toy itself are {distance(test):.4f} from it, 95% of such samples less than"
      f" {1.358 / math.sqrt(p.n):.4f}")  # fmt: skip

# %% [markdown] slideshow={"slide_type": "skip"}
# The last line is our judge of samples. It compares the fraction of events below $x$ with its true value, and quotes
# the largest difference (Kolmogorov and Smirnov). It also tells its own resolution: nine of ten perfect samples of this
# size are between 0.004 and 0.01 away. Would it see a defect? We ask it when we use it.

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 2. The forward chain
#
# > **Mind the direction of time.** In diffusion, $t = 0, 1, \dots, T$ counts *noise*: $x_0$ is an event, $x_T$ is
# > noise. In flow matching, from section 5 on, $t$ runs from 0 to 1, $x_0$ is noise and $x_1$ an event. Both are what
# > the literature does.
#
# One step shrinks the event a little, and adds a little noise:
#
# $$ x_t = \sqrt{1 - \beta_t}\ x_{t-1} + \sqrt{\beta_t}\ \epsilon_t , \qquad \epsilon_t \sim N(0, 1) . $$
#
# The factor $\sqrt{1-\beta_t}$ keeps the variance at 1, if it was 1: $(1 - \beta_t) + \beta_t = 1$. We choose the
# numbers $\beta_t$, the *schedule*, small but for the very last steps; nothing is learned here.
#
# **All steps at once.** Write $\alpha_t = 1 - \beta_t$. Two steps give
#
# $$ x_t = \sqrt{\alpha_t\alpha_{t-1}}\ x_{t-2} + \sqrt{\alpha_t (1 - \alpha_{t-1})}\ \epsilon_{t-1} +
# \sqrt{1 - \alpha_t}\ \epsilon_t . $$
#
# The two noises are independent Gaussians, so their sum is one, and their variances add:
# $\alpha_t - \alpha_t\alpha_{t-1} + 1 - \alpha_t = 1 - \alpha_t\alpha_{t-1}$. Again and again: with
# $\bar\alpha_t = \alpha_1 \alpha_2 \cdots \alpha_t$,
#
# $$ \boxed{\ x_t = \sqrt{\bar\alpha_t}\ x_0 + \sqrt{1 - \bar\alpha_t}\ \epsilon\ , \qquad
# q(x_t|x_0) = N\big(\sqrt{\bar\alpha_t}\ x_0,\ 1 - \bar\alpha_t\big)\ } $$
#
# We never have to run the chain: any $x_t$ is one line away from its event. What remains of the event is the ratio of
# signal to noise, $\bar\alpha_t/(1 - \bar\alpha_t)$. It falls with $t$, and at $t = T$ it must be so small that
# $q(x_T|x_0)$ is $N(0, 1)$, whatever $x_0$ was.

# %% slideshow={"slide_type": "subslide"}
T = 100
angle = torch.linspace(0.0125, math.acos(0.01), T + 1, dtype=real)
alpha_bar = (angle.cos() / angle[0].cos()) ** 2  # the cosine schedule, from 1 to 1e-4
alpha = torch.cat([torch.ones(1, dtype=real), alpha_bar[1:] / alpha_bar[:-1]])
beta = 1 - alpha

x = torch.linspace(-3.5, 3.5, 281, dtype=real)[:, None]
fig, (left, right) = lt.plots.figure(columns=2)
for i, t in enumerate((0, 10, 30, 60, 100)):
    shrink, noise = float(alpha_bar[t].sqrt()), float((1 - alpha_bar[t]).sqrt())
    look = {"color": lt.plots.COLOURS[i], "linestyle": lt.plots.LINES[i]}
    left.plot(x, log_density(x, shrink, noise).exp(), label=f"$t$ = {t}", **look)
left.set(xlabel="$x_t$ [1]", ylabel="density", xlim=(-3.5, 3.5), ylim=(0, 1.05))
left.legend(loc="upper right", fontsize=12)
path, steps = draw(6), [0]
for t in range(1, T + 1):
    path = torch.cat(
        [path, alpha[t].sqrt() * path[:, -1:] + beta[t].sqrt() * torch.randn(6, 1, generator=generator)], 1
    )
right.plot(range(T + 1), path.T, linewidth=1.0, linestyle="-")
right.plot(range(T + 1), alpha_bar, color="black", linestyle="--", label=r"$\bar\alpha_t$")
right.set(xlabel="step $t$", ylabel="$x_t$ [1]", xlim=(0, T), ylim=(-3.5, 3.5))
right.legend(loc="upper right", fontsize=12)
lt.show(fig, "The two peaks melt into a single Gaussian as noise is added; six events on their random way there")

# %% [markdown] slideshow={"slide_type": "skip"}
# *What you see.* Left, the density of $x_t$, by formula: the peaks of the toy widen, move together, and end as a
# Gaussian of width one. Right, six events on their way, and $\bar\alpha_t$ (dashed), the share of the variance that is
# still signal. This *cosine* schedule (Nichol, Dhariwal 2021) takes it down evenly. Theirs goes on to
# $\bar\alpha_T \approx 0$; we stop at $10^{-4}$, because what divides by $\sqrt{\bar\alpha_T}$ later must not explode.

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 3. One step back: the loss from a likelihood
#
# The step back that we need is $q(x_{t-1}|x_t)$. We do not know it: by Bayes' theorem it contains the density of the
# events. But *if we are told the event* $x_0$, it is a Gaussian that we can write down:
#
# $$ q(x_{t-1}|x_t, x_0) \propto q(x_t|x_{t-1})\ q(x_{t-1}|x_0) \propto
# \exp\left( - \frac{(x_t - \sqrt{\alpha_t}\ x_{t-1})^2}{2 \beta_t} -
# \frac{(x_{t-1} - \sqrt{\bar\alpha_{t-1}}\ x_0)^2}{2 (1 - \bar\alpha_{t-1})} \right) . $$
#
# Inverse variances add, as for the straight line of lecture 03. With
# $\alpha_t (1 - \bar\alpha_{t-1}) + \beta_t = 1 - \bar\alpha_t$,
#
# $$ \frac{1}{\tilde\beta_t} = \frac{\alpha_t}{\beta_t} + \frac{1}{1 - \bar\alpha_{t-1}}
# \quad\Rightarrow\quad \tilde\beta_t = \frac{1 - \bar\alpha_{t-1}}{1 - \bar\alpha_t}\ \beta_t , \qquad
# \tilde\mu_t = \tilde\beta_t \left( \frac{\sqrt{\alpha_t}}{\beta_t}\ x_t +
# \frac{\sqrt{\bar\alpha_{t-1}}}{1 - \bar\alpha_{t-1}}\ x_0 \right) . $$
#
# Replace the event by the noise that was added, $x_0 = (x_t - \sqrt{1 - \bar\alpha_t}\ \epsilon)/\sqrt{\bar\alpha_t}$.
# The terms with $x_t$ combine by the same identity, and what is left is simple:
#
# $$ \tilde\mu_t = \frac{1}{\sqrt{\alpha_t}} \left( x_t - \frac{\beta_t}{\sqrt{1 - \bar\alpha_t}}\ \epsilon \right) . $$
#
# The step back removes a bit of the noise, and rescales. The only unknown is $\epsilon$. So let a network predict it:
# $\epsilon_\theta(x_t, t)$, and take $p_\theta(x_{t-1}|x_t) = N(\mu_\theta, \tilde\beta_t)$ with $\epsilon_\theta$ in
# place of $\epsilon$.

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### Which loss?
#
# The likelihood of an event under the whole chain back is an integral over all ways to get there. As in lecture 03, a
# bound is enough; there the unknown was the weights, here it is the noisy versions $x_1, \dots, x_T$. By Jensen's
# inequality
#
# $$ -\log p_\theta(x_0) \le E_q\left[ -\log \frac{p_\theta(x_0, x_1, \dots, x_T)}{q(x_1, \dots, x_T|x_0)} \right] . $$
#
# The upper one is $p_\theta(x_0, \dots, x_T) = N(x_T; 0, 1) \prod_{t=1}^T p_\theta(x_{t-1}|x_t)$. Order the lower one
# backwards as well,
# $q(x_1, \dots, x_T|x_0) = q(x_T|x_0) \prod_{t=2}^T q(x_{t-1}|x_t, x_0)$, and the logarithm becomes a sum of KL
# divergences between Gaussians, step by step:
#
# $$ \begin{aligned} -\log p_\theta(x_0) \le&\
# \underbrace{\mathrm{KL}\big(q(x_T|x_0)\,\|\,N(0,1)\big)}_{\mathrm{nothing\ to\ learn}} -
# E_q\big[\log p_\theta(x_0|x_1)\big] \\
# &+ \sum_{t=2}^T E_q\Big[ \mathrm{KL}\big(q(x_{t-1}|x_t, x_0)\,\|\,p_\theta(x_{t-1}|x_t)\big) \Big] . \end{aligned} $$
#
# The KL of two Gaussians with the same variance is the squared distance of their means over twice the variance:
# $E_{N(\mu, s^2)}\big[\frac{(x - \mu')^2 - (x - \mu)^2}{2s^2}\big] = \frac{(\mu - \mu')^2}{2s^2}$. Hence
#
# $$ \mathrm{KL}_t = \frac{(\tilde\mu_t - \mu_\theta)^2}{2\tilde\beta_t}
# = \frac{\beta_t}{2\,\alpha_t\,(1 - \bar\alpha_{t-1})}\ \big( \epsilon - \epsilon_\theta(x_t, t) \big)^2 . $$
#
# *A likelihood, and it is a mean squared error.* Ho, Jain and Abbeel (2020) drop the factor in front. For their
# linear schedule it is largest for the first, tiny noises (for ours also for the last), where there is least to see:
#
# $$ \boxed{\ L = E_{t,\, x_0,\, \epsilon} \Big| \epsilon -
# \epsilon_\theta\big(\sqrt{\bar\alpha_t}\ x_0 + \sqrt{1 - \bar\alpha_t}\ \epsilon,\ t\big) \Big|^2\ } $$
#
# ($t = 1$ is special: $\tilde\beta_1 = 0$ since $\bar\alpha_0 = 1$, so there is no $\mathrm{KL}_1$, and
# $-\log p_\theta(x_0|x_1)$ needs a width of its own. The squared error stands for it as well.)
#
# Its minimum at each $t$ is the same, $\epsilon_\theta = E[\epsilon|x_t]$: a weight per step changes how a *finite*
# network and training share their effort. What we have left is no longer a bound on the likelihood.

# %% slideshow={"slide_type": "skip"}
# NBVAL_CHECK_OUTPUT
mean, variance = 0.9, 0.2  # of some events: follow both through the chain
for t in range(1, T + 1):
    mean, variance = float(alpha[t].sqrt()) * mean, float(alpha[t]) * variance + float(beta[t])
print("100 steps are the closed form:", abs(mean - 0.9 * float(alpha_bar[T].sqrt())) < 1e-12
      and abs(variance - float(0.2 * alpha_bar[T] + 1 - alpha_bar[T])) < 1e-12)  # fmt: skip
t, event, noisy, y = 40, 0.9, 0.3, torch.linspace(-4, 4, 8001, dtype=real)
log_q = -((noisy - alpha[t].sqrt() * y) ** 2) / (2 * beta[t])
log_q = log_q - (y - alpha_bar[t - 1].sqrt() * event) ** 2 / (2 * (1 - alpha_bar[t - 1]))
q = torch.softmax(log_q, 0)
epsilon = (noisy - alpha_bar[t].sqrt() * event) / (1 - alpha_bar[t]).sqrt()
mu = (noisy - beta[t] / (1 - alpha_bar[t]).sqrt() * epsilon) / alpha[t].sqrt()
beta_tilde = (1 - alpha_bar[t - 1]) / (1 - alpha_bar[t]) * beta[t]
print(f"a step back from 0.3 for the event 0.9: mean {mu:.5f}, width {beta_tilde.sqrt():.5f}")
moments = (q * y).sum(), (q * (y - mu) ** 2).sum()
print("the product of both Gaussians on a grid agrees:",
      bool(abs(moments[0] - mu) < 1e-8 and abs(moments[1] - beta_tilde) < 1e-8))  # fmt: skip

# %% [markdown] slideshow={"slide_type": "fragment"}
# **Check yourself 1.** The network gets $x_t$ and $t$. Could it reach $L = 0$? What does it predict for $t \to T$, what
# for $t \to 0$?
#
# <details><summary>Answer</summary>
#
# No. Many pairs of event and noise give the same $x_t$; the best it can do is their mean, $E[\epsilon|x_t]$, and the
# scatter of $\epsilon$ around it stays in the loss. At $t = T$ there is only noise, so $\epsilon = x_t$ is known, and
# the loss goes to 0. At $t \to 0$ the event hides the noise: $E[\epsilon|x_t] \to 0$, and the loss goes to the variance
# of $\epsilon$, which is 1 per feature. A loss that settles at 0.4 is not a bad loss, and its value says nothing about
# how good the samples are.
# </details>

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 4. Diffusion by hand
#
# The network sees the time as $t$, $\cos\pi k t$ and $\sin\pi k t$ for $k = 1, \dots, 4$, scaled to the interval from 0
# to 1: it has to be another function at each time, and this makes it easy.


# %% slideshow={"slide_type": "subslide"}
class TimeNetwork(nn.Module):
    """One number for each event from a point x (n, 1) and a time t (n,) between 0 and 1."""

    def __init__(self, frequencies=4):
        super().__init__()
        self.register_buffer("k", math.pi * torch.arange(1, frequencies + 1))
        self.mlp = MLP(2 + 2 * frequencies, 1, hidden=(32, 32, 32))

    def forward(self, x, t):
        angle = self.k.to(x) * t[:, None]
        return self.mlp(torch.cat([x, t[:, None], angle.cos(), angle.sin()], dim=1))


def diffusion_loss(model, batch):
    """Return the mean squared error of the predicted noise, at a random step for each event."""
    x_0 = batch["x"]  # (n, 1)
    t = torch.randint(1, T + 1, (len(x_0),), device=x_0.device)
    a = alpha_bar.to(x_0)[t][:, None]
    epsilon = torch.randn_like(x_0)
    x_t = a.sqrt() * x_0 + (1 - a).sqrt() * epsilon
    return (model(x_t, t / T) - epsilon).square().mean()


@torch.no_grad()
def denoise(noise_of, x):
    """Return events from noise x (n, 1), by T random steps back; noise_of(x, t) predicts the noise at step t."""
    for t in range(T, 0, -1):
        mean = (x - beta[t] / (1 - alpha_bar[t]).sqrt() * noise_of(x, t)) / alpha[t].sqrt()
        beta_tilde = (1 - alpha_bar[t - 1]) / (1 - alpha_bar[t]) * beta[t]
        x = mean + beta_tilde.sqrt() * torch.randn(x.shape, generator=generator, dtype=real)
    return x


# %% [markdown] slideshow={"slide_type": "subslide"}
# For our toy the best possible network is known. The mean of $\epsilon$ at fixed $x_t$ follows from
# $q(x_t) = \int dx_0\, p(x_0)\, q(x_t|x_0)$:
#
# $$ \nabla \log q(x_t) = \frac{1}{q(x_t)} \int dx_0\ p(x_0)\, q(x_t|x_0)\
# \frac{-(x_t - \sqrt{\bar\alpha_t}\, x_0)}{1 - \bar\alpha_t}
# = - \frac{E[\epsilon|x_t]}{\sqrt{1 - \bar\alpha_t}} . $$
#
# So a network that has learned the noise has learned the slope of the log density, the *score*, at every noise level.
# With the exact noise we see what 100 steps alone cost. With the network, what the training costs.


# %% slideshow={"slide_type": "subslide"}
def as_noise(network):
    """Return a function of float64 points and one step number."""
    return lambda x, t: network(x.float(), torch.full((len(x),), t / T)).double()


def exact_noise(x, t):
    """Return E[epsilon | x_t] of the toy: minus the noise's width times the slope of the log density."""
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        log_q = log_density(x, float(alpha_bar[t].sqrt()), float((1 - alpha_bar[t]).sqrt()))
        return -(1 - alpha_bar[t]).sqrt() * torch.autograd.grad(log_q.sum(), x)[0]


# %% slideshow={"slide_type": "subslide"}
data = {"x": train.float()}
lt.seed_everything(p.seed)
denoiser = TimeNetwork()
settings = {"batch_size": 512, "learning_rate": 2e-2, "progress": False}
untrained = denoise(as_noise(denoiser), torch.randn(2000, 1, generator=generator, dtype=real))
history = lt.fit(denoiser, diffusion_loss, data, steps=p.steps, **settings)
denoiser = denoiser.cpu()
start = torch.randn(p.n, 1, generator=generator, dtype=real)
diffused = {"exact noise": denoise(exact_noise, start), "network": denoise(as_noise(denoiser), start)}
moved = test.clone()
moved[: p.n // 10] = -0.7  # the defect: 10% of all events end up in the middle of the first peak
for name, sample in {**diffused, "untrained": untrained, "planted defect": moved}.items():
    print(f"{name:15s} distance from the toy {distance(sample):.4f}")

# %% slideshow={"slide_type": "skip"}
# NBVAL_CHECK_OUTPUT
shift, sample_size = abs(diffused["exact noise"].mean()), math.sqrt(p.n)
print("100 steps with the exact noise have the mean of the toy within 5 errors:", bool(shift < 5 / sample_size))
lt.verdict("distance of the diffusion samples from the toy", distance(diffused["network"]), ci=(0.00383, 0.0186),
           laptop=(0.00383, 0.0186), gpu=None, floor=0.3,
           control={"untrained": distance(untrained), "planted defect": distance(moved)})  # fmt: skip

# %% [markdown] slideshow={"slide_type": "skip"}
# The judge sees a defect of 10% of the events at 0.07, and the network is well below. How much of its distance is due
# to the steps? With the *exact* noise and 200,000 events we have measured 0.017, 0.008 and 0.005 for $T = 50$, 100
# and 200: the events come out too narrow, by 1.9%, 1.0% and 0.5%. The variance $\tilde\beta_t$ of a step back is that
# for a *known* event, and without it the step back is a little wider and not quite Gaussian. The smaller the steps, the
# less it matters. So a good part of the network's distance here is the price of 100 steps and the judge's own
# resolution: 20,000 perfect events are typically 0.006 away, give or take 0.002. More training would remove neither. A
# picture follows in section 9.

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 5. From steps to a flow: the continuity equation
#
# The steps back were random. They do not have to be. Ask for less: a *smooth motion* of points,
#
# $$ \frac{dx}{dt} = v(x, t) , $$
#
# such that a cloud of noise at $t = 0$ has become the cloud of events at $t = 1$. (Time is turned round from here on.)
# Which velocity does that? First, what does a velocity do to a density?
#
# Take any smooth function $f$ that vanishes far out. Its mean over the cloud changes because points move:
#
# $$ \int dx\ f\ \frac{\partial p}{\partial t} = \frac{d}{dt} E[f(x(t))] = E\big[\nabla f \cdot v\big]
# = \int dx\ p\, v \cdot \nabla f = - \int dx\ f\ \nabla\cdot(p\, v) . $$
#
# The last step is a partial integration. It holds for every $f$, so
#
# $$ \boxed{\ \frac{\partial p}{\partial t} + \nabla \cdot (p\, v) = 0\ } $$
#
# This is the **continuity equation**: events are neither made nor lost, what leaves a volume passes through its
# surface. It is the same equation as for charge in electrodynamics, with the current $p\,v$. Conversely, if a density
# and a smooth velocity fulfil it and points start with the density $p(x, 0)$, they have the density $p(x, t)$ ever
# after.

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 6. Flow matching: regress on straight lines
#
# We need a family of densities from noise to events, and a velocity that fits it. Make the family by *pairs*: draw a
# noise $x_0$ and an event $x_1$, and connect them by a straight line,
#
# $$ x_t = (1 - t)\, x_0 + t\, x_1 , \qquad \frac{dx_t}{dt} = x_1 - x_0 . $$
#
# At $t = 0$ the points $x_t$ are noise, at $t = 1$ events. In between they have some density $p(x, t)$. But there is no
# velocity *field* yet: through one point $x$ pass many lines, each with its own velocity. The claim (Lipman et al.,
# Albergo and Vanden-Eijnden, Liu et al., all 2022): **take their mean**,
#
# $$ \boxed{\ v(x, t) = E\big[\, x_1 - x_0 \,\big|\, x_t = x\, \big]\ } $$
#
# and it moves the density just the same. Proof: as above, with any $f$,
#
# $$ \frac{d}{dt} E[f(x_t)] = E\big[ \nabla f(x_t) \cdot (x_1 - x_0) \big]
# = E\Big[ \nabla f(x_t) \cdot E\big[x_1 - x_0 \big| x_t\big] \Big] = E\big[ \nabla f(x_t) \cdot v(x_t, t) \big] . $$
#
# The middle step averages first over all lines through the same point, where $\nabla f(x_t)$ is a fixed number. From
# here on it is the derivation of section 5, so $p$ and $v$ fulfil the continuity equation.

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### Why the regression finds it
#
# A mean at fixed $x_t$ is what a regression with squared error learns (lecture 01). Ideally we would minimise
# $L_\mathrm{FM} = E|v_\theta(x_t, t) - v(x_t, t)|^2$, but $v$ is what we do not know. What we have for each pair is
#
# $$ L_\mathrm{CFM} = E\, \big| v_\theta(x_t, t) - (x_1 - x_0) \big|^2 , $$
#
# *conditional* flow matching, conditional on the pair; $t$ is drawn evenly from 0 to 1. Insert $\pm v(x_t, t)$:
#
# $$ L_\mathrm{CFM} = E|v_\theta - v|^2 + 2\, E\big[ (v_\theta - v) \cdot \big(v - (x_1 - x_0)\big) \big] +
# E\big|v - (x_1 - x_0)\big|^2 . $$
#
# Average the middle term over all pairs with the same $x_t$ first: $v_\theta - v$ is fixed, and the mean of
# $v - (x_1 - x_0)$ is zero by the definition of $v$. So
#
# $$ \boxed{\ L_\mathrm{CFM} = L_\mathrm{FM} + \mathrm{const}\ , \qquad
# \mathrm{const} = E\Big[ \mathrm{Var}\big( x_1 - x_0 \big| x_t \big) \Big]\ } $$
#
# Same gradients, same minimum; and the constant, the spread of velocities where lines cross, tells how *noisy* these
# gradients are.

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### Everything in closed form: from one Gaussian to another
#
# Let $x_0 \sim N(0, 1)$ and $x_1 \sim N(m, s^2)$. Then $x_t$ and $x_1 - x_0$ are jointly Gaussian,
# $x_t \sim N(t m, \sigma_t^2)$ with
#
# $$ \sigma_t^2 = (1 - t)^2 + t^2 s^2 , \qquad \mathrm{Cov}(x_1 - x_0, x_t) = t s^2 - (1 - t)
# = \sigma_t\, \frac{d\sigma_t}{dt} . $$
#
# The mean of one Gaussian number given another is a straight line with slope covariance over variance:
#
# $$ v(x, t) = m + \frac{1}{\sigma_t} \frac{d\sigma_t}{dt}\ (x - t m) . $$
#
# So $\frac{d}{dt}\frac{x - tm}{\sigma_t} = 0$ along a trajectory, and the solution is $x(t) = t m + \sigma_t\, x_0$:
# *each point keeps its place in units of the standard deviation*. And the constant is
#
# $$ \mathrm{Var}(x_1 - x_0|x_t) = 1 + s^2 - \frac{(t s^2 - 1 + t)^2}{\sigma_t^2} = \frac{s^2}{\sigma_t^2}
# \quad\Rightarrow\quad \mathrm{const} = \int_0^1 dt\, \frac{s^2}{(1-t)^2 + t^2 s^2} = \frac{\pi}{2}\, s . $$
#
# (For the integral put $u = s\,t/(1 - t)$: it becomes $s \int_0^\infty du/(1 + u^2)$.)


# %% slideshow={"slide_type": "subslide"}
m, s = 2.0, 0.5


def gaussian_velocity(x, t):
    """Return the velocity of flow matching from N(0, 1) to N(m, s^2)."""
    return m + (t * s**2 - (1 - t)) / ((1 - t) ** 2 + t**2 * s**2) * (x - t * m)


fig, (left, right) = lt.plots.figure(columns=2, sharey=True)
x_0, t = torch.randn(40, generator=generator, dtype=real), torch.linspace(0, 1, 51, dtype=real)
x_1 = m + s * torch.randn(40, generator=generator, dtype=real)
left.plot(t, (1 - t[:, None]) * x_0 + t[:, None] * x_1, color=lt.plots.COLOURS[1], linewidth=0.8, linestyle="-")
flow = t[:, None] * m + ((1 - t) ** 2 + t**2 * s**2).sqrt()[:, None] * x_0
right.plot(t, flow, color=lt.plots.COLOURS[0], linewidth=0.8, linestyle="-")
for panel, name in ((left, "pairs"), (right, "flow")):
    panel.set(xlabel="time $t$", xlim=(0, 1), ylim=(-3.2, 4.0))
    panel.text(0.05, 0.9, name, transform=panel.transAxes)
left.set_ylabel("$x$ [1]")
lt.show(fig, "Straight lines between random pairs cross; the trajectories of the flow bend and never cross")

# %% [markdown] slideshow={"slide_type": "skip"}
# *What you see.* Left, what the training sees: straight lines between random partners, which cross. Right, what comes
# out: trajectories that bend and never cross, because a differential equation has one solution through each point. At
# each $t$ both clouds have the *same density*. Nobody who looks at one time can tell them apart.

# %% slideshow={"slide_type": "skip"}
# NBVAL_CHECK_OUTPUT
print(
    "v at (x, t) = (0, 0), (1, 0), (0, 1), (3, 1):", [gaussian_velocity(*at) for at in ((0, 0), (1, 0), (0, 1), (3, 1))]
)
n = 400_000
x_0, t = (torch.randn(n, generator=generator, dtype=real), torch.rand(n, generator=generator, dtype=real))
x_1 = m + s * torch.randn(n, generator=generator, dtype=real)
x_t = (1 - t) * x_0 + t * x_1


def agrees(numbers, value):
    return bool(abs(numbers.mean() - value) < 5 * numbers.std() / math.sqrt(len(numbers)))


squares = (x_1 - x_0 - gaussian_velocity(x_t, t)) ** 2
print("the loss of the exact velocity is pi s / 2 within 5 errors:", agrees(squares, math.pi * s / 2))
wrong = gaussian_velocity(x_t, t) + 0.3 * torch.sin(3 * x_t)
excess = (x_1 - x_0 - wrong) ** 2 - squares
print("a wrong velocity costs L_FM more, no less and no more:", agrees(excess - (0.3 * torch.sin(3 * x_t)) ** 2, 0.0))

# %% [markdown] slideshow={"slide_type": "fragment"}
# **Check yourself 2.** What is $v(x, 0)$, and what is $v(x, 1)$, for *any* events of mean $\bar x$ and noise $N(0, 1)$?
#
# <details><summary>Answer</summary>
#
# At $t = 0$, $x_t$ is the noise itself and knows nothing of its partner: $v = \bar x - x$. All points start towards the
# centre of all events. At $t = 1$, $x_t$ is the event, and the mean of its partner is 0: $v = x - 0 = x$. All points
# arrive moving outwards. In between, the direction is decided.
# </details>

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### Two dimensions, no training
#
# For a mixture of Gaussians the mean over lines is known as well: each component has the velocity above, weighted with
# the probability that $x_t$ belongs to it.

# %% slideshow={"slide_type": "subslide"}
explorer = lt.explorers.flow_matching.paths
lt.show(
    explorer.figures({"time": 0.5}, {"time": 0.9}, size=(9.2, 9.0)),
    "Points on their way from a round cloud to eight Gaussians, with the velocity field and the density at two times",
)

# %% [markdown] slideshow={"slide_type": "skip"}
# *What you see.* Left, the velocity field (arrows: the way in a tenth of the time), 80 points (black), where they
# started (small and grey), and how they came. Right, the density of the cloud at this time (grey), with the same
# points. At first everything contracts. The eight peaks come out of a ring, and late: at $t = 0.5$ there is hardly a
# sign of them.
#
# Try: (a) points on straight lines: how do the points change, how the density and the field? (b) the grid: when are the
# 25 peaks visible first? (c) time 0 and time 1: is the field what you found in question 2?

# %% tags=["explorer"] slideshow={"slide_type": "subslide"}
explorer.show()

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 7. Solving the equation: how many steps?
#
# To make an event, integrate $dx/dt = v$ from 0 to 1 in steps $h$. **Euler's** step $x + h\,v(x, t)$ follows the
# tangent. Compared with the Taylor series $x(t + h) = x + h\,v + \frac{h^2}{2} \frac{d^2x}{dt^2} + \dots$ it is wrong
# by order $h^2$ in each of the $1/h$ steps, so by order $h$ at the end. The **classical Runge-Kutta** method looks at
# the velocity four times in each step,
#
# $$ k_1 = v(x, t),\quad k_2 = v\big(x + \tfrac h2 k_1, t + \tfrac h2\big),\quad
# k_3 = v\big(x + \tfrac h2 k_2, t + \tfrac h2\big),\quad k_4 = v(x + h k_3, t + h) , $$
#
# $$ x(t + h) = x + \tfrac h6 \left( k_1 + 2 k_2 + 2 k_3 + k_4 \right) + O(h^5) . $$
#
# (For a $v$ that depends on $t$ alone this is Simpson's rule, with weights 1/6, 4/6, 1/6.) Wrong by order $h^4$ at the
# end: twice the steps, a sixteenth of the error.


# %% slideshow={"slide_type": "subslide"}
def euler(velocity, x, t_0, t_1, steps):
    """Follow dx/dt = velocity(x, t) from t_0 to t_1, forwards or backwards."""
    h = (t_1 - t_0) / steps
    for i in range(steps):
        x = x + h * velocity(x, t_0 + i * h)
    return x


def rk4(velocity, x, t_0, t_1, steps):
    """The same with four looks at the velocity in each step."""
    h = (t_1 - t_0) / steps
    for i in range(steps):
        t = t_0 + i * h
        k_1 = velocity(x, t)
        k_2 = velocity(x + h / 2 * k_1, t + h / 2)
        k_3 = velocity(x + h / 2 * k_2, t + h / 2)
        k_4 = velocity(x + h * k_3, t + h)
        x = x + h / 6 * (k_1 + 2 * k_2 + 2 * k_3 + k_4)
    return x


z = torch.linspace(-3, 3, 61, dtype=real)
counts, errors = [5, 10, 20, 40, 80], {"euler": [], "rk4": []}
for name, solve in (("euler", euler), ("rk4", rk4)):
    for n in counts:
        errors[name].append(float((solve(gaussian_velocity, z, 0.0, 1.0, n) - (m + s * z)).abs().max()))
    print(f"{name:6s}", "  ".join(f"{n} steps: {error:.1e}" for n, error in zip(counts, errors[name])))

# %% slideshow={"slide_type": "skip"}
# NBVAL_CHECK_OUTPUT
for name in errors:
    law = lt.metrics.power_law_fit(counts[2:], errors[name][2:])
    print(f"{name}: the error falls like steps^{law.exponent:.0f}")
there = rk4(gaussian_velocity, z, 0.0, 1.0, 100)
back = rk4(gaussian_velocity, there, 1.0, 0.0, 100)
print("there and back again: the largest change is below 1e-7:", bool((back - z).abs().max() < 1e-7))

# %% slideshow={"slide_type": "subslide"}
explorer = lt.explorers.flow_matching.solvers
lt.show(
    explorer.figures({"method": "euler", "steps": 5}, {"method": "rk4", "steps": 5}, size=(9.2, 9.0)),
    "Five Euler steps miss the ends of the trajectories, five Runge-Kutta steps hit them; the errors against the steps",
)

# %% [markdown] slideshow={"slide_type": "skip"}
# *What you see.* Left, trajectories in five steps (lines), where they end (crosses) and where they should (circles).
# Right, the mean distance between the two against the number of steps, for three methods. Euler's five steps miss by
# a good part of a peak's width, Runge-Kutta's by less than a line's. But a step of Runge-Kutta costs four evaluations
# of the network: count fairly before you judge.
#
# Try: (a) count evaluations instead of steps: from where on does Runge-Kutta win? (b) two moons, 2 steps of each
# method. (c) one step of Euler: where do all points end, and why?
#
# Solvers that choose their step sizes themselves estimate the error of each step by comparing two orders. With networks
# one mostly uses fixed steps, some twenty: all events of a batch go in step, and the error of the network is larger
# than that of the solver. *Check this once*: double the steps, and see what changes.

# %% tags=["explorer"] slideshow={"slide_type": "subslide"}
explorer.show()

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 8. The density of a flow
#
# A flow is an invertible map, whatever the network: run the time backwards. So it has a density, like the invertible
# networks of lecture 06, and instead of a determinant there is something simpler. Follow a point, and ask how the
# density *at this point* changes:
#
# $$ \frac{d}{dt} \log p(x(t), t) = \frac{1}{p} \left( \frac{\partial p}{\partial t} + v \cdot \nabla p \right)
# = \frac{1}{p} \big( - \nabla\cdot(p\,v) + v \cdot \nabla p \big) $$
#
# $$ \Rightarrow\quad \boxed{\ \frac{d}{dt} \log p(x(t), t) = - \nabla\cdot v\ } \qquad
# \log p(x_1) = \log N(x_0; 0, 1) - \int_0^1 dt\ \nabla\cdot v(x(t), t) . $$
#
# Where velocities diverge, the cloud gets thin. (Chen et al. 2018 call it the instantaneous change of variables: the
# Jacobian of one step is $1 + h\, \partial v/\partial x$, and the logarithm of its determinant
# $h\,\mathrm{tr}\,\partial v/\partial x$; no layer needs a special form.) To evaluate an event, integrate *backwards*
# from $x_1$ to its noise $x_0$, and carry the integral along as one more coordinate.
#
# For the Gaussians $\nabla\cdot v = \frac{d}{dt}\log\sigma_t$, the integral is $\log s$, and
# $\log p(x_1) = \log N(x_0; 0, 1) - \log s$: what it must be.

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### In many dimensions: Hutchinson's trick
#
# $\nabla\cdot v = \sum_i \partial v_i/\partial x_i$ needs $d$ derivatives, one for each feature. For the dozen
# numbers of an LHC event this is fine. For a calorimeter with thousands of cells, estimate it. Draw signs $e_i = \pm
# 1$ with equal odds. They are independent, so $E[e_i e_j] = \delta_{ij}$, and with the Jacobian $J_{ij} = \partial
# v_i/\partial x_j$
#
# $$ E\big[ e^T J\, e \big] = \sum_{ij} J_{ij}\, E[e_i e_j] = \mathrm{tr}\, J = \nabla\cdot v . $$
#
# $e^T J\, e$ is *one* directional derivative, at the price of about one evaluation, for any $d$ (Grathwohl et al.
# 2018). Since $e_i^2 = 1$ always, the diagonal adds no noise: the variance is $\sum_{i<j} (J_{ij} + J_{ji})^2$. The
# estimate of $\log p$ is unbiased, that of $p$ is not: $E[e^{\mathrm{noise}}] > 1$.


# %% slideshow={"slide_type": "subslide"}
def divergence(velocity, x, t):
    """Return the velocity (n, d) and its divergence (n,), one derivative for each feature."""
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        v = velocity(x, t)
        total = sum(torch.autograd.grad(v[:, i].sum(), x, retain_graph=True)[0][:, i] for i in range(x.shape[1]))
    return v.detach(), total


def flow_log_prob(velocity, x, steps=20):
    """Return the log density (n,) of events x (n, d): back to noise, with the integral of the divergence."""

    def both(state, t):
        v, div = divergence(velocity, state[:, :-1], t)
        return torch.cat([v, div[:, None]], dim=1)

    state = rk4(both, torch.cat([x, torch.zeros_like(x[:, :1])], dim=1), 1.0, 0.0, steps)
    noise, integral = state[:, :-1], state[:, -1]  # the integral of div v from 1 to 0
    return -0.5 * noise.square().sum(1) - x.shape[1] / 2 * math.log(2 * math.pi) + integral


# %% slideshow={"slide_type": "skip"}
# NBVAL_CHECK_OUTPUT
x = m + s * torch.linspace(-3, 3, 61, dtype=real)[:, None]
exact = torch.distributions.Normal(m, s).log_prob(x)[:, 0]
print("20 steps give the Gaussian's log density to 1e-4:",
      bool((flow_log_prob(gaussian_velocity, x) - exact).abs().max() < 1e-4))  # fmt: skip
print("60 steps to 1e-6:", bool((flow_log_prob(gaussian_velocity, x, steps=60) - exact).abs().max() < 1e-6))
J = torch.tensor([[1.0, 2.0], [3.0, 4.0]], dtype=real)
signs = torch.cartesian_prod(*[torch.tensor([-1.0, 1.0], dtype=real)] * 2)
estimates = ((signs @ J) * signs).sum(1)
print("Hutchinson for the matrix 1 2 / 3 4, all four signs:", estimates.tolist())
print(f"mean {estimates.mean():.0f} = trace, variance {estimates.var(correction=0):.0f} = (2 + 3)^2")

# %% [markdown] slideshow={"slide_type": "fragment"}
# **Check yourself 3.** A velocity field in the plane is $v = (-y, x)$. What does it do to a cloud of points, what to
# their density, and what does Hutchinson say?
#
# <details><summary>Answer</summary>
#
# It turns the cloud round the origin. $\nabla\cdot v = 0$: each point keeps the value of the density that it started
# with. $J$ has no diagonal, and $J_{xy} + J_{yx} = 0$, so each single estimate is exactly zero. To a *round* cloud
# nothing happens at all: adding a rotation to a velocity changes all trajectories, and no round density. In general
# any $w$ with $\nabla\cdot(p\,w) = 0$ may be added. The velocity that makes a given $p(x, t)$ is *not unique*; flow
# matching picks the one that belongs to the pairs.
# </details>

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 9. Flow matching by hand
#
# The same network as for diffusion, another target.


# %% slideshow={"slide_type": "subslide"}
def flow_loss(model, batch, sort=False):
    """Return the mean squared error of the velocity, at a random point of each pair's straight line."""
    x_1 = batch["x"]  # (n, 1)
    x_0 = torch.randn_like(x_1)
    t = torch.rand(len(x_1), device=x_1.device)
    if sort:  # section 10
        x_0, x_1 = x_0.sort(0).values, x_1.sort(0).values
    x_t = (1 - t[:, None]) * x_0 + t[:, None] * x_1
    return (model(x_t, t) - (x_1 - x_0)).square().mean()


def as_velocity(network):
    """Return a function of float64 points and one time."""
    return lambda x, t: network(x.float(), torch.full((len(x),), t)).double()


def exact_velocity(x, t):
    """Return E[x_1 - x_0 | x_t] of the toy; x (n, 1), one time t."""
    variance = (1 - t) ** 2 + t**2 * widths**2
    share = torch.softmax(weights.log() - 0.5 * variance.log() - (x - t * means) ** 2 / (2 * variance), dim=1)
    return (share * (means + (t * widths**2 - (1 - t)) / variance * (x - t * means))).sum(1, keepdim=True)


# %% slideshow={"slide_type": "subslide"}
lt.seed_everything(p.seed)
flow = TimeNetwork()
few = test[:5000]
differences = {"untrained": log_density(few[:1000]) - flow_log_prob(as_velocity(flow), few[:1000])}
history = lt.fit(flow, flow_loss, data, steps=p.steps, **settings)
flow = flow.cpu()
found = flow_log_prob(as_velocity(flow), few)
differences["trained"] = log_density(few) - found
with torch.no_grad():
    at_noise = rk4(as_velocity(flow), few, 1.0, 0.0, 20)
    flowed = rk4(as_velocity(flow), start, 0.0, 1.0, 20)
dropped = -0.5 * at_noise[:, 0] ** 2 - 0.5 * math.log(2 * math.pi)
differences["divergence dropped"] = log_density(few) - dropped
gaps = {name: float(numbers.mean()) for name, numbers in differences.items()}
for name, numbers in differences.items():
    error = float(numbers.std()) / math.sqrt(len(numbers))
    print(f"{name:19s} gap to the exact density {gaps[name]:.4f} +- {error:.4f} nats")
change = flow_log_prob(as_velocity(flow), few[:1000], steps=40) - found[:1000]
print(f"40 steps instead of 20 change log p by {change.abs().mean():.1e} nats on average")
t = torch.rand(100_000, 1, generator=generator, dtype=real)
noise, events = torch.randn(t.shape, generator=generator, dtype=real), draw(len(t))
points, target = (1 - t) * noise + t * events, events - noise
with torch.no_grad():
    velocities = exact_velocity(points, t), flow(points.float(), t[:, 0].float())
losses = [float((v - target).square().mean()) for v in velocities]
print(f"loss of the exact velocity {losses[0]:.3f}, of the network {losses[1]:.3f}")
bottom = torch.tensor([[0.35], [0.6]], dtype=real)
counted = ((flowed > bottom[0]) & (flowed < bottom[1])).double().mean()
wanted = float((torch.special.ndtr((bottom - means) / widths) @ weights).diff())
print(f"in the valley, 0.35 to 0.6: {100 * counted:.2f}% of the flow's samples, {100 * wanted:.2f}% of the toy")
print(f"distance of samples from the toy: flow {distance(flowed):.4f}, diffusion {distance(diffused['network']):.4f}")

# %% slideshow={"slide_type": "subslide"}
grid = torch.linspace(-2.6, 2.6, 261, dtype=real)[:, None]
density, exact = flow_log_prob(as_velocity(flow), grid).exp(), log_density(grid).exp()
fig, (left, right) = lt.plots.figure(columns=2)
bins = torch.linspace(-2.6, 2.6, 53).numpy()
for i, (name, sample) in enumerate({"diffusion": diffused["network"], "flow matching": flowed}.items()):
    left.hist(sample[:, 0].numpy(), bins=bins, density=True, histtype="step", linewidth=1.6, label=name,
              color=lt.plots.COLOURS[i], linestyle=("-", "--")[i])  # fmt: skip
left.plot(grid, exact, color="black", linewidth=1.2, linestyle="-", label="toy")
left.set(xlabel="$x$ [1]", ylabel="density", xlim=(-2.6, 2.6), ylim=(0, 1.05))
left.legend(loc="upper right", fontsize=12)
shown = exact > 0.003
ratio = torch.where(shown, density / exact, torch.nan)
right.plot(grid, ratio, color=lt.plots.COLOURS[1], linestyle="--", label="density of the flow")
right.axhline(1, color="black", linewidth=1.2, linestyle="-")
right.set(xlabel="$x$ [1]", ylabel="density over that of the toy", xlim=(-2.6, 2.6), ylim=(0.5, 10),
          yscale="log")  # fmt: skip
right.legend(loc="upper right", fontsize=12)
lt.show(
    fig,
    "Samples of both models follow the two peaks; the flow's density over the exact one: near one there, above between",
)

# %% slideshow={"slide_type": "skip"}
# NBVAL_CHECK_OUTPUT
middle = torch.linspace(0.2, 0.7, 101, dtype=real)[:, None]
expected = float(torch.trapezoid(flow_log_prob(as_velocity(flow), middle).exp(), middle[:, 0]))
counted = float(((flowed > 0.2) & (flowed < 0.7)).double().mean())
error = math.sqrt(expected * (1 - expected) / p.n)
print("samples and density of the flow agree on the valley within 5 errors:", abs(counted - expected) < 5 * error)
lt.verdict("gap of the flow to the exact density in nats", gaps["trained"], ci=(0, 0.00702), laptop=(0, 0.00702),
           gpu=None, control={name: gaps[name] for name in ("untrained", "divergence dropped")}, floor=0.3)  # fmt: skip
lt.verdict("distance of the flow's samples from the toy", distance(flowed), ci=(0.00647, 0.0133),
           laptop=(0.00647, 0.0133),
           gpu=None, floor=0.3,
           control={"untrained": distance(untrained), "planted defect": distance(moved)})  # fmt: skip

# %% [markdown] slideshow={"slide_type": "skip"}
# *What you see.* Left, 20,000 events from each of both models, and the density of the toy. Right,
# the density of the flow over the exact one, where that is above 0.003 (the peaks have 0.74 and 0.56). At the peaks it
# is right within about ten per cent. On the slopes and in the tails, where few events have been seen, it is off by tens
# of per cent. At the bottom of the valley there are too many, often twice as many: the thread of an invertible map
# (lecture 06, section 9). The gap in nats is a mean over events; the peaks dominate it.
#
# And look at the losses: the network's is within about a tenth of a per cent of the *best possible* one, which is far
# from zero. Nobody could read the gap from the loss alone.

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 10. Who is paired with whom
#
# Nothing in section 6 asked for independent pairs. $x_0$ must be noise and $x_1$ an event; *who goes with whom* is our
# choice. It changes the trajectories, and what they cost.
#
# **Crossing.** Independent lines cross, and where they cross the velocity is their mean, which is nobody's. That
# makes trajectories bend, so the solver needs steps, and it makes the targets noisy: the constant in
# $L_\mathrm{CFM}$. Give the two Gaussians of section 6 a correlation $\rho = \cos\theta$ between $x_0$ and $x_1$.
# Then $\sigma_t^2 = (1-t)^2 + t^2 s^2 + 2 \rho s\, t (1 - t)$, and the same steps as above give
#
# $$ \mathrm{const} = \int_0^1 dt\ \frac{s^2 (1 - \rho^2)}{\sigma_t^2} = s\ \theta \sin\theta . $$
#
# (Picture $\sigma_t$ as the length of a vector on its straight way from one of length 1 to one of length $s$, with
# the angle $\theta$ between them: the area swept is $\frac12 \int \sigma_t^2\, d\varphi = \frac12 s \sin\theta$ and
# $d\varphi = s \sin\theta\, dt/\sigma_t^2$, so $\int dt/\sigma_t^2 = \theta/(s \sin\theta)$.) For $\theta = \pi/2$
# this is $\pi s/2$ again. For $\theta \to 0$ it vanishes: $\sigma_t = 1 - t + t s$, all trajectories are straight,
# and *one Euler step is exact*.
#
# **Optimal transport** is the pairing with the least $E|x_1 - x_0|^2$. In one dimension it pairs in order: smallest
# with smallest. (Lines of two pairs that cross can be uncrossed, and this lowers the sum of squares.) In more
# dimensions one solves it within each batch (Tong et al. 2023), which is costly for large batches and only approximate
# for small ones; or one trains a flow, draws pairs of noise and event *from its own trajectories*, which do not cross,
# and trains again (*rectified flow*, Liu et al. 2022). With a condition $c$ sort only among equal $c$: else the noise
# depends on $c$, and at generation it does not.
#
# In one dimension we can just sort each batch.

# %% slideshow={"slide_type": "subslide"}
lt.seed_everything(p.seed)
sorted_flow = TimeNetwork()
history = lt.fit(sorted_flow, lambda model, batch: flow_loss(model, batch, sort=True), data, steps=p.steps, **settings)
sorted_flow = sorted_flow.cpu()
ends = {}
with torch.no_grad():
    for name, network in (("independent", flow), ("in order", sorted_flow)):
        for solver, steps in ((euler, 1), (euler, 2), (euler, 5), (rk4, 20)):
            ends[name, solver.__name__, steps] = distance(solver(as_velocity(network), start, 0.0, 1.0, steps))
            print(f"pairs {name:12s} {solver.__name__:6s} {steps:2d} steps: distance from the toy"
                  f" {ends[name, solver.__name__, steps]:.4f}")  # fmt: skip

# %% slideshow={"slide_type": "subslide"}
fig, panels = lt.plots.figure(columns=2, sharey=True)
lines, t = torch.linspace(-2.4, 2.4, 33, dtype=real)[:, None], torch.linspace(0, 1, 41)
for i, (panel, network, name) in enumerate(zip(panels, (flow, sorted_flow), ("independent pairs", "pairs in order"))):
    track = [lines]
    with torch.no_grad():
        for j in range(40):
            track.append(rk4(as_velocity(network), track[-1], j / 40, (j + 1) / 40, 1))
    panel.plot(t, torch.cat(track, 1).T, color=lt.plots.COLOURS[i], linewidth=0.9, linestyle="-")
    panel.set(xlabel="time $t$", xlim=(0, 1), ylim=(-2.6, 2.6))
    panel.text(0.04, 0.92, name, transform=panel.transAxes, bbox={"color": "white", "pad": 1})
panels[0].set_ylabel("$x$ [1]")
lt.show(fig, "Trajectories from noise to two peaks: bent for independent pairs, nearly straight for pairs in order")

# %% slideshow={"slide_type": "skip"}
# NBVAL_CHECK_OUTPUT
rho, n = 0.8, 400_000
x_0, t, other = (torch.randn(n, generator=generator, dtype=real) for _ in range(3))
t = torch.special.ndtr(t)  # uniform
x_1 = m + s * (rho * x_0 + math.sqrt(1 - rho**2) * other)
x_t, variance = (1 - t) * x_0 + t * x_1, (1 - t) ** 2 + t**2 * s**2 + 2 * rho * s * t * (1 - t)
v = m + (t * s**2 - (1 - t) + rho * s * (1 - 2 * t)) / variance * (x_t - t * m)
theta = math.acos(rho)
print(f"the constant s theta sin(theta): {s * theta * math.sin(theta):.4f} for rho = 0.8, {math.pi * s / 2:.4f} for 0")
print("400,000 pairs agree within 5 errors:", agrees((x_1 - x_0 - v) ** 2, s * theta * math.sin(theta)))
one_step = {name: ends[name, "euler", 1] for name in ("independent", "in order")}
lt.verdict("distance after one Euler step, pairs in order", one_step["in order"], ci=(0.0194, 0.0362),
           laptop=(0.0194, 0.0362),
           gpu=None, control={"independent pairs": one_step["independent"]}, floor=0.3)  # fmt: skip

# %% [markdown] slideshow={"slide_type": "skip"}
# *What you see.* The same start, nearly the same end, two ways in between. With independent pairs (left) all points
# first run to the centre, as in question 2, and the peaks separate late. One Euler step would stop there: all events
# at the same place. With pairs in order (right) the ways are nearly straight, and one step already makes both peaks.
# In one dimension the *map* from noise to events is the same for both, because it cannot change the order of points;
# in more dimensions it is another one.

# %% [markdown] slideshow={"slide_type": "fragment"}
# **Check yourself 4.** Someone trains flow matching and reports: "the loss fell from 2.0 to 1.4 and then stayed; the
# network is too small." What do you say?
#
# <details><summary>Answer</summary>
#
# That 1.4 may be the constant; for our toy it is (section 9). For a standardised feature the loss starts at
# $E(x_1 - x_0)^2 = 2$ (for a network that says 0), and for one Gaussian of width 1 it ends at $\pi/2 = 1.57$, with a
# *perfect* velocity. To see what the network misses, compare the loss with that of a larger network, or the samples,
# or the log-likelihood on test events. All the physics is in the last per cents of this loss.
# </details>

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 11. From one distribution of events to another
#
# Nothing in section 6 asked for noise at $t = 0$ either. Let $x_0$ be events of one kind and $x_1$ events of another:
# a fast simulation and a full one; on-shell top quarks, cheap to generate, and off-shell ones, dear. The same loss
# learns a velocity that carries one sample into the other: **direct diffusion** (Butter et al. 2023). With *pairs*, the
# same event in both, the way is short: the network learns only the difference, and edges and peaks stay. With
# independent pairs all points still go by the centre first (question 2), even if both samples are alike.
#
# Three remarks on what it does:
#
# - *Pairs are optional.* With any pairing, independent ones too, the samples at $t = 1$ have the right density. What is
#   better about true pairs, the same event in both simulations, is the constant above, and ways that are short.
# - *It is a deterministic map*, and a mean over pairs. If each $x_0$ has many possible partners $x_1$, as a parton has
#   many jets, the map does not sample $p(x_1|x_0)$: for the correlated Gaussians above it sends $x_0$ to the place of
#   the same rank, $m + s\, x_0$, with no scatter at all. For a conditional density start from noise and make $x_0$ the
#   *condition* (lecture 12).
# - *The density* of the result needs that of the start: section 8 gives only $\log p_1(x_1) - \log p_0(x_0)$, the
#   Jacobian of the map. That is no weight: a weight compares two densities at the same point.

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 12. How sure is the flow? Bayesian flow matching
#
# The loss is a regression, so everything of lecture 03 applies. Give each weight a Gaussian, and minimise
#
# $$ L = E_{w \sim q}\big[ L_\mathrm{CFM}(w) \big] + \frac{\lambda}{n}\, \mathrm{KL}\big(q(w)\,\|\,p(w)\big) . $$
#
# A set of weights is a velocity field, a velocity field is a density. Draw a few: each event $x$ gets a few values
# $\log p_w(x)$, each bin of a histogram a few heights, and their spread is the statistical uncertainty of the
# generator. One set of weights belongs to a *whole trajectory*: whoever draws new ones in every step averages over
# the posterior on the way, and sees hardly any spread.
#
# One warning. In lecture 03 the factor in front of the KL followed from a likelihood: $\lambda = 1$ where the loss is
# $-\log p(D|w)/n$. Here it does not. The squared error is that of a Gaussian whose width is the spread of crossing
# lines, $(x_1 - x_0 - v)^2/2\sigma^2$ with $\sigma^2 = \mathrm{Var}(x_1 - x_0|x_t)$, each event is used with new
# noise in every epoch, and $L_\mathrm{CFM}$ is not the log-likelihood of the events. So $\lambda$ is a choice, and
# the width of the posterior must be *calibrated*, with samples whose truth is known.

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 13. Which one?
#
# | | diffusion | flow matching | invertible network |
# | --- | --- | --- | --- |
# | network | any | any | special layers |
# | loss | noise, squared error | velocity, squared error | $-\log p$ |
# | time | steps, chosen before | continuous, chosen after | one pass |
# | an event costs | $T$ evaluations, fewer without noise | 20 to 100 | 1 |
# | $\log p$ of an event | only through its flow | the same steps, and $d$ derivatives or one random one | 1 |
# | start | Gaussian | any sample | any density |
#
# The two on the left are closer than they look. Without new noise in the steps back, a diffusion model is a solver of
# an ordinary differential equation as well (*DDIM*, Song, Meng, Ermon 2020): the same network, fewer steps, the same
# event each time. And for Gaussian noise a noise, a score and a velocity can be computed from each other: in
# $x_t = (1 - t)\,\epsilon + t\, x_1$ the velocity is $x_1 - \epsilon = (x_t - \epsilon)/t$. What differs is how the
# loss is weighted, which times are seen how often, and the steps.
#
# In two dimensions there is another point. An invertible network deforms a ball of noise with a smooth map of limited
# stretch; two moons stay connected by a thread. A flow has this problem as well, since it *is* invertible. A diffusion
# model with random steps does not.

# %% [markdown] slideshow={"slide_type": "fragment"}
# **Check yourself 5.** Events have a hard cut, $p_T > 20$ GeV. Where do you see it in a generated sample, and what do
# you do?
#
# <details><summary>Answer</summary>
#
# A smooth velocity cannot make an edge: some events leak below 20 GeV, and the density just above is too low. Move
# the edge to infinity before training: $z = \log(p_T/\mathrm{GeV} - 20)$, standardised, and back after sampling. No
# event can then fall below the cut. The density stays right in GeV with the Jacobian of this map, $\log p(p_T) = \log
# p(z) + \log|dz/dp_T|$. A narrow peak, such as $m_{\mu\mu}$, is treated in the same way: choose a coordinate in which
# it is wide.
# </details>

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 14. What can go wrong
#
# - **Time the wrong way round.** A diffusion paper's $t = 0$ is an event, a flow's is noise. Test with a Gaussian.
# - **Reading the loss.** It ends at a constant that is not zero, and the interesting part is small beside it. Judge
#   samples and likelihoods.
# - **Too few steps.** Double them once. Where $\log p$ is needed, check $\log p$, not only samples.
# - **The divergence forgotten, or with the wrong sign.** Samples look right, densities are wrong. Integrate over a box,
#   and count samples in it.
# - **A schedule that ends too early** ($\bar\alpha_T$ not small): the chain back starts from the wrong density. One
#   that ends at exactly 0: division by $\sqrt{\bar\alpha_T}$ turns a small error of the network into a large one.
# - **Bad coordinates.** Edges, narrow peaks, periodic angles: the squared error spends its effort where the numbers are
#   large. Standardise, open intervals, and make peaks wide.
# - **A mean of pairs taken for a draw.** Direct diffusion maps samples to samples; it does not smear.
# - **New weights in every step** of a Bayesian flow.
# - **An exponential of a noisy $\log p$.** Hutchinson is unbiased for $\log p$ only.
# - **Judging by eye.** Ask the judge first whether it sees a planted defect.

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 15. References
#
# - J. Sohl-Dickstein et al., *Deep unsupervised learning using nonequilibrium thermodynamics*, arXiv:1503.03585: where
#   diffusion models come from.
# - J. Ho, A. Jain, P. Abbeel, *Denoising diffusion probabilistic models*, arXiv:2006.11239: sections 2 to 4.
# - A. Nichol, P. Dhariwal, *Improved denoising diffusion probabilistic models*, arXiv:2102.09672: the cosine schedule.
# - J. Song, C. Meng, S. Ermon, *Denoising diffusion implicit models*, arXiv:2010.02502: steps back without noise.
# - Y. Song et al., *Score-based generative modeling through stochastic differential equations*, arXiv:2011.13456: the
#   score, and the flow of a diffusion model (section 13).
# - Y. Lipman et al., *Flow matching for generative modeling*, arXiv:2210.02747; M. S. Albergo, E. Vanden-Eijnden,
#   *Building normalizing flows with stochastic interpolants*, arXiv:2209.15571; X. Liu, C. Gong, Q. Liu, *Flow
#   straight and fast: learning to generate and transfer data with rectified flow*, arXiv:2209.03003: section 6, found
#   three times.
# - A. Tong et al., *Improving and generalizing flow-based generative models with minibatch optimal transport*,
#   arXiv:2302.00482: section 10.
# - R. T. Q. Chen et al., *Neural ordinary differential equations*, arXiv:1806.07366: the density of section 8.
# - W. Grathwohl et al., *FFJORD: free-form continuous dynamics for scalable reversible generative models*,
#   arXiv:1810.01367: Hutchinson's estimate.
# - A. Butter et al., *Jet diffusion versus JetGPT: modern networks for the LHC*, arXiv:2305.10475: diffusion, flow
#   matching and their Bayesian versions on $Z$ + jets.
# - A. Butter et al., *Kicking it off(-shell) with direct diffusion*, arXiv:2311.17175: from on-shell to off-shell tops.
#
# **Next:** all of this on $Z$ + jets, on one board ([tutorial 08a](../tutorials/08a_diffusion_board.ipynb)), and from
# on-shell to off-shell tops ([tutorial 08b](../tutorials/08b_direct_diffusion.ipynb)).
