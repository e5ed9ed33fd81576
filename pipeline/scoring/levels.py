"""From which value on the figures of a model version count as high: how all levels are put together.

Limits of entropies come from the model's own held-out percentiles. Alarm and review level belong to the plant: without
any answer they follow from two declared costs, later from what healthy units of a site score (`estimate_levels`).
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import count
from typing import Any, Final

import numpy as np
import sqlalchemy as sa
from scipy.special import pdtr, stdtrit
from sqlalchemy.engine import Connection

from pipeline.assets.events import REPLACED
from pipeline.base.settings import CaseSettings, LevelSettings
from pipeline.cases.axis_state import HEALTHY, Thresholds, log_odds, probability_of, recent_log_odds
from pipeline.extraction.baselines import site_programs
from pipeline.labels.labels import not_withdrawn
from pipeline.labels.words import HEALTHY_VERDICTS, unmodelled_modes
from pipeline.store.tables import Axis, AxisEvent, Baseline, Label, LevelReference, ModelVersion, PlantLevel

Percentiles = Mapping[str, Sequence[float]]
"""For each score its percentiles 0, 1, ... 100 on held-out units."""

MIN_UNITS: Final = 4
"""Healthy units from which on a plant's own level is estimated."""

LEAST_SPREAD: Final = 0.2
"""Smallest spread between units that is believed, nats."""

LOWEST, HIGHEST = 0.02, 0.5
"""A level lies between these probabilities, whatever units and answers say."""

EXPLAINED: Final = 0.9
"""Chance with which a budget explains at most so many false alarms."""

EFFICIENCY: Final = 0.37
"""Of the spread of a lower half against the standard deviation, for a normal distribution."""

KNOWS_NOTHING: Final = 0.95
"""Of the loss of equal probabilities: a model whose held-out loss is not below that tells next to nothing, and so does
a window whose entropy is above that share of theirs."""

CONTRADICTED: Final = 0.05
"""Chance, over all exchanges of classes, below which labels look exchanged: two dozen units are enough. Right labels
have a chance near 1, so this is how often lines that say nothing are believed."""

PAST: Final = 0.5
"""A level that is raised over a false alarm lies this far above it: the unit must become clearly louder, nats."""


@dataclass(frozen=True)
class Levels:
    """Alarm and review level, as probabilities; the reason for them as a sentence, and the figures behind it."""

    alarm: float
    review: float
    reason: str
    figures: dict[str, Any]


def default_levels(settings: CaseSettings) -> Levels:
    """Return the levels without any answer.

    An alarm pays from the fault probability p on at which p times the cost of a missed fault is as much as 1 - p times
    that of a false alarm. p is stated at the model's `fault_prior`.
    """
    alarm = settings.false_alarm_cost / (settings.false_alarm_cost + settings.missed_fault_cost)
    reason = (
        f"no plant level yet; a missed fault costs {settings.missed_fault_cost:g}, a false alarm "
        f"{settings.false_alarm_cost:g}"
    )
    return Levels(alarm, alarm, reason, {})


