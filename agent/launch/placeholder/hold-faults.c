/*
 * Keeps the userfaultfds of the filler (fill-pages.c) open beside it. A restored process that touches a page which has not arrived waits for as long as
 * somebody holds them; with the last holder's end it would read zeroes. This process is started in the application's cgroups, so it outlives the
 * agent, the filler and whatever kills them; it ends with the container, or when the agent says that no page is missing (or no process left).
 *
 * On stdout: `held COUNT` once, or `failed ERRNO`. A byte on stdin ends it; the end of stdin does not, for it may be the end of the agent.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "placeholder.h"

#ifndef SYS_pidfd_getfd
#define SYS_pidfd_getfd 438
#endif

/* A process that forks while pages arrive gives the filler another userfaultfd. */
#define LOOK_EVERY_MS 20
/* After the end of the root its tree may still be ending. */
#define GRACE_MS 5000
#define MOST_FDS 4096

static bool held[MOST_FDS];

/* Takes what the filler has and we have not. Returns how many it has, or -1. */
static int hold_all(int filler, int filler_pidfd) {
    char path[64], link[64];
    snprintf(path, sizeof path, "/proc/%d/fd", filler);
    DIR *fds = opendir(path);
    if (!fds) return -1;
    static bool seen[MOST_FDS];
    memset(seen, 0, sizeof seen);
    int count = 0;
    for (struct dirent *entry; (entry = readdir(fds));) {
        int fd = atoi(entry->d_name);
        ssize_t length = readlinkat(dirfd(fds), entry->d_name, link, sizeof link - 1);
        if (length < 0 || fd <= 0 || fd >= MOST_FDS) continue;
        link[length] = '\0';
        if (strcmp(link, "anon_inode:[userfaultfd]")) continue;
        seen[fd] = true;
        count++;
        if (!held[fd] && syscall(SYS_pidfd_getfd, filler_pidfd, fd, 0) < 0) {
            closedir(fds);
            return -1;
        }
    }
    closedir(fds);
    memcpy(held, seen, sizeof held);
    return count;
}

static int64_t monotonic_ms(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* Staying in the agent's mounts would keep its root file system busy after its end. */
static void leave_agent(int entrypoint) {
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/ns/mnt", entrypoint);
    int mounts = open(path, O_RDONLY | O_CLOEXEC);
    if (mounts < 0 || setns(mounts, CLONE_NEWNS)) {
        int ignored = chdir("/");
        (void)ignored;
    }
    if (mounts >= 0) close(mounts);
}

int run_hold_faults(int argc, char **argv) {
    int entrypoint = argc > 0 ? atoi(argv[0]) : 0, root = argc > 1 ? atoi(argv[1]) : 0, filler = argc > 2 ? atoi(argv[2]) : 0;
    if (entrypoint <= 0 || root <= 0 || filler <= 0) return EXIT_USAGE;
    setsid();
    signal(SIGPIPE, SIG_IGN);

    struct pollfd watched[3] = {
        {.fd = 0, .events = POLLIN},
        {.fd = (int)syscall(SYS_pidfd_open, root, 0), .events = POLLIN},
        {.fd = (int)syscall(SYS_pidfd_open, filler, 0), .events = POLLIN},
    };
    int count = watched[1].fd < 0 || watched[2].fd < 0 ? -1 : hold_all(filler, watched[2].fd);
    if (count < 0) {
        dprintf(1, "failed %d\n", errno);
        return EXIT_OWN_FAULT;
    }
    leave_agent(entrypoint);
    dprintf(1, "held %d\n", count);

    int filler_pidfd = watched[2].fd;
    for (int64_t ends_at = 0; !ends_at || monotonic_ms() < ends_at;) {
        bool is_watching = watched[2].fd >= 0 || ends_at;
        if (poll(watched, 3, is_watching ? LOOK_EVERY_MS : -1) < 0 && errno != EINTR) return EXIT_OWN_FAULT;
        char word;
        if (watched[0].revents) {
            if (read(0, &word, 1) > 0) return 0;
            watched[0].fd = -1; /* the agent is gone; its successor kills the tree */
        }
        if (watched[1].revents && !ends_at) {
            ends_at = monotonic_ms() + GRACE_MS;
            watched[1].fd = -1;
        }
        if (watched[2].revents) watched[2].fd = -1;
        else if (watched[2].fd >= 0) hold_all(filler, filler_pidfd);
    }
    return 0;
}
