# SPDX-License-Identifier: BSD-2-Clause
"""The command line of mw."""

import argparse
import os
import sys

from . import image, options, qemu, setup
from .common import BUILD, EXIT_OFF, EXIT_USAGE, MIB, Refusal, say, show_size

RUN_HELP = """\
Starts guests under QEMU, on demand-paged memory: one, or those of a --config file. Without --kernel it is Debian's kernel with a small
demonstration: a shell if standard input is a terminal, a short workload if not.

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

A TOML file has [machine] (machine, cpu, ram, helpers, cores, icount, timeout, stats, quiet, qemu-arg) and
[[guest]] (name, kernel, initrd, append, cpus, memory, identity, populate-granule, no-reboot), as often as there are
guests. Paths in it count from its own folder; options on the command line override it, for each of the guests.

environment: MW_IMAGE is the hypervisor image to start (build/meanwhile.img); MW_THREADS, single or multi, is how
QEMU runs the cores (one thread for a guest with one vCPU, else one for each core)."""

PACK_HELP = """\
Writes hypervisor, configuration and payloads as one bootable arm64 Image, for QEMU's -kernel, U-Boot's booti or
firmware."""

SETUP_HELP = """\
Installs what is missing with apt, as root or through sudo, and collects Debian's arm64 kernel, busybox and libfdt
into build/debian/, unpacked and not installed. Repeatable, and quiet when there is nothing to do."""


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
    p.add_argument("--kernel", metavar="F", help="arm64 Image, or a raw image (Debian's kernel)")
    p.add_argument("--initrd", metavar="F", help="initial RAM disk (the demonstration's, with the default kernel)")
    p.add_argument("--append", metavar="S", help=f"kernel command line, instead of '{options.DEFAULT_APPEND}'")
    p.add_argument("--cpus", metavar="N", type=typed(options.count), help="vCPUs (1)")
    p.add_argument("--memory", metavar="SIZE", type=typed(options.size), help="guest RAM (512M)")
    p.add_argument("--helpers", metavar="N", type=typed(options.count), help="helper cores (1)")
    p.add_argument("--config", metavar="FILE.toml", help="machine and guests from a file")
    p.add_argument("--no-reboot", action="store_true", default=None, help="a reset ends the guest, which is exit code 3")
    p.add_argument("--quiet", action="store_true", default=None, help="no '[mw] ' lines and no report at power-off")


def parser():
    top = Parser(prog="mw", description=__doc__, allow_abbrev=False)
    commands = top.add_subparsers(dest="command", metavar="run|pack|setup", required=True, parser_class=Parser)

    def command(name, text, brief, epilog=None):
        return commands.add_parser(name, description=text, help=brief, epilog=epilog, allow_abbrev=False,
                                   formatter_class=argparse.RawDescriptionHelpFormatter)

    run = command("run", RUN_HELP, "start guests under QEMU", RUN_EPILOG)
    add_guest_options(run)
    run.add_argument("--machine", metavar="M", help="QEMU machine: virt, with GICv3; virt-gicv2 (virt)")
    run.add_argument("--cpu", metavar="TYPE", help="QEMU cpu; 'max' wants 'max,pauth-impdef=on' (cortex-a57)")
    run.add_argument("--ram", metavar="SIZE", type=typed(options.size), help="machine RAM (guest RAM + 256M, or more if the guests take it)")
    run.add_argument("--icount", action="store_true", default=None, help="-icount shift=0,sleep=off")
    run.add_argument("--timeout", metavar="S", type=typed(options.seconds), help="end the run after S seconds")
    run.add_argument("--stats", metavar="FILE", help="write result and statistics as JSON")
    run.add_argument("--qemu-arg", metavar="A", action="append", help="pass an argument to QEMU; repeatable")

    pack = command("pack", PACK_HELP, "write a bootable image")
    pack.add_argument("-o", dest="output", metavar="IMAGE", required=True, help="the file to write")
    add_guest_options(pack)

    install = command("setup", SETUP_HELP, "install and fetch what is missing")
    install.add_argument("--check", action="store_true", help="change nothing; exit 2 if something is missing")
    install.add_argument("--kernels", action="store_true",
                         help="also collect the kernels that only tests start, into build/kernels/")
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
    return qemu.run(machine, hv, packed)


def cmd_pack(args):
    machine, guests = options.resolve(args, interactive=True)
    packed = image.pack(hypervisor(), machine, guests)
    try:
        with open(args.output, "wb") as f:
            f.write(packed)
    except OSError as e:
        raise Refusal(f"cannot write {args.output}: {e.strerror}") from None
    return EXIT_OFF


def main(argv):
    args = parser().parse_args(join_values(argv))
    try:
        if args.command == "run":
            return cmd_run(args)
        if args.command == "pack":
            return cmd_pack(args)
        return setup.run(args.check, args.kernels)
    except Refusal as e:
        say(e)
        return EXIT_USAGE
    except KeyboardInterrupt:
        return 130
