/* Random changes of an address space, seeded: fill-missing.c beside an array of pages that is too simple to be wrong. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../../../agent/launch/placeholder/fill.h"

#define PAGES 4096
#define MOST 300

static long model[PAGES]; /* the image's page that is wanted there, + 1 */
static struct missing missing;

static void check(bool is_fine, const char *what, int step) {
    if (is_fine) return;
    fprintf(stderr, "step %d: %s\n", step, what);
    exit(1);
}

static void check_image(uint64_t at, uint64_t pages, int step) {
    struct wanted found = missing_of_image(&missing, at * PAGE, pages * PAGE);
    bool is_wanted = false;
    for (int i = 0; i < PAGES; i++) is_wanted |= model[i] > (long)at && model[i] <= (long)(at + pages);
    check(is_wanted == (found.bytes > 0), "found of the image", step);
    for (uint64_t done = 0; done < found.bytes; done += PAGE) {
        uint64_t image = (found.image + done) / PAGE;
        check(image >= at && image < at + pages && model[(found.at + done) / PAGE] == (long)image + 1, "place of a page", step);
    }
}

static void check_all(int step) {
    for (uint64_t i = 0; i < PAGES; i++) {
        uint64_t image;
        bool is_wanted = missing_at(&missing, i * PAGE, &image);
        check(is_wanted == (model[i] != 0) && (!is_wanted || image / PAGE + 1 == (uint64_t)model[i]), "a page", step);
    }
}

int main(int argc, char **argv) {
    srand(argc > 1 ? (unsigned)atoi(argv[1]) : 0);
    for (int at = rand() % 50, pages; at + (pages = 1 + rand() % 900) <= PAGES; at += pages + rand() % 50) {
        check(missing_add(&missing, at * PAGE, at * PAGE, pages * PAGE), "memory", 0);
        for (int i = at; i < at + pages; i++) model[i] = i + 1;
    }
    for (int step = 0; step < 3000; step++) {
        int kind = rand() % 100;
        uint64_t at = rand() % PAGES, pages = 1 + rand() % (kind < 60 ? 3 : MOST);
        if (at + pages > PAGES) pages = PAGES - at;
        if (kind < 72) {
            if (kind < 70) missing_came(&missing, at * PAGE, pages * PAGE);
            else check(missing_drop(&missing, at * PAGE, pages * PAGE), "memory", step);
            memset(model + at, 0, pages * sizeof *model);
        } else if (kind < 74) {
            uint64_t to = rand() % (PAGES - pages + 1);
            if (to + pages > at && to < at + pages) continue;
            check(missing_move(&missing, at * PAGE, to * PAGE, pages * PAGE), "memory", step);
            memcpy(model + to, model + at, pages * sizeof *model);
            memset(model + at, 0, pages * sizeof *model);
        } else if (kind < 76) {
            struct missing copy;
            check(missing_copy(&copy, &missing), "memory", step);
            missing_free(&missing);
            missing = copy;
        } else {
            check_image(at, pages, step);
        }
        if (step % 10 == 0) check_all(step);
    }
    missing_free(&missing);
    return 0;
}
