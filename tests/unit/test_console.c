/* SPDX-License-Identifier: BSD-2-Clause */
/* SOURCES: hyp/console.c lib/format.c lib/log.c */
/* The console of several guests: whose line it is, what waits and for how long, and where input goes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "dev/gic.h"
#include "dev/pl011.h"
#include "hyp/console.h"
#include "hyp/monitor.h"
#include "lib/log.h"
#include "vcpu/irq.h"
#include "vcpu/vm.h"

_Thread_local struct core *this_core_ptr;
uint64_t fake_second = 1000000000u;
uint64_t (*fake_counter)(void);

static struct core core;
static struct vcpu cpu;
static struct vm guests[3];
static struct report_guest stats[3];
static char out[65536], got[3][4096], commands[256];
static size_t out_len, got_len[3], room[3], commands_len;
static const char *in;
static bool rx_on;
static uint32_t alarms;
static void (*serve)(void), (*ring)(void);

void pl011_init(pa_t base)
{
    (void)base;
}

void pl011_put(char c)
{
    out[out_len++] = c;
}

bool pl011_get(uint8_t *c)
{
    *c = (uint8_t)*in;
    in += *in != '\0';
    return *c != '\0';
}

void pl011_rx_interrupt(bool on)
{
    rx_on = on;
}

void gic_enable_spi(uint32_t intid, bool edge)
{
    (void)intid, (void)edge;
}

void irq_route_spi(uint32_t intid, void (*fn)(void))
{
    (void)intid;
    serve = fn;
}

void irq_on_alarm(void (*fn)(void))
{
    ring = fn;
}

void irq_alarm(uint32_t ms)
{
    assert_true(ms > 0);
    alarms++;
}

size_t vuart_input(struct vm *vm, const uint8_t *s, size_t n)
{
    size_t i = 0;

    for (; i < n && room[vm->id]; i++, room[vm->id]--)
        got[vm->id][got_len[vm->id]++] = (char)s[i];
    return i;
}

void monitor_open(void)
{
    console_echo('>');
}

bool monitor_key(char c)
{
    commands[commands_len++] = c;
    return c != '\n';
}

static void guest(uint32_t n, const char *s)
{
    while (*s)
        guests[n].uart.put(&guests[n], *s++);
}

static void shows(const char *s)
{
    out[out_len] = '\0';
    assert_string_equal(out, s);
    out_len = 0;
}

static void wait_ms(long ms)
{
    nanosleep(&(struct timespec){.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000}, NULL);
}

static int set_up(void **state)
{
    static const char *const names[] = {"a", "bee", "c"};

    (void)state;
    this_core_ptr = &core;
    core.vcpu = &cpu;
    cpu.vm = &guests[1];
    console_init(pa(0x1000), 33);
    for (uint32_t i = 0; i < 3; i++) {
        guests[i].id = i;
        guests[i].stats = &stats[i];
        strcpy(guests[i].name, names[i]);
        atomic_store(&stats[i].status, GUEST_RUNNING);
        console_attach(&guests[i], i < 2);
    }
    return 0;
}

/* Each line is one guest's; whoever has begun one goes on byte by byte. */
static void lines(void **state)
{
    (void)state;
    guest(0, "one\r\ntw");
    shows("a: one\r\na: tw");
    guest(1, "first\nsecond\npart");
    shows("");
    guest(0, "o");
    shows("o");
    guest(0, "\n");
    shows("\nbee: first\nbee: second\nbee: part");
    guest(0, "three\n");
    guest(1, "ly\n");
    shows("ly\na: three\n");
}

/* A prompt gives way after a while, at the alarm or at the next byte. */
static void prompts(void **state)
{
    (void)state;
    ring(); /* what an earlier line set */
    alarms = 0;
    guest(0, "login: ");
    guest(1, "x");
    shows("a: login: ");
    assert_int_equal(alarms, 1);
    ring();
    shows("");
    assert_int_equal(alarms, 2);
    wait_ms(250);
    ring();
    shows("\nbee: x");
    assert_int_equal(alarms, 2);
    wait_ms(250);
    guest(0, "root\n");
    guest(1, "y\n");
    shows("\na: root\nbee: y\n");
}

/* What does not fit any more is not lost, and does not wait. */
static void overflow(void **state)
{
    size_t n = 0;

    (void)state;
    guest(0, "...");
    for (int i = 0; i < 3000; i++)
        guest(1, "0\n");
    guest(0, "!\n");
    out[out_len] = '\0';
    for (const char *p = out; (p = strstr(p, "bee: 0\n")); p++)
        n++;
    assert_int_equal(n, 3000);
    assert_memory_equal(out, "a: ...\nbee: 0\n", 14);
    assert_non_null(strstr(out, "\na: !\n"));
    out_len = 0;
}

/* A line of EL2 stands alone, and cuts nobody's in two; after one that it ended between CR and LF no empty line comes. */
static void own_lines(void **state)
{
    (void)state;
    ring();
    alarms = 0;
    guest(0, "half");
    log_line("%s", "news");
    shows("a: half");
    assert_int_equal(alarms, 1);
    guest(0, "\r");
    console_say("%d", 7);
    guest(0, "\nnext\n");
    shows("\r\n[mw] news\n[mw] 7\na: next\n");
    guest(0, "prompt\r");
    log_line("late");
    wait_ms(250);
    ring();
    shows("a: prompt\r\n[mw] late\n");
    guest(0, "\nnext\n");
    shows("a: next\n");
}

