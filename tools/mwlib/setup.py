# SPDX-License-Identifier: BSD-2-Clause
"""Sets a Debian 12 machine up: host packages with apt, and arm64 packages unpacked into build/debian/.

The arm64 packages are never installed: apt reads the archive's arm64 index into lists of its own, and dpkg-deb unpacks.
    build/debian/root/      the packages' files
    build/debian/vmlinuz    the kernel
    build/debian/busybox    the static busybox
    build/headers/arm64/    what modules for that kernel are built with
and, for the tests that start them (--kernels):
    build/kernels/rt, 6.12  the boot files of Debian's -rt-arm64 kernel and of its newer one
    build/headers/rt, 6.12  and theirs
    build/detect/root/      systemd-detect-virt and virt-what, with the libraries and the tool that they need
"""

import os
import re
import shutil
import subprocess
import time

from .common import BUILD, EXIT_OFF, EXIT_USAGE, Refusal, say

PACKAGES = (
    # the build
    "gcc", "libc6-dev", "gcc-aarch64-linux-gnu", "libc6-dev-arm64-cross", "binutils-aarch64-linux-gnu", "make", "python3",
    # the machine
    "qemu-system-arm", "qemu-utils", "nbdkit", "device-tree-compiler", "liblz4-1",
    # the pages of `mw report`
    "python3-matplotlib",
    # the tests
    "libcmocka-dev", "libfdt-dev", "liblz4-dev", "python3-pytest", "python3-pexpect", "cpio", "dt-schema", "dkms",
    "gcc-arm-linux-gnueabihf", "libc6-dev-armhf-cross",
    # the checks and the fuzzers
    "clang", "clang-format", "clang-tidy", "libclang-rt-dev", "pyflakes3", "spin",
)
# The kernel's name changes with its ABI: what linux-image-arm64 depends on is the current one.
KERNEL_META = "linux-image-arm64"
ARM64_PACKAGES = ("busybox-static", "libfdt-dev", "liblz4-dev")

DEBIAN = os.path.join(BUILD, "debian")
STAMP = os.path.join(DEBIAN, "packages")  # what was unpacked, written last

RT_META = "linux-image-rt-arm64"
NEWER = r"linux-image-6\.12\.[0-9]+\+deb12-arm64"  # of bookworm-security: no package depends on the current one
KERNELS = os.path.join(BUILD, "kernels")
KERNELS_STAMP = os.path.join(KERNELS, "packages")
HEADERS = os.path.join(BUILD, "headers")

# What names the machine a system runs on, for the tests: nothing but what these two start and load.
DETECT_PACKAGES = ("systemd", "libsystemd-shared", "virt-what", "dmidecode", "libc6", "libacl1", "libaudit1", "libblkid1", "libcap2",
                   "libcap-ng0", "libcrypt1", "libgcrypt20", "libgpg-error0", "libip4tc2", "libkmod2", "liblz4-1", "liblzma5", "libmount1",
                   "libpam0g", "libpcre2-8-0", "libseccomp2", "libselinux1", "libssl3", "libzstd1")  # yapf: disable
DETECT = os.path.join(BUILD, "detect")
DETECT_STAMP = os.path.join(DETECT, "packages")
LOG = os.path.join(BUILD, "setup.log")
ENVIRONMENT = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C"}


def missing_packages():
    """Host packages that are not installed, in PACKAGES' order."""
    out = subprocess.run(["dpkg-query", "-W", "-f", "${db:Status-Status} ${Package}\n", *PACKAGES],
                         capture_output=True, text=True, check=False).stdout
    installed = {line.split()[1] for line in out.splitlines() if line.startswith("installed ")}
    return [p for p in PACKAGES if p not in installed]


def collected(stamp=STAMP, packages=ARM64_PACKAGES):
    """Is all of that folder there? What an older version of this file collected may lack a package."""
    try:
        with open(stamp, encoding="utf-8") as f:
            debs = f.read().splitlines()
    except OSError:
        return False
    return all(any(d.startswith(f"{p}_") for d in debs) for p in packages)


