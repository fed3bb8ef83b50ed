/* SPDX-License-Identifier: BSD-2-Clause */
/* The machine as a raw image finds it. */
#include "tests/guest/lib/guest.h"

void guest_main(void)
{
    say("hello from EL%lu\n", read_sysreg(CurrentEL) >> 2);
    check(read_sysreg(CurrentEL) == 4, "entered at EL1", "CurrentEL %lx", read_sysreg(CurrentEL));
    check((read_sysreg(sctlr_el1) & 0x2001005) == 0, "MMU and caches off, little-endian", "SCTLR_EL1 %lx",
          read_sysreg(sctlr_el1));
    check(read_sysreg(cntfrq_el0) != 0, "counter frequency", "CNTFRQ_EL0 is 0");
    const uint64_t then = now();
    check(WAIT_FOR(now() > then + 1000, 1000), "counter runs", "CNTVCT_EL0 stays at %lx", then);

    const struct range dtb = dtb_range(), ram = ram_range();
    check(ram.base == RAM_BASE && ram.end > (uint64_t)image_end, "RAM is where virt has it", "%lx-%lx", ram.base,
          ram.end);
    check(dtb.base >= ram.base && dtb.end <= ram.end, "DTB in RAM", "%lx-%lx", dtb.base, dtb.end);
    if (under_meanwhile()) {
        /* Stacks, bss and payload are inside the image, but a raw image cannot say so: hence the distance. */
        check(dtb.base >= (uint64_t)image_end + BLOCK, "DTB 2 MiB above the image", "%lx, image ends at %lx", dtb.base,
              (uint64_t)image_end);
        const char *const compatible = fdt_property("hypervisor", "compatible", NULL);
        check(compatible && text_equal(compatible, "meanwhile,hypervisor-1.0"), "/hypervisor compatible", "%s",
              compatible ? compatible : "no such node");
    }
}
