/*
 * Preloaded into `criu dump` when PODFERRY_CRIU_UNDO names a file: whenever this criu is killed, what it has changed in the application can be undone.
 * To dump a process CRIU runs code of its own in it (compel/src/lib/infect.c, 4.2.1), and the kernel lets go of the tracees of a tracer that dies:
 * they would go on with CRIU's registers. Three things prevent it.
 *
 * 1. Each process is stopped (SIGSTOP) before it is seized. A tracee of a stopped process that loses its tracer stops again before its next instruction,
 *    and waits to be put right (launch/placeholder/undo.c). CRIU knows stopped processes; ours are left stopped by each dump anyway.
 * 2. CRIU ends each piece of its code with a breakpoint instruction. Its SIGTRAP kills a process whose tracer dies before it has taken notice. So a system
 *    call is run from its entry to its exit (PTRACE_SYSCALL), a thread's piece says that it is done and pauses, and the parasite proper, which gives
 *    back the registers by itself when it loses criu, pauses instead. CRIU is told of a breakpoint, and gives them back as ever.
 * 3. Before a thread is changed, its registers, signal mask and words of code are written down.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#if defined(__x86_64__)
#include "undo.h"

#define STOP_DEADLINE_MS 10000
#define LOOK_EVERY_NS 50000
/* A thread's piece makes some hundred system calls. */
#define SPIN_US 500
#define RESULT_DEADLINE_US 10000000
#define MOST_TASKS 32768
#define SYSCALL_STOP (SIGTRAP | 0x80)
#define STOPPED_BY(signal) (((signal) << 8) | 0x7f)

typedef long real_ptrace(int, pid_t, void *, void *);
typedef pid_t real_wait4(pid_t, int *, int, struct rusage *);
typedef void *real_mmap64(void *, size_t, int, int, int, off64_t);

static real_ptrace *kernel_ptrace;
static real_wait4 *kernel_wait4;
static real_mmap64 *kernel_mmap;

/* What is remembered of a tracee only while criu lives. */
struct tracee {
    pid_t tid;
    struct undo_task *kept;
    uint64_t ip, sp;     /* in the registers that CRIU gave it */
    bool is_elsewhere;   /* they are not its own */
    bool is_calling;     /* it makes a system call of CRIU's */
    bool is_inside;      /* and has entered it */
    bool has_trapped;    /* CRIU believes in a breakpoint */
    bool has_breakpoint; /* CRIU wants to wait for the end of the parasite */
    bool is_ending;      /* and does so */
    /* It runs a piece of CRIU's code; the word gets its result. */
    volatile uint64_t *result;
    uint64_t no_result; /* what is there before */
};

static int log_fd = -1;
/* From the first process that is seized on; what CRIU traces before are children of its own, to get to know the kernel. */
static bool is_dumping;
static uint8_t *log_map;
static struct tracee tracees[MOST_TASKS];
static int tracee_count;
/* The parasite's memory, here and in the process that is being dumped. */
static uint8_t *parasite_here;
static size_t parasite_bytes;
static uint64_t parasite_there;

__attribute__((constructor)) static void begin(void) {
    kernel_ptrace = (real_ptrace *)dlsym(RTLD_NEXT, "ptrace");
    kernel_wait4 = (real_wait4 *)dlsym(RTLD_NEXT, "wait4");
    kernel_mmap = (real_mmap64 *)dlsym(RTLD_NEXT, "mmap64");
    const char *path = getenv("PODFERRY_CRIU_UNDO");
    if (!path) return;
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    off_t bytes = (off_t)UNDO_SLOT_BYTES * (MOST_TASKS + 1);
    if (fd < 0 || ftruncate(fd, bytes) || fallocate(fd, 0, 0, UNDO_SLOT_BYTES)) _exit(125);
    log_map = kernel_mmap(NULL, (size_t)bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0);
    if (log_map == MAP_FAILED) _exit(125);
    log_fd = fd;
    *(uint64_t *)log_map = UNDO_MAGIC;
    /* Rather anything else than this one; where it may not be said the kernel decides. */
    int score = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
    if (score >= 0) {
        ssize_t ignored = write(score, "-1000", 5);
        (void)ignored;
        close(score);
    }
}

