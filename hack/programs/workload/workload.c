/*
 * The process that the benchmarks move: MIB of memory that no compressor shrinks, of which a part changes all the time, and
 * which knows at each moment what every page of it should hold.
 *
 *   workload MIB [PERCENT_PER_SECOND [PERCENT_AT_ONCE]]
 *   workload check PID       sends that one SIGUSR1: its image has no `kill`
 *
 * It looks at the wall clock every millisecond and says when it was kept from that: `gap MS at EPOCH_MS`.
 * SIGUSR1: checks every page, then `check pages N bad N writes N slow US US ...`: pages written since the last check, and the
 * writes of a page that took longer than slow_us (a fault of a lazy restore, say), in microseconds.
 * SIGUSR2: changes PERCENT_AT_ONCE of the pages, then `dirtied N`.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

enum { page_bytes = 4096, words = page_bytes / 8, slow_us = 1000, slow_kept = 65536, gap_reported_ms = 10 };

static const uint64_t golden = 0x9e3779b97f4a7c15;

static uint64_t *memory;
static uint32_t *versions; /* what each page should be: apart from the pages, so that a page gone back in time is noticed */
static uint64_t pages, written, next_random = 1;
static uint32_t slow[slow_kept];
static size_t slow_count;
static double rate;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static uint64_t mixed(uint64_t x) {
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
    x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
    return x ^ (x >> 31);
}

static double now_ms(clockid_t clock) {
    struct timespec t;
    clock_gettime(clock, &t);
    return t.tv_sec * 1e3 + t.tv_nsec / 1e6;
}

static uint64_t seed_of(uint64_t page) { return mixed(page * golden + versions[page] + 1); }

static void write_page(uint64_t page) {
    uint64_t *at = memory + page * words, seed = seed_of(page);
    for (int i = 0; i < words; i++) at[i] = mixed(seed + i * golden);
}

static int page_is_right(uint64_t page) {
    const uint64_t *at = memory + page * words;
    uint64_t seed = seed_of(page), wrong = 0;
    for (int i = 0; i < words; i++) wrong |= at[i] ^ mixed(seed + i * golden);
    return wrong == 0;
}

/* Changes `count` pages, anywhere. */
static void change(uint64_t count) {
    for (; count; count--) {
        uint64_t page = mixed(next_random++) % pages;
        pthread_mutex_lock(&lock);
        double before = now_ms(CLOCK_MONOTONIC);
        versions[page]++;
        write_page(page);
        double us = (now_ms(CLOCK_MONOTONIC) - before) * 1e3;
        written++;
        if (us > slow_us && slow_count < slow_kept) slow[slow_count++] = us < UINT32_MAX ? (uint32_t)us : UINT32_MAX;
        pthread_mutex_unlock(&lock);
    }
}

/* Changes pages at an even rate. Time in which it did not run is not made up for. */
static void *change_forever(void *unused) {
    const struct timespec pause = {0, 10 * 1000 * 1000};
    double due = 0;
    for (;;) {
        nanosleep(&pause, NULL);
        due += pages * rate / 100 / 100;
        change((uint64_t)due);
        due -= (uint64_t)due;
    }
    return unused;
}

static void check(void) {
    uint64_t bad = 0;
    pthread_mutex_lock(&lock);
    for (uint64_t page = 0; page < pages; page++) bad += !page_is_right(page);
    printf("check pages %lu bad %lu writes %lu slow", pages, bad, written);
    for (size_t i = 0; i < slow_count; i++) printf(" %u", slow[i]);
    printf("\n");
    written = slow_count = 0;
    pthread_mutex_unlock(&lock);
}

int main(int argc, char **argv) {
    if (argc == 3 && !strcmp(argv[1], "check")) return kill(atoi(argv[2]), SIGUSR1) != 0;
    const uint64_t mib = argc > 1 ? strtoull(argv[1], NULL, 10) : 0;
    rate = argc > 2 ? atof(argv[2]) : 0;
    const double at_once = argc > 3 ? atof(argv[3]) : 0;
    if (mib == 0) {
        fprintf(stderr, "usage: workload MIB [PERCENT_PER_SECOND [PERCENT_AT_ONCE]]\n");
        return 2;
    }
    setvbuf(stdout, NULL, _IOLBF, 1 << 20);
    /* the first process of a container cannot be ended by signals that it has not asked for */
    signal(SIGTERM, _exit);
    sigset_t orders;
    sigemptyset(&orders);
    sigaddset(&orders, SIGUSR1);
    sigaddset(&orders, SIGUSR2);
    sigprocmask(SIG_BLOCK, &orders, NULL);

    pages = mib << 8;
    memory = mmap(NULL, pages * page_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    versions = calloc(pages, sizeof *versions);
    if (memory == MAP_FAILED || !versions) {
        perror("memory");
        return 1;
    }
    for (uint64_t page = 0; page < pages; page++) write_page(page);
    pthread_t changer;
    if (rate > 0 && pthread_create(&changer, NULL, change_forever, NULL)) return 1;
    printf("up pid %d pages %lu\n", getpid(), pages);

    const struct timespec tick = {0, 1000 * 1000};
    for (double last = now_ms(CLOCK_REALTIME);;) {
        int order = sigtimedwait(&orders, NULL, &tick);
        double now = now_ms(CLOCK_REALTIME);
        if (now - last >= gap_reported_ms) printf("gap %.1f at %.0f\n", now - last, now);
        if (order == SIGUSR1) check();
        if (order == SIGUSR2) {
            change((uint64_t)(pages * at_once / 100));
            printf("dirtied %lu\n", (uint64_t)(pages * at_once / 100));
        }
        last = order > 0 ? now_ms(CLOCK_REALTIME) : now;
    }
}
