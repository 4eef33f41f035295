"""Folders that tests read from."""

import os
from pathlib import Path

TESTS = Path(__file__).resolve().parent
ROOT = TESTS.parent
PARITY = TESTS / "parity"
SAMPLES = ROOT / "samples"
BENCHMARKS = ROOT / "benchmarks"
# Real data that is not part of the project; tests skip without it.
DATA = Path(os.environ.get("MRCNN_DATA", ROOT.parent / "shared" / "data"))
# Numbers computed by the original.
CONFORMANCE = Path(os.environ.get("MRCNN_CONFORMANCE", ROOT.parent / "shared" / "conformance"))