def run_logged(command, what, cwd=None):
    """Runs a command with its output in the log; says every few seconds how far it is. Returns its exit status."""
    shown = time.monotonic()
    with open(LOG, "a", encoding="utf-8") as log:
        log.write(f"$ {' '.join(command)}\n")
        log.flush()
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                   env=ENVIRONMENT, cwd=cwd, text=True, errors="replace")
        with process.stdout:
            for line in process.stdout:
                log.write(line)
                if time.monotonic() - shown > 5 and re.match(r"(Get:|Unpacking|Setting up|Selecting)", line):
                    say(f"{what}: {line.strip()[:90]}")
                    shown = time.monotonic()
        return process.wait()


def log_tail():
    with open(LOG, encoding="utf-8", errors="replace") as f:
        return "".join(f"    {line}\n" for line in f.read().splitlines()[-15:])


def as_root():
    """The words before a command that root must run, or None."""
    if os.geteuid() == 0:
        return []
    if shutil.which("sudo") and not subprocess.run(["sudo", "-n", "true"], capture_output=True, check=False).returncode:
        return ["sudo", "-n", "env", "DEBIAN_FRONTEND=noninteractive"]
    return None


def install(packages):
    line = ["apt-get", "install", "-y", "--no-install-recommends", *packages]
    prefix = as_root()
    if prefix is None:
        raise Refusal(f"root is needed, run this and try again: sudo apt-get update && sudo {' '.join(line)}")
    say(f"setup: installing {' '.join(packages)} (log: {LOG})")
    # Somebody else's source may fail to update: what counts is whether the packages can be had.
    run_logged(prefix + ["apt-get", "-o", "DPkg::Lock::Timeout=300", "update"], "setup")
    if run_logged(prefix + line[:1] + ["-o", "DPkg::Lock::Timeout=300"] + line[1:], "setup") != 0 or missing_packages():
        raise Refusal(f"setup: apt-get could not install {' '.join(packages)}; the end of {LOG}:\n{log_tail()}")


class Arm64Index:
    """apt on the archive's arm64 index, with lists and caches of its own in `folder`."""

    def __init__(self, folder):
        self.folder = folder
        os.makedirs(os.path.join(folder, "lists", "partial"))
        os.makedirs(os.path.join(folder, "archives", "partial"))
        self.options = []
        for option in ("APT::Architecture=arm64", "APT::Architectures=arm64", f"Dir::State::Lists={folder}/lists",
                       f"Dir::Cache={folder}", "Dir::Cache::pkgcache=", "Dir::Cache::srcpkgcache=",
                       "Acquire::Languages=none", "APT::Sandbox::User=", "Acquire::Retries=3"):
            self.options += ["-o", option]

    def update(self):
        run_logged(["apt-get", *self.options, "update"], "setup")

    def dependency(self, package, pattern):
        out = subprocess.run(["apt-cache", *self.options, "depends", package], capture_output=True, text=True,
                             env=ENVIRONMENT, check=False).stdout
        match = re.search(rf"^\s*Depends: ({pattern})$", out, re.MULTILINE)
        if not match:
            raise Refusal(f"setup: apt finds no arm64 {package}: do the apt sources leave other architectures out?"
                          f" The end of {LOG}:\n{log_tail()}")
        return match[1]

    def newest(self, pattern):
        """The package of the highest version among those whose names match."""
        out = subprocess.run(["apt-cache", *self.options, "pkgnames", "linux-image-"], capture_output=True, text=True,
                             env=ENVIRONMENT, check=False).stdout
        names = [n for n in out.split() if re.fullmatch(pattern, n)]
        if not names:
            raise Refusal(f"setup: apt finds no arm64 {pattern}: do the apt sources leave bookworm-security out?"
                          f" The end of {LOG}:\n{log_tail()}")
        return max(names, key=lambda n: [int(d) for d in re.findall(r"[0-9]+", n)])

    def download(self, packages):
        """The .deb files, by their packages' order."""
        if run_logged(["apt-get", *self.options, "download", *packages], "setup", cwd=self.folder) != 0:
            raise Refusal(f"setup: cannot download {' '.join(packages)} for arm64; the end of {LOG}:\n{log_tail()}")
        names = os.listdir(self.folder)
        return [os.path.join(self.folder, n) for p in packages for n in names if n.startswith(f"{p}_")]


