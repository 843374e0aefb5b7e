# ---
# jupyter:
#   kernelspec: {display_name: Python 3 (ipykernel), language: python, name: python3}
#   lhcml: {title: "From the Lagrangian to a histogram", kind: lecture, extras: [], minutes: {laptop: 1, gpu: 1}}
# ---

# %% [markdown] slideshow={"slide_type": "slide"}
# # 00 From the Lagrangian to a histogram
#
# **Before you start:** special relativity with four-vectors, mean and variance of a random number, a first course
# in particle physics, some Python with arrays. Nothing about machine learning.
#
# **Goal:** you can say which formula stands behind one entry of one LHC histogram, choose coordinates that suit a
# collider, integrate over phase space by Monte Carlo, derive the error of what you get, and say where in this chain
# machine learning helps, and why.
#
# **Time:** 40 minutes of reading. The code runs in about fifteen seconds on one CPU core at every scale.

# %% slideshow={"slide_type": "skip"}
import math

import numpy as np
import torch

import lhcml_tutor as lt
from lhcml_tutor import kinematics
from lhcml_tutor.physics.amplitudes import qqbar_to_z_gluons
from lhcml_tutor.physics.phase_space import massless_volume, rambo

scale = lt.scale()
p = lt.parameters(n=100_000, seed=1)
generator = torch.Generator().manual_seed(p.seed)
m_z, width_z = 91.1880, 2.4955  # mass and width of the Z [GeV], Review of Particle Physics 2024
picobarn = 0.3893794e9  # 1/GeV^2 in picobarn

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 1. One collision in a billion
#
# Two bunches of protons cross in the LHC forty million times a second. How often something happens is
#
# $$ \frac{dN}{dt} = \mathcal L\, \sigma , $$
#
# with the luminosity $\mathcal L$ (how dense the beams are, a property of the machine) and the cross section
# $\sigma$ (how likely the process is, a property of nature). At
# $\mathcal L = 2\cdot 10^{34}\,\mathrm{cm^{-2}\,s^{-1}}$ and with $1\,\mathrm{pb} = 10^{-36}\,\mathrm{cm}^2$, a
# cross section of 1 pb is one event in 50 seconds.

# %% slideshow={"slide_type": "fragment"}
luminosity = 2e34 * 1e-36  # per pb and second
for process, sigma in {"anything inelastic": 8e10, "Z -> mu mu": 2000, "t tbar": 830, "Higgs": 55}.items():
    print(f"{process:20s} {sigma:10.3g} pb   {luminosity * sigma:10.3g} events per second")

# %% [markdown] slideshow={"slide_type": "subslide"}
# (Rounded values for proton-proton collisions at 13 TeV.) About one collision in a billion makes a Higgs. We find
# such events because we can predict what they look like. The prediction is a chain, and each step has its own
# scale:
#
# | step | what turns into what | how, and where |
# | --- | --- | --- |
# | Lagrangian $\to$ amplitude | a theory into $\lvert M\rvert^2$ | Feynman rules, exact at a given order |
# | amplitude $\to$ partons | $\lvert M\rvert^2$ into momenta | Monte Carlo over phase space: this lecture |
# | partons $\to$ hadrons | a quark into a jet of tens of particles | parton shower, hadronisation: tutorial 00 |
# | hadrons $\to$ detector | particles into hits and energies | simulated interactions with matter |
# | detector $\to$ objects | hits into muons, jets, their momenta | reconstruction |
# | objects $\to$ histogram | events into counts per bin | this lecture, last part |
#
# Top to bottom is *simulation*: random numbers in, events out, every step easy to sample. Bottom to top is
# *inference*: given events, which Lagrangian? Both directions are where the rest of this course works.

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 2. Cross section = 1/flux $\times\ |M|^2\ \times$ phase space
#
# Two massless partons $a, b$ with momenta $p_a, p_b$ make $n$ particles. Write $\hat s = (p_a + p_b)^2$ for the
# square of their common energy. Then
#
# $$ d\hat\sigma = \frac{1}{2 \hat s}\ \overline{\sum} |M|^2\ d\Phi_n , \qquad
# d\Phi_n = (2\pi)^4\, \delta^4\Big(p_a + p_b - \sum_i p_i\Big) \prod_{i=1}^n \frac{d^3 p_i}{(2\pi)^3\, 2E_i} . $$
#
# - $1/2\hat s$ is one over the **flux**. States are normalised to $2E$ particles per volume, so two beams that meet
#   head-on with relative velocity 2 have the flux $2E_a \cdot 2E_b \cdot 2 = 8 E_a E_b = 2\hat s$, since
#   $\hat s = 4E_aE_b$.
# - $\overline{\sum}|M|^2$ is the **squared amplitude**: summed over the spins and colours of what goes out,
#   averaged over those of what comes in. It holds all the dynamics. It is what comes out of the Lagrangian.
# - $d\Phi_n$ is the **phase space**: every way to share the momentum, each way once (for $k$ identical
#   particles divide by $k!$). It holds no dynamics at all.
#
# Count dimensions: $|M|^2$ of $2\to n$ is $\mathrm{GeV}^{4-2n}$, $\Phi_n$ is $\mathrm{GeV}^{2n-4}$, so $\hat\sigma$
# is $\mathrm{GeV}^{-2}$, an area. The conversion is $1\,\mathrm{GeV}^{-2} = 0.389\cdot10^9$ pb.

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### From partons to protons
#
# A proton is a bag of partons. The **parton density** $f_a(x, \mu)$ is the mean number of partons of kind $a$ that
# carry the fraction $x$ of the proton's momentum, per unit of $x$, when one looks with a resolution set by the
# scale $\mu$. We cannot compute it yet from the Lagrangian; it is fitted to data once and used for every process.
# Only its change with $\mu$ is calculable (the DGLAP equations), and momentum must add up:
# $\sum_a \int_0^1 dx\, x f_a(x,\mu) = 1$. Then
#
# $$ \sigma = \sum_{a,b} \int_0^1 dx_1 \int_0^1 dx_2\ f_a(x_1, \mu)\, f_b(x_2, \mu)
# \hat\sigma_{ab}(\hat s = x_1 x_2 s) , $$
#
# with the squared energy $s$ of the two protons. In the rest frame of the proton pair, which is the laboratory, the two
# partons have together
#
# $$ P = p_a + p_b = \tfrac{\sqrt s}{2}\, (x_1 + x_2,\ 0,\ 0,\ x_1 - x_2) . $$
#
# So *every event comes with its own unknown boost along the beam*, $\beta = (x_1-x_2)/(x_1+x_2)$. We want
# coordinates that do not mind.

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 3. Coordinates that suit a collider
#
# A four-momentum is $p = (E, p_x, p_y, p_z)$, the beam is the $z$ axis, $\hbar = c = 1$. With the metric
# $(+,-,-,-)$ the square $p^2 = E^2 - |\vec p|^2 = m^2$ is the same in every frame.
#
# A boost along the beam with velocity $\beta = \tanh Y$ (so $\gamma = \cosh Y$, $\gamma\beta = \sinh Y$) gives
#
# $$ E' = E \cosh Y + p_z \sinh Y, \qquad p_z' = p_z \cosh Y + E \sinh Y , \qquad p_x' = p_x,\quad p_y' = p_y . $$
#
# Untouched are therefore the **transverse momentum** and the **azimuth**,
#
# $$ p_T = \sqrt{p_x^2 + p_y^2}, \qquad \phi = \mathrm{atan2}(p_y, p_x) . $$
#
# What to do with the other two? Add and subtract:
#
# $$ E' \pm p_z' = (E \pm p_z) \cosh Y + (p_z \pm E)\sinh Y
# = (E \pm p_z)\, (\cosh Y \pm \sinh Y) = (E \pm p_z)\, e^{\pm Y} . $$

