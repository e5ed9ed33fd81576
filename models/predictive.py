"""From sampled logits to a probability and how unsure it is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import entr

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Predictive:
    """Statistics of the Monte Carlo samples of n windows. NaN means: not defined, or not finite.

    Attributes
    ----------
    fault_probability
        (n,) 1 - p(healthy), mean over the samples, in [0, 1]; NaN without a healthy class.
    fault_std, fault_q05, fault_q95
        (n,) standard deviation (ddof 1) and 5 and 95 % quantiles of the fault probability over the samples.
    class_probabilities
        (n, C) mean class probabilities; rows sum to 1.
    predictive_entropy
        (n,) entropy of the mean, nats, in [0, log C]: total uncertainty.
    expected_entropy
        (n,) mean entropy of the samples, nats: aleatoric part.
    mutual_information
        (n,) predictive minus expected entropy, nats, >= 0: epistemic part (BALD, Houlsby et al. 2011, eq. 2).
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
    if not temperature > 0.0:
        raise ValueError(f"temperature must be above 0, got {temperature}.")
    n_samples = logits.shape[0]
    if n_samples > 1 and n_samples % sub_bank_size:
        raise ValueError(f"{n_samples} samples are not a multiple of the sub-bank size {sub_bank_size}.")
    bad: NDArray[np.bool_] = np.asarray(~np.isfinite(logits).all(axis=(0, 2)))
    clean = np.where(bad[None, :, None], 0.0, logits)
    log_p = log_softmax(clean, temperature=temperature, log_prior_correction=log_prior_correction)
    p = np.exp(log_p)
    mean = p.mean(axis=0)
    n, n_classes = mean.shape
    nothing = np.full(n, np.nan)
    total = entr(mean).sum(axis=-1)
    expected, information = nothing, nothing
    if n_samples > 1:
        expected = -(p * log_p).sum(axis=-1).mean(axis=0)
        information = np.maximum(total - expected, 0.0)
    fault, std, low, high = nothing, nothing, nothing, nothing
    if healthy is not None:
        # Summed, not 1 - p(healthy): keeps tiny probabilities exact.
        samples = p[..., [c for c in range(n_classes) if c != healthy]].sum(axis=-1)
        fault, std, low, high = _fault_statistics(samples)
    else:
        samples = np.take_along_axis(p, mean.argmax(axis=-1)[None, :, None], axis=-1)[..., 0]
    error = _standard_error(samples, sub_bank_size)
    columns = [np.where(bad, np.nan, c) for c in (fault, std, low, high, total, expected, information, error)]
    fault, std, low, high, total, expected, information, error = columns
    mean = np.where(bad[:, None], np.nan, mean)
    if not spread:
        return Predictive(fault, nothing, nothing, nothing, mean, total, nothing, nothing, nothing, 1)
    return Predictive(fault, std, low, high, mean, total, expected, information, error, n_samples)


def _fault_statistics(samples: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    """Return mean, standard deviation and 5 and 95 % quantiles over the samples (T, n)."""
    mean = samples.mean(axis=0)
    if samples.shape[0] < 2:
        nothing = np.full(mean.shape, np.nan)
        return mean, nothing, nothing, nothing
    low, high = np.quantile(samples, [0.05, 0.95], axis=0)
    return mean, samples.std(axis=0, ddof=1), low, high


def _standard_error(samples: FloatArray, sub_bank_size: int) -> FloatArray:
    """Return the standard error (n,) of the mean of samples (T, n) from the spread of the sub-bank means."""
    n_sub_banks = samples.shape[0] // sub_bank_size
    if n_sub_banks < 2:
        return np.full(samples.shape[1], np.nan)
    means = samples.reshape(n_sub_banks, sub_bank_size, -1).mean(axis=1)
    error: FloatArray = means.std(axis=0, ddof=1) / np.sqrt(n_sub_banks)
    return error
