# SPDX-License-Identifier: BSD-2-Clause
"""Runs the machine: starts QEMU, carries the UART, watches for the end, and says what it was.

QEMU gets no path of ours: RAM and image are memory files, UART and monitor are socket pairs, all inherited. So nothing
is left behind, however the launcher ends.

The result rests on two things that no guest can reach: EL2's report in EL2's own RAM, and the reason in QEMU's SHUTDOWN
event. What the UART carries is never looked at.
"""

import contextlib
import ctypes
import json
import mmap
import os
import select
import shutil
import signal
import socket
import subprocess
import time

from . import report
from .common import (EXIT_ERROR, EXIT_GUEST, EXIT_INTERRUPTED, EXIT_OFF, EXIT_PANIC, EXIT_TIMEOUT, Refusal,
                     say, show_size)
from .image import SWAP_NAME
from .options import DEMO_DELAY, DEMO_DRIVE, MACHINES, NO_FILE, SWAP_MARK
from .record import Recorder
from .terminal import Input, interactive, open_standard_files

__all__ = ["interactive", "run"]

QEMU = "qemu-system-aarch64"
NBDKIT = "nbdkit"
EXIT_CODES = {"off": EXIT_OFF, "panic": EXIT_PANIC, "refused": EXIT_GUEST, "destroyed": EXIT_GUEST, "reset": EXIT_GUEST,
              "error": EXIT_ERROR, "timeout": EXIT_TIMEOUT, "interrupted": EXIT_INTERRUPTED}
# How a guest can end other than by SYSTEM_OFF. With several guests the result is that of the first kind there is.
ENDINGS = {"refused": "was refused", "destroyed": "was destroyed", "reset": "asked for a reset, which nobody serves"}
HIGH_WATER = 64 << 10  # bytes held for a slow reader before the guest's UART has to wait
# A pipe that select() calls writable has room for this much (PIPE_BUF, pipe(7)), so such a write does not block.
SAFE_WRITE = select.PIPE_BUF
GRACE = 3.0  # seconds for QEMU to quit, or for a stuck reader to take the rest, once the run is to end
PR_SET_PDEATHSIG = 1
LIBC = ctypes.CDLL(None)


def acceleration(machine):
    """
    How QEMU runs the cores. A guest with one vCPU leaves little to run in parallel, and with a thread for each core every
    TLB invalidation of that guest stops them all: in one thread it boots a quarter sooner. With a swap disk the helper works
    while the guest does, and the emulator would change over every 100 ms. The tests want real races, and say so.
    """
    if machine.icount:
        return ["-icount", "shift=0,sleep=off"]
    one_by_one = machine.cores == 1 + machine.helpers and not machine.swap
    threads = os.environ.get("MW_THREADS") or ("single" if one_by_one else "multi")
    if threads not in ("single", "multi"):
        raise Refusal(f"MW_THREADS={threads}: neither single nor multi")
    return ["-accel", f"tcg,thread={threads}"]


def drives(machine, fds):
    """Each disk as a virtio block device whose serial number is its name, as EL2 looks for it."""
    disks = [(f"mw{n}", "read-only=on", disk) for n, disk in enumerate(machine.disks)]
    if machine.swap:
        disks.append((SWAP_NAME, "cache=unsafe", machine.swap))  # what is in it dies with the machine
    args = ["-global", "virtio-mmio.force-legacy=false"] if disks else []
    for name, how, disk in disks:
        path = disk.replace(",", ",,")
        file = f"file.driver=nbd,file.server.type=fd,file.server.str={fds['drive']}" if disk == DEMO_DRIVE else f"file={path}"
        args += ["-drive", f"if=none,id={name},format=raw,{how},{file}",
                 "-device", f"virtio-blk-device,drive={name},serial={name}"]
    return args


