/*
 * Tells which pages of processes were written. Their memory is registered with userfaultfds, one for each, in the mode in which the kernel itself
 * notes the first write to a page and lets the writer go on; PAGEMAP_SCAN reads these notes and wipes them in one step. Only this process holds
 * the userfaultfds: with its end, whatever the cause, all is undone.
 *
 * Requests on stdin, each with one reply on stdout, in order; the end of stdin ends it. Page numbers are doubles, for a reader in JavaScript;
 * a range is two of them, its first page and the one after its last. profiler/track-wire.ts is the other side.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "placeholder.h"
#include "track.h"

#ifndef SYS_userfaultfd
#define SYS_userfaultfd 323
#endif
#define USER_MODE_ONLY 1

/* include/uapi/linux/userfaultfd.h, linux/fs.h */
struct api { uint64_t api, features, ioctls; };
struct registration { uint64_t start, length, mode, ioctls; };
#define API 0xAA
#define FEATURES (UINT64_C(1) << 15 /* WP_ASYNC */ | UINT64_C(1) << 13 /* WP_UNPOPULATED */)
#define MODE_WRITES 2
#define SET_API _IOWR(0xAA, 0x3F, struct api)
#define REGISTER _IOWR(0xAA, 0x00, struct registration)

struct region { uint64_t start, end, categories; };
struct scan {
    uint64_t size, flags, start, end, walk_end, vec, vec_len, max_pages;
    uint64_t inverted, mask, any_of, returned;
};
#define SCAN _IOWR('f', 16, struct scan)
#define WIPE 1  /* PM_SCAN_WP_MATCHING */
#define CHECK 2 /* PM_SCAN_CHECK_WPASYNC: EPERM where the memory is not registered so */
#define WRITTEN 2
#define PRESENT 8
#define SWAPPED 16

#define PAGE 4096
#define MOST_RANGES (1u << 20)
/* Pages between two written ones that are cheaper looked at than left out. */
#define GAP 3

enum kind { PROBE = 1, ATTACH = 2, LOOK = 3, DROP = 4 };
enum { LOOK_LIVE = 1 };

struct request { uint32_t kind; int32_t pid; uint32_t flags, ranges; };
/* The ranges that follow: written ones, those of the request that could not be tracked, those that are there. */
struct reply { uint32_t kind; int32_t stage, error; uint32_t written, failed, present; };

struct range { double from, to; };
struct ranges { struct range *at; size_t count, room; };

static struct tracked { pid_t pid; int fd, number, checks; } *tracked;
static size_t tracked_count;

static bool add(struct ranges *list, uint64_t from, uint64_t to, uint64_t gap) {
    struct range *last = list->count ? &list->at[list->count - 1] : NULL;
    if (last && (double)from >= last->to && (double)from <= last->to + (double)gap) {
        last->to = (double)to;
        return true;
    }
    if (list->count == list->room) {
        size_t room = list->room ? 2 * list->room : 4096;
        struct range *at = realloc(list->at, room * sizeof *at);
        if (!at) return false;
        list->at = at;
        list->room = room;
    }
    list->at[list->count++] = (struct range){(double)from, (double)to};
    return true;
}

enum scan_for { THERE, WRITTEN_SINCE, WRITTEN_SINCE_AND_WIPE };

/* Adds the pages of an address range that are there: all, or those written since their notes were last wiped. */
static int scan_pages(int pagemap, uint64_t start, uint64_t end, enum scan_for what, struct ranges *list) {
    static struct region found[8192];
    struct scan s = {.size = sizeof s, .start = start, .end = end, .vec = (uintptr_t)found, .vec_len = sizeof found / sizeof *found};
    s.any_of = PRESENT | SWAPPED;
    s.returned = what == THERE ? PRESENT : WRITTEN;
    if (what != THERE) s.mask = WRITTEN;
    if (what != THERE) s.flags = CHECK | (what == WRITTEN_SINCE_AND_WIPE ? WIPE : 0);
    while (s.start < end) {
        int n = ioctl(pagemap, SCAN, &s);
        if (n < 0) return -1;
        for (int i = 0; i < n; i++)
            if (!add(list, found[i].start / PAGE, found[i].end / PAGE, what == THERE ? 0 : GAP)) {
                errno = ENOMEM;
                return -1;
            }
        if ((size_t)n < s.vec_len) break;
        /* Not walk_end: Linux leaves it at the last time that its own smaller buffer was full, even when it went on to the end. */
        s.start = found[n - 1].end;
    }
    return 0;
}

