# SPDX-License-Identifier: BSD-2-Clause
"""Guests whose kernel and RAM disk come out of a page image: they run as from files, every page decoded on a helper
core, and what is wrong with an image refuses the guests that want it, by name, and no others."""

import random
import re
import struct
import sys
import zlib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(ROOT / "tests" / "fuzz"), str(HERE), str(ROOT / "tools")]

import page_images  # noqa: E402 - the path must be set first
import test_refusals  # noqa: E402
from test_refusals import OFF_KERNEL, cells, config, node, pack, refused  # noqa: E402

start = test_refusals.start  # its fixture
PAGE = 4096


def ramdisk(pages):
    """Bytes of each kind, the last page not full."""
    return page_images.content(pages, 7)


def passed(done, *names):
    out = done.stdout.replace("\r", "").splitlines()
    assert (done.code, done.stats["result"]) == (0, "off"), done.stdout + done.stderr
    assert not [line for line in out if "FAIL " in line], done.stdout
    for name in names:
        assert f"PASS {name}" in out, done.stdout


# ---- guests that run


@pytest.mark.racy
@pytest.mark.parametrize("cpus, helpers", [(1, 1), (2, 1), (4, 2)])
@pytest.mark.parametrize("granule", ["2M", "4K"])
def test_each_byte_arrives(mw, image, tmp_path, cpus, helpers, granule):
    """5 MiB of RAM disk, touched here and there by all vCPUs at once, while the sweep fills what lies between."""
    data = ramdisk(1300)
    toml = tmp_path / "guest.toml"
    toml.write_text(f"[machine]\nhelpers = {helpers}\n[[guest]]\nimage = '{image('ramdisk', data).name}'\n"
                    f"kernel = 'image:kernel'\ninitrd = 'image:disk'\ncpus = {cpus}\nmemory = '64M'\n"
                    f"populate-granule = '{granule}'\nappend = 'crc={zlib.crc32(data)}'\n")
    done = mw("run", "--config", toml)
    passed(done, "its bytes are right", "zero behind its end", "each page is there")
    (guest,) = done.stats["guests"]
    assert guest["filled_before_start"] == 0 and guest["faults"]["queued"] > 0
    assert done.stats["shared_locks_on_fault_path"] == 0
    assert sum(h["populated_pages"] for h in done.stats["helpers"]) >= 1300


@pytest.mark.racy
def test_again_in_every_life(mw, image):
    data = ramdisk(100)
    done = mw("run", "--image", image("ramdisk", data), "--kernel", "image:kernel", "--initrd", "image:disk", "--memory", "64M",
              "--cpus", 2, "--append", f"crc={zlib.crc32(data)} until-ms=1500")
    passed(done, "its bytes are right", "zero behind its end")
    assert done.stats["guests"][0]["resets"] > 5


def test_exactly(mw, image):
    """Instruction for instruction the same twice."""
    data = b"".join(b"%08x" % (i * 2654435761 % 997) for i in range(512 * 600))  # 1200 pages that compress
    busy = []
    for _ in range(2):
        done = mw("run", "--icount", "--image", image("ramdisk", data), "--kernel", "image:kernel", "--initrd", "image:disk",
                  "--memory", "64M", "--append", f"crc={zlib.crc32(data)}")
        passed(done, "its bytes are right")
        busy.append(done.stats["helpers"][0]["busy_ns"])
    assert busy[0] == busy[1]


def test_only_one_of_them(mw, image, guest_image, tmp_path):
    """A kernel from a file, its RAM disk from an image; and the other way round."""
    data = ramdisk(40)
    disk = tmp_path / "disk"
    disk.write_bytes(data)
    for kernel, initrd in ((guest_image("ramdisk"), "image:disk"), ("image:kernel", disk)):
        passed(mw("run", "--image", image("ramdisk", data), "--kernel", kernel, "--initrd", initrd, "--memory", "64M", "--append",
                  f"crc={zlib.crc32(data)}"), "its bytes are right")


def test_guests_share_an_image(mw, image, tmp_path):
    """Two guests from one image, which is in the machine's RAM once."""
    data = ramdisk(500)
    path = image("ramdisk", data)
    toml = tmp_path / "two.toml"
    toml.write_text("".join(f"[[guest]]\nname = '{n}'\nimage = '{path.name}'\nkernel = 'image:kernel'\ninitrd = 'image:disk'\n"
                            f"memory = '64M'\nappend = 'crc={zlib.crc32(data)}'\n" for n in ("one", "two")))
    done = mw("run", "--config", toml)
    assert done.code == 0, done.stdout + done.stderr
    for name in ("one", "two"):
        assert f"{name}: PASS its bytes are right" in done.stdout
    packed = tmp_path / "packed.img"
    assert mw("pack", "-o", packed, "--config", toml).code == 0
    assert packed.read_bytes().count(path.read_bytes()[:PAGE]) == 1


