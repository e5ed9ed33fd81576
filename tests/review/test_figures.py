"""What is drawn and played, without a browser: changed features in words, floors, waterfalls, sound, levels, trends."""

from __future__ import annotations

import base64
import io
import shutil
import wave
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa
from fastapi.testclient import TestClient
from hypothesis import given
from hypothesis import strategies as st

from features.health.baseline import Reference
from features.settings import FeatureSettings, feature_names
from pipeline.accounts import add_user, make_token
from pipeline.base.settings import Settings
from pipeline.cases.evidence import newest_extraction
from pipeline.store.database import Store
from pipeline.store.lake import Lake
from pipeline.store.tables import Extraction, Recording, Score
from review.app import create_app
from review.figures.case import case_figures
from review.figures.feature_words import GROUPS, words_of
from review.figures.moved import moved_features
from review.figures.signals import floor_of, rounded, spectra
from review.figures.sound import HIGHEST_HZ, LOWEST_HZ, wav_of
from review.figures.waterfall import COLUMNS, waterfall

AT = datetime(2026, 3, 1, tzinfo=UTC)
NAMES = feature_names(FeatureSettings())
RATE_HZ = 10_000.0


def reference_of(values: dict[str, tuple[float, float]]) -> tuple[Reference, np.ndarray[Any, Any]]:
    """A baseline in which nothing moved but what is named: median and spread."""
    median, spread = np.zeros(len(NAMES)), np.full(len(NAMES), 10.0)
    for name, (middle, width) in values.items():
        median[NAMES.index(name)], spread[NAMES.index(name)] = middle, width
    return Reference(median, spread), median.copy()


@pytest.mark.parametrize("language", ["en", "ko"])
def test_every_feature_has_words_and_a_group(language: str) -> None:
    told = {name: words_of(name, language) for name in NAMES}
    assert {words.group for words in told.values()} == set(GROUPS)
    assert all("_" not in words.name for words in told.values()), "no name of a column"
    assert len({words.name for words in told.values()}) == len(NAMES), "no two features are called the same"
    if language == "ko":
        latin = [words.name for words in told.values() if not any("가" <= letter <= "힣" for letter in words.name)]
        assert all("Hz" in name for name in latin), latin


def test_a_spread_near_nothing_does_not_bury_the_rest() -> None:
    """A width that had been the same on all days, a little wider now, against a line that rose by 20 dB."""
    reference, now = reference_of({"best_band_width_hz": (760.0, 1e-3), "ses_best_bpfo_h1_db": (1.0, 1.5)})
    now[NAMES.index("best_band_width_hz")] += 380.0
    now[NAMES.index("ses_best_bpfo_h1_db")] += 20.0
    rows = moved_features(now, reference, NAMES, unit="g", language="en")
    assert [row["name"] for row in rows] == ["ses_best_bpfo_h1_db"]
    assert rows[0]["change_text"] == "+20.0 dB"
    assert "outer race" in rows[0]["text"]


@given(
    st.sampled_from(NAMES), st.floats(-5, 5, allow_nan=False), st.floats(-1e6, 1e6), st.sampled_from([0.0, 1e-12, 1.0])
)
def test_distances_have_an_end_and_words(name: str, middle: float, step: float, spread: float) -> None:
    reference, now = reference_of({name: (middle, spread)})
    now[NAMES.index(name)] += np.clip(step, -100, 100) if name.endswith(("log10", "power", "log10_hz")) else step
    for row in moved_features(now, reference, NAMES, unit="g", language="ko"):
        assert abs(row["sigmas"]) <= 30
        assert row["was_text"] and row["now_text"] and row["change_text"]


def test_of_features_about_the_same_one_is_enough() -> None:
    lines = [name for name in NAMES if "_bpfo_" in name and name.endswith("_db")]
    reference, now = reference_of({name: (0.0, 1.5) for name in lines} | {"rms_log10": (-0.3, 0.05)})
    for name in lines:
        now[NAMES.index(name)] += 12.0
    now[NAMES.index("rms_log10")] += np.log10(3.0)
    rows = moved_features(now, reference, NAMES, unit="g", language="en")
    assert [row["group"] for row in rows] == ["level", "bearing"]
    assert (rows[0]["was_text"], rows[0]["now_text"], rows[0]["change_text"]) == ("0.501 g", "1.50 g", "× 3.00")


