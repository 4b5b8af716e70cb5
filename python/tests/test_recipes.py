"""The recipes of docs/RECIPES.md, as far as what they need is here."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "RECIPES.md"


def recipe(title):
    section = PAGE.read_text(encoding="utf-8").split(f"\n## {title}\n")[1]
    return re.search("```python\n(.*?)```", section, re.DOTALL)[1]


def test_mpi4py(tmp_path):
    pytest.importorskip("mpi4py")
    if shutil.which("mpirun") is None:
        pytest.skip("needs mpirun")
    (tmp_path / "probe.py").write_text(recipe("mpi4py"), encoding="utf-8")

    def output(ranks):
        mpirun = ["mpirun", "-n", str(ranks), "--oversubscribe", "--allow-run-as-root"]
        options = {"cwd": tmp_path, "capture_output": True, "text": True, "timeout": 300}
        done = subprocess.run([*mpirun, sys.executable, "-m", "mpi4py", "probe.py"], **options)
        assert done.returncode == 0, done.stderr
        return done.stdout

    one = output(1)
    assert re.fullmatch(r"0x1\.[0-9a-f]+p-?\d+ True\n", one)
    assert output(3) == output(4) == one
