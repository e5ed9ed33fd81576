"""From sampled logits to a probability and how unsure it is."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Final

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy.special import entr, expit, logit, logsumexp, ndtri
from torch import Tensor

from models.sampling import BLOCK, Workspace, blocks

_AT_ONCE: Final = 1 << 20
"""Probabilities of one block worked on together, at most (float32: 4 MiB), in whole sub-banks."""

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Predictive:
    """Statistics of the Monte Carlo samples of n windows. NaN means: not defined, or not finite.

    Attributes
    ----------
    fault_probability
        (n,) 1 - p(healthy), mean over the samples, in [0, 1]; NaN without a healthy class.
    fault_std, fault_q05, fault_q95
        (n,) standard deviation (ddof 1) and 5 and 95 % quantiles of the fault probability over the samples. With a
        committee (`models.refits`) the band is as wide as its members differ besides: what models that were trained on
        other units, as many, would say.
    class_probabilities
        (n, C) mean class probabilities; rows sum to 1.
    predictive_entropy
        (n,) entropy of the mean, nats, in [0, log C]: total uncertainty.
    expected_entropy
        (n,) mean entropy of the samples, nats: aleatoric part.
    mutual_information
        (n,) predictive minus expected entropy, nats, >= 0: epistemic part (BALD, Houlsby et al. 2011, eq. 2).
    fault_expected_entropy, fault_mutual_information
        (n,) the same two parts of the question "is it faulty?" alone, nats, each in [0, log 2]: which fault it is does
        not matter; NaN without a healthy class.
    monte_carlo_se
        (n,) standard error of the fault probability (of the top class's probability where there is no healthy
        class), from the variance between sub-bank means; NaN with fewer than two sub-banks.
    n_samples
        Number of samples T. With T = 1 (a point estimate) everything but the probabilities and the predictive entropy
        is NaN: one sample does not define it.
    """

    fault_probability: FloatArray
    fault_std: FloatArray
    fault_q05: FloatArray
    fault_q95: FloatArray
    class_probabilities: FloatArray
    predictive_entropy: FloatArray
    expected_entropy: FloatArray
    mutual_information: FloatArray
    fault_expected_entropy: FloatArray
    fault_mutual_information: FloatArray
    monte_carlo_se: FloatArray
    n_samples: int


def log_softmax(logits: ArrayLike, *, temperature: float, log_prior_correction: ArrayLike) -> FloatArray:
    """Return log probabilities (..., C): softmax of logits / temperature + log_prior_correction, in float64.

    >>> p = np.exp(log_softmax([4.0, 0.0], temperature=2.0, log_prior_correction=[0.0, 2.0]))
    >>> p.tolist()
    [0.5, 0.5]
    """
    z = np.asarray(logits, dtype=np.float64) / temperature + np.asarray(log_prior_correction, dtype=np.float64)
    z -= z.max(axis=-1, keepdims=True)
    z -= np.log(np.exp(z).sum(axis=-1, keepdims=True))
    return z


def summarise(
    logits: NDArray[np.float32] | FloatArray,
    *,
    temperature: float,
    log_prior_correction: ArrayLike,
    healthy: int | None,
    sub_bank_size: int,
    spread: bool = True,
) -> Predictive:
    """Turn sampled logits into probabilities and their uncertainty.

    The temperature divides every sample's logits, then log(target prior / effective training prior) is added per
    class, then comes the softmax; every statistic follows from those T probability vectors.

    Parameters
    ----------
    logits
        (T, n, C) sampled logits.
    temperature
        Calibration temperature, above 0.
    log_prior_correction
        (C,) log(target prior / effective training prior); zeros for none.
    healthy
        Index of the healthy class, or None.
    sub_bank_size
        Samples per balanced sub-bank; T must be a multiple, or 1.
    spread
        False: the samples are a means of averaging and no posterior; only probabilities and their entropy are defined.

    Returns
    -------
    Predictive
        A window with any non-finite logit gets NaN everywhere: never a certain score.

    Raises
    ------
    ValueError
        `logits` is not three-dimensional, T is not a multiple of the sub-bank size, or temperature <= 0.

    Examples
    --------
    >>> logits = np.array([[[9.0, -9.0]], [[-9.0, 9.0]]])  # two samples that contradict each other
    >>> scores = summarise(logits, temperature=1.0, log_prior_correction=[0.0, 0.0], healthy=0, sub_bank_size=1)
    >>> scores.fault_probability.round(6).tolist(), scores.mutual_information.round(5).tolist()
    ([0.5], [0.69315])
    """
    if logits.ndim != 3 or logits.shape[0] < 1:
        raise ValueError(f"logits must have shape (T, n, C), got {logits.shape}.")
    n_samples, n, n_classes = logits.shape
    statistics = Statistics(
        n_samples,
        n_classes,
        temperature=temperature,
        log_prior_correction=log_prior_correction,
        healthy=healthy,
        sub_bank_size=sub_bank_size,
        spread=spread,
    )
    out = Predictive(**empty_columns(n, n_classes), n_samples=n_samples if spread else 1)
    block = np.zeros((n_samples, BLOCK, n_classes), dtype=np.float32)
    for rows in blocks(n):
        block[:, : rows.stop - rows.start] = logits[:, rows]
        statistics.write(block, out, rows)
    return out


def empty_columns(n: int, n_classes: int) -> dict[str, FloatArray]:
    """Return the columns of `Predictive` for n windows, all NaN."""
    return {name: np.full((n, n_classes) if name == "class_probabilities" else n, np.nan) for name in PREDICTIVE}


class Statistics:
    """Computes the statistics of one block of windows after another, reusing its buffers. One per thread.

    Probabilities and entropies of the samples are float32; what is averaged over them is added up in float64. Against
    float64 throughout, figures differ by 1e-6 at most, and probabilities below that by 1e-5 of themselves.

    Parameters
    ----------
    n_samples, n_classes
        Samples T and classes C.
    temperature, log_prior_correction, healthy, sub_bank_size, spread
        See `summarise`.

    Raises
    ------
    ValueError
        T is not a multiple of the sub-bank size, or temperature <= 0.
    """

    def __init__(
        self,
        n_samples: int,
        n_classes: int,
        *,
        temperature: float,
        log_prior_correction: ArrayLike,
        healthy: int | None,
        sub_bank_size: int,
        spread: bool,
    ) -> None:
        if not temperature > 0.0:
            raise ValueError(f"temperature must be above 0, got {temperature}.")
        if n_samples > 1 and n_samples % sub_bank_size:
            raise ValueError(f"{n_samples} samples are not a multiple of the sub-bank size {sub_bank_size}.")
        self.n_samples, self.healthy, self.spread = n_samples, healthy, spread and n_samples > 1
        self.size = sub_bank_size if n_samples > 1 else 1
        self.sharpness = 1.0 / temperature
        self.correction = torch.from_numpy(np.asarray(log_prior_correction, dtype=np.float32))[:, None]
        n_groups = n_samples // self.size
        self.groups_at_once = min(n_groups, max(1, _AT_ONCE // (self.size * n_classes * BLOCK)))
        self.p_sums = torch.empty(n_groups, n_classes, BLOCK)
        self.entropy_sums = torch.empty(n_groups, BLOCK)
        self.faults = torch.empty(BLOCK, n_samples)
        self.space = Workspace()

    def write(
        self, logits: NDArray[np.float32], out: Predictive, rows: slice, refits: NDArray[np.float32] | None = None
    ) -> None:
        """Write the statistics of a block's logits (T, BLOCK, C) into rows of `out`; padded windows are left out.

        `refits`: logits (K, BLOCK, C) of networks that did without some units; None for none.
        """
        keep = rows.stop - rows.start
        with torch.inference_mode():
            columns = self._columns(torch.from_numpy(logits).transpose(1, 2))
            if refits is not None and len(refits) > 1 and self.spread and self.healthy is not None:
                self._widen(columns, refits, self.healthy)
            for name, values in columns.items():
                getattr(out, name)[rows] = values[:keep]

    def _columns(self, logits: Tensor) -> dict[str, FloatArray]:
        """Return the columns of `Predictive` of logits (T, C, BLOCK), BLOCK values each."""
        for start in range(0, len(self.p_sums), self.groups_at_once):
            self._add(logits, slice(start, min(start + self.groups_at_once, len(self.p_sums))))
        mean = self.p_sums.sum(0, dtype=torch.float64)
        mean /= mean.sum(0)
        expected = self.entropy_sums.sum(0, dtype=torch.float64).numpy() / self.n_samples
        p = np.ascontiguousarray(mean.numpy().T)
        p[~np.isfinite(expected)] = np.nan
        total = entr(p).sum(axis=-1)
        columns = {"class_probabilities": p, "predictive_entropy": total}
        if self.healthy is not None:
            # Summed, not 1 - p(healthy): keeps tiny probabilities exact.
            columns["fault_probability"] = np.delete(p, self.healthy, axis=1).sum(axis=1)
        if self.spread:
            finite = np.where(np.isfinite(expected), 0.0, np.nan)
            columns["expected_entropy"] = expected
            columns["mutual_information"] = np.maximum(total - expected, 0.0)
            columns["monte_carlo_se"] = self._standard_error(mean) + finite
            if self.healthy is not None:
                fault = columns["fault_probability"]
                columns["fault_expected_entropy"] = self._fault_entropy() + finite
                columns["fault_mutual_information"] = np.maximum(
                    entr(fault) + entr(p[:, self.healthy]) - columns["fault_expected_entropy"], 0.0
                )
                for name, values in zip(("fault_std", "fault_q05", "fault_q95"), self._fault_spread(), strict=True):
                    columns[name] = values + finite
        return columns

    def _widen(self, columns: dict[str, FloatArray], refits: NDArray[np.float32], healthy: int) -> None:
        """Widen the band by how much refits (K, BLOCK, C) differ, on the scale of log odds, where errors add up."""
        z = refits.astype(np.float64) * self.sharpness + self.correction.numpy().T
        odds = logsumexp(np.delete(z, healthy, axis=-1), axis=-1) - z[..., healthy]
        far = ndtri(0.95) * odds.std(axis=0, ddof=1)
        centre = _log_odds(columns["fault_probability"])
        for name, side in (("fault_q05", -1.0), ("fault_q95", 1.0)):
            columns[name] = expit(centre + side * np.hypot(_log_odds(columns[name]) - centre, far))

    def _add(self, logits: Tensor, groups: slice) -> None:
        """Add up probabilities and entropies of some sub-banks, and keep the fault probability of each sample."""
        part = slice(groups.start * self.size, groups.stop * self.size)
        shape = (part.stop - part.start, *logits.shape[1:])
        p, z = self.space("p", *shape), self.space("z", *shape)
        top, total = self.space("top", shape[0], 1, BLOCK), self.space("total", shape[0], 1, BLOCK)
        torch.mul(logits[part], self.sharpness, out=z)
        z += self.correction
        z -= torch.amax(z, 1, keepdim=True, out=top)
        torch.sum(torch.exp(z, out=p), 1, keepdim=True, out=total)
        p /= total
        by_group = (groups.stop - groups.start, self.size, -1, BLOCK)
        torch.sum(p.view(by_group), 1, out=self.p_sums[groups])
        if self.healthy is not None and self.spread:
            fault = p[:, : self.healthy].sum(1) + p[:, self.healthy + 1 :].sum(1)
            self.faults[:, part] = fault.T
        # The entropy of softmax(z) is log(sum exp z) - sum p z; not finite where a logit is not.
        entropy = total.log_() - torch.sum(z.mul_(p), 1, keepdim=True, out=top)
        torch.sum(entropy.view(by_group), 1, out=self.entropy_sums[groups].unsqueeze(1))

    def _standard_error(self, mean: Tensor) -> FloatArray:
        """Return the standard error (BLOCK,) of the mean from the spread of the sub-bank means."""
        n_groups = len(self.p_sums)
        if n_groups < 2:
            return np.full(BLOCK, np.nan)
        if self.healthy is None:
            watched = self.p_sums.gather(1, mean.argmax(0).expand(n_groups, 1, BLOCK))[:, 0]
        else:
            watched = self.p_sums[:, : self.healthy].sum(1) + self.p_sums[:, self.healthy + 1 :].sum(1)
        error: FloatArray = watched.double().std(0).numpy() / self.size / math.sqrt(n_groups)
        return error

    def _fault_entropy(self) -> FloatArray:
        """Return the mean over the samples of the entropy of faulty or not, (BLOCK,), nats."""
        healthy = 1.0 - self.faults
        entropy = torch.special.entr(self.faults) + torch.special.entr(healthy.clamp_(min=0.0))
        mean: FloatArray = entropy.mean(1, dtype=torch.float64).numpy()
        return mean

    def _fault_spread(self) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Return standard deviation (ddof 1) and 5 and 95 % quantiles of the fault probability over the samples."""
        ordered = self.faults.numpy()
        ordered.sort(axis=1)
        std = ordered.std(axis=1, ddof=1, dtype=np.float64)
        low, high = (_quantile(ordered, share) for share in (0.05, 0.95))
        return std, low, high


def _log_odds(p: FloatArray) -> FloatArray:
    """Return log odds of probabilities; float32 samples tell nothing nearer to 0 and 1 than 1e-7."""
    odds: FloatArray = logit(np.clip(p, 1e-7, 1.0 - 1e-7))
    return odds


def _quantile(ordered: NDArray[np.float32], share: float) -> FloatArray:
    """Return the quantile (n,) of ascending values (n, T), linear between neighbours."""
    below, part = divmod(share * (ordered.shape[1] - 1), 1.0)
    values = ordered[:, int(below) : int(below) + 2].astype(np.float64)
    quantile: FloatArray = values[:, 0] + part * (values[:, -1] - values[:, 0])
    return quantile


PREDICTIVE: Final = tuple(f.name for f in fields(Predictive) if f.name != "n_samples")
"""The columns of `Predictive`."""
