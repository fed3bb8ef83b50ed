/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A guest and its vCPUs. All guests live in one array, as do all vCPUs: there is no allocation after start.
 *
 * A vCPU is pinned to one physical core for its life; its EL1 registers stay in the core while EL2 works, and its
 * general registers are in the frame that the vectors saved. `struct vm` is read-only while the guest runs, but for
 * what says otherwise.
 */
#pragma once

#include "lib/core.h"
#include "lib/esr.h"
#include "lib/report.h"
#include "lib/spinlock.h"
#include "lib/types.h"
#include "mm/paging.h"
#include "mm/stage2.h"
#include "vcpu/apf.h"
#include "vcpu/platform.h"
#include "vcpu/vgic.h"
#include "vcpu/virtio_mmio.h"
#include "vcpu/vuart.h"

#define MAX_VM_CPUS 16

/* What a guest takes the hypervisor for. */
enum vm_identity { IDENTITY_MEANWHILE, IDENTITY_KVM, IDENTITY_NONE, IDENTITIES };

struct stolen_time;

/* The guest's general registers as the vectors save them. x29 down to x19 are there in a full frame only. */
struct frame {
    uint64_t x[32]; /* x[31] is where a write to the zero register goes; it is never read */
};

enum vcpu_power {
    VCPU_OFF,
    VCPU_ON_CLAIMED, /* a CPU_ON has won and is writing down where to start */
    VCPU_ON_PENDING, /* it has; the target core has not picked it up yet */
    VCPU_ON,
};

struct vcpu {
    struct vm *vm;
    uint32_t index; /* within the guest: Aff0 (and Aff1 from 16 on) of its virtual MPIDR */
    struct core *core;
    struct frame *frame; /* of the exit being served; only on the vCPU's own core */
    struct report_vcpu *stats;
    struct vgic_cpu vgic;
    _Atomic uint32_t power;     /* enum vcpu_power */
    _Atomic uint32_t unsettled; /* power or its guest's end: look before the next return to the guest */
    uint64_t entry;             /* where CPU_ON starts it; written by the winner before power becomes ON_PENDING */
    uint64_t context;           /* and what it finds in x0 */
    struct s2_port port;        /* its way to the helper: request ring and ready frames */
    bool gone;                  /* own core only: its guest has ended, and it has left it */
    struct apf apf;             /* asynchronous page faults */
    uint64_t interrupted; /* own core only: where it was when an interrupt of its own ended a wait for a page; or 0 */
};

/* What a guest's vCPUs look at before they return to it. */
enum vm_state {
    VM_RUNNING,
    VM_RESETTING, /* they stop, and start again (vcpu/reset.h) */
    VM_ENDED,     /* for good */
};

/* A range of the guest's address space as it is when the guest starts (s2_set_range). */
struct vm_range {
    ipa_t at;
    uint64_t size;
    uint64_t desc;
};

#define VM_LAYOUT_MAX 12

struct vm {
    uint32_t id;
    char name[32];
    struct s2 s2;
    struct vcpu *vcpus; /* `vcpu_count` entries, contiguous */
    uint32_t vcpu_count;
    ipa_t ram_base;
    uint64_t ram_size; /* bytes */
    ipa_t entry;       /* first instruction of the boot vCPU */
    ipa_t dtb;
    struct vgic_dist vgic;
    struct vuart uart;
    struct virtio_device virtio[VIRTIO_DEVICES];
    struct stolen_time *stolen; /* a record for each vCPU, in a page that the guest can read (vcpu/stolen.h) */
    void *info;                 /* the information page, which the guest can read; identity `meanwhile` */
    enum vm_identity identity;
    uint64_t features; /* MW_FEATURE_* of pv/abi.h; 0 under another identity */
    struct report_guest *stats;
    _Atomic uint32_t ending;    /* enum vm_state; not VM_RUNNING: every vCPU leaves the guest at its next exit */
    _Atomic uint32_t stopped;   /* vCPUs that have, for a reset */
    _Atomic uint32_t lives;     /* resets done */
    _Atomic uint32_t paused;    /* nonzero: every vCPU waits in EL2 after its next exit */
    _Atomic uint32_t gone;      /* vCPUs that have left it for good */
    bool no_reboot;             /* a reset ends it */
    _Atomic uint32_t apf_vcpus; /* that have registered a page for asynchronous page faults */
    bool plain_waits;           /* without APF on no interrupt of the guest's ends a wait for a page: to compare */
    bool first_helper;    /* helper 0 alone serves it: pages of it come from a disk, or it has a residency limit */
    struct paging paging; /* of a guest with such a limit */
    struct vm_range layout[VM_LAYOUT_MAX];
    uint32_t layout_count;
};

extern struct vm vms[MAX_GUESTS];
extern uint32_t vm_count;
extern struct vcpu vcpus[MAX_CORES];

/* The vCPU that runs on this core; NULL on a helper core. */
static inline struct vcpu *this_vcpu(void)
{
    return this_core()->vcpu;
}

/* The MPIDR_EL1 a guest reads on vCPU `index`: 16 per cluster, as QEMU's virt board with a GICv3 has it. */
static inline uint64_t vcpu_mpidr(uint32_t index)
{
    return BIT(31) | ((uint64_t)(index / 16) << 8) | (index % 16);
}

/* Makes all vCPUs of the guest look at `ending` before they go on. Any core. */
void vm_signal(struct vm *vm);

/* The vCPU with these affinity fields (Aff3.Aff2.Aff1.Aff0 as in MPIDR_EL1), or NULL. */
struct vcpu *vm_vcpu_by_mpidr(struct vm *vm, uint64_t mpidr);

/* Reads or writes register `reg` of the frame; 31 is the zero register. */
static inline uint64_t frame_get(const struct frame *f, uint32_t reg)
{
    return reg == 31 ? 0 : f->x[reg];
}

static inline void frame_set(struct frame *f, uint32_t reg, uint64_t v)
{
    f->x[reg] = v;
}
