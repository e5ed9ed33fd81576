"""Read the samples of one signal: its rows of the file, which of them are usable, and their times."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipeline.importing.mapping import Filters, SampleRules, TimeColumn
from pipeline.importing.problems import Complaint, SignalUnreadable
from pipeline.importing.sample_times import Times, check_rate, check_rise, parse_times
from pipeline.importing.signal_files import SignalFile


@dataclass(frozen=True)
class Asked:
    """What to read from a signal file for one signal.

    Attributes
    ----------
    file : str
        Name of the file in the manifest.
    name : str
        Name of the signal in messages: axis and channel.
    column : str
        The column (Parquet, CSV) or the pattern of the variable (MATLAB) that holds the samples.
    factor : float or None
        Value of one count; None: 1.
    rules : SampleRules
        Which rows belong to the signal, and which of them are usable.
    time : TimeColumn or None
        The declared time column.
    extra : tuple of (key, column, is a number)
        Other columns, which cutting needs.
    """

    file: str
    name: str
    column: str
    factor: float | None
    rules: SampleRules
    time: TimeColumn | None
    extra: tuple[tuple[str, str, bool], ...]

    @property
    def columns(self) -> list[tuple[str, str, bool]]:
        """Every column to read: key in the mapping, name, and whether it has to be numbers."""
        columns = [("signal.column", self.column, True), *self.extra]
        columns += [("signal.rows", name, False) for name in self.rules.rows]
        columns += [("signal.missing_where", name, False) for name in self.rules.missing_where]
        if self.time is not None:
            columns.append(("signal.time.column", self.time.column, self.time.kind != "text"))
        return columns


@dataclass(frozen=True)
class Samples:
    """The samples of one signal.

    Attributes
    ----------
    values : float array, shape (n,)
        Already multiplied by the factor.
    usable : bool array, shape (n,)
        False where the value is missing.
    columns : dict
        The columns that cutting needs, n values each.
    times : int64 array or None
        Microseconds, rising, see `sample_times.parse_times`.
    n_file : int
        Rows of the whole file.
    """

    values: NDArray[np.float64]
    usable: NDArray[np.bool_]
    columns: dict[str, pa.ChunkedArray]
    times: Times | None
    n_file: int

    def numbers(self, column: str) -> NDArray[np.float64]:
        """Return a column as floats, NaN where it is null."""
        return as_floats(self.columns[column])


def as_floats(column: pa.ChunkedArray) -> NDArray[np.float64]:
    """Return a column as 64-bit floats, NaN where it is null."""
    return np.asarray(column.cast(pa.float64(), safe=False).to_numpy(), dtype=np.float64)


def read_samples(opened: SignalFile, asked: Asked, *, rate_hz: float | None = None) -> Samples:
    """Read one signal.

    Parameters
    ----------
    opened : SignalFile
    asked : Asked
    rate_hz : float, optional
        The declared rate; where it is passed, it is checked against the time column.

    Raises
    ------
    SignalUnreadable
        With everything that is wrong with the file for this signal.
    """
    read: dict[tuple[str, bool], pa.ChunkedArray] = {}
    complaints: list[Complaint] = []
    for key, name, numeric in asked.columns:
        try:
            read[name, numeric] = opened.column(key, name, numeric=numeric)
        except SignalUnreadable as error:
            complaints += error.complaints
    if complaints:
        raise SignalUnreadable(*complaints)
    signal = read[asked.column, True]
    n_file = len(signal)
    for key, name, numeric in asked.columns:
        if len(read[name, numeric]) != n_file:
            lengths = f"{len(read[name, numeric])} values, the signal {asked.column!r} has {n_file}"
            complaints.append(Complaint(f"{key}: {name!r} of {asked.file!r} has {lengths}"))
    if complaints:
        raise SignalUnreadable(*complaints)
    rows = _matches({name: read[name, False] for name in asked.rules.rows}, asked.rules.rows, n_file)
    if asked.rules.rows and not rows.any():
        filters = "; ".join(f"{name} = {patterns}" for name, patterns in asked.rules.rows.items())
        raise SignalUnreadable(f"signal.rows: no row of {asked.file!r} matches {filters}")
    if not rows.all():
        keep = pa.array(rows)
        read = {key: column.filter(keep) for key, column in read.items()}
    values = as_floats(read[asked.column, True])
    gone = _matches(
        {name: read[name, False] for name in asked.rules.missing_where}, asked.rules.missing_where, len(values)
    )
    usable = _readings(values, asked.rules) & ~(gone if asked.rules.missing_where else np.zeros(len(values), bool))
    if asked.factor is not None:
        values = values * asked.factor
    columns = {name: read[name, numeric] for _, name, numeric in asked.extra}
    times = _times(opened, asked, read, rows, rate_hz)
    return Samples(values, usable, columns, times, n_file)


def _readings(values: NDArray[np.float64], rules: SampleRules) -> NDArray[np.bool_]:
    usable = np.isfinite(values) & ~np.isin(values, rules.missing_values)
    with np.errstate(invalid="ignore"):
        if rules.valid_min is not None:
            usable &= values >= rules.valid_min
        if rules.valid_max is not None:
            usable &= values <= rules.valid_max
    return usable


def _matches(columns: dict[str, pa.ChunkedArray], filters: Filters, n: int) -> NDArray[np.bool_]:
    """Return which rows match every filter; a null counts as empty text."""
    matching = np.ones(n, dtype=bool)
    for name, patterns in filters.items():
        text = pc.fill_null(columns[name].cast(pa.string()), "")
        values: Iterable[str] = pc.unique(text).to_pylist()
        fitting = [value for value in values if any(fnmatchcase(value, pattern) for pattern in patterns)]
        matching &= pc.is_in(text, value_set=pa.array(fitting, pa.string())).to_numpy(zero_copy_only=False)
    return matching


def _times(
    opened: SignalFile,
    asked: Asked,
    read: dict[tuple[str, bool], pa.ChunkedArray],
    rows: NDArray[np.bool_],
    rate_hz: float | None,
) -> Times | None:
    if asked.time is None:
        return None
    numbers = np.asarray(opened.row_numbers() or range(1, len(rows) + 1))[rows].tolist()
    times, _, problems = parse_times(read[asked.time.column, asked.time.kind != "text"], asked.time)
    if problems:
        raise SignalUnreadable(
            *(
                Complaint(
                    f"time column {asked.time.column!r}: {text}", tuple(numbers[at] for at in np.flatnonzero(bad))
                )
                for text, bad in problems
            )
        )
    check_rise(times, numbers)
    if rate_hz is not None:
        check_rate(times, rate_hz, asked.time, asked.file)
    return times
