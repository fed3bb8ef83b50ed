# SPDX-License-Identifier: BSD-2-Clause
"""How the image is entered, and with what: packed, from a boot loader, at the wrong level, without a device tree, in
machines of odd sizes. QEMU is run by hand here wherever the launcher would do it right."""

import mmap
import os
import re
import struct
import subprocess
import time
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
IMAGE = ROOT / "build" / "meanwhile.img"
MIB = 1 << 20
LOAD = 0x40200000  # where QEMU puts an image with text_offset 0
RAM_BASE = 0x40000000
PAYLOAD = 0x50000000
UBOOT = [Path(p) for p in (os.environ.get("UBOOT", ""), "/usr/lib/u-boot/qemu_arm64/u-boot.bin")]


class Machine(NamedTuple):
    code: int | None  # QEMU's exit status; None: it had to be ended
    out: str
    log: list  # lines of -d int,guest_errors
    ram: bytes  # as the machine left it, from RAM_BASE

    def lines(self):
        return self.out.replace("\r", "").splitlines()


@pytest.fixture
def machine(tmp_path):
    """machine(*QEMU's arguments) -> Machine. Its end is its own, or comes after `seconds`; with `sleeps` (where the
    image is), when EL2 has written a result and the core has had time to do something it should not."""

    def run(*args, m="virtualization=on,gic-version=3", cores=2, ram=512, seconds=20, log=True, stdin="", sleeps=None):
        backing, errors = tmp_path / "ram", tmp_path / "log"
        with backing.open("wb") as f:
            f.truncate(ram * MIB)
        command = ["qemu-system-aarch64", "-M", f"virt,{m},memory-backend=ram", "-cpu", "cortex-a57",
                   "-smp", str(cores), "-m", f"{ram}M",
                   "-object", f"memory-backend-file,id=ram,size={ram}M,mem-path={backing},share=on",
                   "-nodefaults", "-display", "none", "-serial", "stdio", "-no-reboot",
                   *(["-d", "int,guest_errors", "-D", str(errors)] if log else []), *map(str, args)]  # yapf: disable
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as qemu:
            try:
                until = time.monotonic() + seconds
                while sleeps and time.monotonic() < until and qemu.poll() is None:
                    time.sleep(0.05)
                    if report_in(head_of(backing), sleeps).result:
                        time.sleep(0.5)
                        break
                out, err = qemu.communicate(stdin.encode(), timeout=0.01 if sleeps else seconds)
                code = qemu.returncode
            except subprocess.TimeoutExpired:
                qemu.kill()
                out, err = qemu.communicate()
                code = None
        assert not err, err.decode()
        content = head_of(backing)
        backing.unlink()
        return Machine(code, out.decode("utf-8", "replace"), errors.read_text().splitlines() if log else [], content)

    return run


def head_of(backing):
    """All that EL2 leaves behind lies in the first 32 MiB: no need to copy the rest."""
    with backing.open("rb") as f, mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ) as view:
        return view[:32 * MIB]


def report_in(ram, base=LOAD):
    from mwlib import image, report

    return report.Report(ram, base - RAM_BASE + image.Hypervisor(str(IMAGE)).report_offset)


def report_of(done, base=LOAD):
    return report_in(done.ram, base)


def quiet_log(done):
    """No storm of exceptions: a core that sleeps takes none."""
    assert len(done.log) < 50, "\n".join(done.log[:50])


def packed(mw, tmp_path, *args, env=None):
    out = tmp_path / "packed.img"
    done = mw("pack", "-o", out, *args, env=env)
    assert (done.code, done.stdout, done.stderr) == (0, "", ""), done
    return out


def hello_ran(done, name=""):
    """`name`: of the guest, where its lines begin with it because it is not the only one."""
    start = f"{name}: " if name else ""
    assert done.code == 0, done.out
    assert start + "hello from EL1" in done.lines(), done.out
    assert re.search(rf"^{start}guest: [1-9]\d* passed, 0 failed$", "\n".join(done.lines()), re.M), done.out


# ---- packed images


@pytest.mark.parametrize("text_offset", [0, 0x600000, 0x1e00000])
def test_packed_image_and_plain_qemu(machine, mw, guest_image, tmp_path, text_offset):
    """Three addresses. QEMU loads an arm64 Image at RAM's base plus the text_offset of its header, and 0 at 2 MiB."""
    image = bytearray(IMAGE.read_bytes())
    struct.pack_into("<Q", image, 8, text_offset)
    moved = tmp_path / "moved.img"
    moved.write_bytes(image)
    out = packed(mw, tmp_path, "--kernel", guest_image("hello"), "--memory", "64M", env={"MW_IMAGE": str(moved)})
    done = machine("-kernel", out)
    hello_ran(done)
    at = RAM_BASE + (text_offset or 2 * MIB)
    assert f"image at {at:x}" in done.lines()[0]
    assert report_of(done, at).image_base == at


