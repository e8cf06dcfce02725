/* planted_page.c - see planted_page.h. */
#include "tests/planted/planted_page.h"

#include <stdio.h>

#include "formats/base/infile.h"
#include "formats/base/strbuf.h"
#include "tests/convert/converted.h"

enum { MOST_BYTES = 1 << 20 };

void page_make(page *p)
{
    *p = (page){ .rows = calloc(PAGE_ROWS, sizeof *p->rows) };
    assert_non_null(p->rows);
}

void page_free(page *p)
{
    free(p->rows);
}

static void copy_cell(char cell[PAGE_CELL], const char *text, size_t n)
{
    assert_true(n < PAGE_CELL);
    memcpy(cell, text, n);
    cell[n] = '\0';
}

static page_row *add_row(page *p)
{
    assert_true(p->n < PAGE_ROWS);
    return &p->rows[p->n++];
}

void page_add(page *p, const char *kind, const char *family, const char *outcome,
              bool is_blind)
{
    size_t i = p->n;
    while (i > 0 && strcmp(p->rows[i - 1].kind, kind) == 0) {
        page_row *const row = &p->rows[--i];
        const size_t n = strlen(row->families);
        if (strcmp(row->outcome, outcome) != 0) continue;
        assert_true(n + strlen(family) + 3 < PAGE_CELL);
        (void)snprintf(row->families + n, PAGE_CELL - n, ", %s", family);
        return;
    }
    page_row *const row = add_row(p);
    copy_cell(row->kind, kind, strlen(kind));
    copy_cell(row->families, family, strlen(family));
    copy_cell(row->outcome, outcome, strlen(outcome));
    row->is_blind = is_blind;
}

void page_add_tries(page *p, const char *family, size_t mean)
{
    assert_true(p->n_tries < PAGE_FAMILIES);
    page_tries *const t = &p->tries[p->n_tries++];
    copy_cell(t->family, family, strlen(family));
    t->mean = mean;
}

size_t page_find_tries(const page *p, const char *family)
{
    for (size_t i = 0; i < p->n_tries; i++)
        if (strcmp(p->tries[i].family, family) == 0) return p->tries[i].mean;
    return 0;
}

static bool has_family(const page_row *row, const char *family)
{
    const size_t n = strlen(family);
    for (const char *at = row->families; (at = strstr(at, family)) != NULL; at += n)
        if ((at == row->families || at[-1] == ' ') && (at[n] == '\0' || at[n] == ','))
            return true;
    return false;
}

static size_t count_families(const page_row *row)
{
    size_t n = 1;
    for (const char *at = row->families; *at != '\0'; at++) n += *at == ',';
    return n;
}

const page_row *page_find(const page *p, const char *kind, const char *family)
{
    const page_row *found = NULL;
    for (size_t i = 0; i < p->n; i++) {
        const page_row *const row = &p->rows[i];
        if (strcmp(row->kind, kind) != 0 || !has_family(row, family)) continue;
        if (found != NULL) return NULL;
        found = row;
    }
    return found;
}

/* ---- reading --------------------------------------------------------------------- */

static const char blind_heading[] = "## What recordings cannot show";

char *page_file(const char *path)
{
    lvlm_infile *file = NULL;
    lvlm_error err;
    if (lvlm_infile_open(&file, path, &err) < 0) fail_msg("%s", err.text);
    char *const text = calloc((size_t)file->n_bytes + 1, 1);
    assert_non_null(text);
    memcpy(text, file->bytes, (size_t)file->n_bytes);
    lvlm_infile_close(file);
    return text;
}

/* "| kind | families | outcome |" */
static void read_row(page *p, const char *line, size_t n, bool is_blind)
{
    const char *const kind = line + 2, *const end = line + n - 2;
    const char *const families = strstr(kind, " | ") + 3;
    const char *const outcome = strstr(families, " | ") + 3;
    page_row *const row = add_row(p);
    assert_true(outcome <= end);
    copy_cell(row->kind, kind, (size_t)(families - 3 - kind));
    copy_cell(row->families, families, (size_t)(outcome - 3 - families));
    copy_cell(row->outcome, outcome, (size_t)(end - outcome));
    row->is_blind = is_blind;
}

/* "- qwen_vl: ..., 120 tries on average" */
static void read_tries(page *p, const char *line, size_t n)
{
    static const char end[] = " tries on average";
    char text[PAGE_CELL];
    if (n >= PAGE_CELL || n < sizeof end || strncmp(line, "- ", 2) != 0) return;
    copy_cell(text, line + 2, n - 2);
    char *const at = strstr(text, end), *const colon = strchr(text, ':');
    if (at == NULL || colon == NULL) return;
    *at = *colon = '\0';
    char *const number = strrchr(colon + 1, ' ');
    assert_non_null(number);
    page_add_tries(p, text, strtoul(number, NULL, 10));
}

void page_read(page *p, const char *path)
{
    static const char first[] = "| error |";
    char *const text = page_file(path);
    bool is_blind = false;
    page_make(p);
    for (const char *at = text, *end; (end = strchr(at, '\n')) != NULL; at = end + 1) {
        const size_t n = (size_t)(end - at);
        is_blind |= strncmp(at, blind_heading, sizeof blind_heading - 1) == 0;
        read_tries(p, at, n);
        if (n > 8 && strncmp(at, "| ", 2) == 0 &&
            strncmp(at, first, sizeof first - 1) != 0)
            read_row(p, at, n, is_blind);
    }
    free(text);
    assert_true(p->n > 0);
}

