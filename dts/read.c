/* SPDX-License-Identifier: BSD-2-Clause */
#include "dts/read.h"

#include <libfdt.h>

#include "lib/string.h"

bool dt_header_ok(const void *blob, size_t room)
{
    /* libfdt wants 8; the structure block is read in words. */
    if ((uintptr_t)blob % 8 != 0 || room < sizeof(struct fdt_header) || fdt_check_header(blob) != 0)
        return false;
    return fdt_totalsize(blob) <= room && fdt_version(blob) >= 17 && fdt_off_dt_struct(blob) % 4 == 0;
}

uint32_t dt_next_tag(const void *fdt, int offset, int *next)
{
    const fdt32_t *tag = fdt_offset_ptr(fdt, offset, FDT_TAGSIZE);
    size_t left, used;

    *next = -FDT_ERR_BADSTRUCTURE;
    if (!tag)
        return FDT_END;
    left = fdt_size_dt_struct(fdt) - (size_t)offset;
    switch (fdt32_to_cpu(*tag)) {
    case FDT_BEGIN_NODE: {
        const struct fdt_node_header *node = (const void *)tag;

        used = sizeof(*node) + strnlen(node->name, left - sizeof(*node)) + 1;
        break;
    }
    case FDT_PROP: {
        const struct fdt_property *prop = (const void *)tag;

        used = sizeof(*prop) + (left < sizeof(*prop) ? 0 : fdt32_to_cpu(prop->len));
        break;
    }
    case FDT_END_NODE:
    case FDT_NOP:
    case FDT_END:
        used = FDT_TAGSIZE;
        break;
    default:
        return FDT_END;
    }
    if (used > left)
        return FDT_END;
    *next = offset + (int)align_up(used, FDT_TAGSIZE);
    return fdt32_to_cpu(*tag);
}

bool dt_check(const void *blob, size_t room)
{
    int depth = 0, next = 0;
    uint32_t tag;

    if (!dt_header_ok(blob, room))
        return false;
    do {
        tag = dt_next_tag(blob, next, &next);
        if (tag == FDT_BEGIN_NODE)
            depth++;
        else if (tag == FDT_END_NODE && --depth < 0)
            return false;
    } while (tag != FDT_END);
    return next > 0 && depth == 0;
}

void dt_get(const void *fdt, int node, const char *const *name, struct dt_value *value, size_t count)
{
    int offset;

    for (size_t i = 0; i < count; i++)
        value[i] = (struct dt_value){NULL, 0};
    fdt_for_each_property_offset(offset, fdt, node)
    {
        int len;
        const char *found;
        const void *p = fdt_getprop_by_offset(fdt, offset, &found, &len);

        for (size_t i = 0; p && i < count; i++) {
            if (strcmp(found, name[i]) == 0) {
                value[i] = (struct dt_value){p, (uint32_t)len};
                break;
            }
        }
    }
}

uint64_t dt_cells(const void *p, uint32_t cells)
{
    const fdt32_t *cell = p;
    uint64_t v = 0;

    for (uint32_t i = 0; i < cells; i++)
        v = v << 32 | fdt32_ld(cell + i);
    return v;
}

bool dt_number(struct dt_value v, uint64_t *out)
{
    if (!v.p || (v.len != 4 && v.len != 8))
        return false;
    *out = dt_cells(v.p, v.len / 4);
    return true;
}

const char *dt_string(struct dt_value v)
{
    return v.p && v.len > 0 && strnlen(v.p, v.len) == v.len - 1 ? v.p : NULL;
}

bool dt_list_has(struct dt_value v, const char *s)
{
    size_t n = strlen(s) + 1;
    const char *p = v.p;

    for (size_t left = v.len; left >= n;) {
        size_t used = strnlen(p, left) + 1;

        if (used == n && memcmp(p, s, n) == 0)
            return true;
        if (used >= left)
            break;
        p += used;
        left -= used;
    }
    return false;
}

bool dt_status_ok(struct dt_value status)
{
    return !status.p || dt_list_has(status, "okay") || dt_list_has(status, "ok");
}
