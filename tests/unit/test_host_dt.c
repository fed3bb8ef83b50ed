/* SPDX-License-Identifier: BSD-2-Clause */
/* SOURCES: boot/host_dt.c dts/read.c */
/*
 * The reader of the host's tree: on a tree as QEMU's virt board has it, on one with everything that boards do
 * differently (buses with ranges, aliases, disabled nodes, 32-bit cells), and on damaged ones, which lie against an
 * unmapped page so that a read beyond their end is seen in libfdt as well. With an argument it reads that file and
 * prints what it found.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <cmocka.h>
#include <libfdt.h>

#include "boot/host_dt.h"

_Thread_local struct core *this_core_ptr;

static uint64_t blob[2048];
static struct host_dt dt;

/* --- writing trees --- */

static void ok(int r)
{
    assert_int_equal(r, 0);
}

static void begin(const char *name)
{
    ok(fdt_begin_node(blob, name));
}

static void end(void)
{
    ok(fdt_end_node(blob));
}

static void bytes(const char *name, const void *p, size_t n)
{
    ok(fdt_property(blob, name, p, (int)n));
}

#define STR(name, literal) bytes(name, literal, sizeof(literal))

static void cells(const char *name, const uint32_t *c, size_t n)
{
    uint32_t be[64];

    for (size_t i = 0; i < n; i++)
        be[i] = cpu_to_fdt32(c[i]);
    bytes(name, be, 4 * n);
}

#define CELLS(name, ...) cells(name, (const uint32_t[]){__VA_ARGS__}, sizeof((const uint32_t[]){__VA_ARGS__}) / 4)

static void start(void)
{
    ok(fdt_create(blob, sizeof(blob)));
}

static void root(uint32_t address_cells, uint32_t size_cells)
{
    ok(fdt_finish_reservemap(blob));
    begin("");
    CELLS("#address-cells", address_cells);
    CELLS("#size-cells", size_cells);
    CELLS("interrupt-parent", 0x8005);
}

static void finish(void)
{
    end();
    ok(fdt_finish(blob));
}

static void cpu(const char *name, uint32_t reg)
{
    begin(name);
    STR("device_type", "cpu");
    CELLS("reg", reg);
    STR("enable-method", "psci");
    end();
}

static void cpus(uint32_t count)
{
    begin("cpus");
    CELLS("#address-cells", 1);
    CELLS("#size-cells", 0);
    begin("cpu-map");
    begin("socket0");
    begin("cluster0");
    begin("core0");
    CELLS("cpu", 1);
    end();
    end();
    end();
    end();
    for (uint32_t i = 0; i < count; i++) {
        char name[16];

        snprintf(name, sizeof(name), "cpu@%x", i);
        cpu(name, i);
    }
    end();
}

static void psci(void)
{
    begin("psci");
    STR("compatible", "arm,psci-1.0\0arm,psci-0.2\0arm,psci");
    STR("method", "smc");
    end();
}

static void timer(void)
{
    begin("timer");
    STR("compatible", "arm,armv8-timer\0arm,armv7-timer");
    CELLS("interrupts", 1, 13, 4, 1, 14, 4, 1, 11, 4, 1, 10, 4);
    end();
}

static void gic(void)
{
    begin("intc@8000000");
    CELLS("phandle", 0x8005);
    CELLS("reg", 0, 0x8000000, 0, 0x10000, 0, 0x80a0000, 0, 0xf60000);
    CELLS("#redistributor-regions", 1);
    STR("compatible", "arm,gic-v3");
    bytes("ranges", "", 0);
    CELLS("#size-cells", 2);
    CELLS("#address-cells", 2);
    end();
}

static void uart(const char *name, uint32_t base, uint32_t spi)
{
    begin(name);
    STR("compatible", "arm,pl011\0arm,primecell");
    CELLS("reg", 0, base, 0, 0x1000);
    CELLS("interrupts", 0, spi, 4);
    end();
}

/* Whoever calls it closes the node. */
static void rtc(const char *name, uint32_t base, uint32_t size)
{
    begin(name);
    STR("compatible", "arm,pl031\0arm,primecell");
    CELLS("reg", 0, base, 0, size);
    CELLS("interrupts", 0, 2, 4);
}

static void memory(void)
{
    begin("memory@40000000");
    STR("device_type", "memory");
    CELLS("reg", 0, 0x40000000, 0, 0x20000000);
    end();
}

