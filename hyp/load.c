/* SPDX-License-Identifier: BSD-2-Clause */
#include "hyp/load.h"

#include "lib/image.h"

#define RAW_OFFSET 0x80000u    /* where a kernel without a text_offset goes: booting.rst, and hw/arm/boot.c of QEMU */
#define RAW_SPARE BLOCK_SIZE   /* nobody knows how much a raw image uses above its end */
#define BOOTLOADER_SIZE KIB(4) /* QEMU keeps the first bytes of RAM for its own first instructions */
#define INITRD_OFFSET MIB(128) /* hw/arm/boot.c: half of RAM, at most this */
#define HEADER_SIZE 64u

/* PE/COFF, as far as a kernel with an EFI stub has it (Microsoft's PE Format, 3.3 and 4). */
#define PE_OFFSET 60u /* of the PE header, in the DOS header that is also the Image header */
#define PE_SECTIONS 6u
#define PE_OPTIONAL_SIZE 20u
#define PE_HEADER_SIZE 24u
#define PE_SECTION_SIZE 40u
#define PE_RAW_SIZE 16u
#define PE_RAW_OFFSET 20u

/* Little-endian numbers at any alignment. */
static uint64_t get(const uint8_t *p, unsigned bytes)
{
    uint64_t v = 0;

    while (bytes-- > 0)
        v = v << 8 | p[bytes];
    return v;
}

static uint32_t get32(const uint8_t *p)
{
    return (uint32_t)get(p, 4);
}

/* Does the file have the `bytes` bytes at `off`? */
static bool has(const struct load_request *r, uint64_t off, uint64_t bytes)
{
    return off <= r->kernel_size && bytes <= r->kernel_size - off;
}

/* Can they be looked at too? */
static bool sees(const struct load_request *r, uint64_t off, uint64_t bytes)
{
    return off <= r->kernel_head && bytes <= r->kernel_head - off;
}

/*
 * A kernel with an EFI stub is a PE file too, and its section table says how far the file should go; the Image header
 * does not, because image_size counts bss. Says false when the file ends before. What cannot be looked at is believed.
 */
static bool pe_complete(const struct load_request *r)
{
    const uint8_t *k = r->kernel;
    uint64_t pe = get32(k + PE_OFFSET);
    uint64_t table, sections;

    if (get(k, 2) != 0x5a4d || pe == 0) /* "MZ" */
        return true;
    if (!has(r, pe, PE_HEADER_SIZE))
        return false;
    if (!sees(r, pe, PE_HEADER_SIZE) || get32(k + pe) != 0x4550) /* "PE\0\0" */
        return true;
    sections = get(k + pe + PE_SECTIONS, 2);
    table = pe + PE_HEADER_SIZE + get(k + pe + PE_OPTIONAL_SIZE, 2);
    if (!has(r, table, sections * PE_SECTION_SIZE))
        return false;
    for (uint64_t i = 0; i < sections && sees(r, table, (i + 1) * PE_SECTION_SIZE); i++) {
        const uint8_t *s = k + table + i * PE_SECTION_SIZE;

        if (!has(r, get32(s + PE_RAW_OFFSET), get32(s + PE_RAW_SIZE)))
            return false;
    }
    return true;
}

/* What people hand over by mistake, and what would only crash as a raw image. */
static enum load_result not_bootable(const struct load_request *r)
{
    const uint8_t *k = r->kernel;

    if (has(r, 0, 2) && get(k, 2) == 0x8b1f)
        return LOAD_COMPRESSED; /* gzip, as some distributions install their Image */
    if (has(r, 0, 8) && get(k, 2) == 0x5a4d && get32(k + 4) == 0x676d697a)
        return LOAD_COMPRESSED; /* "MZ", "zimg": Linux's EFI zboot */
    if (has(r, 0, 4) && get32(k) == 0x464c457f)
        return LOAD_NOT_AN_IMAGE; /* ELF */
    return LOAD_OK;
}

/* Offset from the RAM's base and size in memory. */
struct extent {
    uint64_t offset, size;
    bool raw;
};

static enum load_result kernel_extent(const struct load_request *r, struct extent *e)
{
    const uint8_t *k = r->kernel;
    uint64_t text_offset, image_size;
    enum load_result refused;

