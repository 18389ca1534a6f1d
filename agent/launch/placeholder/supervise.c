/*
 * The parent of a restored application. `criu restore -d` gives the restored tree to its nearest subreaper: this process. It alone can learn
 * the real exit code, which it tells the entrypoint. It runs in the application's cgroups, so it ends with the container and outlives the agent.
 *
 * On stdout, one line each: `cgroup ERRNO PATH` or `placeholder ERRNO` when it could not begin; `exit CODE` when COMMAND has ended.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "placeholder.h"

#define NOBODY 65534

int enter_cgroups(int argc, char **argv, int first) {
    int i = first;
    for (; i < argc && strcmp(argv[i], "--"); i++) {
        int fd = open(argv[i], O_WRONLY | O_CLOEXEC);
        bool entered = fd >= 0 && write(fd, "0", 1) == 1;
        int error = errno;
        if (fd >= 0) close(fd);
        if (!entered) {
            dprintf(1, "cgroup %d %s\n", error, argv[i]);
            return -1;
        }
    }
    return i + 1 < argc ? i : -1;
}

int run_within(int argc, char **argv) {
    int separator = enter_cgroups(argc, argv, 0);
    if (separator < 0) return EXIT_OWN_FAULT;
    execvp(argv[separator + 1], argv + separator + 1);
    return errno == ENOENT ? EXIT_NOT_FOUND : EXIT_NOT_EXECUTABLE;
}

static int send_to_entrypoint(int fd, enum message_type type, int a, int b) {
    struct message m = {MESSAGE_MAGIC, type, 0, a, b, 0};
    return write(fd, &m, sizeof m) == sizeof m ? 0 : -1;
}

/* Kills and reaps whatever descends from this process, until there is nothing: a failed restore leaves no half-built tree behind. */
static void kill_descendants(void) {
    char path[64];
    snprintf(path, sizeof path, "/proc/self/task/%d/children", (int)getpid());
    for (;;) {
        FILE *children = fopen(path, "re");
        int pid;
        while (children && fscanf(children, "%d", &pid) == 1) kill(pid, SIGKILL);
        if (children) fclose(children);
        if (waitpid(-1, NULL, 0) < 0 && errno == ECHILD) return;
    }
}

/* Waits for COMMAND, or for SIGTERM, with which the agent gives up. Returns its exit code. */
static int wait_for_command(pid_t command, const sigset_t *awaited) {
    for (;;) {
        int signal = sigwaitinfo(awaited, NULL), status;
        if (signal == SIGTERM) return EXIT_OWN_FAULT;
        /* Only COMMAND: the exit of an already restored process must stay to be learned later. */
        if (waitpid(command, &status, WNOHANG) == command) return exit_code_of(status);
    }
}

/* Lets go of all that belongs to the agent: its files, its mounts, its power. */
static void settle(int entrypoint, int *request_fd) {
    char path[64];
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    for (int fd = 0; null >= 0 && fd < 3; fd++) dup2(null, fd);
    snprintf(path, sizeof path, "/proc/%d/ns/mnt", entrypoint);
    int mounts = open(path, O_RDONLY | O_CLOEXEC);
    /* Staying in the agent's mounts would only keep its root file system busy after its end. */
    if (mounts < 0 || setns(mounts, CLONE_NEWNS)) {
        int ignored = chdir("/");
        (void)ignored;
    }
    *request_fd = dup3(*request_fd, 3, O_CLOEXEC) == 3 ? 3 : *request_fd;
    if (*request_fd == 3) syscall(SYS_close_range, 4u, ~0u, 0u);
    /* An application running as nobody must not reach the channel through us either. */
    if (setresgid(NOBODY, NOBODY, NOBODY) || setresuid(NOBODY, NOBODY, NOBODY)) _exit(EXIT_OWN_FAULT);
    prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
}

static int report_exit_of(pid_t root, int request_fd) {
    for (;;) {
        siginfo_t info = {0};
        if (waitid(P_ALL, 0, &info, WEXITED | WNOWAIT)) {
            if (errno == EINTR) continue;
            return 0;
        }
        if (info.si_pid == root) {
            /* Before it is reaped: while the entrypoint hears it, the pid cannot be anyone else's. */
            int status = info.si_code == CLD_EXITED ? (info.si_status & 0xff) << 8 : info.si_status & 0x7f;
            send_to_entrypoint(request_fd, MESSAGE_EXIT, root, status);
        }
        waitpid(info.si_pid, NULL, 0);
        if (info.si_pid == root) return 0;
    }
}

int run_supervise(int argc, char **argv) {
    int entrypoint = argc > 0 ? atoi(argv[0]) : 0, root = argc > 1 ? atoi(argv[1]) : 0;
    if (entrypoint <= 0 || root <= 0) return EXIT_USAGE;

    char path[64];
    snprintf(path, sizeof path, "/proc/%d/fd/%d", entrypoint, REQUEST_WRITE_FD);
    int request_fd = open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC);
    if (request_fd < 0) {
        dprintf(1, "placeholder %d\n", errno);
        return EXIT_OWN_FAULT;
    }
    int separator = enter_cgroups(argc, argv, 2);
    if (separator < 0) return EXIT_OWN_FAULT;

    setsid();
    prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
    sigset_t awaited, original;
    sigemptyset(&awaited);
    sigaddset(&awaited, SIGCHLD);
    sigaddset(&awaited, SIGTERM);
    sigprocmask(SIG_BLOCK, &awaited, &original);

    pid_t command = fork();
    if (command == 0) {
        sigprocmask(SIG_SETMASK, &original, NULL);
        dup2(2, 1); /* stdout is ours */
        execvp(argv[separator + 1], argv + separator + 1);
        _exit(errno == ENOENT ? EXIT_NOT_FOUND : EXIT_NOT_EXECUTABLE);
    }
    int code = command < 0 ? EXIT_OWN_FAULT : wait_for_command(command, &awaited);
    if (code == 0 && send_to_entrypoint(request_fd, MESSAGE_ADOPT, root, 0)) {
        dprintf(1, "placeholder %d\n", errno);
        code = EXIT_OWN_FAULT;
    }
    if (code != 0) kill_descendants();
    dprintf(1, "exit %d\n", code);
    if (code != 0) return code;

    settle(entrypoint, &request_fd);
    return report_exit_of(root, request_fd);
}
