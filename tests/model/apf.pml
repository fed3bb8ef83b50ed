/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Asynchronous page faults, as vcpu/apf.c, mm/fault.c, mm/populate.c and guest/linux/park.c have them, for Spin. One vCPU with
 * its ring; two tasks that touch up to two pages each, in opposite order. A task takes its faults on that vCPU, but its
 * handler may go on on another. Memory is sequentially consistent here: a line is a load or a store, and the order of the lines
 * is what the barriers in the code are for.
 *
 * What holds: each task comes to its end; a sleeper is woken once; the ring never overflows; a token is answered once, or is
 * taken back, or is void; an event that is kept is of a task that is yet to come.
 *
 * -DBREAK=n breaks one rule, and Spin is to find it:
 *   1  the guest does not look at the producer index again after it has stored its own
 *   2  the hypervisor reads the consumer index before it stores its own
 *   3  an event whose task is not asleep yet is dropped
 *   4  the waiter's name is put on the list after the look at the descriptor
 *   5  the helper takes the waiters before it counts the round
 *   6  no room in the ring is reserved when a token is given
 *   7  neither side wakes all when this is turned off
 *   8  a token of before ENABLE is taken for one of now
 *   9  WAIT looks at the token and takes it back in two steps
 *   10 WAIT says TOLD of a token that is about to be told of, but is not in the ring yet
 *   11 a signal of a request that is not over is the last
 *   12 ENABLE does not say which tokens were before (they count from 1 again)
 */
#ifndef BREAK
#define BREAK 0
#endif
#ifndef ODD
#define ODD 1
#endif
#ifndef OFF
#define OFF 1
#endif
#ifndef RESET
#define RESET 1
#endif
#ifndef LAST
#define LAST 4
#endif
#ifndef TOUCHES
#define TOUCHES 2
#endif
#ifndef RING
#define RING 2
#endif

#define TASKS 2
#define PAGES 2
#define SLOTS 2 /* faults that are told of at once */
#define ALL 15  /* the token of a WAKE_ALL */
#define TELLING 14
#if BREAK == 6
#define may_tell (on && given < LAST && produced - consumer < RING && !(out[0] && out[1]))
#else
#define may_tell (on && given < LAST && produced - consumer + held < RING)
#endif
#if RESET
#define MORTAL unless { gone }
#else
#define MORTAL
#endif
#define BIT(n) (1 << (n))

/*
 * -DRING: its entries; -DTOUCHES: pages of each task; -DLAST: tokens, after which a vCPU waits for its pages; -DODD: how often
 * a page is given up, reclaimed, or starved instead of coming; -DOFF, -DRESET: it may be turned off, and on again; reset.
 * All at once are too many states: tests/model/run_model.py has them by turns.
 */

/* ---- the hypervisor's */
mtype = { ABSENT, IN_FLIGHT, PRESENT };
mtype desc[PAGES] = ABSENT;
bool busy[PAGES];    /* the page's request; its number is the page's */
bool waiter[PAGES];  /* of the request: our core */
byte round[PAGES];   /* of the request */
bool signal;         /* pending at our core */
byte odd = ODD;        /* how often a page does something but come */

bool el2;            /* our core is at EL2: one thing at a time */
bool on = true;
byte tok[SLOTS];     /* 0: nobody is owed an answer */
bool out[SLOTS];     /* not seen to end yet */
byte slot_page[SLOTS], slot_round[SLOTS];
byte held, given, produced;

/* ---- shared */
byte ring[RING];
byte producer, consumer;
bool irq;

/* ---- the guest's, under its lock */
bool lock;
bool has_page = true;
byte after;
byte sleeps[TASKS];  /* for that token */
byte early;          /* tokens, as bits */
bool done[TASKS];

/* ---- what is only for the properties */
byte cur[TASKS];     /* the token in the task's hands */
byte open;           /* tokens that are neither answered, nor taken back, nor void, as bits */
byte ended;
bool gone;           /* the guest was reset, or its vCPU turned off */

inline take(l) { atomic { !l -> l = true } }
inline give(l) { l = false }

/* ---- the helper */

inline wake(p)
{
    atomic { signal = signal || waiter[p]; waiter[p] = false }
}

active proctype helper()
{
    byte p;

end:
    do
    :: atomic { desc[0] == IN_FLIGHT -> p = 0; goto fill }
    :: atomic { desc[1] == IN_FLIGHT -> p = 1; goto fill }
    :: atomic { odd && desc[0] == PRESENT && !busy[0] -> odd--; desc[0] = ABSENT } /* reclaimed */
    od;
fill:
    if
    :: atomic { odd -> odd--; wake(p); goto fill } /* starved: no frame yet */
    :: atomic { odd -> odd--; desc[p] = ABSENT } /* given up: try again */
    :: desc[p] = PRESENT
    fi;
#if BREAK == 5
    wake(p);
    atomic { round[p]++; busy[p] = false; p = 0; goto end }
#else
    round[p]++;
    atomic { wake(p); busy[p] = false; p = 0; goto end }
#endif
}

