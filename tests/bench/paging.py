# SPDX-License-Identifier: BSD-2-Clause
"""The figures of pages that come and go: what a fault costs, and what drives of set latency and rate leave of their speed."""

import json
import os
import re
import selectors
import statistics
import subprocess
import sys
import time
from pathlib import Path

import plugin

ROOT = Path(__file__).resolve().parent.parent.parent
BUILD = ROOT / "build"
MW = [sys.executable, str(ROOT / "tools" / "mw")]
KERNEL, INITRD = BUILD / "debian" / "vmlinuz", BUILD / "demo.cpio"
CHURN, RAMDISK, OUTSTANDING = (BUILD / "guests" / f"{name}.img" for name in ("churn", "ramdisk", "outstanding"))
INIT_LINE = b"init: first line"
PAGE, MIB = 4096, 1 << 20

FIGURES = {
    "swap_in": ("page back from swap, and another one out for it, both cores", "instructions", "<=", 3000),
    "store_in": ("page back from the compressed store, the same, on the helper", "instructions", "<=", 12000),
    "queued_share": ("of a queued fault, on the vCPU's core", "instructions", "<=", 700),
    "lazy_boot": ("boot from a 1 ms drive, of reading it all before", "times", "<=", 1.0),
    "sequential": ("reading in order, of a drive's 200 MB/s", "%", ">=", 90),
    "working_set": ("8 vCPUs at random on 1.5 times the limit, of 8 reads at a time", "%", ">=", 90),
    "fault_locks": ("shared locks on the fault path, 4 vCPUs, pages swapped", "locks", "<=", 0),
}


class Failed(Exception):
    """A run that did not come to a figure."""


def mw(folder, *args, timeout=180):
    """(standard output, statistics) of a run in which the guest powered off."""
    stats = folder / "stats.json"
    done = subprocess.run([*MW, "run", "--quiet", "--timeout", str(timeout), "--stats", stats, *map(str, args)],
                          stdin=subprocess.DEVNULL, capture_output=True, check=False)
    out = done.stdout.decode("utf-8", "replace").replace("\r", "")
    if done.returncode or "FAIL" in out:
        raise Failed(f"mw run {' '.join(map(str, args))} ended with {done.returncode}:\n{out[-2000:]}"
                     f"{done.stderr.decode('utf-8', 'replace')[-2000:]}")
    return out, json.loads(stats.read_text())


class Drive:
    """nbdkit with these arguments, as long as the block runs; `url` is where."""

    count = 0

    def __init__(self, folder, *args):
        Drive.count += 1
        self.socket = folder / f"drive{Drive.count}"
        self.args = ["nbdkit", "--foreground", "--unix", self.socket, *args]

    def __enter__(self):
        self.process = subprocess.Popen(self.args, stdin=subprocess.DEVNULL)
        until = time.monotonic() + 20
        while not self.socket.exists():
            if self.process.poll() is not None or time.monotonic() > until:
                raise Failed(f"{' '.join(map(str, self.args))} does not start")
            time.sleep(0.02)
        self.url = f"nbd+unix:///?socket={self.socket}"
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()


# ---- instructions

SET = 3072  # pages, of which a guest with 8 MiB holds two thirds: in order, each of them has left when its turn comes
LOOKS = ("s2_fault", "helper_step")  # what the vCPU's core and the helper do again and again while they wait, by core
CYCLES = 4


def passes(folder, store, swap, kind, count):
    """(instructions by core, calls by function, the guest's counters) of a run that reads its set so many times."""
    stats = folder / "stats.json"
    cores, calls = plugin.cores(folder, [
        "--icount", "--kernel", CHURN, "--memory", "64M", "--resident", "8M", "--store", store, "--swap", swap,
        "--no-read-ahead", "--quiet", "--timeout", "300", "--stats", stats,
        "--append", f"kind={kind} writes=100 in-order=1 rounds={SET} pages={SET} passes={count}"])
    return cores, calls, json.loads(stats.read_text())["guests"][0]


def marginal(folder, store, swap, kind, counter):
    """[(instructions, looks) of each core] for each page that comes back. Marginal, so starting does not count."""
    few, many = (passes(folder, store, swap, kind, n) for n in (2, 2 + CYCLES))
    pages = many[2]["paging"][counter] - few[2]["paging"][counter]
    if pages < CYCLES * SET - 10:
        raise Failed(f"{pages} pages came back, of {CYCLES * SET}")
    return [((many[0][core] - few[0][core]) / pages, (many[1][name] - few[1][name]) / pages) for core, name in enumerate(LOOKS)]


LEAST = 2  # looks that each core has to take for a page: at what is asked, and at what has come


