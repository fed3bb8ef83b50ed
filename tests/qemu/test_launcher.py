# SPDX-License-Identifier: BSD-2-Clause
"""The launcher itself: what it refuses, what it packs, and how each way a machine can end is told.

The machines here run a stand-in for the hypervisor (fake_el2.c) that ends as the test asks for.
"""

import json
import os
import pty
import re
import select
import shutil
import signal
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
MW = [sys.executable, str(ROOT / "tools" / "mw")]
BANNER = "[mw] fake\nbytes \x01\ufffd\r\n"
MIB = 1 << 20


@pytest.fixture
def kernel(tmp_path):
    path = tmp_path / "kernel"
    path.write_bytes(b"K" * 5000)
    return path


@pytest.fixture
def run_fake(mw, fake_el2, kernel):
    """run_fake(end, *args, result=, status=) -> Result of a run, with a small guest that is never started."""

    def run(end, *args, result="REPORT_OFF", status="GUEST_OFF", text_offset=0, **kw):
        env = fake_el2(end, result, status, text_offset)
        return mw("run", "--kernel", kernel, "--memory", "2M", "--ram", "64M", *args, env=env, **kw)

    return run


# ---- arguments and files


def one_line(result, *words):
    assert result.code == 2
    assert result.stdout == ""
    assert re.fullmatch(r"mw: [^\n]+\n", result.stderr), result.stderr
    for word in words:
        assert word in result.stderr


@pytest.mark.parametrize("args, words", [
    ([], ["required"]),
    (["frobnicate"], ["frobnicate"]),
    (["run", "--frobnicate"], ["--frobnicate"]),
    (["run", "--mem", "64M"], ["--mem"]),
    (["run", "--memory", "900000000000G"], ["no memory for a machine"]),
    (["run", "--memory", "12Q"], ["--memory", "12Q"]),
    (["run", "--memory", "-4M"], ["--memory"]),
    (["run", "--memory", "3M"], ["memory", "multiple of 2M"]),
    (["run", "--memory", "0"], ["memory", "multiple of 2M"]),
    (["run", "--ram", "1025K"], ["ram", "multiple of 2M"]),
    (["run", "--cpus", "0"], ["cpus"]),
    (["run", "--cpus", "two"], ["--cpus", "two"]),
    (["run", "--cpus", "40"], ["cores", "32"]),
    (["run", "--cpus", "32", "--helpers", "1"], ["cores", "33", "32"]),
    (["run", "--timeout", "0"], ["--timeout"]),
    (["run", "--timeout", "nan"], ["--timeout"]),
    (["run", "--machine", "raspi3b"], ["raspi3b", "virt"]),
    (["run", "--kernel", "/no/such/kernel"], ["kernel", "/no/such/kernel"]),
    (["run", "--initrd", "/no/such/initrd"], ["initrd", "/no/such/initrd"]),
    (["run", "--kernel", ""], ["kernel", "empty path"]),
    (["run", "--initrd", ""], ["initrd", "empty path"]),
    (["run", "--stats", ""], ["stats", "empty path"]),
    (["run", "--kernel", "/dev/zero"], ["kernel", "/dev/zero", "not a file"]),
    (["run", "--initrd", "/dev/zero"], ["initrd", "/dev/zero", "not a file"]),
    (["run", "--config", "/no/such/file.toml"], ["config", "/no/such/file.toml"]),
    (["run", "--stats", "/no/such/folder/stats.json"], ["stats", "/no/such/folder"]),
    (["run", "--demo"], ["--demo", "default guest", "--kernel"]),
    (["pack"], ["-o"]),
    (["pack", "-o", "/no/such/folder/image"], ["/no/such/folder/image"]),
])
def test_arguments(mw, kernel, fake_el2, args, words):
    given = [] if "--kernel" in args or not args or args[0] == "frobnicate" else ["--kernel", kernel]
    one_line(mw(*args, *given, env=fake_el2("OFF")), *words)


