"""Words that every room uses: errors, ids, regimes, the log's columns, the settings. Imports nothing of ours."""

__all__ = ["errors", "figures", "ids", "log_schema", "regime", "settings", "sources"]