/* ---- writing --------------------------------------------------------------------- */

/* Pairs whose outcome begins so. */
static size_t count(const page *p, const char *by)
{
    size_t n = 0;
    for (size_t i = 0; i < p->n; i++) {
        const page_row *const row = &p->rows[i];
        if (!row->is_blind && strncmp(row->outcome, by, strlen(by)) == 0)
            n += count_families(row);
    }
    return n;
}

size_t page_kinds(const page *p)
{
    size_t n = 0;
    for (size_t i = 0; i < p->n; i++) {
        size_t k = 0;
        while (strcmp(p->rows[k].kind, p->rows[i].kind) != 0) k++;
        n += k == i;
    }
    return n;
}

static size_t count_blind(const page *p)
{
    size_t n = 0;
    for (size_t i = 0; i < p->n; i++)
        if (p->rows[i].is_blind) n += count_families(&p->rows[i]);
    return n;
}

static const char head[] =
    "# Planted errors\n\n"
    "Each error is a mistake made in a fixture's Hugging Face checkpoint, in its\n"
    "weights or its `config.json`, which is then converted by `hf2native`. What that\n"
    "does not refuse is compared with the recording of the right model by\n"
    "`lvlm-verify replay`, in double. The errors are tables in `tests/planted/`;\n"
    "`UPDATE=1 build/dev/tests/planted` writes this page, and tests compare it with a\n"
    "fresh run.\n\n";

static const char figures[] =
    "%zu kinds of errors in up to eight families, %zu pairs: `hf2native` refuses\n"
    "%zu, `replay` finds %zu at the stage to which the error belongs, the recorded\n"
    "inputs do not fit %zu, gradients alone show %zu. None is missed. %zu more cannot\n"
    "be shown by any recording of the family, for reasons that are below the table.\n"
    "\n";

static const char undone[] =
    "Of a stage that is wrong `replay` also looks for the cause: it undoes mistakes\n"
    "that it knows (`verify/cause/`), one at a time, in that stage by itself. %zu of\n"
    "these errors can be undone; the right mistake is named for %zu, for %zu by\n"
    "exactly one candidate, and none is named wrong. Others lose values, which\n"
    "nothing brings back; then the weights or the pattern of the error may show it.\n"
    "\n";

static const char columns[] =
    "- caught by: `hf2native`, which refuses the checkpoint; `replay`; `inputs`,\n"
    "  which replay cannot run with that model; `gradients`, by `--grads` alone\n"
    "- stage: the first with an error of its own, in every row that of the mistake\n"
    "- size: the power of ten of that error; a correct conversion is below 1e-14\n"
    "- cause named: `like_this`, the mistake which undone makes the stage agree, as\n"
    "  `--json` names it; without quotes, what shows outright\n"
    "\n"
    "| error | family | caught by | stage | size | cause named |\n"
    "|---|---|---|---|---|---|\n";

/* ---- causes ---------------------------------------------------------------------- */

/* Of the pairs whose error can be undone. */
typedef struct causes {
    size_t all, named, by_one;
} causes;

/* family NULL: all of them. */
static causes count_causes(const page *p, const char *family)
{
    causes n = { 0 };
    for (size_t i = 0; i < p->n; i++) {
        const page_row *const row = &p->rows[i];
        const size_t pairs = family == NULL ? count_families(row) : 1;
        if (row->is_blind || (family != NULL && !has_family(row, family))) continue;
        const char *const cause = strrchr(row->outcome, '|') + 2;
        const bool named = cause[0] == '`';
        n.all += named || strcmp(cause, "not named") == 0 ? pairs : 0;
        n.named += named ? pairs : 0;
        n.by_one += named && strchr(cause, ',') == NULL ? pairs : 0;
    }
    return n;
}

static void put_causes(lvlm_strbuf *out, const page *p)
{
    const causes n = count_causes(p, NULL);
    lvlm_strbuf_printf(out, undone, n.all, n.named, n.by_one);
    for (size_t i = 0; i < p->n_tries; i++) {
        const char *const family = p->tries[i].family;
        const causes of = count_causes(p, family);
        lvlm_strbuf_printf(out,
                           "- %s: %zu can be undone, %zu are named, %zu tries on "
                           "average\n",
                           family, of.all, of.named, p->tries[i].mean);
    }
    lvlm_strbuf_puts(out, "\n");
}

static void put_rows(lvlm_strbuf *out, const page *p, bool blind)
{
    for (size_t i = 0; i < p->n; i++)
        if (p->rows[i].is_blind == blind)
            lvlm_strbuf_printf(out, "| %s | %s | %s |\n", p->rows[i].kind,
                               p->rows[i].families, p->rows[i].outcome);
}

char *page_text(const page *p)
{
    lvlm_strbuf out = LVLM_STRBUF_INIT(MOST_BYTES);
    lvlm_strbuf_puts(&out, head);
    lvlm_strbuf_printf(&out, figures, page_kinds(p), count(p, ""),
                       count(p, "hf2native"), count(p, "replay"), count(p, "inputs"),
                       count(p, "gradients"), count_blind(p));
    put_causes(&out, p);
    lvlm_strbuf_puts(&out, columns);
    put_rows(&out, p, false);
    lvlm_strbuf_printf(&out, "\n%s\n\n| error | family | why |\n|---|---|---|\n",
                       blind_heading);
    put_rows(&out, p, true);
    assert_int_equal(out.failed, 0);
    return out.text;
}
