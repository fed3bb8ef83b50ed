# SPDX-License-Identifier: BSD-2-Clause
"""Page images: several named files in one, each page on its own, compressed or not. doc/image-format.md is the format,
mm/page_image.h its other side."""

import ctypes
import os
import re
import stat
import struct
import time
import zlib
from dataclasses import dataclass

from .common import MIB, PAGE, Refusal, say

MAGIC = b"mwpages\0"
VERSION = 1
MAX_FILES = 42
MAX_IMAGE = 1 << 48
ENTRIES = 341  # pages that an index page tells of
SECTOR = 512
NAME = re.compile(r"[A-Za-z0-9._+-]{1,63}")
ZERO, RAW, LZ4 = 1, 2, 3
KINDS = {ZERO: "zero", RAW: "raw", LZ4: "lz4"}
ZEROES = bytes(PAGE)

HEADER = struct.Struct("<8sIIQ36xI")
FILE = struct.Struct("<64sQQ16x")
ENTRY = struct.Struct("<QI")

# Above this a block takes as many sectors as the page itself would, which needs no decoding.
WORTH_IT = PAGE - SECTOR
LEVEL = 9  # of LZ4's high-compression mode: an image is written once, and decoding is no slower
CHUNK = 256 * PAGE


class BadImage(Exception):
    """What is wrong with an image, in one line."""


def crc(*parts):
    value = 0
    for part in parts:
        value = zlib.crc32(part, value)
    return value


ZERO_CRC = crc(ZEROES)


class Lz4:
    """The two functions of liblz4 that there is need of, on single pages."""

    def __init__(self):
        try:
            self.library = ctypes.CDLL("liblz4.so.1")
        except OSError:
            raise Refusal("liblz4.so.1 is missing (mw setup installs it)") from None
        self.buffer = ctypes.create_string_buffer(PAGE)

    def compress(self, page):
        """The block, or None if it is not smaller by a sector."""
        n = self.library.LZ4_compress_HC(page, self.buffer, PAGE, WORTH_IT, LEVEL)
        return self.buffer.raw[:n] if n > 0 else None

    def decompress(self, block):
        """The page, or None."""
        n = self.library.LZ4_decompress_safe(block, self.buffer, len(block), PAGE)
        return self.buffer.raw if n == PAGE else None


class Progress:
    """A line on standard error every two seconds."""

    def __init__(self, what, total):
        self.what, self.total, self.done, self.shown = what, total, 0, time.monotonic()

    def add(self, pages):
        self.done += pages
        if time.monotonic() - self.shown > 2:
            self.shown = time.monotonic()
            say(f"{self.what}: {100 * self.done // self.total} % of {self.total * PAGE // MIB} MiB")


# ---- an image that is read


