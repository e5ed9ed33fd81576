"""A run costs what is new: none of its statements has to read a whole table that grows with history."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from benchmarks.costs.query_work import recorded, scans_of_history
from pipeline.base.settings import Settings
from pipeline.promotion.decisions import new_labels
from pipeline.steps import MONITOR
from pipeline.store.database import Store
from pipeline.store.tables import Recording, Scoring
from pipeline.training.train import train_scopes
from pipeline.workplace import Workplace


@pytest.mark.parametrize("what", ["new", "nothing"])
def test_no_statement_of_a_run_reads_a_whole_table_of_history(
    extracted_fleet: Any,
    store: Store,
    tmp_path: Path,
    make_row: Callable[..., dict[str, Any]],
    write_log: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
    what: str,
) -> None:
    settings = Settings(home=tmp_path, workers=1, epochs=2, folds=2, n_samples=20, synthetic_windows=10)
    lake = extracted_fleet.copy_to(store, tmp_path)
    place = Workplace(settings, store, lake)
    train_scopes(store, lake, settings, as_of=extracted_fleet.end)
    for step in MONITOR:
        step.run(place, extracted_fleet.end)
    later = extracted_fleet.end + timedelta(hours=1)
    if what == "new":
        with store.read() as connection:
            old = connection.scalar(sa.select(Recording.unit_serial).where(Recording.unit_serial.is_not(None)).limit(1))
        rows = [make_row(0, started_at=extracted_fleet.end, unit_serial=old), make_row(0, started_at=later)]
        write_log(settings.landing_zone / "new.parquet", rows)
    if store.is_sqlite:  # with so few rows counted, its planner would rightly read all of them
        with store.engine.begin() as connection:
            connection.exec_driver_sql("DELETE FROM sqlite_stat1")
        store.dispose()
    writes: list[str] = []
    write = Store.write
    monkeypatch.setattr(Store, "write", lambda self: writes.append("a transaction") or write(self))
    with recorded() as statements:
        reports = {step.name: step.run(place, later) for step in MONITOR}
        news = new_labels(store, settings, as_of=later)
    assert bool(writes) == (what == "new")
    assert news > 0, "no retraining has used the labels of the fleet"
    assert reports["score"]["recordings"] == (2 if what == "new" else 0)
    with store.read() as connection:
        assert connection.scalar(sa.select(sa.func.count()).select_from(Scoring)) > 100
    scans = scans_of_history(store, statements)
    # The landing zone is listed as it is; an index of pending rows alone may be read whole.
    assert [
        scan for scan in scans if scan["table"] != "landing_entries" and "advised IS false" not in scan["statement"]
    ] == []
