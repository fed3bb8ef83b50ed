/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The list registers of one core as hardware has them, and what a guest does to them through its CPU interface
 * (IHI 0069H 4.8 pseudocode, 12.4). A test points `fake_gich` at the core whose turn it is; threads have one each.
 */
#pragma once

#include "dev/gich.h"

struct fake_gich {
    uint32_t lrs;
    bool tds;
    bool no_hw; /* HW = 1 must not be used */
    uint64_t lr[16];
    uint64_t hcr, vmcr;
    uint32_t apr;                         /* active priorities: bit n for priority 8n */
    void (*deactivated)(uint32_t pintid); /* the guest ended an interrupt with HW = 1; may be NULL */
    uint64_t lr_reads, lr_writes;
};

extern _Thread_local struct fake_gich *fake_gich;

/* The lines of the guest's timers that are high, a bit for each INTID: what irq_timer_lines() says. */
extern _Thread_local uint32_t fake_timer_lines;

#define FAKE_SPURIOUS 1023

uint32_t fake_gich_misr(void);      /* not 0: the maintenance interrupt is raised */
uint32_t fake_gich_highest(void);   /* the INTID the guest would get by acknowledging now, or FAKE_SPURIOUS */
uint32_t fake_gich_ack(void);       /* ICC_IARn_EL1 of the group of the highest */
void fake_gich_eoi(uint32_t intid); /* ICC_EOIRn_EL1 */
bool fake_gich_dir(uint32_t intid); /* ICC_DIR_EL1; true: it traps, and nothing has happened */
