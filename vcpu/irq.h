/* SPDX-License-Identifier: BSD-2-Clause */
/* Physical interrupts on a vCPU core: the guest's timers, signals from other cores, devices of EL2. */
#pragma once

#include "vcpu/vm.h"

/* Boot core: which PPI the list registers call by. */
void irq_init(uint32_t maintenance_ppi);

/*
 * An exit for an interrupt: takes the most urgent one and serves it. Another one that is pending causes the next exit.
 * Own core, interrupts masked.
 */
void irq_trap(struct vcpu *v);

/* Takes and serves whatever is pending. Own core, interrupts masked: on an exit, or while waiting in EL2. */
void irq_poll(struct vcpu *v);

/* Boot core, before the guests run: who serves a physical SPI. */
void irq_route_spi(uint32_t intid, void (*serve)(void));

/* Own core, once, after its GIC: the PPIs that EL2 and its guest need. */
void irq_core_init(void);

/* Boot core, before the guests run: who is told when an alarm rings. */
void irq_on_alarm(void (*fn)(void));

/* Own core: the alarm rings here, once, in `ms` milliseconds, whether the guest runs or waits. A new one replaces it. */
void irq_alarm(uint32_t ms);

/* Own core: the PPIs of the guest's timers whose lines are high now, a bit for each INTID. */
uint32_t irq_timer_lines(void);

/* Sleeps until something is pending, and serves it. */
void irq_wait(struct vcpu *v);
