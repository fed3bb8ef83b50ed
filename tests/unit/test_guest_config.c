/* SPDX-License-Identifier: BSD-2-Clause */
/* SOURCES: hyp/guest_config.c dts/read.c */
/* Guest nodes: a good one, every way to be bad with its own words, and damaged blobs. */
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

#include "hyp/guest_config.h"

_Thread_local struct core *this_core_ptr;

#define IMAGE_BASE UINT64_C(0x60000000)
#define IMAGE_SIZE MIB(64)

static uint64_t blob[1024];
static struct machine_config machine;
static struct guest_config guest[4];

/* As for a packed image: modules lie behind the hypervisor. */
static const struct range image = {IMAGE_BASE, IMAGE_SIZE};
static const struct range hypervisor = {IMAGE_BASE, MIB(4)};
static const struct module_space packed = {IMAGE_BASE, &image, 1, &hypervisor, 1};

static void ok(int r)
{
    assert_int_equal(r, 0);
}

static void bytes(const char *name, const void *p, size_t n)
{
    ok(fdt_property(blob, name, p, (int)n));
}

#define STR(name, literal) bytes(name, literal, sizeof(literal))

static void cells(const char *name, const uint32_t *c, size_t n)
{
    uint32_t be[16];

    for (size_t i = 0; i < n; i++)
        be[i] = cpu_to_fdt32(c[i]);
    bytes(name, be, 4 * n);
}

#define CELLS(name, ...) cells(name, (const uint32_t[]){__VA_ARGS__}, sizeof((const uint32_t[]){__VA_ARGS__}) / 4)

static void begin(const char *name)
{
    ok(fdt_begin_node(blob, name));
}

static void end(void)
{
    ok(fdt_end_node(blob));
}

static void start(void)
{
    ok(fdt_create(blob, sizeof(blob)));
    ok(fdt_finish_reservemap(blob));
    begin("");
    begin("aliases");
    end();
    begin("chosen");
    STR("bootargs", "the host's");
}

static uint32_t finish_and_read(void)
{
    end();
    end();
    ok(fdt_finish(blob));
    memset(guest, 0xaa, sizeof(guest));
    return guest_config_read(blob, sizeof(blob), &packed, &machine, guest, ARRAY_SIZE(guest));
}

/* A guest node; what a test wants otherwise it says in `w`. */
struct wish {
    const char *name;
    uint32_t cpus, memory_hi, memory_lo, granule, kernel[4], ramdisk[4];
    uint32_t resident_hi, resident_lo;
    size_t resident_size;
    const char *bootargs, *identity;
    const char *kernel_file, *ramdisk_file; /* image-name */
    const char *kernel_disk, *ramdisk_disk; /* disk, in the place of reg */
    size_t kernel_disk_size;
    size_t kernel_file_size;
    size_t bootargs_size, cpus_size, memory_size, identity_size, granule_size, kernel_reg_size, address_cells;
    bool no_cpus, no_memory, no_kernel, two_kernels, two_ramdisks, stray_module, odd_child;
};

static struct wish good(void)
{
    return (struct wish){
        .name = "debian-12_a",
        .cpus = 2,
        .memory_lo = 512 * 1024,
        .kernel = {0, 0x800000, 0, 0x2000000},
        .ramdisk = {0, 0x2800000, 0, 0x100001},
    };
}

static void module_of(const char *name, const char *kind, size_t kind_size, const uint32_t *reg, size_t reg_size,
                      const char *file, size_t file_size, const char *disk, size_t disk_size)
{
    uint32_t be[4];

    for (size_t i = 0; i < 4; i++)
        be[i] = cpu_to_fdt32(reg[i]);
    begin(name);
    bytes("compatible", kind, kind_size);
    if (disk)
        bytes("disk", disk, disk_size);
    else
        bytes("reg", be, reg_size);
    if (file)
        bytes("image-name", file, file_size);
    end();
}

