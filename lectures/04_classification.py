# ---
# jupyter:
#   kernelspec: {display_name: Python 3 (ipykernel), language: python, name: python3}
#   lhcml: {title: "Classification", kind: lecture, extras: [], minutes: {laptop: 1, gpu: 1}}
# ---

# %% [markdown] slideshow={"slide_type": "slide"}
# # 04 Classification
#
# **Before you start:** [lecture 01](01_fitting.ipynb), sections 2 to 4 (the likelihood as a loss). Bayes' theorem, and
# the derivative of a logarithm.
#
# **Goal:** you can say which classifier is the best possible one and prove it; derive why a network trained on the
# cross entropy becomes it; read a ROC curve and know what its area hides; tell whether a stated probability can be
# believed, and mend it; and you know what a network must not depend on when its input is a jet.
#
# **Time:** 40 minutes of reading. The code runs in less than half a minute on one CPU core, at every scale alike.

# %% slideshow={"slide_type": "skip"}
import math

import numpy as np
import torch
from sklearn.isotonic import IsotonicRegression
from sklearn.metrics import roc_curve
from torch.nn.functional import binary_cross_entropy_with_logits

import lhcml_tutor as lt
from lhcml_tutor.metrics import auc, rejection

scale = lt.scale()
p = lt.parameters(n_train=50_000, n_test=200_000, steps=600, seed=1)
generator = torch.Generator().manual_seed(p.seed)

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 1. Why classify?
#
# Nearly every measurement at the LHC begins with a choice. The trigger keeps one bunch crossing in some 40,000. A
# search keeps the events in which a signal would stand out. A jet is called a top, a $b$, a quark or a gluon, a tau.
# Each is a function $s(x)$ of what the detector saw, the *score*, and a cut on it:
#
# $$ \text{signal-like} \iff s(x) > c . $$
#
# Two numbers say what a cut does. The **signal efficiency** $\epsilon_S$ is the fraction of signal that passes, the
# **background efficiency** $\epsilon_B$ the fraction of background. With $S$ and $B$ events before the cut, the
# expected significance of a counting experiment with much background goes like
#
# $$ \frac{\epsilon_S S}{\sqrt{\epsilon_B B}} = \frac{S}{\sqrt B} \cdot \frac{\epsilon_S}{\sqrt{\epsilon_B}} , $$
#
# so a classifier that at equal $\epsilon_S$ has half the $\epsilon_B$ is worth twice the luminosity. That is why
# tagging is the part of LHC physics that machine learning changed first, and most.

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 2. The best cut there is
#
# Let $p_S(x)$ and $p_B(x)$ be the densities of signal and background. Which region $A$ keeps the fraction $\epsilon_S$
# of the signal and as little background as possible? Neyman and Pearson (1933): events are taken in the order of the
# **likelihood ratio**
#
# $$ \boxed{\ r(x) = \frac{p_S(x)}{p_B(x)}, \qquad A = \{x : r(x) > c\}\ } $$
#
# with $c$ such that $\int_A p_S = \epsilon_S$.
#
# **Proof.** Let $A'$ be any other region with $\int_{A'} p_S = \int_A p_S$. Take away what they share: the remaining
# parts $A \setminus A'$ and $A' \setminus A$ hold the same amount of signal. In the first $r > c$, so $p_B < p_S / c$;
# in the second $r \le c$, so $p_B \ge p_S/c$. Therefore
#
# $$ \int_{A \setminus A'} p_B \;\le\; \frac1c \int_{A \setminus A'} p_S \;=\; \frac1c \int_{A' \setminus A} p_S
# \;\le\; \int_{A' \setminus A} p_B . \qquad \blacksquare $$
#
# Nothing was said about dimensions, networks or shapes. Three consequences:
#
# - Any strictly rising function of $r$ is as good: $\log r$, or the posterior probability of signal (next section).
# - The best region of two observables is a *contour of $r$*, hardly ever a rectangle.
# - There is a best classifier, so where we know the densities we can say how far a network is from it.

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 3. A case with a known answer
#
# A resonance on a falling background: take $Z \to ee$. Two observables: the mass $m$ and the pseudorapidity $|\eta|$
# of one of the particles. Masses are measured worse forward than centrally:
#
# $$ p_S(m, \eta) = \tfrac{1}{2.4}\, N\big(m;\, 91\,\text{GeV},\, \sigma(\eta)\big), \quad
# \sigma(\eta) = 1\,\text{GeV} + 5\,\text{GeV}\,\frac{|\eta|}{2.4}, \qquad
# p_B(m, \eta) \propto e^{-m / 25\,\text{GeV}} \text{ for } 70 < m < 110\,\text{GeV} , $$
#
# with $|\eta|$ spread evenly between 0 and 2.4 for both: on its own, $|\eta|$ says *nothing*.

