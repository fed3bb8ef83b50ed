# SPDX-License-Identifier: BSD-2-Clause
"""Guests with a residency limit: their cold pages go to the compressed store, to a swap disk, and come back as they were, whatever the
drive does; guests that together have more RAM than the machine; and what happens when all of it is full."""

import os
import re
import subprocess

import pytest

PAGE = 4096
MIB = 1 << 20


def churned(done, *more):
    lines = done.stdout.replace("\r", "").splitlines()
    assert (done.code, done.stats["result"]) == (0, "off"), done.stdout + done.stderr
    assert not [line for line in lines if "FAIL" in line], done.stdout
    for name in ("no write is lost", *more):
        assert f"PASS {name}" in lines, done.stdout


def paging(done, guest=0):
    """What holds for any run: never more than the limit, and the sums are right."""
    g = done.stats["guests"][guest]
    p = g["paging"]
    assert p["resident_pages"] <= p["limit_pages"]
    assert g["touched_pages"] <= p["limit_pages"]
    assert p["ahead_hits"] + p["ahead_missed"] <= p["ahead_pages"]
    assert done.stats["shared_locks_on_fault_path"] == 0
    return p


@pytest.fixture
def churn(mw, guest_image, tmp_path):
    """churn("--store", "0", ..., append="rounds=100") -> the result of that guest; a swap file unless `swap` says otherwise."""

    def run(*args, append="", swap=True, **more):
        swap = tmp_path / "swap" if swap is True else swap
        args += ("--swap", swap) if swap else ()
        return mw("run", "--kernel", guest_image("churn"), "--memory", "64M", "--resident", "12M", "--append", append, *args, **more)

    return run


# ---- guests that run


@pytest.mark.racy
@pytest.mark.parametrize("cpus", [1, 2, 4])
@pytest.mark.parametrize("store", ["0", "2M", None], ids=["swap", "both", "store"])
def test_no_write_is_lost(churn, cpus, store):
    """Five times through seven thousand pages, of which three thousand may be there at once."""
    done = churn("--cpus", cpus, *(("--store", store) if store else ("--store", "32M")), swap=store is not None)
    churned(done)
    p = paging(done)
    assert p["limit_pages"] == 3072 and p["evicted_clean"] and p["evicted_zero"]
    swap, kept = done.stats["swap"], done.stats["store"]
    assert p["evicted_store"] == 0 if store == "0" else p["evicted_store"] > 0 and 0 < kept["pages"] and kept["stored_bytes"] <= kept["bytes"]
    if store == "0":
        assert p["evicted_swap"] > 3000 and p["brought_swap"] > 3000
        assert swap["written_pages"] / swap["writes"] > 8  # in clusters
    elif store is None:
        assert swap["slots"] == 0 and p["evicted_swap"] == 0


@pytest.mark.racy
@pytest.mark.parametrize("cpus", [1, 4])
def test_in_order(churn, cpus):
    """Read-ahead pays: most of what it brings is touched, and it knows."""
    done = churn("--cpus", cpus, "--store", 0, append=f"in-order=1 writes=10 rounds={20000 // cpus}")
    churned(done)
    p = paging(done)
    assert p["ahead_window"] == 16 and p["ahead_hits"] > 0.8 * p["ahead_pages"] > 100, p  # how many, a busy host decides


def test_no_read_ahead(churn):
    done = churn("--store", 0, "--no-read-ahead", append="in-order=1 writes=10 rounds=10000")
    churned(done)
    assert paging(done)["ahead_pages"] == 0


@pytest.mark.racy
@pytest.mark.parametrize("cpus", [2, 4])
def test_a_slow_drive(churn, drive, cpus):
    url = drive("--filter=delay", "memory", "128M", "rdelay=1ms", "wdelay=3ms", write=True)
    done = churn("--cpus", cpus, "--store", 0, swap=url, append="rounds=1000")
    churned(done)
    assert paging(done)["brought_swap"] > 100 and done.stats["swap"]["read_early"] > 0