static void module(const char *name, const char *kind, size_t kind_size, const uint32_t *reg, size_t reg_size)
{
    module_of(name, kind, kind_size, reg, reg_size, NULL, 0, NULL, 0);
}

#define KERNEL "multiboot,kernel\0multiboot,module"
#define RAMDISK "multiboot,ramdisk\0multiboot,module"

static size_t size_or(size_t size, size_t otherwise)
{
    return size ? size : otherwise;
}

static void node(const struct wish *w)
{
    const uint32_t two = cpu_to_fdt32(w->address_cells ? (uint32_t)w->address_cells : 2), size_cells = cpu_to_fdt32(2);
    const uint32_t cpus[2] = {cpu_to_fdt32(w->cpus), 0}, granule[3] = {cpu_to_fdt32(w->granule), 0, 0};
    const uint32_t memory[3] = {cpu_to_fdt32(w->memory_hi), cpu_to_fdt32(w->memory_lo), 0};

    begin(w->name);
    STR("compatible", "meanwhile,guest");
    bytes("#address-cells", &two, 4);
    bytes("#size-cells", &size_cells, 4);
    if (!w->no_cpus)
        bytes("cpus", cpus, size_or(w->cpus_size, 4));
    if (!w->no_memory)
        bytes("memory", memory, size_or(w->memory_size, 8));
    if (w->resident_hi || w->resident_lo || w->resident_size)
        bytes("resident", (const uint32_t[]){cpu_to_fdt32(w->resident_hi), cpu_to_fdt32(w->resident_lo)},
              size_or(w->resident_size, 8));
    if (w->bootargs)
        bytes("bootargs", w->bootargs, size_or(w->bootargs_size, strlen(w->bootargs) + 1));
    if (w->identity)
        bytes("identity", w->identity, size_or(w->identity_size, strlen(w->identity) + 1));
    if (w->granule || w->granule_size)
        bytes("populate-granule", granule, size_or(w->granule_size, 4));
    if (!w->no_kernel)
        module_of("module@0", KERNEL, sizeof(KERNEL), w->kernel, size_or(w->kernel_reg_size, 16), w->kernel_file,
                  w->kernel_file ? size_or(w->kernel_file_size, strlen(w->kernel_file) + 1) : 0, w->kernel_disk,
                  w->kernel_disk ? size_or(w->kernel_disk_size, strlen(w->kernel_disk) + 1) : 0);
    if (w->two_kernels)
        module("module@9", KERNEL, sizeof(KERNEL), w->kernel, 16);
    if (w->ramdisk[3])
        module_of("module@1", RAMDISK, sizeof(RAMDISK), w->ramdisk, 16, w->ramdisk_file,
                  w->ramdisk_file ? strlen(w->ramdisk_file) + 1 : 0, w->ramdisk_disk,
                  w->ramdisk_disk ? strlen(w->ramdisk_disk) + 1 : 0);
    if (w->two_ramdisks)
        module("module@8", RAMDISK, sizeof(RAMDISK), w->ramdisk, 16);
    if (w->stray_module)
        module("module@2", "multiboot,device-tree\0multiboot,module", 39, w->ramdisk, 16);
    if (w->odd_child) {
        begin("remark");
        end();
    }
    end();
}

static void read_one(const struct wish *w)
{
    start();
    node(w);
    assert_int_equal(finish_and_read(), 1);
}

static void whole(void **state)
{
    struct wish w = good();

    (void)state;
    w.bootargs = "console=ttyAMA0 quiet";
    w.identity = "meanwhile";
    w.granule = 0x1000;
    w.odd_child = true;
    read_one(&w);
    assert_string_equal(guest[0].refused, "");
    assert_string_equal(guest[0].name, "debian-12_a");
    assert_int_equal(guest[0].cpus, 2);
    assert_int_equal(guest[0].memory, MIB(512));
    assert_string_equal(guest[0].bootargs, "console=ttyAMA0 quiet");
    assert_int_equal(guest[0].identity, IDENTITY_MEANWHILE);
    assert_int_equal(guest[0].granule, 0x1000);
    assert_int_equal(guest[0].kernel.base.v, IMAGE_BASE + 0x800000);
    assert_int_equal(guest[0].kernel.size, 0x2000000);
    assert_int_equal(guest[0].initrd.base.v, IMAGE_BASE + 0x2800000);
    assert_int_equal(guest[0].initrd.size, 0x100001);
}

