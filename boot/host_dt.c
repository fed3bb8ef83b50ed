/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One pass from tag to tag. The properties of a node come before its children (Devicetree Specification 5.4.2), so at
 * its first child, or at its end, a node is complete and is looked at; what its children need of it stays in `level`.
 */
#include "boot/host_dt.h"

#include <libfdt.h>

#include "lib/bits.h"
#include "lib/string.h"

#define DEPTH 8 /* nodes further down are passed over */
#define MAX_UARTS 8
#define NAME_MEMO 1024
#define AFFINITY (FIELD(39, 32) | FIELD(23, 0))
#define PA_LIMIT BIT(48)

enum prop {
    PROP_OTHER,
    PROP_COMPATIBLE,
    PROP_REG,
    PROP_STATUS,
    PROP_DEVICE_TYPE,
    PROP_ADDRESS_CELLS,
    PROP_SIZE_CELLS,
    PROP_RANGES,
    PROP_INTERRUPT_PARENT,
    PROP_INTERRUPTS,
    PROP_PHANDLE,
    PROP_REGIONS,
    PROP_METHOD,
    PROP_STDOUT,
    PROP_BOOTARGS,
    PROP_RNG_SEED,
    PROP_KASLR_SEED,
    PROP_INITRD_START,
    PROP_INITRD_END,
    PROP_DMA_COHERENT,
    PROPS,
};

#define NAME(literal)                \
    {                                \
        literal, sizeof(literal) - 1 \
    }

static const struct {
    const char *s;
    int len;
} prop_name[PROPS] = {
    [PROP_COMPATIBLE] = NAME("compatible"),
    [PROP_REG] = NAME("reg"),
    [PROP_STATUS] = NAME("status"),
    [PROP_DEVICE_TYPE] = NAME("device_type"),
    [PROP_ADDRESS_CELLS] = NAME("#address-cells"),
    [PROP_SIZE_CELLS] = NAME("#size-cells"),
    [PROP_RANGES] = NAME("ranges"),
    [PROP_INTERRUPT_PARENT] = NAME("interrupt-parent"),
    [PROP_INTERRUPTS] = NAME("interrupts"),
    [PROP_PHANDLE] = NAME("phandle"),
    [PROP_REGIONS] = NAME("#redistributor-regions"),
    [PROP_METHOD] = NAME("method"),
    [PROP_STDOUT] = NAME("stdout-path"),
    [PROP_BOOTARGS] = NAME("bootargs"),
    [PROP_RNG_SEED] = NAME("rng-seed"),
    [PROP_KASLR_SEED] = NAME("kaslr-seed"),
    [PROP_INITRD_START] = NAME("linux,initrd-start"),
    [PROP_INITRD_END] = NAME("linux,initrd-end"),
    [PROP_DMA_COHERENT] = NAME("dma-coherent"),
};

/* Devices by compatible string; nearly all we look for are Arm's own, so a string of another maker costs two comparisons. */
#define DEV_GIC_V3 BIT(0)
#define DEV_GIC_V2 BIT(1)
#define DEV_TIMER BIT(2)
#define DEV_PSCI BIT(3)
#define DEV_PL011 BIT(4)
#define DEV_VIRTIO BIT(5)
#define DEV_PL031 BIT(6)

static const struct {
    const char *after_arm;
    uint64_t device;
} devices[] = {
    {"pl011", DEV_PL011},       {"gic-v3", DEV_GIC_V3}, {"gic-400", DEV_GIC_V2}, {"cortex-a15-gic", DEV_GIC_V2},
    {"armv8-timer", DEV_TIMER}, {"psci-1.0", DEV_PSCI}, {"psci-0.2", DEV_PSCI},  {"pl031", DEV_PL031},
};

/* A node on the way from the root to the one that is read. */
struct level {
    const char *name;
    uint32_t address_cells, size_cells; /* of its children's reg */
    struct dt_value ranges;
    uint32_t interrupt_parent;
};

struct uart {
    struct range reg;
    const char *path[DEPTH];
    int depth;
    uint32_t interrupt_parent;
    uint32_t intid;
};

