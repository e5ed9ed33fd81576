"""Whether a challenger may replace the champion: the gate, decisions, rollback, and what a promotion has changed."""

__all__ = ["decisions", "payback", "promotion", "questions", "rescore"]
