"""Commands as processes: started off the command server, awaited, killed; and how they ended."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
HANGS_AFTER_S = 150.0
"""A command that takes longer hangs, s."""


@dataclass(frozen=True)
class Ended:
    """How a command ended: exit code (negative: a signal), what it wrote, and how long it took, s."""

    code: int
    out: str
    err: str
    seconds: float

    @property
    def has_traceback(self) -> bool:
        """Whether it ended in a traceback in place of a sentence."""
        return "Traceback (most recent call last)" in self.err

    @property
    def says_something(self) -> bool:
        """Whether a command that ended well names a problem all the same."""
        return '"problems": [\n' in self.out or "problem" in self.err


class Running:
    """A command at work."""

    def __init__(self, commands: Commands, number: int, files: list[Path]) -> None:
        self._commands, self.number, self._files = commands, number, files
        self.started = time.monotonic()
        self.pid = 0
        self.code: int | None = None
        self.seconds = 0.0

    def send(self, which: int = signal.SIGKILL) -> bool:
        """Send a signal to it and to all it has started; return whether it was still at work."""
        if self.code is not None:
            return False
        with suppress(ProcessLookupError):
            os.killpg(self.pid, which)
            return True
        return False

    def wait(self, seconds: float = HANGS_AFTER_S) -> Ended:
        """Wait for its end. One that hangs is killed, and its code is that of a kill: -9."""
        give_up = time.monotonic() + seconds
        with self._commands.changed:
            while self.code is None:
                left = give_up - time.monotonic()
                if left <= 0:
                    self.send()
                    give_up += 10
                self._commands.changed.wait(max(left, 0.05))
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)  # workers that it left behind
        out, err = (path.read_text(encoding="utf-8", errors="replace") for path in self._files)
        return Ended(self.code, out, err, self.seconds)


class Commands:
    """The command server, and the commands that it has forked."""

    def __init__(self, folder: Path, shim: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.changed = threading.Condition()
        self._running: dict[int, Running] = {}
        self._number = 0
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("AXISWATCH_", "AWS_"))}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.torture.server"],
            env=kept | {"OMP_NUM_THREADS": "1", "LD_PRELOAD": str(shim), "PYTHONPATH": str(ROOT)},
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        by_pid: dict[int, Running] = {}
        for line in self._process.stdout:
            said = json.loads(line)
            with self.changed:
                if "id" in said:
                    by_pid[said["pid"]] = self._running.pop(said["id"])
                    by_pid[said["pid"]].pid = said["pid"]
                else:
                    ended = by_pid.pop(said["pid"])
                    ended.seconds, ended.code = time.monotonic() - ended.started, said["code"]
                self.changed.notify_all()

    def start(
        self,
        words: Sequence[str | Path],
        environment: Mapping[str, str],
        folder: Path,
        harm: dict[str, Any] | None = None,
    ) -> Running:
        """Start a command, armed with a fault where one is given."""
        assert self._process.stdin is not None
        self._number += 1
        files = [self.folder / f"{name}-{self._number}" for name in ("out", "err")]
        running = Running(self, self._number, files)
        asked = {
            "id": self._number,
            "words": [*map(str, words)],
            "environment": {"LD_PRELOAD": str(self._shim())} | dict(environment),
            "folder": str(folder),
            "files": [*map(str, files)],
            "harm": harm,
        }
        with self.changed:
            self._running[self._number] = running
            self._process.stdin.write(json.dumps(asked) + "\n")
            self._process.stdin.flush()
            while not running.pid:
                self.changed.wait()
        running.started = time.monotonic()
        return running

    def _shim(self) -> Path:
        return self.folder.parent / "shim.so"

    def run(
        self,
        words: Sequence[str | Path],
        environment: Mapping[str, str],
        folder: Path,
        harm: dict[str, Any] | None = None,
    ) -> Ended:
        """Run a command to its end."""
        return self.start(words, environment, folder, harm).wait()

    def stop(self) -> None:
        """End the command server."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


def build_shim(target: Path) -> Path:
    """Compile shim.c; an error says that a C compiler is needed."""
    source = Path(__file__).with_name("shim.c")
    try:
        subprocess.run(["cc", "-O1", "-shared", "-fPIC", "-o", target, source, "-ldl"], check=True)
    except FileNotFoundError as error:
        raise SystemExit("make torture needs a C compiler (`cc`)") from error
    return target