/* QEMU's own order: what is created last comes first. */
static void virt(void)
{
    static const uint8_t seed[32] = {1, 2, 3};

    start();
    root(2, 2);
    psci();
    memory();
    for (uint32_t i = 0; i < 8; i++) {
        char name[32];

        snprintf(name, sizeof(name), "virtio_mmio@%x", 0xa000000 + i * 0x200);
        begin(name);
        CELLS("interrupts", 0, 16 + i, 1);
        CELLS("reg", 0, 0xa000000 + i * 0x200, 0, 0x200);
        STR("compatible", "virtio,mmio");
        if (i != 5)
            bytes("dma-coherent", "", 0);
        end();
    }
    uart("pl011@9000000", 0x9000000, 1);
    rtc("pl031@9010000", 0x9010000, 0x1000);
    end();
    gic();
    cpus(4);
    timer();
    begin("chosen");
    STR("bootargs", "one two");
    STR("stdout-path", "/pl011@9000000");
    bytes("rng-seed", seed, sizeof(seed));
    bytes("kaslr-seed", seed, 8);
    end();
    finish();
}

static enum host_dt_result read_blob(void)
{
    return host_dt_read(blob, sizeof(blob), &dt);
}

/* --- what is found --- */

static void qemu_virt(void **state)
{
    (void)state;
    virt();
    assert_int_equal(read_blob(), HOST_DT_OK);
    assert_int_equal(dt.banks, 1);
    assert_int_equal(dt.bank[0].base, 0x40000000);
    assert_int_equal(dt.bank[0].size, 0x20000000);
    assert_int_equal(dt.reservations, 0);
    assert_int_equal(dt.cpus, 4);
    for (uint32_t i = 0; i < 4; i++)
        assert_int_equal(dt.cpu[i], i);
    assert_int_equal(dt.psci, HOST_PSCI_SMC);
    assert_int_equal(dt.gic, HOST_GIC_V3);
    assert_int_equal(dt.gicd.base, 0x8000000);
    assert_int_equal(dt.gicd.size, 0x10000);
    assert_int_equal(dt.gicr.base, 0x80a0000);
    assert_int_equal(dt.gicr.size, 0xf60000);
    assert_int_equal(dt.gicr_regions, 1);
    assert_true(dt.timer);
    assert_true(dt.uart_found);
    assert_int_equal(dt.uart.base, 0x9000000);
    assert_int_equal(dt.uart.size, 0x1000);
    assert_int_equal(dt.uart_intid, 33);
    assert_int_equal(dt.rtc.base, 0x9010000);
    assert_int_equal(dt.rtc.size, 0x1000);
    assert_int_equal(dt.virtios, 7); /* the sixth does not see what is in caches */
    for (uint32_t i = 0; i < dt.virtios; i++) {
        assert_int_equal(dt.virtio[i].regs.v, 0xa000000 + (i + (i >= 5)) * 0x200);
        assert_int_equal(dt.virtio[i].intid, 48 + i + (i >= 5));
    }
    assert_string_equal(dt.bootargs, "one two");
    assert_int_equal(dt.rng_seed.len, 32);
    assert_int_equal(dt.kaslr_seed.len, 8);
    assert_int_equal(dt.chosen, fdt_path_offset(blob, "/chosen"));
}

/* More than there is room for, and some that are of no use: disabled, without interrupt, with a PPI, of another kind. */
static void virtio(void **state)
{
    (void)state;
    start();
    root(2, 2);
    memory();
    cpus(1);
    timer();
    gic();
    for (uint32_t i = 0; i < HOST_DT_MAX_VIRTIO + 8; i++) {
        char name[32];

        snprintf(name, sizeof(name), "virtio_mmio@%x", 0xa000000 + i * 0x200);
        begin(name);
        CELLS("reg", 0, 0xa000000 + i * 0x200, 0, 0x200);
        if (i == 3)
            STR("compatible", "virtio,mmio2");
        else
            STR("compatible", "a,b\0virtio,mmio");
        bytes("dma-coherent", "", 0);
        if (i == 0)
            STR("status", "disabled");
        if (i != 1)
            CELLS("interrupts", i == 2, 9, 4);
        end();
    }
    finish();
    assert_int_equal(read_blob(), HOST_DT_OK);
    assert_int_equal(dt.virtios, HOST_DT_MAX_VIRTIO);
    assert_int_equal(dt.virtio[0].regs.v, 0xa000000 + 4 * 0x200);
    assert_int_equal(dt.virtio[0].intid, 41);
}

/* The first one that can be used: not one that is disabled, or of which there is no whole page. */
static void clocks(void **state)
{
    (void)state;
    start();
    root(2, 2);
    memory();
    cpus(1);
    timer();
    gic();
    rtc("rtc@1000", 0x1000, 0x1000);
    STR("status", "disabled");
    end();
    rtc("rtc@2000", 0x2000, 0x100);
    end();
    rtc("rtc@3800", 0x3800, 0x1000);
    end();
    rtc("rtc@4000", 0x4000, 0x1000);
    end();
    rtc("rtc@5000", 0x5000, 0x1000);
    end();
    finish();
    assert_int_equal(read_blob(), HOST_DT_OK);
    assert_int_equal(dt.rtc.base, 0x4000);
    assert_false(dt.uart_found);
}

