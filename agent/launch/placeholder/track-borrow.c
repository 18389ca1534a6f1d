/*
 * A userfaultfd belongs to the memory of whoever makes it. So one thread of the process is stopped, makes one, and is put back exactly as it
 * was: its registers, its signal mask, the system call it was waiting in. We take the descriptor over and have it closed there.
 *
 * It is done by a child of ours that shares our descriptors, one for each process: whatever happens, with its end the thread is let go.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "track.h"

#ifdef __x86_64__

/* include/uapi/linux/ptrace.h, userfaultfd.h */
#define GET_SIGMASK 0x420a
#define SET_SIGMASK 0x420b
#define GET_RSEQ 0x420f
#define GET_DISPATCH 0x4210
#define SUSPEND_SECCOMP (1 << 21)
#define USER_MODE_ONLY 1
#define USER_CODE_64 0x33

/* How long the thread may take to stop: then it is inside the kernel, and hashing is cheaper than waiting. */
#define STOP_MS 500
/* Once its registers are ours it must get them back. */
#define RETURN_MS 10000

static const uint64_t every_signal = ~UINT64_C(0);

static int64_t now_us(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

struct thread {
    pid_t pid, tid;
    struct user_regs_struct saved;
    uint64_t mask;
    bool gave_up;    /* saved is as if its system call had not begun */
    bool was_stopped; /* somebody sent SIGSTOP meanwhile */
    int64_t until_us;
};

/* The next stop of the thread: its wait status, or -1. */
static int wait_stop(struct thread *t) {
    for (int tries = 0;; tries++) {
        int status;
        pid_t pid = waitpid(t->tid, &status, __WALL | WNOHANG);
        if (pid == t->tid) {
            if (WIFSTOPPED(status)) return status;
            errno = ESRCH;
            return -1;
        }
        if (pid < 0 && errno != EINTR) return -1;
        if (now_us() > t->until_us) {
            errno = ETIMEDOUT;
            return -1;
        }
        if (tries < 50) sched_yield();
        else nanosleep(&(struct timespec){0, 20000}, NULL);
    }
}

static bool is_event_stop(int status) { return status >> 16 == PTRACE_EVENT_STOP; }

/* Waits for the stop that PTRACE_INTERRUPT asked for: only from there does the kernel take up an interrupted system call again. */
static int until_interrupted(struct thread *t) {
    for (;;) {
        int status = wait_stop(t);
        if (status < 0) return -1;
        if (is_event_stop(status)) return 0;
        int signal = WSTOPSIG(status);
        /* A signal on its way to the thread, with which it goes on as if nobody had looked. */
        if (ptrace(PTRACE_CONT, t->tid, 0, signal == (SIGTRAP | 0x80) ? 0 : signal)) return -1;
    }
}

/* One system call in the stopped thread. Returns what it returned, or -ESRCH &c. of ours with *failed. */
static long call_in(struct thread *t, uint64_t instruction, long number, long a, bool *failed) {
    struct user_regs_struct regs = t->saved;
    regs.rip = instruction;
    regs.rax = (unsigned long)number;
    regs.orig_rax = ~0ul;
    regs.rdi = (unsigned long)a;
    *failed = true;
    if (ptrace(PTRACE_SETREGS, t->tid, 0, &regs)) return -errno;
    for (int stops = 0; stops < 2;) { /* at its entry and at its exit */
        if (ptrace(PTRACE_SYSCALL, t->tid, 0, 0)) return -errno;
        int status = wait_stop(t);
        if (status < 0) return -errno;
        if (WSTOPSIG(status) == (SIGTRAP | 0x80)) stops++;
        else if (!is_event_stop(status)) t->was_stopped = true; /* no other signal can be delivered now */
    }
    if (ptrace(PTRACE_GETREGS, t->tid, 0, &regs)) return -errno;
    *failed = false;
    return (long)regs.rax;
}

/* In a restartable sequence (per-processor data), the kernel would have sent it to its abort handler before it ran again. */
static int leave_sequence(struct thread *t) {
    struct { uint64_t pointer; uint32_t size, signature, flags, pad; } config = {0};
    if (ptrace(GET_RSEQ, t->tid, sizeof config, &config) < 0) return errno == EIO || errno == EINVAL ? 0 : -1;
    if (!config.pointer) return 0;
    uint64_t word[4];
    errno = 0;
    word[0] = (uint64_t)ptrace(PTRACE_PEEKDATA, t->tid, config.pointer + 8, 0);
    if (errno) return -1;
    if (!word[0]) return 0;
    for (int i = 1; i < 4; i++) word[i] = (uint64_t)ptrace(PTRACE_PEEKDATA, t->tid, word[0] + 8 * (uint64_t)i, 0);
    if (errno) return -1;
    /* struct rseq_cs: version and flags, start_ip, post_commit_offset, abort_ip */
    if (t->saved.rip - word[1] < word[2]) t->saved.rip = word[3];
    return 0;
}

/* A call of a thread with this in force would be turned into a signal. */
static bool dispatches_calls(pid_t tid) {
    struct { uint64_t mode, selector, offset, length; } config = {0};
    return ptrace(GET_DISPATCH, tid, sizeof config, &config) == 0 && config.mode != 0;
}

/* Whether a signal waits for the process that interrupts its system call rightly. */
static bool has_signal(const struct thread *t) {
    static char text[8192];
    if (read_proc(text, sizeof text, "/proc/%d/task/%d/status", t->pid, t->tid) <= 0) return false;
    uint64_t pending = status_field(text, "\nSigPnd:") | status_field(text, "\nShdPnd:");
    return pending & status_field(text, "\nSigCgt:") & ~t->mask;
}

/* Notes all that is changed below. */
static int set_aside(struct thread *t) {
    static char text[8192];
    if (ptrace(PTRACE_GETREGS, t->tid, 0, &t->saved)) return -1;
    if (t->saved.cs != USER_CODE_64 || dispatches_calls(t->tid)) {
        errno = ENOTSUP;
        return -1;
    }
    if (leave_sequence(t)) return -1;
    t->gave_up = (long)t->saved.rax == -EINTR && gives_up((long)t->saved.orig_rax);
    if (read_proc(text, sizeof text, "/proc/%d/task/%d/status", t->pid, t->tid) <= 0) return -1;
    long options = PTRACE_O_TRACESYSGOOD | (status_field(text, "\nSeccomp:") ? SUSPEND_SECCOMP : 0);
    if (ptrace(PTRACE_SETOPTIONS, t->tid, 0, options)) return -1;
    return ptrace(GET_SIGMASK, t->tid, 8, &t->mask) < 0 ? -1 : 0;
}

/* Puts the thread back where it was and lets it go. */
static void put_back(struct thread *t) {
    t->until_us = now_us() + RETURN_MS * 1000;
    /* A failure means that the thread has ended, and then so does the rest. */
    if (ptrace(PTRACE_INTERRUPT, t->tid, 0, 0) || ptrace(PTRACE_CONT, t->tid, 0, 0) || until_interrupted(t)) return;
    if (t->gave_up && !has_signal(t)) {
        t->saved.rax = t->saved.orig_rax;
        t->saved.rip -= 2;
        t->saved.orig_rax = ~0ul;
    }
    ptrace(PTRACE_SETREGS, t->tid, 0, &t->saved);
    ptrace(SET_SIGMASK, t->tid, 8, &t->mask);
    ptrace(PTRACE_DETACH, t->tid, 0, 0);
    if (t->was_stopped) kill(t->pid, SIGSTOP);
}

static struct outcome failed_at(enum track_stage stage, int error) {
    return (struct outcome){.stage = stage, .error = error, .fd = -1};
}

/* In the child. With a `number` it only closes that descriptor there. */
static struct outcome borrow(pid_t pid, int pidfd, int number) {
    uint64_t instruction = find_instruction(pid);
    struct thread t = {.pid = pid, .tid = pick_thread(pid), .until_us = now_us() + STOP_MS * 1000};
    if (t.tid <= 0) return failed_at(STAGE_THREAD, errno);
    if (!instruction) return failed_at(STAGE_THREAD, ENOTSUP);
    if (ptrace(PTRACE_SEIZE, t.tid, 0, 0)) return failed_at(STAGE_SEIZE, errno);
    if (ptrace(PTRACE_INTERRUPT, t.tid, 0, 0) || until_interrupted(&t)) return failed_at(STAGE_STOP, errno);
    if (set_aside(&t) || ptrace(SET_SIGMASK, t.tid, 8, &every_signal)) {
        int error = errno;
        ptrace(PTRACE_DETACH, t.tid, 0, 0);
        return failed_at(STAGE_STATE, error);
    }
    t.until_us = now_us() + RETURN_MS * 1000;
    bool failed;
    struct outcome outcome = {.fd = -1};
    long theirs = number >= 0 ? number : call_in(&t, instruction, SYS_userfaultfd, O_CLOEXEC | USER_MODE_ONLY, &failed);
    if (theirs < 0) outcome = failed_at(STAGE_CALL, (int)-theirs);
    else {
        if (number < 0 && (outcome.fd = (int)syscall(438 /* pidfd_getfd */, pidfd, (int)theirs, 0)) < 0) outcome = failed_at(STAGE_TAKE, errno);
        outcome.number = (int)theirs;
        call_in(&t, instruction, SYS_close, theirs, &failed);
    }
    put_back(&t);
    return outcome;
}

static struct outcome in_child(pid_t pid, int number) {
    static struct outcome *shared;
    if (!shared) shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED) return failed_at(STAGE_THREAD, ENOMEM);
    int pidfd = (int)syscall(434 /* pidfd_open */, pid, 0);
    if (pidfd < 0) return failed_at(STAGE_THREAD, errno);
    *shared = failed_at(STAGE_THREAD, ECHILD);
    pid_t child = (pid_t)syscall(SYS_clone, CLONE_FILES | SIGCHLD, 0, 0, 0, 0);
    if (child == 0) {
        *shared = borrow(pid, pidfd, number);
        _exit(0);
    }
    int error = errno;
    if (child > 0)
        while (waitpid(child, NULL, 0) < 0 && errno == EINTR) continue;
    close(pidfd);
    return child > 0 ? *shared : failed_at(STAGE_THREAD, error);
}

struct outcome borrow_userfaultfd(pid_t pid) { return in_child(pid, -1); }

void close_in_children(pid_t pid, int fd, int number) {
    char path[80];
    snprintf(path, sizeof path, "/proc/%d/task", pid);
    DIR *threads = opendir(path);
    if (!threads) return;
    for (struct dirent *entry; (entry = readdir(threads));) {
        int tid = atoi(entry->d_name), child;
        if (tid <= 0) continue;
        snprintf(path, sizeof path, "/proc/%d/task/%d/children", pid, tid);
        FILE *children = fopen(path, "re");
        while (children && fscanf(children, "%d", &child) == 1)
            if (syscall(SYS_kcmp, getpid(), child, 0 /* KCMP_FILE */, fd, number) == 0) in_child(child, number);
        if (children) fclose(children);
    }
    closedir(threads);
}

#else

struct outcome borrow_userfaultfd(pid_t pid) {
    (void)pid;
    return (struct outcome){.stage = STAGE_THREAD, .error = ENOSYS, .fd = -1};
}

void close_in_children(pid_t pid, int fd, int number) {
    (void)pid, (void)fd, (void)number;
}

#endif
