/* A process' missing pages as pieces of address space. Most come whole and in order, which must be cheap; the rest is rare. */
#include <stdlib.h>
#include <string.h>

#include "fill.h"

static uint64_t end_of(const struct piece *p) {
    return p->at + p->bytes;
}

/* Index of the first piece that ends after `at`; those that have come keep their place in the order. */
static size_t first_after(const struct missing *m, uint64_t at) {
    size_t low = 0, high = m->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (end_of(&m->pieces[middle]) > at) high = middle;
        else low = middle + 1;
    }
    return low;
}

static void compact(struct missing *m) {
    size_t to = 0;
    for (size_t i = 0; i < m->count; i++)
        if (m->pieces[i].bytes) m->pieces[to++] = m->pieces[i];
    m->count = to;
}

static bool grow(struct missing *m) {
    if (m->count < m->room) return true;
    size_t room = m->room ? 2 * m->room : 64;
    struct piece *pieces = realloc(m->pieces, room * sizeof *pieces);
    if (!pieces) return false;
    m->pieces = pieces;
    m->room = room;
    return true;
}

static bool insert(struct missing *m, size_t index, struct piece p) {
    if (!grow(m)) return false;
    memmove(m->pieces + index + 1, m->pieces + index, (m->count - index) * sizeof *m->pieces);
    m->pieces[index] = p;
    m->count++;
    m->used++;
    return true;
}

bool missing_add(struct missing *m, uint64_t image, uint64_t at, uint64_t bytes) {
    if (!bytes) return true;
    size_t index = first_after(m, at);
    /* Appended, unless it comes after a move: then `image` and `at` differ. */
    if (image != at) m->has_moved = true;
    if (index == m->count && index > 0) {
        struct piece *last = &m->pieces[index - 1];
        if (last->bytes && end_of(last) == at && last->image + last->bytes == image) {
            last->bytes += bytes;
            return true;
        }
    }
    return insert(m, index, (struct piece){image, at, bytes});
}

bool missing_copy(struct missing *to, const struct missing *from) {
    *to = (struct missing){.has_moved = from->has_moved};
    for (size_t i = 0; i < from->count; i++)
        if (!missing_add(to, from->pieces[i].image, from->pieces[i].at, from->pieces[i].bytes)) return false;
    return true;
}

void missing_free(struct missing *m) {
    free(m->pieces);
    *m = (struct missing){0};
}

const struct piece *missing_at(const struct missing *m, uint64_t at) {
    size_t i = first_after(m, at);
    while (i < m->count && !m->pieces[i].bytes) i++;
    return i < m->count && m->pieces[i].at <= at ? &m->pieces[i] : NULL;
}

static struct piece cut_to_image(struct piece p, uint64_t from, uint64_t to) {
    uint64_t begin = p.image > from ? p.image : from, end = p.image + p.bytes < to ? p.image + p.bytes : to;
    if (begin >= end) return (struct piece){0};
    return (struct piece){begin, p.at + (begin - p.image), end - begin};
}

struct piece missing_of_image(const struct missing *m, uint64_t image, uint64_t bytes) {
    for (size_t i = m->has_moved ? 0 : first_after(m, image); i < m->count; i++) {
        const struct piece *p = &m->pieces[i];
        struct piece found = cut_to_image(*p, image, image + bytes);
        if (p->bytes && found.bytes) return found;
        if (!m->has_moved && p->at >= image + bytes) break;
    }
    return (struct piece){0};
}

bool missing_drop(struct missing *m, uint64_t at, uint64_t bytes) {
    uint64_t end = at + bytes;
    for (size_t i = first_after(m, at); i < m->count && m->pieces[i].at < end; i++) {
        struct piece *p = &m->pieces[i];
        if (!p->bytes) continue;
        uint64_t piece_end = end_of(p);
        if (p->at >= at && piece_end <= end) {
            p->bytes = 0;
            m->used--;
        } else if (p->at >= at) {
            uint64_t gone = end - p->at;
            *p = (struct piece){p->image + gone, end, p->bytes - gone};
        } else {
            uint64_t kept = at - p->at;
            struct piece rest = {p->image + (end - p->at), end, piece_end > end ? piece_end - end : 0};
            p->bytes = kept;
            if (rest.bytes && !insert(m, i + 1, rest)) return false;
        }
    }
    if (m->count > 64 && m->used < m->count / 2) compact(m);
    return true;
}

bool missing_move(struct missing *m, uint64_t from, uint64_t to, uint64_t bytes) {
    struct missing moved = {0};
    bool is_done = true;
    for (size_t i = first_after(m, from); is_done && i < m->count && m->pieces[i].at < from + bytes; i++) {
        struct piece p = m->pieces[i];
        uint64_t begin = p.at > from ? p.at : from, end = end_of(&p) < from + bytes ? end_of(&p) : from + bytes;
        if (p.bytes && begin < end) is_done = missing_add(&moved, p.image + (begin - p.at), to + (begin - from), end - begin);
    }
    is_done = is_done && missing_drop(m, from, bytes);
    /* Whatever was mapped there before is gone. */
    is_done = is_done && missing_drop(m, to, bytes);
    for (size_t i = 0; is_done && i < moved.count; i++)
        is_done = missing_add(m, moved.pieces[i].image, moved.pieces[i].at, moved.pieces[i].bytes);
    missing_free(&moved);
    return is_done;
}
