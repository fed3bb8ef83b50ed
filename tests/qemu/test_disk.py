# SPDX-License-Identifier: BSD-2-Clause
"""Guests whose kernel and RAM disk are read from a disk while they run: from a file, from a drive that takes its time, from
one that fails; and what is wrong with a disk refuses the guests that live on it, by name, and no others."""

import re
import sys
import zlib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(ROOT / "tests" / "fuzz"), str(HERE), str(ROOT / "tools")]

import page_images  # noqa: E402 - the path must be set first
from test_image import CASES, WORDS, passed, ramdisk  # noqa: E402

PAGE = 4096
FROM_DISK = ["--kernel", "disk:kernel", "--initrd", "disk:disk", "--memory", "64M"]


def crc(data):
    return f"crc={zlib.crc32(data)}"


# ---- guests that run


@pytest.mark.racy
@pytest.mark.parametrize("cpus, helpers", [(1, 1), (2, 1), (4, 2)])
@pytest.mark.parametrize("granule", ["2M", "4K"])
def test_each_byte_arrives(mw, image, tmp_path, cpus, helpers, granule):
    """5 MiB of RAM disk, touched here and there by all vCPUs at once, while the sweep reads what lies between."""
    data = ramdisk(1300)
    toml = tmp_path / "guest.toml"
    toml.write_text(f"[machine]\nhelpers = {helpers}\n[[guest]]\ndisk = '{image('ramdisk', data).name}'\n"
                    f"kernel = 'disk:kernel'\ninitrd = 'disk:disk'\ncpus = {cpus}\nmemory = '64M'\n"
                    f"populate-granule = '{granule}'\nappend = '{crc(data)}'\n")
    done = mw("run", "--config", toml)
    passed(done, "its bytes are right", "zero behind its end", "each page is there")
    (guest,) = done.stats["guests"]
    assert guest["filled_before_start"] == 0 and guest["faults"]["queued"] > 0
    assert done.stats["shared_locks_on_fault_path"] == 0
    populated = [h["populated_pages"] for h in done.stats["helpers"]]
    assert populated[0] >= 1300 and not any(populated[1:])  # one core uses the disk


@pytest.mark.racy
@pytest.mark.parametrize("cpus", [1, 3])
def test_a_slow_drive(mw, image, drive, cpus):
    data = ramdisk(700)
    url = drive("--filter=delay", "file", image("ramdisk", data), "rdelay=2ms")
    done = mw("run", "--disk", url, *FROM_DISK, "--cpus", cpus, "--append", crc(data))
    passed(done, "its bytes are right", "zero behind its end", "each page is there")
    # A helper that waits for a drive sleeps: it has not been busy for as long as the guest has waited.
    (guest,) = done.stats["guests"]
    assert guest["faults"]["waited"] > 0


@pytest.mark.racy
@pytest.mark.parametrize("more", [[], ["--machine", "virt-gicv2"], ["--resident", "12M"]], ids=["gicv3", "gicv2", "resident"])
def test_ticks_while_it_waits(mw, image, drive, more):
    """An interrupt that the guest can take where it stands does not wait with it for a page."""
    url = drive("--filter=delay", "file", image("ticks", ramdisk(2000)), "rdelay=30ms")
    done = mw("run", "--disk", url, *FROM_DISK, *more, "--no-read-ahead", "--append", "")
    passed(done, "ticks are taken while an access waits", "none with interrupts masked, and the page comes", "nor with the priority mask closed",
           "nor one that is disabled", "and again while they are open")
    assert done.stats["guests"][0]["interrupted_waits"] >= 8


@pytest.mark.racy
def test_again_in_every_life(mw, image, drive):
    """A guest that resets with reads under way waits for them, and for nothing else."""
    data = ramdisk(100)
    url = drive("--filter=delay", "file", image("ramdisk", data), "rdelay=3ms")
    done = mw("run", "--disk", url, *FROM_DISK, "--cpus", 2, "--append", f"{crc(data)} until-ms=1500")
    passed(done, "its bytes are right", "zero behind its end")
    assert done.stats["guests"][0]["resets"] > 2


