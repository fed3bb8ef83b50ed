/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The same nodes, names and numbers as QEMU's virt board has for the devices we emulate (hw/arm/virt.c there), so that
 * a guest which knows the board by heart finds what it expects. Two differences: the root is not "linux,dummy-virt",
 * which some tools take for another hypervisor, and PSCI is reached by HVC.
 */
#include "dts/guest_dt.h"

#include <libfdt.h>

#include "lib/string.h"
#include "pv/abi.h"

enum { PHANDLE_GIC = 1, PHANDLE_CLOCK };

/* Interrupt specifiers of the arm,gic-v3 and arm,gic bindings: type, number, trigger. */
enum { GIC_SPI, GIC_PPI };
#define EDGE_RISING 1
#define LEVEL_HIGH 4

#define UART_NODE "pl011@9000000"
#define BALLOON_NODE "virtio_mmio@a000000"
#define BALLOON_AT (VIRT_VIRTIO + VIRTIO_SLOT_BALLOON * VIRT_VIRTIO_STRIDE)
_Static_assert(VIRT_UART == 0x9000000 && BALLOON_AT == 0xa000000, "the unit addresses above");

/* libfdt's writer fails for good after the first error, so the error is looked at once, at the end. */
struct writer {
    void *fdt;
    int error;
};

static void note(struct writer *w, int r)
{
    if (r < 0 && w->error == 0)
        w->error = r;
}

static void begin(struct writer *w, const char *name)
{
    note(w, fdt_begin_node(w->fdt, name));
}

static void end(struct writer *w)
{
    note(w, fdt_end_node(w->fdt));
}

static void put_bytes(struct writer *w, const char *name, const void *p, size_t n)
{
    note(w, fdt_property(w->fdt, name, p, (int)n));
}

static void put_string(struct writer *w, const char *name, const char *s)
{
    put_bytes(w, name, s, strlen(s) + 1);
}

static void put_u32(struct writer *w, const char *name, uint32_t v)
{
    note(w, fdt_property_u32(w->fdt, name, v));
}

static void put_u64(struct writer *w, const char *name, uint64_t v)
{
    note(w, fdt_property_u64(w->fdt, name, v));
}

static void put_flag(struct writer *w, const char *name)
{
    put_bytes(w, name, NULL, 0);
}

static void put_cells(struct writer *w, const char *name, const uint32_t *cell, uint32_t count)
{
    void *p = NULL;
    int r = fdt_property_placeholder(w->fdt, name, (int)(count * sizeof(fdt32_t)), &p);

    note(w, r);
    for (uint32_t i = 0; r == 0 && i < count; i++)
        fdt32_st((fdt32_t *)p + i, cell[i]);
}

#define PUT_CELLS(w, name, ...)                         \
    put_cells(w, name, (const uint32_t[]){__VA_ARGS__}, \
              (uint32_t)(sizeof((const uint32_t[]){__VA_ARGS__}) / sizeof(uint32_t)))

/* A list of strings is one literal with a NUL between them; sizeof counts the last one's. */
#define PUT_LIST(w, name, literal) put_bytes(w, name, literal, sizeof(literal))

#define HI(v) ((uint32_t)((v) >> 32))
#define LO(v) ((uint32_t)(v))

/* A node's name with a unit address: lower-case hexadecimal digits without leading zeroes. */
static void begin_at(struct writer *w, const char *base, uint64_t unit)
{
    char name[32];
    size_t n = strlen(base);
    int shift = 60;

    memcpy(name, base, n);
    name[n++] = '@';
    while (shift > 0 && unit >> shift == 0)
        shift -= 4;
    for (; shift >= 0; shift -= 4)
        name[n++] = "0123456789abcdef"[unit >> shift & 0xf];
    name[n] = '\0';
    begin(w, name);
}

static void chosen(struct writer *w, const struct guest_dt *g)
{
    const size_t kaslr = 8;

    begin(w, "chosen");
    put_string(w, "stdout-path", "/" UART_NODE);
    if (g->bootargs)
        put_string(w, "bootargs", g->bootargs);
    if (g->initrd_size != 0) {
        put_u64(w, "linux,initrd-start", g->initrd.v);
        put_u64(w, "linux,initrd-end", g->initrd.v + g->initrd_size);
    }
    if (g->seed && g->seed_size >= kaslr)
        put_bytes(w, "kaslr-seed", g->seed, kaslr);
    if (g->seed && g->seed_size > kaslr)
        put_bytes(w, "rng-seed", g->seed + kaslr, g->seed_size - kaslr);
    end(w);
}

static void memory(struct writer *w, const struct guest_dt *g)
{
    begin_at(w, "memory", g->ram_base.v);
    put_string(w, "device_type", "memory");
    PUT_CELLS(w, "reg", HI(g->ram_base.v), LO(g->ram_base.v), HI(g->ram_size), LO(g->ram_size));
    end(w);
}

static void cpus(struct writer *w, const struct guest_dt *g)
{
    begin(w, "cpus");
    put_u32(w, "#address-cells", 1);
    put_u32(w, "#size-cells", 0);
    for (uint32_t i = 0; i < g->cpus; i++) {
        uint32_t affinity = (uint32_t)(vcpu_mpidr(i) & FIELD(23, 0));

        begin_at(w, "cpu", affinity);
        put_string(w, "device_type", "cpu");
        put_string(w, "compatible", "arm,armv8");
        put_u32(w, "reg", affinity);
        put_string(w, "enable-method", "psci");
        end(w);
    }
    end(w);
}

static void psci(struct writer *w)
{
    begin(w, "psci");
    PUT_LIST(w, "compatible", "arm,psci-1.0\0arm,psci-0.2");
    put_string(w, "method", "hvc");
    end(w);
}

