"""What is wrong with an installation: a sentence on each fault, also where the database is gone."""

__all__ = ["examine", "finding"]
