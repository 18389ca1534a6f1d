/*
 * For machines whose root lacks CAP_SYS_RESOURCE, such as the one this test bed was made on; never part of the product.
 *
 * CRIU reads the resource limits of the processes it dumps with prlimit64. For a process of another user the kernel wants
 * CAP_SYS_RESOURCE, although /proc/PID/limits shows the same numbers. Preloaded into criu, this answers such reads from there.
 * Everything else goes to the kernel as it is.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

/* The first column of /proc/PID/limits, by RLIMIT_ number; fs/proc/base.c of Linux. */
static const char *const names[] = {
    "Max cpu time",      "Max file size",     "Max data size",      "Max stack size",  "Max core file size", "Max resident set",
    "Max processes",     "Max open files",    "Max locked memory",  "Max address space", "Max file locks",   "Max pending signals",
    "Max msgqueue size", "Max nice priority", "Max realtime priority", "Max realtime timeout",
};
#define NAME_COLUMN_WIDTH 26

#if !defined(__x86_64__)
#error "the shim is written for x86-64 test machines"
#endif

static long kernel_call(long number, const long a[6]) {
    register long r10 __asm__("r10") = a[3], r8 __asm__("r8") = a[4], r9 __asm__("r9") = a[5];
    long result;
    __asm__ volatile("syscall" : "=a"(result) : "a"(number), "D"(a[0]), "S"(a[1]), "d"(a[2]), "r"(r10), "r"(r8), "r"(r9) : "rcx", "r11", "memory");
    if (result >= 0 || result <= -4096) return result;
    errno = (int)-result;
    return -1;
}

static rlim_t limit_of(const char *text) {
    return strcmp(text, "unlimited") ? strtoull(text, NULL, 10) : RLIM_INFINITY;
}

static int read_limit(pid_t pid, unsigned resource, struct rlimit *limit) {
    char path[64], line[256], soft[64], hard[64];
    int found = -1;
    snprintf(path, sizeof path, "/proc/%d/limits", pid);
    FILE *limits = fopen(path, "re");
    while (limits && found < 0 && fgets(line, sizeof line, limits)) {
        if (strncmp(line, names[resource], strlen(names[resource])) || strlen(line) < NAME_COLUMN_WIDTH) continue;
        if (sscanf(line + NAME_COLUMN_WIDTH, "%63s %63s", soft, hard) != 2) continue;
        limit->rlim_cur = limit_of(soft);
        limit->rlim_max = limit_of(hard);
        found = 0;
    }
    if (limits) fclose(limits);
    if (found < 0) errno = EPERM;
    return found;
}

static int shimmed_prlimit(pid_t pid, unsigned resource, const struct rlimit *new_limit, struct rlimit *old_limit) {
    const long arguments[6] = {pid, (long)resource, (long)new_limit, (long)old_limit, 0, 0};
    long result = kernel_call(SYS_prlimit64, arguments);
    int only_read = !new_limit && old_limit && pid > 0 && resource < sizeof names / sizeof *names;
    if (result >= 0 || errno != EPERM || !only_read) return (int)result;
    return read_limit(pid, resource, old_limit);
}

int prlimit(pid_t pid, enum __rlimit_resource resource, const struct rlimit *new_limit, struct rlimit *old_limit) {
    return shimmed_prlimit(pid, (unsigned)resource, new_limit, old_limit);
}

int prlimit64(pid_t pid, enum __rlimit_resource resource, const struct rlimit64 *new_limit, struct rlimit64 *old_limit) {
    return shimmed_prlimit(pid, (unsigned)resource, (const struct rlimit *)new_limit, (struct rlimit *)old_limit);
}

/* CRIU makes this call by number too. */
long syscall(long number, ...) {
    long a[6];
    va_list list;
    va_start(list, number);
    for (int i = 0; i < 6; i++) a[i] = va_arg(list, long);
    va_end(list);
    if (number != SYS_prlimit64) return kernel_call(number, a);
    return shimmed_prlimit((pid_t)a[0], (unsigned)a[1], (const struct rlimit *)a[2], (struct rlimit *)a[3]);
}
