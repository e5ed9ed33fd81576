"""Triggers of a retraining: pure functions of arrays and numbers, each with its threshold in its signature.

Every one gives a `Decision` with all its figures, fired or not. Nothing here reads a database or a clock, so a
simulation may call them as they are; `pipeline.watch.watch` gathers what they need and stores what they say.
"""

from pipeline.watch.triggers.calibration import calibration as calibration
from pipeline.watch.triggers.decision import Decision as Decision
from pipeline.watch.triggers.drift import drift as drift
from pipeline.watch.triggers.due import new_labels as new_labels
from pipeline.watch.triggers.due import schedule as schedule
from pipeline.watch.triggers.guards import budget as budget
from pipeline.watch.triggers.guards import conclude as conclude
from pipeline.watch.triggers.guards import cooldown as cooldown
from pipeline.watch.triggers.performance import performance as performance
from pipeline.watch.triggers.rate_rise import rate_rise as rate_rise