static void identities(void **state)
{
    static const char *const names[IDENTITIES] = {"meanwhile", "kvm", "none"};
    struct wish w = good();

    (void)state;
    for (uint32_t i = 0; i < IDENTITIES; i++) {
        w.identity = names[i];
        read_one(&w);
        assert_string_equal(guest[0].refused, "");
        assert_int_equal(guest[0].identity, i);
    }
}

static void defaults(void **state)
{
    struct wish w = good();

    (void)state;
    w.ramdisk[3] = 0;
    read_one(&w);
    assert_string_equal(guest[0].refused, "");
    assert_null(guest[0].bootargs);
    assert_int_equal(guest[0].identity, IDENTITY_MEANWHILE);
    assert_int_equal(guest[0].granule, BLOCK_SIZE);
    assert_int_equal(guest[0].initrd.size, 0);
    assert_int_equal(machine.helpers, 1);
    assert_false(machine.quiet);
    assert_string_equal(machine.refused, "");
}

/* The largest things that are allowed. */
static void limits(void **state)
{
    static char long_args[GUEST_MAX_BOOTARGS + 1];
    struct wish w = good();

    (void)state;
    memset(long_args, 'x', sizeof(long_args) - 1);
    w.name = "a234567890123456789012345678901";
    w.cpus = 16;
    w.memory_lo = 256u << 20;
    w.bootargs = long_args;
    w.kernel[1] = 0x400000;
    w.kernel[3] = (uint32_t)(IMAGE_SIZE - 0x400000);
    w.ramdisk[3] = 0;
    read_one(&w);
    assert_string_equal(guest[0].refused, "");
    assert_int_equal(strlen(guest[0].name), 31);
    assert_int_equal(guest[0].memory, GIB(256));
    assert_int_equal(strlen(guest[0].bootargs), 2047);
}

/* Both from one page image, from two, or one of them. */
static void page_images(void **state)
{
    struct wish w = good();

    (void)state;
    read_one(&w);
    assert_null(guest[0].kernel.file);
    assert_null(guest[0].initrd.file);

    w.kernel_file = "vmlinuz-6.1.0-56_arm64+b1";
    w.ramdisk_file = "i23456789012345678901234567890123456789012345678901234567890123";
    read_one(&w);
    assert_string_equal(guest[0].refused, "");
    assert_string_equal(guest[0].kernel.file, w.kernel_file);
    assert_string_equal(guest[0].initrd.file, w.ramdisk_file);

    memcpy(w.ramdisk, w.kernel, sizeof(w.ramdisk));
    read_one(&w);
    assert_string_equal(guest[0].refused, "");
    assert_int_equal(guest[0].initrd.base.v, IMAGE_BASE + 0x800000);
    assert_int_equal(guest[0].initrd.size, 0x2000000);

    w.ramdisk_file = NULL;
    w.ramdisk[1] = 0x2800000;
    w.ramdisk[3] = 0x1000;
    read_one(&w);
    assert_string_equal(guest[0].refused, "");
    assert_string_equal(guest[0].kernel.file, w.kernel_file);
    assert_null(guest[0].initrd.file);
}