def estimate_levels(
    healthy: Sequence[float],
    false_alarms: Sequence[float],
    faults: Sequence[float],
    settings: LevelSettings,
    *,
    axis_years: float,
) -> Levels:
    """Estimate alarm and review level of a site from what its units score.

    The level is an upper prediction bound for the highest recent log odds of one more healthy unit, so that no more
    units exceed it than the declared budget allows. It counts units, not recordings: Student's t (G. J. Hahn, "Factors
    for calculating two-sided prediction intervals", Journal of the American Statistical Association 64, 1969). Centre
    and spread are the median and the root mean square distance to it of the lower half, since a unit that is already
    faulty unnoticed can only lie above; both vary more than mean and standard deviation, so the degrees of freedom are
    fewer. The level without answers counts as `level_prior_units` units.

    More units with a false alarm than the budget explains (Poisson, 90 %) raise the level above the others of them: by
    `level_raise` at most, and never above a confirmed fault.

    Parameters
    ----------
    healthy
        Highest recent log odds of each healthy unit in about `level_days` days, nats.
    false_alarms
        The same of each unit that an engineer found healthy, at that time.
    faults
        The same of each unit that an engineer found faulty.
    settings
        Budgets, costs and bounds.
    axis_years
        For how long the site was watched, all units together, years.
    """
    default = default_levels(settings)
    prior = log_odds(default.alarm)
    n = len(healthy)
    alarm = review = prior
    if n >= MIN_UNITS:
        share = n / (n + settings.level_prior_units)
        alarm, review = (
            share * _bound(healthy, budget * settings.level_days / 365.25) + (1.0 - share) * prior
            for budget in (settings.false_alarms_per_axis_year, settings.reviews_per_axis_year)
        )
        source = f"{n} healthy units, at most {settings.false_alarms_per_axis_year:g} false alarms an axis and year"
    else:
        source = f"{n} healthy units, {MIN_UNITS} are needed; {default.reason}"
    estimated = alarm
    allowed = next(k for k in count() if pdtr(k, settings.false_alarms_per_axis_year * axis_years) >= EXPLAINED)
    above = sorted((value for value in false_alarms if value >= alarm), reverse=True)
    if len(above) > allowed:
        alarm = raised(alarm, above[allowed], faults, settings)
        source += f"; raised, since {len(above)} units had false alarms and the budget explains {allowed}"
    alarm = min(max(alarm, log_odds(LOWEST)), log_odds(HIGHEST))
    review = min(max(review, log_odds(LOWEST)), alarm)
    figures = {
        "units": n,
        "median": round(float(np.median(healthy)), 4) if n else None,
        "estimated": round(probability_of(estimated), 4),
        "axis_years": round(axis_years, 3),
        "false_alarms": len(above),
        "faults": len(faults),
        "lowest_fault": round(probability_of(min(faults)), 4) if faults else None,
        "default": round(default.alarm, 4),
    }
    return Levels(round(probability_of(alarm), 4), round(probability_of(review), 4), source, figures)


def raised(level: float, over: float, faults: Sequence[float], settings: CaseSettings) -> float:
    """Return a level, nats, raised just above a false alarm: within the bound, and never above a confirmed fault.

    Parameters
    ----------
    level, over
        The level, and what the false alarm reached.
    faults
        What confirmed faults reached; one below the level cannot be met and does not count.
    """
    most = min([level + settings.level_raise, *(value for value in faults if value > level)])
    return max(level, min(over + PAST, most))


def highest_recent(fault_probabilities: Sequence[float], limits: Thresholds) -> float | None:
    """Return the highest recent log odds that consecutive bins of a unit reach, nats; None for too few bins.

    Parameters
    ----------
    fault_probabilities
        Of the bins, in time order, in [0, 1].
    """
    odds = [
        recent_log_odds(fault_probabilities[:end], bins=limits.alarm_bins, fault_prior=limits.fault_prior)
        for end in range(limits.alarm_hits, len(fault_probabilities) + 1)
    ]
    return max(odds, default=None)


