/* SPDX-License-Identifier: BSD-2-Clause */
#include "hyp/console.h"

#include "dev/gic.h"
#include "dev/pl011.h"
#include "lib/log.h"
#include "lib/spinlock.h"
#include "vcpu/irq.h"

static spinlock_t lock; /* guards the transmitter and `mid_line` */
static bool mid_line;
static bool present RO_AFTER_INIT;
static uint32_t uart_intid RO_AFTER_INIT;
static struct vm *input RO_AFTER_INIT;
static spinlock_t input_lock; /* one core at a time moves bytes: they stay in order */

static void put(const char *s, size_t n)
{
    if (mid_line)
        pl011_put('\n');
    while (n--)
        pl011_put(*s++);
    mid_line = false;
}

static void take(void)
{
    spin_lock(&lock);
}

static void give(void)
{
    spin_unlock(&lock);
}

static const struct log_sink sink = {.put = put, .lock = take, .unlock = give};

static void guest_put(struct vm *vm, char c)
{
    (void)vm;
    if (!present)
        return;
    spin_lock(&lock);
    pl011_put(c);
    mid_line = c != '\n' && c != '\r';
    spin_unlock(&lock);
}

/*
 * The RX interrupt, or room in the guest's FIFO again. What the guest has no room for stays in the physical FIFO, with
 * the interrupt off until the guest has read: so nothing is lost as long as the sender minds flow control.
 */
static void serve_input(void)
{
    size_t room;
    uint8_t c;

    spin_lock(&input_lock);
    room = vuart_room(input);
    while (room && pl011_get(&c)) {
        vuart_input(input, &c, 1);
        room = vuart_room(input);
    }
    pl011_rx_interrupt(room != 0);
    spin_unlock(&input_lock);
}

void console_init(pa_t uart, uint32_t intid)
{
    pl011_init(uart);
    uart_intid = intid;
    present = true;
    log_set_sink(&sink);
}

void console_attach(struct vm *vm)
{
    vm->uart.put = guest_put;
    if (!present || !uart_intid || input)
        return;
    input = vm;
    irq_route_spi(uart_intid, serve_input);
    vm->uart.more = serve_input;
    gic_enable_spi(uart_intid, false);
    serve_input();
}
