/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The virtual platform: the memory map and interrupts of QEMU's `virt` board (hw/arm/virt.c there), so that whatever is
 * built for it runs unchanged. dts/guest_dt.c tells the guest the same things.
 */
#pragma once

#include "lib/types.h"

#define VIRT_GICD 0x08000000u
#define VIRT_GICD_SIZE 0x10000u
#define VIRT_GICR 0x080a0000u
#define VIRT_GICR_STRIDE 0x20000u /* RD_base and SGI_base frames of one vCPU */
#define VIRT_GICC 0x08010000u     /* of a GICv2, which has no GICR */
#define VIRT_GICC_SIZE 0x2000u
#define VIRT_UART 0x09000000u
#define VIRT_UART_SIZE 0x1000u
#define VIRT_PVTIME 0x090a0000u /* one page of it: stolen time (vcpu/stolen.h) */
#define VIRT_VIRTIO 0x0a000000u /* virtio-mmio: slots of 0x200 bytes, each with an SPI */
#define VIRT_INFO 0x0b000000u   /* one page: the information page (pv/abi.h) */
#define VIRT_VIRTIO_STRIDE 0x200u
#define VIRT_VIRTIO_SLOTS 32u
#define VIRTIO_SLOT_BALLOON 0u
#define VIRT_RAM 0x40000000u

#define VIRT_SPIS 256 /* SPIs 32..287 exist, as on the virt board */
#define VIRT_UART_SPI 33
#define VIRT_VIRTIO_SPI 48 /* of the first slot */

#define PPI_EVENT 20 /* ours: asynchronous page faults. 16 to 20 are nobody's by convention (BSA) */
#define PPI_ALARM 26 /* EL2 physical timer */
#define PPI_VTIMER 27
#define PPI_PTIMER 30

/* The kinds of emulated device. The number is what a stage-2 MMIO descriptor carries: never 0. */
enum mmio_kind { MMIO_NONE = 0, MMIO_GICD, MMIO_GICR, MMIO_UART, MMIO_GICV2, MMIO_VIRTIO, MMIO_KINDS };