static bool read_text(const char *path, char *text, size_t size) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t length = fd < 0 ? -1 : read(fd, text, size - 1);
    if (fd >= 0) close(fd);
    text[length > 0 ? length : 0] = '\0';
    return length > 0;
}

/* The fields behind the name, which may hold anything. */
static char *stat_fields(const char *path, char *text, size_t size) {
    char *name_end = read_text(path, text, size) ? strrchr(text, ')') : NULL;
    return name_end ? name_end + 2 : NULL;
}

/* The process of a thread, or 0; and what signals wait for the thread alone. */
static pid_t process_of(pid_t tid, uint64_t *pending) {
    char path[64], text[2048];
    int tgid = 0;
    snprintf(path, sizeof path, "/proc/%d/status", tid);
    bool is_read = read_text(path, text, sizeof text);
    char *process = is_read ? strstr(text, "\nTgid:") : NULL, *signals = is_read ? strstr(text, "\nSigPnd:") : NULL;
    if (!process || !signals || sscanf(process, "\nTgid: %d", &tgid) != 1) return 0;
    *pending = strtoull(signals + sizeof "\nSigPnd:", NULL, 16);
    return tgid;
}

/* Whether no thread runs; -1 when there is no such process. */
static int stands_still(pid_t pid) {
    char path[64], text[512];
    snprintf(path, sizeof path, "/proc/%d/task", pid);
    DIR *threads = opendir(path);
    if (!threads) return -1;
    bool is_still = true;
    for (struct dirent *entry; is_still && (entry = readdir(threads));) {
        if (*entry->d_name == '.') continue;
        snprintf(path, sizeof path, "/proc/%d/task/%.16s/stat", pid, entry->d_name);
        char *fields = stat_fields(path, text, sizeof text);
        is_still = !fields || strchr("TtZX", *fields);
    }
    closedir(threads);
    return is_still;
}

/* Stops the process of a thread group's leader; its other threads stand with it. */
static bool stop_process(pid_t pid) {
    uint64_t pending;
    if (process_of(pid, &pending) != pid || stands_still(pid) != 0) return true;
    if (kill(pid, SIGSTOP)) return true; /* gone */
    struct timespec begun, now, pause = {.tv_nsec = LOOK_EVERY_NS};
    clock_gettime(CLOCK_MONOTONIC, &begun);
    while (stands_still(pid) == 0) {
        clock_gettime(CLOCK_MONOTONIC, &now);
        if ((now.tv_sec - begun.tv_sec) * 1000 + (now.tv_nsec - begun.tv_nsec) / 1000000 > STOP_DEADLINE_MS) return false;
        nanosleep(&pause, NULL);
    }
    return true;
}

static struct tracee *find(pid_t tid) {
    static int last;
    if (last < tracee_count && tracees[last].tid == tid) return &tracees[last];
    for (last = 0; last < tracee_count; last++)
        if (tracees[last].tid == tid) return &tracees[last];
    return NULL;
}

static bool get_regs(pid_t tid, struct user_regs_struct *regs) {
    struct iovec all = {regs, sizeof *regs};
    return !kernel_ptrace(PTRACE_GETREGSET, tid, (void *)NT_PRSTATUS, &all) && all.iov_len == sizeof *regs;
}

static bool peek(pid_t tid, uint64_t address, uint64_t *word) {
    errno = 0;
    *word = (uint64_t)kernel_ptrace(PTRACE_PEEKDATA, tid, (void *)address, NULL);
    return !errno;
}

