"""From labels and features to a trained model."""

__all__ = ["inputs", "supplement", "train", "training_set"]
