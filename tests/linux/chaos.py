#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Disorder in Debian guests with our module, until their tasks have slept for as many pages as asked for, by the module's counters.

tests/linux/programs/chaos.c and disturb.c say what goes on in a guest. Guests follow one another, each with another seed, kernel, and place for its cold
pages; a line for each says how to repeat it. Results go to standard output and to build/chaos.json, progress to standard error; ^C ends
it, and what there was counts. Exit code 1: something is wrong, or a share is below its target. test_chaos_debian.py is the short form."""

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
BUILD = ROOT / "build"
MW = [sys.executable, "-B", str(ROOT / "tools" / "mw")]

sys.dont_write_bytecode = True
sys.path[:0] = [str(ROOT / "tools"), str(Path(__file__).resolve().parent)]

from mwlib import cpio  # noqa: E402 - the path must be set first
from test_debian import COMPLAINTS, MOUNTS  # noqa: E402

KERNELS = {"arm64": "debian/vmlinuz", "rt": "kernels/rt/vmlinuz", "6.12": "kernels/6.12/vmlinuz"}
LOUD = "console=ttyAMA0 cryptomgr.notests"
FAST = f"{LOUD} kpti=off nokaslr"  # under emulation each switch of tables empties the TLB
MEMORY = "384M"  # each of twelve workers may have 11 MB, and as much again while a child of it waits to be killed
RESIDENT = "56M"  # the kernel keeps about 30 of them busy
STORE = ["--store", "96M"]
# (kernel, its command line, machine, where cold pages go), one guest after another
CONFIGS = [("arm64", FAST, "virt", "store"), ("rt", FAST, "virt", "store"), ("6.12", FAST, "virt", "store"), ("arm64", FAST, "virt", "swap"),
           ("rt", FAST, "virt-gicv2", "store"), ("arm64", LOUD, "virt", "store"), ("6.12", FAST, "virt", "swap")]
FETCHES, KERNEL = 5, 20  # percent of the parks, at least
WHAT = ("touch", "fetch", "pipe", "file", "signal", "futex", "thread", "remote", "fork", "kill", "map", "exec")

INIT = MOUNTS + """
mount -t debugfs debug /sys/kernel/debug
echo 30 >/proc/sys/kernel/hung_task_timeout_secs
insmod /meanwhile.ko || echo no module
/chaos work seed={seed} {limit} workers=8 pages=1500 & a=$!
/chaos32 work seed={seed}1 {limit} workers=4 pages=1500 & b=$!
/disturb seed={seed} & c=$!
wait $a && wait $b && echo workers ended
kill $c
wait $c && echo disturber ended
/disturb asleep
rmmod meanwhile && echo unloaded
sleep 0.3
poweroff -f
"""


def init(seed, limit):
    """`limit` of each worker: for=MS, rounds=N."""
    return INIT.format(seed=seed, limit=limit)


def files(kernel):
    """{name: (content, mode)} of a guest's root."""
    return {"meanwhile.ko": ((BUILD / "module" / kernel / "meanwhile.ko").read_bytes(), 0o644),
            **{name: ((BUILD / "programs" / name).read_bytes(), 0o755) for name in ("chaos", "chaos32", "disturb")}}


def pairs(text):
    return {name: int(n) for name, n in re.findall(r"(\w+)=(\d+)", text)}


def counters(out):
    """The module's, over all of its lives, as they were said last; and how often it was disturbed."""
    lines = re.findall(r"^chaos: counters (.*)$", out, re.M)
    return pairs(lines[-1]) if lines else {}


def did(out):
    """{"64": {what workers did: how often}, "32": ...}"""
    return {bits: pairs(text) for bits, text in re.findall(r"^chaos: all right, (\d\d) bits: (.*)$", out, re.M)}


def parks(c):
    return c.get("parked_user", 0) + c.get("parked_kernel", 0)


def complaints(out):
    return [line for line in out.splitlines() if COMPLAINTS.search(line) or "blocked for more than" in line or "WRONG" in line]


