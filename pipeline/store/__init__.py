"""Where things are kept: the database and its tables, the lake, and whose recording is whose."""
