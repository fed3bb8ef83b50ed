# SPDX-License-Identifier: BSD-2-Clause
"""The bare EL1 guests of tests/guest under the hypervisor: each prints a line per check, a tally, and powers off.

What a guest cannot see (how a fault was served, how the run ended) is asserted here, from the launcher's statistics.
"""

import os
import re
import selectors
import struct
import subprocess
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
MW = ROOT / "tools" / "mw"
IMAGE = ROOT / "build" / "meanwhile.img"
pytestmark = pytest.mark.racy  # all of them: whatever it is about, a guest on its own must come out the same each time
CPUS = ["cortex-a53", "cortex-a57", "cortex-a72", "max,pauth-impdef=on"]


def lines(text):
    return text.replace("\r", "").splitlines()


def verdicts(text, *expected):
    """Every check passed, the tally agrees with the lines, and the checks named in `expected` were among them."""
    out = lines(text)
    passed = [line[5:] for line in out if line.startswith("PASS ")]
    assert not [line for line in out if line.startswith("FAIL ")], text
    assert out.count(f"guest: {len(passed)} passed, 0 failed") == 1, text
    assert passed, text
    for name in expected:
        assert name in passed, f"no '{name}' in\n{text}"


@pytest.fixture
def guest(mw, guest_image):
    """guest("hello", *mw arguments) -> Result of a run that ended as it should, its verdicts checked."""

    def run(name, *args, expect=(), code=0, result="off", env=None, timeout=60):
        done = mw("run", "--kernel", guest_image(name), "--quiet", *args, env=env, timeout=timeout)
        assert done.code == code, done.stdout + done.stderr
        assert done.stats["result"] == result
        verdicts(done.stdout, *expect)
        return done

    return run


@pytest.fixture
def config(tmp_path, guest_image):
    """config("promote", cpus=2, helpers=1, granule="4K", append="") -> a TOML file with such a guest."""

    def write(name, cpus=1, helpers=1, granule="2M", append="", memory="256M"):
        path = tmp_path / f"{name}-{cpus}-{helpers}-{granule}.toml"
        path.write_text(f"[machine]\nhelpers = {helpers}\nquiet = true\n"
                        f'[[guest]]\nname = "{name}"\nkernel = "{guest_image(name)}"\n'
                        f'cpus = {cpus}\nmemory = "{memory}"\nappend = "{append}"\npopulate-granule = "{granule}"\n')
        return path

    return write


def faults(done):
    return done.stats["guests"][0]["faults"]


def exits(done):
    return done.stats["guests"][0]["exits"]


def helper_sum(done, key):
    return sum(helper[key] for helper in done.stats["helpers"])


# ---- the machine and its firmware calls


@pytest.mark.parametrize("helpers", [0, 1])
@pytest.mark.parametrize("icount", [[], ["--icount"]], ids=["mttcg", "icount"])
def test_hello(guest, helpers, icount):
    done = guest("hello", "--helpers", helpers, *icount, expect=["DTB 2 MiB above the image", "/hypervisor compatible"])
    assert lines(done.stdout)[0] == "hello from EL1"
    assert exits(done)["hvc"] > 0


def test_the_guests_bytes_come_unchanged(mw, guest_image):
    """Without --quiet EL2 has lines of its own, each with its mark; all else is the guest's."""
    loud = mw("run", "--kernel", guest_image("hello"))
    assert loud.code == 0
    own = [line for line in lines(loud.stdout) if line.startswith("[mw] ")]
    assert own
    quiet = mw("run", "--kernel", guest_image("hello"), "--quiet")
    assert [line for line in lines(loud.stdout) if not line.startswith("[mw] ")] == lines(quiet.stdout)


@pytest.mark.parametrize("cpus, helpers", [(1, 1), (2, 1), (2, 0), (4, 1)])
def test_psci(guest, cpus, helpers):
    done = guest("psci", "--cpus", cpus, "--helpers", helpers, expect=["vendor UID", "smc #0", "hvc #0xffff"] +
                 (["on and off again", "CPU_ON, 32 bits"] if cpus > 1 else []))  # yapf: disable
    assert exits(done)["hvc"] > 0
    assert exits(done)["smc"] > 0


def test_psci_icount(guest):
    guest("psci", "--cpus", 2, "--icount", expect=["on and off again"])


@pytest.mark.parametrize("cpu", CPUS)
@pytest.mark.parametrize("name", ["hello", "psci"])
def test_cpu_types(guest, name, cpu):
    guest(name, "--cpus", 2, "--cpu", cpu)


