/* SPDX-License-Identifier: BSD-2-Clause */
/* SOURCES: vcpu/vuart.c */
/* The virtual PL011: registers, FIFO, interrupts, and random garbage. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "vcpu/vm.h"

#define DR 0x00
#define RSR 0x04
#define FR 0x18
#define IBRD 0x24
#define FBRD 0x28
#define LCR_H 0x2c
#define CR 0x30
#define IFLS 0x34
#define IMSC 0x38
#define RIS 0x3c
#define MIS 0x40
#define ICR 0x44
#define DMACR 0x48

#define FEN 0x10
#define RX 0x10
#define TX 0x20
#define RT 0x40

_Thread_local struct core *this_core_ptr;

static struct vm vm;
static struct vcpu cpu;
static bool line;
static char out[256];
static size_t out_len;

void vgic_set_spi_level(struct vm *of, uint32_t intid, bool level)
{
    assert_ptr_equal(of, &vm);
    assert_int_equal(intid, 33);
    line = level;
}

static void put(struct vm *of, char c)
{
    assert_ptr_equal(of, &vm);
    out[out_len++ % sizeof out] = c;
}

static uint32_t rd(uint32_t off)
{
    return (uint32_t)vuart_read(&cpu, off, 4);
}

static void wr(uint32_t off, uint32_t val)
{
    vuart_write(&cpu, off, 4, val);
}

static size_t input(const char *s)
{
    return vuart_input(&vm, (const uint8_t *)s, strlen(s));
}

static int fresh(void **state)
{
    (void)state;
    memset(&vm, 0, sizeof vm);
    memset(&cpu, 0, sizeof cpu);
    cpu.vm = &vm;
    vm.uart.put = put;
    line = true;
    out_len = 0;
    vuart_reset(&vm);
    assert_false(line);
    assert_ptr_equal(vm.uart.put, put);
    return 0;
}

static void test_reset_values(void **state)
{
    static const uint8_t id[] = {0x11, 0x10, 0x14, 0x00, 0x0d, 0xf0, 0x05, 0xb1};

    (void)state;
    assert_int_equal(rd(FR), 0x90);
    assert_int_equal(rd(CR), 0x300);
    assert_int_equal(rd(IFLS), 0x12);
    assert_int_equal(rd(LCR_H), 0);
    assert_int_equal(rd(RSR), 0);
    assert_int_equal(rd(RIS), 0);
    assert_int_equal(rd(IMSC), 0);
    for (uint32_t i = 0; i < 8; i++)
        assert_int_equal(rd(0xfe0 + 4 * i), id[i]);
    assert_int_equal(rd(0x80), 0);
    assert_int_equal(rd(0x1000), 0);
}

static void test_registers_keep_their_bits(void **state)
{
    static const struct {
        uint32_t off, mask;
    } regs[] = {{0x20, 0xff}, {IBRD, 0xffff}, {FBRD, 0x3f},  {LCR_H, 0xff},
                {CR, 0xffff}, {IFLS, 0x3f},   {IMSC, 0x7ff}, {DMACR, 7}};

    (void)state;
    for (unsigned i = 0; i < ARRAY_SIZE(regs); i++) {
        wr(regs[i].off, 0xffffffff);
        assert_int_equal(rd(regs[i].off), regs[i].mask);
        wr(regs[i].off, 0);
        assert_int_equal(rd(regs[i].off), 0);
    }
    wr(FR, 0xffffffff);
    wr(0xfe0, 0xffffffff);
    assert_int_equal(rd(FR), 0x90);
    assert_int_equal(rd(0xfe0), 0x11);
}

static void test_output(void **state)
{
    (void)state;
    wr(DR, 'a'); /* before anything is enabled */
    wr(CR, 0);
    wr(DR, 0xffffff00 | 'b');
    vuart_write(&cpu, DR, 1, 'c');
    vuart_write(&cpu, DR, 2, 0x100 | 'd');
    vuart_write(&cpu, DR, 8, 'e');
    assert_int_equal(out_len, 4);
    assert_memory_equal(out, "abcd", 4);
    assert_int_equal(rd(FR), 0x90);
    assert_false(line);
    assert_int_equal(rd(RIS), TX);
    wr(IMSC, TX);
    assert_true(line);
    assert_int_equal(rd(MIS), TX);
    wr(ICR, TX);
    assert_false(line);
    assert_int_equal(rd(RIS), 0);
    wr(DR, 0);
    assert_true(line);
    wr(IMSC, 0);
    assert_false(line);
    assert_int_equal(rd(RIS), TX);
    vm.uart.put = NULL;
    wr(DR, 'z');
}

