# SPDX-License-Identifier: BSD-2-Clause
"""Asynchronous page faults from a bare EL1 guest (tests/guest/apf.c): each call, what is refused, and who is told of what."""

import os
import struct

import pytest

from test_disk import FROM_DISK
from test_image import passed

PAGE = 4096
ALWAYS = ["PSCI has PSCI_FEATURES", "it has SMCCC_VERSION", "SMCCC has the vendor's range", "the vendor is us", "the revision is ours",
          "INFO", "features", "the information page says the same", "a page, without a device tree", "and so does the node",
          "forged tokens", "ENABLE", "enabled twice",
          "nobody who has not asked is told", "all that is not present is answered", "each is answered once", "each has its content",
          "not with interrupts masked", "nor with the priority mask closed", "then not at EL1", "WAIT brings the page",
          "who always waits is told seldom", "who goes on for once", "is told of each again",
          "no more than the ring has room for", "one interrupt until the ring is read", "a ring that was tampered with: waits",
          "the rest is told at once", "and nothing after it", "a masked interrupt ends WAIT",
          "a kernel that runs, and asks, loses nothing", "a kernel that starts finds nothing registered",
          "nor does one whose MMU is off", "what was hinted at is there"]  # yapf: disable


def numbered(pages):
    """Pages that begin with their number; the rest does not compress."""
    return b"".join(struct.pack("<Q", n) + os.urandom(PAGE - 8) for n in range(pages))


@pytest.mark.racy
@pytest.mark.parametrize("machine", ["virt", "virt-gicv2"])
@pytest.mark.parametrize("cpus, delay", [(1, 10), (2, 3)])
def test_told_and_answered(mw, image, drive, machine, cpus, delay):
    """A guest with a residency limit: nothing brings a page but its touch."""
    url = drive("--filter=delay", "file", image("apf", numbered(7000)), f"rdelay={delay}ms")
    done = mw("run", "--disk", url, *FROM_DISK, "--machine", machine, "--cpus", cpus, "--resident", "48M", "--no-read-ahead", "--append", "")
    passed(done, *ALWAYS, *(["a page that is another's", "one of its own", "off with its CPU, and on again"] if cpus > 1 else []))
    asynchronous = done.stats["guests"][0]["async_faults"]
    assert asynchronous["injected"] > 200 and asynchronous["waits"] > 10 and asynchronous["refused_alone"] > 30
    assert asynchronous["ready"] + asynchronous["waits"] <= asynchronous["injected"]
    assert min(asynchronous[f"refused_{why}"] for why in ("masked", "kernel", "no_room")) >= 3
    assert done.stats["shared_locks_on_fault_path"] == 0


@pytest.fixture
def hoard(mw, guest_image):
    """hoard(touches) -> the result of a guest that has so many pages on their way, when it was paused."""

    def run(touches):
        done = mw("run", "--kernel", guest_image("hoard"), "--memory", "64M", "--resident", "8M", "--store", 0, "--pause-after", 1,
                  "--append", f"touches={touches}", until=[": paused: "])
        assert "FAIL" not in done.stdout and done.stdout.count(": paused: its 8 MiB are full") == 1, done.stdout + done.stderr
        return done

    return run


def test_asleep_for_want_of_room(hoard):
    """It waits for none of its pages, so nobody waits in its name; it is paused all the same, and a line says why."""
    done = hoard(20)
    assert "hoard: 20 on their way, and asleep" in done.stdout
    assert done.stats["guests"][0]["paging"]["starved"] >= 20


def test_more_than_may_be_on_their_way(hoard):
    """The 73rd waits until one of the others is over, which is never; asleep, so that the machine hears who pauses it."""
    done = hoard(1000)
    assert "hoard: 72 on their way" in done.stdout and "73" not in done.stdout and "asleep" not in done.stdout
    assert done.stats["guests"][0]["paging"]["starved"] >= 72
