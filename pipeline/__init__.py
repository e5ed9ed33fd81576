"""The pipeline from raw logs to cases and models, in rooms; `__all__` of a room names what other rooms may import."""