def test_files_that_will_not_do(mw, kernel, fake_el2, tmp_path):
    env = fake_el2("OFF")
    one_line(mw("run", "--kernel", tmp_path, env=env), "kernel", "directory")
    empty = tmp_path / "empty"
    empty.touch()
    one_line(mw("run", "--kernel", empty, env=env), "kernel", "empty")
    one_line(mw("run", "--kernel", kernel, "--initrd", empty, env=env), "initrd", "empty")
    packed = tmp_path / "kernel.gz"
    packed.write_bytes(b"\x1f\x8b" + b"\0" * 100)
    one_line(mw("run", "--kernel", packed, env=env), "gzip")


def test_hypervisor_images_that_will_not_do(mw, kernel, fake_el2, tmp_path):
    one_line(mw("run", "--kernel", kernel, env={"MW_IMAGE": "/no/such/image"}), "/no/such/image")
    one_line(mw("run", "--kernel", kernel, env={"MW_IMAGE": str(kernel)}), "not a hypervisor image")
    short = tmp_path / "short"
    short.write_bytes(b"x")
    one_line(mw("run", "--kernel", kernel, env={"MW_IMAGE": str(short)}), "not a hypervisor image")
    packed = tmp_path / "packed"
    assert mw("pack", "-o", packed, "--kernel", kernel, env=fake_el2("OFF")).code == 0
    one_line(mw("run", "--kernel", kernel, env={"MW_IMAGE": str(packed)}), "already")


def test_payloads_that_do_not_fit(mw, kernel, fake_el2, tmp_path):
    env = fake_el2("OFF")
    initrd = tmp_path / "initrd"
    initrd.write_bytes(b"I" * (3 * MIB))
    run = mw("run", "--kernel", kernel, "--initrd", initrd, "--memory", "2M", env=env)
    one_line(run, "initrd", "does not fit", "2M")
    one_line(mw("run", "--kernel", initrd, "--memory", "2M", env=env), "kernel", "does not fit")
    # Far more than anybody wants to read: a terabyte of holes.
    endless = tmp_path / "endless"
    with endless.open("wb") as f:
        f.truncate(1 << 40)
    one_line(mw("run", "--kernel", endless, "--memory", "32M", env=env), "kernel", "does not fit", "larger", "32M")
    # A kernel of 64 bytes whose Image header asks for 64 MiB.
    header = tmp_path / "header"
    header.write_bytes(struct.pack("<QQQ32sII", 0, 0, 64 * MIB, b"", 0x644D5241, 0))
    one_line(mw("run", "--kernel", header, "--memory", "32M", env=env), "kernel", "does not fit", "64M")
    # The machine's own RAM.
    one_line(mw("run", "--kernel", kernel, "--initrd", initrd, "--memory", "64M", "--ram", "8M", env=env), "--ram")


def test_missing_qemu(mw, kernel, fake_el2, tmp_path):
    run = mw("run", "--kernel", kernel, env={**fake_el2("OFF"), "PATH": str(tmp_path)})
    one_line(run, "qemu-system-aarch64", "mw setup")


def test_demo_needs_a_helper_and_nbdkit(mw, fake_el2, tmp_path):
    one_line(mw("run", "--demo", "--helpers", "0", env=fake_el2("OFF")), "helper")
    (tmp_path / "qemu-system-aarch64").symlink_to(shutil.which("qemu-system-aarch64"))
    run = mw("run", "--demo", "--quiet", env={**fake_el2("OFF"), "PATH": str(tmp_path)})
    one_line(run, "nbdkit", "mw setup")


def test_help(mw):
    options = ["--kernel", "--initrd", "--append", "--cpus", "--memory", "--helpers", "--machine", "--cpu", "--ram",
               "--icount", "--timeout", "--stats", "--config", "--quiet", "--qemu-arg"]
    for command, words in (("run", options + ["exit codes", "124"]), ("pack", ["-o", "--kernel"]), ("setup", ["apt"])):
        result = mw(command, "--help")
        assert result.code == 0 and result.stderr == ""
        for word in words:
            assert word in result.stdout
    assert mw("--help").code == 0


# ---- TOML