/* On disks there is no place, and so no overlap. */
static void on_disk(void **state)
{
    struct wish w = good();

    (void)state;
    w.kernel_disk = w.ramdisk_disk = "12345678901234567890";
    w.kernel_file = w.ramdisk_file = "a";
    read_one(&w);
    assert_string_equal(guest[0].refused, "");
    assert_string_equal(guest[0].kernel.disk, w.kernel_disk);
    assert_string_equal(guest[0].kernel.file, "a");
    assert_int_equal(guest[0].kernel.size, 0);
    assert_string_equal(guest[0].initrd.disk, w.kernel_disk);
    assert_true(guest_on_disk(&guest[0]));

    w.ramdisk_disk = w.ramdisk_file = NULL;
    read_one(&w);
    assert_string_equal(guest[0].refused, "");
    assert_null(guest[0].initrd.disk);
    assert_true(guest_on_disk(&guest[0]));

    w = good();
    read_one(&w);
    assert_false(guest_on_disk(&guest[0]));
}

static void residency(void **state)
{
    static const struct {
        uint32_t hi, lo;
        size_t size;
        uint64_t resident;
        const char *refused;
    } cases[] = {
        {0, 4096, 0, MIB(4), ""},
        {0, 512 * 1024 - 4, 0, MIB(512) - PAGE_SIZE, ""},
        {0, 512 * 1024, 0, 0, ""}, /* all it has: no limit */
        {1, 0, 0, 0, ""},
        {0, 4092, 0, 0, "resident is less than 4 MiB"},
        {0, 8193, 0, 0, "resident is not a multiple of 4 KiB"},
        {0, 8192, 4, 0, "resident is not a number of two cells"},
    };
    struct wish w = good();

    (void)state;
    read_one(&w);
    assert_int_equal(guest[0].resident, 0);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        w.resident_hi = cases[i].hi;
        w.resident_lo = cases[i].lo;
        w.resident_size = cases[i].size;
        read_one(&w);
        assert_string_equal(guest[0].refused, cases[i].refused);
        assert_int_equal(guest[0].resident, cases[i].resident);
    }
}

/* What the machine's node says of cold pages, and what stands in for what cannot be. */
static void cold_pages(void **state)
{
    (void)state;
    start();
    begin("meanwhile");
    STR("compatible", "meanwhile,config");
    end();
    assert_int_equal(finish_and_read(), 0);
    assert_null(machine.swap);
    assert_true(machine.store == STORE_DEFAULT);
    assert_int_equal(machine.pause_after, PAUSE_AFTER_DEFAULT);
    assert_false(machine.no_read_ahead);
    assert_false(machine.plain_waits);

    start();
    begin("meanwhile");
    STR("compatible", "meanwhile,config");
    STR("swap", "12345678901234567890");
    CELLS("store", 0, 6144);
    CELLS("pause-after", 0);
    bytes("no-read-ahead", "", 0);
    bytes("plain-waits", "", 0);
    end();
    assert_int_equal(finish_and_read(), 0);
    assert_string_equal(machine.refused, "");
    assert_string_equal(machine.swap, "12345678901234567890");
    assert_int_equal(machine.store, MIB(6));
    assert_int_equal(machine.pause_after, 0);
    assert_true(machine.no_read_ahead);
    assert_true(machine.plain_waits);

    for (int bad = 0; bad < 5; bad++) {
        start();
        begin("meanwhile");
        STR("compatible", "meanwhile,config");
        if (bad == 0)
            STR("swap", "123456789012345678901");
        if (bad == 1)
            STR("swap", "");
        if (bad == 2)
            CELLS("store", 6144);
        if (bad == 3)
            CELLS("store", 0, 6145);
        if (bad == 4)
            CELLS("pause-after", 0, 1);
        end();
        assert_int_equal(finish_and_read(), 0);
        assert_string_not_equal(machine.refused, "");
        assert_null(machine.swap);
        assert_true(machine.store == STORE_DEFAULT);
        assert_int_equal(machine.pause_after, PAUSE_AFTER_DEFAULT);
    }
}

