"""Turn an archive of signal files into contract logs, labels.csv and assets.toml.

The code of `axiswatch import`. A manifest (CSV), or the names of files in a folder, lists the signals. A mapping (TOML,
see docs/mapping.md) says what they mean. Units and rates are declared in one of the two; nothing is guessed. Everything
wrong with a manifest and its mapping is listed at once, before anything is written.
"""

from pipeline.importing.loading import load_mapping, shipped_mappings
from pipeline.importing.mapping import Mapping
from pipeline.importing.plan import ImportPlan, plan_import
from pipeline.importing.problems import ImportRefused
from pipeline.importing.report import ImportReport, Skipped
from pipeline.importing.run import import_archive
from pipeline.importing.signals import Cuts, Piece, PlannedRow, read_pieces

__all__ = [
    "Cuts",
    "ImportPlan",
    "ImportRefused",
    "ImportReport",
    "Mapping",
    "Piece",
    "PlannedRow",
    "Skipped",
    "import_archive",
    "load_mapping",
    "look",
    "manifest",
    "mapping",
    "plan_import",
    "problems",
    "read_pieces",
    "shipped_mappings",
]
