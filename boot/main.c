/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * From the device tree that the boot loader left to a machine that hyp/start.c can work with. Boot core, MMU on, at EL2
 * if all is well.
 */
#include "boot/host_dt.h"
#include "dev/firmware.h"
#include "dev/pl031.h"
#include "hyp/console.h"
#include "hyp/start.h"
#include "lib/arch.h"
#include "lib/image.h"
#include "lib/log.h"
#include "lib/report.h"
#include "mm/el2map.h"
#include "mm/frames.h"

#define FDT_MAGIC 0xedfe0dd0u /* as a little-endian CPU reads it */
#define DTB_MAX MIB(2)        /* Linux, Documentation/arm64/booting.rst */

NORETURN void boot_main(uint64_t dtb, uint64_t entry_ticks, uint64_t image_base);

static struct host_dt host;
static struct machine machine;

static NORETURN void give_up(const char *why)
{
    format(report.reason, sizeof(report.reason), "%s", why);
    log_line("cannot start: %s", why);
    hyp_end(REPORT_NO_BOOT);
}

/* Without EL2 there are no per-core data, so no lock is taken: the boot core is alone. */
static NORETURN void not_el2(uint64_t el)
{
    format(report.reason, sizeof(report.reason), "entered at EL%lu, not EL2", el);
    log_panic_line("entered at EL%lu, but it needs EL2 (QEMU's virt: -M virt,virtualization=on)", el);
    hyp_end(REPORT_NO_BOOT);
}

/* x0 may be a device tree, an ATAG list or nothing. Its first page is mapped (el2map_boot), the rest here. */
static const void *find_dtb(uint64_t x0, size_t *size)
{
    const uint32_t *head = pa_ptr(pa(x0));

    if (!x0 || x0 & 7 || x0 >> 48 || head[0] != FDT_MAGIC)
        return NULL;
    *size = __builtin_bswap32(head[1]);
    if (*size > DTB_MAX || !el2map_add(pa(x0), *size, EL2MAP_CONST))
        return NULL;
    return head;
}

static void find_console(void)
{
    if (host.uart_found && el2map_add(pa(host.uart.base), host.uart.size, EL2MAP_DEVICE))
        console_init(pa(host.uart.base), host.uart_intid);
}

static void find_rtc(void)
{
    if (host.rtc.size && el2map_add(pa(host.rtc.base), PAGE_SIZE, EL2MAP_DEVICE))
        pl031_init(pa(host.rtc.base));
}

static bool map_device(struct range r)
{
    return !r.size || el2map_add(pa(r.base), r.size, EL2MAP_DEVICE);
}

/* All frames but GICV, which is the guests'. */
static void find_gic(void)
{
    if (!map_device(host.gicd) || !map_device(host.gicr) || !map_device(host.gicc) || !map_device(host.gich))
        give_up("the interrupt controller cannot be mapped");
    machine.gic = (struct gic_frames){
        .version = host.gic == HOST_GIC_V2 ? GIC_V2 : GIC_V3,
        .gicd = pa(host.gicd.base),
        .gicr = pa(host.gicr.base),
        .gicr_size = host.gicr.size,
        .gicc = pa(host.gicc.base),
        .gicc_size = host.gicc.size,
        .gich = pa(host.gich.base),
        .gicv = pa(host.gicv.base),
    };
    /* Without a word from the tree, the one that all servers have (DEN0094, BSA: PPI assignments). */
    machine.maintenance = host.gic_maintenance ? host.gic_maintenance : 25;
}

/* Only if somebody lives on one, or swaps to one: a disk that nobody uses is not touched. */
static void find_disks(void)
{
    bool wanted = machine.config.swap != NULL;

    for (uint32_t i = 0; i < machine.guest_count; i++)
        wanted = wanted || (!machine.guests[i].refused[0] && guest_on_disk(&machine.guests[i]));
    if (!wanted)
        return;
    for (uint32_t i = 0; i < host.virtios; i++) {
        if (el2map_add(host.virtio[i].regs, VIRTIO_MMIO_BYTES, EL2MAP_DEVICE))
            host.virtio[machine.disks++] = host.virtio[i];
    }
    machine.disk = host.virtio;
}

/* The boot core first, the others as the device tree lists them. */
static void order_cores(void)
{
    uint64_t self = sysreg_read(mpidr_el1) & (FIELD(39, 32) | FIELD(23, 0));

    for (uint32_t i = 0; i < host.cpus; i++) {
        if (host.cpu[i] == self) {
            host.cpu[i] = host.cpu[0];
            host.cpu[0] = self;
        }
    }
    if (host.cpu[0] != self)
        give_up("the boot core is not in the device tree");
    machine.cpu = host.cpu;
    machine.cpus = host.cpus;
}

