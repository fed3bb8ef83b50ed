# SPDX-License-Identifier: BSD-2-Clause
"""What tools/mw is made of: command line -> options -> image -> qemu -> report, one file each; and setup."""
