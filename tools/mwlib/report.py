# SPDX-License-Identifier: BSD-2-Clause
"""Reads EL2's report (lib/report.h) out of the machine's RAM.

Its place is computed from the image's head and never searched for: a guest could write a report of its own into its
RAM, but not into EL2's.
"""

import struct

from .common import BLOCK, MIB, PAGE

MAGIC = 0x74726F706572776D
VERSION = 1
HEAD = struct.Struct("<QII I3I 6I QQQ96sQ")
GUEST = struct.Struct("<32sII Qqq96sQQ 19Q QQ")
WAITS = 36  # REPORT_WAITS
APF = ("injected", "ready", "waits", "refused_walk", "refused_masked", "refused_kernel", "refused_no_room", "refused_alone")
ORIGINS = 8  # REPORT_ORIGINS
VCPU = struct.Struct(f"<II 5Q 7Q qqQQ Q 3Q 3Q {len(APF)}Q {WAITS}Q {2 * ORIGINS}Q")
HELPER = struct.Struct("<II 6Q Q 5Q 8Q")
MAX_ENTRIES = 4096  # of one array: more is a damaged report

RUNNING, OFF, PANIC, ENDED, NO_BOOT = range(5)
GUEST_OFF, GUEST_REFUSED, GUEST_DESTROYED, GUEST_RESET = 2, 3, 4, 5
STATUS_NAMES = {0: "absent", 1: "running", 2: "off", 3: "refused", 4: "destroyed", 5: "reset"}

FAULTS = ("fast", "queued", "waited", "mmio", "nowhere")
PAGING = ("limit_pages", "resident_pages", "evicted_clean", "evicted_zero", "evicted_same", "evicted_store", "evicted_swap",
          "evicted_put_back", "brought_same", "brought_store", "brought_swap", "brought_source", "ahead_pages", "ahead_missed",
          "ahead_window", "starved", "tlb_rounds", "pauses", "refused")
STORE = ("bytes", "pages", "stored_bytes", "incompressible", "full")
SWAP = ("slots", "used", "written_pages", "writes", "reads", "read_early", "read_errors", "write_errors")
EXITS = ("hvc", "smc", "sysreg", "abort", "wfx", "irq", "other")


def text(raw):
    """A C string for one line of a terminal."""
    return "".join(c if c.isprintable() else "?" for c in raw.split(b"\0")[0].decode("utf-8", "replace"))


def origins(counts):
    """What a guest was told of, by where it came from: apf_from of lib/report.h."""
    fetches = counts[ORIGINS:]
    both = [a + b for a, b in zip(counts, fetches)]
    return {"fetches": sum(fetches), "from_el0": both[0] + both[4], "from_el1": both[1], "from_aarch32": both[4]}


