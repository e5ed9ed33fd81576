"""Is a retraining due, and what to ask an engineer next."""
