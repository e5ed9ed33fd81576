"""From labels and features to a trained model."""

__all__ = ["inputs", "scopes", "supplement", "train", "training_set"]
