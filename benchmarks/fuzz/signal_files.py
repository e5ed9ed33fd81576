"""Small signal files of the formats that are not text, Parquet or MATLAB v5: the same signal in each."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import soundfile
from nptdms import ChannelObject, RootObject, TdmsWriter
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

RATE = 1000.0
X = np.random.default_rng(5).normal(0, 0.2, 600).astype(np.float32).astype(np.float64)
START_NS = 1_777_615_200_000_000_000  # 2026-05-01T06:00:00Z


def hdf5(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file.create_dataset("run/acc", data=np.stack([X, -X], 1), chunks=(100, 2), compression="gzip", fletcher32=True)
        file["run/acc"].attrs["rate"] = RATE
        file["run"].attrs["start"] = "2026-05-01T06:00:00Z"
        file["run/t"] = np.arange(len(X)) / RATE
        file["run/state"] = [b"on"] * 300 + [b"off"] * 300
        file["run/wide"] = X.reshape(2, 300)
        table = np.zeros(len(X), [("acc", "f4"), ("n", "i8")])
        table["acc"] = X
        file["run/table"] = table


def mat73(path: Path) -> None:
    """What MATLAB's save(..., '-v7.3') writes: dimensions turned, structs as groups, cells as references."""
    with h5py.File(path, "w", userblock_size=512) as file:
        refs = file.create_group("#refs#")

        def put(group: Any, name: str, values: np.ndarray, kind: str = "double") -> Any:
            dataset = group.create_dataset(name, data=values)
            dataset.attrs["MATLAB_class"] = np.bytes_(kind)
            return dataset

        def text(group: Any, name: str, value: str) -> Any:
            return put(group, name, np.array([[ord(letter)] for letter in value], np.uint16), "char")

        bearing = file.create_group("bearing")
        put(bearing, "gs", X[None, :])
        put(bearing, "sr", np.array([[RATE]]))
        put(file, "both", np.stack([X, -X]))
        channels = file.create_group("Y")
        names = [text(refs, f"n{at}", name).ref for at, name in enumerate(("force", "vibration"))]
        data = [put(refs, f"d{at}", values[None, :]).ref for at, values in enumerate((X[:30], X))]
        channels.create_dataset("Name", data=np.array([names], dtype=object).T, dtype=h5py.ref_dtype)
        channels.create_dataset("Data", data=np.array([data], dtype=object).T, dtype=h5py.ref_dtype)
        cells = file.create_dataset("c", data=np.array([data], dtype=object).T, dtype=h5py.ref_dtype)
        cells.attrs["MATLAB_class"] = np.bytes_("cell")
        put(file, "flag", np.array([[1]], np.uint8), "logical")
    with path.open("r+b") as raw:
        raw.write(b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM")


def tdms(path: Path) -> None:
    start = np.datetime64("2026-05-01T06:00:00")
    said: dict[str, Any] = {"wf_increment": 1 / RATE, "wf_start_time": start, "wf_start_offset": 0.0}
    with TdmsWriter(str(path)) as writer:
        for at in range(0, len(X), 200):
            channel = ChannelObject("rig", "acc", X[at : at + 200], {**said, "unit_string": "g"})
            stamps = start + (np.arange(at, at + 200) * 1000).astype("timedelta64[us]")
            times = ChannelObject("rig", "t", stamps)
            writer.write_segment([RootObject({"operator": "mara"}), channel, times])


def wav(path: Path) -> None:
    soundfile.write(path, np.stack([X, -X], 1), int(RATE), subtype="FLOAT", format="WAV")


def bag(path: Path, *, names: tuple[str, str] = ("elbow", "wrist"), swap_at: int | None = None) -> None:
    """A bag of one file, SQLite or MCAP by its suffix."""
    store = get_typestore(Stores.ROS2_JAZZY)
    made = store.types
    folder = path.with_name(f"{path.name}-bag")
    plugin = StoragePlugin.MCAP if path.suffix == ".mcap" else StoragePlugin.SQLITE3
    with Writer(folder, version=9, storage_plugin=plugin) as writer:
        joints = writer.add_connection("/joint_states", "sensor_msgs/msg/JointState", typestore=store)
        load = writer.add_connection("/load", "std_msgs/msg/Float32", typestore=store)
        for at, x in enumerate(X.tolist()):
            seconds, rest = divmod(START_NS + at * 1_000_000, 1_000_000_000)
            stamp = made["builtin_interfaces/msg/Time"](sec=seconds, nanosec=rest)
            order = slice(None, None, -1 if swap_at is not None and at >= swap_at else 1)
            values = np.array([x, -x][order])
            message = made["sensor_msgs/msg/JointState"](
                header=made["std_msgs/msg/Header"](stamp=stamp, frame_id="base"),
                name=list(names)[order],
                position=values,
                velocity=np.zeros(0),
                effort=values,
            )
            logged = START_NS + at * 1_000_000 + 5_000
            writer.write(joints, logged, store.serialize_cdr(message, "sensor_msgs/msg/JointState"))
            if at % 100 == 0:
                one = made["std_msgs/msg/Float32"](data=float(at))
                writer.write(load, logged, store.serialize_cdr(one, "std_msgs/msg/Float32"))
    (found,) = folder.glob(f"*{path.suffix}")
    found.replace(path)
    shutil.rmtree(folder)


def uff(path: Path, *, is_binary: bool = False, is_even: bool = True, precision: int = 4, n: int = len(X)) -> None:
    """Two datasets 58 in the columns of the standard."""
    with path.open("wb") as file:
        for number, values in enumerate((X[:n], -X[:n]), 1):
            ids = "".join(
                f"{text:<80}\n" for text in (f"channel {number}", "NONE", "01-May-26 06:00:00", "NONE", "NONE")
            )
            axis = f"{0:>10}{0:>5}{0:>5}{0:>5} {'NONE':<20} {'NONE':<20}\n"
            head = (
                f"{ids}{1:>5}{0:>10}{0:>5}{0:>10} {'NONE':<10}{number:>10}{3:>4} {'NONE':<10}{0:>10}{0:>4}\n"
                f"{precision:>10}{n:>10}{int(is_even):>10}{0:>13.5e}{1 / RATE if is_even else 0:>13.5e}{0:>13.5e}\n"
                f"{17:>10}{0:>5}{0:>5}{0:>5} {'Time':<20} {'s':<20}\n"
                f"{12:>10}{0:>5}{0:>5}{0:>5} {'Acceleration':<20} {'m/s^2':<20}\n{axis}{axis}"
            )
            item = np.dtype([("y", f"<f{2 * precision}")] if is_even else [("x", "<f4"), ("y", f"<f{2 * precision}")])
            numbers = np.zeros(n, item)
            numbers["y"] = values
            first = (
                f"    58{f'b{1:>6}{2:>6}{11:>12}{numbers.nbytes:>12}{0:>6}{0:>6}{0:>12}{0:>12}' if is_binary else ''}"
            )
            file.write(f"    -1\n{first}\n{head}".encode())
            if is_binary:
                file.write(numbers.tobytes())
            else:
                ordinates = [f"{one:>20.11e}" if precision == 4 else f"{one:>13.5e}" for one in values.tolist()]
                cells = ordinates if is_even else [f"{0:>13.5e}{one}" for one in ordinates]
                per = 80 // len(cells[0])
                lines = ["".join(cells[at : at + per]) for at in range(0, n, per)]
                file.write(("\n".join(lines) + "\n").encode())
            file.write(b"    -1\n" if not is_binary else b"\n    -1\n")


MAKERS = {"hdf5": hdf5, "mat": mat73, "tdms": tdms, "wav": wav, "rosbag2": bag, "mcap": bag, "uff": uff}
PLACES = {
    "hdf5": "run/acc[:, 0]",
    "mat": "bearing.gs",
    "tdms": "rig/acc",
    "wav": "1",
    "rosbag2": "/joint_states.effort[elbow]",
    "mcap": "/joint_states.effort[elbow]",
    "uff": "1",
}
"""The name of the signal in a file of each format."""

SUFFIXES = {"hdf5": ".h5", "mat": ".mat", "rosbag2": ".db3"}


def make(folder: Path, form: str, stem: str = "a") -> Path:
    """Make a file of a format and return its path."""
    path = folder / f"{stem}{SUFFIXES.get(form, f'.{form}')}"
    MAKERS[form](path)
    return path
