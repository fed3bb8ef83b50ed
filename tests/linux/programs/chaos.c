/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Disorder in a Linux guest whose RAM comes and goes, for AArch64 and AArch32.
 *
 *   chaos work [seed=N] [for=MS] [rounds=N] [workers=N] [pages=N]
 *
 * Workers, each with memory of its own, do at random what touches it: loads and stores, code, copies by pipe and file, signals on
 * stacks in it, futexes in it, process_vm_readv and _writev, fork, exec of themselves, children that are killed, mappings that go and
 * come. Meanwhile their parent signals, stops and continues them, and a timer interrupts them. What a worker does follows from its seed,
 * so does each word that it reads. It looks at each of them and makes a sum of all. In the end the parent does the same without
 * touching anything, as many rounds as the worker says, and must come to the same sum.
 *
 * Exits with 1 if something is WRONG.
 */
#include "chaos.h"

#include <linux/futex.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/wait.h>

#define BITS (sizeof(void *) == 8 ? "64" : "32")
#define PAGE 4096u
#define WORDS 8u /* that are looked at, of a page */
#define RUN 4u   /* pages whose mapping goes and comes */
#define PIPED 4u /* pages at a time; a pipe holds 16 */
#define STACK (4 * PAGE)
#define STACKS 48u
#define SLOTS 24u
#define MAX_WORKERS 32u
#define RESULT_FD 30
#define GRACE_MS 60000u

/* ---- what a worker is */

static bool dry; /* everything but the memory and the kernel */
static uint64_t sum, rounds, seed;
static uint32_t id;

static void am(uint32_t n)
{
    id = n;
    snprintf(who, sizeof(who), "worker %u of %s bits", n, BITS);
}

static void take(const char *what, uint64_t at, uint64_t got, uint64_t want)
{
    if (got != want)
        wrong(what, at);
    sum = mix(sum ^ got);
}

/* ---- memory: each page has a stamp, and its words follow from that. 0: nobody has written it, and it is zero. */

struct zone {
    uint8_t *at;
    uint32_t pages;
    uint64_t *stamp;
};

static struct zone own, code, far, file; /* `far` is the partner's, `file` is one */
static uint8_t *still;                   /* filled once, for handlers */
static uint8_t *stacks;
static uint64_t given; /* stamps */

static uint64_t word(uint64_t stamp, unsigned w)
{
    return stamp ? mix(stamp + w) | 1 : 0;
}

static volatile uint64_t *place(const uint8_t *page, unsigned w)
{
    return (volatile uint64_t *)(uintptr_t)(page + w * (PAGE / WORDS) + 64);
}

static uint8_t *page_of(const struct zone *z, uint32_t page)
{
    return z->at + (size_t)page * PAGE;
}

static void write_page(uint8_t *page, uint64_t stamp)
{
    for (unsigned w = 0; w < WORDS; w++)
        *place(page, w) = word(stamp, w);
}

static void look(const char *what, const struct zone *z, uint32_t page, unsigned w)
{
    const uint64_t want = word(z->stamp[page], w);
    take(what, page, dry ? want : *place(page_of(z, page), w), want);
}

static void store(struct zone *z, uint32_t page)
{
    z->stamp[page] = mix(seed ^ ++given << 8) | 1;
    if (!dry)
        write_page(page_of(z, page), z->stamp[page]);
}

static uint8_t *map(size_t size, int protection, int flags)
{
    uint8_t *at = mmap(NULL, size, PROT_READ | PROT_WRITE | protection, MAP_ANONYMOUS | flags, -1, 0);
    MUST(at != MAP_FAILED, "mmap");
    madvise(at, size, MADV_NOHUGEPAGE);
    return at;
}

/* ---- code: a page begins with a return, then a function; another one begins in its last word and ends in the next page */

