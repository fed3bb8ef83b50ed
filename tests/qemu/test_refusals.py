# SPDX-License-Identifier: BSD-2-Clause
"""Guests that cannot be: hostile kernels, ramdisks and device-tree nodes, handed to EL2 past the launcher's own checks.
Each is refused by its name, with a reason; EL2 never panics and never hangs."""

import copy
import json
import random
import re
import struct
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
IMAGE = ROOT / "build" / "meanwhile.img"
MIB = 1 << 20
IMAGE_MAGIC = 0x644D5241

# A whole guest, in four instructions: MOVZ, MOVK w0 = PSCI SYSTEM_OFF, HVC #0, and a branch to the start.
OFF = struct.pack("<4I", 0x52800100, 0x72b08000, 0xd4000002, 0x17fffffd)
OFF_KERNEL = OFF * 256

# Starts a machine as `mw run` does, with an image that `mw` would not have written.
DRIVER = """
import sys
sys.dont_write_bytecode = True
sys.path.insert(0, sys.argv[1])
from mwlib import image, options, qemu
_, _, hypervisor, packed, stats, timeout, cores, ram = sys.argv
machine = options.Machine(cores=int(cores), ram=int(ram), timeout=float(timeout), stats=stats)
with open(packed, "rb") as f:
    sys.exit(qemu.run(machine, image.Hypervisor(hypervisor), f.read()))
"""


class Result(NamedTuple):
    code: int
    out: str
    err: str
    stats: dict

    def guests(self):
        return {g["name"]: (g["status"], g["reason"]) for g in self.stats["guests"]}


@pytest.fixture
def start(tmp_path):
    """start(packed image) -> Result"""

    def run(packed, timeout=20, cores=2, ram=128 * MIB):
        path, stats = tmp_path / "packed.img", tmp_path / "stats.json"
        path.write_bytes(packed)
        done = subprocess.run([sys.executable, "-c", DRIVER, str(ROOT / "tools"), str(IMAGE), str(path), str(stats),
                               str(timeout), str(cores), str(ram)], stdin=subprocess.DEVNULL, capture_output=True,
                              timeout=timeout + 30, check=False)  # yapf: disable
        return Result(done.returncode, done.stdout.decode("utf-8", "replace"), done.stderr.decode("utf-8", "replace"),
                      json.loads(stats.read_text()))

    return run


# ---- images made by hand


def node(name="guest", kernel=None, initrd=None, **changes):
    """A good guest's node. `changes`: properties by name, - as _ and # as N, None to leave one out; kernel and initrd
    are (offset, size) in the payload area, put into place by pack()."""
    from mwlib import fdt

    props = {"compatible": fdt.strings("meanwhile,guest"), "#address-cells": fdt.cells(2), "#size-cells": fdt.cells(2),
             "cpus": fdt.cells(1), "memory": fdt.cells64(16 * 1024)}
    for key, value in changes.items():
        key = key.replace("_", "-").replace("N", "#")
        props.pop(key, None)
        if value is not None:
            props[key] = value
    modules = []
    for kind, place in (("kernel", kernel), ("ramdisk", initrd)):
        if place is not None:
            modules.append(fdt.Node(f"module@{len(modules)}", {
                "compatible": fdt.strings(f"multiboot,{kind}", "multiboot,module"), "reg": place}))
    return fdt.Node(name, props, modules)


def config(nodes, **machine):
    from mwlib import fdt

    two = {"#address-cells": fdt.cells(2), "#size-cells": fdt.cells(2)}
    props = {"compatible": fdt.strings("meanwhile,config"), "helpers": fdt.cells(0), **machine}
    return fdt.Node("", two, [fdt.Node("chosen", two, [fdt.Node("meanwhile", props), *nodes])])


def pack(tree, payload=OFF_KERNEL, blob=None):
    """The image. A reg that is (offset, size) counts from the payload's first byte. `blob` replaces the tree."""
    from mwlib import fdt, image

    hypervisor = image.Hypervisor(str(IMAGE))
    config_at = -hypervisor.size % 4096 + hypervisor.size
    payload_at = config_at + 0x4000

    def settle(n):
        reg = n.props.get("reg")
        if isinstance(reg, tuple):
            n.props["reg"] = fdt.cells64(payload_at + reg[0], reg[1])
        for child in n.children:
            settle(child)

    if blob is None:
        tree = copy.deepcopy(tree)
        settle(tree)
        blob = fdt.serialise(tree)
    assert len(blob) <= payload_at - config_at
    size = -(payload_at + len(payload)) % 4096 + payload_at + len(payload)
    out = bytearray(size)
    out[:len(hypervisor.data)] = hypervisor.data
    out[config_at:config_at + len(blob)] = blob
    out[payload_at:payload_at + len(payload)] = payload
    struct.pack_into("<Q", out, 16, size)
    struct.pack_into("<QQ", out, 88, config_at, len(blob))
    return out


