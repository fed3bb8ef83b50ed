/* SPDX-License-Identifier: BSD-2-Clause */
#include "lib/crc32.h"

#include "lib/arch.h"

/*
 * What one byte makes of a CRC of 0. The CRC is linear (RFC 1952 section 8: only shifts and exclusive ors), so the entry
 * of a byte follows from those of its bits.
 */
#define BIT_CRC(n, bit, crc) ((n) >> (bit)&1 ? (crc) : 0u)
#define BYTE_CRC(n)                                                                         \
    (BIT_CRC(n, 0, 0x77073096u) ^ BIT_CRC(n, 1, 0xee0e612cu) ^ BIT_CRC(n, 2, 0x076dc419u) ^ \
     BIT_CRC(n, 3, 0x0edb8832u) ^ BIT_CRC(n, 4, 0x1db71064u) ^ BIT_CRC(n, 5, 0x3b6e20c8u) ^ \
     BIT_CRC(n, 6, 0x76dc4190u) ^ BIT_CRC(n, 7, 0xedb88320u))
#define FOUR(n) BYTE_CRC(n), BYTE_CRC((n) + 1), BYTE_CRC((n) + 2), BYTE_CRC((n) + 3)
#define SIXTEEN(n) FOUR(n), FOUR((n) + 4), FOUR((n) + 8), FOUR((n) + 12)
#define SIXTY_FOUR(n) SIXTEEN(n), SIXTEEN((n) + 16), SIXTEEN((n) + 32), SIXTEEN((n) + 48)

static const uint32_t byte_crc[256] = {SIXTY_FOUR(0), SIXTY_FOUR(64), SIXTY_FOUR(128), SIXTY_FOUR(192)};

/* Optional in Armv8.0, there from Armv8.1 on (DDI 0487 A2.4). */
static uint32_t by_instruction(uint32_t crc, const uint8_t *p, size_t n)
{
    for (; n && (uintptr_t)p & 7; n--)
        crc = cpu_crc32b(crc, *p++);
    for (; n >= 64; n -= 64, p += 64) { /* a page takes 64 rounds: it pays to have few of them */
        const uint64_t *w = (const uint64_t *)(const void *)p;

        crc = cpu_crc32x(cpu_crc32x(cpu_crc32x(cpu_crc32x(crc, w[0]), w[1]), w[2]), w[3]);
        crc = cpu_crc32x(cpu_crc32x(cpu_crc32x(cpu_crc32x(crc, w[4]), w[5]), w[6]), w[7]);
    }
    while (n--)
        crc = cpu_crc32b(crc, *p++);
    return crc;
}

static uint32_t by_table(uint32_t crc, const uint8_t *p, size_t n)
{
    while (n--)
        crc = byte_crc[(crc ^ *p++) & 0xff] ^ crc >> 8;
    return crc;
}

uint32_t crc32(uint32_t crc, const void *p, size_t n)
{
    return ~(cpu_has_crc32() ? by_instruction(~crc, p, n) : by_table(~crc, p, n));
}