# %% slideshow={"slide_type": "subslide"}
LOW, HIGH, FALL = 70.0, 110.0, 25.0  # GeV


def width(eta):
    """Return the resolution of the mass [GeV]; eta (n,)."""
    return 1 + 5 * eta / 2.4


def draw(n, generator):
    """Return n events, every other one signal: features (n, 2) of m [GeV] and |eta|, label (n,)."""
    label = (torch.arange(n) % 2).float()
    eta = 2.4 * torch.rand(n, generator=generator)
    signal = 91 + width(eta) * torch.randn(n, generator=generator)
    u = torch.rand(n, generator=generator)
    ends = [math.exp(-edge / FALL) for edge in (LOW, HIGH)]
    background = -FALL * torch.log(ends[0] - u * (ends[0] - ends[1]))  # the inverse of the cumulative distribution
    return torch.stack([torch.where(label == 1, signal, background), eta], dim=1), label


def log_ratio(x):
    """Return the exact log of p_S / p_B; x (n, 2) -> (n,). Outside of the window there is signal alone."""
    m, eta = x.double().unbind(1)
    log_signal = -0.5 * ((m - 91) / width(eta)) ** 2 - (width(eta) * math.sqrt(2 * math.pi)).log()
    log_norm = math.log(FALL * (math.exp(-LOW / FALL) - math.exp(-HIGH / FALL)))
    log_background = -m / FALL - log_norm
    return torch.where((m > LOW) & (m < HIGH), log_signal - log_background, 50.0)


x, label = draw(p.n_train, generator)
x_test, label_test = draw(p.n_test, generator)

# %% slideshow={"slide_type": "subslide"}
fig, (left, right) = lt.plots.figure(columns=2)
masses = {name: x[label == number, 0].clamp(LOW, HIGH) for name, number in (("signal", 1), ("background", 0))}
lt.plots.histogram(masses, np.linspace(LOW, HIGH, 41), ax=left, density=True, xlabel="mass [GeV]")  # fmt: skip
for name, number, marker in (("background", 0, "s"), ("signal", 1, "o")):
    some = x[label == number][:600]
    right.plot(*some.T, marker, color=lt.plots.COLOURS[1 - number], markersize=2.5, alpha=0.4, label=name)
m, eta = torch.meshgrid(torch.linspace(LOW + 0.01, HIGH - 0.01, 200), torch.linspace(0, 2.4, 100), indexing="ij")
ratio = log_ratio(torch.stack([m.flatten(), eta.flatten()], dim=1)).view_as(m)
lines = right.contour(m, eta, ratio, levels=[-3, 0, 1], colors="black", linewidths=1.5)
right.clabel(lines, fmt=lambda level: rf"$\log r = {level:g}$", fontsize=12)
right.set(xlabel="mass [GeV]", ylabel=r"$|\eta|$ [1]", xlim=(LOW, HIGH), ylim=(0, 2.4))
lt.show(fig, "Left: mass of signal and background. Right: events in mass and eta with contours of the likelihood ratio")

# %% [markdown] slideshow={"slide_type": "skip"}
# *What you see.* Left, the peak on the falling mass. Right, events, and lines of constant likelihood ratio. The
# outer ones are narrow where the mass is measured well and wide where it is not. The innermost closes in again on top:
# there even the peak is low. All are drawn a little towards heavy masses, where there is less background. A cut on the
# mass alone is a pair of vertical lines. What is the difference worth?
#
# (Two numbers ahead of section 5. The *rejection at 30%* is $1/\epsilon_B$ at the cut that keeps 30% of the signal. The
# *AUC* is the probability that a signal event has a larger score than a background event: 0.5 is guessing, 1 is
# perfect.)

