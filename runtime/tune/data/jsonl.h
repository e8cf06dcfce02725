/* jsonl.h - a file of JSON values that are found again one by one.
 *
 *   JSON Lines   a value a line; lines of white space alone do not count
 *   one list     when the file begins with "[": its elements, wherever lines end
 *
 * A byte order mark in front is passed over.
 *
 * Opening walks over the file once, for where each value begins and ends. It stays
 * mapped, and a value is parsed when it is asked for. Distinct objects may be used from
 * distinct threads, and one object from many threads for reading. */
#ifndef LVLM_RUNTIME_TUNE_DATA_JSONL_H
#define LVLM_RUNTIME_TUNE_DATA_JSONL_H

#include <cjson/cJSON.h>

#include "formats/base/infile.h"

LVLM_BEGIN_DECLS

/* Bytes of one value: an example's texts are far below. */
enum { LVLM_JSONL_MAX_VALUE = 64 << 20 };

typedef struct lvlm_jsonl_value {
    uint64_t offset;
    uint32_t n_bytes;
    uint32_t line; /* where it begins, from 1 */
} lvlm_jsonl_value;

typedef struct lvlm_jsonl {
    const lvlm_infile *file;
    lvlm_infile *owned;       /* the same, of lvlm_jsonl_open */
    lvlm_jsonl_value *values; /* (n) in order; owned */
    size_t n, capacity;
} lvlm_jsonl;

/* LVLM_EFORMAT: no value, too long a one, a list that does not end, UTF-16. Close with
 * lvlm_jsonl_close, also after a failure. */
LVLM_MUST_CHECK int lvlm_jsonl_open(lvlm_jsonl *out, const char *path, lvlm_error *err);
/* The same of a mapped file, which must outlive *out. */
LVLM_MUST_CHECK int lvlm_jsonl_read(lvlm_jsonl *out, const lvlm_infile *file,
                                    lvlm_error *err);
void lvlm_jsonl_close(lvlm_jsonl *jsonl);

/* Parse value `i` < n. *out is owned: lvlm_json_free. Errors begin with its place. */
LVLM_MUST_CHECK int lvlm_jsonl_parse(cJSON **out, const lvlm_jsonl *jsonl, size_t i,
                                     lvlm_error *err);
/* Put "FILE:LINE: ", the place of value `i`, in front of a message. */
void lvlm_jsonl_prefix(lvlm_error *err, const lvlm_jsonl *jsonl, size_t i);

LVLM_END_DECLS

#endif
