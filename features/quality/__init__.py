"""Is the signal fit to be judged: data-quality verdicts, plausibility, the speed that the signal shows."""
