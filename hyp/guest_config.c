/* SPDX-License-Identifier: BSD-2-Clause */
#include "hyp/guest_config.h"

#include <libfdt.h>

#include "dev/disk.h"
#include "dts/read.h"
#include "lib/string.h"
#include "mm/page_image.h"
#include "mm/paging.h"
#include "vcpu/vm.h"

_Static_assert(sizeof(((struct guest_config *)0)->refused) == sizeof(((struct report_guest *)0)->reason),
               "it goes there");
_Static_assert(sizeof(((struct guest_config *)0)->name) == sizeof(((struct report_guest *)0)->name), "it goes there");

enum guest_prop {
    CPUS,
    MEMORY,
    BOOTARGS,
    IDENTITY,
    GRANULE,
    NO_REBOOT,
    RESIDENT,
    ADDRESS_CELLS,
    SIZE_CELLS,
    GUEST_PROPS
};

static const char *const guest_prop[GUEST_PROPS] = {
    [CPUS] = "cpus",
    [MEMORY] = "memory",
    [BOOTARGS] = "bootargs",
    [IDENTITY] = "identity",
    [GRANULE] = "populate-granule",
    [NO_REBOOT] = "no-reboot",
    [RESIDENT] = "resident",
    [ADDRESS_CELLS] = "#address-cells",
    [SIZE_CELLS] = "#size-cells",
};

/* --- values. Each reader returns NULL, or in words what is wrong. --- */

static bool name_char_ok(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-';
}

/* A bad name is kept as far as it can be shown, so that the refusal can say whose it is. */
static const char *read_name(struct guest_config *g, const char *name)
{
    size_t n = 0;
    bool ok = true;

    for (; name[n] != '\0' && n < sizeof(g->name) - 1; n++) {
        ok = ok && name_char_ok(name[n]);
        g->name[n] = name_char_ok(name[n]) ? name[n] : '?';
    }
    g->name[n] = '\0';
    if (!ok || n == 0)
        return "bad name: letters, digits, - and _ only";
    return name[n] == '\0' ? NULL : "name longer than 31 characters";
}

static const char *read_cpus(struct guest_config *g, struct dt_value v)
{
    uint64_t n;

    if (!v.p)
        return "no cpus property";
    if (v.len != 4 || !dt_number(v, &n))
        return "cpus is not one cell";
    if (n == 0)
        return "cpus is 0";
    if (n > MAX_VM_CPUS)
        return "more cpus than a guest can have";
    g->cpus = (uint32_t)n;
    return NULL;
}

static const char *read_memory(struct guest_config *g, struct dt_value v)
{
    uint64_t kib;

    if (!v.p)
        return "no memory property";
    if (v.len != 8 || !dt_number(v, &kib))
        return "memory is not a number of two cells";
    if (kib == 0)
        return "memory is 0";
    if (kib > GUEST_MAX_MEMORY / KIB(1))
        return "memory is more than 256 GiB";
    if (KIB(kib) % BLOCK_SIZE != 0)
        return "memory is not a multiple of 2 MiB";
    g->memory = KIB(kib);
    return NULL;
}

static const char *read_bootargs(struct guest_config *g, struct dt_value v)
{
    g->bootargs = dt_string(v);
    if (v.p && !g->bootargs)
        return "bootargs is not one string";
    if (v.len > GUEST_MAX_BOOTARGS + 1)
        return "bootargs longer than 2047 characters";
    return NULL;
}

static const char *read_identity(struct guest_config *g, struct dt_value v)
{
    static const char *const names[IDENTITIES] = {"meanwhile", "kvm", "none"};
    const char *s = v.p ? dt_string(v) : names[IDENTITY_MEANWHILE];

    for (uint32_t i = 0; s && i < IDENTITIES; i++) {
        if (strcmp(s, names[i]) == 0) {
            g->identity = (enum vm_identity)i;
            return NULL;
        }
    }
    return "unknown identity";
}

static const char *read_granule(struct guest_config *g, struct dt_value v)
{
    g->granule = BLOCK_SIZE;
    if (v.p && (!dt_number(v, &g->granule) || (g->granule != PAGE_SIZE && g->granule != BLOCK_SIZE)))
        return "populate-granule is neither 4 KiB nor 2 MiB";
    return NULL;
}

