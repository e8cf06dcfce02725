/* printer.h - the result of a command: lines of text, or one JSON document (--json).
 *
 *   lvlm_printer p;
 *   lvlm_printer_open(&p, args->json, !args->quiet);
 *   lvlm_printer_line(&p, "%s: %zu tensors\n", path, n);
 *   lvlm_printer_count(&p, "n_tensors", n);
 *   lvlm_printer_list(&p, "tensors");
 *   for ... {
 *       lvlm_printer_line(&p, "  %s\n", name);
 *       lvlm_printer_text(&p, NULL, name);
 *   }
 *   lvlm_printer_end(&p);
 *   return lvlm_printer_close(&p, &notes, err);
 *
 * A command describes its result once, for both. Lines are printed at once and only as
 * text. Members are collected and only for the document, so code that adds them need
 * not check: lvlm_printer_close reports a lack of memory. Keys are those of JSON.md. */
#ifndef LVLM_FORMATS_CLI_PRINTER_H
#define LVLM_FORMATS_CLI_PRINTER_H

#include <cjson/cJSON.h>
#include <stdbool.h>
#include <stdint.h>

#include "formats/base/error.h"
#include "formats/base/notes.h"
#include "formats/container/tensor.h"

/* Lists and objects inside each other. */
enum { LVLM_PRINTER_DEPTH = 16 };

typedef struct lvlm_printer {
    bool json; /* the document is asked for ... */
    bool text; /* ... or lines; neither with --quiet */
    cJSON *
        at[LVLM_PRINTER_DEPTH]; /* the document, and the lists and objects open in it */
    size_t depth;               /* of the innermost */
} lvlm_printer;

void lvlm_printer_open(lvlm_printer *out, bool json, bool text);
/* The same for rows that are printed before the members that the document has first: a
 * list, which lvlm_printer_tree adds later. Free with lvlm_printer_drop. */
void lvlm_printer_open_rows(lvlm_printer *out, bool json);
/* Print the document with the notes (NULL: none), and free it. LVLM_ENOMEM. */
LVLM_MUST_CHECK int lvlm_printer_close(lvlm_printer *printer, const lvlm_notes *notes,
                                       lvlm_error *err);
/* Free it unprinted, after a failure. May follow a close. */
void lvlm_printer_drop(lvlm_printer *printer);

/* ---- text ----------------------------------------------------------------------- */

void lvlm_printer_line(const lvlm_printer *printer, const char *fmt, ...)
    LVLM_PRINTF(2, 3);

/* ---- JSON: members of the innermost object or, with key NULL, items of a list ---- */

void lvlm_printer_text(lvlm_printer *printer, const char *key, const char *value);
void lvlm_printer_count(lvlm_printer *printer, const char *key, uint64_t value);
/* null if JSON cannot represent it (infinite, NaN) */
void lvlm_printer_number(lvlm_printer *printer, const char *key, double value);
void lvlm_printer_flag(lvlm_printer *printer, const char *key, bool value);
void lvlm_printer_null(lvlm_printer *printer, const char *key);
/* rounded to microseconds */
void lvlm_printer_seconds(lvlm_printer *printer, const char *key, double value);
void lvlm_printer_shape(lvlm_printer *printer, const char *key,
                        const lvlm_shape *value);
/* An item { "name": ..., "dtype": "F32", "shape": [3, 4] } of a list. */
void lvlm_printer_tensor(lvlm_printer *printer, const lvlm_tensor *value);
/* a list of them */
void lvlm_printer_texts(lvlm_printer *printer, const char *key,
                        const char *const *values, size_t n);
/* a copy of a tree, nothing if it is NULL */
void lvlm_printer_tree(lvlm_printer *printer, const char *key, const cJSON *value);

/* Everything up to the matching lvlm_printer_end is inside. */
void lvlm_printer_list(lvlm_printer *printer, const char *key);
void lvlm_printer_object(lvlm_printer *printer, const char *key);
void lvlm_printer_end(lvlm_printer *printer);

#endif