# %% slideshow={"slide_type": "subslide"}
ideal = log_ratio(x_test)
window = -(x_test[:, 0] - 91).abs()  # the score of a symmetric mass window
for name, score in (("likelihood ratio", ideal), ("mass window", window)):
    found = rejection(score, label_test, 0.3)
    print(f"{name:17s} AUC {auc(score, label_test):.4f}, rejection at 30%: {found.value:4.1f} +- {found.error:.1f}")

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 4. How a network becomes the likelihood ratio
#
# We never have $p_S(x)$ of a jet with 80 constituents. We have events. A network gives each a number between 0 and 1,
# the stated probability $q_\theta(x)$ that it is signal. Each event is then a toss of a coin with this probability, and
# the likelihood of the labels $y_i$ (1 signal, 0 background) is
#
# $$ L(\theta) = \prod_i q_\theta(x_i)^{y_i} \big(1 - q_\theta(x_i)\big)^{1 - y_i} . $$
#
# Maximum likelihood minimises $-\log L$ per event, the **cross entropy**
#
# $$ \mathcal L = -\frac1n \sum_i \Big[ y_i \log q_\theta(x_i) + (1 - y_i) \log\big(1 - q_\theta(x_i)\big) \Big] . $$
#
# **Its minimum.** For many events the sum is an integral. With the fraction $\pi$ of signal in the training sample,
#
# $$ \mathcal L = -\int dx\, \Big[ \pi\, p_S \log q + (1 - \pi)\, p_B \log(1 - q) \Big] . $$
#
# Where $q$ may be any function, we can minimise at each $x$ on its own:
#
# $$ \frac{\partial}{\partial q}: \quad \frac{\pi\, p_S}{q} = \frac{(1 - \pi)\, p_B}{1 - q}
# \quad\Longrightarrow\quad \boxed{\ q(x) = \frac{\pi\, p_S(x)}{\pi\, p_S(x) + (1 - \pi)\, p_B(x)} = P(S|x)\ } $$
#
# This is Bayes' theorem: the posterior probability of signal. Its **logit** is the log of the likelihood ratio, but for
# a constant:
#
# $$ \log \frac{q}{1 - q} = \log r(x) + \log \frac{\pi}{1 - \pi} . $$
#
# So we let the network give the logit (any real number, no exponential that overflows), and by the Neyman-Pearson
# lemma no cut can be better than one on it. The rest is whether network, data and training reach the minimum.
#
# How far they are from it, in nats (natural logarithms), with $\mathcal L_{ideal}$ the cross entropy of the posterior
# $P(S|x)$ itself, is the mean Kullback-Leibler divergence (lecture 03) of two coins:
#
# $$ \mathcal L - \mathcal L_{ideal}
# = \langle \mathrm{KL}\big(P(\cdot|x) \,\|\, q_\theta(\cdot|x)\big) \rangle_x \ge 0 . $$

# %% slideshow={"slide_type": "subslide"}
mean, spread = x.mean(0), x.std(0)


