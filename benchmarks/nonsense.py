"""What becomes of signals that no machine makes, of a wrong geometry and of rotated labels: docs/results/evaluate.md.

    python benchmarks/nonsense.py [--protocol simulated-a-to-b] [--fleets FOLDER] [--recordings 100] [--seed 1]

The default method is trained on the findings about the first fleet of a simulated protocol. Recordings of sound axes of
the other fleet, after the baseline, are replaced by nonsense of the same level (RMS), length, speed and program; each
goes through extraction, the data-quality verdicts, the comparison with its unit's own baseline, the model and the rules
of review, one window a recording. Wanted: data fault, novel or review in 95 % or more.

geometry: recordings of visible bearing faults read with the orders of another bearing of the fleet (the baseline keeps
its own). labels rotated: the model is trained with every finding moved to the next class, and judges the real windows;
labels shuffled: with the findings of another unit.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from features.kinematics import Orders
from features.settings import feature_names
from pipeline.assets import known_orders
from pipeline.base.quantities import STANDARD_GRAVITY_M_S2
from pipeline.base.settings import Settings
from pipeline.evaluation.fleet_windows import SCOPE, Fleet, judged_fleet, prepare_fleets, take_in
from pipeline.evaluation.methods import METHODS, SHIPPED, FittedMethod, Training, with_seed
from pipeline.evaluation.protocol import SimulatedProtocol, load_protocol
from pipeline.evaluation.windows import OK, Windows
from pipeline.extraction.baselines import Baselines, with_change
from pipeline.extraction.in_force import feature_settings
from pipeline.extraction.reading import judge_plausibility
from pipeline.extraction.recording import Job, extract_recording
from pipeline.store.attribution import attributed_extraction, extractions
from pipeline.training.training_set import CONTEXT

Samples = npt.NDArray[np.float64]
LSB_G = 1e-3


def red(rng: np.random.Generator, n: int) -> Samples:
    """Noise with a spectrum that falls by 6 dB an octave."""
    walk = np.cumsum(rng.standard_normal(n))
    return walk - np.linspace(walk[0], walk[-1], n)


def modulated(rng: np.random.Generator, n: int, rate: float) -> Samples:
    """White noise with its amplitude modulated at a frequency that has nothing to do with the shaft."""
    t = np.arange(n) / rate
    return rng.standard_normal(n) * (1.0 + 0.8 * np.sin(2.0 * np.pi * rng.uniform(5.0, 200.0) * t))


def sine(rng: np.random.Generator, n: int, rate: float) -> Samples:
    """A pure tone."""
    return np.sin(2.0 * np.pi * rng.uniform(10.0, 0.3 * rate) * np.arange(n) / rate)


MADE: dict[str, Callable[[np.random.Generator, int, float], Samples]] = {
    "white noise": lambda rng, n, _: rng.standard_normal(n),
    "red noise": lambda rng, n, _: red(rng, n),
    "AM noise": modulated,
    "sine": sine,
}
RAW: dict[str, Callable[[np.random.Generator, int], Samples]] = {
    "silence": lambda _, n: np.zeros(n),
    "1 LSB": lambda rng, n: LSB_G * rng.integers(0, 2, n).astype(np.float64),
}


class Bench:
    """A fleet that is judged, and what its recordings are read with."""

    def __init__(self, fleet: Fleet, names: tuple[str, ...]) -> None:
        self.fleet, self.names = fleet, names
        self.features = feature_settings(fleet.settings, SCOPE)
        with fleet.store.read() as connection:
            extracted = connection.execute(extractions(*attributed_extraction(), *CONTEXT, any_geometry=True))
            self.rows = {row.recording_id: row for row in extracted}
            known = Baselines(connection, fleet.end)
            self.baselines = {name: known.of(row) for name, row in self.rows.items()}
            self.orders = known_orders(connection)

    def samples(self, row: Any) -> Samples:
        """Return the samples of a recording as logged."""
        table = self.fleet.lake.table(row.raw_path, columns=["samples"])
        return np.array(table.column("samples")[row.raw_row].as_py(), dtype=np.float64)

    def window(self, row: Any, samples: Samples, orders: Orders | None) -> tuple[npt.NDArray[np.float32], str]:
        """Return features with changes (F,) and the data-quality verdict of a recording's first window."""
        job = Job(
            recording_id=row.recording_id,
            lake_path="",
            lake_row=0,
            quantity=SCOPE,
            unit=row.unit,
            sampling_rate_hz=row.sampling_rate_hz,
            rate_is_declared=True,
            shaft_speed_rpm=row.shaft_speed_rpm,
            speed_is_steady=bool(row.speed_is_steady),
            orders=orders,
        )
        done = extract_recording(job, samples.astype(np.float32), self.features)
        judged: dict[str, list[Any]] = {"quality": [str(code) for code in done.quality], "evidence": done.evidence}
        baseline = self.baselines[row.recording_id]
        judge_plausibility(judged, done.values, feature_names(self.features), row, baseline)
        return with_change(done.values, baseline)[0], judged["quality"][0]


