/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A virtual PL011 (DDI 0183G): the guest's console. Output goes to the physical UART byte by byte, unchanged; input comes
 * from there into a FIFO of 16 bytes, and raises the RX interrupt at the level the guest chose.
 */
#pragma once

#include "lib/spinlock.h"
#include "lib/types.h"

struct vm;
struct vcpu;

#define VUART_FIFO 16

struct vuart {
    spinlock_t lock; /* guards all of it; never held while another lock is taken but the console's */
    uint8_t rx[VUART_FIFO];
    uint32_t rx_head, rx_count;
    bool rx_unseen; /* a byte has come since the guest last looked */
    uint32_t cr, lcr, imsc, ris, ifls, ibrd, fbrd, ilpr, dmacr;
    void (*put)(struct vm *vm, char c); /* where output goes; called with `lock` held */
    bool (*full)(struct vm *vm); /* no room for output now; called with `lock` held. NULL: there is always room */
    void (*more)(void);          /* there may be room for more input again; called without `lock`. NULL: nobody waits */
};

/* State as after reset; `put`, `full` and `more` stay. Boot core, before the guest runs, or when all its vCPUs are stopped. */
void vuart_reset(struct vm *vm);

/* MMIO, as vgicd_read() and vgicd_write(): `off` counts from the frame's base. */
uint64_t vuart_read(struct vcpu *v, uint32_t off, uint32_t size);
void vuart_write(struct vcpu *v, uint32_t off, uint32_t size, uint64_t val);

/* Bytes from the physical UART. Any core. Returns how many of `n` were taken; the rest is for a later try. */
size_t vuart_input(struct vm *vm, const uint8_t *s, size_t n);

/* How many bytes of input there is room for now. */
size_t vuart_room(struct vm *vm);