@contextlib.contextmanager
def swap_file(machine):
    """A swap file that was not there is made, and goes with the run."""
    path = machine.swap
    if not path or path.startswith(NO_FILE) or os.path.exists(path):
        yield
        return
    try:
        with open(path, "xb") as f:
            f.write(SWAP_MARK)
            f.truncate(machine.swap_size)
    except OSError as e:
        raise Refusal(f"swap: cannot make {path}: {e.strerror}") from None
    try:
        yield
    finally:
        os.unlink(path)


def command(machine, fds):
    return [
        QEMU, "-M", f"virt,virtualization=on,gic-version={MACHINES[machine.machine]},memory-backend=ram",
        "-object", f"memory-backend-file,id=ram,size={machine.ram},mem-path=/proc/self/fd/{fds['ram']},share=on",
        "-cpu", machine.cpu, "-smp", str(machine.cores), "-m", f"size={machine.ram // 1024}K", *acceleration(machine),
        "-nodefaults", "-display", "none",
        "-chardev", f"socket,id=uart,fd={fds['uart']}", "-serial", "chardev:uart",
        "-chardev", f"socket,id=qmp,fd={fds['qmp']}", "-mon", "chardev=qmp,mode=control",
        # Paused at the end, so that the reason is always heard before QEMU goes; and at the start, for the same.
        "-no-reboot", "-no-shutdown", "-S",
        "-kernel", f"/proc/self/fd/{fds['image']}", *drives(machine, fds), *machine.qemu_arg,
    ]


class Monitor:
    """QEMU's machine protocol, as far as needed: the first SHUTDOWN's reason, `cont`, `quit`."""

    def __init__(self, sock, start):
        self.sock = sock
        self.buffer = b""
        self.reason = None
        self.open = True
        self.send("qmp_capabilities")
        if start:
            self.send("cont")

    def send(self, name):
        try:
            self.sock.sendall(json.dumps({"execute": name}).encode() + b"\n")
        except OSError:
            self.open = False

    def receive(self):
        try:
            data = self.sock.recv(65536)
        except OSError:
            data = b""
        self.open = self.open and bool(data)
        *lines, self.buffer = (self.buffer + data).split(b"\n")
        for line in lines:
            try:
                message = json.loads(line)
            except ValueError:
                continue
            if message.get("event") == "SHUTDOWN" and self.reason is None:
                self.reason = message.get("data", {}).get("reason", "")


def memory_file(name, size, content=b""):
    fd = os.memfd_create(name)
    os.truncate(fd, size)
    view = memoryview(content)
    done = 0
    while done < len(view):
        done += os.pwrite(fd, view[done:], done)
    return fd


def in_child():
    """A launcher that is killed takes what it started with it."""
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def start_drive(machine, errors):
    """A drive at the other end of a socket, until that is closed: (process, socket)."""
    if not shutil.which(NBDKIT):
        raise Refusal(f"{NBDKIT} is not installed (mw setup installs it)")
    ours, theirs = socket.socketpair()
    with theirs:
        process = subprocess.Popen([NBDKIT, "--single", "--filter=delay", "memory", str(machine.swap_size), f"rdelay={DEMO_DELAY}ms"],
                                   stdin=theirs, stdout=theirs, stderr=errors, start_new_session=True, preexec_fn=in_child)
    return process, ours