@pytest.mark.parametrize("name", ["hello", "psci"])
@pytest.mark.parametrize("text_offset", [0, 0x400000, 0x1200000])
def test_load_addresses(guest, tmp_path, name, text_offset):
    """QEMU loads an arm64 Image at RAM's base plus the text_offset of its header (bytes 8 to 15)."""
    image = bytearray(IMAGE.read_bytes())
    struct.pack_into("<Q", image, 8, text_offset)
    moved = tmp_path / "moved.img"
    moved.write_bytes(image)
    guest(name, "--cpus", 2, env={"MW_IMAGE": str(moved)})


def test_reset_ends_the_guest(mw, guest_image):
    """Where the owner wants that."""
    done = mw("run", "--kernel", guest_image("reset"), "--no-reboot", "--memory", "64M", "--append", "until-ms=600000")
    assert (done.code, done.stats["result"]) == (3, "reset"), done.stdout + done.stderr
    assert "reset" in done.stderr and "FAIL" not in done.stdout
    assert done.stats["guests"][0]["resets"] == 0


def mw_reset(guest, *args, **expected):
    return guest("reset", "--memory", "64M", *args, **expected)


@pytest.mark.racy
@pytest.mark.parametrize("helpers", [0, 1, 2])
@pytest.mark.parametrize("cpus", [1, 2])
def test_reset_starts_again(guest, cpus, helpers):
    """Each life begins with fresh RAM, whatever the other CPU and the helpers were at when the one before ended."""
    done = mw_reset(guest, "--cpus", cpus, "--helpers", helpers, "--append", "until-ms=1500",
                    expect=["fresh RAM in every life"])
    assert done.stats["guests"][0]["resets"] > 10


@pytest.mark.slow
def test_a_thousand_resets_lose_no_frame(guest):
    """The machine has room for the guest and little else: a few frames lost in each life would be missed."""
    done = mw_reset(guest, "--cpus", 2, "--ram", "128M", "--append", "until-ms=20000",
                    expect=["fresh RAM in every life"])
    assert done.stats["guests"][0]["resets"] > 1000


# ---- what a guest may do wrong


@pytest.mark.parametrize("helpers", [0, 1])
def test_nowhere(guest, helpers):
    done = guest("nowhere", "--memory", "128M", "--helpers", helpers, expect=[
        "fetch at RAM's end, MMU off", "32-bit load at 384 GiB, MMU on", "load pair at the UART, MMU on"])
    # 4 places x 13 kinds x 2 states at the least; MMIO without a syndrome is MMIO all the same.
    assert faults(done)["nowhere"] >= 104
    assert faults(done)["mmio"] > 0


def test_sysreg(guest):
    done = guest("sysreg", expect=["SVE is hidden", "the PMU is hidden", "HCR_EL2", "S3_0_C15_C0_0"])
    assert exits(done)["sysreg"] > 0


@pytest.mark.parametrize("cpu", CPUS)
def test_sysreg_cpu_types(guest, cpu):
    guest("sysreg", "--cpu", cpu)


def test_mmio(guest):
    done = guest("mmio", expect=["GICD", "GICR, SGI frame", "UART", "big-endian GICD_TYPER", "an interrupt in the end"])
    assert faults(done)["mmio"] > 200000


@pytest.mark.parametrize("cpus", [1, 2])
def test_evil(guest, cpus):
    done = guest("evil", "--cpus", cpus, expect=["hlt #0xf000"] + (["a CPU started nowhere"] if cpus > 1 else []))
    assert "[mw] panic: fake" in lines(done.stdout)
    assert "panic" not in done.stderr


# ---- interrupts and the UART


@pytest.mark.parametrize("cpus, helpers", [(1, 0), (1, 1), (2, 0), (2, 1)])
def test_irq(guest, cpus, helpers):
    done = guest("irq", "--cpus", cpus, "--helpers", helpers,
                 expect=["virtual timer", "SPI of the UART"] + (["SGI ping-pong"] if cpus > 1 else []))
    assert exits(done)["irq"] > 0


GICV2 = ["--machine", "virt-gicv2"]