def test_a_line_stands_over_its_floor() -> None:
    """White noise of power 1 a bin and a line 20 dB above it."""
    power = np.random.default_rng(1).exponential(1.0, 5000)
    power[1200] = 100.0
    floor = floor_of(power, 0.5)
    near = floor["power"][int(np.argmin(np.abs(np.array(floor["hz"]) - 600.0)))]
    assert 10 * np.log10(100.0 / near) == pytest.approx(20 - 10 * np.log10(np.log(2)), abs=0.7), "a median, not a mean"


@given(st.lists(st.floats(-1e12, 1e12, allow_nan=False), max_size=20), st.integers(3, 7))
def test_rounding_keeps_the_digits_that_count(values: list[float], digits: int) -> None:
    for value, told in zip(values, rounded(np.array(values), digits=digits), strict=True):
        assert told == pytest.approx(value, rel=0.51 * 10.0 ** (1 - digits), abs=1e-280)
        assert abs(value) < 1e-280 or len(f"{told:.14e}".partition("e")[0].rstrip("0")) <= digits + 2


def test_spectra_are_sent_in_few_bytes() -> None:
    noise = np.random.default_rng(2).normal(0, 0.123456789, 16_384).astype(np.float32)
    told = spectra(noise, RATE_HZ, FeatureSettings())
    assert max(len(repr(value)) for value in told["spectrum"]["rms"]) <= 10
    assert max(len(repr(value)) for value in told["spectrum"]["hz"]) <= 9


def test_ready_values_and_single_samples_have_no_spectrum() -> None:
    nothing = {"spectrum": None, "envelope": None}
    values = np.arange(100, dtype=np.float32)
    assert spectra(values, 1.0, FeatureSettings(overall="rms_log10")) == nothing
    assert spectra(values[:1], RATE_HZ, FeatureSettings()) == nothing
    row = SimpleNamespace(recording_id="r", started_at=AT, sampling_rate_hz=1.0, shaft_speed_rpm=None)
    assert waterfall([(row, values)], "spectrum", FeatureSettings(overall="rms_log10"))["rows"] == []


def row_at(speed_rpm: float | None, rate_hz: float = RATE_HZ) -> Any:
    return SimpleNamespace(recording_id="r", started_at=AT, sampling_rate_hz=rate_hz, shaft_speed_rpm=speed_rpm)


def test_a_line_of_an_order_stands_still_in_the_waterfall() -> None:
    """A tone at 4.7 times the shaft, at two speeds: the same bright column, and dark beside it."""
    at, noise = np.arange(16_384) / RATE_HZ, np.random.default_rng(3).normal(0, 0.3, 16_384)
    recordings = [
        (row_at(speed), (np.sin(2 * np.pi * 4.7 * speed / 60 * at) + noise).astype(np.float32))
        for speed in (900.0, 1500.0)
    ]
    told = waterfall(recordings, "spectrum", FeatureSettings())
    assert told["in_orders"]
    for row in told["rows"]:
        values = np.frombuffer(base64.b64decode(row["values"]), np.uint8)
        assert len(values) == COLUMNS
        assert abs((int(np.argmax(values)) + 0.5) * told["to"] / COLUMNS - 4.7) <= told["to"] / COLUMNS
        assert values.max() == 255
        assert np.median(values) < 40
    unknown = waterfall([(row_at(None), recordings[0][1])], "envelope", FeatureSettings())
    assert (unknown["in_orders"], unknown["to"]) == (False, 1000.0)