# %% [markdown] slideshow={"slide_type": "subslide"}
# Light-cone components just scale. Two conclusions:
#
# 1. their product is invariant: $(E + p_z)(E - p_z) = E^2 - p_z^2 = m^2 + p_T^2 \equiv m_T^2$, the transverse mass
#    squared;
# 2. the logarithm of their ratio shifts. Define the **rapidity**
#
# $$ y = \frac12 \log \frac{E + p_z}{E - p_z} \qquad\Rightarrow\qquad
# y' = \frac12 \log\left( \frac{E + p_z}{E - p_z}\, e^{2Y} \right) = y + Y . $$
#
# Differences of rapidities are the same in every frame that moves along the beam. From $E \pm p_z = m_T e^{\pm y}$
# follows
#
# $$ E = m_T \cosh y, \qquad p_z = m_T \sinh y . $$
#
# The rapidity needs the mass of the particle. A detector sees a direction first, so one also uses the
# **pseudorapidity**, with $|\vec p|$ in place of $E$ and the polar angle $\theta$ from the beam:
#
# $$ \eta = \frac12 \log\frac{|\vec p| + p_z}{|\vec p| - p_z} = \frac12 \log \frac{1+\cos\theta}{1-\cos\theta}
# = -\log\tan\frac\theta2 . $$
#
# For $m \ll p_T$ the two agree. Distances between directions are $\Delta R = \sqrt{\Delta\eta^2 + \Delta\phi^2}$.

# %% [markdown] slideshow={"slide_type": "skip"}
# We boost a thousand random particles with masses up to 180 GeV and look at what moves.


# %% slideshow={"slide_type": "subslide"}
def random_particles(n):
    """Return momenta (n, 4) in GeV with pT of 10..200, |y| < 3 and masses of 0..180."""
    u = torch.rand(4, n, dtype=torch.float64, generator=generator)
    pt, y, phi, mass = 10 + 190 * u[0], 6 * u[1] - 3, 2 * math.pi * u[2], 180 * u[3]
    mt = (mass**2 + pt**2).sqrt()
    return torch.stack([mt * y.cosh(), pt * phi.cos(), pt * phi.sin(), mt * y.sinh()], dim=-1)


before = random_particles(1000)
after = kinematics.boost(before, torch.tensor([0.0, 0.0, math.tanh(1.5)], dtype=torch.float64))
shift_y = kinematics.rapidity(after) - kinematics.rapidity(before)
shift_eta = kinematics.eta(after) - kinematics.eta(before)
print(f"shift of y   from {shift_y.min():.4f} to {shift_y.max():.4f}")
print(f"shift of eta from {shift_eta.min():.4f} to {shift_eta.max():.4f}")

# %% slideshow={"slide_type": "skip"}
# NBVAL_CHECK_OUTPUT
unchanged = {"pT": kinematics.pt, "phi": kinematics.phi, "mass": kinematics.mass}
for name, quantity in unchanged.items():
    print(f"{name} is unchanged:", torch.allclose(quantity(after), quantity(before), rtol=1e-6, atol=1e-6))
print("every rapidity is shifted by 1.5:", torch.allclose(shift_y, torch.full_like(shift_y, 1.5)))
print("every pseudorapidity is shifted by 1.5:", torch.allclose(shift_eta, torch.full_like(shift_eta, 1.5), atol=0.01))
mt = (kinematics.mass(before) ** 2 + kinematics.pt(before) ** 2).sqrt()
print("E = mT cosh y:", torch.allclose(mt * kinematics.rapidity(before).cosh(), before[:, 0]))

# %% slideshow={"slide_type": "subslide"}
explorer = lt.explorers.events.boost
lt.show(
    explorer.figure(mass=90.0),
    "Left: seven directions before and after a boost. Right: all rapidities shift by one, pseudorapidities by more",
)

# %% [markdown] slideshow={"slide_type": "skip"}
# *What you see.* Left, seven particles of $p_T = 40$ GeV and mass 90 GeV, evenly spaced in rapidity; colours follow
# each of them from before the boost (up) to after it (down). The boost squeezes them forward in angle, yet in
# rapidity they stay evenly spaced. Right, how far each one moved: the rapidity by 1, the pseudorapidity of a slow
# particle by more than twice as much. For heavy particles $\eta$ is not a good coordinate. Set the mass to zero and
# the two curves become one.
#
# Try in the explorer: for which $p_T$ does a particle of 90 GeV behave as if it had no mass?

# %% tags=["explorer"] slideshow={"slide_type": "subslide"}
explorer.show()

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### Why phase space likes these coordinates
#
# At fixed $p_T$ and $\phi$ we have $dp_z = m_T \cosh y\, dy = E\, dy$. The measure of one particle becomes
#
# $$ \frac{d^3p}{2E} = \frac{p_T\, dp_T\, d\phi\, dp_z}{2E} = \frac12\, p_T\, dp_T\, d\phi\, dy : $$
#
# the factor $1/E$ is gone. Phase space is *flat* in $y$ and $\phi$, which is why detectors are drawn and jets are
# clustered in this plane. The same happens to the partons. With
#
# $$ \tau = x_1 x_2 = \hat s / s, \qquad Y = \tfrac12 \log (x_1/x_2), \qquad x_{1,2} = \sqrt\tau\, e^{\pm Y} $$
#
# the Jacobian determinant is
# $\frac{e^Y}{2\sqrt\tau} \cdot (-\sqrt\tau e^{-Y}) - \sqrt\tau e^{Y} \cdot \frac{e^{-Y}}{2\sqrt\tau} = -1$, so
# $dx_1\, dx_2 = d\tau\, dY$, and $Y$ is the rapidity of the pair: insert $P$ from above. From $x_{1,2} \le 1$
# follows
#
# $$ |Y| \le \tfrac12 \log(1/\tau) = \log(\sqrt s / \sqrt{\hat s}) . $$
#
# A Z at rest in the partonic frame and $\sqrt s = 13$ TeV: $|Y| \le \log(13000/91.19) = 4.96$.

