/*
 * For tests: preloaded into criu below everything else, kills it at its Nth call of interest.
 *   DIE_AT N      1 is where it seizes the first thread
 *   DIE_WHEN      before: instead of the call; after: when it has returned; later: some milliseconds after that, when whatever it set off has happened
 *   DIE_COUNT     file that the number of calls is written to when it ends by itself
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

#define LATER_NS 3000000

static long calls;
static pid_t dumping;

static void die(void) {
    kill(getpid(), SIGKILL);
    for (;;) pause();
}

static int is_now(const char *when) {
    const char *at = getenv("DIE_AT"), *wanted = getenv("DIE_WHEN");
    return at && wanted && atol(at) == calls && !strcmp(wanted, when);
}

static int counts(void) {
    return dumping == getpid();
}

static void enter(void) {
    if (!counts()) return;
    calls++;
    if (is_now("before")) die();
}

static void leave(void) {
    if (!counts()) return;
    if (is_now("after")) die();
    if (is_now("later")) {
        nanosleep(&(struct timespec){.tv_nsec = LATER_NS}, NULL);
        die();
    }
}

__attribute__((destructor)) static void tell(void) {
    const char *path = getenv("DIE_COUNT");
    FILE *file = path && counts() ? fopen(path, "we") : NULL;
    if (!file) return;
    fprintf(file, "%ld", calls);
    fclose(file);
}

long ptrace(enum __ptrace_request request, ...) {
    long (*next)(int, pid_t, void *, void *) = (long (*)(int, pid_t, void *, void *))dlsym(RTLD_NEXT, "ptrace");
    va_list list;
    va_start(list, request);
    pid_t pid = va_arg(list, pid_t);
    void *address = va_arg(list, void *), *data = va_arg(list, void *);
    va_end(list);
    if (request == PTRACE_SEIZE) dumping = getpid();
    enter();
    long result = next((int)request, pid, address, data);
    leave();
    return result;
}

#define INTERPOSE(type, name, parameters, arguments)                                                                                                 \
    type name parameters {                                                                                                                           \
        type(*next) parameters = (type(*) parameters)dlsym(RTLD_NEXT, #name);                                                                        \
        enter();                                                                                                                                     \
        type result = next arguments;                                                                                                                \
        leave();                                                                                                                                     \
        return result;                                                                                                                               \
    }

INTERPOSE(pid_t, wait4, (pid_t pid, int *status, int options, struct rusage *usage), (pid, status, options, usage))
INTERPOSE(ssize_t, send, (int fd, const void *bytes, size_t count, int flags), (fd, bytes, count, flags))
INTERPOSE(ssize_t, recv, (int fd, void *bytes, size_t count, int flags), (fd, bytes, count, flags))
INTERPOSE(ssize_t, sendmsg, (int fd, const struct msghdr *message, int flags), (fd, message, flags))
INTERPOSE(ssize_t, recvmsg, (int fd, struct msghdr *message, int flags), (fd, message, flags))