# ---- what the launcher refuses


@pytest.mark.parametrize("args, words", [
    (["--kernel", "image:kernel"], ["kernel", "image:kernel", "--image"]),
    (["--image", "IMAGE"], ["IMAGE", "image:NAME"]),
    (["--image", "IMAGE", "--kernel", "image:other"], ["image:other", "'other'", "kernel, disk"]),
    (["--image", "IMAGE", "--kernel", "image:"], ["image:", "kernel, disk"]),
    (["--image", "/no/such/image", "--kernel", "image:kernel"], ["/no/such/image"]),
    (["--image", "DISK", "--kernel", "image:kernel"], ["DISK", "not a page image"]),
    (["--image", "IMAGE", "--kernel", "image:kernel", "--initrd", "image:none"], ["initrd", "'none'"]),
    (["--image", "IMAGE", "--kernel", "image:kernel", "--initrd", "image:disk", "--memory", "2M"], ["disk", "does not fit"]),
    (["--image", "IMAGE", "--kernel", "image:disk", "--memory", "2M"], ["image:disk", "does not fit"]),
])
def test_launcher_refuses(mw, image, tmp_path, args, words):
    (tmp_path / "DISK").write_bytes(ramdisk(500))
    image("hello", ramdisk(500)).rename(tmp_path / "IMAGE")
    done = mw("run", *args, cwd=tmp_path)
    assert (done.code, done.stdout) == (2, "")
    assert re.fullmatch(r"mw: [^\n]+\n", done.stderr), done.stderr
    for word in words:
        assert word in done.stderr


# ---- what EL2 refuses


def test_no_helper(mw, image):
    """Its reader uses FP registers, which are the guest's on every other core."""
    done = mw("run", "--image", image("hello"), "--kernel", "image:kernel", "--helpers", 0)
    assert (done.code, done.stats["result"]) == (3, "refused")
    why = "kernel: a page image is read by a helper core, and there is none"
    assert f"[mw] guest: refused: {why}" in done.stdout.replace("\r", "").splitlines()
    assert f"mw: guest 'guest' was refused: {why}" in done.stderr.splitlines()


def from_image(data, name=b"file\0", helpers=1, size=None):
    """A packed machine with two guests: one wants `name` of an image as its kernel, the other has a file."""
    place = (len(OFF_KERNEL), size if size is not None else len(data))
    bad = node("bad-one", kernel=place)
    bad.children[0].props["image-name"] = name
    return pack(config([bad, node("good", kernel=(0, len(OFF_KERNEL)))], helpers=cells(helpers)), OFF_KERNEL + data)


def off_image():
    return page_images.pack(("file", OFF_KERNEL), ("other.file", page_images.content(3)))


def test_by_hand(start):
    """What those below are variations of: both run."""
    done = start(from_image(off_image()), cores=3)
    assert (done.code, done.stats["result"]) == (0, "off"), done.out + done.err
    assert done.guests() == {"bad-one": ("off", ""), "good": ("off", "")}


def refused_alone(done, why):
    assert (done.code, done.stats["result"]) == (3, "refused"), done.out + done.err
    guests = done.guests()
    assert guests["good"] == ("off", "")
    assert guests["bad-one"][0] == "refused" and re.search(why, guests["bad-one"][1]), guests
    assert f"[mw] bad-one: refused: {guests['bad-one'][1]}" in done.out.replace("\r", "").splitlines()


@pytest.mark.parametrize("name, why", [
    (b"files\0", r"kernel: no such file in the page image \(image:files\)"),
    (b"file", "image-name"), (b"\0", "image-name"), (b"", "image-name"), (b"a\0b\0", "image-name"), (b"../x\0", "image-name"),
    (b"x" * 63 + b"\0", "no such file"), (b"x" * 64 + b"\0", "image-name"),
])
def test_bad_name(start, name, why):
    refused_alone(start(from_image(off_image(), name), cores=3), why)


def test_no_helper_by_hand(start):
    refused_alone(start(from_image(off_image(), helpers=0), cores=3), "helper core")


