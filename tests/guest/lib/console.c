/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/guest/lib/guest.h"

#include <stdarg.h>

#define UARTDR 0x00
#define UARTFR 0x18
#define FR_TXFF BIT(5)

static unsigned passed, failed;

void put(char c)
{
    if (c == '\n')
        put('\r');
    while (mmio_read32(UART + UARTFR) & FR_TXFF)
        relax();
    mmio_write32(UART + UARTDR, (uint8_t)c);
}

static void put_number(uint64_t value, unsigned base)
{
    char digits[20];
    unsigned n = 0;
    do {
        digits[n++] = "0123456789abcdef"[value % base];
        value /= base;
    } while (value);
    while (n)
        put(digits[--n]);
}

static void vsay(const char *format, va_list args)
{
    for (const char *p = format; *p; p++) {
        if (*p != '%') {
            put(*p);
            continue;
        }
        bool is_long = false;
        while (*++p == 'l')
            is_long = true;
        switch (*p) {
        case 's':
            for (const char *s = va_arg(args, const char *); *s; s++)
                put(*s);
            break;
        case 'c':
            put((char)va_arg(args, int));
            break;
        case 'd': {
            const int64_t value = is_long ? va_arg(args, int64_t) : va_arg(args, int);
            if (value < 0)
                put('-');
            put_number(value < 0 ? -(uint64_t)value : (uint64_t)value, 10);
            break;
        }
        case 'u':
            put_number(is_long ? va_arg(args, uint64_t) : va_arg(args, unsigned), 10);
            break;
        case 'x':
            put_number(is_long ? va_arg(args, uint64_t) : va_arg(args, unsigned), 16);
            break;
        default:
            put(*p);
        }
    }
}

void say(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsay(format, args);
    va_end(args);
}

void pass(const char *name)
{
    passed++;
    say("PASS %s\n", name);
}

void fail(const char *name, const char *why, ...)
{
    va_list args;
    failed++;
    say("FAIL %s: ", name);
    va_start(args, why);
    vsay(why, args);
    va_end(args);
    put('\n');
}

void power_off(void)
{
    struct regs r = {.x = {PSCI_SYSTEM_OFF}};
    smccc_raw(HVC_0, &r);
    say("FAIL power_off: SYSTEM_OFF returned %lx\n", r.x[0]);
    for (;;)
        wfi();
}

void finish(void)
{
    irq_disable();
    say("guest: %u passed, %u failed\n", passed, failed);
    power_off();
}

void guest_start(uint64_t dtb)
{
    dtb_address = dtb;
    guest_main();
    finish();
}
