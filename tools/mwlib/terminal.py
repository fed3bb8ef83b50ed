# SPDX-License-Identifier: BSD-2-Clause
"""Standard input: a terminal in raw mode with an escape, a stream of data, or nothing."""

import os
import sys
import termios

ESCAPE = 0x01  # Ctrl-A


def interactive():
    """Is standard input a terminal that we may read? (In a background job reading it would stop us.)"""
    try:
        return os.isatty(0) and os.tcgetpgrp(0) == os.getpgrp()
    except OSError:
        return False


def open_standard_files():
    """A closed descriptor 0, 1 or 2 would be handed out again for something else: put /dev/null there."""
    for fd in (0, 1, 2):
        try:
            os.fstat(fd)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number, which is fd
    if sys.stderr is None:
        sys.stderr = os.fdopen(os.dup(2), "w")


class Input:
    """Context: the terminal is raw inside, so that Ctrl-C is the guest's, and what it was afterwards."""

    def __init__(self):
        self.raw = interactive()
        self.open = self.raw or not os.isatty(0)
        self.saved = None
        self.escaped = False

    def __enter__(self):
        if self.raw:
            self.saved = termios.tcgetattr(0)
            mode = termios.tcgetattr(0)
            mode[0] &= ~(termios.BRKINT | termios.ICRNL | termios.INLCR | termios.INPCK | termios.ISTRIP | termios.IXON)
            # Output processing stays on: the launcher's own lines, and the hypervisor's, end in a bare newline.
            mode[3] &= ~(termios.ECHO | termios.ICANON | termios.IEXTEN | termios.ISIG)
            mode[6][termios.VMIN], mode[6][termios.VTIME] = 1, 0
            termios.tcsetattr(0, termios.TCSADRAIN, mode)
        return self

    def __exit__(self, *exc):
        if self.saved is not None:
            termios.tcsetattr(0, termios.TCSADRAIN, self.saved)

    def read(self):
        """(bytes for the guest, whether the user asked to end). At the end of the input `open` becomes false."""
        try:
            data = os.read(0, 4096)
        except OSError:
            data = b""
        if not data:
            self.open = False
        if not self.raw:
            return data, False
        out = bytearray()
        for byte in data:
            if self.escaped:
                self.escaped = False
                if byte in b"xX":
                    return bytes(out), True
                # Any other key goes through with its Ctrl-A; a second Ctrl-A stands for one.
                out += bytes([byte]) if byte == ESCAPE else bytes([ESCAPE, byte])
            elif byte == ESCAPE:
                self.escaped = True
            else:
                out.append(byte)
        return bytes(out), False