def train(features, label, steps, hidden=(64, 64), seed=p.seed):
    """Return a network that gives logits of standardised features (n, d)."""
    lt.seed_everything(seed)
    network = lt.layers.MLP(features.shape[1], 1, hidden)
    optimiser = torch.optim.Adam(network.parameters(), lr=3e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    for _ in range(steps):
        rows = torch.randint(len(features), (512,))
        loss = binary_cross_entropy_with_logits(network(features[rows])[:, 0], label[rows])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    return network


def logits(label, **settings):
    """Return the logits (n,) of the test events from a network that is trained on these labels."""
    network = train((x - mean) / spread, label, p.steps, **settings)
    with torch.no_grad():
        return network((x_test - mean) / spread)[:, 0].double()


def gap(logit):
    """Return by how many nats an event is off the best possible cross entropy, and the error."""
    difference = [binary_cross_entropy_with_logits(s, label_test.double(), reduction="none") for s in (logit, ideal)]
    difference = difference[0] - difference[1]
    return float(difference.mean()), float(difference.std()) / math.sqrt(len(difference))


# %% slideshow={"slide_type": "subslide"}
scores = {
    "network": logits(label),
    "linear network": logits(label, hidden=()),
    "shuffled labels": logits(label[torch.randperm(len(label))]),
    "likelihood ratio": ideal,
}
for name, logit in scores.items():
    nats, error = gap(logit)
    print(f"{name:17s} AUC {auc(logit, label_test):.4f}, {nats:.4f} +- {error:.4f} nats from the best")

# %% slideshow={"slide_type": "skip"}
# NBVAL_CHECK_OUTPUT
controls = {name: gap(scores[name])[0] for name in ("linear network", "shuffled labels")}
lt.verdict("gap of the network to the likelihood ratio in nats", gap(scores["network"])[0], ci=(0.0025, 0.006),
           laptop=(0.0025, 0.006), gpu=None, control=controls, floor=0.4)  # fmt: skip
lost = auc(ideal, label_test) - auc(scores["network"], label_test)
lt.verdict("AUC lost against the likelihood ratio", lost, ci=(0.0005, 0.003), laptop=(0.0005, 0.003), gpu=None,
           control={"mass window": auc(ideal, label_test) - auc(window, label_test)}, floor=0.7)  # fmt: skip

# %% [markdown] slideshow={"slide_type": "skip"}
# The network has never seen a density, and yet comes within 0.003 of the largest possible area. A linear map cannot
# make a peak: it only learns that signal is heavier on average. And the mass window, the cut that one would draw by
# eye, lies behind the network: it does not know which masses are measured well, although $|\eta|$ alone separates
# nothing. **Observables that say nothing on their own can be worth much together with others.** With shuffled labels
# there is nothing to learn; what is left is some accidental order of the events, so the AUC is near one half, but not
# exactly there.

# %% [markdown] slideshow={"slide_type": "fragment"}
# **Check yourself 1.** Instead of the cross entropy somebody minimises the mean square $(q - y)^2$. What is the minimum
# now? And of $|q - y|$?
#
# <details><summary>Answer</summary>
#
# At each $x$: $\pi p_S (q - 1)^2 + (1 - \pi) p_B\, q^2$ has its minimum at $\pi p_S (1 - q) = (1 - \pi) p_B\, q$, again
# $q = P(S|x)$. The square is a *proper* loss, too. Its gradient with respect to the logit has a factor $q (1 - q)$,
# which vanishes for events that are badly wrong, so it trains worse. The absolute value is linear in $q$: its minimum
# is at 0 or 1, whichever class is likelier. It gives a decision, no probability, and one cut instead of all.
# </details>

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 5. ROC curve, area, rejection
#
# Move the cut $c$ from $+\infty$ to $-\infty$: both efficiencies grow from 0 to 1. The curve is the **ROC curve**. In
# LHC physics one draws the **background rejection** $1/\epsilon_B$ against $\epsilon_S$, on a logarithmic axis, since
# it is the small $\epsilon_B$ that matter.
#
# **Its slope.** Both efficiencies are integrals of the density of the score $s$ from the cut upwards, so
# $d\epsilon = -p(s)\, ds$ for each, and $d\epsilon_S / d\epsilon_B = p_S(s) / p_B(s)$: the likelihood ratio of the
# score itself at the cut. For the best score it only falls as the cut is loosened, so $\epsilon_S$ as a function of
# $\epsilon_B$ is *concave*; a dent in that curve says that something better exists.
#
# **Its area** is a probability. Draw one signal and one background event:
#
# $$ \mathrm{AUC} = \int_0^1 \epsilon_S\, d\epsilon_B = \int ds_B\; p_B(s_B) \int_{s_B}^\infty ds_S\; p_S(s_S)
# = P(s_S > s_B) . $$
#
# One half is guessing, one is perfect. For two Gaussians at distance $d$ with widths $\sigma_S, \sigma_B$ the
# difference $s_S - s_B$ is a Gaussian, too, so a cut on $x$ has
#
# $$ \mathrm{AUC} = \Phi\!\left( \frac{d}{\sqrt{\sigma_S^2 + \sigma_B^2}} \right) , $$
#
# with $\Phi(t)$ the integral of the unit Gaussian up to $t$ (in section 7 the letter means something else).

# %% slideshow={"slide_type": "subslide"}
# NBVAL_CHECK_OUTPUT
d, narrow = 1.0, 0.3  # background: mean 0, width 1; signal: mean d, width narrow
signal = d + narrow * torch.randn(400_000, generator=generator)
background = torch.randn(400_000, generator=generator)
both, which = torch.cat([signal, background]), torch.cat([torch.ones(400_000), torch.zeros(400_000)])
formula = 0.5 * (1 + math.erf(d / math.sqrt(1 + narrow**2) / math.sqrt(2)))
print(f"AUC of a cut on x: {auc(both, which):.3f} from events, {formula:.3f} from the formula")
ratio = -0.5 * ((both - d) / narrow) ** 2 + 0.5 * both**2  # log r, but for a constant
print("the likelihood ratio is better:", auc(ratio, which) > auc(both, which))

# %% [markdown] slideshow={"slide_type": "subslide"}
# **What the area hides.** Both scores have large areas, and nearly the same rejection where most signal is kept. Far
# on the left they differ by a large factor: events with $x \gg d$ are background, and only the likelihood ratio knows
# it. An analysis lives at *one* working point. Quote the rejection there, with its error:
#
# $$ \frac{1}{\epsilon_B} \pm \frac{1}{\epsilon_B} \sqrt{\frac{1 - \epsilon_B}{\epsilon_B\, n_B}}
# \;\approx\; \frac{1}{\epsilon_B} \left( 1 \pm \frac{1}{\sqrt{\text{background events that pass}}} \right) . $$
#
# A rejection of 1000 known to 10% needs 100 survivors, so 100,000 background events *to test on*. On 3000 of them
# "rejection 1000" means three events.


# %% slideshow={"slide_type": "subslide"}
def roc(score, label):
    """Return signal efficiencies and background rejections of all cuts that some background passes."""
    false, true, _ = roc_curve(label, score)
    return true[false > 0], 1 / false[false > 0]


fig, ax = lt.plots.figure()
for (name, values), line, colour in zip({"likelihood ratio": ratio, "cut on $x$": both}.items(), ("-", "--"),
                                        lt.plots.COLOURS):  # fmt: skip
    ax.plot(*roc(values, which), line, color=colour, label=f"{name}, AUC {auc(values, which):.3f}")
ax.set(xlabel=r"signal efficiency $\epsilon_S$ [1]", ylabel=r"background rejection $1/\epsilon_B$ [1]", yscale="log",
       xlim=(0, 1), ylim=(1, 1e4))  # fmt: skip
ax.legend()
lt.show(fig, "Background rejection against signal efficiency of the likelihood ratio and of a cut on x")

# %% slideshow={"slide_type": "skip"}
# NBVAL_CHECK_OUTPUT
factor = rejection(ratio, which, 0.3).value / rejection(both, which, 0.3).value
lt.verdict("rejection at 30% of the likelihood ratio over that of the cut", factor, ci=(2.07, 2.54),
           laptop=(2.07, 2.54), gpu=None,
           control={"at 95%": rejection(ratio, which, 0.95).value / rejection(both, which, 0.95).value})  # fmt: skip

# %% [markdown] slideshow={"slide_type": "skip"}
# *What you see.* Two ROC curves that nearly meet on the right, where nearly all signal is kept, and part on the left.
# An analysis that keeps 95% of the signal has an eighth more background with the cut on $x$; one that keeps 30% has
# more than twice as much. The area, 0.89 or 0.83, tells neither.

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### Two Gaussians in your hands

# %% slideshow={"slide_type": "subslide"}
explorer = lt.explorers.classification.two_gaussians
lt.show(
    explorer.figure(),
    "Two Gaussians with a cut and the best region, the ROC curves of both, and the calibration of the posterior",
)

# %% [markdown] slideshow={"slide_type": "skip"}
# *What you see.* Left the densities with the cut; in the middle the ROC curves of the cut and of the likelihood ratio;
# right how often an event is signal against the probability that a classifier states (next section).
#
# Try: (a) equal widths: why do the two ROC curves agree? (b) make the signal wider than the background: which region
# does the best cut take? (c) change the share of signal: which of the three panels moves? (d) the temperature: which
# one moves now?

# %% tags=["explorer"] slideshow={"slide_type": "subslide"}
explorer.show()

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 6. Can the probability be believed?
#
# A ROC curve knows only the *order* of the events. A network that says 0.99 wherever it should say 0.7 may have the
# best there is. But many uses need the number itself: reweighting with $q/(1 - q)$ (lectures 06 and 12),
# likelihood-ratio fits (lecture 13), combining two taggers. A classifier is **calibrated** if, among the events for
# which it states $q$, the fraction $q$ is signal:
#
# $$ P(S \,|\, q_\theta(x) = q) = q . $$
#
# To see it, sort the events into bins of stated probability and count: the **calibration curve**. One number is the
# expected calibration error, $\mathrm{ECE} = \sum_{bins} \frac{n_b}{n} |f_b - \bar q_b|$, which even for a perfect
# classifier is as large as the statistical errors of the bins, some $0.8 \sqrt{q (1 - q) / n_b}$ each. Say that limit,
# too.
#
# **Who gets it wrong?** A network that has learned its training events by heart: it is as sure as it was right *there*.
# We give one 1000 events and, beside $m$ and $|\eta|$, twenty observables that are mere noise, to learn them by.
#
# **What helps?** Events that nobody has trained on, to fit a map from the stated to the observed. With one number: a
# *temperature* $T$, logit$/T$, by maximum likelihood (Guo et al. 2017). Or any rising curve: *isotonic regression*, the
# monotonic steps that fit the labels best.


# %% slideshow={"slide_type": "subslide"}
def with_noise(x, seed, columns=20):
    """Return standardised features (n, 2) with columns of noise beside them."""
    noise = torch.randn(len(x), columns, generator=torch.Generator().manual_seed(seed))
    return torch.cat([(x - mean) / spread, noise], dim=1)


few, (held_out, held_label) = 1000, draw(4000, generator)
overtrained = train(with_noise(x[:few], 1), label[:few], steps=300)
with torch.no_grad():
    held, scores["overtrained"] = (overtrained(with_noise(part, seed))[:, 0].double()
                                   for part, seed in ((held_out, 2), (x_test, 3)))  # fmt: skip
temperature = lt.classification.fit_temperature(held, held_label)
scores["temperature"] = scores["overtrained"] / temperature
curve = IsotonicRegression(y_min=1e-3, y_max=1 - 1e-3, out_of_bounds="clip").fit(held, held_label)
scores["isotonic"] = torch.logit(torch.from_numpy(curve.predict(scores["overtrained"])))
errors = {name: lt.classification.calibration_error(logit, label_test) for name, logit in scores.items()}
for name in ("network", "overtrained", "temperature", "isotonic"):
    limit = lt.classification.calibration_limit(scores[name])
    print(f"{name:12s} AUC {auc(scores[name], label_test):.4f}, calibration error {errors[name]:.4f} (statistics "
          f"alone: {limit:.4f}), {gap(scores[name])[0]:.3f} nats from the best")  # fmt: skip
print(f"temperature {temperature:.1f}")

# %% slideshow={"slide_type": "subslide"}
fig, (left, right) = lt.plots.figure(columns=2)
for name, marker, colour in zip(("network", "overtrained", "temperature", "isotonic"), "os^D", lt.plots.COLOURS):
    points = lt.classification.reliability(scores[name], label_test, bins=12)
    left.errorbar(points.stated, points.observed, points.error, fmt=marker, color=colour, label=name)
left.axline((0, 0), slope=1, color="black", linewidth=1)
left.set(xlabel="stated probability of signal [1]", ylabel="fraction of signal [1]", xlim=(0, 1), ylim=(0, 1))
left.legend(loc="upper left", fontsize=12)
for name, line, colour in zip(("network", "overtrained"), ("-", "--"), lt.plots.COLOURS):
    right.plot(*roc(scores[name], label_test), line, color=colour, label=name)
right.set(xlabel=r"signal efficiency $\epsilon_S$ [1]", ylabel=r"background rejection $1/\epsilon_B$ [1]", yscale="log",
          ylim=(1, 1e4))  # fmt: skip
right.legend()
lt.show(fig, "Left: calibration curves of a good network, an overtrained one, and two cures. Right: two ROC curves")

# %% slideshow={"slide_type": "skip"}
# NBVAL_CHECK_OUTPUT
doubled = lt.classification.calibration_error(2 * scores["network"], label_test)
lt.verdict("calibration error of the network", errors["network"], ci=(0.0002, 0.0071), laptop=(0.0002, 0.0071),
           gpu=None, control={"overtrained": errors["overtrained"], "logits doubled": doubled})  # fmt: skip
lt.verdict("calibration error after isotonic regression over that before", errors["isotonic"] / errors["overtrained"],
           ci=(0, 0.128), laptop=(0, 0.128), gpu=None,
           control={"temperature alone": errors["temperature"] / errors["overtrained"]}, floor=1.0)  # fmt: skip
same = auc(scores["overtrained"], label_test) == auc(scores["temperature"], label_test)
print("a temperature leaves the AUC alone:", same)

# %% [markdown] slideshow={"slide_type": "skip"}
# *What you see.* The good network is on the diagonal to half a per cent on average. The overtrained one is too sure of
# itself, an S around the diagonal: where it states 0.9, much less is signal. In nats it is as bad as the network with
# shuffled labels, although its order of the events is good. One temperature halves the calibration error, as the
# network is not equally wrong everywhere; the rising curve takes most of the rest, not all, as it was fitted on a few
# thousand events. Neither brings back what has been lost in separation: right, the overtrained network is below the
# good one at each efficiency. (The cures are not drawn: a temperature has the very same curve, and isotonic regression
# makes steps of it.) **Calibration and separation are two different things**, and each needs its own number.
#
# **Another mixture.** We train on equal classes, but in data one jet in a hundred may be a top. The posterior contains
# the fraction $\pi$ of the *training*. If only the mixture changes and $p_S, p_B$ do not, the logit shifts by a
# constant:
#
# $$ \mathrm{logit}\; q' = \mathrm{logit}\; q + \log\frac{\pi'}{1 - \pi'} - \log\frac{\pi}{1 - \pi} . $$

# %% slideshow={"slide_type": "subslide"}
# NBVAL_CHECK_OUTPUT
kept = (label_test == 0) | (torch.rand(p.n_test, generator=generator) < 1 / 19)  # one in twenty is signal
shift = math.log(0.05 / 0.95)
rare = {"as it is": scores["network"][kept], "shifted": scores["network"][kept] + shift}
off = {name: lt.classification.calibration_error(logit, label_test[kept]) for name, logit in rare.items()}
print("the shift makes the calibration error ten times smaller:", off["shifted"] < off["as it is"] / 10)

# %% [markdown] slideshow={"slide_type": "fragment"}
# **Check yourself 2.** A tagger has been trained with nine background jets to each signal jet, and you cut at
# $q > 0.5$. Which likelihood ratio do you cut at? Have you lost anything against training on equal classes?
#
# <details><summary>Answer</summary>
#
# $q = 0.5$ means $r \cdot \pi/(1 - \pi) = 1$, so $r = 9$: a much harder cut. In the limit of many events nothing is
# lost, the order of the events is the same; but *accuracy at 0.5* compares two different working points. With few
# events equal classes train better, as the rare class decides the error. Move the cut, not the training.
# </details>

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 7. What a jet is to a network
#
# A jet of $R = 0.8$ has some fifty constituents: $(p_T, \Delta\eta, \Delta\phi)$ each, relative to the axis. Which
# function $s(x_1, \dots, x_n)$ should a network be? Two things it must not depend on.
#
# **The order.** Constituents are a *set*. Forty of them can be written down in $40! \approx 10^{48}$ orders; a network
# that has to learn that they all mean the same jet will not finish. Build it in.
#
# **The padding.** Computers like tables, jets differ in length, so the rest is filled with zeros. Zeros are not
# particles.
#
# Four ways to build it in:
#
# | | the jet is | network | cost for $n$ constituents |
# | --- | --- | --- | --- |
# | image | pixels of $\Delta\eta, \Delta\phi$ filled with $p_T$ | convolutions | pixels, over 95% of them empty |
# | set | a list without order | deep sets: a function of each, added up | $n$ |
# | graph | a list with neighbours | edge convolutions (ParticleNet) | $n k$, after a search of order $n^2$ |
# | complete graph | a list, all pairs | attention (transformer) | $n^2$ |
#
# **Deep sets.** Every function of a set that does not care for order can be written as
#
# $$ s(\{x_i\}) = F\Big( \sum_i \Phi(x_i) \Big) $$
#
# with enough sums (Zaheer et al. 2017; in particle physics: particle flow networks, Komiske, Metodiev, Thaler 2018).
# This is less abstract than it looks. The jet mass is one: $\Phi(x_i) = p_i$, four sums, and $F(P) = \sqrt{P^2}$. So
# are the multiplicity ($\Phi = 1$) and the width (two sums, $\Phi = (p_T \Delta R, p_T)$). With the pT as a factor,
# $\Phi = p_T\, \varphi(\Delta\eta, \Delta\phi)$, the sum does not change when a particle splits in two parallel ones or
# emits a soft one: infrared and collinear safe.

# %% slideshow={"slide_type": "subslide"}
# NBVAL_CHECK_OUTPUT
jets = lt.datasets.load_top_jets(n=500, seed=p.seed)
momenta = jets["constituents"].double()  # (500, 80, 4), zero-padded
order = torch.rand(momenta.shape[:2], generator=generator).argsort(1)
shuffled = momenta.gather(1, order[..., None].expand_as(momenta))
mass = lt.kinematics.mass(momenta.sum(1))
print("the mass is a deep set, order is nothing:", torch.allclose(lt.kinematics.mass(shuffled.sum(1)), mass))
mask = jets["relative"][..., 0] > 0
angle = jets["relative"][..., 1:].double().square().sum(-1).sqrt()
true_mean = angle.sum(1) / mask.sum(1)  # the padding adds 0, and is not counted
more = torch.cat([angle, torch.zeros(500, 40)], dim=1)
print("a mean that counts the padding changes with it:", not torch.allclose(more.mean(1), angle.mean(1)))
print("a masked mean does not:", torch.allclose(more.sum(1) / mask.sum(1), true_mean))

# %% [markdown] slideshow={"slide_type": "subslide"}
# **Neighbours.** A sum over constituents does not see pairs directly: the angle between two prongs has to be assembled
# from moments. An **edge convolution** (Wang et al. 2018; ParticleNet, Qu and Gouskos 2019) gives each constituent a
# look at its $k$ nearest neighbours,
#
# $$ x'_i = \frac1k \sum_{j \in \text{neighbours of } i} h\big(x_i,\; x_j - x_i\big) , $$
#
# and then looks for neighbours again, among the new features. Energy correlators $\sum_{ij} z_i z_j\, \Delta R_{ij}$,
# with $z_i$ the share of the $p_T$, are of this kind, with all other constituents as neighbours.
#
# **All pairs.** A transformer lets all constituents look at all others, with weights that it learns from both,
#
# $$ x'_i = \sum_j \mathrm{softmax}_j\Big( \frac{q_i \cdot k_j}{\sqrt{d}} + U_{ij} \Big)\, v_j , $$
#
# with queries $q_i$, keys $k_j$ (not the probability, nor the number of neighbours) and values $v_j$, linear in the
# features, and $d$ the length of a key (lecture 09). In the particle transformer (Qu, Li, Qian 2022) the bias $U_{ij}$
# is a network of what QCD says of a pair: $\ln \Delta R_{ij}$, $\ln k_T$ with $k_T = \min(p_{T,i}, p_{T,j})\, \Delta
# R_{ij}$, $\ln z$ with $z = \min(p_{T,i}, p_{T,j}) / (p_{T,i} + p_{T,j})$, and $\ln m_{ij}^2$.
#
# **Symmetry by hand.** The physics of a jet does not know which way it is turned around its axis. One may rotate every
# jet until its long axis points along $\eta$, and mirror it until the harder half is right and above. Then the network
# sees one position instead of all. Tutorial 04a measures what this is worth; equivariant networks (lecture 10) build it
# in.

# %% slideshow={"slide_type": "subslide"}
explorer = lt.explorers.classification.jet_image
lt.show(explorer.figure(), "Constituents of a top jet in eta and phi with its long axis, and the image of the jet")

# %% [markdown] slideshow={"slide_type": "skip"}
# *What you see.* Left the constituents of a top jet, larger for larger $p_T$: open as it was, filled after a turn by 45
# degrees and a boost along the jet; dashed the long axis. Right the image of the filled ones. The mass is the same.
# *Same pixels* is the share of $p_T$ that has stayed in its pixel: next to none, so to a network on pixels this is
# another jet.
#
# Try: (a) turn the jet: which numbers change? (b) choose "aligned: yes" and turn again; (c) boost it: what happens to
# the distance of the prongs, and what to the mass? (d) a QCD jet: how many prongs?

# %% tags=["explorer"] slideshow={"slide_type": "subslide"}
explorer.show()

# %% [markdown] slideshow={"slide_type": "fragment"}
# **Check yourself 3.** *N-subjettiness* is $\tau_N = \sum_i p_{T,i} \min_a \Delta R_{i,a} / (R \sum_i p_{T,i})$, with
# the distance to the nearest of $N$ axes in the jet: small if $N$ prongs are enough. Is $\tau_{21} = \tau_2 / \tau_1$
# a deep set? And the number of pairs of constituents closer than 0.1?
#
# <details><summary>Answer</summary>
#
# By the theorem both are, as both do not care for order. But *how many sums* they need is another question. With the
# axes given, $\tau_N$ is one sum; the axes themselves come from clustering, a complicated function of all constituents.
# The number of close pairs is a sum over *pairs*: a network of pairs has it at once, a deep set must first make a fine
# histogram of all positions ($\Phi$: one output for each cell), and only $F$ looks at pairs of cells.
# </details>

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 8. Comparing taggers honestly
#
# - **Two kinds of error.** A finite test sample (bootstrap over jets), and the training: another seed, another start
#   (spread over several seeds). The second is often the larger one. Differences on the *same* jets are known better
#   than each number, as jets that are hard for one are hard for the other.
# - **A baseline that is tuned, too.** Boosted trees on a dozen good observables are hard to beat with 10,000 jets.
# - **Learning curves.** Which tagger wins depends on the number of training jets. Show the curve, not a point.
# - **Cost.** Parameters, operations per jet, seconds per training, jets per second.
# - **Calibration**, if anybody will use the probability.
# - **The world outside.** A tagger learns the *simulation*. Evaluate it with another shower, another resolution:
#   the best one on paper may be the one that loses most. Lecture 14 asks what taggers have learned.

# %% [markdown] slideshow={"slide_type": "fragment"}
# **Check yourself 4.** Two taggers reject $1020 \pm 90$ and $900 \pm 75$ on the same test jets. Are they different?
#
# <details><summary>Answer</summary>
#
# One cannot tell from these four numbers. As independent measurements they would be one standard deviation apart. But
# the survivors overlap: if 60 of the background jets pass both, only those that pass one and not the other count.
# Bootstrap the *ratio*, with the same drawn jets for both. And train each with other seeds before you believe it.
# </details>

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 9. What can go wrong
#
# - **Signal efficiency and background efficiency swapped**, so that a "rejection" is below 1, or an AUC below one half.
# - **Sigmoid twice**: a loss that expects logits gets probabilities. It trains, slowly, to a bad minimum.
# - **Padding counted** in a mean, a batch normalisation or a softmax: the tagger sees the padding,
#   and changes its mind when the table gets wider.
# - **The same jet in training and test**, for example through events with two jets each. Split by event.
# - **Labels that leak**: signal and background made with other settings, other rounding, another order. The network
#   finds it. An AUC that is too good is a bug until proven otherwise.
# - **Scaling with the test sample included**, or each class on its own.
# - **Accuracy on unequal classes**: 99% is easy if 99% are background.
# - **A rejection without its number of survivors.**
# - **Choosing the best of ten seeds on the test sample.**
# - **Probabilities of a network that never was calibrated**, used as weights.

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 10. References
#
# - J. Neyman, E. S. Pearson, *On the problem of the most efficient tests of statistical hypotheses*,
#   Phil. Trans. R. Soc. A 231 (1933) 289.
# - K. Cranmer, J. Pavez, G. Louppe, *Approximating likelihood ratios with calibrated discriminative classifiers*,
#   arXiv:1506.02169.
# - C. Guo, G. Pleiss, Y. Sun, K. Q. Weinberger, *On calibration of modern neural networks*, arXiv:1706.04599.
# - M. Zaheer et al., *Deep sets*, arXiv:1703.06114.
# - P. T. Komiske, E. M. Metodiev, J. Thaler, *Energy flow networks: deep sets for particle jets*, arXiv:1810.05165.
# - Y. Wang et al., *Dynamic graph CNN for learning on point clouds*, arXiv:1801.07829; H. Qu, L. Gouskos, *ParticleNet:
#   jet tagging via particle clouds*, arXiv:1902.08570.
# - H. Qu, C. Li, S. Qian, *Particle transformer for jet tagging*, arXiv:2202.03772.
# - A. Butter et al., *The machine learning landscape of top taggers*, arXiv:1902.09914.
#
# **Next:** tutorial 04a puts taggers of tops on one scoreboard, and tutorial 04b tells quarks from gluons, on a shower
# whose likelihood is known.