def test_packed_debian(machine, mw, tmp_path):
    out = packed(mw, tmp_path, "--append", "console=ttyAMA0 quiet cryptomgr.notests mw.demo=1")
    done = machine("-kernel", out, ram=768, seconds=60, log=False)
    assert done.code == 0, done.out
    assert "demo: ok" in done.out


def test_packed_quiet(machine, mw, guest_image, tmp_path):
    done = machine("-kernel", packed(mw, tmp_path, "--kernel", guest_image("hello"), "--memory", "64M", "--quiet"))
    hello_ran(done)
    assert "[mw]" not in done.out


def test_elsewhere_in_ram(machine, mw, guest_image, tmp_path):
    """As firmware does it: the image on any 2 MiB boundary, the tree where firmware has it, no header read."""
    out = packed(mw, tmp_path, "--kernel", guest_image("hello"), "--memory", "64M")
    tree = tmp_path / "host.dtb"
    dump_tree(tree, "virtualization=on,gic-version=3")
    stub = tmp_path / "stub"
    stub.write_bytes(jump(at := 0x4ea00000, x0=0x44000000))
    done = machine("-device", f"loader,file={out},addr={at},force-raw=on", "-device",
                   f"loader,file={tree},addr=0x44000000,force-raw=on", *start_at_stub(stub))
    hello_ran(done)
    assert f"image at {at:x}" in done.lines()[0]


# ---- not as it should be


def test_entered_at_el1(machine):
    """One clear line, and the machine is off."""
    done = machine("-kernel", IMAGE, m="gic-version=3")
    assert done.code == 0
    (line,) = done.lines()
    assert re.fullmatch(r"\[mw\] .*EL1.*needs EL2.*virtualization=on.*", line)
    assert report_of(done).result == 4
    assert "EL2" in report_of(done).reason


def jump(to, x0):
    """Code that loads x0 and branches: MOVZ and MOVK of x0 and x1, BR x1 (DDI 0487 C6.2)."""
    words = []
    for reg, value in ((0, x0), (1, to)):
        for n in range(4):
            words.append((0xf2800000 if n else 0xd2800000) | n << 21 | (value >> 16 * n & 0xffff) << 5 | reg)
    return struct.pack("<9I", *words, 0xd61f0020)


STUB = 0x43000000


def start_at_stub(stub):
    """Nothing is given to QEMU's -kernel, so its core 0 starts at the highest level with x0 = 0, at the stub."""
    return ["-device", f"loader,file={stub},addr={STUB},force-raw=on", "-device", f"loader,addr={STUB},cpu-num=0"]


def dump_tree(to, m, cores=2, ram=512):
    subprocess.run(["qemu-system-aarch64", "-M", f"virt,{m},dumpdtb={to}", "-cpu", "cortex-a57", "-smp", str(cores),
                    "-m", f"{ram}M", "-nodefaults", "-display", "none"], check=True, capture_output=True, timeout=20)


@pytest.mark.parametrize("x0", [0, 0x100, 0x44000000, 0x44000003, 0x5ffff000, 0xffff_ffff_ffff_fff8], ids=hex)
def test_no_device_tree(machine, tmp_path, x0):
    """Nothing, an ATAG pointer, RAM with something else in it, RAM's end, a negative number. It sleeps, in silence."""
    stub = tmp_path / "stub"
    stub.write_bytes(jump(LOAD, x0))
    done = machine("-device", f"loader,file={IMAGE},addr={LOAD},force-raw=on", *start_at_stub(stub), sleeps=LOAD)
    assert (done.code, done.out) == (None, "")
    quiet_log(done)
    assert report_of(done).result == 4
    assert report_of(done).reason == "x0 holds no device tree"


def test_device_tree_nowhere(machine, tmp_path):
    """Where nothing answers the first look is an abort of EL2's own: told in the report, and no more than one."""
    stub = tmp_path / "stub"
    stub.write_bytes(jump(LOAD, 0x7fff0000))
    done = machine("-device", f"loader,file={IMAGE},addr={LOAD},force-raw=on", *start_at_stub(stub), sleeps=LOAD)
    quiet_log(done)
    assert report_of(done).result in (2, 4) and report_of(done).reason


