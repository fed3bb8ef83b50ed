# SPDX-License-Identifier: BSD-2-Clause
"""What a guest can call (PSCI, SMCCC, TRNG, PV time) and what its CPUs are, from bare EL1 guests of tests/guest."""

import re

import pytest

CPUS = ["cortex-a53", "cortex-a57", "cortex-a72", "max,pauth-impdef=on"]


@pytest.fixture
def passes(mw, guest_image):
    """passes("pv", *mw arguments) -> Result of a guest that ended by its own SYSTEM_OFF, each of its checks passed."""

    def run(name, *args, expect=(), timeout=60):
        done = mw("run", "--kernel", guest_image(name), "--quiet", *args, timeout=timeout)
        out = done.stdout.replace("\r", "").splitlines()
        assert done.code == 0, done.stdout + done.stderr
        assert done.stats["result"] == "off"
        assert not [line for line in out if line.startswith("FAIL ")], done.stdout
        passed = [line[5:] for line in out if line.startswith("PASS ")]
        assert out.count(f"guest: {len(passed)} passed, 0 failed") == 1, done.stdout
        for name in expect:
            assert name in passed, f"no '{name}' in\n{done.stdout}"
        return done

    return run


@pytest.mark.parametrize("cpu", CPUS)
def test_entropy(passes, cpu):
    """QEMU's own firmware has no TRNG; of its CPUs `max` alone has FEAT_RNG."""
    has = cpu.startswith("max")
    passes("pv", "--cpus", 2, "--cpu", cpu, "--append", f"trng={int(has)}",
           expect=["TRNG_GET_UUID", "random bits"] if has else ["no entropy, no TRNG"])


@pytest.mark.racy
@pytest.mark.parametrize("cpus", [1, 2])
def test_stolen_time(mw, tmp_path, guest_image, cpus):
    """Page by page from a helper: what a vCPU waited in EL2 is what its record says, and what the statistics say."""
    config = tmp_path / "pv.toml"
    config.write_text(f'[machine]\nhelpers = 1\nquiet = true\n[[guest]]\nname = "pv"\nkernel = "{guest_image("pv")}"\n'
                      f'cpus = {cpus}\nmemory = "256M"\nappend = "steal=1"\npopulate-granule = "4K"\n')
    done = mw("run", "--config", config)
    assert done.code == 0, done.stdout + done.stderr
    assert "FAIL" not in done.stdout, done.stdout
    assert "PASS stolen time grows while pages are fetched" in done.stdout
    assert "PASS a store to the record, MMU on" in done.stdout
    (stolen,) = re.findall(r"^pv: stolen ([0-9]+) ns", done.stdout.replace("\r", ""), re.M)
    assert 0 < int(stolen) <= done.stats["guests"][0]["wait_ns"]


@pytest.mark.racy
@pytest.mark.parametrize("cpus, rounds", [(1, 0), (2, 0), (4, 300)])
def test_power(passes, cpus, rounds):
    done = passes("power", "--cpus", cpus, "--append", f"rounds={rounds}",
                  expect=["sleeps until its wake-up", "an interrupt after it all"] +
                  (["another CPU after it all", "SYSTEM_SUSPEND with another CPU on"] if cpus > 1 else []), timeout=100)
    if rounds:
        wins = [int(n) for n in re.findall(r"^power: CPU \d won (\d+) times", done.stdout, re.M)]
        assert sum(wins) == rounds


def test_power_icount(passes):
    """Thousands of times off and on again."""
    passes("power", "--cpus", 4, "--icount", "--append", "rounds=2000", expect=["a race for CPU_ON"], timeout=100)


@pytest.mark.parametrize("cpu", CPUS)
@pytest.mark.parametrize("icount", [[], ["--icount"]], ids=["mttcg", "icount"])
def test_context(passes, cpu, icount):
    passes("context", "--cpus", 2, "--cpu", cpu, *icount,
           expect=["breakpoint", "watchpoint", "ID registers are equal on all CPUs", "the PMU is hidden in both states",
                   "keys and breakpoints do not outlive CPU_OFF", "MMIO from an IT block", "A32 fetch from nowhere",
                   "keys read back" if cpu.startswith("max") else "no pointer authentication"])  # yapf: disable


@pytest.mark.parametrize("cpus, cpu, calls", [(1, "cortex-a57", 300000), (2, "cortex-a57", 150000),
                                              (2, "max", 50000)])
def test_fuzz(passes, cpus, cpu, calls):
    done = passes("fuzzpv", "--cpus", cpus, "--cpu", cpu, "--append", f"calls={calls} seed={cpus}", timeout=120,
                  expect=["comes to its end", "registers are kept"])
    exits = done.stats["guests"][0]["exits"]
    assert exits["hvc"] > 0.6 * calls * cpus
    assert exits["smc"] > 0
