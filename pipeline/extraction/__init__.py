"""From recordings to features, and to the baseline of each unit: its features in the first days."""

__all__ = ["baseline", "baselines", "extract", "in_force", "reading", "recording"]