def work(here, there):
    """
    What `here` costs without waiting. How often a core looks for what has not come yet is its drive's doing, and no work: `there`,
    the same work with another number of looks, says what one look costs.
    """
    (total, looks), (other_total, other_looks) = here, there
    if looks <= LEAST + 0.5:
        return total  # it did not wait
    if abs(other_looks - looks) < 1:
        raise Failed(f"{looks:.1f} and {other_looks:.1f} looks are too much alike")
    return total - max(0, looks - LEAST) * (other_total - total) / (other_looks - looks)


def instructions(folder, progress):
    progress("pages that come back from a swap disk, and from one of 1 ms")
    swap = marginal(folder, "0", folder / "swap", 3, "brought_swap")
    with Drive(folder, "--filter=delay", "memory", "64M", "rdelay=1ms") as drive:
        slow = marginal(folder, "0", drive.url, 3, "brought_swap")
    progress("pages that come back from the compressed store")
    store = marginal(folder, "32M", folder / "swap", 2, "brought_store")
    share = work(swap[0], store[0])  # the vCPU's core does the same for both
    return {"swap_in": share + work(swap[1], slow[1]), "store_in": work(store[1], slow[1]) if store[1][1] > LEAST + 1 else store[1][0],
            "queued_share": share}


# ---- drives


