# SPDX-License-Identifier: BSD-2-Clause
"""An initramfs written without root: the "newc" format (Documentation/driver-api/early-userspace/buffer-format.rst)."""

import stat


class Archive:
    def __init__(self):
        self.data = bytearray()
        self.inode = 0
        self.folders = set()

    def _entry(self, name, mode, content=b"", rdev=(0, 0)):
        self.inode += 1
        raw = name.encode() + b"\0"
        # ino mode uid gid nlink mtime filesize devmajor devminor rdevmajor rdevminor namesize check
        fields = (self.inode, mode, 0, 0, 1, 0, len(content), 0, 0, rdev[0], rdev[1], len(raw), 0)
        self.data += b"070701" + b"".join(b"%08x" % f for f in fields) + raw
        self.data += b"\0" * (-len(self.data) % 4)
        self.data += content
        self.data += b"\0" * (-len(self.data) % 4)

    def _parents(self, name):
        parts = name.split("/")[:-1]
        for i in range(1, len(parts) + 1):
            self.folder("/".join(parts[:i]))

    def folder(self, name, mode=0o755):
        if name not in self.folders:
            self.folders.add(name)
            self._parents(name)
            self._entry(name, stat.S_IFDIR | mode)

    def file(self, name, content, mode=0o644):
        self._parents(name)
        self._entry(name, stat.S_IFREG | mode, content)

    def link(self, name, target):
        self._parents(name)
        self._entry(name, stat.S_IFLNK | 0o777, target.encode())

    def device(self, name, major, minor, mode=0o600):
        self._parents(name)
        self._entry(name, stat.S_IFCHR | mode, rdev=(major, minor))

    def finish(self):
        self._entry("TRAILER!!!", 0)
        self.data += b"\0" * (-len(self.data) % 512)
        return bytes(self.data)


def initramfs(init, busybox, files=()):
    """An archive with /init, /bin/busybox and `files`: (name in the archive, content, mode)."""
    archive = Archive()
    for name in ("dev", "proc", "sys", "tmp", "root", "etc", "bin"):
        archive.folder(name)
    # The kernel opens /dev/console for /init before anything could mount a /dev.
    archive.device("dev/console", 5, 1)
    archive.device("dev/null", 1, 3, 0o666)
    archive.file("bin/busybox", busybox, 0o755)
    archive.link("bin/sh", "busybox")
    archive.file("init", init, 0o755)
    for name, content, mode in files:
        archive.file(name.lstrip("/"), content, mode)
    return archive.finish()
