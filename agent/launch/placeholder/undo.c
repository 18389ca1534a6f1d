/*
 * Undoes what a criu that was killed in the middle of a dump has left in the application (image/criu-undo.c says why there is something, and writes the
 * log). Every thread of the log gets back its code, registers and signal mask, and nothing of CRIU's stays in the process: no memory, no open file.
 * Threads that are not stopped, or are others than those of the log, are not touched. All are left stopped. Doing it twice does nothing more.
 *
 * Exit code 0: all is as it was, or gone. Else stderr says what could not be undone.
 */
#define _GNU_SOURCE
#include <stdio.h>

#include "placeholder.h"

#if defined(__x86_64__)
#include <dirent.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "undo.h"

#define WAIT_MS 3000
#define LOOK_EVERY_NS 100000
#define SYSCALL_STOP (SIGTRAP | 0x80)
#define SYSCALL_INSTRUCTION 0x050full
#define SYSCALL_BYTES 2
#define SIGNAL(number) (1ull << ((number) - 1))
/* More system calls than the parasite makes after it has lost criu. */
#define MOST_STEPS 100000
#define MOST_LEFTOVERS 64
/* struct rseq of linux/rseq.h: its field rseq_cs. */
#define RSEQ_CS_OFFSET 8

struct critical_section {
    uint32_t version, flags;
    uint64_t start, length, abort;
};

static bool fail(const struct undo_task *task, const char *what) {
    fprintf(stderr, "thread %u: %s: %s\n", task->tid, what, strerror(errno));
    return false;
}

