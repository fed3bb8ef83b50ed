/* SPDX-License-Identifier: BSD-2-Clause */
/* The CRC-32 of RFC 1952, section 8: what gzip and Ethernet use, and what zlib's crc32() computes. */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* `crc`: of what came before, 0 at the start. */
uint32_t crc32(uint32_t crc, const void *p, size_t n);