struct walk {
    const void *fdt;
    struct host_dt *dt;
    struct level level[DEPTH];
    struct dt_value prop[PROPS]; /* of the node that is read; those whose bit is in `have` */
    uint32_t have;
    struct uart uart[MAX_UARTS];
    uint32_t uarts;
    struct dt_value stdout_path;
    int aliases; /* offset of the node; negative: none */
    uint32_t gic_phandle;
    bool reserved_overflow;
    uint8_t memo[NAME_MEMO]; /* 1 + enum prop by the name's offset among the strings; 0: not looked up yet */
};

_Static_assert(PROPS <= 32, "a bit each in `have`");

static struct dt_value prop(const struct walk *w, enum prop id)
{
    return w->have & BIT(id) ? w->prop[id] : (struct dt_value){NULL, 0};
}

static uint32_t number_or(struct dt_value v, uint32_t otherwise)
{
    return v.p && v.len == 4 ? (uint32_t)dt_cells(v.p, 1) : otherwise;
}

/* --- addresses --- */

/* Entry `n` of the node's reg, with the cell sizes of its parent. */
static bool reg_entry(const struct walk *w, int depth, uint32_t n, struct range *out)
{
    const struct level *parent = &w->level[depth - 1];
    struct dt_value reg = prop(w, PROP_REG);
    uint32_t entry;

    if (!reg.p || parent->address_cells < 1 || parent->address_cells > 2 || parent->size_cells > 2)
        return false;
    entry = 4 * (parent->address_cells + parent->size_cells);
    if (reg.len / entry <= n)
        return false;
    out->base = dt_cells((const char *)reg.p + (size_t)n * entry, parent->address_cells);
    out->size = dt_cells((const char *)reg.p + (size_t)n * entry + 4 * parent->address_cells, parent->size_cells);
    return true;
}

/* An address among the children of level[depth], as level[depth]'s own parent sees it. */
static bool through_ranges(const struct walk *w, int depth, uint64_t *addr)
{
    const struct level *bus = &w->level[depth];
    uint32_t child = bus->address_cells, parent = w->level[depth - 1].address_cells, size = bus->size_cells;
    uint32_t entry = 4 * (child + parent + size);

    if (!bus->ranges.p)
        return false; /* no mapping at all: the addresses are the bus's own */
    if (bus->ranges.len == 0)
        return true; /* the same addresses on both sides */
    if (child < 1 || child > 2 || parent < 1 || parent > 2 || size < 1 || size > 2)
        return false;
    for (uint32_t off = 0; off + entry <= bus->ranges.len; off += entry) {
        const char *p = (const char *)bus->ranges.p + off;
        uint64_t from = dt_cells(p, child);

        if (*addr - from < dt_cells(p + 4 * (child + parent), size)) {
            *addr = dt_cells(p + 4 * child, parent) + (*addr - from);
            return true;
        }
    }
    return false;
}

/* Entry `n` of reg as the CPU sees it. */
static bool cpu_address(const struct walk *w, int depth, uint32_t n, struct range *out)
{
    if (!reg_entry(w, depth, n, out))
        return false;
    for (int d = depth - 1; d >= 1; d--)
        if (!through_ranges(w, d, &out->base))
            return false;
    return out->base < PA_LIMIT && out->size <= PA_LIMIT - out->base;
}

static bool has_pages(struct range r, uint64_t size)
{
    return r.size >= size && !(r.base & (PAGE_SIZE - 1));
}

/* --- what nodes mean --- */

/* Neither range wraps. */
static bool meet(struct range a, struct range b)
{
    return a.base <= b.base + b.size && b.base <= a.base + a.size;
}

static struct range joined(struct range a, struct range b)
{
    uint64_t base = a.base < b.base ? a.base : b.base;
    uint64_t a_end = a.base + a.size, b_end = b.base + b.size;

    return (struct range){base, (a_end > b_end ? a_end : b_end) - base};
}

/*
 * RAM that is listed twice, as by a boot loader that adds a node of its own to the one that is there, must not be handed
 * out twice: banks that overlap or touch become one.
 */