#ifdef __aarch64__
#define RETURN 0xd65f03c0u
#define MOVE(n) (0x52800000u | (uint32_t)(n) << 5)
#else
#define RETURN 0xe12fff1eu
#define MOVE(n) (0xe3000000u | ((uint32_t)(n) >> 12) << 16 | ((uint32_t)(n) & 0xfff))
#endif

static void write_code(uint32_t page)
{
    code.stamp[page] = mix(seed ^ ++given << 8) | 1;
    if (dry)
        return;
    volatile uint32_t *at = (volatile uint32_t *)(uintptr_t)page_of(&code, page);
    at[0] = RETURN;
    at[2] = MOVE(word(code.stamp[page], 0) & 0xffff);
    at[3] = RETURN;
    at[PAGE / 4 - 1] = MOVE(word(code.stamp[page], 1) & 0xffff);
    __builtin___clear_cache((char *)page_of(&code, page), (char *)page_of(&code, page + 1));
}

static void run_code(uint32_t page, unsigned w)
{
    const uint32_t want = word(code.stamp[page], w) & 0xffff;
    take("code", page, dry ? want : ((uint32_t(*)(void))(uintptr_t)(page_of(&code, page) + (w ? PAGE - 4 : 8)))(), want);
}

/* ---- a partner: waits for a request in one slot after another, each in a page of its own */

struct slot {
    _Atomic uint32_t state; /* 0, 1: asked, 2: answered */
    uint32_t page, w, next;
    uint64_t value;
};

#define END UINT32_MAX

struct channel {
    uint8_t *slots;
    uint32_t at;
    int shared; /* of FUTEX_WAIT and _WAKE */
    const struct zone *zone;
};

static struct channel process, thread;
static pid_t partner;

static struct slot *slot_of(const struct channel *c, uint32_t n)
{
    return (struct slot *)(uintptr_t)(c->slots + n * PAGE + n % 8 * 256);
}

/* What it is now is a guess: so it is the kernel that touches it first. */
static void await(const struct channel *c, struct slot *s, uint32_t is, uint32_t wanted)
{
    for (; is != wanted; is = atomic_load(&s->state))
        if (syscall(SYS_futex, &s->state, FUTEX_WAIT | c->shared, is, NULL) != 0)
            MUST(errno == EAGAIN || errno == EINTR, "futex");
}

static void set(const struct channel *c, struct slot *s, uint32_t state)
{
    atomic_store(&s->state, state);
    MUST(syscall(SYS_futex, &s->state, FUTEX_WAKE | c->shared, 1) >= 0, "wake");
}

static void *serve(void *arg)
{
    const struct channel *c = arg;
    for (uint32_t at = 0;;) {
        struct slot *s = slot_of(c, at);
        await(c, s, 2, 1);
        at = s->next;
        if (s->page == END)
            return NULL;
        s->value = mix(s->value ^ *place(page_of(c->zone, s->page), s->w));
        set(c, s, 2);
    }
}

static struct slot *ask(struct channel *c, uint32_t page, unsigned w, uint64_t value, uint32_t next)
{
    struct slot *s = slot_of(c, c->at);
    atomic_store(&s->state, 0);
    s->page = page;
    s->w = w;
    s->value = value;
    s->next = next;
    c->at = next;
    set(c, s, 1);
    return s;
}

/* `meanwhile`: we look at it, too. */
static void talk(struct channel *c, const struct zone *z, bool meanwhile)
{
    const uint32_t page = below(z->pages), w = below(WORDS), next = below(SLOTS);
    const uint64_t value = rnd(), want = mix(value ^ word(z->stamp[page], w));
    struct slot *s = dry ? NULL : ask(c, page, w, value, next);
    if (meanwhile)
        look("both", z, page, w);
    if (!dry)
        await(c, s, 1, 2);
    take("answer", page, dry ? want : s->value, want);
}

/* ---- signals */

static volatile sig_atomic_t signals;
static uint32_t raised_page, raised_word;

