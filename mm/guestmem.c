/* SPDX-License-Identifier: BSD-2-Clause */
#include "mm/guestmem.h"

#include "lib/arch.h"
#include "lib/string.h"
#include "mm/transition.h"

static enum guestmem_result result_of(const struct s2_entry *e)
{
    enum desc_kind kind = desc_kind(e->desc, e->level);

    if (kind == DESC_PRESENT)
        return desc_is_device(e->desc) ? GUESTMEM_NOWHERE : GUESTMEM_OK;
    if (kind == DESC_ERROR)
        return GUESTMEM_ERROR;
    return kind == DESC_MMIO || kind == DESC_NOWHERE ? GUESTMEM_NOWHERE : GUESTMEM_ABSENT;
}

static pa_t address(const struct s2_entry *e, ipa_t at)
{
    return pa_add(desc_pa(e->desc), at.v & (e->level == 2 ? BLOCK_SIZE - 1 : PAGE_SIZE - 1));
}

/* The frame behind `at`, held by `by`, a hazard slot of this core's, until that is 0. Writable when `write`. */
static enum guestmem_result hold(struct s2 *s, ipa_t at, bool write, _Atomic uint64_t *by, pa_t *out)
{
    for (;;) {
        struct s2_entry e = s2_walk(s, at);
        enum guestmem_result result = result_of(&e);

        if (result != GUESTMEM_OK)
            return result;
        if (write && !desc_writable(e.desc)) {
            if (!s2_make_dirty(s, e.slot, e.desc, at))
                continue;
            e.desc |= DESC_S2AP_W;
        }
        *out = address(&e, at);
        atomic_store_explicit(by, align_down(out->v, PAGE_SIZE), memory_order_relaxed);
        /* The slot before the second look: pairs with the barrier in guestmem_quiesce(). */
        dmb_ish();
        if (atomic_load_explicit(e.slot, memory_order_acquire) == e.desc)
            return GUESTMEM_OK;
        atomic_store_explicit(by, 0, memory_order_release);
    }
}

static void release(void)
{
    atomic_store_explicit(&this_core()->hazard, 0, memory_order_release);
}

static uint64_t load(const void *guest, size_t bytes)
{
    switch (bytes) {
    case 2:
        return atomic_load_explicit((const _Atomic uint16_t *)guest, memory_order_relaxed);
    case 4:
        return atomic_load_explicit((const _Atomic uint32_t *)guest, memory_order_relaxed);
    default:
        return atomic_load_explicit((const _Atomic uint64_t *)guest, memory_order_relaxed);
    }
}

static void store(void *guest, uint64_t v, size_t bytes)
{
    switch (bytes) {
    case 2:
        atomic_store_explicit((_Atomic uint16_t *)guest, (uint16_t)v, memory_order_relaxed);
        break;
    case 4:
        atomic_store_explicit((_Atomic uint32_t *)guest, (uint32_t)v, memory_order_relaxed);
        break;
    default:
        atomic_store_explicit((_Atomic uint64_t *)guest, v, memory_order_relaxed);
    }
}

/* A field that the guest's CPUs use at the same time, an index of a ring, goes in one access: memcpy() may take several. */
static void copy_bytes(void *guest, void *buf, size_t n, bool write)
{
    bool field = (n == 2 || n == 4 || n == 8) && ((uintptr_t)guest & (n - 1)) == 0;
    uint64_t v = 0; /* little-endian, as EL2 is: its first bytes are the field's */

    if (field && write) {
        memcpy(&v, buf, n);
        store(guest, v, n);
    } else if (field) {
        v = load(guest, n);
        memcpy(buf, &v, n);
    } else if (write) {
        memcpy(guest, buf, n);
    } else {
        memcpy(buf, guest, n);
    }
}

static enum guestmem_result copy(struct s2 *s, ipa_t at, void *buf, size_t bytes, bool write, bool cached)
{
    uint8_t *p = buf;

    while (bytes) {
        uint64_t room = PAGE_SIZE - (at.v & (PAGE_SIZE - 1));
        size_t n = bytes < room ? bytes : room;
        enum guestmem_result result;
        pa_t frame;

        epoch_enter();
        result = hold(s, at, write, &this_core()->hazard, &frame);
        if (result == GUESTMEM_OK) {
            void *guest = pa_ptr(frame);

            if (!cached)
                dcache_clean_inval_poc(guest, n);
            copy_bytes(guest, p, n, write);
            if (!cached && write)
                dcache_clean_inval_poc(guest, n);
            release();
        }
        epoch_leave();
        if (result != GUESTMEM_OK)
            return result;
        p += n;
        at = ipa_add(at, n);
        bytes -= n;
    }
    return GUESTMEM_OK;
}

enum guestmem_result guestmem_read(struct s2 *s, ipa_t from, void *to, size_t bytes, bool cached)
{
    return copy(s, from, to, bytes, false, cached);
}

enum guestmem_result guestmem_write(struct s2 *s, ipa_t to, const void *from, size_t bytes, bool cached)
{
    return copy(s, to, (void *)(uintptr_t)from, bytes, true, cached);
}

enum guestmem_result guestmem_pin(struct s2 *s, ipa_t page, void **out)
{
    enum guestmem_result result;
    pa_t frame;

    epoch_enter();
    result = hold(s, page, true, &this_core()->pin, &frame);
    epoch_leave();
    if (result == GUESTMEM_OK)
        *out = pa_ptr(frame);
    return result;
}

void guestmem_unpin(void)
{
    atomic_store_explicit(&this_core()->pin, 0, memory_order_release);
}

static bool is_in(const _Atomic uint64_t *slot, pa_t a, uint64_t bytes)
{
    uint64_t frame = atomic_load_explicit(slot, memory_order_acquire);

    return frame != 0 && frame - a.v < bytes;
}

static bool holds(const struct core *c, pa_t a, uint64_t bytes)
{
    return is_in(&c->hazard, a, bytes) || is_in(&c->pin, a, bytes);
}

void guestmem_quiesce(pa_t a, uint64_t bytes)
{
    dmb_ish(); /* BUSY before the look at the slots: pairs with the barrier in hold() */
    for (uint32_t i = 0; i < core_count; i++) {
        while (holds(&cores[i], a, bytes))
            cpu_relax();
    }
}

bool guestmem_held(pa_t a, uint64_t bytes)
{
    bool held = false;

    dmb_ish(); /* as above */
    for (uint32_t i = 0; i < core_count; i++)
        held = held || holds(&cores[i], a, bytes);
    return held;
}
