/* SPDX-License-Identifier: BSD-2-Clause */
#include "lib/arch.h"
#include "lib/core.h"
#include "lib/log.h"
#include "lib/report.h"

static void (*machine_reset)(void) RO_AFTER_INIT;
static _Atomic bool panicking;

uint64_t __stack_chk_guard RO_AFTER_INIT = 0;
NORETURN void __stack_chk_fail(void);

void panic_set_reset(void (*reset)(void))
{
    machine_reset = reset;
}

static void dump(const void *caller)
{
    struct core *c = this_core();

    log_panic_line("  core %u, role %d, in fault path: %d", c->id, (int)c->role, (int)c->in_fault);
    log_panic_line("  esr %08lx  elr %016lx  spsr %08lx", sysreg_read(esr_el2), sysreg_read(elr_el2),
                   sysreg_read(spsr_el2));
    log_panic_line("  far %016lx  hpfar %016lx  hcr %016lx", sysreg_read(far_el2), sysreg_read(hpfar_el2),
                   sysreg_read(hcr_el2));
    log_panic_line("  vttbr %016lx  sctlr %08lx", sysreg_read(vttbr_el2), sysreg_read(sctlr_el2));
    log_panic_line("  caller %p, frame %p, image at %lx", caller, __builtin_frame_address(0), report.image_base);
}

void panic(const char *fmt, ...)
{
    va_list ap;

    /* Two cores, or a panic within a panic: the first one tells. */
    if (!atomic_exchange(&panicking, true)) {
        va_start(ap, fmt);
        vformat(report.reason, sizeof(report.reason), fmt, ap);
        va_end(ap);
        log_panic_line("panic: %s", report.reason);
        if ((sysreg_read(currentel) & CURRENTEL_EL) == field_put(CURRENTEL_EL, 2))
            dump(__builtin_return_address(0));
        atomic_store(&report.result, REPORT_PANIC);
        dsb_sy();
        if (machine_reset)
            machine_reset();
    }
    core_park();
}

void core_park(void)
{
    for (;;)
        wfi();
}

void __stack_chk_fail(void)
{
    panic("stack overrun, noticed at %p", __builtin_return_address(0));
}
