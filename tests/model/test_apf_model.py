# SPDX-License-Identifier: BSD-2-Clause
"""Each rule of the protocol of asynchronous page faults is needed (apf.pml says which); that it holds as it is, `make check` says."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))
import run_model  # noqa: E402


@pytest.mark.parametrize("break_", run_model.BREAKS)
def test_each_rule_is_needed(break_, tmp_path):
    errors, _, log = run_model.search(run_model.WORLDS[run_model.BREAKS[break_]], break_, tmp_path)
    assert errors > 0, log
