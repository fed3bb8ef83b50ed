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
 * Revision of the interface: major in w0, minor in w1. Within a major number nothing changes its meaning and nothing goes; a
 * minor number adds. Which calls there are is for MW_FN_FEATURES to say.
 */
#define MW_FN_REVISION 0x8600ff03
#define MW_REVISION_MAJOR 1
#define MW_REVISION_MINOR 0

/* Our own calls have numbers from 0x100 up, clear of those of KVM, whatever the UID says. */
#define MW_FN_FIRST 0x86000100

/* Which calls there are: x0 is a bitmap, or negative as from any function that a version does not have. Since 0.2. */
#define MW_FN_FEATURES 0x86000100
#define MW_FEATURE_RELEASE 0x1 /* MW_FN_RELEASE */
#define MW_FEATURE_INFO 0x2    /* MW_FN_INFO, and the information page */
#define MW_FEATURE_APF 0x4     /* MW_FN_APF_ENABLE, MW_FN_APF_DISABLE, MW_FN_APF_WAIT */
#define MW_FEATURE_HINT 0x8    /* MW_FN_HINT */

/*
 * Errors, as 64-bit numbers. Nothing was done.
 */
#define MW_INVALID_PARAMETER (-3) /* not a page's address, not all RAM of the guest, a flag that does not exist */
#define MW_DENIED (-4)            /* not in this state: it is on already, or off, or another vCPU has that page */

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

/*
 * What the device tree's node says, for a guest without one. x0: revision, major in 31:16 and minor in 15:0; x1: features;
 * x2: address of the information page; x3: INTID of the event interrupt, a PPI, or 0 without MW_FEATURE_APF. Since 1.0.
 */
#define MW_FN_INFO 0xc6000100

/* The information page: read-only, always there, at this address, little-endian. Offsets in bytes. Since 1.0. */
#define MW_INFO_ADDRESS 0x0b000000
#define MW_INFO_MAGIC 0x00    /* 64 bits: MW_INFO_MAGIC_VALUE */
#define MW_INFO_REVISION 0x08 /* 32 bits: as x0 of MW_FN_INFO */
#define MW_INFO_SIZE 0x0c     /* 32 bits: bytes of the page that have a meaning */
#define MW_INFO_FEATURES 0x10 /* 64 bits: as from MW_FN_FEATURES */
#define MW_INFO_EVENT 0x18    /* 32 bits: as x3 of MW_FN_INFO */
#define MW_INFO_BUILD 0x20    /* 64 characters, NUL-terminated: for people */
#define MW_INFO_BYTES 0x60
#define MW_INFO_MAGIC_VALUE 0x656c69776e61656d /* "meanwile" */

/*
 * Asynchronous page faults (MW_FEATURE_APF, since 1.0). doc/abi.md tells it as a whole.
 *
 * Enable, for the vCPU that calls: x1: address of a page of RAM, which no other vCPU has; it is zeroed, and both sides write it
 * from now on; x2: flags. From then on a touch of a page that is not present may be an abort (MW_APF_ESR_*), whose FAR_EL1
 * is a token, instead of a wait. Comes back with x1: all tokens of this vCPU from now on are greater, as 64-bit numbers.
 */
#define MW_FN_APF_ENABLE 0xc6000102
#define MW_APF_FLAG_EL1 0x1 /* from EL1 too: with interrupts on, and at an address whose bit 55 is clear */

/* Disable, for the vCPU that calls. Each token outstanding is answered by one MW_APF_WAKE_ALL, before the call returns. */
#define MW_FN_APF_DISABLE 0xc6000103

/*
 * Wait until the page of the token in x1 is there, or an interrupt is pending. Any vCPU may. x0 is MW_APF_TAKEN: no event will
 * tell of this token; MW_APF_UNREADABLE: the same, and the page has no content; or MW_APF_TOLD: it is no token any more, since an
 * event has told of it, which may not have been read yet.
 */
#define MW_FN_APF_WAIT 0xc6000104
#define MW_APF_TAKEN 0
#define MW_APF_TOLD 1
#define MW_APF_UNREADABLE 2

/* ESR_EL1 of "not present": a data abort with fault status 0x34, also where an instruction was fetched. */
#define MW_APF_ESR_EL0 0x92000034
#define MW_APF_ESR_EL1 0x96000034

/* A token has the vCPU's number in bits 63:48. It is never 0. */
#define MW_APF_TOKEN_VCPU_SHIFT 48

/* The page. Offsets in bytes, little-endian. Each part has one writer. */
#define MW_APF_PAGE_MAGIC 0x000    /* 64 bits, the hypervisor's: MW_APF_PAGE_MAGIC_VALUE */
#define MW_APF_PAGE_REVISION 0x008 /* 32 bits, the hypervisor's: as x0 of MW_FN_INFO */
#define MW_APF_PAGE_SIZE 0x00c     /* 32 bits, the hypervisor's: bytes of the page that have a meaning */
#define MW_APF_PAGE_PRODUCER 0x100 /* 32 bits, the hypervisor's: entries written since it was enabled */
#define MW_APF_PAGE_CONSUMER 0x200 /* 32 bits, the guest's: entries read */
#define MW_APF_PAGE_RING 0x300     /* MW_APF_ENTRIES entries; entry n is at n modulo that */
#define MW_APF_PAGE_BYTES 0x700
#define MW_APF_PAGE_MAGIC_VALUE 0x676e697265746e65 /* "entering" */

#define MW_APF_ENTRIES 64
#define MW_APF_ENTRY_TOKEN 0x0  /* 64 bits */
#define MW_APF_ENTRY_STATUS 0x8 /* 32 bits */
#define MW_APF_ENTRY_BYTES 16

#define MW_APF_READY 0    /* touch it again */
#define MW_APF_ERROR 1    /* it has no content: touching it again is an external abort */
#define MW_APF_WAKE_ALL 2 /* all tokens of this vCPU; the entry's is all ones */

/*
 * Hint: these pages will be touched soon. x1: address of the first page; x2: how many of 4 KiB. x0 is how many were looked at, from
 * the first one on: the hypervisor does not do more at once. Since 1.0.
 */
#define MW_FN_HINT 0xc6000105
