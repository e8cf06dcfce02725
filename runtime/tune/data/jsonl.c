/* jsonl.c - where the values of a file are; see jsonl.h. */
#include "runtime/tune/data/jsonl.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

#include "formats/base/json.h"
#include "formats/base/list.h"
#include "formats/base/text.h"
#include "runtime/tune/data/pairs.h"

/* The remainder of the file: `at` is the next byte. */
typedef struct scanner {
    lvlm_jsonl *out;
    const char *text;
    uint64_t n, at;
    uint64_t line; /* of `at`, from 1 */
} scanner;

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static void step(scanner *s)
{
    assert(s->at < s->n);
    if (s->text[s->at] == '\n') s->line++;
    s->at++;
}

static void skip_space(scanner *s)
{
    while (s->at < s->n && is_space(s->text[s->at])) step(s);
}

/* Keep [first, end) without the white space at its end; it began in `line`. */
static int keep(scanner *s, uint64_t first, uint64_t end, uint64_t line,
                lvlm_error *err)
{
    lvlm_jsonl *const out = s->out;
    assert(first <= end && end <= s->n);
    while (end > first && is_space(s->text[end - 1])) end--;
    FAIL_IF(end - first > LVLM_JSONL_MAX_VALUE, err, LVLM_EFORMAT,
            "%s:%" PRIu64 ": %" PRIu64 " bytes in one value, at most %d",
            out->file->path, line, end - first, LVLM_JSONL_MAX_VALUE);
    FAIL_IF(line > UINT32_MAX, err, LVLM_EFORMAT, "%s: more than %" PRIu32 " lines",
            out->file->path, UINT32_MAX);
    TRY(lvlm_list_room(&out->values, &out->capacity, out->n, sizeof *out->values, err));
    out->values[out->n++] = (lvlm_jsonl_value){ .offset = first,
                                                .n_bytes = (uint32_t)(end - first),
                                                .line = (uint32_t)line };
    return 0;
}

static int scan_lines(scanner *s, lvlm_error *err)
{
    for (skip_space(s); s->at < s->n; skip_space(s)) {
        const char *const from = s->text + s->at;
        const char *const newline = memchr(from, '\n', (size_t)(s->n - s->at));
        const uint64_t end = newline != NULL ? (uint64_t)(newline - s->text) : s->n;
        TRY(keep(s, s->at, end, s->line, err));
        s->at = end;
    }
    return 0;
}

/* Move past a string, whose opening quote is next. */
static void skip_string(scanner *s)
{
    assert(s->text[s->at] == '"');
    for (s->at++; s->at < s->n && s->text[s->at] != '"'; step(s))
        if (s->text[s->at] == '\\' && s->at + 1 < s->n) s->at++;
    if (s->at < s->n) s->at++;
}

/* Move to the end of an element of the list: "," or "]", or the end of the file. */
static void skip_element(scanner *s)
{
    for (size_t depth = 0; s->at < s->n;) {
        const char c = s->text[s->at];
        if (depth == 0 && (c == ',' || c == ']')) return;
        if (c == '{' || c == '[') depth++;
        if (depth > 0 && (c == '}' || c == ']')) depth--;
        if (c == '"')
            skip_string(s);
        else
            step(s);
    }
}

static int scan_list(scanner *s, lvlm_error *err)
{
    const char *const path = s->out->file->path;
    char stop = ',';
    assert(s->text[s->at] == '[');
    s->at++;
    for (skip_space(s); stop == ','; skip_space(s)) {
        const uint64_t first = s->at, line = s->line;
        skip_element(s);
        FAIL_IF(s->at == s->n, err, LVLM_EFORMAT,
                "%s:%" PRIu64 ": the file ends inside the list that it begins with",
                path, s->line);
        stop = s->text[s->at++];
        if (s->at == first + 1 && stop == ']' && s->out->n == 0) break;
        TRY(keep(s, first, s->at - 1, line, err));
    }
    FAIL_IF(s->at < s->n, err, LVLM_EFORMAT,
            "%s:%" PRIu64 ": more after the list that the file begins with", path,
            s->line);
    return 0;
}

int lvlm_jsonl_read(lvlm_jsonl *out, const lvlm_infile *file, lvlm_error *err)
{
    *out = (lvlm_jsonl){ .file = file };
    scanner s = {
        .out = out, .text = (const char *)file->bytes, .n = file->n_bytes, .line = 1
    };
    FAIL_IF(s.n >= 2 && (memcmp(s.text, "\xff\xfe", 2) == 0 ||
                         memcmp(s.text, "\xfe\xff", 2) == 0),
            err, LVLM_EFORMAT, "%s: is UTF-16 text; save it as UTF-8", file->path);
    if (s.n >= 3 && memcmp(s.text, "\xef\xbb\xbf", 3) == 0) s.at = 3;
    skip_space(&s);
    TRY(s.at < s.n && s.text[s.at] == '[' ? scan_list(&s, err) : scan_lines(&s, err));
    FAIL_IF(out->n == 0, err, LVLM_EFORMAT, "%s: holds no example", file->path);
    return 0;
}

bool lvlm_jsonl_is_tar(const char *path)
{
    return lvlm_ends_with(path, ".tar");
}

int lvlm_jsonl_open(lvlm_jsonl *out, const char *path, lvlm_error *err)
{
    lvlm_infile *file = NULL;
    *out = (lvlm_jsonl){ .n = 0 };
    const bool tar = lvlm_jsonl_is_tar(path);
    TRY(tar ? lvlm_infile_map(&file, path, err) : lvlm_infile_open(&file, path, err));
    const int rc =
        tar ? lvlm_pairs_read(out, file, err) : lvlm_jsonl_read(out, file, err);
    out->owned = file;
    return rc;
}

void lvlm_jsonl_close(lvlm_jsonl *jsonl)
{
    lvlm_free(jsonl->values);
    lvlm_arena_free(&jsonl->names);
    lvlm_infile_close(jsonl->owned);
    *jsonl = (lvlm_jsonl){ .n = 0 };
}

void lvlm_jsonl_prefix(lvlm_error *err, const lvlm_jsonl *jsonl, size_t i)
{
    assert(i < jsonl->n);
    if (jsonl->pairs != NULL)
        lvlm_prefix(err, "%s: %s: ", jsonl->file->path, jsonl->pairs[i].name);
    else
        lvlm_prefix(err, "%s:%" PRIu32 ": ", jsonl->file->path, jsonl->values[i].line);
}

int lvlm_jsonl_parse(cJSON **out, const lvlm_jsonl *jsonl, size_t i, lvlm_error *err)
{
    assert(i < jsonl->n);
    const lvlm_jsonl_value *const v = &jsonl->values[i];
    const char *const text = (const char *)jsonl->file->bytes + v->offset;
    const int rc = jsonl->pairs != NULL ? lvlm_pairs_parse(out, jsonl, i, err)
                                        : lvlm_json_parse(out, text, v->n_bytes, err);
    if (rc < 0) lvlm_jsonl_prefix(err, jsonl, i);
    return rc;
}
