"""Files of models that never became champion are deleted after a while; what needs them says so."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
import sqlalchemy as sa

from models.artifact import pack
from models.network import NetworkSettings
from models.settings import TrainingSettings
from models.training.train import train
from pipeline.base.errors import AxiswatchError
from pipeline.registry.held_out import Predictions, read_predictions
from pipeline.registry.registry import Registered, load_model, promote, prune_models, register, set_champion
from pipeline.registry.versions import CHALLENGER, get_version, list_versions, set_alias
from pipeline.store.database import Store
from pipeline.store.lake import Lake
from pipeline.store.retention import named_files, sweep_lake
from pipeline.store.tables import LakeFile

FIRST = datetime(2026, 1, 1, tzinfo=UTC)
RUN = FIRST + timedelta(days=100)
ABOUT = Registered("acceleration", "classification", "f", FIRST, "", 6, 60, {}, {"overall": {}})


@pytest.fixture(scope="module")
def artifacts() -> list[dict[str, bytes]]:
    """Five small models that differ in what is told of them."""
    rng = np.random.default_rng(3)
    unit = np.repeat(np.arange(6), 10)
    x = (rng.normal(size=(unit.size, 4)) + (unit % 2)[:, None]).astype(np.float32)
    settings = TrainingSettings(
        epochs=2, fixed_epochs=1, folds=2, n_samples=10, sub_bank_size=10, network=NetworkSettings(hidden=(4,))
    )
    names = ("a", "b", "c", "d")
    model, _ = train(
        x,
        unit % 2,
        unit,
        np.ones(unit.size),
        classes=("healthy", "ball"),
        feature_names=names,
        feature_version="f",
        feature_groups=names,
        settings=settings,
    )
    return [pack(model, training_data_hash=str(number), metrics={}, settings={}) for number in range(5)]


@pytest.fixture
def versions(store: Store, lake: Lake, artifacts: list[dict[str, bytes]]) -> list[str]:
    """The champion; two whose time is over; the challenger; and one that is too new to go."""
    said = Predictions(
        classes=("healthy", "ball"),
        recording=np.array(["r"]),
        unit=np.array(["u"]),
        windows=np.array([1]),
        p=np.array([[0.5, 0.5]]),
        log_p=np.log(np.array([[0.5, 0.5]])),
        log_fault=np.log(np.array([0.5])),
    )
    found = []
    for number, files in enumerate(artifacts):
        held_out = said if number == 1 else None
        about = replace(ABOUT, held_out=held_out)
        found.append(register(store, lake, files, about, as_of=RUN if number == 4 else FIRST)[0])
    with store.write() as connection:
        told = {"action": "kept", "who": "axiswatch", "reason": "", "at": FIRST}
        set_alias(connection, "acceleration", CHALLENGER, found[3], **told)
    return found


def test_what_never_was_champion_goes_and_its_row_says_so(store: Store, lake: Lake, versions: list[str]) -> None:
    """Champion, challenger and what is new stay; what names a deleted one gets a sentence. On both databases."""
    before = {path for path, _ in lake.files()}
    assert prune_models(store, lake, RUN, as_of=RUN, dry_run=True) == 2
    assert {path for path, _ in lake.files()} == before
    assert prune_models(store, lake, RUN, as_of=RUN) == 2
    assert prune_models(store, lake, RUN, as_of=RUN) == 0
    gone = versions[1:3]
    left = {path for path, _ in lake.files()}
    manifests = {f"models/{one}/manifest.json" for one in gone}
    assert {path for path in before - left if path.endswith("manifest.json")} == manifests
    assert get_version(store, gone[0])["held_out_path"] in before - left
    assert read_predictions(lake, get_version(store, gone[0])) is None
    with store.read() as connection:
        assert named_files(connection) == left == set(connection.scalars(sa.select(LakeFile.path)))
    deleted = [one["model_version"] for one in list_versions(store) if one["files_deleted_at"] == RUN]
    assert sorted(deleted) == sorted(gone)
    for use in (load_model, lambda *place: promote(*place, who="mara", reason="", at=RUN)):
        with pytest.raises(AxiswatchError, match=r"by the retention run of 2026-04-11T00:00:00Z \(setting superseded"):
            use(store, lake, gone[0])
    for one in (versions[0], *versions[3:]):
        load_model(store, lake, one)


def test_who_has_read_a_model_that_is_deleted_meanwhile_cannot_promote_it(
    store: Store, lake: Lake, versions: list[str]
) -> None:
    prune_models(store, lake, RUN, as_of=RUN)
    with store.write() as connection, pytest.raises(AxiswatchError, match="train again"):
        set_champion(connection, "acceleration", versions[1], action="promoted", who="mara", reason="", at=RUN)


def test_training_again_brings_a_deleted_model_back(
    store: Store, lake: Lake, versions: list[str], artifacts: list[dict[str, bytes]]
) -> None:
    prune_models(store, lake, RUN, as_of=RUN)
    later = RUN + timedelta(days=1)
    assert register(store, lake, artifacts[1], ABOUT, as_of=later) == (versions[1], False)
    load_model(store, lake, versions[1])
    assert sweep_lake(store, lake, older_than=datetime.now(UTC) + timedelta(days=1)) == 0
    assert prune_models(store, lake, RUN, as_of=later) == 1, "nobody has promoted it since"


def test_a_run_that_is_killed_before_its_files_are_deleted_leaves_them_to_the_sweep(
    store: Store, lake: Lake, versions: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as killed, pytest.raises(KeyboardInterrupt):
        killed.setattr(lake, "remove", _killed)
        prune_models(store, lake, RUN, as_of=RUN)
    assert sweep_lake(store, lake, older_than=datetime.now(UTC) + timedelta(days=1)) > 0
    with store.read() as connection:
        assert named_files(connection) == {path for path, _ in lake.files()}


def _killed(path: str) -> None:
    raise KeyboardInterrupt(path)
