# SPDX-License-Identifier: BSD-2-Clause
"""Several guests on one machine: none notices the others, whatever becomes of them; one console and its monitor."""

import re
import sys
import time
from pathlib import Path

import pexpect
import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
ESCAPE = "\x1d"  # Ctrl-]


@pytest.fixture
def config(tmp_path, guest_image):
    """config(("alpha", "irq", {"cpus": 2}), ..., helpers=1, quiet=False) -> a TOML file. A guest's second word is a bare
    guest's name or a path; `memory` is 64M if it does not say."""

    def toml(value):
        return f'"{value}"' if isinstance(value, (str, Path)) else str(value).lower()

    def write(*guests, **machine):
        text = ["[machine]", *(f"{k} = {toml(v)}" for k, v in machine.items())]
        for name, kernel, keys in guests:
            kernel = kernel if isinstance(kernel, Path) else guest_image(kernel)
            keys = {"name": name, "kernel": kernel, "memory": "64M", **keys}
            text += ["[[guest]]", *(f"{k} = {toml(v)}" for k, v in keys.items())]
        path = tmp_path / "guests.toml"
        path.write_text("\n".join(text) + "\n")
        return path

    return write


def told(text):
    """{name: its lines} of a console with several guests. Each line is EL2's or has the name of a guest."""
    lines = {}
    for line in text.replace("\r", "").splitlines():
        m = re.fullmatch(r"(?:(\[mw\]) |([A-Za-z0-9_-]{1,31}): )(.*)", line)
        assert m, f"whose line is this: {line!r}\n{text}"
        lines.setdefault(m[1] or m[2], []).append(m[3])
    return lines


def verdicts(lines):
    passed = sum(line.startswith("PASS ") for line in lines)
    assert passed and not [line for line in lines if line.startswith("FAIL ")], "\n".join(lines)
    assert f"guest: {passed} passed, 0 failed" in lines, "\n".join(lines)


def by_name(stats):
    return {g["name"]: g for g in stats["guests"]}


# ---- side by side


PAIRS = [
    (("irq", {"cpus": 2}), ("touch", {"memory": "128M", "append": "wait-ms=200"})),
    (("psci", {"cpus": 2}), ("evil", {"cpus": 2})),
    (("mmio", {}), ("promote", {"cpus": 2, "append": "ms=500 wait-ms=300", "populate-granule": "4K"})),
    (("sysreg", {}), ("nowhere", {"memory": "128M"})),
]


@pytest.mark.racy
@pytest.mark.parametrize("helpers", [0, 1, 2])
@pytest.mark.parametrize("pair", PAIRS, ids=lambda p: f"{p[0][0]}+{p[1][0]}")
def test_side_by_side(mw, config, pair, helpers):
    if pair[1][0] == "promote" and helpers == 0:
        pytest.skip("without a helper nothing is promoted in the background")
    done = mw("run", "--config", config(*[(f"a-{name}", name, keys) for name, keys in pair], helpers=helpers))
    assert done.code == 0, done.stdout + done.stderr
    lines = told(done.stdout)
    guests = by_name(done.stats)
    cpus = sum(g["vcpus"] for g in guests.values())
    assert f"on {cpus + helpers} cores" in lines["[mw]"][0]
    for name, _ in pair:
        verdicts(lines[f"a-{name}"])
        assert guests[f"a-{name}"]["status"] == "off"
        assert guests[f"a-{name}"]["faults"]["mmio"] > 0
    assert done.stats["shared_locks_on_fault_path"] == 0


def test_many(mw, config):
    """As many as there can be, on one helper; the same program twice does not share a counter. By icount: a host with fewer
    cores stops each of them for longer than a prompt has to stand."""
    names = [f"g{i}" for i in range(16)]
    done = mw("run", "--icount", "--config", config(*[(n, "hello", {"memory": "16M"}) for n in names]), timeout=120)
    assert done.code == 0, done.stdout + done.stderr
    lines = told(done.stdout)
    exits = set()
    for name in names:
        verdicts(lines[name])
        guest = by_name(done.stats)[name]
        assert guest["status"] == "off" and guest["ram_pages"] == 4096
        exits.add(guest["exits"]["hvc"])
    assert len(exits) == 1 and exits.pop() > 0


def test_icount(mw, config):
    done = mw("run", "--icount", "--config", config(("a", "psci", {"cpus": 2}), ("b", "irq", {})), timeout=120)
    assert done.code == 0, done.stdout + done.stderr
    for name in "ab":
        verdicts(told(done.stdout)[name])