static void machine_node(void **state)
{
    (void)state;
    start();
    begin("meanwhile");
    STR("compatible", "meanwhile,config");
    CELLS("helpers", 0);
    bytes("quiet", "", 0);
    end();
    assert_int_equal(finish_and_read(), 0);
    assert_int_equal(machine.helpers, 0);
    assert_true(machine.quiet);
    assert_string_equal(machine.refused, "");

    start();
    begin("meanwhile");
    STR("compatible", "meanwhile,config");
    CELLS("helpers", MAX_CORES);
    end();
    assert_int_equal(finish_and_read(), 0);
    assert_int_equal(machine.helpers, 1);
    assert_string_not_equal(machine.refused, "");
}

/* --- refusals --- */

static char said[64][96];
static unsigned said_count;

static void refused(const struct wish *w)
{
    read_one(w);
    if (guest[0].refused[0] == '\0')
        print_message("not refused, after \"%s\"\n", said_count ? said[said_count - 1] : "");
    assert_string_not_equal(guest[0].refused, "");
    for (unsigned i = 0; i < said_count; i++)
        if (strcmp(said[i], guest[0].refused) == 0)
            return;
    memcpy(said[said_count++], guest[0].refused, 96);
}

/* `expected`: how many distinct reasons there have to be by now. */
static void refused_anew(const struct wish *w)
{
    unsigned before = said_count;

    refused(w);
    if (said_count == before)
        print_message("said before: \"%s\"\n", guest[0].refused);
    assert_int_equal(said_count, before + 1);
}

#define BAD(what)               \
    do {                        \
        struct wish w = good(); \
        what;                   \
        refused_anew(&w);       \
    } while (0)

#define BAD_TOO(what)                    \
    do {                                 \
        struct wish w = good();          \
        unsigned n = said_count;         \
        what;                            \
        refused(&w);                     \
        assert_int_equal(said_count, n); \
    } while (0)