static void on_signal(int number)
{
    const int before = errno;
    const uint32_t n = (uint32_t)mix(now_ms() + (unsigned)signals);
    (void)number;
    signals++;
    for (uint32_t i = 0; i < 2; i++) {
        const uint32_t page = (n + i * 977) % (own.pages / 8), w = n >> 16 & (WORDS - 1);
        if (*place(still + (size_t)page * PAGE, w) != word(seed + page, w))
            wrong("word in a handler", page);
    }
    errno = before;
}

static void on_raised(int number)
{
    (void)number;
    look("word in a handler", &own, raised_page, raised_word);
}

static void handle(int number, void (*handler)(int))
{
    struct sigaction action = {.sa_handler = handler, .sa_flags = SA_ONSTACK | SA_RESTART};
    sigfillset(&action.sa_mask);
    MUST(sigaction(number, &action, NULL) == 0, "sigaction");
}

static void another_stack(uint32_t n)
{
    const stack_t stack = {.ss_sp = stacks + n * STACK, .ss_size = STACK};
    MUST(sigaltstack(&stack, NULL) == 0, "sigaltstack");
}

static void block(int how)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGALRM);
    sigaddset(&set, SIGUSR1);
    sigprocmask(how, &set, NULL);
}

/* ---- what a worker does */

static int file_fd, ends[2];

static void transfer(ssize_t (*how)(int, void *, size_t), int fd, uint8_t *at, const char *what)
{
    for (size_t done = 0; done < PAGE;) {
        const ssize_t n = how(fd, at + done, PAGE - done);
        MUST(n > 0 || (n < 0 && errno == EINTR), what);
        done += n > 0 ? (size_t)n : 0;
    }
}

static ssize_t write_some(int fd, void *at, size_t size)
{
    return write(fd, at, size);
}

static void touch(void)
{
    for (unsigned i = 0; i < 8; i++) {
        const uint32_t page = below(own.pages);
        look("word", &own, page, below(WORDS));
        if (below(100) < 30)
            store(&own, page);
    }
}

static void fetch(void)
{
    for (unsigned i = 0; i < 8; i++) {
        const uint32_t page = below(code.pages - 1), w = below(2);
        if (!code.stamp[page] || below(32) == 0)
            write_code(page);
        if (!code.stamp[page + 1])
            write_code(page + 1);
        run_code(page, w);
    }
}

/* Four pages a call, from anywhere, to anywhere. */
static void through_pipe(void)
{
    const uint32_t part = own.pages / PIPED;
    uint32_t from[PIPED], to[PIPED];
    struct iovec out[PIPED], in[PIPED];
    for (uint32_t i = 0; i < PIPED; i++) {
        from[i] = below(own.pages);
        to[i] = i * part + below(part);
        out[i] = (struct iovec){page_of(&own, from[i]), PAGE};
        in[i] = (struct iovec){page_of(&own, to[i]), PAGE};
    }
    if (!dry)
        MUST(writev(ends[1], out, PIPED) == PIPED * PAGE && readv(ends[0], in, PIPED) == PIPED * PAGE, "pipe");
    uint64_t stamp[PIPED];
    for (uint32_t i = 0; i < PIPED; i++)
        stamp[i] = own.stamp[from[i]];
    for (uint32_t i = 0; i < PIPED; i++) {
        own.stamp[to[i]] = stamp[i];
        look("piped", &own, to[i], below(WORDS));
    }
}

static void through_file(void)
{
    for (unsigned i = 0; i < 2; i++) {
        const uint32_t from = below(own.pages), to = below(own.pages), out = below(file.pages), in = below(file.pages);
        if (!dry) {
            MUST(lseek(file_fd, (off_t)out * PAGE, SEEK_SET) >= 0, "lseek");
            transfer(write_some, file_fd, page_of(&own, from), "file write");
            MUST(lseek(file_fd, (off_t)in * PAGE, SEEK_SET) >= 0, "lseek");
        }
        file.stamp[out] = own.stamp[from];
        if (!dry)
            transfer(read, file_fd, page_of(&own, to), "file read");
        own.stamp[to] = file.stamp[in];
        look("filed", &own, to, below(WORDS));
    }
}