def test_refused_by_name(mw, config, tmp_path):
    """A guest that cannot be is refused, by its name; the others run, and the run says so."""
    elf = tmp_path / "elf.img"
    elf.write_bytes(b"\x7fELF" + bytes(8192))
    done = mw("run", "--config", config(("bad", elf, {}), ("good", "psci", {"cpus": 2})))
    assert (done.code, done.stats["result"]) == (3, "refused"), done.stdout + done.stderr
    verdicts(told(done.stdout)["good"])
    guests = by_name(done.stats)
    assert (guests["bad"]["status"], guests["good"]["status"]) == ("refused", "off")
    assert "ELF" in guests["bad"]["reason"] and "guest 'bad' was refused" in done.stderr
    assert any(line.startswith("bad: refused: ") for line in told(done.stdout)["[mw]"])


def test_one_that_resets_ends_the_result(mw, config):
    """0 is for machines whose guests have all done SYSTEM_OFF."""
    keys = {"no-reboot": True, "append": "until-ms=1000000"}
    done = mw("run", "--config", config(("a", "reset", keys), ("b", "reset", keys), ("c", "hello", {})))
    assert (done.code, done.stats["result"]) == (3, "reset"), done.stdout + done.stderr
    verdicts(told(done.stdout)["c"])
    assert "guest 'a' asked for a reset" in done.stderr and "guest 'b' asked for a reset" in done.stderr
    assert "'c'" not in done.stderr


# ---- the console and the monitor, on a terminal


class Terminal(pexpect.spawn):
    def type(self, text):
        """No faster than a FIFO is read."""
        for c in text:
            self.send(c)
            time.sleep(0.005)

    def monitor(self, *lines, leave=True):
        self.type(f"{ESCAPE}m")
        self.expect_exact("[mw] monitor: help")
        self.expect_exact("[mw] > ")
        for line in lines:
            self.type(line + "\r")
        if leave:
            self.type("back\r")

    def end(self, code):
        self.expect(pexpect.EOF)
        self.wait()
        assert self.exitstatus == code, self.before


@pytest.fixture
def terminal(tmp_path):
    """terminal(TOML file) -> such a machine on a pseudo-terminal."""
    children = []

    def start(path, *args):
        child = Terminal(sys.executable, [str(ROOT / "tools" / "mw"), "run", "--config", str(path), "--timeout", "90", *args],
                         timeout=40, encoding="utf-8", codec_errors="replace", dimensions=(24, 200), echo=False)
        child.delaybeforesend = None
        child.logfile_read = log = open(tmp_path / "terminal.log", "a", encoding="utf-8")
        children.append((child, log))
        return child

    yield start
    for child, log in children:
        child.close(force=True)
        log.close()


def test_input_moves(terminal, config):
    """Each guest gets what was typed at it, and nothing else."""
    t = terminal(config(("alpha", "uart", {}), ("beta", "uart", {})))
    for _ in range(2):
        t.expect(r"(alpha|beta): uart: ready")
    t.type(f"{ESCAPE}2one{ESCAPE}1two{ESCAPE}2 three\r")
    t.expect_exact("beta: uart: eerht eno")
    t.expect_exact("[mw] beta: off")
    t.type(f"{ESCAPE}1 {ESCAPE}{ESCAPE}four\r")  # twice is one, for the guest
    t.expect_exact("alpha: uart: ruof\x1d owt")
    t.end(0)


def test_monitor(terminal, config):
    t = terminal(config(("alpha", "pattern", {"append": "mode=4 now=1"}), ("beta", "pattern", {"append": "mode=4 now=1"})))
    for name in ("alpha", "beta"):
        t.expect_exact(f"{name}: pattern: count 3")
    t.monitor("help", "lisst\x7f\x7ft", "stats beta", "reset gamma", "reset", "list all", "nonsense", leave=False)
    for word in ("list", "stats", "input", "reset", "pause", "resume", "destroy", "help", "back"):
        t.expect(rf"\[mw\] {word} ")
    t.expect(r"\[mw\] \*1 alpha: running, 1 vCPU, 64 MiB")
    t.expect(r"\[mw\]  2 beta: running, 1 vCPU, 64 MiB")
    t.expect(r"\[mw\] \d+ MiB of RAM free")
    t.expect(r"\[mw\] beta: \d+ of 16384 pages present")
    t.expect(r"\[mw\] beta: exits: \d+ device, \d+ call")
    t.expect_exact("[mw] no guest gamma")
    t.expect_exact("[mw] reset wants the name of a guest")
    t.expect_exact("[mw] list takes no name")
    t.expect_exact("[mw] no command nonsense")

    # What is paused stands still while the other goes on, and then goes on where it was.
    t.type("pause beta\rlist\r")
    t.expect_exact("[mw] beta: paused")
    t.expect_exact("2 beta: paused")
    t.expect(r"alpha: pattern: count (\d+)")
    since = int(t.match[1])
    t.expect_exact(f"alpha: pattern: count {since + 10}\r")
    assert "beta: pattern" not in t.before
    t.type("resume beta\r")
    t.expect_exact("[mw] beta: goes on")
    t.expect(r"beta: pattern: count (\d+)")
    assert int(t.match[1]) < since + 5  # the second that it lost it has not counted

    t.type("reset beta\r")
    t.expect_exact("[mw] beta: starts again")
    t.expect_exact("beta: pattern: ready")
    t.expect_exact("beta: pattern: count 0")
    t.type("destroy alpha\rresume alpha\rlist\r")
    t.expect_exact("[mw] alpha: destroyed: from the monitor")
    t.expect_exact("[mw] alpha: it has ended")
    t.expect_exact("*1 alpha: destroyed")
    t.expect_exact("2 beta: running")
    # The core that takes the UART's interrupt was the destroyed guest's.
    t.type("input beta\r\r")
    t.expect_exact("[mw] input goes to beta")
    t.type("q")
    t.expect_exact("beta: guest: 0 passed, 0 failed")
    t.expect_exact("guest 'alpha' was destroyed: from the monitor")
    t.end(3)


