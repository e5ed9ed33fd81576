"""A folder of signal files and what an import makes of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from pipeline.importing import ImportRefused, ImportReport, import_archive


class Folder:
    """A folder of signal files, a mapping, and what comes of them."""

    def __init__(self, path: Path, mapping: str) -> None:
        self.usual = mapping
        self.path = path / "data"
        self.path.mkdir()
        self.landing = path / "out" / "landing"
        self.mapping = path / "m.toml"

    def csv(self, text: str | bytes, name: str = "a.csv") -> None:
        (self.path / name).write_bytes(text if isinstance(text, bytes) else text.encode())

    def run(self, mapping: str | None = None, **options: Any) -> tuple[list[dict[str, Any]], ImportReport]:
        self.mapping.write_text(self.usual if mapping is None else mapping)
        report = import_archive(self.path, self.mapping, self.landing, **options)
        return [row for path in report.log_files for row in pq.read_table(path).to_pylist()], report

    def problems(self, mapping: str | None = None, **options: Any) -> list[str]:
        with pytest.raises(ImportRefused) as refused:
            self.run(mapping, **options)
        out = self.landing.parent
        assert not out.exists() or not [one for one in out.rglob("*") if one.is_file() or one.suffix == ".part"]
        return refused.value.problems


@pytest.fixture
def folder(tmp_path: Path, request: pytest.FixtureRequest) -> Folder:
    """A folder whose usual mapping is the constant MAPPING of the test file."""
    return Folder(tmp_path, request.module.MAPPING)
