# ---
# jupyter:
#   kernelspec: {display_name: Python 3 (ipykernel), language: python, name: python3}
#   lhcml: {title: "Bayesian networks and ensembles", kind: lecture, extras: [], minutes: {laptop: 1, gpu: 1}}
# ---

# %% [markdown] slideshow={"slide_type": "slide"}
# # 03 Bayesian networks and ensembles
#
# **Before you start:** [lecture 01](01_fitting.ipynb), sections 2 to 4, 6 and 8;
# [lecture 02](02_heteroscedastic_loss.ipynb), sections 2, 3 and 8: its loss
# $\frac{(y - f)^2}{2\sigma^2} + \log\sigma$ (which calls the target $f$; here it is $y$ again), and pulls. Gaussians
# in several dimensions.
#
# **Goal:** you can say how sure a network is *of itself*. You can derive the posterior of a straight line and the
# loss of a Bayesian network, write its layer by hand, split its uncertainty in two, and say what an ensemble samples.
# And you know, with numbers, where each of these methods is wrong, because you have compared it with an exact answer.
#
# **Time:** 40 minutes of reading. The code runs in about a minute on one CPU core, at every scale alike.

# %% slideshow={"slide_type": "skip"}
import math

import torch
from torch import nn

import lhcml_tutor as lt
from lhcml_tutor.explorers.fitting import noisy_points, resonance
from lhcml_tutor.explorers.posteriors import train_members

scale = lt.scale()
p = lt.parameters(truths=20, units=50, steps=800, seed=1)
generator = torch.Generator().manual_seed(p.seed)
real = torch.float64  # to compare with closed formulas

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 1. Train it again
#
# A network calibrates the energy of jets. Another one replaces a loop amplitude. Lecture 02 taught them to say how
# much the *target* scatters around them, $\sigma(x)$. Now train the same network again, from another start or on
# other events of the same kind. It gives another answer. Where events are plentiful the two agree; in the tail of the
# spectrum, at the edge of the detector, near a threshold, they do not. Who uses the network in a measurement has to
# quote this as an error, too.
#
# Lecture 02 cut the error in two: *systematic* is what stays for any number of training events, *statistical* what
# falls with it. It built the first. This lecture builds the second.
#
# | | systematic, $\sigma_{syst}$ | statistical, $\sigma_{stat}$ |
# | --- | --- | --- |
# | question | how far are targets from the best network? | how well do the events fix the network? |
# | answer | a second output of *one* network | the spread of *all* networks that the data allow |
# | where it is large | noisy targets, too small a network | few events, gaps |
# | with more events | stays | falls, like $1/\sqrt n$ |
#
# Both are in one formula. Let $w$ be the weights and $D$ the training data. The **predictive distribution** is
#
# $$ p(y|x, D) = \int dw\ p(y|x, w)\ p(w|D) . $$
#
# The first factor is one network's likelihood. The second is the *posterior*: how much we believe in these weights,
# after the data. This lecture is about that integral. For a straight line we can do it. For a network we cannot, and
# there are four ways around: variational inference, ensembles, repulsive ensembles, evidential regression. We hold
# each of them against a case where the integral is known.

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 2. The posterior of a straight line
#
# The calorimeter of lecture 01: $x$ is the energy of a jet in TeV, $y$ the fraction that is seen, here minus 0.8, the
# value from the construction drawings. The line is $f(x) = a + b x$ with noise $\sigma = 0.02$; $\Phi_i = (1, x_i)$
# and $\theta = (a, b)$ as before. Before any data we believe that $a$ and $b$ are Gaussian around 0 with width
# $\tau$. Then
#
# $$ -\log p(\theta|D) = \frac{|y - \Phi\theta|^2}{2\sigma^2} + \frac{|\theta|^2}{2\tau^2} + \mathrm{const} . $$
#
# This is quadratic in $\theta$, so the posterior is a Gaussian,
# $\frac12 (\theta - \mu)^T \Sigma^{-1} (\theta - \mu) + \mathrm{const}$. Compare what multiplies $\theta\theta$ and
# what multiplies $\theta$:
#
# $$ \Sigma^{-1} = \frac{\Phi^T\Phi}{\sigma^2} + \frac{1}{\tau^2} , \qquad
# \mu = \Sigma\, \frac{\Phi^T y}{\sigma^2} . $$
#
# Inverse variances add: what the data know plus what we knew. The mean is the fit with weight decay. For
# $\tau \to \infty$, $\Sigma$ is the covariance $\sigma^2 (\Phi^T\Phi)^{-1}$ of lecture 01.
#
# **The prediction.** With $\phi = (1, x)$ the value $f(x) = \phi^T\theta$ is linear in a Gaussian, hence Gaussian. A
# new target adds its own noise:
#
# $$ p(f|x, D) = N\big(\phi^T\mu,\ \phi^T\Sigma\,\phi\big) , \qquad
# p(y|x, D) = N\big(\phi^T\mu,\ \underbrace{\sigma^2}_{\mathrm{systematic}} +
# \underbrace{\phi^T\Sigma\,\phi}_{\mathrm{statistical}}\big) . $$

# %% slideshow={"slide_type": "subslide"}
n_jets, sigma, tau = 50, 0.02, 0.2
truth = torch.tensor([-0.05, 0.10], dtype=real)


def design(x):
    """Return the matrix of a straight line, shape (n, 2)."""
    return torch.stack([torch.ones_like(x), x], dim=1)


def posterior(phi, y, sigma, precision, mean=None):
    """Return mean (m,) and covariance (m, m) of the parameters, for a Gaussian prior with this precision matrix."""
    prior = 0 if mean is None else precision @ mean
    covariance = torch.linalg.inv(phi.T @ phi / sigma**2 + precision)
    return covariance @ (phi.T @ y / sigma**2 + prior), covariance


def width(phi, covariance):
    """Return the standard deviation of phi theta, shape (n,)."""
    return ((phi @ covariance) * phi).sum(1).sqrt()


energy = 0.1 + 0.9 * torch.rand(n_jets, dtype=real, generator=generator)  # TeV
phi = design(energy)
response = phi @ truth + sigma * torch.randn(n_jets, dtype=real, generator=generator)
flat = torch.eye(2, dtype=real) / tau**2
mean, covariance = posterior(phi, response, sigma, flat)
rho = float(covariance[0, 1] / covariance.diag().prod().sqrt())
print(f"a = {mean[0]:.4f} +- {covariance[0, 0].sqrt():.4f}, b = {mean[1]:.4f} +- {covariance[1, 1].sqrt():.4f} per TeV")
print(f"correlation {rho:.3f}")
for width_of_prior in (0.02, 0.2, 2.0):
    at = design(torch.tensor([1.0], dtype=real))
    bands = [width(at, posterior(phi[:n], response[:n], sigma, torch.eye(2, dtype=real) / width_of_prior**2)[1])
             for n in (0, 2, 50)]  # fmt: skip
    print(f"prior width {width_of_prior}: f(1 TeV) known to", ", ".join(f"{band.item():.4f}" for band in bands),
          "with 0, 2, 50 jets")  # fmt: skip

# %% slideshow={"slide_type": "subslide"}
x = torch.linspace(0, 2, 100, dtype=real)
fig, panels = lt.plots.figure(columns=3, sharey=True)
for panel, n in zip(panels, (0, 2, 50)):
    m, c = posterior(phi[:n], response[:n], sigma, flat)
    draws = m + torch.randn(25, 2, dtype=real, generator=generator) @ torch.linalg.cholesky(c).T
    panel.plot(x, design(x) @ draws.T, color="0.65", linewidth=0.8, linestyle="-")
    band = width(design(x), c)
    panel.fill_between(x, design(x) @ m - band, design(x) @ m + band, color=lt.plots.COLOURS[0], alpha=0.3, linewidth=0)
    panel.plot(x, design(x) @ truth, color=lt.plots.COLOURS[1], linestyle="--", label="truth")
    panel.plot(energy[:n], response[:n], "o", color="black", markersize=4)
    panel.set(xlabel="true energy [TeV]", xlim=(0, 2), ylim=(-0.45, 0.45))
    panel.set_title(f"{n} jets")
panels[0].set_ylabel("fraction seen $-$ 0.8")
panels[0].legend(loc="upper left")
lt.show(fig, "Lines from the prior fill the picture; with 2 jets they meet at the jets; with 50 they are one bundle")

# %% [markdown] slideshow={"slide_type": "skip"}
# *What you see.* Grey: 25 lines drawn from the posterior; band: $\phi^T\mu \pm \sqrt{\phi^T\Sigma\,\phi}$. Without
# data the posterior is the prior. Two jets pin the line where they are, and leave the rest of it to the prior. Fifty
# jets make it a narrow bundle that widens beyond the data. A posterior is not an error bar that somebody added: it is
# *all the lines that could have made these data*, in their right proportion.
#
# The prior matters where the data say little: with 2 jets the answer at 1 TeV depends on $\tau$, with 50 jets the
# widths for $\tau = 0.2$ and $\tau = 2$ agree.
#
# **What "calibrated" means here.** Throw a truth from the prior, data from the truth, and compute the posterior. Over
# many such throws the pull $(y - \phi^T\mu)/\sqrt{\sigma^2 + \phi^T\Sigma\phi}$ of a new jet has width one: exactly,
# because truth and data come from the very distribution that Bayes' theorem inverts. For *one fixed* truth there is
# no such promise. Remember this when we test networks: one truth is one toy.

# %% slideshow={"slide_type": "skip"}
# NBVAL_CHECK_OUTPUT
first = posterior(phi[:20], response[:20], sigma, flat)
second = posterior(phi[20:], response[20:], sigma, torch.linalg.inv(first[1]), first[0])
agree = torch.allclose(second[0], mean) and torch.allclose(second[1], covariance)
print("the posterior of the first jets is a good prior for the others:", agree)
toys = 4000
truths = tau * torch.randn(toys, 2, dtype=real, generator=generator)
observed = truths @ phi[:5].T + sigma * torch.randn(toys, 5, dtype=real, generator=generator)
_, c = posterior(phi[:5], observed[0], sigma, flat)
means = observed @ phi[:5] / sigma**2 @ c
at = design(torch.tensor([1.5], dtype=real))
new = truths @ at[0] + sigma * torch.randn(toys, dtype=real, generator=generator)
pulls = (new - means @ at[0]) / (sigma**2 + width(at, c) ** 2).sqrt()
print("pulls of new jets at 1.5 TeV have width 1 within 5 errors:",
      bool(abs(pulls.square().mean() - 1) < 5 * math.sqrt(2 / toys)))  # fmt: skip

# %% [markdown] slideshow={"slide_type": "fragment"}
# **Check yourself 1.** A hundred jets, all with the same energy $x_0$. What does the posterior know about $a$ and
# $b$?
#
# <details><summary>Answer</summary>
#
# $\Phi^T\Phi = 100\, (1, x_0)^T (1, x_0)$ has rank one. Only the combination $a + b x_0$ is measured, to $\sigma/10$.
# The direction across, $(-x_0, 1)$, still has the prior's width $\tau$. So at $x_0$ the line is known well, and away
# from it the band opens like $|x - x_0|\,\tau/\sqrt{1 + x_0^2}$. A network has thousands of such directions. Never
# ask whether "the weights are known": ask at which $x$.
# </details>

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 3. What falls and what stays
#
# Averaged over the training points, the statistical part of a line with a wide prior is
# $\frac1n \sum_i \phi_i^T\Sigma\,\phi_i = \frac{\sigma^2}{n}\mathrm{tr}\,\Phi^T\Phi\,(\Phi^T\Phi)^{-1} = \sigma^2 m/n$
# with $m = 2$ parameters: $\sqrt{2/n}\ \sigma$. The noise stays. And now bend the truth a little, so that *no* line
# is right. We fit a line, and its $\sigma$ as well: lecture 01 says that $\sigma^2$ comes out as the mean squared
# residual.