@pytest.mark.parametrize("text, words", [
    ("[machine\n", ["line 1"]),
    ("[engine]\n", ["engine"]),
    ("machine = 3\n", ["[machine]", "table"]),
    ("[machine]\nrams = 3\n", ["[machine]", "'rams'"]),
    ("[machine]\nram = true\n", ["[machine]", "ram", "True"]),
    ("[machine]\nicount = 1\n", ["icount"]),
    ("[machine]\ncpu = 57\n", ["cpu"]),
    ("[machine]\nqemu-arg = '-S'\n", ["qemu-arg"]),
    ("[machine]\ncores = 1\n", ["more cores than the machine has", "1 vCPU", "1 helper"]),
    ("[guest]\nname = 'x'\n", ["[[guest]]"]),
    ("[[guest]]\ncolour = 'red'\n", ["[[guest]] 1", "'colour'"]),
    ("[[guest]]\nname = 'two words'\n", ["two words"]),
    ("[[guest]]\nname = 'meanwhile'\n", ["meanwhile"]),
    ("[[guest]]\nname = ''\n", ["guest name"]),
    ("[[guest]]\nappend = \"a\\u0000b\"\n", ["append"]),
    ("[[guest]]\nkernel = ''\n", ["[[guest]] 1", "kernel", "empty path"]),
    ("[[guest]]\nidentity = 'xen'\n", ["identity", "xen"]),
    ("[[guest]]\npopulate-granule = '64K'\n", ["populate-granule", "64K"]),
    ("[[guest]]\n[[guest]]\n", ["guest name 'guest'", "twice"]),
    ("".join(f"[[guest]]\nname = 'g{i}'\n" for i in range(17)), ["17 guests", "16"]),
    (b"\xff", ["m.toml"]),
])
def test_config_errors(mw, kernel, fake_el2, tmp_path, text, words):
    config = tmp_path / "m.toml"
    config.write_bytes(text if isinstance(text, bytes) else text.encode())
    one_line(mw("run", "--kernel", kernel, "--config", config, env=fake_el2("OFF")), *words)


# ---- pack: read back with dtc, which shares nothing with the writer


def packed_tree(image, tmp_path):
    (offset, size) = struct.unpack_from("<QQ", image, 88)
    blob = tmp_path / "config.dtb"
    blob.write_bytes(image[offset:offset + size])
    done = subprocess.run(["dtc", "-q", "-I", "dtb", "-O", "dts", str(blob)], capture_output=True, check=True)
    return offset, size, done.stdout


def test_pack(mw, fake_el2, kernel, tmp_path):
    initrd = tmp_path / "initrd"
    initrd.write_bytes(b"I" * 9000)
    config = tmp_path / "m.toml"
    config.write_text("[machine]\nhelpers = 2\nquiet = true\n"
                      "[[guest]]\nname = 'one'\nkernel = 'kernel'\ninitrd = 'initrd'\ncpus = 3\nmemory = '6M'\n"
                      "identity = 'none'\npopulate-granule = 4096\nappend = 'from the file'\n")
    out = tmp_path / "out.img"
    env = fake_el2("OFF")
    result = mw("pack", "-o", out, "--config", config, "--memory", "8M", env=env)
    assert (result.code, result.stdout, result.stderr) == (0, "", "")

    image, plain = out.read_bytes(), Path(env["MW_IMAGE"]).read_bytes()
    (hypervisor_size,) = struct.unpack_from("<Q", image, 72)
    assert image[24:88] == plain[24:88] and image[104:len(plain)] == plain[104:]
    assert not any(image[len(plain):hypervisor_size])
    (image_size,) = struct.unpack_from("<Q", image, 16)
    assert image_size == len(image) and image_size % 4096 == 0

    offset, size, tree = packed_tree(image, tmp_path)
    assert offset == hypervisor_size
    tree = tree.decode()
    modules = [(int(o, 16), int(s, 16)) for o, s in re.findall(r"reg = <0x00 (0x[0-9a-f]+) 0x00 (0x[0-9a-f]+)>;", tree)]
    assert [s for _, s in modules] == [5000, 9000]
    assert image[modules[0][0]:][:5000] == kernel.read_bytes() and image[modules[1][0]:][:9000] == initrd.read_bytes()
    assert all(o % 4096 == 0 and o >= offset + size for o, _ in modules)
    for line in ('compatible = "meanwhile,config";', "helpers = <0x02>;", "quiet;", "one {",
                 'compatible = "meanwhile,guest";', "cpus = <0x03>;", "memory = <0x00 0x2000>;", 'bootargs = "from the file";',
                 'identity = "none";',
                 "populate-granule = <0x1000>;", 'compatible = "multiboot,kernel\\0multiboot,module";',
                 'compatible = "multiboot,ramdisk\\0multiboot,module";', "module@0 {", "module@1 {"):
        assert line in tree or line.replace("\\0", '", "') in tree, (line, tree)


