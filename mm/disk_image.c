/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A fetch brings the pages of one request. What is stored of them is one stretch of the disk as a rule, since `mw image
 * create` writes page after page; where it is not, or a hostile index says so, the fetch goes on piece by piece, each as
 * many pages as fit into its staging room. Nothing of what the image says is believed: page_image_locate() keeps a place
 * inside the image, and the image lies inside the disk.
 */
#include "mm/disk_image.h"

#include "lib/arch.h"
#include "lib/log.h"
#include "lib/string.h"

#define INDEX_PAGES (DISK_INDEX_BLOCKS * (BLOCK_SIZE / PAGE_SIZE))

struct fetch {
    const struct source *source;
    uint8_t *frames;
    uint64_t page; /* of the source: the first of the request */
    uint32_t count, done;
    uint32_t piece; /* pages that the read under way brings, from `done` on */
    uint32_t request;
    uint64_t from; /* offset in the image of the first byte that is read */
    bool direct;   /* they go to the frames as they are: not compressed, and side by side on the disk too */
};

struct disk_image {
    struct disk disk;
    struct page_image_header header __attribute__((aligned(8)));
    bool opened;                                               /* `header` was read, and is good */
    void (*ended)(struct populator *p, uint32_t tag, bool ok); /* it is lent to somebody; NULL: it is not */
    uint32_t index_pages;
    pa_t index[DISK_INDEX_BLOCKS];
    pa_t staging;  /* a block */
    uint64_t free; /* bit per fetch */
    struct fetch fetch[DISK_FETCHES];
};

_Static_assert(DISK_MAX * sizeof(struct disk_image) <= BLOCK_SIZE, "a block holds all of them");

static struct disk_image *images; /* in a block of their own: a machine that uses no disk does not pay for them */
static uint32_t image_count;
static uint32_t blocks_held;

/* ---- fetching */

static const struct page_image_index *index_page(const struct source *s, uint64_t page)
{
    uint64_t n = s->first_index + page / PAGE_IMAGE_ENTRIES;

    return pa_ptr(pa_add(s->disk->index[n / BLOCK_PAGES], n % BLOCK_PAGES * PAGE_SIZE));
}

static bool locate(const struct source *s, uint64_t page, struct packed_page *out)
{
    if (page >= packed_pages(&s->file)) { /* behind its end all is zero */
        *out = (struct packed_page){.kind = PAGE_IMAGE_ZERO};
        return true;
    }
    return page_image_locate(&s->file, index_page(s, page), page, out) == PAGE_IMAGE_OK;
}

static uint8_t *staging_of(const struct disk_image *m, uint32_t n)
{
    return pa_ptr(pa_add(m->staging, n * DISK_STAGING));
}

enum step { STEP_READING, STEP_ENDED, STEP_FAILED };

#define DIRECT_PAGES 4u /* side by side, before one read of those alone is better than one with what follows */

/*
 * Which pages, from `done` on, one read can bring: such as can go straight to their frames, or such as are stored within the
 * size of the staging room.
 */
static bool plan(struct fetch *f, uint64_t *from, uint64_t *to)
{
    struct packed_page p;

    *from = *to = 0;
    f->direct = true;
    for (f->piece = 0; f->done + f->piece < f->count; f->piece++) {
        uint64_t low, high;

        if (!locate(f->source, f->page + f->done + f->piece, &p))
            return false;
        if (f->direct && (p.kind != PAGE_IMAGE_RAW || (f->piece && p.offset != *to))) {
            if (f->piece >= DIRECT_PAGES)
                break;
            f->direct = false;
        }
        if (!p.length)
            continue;
        low = align_down(p.offset, DISK_SECTOR);
        high = align_up(p.offset + p.length, DISK_SECTOR);
        if (*to) {
            low = low < *from ? low : *from;
            high = high > *to ? high : *to;
            if (high - low > DISK_STAGING)
                break;
        }
        *from = low;
        *to = high;
    }
    return true;
}

