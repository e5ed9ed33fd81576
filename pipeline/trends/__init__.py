"""The health of each unit over time: index, threshold, change points."""

__all__ = ["course", "view"]
