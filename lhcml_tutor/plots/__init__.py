"""Figures in one style: `figure` makes the axes, each plot takes `ax` and gives it back, `show` is the way out.

fig, ax = lt.plots.figure(ratio=True)
lt.plots.histogram({"truth": x, "network": y}, bins=40, xlabel="$p_{T,Z}$ [GeV]", ax=ax)
lt.show(fig, "Transverse momentum of the Z, truth and network agree within 3%")
"""

from .curves import learning_curve, loss_curves, residuals
from .figures import COLOURS, LINES, figure, png, show
from .histograms import histogram, pulls

__all__ = [
    "COLOURS", "LINES", "figure", "histogram", "learning_curve", "loss_curves", "png", "pulls", "residuals", "show",
]  # fmt: skip
