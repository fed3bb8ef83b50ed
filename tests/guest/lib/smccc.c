/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/guest/lib/guest.h"

void smccc_call_hvc_0(struct regs *r);
void smccc_call_hvc_1(struct regs *r);
void smccc_call_hvc_xen(struct regs *r);
void smccc_call_hvc_ffff(struct regs *r);
void smccc_call_smc_0(struct regs *r);

static const struct {
    const char *name;
    void (*call)(struct regs *r);
} conduits[CONDUITS] = {
    [HVC_0] = {"hvc #0", smccc_call_hvc_0},         [HVC_1] = {"hvc #1", smccc_call_hvc_1},
    [HVC_XEN] = {"hvc #0xea1", smccc_call_hvc_xen}, [HVC_FFFF] = {"hvc #0xffff", smccc_call_hvc_ffff},
    [SMC_0] = {"smc #0", smccc_call_smc_0},
};

const char *conduit_name(enum conduit conduit)
{
    return conduits[conduit].name;
}

void smccc_raw(enum conduit conduit, struct regs *r)
{
    conduits[conduit].call(r);
}

struct call {
    enum conduit conduit;
    struct regs r;
};

static void do_call(void *arg)
{
    struct call *const call = arg;
    smccc_raw(call->conduit, &call->r);
}

uint64_t smccc(enum conduit conduit, uint64_t function, uint64_t a, uint64_t b, uint64_t c)
{
    struct call call = {conduit, {.x = {function, a, b, c}}};
    return attempt(do_call, &call, NULL) ? UNDEFINED_CALL : call.r.x[0];
}

/* 6d65616e-7768-4c65-a155-7965743f0001, four bytes a register, the first in the lowest bits (DEN0028, UID query). */
const uint32_t meanwhile_uid[4] = {0x6e61656d, 0x654c6877, 0x657955a1, 0x01003f74};

bool under_meanwhile(void)
{
    struct call call = {HVC_0, {.x = {VENDOR_UID}}};
    if (attempt(do_call, &call, NULL))
        return false;
    for (unsigned i = 0; i < 4; i++) {
        if (call.r.x[i] != meanwhile_uid[i])
            return false;
    }
    return true;
}
