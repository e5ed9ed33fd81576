import dataclasses
import hashlib
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.extract import (
    FeatureSettings,
    RecordingWindows,
    extract,
    extract_together,
    feature_groups,
    feature_names,
    feature_version,
)
from features.kinematics import Orders, bearing_orders
from features.spectra.lines import LineSettings
from features.spectra.spectrum import power_spectrum
from features.windows import WindowSettings

SETTINGS = FeatureSettings()
NAMES = feature_names(SETTINGS)
BEARING = bearing_orders(9, 7.94, 39.04)
ORDERS = dataclasses.replace(BEARING, gear_mesh=(21.0, 7.3))


def run(windows, **changes):
    keywords = {
        "sampling_rate_hz": 12_000.0,
        "rate_is_declared": True,
        "shaft_speed_rpm": 1797.0,
        "speed_is_steady": True,
        "orders": ORDERS,
        "settings": SETTINGS,
        **changes,
    }
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return extract(windows, **keywords)


def noise(n, length, seed=0):
    return np.random.default_rng(seed).standard_normal((n, length)).astype(np.float32)


def missing(row):
    """Names of what is missing; the synchronous average aside, which samples over time never have."""
    gone = {name for name, value in zip(NAMES, row, strict=True) if np.isnan(value)}
    assert group("synchronous") <= gone
    return gone - group("synchronous")


def group(*names):
    return {feature for name in names for feature in feature_groups(SETTINGS)[name]}


ENVELOPES = (
    *("envelope_low", "envelope_high", "envelope_white", "envelope_best"),
    *("line_counts", "evidence", "long_lines"),
)
IN_HZ = {"spectral_centroid_hz", "rms_frequency_hz"}
BEST = {"best_band_center_hz", "best_band_width_hz", "best_band_kurtosis_log10"}


def test_names_are_unique_and_in_the_stated_order():
    assert len(NAMES) == len(set(NAMES)) == 144
    assert NAMES[0] == "rms_log10" and NAMES[-1] == "long_ses_white_bsf2x_h1_db"
    assert {"kurtosis_log10", "band_500_1000_log_power", "ses_low_bpfi_h1_db", "raw_gear_mesh_h1_db"} <= set(NAMES)
    assert tuple(name for group in feature_groups(SETTINGS).values() for name in group) == NAMES
    assert all(name == name.lower() and name.isidentifier() for name in NAMES)


def test_everything_is_there_when_everything_is_known():
    found = run(noise(3, 12_032))
    assert found.shape == (3, 144) and found.dtype == np.float32
    assert not missing(found.sum(axis=0))


