"""What people found out: the words of a finding, and labels with their time and place."""

__all__ = ["findings", "labels", "words"]