    if (r->kernel_size == 0)
        return LOAD_EMPTY;
    refused = not_bootable(r);
    if (refused != LOAD_OK)
        return refused;
    if (!has(r, 0, 60) || get32(k + offsetof(struct image_header, magic)) != IMAGE_HEADER_MAGIC) {
        *e = (struct extent){RAW_OFFSET, r->kernel_size, true};
        return LOAD_OK;
    }

    if (!has(r, 0, HEADER_SIZE) || !pe_complete(r))
        return LOAD_TRUNCATED;
    text_offset = get(k + offsetof(struct image_header, text_offset), 8);
    image_size = get(k + offsetof(struct image_header, image_size), 8);
    if (image_size == 0) /* before Linux 3.17, where text_offset's byte order was not fixed either */
        text_offset = RAW_OFFSET;
    if (text_offset % PAGE_SIZE != 0)
        return LOAD_BAD_OFFSET;
    if (text_offset < BOOTLOADER_SIZE)
        text_offset += BLOCK_SIZE;
    *e = (struct extent){text_offset, image_size > r->kernel_size ? image_size : r->kernel_size, false};
    return LOAD_OK;
}

/*
 * The lowest offset from `floor` up, a multiple of `align`, where `size` bytes end at or before `ceiling`. Offsets are
 * at most the RAM's size, so nothing wraps.
 */
static bool fit(uint64_t floor, uint64_t ceiling, uint64_t size, uint64_t align, uint64_t *out)
{
    *out = align_up(floor, align);
    return *out <= ceiling && size <= ceiling - *out;
}

/* 2 MiB aligned if that is possible, otherwise page aligned. */
static bool fit_nicely(uint64_t floor, uint64_t ceiling, uint64_t size, uint64_t *out)
{
    return fit(floor, ceiling, size, BLOCK_SIZE, out) || fit(floor, ceiling, size, PAGE_SIZE, out);
}

enum load_result load_place(const struct load_request *r, struct load_plan *plan)
{
    uint64_t ram = r->ram_size, half = ram / 2 < INITRD_OFFSET ? ram / 2 : INITRD_OFFSET;
    uint64_t floor, high, initrd = 0, dtb;
    struct extent k = {0, 0, false};
    enum load_result refused = kernel_extent(r, &k);

    if (refused != LOAD_OK)
        return refused;
    if (k.offset > ram || k.size > ram - k.offset)
        return LOAD_KERNEL_TOO_BIG;
    floor = align_up(k.offset + k.size, PAGE_SIZE) + (k.raw ? RAW_SPARE : 0);
    high = floor > half ? floor : half;

    if (r->initrd_size != 0) {
        if (!fit_nicely(high, ram, r->initrd_size, &initrd) && !fit_nicely(floor, ram, r->initrd_size, &initrd))
            return LOAD_INITRD_TOO_BIG;
        high = align_up(initrd + r->initrd_size, PAGE_SIZE);
    }
    /* Above the initrd, as QEMU has it; between kernel and initrd when the guest is small. */
    if (!fit_nicely(high, ram, r->dtb_size, &dtb) && !fit_nicely(floor, initrd != 0 ? initrd : ram, r->dtb_size, &dtb))
        return LOAD_NO_ROOM_FOR_DTB;

    *plan = (struct load_plan){
        .kernel = ipa_add(r->ram_base, k.offset),
        .initrd = r->initrd_size != 0 ? ipa_add(r->ram_base, initrd) : ipa(0),
        .dtb = ipa_add(r->ram_base, dtb),
        .raw = k.raw,
    };
    return LOAD_OK;
}

const char *load_text(enum load_result r)
{
    static const char *const text[] = {
        [LOAD_OK] = "placed",
        [LOAD_EMPTY] = "the kernel is empty",
        [LOAD_NOT_AN_IMAGE] = "the kernel is an ELF file, not an arm64 Image or a raw image",
        [LOAD_COMPRESSED] = "the kernel is compressed: unpack it first",
        [LOAD_TRUNCATED] = "the kernel is truncated",
        [LOAD_BAD_OFFSET] = "the kernel's text_offset is not a multiple of 4 KiB",
        [LOAD_KERNEL_TOO_BIG] = "the kernel does not fit into the guest's RAM",
        [LOAD_INITRD_TOO_BIG] = "the ramdisk does not fit into the guest's RAM beside the kernel",
        [LOAD_NO_ROOM_FOR_DTB] = "no room in the guest's RAM for its device tree",
    };

    return text[r];
}
