# SPDX-License-Identifier: BSD-2-Clause
"""Identity `kvm` from a bare EL1 guest (tests/guest/kvm.c): whom it finds, and KVM's clock, where the machine has one."""

import pytest

from test_image import passed

ALWAYS = ["SMCCC", "KVM's UID", "KVM's features", "no call of another"]


@pytest.mark.racy
@pytest.mark.parametrize("machine", ["virt", "virt-gicv2"])
def test_clock(clock, guest_image, machine):
    """Read each millisecond for a second it knows where the second begins: never ahead of this host, whose clock is the machine's."""
    out, behind = clock("--kernel", guest_image("kvm"), "--identity", "kvm", "--machine", machine, "--cpus", 2, "--append", "seconds=2")
    for name in [*ALWAYS, "the virtual counter", "the physical counter", "no other counter",
                 "the machine's own clock is not ours", "two CPUs agree", "it never goes back"]:
        assert f"PASS {name}\n" in out, out
    assert "FAIL" not in out, out
    assert -0.002 < behind < 0.2, behind  # a console's delay on a busy host; without the edge half a second is usual


def test_no_clock(mw, no_rtc, guest_image):
    done = mw("run", *no_rtc("--kernel", guest_image("kvm"), "--identity", "kvm", "--append", "ptp=0"))
    passed(done, *ALWAYS, "no clock, no PTP")
