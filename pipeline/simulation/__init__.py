"""A seeded fleet of robots from physics: logs to watch, findings to learn from, and the truth to judge by.

Nothing here imports `features` or `models`, and no formula is shared with them: a simulator that draws what the
features measure would only show that they agree with themselves. See docs/simulation.md.
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