KERNEL = (0, len(OFF_KERNEL))


def good(name="good"):
    return node(name, kernel=KERNEL)


def refused(done, name, why):
    """By its name, with a reason; said by EL2 and by the launcher; and nothing else is wrong."""
    assert (done.code, done.stats["result"]) == (3, "refused"), done.out + done.err
    status, reason = done.guests()[name]
    assert status == "refused" and re.search(why, reason), (status, reason)
    assert f"[mw] {name}: refused: {reason}" in done.out.replace("\r", "").splitlines()
    assert f"mw: guest '{name}' was refused: {reason}" in done.err.splitlines()


def test_good_node(start):
    """What all others here are variations of."""
    done = start(pack(config([good()])))
    assert (done.code, done.stats["result"]) == (0, "off"), done.out + done.err
    assert done.guests() == {"good": ("off", "")}


# ---- nodes


def cells(*values):
    return struct.pack(f">{len(values)}I", *values)


@pytest.mark.parametrize("changes, why", [
    ({"cpus": None}, "no cpus"),
    ({"cpus": cells(0)}, "cpus is 0"),
    ({"cpus": cells(17)}, "cpus"),
    ({"cpus": cells(0xffffffff)}, "cpus"),
    ({"cpus": cells(0, 1)}, "cpus"),
    ({"cpus": b""}, "cpus"),
    ({"cpus": b"\0\1"}, "cpus"),
    ({"cpus": cells(3)}, "wants 3 cores, and 2 are left"),
    ({"memory": None}, "no memory"),
    ({"memory": cells(0, 0)}, "memory is 0"),
    ({"memory": cells(0x4000)}, "memory"),
    ({"memory": cells(0, 0x4001)}, "multiple of 2 MiB"),
    ({"memory": cells(0x80000000, 0)}, "256 GiB"),
    ({"memory": cells(0xffffffff, 0xfffff800)}, "256 GiB"),
    ({"memory": cells(0, 256 << 20)}, "RAM"),
    ({"memory": cells(0, 0x800)}, "does not fit|no room"),
    ({"bootargs": b"no end"}, "bootargs"),
    ({"bootargs": b"one\0two\0"}, "bootargs"),
    ({"bootargs": b"x" * 2048 + b"\0"}, "bootargs longer"),
    ({"identity": b"xen\0"}, "identity"),
    ({"identity": b""}, "identity"),
    ({"populate_granule": cells(0x10000)}, "populate-granule"),
    ({"populate_granule": b"\0"}, "populate-granule"),
    ({"kernel": None}, "no kernel"),
    ({"kernel": (0, 0)}, "empty"),
    ({"kernel": (0, 1 << 40)}, "outside"),
    ({"kernel": (-0x8000, 0x1000)}, "outside"),
    ({"kernel": cells(0xffffffff, 0xfffff000, 0, 0x1000)}, "outside"),
    ({"kernel": cells(0, 0x200000, 0xffffffff, 0xfffffff0)}, "outside"),
    ({"kernel": cells(0, 0)}, "reg"),
    ({"kernel": b""}, "reg"),
    ({"Naddress_cells": cells(3)}, "reg"),
    ({"Nsize_cells": b"\0"}, "reg"),
    ({"initrd": (0, 0x100)}, "overlap"),
    ({"initrd": (0, 0)}, "empty"),
])  # yapf: disable
def test_bad_node(start, changes, why):
    changes = {"kernel": KERNEL, **changes}
    refused(start(pack(config([node("bad-one", **changes)]))), "bad-one", why)


@pytest.mark.parametrize("name, shown, why", [
    ("two words", "two?words", "name"), ("naïve", "na??ve", "name"), ("a.b", "a?b", "name"), ("", "", "name"),
    ("x" * 32, "x" * 31, "longer than 31"), ("\x1b[2J", "??2J", "name"),
])
def test_bad_name(start, name, shown, why):
    refused(start(pack(config([node(name, kernel=KERNEL)]))), shown, why)


def test_a_bad_node_refuses_no_other(start):
    done = start(pack(config([node("first", kernel=KERNEL, cpus=None), good("second"), node("third", kernel=(0, 0))])))
    assert (done.code, done.stats["result"]) == (3, "refused"), done.out + done.err
    found = {name: status for name, (status, _) in done.guests().items()}
    assert found == {"first": "refused", "second": "off", "third": "refused"}


def test_same_name_twice(start):
    done = start(pack(config([good("twin"), good("twin")])))
    assert done.code == 3
    assert [(g["name"], g["status"]) for g in done.stats["guests"]] == [("twin", "off"), ("twin", "refused")]


