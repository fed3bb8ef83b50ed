/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the bare EL1 test guests share. A guest is one C file with a guest_main(), linked with everything in this
 * folder; it sees the platform of QEMU's virt board and runs there too, natively, less the hypervisor's own features.
 *
 * Every check prints one line, `PASS name` or `FAIL name: why`; the last line is `guest: N passed, N failed`.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PAGE 4096UL
#define BLOCK 0x200000UL
#define BIT(n) (1UL << (n))
#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

#define UART 0x09000000UL
#define GICD 0x08000000UL
#define GICR 0x080A0000UL
#define GICC 0x08010000UL /* of a GICv2 */
#define GICR_STRIDE 0x20000UL
#define GICR_SGI 0x10000UL
#define RAM_BASE 0x40000000UL

#define MAX_CPUS 9
#define STACK_SIZE 0x4000

/* ---- the guest's own entry: primary CPU, EL1, MMU off, interrupts masked; returning from it ends the guest ---- */
void guest_main(void);
void guest_start(uint64_t dtb);

extern char image_start[], data_start[], data_end[], image_end[];

/* ---- registers and barriers ---- */
#define read_sysreg(reg)                                            \
    ({                                                              \
        uint64_t value_;                                            \
        __asm__ volatile("mrs %0, " #reg : "=r"(value_)::"memory"); \
        value_;                                                     \
    })
#define write_sysreg(reg, value) __asm__ volatile("msr " #reg ", %x0" ::"rZ"((uint64_t)(value)) : "memory")

static inline void isb(void)
{
    __asm__ volatile("isb" ::: "memory");
}

static inline void dsb(void)
{
    __asm__ volatile("dsb sy" ::: "memory");
}

static inline void wfi(void)
{
    __asm__ volatile("dsb sy\n\twfi" ::: "memory");
}

/* Under -icount with several CPUs a spin without YIELD starves the others. */
static inline void relax(void)
{
    __asm__ volatile("yield" ::: "memory");
}

static inline void irq_enable(void)
{
    __asm__ volatile("msr daifclr, #2\n\tisb" ::: "memory");
}

static inline void irq_disable(void)
{
    __asm__ volatile("msr daifset, #2" ::: "memory");
}

static inline unsigned cpu_index(void)
{
    return (unsigned)(read_sysreg(mpidr_el1) & 0xff);
}

/*
 * MMIO by single loads and stores in base-register form: the forms whose trap carries a valid syndrome
 * (DDI 0487, ISS encoding for a Data Abort: ISV).
 */
static inline uint32_t mmio_read32(uint64_t address)
{
    uint32_t value;
    __asm__ volatile("ldr %w0, [%1]" : "=r"(value) : "r"(address) : "memory");
    return value;
}

static inline void mmio_write32(uint64_t address, uint32_t value)
{
    __asm__ volatile("str %w0, [%1]" ::"rZ"(value), "r"(address) : "memory");
}

static inline uint8_t mmio_read8(uint64_t address)
{
    uint32_t value;
    __asm__ volatile("ldrb %w0, [%1]" : "=r"(value) : "r"(address) : "memory");
    return (uint8_t)value;
}

static inline void mmio_write8(uint64_t address, uint8_t value)
{
    __asm__ volatile("strb %w0, [%1]" ::"rZ"(value), "r"(address) : "memory");
}

static inline uint64_t mmio_read64(uint64_t address)
{
    uint64_t value;
    __asm__ volatile("ldr %0, [%1]" : "=r"(value) : "r"(address) : "memory");
    return value;
}

/* ---- console and verdicts (console.c); one CPU at a time ---- */
void put(char c);
void say(const char *format, ...) __attribute__((format(printf, 1, 2))); /* %s %c %d %u %x, with l too */
void pass(const char *name);
void fail(const char *name, const char *why, ...) __attribute__((format(printf, 2, 3)));
/* Prints the verdict of one check; `why` is printed if it failed. */
#define check(ok, name, ...) ((ok) ? (pass(name), true) : (fail(name, __VA_ARGS__), false))
/* Prints the tally and powers off. */
__attribute__((noreturn)) void finish(void);
/* No tally, for what must not be told apart from a crash. */
__attribute__((noreturn)) void power_off(void);

/* ---- exceptions (exception.c, vectors.S) ---- */
struct fault {
    uint64_t esr, far, elr;
    uint64_t spsr;
    unsigned vector; /* offset from VBAR_EL1 */
    uint64_t x[31];
};

#define FAULT_EC(fault) ((fault).esr >> 26 & 0x3f)
#define FAULT_STATUS(fault) ((fault).esr & 0x3f)
#define EC_UNKNOWN 0x00
#define EC_INSTRUCTION_ABORT 0x21
#define EC_DATA_ABORT 0x25
#define STATUS_EXTERNAL 0x10 /* synchronous external abort, not on a table walk */

/*
 * Calls fn(arg) and returns true if it ended in a synchronous exception, which is recorded and not returned to: the
 * call is left as by longjmp. That holds for what fn(arg) enters at EL0, too. Not to be nested on one CPU.
 */
bool attempt(void (*fn)(void *), void *arg, struct fault *fault);

/* ---- SMCCC (smccc.c): one call; every register that goes in and comes out is visible ---- */
enum conduit { HVC_0, HVC_1, HVC_XEN, HVC_FFFF, SMC_0, CONDUITS };

struct regs {
    uint64_t x[18];
};

/* Loads x0-x17 from `r`, calls, stores x0-x17 back. */
void smccc_raw(enum conduit conduit, struct regs *r);
/* The same by value, x4-x17 zero; returns x0. An UNDEF (a machine that knows no such function) is UNDEFINED_CALL. */
uint64_t smccc(enum conduit conduit, uint64_t function, uint64_t a, uint64_t b, uint64_t c);
#define UNDEFINED_CALL 0xbadca11badca11UL
const char *conduit_name(enum conduit conduit);
/* Whether the vendor-hypervisor UID is Meanwhile's: natively, and under another identity, it is not. */
bool under_meanwhile(void);
extern const uint32_t meanwhile_uid[4];

#define PSCI_VERSION 0x84000000UL
#define PSCI_CPU_SUSPEND 0x84000001UL
#define PSCI_CPU_OFF 0x84000002UL
#define PSCI_CPU_ON32 0x84000003UL
#define PSCI_CPU_ON64 0xC4000003UL
#define PSCI_AFFINITY_INFO 0x84000004UL
#define PSCI_AFFINITY_INFO64 0xC4000004UL
#define PSCI_MIGRATE 0x84000005UL
#define PSCI_MIGRATE_INFO_TYPE 0x84000006UL
#define PSCI_SYSTEM_OFF 0x84000008UL
#define PSCI_SYSTEM_RESET 0x84000009UL
#define PSCI_FEATURES 0x8400000AUL
#define SMCCC_VERSION 0x80000000UL
#define SMCCC_ARCH_FEATURES 0x80000001UL
#define VENDOR_UID 0x8600FF01UL
#define NOT_SUPPORTED (~0UL)

static inline uint64_t psci(uint64_t function, uint64_t a, uint64_t b, uint64_t c)
{
    return smccc(HVC_0, function, a, b, c);
}

/* ---- other CPUs (cpu.c) ---- */
struct cpu_start {
    void (*fn)(void *);
    void *arg;
    uint64_t stack; /* its top */
    uint64_t mmu;   /* 1: turn the MMU on before fn */
    /* what the new CPU found when it was entered; written by start.S with the MMU off */
    uint64_t context, current_el, daif, sctlr, spsel;
    volatile uint64_t entered;
    uint64_t kept; /* bits set in any of x19 to x30 */
} __attribute__((aligned(64)));

extern struct cpu_start cpu_starts[MAX_CPUS];
extern char secondary_entry[];
/* Starts CPU n (affinity 0.0.0.n) on its own stack, the MMU as here; CPU_OFF when fn returns. Returns PSCI's answer. */
int64_t cpu_on(unsigned cpu, void (*fn)(void *), void *arg);
int64_t cpu_on_by(uint64_t function, uint64_t affinity, unsigned cpu, void (*fn)(void *), void *arg);
bool cpu_exists(unsigned cpu);
bool cpu_wait_off(unsigned cpu, unsigned ms);
void secondary_main(struct cpu_start *start);

/* ---- GICv3 or GICv2, as the device tree says, or the ID register (gic.c) ---- */
bool gic_is_v2(void);
#define PPI_VTIMER 27
#define SPI_UART 33
void gic_init(void);     /* distributor, and this CPU */
void gic_init_cpu(void); /* this CPU's part and interface; SGIs and PPIs off, priority 0xa0 */
void gic_enable(unsigned intid);
void gic_disable(unsigned intid);
void gic_priority(unsigned intid, uint8_t priority);
void gic_mask(uint8_t priority); /* the CPU takes what is above */
void gic_sgi(unsigned cpu, unsigned intid);
/* Called with interrupts masked, between the acknowledge and the end of interrupt. */
extern void (*volatile irq_hook[MAX_CPUS])(unsigned intid);
void irq_taken(void);

/* ---- time (timer.c) ---- */
uint64_t now(void);
uint64_t ticks_of_us(uint64_t us);
void vtimer_arm(uint64_t us);
void vtimer_stop(void);
void spin_us(uint64_t us);
/* Polls until cond or until the time is up; its value is cond's. */
#define WAIT_FOR(cond, ms)                                                \
    ({                                                                    \
        const uint64_t until_ = now() + ticks_of_us((uint64_t)(ms)*1000); \
        bool met_ = (cond);                                               \
        while (!met_ && now() < until_) {                                 \
            relax();                                                      \
            met_ = (cond);                                                \
        }                                                                 \
        met_;                                                             \
    })
/*
 * Sleeps in WFI, interrupts taken between two looks at cond, until cond or the time is up (the caller's virtual timer
 * must not be in use; PPI_VTIMER must be enabled in the GIC). Returns with interrupts masked.
 */
#define SLEEP_UNTIL(cond, ms)                                             \
    ({                                                                    \
        const uint64_t until_ = now() + ticks_of_us((uint64_t)(ms)*1000); \
        vtimer_arm((uint64_t)(ms)*1000);                                  \
        irq_disable();                                                    \
        bool met_ = (cond);                                               \
        while (!met_ && now() < until_) {                                 \
            wfi();                                                        \
            irq_enable();                                                 \
            irq_disable();                                                \
            met_ = (cond);                                                \
        }                                                                 \
        vtimer_stop();                                                    \
        met_;                                                             \
    })

/* ---- stage 1 (mmu.c): identity map of 512 GiB, RAM cached, all else Device-nGnRnE; everything executable ---- */
void mmu_on(void);
void mmu_off(void); /* cleans and invalidates the guest's data and stacks first */
bool mmu_is_on(void);
void cache_clean(const volatile void *base, uint64_t size);            /* to the point of coherency */
void cache_clean_invalidate(const volatile void *base, uint64_t size); /* the same */

/* ---- the device tree and RAM (fdt.c) ---- */
struct range {
    uint64_t base, end;
};

extern uint64_t dtb_address; /* 0: whoever looks into it ends the guest */
const void *fdt_property(const char *node, const char *property, uint32_t *size); /* nodes of depth 1, unit ignored */
struct range dtb_range(void);
struct range ramdisk_range(void); /* base 0: there is none */
struct range ram_range(void);
struct range free_ram(void);     /* the larger stretch beside image and DTB, 2 MiB aligned */
bool ram_is_free(uint64_t page); /* the 4 KiB there belong to neither image, DTB nor QEMU's boot stub */
uint64_t boot_argument(const char *name, uint64_t otherwise); /* name=NUMBER in the command line */
bool text_equal(const char *a, const char *b);

/* ---- what the compiler calls (string.c) ---- */
void *memset(void *to, int value, size_t size);
void *memcpy(void *restrict to, const void *restrict from, size_t size);
