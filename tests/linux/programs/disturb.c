/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Disturbs those who sleep for pages in a Linux guest with our module (chaos.c).
 *
 *   disturb [seed=N] [for=MS] [module=FILE]
 *
 * Turns the module's faults off and on, CPU 1, and the module, and has the kernel ask for PSCI's version, until SIGTERM. Says every two seconds what the module's counters have come
 * to, over all of its lives. Each disturbance wakes all who sleep, so a wake-up that was lost would not be seen: after a few of them there is
 * time to see it. The first four are one of each kind.
 *
 *   disturb asleep
 *
 * Whether somebody sleeps and is not woken, for half a minute.
 *
 * Exits with 1 if something is WRONG.
 */
#include "chaos.h"

#include <dirent.h>
#include <sys/syscall.h>

static volatile sig_atomic_t ending;

/* ---- the counters, of modules that are gone, and of the one that is there */

static const char *const counter[] = {"parked_user", "parked_kernel", "parked_compat", "early",  "waited_alone",
                                      "waited_atomic", "events",      "interrupts",    "errors", "woken_all"};
#define COUNTERS (sizeof(counter) / sizeof(counter[0]))
static uint64_t before[COUNTERS], current[COUNTERS];
static uint32_t reloads, hotplugs, switches, asked;

static void read_counters(void)
{
    char name[32];
    uint64_t value;
    FILE *f = fopen("/sys/kernel/debug/meanwhile/stats", "r");
    if (!f)
        return;
    while (fscanf(f, "%31s %" SCNu64, name, &value) == 2)
        for (unsigned i = 0; i < COUNTERS; i++)
            if (strcmp(name, counter[i]) == 0)
                current[i] = value;
    fclose(f);
}

static void show_counters(bool now)
{
    static uint64_t shown;
    char line[450];
    int n = 0;
    if (!now && now_ms() - shown < 2000)
        return;
    shown = now_ms();
    read_counters();
    for (unsigned i = 0; i < COUNTERS; i++)
        n += snprintf(line + n, sizeof(line) - (size_t)n, " %s=%" PRIu64, counter[i], before[i] + current[i]);
    say("counters%s reloads=%u hotplugs=%u switches=%u asked=%u", line, reloads, hotplugs, switches,
        asked);
}

/* ---- who was forgotten: sleeps for a page, and never runs again */

#define CALM_MS 4000u
#define FORGOTTEN_MS 30000u /* a slow host may take its time for a page */
#define TASKS 256u

struct sleeper {
    unsigned task;
    uint64_t switches;
};

static unsigned sleepers(struct sleeper *found)
{
    unsigned n = 0;
    DIR *proc = opendir("/proc"), *tasks;
    MUST(proc, "opendir");
    for (struct dirent *p; (p = readdir(proc));) {
        char path[600], line[128];
        snprintf(path, sizeof(path), "/proc/%s/task", p->d_name);
        if (!atoi(p->d_name) || !(tasks = opendir(path)))
            continue;
        for (struct dirent *t; (t = readdir(tasks));) {
            struct sleeper s = {(unsigned)atoi(t->d_name), 0};
            char state = 0;
            snprintf(path, sizeof(path), "/proc/%s/task/%s/status", p->d_name, t->d_name);
            FILE *f = s.task ? fopen(path, "r") : NULL;
            if (!f)
                continue;
            while (fgets(line, sizeof(line), f))
                if (sscanf(line, "State: %c", &state) != 1)
                    sscanf(line, "voluntary_ctxt_switches: %" SCNu64, &s.switches);
            fclose(f);
            if (state == 'D' && n < TASKS)
                found[n++] = s;
        }
        closedir(tasks);
    }
    closedir(proc);
    return n;
}

static bool is_among(const struct sleeper *s, const struct sleeper *all, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        if (all[i].task == s->task && all[i].switches == s->switches)
            return true;
    return false;
}