static const char *read_resident(struct guest_config *g, struct dt_value v)
{
    uint64_t kib;

    if (!v.p)
        return NULL;
    if (v.len != 8 || !dt_number(v, &kib))
        return "resident is not a number of two cells";
    if (kib < PAGING_LEAST / KIB(1))
        return "resident is less than 4 MiB";
    if (kib % (PAGE_SIZE / KIB(1)) != 0)
        return "resident is not a multiple of 4 KiB";
    if (kib < g->memory / KIB(1)) /* with more than its RAM it has no limit */
        g->resident = KIB(kib);
    return NULL;
}

static const char *read_no_reboot(struct guest_config *g, struct dt_value v)
{
    g->no_reboot = v.p != NULL;
    return v.p && v.len != 0 ? "no-reboot has a value" : NULL;
}

/* --- modules --- */

static bool inside(struct range r, struct range outer)
{
    return r.base >= outer.base && r.size <= outer.size && r.base - outer.base <= outer.size - r.size;
}

/* Neither range wraps. */
static bool overlap(struct range a, struct range b)
{
    return a.base < b.base + b.size && b.base < a.base + a.size;
}

struct module_words {
    const char *twice, *reg, *empty, *outside, *forbidden, *file, *disk;
};

static const struct module_words kernel_words = {
    .twice = "more than one kernel module",
    .reg = "the kernel module's reg is not one range",
    .empty = "the kernel module is empty",
    .outside = "the kernel module lies outside the image",
    .forbidden = "the kernel module overlaps the hypervisor",
    .file = "the kernel module's image-name is not the name of a file",
    .disk = "the kernel module's disk is not one name of 1 to 20 characters, with an image-name",
};

static const struct module_words ramdisk_words = {
    .twice = "more than one ramdisk module",
    .reg = "the ramdisk module's reg is not one range",
    .empty = "the ramdisk module is empty",
    .outside = "the ramdisk module lies outside the image",
    .forbidden = "the ramdisk module overlaps the hypervisor",
    .file = "the ramdisk module's image-name is not the name of a file",
    .disk = "the ramdisk module's disk is not one name of 1 to 20 characters, with an image-name",
};

/* The specification's default where the guest's node is silent; 0 stands for a bad value. */
static uint32_t cells(struct dt_value v, uint32_t otherwise)
{
    uint64_t n = otherwise;

    if (v.p && !dt_number(v, &n))
        return 0;
    return n == 1 || n == 2 ? (uint32_t)n : 0;
}

/* As doc/image-format.md has them. */
static bool file_name_ok(const char *s)
{
    size_t n = 0;

    while (n < PAGE_IMAGE_NAME && s[n] && (name_char_ok(s[n]) || s[n] == '.' || s[n] == '+'))
        n++;
    return n > 0 && n < PAGE_IMAGE_NAME && !s[n];
}

enum module_prop { MODULE_COMPATIBLE, MODULE_REG, MODULE_IMAGE_NAME, MODULE_DISK, MODULE_PROPS };

static const char *const module_prop[MODULE_PROPS] = {
    [MODULE_COMPATIBLE] = "compatible",
    [MODULE_REG] = "reg",
    [MODULE_IMAGE_NAME] = "image-name",
    [MODULE_DISK] = "disk",
};

/* On a disk: which, and which file of the page image it holds. */
static const char *read_disk_module(const struct dt_value *module, const struct module_words *words,
                                    struct guest_module *out)
{
    const char *file = dt_string(module[MODULE_IMAGE_NAME]), *disk = dt_string(module[MODULE_DISK]);

    if (!disk || !*disk || strlen(disk) >= DISK_NAME || !module[MODULE_IMAGE_NAME].p)
        return words->disk;
    if (!file || !file_name_ok(file))
        return words->file;
    *out = (struct guest_module){.file = file, .disk = disk};
    return NULL;
}

static const char *read_module(const struct dt_value *guest, const struct dt_value *module,
                               const struct module_space *space, const struct module_words *words,
                               struct guest_module *out)
{
    uint32_t address = cells(guest[ADDRESS_CELLS], 2), size = cells(guest[SIZE_CELLS], 1);
    struct dt_value reg = module[MODULE_REG], name = module[MODULE_IMAGE_NAME];
    const char *file = dt_string(name);
    bool allowed = false;
    struct range r;

