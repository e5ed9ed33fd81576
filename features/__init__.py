"""Vibration features: numpy arrays in, numpy arrays out. No file, no SQL, no torch."""
