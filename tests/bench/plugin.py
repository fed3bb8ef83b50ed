# SPDX-License-Identifier: BSD-2-Clause
"""Runs `mw run` with a TCG plugin: count.c counts EL2's instructions, trips.c those of a guest's way to EL2 and back."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
BUILD = ROOT / "build"
RAM_BASE = 0x40000000  # of QEMU's virt machine

sys.path.insert(0, str(ROOT / "tools"))

from mwlib import image  # noqa: E402 - the path must be set first


def run(folder, arguments, *options, name="count"):
    """(where the hypervisor runs, the lines that the plugin left, as words) of a run, however it ends."""
    hypervisor = image.Hypervisor(str(BUILD / "meanwhile.img"))
    base = RAM_BASE + hypervisor.load_offset()
    plugin, out = folder / f"{name}.so", folder / "counts"
    out.unlink(missing_ok=True)
    subprocess.run(["gcc", "-shared", "-fPIC", "-O2", "-Wall", "-Wextra", "-Werror", "-o", str(plugin),
                    str(Path(__file__).with_name(f"{name}.c"))], check=True)
    option = ",".join([str(plugin), f"lo={base}", f"hi={base + hypervisor.size}", f"out={out}", *options])
    subprocess.run([sys.executable, str(ROOT / "tools" / "mw"), "run", *map(str, arguments), "--qemu-arg", "-plugin",
                    "--qemu-arg", option], stdin=subprocess.DEVNULL, stdout=sys.stderr, check=False)
    if not out.exists():
        sys.exit("the run left no counts")
    return base, [line.split() for line in out.read_text().splitlines()]


def numbers(rows):
    return [tuple(map(int, row)) for row in rows]


def counts(folder, arguments):
    """{offset in the image: executions}."""
    base, rows = run(folder, arguments)
    return {at - base: n for at, n in numbers(rows)}


def functions():
    """{name: offset in the image}"""
    names = subprocess.run(["nm", str(BUILD / "meanwhile.elf")], capture_output=True, text=True, check=True).stdout
    return {line.split()[2]: int(line.split()[0], 16) for line in names.splitlines() if " t " in line or " T " in line}


def cores(folder, arguments):
    """({core: instructions}, {function: calls}): all of a core's, those of looking again and again included."""
    base, rows = run(folder, arguments, "cores=on")
    rows = numbers(rows)
    at = {row[0] - base: row[1] for row in rows if len(row) == 2}
    return {row[0]: row[1] for row in rows if len(row) == 3}, {name: at[where] for name, where in functions().items() if where in at}


def trips(folder, arguments, spans=()):
    """
    {"calls", "none": (how often, median of instructions)} of waits for pages, as trips.c tells them apart; the same by name for
    spans: (name, function, another one that it came through), and by name + "_trip" for what is around one.
    """
    at = functions()
    _, rows = run(folder, arguments, *(f"span={name}:{at[entry]}:{at[through]}" for name, entry, through in spans), name="trips")
    return {name: (int(count), int(median)) for name, count, median in rows}