def test_pack_keeps_every_byte_of_append(mw, fake_el2, kernel, tmp_path):
    out = tmp_path / "out.img"
    append = b"--starts with dashes = \"quoted\" \\ \xff\xfe end"
    done = subprocess.run([*MW, "pack", "-o", out, "--kernel", kernel, "--append", append],
                          env={**os.environ, **fake_el2("OFF")}, check=False)
    assert done.returncode == 0
    offset, size, _ = packed_tree(out.read_bytes(), tmp_path)
    assert append + b"\0" in out.read_bytes()[offset:offset + size]


# ---- how a run ends


def test_off(run_fake):
    result = run_fake("OFF")
    assert (result.code, result.stdout) == (0, BANNER)
    s = result.stats
    assert (s["schema"], s["result"]) == (1, "off")
    (guest,) = s["guests"]
    assert (guest["name"], guest["status"], guest["ram_pages"]) == ("fake", "off", 131072)
    # Sums over the guest's own vCPUs, and the helpers' share.
    assert (guest["touched_pages"], guest["block_pages"]) == (1000 + 24 - 1, 512 + 512)
    assert guest["unreadable_faults"] == 3 + 4
    assert (guest["given_back_pages"], guest["give_back_kept_pages"], guest["give_back_rounds"]) == (101, 202, 303)
    assert guest["faults"] == {"fast": 11, "queued": 22, "waited": 33, "mmio": 44, "nowhere": 55}
    assert guest["exits"] == {"hvc": 66, "smc": 77, "sysreg": 88, "abort": 99, "wfx": 110, "irq": 121, "other": 132}
    assert s["helpers"] == [{"core": 3, "zeroed_pages": 11, "populated_pages": 12, "promoted_blocks": 13, "busy_ns": 14,
                             "requests": 15, "shared_locks": 8, "unreadable_pages": 9}]
    assert s["shared_locks_on_fault_path"] == 15
    assert (s["counter_hz"], s["entry_ticks"], s["first_guest_ticks"]) == (62500000, 1000, 3000)
    assert (s["reason"], s["image_base"]) == ("", 0x40200000)
    assert "fake: touched 4.0 of 512 MiB" in result.stderr and "helper on core 3" in result.stderr


def test_text_offset(run_fake):
    """QEMU moves an image with a small text_offset up by 2 MiB; the report is found in both places."""
    for offset in (0x80000, 0x1000, 0xff0):
        result = run_fake("OFF", text_offset=offset)
        assert (result.code, result.stats["guests"][0]["name"]) == (0, "fake"), hex(offset)


def test_quiet(run_fake):
    result = run_fake("OFF", "--quiet")
    assert (result.code, result.stdout, result.stderr) == (0, BANNER, "")


@pytest.mark.parametrize("end, result, status, code, told, words", [
    ("RESET", "REPORT_PANIC", "GUEST_RUNNING", 1, "panic", ["panicked", "the machine's reason"]),
    ("OFF", "REPORT_PANIC", "GUEST_RUNNING", 1, "panic", ["panicked"]),
    ("OFF", "REPORT_ENDED", "GUEST_REFUSED", 3, "refused", ["'fake'", "refused", "the guest's reason"]),
    ("OFF", "REPORT_ENDED", "GUEST_DESTROYED", 3, "destroyed", ["'fake'", "destroyed", "the guest's reason"]),
    ("OFF", "REPORT_ENDED", "GUEST_RESET", 3, "reset", ["'fake'", "reset"]),
    # What does not fit together is an error: a result without the power-off that belongs to it, and the reverse.
    ("RESET", "REPORT_OFF", "GUEST_OFF", 4, "error", ["guest-reset"]),
    ("OFF", "REPORT_RUNNING", "GUEST_RUNNING", 4, "error", ["without a result"]),
    ("OFF", "REPORT_OFF", "GUEST_RUNNING", 4, "error", ["without a result"]),
    ("OFF", "REPORT_ENDED", "GUEST_OFF", 4, "error", ["without a result"]),
    ("OFF", "REPORT_NO_BOOT", "GUEST_ABSENT", 4, "error", ["could not start", "the machine's reason"]),
])
def test_results(run_fake, end, result, status, code, told, words):
    run = run_fake(end, result=result, status=status)
    assert (run.code, run.stats["result"]) == (code, told), run.stderr
    assert run.stdout == BANNER
    for word in words:
        assert word in run.stderr


