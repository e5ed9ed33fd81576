"""Times of samples: read as declared, local times as UTC, the rate that they say, and resampling at equal steps."""
