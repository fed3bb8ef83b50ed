# SPDX-License-Identifier: BSD-2-Clause
"""The fuzzers over what they begin with, then for a short time at random (`make fuzz` is for a long one)."""

import re
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
BUILD = HERE.parent.parent / "build" / "fuzz"
NAMES = sorted(p.stem.removeprefix("fuzz_") for p in HERE.glob("fuzz_*.c"))


def run(name, *args):
    program = BUILD / f"fuzz_{name}"
    assert program.exists(), f"{program} is not built: make fuzzers"
    done = subprocess.run([program, *args], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=120, check=False)
    out = done.stdout.decode("utf-8", "replace")
    assert done.returncode == 0, out[-6000:]
    return out


@pytest.mark.parametrize("name", NAMES)
def test_seeds(name):
    seeds = sorted((BUILD / "corpus" / name).iterdir())
    assert len(seeds) > 20
    out = run(name, *seeds)
    assert out.count("Executed ") == len(seeds)


@pytest.mark.parametrize("name", NAMES)
def test_at_random(name, tmp_path):
    found = tmp_path / "found"
    found.mkdir()
    out = run(name, "-max_total_time=10", f"-artifact_prefix={tmp_path}/", "-print_final_stats=1", found, BUILD / "corpus" / name)
    assert int(re.search(r"^stat::number_of_executed_units: (\d+)", out, re.M)[1]) > 500
