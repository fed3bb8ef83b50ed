# SPDX-License-Identifier: BSD-2-Clause
"""A flattened device tree, version 17, written from a tree of nodes (Devicetree Specification 0.3, chapter 5)."""

import struct

MAGIC = 0xD00DFEED
BEGIN_NODE, END_NODE, PROP, END = 1, 2, 3, 9


class Node:
    """A node: `props` maps names to bytes (see cells() and strings()), `children` is a list of nodes, in order."""

    def __init__(self, name, props=None, children=None):
        self.name = name
        self.props = dict(props or {})
        self.children = list(children or [])


def cells(*values):
    return struct.pack(f">{len(values)}I", *values)


def cells64(*values):
    return struct.pack(f">{len(values)}Q", *values)


def strings(*values):
    """Strings may be str or, where they come from a command line in whatever encoding, bytes."""
    return b"".join((v.encode() if isinstance(v, str) else v) + b"\0" for v in values)


def serialise(root):
    names = {}  # property name -> offset in the strings block
    table = bytearray()
    body = bytearray()

    def pad():
        body.extend(b"\0" * (-len(body) % 4))

    def emit(node):
        body.extend(cells(BEGIN_NODE) + strings(node.name))
        pad()
        for name, value in node.props.items():
            if name not in names:
                names[name] = len(table)
                table.extend(strings(name))
            body.extend(cells(PROP, len(value), names[name]) + value)
            pad()
        for child in node.children:
            emit(child)
        body.extend(cells(END_NODE))

    emit(root)
    body.extend(cells(END))
    reserve = b"\0" * 16  # an empty memory reservation block is its terminator alone
    header_size = 40
    struct_offset = header_size + len(reserve)
    strings_offset = struct_offset + len(body)
    total = strings_offset + len(table)
    header = cells(MAGIC, total, struct_offset, strings_offset, header_size, 17, 16, 0, len(table), len(body))
    return header + reserve + bytes(body) + bytes(table)
