# SPDX-License-Identifier: BSD-2-Clause
"""fake_el2(): images that stand in for the hypervisor, for the launcher's own tests. image(): page images of bare guests."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path.insert(0, str(ROOT / "tests" / "fuzz"))

import page_images  # noqa: E402 - the path must be set first


@pytest.fixture(scope="session")
def fake_el2(tmp_path_factory):
    """fake_el2(end, result, status, text_offset) -> the environment that makes mw start such an image."""
    folder = tmp_path_factory.mktemp("fake_el2")
    prefix = "aarch64-none-elf-" if shutil.which("aarch64-none-elf-gcc") else "aarch64-linux-gnu-"

    def build(end, result="REPORT_OFF", status="GUEST_OFF", text_offset=0):
        name = folder / f"{end}-{result}-{status}-{text_offset}"
        image = name.with_suffix(".img")
        if not image.exists():
            subprocess.run([f"{prefix}gcc", "-std=gnu17", "-Wall", "-Wextra", "-Werror", "-march=armv8-a",
                            "-mgeneral-regs-only", "-mstrict-align", "-ffreestanding", "-fno-pie", "-fno-stack-protector", "-O2",
                            "-nostdlib", "-static", "-no-pie", "-Wl,--build-id=none,--no-warn-rwx-segments", "-I", str(ROOT),
                            f"-DEND=END_{end}", f"-DRESULT={result}", f"-DSTATUS={status}",
                            f"-DTEXT_OFFSET={text_offset}", "-T", str(HERE / "fake_el2.ld"), "-o", f"{name}.elf", str(HERE / "fake_el2.c")],
                           check=True)
            subprocess.run([f"{prefix}objcopy", "-O", "binary", f"{name}.elf", str(image)], check=True)
        return {"MW_IMAGE": str(image)}

    return build


@pytest.fixture
def image(tmp_path, guest_image):
    """image("ramdisk", data) -> a page image with that bare guest as `kernel` and the bytes as `disk`."""

    def write(guest, data=None):
        path = tmp_path / f"{guest}.mwi"
        files = [("kernel", guest_image(guest).read_bytes()), *([("disk", data)] if data else [])]
        path.write_bytes(page_images.pack(*files))
        return path

    return write
