/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Transmission takes no time: the transmit FIFO is empty, and the transmit interrupt is raised by each byte written. It is
 * full while others' output on the same physical UART has its turn; a byte written all the same is not lost. As on the virt board, nothing depends on UARTCR's enable bits: an early console prints before it sets them.
 *
 * The receive timeout stands in for the bytes that do not fill the FIFO up to its trigger level: it is raised at once,
 * whenever a byte arrives or is read and some are left. A guest that empties the FIFO and then clears the interrupt would
 * lose a byte that comes in between: on a wire the timeout is raised 32 bit periods after the byte, long after the write.
 * So a clear spares the interrupt of bytes that the guest has not looked for yet, as though they came just after it.
 */
#include "vcpu/vuart.h"

#include "vcpu/vm.h"

/* Registers (DDI 0183G 3.2) */
#define UARTDR 0x00
#define UARTRSR 0x04
#define UARTFR 0x18
#define UARTILPR 0x20
#define UARTIBRD 0x24
#define UARTFBRD 0x28
#define UARTLCR_H 0x2c
#define UARTCR 0x30
#define UARTIFLS 0x34
#define UARTIMSC 0x38
#define UARTRIS 0x3c
#define UARTMIS 0x40
#define UARTICR 0x44
#define UARTDMACR 0x48
#define UART_ID 0xfe0

#define FR_RXFE 0x10u
#define FR_TXFF 0x20u
#define FR_RXFF 0x40u
#define FR_TXFE 0x80u
#define LCR_FEN 0x10u
#define CR_LBE 0x80u
#define CR_RESET 0x300u /* RXE, TXE */
#define IFLS_RESET 0x12u
#define INT_RX 0x10u
#define INT_TX 0x20u
#define INT_RT 0x40u
#define INT_ALL 0x7ffu

/* PeriphID0..3 of QEMU's PL011, PCellID0..3 */
static const uint8_t id[] = {0x11, 0x10, 0x14, 0x00, 0x0d, 0xf0, 0x05, 0xb1};

static uint32_t depth(const struct vuart *u)
{
    return u->lcr & LCR_FEN ? VUART_FIFO : 1;
}

/* UARTIFLS.RXIFLSEL: eighths of the FIFO. Reserved values mean one half, the value after reset. */
static uint32_t rx_trigger(const struct vuart *u)
{
    static const uint8_t eighths[8] = {1, 2, 4, 6, 7, 4, 4, 4};

    return u->lcr & LCR_FEN ? eighths[u->ifls >> 3 & 7] * VUART_FIFO / 8 : 1;
}

static void rx_interrupts(struct vuart *u)
{
    u->ris &= ~(INT_RX | INT_RT);
    if (u->rx_count >= rx_trigger(u))
        u->ris |= INT_RX;
    else if (u->rx_count)
        u->ris |= INT_RT;
}

static void update_line(struct vm *vm)
{
    vgic_set_spi_level(vm, VIRT_UART_SPI, vm->uart.ris & vm->uart.imsc);
}

static bool receive(struct vuart *u, uint8_t byte)
{
    if (u->rx_count >= depth(u))
        return false;
    u->rx[(u->rx_head + u->rx_count) % VUART_FIFO] = byte;
    u->rx_count++;
    u->rx_unseen = true;
    rx_interrupts(u);
    return true;
}

static uint32_t data_read(struct vuart *u)
{
    uint32_t byte;

    if (!u->rx_count)
        return 0;
    byte = u->rx[u->rx_head];
    u->rx_head = (u->rx_head + 1) % VUART_FIFO;
    u->rx_count--;
    rx_interrupts(u);
    return byte;
}

static void data_write(struct vm *vm, uint8_t byte)
{
    struct vuart *u = &vm->uart;

    if (u->cr & CR_LBE)
        receive(u, byte); /* a byte too many is lost, as in hardware */
    else if (u->put)
        u->put(vm, (char)byte);
    u->ris |= INT_TX;
}

static uint32_t flags(struct vm *vm)
{
    const struct vuart *u = &vm->uart;
    bool full = u->full && u->full(vm);

    return (full ? FR_TXFF : FR_TXFE) | (u->rx_count ? 0 : FR_RXFE) | (u->rx_count >= depth(u) ? FR_RXFF : 0);
}

