/* SPDX-License-Identifier: BSD-2-Clause */
/* SOURCES: dts/guest_dt.c dts/read.c boot/host_dt.c */
/*
 * The guest's device tree, read back with libfdt, and by our own reader of host trees: a guest of ours finds in it what
 * we would look for ourselves. With an argument it writes the blob to that file, for dtc to look at.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <libfdt.h>

#include "boot/host_dt.h"
#include "dts/guest_dt.h"
#include "dts/read.h"
#include "vcpu/vm.h"

_Thread_local struct core *this_core_ptr;

static uint8_t seed[40];
static uint64_t room[8192];
static const size_t room_bytes = sizeof(room);

static struct guest_dt guest(void)
{
    for (size_t i = 0; i < sizeof(seed); i++)
        seed[i] = (uint8_t)(i * 7 + 1);
    return (struct guest_dt){
        .cpus = 4,
        .ram_base = ipa(0x40000000),
        .ram_size = MIB(512),
        .bootargs = "console=ttyAMA0 quiet",
        .initrd = ipa(0x48000000),
        .initrd_size = 1234567,
        .seed = seed,
        .seed_size = sizeof(seed),
        .identity = IDENTITY_MEANWHILE,
        .features = 0x10000000f,
        .event = 20,
    };
}

static int node(const char *path)
{
    int n = fdt_path_offset(room, path);

    if (n < 0)
        print_message("%s: %s\n", path, fdt_strerror(n));
    assert_true(n >= 0);
    return n;
}

static struct dt_value get(int at, const char *name)
{
    struct dt_value v;

    dt_get(room, at, &name, &v, 1);
    return v;
}

static void has_cells(const char *path, const char *name, const uint32_t *cell, size_t count)
{
    struct dt_value v = get(node(path), name);

    assert_int_equal(v.len, 4 * count);
    for (size_t i = 0; i < count; i++)
        assert_int_equal(dt_cells((const char *)v.p + 4 * i, 1), cell[i]);
}

#define HAS_CELLS(path, name, ...) \
    has_cells(path, name, (const uint32_t[]){__VA_ARGS__}, sizeof((const uint32_t[]){__VA_ARGS__}) / 4)

static void has_list(const char *path, const char *name, const char *list, size_t size)
{
    struct dt_value v = get(node(path), name);

    assert_int_equal(v.len, size);
    assert_memory_equal(v.p, list, size);
}

#define HAS_LIST(path, name, list) has_list(path, name, list, sizeof(list))

static void platform(void **state)
{
    struct guest_dt g = guest();
    size_t size = guest_dt_write(room, room_bytes, &g);
    uint32_t v;

    (void)state;
    assert_true(size > 0 && size < 4096);
    assert_true(dt_check(room, size));
    assert_int_equal(fdt_totalsize(room), size);

    HAS_LIST("/", "compatible", "meanwhile,virt");
    HAS_CELLS("/memory@40000000", "reg", 0, 0x40000000, 0, 0x20000000);
    HAS_LIST("/psci", "compatible", "arm,psci-1.0\0arm,psci-0.2");
    HAS_LIST("/psci", "method", "hvc");
    HAS_CELLS("/timer", "interrupts", 1, 13, 4, 1, 14, 4, 1, 11, 4, 1, 10, 4);
    HAS_LIST("/intc@8000000", "compatible", "arm,gic-v3");
    HAS_CELLS("/intc@8000000", "reg", 0, 0x8000000, 0, 0x10000, 0, 0x80a0000, 0, 0x80000);
    HAS_LIST("/pl011@9000000", "compatible", "arm,pl011\0arm,primecell");
    HAS_CELLS("/pl011@9000000", "reg", 0, 0x9000000, 0, 0x1000);
    HAS_CELLS("/pl011@9000000", "interrupts", 0, 1, 4);
    HAS_LIST("/pl011@9000000", "clock-names", "uartclk\0apb_pclk");
    HAS_CELLS("/apb-pclk", "clock-frequency", 24000000);
    HAS_LIST("/virtio_mmio@a000000", "compatible", "virtio,mmio");
    HAS_CELLS("/virtio_mmio@a000000", "reg", 0, 0xa000000, 0, 0x200);
    HAS_CELLS("/virtio_mmio@a000000", "interrupts", 0, 16, 4);
    assert_non_null(get(node("/virtio_mmio@a000000"), "dma-coherent").p);
    HAS_LIST("/hypervisor", "compatible", "meanwhile,hypervisor-1.0\0meanwhile,hypervisor");
    HAS_CELLS("/hypervisor", "meanwhile,abi-version", 1, 0);
    HAS_CELLS("/hypervisor", "meanwhile,features", 1, 0xf);
    HAS_CELLS("/hypervisor", "meanwhile,info-page", 0, 0xb000000);
    HAS_CELLS("/hypervisor", "interrupts", 1, 4, 1);
    HAS_LIST("/chosen", "stdout-path", "/pl011@9000000");
    HAS_LIST("/chosen", "bootargs", "console=ttyAMA0 quiet");
    HAS_CELLS("/chosen", "linux,initrd-start", 0, 0x48000000);
    HAS_CELLS("/chosen", "linux,initrd-end", 0, 0x48000000 + 1234567);

    /* References meet what they refer to. */
    v = fdt_get_phandle(room, node("/intc@8000000"));
    HAS_CELLS("/", "interrupt-parent", v);
    v = fdt_get_phandle(room, node("/apb-pclk"));
    HAS_CELLS("/pl011@9000000", "clocks", v, v);
    assert_int_equal(fdt_path_offset(room, "/chosen/rng-seed"), -FDT_ERR_NOTFOUND);
}

