# SPDX-License-Identifier: BSD-2-Clause
"""What all tests share: the launcher as a function, the images, and the options of `make soak`.

Marks: `racy` runs --repeat times (those of tests/linux --repeat-linux times), `slow` only with --soak, and then as often
if it is both.
"""

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / "build"
LINUX = ROOT / "tests" / "linux"
MW = [sys.executable, str(ROOT / "tools" / "mw")]

sys.path.insert(0, str(ROOT / "tools"))


def pytest_addoption(parser):
    parser.addoption("--repeat", type=int, default=1, help="run each test marked racy this many times")
    parser.addoption("--repeat-linux", type=int, default=None, help="the same for tests/linux (default: --repeat)")
    parser.addoption("--soak", action="store_true", help="also run the tests marked slow")
    parser.addoption("--icount", action="store_true", help="start each machine with --icount, all cores in one clock")


def pytest_configure(config):
    config.addinivalue_line("markers", "racy: has races to find; --repeat runs it many times")
    config.addinivalue_line("markers", "slow: runs with --soak only")


def pytest_generate_tests(metafunc):
    repeat = metafunc.config.getoption("repeat")
    if LINUX in metafunc.definition.path.parents:
        repeat = metafunc.config.getoption("repeat_linux") or repeat
    if repeat > 1 and metafunc.definition.get_closest_marker("racy"):
        metafunc.fixturenames.append("repetition")
        metafunc.parametrize("repetition", range(repeat))


def pytest_collection_modifyitems(config, items):
    if not config.getoption("soak"):
        slow = [i for i in items if i.get_closest_marker("slow")]
        items[:] = [i for i in items if i not in slow]
        config.hook.pytest_deselected(items=slow)


class Result(NamedTuple):
    code: int
    stdout: str
    stderr: str
    stats: dict | None  # of --stats; None if the launcher wrote none


# A thread for each core, also where the launcher would take one for all: vCPU and helper are to race.
os.environ.setdefault("MW_THREADS", "multi")


@pytest.fixture
def mw(tmp_path, request):
    """mw("run", "--kernel", ...) -> Result. `run` gets --stats and --timeout by itself; nothing outlives the test. With `until` the run is
    ended when all of these texts were printed."""
    count = 0

    def call_until(texts, command, **more):
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **more) as process:
            out = b""
            for line in process.stdout:
                out += line
                if all(text.encode() in out for text in texts):
                    process.terminate()
            return subprocess.CompletedProcess(command, process.wait(), out, process.stderr.read())

    def call(*args, timeout=60, stdin=subprocess.DEVNULL, env=None, cwd=None, until=()):
        nonlocal count
        count += 1
        if request.config.getoption("--icount"):
            timeout *= 5  # one thread for all cores, and each wait of a second is a thousand million instructions
        args = [str(a) for a in args]
        stats = tmp_path / f"stats{count}.json"
        if args[:1] == ["run"]:
            args += [] if "--stats" in args else ["--stats", str(stats)]
            args += [] if "--timeout" in args else ["--timeout", str(timeout)]
            args += ["--icount"] if request.config.getoption("--icount") and "--icount" not in args else []
        feed = {"input": stdin} if isinstance(stdin, bytes) else {"stdin": stdin}
        feed |= {"cwd": cwd, "env": {**os.environ, **(env or {})}}
        if until:
            done = call_until(until, [*MW, *args], **feed)
        else:
            done = subprocess.run([*MW, *args], capture_output=True, timeout=timeout + 30, check=False, **feed)
        return Result(done.returncode, done.stdout.decode("utf-8", "replace"), done.stderr.decode("utf-8", "replace"),
                      json.loads(stats.read_text()) if stats.exists() else None)

    return call


