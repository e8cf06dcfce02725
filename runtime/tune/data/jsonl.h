/* jsonl.h - random access to the values of a JSON file, or the pairs of a tar.
 *
 *   JSON Lines   one value per line; lines of only white space do not count
 *   one list     if the file begins with "[": its elements, wherever lines end
 *   a tar        if its name ends in ".tar": pairs of image and caption (pairs.h)
 *
 * A byte order mark at the beginning is skipped.
 *
 * Opening scans the file once, for where each value begins and ends. The file stays
 * mapped, and a value is parsed when it is requested. Distinct objects may be used from
 * distinct threads, and one object from many threads for reading. */
#ifndef LVLM_RUNTIME_TUNE_DATA_JSONL_H
#define LVLM_RUNTIME_TUNE_DATA_JSONL_H

#include <cjson/cJSON.h>

#include "formats/base/arena.h"
#include "formats/base/infile.h"

LVLM_BEGIN_DECLS

/* Bytes of one value: far more than the texts of an example have. */
enum { LVLM_JSONL_MAX_VALUE = 64 << 20 };

typedef struct lvlm_jsonl_value {
    uint64_t offset;
    uint32_t n_bytes;
    uint32_t line; /* where it begins, from 1; of a tar the number of the pair */
} lvlm_jsonl_value;

/* Of a tar: whose caption the value is. */
typedef struct lvlm_jsonl_pair {
    const char *name; /* of its files, without what they end in */
    enum { LVLM_CAPTION_NONE, LVLM_CAPTION_TEXT, LVLM_CAPTION_JSON } caption;
    size_t n_images;
    const char *image; /* the last, "FILE.tar/NAME.jpg" */
} lvlm_jsonl_pair;

typedef struct lvlm_jsonl {
    const lvlm_infile *file;
    lvlm_infile *owned;       /* the same, of lvlm_jsonl_open */
    lvlm_jsonl_value *values; /* (n) in order; owned */
    size_t n, capacity;
    lvlm_jsonl_pair *pairs; /* (n) of a tar; else NULL */
    size_t pairs_capacity;
    lvlm_arena names; /* holds the pairs */
} lvlm_jsonl;

/* Is a file of this name read as a tar? */
bool lvlm_jsonl_is_tar(const char *path);

/* LVLM_EFORMAT: no value, a value that is too long, a list that does not end, UTF-16.
 * Close with lvlm_jsonl_close, also after a failure. */
LVLM_MUST_CHECK int lvlm_jsonl_open(lvlm_jsonl *out, const char *path, lvlm_error *err);
/* The same of a mapped file, which must outlive *out. */
LVLM_MUST_CHECK int lvlm_jsonl_read(lvlm_jsonl *out, const lvlm_infile *file,
                                    lvlm_error *err);
void lvlm_jsonl_close(lvlm_jsonl *jsonl);

/* Parse value `i` < n. *out is owned: lvlm_json_free. Errors begin with its place. */
LVLM_MUST_CHECK int lvlm_jsonl_parse(cJSON **out, const lvlm_jsonl *jsonl, size_t i,
                                     lvlm_error *err);
/* Prepend "FILE:LINE: ", the place of value `i`, to a message. */
void lvlm_jsonl_prefix(lvlm_error *err, const lvlm_jsonl *jsonl, size_t i);

LVLM_END_DECLS

#endif
