/* SPDX-License-Identifier: BSD-2-Clause */
/* SYSTEM_RESET: nobody serves it yet, so the guest ends there and the launcher says so. */
#include "tests/guest/lib/guest.h"

void guest_main(void)
{
    pass("asking for a reset");
    say("guest: 1 passed, 0 failed\n");
    const uint64_t x0 = psci(PSCI_SYSTEM_RESET, 0, 0, 0);
    fail("SYSTEM_RESET", "returned %lx", x0);
}
