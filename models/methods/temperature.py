"""``temperature``: the point estimate of `models.methods.mle`, divided by a temperature fitted on held-out units.

C. Guo et al., "On calibration of modern neural networks", ICML 2017, section 4.2; see `models.judging.calibration`.
"""

from __future__ import annotations

from typing import Final

from models.methods.method import Method, fit_once, network_alone, sample_point

METHOD: Final = Method(fit=fit_once, parts=network_alone, sample=sample_point, spread=False)