# %% [markdown] slideshow={"slide_type": "fragment"}
# **Check yourself 1.** Two jets have $y_1 = 0.3$ and $y_2 = 2.8$. In which frame, moving along the beam, are they
# back to back in rapidity, and what are their rapidities there?
#
# <details><summary>Answer</summary>
#
# The frame moves with $\beta = \tanh\frac{y_1 + y_2}{2} = \tanh 1.55 = 0.914$. Going there shifts every rapidity by
# $-1.55$, to $y = \mp 1.25$. The difference is still 2.5. If the two jets are all there is and have no mass, this is
# the frame of the partons, and $|\cos\theta^*| = \tanh 1.25 = 0.85$ gives their scattering angle $\theta^*$.
# </details>

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 4. Phase space: two bodies by hand, many with RAMBO
#
# **Two bodies.** Work in the rest frame of $P$. The three-momentum part of the delta function removes $\vec p_2$:
#
# $$ \int d\Phi_2 = \frac{1}{(2\pi)^2} \int \frac{d^3 p_1}{4 E_1 E_2}\ \delta(\sqrt{\hat s} - E_1 - E_2),
# \qquad d^3p_1 = p^2\, dp\, d\Omega . $$
#
# The last delta function fixes $p = |\vec p_1|$. It counts with one over the derivative of its argument,
# $\frac{d(E_1 + E_2)}{dp} = \frac{p}{E_1} + \frac{p}{E_2} = \frac{p \sqrt{\hat s}}{E_1 E_2}$, so that
#
# $$ d\Phi_2 = \frac{1}{(2\pi)^2} \frac{p^2}{4E_1E_2} \frac{E_1E_2}{p\sqrt{\hat s}}\, d\Omega
# = \frac{1}{16\pi^2} \frac{p}{\sqrt{\hat s}}\ d\Omega . $$
#
# All that is left to choose is a direction. Without masses $p = \sqrt{\hat s}/2$ and
# $\Phi_2 = 4\pi/(32\pi^2) = 1/8\pi$. With one mass $m$, $p = (\hat s - m^2)/2\sqrt{\hat s}$ and
# $\Phi_2 = \frac{1}{8\pi}\left(1 - \frac{m^2}{\hat s}\right)$.

# %% [markdown] slideshow={"slide_type": "subslide"}
# **Many bodies.** $n$ particles have $3n$ momentum components and 4 constraints: $3n - 4$ dimensions. How to draw
# points that obey the constraints, evenly? RAMBO (Kleiss, Stirling, Ellis 1986) does it in two strokes:
#
# 1. forget the constraints: draw $n$ massless momenta, isotropic, with energies from the density $E\, e^{-E}$;
# 2. repair all at once: one boost takes the sum to rest, one scale factor gives it the right energy.
#
# Why is the result even? In spherical coordinates $E\, e^{-E}\, dE\, d\Omega = \frac{d^3q}{E}\, e^{-E}$, so the
# first stroke draws from $\prod_i \frac{d^3 q_i}{E_i} \cdot e^{-\sum_i E_i}$. A boost does not change $d^3q/E$, and
# a common scale factor changes it equally for all points. The exponential depends on the sum of all momenta alone,
# that is on the boost and on the scale, and both are forgotten after the repair. What is left is
# $\prod_i \frac{d^3p_i}{E_i}$ under the constraints: phase space. Each point has the same weight, the volume
#
# $$ \Phi_n = (2\pi)^{4-3n} \left(\frac\pi2\right)^{n-1} \frac{\hat s^{\,n-2}}{(n-1)!\,(n-2)!} . $$
#
# Masses cost one more stroke (shrink all three-momenta by a common factor) and make the weights differ.

# %% slideshow={"slide_type": "subslide"}
momenta, weights = rambo(4, 0.0, 1000.0, 1000, generator)  # four massless particles at 1 TeV
z_gluon, z_gluon_weights = rambo(2, [m_z, 0.0], 500.0, 1000, generator)  # Z and a gluon at 500 GeV
print("momenta", tuple(momenta.shape), "= points, particles, (E, px, py, pz)")
print("sum of the first point [GeV]:", [f"{x:.9f}" for x in momenta[0].sum(dim=0)])

# %% slideshow={"slide_type": "skip"}
# NBVAL_CHECK_OUTPUT
total = torch.tensor([1000.0, 0, 0, 0], dtype=torch.float64)
print("energy and momentum are conserved to 1e-9 GeV:", torch.allclose(momenta.sum(dim=1), total, rtol=0, atol=1e-9))
print("no particle has a mass:", bool((kinematics.mass_squared(momenta).abs() < 1e-6).all()))
print("4 massless particles, weight / volume:", f"{weights.mean() / massless_volume(4, 1000.0):.9f}")
two_body = (1 - m_z**2 / 500**2) / (8 * math.pi)
print("Z and gluon, weight / volume:", f"{z_gluon_weights.mean() / two_body:.9f}")

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 5. Monte Carlo integration, and its error
#
# We want $I = \int f(x)\, dx$ over some region. Draw $n$ independent points from any density $q(x)$ that is
# positive where $f$ is not zero, and give each the **weight** $w = f/q$. Then
#
# $$ I = \int q(x)\, \frac{f(x)}{q(x)}\, dx = E_q[w], \qquad \hat I = \frac1n \sum_{i=1}^n w_i . $$
#
# *The mean is right:* $E[\hat I] = \frac1n \sum_i E[w_i] = I$ for every $n$.
#
# *The variance falls like $1/n$.* A constant leaves the variance squared,
# $\mathrm{Var}(a X) = a^2\, \mathrm{Var}(X)$, and variances of *independent* numbers add:
#
# $$ \mathrm{Var}(\hat I) = \frac{1}{n^2} \sum_{i=1}^n \mathrm{Var}(w_i) = \frac{V}{n},
# \qquad V = E_q[w^2] - E_q[w]^2 = \int \frac{f^2}{q}\, dx - I^2 . $$
#
# *The distribution becomes Gaussian* by the central limit theorem, if $V$ is finite. So $I = \hat I \pm \sqrt{V/n}$
# with its usual meaning: 68% of such intervals hold the truth. $V$ is not known either; estimate it from the same
# points, $\hat V = \frac{1}{n-1} \sum_i (w_i - \hat I)^2$.

