/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A stand-in for the hypervisor that the launcher's own tests start: its report is made at compile time, and the
 * machine ends as the test asks for. It shares lib/report.h and lib/image.h with the real one, so it also shows that
 * tools/mw reads them right.
 *
 * RESULT and STATUS fill the report; END says how the machine ends after the first line.
 */
#include "lib/image.h"
#include "lib/report.h"

#define PSCI_SYSTEM_OFF 0x84000008u /* DEN0022F 5.10 */
#define PSCI_SYSTEM_RESET 0x84000009u
#define UART_DR ((volatile uint32_t *)0x09000000)
#define UART_FR ((volatile uint32_t *)0x09000018)
#define UART_FR_RXFE 0x10u
#define LINE "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcde\n"

extern char image_end[];

struct report report = {
    .magic = REPORT_MAGIC,
    .version = REPORT_VERSION,
    .size = sizeof(struct report),
    .result = RESULT,
    .guests = 1,
    .vcpus = 3,
    .helpers = 1,
    .guest_offset = offsetof(struct report, guest),
    .guest_stride = sizeof(struct report_guest),
    .vcpu_offset = offsetof(struct report, vcpu),
    .vcpu_stride = sizeof(struct report_vcpu),
    .helper_offset = offsetof(struct report, helper),
    .helper_stride = sizeof(struct report_helper),
    .counter_hz = 62500000,
    .entry_ticks = 1000,
    .first_guest_ticks = 3000,
    .reason = "the machine's reason",
    .image_base = 0x40200000,
    .guest = {{.name = "fake",
               .status = STATUS,
               .vcpus = 2,
               .ram_pages = 131072,
               .touched = 1000,
               .block = 512,
               .reason = "the guest's reason"}},
    .vcpu = {{.guest = 0,
              .core = 0,
              .faults = {1, 2, 3, 4, 5},
              .exits = {6, 7, 8, 9, 10, 11, 12},
              .touched = 24,
              .block = 512,
              .wait_ns = 70,
              .shared_locks = 1,
              .unreadable = 3,
              .given_back = {100, 200, 300}},
             /* another guest's: not in the sums of the first, but for the locks */
             {.guest = 1,
              .core = 1,
              .faults = {1000, 1000, 1000, 1000, 1000},
              .touched = 1000,
              .shared_locks = 4,
              .given_back = {7, 7, 7}},
             {.guest = 0,
              .core = 2,
              .faults = {10, 20, 30, 40, 50},
              .exits = {60, 70, 80, 90, 100, 110, 120},
              .touched = -1,
              .wait_ns = 700,
              .shared_locks = 2,
              .unreadable = 4,
              .given_back = {1, 2, 3}}},
    .helper = {{.core = 3,
                .zeroed_pages = 11,
                .populated_pages = 12,
                .promoted_blocks = 13,
                .busy_ns = 14,
                .requests = 15,
                .shared_locks = 8,
                .unreadable = 9}},
};

/* The code starts one page into the image. */
__attribute__((section(".head"), used)) static const struct image_header header = {
    .code0 = 0x14000000u | PAGE_SIZE / 4, /* b . + 4096 */
    .text_offset = TEXT_OFFSET,
    .image_size = (uint64_t)image_end,
    .magic = IMAGE_HEADER_MAGIC,
    .info_magic = IMAGE_INFO_MAGIC,
    .hypervisor_size = (uint64_t)image_end,
    .report_offset = (uint64_t)&report,
};

__asm__(".pushsection .start, \"ax\"\n"
        "    .balign 4096\n"
        "    .globl _start\n"
        "_start:\n"
        "    adrp x1, image_end\n" /* page aligned: the last page is the stack */
        "    mov sp, x1\n"
        "    b fake_main\n"
        ".popsection\n");

static void print(const char *s)
{
    while (*s)
        *UART_DR = (uint8_t)*s++;
}

static void psci(uint32_t function)
{
    register uint64_t x0 __asm__("x0") = function;
    __asm__ volatile("smc #0" : "+r"(x0) : : "memory");
}

/* Shows each byte that comes in, in hexadecimal; 'q' ends. */
static void echo(void)
{
    const char *digits = "0123456789abcdef";
    uint8_t c;
    do {
        while (*UART_FR & UART_FR_RXFE)
            ;
        c = (uint8_t)*UART_DR;
        char text[] = {'<', digits[c >> 4], digits[c & 15], '>', '\n', 0};
        print(text);
    } while (c != 'q');
}

enum { END_OFF, END_RESET, END_HANG, END_FLOOD, END_BURST, END_ECHO };

void fake_main(void);
void fake_main(void)
{
    print("[mw] fake\nbytes \x01\xff\r\n");
    switch (END) {
    case END_OFF:
        break;
    case END_RESET:
        psci(PSCI_SYSTEM_RESET);
        break;
    case END_HANG:
        for (;;)
            __asm__ volatile("wfi");
    case END_FLOOD:
        for (;;)
            print(LINE);
    case END_BURST:
        for (int i = 0; i < 10000; i++)
            print(LINE);
        break;
    case END_ECHO:
        echo();
        break;
    }
    psci(PSCI_SYSTEM_OFF);
}
