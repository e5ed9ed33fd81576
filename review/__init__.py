"""The review application: where an engineer meets the model. FastAPI over the store, no torch."""
