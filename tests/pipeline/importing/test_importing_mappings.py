"""Shipped mappings of public archives: each on small made files of the same layout."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy.io import savemat

from features.kinematics import bearing_orders
from pipeline.assets.entries import GeometryEntry
from pipeline.assets.geometry import resolve_geometry
from pipeline.importing import ImportReport, import_archive, load_mapping
from pipeline.importing.mapping import MappedGeometry

X = np.random.default_rng(3).normal(0, 1, 400).astype(np.float32)


def imported(source: Path, mapping: str) -> tuple[list[dict[str, Any]], ImportReport]:
    report = import_archive(source, mapping, source.parent / "out" / "landing")
    return [row for path in report.log_files for row in pq.read_table(path).to_pylist()], report


def by_point(rows: list[dict[str, Any]], *keys: str) -> dict[tuple[Any, ...], Any]:
    return {tuple(row[key] for key in keys): row for row in rows}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "archive"
    path.mkdir()
    return path


def test_paderborn(source: Path) -> None:
    """The order of the signals in Y differs; their names do not."""
    for bearing, order in (("K001", 1), ("KA04", -1), ("KB27", 1)):
        names = ["force", "phase_current_1", "phase_current_2", "speed", "vibration_1"][::order]
        signals = np.zeros((1, 5), [("Name", object), ("Data", object), ("Raster", object)])
        for at, name in enumerate(names):
            slow = name in ("force", "speed")
            signals[0, at] = (
                name,
                (X[:25] if slow else X * (2 if name == "vibration_1" else 1))[None, :],
                "HostService",
            )
        stem = f"N09_M07_F10_{bearing}_1"
        (source / bearing).mkdir()
        savemat(source / bearing / f"{stem}.mat", {stem: {"Info": {"a": 1}, "Y": signals}}, do_compression=True)
    rows, report = imported(source, "paderborn")
    found = by_point(rows, "robot_id", "channel")
    assert len(found) == 9
    vibration = found["KA04", "vibration_1"]
    assert vibration["samples"] == (2 * X).tolist()
    assert [vibration[key] for key in ("shaft_speed_rpm", "load", "sampling_rate_hz", "program")] == [
        900, 1000, 64000, "M07",
    ]  # fmt: skip
    assert (report.labels, report.units) == (3, 3)


def test_mfpt(source: Path) -> None:
    for folder, name, rate in (
        ("1 - Three Baseline Conditions", "baseline_1", 97656), ("3 - Seven More", "OuterRaceFault_vload_1", 48828),
    ):  # fmt: skip
        (source / folder).mkdir()
        bearing = {"sr": float(rate), "gs": X[:, None], "load": 270.0, "rate": 25.0}
        savemat(source / folder / f"{name}.mat", {"bearing": bearing})
    rows, report = imported(source, "mfpt")
    found = by_point(rows, "unit_serial")
    assert [found[unit,]["sampling_rate_hz"] for unit in ("baseline", "OuterRaceFault")] == [97656, 48828]
    assert found["baseline",]["load"] == 270
    assert (report.labels, report.units) == (2, 2)


def test_xjtu_sy(source: Path) -> None:
    """Minute 10 comes after minute 9."""
    folder = source / "37.5Hz11kN" / "Bearing2_1"
    folder.mkdir(parents=True)
    for minute in range(1, 12):
        lines = "".join(f"{x},{minute}\n" for x in X[:50].tolist())
        (folder / f"{minute}.csv").write_text(f"Horizontal_vibration_signals,Vertical_vibration_signals\n{lines}")
    rows, _ = imported(source, "xjtu_sy")
    vertical = sorted((row for row in rows if row["channel"] == "vertical"), key=lambda row: row["started_at"])
    assert [row["samples"][0] for row in vertical] == list(range(1, 12))
    assert {(row["shaft_speed_rpm"], row["load"], row["unit_serial"]) for row in rows} == {(2250, 11, "Bearing2_1")}


@pytest.mark.parametrize(("mapping", "folder", "width"), [("ims_1st", "1st_test", 8), ("ims", "2nd_test", 4)])
def test_ims(source: Path, mapping: str, folder: str, width: int) -> None:
    (source / folder).mkdir()
    lines = "".join("\t".join(f"{x + at:.3f}" for at in range(width)) + "\n" for x in X[:50].tolist())
    for name in ("2003.10.22.12.06.24", "2003.10.22.12.09.13"):
        (source / folder / name).write_text(lines)
    (source / "README.pdf").write_text("other")
    rows, report = imported(source, mapping)
    assert (len(rows), report.units) == (2 * width, 4)
    last = by_point(rows, "axis", "channel", "started_at")
    assert min(row["started_at"] for row in rows).isoformat() == "2003-10-22T12:06:24+00:00"
    channel = "y" if width == 8 else "x"
    samples = next(row["samples"] for key, row in last.items() if key[:2] == ("bearing4", channel))
    assert np.allclose(samples, X[:50] + width - 1, atol=1e-3)


def test_ur_rtde(source: Path) -> None:
    names = ["timestamp", *(f"{name}_{at}" for name in ("target_qd", "actual_qd", "actual_current") for at in range(6))]
    lines = [" ".join(names)]
    lines += [" ".join(map(str, [round(4711 + n * 0.008, 3), *[n] * 17, -n])) for n in range(300)]
    (source / "robot_data.csv").write_text("\r\n".join(lines) + "\r\n")
    rows, _ = imported(source, "ur_rtde")
    found = by_point(rows, "axis")
    assert len(found) == 6
    assert found["J5",]["samples"] == [-n for n in range(300)]
    assert (found["J0",]["robot_id"], found["J0",]["sampling_rate_hz"]) == ("robot_data", 125)


def test_voraus_ad(source: Path) -> None:
    n = 3 * 100
    signals = {f"{name}_{at}": np.arange(n) * at for name in ("motor_torque", "motor_iq") for at in range(1, 7)}
    table = {"time": np.arange(n) / 100, "sample": np.repeat([0, 1, 5], 100), "anomaly": np.repeat([False, True], 150)}
    pq.write_table(pa.table({**table, **signals}), source / "voraus-ad-dataset-100hz.parquet")
    rows, report = imported(source, "voraus_ad")
    assert (report.recordings, report.units) == (3 * 12, 6)
    assert {(len(row["samples"]), row["sampling_rate_hz"], row["unit"]) for row in rows} == {(100, 100, "raw")}


def test_a_bearing_behind_a_reducer_has_the_same_orders_in_an_evaluation_as_in_the_registry(tmp_path: Path) -> None:
    text = (
        "bpfo = 1.792\nbpfi = 2.708\nbsf = 1.1785\nftf = 0.1991\ngear_mesh = [20.0]\nshafts = [0.5]\nsource = 'made'\n"
    )
    for more in ("", "inner_ring = 0.5\n"):
        mapped = MappedGeometry.model_validate(tomllib.loads(text + more))
        written = tomllib.loads(f"[geometry.g]\n{text}{more}")["geometry"]["g"]
        assert mapped.orders == resolve_geometry("g", GeometryEntry.model_validate(written), {}, {}).orders
        assert (mapped.orders.inner_ring, mapped.orders.shafts) == (0.5, (0.5,))


@pytest.mark.parametrize(
    ("mapping", "name", "elements", "diameter", "pitch", "angle"),
    [
        ("mfpt", "nice", 8, 0.235, 1.245, 0.0),
        ("xjtu_sy", "ldk_uer204", 8, 7.92, 34.55, 0.0),
        ("ims", "rexnord_za2115", 16, 0.331, 2.815, 15.17),
        ("ims_1st", "rexnord_za2115", 16, 0.331, 2.815, 15.17),
    ],
)
def test_orders_are_those_of_the_published_sizes(
    mapping: str, name: str, elements: int, diameter: float, pitch: float, angle: float
) -> None:
    geometry = load_mapping(mapping).geometry[name]
    expected = bearing_orders(elements, diameter, pitch, angle)
    for key in ("bpfo", "bpfi", "bsf", "ftf"):
        assert getattr(geometry, key) == pytest.approx(getattr(expected, key), rel=2e-4), key
    assert str(diameter) in geometry.source


def test_every_shipped_mapping_is_listed_in_the_guide() -> None:
    root = Path(__file__).parents[3]
    listed = (root / "docs" / "mapping.md").read_text()
    for path in (root / "pipeline" / "mappings").glob("*.toml"):
        name = tomllib.loads(path.read_text())["name"]
        assert name == path.stem
        assert f"`{name}`" in listed
