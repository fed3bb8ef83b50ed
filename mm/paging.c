/* SPDX-License-Identifier: BSD-2-Clause */
#include "mm/paging.h"

#include "lib/arch.h"
#include "lib/log.h"
#include "mm/backing.h"
#include "mm/guestmem.h"
#include "mm/swap.h"
#include "mm/transition.h"

#define BATCH 32u  /* pages that leave together */
#define IN_A_ROW 8 /* batches, for a page that somebody waits for */
#define LOOK 2048u /* pages that the hand passes at the most for them */

struct victim {
    _Atomic uint64_t *slot;
    uint64_t desc;
};

static struct paging *of_guest[MAX_GUESTS + 1]; /* by VMID */

void paging_init(struct paging *g, struct s2 *s, uint64_t pages, struct report_paging *stats)
{
    g->s = s;
    g->limit = pages;
    g->recent_count = pages / 16 < PAGING_RECENT ? (uint32_t)pages / 16 : PAGING_RECENT;
    g->starved = NO_REQUEST;
    g->stats = stats;
    stats->limit = pages;
    s->paging = g;
    of_guest[s->vmid] = g;
}

/* ---- frames */

/* Frames below the limit that are to be free, for what is demanded next. */
static uint64_t reserve(const struct paging *g)
{
    uint64_t n = g->limit / 32;

    return n < 16 ? 16 : n > 512 ? 512 : n;
}

bool paging_has_room(const struct paging *g)
{
    return g->stats->resident + reserve(g) / 2 < g->limit;
}

bool paging_take(struct paging *g, struct populator *p, enum paging_need need, pa_t *frame)
{
    if (need == PAGING_DEMAND ? g->stats->resident >= g->limit : !paging_has_room(g))
        return false;
    if (!frame_alloc(&p->frames, frame))
        return false;
    g->stats->resident++;
    return true;
}

void paging_give(struct paging *g, struct populator *p, pa_t frame)
{
    frame_free(&p->frames, frame);
    g->stats->resident--;
}

/* ---- requests without a frame */

void paging_starve(struct paging *g, uint32_t number)
{
    requests[number].next = NO_REQUEST;
    if (g->starved == NO_REQUEST)
        g->starved = number;
    else
        requests[g->starved_at].next = number;
    g->starved_at = number;
    g->stats->starved++;
    if (!atomic_load_explicit(&g->starving, memory_order_relaxed))
        atomic_store_explicit(&g->starving, counter_ticks().v, memory_order_relaxed);
}

uint32_t paging_fed(struct paging *g)
{
    uint32_t number = g->starved;

    if (number == NO_REQUEST)
        return number;
    if (g->stats->resident >= g->limit && !atomic_load_explicit(&g->s->frozen, memory_order_acquire))
        return NO_REQUEST;
    g->starved = requests[number].next;
    atomic_store_explicit(&g->starving, g->starved == NO_REQUEST ? 0 : counter_ticks().v, memory_order_relaxed);
    return number;
}

/* ---- the clock's hand */

/* The place of a page that is present and was written since is stale; with little room left so is that of one in use. */
static void drop_place(_Atomic uint64_t *slot, uint64_t d)
{
    _Atomic uint64_t *record = frame_record(desc_pa(d));
    uint64_t place = atomic_load_explicit(record, memory_order_relaxed);

    if (!backing_holds(place))
        return;
    /* More permission needs no TLB maintenance: who has it as read-only faults, and forgets it (mm/fault.c). */
    if (!desc_writable(d) && (!backing_scarce(desc_small(place)) || !s2_age(slot, d, d | DESC_S2AP_W)))
        return;
    atomic_store_explicit(record, 0, memory_order_relaxed);
    backing_drop(place);
}

/* The hand passes a page. True: it goes. */
static bool pass(struct paging *g, _Atomic uint64_t *slot, uint64_t *desc)
{
    uint64_t d = atomic_load_explicit(slot, memory_order_acquire);
    bool in_need = g->passed > 3 * (g->s->ram_size >> PAGE_SHIFT); /* nothing grows old: all of it is in use */

    if (desc_kind(d, 3) != DESC_PRESENT)
        return false;
    *desc = d;
    if (desc_young(d) && !in_need) {
        drop_place(slot, d);
        d = atomic_load_explicit(slot, memory_order_relaxed);
        g->aged |= desc_kind(d, 3) == DESC_PRESENT && s2_age(slot, d, d & ~DESC_AF);
        return false;
    }
    if (!(d & DESC_OLD) && !in_need) {
        (void)!s2_age(slot, d, d | DESC_OLD);
        return false;
    }
    return s2_take(slot, d);
}