static int register_writes(int fd, uint64_t start, uint64_t end) {
    struct registration r = {.start = start, .length = end - start, .mode = MODE_WRITES};
    return ioctl(fd, REGISTER, &r);
}

static int set_api(int fd) {
    struct api api = {.api = API, .features = FEATURES};
    return ioctl(fd, SET_API, &api);
}

/* ---- can it be done at all */

#define PROBE_PAGES 8

/* Tries it on memory of our own. A page that moves must not keep its note: on kernels before 6.13 it did, and its writes went unseen. */
static struct outcome probe_on(int fd, int pagemap, char *memory, char *elsewhere) {
    struct ranges found = {0};
    struct outcome failure = {.stage = STAGE_REGISTER};
    uint64_t start = (uintptr_t)memory, end = start + PROBE_PAGES * PAGE, moved = (uintptr_t)elsewhere;
    for (int i = 0; i < PROBE_PAGES; i++) memory[i * PAGE] = 1;
    if (register_writes(fd, start, end)) goto out;
    failure.stage = STAGE_SCAN;
    if (scan_pages(pagemap, start, end, WRITTEN_SINCE_AND_WIPE, &found)) goto out;
    failure.stage = STAGE_PROOF;
    errno = 0;
    if (found.count != 1 || found.at[0].to - found.at[0].from != PROBE_PAGES) goto out;
    found.count = 0;
    memory[5 * PAGE] = 2;
    if (scan_pages(pagemap, start, end, WRITTEN_SINCE_AND_WIPE, &found) || found.count != 1) goto out;
    if (found.at[0].from != (double)(start / PAGE + 5) || found.at[0].to != found.at[0].from + 1) goto out;
    found.count = 0;
    if (mremap(memory, PROBE_PAGES * PAGE, PROBE_PAGES * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, elsewhere) != elsewhere) goto out;
    if (register_writes(fd, moved, moved + PROBE_PAGES * PAGE) || scan_pages(pagemap, moved, moved + PROBE_PAGES * PAGE, WRITTEN_SINCE_AND_WIPE, &found)) goto out;
    if (found.count != 1 || found.at[0].to - found.at[0].from != PROBE_PAGES) goto out;
    free(found.at);
    return (struct outcome){0};
out:
    failure.error = errno;
    free(found.at);
    return failure;
}

static struct outcome probe(void) {
#ifndef __x86_64__
    return (struct outcome){.stage = STAGE_THREAD, .error = ENOSYS};
#endif
    int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | USER_MODE_ONLY);
    if (fd < 0) return (struct outcome){.stage = STAGE_CREATE, .error = errno};
    struct outcome outcome = {.stage = STAGE_FEATURES};
    int pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
    char *memory = mmap(NULL, 2 * PROBE_PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (set_api(fd) || pagemap < 0 || memory == MAP_FAILED) outcome.error = errno;
    else outcome = probe_on(fd, pagemap, memory, memory + PROBE_PAGES * PAGE);
    if (memory != MAP_FAILED) munmap(memory, 2 * PROBE_PAGES * PAGE);
    if (pagemap >= 0) close(pagemap);
    close(fd);
    return outcome;
}

/* ---- processes */

/* In how many looks the children of a process are looked at for a copy of its userfaultfd. */
#define CHECKS 3

static void drop(pid_t pid) {
    for (size_t i = 0; i < tracked_count; i++) {
        if (tracked[i].pid != pid) continue;
        close(tracked[i].fd);
        tracked[i] = tracked[--tracked_count];
        return;
    }
}

static struct tracked *find(pid_t pid) {
    for (size_t i = 0; i < tracked_count; i++)
        if (tracked[i].pid == pid) return &tracked[i];
    return NULL;
}

static struct outcome attach(pid_t pid) {
    drop(pid);
    void *more = realloc(tracked, (tracked_count + 1) * sizeof *tracked);
    if (!more) return (struct outcome){.stage = STAGE_THREAD, .error = ENOMEM};
    tracked = more;
    struct outcome outcome = borrow_userfaultfd(pid);
    if (outcome.stage) return outcome;
    if (set_api(outcome.fd)) {
        struct outcome failure = {.stage = STAGE_FEATURES, .error = errno};
        close(outcome.fd);
        return failure;
    }
    tracked[tracked_count++] = (struct tracked){pid, outcome.fd, outcome.number, CHECKS};
    return outcome;
}