static bool keep_start_time(struct undo_task *task) {
    char path[64], text[512];
    snprintf(path, sizeof path, "/proc/%u/task/%u/stat", task->tgid, task->tid);
    char *field = stat_fields(path, text, sizeof text);
    for (int i = 0; field && i < 19; i++) field = (field = strchr(field, ' ')) ? field + 1 : NULL;
    if (field) task->start_time = strtoull(field, NULL, 10);
    return field;
}

/* The critical section that the kernel would have it leave before its next instruction; CRIU's code makes the kernel forget that. */
static void keep_rseq(pid_t tid, struct undo_task *task) {
    struct __ptrace_rseq_configuration rseq = {0};
    if (kernel_ptrace(PTRACE_GET_RSEQ_CONFIGURATION, tid, (void *)sizeof rseq, &rseq) < 0 || !rseq.rseq_abi_pointer) return;
    task->rseq = rseq.rseq_abi_pointer;
    if (!peek(tid, task->rseq + 8, &task->rseq_cs)) task->rseq_cs = 0;
}

/* The tracee that is about to be changed, written down. NULL: it cannot be, and must not be changed. */
static struct tracee *changing(pid_t tid) {
    struct tracee *known = find(tid);
    if (known) return known;
    if (tracee_count == MOST_TASKS) return NULL;
    off_t at = (off_t)UNDO_SLOT_BYTES * (tracee_count + 1);
    if (fallocate(log_fd, 0, at, UNDO_SLOT_BYTES)) return NULL; /* a page that is missing later would end criu */
    struct undo_task *task = (struct undo_task *)(log_map + at);
    task->tgid = (uint32_t)process_of(tid, &task->pending);
    struct iovec xstate = {task->xstate, sizeof task->xstate};
    uint32_t id = (uint32_t)tid;
    if (!task->tgid || !get_regs(tid, &task->regs) || kernel_ptrace(PTRACE_GETSIGMASK, tid, (void *)sizeof task->mask, &task->mask) ||
        kernel_ptrace(PTRACE_GETREGSET, tid, (void *)NT_X86_XSTATE, &xstate))
        return NULL;
    task->xstate_bytes = (uint32_t)xstate.iov_len;
    task->tid = id;
    keep_rseq(tid, task);
    if (!keep_start_time(task)) return NULL;
    __atomic_store_n(&task->state, UNDO_CHANGED, __ATOMIC_RELEASE);
    tracees[tracee_count] = (struct tracee){.tid = tid, .kept = task};
    return &tracees[tracee_count++];
}

/* Whoever changes a leader whose parasite has ended has it in hand: it has done nothing of its own since. */
static void take_back(struct tracee *tracee) {
    if (!tracee->is_ending) return;
    __atomic_store_n(&tracee->kept->is_daemon, 0, __ATOMIC_RELEASE);
    tracee->is_ending = false;
}

static struct undo_word *word_at(struct undo_task *task, uint64_t address) {
    for (uint32_t i = 0; i < task->word_count; i++)
        if (task->words[i].address == address) return &task->words[i];
    return NULL;
}

static bool keep_word(struct tracee *tracee, uint64_t address) {
    struct undo_task *task = tracee->kept;
    if (word_at(task, address)) return true;
    if (task->word_count == UNDO_WORDS) return false;
    struct undo_word *word = &task->words[task->word_count];
    word->address = address;
    if (!peek(tracee->tid, address, &word->was)) return false;
    __atomic_store_n(&task->word_count, task->word_count + 1, __ATOMIC_RELEASE);
    return true;
}

/*
 * Both the parasite proper and a thread's piece enter at this head (compel/arch/x86/plugins/std/parasite-head.S, 4.2.1): it calls a function, and gives
 * back the registers (rt_sigreturn, what follows is the whole of it) or comes to the breakpoint.
 */