static int64_t monotonic_ms(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void look_later(void) {
    nanosleep(&(struct timespec){.tv_nsec = LOOK_EVERY_NS}, NULL);
}

/* The state of the very thread of the log; 0 when it is gone. */
static char state_of(const struct undo_task *task) {
    char path[64], text[512];
    snprintf(path, sizeof path, "/proc/%u/task/%u/stat", task->tgid, task->tid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t length = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
    if (fd >= 0) close(fd);
    text[length > 0 ? length : 0] = '\0';
    char *fields = strrchr(text, ')'), *field = fields;
    for (int i = 0; field && i < 20; i++) field = (field = strchr(field, ' ')) ? field + 1 : NULL;
    if (!field || strtoull(field, NULL, 10) != task->start_time) return 0;
    return strchr("ZX", fields[2]) ? 0 : fields[2];
}

/* Waits for the next stop of a tracee. */
static bool wait_stop(const struct undo_task *task, int *status) {
    for (int64_t until = monotonic_ms() + WAIT_MS; monotonic_ms() < until; look_later()) {
        pid_t waited = waitpid((pid_t)task->tid, status, __WALL | WNOHANG);
        if (waited < 0) return false;
        if (waited > 0) return WIFSTOPPED(*status);
    }
    errno = ETIMEDOUT;
    return false;
}

/* Seizes a stopped thread: the tracer that died may not have let go of it yet, and it may still be about to stop. */
static bool seize(const struct undo_task *task) {
    long options = PTRACE_O_TRACESYSGOOD | PTRACE_O_SUSPEND_SECCOMP;
    int status;
    errno = EBUSY;
    for (int64_t until = monotonic_ms() + WAIT_MS; monotonic_ms() < until; look_later()) {
        char state = state_of(task);
        if (!state) return false;
        if (state != 'T') continue;
        if (!ptrace(PTRACE_SEIZE, task->tid, NULL, options)) return wait_stop(task, &status);
        /* Only a kernel without filters of system calls refuses this. */
        if (errno == EINVAL) options = PTRACE_O_TRACESYSGOOD;
        else if (errno != EPERM) return false;
    }
    return false;
}

static bool get_regs(const struct undo_task *task, struct user_regs_struct *regs) {
    struct iovec all = {regs, sizeof *regs};
    return !ptrace(PTRACE_GETREGSET, task->tid, (void *)NT_PRSTATUS, &all);
}

static bool set_regs(const struct undo_task *task, struct user_regs_struct *regs) {
    struct iovec all = {regs, sizeof *regs};
    return !ptrace(PTRACE_SETREGSET, task->tid, (void *)NT_PRSTATUS, &all);
}

static bool set_mask(const struct undo_task *task, uint64_t mask) {
    return !ptrace(PTRACE_SETSIGMASK, task->tid, (void *)sizeof mask, &mask);
}

static bool peek(const struct undo_task *task, uint64_t address, uint64_t *word) {
    errno = 0;
    *word = (uint64_t)ptrace(PTRACE_PEEKDATA, task->tid, (void *)address, NULL);
    return !errno;
}

static bool poke(const struct undo_task *task, uint64_t address, uint64_t word) {
    return !ptrace(PTRACE_POKEDATA, task->tid, (void *)address, (void *)word);
}

/* On to the tracee's next entry into a system call, or exit from one. */
static bool step(const struct undo_task *task, uint8_t *op) {
    for (;;) {
        int status;
        if (ptrace(PTRACE_SYSCALL, task->tid, NULL, NULL) || !wait_stop(task, &status)) return false;
        if (WSTOPSIG(status) == SYSCALL_STOP) break;
        /* That it is stopped is no signal; that the parasite could not reach criu is not for the application. */
        if (status >> 16 != PTRACE_EVENT_STOP && WSTOPSIG(status) != SIGPIPE) {
            errno = EINTR;
            return false;
        }
    }
    struct __ptrace_syscall_info info;
    if (ptrace(PTRACE_GET_SYSCALL_INFO, task->tid, (void *)sizeof info, &info) < 0) return false;
    *op = info.op;
    return true;
}

/* A system call in the tracee, from a place that CRIU used for the same. Its registers and mask are foreign afterwards. */
static bool call(const struct undo_task *task, long number, uint64_t a, uint64_t b) {
    const struct undo_word *place = &task->words[0];
    struct user_regs_struct regs = task->regs;
    regs.rip = place->address;
    regs.orig_rax = ~0ull; /* nothing to be started again */
    regs.rax = (uint64_t)number;
    regs.rdi = a;
    regs.rsi = b;
    uint64_t dropped = task->pending & SIGNAL(SIGPIPE) ? 0 : SIGNAL(SIGPIPE);
    uint64_t code = (place->was & ~0xffffull) | SYSCALL_INSTRUCTION;
    uint8_t op = 0;
    bool is_done = set_mask(task, ~dropped) && poke(task, place->address, code) && set_regs(task, &regs);
    while (is_done && op != PTRACE_SYSCALL_INFO_EXIT) is_done = step(task, &op);
    return poke(task, place->address, place->was) && is_done && get_regs(task, &regs) && regs.rax == 0;
}

struct range {
    uint64_t from, to;
};

/* Memory of the parasite in the process. */
static int find_memory(const struct undo_task *task, struct range found[MOST_LEFTOVERS]) {
    char path[64], line[4352];
    int count = 0;
    snprintf(path, sizeof path, "/proc/%u/maps", task->tgid);
    FILE *maps = fopen(path, "re");
    while (maps && count < MOST_LEFTOVERS && fgets(line, sizeof line, maps)) {
        unsigned long from, to;
        int at = 0;
        if (sscanf(line, "%lx-%lx %*s %*s %*s %*s %n", &from, &to, &at) < 2 || strncmp(line + at, PARASITE_MEMORY, strlen(PARASITE_MEMORY))) continue;
        found[count++] = (struct range){from, to};
    }
    if (maps) fclose(maps);
    return count;
}

/* The number of a file that is the parasite's memory, or -1. */
static int find_file(const struct undo_task *task) {
    char path[64], link[64];
    int found = -1;
    snprintf(path, sizeof path, "/proc/%u/fd", task->tgid);
    DIR *fds = opendir(path);
    for (struct dirent *entry; fds && found < 0 && (entry = readdir(fds));) {
        ssize_t length = readlinkat(dirfd(fds), entry->d_name, link, sizeof link - 1);
        link[length > 0 ? length : 0] = '\0';
        if (!strncmp(link, PARASITE_MEMORY, strlen(PARASITE_MEMORY))) found = atoi(entry->d_name);
    }
    if (fds) closedir(fds);
    return found;
}

/* The parasite, having lost criu, closes its files and gives back the registers with rt_sigreturn. It is held there. */
static bool let_end(const struct undo_task *task) {
    struct user_regs_struct regs;
    bool is_returning = false;
    uint8_t op;
    for (int steps = 0; steps < MOST_STEPS; steps++) {
        if (!step(task, &op) || !get_regs(task, &regs)) return false;
        if (op == PTRACE_SYSCALL_INFO_EXIT && is_returning) return true;
        is_returning = op == PTRACE_SYSCALL_INFO_ENTRY && regs.orig_rax == SYS_rt_sigreturn;
    }
    errno = ELOOP;
    return false;
}

/* False, with errno 0: the process has its registers back already, and went on with them before it stopped. */
static bool end_daemon(struct undo_task *task) {
    struct range memory[MOST_LEFTOVERS];
    struct user_regs_struct regs;
    if (!get_regs(task, &regs)) return false;
    bool is_inside = false;
    for (int i = find_memory(task, memory); i-- > 0;) is_inside |= regs.rip >= memory[i].from && regs.rip < memory[i].to;
    errno = 0;
    if (!is_inside) return false;
    bool has_ended = regs.rip == task->end_ip || regs.rip == task->end_ip + SYSCALL_BYTES;
    if (!has_ended && !let_end(task)) return false;
    __atomic_store_n(&task->is_daemon, 0, __ATOMIC_RELEASE);
    return true;
}

static bool let_go(struct undo_task *task) {
    kill((pid_t)task->tgid, SIGSTOP);
    __atomic_store_n(&task->state, UNDO_RELEASED, __ATOMIC_RELEASE);
    return !ptrace(PTRACE_DETACH, task->tid, NULL, NULL) || fail(task, "cannot be let go");
}

static bool remove_leftovers(struct undo_task *task) {
    struct range memory[MOST_LEFTOVERS];
    for (int i = find_memory(task, memory); i-- > 0;)
        if (!call(task, SYS_munmap, memory[i].from, memory[i].to - memory[i].from)) return false;
    for (int fd; (fd = find_file(task)) >= 0;)
        if (!call(task, SYS_close, (uint64_t)fd, 0)) return false;
    return true;
}

/* The kernel would have aborted the critical section before the next instruction, had it not forgotten it over CRIU's code. */
static bool leave_critical_section(struct undo_task *task) {
    struct critical_section section;
    uint64_t *words = (uint64_t *)&section;
    if (!task->rseq_cs) return true;
    for (size_t i = 0; i < sizeof section / sizeof *words; i++)
        if (!peek(task, task->rseq_cs + i * sizeof *words, &words[i])) return false;
    if (task->regs.rip - section.start >= section.length) return true;
    if (!poke(task, task->rseq + RSEQ_CS_OFFSET, 0)) return false;
    task->regs.rip = section.abort;
    return true;
}

static bool undo(struct undo_task *task) {
    bool is_leader = task->tid == task->tgid;
    if (!seize(task)) return state_of(task) ? fail(task, "cannot be seized") : true;
    for (uint32_t i = 0; i < task->word_count; i++) {
        uint64_t word;
        if (!peek(task, task->words[i].address, &word) || (word != task->words[i].was && !poke(task, task->words[i].address, task->words[i].was)))
            return fail(task, "its code could not be put back");
    }
    if (task->is_daemon && !end_daemon(task)) return errno == 0 ? let_go(task) : fail(task, "the parasite did not end");
    if (is_leader && task->word_count && !remove_leftovers(task)) return fail(task, "what the parasite left could not be removed");
    struct iovec xstate = {task->xstate, task->xstate_bytes};
    if (!leave_critical_section(task) || !set_regs(task, &task->regs) || ptrace(PTRACE_SETREGSET, task->tid, (void *)NT_X86_XSTATE, &xstate) ||
        !set_mask(task, task->mask))
        return fail(task, "its registers could not be put back");
    return let_go(task);
}

int run_undo(const char *path) {
    int fd = open(path, O_RDWR | O_CLOEXEC);
    struct stat file;
    if (fd < 0 || fstat(fd, &file)) {
        fprintf(stderr, "%s: %s\n", path, strerror(errno));
        return EXIT_OWN_FAULT;
    }
    if (file.st_size < 2 * UNDO_SLOT_BYTES) return 0; /* criu had not begun */
    uint8_t *log = mmap(NULL, (size_t)file.st_size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0);
    if (log == MAP_FAILED) {
        fprintf(stderr, "%s: %s\n", path, strerror(errno));
        return EXIT_OWN_FAULT;
    }
    if (*(uint64_t *)log != UNDO_MAGIC) return 0;
    bool is_done = true;
    for (off_t at = UNDO_SLOT_BYTES; at + UNDO_SLOT_BYTES <= file.st_size; at += UNDO_SLOT_BYTES) {
        struct undo_task *task = (struct undo_task *)(log + at);
        if (!task->tid) break;
        if (task->state == UNDO_CHANGED && !undo(task)) is_done = false;
    }
    return is_done ? 0 : EXIT_OWN_FAULT;
}
#else
int run_undo(const char *path) {
    fprintf(stderr, "%s: nothing is logged on this machine\n", path);
    return EXIT_OWN_FAULT;
}
#endif