def unpack(debs, folder):
    for deb in debs:
        if run_logged(["dpkg-deb", "-x", deb, folder], "setup") != 0:
            raise Refusal(f"setup: cannot unpack {deb}; the end of {LOG}:\n{log_tail()}")


def collect():
    """Fetches and unpacks the arm64 packages."""
    work = DEBIAN + ".new"
    shutil.rmtree(work, ignore_errors=True)
    shutil.rmtree(DEBIAN, ignore_errors=True)
    os.makedirs(work)
    say("setup: collecting Debian's arm64 kernel, busybox, libfdt and liblz4 (about 60 MB)")
    index = Arm64Index(os.path.join(work, "apt"))
    index.update()
    kernel = index.dependency(KERNEL_META, r"linux-image-[0-9]\S+-arm64")
    debs = index.download([kernel, *ARM64_PACKAGES])
    unpack(debs, os.path.join(work, "root"))
    shutil.rmtree(index.folder)
    os.symlink(f"root/boot/vmlinuz-{kernel.removeprefix('linux-image-')}", os.path.join(work, "vmlinuz"))
    os.symlink("root/bin/busybox", os.path.join(work, "busybox"))
    for name in ("vmlinuz", "busybox"):
        if not os.path.exists(os.path.join(work, name)):
            raise Refusal(f"setup: {name} is not where its package had it; see {LOG}")
    with open(os.path.join(work, "packages"), "w", encoding="utf-8") as f:
        f.writelines(os.path.basename(d) + "\n" for d in debs)
    os.rename(work, DEBIAN)


def boot_files(deb, folder):
    """Unpacks a kernel's /boot, where vmlinuz is; a tenth of the package, and no test wants its modules."""
    os.makedirs(folder)
    line = 'dpkg-deb --fsys-tarfile "$1" | tar -x -C "$2" ./boot'
    if run_logged(["bash", "-o", "pipefail", "-c", line, "setup", deb, folder], "setup") != 0:
        raise Refusal(f"setup: cannot unpack {deb}; the end of {LOG}:\n{log_tail()}")
    (image,) = [n for n in os.listdir(os.path.join(folder, "boot")) if n.startswith("vmlinuz-")]
    os.symlink(f"boot/{image}", os.path.join(folder, "vmlinuz"))


def collect_kernels():
    """Fetches and unpacks the kernels that only tests start."""
    work = KERNELS + ".new"
    shutil.rmtree(work, ignore_errors=True)
    shutil.rmtree(KERNELS, ignore_errors=True)
    os.makedirs(work)
    say("setup: collecting more of Debian's arm64 kernels, for the tests (about 150 MB)")
    index = Arm64Index(os.path.join(work, "apt"))
    index.update()
    names = {"rt": index.dependency(RT_META, r"linux-image-[0-9]\S+-rt-arm64"), "6.12": index.newest(NEWER)}
    debs = index.download(list(names.values()))
    for folder, deb in zip(names, debs, strict=True):
        boot_files(deb, os.path.join(work, folder))
    shutil.rmtree(index.folder)
    with open(os.path.join(work, "packages"), "w", encoding="utf-8") as f:
        f.writelines(os.path.basename(d) + "\n" for d in debs)
    os.rename(work, KERNELS)


def collect_detectors():
    """Fetches and unpacks what the tests let name their machine."""
    work = DETECT + ".new"
    shutil.rmtree(work, ignore_errors=True)
    shutil.rmtree(DETECT, ignore_errors=True)
    os.makedirs(work)
    say("setup: collecting systemd-detect-virt and virt-what for arm64, for the tests (about 11 MB)")
    index = Arm64Index(os.path.join(work, "apt"))
    index.update()
    debs = index.download(DETECT_PACKAGES)
    unpack(debs, os.path.join(work, "root"))
    shutil.rmtree(index.folder)
    with open(os.path.join(work, "packages"), "w", encoding="utf-8") as f:
        f.writelines(os.path.basename(d) + "\n" for d in debs)
    os.rename(work, DETECT)