static void add_bank(struct host_dt *dt, struct range r)
{
    if (r.base >= PA_LIMIT || r.size == 0)
        return;
    if (r.size > PA_LIMIT - r.base)
        r.size = PA_LIMIT - r.base;
    for (uint32_t i = 0; i < dt->banks;) {
        if (!meet(dt->bank[i], r)) {
            i++;
            continue;
        }
        r = joined(dt->bank[i], r);
        dt->banks--;
        for (uint32_t k = i; k < dt->banks; k++)
            dt->bank[k] = dt->bank[k + 1];
        i = 0; /* it has grown, and may meet what it did not */
    }
    if (dt->banks < MAX_BANKS)
        dt->bank[dt->banks++] = r;
}

static void add_reserved(struct walk *w, struct range r)
{
    if (r.size == 0)
        return;
    if (r.size > UINT64_MAX - r.base)
        r.size = UINT64_MAX - r.base;
    if (w->dt->reservations == HOST_DT_MAX_RESERVED)
        w->reserved_overflow = true;
    else
        w->dt->reserved[w->dt->reservations++] = r;
}

static void read_chosen(struct walk *w, int node)
{
    struct host_dt *dt = w->dt;
    uint64_t start, end;

    dt->chosen = node;
    dt->bootargs = dt_string(prop(w, PROP_BOOTARGS));
    dt->rng_seed = prop(w, PROP_RNG_SEED);
    dt->kaslr_seed = prop(w, PROP_KASLR_SEED);
    w->stdout_path = prop(w, PROP_STDOUT);
    /* One cell or two: both are in the field. */
    if (dt_number(prop(w, PROP_INITRD_START), &start) && dt_number(prop(w, PROP_INITRD_END), &end) && end > start)
        add_reserved(w, (struct range){start, end - start});
}

static void read_cpu(struct walk *w, int depth)
{
    struct host_dt *dt = w->dt;
    struct range reg;

    if (!dt_list_has(prop(w, PROP_DEVICE_TYPE), "cpu") || !reg_entry(w, depth, 0, &reg) || (reg.base & ~AFFINITY) != 0)
        return;
    for (uint32_t i = 0; i < dt->cpus; i++)
        if (dt->cpu[i] == reg.base)
            return;
    if (dt->cpus < MAX_CORES)
        dt->cpu[dt->cpus++] = reg.base;
}

/* The first interrupt, if it is a PPI: type 1, number, trigger in the bindings of both GICs. 0: it is none. */
static uint32_t ppi(struct dt_value irq)
{
    uint64_t number;

    if (!irq.p || irq.len < 12 || dt_cells(irq.p, 1) != 1)
        return 0;
    number = dt_cells((const char *)irq.p + 4, 1);
    return number < 16 ? 16 + (uint32_t)number : 0;
}

static void read_gic(struct walk *w, int depth, enum host_gic version)
{
    struct host_dt *dt = w->dt;
    struct range gicd, gicr = {0, 0};
    struct range *const v2[] = {&dt->gicc, &dt->gich, &dt->gicv};

    if (dt->gic >= version) /* the first of the best kind */
        return;
    if (!cpu_address(w, depth, 0, &gicd) || (version == HOST_GIC_V3 && !cpu_address(w, depth, 1, &gicr)))
        return;
    dt->gic = version;
    dt->gicd = gicd;
    dt->gicr = gicr;
    dt->gicr_regions = version == HOST_GIC_V3 ? number_or(prop(w, PROP_REGIONS), 1) : 0;
    for (uint32_t i = 0; i < ARRAY_SIZE(v2); i++)
        if (version != HOST_GIC_V2 || !cpu_address(w, depth, 1 + i, v2[i]))
            *v2[i] = (struct range){0, 0};
    dt->gic_maintenance = ppi(prop(w, PROP_INTERRUPTS));
    w->gic_phandle = number_or(prop(w, PROP_PHANDLE), 0);
}

