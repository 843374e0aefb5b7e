# ---
# jupyter:
#   kernelspec: {display_name: Python 3 (ipykernel), language: python, name: python3}
#   lhcml: {title: "A fit that states its error", kind: lecture, extras: [], gpu: false, minutes: {laptop: 1, gpu: 1}}
# ---

# %% [markdown] slideshow={"slide_type": "slide"}
# # 02 A fit that states its error
#
# **Before you start:** [lecture 01](01_fitting.ipynb): from a Gaussian to the MSE, condition numbers, over- and
# underfitting. Bayes' theorem, and what a standard deviation is.
#
# **Goal:** you can derive a loss with which a network learns its own error bar, say what this error bar contains and
# what it cannot contain, judge it with pulls, coverage and likelihoods (and say how small a mistake your judge would
# see), and recognise and cure the ways in which its training goes wrong.
#
# **Time:** 40 minutes of reading. The code runs in about half a minute on one CPU core, at every scale alike.

# %% slideshow={"slide_type": "skip"}
import math
from itertools import pairwise

import numpy as np
import torch
from torch import nn

import lhcml_tutor as lt
from lhcml_tutor.explorers.fitting import resonance
from lhcml_tutor.explorers.uncertainty import unit_noise, unit_noise_log_prob
from lhcml_tutor.layers import MLP

scale = lt.scale()
p = lt.parameters(n=20_000, steps=800, seed=1)
generator = torch.Generator().manual_seed(p.seed)
real = torch.float64  # to compare with closed formulas

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 1. What a number without an error is worth
#
# A network looks at the cells of a calorimeter and says: this jet has 92 GeV. Does it come from the Z at 91 GeV? With
# an error of 5 GeV perhaps, with 20 GeV we have learned next to nothing. The same network says of an event that its
# amplitude is 3.7. May we use that instead of an hour of loop integrals? Only if the error is below that of the rest of
# the prediction, *at this point of phase space*. Two things are lost when the error is not known.
#
# **Precision.** Take two measurements $e_1, e_2$ of one energy with independent errors $\sigma_1, \sigma_2$, and
# combine them as $w e_1 + (1-w) e_2$. The variance $w^2\sigma_1^2 + (1-w)^2\sigma_2^2$ is smallest where its derivative
# $2w\sigma_1^2 - 2(1-w)\sigma_2^2$ vanishes:
#
# $$ w = \frac{1/\sigma_1^2}{1/\sigma_1^2 + 1/\sigma_2^2} , \qquad
# V_{best} = \frac{1}{1/\sigma_1^2 + 1/\sigma_2^2} , \qquad
# \frac{V_{plain}}{V_{best}} = \frac{(\sigma_1^2 + \sigma_2^2)^2}{4\, \sigma_1^2 \sigma_2^2} , $$
#
# where $V_{plain} = (\sigma_1^2 + \sigma_2^2)/4$ belongs to the plain mean, $w = \frac12$. The next cell puts in
# jets of which half are measured to 5%, and half, which hit a crack of the detector, to 20%.
#
# **Truth.** Who states an error that is too small finds things that are not there.

# %% slideshow={"slide_type": "fragment"}
# NBVAL_CHECK_OUTPUT
sharp, blunt = 0.05, 0.20
gain = (sharp**2 + blunt**2) ** 2 / (4 * sharp**2 * blunt**2)
print(f"jets of 5% and of 20%: plain mean over best mean, ratio of variances {gain:.2f}")
chance = {z: math.erfc(z / math.sqrt(2)) / 2 for z in (5, 5 / 1.5)}
print(f"5 standard deviations, one side: chance {chance[5]:.1e}")
print(f"the same with errors that are a third too small: chance {chance[5 / 1.5]:.1e}")

# %% [markdown] slideshow={"slide_type": "skip"}
# To know *which* jets are the good ones is worth 4.5 times the luminosity, where resolution is the error. And a
# discovery at five standard deviations with errors that are a third too small is one at 3.3, fifteen hundred times as
# likely to be a fluctuation.

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 2. Two kinds of error
#
# Train a network on a sample of $n$ points. Why is it not exactly right?
#
# | | **statistical** | **systematic** |
# | --- | --- | --- |
# | cause | the training sample is finite: another sample, another network | all that stays for $n \to \infty$ |
# | noise | taken for structure where points are few | is in every target, also in the next one |
# | network | weights that no point constrains | too small, or not trained to the end |
# | how to see it | other samples, or weights with a distribution: chapter 03 | what the fit leaves over: here |
# | with more data | falls | stays: a plateau |
#
# Three warnings about words.
#
# 1. In an analysis "statistical" means the finite number of *collisions*. Here it is the finite *training* sample.
# 2. Elsewhere you will read *aleatoric* (noise) and *epistemic* (ignorance). This cut is another one: a network that is
#    too small is ignorance, but no amount of data cures it.
# 3. Noise of the targets counts as systematic here. More data average it out *in the mean*, but each new target has it
#    again, and a network that predicts the spread of targets will find it.
#
# This lecture builds the systematic part, as far as the data can show it. If the *simulation* is wrong, all its events
# agree with each other, nothing is left over, and no loss of any kind can see it.

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 3. The loss, step by step
#
# **What we have.** Data $D = \{(x_i, f_i)\}$, $i = 1 \dots n$. The input $x_i$ is a point of phase space or a jet, the
# target $f_i$ a number: an amplitude, or a measured energy over the true one, with all the noise it may carry. (Lecture
# 01 called the target $y$ and the fit $f$. From here on $f$ is the target and $f_\theta$ the network, as in the papers;
# where the target is a logarithm we write $y$ again.)
#
# **What we want.** A network with weights $\theta$ that returns *two* functions, $f_\theta(x)$ and
# $\sigma_\theta(x) > 0$. Which weights? The most probable ones, given what we have seen. Bayes' theorem says
#
# $$ p(\theta|D) = \frac{p(D|\theta)\ p(\theta)}{p(D)} \qquad
# \text{(posterior = likelihood} \times \text{prior / evidence)} . $$
#
# Maximising it is minimising $-\log p(\theta|D) = -\log p(D|\theta) - \log p(\theta) + \log p(D)$. (We take the top
# of the posterior. Chapter 03 takes all of it.)
#
# 1. **The evidence** $p(D)$ does not know about $\theta$. Gone.
# 2. **Points are independent**, so that the likelihood is a product, its logarithm a sum. Where the points lie,
#    $p(x_i)$, does not depend on $\theta$ either: only $\sum_i \log p(f_i|x_i, \theta)$ is left.
# 3. **Each point is Gaussian, with its own width.** This is the one assumption about the noise (section 10 drops it):
#
# $$ p(f_i|x_i,\theta) = \frac{1}{\sqrt{2\pi}\ \sigma_\theta(x_i)}
# \exp\left( -\frac{|f_i - f_\theta(x_i)|^2}{2\,\sigma_\theta^2(x_i)} \right) . $$

# %% [markdown] slideshow={"slide_type": "subslide"}
# 4. **The prior** says before any data that each weight is Gaussian around zero with some width $\tau$:
#    $-\log p(\theta) = |\theta|^2/2\tau^2 + \mathrm{const}$.
#
# Divide by $n$, drop all constants:
#
# $$ \boxed{\ \mathcal L = \frac1n \sum_{i=1}^n \left[ \frac{|f_i - f_\theta(x_i)|^2}{2\,\sigma_\theta^2(x_i)}
# + \log \sigma_\theta(x_i) \right] + \frac{|\theta|^2}{2 n \tau^2}\ } $$
#
# This is the **heteroscedastic loss** (Greek: differently scattered). Read it term by term.
#
# - The first is the squared distance in units of the stated error. Alone, it is made small by $\sigma \to \infty$:
#   whoever claims nothing is never wrong.
# - The second is the price of claiming nothing. It comes from the normalisation of the Gaussian and punishes large
#   $\sigma$. The best compromise is an honest $\sigma$, as we show below.
# - The third is weight decay. In lecture 01 it had the factor $\lambda = \sigma^2/n\tau^2$ in front of the MSE: it
#   needed the noise. Now the noise is inside, the loss is in *nats* (natural logarithms of probabilities), and
#   $1/2n\tau^2$ is the prior and nothing else. (AdamW, which `lt.fit` uses, shrinks the weights *beside* Adam's step:
#   its `weight_decay` acts like this prior but is not equal to it. We leave it at zero: many points, small networks.)
#
# **The MSE is the special case** of one $\sigma$ for all points (lecture 01).

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### What it converges to
#
# Let the sample be infinite and the network free to choose both values at each $x$. Write $\bar f(x)$ for the mean of
# the targets at $x$ and $s^2(x)$ for their variance. The average of $|f - f_\theta|^2$ at this $x$ is
# $s^2 + (f_\theta - \bar f)^2$ (lecture 01, section 2), so that we minimise at each $x$
#
# $$ \bar L(f_\theta, \sigma_\theta) = \frac{s^2 + (f_\theta - \bar f)^2}{2\sigma_\theta^2} + \log\sigma_\theta . $$
#
# Whatever $\sigma_\theta$ is, $f_\theta = \bar f$ is best. Then
# $\partial\bar L/\partial\sigma_\theta = -s^2/\sigma_\theta^3 + 1/\sigma_\theta$ vanishes at $\sigma_\theta = s$. So
# **mean and standard deviation come out right for noise of any shape** that has a variance: the Gaussian is needed for
# the derivation, not for the result. What remains of the first term is then $\frac12$, at each $x$. Keep this number in
# mind. A training whose average of $|f - f_\theta|^2/2\sigma_\theta^2$ is not $\frac12$ has not arrived. (The reverse
# is not true: a starved mean and an overfitted $\sigma$ have $\frac12$ on the training sample, too; section 9.)

