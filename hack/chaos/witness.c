/*
 * The application of the kill campaign: two processes that know at each moment what every page of theirs should hold, and that
 * leave a trace from which an outsider sees whether two copies ever ran, or one went back in time.
 *
 *   witness MIB PERCENT_PER_SECOND
 *
 * Each process (`root`, and its child `leaf` with a quarter of the memory) changes pages all the time, counted by its clock, and
 * writes whole lines: `ROLE up ID`, once, with an id made up at the start; `ROLE beat ID CLOCK EPOCH_US` every 10 ms; and on
 * SIGUSR1 `ROLE check ID CLOCK PAGES BAD`, after it has looked at every page.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

enum { page_bytes = 4096, words = page_bytes / 8, beat_ms = 10 };

static const uint64_t golden = 0x9e3779b97f4a7c15;

static const char *role = "root";
static uint64_t id, ticks, pages;
static double rate;
static uint64_t *memory;
static uint32_t *versions; /* apart from the pages, so that a page gone back in time is noticed */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static uint64_t mixed(uint64_t x) {
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
    x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
    return x ^ (x >> 31);
}

static uint64_t seed_of(uint64_t page) { return mixed(page * golden + versions[page] + 1) ^ id; }

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

static void say(const char *line, int bytes) {
    if (write(1, line, bytes) != bytes) _exit(3);
}

static void *change_forever(void *unused) {
    const struct timespec pause = {0, beat_ms * 1000 * 1000};
    for (double due = 0;; due -= (uint64_t)due) {
        nanosleep(&pause, NULL);
        due += pages * rate / 100 * beat_ms / 1000;
        for (uint64_t left = (uint64_t)due; left; left--) {
            pthread_mutex_lock(&lock);
            uint64_t page = mixed(++ticks) % pages;
            versions[page]++;
            write_page(page);
            pthread_mutex_unlock(&lock);
        }
    }
    return unused;
}

static void check(void) {
    char line[128];
    uint64_t bad = 0;
    pthread_mutex_lock(&lock);
    for (uint64_t page = 0; page < pages; page++) bad += !page_is_right(page);
    say(line, snprintf(line, sizeof line, "%s check %016lx %lu %lu %lu\n", role, id, ticks, pages, bad));
    pthread_mutex_unlock(&lock);
}

static void beat(void) {
    char line[128];
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    uint64_t us = now.tv_sec * 1000000ull + now.tv_nsec / 1000;
    say(line, snprintf(line, sizeof line, "%s beat %016lx %lu %lu\n", role, id, ticks, us));
}

int main(int argc, char **argv) {
    const uint64_t mib = argc == 3 ? strtoull(argv[1], NULL, 10) : 0;
    rate = argc == 3 ? atof(argv[2]) : 0;
    if (mib < 4) {
        fprintf(stderr, "usage: witness MIB PERCENT_PER_SECOND\n");
        return 2;
    }
    sigset_t orders;
    sigemptyset(&orders);
    sigaddset(&orders, SIGUSR1);
    sigprocmask(SIG_BLOCK, &orders, NULL);
    if (getrandom(&id, sizeof id, 0) != sizeof id) return 1;

    const pid_t child = fork();
    if (child < 0) return 1;
    if (child == 0) role = "leaf";
    pages = (child == 0 ? mib / 4 : mib) << 8;
    memory = mmap(NULL, pages * page_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    versions = calloc(pages, sizeof *versions);
    if (memory == MAP_FAILED || !versions) return 1;
    for (uint64_t page = 0; page < pages; page++) write_page(page);
    char line[64];
    say(line, snprintf(line, sizeof line, "%s up %016lx\n", role, id));
    pthread_t changer;
    if (pthread_create(&changer, NULL, change_forever, NULL)) return 1;

    const struct timespec pause = {0, beat_ms * 1000 * 1000};
    for (;;) {
        if (sigtimedwait(&orders, NULL, &pause) == SIGUSR1) {
            if (child) kill(child, SIGUSR1);
            check();
        }
        beat();
    }
}
