/* SPDX-License-Identifier: BSD-2-Clause */
#include "hyp/build.h"

#include "dts/guest_dt.h"
#include "hyp/load.h"
#include "lib/arch.h"
#include "lib/chacha.h"
#include "lib/log.h"
#include "lib/string.h"
#include "mm/disk_image.h"
#include "mm/helper.h"
#include "mm/packed.h"
#include "pv/vendor.h"
#include "vcpu/reset.h"
#include "vcpu/stolen.h"
#include "vcpu/virtio_balloon.h"

#ifndef MW_BUILD
#define MW_BUILD "unknown" /* the commit; Makefile */
#endif

#define DTB_MAX KIB(64)
#define SEED_SIZE 32

uint64_t build_blocks(const struct guest_config *c, bool with_helpers)
{
    uint64_t ram = c->memory >> BLOCK_SHIFT;
    uint64_t resident = c->resident ? (c->resident >> BLOCK_SHIFT) + 1 : ram;
    uint64_t tables = ram + (c->memory >> GIB_SHIFT) + 8; /* 4 KiB each */

    /* Without helpers each vCPU's core makes tables, of a block of its own. */
    return resident + tables / BLOCK_PAGES + 1 + c->cpus * (with_helpers && !c->resident ? POOL_BLOCKS + 1 : 1);
}

/* Where the guests' device trees lie: kept for their life, since a reset starts from them. One block for all. */
static void *dtb_place(uint32_t id)
{
    static pa_t block;

    if (!block.v && !frames_alloc_block(&block))
        return NULL;
    return pa_ptr(pa_add(block, id * DTB_MAX));
}

/* A page of EL2's that a guest may read: `*page` stays with the number of the guest, whatever becomes of that. NULL: no memory. */
static void *own_page(pa_t *page, struct frame_cache *frames)
{
    return page->v || frame_alloc(frames, page) ? pa_ptr(*page) : NULL;
}

static bool place_stolen_time(struct vm *vm, struct frame_cache *frames)
{
    static pa_t pages[MAX_GUESTS];

    vm->stolen = own_page(&pages[vm->id], frames);
    if (!vm->stolen)
        return false;
    stolen_time_reset(vm);
    return true;
}

static bool place_info(struct vm *vm, struct frame_cache *frames)
{
    static pa_t pages[MAX_GUESTS];

    if (vm->identity != IDENTITY_MEANWHILE)
        return true;
    vm->info = own_page(&pages[vm->id], frames);
    if (!vm->info)
        return false;
    vendor_write_info(vm->info, vm, "Meanwhile " MW_BUILD);
    dcache_clean_inval_poc(vm->info, PAGE_SIZE); /* a guest may look with its caches off */
    return true;
}

static const char *add_source(struct vm *vm, const struct source *from, ipa_t to)
{
    int source = s2_add_source(&vm->s2, from);

    if (source < 0 || !vm_layout_add(vm, to, align_up(from->size, PAGE_SIZE), desc_absent((uint32_t)source, 0)))
        return "too many images";
    return NULL;
}

static char why_not[sizeof(((struct report_guest *)0)->reason)];

static const char *open_disk_module(const struct guest_module *m, const char *what, struct source *out)
{
    const char *why = NULL;

    if (helper_count)
        why = disk_image_open(out, m->disk, m->file);
    if (!helper_count)
        format(why_not, sizeof(why_not), "%s: a disk is read by a helper core, and there is none", what);
    else if (why)
        format(why_not, sizeof(why_not), "%s: %s (%s on disk %s)", what, why, m->file, m->disk);
    return helper_count && !why ? NULL : why_not;
}