# %% [markdown] slideshow={"slide_type": "subslide"}
# No step asked for the dimension of $x$. That is the point. A grid of $n$ points in $d$ dimensions has $n^{1/d}$
# points per axis; the midpoint rule errs like (spacing)$^2 \sim n^{-2/d}$. Beyond $d = 4$ random points win, and the
# phase space of $k$ particles has $3k-4$ dimensions: 8 for $Z + 3$ jets, 14 for $t\bar t \to 6$ quarks and leptons.
#
# ### A toy with a known answer: $e^+e^- \to \mu^+\mu^-$
#
# Far below the Z mass a photon is exchanged. Averaged over incoming and summed over outgoing spins, and without
# masses, $\overline\sum|M|^2 = e^4 (1 + \cos^2\theta)$ with $e^2 = 4\pi\alpha$. By hand:
#
# $$ \sigma = \frac{1}{2s} \int \frac{d\Omega}{32\pi^2}\ 16\pi^2\alpha^2 (1 + \cos^2\theta)
# = \frac{\alpha^2}{4s} \cdot 2\pi \cdot \left(2 + \tfrac23\right) = \frac{4\pi\alpha^2}{3s} . $$

# %% slideshow={"slide_type": "subslide"}
alpha, energy = 1 / 137.036, 10.0  # energy of the electron and the positron together [GeV]
muons, weights = rambo(2, 0.0, energy, p.n, generator)
cosine = muons[:, 0, 3] / muons[:, 0, 0]
squared_amplitude = (4 * math.pi * alpha) ** 2 * (1 + cosine**2)
w = weights * squared_amplitude / (2 * energy**2) * picobarn

estimate, error = w.mean(), w.std() / math.sqrt(p.n)
exact = 4 * math.pi * alpha**2 / (3 * energy**2) * picobarn
print(f"Monte Carlo {estimate:.3f} +- {error:.3f} pb, closed formula {exact:.3f} pb")
print(f"pull {(estimate - exact) / error:.2f}")
print(f"relative error {error / estimate:.6f}, and 1/sqrt(20 n) = {(20 * p.n) ** -0.5:.6f}")

# %% [markdown] slideshow={"slide_type": "subslide"}
# Where does $1/\sqrt{20\,n}$ come from? The points are flat in $c = \cos\theta$, so $w \propto 1 + c^2$ and
#
# $$ E[1+c^2] = 1 + \tfrac13 = \tfrac43, \qquad E[(1+c^2)^2] = 1 + \tfrac23 + \tfrac15 = \tfrac{28}{15}, \qquad
# \frac{V}{I^2} = \frac{28/15}{16/9} - 1 = \frac{1}{20} . $$
#
# So we know the error before we start. We repeat the whole experiment many times at each $n$ and compare
# the scatter of the results with this number.

# %% slideshow={"slide_type": "skip"}
repeats, sizes = 2000, [10, 30, 100, 300, 1000, 3000]
spread, pulls = [], {}
for n in sizes:
    w = 1 + (2 * torch.rand(repeats, n, dtype=torch.float64, generator=generator) - 1) ** 2  # (repeats, n)
    spread.append(float(w.mean(dim=1).std() / (4 / 3)))
    pulls[n] = (w.mean(dim=1) - 4 / 3) / (w.std(dim=1) / math.sqrt(n))

fig, (left, right) = lt.plots.figure(columns=2)
left.loglog(sizes, [(20 * n) ** -0.5 for n in sizes], color="black", label=r"$1/\sqrt{20\,n}$")
left.loglog(sizes, spread, "o", color=lt.plots.COLOURS[1], label=f"scatter of {repeats} results")
left.set(xlabel="number of points $n$", ylabel="relative error")
left.legend()
lt.plots.pulls(pulls[1000], right, xlabel=r"pull $(\hat I - I)/\hat\sigma$")
right.set_ylim(0, 0.72)
lt.show(fig, "Left: measured relative errors lie on one over the root of twenty n. Right: pulls follow a unit Gaussian")

# %% [markdown] slideshow={"slide_type": "skip"}
# *What you see.* Left, a hundred times the points give a tenth of the error, along the line we derived with a
# pencil. Right, the **pull**, (estimate $-$ truth) / (its own error), for $n = 1000$: mean 0, width 1. A pull plot
# is the test of any claimed error in this course. It needs many repetitions *and* the truth, which is why toys with
# known answers matter.

# %% slideshow={"slide_type": "skip"}
# NBVAL_CHECK_OUTPUT
nodes, node_weights = np.polynomial.legendre.leggauss(5)  # exact for these polynomials
first, second = (node_weights * (1 + nodes**2)).sum() / 2, (node_weights * (1 + nodes**2) ** 2).sum() / 2
print(f"V / I^2 by quadrature {second / first**2 - 1:.12f}, by hand {1 / 20:.12f}")
exponent = np.polyfit(np.log(sizes), np.log(spread), 1)[0]
print("the error falls like n^(-1/2), exponent within 0.03:", abs(exponent + 0.5) < 0.03)
covered = float((pulls[1000].abs() < 1).double().mean())
print("68% of the intervals hold the truth, within 5%:", abs(covered - 0.683) < 0.05)

# %% [markdown] slideshow={"slide_type": "fragment"}
# **Check yourself 2.** A cross section comes out with a relative error of 1% after an hour. How long for 0.1%? What
# if you could choose the points such that $V$ is a quarter?
#
# <details><summary>Answer</summary>
#
# The error falls like $1/\sqrt n$, so a tenth of the error needs a hundred times the points: 100 hours. A quarter
# of $V$ halves the error at equal $n$, so 25 hours. Computers get faster by factors; clever points do, too. Nothing
# changes the power.
# </details>

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 6. Importance sampling: put the points where the integrand is
#
# $I$ does not depend on $q$, but $V = \int f^2/q\, dx - I^2$ does. Which $q$ is best? For $f \ge 0$ take $q = f/I$.
# Then every weight is $w = f/q = I$, and $V = 0$: one point would do. To write $q = f/I$ we would have to know $I$,
# so this is not a recipe but a direction: *make $q$ look like $f$*.
#
# A resonance of mass $M$ and width $\Gamma$ has the Breit-Wigner factor
#
# $$ f(s) = \frac{1}{(s - M^2)^2 + M^2\Gamma^2} . $$
#
# Substitute $s = M^2 + M\Gamma \tan\theta$. With $ds = M\Gamma\,(1 + \tan^2\theta)\, d\theta$ and
# $f = 1/\left(M^2\Gamma^2 (1 + \tan^2\theta)\right)$
#
# $$ \int f\, ds = \int \frac{M\Gamma (1 + \tan^2\theta)}{M^2\Gamma^2(1+\tan^2\theta)}\, d\theta
# = \frac{1}{M\Gamma} \int d\theta : $$
#
# flat in $\theta$. A change of variables whose Jacobian eats the peak *is* importance sampling, with
# $q(s) = \left|\frac{d\theta}{ds}\right| / (\theta_{max} - \theta_{min})$. Keep this sentence: the normalising
# flows of chapters 06 and 07 are changes of variables with parameters that learn to eat any peak.