static void raised(void)
{
    const uint32_t stack = below(STACKS);
    raised_page = below(own.pages);
    raised_word = below(WORDS);
    if (dry) {
        on_raised(0);
        return;
    }
    another_stack(stack);
    MUST(raise(SIGUSR2) == 0, "raise");
}

static void of_process(void)
{
    talk(&process, &far, false);
}

static void of_thread(void)
{
    talk(&thread, &own, true);
}

/* Two pages a call, which need not be neighbours. */
static void remote(void)
{
    const uint32_t mine[2] = {below(own.pages / 2), own.pages / 2 + below(own.pages / 2)};
    const uint32_t theirs[2] = {below(far.pages / 2), far.pages / 2 + below(far.pages / 2)};
    const bool in = below(2);
    struct iovec ours[2], others[2];
    for (unsigned i = 0; i < 2; i++) {
        ours[i] = (struct iovec){page_of(&own, mine[i]), PAGE};
        others[i] = (struct iovec){page_of(&far, theirs[i]), PAGE};
    }
    if (!dry)
        MUST((in ? process_vm_readv : process_vm_writev)(partner, ours, 2, others, 2, 0) == 2 * PAGE, "process_vm");
    for (unsigned i = 0; i < 2; i++) {
        if (in)
            own.stamp[mine[i]] = far.stamp[theirs[i]];
        else
            far.stamp[theirs[i]] = own.stamp[mine[i]];
        look("remote", &own, mine[i], below(WORDS));
    }
}

static uint64_t as_child(uint64_t its_seed)
{
    random_state = sum = its_seed;
    for (unsigned i = 0; i < 2; i++)
        touch();
    fetch();
    return sum;
}

/* Without a trace in what we are: the child's writes are the child's. */
static uint64_t of_child(uint64_t its_seed)
{
    static uint64_t *saved;
    const size_t size = own.pages * sizeof(uint64_t), more = code.pages * sizeof(uint64_t);
    const uint64_t before[3] = {random_state, sum, given};
    const bool was = dry;
    if (!saved)
        saved = malloc(size + more);
    MUST(saved, "malloc");
    memcpy(saved, own.stamp, size);
    memcpy(saved + own.pages, code.stamp, more);
    dry = true;
    const uint64_t want = as_child(its_seed);
    dry = was;
    memcpy(own.stamp, saved, size);
    memcpy(code.stamp, saved + own.pages, more);
    random_state = before[0], sum = before[1], given = before[2];
    return want;
}

static pid_t begin_child(void)
{
    const pid_t child = fork();
    MUST(child >= 0, "fork");
    return child;
}

static int end_of(pid_t child)
{
    int status;
    while (waitpid(child, &status, 0) < 0)
        MUST(errno == EINTR, "waitpid");
    return status;
}

static void forked(void)
{
    const uint64_t its_seed = rnd(), want = of_child(its_seed);
    uint64_t got = want;
    if (!dry) {
        int answer[2];
        MUST(pipe(answer) == 0, "pipe");
        const pid_t child = begin_child();
        if (!child) {
            got = as_child(its_seed);
            _exit(write(answer[1], &got, sizeof(got)) != sizeof(got));
        }
        MUST(end_of(child) == 0 && read(answer[0], &got, sizeof(got)) == sizeof(got), "child");
        close(answer[0]);
        close(answer[1]);
    }
    take("child's sum", its_seed & 0xffff, got, want);
    touch();
}