@pytest.mark.racy
def test_again_in_every_life(churn):
    """A guest that resets leaves nothing behind in store or swap."""
    done = churn("--cpus", 3, "--store", "2M", append="rounds=500 pages=5000 again=2000", timeout=120)
    churned(done)
    assert done.stats["guests"][0]["resets"] > 1
    paging(done)
    assert done.stats["swap"]["used"] <= 5000


@pytest.mark.racy
def test_destroyed_at_work(mw, guest_image, tmp_path):
    """All it had is free again: another guest, on the same helper, goes on."""
    toml = tmp_path / "two.toml"
    toml.write_text(f"[machine]\nswap = '{tmp_path / 'swap'}'\nstore = '2M'\n"
                    f"[[guest]]\nname = 'one'\nkernel = '{guest_image('churn')}'\ncpus = 2\nmemory = '64M'\nresident = '12M'\n"
                    "append = 'rounds=100000000'\n"
                    f"[[guest]]\nname = 'two'\nkernel = '{guest_image('churn')}'\nmemory = '64M'\nresident = '12M'\nappend = ''\n")
    done = mw("run", "--config", toml, stdin=b"\x1dmdestroy one\nback\n")
    assert {g["name"]: g["status"] for g in done.stats["guests"]} == {"one": "destroyed", "two": "off"}, done.stdout
    assert "two: PASS no write is lost" in done.stdout and "FAIL" not in done.stdout
    assert done.stats["guests"][0]["paging"]["resident_pages"] == 0


@pytest.mark.racy
def test_twice_the_machine(mw, guest_image, tmp_path):
    """Two guests with 128 MiB each in a machine of 140, hypervisor, store and boot loader's files included."""
    toml = tmp_path / "two.toml"
    guests = "".join(f"[[guest]]\nname = '{name}'\nkernel = '{guest_image('churn')}'\ncpus = 2\nmemory = '128M'\n"
                     "append = 'rounds=8000 writes=60'\n" for name in ("one", "two"))
    toml.write_text(f"[machine]\nram = '140M'\nswap = '{tmp_path / 'swap'}'\n{guests}")
    done = mw("run", "--config", toml, timeout=200)
    churned(done._replace(stdout=re.sub("^(one|two): ", "", done.stdout, flags=re.M)))
    for i, name in enumerate(("one", "two")):
        p = paging(done, i)
        assert f"{name}: PASS no write is lost" in done.stdout
        assert f"[mw] {name}: the machine is short of RAM: at most" in done.stdout
        assert 4 * MIB <= p["limit_pages"] * PAGE < 64 * MIB
        assert p["evicted_store"] + p["evicted_swap"] > 1000


def test_one_has_a_limit_of_its_own(mw, guest_image, tmp_path):
    """Only what it leaves is shared out."""
    toml = tmp_path / "two.toml"
    toml.write_text(f"[machine]\nram = '140M'\nswap = '{tmp_path / 'swap'}'\n"
                    f"[[guest]]\nname = 'one'\nkernel = '{guest_image('churn')}'\nmemory = '64M'\nresident = '8M'\nappend = 'rounds=2000'\n"
                    f"[[guest]]\nname = 'two'\nkernel = '{guest_image('churn')}'\nmemory = '256M'\nappend = 'rounds=2000 pages=2000'\n")
    done = mw("run", "--config", toml)
    assert done.code == 0 and "FAIL" not in done.stdout, done.stdout
    assert paging(done, 0)["limit_pages"] == 2048 and 8192 < paging(done, 1)["limit_pages"] < 65536


def test_without_anywhere_to_go(mw, guest_image, tmp_path):
    """A guest that does not fit is refused, as ever, when no helper could bring its pages anywhere."""
    done = mw("run", "--kernel", guest_image("hello"), "--memory", "256M", "--ram", "128M", "--helpers", 0)
    assert done.stats["guests"][0]["status"] == "refused", done.stdout
    assert re.search(r"it wants \d+ MiB of the machine's RAM", done.stats["guests"][0]["reason"])


HOUR = float(os.environ.get("MW_SOAK_SECONDS", 3600))


