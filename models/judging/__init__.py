"""How good a model is: calibration, metrics, intervals, reports, novelty."""
