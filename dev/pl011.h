/* SPDX-License-Identifier: BSD-2-Clause */
/* The physical PL011 (DDI 0183G), as firmware left it: no baud rate is set. The caller serialises. */
#pragma once

#include "lib/types.h"

void pl011_init(pa_t base); /* also turns receiver, transmitter and RX interrupts on */
void pl011_put(char c);     /* waits for room in the FIFO */
bool pl011_get(uint8_t *c); /* false: nothing came */
void pl011_rx_interrupt(bool on);
bool pl011_present(void); /* pl011_init() was called */
void pl011_drain(void);   /* until the last byte has left */