/* From the hand on to the end of its 2 MiB. Returns how many pages it has passed. */
static uint64_t pass_table(struct paging *g, struct victim *v, uint32_t *n)
{
    struct s2_entry e = s2_walk_block(g->s, ipa_add(g->s->ram_base, g->hand));
    uint64_t from = (g->hand >> PAGE_SHIFT) % S2_ENTRIES, i = from;
    _Atomic uint64_t *table;

    if (e.level != 2 || desc_kind(e.desc, 2) != DESC_TABLE_REF)
        return S2_ENTRIES - from;
    for (table = pa_ptr(desc_pa(e.desc)); i < S2_ENTRIES && *n < BATCH; i++) {
        v[*n].slot = &table[i];
        *n += pass(g, &table[i], &v[*n].desc);
    }
    return i - from;
}

/*
 * What TLBs hold of pages that have lost their access flag goes once in a round of the hand: then each later touch is seen. And so a
 * page that the hand finds without its flag is in no TLB, since it has lost it in an earlier round, and entries without it are
 * not cached (D8.17): that page needs no maintenance of its own.
 */
static void forget(struct paging *g)
{
    s2_forget_all(g->s);
    g->stats->rounds++;
    g->aged = false;
}

/* Pages to evict, BUSY all of them. */
static uint32_t gather(struct paging *g, struct victim *v)
{
    uint64_t looked = 0;
    uint32_t n = 0;

    while (n < BATCH && looked < LOOK) {
        uint64_t pages;

        epoch_enter();
        pages = pass_table(g, v, &n);
        epoch_leave();
        looked += pages;
        g->hand += pages << PAGE_SHIFT;
        if (g->hand >= g->s->ram_size) {
            g->hand = 0;
            if (g->aged)
                forget(g);
        }
    }
    g->passed = n ? 0 : g->passed + looked;
    g->fruitless += looked;
    return n;
}

/* ---- leaving */

static void put_back(const struct victim *v)
{
    s2_evicted(v->slot, (v->desc | DESC_AF) & ~DESC_OLD);
}

/*
 * With little that can go, what an instruction needs next to what it has just got may be all there is to take: it would be done
 * again, and again, and never done.
 */
static bool is_needed(const struct paging *g, const _Atomic uint64_t *slot)
{
    for (uint32_t i = 0; paging_is_tired(g) && i < g->recent_count; i++) {
        if (g->recent[i] == slot)
            return true;
    }
    return false;
}

/* Where the page's content is from now on. False: nowhere but here. `full`: it is to take no room. */
static bool place_of(struct paging *g, const struct victim *v, bool full, uint64_t *to)
{
    pa_t frame = desc_pa(v->desc);
    _Atomic uint64_t *record = frame_record(frame);
    uint64_t place = atomic_load_explicit(record, memory_order_relaxed);

    if (!desc_writable(v->desc) && place) {
        *to = place;
        g->stats->evicted.clean++;
        return true;
    }
    atomic_store_explicit(record, 0, memory_order_relaxed);
    backing_drop(place);
    dcache_clean_inval_poc(pa_ptr(frame), PAGE_SIZE); /* a guest with its caches off wrote past them */
    if (!backing_put(pa_ptr(frame), full, to))
        return false;
    if (*to == 0)
        g->stats->evicted.zero++;
    else if (desc_small(*to) == BACKING_SAME)
        g->stats->evicted.same++;
    else if (desc_small(*to) == BACKING_STORE)
        g->stats->evicted.store++;
    else
        g->stats->evicted.swap++;
    return true;
}

/* The page is in no TLB, and no core of EL2 is on its way to it. */
static bool leave(struct paging *g, struct populator *p, const struct victim *v, bool *full)
{
    pa_t frame = desc_pa(v->desc);
    uint64_t to;

    if (atomic_load_explicit(v->slot, memory_order_relaxed) != desc_busy() || guestmem_held(frame, PAGE_SIZE)) {
        put_back(v);
        g->stats->evicted.wanted++;
        return false;
    }
    if (is_needed(g, v->slot)) {
        put_back(v);
        return false;
    }
    if (!place_of(g, v, *full, &to)) {
        s2_evicted(v->slot, v->desc | DESC_S2AP_W); /* it has no other place, whatever it had */
        g->refused++;
        g->stats->refused++;
        *full = true;
        return false;
    }
    g->stats->ahead.missed += (v->desc & DESC_AHEAD) != 0;
    s2_evicted(v->slot, to);
    paging_give(g, p, frame);
    atomic_fetch_sub_explicit(&g->s->stats->touched, 1, memory_order_relaxed);
    return true;
}

