"""Measure by protocol: train on some units, judge others, report what was left out. Behind `axiswatch evaluate`."""

from pipeline.evaluation.budget import BudgetAsked
from pipeline.evaluation.protocol import EvaluationRefused, Protocol, load_protocol, shipped_protocols
from pipeline.evaluation.reporting.output import summarise, write
from pipeline.evaluation.reporting.page import report
from pipeline.evaluation.run import SIMULATED_DEFAULT, Request, evaluate

__all__ = [
    "SIMULATED_DEFAULT",
    "BudgetAsked",
    "EvaluationRefused",
    "Protocol",
    "Request",
    "evaluate",
    "fleet_truth",
    "load_protocol",
    "report",
    "shipped_protocols",
    "summarise",
    "write",
]
