/* Between the two halves of `track`: what is done with the kernel's records, and how a process is made to give its own. */
#ifndef PODFERRY_TRACK_H
#define PODFERRY_TRACK_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* What was being done when it failed; profiler/track-wire.ts names them. */
enum track_stage {
    STAGE_NONE = 0,
    STAGE_CREATE = 1,   /* userfaultfd, of our own */
    STAGE_FEATURES = 2, /* the kernel's asynchronous write protection */
    STAGE_REGISTER = 3,
    STAGE_SCAN = 4,
    STAGE_PROOF = 5, /* what the kernel said of our own memory was wrong */
    STAGE_THREAD = 6, /* no thread that can be borrowed */
    STAGE_SEIZE = 7,
    STAGE_STOP = 8,
    STAGE_STATE = 9, /* the thread's state cannot be set aside */
    STAGE_CALL = 10, /* userfaultfd, in the process */
    STAGE_TAKE = 11  /* pidfd_getfd */
};

struct outcome {
    int32_t stage;
    int32_t error;
    int32_t fd;
    int32_t number; /* that it had in the process */
};

/* Makes a userfaultfd of the process's memory: one of its threads stands still for less than a millisecond, and keeps nothing of it. */
struct outcome borrow_userfaultfd(pid_t pid);

/*
 * A child that the process forked in just that moment has the descriptor too, and CRIU cannot dump one: closes it there. A fork takes a while
 * until it can be seen, so this is to be asked again.
 */
void close_in_children(pid_t pid, int fd, int number);

/* ---- track-choose.c, for track-borrow.c */

/* Reads a file of /proc as text; `format` has the pid and, if it likes, the thread. Returns its length, or -1. */
ssize_t read_proc(char *to, size_t size, const char *format, int pid, int tid);
/* A hexadecimal field of /proc/PID/status; 0 when it is not there. */
uint64_t status_field(const char *status, const char *name);
/* Whether a system call answers EINTR to a tracer's stop as to a signal: then it must be begun anew. The others the kernel begins anew itself. */
bool gives_up(long number);
/* The thread that is disturbed least; not above 0, with errno, when there is none that can be borrowed. */
pid_t pick_thread(pid_t pid);
/* Where its vdso has a `syscall` instruction, so that nothing has to be written into it. 0 when there is none. */
uint64_t find_instruction(pid_t pid);

#endif