@pytest.mark.racy
def test_destroyed_with_reads_under_way(mw, image, drive, guest_image, tmp_path):
    """The other guest, which lives on the same helper, goes on."""
    url = drive("--filter=delay", "file", image("ramdisk", ramdisk(3000)), "rdelay=50ms")
    toml = tmp_path / "two.toml"
    toml.write_text(f"[[guest]]\nname = 'slow'\ndisk = '{url}'\nkernel = 'disk:kernel'\ninitrd = 'disk:disk'\nmemory = '64M'\n"
                    f"[[guest]]\nname = 'other'\nkernel = '{guest_image('promote')}'\ncpus = 2\nappend = 'ms=300 wait-ms=300'\n"
                    "memory = '64M'\n")
    done = mw("run", "--config", toml, stdin=b"\x1dmdestroy slow\nback\n")
    assert (done.code, done.stats["result"]) == (3, "destroyed"), done.stdout + done.stderr
    assert {g["name"]: g["status"] for g in done.stats["guests"]} == {"slow": "destroyed", "other": "off"}
    assert "other: FAIL" not in done.stdout and "other: PASS" in done.stdout


def test_two_guests_two_disks(mw, image, tmp_path):
    """One disk for both, one of each guest's own, and a file beside a disk."""
    data, others = ramdisk(400), page_images.content(300, 99)
    one, two = image("ramdisk", data), tmp_path / "two.mwi"
    two.write_bytes(page_images.pack(("disk", others)))
    kernel = ROOT / "build" / "guests" / "ramdisk.img"
    for second, expect in ((f"disk = '{one.name}'\nkernel = 'disk:kernel'\n", data), (f"disk = '{two.name}'\nkernel = '{kernel}'\n", others)):
        toml = tmp_path / "two.toml"
        toml.write_text(f"[[guest]]\nname = 'a'\ndisk = '{one.name}'\nkernel = 'disk:kernel'\ninitrd = 'disk:disk'\nmemory = '64M'\n"
                        f"append = '{crc(data)}'\n[[guest]]\nname = 'b'\n{second}initrd = 'disk:disk'\nmemory = '64M'\n"
                        f"append = '{crc(expect)}'\n")
        done = mw("run", "--config", toml)
        assert done.code == 0, done.stdout + done.stderr
        for name in ("a", "b"):
            assert f"{name}: PASS its bytes are right" in done.stdout, done.stdout


# ---- drives that fail


def failing(path, at):
    """An nbdkit plugin: the file, but for the byte at `at`."""
    return ["eval", f"get_size=stat -Lc %s {path}", "thread_model=echo parallel",
            f"pread=if [ $4 -le {at} ] && [ $(($4 + $3)) -gt {at} ]; then echo EIO no >&2; exit 1; fi;"
            f" dd if={path} skip=$4 count=$3 iflag=count_bytes,skip_bytes,fullblock status=none"]


@pytest.mark.parametrize("cpus", [1, 2])
def test_a_page_that_cannot_be_read(mw, image, drive, cpus):
    """An external abort there, and nowhere else."""
    data = ramdisk(200)
    path = image("ramdisk", data)
    # A raw page: no other shares its sectors.
    page, at = next((n, e[2]) for n, e in enumerate(page_images.entries(path.read_bytes(), 1)) if n > 50 and e[3] == PAGE)
    url = drive(*failing(path, at + 1000))
    done = mw("run", "--disk", url, *FROM_DISK, "--cpus", cpus, "--append",
              f"crc={zlib.crc32(data[:page * PAGE] + data[(page + 1) * PAGE:])} bad={page}")
    passed(done, "an external abort on the bad page", "its bytes are right")
    assert done.stats["guests"][0]["unreadable_faults"] == 3
    assert done.stats["helpers"][0]["unreadable_pages"] == 1


