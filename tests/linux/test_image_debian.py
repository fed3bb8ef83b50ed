# SPDX-License-Identifier: BSD-2-Clause
"""Debian out of a page image, in RAM or on a disk: kernel and initramfs compressed page by page, decoded when the guest
asks for them."""

import hashlib
import re

import pytest
from test_debian import LOUD, MOUNTS, healthy, population

pytestmark = pytest.mark.racy


@pytest.fixture
def image(mw, tmp_path):
    def create(**files):
        path = tmp_path / "debian.mwi"
        assert mw("image", "create", "-o", path, *(f"{n}={f}" for n, f in files.items())).code == 0
        return path

    return create


@pytest.mark.parametrize("cpus, helpers", [(1, 1), (2, 1), (2, 2)])
def test_demo(mw, image, debian_kernel, demo_initrd, cpus, helpers):
    f = image(linux=debian_kernel, demo=demo_initrd)
    assert f.stat().st_size < 0.6 * (debian_kernel.stat().st_size + demo_initrd.stat().st_size)
    done = mw("run", "--image", f, "--kernel", "image:linux", "--initrd", "image:demo", "--append", f"{LOUD} mw.demo=1",
              "--cpus", cpus, "--helpers", helpers)
    healthy(done)
    assert "demo: ok, 64 MiB written and read back" in done.stdout
    population(done, cpus, helpers)
    # The kernel's pages at least came from the helpers, and none of them came before the guest ran.
    assert sum(h["populated_pages"] for h in done.stats["helpers"]) >= debian_kernel.stat().st_size // 4096


def test_each_byte_of_the_initramfs(mw, image, debian_kernel, initramfs):
    """A file in it of 8 MiB has the checksum that it was packed with."""
    data = b"".join(hashlib.sha256(b"%d" % i).digest() * (1 + i % 7) for i in range(65536))
    script = MOUNTS + "echo \"see: $(sha256sum </data)\"\nreboot -f\n"
    f = image(linux=debian_kernel, initrd=initramfs(script, {"data": (data, 0o600)}))
    done = mw("run", "--image", f, "--kernel", "image:linux", "--initrd", "image:initrd", "--append", LOUD, "--cpus", 2,
              "--no-reboot")
    assert (done.code, done.stats["result"]) == (3, "reset"), done.stdout + done.stderr
    assert re.search(r"see: ([0-9a-f]{64})", done.stdout)[1] == hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize("cpus", [1, 2])
def test_from_a_slow_drive(mw, image, drive, debian_kernel, demo_initrd, cpus):
    """Each read takes a millisecond. The guest starts before its kernel has been read; in the end all of it was."""
    url = drive("--filter=delay", "file", image(linux=debian_kernel, demo=demo_initrd), "rdelay=1ms")
    done = mw("run", "--disk", url, "--kernel", "disk:linux", "--initrd", "disk:demo", "--append", f"{LOUD} mw.demo=1", "--cpus", cpus)
    healthy(done)
    assert "demo: ok, 64 MiB written and read back" in done.stdout
    population(done, cpus, 1)
    (guest,) = done.stats["guests"]
    assert guest["filled_before_start"] == 0 and guest["faults"]["waited"] > 0
    assert done.stats["helpers"][0]["populated_pages"] >= debian_kernel.stat().st_size // 4096
