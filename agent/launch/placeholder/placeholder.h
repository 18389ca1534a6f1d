/*
 * The placeholder: a static program that stands in for the application as the entrypoint of its container.
 *
 *   infinity                                    the entrypoint: starts the application on request, forwards signals, reaps, exits with its code
 *   ready NAME                                  startup probe: 0 once the agent has marked the placeholder of container NAME
 *   install DST                                 init container: puts a copy of this program at DST, execute-only
 *   supervise PID ROOT CGROUP... -- COMMAND...  agent: runs `criu restore` inside the container's cgroups and stays as the parent of ROOT
 *   within CGROUP... -- COMMAND...              agent: runs COMMAND inside the container's cgroups
 *   fill-pages DIR                              agent: puts pages into restored processes (fill-pages.c)
 *   track                                       agent: tells which pages of processes were written (track.c)
 *   sockets PID...                              agent: tells what /proc does not of sockets (sockets.c)
 *   undo LOG                                    agent: puts back what a criu that was killed has changed (undo.c)
 *
 * The channel. The entrypoint holds both ends of anonymous pipes at fixed numbers. The agent opens them through /proc/PID/fd; that
 * needs ptrace access to this process, which is not dumpable and was never readable, so nobody else in the pod has it.
 * A third pipe holds nothing until the container ends with its application: then its exit code, as int32, for an agent that has it open.
 * Each message is one write of at most PIPE_BUF bytes, hence never torn or interleaved. launch/channel.ts is the other side.
 */
#ifndef PODFERRY_PLACEHOLDER_H
#define PODFERRY_PLACEHOLDER_H

#include <stdint.h>
#include <sys/types.h>

enum { REQUEST_READ_FD = 3, REQUEST_WRITE_FD = 4, REPLY_READ_FD = 5, REPLY_WRITE_FD = 6, END_READ_FD = 7, END_WRITE_FD = 8 };

#define MESSAGE_MAGIC 0x31465250u /* "PRF1" */
#define MESSAGE_LIMIT 4096        /* PIPE_BUF */

struct message {
    uint32_t magic;
    uint32_t type;
    uint32_t id; /* of the request; its reply carries the same */
    int32_t a;
    int32_t b;
    uint32_t length; /* of the payload that follows */
};

#define PAYLOAD_LIMIT (MESSAGE_LIMIT - sizeof(struct message))

enum message_type {
    MESSAGE_ARGV = 1,  /* a: offset of this piece, b: length of the whole; payload: NUL-terminated words. No reply */
    MESSAGE_START = 2, /* execs the words sent before. Reply a: pid, b: errno */
    MESSAGE_ADOPT = 3, /* a: pid of a restored application. Reply a: pid, b: errno */
    MESSAGE_EXIT = 4,  /* from the supervisor; a: pid, b: wait status. No reply */
    MESSAGE_HOLD = 5,  /* a: 1 = stay when the application ends. Reply as for PING */
    MESSAGE_PING = 6   /* Reply a: pid of the application or 0, b: 1 when held */
};

/* What a shell and a container runtime use too. */
enum { EXIT_NOT_EXECUTABLE = 126, EXIT_NOT_FOUND = 127, EXIT_USAGE = 64, EXIT_OWN_FAULT = 125, EXIT_UNKNOWN = 255 };

/* The exit code that stands for a wait status: the code itself, or 128 + signal. */
int exit_code_of(int wait_status);

/* Writes this process into each of the cgroup.procs files; the list ends at "--". Returns the index of "--", or -1 after reporting on stdout. */
int enter_cgroups(int argc, char **argv, int first);

int run_infinity(void);
int run_ready(const char *name);
int run_install(const char *destination);
int run_supervise(int argc, char **argv);
int run_within(int argc, char **argv);
int run_hold_faults(int argc, char **argv);
int run_fill_pages(const char *dir);
int run_track(void);
int run_sockets(int count, char **pids);
int run_undo(const char *path);

#endif
