"""axiswatch beside its peers: `PYTHONPATH=REPOSITORY python peers.py REPOSITORY quick|full ANSWER`.

Runs in the environment of the peers, in one thread. Ways take turns; medians and ranges of ratios over rounds. Before
the time, what both sides compute is compared. A peer that cannot be imported or called is left out with the reason.
torchvision's wheel may not import beside the CPU build of torch; then an empty module stands for it, because the parts
of the peers that are measured need nothing of it.
"""

from __future__ import annotations

import importlib.machinery
import importlib.util
import json
import statistics
import sys
import time
import types
from collections.abc import Callable
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import numpy as np

RATE_HZ = 12_000.0
LENGTH = 4096
TURNS = 10.0
PASSES = 100

Ways = dict[str, Callable[[], Any]]

SHARED = {
    name: None
    for name in (
        "root_mean_square",
        "absolute_maximum",
        "maximum",
        "minimum",
        "kurtosis",
        "skewness",
        "standard_deviation",
        "mean",
        "mean_abs_change",
        "abs_energy",
    )
} | {
    "fft_aggregated": [{"aggtype": name} for name in ("centroid", "variance", "skew", "kurtosis")],
    "fourier_entropy": [{"bins": 100}],
    "autocorrelation": [{"lag": 1}],
}
"""The 16 features of tsfresh that have a like among those of axiswatch."""


def main() -> None:
    """Measure both parts and write the answer."""
    repository, quick = Path(sys.argv[1]), sys.argv[2] == "quick"
    left_out: dict[str, str] = {}
    found = {
        "versions": {name: _version(name) for name in ("tsfresh", "tsfel", "baal", "torch-uncertainty", "torch")},
        "features": _features(quick, left_out),
        "scoring": _scoring(repository, quick, left_out),
        "left_out": left_out,
    }
    Path(sys.argv[3]).write_text(json.dumps(found), encoding="utf-8")


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _features(quick: bool, left_out: dict[str, str]) -> list[dict[str, Any]]:
    """Return microseconds a window of each way, and how many times axiswatch is faster, by windows of a call."""
    from features.extract import FeatureSettings, extract, feature_names

    settings = FeatureSettings()
    names = feature_names(settings)
    found = []
    for count in (1, 6) if quick else (1, 6, 60):
        windows = np.random.default_rng(3).standard_normal((count, LENGTH)).astype(np.float32)
        windows[::2, :40] += 5.0
        windows -= windows.mean(axis=1, keepdims=True)
        own = partial(
            extract,
            windows,
            sampling_rate_hz=RATE_HZ,
            rate_is_declared=True,
            shaft_speed_rpm=60 * TURNS * RATE_HZ / LENGTH,
            speed_is_steady=True,
            orders=None,
            settings=settings,
        )
        rms = 10.0 ** own()[:, names.index("rms_log10")]
        ways: Ways = {"axiswatch, all features": own}
        for name, make in (("tsfresh", _tsfresh), ("tsfel", _tsfel)):
            try:
                for label, way, check in make(windows):
                    np.testing.assert_allclose(check(way()), rms, rtol=1e-3)
                    ways[label] = way
            except Exception as error:  # noqa: BLE001  (whatever a peer raises is the reason)
                left_out[name] = f"{type(error).__name__}: {str(error)[:300]}"
        found.append({"windows": count, "n_features": len(names), **_compared(ways, 3 if quick else 9, count)})
    return found


def _tsfresh(windows: np.ndarray) -> list[Any]:
    import pandas as pd
    from tsfresh import extract_features

    flat = pd.DataFrame({"id": np.repeat(np.arange(len(windows)), LENGTH), "value": windows.astype(float).ravel()})
    way = partial(
        extract_features,
        flat,
        column_id="id",
        column_value="value",
        default_fc_parameters=SHARED,
        n_jobs=0,
        disable_progressbar=True,
    )
    return [("tsfresh, 16 features", way, lambda table: table["value__root_mean_square"].to_numpy())]


def _tsfel(windows: np.ndarray) -> list[Any]:
    import pandas as pd
    import tsfel

    def way(kind: str) -> Any:
        chosen = tsfel.get_features_by_domain(kind)
        rows = [
            tsfel.time_series_features_extractor(chosen, window.astype(float), fs=RATE_HZ, verbose=0, n_jobs=None)
            for window in windows
        ]
        return pd.concat(rows)

    def rms(table: Any) -> Any:
        return table[next(name for name in table.columns if "Root mean square" in name)].to_numpy()

    return [("tsfel, statistical", partial(way, "statistical"), rms)]


