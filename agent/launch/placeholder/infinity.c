/* The entrypoint of the application's container. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "placeholder.h"

/* The kernel's own limit for argv and environment together is a quarter of the stack limit: 2 MiB by default, 6 MiB at most. */
#define ARGV_LIMIT (6u << 20)

/* How long the supervisor's word on the exit code is waited for, and how long the kernel is asked afterwards. */
#define REPORT_WAIT_MS 500
#define KERNEL_WAIT_MS 1500
#define KERNEL_ASK_EVERY_MS 20

/* include/uapi/linux/pidfd.h of Linux 6.15; older kernels answer ENOTTY. */
struct pidfd_info {
    uint64_t mask, cgroupid;
    uint32_t pid, tgid, ppid, ruid, rgid, euid, egid, suid, sgid, fsuid, fsgid;
    int32_t exit_code;
    uint32_t coredump_mask, coredump_signal;
};
#define PIDFD_INFO_EXIT (UINT64_C(1) << 3)
#define PIDFD_GET_INFO _IOWR(0xFF, 11, struct pidfd_info)

static struct {
    pid_t pid; /* 0: no application */
    bool is_child;
    int pidfd;        /* of an adopted one, else -1 */
    int64_t ended_at; /* monotonic ms at which an adopted one was seen to have ended, else 0 */
} app = {.pidfd = -1};

static bool held;
static sigset_t original_mask;

static char *argv_bytes;
static uint32_t argv_length, argv_expected;

