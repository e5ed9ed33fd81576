"""Whether a challenger may replace the champion: the gate, decisions, rollback, and the payback of labels."""

__all__ = ["decisions", "judge", "payback", "promotion", "rescore"]
