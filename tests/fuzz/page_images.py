# SPDX-License-Identifier: BSD-2-Clause
"""Page images that are good, and one for each way to be bad: the seeds of the fuzzer, and cases of the tests."""

import io
import random
import struct
import zlib
from typing import NamedTuple

PAGE = 4096
ENTRY = 12
FILE = 64  # offset of the first directory entry
# enum page_image_result of mm/page_image.h
(OK, NOT_ONE, OTHER_VERSION, BAD_HEADER, TRUNCATED, BAD_DIRECTORY, NO_FILE, BAD_INDEX, BAD_ENTRY, BAD_PAGE) = range(10)


class Case(NamedTuple):
    name: str
    data: bytes
    result: int  # what the hypervisor's reader says when it takes out "file"
    words: str = ""  # what `mw image verify` says; "": that it is good


def content(pages, seed=1):
    """Text, noise, zeroes and again, the last page not full."""
    noise = random.Random(seed)
    out = bytearray()
    for n in range(pages):
        out += (b"page %d " % n * PAGE)[:PAGE] if n % 3 == 0 else noise.randbytes(PAGE) if n % 3 == 1 else bytes(PAGE)
    return bytes(out[:-100])


def pack(*files):
    """The launcher's own writer. `files`: (name, bytes)."""
    from mwlib import pageimage

    out = io.BytesIO()
    pageimage.write(out, [(name, name, io.BytesIO(data), len(data)) for name, data in files], "test")
    return out.getvalue()


def good():
    """Two files of five pages each, of which the first is `file`."""
    return pack(("file", content(5)), ("other.file", content(5, 2)))


