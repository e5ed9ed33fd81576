"""The health of each unit over time: health index, alarm threshold, change points."""

__all__ = ["course", "series", "view"]
