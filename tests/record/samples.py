"""Files that real tools wrote. They are not part of the project; where they are not at hand, tests that read them are skipped."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(os.environ.get("SPARSE_MLA_SAMPLES", Path(__file__).parents[3] / "shared/data/rocprof"))
needed = pytest.mark.skipif(
    not ROOT.is_dir(), reason="no real recordings at hand: set SPARSE_MLA_SAMPLES to a folder of rocprofv3 samples"
)
ATT = sorted(ROOT.glob("att/*/ui_output*"))
