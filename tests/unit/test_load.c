/* SPDX-License-Identifier: BSD-2-Clause */
/* SOURCES: hyp/load.c */
/*
 * Placement by the Linux boot protocol: the figures of Debian's kernels, every refusal, and random requests whose plans
 * have to keep what the header promises. With a kernel's file as argument it prints the plan for 512 MiB.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "hyp/load.h"
#include "lib/image.h"

_Thread_local struct core *this_core_ptr;

#define RAM 0x40000000u

static uint8_t file[1 << 16];

static void put(size_t off, uint64_t v, unsigned bytes)
{
    for (unsigned i = 0; i < bytes; i++)
        file[off + i] = (uint8_t)(v >> 8 * i);
}

/* An Image without an EFI stub. */
static void image(uint64_t text_offset, uint64_t image_size)
{
    memset(file, 0, sizeof(file));
    put(0, 0x14000010, 4);
    put(8, text_offset, 8);
    put(16, image_size, 8);
    put(24, 0xa, 8);
    put(56, 0x644d5241, 4);
}

/* Makes a PE file of it, with two sections. */
static void pe(uint32_t raw_size, uint32_t raw_offset)
{
    put(0, 0x5a4d, 2);
    put(60, 64, 4);
    put(64, 0x4550, 4);
    put(64 + 6, 2, 2);
    put(64 + 20, 160, 2);
    put(64 + 24 + 160 + 16, 0x1000, 4);
    put(64 + 24 + 160 + 20, 0x1000, 4);
    put(64 + 24 + 160 + 40 + 16, raw_size, 4);
    put(64 + 24 + 160 + 40 + 20, raw_offset, 4);
}

static struct load_plan plan;

/* Where only `head` bytes of the kernel can be looked at. */
static enum load_result place_seen(uint64_t head, uint64_t kernel, uint64_t initrd, uint64_t ram)
{
    const struct load_request r = {
        .kernel = file,
        .kernel_head = head,
        .kernel_size = kernel,
        .initrd_size = initrd,
        .dtb_size = KIB(64),
        .ram_base = ipa(RAM),
        .ram_size = ram,
    };

    memset(&plan, 0xee, sizeof(plan));
    return load_place(&r, &plan);
}

static enum load_result place(uint64_t kernel, uint64_t initrd, uint64_t ram)
{
    return place_seen(kernel, kernel, initrd, ram);
}

/* Where QEMU's virt board puts Debian's kernel: 2 MiB up, the initrd at 128 MiB, the device tree behind it. */
static void debian(void **state)
{
    (void)state;
    image(0, 0x2010000);
    assert_int_equal(place(sizeof(file), 1040000, MIB(512)), LOAD_OK);
    assert_int_equal(plan.kernel.v, RAM + MIB(2));
    assert_int_equal(plan.initrd.v, RAM + MIB(128));
    assert_int_equal(plan.dtb.v, RAM + MIB(130));
    assert_false(plan.raw);

    assert_int_equal(place(sizeof(file), 1040000, MIB(128)), LOAD_OK);
    assert_int_equal(plan.initrd.v, RAM + MIB(64));
    assert_int_equal(place(sizeof(file), 0, MIB(512)), LOAD_OK);
    assert_int_equal(plan.initrd.v, 0);
    assert_int_equal(plan.dtb.v, RAM + MIB(128));
    /* Half of RAM is inside the kernel: above it then. Its end is at 2 + 32 MiB + 64 KiB. */
    assert_int_equal(place(sizeof(file), MIB(1), MIB(64)), LOAD_OK);
    assert_int_equal(plan.initrd.v, RAM + MIB(36));
    assert_int_equal(plan.dtb.v, RAM + MIB(38));
}

static void text_offset(void **state)
{
    (void)state;
    image(0x80000, 0x100000);
    assert_int_equal(place(4096, 0, MIB(64)), LOAD_OK);
    assert_int_equal(plan.kernel.v, RAM + 0x80000);
    image(0x1000, 0x100000);
    assert_int_equal(place(4096, 0, MIB(64)), LOAD_OK);
    assert_int_equal(plan.kernel.v, RAM + 0x1000);
    image(0x123, 0); /* before Linux 3.17: image_size 0, and the offset means nothing */
    assert_int_equal(place(4096, 0, MIB(64)), LOAD_OK);
    assert_int_equal(plan.kernel.v, RAM + 0x80000);
    image(0x80004, 0x100000);
    assert_int_equal(place(4096, 0, MIB(64)), LOAD_BAD_OFFSET);
    image(MIB(64), 0x1000);
    assert_int_equal(place(4096, 0, MIB(64)), LOAD_KERNEL_TOO_BIG);
    image(~UINT64_C(0xfff), 0x1000);
    assert_int_equal(place(4096, 0, MIB(64)), LOAD_KERNEL_TOO_BIG);
}