# %% [markdown] slideshow={"slide_type": "fragment"}
# **Check yourself 1.** You change the unit of the targets from GeV to MeV. What happens to the MSE, to the
# heteroscedastic loss, and to their minima? A colleague reports a loss of $-2.1$; is that better than your $+4.7$?
#
# <details><summary>Answer</summary>
#
# $f$, $f_\theta$ and $\sigma_\theta$ grow by 1000. The MSE grows by $10^6$. In $\mathcal L$ the first term stays, the
# second grows by $\log 1000 = 6.9$: a constant. Neither minimum moves. The colleague with $-2.1$ in GeV would have
# $+4.8$ in MeV: yours is better, by 0.1, if yours is in MeV. A log-likelihood of a continuous quantity has no
# meaning without its unit; *differences* in the same unit have one.
# </details>

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 4. Why a network predicts the logarithm of sigma
#
# Let the second output be $\ell_\theta = \log\sigma_\theta$. Take one point with residual $r = f - f_\theta$ and
# differentiate $L = \frac12 r^2 e^{-2\ell} + \ell$:
#
# $$ \frac{\partial L}{\partial \ell} = 1 - \frac{r^2}{\sigma^2} , \qquad
# \frac{\partial^2 L}{\partial \ell^2} = \frac{2 r^2}{\sigma^2} \ge 0 , \qquad
# \frac{\partial L}{\partial f_\theta} = -\frac{r}{\sigma^2} . $$
#
# **The fixed point.** On average the first gradient vanishes where $E[1 - r^2/\sigma^2] = 0$, that is at
#
# $$ \sigma_\theta^2 = E\big[ |f - f_\theta|^2 \big] , $$
#
# over all points that share this value of $\sigma_\theta$. *Whatever* the mean does not explain goes into $\sigma$.
#
# **Why the logarithm?**
#
# - It is positive for any output, and a $\sigma$ over decades becomes an output of order one.
# - It has one stiffness everywhere: at the fixed point the second derivative is 2, for a large $\sigma$ as for a small
#   one. Had we predicted $\sigma$ itself, it would be $3r^2/\sigma^4 - 1/\sigma^2$, on average $2/\sigma^2$ at the
#   fixed point, and *negative* where $r^2 < \sigma^2/3$. A resolution that varies by a factor of 6 would give a
#   condition number of 36 (lecture 01, section 4).

# %% [markdown] slideshow={"slide_type": "subslide"}
# **How well can $\sigma$ be known?** The inverse of the second derivatives of $-\log p$ is the covariance (lecture 01,
# section 4). The mixed one, $2r/\sigma^2$, averages to zero. So from $m$ points that share one $\sigma$ and one mean
#
# $$ \text{error of } \log\sigma = \frac{1}{\sqrt{2m}} , \qquad
# \text{error of the mean} = \frac{\sigma}{\sqrt m} . $$
#
# An error bar good to 5% needs 200 points *of each kind*. (This is for Gaussian noise; with tails it is more, section
# 8.)
#
# **The mean** gets the third formula above. Its stiffness is $1/\sigma^2$: precise points pull hardest, as they should
# (section 1). But here no logarithm makes the stiffness equal. This is where section 9 finds trouble.

# %% slideshow={"slide_type": "skip"}
# NBVAL_CHECK_OUTPUT
for sigma in (0.01, 1.0, 100.0):
    residual = sigma * torch.tensor([0.2, -1.0, 1.4], dtype=real)
    ell = residual.square().mean().log().div(2).requires_grad_()  # sigma^2 = mean of r^2
    loss = (0.5 * residual**2 * torch.exp(-2 * ell) + ell).mean()
    (gradient,) = torch.autograd.grad(loss, ell, create_graph=True)
    (curvature,) = torch.autograd.grad(gradient, ell)
    first = float((residual**2 * torch.exp(-2 * ell.detach()) / 2).mean())
    print(f"sigma ~ {sigma:g}: gradient is 0: {abs(gradient.item()) < 1e-12}, curvature {curvature.item():.6f}, "
          f"first term {first:.6f}")  # fmt: skip

# %% [markdown] slideshow={"slide_type": "fragment"}
# **Check yourself 2.** A calibration has 100,000 jets, evenly spread over 50 cells of energy and rapidity. How well is
# the resolution known in a cell? And the mean response there, if the resolution is 10%? Which of the two do you expect
# to limit a fit that uses the error bars as weights?
#
# <details><summary>Answer</summary>
#
# $m = 2000$ jets a cell: $\sigma$ to $1/\sqrt{4000} = 1.6\%$ of itself, the mean to $0.10/\sqrt{2000} = 0.22\%$. A
# weight that is wrong by 3% (twice 1.6%) costs next to nothing: $V$ is at its minimum in $w$, so the loss is
# quadratic. The mean response enters directly. Error bars may be rough, as weights; as *claims* they may not.
# </details>

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 5. A calorimeter learns its own resolution
#
# A toy where everything is known. A hadron calorimeter sees of a jet with energy $E$ the fraction
#
# $$ \bar f(E) = 1 - \frac12 \left( \frac{E}{1\,\mathrm{GeV}} \right)^{-0.2} , \qquad
# s(E) = \frac{0.8\,\sqrt{\mathrm{GeV}}}{\sqrt{E}} \oplus \frac{2\,\mathrm{GeV}}{E} \oplus 0.03 , $$
#
# where $a \oplus b = \sqrt{a^2 + b^2}$. The mean response rises with energy, because a growing part of the shower is
# electromagnetic. The width has the three terms of every calorimeter: fluctuations of the number of shower particles,
# electronic noise, and a constant from what is not uniform. Energies are from 20 GeV to 2 TeV, evenly in $\log E$. From
# end to end the width falls by a factor of six. Simulation knows the true energy, so this *is* how one starts in an
# experiment, apart from the formulas, which nobody has. (A calibration goes the other way, from the seen to the true
# energy. Its loss is the same, but its answer also depends on the spectrum of the training sample: tutorial 03b.)


# %% slideshow={"slide_type": "subslide"}
def response(energy):
    """Return the mean of seen over true energy [GeV]."""
    return 1 - 0.5 * energy**-0.2


def resolution(energy):
    """Return the standard deviation of seen over true energy [GeV]."""
    return (0.8**2 / energy + 2.0**2 / energy**2 + 0.03**2).sqrt()


def simulate(n, kind="Gaussian"):
    """Return log10 of energies in GeV, targets, and the noise in units of its width, each (n, 1)."""
    x = math.log10(20) + 2 * torch.rand(n, 1, dtype=real, generator=generator)
    t = unit_noise(kind, n, generator)
    return x, response(10**x) + resolution(10**x) * t, t


x_train, f_train, _ = simulate(p.n)
x_test, f_test, _ = simulate(20_000)
shift = {"x": x_train.mean(), "f": f_train.mean()}
width = {"x": x_train.std(), "f": f_train.std()}


def scaled(name, values):
    """Return x or f shifted and scaled by the training sample, in the network's float32."""
    return ((values - shift[name]) / width[name]).float()


# %% [markdown] slideshow={"slide_type": "subslide"}
# The loss is two lines. `lt.fit` adds up named terms, and keeps each of them for us to look at.


# %% slideshow={"slide_type": "fragment"}
def gaussian_loss(network, batch):
    """Return the two terms of the heteroscedastic loss; batch: x (n, d), f (n, 1); network: (n, 2)."""
    mean, log_sigma = network(batch["x"]).chunk(2, dim=1)
    pull = (batch["f"] - mean) * torch.exp(-log_sigma)
    return {"half the squares": pull.square().mean() / 2, "log sigma": log_sigma.mean()}


def mse_loss(network, batch):
    """Return the mean squared error of the first output."""
    return (network(batch["x"])[:, :1] - batch["f"]).square().mean()


def train(loss, x, f, outputs=2, hidden=(32, 32), seed=p.seed, steps=p.steps, **settings):
    """Train a network on scaled x, f (n, 1); return it and its history."""
    torch.manual_seed(seed)
    network = MLP(x.shape[1], outputs, hidden=hidden)
    settings = {"batch_size": 512, "learning_rate": 5e-3, "progress": False, **settings}
    history = lt.fit(network, loss, {"x": x, "f": f}, steps=steps, **settings)
    return network.cpu(), history


def predict(network, x):
    """Return f_theta and sigma_theta at x, in the unit of the target, each (n, 1)."""
    with torch.no_grad():
        mean, log_sigma = network(scaled("x", x)).double().chunk(2, dim=1)
    return shift["f"] + width["f"] * mean, width["f"] * log_sigma.exp()