def said(title: str, method: FittedMethod, windows: Windows) -> None:
    """Print what becomes of windows."""
    prediction = method.predict(windows)
    assert prediction.review is not None
    bad = windows.quality != OK
    review = prediction.review & ~bad
    called = ~bad & ~review & (1.0 - prediction.probabilities[:, 0] >= 0.5)
    shares = [float(part.mean()) for part in (bad | review, bad, review, called, ~(bad | review | called))]
    print(f"| {title} | {len(windows)} | " + " | ".join(f"{share:.3f}" for share in shares) + " |", flush=True)


def rotated(training: Training) -> Training:
    """Return the training data with every label moved to the next class."""
    return replace(training, y=(training.y + 1) % len(training.classes))


def shuffled(training: Training, rng: np.random.Generator) -> Training:
    """Return the training data with the labels of each unit replaced by the last label of another."""
    units, last, code = np.unique(training.unit[::-1], return_index=True, return_inverse=True)
    of_unit = training.y[::-1][last][rng.permutation(units.size)]
    return replace(training, y=of_unit[code[::-1]])


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--protocol", default="simulated-a-to-b")
    parser.add_argument("--fleets", type=Path)
    parser.add_argument("--recordings", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    protocol = load_protocol(asked.protocol)
    assert isinstance(protocol, SimulatedProtocol)
    settings, rng = Settings(workers=1), np.random.default_rng(asked.seed)
    with tempfile.TemporaryDirectory() as scratch:
        root = asked.fleets or Path(scratch)
        training = prepare_fleets(protocol, settings, root).task.training
        fleet = take_in(root, protocol.test.fleets()[0], settings)
        windows, truth = judged_fleet(fleet)
        judge(asked.recordings, training, Bench(fleet, windows.names), windows, truth, rng, asked.seed)


def judge(
    n: int, training: Training, bench: Bench, windows: Windows, truth: Any, rng: np.random.Generator, seed: int
) -> None:
    """Train, make the nonsense, and print what becomes of it."""
    method = METHODS[SHIPPED](with_seed(training, seed, make=True))
    mode = np.array([item.mode if item.visible else "" for item in truth.truth])
    plain = np.array([not (item.mode or item.sensor_fault or item.unseen_program) for item in truth.truth])
    later = ~truth.in_baseline & (windows.quality == OK)
    sound = rng.permutation(np.flatnonzero(plain & later))
    faulty = rng.permutation(np.flatnonzero(np.isin(mode, ["inner_race", "outer_race", "ball"]) & later))
    print("| signal | windows | data fault or review | data fault | review | called faulty | called healthy |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    said("sound machines, as recorded", method, windows.take(sound))
    said("bearing faults, as recorded", method, windows.take(faulty))
    rms = windows.names.index("rms_log10")

    def row_of(index: int) -> Any:
        return bench.rows[str(windows.recording[index])]

    def made(of: npt.NDArray[np.int64], signal: Callable[[int, Any], tuple[Samples, Orders | None]]) -> Windows:
        results = [bench.window(row_of(i), *signal(i, row_of(i))) for i in of.tolist()]
        x, quality = np.array([x for x, _ in results], np.float32), np.array([str(q) for _, q in results])
        return replace(windows.take(of), x=x, quality=quality)

    for name, make in MADE.items():

        def at_level(index: int, row: Any, make: Any = make) -> tuple[Samples, Orders | None]:
            signal = make(rng, row.n_samples, row.sampling_rate_hz)
            level = 10.0 ** float(windows.x[index, rms]) / STANDARD_GRAVITY_M_S2
            return signal / signal.std() * level, bench.orders.get(row.geometry_version)

        said(name, method, made(sound[:n], at_level))
    for name, raw in RAW.items():

        def as_made(_index: int, row: Any, raw: Any = raw) -> tuple[Samples, Orders | None]:
            return raw(rng, row.n_samples), bench.orders.get(row.geometry_version)

        said(name, method, made(sound[:n], as_made))

    def misread(_index: int, row: Any) -> tuple[Samples, Orders | None]:
        others = [name for name in sorted(bench.orders) if name != row.geometry_version]
        return bench.samples(row), bench.orders[str(rng.choice(others))]

    said("wrong geometry, bearing faults", method, made(faulty[:n], misread))
    said("wrong geometry, sound machines", method, made(sound[:n], misread))
    for name, wrong in (("rotated", rotated(training)), ("shuffled", shuffled(training, rng))):
        misled = METHODS[SHIPPED](with_seed(wrong, seed, make=True))
        said(f"labels {name}, sound machines", misled, windows.take(sound))
        said(f"labels {name}, bearing faults", misled, windows.take(faulty))


if __name__ == "__main__":
    main()
