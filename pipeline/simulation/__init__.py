"""A simulated fleet of robots, made from physics and a seed: logs, labels to learn from, and the truth to compare with.

Nothing here imports `features` or `models`, and no formula is shared with them. A simulator with the formulas of the
features would only show that the features agree with themselves. See docs/simulation.md.
"""

from pipeline.simulation.run import simulate
from pipeline.simulation.settings import (
    DETECTABLE_SEVERITY,
    KNOWN_MODES,
    UNSEEN_MODE,
    UNSEEN_PROGRAM,
    FleetSettings,
    SimulationReport,
)

__all__ = [
    "DETECTABLE_SEVERITY",
    "KNOWN_MODES",
    "UNSEEN_MODE",
    "UNSEEN_PROGRAM",
    "FleetSettings",
    "SimulationReport",
    "run",
    "simulate",
]