static void read_psci(struct walk *w)
{
    if (dt_list_has(prop(w, PROP_METHOD), "smc"))
        w->dt->psci = HOST_PSCI_SMC;
    else if (dt_list_has(prop(w, PROP_METHOD), "hvc"))
        w->dt->psci = HOST_PSCI_HVC;
}

/* The first interrupt, if it is an SPI (arm,gic-v3 binding: type 0, number, trigger). 0: it is none. */
static uint32_t spi(struct dt_value irq)
{
    uint64_t number;

    if (!irq.p || irq.len < 12 || dt_cells(irq.p, 1) != 0)
        return 0;
    number = dt_cells((const char *)irq.p + 4, 1);
    return number < 988 ? 32 + (uint32_t)number : 0;
}

/* What is behind it, if anything, is for dev/virtio_blk.c to ask. */
static void read_virtio(struct walk *w, int depth)
{
    struct host_dt *dt = w->dt;
    uint32_t intid = spi(prop(w, PROP_INTERRUPTS));
    struct range reg;

    if (dt->virtios == HOST_DT_MAX_VIRTIO || !intid || !prop(w, PROP_DMA_COHERENT).p || !cpu_address(w, depth, 0, &reg))
        return;
    dt->virtio[dt->virtios++] = (struct disk_place){pa(reg.base), intid};
}

/* Which UART is the console is known when /chosen has been read, so each is kept for then. */
static void read_uart(struct walk *w, int depth)
{
    struct uart *u = &w->uart[w->uarts];

    if (w->uarts == MAX_UARTS || !cpu_address(w, depth, 0, &u->reg))
        return;
    w->uarts++;
    for (int d = 1; d <= depth; d++)
        u->path[d] = w->level[d].name;
    u->depth = depth;
    u->interrupt_parent = w->level[depth].interrupt_parent;
    u->intid = spi(prop(w, PROP_INTERRUPTS));
}

static void read_rtc(struct walk *w, int depth)
{
    struct range reg;

    if (!w->dt->rtc.size && cpu_address(w, depth, 0, &reg) && has_pages(reg, PAGE_SIZE)) /* the first one */
        w->dt->rtc = reg;
}

static uint64_t devices_of(struct dt_value compatible)
{
    uint64_t found = 0;
    const char *p = compatible.p;

    for (size_t left = compatible.len; left > 0;) {
        size_t n = strnlen(p, left);

        if (n == left)
            break;
        if (n > 4 && memcmp(p, "arm,", 4) == 0)
            for (size_t i = 0; i < ARRAY_SIZE(devices); i++)
                if (strcmp(p + 4, devices[i].after_arm) == 0)
                    found |= devices[i].device;
        if (n == 11 && memcmp(p, "virtio,mmio", 11) == 0)
            found |= DEV_VIRTIO;
        p += n + 1;
        left -= n + 1;
    }
    return found;
}

static void read_device(struct walk *w, int depth, uint64_t found)
{
    if (found & DEV_PL011)
        read_uart(w, depth);
    if (found & DEV_GIC_V3)
        read_gic(w, depth, HOST_GIC_V3);
    if (found & DEV_GIC_V2)
        read_gic(w, depth, HOST_GIC_V2);
    if (found & DEV_VIRTIO)
        read_virtio(w, depth);
    if (found & DEV_PL031)
        read_rtc(w, depth);
    if (found & DEV_TIMER)
        w->dt->timer = true;
    if (found & DEV_PSCI)
        read_psci(w);
}

