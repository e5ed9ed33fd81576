"""What is done in the review application, by pages and by the interface for programs, and how a refusal is worded."""

__all__ = ["api", "pages", "refusals"]
