"""Judge a challenger against the champion of its scope: read both models' predictions, apply the gate, give reasons."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Generic, TypeVar

import numpy as np
import numpy.typing as npt

from models.kinds import UNKNOWN_FAULT
from pipeline.base.figures import finite_or_none
from pipeline.base.settings import GateSettings, TrainSettings
from pipeline.extraction.in_force import feature_version_of
from pipeline.promotion.gate import (
    WORDS,
    Difference,
    ModelOnRows,
    Noise,
    Rows,
    Ruling,
    doubt,
    measure,
    most_aside,
    noise_of,
    rule_measures,
    rule_must_not_fail,
)
from pipeline.promotion.rows import (
    JudgedRecording,
    challenger_rows,
    champion_predictions,
    labelled_recordings,
    make_rows,
    withdrawn_findings,
)
from pipeline.registry.held_out import Predictions, read_predictions
from pipeline.registry.registry import load_model
from pipeline.registry.versions import set_aside_by, trained_units
from pipeline.store.database import Store
from pipeline.store.lake import Lake

SEED: Final = 20260105
"""Seed of the resampling: judging again gives the same figures."""

RANK: Final = {"baseline_only": 0, "fault_types": 1, "classification": 2}
"""How much a kind of model can answer; higher is more."""

LABEL: Final = "label:"


@dataclass(frozen=True)
class Pair:
    """Challenger and champion, rows of `model_versions`, and their predictions for held-out recordings.

    `withdrawn`: findings of units that the champion knew and that are withdrawn since.
    """

    challenger: dict[str, Any]
    champion: dict[str, Any]
    said: Predictions | None
    champion_said: Predictions | None
    recordings: tuple[JudgedRecording, ...]
    withdrawn: int = 0


@dataclass(frozen=True)
class Contradicted:
    """A new finding about a unit that champion and challenger, both held out, contradict.

    `labels`: ids of the new labels that it comes from. `probability`, `champion_probability`: of the finding, by the
    challenger and by the champion (None: the champion cannot judge it). `recordings`: those that it holds for.
    """

    unit: str
    finding: str
    labels: tuple[str, ...]
    probability: float
    champion_probability: float | None
    recordings: tuple[JudgedRecording, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return plain JSON values, without the recordings."""
        names = ("unit", "finding", "probability", "champion_probability")
        return {**{name: getattr(self, name) for name in names}, "labels": list(self.labels)}


def rule(pair: Pair, settings: GateSettings, noise: Noise | None) -> Ruling:
    """Apply the gate to a pair. New findings that both contradict and that were not set aside do not decide here."""
    champion = pair.champion
    if not _same_kind(pair):
        return _by_kind(pair)
    if lost := _lost(pair):
        return Ruling(False, (f"it no longer knows {', '.join(lost)}, which the champion knows",))
    figures: dict[str, Any] = {"champion": champion["model_version"]}
    passed, against = by_measures(pair, settings, noise, figures)
    hard = _by_must_not_fail(pair, settings, figures)
    against += by_findings(pair, settings, figures)
    left_behind = champion["feature_version"] != feature_version_of(settings, champion["scope"])
    if against and not hard and left_behind:
        reason = "the champion was trained on features that are no longer extracted, and scores nothing new"
        return Ruling(True, (reason, *against), figures)
    return Ruling(not (hard or against), tuple(hard + against) or tuple(passed), figures)


def comparable(pair: Pair) -> bool:
    """Return whether the measures decide: both are of one kind, and the challenger has all classes of the champion."""
    return _same_kind(pair) and not _lost(pair)


def _same_kind(pair: Pair) -> bool:
    return RANK[pair.challenger["kind"]] == RANK[pair.champion["kind"]] and pair.said is not None


def _lost(pair: Pair) -> list[str]:
    """Return the classes that the champion knows and the challenger does not."""
    known, before = (set(row["settings"]["classes"]) for row in (pair.challenger, pair.champion))
    return sorted(before - known - {UNKNOWN_FAULT})


def read_pair(
    store: Store,
    lake: Lake,
    settings: TrainSettings,
    challenger: dict[str, Any],
    champion: dict[str, Any],
    *,
    as_of: datetime,
) -> Pair:
    """Read the predictions of both models for recordings whose unit they were not trained on."""
    predictions = read_predictions(lake, challenger)
    if predictions is None:
        return Pair(challenger, champion, None, None, ())
    kept = read_predictions(lake, champion)
    known = trained_units(champion)
    with store.read() as connection:
        recordings = labelled_recordings(
            connection,
            settings,
            challenger["scope"],
            predictions.recording.tolist(),
            cutoff=champion["label_cutoff"],
            as_of=as_of,
            unlearned=set_aside_by(champion),
            set_aside=set_aside_by(challenger),
        )
        before = [] if kept is None else kept.recording.tolist()
        withdrawn = withdrawn_findings(
            connection, settings, challenger["scope"], before, cutoff=champion["label_cutoff"], as_of=as_of
        )
        model = load_model(store, lake, champion["model_version"])
        champion_said = champion_predictions(connection, lake, settings, model, kept, known, recordings, as_of=as_of)
    return Pair(challenger, champion, predictions, champion_said, tuple(recordings), withdrawn)


