/*
 * Preloaded into criu, which runs in the application's mount namespace and wants a folder below /tmp to probe the kernel with
 * (kerndat_has_move_mount_set_group of criu/kerndat.c, 4.2.1; without it neither dump nor restore begins). An image made
 * from scratch has no /tmp, and with readOnlyRootFilesystem none can be made. Kubernetes mounts /dev/shm into every container: the
 * folder goes there when /tmp does not take it. Removable with a CRIU that does without.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

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
