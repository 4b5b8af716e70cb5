"""The examples run, as they are."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"


def test_digits(tmp_path):
    pytest.importorskip("matplotlib")
    command = [sys.executable, EXAMPLES / "digits.py"]
    options = {"cwd": tmp_path, "capture_output": True, "text": True, "timeout": 300}
    done = subprocess.run(command, env={**os.environ, "MPLBACKEND": "Agg"}, **options)
    assert done.returncode == 0, done.stderr
    softmax, hinge = re.findall(r"([\d.]+) %, at most ([\d.e-]+) above", done.stdout)
    assert float(softmax[0]) > 95 and float(softmax[1]) < 1e-3
    assert float(hinge[0]) > 95 and float(hinge[1]) < 1e-3
