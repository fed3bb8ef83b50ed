# SPDX-License-Identifier: BSD-2-Clause
"""The device-tree bindings in dts/, by Debian's dt-schema: they are schemas, and the trees we write and read keep to them.

`-l meanwhile,` leaves dt-schema's own schemas out: the one of /chosen knows no children such as ours (nor Xen's).
"""

import re
import struct
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
DTS = ROOT / "dts"


def validate(blob):
    """({node: schema it matched}, complaints)"""
    done = subprocess.run(["dt-validate", "-M", "-s", str(DTS), "-l", "meanwhile,", str(blob)], capture_output=True, text=True,
                          check=False)
    out = done.stdout + done.stderr
    matched = re.findall(r"^\S+: (\S+): matched on schema\(s\)\n\s+http://devicetree.org/schemas/(meanwhile,\w+)\.yaml#$", out, re.M)
    rest = re.sub(r"^\S+: \S+: matched on schema\(s\)\n(\s+http\S+\n)+", "", out, flags=re.M)
    return dict(matched), rest


def compile_dts(text, path):
    subprocess.run(["dtc", "-q", "-I", "dts", "-O", "dtb", "-o", str(path), "-"], input=text, text=True, check=True)
    return path


def test_schemas():
    files = sorted(map(str, DTS.glob("*.yaml")))
    assert len(files) == 3
    done = subprocess.run(["dt-doc-validate", "-u", str(DTS), *files], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_example(tmp_path):
    matched, complaints = validate(compile_dts((DTS / "example.dts").read_text(), tmp_path / "example.dtb"))
    assert complaints == ""
    assert matched == {"/chosen/meanwhile": "meanwhile,config", "/chosen/debian": "meanwhile,guest",
                       "/chosen/lazy": "meanwhile,guest", "/chosen/control": "meanwhile,guest"}


@pytest.mark.parametrize("old, new", [
    ("cpus = <2>;", "cpus = <17>;"), ("cpus = <2>;", ""), ("debian {", "de.bian {"), ("cpus = <2>;", "cpus = <2>; colour;"),
    ("helpers = <1>;", "helpers = <32>;"), ("populate-granule = <0x1000>;", "populate-granule = <0x10000>;"),
    ('"multiboot,kernel", ', '"multiboot,firmware", '),
    ("reg = <0x0 0x400000 0x0 0x1f6e000>;", 'reg = <0x0 0x400000 0x0 0x1f6e000>; image-name = "a/b";'),
    ("reg = <0x0 0x400000 0x0 0x1f6e000>;", 'reg = <0x0 0x400000 0x0 0x1f6e000>; image-name;'),
    ('disk = "debian";', ""), ('image-name = "vmlinuz";', ""), ('disk = "debian";', 'disk = "";'),
    ('disk = "debian";', 'disk = "debian"; reg = <0x0 0x400000 0x0 0x1000>;'),
    ("reg = <0x0 0x400000 0x0 0x1f6e000>;", 'reg = <0x0 0x400000 0x0 0x1f6e000>; disk = "debian";'),
])
def test_schemas_refuse(tmp_path, old, new):
    text = (DTS / "example.dts").read_text()
    assert old in text
    _, complaints = validate(compile_dts(text.replace(old, new, 1), tmp_path / "bad.dtb"))
    assert "From schema" in complaints


def test_guest_tree(tmp_path):
    """What a guest is told about its hypervisor."""
    blob = tmp_path / "guest.dtb"
    subprocess.run([ROOT / "build" / "unit" / "test_guest_dt", blob], check=True)
    matched, complaints = validate(blob)
    assert (matched, complaints) == ({"/hypervisor": "meanwhile,hypervisor"}, "")


def test_packed_tree(mw, tmp_path, guest_image):
    """What tools/mw writes for the hypervisor to read."""
    config = tmp_path / "two.toml"
    config.write_text("".join(f'[[guest]]\nname = "{n}"\nkernel = "{guest_image("hello")}"\nno-reboot = {r}\n'
                              for n, r in (("a", "true"), ("b", "false"))))
    packed = tmp_path / "packed.img"
    assert mw("pack", "-o", packed, "--config", config, "--quiet").code == 0
    image = packed.read_bytes()
    offset, size = struct.unpack_from("<QQ", image, 88)
    blob = tmp_path / "config.dtb"
    blob.write_bytes(image[offset:offset + size])
    matched, complaints = validate(blob)
    assert complaints == ""
    assert matched == {"/chosen/meanwhile": "meanwhile,config", "/chosen/a": "meanwhile,guest", "/chosen/b": "meanwhile,guest"}


def test_packed_tree_with_a_page_image(mw, tmp_path, guest_image):
    page_image, packed, blob = tmp_path / "f.mwi", tmp_path / "packed.img", tmp_path / "config.dtb"
    assert mw("image", "create", "-o", page_image, f"kernel={guest_image('hello')}", f"disk={guest_image('irq')}").code == 0
    assert mw("pack", "-o", packed, "--image", page_image, "--kernel", "image:kernel", "--initrd", "image:disk").code == 0
    image = packed.read_bytes()
    offset, size = struct.unpack_from("<QQ", image, 88)
    blob.write_bytes(image[offset:offset + size])
    matched, complaints = validate(blob)
    assert (matched, complaints) == ({"/chosen/meanwhile": "meanwhile,config", "/chosen/guest": "meanwhile,guest"}, "")
    tree = subprocess.run(["dtc", "-q", "-I", "dtb", "-O", "dts", blob], capture_output=True, text=True, check=True).stdout
    assert re.findall(r'image-name = "(.*)";', tree) == ["kernel", "disk"]
    places = re.findall(r"reg = <0x00 (0x[0-9a-f]+) 0x00 (0x[0-9a-f]+)>;", tree)
    assert places[0] == places[1]  # it is there once
    at, length = (int(n, 16) for n in places[0])
    assert image[at:at + length] == page_image.read_bytes()
