# SPDX-License-Identifier: BSD-2-Clause
"""The command line of mw."""

import argparse
import os
import sys

from . import image, options, pageimage, qemu, setup
from .common import BUILD, EXIT_BAD, EXIT_OFF, EXIT_USAGE, MIB, PAGE, Refusal, say, show_size

RUN_HELP = """\
Starts guests under QEMU, on demand-paged memory: one, or those of a --config file. Without --kernel it is Debian's kernel, with a shell if
standard input is a terminal, and a short workload if not. With --demo it shows what asynchronous page faults are worth.

Standard output carries the machine's UART: the guest's bytes unchanged, and the hypervisor's own lines,
which begin with "[mw] ". With several guests each line begins with the name of its guest. mw itself speaks on
standard error."""

RUN_EPILOG = """\
SIZE is in bytes, or a number with K, M or G. On a terminal, Ctrl-A x ends the run and Ctrl-A Ctrl-A
types a Ctrl-A. Ctrl-] is the hypervisor's: with a digit it moves the input to that guest, with m it opens
a monitor, and Ctrl-] Ctrl-] types one. In data from a pipe it does the same.

exit codes:
    0  every guest did SYSTEM_OFF           1  the hypervisor panicked
    2  arguments, a file or a tool missing  3  a guest was refused, destroyed, or asked for a reset
    4  QEMU ended otherwise                 124  timeout                 130  interrupted

A TOML file has [machine] (machine, cpu, ram, helpers, cores, icount, timeout, stats, record, record-every, quiet,
swap, store, pause-after, no-read-ahead, plain-waits, qemu-arg) and [[guest]] (name, kernel, initrd, image, disk, append,
cpus, memory, identity, populate-granule, resident, no-reboot), as often as there are guests. Paths in it count from its own folder; options on the command line override it, for each of the guests.

environment: MW_IMAGE is the hypervisor image to start (build/meanwhile.img); MW_THREADS, single or multi, is how
QEMU runs the cores (one thread for a guest with one vCPU, else one for each core)."""

PACK_HELP = """\
Writes hypervisor, configuration and payloads as one bootable arm64 Image, for QEMU's -kernel, U-Boot's booti or
firmware."""

IMAGE_HELP = """\
Page images: several files in one, each page of them on its own, compressed with LZ4 and with a checksum, so that a guest
can start from them before they have been read (doc/image-format.md). Use one with
    mw run --image F --kernel image:NAME --initrd image:NAME
or, where it need not even be loaded,
    mw run --disk F --kernel disk:NAME --initrd disk:NAME"""

IMAGE_EPILOG = """\
exit codes:
    0  done, or the image is good
    1  the image is bad; standard error says which file and page
    2  arguments, or a file that cannot be read or written"""

REPORT_HELP = """\
Draws one self-contained HTML page from what `mw run --record FILE` has written: what the guests' pages were over time, where
in their RAM, how long they waited for pages, and what the helpers did."""

SETUP_HELP = """\
Installs what is missing with apt, as root or through sudo, and collects Debian's arm64 kernel, busybox, libfdt
and liblz4 into build/debian/, unpacked and not installed. Repeatable, and quiet when there is nothing to do."""


SHOWN = 10  # faults of an image that are told one by one


class Parser(argparse.ArgumentParser):
    """One clear line instead of the usage in full."""

    def error(self, message):
        say(f"{message} (see '{self.prog} --help')")
        sys.exit(EXIT_USAGE)


def typed(convert):
    def checked(value):
        try:
            convert(value)
        except ValueError as e:
            raise argparse.ArgumentTypeError(str(e)) from None
        return value  # converted when it is laid over the TOML file's

    return checked