@pytest.mark.parametrize("length", [512, 513, 1021, 4096, 12_032, 36_096])
def test_a_row_is_bit_equal_whatever_windows_are_beside_it(length):
    windows = noise(67, length)
    windows[::3, :: max(length // 90, 1)] += 8.0  # so that windows differ in their best band
    windows *= np.geomspace(1e-6, 1e6, 67, dtype=np.float32)[:, None]
    rpm = 20 * 60 * 12_000.0 / length
    together = run(windows, shaft_speed_rpm=rpm)
    assert np.isfinite(together[:, NAMES.index("ses_white_bpfo_h1_db")]).all()
    for n in (1, 2, 7, 64):
        for start in range(0, 67 - n + 1, max(n, 3)):
            part = run(windows[start : start + n].copy(), shaft_speed_rpm=rpm)
            assert part.tobytes() == together[start : start + n].tobytes(), (n, start)


def mixed_recordings():
    """Recordings of many lengths, rates, speeds and geometries; some of one kind, some alone in theirs."""
    rng = np.random.default_rng(5)
    geometries = (ORDERS, BEARING, None, bearing_orders(13, 3.5, 25.6), Orders(ftf=0.41, gear_mesh=(14.0,)))
    recordings = []
    for number in range(40):
        length = int(rng.choice([512, 3001, 4096, 12_032, 12_288, 20_000]))
        rate = float(rng.choice([12_000.0, 25_600.0]))
        windows = noise(int(rng.integers(1, 4)), length, seed=number)
        windows[:, :: int(rng.integers(30, 200))] += 6.0
        kept = int(rng.choice([0, 200]))
        recordings.append(
            RecordingWindows(
                windows=windows * np.float32(10.0 ** rng.uniform(-5, 5)),
                sampling_rate_hz=rate,
                rate_is_declared=bool(rng.random() < 0.9),
                shaft_speed_rpm=float(rng.uniform(6.0, 60.0) * 60.0 * rate / length),
                speed_is_steady=bool(rng.random() < 0.9),
                orders=geometries[int(rng.integers(len(geometries)))],
                samples_per_turn=200 if number % 9 == 0 else None,
                kept=(0,) if kept else (),
                kept_bins=kept,
            )
        )
    recordings[7].windows[0, 3] = np.nan
    return recordings


def test_a_recording_is_bit_equal_whatever_recordings_are_extracted_with_it():
    recordings = mixed_recordings()
    together = extract_together(recordings, SETTINGS)
    for order in (list(reversed(range(40))), [3], [0, 9, 18], list(range(0, 40, 2))):
        for place, found in zip(order, extract_together([recordings[k] for k in order], SETTINGS), strict=True):
            for name, value in vars(found).items():
                assert value.tobytes() == getattr(together[place], name).tobytes(), (place, name)
    assert np.isfinite(together[7].values[1:, 0]).all() and np.isnan(together[7].values[0]).all()
    known = [NAMES.index(name) for name in ("ses_best_bpfi_h1_db", "raw_gear_mesh_h1_db", "raw_shaft_mean14_db")]
    for column in known:
        assert sum(np.isfinite(found.values[:, column]).any() for found in together) > 8, NAMES[column]


def test_a_spectrum_that_is_asked_for_is_that_of_the_window_at_unit_variance():
    windows = 7.0 * noise(3, 4096) + 2.0
    asked = RecordingWindows(windows, 12_000.0, True, None, False, None, kept=(0, 2), kept_bins=900)
    unit = (windows[[0, 2]] - windows[[0, 2]].mean(axis=1, keepdims=True)) / windows[[0, 2]].std(axis=1, keepdims=True)
    found = extract_together([asked], SETTINGS)[0].power
    np.testing.assert_allclose(found, power_spectrum(unit)[:, :900], rtol=2e-3, atol=1e-9)


def test_bad_windows_do_not_change_their_neighbours():
    windows = noise(9, 4096)
    good = run(windows)
    windows[3] = 0.25
    windows[4, 17] = np.nan
    windows[5, 0] = -np.inf
    found = run(windows)
    assert np.isnan(found[3:6]).all()
    keep = [0, 1, 2, 6, 7, 8]
    assert found[keep].tobytes() == good[keep].tobytes()


def test_without_a_declared_rate_nothing_in_hz_or_orders_is_given():
    row = run(noise(1, 12_032), rate_is_declared=False)[0]
    assert missing(row) == IN_HZ | BEST | group("bands", "gear_mesh", "profile", "shaft", *ENVELOPES)


@pytest.mark.parametrize("change", [{"shaft_speed_rpm": None}, {"speed_is_steady": False}, {"shaft_speed_rpm": 0.0}])
def test_without_a_steady_speed_orders_are_missing_and_the_rest_is_unchanged(change):
    row = run(noise(1, 12_032), **change)[0]
    assert missing(row) == group("gear_mesh", "shaft", *ENVELOPES)
    rest = ~np.isnan(row)
    assert row[rest].tobytes() == run(noise(1, 12_032))[0][rest].tobytes()


@pytest.mark.parametrize("change", [{"shaft_speed_rpm": None}, {"speed_is_steady": False}, {"rate_is_declared": False}])
def test_samples_in_a_turn_do_not_replace_a_known_speed(change):
    windows = noise(1, 12_032)
    columns = [NAMES.index(name) for name in group("synchronous") if name != "tsa_fm4_log10"]
    assert np.isfinite(run(windows, samples_per_turn=400)[0, columns]).all()
    assert np.isnan(run(windows, samples_per_turn=400, **change)[0, columns]).all()


def test_what_the_geometry_does_not_name_is_missing():
    assert missing(run(noise(1, 12_032), orders=BEARING)[0]) == group("gear_mesh")
    nothing = missing(run(noise(1, 12_032), orders=None)[0])
    assert group("gear_mesh") <= nothing
    assert not {n for n in nothing if "shaft" in n}
    no_cage = missing(run(noise(1, 12_032), orders=dataclasses.replace(ORDERS, ftf=None))[0])
    assert no_cage == {n for n in NAMES if "_ftf_" in n or "bsf2x_sideband" in n}
    no_ball = missing(run(noise(1, 12_032), orders=dataclasses.replace(ORDERS, bsf=None))[0])
    assert {n for n in no_ball if "evidence" in n} == {
        n for n in NAMES if "evidence" in n and ("ball" in n or "margin" in n)
    }


def test_too_few_turns_give_no_orders():
    # 0.1 s at 1800 rpm: three turns, as in the snapshots of a run to failure; bins of 10 Hz.
    row = run(noise(1, 2560), sampling_rate_hz=25_600.0, shaft_speed_rpm=1800.0)[0]
    wanted = group("gear_mesh", "shaft", *ENVELOPES) | {"band_10_100_log_power", "band_10_100_share"}
    assert missing(row) == wanted
    assert "spectral_kurtosis_max_log10" not in missing(row)
    just = 60 * 12_000.0 / 12_032
    assert np.isnan(run(noise(1, 12_032), shaft_speed_rpm=7.99 * just)[0, NAMES.index("ses_white_bpfo_h1_db")])
    assert np.isfinite(run(noise(1, 12_032), shaft_speed_rpm=8.01 * just)[0, NAMES.index("ses_white_bpfo_h1_db")])


def test_a_low_rate_loses_the_bands_it_cannot_hold():
    row = run(noise(1, 4096), sampling_rate_hz=2000.0, shaft_speed_rpm=900.0)[0]
    gone = missing(row)
    assert group("envelope_low", "envelope_high") <= gone
    assert not gone & group("envelope_white")
    assert {n for n in gone if n.startswith("band")} == {
        f"band_{b}_{k}"
        for b in ("500_1000", "1000_2000", "2000_3000", "3000_4000", "4000_5000")
        for k in ("log_power", "share")
    }


def test_amplitudes_follow_the_unit_and_nothing_else_does():
    windows = noise(2, 12_032)
    first, scaled = run(windows), run(windows * np.float32(1024.0))
    for place, name in enumerate(NAMES):
        shift = {"rms_log10": 1, "peak_log10": 1, "peak_to_peak_log10": 1}.get(name, 2 if "log_power" in name else 0)
        np.testing.assert_allclose(
            scaled[:, place], first[:, place] + shift * np.log10(1024.0), rtol=1e-5, atol=1e-4, err_msg=name
        )


@pytest.mark.parametrize("scale", [1e-35, 1e-20, 1e20, 1e37])
def test_extreme_units_stay_finite(scale):
    assert not missing(run((noise(1, 4096, seed=3) / 8 * scale).astype(np.float32), shaft_speed_rpm=3600.0)[0])


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**31), offset=st.sampled_from([0.0, 1.0, -7.0]), length=st.integers(512, 3000))
def test_an_offset_changes_nothing(seed, offset, length):
    grid = np.round(noise(1, length, seed) * 64) / 64  # so that the sum is exact in float32
    first, moved = run(grid), run(grid + np.float32(offset))
    np.testing.assert_allclose(moved, first, rtol=1e-4, atol=2e-3)


