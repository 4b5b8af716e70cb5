"""The recipes of docs/RECIPES.md, as far as what they need is here."""

import os
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


def output(title, folder, python=(sys.executable,)):
    (folder / "probe.py").write_text(recipe(title), encoding="utf-8")
    # A worker of Ray asks for a core, of which there may be fewer here than workers.
    environment = {**os.environ, "RAY_OVERRIDE_RESOURCES": '{"CPU": 3}', "RAY_USAGE_STATS_ENABLED": "0"}
    options = {"cwd": folder, "env": environment, "capture_output": True, "text": True, "timeout": 300}
    done = subprocess.run([*python, "probe.py"], **options)
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(r"0x1\.[0-9a-f]+p-?\d+ True\n", done.stdout), done.stdout
    return done.stdout


def test_mpi4py(tmp_path):
    pytest.importorskip("mpi4py")
    if shutil.which("mpirun") is None:
        pytest.skip("needs mpirun")

    def of_ranks(ranks):
        mpirun = ["mpirun", "-n", str(ranks), "--oversubscribe", "--allow-run-as-root"]
        return output("mpi4py", tmp_path, [*mpirun, sys.executable, "-m", "mpi4py"])

    assert of_ranks(1) == of_ranks(3) == of_ranks(4)


def test_ray(tmp_path):
    pytest.importorskip("ray")
    pytest.importorskip("mpi4py")
    # The chunks of both are the same, and so are the bits.
    assert output("Ray", tmp_path) == output("mpi4py", tmp_path)
