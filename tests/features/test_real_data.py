"""On real recordings. They are not part of the repository: `AXISWATCH_TEST_DATA` names their folder."""

import os
from pathlib import Path

import numpy as np
import pytest

from features.extract import FeatureSettings, extract, feature_names
from features.kinematics import bearing_orders
from features.quality.quality import Quality, assess
from features.windows import cut, plan_windows

ROOT = os.environ.get("AXISWATCH_TEST_DATA")
pytestmark = pytest.mark.skipif(not ROOT, reason="AXISWATCH_TEST_DATA does not name the folder of real recordings")

SETTINGS = FeatureSettings()
SKF_6205 = bearing_orders(9, 7.94, 39.04)


def read(path):
    parquet = pytest.importorskip("pyarrow.parquet")
    table = parquet.read_table(Path(ROOT) / path)
    return table, {k.decode(): v.decode() for k, v in table.schema.metadata.items()}


def files(folder, pattern="*"):
    found = sorted((Path(ROOT) / folder).glob(f"{pattern}.parquet"))
    if not found:
        pytest.skip(f"no {pattern} in {folder}")
    return [path.relative_to(ROOT) for path in found]


def windows_of(samples, rate, rpm):
    samples = np.ascontiguousarray(samples, dtype=np.float32)
    plan = plan_windows(
        samples.size, sampling_rate_hz=rate, shaft_speed_rpm=rpm, speed_is_steady=True, settings=SETTINGS.windows
    )
    return cut(samples, plan)


@pytest.mark.parametrize("pattern, line", [("IR007*", "bpfi"), ("OR007at6*", "bpfo"), ("OR021at3*", "bpfo")])
def test_cwru_faults_show_at_their_own_order(pattern, line):
    names = feature_names(SETTINGS)
    for path in files("cwru", pattern):
        table, about = read(path)
        rpm = float(about["rpm"])
        rows = extract(
            windows_of(table["DE"].to_numpy(), 12_000.0, rpm),
            sampling_rate_hz=12_000.0,
            rate_is_declared=True,
            shaft_speed_rpm=rpm,
            speed_is_steady=True,
            orders=SKF_6205,
            settings=SETTINGS,
        )
        median = dict(zip(names, np.median(rows, axis=0), strict=True))
        strongest = {}
        for version in ("low", "high", "white"):
            lines = {k: median[f"ses_{version}_{k}_h1_db"] for k in ("bpfo", "bpfi", "bsf2x")}
            strongest[version] = max(lines, key=lines.get)
            if version == "white":
                assert lines[line] > 10, path
        assert strongest["white"] == line, path
        assert line in (strongest["low"], strongest["high"]), path


def originals():
    for path in files("cwru"):
        table, about = read(path)
        for channel in table.column_names:
            rate, rpm = float(about["sampling_rate_hz"]), float(about["rpm"])
            yield "cwru", windows_of(table[channel].to_numpy(), rate, rpm), rate, rpm
    for path in files("uestc"):
        table, about = read(path)
        yield "uestc", windows_of(table["acc"].to_numpy(), 20_000.0, float(about["rpm"])), 20_000.0, float(about["rpm"])
    for path in files("femto"):
        table, _ = read(path)
        for channel in ("h_acc", "v_acc"):
            yield "femto", table[channel].to_numpy().reshape(-1, 2560), 25_600.0, 1800.0
    for path in files("robot_rv_reducer"):
        table, _ = read(path)
        for channel in ("ch0", "ch1"):
            yield "rv_reducer", table[channel].to_numpy().reshape(-1, 1024), 100_000.0, None


def test_undamaged_recordings_are_hardly_ever_flagged_and_damaged_ones_are():
    flagged: dict[str, list[bool]] = {}
    clipped: dict[str, list[bool]] = {}
    held: dict[str, list[bool]] = {}
    for name, windows, rate, rpm in originals():
        keywords = {"sampling_rate_hz": rate, "rate_is_declared": True, "shaft_speed_rpm": rpm}

        def is_(verdict, x, keywords=keywords):
            return [code is verdict for code in assess(x, settings=SETTINGS.quality, **keywords)[0]]

        flagged.setdefault(name, []).extend(not ok for ok in is_(Quality.OK, windows))
        few = windows[:20]
        rail = np.quantile(np.abs(few), 0.98, axis=1, keepdims=True).astype(np.float32)
        clipped.setdefault(name, []).extend(is_(Quality.CLIPPING, np.clip(few, -rail, rail)))
        lost = few.copy()
        lost[:, 100 : 100 + few.shape[1] // 20] = 0.0
        held.setdefault(name, []).extend(is_(Quality.DROPOUT, lost))
    assert flagged.keys() == {"cwru", "uestc", "femto", "rv_reducer"}
    for name in flagged:
        assert np.mean(flagged[name]) <= 0.05, name
        assert np.mean(clipped[name]) >= 0.9, name
        assert np.mean(held[name]) >= 0.95, name