/* No byte of the seed is used twice. */
static void seeds(void **state)
{
    struct guest_dt g = guest();
    struct dt_value kaslr, rng;

    (void)state;
    assert_true(guest_dt_write(room, room_bytes, &g) > 0);
    kaslr = get(node("/chosen"), "kaslr-seed");
    rng = get(node("/chosen"), "rng-seed");
    assert_int_equal(kaslr.len, 8);
    assert_int_equal(rng.len, sizeof(seed) - 8);
    assert_memory_equal(kaslr.p, seed, 8);
    assert_memory_equal(rng.p, seed + 8, sizeof(seed) - 8);

    g.seed_size = 8;
    assert_true(guest_dt_write(room, room_bytes, &g) > 0);
    assert_non_null(get(node("/chosen"), "kaslr-seed").p);
    assert_null(get(node("/chosen"), "rng-seed").p);
}

static void bare(void **state)
{
    struct guest_dt g = {.cpus = 1, .ram_base = ipa(0x40000000), .ram_size = GIB(256), .identity = IDENTITY_NONE};
    int chosen;

    (void)state;
    assert_true(guest_dt_write(room, room_bytes, &g) > 0);
    chosen = node("/chosen");
    assert_null(get(chosen, "bootargs").p);
    assert_null(get(chosen, "linux,initrd-start").p);
    assert_null(get(chosen, "rng-seed").p);
    assert_null(get(chosen, "kaslr-seed").p);
    assert_true(fdt_path_offset(room, "/hypervisor") < 0);
    g.identity = IDENTITY_KVM;
    assert_true(guest_dt_write(room, room_bytes, &g) > 0);
    HAS_LIST("/hypervisor", "compatible", "linux,kvm");
    assert_null(get(node("/hypervisor"), "meanwhile,features").p);
    assert_null(get(node("/hypervisor"), "interrupts").p);
    HAS_CELLS("/memory@40000000", "reg", 0, 0x40000000, 0x40, 0);
}

/* 20 vCPUs: names are hexadecimal, and the 17th is in the next cluster. */
static void many_cpus(void **state)
{
    struct guest_dt g = guest();

    (void)state;
    g.cpus = 20;
    assert_true(guest_dt_write(room, room_bytes, &g) > 0);
    for (uint32_t i = 0; i < g.cpus; i++) {
        uint32_t affinity = (uint32_t)(vcpu_mpidr(i) & 0xffffff);
        char path[32];

        snprintf(path, sizeof(path), "/cpus/cpu@%x", affinity);
        HAS_CELLS(path, "reg", affinity);
        HAS_LIST(path, "enable-method", "psci");
        HAS_LIST(path, "device_type", "cpu");
    }
    assert_true(fdt_path_offset(room, "/cpus/cpu@10f") < 0);
    HAS_CELLS("/intc@8000000", "reg", 0, 0x8000000, 0, 0x10000, 0, 0x80a0000, 0, 20 * 0x20000);
}

