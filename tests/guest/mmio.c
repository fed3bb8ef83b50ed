/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Garbage into every register of the distributor, a redistributor and the UART, in every size, each read back: nothing
 * may die, and an abort must be an external one. Then the data endianness of EL1 in MMIO accesses, and an interrupt
 * through the re-initialised GIC.
 */
#include "tests/guest/lib/guest.h"

#define GICD_TYPER 0x0004
#define GICD_IPRIORITYR 0x0400
#define GICD_PIDR2 0xffe8
#define GICR_TYPER 0x0008
#define UARTDR 0x00
#define UARTLCR_H 0x2c
#define UARTCR 0x30
#define UARTIMSC 0x38
#define UARTICR 0x44
#define UARTDMACR 0x48
#define SCTLR_EE BIT(25)

static uint64_t random_state = 0x243f6a8885a308d3;

static uint64_t garbage(void)
{
    random_state = random_state * 6364136223846793005 + 1442695040888963407;
    return random_state ^ random_state >> 29;
}

struct access {
    uint64_t address, value;
    unsigned size;
};

static void do_write(void *arg)
{
    const struct access *const a = arg;
    switch (a->size) {
    case 1:
        __asm__ volatile("strb %w0, [%1]" ::"r"(a->value), "r"(a->address) : "memory");
        break;
    case 2:
        __asm__ volatile("strh %w0, [%1]" ::"r"(a->value), "r"(a->address) : "memory");
        break;
    case 4:
        __asm__ volatile("str %w0, [%1]" ::"r"(a->value), "r"(a->address) : "memory");
        break;
    default:
        __asm__ volatile("str %0, [%1]" ::"r"(a->value), "r"(a->address) : "memory");
    }
}

static void do_read(void *arg)
{
    struct access *const a = arg;
    switch (a->size) {
    case 1:
        __asm__ volatile("ldrb %w0, [%1]" : "=r"(a->value) : "r"(a->address) : "memory");
        break;
    case 2:
        __asm__ volatile("ldrh %w0, [%1]" : "=r"(a->value) : "r"(a->address) : "memory");
        break;
    case 4:
        __asm__ volatile("ldr %w0, [%1]" : "=r"(a->value) : "r"(a->address) : "memory");
        break;
    default:
        __asm__ volatile("ldr %0, [%1]" : "=r"(a->value) : "r"(a->address) : "memory");
    }
}

static bool survive(void (*fn)(void *), struct access *a, const char *what)
{
    struct fault fault;
    if (!attempt(fn, a, &fault))
        return true;
    if (FAULT_EC(fault) == EC_DATA_ABORT && FAULT_STATUS(fault) == STATUS_EXTERNAL && fault.far == a->address)
        return true;
    fail(what, "%u bytes at %lx: ESR %lx FAR %lx", a->size, a->address, fault.esr, fault.far);
    return false;
}

/* Bytes and halfwords go to every phase of a word; unaligned accesses, with the MMU off, are faults of their own. */
static void sweep(const char *what, uint64_t base, uint64_t size)
{
    static const struct {
        unsigned size, step;
    } shapes[] = {{4, 4}, {1, 5}, {2, 6}, {8, 8}, {4, 4}};
    for (unsigned s = 0; s < COUNT(shapes); s++) {
        for (uint64_t offset = 0; offset + shapes[s].size <= size; offset += shapes[s].step) {
            struct access a = {base + offset, garbage(), shapes[s].size};
            if (a.address % a.size)
                continue;
            if (!survive(do_write, &a, what) || !survive(do_read, &a, what))
                return;
        }
    }
    pass(what);
}

/* What reaches the wire is text, so that the log stays readable; the other 24 bits are garbage. */
static void sweep_data_register(void)
{
    for (unsigned size = 1; size <= 8; size *= 2) {
        struct access a = {UART + UARTDR, (garbage() & ~0xffUL) | '.', size};
        if (!survive(do_write, &a, "UART data register"))
            return;
    }
    put('\n');
    pass("UART data register");
}

static void uart_reset(void)
{
    mmio_write32(UART + UARTCR, 0);
    mmio_write32(UART + UARTIMSC, 0);
    mmio_write32(UART + UARTICR, 0x7ff);
    mmio_write32(UART + UARTDMACR, 0);
    mmio_write32(UART + UARTLCR_H, 0x70);
    mmio_write32(UART + UARTCR, 0x301);
}

/* Verdicts are printed through the UART itself, so it is set right before one. */
static void sweep_uart(void)
{
    static const unsigned sizes[] = {4, 1, 2, 8};
    struct fault fault = {0};
    struct access a = {0};
    bool alive = true;
    for (unsigned s = 0; s < COUNT(sizes) && alive; s++) {
        for (uint64_t offset = 8; offset + sizes[s] <= 0x1000 && alive; offset += sizes[s]) {
            a = (struct access){UART + offset, garbage(), sizes[s]};
            if (attempt(do_write, &a, &fault) || attempt(do_read, &a, &fault))
                alive = FAULT_EC(fault) == EC_DATA_ABORT && FAULT_STATUS(fault) == STATUS_EXTERNAL;
        }
    }
    uart_reset();
    check(alive, "UART", "%u bytes at %lx: ESR %lx", a.size, a.address, fault.esr);
}

static volatile unsigned sgis;

static void count(unsigned intid)
{
    if (intid == 2)
        sgis++;
}

