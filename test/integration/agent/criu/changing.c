/* Changes its address space in every way that the kernel tells a userfaultfd of, while its pages still arrive. On SIGUSR1 it begins; it prints
 * "right" or the first thing that is wrong. A page of region R and number N holds R << 32 | N in each of its words. */
#define _GNU_SOURCE
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGE 4096
#define WORDS (PAGE / 8)
enum { PAGES = 4096, KEPT = 1, MOVED, DROPPED, REPLACED, GROWN, REGIONS };
static uint64_t *region[REGIONS];
static volatile sig_atomic_t asked;

static uint64_t tag(int r, int page) {
    return (uint64_t)r << 32 | (unsigned)page;
}

static void ask(int signal) {
    (void)signal;
    asked = 1;
}

static void *map(void *at, size_t bytes, int flags) {
    void *p = mmap(at, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | flags, -1, 0);
    if (p == MAP_FAILED) abort();
    return p;
}

/* 0 stands for a page of zeroes. */
static void expect(const char *who, const char *what, const uint64_t *memory, int page, uint64_t wanted) {
    for (int i = 0; i < WORDS; i++)
        if (memory[(size_t)page * WORDS + i] != wanted) {
            printf("%s, %s, page %d: %lx instead of %lx\n", who, what, page, memory[(size_t)page * WORDS + i], wanted);
            fflush(stdout);
            _exit(1);
        }
}

static void expect_all(const char *who) {
    for (int page = PAGES - 1; page >= 0; page--) {
        expect(who, "kept", region[KEPT], page, tag(KEPT, page));
        expect(who, "moved", region[MOVED], page, tag(MOVED, page));
        expect(who, "dropped", region[DROPPED], page, page % 64 < 32 ? 0 : tag(DROPPED, page));
        expect(who, "replaced", region[REPLACED], page, page < PAGES / 2 ? tag(REPLACED, page) : tag(99, page));
        expect(who, "grown", region[GROWN], page, tag(GROWN, page));
    }
    expect(who, "grown", region[GROWN], PAGES, 0);
}

static void check_in_child(const char *who) {
    pid_t pid = fork();
    if (pid == 0) {
        expect_all(who);
        for (int page = 0; page < PAGES; page++) region[KEPT][(size_t)page * WORDS] = 1; /* its own copy */
        _exit(0);
    }
    int status = 0;
    if (pid < 0 || waitpid(pid, &status, 0) != pid || status) _exit(1);
}

int main(void) {
    size_t bytes = (size_t)PAGES * PAGE;
    for (int r = KEPT; r < REGIONS; r++) {
        region[r] = map(NULL, bytes, 0);
        for (int page = 0; page < PAGES; page++)
            for (int i = 0; i < WORDS; i++) region[r][(size_t)page * WORDS + i] = tag(r, page);
    }
    void *place = map(NULL, 2 * bytes, 0);
    signal(SIGUSR1, ask);
    printf("ready\n");
    fflush(stdout);
    while (!asked) usleep(1000);

    /* In two steps, so that one address space holds two shifts. */
    for (int half = 0; half < 2; half++) {
        char *from = (char *)region[MOVED] + half * bytes / 2;
        if (mremap(from, bytes / 2, bytes / 2, MREMAP_MAYMOVE | MREMAP_FIXED, (char *)place + half * bytes / 2) == MAP_FAILED) abort();
        if (half == 0) {
            for (int page = 0; page < PAGES; page += 64)
                if (madvise((char *)region[DROPPED] + (size_t)page * PAGE, 32 * PAGE, MADV_DONTNEED)) abort();
        }
    }
    region[MOVED] = place;
    if (munmap((char *)region[REPLACED] + bytes / 2, bytes / 2)) abort();
    map((char *)region[REPLACED] + bytes / 2, bytes / 2, MAP_FIXED);
    for (int page = PAGES / 2; page < PAGES; page++)
        for (int i = 0; i < WORDS; i++) region[REPLACED][(size_t)page * WORDS + i] = tag(99, page);
    region[GROWN] = mremap(region[GROWN], bytes, 2 * bytes, MREMAP_MAYMOVE);
    if (region[GROWN] == MAP_FAILED) abort();

    check_in_child("child");
    expect_all("parent");
    check_in_child("second child");
    printf("right\n");
    fflush(stdout);
    for (;;) pause();
}
