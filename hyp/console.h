/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The physical UART and who it speaks for: EL2's own lines, the guests' bytes, and input for one of them.
 *
 * A guest that is alone has its bytes passed on unchanged. Where there are several, each line begins with the name of its
 * guest, and no line holds bytes of two. Whoever has begun a line goes on with it byte by byte; what others write
 * meanwhile is held back until the line ends, or has been standing for a while (a prompt), or they have no room to wait
 * in. That holds for EL2's lines too: they do not cut a guest's in two.
 *
 * The escape key, Ctrl-], does not reach the guest: with a digit it moves the input to that guest, with `m` it opens the
 * monitor (hyp/monitor.h), twice it stands for itself.
 */
#pragma once

#include "lib/types.h"

struct vm;

/* Boot core: the UART is mapped. `intid` 0: no input. */
void console_init(pa_t uart, uint32_t intid);

/* Boot core, for each guest that is admitted, in their order: the first one has the input. `named`: it is not alone. */
void console_attach(struct vm *vm, bool named);

/* The core that takes the UART's interrupt, when it can: input begins. */
void console_start(void);

/* The guest has ended: what it began to write is shown in its turn, and its line closed. A vCPU's core. */
void console_ended(struct vm *vm);

/* The machine ends: all that waits is written out, and nobody writes any more. */
void console_end(void);

/* From the monitor alone: input goes to this guest from now on. */
void console_input(const struct vm *vm);
bool console_has_input(const struct vm *vm);

/* The monitor's words: a line of EL2 that is not silenced by `quiet`, and bytes of one that it is in the middle of. */
void console_say(const char *fmt, ...) PRINTF_LIKE(1, 2);
void console_echo(char c);
