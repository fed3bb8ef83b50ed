/* SPDX-License-Identifier: BSD-2-Clause */
/* As much of the flattened device tree as a test guest needs: properties of nodes right below the root. */
#include "tests/guest/lib/guest.h"

#define FDT_MAGIC 0xd00dfeedu
#define FDT_BEGIN_NODE 1
#define FDT_END_NODE 2
#define FDT_PROP 3
#define FDT_NOP 4

uint64_t dtb_address;

static uint32_t be32(const uint32_t *p)
{
    return __builtin_bswap32(*p);
}

static const uint32_t *header(void)
{
    const uint32_t *const h = (const uint32_t *)dtb_address;
    if (!dtb_address || dtb_address % 8 || be32(h) != FDT_MAGIC) {
        fail("dtb", "no device tree at x0 = %lx", dtb_address);
        finish();
    }
    return h;
}

bool text_equal(const char *a, const char *b)
{
    while (*a && *a == *b)
        a++, b++;
    return *a == *b;
}

static bool node_is(const char *node, const char *name)
{
    while (*name && *name == *node)
        name++, node++;
    return !*name && (!*node || *node == '@');
}

static const uint32_t *skip_text(const uint32_t *p)
{
    const char *text = (const char *)p;
    while (*text)
        text++;
    return (const uint32_t *)(((uint64_t)text + 4) & ~3UL);
}

const void *fdt_property(const char *node, const char *property, uint32_t *size)
{
    const uint32_t *const h = header();
    const uint32_t *p = (const uint32_t *)(dtb_address + be32(h + 2));
    const char *const strings = (const char *)(dtb_address + be32(h + 3));
    unsigned depth = 0;
    bool inside = false;
    for (;;) {
        switch (be32(p++)) {
        case FDT_BEGIN_NODE:
            depth++;
            if (depth == 2)
                inside = node_is((const char *)p, node);
            p = skip_text(p);
            break;
        case FDT_END_NODE:
            depth--;
            break;
        case FDT_PROP: {
            const uint32_t length = be32(p);
            if (depth == 2 && inside && text_equal(strings + be32(p + 1), property)) {
                if (size)
                    *size = length;
                return p + 2;
            }
            p += 2 + (length + 3) / 4;
            break;
        }
        case FDT_NOP:
            break;
        default:
            return NULL;
        }
    }
}

struct range dtb_range(void)
{
    return (struct range){dtb_address & ~(PAGE - 1), (dtb_address + be32(header() + 1) + PAGE - 1) & ~(PAGE - 1)};
}

struct range ram_range(void)
{
    uint32_t size = 0;
    const uint32_t *const reg = fdt_property("memory", "reg", &size);
    if (!reg || size < 16) {
        fail("dtb", "no /memory");
        finish();
    }
    const uint64_t base = (uint64_t)be32(reg) << 32 | be32(reg + 1);
    return (struct range){base, base + ((uint64_t)be32(reg + 2) << 32 | be32(reg + 3))};
}

static struct range inner_blocks(uint64_t base, uint64_t end)
{
    base = (base + BLOCK - 1) & ~(BLOCK - 1);
    end &= ~(BLOCK - 1);
    return (struct range){base, end > base ? end : base};
}

struct range free_ram(void)
{
    const struct range dtb = dtb_range();
    const struct range below = inner_blocks((uint64_t)image_end, dtb.base);
    const struct range above =
        inner_blocks(dtb.end > (uint64_t)image_end ? dtb.end : (uint64_t)image_end, ram_range().end);
    return above.end - above.base >= below.end - below.base ? above : below;
}

bool ram_is_free(uint64_t page)
{
    static int native = -1;
    const struct range dtb = dtb_range();
    if (native < 0)
        native = !under_meanwhile();
    if (page >= ((uint64_t)image_start & ~(PAGE - 1)) && page < (uint64_t)image_end)
        return false;
    if (native && page == RAM_BASE) /* QEMU's boot stub */
        return false;
    return page < dtb.base || page >= dtb.end;
}

uint64_t boot_argument(const char *name, uint64_t otherwise)
{
    const char *p = fdt_property("chosen", "bootargs", NULL);
    while (p && *p) {
        const char *n = name;
        while (*n && *n == *p)
            n++, p++;
        if (!*n && *p == '=') {
            uint64_t value = 0;
            while (*++p >= '0' && *p <= '9')
                value = value * 10 + (uint64_t)(*p - '0');
            return value;
        }
        while (*p && *p != ' ')
            p++;
        while (*p == ' ')
            p++;
    }
    return otherwise;
}

static uint64_t chosen(const char *name)
{
    uint32_t size = 0;
    const uint8_t *p = fdt_property("chosen", name, &size);
    uint64_t v = 0;
    for (uint32_t i = 0; p && i < size && i < 8; i++)
        v = v << 8 | p[i];
    return v;
}

struct range ramdisk_range(void)
{
    return (struct range){chosen("linux,initrd-start"), chosen("linux,initrd-end")};
}
