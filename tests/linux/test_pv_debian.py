# SPDX-License-Identifier: BSD-2-Clause
"""What Debian's kernel makes of PV time, SYSTEM_SUSPEND, AArch32 programs and the TRNG."""

import re
import struct
import sys
from pathlib import Path

import pexpect
import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
APPEND = "console=ttyAMA0 cryptomgr.notests"
MOUNTS = """#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/bin
mount -t devtmpfs dev /dev
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t tmpfs -o size=90% tmp /tmp
"""


def ended(done):
    assert done.code == 0, done.stdout + done.stderr
    assert done.stats["result"] == "off"
    return done.stdout.replace("\r", "")


def fields(out, word):
    """Of the lines `WORD N N ...` that the guest printed."""
    found = [[int(n) for n in m.split()] for m in re.findall(rf"^{word} ([0-9 ]+)$", out, re.M)]
    assert found, out
    return found


@pytest.mark.racy
def test_stolen_time(mw, initramfs, debian_kernel):
    """The guest writes to blocks faster than one helper makes them ready: what its vCPUs wait is /proc/stat's steal, in
    ticks of 10 ms."""
    init = MOUNTS + """
for n in 1 2; do dd if=/dev/zero of=/tmp/fill$n bs=1M count=170 2>/dev/null & done
wait
echo "steal $(awk '/^cpu /{print $9}' /proc/stat)"
poweroff -f
"""
    done = mw("run", "--kernel", debian_kernel, "--initrd", initramfs(init), "--cpus", 2, "--memory", "768M", "--append", APPEND,
              timeout=120)
    out = ended(done)
    assert "using stolen time PV" in out
    ((steal,),) = fields(out, "steal")
    waited = done.stats["guests"][0]["wait_ns"] / 1e7
    # The kernel counts at its ticks and shows whole ones; what its CPUs waited before they had any it counts at the first.
    assert steal > 0 and waited / 2 - 2 <= steal <= waited + 2, f"steal {steal}, waited {waited} ticks"


def arm_program(text):
    """A static A32 ELF that writes `text` to standard output and exits with 42: EABI calls, r7 is the number."""
    code = struct.pack("<8I", 0xE3A00001,  # mov r0, #1
                       0xE28F1014,         # add r1, pc, #20: the text
                       0xE3A02000 | len(text),  # mov r2, #length
                       0xE3A07004,         # mov r7, #4: write
                       0xEF000000,         # svc #0
                       0xE3A0002A,         # mov r0, #42
                       0xE3A07001,         # mov r7, #1: exit
                       0xEF000000)  # yapf: disable
    code = code[:4] + struct.pack("<I", 0xE28F1000 | (32 - 4 - 8)) + code[8:] + text
    base, headers = 0x10000, 52 + 32
    ident = b"\x7fELF\x01\x01\x01" + bytes(9)
    elf = ident + struct.pack("<HHIIIIIHHHHHH", 2, 40, 1, base + headers, 52, 0, 0x05000000, 52, 32, 1, 0, 0, 0)
    size = headers + len(code)
    return elf + struct.pack("<8I", 1, 0, base, base, size, size, 5, 0x1000) + code


@pytest.mark.parametrize("cpu", ["cortex-a53", "cortex-a57", "max,pauth-impdef=on"])
def test_aarch32_program(mw, initramfs, debian_kernel, cpu):
    init = MOUNTS + """
/arm
echo "code $?"
poweroff -f
"""
    files = {"arm": (arm_program(b"hello from AArch32\n"), 0o755)}
    done = mw("run", "--kernel", debian_kernel, "--initrd", initramfs(init, files), "--append", APPEND, "--cpu", cpu)
    out = ended(done)
    assert "hello from AArch32" in out.splitlines()
    assert fields(out, "code") == [[42]]


@pytest.mark.racy
@pytest.mark.parametrize("cpus", [1, 2])
def test_suspend_to_ram(mw, initramfs, debian_kernel, cpus):
    """The kernel finds SYSTEM_SUSPEND and comes back from each of its own tests of it, which use all but the call."""
    init = MOUNTS + """
echo "states $(cat /sys/power/mem_sleep)"
echo core > /sys/power/pm_test
for i in 1 2; do echo mem > /sys/power/state; echo "back $i"; done
dmesg | grep -c "suspend exit"
grep -c ^processor /proc/cpuinfo
poweroff -f
"""
    # Each of its tests ends with a busy wait of five seconds otherwise, which --icount executes one by one.
    done = mw("run", "--kernel", debian_kernel, "--initrd", initramfs(init), "--append", f"{APPEND} suspend.pm_test_delay=1",
              "--cpus", cpus)
    out = ended(done)
    assert re.search(r"^states .*deep", out, re.M), out
    assert fields(out, "back") == [[1], [2]]


@pytest.mark.parametrize("cpus", [1, 2])
def test_suspend_until_a_key(initramfs, debian_kernel, cpus):
    """Asleep for real: SYSTEM_SUSPEND returns at cpu_resume when a key is typed, and not before."""
    init = MOUNTS + """
cat /sys/power/mem_sleep
echo enabled > /sys/class/tty/ttyAMA0/power/wakeup
echo going to sleep
sleep 1 # the UART's last transmit interrupt is a wake-up like others
echo mem > /sys/power/state
echo "woken with $(grep -c ^processor /proc/cpuinfo) CPUs"
poweroff -f
"""
    child = pexpect.spawn(sys.executable, [str(ROOT / "tools" / "mw"), "run", "--kernel", str(debian_kernel), "--initrd",
                                           str(initramfs(init)), "--append", APPEND, "--cpus", str(cpus), "--timeout", "80"],
                          timeout=60, encoding="utf-8", codec_errors="replace")  # yapf: disable
    with child:
        child.expect("going to sleep")
        assert child.expect(["woken with", pexpect.TIMEOUT], timeout=5) == 1, "awake without a reason"
        child.send("x")
        child.expect(f"woken with {cpus} CPUs")
        child.expect(pexpect.EOF)
    assert child.exitstatus == 0