def test_the_callers_windows_are_never_written_to():
    windows = noise(3, 4096) + 5
    windows[1] = 2.0
    windows[2, 9] = np.nan
    before = windows.copy()
    windows.flags.writeable = False
    run(windows)
    np.testing.assert_array_equal(windows, before)


def test_no_window_gives_no_row():
    assert run(noise(0, 4096)).shape == (0, 144)


@pytest.mark.parametrize(
    "windows",
    [np.zeros(512, np.float32), np.zeros((1, 512)), np.zeros((1, 1), np.float32), np.zeros((1, 2, 512), np.float32)],
)
def test_wrong_windows_are_refused(windows):
    with pytest.raises(ValueError, match="Windows must be a 2-D float32 array"):
        run(windows)


@pytest.mark.parametrize("rate", [0.0, -5.0, float("nan")])
def test_a_bad_rate_is_refused(rate):
    with pytest.raises(ValueError, match="sampling rate"):
        run(noise(1, 512), sampling_rate_hz=rate)


def test_feature_version_follows_every_setting():
    base = feature_version(SETTINGS)
    assert len(base) == 16 and int(base, 16) >= 0
    assert base == feature_version(FeatureSettings())
    assert base == feature_version(FeatureSettings(windows=WindowSettings(turns=30)))
    others = [
        FeatureSettings(windows=WindowSettings(turns=31)),
        FeatureSettings(windows=WindowSettings(min_samples=64)),
        FeatureSettings(lines=LineSettings(tolerance=0.03)),
        FeatureSettings(quality=dataclasses.replace(SETTINGS.quality, flat_share=0.9)),
        FeatureSettings(
            quality=dataclasses.replace(SETTINGS.quality, hum=dataclasses.replace(SETTINGS.quality.hum, share=0.6))
        ),
        FeatureSettings(band_edges_hz=(10.0, 100.0)),
        FeatureSettings(envelope_low_hz=(500.0, 2100.0)),
        FeatureSettings(envelope_min_width_hz=1000.0),
        FeatureSettings(best_band_parts=(1, 2, 4)),
        FeatureSettings(best_band_min_width_hz=400.0),
        FeatureSettings(spectral_kurtosis_samples=64),
        FeatureSettings(segment_tolerance=0.02),
        FeatureSettings(lines=LineSettings(false_rate=0.02)),
    ]
    assert len({base, *(feature_version(other) for other in others)}) == len(others) + 1