@pytest.fixture
def clock(request):
    """clock(*arguments of mw run) -> (what the guest printed, how far its lines "it is NS" were behind this host's time: the least, in s)."""
    if request.config.getoption("--icount"):
        pytest.skip("the machine's clock is the host's, and the counter is not")

    def run(*args, timeout=60):
        out, behind = [], []
        time.sleep((0.3 - time.time()) % 1)  # it first looks in the middle of a second: what it knows of the edge then is next to nothing
        with subprocess.Popen([*MW, "run", "--quiet", "--timeout", str(timeout), *map(str, args)], stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, text=True) as process:
            for line in process.stdout:
                now = time.time()
                out.append(line)
                told = re.search(r" it is (\d+)$", line.rstrip())
                behind += [now - int(told[1]) / 1e9] if told else []
        assert process.returncode == 0 and behind, "".join(out)
        return "".join(out).replace("\r", ""), min(behind)

    return run


@pytest.fixture
def no_rtc(mw, tmp_path):
    """no_rtc(*arguments of mw run) -> these, and the device tree of that very machine without its PL031."""

    def write(*args):
        path = tmp_path / "no-rtc.dtb"
        mw("run", *args, "--qemu-arg=-machine", f"--qemu-arg=dumpdtb={path}")
        subprocess.run(["fdtput", "-r", path, "/pl031@9010000"], check=True)
        return [*args, "--qemu-arg=-dtb", f"--qemu-arg={path}"]

    return write


@pytest.fixture(scope="session")
def guest_image():
    """guest_image("hello") -> the bare EL1 guest built from tests/guest/hello.c."""

    def find(name):
        path = BUILD / "guests" / f"{name}.img"
        assert path.exists(), f"{path} is not built: make guests"
        return path

    return find


@pytest.fixture(scope="session")
def debian_kernel():
    path = BUILD / "debian" / "vmlinuz"
    assert path.exists(), f"{path} is missing: tools/mw setup"
    return path


@pytest.fixture(scope="session")
def more_kernels():
    """{"rt": path, "6.12": path}: kernels that only tests start."""
    paths = {name: BUILD / "kernels" / name / "vmlinuz" for name in ("rt", "6.12")}
    for path in paths.values():
        assert path.exists(), f"{path} is missing: tools/mw setup --kernels"
    return paths


@pytest.fixture(scope="session")
def detectors():
    """For initramfs(): systemd-detect-virt and virt-what, and all libraries that came with them."""
    root = BUILD / "detect" / "root"
    programs = ["usr/bin/systemd-detect-virt", "usr/sbin/virt-what", "usr/libexec/virt-what-cpuid-helper", "usr/sbin/dmidecode"]
    files = {name: ((root / name).read_bytes(), 0o755) for name in programs}
    for library in root.glob("**/lib/**/*.so*"):
        if re.fullmatch(r"(ld-linux-aarch64\.so\.1|lib[a-z0-9_+-]+\.so\.\d+|libsystemd-shared-\d+\.so)", library.name):
            files[f"lib/{library.name}"] = (library.read_bytes(), 0o755)
    return files


@pytest.fixture(scope="session")
def demo_initrd():
    path = BUILD / "demo.cpio"
    assert path.exists(), f"{path} is not built: make demo"
    return path


@pytest.fixture
def initramfs(tmp_path):
    """initramfs(init, {"name": (content, mode)}) -> an initramfs: busybox, and that /init (text with its #! line)."""
    from mwlib import cpio

    def write(init, files=None):
        path = tmp_path / "initramfs.cpio"
        busybox = (BUILD / "debian" / "busybox").read_bytes()
        path.write_bytes(cpio.initramfs(init.encode(), busybox, [(n, c, m) for n, (c, m) in (files or {}).items()]))
        return path

    return write


@pytest.fixture
def drive(tmp_path):
    """drive("--filter=delay", "file", path, "rdelay=1ms") -> the URL of that nbdkit's export; read-only unless `write`."""
    running = []

    def start(*args, write=False):
        sock = tmp_path / f"nbd{len(running)}.sock"
        running.append(subprocess.Popen(["nbdkit", "--foreground", *([] if write else ["--readonly"]), "--unix", sock, *map(str, args)],
                                        stdin=subprocess.DEVNULL))
        until = time.monotonic() + 20
        while not sock.exists():
            assert running[-1].poll() is None and time.monotonic() < until
            time.sleep(0.02)
        return f"nbd+unix:///?socket={sock}"

    yield start
    for process in running:
        process.terminate()
        process.wait(10)
