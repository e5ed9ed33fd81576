"""Settings: which source wins, what is refused, and what `axiswatch config` says of them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from pipeline.base.errors import SettingsError
from pipeline.base.settings import Settings
from pipeline.base.sources import load_settings
from pipeline.cli.config import explain


@pytest.fixture(autouse=True)
def clean(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No `AXISWATCH_*` variable, and an empty working directory."""
    for name in [name for name in os.environ if name.upper().startswith("AXISWATCH_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(text: str, name: str = "axiswatch.toml") -> Path:
    Path(name).write_text(text, encoding="utf-8")
    return Path(name)


def test_environment_beats_file_beats_default(monkeypatch: pytest.MonkeyPatch) -> None:
    default = load_settings().epochs
    write(f"epochs = {default + 1}\nseed = 7\n")
    assert load_settings().epochs == default + 1
    monkeypatch.setenv("AXISWATCH_EPOCHS", str(default + 2))
    settings = load_settings()
    assert (settings.epochs, settings.seed, settings.folds) == (default + 2, 7, Settings.model_fields["folds"].default)


def test_empty_variable_counts_as_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    write("seed = 7\n")
    monkeypatch.setenv("AXISWATCH_SEED", "")
    assert load_settings().seed == 7
    assert {line.name: line.source for line in explain(load_settings())}["seed"] == "axiswatch.toml"


def test_named_file_beats_the_one_in_the_working_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    write("seed = 7\n")
    other = write("seed = 8\n", "other.toml")
    monkeypatch.setenv("AXISWATCH_CONFIG", str(other))
    assert load_settings().seed == 8
    monkeypatch.setenv("AXISWATCH_CONFIG", "gone.toml")
    with pytest.raises(SettingsError, match=r"names gone\.toml, which is not a file"):
        load_settings()


def test_lists_and_tables_from_both_sources(monkeypatch: pytest.MonkeyPatch) -> None:
    write("hidden = [8, 8]\n[evidence_weights]\nsignal_only = 0.1\n")
    settings = load_settings()
    assert (settings.hidden, settings.evidence_weights["signal_only"]) == ((8, 8), 0.1)
    monkeypatch.setenv("AXISWATCH_HIDDEN", "[16]")
    assert load_settings().hidden == (16,)


def test_places_follow_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AXISWATCH_HOME", "here")
    settings = load_settings()
    assert settings.database == f"sqlite:///{tmp_path / 'here' / 'axiswatch.db'}"
    assert settings.lake == str(tmp_path / "here" / "lake")
    assert settings.landing_zone == Path("here/landing")
    monkeypatch.setenv("AXISWATCH_LAKE_URL", "s3://bucket/lake")
    monkeypatch.setenv("AXISWATCH_LANDING", "/drop")
    settings = load_settings()
    assert (settings.lake, settings.landing_zone) == ("s3://bucket/lake", Path("/drop"))


def test_everything_wrong_is_listed_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    write("epoch = 3\nfolds = 1\n[evidence_weights]\ninspected = 'much'\n")
    monkeypatch.setenv("AXISWATCH_SEEDS", "1")
    monkeypatch.setenv("AXISWATCH_DROPOUT", "1.5")
    monkeypatch.setenv("AXISWATCH_WINDOW_MODE", "days")
    with pytest.raises(SettingsError) as caught:
        load_settings()
    text = str(caught.value)
    for wanted in (
        "environment variable AXISWATCH_SEEDS is no setting",
        "epoch: Extra inputs are not permitted",
        "folds: Input should be greater than or equal to 2",
        "evidence_weights.inspected: ",
        "dropout: Input should be less than 1",
        "window_mode: Input should be 'turns' or 'samples'",
        "axiswatch.toml",
        "docs/settings.md lists all settings",
    ):
        assert wanted in text
    assert text.count("\n  - ") == 6
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"n_samples": 100, "sub_bank_size": 30}, "must be at least two whole sub-banks"),
        ({"n_samples": 10, "sub_bank_size": 10}, "must be at least two whole sub-banks"),
        ({"debounce_hits": 4, "debounce_span": 3}, "debounce_hits must not be above"),
        ({"database_url": "no url"}, "database_url is no SQLAlchemy URL"),
        ({"hidden": ()}, "hidden: "),
        ({"workers": 0}, "workers: "),
        ({"window_turns": float("nan")}, "window_turns: "),
    ],
)
def test_values_that_do_not_go_together(values: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        load_settings(**values)


@pytest.mark.parametrize("weight", [-0.1, float("nan"), float("inf")])
def test_weight_of_evidence_is_a_number_from_0_on(weight: float) -> None:
    assert load_settings(evidence_weights={"inspected": 0.0}).evidence_weights == {"inspected": 0.0}
    with pytest.raises(SettingsError, match=r"evidence_weights\.inspected: Input should be ") as caught:
        load_settings(evidence_weights={"inspected": weight})
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("text", ["seed = ", "seed == 1", "\x00"])
def test_file_that_is_no_toml(text: str) -> None:
    write(text)
    with pytest.raises(SettingsError, match=r"axiswatch\.toml is not TOML"):
        load_settings()


def test_variable_that_cannot_be_read_as_a_list(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AXISWATCH_HIDDEN", "16,16")
    with pytest.raises(SettingsError, match="hidden"):
        load_settings()


def test_settings_are_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        load_settings().seed = 3  # type: ignore[misc]


def test_explain_names_every_setting_its_source_and_its_meaning(monkeypatch: pytest.MonkeyPatch) -> None:
    write("seed = 7\nfolds = 3\n")
    monkeypatch.setenv("AXISWATCH_FOLDS", "4")
    lines = {line.name: line for line in explain(load_settings())}
    assert set(lines) == set(Settings.model_fields)
    assert (lines["seed"].value, lines["seed"].source) == ("7", "axiswatch.toml")
    assert (lines["folds"].value, lines["folds"].source) == ("4", "AXISWATCH_FOLDS")
    assert lines["epochs"].source == "default"
    assert all(line.description.endswith(".") for line in lines.values())
    assert lines["lake_url"].value.endswith("/.axiswatch/lake")
    assert lines["landing"].value == ".axiswatch/landing"


def test_passwords_are_masked(monkeypatch: pytest.MonkeyPatch, cli: Any) -> None:
    url = "postgresql+psycopg://axis:s3cret@db/axiswatch"
    monkeypatch.setenv("AXISWATCH_DATABASE_URL", url)
    (line,) = [line for line in explain(load_settings()) if line.name == "database_url"]
    assert line.value == "postgresql+psycopg://axis:***@db/axiswatch"
    ended = cli("config", "--json", database_url=url)
    assert "axis:***@db" in ended.out
    assert "s3cret" not in ended.out + ended.err


def test_command_ends_with_2_and_one_message(cli: Any) -> None:
    ended = cli("config", epochs="many", nonsense="1")
    assert (ended.code, ended.out) == (2, "")
    assert "AXISWATCH_NONSENSE is no setting" in ended.err
    assert "epochs: " in ended.err
    assert "Traceback" not in ended.err


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("silent_after_hours", "inf"),
        ("case_gap_hours", "1e300"),
        ("recheck_after_hours", "inf"),
        ("settle_seconds", "inf"),
        ("hidden", "[0]"),
        ("learning_rate", "nan"),
    ],
)
def test_values_that_no_step_could_work_with_are_refused(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(f"AXISWATCH_{name.upper()}", value)
    with pytest.raises(SettingsError, match=name):
        load_settings()
