/*
 * Preloaded into criu for a dump in which the agent reads private anonymous memory itself. CRIU asks the kernel which pages of a process there
 * are (pmc_fill of criu/pagemap-cache.c, 4.2.1) and goes through them one by one, with a pipe for each MiB, only to list them: 110 ms a GiB
 * while the application stands still. Here it is told of none of them. Those that it is not told of are written to the file that
 * PODFERRY_CRIU_LEFT names, and the agent lists them. Without the variable nothing is changed.
 *
 * The pages that stacks end in are told of: CRIU writes those itself (is_stack of criu/mem.c), and they are where the registers point that it
 * has asked for. Whether CRIU could have left the others, the agent sees by the flags in its images.
 *
 * Removable with a CRIU that can be told not to look at memory.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/fs.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <unistd.h>

#define PAGE 4096ul

struct range {
    uint64_t start, end;
};

struct list {
    struct range *at;
    size_t count, room;
};

/* Whether there was memory for it. */
static int append(struct list *list, uint64_t start, uint64_t end) {
    if (list->count == list->room) {
        size_t room = list->room ? 2 * list->room : 1024;
        struct range *grown = realloc(list->at, room * sizeof(*grown));
        if (!grown) return 0;
        list->at = grown;
        list->room = room;
    }
    list->at[list->count++] = (struct range){start, end};
    return 1;
}

/* Pages that registers of threads point to as their stacks' ends. */
static struct list stacks;

static void note_stack(uint64_t pointer) {
    uint64_t page = pointer & ~(PAGE - 1);
    for (size_t i = 0; i < stacks.count; i++)
        if (stacks.at[i].start == page) return;
    /* Without memory criu does not get far itself; a page that is not known here would be read by the agent. */
    append(&stacks, page, page + PAGE);
}

typedef long trace(enum __ptrace_request, ...);

long ptrace(enum __ptrace_request request, ...) {
    trace *next = (trace *)dlsym(RTLD_NEXT, "ptrace");
    va_list list;
    va_start(list, request);
    pid_t pid = va_arg(list, pid_t);
    void *address = va_arg(list, void *), *data = va_arg(list, void *);
    va_end(list);
    long result = next(request, pid, address, data);
    if (result || request != PTRACE_GETREGSET || (uintptr_t)address != NT_PRSTATUS) return result;
    struct iovec *got = data;
    if (got->iov_len == sizeof(struct user_regs_struct)) note_stack(((struct user_regs_struct *)got->iov_base)->rsp);
    return result;
}

/* The private anonymous memory of the process whose memory is being listed, as agent/memory/address-space.ts finds it. */
static struct list private;
static pid_t private_of;

static int is_private(const char *line, struct range *range) {
    char rights[5], name[64] = "";
    unsigned long inode;
    unsigned int major, minor;
    int got = sscanf(line, "%lx-%lx %4s %*x %x:%x %lu %63s", &range->start, &range->end, rights, &major, &minor, &inode, name);
    if (got < 6 || rights[3] != 'p' || !strncmp(rights, "---", 3) || inode || major || minor) return 0;
    return strcmp(name, "[vdso]") && strcmp(name, "[vvar]") && strcmp(name, "[vvar_vclock]") && strcmp(name, "[vsyscall]") &&
           strcmp(name, "[uprobes]");
}

/* Whether `private` is now of this process. */
static int look_at(pid_t pid) {
    if (private_of == pid) return 1;
    private_of = 0;
    private.count = 0;
    char path[64], *line = NULL;
    size_t room = 0;
    snprintf(path, sizeof(path), "/proc/%d/maps", pid);
    FILE *maps = fopen(path, "re");
    if (!maps) return 0;
    struct range range;
    int is_whole = 1;
    while (is_whole && getline(&line, &room, maps) > 0)
        if (is_private(line, &range)) is_whole = append(&private, range.start, range.end);
    is_whole = is_whole && !ferror(maps);
    free(line);
    fclose(maps);
    if (is_whole) private_of = pid;
    return is_whole;
}

