"""From new windows to scores, and from scores to axis states and cases."""

__all__ = ["advise", "levels", "plant_levels", "references", "score", "selection"]
