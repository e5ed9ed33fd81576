"""From recordings to features, and to what each unit's features were in its first days."""

__all__ = ["baseline", "baselines", "extract", "in_force", "reading", "recording"]