static uint32_t reg_read(struct vm *vm, uint32_t off)
{
    struct vuart *u = &vm->uart;

    if (off == UARTDR || off == UARTFR || off == UARTRIS || off == UARTMIS)
        u->rx_unseen = false;
    switch (off) {
    case UARTDR:
        return data_read(u);
    case UARTFR:
        return flags(vm);
    case UARTILPR:
        return u->ilpr;
    case UARTIBRD:
        return u->ibrd;
    case UARTFBRD:
        return u->fbrd;
    case UARTLCR_H:
        return u->lcr;
    case UARTCR:
        return u->cr;
    case UARTIFLS:
        return u->ifls;
    case UARTIMSC:
        return u->imsc;
    case UARTRIS:
        return u->ris;
    case UARTMIS:
        return u->ris & u->imsc;
    case UARTDMACR:
        return u->dmacr;
    default: /* UARTRSR among them: nothing received here is ever in error */
        return off >= UART_ID && off < UART_ID + 4 * sizeof(id) ? id[(off - UART_ID) / 4] : 0;
    }
}

static void reg_write(struct vm *vm, uint32_t off, uint32_t val)
{
    struct vuart *u = &vm->uart;

    switch (off) {
    case UARTDR:
        data_write(vm, (uint8_t)val);
        break;
    case UARTILPR:
        u->ilpr = val & 0xff;
        break;
    case UARTIBRD:
        u->ibrd = val & 0xffff;
        break;
    case UARTFBRD:
        u->fbrd = val & 0x3f;
        break;
    case UARTLCR_H:
        if ((u->lcr ^ val) & LCR_FEN) { /* the FIFO becomes a holding register or the other way round: it is flushed */
            u->rx_count = 0;
            u->rx_unseen = false;
            u->ris &= ~(INT_RX | INT_RT);
        }
        u->lcr = val & 0xff;
        break;
    case UARTCR:
        u->cr = val & 0xffff;
        break;
    case UARTIFLS:
        u->ifls = val & 0x3f;
        rx_interrupts(u);
        break;
    case UARTIMSC:
        u->imsc = val & INT_ALL;
        break;
    case UARTICR:
        u->ris &= ~val;
        if (u->rx_unseen)
            rx_interrupts(u);
        break;
    case UARTDMACR:
        u->dmacr = val & 7;
        break;
    default:
        break;
    }
}

void vuart_reset(struct vm *vm)
{
    struct vuart *u = &vm->uart;

    spin_lock(&u->lock);
    u->rx_head = 0;
    u->rx_count = 0;
    u->rx_unseen = false;
    u->cr = CR_RESET;
    u->ifls = IFLS_RESET;
    u->lcr = 0;
    u->imsc = 0;
    u->ris = 0;
    u->ibrd = 0;
    u->fbrd = 0;
    u->ilpr = 0;
    u->dmacr = 0;
    update_line(vm);
    spin_unlock(&u->lock);
}

/* A register sits at the bottom of its word; guests access it by bytes, halves or words (DDI 0183G 3.1). */
static bool accessible(uint32_t off, uint32_t size)
{
    return !(off & 3) && (size == 1 || size == 2 || size == 4);
}

uint64_t vuart_read(struct vcpu *v, uint32_t off, uint32_t size)
{
    struct vuart *u = &v->vm->uart;
    uint32_t val;

    if (!accessible(off, size))
        return 0;
    spin_lock(&u->lock);
    val = reg_read(v->vm, off);
    if (off == UARTDR)
        update_line(v->vm);
    spin_unlock(&u->lock);
    if (off == UARTDR && u->more)
        u->more();
    return val & FIELD(8 * size - 1, 0);
}

void vuart_write(struct vcpu *v, uint32_t off, uint32_t size, uint64_t val)
{
    struct vuart *u = &v->vm->uart;

    if (!accessible(off, size))
        return;
    spin_lock(&u->lock);
    reg_write(v->vm, off, (uint32_t)(val & FIELD(8 * size - 1, 0)));
    update_line(v->vm);
    spin_unlock(&u->lock);
    if (off == UARTLCR_H && u->more) /* the FIFO may have been turned on, or emptied */
        u->more();
}

size_t vuart_input(struct vm *vm, const uint8_t *s, size_t n)
{
    struct vuart *u = &vm->uart;
    size_t taken = 0;

    spin_lock(&u->lock);
    while (taken < n && receive(u, s[taken]))
        taken++;
    update_line(vm);
    spin_unlock(&u->lock);
    return taken;
}

size_t vuart_room(struct vm *vm)
{
    struct vuart *u = &vm->uart;
    size_t room;

    spin_lock(&u->lock);
    room = depth(u) - u->rx_count;
    spin_unlock(&u->lock);
    return room;
}
