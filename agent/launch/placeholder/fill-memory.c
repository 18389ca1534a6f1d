/*
 * The restored processes' address spaces: what the kernel tells of them by their userfaultfds, and how pages are put in. An event and a put never
 * overtake one another: the kernel refuses to put anything in while an event waits to be read.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "fill.h"

/* include/uapi/linux/userfaultfd.h */
struct range { uint64_t start, length; };
struct copying { uint64_t to, from, length, mode; int64_t copied; };
struct zeroing { struct range range; uint64_t mode; int64_t zeroed; };
#define UNREGISTER _IOR(0xAA, 0x01, struct range)
#define WAKE _IOR(0xAA, 0x02, struct range)
#define FILL_COPY _IOWR(0xAA, 0x03, struct copying)
#define FILL_ZERO _IOWR(0xAA, 0x04, struct zeroing)
enum { EVENT_FAULT = 0x12, EVENT_FORK, EVENT_REMAP, EVENT_REMOVE, EVENT_UNMAP };
struct event {
    uint8_t kind, reserved[7];
    union {
        struct { uint64_t flags, address, thread; } fault;
        struct { uint32_t fd; } fork;
        struct { uint64_t from, to, length; } remap;
        struct { uint64_t start, end; } remove;
        uint64_t space[3];
    };
};

/* A process that changes its memory holds all puts back until its event is read; one that never lets go is a fault. */
#define BUSY_MS 10000

struct space *spaces;
size_t space_count;
bool is_restored;

