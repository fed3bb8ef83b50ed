/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The PL011 (DDI 0183): identification, flags, interrupt mask and status, and input by interrupt. Prints `uart: ready`
 * when it wants a line of input, and that line reversed.
 */
#include "tests/guest/lib/guest.h"

#define DR 0x00
#define FR 0x18
#define LCR_H 0x2c
#define CR 0x30
#define IFLS 0x34
#define IMSC 0x38
#define RIS 0x3c
#define MIS 0x40
#define ICR 0x44
#define FR_BUSY BIT(3)
#define FR_RXFE BIT(4)
#define FR_TXFF BIT(5)
#define FR_TXFE BIT(7)
#define INT_RX BIT(4)
#define INT_TX BIT(5)
#define INT_RT BIT(6)
#define LCR_FIFO 0x70 /* FIFOs on, 8 bits */
#define CR_ON 0x301   /* UARTEN, TXE, RXE */

static uint32_t rd(uint64_t reg)
{
    return mmio_read32(UART + reg);
}

static void wr(uint64_t reg, uint32_t value)
{
    mmio_write32(UART + reg, value);
}

static void identification(void)
{
    static const uint8_t id[8] = {0x11, 0x10, 0x14, 0x00, 0x0d, 0xf0, 0x05, 0xb1};
    for (unsigned i = 0; i < 8; i++) {
        const uint32_t value = rd(0xfe0 + 4 * i);
        /* PeriphID2[7:4] is the revision, which differs between PL011s. */
        if ((i == 2 ? (value & 0x0f) != (id[i] & 0x0f) : value != id[i])) {
            fail("PrimeCell identification", "register %x reads %x", 0xfe0 + 4 * i, value);
            return;
        }
    }
    pass("PrimeCell identification");
}

static void registers(void)
{
    wr(CR, 0);
    wr(LCR_H, LCR_FIFO);
    wr(0x24, 0x1234); /* IBRD, FBRD: kept and without effect */
    wr(0x28, 0x2a);
    check(rd(0x24) == 0x1234 && rd(0x28) == 0x2a && rd(LCR_H) == LCR_FIFO, "line registers keep what is written",
          "IBRD %x FBRD %x LCR_H %x", rd(0x24), rd(0x28), rd(LCR_H));
    wr(CR, CR_ON);
    check(rd(CR) == CR_ON, "CR keeps what is written", "%x", rd(CR));
    check(WAIT_FOR((rd(FR) & (FR_TXFE | FR_BUSY)) == FR_TXFE, 1000) && !(rd(FR) & FR_TXFF), "transmitter drains",
          "FR %x", rd(FR));
    check(rd(FR) & FR_RXFE, "no input yet", "FR %x", rd(FR));
}

static void interrupt_status(void)
{
    wr(IMSC, 0);
    wr(ICR, 0x7ff);
    check(!(rd(RIS) & INT_TX), "ICR clears", "RIS %x", rd(RIS));
    wr(DR, '.');
    const bool raised = WAIT_FOR(rd(RIS) & INT_TX, 1000);
    put('\n');
    check(raised, "transmit interrupt is raised", "RIS %x", rd(RIS));
    check(rd(MIS) == 0, "masked, it is not seen in MIS", "MIS %x", rd(MIS));
    wr(IMSC, INT_TX);
    check(rd(IMSC) == INT_TX && rd(MIS) == INT_TX, "unmasked, it is", "IMSC %x MIS %x", rd(IMSC), rd(MIS));
    wr(ICR, INT_TX);
    check(!(rd(MIS) & INT_TX), "cleared, it is gone", "MIS %x", rd(MIS));
    wr(IMSC, 0);
}

static volatile char line[256];
static volatile unsigned length, interrupts;
static volatile bool complete;

static void receive(unsigned intid)
{
    if (intid == PPI_VTIMER)
        vtimer_stop();
    if (intid != SPI_UART)
        return;
    interrupts++;
    while (!(rd(FR) & FR_RXFE)) {
        const char c = (char)rd(DR);
        if (c == '\n' || c == '\r')
            complete = true;
        else if (!complete && length < sizeof(line))
            line[length++] = c;
    }
    wr(ICR, INT_RX | INT_RT);
}

static void input(void)
{
    irq_hook[0] = receive;
    gic_enable(SPI_UART);
    gic_enable(PPI_VTIMER);
    wr(IFLS, 0);
    wr(ICR, 0x7ff);
    wr(IMSC, INT_RX | INT_RT);
    say("uart: ready\n");
    const bool came = SLEEP_UNTIL(complete, 10000);
    wr(IMSC, 0);
    if (!check(came, "a line of input", "%u characters by %u interrupts", length, interrupts))
        return;
    say("uart: ");
    for (unsigned i = length; i--;)
        put(line[i]);
    put('\n');
    check(interrupts > 0, "input by interrupt", "none");
    check(rd(FR) & FR_RXFE, "nothing more", "FR %x", rd(FR));
}

void guest_main(void)
{
    gic_init();
    identification();
    registers();
    interrupt_status();
    input();
}
