# SPDX-License-Identifier: BSD-2-Clause
"""What to run: the machine and its guests, from defaults, then the TOML file, then the command line."""

import os
import re
import tomllib
from dataclasses import dataclass, field

from .common import BLOCK, BUILD, GIB, KIB, MIB, PAGE, Refusal, align_up, show_size

MAX_CORES = 32  # MAX_CORES of lib/types.h: the hypervisor's tables are sized by it
MAX_GUESTS = 16  # MAX_GUESTS of lib/types.h
MAX_DISKS = 8  # DISK_MAX of dev/disk.h
MACHINES = {"virt": 3, "virt-gicv2": 2}  # the version of the GIC
GICV2_CORES = 8
IDENTITIES = ("meanwhile", "kvm", "none")
GRANULES = (4 * KIB, 2 * MIB)
LEAST_RESIDENT = 4 * MIB  # PAGING_LEAST of mm/paging.h
MAX_STORE = GIB  # STORE_BLOCKS of mm/store.c
SWAP_MARK = b"mwswap\n".ljust(8, b"\0")  # how a swap file of ours begins; the hypervisor leaves its first page alone
NAME = re.compile(r"[A-Za-z0-9_-]{1,31}")

DEFAULT_KERNEL = os.path.join(BUILD, "debian", "vmlinuz")
DEFAULT_INITRD = os.path.join(BUILD, "demo.cpio")
# cryptomgr.notests: the kernel's self-tests of its ciphers take a third of an emulated boot.
DEFAULT_APPEND = "console=ttyAMA0 quiet cryptomgr.notests"
# Makes the demo's /init run its workload and power off, where nobody could type into its shell.
DEMO_APPEND = " mw.demo=1"
# And, first of all, touch so many MiB: more than it may hold.
APF_APPEND = " mw.apf="
# What --demo is: defaults for the default guest.
DEMO_RESIDENT = 48 * MIB
DEMO_DRIVE = "demo:"  # in place of a swap file: one in memory that takes its time, for as long as the run
DEMO_DELAY = 1  # ms


@dataclass
class Guest:
    name: str = "guest"
    kernel: str = ""
    initrd: str = ""
    image: str = ""  # the page image that image:NAME is about
    disk: str = ""  # the one that disk:NAME is about: a file, or a URL that QEMU can open
    append: bytes | None = None
    cpus: int = 1
    memory: int = 512 * MIB
    identity: str = "meanwhile"
    populate_granule: int = BLOCK
    resident: int = 0  # bytes of RAM it may hold at once; 0: all of it
    no_reboot: bool = False


@dataclass
class Machine:
    machine: str = "virt"
    cpu: str = "cortex-a57"
    ram: int = 0  # 0: default_ram()
    helpers: int = 1
    cores: int = 0  # 0: as many as vCPUs and helpers need
    icount: bool = False
    timeout: float = 0  # 0: none
    stats: str = ""
    record: str = ""  # where samples for `mw report` go
    record_every: int = 100  # ms
    quiet: bool = False
    swap: str = ""  # where cold pages go: a file, a URL that QEMU can open, or DEMO_DRIVE
    store: int = -1  # bytes of RAM for compressed pages; -1: default_store()
    pause_after: int = 10  # seconds that a guest waits for room before it is paused; 0: for ever
    no_read_ahead: bool = False
    plain_waits: bool = False  # for comparisons
    qemu_arg: list = field(default_factory=list)
    swap_size: int = 0  # of a swap file that is made
    disks: list = field(default_factory=list)  # what guests name as theirs, each once: number n is "mw<n>" to EL2 and QEMU


# How a value, from the command line (always a str) or from TOML, becomes what the fields above hold.


def size(value):
    if isinstance(value, str):
        m = re.fullmatch(r"([0-9]{1,18})([KMGkmg]?)", value)
        if not m:
            raise ValueError(f"'{value}' is not a size: bytes, or a number with K, M or G")
        return int(m[1]) * {"": 1, "k": KIB, "m": MIB, "g": GIB}[m[2].lower()]
    return count(value)


def count(value):
    if isinstance(value, str) and re.fullmatch(r"[0-9]{1,18}", value):
        return int(value)
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    raise ValueError(f"'{value}' is not a whole number from 0 up")


def seconds(value):
    try:
        number = float(value) if not isinstance(value, bool) else -1
    except (TypeError, ValueError):
        number = -1
    if not 0 < number < 1e9:
        raise ValueError(f"'{value}' is not a number of seconds above 0")
    return number


