"""Is a retraining due, and what to ask an engineer next."""

__all__ = ["ask", "watch"]
