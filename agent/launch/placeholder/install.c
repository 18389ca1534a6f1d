/* The init container: puts a copy of this program on the volume it shares with the application. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "placeholder.h"

/* Nobody may read it: a program that its user cannot read is not dumpable from its very first instruction. */
#define EXECUTE_ONLY 0111

static int failed(const char *doing, const char *path) {
    fprintf(stderr, "podferry-sleep: cannot %s %s: %s\n", doing, path, strerror(errno));
    return 1;
}

static int copy(int from, int to) {
    char block[65536];
    ssize_t n;
    while ((n = read(from, block, sizeof block)) > 0)
        for (ssize_t done = 0, w; done < n; done += w)
            if ((w = write(to, block + done, (size_t)(n - done))) < 0) return -1;
    return n < 0 ? -1 : 0;
}

int run_install(const char *destination) {
    char directory[4096], temporary[4096];
    const char *slash = strrchr(destination, '/');
    if (!slash || slash == destination || strlen(destination) > sizeof temporary - 8) return EXIT_USAGE;
    snprintf(directory, sizeof directory, "%.*s", (int)(slash - destination), destination);
    snprintf(temporary, sizeof temporary, "%s.new", destination);

    if (mkdir(directory, 0755) && errno != EEXIST) return failed("create", directory);
    int from = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    if (from < 0) return failed("read", "/proc/self/exe");
    if (unlink(temporary) && errno != ENOENT) return failed("remove", temporary);
    int to = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0700);
    if (to < 0) return failed("create", temporary);
    if (copy(from, to) || fchmod(to, EXECUTE_ONLY) || close(to)) return failed("write", temporary);
    close(from);
    if (rename(temporary, destination)) return failed("rename to", destination);
    return 0;
}