def flag(value):
    if not isinstance(value, bool):
        raise ValueError(f"'{value}' is not true or false")
    return value


def string(value):
    if not isinstance(value, str) or "\0" in value:
        raise ValueError(f"{value!r} is not a string without NUL")
    return value


def raw(value):
    """A command line may hold any bytes; the kernel gets them as they were typed."""
    return os.fsencode(string(value))


def string_list(value):
    if not isinstance(value, list):
        raise ValueError(f"{value!r} is not a list of strings")
    return [string(v) for v in value]


PATH_KEYS = ("kernel", "initrd", "image", "disk", "stats", "swap", "record")
IN_IMAGE = "image:"  # a kernel or initrd that is no path, but a file in the guest's page image
IN_DISK = "disk:"  # the same, on its disk
URLS = ("nbd+unix://", "nbd://")  # disks that are no files here
NO_PATH = (IN_IMAGE, IN_DISK, *URLS)
NO_FILE = (*URLS, DEMO_DRIVE)  # swap disks that are none
GUEST_KEYS = {"name": string, "kernel": string, "initrd": string, "image": string, "disk": string, "append": raw, "cpus": count, "memory": size,
              "identity": string, "populate-granule": size, "resident": size, "no-reboot": flag}
MACHINE_KEYS = {"machine": string, "cpu": string, "ram": size, "helpers": count, "cores": count, "icount": flag,
                "timeout": seconds, "stats": string, "record": string, "record-every": count, "quiet": flag, "swap": string, "store": size, "pause-after": count,
                "no-read-ahead": flag, "plain-waits": flag, "qemu-arg": string_list}


def apply(target, values, keys, where, folder=""):
    """Sets the fields of `target` from a TOML table. Paths in a file count from the file's folder."""
    if not isinstance(values, dict):
        raise Refusal(f"{where} is not a table")
    for key, value in values.items():
        if key not in keys:
            raise Refusal(f"{where}: unknown key '{key}'; known are {', '.join(keys)}")
        try:
            value = keys[key](value)
        except ValueError as e:
            raise Refusal(f"{where}: {key}: {e}") from None
        if key in PATH_KEYS:
            if not value:
                raise Refusal(f"{where}: {key}: an empty path")  # a script's unset variable, and not the default
            if not value.startswith(NO_PATH):
                value = os.path.join(folder, value)
        setattr(target, key.replace("-", "_"), value)