/*
 * Looks at ranges of a process: what was written in them since the last live look. A live look also registers new memory (all of it that is there
 * counts as written), wipes the notes, and says what is there. Any other changes nothing, since CRIU may be reading the mappings; new memory fails.
 * /proc/PID/pagemap is opened each time, and the kernel checks the registration there: a process that has executed another program has other memory
 * than the userfaultfd, and all its ranges fail.
 */
static int look(const struct request *request, const struct range *asked, struct ranges *written, struct ranges *failed, struct ranges *present) {
    struct tracked *process = find(request->pid);
    int fd = process ? process->fd : -1;
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/pagemap", request->pid);
    int pagemap = fd < 0 ? -1 : open(path, O_RDONLY | O_CLOEXEC);
    if (pagemap < 0) {
        if (fd < 0) errno = ESRCH;
        return -1;
    }
    bool is_live = request->flags & LOOK_LIVE;
    if (is_live && process->checks > 0) {
        process->checks--;
        close_in_children(request->pid, fd, process->number);
    }
    int result = 0;
    for (uint32_t i = 0; i < request->ranges && !result; i++) {
        uint64_t from = (uint64_t)asked[i].from, to = (uint64_t)asked[i].to;
        size_t before = written->count;
        double last_to = before ? written->at[before - 1].to : 0;
        if ((is_live && register_writes(fd, from * PAGE, to * PAGE)) ||
            scan_pages(pagemap, from * PAGE, to * PAGE, is_live ? WRITTEN_SINCE_AND_WIPE : WRITTEN_SINCE, written)) {
            /* What was found of it is in the whole. */
            written->count = before;
            if (before) written->at[before - 1].to = last_to;
            if (!add(failed, from, to, 0)) result = -1;
        }
        if (is_live && scan_pages(pagemap, from * PAGE, to * PAGE, THERE, present)) result = -1;
    }
    int error = errno;
    close(pagemap);
    errno = error;
    return result;
}

/* ---- the pipe */

/* False at the end of the input. */
static bool read_all(void *to, size_t size) {
    for (size_t done = 0; done < size;) {
        ssize_t n = read(0, (char *)to + done, size - done);
        if (n == 0 || (n < 0 && errno != EINTR)) return false;
        if (n > 0) done += (size_t)n;
    }
    return true;
}

static bool write_all(const void *from, size_t size) {
    for (size_t done = 0; done < size;) {
        ssize_t n = write(1, (const char *)from + done, size - done);
        if (n < 0 && errno != EINTR) return false;
        if (n > 0) done += (size_t)n;
    }
    return true;
}

int run_track(void) {
    static struct ranges written, failed, present;
    signal(SIGPIPE, SIG_IGN);
    for (struct request request; read_all(&request, sizeof request);) {
        if (request.ranges > MOST_RANGES) return EXIT_USAGE;
        struct range *asked = malloc((request.ranges + 1) * sizeof *asked);
        if (!asked || !read_all(asked, request.ranges * sizeof *asked)) return EXIT_OWN_FAULT;
        struct outcome outcome = {0};
        written.count = failed.count = present.count = 0;
        switch (request.kind) {
        case PROBE:
            outcome = probe();
            break;
        case ATTACH:
            outcome = attach(request.pid);
            break;
        case LOOK:
            if (look(&request, asked, &written, &failed, &present)) {
                outcome = (struct outcome){.stage = STAGE_SCAN, .error = errno};
                written.count = failed.count = present.count = 0;
            }
            break;
        case DROP:
            drop(request.pid);
            break;
        default:
            return EXIT_USAGE;
        }
        free(asked);
        struct reply reply = {request.kind, outcome.stage, outcome.error, (uint32_t)written.count, (uint32_t)failed.count, (uint32_t)present.count};
        if (!write_all(&reply, sizeof reply) || !write_all(written.at, written.count * sizeof(struct range)) ||
            !write_all(failed.at, failed.count * sizeof(struct range)) || !write_all(present.at, present.count * sizeof(struct range)))
            return EXIT_OWN_FAULT;
    }
    return 0;
}
