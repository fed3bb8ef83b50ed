# SPDX-License-Identifier: BSD-2-Clause
"""What `make run` shows: the demonstration's guest has the module, and its own figures say what it is worth."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pexpect
import pytest
from test_debian import PROMPT

ROOT = Path(__file__).resolve().parent.parent.parent
SHOWN = (r"apf: {}, .*: +(\d+) pages a second; the fifth does +(\d+) % of what it does alone\r?$".format(how) for how in ("off", "on"))
RATIOS = r"apf: on makes (\d+\.\d\d) times the pages and (\d+\.\d\d) times the computing\r?$"


def test_make_run_is_the_demonstration():
    env = {k: v for k, v in os.environ.items() if k not in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL")}

    def last(*args):
        return subprocess.run(["make", "-n", "run", *args], cwd=ROOT, env=env, capture_output=True, text=True, check=True).stdout.splitlines()[-1]

    assert last().endswith(" tools/mw run --demo")
    assert last("ARGS=--cpus 2").endswith(" tools/mw run --cpus 2")


def test_shows_the_difference(mw):
    done = mw("run", "--demo", timeout=180)
    assert done.code == 0, done.stdout + done.stderr
    assert "48M of its 512M at once; the rest is on a drive that takes 1 ms" in done.stderr
    assert "demo: ok" in done.stdout and "FAILED" not in done.stdout and "WRONG" not in done.stdout
    (pages, computed), (more_pages, more_computed) = (map(int, re.search(line, done.stdout, re.M).groups()) for line in SHOWN)
    ratios = [float(r) for r in re.search(RATIOS, done.stdout, re.M).groups()]
    # Each of the five has its share of the time, and what four of them do with theirs is to wait.
    assert computed < 40 and more_computed > 1.5 * computed, done.stdout
    assert ratios == [pytest.approx(more_pages / pages, rel=0.02), pytest.approx(more_computed / computed, rel=0.08)]
    guest = done.stats["guests"][0]
    assert guest["async_faults"]["injected"] > 500 and guest["paging"]["brought_swap"] > 2000
    assert guest["paging"]["limit_pages"] == 48 * 256


@pytest.fixture
def session():
    child = pexpect.spawn(sys.executable, [str(ROOT / "tools" / "mw"), "run", "--demo", "--timeout", "180"],
                          timeout=90, encoding="utf-8", codec_errors="replace", dimensions=(24, 200))
    try:
        child.expect_exact("a fifth one computes")
        yield child
    finally:
        child.close(force=True)


def test_in_a_session(session):
    """First of all it is shown, and then there is a shell, in which it can be had again."""
    session.expect("apf: on makes ")
    session.expect('"apf 64" shows that again')
    session.expect(PROMPT)
    session.sendline("cat /sys/kernel/debug/meanwhile/stats")
    session.expect(r"parked_user \d{3}")
    session.expect(PROMPT)
    session.sendline("rmmod meanwhile; apf 64")
    session.expect("apf: /sys/module/meanwhile/parameters/apf: No such file")
    session.expect(PROMPT)
    session.sendline("exit")
    session.expect(pexpect.EOF)
    session.wait()
    assert session.exitstatus == 0


def test_is_left_by_control_c(session):
    session.sendcontrol("c")
    session.expect('"apf 64" shows that again')
    session.expect(PROMPT)
    session.sendline("poweroff -f")
    session.expect(pexpect.EOF)
    session.wait()
    assert session.exitstatus == 0
