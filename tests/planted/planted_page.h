/* planted_page.h - the page verify/PLANTED.md, as rows. */
#ifndef LVLM_TESTS_PLANTED_PLANTED_PAGE_H
#define LVLM_TESTS_PLANTED_PLANTED_PAGE_H

#include <stdbool.h>
#include <stddef.h>

enum { PAGE_ROWS = 2048, PAGE_CELL = 256, PAGE_FAMILIES = 8 };

/* Families in which an error has the same outcome. */
typedef struct page_row {
    char kind[PAGE_CELL];
    char families[PAGE_CELL]; /* "llava, mllama" */
    /* the other cells, last the cause; of one that nothing shows, why */
    char outcome[PAGE_CELL];
    bool is_blind;
} page_row;

/* How many mistakes replay undid on average to name the cause, in a family. */
typedef struct page_tries {
    char family[PAGE_CELL];
    size_t mean;
} page_tries;

typedef struct page {
    page_row *rows; /* of one kind next to each other */
    size_t n;
    page_tries tries[PAGE_FAMILIES];
    size_t n_tries;
} page;

void page_make(page *p);
void page_free(page *p);
/* All pairs of a kind are added one after another. */
void page_add(page *p, const char *kind, const char *family, const char *outcome,
              bool is_blind);
void page_add_tries(page *p, const char *family, size_t mean);
/* 0: the page does not have it. */
size_t page_find_tries(const page *p, const char *family);
/* The text of a file; free with free. */
char *page_file(const char *path);
/* The rows of a page in a file. Fails the test if it has none. */
void page_read(page *p, const char *path);
/* How many kinds of errors it has. */
size_t page_kinds(const page *p);
/* The text of a page; free with lvlm_free. */
char *page_text(const page *p);
/* The only row of an error and a family; NULL: none, or more than one. */
const page_row *page_find(const page *p, const char *kind, const char *family);

#endif
