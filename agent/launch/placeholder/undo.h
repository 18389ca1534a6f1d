/*
 * The undo log of a dump: what each thread was before CRIU changed it. image/criu-undo.c, inside criu, writes it as a shared mapping of a file;
 * undo.c reads it when criu was killed. Slot 0 is the header; the first slot whose tid is 0 ends the list. x86-64 only.
 */
#ifndef PODFERRY_UNDO_H
#define PODFERRY_UNDO_H

#include <stdint.h>
#include <sys/user.h>

#define UNDO_MAGIC 0x31444e55465250ull /* "PRFUND1" */
#define UNDO_SLOT_BYTES 16384
#define UNDO_WORDS 8
#define UNDO_XSTATE_BYTES 12288 /* AMX needs 11008 */

enum undo_state {
    UNDO_CHANGED = 1,  /* or about to be; this is written before the first change */
    UNDO_RELEASED = 2, /* as it was, and no longer anybody's tracee */
};

struct undo_word {
    uint64_t address;
    uint64_t was;
};

struct undo_task {
    uint32_t tid, tgid;
    uint64_t start_time; /* field 22 of /proc/PID/stat */
    uint32_t state;
    /* Its parasite runs by itself; when it loses criu it ends, and waits at end_ip (0: it gives the registers back and goes on). */
    uint32_t is_daemon;
    uint64_t end_ip;
    uint64_t mask;
    uint64_t pending; /* signals of this thread */
    struct user_regs_struct regs;
    uint64_t rseq;    /* address of its struct rseq, or 0 */
    uint64_t rseq_cs; /* the critical section it was in, or 0 */
    uint32_t word_count;
    uint32_t xstate_bytes;
    struct undo_word words[UNDO_WORDS]; /* the first is where system calls are put */
    uint8_t xstate[UNDO_XSTATE_BYTES];
};

_Static_assert(sizeof(struct undo_task) <= UNDO_SLOT_BYTES, "a task fits into its slot");

/* What CRIU calls the memory of its parasite (MEMFD_FNAME of compel/include/infect-priv.h, 4.2.1). */
#define PARASITE_MEMORY "/memfd:CRIUMFD"

#endif