def test_feature_version_follows_the_formulas(monkeypatch):
    base = feature_version(SETTINGS)
    monkeypatch.setattr("features.settings.FORMULA_VERSION", 10_000)
    assert feature_version(SETTINGS) != base


def test_names_of_the_columns_are_frozen():
    # Rows on disk have these columns. Whoever changes them on purpose also changes this figure.
    assert hashlib.sha256("\n".join(NAMES).encode()).hexdigest()[:16] == "2e7ece78b76ad34e"


@pytest.mark.parametrize(
    "bad, word",
    [
        ({"band_edges_hz": (100.0,)}, "band_edges_hz"),
        ({"band_edges_hz": (100.0, 50.0)}, "band_edges_hz"),
        ({"band_edges_hz": (0.0, 50.0)}, "band_edges_hz"),
        ({"envelope_low_hz": (2000.0, 500.0)}, "envelope_low_hz"),
        ({"envelope_min_width_hz": 0.0}, "envelope_min_width_hz"),
        ({"best_band_min_width_hz": float("nan")}, "best_band_min_width_hz"),
        ({"best_band_parts": ()}, "best_band_parts"),
        ({"best_band_parts": (2, 2)}, "best_band_parts"),
        ({"best_band_parts": (0,)}, "best_band_parts"),
        ({"segment_tolerance": 1.0}, "segment_tolerance"),
        ({"spectral_kurtosis_samples": 33}, "spectral_kurtosis_samples"),
    ],
)
def test_bad_settings_are_refused_by_name(bad, word):
    with pytest.raises(ValueError, match=word):
        FeatureSettings(**bad)


def test_orders_beyond_the_spectrum_are_missing():
    row = run(noise(1, 12_032), orders=Orders(bpfo=900.0, gear_mesh=(0.5, 500.0)))[0]
    assert {"ses_low_bpfo_h1_db", "ses_white_bpfo_mean13_db"} <= missing(row)
    # Half an order is resolved (bin 15), the mesh at order 500 is beyond Nyquist: what is left is measured.
    assert "raw_gear_mesh_h1_db" not in missing(row)
