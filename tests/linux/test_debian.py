# SPDX-License-Identifier: BSD-2-Clause
"""Debian's own arm64 kernel as a guest: it boots, works, is typed at, and ends, and finds nothing to complain about."""

import hashlib
import re
import sys
import time
from pathlib import Path

import pexpect
import pytest

pytestmark = pytest.mark.racy  # `make soak` runs each several times

ROOT = Path(__file__).resolve().parent.parent.parent
# Without `quiet`: what the kernel has to say is part of the test.
LOUD = "console=ttyAMA0 cryptomgr.notests"
MOUNTS = """#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/bin
mount -t devtmpfs dev /dev
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t tmpfs tmp /tmp
"""
COMPLAINTS = re.compile(r"WARNING|BUG|Oops|Call trace|Unable to handle|stall|Kernel panic|SError|lockup|Bad mode|"
                        r"Unexpected|unhandled|Synchronous External|(?:GICv3|arch_timer): .*(?:fail|unknown)")


def healthy(done, code=0, result="off"):
    assert done.code == code, done.stdout + done.stderr
    assert done.stats["result"] == result
    complaints = [line for line in done.stdout.splitlines() if COMPLAINTS.search(line)]
    assert not complaints, "\n".join(complaints)
    assert "Linux version" in done.stdout  # the kernel's messages are there to be looked at


