"""The review application, in which engineers work on cases. FastAPI over the store, without torch."""
