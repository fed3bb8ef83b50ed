/* SPDX-License-Identifier: BSD-2-Clause */
#include "pv/trng.h"

#include "dev/entropy.h"
#include "pv/psci.h"

uint64_t trng_version(struct vcpu *v, struct frame *f, uint64_t a1, uint64_t a2, uint64_t a3)
{
    (void)v, (void)f, (void)a1, (void)a2, (void)a3;
    return entropy_present() ? TRNG_VERSION_1_0 : (uint64_t)TRNG_NOT_SUPPORTED;
}

/* TRNG_FEATURES of DEN0098: about its own functions alone. */
uint64_t trng_features(struct vcpu *v, struct frame *f, uint64_t id, uint64_t a2, uint64_t a3)
{
    uint64_t number = (id & ~SMCCC_SMC64) - PSCI_BASE;
    bool own = number >= TRNG_VERSION && number <= TRNG_RND && smccc_find(v->vm->identity, (uint32_t)id);

    (void)f, (void)a2, (void)a3;
    return own && entropy_present() ? TRNG_SUCCESS : (uint64_t)TRNG_NOT_SUPPORTED;
}

uint64_t trng_get_uuid(struct vcpu *v, struct frame *f, uint64_t a1, uint64_t a2, uint64_t a3)
{
    uint32_t uuid[4];

    (void)v, (void)a1, (void)a2, (void)a3;
    if (!entropy_present() || !entropy_uuid(uuid))
        return (uint64_t)TRNG_NOT_SUPPORTED;
    for (uint32_t i = 1; i < 4; i++)
        f->x[i] = uuid[i];
    return uuid[0];
}

/*
 * TRNG_RND of DEN0098: `bits` of entropy in x1 to x3, `width` bits in each, the lowest in x3. Whenever it returns an error
 * for a request that it understood, they are zero.
 */
static uint64_t rnd(struct frame *f, uint64_t bits, uint32_t width)
{
    uint64_t out[3];

    if (!entropy_present())
        return (uint64_t)TRNG_NOT_SUPPORTED;
    f->x[1] = f->x[2] = f->x[3] = 0;
    if (bits < 1 || bits > 3 * width)
        return (uint64_t)TRNG_INVALID_PARAMETERS;
    if (entropy_get((uint32_t)bits, out) != ENTROPY_OK)
        return (uint64_t)TRNG_NO_ENTROPY;
    f->x[3] = width == 64 ? out[0] : (uint32_t)out[0];
    f->x[2] = width == 64 ? out[1] : out[0] >> 32;
    f->x[1] = width == 64 ? out[2] : (uint32_t)out[1];
    return TRNG_SUCCESS;
}

uint64_t trng_rnd32(struct vcpu *v, struct frame *f, uint64_t bits, uint64_t a2, uint64_t a3)
{
    (void)v, (void)a2, (void)a3;
    return rnd(f, bits, 32);
}

uint64_t trng_rnd64(struct vcpu *v, struct frame *f, uint64_t bits, uint64_t a2, uint64_t a3)
{
    (void)v, (void)a2, (void)a3;
    return rnd(f, bits, 64);
}
