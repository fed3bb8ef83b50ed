# SPDX-License-Identifier: BSD-2-Clause
"""What becomes of asynchronous page faults when another kernel takes over, in good order or after a crash, and when the machine sleeps: with the
module of guest/linux, while tasks sleep for pages."""

import re
import subprocess
from pathlib import Path

import pytest
from test_apf_debian import INIT, OFF, SLEPT, counters
from test_debian import COMPLAINTS, LOUD

ROOT = Path(__file__).resolve().parent.parent.parent
BUILD = ROOT / "build"
RESIDENT = "64M"
WORKERS = """
for n in 1 2 3 4; do /work mem 5000 0 20 for=MS & done
"""
STATS = "cat /sys/kernel/debug/meanwhile/stats\n"


@pytest.fixture
def archive(tmp_path):
    """archive(name, init, kernel, programs, more) -> an initramfs with the module for that kernel, these programs, and more files."""
    from mwlib import cpio

    def write(name, init, kernel="arm64", programs=("work",), more=()):
        files = [("meanwhile.ko", (BUILD / "module" / kernel / "meanwhile.ko").read_bytes(), 0o644), *more]
        files += [(p, (BUILD / "programs" / p).read_bytes(), 0o755) for p in programs]
        path = tmp_path / name
        path.write_bytes(cpio.initramfs(init.encode(), (BUILD / "debian" / "busybox").read_bytes(), files))
        return path

    return write


@pytest.fixture
def run(mw, drive):
    """run(kernel, initrd, ...) -> (output, statistics) of a guest that powers off in the end."""

    def start(kernel, initrd, *args, cpus=2, append="", timeout=240, **kw):
        done = mw("run", "--kernel", kernel, "--initrd", initrd, "--append", f"{LOUD} panic=-1 {append}", "--no-reboot", "--cpus", cpus, "--memory", "512M", "--resident",
                  RESIDENT, "--store", 0, "--swap", drive("--filter=delay", "memory", "1G", "rdelay=1ms", write=True), *args, timeout=timeout, **kw)
        out = done.stdout.replace("\r", "")
        assert done.code == 0 and done.stats["result"] == "off", out + done.stderr
        assert "WRONG" not in out and "no module" not in out, out
        return out, done.stats

    return start


# ---- another kernel

BASE, SIZE = 0x4c00_0000, 160 << 20  # where the second one goes
FIRST = INIT + """
insmod /meanwhile.ko || echo no module
/kexec /vmlinuz /second.cpio "APPEND" PLACE || { echo no kexec; poweroff -f; }
""" + WORKERS.replace("MS", "100000") + SLEPT + """
while [ "$(slept)" -lt 100 ]; do sleep 0.2; done
""" + STATS
SECOND = INIT + """
echo "second: $(nproc) CPUs"
insmod /meanwhile.ko || echo no module
""" + WORKERS.replace("MS", "2500") + "wait\n" + STATS + "rmmod meanwhile && echo unloaded\n" + OFF


@pytest.fixture
def two_kernels(run, archive, debian_kernel, more_kernels):
    """two_kernels(kernel, size, end) -> (output of the first, output of the second)."""

    def start(name, place, end, **kw):
        kernel = {"arm64": debian_kernel, **more_kernels}[name]
        second = archive("second.cpio", SECOND, name).read_bytes()
        first = archive("first.cpio", FIRST.replace("APPEND", f"{LOUD} cma=0").replace("PLACE", place) + end, name, ("work", "kexec"),
                        [("vmlinuz", kernel.read_bytes(), 0o644), ("second.cpio", second, 0o644)])
        out, _ = run(kernel, first, **kw)
        parts = out.split("Booting Linux on physical CPU")
        assert len(parts) == 3, out
        return parts[1:]

    return start


def works_again(out, cpus):
    assert not [line for line in out.splitlines() if COMPLAINTS.search(line)], out
    assert f"second: {cpus} CPUs" in out and "unloaded" in out, out
    assert len(re.findall(r"work: mem did \d+ in \d+ ms", out)) == 4, out
    module = counters(out)
    assert module["parked_user"] > 100 and module["events"] > 100, out


@pytest.mark.racy
@pytest.mark.parametrize("kernel, cpus", [("arm64", 1), ("arm64", 2), ("6.12", 2)])
def test_kexec(two_kernels, kernel, cpus):
    """In good order: the module's notifier turns it off before the next kernel is there."""
    first, second = two_kernels(kernel, f"{BASE:#x}", "/kexec\n", cpus=cpus)
    assert not [line for line in first.splitlines() if COMPLAINTS.search(line)], first
    assert counters(first)["parked_user"] >= 100
    works_again(second, cpus)


@pytest.mark.racy
@pytest.mark.parametrize("kernel, cpus", [("arm64", 1), ("arm64", 2), ("6.12", 2)])
def test_crash(two_kernels, kernel, cpus):
    """The kernel that dies tells nobody, and its last CPU is the first one of the next."""
    first, second = two_kernels(kernel, f"{BASE:#x} {SIZE:#x}", f"taskset -c {cpus - 1} sh -c 'echo c >/proc/sysrq-trigger'\n", cpus=cpus,
                                append=f"crashkernel={SIZE:#x}@{BASE:#x}")
    assert "sysrq triggered crash" in first and counters(first)["parked_user"] >= 100, first
    works_again(second, cpus)


# ---- sleep

SLEEP = INIT + """
insmod /meanwhile.ko || echo no module
for w in $(find /sys/devices -path '*ttyAMA0/power/wakeup'); do echo enabled >$w; done
""" + SLEPT + WORKERS.replace("MS", "15000") + """
for n in 1 2; do
    before=$(slept)
    while [ $(slept) -lt $((before + 100)) ]; do sleep 0.2; done
    # A byte that comes before all is asleep keeps it awake.
    until echo HOW >/sys/power/state; do sleep 0.2; done 2>/dev/null
    echo "awake from HOW: $(cat /sys/power/suspend_stats/success)"
done
wait
""" + STATS + "rmmod meanwhile && echo unloaded\n" + OFF


@pytest.fixture
def keys():
    """A byte every two seconds on the console, which is what wakes the machine."""
    with subprocess.Popen(["sh", "-c", "while sleep 2; do echo; done"], stdout=subprocess.PIPE) as process:
        yield process.stdout
        process.kill()


@pytest.mark.racy
@pytest.mark.parametrize("how, message", [("mem", "suspend entry (deep)"), ("freeze", "suspend entry (s2idle)")])
@pytest.mark.parametrize("cpus", [1, 2])
def test_sleep(run, archive, debian_kernel, keys, cpus, how, message):
    """To RAM, by SYSTEM_SUSPEND, and to idle: tasks that were asleep for a page go on afterwards, and sleep for pages again."""
    out, _ = run(debian_kernel, archive("sleep.cpio", SLEEP.replace("HOW", how)), cpus=cpus, stdin=keys)
    assert not [line for line in out.splitlines() if COMPLAINTS.search(line)], out
    assert re.findall(rf"^awake from {how}: (\d+)$", out, re.M) == ["1", "2"] and out.count(message) >= 2, out
    assert len(re.findall(r"work: mem did \d+ in \d+ ms", out)) == 4 and "unloaded" in out, out
    assert counters(out)["parked_user"] > 300, out
