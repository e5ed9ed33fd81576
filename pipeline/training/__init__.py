"""From labels and features to a trained model."""