/* ---- EL2, on the vCPU's own core */

inline push(t)
{
    atomic {
        assert(on && produced - consumer < RING);
        ring[produced % RING] = t;
        produced++;
        if
        :: t == ALL /* of tokens that are void when they are cleared */
        :: else ->
            assert(open & BIT(t)); /* answered once, and not when taken back */
            open = open & ~BIT(t)
        fi
    }
}

inline publish(before, seen)
{
    if
    :: produced != before ->
#if BREAK == 2
        seen = consumer;
        producer = produced;
#else
        producer = produced;
        seen = consumer;
#endif
        if
        :: produced - seen <= produced - before -> irq = true
        :: else
        fi
    :: else
    fi
}

/* Its ticket has ended? */
inline look(n, over)
{
    over = round[slot_page[n]] != slot_round[n];
    if
    :: !over ->
        atomic {
            again = !waiter[slot_page[n]];
#if BREAK != 11
            waiter[slot_page[n]] = true
#endif
        }
        if
        :: again -> over = round[slot_page[n]] != slot_round[n]
        :: else
        fi
    :: else
    fi
}

inline clear()
{
    atomic {
        tok[0] = 0;
        tok[1] = 0;
        out[0] = false;
        out[1] = false;
        slot_page[0] = 0;
        slot_page[1] = 0;
        slot_round[0] = 0;
        slot_round[1] = 0;
        held = 0;
        on = false;
        open = 0
    }
}

active proctype core()
{
    byte n, t, before, seen;
    bool over, again;

end:
    do
    :: atomic { signal && !el2 -> el2 = true; signal = false; before = produced; n = 0 }
        do
        :: n < SLOTS && out[n] ->
            look(n, over);
            atomic {
                if
                :: over ->
                    out[n] = false;
                    slot_page[n] = 0;
                    slot_round[n] = 0;
                    held--;
                    t = tok[n];
#if BREAK == 10
                    tok[n] = 0;
#else
                    tok[n] = (t -> TELLING : 0);
#endif
                    if
                    :: t -> push(t)
                    :: else
                    fi
                :: else
                fi;
                over = false; again = false; t = 0; n++
            }
        :: n < SLOTS && !out[n] -> n++
        :: n == SLOTS -> break
        od;
        publish(before, seen);
        atomic {
            tok[0] = (tok[0] == TELLING -> 0 : tok[0]);
            tok[1] = (tok[1] == TELLING -> 0 : tok[1]);
            n = 0; t = 0; before = 0; seen = 0;
            el2 = false
        }
    od
}

/* ---- the guest: events */

inline awake(s)
{
    assert(sleeps[s] && !done[s]);
    sleeps[s] = 0;
    done[s] = true
}

inline wake_all()
{
    atomic {
        if
        :: sleeps[0] -> awake(0)
        :: else
        fi;
        if
        :: sleeps[1] -> awake(1)
        :: else
        fi;
        early = 0
    }
}

inline answer(e)
{
    atomic {
        if
        :: e == ALL -> wake_all()
        :: e != ALL && sleeps[0] == e -> awake(0)
        :: e != ALL && sleeps[1] == e -> awake(1)
        :: else ->
#if BREAK != 3
            assert(cur[0] == e || cur[1] == e); /* or it would be kept for ever */
            early = early | BIT(e)
#endif
        fi
    }
}

/* What an entry does is seen by nobody but who takes the lock. */
inline read_ring(at, to)
{
    atomic {
        if
        :: has_page -> at = consumer; to = producer
        :: else
        fi
    }
    do
    :: atomic { at != to ->
            do
            :: at != to -> answer(ring[at % RING]); ring[at % RING] = 0; at++
            :: else -> break
            od
        }
        consumer = at;
#if BREAK != 1
        to = producer
#endif
    :: atomic { at == to -> at = 0; to = 0; break }
    od
}

active proctype interrupt()
{
    byte at, to;

#if RESET
    {
end:
#else
end:
#endif
        do
        :: atomic { irq && !lock -> irq = false; lock = true }
            read_ring(at, to);
            give(lock)
        od
#if RESET
    } unless { gone }
#endif
}

/* ---- the guest: a task */