@pytest.mark.parametrize("damage", ["size", "huge", "version", "structure", "strings", "empty"])
def test_damaged_device_tree(machine, tmp_path, damage):
    tree = tmp_path / "host.dtb"
    dump_tree(tree, "virtualization=on,gic-version=3")
    blob = bytearray(tree.read_bytes())
    if damage == "empty":
        blob[4:] = bytes(len(blob) - 4)
    else:
        place, value = {"size": (4, 64), "huge": (4, 0xfffffff8), "version": (20, 3), "structure": (8, 0x7ffffff0),
                        "strings": (12, 0xfffffff0)}[damage]
        struct.pack_into(">I", blob, place, value)
    tree.write_bytes(blob)
    stub = tmp_path / "stub"
    stub.write_bytes(jump(LOAD, 0x44000000))
    done = machine("-device", f"loader,file={IMAGE},addr={LOAD},force-raw=on", "-device",
                   f"loader,file={tree},addr=0x44000000,force-raw=on", *start_at_stub(stub), sleeps=LOAD)
    quiet_log(done)
    assert report_of(done).result == 4
    assert report_of(done).reason


def test_entered_at_el3(machine, mw, guest_image, tmp_path):
    """Without firmware below it: said, not tried."""
    tree = tmp_path / "host.dtb"
    dump_tree(tree, "virtualization=on,gic-version=3", cores=1)
    stub = tmp_path / "stub"
    stub.write_bytes(jump(LOAD, 0x44000000))
    done = machine("-device", f"loader,file={IMAGE},addr={LOAD},force-raw=on", "-device",
                   f"loader,file={tree},addr=0x44000000,force-raw=on", *start_at_stub(stub), sleeps=LOAD, cores=1,
                   m="virtualization=on,secure=on,gic-version=3")
    (line,) = done.lines()
    assert re.fullmatch(r"\[mw\] .*EL3.*needs EL2.*", line)
    quiet_log(done)


def test_gicv2(machine, tmp_path):
    """One with the virtualization extensions does; one without is told what it lacks."""
    done = machine("-kernel", IMAGE, m="virtualization=on,gic-version=2")
    assert done.code == 0
    assert done.lines()[-1] == "[mw] no guest is described: nothing to do"
    tree, lacking, source = (tmp_path / name for name in ("host.dtb", "lacking.dtb", "host.dts"))
    dump_tree(tree, "virtualization=on,gic-version=2")
    subprocess.run(["dtc", "-q", "-I", "dtb", "-O", "dts", "-o", source, tree], check=True)
    text = source.read_text()
    gic = text.index("arm,cortex-a15-gic")
    start = text.rindex("{", 0, gic)
    end = text.index("};", gic)
    assert "interrupts = <0x01 0x09" in text[start:end]
    source.write_text(text[:start] + text[start:end].replace("interrupts = <0x01", "interrupts = <0x00") + text[end:])
    subprocess.run(["dtc", "-q", "-I", "dts", "-O", "dtb", "-o", lacking, source], check=True)
    done = machine("-kernel", IMAGE, "-dtb", lacking, m="virtualization=on,gic-version=2")
    assert done.code == 0
    assert "GICv2 lacks" in done.out and report_of(done).result == 4


def test_no_guest(machine):
    done = machine("-kernel", IMAGE)
    assert done.code == 0
    assert done.lines()[-1] == "[mw] no guest is described: nothing to do"
    assert report_of(done).result == 4


# ---- guests in the host's device tree, brought by the boot loader

GUEST = """
        NAME {
            compatible = "meanwhile,guest";
            #address-cells = <2>; #size-cells = <2>;
            cpus = <1>; memory = <0x0 0x10000>;
            bootargs = "from the host tree";
            module@0 { compatible = "multiboot,kernel", "multiboot,module"; reg = <0x0 BASE 0x0 SIZE>; };
        };
"""


@pytest.fixture
def host_tree(tmp_path):
    """host_tree(text, cores) -> QEMU's own tree with `text` in /chosen."""

    def build(text, cores=2):
        dumped, source, tree = tmp_path / "dumped.dtb", tmp_path / "host.dts", tmp_path / "host.dtb"
        dump_tree(dumped, "virtualization=on,gic-version=3", cores)
        dts = subprocess.run(["dtc", "-q", "-I", "dtb", "-O", "dts", str(dumped)], capture_output=True, check=True)
        chosen = "/ { chosen { #address-cells = <2>; #size-cells = <2>; %s }; };\n" % text
        source.write_bytes(dts.stdout + chosen.encode())
        subprocess.run(["dtc", "-q", "-I", "dts", "-O", "dtb", "-o", str(tree), str(source)], check=True)
        return tree

    return build


