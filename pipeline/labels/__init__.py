"""Findings of people: the allowed words, and labels with their time and place."""

__all__ = ["findings", "labels", "words"]