static void killed(void)
{
    int begun[2];
    pid_t child = 0;
    char c = 0;
    if (!dry) {
        MUST(pipe(begun) == 0, "pipe");
        child = begin_child();
        if (!child) {
            random_state = (uint64_t)getpid();
            MUST(write(begun[1], &c, 1) == 1, "write");
            for (;;)
                touch(), fetch();
        }
        MUST(read(begun[0], &c, 1) == 1, "read");
    }
    touch();
    if (!dry) {
        kill(child, SIGKILL);
        const int status = end_of(child);
        MUST(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL, "killed");
        close(begun[0]);
        close(begun[1]);
    }
}

static void map_again(uint32_t first)
{
    MUST(mmap(page_of(&own, first), RUN * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) != MAP_FAILED,
         "mmap");
    madvise(page_of(&own, first), RUN * PAGE, MADV_NOHUGEPAGE);
}

static void remapped(void)
{
    const uint32_t half = own.pages / 2, first = below(half - RUN), to = half + below(half - RUN), kind = below(5);
    uint8_t *at = page_of(&own, first);
    switch (dry ? END : kind) {
    case 0:
        MUST(madvise(at, RUN * PAGE, MADV_DONTNEED) == 0, "madvise");
        break;
    case 1:
        MUST(munmap(at, RUN * PAGE) == 0, "munmap");
        map_again(first);
        break;
    case 2:
        MUST(mremap(at, RUN * PAGE, RUN * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, page_of(&own, to)) != MAP_FAILED, "mremap");
        map_again(first);
        break;
    case 3:
        MUST(mprotect(at, RUN * PAGE, PROT_READ) == 0, "mprotect");
        break;
    case 4:
        madvise(at, RUN * PAGE, MADV_POPULATE_WRITE);
        break;
    }
    for (uint32_t i = 0; i < RUN; i++) {
        if (kind == 2)
            own.stamp[to + i] = own.stamp[first + i];
        if (kind < 3)
            own.stamp[first + i] = 0;
        look("mapped", &own, first + i, below(WORDS));
        look("moved", &own, to + i, below(WORDS));
    }
    if (kind == 3 && !dry)
        MUST(mprotect(at, RUN * PAGE, PROT_READ | PROT_WRITE) == 0, "mprotect");
}

/* ---- a life, which ends with exec or with the worker */

static uint64_t end_ms, end_rounds;
static uint32_t lives;

static struct zone zone(uint32_t pages, int protection)
{
    struct zone z = {.pages = pages, .stamp = calloc(pages, sizeof(uint64_t))};
    MUST(z.stamp, "calloc");
    if (!dry)
        z.at = map((size_t)pages * PAGE, protection, MAP_PRIVATE);
    return z;
}

static void take_zones(uint32_t pages)
{
    own = zone(pages, 0);
    code = zone(pages / 2, PROT_EXEC);
    far = zone(pages / 4, 0);
    file = (struct zone){.pages = pages / 8, .stamp = calloc(pages / 8, sizeof(uint64_t))};
    MUST(file.stamp, "calloc");
}

static void forget(void)
{
    memset(own.stamp, 0, own.pages * sizeof(uint64_t));
    memset(code.stamp, 0, code.pages * sizeof(uint64_t));
    memset(far.stamp, 0, far.pages * sizeof(uint64_t));
    memset(file.stamp, 0, file.pages * sizeof(uint64_t));
}

static void fill(void)
{
    for (uint32_t i = 0; i < own.pages; i++)
        store(&own, i);
}