# %% slideshow={"slide_type": "subslide"}
shrink = []
for n in (50, 500, 5000, 50_000):
    x = 0.1 + 0.9 * torch.rand(n, dtype=real, generator=generator)
    bent = design(x) @ truth + 0.02 * torch.sin(6 * x)
    y = bent + sigma * torch.randn(n, dtype=real, generator=generator)
    m, _ = posterior(design(x), y, sigma, flat)
    fitted = (y - design(x) @ m).square().mean().sqrt()
    m, c = posterior(design(x), y, fitted, flat)
    shrink.append((n, width(design(x), c).square().mean().sqrt().item(), fitted.item()))
    error = (design(x) @ m - bent).square().mean().sqrt()
    print(f"{n:6d} jets: statistical {shrink[-1][1]:.5f}, fitted sigma {fitted:.4f}, true error {error:.4f}")

# %% slideshow={"slide_type": "skip"}
# NBVAL_CHECK_OUTPUT
print("the statistical part is sigma sqrt(2/n) within 5%:",
      all(abs(stat / (s * math.sqrt(2 / n)) - 1) < 0.05 for n, stat, s in shrink))  # fmt: skip
print("the fitted sigma stays within 10%:", all(abs(s / shrink[-1][2] - 1) < 0.1 for n, stat, s in shrink[1:]))

# %% [markdown] slideshow={"slide_type": "skip"}
# The statistical part falls forever. It says how well we know the *best line*. With 50,000 jets it is fifty times
# smaller than the distance of the best line from the truth, and nothing in the posterior notices. The fitted $\sigma$
# does: it is $\sqrt{\mathrm{noise}^2 + \mathrm{misfit}^2}$, because what a fit cannot describe, it calls noise. So
# both numbers are needed, and **neither is an error of the prediction if the model is wrong in a place where there
# are no data**.

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 4. Weights with distributions: the ELBO
#
# For a network $|y - f_w(x)|^2$ is not quadratic in $w$. The posterior $p(w|D) = p(D|w)\, p(w)/p(D)$ has no closed
# form, and its normalisation $p(D) = \int dw\, p(D|w)\, p(w)$, the *evidence*, is an integral over thousands of
# dimensions.
#
# **Variational inference** replaces the integral by a fit. Take a simple density $q(w)$ with free parameters and make
# it as close to the posterior as it gets. "Close" is measured by the Kullback-Leibler divergence
#
# $$ \mathrm{KL}(q\,\|\,p) = \int dw\ q(w) \log\frac{q(w)}{p(w)} = E_q\left[ \log\frac{q}{p} \right] \ge 0 . $$
#
# (It is never negative: $\log z \le z - 1$ gives
# $-\mathrm{KL} = E_q[\log \frac pq] \le E_q[\frac pq - 1] = \int p - \int q = 0$.) Now insert Bayes' theorem:
#
# $$ \begin{aligned}
# \mathrm{KL}\big(q(w)\,\|\,p(w|D)\big) &= E_q\big[ \log q(w) - \log p(D|w) - \log p(w) + \log p(D) \big] \\
# &= \underbrace{\mathrm{KL}\big(q(w)\,\|\,p(w)\big) - E_q\big[\log p(D|w)\big]}_{-\mathrm{ELBO}(q)} + \log p(D) .
# \end{aligned} $$
#
# The evidence does not depend on $q$. Minimising the distance to the posterior, which we do not know, is the same as
# minimising the first two terms, which we can compute. And since the left-hand side is not negative,
# $\mathrm{ELBO} \le \log p(D)$: the name says *evidence lower bound*.

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### The loss, and its factor $1/n$
#
# The data are independent, $\log p(D|w) = \sum_i \log p(y_i|x_i, w)$. Divide by their number $n$:
#
# $$ L = - \frac1n \sum_{i=1}^n E_q\big[ \log p(y_i|x_i, w) \big] + \frac1n\, \mathrm{KL}\big(q(w)\,\|\,p(w)\big) . $$
#
# The first term is a mean over events, so a batch of $B$ events estimates it without bias. The second is *not* a sum
# over events. The prior is there once, however many batches we see. So **the KL of a mini-batch loss is divided by
# the size $n$ of the whole training sample**, not by $B$, and it is summed over all weights, not averaged. As $n$
# grows its weight falls, and the posterior gets narrow.
#
# What does a wrong factor do? Multiply the KL by $\kappa$. Then $L$ is, up to an overall factor, the loss for a
# likelihood $p(D|w)^{1/\kappa}$: as if each event counted $1/\kappa$ times. Dividing by $B$ instead of $n$ is
# $\kappa = n/B$: the network believes that it has seen *one batch*. Averaging over $W$ weights is $\kappa = 1/W$: it
# believes that it has seen $W$ times more events than there are. Both train smoothly. Both are common.

# %% [markdown] slideshow={"slide_type": "fragment"}
# **Check yourself 2.** Set $q$ to a very narrow spike at $w_0$. What is left of the loss, and why do the widths not
# shrink to zero by themselves?
#
# <details><summary>Answer</summary>
#
# $E_q[\log p(D|w)] \to \log p(D|w_0)$, and the KL of the next section becomes $|w_0|^2/2\tau^2 + \sum\log(\tau/s)$:
# the fit with weight decay, plus a term that goes to $+\infty$ for $s \to 0$. The likelihood wants narrow weights,
# the logarithm forbids zero width.
# </details>

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 5. A Gaussian for each weight
#
# The usual choice is one Gaussian for each weight, all independent (*mean-field*):
# $q(w) = \prod_j N(w_j;\, \mu_j, s_j^2)$, twice as many parameters as the network has weights.
#
# **The KL in closed form.** For one weight and a prior $N(0, \tau^2)$ we need $E_q[\log q - \log p]$. Under $q$,
# $E[(w - \mu)^2] = s^2$ and $E[w^2] = \mu^2 + s^2$, so
#
# $$ E_q[\log q] = -\log s - \tfrac12 - \tfrac12\log 2\pi , \qquad
# E_q[\log p] = -\log\tau - \frac{\mu^2 + s^2}{2\tau^2} - \tfrac12\log 2\pi , $$
#
# $$ \mathrm{KL} = \frac{\mu^2 + s^2}{2\tau^2} - \frac12 - \log\frac{s}{\tau} . $$
#
# Independent weights: the KLs add. Measured in units of the prior's width, $\tau = 1$, this is
# $\frac12(\mu^2 + s^2 - 1) - \log s$, and so we write it in code. The term $\mu^2/2$ is weight decay.
#
# **Gradients through a random number.** $E_q[\log p(y|x,w)]$ is estimated by drawing $w$. The draw depends on $\mu$
# and $s$; to differentiate, pull the randomness out: $w = \mu + s\,\varepsilon$ with $\varepsilon \sim N(0, 1)$. Then
# $\nabla_{\mu,s} E_q[F(w)] = E_\varepsilon[\nabla_{\mu,s} F(\mu + s\varepsilon)]$, which one draw estimates without
# bias (*reparametrisation*).

# %% [markdown] slideshow={"slide_type": "subslide"}
# **Local reparametrisation** (Kingma, Salimans, Welling 2015). A linear layer computes $h_k = \sum_j x_j w_{jk}$. A
# sum of independent Gaussians is a Gaussian:
#
# $$ h_k \sim N\Big( \sum_j x_j\, \mu_{jk},\ \sum_j x_j^2\, s_{jk}^2 \Big) . $$
#
# Draw $h$ instead of $w$. For one event nothing changes. For a batch it does: with one draw of $w$ all events share
# the same random numbers; with draws of $h$ each has its own. The mean of $B$ terms $\ell_i$ with variance $V$ and
# covariance $C$ among each other has the variance
#
# $$ \mathrm{Var}\Big( \frac1B \sum_i \ell_i \Big) = \frac{V}{B} + \Big(1 - \frac1B\Big)\, C , $$
#
# and $C$ does not fall with the batch. Fresh noise for each event makes $C = 0$.


# %% slideshow={"slide_type": "subslide"}
def with_one(x):
    """Append a 1 to each row, whose weight is the bias."""
    return torch.cat([x, torch.ones_like(x[..., :1])], dim=-1)


class BayesianLinear(nn.Module):
    """h = (x, 1) w with an independent Gaussian for each weight; its mean and width are in units of the prior's width.

    x (..., n, d) -> (..., n, k). copies: shape of a stack of independent layers, () for one.
    """

    def __init__(self, d, k, prior, prior_of_bias, copies=()):
        super().__init__()
        self.mean = nn.Parameter(torch.randn(*copies, d + 1, k))
        self.log_s = nn.Parameter(torch.full((*copies, d + 1, k), -3.0))
        self.register_buffer("prior", torch.cat([torch.full((d, k), prior), torch.full((1, k), prior_of_bias)]))

    def forward(self, x, weights=None):
        """Draw a sum for each row; or use the weights that are given, the same for all rows."""
        if weights is not None:
            return with_one(x) @ weights
        centre = with_one(x) @ (self.prior * self.mean)
        variance = with_one(x).square() @ (self.prior * self.log_s.exp()).square()
        return centre + variance.sqrt() * torch.randn_like(centre)

    def draw(self, samples):
        """Return weights, shape (samples, *copies, d + 1, k)."""
        noise = torch.randn(samples, *self.mean.shape, device=self.mean.device)
        return self.prior * (self.mean + self.log_s.exp() * noise)

    def kl(self):
        """Return the KL to the prior, summed over the weights, shape copies."""
        return (0.5 * (self.mean.square() + (2 * self.log_s).exp() - 1) - self.log_s).sum((-2, -1))


# %% [markdown] slideshow={"slide_type": "subslide"}
# Its first test is the line: one layer with one input and one output, for which we know the answer. First the noise
# of the gradient, from 300 draws each; then a training with the loss of section 4.

# %% slideshow={"slide_type": "subslide"}
line = BayesianLinear(1, 1, prior=tau, prior_of_bias=tau)
data = {"x": energy[:, None].float(), "y": response[:, None].float()}
scatter = {}
for name in ("one draw of the weights", "a draw for each jet"):
    rows = []
    for _ in range(300):
        weights = line.draw(1)[0] if name.startswith("one") else None
        loss = (line(data["x"], weights) - data["y"]).square().mean() / (2 * sigma**2)
        rows.append(torch.autograd.grad(loss, line.mean)[0].flatten())
    scatter[name] = torch.stack(rows).std(0)
    print(f"{name:24s} standard deviation of the gradient (b, a):", scatter[name].numpy().round(2))


def negative_elbo(model, batch):
    """Return the loss of section 4; the batch is the whole sample."""
    misfit = (model(batch["x"]) - batch["y"]).square().mean() / (2 * sigma**2)
    return {"data": misfit, "KL": model.kl() / n_jets}


lt.fit(line, negative_elbo, data, steps=1000, batch_size=n_jets, learning_rate=0.03, warmup=0, clip=None,
       progress=False)  # fmt: skip
line = line.cpu()
trained_mean, trained_s = (tau * part.detach()[:, 0].flip(0).double() for part in (line.mean, line.log_s.exp()))
alone = torch.linalg.inv(covariance).diag().rsqrt()  # 1 / sqrt of the diagonal of the inverse covariance
for name, numbers in (("exact", covariance.diag().sqrt()), ("trained", trained_s), ("predicted", alone)):
    print(f"{name:10s} width of a {numbers[0]:.5f}, of b {numbers[1]:.5f}")
print(f"mean of a {trained_mean[0]:.4f}, exact {mean[0]:.4f}; of b {trained_mean[1]:.4f}, exact {mean[1]:.4f}")