/* The process whose pagemap this is; 0 when it is no pagemap, or criu's own. */
static pid_t process_of(int file) {
    char link[64], path[64] = "";
    int pid = 0, end = 0;
    snprintf(link, sizeof(link), "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, path, sizeof(path) - 1);
    if (length <= 0 || sscanf(path, "/proc/%d/pagemap%n", &pid, &end) != 1 || end != length) return 0;
    return pid == getpid() ? 0 : pid;
}

struct told {
    struct page_region *regions;
    size_t count, room;
};

static int tell(struct told *told, uint64_t start, uint64_t end, uint64_t categories) {
    if (start == end) return 1;
    if (told->count == told->room) return 0;
    told->regions[told->count++] = (struct page_region){start, end, categories};
    return 1;
}

/* Divides a part of a region that lies in private memory: pages of stacks are told of, the others are left. */
static int divide(struct told *told, struct list *left, uint64_t start, uint64_t end, uint64_t categories) {
    while (start < end) {
        uint64_t stack = end;
        for (size_t i = 0; i < stacks.count; i++)
            if (stacks.at[i].start >= start && stacks.at[i].start < stack) stack = stacks.at[i].start;
        if (start < stack && !append(left, start, stack)) return 0;
        start = stack < end ? stack + PAGE : end;
        if (stack < end && !tell(told, stack, start, categories)) return 0;
    }
    return 1;
}

/* Divides what the kernel said. Whether all went well; else nothing of the result is of use. */
static int divide_all(const struct page_region *regions, size_t count, struct told *told, struct list *left) {
    size_t next = 0;
    for (size_t i = 0; i < count; i++) {
        struct page_region region = regions[i];
        if (region.categories & ~(uint64_t)(PAGE_IS_PRESENT | PAGE_IS_SWAPPED | PAGE_IS_SOFT_DIRTY)) {
            if (!tell(told, region.start, region.end, region.categories)) return 0;
            continue;
        }
        while (region.start < region.end) {
            while (next < private.count && private.at[next].end <= region.start) next++;
            uint64_t from = next < private.count ? private.at[next].start : region.end;
            if (from > region.start) {
                uint64_t until = from < region.end ? from : region.end;
                if (!tell(told, region.start, until, region.categories)) return 0;
                region.start = until;
                continue;
            }
            uint64_t until = private.at[next].end < region.end ? private.at[next].end : region.end;
            if (!divide(told, left, region.start, until, region.categories)) return 0;
            region.start = until;
        }
    }
    return 1;
}

/* Three numbers each: pid, first byte, byte after the last. */
static int write_left(const char *path, pid_t pid, const struct list *left) {
    size_t words = 3 * left->count, bytes = words * sizeof(uint64_t);
    uint64_t *records = malloc(bytes);
    int file = records ? open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600) : -1;
    ssize_t written = -1;
    if (file >= 0) {
        for (size_t i = 0; i < left->count; i++) {
            records[3 * i] = (uint64_t)pid;
            records[3 * i + 1] = left->at[i].start;
            records[3 * i + 2] = left->at[i].end;
        }
        written = write(file, records, bytes);
        close(file);
    }
    free(records);
    return written == (ssize_t)bytes;
}

/* How many regions remain to be told of; all of them, unchanged, when they cannot be divided. */
static int leave(const char *path, pid_t pid, struct pm_scan_arg *scan, int count) {
    struct page_region *regions = (struct page_region *)(uintptr_t)scan->vec;
    struct told told = {malloc(scan->vec_len * sizeof(*regions)), 0, scan->vec_len};
    struct list left = {0};
    if (told.regions && look_at(pid) && divide_all(regions, (size_t)count, &told, &left) && left.count && write_left(path, pid, &left)) {
        memcpy(regions, told.regions, told.count * sizeof(*regions));
        count = (int)told.count;
    }
    free(told.regions);
    free(left.at);
    return count;
}

typedef int control(int, unsigned long, ...);

int ioctl(int file, unsigned long request, ...) {
    control *next = (control *)dlsym(RTLD_NEXT, "ioctl");
    va_list list;
    va_start(list, request);
    void *argument = va_arg(list, void *);
    va_end(list);
    int result = next(file, request, argument);
    const char *path = request == PAGEMAP_SCAN && result > 0 ? getenv("PODFERRY_CRIU_LEFT") : NULL;
    pid_t pid = path ? process_of(file) : 0;
    if (!pid) return result;
    int reason = errno;
    result = leave(path, pid, argument, result);
    errno = reason;
    return result;
}