static int64_t now_ms(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void reply(const struct message *request, int32_t a, int32_t b) {
    struct message m = {MESSAGE_MAGIC, request->type, request->id, a, b, 0};
    /* The pipe is full only when thousands of replies were never read: whoever asked is gone. */
    ssize_t written = write(REPLY_WRITE_FD, &m, sizeof m);
    (void)written;
}

/* Whether a container is started again hangs on its code, which the runtime tells nobody inside the pod. */
static void end_container(int code) {
    int32_t word = code;
    ssize_t written = write(END_WRITE_FD, &word, sizeof word);
    (void)written;
    _exit(code);
}

static void application_ended(int wait_status) {
    if (app.pidfd >= 0) close(app.pidfd);
    app.pid = 0;
    app.is_child = false;
    app.pidfd = -1;
    app.ended_at = 0;
    if (!held) end_container(exit_code_of(wait_status));
}

/* ---- starting */

static void collect_argv(const struct message *m, const char *payload) {
    if (m->a == 0) {
        free(argv_bytes);
        argv_bytes = NULL;
        argv_length = argv_expected = 0;
        if (m->b <= 0 || (uint32_t)m->b > ARGV_LIMIT) return;
        argv_bytes = malloc((size_t)m->b);
        if (argv_bytes) argv_expected = (uint32_t)m->b;
    }
    /* A piece that does not continue what is here belongs to a sender that died: START will find the words incomplete. */
    if (!argv_bytes || m->a < 0 || (uint32_t)m->a != argv_length || m->length > argv_expected - argv_length) return;
    memcpy(argv_bytes + argv_length, payload, m->length);
    argv_length += m->length;
}

/* The words as a NULL-terminated vector into argv_bytes; NULL when they are incomplete or there is no memory. */
static char **argv_vector(void) {
    if (!argv_bytes || !argv_length || argv_length != argv_expected || argv_bytes[argv_length - 1] != '\0') return NULL;
    size_t words = 0;
    for (uint32_t i = 0; i < argv_length; i++) words += argv_bytes[i] == '\0';
    char **argv = calloc(words + 1, sizeof *argv);
    if (!argv) return NULL;
    char *word = argv_bytes;
    for (size_t i = 0; i < words; i++, word += strlen(word) + 1) argv[i] = word;
    return argv;
}

/* In the child. What it inherits from the container itself (user, capabilities, filters, limits, environment, output) stays as it is. */
static void become_application(char **argv, int report_fd) {
    setsid();
    /* As process 1 of a container of its own would: orphans of the application stay its descendants, and so move with it. */
    prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
    sigprocmask(SIG_SETMASK, &original_mask, NULL);
    execvp(argv[0], argv);
    int error = errno;
    ssize_t written = write(report_fd, &error, sizeof error);
    (void)written;
    _exit(error == ENOENT ? EXIT_NOT_FOUND : EXIT_NOT_EXECUTABLE);
}

static void start(const struct message *request) {
    if (app.pid) {
        reply(request, 0, EBUSY);
        return;
    }
    char **argv = argv_vector();
    int report[2];
    if (!argv) {
        reply(request, 0, EPROTO);
        return;
    }
    if (pipe2(report, O_CLOEXEC)) {
        reply(request, 0, errno);
        free(argv);
        return;
    }
    pid_t pid = fork();
    int error = errno;
    if (pid == 0) become_application(argv, report[1]);
    free(argv);
    close(report[1]);
    if (pid < 0) {
        close(report[0]);
        reply(request, 0, error);
        return;
    }
    ssize_t n;
    do n = read(report[0], &error, sizeof error);
    while (n < 0 && errno == EINTR);
    close(report[0]);
    if (n == sizeof error) {
        int status = 0;
        while (waitpid(pid, &status, 0) < 0 && errno == EINTR) continue;
        reply(request, 0, error);
        end_container(exit_code_of(status)); /* as the runtime would: the kubelet restarts the container by its policy */
    }
    free(argv_bytes);
    argv_bytes = NULL;
    argv_length = argv_expected = 0;
    app.pid = pid;
    app.is_child = true;
    held = false;
    reply(request, pid, 0);
}

/* ---- a restored application */

static void adopt(const struct message *request) {
    if (app.pid) {
        reply(request, app.pid, EBUSY);
        return;
    }
    int fd = request->a > 0 ? (int)syscall(SYS_pidfd_open, request->a, 0) : -1;
    if (fd < 0 && errno != ENOSYS) {
        reply(request, request->a, request->a > 0 ? errno : EINVAL);
        return;
    }
    app.pid = request->a;
    app.is_child = false;
    app.pidfd = fd;
    app.ended_at = 0;
    held = false;
    reply(request, app.pid, 0);
}

/* The supervisor reports the exit code; when it is dead too, kernels >= 6.15 still know it through the pidfd once the process is reaped. */
static void ask_kernel_for_exit(void) {
    int64_t waited = now_ms() - app.ended_at;
    if (waited < REPORT_WAIT_MS) return;
    struct pidfd_info info = {.mask = PIDFD_INFO_EXIT};
    bool answered = ioctl(app.pidfd, PIDFD_GET_INFO, &info) == 0;
    if (answered && (info.mask & PIDFD_INFO_EXIT)) application_ended(info.exit_code);
    else if (!answered || waited > REPORT_WAIT_MS + KERNEL_WAIT_MS) application_ended(EXIT_UNKNOWN << 8);
}

/* ---- requests */

static void handle(const struct message *m, const char *payload) {
    switch (m->type) {
    case MESSAGE_ARGV:
        collect_argv(m, payload);
        break;
    case MESSAGE_START:
        start(m);
        break;
    case MESSAGE_ADOPT:
        adopt(m);
        break;
    case MESSAGE_EXIT:
        if (app.pid && m->a == app.pid && !app.is_child) application_ended(m->b);
        break;
    case MESSAGE_HOLD:
        held = m->a != 0;
        reply(m, app.pid, held);
        break;
    case MESSAGE_PING:
        reply(m, app.pid, held);
        break;
    default:
        break; /* of a newer agent: it sees no reply and gives up at its deadline */
    }
}

/* Reads what is there and handles every whole message. Bytes that begin none are skipped: losing the application over them is no option. */
static void read_requests(void) {
    static char buffer[4 * MESSAGE_LIMIT];
    static size_t filled;
    for (;;) {
        ssize_t n = read(REQUEST_READ_FD, buffer + filled, sizeof buffer - filled);
        if (n <= 0) return;
        filled += (size_t)n;
        size_t at = 0;
        while (filled - at >= sizeof(struct message)) {
            struct message m;
            memcpy(&m, buffer + at, sizeof m);
            if (m.magic != MESSAGE_MAGIC || m.length > PAYLOAD_LIMIT) {
                at++;
                continue;
            }
            if (filled - at < sizeof m + m.length) break;
            handle(&m, buffer + at + sizeof m);
            at += sizeof m + m.length;
        }
        memmove(buffer, buffer + at, filled - at);
        filled -= at;
    }
}

/* ---- signals */

static void reap(void) {
    int status;
    pid_t pid;
    while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
        if (app.is_child && pid == app.pid) application_ended(status);
}

/* Without an application: does this signal ask the container to stop? The runtime's own stop signal, whichever the image names, comes from outside the pid namespace. */
static bool asks_to_stop(const struct signalfd_siginfo *s) {
    switch (s->ssi_signo) {
    case SIGTERM:
    case SIGINT:
    case SIGHUP:
    case SIGQUIT:
        return true;
    default:
        return s->ssi_code == SI_USER && s->ssi_pid == 0 && s->ssi_signo != SIGCONT;
    }
}

static void read_signals(int fd) {
    struct signalfd_siginfo s;
    while (read(fd, &s, sizeof s) == sizeof s) {
        if (s.ssi_signo == SIGCHLD) reap();
        else if (app.pid) kill(app.pid, (int)s.ssi_signo);
        else if (asks_to_stop(&s)) _exit(128 + (int)s.ssi_signo);
    }
}

/* ---- the loop */

static int open_channel(void) {
    int request[2], answer[2], end[2];
    /* Made high first, so that moving one to its number never lands on another. */
    if (pipe2(request, O_CLOEXEC | O_NONBLOCK) || pipe2(answer, O_CLOEXEC | O_NONBLOCK) || pipe2(end, O_CLOEXEC | O_NONBLOCK))
        return -1;
    const int from[6] = {request[0], request[1], answer[0], answer[1], end[0], end[1]};
    const int to[6] = {REQUEST_READ_FD, REQUEST_WRITE_FD, REPLY_READ_FD, REPLY_WRITE_FD, END_READ_FD, END_WRITE_FD};
    int high[6];
    for (int i = 0; i < 6; i++)
        if ((high[i] = fcntl(from[i], F_DUPFD_CLOEXEC, END_WRITE_FD + 1)) < 0) return -1;
    for (int i = 0; i < 6; i++) close(from[i]);
    for (int i = 0; i < 6; i++) {
        if (dup3(high[i], to[i], O_CLOEXEC) < 0) return -1;
        close(high[i]);
    }
    return 0;
}

int run_infinity(void) {
    sigset_t all;
    sigfillset(&all);
    prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
    if (sigprocmask(SIG_SETMASK, &all, &original_mask) || open_channel()) return EXIT_OWN_FAULT;
    int signals = signalfd(-1, &all, SFD_CLOEXEC | SFD_NONBLOCK);
    if (signals < 0) return EXIT_OWN_FAULT;

    for (;;) {
        struct pollfd fds[3] = {
            {.fd = signals, .events = POLLIN},
            {.fd = REQUEST_READ_FD, .events = POLLIN},
            {.fd = app.ended_at ? -1 : app.pidfd, .events = POLLIN},
        };
        if (poll(fds, 3, app.ended_at ? KERNEL_ASK_EVERY_MS : -1) < 0) continue;
        if (fds[1].revents & POLLIN) read_requests();
        if (fds[0].revents & POLLIN) read_signals(signals);
        if (fds[2].revents & POLLIN && app.pidfd >= 0) app.ended_at = now_ms();
        if (app.ended_at) ask_kernel_for_exit();
    }
}
