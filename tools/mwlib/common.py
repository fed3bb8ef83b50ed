# SPDX-License-Identifier: BSD-2-Clause
"""What every part of the launcher uses: where things are, how it speaks, how it refuses."""

import os
import stat
import sys

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30
PAGE = 4 * KIB
BLOCK = 2 * MIB

# The exit codes people and scripts depend on.
EXIT_OFF = 0
EXIT_PANIC = 1
EXIT_BAD = 1  # of `mw image`
EXIT_USAGE = 2
EXIT_GUEST = 3
EXIT_ERROR = 4
EXIT_TIMEOUT = 124
EXIT_INTERRUPTED = 130

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__))))
BUILD = os.path.join(ROOT, "build")


class Refusal(Exception):
    """Arguments, a file or a tool that will not do: one line on standard error, exit code 2."""


def say(text):
    """Standard output belongs to the machine's UART, so the launcher speaks on standard error."""
    sys.stderr.write(f"mw: {text}\n")
    sys.stderr.flush()


def align_up(value, to):
    return (value + to - 1) // to * to


def show_size(size):
    for unit, letter in ((GIB, "G"), (MIB, "M"), (KIB, "K")):
        if size and size % unit == 0:
            return f"{size // unit}{letter}"
    return str(size)


def read_file(path, what, fits=None):
    """The bytes of a file named by the user; anything wrong with it is said in one line. A file of more than `fits` bytes is
    not read at all."""
    try:
        with open(path, "rb") as f:
            status = os.fstat(f.fileno())
            if not stat.S_ISREG(status.st_mode) and not stat.S_ISFIFO(status.st_mode):
                raise Refusal(f"{what}: {path} is not a file")  # a device may never end
            if fits is not None and status.st_size > fits:
                raise Refusal(f"{what}: {path} does not fit: it is larger than the guest's RAM of {show_size(fits)}")
            return f.read()
    except OSError as e:
        raise Refusal(f"{what}: cannot read {path}: {e.strerror}") from None
