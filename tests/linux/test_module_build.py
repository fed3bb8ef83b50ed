# SPDX-License-Identifier: BSD-2-Clause
"""The module's own build files, as its users have them: DKMS on what `make dkms` installs, and make in the source tree. Each is built for arm64 on
this machine, and the guest's kernel takes what comes out."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from test_debian import LOUD, MOUNTS, healthy

ROOT = Path(__file__).resolve().parent.parent.parent
MODULE = ROOT / "guest" / "linux"
HEADERS = ROOT / "build" / "headers"
VERSION = "1.0"
LOAD = MOUNTS + """
insmod /meanwhile.ko && echo "version $(cat /sys/module/meanwhile/version)"
rmmod meanwhile && echo unloaded
poweroff -f
"""


def release(kernel):
    """What modules of that kernel are for."""
    (folder,) = (HEADERS / kernel / "usr" / "src").glob("linux-headers-*-arm64")
    return folder.name.removeprefix("linux-headers-")


def make(*command):
    env = {k: v for k, v in os.environ.items() if k not in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL")}
    done = subprocess.run([str(c) for c in command], env={**env, "ARCH": "arm64", "CROSS_COMPILE": "aarch64-linux-gnu-"}, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.fixture
def loads(mw, initramfs, debian_kernel, more_kernels):
    def check(kernel, ko):
        image = {"arm64": debian_kernel, **more_kernels}[kernel]
        done = mw("run", "--kernel", image, "--initrd", initramfs(LOAD, {"meanwhile.ko": (ko.read_bytes(), 0o644)}), "--append", LOUD, "--cpus", 2)
        healthy(done)
        assert f"version {VERSION}" in done.stdout and "unloaded" in done.stdout, done.stdout

    return check


@pytest.mark.parametrize("kernel", ["arm64", "rt", "6.12"])
def test_dkms(loads, tmp_path, kernel):
    """What is installed needs nothing of this repository."""
    make("make", "-C", MODULE, "dkms", f"DESTDIR={tmp_path}")
    trees = ["--dkmstree", tmp_path / "dkms", "--sourcetree", tmp_path / "usr" / "src"]
    (tmp_path / "dkms").mkdir()
    which = [f"meanwhile/{VERSION}", "-k", release(kernel), "-a", "arm64"]
    make("dkms", "add", f"meanwhile/{VERSION}", *trees)
    make("dkms", "build", *which, "--kernelsourcedir", HEADERS / kernel / "build", *trees)
    assert make("dkms", "status", *which, *trees).strip().endswith("built")
    loads(kernel, tmp_path / "dkms" / "meanwhile" / VERSION / release(kernel) / "arm64" / "module" / "meanwhile.ko")


@pytest.mark.parametrize("kernel", ["arm64", "6.12"])
def test_in_the_source_tree(loads, tmp_path, kernel):
    """A copy, for what is built would lie among the sources."""
    tree = tmp_path / "guest" / "linux"
    shutil.copytree(MODULE, tree)
    (tmp_path / "pv").mkdir()
    shutil.copy(ROOT / "pv" / "abi.h", tmp_path / "pv")
    make("make", "-C", tree, f"KDIR={HEADERS / kernel / 'build'}")
    loads(kernel, tree / "meanwhile.ko")
    make("make", "-C", tree, f"KDIR={HEADERS / kernel / 'build'}", "clean")
    assert not list(tree.glob("*.ko"))
