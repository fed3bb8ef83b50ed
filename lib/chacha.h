/* SPDX-License-Identifier: BSD-2-Clause */
/* The ChaCha20 block function (RFC 8439 2.3), to derive each guest's seed from the host's: no guest learns another's. */
#pragma once

#include <stdint.h>

/* 64 bytes of key stream. */
void chacha20_block(uint8_t out[64], const uint8_t key[32], uint32_t counter, const uint8_t nonce[12]);
