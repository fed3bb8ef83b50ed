# SPDX-License-Identifier: BSD-2-Clause
"""Three of Debian's arm64 kernels nobody adapted, on 1, 2 and 4 vCPUs: each does the demonstration's workload, ends by
itself, and finds nothing to complain about."""

import re

import pytest
from test_debian import LOUD, healthy

pytestmark = pytest.mark.racy  # `make soak` runs each several times

KERNELS = {"arm64": r"6\.1\.\S+-arm64", "rt": r"6\.1\.\S+-rt-arm64", "6.12": r"6\.12\.\S+-arm64"}


@pytest.fixture(scope="session")
def kernel(debian_kernel, more_kernels):
    """kernel("rt") -> the file."""
    return {"arm64": debian_kernel, **more_kernels}.__getitem__


def demo(mw, image, name, initrd, cpus, *args):
    done = mw("run", "--kernel", image, "--initrd", initrd, "--append", f"{LOUD} mw.demo=1", "--cpus", cpus, *args,
              timeout=180)
    healthy(done)
    assert re.search(rf"^demo: Linux {KERNELS[name]} on {cpus} vCPU, ", done.stdout, re.M), done.stdout
    assert "demo: ok, 64 MiB written and read back" in done.stdout
    assert f"SMP: Total of {cpus} processors activated" in done.stdout
    assert ("PREEMPT_RT" in done.stdout) == (name == "rt")
    (guest,) = done.stats["guests"]
    assert guest["vcpus"] == cpus and guest["filled_before_start"] == 0
    assert guest["block_pages"] >= 0.95 * guest["touched_pages"] > 0
    # All that Linux asks of EL2, it knows: nothing was answered with an undefined instruction or an abort.
    assert guest["faults"]["nowhere"] == 0 and guest["exits"]["smc"] == 0


# The usual kernel without icount is test_debian.py's test_demo.
@pytest.mark.parametrize("cpus", [1, 2, 4])
@pytest.mark.parametrize("name", ["rt", "6.12"])
def test_kernel(mw, kernel, demo_initrd, name, cpus):
    demo(mw, kernel(name), name, demo_initrd, cpus)


@pytest.mark.parametrize("name, cpus", [
    ("arm64", 1),
    ("rt", 2),
    ("6.12", 4),
    *[pytest.param(n, c, marks=pytest.mark.slow)
      for n, c in [("arm64", 2), ("arm64", 4), ("rt", 1), ("rt", 4), ("6.12", 1), ("6.12", 2)]],
])
def test_kernel_icount(mw, kernel, demo_initrd, name, cpus):
    demo(mw, kernel(name), name, demo_initrd, cpus, "--icount")
