/* The parts of the filler: what has not come yet (fill-missing.c), the processes' memory (fill-memory.c), the agent and CRIU (fill-pages.c). */
#ifndef PODFERRY_FILL_H
#define PODFERRY_FILL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PAGE UINT64_C(4096)

#define PIECE_PAGES 512

/* Content of the image at `image`, wanted at `at`: another address once the process has moved the mapping. */
struct piece {
    uint64_t image, at, pages, left; /* left: that have not come */
    uint64_t came[PIECE_PAGES / 64]; /* bits */
};

struct missing {
    struct piece *pieces; /* ascending by `at` */
    size_t count, room, used; /* used: those with pages that have not come */
    bool has_moved;           /* then `image` does not ascend */
};

/* Neighbouring pages of one piece that have not come; bytes 0: none. */
struct wanted { uint64_t image, at, bytes; };

/* false: there is no memory */
bool missing_add(struct missing *m, uint64_t image, uint64_t at, uint64_t bytes);
bool missing_copy(struct missing *to, const struct missing *from);
void missing_free(struct missing *m);

/* Whether a page is wanted at `at`, and which one of the image. */
bool missing_at(const struct missing *m, uint64_t at, uint64_t *image);
/* The first pages wanted of the image's [image, image + bytes). */
struct wanted missing_of_image(const struct missing *m, uint64_t image, uint64_t bytes);

/* What was wanted at [at, at + bytes) is there. */
void missing_came(struct missing *m, uint64_t at, uint64_t bytes);
/* [at, at + bytes) is not mapped any more. */
bool missing_drop(struct missing *m, uint64_t at, uint64_t bytes);
/* What was wanted at [from, from + bytes) is wanted at `to`. */
bool missing_move(struct missing *m, uint64_t from, uint64_t to, uint64_t bytes);

/* ---- fill-memory.c */

/* One address space. `pid` is the one in the images, also of a child that was forked since. */
struct space { int pid, fd; struct missing missing; };
extern struct space *spaces;
extern size_t space_count;
/* CRIU has registered all memory. */
extern bool is_restored;

/* The first of this pid, or NULL. */
struct space *space_of(int pid);
struct space *new_space(int pid, int fd);
/* Reads what the kernel tells of a space, and follows it. */
void read_events(size_t index);
/* Puts in what is wanted of the image's [image, image + bytes), in every space of this pid. */
void put_pages(int pid, uint64_t image, uint64_t bytes, const uint8_t *content);
/* Takes the spaces of processes that have ended off the list: their indices change. */
void forget_ended(void);
/* Ends this process when something has not come. */
void expect_complete(void);

/* ---- fill-pages.c */

void die(const char *format, ...) __attribute__((noreturn, format(printf, 1, 2)));
void need(bool is_fine);
/* Somebody waits for this page of the image. */
void tell_touched(int pid, uint64_t address);

#endif