/* The pages of the piece, out of the staging room if they are not in their frames yet. */
static bool unpack(struct fetch *f, const uint8_t *staging)
{
    if (f->direct)
        staging = f->frames + f->done * PAGE_SIZE;

    for (; f->piece; f->piece--, f->done++) {
        const struct source *s = f->source;
        uint64_t offset = (f->page + f->done) << PAGE_SHIFT;
        uint8_t *frame = f->frames + f->done * PAGE_SIZE;
        struct packed_page p;

        if (!locate(s, f->page + f->done, &p) ||
            page_image_decode(&p, staging + (p.offset - f->from), frame) != PAGE_IMAGE_OK)
            return false;
        if (offset < s->size && s->size - offset < PAGE_SIZE)
            memset(frame + (s->size - offset), 0, PAGE_SIZE - (s->size - offset));
    }
    return true;
}

static uint8_t *target(const struct disk_image *m, uint32_t n)
{
    const struct fetch *f = &m->fetch[n];

    return f->direct ? f->frames + f->done * PAGE_SIZE : staging_of(m, n);
}

/* As far as it gets without waiting. */
static enum step go_on(struct disk_image *m, uint32_t n)
{
    struct fetch *f = &m->fetch[n];
    uint64_t to;

    while (f->done < f->count) {
        if (!plan(f, &f->from, &to))
            return STEP_FAILED;
        if (to)
            return disk_begin(&m->disk, DISK_READ, f->from / DISK_SECTOR, target(m, n), (uint32_t)(to - f->from), n)
                       ? STEP_READING
                       : STEP_FAILED;
        if (!unpack(f, NULL)) /* zeroes, all of them */
            return STEP_FAILED;
    }
    return STEP_ENDED;
}

static enum fill_result disk_fill(const struct source *s, uint64_t page, void *frames, uint32_t count, uint32_t request)
{
    struct disk_image *m = s->disk;
    enum step step;
    uint32_t n;

    if (!m->free)
        return FILL_BUSY;
    n = (uint32_t)__builtin_ctzll(m->free);
    m->fetch[n] = (struct fetch){.source = s, .frames = frames, .page = page, .count = count, .request = request};
    step = go_on(m, n);
    if (step == STEP_READING) {
        m->free &= ~BIT(n);
        return FILL_PENDING;
    }
    return step == STEP_ENDED ? FILL_OK : FILL_ERROR;
}

const struct source_ops source_disk_ops = {.name = "disk", .needs_helper = true, .run = DISK_RUN, .fill = disk_fill};

/* ---- what the helper does for them */

static bool serve_one(struct populator *p, struct disk_image *m)
{
    enum step step = STEP_FAILED;
    struct fetch *f;
    uint32_t n;
    bool ok;

    if (!disk_ended(&m->disk, &n, &ok))
        return false;
    if (m->ended) {
        m->ended(p, n, ok);
        return true;
    }
    f = &m->fetch[n];
    if (ok && unpack(f, staging_of(m, n)))
        step = go_on(m, n);
    if (step == STEP_READING)
        return true;
    m->free |= BIT(n);
    populate_filled(p, f->request, step == STEP_ENDED ? FILL_OK : FILL_ERROR);
    return true;
}

static bool serve(struct populator *p)
{
    for (uint32_t i = 0; i < image_count; i++) {
        if (serve_one(p, &images[i]))
            return true;
    }
    return false;
}

static bool watch(void)
{
    bool quiet = true;

    for (uint32_t i = 0; i < image_count; i++)
        quiet = disk_watch(&images[i].disk) && quiet;
    return quiet;
}

static void unwatch(void)
{
    for (uint32_t i = 0; i < image_count; i++)
        disk_unwatch(&images[i].disk);
}

static void interrupt(uint32_t intid)
{
    for (uint32_t i = 0; i < image_count; i++)
        disk_interrupt(&images[i].disk, intid);
}

static void notify(void)
{
    for (uint32_t i = 0; i < image_count; i++)
        disk_notify(&images[i].disk);
}

static void attach(void)
{
    for (uint32_t i = 0; i < image_count; i++)
        disk_attach(&images[i].disk);
}

const struct helper_io disk_images_io = {
    .attach = attach, .serve = serve, .notify = notify, .watch = watch, .unwatch = unwatch, .interrupt = interrupt};

/* ---- opening */

static bool hold_block(pa_t *out)
{
    if (!frames_alloc_block(out))
        return false;
    blocks_held++;
    return true;
}

uint32_t disk_images_blocks(void)
{
    return blocks_held;
}