def add_guest_options(p):
    p.add_argument("--kernel", metavar="F", help="arm64 Image, or a raw image (Debian's kernel); image:NAME takes it from --image, disk:NAME from --disk")
    p.add_argument("--initrd", metavar="F", help="initial RAM disk (the demonstration's, with the default kernel); or image:NAME, disk:NAME")
    p.add_argument("--image", metavar="F", help="page image with the files that image:NAME names; it needs a helper core")
    p.add_argument("--disk", metavar="F", help="page image with the files that disk:NAME names, read while the guest runs: a file, or"
                   " nbd+unix:///EXPORT?socket=S; it needs a helper core")
    p.add_argument("--append", metavar="S", help=f"kernel command line, instead of '{options.DEFAULT_APPEND}'")
    p.add_argument("--cpus", metavar="N", type=typed(options.count), help="vCPUs (1)")
    p.add_argument("--memory", metavar="SIZE", type=typed(options.size), help="guest RAM (512M)")
    p.add_argument("--helpers", metavar="N", type=typed(options.count), help="helper cores (1)")
    p.add_argument("--config", metavar="FILE.toml", help="machine and guests from a file")
    p.add_argument("--resident", metavar="SIZE", type=typed(options.size), help="guest RAM that may be in the machine's at once; cold pages"
                   " are dropped, compressed, or swapped out (all of it)")
    p.add_argument("--store", metavar="SIZE", type=typed(options.size), help="machine RAM for compressed pages (a quarter of what --resident says)")
    p.add_argument("--pause-after", metavar="S", type=typed(options.count), help="seconds that a guest waits for room, if there is none for its cold pages,"
                   " before it is paused; 0: for ever (10)")
    p.add_argument("--no-read-ahead", action="store_true", default=None, help="guests with --resident get no page before they ask for it")
    p.add_argument("--identity", metavar="WHO", help=f"what the guest takes the hypervisor for: {', '.join(options.IDENTITIES)} (meanwhile)")
    p.add_argument("--plain-waits", action="store_true", default=None, help="a vCPU that waits for a page takes no interrupt of its guest's"
                   " meanwhile, unless it has asynchronous page faults on: to compare with")
    p.add_argument("--no-reboot", action="store_true", default=None, help="a reset ends the guest, which is exit code 3")
    p.add_argument("--quiet", action="store_true", default=None, help="no '[mw] ' lines and no report at power-off")


def parser():
    top = Parser(prog="mw", description=__doc__, allow_abbrev=False)
    commands = top.add_subparsers(dest="command", metavar="run|pack|image|report|setup", required=True, parser_class=Parser)

    def command(name, text, brief, epilog=None, among=commands):
        return among.add_parser(name, description=text, help=brief, epilog=epilog, allow_abbrev=False,
                                formatter_class=argparse.RawDescriptionHelpFormatter)

    run = command("run", RUN_HELP, "start guests under QEMU", RUN_EPILOG)
    add_guest_options(run)
    run.add_argument("--demo", action="store_true", default=None, help=f"the default guest with {show_size(options.DEMO_RESIDENT)} of its RAM at once,"
                     f" the rest on a drive that takes {options.DEMO_DELAY} ms: what that costs, with its module and without")
    run.add_argument("--machine", metavar="M", help="QEMU machine: virt, with GICv3; virt-gicv2 (virt)")
    run.add_argument("--cpu", metavar="TYPE", help="QEMU cpu; 'max' wants 'max,pauth-impdef=on' (cortex-a57)")
    run.add_argument("--ram", metavar="SIZE", type=typed(options.size), help="machine RAM (guest RAM + 256M, or more if the guests take it)")
    run.add_argument("--swap", metavar="FILE", help="where cold pages go that do not compress: a file, made for the run if it is not there, or"
                     " nbd+unix:///EXPORT?socket=S; guests may then have more RAM than the machine")
    run.add_argument("--icount", action="store_true", default=None, help="-icount shift=0,sleep=off")
    run.add_argument("--timeout", metavar="S", type=typed(options.seconds), help="end the run after S seconds")
    run.add_argument("--stats", metavar="FILE", help="write result and statistics as JSON")
    run.add_argument("--record", metavar="FILE", help="write samples of the guests' pages and counters, for 'mw report'")
    run.add_argument("--record-every", metavar="MS", type=typed(options.count), help="between two of them (100)")
    run.add_argument("--qemu-arg", metavar="A", action="append", help="pass an argument to QEMU; repeatable")

    pack = command("pack", PACK_HELP, "write a bootable image")
    pack.add_argument("-o", dest="output", metavar="IMAGE", required=True, help="the file to write")
    add_guest_options(pack)

    images = command("image", IMAGE_HELP, "make a page image, look into it, verify it", IMAGE_EPILOG).add_subparsers(
        dest="verb", metavar="create|list|verify", required=True, parser_class=Parser)
    make = command("create", "Writes a page image. The same files make the same image.", "write a page image", among=images)
    make.add_argument("-o", dest="output", metavar="OUT", required=True, help="the file to write")
    make.add_argument("files", metavar="NAME=FILE", nargs="+", help="a file, and its name in the image")
    for verb, text in (("list", "Lists the files of a page image, and how their pages are stored."),
                       ("verify", "Reads all of a page image, and says which pages are bad.")):
        command(verb, text, text.rstrip(".").lower(), among=images).add_argument("file", metavar="F", help="a page image")

    draw = command("report", REPORT_HELP, "draw a page from a recorded run")
    draw.add_argument("file", metavar="F", help="what --record wrote")
    draw.add_argument("-o", dest="output", metavar="OUT.html", required=True, help="the page to write")

    install = command("setup", SETUP_HELP, "install and fetch what is missing")
    install.add_argument("--check", action="store_true", help="change nothing; exit 2 if something is missing")
    install.add_argument("--kernels", action="store_true",
                         help="also collect what only tests start: more kernels and tools, into build/kernels/ and build/detect/")
    return top