/* Pairs with s2_freeze(): at least one of the two sees the other. */
static bool may_evict(struct paging *g)
{
    atomic_store_explicit(&g->evicting, true, memory_order_relaxed);
    dmb_ish();
    if (!atomic_load_explicit(&g->s->frozen, memory_order_acquire))
        return true;
    atomic_store_explicit(&g->evicting, false, memory_order_release);
    return false;
}

static bool no_room_made(const struct paging *g)
{
    return g->room_then == backing_room_made;
}

static bool is_stuck(const struct paging *g)
{
    return g->stuck && no_room_made(g);
}

/*
 * `left` pages of a batch have. What found no place may find one when a write has ended; without one, only when somebody has
 * gone round in vain. And when as many were refused as the guest may hold, the few that can go are what it has just asked for: to
 * take those before the next one is asked for would be to take from it what it is about to use.
 */
static void learn(struct paging *g, uint32_t left, bool full)
{
    g->refused -= g->refused < 8 * left ? g->refused : 8 * left;
    if (g->refused > 2 * g->limit)
        g->refused = 2 * g->limit;
    g->stuck = !left && ((full && swap_writing()) || g->fruitless > 8 * (g->s->ram_size >> PAGE_SHIFT));
    if (left || g->stuck)
        g->fruitless = 0;
    g->room_then = backing_room_made;
}

static bool evict(struct paging *g, struct populator *p)
{
    struct victim v[BATCH];
    bool full = false, young = false;
    uint32_t n, left = 0;

    if (is_stuck(g) || !may_evict(g))
        return false;
    n = gather(g, v);
    for (uint32_t i = 0; i < n; i++)
        young = young || desc_young(v[i].desc);
    if (young) /* all is in use, and some of it goes all the same */
        forget(g);
    if (n)
        epoch_wait();
    for (uint32_t i = 0; i < n; i++)
        left += leave(g, p, &v[i], &full);
    atomic_store_explicit(&g->evicting, false, memory_order_release);
    learn(g, left, full);
    return true;
}

void paging_make_room(struct paging *g, struct populator *p)
{
    /* Whoever else waits for this helper does not wait for a guest that has nothing cold: reclaim goes on between others. */
    for (int batches = 0; batches < IN_A_ROW && g->stats->resident >= g->limit && evict(g, p); batches++)
        ;
}

bool paging_wants(const struct paging *g)
{
    uint64_t keep = (paging_is_tired(g) && no_room_made(g)) ? (g->starved != NO_REQUEST) : reserve(g);

    return g->stats->resident + keep > g->limit && !is_stuck(g) &&
           !atomic_load_explicit(&g->s->frozen, memory_order_relaxed);
}

bool paging_balance(struct paging *g, struct populator *p)
{
    return paging_wants(g) && evict(g, p);
}

/* ---- tables that are no more */

#define GRAVE_NEXT FIELD(47, 12) /* in place */

static _Atomic uint64_t graves; /* PA of the one buried last; linked through their records */
static uint64_t opened;         /* helper 0's: those it has taken from there */

void paging_bury(const struct s2 *s, pa_t table)
{
    uint64_t old = atomic_load_explicit(&graves, memory_order_relaxed);

    do {
        atomic_store_explicit(frame_record(table), old | field_put(OWNER_GUEST, s->vmid), memory_order_relaxed);
    } while (
        !atomic_compare_exchange_weak_explicit(&graves, &old, table.v, memory_order_release, memory_order_relaxed));
}

bool paging_buried(void)
{
    return opened || atomic_load_explicit(&graves, memory_order_relaxed);
}

static void free_page(struct paging *g, struct populator *p, uint64_t d)
{
    if (desc_kind(d, 3) == DESC_PRESENT) {
        g->stats->ahead.missed += (d & DESC_AHEAD) != 0;
        backing_drop(atomic_load_explicit(frame_record(desc_pa(d)), memory_order_relaxed));
        paging_give(g, p, desc_pa(d));
    } else {
        backing_drop(d);
    }
}

bool paging_undertake(struct populator *p)
{
    const _Atomic uint64_t *entries;
    uint64_t record;
    pa_t table;

    if (!opened)
        opened = atomic_exchange_explicit(&graves, 0, memory_order_acquire);
    if (!opened)
        return false;
    table = pa(opened);
    record = atomic_load_explicit(frame_record(table), memory_order_relaxed);
    opened = record & GRAVE_NEXT;
    entries = pa_ptr(table);
    for (uint32_t i = 0; i < S2_ENTRIES; i++)
        free_page(of_guest[field_get(OWNER_GUEST, record)], p, atomic_load_explicit(&entries[i], memory_order_relaxed));
    frame_free(&p->frames, table);
    return true;
}