static void read_guests(const struct image_header *image, const void *dtb)
{
    uint64_t base = (uint64_t)(uintptr_t)image;
    struct range packed = {base + image->hypervisor_size, image->image_size - image->hypervisor_size};
    struct range own = {base, image->image_size};

    if (image->config_offset) {
        struct module_space in_image = {.base = base, .allowed = &packed, .allowed_count = 1};

        if (!el2map_add(pa(packed.base), packed.size, EL2MAP_CONST))
            give_up("the packed payloads cannot be mapped");
        machine.guest_count = guest_config_read((const char *)image + image->config_offset, image->config_size,
                                                &in_image, &machine.config, machine.guests, MAX_CONFIGS);
    } else {
        struct module_space in_ram = {
            .allowed = host.bank, .allowed_count = host.banks, .forbidden = &own, .forbidden_count = 1};

        machine.guest_count =
            guest_config_read_chosen(dtb, host.chosen, &in_ram, &machine.config, machine.guests, MAX_CONFIGS);
    }
    if (machine.guest_count > MAX_CONFIGS) {
        machine.unread = machine.guest_count - MAX_CONFIGS;
        machine.guest_count = MAX_CONFIGS;
    }
}

/* Modules that the boot loader put somewhere in RAM: nobody else's, and never written. Returns how many. */
static size_t find_modules(struct range *reserved)
{
    size_t n = 0;

    for (uint32_t i = 0; i < machine.guest_count; i++) {
        struct guest_config *g = &machine.guests[i];

        if (g->refused[0])
            continue;
        if (g->kernel.size)
            reserved[n++] = (struct range){g->kernel.base.v, g->kernel.size};
        if (g->initrd.size)
            reserved[n++] = (struct range){g->initrd.base.v, g->initrd.size};
    }
    for (size_t i = 0; i < n; i++) {
        if (!el2map_add(pa(reserved[i].base), reserved[i].size, EL2MAP_CONST))
            give_up("a guest's module cannot be mapped");
    }
    return n;
}

static bool map_ram(pa_t base, uint64_t size)
{
    return el2map_add(base, size, EL2MAP_RAM);
}

/*
 * RAM is what the tree lists, less what it reserves, less our image with all that is packed behind it, less the tree. The
 * payloads are mapped read-only: they are the guests' page sources.
 */
static void find_memory(const struct image_header *image, const void *dtb, size_t dtb_size)
{
    struct range reserved[HOST_DT_MAX_RESERVED + 2 + 2 * MAX_CONFIGS];
    uint64_t base = (uint64_t)(uintptr_t)image;
    size_t n = host.reservations;

    for (size_t i = 0; i < n; i++)
        reserved[i] = host.reserved[i];
    reserved[n++] = (struct range){base, image->image_size};
    reserved[n++] = (struct range){(uint64_t)(uintptr_t)dtb, dtb_size};

    if (!image->config_offset)
        n += find_modules(&reserved[n]);
    if (!frames_init(host.bank, host.banks, reserved, n, map_ram))
        give_up("no RAM is left");
    for (uint32_t i = 0; i < host.banks; i++) {
        if (!el2map_ram(pa(host.bank[i].base), host.bank[i].size))
            give_up("the RAM cannot be mapped");
    }
}

void boot_main(uint64_t x0, uint64_t entry_ticks, uint64_t image_base)
{
    const struct image_header *image = pa_ptr(pa(image_base));
    uint64_t el = field_get(CURRENTEL_EL, sysreg_read(currentel));
    enum host_dt_result read;
    const void *dtb;
    size_t dtb_size;

    report_init(entry_ticks, image_base);
    dtb = find_dtb(x0, &dtb_size);
    if (!dtb)
        give_up("x0 holds no device tree");
    read = host_dt_read(dtb, dtb_size, &host);
    find_console();
    if (el != 2) {
        firmware_init(host.psci == HOST_PSCI_HVC && el == 1 ? FIRMWARE_HVC : FIRMWARE_NONE);
        not_el2(el);
    }
    firmware_init(host.psci == HOST_PSCI_SMC ? FIRMWARE_SMC : FIRMWARE_NONE);
    if (read != HOST_DT_OK)
        give_up(host_dt_text(read));
    order_cores();
    read_guests(image, dtb);
    find_memory(image, dtb, dtb_size);
    find_gic();
    find_rtc();
    find_disks();
    machine.uart_intid = host.uart_intid;
    machine.seed = host.rng_seed.p;
    machine.seed_size = host.rng_seed.p ? (size_t)host.rng_seed.len : 0;
    log_quiet = machine.config.quiet;
    log_line("Meanwhile on %u cores, %lu MiB of RAM free, image at %lx", machine.cpus, frames_free_blocks() * 2,
             image_base);
    if (machine.unread)
        log_line("configuration: %u guests more than the %u there can be are left out", machine.unread, MAX_CONFIGS);
    if (machine.config.refused[0])
        log_line("configuration: %s", machine.config.refused);
    hyp_start(&machine);
}
