/* json_reader.h - a strict streaming reader of one JSON text, without a tree.
 *
 *   lvlm_json_reader r;
 *   TRY(lvlm_json_open(&r, text, n_bytes, err));
 *   if ((rc = lvlm_json_begin_object(&r, err)) < 0) goto done;
 *   while ((rc = lvlm_json_next_key(&key, &r, err)) > 0)
 *       read the value: lvlm_json_read_..., begin_..., or lvlm_json_skip
 *   if (rc == 0) rc = lvlm_json_end(&r, err);
 *   lvlm_json_close(&r);
 *
 * Refused: what RFC 8259 does not allow (01, a raw new line in text), a byte order
 * mark, bytes after the value, invalid UTF-8, zero characters even when escaped, two
 * equal keys in one object (reported where the object ends), more than
 * LVLM_JSON_MAX_DEPTH levels, more than LVLM_JSON_MAX_BYTES bytes. It holds 16 bytes
 * per key of the open objects, and the longest text.
 *
 * Errors are LVLM_EFORMAT: "not JSON at byte 7" or, for a value of another kind than
 * the one that is read, "not a list". LVLM_ENOMEM means only that memory ran out.
 * Distinct readers may be used from distinct threads. */
#ifndef LVLM_FORMATS_BASE_JSON_READER_H
#define LVLM_FORMATS_BASE_JSON_READER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "formats/base/error.h"

LVLM_BEGIN_DECLS

enum {
    LVLM_JSON_MAX_DEPTH = 64,
    /* twice the largest header, because metadata is escaped once more */
    LVLM_JSON_MAX_BYTES = 256 << 20,
};

typedef enum lvlm_json_kind {
    LVLM_JSON_NONE, /* not the start of a value, or the end */
    LVLM_JSON_OBJECT,
    LVLM_JSON_LIST,
    LVLM_JSON_TEXT,
    LVLM_JSON_NUMBER,
    LVLM_JSON_TRUE,
    LVLM_JSON_FALSE,
    LVLM_JSON_NULL,
} lvlm_json_kind;

typedef struct lvlm_json_number {
    double value;   /* the nearest double; infinite beyond its range */
    bool is_whole;  /* the text is exactly a whole number from 0 to 2^64 - 1 ... */
    uint64_t whole; /* ... and this is it */
    bool has_point; /* the text has a decimal point or an exponent */
} lvlm_json_number;

struct lvlm_json_key; /* in json_reader.c */

typedef struct lvlm_json_level {
    bool is_object;
    bool begun;       /* a member or element has been read */
    size_t first_key; /* index of this object's first key in `keys` */
} lvlm_json_level;

/* Fields are private. */
typedef struct lvlm_json_reader {
    const char *text; /* borrowed */
    size_t n_bytes;
    size_t at; /* the next byte */
    lvlm_json_level levels[LVLM_JSON_MAX_DEPTH];
    size_t depth;
    struct lvlm_json_key *keys; /* of all open objects */
    size_t n_keys, key_capacity;
    char *string; /* the last key or text, unescaped */
    size_t string_capacity;
} lvlm_json_reader;

/* Start reading `text`, which must outlive the reader. Call lvlm_json_close after
 * success only. */
LVLM_MUST_CHECK int lvlm_json_open(lvlm_json_reader *out, const char *text,
                                   size_t n_bytes, lvlm_error *err);
/* Check that the whole text was read. LVLM_EFORMAT: "12 bytes after the value". */
LVLM_MUST_CHECK int lvlm_json_end(lvlm_json_reader *reader, lvlm_error *err);
void lvlm_json_close(lvlm_json_reader *reader);

/* The kind of the next value, by its first byte. */
lvlm_json_kind lvlm_json_peek(const lvlm_json_reader *reader);

LVLM_MUST_CHECK int lvlm_json_begin_object(lvlm_json_reader *reader, lvlm_error *err);
LVLM_MUST_CHECK int lvlm_json_begin_list(lvlm_json_reader *reader, lvlm_error *err);
/* 1: there is another member, whose value is next; *key is valid until the next call.
 * 0: the object is over. */
LVLM_MUST_CHECK int lvlm_json_next_key(const char **key, lvlm_json_reader *reader,
                                       lvlm_error *err);
/* 1: there is another element, which is next. 0: the list is over. */
LVLM_MUST_CHECK int lvlm_json_next_item(lvlm_json_reader *reader, lvlm_error *err);

/* *text is valid until the next call. */
LVLM_MUST_CHECK int lvlm_json_read_text(const char **text, lvlm_json_reader *reader,
                                        lvlm_error *err);
LVLM_MUST_CHECK int lvlm_json_read_number(lvlm_json_number *out,
                                          lvlm_json_reader *reader, lvlm_error *err);
/* A number that is_whole; LVLM_EFORMAT: "not a whole number". */
LVLM_MUST_CHECK int lvlm_json_read_u64(uint64_t *out, lvlm_json_reader *reader,
                                       lvlm_error *err);
/* true or false. */
LVLM_MUST_CHECK int lvlm_json_read_bool(bool *out, lvlm_json_reader *reader,
                                        lvlm_error *err);
/* Skip the next value, which is still validated. */
LVLM_MUST_CHECK int lvlm_json_skip(lvlm_json_reader *reader, lvlm_error *err);

LVLM_END_DECLS

#endif
