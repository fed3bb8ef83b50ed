# SPDX-License-Identifier: BSD-2-Clause
"""`mw report`: one HTML page from a recorded run (record.py), with its pictures in it as SVG."""

import html
import io
import json
import os
import sys

from .common import MIB, PAGE, Refusal
from .record import KINDS, SCHEMA

LABELS = {"block": "present, in 2 MiB blocks", "young": "present, in use", "cold": "present, cold", "moving": "on its way",
          "store": "compressed", "swap": "swapped out", "same": "one word all over", "source": "still in its image",
          "zero": "zero, no frame", "other": "no RAM, or unreadable"}
# Okabe and Ito's palette: told apart by everybody. What takes no RAM is pale.
COLOURS = {"block": "#0072B2", "young": "#56B4E9", "cold": "#CFE8F7", "moving": "#000000", "store": "#E69F00", "swap": "#D55E00",
           "same": "#F0E442", "source": "#009E73", "zero": "#EEEEEE", "other": "#AAAAAA"}
WIDTH = 9.5  # inches
STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #222; max-width: 1000px; margin: 2em auto; padding: 0 1em; }
h1 { font-size: 1.5em; } h2 { font-size: 1.25em; margin-top: 2em; border-top: 1px solid #ccc; padding-top: 1em; }
h3 { font-size: 1em; margin: 1.5em 0 0; } p { margin: .3em 0; } svg { width: 100%; height: auto; }
table { border-collapse: collapse; margin: 1em 0; } td, th { padding: .15em 1.2em .15em 0; text-align: left; }
td.n { text-align: right; font-variant-numeric: tabular-nums; } .note { color: #666; }
"""


class BadRecord(Exception):
    """A file that is no record, or an unfinished one with no sample in it."""


class Recorded:
    def __init__(self, head, samples, result):
        self.head, self.samples, self.result = head, samples, result
        self.times = [s["t"] for s in samples]


def read(path):
    """A record that was cut off is read as far as it goes."""
    head, samples, result = None, [], "unknown: the record ends before the run"
    try:
        with open(path, encoding="utf-8") as f:
            for line in f:
                try:
                    row = json.loads(line)
                    if head is None:
                        if row["schema"] != SCHEMA or row["kinds"] != list(KINDS):
                            raise BadRecord("a record of another version")
                        head = row
                    elif "t" in row:
                        if len(row["maps"]) != len(head["guests"]) or len(row["guests"]) != len(head["guests"]):
                            raise BadRecord("a sample that is not of these guests")
                        samples.append(row)
                    elif "result" in row:
                        result = row["result"]
                except (ValueError, KeyError, TypeError):
                    if head is None:
                        raise BadRecord("not a record of mw run --record") from None
                    break
    except (OSError, UnicodeDecodeError) as e:
        raise Refusal(f"cannot read {path}: {getattr(e, 'strerror', e)}") from None
    if not samples:
        raise BadRecord("there is no sample in it: the run was over before the first" if head else "not a record of mw run --record")
    return Recorded(head, samples, result)


# ---- pictures


def plotting():
    try:
        os.environ.setdefault("MPLBACKEND", "svg")
        import matplotlib.pyplot as plt
    except ImportError:
        raise Refusal(f"{sys.executable} has no matplotlib: mw setup installs it for Debian's own, /usr/bin/python3") from None
    plt.rcParams.update({"svg.fonttype": "none", "font.family": "sans-serif", "font.size": 9, "axes.spines.top": False,
                         "axes.spines.right": False, "svg.hashsalt": "mw"})
    return plt


def svg(plt, figure):
    out = io.StringIO()
    figure.savefig(out, format="svg", bbox_inches="tight", metadata={"Date": None, "Creator": None})
    plt.close(figure)
    text = out.getvalue()
    return text[text.index("<svg"):]


def totals(run, guest, kind):
    """MiB of one kind at each time."""
    n = KINDS.index(kind)
    return [sum(region[n] for region in s["maps"][guest]) * PAGE / MIB for s in run.samples]


def pages_over_time(plt, run, guest):
    figure, axes = plt.subplots(figsize=(WIDTH, 3.2))
    series = {kind: totals(run, guest, kind) for kind in KINDS}
    shown = [kind for kind in KINDS if any(series[kind])]
    axes.stackplot(run.times, *(series[k] for k in shown), labels=[LABELS[k] for k in shown], colors=[COLOURS[k] for k in shown])
    limit = run.head["guests"][guest]["limit_pages"] * PAGE / MIB
    if limit:
        axes.axhline(limit, color="black", linewidth=1, linestyle="--", label="residency limit")
    axes.set(xlabel="seconds", ylabel="MiB of the guest's RAM", xlim=(run.times[0], max(run.times[-1], run.times[0] + 0.1)),
             ylim=(0, run.head["guests"][guest]["ram_pages"] * PAGE / MIB))
    axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False)
    return svg(plt, figure)


def address_map(plt, run, guest):
    """Each region of 2 MiB, over time, in the colour of what most of its pages are; zero pages count only where there is nothing
    else, since they are everywhere."""
    from matplotlib.colors import ListedColormap
    from matplotlib.patches import Patch

    zero = KINDS.index("zero")

    def most(region):
        others = [n if i != zero else 0 for i, n in enumerate(region)]
        return others.index(max(others)) if any(others) else zero

    columns = [[most(region) for region in s["maps"][guest]] for s in run.samples]
    grid = list(zip(*columns))
    figure, axes = plt.subplots(figsize=(WIDTH, 3.2))
    height = len(grid) * run.head["region_pages"] * PAGE / MIB
    axes.imshow(grid, aspect="auto", origin="lower", interpolation="nearest", cmap=ListedColormap([COLOURS[k] for k in KINDS]),
                vmin=-0.5, vmax=len(KINDS) - 0.5, extent=(run.times[0], max(run.times[-1], run.times[0] + 0.1), 0, height))
    axes.set(xlabel="seconds", ylabel="MiB from the start of its RAM")
    shown = sorted({k for column in columns for k in column})
    axes.legend(handles=[Patch(facecolor=COLOURS[KINDS[k]], edgecolor="#999", label=LABELS[KINDS[k]]) for k in shown],
                loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False)
    return svg(plt, figure)


def duration(ns):
    for unit, size in (("s", 1e9), ("ms", 1e6), ("µs", 1e3)):
        if ns >= size:
            return f"{ns / size:.3g} {unit}"
    return f"{ns:.0f} ns"


def latencies(plt, waits):
    first = next(i for i, n in enumerate(waits) if n)
    last = max(i for i, n in enumerate(waits) if n)
    figure, axes = plt.subplots(figsize=(WIDTH, 2.6))
    places = list(range(first, last + 1))
    axes.bar(places, [waits[i] for i in places], width=0.9, color=COLOURS["block"])
    axes.set_yscale("log")
    axes.set_xticks(places, [duration(2 ** i) for i in places], rotation=45)
    axes.set(xlabel="waited for so long, and up to twice as long", ylabel="faults")
    return svg(plt, figure)


def rates(run, value):
    """Between each two samples: the rise of `value(sample)` per second."""
    for a, b in zip(run.samples, run.samples[1:]):
        yield (value(b) - value(a)) / max(b["t"] - a["t"], 1e-6)


def helper_use(plt, run):
    figure, axes = plt.subplots(figsize=(WIDTH, 2.4))
    for n, helper in enumerate(run.samples[-1]["helpers"]):
        busy = [min(100.0, 100 * r / 1e9) for r in rates(run, lambda s, n=n: s["helpers"][n]["busy_ns"])]
        axes.plot(run.times[1:], busy, label=f"helper on core {helper['core']}", color=list(COLOURS.values())[(0, 5, 7, 4)[n % 4]])
    axes.set(xlabel="seconds", ylabel="% of the time busy", ylim=(0, 102))
    axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False)
    return svg(plt, figure)


def faults_over_time(plt, run, guest):
    figure, axes = plt.subplots(figsize=(WIDTH, 2.4))
    for name, label, colour in (("fast", "mapped at once", "young"), ("queued", "asked of a helper", "block"), ("waited", "and slept for", "swap")):
        axes.plot(run.times[1:], list(rates(run, lambda s, n=name: s["guests"][guest]["faults"][n])), label=label, color=COLOURS[colour])
    axes.set(xlabel="seconds", ylabel="page faults a second")
    axes.set_ylim(bottom=0)
    axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False)
    return svg(plt, figure)


# ---- words


def table(rows):
    cells = "".join(f"<tr><td>{html.escape(name)}</td><td class=n>{value:,}</td></tr>" for name, value in rows)
    return f"<table>{cells}</table>"


PAGING_ROWS = (("pages that it may hold at once", "limit_pages"), ("evicted: content elsewhere already", "evicted_clean"),
               ("evicted: zeroes", "evicted_zero"), ("evicted: one word all over", "evicted_same"), ("evicted: compressed", "evicted_store"),
               ("evicted: swapped out", "evicted_swap"), ("put back, since they were touched", "evicted_put_back"),
               ("stayed, since there was no place for them", "refused"),
               ("read from an image", "brought_source"), ("brought back from the store", "brought_store"),
               ("brought back from the swap disk", "brought_swap"), ("read ahead", "ahead_pages"), ("of those, touched", "ahead_hits"),
               ("of those, evicted untouched", "ahead_missed"), ("requests that found no room", "starved"))


def guest_part(plt, run, guest):
    last = run.samples[-1]["guests"][guest]
    name, ram = last["name"], last["ram_pages"] * PAGE / MIB
    parts = [f"<h2>{html.escape(name)}</h2><p>{last['vcpus']} vCPU{'s' if last['vcpus'] > 1 else ''}, {ram:.0f} MiB, {html.escape(last['status'])}"
             f"{': ' + html.escape(last['reason']) if last['reason'] else ''}.</p>"]
    if any(s["maps"][guest] for s in run.samples):
        parts += ["<h3>What its pages are</h3>", pages_over_time(plt, run, guest), "<h3>Where</h3>",
                  "<p class=note>Each 2 MiB in the colour of what most of its pages are.</p>", address_map(plt, run, guest)]
    if len(run.samples) > 1:
        parts += ["<h3>Page faults</h3>", faults_over_time(plt, run, guest)]
    waits = last["wait_log2_ns"]
    if any(waits):
        parts += ["<h3>How long it waited</h3>",
                  f"<p class=note>{sum(waits):,} faults, {duration(last['wait_ns'])} in all; the others were served at once.</p>", latencies(plt, waits)]
    rows = [(f"page faults {what}", last["faults"][key]) for what, key in (("mapped at once", "fast"), ("asked of a helper", "queued"), ("slept for", "waited"))]
    if last["paging"]["limit_pages"]:
        rows += [(what, last["paging"][key]) for what, key in PAGING_ROWS]
    rows += [("pages given back", last["given_back_pages"]), ("faults on what cannot be read", last["unreadable_faults"])]
    return "\n".join(parts) + table(rows)


def machine_part(plt, run):
    last = run.samples[-1]
    parts = ["<h2>Helpers</h2>"]
    if last["helpers"] and len(run.samples) > 1:
        parts.append(helper_use(plt, run))
    for helper in last["helpers"]:
        parts.append(f"<p>Core {helper['core']}: {helper['requests']:,} requests, {helper['populated_pages']:,} pages populated,"
                     f" {helper['zeroed_pages']:,} zeroed, {helper['promoted_blocks']:,} blocks promoted, busy for {duration(helper['busy_ns'])}.</p>")
    store, swap = last["store"], last["swap"]
    if store["bytes"]:
        parts.append(f"<p>Compressed store: {store['pages']:,} pages ({store['pages'] * PAGE / MIB:.1f} MiB) in {store['stored_bytes'] / MIB:.1f} of"
                     f" {store['bytes'] / MIB:.0f} MiB; {store['incompressible']:,} times a page was not worth it.</p>")
    if swap["slots"]:
        parts.append(f"<p>Swap disk: {swap['used']:,} of {swap['slots']:,} pages used; {swap['written_pages']:,} written in {swap['writes']:,} writes,"
                     f" {swap['reads']:,} read, {swap['read_early']:,} had before they were written; {swap['read_errors']:,} read and"
                     f" {swap['write_errors']:,} write errors.</p>")
    return "\n".join(parts)


def write(run, path):
    plt = plotting()
    names = ", ".join(g["name"] for g in run.head["guests"])
    body = "\n".join([f"<h1>Meanwhile: {html.escape(names)}</h1>",
                      f"<p>{run.times[-1]:.1f} s, {len(run.samples)} samples; result: {html.escape(run.result)}.</p>",
                      *(guest_part(plt, run, i) for i in range(len(run.head["guests"]))), machine_part(plt, run)])
    text = (f"<!doctype html>\n<html lang=en><head><meta charset=utf-8><title>Meanwhile: {html.escape(names)}</title>"
            f"<style>{STYLE}</style></head><body>\n{body}\n</body></html>\n")
    try:
        with open(path, "w", encoding="utf-8") as f:
            f.write(text)
    except OSError as e:
        raise Refusal(f"cannot write {path}: {e.strerror}") from None
