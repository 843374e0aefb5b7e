"""Denoising diffusion: events are buried in noise step by step, and a network learns to take the steps back.

    q(x_t | x_0) = N(sqrt(a_t) x_0, 1 - a_t),      t = 0 data,  t = T noise,      a_t = prod_(s <= t) (1 - beta_s)

Mind the direction: here t counts noise, as in the papers; in `flow_matching` t = 1 is the data.
"""

import itertools
import math

import torch
from torch import nn

from .flow_matching import TimeNetwork
from .layers import normal_noise

LAST = 1e-4  # of the cosine schedule: what is left of the variance of the data at t = T


def noise_schedule(steps, kind="cosine"):
    """How much of the variance of the data is left after each step, a_0 = 1 to a_T.

        cosine: a_t = f(t) / f(0),  f(t) = cos(angle)^2, the angle rising evenly from (0.008 / 1.008) pi / 2 to where
                a_T = 1e-4
        linear: beta_t from 1e-4 to 0.02 for 1000 steps, scaled by 1000 / T for T steps

    Nichol and Dhariwal let the angle reach pi / 2 and cut beta_t at 0.999: a_T = 2e-9. A network whose noise is wrong
    by a per cent is then wrong in x_0 by 0.01 / sqrt(a_T) = 200. Ending at 1e-4 avoids that.

    Shapes:
        steps T -> (T + 1,) float64
    Raises:
        ValueError: an unknown kind, or so few steps that beta_t is not below 1.
    Example:
        >>> noise_schedule(1000, "cosine")[[0, 500, 1000]].round(decimals=4)
        tensor([1.0000e+00, 4.9880e-01, 1.0000e-04], dtype=torch.float64)

    Reference: Ho et al. 2020, arXiv:2006.11239 (linear); Nichol and Dhariwal 2021, arXiv:2102.09672 (cosine).
    """
    if not isinstance(steps, int) or steps < 2:
        raise ValueError(f"steps counts the steps from data to noise, an integer above 1, not {steps!r}")
    if kind == "cosine":
        first = 0.008 / 1.008 * math.pi / 2
        last = math.acos(math.cos(first) * math.sqrt(LAST))
        alpha_bar = torch.linspace(first, last, steps + 1, dtype=torch.float64).cos().square()
        return alpha_bar / alpha_bar[0]
    if kind != "linear":
        raise ValueError(f"the schedule is 'cosine' or 'linear', not {kind!r}")
    beta = torch.linspace(1e-4, 0.02, steps, dtype=torch.float64) * 1000 / steps
    if beta[-1] >= 1:
        raise ValueError(
            f"a linear schedule of {steps} steps has beta = {beta[-1]:.2f}; take more than 20, or 'cosine'"
        )
    return torch.cat([torch.ones(1, dtype=torch.float64), (1 - beta).cumprod(0)])


def noised(x_0, noise, alpha_bar):
    """Bury events in noise, all steps at once.

        x_t = sqrt(a_t) x_0 + sqrt(1 - a_t) noise

    Shapes:
        x_0, noise (n, d), alpha_bar (n,) or a number -> (n, d)
    Example:
        >>> noised(torch.ones(1, 1), torch.ones(1, 1), torch.tensor([0.64]))
        tensor([[1.4000]])
    """
    alpha_bar = torch.as_tensor(alpha_bar, dtype=x_0.dtype, device=x_0.device).reshape(-1, 1)
    return alpha_bar.sqrt() * x_0 + (1 - alpha_bar).sqrt() * noise


