/*
 * A process' missing pages. Pages come in any order, often one by one, which only sets bits; where the address space itself changes
 * pieces are cut, which is rare.
 */
#include <stdlib.h>
#include <string.h>

#include "fill.h"

static uint64_t end_of(const struct piece *p) {
    return p->at + p->pages * PAGE;
}

static bool has_come(const struct piece *p, uint64_t page) {
    return p->came[page / 64] >> page % 64 & 1;
}

static void mark_come(struct piece *p, uint64_t page) {
    p->came[page / 64] |= UINT64_C(1) << page % 64;
}

/* Index of the first piece that ends after `at`. */
static size_t first_after(const struct missing *m, uint64_t at) {
    size_t low = 0, high = m->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (end_of(&m->pieces[middle]) > at) high = middle;
        else low = middle + 1;
    }
    return low;
}

/* Of `pages` pages that begin at `begin` those that lie in [at, at + bytes): [*from, *to). */
static void cut(uint64_t begin, uint64_t pages, uint64_t at, uint64_t bytes, uint64_t *from, uint64_t *to) {
    uint64_t end = at + bytes < begin + pages * PAGE ? at + bytes : begin + pages * PAGE;
    *from = at > begin ? (at - begin) / PAGE : 0;
    *to = end > begin ? (end - begin) / PAGE : 0;
}

/* The next missing pages of a piece in [*from, to): [*from, the result). */
static uint64_t run_of(const struct piece *p, uint64_t *from, uint64_t to) {
    while (*from < to && has_come(p, *from)) ++*from;
    uint64_t end = *from;
    while (end < to && !has_come(p, end)) end++;
    return end;
}

static struct piece part_of(const struct piece *p, uint64_t from, uint64_t to) {
    struct piece part = {.image = p->image + from * PAGE, .at = p->at + from * PAGE, .pages = to - from};
    for (uint64_t page = from; page < to; page++) {
        if (has_come(p, page)) mark_come(&part, page - from);
        else part.left++;
    }
    return part;
}

static bool insert(struct missing *m, size_t index, struct piece p) {
    if (m->count == m->room) {
        size_t room = m->room ? 2 * m->room : 64;
        struct piece *pieces = realloc(m->pieces, room * sizeof *pieces);
        if (!pieces) return false;
        m->pieces = pieces;
        m->room = room;
    }
    memmove(m->pieces + index + 1, m->pieces + index, (m->count - index) * sizeof *m->pieces);
    m->pieces[index] = p;
    m->count++;
    m->used++;
    return true;
}

static void take_out(struct missing *m, size_t index) {
    m->used -= m->pieces[index].left > 0;
    m->count--;
    memmove(m->pieces + index, m->pieces + index + 1, (m->count - index) * sizeof *m->pieces);
}

bool missing_add(struct missing *m, uint64_t image, uint64_t at, uint64_t bytes) {
    if (image != at) m->has_moved = true;
    while (bytes) {
        size_t index = first_after(m, at);
        struct piece *last = index == m->count && index ? &m->pieces[index - 1] : NULL;
        bool continues = last && last->left && last->pages < PIECE_PAGES && end_of(last) == at
            && last->image + last->pages * PAGE == image;
        uint64_t pages = PIECE_PAGES - (continues ? last->pages : 0);
        if (pages > bytes / PAGE) pages = bytes / PAGE;
        if (continues) {
            last->pages += pages;
            last->left += pages;
        } else if (!insert(m, index, (struct piece){.image = image, .at = at, .pages = pages, .left = pages})) {
            return false;
        }
        image += pages * PAGE;
        at += pages * PAGE;
        bytes -= pages * PAGE;
    }
    return true;
}

bool missing_copy(struct missing *to, const struct missing *from) {
    *to = *from;
    to->room = from->count;
    to->pieces = malloc(from->count * sizeof *to->pieces + 1);
    if (to->pieces) memcpy(to->pieces, from->pieces, from->count * sizeof *to->pieces);
    return to->pieces != NULL;
}

void missing_free(struct missing *m) {
    free(m->pieces);
    *m = (struct missing){0};
}

bool missing_at(const struct missing *m, uint64_t at, uint64_t *image) {
    size_t i = first_after(m, at);
    if (i == m->count || m->pieces[i].at > at) return false;
    const struct piece *p = &m->pieces[i];
    *image = p->image + (at - p->at);
    return !has_come(p, (at - p->at) / PAGE);
}

struct wanted missing_of_image(const struct missing *m, uint64_t image, uint64_t bytes) {
    for (size_t i = m->has_moved ? 0 : first_after(m, image); i < m->count; i++) {
        const struct piece *p = &m->pieces[i];
        if (!m->has_moved && p->image >= image + bytes) break;
        if (!p->left) continue;
        uint64_t from, to;
        cut(p->image, p->pages, image, bytes, &from, &to);
        uint64_t end = run_of(p, &from, to);
        if (from < end) return (struct wanted){p->image + from * PAGE, p->at + from * PAGE, (end - from) * PAGE};
    }
    return (struct wanted){0};
}

void missing_came(struct missing *m, uint64_t at, uint64_t bytes) {
    for (size_t i = first_after(m, at); i < m->count && m->pieces[i].at < at + bytes; i++) {
        struct piece *p = &m->pieces[i];
        if (!p->left) continue;
        uint64_t from, to;
        cut(p->at, p->pages, at, bytes, &from, &to);
        for (uint64_t page = from; page < to; page++) {
            p->left -= !has_come(p, page);
            mark_come(p, page);
        }
        m->used -= !p->left;
    }
}

bool missing_drop(struct missing *m, uint64_t at, uint64_t bytes) {
    size_t i = first_after(m, at);
    while (i < m->count && m->pieces[i].at < at + bytes) {
        uint64_t from, to;
        cut(m->pieces[i].at, m->pieces[i].pages, at, bytes, &from, &to);
        struct piece before = part_of(&m->pieces[i], 0, from), after = part_of(&m->pieces[i], to, m->pieces[i].pages);
        take_out(m, i);
        if (before.left && !insert(m, i++, before)) return false;
        if (after.left && !insert(m, i++, after)) return false;
    }
    return true;
}

bool missing_move(struct missing *m, uint64_t from, uint64_t to, uint64_t bytes) {
    struct missing moved = {0};
    bool is_done = true;
    for (size_t i = first_after(m, from); is_done && i < m->count && m->pieces[i].at < from + bytes; i++) {
        const struct piece *p = &m->pieces[i];
        uint64_t begin, end, last;
        cut(p->at, p->pages, from, bytes, &begin, &last);
        for (; is_done && begin < last; begin = end) {
            end = run_of(p, &begin, last);
            is_done = missing_add(&moved, p->image + begin * PAGE, to + (p->at + begin * PAGE - from), (end - begin) * PAGE);
        }
    }
    is_done = is_done && missing_drop(m, from, bytes);
    /* Whatever was mapped there before is gone. */
    is_done = is_done && missing_drop(m, to, bytes);
    for (size_t i = 0; is_done && i < moved.count; i++)
        is_done = missing_add(m, moved.pieces[i].image, moved.pieces[i].at, moved.pieces[i].pages * PAGE);
    missing_free(&moved);
    return is_done;
}
