# SPDX-License-Identifier: BSD-2-Clause
"""Debian's kernels as guests that may hold a fraction of their RAM at once, at work on more than that: each sum is right, and the kernel
finds nothing to complain about."""

import hashlib

import pytest
from test_debian import LOUD, healthy

PAGE = 4096
MIB = 1 << 20
# Each job has text of its own, 9 MB of it, and keeps copies, compressed and not: all that comes out has to be what went in.
JOBS = """#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/bin
mount -t devtmpfs dev /dev
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t tmpfs -o size=90% tmp /tmp
job() {
    seq $((1000000 * $1)) $((1000000 * $1 + 1199999)) >/tmp/$1
    gzip -1 </tmp/$1 >/tmp/$1.gz
    cp /tmp/$1 /tmp/$1.copy
    gunzip </tmp/$1.gz >/tmp/$1.out && cmp /tmp/$1.out /tmp/$1.copy || echo "job $1 differs"
    echo "job $1 $(sha256sum </tmp/$1.copy | cut -c1-64)"
}
echo "kernel $(uname -r)"
for n in NUMBERS; do job $n & done
wait
sleep 1
poweroff -f
"""


def expect(done, jobs, prefix=""):
    out = done.stdout.replace("\r", "")
    assert "differs" not in out, out
    for n in jobs:
        text = b"".join(b"%d\n" % i for i in range(1000000 * n, 1000000 * n + 1200000))
        # The kernel's farewell may share its line.
        assert f"\n{prefix}job {n} {hashlib.sha256(text).hexdigest()}" in out, out


def init(initramfs, jobs):
    return initramfs(JOBS.replace("NUMBERS", " ".join(map(str, jobs))))


@pytest.mark.racy
@pytest.mark.parametrize("name, cpus, where", [
    ("arm64", 1, ["--store", "0"]), ("6.12", 2, []),
    *[pytest.param(n, c, w, marks=pytest.mark.slow)
      for n, c, w in [("arm64", 2, []), ("arm64", 4, ["--store", "64M"]), ("rt", 1, ["--store", "0"]), ("rt", 2, [])]],
])
def test_jobs_under_pressure(mw, debian_kernel, more_kernels, initramfs, tmp_path, name, cpus, where):
    """Two jobs of 30 MiB each, and a kernel, in 48 MiB."""
    kernel = {"arm64": debian_kernel, **more_kernels}[name]
    done = mw("run", "--kernel", kernel, "--initrd", init(initramfs, (1, 3)), "--append", LOUD, "--cpus", cpus, "--memory", "384M",
              "--resident", "48M", "--swap", tmp_path / "swap", *where, timeout=240)
    healthy(done)
    expect(done, (1, 3))
    p = done.stats["guests"][0]["paging"]
    out = {what: p["evicted_" + what] for what in ("clean", "zero", "same", "store", "swap")}
    assert sum(out.values()) > 20000 and done.stats["guests"][0]["touched_pages"] <= 48 * MIB // PAGE, p
    assert out["swap"] > 5000 if where == ["--store", "0"] else out["store"] > 2000
    assert done.stats["shared_locks_on_fault_path"] == 0


@pytest.mark.racy
def test_twice_the_machine(mw, debian_kernel, initramfs, tmp_path):
    """Two guests of 256 MiB each, and a machine of 256: both jobs of both come out right."""
    toml = tmp_path / "two.toml"
    guests = "".join(f"[[guest]]\nname = '{name}'\nkernel = '{debian_kernel}'\ninitrd = '{init(initramfs, (2,))}'\ncpus = 1\n"
                     f"memory = '256M'\nappend = '{LOUD}'\n" for name in ("one", "two"))
    toml.write_text(f"[machine]\nram = '256M'\nswap = '{tmp_path / 'swap'}'\n{guests}")
    done = mw("run", "--config", toml, timeout=300)
    healthy(done)
    for n, name in enumerate(("one", "two")):
        expect(done, (2,), f"{name}: ")
        p = done.stats["guests"][n]["paging"]
        assert 0 < p["limit_pages"] * PAGE < 128 * MIB and p["evicted_store"] + p["evicted_swap"] > 1000
