# SPDX-License-Identifier: BSD-2-Clause
"""Hypervisor, configuration and payloads as one arm64 Image: the other side of lib/image.h and of the guest binding."""

import os
import struct
from dataclasses import dataclass

from . import fdt, pageimage
from .common import PAGE, KIB, MIB, Refusal, align_up, read_file, show_size
from .options import IN_DISK, IN_IMAGE

HEADER = struct.Struct("<II QQQQQQ II QQQQQ")  # struct image_header of lib/image.h
IMAGE_MAGIC = 0x644D5241
INFO_MAGIC = 0x656C6968776E6165
RAW_OFFSET = 0x80000  # where a kernel without the Image magic is loaded, from the start of guest RAM
SWAP_NAME = "mwswap"  # the swap disk's serial number
MAX_GAP = 256 * MIB  # EL2's own memory behind the image file: more is a damaged header


class Hypervisor:
    """build/meanwhile.img and what its head says."""

    def __init__(self, path):
        self.path = path
        self.data = read_file(path, "hypervisor image")
        if len(self.data) < HEADER.size:
            raise Refusal(f"{path} is not a hypervisor image: too short")
        (_, _, self.text_offset, _, _, _, _, _, magic, _, info_magic, self.size, self.report_offset, config_offset,
         _) = HEADER.unpack_from(self.data)
        if magic != IMAGE_MAGIC or info_magic != INFO_MAGIC:
            raise Refusal(f"{path} is not a hypervisor image: wrong magic")
        if config_offset:
            raise Refusal(f"{path} has guests packed into it already")
        if not len(self.data) <= self.size <= len(self.data) + MAX_GAP or self.report_offset >= self.size:
            raise Refusal(f"{path} is not a hypervisor image: its sizes contradict one another")

    def load_offset(self):
        """Where QEMU puts the image, from the start of RAM: it keeps the first page for its own boot code, and moves an
        image that would overlap it up by 2 MiB (load_aarch64_image() in QEMU's hw/arm/boot.c)."""
        return self.text_offset + (2 * MIB if self.text_offset < PAGE else 0)


def kernel_end(head, size):
    """First byte of guest RAM behind a kernel of `size` bytes that begins with `head`, by the Linux boot protocol or,
    without the magic, as a raw image."""
    if len(head) >= 64:
        text_offset, image_size = struct.unpack_from("<QQ", head, 8)
        (magic,) = struct.unpack_from("<I", head, 56)
        if magic == IMAGE_MAGIC:
            return text_offset + max(image_size, size)
    return RAW_OFFSET + size


@dataclass
class Payload:
    """A guest's kernel or initrd."""

    key: tuple  # of what is packed: a page image that several use is one; () if nothing is
    path: str
    size: int  # 0: not known here
    head: bytes  # a page of it at least, or all
    name: str = ""  # in the page image at `path`; "": that is no page image
    disk: str = ""  # the name of the disk that holds that; "": it is packed


def load_payload(machine, guest, what, path):
    who = f"guest '{guest.name}': {what}"
    if path.startswith(IN_DISK):  # the disk may be anywhere: EL2 looks what is on it
        name = path.removeprefix(IN_DISK)
        if not pageimage.NAME.fullmatch(name):
            raise Refusal(f"{who} {path}: '{name}' cannot be the name of a file in a page image")
        return Payload((), guest.disk, 0, b"", name, f"mw{machine.disks.index(guest.disk)}")
    if not path.startswith(IN_IMAGE):
        data = read_file(path, who, guest.memory)
        if not data:
            raise Refusal(f"{who} {path} is empty")
        return Payload((guest.name, what), path, len(data), data)
    name = path.removeprefix(IN_IMAGE)
    try:
        with pageimage.Image(guest.image) as f:
            file = f.find(name)
            return Payload((os.path.realpath(guest.image),), guest.image, file.size, f.page(file, 0)[:file.size], name)
    except pageimage.BadImage as e:
        raise Refusal(f"{who} {path}: {guest.image}: {e}") from None


