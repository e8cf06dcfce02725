/* shards.c - parses the index of a model in several files from the reader's events (it
 * may list a million tensors), and checks it against the files. */
#include "formats/container/shards.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "formats/base/json_reader.h"
#include "formats/base/list.h"
#include "formats/base/text.h"

/* An index must not reach outside its directory, and must name only tensor files. */
static bool is_plain_name(const char *name, const char *suffix)
{
    return name[0] != '.' && strchr(name, '/') == NULL && lvlm_ends_with(name, suffix);
}

typedef struct named_entry {
    const char *tensor;
    const char *file; /* a pointer of parser.files, which still grows */
} named_entry;

/* Lists that grow on the heap and are moved to the arena at the end. */
typedef struct parser {
    lvlm_json_reader reader;
    const char **files; /* sorted, unique */
    named_entry *entries;
    size_t n_files, n_entries, file_room, entry_room;
    const char *suffix;
    lvlm_arena *arena;
    lvlm_error *err;
} parser;

/* The file `name` of the list, added if it is new. */
static int find_file(const char **out, parser *p, const char *name)
{
    const size_t at = lvlm_first_not_below(&name, p->files, p->n_files,
                                           sizeof *p->files, lvlm_by_text);
    if (at < p->n_files && strcmp(p->files[at], name) == 0) {
        *out = p->files[at];
        return 0;
    }
    FAIL_IF(p->n_files == LVLM_MAX_SHARDS, p->err, LVLM_EFORMAT,
            "weight_map names more files than the limit of %d", LVLM_MAX_SHARDS);
    TRY(lvlm_list_room(&p->files, &p->file_room, p->n_files, sizeof *p->files, p->err));
    *out = lvlm_arena_strndup(p->arena, name, strlen(name));
    if (*out == NULL) return lvlm_fail_memory(p->err);
    memmove(p->files + at + 1, p->files + at, (p->n_files - at) * sizeof *p->files);
    p->files[at] = *out;
    p->n_files++;
    return 0;
}

static int read_entry(parser *p, const char *key)
{
    const size_t n = p->n_entries;
    const char *file = NULL;
    TRY(lvlm_list_room(&p->entries, &p->entry_room, n, sizeof *p->entries, p->err));
    const char *const tensor = lvlm_arena_strndup(p->arena, key, strlen(key));
    if (tensor == NULL) return lvlm_fail_memory(p->err);
    TRY(lvlm_within(lvlm_json_read_text(&file, &p->reader, p->err), p->err,
                    "weight_map: '%s': ", tensor));
    FAIL_IF(!is_plain_name(file, p->suffix), p->err, LVLM_EFORMAT,
            "weight_map: '%s' is not in a plain %s file of this directory but in '%s'",
            tensor, p->suffix, file);
    p->entries[n].tensor = tensor;
    TRY(find_file(&p->entries[n].file, p, file));
    p->n_entries++;
    return 0;
}

static int read_map(parser *p)
{
    const char *key;
    int rc;
    TRY(lvlm_within(lvlm_json_begin_object(&p->reader, p->err), p->err,
                    "weight_map: "));
    while ((rc = lvlm_json_next_key(&key, &p->reader, p->err)) > 0)
        TRY(read_entry(p, key));
    return rc;
}

static int read_index(parser *p)
{
    const char *key;
    int rc;
    TRY(lvlm_json_begin_object(&p->reader, p->err));
    while ((rc = lvlm_json_next_key(&key, &p->reader, p->err)) > 0)
        TRY(strcmp(key, "weight_map") == 0 ? read_map(p)
                                           : lvlm_json_skip(&p->reader, p->err));
    TRY(rc);
    FAIL_IF(p->n_entries == 0, p->err, LVLM_EFORMAT, "weight_map is missing or empty");
    return lvlm_json_end(&p->reader, p->err);
}

/* Move to the arena, with files by number. */
static int move_to_arena(lvlm_shards *out, const parser *p)
{
    out->n_files = p->n_files;
    out->n_entries = p->n_entries;
    out->files = lvlm_arena_alloc(p->arena, p->n_files, sizeof *out->files);
    out->entries = lvlm_arena_alloc(p->arena, p->n_entries, sizeof *out->entries);
    if (out->files == NULL || out->entries == NULL) return lvlm_fail_memory(p->err);
    memcpy(out->files, p->files, p->n_files * sizeof *out->files);
    for (size_t i = 0; i < p->n_entries; i++) {
        const named_entry *const e = &p->entries[i];
        const char *const *const found =
            bsearch(&e->file, p->files, p->n_files, sizeof *p->files, lvlm_by_text);
        out->entries[i] = (lvlm_shard_entry){ e->tensor, (size_t)(found - p->files) };
    }
    qsort(out->entries, out->n_entries, sizeof *out->entries, lvlm_by_text);
    return 0;
}

int lvlm_shards_parse(lvlm_shards *out, const char *text, size_t n_bytes,
                      const char *suffix, lvlm_arena *arena, lvlm_error *err)
{
    assert(suffix[0] == '.');
    parser p = { .suffix = suffix, .arena = arena, .err = err };
    *out = (lvlm_shards){ 0 };
    TRY(lvlm_json_open(&p.reader, text, n_bytes, err));
    int rc = read_index(&p);
    if (rc == 0) rc = move_to_arena(out, &p);
    lvlm_json_close(&p.reader);
    lvlm_free(p.files);
    lvlm_free(p.entries);
    return rc;
}

int lvlm_shards_agree(const lvlm_shards *shards, const lvlm_tensor *const *by_name,
                      size_t n_tensors, lvlm_error *err)
{
    assert(by_name != NULL || n_tensors == 0);
    size_t i = 0, j = 0; /* both lists are sorted: one merge */
    while (i < shards->n_entries || j < n_tensors) {
        const lvlm_shard_entry *entry =
            i < shards->n_entries ? &shards->entries[i] : NULL;
        const lvlm_tensor *tensor = j < n_tensors ? by_name[j] : NULL;
        const int order = entry == NULL    ? 1
                          : tensor == NULL ? -1
                                           : strcmp(entry->tensor, tensor->name);
        FAIL_IF(order < 0, err, LVLM_EFORMAT,
                "tensor '%s' should be in %s and is in no file", entry->tensor,
                shards->files[entry->file]);
        FAIL_IF(order > 0, err, LVLM_EFORMAT, "tensor '%s' of %s is not in the index",
                tensor->name, shards->files[tensor->file]);
        FAIL_IF(entry->file != tensor->file, err, LVLM_EFORMAT,
                "tensor '%s' should be in %s and is in %s", entry->tensor,
                shards->files[entry->file], shards->files[tensor->file]);
        i++, j++;
    }
    return 0;
}