static bool full(struct vm *of)
{
    assert_ptr_equal(of, &vm);
    return out_len == 2;
}

/* What others' output keeps waiting is the guest's to see; a byte that it writes all the same goes on. */
static void test_full(void **state)
{
    (void)state;
    vm.uart.full = full;
    wr(DR, 'a');
    assert_int_equal(rd(FR), 0x90);
    wr(DR, 'b');
    assert_int_equal(rd(FR), 0x30);
    wr(DR, 'c');
    assert_memory_equal(out, "abc", 3);
    vuart_reset(&vm);
    assert_ptr_equal(vm.uart.full, full);
}

static void test_one_byte_holding_register(void **state)
{
    (void)state;
    assert_int_equal(vuart_room(&vm), 1);
    assert_int_equal(input("xy"), 1);
    assert_int_equal(rd(FR), 0xc0);
    assert_int_equal(rd(RIS), RX);
    assert_int_equal(vuart_room(&vm), 0);
    assert_int_equal(input("y"), 0);
    assert_int_equal(rd(DR), 'x');
    assert_int_equal(rd(RIS), 0);
    assert_int_equal(rd(FR), 0x90);
    assert_int_equal(rd(DR), 0);
    assert_int_equal(input("y"), 1);
    assert_int_equal(rd(DR), 'y');
}

static void test_fifo(void **state)
{
    static const uint32_t trigger[8] = {2, 4, 8, 12, 14, 8, 8, 8};

    (void)state;
    wr(LCR_H, FEN);
    wr(IMSC, RX | RT);
    for (uint32_t level = 0; level < 8; level++) {
        wr(IFLS, level << 3);
        for (uint32_t n = 1; n <= 16; n++) {
            char c[2] = {(char)('A' + n), 0};

            assert_int_equal(vuart_room(&vm), 17 - n);
            assert_int_equal(input(c), 1);
            assert_true(line);
            assert_int_equal(rd(RIS), n >= trigger[level] ? RX : RT);
        }
        assert_int_equal(input("!"), 0);
        assert_int_equal(rd(FR), 0xc0);
        for (uint32_t n = 1; n <= 16; n++) {
            assert_int_equal(rd(DR), 'A' + n);
            assert_int_equal(rd(RIS), 16 - n >= trigger[level] ? RX : n < 16 ? RT : 0);
            assert_int_equal(line, n < 16);
        }
    }
}

static void test_interrupts_cleared_by_the_guest(void **state)
{
    (void)state;
    wr(LCR_H, FEN);
    wr(IMSC, RX | RT);
    input("abc");
    assert_int_equal(rd(MIS), RT);
    wr(ICR, RT);
    assert_int_equal(rd(RIS), 0);
    assert_false(line);
    assert_int_equal(rd(DR), 'a'); /* some are left: it times out again */
    assert_int_equal(rd(RIS), RT);
    assert_true(line);
    wr(IFLS, 0); /* a trigger of two bytes */
    assert_int_equal(rd(RIS), RX);
    wr(LCR_H, 0); /* flushes */
    assert_int_equal(rd(RIS), 0);
    assert_int_equal(rd(FR), 0x90);
    assert_false(line);
}