def refused_alone(done, why):
    guests = {g["name"]: (g["status"], g["reason"]) for g in done.stats["guests"]}
    assert (done.code, done.stats["result"]) == (3, "refused"), done.stdout + done.stderr
    assert guests["good"] == ("off", "")
    assert guests["bad-one"][0] == "refused" and re.search(why, guests["bad-one"][1]), guests
    assert f"[mw] bad-one: refused: {guests['bad-one'][1]}" in done.stdout.replace("\r", "").splitlines()


@pytest.fixture
def pair(mw, guest_image, tmp_path):
    """pair(disk) -> the result of a machine with a guest from that disk, and one that is well."""

    def run(disk, *args, kernel="disk:file"):
        toml = tmp_path / "pair.toml"
        toml.write_text(f"[[guest]]\nname = 'bad-one'\ndisk = '{disk}'\nkernel = '{kernel}'\nmemory = '32M'\n"
                        f"[[guest]]\nname = 'good'\nkernel = '{guest_image('hello')}'\nmemory = '32M'\n")
        return mw("run", "--config", toml, *args)

    return run


@pytest.mark.parametrize("name", ["noise", "version-2", "flip-name", "cut-8192", "many-files", "file-huge", "index-huge",
                                  "flip-index-place", "index-of-another", "entry-far", "entry-none", "flip-lz4-literal"])
def test_bad_image(pair, tmp_path, name):
    case = CASES[name]
    path = tmp_path / "bad.mwi"
    path.write_bytes(case.data + bytes(-len(case.data) % 512))
    refused_alone(pair(path), WORDS[case.result])


@pytest.mark.parametrize("where, why", [("header", "its header cannot be read"), ("index", "its index cannot be read"),
                                        ("page", "first page")])
def test_unreadable_from_the_start(pair, image, drive, where, why):
    path = image("hello")
    entries = page_images.entries(path.read_bytes(), 0)
    at = {"header": 100, "index": entries[0][0], "page": entries[0][2] + 1}[where]
    refused_alone(pair(drive(*failing(path, at)), kernel="disk:kernel"), why)


def test_no_such_file_there(pair, image):
    refused_alone(pair(image("hello"), kernel="disk:other"), r"no such file in the page image \(other on disk mw0\)")


def test_no_helper(pair, image):
    refused_alone(pair(image("hello"), "--helpers", 0, kernel="disk:kernel"), "a disk is read by a helper core, and there is none")


def test_legacy_device(pair, image):
    """Named in one line, and then there is no such disk."""
    done = pair(image("hello"), "--qemu-arg=-global", "--qemu-arg=virtio-mmio.force-legacy=true", kernel="disk:kernel")
    refused_alone(done, "there is no such disk")
    assert len(re.findall(r"^\[mw\] disk at [0-9a-f]+: a legacy virtio device: .*force-legacy=false", done.stdout, re.M)) == 1


# ---- what the launcher refuses


@pytest.mark.parametrize("args, words", [
    (["run", "--kernel", "disk:kernel"], ["kernel", "disk:kernel", "--disk"]),
    (["run", "--disk", "IMAGE"], ["IMAGE", "disk:NAME"]),
    (["run", "--disk", "IMAGE", "--kernel", "disk:"], ["disk:", "''"]),
    (["run", "--disk", "IMAGE", "--kernel", "disk:a/b"], ["disk:a/b"]),
    (["run", "--disk", "/no/such/disk", "--kernel", "disk:kernel"], ["/no/such/disk"]),
    (["run", "--disk", "", "--kernel", "disk:kernel"], ["disk", "empty path"]),
    (["pack", "-o", "OUT", "--disk", "IMAGE", "--kernel", "disk:kernel"], ["disk", "packed", "--image"]),
])
def test_launcher_refuses(mw, image, tmp_path, args, words):
    image("hello").rename(tmp_path / "IMAGE")
    done = mw(*args, cwd=tmp_path)
    assert (done.code, done.stdout) == (2, "")
    assert re.fullmatch(r"mw: [^\n]+\n", done.stderr), done.stderr
    for word in words:
        assert word in done.stderr
