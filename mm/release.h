/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A guest's address space back to nothing: for a guest that starts again, or is gone. Its vCPUs are stopped by then, and
 * stay so: what is left to wait for are helpers that still fill pages of it.
 */
#pragma once

#include "mm/populate.h"

/*
 * Keeps the background sweep away from `s`, until s2_thaw(). No sweep is in it any more when this returns. Not to be called
 * inside an epoch.
 */
void s2_freeze(struct s2 *s);
void s2_thaw(struct s2 *s);

/* No request of this port is on its way. */
bool port_idle(const struct s2_port *port);

/*
 * The vCPU takes nothing from its pools any more: what is left over goes to `frames`, the cache of the core that calls,
 * and the pools themselves to the helper, which gives them back. The port is idle.
 */
void port_close(struct s2_port *port, struct frame_cache *frames);

/*
 * Frees all frames and tables of a frozen space but the root, and makes all of it NOWHERE. Nothing of it is left in any
 * TLB when this returns. What is freed is scrubbed before it serves again (mm/helper.c, mm/populate.c). The tables go to
 * `frames`, the cache of the core that calls. Counters of present pages are the caller's.
 */
void s2_release(struct s2 *s, struct frame_cache *frames);
