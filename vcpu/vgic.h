/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The virtual GIC, of the version that the machine has: a GICv3 (IHI 0069H) or a GICv2 (IHI 0048B). Distributor and
 * redistributors are emulated, the CPU interface is the hardware's, through list registers. One file per register frame:
 * vgic_dist.c (GICD), vgic_redist.c (GICR), vgic_v2.c (GICD of a GICv2), vgic_lr.c (list registers), vgic.c (the state
 * they share); vgic_state.h is theirs alone.
 *
 * State is kept in banks of 32 interrupts. What several cores write is atomic, a bit per interrupt; only a vCPU's own
 * core touches its list registers, so anyone who makes an interrupt pending sets the bit, then `dirty` of the target,
 * then signals its core, which folds the news into its list registers before it returns to the guest. No lock.
 *
 * A bit in `pending` is an edge not yet handed to a list register; in `level`, the state of the input line. An interrupt
 * is a candidate when ((pending | (level & ~edge)) & enable) is set and its group enabled, and it is neither `inlr` nor
 * `active`. The core that sets the bit in `inlr` owns the interrupt until it clears it: nobody else puts it anywhere.
 */
#pragma once

#include <stdatomic.h>

#include "lib/types.h"
#include "vcpu/platform.h"

struct vm;
struct vcpu;

#define VGIC_LRS_MAX 16
#define VGIC_SPI_BANKS (VIRT_SPIS / 32)

struct vgic_bank {
    _Atomic uint32_t enable, pending, level, active, group, edge; /* edge: 1 = edge-triggered */
    _Atomic uint32_t inlr;                                        /* held in some vCPU's list register now */
    _Atomic uint32_t spilled; /* of `active`: the guest acknowledged it, then its list register was needed */
    _Atomic uint32_t
        drop_pending; /* the holder is asked to take the pending or active state out of its list register */
    _Atomic uint32_t drop_active;
    _Atomic uint8_t prio[32];
};

struct vgic_cpu {
    struct vgic_bank priv;       /* INTIDs 0..31 */
    _Atomic uint32_t dirty;      /* nonzero: the own core has to look before it returns to the guest */
    _Atomic uint32_t waker;      /* GICR_WAKER.ProcessorSleep */
    _Atomic uint32_t hw_pending; /* physical PPIs that EL2 acknowledged and no list register holds */

    /* From here on own core only. Masks are by INTID (hw_) or by list register (lr_). */
    uint32_t hw_active; /* physical PPIs that are active: somebody owes each of them a deactivation */
    uint32_t hw_kept;   /* of hw_pending: disabled by the guest, or active already */
    uint32_t lr_count;  /* list registers the hardware has; 0 while the vCPU is off */
    uint32_t lr_used;   /* in use, as last seen */
    uint32_t sgi_lr;    /* which one held an SGI last */
    uint32_t tick_lr;   /* which one held a physical PPI last */
    uint32_t lr_eoi;    /* asks for maintenance at the guest's EOI */
    struct {
        uint16_t intid;
        uint16_t flags;
    } lr[VGIC_LRS_MAX]; /* what each that is in use holds */
    uint64_t hcr;       /* ICH_HCR_EL2 as last written */
    uint64_t lr_hw;     /* what marks a physical interrupt in a list register: LR_HW, or LR_EOI (gich_has_hw()) */

    /* GICv2: an SGI is pending once for each vCPU that sent it. `pending` is set while a bit here is. */
    _Atomic uint8_t senders[16];
};

struct vgic_dist {
    _Atomic uint32_t ctlr; /* GICD_CTLR: EnableGrp0, EnableGrp1; ARE and DS are always 1 */
    bool v2;               /* a GICv2; set before the first reset, and kept */
    struct vgic_bank spi[VGIC_SPI_BANKS];
    _Atomic uint64_t router[VIRT_SPIS]; /* GICD_IROUTER<n> as the guest wrote it; GICv2: its byte of GICD_ITARGETSR */
    _Atomic uint8_t target[VIRT_SPIS];  /* what it means: a vCPU's index, or one of those below */
    _Atomic uint8_t holder[VIRT_SPIS];  /* while `inlr` or `spilled`: the vCPU that has it */
};

#define VGIC_TARGET_LIST 0xfd /* any one of the vCPUs in the list, which is `router` */
#define VGIC_TARGET_ANY 0xfe  /* 1 of N */
#define VGIC_TARGET_NONE 0xff /* no vCPU has that affinity */

