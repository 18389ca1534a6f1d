/* What of one process' memory has not come yet (fill-missing.c), for fill-pages.c. */
#ifndef PODFERRY_FILL_H
#define PODFERRY_FILL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PAGE UINT64_C(4096)

/* Content of the image at `image`, wanted at `at`: another address once the process has moved the mapping. */
struct piece {
    uint64_t image, at, bytes; /* bytes 0: has come */
};

struct missing {
    struct piece *pieces; /* ascending by `at` */
    size_t count, room, used; /* used: those with bytes */
    bool has_moved;           /* then `image` does not ascend */
};

/* false: there is no memory */
bool missing_add(struct missing *m, uint64_t image, uint64_t at, uint64_t bytes);
bool missing_copy(struct missing *to, const struct missing *from);
void missing_free(struct missing *m);

/* The piece that is wanted at `at`, or NULL. */
const struct piece *missing_at(const struct missing *m, uint64_t at);
/* The first piece wanted of the image's [image, image + bytes), cut to it; bytes 0: none. */
struct piece missing_of_image(const struct missing *m, uint64_t image, uint64_t bytes);

/* Nothing is wanted at [at, at + bytes) any more. */
bool missing_drop(struct missing *m, uint64_t at, uint64_t bytes);
/* What was wanted at [from, from + bytes) is wanted at `to`. */
bool missing_move(struct missing *m, uint64_t from, uint64_t to, uint64_t bytes);

#endif
