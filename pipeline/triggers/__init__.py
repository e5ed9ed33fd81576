"""Triggers of a retraining: pure functions of arrays and numbers, each with its threshold in its signature.

Every one gives a `Decision` with all its figures, fired or not. Nothing here reads a database or a clock, so a
simulation may call them as they are; `pipeline.watch` gathers what they need and stores what they say.
"""

from pipeline.triggers.budget import budget as budget
from pipeline.triggers.calibration import calibration as calibration
from pipeline.triggers.conclusion import conclude as conclude
from pipeline.triggers.cooldown import cooldown as cooldown
from pipeline.triggers.decision import Decision as Decision
from pipeline.triggers.drift import drift as drift
from pipeline.triggers.new_labels import new_labels as new_labels
from pipeline.triggers.performance import performance as performance
from pipeline.triggers.rate_rise import rate_rise as rate_rise
from pipeline.triggers.schedule import schedule as schedule