/*
 * State as after reset. Boot core, before the guest runs (or, later, when all its vCPUs are stopped). Memory state only:
 * physical interrupts that are still active for a vCPU are deactivated by its vgic_cpu_hw_init().
 */
void vgic_dist_reset(struct vm *vm);
void vgic_cpu_reset(struct vcpu *v);

/*
 * Own core, before the first entry of the guest after a reset or a CPU_ON, when its power is VCPU_ON already: the CPU
 * interface as after reset, list registers loaded with what is pending. What is pending or active for a vCPU outlives
 * CPU_OFF, as the redistributor's state does in hardware: no vgic_cpu_reset() there.
 */
void vgic_cpu_hw_init(struct vcpu *v);

/*
 * Own core, after the vCPU's power has left VCPU_ON (by a sequentially consistent store) and before it sleeps:
 * everything leaves its list registers, so that another vCPU can get what is routed to 1 of N.
 */
void vgic_cpu_off(struct vcpu *v);

/* Own core, while the vCPU is on but waits in EL2: its interrupts are not signalled to it (on), or are again. */
void vgic_cpu_hold(bool on);

/*
 * MMIO. `off` counts from the frame's base (GICR: from the first redistributor of the guest), `size` is 1, 2, 4 or 8;
 * `v` is the accessing vCPU, on its own core. A register that does not exist, or a size it does not take, reads as zero
 * and ignores writes.
 */
uint64_t vgicd_read(struct vcpu *v, uint32_t off, uint32_t size);
void vgicd_write(struct vcpu *v, uint32_t off, uint32_t size, uint64_t val);
uint64_t vgicr_read(struct vcpu *v, uint32_t off, uint32_t size);
void vgicr_write(struct vcpu *v, uint32_t off, uint32_t size, uint64_t val);
uint64_t vgicv2_read(struct vcpu *v, uint32_t off, uint32_t size); /* GICD of a GICv2 */
void vgicv2_write(struct vcpu *v, uint32_t off, uint32_t size, uint64_t val);

/* Own core: a trapped write to ICC_SGI1R_EL1 (IHI 0069H 12.2.21). */
void vgic_sgi1r(struct vcpu *v, uint64_t val);

/* Own core: the same to ICC_SGI0R_EL1 or ICC_ASGI1R_EL1, which reach interrupts of group 0 only. */
void vgic_sgi0r(struct vcpu *v, uint64_t val);

/* Own core: a write to ICC_DIR_EL1, which traps (ICH_HCR_EL2.TDIR) only while an active interrupt is in no list register. */
void vgic_dir(struct vcpu *v, uint64_t val);

/* The input line of SPI `intid` of the guest changes. Any core; calls for one line must not overlap. */
void vgic_set_spi_level(struct vm *vm, uint32_t intid, bool level);

/* Make an edge pending on a private interrupt of `v`. Any core. */
void vgic_set_private_pending(struct vcpu *v, uint32_t intid);

/*
 * Own core: physical PPI `intid` (a timer) was acknowledged, and its physical deactivation is left to the guest's EOI
 * (ICH_LR.HW = 1, pINTID = intid). While the guest has it disabled it stays pending here and active there. When the
 * guest enables it, it is deactivated and not delivered: if its line is still high it comes back at once, and if the
 * guest has reprogrammed its timer since then there is nothing to deliver, as in hardware.
 */
void vgic_hw_ppi(struct vcpu *v, uint32_t intid);

/*
 * The same for the usual tick, and quickly: the list register that held this PPI last is empty again, because the guest
 * has ended it, and nothing else is new. It gets the next one, and there is nothing left to do. False: nothing was done.
 */
WARN_UNUSED bool vgic_hw_ppi_again(struct vcpu *v, uint32_t intid);

/*
 * Own core, before a sleep: physical PPIs that wait for the guest go back to the hardware, which raises those again whose
 * line is still high. A timer that the guest stopped after it fired does not wake it.
 */
void vgic_ask_again(struct vcpu *v);

/* The same for an SGI of this vCPU to itself, under a GICv3. */
WARN_UNUSED bool vgic_sgi_again(struct vcpu *v, uint32_t intid);

/* Own core, before a return to the guest when `dirty`, and on a maintenance interrupt: fold list registers and memory. */
void vgic_sync(struct vcpu *v);

/* Own core: an interrupt that the guest could take (enabled, above its priority mask, group enabled) waits for it. */
bool vgic_pending(struct vcpu *v);

/* Own core: one waits that would wake a core without power: enabled, its group too, whatever the CPU interface masks. */
bool vgic_wakes(struct vcpu *v);
