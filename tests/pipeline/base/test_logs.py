"""With `log_format = "json"` a run writes one JSON object a line for each step and batch, and else nothing."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from pipeline import scheduled
from pipeline.base.errors import PrerequisiteMissing
from pipeline.base.logs import log_as, logged, plain_facts
from pipeline.base.settings import Settings
from pipeline.steps import MONITOR

RUN = datetime(2026, 3, 1, tzinfo=UTC)


def lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_a_command_logs_each_step(cli: Callable[..., Any]) -> None:
    ended = cli("run", "--json", "--as-of", "2026-03-01T00:00:00Z", log_format="json")
    told = lines(ended.err)
    assert [line["task"] for line in told] == [step.name for step in MONITOR]
    assert {(line["event"], line["level"], line["run"]) for line in told} == {("done", "info", "2026-03-01T00:00:00Z")}
    reports = ended.json()
    assert [line["counts"]["recordings"] for line in told[:2]] == [
        reports[name]["recordings"] for name in list(reports)[:2]
    ]
    assert cli("run", "--json", "--as-of", "2026-03-01T00:00:00Z").err == ""


def test_a_task_logs_its_run_its_batch_and_its_error(
    make_settings: Callable[..., Settings],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    make_settings()
    monkeypatch.setenv("AXISWATCH_HOME", str(tmp_path))
    monkeypatch.setenv("AXISWATCH_LOG_FORMAT", "json")
    asked = {"from_at": "2026-01-01T00:00:00+00:00", "to_at": "2026-02-01T00:00:00+00:00"}
    assert scheduled.plan_extract(RUN, asked)["batches"] == []
    with pytest.raises(PrerequisiteMissing):
        scheduled.plan_score(RUN, model_version="none")
    planned, failed = lines(capsys.readouterr().err)
    assert planned.pop("seconds") >= 0 and planned.pop("time").endswith("Z")
    common = {"event": "done", "level": "info", "task": "plan_extract", "run": "2026-03-01T00:00:00Z"}
    assert planned == common | {
        "batch": {"between": asked},
        "counts": {"batches": 0, "recordings": 0, "size_bytes": 0},
    }
    assert (failed["event"], failed["level"], failed["task"]) == ("failed", "error", "plan_score")
    assert (failed["batch"], failed["error"]) == ({"model_version": "none"}, "PrerequisiteMissing")
    assert failed["message"].startswith("there is no model version none")
    log_as("")
    with logged("quiet", run=RUN):
        pass
    assert capsys.readouterr().err == ""


def test_only_texts_and_finite_numbers_are_facts() -> None:
    found = plain_facts({"a": 1, "b": math.nan, "c": None, "d": [1, 2], "e": {"f": "x", "g": RUN}, "h": 0.5})
    assert found == {"a": 1, "d": 2, "e": {"f": "x"}, "h": 0.5}
