/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A memory balloon (VIRTIO 1.1, 5.5) that never asks for anything: it takes what the guest's kernel reports as free (free page
 * reporting), in chains of whatever length. It also takes what a driver inflates it with of its own accord; deflating does
 * nothing, since pages come back when they are touched.
 *
 * The work is done where the guest notifies: it copies, zeroes and waits for nothing, and all pages of a chain share a
 * round of TLB maintenance (mm/give_back.h).
 */
#pragma once

#include "vcpu/virtio_mmio.h"

#define VIRTIO_BALLOON_F_REPORTING 5

extern const struct virtio_ops virtio_balloon_ops;
