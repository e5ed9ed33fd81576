"""Fuzzing: `make fuzz`, or

    python -m benchmarks.fuzz --inputs N --seed S [--target NAME ...] [--processes 2] [--out FOLDER]
    python -m benchmarks.fuzz --seed S --only TARGET:NUMBER

Reads damaged inputs as the product does and counts what becomes of them. A campaign that was ended is taken up where it
stood. `--only` reads one input again, with the traceback.
"""

from __future__ import annotations

import argparse
import tempfile
import time
import traceback
from pathlib import Path

from benchmarks.fuzz.campaign import SHARES, campaign, inputs_of, kinds, make, read, table
from benchmarks.fuzz.outcomes import attempt


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=int, default=1000, help="of all targets together")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--target", nargs="*", choices=sorted(SHARES), help="default: all")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path("fuzz"))
    parser.add_argument("--only", metavar="TARGET:NUMBER")
    arguments = parser.parse_args()
    if arguments.only:
        _only(arguments.only, arguments.seed)
        return
    names = arguments.target or list(SHARES)
    whole = sum(SHARES[name] for name in names)
    plan = {name: -(-arguments.inputs * SHARES[name] // whole) for name in names}
    began = time.monotonic()
    say = lambda text: print(f"{time.monotonic() - began:7.0f} s  {text}", flush=True)  # noqa: E731
    campaign(arguments.out.resolve(), plan, arguments.seed, processes=arguments.processes, say=say)
    lines = [line for line in read(arguments.out / f"results-{arguments.seed}.jsonl") if line["target"] in plan]
    for count, what, detail, numbers in kinds(lines):
        print(f"{count:6} {what}: {detail}  (inputs {', '.join(map(str, numbers))})")
    print(table(lines))


def _only(which: str, seed: int) -> None:
    name, _, number = which.partition(":")
    with tempfile.TemporaryDirectory() as folder:
        target = make(name)
        work = Path(folder) / "work"
        work.mkdir()
        target.prepare(work)
        for at, given in inputs_of(target, seed, int(number), 1):
            print(given.damage, repr(given.what)[:2000])
            print(attempt(target, given, at))
            try:
                print(target.run(given))
            except BaseException:  # noqa: BLE001
                traceback.print_exc()


if __name__ == "__main__":
    main()