@pytest.mark.racy
@pytest.mark.parametrize("cpus", [1, 2])
@pytest.mark.parametrize("name, expect", [
    ("hello", ["/hypervisor compatible"]),
    ("psci", ["vendor UID"]),
    ("irq", ["virtual timer", "SPI of the UART", "8 pending at once, priorities descending"]),
    ("mmio", ["GICD", "UART", "big-endian GICD_TYPER", "an interrupt in the end"]),
    ("evil", ["interrupt controller registers", "a fetch from the GICC"]),
    ("touch", ["every page is as it was left"]),
    ("reset", []),
])
def test_gicv2(guest, name, expect, cpus):
    """On a host with a GICv2 the guest has one too, whose CPU interface is the hardware's."""
    append = ["--append", "wait-ms=200"] if name == "touch" else []
    done = guest(name, *GICV2, "--cpus", cpus, "--memory", "256M", *append, expect=expect +
                 (["SGI ping-pong"] if name == "irq" and cpus > 1 else []))  # yapf: disable
    assert done.stats["shared_locks_on_fault_path"] == 0


def test_gicv2_icount(guest):
    guest("irq", *GICV2, "--cpus", 2, "--icount", expect=["SGI ping-pong"])


def test_gicv2_has_eight_cpus(guest, mw, guest_image):
    guest("hello", *GICV2, "--cpus", 7)
    done = mw("run", "--kernel", guest_image("hello"), *GICV2, "--cpus", 8)
    assert done.code == 2 and "8 cores at most" in done.stderr


@pytest.mark.parametrize("icount", [[], ["--icount"]], ids=["mttcg", "icount"])
@pytest.mark.parametrize("machine", ["virt", "virt-gicv2"])
def test_gicstate(guest, machine, icount):
    """What registers read back, a timer's and the UART's live line among it."""
    guest("gicstate", "--machine", machine, *icount, expect=["an enabled timer that was put off", "active, and its line high"])


@pytest.mark.parametrize("icount", [[], ["--icount"]], ids=["mttcg", "icount"])
@pytest.mark.parametrize("machine", ["virt", "virt-gicv2"])
def test_gicirq(guest, machine, icount):
    """Nesting deeper than there are list registers, EOI modes, binary points, groups, SGI targets, routes."""
    guest("gicirq", "--machine", machine, "--cpus", 2, *icount, expect=[
        "each EOI ends the one that runs", "DIR deactivates", "SGI to all but self", "is there when it is on"])


def test_irq_icount(guest):
    guest("irq", "--icount", expect=["virtual timer"])