/* What a person types at the monitor is one more line, and an EL2 line that comes meanwhile ends it. */
static void echo(void **state)
{
    (void)state;
    ring();
    console_echo('l');
    console_echo('i');
    guest(0, "text");
    shows("[mw] li");
    log_line("news");
    shows("\n[mw] news\na: text");
    console_echo('s');
    shows("");
    guest(0, "\n");
    shows("\n[mw] s");
    wait_ms(250);
    guest(0, "x\n");
    shows("\na: x\n");
    console_echo('\n'); /* the line that is over has ended */
    shows("");
    log_line("end");
    shows("[mw] end\n");
}

/* A guest that looks at its FIFO does not write what has no room, and goes on when it has. */
static void flow_control(void **state)
{
    (void)state;
    guest(0, "...");
    for (int i = 0; i < 2048; i++) {
        assert_false(guests[1].uart.full(&guests[1]));
        guest(1, "0\n");
    }
    assert_true(guests[1].uart.full(&guests[1]));
    shows("a: ...");
    guest(0, "!\n");
    assert_false(guests[1].uart.full(&guests[1]));
    out_len = 0;
    guest(0, "...");
    for (int i = 0; i < 2048; i++)
        guest(1, "0\n");
    assert_true(guests[1].uart.full(&guests[1]));
    wait_ms(250);
    assert_false(guests[1].uart.full(&guests[1])); /* for somebody else's prompt it need not wait for ever */
    guest(0, "\n");
    out_len = 0;
}

/* A panic waits for nobody; what EL2 had to say before comes first. */
static void panics(void **state)
{
    (void)state;
    guest(0, "half");
    log_line("news");
    log_panic_line("panic: %d", 1);
    shows("a: half\n[mw] news\n[mw] panic: 1\n");
}

/* A guest that ends waits for the end of another's line, and its own line ends with it. */
static void ended(void **state)
{
    (void)state;
    guest(0, "\n");
    out_len = 0;
    guest(0, "end");
    guest(1, "of both");
    console_ended(&guests[1]);
    shows("a: end");
    guest(0, "s\n");
    shows("s\nbee: of both\n");
}

/* Last of all. */
static void the_end(void **state)
{
    (void)state;
    guest(0, "half");
    guest(1, "other\nhalf");
    log_line("news");
    console_end();
    shows("a: half\nbee: other\nbee: half\n[mw] news\n");
}

/* Who has no name is alone: its bytes come as they are. */
static void alone(void **state)
{
    (void)state;
    guest(2, "x\r\n\n\0y");
    guest(2, "\ry");
    log_line("news");
    guest(2, "z\n");
    shows("x\r\n\n\ry\n[mw] news\nz\n");
}

static void input(void **state)
{
    (void)state;
    room[0] = room[1] = 4096;
    in = "ab\x1d"
         "2cd\x1d"
         "1\x1d\x1d"
         "e\x1d"
         "xf\x1d"
         "9\x1d"
         "mlist\n\x1d"
         "2g";
    serve();
    assert_memory_equal(got[0],
                        "ab\x1d"
                        "e\x1dxf\x1d"
                        "9",
                        9);
    assert_memory_equal(got[1], "cdg", 3);
    assert_memory_equal(commands, "list\n", 5);
    assert_true(got_len[0] == 9 && got_len[1] == 3 && commands_len == 5);
    assert_true(rx_on);
    out_len = 0;
}

/* A guest that does not read: what it has no room for waits, in order, and the escape key works behind it. */
static void backlog(void **state)
{
    static char text[400];

    (void)state;
    memset(text, 'q', 100);
    strcpy(&text[100], "\x1d"
                       "1z");
    room[1] = 16;
    got_len[0] = got_len[1] = 0;
    in = text;
    serve();
    assert_true(got_len[1] == 16 && got_len[0] == 1 && got[0][0] == 'z' && rx_on);
    room[1] = 1000;
    guests[1].uart.more();
    assert_int_equal(got_len[1], 100);

    memset(text, 'w', 399);
    room[0] = 0;
    in = text;
    serve();
    assert_false(rx_on);
    assert_true(*in != '\0'); /* stays with the sender */
    room[0] = 1000;
    serve();
    assert_int_equal(got_len[0], 1 + 399);
    assert_true(rx_on);

    room[0] = 0;
    in = text;
    atomic_store(&stats[0].status, GUEST_OFF); /* nobody will ever read this */
    serve();
    assert_true(rx_on && *in == '\0');
    out_len = 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines),     cmocka_unit_test(prompts), cmocka_unit_test(overflow),
        cmocka_unit_test(own_lines), cmocka_unit_test(echo),    cmocka_unit_test(flow_control),
        cmocka_unit_test(alone),     cmocka_unit_test(input),   cmocka_unit_test(backlog),
        cmocka_unit_test(panics),    cmocka_unit_test(ended),   cmocka_unit_test(the_end),
    };

    return cmocka_run_group_tests(tests, set_up, NULL);
}
