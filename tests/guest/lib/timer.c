/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/guest/lib/guest.h"

uint64_t now(void)
{
    isb();
    return read_sysreg(cntvct_el0);
}

uint64_t ticks_of_us(uint64_t us)
{
    return us * read_sysreg(cntfrq_el0) / 1000000;
}

void vtimer_arm(uint64_t us)
{
    write_sysreg(cntv_cval_el0, now() + ticks_of_us(us));
    write_sysreg(cntv_ctl_el0, 1);
    isb();
}

void vtimer_stop(void)
{
    write_sysreg(cntv_ctl_el0, 0);
    isb();
}

void spin_us(uint64_t us)
{
    (void)WAIT_FOR(false, us / 1000);
    const uint64_t until = now() + ticks_of_us(us % 1000);
    while (now() < until)
        relax();
}