def test_more_guests_than_there_can_be(start):
    done = start(pack(config([good(f"g{i}") for i in range(40)])))
    assert done.code == 3, done.out + done.err
    assert done.stats["guests"][0]["status"] == "off"
    assert all(g["status"] in ("off", "refused") for g in done.stats["guests"])


@pytest.mark.parametrize("machine, helpers", [
    ({"helpers": cells(99)}, None), ({"helpers": b""}, None), ({"helpers": cells(0xffffffff)}, None),
    ({"helpers": cells(1, 1)}, None), ({"helpers": cells(5)}, 2)])  # yapf: disable
def test_bad_machine_node(start, machine, helpers):
    """The default stands in for what is not understood, and cores that are not there do not help: the guest runs."""
    done = start(pack(config([good()], **machine)), cores=3)
    assert done.code == 0, done.out + done.err
    assert done.guests() == {"good": ("off", "")}
    assert len(done.stats["helpers"]) == (1 if helpers is None else helpers)
    if helpers is None:
        assert re.search(r"^\[mw\] .*helpers", done.out, re.M)


@pytest.mark.parametrize("blob", [
    b"", b"\0" * 64, b"\xff" * 4096, b"\xd0\x0d\xfe\xed", b"\xd0\x0d\xfe\xed" + b"\xff" * 60,
    b"\xd0\x0d\xfe\xed" + cells(4096, 56, 3000, 40, 17, 16, 0, 0xfffffff0, 0xfffffff0) + b"\0" * 4056])  # yapf: disable
def test_no_configuration(start, blob):
    """A packed image whose tree is none: there is no guest to name."""
    done = start(pack(None, blob=blob))
    assert (done.code, done.stats["result"], done.stats["guests"]) == (4, "error", []), done.out + done.err
    assert "no guest is described" in done.err


