"""Where things are kept: the database and its tables, the lake, and whose recording is whose."""

__all__ = ["attribution", "batches", "database", "lake", "retention", "tables"]
