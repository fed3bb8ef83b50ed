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
 * Revision of the interface: major in w0, minor in w1. Major 0 promises discovery alone; which of the calls from 0x86000100
 * up there are is for MW_FN_FEATURES to say.
 */
#define MW_FN_REVISION 0x8600ff03
#define MW_REVISION_MAJOR 0
#define MW_REVISION_MINOR 2

/* Our own calls have numbers from 0x100 up, clear of those of KVM, whatever the UID says. */
#define MW_FN_FIRST 0x86000100

/*
 * Which calls there are: x0 is a bitmap, or negative as from any function that a version does not have. Since 0.2.
 */
#define MW_FN_FEATURES 0x86000100
#define MW_FEATURE_RELEASE 0x1 /* MW_FN_RELEASE */

/*
 * Release: the guest has no use for what these pages hold. x1: address of the first page, as the guest sees physical
 * addresses; x2: how many pages of 4 KiB. They are in the guest's RAM. Since 0.2.
 *
 * It is a hint, and pages go by blocks of 2 MiB: those that lie in the range from end to end read as zero from now on, and
 * get RAM again when they are touched. Others, and those that the hypervisor is using, keep what they hold.
 *
 * A call may do a part of the range: x0 is how many pages it has come to, from the first one on. The caller goes on behind them
 * until none are left. x1 is how many of these read as zero now. Nothing is done where x0 is negative.
 */
#define MW_FN_RELEASE 0xc6000101
#define MW_INVALID_PARAMETER (-3) /* not a page's address, or not all RAM of the guest */