static void live(uint32_t pages)
{
    pthread_t its;
    take_zones(pages);
    process = (struct channel){.slots = map(SLOTS * PAGE, 0, MAP_SHARED), .zone = &far};
    thread = (struct channel){.slots = map(SLOTS * PAGE, 0, MAP_PRIVATE), .zone = &own, .shared = FUTEX_PRIVATE_FLAG};
    stacks = map(STACKS * STACK, 0, MAP_PRIVATE);
    still = map(pages / 8 * PAGE, 0, MAP_PRIVATE);
    fill();
    for (uint32_t i = 0; i < pages / 8; i++)
        write_page(still + (size_t)i * PAGE, seed + i);
    file_fd = memfd_create("chaos", MFD_CLOEXEC);
    MUST(file_fd >= 0 && ftruncate(file_fd, (off_t)file.pages * PAGE) == 0 && pipe2(ends, O_CLOEXEC) == 0, "files");
    partner = begin_child();
    if (!partner) {
        serve(&process);
        _exit(0);
    }
    MUST(pthread_create(&its, NULL, serve, &thread) == 0, "thread");
    another_stack(0);
    handle(SIGALRM, on_signal);
    handle(SIGUSR1, on_signal);
    handle(SIGUSR2, on_raised);
    const struct itimerval often = {{0, 70000}, {0, 70000}};
    setitimer(ITIMER_REAL, &often, NULL);
    block(SIG_UNBLOCK);
}

static void end_partner(void)
{
    ask(&process, END, 0, 0, 0);
    MUST(end_of(partner) == 0, "partner");
}

/* The state lies where the memory is that it is about. The thread is there until the kernel ends it. */
static void executed(void)
{
    if (dry) {
        forget();
        fill();
        lives++;
        return;
    }
    char *argument[12];
    const uint64_t state[] = {id, seed, own.pages, random_state, sum, rounds, given, end_ms, end_rounds, lives + 1, (uint64_t)signals};
    const unsigned n = sizeof(state) / sizeof(state[0]);
    end_partner();
    block(SIG_BLOCK);
    for (unsigned i = 0; i < n; i++) {
        argument[i] = (char *)page_of(&own, 3 + i * 7) + PAGE - 8; /* across two pages */
        snprintf(argument[i], 32, "%" PRIu64, state[i]);
    }
    char *const all[] = {"chaos", "worker", argument[0], argument[1], argument[2], argument[3], argument[4], argument[5],
                         argument[6], argument[7], argument[8], argument[9], argument[10], NULL};
    execv("/proc/self/exe", all);
    wrong("exec", 0);
}

static const struct {
    const char *name;
    void (*fn)(void);
    uint32_t weight;
} kinds[] = {
    {"touch", touch, 800},       {"fetch", fetch, 320},    {"pipe", through_pipe, 1000}, {"file", through_file, 80},
    {"signal", raised, 120},     {"futex", of_process, 100}, {"thread", of_thread, 100},  {"remote", remote, 100},
    {"fork", forked, 3},         {"kill", killed, 2},      {"map", remapped, 40},        {"exec", executed, 1},
};
#define KINDS (sizeof(kinds) / sizeof(kinds[0]))
static uint64_t did[KINDS];

static void do_rounds(void)
{
    uint32_t all = 0;
    for (unsigned i = 0; i < KINDS; i++)
        all += kinds[i].weight;
    while (rounds < end_rounds && (dry || rounds % 8 || now_ms() < end_ms)) {
        uint32_t n = below(all), i = 0;
        while (n >= kinds[i].weight)
            n -= kinds[i++].weight;
        did[i]++;
        rounds++; /* before: exec does not come back */
        kinds[i].fn();
    }
}

struct result {
    uint64_t id, rounds, sum, lives, signals;
};

static void report(void)
{
    const struct itimerval never = {{0, 0}, {0, 0}};
    setitimer(ITIMER_REAL, &never, NULL);
    end_partner();
    const struct result r = {id, rounds, sum, lives, (uint64_t)signals};
    MUST(write(RESULT_FD, &r, sizeof(r)) == sizeof(r), "report");
    exit(0);
}

static void start_of(uint32_t n, uint64_t all)
{
    am(n);
    seed = mix(all + n);
    random_state = seed;
    sum = rounds = given = lives = 0;
}

static int worker(char **argument)
{
    uint64_t state[11];
    for (unsigned i = 0; i < 11; i++)
        state[i] = strtoull(argument[i], NULL, 10);
    am((uint32_t)state[0]);
    seed = state[1];
    random_state = state[3], sum = state[4], rounds = state[5], given = state[6], end_ms = state[7], end_rounds = state[8];
    lives = (uint32_t)state[9], signals = (sig_atomic_t)state[10];
    live((uint32_t)state[2]);
    do_rounds();
    report();
    return 0;
}

