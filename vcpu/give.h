/* SPDX-License-Identifier: BSD-2-Clause */
/* A vCPU gives pages of its guest back (mm/give_back.h), whichever way it says so, and is counted. Own core, outside an epoch. */
#pragma once

#include "mm/give_back.h"
#include "vcpu/vm.h"

static inline void give_begin(struct vcpu *v, struct give_back *g)
{
    give_back_begin(g, &v->vm->s2, &v->port.inline_populator->frames);
}

static inline void give_end(struct vcpu *v, struct give_back *g)
{
    give_back_end(g);
    v->stats->given_back.freed += g->freed;
    v->stats->given_back.kept += g->asked - g->zero;
    v->stats->given_back.rounds += g->rounds;
}