def _scoring(repository: Path, quick: bool, left_out: dict[str, str]) -> dict[str, Any]:
    """Return microseconds a window of each way to score with 100 passes, and how many times axiswatch is faster."""
    file = repository / "benchmarks" / "scoring.py"
    if not file.exists():
        left_out["scoring"] = "benchmarks/scoring.py is missing, which has the network and the loop"
        return {}
    spec = importlib.util.spec_from_file_location("scoring", file)
    assert spec is not None and spec.loader is not None
    bench = importlib.util.module_from_spec(spec)
    sys.modules["scoring"] = bench
    spec.loader.exec_module(bench)
    import torch

    torch.set_num_threads(1)
    model = bench.made_model()
    x, _ = bench.made(np.random.default_rng(2), 512 if quick else 4096)
    inputs = model.scaler.network_inputs(model.scaler.scale_features(x))
    loop = bench.Loop(model.network)
    ways: Ways = {"axiswatch": partial(model.score, x), "tutorial loop": partial(loop, inputs)}
    mean = loop(inputs)["class_probabilities"]
    _stand_in_for_torchvision()
    peers = {
        "baal": _baal,
        "torch-uncertainty": partial(_torch_uncertainty, on_batch=False),
        "torch-uncertainty, passes as one batch": partial(_torch_uncertainty, on_batch=True),
    }
    for name, make in peers.items():
        try:
            way = make(loop.net, torch.from_numpy(inputs))
            apart = float(np.sqrt(np.mean((way() - mean) ** 2)))
            if apart > 0.02:
                raise AssertionError(f"its mean probability is {apart:.3f} from the loop's")
            ways[name] = way
        except Exception as error:  # noqa: BLE001  (whatever a peer raises is the reason)
            left_out[name] = f"{type(error).__name__}: {str(error)[:300]}"
    return {"windows": len(x), **_compared(ways, 2 if quick else 7, len(x))}


def _stand_in_for_torchvision() -> None:
    try:
        import torchvision  # noqa: F401
    except Exception:  # noqa: BLE001  (a wheel for another build of torch raises RuntimeError)
        for name in [known for known in sys.modules if known.startswith("torchvision")]:
            del sys.modules[name]
        sys.meta_path.insert(0, _StandIn())


class _StandIn:
    """Finds every module of torchvision and gives an empty one, whose names can be used as classes."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        del path, target
        if name.split(".")[0] != "torchvision":
            return None
        return importlib.machinery.ModuleSpec(name, self, is_package=True)  # type: ignore[arg-type]

    def create_module(self, spec: Any) -> types.ModuleType:
        module = types.ModuleType(spec.name)
        module.__version__ = "0"  # type: ignore[attr-defined]
        module.__getattr__ = lambda name: type(name, (), {}) if name[:1].isupper() else MagicMock()  # type: ignore[method-assign]
        return module

    def exec_module(self, module: Any) -> None:
        del module


def _baal(net: Any, inputs: Any) -> Callable[[], Any]:
    import torch
    from baal.bayesian.dropout import patch_module

    patched = patch_module(net, inplace=False)
    patched.eval()

    def way() -> Any:
        with torch.no_grad():
            parts = [
                torch.stack([patched(batch).softmax(-1) for _ in range(PASSES)]).mean(0) for batch in inputs.split(512)
            ]
        return torch.cat(parts).numpy()

    return way


def _torch_uncertainty(net: Any, inputs: Any, *, on_batch: bool) -> Callable[[], Any]:
    import copy

    import torch
    from torch_uncertainty.methods.mc_dropout import mc_dropout

    wrapped = mc_dropout(copy.deepcopy(net), num_estimators=PASSES, on_batch=on_batch)
    wrapped.eval()

    def way() -> Any:
        with torch.no_grad():
            parts = []
            for batch in inputs.split(512):
                p = wrapped(batch).softmax(-1)
                parts.append(p.reshape(PASSES, len(batch), -1).mean(0))
        return torch.cat(parts).numpy()

    return way


def _compared(ways: Ways, rounds: int, count: int) -> dict[str, Any]:
    """Return medians of each way in microseconds, and the ratio to the first way with its range."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for way in ways.values():
        way()
    for number in range(rounds):
        for name in list(ways) if number % 2 == 0 else list(ways)[::-1]:
            started = time.process_time()
            ways[name]()
            seconds[name].append(time.process_time() - started)
    own = next(iter(ways))
    ratios = {name: [a / b for a, b in zip(values, seconds[own], strict=True)] for name, values in seconds.items()}
    return {
        "us_per_window": {name: 1e6 * statistics.median(values) / count for name, values in seconds.items()},
        "times_slower_than_axiswatch": {
            name: {"median": statistics.median(values), "low": min(values), "high": max(values)}
            for name, values in ratios.items()
            if name != own
        },
    }


if __name__ == "__main__":
    main()