    if (module_given(out))
        return words->twice;
    if (module[MODULE_DISK].p)
        return read_disk_module(module, words, out);
    if (!reg.p || address == 0 || size == 0 || reg.len != 4 * (address + size))
        return words->reg;
    r.base = dt_cells(reg.p, address);
    r.size = dt_cells((const char *)reg.p + 4 * address, size);
    if (r.size == 0)
        return words->empty;
    if (r.base > UINT64_MAX - space->base)
        return words->outside;
    r.base += space->base;
    for (size_t i = 0; i < space->allowed_count; i++)
        allowed = allowed || inside(r, space->allowed[i]);
    if (!allowed)
        return words->outside;
    for (size_t i = 0; i < space->forbidden_count; i++)
        if (overlap(r, space->forbidden[i]))
            return words->forbidden;
    if (name.p && (!file || !file_name_ok(file)))
        return words->file;
    *out = (struct guest_module){.base = pa(r.base), .size = r.size, .file = file};
    return NULL;
}

/* Two files may come from one page image, which both modules then name. */
static bool in_each_others_way(const struct guest_module *a, const struct guest_module *b)
{
    if (a->disk || b->disk)
        return false;
    if (a->file && b->file && a->base.v == b->base.v && a->size == b->size)
        return false;
    return overlap((struct range){a->base.v, a->size}, (struct range){b->base.v, b->size});
}

static const char *read_modules(struct guest_config *g, const void *fdt, int guest, const struct dt_value *value,
                                const struct module_space *space)
{
    const char *wrong = NULL;
    int node;

    fdt_for_each_subnode(node, fdt, guest)
    {
        struct dt_value module[MODULE_PROPS];

        dt_get(fdt, node, module_prop, module, MODULE_PROPS);
        if (dt_list_has(module[MODULE_COMPATIBLE], "multiboot,kernel"))
            wrong = read_module(value, module, space, &kernel_words, &g->kernel);
        else if (dt_list_has(module[MODULE_COMPATIBLE], "multiboot,ramdisk"))
            wrong = read_module(value, module, space, &ramdisk_words, &g->initrd);
        else if (dt_list_has(module[MODULE_COMPATIBLE], "multiboot,module"))
            wrong = "a module that is neither kernel nor ramdisk";
        if (wrong)
            return wrong;
    }
    if (!module_given(&g->kernel))
        return "no kernel module";
    if (module_given(&g->initrd) && in_each_others_way(&g->kernel, &g->initrd))
        return "kernel and ramdisk modules overlap";
    return NULL;
}

/* --- nodes --- */

static const char *read_guest(struct guest_config *g, const void *fdt, int node, const struct module_space *space)
{
    static const struct {
        enum guest_prop prop;
        const char *(*read)(struct guest_config *, struct dt_value);
    } readers[] = {
        {CPUS, read_cpus},       {MEMORY, read_memory},       {BOOTARGS, read_bootargs}, {IDENTITY, read_identity},
        {GRANULE, read_granule}, {NO_REBOOT, read_no_reboot}, {RESIDENT, read_resident},
    };
    const char *name = fdt_get_name(fdt, node, NULL);
    const char *wrong = read_name(g, name ? name : "");
    struct dt_value value[GUEST_PROPS];

    dt_get(fdt, node, guest_prop, value, GUEST_PROPS);
    for (size_t i = 0; !wrong && i < ARRAY_SIZE(readers); i++)
        wrong = readers[i].read(g, value[readers[i].prop]);
    return wrong ? wrong : read_modules(g, fdt, node, value, space);
}

static const char *same_name(const struct guest_config *all, uint32_t count, const char *name)
{
    for (uint32_t i = 0; i < count; i++)
        if (strcmp(all[i].name, name) == 0)
            return "another guest has the same name";
    return NULL;
}

static void put_words(char *to, size_t size, const char *words)
{
    size_t n = strnlen(words, size - 1);

    memcpy(to, words, n);
    to[n] = '\0';
}

static void machine_defaults(struct machine_config *m)
{
    *m = (struct machine_config){.helpers = 1, .store = STORE_DEFAULT, .pause_after = PAUSE_AFTER_DEFAULT};
}

