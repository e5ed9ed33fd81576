"""Read the samples of signals block by block: their rows of the file, which of them are usable, and their times."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from fnmatch import fnmatchcase
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipeline.importing.clocks.sample_times import TimeReader, Times, spread
from pipeline.importing.formats.interface import BLOCK_CELLS, Block, ReadColumn, SignalFile
from pipeline.importing.mapping import Filters, SampleRules, Source, SpeedColumn, TimeColumn
from pipeline.importing.problems import SHOWN_ROWS, Complaint, SignalUnreadable


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
    factor, offset : float or None
        Value of one count, and of the count 0; None: 1 and 0.
    every : int or "filled" or None
        A slow channel has a reading in every so many rows, or in those that are filled; None: in each row.
    rules : SampleRules
        Which rows belong to the signal, and which of them are usable.
    time : TimeColumn or None
        The declared time column.
    extra : tuple of ReadColumn
        Other columns, which cutting needs.
    latest : datetime or None
        No sample can be later; None: not checked.
    speed : SpeedColumn or None
        The declared speed of the shaft.
    regime : tuple of (str, Source)
        Columns of the contract that come from one of the file, such as `program`, each with its source.
    by_row : bool
        Whether each row of the file is a recording.
    """

    file: str
    name: str
    column: str
    factor: float | None
    offset: float | None
    every: int | Literal["filled"] | None
    rules: SampleRules
    time: TimeColumn | None
    extra: tuple[ReadColumn, ...]
    latest: datetime | None = None
    speed: SpeedColumn | None = None
    by_row: bool = False
    regime: tuple[tuple[str, Source], ...] = ()

    @property
    def columns(self) -> list[ReadColumn]:
        """Every column to read."""
        columns = [ReadColumn("signal.column", self.column, True), *self.extra]
        columns += [ReadColumn("signal.rows", name, False) for name in self.rules.rows]
        columns += [ReadColumn("signal.missing_where", name, False) for name in self.rules.missing_where]
        if self.time is not None:
            is_number = self.time.kind != "text"
            columns += [ReadColumn("signal.time.column", name, is_number) for name in self.time.columns]
        columns += self._of_regime
        if self.speed is not None:
            columns.append(ReadColumn("signal.speed.column", self.speed.column, True))
        return columns

    @property
    def _of_regime(self) -> list[ReadColumn]:
        sources = ((key, source.column or "") for key, source in self.regime)
        return [ReadColumn(f"recording.{key}", column, key != "program") for key, column in sources]

    @property
    def beside(self) -> list[ReadColumn]:
        """The columns that stand beside the samples: for cutting, and for the regime of each recording."""
        return [*self.extra, *self._of_regime]


@dataclass(frozen=True)
class Samples:
    """Some samples of one signal, after one another.

    Attributes
    ----------
    values : float array, shape (n,)
        In the unit of the channel: factor and offset are applied.
    usable : bool array, shape (n,)
        False where the value is missing.
    columns : dict
        The columns that cutting and the regime need, n values each.
    times : int64 array or None
        Microseconds, rising, see `sample_times.TimeReader`.
    speed : float array or None
        Values of the speed column, NaN where it has none.
    begins : bool array or None
        Where each row of the file is a recording: True at its first sample. Times are those of the rows then.
    """

    values: NDArray[np.float64]
    usable: NDArray[np.bool_]
    columns: dict[str, pa.Array]
    times: Times | None
    speed: NDArray[np.float64] | None
    begins: NDArray[np.bool_] | None = None

    def numbers(self, column: str) -> NDArray[np.float64]:
        """Return a column as floats, NaN where it is null."""
        return as_floats(self.columns[column])

    def part(self, low: int, high: int) -> Samples:
        """Return the samples from `low` up to `high`."""
        columns = {name: column[low:high] for name, column in self.columns.items()}
        times = None if self.times is None else self.times[low:high]
        speed = None if self.speed is None else self.speed[low:high]
        return Samples(self.values[low:high], self.usable[low:high], columns, times, speed)

    def only(self, rows: NDArray[np.bool_]) -> Samples:
        """Return the samples of some rows, a bool array of shape (n,)."""
        columns = {name: column.filter(pa.array(rows)) for name, column in self.columns.items()}
        times = None if self.times is None else self.times[rows]
        speed = None if self.speed is None else self.speed[rows]
        return Samples(self.values[rows], self.usable[rows], columns, times, speed)

    def then(self, later: Samples) -> Samples:
        """Return these samples and those after them."""
        columns = {name: pa.concat_arrays([column, later.columns[name]]) for name, column in self.columns.items()}
        times = None if self.times is None or later.times is None else np.concatenate([self.times, later.times])
        values = np.concatenate([self.values, later.values])
        usable = np.concatenate([self.usable, later.usable])
        speed = None if self.speed is None or later.speed is None else np.concatenate([self.speed, later.speed])
        return Samples(values, usable, columns, times, speed)


