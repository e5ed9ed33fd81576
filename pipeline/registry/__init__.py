"""Model versions: where they are stored, which one is champion, and their predictions for held-out units."""

__all__ = ["held_out", "registry", "versions"]