WORDS = {
    page_images.NOT_ONE: "not a page image", page_images.OTHER_VERSION: "another version", page_images.BAD_HEADER: "checksum of its header",
    page_images.TRUNCATED: "truncated", page_images.BAD_DIRECTORY: "bad directory", page_images.BAD_INDEX: "checksum of its index",
    page_images.BAD_ENTRY: "first page", page_images.BAD_PAGE: "first page",
}
# One of each kind is enough here: the reader is the one that the host's tests go through with all of them.
CASES = {c.name: c for c in page_images.cases()}


@pytest.mark.parametrize("name", ["noise", "version-2", "flip-name", "cut-8192", "many-files", "file-huge", "index-huge",
                                  "flip-index-place", "index-of-another", "entry-far", "entry-none", "flip-lz4-literal",
                                  "entry-swapped"])
def test_bad_image(start, name):
    case = CASES[name]
    refused_alone(start(from_image(case.data), cores=3), WORDS[case.result])


def test_misaligned(start):
    data = off_image()
    place = (len(OFF_KERNEL) + 4, len(data))
    bad = node("bad-one", kernel=place)
    bad.children[0].props["image-name"] = b"file\0"
    tree = config([bad, node("good", kernel=(0, len(OFF_KERNEL)))], helpers=cells(1))
    refused_alone(start(pack(tree, OFF_KERNEL + bytes(4) + data), cores=3), "not a page image")


def test_shorter_than_it_says(start):
    """The module ends before the image does, though its bytes would be there."""
    data = off_image()
    refused_alone(start(from_image(data, size=len(data) - 512), cores=3), "truncated")
    refused_alone(start(from_image(data, size=4095), cores=3), "not a page image")


def test_kernels_in_images_are_looked_at(start):
    """Compressed, ELF, or an Image that its PE header says is longer: as in a file."""
    linux = bytearray(8192)
    struct.pack_into("<QQ", linux, 8, 0, 0x100000)
    struct.pack_into("<I", linux, 56, 0x644D5241)
    struct.pack_into("<H", linux, 0, 0x5a4d)
    struct.pack_into("<I", linux, 60, 64)
    struct.pack_into("<IHH", linux, 64, 0x4550, 0xaa64, 1)
    struct.pack_into("<II", linux, 64 + 24 + 16, 0x10000, 0x1000)
    for data, why in ((b"\x1f\x8b" + bytes(5000), "compressed"), (b"\x7fELF" + bytes(9000), "ELF"), (bytes(linux), "truncated"),
                      (random.Random(1).randbytes(16 << 20), "does not fit")):
        refused_alone(start(from_image(page_images.pack(("file", data))), cores=3), why)


@pytest.mark.racy
@pytest.mark.parametrize("cpus", [1, 2])
@pytest.mark.parametrize("wrong", ["raw", "lz4", "place"])
def test_an_unreadable_page(mw, image, cpus, wrong):
    """An external abort there, and nowhere else; what is stored there, nobody gets."""
    data = ramdisk(600)
    path = image("ramdisk", data)
    page = {"raw": 301, "lz4": 300, "place": 302}[wrong]
    damaged = bytearray(path.read_bytes())
    entry, _, at, length = page_images.entries(damaged, 1)[page]
    if wrong == "place":
        struct.pack_into("<Q", damaged, entry, 7 << 61)
    else:
        damaged[at + length // 2] ^= 4
    path.write_bytes(page_images.seal(damaged))
    without = data[:page * PAGE] + data[(page + 1) * PAGE:]
    done = mw("run", "--image", path, "--kernel", "image:kernel", "--initrd", "image:disk", "--memory", "64M", "--cpus", cpus,
              "--append", f"crc={zlib.crc32(without)} bad={page}")
    passed(done, "an external abort on the bad page", "its bytes are right")
    (guest,) = done.stats["guests"]
    assert guest["unreadable_faults"] == 3
    assert sum(h["unreadable_pages"] for h in done.stats["helpers"]) == 1


def test_two_images_by_a_boot_loader(start):
    """Kernel and RAM disk from different images, and from one: the same place is no overlap then."""
    data = off_image()
    for second in (0, len(data)):
        one = node("one", kernel=(0, len(data)), initrd=(second, len(data)))
        for child, name in zip(one.children, (b"file\0", b"other.file\0")):
            child.props["image-name"] = name
        done = start(pack(config([one], helpers=cells(1)), data + data), cores=2)
        assert done.guests() == {"one": ("off", "")}, done.out + done.err
    overlapping = node("one", kernel=(0, len(data)), initrd=(512, len(data)))
    for child, name in zip(overlapping.children, (b"file\0", b"other.file\0")):
        child.props["image-name"] = name
    refused(start(pack(config([overlapping], helpers=cells(1)), data + data), cores=2), "one", "overlap")