/* Too small a buffer is an error, never a broken blob, and nothing is written past its end. */
static void small(void **state)
{
    struct guest_dt g = guest();
    size_t whole = guest_dt_write(room, room_bytes, &g);

    (void)state;
    assert_true(whole > 0);
    for (size_t size = 0; size <= whole + 64; size++) {
        uint64_t *buf = malloc(size + 8);
        size_t got = guest_dt_write(buf, size, &g);

        assert_true(got == 0 || (got == whole && got <= size));
        assert_true(size < whole + 64 || got == whole);
        free(buf);
    }
}

/* The size the header promises to do. */
static void promised_size(void **state)
{
    static char bootargs[2048];
    struct guest_dt g = guest();

    (void)state;
    memset(bootargs, 'x', sizeof(bootargs) - 1);
    g.bootargs = bootargs;
    for (g.cpus = 1; g.cpus <= MAX_CORES; g.cpus++)
        assert_true(guest_dt_write(room, 4096 + 192 * g.cpus + strlen(bootargs) + sizeof(seed), &g) > 0);
}

/* The guest of a GICv2: two frames, no redistributors, and PPIs that name their CPUs. */
static void gicv2(void **state)
{
    static struct host_dt h;
    struct guest_dt g = guest();
    const fdt32_t *cells;
    int len, gic;

    (void)state;
    g.gic_v2 = true;
    g.cpus = 3;
    assert_true(guest_dt_write(room, room_bytes, &g) > 0);
    gic = fdt_node_offset_by_compatible(room, -1, "arm,cortex-a15-gic");
    assert_true(gic >= 0);
    assert_true(fdt_node_offset_by_compatible(room, -1, "arm,gic-v3") < 0);
    assert_null(fdt_getprop(room, gic, "#redistributor-regions", &len));
    cells = fdt_getprop(room, gic, "reg", &len);
    assert_int_equal(len, 32);
    assert_int_equal(fdt32_to_cpu(cells[1]), VIRT_GICD);
    assert_int_equal(fdt32_to_cpu(cells[5]), 0x08010000);
    assert_int_equal(fdt32_to_cpu(cells[7]), 0x2000);
    cells = fdt_getprop(room, node("/timer"), "interrupts", &len);
    assert_int_equal(len, 48);
    for (int i = 0; i < 4; i++)
        assert_int_equal(fdt32_to_cpu(cells[3 * i + 2]), 0x704);
    assert_int_equal(host_dt_read(room, room_bytes, &h), HOST_DT_GIC_V2); /* it has no GICH: no hypervisor's machine */
    assert_int_equal(h.gicc.base, VIRT_GICC);
}

/* The reader that EL2 has for its host's tree finds everything in it. */
static void read_back(void **state)
{
    static struct host_dt h;
    struct guest_dt g = guest();
    size_t size = guest_dt_write(room, room_bytes, &g);

    (void)state;
    assert_int_equal(host_dt_read(room, size, &h), HOST_DT_OK);
    assert_int_equal(h.banks, 1);
    assert_int_equal(h.bank[0].base, 0x40000000);
    assert_int_equal(h.bank[0].size, MIB(512));
    assert_int_equal(h.cpus, 4);
    for (uint32_t i = 0; i < 4; i++)
        assert_int_equal(h.cpu[i], i);
    assert_int_equal(h.psci, HOST_PSCI_HVC);
    assert_int_equal(h.gic, HOST_GIC_V3);
    assert_int_equal(h.gicd.base, VIRT_GICD);
    assert_int_equal(h.gicr.base, VIRT_GICR);
    assert_int_equal(h.gicr.size, 4 * VIRT_GICR_STRIDE);
    assert_true(h.uart_found);
    assert_int_equal(h.uart.base, VIRT_UART);
    assert_int_equal(h.uart_intid, VIRT_UART_SPI);
    assert_int_equal(h.reservations, 1);
    assert_int_equal(h.reserved[0].base, g.initrd.v);
    assert_int_equal(h.reserved[0].size, g.initrd_size);
    assert_string_equal(h.bootargs, g.bootargs);
    assert_int_equal(h.rng_seed.len, sizeof(seed) - 8);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(platform),  cmocka_unit_test(seeds), cmocka_unit_test(bare),
        cmocka_unit_test(many_cpus), cmocka_unit_test(small), cmocka_unit_test(promised_size),
        cmocka_unit_test(read_back), cmocka_unit_test(gicv2),
    };

    if (argc > 1) {
        struct guest_dt g = guest();
        FILE *f = fopen(argv[1], "wb");
        size_t size = guest_dt_write(room, room_bytes, &g);

        return f && fwrite(room, 1, size, f) == size && fclose(f) == 0 ? 0 : 1;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
