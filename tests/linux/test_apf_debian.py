# SPDX-License-Identifier: BSD-2-Clause
"""Asynchronous page faults in Debian's kernels, by the module of guest/linux: tasks at work on more memory than the guest may hold
read what they wrote, sleep for pages instead of holding up their CPU, and none is left asleep."""

import re
from pathlib import Path

import pytest
from test_debian import COMPLAINTS, LOUD, MOUNTS

ROOT = Path(__file__).resolve().parent.parent.parent
INIT = MOUNTS + """
mount -t debugfs debug /sys/kernel/debug
"""
OFF = """
sleep 0.3
poweroff -f
"""


@pytest.fixture
def linux(mw, initramfs, debian_kernel, more_kernels, drive):
    """linux(script, kernel=, cpus=, delay=, ...) -> (output, statistics) of a guest with the module and work in its root."""

    def run(script, *args, kernel="arm64", cpus=1, delay=1, resident="64M", swap=None, may_say="", timeout=180):
        ko = ROOT / "build" / "module" / kernel / "meanwhile.ko"
        files = {"meanwhile.ko": (ko.read_bytes(), 0o644), 
                 **{name: ((ROOT / "build" / "programs" / name).read_bytes(), 0o755) for name in ("work", "unreadable")}}
        swap = swap or ["--filter=delay", "memory", "512M", f"rdelay={delay}ms"]
        limits = ["--resident", resident, "--store", 0, "--swap", drive(*swap, write=True)]
        done = mw("run", "--kernel", {"arm64": debian_kernel, **more_kernels}[kernel], "--initrd", initramfs(INIT + script + OFF, files),
                  "--append", LOUD, "--cpus", cpus, "--memory", "256M", *(limits if resident else []), *args, timeout=timeout)
        out = done.stdout.replace("\r", "")
        assert done.code == 0 and done.stats["result"] == "off", out + done.stderr
        assert not [line for line in out.splitlines() if COMPLAINTS.search(line) and not (may_say and re.search(may_say, line))], out
        assert "WRONG" not in out, out
        return out, done.stats

    return run


def counters(out):
    return {name: int(n) for name, n in re.findall(r"^(parked_user|parked_kernel|early|waited_alone|waited_atomic|events|interrupts|errors"
                                                   r"|woken_all) (\d+)$", out, re.M)}


SLEPT = """
slept() { awk '/^parked_user/ { print $2 }' /sys/kernel/debug/meanwhile/stats; }
"""
WORK = """
insmod /meanwhile.ko || echo no module
for n in 1 2 3; do /work mem 6000 0 20 for=4000 seed=$n & done
/work fetch 2500 0 for=4000 &
/work pipe 2500 0 for=4000 &
wait
cat /sys/kernel/debug/meanwhile/stats
rmmod meanwhile && echo unloaded
"""


@pytest.mark.racy
@pytest.mark.parametrize("kernel, cpus", [("arm64", 1), ("rt", 2), ("6.12", 2)])
def test_tasks_sleep_for_pages(linux, kernel, cpus):
    """Loads and stores, instruction fetches, and the kernel's own copies from and to user space: all for as long as the others, since
    who is the last waits in the hypervisor."""
    out, stats = linux(WORK, kernel=kernel, cpus=cpus)
    assert sorted(re.findall(r"^work: (\w+) did [1-9]\d* in ", out, re.M)) == ["fetch", "mem", "mem", "mem", "pipe"], out
    assert "unloaded" in out
    module, ours = counters(out), stats["guests"][0]["async_faults"]
    assert module["parked_user"] > 500 and module["parked_kernel"] > 5, (module, ours)
    slept = module["parked_user"] + module["parked_kernel"] + module["early"]
    # What happened after the counters were read is the hypervisor's alone: no more than may be on their way at once.
    assert 0 <= ours["injected"] - slept - module["waited_alone"] - module["waited_atomic"] <= 64 * cpus, (module, ours)
    assert 0 <= ours["ready"] - module["events"] <= 64 * cpus and module["interrupts"] <= module["events"], (module, ours)
    assert stats["shared_locks_on_fault_path"] == 0


@pytest.mark.parametrize("identity", ["none", "kvm"])
def test_not_for_others(linux, identity):
    """Where the hypervisor does not say who it is the module does not load, and calls nobody: there are as many hypercalls as without it."""
    out, stats = linux("insmod /meanwhile.ko; echo insmod $?\n", "--identity", identity, resident="")
    assert "No such device" in out and "insmod 1" in out, out
    _, without = linux("", "--identity", identity, resident="")
    assert stats["guests"][0]["exits"]["hvc"] == without["guests"][0]["exits"]["hvc"]
    assert stats["guests"][0]["async_faults"]["injected"] == 0


