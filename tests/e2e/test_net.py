"""The net under a change of form: the small demonstration ends with the same values as at the commit before.

`net.json` holds, of each column of each table and of each field of five JSON documents, a digest of all values and a
summary. Where this machine is of the kind that wrote the file, every digest must be the same. Elsewhere floating point
differs in its last bits and training makes more of that: counts and shares may move by `TOLERANCE`, and hashes of
numbers are not compared.

    AXISWATCH_TEST_NET=write python -m pytest tests/e2e/test_net.py

takes it anew. Do so only in a commit that means to change behaviour, and let its message say what changed and why.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.store.database import Store

FILE = Path(__file__).with_name("net.json")
FLEET = ("--robots", "5", "--days", "6", "--seed", "3")
END = "2026-01-11T00:00:00Z"
COMMANDS = (
    ("queue",),
    ("status",),
    ("models", "list"),
    ("trend", "R01", "A1"),
    ("watch", "--as-of", END),
)
TOLERANCE = 0.1
"""Share by which rows, means and shares of a value may differ on a machine of another kind."""

FEW = 24
"""A column with no more values than this is summarised by how often each stands there."""

NOT_KEPT = ("lineage.code.",)
"""Versions and the hash of the source: they change with each commit."""

HASHES_OF_NUMBERS = set(
    re.findall(
        r"\w+",
        "baseline_version baseline_versions body champion content_hash file_hash held_out_path lake_path lake_prefix "
        "lake_row metrics model_version model_versions modified_ns moved path samples_hash size_bytes "
        "training_data_hash text",
    )
)
"""Fields that a last bit changes as a whole: compared on a machine of the same kind only."""

Values = dict[str, list[Any]]


def kind_of_machine() -> str:
    """What the last bits depend on: processor with its instructions, and the libraries that do the arithmetic."""
    cpu = platform.machine()
    with suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        cpu += "".join(
            sorted({line for line in lines if line.startswith(("model", "cpu family", "flags", "Features"))})
        )
    libraries = [f"{name} {version(name)}" for name in ("torch", "numpy", "scipy", "scikit-learn")]
    settings = [os.environ.get(name, "") for name in ("OPENBLAS_CORETYPE", "MKL_CBWR")]
    return digest([cpu, *libraries, *settings, platform.python_version()])


def digest(values: Any) -> str:
    """Hash values by their JSON: floats with all their digits."""
    return hashlib.sha256(json.dumps(values, sort_keys=True, default=repr).encode()).hexdigest()[:16]


def flatten(value: Any, at: str = "") -> Iterator[tuple[str, Any]]:
    """Give each leaf of nested dicts and lists with its place; the places in a list are one place."""
    if isinstance(value, dict) and value:
        for name, inner in value.items():
            yield from flatten(inner, f"{at}.{name}" if at else name)
    elif isinstance(value, list) and value:
        for inner in value:
            yield from flatten(inner, f"{at}[]")
    else:
        yield at, value


def by_place(rows: Any) -> Values:
    """Collect the leaves of a document by place."""
    found: Values = {}
    for place, value in flatten(rows):
        if not any(part in place for part in NOT_KEPT):
            found.setdefault(place.removeprefix("[]").removeprefix("."), []).append(value)
    return found


def summary(values: list[Any]) -> dict[str, Any]:
    """Digest, number and the numbers of a place that another machine can be held to."""
    found: dict[str, Any] = {"digest": digest(values), "count": len(values)}
    numbers = [value for value in values if isinstance(value, int | float) and not isinstance(value, bool)]
    if numbers and any(isinstance(value, float) for value in numbers):
        spread = [float(part) for part in np.percentile(numbers, [10, 50, 90])]
        return found | {"numbers": len(numbers), "spread": spread}
    counted = Counter(map(str, values))
    return found | ({"values": dict(sorted(counted.items()))} if len(counted) <= FEW else {})


def take(cli: Any, dump: Callable[[Store], dict[str, list[dict[str, Any]]]]) -> dict[str, dict[str, Any]]:
    """Build the demonstration, ask the commands, and sum up every document and table."""
    cli("demo", "--folder", cli.home, *FLEET, "--json", timeout_s=300).json()
    documents = {" ".join(words): cli(*words, "--json").json() for words in COMMANDS}
    store = Store.open(f"sqlite:///{cli.home / 'axiswatch.db'}")
    documents |= {f"table {name}": rows for name, rows in dump(store).items()}
    store.dispose()
    return {
        name: {place: summary(values) for place, values in sorted(by_place(rows).items())}
        for name, rows in documents.items()
    }


def exact(was: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """Name the places whose values differ at all."""
    return [
        f"{name}: {place}"
        for name in sorted(was.keys() | now.keys())
        for place in sorted(was.get(name, {}).keys() | now.get(name, {}).keys())
        if was.get(name, {}).get(place) != now.get(name, {}).get(place)
    ]


def close(was: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """Name the places that differ by more than another machine's last bits explain."""
    found = [name for name in was if bool(was[name]) != bool(now.get(name))]
    for name in was:
        for place in was[name]:
            if place in now[name] and place.replace("[]", "").split(".")[-1] not in HASHES_OF_NUMBERS:
                found += [f"{name}: {place}: {what}" for what in differences(was[name][place], now[name][place])]
    return found


def differences(was: dict[str, Any], now: dict[str, Any]) -> Iterator[str]:
    """What two summaries of one place differ in, beyond the tolerance."""
    if abs(was["count"] - now["count"]) > max(2, TOLERANCE * was["count"]):
        yield f"{now['count']} values, were {was['count']}"
    if "spread" in was and "spread" in now:
        scale = max(abs(part) for part in was["spread"])
        if not np.allclose(was["spread"], now["spread"], rtol=TOLERANCE, atol=TOLERANCE * scale, equal_nan=True):
            yield f"10, 50 and 90 % at {now['spread']}, were {was['spread']}"
    for value, count in was.get("values", {}).items():
        if abs(now.get("values", {}).get(value, 0) - count) > max(2, TOLERANCE * was["count"]):
            yield f"{value!r} stood there {count} times"


def test_the_small_demonstration_ends_as_at_the_commit_before(cli: Any, dump: Any) -> None:
    """Exactly so on a machine of the kind that wrote the file, within the tolerance on others."""
    now = take(cli, dump)
    if os.environ.get("AXISWATCH_TEST_NET") == "write":
        FILE.write_text(json.dumps({"machine": kind_of_machine(), "documents": now}, indent=0) + "\n", encoding="utf-8")
    was = json.loads(FILE.read_text(encoding="utf-8"))
    if was["machine"] == kind_of_machine():
        assert exact(was["documents"], now) == []
    assert close(was["documents"], now) == []


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ([0.1, 0.2, 0.3], [0.1, 0.2, 0.4]),
        (["healthy"] * 90 + ["alarm"] * 10, ["healthy"] * 70 + ["alarm"] * 30),
        (list(range(100)), list(range(80))),
    ],
)
def test_the_net_catches_what_no_last_bit_explains(before: list[Any], after: list[Any]) -> None:
    """Another figure, another share of a state, rows that are missing."""
    was, now = ({"table": {"value": summary(values)}} for values in (before, after))
    assert exact(was, now) == ["table: value"]
    assert close(was, now)


def test_the_net_forgives_a_last_bit_elsewhere() -> None:
    """Exactly it is another value, and close to the one before."""
    was, now = ({"table": {"value": summary([value, 2.0])}} for value in (0.1, np.nextafter(0.1, 1)))
    assert exact(was, now)
    assert not close(was, now)
