"""One Airflow a folder and a port; it ends once, whatever is pressed. The whole of it: tests/e2e/test_airflow.py."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from pipeline.base.errors import PrerequisiteMissing
from pipeline.local_airflow import LocalAirflow

ROOT = Path(__file__).parents[2]


def test_a_second_one_in_the_folder_is_refused_and_the_first_goes_on(tmp_path: Path, free_port: Any) -> None:
    first = LocalAirflow(tmp_path, ROOT / "dags", free_port())
    first.claim()
    with pytest.raises(PrerequisiteMissing, match=r"another `axiswatch airflow` works in .*--folder"):
        LocalAirflow(tmp_path, ROOT / "dags", free_port()).claim()


def test_a_port_that_is_taken_is_told_before_anything_is_started(tmp_path: Path, cli: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        refused = cli("airflow", "--folder", tmp_path / "af", "--dags", ROOT / "dags", "--port", port)
    assert refused.code == 3
    assert f"port {port} is not free" in " ".join(refused.err.split())
    assert "--port" in refused.err
    assert not (tmp_path / "af" / "postgres").exists()
    assert not (tmp_path / "af" / "fleet").exists()


def test_what_a_killed_one_left_running_is_stopped_and_nothing_else(tmp_path: Path, free_port: Any) -> None:
    """A number of a session may belong to somebody else by now."""
    code = "import time; time.sleep(600)  # "
    left, other = (
        subprocess.Popen([sys.executable, "-c", code + name], start_new_session=True) for name in ("airflow", "other")
    )
    try:
        (tmp_path / "sessions").write_text(f"{left.pid}\n{other.pid}\n")
        LocalAirflow(tmp_path, ROOT / "dags", free_port()).claim()
        assert not psutil.pid_exists(left.pid)
        assert other.poll() is None
    finally:
        for process in (left, other):
            process.kill()
            process.wait()


@pytest.mark.parametrize("ends", [[signal.SIGINT] * 2, [signal.SIGHUP, signal.SIGINT], [signal.SIGTERM] * 3])
def test_a_second_signal_does_not_break_off_the_stopping(ends: list[signal.Signals]) -> None:
    code = (
        "import signal, time\nfrom pipeline.cli.airflow import _ends_on_signals\n"
        "with _ends_on_signals():\n"
        "    try:\n        print('up', flush=True)\n        time.sleep(60)\n"
        "    except KeyboardInterrupt:\n        print('stopping', flush=True)\n"
        "    finally:\n        input()\n        print('stopped', flush=True)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "up\n"
    process.send_signal(ends[0])
    assert process.stdout.readline() == "stopping\n"
    for one in ends[1:]:
        process.send_signal(one)
        time.sleep(0.1)
    out, _ = process.communicate("\n", timeout=60)
    assert (out, process.returncode) == ("stopped\n", 0)