def described(image, name="one", base=PAYLOAD):
    return GUEST.replace("NAME", name).replace("BASE", hex(base)).replace("SIZE", hex(image.stat().st_size))


@pytest.mark.parametrize("helpers", [0, 1])
def test_guest_in_host_tree(machine, host_tree, guest_image, helpers):
    image = guest_image("hello")
    tree = host_tree(f'meanwhile {{ compatible = "meanwhile,config"; helpers = <{helpers}>; }};' + described(image))
    done = machine("-kernel", IMAGE, "-dtb", tree, "-device", f"loader,file={image},addr={PAYLOAD},force-raw=on")
    hello_ran(done)
    found = report_of(done)
    assert [g["name"] for g in found.guests] == ["one"] and len(found.helpers) == helpers
    assert found.result == 1


def test_page_image_in_host_tree(machine, host_tree, mw, guest_image, tmp_path):
    """Two guests from one that the boot loader put into RAM, which stays as it is."""
    image = tmp_path / "f.mwi"
    assert mw("image", "create", "-o", image, f"hello={guest_image('hello')}", f"psci={guest_image('psci')}").code == 0
    text = described(image).replace(" };\n        }", ' image-name = "hello"; };\n        }')
    assert "image-name" in text
    tree = host_tree(text + text.replace("one {", "two {"), cores=3)
    done = machine("-kernel", IMAGE, "-dtb", tree, "-device", f"loader,file={image},addr={PAYLOAD},force-raw=on", cores=3)
    found = report_of(done)
    assert [(g["name"], g["status"]) for g in found.guests] == [("one", "off"), ("two", "off")], done.out
    assert found.result == 1 and found.helpers[0]["requests"] > 0


@pytest.mark.parametrize("text, why", [
    ('compatible = "meanwhile,guest"; memory = <0 0x10000>;', "cpus"),
    ('compatible = "meanwhile,guest"; cpus = <1>; memory = <0 0x10000>;', "no kernel module"),
    ('compatible = "meanwhile,guest"; cpus = <1>; memory = <0 0x10000>; #address-cells = <2>; #size-cells = <2>;'
     'module@0 { compatible = "multiboot,kernel", "multiboot,module"; reg = <0 0x40200000 0 0x1000>; };', "hypervisor"),
    ('compatible = "meanwhile,guest"; cpus = <1>; memory = <0 0x10000>; #address-cells = <2>; #size-cells = <2>;'
     'module@0 { compatible = "multiboot,kernel", "multiboot,module"; reg = <0 0x8000000 0 0x1000>; };', "outside"),
])
def test_bad_guest_in_host_tree(machine, host_tree, guest_image, text, why):
    """Refused by its node's name; the other one runs."""
    image = guest_image("hello")
    tree = host_tree(f"bad {{ {text} }};" + described(image, "good"))
    done = machine("-kernel", IMAGE, "-dtb", tree, "-device", f"loader,file={image},addr={PAYLOAD},force-raw=on")
    hello_ran(done, "good")
    assert any(re.fullmatch(rf"\[mw\] bad: refused: .*{why}.*", line) for line in done.lines()), done.out
    guests = {g["name"]: g["status"] for g in report_of(done).guests}
    assert guests == {"bad": "refused", "good": "off"}
    assert report_of(done).result == 3


# ---- sizes


@pytest.mark.parametrize("memory, ram, cpus", [("4M", "32M", 1), ("126M", "190M", 1), ("1030M", "1100M", 2),
                                               ("3G", "3200M", 1), ("64M", "2050M", 1)])
def test_sizes(mw, guest_image, memory, ram, cpus):
    done = mw("run", "--kernel", guest_image("hello"), "--memory", memory, "--ram", ram, "--cpus", cpus)
    assert done.code == 0, done.stdout + done.stderr
    (guest,) = done.stats["guests"]
    assert guest["ram_pages"] * 4096 == int(memory[:-1]) << {"M": 20, "G": 30}[memory[-1]]


@pytest.mark.parametrize("cpus, helpers", [(16, 1), (16, 5)])
def test_many_cpus(mw, guest_image, cpus, helpers):
    """The default of --ram has room for the ready frames of as many vCPUs as a guest can have."""
    done = mw("run", "--kernel", guest_image("hello"), "--cpus", cpus, "--helpers", helpers)
    assert done.code == 0, done.stdout + done.stderr


