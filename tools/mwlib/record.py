# SPDX-License-Identifier: BSD-2-Clause
"""Records a run for `mw report`: now and then what each guest's pages are, and the counters.

Nothing in the hypervisor is asked: the stage-2 tables and the report lie in the machine's RAM, which the launcher maps. The
hypervisor goes on while they are read, so a sample is not of one moment; each of its pages was what it says at some moment.

The file has a line of JSON for each sample. The first is about the run."""

import array
import json
import time
from collections import Counter

from . import report
from .common import PAGE, Refusal

SCHEMA = 1
RAM_BASE = 0x40000000  # of QEMU's virt machine
ENTRIES = 512

# What a page can be, in the order in which pictures have them. The descriptor's bits are those of mm/desc.h.
KINDS = ("block", "young", "cold", "moving", "store", "swap", "same", "source", "zero", "other")
ADDRESS = 0xFFFFFFFFF000
VALID, TABLE, ACCESSED = 1, 2, 1 << 10
ABSENT_KINDS = {0: "zero", 2: "moving", 3: "moving", 4: "other", 5: "other", 6: "other"}  # enum desc_kind; 1 is ABSENT
BACKINGS = {0xFD: "same", 0xFE: "store", 0xFF: "swap"}  # enum backing


def kind_of(low, level):
    """By the low 12 bits of a descriptor that is no table."""
    if low & VALID:
        return "block" if level < 3 else "young" if low & ACCESSED else "cold"
    kind = low >> 1 & 7
    return BACKINGS.get(low >> 4, "source") if kind == 1 else ABSENT_KINDS.get(kind, "other")


PAGE_KINDS = [KINDS.index(kind_of(low, 3)) for low in range(4096)]


class Map:
    """A guest's RAM, region by region of 2 MiB."""

    def __init__(self, ram, root, ram_base, pages):
        self.ram, self.root, self.first = ram, root, ram_base
        self.regions = (pages + ENTRIES - 1) // ENTRIES
        self.known = {}  # place of a table: its bytes, and what they came to

    def table(self, at):
        offset = (at & ADDRESS) - RAM_BASE
        raw = self.ram[offset:offset + PAGE] if 0 <= offset <= len(self.ram) - PAGE else bytes(PAGE)
        return raw

    def pages(self, at):
        """How many pages of each kind a level-3 table has. Most tables are as they were at the last look."""
        raw = self.table(at)
        known = self.known.get(at)
        if known and known[0] == raw:
            return known[1]
        counts = [0] * len(KINDS)
        for low, n in Counter([d & 0xFFF for d in array.array("Q", raw)]).items():
            counts[PAGE_KINDS[low]] += n
        self.known[at] = raw, counts
        return counts

    def look(self):
        """For each region the number of pages of each kind."""
        root, level2, tables = array.array("Q", self.table(self.root)), None, {}
        out = []
        for region in range(self.regions):
            at = self.first + region * ENTRIES * PAGE
            entry, level = root[at >> 30 & 511], 1
            if entry & (VALID | TABLE) == (VALID | TABLE):
                if entry not in tables:
                    tables[entry] = array.array("Q", self.table(entry))
                level2 = tables[entry]
                entry, level = level2[at >> 21 & 511], 2
            if level == 2 and entry & (VALID | TABLE) == (VALID | TABLE):
                out.append(self.pages(entry))
                continue
            counts = [0] * len(KINDS)
            counts[KINDS.index(kind_of(entry & 0xFFF, level))] = ENTRIES
            out.append(counts)
        return out


class Recorder:
    """Writes samples to `path`, one each `every` seconds. `ram` is the machine's, `offset` the report's place in it."""

    def __init__(self, path, ram, offset, every):
        self.ram, self.offset, self.every = ram, offset, every
        self.maps = None
        self.start = self.due = time.monotonic()
        try:
            self.file = open(path, "w", encoding="utf-8")
        except OSError as e:
            raise Refusal(f"record: cannot write {path}: {e.strerror}") from None

    def write(self, record):
        self.file.write(json.dumps(record, separators=(",", ":")) + "\n")

    def sample(self):
        """If it is time for one."""
        now = time.monotonic()
        if now < self.due:
            return
        self.due = now + self.every
        rep = report.Report(self.ram, self.offset)
        if not rep.valid or not rep.guests or not rep.first_guest_ticks:
            return  # it is still starting
        if self.maps is None:
            self.maps = [Map(self.ram, *place) for place in rep.places]
            self.write({"schema": SCHEMA, "kinds": KINDS, "region_pages": ENTRIES, "guests": [
                {"name": g["name"], "vcpus": g["vcpus"], "ram_pages": g["ram_pages"], "limit_pages": g["paging"]["limit_pages"]}
                for g in rep.guests], "helpers": len(rep.helpers)})
        stats = rep.stats("running", "")
        self.write({"t": round(now - self.start, 4), "maps": [m.look() if m.root else [] for m in self.maps],
                    **{key: stats[key] for key in ("guests", "helpers", "store", "swap")}})
        # The next one after a rest that is long beside this one, so that looking costs the machine little.
        self.due = max(self.due, time.monotonic() + 4 * (time.monotonic() - now))

    def close(self, result):
        self.due = 0
        self.sample()
        self.write({"result": result})
        self.file.close()
