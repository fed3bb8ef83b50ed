# SPDX-License-Identifier: BSD-2-Clause
"""Runs `mw run` with the TCG plugin count.c, which counts EL2's instructions."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
BUILD = ROOT / "build"
RAM_BASE = 0x40000000  # of QEMU's virt machine

sys.path.insert(0, str(ROOT / "tools"))

from mwlib import image  # noqa: E402 - the path must be set first


def run(folder, arguments, *options):
    """(where the hypervisor runs, the lines that the plugin left) of a run, however it ends."""
    hypervisor = image.Hypervisor(str(BUILD / "meanwhile.img"))
    base = RAM_BASE + hypervisor.load_offset()
    plugin, out = folder / "count.so", folder / "counts"
    out.unlink(missing_ok=True)
    subprocess.run(["gcc", "-shared", "-fPIC", "-O2", "-Wall", "-Wextra", "-Werror", "-o", str(plugin),
                    str(Path(__file__).with_name("count.c"))], check=True)
    option = ",".join([str(plugin), f"lo={base}", f"hi={base + hypervisor.size}", f"out={out}", *options])
    subprocess.run([sys.executable, str(ROOT / "tools" / "mw"), "run", *map(str, arguments), "--qemu-arg", "-plugin",
                    "--qemu-arg", option], stdin=subprocess.DEVNULL, stdout=sys.stderr, check=False)
    if not out.exists():
        sys.exit("the run left no counts")
    return base, [tuple(map(int, line.split())) for line in out.read_text().splitlines()]


def counts(folder, arguments):
    """{offset in the image: executions}."""
    base, rows = run(folder, arguments)
    return {at - base: n for at, n in rows}


def cores(folder, arguments):
    """({core: instructions}, {function: calls}): all of a core's, those of looking again and again included."""
    base, rows = run(folder, arguments, "cores=on")
    at = {row[0] - base: row[1] for row in rows if len(row) == 2}
    names = subprocess.run(["nm", str(BUILD / "meanwhile.elf")], capture_output=True, text=True, check=True).stdout
    entries = {line.split()[2]: int(line.split()[0], 16) for line in names.splitlines() if " t " in line or " T " in line}
    return {row[0]: row[1] for row in rows if len(row) == 3}, {name: at[where] for name, where in entries.items() if where in at}