def test_prompts_of_two(terminal, config):
    """Two lines without an end: both are seen, each in a line of its own."""
    t = terminal(config(("alpha", "pattern", {"append": "stay=1 now=1"}), ("beta", "pattern", {"append": "stay=1"})))
    t.expect_exact("alpha: pattern: staying")
    t.type(f"{ESCAPE}2x")
    t.expect_exact("beta: pattern: staying")
    t.monitor("destroy alpha", "destroy beta", leave=False)
    t.end(3)


SPLIT = 8  # MiB: blocks that were split into frames for tables stay with the cores that split them


@pytest.mark.parametrize("how", ["off", "destroyed"])
@pytest.mark.parametrize("helpers", ["0", "1"])
def test_memory_comes_back_zeroed(terminal, config, how, helpers):
    """What a guest wrote is not in the RAM that another gets when it is gone."""
    stay = " stay=1" if how == "destroyed" else ""
    t = terminal(config(("alpha", "pattern", {"append": "mode=1" + stay, "memory": "128M"}),
                        ("beta", "pattern", {"append": "mode=2", "memory": "192M"})), "--helpers", helpers)
    for _ in range(2):
        t.expect(r"(alpha|beta): pattern: ready")
    free = []

    def note_free():
        t.monitor("list")
        t.expect(r"\[mw\] (\d+) MiB of RAM free")
        free.append(int(t.match[1]))

    note_free()
    t.type("x")
    t.expect(r"alpha: pattern: filled 6\d MiB")
    if stay:
        for _ in range(20):  # the pool of ready blocks may have given some of them, and fills again
            note_free()
            if free[-1] <= free[0] - 60:
                break
            time.sleep(0.1)
        assert free[-1] <= free[0] - 60, free
        t.monitor("destroy alpha")
    t.expect_exact(f"[mw] alpha: {how}")
    for _ in range(20):  # the last of its cores and the helper give back what they had
        note_free()
        if free[-1] >= free[0] - SPLIT:
            break
        time.sleep(0.1)
    assert free[-1] >= free[0] - SPLIT, free
    t.type(f"{ESCAPE}2x")
    t.expect_exact("beta: PASS fresh RAM is zero")
    t.end(3 if stay else 0)


# ---- one in trouble, the other passes its tests


@pytest.mark.racy
@pytest.mark.parametrize("trouble, keys", [("pattern", {"append": "mode=3 now=1"}), ("reset", {"append": "until-ms=1000000"}),
                                           ("reset", {"append": "until-ms=1000000", "cpus": 2})],
                         ids=["crashes for ever", "resets for ever", "resets for ever, 2 vCPUs"])
@pytest.mark.parametrize("first", [True, False], ids=["first", "second"])
def test_trouble(terminal, config, trouble, keys, first):
    guests = [("bad", trouble, keys), ("good", "irq", {"cpus": 2})]
    t = terminal(config(*guests[::1 if first else -1]))
    t.expect_exact("good: guest: ")
    assert "FAIL" not in t.before
    t.expect_exact(" passed, 0 failed")
    t.expect_exact("[mw] good: off")
    t.monitor("destroy bad", leave=False)
    t.expect_exact("[mw] bad: destroyed")
    t.end(3)


@pytest.mark.racy
def test_destroyed_in_the_middle(mw, config):
    """Before its first instruction, from a pipe: the escape key is one there too."""
    for name, other in (("alpha", "beta"), ("beta", "alpha")):
        done = mw("run", "--config", config(("alpha", "promote", {"cpus": 2, "append": "ms=300 wait-ms=300"}),
                                            ("beta", "promote", {"cpus": 2, "append": "ms=300 wait-ms=300"})),
                  stdin=f"{ESCAPE}mdestroy {name}\nlist\nback\n".encode())
        assert (done.code, done.stats["result"]) == (3, "destroyed"), done.stdout + done.stderr
        verdicts([line for line in told(done.stdout)[other]])
        guests = by_name(done.stats)
        assert (guests[name]["status"], guests[other]["status"]) == ("destroyed", "off")
        assert guests[name]["reason"] == "from the monitor"
