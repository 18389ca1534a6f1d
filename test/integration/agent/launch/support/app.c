/* The application of the launch tests: a static program for a root file system that holds nothing else. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

/* A handler that writes and a loop that reads: no moment at which a signal could be missed. */
static int signals[2];

static void announce(int signal) {
    char byte = (char)signal;
    if (write(signals[1], &byte, 1) != 1) _exit(9);
}

static void copy_to_stdout(const char *path) {
    char block[4096];
    size_t n;
    FILE *file = fopen(path, "re");
    if (!file) return;
    while ((n = fread(block, 1, sizeof block, file))) fwrite(block, 1, n, stdout);
    fclose(file);
}

/* Everything that a container gives to its process. */
static void print_status(void) {
    char directory[4096], link[64], target[256];
    printf("# status\n");
    copy_to_stdout("/proc/self/status");
    printf("# limits\n");
    copy_to_stdout("/proc/self/limits");
    printf("# cgroup\n");
    copy_to_stdout("/proc/self/cgroup");
    printf("# oom\n");
    copy_to_stdout("/proc/self/oom_score_adj");
    printf("# environment\n");
    for (char **e = environ; *e; e++) puts(*e);
    printf("# session\nleader %d\ncwd %s\n", getsid(0) == getpid() && getpgrp() == getpid(), getcwd(directory, sizeof directory));
    for (int fd = 0; fd < 64; fd++) {
        snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
        ssize_t n = readlink(link, target, sizeof target - 1);
        if (n > 0) printf("fd %d %.*s\n", fd, (int)n, target);
    }
}

int main(int argc, char **argv) {
    const char *mode = argc > 1 ? argv[1] : "";
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (!strcmp(mode, "status")) {
        print_status();
        return 0;
    }
    if (!strcmp(mode, "exit")) return atoi(argv[2]);
    if (!strcmp(mode, "segv")) {
        raise(SIGSEGV);
        return 1;
    }
    if (!strcmp(mode, "argv")) {
        for (int i = 2; i < argc; i++) printf("<%s>\n", argv[i]);
        return 0;
    }
    if (!strcmp(mode, "lengths")) {
        for (int i = 2; i < argc; i++) printf("%zu\n", strlen(argv[i]));
        return 0;
    }
    if (!strcmp(mode, "wait")) {
        int got = 0;
        if (pipe2(signals, O_CLOEXEC)) return 9;
        signal(SIGTERM, announce);
        puts("waiting");
        while (read(signals[0], &got, 1) != 1) continue;
        printf("got %d\n", got);
        return 7;
    }
    if (!strcmp(mode, "sleep")) { /* dies of a signal like most programs */
        puts("sleeping");
        for (;;) pause();
    }
    if (!strcmp(mode, "family")) { /* a child with a thread-less grandchild, and an orphan */
        int pair[2];
        if (pipe(pair)) return 9;
        if (fork() == 0) {
            if (fork() == 0) {
                close(pair[0]);
                for (;;) pause();
            }
            for (;;) pause();
        }
        if (fork() == 0) {
            if (fork() == 0) {
                dprintf(pair[1], "o");
                for (;;) pause();
            }
            _exit(0);
        }
        char orphaned;
        while (wait(NULL) < 0 && errno == EINTR) continue;
        if (read(pair[0], &orphaned, 1) != 1) return 9;
        puts("family complete");
        for (;;) pause();
    }
    if (!strcmp(mode, "open")) { /* what another process of the pod may try on the placeholder */
        for (int i = 2; i < argc; i++) {
            int fd = open(argv[i], O_RDWR | O_NONBLOCK | O_CLOEXEC);
            printf("%s %s\n", argv[i], fd >= 0 ? "opened" : strerror(errno));
        }
        return 0;
    }
    return 64;
}