#define CALL_OPCODE 0xe8
#define CALL_BYTES 5
static const uint8_t head[] = {0x48, 0x83, 0xf8, 0x00, 0x7e, 0x0c, 0x48, 0x89, 0xc4, 0x48, 0xc7, 0xc0, 0x0f, 0x00, 0x00, 0x00, 0x0f, 0x05, 0xcc};
#define SYSCALL_OFFSET (CALL_BYTES + 16)
/* push %rax; 1: mov $SYS_pause, %eax; syscall; jmp 1b. The parasite proper has ended before a thread's piece runs. */
static const uint8_t pausing_head[] = {0x50, 0xb8, 0x22, 0x00, 0x00, 0x00, 0x0f, 0x05, 0xeb, 0xf7};

/* Memory of the process's parasite as it is here; NULL: it is not all its. */
static void *here(uint64_t address, size_t bytes) {
    uint64_t offset = address - parasite_there;
    return parasite_here && offset < parasite_bytes && bytes <= parasite_bytes - offset ? parasite_here + offset : NULL;
}

static uint8_t *head_at(uint64_t ip) {
    uint8_t *code = here(ip, CALL_BYTES + sizeof head);
    return code && *code == CALL_OPCODE ? code + CALL_BYTES : NULL;
}

/* The frame that the parasite gives the registers back from: the fields of struct sigcontext, the signal mask, and what stands in them. */
enum { FRAME_R8, FRAME_R9, FRAME_R10, FRAME_R11, FRAME_R12, FRAME_R13, FRAME_R14, FRAME_R15, FRAME_RDI, FRAME_RSI, FRAME_RBP, FRAME_RBX, FRAME_RDX,
       FRAME_RAX, FRAME_RCX, FRAME_RSP, FRAME_RIP, FRAME_MASK = 32, FRAME_WORDS };

static bool is_frame(const uint64_t *f, const struct undo_task *task) {
    const struct user_regs_struct *r = &task->regs;
    return f[FRAME_R8] == r->r8 && f[FRAME_R9] == r->r9 && f[FRAME_R10] == r->r10 && f[FRAME_R11] == r->r11 && f[FRAME_R12] == r->r12 &&
           f[FRAME_R13] == r->r13 && f[FRAME_R14] == r->r14 && f[FRAME_R15] == r->r15 && f[FRAME_RDI] == r->rdi && f[FRAME_RSI] == r->rsi &&
           f[FRAME_RBP] == r->rbp && f[FRAME_RBX] == r->rbx && f[FRAME_RDX] == r->rdx && f[FRAME_RCX] == r->rcx && f[FRAME_RSP] == r->rsp &&
           f[FRAME_MASK] == task->mask;
}

/*
 * Has the parasite, when it loses criu, pause with all signals blocked where it would go on as the application; it would do so for moments, before the
 * kernel notices that criu is dead, and with the SIGPIPE of its own last words. CRIU, when it lives, does not rely on these fields.
 */
static void hold_at_end(struct tracee *tracee) {
    const uint8_t *code = head_at(tracee->ip);
    if (!code || memcmp(code, head, sizeof head)) return;
    for (size_t at = 0; at + FRAME_WORDS * sizeof(uint64_t) <= parasite_bytes; at += sizeof(uint64_t)) {
        uint64_t *frame = (uint64_t *)(parasite_here + at);
        if (!is_frame(frame, tracee->kept)) continue;
        frame[FRAME_RIP] = tracee->ip + SYSCALL_OFFSET;
        frame[FRAME_RAX] = SYS_pause;
        frame[FRAME_MASK] = ~0ull;
        tracee->kept->end_ip = frame[FRAME_RIP];
        return;
    }
}

