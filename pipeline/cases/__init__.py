"""From axis states to closed cases: what is flagged, the queue, and what engineers do with it."""