def _by_kind(pair: Pair) -> Ruling:
    """Rule where the two kinds of model are not comparable: the kind that answers more wins if it beats chance."""
    new, old = pair.challenger["kind"], pair.champion["kind"]
    figures = {"challenger_kind": new, "champion_kind": old}
    if RANK[new] < RANK[old]:
        return Ruling(False, (f"it is {new}, the champion {old}: it would say less",), figures)
    if pair.said is None:
        before, now = (trained_units(row) for row in (pair.champion, pair.challenger))
        gone = sorted(before - now)
        if gone:
            reason = f"both give novelty only, and it does not know {', '.join(gone[:5])}, which the champion knows"
            return Ruling(False, (reason,), figures)
        return Ruling(True, (f"both give novelty only, and it knows {len(now - before)} units more",), figures)
    overall = pair.challenger["metrics"]["overall"]
    nll, chance = overall.get("nll"), float(np.log(len(pair.said.classes)))
    figures |= {"challenger_nll": nll, "chance_nll": chance}
    if nll is None or not nll < chance:
        return Ruling(False, (f"it is {new} after {old}, but its held-out NLL is no better than chance",), figures)
    return Ruling(True, (f"it is {new}, the champion {old}: it says more, with held-out NLL {nll:.3f}",), figures)


def by_measures(
    pair: Pair, settings: GateSettings, noise: Noise | None, figures: dict[str, Any]
) -> tuple[list[str], list[str]]:
    """Measure with the findings known then and with those of now; return the reasons for and against the challenger."""
    assert pair.said is not None
    if pair.champion_said is None:
        return [], ["the champion has no held-out predictions, and no new unit to be asked about; promote it by hand"]
    passed, against = [], []
    for which, words in (("then", "findings that the champion knew"), ("now", "all findings of now")):
        rows = make_rows(pair.recordings, pair.said, pair.champion_said, which=which)
        if rows is None:
            figures[which] = {"units": 0}
            if which == "now":
                against.append("no unit was held out for both models, so they cannot be compared; promote it by hand")
            continue
        differences = measured(rows, settings, noise)
        few = rows.units < settings.gate_min_units
        figures[which] = {"units": rows.units, "rows": len(rows.unit), "few_units": few}
        figures[which] |= {name: difference.as_dict() for name, difference in differences.items()}
        basis = f"on {rows.units} units by {words}" + (", too few for intervals" if few else "")
        against += [f"{reason} ({basis})" for reason in rule_measures(differences, max_risk=settings.gate_risk)]
        passed.append(f"not worse {basis}: " + ", ".join(_in_words(name, item) for name, item in differences.items()))
    figures["noise"] = None if noise is None else vars(noise)
    figures["rule"] = {
        name: getattr(settings, name)
        for name in GateSettings.model_fields
        if name.startswith(("gate_", "payback_cases"))
    }
    return passed, against


def by_findings(pair: Pair, settings: GateSettings, figures: dict[str, Any]) -> list[str]:
    """Check that the challenger has learned enough that is new; return the reason against it.

    With a handful of new findings another seed changes more than they do. It is not asked of a challenger with
    another class or other settings than the champion, which differs by more than its seed.
    """
    assert pair.said is not None
    _, _, _, members = challenger_rows(pair.recordings, pair.said)
    changed = sum(any(item.is_new for item in group) for group in members) + pair.withdrawn
    figures |= {"learned": changed, "withdrawn": pair.withdrawn}
    other = pair.champion_said is not None and set(pair.said.classes) != set(pair.champion_said.classes)
    least = settings.retrain_min_findings
    if changed >= least or other or _other_settings(pair):
        return []
    return [f"{changed} findings are new or withdrawn, fewer than {least}: another seed changes more than they do"]


def _other_settings(pair: Pair) -> bool:
    """Return whether the two were trained with other settings; what follows from the data is not compared."""
    of_data = {"classes", "programs", "files", "seed"}
    new, old = (
        {name: value for name, value in row.get("settings", {}).items() if name not in of_data}
        for row in (pair.challenger, pair.champion)
    )
    return new != old


def measured(rows: Rows, settings: GateSettings, noise: Noise | None) -> dict[str, Difference]:
    """Apply `measure` with the settings in force."""
    return measure(
        rows,
        noise,
        noise_factor=settings.gate_noise_factor,
        review_share=settings.gate_review_share,
        min_units=settings.gate_min_units,
        confidence=settings.gate_confidence,
        n_bootstrap=settings.gate_bootstrap,
        seed=SEED,
    )


def noise_between(
    recordings: Sequence[JudgedRecording], refits: Sequence[Predictions], settings: GateSettings
) -> Noise | None:
    """Return the noise of refits from their held-out predictions; None where no recording has a finding of now."""
    rows = [made for said in refits if (made := make_rows(recordings, said, said, which="now")) is not None]
    return noise_of(rows, review_share=settings.gate_review_share) if len(rows) > 1 else None