def test_timeout(run_fake):
    start = time.monotonic()
    run = run_fake("HANG", result="REPORT_RUNNING", status="GUEST_RUNNING", timeout=2)
    assert (run.code, run.stats["result"], run.stdout) == (124, "timeout", BANNER)
    assert run.stats["guests"][0]["touched_pages"] == 1023
    assert 2 <= time.monotonic() - start < 15
    assert "timeout after 2 s" in run.stderr


def test_panic_that_hangs_is_a_panic(run_fake):
    run = run_fake("HANG", result="REPORT_PANIC", status="GUEST_RUNNING", timeout=2)
    assert (run.code, run.stats["result"]) == (1, "panic")


def test_no_report(mw, kernel, fake_el2, tmp_path):
    """A hypervisor that never wrote its report, while the guest's RAM holds one: nothing is believed."""
    image = Path(fake_el2("OFF")["MW_IMAGE"]).read_bytes()
    place = image.index(b"mwreport")
    bad, forged = tmp_path / "bad.img", tmp_path / "forged"
    bad.write_bytes(image[:place] + b"nothing!" + image[place + 8:])
    forged.write_bytes(bytes(4096 - place % 4096) + image[place:])
    run = mw("run", "--kernel", forged, "--memory", "2M", "--ram", "64M", env={"MW_IMAGE": str(bad)})
    assert (run.code, run.stats["result"], run.stats["guests"]) == (4, "error", [])


def test_qemu_that_does_not_start(run_fake):
    run = run_fake("OFF", "--cpu", "no-such-cpu")
    assert (run.code, run.stats["result"], run.stats["guests"]) == (4, "error", [])
    assert "no-such-cpu" in run.stderr and "exit status was 1" in run.stderr


def test_qemu_arguments(run_fake):
    run = run_fake("OFF", "--qemu-arg", "-device", "--qemu-arg", "no-such-device")
    assert run.code == 4 and "no-such-device" in run.stderr
    assert run_fake("OFF", "--icount").code == 0


def test_stats_of_an_earlier_run_are_not_left(mw, fake_el2, kernel, tmp_path):
    stats = tmp_path / "stats.json"
    stats.write_text('{"result": "off"}')
    run = mw("run", "--kernel", kernel, "--memory", "2M", "--cpu", "no-such-cpu", "--stats", stats, env=fake_el2("OFF"))
    assert run.code == 4 and json.loads(stats.read_text())["result"] == "error"


def start(env, kernel, stats, *args, **kw):
    return subprocess.Popen([*MW, "run", "--kernel", str(kernel), "--memory", "2M", "--ram", "64M", "--timeout", "60",
                             "--stats", str(stats), *args], env={**os.environ, **env}, **kw)