/* Has a thread's piece put its result on its stack and pause, instead of the breakpoint. */
static void await_result(struct tracee *tracee) {
    uint8_t *code = head_at(tracee->ip);
    tracee->result = here(tracee->sp - sizeof(uint64_t), sizeof(uint64_t));
    if (code && !memcmp(code, head, sizeof head)) memcpy(code, pausing_head, sizeof pausing_head);
    if (!code || memcmp(code, pausing_head, sizeof pausing_head)) tracee->result = NULL;
    if (!tracee->result) return;
    /* The address that the call puts there is no result. */
    tracee->no_result = tracee->ip + CALL_BYTES;
    *tracee->result = tracee->no_result;
}

/* How the tracee is to be resumed that CRIU wants to continue. */
static int resume_kind(struct tracee *tracee) {
    struct undo_task *task = tracee->kept;
    tracee->has_trapped = false;
    if (!tracee->is_elsewhere) return PTRACE_CONT;
    if (word_at(task, tracee->ip)) {
        tracee->is_calling = true;
        tracee->is_inside = false;
        return PTRACE_SYSCALL;
    }
    if (task->tid != task->tgid) {
        await_result(tracee);
        return PTRACE_CONT;
    }
    if (tracee->has_breakpoint) {
        /* CRIU waits for the breakpoint or, next, for system calls: it gets the latter at once. */
        tracee->has_breakpoint = false;
        tracee->is_ending = true;
        return PTRACE_SYSCALL;
    }
    hold_at_end(tracee);
    __atomic_store_n(&task->is_daemon, 1, __ATOMIC_RELEASE);
    return PTRACE_CONT;
}

static bool is_debug_register(const void *offset) {
    return (size_t)offset >= offsetof(struct user, u_debugreg);
}

/* What is to be done before CRIU's request, if it changes anything. False: it must not be. */
static bool prepare(int request, struct tracee *tracee, void *address, void *data) {
    if (!tracee) return false;
    take_back(tracee);
    if (request == PTRACE_POKEDATA) return keep_word(tracee, (uint64_t)address);
    if (request != PTRACE_SETREGSET || (uintptr_t)address != NT_PRSTATUS) return true;
    const struct iovec *regs = data;
    tracee->is_elsewhere = regs->iov_len != sizeof tracee->kept->regs || memcmp(regs->iov_base, &tracee->kept->regs, regs->iov_len);
    tracee->ip = ((const struct user_regs_struct *)regs->iov_base)->rip;
    tracee->sp = ((const struct user_regs_struct *)regs->iov_base)->rsp;
    return true;
}

long ptrace(enum __ptrace_request kind, ...) {
    va_list list;
    va_start(list, kind);
    pid_t tid = va_arg(list, pid_t);
    void *address = va_arg(list, void *), *data = va_arg(list, void *);
    va_end(list);
    int request = (int)kind;
    is_dumping |= log_fd >= 0 && request == PTRACE_SEIZE;
    if (!is_dumping) return kernel_ptrace(request, tid, address, data);

    struct tracee *tracee = find(tid);
    switch (request) {
    case PTRACE_SEIZE:
        if (stop_process(tid)) break;
        errno = EBUSY;
        return -1;
    case PTRACE_POKEDATA:
    case PTRACE_SETREGSET:
    case PTRACE_SETSIGMASK:
        /* The mask that CRIU sets before it waits for the parasite's end. */
        if (request == PTRACE_SETSIGMASK && tracee && tracee->has_breakpoint) break;
        if (prepare(request, changing(tid), address, data)) break;
        errno = ENOSPC;
        return -1;
    case PTRACE_POKEUSER:
        if (!tracee || !is_debug_register(address)) break;
        tracee->has_breakpoint = data != NULL;
        return 0;
    case PTRACE_CONT:
        if (tracee && !data) request = resume_kind(tracee);
        break;
    case PTRACE_DETACH:
        if (tracee) __atomic_store_n(&tracee->kept->state, UNDO_RELEASED, __ATOMIC_RELEASE);
        break;
    case PTRACE_GETSIGINFO:
        if (!tracee || !tracee->has_trapped) break;
        *(siginfo_t *)data = (siginfo_t){.si_signo = SIGTRAP, .si_code = SI_KERNEL};
        return 0;
    }
    return kernel_ptrace(request, tid, address, data);
}

