"""The benchmark: `make bench`, or `python benchmarks/costs/run.py --out FOLDER [--quick] [--only PART ...]`."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

import incremental  # noqa: E402
from processes import Code, Postgres  # noqa: E402


def main() -> None:
    """Measure and write the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("bench"))
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "axiswatch-bench")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", nargs="+", choices=["incremental"], default=["incremental"])
    parser.add_argument("--code", action="append", default=[])
    parser.add_argument("--sizes", type=int, nargs="+")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--databases", nargs="+", default=["sqlite", "postgresql"])
    arguments = parser.parse_args()
    codes = [Code(*pair) for pair in ((n, Path(p).resolve()) for n, p in (c.split("=") for c in arguments.code))]
    codes = codes or [Code("now", ROOT)]
    server = Postgres() if "postgresql" in arguments.databases else None
    started = time.perf_counter()

    def say(text: str) -> None:
        print(f"{time.perf_counter() - started:7.1f} s  {text}", flush=True)

    arguments.work.mkdir(parents=True, exist_ok=True)
    arguments.out.mkdir(parents=True, exist_ok=True)
    result: dict[str, Any] = {}
    try:
        result["incremental"] = incremental.measure(
            arguments.work,
            codes,
            arguments.databases,
            server,
            sizes=arguments.sizes or ([1, 4] if arguments.quick else [1, 4, 16, 64]),
            rounds=arguments.rounds or (2 if arguments.quick else 5),
            quick=arguments.quick,
            say=say,
        )
    finally:
        if server:
            server.stop()
    (arguments.out / "bench.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
