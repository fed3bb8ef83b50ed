# SPDX-License-Identifier: BSD-2-Clause
"""Runs the host unit tests: test_*.c under ASan and UBSan, tsan_*.c under TSan (`make unit` builds them)."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
PROGRAMS = HERE.parent.parent / "build" / "unit"
ENVIRONMENT = {**os.environ, "UBSAN_OPTIONS": "print_stacktrace=1", "TSAN_OPTIONS": "halt_on_error=1"}


def programs(pattern):
    return sorted(p.stem for p in HERE.glob(pattern))


def run(name, *prefix):
    program = PROGRAMS / name
    assert program.exists(), f"{program} is not built: make unit"
    done = subprocess.run([*prefix, str(program)], env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          timeout=300, check=False)
    output = done.stdout.decode("utf-8", "replace")
    assert done.returncode == 0, f"{name} exits with {done.returncode}\n{output[-8000:]}"
    # cmocka says how many of its tests passed: a program that runs none proves nothing.
    assert "[  PASSED  ]" in output, output[-8000:]


@pytest.mark.parametrize("name", programs("test_*.c"))
def test_unit(name):
    run(name)


@pytest.mark.racy
@pytest.mark.parametrize("name", programs("tsan_*.c"))
def test_threads(name):
    # TSan's shadow memory wants the usual addresses: kernels with more random bits collide with it.
    run(name, *(["setarch", "-R"] if shutil.which("setarch") else []))
