/* What the tests of the write tracking look at. argv: MODE [ARGUMENT]; prints "up", then reacts to lines on stdin (or ends with it). */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/filter.h>
#include <linux/futex.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PAGE 4096
#define SECONDS 1000

static void say(const char *word, long value) {
    char line[128];
    int n = snprintf(line, sizeof line, "%s %ld\n", word, value);
    if (write(1, line, (size_t)n) != n) _exit(1);
}

/* ---- waiting: says so when a wait ends before its time */

static void wait_in(const char *call) {
    int fds[2];
    struct epoll_event event;
    struct timespec time = {SECONDS, 0};
    static uint32_t word;
    sigset_t usr1;
    sigemptyset(&usr1);
    sigaddset(&usr1, SIGUSR1);
    if (pipe(fds)) _exit(1);
    long result = -1;
    errno = 0;
    if (!strcmp(call, "nanosleep")) result = nanosleep(&time, NULL);
    if (!strcmp(call, "futex")) result = syscall(SYS_futex, &word, FUTEX_WAIT, 0, &time, NULL, 0);
    if (!strcmp(call, "futex-forever")) result = syscall(SYS_futex, &word, FUTEX_WAIT, 0, NULL, NULL, 0);
    if (!strcmp(call, "read")) result = read(fds[0], &event, 1);
    if (!strcmp(call, "poll")) result = poll(&(struct pollfd){.fd = fds[0], .events = POLLIN}, 1, SECONDS * 1000);
    if (!strcmp(call, "ppoll")) result = ppoll(&(struct pollfd){.fd = fds[0], .events = POLLIN}, 1, &time, &usr1);
    if (!strcmp(call, "epoll_wait")) result = epoll_wait(epoll_create1(0), &event, 1, SECONDS * 1000);
    if (!strcmp(call, "epoll_pwait")) result = epoll_pwait(epoll_create1(0), &event, 1, -1, &usr1);
    if (!strcmp(call, "sigtimedwait")) result = sigtimedwait(&usr1, NULL, &time);
    if (!strcmp(call, "pause")) result = pause();
    say("ended", result < 0 ? errno : 0);
}

static void *wait_in_thread(void *call) {
    wait_in(call);
    return NULL;
}

/* ---- writing all the time */

static volatile char *area;
static long pages;
static unsigned first_seed;

/* Thread i writes pages i, i + 3, ... in an order of its own; a page holds how often it was written, at both ends. */
static void *write_pages(void *argument) {
    long i = (long)argument;
    unsigned seed = first_seed + (unsigned)i;
    for (;;) {
        long page = (rand_r(&seed) % (pages / 3)) * 3 + i;
        uint64_t *at = (uint64_t *)(area + page * PAGE);
        at[0]++;
        at[511]++;
        /* So that in a round some pages are written and most are not. */
        nanosleep(&(struct timespec){0, 20000}, NULL);
    }
    return NULL;
}

/* ---- a filter that kills at userfaultfd */

static void filter(void) {
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 323, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {sizeof code / sizeof *code, code};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program)) _exit(1);
}

static char *map(long count) { return mmap(NULL, (size_t)count * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0); }

int main(int argc, char **argv) {
    const char *mode = argc > 1 ? argv[1] : "", *argument = argc > 2 ? argv[2] : "";
    if (strcmp(mode, "writing")) prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (!strcmp(mode, "wait")) {
        say("up", 0);
        wait_in(argument);
        return 0;
    }
    if (!strcmp(mode, "forking")) {
        say("up", 0);
        for (;;) {
            if (!fork()) {
                sleep(2);
                _exit(0);
            }
            nanosleep(&(struct timespec){0, 1000000}, NULL);
            while (waitpid(-1, NULL, WNOHANG) > 0) continue;
        }
    }
    if (!strcmp(mode, "trace")) {
        if (ptrace(PTRACE_SEIZE, atoi(argument), 0, 0)) return 1;
        say("up", 0);
        pause();
    }
    if (!strcmp(mode, "wait-in-thread")) {
        pthread_t thread;
        pthread_create(&thread, NULL, wait_in_thread, (void *)argument);
        say("up", 0);
        pthread_join(thread, NULL);
        return 0;
    }
    pages = argc > 2 ? atol(argument) : 64;
    area = map(pages);
    for (long i = 0; i < pages; i++) area[i * PAGE] = 1;
    if (!strcmp(mode, "filtered")) filter();
    if (!strcmp(mode, "writing")) {
        first_seed = argc > 3 ? (unsigned)atol(argv[3]) : 0;
        memset((void *)area, 0, (size_t)pages * PAGE);
        for (long i = 0; i < 3; i++) {
            pthread_t thread;
            pthread_create(&thread, NULL, write_pages, (void *)i);
        }
    }
    say("up", (long)((uintptr_t)area / PAGE));
    while (!strcmp(mode, "writing")) pause();
    char line[64];
    while (fgets(line, sizeof line, stdin)) {
        long value = 0;
        char *at = strchr(line, ' ');
        if (at) value = atol(at + 1);
        switch (line[0]) {
        case 'w': /* write a page */
            area[value * PAGE + 100]++;
            break;
        case 'd': /* drop a page */
            madvise((void *)(area + value * PAGE), PAGE, MADV_DONTNEED);
            break;
        case 'u': /* unmap a page, and map another there */
            munmap((void *)(area + value * PAGE), PAGE);
            mmap((void *)(area + value * PAGE), PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
            area[value * PAGE] = 9;
            break;
        case 'm': { /* move all of it */
            char *to = map(pages);
            area = mremap((void *)area, (size_t)pages * PAGE, (size_t)pages * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, to);
            value = (long)((uintptr_t)area / PAGE);
            break;
        }
        case 'f': /* fork: the child says its pid and writes page 1 */
            value = fork();
            if (!value) {
                prctl(PR_SET_PDEATHSIG, SIGKILL);
                area[PAGE]++;
                say("child", getpid());
                pause();
            }
            break;
        case 'p': /* a page that nobody may touch */
            mprotect((void *)(area + value * PAGE), PAGE, PROT_NONE);
            break;
        case 'x':
            execv("/proc/self/exe", (char *[]){argv[0], "idle", (char *)argument, NULL});
            return 1;
        }
        say("done", value);
    }
    return 0;
}
