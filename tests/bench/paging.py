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
CHURN, RAMDISK = BUILD / "guests" / "churn.img", BUILD / "guests" / "ramdisk.img"
INIT_LINE = b"init: first line"
PAGE, MIB = 4096, 1 << 20

FIGURES = {
    "swap_in": ("page back from swap, and another one out for it, both cores", "instructions", "<=", 3000),
    "store_in": ("page back from the compressed store, the same", "instructions", "<=", 12000),
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


def passes(folder, store, kind, count):
    """(instructions by core, the guest's counters) of a run that reads its set so many times."""
    stats = folder / "stats.json"
    cores = plugin.cores(folder, [
        "--icount", "--kernel", CHURN, "--memory", "64M", "--resident", "8M", "--store", store, "--swap", folder / "swap",
        "--no-read-ahead", "--quiet", "--timeout", "300", "--stats", stats,
        "--append", f"kind={kind} writes=100 in-order=1 rounds={SET} pages={SET} passes={count}"])
    return cores, json.loads(stats.read_text())["guests"][0]


def cost(folder, store, kind, counter):
    """(all instructions, those of the vCPU's core) for each page that comes back. Marginal, so starting does not count."""
    (few, before), (many, after) = passes(folder, store, kind, 2), passes(folder, store, kind, 6)
    pages = after["paging"][counter] - before["paging"][counter]
    if pages < 4 * SET - 10:
        raise Failed(f"{pages} pages came back, of {4 * SET}")
    return sum(many[c] - few[c] for c in many) / pages, (many[0] - few[0]) / pages


def instructions(folder, progress):
    progress("pages that come back from a swap disk")
    swap, share = cost(folder, "0", 3, "brought_swap")
    progress("pages that come back from the compressed store")
    store, also = cost(folder, "32M", 2, "brought_store")
    return {"swap_in": swap, "store_in": store, "queued_share": max(share, also)}


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
    """All of a RAM disk of 256 MiB that does not compress, page by page; its drive is throttled by QEMU."""
    disk, image = folder / "noise", folder / "noise.mwi"
    disk.write_bytes(os.urandom(256 * MIB))
    subprocess.run([*MW, "image", "create", "-o", image, f"kernel={RAMDISK}", f"disk={disk}"], check=True)
    disk.unlink()
    found = []
    for i in range(pairs):
        out, _ = mw(folder, "--disk", image, "--kernel", "disk:kernel", "--initrd", "disk:disk", "--memory", "512M", "--append",
                    "in-order=1", "--qemu-arg=-set", f"--qemu-arg=drive.mw0.throttling.bps-read={RATE}")
        m = re.search(r"^ramdisk: (\d+) pages in order in (\d+) us$", out, re.M)
        if not m:
            raise Failed(f"the guest printed no time:\n{out[-2000:]}")
        found.append(100 * int(m[1]) * PAGE / (int(m[2]) / 1e6) / RATE)
        progress(f"reading in order, run {i + 1} of {pairs}: {found[-1]:.1f} % of the drive's rate")
    image.unlink()
    return {"sequential": statistics.median(found)}, {"sequential_percent": found}


LIMIT = 16  # MiB


def swap_ins(folder, drive, ms):
    pages = LIMIT * MIB // PAGE * 3 // 2
    _, stats = mw(folder, "--kernel", CHURN, "--cpus", 8, "--memory", "96M", "--resident", f"{LIMIT}M", "--store", 0, "--swap", drive.url,
                  "--no-read-ahead", "--append", f"kind=3 writes=100 in-order=1 rounds={pages} pages={pages} reads-ms={ms} wait-ms=100000")
    return stats["guests"][0]["paging"]["brought_swap"], stats


def working_set(folder, pairs, progress):
    found = []
    with Drive(folder, "--filter=delay", "memory", "128M", "rdelay=1ms") as drive:
        for i in range(pairs):
            done = subprocess.run(["qemu-img", "bench", "-f", "raw", "-t", "none", "-c", "24000", "-d", "8", "-s", str(PAGE), drive.url],
                                  capture_output=True, text=True, check=True)
            best = 24000 / float(re.search(r"completed in ([0-9.]+) seconds", done.stdout)[1])
            short, long = (swap_ins(folder, drive, ms)[0] for ms in (1000, 5000))
            rate = (long - short) / 4
            found.append(100 * rate / best)
            progress(f"random reads, pair {i + 1} of {pairs}: {rate:.0f} pages a second come back, 8 reads at a time give {best:.0f}:"
                     f" {found[-1]:.1f} %")
    return {"working_set": statistics.median(found)}, {"working_set_percent": found}


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