def read_config(path, machine):
    """Fills `machine` and returns the file's guests."""
    try:
        with open(path, "rb") as f:
            tree = tomllib.load(f)
    except OSError as e:
        raise Refusal(f"config: cannot read {path}: {e.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as e:
        raise Refusal(f"config: {path}: {e}") from None
    for key in tree:
        if key not in ("machine", "guest"):
            raise Refusal(f"config: {path}: unknown key '{key}'; known are [machine] and [[guest]]")
    folder = os.path.dirname(path)
    apply(machine, tree.get("machine", {}), MACHINE_KEYS, f"config: {path}: [machine]", folder)
    tables = tree.get("guest", [])
    if not isinstance(tables, list):
        raise Refusal(f"config: {path}: a guest is written [[guest]], with two brackets")
    guests = []
    for i, table in enumerate(tables):
        guests.append(Guest())
        apply(guests[-1], table, GUEST_KEYS, f"config: {path}: [[guest]] {i + 1}", folder)
    return guests


def check_guest(guest):
    who = f"guest '{guest.name}'"
    if not NAME.fullmatch(guest.name):
        raise Refusal(f"guest name '{guest.name}': 1 to 31 letters, digits, '_' or '-'")
    if guest.name == "meanwhile":
        raise Refusal("guest name 'meanwhile' is taken by the machine's own node")
    if guest.cpus < 1:
        raise Refusal(f"{who}: cpus: at least 1")
    if guest.memory < BLOCK or guest.memory % BLOCK:
        raise Refusal(f"{who}: memory: {show_size(guest.memory)} is not a multiple of 2M above 0")
    if guest.identity not in IDENTITIES:
        raise Refusal(f"{who}: identity: '{guest.identity}' is not one of {', '.join(IDENTITIES)}")
    if guest.resident and guest.resident < LEAST_RESIDENT:
        raise Refusal(f"{who}: resident: {show_size(guest.resident)} is less than {show_size(LEAST_RESIDENT)}")
    if guest.resident % PAGE:
        raise Refusal(f"{who}: resident: {show_size(guest.resident)} is not a multiple of 4K")
    if guest.populate_granule not in GRANULES:
        raise Refusal(f"{who}: populate-granule: {show_size(guest.populate_granule)} is neither 4K nor 2M")


def check_store(guest, path, prefix, option):
    """The page image, in RAM or on a disk, that files whose names begin with `prefix` are in."""
    who = f"guest '{guest.name}'"
    inside = [(what, v) for what, v in (("kernel", guest.kernel), ("initrd", guest.initrd)) if v.startswith(prefix)]
    if path and not inside:
        raise Refusal(f"{who}: nothing is taken from {option} {path}: --kernel {prefix}NAME does")
    if inside and not path:
        what, name = inside[0]
        raise Refusal(f"{who}: {what}: {name} is in a page image, and none is given: --{option} F does")
    if path and not path.startswith(URLS):
        if not os.path.exists(path):
            raise Refusal(f"{option}: no such file: {path}")
        if not os.access(path, os.R_OK):
            raise Refusal(f"{option}: cannot read {path}")


def check_files(guest):
    for path, what in ((guest.kernel, "kernel"), (guest.initrd, "initrd")):
        if path and not path.startswith(NO_PATH) and not os.path.exists(path):
            hint = {DEFAULT_KERNEL: " (mw setup fetches it)", DEFAULT_INITRD: " (make builds it)"}.get(path, "")
            raise Refusal(f"{what}: no such file: {path}{hint}")
    check_store(guest, guest.image, IN_IMAGE, "image")
    check_store(guest, guest.disk, IN_DISK, "disk")


def collect_disks(guests):
    """Each disk once, whoever names it, in the order they are named. Guests then hold what stands in the list."""
    disks = []
    for guest in guests:
        if guest.disk and not guest.disk.startswith(URLS):
            guest.disk = os.path.realpath(guest.disk)
        if guest.disk and guest.disk not in disks:
            disks.append(guest.disk)
    if len(disks) > MAX_DISKS:
        raise Refusal(f"{len(disks)} disks: the hypervisor is built for {MAX_DISKS}")
    return disks


def check_swap(machine, guests):
    """A file that is not there yet is made, and goes with the run; one that is there has to be one of ours, since it is
    overwritten."""
    swap = machine.swap
    if not swap:
        return
    if not machine.helpers:
        raise Refusal("swap: a helper core brings pages there, and there is none")
    if swap.startswith(NO_FILE):
        return
    machine.swap = swap = os.path.realpath(swap)
    if swap in machine.disks:
        raise Refusal(f"swap: {swap} is a disk of a guest's")
    try:
        if os.path.exists(swap):
            with open(swap, "r+b") as f:
                if f.read(len(SWAP_MARK)) != SWAP_MARK:
                    raise Refusal(f"swap: {swap} is there already, and no swap file of mw's: it would be overwritten")
    except OSError as e:
        raise Refusal(f"swap: cannot use {swap}: {e.strerror}") from None


def swap_size(guests):
    """Of a swap file that is made: all RAM of all guests, and the page with the mark. It takes only what is written."""
    return sum(g.memory for g in guests) + PAGE


def disk_ram(disk):
    """Room to read into, and the index: 4 KiB for each 341 pages."""
    return 8 * MIB + (0 if disk.startswith(URLS) else os.path.getsize(disk) // 256)


def images_size(guests):
    """Each page image is loaded once, whoever uses it."""
    sizes = {os.path.realpath(g.image): os.path.getsize(g.image) for g in guests if g.image}
    return sum(align_up(size, BLOCK) for size in sizes.values())


def own_ram(guest):
    """What the machine needs for a guest beside its RAM: its kernel and initrd as they were loaded, ready frames for each
    vCPU, tables and records."""
    files = sum(os.path.getsize(path) for path in (guest.kernel, guest.initrd) if path and not path.startswith(NO_PATH))
    return files + guest.cpus * 20 * MIB + guest.memory // 250


def is_limited(guest):
    return 0 < guest.resident < guest.memory


def use_demo(args, machine, guest):
    """Defaults of --demo. What it shows is the default guest's."""
    for other in ("kernel", "initrd", "config"):
        if getattr(args, other) is not None:
            raise Refusal(f"--demo is the default guest: it does not go with --{other}")
    guest.resident, machine.swap, machine.store = DEMO_RESIDENT, DEMO_DRIVE, 0


def demo_touches(guest):
    """MiB, a power of 2, that are a third more than the guest may hold; 0: it has not got twice as much."""
    touched = 1 << (guest.resident * 4 // 3 // MIB - 1).bit_length() if is_limited(guest) else 0
    return touched if 2 * touched * MIB <= guest.memory else 0


def default_store(guests):
    """A quarter of what the guests with a limit may hold: what leaves them fits in there two or three times."""
    return min(align_up(sum(g.resident for g in guests if is_limited(g)) // 4, BLOCK), MAX_STORE)


def default_ram(machine, guests):
    """256 MiB beside the guests' RAM, and more for further guests, large ones, and those with many vCPUs."""
    usual = 256 * MIB + sum((64 + 20 * g.cpus) * MIB for g in guests[1:])
    needed = 64 * MIB + sum(map(own_ram, guests))
    disks = sum(map(disk_ram, {g.disk for g in guests if g.disk}))
    store = (default_store(guests) if machine.store < 0 else machine.store) + 8 * MIB if any(map(is_limited, guests)) else 0
    resident = sum(g.resident if is_limited(g) else g.memory for g in guests)
    return align_up(resident + max(usual, needed) + disks + store, BLOCK) + images_size(guests)


def check_machine(machine, guests):
    if machine.machine not in MACHINES:
        raise Refusal(f"machine '{machine.machine}' is not supported yet: {', '.join(MACHINES)}")
    needed = sum(g.cpus for g in guests) + machine.helpers
    asked = f"{needed - machine.helpers} vCPU and {machine.helpers} helper cores"
    machine.cores = machine.cores or needed
    if needed > machine.cores:
        raise Refusal(f"more cores than the machine has: {asked} on {machine.cores}")
    if MACHINES[machine.machine] == 2 and machine.cores > GICV2_CORES:
        raise Refusal(f"{machine.machine} has {GICV2_CORES} cores at most, and this needs {machine.cores}")
    if machine.cores > MAX_CORES:
        raise Refusal(f"more cores than the hypervisor is built for: {max(machine.cores, needed)}, at most {MAX_CORES}")
    if not machine.record_every:
        raise Refusal("record-every: at least 1 ms")
    machine.ram = machine.ram or default_ram(machine, guests)
    if machine.store >= 0 and (machine.store % BLOCK or machine.store > MAX_STORE):
        raise Refusal(f"store: {show_size(machine.store)} is not a multiple of 2M up to {show_size(MAX_STORE)}")
    if machine.ram % BLOCK:
        raise Refusal(f"ram: {show_size(machine.ram)} is not a multiple of 2M")


def resolve(args, interactive):
    """(machine, guests) from the parsed command line; `interactive` says whether somebody can type into a shell."""
    machine, guests = Machine(), []
    if args.config is not None:
        guests = read_config(args.config, machine)
    guests = guests or [Guest()]
    demo = getattr(args, "demo", None)
    if demo:
        use_demo(args, machine, guests[0])
    if len(guests) > MAX_GUESTS:
        raise Refusal(f"{args.config} describes {len(guests)} guests: the hypervisor is built for {MAX_GUESTS}")

    given = {k.replace("_", "-"): v for k, v in vars(args).items() if v is not None}
    extra = given.pop("qemu-arg", [])
    apply(machine, {k: v for k, v in given.items() if k in MACHINE_KEYS}, MACHINE_KEYS, "command line")
    machine.qemu_arg = machine.qemu_arg + extra
    for guest in guests:
        apply(guest, {k: v for k, v in given.items() if k in GUEST_KEYS}, GUEST_KEYS, "command line")

    for guest in guests:
        if not guest.kernel:
            # The demo's initrd belongs to the default kernel; a kernel of the user's own gets what the user names.
            guest.kernel = DEFAULT_KERNEL
            guest.initrd = guest.initrd or DEFAULT_INITRD
        if guest.append is None:
            workload = guest.initrd == DEFAULT_INITRD and not interactive
            touched = demo_touches(guest) if demo else 0
            guest.append = os.fsencode(DEFAULT_APPEND + (DEMO_APPEND if workload else "") + (f"{APF_APPEND}{touched}" if touched else ""))
        check_guest(guest)
        check_files(guest)
    names = [guest.name for guest in guests]
    for name in names:
        if names.count(name) > 1:
            raise Refusal(f"guest name '{name}' is given twice: each guest needs a name of its own")
    machine.disks = collect_disks(guests)
    check_swap(machine, guests)
    machine.swap_size = swap_size(guests)
    check_machine(machine, guests)
    return machine, guests
