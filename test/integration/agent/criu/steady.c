/*
 * steady MODE BEATS: a program that notices when it is disturbed. Each of its threads counts what it has done in its slot of the file BEATS, and ends
 * the program with a word about it when a register, its memory, its signal mask or its open files are not what they were.
 *   sleep    one thread that sleeps (slot 0)
 *   poll     one that waits in poll, select, read and epoll_wait (0)
 *   threads  two that wait for each other (0, 1), one that never waits (2), one that reads (3)
 *   tree     a process that waits for its two children (0), which sleep (1), and never wait (2)
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/select.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define BEAT_MS 4
#define WORDS (64 * 1024)
#define ROUNDS 20000

static volatile uint64_t *beats;
static uint64_t *memory;
static int feed[2], open_files;

static void disturbed(const char *what) {
    printf("disturbed: %s\n", what);
    fflush(stdout);
    abort();
}

static int count_files(void) {
    int count = 0;
    DIR *fds = opendir("/proc/self/fd");
    while (fds && readdir(fds)) count++;
    if (fds) closedir(fds);
    return count;
}

static uint64_t pattern(size_t i) {
    return i * 0x9e3779b97f4a7c15ull + 1;
}

/* All general registers but two, and those of SSE, hold numbers that are looked at after each of many rounds. */
static void check_registers(uint64_t seed) {
    uint64_t rounds = ROUNDS, bad = 0;
    __asm__ volatile("movq %[seed], %%rax\n movq %%rax, %%rbx\n movq %%rax, %%rdx\n movq %%rax, %%rsi\n movq %%rax, %%rdi\n"
                     "movq %%rax, %%r8\n movq %%rax, %%r9\n movq %%rax, %%r10\n movq %%rax, %%r11\n movq %%rax, %%r12\n"
                     "movq %%rax, %%r13\n movq %%rax, %%r14\n movq %%rax, %%xmm0\n movq %%rax, %%xmm7\n movq %%rax, %%xmm15\n"
                     "1: xorq %%rax, %%rbx\n xorq %%rbx, %%rdx\n xorq %%rdx, %%rsi\n xorq %%rsi, %%rdi\n" /* 0, a, 0, a */
                     "cmpq $0, %%rbx\n jne 2f\n cmpq %%rax, %%rdx\n jne 2f\n cmpq $0, %%rsi\n jne 2f\n cmpq %%rax, %%rdi\n jne 2f\n"
                     "movq %%rax, %%rbx\n movq %%rax, %%rsi\n"
                     "cmpq %%r8, %%rax\n jne 2f\n cmpq %%r9, %%rax\n jne 2f\n cmpq %%r10, %%rax\n jne 2f\n cmpq %%r11, %%rax\n jne 2f\n"
                     "cmpq %%r12, %%rax\n jne 2f\n cmpq %%r13, %%rax\n jne 2f\n cmpq %%r14, %%rax\n jne 2f\n"
                     "movq %%xmm0, %%rbx\n cmpq %%rbx, %%rax\n jne 2f\n movq %%xmm7, %%rbx\n cmpq %%rbx, %%rax\n jne 2f\n"
                     "movq %%xmm15, %%rbx\n cmpq %%rbx, %%rax\n jne 2f\n"
                     "decq %%rcx\n jnz 1b\n jmp 3f\n"
                     "2: movq $1, %%r15\n 3:\n"
                     : "+c"(rounds), "=&r"(bad)
                     : [seed] "m"(seed), "1"(bad)
                     : "rax", "rbx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "xmm0", "xmm7", "xmm15", "cc", "memory");
    if (rounds || bad) disturbed("registers");
}

static void beat(int slot, const sigset_t *mask) {
    sigset_t now = {0};
    pthread_sigmask(SIG_SETMASK, NULL, &now);
    if (memcmp(&now, mask, sizeof now)) disturbed("signal mask");
    for (size_t i = (size_t)beats[slot] % 64; i < WORDS; i += 64)
        if (memory[i] != pattern(i)) disturbed("memory");
    beats[slot]++;
}

static sigset_t own_mask(int slot) {
    sigset_t mask = {0};
    sigaddset(&mask, slot % 2 ? SIGUSR1 : SIGUSR2);
    pthread_sigmask(SIG_SETMASK, &mask, NULL);
    return mask;
}

static const struct timespec pause_time = {.tv_nsec = BEAT_MS * 1000000};

static void allow_interruption(long result, const char *what) {
    if (result < 0 && errno != EINTR) disturbed(what);
}

static void never_wait(int slot) {
    sigset_t mask = own_mask(slot);
    for (;;) {
        check_registers(pattern(beats[slot]));
        beat(slot, &mask);
    }
}

static void sleeps(int slot) {
    sigset_t mask = own_mask(slot);
    for (;;) {
        struct timespec begun, now;
        clock_gettime(CLOCK_MONOTONIC, &begun);
        long result = nanosleep(&pause_time, NULL);
        allow_interruption(result, "nanosleep");
        clock_gettime(CLOCK_MONOTONIC, &now);
        int64_t slept = (now.tv_sec - begun.tv_sec) * 1000000000ll + now.tv_nsec - begun.tv_nsec;
        if (!result && slept < pause_time.tv_nsec) disturbed("nanosleep came back too early");
        if (count_files() != open_files) disturbed("open files");
        beat(slot, &mask);
    }
}

static void polls(void) {
    sigset_t mask = own_mask(0);
    int set = epoll_create1(0);
    struct epoll_event event = {.events = EPOLLIN};
    epoll_ctl(set, EPOLL_CTL_ADD, feed[0], &event);
    open_files = count_files();
    for (;;) {
        struct pollfd waited = {.fd = feed[0], .events = POLLIN};
        int found = poll(&waited, 1, BEAT_MS);
        allow_interruption(found, "poll");
        if (found > 0) disturbed("poll found something");
        fd_set some;
        FD_ZERO(&some);
        FD_SET(feed[0], &some);
        struct timeval timeout = {.tv_usec = BEAT_MS * 1000};
        found = select(feed[0] + 1, &some, NULL, NULL, &timeout);
        allow_interruption(found, "select");
        if (found > 0) disturbed("select found something");
        found = epoll_wait(set, &event, 1, BEAT_MS);
        allow_interruption(found, "epoll_wait");
        if (found > 0) disturbed("epoll_wait found something");
        if (count_files() != open_files) disturbed("open files");
        beat(0, &mask);
    }
}

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static int turn;

static void *take_turns(void *argument) {
    int slot = (int)(intptr_t)argument;
    sigset_t mask = own_mask(slot);
    for (;;) {
        pthread_mutex_lock(&lock);
        while (turn != slot) pthread_cond_wait(&changed, &lock);
        turn = !slot;
        pthread_cond_broadcast(&changed);
        pthread_mutex_unlock(&lock);
        beat(slot, &mask);
        char byte = (char)beats[slot];
        if (slot == 1) continue;
        if (write(feed[1], &byte, 1) != 1) disturbed("write");
        nanosleep(&pause_time, NULL);
    }
    return NULL;
}

static void *run_without_waiting(void *argument) {
    never_wait((int)(intptr_t)argument);
    return NULL;
}

static void *reads(void *argument) {
    int slot = (int)(intptr_t)argument;
    sigset_t mask = own_mask(slot);
    for (char expected = 1;; expected++) {
        char byte;
        if (read(feed[0], &byte, 1) != 1) disturbed("read");
        if (byte != expected) disturbed("what was read");
        beat(slot, &mask);
    }
    return NULL;
}

static void threads(void) {
    pthread_t thread;
    pthread_create(&thread, NULL, take_turns, (void *)1);
    pthread_create(&thread, NULL, run_without_waiting, (void *)2);
    pthread_create(&thread, NULL, reads, (void *)3);
    take_turns((void *)0);
}

static void tree(void) {
    pid_t children[2];
    for (int i = 0; i < 2; i++) {
        children[i] = fork();
        if (children[i] == 0) i ? never_wait(2) : sleeps(1);
    }
    sigset_t mask = own_mask(0);
    for (;;) {
        if (waitpid(-1, NULL, WNOHANG) != 0) disturbed("a child ended");
        nanosleep(&pause_time, NULL);
        beat(0, &mask);
    }
}

int main(int argc, char **argv) {
    if (argc != 3) return 64;
    int file = open(argv[2], O_RDWR | O_CREAT, 0600);
    if (file < 0 || ftruncate(file, 4096) || pipe(feed)) return 1;
    beats = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    close(file);
    memory = malloc(WORDS * sizeof *memory);
    for (size_t i = 0; i < WORDS; i++) memory[i] = pattern(i);
    open_files = count_files();
    if (!strcmp(argv[1], "sleep")) sleeps(0);
    if (!strcmp(argv[1], "poll")) polls();
    if (!strcmp(argv[1], "threads")) threads();
    if (!strcmp(argv[1], "tree")) tree();
    return 64;
}
