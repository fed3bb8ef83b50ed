/* SPDX-License-Identifier: BSD-2-Clause */
#include "hyp/console.h"

#include "dev/gic.h"
#include "dev/pl011.h"
#include "hyp/monitor.h"
#include "lib/arch.h"
#include "lib/log.h"
#include "lib/spinlock.h"
#include "lib/string.h"
#include "vcpu/irq.h"

#define ESCAPE 0x1d     /* Ctrl-]; the launcher's own is Ctrl-A */
#define HELD_MAX 4096   /* bytes that wait for somebody else's line to end */
#define ROUNDS 4        /* looks for bytes of others before a core goes back to its own guest */
#define BACKLOG_MAX 256 /* bytes of input that a guest has no room for yet */
#define STANDING_MS \
    200 /* a line without a new byte for so long is a prompt, and not a core that its host has stopped */

/*
 * Somebody who writes: a guest, or EL2. The bytes of EL2 and of a named guest go through `held`: a guest's own vCPUs put
 * them there under their UART's lock, EL2's are put there under the transmitter's; whoever has the transmitter takes them
 * out. So no core waits for another's output.
 */
struct writer {
    char prefix[40];   /* of each line; empty: its bytes pass as they are, at once */
    bool line_is_over; /* its line was closed where it wants to write LF next: that LF has been written */
    _Atomic bool alarmed;
    _Atomic bool ended; /* it writes no more: its last line ends with its last byte */
    _Atomic uint32_t head, tail;
    char held[HELD_MAX];
};

struct seat {
    struct vm *vm;
    struct writer out;
    uint8_t backlog[BACKLOG_MAX];
    uint32_t backlog_head, backlog_count;
};

static spinlock_t lock; /* guards the transmitter: what follows, `head` and `line_is_over` of all, all of `own` */
static struct writer own = {.prefix = "[mw] "}; /* EL2's lines, and what the monitor and its person are writing */
static bool own_begun;                          /* the last byte of `own` is not the end of a line */
static struct writer *open;                     /* whose line the transmitter is in; NULL: at the start of one */
static char last;                               /* byte of it */
static ticks_t last_at;

static spinlock_t input_lock; /* guards the rest; one core at a time moves bytes: they stay in order */
static uint32_t input;        /* the seat that input goes to */
static bool escaped, in_monitor;

static struct seat seats[MAX_GUESTS];
static uint32_t seat_count RO_AFTER_INIT;
static bool present RO_AFTER_INIT;
static uint32_t uart_intid RO_AFTER_INIT;

/* ---- output */

static void put_all(const char *s, size_t n)
{
    while (n--)
        pl011_put(*s++);
}

static void close_line(void)
{
    if (!open)
        return;
    pl011_put('\n');
    open->line_is_over = last == '\r' || open == &own;
    open = NULL;
}

/* The line that is open is w's own, or none is. */
static void emit(struct writer *w, char c)
{
    if (w->line_is_over && !open) {
        w->line_is_over = false;
        if (c == '\n')
            return;
    }
    if (!open)
        put_all(w->prefix, strlen(w->prefix));
    pl011_put(c);
    open = c == '\n' ? NULL : w;
    last = c;
    if (w->prefix[0])
        last_at = counter_ticks();
}

/* A guest without a name makes nobody wait. */
static bool standing(void)
{
    int64_t ticks;

    if (!open->prefix[0])
        return true;
    ticks = (int64_t)(counter_ticks().v - last_at.v); /* negative where another core's counter is a little ahead */
    return ticks > 0 && ticks_ns((uint64_t)ticks) >= STANDING_MS * 1000000u;
}

static bool waits(const struct writer *w)
{
    return atomic_load_explicit(&w->head, memory_order_relaxed) != atomic_load_explicit(&w->tail, memory_order_acquire);
}

static bool has_ended(const struct writer *w)
{
    return atomic_load_explicit(&w->ended, memory_order_acquire);
}

static bool anybody_waits(void)
{
    bool any = waits(&own);

    for (uint32_t i = 0; i < seat_count; i++)
        any = any || waits(&seats[i].out);
    return any;
}

static void emit_held(struct writer *w)
{
    bool ended = has_ended(w); /* before the look for bytes: there are none after the ones seen then */
    uint32_t tail = atomic_load_explicit(&w->tail, memory_order_acquire);
    uint32_t head = atomic_load_explicit(&w->head, memory_order_relaxed);

    for (; head != tail; head++)
        emit(w, w->held[head % HELD_MAX]);
    atomic_store_explicit(&w->head, head, memory_order_release);
    if (open == w && ended)
        close_line();
}

