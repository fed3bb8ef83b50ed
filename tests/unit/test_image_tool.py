# SPDX-License-Identifier: BSD-2-Clause
"""`mw image`: what it makes, the hypervisor's reader (test_page_image.c) takes out again; what is bad, both refuse, and
`verify` says where."""

import random
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
READER = ROOT / "build" / "unit" / "test_page_image"

sys.path[:0] = [str(ROOT / "tests" / "fuzz"), str(ROOT / "tools")]

import page_images  # noqa: E402 - the path must be set first
from mwlib import pageimage  # noqa: E402

CASES = page_images.cases()
PAGE = 4096


def take_out(image, name, to):
    """The hypervisor's reader: its result, as a number."""
    done = subprocess.run([READER, image, name, to], stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)
    assert not done.stderr, done.stderr.decode()  # a sanitizer's report
    return done.returncode


def sizes():
    """Around pages and index pages."""
    return [1, 4095, 4096, 4097, 3 * PAGE - 100, 340 * PAGE, 341 * PAGE, 341 * PAGE + 1, 700 * PAGE + 9]


def test_round_trip(mw, tmp_path):
    noise = random.Random(9)
    files, args = {}, []
    for i, size in enumerate(sizes()):
        data = bytearray(size)
        for at in range(0, size, PAGE):
            n = min(PAGE, size - at)
            data[at:at + n] = (bytes(n), noise.randbytes(n), b"%08d" % at * (n // 8) + b"x" * (n % 8))[(at // PAGE + i) % 3]
        path = tmp_path / f"file{i}"
        path.write_bytes(data)
        files[f"name-{i}_.+Z"] = (path, bytes(data))
        args.append(f"name-{i}_.+Z={path}")
    image, again = tmp_path / "one.mwi", tmp_path / "two.mwi"
    for out in (image, again):
        done = mw("image", "create", "-o", out, *args)
        assert (done.code, done.stdout, done.stderr) == (0, "", "")
    assert image.read_bytes() == again.read_bytes()
    assert not list(tmp_path.glob("*.part"))
    done = mw("image", "verify", image)
    assert (done.code, done.stdout, done.stderr) == (0, "", "")
    for name, (_, data) in files.items():
        assert take_out(image, name, tmp_path / "out") == page_images.OK
        assert (tmp_path / "out").read_bytes() == data, name

    done = mw("image", "list", image)
    assert (done.code, done.stderr) == (0, "")
    rows = [line.split() for line in done.stdout.splitlines()]
    assert rows[0] == ["name", "bytes", "stored", "zero", "raw", "lz4"]
    assert [(r[0], int(r[1])) for r in rows[1:]] == [(n, len(d)) for n, (_, d) in files.items()]
    for row in rows[1:]:
        assert sum(map(int, row[3:])) == -(-int(row[1]) // PAGE)
    assert all(any(int(r[k]) > 100 for r in rows[1:]) for k in (3, 4, 5))  # each kind is there


def test_debian_compresses(mw, debian_kernel, tmp_path):
    image = tmp_path / "debian.mwi"
    assert mw("image", "create", "-o", image, f"vmlinuz={debian_kernel}").code == 0
    assert image.stat().st_size < 0.6 * debian_kernel.stat().st_size
    assert take_out(image, "vmlinuz", tmp_path / "out") == page_images.OK
    assert (tmp_path / "out").read_bytes() == debian_kernel.read_bytes()


@pytest.mark.parametrize("case", CASES, ids=[c.name for c in CASES])
def test_good_and_bad(mw, tmp_path, case):
    image = tmp_path / "case.mwi"
    image.write_bytes(case.data)
    done = mw("image", "verify", image)
    if case.words:
        assert (done.code, done.stdout) == (1, ""), done.stderr
        assert done.stderr.startswith(f"mw: {image}: ") and case.words in done.stderr
        assert len(done.stderr.splitlines()) <= 12
    else:
        assert (done.code, done.stdout, done.stderr) == (0, "", "")
    assert take_out(image, "file", tmp_path / "out") == case.result
    listed = mw("image", "list", image)
    assert listed.code in (0, 1) and "Traceback" not in listed.stderr
    assert (listed.code == 1) == (case.result not in (page_images.OK, page_images.BAD_PAGE)), listed.stderr


def problems(data, path):
    path.write_bytes(data)
    try:
        with pageimage.Image(str(path)) as image:
            return list(pageimage.faults(image))
    except pageimage.BadImage as e:
        return [str(e)]


def test_each_byte(tmp_path):
    """A bit flips in any byte: it is noticed, unless it is inside a block that still decodes to the same page."""
    good = page_images.good()
    path = tmp_path / "flipped.mwi"
    blocks = [(at, length) for f in (0, 1) for _, kind, at, length in page_images.entries(good, f) if kind == pageimage.LZ4]
    pick = random.Random(4)
    unnoticed = 0
    for at in [*range(0, 512), *range(512, len(good), 5)]:
        flipped = bytearray(good)
        flipped[at] ^= 1 << pick.randrange(8)
        if not problems(flipped, path):
            assert any(start <= at < start + length for start, length in blocks), at
            with pageimage.Image(str(path)) as image:
                assert all(image.page(f, n)[:f.size - n * PAGE] == data[n * PAGE:][:PAGE]
                           for f, data in zip(image.files, (page_images.content(5), page_images.content(5, 2)))
                           for n in range(f.pages)), at
            unnoticed += 1
    assert unnoticed < 10


def test_many_bad_pages(mw, tmp_path):
    good = page_images.pack(("file", random.Random(8).randbytes(30 * PAGE)))
    damaged = bytearray(good)
    for _, _, at, _ in page_images.entries(good)[4:]:
        damaged[at] ^= 1
    (tmp_path / "bad").write_bytes(damaged)
    done = mw("image", "verify", tmp_path / "bad")
    lines = done.stderr.splitlines()
    assert done.code == 1 and len(lines) == 11
    assert "file: page 4: its checksum is wrong" in lines[0] and "page 13:" in lines[9]
    assert lines[10].endswith("and 16 more")


@pytest.mark.parametrize("args, words", [
    (["image"], ["create|list|verify"]),
    (["image", "frobnicate"], ["frobnicate"]),
    (["image", "create", "a=FILE"], ["-o"]),
    (["image", "create", "-o", "OUT"], ["NAME=FILE"]),
    (["image", "create", "-o", "OUT", "FILE"], ["NAME=FILE"]),
    (["image", "create", "-o", "OUT", "a="], ["NAME=FILE"]),
    (["image", "create", "-o", "OUT", "=FILE"], ["''", "name"]),
    (["image", "create", "-o", "OUT", "a/b=FILE"], ["a/b", "letters"]),
    (["image", "create", "-o", "OUT", "x" * 64 + "=FILE"], ["63"]),
    (["image", "create", "-o", "OUT", "a=FILE", "a=FILE"], ["'a'", "twice"]),
    (["image", "create", "-o", "OUT", *(f"a{i}=FILE" for i in range(43))], ["43", "42"]),
    (["image", "create", "-o", "OUT", "a=/no/such/file"], ["a: ", "/no/such/file"]),
    (["image", "create", "-o", "OUT", "a=/dev/null"], ["/dev/null", "regular"]),
    (["image", "create", "-o", "OUT", "a=EMPTY"], ["empty"]),
    (["image", "create", "-o", "/no/such/folder/x", "a=FILE"], ["/no/such/folder/x"]),
    (["image", "list"], ["F"]),
    (["image", "list", "/no/such/image"], ["/no/such/image"]),
    (["image", "verify", "/no/such/image"], ["/no/such/image"]),
    (["image", "verify", "/"], ["/", "irectory"]),
])
def test_arguments(mw, tmp_path, args, words):
    (tmp_path / "FILE").write_bytes(b"x" * 5000)
    (tmp_path / "EMPTY").touch()
    done = mw(*args, cwd=tmp_path)
    assert (done.code, done.stdout) == (2, "")
    assert re.fullmatch(r"mw: [^\n]+\n", done.stderr), done.stderr
    for word in words:
        assert word in done.stderr
    assert not (tmp_path / "OUT").exists() and not list(tmp_path.glob("*.part"))


def test_an_image_in_use_stays(mw, tmp_path):
    """Creating one anew that fails leaves the old one."""
    (tmp_path / "image").write_bytes(page_images.good())
    assert mw("image", "create", "-o", tmp_path / "image", "a=/no/such/file").code == 2
    assert (tmp_path / "image").read_bytes() == page_images.good()


def test_progress(monkeypatch, capsys):
    now = [0.0]
    monkeypatch.setattr(pageimage.time, "monotonic", lambda: now[0])
    progress = pageimage.Progress("create it", 1024)
    progress.add(256)
    assert capsys.readouterr().err == ""
    now[0] = 2.5
    progress.add(256)
    progress.add(256)
    assert capsys.readouterr().err == "mw: create it: 50 % of 4 MiB\n"


def test_limits_are_the_hypervisors():
    text = (ROOT / "mm" / "page_image.h").read_text()
    for name, value in (("VERSION", pageimage.VERSION), ("FILES", pageimage.MAX_FILES), ("ENTRIES", pageimage.ENTRIES),
                        ("SECTOR", pageimage.SECTOR), ("NAME", 64)):
        assert re.search(rf"#define PAGE_IMAGE_{name} (\d+)u", text)[1] == str(value)
    for name, value in (("ZERO", pageimage.ZERO), ("RAW", pageimage.RAW), ("LZ4", pageimage.LZ4)):
        assert re.search(rf"PAGE_IMAGE_{name} = (\d+)", text)[1] == str(value)


def test_help(mw):
    for args, words in ((["--help"], ["image"]), (["image", "--help"], ["create", "list", "verify", "--image F", "exit codes"]),
                        (["image", "create", "--help"], ["-o", "NAME=FILE"]), (["run", "--help"], ["--image", "image:NAME"])):
        done = mw(*args)
        assert (done.code, done.stderr) == (0, "")
        for word in words:
            assert word in done.stdout
