"""Parts of the replay benchmark, see `benchmarks/replay.py`."""