static void sizes(void **state)
{
    (void)state;
    image(0, ~UINT64_C(0));
    assert_int_equal(place(4096, 0, MIB(64)), LOAD_KERNEL_TOO_BIG);
    image(0, MIB(62) + 1);
    assert_int_equal(place(4096, 0, MIB(64)), LOAD_KERNEL_TOO_BIG);
    image(0, MIB(62));
    assert_int_equal(place(4096, 0, MIB(64)), LOAD_NO_ROOM_FOR_DTB);
    image(0, MIB(62) - KIB(64));
    assert_int_equal(place(4096, 0, MIB(64)), LOAD_OK);
    assert_int_equal(plan.dtb.v, RAM + MIB(64) - KIB(64));
    assert_int_equal(place(4096, 1, MIB(64)), LOAD_NO_ROOM_FOR_DTB);
    assert_int_equal(place(4096, KIB(64) + 1, MIB(64)), LOAD_INITRD_TOO_BIG);
    assert_int_equal(place(4096, ~UINT64_C(0), MIB(64)), LOAD_INITRD_TOO_BIG);

    /* More file than image_size says: the file is what has to fit. */
    image(0, 0x1000);
    assert_int_equal(place(sizeof(file), 0, MIB(2)), LOAD_KERNEL_TOO_BIG);
    assert_int_equal(place(sizeof(file), 0, MIB(4)), LOAD_OK);
    assert_true(plan.dtb.v >= plan.kernel.v + sizeof(file));

    /* An initrd of more than half of RAM goes right behind the kernel, the device tree wherever there is room. */
    image(0, MIB(4));
    assert_int_equal(place(4096, MIB(50), MIB(64)), LOAD_OK);
    assert_int_equal(plan.initrd.v, RAM + MIB(6));
    assert_int_equal(plan.dtb.v, RAM + MIB(56));
    assert_int_equal(place(4096, MIB(32), MIB(64)), LOAD_OK);
    assert_int_equal(plan.initrd.v, RAM + MIB(32));
    assert_int_equal(plan.dtb.v, RAM + MIB(6));
}

static void raw(void **state)
{
    (void)state;
    memset(file, 0x11, sizeof(file));
    assert_int_equal(place(sizeof(file), 0, MIB(128)), LOAD_OK);
    assert_true(plan.raw);
    assert_int_equal(plan.kernel.v, RAM + 0x80000);
    assert_int_equal(plan.dtb.v, RAM + MIB(64));
    assert_int_equal(place(4, 0, MIB(128)), LOAD_OK); /* one instruction is a program */
    assert_true(plan.raw);

    /* 2 MiB stay free above it, whatever else there is. */
    assert_int_equal(place(sizeof(file), 0, MIB(4)), LOAD_OK);
    assert_true(plan.dtb.v >= RAM + 0x80000 + sizeof(file) + MIB(2));
    assert_int_equal(place(sizeof(file), 0, MIB(2)), LOAD_NO_ROOM_FOR_DTB);
    assert_int_equal(place(sizeof(file), 100, MIB(4)), LOAD_OK);
    assert_true(plan.initrd.v >= RAM + 0x80000 + sizeof(file) + MIB(2));
    assert_int_equal(place(sizeof(file), 100, MIB(2)), LOAD_INITRD_TOO_BIG);
}

static void refused(void **state)
{
    (void)state;
    image(0, 0x10000);
    assert_int_equal(place(0, 0, MIB(64)), LOAD_EMPTY);
    for (uint64_t n = 60; n < 64; n++)
        assert_int_equal(place(n, 0, MIB(64)), LOAD_TRUNCATED);
    assert_int_equal(place(64, 0, MIB(64)), LOAD_OK);
    put(0, 0x8b1f, 2);
    assert_int_equal(place(4096, 0, MIB(64)), LOAD_COMPRESSED);
    memcpy(file, "MZ\0\0zimg", 8);
    assert_int_equal(place(4096, 0, MIB(64)), LOAD_COMPRESSED);
    memcpy(file,
           "\x7f"
           "ELF",
           4);
    assert_int_equal(place(4096, 0, MIB(64)), LOAD_NOT_AN_IMAGE);
    for (enum load_result a = LOAD_OK; a <= LOAD_NO_ROOM_FOR_DTB; a++)
        for (enum load_result b = LOAD_OK; b < a; b++)
            assert_string_not_equal(load_text(a), load_text(b));
}