/* What a module holds. NULL, or why it cannot be had. */
static const char *open_module(const struct guest_module *m, const char *what, struct source *out)
{
    enum page_image_result result;

    if (m->disk)
        return open_disk_module(m, what, out);
    if (!m->file) {
        *out = (struct source){.ops = &source_image_ops, .base = m->base, .size = m->size};
        return NULL;
    }
    result = packed_open(out, m->base, m->size, m->file);
    if (result != PAGE_IMAGE_OK) {
        format(why_not, sizeof(why_not), "%s: %s (image:%s)", what, page_image_text(result), m->file);
        return why_not;
    }
    if (out->ops->needs_helper && !helper_count) {
        format(why_not, sizeof(why_not), "%s: a page image is read by a helper core, and there is none", what);
        return why_not;
    }
    return NULL;
}

/* The beginning of a kernel, for its header: as it is in RAM, or decoded. FP registers hold nothing of a guest's yet. */
static const char *see_kernel(const struct source *kernel, struct load_request *r)
{
    static uint8_t first_page[PAGE_SIZE] __attribute__((aligned(PAGE_SIZE)));

    r->kernel_size = r->kernel_head = kernel->size;
    r->kernel = pa_ptr(kernel->base);
    if (kernel->ops == &source_image_ops)
        return NULL;
    r->kernel = first_page;
    if (r->kernel_head > PAGE_SIZE)
        r->kernel_head = PAGE_SIZE;
    if (kernel->disk ? disk_image_first_page(kernel, first_page)
                     : kernel->ops->fill(kernel, 0, first_page, 1, 0) == FILL_OK)
        return NULL;
    return "kernel: its first page cannot be read";
}

/* The CPU interface of a GICv2 guest is the hardware's own. */
static bool add_gic(struct vm *vm)
{
    if (vm->vgic.v2)
        return vm_layout_add(vm, ipa(VIRT_GICD), VIRT_GICD_SIZE, desc_mmio(MMIO_GICV2)) &&
               vm_layout_add(vm, ipa(VIRT_GICC), PAGE_SIZE, desc_device(gic_guest_page(0))) &&
               vm_layout_add(vm, ipa(VIRT_GICC + PAGE_SIZE), PAGE_SIZE, desc_device(gic_guest_page(1)));
    return vm_layout_add(vm, ipa(VIRT_GICD), VIRT_GICD_SIZE, desc_mmio(MMIO_GICD)) &&
           vm_layout_add(vm, ipa(VIRT_GICR), VIRT_GICR_STRIDE * vm->vcpu_count, desc_mmio(MMIO_GICR));
}

static bool add_platform(struct vm *vm)
{
    return add_gic(vm) && vm_layout_add(vm, ipa(VIRT_UART), VIRT_UART_SIZE, desc_mmio(MMIO_UART)) &&
           vm_layout_add(vm, ipa(VIRT_VIRTIO), VIRT_VIRTIO_SLOTS * VIRT_VIRTIO_STRIDE, desc_mmio(MMIO_VIRTIO)) &&
           vm_layout_add(vm, ipa(VIRT_PVTIME), PAGE_SIZE, desc_leaf(ptr_pa(vm->stolen), 3, false)) &&
           (!vm->info || vm_layout_add(vm, ipa(VIRT_INFO), PAGE_SIZE, desc_leaf(ptr_pa(vm->info), 3, false))) &&
           vm_layout_add(vm, vm->ram_base, vm->ram_size, 0);
}

/* A seed of the guest's own, from which the host's and other guests' do not follow. */
static bool derive_seed(uint8_t out[64], const struct machine *m, uint32_t id)
{
    uint8_t key[32] = {0};
    uint8_t nonce[12] = {'m', 'w', 's', 'e', 'e', 'd', (uint8_t)id};

    if (!m->seed)
        return false;
    for (size_t i = 0; i < m->seed_size; i++)
        key[i % sizeof(key)] ^= m->seed[i];
    chacha20_block(out, key, 0, nonce);
    memset(key, 0, sizeof(key));
    return true;
}

