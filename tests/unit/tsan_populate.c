/* SPDX-License-Identifier: BSD-2-Clause */
/* SOURCES: mm/frames.c mm/epoch.c mm/stage2.c mm/source.c mm/transition.c mm/populate.c mm/fault.c mm/helper.c mm/guestmem.c lib/esr.c tests/unit/fake/fake_arch.c tests/unit/support.c */