@pytest.mark.parametrize("rate_hz", [500.0, 12_800.0, 97_656.25])
def test_a_tone_keeps_its_pitch_as_sound(rate_hz: float) -> None:
    tone = 3.0 + 2.0 * np.sin(2 * np.pi * 120.0 * np.arange(int(rate_hz)) / rate_hz)
    body, scale = wav_of(tone.astype(np.float32), rate_hz)
    with wave.open(io.BytesIO(body)) as file:
        played = file.getframerate()
        samples = np.frombuffer(file.readframes(file.getnframes()), "<i2").astype(float) / 32767
    assert LOWEST_HZ <= played <= HIGHEST_HZ
    strongest = np.argmax(np.abs(np.fft.rfft(samples))) * played / len(samples)
    assert strongest == pytest.approx(120.0, abs=1.5)
    assert abs(samples).max() <= 0.91, "it is never at full scale"
    assert abs(samples[0]) < 0.01, "it begins softly"
    assert abs(samples).max() * scale == pytest.approx(2.0, rel=0.1), "the mean is off, the scale tells the unit"


def test_silence_and_holes_are_sound_too() -> None:
    for samples in (np.zeros(100), np.array([np.nan, np.inf, 1.0, -1.0]), np.empty(0)):
        body, scale = wav_of(samples.astype(np.float32), 10_000)
        assert body[:4] == b"RIFF"
        assert np.isfinite(scale)


@pytest.fixture
def client(prepared: Path) -> TestClient:
    """A program over the plant of the browser tests, which it only reads."""
    settings = Settings(home=prepared, workers=1)
    store = Store.open(settings.database)
    app = create_app(store, Lake(settings.lake), settings, clock=lambda: AT)
    if not (prepared / "token").exists():
        add_user(store, "program", "viewer", "a long password", at=AT)
        (prepared / "token").write_text(make_token(store, "program", purpose="test", at=AT, days=1))
    return TestClient(app, headers={"Authorization": f"Bearer {(prepared / 'token').read_text()}"})


def test_recordings_are_chosen_within_the_axis(client: TestClient) -> None:
    told = client.get("/api/v1/cases/case0/figures").json()
    parts = [client.get(f"/api/v1/cases/case0/figures?part={part}").json() for part in ("signals", "changes")]
    assert parts[0] | parts[1] == told
    assert not set(parts[0]) & set(parts[1])
    other = told["dates"][0]["recording_id"]
    chosen = client.get(
        f"/api/v1/cases/case0/figures?recording={other}&other={told['recording']['recording_id']}"
    ).json()
    assert chosen["recording"]["recording_id"] == other
    assert chosen["reference"]["recording_id"] == told["recording"]["recording_id"]
    foreign = client.get("/api/v1/cases/case1/figures").json()["recording"]["recording_id"]
    assert client.get(f"/api/v1/cases/case0/figures?recording={foreign}").status_code == 404
    assert client.get("/api/v1/recordings/none/sound").status_code == 404


def test_the_health_index_is_told_with_its_channel(client: TestClient) -> None:
    figures = client.get("/api/v1/cases/case0/figures?channel=acc_y").json()
    assert [trend["channel"] for trend in figures["trends"]] == ["acc_y"]
    (trend,) = figures["trends"]
    assert len(trend["at"]) == len(trend["index"]) == len(trend["median"]) == 8
    assert trend["index"][-1] > 5 > trend["index"][1], "the tone came after a day"
    axis = client.get("/api/v1/cases/case0").json()["axis_id"]
    assert [one["channel"] for one in client.get(f"/api/v1/axes/{axis}/trend").json()] == ["acc_x", "acc_y"]
    assert client.get("/api/v1/axes/none/trend").status_code == 404


def test_vibration_velocities_have_borrowed_limits_where_a_group_is_declared(client: TestClient) -> None:
    """A mean of 10 to 1000 Hz of each recording; without a group no limit, and no alarm comes of either."""
    axis = client.get("/api/v1/cases/case0").json()["axis_id"]
    velocity = client.get(f"/api/v1/axes/{axis}/trend").json()[0]["velocity"]
    assert len(velocity["at"]) == len(velocity["mm_s"]) == 8
    assert all(value > 0 for value in velocity["mm_s"])
    assert velocity["limits"] == []
    client.app.state.settings = client.app.state.settings.model_copy(update={"iso_20816_3": "2 rigid"})
    for trends in (
        client.get(f"/api/v1/axes/{axis}/trend").json(),
        client.get("/api/v1/cases/case0/figures?part=changes").json()["trends"],
    ):
        assert trends[0]["velocity"]["limits"] == [1.4, 2.8, 4.5]