enum machine_prop { HELPERS, QUIET, SWAP, STORE, PAUSE_AFTER, NO_READ_AHEAD, PLAIN_WAITS, MACHINE_PROPS };

static const char *const machine_prop[MACHINE_PROPS] = {
    [HELPERS] = "helpers",
    [QUIET] = "quiet",
    [SWAP] = "swap",
    [STORE] = "store",
    [PAUSE_AFTER] = "pause-after",
    [NO_READ_AHEAD] = "no-read-ahead",
    [PLAIN_WAITS] = "plain-waits",
};

static const char *read_helpers(struct machine_config *m, struct dt_value v)
{
    uint64_t n = m->helpers;

    if (v.p && (!dt_number(v, &n) || n >= MAX_CORES))
        return "helpers is not a number of cores that can be";
    m->helpers = (uint32_t)n;
    return NULL;
}

static const char *read_swap(struct machine_config *m, struct dt_value v)
{
    const char *name = dt_string(v);

    if (v.p && (!name || !*name || strlen(name) >= DISK_NAME))
        return "swap is not one name of 1 to 20 characters";
    m->swap = v.p ? name : NULL;
    return NULL;
}

static const char *read_store(struct machine_config *m, struct dt_value v)
{
    uint64_t kib;

    if (!v.p)
        return NULL;
    if (v.len != 8 || !dt_number(v, &kib) || kib > GUEST_MAX_MEMORY / KIB(1) || KIB(kib) % BLOCK_SIZE)
        return "store is not a number of two cells, or no multiple of 2 MiB";
    m->store = KIB(kib);
    return NULL;
}

static const char *read_pause_after(struct machine_config *m, struct dt_value v)
{
    uint64_t s = m->pause_after;

    if (v.p && (v.len != 4 || !dt_number(v, &s)))
        return "pause-after is not one cell";
    m->pause_after = (uint32_t)s;
    return NULL;
}

/* What is not understood is said, and its default stands in. */
static void read_machine(struct machine_config *m, const void *fdt, int node)
{
    static const struct {
        enum machine_prop prop;
        const char *(*read)(struct machine_config *, struct dt_value);
    } readers[] = {{HELPERS, read_helpers}, {SWAP, read_swap}, {STORE, read_store}, {PAUSE_AFTER, read_pause_after}};
    struct dt_value value[MACHINE_PROPS];
    const char *wrong;

    dt_get(fdt, node, machine_prop, value, MACHINE_PROPS);
    m->quiet = value[QUIET].p != NULL;
    m->no_read_ahead = value[NO_READ_AHEAD].p != NULL;
    m->plain_waits = value[PLAIN_WAITS].p != NULL;
    for (size_t i = 0; i < ARRAY_SIZE(readers); i++) {
        wrong = readers[i].read(m, value[readers[i].prop]);
        if (wrong)
            put_words(m->refused, sizeof(m->refused), wrong);
    }
}

uint32_t guest_config_read_chosen(const void *fdt, int chosen, const struct module_space *space,
                                  struct machine_config *machine, struct guest_config *out, uint32_t max)
{
    static const char *const name[] = {"compatible"};
    struct dt_value compatible;
    uint32_t count = 0;
    int node;

    machine_defaults(machine);
    if (chosen < 0)
        return 0;
    fdt_for_each_subnode(node, fdt, chosen)
    {
        dt_get(fdt, node, name, &compatible, 1);
        if (dt_list_has(compatible, "meanwhile,config")) {
            read_machine(machine, fdt, node);
        } else if (dt_list_has(compatible, "meanwhile,guest")) {
            if (count < max) {
                struct guest_config *g = &out[count];
                const char *wrong;

                memset(g, 0, sizeof(*g));
                wrong = read_guest(g, fdt, node, space);
                if (!wrong)
                    wrong = same_name(out, count, g->name);
                put_words(g->refused, sizeof(g->refused), wrong ? wrong : "");
            }
            count++;
        }
    }
    return count;
}

uint32_t guest_config_read(const void *blob, size_t room, const struct module_space *space,
                           struct machine_config *machine, struct guest_config *out, uint32_t max)
{
    machine_defaults(machine);
    if (!dt_check(blob, room))
        return 0;
    return guest_config_read_chosen(blob, fdt_path_offset(blob, "/chosen"), space, machine, out, max);
}
