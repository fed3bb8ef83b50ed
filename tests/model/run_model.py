#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Has Spin search apf.pml through and through. As a script: the unbroken model; one line, and 0 if it holds."""

import re
import subprocess
import sys
import tempfile
from pathlib import Path

MODEL = Path(__file__).resolve().parent / "apf.pml"
# One thing at a time beside the plain protocol: all of them at once are too many states.
WORLDS = (
    "-DRING=1 -DTOUCHES=2 -DLAST=4 -DODD=0 -DOFF=0 -DRESET=0",
    "-DRING=2 -DTOUCHES=2 -DLAST=4 -DODD=0 -DOFF=0 -DRESET=0",
    "-DRING=2 -DTOUCHES=1 -DLAST=2 -DODD=0 -DOFF=1 -DRESET=0",
    "-DRING=2 -DTOUCHES=1 -DLAST=1 -DODD=0 -DOFF=0 -DRESET=1",
    "-DRING=2 -DTOUCHES=1 -DLAST=2 -DODD=1 -DOFF=0 -DRESET=0",
)
# Rules that can be broken (apf.pml says which), and in which world it shows.
BREAKS = {1: 1, 2: 1, 3: 0, 4: 0, 5: 0, 6: 0, 7: 2, 8: 2, 9: 0, 10: 0, 11: 4, 12: 2}
INCOMPLETE = ("Search not completed", "max search depth too small", "out of memory", "hash table full", "VECTORSZ", "aborting")
MEGABYTES = 1000


def run(command, folder):
    done = subprocess.run(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    return done.returncode, done.stdout


def search(world, break_, folder):
    """(errors, states, log); raises if it was not searched to the end, or to an error."""
    log = ""
    for command in (["spin", "-a", *world.split(), f"-DBREAK={break_}", str(MODEL)],
                    ["gcc", "-w", "-O2", "-DSAFETY", "-DCOLLAPSE", f"-DMEMLIM={MEGABYTES}", "-o", "pan", "pan.c"],
                    ["./pan", "-m20000", "-w22"]):
        code, out = run(command, folder)
        log += out
        if code:
            raise RuntimeError(f"{' '.join(command)}:\n{log}")
    errors = re.search(r"errors: (\d+)", log)
    states = re.search(r"(\d+(?:\.\d+)?(?:e\+\d+)?) states, stored", log)
    if not errors or not states:
        raise RuntimeError(f"Spin says nothing:\n{log}")
    if errors[1] == "0" and any(word in log for word in INCOMPLETE):
        raise RuntimeError(f"not searched to the end:\n{log}")
    return int(errors[1]), int(float(states[1])), f"{world} -DBREAK={break_}\n{log}"


def check():
    """(errors, states, log) of the unbroken model in all worlds, up to the first with an error."""
    states, logs = 0, []
    with tempfile.TemporaryDirectory() as folder:
        for world in WORLDS:
            errors, stored, log = search(world, 0, folder)
            states += stored
            logs.append(log)
            if errors:
                return errors, states, "\n".join(logs)
    return 0, states, "\n".join(logs)


def main():
    try:
        errors, states, log = check()
    except (OSError, RuntimeError) as problem:
        print(f"apf.pml: {problem}")
        return 1
    found = next((line for line in log.splitlines() if line.startswith("pan:1:")), "")
    print(f"apf.pml: {errors} errors, {states} states {found}".rstrip())
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main())