# %% slideshow={"slide_type": "subslide"}
def breit_wigner(s, mass=m_z, width=width_z):
    return 1 / ((s - mass**2) ** 2 + (mass * width) ** 2)


low, high = 60.0**2, 120.0**2  # GeV^2
theta = [math.atan((edge - m_z**2) / (m_z * width_z)) for edge in (low, high)]
exact = (theta[1] - theta[0]) / (m_z * width_z)
u = torch.rand(p.n, dtype=torch.float64, generator=generator)
flat = breit_wigner(low + (high - low) * u) * (high - low)  # weights of points flat in s
# the same substitution with a width of 5 GeV instead of 2.5
ends = [math.atan((edge - m_z**2) / (m_z * 5.0)) for edge in (low, high)]
s = m_z**2 + m_z * 5.0 * torch.tan(ends[0] + (ends[1] - ends[0]) * u)
mapped = breit_wigner(s) / breit_wigner(s, width=5.0) * (ends[1] - ends[0]) / (m_z * 5.0)
for name, w in {"flat in s": flat, "peak, twice too wide": mapped}.items():
    error = w.std() / math.sqrt(p.n)
    print(f"{name:21s} I/exact = {w.mean() / exact:.4f} +- {error / exact:.4f}, <w>/max(w) = {w.mean() / w.max():.3f}")

# %% [markdown] slideshow={"slide_type": "subslide"}
# A substitution with a width that is wrong by a factor of two has a fifth of the error of flat points. How wrong
# may it be? Measure $x = (s - M^2)/(M\Gamma)$ from the peak, so $f = \frac{1}{\pi(1+x^2)}$ with $I = 1$, and let
# the proposal have $r$ times the width, $q = \frac{r}{\pi(r^2 + x^2)}$. Then
#
# $$ E_q[w^2] = \int \frac{f^2}{q}\, dx = \frac{1}{\pi r} \int \frac{x^2 + r^2}{(1+x^2)^2}\, dx
# = \frac{1}{\pi r}\left[ \int \frac{dx}{1+x^2} + (r^2-1) \int \frac{dx}{(1+x^2)^2} \right]
# = \frac{1}{\pi r}\left[ \pi + (r^2 - 1)\frac\pi2 \right] = \frac{1 + r^2}{2r} , $$
#
# $$ V = \frac{1+r^2}{2r} - 1 = \frac{(1-r)^2}{2r} , \qquad
# \frac{I}{w_{max}} = \min\left(r, \frac1r\right) , $$
#
# the second because $w = \frac{r^2+x^2}{r(1+x^2)}$ lies between its value at the peak, $r$, and that in the tails,
# $1/r$. A factor of two costs $V = 1/4$; a factor of ten, $V \approx 4$, in either direction.

# %% slideshow={"slide_type": "skip"}
# NBVAL_CHECK_OUTPUT
x, dx = np.linspace(-math.pi / 2, math.pi / 2, 200_001)[1:-1], math.pi / 200_000
x = np.tan(x)  # the substitution again: a grid that is fine at the peak and reaches far out
target = 1 / (math.pi * (1 + x**2))
for r in (0.1, 0.5, 2.0, 10.0):
    proposal = r / (math.pi * (r**2 + x**2))
    w = target / proposal
    variance = (target * w * (1 + x**2) * dx).sum() - 1
    numeric, by_hand = (variance, 1 / w.max()), ((1 - r) ** 2 / (2 * r), min(r, 1 / r))
    print(f"r = {r:4.1f}: V and I/w_max by numbers equal the formulas:", np.allclose(numeric, by_hand, rtol=1e-3))

# %% slideshow={"slide_type": "subslide"}
explorer = lt.explorers.events.integration
lt.show(
    explorer.figures({"width": 5.0}, {"family": "Gaussian"}),
    "Integral against points: a wide Breit-Wigner proposal converges as predicted, a Gaussian one settles too low",
)

# %% [markdown] slideshow={"slide_type": "skip"}
# *What you see.* Top, a proposal five times too wide: the estimate (blue, with its own error as a band) walks about
# as far from 1 as predicted, $1 \pm \sqrt{V/n}$ (dashed). Bottom, a Gaussian proposal of the same width. It looks
# tame and ends up three of its own errors too low. Why? In the tails $w = f/q$ grows like $e^{x^2/2r^2}/x^2$, so
# $V = \int f^2/q$ is *infinite*. The rare huge weights that would repair the mean have not come yet, and the error,
# estimated from the same points, does not know about them. **A proposal must have heavier tails than the
# integrand.** The small error band is the trap.
#
# Try in the explorer: choose the Gaussian and go through the seeds (15 has a jump). Then once more with width 1.

# %% tags=["explorer"] slideshow={"slide_type": "subslide"}
explorer.show()