def seconds_to_init(args):
    """From the start of mw to the guest's first line of /init."""
    then = time.monotonic()
    with subprocess.Popen([*MW, "run", "--quiet", *map(str, args)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.DEVNULL) as run:
        out = b""
        try:
            with selectors.DefaultSelector() as ready:
                ready.register(run.stdout, selectors.EVENT_READ)
                while ready.select(max(0, then + 120 - time.monotonic())):
                    data = os.read(run.stdout.fileno(), 65536)
                    out += data
                    if INIT_LINE in out:
                        return time.monotonic() - then
                    if not data:
                        break
        finally:
            run.terminate()
    raise Failed(f"no '{INIT_LINE.decode()}':\n{out[-2000:]}")


def lazy_boot(folder, pairs, progress):
    image, copy = folder / "debian.mwi", folder / "copy.mwi"
    subprocess.run([*MW, "image", "create", "-o", image, f"kernel={KERNEL}", f"initrd={INITRD}"], check=True)
    times = {"eager": [], "lazy": []}
    with Drive(folder, "--readonly", "--filter=delay", "file", image, "rdelay=1ms") as drive:
        for i in range(pairs):
            then = time.monotonic()
            subprocess.run(["qemu-img", "convert", "-f", "raw", "-O", "raw", drive.url, copy], check=True)
            read = time.monotonic() - then
            times["eager"].append(read + seconds_to_init(["--image", copy, "--kernel", "image:kernel", "--initrd", "image:initrd"]))
            times["lazy"].append(seconds_to_init(["--disk", drive.url, "--kernel", "disk:kernel", "--initrd", "disk:initrd"]))
            progress(f"boot from a drive, pair {i + 1} of {pairs}: read before {times['eager'][-1]:.2f} s ({read:.2f} s of that reading),"
                     f" lazily {times['lazy'][-1]:.2f} s")
    return {"lazy_boot": statistics.median(times["lazy"]) / statistics.median(times["eager"])}, {"lazy_boot_seconds": times}


RATE = 200_000_000


def sequential(folder, pairs, progress):
    """
    All of a RAM disk of 192 MiB that does not compress, page by page; its drive is throttled by QEMU. The guest does so in one
    life after the other: the first one pays for the host's own first touch of the machine's RAM, and is left out.
    """
    disk, image = folder / "noise", folder / "noise.mwi"
    disk.write_bytes(os.urandom(192 * MIB))
    subprocess.run([*MW, "image", "create", "-o", image, f"kernel={RAMDISK}", f"disk={disk}"], stderr=subprocess.DEVNULL, check=True)
    disk.unlink()
    out, _ = mw(folder, "--disk", image, "--kernel", "disk:kernel", "--initrd", "disk:disk", "--memory", "256M", "--append",
                f"in-order=1 until-ms={2000 * pairs + 2000}", "--qemu-arg=-set", f"--qemu-arg=drive.mw0.throttling.bps-read={RATE}")
    found = [100 * int(n) * PAGE / (int(us) / 1e6) / RATE for n, us in re.findall(r"^ramdisk: (\d+) pages in order in (\d+) us$", out, re.M)]
    image.unlink()
    if len(found) < pairs:
        raise Failed(f"the guest printed too few times:\n{out[-2000:]}")
    progress("reading in order: " + ", ".join(f"{f:.1f}" for f in found) + " % of the drive's rate, the first with a cold machine")
    return {"sequential": statistics.median(found[1:])}, {"sequential_percent": found}


LIMIT = 16  # MiB


def swap_ins(folder, drive, ms, extra):
    """Pages that came back and were of use, in a run whose 8 CPUs read at random for so long."""
    pages = LIMIT * MIB // PAGE * 3 // 2
    _, stats = mw(folder, "--kernel", CHURN, "--cpus", 8, "--memory", "96M", "--resident", f"{LIMIT}M", "--store", 0, "--swap", drive.url, *extra,
                  "--append", f"kind=3 writes=100 in-order=1 rounds={pages} pages={pages} reads-ms={ms} wait-ms=100000")
    paging = stats["guests"][0]["paging"]
    return paging["brought_swap"] - paging["ahead_missed"]


def plain_qemu(drive, cpus, timeout, *args):
    """A machine without a hypervisor, whose disk is that drive, until it is powered off."""
    return subprocess.run([
        "qemu-system-aarch64", "-M", "virt,gic-version=3", "-cpu", "cortex-a57", "-smp", str(cpus), "-accel", "tcg,thread=multi", "-nodefaults",
        "-display", "none", "-serial", "stdio", "-no-reboot", "-global", "virtio-mmio.force-legacy=false", "-drive",
        f"if=none,id=drive,format=raw,cache=unsafe,file={drive.url}", "-device", "virtio-blk-device,drive=drive", *args
    ], stdin=subprocess.DEVNULL, capture_output=True, encoding="utf-8", errors="replace", timeout=timeout, check=False)  # yapf: disable


def native_reads(drive, sleepers, space=0):
    """
    Pages a second that 8 reads at a time give on plain QEMU: to as many CPUs, each asleep until its page is there, or (0) to the
    one that drives the disk. With a space of so many pages the CPUs touch those at random: a bare pager.
    """
    done = plain_qemu(drive, 1 + sleepers, 60, "-m", "256M", "-kernel", OUTSTANDING, "-append", f"sleepers={sleepers} space={space} ms=4000")
    found = re.search(r"^outstanding: (\d+) reads in (\d+) us", done.stdout, re.M)
    if not found or "FAIL" in done.stdout:
        raise Failed(f"reads on plain QEMU ended with {done.returncode}:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return int(found[1]) * 1e6 / int(found[2])


def host_reads(drive):
    """The same without a machine."""
    done = subprocess.run(["qemu-img", "bench", "-f", "raw", "-t", "none", "-c", "24000", "-d", "8", "-s", str(PAGE), drive.url],
                          capture_output=True, text=True, check=True)
    return 24000 / float(re.search(r"completed in ([0-9.]+) seconds", done.stdout)[1])


def working_set(folder, pairs, progress):
    """
    Of what 8 reads of a program on the host give. What the same emulated machine gets of it without a hypervisor is told beside
    (doc/testing.md).
    """
    found = {"guest": [], "guest_without_read_ahead": [], "native": [], "native_polled": [], "native_paging": [], "host": []}
    with Drive(folder, "--filter=delay", "memory", "128M", "rdelay=1ms") as drive:
        for i in range(pairs):
            for name, extra in (("guest", []), ("guest_without_read_ahead", ["--no-read-ahead"])):
                short, long = (swap_ins(folder, drive, ms, extra) for ms in (1000, 5000))
                found[name].append((long - short) / 4)
            found["native"].append(native_reads(drive, 8))
            found["native_polled"].append(native_reads(drive, 0))
            found["native_paging"].append(native_reads(drive, 8, LIMIT * MIB // PAGE * 3 // 2))
            found["host"].append(host_reads(drive))
            progress(f"random reads a second, 8 at a time, pair {i + 1} of {pairs}: " +
                     ", ".join(f"{name.replace('_', ' ')} {rates[-1]:.0f}" for name, rates in found.items()))
    percents = [100 * guest / host for guest, host in zip(found["guest"], found["host"])]
    return {"working_set": statistics.median(percents)}, {"working_set_percent": percents, "working_set_reads": found}


def locks(folder):
    _, stats = mw(folder, "--kernel", CHURN, "--cpus", 4, "--memory", "64M", "--resident", "12M", "--store", "2M", "--swap", folder / "swap",
                  "--append", "rounds=3000")
    return {"fault_locks": stats["shared_locks_on_fault_path"]}


def reported(folder, progress):
    """Not judged: what Debian's memory compresses to while it idles, and what read-ahead brings that is wanted."""
    progress("what Debian's memory compresses to")
    _, stats = mw(folder, "--memory", "512M", "--resident", "24M", "--store", "128M", "--swap", folder / "swap")
    paging, store = stats["guests"][0]["paging"], stats["store"]
    return {"debian_compression": {"pages": store["pages"], "bytes_each": store["stored_bytes"] / max(store["pages"], 1),
                                   "not_worth_it": store["incompressible"]},
            "debian_read_ahead": {"pages": paging["ahead_pages"], "touched": paging["ahead_hits"], "evicted_untouched": paging["ahead_missed"]}}


def measure(folder, pairs, progress):
    """(figures, what else is to be told)."""
    figures, extra = instructions(folder, progress), {}
    for part in (lazy_boot, sequential, working_set):
        found, more = part(folder, pairs, progress)
        figures |= found
        extra |= more
    figures |= locks(folder)
    return figures, extra | reported(folder, progress)
