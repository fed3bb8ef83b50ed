/* SPDX-License-Identifier: BSD-2-Clause */
#include "dev/pl011.h"

#include "dev/mmio.h"
#include "lib/arch.h"

#define UARTDR 0x00
#define UARTFR 0x18
#define UARTLCR_H 0x2c
#define UARTCR 0x30
#define UARTIMSC 0x38

#define FR_BUSY (1u << 3)
#define FR_RXFE (1u << 4)
#define FR_TXFF (1u << 5)
#define LCR_H_FEN (1u << 4)
#define LCR_H_WLEN8 (3u << 5)
#define CR_UARTEN (1u << 0)
#define CR_TXE (1u << 8)
#define CR_RXE (1u << 9)
#define INT_RX (1u << 4)
#define INT_RT (1u << 6)

static pa_t uart RO_AFTER_INIT;

void pl011_init(pa_t base)
{
    uart = base;
    mmio_write32(uart, UARTIMSC, 0);
    /* The FIFO stays as it was: turning it on would empty it, and lose what was typed ahead. */
    mmio_write32(uart, UARTLCR_H, (mmio_read32(uart, UARTLCR_H) & LCR_H_FEN) | LCR_H_WLEN8);
    mmio_write32(uart, UARTCR, CR_UARTEN | CR_TXE | CR_RXE);
}

bool pl011_present(void)
{
    return uart.v != 0;
}

void pl011_put(char c)
{
    while (mmio_read32(uart, UARTFR) & FR_TXFF)
        cpu_relax();
    mmio_write32(uart, UARTDR, (uint8_t)c);
}

bool pl011_get(uint8_t *c)
{
    if (mmio_read32(uart, UARTFR) & FR_RXFE)
        return false;
    *c = (uint8_t)mmio_read32(uart, UARTDR);
    return true;
}

void pl011_rx_interrupt(bool on)
{
    /* Both are levels that reading takes away. Clearing one by hand could lose the byte that has just come. */
    mmio_write32(uart, UARTIMSC, on ? INT_RX | INT_RT : 0);
}

void pl011_drain(void)
{
    while (mmio_read32(uart, UARTFR) & FR_BUSY)
        cpu_relax();
}
