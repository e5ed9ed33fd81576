"""Judging a model and its scores: calibration, metrics, confidence intervals, novelty."""