def start(machine, image):
    """(process, RAM, UART socket, monitor socket, standard error file, the drive's process or None)."""
    if not shutil.which(QEMU):
        raise Refusal(f"{QEMU} is not installed (mw setup installs it)")
    try:
        files = {"ram": memory_file("mw-ram", machine.ram), "image": memory_file("mw-image", len(image), image)}
        ram = mmap.mmap(files["ram"], machine.ram, mmap.MAP_SHARED, mmap.PROT_READ)
    except (OSError, OverflowError) as e:
        raise Refusal(f"no memory for a machine with {show_size(machine.ram)} of RAM: {e}") from None
    errors = memory_file("mw-stderr", 0)
    uart, theirs_uart = socket.socketpair()
    qmp, theirs_qmp = socket.socketpair()
    files |= {"uart": theirs_uart.fileno(), "qmp": theirs_qmp.fileno()}
    drive = None
    if machine.swap == DEMO_DRIVE:
        drive, theirs_drive = start_drive(machine, errors)
        files["drive"] = theirs_drive.fileno()
    process = subprocess.Popen(command(machine, files), stdin=subprocess.DEVNULL, stdout=errors, stderr=errors,
                               pass_fds=list(files.values()), start_new_session=True, preexec_fn=in_child)
    theirs_uart.close()
    theirs_qmp.close()
    if drive:
        theirs_drive.close()
    os.close(files["image"])
    os.close(files["ram"])
    uart.setblocking(False)
    return process, ram, uart, qmp, errors, drive


class Run:
    def __init__(self, machine, image, user):
        self.user = user
        self.to_user, self.to_guest = bytearray(), bytearray()
        self.uart_open = True
        self.ended = None  # what ended the run from our side: "timeout", "interrupted"; "shutdown": QEMU itself
        self.kill_at = None
        self.wake, wake = os.pipe()
        os.set_blocking(wake, False)
        os.set_blocking(self.wake, False)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, lambda *_: None)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        self.process, self.ram, self.uart, qmp, self.errors, self.drive = start(machine, image)
        self.deadline = time.monotonic() + machine.timeout if machine.timeout else None
        self.monitor = Monitor(qmp, start="-S" not in machine.qemu_arg)
        self.pidfd = os.pidfd_open(self.process.pid)
        self.recorder = None  # looks on while the machine runs

    def end(self, why):
        """Asks QEMU to quit, the first time; it is killed, by its process, if it does not."""
        if self.ended is None:
            self.ended = why
            self.kill_at = time.monotonic() + GRACE
            self.monitor.send("quit")

    def step(self):
        """Waits for something to happen and carries it on. False once QEMU is gone."""
        reads, writes = [self.pidfd, self.wake], []
        if self.monitor.open:
            reads.append(self.monitor.sock)
        if self.uart_open and (len(self.to_user) < HIGH_WATER or self.ended):
            reads.append(self.uart)
        if self.user.open and len(self.to_guest) < HIGH_WATER and not self.ended:
            reads.append(0)
        if self.to_user:
            writes.append(1)
        if self.to_guest and self.uart_open:
            writes.append(self.uart)
        until = self.kill_at if self.ended else self.deadline
        soon = [u for u in (until, self.recorder.due if self.recorder else None) if u is not None]
        wait = max(0, min(soon) - time.monotonic()) if soon else None
        readable, writable, _ = select.select(reads, writes, [], wait)

        if self.recorder:
            self.recorder.sample()
        if self.monitor.sock in readable:
            self.monitor.receive()
            if self.monitor.reason is not None:
                self.end("shutdown")
        if self.wake in readable:
            os.read(self.wake, 512)
            self.end("interrupted")
        if self.uart in readable:
            self.from_uart()
        if 0 in readable:
            data, leave = self.user.read()
            self.to_guest += data
            if leave:
                self.end("interrupted")
        if 1 in writable:
            self.write_user()
        if self.uart in writable:
            self.write_uart()
        if until is not None and time.monotonic() >= until:
            if self.ended:
                self.process.kill()
                self.kill_at = time.monotonic() + GRACE
            else:
                self.end("timeout")
        return self.pidfd not in readable

    def from_uart(self):
        try:
            data = self.uart.recv(65536)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        self.to_user += data
        self.uart_open = bool(data)

    def write_uart(self):
        try:
            del self.to_guest[:self.uart.send(self.to_guest)]
        except BlockingIOError:
            pass
        except OSError:
            self.to_guest.clear()

    def write_user(self):
        try:
            del self.to_user[:os.write(1, self.to_user[:SAFE_WRITE])]
        except OSError:
            # Nobody reads any more: there is no point in going on.
            self.to_user.clear()
            self.end("interrupted")

    def flush(self):
        """The rest of the UART. A slow reader gets its time, unless the time is up."""
        while self.uart_open:
            self.from_uart()
        if self.ended in ("timeout", "interrupted"):
            until = time.monotonic() + GRACE
        else:
            until = self.deadline
        while self.to_user:
            wait = None if until is None else max(0, until - time.monotonic())
            readable, writable, _ = select.select([self.wake], [1], [], wait)
            if not writable:
                return
            self.write_user()

    def go(self):
        while self.step():
            pass
        while self.monitor.open:
            self.monitor.receive()
        self.flush()
        return self.process.wait()