/* ---- their parent */

static int work(int argc, char **argv)
{
    const uint64_t all = option(argc, argv, "seed", now_ms()), limit = option(argc, argv, "for", 0);
    const uint32_t pages = (uint32_t)option(argc, argv, "pages", 2000), count = (uint32_t)option(argc, argv, "workers", 4);
    pid_t pid[MAX_WORKERS];
    struct result result[MAX_WORKERS];
    uint64_t total[3] = {0};
    int results[2];
    if (count > MAX_WORKERS || pages < 256)
        return 2;
    end_ms = limit ? now_ms() + limit : UINT64_MAX;
    end_rounds = option(argc, argv, "rounds", limit ? UINT64_MAX : 1000);
    say("%s bits, seed=%" PRIu64 " workers=%u pages=%u", BITS, all, count, pages);
    setpgid(0, 0);
    signal(SIGUSR1, SIG_IGN);
    MUST(pipe(results) == 0 && dup2(results[1], RESULT_FD) == RESULT_FD, "pipe");
    for (uint32_t i = 0; i < count; i++) {
        pid[i] = begin_child();
        if (!pid[i]) {
            start_of(i, all);
            block(SIG_BLOCK);
            live(pages);
            do_rounds();
            report();
        }
    }
    random_state = all;
    for (uint32_t left = count; left;) {
        const uint32_t n = below(count), wait = 3 + below(25), stop = below(3) ? 0 : 1 + below(10);
        if (pid[n]) {
            kill(pid[n], stop ? SIGSTOP : SIGUSR1);
            if (stop)
                sleep_ms(stop);
            kill(pid[n], SIGCONT);
        }
        sleep_ms(wait);
        for (uint32_t i = 0; i < count; i++) {
            int status;
            if (!pid[i] || waitpid(pid[i], &status, WNOHANG) != pid[i])
                continue;
            pid[i] = 0;
            left--;
            if (status) {
                am(i);
                wrong("end of a worker", (uint64_t)status);
            }
            MUST(read(results[0], &result[i], sizeof(result[i])) == sizeof(result[i]), "result");
        }
        if (limit && left && now_ms() > end_ms + GRACE_MS) {
            for (uint32_t i = 0; i < count; i++)
                if (pid[i])
                    show(pid[i], "stat"), show(pid[i], "stack");
            wrong("not ended", left);
        }
    }
    dry = true;
    take_zones(pages);
    for (uint32_t i = 0; i < count; i++) {
        const struct result *r = &result[i];
        start_of((uint32_t)r->id, all);
        forget();
        fill();
        end_rounds = r->rounds;
        do_rounds();
        if (sum != r->sum || lives != r->lives)
            wrong("sum", r->id);
        say("worker %" PRIu64 " of %s bits: %" PRIu64 " rounds, %" PRIu64 " lives, sum %016" PRIx64 " as predicted", r->id, BITS, r->rounds,
            r->lives + 1, r->sum);
        total[0] += r->rounds, total[1] += r->signals;
    }
    char line[400];
    int n = 0;
    for (unsigned i = 0; i < KINDS; i++)
        n += snprintf(line + n, sizeof(line) - (size_t)n, " %s=%" PRIu64, kinds[i].name, did[i]);
    say("all right, %s bits: workers=%u rounds=%" PRIu64 " interrupted=%" PRIu64 "%s", BITS, count, total[0], total[1], line);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc == 13 && strcmp(argv[1], "worker") == 0)
        return worker(argv + 2);
    if (argc > 1 && strcmp(argv[1], "work") == 0)
        return work(argc, argv);
    return fprintf(stderr, "chaos: work [seed=N] [for=MS] [rounds=N] [workers=N] [pages=N]\n"), 2;
}
