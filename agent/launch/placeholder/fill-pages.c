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
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "fill.h"
#include "placeholder.h"

enum { URGENT_FD = 3, BULK_FD = 4 };

/* An order and a word look alike. Orders: PRESENT declares content to come, before the restore; COPY is followed by pages; END: all was
 * sent. Words: LISTENING; TOUCHED: the page is waited for. */
enum { PRESENT = 1, COPY = 2, END = 3, LISTENING = 16, TOUCHED = 17 };
struct order { uint32_t type, pages; uint64_t address; int32_t pid; uint32_t reserved; };
#define MOST_PAGES 1024

#define CRIU_FINISHED 0x52535446

static bool is_all_sent;

struct lane { int fd; struct order order; size_t order_fill, payload_fill; uint8_t *payload; };

void die(const char *format, ...) {
    va_list list;
    va_start(list, format);
    vfprintf(stderr, format, list);
    va_end(list);
    fputc('\n', stderr);
    exit(EXIT_OWN_FAULT);
}

void need(bool is_fine) {
    if (!is_fine) die("no memory");
}

static void tell(uint32_t type, int pid, uint64_t address) {
    struct order word = {type, 1, address, pid, 0};
    if (send(URGENT_FD, &word, sizeof word, MSG_NOSIGNAL) != sizeof word) die("the agent is gone");
}

void tell_touched(int pid, uint64_t address) {
    tell(TOUCHED, pid, address);
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
        put_pages(o->pid, o->address, bytes, lane->payload);
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

int run_fill_pages(const char *dir) {
    struct lane urgent = {.fd = URGENT_FD, .payload = malloc(MOST_PAGES * PAGE)};
    struct lane bulk = {.fd = BULK_FD, .payload = malloc(MOST_PAGES * PAGE)};
    need(urgent.payload && bulk.payload);
    int listening = listen_in(dir), criu = -1;
    tell(LISTENING, 0, 0);

    struct pollfd *fds = NULL;
    while (!is_restored || !is_all_sent) {
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
    expect_complete();
    return 0;
}