/* The line that was begun goes on; between two lines all others have their turn, until one leaves its own open. */
static void pump(void)
{
    static uint32_t turn;

    if (open && (waits(open) || has_ended(open)))
        emit_held(open);
    if (open && anybody_waits() && standing())
        close_line();
    if (!open)
        emit_held(&own);
    for (uint32_t i = 0; i < seat_count && !open; i++) {
        turn = (turn + 1) % seat_count;
        emit_held(&seats[turn].out);
    }
}

/* How many bytes guests have had held, in all. */
static uint32_t written(void)
{
    uint32_t n = 0;

    for (uint32_t i = 0; i < seat_count; i++)
        n += atomic_load_explicit(&seats[i].out.tail, memory_order_acquire);
    return n;
}

/*
 * Who finds the transmitter taken does not wait for it (guest_put): its owner looks again after it has let go. Not for
 * ever, since it has a guest of its own to run; what is left has an alarm.
 */
static void let_go(void)
{
    for (uint32_t rounds = 0; rounds < ROUNDS; rounds++) {
        uint32_t seen = written();

        pump();
        spin_unlock(&lock);
        dmb_ish(); /* the release before the look: pairs with the one in guest_put() */
        if (written() == seen || !spin_try(&lock))
            return;
    }
    spin_unlock(&lock);
}

static void arm(struct writer *w)
{
    if (!atomic_exchange_explicit(&w->alarmed, true, memory_order_relaxed))
        irq_alarm(STANDING_MS);
}

/* It has no room to wait in any more, or no time: whose line is open gives way. */
static void force(struct writer *w)
{
    if (open != w)
        close_line();
    emit_held(w);
}

/* Whoever is alone: at once. */
static void write_now(struct writer *w, char c)
{
    spin_lock(&lock);
    if (open != w)
        close_line();
    emit(w, c);
    let_go();
}

/* Rings on a core that wrote, or whose guest did, and was held back: nobody may have written since. */
static void alarm(void)
{
    struct writer *w = &seats[this_vcpu()->vm->id].out;

    atomic_store_explicit(&w->alarmed, false, memory_order_relaxed);
    atomic_store_explicit(&own.alarmed, false, memory_order_relaxed);
    spin_lock(&lock);
    let_go();
    if (anybody_waits()) /* for whoever is still held back: another's alarm may have been this one */
        arm(w);
}

static void own_hold(char c)
{
    uint32_t tail = atomic_load_explicit(&own.tail, memory_order_relaxed);

    if (tail - atomic_load_explicit(&own.head, memory_order_relaxed) == HELD_MAX)
        force(&own);
    own.held[tail % HELD_MAX] = c;
    atomic_store_explicit(&own.tail, tail + 1, memory_order_release);
    own_begun = c != '\n';
}

/* With the lock, which is given back. */
static void own_held(void)
{
    let_go();
    if (waits(&own))
        arm(&own);
}

/* EL2's own line: it does not cut a guest's in two, and what a person was typing stays in a line before it. */
static void own_line(const char *s, size_t n)
{
    spin_lock(&lock);
    if (!open && !waits(&own)) { /* as it is while EL2 starts, where each instruction counts */
        put_all(own.prefix, strlen(own.prefix));
        put_all(s, n);
    } else {
        if (own_begun)
            own_hold('\n');
        while (n--)
            own_hold(*s++);
    }
    own_held();
}

/* At once, and without the lock: whoever has it may never let go again. */
static void panic_line(const char *s, size_t n)
{
    force(&own);
    close_line();
    put_all(own.prefix, strlen(own.prefix));
    put_all(s, n);
}

static const struct log_sink sink = {.line = own_line, .panic_line = panic_line};

void console_end(void)
{
    if (!present)
        return;
    while (!spin_try(&lock)) /* for good: nobody writes after this. Not spin_lock(), which is for EL2 alone */
        cpu_relax();
    for (uint32_t i = 0; i < seat_count; i++)
        force(&seats[i].out);
    force(&own);
    close_line();
}

static bool is_full(const struct writer *w)
{
    return atomic_load_explicit(&w->tail, memory_order_relaxed) -
               atomic_load_explicit(&w->head, memory_order_acquire) ==
           HELD_MAX;
}

/*
 * Flow control for a guest that looks at it: its transmit FIFO is full while others' output is before its own. Another
 * one's bytes are shown in any case, in place of an open line.
 */
static bool guest_full(struct vm *vm)
{
    struct writer *w = &seats[vm->id].out;

    if (!is_full(w))
        return false;
    if (spin_try(&lock))
        let_go();
    if (!is_full(w))
        return false;
    arm(w);
    return true;
}