def test_truncated_configuration(start):
    """Cut anywhere, it is none; never half of one."""
    from mwlib import fdt

    whole = fdt.serialise(config([node("guest", kernel=cells(0, 0, 0, 0))]))
    for length in (39, 40, 55, 56, 100, len(whole) // 2, len(whole) - 1):
        done = start(pack(None, blob=whole[:length]))
        assert (done.code, done.stats["guests"]) == (4, []), (length, done.out + done.err)


# ---- kernels


def arm64_image(text_offset=0, image_size=MIB, size=4096, pe=0):
    head = bytearray(size)
    head[:len(OFF)] = OFF
    struct.pack_into("<QQ", head, 8, text_offset, image_size)  # over the last two instructions, which nobody reaches
    struct.pack_into("<II", head, 56, IMAGE_MAGIC, pe)
    return head


def pe_image(**fields):
    """An Image that is a PE file too: the head of Linux's EFI stub, with one section."""
    head = arm64_image(pe=64)
    head[0:2] = b"MZ"
    optional = fields.get("optional", 0)
    struct.pack_into("<IHHIIIHH", head, 64, 0x4550, 0xaa64, fields.get("sections", 1), 0, 0, 0, optional, 0)
    if 88 + optional + 40 <= len(head):
        struct.pack_into("<II", head, 88 + optional + 16, fields.get("raw_size", 0x200), fields.get("raw_at", 0x400))
    return head


@pytest.mark.parametrize("kernel, why", [
    (arm64_image(image_size=1 << 62), "does not fit"),
    (arm64_image(image_size=0xffffffffffffffff), "does not fit"),
    (arm64_image(image_size=16 * MIB), "does not fit"),
    (arm64_image(text_offset=1 << 63), "does not fit"),
    (arm64_image(text_offset=0xfffffffffffff000), "does not fit"),
    (arm64_image(text_offset=0xfffffffffffff000, image_size=0x2000), "does not fit"),
    (arm64_image(text_offset=0x123), "text_offset"),
    (arm64_image(size=64)[:60], "truncated"),
    (pe_image(raw_size=0x100000), "truncated"),
    (pe_image(raw_at=0xfffffff0), "truncated"),
    (pe_image(sections=0xffff), "truncated"),
    (pe_image(optional=0xffff), "truncated"),
    (b"MZ" + arm64_image(pe=0xfffffff0)[2:], "truncated"),
    (b"\x1f\x8b\x08" + b"\0" * 1000, "compressed"),
    (b"MZ\0\0zimg" + b"\0" * 1000, "compressed"),
    (b"\x7fELF" + b"\0" * 1000, "ELF"),
    (bytes(17 * MIB), "does not fit"),
], ids=lambda v: v if isinstance(v, str) else "")
def test_bad_kernel(start, kernel, why):
    done = start(pack(config([node("bad-kernel", kernel=(0, len(kernel)))]), kernel))
    refused(done, "bad-kernel", why)


@pytest.mark.parametrize("part", [0.5, 0.999])
def test_truncated_debian_kernel(mw, debian_kernel, tmp_path, part):
    whole = debian_kernel.read_bytes()
    cut = tmp_path / "vmlinuz"
    cut.write_bytes(whole[:int(len(whole) * part)])
    done = mw("run", "--kernel", cut, "--memory", "256M")
    assert (done.code, done.stats["result"]) == (3, "refused"), done.stdout + done.stderr
    assert "mw: guest 'guest' was refused: the kernel is truncated" in done.stderr


def test_ramdisk_that_does_not_fit(start):
    payload = OFF_KERNEL + bytes(15 * MIB)
    done = start(pack(config([node("full", kernel=KERNEL, initrd=(4096, 15 * MIB))]), payload))
    refused(done, "full", "ramdisk does not fit|no room")


def test_hostile_ramdisk(mw, debian_kernel, demo_initrd, tmp_path):
    """Half of one: the guest's own affair. Its kernel panics, and asks for a reset."""
    whole = demo_initrd.read_bytes()
    half = tmp_path / "initrd"
    half.write_bytes(random.Random(5).randbytes(1 << 16) + whole[1 << 16:len(whole) // 2])
    done = mw("run", "--kernel", debian_kernel, "--initrd", half, "--memory", "256M", "--append",
              "console=ttyAMA0 quiet cryptomgr.notests panic=-1", "--no-reboot")
    assert (done.code, done.stats["result"]) == (3, "reset"), done.stdout + done.stderr
    assert "Kernel panic" in done.stdout


# ---- whatever it is, EL2 goes on


def survived(done):
    """
    EL2 came to a result, or a guest that was given nonsense to execute went round in circles, and EL2 served it:
    without vectors each of its exceptions is a fetch from nowhere.
    """
    assert done.code != 1, done.out + done.err
    if done.code == 124:
        (guest,) = [g for g in done.stats["guests"] if g["status"] == "running"]
        assert sum(guest["exits"].values()) + sum(guest["faults"].values()) > 0, done.out + done.err
    else:
        assert done.code in (0, 3, 4), done.out + done.err


def fuzz_tree(start, seed, rounds):
    """Bits of a good configuration turned over, at most four at once."""
    from mwlib import fdt, image

    size = image.Hypervisor(str(IMAGE)).size
    payload_at = -size % 4096 + size + 0x4000
    whole = fdt.serialise(config([
        node("one", kernel=cells(0, payload_at, 0, len(OFF_KERNEL)), bootargs=b"a b c\0", identity=b"meanwhile\0",
             populate_granule=cells(0x1000)),
        node("two", kernel=cells(0, payload_at, 0, len(OFF_KERNEL))),
    ]))  # yapf: disable
    rng = random.Random(seed)
    outcomes = {}
    for i in range(rounds):
        blob = bytearray(whole)
        for _ in range(rng.randint(1, 4)):
            place = rng.randrange(len(blob) * 8)
            blob[place // 8] ^= 1 << place % 8
        done = start(pack(None, blob=blob), timeout=4)
        try:
            survived(done)
        except AssertionError as e:
            raise AssertionError(f"round {i} of seed {seed}: {blob.hex()}") from e
        outcomes[done.code] = outcomes.get(done.code, 0) + 1
    return outcomes


def test_fuzzed_configuration(start):
    outcomes = fuzz_tree(start, 1, 50)
    # Some flips matter and some do not: had all ended alike, nothing would have been tried.
    assert len(outcomes) > 1 and 3 in outcomes, outcomes


@pytest.mark.slow
def test_fuzzed_configuration_again(start):
    fuzz_tree(start, random.randrange(1 << 32), 500)


def random_instruction(rng):
    """Any word at all, or one that leads somewhere: HVC, SMC, a timer's register, a store, an address."""
    return rng.choice((rng.getrandbits(32), 0xd4000002 | rng.getrandbits(16) << 5, 0xd4000003,
                       0xd51be300 | rng.getrandbits(8), 0xb9000000 | rng.getrandbits(22),
                       0xd2800000 | rng.getrandbits(23)))  # yapf: disable


@pytest.mark.racy
@pytest.mark.parametrize("seed", range(4))
def test_random_kernel(start, seed):
    """A guest of nothing but random instructions, MMU off, with a helper and without, by blocks and by pages."""
    rng = random.Random(seed)
    kernel = b"".join(struct.pack("<I", random_instruction(rng)) for _ in range(65536))
    granule = (0x1000, 0x200000)[seed // 2 % 2]
    guest = node("noise", kernel=(0, len(kernel)), cpus=cells(2), populate_granule=cells(granule))
    done = start(pack(config([guest], helpers=cells(seed % 2)), kernel), timeout=1.5, cores=2 + seed % 2)
    survived(done)
    assert done.guests()["noise"][0] != "refused", done.out
