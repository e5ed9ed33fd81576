"""What the pages draw: signals, courses, trends, levels, sound, and changed features in words."""