def faults(code, out, stats):
    """What is wrong with a guest that has ended, line by line."""
    found = complaints(out)
    if code:
        found.append(f"it ended with {code}: {stats['reason'] if stats else 'no statistics'}")
    for line in ("workers ended", "disturber ended", "chaos: nobody asleep", "unloaded"):
        if line not in out.splitlines():
            found.append(f"it does not say '{line}'")
    if sorted(did(out)) != ["32", "64"]:
        found.append("not all came to their sums")
    if stats and stats["guests"]:
        c, told = counters(out), stats["guests"][0]["async_faults"]["injected"]
        slept = parks(c) + sum(c.get(name, 0) for name in ("early", "waited_alone", "waited_atomic"))
        if slept > told:
            found.append(f"the module counts {slept}, of {told} that the hypervisor told of")
    return found


# ---- the long form


class Guest:
    """One round, and what came of it."""

    def __init__(self, folder, seed, seconds):
        kernel, append, machine, place = CONFIGS[seed % len(CONFIGS)]
        self.name = f"seed {seed}: {kernel}, {machine}, {place}{'' if append == FAST else ', kpti and KASLR'}"
        self.stats_file = folder / "stats.json"
        initrd = folder / "initrd.cpio"
        contents = [(name, *content) for name, content in files(kernel).items()]
        initrd.write_bytes(cpio.initramfs(init(seed, f"for={seconds * 1000}").encode(), (BUILD / "debian" / "busybox").read_bytes(), contents))
        self.stats_file.unlink(missing_ok=True)
        where = STORE if place == "store" else ["--store", "0", "--swap", str(folder / "swap")]
        self.command = [*MW, "run", "--quiet", "--timeout", str(seconds + 240), "--stats", str(self.stats_file), "--machine", machine, "--kernel",
                        str(BUILD / KERNELS[kernel]), "--initrd", str(initrd), "--append", append, "--cpus", "2", "--memory", MEMORY, "--resident",
                        RESIDENT, *where]
        self.out = ""
        self.code = self.stats = None

    def run(self, progress):
        """Calls progress() each time that the guest says something."""
        env = {**os.environ, "MW_THREADS": "multi"}
        with tempfile.TemporaryFile() as errors:
            process = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors, env=env)
            try:
                for line in process.stdout:
                    self.out += line.decode("utf-8", "replace").replace("\r", "")
                    progress()
                self.code = process.wait()
            except KeyboardInterrupt:
                for number in (signal.SIGINT, signal.SIGTERM):
                    signal.signal(number, signal.SIG_IGN)
                process.terminate()  # it may have had the signal, too
                self.out += process.communicate()[0].decode("utf-8", "replace").replace("\r", "")
                raise
            finally:
                if self.stats_file.exists():
                    self.stats = json.loads(self.stats_file.read_text())
                errors.seek(0)
                self.errors = errors.read().decode("utf-8", "replace")


