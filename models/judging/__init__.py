"""How sure a model may be: calibration, metrics, intervals, novelty."""