def seal(image):
    """Makes the checksums of header and indexes right, as a hostile author would."""
    image = bytearray(image)
    size = len(image)
    for i in range(min(struct.unpack_from("<I", image, 12)[0], 42)):
        bytes_, at = struct.unpack_from("<QQ", image, FILE + 96 * i + 64)
        for _ in range(bytes_ // PAGE // 341 + 1):
            if at < PAGE or at % PAGE or at + PAGE > size:
                break
            struct.pack_into("<I", image, at + PAGE - 4, zlib.crc32(struct.pack("<Q", at) + image[at:at + PAGE - 4]))
            at += PAGE
    struct.pack_into("<I", image, 60, zlib.crc32(image[FILE:PAGE], zlib.crc32(image[:60])))
    return bytes(image)


def changed(at, data, image=None):
    image = bytearray(image or good())
    image[at:at + len(data)] = data
    return bytes(image)


def flipped(at, bit=0):
    return changed(at, bytes([good()[at] ^ 1 << bit]))


def place(kind, offset, length):
    return struct.pack("<Q", kind << 61 | length << 48 | offset)


def entries(image, file=0):
    """[(offset of the entry, kind, offset, length)] of a file's pages."""
    size, index = struct.unpack_from("<QQ", image, FILE + 96 * file + 64)
    out = []
    for n in range(-(-size // PAGE)):
        (word,) = struct.unpack_from("<Q", image, index + n * ENTRY)
        out.append((index + n * ENTRY, word >> 61, word & (1 << 48) - 1, word >> 48 & 0x1fff))
    return out


def cases():
    """All of them. What is wrong is wrong in the first file, or concerns the image as a whole."""
    image = good()
    size = len(image)
    file = entries(image)
    (text, _, text_at, text_length), (noise, _, noise_at, _), (zero, *_) = file[:3]
    index = file[0][0]

    def lie(name, at, data, words, result=BAD_DIRECTORY):
        return Case(name, seal(changed(at, data)), result, words)

    def entry(name, at, *where, words="index entry"):
        return Case(f"entry-{name}", seal(changed(at, place(*where))), BAD_ENTRY, words)

    q = struct.Struct("<Q").pack
    d = struct.Struct("<I").pack
    found = [
        Case("good", image, OK),
        Case("good-one-page", pack(("file", b"x")), OK),
        Case("good-zeroes", pack(("file", bytes(400 * PAGE))), OK),  # two index pages, nothing stored
        Case("good-42-files", pack(("file", b"1"), *((f"f{i}", b"2") for i in range(41))), OK),
        Case("empty", b"", NOT_ONE, "not a page image"),
        Case("short", image[:100], NOT_ONE, "not a page image"),
        Case("zeroes", bytes(size), NOT_ONE, "not a page image"),
        Case("noise", random.Random(3).randbytes(3 * PAGE), NOT_ONE, "not a page image"),
        Case("magic", flipped(3), NOT_ONE, "not a page image"),
        Case("version-0", seal(changed(8, d(0))), OTHER_VERSION, "version 0"),
        Case("version-2", seal(changed(8, d(2))), OTHER_VERSION, "version 2"),
    ]
    # One bit in every region, and the checksums as they were.
    found += [Case(f"flip-{name}", flipped(at, 5), BAD_HEADER, "header: its checksum") for name, at in {
        "count": 12, "size": 17, "reserved": 40, "crc": 61, "name": 66, "file-size": 128, "file-index": 137,
        "file-reserved": 150, "second-file": 161, "free-entry": 300, "header-end": PAGE - 1}.items()]
    found += [Case(f"flip-index-{name}", flipped(at, 3), BAD_INDEX, "file: index page 0") for name, at in {
        "place": text, "kind": text + 7, "page-crc": text + 8, "free-entry": index + 1000,
        "crc": index + PAGE - 1}.items()]
    found += [Case(f"flip-{name}", flipped(at, 1), BAD_PAGE, f"file: page {n}:") for name, at, n in (
        ("raw-start", noise_at, 1), ("raw-end", noise_at + PAGE - 1, 1), ("lz4-token", text_at, 0),
        ("lz4-literal", text_at + 3, 0), ("lz4-end", text_at + text_length - 1, 0))]
    found += [Case("flip-gap", flipped(text_at + text_length, 2), OK, "belong to nothing"),
              Case("behind-the-end", image + b"more", OK, "4 bytes follow")]
    # Cut off: at the ends of pages and sectors, and inside of them.
    found += [Case(f"cut-{n}", image[:n], TRUNCATED, "truncated")
              for n in (PAGE, PAGE + 1, 2 * PAGE, 3 * PAGE, noise_at, noise_at + 512, size - 512, size - 1)]
    found += [Case("cut-4095", image[:PAGE - 1], NOT_ONE, "not a page image")]
    # Right checksums on what cannot be.
    found += [
        lie("no-files", 12, d(0), "count"),
        lie("43-files", 12, d(43), "count"),
        lie("many-files", 12, d(0xffffffff), "count"),
        lie("third-file", 12, d(3), "name of file 2"),
        lie("size-0", 16, q(0), "its size or place"),
        lie("size-odd", 16, q(size - 1), "count or size"),
        lie("size-small", 16, q(PAGE), "its size or place"),
        lie("size-huge", 16, q(1 << 63), "truncated", TRUNCATED),
        lie("name-empty", FILE, bytes(64), "name of file 0"),
        lie("name-full", FILE, b"x" * 64, "name of file 0"),
        lie("name-path", FILE, b"../a", "name of file 0"),
        lie("name-escape", FILE, b"a\033[m", "name of file 0"),
        lie("name-latin", FILE, b"\xfc", "name of file 0"),
        lie("name-behind-nul", FILE + 50, b"x", "name of file 0"),
        lie("name-twice", FILE + 96, b"file".ljust(64, b"\0"), "two files of one name"),
        lie("file-empty", FILE + 64, q(0), "its size or place"),
        lie("file-huge", FILE + 64, q((1 << 64) - 1), "its size or place"),
        lie("file-large", FILE + 64, q(size * 341), "its size or place"),
        lie("index-0", FILE + 72, q(0), "its size or place"),
        lie("index-odd", FILE + 72, q(PAGE + 8), "its size or place"),
        lie("index-behind", FILE + 72, q(-(-size // PAGE) * PAGE), "its size or place"),
        lie("index-huge", FILE + 72, q((1 << 64) - PAGE), "its size or place"),
        entry("none", text, 0, 0, 0), entry("kind-4", text, 4, text_at, text_length),
        entry("kind-7", text, 7, text_at, text_length), entry("lz4-empty", text, 3, text_at, 0),
        entry("lz4-4096", text, 3, noise_at, PAGE), entry("lz4-8191", text, 3, noise_at, 8191),
        entry("in-header", text, 3, PAGE - 1, 100), entry("behind", text, 3, size, 1),
        entry("across-the-end", text, 3, size - 1, 2), entry("far", text, 3, (1 << 48) - 1, 4095),
        entry("raw-odd", noise, 2, noise_at + 1, PAGE), entry("raw-short", noise, 2, noise_at, 4095),
        entry("raw-behind", noise, 2, size - 512, PAGE), entry("zero-with-place", zero, 1, noise_at, 0),
        entry("zero-with-length", zero, 1, 0, 1),
        Case("entry-zero-crc", seal(changed(zero + 8, d(1))), BAD_ENTRY, "index entry"),
        Case("entry-swapped", seal(changed(text, image[noise:noise + 8])), BAD_PAGE, "page 0: its checksum"),
        Case("entry-shorter", seal(changed(text, place(3, text_at, text_length - 1))), BAD_PAGE, "decompressed"),
        Case("entry-longer", seal(changed(text, place(3, text_at, text_length + 1))), BAD_PAGE, "decompressed"),
        Case("entry-crc", seal(changed(text + 8, d(1))), BAD_PAGE, "page 0: its checksum"),
        Case("entry-behind-the-last", seal(changed(index + 5 * ENTRY, b"x")), OK, "behind its last page"),
        Case("file-shorter", seal(changed(FILE + 64, q(5 * PAGE - 200))), OK, "not zero behind the file's end"),
    ]
    # An index page in the place of another is not that one.
    second = struct.unpack_from("<Q", image, FILE + 96 + 72)[0]
    found.append(Case("index-of-another", changed(index, image[second:second + PAGE]), BAD_INDEX, "file: index page 0"))
    return found


def write(folder):
    """The corpus: a file for each case."""
    folder.mkdir(parents=True, exist_ok=True)
    for case in cases():
        (folder / case.name).write_bytes(case.data)
