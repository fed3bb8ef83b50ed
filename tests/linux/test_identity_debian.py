# SPDX-License-Identifier: BSD-2-Clause
"""Whom Debian finds: what its tools call the machine under each identity, KVM's clock, and that our module calls nobody where there
is no hypervisor."""

import re
import socket
import time
from pathlib import Path

import pexpect
import pytest
from test_debian import LOUD, MOUNTS

ROOT = Path(__file__).resolve().parent.parent.parent
DETECT = MOUNTS + """
echo "systemd: $(systemd-detect-virt) $?"
echo "virt-what: $(virt-what 2>/tmp/said) $?, $(wc -c </tmp/said) bytes of complaints"
cat /tmp/said
"""
OFF = """
poweroff -f
"""


def tools(init):
    """With the folders that Debian's own programs are in."""
    return init.replace("PATH=/bin", "PATH=/bin:/usr/bin:/usr/sbin")


def named(out):
    """(what systemd-detect-virt says, what virt-what says), both of which came to their end."""
    (systemd,) = re.findall(r"^systemd: (.*) [01]$", out, re.M)
    (virt_what,) = re.findall(r"^virt-what: (.*) 0, 0 bytes of complaints$", out, re.M)
    return systemd, virt_what.strip()


@pytest.mark.parametrize("identity, name", [("meanwhile", "vm-other"), ("kvm", "kvm"), ("none", "none")])
def test_tools(mw, initramfs, debian_kernel, detectors, identity, name):
    """The table in doc/abi.md: never a name that is wrong, and none from virt-what, which has none for what is there."""
    done = mw("run", "--kernel", debian_kernel, "--initrd", initramfs(tools(DETECT + OFF), detectors), "--append", LOUD,
              "--identity", identity, timeout=120)
    out = done.stdout.replace("\r", "")
    assert done.code == 0, out + done.stderr
    assert named(out) == (name, ""), out
    assert ("smccc: KVM: hypervisor services detected (0x00000000 0x00000000 0x00000000 0x00000003)" in out) == (identity == "kvm"), out


CLOCK = MOUNTS + """
echo "name $(cat /sys/class/ptp/ptp*/clock_name 2>/dev/null)"
[ -e /dev/ptp0 ] && /clock 1500
poweroff -f
"""


@pytest.mark.racy
@pytest.mark.parametrize("kernel", ["arm64", "6.12"])
def test_clock(clock, initramfs, debian_kernel, more_kernels, kernel):
    """ptp_kvm, which is built in: what it reads is this host's time, and goes with the counter."""
    image = {"arm64": debian_kernel, **more_kernels}[kernel]
    files = {"clock": ((ROOT / "build" / "programs" / "clock").read_bytes(), 0o755)}
    out, behind = clock("--kernel", image, "--initrd", initramfs(CLOCK, files), "--append", LOUD, "--identity", "kvm", "--cpus", 2,
                        timeout=120)
    assert "name KVM virtual PTP" in out, out
    assert "clock: it is" in out and "WRONG" not in out, out
    assert -0.002 < behind < 0.3, behind


@pytest.mark.parametrize("identity", ["meanwhile", "none", "kvm"])
def test_no_clock(mw, no_rtc, initramfs, debian_kernel, identity):
    """Nor under another identity, nor where the machine has none."""
    args = ["--kernel", debian_kernel, "--initrd", initramfs(CLOCK), "--append", LOUD, "--identity", identity]
    done = mw("run", *(no_rtc(*args) if identity == "kvm" else args), timeout=120)
    out = done.stdout.replace("\r", "")
    assert done.code == 0 and re.search(r"^name $", out, re.M), out + done.stderr


# ---- without a hypervisor


class Plain:
    """The same board, entered at EL1: PSCI is QEMU's own, by HVC. Its exceptions are logged from one line of the guest's to another."""

    def __init__(self, folder, kernel, initrd):
        monitor = folder / "monitor"
        self.log = folder / "exceptions"
        self.guest = pexpect.spawn("qemu-system-aarch64", [
            "-M", "virt", "-cpu", "cortex-a57", "-smp", "2", "-m", "512M", "-nodefaults", "-display", "none", "-serial", "stdio",
            "-monitor", f"unix:{monitor},server=on,wait=off", "-D", str(self.log), "-kernel", str(kernel), "-initrd", str(initrd),
            "-append", LOUD], timeout=120, encoding="utf-8", codec_errors="replace", echo=False)  # yapf: disable
        until = time.monotonic() + 20
        while not monitor.exists():
            assert self.guest.isalive() and time.monotonic() < until
            time.sleep(0.02)
        self.monitor = socket.socket(socket.AF_UNIX)
        self.monitor.settimeout(20)
        self.monitor.connect(str(monitor))
        self.answer()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.monitor.close()
        self.guest.close(force=True)

    def answer(self):
        said = b""
        while not said.endswith(b"(qemu) "):
            more = self.monitor.recv(4096)
            assert more, "no monitor any more"
            said += more

    def tell(self, command):
        self.monitor.sendall(command.encode() + b"\n")
        self.answer()

    def go_on(self, line):
        """The guest, which waits for a line, goes on until it has said this one. Its exceptions meanwhile, by name, each with what came of it."""
        before = self.log.stat().st_size if self.log.exists() else 0
        self.tell("log int")
        self.guest.send("\n")
        self.guest.expect(line)
        self.tell("log none")
        with self.log.open(encoding="utf-8") as f:
            f.seek(before)
            return re.findall(r"^Taking exception \d+ \[(.+?)\].*\n((?:\.\.\..*\n)*)", f.read(), re.M)


def calls(exceptions):
    """Those that go to a hypervisor or to firmware."""
    return [what for name, what in exceptions if name in ("Hypervisor Call", "Secure Monitor Call")]


PLAIN = """
step() { echo "at $1"; read line; }
step start
cat /meanwhile.ko | md5sum
step read
insmod /meanwhile.ko; echo "insmod $?"
grep meanwhile /proc/modules
step loaded
echo 0 >/sys/devices/system/cpu/cpu1/online
step offline
"""


def test_nobody_to_call(tmp_path, initramfs, debian_kernel, detectors):
    """On plain QEMU the module does not load and makes no call, as the file's reading makes none. That calls would be seen is what
    turning a CPU off is for; and that the tools would name another, what they say here."""
    files = {**detectors, "meanwhile.ko": ((ROOT / "build" / "module" / "arm64" / "meanwhile.ko").read_bytes(), 0o644)}
    with Plain(tmp_path, debian_kernel, initramfs(tools(DETECT + PLAIN + OFF), files)) as plain:
        plain.guest.expect("at start")
        assert named(plain.guest.before.replace("\r", "")) == ("qemu", "qemu"), plain.guest.before
        reading = plain.go_on("at read")
        loading = plain.go_on("at loaded")
        said = plain.guest.before
        offline = plain.go_on("at offline")
        plain.guest.send("\n")
        plain.guest.expect(pexpect.EOF)
    assert "No such device" in said and "insmod 19" in said, said
    assert len(reading) > 100 and len(loading) > 100 and "SVC" in dict(loading), loading  # what was logged is all of it
    assert calls(reading) == calls(loading) == []
    assert calls(offline) and all("handled as PSCI call" in what for what in calls(offline)), calls(offline)
    assert plain.log.stat().st_size < 50e6