/* A board with 32-bit cells, its devices behind two buses, and nodes that are for the secure world. */
static void board(void **state)
{
    (void)state;
    start();
    ok(fdt_add_reservemap_entry(blob, 0x1000, 0x2000));
    ok(fdt_add_reservemap_entry(blob, 0x80000000, 0x100));
    root(1, 1);
    begin("chosen");
    STR("stdout-path", "serial1:115200n8");
    CELLS("linux,initrd-start", 0x4000000);
    CELLS("linux,initrd-end", 0x4800000);
    end();
    begin("aliases");
    STR("serial0", "/soc/apb@100000/serial@1000");
    STR("serial1", "/soc/apb@100000/serial@2000");
    end();
    begin("memory@0");
    STR("device_type", "memory");
    CELLS("reg", 0, 0x10000000, 0x20000000, 0x8000000, 0x30000000, 0);
    end();
    begin("memory@40000000");
    STR("device_type", "memory");
    CELLS("reg", 0x40000000, 0x10000000);
    STR("status", "okay");
    end();
    begin("secram@e000000");
    STR("device_type", "memory");
    CELLS("reg", 0xe000000, 0x1000000);
    STR("status", "disabled");
    STR("secure-status", "okay");
    end();
    begin("reserved-memory");
    CELLS("#address-cells", 1);
    CELLS("#size-cells", 1);
    bytes("ranges", "", 0);
    begin("firmware@7000000");
    CELLS("reg", 0x7000000, 0x100000, 0x7800000, 0x1000);
    bytes("no-map", "", 0);
    end();
    begin("cma"); /* anywhere: nothing is there yet */
    CELLS("size", 0x1000000);
    end();
    end();
    begin("cpus");
    CELLS("#address-cells", 2);
    CELLS("#size-cells", 0);
    begin("cpu@0");
    STR("device_type", "cpu");
    CELLS("reg", 0, 0);
    end();
    begin("cpu@100");
    STR("device_type", "cpu");
    CELLS("reg", 0, 0x100);
    end();
    begin("cpu@100000100");
    STR("device_type", "cpu");
    CELLS("reg", 1, 0x100);
    end();
    begin("cpu@3");
    STR("device_type", "cpu");
    CELLS("reg", 0, 3);
    STR("status", "fail");
    end();
    begin("cpu@4"); /* not an MPIDR */
    STR("device_type", "cpu");
    CELLS("reg", 0, 0x80000004);
    end();
    begin("cpu@5"); /* there already */
    STR("device_type", "cpu");
    CELLS("reg", 0, 0x100);
    end();
    begin("l2-cache");
    STR("compatible", "cache");
    end();
    end();
    begin("psci");
    STR("compatible", "arm,psci-0.2");
    STR("method", "hvc");
    end();
    timer();
    begin("soc");
    STR("compatible", "simple-bus");
    CELLS("#address-cells", 1);
    CELLS("#size-cells", 1);
    CELLS("ranges", 0, 0xf0000000, 0x1000000, 0x2000000, 0xfe000000, 0x10000);
    begin("interrupt-controller@10000");
    STR("compatible", "arm,gic-v3");
    CELLS("reg", 0x10000, 0x10000, 0x2000000, 0x8000, 0x80000, 0x40000);
    CELLS("#redistributor-regions", 2);
    CELLS("phandle", 0x8005);
    end();
    begin("interrupt-controller@20000"); /* a second one does not replace the first */
    STR("compatible", "arm,gic-400");
    CELLS("reg", 0x20000, 0x1000, 0x21000, 0x1000);
    CELLS("phandle", 7);
    end();
    begin("apb@100000");
    STR("compatible", "simple-bus");
    CELLS("#address-cells", 1);
    CELLS("#size-cells", 1);
    CELLS("ranges", 0, 0x100000, 0x10000);
    begin("serial@1000");
    STR("compatible", "arm,pl011");
    CELLS("reg", 0x1000, 0x1000);
    CELLS("interrupts", 0, 5, 4);
    end();
    begin("serial@2000");
    STR("compatible", "brcm,bcm2835-pl011\0arm,pl011\0arm,primecell");
    CELLS("reg", 0x2000, 0x200);
    CELLS("interrupts", 0, 6, 4);
    end();
    end();
    end();
    finish();

    assert_int_equal(read_blob(), HOST_DT_OK);
    assert_int_equal(dt.banks, 3);
    assert_int_equal(dt.bank[0].size, 0x10000000);
    assert_int_equal(dt.bank[1].base, 0x20000000);
    assert_int_equal(dt.bank[2].base, 0x40000000);
    assert_int_equal(dt.reservations, 5);
    assert_int_equal(dt.reserved[0].base, 0x1000);
    assert_int_equal(dt.reserved[1].base, 0x80000000);
    assert_int_equal(dt.reserved[2].base, 0x4000000);
    assert_int_equal(dt.reserved[2].size, 0x800000);
    assert_int_equal(dt.reserved[3].base, 0x7000000);
    assert_int_equal(dt.reserved[4].base, 0x7800000);
    assert_int_equal(dt.reserved[4].size, 0x1000);
    assert_int_equal(dt.cpus, 3);
    assert_int_equal(dt.cpu[1], 0x100);
    assert_int_equal(dt.cpu[2], UINT64_C(0x100000100));
    assert_int_equal(dt.psci, HOST_PSCI_HVC);
    assert_int_equal(dt.gic, HOST_GIC_V3);
    assert_int_equal(dt.gicd.base, 0xf0010000);
    assert_int_equal(dt.gicr.base, 0xfe000000);
    assert_int_equal(dt.gicr.size, 0x8000);
    assert_int_equal(dt.gicr_regions, 2);
    assert_true(dt.uart_found);
    assert_int_equal(dt.uart.base, 0xf0102000);
    assert_int_equal(dt.uart.size, 0x200);
    assert_int_equal(dt.uart_intid, 38);
    assert_int_equal(dt.rtc.size, 0);
    assert_null(dt.bootargs);
}

