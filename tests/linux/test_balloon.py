# SPDX-License-Identifier: BSD-2-Clause
"""A stock Debian kernel finds the balloon, and gives back by itself what it has no use for."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
MODULES = ("virtio_mmio", "virtio_balloon")
MIB = 256  # pages
LOUD = "console=ttyAMA0 cryptomgr.notests"
COMPLAINTS = re.compile(r"WARNING|BUG|Oops|Call trace|Unable to handle|stall|Kernel panic|SError|lockup|Bad page")
MOUNTS = """#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/bin
mount -t devtmpfs dev /dev
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t tmpfs -o size=90% tmp /tmp
"""
# Reports come two seconds after something has become free, and go on every two seconds while there is more.
BIG = """
insmod /virtio_mmio.ko && insmod /virtio_balloon.ko || echo "no module"
echo "device $(cat /sys/bus/virtio/devices/virtio0/device) $(readlink -f /sys/bus/virtio/devices/virtio0/driver)"
echo "features $(cut -c1-40 /sys/bus/virtio/devices/virtio0/features)"
echo "status $(cat /sys/bus/virtio/devices/virtio0/status)"
for i in $(seq TIMES); do
    seq 1000000 1999999 >/tmp/part
    for n in $(seq 13); do cat /tmp/part; done >/tmp/big
    echo "sum $(sha256sum </tmp/big)"
    rm /tmp/big /tmp/part
    sync
    sleep 5
done
grep -E "virtio" /proc/interrupts
poweroff -f
"""


@pytest.fixture
def modules():
    """{"virtio_mmio.ko": (content, mode)}: what the kernel has as modules, from its package."""
    files = {}
    for name in MODULES:
        (path,) = (ROOT / "build" / "debian" / "root" / "lib" / "modules").glob(f"*/kernel/drivers/virtio/{name}.ko")
        files[f"{name}.ko"] = (path.read_bytes(), 0o644)
    return files


def healthy(done):
    assert done.code == 0 and done.stats["result"] == "off", done.stdout + done.stderr
    complaints = [line for line in done.stdout.splitlines() if COMPLAINTS.search(line)]
    assert not complaints, "\n".join(complaints)
    return done.stdout.replace("\r", "")


@pytest.mark.racy
@pytest.mark.parametrize("cpus", [1, 2])
@pytest.mark.parametrize("helpers", [0, 1])
def test_free_pages_are_reported(mw, initramfs, debian_kernel, modules, cpus, helpers):
    """A file of 99 MiB in RAM, made and deleted twice: its pages are back each time, and the content is right."""
    script = MOUNTS + BIG.replace("TIMES", "2")
    done = mw("run", "--kernel", debian_kernel, "--initrd", initramfs(script, modules), "--append", LOUD,
              "--cpus", cpus, "--helpers", helpers, timeout=120)  # yapf: disable
    out = healthy(done)
    assert "device 0x0005 /sys/bus/virtio/drivers/virtio_balloon" in out, out
    bits = re.search(r"^features ([01]+)", out, re.M)[1]
    assert [i for i, bit in enumerate(bits) if bit == "1"] == [5, 32]
    assert "status 0x0000000f" in out
    sums = re.findall(r"^sum ([0-9a-f]{64})", out, re.M)
    assert len(sums) == 2 and len(set(sums)) == 1
    (guest,) = done.stats["guests"]
    assert guest["given_back_pages"] > 2 * 90 * MIB
    assert guest["touched_pages"] < 160 * MIB  # of 512 MiB, of which the kernel and the file alone took more
    if helpers:
        assert guest["block_pages"] >= 0.95 * guest["touched_pages"]
    # A report of up to 32 ranges is one round: each has given back more than a block.
    assert 0 < guest["give_back_rounds"] < guest["given_back_pages"] / 512
    assert done.stats["shared_locks_on_fault_path"] == 0