def _bound(values: Sequence[float], expected: float) -> float:
    """Return the value that a further unit exceeds with the chance that `expected` events have of happening once."""
    n = len(values)
    centre = float(np.median(values))
    below = centre - np.sort(values)[: (n + 1) // 2]
    spread = max(float(np.sqrt(np.mean(below**2))), LEAST_SPREAD)
    far = float(stdtrit(max(EFFICIENCY * (n - 1), 1.0), math.exp(-expected)))
    return centre + far * spread * math.sqrt(1.0 + 0.5 * math.pi / n)


def read_thresholds(connection: Connection, settings: CaseSettings, versions: Iterable[str]) -> dict[str, Thresholds]:
    """Return the thresholds of each model version, with the levels that hold without a plant's own."""
    query = sa.select(ModelVersion).where(ModelVersion.model_version.in_(list(versions)))
    return {
        row.model_version: thresholds_of(
            settings,
            row.metrics.get("held_out_quantiles", {}),
            programs=frozenset(row.settings.get("programs", ())),
            classes=row.settings.get("classes", ()),
            fault_prior=row.settings.get("fault_prior"),
            metrics=row.metrics,
        )
        for row in connection.execute(query)
    }


def thresholds_of(
    settings: CaseSettings,
    percentiles: Percentiles,
    *,
    programs: frozenset[str],
    classes: Sequence[str],
    fault_prior: float | None = None,
    metrics: Mapping[str, Any] | None = None,
) -> Thresholds:
    """Return the thresholds of a model that was trained on these programs and classes.

    Parameters
    ----------
    metrics
        Its figures on held-out units, for `why_it_tells_nothing` and `why_acting_does_not_pay`.
    """
    default = default_levels(settings)
    alarm = settings.alarm_probability or default.alarm
    return Thresholds(
        alarm_probability=alarm,
        review_probability=min(settings.review_probability or default.review, alarm),
        alarm_bins=settings.alarm_bins,
        alarm_hits=settings.debounce_hits,
        fault_prior=fault_prior or 0.05,
        novelty_percentile=settings.novelty_percentile,
        review_quantile=settings.review_quantile,
        entropies={
            name: min(limit, says_nothing(name, len(classes)))
            for name in routed_entropies(percentiles)
            if (limit := _percentile(percentiles.get(name), settings.review_quantile)) is not None
        },
        unmodelled=tuple(str(mode) for mode in unmodelled_modes(classes)),
        programs=programs,
        tells_nothing=why_it_tells_nothing(metrics or {}, len(classes))
        or why_acting_does_not_pay(metrics or {}, settings, fault_prior or 0.05),
        cost_level=alarm,
    )


def why_it_tells_nothing(metrics: Mapping[str, Any], n_classes: int) -> str:
    """Return why a model's probabilities must not be used, as a sentence; empty where nothing speaks against them.

    Percentiles of held-out units cannot show it: of a model that knows nothing all windows are alike, and consistently
    exchanged labels are predicted well. So both limits are absolute.

    Parameters
    ----------
    metrics
        Of the model: `overall` with the held-out `nll` at the balanced mix, nats, and `labels_and_lines`
        (`models.training.rule_prior.Agreement`).
    n_classes
        Number of classes.
    """
    nll, chance = (metrics.get("overall") or {}).get("nll"), math.log(max(n_classes, 1))
    if nll is not None and n_classes > 1 and nll >= KNOWS_NOTHING * chance:
        return f"its held-out NLL {nll:.2f} is hardly below {chance:.2f}, that of equal probabilities"
    lines = metrics.get("labels_and_lines")
    if lines is not None and lines["chance"] < CONTRADICTED:
        return (
            f"its labels contradict the bearing lines: those of {lines['exchanged']} units speak for another class, as "
            f"if classes were exchanged, and of {lines['own']} for their own"
        )
    return ""


def why_acting_does_not_pay(metrics: Mapping[str, Any], settings: CaseSettings, fault_prior: float) -> str:
    """Return why acting on a model's probabilities pays no more than acting without them; empty where it does.

    Of the held-out units, those that reach the alarm level raise an alarm. What that costs on average, in a plant with
    the declared share of faults, is compared with never and with always raising one, whichever costs less (the net
    benefit of A. J. Vickers and E. B. Elkin, "Decision curve analysis", Medical Decision Making 26, 2006).

    Parameters
    ----------
    metrics
        Of the model: `units` with class and mean fault probability of each (`models.training.report.UnitMetrics`).
    settings
        Alarm level and costs.
    fault_prior
        Share of faults at which the probabilities are stated, in (0, 1).
    """
    level = settings.alarm_probability or default_levels(settings).alarm
    alarmed: dict[bool, list[bool]] = {True: [], False: []}
    for unit in metrics.get("units") or ():
        if unit["fault_probability"] is not None:
            alarmed[unit["class_name"] != HEALTHY].append(unit["fault_probability"] >= level)
    if min(map(len, alarmed.values())) < MIN_UNITS:
        return ""
    found, false = (sum(alarmed[faulty]) / len(alarmed[faulty]) for faulty in (True, False))
    a_miss, an_alarm = fault_prior * settings.missed_fault_cost, (1.0 - fault_prior) * settings.false_alarm_cost
    cost, without = a_miss * (1.0 - found) + an_alarm * false, min(a_miss, an_alarm)
    if cost < KNOWS_NOTHING * without:
        return ""
    return (
        f"acting on it would cost {cost:.2g} a unit, and {without:.2g} without it: of units held out, {found:.0%} of "
        f"{len(alarmed[True])} faulty ones and {false:.0%} of {len(alarmed[False])} healthy ones reach the alarm level"
    )


@dataclass(frozen=True)
class PlantThresholds:
    """The thresholds of a plant at one time: what all axes share, and what is a site's own.

    Attributes
    ----------
    shared
        By model version, without a plant's own levels and programs.
    programs
        By site, the programs of its axes' first days.
    levels
        By site and model version, the row of `plant_levels` in force.
    """

    settings: CaseSettings
    as_of: datetime
    shared: Mapping[str, Thresholds]
    programs: Mapping[str, frozenset[str]]
    levels: Mapping[str, Mapping[str, Mapping[str, Any]]]

    def of_site(self, site: str) -> dict[str, Thresholds]:
        """Return the thresholds of a site; a level that is set by hand goes first."""
        own, known = self.levels.get(site, {}), self.programs.get(site, frozenset())
        found = {}
        for version, limits in self.shared.items():
            row = own.get(version, {})
            alarm = self.settings.alarm_probability or row.get("alarm_probability", limits.alarm_probability)
            review = self.settings.review_probability or row.get("review_probability", limits.review_probability)
            found[version] = replace(
                limits,
                alarm_probability=alarm,
                review_probability=min(review, alarm),
                programs=limits.programs | known if limits.programs else limits.programs,
            )
        return found

    def of_axes(self, connection: Connection, axes: Collection[str]) -> dict[str, AxisThresholds]:
        """Return the thresholds of axes, and when the first days of their units were."""
        usual = self.usual_of_axes(connection, axes)
        first_days: dict[str, list[tuple[datetime, datetime]]] = {axis: [] for axis in usual}
        begin = sa.func.min(Baseline.from_at, type_=Baseline.from_at.type)
        end = sa.func.min(Baseline.to_at, type_=Baseline.to_at.type)
        periods = sa.select(Baseline.axis_id, begin, end).group_by(Baseline.axis_id, Baseline.unit_serial)
        for axis, from_at, to_at in connection.execute(
            periods.where(Baseline.axis_id.in_(axes), Baseline.known_at <= self.as_of)
        ):
            first_days[axis].append((from_at, to_at))
        return {
            axis: AxisThresholds(
                limits, {name: unsettled(one, self.settings) for name, one in limits.items()}, tuple(first_days[axis])
            )
            for axis, limits in usual.items()
        }

    def usual_of_axes(self, connection: Connection, axes: Collection[str]) -> dict[str, dict[str, Thresholds]]:
        """Return the thresholds of axes after the first days of their units, by axis and model version.

        A unit that was found healthy alarms only where it becomes clearly louder.
        """
        rows = connection.execute(sa.select(Axis.axis_id, Axis.site).where(Axis.axis_id.in_(axes))).all()
        by_site = {site: self.of_site(site) for site in {row.site for row in rows}}
        usual = {row.axis_id: dict(by_site[row.site]) for row in rows}
        if self.settings.alarm_probability is None:
            for row in connection.execute(_found_healthy(axes, self.shared, self.as_of)):
                limits = usual[row.axis_id][row.model_version]
                lowest = self.levels.get(row.site, {}).get(row.model_version, {}).get("figures", {}).get("lowest_fault")
                faults = [] if lowest is None else [log_odds(lowest)]
                alarm = raised(log_odds(limits.alarm_probability), row.value, faults, self.settings)
                usual[row.axis_id][row.model_version] = replace(limits, alarm_probability=probability_of(alarm))
        return usual


@dataclass(frozen=True)
class AxisThresholds:
    """The thresholds of an axis, and those in the first days of its units (`first_days`, start and end of each)."""

    usual: dict[str, Thresholds]
    unsettled: dict[str, Thresholds]
    first_days: tuple[tuple[datetime, datetime], ...]

    def at(self, moment: datetime) -> dict[str, Thresholds]:
        """Return the thresholds of a bin by model version. An axis without any baseline is in its first days."""
        is_first = not self.first_days or any(begin <= moment < end for begin, end in self.first_days)
        return self.unsettled if is_first else self.usual


def unsettled(limits: Thresholds, settings: CaseSettings) -> Thresholds:
    """Return the thresholds in a unit's first days, in which its scores rest on no baseline.

    Its programs are not checked: they are what the plant's programs are read from. A plant's own level, which is made
    of later days, does not go below the level without answers.
    """
    alarm = limits.alarm_probability
    if settings.alarm_probability is None:
        alarm = max(alarm, default_levels(settings).alarm)
    return replace(limits, alarm_probability=alarm, programs=frozenset())


def read_plant_thresholds(
    connection: Connection, settings: CaseSettings, versions: Collection[str], *, as_of: datetime
) -> PlantThresholds:
    """Read the thresholds that are in force in a plant at a time."""
    shared = read_thresholds(connection, settings, versions)
    programs = site_programs(connection, as_of=as_of) if any(limits.programs for limits in shared.values()) else {}
    return PlantThresholds(settings, as_of, shared, programs, standing_levels(connection, versions, as_of=as_of))


def standing_levels(
    connection: Connection, versions: Collection[str], *, as_of: datetime
) -> dict[str, dict[str, dict[str, Any]]]:
    """Return by site and model version the row of `plant_levels` that is in force at a time."""
    query = sa.select(PlantLevel).where(PlantLevel.model_version.in_(versions), PlantLevel.decided_at <= as_of)
    rows = connection.execute(query.order_by(PlantLevel.decided_at, PlantLevel.sequence))
    standing: dict[str, dict[str, dict[str, Any]]] = {}
    for row in rows:
        standing.setdefault(row.site, {})[row.model_version] = dict(row._mapping)
    return standing


def _found_healthy(axes: Collection[str], versions: Collection[str], as_of: datetime) -> Any:
    """SQL: by axis, model and site what a unit reached when it was found healthy, unless it was replaced since."""
    replaced = sa.exists().where(
        AxisEvent.axis_id == LevelReference.axis_id, AxisEvent.kind == REPLACED, AxisEvent.at >= LevelReference.to_at
    )
    return (
        sa.select(
            LevelReference.axis_id,
            LevelReference.model_version,
            LevelReference.site,
            sa.func.max(LevelReference.value).label("value"),
        )
        .join(Label, Label.label_id == LevelReference.source)
        .where(
            LevelReference.axis_id.in_(axes),
            LevelReference.model_version.in_(versions),
            LevelReference.value.is_not(None),
            Label.verdict.in_(HEALTHY_VERDICTS),
            Label.known_at <= as_of,
            not_withdrawn(as_of),
            ~replaced,
        )
        .group_by(LevelReference.axis_id, LevelReference.model_version, LevelReference.site)
    )


def routed_entropies(percentiles: Collection[str]) -> tuple[str, ...]:
    """Return the entropies that send a window to review: the two parts of faulty or not where the model has them."""
    for names in (("fault_mutual_information", "fault_expected_entropy"), ("mutual_information", "expected_entropy")):
        if names[0] in percentiles:
            return names
    return ("predictive_entropy",)


def says_nothing(name: str, n_classes: int) -> float:
    """Return from which entropy (nats) on a window says next to nothing, whatever held-out units had.

    >>> round(says_nothing("expected_entropy", 3), 4), says_nothing("mutual_information", 3)
    (1.0437, inf)
    """
    if name.endswith("mutual_information"):
        return math.inf
    return KNOWS_NOTHING * math.log(2 if name.startswith("fault_") else max(n_classes, 2))


def _percentile(values: Sequence[float] | None, percentage: float) -> float | None:
    """Return one percentile from a list of the percentiles 0, 1, ... 100, interpolated linearly."""
    if values is None or len(values) == 0:
        return None
    place = percentage / 100 * (len(values) - 1)
    low = min(int(place), len(values) - 2)
    return values[low] + (place - low) * (values[low + 1] - values[low])
