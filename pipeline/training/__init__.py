"""From labels and features to a trained model."""

__all__ = ["copies", "inputs", "scopes", "supplement", "train", "training_set"]
