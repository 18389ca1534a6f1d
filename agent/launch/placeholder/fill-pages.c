/*
 * Puts the pages of a lazy restore into the restored processes: the peer of `criu restore --lazy-pages` (criu/uffd.c, 4.2), which hands it a
 * userfaultfd for each process. What is put in where and when is the agent's to say; what the process does to its memory meanwhile (fork,
 * mremap, munmap, madvise) is followed here, where the kernel tells it. agent/pages/filler.ts is the other side.
 *
 *   fill-pages DIR    listens at DIR/lazy-pages.socket. fd 3: a socket for orders in a hurry, and for what is told; fd 4: one for all others
 *
 * Ends with 0 when every page is in, otherwise with a word on stderr. A page that was never stored reads as zeroes.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "fill.h"
#include "placeholder.h"

enum { URGENT_FD = 3, BULK_FD = 4 };

/* An order and a word look alike. Orders: PRESENT declares content to come, before the restore; COPY is followed by pages; END: all was
 * sent. Words: LISTENING; RESTORED: CRIU has registered all memory; TOUCHED: the page is waited for. */
enum { PRESENT = 1, COPY = 2, END = 3, LISTENING = 16, RESTORED = 17, TOUCHED = 18 };
struct order { uint32_t type, pages; uint64_t address; int32_t pid; uint32_t reserved; };
#define MOST_PAGES 1024

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

#define CRIU_FINISHED 0x52535446
/* A process that changes its memory holds all puts back until its event is read; one that never lets go is a fault. */
#define BUSY_MS 10000

/* One address space. `pid` is the one in the images, also of a child that was forked since. */
struct space { int pid, fd; struct missing missing; };
static struct space *spaces;
static size_t space_count;
static bool is_restored, is_all_sent;

struct lane { int fd; struct order order; size_t order_fill, payload_fill; uint8_t *payload; };

static void die(const char *format, ...) {
    va_list list;
    va_start(list, format);
    vfprintf(stderr, format, list);
    va_end(list);
    fputc('\n', stderr);
    exit(EXIT_OWN_FAULT);
}

static void need(bool is_fine) {
    if (!is_fine) die("no memory");
}

static void tell(uint32_t type, int pid, uint64_t address) {
    struct order word = {type, 1, address, pid, 0};
    if (send(URGENT_FD, &word, sizeof word, MSG_NOSIGNAL) != sizeof word) die("the agent is gone");
}

static int64_t now_ms(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static struct space *space_of(int pid) {
    for (size_t i = 0; i < space_count; i++)
        if (spaces[i].pid == pid) return &spaces[i];
    return NULL;
}

static struct space *new_space(int pid, int fd) {
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
        const struct piece *p = missing_at(&s->missing, page);
        if (p) tell(TOUCHED, s->pid, p->image + (page - p->at));
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
static void read_events(size_t index) {
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
        if (missing_at(&spaces[index].missing, at)) return; /* moved there meanwhile: its next touch tells */
    }
}

/* Puts in as much of one piece as the kernel takes at once. Returns false when it must wait until CRIU has registered all memory. */
static bool put_piece(size_t index, struct piece p, const uint8_t *content, int64_t *busy_since) {
    struct space *s = &spaces[index];
    struct copying c = {.to = p.at, .from = (uintptr_t)content, .length = p.bytes};
    bool is_done = !ioctl(s->fd, FILL_COPY, &c);
    int error = errno;
    if (is_done || c.copied > 0) {
        *busy_since = 0;
        need(missing_drop(&s->missing, p.at, is_done ? p.bytes : (uint64_t)c.copied));
        if (is_done) return true;
    }
    switch (judge(index, c.copied, error, busy_since)) {
    case AGAIN:
        return true;
    case DONE: { /* the process has gone, or the page is there */
        struct range page = {p.at, PAGE};
        if (spaces[index].fd < 0) return true;
        ioctl(spaces[index].fd, WAKE, &page);
        need(missing_drop(&spaces[index].missing, p.at, PAGE));
        return true;
    }
    case NOT_MAPPED:
        if (!is_restored) return false;
        /* One put cannot reach from a mapping into the next. */
        if (p.bytes > PAGE) {
            p.bytes = p.bytes / 2 & ~(PAGE - 1);
            return put_piece(index, p, content, busy_since);
        }
        need(missing_drop(&spaces[index].missing, p.at, PAGE));
    }
    return true;
}

/* Puts in all that is wanted of the image's [image, image + bytes). */
static void put_into(size_t index, uint64_t image, uint64_t bytes, const uint8_t *content) {
    int64_t busy_since = 0;
    while (spaces[index].fd >= 0) {
        struct piece p = missing_of_image(&spaces[index].missing, image, bytes);
        if (!p.bytes || !put_piece(index, p, content + (p.image - image), &busy_since)) return;
    }
}

static void put(int pid, uint64_t image, uint64_t bytes, const uint8_t *content) {
    /* Of what comes before CRIU has registered all memory only some can be put in; the rest comes once more. */
    uint64_t step = is_restored ? bytes : PAGE;
    /* A fork while we are at it adds a space, which is then come to. */
    for (size_t i = 0; i < space_count; i++)
        for (uint64_t done = 0; spaces[i].pid == pid && done < bytes; done += step)
            put_into(i, image + done, step, content + done);
}

/* ---- orders */

static void carry_out(const struct lane *lane) {
    const struct order *o = &lane->order;
    uint64_t bytes = o->pages * PAGE;
    switch (o->type) {
    case PRESENT: {
        struct space *s = space_of(o->pid);
        if (!s) s = new_space(o->pid, -1);
        need(missing_add(&s->missing, o->address, o->address, bytes));
        break;
    }
    case COPY:
        put(o->pid, o->address, bytes, lane->payload);
        break;
    case END:
        is_all_sent = true;
        break;
    default:
        die("the agent sent an unknown order %u", o->type);
    }
}

/* Takes what has come, up to one whole order. Returns whether it was one. */
static bool read_lane(struct lane *lane) {
    for (;;) {
        bool is_header = lane->order_fill < sizeof lane->order;
        size_t payload = is_header || lane->order.type != COPY ? 0 : lane->order.pages * PAGE;
        if (!is_header && lane->payload_fill == payload) break;
        uint8_t *to = is_header ? (uint8_t *)&lane->order + lane->order_fill : lane->payload + lane->payload_fill;
        size_t wanted = is_header ? sizeof lane->order - lane->order_fill : payload - lane->payload_fill;
        ssize_t n = recv(lane->fd, to, wanted, MSG_DONTWAIT);
        if (n < 0 && (errno == EAGAIN || errno == EINTR)) return false;
        if (n <= 0) die("the agent is gone");
        *(is_header ? &lane->order_fill : &lane->payload_fill) += (size_t)n;
        if (lane->order_fill == sizeof lane->order && lane->order.type == COPY && lane->order.pages > MOST_PAGES)
            die("the agent sent %u pages at once", lane->order.pages);
    }
    carry_out(lane);
    lane->order_fill = lane->payload_fill = 0;
    return true;
}

/* ---- CRIU */

static int listen_in(const char *dir) {
    struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = "lazy-pages.socket"};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (chdir(dir) || fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof address) || listen(fd, 1))
        die("cannot listen in %s: %s", dir, strerror(errno));
    return fd;
}