# %% [markdown] slideshow={"slide_type": "fragment"}
# **Check yourself 3.** Which is worse for the integral: a Breit-Wigner proposal three times too narrow or three
# times too wide? And for a Gaussian integrand with a Gaussian proposal?
#
# <details><summary>Answer</summary>
#
# For Breit-Wigners $V = (1-r)^2/2r$ is the same for $r$ and $1/r$: both cost $V = 2/3$. The tails of both fall like
# $1/x^2$, so no weight explodes. For Gaussians it is not symmetric: too wide is merely wasteful, but at
# $r \le 1/\sqrt2$ the integral $\int f^2/q$ diverges. When in doubt, wider.
# </details>

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 7. A real amplitude: $q\bar q \to Z g$
#
# The first amplitude that chapter 01 will teach to a network is $q\bar q \to Zg$. Let $\theta$ be the angle between
# the gluon and the incoming quark, $t = (p_q - p_g)^2$ and $u = (p_{\bar q} - p_g)^2$. With the couplings set to 1 and
# summed over spins and colours,
#
# $$ \sum|M|^2 = 32\, \frac{t^2 + u^2 + 2\hat s\, m_Z^2}{t\,u} , \qquad
# t,u = -\frac{\hat s - m_Z^2}{2}\, (1 \mp \cos\theta) . $$
#
# It diverges for a gluon along a beam, so we ask for $p_T > 20$ GeV. From $t + u = m_Z^2 - \hat s$ follows
# $t^2 + u^2 + 2\hat s m_Z^2 = (\hat s - m_Z^2)^2 - 2tu + 2\hat s m_Z^2 = \hat s^2 + m_Z^4 - 2tu$, and with
# $c = \cos\theta$
#
# $$ \sum|M|^2 = 32 \left[ \frac{A}{1 - c^2} - 2 \right], \qquad A = \frac{4(\hat s^2 + m_Z^4)}{(\hat s - m_Z^2)^2} . $$
#
# The pole $1/(1-c^2)$ asks for a substitution: $c = \tanh\eta$ gives $dc = (1 - c^2)\, d\eta$ and
# $\int \frac{dc}{1-c^2} = \int d\eta$. The variable that eats the pole is the gluon's *pseudorapidity*. Away
# from the middle nature radiates evenly in rapidity; that is the physics reason for our coordinates. With the limits
# $\pm c_0 = \pm\tanh\eta_0$ from the cut,
#
# $$ \hat\sigma = \frac{1}{2\hat s} \cdot \frac{1}{36} \cdot \frac{1}{32\pi^2}\left(1 - \frac{m_Z^2}{\hat s}\right)
# \cdot 2\pi \cdot 32 \left[ 2A\, \eta_0 - 4 c_0 \right] , $$
#
# where $1/36$ averages over $2\cdot2$ spins and $3\cdot3$ colours.

# %% slideshow={"slide_type": "subslide"}
s_hat, cut = 500.0**2, 20.0
momentum = (s_hat - m_z**2) / (2 * math.sqrt(s_hat))  # of Z and gluon in the partonic frame
c_0 = math.sqrt(1 - (cut / momentum) ** 2)
eta_0, A = math.atanh(c_0), 4 * (s_hat**2 + m_z**4) / (s_hat - m_z**2) ** 2
prefactor = (1 - m_z**2 / s_hat) / (2 * s_hat * 36 * 32 * math.pi**2) * picobarn  # per solid angle
exact = prefactor * 2 * math.pi * 32 * (2 * A * eta_0 - 4 * c_0)


def amplitude_at(cosine):
    """Return sum |M|^2 from our spinor program, for gluons at an angle (n,); the azimuth does not matter."""
    sine, zero = (1 - cosine**2).sqrt(), torch.zeros_like(cosine)
    gluon = momentum * torch.stack([torch.ones_like(cosine), sine, zero, cosine], dim=-1)
    beams = 0.5 * math.sqrt(s_hat) * torch.tensor([[1.0, 0, 0, 1], [1, 0, 0, -1]], dtype=torch.float64)
    z = beams.sum(dim=0) - gluon
    return qqbar_to_z_gluons(torch.stack([*beams.expand(len(cosine), 2, 4).unbind(1), z, gluon], dim=1))


# %% slideshow={"slide_type": "subslide"}
n = 20_000
u = 2 * torch.rand(n, dtype=torch.float64, generator=generator) - 1
samples = {
    "flat in cos": (c_0 * u, torch.full_like(u, 2 * c_0)),  # cosine, d cosine / d u times the volume of u
    "flat in eta": (torch.tanh(eta_0 * u), 2 * eta_0 * (1 - torch.tanh(eta_0 * u) ** 2)),
}
events = {}
for name, (cosine, jacobian) in samples.items():
    w = prefactor * 2 * math.pi * jacobian * amplitude_at(cosine)
    events[name] = (cosine, w)
    error = w.std() / math.sqrt(n)
    print(f"{name}: {w.mean():.3f} +- {error:.3f} pb, exact {exact:.3f} pb; <w>/max(w) = {w.mean() / w.max():.3f}")

# %% [markdown] slideshow={"slide_type": "skip"}
# The same number of points, the same amplitude, one substitution. It is the first appearance of the lesson of this
# course: *good coordinates first, then the network*. Below, the spinor program is held against the formula, which
# it does not know, at every point.

# %% slideshow={"slide_type": "skip"}
# NBVAL_CHECK_OUTPUT
cosine = torch.linspace(-c_0, c_0, 101, dtype=torch.float64)
formula = 32 * (A / (1 - cosine**2) - 2)
print("spinor program and formula agree to 1e-10:", torch.allclose(amplitude_at(cosine), formula, rtol=1e-10))
print(f"flat in eta, <w>/max(w) by hand: {(A - 2 * c_0 / eta_0) / (A - 2 * (1 - c_0**2)):.3f}")
print(f"flat in cos, <w>/max(w) by hand: {(A * eta_0 / c_0 - 2) / (A / (1 - c_0**2) - 2):.3f}")

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 8. From weights to events: unweighting
#
# A detector does not measure weights. Simulating one event in the detector takes minutes, so we want every event to
# count the same. **Hit-or-miss:** keep a point with probability $w/w_{max}$. The kept ones follow
# $q \cdot w \propto f$, all with weight 1. The fraction kept is the **unweighting efficiency**
#
# $$ \varepsilon = \frac{E_q[w]}{w_{max}} = \frac{I}{w_{max}} . $$
#
# The number kept is binomial, $k \pm \sqrt{n\varepsilon(1-\varepsilon)}$, so $\hat I = w_{max}\, k/n$ has
#
# $$ \frac{V_{hit}}{I^2} = \frac{1-\varepsilon}{\varepsilon} = \frac{w_{max}}{I} - 1
# \ \ge\ \frac{E[w^2]}{I^2} - 1 = \frac{V}{I^2} ,
# \qquad \text{since } w^2 \le w_{max}\, w . $$
#
# Throwing events away never helps the integral. For the muons $\varepsilon = (4/3)/2 = 2/3$ and
# $V_{hit}/I^2 = 1/2$, ten times our $1/20$. We unweight for what comes after, and pay with $\varepsilon$. It is the
# price of every event generator, and what chapter 07 brings down.

# %% slideshow={"slide_type": "subslide"}
kept = {}
for name, (cosine, w) in events.items():
    keep = torch.rand(n, dtype=torch.float64, generator=generator) < w / w.max()
    kept[name] = cosine[keep]
    print(f"{name}: kept {int(keep.sum())} of {n}")

