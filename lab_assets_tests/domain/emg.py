"""Exponentially modified Gaussian peaks: an analytic truth for area, plates and tailing."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import erfc, erfcx

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Emg:
    """A Gaussian (mean ``mu``, sd ``sigma``) convolved with an exponential decay ``tau``, of a given area."""

    area: float
    mu: float
    sigma: float
    tau: float

    def __call__(self, t: FloatArray) -> FloatArray:
        gauss = -0.5 * ((t - self.mu) / self.sigma) ** 2
        z = (self.sigma / self.tau - (t - self.mu) / self.sigma) / np.sqrt(2)
        decay = self.sigma**2 / (2 * self.tau**2) - (t - self.mu) / self.tau
        near = np.exp(gauss) * erfcx(np.clip(z, 0, None))
        far = np.exp(np.clip(decay, -700, 700)) * erfc(np.clip(z, None, 0))
        return self.area / (2 * self.tau) * np.where(z > 0, near, far)

    def truth(self) -> tuple[float, float, float, float]:
        """Return apex time, height, plate number (half height) and tailing (5 %), from a very fine grid."""
        t = np.linspace(self.mu - 6 * self.sigma, self.mu + 6 * self.sigma + 8 * self.tau, 200_001)
        y = self(t)
        top = int(y.argmax())
        half, foot = (t[np.flatnonzero(y >= share * y[top])[[0, -1]]] for share in (0.5, 0.05))
        plates = 5.54 * (t[top] / (half[1] - half[0])) ** 2
        return float(t[top]), float(y[top]), float(plates), float((foot[1] - foot[0]) / (2 * (t[top] - foot[0])))