static void each_in_its_own_words(void **state)
{
    static char long_args[GUEST_MAX_BOOTARGS + 2];

    (void)state;
    memset(long_args, 'x', sizeof(long_args) - 1);
    said_count = 0;

    BAD(w.name = "a2345678901234567890123456789012");
    assert_string_equal(guest[0].name, "a234567890123456789012345678901");
    BAD(w.name = "with space");
    assert_string_equal(guest[0].name, "with?space");
    BAD_TOO(w.name = "guest@0");
    BAD_TOO(w.name = "b\xc3\xa4r");

    BAD(w.no_cpus = true);
    BAD(w.cpus_size = 8);
    BAD(w.cpus = 0);
    BAD(w.cpus = 17);
    BAD_TOO(w.cpus = 0xffffffff);

    BAD(w.no_memory = true);
    BAD(w.memory_size = 4);
    BAD_TOO(w.memory_size = 12);
    BAD(w.memory_lo = 0);
    BAD(w.memory_lo = 1024);
    BAD_TOO(w.memory_lo = 512 * 1024 + 1);
    BAD(w.memory_lo = (256u << 20) + 2048);
    BAD_TOO((w.memory_hi = 0x400000, w.memory_lo = 0)); /* 2^64 bytes */
    BAD_TOO((w.memory_hi = 0x80400000, w.memory_lo = 2048));

    BAD((w.bootargs = "abc", w.bootargs_size = 3));
    BAD_TOO((w.bootargs = "a\0b", w.bootargs_size = 4));
    BAD(w.bootargs = long_args);

    BAD(w.identity = "xen");
    BAD_TOO(w.identity = "");
    BAD_TOO((w.identity = "meanwhile", w.identity_size = 9));

    BAD(w.granule = 0x2000);
    BAD_TOO(w.granule_size = 8);
    BAD_TOO((w.granule = 0x1000, w.granule_size = 12));

    BAD(w.no_kernel = true);
    BAD(w.two_kernels = true);
    BAD(w.two_ramdisks = true);
    BAD(w.stray_module = true);
    BAD(w.kernel_reg_size = 12);
    BAD_TOO(w.address_cells = 1);
    BAD_TOO(w.address_cells = 7);
    BAD(w.kernel[3] = 0);
    BAD(w.kernel[1] = (uint32_t)IMAGE_SIZE);
    BAD_TOO(w.kernel[3] = (uint32_t)IMAGE_SIZE);
    BAD_TOO(w.kernel[0] = 0xffffffff); /* base wraps */
    BAD_TOO(w.kernel[2] = 0xffffffff); /* size wraps */
    BAD(w.kernel[1] = 0x3fffff);
    BAD((w.ramdisk[1] = 0x3f00000, w.ramdisk[3] = 0x100001));
    BAD((w.ramdisk[1] = 0x27fffff, w.ramdisk[3] = 1));
    BAD_TOO((w.ramdisk[1] = 0x700000, w.ramdisk[3] = 0x100001));
    BAD((w.ramdisk[1] = 0x100000));

    BAD(w.kernel_file = "");
    BAD_TOO(w.kernel_file = "a/b");
    BAD_TOO(w.kernel_file = "i234567890123456789012345678901234567890123456789012345678901234");
    BAD_TOO((w.kernel_file = "a\0b", w.kernel_file_size = 4));
    BAD_TOO((w.kernel_file = "ab", w.kernel_file_size = 2));
    BAD(w.ramdisk_file = "white space");
    /* The same place is one image for both, or a mistake. */
    BAD_TOO(memcpy(w.ramdisk, w.kernel, sizeof(w.ramdisk)));
    BAD_TOO((memcpy(w.ramdisk, w.kernel, sizeof(w.ramdisk)), w.kernel_file = "a"));
    BAD_TOO((memcpy(w.ramdisk, w.kernel, sizeof(w.ramdisk)), w.ramdisk_file = "a"));
    BAD_TOO((memcpy(w.ramdisk, w.kernel, sizeof(w.ramdisk)), w.ramdisk[3]++, w.kernel_file = w.ramdisk_file = "a"));

    BAD(w.kernel_disk = "mw0"); /* a disk, and no file of it */
    BAD_TOO((w.kernel_disk = "", w.kernel_file = "a"));
    BAD_TOO((w.kernel_disk = "123456789012345678901", w.kernel_file = "a"));
    BAD_TOO((w.kernel_disk = "a\0b", w.kernel_disk_size = 4, w.kernel_file = "a"));
    BAD_TOO((w.kernel_disk = "mw0", w.kernel_disk_size = 3, w.kernel_file = "a"));
    BAD_TOO((w.kernel_disk = "mw0", w.kernel_file = "a/b"));
    BAD(w.ramdisk_disk = "mw0");
    BAD_TOO((w.kernel_disk = "mw0", w.kernel_file = "a", w.two_kernels = true));
    assert_true(said_count >= 28);
}

/* A bad guest leaves the others alone, and the second of a name is refused. */
static void others_stay(void **state)
{
    struct wish a = good(), b = good(), c = good(), d = good(), e = good();

    (void)state;
    b.cpus = 0;
    b.name = "bad";
    c.name = "other";
    e.name = "fifth";
    start();
    node(&a);
    begin("not-a-guest");
    STR("compatible", "multiboot,module");
    end();
    node(&b);
    node(&c);
    node(&d);
    node(&e);
    assert_int_equal(finish_and_read(), 5); /* of which the last has no room in the table */
    assert_string_equal(guest[0].refused, "");
    assert_string_not_equal(guest[1].refused, "");
    assert_string_equal(guest[1].name, "bad");
    assert_string_equal(guest[2].refused, "");
    assert_string_equal(guest[2].name, "other");
    assert_string_not_equal(guest[3].refused, "");
    assert_string_equal(guest[3].name, "debian-12_a");
}