/* Who is the console, by what /chosen says. */
static uint64_t console(const char *path, uint32_t uarts, const char *alias)
{
    start();
    root(2, 2);
    memory();
    gic();
    cpus(1);
    timer();
    for (uint32_t i = 0; i < uarts; i++) {
        char name[32];

        snprintf(name, sizeof(name), "pl011@900%u0000", i);
        uart(name, 0x9000000 + i * 0x10000, i);
    }
    if (alias) {
        begin("aliases");
        bytes("ser", alias, strlen(alias) + 1);
        end();
    }
    begin("chosen");
    if (path)
        bytes("stdout-path", path, strlen(path) + 1);
    end();
    finish();
    assert_int_equal(read_blob(), HOST_DT_OK);
    return dt.uart_found ? dt.uart.base : 0;
}

static void console_path(void **state)
{
    (void)state;
    assert_int_equal(console("/pl011@90010000", 3, NULL), 0x9010000);
    assert_int_equal(console("/pl011@90020000:115200", 3, NULL), 0x9020000);
    assert_int_equal(console("/pl011", 3, NULL), 0x9000000); /* the first that fits */
    assert_int_equal(console("ser", 3, "/pl011@90010000"), 0x9010000);
    assert_int_equal(console("ser:9600", 3, "/pl011@90010000"), 0x9010000);
    assert_int_equal(console("se", 3, "/pl011@90010000"), 0);
    assert_int_equal(console("serial", 3, "/pl011@90010000"), 0);
    assert_int_equal(console("ser", 3, NULL), 0);
    assert_int_equal(console("/pl011@9001000", 3, NULL), 0);
    assert_int_equal(console("/pl011@90010000/x", 3, NULL), 0);
    assert_int_equal(console("/", 1, NULL), 0);
    assert_int_equal(console("", 1, NULL), 0);
    assert_int_equal(console(":", 1, "x"), 0);
    assert_int_equal(console("/serial@0", 1, NULL), 0);
    assert_int_equal(console(NULL, 1, NULL), 0x9000000);
    assert_int_equal(console(NULL, 2, NULL), 0);
    assert_int_equal(console(NULL, 0, NULL), 0);
    assert_int_equal(console("/pl011@90090000", 10, NULL), 0); /* more than it keeps */
}

/* A UART whose interrupt goes to another controller has none of ours. */
static void other_interrupt_parent(void **state)
{
    (void)state;
    start();
    root(2, 2);
    memory();
    gic();
    cpus(1);
    timer();
    begin("bus");
    CELLS("#address-cells", 2);
    CELLS("#size-cells", 2);
    CELLS("interrupt-parent", 99);
    bytes("ranges", "", 0);
    uart("pl011@9000000", 0x9000000, 1);
    end();
    finish();
    assert_int_equal(read_blob(), HOST_DT_OK);
    assert_true(dt.uart_found);
    assert_int_equal(dt.uart_intid, 0);
}