/* The node at `depth`, all of whose properties are in w->prop. */
static void node_complete(struct walk *w, int node, int depth)
{
    struct level *l = &w->level[depth];
    const char *parent = depth == 2 ? w->level[1].name : "";
    struct range r;

    l->address_cells = number_or(prop(w, PROP_ADDRESS_CELLS), 2);
    l->size_cells = number_or(prop(w, PROP_SIZE_CELLS), 1);
    l->ranges = prop(w, PROP_RANGES);
    l->interrupt_parent =
        number_or(prop(w, PROP_INTERRUPT_PARENT), depth > 0 ? w->level[depth - 1].interrupt_parent : 0);
    if (depth == 0)
        return;

    if (depth == 1 && strcmp(l->name, "chosen") == 0)
        read_chosen(w, node);
    if (depth == 1 && strcmp(l->name, "aliases") == 0)
        w->aliases = node;
    if (!dt_status_ok(prop(w, PROP_STATUS)))
        return;
    if (depth == 1 && dt_list_has(prop(w, PROP_DEVICE_TYPE), "memory"))
        for (uint32_t n = 0; reg_entry(w, depth, n, &r); n++)
            add_bank(w->dt, r);
    if (strcmp(parent, "reserved-memory") == 0)
        for (uint32_t n = 0; reg_entry(w, depth, n, &r); n++)
            add_reserved(w, r);
    if (strcmp(parent, "cpus") == 0)
        read_cpu(w, depth);
    else if (prop(w, PROP_COMPATIBLE).p)
        read_device(w, depth, devices_of(prop(w, PROP_COMPATIBLE)));
}

/* --- the pass --- */

/*
 * Which property it is. The place of a name's string is remembered, and since writers of device trees store equal names
 * once, nearly all of the comparing falls away: this is start-up time of every guest.
 */
static enum prop prop_of(struct walk *w, uint32_t nameoff)
{
    uint32_t id = nameoff < NAME_MEMO ? w->memo[nameoff] : 0;
    const char *name;
    int len = -1;

    if (id != 0)
        return (enum prop)(id - 1);
    name = fdt_get_string(w->fdt, (int)nameoff, &len);
    id = PROPS - 1;
    while (id != PROP_OTHER && (len != prop_name[id].len || memcmp(name, prop_name[id].s, (size_t)len) != 0))
        id--;
    if (nameoff < NAME_MEMO)
        w->memo[nameoff] = (uint8_t)(id + 1);
    return (enum prop)id;
}

/* dt_next_tag() has seen to it that all of it lies inside the structure block. */
static const void *at(const struct walk *w, int offset)
{
    return (const char *)w->fdt + fdt_off_dt_struct(w->fdt) + offset;
}

static void read_prop(struct walk *w, int offset)
{
    const struct fdt_property *p = at(w, offset);
    enum prop id = prop_of(w, fdt32_to_cpu(p->nameoff));

    w->prop[id] = (struct dt_value){p->data, fdt32_to_cpu(p->len)};
    w->have |= (uint32_t)BIT(id);
}

static bool walk_nodes(struct walk *w)
{
    int offset, next = 0, node = 0, depth = -1;
    bool open = false; /* the properties of the node at `depth` are being read */
    uint32_t tag;

    do {
        offset = next;
        tag = dt_next_tag(w->fdt, offset, &next);
        if (open && (tag == FDT_BEGIN_NODE || tag == FDT_END_NODE)) {
            node_complete(w, node, depth);
            open = false;
        }
        switch (tag) {
        case FDT_BEGIN_NODE:
            node = offset;
            open = ++depth < DEPTH;
            if (open) {
                w->level[depth].name = ((const struct fdt_node_header *)at(w, offset))->name;
                w->have = 0;
            }
            break;
        case FDT_END_NODE:
            if (--depth < -1)
                return false;
            break;
        case FDT_PROP:
            if (open)
                read_prop(w, offset);
            break;
        default:
            break;
        }
    } while (tag != FDT_END);
    return next > 0 && depth == -1;
}

/* --- the console --- */

/* Is the path of `len` characters that of u? A component may leave its unit address out, as in fdt_path_offset(). */
static bool path_is(const struct uart *u, const char *path, size_t len)
{
    for (int d = 1; d <= u->depth; d++) {
        const char *slash;
        size_t n;

        if (len < 2 || *path != '/')
            return false;
        path++, len--;
        slash = memchr(path, '/', len);
        n = slash ? (size_t)(slash - path) : len;
        if (strncmp(u->path[d], path, n) != 0)
            return false;
        if (u->path[d][n] != '\0' && (u->path[d][n] != '@' || memchr(path, '@', n)))
            return false;
        path += n;
        len -= n;
    }
    return len == 0;
}

