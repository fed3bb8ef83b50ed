/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/guest/lib/guest.h"

struct frame {
    uint64_t x[31];
    uint64_t elr, spsr;
};

/* Callee-saved registers of a CPU inside attempt(); vectors.S writes and reads the first two members by offset. */
struct escape {
    uint64_t x19_x28[10];
    uint64_t sp;
    volatile bool armed;
    struct fault fault;
};

_Static_assert(offsetof(struct frame, elr) == 248 && offsetof(struct frame, spsr) == 256, "vectors.S");
_Static_assert(offsetof(struct escape, sp) == 80, "vectors.S");

static struct escape escapes[MAX_CPUS];

bool attempt_call(void (*fn)(void *), void *arg, struct escape *escape);
extern char attempt_escape[];
void exception_taken(struct frame *frame, unsigned kind);

bool attempt(void (*fn)(void *), void *arg, struct fault *fault)
{
    struct escape *const escape = &escapes[cpu_index()];
    escape->armed = true;
    const bool faulted = attempt_call(fn, arg, escape);
    escape->armed = false;
    if (faulted && fault)
        *fault = escape->fault;
    return faulted;
}

enum { SYNC_CURRENT = 4, IRQ_CURRENT = 5, SYNC_LOWER = 8, SYNC_LOWER_32 = 12 };

void exception_taken(struct frame *frame, unsigned kind)
{
    if (kind == IRQ_CURRENT) {
        irq_taken();
        return;
    }
    struct escape *const escape = &escapes[cpu_index()];
    struct fault fault = {read_sysreg(esr_el1), read_sysreg(far_el1), frame->elr, frame->spsr, kind * 0x80, {0}};
    memcpy(fault.x, frame->x, sizeof(fault.x));
    if ((kind == SYNC_CURRENT || kind == SYNC_LOWER || kind == SYNC_LOWER_32) && escape->armed) {
        escape->armed = false;
        escape->fault = fault;
        frame->x[0] = (uint64_t)escape;
        if (kind == SYNC_CURRENT)
            frame->spsr &= ~BIT(20); /* IL, after an illegal return: it would make the return from here another */
        else
            frame->spsr = 0x3c5;
        frame->elr = (uint64_t)attempt_escape;
        return;
    }
    fail("exception", "vector %u on CPU %u, ESR %lx ELR %lx FAR %lx SPSR %lx", kind, cpu_index(), fault.esr, fault.elr,
         fault.far, frame->spsr);
    finish();
}
