# SPDX-License-Identifier: BSD-2-Clause
"""`mw run --record` and `mw report`: what is recorded is what the guests' tables say, and the page stands for itself."""

import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.fixture
def run(mw, guest_image, tmp_path):
    def call(*args):
        toml = tmp_path / "two.toml"
        toml.write_text(f"[machine]\nswap = '{tmp_path / 'swap'}'\nstore = '2M'\n"
                        f"[[guest]]\nname = 'small'\nkernel = '{guest_image('churn')}'\ncpus = 2\nmemory = '66M'\nresident = '12M'\n"
                        "append = 'rounds=6000'\n"
                        f"[[guest]]\nname = 'large'\nkernel = '{guest_image('promote')}'\ncpus = 2\nmemory = '64M'\n"
                        "append = 'ms=6000 blocks=8'\n")
        done = mw("run", "--config", toml, "--record", tmp_path / "record", *args)
        assert done.code == 0, done.stdout + done.stderr
        return done, [json.loads(line) for line in (tmp_path / "record").read_text().splitlines()]

    return call


def test_what_is_recorded(run):
    done, (head, *samples, end) = run("--record-every", 50)
    assert head["schema"] == 1 and [g["name"] for g in head["guests"]] == ["small", "large"]
    assert end == {"result": "off"} and len(samples) >= 5
    times = [s["t"] for s in samples]
    assert times == sorted(times) and times[1] - times[0] >= 0.05
    kinds = head["kinds"]
    seen = [set(), set()]
    for s in samples:
        for n, guest in enumerate(head["guests"]):
            assert len(s["maps"][n]) == guest["ram_pages"] // 512
            for region in s["maps"][n]:
                assert sum(region) == 512 and len(region) == len(kinds)
                seen[n] |= {kinds[i] for i, count in enumerate(region) if count}
    assert {"young", "cold", "store", "swap", "source", "zero"} <= seen[0] and "block" not in seen[0], seen
    assert {"block", "zero"} <= seen[1] and not {"store", "swap", "cold"} & seen[1], seen
    # Never more than its limit, by the tables themselves, but for what changes while they are read.
    present = [sum(r[kinds.index("young")] + r[kinds.index("cold")] for r in s["maps"][0]) for s in samples]
    assert max(present) <= 1.1 * head["guests"][0]["limit_pages"] and max(present) > 0.8 * head["guests"][0]["limit_pages"]
    assert samples[-1]["guests"] == done.stats["guests"]


class Page(HTMLParser):
    """Tags are closed in order, and nothing is fetched from anywhere."""

    def __init__(self, text):
        super().__init__()
        self.open, self.svgs, self.text = [], 0, []
        self.feed(text)
        assert not self.open, self.open

    def handle_starttag(self, tag, attrs):
        if tag not in ("meta", "path", "use", "br"):
            self.open.append(tag)
        self.svgs += tag == "svg"
        assert tag not in ("script", "link", "iframe")
        for name, value in attrs:
            assert not (name in ("src", "href", "xlink:href") and value.startswith(("http", "/"))), (tag, name, value)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if self.open and self.open[-1] == tag:
            self.open.pop()

    def handle_endtag(self, tag):
        if tag in ("path", "use"):
            return
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def test_the_page(mw, run, tmp_path):
    done, _ = run()
    page = tmp_path / "page.html"
    drawn = mw("report", tmp_path / "record", "-o", page)
    assert (drawn.code, drawn.stdout, drawn.stderr) == (0, "", "")
    parsed = Page(page.read_text())
    # Four pictures of each guest, if it waited; one of the helper.
    assert parsed.svgs == 1 + sum(3 + bool(sum(g["wait_log2_ns"])) for g in done.stats["guests"])
    text = " ".join(parsed.text)
    for words in ("small", "large", "compressed", "swapped out", "residency limit", "% of the time busy", "result: off",
                  f"{done.stats['guests'][0]['paging']['evicted_store']:,}"):
        assert words in text, words
    # The same record makes the same page.
    first = page.read_bytes()
    assert mw("report", tmp_path / "record", "-o", page).code == 0 and page.read_bytes() == first


def test_a_run_that_was_cut_off(mw, run, tmp_path):
    run()
    path, page = tmp_path / "record", tmp_path / "page.html"
    data = path.read_bytes()
    path.write_bytes(data[:len(data) * 2 // 3])
    assert mw("report", path, "-o", page).code == 0
    assert "the record ends before the run" in page.read_text()
    assert Page(page.read_text()).svgs >= 3


@pytest.mark.parametrize("content, words", [
    (b"", "not a record"),
    (b"\x00\xff\x80nonsense", "cannot read"),
    (b"{}\n", "not a record"),
    (b"[1, 2]\n", "not a record"),
    (b'{"schema": 2, "kinds": []}\n', "another version"),
    (b'{"schema":1,"kinds":["block","young","cold","moving","store","swap","same","source","zero","other"],"guests":[]}\n', "no sample"),
])
def test_bad_records(mw, tmp_path, content, words):
    (tmp_path / "record").write_bytes(content)
    done = mw("report", tmp_path / "record", "-o", tmp_path / "page.html")
    assert done.code in (1, 2) and words in done.stderr, done.stderr
    assert re.fullmatch(r"mw: [^\n]+\n", done.stderr) and not (tmp_path / "page.html").exists()


def test_no_such_file(mw, run, tmp_path, guest_image):
    assert mw("report", tmp_path / "none", "-o", tmp_path / "page.html").code == 2
    done = mw("run", "--kernel", guest_image("hello"), "--memory", "64M", "--record", tmp_path / "no" / "folder")
    assert done.code == 2 and re.fullmatch(r"mw: record: cannot write [^\n]+\n", done.stderr), done.stderr


def test_a_python_without_matplotlib(run, tmp_path):
    """One that comes first in PATH may not be the one that `mw setup` installed it for."""
    run()
    bare = [sys.executable, "-S", "-B", ROOT / "tools" / "mw"]
    done = subprocess.run([*bare, "report", tmp_path / "record", "-o", tmp_path / "page.html"], capture_output=True, text=True, check=False)
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.startswith(f"mw: {sys.executable} has no matplotlib") and "/usr/bin/python3" in done.stderr
    assert done.stderr.count("\n") == 1 and not (tmp_path / "page.html").exists()