/* A bus without ranges maps nothing, so what is behind it is not there for us. */
static void no_ranges(void **state)
{
    (void)state;
    start();
    root(2, 2);
    memory();
    gic();
    cpus(1);
    timer();
    begin("i2c");
    CELLS("#address-cells", 2);
    CELLS("#size-cells", 2);
    uart("pl011@9000000", 0x9000000, 1);
    end();
    finish();
    assert_int_equal(read_blob(), HOST_DT_OK);
    assert_false(dt.uart_found);
}

/* --- what is missing --- */

enum part { MEMORY = 1, CPUS = 2, TIMER = 4, GIC3 = 8, GIC2 = 16 };

static enum host_dt_result with(unsigned parts)
{
    start();
    root(2, 2);
    if (parts & MEMORY)
        memory();
    if (parts & CPUS)
        cpus(1);
    if (parts & TIMER)
        timer();
    if (parts & GIC2) {
        begin("intc@8000000");
        STR("compatible", "arm,cortex-a15-gic");
        CELLS("reg", 0, 0x8000000, 0, 0x10000, 0, 0x8010000, 0, 0x10000);
        end();
    }
    if (parts & GIC3)
        gic();
    finish();
    return read_blob();
}

static void missing(void **state)
{
    const unsigned all = MEMORY | CPUS | TIMER | GIC3;

    (void)state;
    assert_int_equal(with(all), HOST_DT_OK);
    assert_int_equal(with(all | GIC2), HOST_DT_OK);
    assert_int_equal(with(all & ~(unsigned)MEMORY), HOST_DT_NO_MEMORY);
    assert_int_equal(with(all & ~(unsigned)CPUS), HOST_DT_NO_CPU);
    assert_int_equal(with(all & ~(unsigned)TIMER), HOST_DT_NO_TIMER);
    assert_int_equal(with(all & ~(unsigned)GIC3), HOST_DT_NO_GIC);
    assert_int_equal(with((all | GIC2) & ~(unsigned)GIC3), HOST_DT_GIC_V2);
    assert_int_equal(dt.gic, HOST_GIC_V2);
    assert_int_equal(dt.gicd.base, 0x8000000);
    assert_int_equal(dt.gicc.base, 0x8010000);
    assert_int_equal(dt.gich.size, 0);
    assert_int_equal(dt.psci, HOST_PSCI_NONE);
    for (enum host_dt_result a = HOST_DT_OK; a <= HOST_DT_NO_GIC; a++)
        for (enum host_dt_result b = HOST_DT_OK; b < a; b++)
            assert_string_not_equal(host_dt_text(a), host_dt_text(b));
}

/* A GICv2 does with GICH, GICV, a second page of GICC and GICV, and a maintenance interrupt. */
static enum host_dt_result with_v2(uint32_t frames, uint32_t gicc_size, uint32_t gicv_base, uint32_t interrupt_type)
{
    const uint32_t reg[] = {0, 0x8000000, 0, 0x10000, 0, 0x8010000, 0, gicc_size,
                            0, 0x8030000, 0, 0x10000, 0, gicv_base, 0, 0x10000};

    start();
    root(2, 2);
    memory();
    cpus(1);
    timer();
    begin("intc@8000000");
    STR("compatible", "arm,cortex-a15-gic");
    cells("reg", reg, 4 * frames);
    if (interrupt_type < 2)
        CELLS("interrupts", interrupt_type, 9, 4);
    end();
    finish();
    return read_blob();
}

static void gicv2(void **state)
{
    (void)state;
    assert_int_equal(with_v2(4, 0x10000, 0x8040000, 1), HOST_DT_OK);
    assert_int_equal(dt.gic, HOST_GIC_V2);
    assert_int_equal(dt.gicd.base, 0x8000000);
    assert_int_equal(dt.gicc.base, 0x8010000);
    assert_int_equal(dt.gicc.size, 0x10000);
    assert_int_equal(dt.gich.base, 0x8030000);
    assert_int_equal(dt.gicv.base, 0x8040000);
    assert_int_equal(dt.gic_maintenance, 25);
    assert_int_equal(dt.gicr.size, 0);
    assert_int_equal(with_v2(4, 0x2000, 0x8040000, 1), HOST_DT_OK);
    assert_int_equal(with_v2(4, 0x1000, 0x8040000, 1), HOST_DT_GIC_V2); /* no GICC_DIR */
    assert_int_equal(with_v2(3, 0x2000, 0x8040000, 1), HOST_DT_GIC_V2);
    assert_int_equal(with_v2(4, 0x2000, 0x8040800, 1), HOST_DT_GIC_V2); /* not to be mapped into a guest */
    assert_int_equal(with_v2(4, 0x2000, 0x8040000, 0), HOST_DT_GIC_V2); /* an SPI */
    assert_int_equal(with_v2(4, 0x2000, 0x8040000, 2), HOST_DT_GIC_V2); /* none */
}