static bool set_regs(pid_t tid, struct user_regs_struct *regs) {
    struct iovec all = {regs, sizeof *regs};
    return !kernel_ptrace(PTRACE_SETREGSET, tid, (void *)NT_PRSTATUS, &all);
}

/* A system call of CRIU's was left, or entered. */
static bool has_returned(struct tracee *tracee) {
    struct user_regs_struct regs;
    tracee->is_inside = !tracee->is_inside;
    if (tracee->is_inside) return false;
    if (get_regs(tracee->tid, &regs) && regs.orig_rax == SYS_mmap) parasite_there = regs.rax;
    return true;
}

static pid_t wait_for_call(struct tracee *tracee, int *status, int options, struct rusage *usage) {
    for (;;) {
        pid_t waited = kernel_wait4(tracee->tid, status, options, usage);
        if (waited <= 0) return waited;
        bool is_call = WIFSTOPPED(*status) && WSTOPSIG(*status) == SYSCALL_STOP;
        if (is_call && !has_returned(tracee) && !kernel_ptrace(PTRACE_SYSCALL, waited, NULL, NULL)) continue;
        tracee->is_calling = false;
        tracee->has_trapped = is_call;
        if (is_call) *status = STOPPED_BY(SIGTRAP);
        return waited;
    }
}

static int64_t monotonic_us(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

/* Waits for the result of a thread's piece, which takes some microseconds, or for a stop that nobody expects. */
static pid_t wait_for_result(struct tracee *tracee, int *status, int options, struct rusage *usage) {
    int64_t begun = monotonic_us();
    while (*tracee->result == tracee->no_result) {
        int64_t waited_us = monotonic_us() - begun;
        if (waited_us < SPIN_US) {
            sched_yield();
            continue;
        }
        pid_t waited = kernel_wait4(tracee->tid, status, options | WNOHANG, usage);
        if (waited != 0) return waited;
        if (waited_us > RESULT_DEADLINE_US) break;
        nanosleep(&(struct timespec){.tv_nsec = LOOK_EVERY_NS}, NULL);
    }
    struct user_regs_struct regs;
    uint64_t result = *tracee->result;
    tracee->result = NULL;
    if (kernel_ptrace(PTRACE_INTERRUPT, tracee->tid, NULL, NULL)) return -1;
    pid_t waited = kernel_wait4(tracee->tid, status, options, usage);
    if (waited <= 0 || !WIFSTOPPED(*status) || *status >> 16 != PTRACE_EVENT_STOP || !get_regs(tracee->tid, &regs)) return waited;
    regs.rax = result;
    regs.orig_rax = ~0ull;
    if (result == tracee->no_result || !set_regs(tracee->tid, &regs)) return waited;
    tracee->has_trapped = true;
    *status = STOPPED_BY(SIGTRAP);
    return waited;
}

pid_t wait4(pid_t pid, int *status, int options, struct rusage *usage) {
    struct tracee *tracee = is_dumping && pid > 0 && status ? find(pid) : NULL;
    if (tracee && tracee->is_calling) return wait_for_call(tracee, status, options, usage);
    if (tracee && tracee->result) return wait_for_result(tracee, status, options, usage);
    return kernel_wait4(pid, status, options, usage);
}

/* CRIU maps the parasite's memory here before it fills it. */
void *mmap64(void *address, size_t length, int protection, int flags, int fd, off64_t offset) {
    void *mapped = kernel_mmap(address, length, protection, flags, fd, offset);
    if (!is_dumping || mapped == MAP_FAILED || fd < 0 || (flags & MAP_TYPE) != MAP_SHARED || !(protection & PROT_WRITE)) return mapped;
    parasite_here = mapped;
    parasite_bytes = length;
    return mapped;
}
#endif