@pytest.mark.parametrize("seconds", [8, pytest.param(HOUR, marks=pytest.mark.slow)])
def test_a_long_time_at_twice_the_machine(mw, guest_image, tmp_path, seconds):
    """Each word is looked at again and again; when the two have ended, not a frame, object or slot of theirs is left behind. A third
    guest outlives them, so that their memory is given back."""
    toml = tmp_path / "three.toml"
    guests = "".join(f"[[guest]]\nname = '{name}'\nkernel = '{guest_image('churn')}'\ncpus = {cpus}\nmemory = '128M'\n"
                     f"append = 'ms={seconds * 1000:.0f} writes=40 wait-ms=600000'\n" for name, cpus in (("one", 2), ("two", 1)))
    toml.write_text(f"[machine]\nram = '164M'\nstore = '16M'\nswap = '{tmp_path / 'swap'}'\n{guests}"
                    f"[[guest]]\nname = 'last'\nkernel = '{guest_image('promote')}'\ncpus = 2\nmemory = '16M'\nresident = '8M'\n"
                    f"append = 'ms=10 blocks=1 wait-ms={seconds * 1000 + 15000:.0f}'\n")
    done = mw("run", "--config", toml, timeout=seconds * 1.1 + 200)
    assert done.code == 0 and "FAIL" not in done.stdout, done.stdout + done.stderr
    for name in ("one", "two"):
        assert f"{name}: PASS no write is lost" in done.stdout
    for p in (paging(done, 0), paging(done, 1)):
        assert p["resident_pages"] == 0 and p["evicted_store"] + p["evicted_swap"] > 200 * seconds
    assert done.stats["store"]["pages"] == 0 and done.stats["swap"]["used"] == 0, (done.stats["store"], done.stats["swap"])


# ---- when all is full


@pytest.mark.racy
@pytest.mark.parametrize("tick", [0, 4000], ids=["", "ticking"])
def test_paused_when_full(mw, guest_image, tmp_path, tick):
    """Its noise has nowhere to go: it waits, is paused with a message, and the other guest goes on. Ticks end its waits, but not that."""
    toml = tmp_path / "two.toml"
    toml.write_text("[machine]\nstore = '2M'\npause-after = 1\n"
                    f"[[guest]]\nname = 'big'\nkernel = '{guest_image('churn')}'\nmemory = '64M'\nresident = '4M'\nappend = 'writes=100 tick-us={tick}'\n"
                    f"[[guest]]\nname = 'other'\nkernel = '{guest_image('promote')}'\ncpus = 2\nappend = 'ms=4000'\nmemory = '64M'\n")
    paused, ended = "[mw] big: paused: its 4 MiB are full, and so is where its cold pages could go", "other: PASS no write is lost"
    done = mw("run", "--config", toml, until=(paused, ended))
    assert done.stdout.count(paused) == 1 and ended in done.stdout and "FAIL" not in done.stdout, done.stdout + done.stderr
    p = paging(done)
    assert p["starved"] >= 1 and p["pauses"] == 1
    assert p["refused"] < 250000, p  # 120,000 in the rounds before it knows; it does not look in vain all the time


BAD_DISKS = {
    "slowly": ["eval", "get_size=echo 134217728", "thread_model=echo parallel", "can_write=exit 0", "pread=head -c $3 /dev/zero",
               "pwrite=cat >/dev/null; echo EIO no >&2; exit 1"],
    "at once": ["--filter=error", "memory", "128M", "error-pwrite=EIO", "error-pwrite-rate=100%"],
}


@pytest.mark.racy
@pytest.mark.parametrize("how", BAD_DISKS)
@pytest.mark.parametrize("cpus", [1, 4])
def test_a_disk_that_does_not_write(churn, drive, how, cpus):
    """One message; what it has is kept, and what it could not take stays in RAM: here, until the guest waits for room. With next to
    nothing that can go its vCPUs do not take from one another, or one from itself, what their instructions need."""
    done = churn("--cpus", cpus, "--store", 0, "--pause-after", 1, append="writes=100", swap=drive(*BAD_DISKS[how], write=True),
                 until=[": paused: "])
    assert ": paused: " in done.stdout and "FAIL" not in done.stdout, done.stdout + done.stderr
    assert done.stdout.count("[mw] the swap disk cannot be written") == 1
    swap = done.stats["swap"]
    assert swap["write_errors"] >= 1 and swap["reads"] == 0 and swap["used"] <= 32 * 16