/* In the host's tree a module's address is physical, and any bank will do. */
static void absolute(void **state)
{
    static const struct range banks[] = {{0x40000000, 0x1000000}, {0x80000000, 0x4000000}};
    const struct module_space space = {0, banks, 2, NULL, 0}, from_image = {0x80000000, banks, 2, NULL, 0};
    struct wish w = good();

    (void)state;
    w.kernel[1] = 0x80000000;
    w.ramdisk[1] = 0x40000000;
    start();
    node(&w);
    end();
    end();
    ok(fdt_finish(blob));
    assert_int_equal(guest_config_read(blob, sizeof(blob), &space, &machine, guest, 4), 1);
    assert_string_equal(guest[0].refused, "");
    assert_int_equal(guest[0].kernel.base.v, 0x80000000);
    assert_int_equal(guest_config_read_chosen(blob, fdt_path_offset(blob, "/chosen"), &space, &machine, guest, 4), 1);
    assert_string_equal(guest[0].refused, "");
    /* Counted from an image, an address does not come round to something below it. */
    w.kernel[0] = 0xffffffff;
    w.kernel[1] = 0xc0000000;
    w.kernel[3] = 0x100000;
    w.ramdisk[3] = 0;
    start();
    node(&w);
    end();
    end();
    ok(fdt_finish(blob));
    assert_int_equal(guest_config_read(blob, sizeof(blob), &from_image, &machine, guest, 4), 1);
    assert_string_not_equal(guest[0].refused, "");
    assert_int_equal(guest_config_read_chosen(blob, -1, &space, &machine, guest, 4), 0);
}

static void damaged(void **state)
{
    const size_t span = 1 << 16;
    char *base = mmap(NULL, span + 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    struct wish w = good();
    size_t size, size8;
    unsigned found = 0;
    char *p;

    (void)state;
    assert_ptr_not_equal(base, MAP_FAILED);
    assert_int_equal(mprotect(base + span, 4096, PROT_NONE), 0);
    w.bootargs = "quiet";
    read_one(&w);
    size = fdt_totalsize(blob);
    size8 = (size + 7) & ~(size_t)7;
    p = base + span - size8;

    memcpy(p, blob, size8);
    for (size_t n = 0; n < size; n++)
        assert_int_equal(guest_config_read(p, n, &packed, &machine, guest, 4), 0);
    assert_int_equal(machine.helpers, 1);
    for (size_t bit = 0; bit < size * 8; bit++) {
        memcpy(p, blob, size8);
        p[bit / 8] = (char)(p[bit / 8] ^ 1 << bit % 8);
        assert_true(guest_config_read(p, size8, &packed, &machine, guest, 4) <= 4);
    }
    srand(11);
    for (unsigned round = 0; round < 100000; round++) {
        memcpy(p, blob, size8);
        for (int n = 1 + rand() % 6; n > 0; n--)
            p[40 + (size_t)rand() % (size - 40)] = (char)rand();
        if (guest_config_read(p, size8, &packed, &machine, guest, 4) == 1 && guest[0].refused[0] == '\0') {
            found++;
            assert_true(guest[0].cpus >= 1 && guest[0].cpus <= 16);
            assert_true(guest[0].memory >= BLOCK_SIZE && guest[0].memory % BLOCK_SIZE == 0);
            assert_true(guest[0].kernel.base.v >= IMAGE_BASE + MIB(4));
            assert_true(guest[0].kernel.base.v + guest[0].kernel.size <= IMAGE_BASE + IMAGE_SIZE);
            assert_true(guest[0].kernel.size > 0);
            assert_true(!guest[0].bootargs || strlen(guest[0].bootargs) < size);
        }
    }
    assert_true(found > 0);
    munmap(base, span + 4096);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whole),        cmocka_unit_test(identities),
        cmocka_unit_test(defaults),     cmocka_unit_test(limits),
        cmocka_unit_test(page_images),  cmocka_unit_test(on_disk),
        cmocka_unit_test(residency),    cmocka_unit_test(cold_pages),
        cmocka_unit_test(machine_node), cmocka_unit_test(each_in_its_own_words),
        cmocka_unit_test(others_stay),  cmocka_unit_test(absolute),
        cmocka_unit_test(damaged),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