class SampleReader:
    """Makes the samples of one signal out of the blocks of its file.

    Attributes
    ----------
    n_file, n_used : int
        Rows of the file, and rows that belong to the signal, so far.
    first_us : int or None
        Time of the first row that was read, microseconds.
    """

    def __init__(self, asked: Asked, n_known: int = 0) -> None:
        """Take what to read; `n_known`: rows that are known to be there without reading."""
        self.asked = asked
        self.n_file = self.n_used = n_known
        self._times = TimeReader(asked.time, asked.latest) if asked.time is not None else None
        self._spread = asked.time is not None and asked.time.repeated == "spread"
        self._held: Samples | None = None
        self._period_us: float | None = None
        self.first_us: int | None = None
        self._n_rows = 0
        self._reading = np.nan

    def feed(self, block: Block) -> Samples | None:
        """Return the samples of the next block; those that share a time that may go on wait for the block after."""
        samples = self._read(block)
        if not self._spread or samples.times is None:
            return samples
        if self._times is not None and self._times.is_wrong:
            return None
        samples = self._held.then(samples) if self._held is not None else samples
        self._held = samples
        if samples.times is None or not len(samples.times):
            return None
        if len(samples.times) > BLOCK_CELLS and samples.times[0] == samples.times[-1]:
            raise SignalUnreadable(f"signal.time.repeated: more than {BLOCK_CELLS} rows of one time; is it a time?")
        last = int(samples.times[-1])
        end = int(np.searchsorted(samples.times, last))
        if end == 0 or (self._period_us is None and samples.times[end - 1] == samples.times[0]):
            return None
        return self._release(samples, end, last)

    def _release(self, samples: Samples, end: int, then: int | None) -> Samples:
        """Return the samples up to `end` with their times spread; the others wait."""
        self._held = samples.part(end, len(samples.values))
        ready = samples.part(0, end)
        assert ready.times is not None
        is_first = self._period_us is None
        times, self._period_us = spread(ready.times, then, self._period_us, is_first=is_first)
        return replace(ready, times=times)

    def _read(self, block: Block) -> Samples:
        asked, n = self.asked, len(block.numbers)
        columns, numbers = block.columns, block.numbers
        self.n_file += n
        if asked.rules.rows:
            rows = matches({name: columns[name, False] for name in asked.rules.rows}, asked.rules.rows, n)
            if not rows.all():
                keep = pa.array(rows)
                columns = {
                    key: columns[key].filter(keep)
                    for key in {(name, is_number) for _, name, is_number in asked.columns}
                }
                numbers = numbers[rows]
        values = as_floats(columns[asked.column, True])
        usable = _usable(values, asked.rules)
        if asked.rules.missing_where:
            gone = {name: columns[name, False] for name in asked.rules.missing_where}
            usable &= ~matches(gone, asked.rules.missing_where, len(values))
        if asked.factor is not None:
            values = values * asked.factor
        if asked.offset is not None:
            values = values + asked.offset
        extra = {name: columns[name, is_number] for _, name, is_number in asked.beside}
        begins = np.diff(numbers, prepend=numbers[:1] - 1) != 0 if asked.by_row else None
        times = None
        if self._times is not None and asked.time is not None:
            is_number = asked.time.kind != "text"
            cells = [columns[name, is_number] for name in asked.time.columns]
            if begins is None:
                times = self._times.feed(cells, numbers)
            else:
                of_rows = self._times.feed([cell.filter(pa.array(begins)) for cell in cells], numbers[begins])
                times = of_rows[np.cumsum(begins) - 1]
        speed = None if asked.speed is None else as_floats(columns[asked.speed.column, True])
        samples = Samples(values, usable, extra, times, speed, begins)
        if self.first_us is None and times is not None and len(times):
            self.first_us = int(times[0])
        if asked.every is not None:
            samples = samples.only(self._readings(asked.every, values, numbers))
        self.n_used += len(samples.values)
        return samples

    def _readings(
        self, every: int | Literal["filled"], values: NDArray[np.float64], numbers: NDArray[np.int64]
    ) -> NDArray[np.bool_]:
        """Return which rows hold a reading; SignalUnreadable where one between them holds another value."""
        if every == "filled":
            return np.isfinite(values)
        places = np.arange(self._n_rows, self._n_rows + len(values))
        self._n_rows += len(values)
        own: NDArray[np.bool_] = places % every == 0
        held = np.concatenate([[self._reading], values[own]])
        other = np.isfinite(values) & (values != held[np.cumsum(own)])
        self._reading = held[-1]
        if other.any():
            what = f"channel.every: {self.asked.column!r} has other values between its readings every {every} rows"
            more = 'declare how often it really changes, or "filled", or leave every out'
            raise SignalUnreadable(Complaint(f"{what}; {more}", tuple(numbers[other][:SHOWN_ROWS].tolist())))
        return own

    def finish(self) -> Samples | None:
        """Return the samples that waited; SignalUnreadable with everything wrong that the samples showed."""
        if self.asked.rules.rows and self.n_file and not self.n_used:
            filters = "; ".join(f"{name} = {patterns}" for name, patterns in self.asked.rules.rows.items())
            raise SignalUnreadable(f"signal.rows: no row of {self.asked.file!r} matches {filters}")
        if self._times is not None:
            self._times.finish()
        held = self._held
        if held is None or held.times is None or not len(held.times):
            return None
        if self._period_us is None and len(np.unique(held.times)) < 3:
            raise SignalUnreadable("signal.time.repeated: fewer than three different times; nothing says how dense")
        return self._release(held, len(held.values), None)