/* Tables that are too small: RAM and CPUs are left alone, a reservation never is. */
static void overflow(void **state)
{
    (void)state;
    start();
    for (uint32_t i = 0; i <= HOST_DT_MAX_RESERVED; i++)
        ok(fdt_add_reservemap_entry(blob, 0x1000 * (i + 1), 0x1000));
    root(2, 2);
    for (uint32_t i = 0; i < MAX_BANKS + 3; i++) {
        char name[32];

        snprintf(name, sizeof(name), "memory@%x", i << 24);
        begin(name);
        STR("device_type", "memory");
        CELLS("reg", 0, i << 24, 0, 0x100000);
        end();
    }
    cpus(MAX_CORES + 5);
    timer();
    gic();
    finish();
    assert_int_equal(read_blob(), HOST_DT_TOO_MANY_RESERVED);
    assert_int_equal(dt.banks, MAX_BANKS);
    assert_int_equal(dt.cpus, MAX_CORES);
    assert_int_equal(dt.reservations, HOST_DT_MAX_RESERVED);
}

/* Numbers that wrap or lie beyond 48 bits. */
static void extremes(void **state)
{
    (void)state;
    start();
    ok(fdt_add_reservemap_entry(blob, ~UINT64_C(0xfff), 0x10000));
    root(2, 2);
    begin("memory@0");
    STR("device_type", "memory");
    CELLS("reg", 0xffff, 0xfff00000, 0, 0x200000, 0x10000, 0, 0, 0x100000, 0xffffffff, 0xfffff000, 0, 0x2000);
    end();
    cpus(1);
    timer();
    gic();
    uart("pl011@0", 0x9000000, 1000); /* no such SPI */
    finish();
    assert_int_equal(read_blob(), HOST_DT_OK);
    assert_int_equal(dt.banks, 1);
    assert_int_equal(dt.bank[0].base + dt.bank[0].size, UINT64_C(1) << 48);
    assert_int_equal(dt.reserved[0].base, ~UINT64_C(0xfff));
    assert_int_equal(dt.reserved[0].size, 0xfff);
    assert_true(dt.uart_found);
    assert_int_equal(dt.uart_intid, 0);
}

static void bank_is(uint32_t i, uint64_t base, uint64_t size)
{
    assert_int_equal(dt.bank[i].base, base);
    assert_int_equal(dt.bank[i].size, size);
}

/* The same RAM in two nodes, in parts, inside other RAM, and in a range that joins two: once each. */
static void listed_twice(void **state)
{
    (void)state;
    start();
    root(2, 2);
    begin("memory");
    STR("device_type", "memory");
    CELLS("reg", 0, 0x40000000, 0, 0x20000000, 0, 0x80000000, 0, 0x10000000, 1, 0, 0, 0x1000000);
    end();
    begin("memory@40000000");
    STR("device_type", "memory");
    CELLS("reg", 0, 0x40000000, 0, 0x20000000, 0, 0x88000000, 0, 0x10000000, 1, 0x200000, 0, 0x200000);
    end();
    cpus(1);
    timer();
    gic();
    finish();
    assert_int_equal(read_blob(), HOST_DT_OK);
    assert_int_equal(dt.banks, 3);
    bank_is(0, 0x40000000, 0x20000000);
    bank_is(1, 0x80000000, 0x18000000);
    bank_is(2, UINT64_C(0x100000000), 0x1000000);

    start();
    root(2, 2);
    begin("memory@0");
    STR("device_type", "memory");
    CELLS("reg", 0, 0x40000000, 0, 0x1000000, 0, 0x90000000, 0, 0x1000000, 0, 0x60000000, 0, 0x1000000, 0, 0x41000000,
          0, 0x1f800000, 0, 0x60800000, 0, 0x2f800000);
    end();
    cpus(1);
    timer();
    gic();
    finish();
    assert_int_equal(read_blob(), HOST_DT_OK);
    assert_int_equal(dt.banks, 1);
    bank_is(0, 0x40000000, 0x51000000);
}

/* What has no size reserves nothing, and does not end the list either. */
static void reserved_nothing(void **state)
{
    (void)state;
    start();
    ok(fdt_add_reservemap_entry(blob, 0x50000000, 0));
    ok(fdt_add_reservemap_entry(blob, 0x48000000, 0x10000));
    ok(fdt_add_reservemap_entry(blob, 0x48000000, 0x20000));
    root(2, 2);
    memory();
    cpus(1);
    timer();
    gic();
    finish();
    assert_int_equal(read_blob(), HOST_DT_OK);
    assert_int_equal(dt.reservations, 2);
    assert_int_equal(dt.reserved[0].base, 0x48000000);
    assert_int_equal(dt.reserved[1].size, 0x20000);
}

