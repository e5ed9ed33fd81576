"""``mle``: the maximum-likelihood point estimate, dropout off, no temperature: what a network says by itself."""

from __future__ import annotations

from typing import Final

from models.methods.method import Method, fit_once, network_alone, sample_point

METHOD: Final = Method(fit=fit_once, parts=network_alone, sample=sample_point, spread=False, calibrated=False)