/* Looks on for that long, and then on until each of those who sleep has run. */
static bool anyone_forgotten(uint32_t ms)
{
    static struct sleeper waited_for[TASKS], now[TASKS];
    unsigned left;
    uint64_t since;
    for (const uint64_t until = now_ms() + ms; now_ms() < until && !ending; sleep_ms(400))
        show_counters(false);
    left = sleepers(waited_for);
    for (since = now_ms(); left && !ending && now_ms() - since < FORGOTTEN_MS; sleep_ms(100)) {
        const unsigned is = sleepers(now), were = left;
        left = 0;
        for (unsigned i = 0; i < were; i++)
            if (is_among(&waited_for[i], now, is))
                waited_for[left++] = waited_for[i];
    }
    for (unsigned i = 0; i < left && !ending; i++) {
        show((pid_t)waited_for[i].task, "stat");
        show((pid_t)waited_for[i].task, "stack");
    }
    return left && !ending;
}

/* ---- disturbances */

static int put(const char *path, const char *text)
{
    const int fd = open(path, O_WRONLY);
    const int failed = fd < 0 || write(fd, text, strlen(text)) < 0;
    const int why = errno;
    if (fd >= 0)
        close(fd);
    errno = why;
    return failed;
}

static int get(const char *path)
{
    char text[512];
    const int fd = open(path, O_RDONLY);
    const int failed = fd < 0 || read(fd, text, sizeof(text)) <= 0;
    if (fd >= 0)
        close(fd);
    return failed;
}

#define APF "/sys/module/meanwhile/parameters/apf"
#define PSCI "/sys/kernel/debug/psci"
#define CPU1 "/sys/devices/system/cpu/cpu1/online"

/* Half of the time with nothing under way, so that the counters miss nothing; else with tasks asleep. */
static void reload(const char *module, bool quiet)
{
    if (quiet)
        MUST(!put(APF, "N"), "apf=N");
    read_counters();
    MUST(syscall(SYS_delete_module, "meanwhile", O_NONBLOCK) == 0, "rmmod");
    for (unsigned i = 0; i < COUNTERS; i++) {
        before[i] += current[i];
        current[i] = 0;
    }
    const int fd = open(module, O_RDONLY);
    MUST(fd >= 0 && syscall(SYS_finit_module, fd, "", 0) == 0, "insmod");
    close(fd);
    reloads++;
}

static void one_of(uint32_t what, uint32_t off, const char *module)
{
    switch (what) {
    case 0:
        reload(module, below(2));
        break;
    case 1:
        MUST(!put(CPU1, "0"), "CPU off");
        sleep_ms(off);
        MUST(!put(CPU1, "1"), "CPU on");
        hotplugs++;
        break;
    case 2: /* which a kernel does when it starts, and one that runs for who reads this */
        MUST(!get(PSCI), "psci");
        asked++;
        break;
    default:
        MUST(!put(APF, "N"), "apf=N");
        sleep_ms(off);
        MUST(!put(APF, "Y"), "apf=Y");
        switches++;
        break;
    }
}

static void on_end(int number)
{
    (void)number;
    ending = 1;
}

static void disturb(const char *module, uint64_t limit)
{
    const uint64_t until = now_ms() + limit;
    signal(SIGTERM, on_end);
    for (uint32_t n = 0, burst = 4; !ending && (!limit || now_ms() < until); n++, burst--) {
        if (!burst) {
            burst = 1 + below(5);
            if (anyone_forgotten(CALM_MS))
                wrong("asleep", n);
        }
        sleep_ms(20 + below(400));
        one_of(n < 4 ? n : below(8) ? 1 + below(3) : 0, 2 + below(60), module);
        show_counters(false);
    }
    show_counters(true);
}

int main(int argc, char **argv)
{
    const char *module = "/meanwhile.ko";
    strcpy(who, "who disturbs");
    setpgid(0, 0);
    random_state = option(argc, argv, "seed", now_ms());
    if (argc > 1 && strcmp(argv[1], "asleep") == 0) {
        if (anyone_forgotten(0))
            wrong("asleep", 0);
        say("nobody asleep");
        return 0;
    }
    for (int i = 1; i < argc; i++)
        if (strncmp(argv[i], "module=", 7) == 0)
            module = argv[i] + 7;
    disturb(module, option(argc, argv, "for", 0));
    return 0;
}
