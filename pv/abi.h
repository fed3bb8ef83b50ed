/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The paravirtual interface as a guest sees it: identifiers and numbers, nothing else. No include and no C type, so any
 * guest can take this file as it is, from C or from assembly.
 *
 * What stands here never changes its meaning. A function that a version does not have returns MW_NOT_SUPPORTED.
 */
#pragma once

/* Device tree: look for one of these in the `compatible` of a node, whatever its path. */
#define MW_COMPATIBLE_1_0 "meanwhile,hypervisor-1.0"
#define MW_COMPATIBLE "meanwhile,hypervisor"

/* x0 of every call that is not there (DEN0028), as a 64-bit number. */
#define MW_NOT_SUPPORTED (-1)

/*
 * Who serves the vendor-specific hypervisor range (DEN0028, general service queries): UID
 * 6d65616e-7768-4c65-a155-7965743f0001 in w0 to w3, the UID's first byte in bits 7:0 of w0.
 */
#define MW_FN_UID 0x8600ff01
#define MW_UID_0 0x6e61656d
#define MW_UID_1 0x654c6877
#define MW_UID_2 0x657955a1
#define MW_UID_3 0x01003f74

/*
 * Revision of the interface: major in w0, minor in w1. Major 0 promises discovery alone; the calls from 0x86000100 up
 * begin with 1.0, and a guest that wants them asks for a major of at least 1.
 */
#define MW_FN_REVISION 0x8600ff03
#define MW_REVISION_MAJOR 0
#define MW_REVISION_MINOR 1

/* Our own calls have numbers from 0x100 up, clear of those of KVM, whatever the UID says. */
#define MW_FN_FIRST 0x86000100