/* Deeper than the reader looks, with names it knows down there. */
static void deep(void **state)
{
    (void)state;
    start();
    root(2, 2);
    for (int i = 0; i < 100; i++)
        begin(i % 2 ? "chosen" : "cpus");
    STR("compatible", "arm,gic-v3");
    CELLS("reg", 0, 0, 0, 0, 0, 0, 0, 0);
    for (int i = 0; i < 100; i++)
        end();
    memory();
    cpus(1);
    timer();
    gic();
    finish();
    assert_int_equal(read_blob(), HOST_DT_OK);
    assert_int_equal(dt.gicd.base, 0x8000000);
}

/* --- damage --- */

/* `size` bytes (a multiple of 8) that end where an unmapped page begins. */
static char *fence(size_t size)
{
    static char *base;
    const size_t span = 1 << 16;

    if (!base) {
        base = mmap(NULL, span + 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        assert_ptr_not_equal(base, MAP_FAILED);
        assert_int_equal(mprotect(base + span, 4096, PROT_NONE), 0);
    }
    assert_true(size % 8 == 0 && size <= span);
    return base + span - size;
}

static void not_a_tree(void **state)
{
    char *p = fence(64);

    (void)state;
    memset(p, 0, 64);
    assert_int_equal(host_dt_read(p, 64, &dt), HOST_DT_BAD_BLOB);
    virt();
    assert_int_equal(host_dt_read(blob, 0, &dt), HOST_DT_BAD_BLOB);
    assert_int_equal(host_dt_read(blob, 39, &dt), HOST_DT_BAD_BLOB);
    assert_int_equal(host_dt_read(blob, fdt_totalsize(blob) - 1, &dt), HOST_DT_BAD_BLOB);
    assert_int_equal(dt.chosen, -1);
    assert_int_equal(host_dt_read(blob, fdt_totalsize(blob), &dt), HOST_DT_OK);
    assert_int_equal(host_dt_read((char *)blob + 4, sizeof(blob) - 4, &dt), HOST_DT_BAD_BLOB); /* not aligned */
    fdt_set_version(blob, 16);
    assert_int_equal(read_blob(), HOST_DT_BAD_BLOB);
}

/* The property length that leads libfdt 1.6.1's fdt_next_tag() back to the property's own tag. */
static void endless(void **state)
{
    fdt32_t *word;

    (void)state;
    virt();
    word = (fdt32_t *)((char *)blob + fdt_off_dt_struct(blob));
    while (fdt32_to_cpu(*word) != FDT_PROP)
        word++;
    word[1] = cpu_to_fdt32(0xfffffff4);
    assert_int_equal(read_blob(), HOST_DT_BAD_BLOB);
}

/* A tree whose last word is the tag of a property that never comes, at the end of mapped memory. */
static void last_word(void **state)
{
    static const uint32_t words[] = {
        FDT_MAGIC,
        72,
        60,
        56,
        40,
        17,
        16,
        0,
        4,
        12, /* header: size, offsets, versions, CPU, sizes */
        0,
        0,
        0,
        0, /* reservations: none */
        0, /* strings */
        FDT_BEGIN_NODE,
        0,
        FDT_PROP,
    };
    char *p = fence(sizeof(words));

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(words); i++)
        fdt32_st((fdt32_t *)(void *)p + i, words[i]);
    assert_true(dt_header_ok(p, sizeof(words)));
    assert_int_equal(host_dt_read(p, sizeof(words), &dt), HOST_DT_BAD_BLOB);
}

static void truncated(void **state)
{
    size_t whole;

    (void)state;
    virt();
    whole = fdt_totalsize(blob);
    for (size_t n = 0; n <= whole; n++) {
        size_t room = (n + 7) & ~(size_t)7;
        char *p = fence(room);
        enum host_dt_result r;

        /* As it arrives when the rest is lost ... */
        memset(p, 0, room);
        memcpy(p, blob, n);
        r = host_dt_read(p, n, &dt);
        assert_true(r == HOST_DT_BAD_BLOB || n == whole);
        /* ... and when somebody set the size to match. */
        if (n < sizeof(struct fdt_header))
            continue;
        fdt_set_totalsize(p, (uint32_t)n);
        r = host_dt_read(p, n, &dt);
        assert_true(r == HOST_DT_BAD_BLOB || n == whole);
    }
}