def kernel_packages(kernels):
    """{name: kernel's package} of those that were collected."""
    found = {}
    for name, path in (("arm64", STAMP), *((n, KERNELS_STAMP) for n in ("rt", "6.12") if kernels)):
        with open(path, encoding="utf-8") as f:
            images = [d.split("_")[0] for d in f.read().splitlines() if d.startswith("linux-image-")]
        (found[name],) = [i for i in images if name == "arm64" or ("-rt-" if name == "rt" else "-6.12.") in i]
    return found


def headers_stamp(name, package):
    return os.path.join(HEADERS, name, package)


def collect_headers(packages):
    """
    Fetches and unpacks the headers of these kernels: the machine's own build tools among them, arm64's configuration and
    the sources that all architectures share. Their one absolute path is made to lead here.
    """
    work = HEADERS + ".new"
    shutil.rmtree(work, ignore_errors=True)
    os.makedirs(work)
    say("setup: collecting the headers of Debian's arm64 kernels (about 15 MB each)")
    index = Arm64Index(os.path.join(work, "apt"))
    index.update()
    for name, package in packages.items():
        root, headers = os.path.join(work, name), package.replace("linux-image-", "linux-headers-")
        common = index.dependency(headers, r"linux-headers-\S+-common\S*")
        kbuild = index.dependency(headers, r"linux-kbuild-\S+")
        debs = index.download([headers, common])
        if run_logged(["apt-get", "-o", "Acquire::Retries=3", "download", kbuild], "setup", cwd=index.folder) != 0:
            raise Refusal(f"setup: cannot download {kbuild}; the end of {LOG}:\n{log_tail()}")
        debs += [os.path.join(index.folder, n) for n in os.listdir(index.folder) if n.startswith(f"{kbuild}_")]
        unpack(debs, root)
        source = os.path.join("usr", "src", headers)
        makefile = os.path.join(root, source, "Makefile")
        with open(makefile, encoding="utf-8") as f:
            text = f.read()
        with open(makefile, "w", encoding="utf-8") as f:
            f.write(text.replace("/usr/src/", f"{os.path.join(HEADERS, name)}/usr/src/"))
        os.symlink(source, os.path.join(root, "build"))
        with open(os.path.join(root, package), "w", encoding="utf-8") as f:
            f.writelines(os.path.basename(d) + "\n" for d in debs)
        os.makedirs(HEADERS, exist_ok=True)
        shutil.rmtree(os.path.join(HEADERS, name), ignore_errors=True)
        os.rename(root, os.path.join(HEADERS, name))
    shutil.rmtree(work)


def run(check_only=False, kernels=False):
    if not shutil.which("apt-get") or not shutil.which("dpkg-query"):
        raise Refusal(f"setup: this is not a Debian system; install by hand: {' '.join(PACKAGES)}")
    missing = missing_packages()
    absent = [] if collected() else ["build/debian"]
    absent += [] if not kernels or os.path.exists(KERNELS_STAMP) else ["build/kernels"]
    detectors = [] if not kernels or collected(DETECT_STAMP, DETECT_PACKAGES) else ["build/detect"]
    if not absent:
        absent += [f"build/headers/{n}" for n, p in kernel_packages(kernels).items() if not os.path.exists(headers_stamp(n, p))]
    absent += detectors
    if check_only:
        if missing or absent:
            say(f"setup: missing: {' '.join(missing + absent)}")
            return EXIT_USAGE
        return EXIT_OFF
    os.makedirs(BUILD, exist_ok=True)
    if missing:
        install(missing)
    if "build/debian" in absent:
        collect()
    if "build/kernels" in absent:
        collect_kernels()
    if "build/detect" in absent:
        collect_detectors()
    without = {n: p for n, p in kernel_packages(kernels).items() if not os.path.exists(headers_stamp(n, p))}
    if without:
        collect_headers(without)
    return EXIT_OFF