@pytest.mark.parametrize("memory", ["96G", "255G"])
def test_large_guest(mw, guest_image, memory):
    """And for the tables and records of a large one. Nothing touches that RAM, so the build host need not have it."""
    done = mw("run", "--kernel", guest_image("hello"), "--memory", memory)
    assert done.code == 0, done.stdout + done.stderr


@pytest.mark.parametrize("memory, ram", [("512M", "512M"), ("512M", "522M"), ("4M", "8M"), ("4M", "16M"), ("2G", "64M"),
                                         ("2M", "258M")])
def test_too_small(mw, guest_image, memory, ram):
    done = mw("run", "--kernel", guest_image("hello"), "--memory", memory, "--ram", ram)
    assert (done.code, done.stats["result"]) == (3, "refused"), done.stdout + done.stderr
    assert re.search(r"^mw: guest 'guest' was refused: .*(RAM|room)", done.stderr, re.M), done.stderr
    assert "hello" not in done.stdout


@pytest.mark.racy
@pytest.mark.parametrize("granule", ["4K", "2M"])
@pytest.mark.parametrize("helpers", [0, 1])
def test_just_enough(mw, guest_image, tmp_path, helpers, granule):
    """A guest that is let in never lacks memory: eight CPUs touch all of its RAM in a machine that has what it wants and
    no more."""
    config = tmp_path / "m.toml"
    config.write_text(f"[machine]\nhelpers = {helpers}\n[[guest]]\nname = 'g'\nkernel = '{guest_image('crowd')}'\n"
                      f"cpus = 8\nmemory = '64M'\npopulate-granule = '{granule}'\n")
    refused = mw("run", "--config", config, "--ram", "64M")
    wants, left = map(int, re.search(r"wants (\d+) MiB .* and (\d+) are left", refused.stderr).groups())
    assert mw("run", "--config", config, "--ram", f"{64 + wants - left - 2}M").code == 3
    done = mw("run", "--config", config, "--ram", f"{64 + wants - left}M")
    assert done.code == 0, done.stdout + done.stderr
    assert "PASS every page is as it was left" in done.stdout and "FAIL" not in done.stdout


@pytest.mark.racy
@pytest.mark.parametrize("cpus, helpers, cores", [(4, 2, 6), (2, 0, 2), (1, 0, 3), (2, 3, 5)])
def test_cores(mw, guest_image, tmp_path, cpus, helpers, cores):
    """Any number of each, and cores that are neither."""
    config = tmp_path / "m.toml"
    config.write_text(f"[machine]\ncores = {cores}\nhelpers = {helpers}\n[[guest]]\nname = 'g'\n"
                      f"kernel = '{guest_image('touch')}'\ncpus = {cpus}\nmemory = '128M'\nappend = 'wait-ms=100'\n")
    done = mw("run", "--config", config)
    assert done.code == 0, done.stdout + done.stderr
    assert len(done.stats["helpers"]) == helpers
    assert [h["core"] for h in done.stats["helpers"]] == list(range(cores - helpers, cores))
    (guest,) = done.stats["guests"]
    assert guest["vcpus"] == cpus
    for helper in done.stats["helpers"][:cpus]:
        assert helper["zeroed_pages"] > 0  # each fills the pools of vCPUs of its own
    assert done.stats["shared_locks_on_fault_path"] == 0


def test_more_vcpus_than_cores(mw, guest_image):
    """The launcher would not: the machine is made smaller behind its back."""
    done = mw("run", "--kernel", guest_image("hello"), "--cpus", 4, "--qemu-arg", "-smp", "--qemu-arg", "3")
    assert (done.code, done.stats["result"]) == (3, "refused")
    assert re.search(r"guest 'guest' was refused: it wants 4 cores, and \d are left", done.stderr)


# ---- other boot loaders


@pytest.mark.slow
def test_uboot(machine, mw, guest_image, tmp_path):
    """`booti` of a packed image. With Debian's u-boot-qemu installed, or UBOOT=.../qemu_arm64/u-boot.bin."""
    uboot = next((p for p in UBOOT if p.is_file()), None)
    if not uboot:
        pytest.skip("no U-Boot: apt-get install u-boot-qemu")
    out = packed(mw, tmp_path, "--kernel", guest_image("hello"), "--memory", "64M")
    # A key ends U-Boot's autoboot, wherever it has got to; then the command.
    done = machine("-bios", uboot, "-device", f"loader,file={out},addr=0x48000000,force-raw=on",
                   stdin=" \n\nbooti 0x48000000 - ${fdtcontroladdr}\n", seconds=40, log=False)
    hello_ran(done)