/* A byte comes between the look that finds the FIFO empty and the clear: its interrupt is still there. */
static void test_clear_spares_what_was_not_seen(void **state)
{
    (void)state;
    wr(LCR_H, FEN);
    wr(IMSC, RX | RT);
    input("a");
    assert_int_equal(rd(DR), 'a');
    assert_int_equal(rd(FR), 0x90);
    input("b");
    wr(ICR, RX | RT);
    assert_true(line);
    assert_int_equal(rd(RIS), RT); /* a look */
    wr(ICR, RX | RT);
    assert_false(line);
    wr(IFLS, 0); /* a trigger of two bytes */
    input("c");
    wr(ICR, RX | RT);
    assert_int_equal(rd(RIS), RX);
    assert_int_equal(rd(DR), 'b');
    assert_int_equal(rd(DR), 'c');
    assert_false(line);
    wr(ICR, RX | RT);
    assert_false(line);
    input("d");
    wr(LCR_H, 0); /* flushes */
    wr(ICR, RX | RT);
    assert_false(line);
}

static void test_loopback(void **state)
{
    (void)state;
    wr(CR, 0x380);
    wr(DR, 'q');
    wr(DR, 'r'); /* no room: lost */
    assert_int_equal(out_len, 0);
    assert_int_equal(rd(DR), 'q');
    assert_int_equal(rd(FR), 0x90);
}

static void test_access_sizes(void **state)
{
    (void)state;
    wr(IMSC, 0x7ff);
    assert_int_equal(vuart_read(&cpu, IMSC, 1), 0xff);
    assert_int_equal(vuart_read(&cpu, IMSC, 2), 0x7ff);
    assert_int_equal(vuart_read(&cpu, IMSC, 8), 0);
    assert_int_equal(vuart_read(&cpu, IMSC + 1, 1), 0);
    assert_int_equal(vuart_read(&cpu, IMSC + 2, 2), 0);
    vuart_write(&cpu, IMSC, 8, 0);
    vuart_write(&cpu, IMSC + 1, 1, 0);
    assert_int_equal(rd(IMSC), 0x7ff);
    vuart_write(&cpu, IMSC, 1, 0xffff);
    assert_int_equal(rd(IMSC), 0xff);
}

static void test_garbage(void **state)
{
    static const uint32_t sizes[] = {0, 1, 2, 3, 4, 4, 4, 8, 64, 0xffffffff};
    uint64_t seed = 0x9e3779b97f4a7c15ull;

    (void)state;
    for (unsigned op = 0; op < 200000; op++) {
        uint32_t off, size;

        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        size = sizes[(seed >> 8) % ARRAY_SIZE(sizes)];
        off = seed >> 63 ? (uint32_t)(seed >> 20) : (uint32_t)(seed >> 20) % 0x50;
        if (seed >> 60 & 3)
            off &= ~3u;
        switch (seed >> 16 & 3) {
        case 0:
            vuart_read(&cpu, off, size);
            break;
        case 1:
        case 2:
            vuart_write(&cpu, off, size, seed * 0x2545f4914f6cdd1dull);
            break;
        case 3: {
            size_t room = vuart_room(&vm);

            assert_true(room <= VUART_FIFO);
            assert_int_equal(vuart_input(&vm, (const uint8_t *)"0123456789abcdefg", 17), room);
            break;
        }
        }
        assert_true(vm.uart.rx_count <= VUART_FIFO && vm.uart.rx_head < VUART_FIFO);
        assert_int_equal(line, (vm.uart.ris & vm.uart.imsc) != 0);
        assert_int_equal(vm.uart.lock.next, vm.uart.lock.owner);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_reset_values, fresh),
        cmocka_unit_test_setup(test_registers_keep_their_bits, fresh),
        cmocka_unit_test_setup(test_output, fresh),
        cmocka_unit_test_setup(test_full, fresh),
        cmocka_unit_test_setup(test_one_byte_holding_register, fresh),
        cmocka_unit_test_setup(test_fifo, fresh),
        cmocka_unit_test_setup(test_interrupts_cleared_by_the_guest, fresh),
        cmocka_unit_test_setup(test_clear_spares_what_was_not_seen, fresh),
        cmocka_unit_test_setup(test_loopback, fresh),
        cmocka_unit_test_setup(test_access_sizes, fresh),
        cmocka_unit_test_setup(test_garbage, fresh),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