# %% slideshow={"slide_type": "skip"}
# NBVAL_CHECK_OUTPUT
m, s = 0.7, 0.3
draws = m + s * torch.randn(1_000_000, dtype=real, generator=generator)
log_ratio = -math.log(s) - (draws - m).square() / (2 * s**2) + draws.square() / 2
by_hand = 0.5 * (m**2 + s**2 - 1) - math.log(s)
print(f"KL of N(0.7, 0.3) to N(0, 1) by hand: {by_hand:.4f}")
print("a million draws agree within 5 errors:", bool(abs(log_ratio.mean() - by_hand) < 5 * log_ratio.std() / 1000))
ratio = scatter["one draw of the weights"] / scatter["a draw for each jet"]
print("a draw for each jet lowers the noise of the gradient 5 to 9 times (the root of 50 is 7):",
      bool(((ratio > 5) & (ratio < 9)).all()))  # fmt: skip
print("trained widths are 1/sqrt of the diagonal of the inverse covariance within 10%:",
      bool(((trained_s / alone - 1).abs() < 0.1).all()))  # fmt: skip
print("trained means are exact within half an exact error:",
      bool(((trained_mean - mean).abs() < 0.5 * covariance.diag().sqrt()).all()))  # fmt: skip

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 6. What independent weights cannot know
#
# The training has converged, to the wrong widths: less than half of the exact ones. Not a bug. Do the minimum by
# hand. For the line $E_q|y - \Phi\theta|^2 = |y - \Phi\mu|^2 + \sum_j s_j^2\, (\Phi^T\Phi)_{jj}$, and the derivative
# of the ELBO with respect to $s_j$ vanishes at
#
# $$ \frac{1}{s_j^2} = \frac{(\Phi^T\Phi)_{jj}}{\sigma^2} + \frac1{\tau^2} = \big(\Sigma^{-1}\big)_{jj}
# \qquad\mathrm{while\ the\ exact\ variance\ is}\qquad \Sigma_{jj} = \Big(\big(\Sigma^{-1}\big)^{-1}\Big)_{jj} . $$
#
# First invert, then take the diagonal: exact. First take the diagonal, then invert: mean-field. The first lets the
# other parameters float, the second holds them fixed. With two parameters of correlation $\rho$,
#
# $$ s_j^2 = (1 - \rho^2)\, \Sigma_{jj} , \qquad
# \log p(D) - \mathrm{ELBO} = \mathrm{KL}\big(q\,\|\,p(\theta|D)\big) = -\tfrac12 \log(1 - \rho^2) . $$
#
# The means are right. The widths are those of a slice, not of a shadow.
#
# **Why this way round?** $\mathrm{KL}(q\|p) = E_q[\log q - \log p]$ is punished where $q$ is large and $p$ small. So
# $q$ hides inside $p$: it stays within a valley that is not parallel to its axes, and it sits in one of several
# modes. The other direction, $\mathrm{KL}(p\|q) = \mathrm{const} - E_p[\log q]$, is punished where $p$ is large and
# $q$ small: with Gaussians it is minimal when $\mu_j, s_j^2$ are mean and variance under $p$, the exact marginal
# widths. But it needs draws from the posterior, which is what we do not have.
#
# **Coordinates help.** With the energy measured from its mean, $x - \bar x$, the off-diagonal element
# $\sum_i (x_i - \bar x)$ is zero, $\rho = 0$, and mean-field is exact. (The prior is then one on the value at $\bar x$
# instead of $a$; with 50 jets that does not matter.) So standardise the inputs: it removes this correlation, though not
# those between hidden units (section 8).

# %% slideshow={"slide_type": "subslide"}
centre = torch.stack([torch.ones_like(energy), energy - energy.mean()], dim=1)
_, c_centred = posterior(centre, response, sigma, flat)
x = torch.linspace(0, 2, 100, dtype=real)
from_mean = torch.stack([torch.ones_like(x), x - energy.mean()], dim=1)
curves = {
    "exact": width(design(x), covariance),
    "mean-field": width(design(x), torch.diag(alone**2)),
    "mean-field, energy centred": width(from_mean, torch.diag(1 / torch.linalg.inv(c_centred).diag())),
}
circle = torch.linspace(0, 2 * math.pi, 200, dtype=real)
circle = torch.stack([circle.cos(), circle.sin()], dim=1)
fig, (plane, bands) = lt.plots.figure(columns=2)
for i, c in enumerate((covariance, torch.diag(alone**2))):
    edge = mean + circle @ torch.linalg.cholesky(c).T
    plane.plot(*edge.T, color=lt.plots.COLOURS[i], linestyle=lt.plots.LINES[i], label=list(curves)[i])
plane.plot(*mean, "+", color="black", markersize=12)
plane.set(xlabel="$a$", ylabel="$b$ [1/TeV]")
plane.locator_params(axis="x", nbins=4)
plane.set_ylim(float(mean[1]) - 0.021, float(mean[1]) + 0.021)
plane.legend(loc="upper right")
bands.axvspan(0.1, 1.0, color="0.92", linewidth=0)
for i, (name, curve) in enumerate(curves.items()):
    bands.plot(x, curve, color=lt.plots.COLOURS[i], linestyle=lt.plots.LINES[i], label=name)
bands.set(xlabel="true energy [TeV]", ylabel="width of the line", xlim=(0, 2), ylim=(0, 0.022))
bands.legend(loc="upper left")
lt.show(fig, "Left: a tilted exact ellipse, a small upright one inside. Right: the mean-field band has the wrong shape")

# %% [markdown] slideshow={"slide_type": "skip"}
# *What you see.* Left: one-sigma ellipses in the plane of the two parameters. Mean-field must stand upright, and
# hides inside. Right: the width of the line, grey the range of the data. Amid the data mean-field is too *wide*:
# there the errors of $a$ and $b$ cancel in truth, and independent ones cannot. Beyond the data it is too *narrow*.
# With the energy centred (green, under the blue line) nothing is lost.

# %% slideshow={"slide_type": "skip"}
# NBVAL_CHECK_OUTPUT
slice_over_shadow = alone / covariance.diag().sqrt()
print("mean-field width over exact width is sqrt(1 - rho^2):",
      bool(((slice_over_shadow - math.sqrt(1 - rho**2)).abs() < 1e-8).all()))  # fmt: skip
print("it is below one half:", bool((slice_over_shadow < 0.5).all()))
noisy = sigma**2 * torch.eye(n_jets, dtype=real) + tau**2 * phi @ phi.T  # covariance of the data before seeing them
evidence = torch.distributions.MultivariateNormal(torch.zeros(n_jets, dtype=real), noisy).log_prob(response)
expected = -((response - phi @ mean).square().sum() + (alone**2 * phi.square().sum(0)).sum()) / (2 * sigma**2)
expected = expected - n_jets * math.log(sigma * math.sqrt(2 * math.pi))
divergence = (0.5 * ((mean**2 + alone**2) / tau**2 - 1) - (alone / tau).log()).sum()
gap = float(evidence - (expected - divergence))
print("evidence - ELBO = -log(1 - rho^2) / 2:", abs(gap + 0.5 * math.log(1 - rho**2)) < 1e-8)
print("centred, the widest difference to exact is below 1%:",
      bool(((curves["mean-field, energy centred"] / curves["exact"] - 1).abs() < 0.01).all()))  # fmt: skip

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 7. The predictive distribution in two parts
#
# The integral over $w$ is now a mean over draws $w_1, \dots, w_M$ from $q$. Let the network have two outputs,
# $f_w(x)$ and $\sigma_w(x)$, as in lecture 02. For fixed $w$ the target has mean $f_w$ and variance $\sigma_w^2$.
# Over $w$ as well,
#
# $$ \mathrm{Var}(y) = E_w E\big[y^2|w\big] - \big(E_w f_w\big)^2
# = E_w\big[\sigma_w^2 + f_w^2\big] - \big(E_w f_w\big)^2
# = \underbrace{E_w\big[\sigma_w^2\big]}_{\sigma_{syst}^2} + \underbrace{\mathrm{Var}_w(f_w)}_{\sigma_{stat}^2} . $$
#
# This is the **law of total variance**: mean of the variances plus variance of the means. It is exact, also when
# $p(y|x, D)$ is no Gaussian. Three remarks.
#
# - The prediction is the *mean of the drawn predictions*, $\frac1M\sum_k f_{w_k}(x)$, not the network at the mean
#   weights: a network is not linear in $w$. It comes with an error $\sigma_{stat}/\sqrt M$; and $\sigma_{stat}$
#   itself is known to $1/\sqrt{2M}$, 7% for $M = 100$.
# - Draw *weights*, not sums, when you predict. With one $w$ for all $x$ each draw is a function, and differences
#   between neighbouring points make sense. Local reparametrisation is for training.
# - The $\sigma_w$ of a Bayesian network is fitted with noisy weights. Minimise
#   $E_q[(y - f_w)^2]/2\sigma^2 + \log\sigma$ over $\sigma$: it settles at
#   $\sigma^2 = (y - \bar f)^2 + \sigma_{stat}^2$, averaged over targets. So in training $\sigma_{syst}$ *learns the
#   statistical part as well*. With plenty of data this is a small correction. With little data it counts twice.
#
# We look at the resonance of lecture 01 with noise that grows from 0.05 to 0.15 across the picture, for 100 to 6400
# training points, in batches of 50. All networks train side by side, as a stack of copies. Two more copies have the
# wrong factor: their KL is divided by the batch size.


# %% slideshow={"slide_type": "subslide"}
class BayesianNetwork(nn.Module):
    """f(x) = b + sum_j v_j erf(u_j x + c_j), a Gaussian for each weight; x (..., n, 1) -> (*copies, n, outputs)."""

    def __init__(self, units, outputs=1, copies=()):
        super().__init__()
        self.first = BayesianLinear(1, units, prior=4.0, prior_of_bias=2.0, copies=copies)
        self.last = BayesianLinear(units, outputs, prior=1 / math.sqrt(units), prior_of_bias=0.5, copies=copies)

    def forward(self, x):
        return self.last(torch.erf(self.first(x)))

    def curves(self, x, samples):
        """Return predictions for some draws of the weights, shape (samples, *copies, n, outputs)."""
        with torch.no_grad():
            return self.last(torch.erf(self.first(x, self.first.draw(samples))), self.last.draw(samples))

    def kl(self):
        return self.first.kl() + self.last.kl()


sizes, batch_size = [100, 400, 1600, 6400], 50
copies = [*sizes, sizes[0], sizes[-1]]  # the last two with the KL over the batch size
in_front = torch.tensor([*(1 / n for n in sizes), 1 / batch_size, 1 / batch_size])
x_all = 2 * torch.rand(max(sizes), 1, generator=generator) - 1
noise_all = (0.10 + 0.05 * x_all) * torch.randn(x_all.shape, generator=generator)
rows = torch.arange(max(sizes))[:, None] % torch.tensor(copies)  # copy i sees its own n_i points, again and again
data = {"x": x_all[rows], "y": (resonance(x_all) + noise_all)[rows]}  # (6400, 6, 1)


def two_outputs(network, batch):
    """Return the loss of all copies: the likelihood of lecture 02, and the KL with its factor."""
    out = network(batch["x"].transpose(0, 1))  # (copies, batch, 2)
    f, log_sigma = out[..., 0], out[..., 1] - 2
    pull = (batch["y"][..., 0].T - f) * (-log_sigma).exp()
    return (pull.square() / 2 + log_sigma).mean(1).sum() + (network.kl() * in_front.to(pull.device)).sum()


# %% slideshow={"slide_type": "subslide"}
network = BayesianNetwork(30, outputs=2, copies=(len(copies),))
lt.fit(network, two_outputs, data, steps=1000, batch_size=batch_size, learning_rate=0.03, warmup=0, clip=None,
       progress=False)  # fmt: skip