static int receive_fd(int socket) {
    char byte;
    struct iovec part = {&byte, 1};
    union { struct cmsghdr header; char space[CMSG_SPACE(sizeof(int))]; } control = {0};
    struct msghdr m = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
    if (recvmsg(socket, &m, MSG_CMSG_CLOEXEC) != 1) return -1;
    struct cmsghdr *c = CMSG_FIRSTHDR(&m);
    if (!c || c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS) return -1;
    int fd;
    memcpy(&fd, CMSG_DATA(c), sizeof fd);
    return fd;
}

/* One message of CRIU's: a process and its userfaultfd, a zombie (negative), or that all is restored. Returns false at its end. */
static bool hear_criu(int socket) {
    int pid;
    ssize_t n = recv(socket, &pid, sizeof pid, MSG_WAITALL);
    if (n == 0) return false;
    if (n != sizeof pid) die("criu restore sent half a word");
    if (pid == CRIU_FINISHED) {
        is_restored = true;
        tell(RESTORED, 0, 0);
    } else if (pid >= 0) {
        int fd = receive_fd(socket);
        if (fd < 0) die("criu restore sent no userfaultfd for process %d", pid);
        struct space *s = space_of(pid);
        if (!s) s = new_space(pid, -1);
        s->fd = fd;
    }
    return true;
}

/* ---- the loop */

static void forget_ended(void) {
    size_t to = 0;
    for (size_t i = 0; i < space_count; i++)
        if (spaces[i].fd >= 0 || spaces[i].missing.used) spaces[to++] = spaces[i];
    space_count = to;
}

static bool is_over(void) {
    if (!is_restored || !is_all_sent) return false;
    for (size_t i = 0; i < space_count; i++)
        if (spaces[i].missing.used)
            die("%zu pieces of process %d never came", spaces[i].missing.used, spaces[i].pid);
    return true;
}

int run_fill_pages(const char *dir) {
    struct lane urgent = {.fd = URGENT_FD, .payload = malloc(MOST_PAGES * PAGE)};
    struct lane bulk = {.fd = BULK_FD, .payload = malloc(MOST_PAGES * PAGE)};
    need(urgent.payload && bulk.payload);
    int listening = listen_in(dir), criu = -1;
    tell(LISTENING, 0, 0);

    struct pollfd *fds = NULL;
    while (!is_over()) {
        if (is_restored) forget_ended();
        size_t count = 3 + space_count;
        fds = realloc(fds, count * sizeof *fds);
        need(fds);
        fds[0] = (struct pollfd){.fd = URGENT_FD, .events = POLLIN};
        fds[1] = (struct pollfd){.fd = criu >= 0 ? criu : listening, .events = POLLIN};
        /* Until all is registered the kernel would refuse most of it. */
        fds[2] = (struct pollfd){.fd = is_restored ? BULK_FD : -1, .events = POLLIN};
        for (size_t i = 0; i < space_count; i++) fds[3 + i] = (struct pollfd){.fd = spaces[i].fd, .events = POLLIN};
        if (poll(fds, count, -1) < 0 && errno != EINTR) die("poll: %s", strerror(errno));

        for (size_t i = 3; i < count; i++)
            if (fds[i].revents) read_events(i - 3);
        if (fds[0].revents)
            while (read_lane(&urgent)) continue;
        if (fds[1].revents && criu < 0) {
            criu = accept4(listening, NULL, NULL, SOCK_CLOEXEC);
            close(listening);
            listening = -1;
        } else if (fds[1].revents && !hear_criu(criu)) {
            if (!is_restored) die("criu restore ended");
            close(criu);
            criu = -1; /* and nobody listens: fds[1].fd is negative from now on */
        }
        if (fds[2].revents) read_lane(&bulk);
    }
    return 0;
}