/* Whatever is found in a damaged tree is within the tables, and its pointers within the blob. */
static void check_sane(enum host_dt_result r, const char *p, size_t size)
{
    const struct dt_value values[] = {dt.rng_seed, dt.kaslr_seed};

    assert_true(r <= HOST_DT_NO_GIC);
    assert_true(dt.banks <= MAX_BANKS && dt.cpus <= MAX_CORES && dt.reservations <= HOST_DT_MAX_RESERVED);
    for (uint32_t i = 0; i < dt.banks; i++)
        assert_true(dt.bank[i].size != 0 && dt.bank[i].base + dt.bank[i].size <= UINT64_C(1) << 48);
    for (uint32_t i = 0; i < dt.reservations; i++)
        assert_true(dt.reserved[i].base + dt.reserved[i].size > dt.reserved[i].base);
    for (size_t i = 0; i < 2; i++)
        if (values[i].p)
            assert_true((const char *)values[i].p >= p && values[i].len <= size &&
                        (const char *)values[i].p + values[i].len <= p + size);
    if (dt.bootargs)
        assert_true(dt.bootargs >= p && dt.bootargs + strlen(dt.bootargs) < p + size);
}

static void flipped(void **state)
{
    static const uint32_t nasty[] = {0,          1,          2,          3,          4,          9,
                                     0x7fffffff, 0x80000000, 0xfffffff0, 0xfffffff4, 0xffffffff, 0xd00dfeed};
    size_t size, size8;
    unsigned survived = 0;
    char *p;

    (void)state;
    virt();
    size = fdt_totalsize(blob);
    size8 = (size + 7) & ~(size_t)7;
    p = fence(size8);
    /* Each bit by itself, each word by a nasty one, then several at random. */
    for (size_t bit = 0; bit < size * 8; bit++) {
        memcpy(p, blob, size8);
        p[bit / 8] = (char)(p[bit / 8] ^ 1 << bit % 8);
        check_sane(host_dt_read(p, size8, &dt), p, size8);
    }
    for (size_t word = 0; word < size / 4; word++)
        for (size_t i = 0; i < ARRAY_SIZE(nasty); i++) {
            fdt32_t v = cpu_to_fdt32(nasty[i]);

            memcpy(p, blob, size8);
            memcpy(p + 4 * word, &v, 4);
            check_sane(host_dt_read(p, size8, &dt), p, size8);
        }
    srand(7);
    for (unsigned round = 0; round < 50000; round++) {
        memcpy(p, blob, size8);
        for (int n = 1 + rand() % 8; n > 0; n--)
            p[40 + (size_t)rand() % (size - 40)] = (char)rand();
        if (host_dt_read(p, size8, &dt) == HOST_DT_OK)
            survived++;
        check_sane(HOST_DT_OK, p, size8);
    }
    assert_true(survived > 0); /* so it was not the header check that caught them all */
}

static int print_file(const char *path)
{
    static uint64_t room[1 << 18];
    FILE *f = fopen(path, "rb");
    size_t n = f ? fread(room, 1, sizeof(room), f) : 0;

    printf("%s: %s\n", path, host_dt_text(host_dt_read(room, n, &dt)));
    for (uint32_t i = 0; i < dt.banks; i++)
        printf("ram %llx + %llx\n", (unsigned long long)dt.bank[i].base, (unsigned long long)dt.bank[i].size);
    for (uint32_t i = 0; i < dt.reservations; i++)
        printf("reserved %llx + %llx\n", (unsigned long long)dt.reserved[i].base,
               (unsigned long long)dt.reserved[i].size);
    printf("cpus %u, psci %d, gic %d at %llx and %llx, uart %llx intid %u\n", dt.cpus, dt.psci, dt.gic,
           (unsigned long long)dt.gicd.base, (unsigned long long)dt.gicr.base, (unsigned long long)dt.uart.base,
           dt.uart_intid);
    return 0;
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(qemu_virt),
        cmocka_unit_test(virtio),
        cmocka_unit_test(clocks),
        cmocka_unit_test(board),
        cmocka_unit_test(console_path),
        cmocka_unit_test(other_interrupt_parent),
        cmocka_unit_test(no_ranges),
        cmocka_unit_test(missing),
        cmocka_unit_test(gicv2),
        cmocka_unit_test(overflow),
        cmocka_unit_test(extremes),
        cmocka_unit_test(deep),
        cmocka_unit_test(not_a_tree),
        cmocka_unit_test(endless),
        cmocka_unit_test(last_word),
        cmocka_unit_test(truncated),
        cmocka_unit_test(flipped),
        cmocka_unit_test(listed_twice),
        cmocka_unit_test(reserved_nothing),
    };

    if (argc > 1)
        return print_file(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