class Diffusion(nn.Module):
    """Generative model of events: a network that predicts the noise in a noisy event, applied again and again.

        z = preprocess(x),      z_t = sqrt(a_t) z + sqrt(1 - a_t) noise,      L = E |noise - network(z_t, t / T, c)|^2

    Train it with `noise_batch`. `sample` takes all T steps with fresh noise in each, `sample_ddim` a few without. A
    Bayesian network takes one set of weights for a whole call, as in `flow_matching.FlowMatching`.

    Arguments:
        features, condition, hidden, linear, preprocess, frequencies, present: as in `flow_matching.FlowMatching`;
            features that are missing get no noise.
        steps: T, from data to noise.
        schedule: "cosine" or "linear".
    Shapes:
        predict_noise(x_t, t, condition): x_t (n, d) in the space of the network, t (n,) from 0 to T -> (n, d)
        sample(n, condition) -> (n, d); condition row by row (n, c), or (c,) for all rows
    Raises:
        ValueError: x or condition of a wrong shape or type, NaN in them, a condition too few or too many.
    Example:
        >>> model = Diffusion(features=2, steps=50, hidden=(32, 32))
        >>> x_t, t, noise = model.noise_batch(torch.randn(10, 2))
        >>> loss = (model.predict_noise(x_t, t) - noise).square().mean()
        >>> model.sample(5).shape, model.sample_ddim(5, steps=10).shape
        (torch.Size([5, 2]), torch.Size([5, 2]))

    Reference: Ho et al. 2020, arXiv:2006.11239; Song et al. 2020, arXiv:2010.02502 (DDIM).
    """

    def __init__(
        self,
        features,
        condition=0,
        hidden=(256,) * 4,
        linear=nn.Linear,
        preprocess=None,
        frequencies=4,
        steps=1000,
        schedule="cosine",
        present=None,
    ):
        super().__init__()
        self.features, self.steps, self.preprocess = features, steps, preprocess
        self.network = TimeNetwork(features, condition, hidden, linear, frequencies, present)
        self.register_buffer("alpha_bar", noise_schedule(steps, schedule))  # (T + 1,)

    def predict_noise(self, x_t, t, condition=None):
        """Return the noise (n, d) in points x_t (n, d) after t of T steps; t (n,) or a number."""
        t = t.to(x_t) if isinstance(t, torch.Tensor) else t
        return self.network(x_t, t / self.steps, condition)

    def noise_batch(self, x, condition=None, generator=None):
        """Draw what the loss compares: each event after a random number of steps, that number, and its noise.

        Arguments:
            condition: needed by `present`, and by a preprocess that depends on it.
        Returns:
            x_t (n, d) in the space of the network, t (n,) from 1 to T, noise (n, d); both are zero for features that
            are missing. For a mean over features, see `flow_matching.mean_square`.
        """
        self.network.check(x=x)
        z = x if self.preprocess is None else self.preprocess(x, condition)[0]
        place = generator.device if generator else z.device
        t = torch.randint(1, self.steps + 1, (len(z),), generator=generator, device=place).to(z.device)
        noise = self.network.keep(normal_noise(z.shape, z, generator), condition)
        return noised(self.network.keep(z, condition), noise, self.alpha_bar.to(z.device)[t]), t, noise

    @torch.no_grad()
    def sample(self, n, condition=None, generator=None, variance="posterior", batch_size=8192):
        """Return n events (n, d) by T random steps back from noise.

            x_(t-1) = (x_t - beta_t noise(x_t) / sqrt(1 - a_t)) / sqrt(1 - beta_t) + sigma_t (a new noise)

        Arguments:
            variance: sigma_t^2 is beta_t (1 - a_(t-1)) / (1 - a_t) for "posterior", right for data at one point, and
                beta_t for "beta", right for data of variance 1; they agree for many steps.
        """
        if variance not in ("posterior", "beta"):
            raise ValueError(f"variance must be 'posterior' or 'beta', not {variance!r}")

        def step(x, t, c):
            now, then = (float(self.alpha_bar[i]) for i in (t, t - 1))
            beta = 1 - now / then
            mean = (x - beta / math.sqrt(1 - now) * self.predict_noise(x, t, c)) / math.sqrt(1 - beta)
            sigma = math.sqrt(beta * (1 - then) / (1 - now) if variance == "posterior" else beta)
            return mean + (sigma * self.network.keep(normal_noise(x.shape, x, generator), c) if t > 1 else 0.0)

        return self._denoised(n, condition, generator, batch_size, step, range(self.steps, 0, -1))

    @torch.no_grad()
    def sample_ddim(self, n, condition=None, steps=50, generator=None, batch_size=8192):
        """Return n events (n, d) by a few steps without new noise: the same start gives the same event.

        x_0 = (x_t - sqrt(1 - a_t) noise(x_t)) / sqrt(a_t),      x_s = sqrt(a_s) x_0 + sqrt(1 - a_s) noise(x_t)
        """
        if not isinstance(steps, int) or not 1 <= steps <= self.steps:
            raise ValueError(f"steps must be an integer from 1 to the {self.steps} of the training, not {steps!r}")
        times = [round(i * self.steps / steps) for i in range(steps, -1, -1)]
        following = dict(itertools.pairwise(times))

        def step(x, t, c):
            now, then = (float(self.alpha_bar[i]) for i in (t, following[t]))
            noise = self.predict_noise(x, t, c)
            x_0 = (x - math.sqrt(1 - now) * noise) / math.sqrt(now)
            return math.sqrt(then) * x_0 + math.sqrt(1 - then) * noise

        return self._denoised(n, condition, generator, batch_size, step, times[:-1])

    def _denoised(self, n, condition, generator, batch_size, step, times):
        if not isinstance(n, int) or n < 1:
            raise ValueError(f"n is how many events to draw, a positive integer, not {n!r}")
        rows = self.network.rows(condition, n)
        self.network.check(condition=condition)
        found, x = [], normal_noise((n, self.features), next(self.parameters()), generator)
        x = self.network.keep(x, condition)
        with self.network.as_one_function(generator):
            for i in range(0, n, batch_size):
                part, c = x[i : i + batch_size], None if rows is None else rows[i : i + batch_size]
                for t in times:
                    part = step(part, t, c)
                found.append(part if self.preprocess is None else self.preprocess.inverse(part, c)[0])
        return torch.cat(found)