/* At EL2 on our core, for the page p. token: what the abort says, or 0 if there was none. */
inline fault(p, token)
{
    atomic {
        !el2 -> el2 = true;
        if
        :: desc[p] == ABSENT && !busy[p] -> busy[p] = true; desc[p] = IN_FLIGHT
        :: desc[p] == IN_FLIGHT && may_tell -> asks = true
        :: else
        fi;
        if
        :: asks
        :: else -> el2 = false
        fi
    }
    if
    :: asks ->
#if BREAK == 4
        now = round[p];
        seen = desc[p] == IN_FLIGHT;
        waiter[p] = true;
#else
        waiter[p] = true;
        now = round[p];
        seen = desc[p] == IN_FLIGHT;
#endif
        atomic {
            if
            :: seen ->
                slot = (out[0] -> 1 : 0);
                assert(!out[slot] && !tok[slot]);
                given++;
                token = given;
                slot_page[slot] = p;
                slot_round[slot] = now;
                tok[slot] = token;
                out[slot] = true;
                held++;
                open = open | BIT(token);
                cur[me] = token;
#if BREAK != 6
                assert(produced - consumer + held <= RING)
#endif
            :: else
            fi;
            asks = false; now = 0; seen = false;
            el2 = false
        }
    :: else ->
        desc[p] != IN_FLIGHT || may_tell /* it waits there */
    fi
}

inline came_early(token)
{
    read_ring(at, to);
    atomic { hit = (early & BIT(token)) != 0; early = early & ~BIT(token) }
}

inline leave() { cur[me] = 0; token = 0; slot = 0; hit = false }

inline park()
{
    atomic {
        !lock -> lock = true;
#if BREAK == 8
        hit = !has_page;
#else
        hit = !has_page || token <= after; /* turned off since */
#endif
    }
    if
    :: hit
    :: else -> came_early(token)
    fi;
    atomic {
        if
        :: hit
        :: else -> sleeps[me] = token
        fi;
        lock = false
    }
    atomic {
        hit || done[me] -> done[me] = false;
        leave()
    }
}

/* It may be on another core. On ours it would not meet the hypervisor's other work there, so this is the harder case. */
inline wait_there()
{
#if BREAK == 9
    hit = tok[slot] == token;
    atomic {
        if
        :: hit -> tok[slot] = 0
        :: else
        fi;
#else
    atomic {
        tok[slot] != TELLING -> hit = tok[slot] == token;
#endif
        if
        :: hit -> /* TAKEN. The wait may end before the page is there, by an interrupt */
            tok[slot] = 0;
            assert(open & BIT(token));
            open = open & ~BIT(token);
            leave()
        :: else /* TOLD */
        fi
    }
    if
    :: token ->
        take(lock);
        came_early(token);
        atomic { lock = false; leave() }
    :: else
    fi
}

active [TASKS] proctype task()
{
    byte me = _pid - 3;
    byte touched, token, slot, at, to, now;
    bool hit, asks, seen;

    {
        do
        :: touched < TOUCHES ->
            fault((me + touched) % PAGES, token);
            if
            :: token ->
                if
                :: park()
                :: wait_there()
                fi
            :: !token && desc[(me + touched) % PAGES] == PRESENT -> touched++
            :: else
            fi
        :: touched == TOUCHES -> break
        od;
        ended++
    } MORTAL
}

/* ---- the guest: off, and on again. On our CPU, interrupts off. */

#if OFF
active proctype off_and_on()
{
    byte at, to, before, seen;

    {
        if
        :: true -> goto left
        :: take(lock)
        fi;
        atomic { !el2 -> el2 = true;
            before = produced;
#if BREAK != 7
            if
            :: out[0] || out[1] -> push(ALL) /* there is room */
            :: else
            fi;
#endif
        }
        publish(before, seen);
        atomic { clear(); before = 0; seen = 0; el2 = false }
        read_ring(at, to);
        atomic {
#if BREAK != 7
            wake_all();
#endif
            has_page = false;
            lock = false
        }

        if
        :: true -> goto left
        :: true
        fi;
        atomic { !lock && !el2 ->
            on = true;
            producer = 0;
            consumer = 0;
            produced = 0;
#if BREAK == 12
            given = 0;
            after = 0;
#else
            after = given;
#endif
            has_page = true
        }
left:
        skip
    } MORTAL
}

#endif

/* ---- reset or CPU_OFF: at any moment, or never */

#if RESET
active proctype reset()
{
    if
    :: true
    :: atomic { !el2 -> clear(); gone = true }
    fi
}

#endif

/* ---- when nothing more can happen */

active proctype rest()
{
    timeout ->
    assert(!open && !held);
    assert(gone || (ended == TASKS && !early && !irq && (!on || producer == consumer)))
}
