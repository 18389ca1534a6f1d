/* The startup probe: passes while the process that the agent's mark names still lives. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "placeholder.h"

static ssize_t read_text(const char *path, char *text, size_t size) {
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0) return -1;
    ssize_t n = read(fd, text, size - 1);
    close(fd);
    text[n > 0 ? n : 0] = '\0';
    return n;
}

/* Field 22 of /proc/PID/stat, in clock ticks; 0 when there is no such process. The name in field 2 may hold spaces and parentheses. */
static unsigned long long start_time_of(int pid) {
    char path[64], text[1024];
    snprintf(path, sizeof path, "/proc/%d/stat", pid);
    if (read_text(path, text, sizeof text) <= 0) return 0;
    char *at = strrchr(text, ')');
    for (int field = 2; at && field < 22; field++) at = strchr(at + 1, ' ');
    return at ? strtoull(at, NULL, 10) : 0;
}

int run_ready(const char *name) {
    char path[512], mark[128];
    int pid;
    unsigned long long start_time;
    if (strchr(name, '/')) return EXIT_USAGE;
    snprintf(path, sizeof path, "/.podferry/run/%s.ready", name);
    if (read_text(path, mark, sizeof mark) <= 0) return 1;
    if (sscanf(mark, "%d %llu", &pid, &start_time) != 2 || start_time == 0) return 1;
    return start_time_of(pid) == start_time ? 0 : 1;
}
