/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Addresses where nothing is, and accesses that no device can serve: each ends in a synchronous external abort, on the
 * right kind of access with the right address, and the guest goes on. With the MMU off and on.
 */
#include "tests/guest/lib/guest.h"

#define HOLE 0x20000000UL       /* between the devices and RAM: virt's PCIe window, of which a guest has nothing */
#define FAR_AWAY 0x6000000000UL /* 384 GiB: above everything, inside stage 1's 512 GiB */

static const char *suffix;
static char name_buffer[96];

static const char *named(const char *what, const char *where)
{
    char *p = name_buffer;
    const char *const parts[] = {what, " at ", where, ", MMU ", suffix};
    for (unsigned i = 0; i < COUNT(parts); i++) {
        for (const char *s = parts[i]; *s && p < name_buffer + sizeof(name_buffer) - 1;)
            *p++ = *s++;
    }
    *p = 0;
    return name_buffer;
}

/* ---- kinds of access; arg is the address ---- */
#define ACCESS(name, text)                                              \
    static void name(void *arg)                                         \
    {                                                                   \
        __asm__ volatile(text : "+r"(arg)::"x2", "x3", "x4", "memory"); \
    }

ACCESS(load8, "ldrb w2, [%0]")
ACCESS(load32, "ldr w2, [%0]")
ACCESS(load64, "ldr x2, [%0]")
ACCESS(load_signed, "ldrsh x2, [%0]")
ACCESS(load_to_zero, "ldr wzr, [%0]")
ACCESS(load_acquire, "ldar w2, [%0]")
ACCESS(store32, "str wzr, [%0]")
ACCESS(store_release, "stlr wzr, [%0]")
ACCESS(load_pair, "ldp x2, x3, [%0]")
ACCESS(store_pair, "stp xzr, xzr, [%0]")
ACCESS(load_post_index, "ldr w2, [%0], #4")
ACCESS(load_pre_index, "ldr w2, [%0, #0]!")
ACCESS(store_post_index, "str wzr, [%0], #4")
ACCESS(load_exclusive, "ldxr w2, [%0]")

static void jump(void *arg)
{
    void (*fn)(void);
    *(void **)&fn = arg;
    fn();
}

struct kind {
    const char *name;
    void (*fn)(void *);
    bool is_write;
};

static const struct kind plain[] = {
    {"8-bit load", load8, false},
    {"32-bit load", load32, false},
    {"64-bit load", load64, false},
    {"signed load", load_signed, false},
    {"load to xzr", load_to_zero, false},
    {"load-acquire", load_acquire, false},
    {"store", store32, true},
    {"store-release", store_release, true},
    {"load pair", load_pair, false},
    {"store pair", store_pair, true},
    {"post-index load", load_post_index, false},
    {"exclusive load", load_exclusive, false},
};

/* What a data abort from a device cannot describe in its syndrome (ISV clear). */
static const struct kind without_syndrome[] = {
    {"load pair", load_pair, false},
    {"store pair", store_pair, true},
    {"post-index load", load_post_index, false},
    {"pre-index load", load_pre_index, false},
    {"post-index store", store_post_index, true},
};

static void expect_abort(const struct kind *kind, uint64_t address, const char *where)
{
    const char *const name = named(kind->name, where);
    struct fault fault;
    if (!attempt(kind->fn, (void *)address, &fault)) {
        fail(name, "no exception");
        return;
    }
    check(FAULT_EC(fault) == EC_DATA_ABORT && FAULT_STATUS(fault) == STATUS_EXTERNAL && fault.far == address &&
              !!(fault.esr & BIT(6)) == kind->is_write,
          name, "ESR %lx FAR %lx ELR %lx", fault.esr, fault.far, fault.elr);
}

static void expect_fetch_abort(uint64_t address, const char *where)
{
    const char *const name = named("fetch", where);
    struct fault fault;
    if (!attempt(jump, (void *)address, &fault)) {
        fail(name, "no exception");
        return;
    }
    check(FAULT_EC(fault) == EC_INSTRUCTION_ABORT && FAULT_STATUS(fault) == STATUS_EXTERNAL && fault.far == address &&
              fault.elr == address,
          name, "ESR %lx FAR %lx ELR %lx", fault.esr, fault.far, fault.elr);
}

/* A stage-1 walk through a table that is nowhere: an external abort on the walk, of whichever level. */
static void walk_nowhere(void)
{
    const char *const name = named("table walk", "the hole");
    const uint64_t tcr = read_sysreg(tcr_el1);
    struct fault fault;
    write_sysreg(ttbr1_el1, HOLE);
    write_sysreg(tcr_el1, tcr & ~BIT(23)); /* EPD1 */
    __asm__ volatile("isb\n\ttlbi vmalle1\n\tdsb sy\n\tisb" ::: "memory");
    const uint64_t address = 0xffffff8000001000UL;
    const bool faulted = attempt(load64, (void *)address, &fault);
    write_sysreg(tcr_el1, tcr);
    __asm__ volatile("isb\n\ttlbi vmalle1\n\tdsb sy\n\tisb" ::: "memory");
    if (!faulted)
        fail(name, "no exception");
    else
        check(FAULT_EC(fault) == EC_DATA_ABORT && FAULT_STATUS(fault) >= 0x14 && FAULT_STATUS(fault) <= 0x17, name,
              "ESR %lx FAR %lx", fault.esr, fault.far);
}

static void rounds(void)
{
    const struct range ram = ram_range();
    const struct {
        uint64_t address;
        const char *name;
    } places[] = {
        {HOLE, "the hole"},
        {ram.end, "RAM's end"},
        {ram.end + 0x12345678, "beyond RAM"},
        {FAR_AWAY, "384 GiB"},
    };
    for (unsigned i = 0; i < COUNT(places); i++) {
        for (unsigned k = 0; k < COUNT(plain); k++)
            expect_abort(&plain[k], places[i].address, places[i].name);
        expect_fetch_abort(places[i].address, places[i].name);
    }
    for (unsigned k = 0; k < COUNT(without_syndrome); k++) {
        expect_abort(&without_syndrome[k], UART + 0xfe0, "the UART");
        expect_abort(&without_syndrome[k], GICD + 0x8, "the GICD");
        expect_abort(&without_syndrome[k], GICR + 0x8, "the GICR");
    }
    expect_fetch_abort(GICD, "the GICD");
    expect_fetch_abort(GICR, "the GICR");
    expect_fetch_abort(UART, "the UART");
    if (mmu_is_on()) {
        walk_nowhere();
        /* Half in RAM, half beyond: the RAM half alone must not pass for the whole. */
        struct fault fault;
        const bool faulted = attempt(load64, (void *)(ram.end - 4), &fault);
        check(faulted && FAULT_EC(fault) == EC_DATA_ABORT, named("straddling load", "RAM's end"), "%s",
              faulted ? "wrong exception" : "no exception");
    }
    check(mmio_read32(GICD + 0x8) == mmio_read32(GICD + 0x8) && (mmio_read32(UART + 0xff0) & 0xff) == 0x0d,
          named("still alive", "the devices"), "a device is gone");
}

void guest_main(void)
{
    suffix = "off";
    rounds();
    mmu_on();
    suffix = "on";
    rounds();
    mmu_off();
    pass("still alive");
}