def read_signals(
    opened: SignalFile, wanted: Sequence[tuple[Asked, Callable[[Samples], None]]]
) -> list[SampleReader | SignalUnreadable]:
    """Read signals of one file, in one pass where their columns have the same rows, and hand their samples on in order.

    Parameters
    ----------
    opened : SignalFile
    wanted : sequence of (Asked, callable)
        Each signal, and what takes its samples.

    Returns
    -------
    list of SampleReader or SignalUnreadable
        For each signal the reader, which has the counts; or what is wrong with it.
    """
    passes: dict[Hashable, list[int]] = {}
    for at, (asked, _) in enumerate(wanted):
        passes.setdefault(opened.rows_of(asked.column), []).append(at)
    results: list[SampleReader | SignalUnreadable] = [SampleReader(asked) for asked, _ in wanted]
    for together in passes.values():
        columns = list(dict.fromkeys(column for at in together for column in wanted[at][0].columns))
        try:
            for block in opened.blocks(columns):
                for at in together:
                    reader = results[at]
                    if isinstance(reader, SampleReader):
                        try:
                            samples = reader.feed(block)
                            if samples is not None:
                                wanted[at][1](samples)
                        except SignalUnreadable as error:
                            results[at] = error
        except SignalUnreadable as error:
            for at in together:
                results[at] = error
        for at in together:
            reader = results[at]
            if isinstance(reader, SampleReader):
                try:
                    samples = reader.finish()
                    if samples is not None:
                        wanted[at][1](samples)
                except SignalUnreadable as error:
                    results[at] = error
    return results


def as_floats(column: pa.Array) -> NDArray[np.float64]:
    """Return a column as 64-bit floats, NaN where it is null."""
    return np.asarray(column.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False), dtype=np.float64)


def _usable(values: NDArray[np.float64], rules: SampleRules) -> NDArray[np.bool_]:
    usable = np.isfinite(values) & ~np.isin(values, rules.missing_values)
    with np.errstate(invalid="ignore"):
        if rules.valid_min is not None:
            usable &= values >= rules.valid_min
        if rules.valid_max is not None:
            usable &= values <= rules.valid_max
    return usable


def matches(columns: dict[str, pa.Array], filters: Filters, n: int) -> NDArray[np.bool_]:
    """Return which rows match every filter; a null counts as empty text."""
    matching = np.ones(n, dtype=bool)
    for name, patterns in filters.items():
        text = pc.fill_null(columns[name].cast(pa.string()), "")
        values: Iterable[str] = pc.unique(text).to_pylist()
        fitting = [value for value in values if any(fnmatchcase(value, pattern) for pattern in patterns)]
        matching &= pc.is_in(text, value_set=pa.array(fitting, pa.string())).to_numpy(zero_copy_only=False)
    return matching