def population(done, cpus, helpers):
    """Where the guest's pages came from, as the launcher tells it."""
    (guest,) = done.stats["guests"]
    assert guest["vcpus"] == cpus
    assert len(done.stats["helpers"]) == helpers
    assert guest["filled_before_start"] == 0
    assert done.stats["shared_locks_on_fault_path"] == 0
    assert 0 < guest["touched_pages"] <= guest["ram_pages"] == 131072
    assert guest["block_pages"] <= guest["touched_pages"]
    if helpers:
        assert guest["faults"]["queued"] > 0 and guest["faults"]["fast"] > 0
        assert guest["block_pages"] >= 0.95 * guest["touched_pages"]
        assert all(h["busy_ns"] > 0 for h in done.stats["helpers"])
    else:
        # Two vCPUs that meet at one page: the second waits for the first, which fills it in its own fault.
        assert guest["faults"]["queued"] <= (guest["faults"]["fast"] // 10 if cpus > 1 else 0)
        assert guest["faults"]["fast"] > 0


@pytest.mark.parametrize("cpus", [1, 2, 4])
@pytest.mark.parametrize("helpers", [0, 1])
def test_demo(mw, debian_kernel, demo_initrd, cpus, helpers):
    done = mw("run", "--kernel", debian_kernel, "--initrd", demo_initrd, "--append", f"{LOUD} mw.demo=1",
              "--cpus", cpus, "--helpers", helpers)
    healthy(done)
    assert f"on {cpus} vCPU, " in done.stdout
    assert "demo: ok, 64 MiB written and read back" in done.stdout
    assert f"SMP: Total of {cpus} processors activated" in done.stdout
    population(done, cpus, helpers)


@pytest.mark.racy
@pytest.mark.parametrize("cpus", [1, 2])
def test_gicv2(mw, debian_kernel, demo_initrd, cpus):
    """Where the host has a GICv2, so has the guest."""
    done = mw("run", "--machine", "virt-gicv2", "--kernel", debian_kernel, "--initrd", demo_initrd, "--append",
              f"{LOUD} mw.demo=1", "--cpus", cpus)
    healthy(done)
    assert "demo: ok, 64 MiB written and read back" in done.stdout
    assert "Root IRQ handler: gic_handle_irq" in done.stdout and "GICv3:" not in done.stdout
    population(done, cpus, 1)


@pytest.mark.parametrize("cpu", ["cortex-a53", "cortex-a72", "max,pauth-impdef=on"])
def test_cpu_types(mw, debian_kernel, demo_initrd, cpu):
    """cortex-a57, the default, has the tests above."""
    done = mw("run", "--kernel", debian_kernel, "--initrd", demo_initrd, "--append", f"{LOUD} mw.demo=1",
              "--cpus", 2, "--cpu", cpu)
    healthy(done)
    assert "demo: ok" in done.stdout
    population(done, 2, 1)


def test_default_run(mw):
    """What `make run` does where nobody types: a short workload, power-off, and not a word too many."""
    done = mw("run")
    assert done.code == 0, done.stdout + done.stderr
    out = [line for line in done.stdout.replace("\r", "").splitlines() if line]
    own = [line for line in out if line.startswith("[mw] ")]
    told = [line for line in out if line not in own]
    assert own
    assert [line.split(":")[0] for line in told[:3]] == ["init", "demo", "demo"], done.stdout
    assert told[2].startswith("demo: ok")
    assert len(told) == 4 and told[3].endswith("reboot: Power down")  # the kernel's, even when it is quiet


@pytest.mark.parametrize("end, append, result", [
    ("reboot -f", "", "reset"),
    ("poweroff -f", "", "off"),
    ("exit", "panic=-1", "reset"),  # no /init: the kernel panics, and resets at once
])
def test_ends(mw, debian_kernel, initramfs, end, append, result):
    initrd = initramfs(f"{MOUNTS}echo init: the end is near\n{end}\n")
    done = mw("run", "--kernel", debian_kernel, "--initrd", initrd, "--cpus", 2, "--memory", "256M", "--no-reboot",
              "--append", f"console=ttyAMA0 quiet cryptomgr.notests {append}")
    assert (done.code, done.stats["result"]) == (0 if result == "off" else 3, result), done.stdout + done.stderr
    assert "init: the end is near" in done.stdout
    assert ("Kernel panic" in done.stdout) == (append == "panic=-1")
    if result == "reset":
        assert "asked for a reset" in done.stderr


def test_what_the_guest_sees(mw, debian_kernel, initramfs):
    """The hypervisor's node, and a device tree, interrupts and CPUs as on the virt board."""
    script = MOUNTS + r"""
cd /proc/device-tree
show() { echo "see: $1 = $(tr '\0' ' ' <"$1")"; }
show hypervisor/compatible
show compatible
show psci/method
show cpus/cpu@3/enable-method
echo "see: cpus = $(ls -d cpus/cpu@* | wc -l)"
echo "see: online = $(cat /sys/devices/system/cpu/online)"
grep -E 'arch_timer|uart-pl011' /proc/interrupts
echo 0 >/sys/devices/system/cpu/cpu3/online && echo "see: less = $(cat /sys/devices/system/cpu/online)"
echo 1 >/sys/devices/system/cpu/cpu3/online && echo "see: more = $(cat /sys/devices/system/cpu/online)"
poweroff -f
"""
    done = mw("run", "--kernel", debian_kernel, "--initrd", initramfs(script), "--append", LOUD, "--cpus", 4)
    healthy(done)
    seen = dict(re.findall(r"^see: (\S+) = (.*?) *\r?$", done.stdout, re.M))
    assert seen["hypervisor/compatible"] == "meanwhile,hypervisor-1.0 meanwhile,hypervisor"
    assert "dummy-virt" not in seen["compatible"]
    assert seen["psci/method"] == "hvc" and seen["cpus/cpu@3/enable-method"] == "psci"
    assert (seen["cpus"], seen["online"], seen["less"], seen["more"]) == ("4", "0-3", "0-2", "0-3")
    timer = re.search(r"^ *\d+:((?: +\d+){4}) .*arch_timer", done.stdout, re.M)
    assert timer and all(int(n) > 0 for n in timer[1].split()), done.stdout
    assert re.search(r"^ *\d+:.*GICv3 +33 .*uart-pl011", done.stdout, re.M), done.stdout


# ---- memory

FILES = 6
COUNT = 20_000  # of lines, each file's own: about 110 KB, written REPEATS times
REPEATS = 50


def contents(n):
    return b"".join(b"%d\n" % i for i in range(n, n + COUNT)) * REPEATS


def test_checksums(mw, debian_kernel, initramfs):
    """30 MiB written and summed by two vCPUs at once, with a helper and without: the sums are the host's."""
    script = MOUNTS + rf"""
mount -o remount,size=400m /tmp
cd /tmp
make() {{
    seq $1 $(($1 + {COUNT} - 1)) >part$1
    cat $(for i in $(seq {REPEATS}); do echo part$1; done) >file$1
    sha256sum file$1 >sum$1
    rm part$1
}}
for n in 1 3 5; do make $n; done & one=$!
for n in 2 4 6; do make $n; done
wait $one
sha256sum file? | while read sum file; do echo "again $file $sum"; done
cat sum? | while read sum file; do echo "first $file $sum"; done
poweroff -f
"""
    initrd = initramfs(script)
    expected = {f"file{n}": hashlib.sha256(contents(n)).hexdigest() for n in range(1, FILES + 1)}
    for helpers in (1, 0):
        done = mw("run", "--kernel", debian_kernel, "--initrd", initrd, "--append", LOUD, "--cpus", 2, "--helpers",
                  helpers, timeout=120)
        healthy(done)
        for when in ("first", "again"):
            assert dict(re.findall(rf"^{when} (file\d) ([0-9a-f]{{64}})\r?$", done.stdout, re.M)) == expected
        population(done, 2, helpers)
        assert done.stats["guests"][0]["touched_pages"] > 30 * 256


# ---- a person at a terminal

PROMPT = "/root # "


@pytest.fixture
def session(tmp_path):
    """A guest on a pseudo-terminal, at its prompt."""
    child = pexpect.spawn(sys.executable, [str(ROOT / "tools" / "mw"), "run", "--cpus", "2", "--timeout", "90"],
                          timeout=45, encoding="utf-8", codec_errors="replace", dimensions=(24, 200))
    try:
        child.expect_exact("init: first line")
        child.expect(PROMPT)
        yield child
    finally:
        child.close(force=True)


def at_prompt(session, command, answer):
    session.sendline(command)
    session.expect(answer)
    session.expect(PROMPT)


def test_session(session):
    # The shell computes what is waited for, so that the echo of what was typed does not pass for an answer.
    at_prompt(session, "echo $((6 * 7))th", "42th")
    at_prompt(session, "uname -m; nproc", r"aarch64\s+2\s")
    at_prompt(session, "tr '\\0' ' ' </proc/device-tree/hypervisor/compatible; echo", "meanwhile,hypervisor-1.0 ")
    at_prompt(session, "sleep 1; echo $((8 * 8))", "64")
    # A line longer than a FIFO, all of it.
    at_prompt(session, f"echo {'x' * 150} | wc -c", "151")
    # Ctrl-C is the guest's.
    session.sendline("echo as$((3 * 3)); sleep 1000; echo no")
    session.expect("as9")  # the shell has left its line editor, in which Ctrl-C would be a key like others
    time.sleep(0.5)
    session.sendcontrol("c")
    session.expect(PROMPT)
    at_prompt(session, "echo still $((1 + 1))", "still 2")
    session.sendline("poweroff -f")
    session.expect("mw: guest: touched .* % of that in 2 MiB blocks")
    session.expect(pexpect.EOF)
    session.wait()
    assert session.exitstatus == 0


def test_session_left_by_exit(session):
    session.sendline("exit")
    session.expect(pexpect.EOF)
    session.wait()
    assert session.exitstatus == 0


def test_session_left_by_escape(session):
    session.send("\x01x")
    session.expect("interrupted")
    session.expect(pexpect.EOF)
    session.wait()
    assert session.exitstatus == 130


def test_session_reboots(session):
    """The guest starts again in place, on fresh RAM, as often as it asks."""
    for word in ("one", "two"):
        at_prompt(session, f"echo {word} >/dev/shm/left 2>/dev/null || echo {word} >/tmp/left; ls /tmp | wc -l", "1")
        session.sendline("reboot -f")
        session.expect_exact("init: first line")
        session.expect(PROMPT)
        at_prompt(session, "ls /tmp | wc -l", "0")
        at_prompt(session, "nproc", "2")
    session.sendline("poweroff -f")
    session.expect(pexpect.EOF)
    session.close()
    assert session.exitstatus == 0


# ---- two at once


@pytest.mark.racy
@pytest.mark.parametrize("helpers", [0, 1])
def test_two(mw, debian_kernel, demo_initrd, tmp_path, helpers):
    """Each works as if it were alone, in its own RAM, and every line on the console is one guest's."""
    config = tmp_path / "two.toml"
    config.write_text(f"[machine]\nhelpers = {helpers}\n" + "".join(
        f'[[guest]]\nname = "{name}"\nkernel = "{debian_kernel}"\ninitrd = "{demo_initrd}"\nmemory = "256M"\n'
        f'append = "{LOUD} mw.demo=1"\n' for name in ("alpha", "beta")))
    done = mw("run", "--config", config, timeout=120)
    healthy(done)
    lines = done.stdout.replace("\r", "").splitlines()
    assert not [line for line in lines if not re.match(r"\[mw\] |alpha: |beta: ", line)], done.stdout
    for guest in done.stats["guests"]:
        own = "\n".join(line for line in lines if line.startswith(guest["name"] + ": "))
        assert f"{guest['name']}: demo: ok, 64 MiB written and read back" in own
        assert own.count("Linux version") == 1 and own.count("SMP: Total of 1 processors activated") == 1
        assert (guest["status"], guest["ram_pages"], guest["filled_before_start"]) == ("off", 65536, 0)
        assert 64 * 256 < guest["touched_pages"] <= guest["ram_pages"]
        if helpers:
            assert guest["block_pages"] >= 0.95 * guest["touched_pages"]
    assert done.stats["shared_locks_on_fault_path"] == 0