def _in_words(name: str, difference: Difference) -> str:
    return f"{WORDS[name]} {difference.challenger:.3f} (champion {difference.champion:.3f})"


def contradicted(pair: Pair, settings: GateSettings) -> tuple[list[Contradicted], dict[str, int]]:
    """Find the new findings that both models contradict and nobody has confirmed, the least probable first.

    Returns
    -------
    list of Contradicted, dict
        And how many new and old findings there are, and how many of the old ones are contradicted.
    """
    nothing = {"new_rows": 0, "old_rows": 0, "old_contradicted": 0}
    if pair.said is None:
        return [], nothing
    unit, finding, judged, members = challenger_rows(pair.recordings, pair.said)
    if not len(unit):
        return [], nothing
    believed = judged.truth(finding, frozenset(judged.classes))
    other = np.full(len(unit), np.nan)
    if pair.champion_said is not None:
        other = _champion_believes(pair.champion_said, finding.tolist(), members)
    is_new = np.array([any(item.is_new and not item.confirmed for item in group) for group in members])
    counts = doubt(believed, other, is_new, probability=settings.gate_doubt_probability)
    found = [
        Contradicted(
            str(unit[row]),
            str(finding[row]),
            tuple(sorted({item.now.label.label_id for item in members[row] if item.is_new and item.now is not None})),
            float(believed[row]),
            finite_or_none(other[row]),
            tuple(item for item in members[row] if item.is_new),
        )
        for row in counts.contradicted
    ]
    return found, {name: getattr(counts, name) for name in nothing}


MOST_CLEANED: Final = 2
"""Trainings without contradicted labels, at most: the first may show wrong labels that another one has hidden."""

Version = TypeVar("Version")


@dataclass(frozen=True, eq=False)
class Cleaned(Generic[Version]):
    """A challenger after contradicted labels were set aside, and the pair that the gate judges.

    `doubted`: the findings that were contradicted. `few`: whether they were few enough to be set aside; else the batch
    as a whole is not believed. `counts`: of the first look, and `most_aside`, how many may be set aside.
    """

    version: Version
    pair: Pair
    doubted: tuple[Contradicted, ...]
    few: bool
    counts: dict[str, int]


def clean(
    version: Version,
    *,
    train_without: Callable[[list[str]], Version],
    pair_of: Callable[[Version], Pair],
    settings: GateSettings,
) -> Cleaned[Version]:
    """Set aside the new labels that champion and challenger contradict, and train the challenger again without them.

    Parameters
    ----------
    version
        The challenger that was trained with all labels.
    train_without
        Trains a challenger without some labels (ids).
    pair_of
        Puts a challenger beside the champion; findings that its training has set aside do not count.
    """
    pair = pair_of(version)
    found, counts = contradicted(pair, settings)
    most = most_aside(counts["new_rows"], share=settings.gate_aside_share)
    doubted: list[Contradicted] = []
    for _ in range(MOST_CLEANED):
        doubted += found
        if not found or len(doubted) > most:
            break
        version = train_without(sorted({label_id for item in doubted for label_id in item.labels}))
        pair = pair_of(version)
        found, _counts = contradicted(pair, settings)
    return Cleaned(version, pair, tuple(doubted), len(doubted) <= most, counts | {"most_aside": most})


def _champion_believes(
    predictions: Predictions, finding: Sequence[str], members: Sequence[Sequence[JudgedRecording]]
) -> npt.NDArray[np.float64]:
    """Return the champion's probability of each finding, NaN where it was trained on the unit or has no such class."""
    place, believed = predictions.place(), []
    for name, group in zip(finding, members, strict=True):
        rows = [place[str(item.row.recording_id)] for item in group if str(item.row.recording_id) in place]
        if not rows:
            believed.append(np.nan)
        elif name in predictions.classes:
            believed.append(float(predictions.p[rows, predictions.classes.index(name)].mean()))
        elif "healthy" in predictions.classes:
            believed.append(1.0 - float(predictions.p[rows, predictions.classes.index("healthy")].mean()))
        else:
            believed.append(np.nan)
    return np.array(believed)


def _by_must_not_fail(pair: Pair, settings: GateSettings, figures: dict[str, Any]) -> list[str]:
    """Check the must-not-fail cases; record those that are not in this scope."""
    assert pair.said is not None
    unit, finding, judged, members = challenger_rows(pair.recordings, pair.said)
    names = set(settings.must_not_fail)
    if not names:
        return []
    named: list[str] = []
    keep: list[int] = []
    for index, group in enumerate(members):
        ids = {f"{LABEL}{item.now.label.label_id}" for item in group if item.now is not None} | {str(unit[index])}
        if ids & names:
            named.append(sorted(ids & names)[0])
            keep.append(index)
    figures["must_not_fail"] = {"asked": sorted(set(named)), "not_in_scope": sorted(names - set(named))}
    if not keep:
        return []
    own = ModelOnRows(judged.classes, judged.p[keep], judged.nll[keep], judged.recording_fault[:0])
    return rule_must_not_fail(np.array(named), finding[keep], own, probability=settings.must_not_fail_probability)