static void guest_put(struct vm *vm, char c)
{
    struct writer *w = &seats[vm->id].out;
    uint32_t tail;

    if (!present)
        return;
    if (!w->prefix[0]) {
        write_now(w, c);
        return;
    }
    if (is_full(w)) {
        spin_lock(&lock);
        force(w);
        let_go();
    }
    tail = atomic_load_explicit(&w->tail, memory_order_relaxed);
    w->held[tail % HELD_MAX] = c;
    atomic_store_explicit(&w->tail, tail + 1, memory_order_release);
    dmb_ish(); /* the byte before the try: pairs with the one in let_go() */
    if (spin_try(&lock))
        let_go();
    if (waits(w))
        arm(w);
}

void console_ended(struct vm *vm)
{
    struct writer *w = &seats[vm->id].out;

    if (!present)
        return;
    atomic_store_explicit(&w->ended, true, memory_order_release);
    spin_lock(&lock);
    let_go();
    if (waits(w))
        arm(w);
}

void console_say(const char *fmt, ...)
{
    char line[160];
    va_list ap;
    size_t n;

    va_start(ap, fmt);
    n = vformat(line, sizeof(line) - 1, fmt, ap);
    va_end(ap);
    line[n++] = '\n';
    own_line(line, n);
}

void console_echo(char c)
{
    spin_lock(&lock);
    own_hold(c);
    own_held();
}

/* ---- input */

static bool is_over(const struct seat *s)
{
    return atomic_load_explicit(&s->vm->stats->status, memory_order_relaxed) != GUEST_RUNNING;
}

static void deliver(struct seat *s)
{
    while (s->backlog_count && vuart_input(s->vm, &s->backlog[s->backlog_head], 1)) {
        s->backlog_head = (s->backlog_head + 1) % BACKLOG_MAX;
        s->backlog_count--;
    }
    if (is_over(s))
        s->backlog_count = 0;
}

static void to_guest(uint8_t c)
{
    struct seat *s = &seats[input];

    if (s->backlog_count == BACKLOG_MAX) /* an escape that was none takes the room of two */
        return;
    s->backlog[(s->backlog_head + s->backlog_count++) % BACKLOG_MAX] = c;
    deliver(s);
}

static void after_escape(uint8_t c)
{
    if (c == 'm') {
        in_monitor = true;
        monitor_open();
    } else if (c >= '1' && c <= '9' && (uint32_t)(c - '1') < seat_count) {
        in_monitor = false;
        input = (uint32_t)(c - '1');
        log_line("input goes to %s", seats[input].vm->name);
    } else if (!in_monitor) {
        if (c != ESCAPE)
            to_guest(ESCAPE);
        to_guest(c);
    }
}

static void key(uint8_t c)
{
    if (escaped) {
        escaped = false;
        after_escape(c);
    } else if (c == ESCAPE) {
        escaped = true;
    } else if (in_monitor) {
        in_monitor = monitor_key((char)c);
    } else {
        to_guest(c);
    }
}

static bool room_for_key(void)
{
    return in_monitor || seats[input].backlog_count + 2 <= BACKLOG_MAX;
}

/*
 * The RX interrupt, or room in a guest's FIFO again. A guest that does not read has a backlog, so that the escape key
 * works behind it. What is beyond that stays in the physical FIFO, with the interrupt off until the guest has read: so
 * nothing is lost as long as the sender minds flow control.
 */
static void serve_input(void)
{
    uint8_t c;

    spin_lock(&input_lock);
    for (uint32_t i = 0; i < seat_count; i++)
        deliver(&seats[i]);
    while (room_for_key() && pl011_get(&c))
        key(c);
    pl011_rx_interrupt(room_for_key());
    spin_unlock(&input_lock);
}

void console_input(const struct vm *vm)
{
    input = vm->id;
}

bool console_has_input(const struct vm *vm)
{
    return seats[input].vm == vm;
}

/* ---- start */

void console_init(pa_t uart, uint32_t intid)
{
    pl011_init(uart);
    uart_intid = intid;
    present = true;
    log_set_sink(&sink);
}

void console_attach(struct vm *vm, bool named)
{
    struct seat *s = &seats[vm->id];

    s->vm = vm;
    if (named)
        format(s->out.prefix, sizeof(s->out.prefix), "%s: ", vm->name);
    seat_count = vm->id + 1;
    vm->uart.put = guest_put;
    vm->uart.full = named ? guest_full : NULL;
    if (!present || !uart_intid)
        return;
    vm->uart.more = serve_input;
    irq_route_spi(uart_intid, serve_input);
    irq_on_alarm(alarm);
}

void console_start(void)
{
    if (!present || !uart_intid)
        return;
    gic_enable_spi(uart_intid, false);
    serve_input();
}
