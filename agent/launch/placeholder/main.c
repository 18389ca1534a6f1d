#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "placeholder.h"

int exit_code_of(int wait_status) {
    return WIFEXITED(wait_status) ? WEXITSTATUS(wait_status) : 128 + WTERMSIG(wait_status);
}

int main(int argc, char **argv) {
    /* First of all: from here on /proc/self/fd, mem and environ are closed to the application's user. */
    prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);

    const char *mode = argc > 1 ? argv[1] : "";
    if (!strcmp(mode, "infinity") && argc == 2) return run_infinity();
    if (!strcmp(mode, "ready") && argc == 3) return run_ready(argv[2]);
    if (!strcmp(mode, "install") && argc == 3) return run_install(argv[2]);
    if (!strcmp(mode, "supervise")) return run_supervise(argc - 2, argv + 2);
    if (!strcmp(mode, "within")) return run_within(argc - 2, argv + 2);
    if (!strcmp(mode, "hold-faults")) return run_hold_faults(argc - 2, argv + 2);
    if (!strcmp(mode, "fill-pages") && argc == 3) return run_fill_pages(argv[2]);
    if (!strcmp(mode, "track") && argc == 2) return run_track();
    if (!strcmp(mode, "undo") && argc == 3) return run_undo(argv[2]);
    if (!strcmp(mode, "sockets")) return run_sockets(argc - 2, argv + 2);
    fprintf(stderr, "usage: infinity | ready NAME | install DST | supervise PID ROOT CGROUP... -- COMMAND... | within CGROUP... -- COMMAND... | "
                    "hold-faults ENTRYPOINT ROOT FILLER | fill-pages DIR | track | sockets PID... | undo LOG\n");
    return EXIT_USAGE;
}