grid = torch.linspace(-eta_0, eta_0, 2_000_001, dtype=torch.float64)
density = A - 2 * (1 - torch.tanh(grid) ** 2)  # of eta, up to a constant
drawn = {
    "formula": (grid, density),
    "flat in cos, weighted": (torch.atanh(events["flat in cos"][0]), events["flat in cos"][1]),
    "flat in eta, kept events": torch.atanh(kept["flat in eta"]),
}
fig, ax = lt.plots.figure(ratio=True)
look = {"density": True, "legend": "lower center", "ratio_range": (0.4, 1.6)}
lt.plots.histogram(drawn, np.linspace(-eta_0, eta_0, 25), ax=ax, xlabel=r"pseudorapidity $\eta$ of the gluon", **look)
lt.show(fig, "Density of the gluon's pseudorapidity: weighted and kept events agree with the formula within errors")

# %% [markdown] slideshow={"slide_type": "skip"}
# *What you see.* Both samples started from 20,000 points and estimate the same curve. In the lower panel the
# weighted events (flat in $\cos\theta$) have small errors in the middle, where many points with small weights lie,
# and large ones at the ends: few points, large weights. The kept events have nearly the same error everywhere. How
# such errors are computed comes next. The dip in the middle is the $-2$ in the bracket: $(A-2)/A = 0.53$.

# %% slideshow={"slide_type": "skip"}
# NBVAL_CHECK_OUTPUT
cosine = 2 * torch.rand(100_000, dtype=torch.float64, generator=generator) - 1
accepted = float((2 * torch.rand(100_000, dtype=torch.float64, generator=generator) < 1 + cosine**2).double().mean())
distance = abs(accepted - 2 / 3) / math.sqrt(2 / 9 / 100_000)
print("e+ e- -> mu+ mu-: 2/3 of the points are kept, within 5 errors:", distance < 5)
print(f"hit-or-miss against weights, ratio of variances: {((1 - 2 / 3) / (2 / 3)) / (1 / 20):.6f}")

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 9. A histogram is an estimate
#
# A histogram is a row of small integrals: the content of a bin estimates $\mathcal L \int_{bin} d\sigma$, and comes
# with an error.
#
# **Counted events.** In a fixed time the number $N$ of events that fall into a bin is Poisson distributed with some
# mean $\lambda$: many chances, each small. Mean and variance are both $\lambda$, so we quote $N \pm \sqrt N$.
#
# **Weighted events.** The content is $S = \sum_{i=1}^N w_i$, with a Poisson number $N$ of independent weights. For
# a given $N$ the sum has the mean $N E[w]$ and the variance $N\, \mathrm{Var}(w)$. Total variance = mean of the
# variance + variance of the mean:
#
# $$ \mathrm{Var}(S) = E[N]\, \mathrm{Var}(w) + \mathrm{Var}(N)\, E[w]^2
# = \lambda \left( E[w^2] - E[w]^2 \right) + \lambda E[w]^2
# = \lambda\, E[w^2] . $$
#
# The best guess for $\lambda E[w^2]$ is the sum of what we saw:
#
# $$ S = \sum_i w_i \ \pm\ \sqrt{\sum_i w_i^2} . $$
#
# Not $\sqrt N$, and not $\sqrt S$. With equal weights $w = 1$ all three agree. The **effective number** of events
# $N_{eff} = (\sum w)^2/\sum w^2 \le N$ says how many equal events the weighted ones are worth: the relative
# error of $S$ is $1/\sqrt{N_{eff}}$.

# %% slideshow={"slide_type": "subslide"}
mean_count, experiments = 40.0, 20_000
counts = torch.poisson(torch.full((experiments,), mean_count, dtype=torch.float64), generator=generator).long()
u = torch.rand(int(counts.sum()), dtype=torch.float64, generator=generator)
drawn = -(1 - u).log()  # weights with the density e^-w, so E[w] = 1 and E[w^2] = 2
which = torch.repeat_interleave(torch.arange(experiments), counts)
zero = torch.zeros(experiments, dtype=torch.float64)
content, squares = zero.index_add(0, which, drawn), zero.index_add(0, which, drawn**2)

print(f"true scatter of the bin     {content.std():.3f}   (by hand sqrt(40 * 2) = {math.sqrt(80):.3f})")
errors = {"sqrt(N)": counts.double().sqrt(), "sqrt(S)": content.sqrt(), "sqrt(sum w^2)": squares.sqrt()}
for name, error in errors.items():
    covered = ((content - mean_count).abs() < error).double().mean()
    print(f"{name:14s} on average {error.mean():.3f}, holds the truth in {100 * covered:.1f}% of the experiments")

# %% [markdown] slideshow={"slide_type": "subslide"}
# Weights that scatter like $e^{-w}$ make the usual $\sqrt N$ cover the truth in about half of the cases instead of
# 68%.
#
# **Ratio panels.** Most plots of this course have a lower panel with a ratio $R = a/b$ of two bins. If $a$ and $b$
# are independent, expand to first order, $\delta R = R\,(\delta a/a - \delta b/b)$, square and average:
# $(\sigma_R/R)^2 = (\sigma_a/a)^2 + (\sigma_b/b)^2$. If a fraction of events is in *both* (a sample and its own
# subset, or the same events with other weights), their common fluctuations cancel in $R$, and this
# formula gives too large an error.
#
# **Counting bins.** Of 25 bins about 8 should miss their prediction by more than one error. A plot where all points
# sit on the line is as suspicious as one where none does.

# %% [markdown] slideshow={"slide_type": "fragment"}
# **Check yourself 4.** At next-to-leading order some events have weight $-1$. A sample has 80% $+1$ and 20% $-1$.
# How many of these events are worth as much as 1000 events of weight 1?
#
# <details><summary>Answer</summary>
#
# For $N$ events $\sum w = 0.6\,N$ and $\sum w^2 = N$, so $N_{eff} = 0.36\,N$. You need 2778. A fraction $a$ of
# negative weights costs a factor $(1-2a)^{-2}$. Chapter 05 subtracts samples with a network for this reason.
# </details>

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 10. Why machine learning?
#
# **Because of dimension.** Take our resonance proposal, only twice too wide, in $d$ independent directions. Weights
# multiply, so do efficiencies:
#
# $$ \varepsilon = \left(\tfrac12\right)^d, \qquad
# \frac{N_{eff}}{N} = \left( \frac{2r}{1+r^2} \right)^d = \left(\tfrac45\right)^d . $$