@pytest.mark.parametrize("text", ["Meanwhile", "0123456789" * 12], ids=["short", "longer than a FIFO"])
def test_uart(guest_image, text):
    """The guest says when it wants its line; it gives it back reversed."""
    with subprocess.Popen([MW, "run", "--kernel", guest_image("uart"), "--quiet", "--timeout", "30"],
                          stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        out = b""
        fed = False
        until = time.monotonic() + 40
        with selectors.DefaultSelector() as ready:
            ready.register(process.stdout, selectors.EVENT_READ)
            while time.monotonic() < until and ready.select(until - time.monotonic()):
                data = os.read(process.stdout.fileno(), 4096)
                if not data:
                    break
                out += data
                if not fed and b"uart: ready" in out:
                    process.stdin.write(text.encode() + b"\n")
                    process.stdin.flush()
                    fed = True
        process.stdin.close()
        process.stdin = None
        code = process.wait(10)
    out = out.decode("utf-8", "replace")
    assert code == 0, out
    verdicts(out, "a line of input", "input by interrupt")
    assert f"uart: {text[::-1]}" in lines(out)


# ---- memory


def checksums(done):
    found = re.findall(r"^touch: (?:first )?checksum ([0-9a-f]+)$", done.stdout.replace("\r", ""), re.M)
    assert len(found) == 2
    return found


@pytest.mark.parametrize("cpus", [1, 2])
def test_touch(guest, cpus):
    """Sparse, then dense, with a helper and without: the guest cannot tell, the statistics can."""
    args = ["touch", "--memory", "256M", "--cpus", cpus, "--append", "wait-ms=200"]
    expect = ["every page of the payload", "every page is as it was left"]
    expect += ["two CPUs in fresh pages"] if cpus > 1 else []
    helped = guest(*args, "--helpers", 1, expect=expect)
    alone = guest(*args, "--helpers", 0, expect=expect)
    assert checksums(helped) == checksums(alone)

    assert faults(helped)["queued"] > 0
    assert faults(helped)["waited"] <= faults(helped)["queued"]
    assert helper_sum(helped, "populated_pages") > 0
    assert helper_sum(helped, "promoted_blocks") > 0
    assert helper_sum(helped, "zeroed_pages") > 0
    if cpus == 1:  # with two, one may wait for a page that the other is filling
        assert faults(alone)["queued"] == 0
    assert faults(alone)["fast"] > 0
    for done in (helped, alone):
        machine = done.stats["guests"][0]
        assert machine["ram_pages"] == 65536
        assert done.stats["shared_locks_on_fault_path"] == 0
        # Everything was touched; the block or two with the guest's own few spare pages aside.
        assert machine["touched_pages"] >= 0.97 * machine["ram_pages"]
        assert machine["touched_pages"] <= machine["ram_pages"]
    machine = helped.stats["guests"][0]
    assert machine["block_pages"] >= 0.95 * machine["touched_pages"]


@pytest.mark.parametrize("granule", ["4K", "2M"])
@pytest.mark.parametrize("helpers", [0, 1])
def test_promote(mw, config, helpers, granule):
    done = mw("run", "--config", config("promote", 2, helpers, granule, append="ms=1000 wait-ms=300"))
    assert done.code == 0, done.stdout + done.stderr
    verdicts(done.stdout, "no write is lost")
    assert done.stats["shared_locks_on_fault_path"] == 0
    if granule == "4K":
        # Each page of 48 blocks is a fault of its own, unless the block was promoted before.
        assert faults(done)["fast"] + faults(done)["queued"] > 48
    if helpers:
        assert helper_sum(done, "promoted_blocks") > 0
        machine = done.stats["guests"][0]
        assert machine["block_pages"] >= 0.95 * machine["touched_pages"]


@pytest.mark.parametrize("helpers", [0, 1])
@pytest.mark.parametrize("granule", ["4K", "2M"])
def test_mmu_off(mw, config, helpers, granule):
    done = mw("run", "--config", config("mmuoff", helpers=helpers, granule=granule))
    assert done.code == 0, done.stdout + done.stderr
    verdicts(done.stdout, "fresh RAM is zero", "written with the MMU on, read with it off")


GIVEN_BACK = ("released RAM is zero", "a half is as it was", "release of what is no RAM", "no queue but in RAM",
              "reported RAM is zero", "by an interrupt", "what a balloon holds is zero", "a queue given back is empty",
              "and hurts nothing", "all free RAM")  # yapf: disable


def frames_are_free(done):
    """The guest had much of its RAM in use, and at the end next to nothing of it."""
    (machine,) = done.stats["guests"]
    assert machine["given_back_pages"] > machine["ram_pages"] / 2
    assert machine["touched_pages"] < machine["ram_pages"] / 8
    assert machine["give_back_rounds"] > 0 and machine["give_back_kept_pages"] > 0
    assert done.stats["shared_locks_on_fault_path"] == 0


@pytest.mark.parametrize("cpus", [1, 2])
@pytest.mark.parametrize("helpers", [0, 1])
@pytest.mark.parametrize("granule", ["4K", "2M"])
def test_giveback(mw, config, cpus, helpers, granule):
    done = mw("run", "--config", config("giveback", cpus, helpers, granule))
    assert done.code == 0, done.stdout + done.stderr
    verdicts(done.stdout, *GIVEN_BACK, *(["release under a writer"] if cpus > 1 else []))
    frames_are_free(done)


@pytest.mark.parametrize("machine", ["virt", "virt-gicv2"])
def test_giveback_icount(guest, machine):
    frames_are_free(guest("giveback", "--icount", "--cpus", 2, "--memory", "256M", "--machine", machine,
                          expect=GIVEN_BACK))  # yapf: disable


# ---- the benchmark guest: that it measures, not how much


@pytest.mark.parametrize("granule, append, fault", [("2M", "blocks=4 batches=10", "zero_block"),
                                                    ("4K", "page=1 pages=64 batches=10", "zero_page")])
def test_bench(mw, config, granule, append, fault):
    done = mw("run", "--icount", "--config", config("bench", helpers=0, granule=granule, append=append))
    assert done.code == 0, done.stdout + done.stderr
    verdicts(done.stdout)
    found = {name: float(value) for name, value in re.findall(r"^bench (\w+) ([0-9.]+)\r?$", done.stdout, re.M)}
    assert set(found) == {"hvc_psci_version", "hvc_unknown", "hvc_smccc_version", "mrs_id_aa64pfr0_el1",
                          "mmio_gicd_typer", "self_sgi", "vtimer", fault}  # yapf: disable
    # More than the guest's own share (of the interrupts, 20 and 23 natively) is a trip through EL2.
    for name in set(found) - {"mrs_id_aa64pfr0_el1"}:
        assert found[name] > {"self_sgi": 30, "vtimer": 33}.get(name, 10), f"{name}: {found[name]}"