x = torch.linspace(-1, 1, 101)[:, None]
out = network.cpu().curves(x, samples=200)  # (200, copies, 101, 2)
f, s = out[..., 0], (out[..., 1] - 2).exp()
noise = float((0.10 + 0.05 * x).square().mean().sqrt())
error = (f.mean(0) - resonance(x)[:, 0]).square().mean(1).sqrt()
stat, syst = f.var(0).mean(1).sqrt(), s.square().mean((0, 2)).sqrt()
for i, n in enumerate(copies):
    wrong = "   KL over batch size" if i >= len(sizes) else ""
    print(f"{n:5d} points: statistical {stat[i]:.4f}, systematic {syst[i]:.4f}, true error {error[i]:.4f}{wrong}")

# %% slideshow={"slide_type": "subslide"}
fig, ax = lt.plots.figure()
ax.plot(sizes, syst[:4], "s--", color=lt.plots.COLOURS[1], label=r"$\sigma_{\rm syst}$, mean of the variances")
ax.plot(sizes, stat[:4], "o-", color=lt.plots.COLOURS[0], label=r"$\sigma_{\rm stat}$, variance of the means")
ends = [sizes[0], sizes[-1]]
ax.plot(ends, stat[4:], "^:", color=lt.plots.COLOURS[3], label=r"$\sigma_{\rm stat}$, KL over batch size")
ax.plot(sizes, error[:4], "x", color="black", markersize=9, label="true error of the mean")
ax.axhline(noise, color="black", linewidth=1.2, linestyle="-", label="noise of the targets")
ax.set(xlabel="training points $n$", ylabel="standard deviation", xscale="log", yscale="log", ylim=(0.003, 1.2))
ax.legend(loc="upper right", ncols=2, fontsize=11)
lt.show(fig, "The statistical part falls with the number of points, the systematic part settles at the noise")

# %% slideshow={"slide_type": "skip"}
# NBVAL_CHECK_OUTPUT
exponent = float((stat[3] / stat[0]).log() / math.log(64))
lt.verdict("exponent of the statistical part against training size", exponent, ci=(-0.64, -0.43),
           laptop=(-0.64, -0.43), gpu=None,
           control={"KL over the batch size": float((stat[5] / stat[4]).log() / math.log(64))})  # fmt: skip
lt.verdict("systematic part over the noise at 6400 points", float(syst[3]) / noise, ci=(0.973, 1.083),
           laptop=(0.973, 1.083), gpu=None, control={"100 points": float(syst[0]) / noise}, floor=0.05)  # fmt: skip

# %% [markdown] slideshow={"slide_type": "skip"}
# *What you see.* The statistical part (blue) falls about like $1/\sqrt n$. The true error (crosses) falls with it up to
# 1600 points, and then stays at 0.012: something else limits it there, of which the statistical part knows nothing. The
# systematic part settles at the noise, and comes to it from above: at 100 points it is twice as large, because it has
# learned the statistical part, and what this network cannot resolve yet. With the wrong factor (pink) the statistical
# part does not fall: 6400 points or 100, this network believes that it has seen 50.

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 8. A network whose exact answer we know
#
# Is the blue curve *right*? We need a network with a known posterior. It exists: make it infinitely wide (Neal 1996).
# Our network is $f(x) = b + \sum_{j=1}^m v_j\, \mathrm{erf}(u_j x + c_j)$ with the priors $v_j \sim N(0, 1/m)$,
# $u_j \sim N(0, s_u^2)$, $c_j \sim N(0, s_c^2)$ and $b \sim N(0, s_b^2)$; here $s_u = 4$, $s_c = 2$, $s_b = 0.5$. (The
# second argument of $N$ is the variance.) Under the prior this is a sum of $m$ independent terms. For $m \to \infty$
# the central limit theorem makes the values at any set of points *jointly Gaussian*, with mean zero and covariance
#
# $$ k(x, x') = E\big[f(x) f(x')\big] = s_b^2 + E_{u,c}\big[ \mathrm{erf}(ux + c)\ \mathrm{erf}(ux' + c) \big]
# = s_b^2 + \frac2\pi \arcsin \frac{2 g(x, x')}{\sqrt{\big(1 + 2 g(x,x)\big)\big(1 + 2 g(x',x')\big)}} , $$
#
# with $g(x, x') = s_u^2\, x x' + s_c^2$, the covariance of the two arguments. (The last step is an integral over two
# correlated Gaussians, done by Williams in 1997; for erf it is closed. We test it below.) A distribution over
# functions whose values are jointly Gaussian is called a **Gaussian process**.
#
# Its posterior is the straight line once more. Take the hidden units as fixed functions, $f = \Phi w$ with unit prior,
# and use $(\Phi^T\Phi + \sigma^2)^{-1}\Phi^T = \Phi^T(\Phi\Phi^T + \sigma^2)^{-1}$ (multiply with both brackets to see
# it). Then only $\Phi\Phi^T$ appears, which is the covariance $k$. For the variance,
# $(\Phi^T\Phi/\sigma^2 + 1)^{-1} = 1 - \Phi^T(\Phi\Phi^T + \sigma^2)^{-1}\Phi$ by the same identity. With $K = k(X, X)$
# at the training points,
#
# $$ \mu(x) = k(x, X)\, (K + \sigma^2)^{-1} y , \qquad
# \sigma_{stat}^2(x) = k(x, x) - k(x, X)\, (K + \sigma^2)^{-1}\, k(X, x) . $$

# %% [markdown] slideshow={"slide_type": "subslide"}
# **The toy.** A test beam scans a calorimeter module along its length $x$, from $-1$ to 1 m, and measures by how many
# per cent the response deviates from the nominal one, each time with an error of 0.1%. At $|x| < 0.3$ m a support
# structure is in the way: no points there. How well is the response known in the gap?
#
# We throw the true curve *from the prior*, 20 times, so that calibration has a meaning (section 2).


# %% slideshow={"slide_type": "subslide"}
def kernel(a, b):
    """Return the prior covariance of f at the places a (n,) and b (m,), shape (n, m)."""
    inner = 4.0**2 * a[:, None] * b + 2.0**2
    norm = (1 + 2 * (4.0**2 * a**2 + 2.0**2))[:, None] * (1 + 2 * (4.0**2 * b**2 + 2.0**2))
    return 0.5**2 + 2 / math.pi * torch.asin(2 * inner / norm.sqrt())