# %% slideshow={"slide_type": "subslide"}
dimensions, r = torch.arange(1, 15), 2.0
u = torch.rand(200_000, len(dimensions), dtype=torch.float64, generator=generator)
x = r * torch.tan(math.pi * (u - 0.5))
w = torch.cumprod((r**2 + x**2) / (r * (1 + x**2)), dim=1)  # (points, d): weight of the first d directions
effective = w.mean(dim=0) ** 2 / (w**2).mean(dim=0)
fig, ax = lt.plots.figure()
ax.semilogy(dimensions, (2 * r / (1 + r**2)) ** dimensions, label=r"effective events, $(4/5)^d$")
ax.semilogy(dimensions, effective, "o", color=lt.plots.COLOURS[0], label="effective events, measured")
ax.semilogy(dimensions, 0.5**dimensions, label=r"unweighting efficiency, $(1/2)^d$")
ax.set(xlabel="number of dimensions $d$", ylabel="fraction of the points", ylim=(3e-5, 2))
ax.legend(loc="lower left")
lt.show(fig, "Unweighting efficiency and effective number of events fall exponentially with the number of dimensions")

# %% [markdown] slideshow={"slide_type": "skip"}
# *What you see.* A proposal that is quite good in one dimension keeps one event in 16,000 in fourteen, the
# dimension of $t\bar t \to 6$ particles. The loss is exponential in $d$. Here it comes from the misfit $r$ in
# each direction alone; a real integrand adds correlations that no product of one-dimensional maps can follow. A network
# that learns the map fights both.

# %% [markdown] slideshow={"slide_type": "subslide"}
# **Because the inverse is an integral nobody can do.** We can *sample* $p(x|\vartheta)$, events $x$ for a
# Lagrangian with parameters $\vartheta$: just run the chain. But its *value* for one measured event is
#
# $$ p(x|\vartheta) = \int dz_{hadrons} \int dz_{shower} \int dz_{partons}\
# p(x|z_{hadrons})\, p(z_{hadrons}|z_{shower})\,
# p(z_{shower}|z_{partons})\, p(z_{partons}|\vartheta) , $$
#
# an integral over hundreds of unseen variables, for each event anew. Networks learn such densities, or ratios of
# them, from samples alone. This is why nearly every *loss* (the function that a training minimises) of this course will
# be a likelihood.
#
# **Because of speed.** One amplitude with many legs or loops: up to seconds. One event through the detector:
# minutes. One evaluation of a network that stands for it: microseconds in a batch. But then the question is: *how
# wrong is it?* Every chapter answers it with a number.
#
# **Because data are high-dimensional.** A jet has fifty particles. One hand-made observable holds a part of what
# they say; a network can use all of it.

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### Which chapter works where
#
# | chapter | link of the chain | question |
# | --- | --- | --- |
# | 01 Fitting | amplitude | can a network replace $\lvert M\rvert^2$? |
# | 02 Heteroscedastic loss, 03 Bayesian networks | amplitude, calibration | and how sure is it? |
# | 04 Classification | objects | top or QCD jet, quark or gluon? |
# | 05 GANs, 06 INNs, 08 Diffusion, 09 Transformers | partons to detector | can a network generate events? |
# | 07 Neural importance sampling | phase space | can a network choose the points? |
# | 10 Lorentz equivariance, 11 Symmetries learned | all | what does knowing relativity save? |
# | 12 Unfolding, 13 Matrix element method | bottom to top | from events back to partons and parameters |
# | 14 Explainability | objects | what did the network learn? |
#
# Names that you do not know yet are explained in their chapter.

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 11. What can go wrong
#
# - **Light tails.** A proposal that falls faster than the integrand has infinite variance and a small error
#   *estimate*. Look at the largest weight: if one event carries a few per cent of the sum, do not believe the
#   error. The reverse proves nothing: our Gaussian example ended too low *before* a large weight had come. Compare the
#   tails on paper, or try a second proposal.
# - **A hole in the proposal.** Where $q = 0$ and $f \neq 0$, the integral is missing a piece, with no sign of it in
#   the weights.
# - **$w_{max}$ from a finite sample.** Points above it will come. Keep them with weight $w/w_{max} > 1$ (overweight
#   events) instead of clipping them.
# - **Errors of weighted histograms.** $\sqrt N$ with weights; ratio errors for samples that share events.
# - **Pseudorapidity for rapidity.** Fine for muons, wrong for tops and for slow, heavy jets.
# - **Azimuths.** $\phi = 3.1$ and $\phi = -3.1$ are neighbours. Take differences around the circle.
# - **$E^2 - p^2$ in single precision.** A muon of 500 GeV has $m^2/E^2 = 4\cdot10^{-8}$, below what float32
#   resolves. Keep momenta in float64, or store $(p_T, \eta, \phi, m)$.

# %% slideshow={"slide_type": "skip"}
# NBVAL_CHECK_OUTPUT
muon = kinematics.from_pt_eta_phi_mass(*torch.tensor([500.0, 0.3, 1.0, 0.10566], dtype=torch.float64))
print(f"mass of a muon in float64: {kinematics.mass(muon):.5f} GeV")
print("in float32 it is still right to 1%:", bool((kinematics.mass(muon.float()) / 0.10566 - 1).abs() < 0.01))

# %% [markdown] slideshow={"slide_type": "fragment"}
# **Check yourself 5.** A colleague integrates with 10,000 points and finds $2.31 \pm 0.02$, you find
# $2.45 \pm 0.03$ with another proposal. What do you do?
#
# <details><summary>Answer</summary>
#
# The difference is 0.14 with an error of 0.036: almost four standard deviations. Chance is unlikely. Look at the
# largest weights of both. The usual culprit is the *smaller* result with the *smaller* error: its proposal misses a
# region or has light tails. Draw the weights as a histogram, double the points and see whether the error really
# falls by $\sqrt2$, then draw half of the points from each proposal and
# weight all of them with the mixture $(q_1 + q_2)/2$.
# </details>

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 12. References
#
# - R. Kleiss, W. J. Stirling, S. D. Ellis, *A new Monte Carlo treatment of multiparticle phase space at high
#   energies*, Comput. Phys. Commun. 40 (1986) 359 (RAMBO); S. Plätzer, *RAMBO on diet*, arXiv:1308.2922.
# - S. Weinzierl, *Introduction to Monte Carlo methods*, arXiv:hep-ph/0006269.
# - G. P. Lepage, *Adaptive multidimensional integration: VEGAS enhanced*, arXiv:2009.05112.
# - G. Bohm, G. Zech, *Statistics of weighted Poisson events and its applications*, arXiv:1309.1287.
# - A. Buckley et al., *General-purpose event generators for LHC physics*, arXiv:1101.2599.
# - C. Bierlich et al., *A comprehensive guide to the physics and usage of PYTHIA 8.3*, arXiv:2203.11601.
# - T. Plehn et al., *Modern machine learning for LHC physicists*, arXiv:2211.01421.
# - A. Butter et al., *Machine learning and LHC event generation*, arXiv:2203.07460.
#
# **Next:** [tutorial 00](../tutorials/00_first_events.ipynb) looks at events that Pythia made, and draws their
# histograms.