def join_values(argv):
    """argparse takes '--append -x' for two options; these two take whatever follows."""
    out, rest = [], list(argv)
    while rest:
        arg = rest.pop(0)
        if arg in ("--append", "--qemu-arg") and rest:
            arg += "=" + rest.pop(0)
        out.append(arg)
    return out


def hypervisor():
    path = os.environ.get("MW_IMAGE") or os.path.join(BUILD, "meanwhile.img")
    if not os.path.exists(path):
        raise Refusal(f"hypervisor image: no such file: {path} (make builds it)")
    return image.Hypervisor(path)


def cmd_run(args):
    machine, guests = options.resolve(args, qemu.interactive())
    hv = hypervisor()
    packed = image.pack(hv, machine, guests)
    # QEMU wants its boot code below the image and its device tree (up to 2 MiB) above it.
    if hv.load_offset() + len(packed) + 4 * MIB > machine.ram:
        raise Refusal(f"hypervisor, kernel and initrd ({len(packed) // MIB + 1} MiB) do not fit into the machine's"
                      f" RAM of {show_size(machine.ram)}: raise --ram")
    if machine.swap == options.DEMO_DRIVE and not machine.quiet:
        say(f"the guest may hold {show_size(guests[0].resident)} of its {show_size(guests[0].memory)} at once; the rest is on a drive that takes"
            f" {options.DEMO_DELAY} ms")
    return qemu.run(machine, hv, packed)


def cmd_pack(args):
    machine, guests = options.resolve(args, interactive=True)
    for guest in guests:
        if guest.disk:
            raise Refusal(f"guest '{guest.name}': a disk cannot be packed: pack what is on it with --image")
    packed = image.pack(hypervisor(), machine, guests)
    try:
        with open(args.output, "wb") as f:
            f.write(packed)
    except OSError as e:
        raise Refusal(f"cannot write {args.output}: {e.strerror}") from None
    return EXIT_OFF


def image_create(args):
    named = []
    for pair in args.files:
        name, equals, path = pair.partition("=")
        if not equals or not path:
            raise Refusal(f"'{pair}' is not NAME=FILE")
        named.append((name, path))
    pageimage.create(args.output, named)
    return EXIT_OFF


def image_list(f):
    print(f"{'name':24} {'bytes':>13} {'stored':>13} {'zero':>8} {'raw':>8} {'lz4':>8}")
    for file in f.files:
        kinds, stored = dict.fromkeys(pageimage.KINDS, 0), file.index_pages * PAGE
        for page in range(file.pages):
            place = f.place(file, page)
            kinds[place.kind] += 1
            stored += place.length
        print(f"{file.name:24} {file.size:13} {stored:13} " + " ".join(f"{n:8}" for n in kinds.values()))
    return EXIT_OFF


def image_verify(f):
    count = 0
    for text in pageimage.faults(f):
        count += 1
        if count <= SHOWN:
            say(f"{f.path}: {text}")
    if count > SHOWN:
        say(f"{f.path}: and {count - SHOWN} more")
    return EXIT_BAD if count else EXIT_OFF


def cmd_image(args):
    if args.verb == "create":
        return image_create(args)
    try:
        with pageimage.Image(args.file) as f:
            return image_list(f) if args.verb == "list" else image_verify(f)
    except pageimage.BadImage as e:
        say(f"{args.file}: {e}")
        return EXIT_BAD


def cmd_report(args):
    from . import page  # matplotlib takes a second to load, and only this needs it

    try:
        run = page.read(args.file)
    except page.BadRecord as e:
        say(f"{args.file}: {e}")
        return EXIT_BAD
    page.write(run, args.output)
    return EXIT_OFF


def main(argv):
    args = parser().parse_args(join_values(argv))
    try:
        if args.command == "run":
            return cmd_run(args)
        if args.command == "pack":
            return cmd_pack(args)
        if args.command == "image":
            return cmd_image(args)
        if args.command == "report":
            return cmd_report(args)
        return setup.run(args.check, args.kernels)
    except Refusal as e:
        say(e)
        return EXIT_USAGE
    except KeyboardInterrupt:
        return 130
