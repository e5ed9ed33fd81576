"""Machine-learning models (torch): arrays in, arrays out. Only `models.artifact` touches files."""