@pytest.mark.racy
def test_a_disk_that_stops_to_write(churn, drive, tmp_path):
    """Pages that are on it are read from there, those that were on their way come from RAM, and the store takes what follows."""
    where = tmp_path / "content"
    with open(where, "wb") as f:
        f.truncate(128 * MIB)
    url = drive("eval", "get_size=echo 134217728", "thread_model=echo serialize_all_requests", "can_write=exit 0",
                f"pread=dd if={where} skip=$4 count=$3 iflag=count_bytes,skip_bytes,fullblock status=none",
                f"pwrite=if [ $4 -gt 2000000 ]; then cat >/dev/null; echo EIO no >&2; exit 1; fi;"
                f" dd of={where} seek=$4 oflag=seek_bytes conv=notrunc status=none", write=True)
    done = churn("--cpus", 2, "--store", "2M", append="writes=70 pages=4500 rounds=12000", swap=url, timeout=200)
    churned(done)
    swap = done.stats["swap"]
    assert swap["write_errors"] >= 1 and swap["reads"] > 0 and done.stdout.count("the swap disk cannot be written") == 1


# ---- disks that are none, and what the launcher refuses


def test_no_such_swap_disk(churn):
    """A line says so, and the store is what there is."""
    done = churn("--store", "32M", "--qemu-arg=-global", "--qemu-arg=virtio-mmio.force-legacy=true")
    churned(done)
    assert done.stdout.count("[mw] swap disk mwswap is not used: there is no such disk") == 1
    assert done.stats["swap"]["slots"] == 0


def test_swap_file_goes_with_the_run(churn, tmp_path):
    done = churn("--store", 0, append="rounds=10")
    churned(done)
    assert not (tmp_path / "swap").exists()


def test_swap_file_that_stays(churn, tmp_path):
    """One that mw has made before, or an empty page with its mark, is used and left."""
    swap = tmp_path / "swap"
    swap.write_bytes(b"mwswap\n\0" + bytes(PAGE - 8))
    subprocess.run(["truncate", "-s", "64M", swap], check=True)
    done = churn("--store", 0)
    churned(done)
    assert done.stats["swap"]["slots"] == 64 * MIB // PAGE - 1 and swap.exists()
    assert swap.read_bytes()[:PAGE] == b"mwswap\n\0" + bytes(PAGE - 8)


@pytest.mark.parametrize("args, words", [
    (["--swap", "FILE"], ["FILE", "overwritten"]),
    (["--swap", ""], ["swap", "empty path"]),
    (["--swap", "/no/such/folder/swap"], ["/no/such/folder/swap"]),
    (["--swap", "new", "--helpers", "0"], ["swap", "helper"]),
    (["--resident", "1M"], ["resident", "4M"]),
    (["--resident", "5000001"], ["resident", "4K"]),
    (["--resident", "8M", "--store", "3M"], ["store", "2M"]),
    (["--resident", "8M", "--store", "2G"], ["store", "1G"]),
])
def test_launcher_refuses(mw, guest_image, tmp_path, args, words):
    (tmp_path / "FILE").write_bytes(b"somebody's")
    done = mw("run", "--kernel", guest_image("hello"), "--memory", "64M", *args, cwd=tmp_path)
    assert (done.code, done.stdout) == (2, ""), done.stderr
    assert re.fullmatch(r"mw: [^\n]+\n", done.stderr), done.stderr
    for word in words:
        assert word in done.stderr
    assert (tmp_path / "FILE").read_bytes() == b"somebody's"


def test_limit_needs_a_helper(mw, guest_image):
    done = mw("run", "--kernel", guest_image("hello"), "--memory", "64M", "--resident", "8M", "--helpers", 0)
    assert (done.code, done.stats["guests"][0]["reason"]) == (3, "its residency limit needs a helper core, and there is none")