class Total:
    def __init__(self, wanted, seed):
        self.wanted, self.seed = wanted, seed
        self.began = time.monotonic()
        self.sum, self.told, self.rounds, self.shown = {}, {}, [], 0
        self.wrong, self.result = [], "interrupted"

    def parks(self, more=None):
        return parks(self.sum) + parks(more or {})

    def share(self, name, of, counts):
        return 100 * counts.get(name, 0) / of if of else 0

    def progress(self, guest):
        """A line every ten seconds. The hypervisor says what was a fetch, when a guest has ended."""
        if time.monotonic() - self.shown < 10:
            return
        self.shown = time.monotonic()
        now = counters(guest.out)
        n = self.parks(now)
        rate = n / (self.shown - self.began)
        both = {name: self.sum.get(name, 0) + now.get(name, 0) for name in ("parked_kernel", "parked_compat")}
        fetches = f"{self.share('fetches', self.told.get('injected', 0), self.told):.1f} %" if self.told else "?"
        left = f"{(self.wanted - n) / rate / 60:.0f} min left" if rate > 1 and n < self.wanted else "..."
        say(f"{n:,} of {self.wanted:,} parks, {rate:,.0f}/s, {self.share('parked_kernel', n, both):.1f} % of the kernel's, {fetches} fetches,"
            f" {both['parked_compat']:,} of AArch32, {left} ({guest.name})")

    def add(self, guest, whole):
        c = counters(guest.out)
        for name, n in c.items():
            self.sum[name] = self.sum.get(name, 0) + n
        told = guest.stats["guests"][0]["async_faults"] if guest.stats and guest.stats["guests"] else {}
        for name, n in told.items():
            self.told[name] = self.told.get(name, 0) + n
        found = faults(guest.code, guest.out, guest.stats) if whole else complaints(guest.out)
        self.wrong += [f"{guest.name}: {line}" for line in found]
        self.rounds.append({"guest": guest.name, "parks": parks(c), "did": did(guest.out), "told": told, "wrong": found})
        return not found

    def figures(self):
        n, seconds = self.parks(), time.monotonic() - self.began
        return {"parks": n, "wanted": self.wanted, "seconds": round(seconds, 1), "parks_per_second": round(n / seconds, 1),
                "fetches_percent": round(self.share("fetches", self.told.get("injected", 0), self.told), 2),
                "kernel_percent": round(self.share("parked_kernel", n, self.sum), 2), "aarch32_parks": self.sum.get("parked_compat", 0)}

    def missed(self):
        f = self.figures()
        return [f"{title}: {f[key]} %, of {least}" for key, title, least in
                (("fetches_percent", "fetches", FETCHES), ("kernel_percent", "the kernel's accesses", KERNEL)) if f[key] < least]

    def write(self, path):
        path.write_text(json.dumps({"schema": 1, "result": self.result, "seed": self.seed, **self.figures(), "module": self.sum, "told": self.told,
                                    "wrong": self.wrong, "rounds": self.rounds}, indent=2) + "\n")

    def summary(self):
        f, c = self.figures(), self.sum
        yield (f"{f['parks']:,} parks in {f['seconds'] / 60:.1f} min, {f['parks_per_second']:,.0f}/s: {f['kernel_percent']} % of the kernel's accesses,"
               f" {f['fetches_percent']} % fetches, {f['aarch32_parks']:,} of AArch32")
        yield (f"{len(self.rounds)} guests; {c.get('reloads', 0)} times the module loaded anew, {c.get('hotplugs', 0)} times CPU 1,"
               f" {c.get('switches', 0)} times off and on, {c.get('asked', 0)} times PSCI was asked")
        done = [pairs for r in self.rounds for pairs in r["did"].values()]
        yield ", ".join(f"{sum(d.get(what, 0) for d in done):,} {what}" for what in WHAT)
        yield from self.wrong
        yield f"result: {self.result}"


def say(text):
    print(f"chaos: {text}", file=sys.stderr, flush=True)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--parks", type=int, default=10_000_000, help="how many there shall be (10000000)")
    p.add_argument("--seconds", type=int, default=180, help="how long the workers of a guest work (180)")
    p.add_argument("--seed", type=int, default=int(time.time()) % 100_000_000, help="of the first guest; the next one has the next")
    p.add_argument("-o", dest="output", type=Path, default=BUILD / "chaos.json", help="where the JSON goes")
    args = p.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    total = Total(args.parks, args.seed)
    with tempfile.TemporaryDirectory(prefix="mw-chaos-") as name:
        seed = args.seed
        while total.parks() < args.parks:
            guest = Guest(Path(name), seed, args.seconds)
            say(guest.name)
            try:
                guest.run(lambda: total.progress(guest))
            except KeyboardInterrupt:
                total.add(guest, False)
                break
            good = total.add(guest, True)
            total.write(args.output)
            if not good:
                log = args.output.with_suffix(".log")
                log.write_text(guest.out + guest.errors)
                say(f"what is wrong: {log}")
                break
            seed += 1
        else:
            total.wrong += total.missed()
            total.result = "good"
    if total.wrong:
        total.result = "wrong"
    total.write(args.output)
    for line in total.summary():
        print(line)
    return {"good": 0, "wrong": 1, "interrupted": 130}[total.result]


if __name__ == "__main__":
    sys.exit(main())
