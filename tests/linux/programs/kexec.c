/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Another kernel in place of this one, for Debian's kernels have no kexec_file_load(2).
 *
 *   kexec KERNEL INITRD APPEND BASE         loads it; it will be at BASE, an address in RAM, and of 2 MiB
 *   kexec                                   goes there
 *   kexec KERNEL INITRD APPEND BASE SIZE    for when this one panics, in the memory that crashkernel=SIZE@BASE has set aside
 */
#include <libfdt.h>
#include <linux/kexec.h>
#include <linux/reboot.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define PAGE 4096u
#define BLOCK 0x200000u
#define IMAGE_SIZE 16 /* of the header of Documentation/arm64/booting.rst: how much it takes while it runs */
#define FDT_ROOM 0x10000u

/* The kernel is entered with the device tree's address in x0, and kexec_load(2) says nothing of one. */
static struct {
    uint32_t code[6];
    uint64_t kernel, fdt;
} entry = {
    .code =
        {
            0x580000c4, /* ldr x4, kernel */
            0x580000e0, /* ldr x0, fdt */
            0xaa1f03e1, /* mov x1, xzr */
            0xaa1f03e2, /* mov x2, xzr */
            0xaa1f03e3, /* mov x3, xzr */
            0xd61f0080, /* br x4 */
        },
};

static void die(const char *what)
{
    perror(what);
    exit(1);
}

static void *contents(const char *path, size_t room, size_t *size)
{
    FILE *f = fopen(path, "r");
    char *data = NULL;
    for (*size = 0; f && !feof(f) && !ferror(f);) {
        data = realloc(data, *size + BLOCK + room);
        if (!data)
            die(path);
        *size += fread(data + *size, 1, BLOCK, f);
    }
    if (!f || ferror(f))
        die(path);
    fclose(f);
    return data;
}

static struct kexec_segment segment(const void *data, size_t size, uint64_t at, size_t room)
{
    return (struct kexec_segment){data, size, (void *)at, (room + PAGE - 1) / PAGE * PAGE};
}

int main(int argc, char **argv)
{
    size_t kernel_size, initrd_size, fdt_size;
    uint64_t image_size;
    if (argc == 1 && syscall(SYS_reboot, LINUX_REBOOT_MAGIC1, LINUX_REBOOT_MAGIC2, LINUX_REBOOT_CMD_KEXEC, NULL))
        die("kexec: reboot");
    if (argc != 5 && argc != 6)
        return fprintf(stderr, "kexec: [KERNEL INITRD APPEND BASE [SIZE]]\n"), 2;
    const uint64_t base = strtoull(argv[4], NULL, 0), size = argc == 6 ? strtoull(argv[5], NULL, 0) : 0;
    char *kernel = contents(argv[1], 0, &kernel_size), *initrd = contents(argv[2], 0, &initrd_size);
    void *fdt = contents("/sys/firmware/fdt", FDT_ROOM, &fdt_size);

    memcpy(&image_size, kernel + IMAGE_SIZE, sizeof(image_size));
    const uint64_t fdt_at = (base + image_size + BLOCK - 1) / BLOCK * BLOCK, entry_at = fdt_at + BLOCK / 2,
                   initrd_at = fdt_at + BLOCK;
    const int chosen = fdt_open_into(fdt, fdt, (int)(fdt_size + FDT_ROOM)) ? -1 : fdt_path_offset(fdt, "/chosen");
    if (chosen < 0 || fdt_setprop_u64(fdt, chosen, "linux,initrd-start", initrd_at) ||
        fdt_setprop_u64(fdt, chosen, "linux,initrd-end", initrd_at + initrd_size) ||
        fdt_setprop_string(fdt, chosen, "bootargs", argv[3]) ||
        (size && fdt_appendprop_addrrange(fdt, 0, chosen, "linux,usable-memory-range", base, size)) || fdt_pack(fdt))
        return fprintf(stderr, "kexec: a device tree that cannot be changed\n"), 1;
    entry.kernel = base;
    entry.fdt = fdt_at;

    struct kexec_segment segments[] = {
        segment(kernel, kernel_size, base, image_size), segment(fdt, fdt_totalsize(fdt), fdt_at, fdt_totalsize(fdt)),
        segment(&entry, sizeof(entry), entry_at, sizeof(entry)), segment(initrd, initrd_size, initrd_at, initrd_size)};
    if (syscall(SYS_kexec_load, entry_at, sizeof(segments) / sizeof(*segments), segments,
                KEXEC_ARCH_AARCH64 | (size ? KEXEC_ON_CRASH : 0)))
        die("kexec: kexec_load");
    return 0;
}