void disk_images_start(const struct disk_place *places, uint32_t count)
{
    pa_t block;

    if (!count)
        return;
    if (!hold_block(&block)) {
        log_line("disks: no memory for them");
        return;
    }
    images = pa_ptr(block);
    for (uint32_t i = 0; i < count && image_count < DISK_MAX; i++) {
        struct disk_image *m = &images[image_count];
        enum disk_open_result r;

        memset(m, 0, sizeof(*m));
        r = disk_open(&m->disk, &places[i]);
        if (r == DISK_OPEN)
            image_count++;
        else if (r != DISK_NONE)
            log_line("disk at %lx: %s", places[i].regs.v, disk_open_text(r));
    }
}

/* One read, waited for. */
static bool read_now(struct disk_image *m, uint64_t from, void *to, uint32_t bytes)
{
    return disk_begin(&m->disk, DISK_READ, from / DISK_SECTOR, to, bytes, 0) && disk_wait(&m->disk);
}

/* The block that fetches are staged in, and the header. */
static const char *open_image(struct disk_image *m)
{
    enum page_image_result result;

    if (!hold_block(&m->staging))
        return "no memory to read the disk with";
    m->free = BIT(DISK_FETCHES) - 1;
    if (m->disk.sectors < PAGE_SIZE / DISK_SECTOR)
        return page_image_text(PAGE_IMAGE_NOT_ONE);
    if (!read_now(m, 0, &m->header, PAGE_SIZE))
        return "its header cannot be read";
    result = page_image_check(&m->header, m->disk.sectors * DISK_SECTOR);
    if (result != PAGE_IMAGE_OK)
        return page_image_text(result);
    m->opened = true;
    return NULL;
}

static const char *read_index(struct disk_image *m, const struct packed_file *f)
{
    uint64_t pages = (packed_pages(f) + PAGE_IMAGE_ENTRIES - 1) / PAGE_IMAGE_ENTRIES;

    if (pages > INDEX_PAGES - m->index_pages)
        return "its index is too large";
    for (uint64_t i = 0; i < pages; i++) {
        uint32_t n = m->index_pages + (uint32_t)i;
        pa_t *block = &m->index[n / BLOCK_PAGES];
        uint64_t at = f->index + i * PAGE_SIZE;
        void *page;

        if (!block->v && !hold_block(block))
            return "no memory for its index";
        page = pa_ptr(pa_add(*block, n % BLOCK_PAGES * PAGE_SIZE));
        if (!read_now(m, at, page, PAGE_SIZE))
            return "its index cannot be read";
        if (page_image_check_index(page, at) != PAGE_IMAGE_OK)
            return page_image_text(PAGE_IMAGE_BAD_INDEX);
    }
    m->index_pages += (uint32_t)pages;
    return NULL;
}

static struct disk_image *find(const char *disk)
{
    for (uint32_t i = 0; i < image_count; i++) {
        if (strcmp(images[i].disk.name, disk) == 0)
            return &images[i];
    }
    return NULL;
}

struct disk *disk_images_lend(const char *name, void (*ended)(struct populator *p, uint32_t tag, bool ok))
{
    struct disk_image *m = find(name);

    if (!m || m->opened || m->ended)
        return NULL;
    m->ended = ended;
    return &m->disk;
}

const char *disk_image_open(struct source *s, const char *disk, const char *file)
{
    struct disk_image *m = find(disk);
    const char *why = NULL;
    struct packed_file f;
    uint32_t first;

    if (!m)
        return "there is no such disk";
    if (m->ended)
        return "that disk is for swap";
    if (!m->opened)
        why = open_image(m);
    if (why)
        return why;
    if (page_image_find(&m->header, file, &f) != PAGE_IMAGE_OK)
        return page_image_text(PAGE_IMAGE_NO_FILE);
    first = m->index_pages;
    why = read_index(m, &f);
    *s = (struct source){.ops = &source_disk_ops, .size = f.size, .file = f, .disk = m, .first_index = first};
    return why;
}

bool disk_image_first_page(const struct source *s, void *page)
{
    struct fetch f = {.source = s, .frames = page, .count = 1};
    uint64_t to;

    if (!plan(&f, &f.from, &to))
        return false;
    if (to && !read_now(s->disk, f.from, f.direct ? page : staging_of(s->disk, 0), (uint32_t)(to - f.from)))
        return false;
    return unpack(&f, staging_of(s->disk, 0));
}

#ifdef HOST_TEST
void disk_images_forget(void)
{
    images = NULL;
    image_count = blocks_held = 0;
}
#endif
