/*
 * Preloaded into criu, which runs in the application's mount namespace. Two of its paths are not the application's business:
 *
 * It keeps what it has learned about the kernel in /run/criu.kdat (criu/kerndat.c, 4.2.1), which saves 55 ms a start. There it would be the
 * application's to plant, and mostly cannot be kept. The file is the one that PODFERRY_CRIU_CACHE names instead, in the agent's own root; without
 * the variable there is none.
 *
 * It wants a folder below /tmp to probe the kernel with
 * (kerndat_has_move_mount_set_group of criu/kerndat.c, 4.2.1; without it neither dump nor restore begins). An image made
 * from scratch has no /tmp, and with readOnlyRootFilesystem none can be made. Kubernetes mounts /dev/shm into every container: the
 * folder goes there when /tmp does not take it. Removable with a CRIU that does without.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

#define TEMPORARY "/tmp/"
#define FALLBACK "/dev/shm/"
#define PLACEHOLDER_LENGTH 6 /* XXXXXX */

typedef char *make_directory(char *);

char *mkdtemp(char *template) {
    make_directory *next = (make_directory *)dlsym(RTLD_NEXT, "mkdtemp");
    size_t length = strlen(template), grown = strlen(FALLBACK) - strlen(TEMPORARY);
    int is_temporary = !strncmp(template, TEMPORARY, strlen(TEMPORARY));
    char *made = next(template);
    /* The caller's array has room for exactly its own path: the name loses at its front what the folder's gains. */
    if (made || !is_temporary || length < strlen(FALLBACK) + PLACEHOLDER_LENGTH) return made;
    memmove(template + strlen(FALLBACK), template + strlen(TEMPORARY) + grown, length - strlen(FALLBACK) + 1);
    memcpy(template, FALLBACK, strlen(FALLBACK));
    memset(template + length - PLACEHOLDER_LENGTH, 'X', PLACEHOLDER_LENGTH);
    return next(template);
}

#define CACHE "/run/criu.kdat"
#define NOWHERE "/proc/none/criu.kdat"
#define LONGEST_PATH 512

/* CACHE, and the temporary name that it is written under, as paths of the agent's root; any other path is itself. */
static const char *redirected(const char *path, char room[LONGEST_PATH]) {
    if (!path || strncmp(path, CACHE, strlen(CACHE))) return path;
    const char *suffix = path + strlen(CACHE), *cache = getenv("PODFERRY_CRIU_CACHE");
    if (*suffix && strcmp(suffix, ".tmp")) return path;
    int length = snprintf(room, LONGEST_PATH, "%s%s", cache ? cache : NOWHERE, suffix);
    return length < LONGEST_PATH ? room : NOWHERE;
}

typedef int open_file(const char *, int, ...);
typedef int rename_file(const char *, const char *);
typedef int unlink_file(const char *);

#define OPEN(name)                                                                                                                                   \
    int name(const char *path, int flags, ...) {                                                                                                     \
        open_file *next = (open_file *)dlsym(RTLD_NEXT, #name);                                                                                      \
        char room[LONGEST_PATH];                                                                                                                     \
        mode_t mode = 0;                                                                                                                             \
        if ((flags & O_CREAT) || (flags & O_TMPFILE) == O_TMPFILE) {                                                                                         \
            va_list list;                                                                                                                            \
            va_start(list, flags);                                                                                                                   \
            mode = va_arg(list, mode_t);                                                                                                             \
            va_end(list);                                                                                                                            \
        }                                                                                                                                            \
        return next(redirected(path, room), flags, mode);                                                                                            \
    }
OPEN(open)
OPEN(open64)

int rename(const char *from, const char *to) {
    rename_file *next = (rename_file *)dlsym(RTLD_NEXT, "rename");
    char room[LONGEST_PATH], other[LONGEST_PATH];
    return next(redirected(from, room), redirected(to, other));
}

int unlink(const char *path) {
    unlink_file *next = (unlink_file *)dlsym(RTLD_NEXT, "unlink");
    char room[LONGEST_PATH];
    return next(redirected(path, room));
}