BY_TURNS = """
insmod /meanwhile.ko apf=APF || echo no module
/work mem 12000 1000 turns=250 FILE
"""


@pytest.mark.parametrize("apf", ["Y", "N"])
def test_plain_waits(linux, apf):
    """For comparisons: no interrupt ends a wait of a guest that is not told of its pages, while one that is told waits as it always does."""
    turned = "/sys/module/meanwhile/parameters/apf" if apf == "Y" else "/tmp/turned"
    out, stats = linux(BY_TURNS.replace("APF", apf).replace("FILE", turned), "--plain-waits")
    assert "no module" not in out and re.search(r"^work: mem turns 500 in [1-9]\d* us, 500 in [1-9]\d* us$", out, re.M), out
    guest = stats["guests"][0]
    assert (guest["async_faults"]["injected"] > 0) == (guest["interrupted_waits"] > 0) == (apf == "Y"), guest
    assert guest["faults"]["waited"] > 500


CHANGES = SLEPT + """
# until twenty more tasks have slept for a page: a slow machine takes longer for it
sleep_after() {
    before=$(slept) waited=0
    until [ $(($(slept) - before)) -ge 20 ]; do
        sleep 0.1; waited=$((waited + 1)); [ $waited -lt 300 ] || { echo "nobody sleeps after $1"; break; }
    done
}
insmod /meanwhile.ko || echo no module
for n in 1 2 3; do /work mem 6000 0 20 for=600000 seed=$n & done
/work pipe 2500 0 for=600000 &
n=0
while [ $n -lt 12 ]; do
    echo N >/sys/module/meanwhile/parameters/apf; sleep 0.1; echo Y >/sys/module/meanwhile/parameters/apf; sleep_after "turning on"
    echo 0 >/sys/devices/system/cpu/cpu1/online; sleep_after "a CPU went"; echo 1 >/sys/devices/system/cpu/cpu1/online; sleep_after "a CPU came"
    rmmod meanwhile && insmod /meanwhile.ko || echo no reload
    sleep_after "loading"
    grep -q SMC /sys/kernel/debug/psci || echo no answer; sleep_after "PSCI was asked for its version"
    n=$((n + 1))
done
echo "$n rounds"
killall work
wait
"""


@pytest.mark.racy
@pytest.mark.parametrize("kernel", ["arm64", "rt"])
def test_changes_under_way(linux, kernel):
    """Turned off and on, CPUs that go and come, the module unloaded and loaded, and the call by which a kernel that starts says so, made
    by one that runs, while tasks sleep: after each, tasks sleep again, and none sleeps on."""
    out, stats = linux(CHANGES, kernel=kernel, cpus=2)
    assert len(re.findall(r"work: (mem|pipe) did [1-9]\d* in \d+ ms", out)) == 4, out
    assert "12 rounds" in out and not re.search("no reload|no module|no answer|nobody sleeps", out), out
    assert stats["guests"][0]["async_faults"]["injected"] >= 12 * 5 * 20


UNREADABLE = """
insmod /meanwhile.ko || echo no module
/work cpu 0 for=100000 >/dev/null &
/unreadable
sleep 1
/unreadable used
cat /sys/kernel/debug/meanwhile/stats
killall work
"""


@pytest.mark.parametrize("kernel, cpus", [("arm64", 1), ("rt", 2), ("6.12", 1)])
def test_pages_that_cannot_be_read(linux, tmp_path, kernel, cpus):
    """Pages with a mark in them, which the swap disk fails to read: who touches one gets SIGBUS, a system call that copies from one an
    error, and none of them is used again; the kernel lives on."""
    where, one = tmp_path / "content", tmp_path / "one"
    with open(where, "wb") as f:
        f.truncate(512 << 20)
    disk = ["eval", "get_size=echo 536870912", "thread_model=echo serialize_all_requests", "can_write=exit 0",
            f"pread=dd if={where} skip=$4 count=$3 iflag=count_bytes,skip_bytes,fullblock status=none of={one};"
            f" if grep -q 'not to be read' {one}; then echo EIO no >&2; exit 1; fi; cat {one}",
            f"pwrite=dd of={where} seek=$4 oflag=seek_bytes conv=notrunc status=none"]  # yapf: disable
    out, stats = linux(UNREADABLE, kernel=kernel, cpus=cpus, resident="96M", swap=disk, may_say="Memory failure")
    assert "no module" not in out and "unreadable: all of 8 as they should" in out and "unreadable: 64 MiB used" in out, out
    assert stats["guests"][0]["unreadable_faults"] >= 8, stats["guests"][0]