def children(process):
    return Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_interrupted(fake_el2, kernel, tmp_path, number):
    stats = tmp_path / "stats.json"
    with start(fake_el2("HANG", "REPORT_RUNNING", "GUEST_RUNNING"), kernel, stats, stdin=subprocess.DEVNULL,
               stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        try:
            assert process.stdout.readline() == b"[mw] fake\n"
            (qemu,) = children(process)
            process.send_signal(number)
            _, err = process.communicate(timeout=20)
        finally:
            process.kill()
    assert process.returncode == 130 and b"interrupted" in err
    assert json.loads(stats.read_text())["result"] == "interrupted"
    assert not os.path.exists(f"/proc/{qemu}")


def test_killed_launcher_leaves_no_qemu(fake_el2, kernel, tmp_path):
    with start(fake_el2("HANG"), kernel, tmp_path / "stats.json", stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
               stderr=subprocess.DEVNULL) as process:
        assert process.stdout.readline() == b"[mw] fake\n"
        (qemu,) = children(process)
        process.kill()
    for _ in range(100):
        if not os.path.exists(f"/proc/{qemu}") or "\nState:\tZ" in Path(f"/proc/{qemu}/status").read_text():
            return
        time.sleep(0.05)
    pytest.fail("QEMU lives on")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_demo_leaves_no_drive(fake_el2, tmp_path, number):
    with subprocess.Popen([*MW, "run", "--demo", "--timeout", "60"], env={**os.environ, **fake_el2("HANG")}, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout.readline() == b"[mw] fake\n"
        both = children(process)
        assert {Path(f"/proc/{pid}/comm").read_text().strip() for pid in both} == {"nbdkit", "qemu-system-aar"}
        process.send_signal(number)
    for _ in range(100):
        both = [pid for pid in both if os.path.exists(f"/proc/{pid}") and "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()]
        if not both:
            return
        time.sleep(0.05)
    pytest.fail("one of them lives on")


# ---- standard input and output


def test_input_is_data(run_fake):
    run = run_fake("ECHO", stdin=b"a\x01x\x03\xff\nq")
    assert run.code == 0, run.stderr
    assert run.stdout == BANNER + "<61>\n<01>\n<78>\n<03>\n<ff>\n<0a>\n<71>\n"


def test_closed_input_costs_nothing(fake_el2, kernel):
    """With standard input closed, at its end, or a pipe that is, the launcher waits instead of spinning."""
    env = fake_el2("HANG", "REPORT_RUNNING", "GUEST_RUNNING")
    for redirect in ("<&-", "</dev/null", ""):
        command = f'exec "$@" --memory 2M --ram 64M --timeout 1.5 {redirect}'
        before = os.times()
        done = subprocess.run(["sh", "-c", command, "sh", *MW, "run", "--kernel", str(kernel)], capture_output=True,
                              env={**os.environ, **env}, timeout=30, check=False, input=None if redirect else b"")
        after = os.times()
        assert done.returncode == 124, done.stderr
        busy = after.children_user + after.children_system - before.children_user - before.children_system
        assert busy < 1.2, f"{busy} s of processor time with {redirect or 'an empty pipe'}"


def test_slow_reader_gets_everything(fake_el2, kernel, tmp_path):
    """640 KB through a pipe whose reader takes a pause: no byte is lost, and the guest waits meanwhile."""
    with start(fake_el2("BURST"), kernel, tmp_path / "s", stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
               stderr=subprocess.DEVNULL) as process:
        time.sleep(1.5)
        out, _ = process.communicate(timeout=50)
    assert process.returncode == 0
    lines = out.split(b"\n")[2:-1]
    assert len(lines) == 10000 and set(lines) == {b"0123456789abcdef" * 3 + b"0123456789abcde"}


def test_reader_that_stops_does_not_hold_the_timeout(fake_el2, kernel, tmp_path):
    env = fake_el2("FLOOD", "REPORT_RUNNING", "GUEST_RUNNING")
    with start(env, kernel, tmp_path / "s", "--timeout", "1.5", stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
               stderr=subprocess.DEVNULL) as process:
        try:
            assert process.wait(timeout=20) == 124  # nobody has read a byte
        finally:
            process.kill()


def test_reader_that_leaves_ends_the_run(fake_el2, kernel, tmp_path):
    with start(fake_el2("FLOOD", "REPORT_RUNNING", "GUEST_RUNNING"), kernel, tmp_path / "s", stdin=subprocess.DEVNULL,
               stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        try:
            process.stdout.readline()
            process.stdout.close()
            assert process.wait(timeout=20) == 130
        finally:
            process.kill()


class Terminal:
    """mw on a pseudo-terminal of its own."""

    def __init__(self, env, *args):
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.environ.update(env)
            os.execv(MW[0], [*MW, *args])
        self.seen = b""

    def expect(self, text, seconds=20):
        until = time.monotonic() + seconds
        while text not in self.seen:
            assert select.select([self.fd], [], [], max(0, until - time.monotonic()))[0], (text, self.seen)
            self.seen += os.read(self.fd, 4096)
        head, _, self.seen = self.seen.partition(text)
        return head

    def raw(self):
        return not termios.tcgetattr(self.fd)[3] & (termios.ICANON | termios.ISIG)

    def wait(self):
        try:
            while os.read(self.fd, 4096):
                pass
        except OSError:
            pass  # the other end is closed
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


def test_terminal(fake_el2, kernel):
    env = fake_el2("ECHO")
    arguments = ["run", "--kernel", str(kernel), "--memory", "2M", "--ram", "64M", "--timeout", "60"]
    t = Terminal(env, *arguments)
    mode = termios.tcgetattr(t.fd)
    t.expect(b"Ctrl-A x ends")
    t.expect(b"[mw] fake\r\n")
    assert t.raw()
    os.write(t.fd, b"\x03")  # Ctrl-C is the guest's
    t.expect(b"<03>")
    os.write(t.fd, b"\x01\x01")  # one Ctrl-A
    t.expect(b"<01>")
    os.write(t.fd, b"\r")
    assert b"<01>" not in t.expect(b"<0d>")
    os.write(t.fd, b"\x01z")  # no escape: both go through
    t.expect(b"<01>")
    t.expect(b"<7a>")
    os.write(t.fd, b"\x01x")
    t.expect(b"interrupted")
    assert termios.tcgetattr(t.fd) == mode
    assert t.wait() == 130
    os.close(t.fd)


def test_terminal_is_restored_at_power_off(fake_el2, kernel):
    t = Terminal(fake_el2("ECHO"), "run", "--kernel", str(kernel), "--memory", "2M", "--ram", "64M", "--timeout", "60")
    mode = termios.tcgetattr(t.fd)
    t.expect(b"[mw] fake\r\n")
    os.write(t.fd, b"q")
    t.expect(b"helper on core 3")
    assert termios.tcgetattr(t.fd) == mode
    assert t.wait() == 0
    os.close(t.fd)


# ---- set-up


def test_setup_has_nothing_to_do(mw):
    """The tests run after the set-up: now it is quiet, and changes nothing."""
    stamp = ROOT / "build" / "debian" / "packages"
    before = stamp.stat().st_mtime_ns
    result = mw("setup", timeout=30)
    assert (result.code, result.stdout, result.stderr) == (0, "", "")
    assert stamp.stat().st_mtime_ns == before
    assert mw("setup", "--check").code == 0


def test_setup_without_root(monkeypatch):
    from mwlib import common, setup

    monkeypatch.setattr(setup.os, "geteuid", lambda: 1000)
    monkeypatch.setattr(setup.shutil, "which", lambda name: None)
    with pytest.raises(common.Refusal) as refusal:
        setup.install(["qemu-system-arm", "clang"])
    line = "sudo apt-get update && sudo apt-get install -y --no-install-recommends qemu-system-arm clang"
    assert str(refusal.value).endswith(line)


def test_limits_are_the_hypervisors():
    from mwlib import options

    text = (ROOT / "lib" / "types.h").read_text()
    assert re.search(r"#define MAX_CORES (\d+)", text)[1] == str(options.MAX_CORES)


# ---- the demonstration's initramfs


def test_initramfs_is_a_cpio_archive(initramfs):
    path = initramfs("#!/bin/busybox sh\n", {"lib/x.ko": (b"module", 0o600)})
    with path.open("rb") as f:
        cpio = subprocess.run(["cpio", "-tv", "--quiet"], stdin=f, capture_output=True, text=True, check=False)
    assert cpio.returncode == 0, cpio.stderr
    for line in (r"crw-------.* 5, +1 .* dev/console", r"-rwxr-xr-x .* init", r"-rw------- .* 6 .* lib/x.ko",
                 r"drwxr-xr-x .* lib$", r"lrwxrwxrwx .* bin/sh -> busybox"):
        assert re.search(line, cpio.stdout, re.MULTILINE), (line, cpio.stdout)