static const char *place(struct vm *vm, const struct guest_config *c, const struct machine *m)
{
    struct load_request request = {.dtb_size = DTB_MAX, .ram_base = vm->ram_base, .ram_size = vm->ram_size};
    struct source kernel, initrd = {.size = 0}, tree = {.ops = &source_image_ops};
    struct load_plan plan;
    enum load_result loaded;
    uint8_t seed[64];
    struct guest_dt dt = {
        .cpus = vm->vcpu_count,
        .ram_base = vm->ram_base,
        .ram_size = vm->ram_size,
        .bootargs = c->bootargs,
        .gic_v2 = vm->vgic.v2,
        .identity = vm->identity,
        .features = vm->features,
        .event = vendor_event(vm),
    };
    void *blob = dtb_place(vm->id);
    const char *why = open_module(&c->kernel, "kernel", &kernel);

    if (!why && module_given(&c->initrd))
        why = open_module(&c->initrd, "ramdisk", &initrd);
    if (!why)
        why = see_kernel(&kernel, &request);
    if (why)
        return why;
    request.initrd_size = initrd.size;
    loaded = load_place(&request, &plan);
    if (loaded != LOAD_OK)
        return load_text(loaded);
    if (!blob)
        return "no memory for its device tree";
    dt.initrd = plan.initrd;
    dt.initrd_size = initrd.size;
    if (derive_seed(seed, m, vm->id)) {
        dt.seed = seed;
        dt.seed_size = SEED_SIZE + 8;
    }
    tree.base = ptr_pa(blob);
    tree.size = guest_dt_write(blob, DTB_MAX, &dt);
    if (!tree.size)
        return "its device tree does not fit";
    vm->entry = plan.kernel;
    vm->dtb = plan.dtb;
    why = add_source(vm, &kernel, plan.kernel);
    if (!why && initrd.size)
        why = add_source(vm, &initrd, plan.initrd);
    if (!why)
        why = add_source(vm, &tree, plan.dtb);
    return why;
}

const char *build_guest(struct vm *vm, const struct guest_config *c, const struct machine *m,
                        struct frame_cache *frames)
{
    const char *why;

    memcpy(vm->name, c->name, sizeof(vm->name));
    vm->vcpu_count = c->cpus;
    vm->vgic.v2 = m->gic.version == GIC_V2;
    vm->ram_base = ipa(VIRT_RAM);
    vm->ram_size = c->memory;
    /* VMID 0 is EL2's own idle value: guests count from 1. */
    if (!s2_init(&vm->s2, vm->id + 1, frames, vm->stats))
        return "no memory for its tables";
    vm->s2.by_page = c->granule == PAGE_SIZE;
    vm->s2.ram_base = vm->ram_base;
    vm->s2.ram_size = vm->ram_size;
    vm->stats->s2_root = ptr_pa(vm->s2.root).v;
    vm->stats->ram_base = vm->ram_base.v;
    vm->no_reboot = c->no_reboot;
    vm->plain_waits = m->config.plain_waits;
    vm->identity = c->identity;
    vm->features = c->identity == IDENTITY_MEANWHILE ? vendor_choose_features(helper_count != 0) : 0;
    if (c->resident) {
        paging_init(&vm->paging, &vm->s2, c->resident >> PAGE_SHIFT, &vm->stats->paging);
        ahead_init(&vm->paging.ahead, vm->paging.limit, m->config.no_read_ahead);
        vm->paging.pause_ticks = counter_hz() * m->config.pause_after;
    }
    vm->first_helper = guest_on_disk(c) || c->resident;
    virtio_attach(vm, VIRTIO_SLOT_BALLOON, &virtio_balloon_ops);
    if (!place_stolen_time(vm, frames))
        return "no memory for its stolen time";
    if (!place_info(vm, frames))
        return "no memory for its information page";
    why = add_platform(vm) ? place(vm, c, m) : "too many ranges";
    if (!why && !vm_layout_apply(vm, frames))
        why = "no memory for its tables";
    return why;
}