def load_payloads(machine, guest):
    """Reads the guest's files, and refuses what cannot fit before a machine is started; EL2 checks again."""
    kernel = load_payload(machine, guest, "kernel", guest.kernel)
    if kernel.head[:2] == b"\x1f\x8b":
        raise Refusal(f"guest '{guest.name}': kernel {guest.kernel} is compressed with gzip: unpack it first")
    end = align_up(kernel_end(kernel.head, kernel.size), PAGE)
    if end > guest.memory:
        raise Refusal(f"guest '{guest.name}': kernel {guest.kernel} does not fit: it needs {show_size(end)} of RAM,"
                      f" the guest has {show_size(guest.memory)}")
    if not guest.initrd:
        return [kernel]
    initrd = load_payload(machine, guest, "initrd", guest.initrd)
    if end + initrd.size > guest.memory:
        raise Refusal(f"guest '{guest.name}': initrd {guest.initrd} does not fit: kernel and initrd need"
                      f" {show_size(align_up(end + initrd.size, KIB))} of RAM, the guest has {show_size(guest.memory)}")
    return [kernel, initrd]


MODULES = (("multiboot,kernel", "multiboot,module"), ("multiboot,ramdisk", "multiboot,module"))


def guest_node(guest, payloads, places):
    """`payloads`: the kernel and, if there is one, the initrd. `places`: (offset, size) of what was packed, by key."""
    props = {
        "compatible": fdt.strings("meanwhile,guest"),
        "#address-cells": fdt.cells(2),
        "#size-cells": fdt.cells(2),
        "cpus": fdt.cells(guest.cpus),
        "memory": fdt.cells64(guest.memory // KIB),
        "bootargs": fdt.strings(guest.append),
        "identity": fdt.strings(guest.identity),
        "populate-granule": fdt.cells(guest.populate_granule),
    }
    if guest.resident:
        props["resident"] = fdt.cells64(guest.resident // KIB)
    if guest.no_reboot:
        props["no-reboot"] = b""
    modules = []
    for i, payload in enumerate(payloads):
        module = {"compatible": fdt.strings(*MODULES[i])}
        if payload.disk:
            module["disk"] = fdt.strings(payload.disk)
        else:
            module["reg"] = fdt.cells64(*places[payload.key])
        if payload.name:
            module["image-name"] = fdt.strings(payload.name)
        modules.append(fdt.Node(f"module-{i}" if payload.disk else f"module@{i}", module))
    return fdt.Node(guest.name, props, modules)


def config_tree(machine, guests, payloads, places):
    two = {"#address-cells": fdt.cells(2), "#size-cells": fdt.cells(2)}
    props = {"compatible": fdt.strings("meanwhile,config"), "helpers": fdt.cells(machine.helpers)}
    if machine.quiet:
        props["quiet"] = b""
    if machine.swap:
        props["swap"] = fdt.strings(SWAP_NAME)
    if machine.store >= 0:
        props["store"] = fdt.cells64(machine.store // KIB)
    props["pause-after"] = fdt.cells(machine.pause_after)
    if machine.no_read_ahead:
        props["no-read-ahead"] = b""
    if machine.plain_waits:
        props["plain-waits"] = b""
    config = fdt.Node("meanwhile", props)
    nodes = [guest_node(g, p, places) for g, p in zip(guests, payloads)]
    return fdt.serialise(fdt.Node("", two, [fdt.Node("chosen", two, [config] + nodes)]))


def pack(hypervisor, machine, guests):
    """The packed image, as bytes."""
    payloads = [load_payloads(machine, g) for g in guests]
    files = {p.key: p for payload in payloads for p in payload if not p.disk}
    files = {key: read_file(p.path, "page image") if p.name else p.head for key, p in files.items()}
    config_offset = align_up(hypervisor.size, PAGE)
    # Offsets are of fixed width, so the tree has its final size before they are known.
    config_size = len(config_tree(machine, guests, payloads, dict.fromkeys(files, (0, 0))))
    offset = align_up(config_offset + config_size, PAGE)
    places = {}
    for key, data in files.items():
        places[key] = (offset, len(data))
        offset = align_up(offset + len(data), PAGE)

    image = bytearray(offset)
    image[:len(hypervisor.data)] = hypervisor.data
    image[config_offset:config_offset + config_size] = config_tree(machine, guests, payloads, places)
    for key, (start, size) in places.items():
        image[start:start + size] = files[key]
    struct.pack_into("<Q", image, 16, offset)  # image_size
    struct.pack_into("<QQ", image, 88, config_offset, config_size)
    return image
