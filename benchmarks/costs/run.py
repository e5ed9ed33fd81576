"""The benchmark: `make bench`, or

    python benchmarks/costs/run.py --out FOLDER [--quick] [--only PART ...] [--code NAME=REPOSITORY ...]

Costs of whole processes: a run with new recordings at 1 to 64 times a history, fleets of 100 to 10,000 axes, a whole
run from logs to cases against its floors, features and scoring beside their peers, and the start of commands. Versions
that `--code` names are measured side by side, in turns. Writes bench.json and bench.html. A part that is run again
replaces its results in bench.json, the others stay.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

import fleet  # noqa: E402
import incremental  # noqa: E402
import parts  # noqa: E402
import peers_run  # noqa: E402
import start  # noqa: E402
import whole  # noqa: E402
from machine import describe  # noqa: E402
from page import page  # noqa: E402
from plants import commit_of  # noqa: E402
from processes import Code, Postgres  # noqa: E402

PARTS = ("start", "features", "scoring", "peers", "whole", "incremental", "fleet")


def main() -> None:
    """Measure the parts that were asked for and write the results."""
    arguments = _arguments()
    codes = [Code(name, Path(path).resolve()) for name, path in (text.split("=", 1) for text in arguments.code)]
    codes = codes or [Code("now", ROOT)]
    arguments.work.mkdir(parents=True, exist_ok=True)
    arguments.out.mkdir(parents=True, exist_ok=True)
    file = arguments.out / "bench.json"
    result = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    if result.get("quick") not in (None, arguments.quick):
        raise SystemExit(f"{file} has results of another size; choose another --out")
    server = Postgres() if "postgresql" in arguments.databases else None
    started = time.perf_counter()

    def say(text: str) -> None:
        print(f"{time.perf_counter() - started:7.1f} s  {text}", flush=True)

    try:
        result |= {"quick": arguments.quick, "machine": describe(server)}
        for part in arguments.only:
            began = datetime.now(UTC)
            found = _measure(part, arguments, codes, server, say)
            versions = {code.name: commit_of(code) for code in codes}
            took = (datetime.now(UTC) - began).total_seconds()
            result[part] = {"began_at": began.isoformat(), "took_s": took, "commits": versions, "result": found}
            file.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
            (arguments.out / "bench.html").write_text(page(result), encoding="utf-8")
    finally:
        if server:
            server.stop()
    say(f"written: {file} and bench.html")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("bench"), help="folder of the results")
    parser.add_argument("--quick", action="store_true", help="small sizes, in two minutes")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, help="parts; default: all")
    parser.add_argument(
        "--code", action="append", default=[], metavar="NAME=REPOSITORY", help="a version to measure; default: this"
    )
    parser.add_argument("--databases", nargs="+", choices=("sqlite", "postgresql"), default=["sqlite", "postgresql"])
    parser.add_argument("--sizes", type=int, nargs="+", help="times of the history")
    parser.add_argument("--fleets", nargs="+", metavar="AXES:DAYS", help="fleets with their days of history")
    parser.add_argument("--rounds", type=int, help="rounds of each part")
    parser.add_argument("--workers", type=int, default=2, help="workers of a fleet's runs")
    parser.add_argument("--peers", type=Path, default=ROOT / ".venv-bench-peers/bin/python", help="Python of the peers")
    parser.add_argument(
        "--work", type=Path, default=Path(tempfile.gettempdir()) / "axiswatch-bench", help="where plants are kept"
    )
    return parser.parse_args()


def _measure(part: str, arguments: Any, codes: list[Code], server: Postgres | None, say: Any) -> Any:
    quick = arguments.quick
    databases = arguments.databases
    if quick and part in ("whole", "fleet"):
        databases = databases[:1]
    places = (arguments.work, codes, databases, server)
    match part:
        case "start":
            rounds = arguments.rounds or (1 if quick else 11)
            return start.measure(arguments.work, codes, rounds=rounds, quick=quick, say=say)
        case "features" | "scoring":
            say(part)
            return {code.name: parts.measure(code, part, quick=quick) for code in codes}
        case "peers":
            say(part)
            return peers_run.measure(arguments.peers, codes[-1], quick=quick)
        case "whole":
            return whole.measure(*places, rounds=arguments.rounds or (1 if quick else 3), quick=quick, say=say)
        case "incremental":
            sizes = arguments.sizes or ([1, 8] if quick else [1, 4, 16, 64])
            rounds = arguments.rounds or (1 if quick else 6)
            return incremental.measure(*places, sizes=sizes, rounds=rounds, quick=quick, say=say)
        case _:
            asked = arguments.fleets or (["100:1"] if quick else ["100:30", "1000:30", "10000:3"])
            fleets = [(int(axes), float(days)) for axes, days in (text.split(":") for text in asked)]
            rounds = arguments.rounds or (1 if quick else 12)
            return fleet.measure(*places, fleets=fleets, runs=rounds, workers=arguments.workers, quick=quick, say=say)


if __name__ == "__main__":
    main()