def judge(ended, reason, rep):
    """(result, one line on it). `ended` is ours, `reason` QEMU's, `rep` EL2's report."""
    if rep.result == report.PANIC:
        return "panic", f"the hypervisor panicked: {rep.reason}"
    if ended in ("timeout", "interrupted"):
        return ended, ended
    if rep.result == report.NO_BOOT:
        return "error", f"the hypervisor could not start: {rep.reason}"
    if reason == "guest-shutdown":  # PSCI SYSTEM_OFF by EL2, which traps the guests' own
        statuses = [g["status"] for g in rep.guests]
        if rep.result == report.OFF and statuses and all(s == "off" for s in statuses):
            return "off", ""
        if rep.result == report.ENDED:
            for status in ENDINGS:
                if status in statuses:
                    return status, "; ".join(f"guest '{g['name']}' {ENDINGS[g['status']]}"
                                             + (f": {g['reason']}" if g["reason"] else "")
                                             for g in rep.guests if g["status"] in ENDINGS)
    if reason is None:
        return "error", "QEMU ended by itself"
    return "error", f"the machine stopped ({reason}) without a result from the hypervisor"


def write_stats(path, stats):
    try:
        with open(path, "w", encoding="utf-8") as f:
            json.dump(stats, f, indent=2)
            f.write("\n")
    except OSError as e:
        raise Refusal(f"stats: cannot write {path}: {e.strerror}") from None


def run(machine, hypervisor, image):
    open_standard_files()
    if machine.stats:
        # Known to be writable before the machine starts, and never a previous run's.
        write_stats(machine.stats, report.Report(b"", 0).stats("error", "the run has not ended"))
    with swap_file(machine), Input() as user:
        if user.raw and not machine.quiet:
            say("Ctrl-A x ends the machine, Ctrl-] m opens the hypervisor's monitor; Ctrl-C goes to the guest")
        machinery = Run(machine, image, user)
        place = hypervisor.load_offset() + hypervisor.report_offset
        try:
            if machine.record:
                machinery.recorder = Recorder(machine.record, machinery.ram, place, machine.record_every / 1000)
            code = machinery.go()
        finally:
            if machinery.process.poll() is None:
                machinery.process.kill()
                machinery.process.wait()
            if machinery.drive:
                machinery.drive.terminate()
                machinery.drive.wait()
    rep = report.Report(machinery.ram, place)
    result, reason = judge(machinery.ended, machinery.monitor.reason, rep)
    if machinery.recorder:
        machinery.recorder.close(result)
    if result == "timeout":
        reason = f"timeout after {machine.timeout:g} s"
    if machine.stats:
        write_stats(machine.stats, rep.stats(result, reason))
    if result == "error":
        tail = os.pread(machinery.errors, 1 << 20, 0).decode("utf-8", "replace").splitlines()[-10:]
        reason += f"; its exit status was {code}" if machinery.ended is None else ""
        for line in tail:
            say(f"qemu: {line}")
    if rep.valid and not machine.quiet:
        for line in rep.population():
            say(line)
    if reason:
        say(reason)
    return EXIT_CODES[result]