@dataclass
class File:
    name: str
    size: int
    index: int  # offset of its first index page

    @property
    def pages(self):
        return -(-self.size // PAGE)

    @property
    def index_pages(self):
        return -(-self.pages // ENTRIES)


@dataclass
class Place:
    kind: int
    offset: int
    length: int
    crc: int


class Image:
    """An image in a file. Everything is checked when it is read; what is wrong raises BadImage."""

    def __init__(self, path):
        self.path = path
        try:
            self.stream = open(path, "rb")
            self.room = os.fstat(self.stream.fileno()).st_size
            header = self.read(0, PAGE) if self.room >= PAGE else b""
        except OSError as e:
            raise Refusal(f"page image: cannot read {path}: {e.strerror}") from None
        try:
            self.read_header(header)
        except BadImage:
            self.stream.close()
            raise
        self.lz4 = Lz4()
        self.index = (None, b"")

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.stream.close()

    def read(self, offset, length):
        self.stream.seek(offset)
        data = self.stream.read(length)
        if len(data) != length:
            raise BadImage("it became shorter while it was read")
        return data

    def read_header(self, header):
        if header[:len(MAGIC)] != MAGIC:
            raise BadImage("not a page image")
        _, version, count, self.size, told = HEADER.unpack_from(header)
        if version != VERSION:
            raise BadImage(f"a page image of version {version}, and only {VERSION} is known")
        if crc(header[:HEADER.size - 4], header[HEADER.size:]) != told:
            raise BadImage("header: its checksum is wrong")
        if self.size > self.room:
            raise BadImage(f"truncated: it should have {self.size} bytes, and has {self.room}")
        if not 1 <= count <= MAX_FILES or self.size % SECTOR or self.size >= MAX_IMAGE:
            raise BadImage("header: a count or size that cannot be")
        self.files = [self.read_file(header, i) for i in range(count)]
        if len({f.name for f in self.files}) != count:
            raise BadImage("directory: two files of one name")

    def read_file(self, header, i):
        raw, size, index = FILE.unpack_from(header, HEADER.size + i * FILE.size)
        text = raw.rstrip(b"\0").decode("latin-1")
        if not NAME.fullmatch(text):
            raise BadImage(f"directory: the name of file {i} cannot be")
        file = File(text, size, index)
        if size < 1 or index < PAGE or index % PAGE or index + file.index_pages * PAGE > self.size:
            raise BadImage(f"{text}: its size or place cannot be")
        return file

    def find(self, name):
        for file in self.files:
            if file.name == name:
                return file
        raise BadImage(f"has no file '{name}', only {', '.join(f.name for f in self.files)}")

    def index_page(self, file, number):
        at = file.index + number * PAGE
        if self.index[0] != at:
            data = self.read(at, PAGE)
            if crc(struct.pack("<Q", at), data[:-4]) != struct.unpack_from("<I", data, PAGE - 4)[0]:
                raise BadImage(f"{file.name}: index page {number} (pages from {number * ENTRIES} on): its checksum is wrong")
            self.index = (at, data)
        return self.index[1]

    def place(self, file, page):
        number, entry = divmod(page, ENTRIES)
        word, told = ENTRY.unpack_from(self.index_page(file, number), entry * ENTRY.size)
        p = Place(word >> 61, word & (1 << 48) - 1, word >> 48 & 0x1fff, told)
        if p.kind == ZERO:
            good = p.offset == 0 and p.length == 0 and p.crc == ZERO_CRC
        elif p.kind == RAW:
            good = p.length == PAGE and p.offset % SECTOR == 0
        else:
            good = p.kind == LZ4 and 0 < p.length < PAGE
        if p.kind != ZERO:
            good = good and p.offset >= PAGE and p.offset + p.length <= self.size
        if not good:
            raise BadImage(f"{file.name}: page {page}: its index entry cannot be")
        return p

    def page(self, file, page, place=None):
        """Its 4096 bytes."""
        p = place or self.place(file, page)
        if p.kind == ZERO:
            return ZEROES
        data = self.read(p.offset, p.length)
        if p.kind == LZ4:
            data = self.lz4.decompress(data)
            if data is None:
                raise BadImage(f"{file.name}: page {page}: it cannot be decompressed")
        if crc(data) != p.crc:
            raise BadImage(f"{file.name}: page {page}: its checksum is wrong")
        return data


def check_unused(image, used):
    """What belongs to nothing is zero, so that no byte of an image can change unnoticed."""
    end = 0
    for start, stop in [*sorted(used), (image.size, image.size)]:
        while end < start:
            n = min(start - end, CHUNK)
            if image.read(end, n).strip(b"\0"):
                raise BadImage(f"bytes {end} to {end + n - 1} belong to nothing, and are not zero")
            end += n
        end = max(end, stop)
    if image.room != image.size:
        raise BadImage(f"{image.room - image.size} bytes follow its end")


def check_page(image, file, page):
    """Returns where it is."""
    p = image.place(file, page)
    data = image.page(file, page, p)
    if page == file.pages - 1:
        if data[(file.size - 1) % PAGE + 1:].strip(b"\0"):
            raise BadImage(f"{file.name}: page {page}: not zero behind the file's end")
        rest = image.index_page(file, page // ENTRIES)[(page % ENTRIES + 1) * ENTRY.size:-4]
        if rest.strip(b"\0"):
            raise BadImage(f"{file.name}: index entries behind its last page are not zero")
    return p.offset, p.offset + p.length


def faults(image):
    """What is wrong with an image whose header is good, one text each. Looks at every byte of it."""
    used, good = [(0, PAGE)], True
    progress = Progress(f"verify {image.path}", sum(f.pages for f in image.files))
    for file in image.files:
        used.append((file.index, file.index + file.index_pages * PAGE))
        for first in range(0, file.pages, ENTRIES):
            pages = range(first, min(first + ENTRIES, file.pages))
            progress.add(len(pages))
            try:
                image.index_page(file, first // ENTRIES)
            except BadImage as e:
                good = False
                yield str(e)
                continue
            for page in pages:
                try:
                    used.append(check_page(image, file, page))
                except BadImage as e:
                    good = False
                    yield str(e)
    if good:
        try:
            check_unused(image, used)
        except BadImage as e:
            yield str(e)


# ---- an image that is written


def open_input(name, path):
    """(stream, size) of a file that goes into an image."""
    try:
        stream = open(path, "rb")
        status = os.fstat(stream.fileno())
    except OSError as e:
        raise Refusal(f"{name}: cannot read {path}: {e.strerror}") from None
    if not stat.S_ISREG(status.st_mode) or status.st_size == 0:
        stream.close()
        raise Refusal(f"{name}: {path} is {'empty' if stat.S_ISREG(status.st_mode) else 'not a regular file'}")
    return stream, status.st_size


class Writer:
    """Pages go out in their order, raw ones from a sector on."""

    def __init__(self, out, at):
        self.out, self.at, self.lz4 = out, at, Lz4()
        out.seek(at)

    def put(self, page):
        """Stores a page; returns its index entry."""
        if page == ZEROES:
            return ENTRY.pack(ZERO << 61, ZERO_CRC)
        block, kind = self.lz4.compress(page), LZ4
        if block is None:
            block, kind = page, RAW
            self.pad(SECTOR)
        at = self.at
        self.out.write(block)
        self.at += len(block)
        return ENTRY.pack(kind << 61 | len(block) << 48 | at, crc(page))

    def pad(self, to):
        n = -self.at % to
        self.out.write(bytes(n))
        self.at += n

    def file(self, stream, file, path, progress):
        """Stores a file; returns its index."""
        entries, left = [], file.size
        while left:
            data = stream.read(min(left, CHUNK))
            if not data:
                raise Refusal(f"{file.name}: {path} became shorter while it was read")
            left -= len(data)
            data += bytes(-len(data) % PAGE)
            entries += [self.put(data[i:i + PAGE]) for i in range(0, len(data), PAGE)]
            progress.add(len(data) // PAGE)
        index = b""
        for i in range(file.index_pages):
            part = b"".join(entries[i * ENTRIES:(i + 1) * ENTRIES]).ljust(PAGE - 4, b"\0")
            index += part + struct.pack("<I", crc(struct.pack("<Q", file.index + i * PAGE), part))
        return index


def write(out, inputs, what):
    """`inputs`: (name, path, stream, size)."""
    files, at = [], PAGE
    for name, _, _, size in inputs:
        files.append(File(name, size, at))
        at += files[-1].index_pages * PAGE
    progress = Progress(what, sum(f.pages for f in files))
    writer = Writer(out, at)
    indexes = [writer.file(stream, f, path, progress) for f, (_, path, stream, _) in zip(files, inputs)]
    writer.pad(SECTOR)
    out.seek(PAGE)
    out.write(b"".join(indexes))
    head = HEADER.pack(MAGIC, VERSION, len(files), writer.at, 0)
    directory = b"".join(FILE.pack(f.name.encode(), f.size, f.index) for f in files).ljust(PAGE - HEADER.size, b"\0")
    out.seek(0)
    out.write(head[:-4] + struct.pack("<I", crc(head[:-4], directory)) + directory)


def create(path, named):
    """`named`: [(name, path)]. The image appears under its name when it is whole."""
    for name, _ in named:
        if not NAME.fullmatch(name):
            raise Refusal(f"'{name}' cannot be a name: 1 to 63 letters, digits, '.', '_', '+' or '-'")
        if [n for n, _ in named].count(name) > 1:
            raise Refusal(f"the name '{name}' is given twice")
    if len(named) > MAX_FILES:
        raise Refusal(f"{len(named)} files: an image holds {MAX_FILES} at most")
    inputs, part = [], path + ".part"
    try:
        for name, source in named:
            inputs.append((name, source, *open_input(name, source)))
        with open(part, "wb") as out:
            write(out, inputs, f"create {path}")
        os.replace(part, path)
    except OSError as e:
        raise Refusal(f"cannot write {path}: {e.strerror}") from None
    finally:
        for _, _, stream, _ in inputs:
            stream.close()
        if os.path.exists(part):
            os.unlink(part)