static const struct uart *console(const struct walk *w)
{
    const char *path = dt_string(w->stdout_path), *options;
    size_t len;

    if (!path)
        return w->uarts == 1 ? &w->uart[0] : NULL;
    options = strchr(path, ':');
    len = options ? (size_t)(options - path) : strlen(path);
    if (*path != '/') {
        int alias_len = 0;
        const char *alias = w->aliases < 0 ? NULL : fdt_getprop_namelen(w->fdt, w->aliases, path, (int)len, &alias_len);

        path = alias ? dt_string((struct dt_value){alias, (uint32_t)alias_len}) : NULL;
        if (!path)
            return NULL;
        len = strlen(path);
    }
    for (uint32_t i = 0; i < w->uarts; i++)
        if (path_is(&w->uart[i], path, len))
            return &w->uart[i];
    return NULL;
}

static void read_reservations(struct walk *w)
{
    struct range r;

    /* It ends where both are 0 (Devicetree Specification 5.3.2): an entry of no size is none, and others may follow. */
    for (int i = 0; fdt_get_mem_rsv(w->fdt, i, &r.base, &r.size) == 0 && (r.base | r.size) != 0; i++)
        add_reserved(w, r);
}

/* With the virtualization extensions. GICC and GICV have a second page, for the deactivate register. */
static bool v2_complete(const struct host_dt *dt)
{
    return has_pages(dt->gicd, PAGE_SIZE) && has_pages(dt->gicc, 2 * PAGE_SIZE) && has_pages(dt->gich, PAGE_SIZE) &&
           has_pages(dt->gicv, 2 * PAGE_SIZE) && dt->gic_maintenance;
}

enum host_dt_result host_dt_read(const void *blob, size_t room, struct host_dt *dt)
{
    struct walk w;
    const struct uart *u;

    memset(&w, 0, sizeof(w));
    memset(dt, 0, sizeof(*dt));
    w.fdt = blob;
    w.dt = dt;
    w.aliases = -1;
    dt->chosen = -1;

    if (!dt_header_ok(blob, room))
        return HOST_DT_BAD_BLOB;
    read_reservations(&w);
    if (!walk_nodes(&w)) {
        memset(dt, 0, sizeof(*dt));
        dt->chosen = -1;
        return HOST_DT_BAD_BLOB;
    }
    u = console(&w);
    if (u) {
        dt->uart_found = true;
        dt->uart = u->reg;
        dt->uart_intid = u->interrupt_parent == w.gic_phandle ? u->intid : 0;
    }

    if (dt->banks == 0)
        return HOST_DT_NO_MEMORY;
    if (w.reserved_overflow)
        return HOST_DT_TOO_MANY_RESERVED;
    if (dt->cpus == 0)
        return HOST_DT_NO_CPU;
    if (!dt->timer)
        return HOST_DT_NO_TIMER;
    switch (dt->gic) {
    case HOST_GIC_V3:
        return HOST_DT_OK;
    case HOST_GIC_V2:
        return v2_complete(dt) ? HOST_DT_OK : HOST_DT_GIC_V2;
    case HOST_GIC_NONE:
        break;
    }
    return HOST_DT_NO_GIC;
}

const char *host_dt_text(enum host_dt_result r)
{
    static const char *const text[] = {
        [HOST_DT_OK] = "complete",
        [HOST_DT_BAD_BLOB] = "not a device tree of version 17, or a damaged one",
        [HOST_DT_NO_MEMORY] = "no memory node",
        [HOST_DT_TOO_MANY_RESERVED] = "more reserved ranges than the table holds",
        [HOST_DT_NO_CPU] = "no CPU node",
        [HOST_DT_NO_TIMER] = "no arm,armv8-timer node",
        [HOST_DT_GIC_V2] = "the GICv2 lacks GICC_DIR, GICH, GICV or a maintenance interrupt",
        [HOST_DT_NO_GIC] = "no node of a GICv3 or GICv2",
    };

    return text[r];
}