/* The arm,gic binding has the CPUs of a PPI in bits 15 to 8. */
static uint32_t ppi_cpus(const struct guest_dt *g)
{
    return g->gic_v2 ? ((1u << g->cpus) - 1) << 8 : 0;
}

/* Secure, non-secure, virtual, hypervisor timer: the binding counts by position, so the unused ones are there too. */
static void timer(struct writer *w, const struct guest_dt *g)
{
    uint32_t flags = LEVEL_HIGH | ppi_cpus(g);

    begin(w, "timer");
    PUT_LIST(w, "compatible", "arm,armv8-timer\0arm,armv7-timer");
    PUT_CELLS(w, "interrupts", GIC_PPI, 13, flags, GIC_PPI, PPI_PTIMER - 16, flags, GIC_PPI, PPI_VTIMER - 16, flags,
              GIC_PPI, 10, flags);
    put_flag(w, "always-on");
    end(w);
}

static void gic(struct writer *w, const struct guest_dt *g)
{
    begin_at(w, "intc", VIRT_GICD);
    put_string(w, "compatible", g->gic_v2 ? "arm,cortex-a15-gic" : "arm,gic-v3");
    if (g->gic_v2) {
        PUT_CELLS(w, "reg", 0, VIRT_GICD, 0, VIRT_GICD_SIZE, 0, VIRT_GICC, 0, VIRT_GICC_SIZE);
    } else {
        PUT_CELLS(w, "reg", 0, VIRT_GICD, 0, VIRT_GICD_SIZE, 0, VIRT_GICR, 0, VIRT_GICR_STRIDE * g->cpus);
        put_u32(w, "#redistributor-regions", 1);
    }
    put_u32(w, "#interrupt-cells", 3);
    put_flag(w, "interrupt-controller");
    put_u32(w, "#address-cells", 2);
    put_u32(w, "#size-cells", 2);
    put_flag(w, "ranges");
    put_u32(w, "phandle", PHANDLE_GIC);
    end(w);
}

static void uart(struct writer *w)
{
    begin(w, "apb-pclk");
    put_string(w, "compatible", "fixed-clock");
    put_u32(w, "#clock-cells", 0);
    put_u32(w, "clock-frequency", 24000000);
    put_string(w, "clock-output-names", "clk24mhz");
    put_u32(w, "phandle", PHANDLE_CLOCK);
    end(w);

    begin(w, UART_NODE);
    PUT_LIST(w, "compatible", "arm,pl011\0arm,primecell");
    PUT_CELLS(w, "reg", 0, VIRT_UART, 0, VIRT_UART_SIZE);
    PUT_CELLS(w, "interrupts", GIC_SPI, VIRT_UART_SPI - 32, LEVEL_HIGH);
    PUT_CELLS(w, "clocks", PHANDLE_CLOCK, PHANDLE_CLOCK);
    PUT_LIST(w, "clock-names", "uartclk\0apb_pclk");
    end(w);
}

static void balloon(struct writer *w)
{
    begin(w, BALLOON_NODE);
    put_string(w, "compatible", "virtio,mmio");
    PUT_CELLS(w, "reg", 0, BALLOON_AT, 0, VIRT_VIRTIO_STRIDE);
    PUT_CELLS(w, "interrupts", GIC_SPI, VIRT_VIRTIO_SPI + VIRTIO_SLOT_BALLOON - 32, LEVEL_HIGH);
    put_flag(w, "dma-coherent");
    end(w);
}

/*
 * The node is called just that, since some tools go by the path. So it has no reg, which would want a unit address. Nobody's
 * node has the properties of another's binding.
 */
static void hypervisor(struct writer *w, const struct guest_dt *g)
{
    if (g->identity == IDENTITY_NONE)
        return;
    begin(w, "hypervisor");
    if (g->identity == IDENTITY_KVM) {
        put_string(w, "compatible", "linux,kvm");
    } else {
        PUT_LIST(w, "compatible", MW_COMPATIBLE_1_0 "\0" MW_COMPATIBLE);
        PUT_CELLS(w, "meanwhile,abi-version", MW_REVISION_MAJOR, MW_REVISION_MINOR);
        put_u64(w, "meanwhile,features", g->features);
        put_u64(w, "meanwhile,info-page", MW_INFO_ADDRESS);
        if (g->event)
            PUT_CELLS(w, "interrupts", GIC_PPI, g->event - 16, EDGE_RISING | ppi_cpus(g));
    }
    end(w);
}

size_t guest_dt_write(void *buf, size_t size, const struct guest_dt *g)
{
    /* libfdt clears all it is given, so it is not given more than it can need. */
    size_t need = 4096 + 192 * (size_t)g->cpus + (g->bootargs ? strlen(g->bootargs) : 0) + (g->seed ? g->seed_size : 0);
    struct writer w = {.fdt = buf};

    /* Without a search for equal names: it would cost most of the time, to save some 500 bytes. */
    note(&w, fdt_create_with_flags(buf, (int)(need < size ? need : size), FDT_CREATE_FLAG_NO_NAME_DEDUP));
    note(&w, fdt_finish_reservemap(buf));
    begin(&w, "");
    PUT_LIST(&w, "compatible", "meanwhile,virt");
    put_string(&w, "model", "Meanwhile virtual machine");
    put_u32(&w, "#address-cells", 2);
    put_u32(&w, "#size-cells", 2);
    put_u32(&w, "interrupt-parent", PHANDLE_GIC);
    chosen(&w, g);
    memory(&w, g);
    cpus(&w, g);
    psci(&w);
    timer(&w, g);
    gic(&w, g);
    uart(&w);
    balloon(&w);
    hypervisor(&w, g);
    end(&w);
    note(&w, fdt_finish(buf));
    return w.error == 0 ? fdt_totalsize(buf) : 0;
}