calibration, history = train(gaussian_loss, scaled("x", x_train), scaled("f", f_train))
plain, _ = train(mse_loss, scaled("x", x_train), scaled("f", f_train), steps=p.steps // 2)

# %% slideshow={"slide_type": "subslide"}
grid = torch.linspace(math.log10(20), math.log10(2000), 201, dtype=real)[:, None]
energy, truth, s = 10**grid, response(10**grid), resolution(10**grid)
mean, sigma = predict(calibration, grid)
plain_mean, _ = predict(plain, grid)
constant = float((f_train - predict(plain, x_train)[0]).square().mean().sqrt())  # the sigma that belongs to the MSE


def rms(values):
    return float(values.square().mean().sqrt())


print(f"sigma_theta against s, rms of the relative deviation: {100 * rms(sigma / s - 1):.2f}%")
print(f"constant sigma of the MSE, the same:                  {100 * rms(constant / s - 1):.0f}%")
for name, curve in {"heteroscedastic": mean, "MSE": plain_mean}.items():
    parts = [100 * rms(((curve - truth) / s)[part]) for part in (slice(0, 100), slice(100, None))]
    print(f"mean of {name:15s} off by {parts[0]:.1f}% of s below 200 GeV, by {parts[1]:.1f}% above")

# %% slideshow={"slide_type": "subslide"}
blue, orange, green, pink, *_ = lt.plots.COLOURS
fig, (left, right) = lt.plots.figure(columns=2)
left.plot(10 ** x_train[:800], f_train[:800], "o", color="0.6", markersize=2, zorder=1)
left.fill_between(energy[:, 0], (mean - sigma)[:, 0], (mean + sigma)[:, 0], color=blue, alpha=0.35, linewidth=0)
left.plot(energy, mean, color=blue, linestyle="-", label=r"network $f_\theta \pm \sigma_\theta$")
for sign in (1, -1):
    label = r"truth $\bar f \pm s$" if sign > 0 else None
    left.plot(energy, truth + sign * s, color=orange, linestyle="--", label=label)
left.set(
    xlabel="true energy $E$ [GeV]", ylabel="seen / true energy [1]", xscale="log", xlim=(20, 2000), ylim=(0.2, 1.3)
)
left.legend(loc="lower right")
right.plot(energy, sigma, color=blue, linestyle="-", label=r"network $\sigma_\theta$")
right.plot(energy, s, color=orange, linestyle="--", label="truth $s$")
right.axhline(constant, color=green, linestyle="-.", label="root of the MSE")
right.set(xlabel="true energy $E$ [GeV]", ylabel="width [1]", xscale="log", yscale="log", xlim=(20, 2000))
right.set_yticks([0.03, 0.05, 0.1, 0.2], ["0.03", "0.05", "0.1", "0.2"])
right.yaxis.set_minor_formatter("")
right.legend(loc="upper right")
lt.show(
    fig, "Left: response of jets with the learned band on the true one. Right: learned width falls like the true one"
)

# %% [markdown] slideshow={"slide_type": "skip"}
# *What you see.* Left, a few of the jets, the network's band and the true one: they lie on each other. Right, the width
# alone, over a factor of six. Nobody told the network about square roots of energies. It is right to one or two per
# cent. Section 4 says what to expect: if fitting $\log\sigma$ took $k$ effective parameters, its rms error is
# $\sqrt{k/2n}$; 1.3% from 20,000 jets is what seven parameters would have.
#
# The MSE knows one number for all jets, half of what it should be at 20 GeV and almost three times too large at 2 TeV.
# Its *mean* is as good as ours, off by 0.9% and 1.3% of $s$ against 1.4% and 1.0%: a smooth curve through 20,000 jets
# is well known with any weights. What it lacks is the error.

# %% slideshow={"slide_type": "skip"}
# NBVAL_CHECK_OUTPUT
lt.verdict("rms deviation of sigma from the true width", rms(sigma / s - 1),
           ci=(0, 0.024), laptop=(0, 0.024), gpu=None, floor=0.5,
           control={"constant sigma of the MSE": rms(constant / s - 1)})  # fmt: skip
lt.verdict("rms deviation of the mean in units of the width", rms((mean - truth) / s),
           ci=(0, 0.026), laptop=(0, 0.026), gpu=None, floor=0.5,
           control={"bias of a tenth of the width": rms((mean - truth) / s - 0.1)})  # fmt: skip

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### One half
#
# Section 3 promised that the first term of the loss ends at $\frac12$. `lt.fit` has kept both terms.

# %% slideshow={"slide_type": "subslide"}
expected = float((s / width["f"]).log().mean())
blocks = np.unique(np.geomspace(1, p.steps, 40).astype(int))
fig, panels = lt.plots.figure(columns=2)
for panel, (name, values) in zip(panels, history.terms.items()):
    panel.plot(history.steps, values, color=blue, linestyle="-", linewidth=0.8, alpha=0.4, label="batches")
    means = [values[i:j].mean() for i, j in pairwise(blocks)]
    panel.plot((blocks[:-1] + blocks[1:] - 1) / 2 + 1, means, color=blue, linestyle="-", label="their means")
    level, label = (0.5, r"$\frac{1}{2}$") if name == "half the squares" else (expected, r"$\langle \log s \rangle$")
    panel.axhline(level, color="black", linewidth=1.4, linestyle=":", label=label)
    panel.set(xlabel="training steps", xscale="log", xlim=(1, p.steps))
    panel.legend(loc="upper right", fontsize=12)
panels[0].set(ylabel=r"$\langle\, |f - f_\theta|^2 / 2 \sigma_\theta^2 \,\rangle$", ylim=(0, 1))
panels[1].set(ylabel=r"$\langle \log \sigma_\theta \rangle$", ylim=(-0.7, 0.4))
lt.show(fig, "The two terms of the loss against training steps: the squares settle at one half")

# %% slideshow={"slide_type": "skip"}
# NBVAL_CHECK_OUTPUT
last = history.terms["half the squares"][-300:].mean()
print("at the end half the squares are 1/2 within 0.02:", bool(abs(last - 0.5) < 0.02))

# %% [markdown] slideshow={"slide_type": "skip"}
# *What you see.* Left: the network starts with some random $\sigma_\theta$ of order one. After a few tens of steps
# $\sigma_\theta$ has found the size of the residuals, overshoots, and the squares stay at $\frac12$, with the scatter
# of batches of 512 jets. Right: $\log\sigma_\theta$ (of scaled targets) settles at the true average. The first panel
# needs no truth: look at it in every training.

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 6. What sigma means
#
# From section 3: at the fixed point, for one $x$ or for a group of $x$ that the network cannot tell apart,
#
# $$ \sigma_\theta^2 = \underbrace{\langle s^2 \rangle}_{\text{noise}} +
# \underbrace{\langle (f_\theta - \bar f)^2 \rangle}_{\text{misfit}} , $$
#
# averaged over the group.
#
# $\sigma_\theta$ is *everything the mean does not explain*: the noise in the data, and what the network cannot
# represent, or has not learned yet. Let us give exact targets $\bar f$ an artificial noise $\sigma_{train}$. If the
# mean stays the same, the misfit does, and
#
# $$ \sigma_{syst}^2 = \sigma_{syst,0}^2 + \sigma_{train}^2 , $$
#
# where $\sigma_{syst,0}$ is what was left at zero noise. Plot $\sigma^2$ against $\sigma_{train}^2$: a line of slope
# one, and its intercept is the *squared* error of the surrogate. Tutorial 02a tests this sum of squares with
# amplitudes.
#
# Here is a case by hand. Fit a *straight line* $a + bx$ to the parabola $\bar f = x^2$, with $x$ uniform in $(-1, 1)$,
# and one $\sigma$ for all. The best line is the constant $a = E[x^2] = \frac13$, and
#
# $$ \sigma_{syst,0}^2 = E\Big[ \big(x^2 - \tfrac13\big)^2 \Big] = \frac15 - \frac19 = \frac{4}{45} = (0.298)^2 . $$


# %% slideshow={"slide_type": "subslide"}
class Line(nn.Module):
    """A line with one width for all points: x (n, 1) -> mean and log sigma, (n, 2)."""

    def __init__(self):
        super().__init__()
        self.line = nn.Linear(1, 1)
        self.log_sigma = nn.Parameter(torch.zeros(1))

    def forward(self, x):
        return torch.cat([self.line(x), self.log_sigma.expand(len(x), 1)], dim=1)


x = 2 * torch.rand(p.n, 1, dtype=real, generator=generator) - 1
epsilon = torch.randn(p.n, 1, dtype=real, generator=generator)
rows = []
for sigma_train in (0.0, 0.3, 0.6):
    f = x**2 + sigma_train * epsilon
    torch.manual_seed(p.seed)
    line = Line()
    data = {"x": x.float(), "f": f.float()}
    lt.fit(line, gaussian_loss, data, steps=300, batch_size=1000, learning_rate=0.03, progress=False)
    found = float(torch.exp(2 * line.cpu().log_sigma.detach()))
    error = float(((f - 1 / 3) ** 2).std()) / math.sqrt(p.n)
    rows.append((sigma_train, found, error))
    print(f"noise {sigma_train}: sigma^2 {found:.4f} +- {error:.4f}, by hand {4 / 45 + sigma_train**2:.4f}")

# %% slideshow={"slide_type": "skip"}
# NBVAL_CHECK_OUTPUT
print("sigma_syst^2 = 4/45 + sigma_train^2 within 5 errors:",
      all(abs(found - 4 / 45 - noise**2) < 5 * error for noise, found, error in rows))  # fmt: skip
print(f"adding widths instead of squares would give at noise 0.6: {(math.sqrt(4 / 45) + 0.6) ** 2:.3f}, not 0.449")

# %% [markdown] slideshow={"slide_type": "subslide"}
# **Noise and misfit are not the same.** Both widen $\sigma$, but
#
# - noise is new for each point. Averaged over $N$ events it falls like $1/\sqrt N$;
# - misfit is the same each time one comes to the same $x$. In a histogram bin where the line is too high, *all* events
#   are too high: their average does not improve. $\sigma_\theta$ knows the size, not the sign, and nothing about
#   correlations.
#
# **And $\sigma_\theta$ is not the error of the mean.** In our calorimeter, with noisy targets, it is the width of the
# *targets*: it answers "how far from $f_\theta$ will the next jet be?" The mean itself is known far better:

# %% slideshow={"slide_type": "fragment"}
mean_test, sigma_test = predict(calibration, x_test)
to_targets = lt.metrics.pulls(mean_test, sigma_test, f_test)
to_truth = lt.metrics.pulls(mean_test, sigma_test, response(10**x_test))
print(f"width of (f_theta - target) / sigma_theta: {to_targets.std():.3f}")
print(f"rms of   (f_theta - truth)  / sigma_theta: {rms(to_truth):.3f}")

# %% [markdown] slideshow={"slide_type": "skip"}
# The mean is off by about one per cent of $\sigma$: its own, statistical error is about $s\sqrt{k/n}$ with a
# few effective parameters $k$. For a calorimeter the spread of jets is what one wants. For an amplitude, whose targets
# are exact, there is no noise, and then $\sigma_\theta$ *is* the error of the surrogate, as far as the training points
# show it. Say which of the two you mean.

# %% [markdown] slideshow={"slide_type": "fragment"}
# **Check yourself 3.** With exact amplitudes you find $\langle\sigma\rangle = 0.3\%$. You add artificial noise of 2%.
# Which $\sigma$ do you expect? What if you find 2.5%?
#
# <details><summary>Answer</summary>
#
# $\sqrt{2^2 + 0.3^2}\,\% = 2.02\%$. If it is 2.5%, then $\sqrt{2.5^2 - 2^2}\,\% = 1.5\%$ is misfit: with noisy targets
# the mean is five times worse than with exact ones. The law holds *if the mean stays the same*; here it did not: too
# few points or steps to average the noise. (Or $\sigma$ has not arrived: are the squares at $\frac12$?) Pulls against
# the *exact* amplitudes would show it at once.
# </details>

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 7. Noise under a logarithm
#
# Amplitudes are fitted as $y = \log A$ (lecture 01, section 5). Let the target carry a relative noise,
# $A_{obs} = A\,(1 + s\,\varepsilon)$ with $E[\varepsilon] = 0$, $E[\varepsilon^2] = 1$, $E[\varepsilon^3] = 0$,
# $E[\varepsilon^4] = 3$. Expand $\log(1 + u) = u - u^2/2 + u^3/3 - u^4/4 \dots$ with $u = s\varepsilon$:
#
# $$ E[y] = \log A - \frac{s^2}{2} - \frac34 s^4 - \dots, \qquad
# \mathrm{Var}(y) = s^2 + \underbrace{\frac{s^4}{4} (3 - 1)}_{\text{from } u^2} +
# \underbrace{\frac23 s^4 \cdot 3}_{\text{from } 2\, u \cdot u^3/3} + \dots = s^2 + \frac52 s^4 + \dots $$
#
# A network that fits $y$ is **biased low by $s^2/2$**: it has learned the mean of the logarithm. But now it also states
# its $\sigma_\theta^2 = \mathrm{Var}(y)$, at each point, and can repair itself. If $y$ were exactly Gaussian, the mean
# of $A_{obs} = e^y$ would be $\exp(f_\theta + \sigma_\theta^2/2)$. So we correct
#
# $$ A_{nn} = \exp\Big( f_\theta + \frac{\sigma_\theta^2}{2} \Big) , \qquad
# f_\theta + \frac{\sigma_\theta^2}{2} - \log A
# = -\frac{s^2}{2} - \frac34 s^4 + \frac{s^2}{2} + \frac54 s^4 = +\frac{s^4}{2} . $$
#
# For 10% noise 0.5% becomes 0.005%.

# %% slideshow={"slide_type": "subslide"}
epsilon = torch.randn(1_000_000, dtype=real, generator=generator)
epsilon = torch.cat([epsilon, -epsilon])  # both signs: odd powers vanish exactly, and with them most of the error
table = []
for noise in (0.02, 0.05, 0.10, 0.20):
    inside = (noise * epsilon).abs() < 1  # a negative amplitude has no logarithm
    y = torch.log1p(noise * epsilon[inside])  # A = 1
    bias, repaired = float(y.mean()), float(y.mean() + y.var() / 2)
    table.append((noise, bias, repaired, float((y * y / 2).std()) / math.sqrt(1_000_000)))
    print(f"noise {100 * noise:2.0f}%: bias {100 * bias:+.4f}%, by hand -s^2/2 = {-50 * noise**2:+.4f}%; "
          f"corrected {100 * repaired:+.4f}%, by hand s^4/2 = {50 * noise**4:+.4f}%")  # fmt: skip

# %% slideshow={"slide_type": "skip"}
# NBVAL_CHECK_OUTPUT
print("bias = -s^2/2 - 3 s^4/4 to s^6 and 5 errors:",
      all(abs(b + n**2 / 2 + 0.75 * n**4) < 5 * n**6 + 5 * e for n, b, _, e in table))  # fmt: skip
print("after the correction it is smaller by more than 10:", all(abs(c) < abs(b) / 10 for _, b, c, _ in table))

# %% [markdown] slideshow={"slide_type": "skip"}
# Two warnings. The correction is for *noise*. If $\sigma_\theta$ is mostly misfit, the mean of $y$ is not where the
# noise has put it, and there is nothing to correct: look at the plateau first. And with $s$ of 20% and more, the
# expansion itself becomes rough; above 30% some amplitudes come out negative, and the logarithm was the wrong target.

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 8. Is the error bar right? Pulls and coverage
#
# For each point of a sample that the training has not seen, the **pull** is
#
# $$ t_i = \frac{f_\theta(x_i) - f_i}{\sigma_\theta(x_i)} . $$
#
# If mean and width are right and the noise is Gaussian, pulls are unit Gaussian, *wherever the points lie*. So one
# histogram judges all of phase space. From $n$ points:
#
# | quantity | should be | statistical error | why |
# | --- | --- | --- | --- |
# | mean | 0 | $1/\sqrt n$ | variance 1 |
# | width $w$ (standard deviation) | 1 | $1/\sqrt{2n}$ | section 4: error of $\log\sigma$ |
# | the same, noise of any shape | 1 | $w\sqrt{(\kappa - 1)/4n}$ | $\kappa = E[t^4]/E[t^2]^2$; Gaussian: 3 |
# | coverage at 1 sigma | 68.3% | $\sqrt{p(1-p)/n}$ | binomial, $p = 0.683$ |
#
# (The third line: $t^2$ has the variance $(\kappa-1) w^4$, its mean is $w^2$, and $\delta w = \delta(w^2)/2w$.)

# %% [markdown] slideshow={"slide_type": "subslide"}
# **What it says.**
#
# - *Width above one*: errors are too small, by this factor (overconfident). Below one: too large.
# - *Mean off zero*: a bias, larger than the errors admit.
# - *A narrow core with long tails*: widths are mixed up. The noise has tails, or $\sigma_\theta$ misses how the width
#   changes with $x$. More than 0.27% beyond three is the sign.
# - *Lopsided, or two humps*: the noise is no Gaussian (section 10).
#
# **Does this judge have power?** A deviation of 2% is seen with five standard errors if $5/\sqrt{2n} < 0.02$: 31,250
# points. With our 20,000 it is 2.5%. We plant two faults: widths 20% too small, and the constant $\sigma$ of the MSE.

# %% slideshow={"slide_type": "subslide"}
claims = {
    "network": to_targets,
    "sigma 20% too small": to_targets / 0.8,
    "constant sigma": lt.metrics.pulls(predict(plain, x_test)[0], torch.full_like(f_test, constant), f_test),
}
edges = torch.linspace(math.log10(20), math.log10(2000), 11, dtype=real)
which = torch.bucketize(x_test[:, 0], edges[1:-1])
in_bins = {}
for name, t in claims.items():
    w, covered = lt.metrics.pull_width(t)["std"], lt.metrics.coverage(t)
    in_bins[name] = [lt.metrics.pull_width(t[which == k])["std"] for k in range(10)]
    far = 100 * (t.abs() > 3).double().mean()
    print(f"{name:20s} mean {t.mean():+.3f}, width {w.value:.3f} +- {w.error:.3f}, within 1 sigma "
          f"{100 * covered.value:.1f} +- {100 * covered.error:.1f}%, beyond 3: {far:.2f}%")  # fmt: skip

# %% slideshow={"slide_type": "subslide"}
fig, (left, right) = lt.plots.figure(columns=2)
bins = np.linspace(-4, 4, 33)
for i, (name, t) in enumerate(claims.items()):
    look = {"color": lt.plots.COLOURS[i], "linestyle": lt.plots.LINES[i], "label": name}
    left.stairs(np.histogram(t, bins, density=True)[0], bins, baseline=None, **look)
    w, error = zip(*in_bins[name])
    place = 10 ** ((edges[1:] + edges[:-1]) / 2 + 0.02 * (i - 1))
    right.errorbar(place, w, error, marker="os^"[i], **{**look, "linestyle": "none"})
left.plot(bins, np.exp(-(bins**2) / 2) / math.sqrt(2 * math.pi), color="black", linewidth=1.4, linestyle="-")
left.set(xlabel="pull $t$", ylabel="density", xlim=(-4, 4), ylim=(0, 0.9))
right.axhline(1, color="black", linewidth=1.4, linestyle="-")
right.set(xlabel="true energy $E$ [GeV]", ylabel="width of the pulls in the bin", xscale="log", xlim=(20, 2000))
right.set(ylim=(0, 2.6))
left.legend(loc="upper left", fontsize=12)
right.legend(loc="upper right", fontsize=12)
lt.show(fig, "Left: pull histograms. Right: widths of pulls in bins of energy; only the network's are one everywhere")

# %% [markdown] slideshow={"slide_type": "skip"}
# *What you see.* The network's pulls (solid) follow the unit Gaussian, overall and in each bin. The widths that are 20%
# too small (dashed) give about 1.25 everywhere: seen with 40 standard errors.
#
# The third is the instructive one. **The constant $\sigma$ has a width of exactly one**, because it *is* the root of
# the mean square: $\langle t^2\rangle = \mathrm{MSE}/\sigma^2 = 1$ on the training sample whatever the truth is. A
# judge who looks at the width alone passes a network whose errors are wrong nearly everywhere, by up to a factor of two
# one way and almost three the other. Core and tails give it away (left), and bins (right) do so at once. *Always look
# at pulls in bins of something.*

# %% slideshow={"slide_type": "skip"}
# NBVAL_CHECK_OUTPUT
off = {name: rms(torch.tensor([w.value for w in values]) - 1) for name, values in in_bins.items()}
names = list(claims)
lt.verdict("width of the pulls", claims[names[0]].std(),
           ci=(0.965, 1.037), laptop=(0.965, 1.037), gpu=None, floor=0.02,
           control={names[1]: claims[names[1]].std()})  # fmt: skip
lt.verdict("rms deviation of the pull width from one, in ten bins", off[names[0]],
           ci=(0, 0.043), laptop=(0, 0.043), gpu=None, floor=0.6,
           control={name: off[name] for name in names[1:]})  # fmt: skip
print("the width alone cannot see the constant sigma:", abs(float(claims[names[2]].std()) - 1) < 0.03)

# %% slideshow={"slide_type": "subslide"}
explorer = lt.explorers.uncertainty.judge
lt.show(
    explorer.figures({"factor": 1.0, "shape": "two peaks"}, {"factor": 1.0, "n": 100}),
    "Top: pulls of two-peaked noise and their coverage, wrong at most levels. Bottom: 100 points say little",
)

# %% [markdown] slideshow={"slide_type": "skip"}
# *What you see.* Right, coverage at *every* level: of the intervals that claim to hold 30% of the targets, how many do?
# Top: noise with two peaks and the right standard deviation. Width one, mean zero, and yet hardly any level is right.
# Bottom: all is well, but 100 points cannot say more than the grey area.
#
# Try: (a) How large must a bias be until the histogram shows it, with 100 points and with 10,000? (b) Find a wrong
# factor for two-peaked noise with which the coverage at 68% is right by accident. (c) "sigma varies" is the constant
# $\sigma$ from above: at which level of coverage is it right?

# %% tags=["explorer"] slideshow={"slide_type": "subslide"}
explorer.show()

# %% [markdown] slideshow={"slide_type": "fragment"}
# **Check yourself 4.** 1000 test points give a pull width of 1.10. Is the network overconfident? What do you look at
# next?
#
# <details><summary>Answer</summary>
#
# The error is $1.1/\sqrt{2000} = 0.025$: 4.1 standard errors, yes, *if* pulls are Gaussian. If they have tails, say
# $\kappa = 6$, it is $1.1\sqrt{5/4000} = 0.039$, and 2.6. So first the robust width (half of the central 68% interval):
# if it is one, then the core is right and a few points make the tail. Then bins, then training against test: if pulls
# on the training sample have the width one, it has overfitted.
# </details>

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 9. How the training goes wrong
#
# ### The mean starves
#
# Let $m = f_\theta - \bar f$ be the misfit at some $x$, and let $\sigma_\theta$ follow it as it wants to,
# $\sigma_\theta^2 = s^2 + m^2$. Insert this into $\bar L$ of section 3. (Since
# $\partial\bar L/\partial\sigma_\theta = 0$ there, the derivative with respect to $m$ is the same as at fixed
# $\sigma_\theta$.) The mean is pulled towards $m = 0$ with
#
# $$ \bar L(m) = \frac12 + \frac12 \log\big( s^2 + m^2 \big) , \qquad
# \text{force} = \frac{d\bar L}{dm} = \frac{m}{s^2 + m^2} . $$
#
# For $m \ll s$ this is $m/s^2$, a fit with weights $1/s^2$. But for $m \gg s$ it is $1/m$: **the worse the misfit, the
# weaker the pull.** The network has found an easier way to explain the residual: as noise. A peak that is missed by 1
# pulls with a force of 1; a place where 0.01 is missing, with noise of 0.01, pulls fifty times as hard. And weights are
# shared. Where the noise is larger than all structure, this does no harm. Where it is smaller, the mean starves; and
# our amplitudes have *no* noise.
#
# This is not a wrong minimum: $\bar L(m)$ has only the one at $m = 0$. It is a path on which one waits very long.

# %% [markdown] slideshow={"slide_type": "subslide"}
# **The cure of Seitzer et al. (2022)**: multiply each point by $\sigma_\theta^{2\beta}$, taken as a number, without
# gradient (`detach`),
#
# $$ \mathcal L_\beta = \frac1n\sum_i \sigma_\theta^{2\beta}(x_i) \left[ \frac{|f_i - f_\theta|^2}{2\sigma_\theta^2}
# + \log\sigma_\theta \right]_i , \qquad
# \text{force} = \frac{m}{(s^2 + m^2)^{1-\beta}} \ \stackrel{m \gg s}{\longrightarrow}\ m^{2\beta - 1} . $$
#
# $\beta = 1$ is the force of the MSE, $\beta = \frac12$ a constant one, as for the mean absolute error. The fixed point
# of $\sigma$ stays where it was, since the factor multiplies a gradient that vanishes. The price: a mean with weights
# $1/s^{2 - 2\beta}$ instead of $1/s^2$ is not the most precise one, and $\mathcal L_\beta$ is no log-likelihood:
# compare networks by the plain loss.
#
# **The other cure**: first the mean with the MSE, then both. It works if the first stage ends with a misfit not far
# above the noise. What it leaves open beyond that, the second stage hardly closes: the force is weak there.
#
# We try them on the resonance of lecture 01, $\log|1 + 0.4/(x + 0.12\,i)|$, with 1000 points and 1% noise. The loop is
# by hand, because we want to look into the training on its way.


# %% slideshow={"slide_type": "subslide"}
def beta_loss(beta):
    """Return the beta-NLL as a function of network and batch."""

    def loss(network, batch):
        mean, log_sigma = network(batch["x"]).chunk(2, dim=1)
        nats = ((batch["f"] - mean) * torch.exp(-log_sigma)) ** 2 / 2 + log_sigma
        return (torch.exp(2 * beta * log_sigma.detach()) * nats).mean()

    return loss


s_peak = 0.01  # the noise
x_peak = (2 * torch.rand(1000, 1, dtype=real, generator=generator) - 1).float()
f_peak = resonance(x_peak) + s_peak * torch.randn(1000, 1, dtype=real, generator=generator).float()
fine = torch.linspace(-1, 1, 401, dtype=torch.float32)[:, None]


def misfit(network):
    """Return f_theta - truth and sigma_theta on the fine grid, each (401, 1)."""
    with torch.no_grad():
        mean, log_sigma = network(fine).chunk(2, dim=1)
    return mean - resonance(fine), log_sigma.exp()


def watch(*stages, rate=0.01):
    """Train through stages (loss, steps); return the network and rows of (step, rms misfit, rms sigma)."""
    torch.manual_seed(p.seed)
    network, rows = MLP(1, 2, hidden=(32, 32)), []
    optimiser = torch.optim.Adam(network.parameters(), betas=(0.9, 0.95))
    for loss, steps in stages:
        before = rows[-1][0] if rows else 0
        for step in range(steps + 1):
            if step % 20 == 0:
                rows.append((before + step, *map(rms, misfit(network))))
            chosen = torch.randperm(len(x_peak))[:256]
            optimiser.param_groups[0]["lr"] = rate * (1 + math.cos(math.pi * step / steps)) / 2
            optimiser.zero_grad()
            loss(network, {"x": x_peak[chosen], "f": f_peak[chosen]}).backward()
            optimiser.step()
    return network, np.array(rows)


# %% slideshow={"slide_type": "subslide"}
watched = {
    "plain loss": watch((beta_loss(0.0), 800)),
    "beta = 1/2": watch((beta_loss(0.5), 800)),
    "MSE, then both": watch((mse_loss, 600), (beta_loss(0.0), 200)),
}
for name, (network, _) in watched.items():
    m, sigma_peak = misfit(network)
    t = (m + s_peak * torch.randn(len(fine), 1, generator=generator)) / sigma_peak
    print(f"{name:15s} rms misfit {rms(m):.3f}, sigma up to {sigma_peak.max():.2f}, width of the pulls {t.std():.2f}")

# %% slideshow={"slide_type": "subslide"}
fig, (left, right) = lt.plots.figure(columns=2)
m = torch.logspace(-4, 0.3, 200, dtype=real)
for i, beta in enumerate((0, 0.5, 1)):
    look = {"color": lt.plots.COLOURS[i], "linestyle": lt.plots.LINES[i], "label": rf"$\beta = {beta:g}$"}
    left.plot(m, m / (s_peak**2 + m**2) ** (1 - beta), **look)
left.axvline(s_peak, color="black", linewidth=1.2, linestyle=":")
left.text(1.15 * s_peak, 3e-4, "noise $s$", fontsize=13)
left.set(xlabel="misfit $m$", ylabel="force on the mean", xscale="log", yscale="log", xlim=(1e-4, 2), ylim=(1e-4, 3e3))
left.legend(loc="upper left", fontsize=12, ncols=3, columnspacing=1.0, handlelength=1.8)
for i, (name, (_, rows)) in enumerate(watched.items()):
    look = {"color": lt.plots.COLOURS[i], "linestyle": lt.plots.LINES[i]}
    right.plot(rows[:, 0], rows[:, 1], label=name, **look)
    learned = rows[rows[:, 0] >= 600] if "MSE" in name else rows
    right.plot(learned[:, 0], learned[:, 2], linewidth=1.0, **look)
right.axhline(s_peak, color="black", linewidth=1.2, linestyle=":", label="noise $s$")
right.set(
    xlabel="training steps",
    ylabel=r"rms of misfit and of $\sigma_\theta$",
    yscale="log",
    xlim=(0, 800),
    ylim=(6e-3, 30),
)
right.legend(loc="upper right", fontsize=12, ncols=2, columnspacing=1.0, handlelength=1.8)
lt.show(fig, "Left: force on the mean against misfit. Right: misfit against steps; with the plain loss it stays large")

# %% [markdown] slideshow={"slide_type": "skip"}
# *What you see.* Left, the force. For $\beta = 0$ it is strongest where the misfit equals the noise and falls beyond.
# Right, three trainings of the same network with as many steps; thick the misfit, thin $\sigma_\theta$. The plain loss
# has given up a part of the curve and calls it noise: its rms misfit of 0.87 is even larger than that of the best
# constant, 0.79. Both cures come down to 0.03 to 0.04, a few times the noise. (At step 600 the third one starts with a
# random $\sigma_\theta$, which shakes the mean for a while.)
#
# - **Nothing warns.** The loss of the first falls like any other. Its pulls have a width of one: $\sigma$ is honest
#   about the misfit. Only its *size* tells, some hundred times the noise of the targets. (It is not the clipping of
#   gradients, which `lt.fit` does by default; here is none.)
# - **Sigma comes last.** All the way the thin lines follow the thick ones. As long as the misfit is larger than the
#   noise, $\sigma$ can only learn the misfit; the noise can be learned once the mean is there. So a training that is
#   stopped early has errors that are *too large* for the noise, and right for its own misfit.

# %% slideshow={"slide_type": "skip"}
# NBVAL_CHECK_OUTPUT
end = {name: rows[-1, 1] for name, (_, rows) in watched.items()}
lt.verdict("decades lost by the plain loss against beta = 1/2", math.log10(end["plain loss"] / end["beta = 1/2"]),
           ci=(0.87, 2.04), laptop=(0.87, 2.04), gpu=None, floor=0.4,
           control={"MSE, then both": math.log10(end["MSE, then both"] / end["beta = 1/2"])})  # fmt: skip
ratios = [rows[-1, 2] / math.hypot(s_peak, rows[-1, 1]) for _, rows in watched.values()]
print("sigma^2 is noise^2 + misfit^2 in each, sigma within a factor of three:", all(1 / 3 < r < 3 for r in ratios))

# %% slideshow={"slide_type": "subslide"}
explorer = lt.explorers.uncertainty.starving
lt.show(
    explorer.figure(beta=0.0),
    "Left: the plain loss misses the dip, under a wide band. Right: its sigma equals the misfit where that is large",
)

# %% [markdown] slideshow={"slide_type": "skip"}
# *What you see.* The plain loss again, with other random numbers. Right, on a logarithmic axis: the learned $\sigma$
# (solid) lies on the misfit (dashed) wherever this is above the noise. This is the assumption of the formula above,
# seen at work. Where the mean is good, $\sigma$ is the noise.
#
# Try: (a) $\beta = 0.5$, then 1. (b) At which noise does the plain loss work again? (c) Does it help to wait, that is,
# more steps?

# %% tags=["explorer"] slideshow={"slide_type": "subslide"}
explorer.show()

# %% [markdown] slideshow={"slide_type": "fragment"}
# **Check yourself 5.** What does $\beta = \frac12$ cost in the example of section 1, jets of 5% and 20%? And
# $\beta = 1$?
#
# <details><summary>Answer</summary>
#
# A mean of two with weights $w_1, w_2$ has the variance $(w_1^2\sigma_1^2 + w_2^2\sigma_2^2)/(w_1 + w_2)^2$. With
# $w = 1/\sigma$ this is $2/(1/0.05 + 1/0.20)^2 = 0.0032$, against $V_{best} = 1/(400 + 25) = 0.00235$: 36% more.
# $\beta = 1$ is the plain mean: 4.5 times. $\beta = \frac12$ is a good compromise *where the noise differs much*; for
# exact targets $\beta = 1$ costs nothing.
# </details>

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### A likelihood without a bottom
#
# Let the mean run *exactly* through one training point. There $r = 0$, the loss is $\log\sigma$, and nothing stops it
# on its way to $-\infty$. With few points and many weights this is what happens.
#
# In between one can calculate. In lecture 01 a fit with $k$ parameters left the variance $s^2(1 - k/n)$ on the training
# points and had $s^2(1 + k/n)$ on new ones. $\sigma_\theta$ learns the first, the pulls see the second:
#
# $$ \text{width of the pulls on new points} = \sqrt{\frac{1 + k/n}{1 - k/n}} , $$
#
# 1.1 for $k = n/10$, $\sqrt3$ for $k = n/2$, infinite for $k = n$. We train 4418 weights on 40 jets.

# %% slideshow={"slide_type": "subslide"}
x_few, f_few, _ = simulate(40)
few, valid = {"x": scaled("x", x_few), "f": scaled("f", f_few)}, {"x": scaled("x", x_test), "f": scaled("f", f_test)}
valid = {name: values[:4000] for name, values in valid.items()}
large = {"hidden": (64, 64), "learning_rate": 0.01, "steps": 600}
kept, course = train(gaussian_loss, few["x"], few["f"], valid=valid, validate_every=25, **large)
spoilt, _ = train(gaussian_loss, few["x"], few["f"], **large)  # the same training, with the weights of its last step
best = float(0.5 + (resolution(10 ** x_test[:4000]) / width["f"]).log().mean())  # of the truth, on new points
widths = {}
for name, network in {"last step": spoilt, "best validation": kept}.items():
    t = lt.metrics.pulls(*predict(network, x_test), f_test)
    widths[name] = lt.metrics.pull_width(t)["robust"].value
    print(f"{name:16s} pulls on new jets: robust width {widths[name]:.2f}, standard deviation {t.std():.2f}, "
          f"smallest sigma {predict(network, grid)[1].min():.4f}")  # fmt: skip
print(f"validation loss: at the end {course.valid_loss[-1]:.2f}, smallest {course.best_loss:.2f}, truth {best:.2f}")

# %% slideshow={"slide_type": "subslide"}
fig, (left, right) = lt.plots.figure(columns=2)
for network, colour, name in ((spoilt, blue, "last step"), (kept, green, "best validation")):
    m_few, s_few = predict(network, grid)
    look = {"color": colour, "alpha": 0.3, "linewidth": 0, "label": rf"$\pm\sigma_\theta$, {name}"}
    left.fill_between(energy[:, 0], (m_few - s_few)[:, 0], (m_few + s_few)[:, 0], **look)
    left.plot(energy, m_few, color=colour, linewidth=1.6, linestyle="-")
left.plot(10**x_few, f_few, "o", color="black", markersize=4, label="40 jets")
left.set(xlabel="true energy $E$ [GeV]", ylabel="seen / true energy [1]", xscale="log", xlim=(20, 2000), ylim=(0, 1.5))
left.legend(loc="lower right", fontsize=12)
right.plot(course.steps, course.loss, color=blue, linestyle="-", label="training")
right.plot(course.valid_steps, course.valid_loss, color=orange, linestyle="--", label="validation")
right.axhline(best, color="black", linewidth=1.4, linestyle=":", label="truth")
right.set(xlabel="training steps", ylabel="loss in nats", xlim=(0, 600), ylim=(-1.6, 3))
right.legend(loc="upper left", fontsize=12)
lt.show(fig, "Left: bands of 40 jets at the last step, pinched at points, and at the best step. Right: losses diverge")

# %% [markdown] slideshow={"slide_type": "skip"}
# *What you see.* Left, the band at the last step is pinched to nothing where the curve runs through jets. Right, the
# training loss falls far below what the truth itself would have, while validation runs away. On the *training* jets the
# squares stay at $\frac12$ all the time: section 5's test must be made on new points, too. The MSE would have
# overfitted as well, but this loss punishes confidence that is wrong with a square over $\sigma^2$, so that a few jets
# bring the validation loss to any height (pulls on new jets: 2.5 wide in the core, with a standard deviation of 7.6).
#
# Cures: stop at the best validation loss (`valid=` in `lt.fit`, green); more points; weight decay; fewer weights for
# $\sigma$ than for the mean; an average over networks (chapter 03). A floor under $\sigma$ stops the divergence; what
# is overfitted stays so.

# %% slideshow={"slide_type": "skip"}
# NBVAL_CHECK_OUTPUT
lt.verdict("nats of the training loss below the truth, 4418 weights on 40 jets", best - course.loss[-50:].mean(),
           ci=(0.04, 0.88), laptop=(0.04, 0.88), gpu=None, floor=0.9,
           control={"1186 weights on 20,000 jets": best - history.loss[-300:].mean()})  # fmt: skip
print("new jets see it: widths of the pulls at the last step above 1.3:", widths["last step"] > 1.3)
print("stopping at the best validation loss is better:", widths["best validation"] < widths["last step"])

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 10. When the noise is no Gaussian: mixtures
#
# Energy leaks out at the back of a calorimeter: a tail to low values. A jet falls into a crack or does not: two peaks.
# Mean and standard deviation still come out right (section 3), but they are not the whole answer. Let the network
# return more: $K$ Gaussians with shares $\alpha_k$ that add up to one,
#
# $$ p_\theta(f|x) = \sum_{k=1}^K \alpha_k(x)\ \mathcal N\big( f;\ \mu_k(x), \sigma_k(x) \big) , \qquad
# \mathcal L = -\frac1n \sum_i \log p_\theta(f_i|x_i) . $$
#
# With $K = 1$ it is our loss. The $3K$ outputs are $\mu_k$, $\log\sigma_k$, and numbers $a_k$ of which
# $\alpha_k = e^{a_k}/\sum_j e^{a_j}$ makes shares (softmax).
#
# **When it helps:** where the shape enters. A mean between two peaks describes no jet at all; a tail decides how often
# missing energy is faked; a likelihood per event needs the density, not its width.
#
# **The sum under the logarithm** needs care. With
# $l_k = \log\alpha_k - \frac12 (f - \mu_k)^2/\sigma_k^2 - \log\sigma_k$ we want $\log\sum_k e^{l_k}$. For a point 15
# $\sigma$ away $e^{l}$ is $e^{-112}$: zero in float32, its logarithm $-\infty$. Take the largest term $l^*$ out first:
#
# $$ \log\sum_k e^{l_k} = l^* + \log\sum_k e^{l_k - l^*} , \qquad l^* = \max_k l_k . $$
#
# Now one term of the sum is 1, the rest may vanish in peace: **log-sum-exp**.

# %% [markdown] slideshow={"slide_type": "subslide"}
# **Who learns from which point?** Differentiate: $\partial(-\log\sum_k e^{l_k})/\partial l_k = -\rho_k$ with
#
# $$ \rho_k = \frac{\alpha_k\, \mathcal N(f; \mu_k, \sigma_k)}{\sum_j \alpha_j\, \mathcal N(f; \mu_j, \sigma_j)} ,
# \qquad
# \frac{\partial \mathcal L}{\partial \mu_k} = -\rho_k\, \frac{f - \mu_k}{\sigma_k^2} , \qquad
# \frac{\partial \mathcal L}{\partial \log\sigma_k} = \rho_k \left( 1 - \frac{(f - \mu_k)^2}{\sigma_k^2} \right) . $$
#
# The formulas of section 4, times $\rho_k$: the probability that this point came from component $k$. Each component
# learns from the points it can explain. From the whole, mean and variance are
#
# $$ \mu = \sum_k \alpha_k \mu_k , \qquad \sigma^2 = \sum_k \alpha_k \big( \sigma_k^2 + (\mu_k - \mu)^2 \big) . $$


# %% slideshow={"slide_type": "fragment"}
def mixture_log_prob(outputs, f):
    """Return log p(f|x) of a mixture; outputs (n, 3 K) = a, mu, log sigma; f (n, 1) -> (n,)."""
    a, mu, log_sigma = outputs.chunk(3, dim=1)
    l = torch.log_softmax(a, dim=1) - ((f - mu) * torch.exp(-log_sigma)) ** 2 / 2 - log_sigma
    return torch.logsumexp(l, dim=1) - math.log(2 * math.pi) / 2


def mixture_loss(network, batch):
    """Return the mean of -log p over a batch."""
    return -mixture_log_prob(network(batch["x"]), batch["f"]).mean()


# %% slideshow={"slide_type": "skip"}
# NBVAL_CHECK_OUTPUT
outputs = torch.tensor([[0.3, -0.5, 0.0, 1.0, 0.0, -1.0]], requires_grad=True)  # two components
far = torch.tensor([[15.0]])
a, mu, log_sigma = outputs.chunk(3, dim=1)
naive = (torch.softmax(a, 1) * torch.exp(-(((far - mu) / log_sigma.exp()) ** 2) / 2 - log_sigma)).sum().log()
stable = mixture_log_prob(outputs, far) + math.log(2 * math.pi) / 2
print(f"a point 15 sigma away in float32: naive {naive.item():.1f}, log-sum-exp {stable.item():.3f}")
f = torch.tensor([[0.4]])
(gradient,) = torch.autograd.grad(-mixture_log_prob(outputs, f).sum(), outputs)
terms = torch.softmax(a, 1) * torch.exp(-(((f - mu) / log_sigma.exp()) ** 2) / 2 - log_sigma)
rho = terms / terms.sum()
by_hand = torch.cat([-rho * (f - mu) * torch.exp(-2 * log_sigma),
                     rho * (1 - ((f - mu) / log_sigma.exp()) ** 2)], dim=1)  # fmt: skip
print("gradients of means and log sigmas as derived:", torch.allclose(gradient[:, 2:], by_hand, atol=1e-6))

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### The judge: nats against an oracle
#
# Compare densities by the held-out log-likelihood, the average of $\log p_\theta(f|x)$ over new points. Where the true
# density $p$ is known, the **oracle gap** says how far one is from the best possible:
#
# $$ \mathrm{gap} = E\left[ \log p(f|x) - \log p_\theta(f|x) \right] \ge 0 . $$
#
# (It is the Kullback-Leibler divergence. Proof of the sign: $\log z \le z - 1$, so
# $-\mathrm{gap} = E[\log (p_\theta/p)] \le E[p_\theta/p] - 1 = \int p_\theta - 1 = 0$.) The first term is minus the
# entropy of the noise. Some are known in closed form, for width $s$ (and with Euler's $\gamma = 0.5772\dots$):
#
# | noise | entropy in nats |
# | --- | --- |
# | Gaussian | $\log s + \frac12 \log 2\pi e = \log s + 1.4189$ |
# | Gumbel, a tail to one side | $\log s + \gamma + 1 - \log\frac{\pi}{\sqrt6} = \log s + 1.3284$ |
# | two peaks of width $w s$, shares $\alpha$, $1-\alpha$ | $\log ws + 1.4189 + h(\alpha)$ |
#
# with $h(\alpha) = -\alpha\log\alpha - (1-\alpha)\log(1-\alpha)$, for peaks that are far apart.
#
# **What can a single Gaussian reach?** With the right mean and variance, $-\log p_\theta$ averages to
# $\log s + \frac12\log 2\pi + \frac12$, for noise of *any* shape. So its gap is the entropy of the Gaussian minus that
# of the noise: 0.0906 nats for the tail, about 0.77 for two peaks (20%, $w = 0.28$). Is 0.09 nats much? With 100 jets
# the likelihoods differ by $e^{9}$.

# %% slideshow={"slide_type": "skip"}
# NBVAL_CHECK_OUTPUT
t = torch.linspace(-30, 12, 400_001, dtype=real)
euler = 0.5772156649015329
closed = {"Gaussian": math.log(2 * math.pi * math.e) / 2, "tail": euler + 1 - math.log(math.pi / math.sqrt(6))}
entropy = {}
for kind in ("Gaussian", "tail", "two peaks"):
    density = unit_noise_log_prob(kind, t)
    entropy[kind] = -float(torch.trapezoid(torch.where(density > -500, density.exp() * density, 0.0), t))
    agrees = f", closed form {closed[kind]:.4f}" if kind in closed else ""
    print(f"{kind:9s} entropy {entropy[kind]:.4f} nats{agrees}; gap of the best Gaussian "
          f"{entropy['Gaussian'] - entropy[kind]:.4f}")  # fmt: skip

# %% [markdown] slideshow={"slide_type": "skip"}
# Now the calorimeter with a tail to low energies: same mean, same width, skewed noise ($t = (\gamma - G)\sqrt6/\pi$
# with a Gumbel number $G$, the distribution of the largest of many numbers, turned around). One Gaussian, three of
# them, and three of them on the Gaussian noise of before. The networks work on scaled targets; in the unit of $f$ their
# densities are divided by `width["f"]`.


# %% slideshow={"slide_type": "subslide"}
def gap(network, kind, x, f, t):
    """Return the oracle gap in nats and its error, from paired differences on new points."""
    with torch.no_grad():
        outputs = network(scaled("x", x)).double()
    ours = mixture_log_prob(outputs, scaled("f", f).double()) - math.log(width["f"])
    difference = (unit_noise_log_prob(kind, t) - resolution(10**x).log())[:, 0] - ours
    return float(difference.mean()), float(difference.std()) / math.sqrt(len(difference))


samples = {kind: (simulate(p.n, kind), simulate(20_000, kind)) for kind in ("tail", "Gaussian")}
mixtures, gaps = {}, {}
for kind, parts in (("tail", 1), ("tail", 3), ("Gaussian", 3)):
    (x, f, _), new = samples[kind]
    steps = p.steps if kind == "tail" else p.steps // 2
    mixtures[kind, parts], _ = train(mixture_loss, scaled("x", x), scaled("f", f), outputs=3 * parts, steps=steps)
    gaps[kind, parts] = gap(mixtures[kind, parts], kind, *new)
    value, error = gaps[kind, parts]
    print(f"{kind:8s} noise, {parts} Gaussian{'s' * (parts > 1)}: oracle gap {value:.4f} +- {error:.4f} nats")

# %% [markdown] slideshow={"slide_type": "subslide"}
# **Pulls of a density.** For a mixture $(f_\theta - f)/\sigma_\theta$ need not be Gaussian even if all is right. But
# the probability to be below the target, $u = \int_{-\infty}^{f} p_\theta(f'|x)\, df'$, is uniform in $(0, 1)$ if
# $p_\theta$ is right, because $P(u < c) = c$ is what a quantile means. Then $t = \Phi^{-1}(u)$ is unit Gaussian, with
# the cumulative $\Phi$ of a Gaussian. For $K = 1$ this is $(f - f_\theta)/\sigma_\theta$, the pull of before up to its
# sign.

# %% slideshow={"slide_type": "subslide"}
x_new, f_new, t_new = samples["tail"][1]
fig, (left, right) = lt.plots.figure(columns=2)
at, seen = torch.tensor([[math.log10(50.0)]], dtype=real), torch.linspace(0.2, 1.25, 300, dtype=real)[:, None]
true_density = torch.exp(unit_noise_log_prob("tail", (seen - response(50.0)) / resolution(torch.tensor(50.0))))
left.plot(seen, true_density / resolution(torch.tensor(50.0)), color="black", linestyle=":", label="truth")
pulls = {}
for i, parts in enumerate((1, 3)):
    look = {"color": lt.plots.COLOURS[i], "linestyle": lt.plots.LINES[i], "label": f"$K = {parts}$"}
    with torch.no_grad():
        here = mixtures["tail", parts](scaled("x", at)).double().expand(len(seen), -1)
        a, mu, log_sigma = mixtures["tail", parts](scaled("x", x_new)).double().chunk(3, dim=1)
    left.plot(seen, torch.exp(mixture_log_prob(here, scaled("f", seen).double())) / width["f"], **look)
    u = (torch.softmax(a, 1) * torch.special.ndtr((scaled("f", f_new).double() - mu) / log_sigma.exp())).sum(1)
    pulls[parts] = torch.special.ndtri(u.clamp(1e-15, 1 - 1e-15))
    right.stairs(np.histogram(pulls[parts], bins, density=True)[0], bins, baseline=None, **look)
left.set(xlabel="seen / true energy at 50 GeV [1]", ylabel="density", xlim=(0.2, 1.25), ylim=(0, 5.5))
left.legend(loc="upper left", fontsize=12)
right.plot(bins, np.exp(-(bins**2) / 2) / math.sqrt(2 * math.pi), color="black", linewidth=1.4, linestyle="-")
right.set(xlabel=r"pull $\Phi^{-1}(u)$", ylabel="density", xlim=(-4, 4), ylim=(0, 0.6))
right.legend(loc="upper left", fontsize=12)
lt.show(fig, "Left: density of the response at 50 GeV, skewed truth, one and three Gaussians. Right: their pulls")

# %% [markdown] slideshow={"slide_type": "skip"}
# *What you see.* Left, the true density at 50 GeV (dotted), skewed to low values. One Gaussian has its mean and width,
# and neither its peak nor its tail; three of them nearly lie on it. Right, the pulls: lopsided for one, a unit Gaussian
# for three. In numbers: one Gaussian is at its limit of 0.09 nats; three leave between 0.003 and 0.013 nats, depending
# on the seed.
#
# **When not.** On Gaussian noise three components gain nothing (third line of the output). They cost: the density has
# many equal descriptions (components can change places), they may stay together when they start together, and with few
# points a component that sits on *one* of them has again a likelihood without a bottom. If what you need is a mean and
# a width, the single Gaussian has them right for noise of any shape. For densities in many dimensions: flows, chapter
# 06.

# %% slideshow={"slide_type": "skip"}
# NBVAL_CHECK_OUTPUT
limit = entropy["Gaussian"] - entropy["tail"]
value, error = gaps["tail", 1]
print("one Gaussian is at its limit, within 5 errors and 0.005 nats:", abs(value - limit) < 5 * error + 0.005)
print("on Gaussian noise a mixture gains and loses less than 0.003 nats:", abs(gaps["Gaussian", 3][0]) < 0.003)
lt.verdict("oracle gap of three Gaussians in nats, noise with a tail", gaps["tail", 3][0],
           ci=(0, 0.015), laptop=(0, 0.015), gpu=None, floor=0.5,
           control={"one Gaussian": gaps["tail", 1][0]})  # fmt: skip

# %% slideshow={"slide_type": "subslide"}
explorer = lt.explorers.uncertainty.noise
lt.show(
    explorer.figures({"loss": "MSE"}, {"shape": "two peaks", "loss": "mixture"}),
    "Left bands, right pulls: above the MSE on growing noise, below a mixture on noise with two peaks",
)

# %% [markdown] slideshow={"slide_type": "skip"}
# *What you see.* Noise that grows with $x$, 1000 points. Top: the MSE, one width for all, pulls with a sharp core and
# tails. Bottom: two peaks, and a mixture whose band opens as it should, and whose pulls are Gaussian although the
# targets are not. The sliders start with the Gaussian loss; the line of numbers under them states the oracle gap.
#
# Try: (a) 30 points with each loss: which one is worst, and why? (b) The Gaussian loss on two peaks: mean and width are
# right; what do its pulls say? (c) The window: why are its edges round? (d) 100 points with two peaks and the mixture.

# %% tags=["explorer"] slideshow={"slide_type": "subslide"}
explorer.show()

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 11. What can go wrong
#
# - **$\sigma$ without its logarithm**: negative widths, and a stiffness of $2/\sigma^2$ (section 4). A softplus is a
#   logarithm in disguise for small $\sigma$, and linear for large ones.
# - **Believing $\sigma_\theta$ to be the error of the mean.** With noisy targets it is the spread of the targets.
# - **The mean starves** where structure is larger than noise: first the MSE, or $\beta$-NLL (section 9).
# - **Overfitted $\sigma$**: pulls on the *training* sample have width one. Always use new points.
# - **A pull width of one** with errors that are wrong everywhere. Look into bins, core and tails.
# - **Pulls against noisy targets to judge an amplitude**, or against exact ones where $\sigma$ holds the noise. Both
#   widths are "not one", for opposite reasons.
# - **Noise under a logarithm**: $-s^2/2$.
# - **Correlations.** Misfits of neighbouring points are alike. $\sigma_\theta/\sqrt N$ for the average of $N$ events is
#   right for noise only.
# - **Outside the training data** $\sigma_\theta$ is an extrapolation like the mean. It does not grow by itself: nothing
#   in the loss asks for it. Chapter 03 takes this up.
# - **A wrong simulation** leaves nothing over. No loss finds it.
# - **Comparing losses in different units** or with other constants dropped. Compare gaps.

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 12. References
#
# - D. A. Nix, A. S. Weigend, *Estimating the mean and variance of the target probability distribution*, Proc. IEEE
#   ICNN 1994, vol. 1, p. 55: the loss, and the advice to train the mean first.
# - C. M. Bishop, *Mixture density networks*, Aston University report NCRG/94/004 (1994).
# - A. Kendall, Y. Gal, *What uncertainties do we need in Bayesian deep learning for computer vision?*,
#   arXiv:1703.04977: why $\log\sigma^2$.
# - M. Seitzer et al., *On the pitfalls of heteroscedastic uncertainty estimation with probabilistic neural networks*,
#   arXiv:2203.09168: starvation and $\beta$-NLL.
# - A. Stirn et al., *Faithful heteroscedastic regression with neural networks*, arXiv:2212.09184; L. Sluijterman, E.
#   Cator, T. Heskes, *Optimal training of mean variance estimation neural networks*, arXiv:2302.08875: other cures, and
#   the mean first, examined.
# - E. Wong-Toi et al., *Understanding pathologies of deep heteroskedastic regression*, arXiv:2306.16717.
# - V. Kuleshov, N. Fenner, S. Ermon, *Accurate uncertainties for deep learning using calibrated regression*,
#   arXiv:1807.00263: coverage at all levels.
# - H. Bahl et al., *Accurate surrogate amplitudes with calibrated uncertainties*, arXiv:2412.12069: statistical and
#   systematic errors, and noise in quadrature.
# - S. Badger et al., *Loop amplitudes from precision networks*, arXiv:2206.14831: amplitudes with learned errors.
# - ATLAS Collaboration, *Precision calibration of calorimeter signals in the ATLAS experiment using an
#   uncertainty-aware neural network*, arXiv:2412.04370.
# - T. Plehn et al., *Modern machine learning for LHC physicists*, arXiv:2211.01421.
#
# **Next:** [tutorial 02a](../tutorials/02a_learned_uncertainty.ipynb) lets networks state their errors on amplitudes.
