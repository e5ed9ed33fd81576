"""What every room uses: errors, ids, regimes, the columns of a log, the settings. Imports no other room."""

__all__ = [
    "errors",
    "figures",
    "ids",
    "log_schema",
    "logs",
    "quantities",
    "regime",
    "settings",
    "sources",
    "spreadsheet",
    "toml_text",
]
