"""What models say of new windows, and what becomes of it: axis states and cases."""

__all__ = ["advise", "levels", "score"]
