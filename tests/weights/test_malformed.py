"""Ten thousand damaged weights files are loaded, or refused with our error and without a change, in little memory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "count"), [("safetensors", 4000), ("zip", 4000), ("legacy", 2000)])
def test_thousands_of_damaged_files(kind, count):
    command = [sys.executable, "-W", "ignore", str(Path(__file__).with_name("malformed.py")), kind, "0", str(count)]
    paths = os.pathsep.join([str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=500, env={**os.environ, "PYTHONPATH": paths}, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["refused"] + found["loaded"] == count
    assert found["refused"] > 0.7 * count
    assert found["loaded"] > 0.01 * count  # damage that is none: the files are not all refused for one reason
