/* Which thread of a process can best be borrowed, and where it can make a system call. */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "track.h"

#ifdef __x86_64__

ssize_t read_proc(char *to, size_t size, const char *format, int pid, int tid) {
    char path[64];
    snprintf(path, sizeof path, format, pid, tid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return -1;
    ssize_t n = read(fd, to, size - 1);
    close(fd);
    to[n < 0 ? 0 : n] = '\0';
    return n;
}

uint64_t status_field(const char *status, const char *name) {
    const char *at = strstr(status, name);
    return at ? strtoull(at + strlen(name), NULL, 16) : 0;
}

bool gives_up(long number) {
    switch (number) {
    case SYS_epoll_wait:
    case SYS_epoll_pwait:
    case 441: /* epoll_pwait2 */
    case SYS_rt_sigtimedwait:
    case SYS_semop:
    case SYS_semtimedop:
    case SYS_io_getevents:
    case SYS_recvfrom: /* with SO_RCVTIMEO */
    case SYS_recvmsg:
    case SYS_accept:
    case SYS_accept4:
        return true;
    default:
        return false;
    }
}

/* How well a thread can be borrowed; below 0 not at all. */
static int rank(pid_t pid, pid_t tid) {
    char text[512];
    if (read_proc(text, sizeof text, "/proc/%d/task/%d/stat", pid, tid) <= 0) return -1;
    const char *name_end = strrchr(text, ')');
    char state = name_end && name_end[1] ? name_end[2] : 'X';
    if (strchr("ZXTtD", state)) return -1;
    if (read_proc(text, sizeof text, "/proc/%d/task/%d/syscall", pid, tid) <= 0) return 0;
    if (!strncmp(text, "running", 7)) return 3;
    long number = strtol(text, NULL, 10);
    return number == SYS_futex ? 2 : gives_up(number) ? 0 : 1;
}

pid_t pick_thread(pid_t pid) {
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/task", pid);
    DIR *threads = opendir(path);
    if (!threads) return -1;
    pid_t best = 0;
    int best_rank = -1;
    for (struct dirent *entry; best_rank < 3 && (entry = readdir(threads));) {
        pid_t tid = atoi(entry->d_name);
        int its_rank = tid > 0 ? rank(pid, tid) : -1;
        if (its_rank > best_rank) best = tid, best_rank = its_rank;
    }
    closedir(threads);
    if (!best) errno = EBUSY;
    return best;
}

uint64_t find_instruction(pid_t pid) {
    static char maps_line[4608], code[4 * 4096];
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/maps", pid);
    FILE *maps = fopen(path, "re");
    if (!maps) return 0;
    unsigned long start = 0, end = 0;
    bool found = false;
    while (!found && fgets(maps_line, sizeof maps_line, maps))
        found = strstr(maps_line, "[vdso]") && sscanf(maps_line, "%lx-%lx", &start, &end) == 2;
    fclose(maps);
    if (!found) return 0;
    snprintf(path, sizeof path, "/proc/%d/mem", pid);
    int memory = open(path, O_RDONLY | O_CLOEXEC);
    if (memory < 0) return 0;
    size_t size = end - start < sizeof code ? end - start : sizeof code;
    ssize_t n = pread(memory, code, size, (off_t)start);
    close(memory);
    for (ssize_t i = 0; i + 1 < n; i++)
        if (code[i] == 0x0f && code[i + 1] == 0x05) return start + (uint64_t)i;
    return 0;
}

#endif