class Report:
    """`ram` is the machine's RAM (any buffer), `offset` the report's place in it.

    `valid` is false if EL2 never wrote one."""

    def __init__(self, ram, offset):
        self.valid = False
        self.result = RUNNING
        self.reason = ""
        self.guests, self.helpers = [], []
        self.places = []  # of each guest: PA of its stage-2 root, IPA of its RAM, pages of it
        self.counter_hz = self.entry_ticks = self.first_guest_ticks = self.image_base = 0
        self.shared_locks = 0
        self.store, self.swap = dict.fromkeys(STORE, 0), dict.fromkeys(SWAP, 0)
        if offset + HEAD.size > len(ram):
            return
        (magic, version, size, result, guests, vcpus, helpers, guest_at, guest_stride, vcpu_at, vcpu_stride, helper_at,
         helper_stride, self.counter_hz, self.entry_ticks, self.first_guest_ticks, reason,
         self.image_base) = HEAD.unpack_from(ram, offset)
        if magic != MAGIC or version < VERSION or offset + size > len(ram):
            return

        def entries(layout, at, stride, count):
            if count > MAX_ENTRIES or stride < layout.size or at + stride * count > size:
                raise ValueError
            return [layout.unpack_from(ram, offset + at + i * stride) for i in range(count)]

        try:
            guest_rows = entries(GUEST, guest_at, guest_stride, guests)
            vcpu_rows = entries(VCPU, vcpu_at, vcpu_stride, vcpus)
            helper_rows = entries(HELPER, helper_at, helper_stride, helpers)
        except ValueError:
            return
        self.valid = True
        self.result = result
        self.reason = text(reason)
        self.guests = [self._guest(i, row, vcpu_rows) for i, row in enumerate(guest_rows)]
        names = ("core", None, "zeroed_pages", "populated_pages", "promoted_blocks", "busy_ns", "requests", "shared_locks",
                 "unreadable_pages")
        self.helpers = [{n: v for n, v in zip(names, row) if n} for row in helper_rows]
        if helper_rows:  # the first one's
            self.store = dict(zip(STORE, helper_rows[0][9:14]))
            self.swap = dict(zip(SWAP, helper_rows[0][14:22]))
        self.shared_locks = sum(row[17] for row in vcpu_rows) + sum(row[7] for row in helper_rows)

    def _guest(self, index, row, vcpu_rows):
        name, status, vcpus, ram_pages, touched, block, reason, filled, resets, *paging, root, ram_base = row
        self.places.append((root, ram_base, ram_pages))
        mine = [v for v in vcpu_rows if v[0] == index]
        return {
            "name": text(name),
            "status": STATUS_NAMES.get(status, str(status)),
            "reason": text(reason),
            "vcpus": vcpus,
            "ram_pages": ram_pages,
            "touched_pages": touched + sum(v[14] for v in mine),
            "block_pages": block + sum(v[15] for v in mine),
            "filled_before_start": filled,
            "resets": resets,
            "wait_ns": sum(v[16] for v in mine),
            "unreadable_faults": sum(v[18] for v in mine),
            "given_back_pages": sum(v[19] for v in mine),
            "give_back_kept_pages": sum(v[20] for v in mine),
            "give_back_rounds": sum(v[21] for v in mine),
            "paging": dict(zip(PAGING, paging)) | {
                "rejuvenated": sum(v[22] for v in mine), "ahead_hits": sum(v[23] for v in mine)},
            "interrupted_waits": sum(v[24] for v in mine),
            "async_faults": {n: sum(v[25 + i] for v in mine) for i, n in enumerate(APF)} | origins(
                [sum(v[25 + len(APF) + WAITS + i] for v in mine) for i in range(2 * ORIGINS)]),
            "wait_log2_ns": [sum(v[25 + len(APF) + i] for v in mine) for i in range(WAITS)],
            "faults": {n: sum(v[2 + i] for v in mine) for i, n in enumerate(FAULTS)},
            "exits": {n: sum(v[7 + i] for v in mine) for i, n in enumerate(EXITS)},
        }

    def stats(self, result, reason):
        """What `--stats` writes: keys are only ever added. `reason` is why the run ended, "" if all is well."""
        return {
            "schema": 1,
            "result": result,
            "reason": reason,
            "guests": self.guests,
            "helpers": self.helpers,
            "store": self.store,
            "swap": self.swap,
            "shared_locks_on_fault_path": self.shared_locks,
            "counter_hz": self.counter_hz,
            "entry_ticks": self.entry_ticks,
            "first_guest_ticks": self.first_guest_ticks,
            "image_base": self.image_base,
        }

    def population(self):
        """The lines shown at power-off."""
        for g in self.guests:
            touched, blocks, faults = g["touched_pages"], g["block_pages"], g["faults"]
            share = 100 * blocks / touched if touched else 0
            yield (f"{g['name']}: touched {touched * PAGE / MIB:.1f} of {g['ram_pages'] * PAGE / MIB:.0f} MiB"
                   f" of its RAM ({touched} pages), {share:.1f} % of that in {BLOCK // MIB} MiB blocks")
            yield (f"{g['name']}: page faults: {faults['fast']} mapped at once, {faults['queued']} queued to a helper"
                   f" ({faults['waited']} of them waited, {g['wait_ns'] / 1e6:.1f} ms in all);"
                   f" {faults['mmio']} device accesses, {faults['nowhere']} to nowhere")
            p = g["paging"]
            if p["limit_pages"]:
                out = {n: p["evicted_" + n] for n in ("clean", "zero", "same", "store", "swap")}
                yield (f"{g['name']}: at most {p['limit_pages'] * PAGE / MIB:.0f} MiB at once, {p['resident_pages'] * PAGE / MIB:.1f} now;"
                       f" {sum(out.values())} pages evicted ({', '.join(f'{v} {n}' for n, v in out.items())}),"
                       f" {p['brought_source']} read again or first, {p['brought_same'] + p['brought_store'] + p['brought_swap']} brought back")
        if self.store["pages"] or self.swap["written_pages"]:
            yield (f"compressed store: {self.store['pages']} pages in {self.store['stored_bytes'] / MIB:.1f} of {self.store['bytes'] / MIB:.0f} MiB;"
                   f" swap disk: {self.swap['used']} of {self.swap['slots']} pages used, {self.swap['written_pages']} written in"
                   f" {self.swap['writes']} writes, {self.swap['reads']} reads")
        for h in self.helpers:
            yield (f"helper on core {h['core']}: {h['zeroed_pages']} pages zeroed, {h['populated_pages']} populated,"
                   f" {h['promoted_blocks']} blocks promoted, busy for {h['busy_ns'] / 1e6:.1f} ms")