n, sigma = 40, 0.1
x = torch.cat([torch.linspace(-1, -0.3, n // 2, dtype=real), torch.linspace(0.3, 1, n // 2, dtype=real)])
grid = torch.linspace(-1.4, 1.4, 113, dtype=real)
where = {"at the data": (grid.abs() >= 0.3) & (grid.abs() <= 1), "in the gap": grid.abs() < 0.3}
both = torch.cat([x, grid])
root = torch.linalg.cholesky(kernel(both, both) + 1e-9 * torch.eye(len(both), dtype=real))
curves = root @ torch.randn(len(both), p.truths, dtype=real, generator=generator)  # (n + grid, truths)
y, truths = curves[:n] + sigma * torch.randn(n, p.truths, dtype=real, generator=generator), curves[n:]

gain = torch.linalg.solve(kernel(x, x) + sigma**2 * torch.eye(n, dtype=real), kernel(x, grid)).T  # (grid, n)
exact_mean, exact = gain @ y, (kernel(grid, grid).diag() - (gain * kernel(grid, x)).sum(1)).sqrt()
effective = float(torch.trace(torch.linalg.solve(kernel(x, x) + sigma**2 * torch.eye(n, dtype=real), kernel(x, x))))
print(f"the data fix {effective:.1f} directions in the space of functions")


# %% slideshow={"slide_type": "subslide"}
def rms(values):
    """Return the root mean square."""
    return float(values.square().mean().sqrt())


def compare(name, mean, band):
    """Print band over exact band and the width of the pulls, return the former; mean and band (grid, toys)."""
    ratios, shown, toys = {}, [], mean.shape[1]
    for place, mask in where.items():
        ratios[place] = rms(band[mask]) / rms(exact[mask])
        pull = rms(((truths[:, :toys] - mean) / band)[mask])
        best = rms(((truths - exact_mean)[:, :toys] / exact[:, None])[mask])
        shown.append(f"{place} {ratios[place]:4.2f}, pull {pull:5.2f} ({best:.2f})")
    print(f"{name:24s} {'; '.join(shown)}")
    return ratios


print("band over exact band, width of the pulls (in brackets: exact, same toys):")
_ = compare("exact", exact_mean, exact[:, None].expand(-1, p.truths))

# %% slideshow={"slide_type": "skip"}
# NBVAL_CHECK_OUTPUT
u, c, v, b = (torch.randn(20_000, k, dtype=real, generator=generator) for k in (p.units, p.units, p.units, 1))
places = torch.tensor([-0.8, 0.0, 0.5], dtype=real)
f = 0.5 * b + (v[..., None] * torch.erf(4.0 * u[..., None] * places + 2.0 * c[..., None])).sum(1) / math.sqrt(p.units)
error = (kernel(places, places).diag()[:, None] * kernel(places, places).diag() + kernel(places, places) ** 2).sqrt()
distance = (f.T @ f / len(f) - kernel(places, places)).abs() / (error / math.sqrt(len(f)))
print("20,000 networks from the prior have the covariance k within 5 errors:", bool((distance < 5).all()))
by_parameters = phi @ torch.linalg.solve(phi.T @ phi + 0.3 * torch.eye(2, dtype=real), phi.T @ response)
by_functions = phi @ phi.T @ torch.linalg.solve(phi @ phi.T + 0.3 * torch.eye(n_jets, dtype=real), response)
print("parameters or functions, the line is the same:", torch.allclose(by_parameters, by_functions))

# %% [markdown] slideshow={"slide_type": "subslide"}
# Now the Bayesian network with 50 units, trained on all toys side by side, and on four of them with two common bugs:
# KL *averaged* over the weights, and KL divided by a batch size of ten.

# %% slideshow={"slide_type": "subslide"}
weights = 2 * p.units + p.units + 1
factors = {"Bayesian network": (1 / n, p.truths), "KL averaged over weights": (1 / n / weights, 4),
           "KL over a batch of 10": (1 / 10, 4)}  # in front of the KL, and how many of the toys  # fmt: skip
in_front = torch.cat([torch.full((toys,), factor) for factor, toys in factors.values()])
which = torch.cat([torch.arange(toys) for _, toys in factors.values()])
data = {"x": x[:, None].float(), "y": y[:, which].float()}  # (40, 1), (40, copies)


def elbo_of_all(network, batch):
    """Return the negative ELBO per point, summed over the copies."""
    f = network(batch["x"])[..., 0]  # (copies, 40)
    misfit = (f - batch["y"].T).square().mean(-1) / (2 * sigma**2)
    return (misfit + in_front.to(f.device) * network.kl()).sum()


network = BayesianNetwork(p.units, copies=(len(which),))
lt.fit(network, elbo_of_all, data, steps=p.steps, batch_size=n, learning_rate=0.02, warmup=0, clip=None,
       progress=False)  # fmt: skip
draws = network.cpu().curves(grid[:, None].float(), samples=200)[..., 0].double()  # (200, copies, grid)
parts = draws.split([toys for _, toys in factors.values()], dim=1)
variational = {name: (part.mean(0).T, part.std(0).T) for name, part in zip(factors, parts)}
print("band over exact band, width of the pulls (in brackets: exact, same toys):")
ratios = {name: compare(name, *fit) for name, fit in variational.items()}
at_mean = network.last(torch.erf(network.first(grid[:, None].float(), network.first.prior * network.first.mean)),
                       network.last.prior * network.last.mean)[..., 0].detach().double().T  # fmt: skip
m, s = variational["Bayesian network"]
shift = ((at_mean[:, : p.truths] - m) / s)[where["in the gap"]]
print(f"network at the mean weights minus mean of the networks, in the gap: {rms(shift):.2f} statistical errors")

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### Why? The theory of section 6 says it
#
# Freeze the hidden layer: 50 fixed functions and a constant, $m = 51$ weights with unit prior. Everything is linear,
# and both posteriors are known. Average the variance of $f$ over the training points. Let $a_k$ be the eigenvalues of
# $A = \Phi^T\Phi/\sigma^2$ and $A_{jj}$ its diagonal:
#
# $$ \mathrm{exact:}\quad \frac{\sigma^2}{n}\, \mathrm{tr}\, A (A + 1)^{-1}
# = \frac{\sigma^2}{n} \sum_k \frac{a_k}{a_k + 1} ,
# \qquad \mathrm{mean\ field:}\quad \frac{\sigma^2}{n} \sum_j \frac{A_{jj}}{A_{jj} + 1} . $$
#
# The first sum counts the directions that the data fix, $m_{eff} = 7$ here. The second counts the *weights*, since each
# of them alone has much to say: 50. (It is never smaller: $A_{jj} = \sum_k O_{jk}^2 a_k$ with an orthogonal $O$ is an
# average of eigenvalues, $a/(a+1)$ is concave, and $\sum_j O_{jk}^2 = 1$.) **At the data a mean-field band is too wide,
# by $\sqrt{m/m_{eff}}$**, 2.7 here, and by this formula it gets worse with each unit. **In the gap it cannot open**:
# the variance $\sum_j \phi_j^2(x)/(A_{jj} + 1)$ knows $x$ only through the $\phi_j^2$, and these are alike everywhere.
# What is free in the gap is a *combination* of weights, each of which is fixed elsewhere.

# %% slideshow={"slide_type": "subslide"}
u, c = 4.0 * torch.randn(p.units, dtype=real, generator=generator), 2.0 * torch.randn(
    p.units, dtype=real, generator=generator)  # fmt: skip


def features(x):
    """Return the frozen hidden units and the constant, times their prior widths, (n, units + 1)."""
    units = torch.erf(x[:, None] * u + c) / math.sqrt(p.units)
    return torch.cat([units, torch.full_like(x[:, None], 0.5)], dim=1)


inverse = features(x).T @ features(x) / sigma**2 + torch.eye(p.units + 1, dtype=real)
frozen = {
    "last layer, exact": width(features(grid), torch.linalg.inv(inverse)),
    "last layer, mean-field": width(features(grid), torch.diag(1 / inverse.diag())),
}
for name, band in frozen.items():
    over = {place: rms(band[mask]) / rms(exact[mask]) for place, mask in where.items()}
    print(f"{name:24s} band over exact band", "; ".join(f"{place} {ratio:.2f}" for place, ratio in over.items()))
directions = inverse.diag() - 1
counted = [float((directions / (directions + 1)).sum())]
eigenvalues = torch.linalg.eigvalsh(inverse) - 1
counted.append(float((eigenvalues / (eigenvalues + 1)).sum()))
print(f"weights counted by mean-field {counted[0]:.1f}, directions that the data fix {counted[1]:.1f},", end=" ")
print(f"root of the ratio {math.sqrt(counted[0] / counted[1]):.2f}")

# %% slideshow={"slide_type": "subslide"}
fig, (one, all_of) = lt.plots.figure(columns=2)
m, s = (part[:, 0] for part in variational["Bayesian network"])
one.axvspan(-0.3, 0.3, color="0.92", linewidth=0)
one.fill_between(grid, m - s, m + s, color=lt.plots.COLOURS[0], alpha=0.3, linewidth=0)
one.plot(grid, m, color=lt.plots.COLOURS[0], linestyle="-", label="Bayesian network")
for sign in (-1, 1):
    one.plot(grid, exact_mean[:, 0] + sign * exact, color="black", linestyle=":", label="exact" if sign > 0 else None)
one.plot(grid, truths[:, 0], color=lt.plots.COLOURS[1], linestyle="--", label="truth")
one.plot(x, y[:, 0], "o", color="0.35", markersize=4)
one.set(xlabel="position [m]", ylabel="response, deviation [%]", xlim=(-1.4, 1.4))
one.legend(loc="best", fontsize=12)
all_of.axvspan(-0.3, 0.3, color="0.92", linewidth=0)
lines = {"exact": (exact, "black", ":"), "last layer, mean-field": (frozen["last layer, mean-field"], "0.5", "-")}
for i, (name, (_, s)) in enumerate(variational.items()):
    lines[name] = (s.square().mean(1).sqrt(), lt.plots.COLOURS[(0, 2, 3)[i]], ("-", "--", "-.")[i])
for name, (band, colour, line_style) in lines.items():
    all_of.plot(grid, band, color=colour, linestyle=line_style, label=name)
all_of.set(xlabel="position [m]", ylabel="width of the band [%]", yscale="log", xlim=(-1.4, 1.4), ylim=(0.004, 8))
all_of.legend(loc="upper center", fontsize=11)
lt.show(fig, "Left: band of the Bayesian network and the exact one. Right: widths, wrong at the data and in the gap")

# %% slideshow={"slide_type": "skip"}
# NBVAL_CHECK_OUTPUT
print("mean-field never counts fewer directions than the exact posterior:", counted[0] >= counted[1])
faults = list(factors)[1:]
ours = ratios["Bayesian network"]
lt.verdict("band of the Bayesian network over the exact band, at the data", ours["at the data"], ci=(2.83, 3.47),
           laptop=(2.83, 3.47), gpu=None, control={name: ratios[name]["at the data"] for name in faults})  # fmt: skip
lt.verdict("band of the Bayesian network over the exact band, in the gap", ours["in the gap"], ci=(0.782, 0.972),
           laptop=(0.782, 0.972), gpu=None, control={name: ratios[name]["in the gap"] for name in faults})  # fmt: skip

# %% [markdown] slideshow={"slide_type": "skip"}
# *What you see.* Left, one of the toys. The mean is good. The band of the Bayesian network (blue) is three times too
# wide at the points, and somewhat too narrow in the gap. Right, the widths averaged over toys: the exact one (dotted)
# grows fivefold from the data into the gap, that of the network by a third. The closed formula for the last layer
# (grey) shows the same. With the KL averaged over weights (green) the band collapses, with the KL over a batch it is
# inflated: a calibration that was wrong by a factor of three *before* any bug is wrong by three the other way, or by
# six, after it.
#
# Is a Bayesian network useless then? No: it is *cheap*, its mean is regularised well, and the statistical part falls
# with $n$ as it should. But its absolute size is the size of an approximation. Calibrate it, or compare it with one
# of the next methods, before you quote it. By the formula above more units make it worse, like $\sqrt m$.

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### Line and network, side by side

# %% slideshow={"slide_type": "subslide"}
explorer = lt.explorers.posteriors.gap
lt.show(
    explorer.figures({"points": 6}, {"points": 48}, size=(9.2, 7.6)),
    "Posteriors of a line and a network with 6 and with 48 points: the line is sure of itself in the gap, and wrong",
)

# %% [markdown] slideshow={"slide_type": "skip"}
# *What you see.* Left the exact posterior of a line, right that of the network, mean-field (band) and exact (dotted);
# top with 6 points, bottom with 48. The line is sure about the gap: *if* the truth is a line, two sides fix the
# middle. It is not, and the line is off by many of its own errors. The exact posterior of the network opens in the
# gap, however many points there are outside. **What a posterior says where there are no data is the prior: the
# assumption that one made by choosing the model.**
#
# Try: (a) no points: is the network's band the prior? (b) gap 0: who is too wide? (c) prior width 0.1: what happens
# to the band, and to the curve?

# %% tags=["explorer"] slideshow={"slide_type": "subslide"}
explorer.show()

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 9. Ensembles: what do they sample?
#
# Train $N$ networks from different starts on the same data, and take mean and spread (Lakshminarayanan, Pritzel,
# Blundell 2016). No new loss, and easy to parallelise. Is the spread a posterior? Ask the
# linear model. Gradient descent on $|y - \Phi\theta|^2$ moves along $\Phi^T(\dots)$ only, so whatever is orthogonal
# to the data keeps its starting value $\theta_0$. With the pseudo-inverse $\Phi^+$ it ends at
#
# $$ \theta = \theta_0 + \Phi^+ (y - \Phi\,\theta_0) , \qquad
# \mathrm{Cov}(\theta) = \tau^2\, (1 - \Phi^+\Phi) \quad\mathrm{for\ starts\ of\ width\ } \tau . $$
#
# In the directions that the data do not touch the ensemble has the full spread of its starts: this is the posterior,
# if starts are drawn from the prior. In the directions that the data fix it has *none*: all members were shown the
# same noise, and all fit it. An ensemble trained to the end sees gaps, but not the statistical error at the data.
#
# **With weight decay** $|\theta|^2/2\tau^2$ the minimum is unique: all members of a linear model agree everywhere.
# Spread zero.
#
# **The repair** is one line. Give each member its own noise on the targets, and let its weights decay not to zero but
# to *its own draw from the prior*:
#
# $$ \theta = \mathrm{argmin}\
# \frac{|y + \sigma\varepsilon - \Phi\theta|^2}{2\sigma^2} + \frac{|\theta - \theta_0|^2}{2\tau^2}
# = \Sigma\left( \frac{\Phi^T (y + \sigma\varepsilon)}{\sigma^2} + \frac{\theta_0}{\tau^2} \right) , $$
#
# with $\varepsilon \sim N(0, 1)$ and $\theta_0 \sim N(0, \tau^2)$. Its mean is $\mu$. Its covariance is
# $\Sigma\, \big( \frac{\Phi^T\Phi}{\sigma^2} + \frac1{\tau^2} \big)\, \Sigma = \Sigma$. **Each member is an exact
# draw from the posterior.** For networks this *anchored* ensemble (Osband et al. 2018, Pearce et al. 2018) is an
# approximation, and we can see how good.


# %% slideshow={"slide_type": "subslide"}
class Networks(nn.Module):
    """Many small networks side by side, weights in units of their prior; x (n, 1) -> (truths, members, n)."""

    def __init__(self, truths, members, units):
        super().__init__()
        self.first = nn.Parameter(torch.randn(truths, members, 2, units))
        self.last = nn.Parameter(torch.randn(truths, members, units + 1, 1))
        self.anchors = [self.first.detach().clone(), self.last.detach().clone()]
        self.noise = torch.randn(truths, members, n)

    def forward(self, x):
        prior = torch.tensor([[4.0], [2.0]], device=x.device)
        hidden = torch.erf(with_one(x) @ (prior * self.first)) / math.sqrt(self.first.shape[-1])
        return (hidden @ self.last[..., :-1, :] + 0.5 * self.last[..., -1:, :])[..., 0]


def ensemble_loss(kind, strength=1.0):
    """Return the loss of one kind of ensemble, summed over its networks."""

    def loss(networks, batch):
        target, f, weights = batch["y"].T[:, None], networks(batch["x"]), (networks.first, networks.last)
        if kind == "anchored":
            target = target + sigma * networks.noise.to(target.device)[..., batch["row"]]
        total = (f - target).square().sum() / (2 * sigma**2)
        if kind != "plain":
            centres = [a.to(f.device) for a in networks.anchors] if kind == "anchored" else [0.0, 0.0]
            total = total + sum((w - a).square().sum() for w, a in zip(weights, centres)) / 2
        if kind == "repulsive":
            total = total + strength * repulsion(networks(places.to(f.device))).sum()
        return total / n

    return loss


# %% slideshow={"slide_type": "subslide"}
def train_ensemble(kind, members=16, truths=4, steps=400, **more):
    """Train an ensemble for each of the first truths; return mean and spread on the grid, (grid, truths)."""
    networks = Networks(truths, members, p.units)
    rows = {"x": x[:, None].float(), "y": y[:, :truths].float(), "row": torch.arange(n)}
    lt.fit(networks, ensemble_loss(kind, **more), rows, steps=steps, batch_size=n, learning_rate=0.03, warmup=0,
           clip=None, progress=False)  # fmt: skip
    with torch.no_grad():
        f = networks.cpu()(grid[:, None].float()).double()  # (truths, members, grid)
    return f.mean(1).T, f.std(1).T


ensembles = {kind: train_ensemble(kind) for kind in ("plain", "weight decay", "anchored")}
print("band over exact band, width of the pulls (in brackets: exact, same toys):")
for kind, fit in ensembles.items():
    ratios[kind] = compare(kind, *fit)

# %% slideshow={"slide_type": "skip"}
# NBVAL_CHECK_OUTPUT
members = 20_000
basis = features(x)
anchors = torch.randn(members, basis.shape[1], dtype=real, generator=generator)
varied = y[:, 0] + sigma * torch.randn(members, n, dtype=real, generator=generator)
solved = (varied @ basis / sigma**2 + anchors) @ torch.linalg.inv(inverse)
spread = (solved @ features(grid).T).std(0) / frozen["last layer, exact"]
print("anchored linear models have the exact spread within 5 errors:",
      bool((spread - 1).abs().max() < 5 / math.sqrt(2 * members)))  # fmt: skip
few = basis[::8]  # five of the points
ends = anchors + (y[::8, 0] - anchors @ few.T) @ torch.linalg.pinv(few).T
print("plain linear models have no spread at the data:", bool((ends @ few.T).std(0).max() < 1e-6))
ours, others = ratios["anchored"], ("plain", "weight decay")
lt.verdict("band of the anchored ensemble over the exact band, at the data", ours["at the data"], ci=(1.03, 1.27),
           laptop=(1.03, 1.27), gpu=None, control={kind: ratios[kind]["at the data"] for kind in others})  # fmt: skip
lt.verdict("band of the anchored ensemble over the exact band, in the gap", ours["in the gap"], ci=(0.89, 1.7),
           laptop=(0.89, 1.7), gpu=None, control={"weight decay": ratios["weight decay"]["in the gap"]})  # fmt: skip

# %% [markdown] slideshow={"slide_type": "skip"}
# Plain: hardly any spread at the data, about the right one in the gap, and pulls of more than ten where the members
# have agreed on the noise of the points. Weight decay: the members are one function. Anchored: too wide by 8 to 19% at
# the data and by 20 to 35% in the gap, probably because a network is not linear. Its pulls are within 20% of one, or of
# the exact ones of the same four toys, as far as four toys can tell: each has few independent places.

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### The mean is better than its members
#
# Let $f_i$ be the members, $\bar f$ their mean, $t$ anything, the truth or a noisy target. Expand
# $f_i - t = (f_i - \bar f) + (\bar f - t)$; the cross term averages to zero:
#
# $$ \frac1N\sum_i (f_i - t)^2 = (\bar f - t)^2 + V , \qquad V = \frac1N \sum_i (f_i - \bar f)^2 . $$
#
# **The squared error of the mean is the mean squared error less the spread**, at each point, always. It is free
# accuracy, as long as members differ. What they have in common (the same noise, the same blind spots) does not average
# out.
#
# ### How wide is an ensemble?
#
# Now let each member predict its own $\sigma_i$, by the loss of lecture 02, and call $\bar\sigma^2$ the mean of the
# $\sigma_i^2$. Suppose that each member is *honest*: at each $x$ its $\sigma_i^2$ is the mean squared deviation of
# targets from its own $f_i$, its own misfit included. Averaged over members,
# $\frac1N\sum_i E[(y - f_i)^2] = \bar\sigma^2$, and by the identity above
#
# $$ E\big[(y - \bar f)^2\big] = \bar\sigma^2 - V , \qquad
# \mathrm{pull\ width} = \sqrt{1 - V/\bar\sigma^2} \ \ \mathrm{with\ } \bar\sigma , \qquad
# \sqrt{\frac{1 - V/\bar\sigma^2}{1 + V/\bar\sigma^2}}\ \ \mathrm{with\ the\ mixture's\ } \sqrt{\bar\sigma^2 + V} . $$
#
# An ensemble of honest members is *too wide*, and adding the spread makes it wider still: the right width *subtracts*
# it. The members' $\sigma_i$ speak of the members, not of the mean. This is worst for poor networks, which were
# trained briefly and differ much. If training goes on until the members overfit, the opposite holds: $\sigma_i$ has
# learned residuals of training points, which are too small (lecture 01, section 8), and adding $V$ helps.
#
# What an ensemble can offer is the mixture *density* $p(y|x) = \frac1N\sum_i N(y; f_i, \sigma_i^2)$. The logarithm is
# concave, so $\log\frac1N\sum_i p_i \ge \frac1N\sum_i \log p_i$: it is never worse than its average member, and it
# need not be Gaussian. Too wide it is, too (Gneiting and Ranjan 2011: so is any average of calibrated forecasts that
# differ).

# %% slideshow={"slide_type": "subslide"}
points, targets = noisy_points(100, noise=0.1, seed=p.seed)
x_test, y_test = noisy_points(4000, noise=0.1, seed=p.seed + 1000)
y_test = y_test[:, 0]
width_of = {}
for steps in (50, 400):
    f, s = train_members(points, targets, steps, seed=p.seed)(x_test)  # (32, 4000)
    average, spread = s.square().mean(0), f.var(0, correction=0)
    residual = y_test - f.mean(0)
    each = ((y_test - f).square() / average).mean().sqrt()
    width_of[steps] = [float(each), rms(residual / average.sqrt()), rms(residual / (average + spread).sqrt())]
    honest = math.sqrt(float(((y_test - f).square().mean(0) / average - spread / average).mean()))
    log_p = -((y_test - f) / s).square() / 2 - s.log() - 0.5 * math.log(2 * math.pi)  # (32, 4000)
    mixture = (log_p.logsumexp(0) - math.log(len(f))).mean()
    gauss = (-residual.square() / (2 * average) - average.log() / 2 - 0.5 * math.log(2 * math.pi)).mean()
    below = (0.5 + 0.5 * torch.erf((y_test - f) / s / math.sqrt(2))).mean(0)
    inside = ((below > 0.1587) & (below < 0.8413)).double().mean()
    errors = f - resonance(x_test)[:, 0]
    print(f"{steps} steps: true error of one member {rms(errors):.3f}, of the mean {rms(errors.mean(0)):.3f}")
    print(f"   pull width of one member {width_of[steps][0]:.2f}; of the mean: averaged sigma "
          f"{width_of[steps][1]:.2f}, mixture {width_of[steps][2]:.2f}")  # fmt: skip
    print(f"   log p of a target: average member {log_p.mean():.3f}, Gaussian with averaged sigma {gauss:.3f}, "
          f"mixture {mixture:.3f}; 68% of the mixture holds {100 * inside:.0f}%")  # fmt: skip

# %% slideshow={"slide_type": "skip"}
# NBVAL_CHECK_OUTPUT
print("pull^2 of the mean = pull^2 of the members - V / sigma^2:", abs(honest - width_of[400][1]) < 1e-4)
print("the mixture is not worse than its average member:", bool(mixture >= log_p.mean()))
shrunk = {steps: found[1] / found[0] for steps, found in width_of.items()}
lt.verdict("pull width of the mean of 32 poor networks over that of one", shrunk[50], ci=(0.803, 0.944),
           laptop=(0.803, 0.944), gpu=None, floor=0.08,
           control={"networks trained to the end": shrunk[400]})  # fmt: skip

# %% slideshow={"slide_type": "subslide"}
explorer = lt.explorers.posteriors.members
lt.show(
    explorer.figures({"steps": 50}, {"steps": 400, "points": 50}, size=(9.2, 7.6)),
    "Pulls of poor networks get narrower with each member, more so with the mixture; of overfitted ones they are wide",
)

# %% [markdown] slideshow={"slide_type": "skip"}
# *What you see.* Left, the mean of 16 members with its two bands, averaged $\sigma$ (blue) and mixture (orange); right,
# the width of the pulls against the number of members. Top: poor networks, 50 steps. One member is about calibrated.
# Sixteen are not: the mean improves, its quoted width does not. Bottom: 50 points and 400 steps, overfitted. All quoted
# widths are too small (pulls of 1.25 to 1.5), and the mixture is slightly better. The remedy is the same in both:
# *recalibrate on validation data*, one factor, or fit a new $\sigma(x)$ to the residuals of $\bar f$.
#
# Try: (a) where between 50 and 400 steps do the two curves meet 1? (b) noise 0.45: why does everything become flat?
# (c) 200 points, 400 steps.

# %% tags=["explorer"] slideshow={"slide_type": "subslide"}
explorer.show()

# %% [markdown] slideshow={"slide_type": "fragment"}
# **Check yourself 3.** Ten networks, each with an error of 2% that is half common to all of them and half its own (in
# variance). What is the error of the mean of ten, and of a thousand? What spread do you see?
#
# <details><summary>Answer</summary>
#
# Variance $2 + 2/10$ in units of $(1\%)^2$: 1.48%. With a thousand: 1.41%. The spread is $\sqrt2\,\% = 1.41\%$ in
# both cases. It happens to be right here, and only because the shares are equal: the spread measures what members do
# *not* share, the error of the mean is what they do.
# </details>

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 10. Repulsion
#
# Can members be made to cover the posterior on their own? Derive the motion that does it. Let $q(\theta, t)$ be the
# density of members, and let them move with a velocity $v(\theta)$. They are not lost on the way:
# $\partial_t q = -\nabla\cdot(q v)$. The distance to the posterior changes by
#
# $$ \frac{d}{dt} \mathrm{KL}(q\|p) = \int \partial_t q\, \Big( \log\frac qp + 1 \Big)
# = \int q\ v \cdot \nabla \log \frac qp , $$
#
# after integrating by parts. It falls fastest, per $\int q v^2$, for
#
# $$ v = \nabla \log p(\theta|D) - \nabla \log q(\theta) . $$
#
# Each member climbs towards the posterior's peak (this is the usual training, with weight decay) and away from the
# others (this is new). For a finite number of members, estimate $q$ by a kernel,
# $q(\theta) \propto \sum_j k(\theta, \theta_j)$ with $k = e^{-|\theta - \theta_j|^2/2h^2}$:
#
# $$ \frac{d\theta_i}{dt} = \nabla \log p(\theta_i|D)
# - \frac{\sum_j \nabla_{\theta_i} k(\theta_i, \theta_j)}{\sum_j k(\theta_i, \theta_j)} , \qquad
# -\nabla_{\theta_i} k = \frac{\theta_i - \theta_j}{h^2}\, k . $$
#
# This is the update of D'Angelo and Fortuin (2021). Where does it end? At rest $\nabla\log p = \nabla\log q$, and $q$
# is the density of members *smeared by the kernel*. So members $*$ kernel $=$ posterior; variances add,
#
# $$ \mathrm{Cov}(\mathrm{members}) = \Sigma - h^2 , $$
#
# and a direction with $\Sigma < h^2$ collapses. We try it in a plane, with $\rho = -0.8$ like a straight line's
# posterior.


# %% slideshow={"slide_type": "subslide"}
def push(theta, h2):
    """Return minus the gradient of log q at each member, theta (copies, members, d), h2 (copies,) or a number."""
    difference = theta[:, :, None] - theta[:, None]  # (copies, members, members, d)
    h2 = torch.as_tensor(h2, dtype=theta.dtype).reshape(-1, 1, 1)
    k = (-difference.square().sum(-1) / (2 * h2)).exp()
    return (difference * k[..., None]).sum(2) / (h2 * k.sum(2, keepdim=True))


plane_cov = torch.tensor([[1.0, -0.8], [-0.8, 1.0]], dtype=real)
start = torch.randn(1, 150, 2, dtype=real, generator=generator)
flows = {}
for name, h in (("no repulsion", None), ("h = 0.3", 0.3), ("h = 0.5", 0.5)):
    theta = start.clone()
    for _ in range(300):
        theta = theta + 0.05 * (-theta @ torch.linalg.inv(plane_cov) + (0 if h is None else push(theta, h**2)))
    flows[name] = theta[0]
    along = torch.tensor([[1.0, 1.0], [-1.0, 1.0]], dtype=real) / math.sqrt(2)
    variance = (along @ torch.cov(theta[0].T, correction=0) @ along.T).diag()
    wanted = [max(0.0, value - (h or 0) ** 2) for value in (0.2, 1.8)] if h else [0.0, 0.0]
    found = ", ".join(f"{direction} {value:.3f}" for direction, value in zip(("across", "along"), variance))
    print(f"{name:13s} variance {found}; by hand {wanted[0]:.2f}, {wanted[1]:.2f}")

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### Why repulsive ensembles hardly repel
#
# What matters for a network is the space of *functions*: different weights can be the same function. So one repels
# the values $f_i = (f_{\theta_i}(x_1), \dots, f_{\theta_i}(x_B))$ at some points, and passes the force on by the
# chain rule,
# $\frac{d\theta_i}{dt} = \nabla\log p(\theta_i|D) + \big(\frac{\partial f_i}{\partial\theta_i}\big)^T F_i$ with $F_i$
# the push above for $f_i$. In code it is a term in the loss, $\sum_i \sum_j k(f_i, f_j) / \sum_j k(f_i, f_j)$, with
# gradients stopped in $f_j$ and in the denominator. The width $h$ is set by the *median rule*,
# $h^2 = \mathrm{median}\,|f_i - f_j|^2 / 2\log N$.
#
# How wide do members get, if the posterior has $d$ equal directions of variance 1 and theirs is $s^2$? Pairs are
# typically $|f_i - f_j|^2 \approx 2 d s^2$ apart, so $h^2 = d s^2/\log N$ and $k = e^{-\log N} = 1/N$. The $N - 1$
# others together weigh as much as a member weighs for itself, about 1. The push is then $\frac{f_i - \bar f}{2h^2}$;
# it balances the pull $f_i - \bar f$ of the posterior at $h^2 = \frac12$:
#
# $$ s^2 = \frac{\log N}{2 d} . $$
#
# Sixteen members in ten directions cover 14% of the variance. A *thousand* would cover 35%.

# %% slideshow={"slide_type": "subslide"}
members, dimensions, covered = 16, [1, 2, 5, 10, 20, 40], []
for d in dimensions:
    theta = torch.randn(8, members, d, generator=generator)
    for _ in range(250):
        pairs = (theta[:, :, None] - theta[:, None]).square().sum(-1)
        median = pairs.flatten(1).median(1).values
        theta = theta + 0.08 * (push(theta, median / (2 * math.log(members))) - theta)
    covered.append(float(theta.var(1).mean()))
    print(f"{d:2d} directions: covered {covered[-1]:.3f} of the variance, log N / 2d = {math.log(members) / 2 / d:.3f}")

# %% slideshow={"slide_type": "subslide"}
fig, (left, right) = lt.plots.figure(columns=2)
for k, level in enumerate((1, 2)):
    edge = level * circle @ torch.linalg.cholesky(plane_cov).T
    left.plot(*edge.T, color="black", linewidth=1.4, linestyle=("-", "--")[k], label=rf"posterior, {level} $\sigma$")
left.plot(*flows["h = 0.3"].T, "o", color=lt.plots.COLOURS[0], markersize=4, label="members, $h = 0.3$")
left.plot(*flows["h = 0.5"].T, "s", color=lt.plots.COLOURS[1], markersize=3, label="members, $h = 0.5$")
left.plot(*flows["no repulsion"].T, "*", color=lt.plots.COLOURS[2], markersize=14, label="no repulsion")
left.set(xlabel=r"$\theta_1$", ylabel=r"$\theta_2$", xlim=(-3, 3), ylim=(-2.4, 4.6))
left.legend(loc="upper right", fontsize=11, ncols=1)
right.plot(dimensions, covered, "o", color=lt.plots.COLOURS[0], label="16 members, measured")
smooth = torch.logspace(0, 1.65, 50)
right.plot(smooth, math.log(members) / 2 / smooth, color="black", linestyle="--", label=r"$\log N/2d$")
right.axhline(1, color="black", linewidth=1.2, linestyle=":", label="posterior")
right.set(xlabel="directions $d$", ylabel="part of the variance covered", xscale="log", yscale="log", ylim=(0.02, 3))
right.legend(loc="lower left", fontsize=12)
lt.show(
    fig, "Left: members fill the posterior for a narrow kernel, a line for a wide one. Right: coverage falls as 1/d"
)


# %% [markdown] slideshow={"slide_type": "skip"}
# *What you see.* Left: without repulsion all members sit at the peak (star). With $h = 0.3$ they fill the ellipse, a
# little too tightly. With $h = 0.5$, more than the narrow direction has, they line up. Right: the formula $\log N/2d$
# (dashed) against the measurement. (In one or two directions the formula, which assumes that all pairs are about
# equally far apart, is too large: 0.78 and 0.56 instead of 1.39 and 0.69. From ten on it holds within 5%.) Repulsion
# works in few dimensions. In many it covers a small part, and more members help by a logarithm only.
#
# And in our network? The data fix 7 directions, and the gap leaves a few more to the prior.


# %% slideshow={"slide_type": "subslide"}
places = torch.linspace(-1.3, 1.3, 27)[:, None]  # where members are compared


def repulsion(f):
    """Return the term of each member, the gradient acts on its own f alone; f (truths, members, B)."""
    distance = (f[:, :, None] - f.detach()[:, None]).square().sum(-1)
    median = distance.detach().flatten(1).median(1).values
    h2 = median[:, None, None] / (2 * math.log(f.shape[1])) + 1e-12
    k = (-distance / (2 * h2)).exp().sum(-1)
    return k / k.detach()


ratios["repulsive"] = compare("repulsive", *train_ensemble("repulsive"))

# %% slideshow={"slide_type": "skip"}
# NBVAL_CHECK_OUTPUT
variance = torch.linalg.eigvalsh(torch.cov(flows["h = 0.3"].T, correction=0))
print("h = 0.3: both variances are Sigma - h^2 within 15%:",
      bool(((variance / torch.tensor([0.11, 1.71], dtype=real)) - 1).abs().max() < 0.15))  # fmt: skip
print("h = 0.5: the narrow direction has collapsed:",
      bool(torch.linalg.eigvalsh(torch.cov(flows["h = 0.5"].T, correction=0))[0] < 1e-6))  # fmt: skip
print("16 members in 10 or more directions cover log N / 2d within 10%:",
      all(abs(s2 * 2 * d / math.log(members) - 1) < 0.1 for d, s2 in zip(dimensions, covered) if d >= 10))  # fmt: skip
f = torch.randn(1, 5, 3, dtype=real, generator=generator, requires_grad=True)
pairs = (f[:, :, None] - f[:, None]).square().sum(-1).detach()
force = -torch.autograd.grad(repulsion(f).sum(), f)[0]
print("minus the gradient of the term in the loss is the push:",
      torch.allclose(force, push(f.detach(), pairs.flatten(1).median(1).values / (2 * math.log(5)))))  # fmt: skip
ours, others = ratios["repulsive"], ("weight decay", "anchored")
lt.verdict("band of the repulsive ensemble over the exact band, in the gap", ours["in the gap"], ci=(0.31, 0.56),
           laptop=(0.31, 0.56), gpu=None, control={kind: ratios[kind]["in the gap"] for kind in others})  # fmt: skip

# %% [markdown] slideshow={"slide_type": "skip"}
# Less than a third of the exact band at the data, less than half in the gap. For the $d = 7$ directions that the data
# fix, the formula says $\sqrt{\log 16/2d} = 0.45$. That is much more than weight decay alone (0.1), far less than the
# posterior, and in the gap less than the plain ensemble, which has no prior to pull it back. One can multiply the
# repulsion by a factor $\beta$, which multiplies $s^2$ by $\beta$, and tune $\beta$ on validation data.

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 11. Evidential regression: one network, one pass
#
# Amini et al. (2019) ask for both uncertainties without sampling. The network predicts, at each $x$, a distribution
# over the mean and variance of the target: a *normal-inverse-gamma* with four parameters,
#
# $$ \mu \sim N(\gamma, \sigma^2/\nu) , \qquad \sigma^2 \sim \mathrm{InvGamma}(\alpha, \beta):\quad
# p(\sigma^2) = \frac{\beta^\alpha}{\Gamma(\alpha)}\, (\sigma^2)^{-\alpha - 1}\, e^{-\beta/\sigma^2} . $$
#
# Then $\sigma_{syst}^2 = E[\sigma^2] = \beta/(\alpha - 1)$ and
# $\sigma_{stat}^2 = \mathrm{Var}(\mu) = E[\sigma^2]/\nu$. As if the network had seen $\nu$ *virtual events* at $x$.
#
# **Its likelihood** integrates both out. A Gaussian mean with a Gaussian error: $y \sim N(\gamma, c\,\sigma^2)$ with
# $c = 1 + 1/\nu$. Then the variance, with $\Delta = y - \gamma$:
#
# $$ p(y) = \int d\sigma^2\ \frac{e^{-\Delta^2/2c\sigma^2}}{\sqrt{2\pi c\,\sigma^2}}\ p(\sigma^2)
# = \frac{\beta^\alpha}{\Gamma(\alpha)\sqrt{2\pi c}}
# \int d\sigma^2\, (\sigma^2)^{-\alpha - \frac32}\, e^{-(\beta + \Delta^2/2c)/\sigma^2} $$
#
# $$ = \frac{\Gamma(\alpha + \frac12)}{\Gamma(\alpha)\sqrt{2\pi\,\beta c}}
# \left( 1 + \frac{\Delta^2}{2 \beta c} \right)^{-\alpha - \frac12} . $$
#
# (The integral is the normalisation of an inverse gamma with $\alpha + \frac12$ and $\beta + \Delta^2/2c$.) This is
# Student's t with $2\alpha$ degrees of freedom.

# %% [markdown] slideshow={"slide_type": "subslide"}
# **What it can and cannot know.** Read the result: $\beta$ and $\nu$ appear *only as the product*
# $B = \beta c = \beta (1 + 1/\nu)$. The data fix $\gamma$, $\alpha$ and $B$, that is, the width and the tails of the
# targets. But
#
# $$ \sigma_{syst}^2 = \frac{B}{\alpha - 1}\, \frac{\nu}{1 + \nu} , \qquad
# \sigma_{stat}^2 = \frac{B}{\alpha - 1}\, \frac{1}{1 + \nu} . $$
#
# The *sum* is learned. How it is shared is not: it is a direction in which the likelihood is flat (Meinert et al.
# 2022). What moves along it is the regulariser that is added to the loss, $\lambda\, |y - \gamma|\, (2\nu + \alpha)$:
# at fixed $B$ and $\alpha$ it rises with $\nu$, so the minimum of the loss is at $\nu = 0$, where *all* of the width
# is called statistical. A training that ends early is somewhere on the way. And the loss is a mean *per event*.
# Nothing in it knows $n$, so what it calls statistical does not fall with $n$.
#
# The cleanest test has no $x$ at all: $n$ numbers with mean 0 and noise 0.1, four parameters. The exact statistical
# error is $0.1/\sqrt n$.


# %% slideshow={"slide_type": "subslide"}
def student_loss(gamma, nu, alpha, beta, y, strength):
    """Return the negative logarithm of Student's t above and the regulariser, averaged over y."""
    b = beta * (1 + 1 / nu)
    log_p = torch.lgamma(alpha + 0.5) - torch.lgamma(alpha) - 0.5 * (2 * math.pi * b).log()
    log_p = log_p - (alpha + 0.5) * torch.log1p((y - gamma).square() / (2 * b))
    return (-log_p + strength * (y - gamma).abs() * (2 * nu + alpha)).mean()


def fit_evidence(y, strength, start):
    """Minimise over the four parameters, nu from its start; return systematic and statistical part."""
    raw = torch.tensor([0.0, math.log(start), 0.0, -3.0], dtype=real, requires_grad=True)
    optimiser = torch.optim.LBFGS([raw], max_iter=100, line_search_fn="strong_wolfe", tolerance_change=1e-12)

    def unpack():
        return raw[0], raw[1].exp(), 1 + raw[2].exp(), raw[3].exp()

    def closure():
        optimiser.zero_grad()
        value = student_loss(*unpack(), y, strength)
        value.backward()
        return value

    optimiser.step(closure)
    nu, alpha, beta = (part.item() for part in unpack()[1:])
    return math.sqrt(beta / (alpha - 1)), math.sqrt(beta / (alpha - 1) / nu)


evidence_sizes, parts = [100, 1000, 10_000], {}
numbers = 0.1 * torch.randn(max(evidence_sizes), dtype=real, generator=generator)
for name, strength, start in (("lambda = 0.01", 0.01, 1.0), ("lambda = 0, start at 1", 0.0, 1.0),
                              ("lambda = 0, start at 20", 0.0, 20.0)):  # fmt: skip
    parts[name] = [fit_evidence(numbers[:n_i], strength, start) for n_i in evidence_sizes]
    print(f"{name:24s}", "; ".join(f"n = {n_i} systematic {a:.3f}, statistical {b:.3f}"
          for n_i, (a, b) in zip(evidence_sizes, parts[name])))  # fmt: skip

# %% slideshow={"slide_type": "subslide"}
fig, ax = lt.plots.figure()
for i, (name, found) in enumerate(parts.items()):
    look = {"color": lt.plots.COLOURS[i], "linestyle": lt.plots.LINES[i], "marker": "os^"[i]}
    label = name.replace("lambda", r"$\lambda$").replace("start at", r"start at $\nu$ =")
    ax.plot(evidence_sizes, [stat for _, stat in found], label=label, **look)
exact_error = [0.1 / math.sqrt(n_i) for n_i in evidence_sizes]
ax.plot(evidence_sizes, exact_error, color="black", linestyle="-", label=r"exact, $0.1/\sqrt{n}$")
ax.set(xlabel="number of targets $n$", ylabel=r"$\sigma_{\rm stat}$", xscale="log", yscale="log", ylim=(7e-4, 3))
ax.legend(loc="upper center", fontsize=12, ncols=2)
lt.show(fig, "What evidential regression calls statistical does not fall; the exact error falls as one over root n")

# %% slideshow={"slide_type": "skip"}
# NBVAL_CHECK_OUTPUT
b, (zero, alpha, *nus), values = 0.05, torch.tensor([0.0, 5.0, 0.01, 1.0, 100.0], dtype=real), []
for nu in nus:
    values.append(float(student_loss(zero, nu, alpha, b / (1 + 1 / nu), numbers, strength=0.0)))
    print(f"nu = {nu:g}: statistical over systematic part {nu.rsqrt():.1f}")
print("the likelihood is the same for all three:", max(values) - min(values) < 1e-12)
t = torch.distributions.StudentT(2 * alpha, 0.0, torch.tensor(math.sqrt(b / 5), dtype=real))
print("it is Student's t with 2 alpha degrees of freedom and scale sqrt(B / alpha):",
      abs(values[0] + float(t.log_prob(numbers).mean())) < 1e-10)  # fmt: skip
(_, few), _, (_, many) = parts["lambda = 0.01"]
lt.verdict("statistical part of evidential regression at 10,000 over 100 targets", many / few, ci=(0.73, 1.32),
           laptop=(0.73, 1.32), gpu=None, control={"exact": math.sqrt(100 / 10_000)})  # fmt: skip

# %% [markdown] slideshow={"slide_type": "skip"}
# *What you see.* The total is right in all fits, about 0.1. With the regulariser (blue) all of it is declared
# statistical, although it is noise, and it stays so however many targets there are. Without it (orange, green) the
# split depends on where the fit started. The exact error (black) falls. In a network $\nu(x)$ was seen to react to
# noise and to gaps (arXiv:2509.00155): as an *alarm* it can be useful, and it is cheap. As an error bar its split
# needs a calibration from elsewhere. The total does not.

# %% [markdown] slideshow={"slide_type": "fragment"}
# **Check yourself 4.** Which of the methods of this lecture would notice that a tenth of your training targets, chosen
# at random, are wrong by exactly $+5\%$?
#
# <details><summary>Answer</summary>
#
# None as a bias. All of them fit the conditional mean of what they are given: $f$ shifts by 0.5% everywhere, and all
# members, draws and priors shift with it. The predicted $\sigma_{syst}$ grows (by
# $\sqrt{0.1 \cdot 0.9}\cdot 5\% = 1.5\%$, in quadrature), and a mixture of Gaussians would show two peaks. An
# uncertainty describes the training sample. If the sample is wrong, so is everything derived from it.
# </details>

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 12. Which one?
#
# On the toy of section 8, where the exact answer is known (band over exact band; seeds 1 to 5):
#
# | | cost | at the data | in the gap | what it is |
# | --- | --- | --- | --- | --- |
# | Bayesian network | one training | 3.1 to 3.2 | 0.85 to 0.90 | falls with $n$, wrong size: calibrate |
# | ensemble, plain | $N$ trainings | 0.16 to 0.21 | 0.7 to 1.1 | sees gaps, not the noise of the data |
# | ensemble, weight decay | $N$ trainings | 0.06 to 0.09 | 0.07 to 0.10 | one network, $N$ times |
# | ensemble, repulsive | $N$ trainings side by side | about 0.3 | 0.35 to 0.47 | $\log N/2d$ of the variance |
# | ensemble, anchored | $N$ trainings | 1.08 to 1.19 | 1.2 to 1.35 | nearly the posterior; needs noise and prior |
# | evidential | one training | | | the sum is learned, the split is not |
#
# In high dimension there is no exact answer to compare with, and priors over functions are harder to choose. What one
# can always do: pulls on held-out data for the *sum* of both parts, the fall of the statistical part with $n$, and a
# planted gap.
#
# There are other roads. A Markov chain samples the posterior itself, at the price of very many gradients. The Laplace
# approximation puts a Gaussian with all its correlations around the best network, from the second derivatives of the
# loss: it is section 2 for a network linearised in its weights around the best ones. It sees gaps that mean-field does
# not (Foong et al. 2019), and needs a matrix as large as the number of weights squared, or an approximation of it.

# %% [markdown] slideshow={"slide_type": "fragment"}
# **Check yourself 5.** Your Bayesian network replaces an amplitude. Targets are exact, there is no noise.
# $\sigma_{stat}$ comes out as 0.1%, the true error on test points is 0.5%. Name two explanations, and how to tell
# them apart.
#
# <details><summary>Answer</summary>
#
# (1) The network cannot do better: too small, trained too briefly, bad coordinates. Then the error does not fall with
# more data, and $\sigma_{syst}$ (which learns the misfit) should be about 0.5%. (2) The posterior is too narrow: a
# wrong factor in front of the KL, or mean-field in a gap. Then the error falls with $n$, and the KL's factor is the
# first thing to check. Train with a quarter of the data and look at all three numbers.
# </details>

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 13. What can go wrong
#
# - **KL over the batch size, or averaged over weights.** Nothing crashes. Watch whether the statistical part falls
#   with $n$.
# - **Widths that never trained.** $\log s$ starts somewhere, and needs as many steps as the means, often more. Train
#   twice as long and compare.
# - **Reading the weights.** Weights have no meaning one by one; only $f$ has an uncertainty.
# - **Mean-field bands as absolute errors.** Too wide at the data, too narrow in gaps, worse for more units.
# - **Adding $\sigma_{stat}$ to a $\sigma_{syst}$ that has learned it already** (section 7), at small $n$.
# - **Calling the spread of an ensemble its error.** What members share, they do not show.
# - **Averaging $\sigma$ over an ensemble** and quoting it for the mean. Recalibrate.
# - **Weight decay in an ensemble**, meant as a prior: members collapse to one function. Decay towards anchors.
# - **One truth, many points.** Pulls along one curve are correlated; a hundred test points in one gap are one test.
# - **Extrapolation.** Beyond the data the answer is the prior's. Ask what your prior says there, before the referee
#   does.
# - **A wrong sample.** No uncertainty knows about events that were generated wrongly.

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 14. References
#
# - D. P. Kingma, T. Salimans, M. Welling, *Variational dropout and the local reparameterization trick*,
#   arXiv:1506.02557.
# - C. Blundell et al., *Weight uncertainty in neural networks*, arXiv:1505.05424: the Bayesian network of sections 4
#   and 5.
# - D. M. Blei, A. Kucukelbir, J. D. McAuliffe, *Variational inference: a review for statisticians*, arXiv:1601.00670.
# - R. M. Neal, *Bayesian learning for neural networks*, Springer 1996; J. Lee et al., *Deep neural networks as
#   Gaussian processes*, arXiv:1711.00165: infinitely wide networks.
# - C. K. I. Williams, *Computing with infinite networks*, Advances in Neural Information Processing Systems 9, 1997:
#   the kernel of erf units.
# - A. Foong et al., *"In-between" uncertainty in Bayesian neural networks*, arXiv:1906.11537: mean-field and gaps.
# - B. Coker et al., *Wide mean-field Bayesian neural networks ignore the data*, arXiv:2202.11670.
# - B. Lakshminarayanan, A. Pritzel, C. Blundell, *Simple and scalable predictive uncertainty estimation using deep
#   ensembles*, arXiv:1612.01474.
# - I. Osband, J. Aslanides, A. Cassirer, *Randomized prior functions for deep reinforcement learning*,
#   arXiv:1806.03335; T. Pearce et al., *Uncertainty in neural networks: approximately Bayesian ensembling*,
#   arXiv:1810.05546: anchors.
# - B. He, B. Lakshminarayanan, Y. W. Teh, *Bayesian deep ensembles via the neural tangent kernel*, arXiv:2007.05864.
# - T. Gneiting, R. Ranjan, *Combining predictive distributions*, arXiv:1106.1638: averages of calibrated forecasts
#   are too wide.
# - F. D'Angelo, V. Fortuin, *Repulsive deep ensembles are Bayesian*, arXiv:2106.11642.
# - A. Amini et al., *Deep evidential regression*, arXiv:1910.02600; N. Meinert, J. Gawlikowski, A. Lavin, *The
#   unreasonable effectiveness of deep evidential regression*, arXiv:2205.10060.
# - H. Bahl et al., *Accurate surrogate amplitudes with calibrated uncertainties*, arXiv:2412.12069; *Amplitude
#   uncertainties everywhere all at once*, arXiv:2509.00155: all of this on amplitudes.
# - ATLAS Collaboration, *Precision calibration of calorimeter signals in the ATLAS experiment using an
#   uncertainty-aware neural network*, arXiv:2412.04370.
#
# **Next:** [tutorial 03a](../tutorials/03a_network_posteriors.ipynb) trains all of them on amplitudes,
# [tutorial 03b](../tutorials/03b_calorimeter_calibration.ipynb) calibrates a calorimeter.
