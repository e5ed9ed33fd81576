"""May a challenger replace the champion: the gate, decisions, rollback, and what it was worth."""

__all__ = ["decisions", "judge", "payback", "promotion", "rescore"]