static void interrupt_still_works(const char *name)
{
    gic_init();
    sgis = 0;
    irq_hook[0] = count;
    gic_enable(2);
    irq_enable();
    gic_sgi(0, 2);
    const bool came = WAIT_FOR(sgis != 0, 1000);
    spin_us(500);
    irq_disable();
    check(came && sgis == 1, name, "%u taken", sgis);
}

/*
 * One access with SCTLR_EL1.EE set. Nothing else happens in that state: no stack, no other data. EE also turns stage-1
 * walks round, so the MMU is off.
 */
#define BIG_ENDIAN(instruction, result, address)                                                           \
    do {                                                                                                   \
        uint64_t old_;                                                                                     \
        __asm__ volatile("mrs %1, sctlr_el1\n\torr %1, %1, %3\n\tmsr sctlr_el1, %1\n\tisb\n\t" instruction \
                         "\n\tdsb sy\n\tbic %1, %1, %3\n\tmsr sctlr_el1, %1\n\tisb"                        \
                         : "+r"(result), "=&r"(old_)                                                       \
                         : "r"(address), "r"(SCTLR_EE)                                                     \
                         : "memory");                                                                      \
    } while (0)

static uint64_t be_read(unsigned size, uint64_t address)
{
    uint64_t value = 0;
    switch (size) {
    case 1:
        BIG_ENDIAN("ldrb %w0, [%2]", value, address);
        break;
    case 2:
        BIG_ENDIAN("ldrh %w0, [%2]", value, address);
        break;
    case 4:
        BIG_ENDIAN("ldr %w0, [%2]", value, address);
        break;
    default:
        BIG_ENDIAN("ldr %0, [%2]", value, address);
    }
    return value;
}

static void be_write32(uint64_t address, uint64_t value)
{
    BIG_ENDIAN("str %w0, [%2]", value, address);
}

static void be_write16(uint64_t address, uint64_t value)
{
    BIG_ENDIAN("strh %w0, [%2]", value, address);
}

static void expect_swapped(const char *name, unsigned size, uint64_t address)
{
    struct access a = {address, 0, size};
    do_read(&a);
    const uint64_t wanted = size == 1   ? a.value
                            : size == 2 ? __builtin_bswap16((uint16_t)a.value)
                            : size == 4 ? __builtin_bswap32((uint32_t)a.value)
                                        : __builtin_bswap64(a.value);
    const uint64_t value = be_read(size, address);
    check(value == wanted, name, "%lx, little-endian %lx", value, a.value);
}

static void endianness(void)
{
    /* Without a register that differs from its own mirror image these would prove nothing. */
    const uint32_t typer = mmio_read32(GICD + GICD_TYPER);
    check(typer != __builtin_bswap32(typer), "GICD_TYPER is no palindrome", "%x", typer);
    expect_swapped("big-endian GICD_TYPER", 4, GICD + GICD_TYPER);
    if (!gic_is_v2()) {
        expect_swapped("big-endian GICD_PIDR2", 4, GICD + GICD_PIDR2);
        expect_swapped("big-endian GICR_TYPER", 8, GICR + GICR_TYPER);
    }
    expect_swapped("big-endian UART identification", 4, UART + 0xff0);
    expect_swapped("big-endian UART identification, 16 bits", 2, UART + 0xff4);
    expect_swapped("big-endian UART identification, 8 bits", 1, UART + 0xff8);

    const uint64_t priorities = GICD + GICD_IPRIORITYR + 40; /* of SPIs 40-43 */
    mmio_write32(priorities, 0);
    be_write32(priorities, 0x102030f0);
    check(mmio_read32(priorities) == __builtin_bswap32(0x102030f0), "big-endian GICD_IPRIORITYR write", "%x",
          mmio_read32(priorities));
    check(be_read(4, priorities) == 0x102030f0, "and read", "%lx", be_read(4, priorities));
    check(be_read(1, priorities) == 0x10, "and byte read", "%lx", be_read(1, priorities));
    mmio_write32(priorities, 0);

    be_write32(UART + UARTIMSC, __builtin_bswap32(0x50));
    check(mmio_read32(UART + UARTIMSC) == 0x50, "big-endian UARTIMSC write", "%x", mmio_read32(UART + UARTIMSC));
    be_write16(UART + UARTIMSC, __builtin_bswap16(0x20));
    check(mmio_read32(UART + UARTIMSC) == 0x20, "big-endian UARTIMSC write, 16 bits", "%x",
          mmio_read32(UART + UARTIMSC));
    mmio_write32(UART + UARTIMSC, 0);
    be_write32(UART + UARTDR, __builtin_bswap32('B'));
    put('\n');
}

void guest_main(void)
{
    endianness();
    interrupt_still_works("an interrupt before");
    sweep("GICD", GICD, 0x10000);
    if (!gic_is_v2()) {
        sweep("GICR, control frame", GICR, 0x10000);
        sweep("GICR, SGI frame", GICR + GICR_SGI, 0x10000);
    }
    interrupt_still_works("an interrupt afterwards");
    sweep_uart();
    sweep_data_register();
    uart_reset();
    check((mmio_read32(UART + 0xff0) & 0xff) == 0x0d, "UART identification afterwards", "%x",
          mmio_read32(UART + 0xff0));
    interrupt_still_works("an interrupt in the end");
}