/* A kernel with an EFI stub says how long its file is. */
static void truncated(void **state)
{
    (void)state;
    image(0, 0x10000);
    pe(0x2000, 0x2000);
    assert_int_equal(place(0x4000, 0, MIB(64)), LOAD_OK);
    for (uint64_t n = 64; n < 0x4000; n += n < 0x200 ? 1 : 0x3f)
        assert_int_equal(place(n, 0, MIB(64)), LOAD_TRUNCATED);
    assert_int_equal(place(0x3fff, 0, MIB(64)), LOAD_TRUNCATED);
    pe(0xffffffff, 0xffffffff);
    assert_int_equal(place(sizeof(file), 0, MIB(64)), LOAD_TRUNCATED);
    put(60, 0xfffffff0, 4);
    assert_int_equal(place(sizeof(file), 0, MIB(64)), LOAD_TRUNCATED);
}

/* Of a kernel in a page image there is a page to look at, and its size is known. */
static void one_page_seen(void **state)
{
    (void)state;
    image(0, 0x2010000);
    pe(0x2000, 0x2000);
    assert_int_equal(place_seen(PAGE_SIZE, 0x4000, 1040000, MIB(512)), LOAD_OK);
    assert_int_equal(plan.initrd.v, RAM + MIB(128));
    assert_int_equal(place_seen(PAGE_SIZE, 0x3fff, 0, MIB(512)), LOAD_TRUNCATED);
    image(0, 0x1000);
    assert_int_equal(place_seen(PAGE_SIZE, MIB(3), 0, MIB(4)), LOAD_KERNEL_TOO_BIG);
    /* A PE header, or a part of its section table, behind what can be seen says nothing; the poison would. */
    memset(file + PAGE_SIZE, 0xff, sizeof(file) - PAGE_SIZE);
    image(0, 0x10000);
    pe(0x2000, 0x2000);
    put(60, PAGE_SIZE - 8, 4);
    assert_int_equal(place_seen(PAGE_SIZE, 0x4000, 0, MIB(64)), LOAD_OK);
    put(60, 0x10000000, 4);
    assert_int_equal(place_seen(PAGE_SIZE, 0x4000, 0, MIB(64)), LOAD_TRUNCATED);
    pe(0x2000, 0x2000);
    put(64 + 20, PAGE_SIZE - 64 - 24 - 40 - 8, 2);
    put(PAGE_SIZE - 48 + 16, 0x1000, 4);
    put(PAGE_SIZE - 48 + 20, 0x1000, 4);
    memset(file + PAGE_SIZE - 8, 0xff, 0x100);
    assert_int_equal(place_seen(PAGE_SIZE, 0x4000, 0, MIB(64)), LOAD_OK);
    assert_int_equal(place_seen(0x4000, 0x4000, 0, MIB(64)), LOAD_TRUNCATED);
    /* Nothing but the page is there to be read. */
    image(0, 0x10000);
    for (unsigned round = 0; round < 20000; round++) {
        uint8_t *p = malloc(PAGE_SIZE);
        struct load_request r = {.kernel = p, .kernel_head = PAGE_SIZE, .kernel_size = MIB(1), .ram_size = MIB(64)};

        pe((uint32_t)rand(), (uint32_t)rand());
        put(60, (uint64_t)rand() % (2 * PAGE_SIZE), 4);
        memcpy(p, file, PAGE_SIZE);
        (void)!load_place(&r, &plan);
        free(p);
    }
}

static bool apart(uint64_t a, uint64_t a_size, uint64_t b, uint64_t b_size)
{
    return a + a_size <= b || b + b_size <= a;
}

