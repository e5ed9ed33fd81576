"""Model versions: where they are kept, which one is in force, what they were never trained on."""

__all__ = ["held_out", "registry", "versions"]