def test_the_waterfall_has_a_row_for_each_recording(client: TestClient) -> None:
    told = client.get("/api/v1/cases/case0/waterfall?channel=acc_x&kind=spectrum").json()
    times = [row["started_at"] for row in told["rows"]]
    assert len(times) == 8
    assert times == sorted(times)
    assert client.get("/api/v1/cases/case0/waterfall?channel=acc_z").status_code == 404


def test_classes_and_levels_of_a_recording(prepared: Path, tmp_path: Path) -> None:
    """The mean over its windows, highest first, and never rounded to certain; of the models that the case rests on."""
    home = tmp_path / "home"
    shutil.copytree(prepared, home)
    settings = Settings(home=home, workers=1)
    store, lake = Store.open(settings.database), Lake(settings.lake)
    shown = case_figures(store, lake, settings, "case0", as_of=AT)["recording"]
    with store.write() as connection:
        row = connection.execute(sa.select(Recording).where(Recording.recording_id == shown["recording_id"])).one()
        extraction = newest_extraction(connection, row.recording_id)
        for window, share in enumerate((2e-6, 4e-6)):
            score = {"started_at": row.started_at, "recording_id": row.recording_id, "start_sample": window}
            score |= {"feature_version": extraction.feature_version, "geometry_version": extraction.geometry_version}
            score |= {"baseline_version": "", "model_version": "m", "axis_id": row.axis_id, "channel": row.channel}
            score |= {"n_window_samples": 512, "regime": "a", "quality": "ok", "evidence": "", "n_missing_features": 0}
            score |= {"class_probabilities": {"healthy": 1 - share, "ball": share}, "known_at": AT}
            connection.execute(sa.insert(Score), score)
    told = case_figures(store, lake, settings, "case0", as_of=AT)
    shares = {one["name"]: one["share"] for one in told["classes"]}
    assert shares == {"healthy": pytest.approx(1 - 3e-6, abs=1e-9), "ball": pytest.approx(3e-6, abs=1e-9)}
    assert list(shares) == ["healthy", "ball"]
    assert told["levels"] == {"alarm": pytest.approx(1 / 7, abs=1e-3), "review": pytest.approx(1 / 7, abs=1e-3)}
    # Where the shaft's own lines show another speed, the lines are marked at that speed, and the page names it.
    with store.write() as connection:
        connection.execute(sa.update(Extraction).values(measured_speed_rpm=1.05 * shown["shaft_speed_rpm"]))
    measured = case_figures(store, lake, settings, "case0", as_of=AT)
    assert measured["recording"]["shaft_speed_rpm"] == pytest.approx(1.05 * shown["shaft_speed_rpm"])
    assert measured["recording"]["declared_speed_rpm"] == shown["shaft_speed_rpm"]
    assert "declared_speed_rpm" not in told["recording"]
    hz = [[marker["hz"] for marker in one["markers"]] for one in (told, measured)]
    assert hz[1] == pytest.approx([1.05 * value for value in hz[0]])
    store.dispose()


def test_answers_are_compressed_and_files_kept_by_their_hash(client: TestClient) -> None:
    """And what is asked for without its hash is asked for again, so no browser keeps an old script."""
    figures = client.get("/api/v1/cases/case0/figures")
    assert figures.headers["content-encoding"] == "gzip"
    assert figures.headers["cache-control"].startswith("private")
    assert {"Cookie", "Authorization", "Accept-Encoding"} <= set(figures.headers["vary"].split(", "))
    page = client.get("/cases/case0")
    address = page.text.split('src="')[1].split('"')[0]
    assert "immutable" in client.get(address).headers["cache-control"]
    assert client.get(address.partition("?")[0]).headers["cache-control"] == "no-cache"
    assert client.get(address.partition("?")[0] + "?v=0").headers["cache-control"] == "no-cache"