static void random_requests(void **state)
{
    unsigned placed = 0, refusals = 0;

    (void)state;
    srand(3);
    for (unsigned round = 0; round < 200000; round++) {
        uint64_t ram = MIB(2) * (1 + (uint64_t)rand() % 64), kernel = 64 + (uint64_t)rand() % (sizeof(file) - 64);
        uint64_t initrd = rand() % 3 ? (uint64_t)rand() % (ram + MIB(1)) : 0;
        uint64_t image_size = (uint64_t)rand() % (ram + MIB(1)), used;
        bool linux_image = rand() % 3 != 0;

        image((uint64_t)(rand() % 600) * 4096, image_size);
        if (!linux_image)
            put(56, 0, 4);
        if (place(kernel, initrd, ram) != LOAD_OK) {
            refusals++;
            continue;
        }
        placed++;
        used = linux_image && image_size > kernel ? image_size : kernel;
        assert_int_equal(plan.raw, !linux_image);
        assert_true(plan.kernel.v >= RAM && plan.kernel.v + used <= RAM + ram);
        assert_true(plan.dtb.v >= RAM && plan.dtb.v + KIB(64) <= RAM + ram);
        assert_true(plan.kernel.v % PAGE_SIZE == 0 && plan.dtb.v % PAGE_SIZE == 0 && plan.initrd.v % PAGE_SIZE == 0);
        assert_true(plan.dtb.v / BLOCK_SIZE == (plan.dtb.v + KIB(64) - 1) / BLOCK_SIZE || plan.dtb.v % BLOCK_SIZE != 0);
        if (!linux_image)
            assert_true(plan.dtb.v >= plan.kernel.v + used + MIB(2));
        assert_true(apart(plan.kernel.v, align_up(used, PAGE_SIZE), plan.dtb.v, KIB(64)));
        if (initrd) {
            assert_true(plan.initrd.v >= RAM && plan.initrd.v + initrd <= RAM + ram);
            assert_true(apart(plan.kernel.v, align_up(used, PAGE_SIZE), plan.initrd.v, initrd));
            assert_true(apart(plan.dtb.v, KIB(64), plan.initrd.v, align_up(initrd, PAGE_SIZE)));
        }
    }
    assert_true(placed > 10000 && refusals > 10000);
}

/* Random files: whatever they say, only their own bytes are looked at, which the address sanitizer sees to. */
static void random_files(void **state)
{
    (void)state;
    srand(5);
    for (unsigned round = 0; round < 20000; round++) {
        size_t n = 1 + (size_t)rand() % 512;
        uint8_t *p = malloc(n);
        struct load_request r = {.kernel = p,
                                 .kernel_head = n,
                                 .kernel_size = n,
                                 .dtb_size = KIB(64),
                                 .ram_base = ipa(RAM),
                                 .ram_size = MIB(64)};

        image(0, 0x10000);
        pe((uint32_t)rand() % 1024, (uint32_t)rand() % 1024);
        for (int i = rand() % 10; i > 0; i--)
            file[(size_t)rand() % 300] = (uint8_t)rand();
        memcpy(p, file, n);
        if (load_place(&r, &plan) == LOAD_OK)
            assert_true(plan.kernel.v + n <= RAM + MIB(64));
        free(p);
    }
}

static int print_plan(const char *path)
{
    FILE *f = fopen(path, "rb");
    size_t size = 128u << 20, n;
    uint8_t *p = malloc(size);
    struct load_request r = {
        .kernel = p, .dtb_size = KIB(64), .initrd_size = 1, .ram_base = ipa(RAM), .ram_size = MIB(512)};
    enum load_result result;
    size_t low = 64, high;

    if (!f || !p)
        return 1;
    n = high = fread(p, 1, size, f);
    r.kernel_head = r.kernel_size = n;
    result = load_place(&r, &plan);
    printf("%s, %zu bytes: %s, kernel %llx, initrd %llx, dtb %llx\n", path, n, load_text(result),
           (unsigned long long)plan.kernel.v, (unsigned long long)plan.initrd.v, (unsigned long long)plan.dtb.v);
    while (low < high) { /* the shortest file that passes for whole */
        r.kernel_head = r.kernel_size = low + (high - low) / 2;
        if (load_place(&r, &plan) == LOAD_TRUNCATED)
            low = r.kernel_size + 1;
        else
            high = r.kernel_size;
    }
    printf("seen to be truncated below %zu bytes\n", low);
    free(p);
    fclose(f);
    return 0;
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(debian),          cmocka_unit_test(text_offset),
        cmocka_unit_test(sizes),           cmocka_unit_test(raw),
        cmocka_unit_test(refused),         cmocka_unit_test(truncated),
        cmocka_unit_test(random_requests), cmocka_unit_test(random_files),
        cmocka_unit_test(one_page_seen),
    };

    if (argc > 1)
        return print_plan(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