static int64_t now_ms(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

struct space *space_of(int pid) {
    for (size_t i = 0; i < space_count; i++)
        if (spaces[i].pid == pid) return &spaces[i];
    return NULL;
}

struct space *new_space(int pid, int fd) {
    struct space *grown = realloc(spaces, (space_count + 1) * sizeof *spaces);
    need(grown);
    spaces = grown;
    spaces[space_count] = (struct space){pid, fd, {0}};
    return &spaces[space_count++];
}

/* The process has ended, or executes another program. */
static void close_space(struct space *s) {
    if (s->fd >= 0) close(s->fd);
    s->fd = -1;
    missing_free(&s->missing);
}

/* ---- what the process does */

static void put_zero(size_t index, uint64_t at);

static void on_event(size_t index, const struct event *e) {
    struct space *s = &spaces[index];
    switch (e->kind) {
    case EVENT_FAULT: {
        uint64_t page = e->fault.address & ~(PAGE - 1);
        uint64_t image;
        if (missing_at(&s->missing, page, &image)) tell_touched(s->pid, image);
        else put_zero(index, page);
        break;
    }
    case EVENT_FORK: {
        int pid = s->pid;
        struct missing copy;
        need(missing_copy(&copy, &s->missing));
        new_space(pid, (int)e->fork.fd)->missing = copy;
        break;
    }
    case EVENT_REMAP:
        need(missing_move(&s->missing, e->remap.from, e->remap.to, e->remap.length));
        break;
    case EVENT_REMOVE: {
        /* The mapping stays, and reads as zeroes from now on: no more of our business. */
        struct range gone = {e->remove.start, e->remove.end - e->remove.start};
        if (ioctl(s->fd, UNREGISTER, &gone) && errno == ENOMEM) {
            close_space(s);
            break;
        }
    } /* fall through */
    case EVENT_UNMAP:
        need(missing_drop(&s->missing, e->remove.start, e->remove.end - e->remove.start));
        break;
    default:
        die("the kernel tells of an unknown event %d", e->kind);
    }
}

/* Reads what there is; the order of events is that of what happened. */
void read_events(size_t index) {
    struct event e;
    while (spaces[index].fd >= 0) {
        ssize_t n = read(spaces[index].fd, &e, sizeof e);
        if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
        if (n != sizeof e) return close_space(&spaces[index]);
        on_event(index, &e);
    }
}

/* ---- putting in */

enum outcome { DONE, AGAIN, NOT_MAPPED };

/* One look at what the kernel answered to a put of which it has done `done` bytes (or -errno). */
static enum outcome judge(size_t index, int64_t done, int error, int64_t *busy_since) {
    if (error == ESRCH || error == ENOSPC || done == -ESRCH || done == -ENOSPC) {
        close_space(&spaces[index]);
        return DONE;
    }
    if (error == EAGAIN || done == -EAGAIN || done > 0) {
        struct pollfd event = {.fd = spaces[index].fd, .events = POLLIN};
        if (done <= 0) {
            if (!*busy_since) *busy_since = now_ms();
            else if (now_ms() - *busy_since > BUSY_MS) die("process %d holds its memory", spaces[index].pid);
            poll(&event, 1, 1);
        }
        read_events(index);
        return AGAIN;
    }
    if (error == ENOENT || done == -ENOENT) return NOT_MAPPED;
    if (error == EEXIST || done == -EEXIST) return DONE;
    die("a page of process %d cannot be put in: %s", spaces[index].pid, strerror(error));
    return DONE;
}

static void put_zero(size_t index, uint64_t at) {
    int64_t busy_since = 0;
    while (spaces[index].fd >= 0) {
        struct zeroing z = {.range = {at, PAGE}};
        if (!ioctl(spaces[index].fd, FILL_ZERO, &z)) return;
        int error = errno;
        if (error == EEXIST || z.zeroed == -EEXIST) ioctl(spaces[index].fd, WAKE, &z.range);
        if (judge(index, z.zeroed, error, &busy_since) != AGAIN) return;
        uint64_t image;
        if (missing_at(&spaces[index].missing, at, &image)) return; /* moved there meanwhile: its next touch tells */
    }
}

/* Puts in as much as the kernel takes at once. Returns false when it must wait until CRIU has registered all memory. */
static bool put_wanted(size_t index, struct wanted p, const uint8_t *content, int64_t *busy_since) {
    struct space *s = &spaces[index];
    struct copying c = {.to = p.at, .from = (uintptr_t)content, .length = p.bytes};
    bool is_done = !ioctl(s->fd, FILL_COPY, &c);
    int error = errno;
    if (is_done || c.copied > 0) {
        *busy_since = 0;
        missing_came(&s->missing, p.at, is_done ? p.bytes : (uint64_t)c.copied);
        if (is_done) return true;
    }
    switch (judge(index, c.copied, error, busy_since)) {
    case AGAIN:
        return true;
    case DONE: { /* the process has gone, or the page is there */
        struct range page = {p.at, PAGE};
        if (spaces[index].fd < 0) return true;
        ioctl(spaces[index].fd, WAKE, &page);
        missing_came(&spaces[index].missing, p.at, PAGE);
        return true;
    }
    case NOT_MAPPED:
        if (!is_restored) return false;
        /* One put cannot reach from a mapping into the next. */
        if (p.bytes > PAGE) {
            p.bytes = p.bytes / 2 & ~(PAGE - 1);
            return put_wanted(index, p, content, busy_since);
        }
        missing_came(&spaces[index].missing, p.at, PAGE);
    }
    return true;
}

/* Puts in all that is wanted of the image's [image, image + bytes). */
static void put_into(size_t index, uint64_t image, uint64_t bytes, const uint8_t *content) {
    int64_t busy_since = 0;
    while (spaces[index].fd >= 0) {
        struct wanted p = missing_of_image(&spaces[index].missing, image, bytes);
        if (!p.bytes || !put_wanted(index, p, content + (p.image - image), &busy_since)) return;
    }
}

void put_pages(int pid, uint64_t image, uint64_t bytes, const uint8_t *content) {
    /* Of what comes before CRIU has registered all memory only some can be put in; the rest comes once more. */
    uint64_t step = is_restored ? bytes : PAGE;
    /* A fork while we are at it adds a space, which is then come to. */
    for (size_t i = 0; i < space_count; i++)
        for (uint64_t done = 0; spaces[i].pid == pid && done < bytes; done += step)
            put_into(i, image + done, step, content + done);
}

void forget_ended(void) {
    size_t to = 0;
    for (size_t i = 0; i < space_count; i++)
        if (spaces[i].fd >= 0 || spaces[i].missing.used) spaces[to++] = spaces[i];
    space_count = to;
}

void expect_complete(void) {
    for (size_t i = 0; i < space_count; i++)
        if (spaces[i].missing.used) die("%zu pieces of process %d never came", spaces[i].missing.used, spaces[i].pid);
}
