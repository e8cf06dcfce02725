/* planted_page.h - the page verify/PLANTED.md, as rows. */
#ifndef LVLM_TESTS_PLANTED_PLANTED_PAGE_H
#define LVLM_TESTS_PLANTED_PLANTED_PAGE_H

#include <stdbool.h>
#include <stddef.h>

enum { PAGE_ROWS = 2048, PAGE_CELL = 256 };

/* Families in which an error has the same outcome. */
typedef struct page_row {
    char kind[PAGE_CELL];
    char families[PAGE_CELL]; /* "llava, mllama" */
    char outcome[PAGE_CELL];  /* the other cells; of one that nothing shows, why */
    bool is_blind;
} page_row;

typedef struct page {
    page_row *rows; /* of one kind next to each other */
    size_t n;
} page;

void page_make(page *p);
void page_free(page *p);
/* All pairs of a kind are added one after another. */
void page_add(page *p, const char *kind, const char *family, const char *outcome,
              bool is_blind);
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
