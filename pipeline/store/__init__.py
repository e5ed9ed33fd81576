"""Where data are kept: the database and its tables, the lake, and which unit a recording belongs to."""

__all__ = ["attribution", "backup", "batches", "database", "due", "horizon", "lake", "retention", "roles", "tables"]
