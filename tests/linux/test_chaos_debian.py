# SPDX-License-Identifier: BSD-2-Clause
"""Disorder, the short form: what `make chaos` does for hours (chaos.py) in one guest for each of two kernels, and each kind of it."""

import chaos
import pytest


@pytest.mark.racy
@pytest.mark.parametrize("kernel, append", [("arm64", chaos.LOUD), ("rt", chaos.FAST)])
def test_disorder(mw, initramfs, debian_kernel, more_kernels, kernel, append):
    """Tasks of both kinds, on more memory than the guest may hold, disturbed in each way there is: sums are right, and nobody is left asleep. With
    this seed there is one of everything in so many rounds."""
    done = mw("run", "--kernel", {"arm64": debian_kernel, **more_kernels}[kernel], "--initrd", initramfs(chaos.init(13, "rounds=700"), chaos.files(kernel)),
              "--append", append, "--cpus", 2, "--memory", chaos.MEMORY, "--resident", chaos.RESIDENT, *chaos.STORE, timeout=240)
    out = done.stdout.replace("\r", "")
    assert not chaos.faults(done.code, out, done.stats), out + done.stderr
    module, told = chaos.counters(out), done.stats["guests"][0]["async_faults"]
    for bits, did in chaos.did(out).items():
        assert all(did[what] for what in chaos.WHAT), (bits, did)
    assert min(module[how] for how in ("reloads", "hotplugs", "switches", "asked")) >= 1, module
    assert chaos.parks(module) > 2000 and module["parked_compat"] > 200 and module["waited_atomic"] > 0, (module, told)
    assert module["parked_kernel"] >= chaos.KERNEL / 100 * chaos.parks(module), module
    assert told["fetches"] >= chaos.FETCHES / 100 * told["injected"] and told["from_aarch32"] >= module["parked_compat"], (module, told)
