/* ledger.c - the ledger between its struct and its JSON.
 *
 *   read_...   members to structs from the reader's events, without a tree: there may
 *              be hundreds of thousands of tensors
 *   check_...  every rule that needs only the ledger; native_rules.c has those that
 *              need the file's tensors
 *   print_... structs to the same JSON
 */
#include "formats/native/ledger.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "formats/base/json.h"
#include "formats/base/list.h"
#include "formats/base/size.h"
#include "formats/base/text.h"

static const char *const use_names[LVLM_N_USES] = { "used", "tied", "unused" };

/* ---- reading -------------------------------------------------------------------- */

/* Lists grow on the heap and are moved to the arena at the end. */
typedef struct parser {
    lvlm_json_reader reader;
    lvlm_ledger *out;
    size_t file_room, entry_room, made_room;
    lvlm_arena *arena;
    lvlm_error *err;
    unsigned seen;  /* members of the current tensor: bits of `member_names` */
    size_t n_order; /* length of its transform's order */
} parser;

static int unknown(const char *key, parser *p)
{
    return lvlm_fail(p->err, LVLM_EFORMAT, "unknown member '%s'", key);
}

static int copy_text(const char **out, parser *p)
{
    const char *text;
    TRY(lvlm_json_read_text(&text, &p->reader, p->err));
    *out = lvlm_arena_strndup(p->arena, text, strlen(text));
    return *out != NULL ? 0 : lvlm_fail_memory(p->err);
}

static int read_true(bool *out, parser *p)
{
    TRY(lvlm_json_read_bool(out, &p->reader, p->err));
    FAIL_IF(!*out, p->err, LVLM_EFORMAT, "not true");
    return 0;
}

/* Call `member` for each key of the next object. */
static int read_object(parser *p, int (*member)(parser *p, const char *key))
{
    const char *key;
    int rc;
    TRY(lvlm_json_begin_object(&p->reader, p->err));
    while ((rc = lvlm_json_next_key(&key, &p->reader, p->err)) > 0) {
        char name[16]; /* long enough for every key that is known */
        const size_t n = strlen(key);
        memcpy(name, key, n < sizeof name ? n + 1 : sizeof name);
        if (n >= sizeof name) return unknown(key, p);
        TRY(lvlm_within(member(p, name), p->err, "%s: ", name));
    }
    return rc;
}

static int read_list(parser *p, int (*item)(parser *p))
{
    int rc;
    TRY(lvlm_json_begin_list(&p->reader, p->err));
    while ((rc = lvlm_json_next_item(&p->reader, p->err)) > 0) TRY(item(p));
    return rc;
}

static int file_member(parser *p, const char *key)
{
    assert(p->out->n_files > 0);
    lvlm_ledger_file *const file = &p->out->files[p->out->n_files - 1];
    if (strcmp(key, "name") == 0) return copy_text(&file->name, p);
    p->seen |= strcmp(key, "bytes") == 0;
    if (strcmp(key, "bytes") == 0)
        return lvlm_json_read_u64(&file->n_bytes, &p->reader, p->err);
    if (strcmp(key, "compressed") == 0) return read_true(&file->compressed, p);
    return unknown(key, p);
}

static int read_file(parser *p)
{
    lvlm_ledger *const l = p->out;
    TRY(lvlm_list_room(&l->files, &p->file_room, l->n_files, sizeof *l->files, p->err));
    l->files[l->n_files++] = (lvlm_ledger_file){ 0 };
    p->seen = 0;
    TRY(read_object(p, file_member));
    const char *const name = l->files[l->n_files - 1].name;
    FAIL_IF(name != NULL && p->seen == 0, p->err, LVLM_EFORMAT, "file '%s' has no size",
            name);
    return 0;
}

static lvlm_ledger_entry *last_entry(parser *p)
{
    assert(p->out->n_entries > 0);
    return &p->out->entries[p->out->n_entries - 1];
}

static int read_order(parser *p)
{
    lvlm_transform *const t = &last_entry(p)->transform;
    lvlm_shape order;
    TRY(lvlm_shape_read(&order, &p->reader, p->err));
    for (size_t i = 0; i < order.n; i++) {
        FAIL_IF(order.dims[i] >= LVLM_MAX_DIMS, p->err, LVLM_EFORMAT, "not an axis");
        t->order[i] = (uint8_t)order.dims[i];
    }
    p->n_order = order.n;
    return 0;
}

static int transform_member(parser *p, const char *key)
{
    lvlm_transform *const t = &last_entry(p)->transform;
    lvlm_shape axes;
    uint64_t select;
    if (strcmp(key, "axes") == 0) {
        TRY(lvlm_shape_read(&axes, &p->reader, p->err));
        t->n = axes.n;
        memcpy(t->axes, axes.dims, sizeof t->axes);
        return 0;
    }
    if (strcmp(key, "select") == 0) {
        TRY(lvlm_json_read_u64(&select, &p->reader, p->err));
        FAIL_IF(select > LVLM_MAX_DIMS, p->err, LVLM_EFORMAT, "not an axis");
        t->select = (size_t)select;
        return 0;
    }
    return strcmp(key, "order") == 0 ? read_order(p) : unknown(key, p);
}

/* Members of a tensor; only the first seven are required. */
enum {
    NAME,
    FILE_INDEX,
    OFFSET,
    DTYPE,
    SHAPE,
    USE,
    TARGETS,
    N_NEEDED,
    DETACHED = N_NEEDED,
    GROWN,
    RULE,
    TRANSFORM,
    N_MEMBERS
};
static const char *const member_names[N_MEMBERS] = {
    "name",    "file",     "offset", "dtype", "shape",     "use",
    "targets", "detached", "grown",  "rule",  "transform",
};

static int read_dtype(parser *p)
{
    const char *name;
    TRY(lvlm_json_read_text(&name, &p->reader, p->err));
    FAIL_IF(!lvlm_dtype_from_name(&last_entry(p)->source.dtype, name), p->err,
            LVLM_EFORMAT, "unknown dtype '%s'", name);
    return 0;
}

static int read_use(parser *p)
{
    const char *name;
    TRY(lvlm_json_read_text(&name, &p->reader, p->err));
    for (unsigned use = 0; use < LVLM_N_USES; use++) {
        if (strcmp(name, use_names[use]) != 0) continue;
        last_entry(p)->use = (lvlm_use)use;
        return 0;
    }
    return lvlm_fail(p->err, LVLM_EFORMAT, "unknown use '%s'", name);
}

/* A source tensor has few targets: the list is copied when it grows. */
static int read_target(parser *p)
{
    lvlm_ledger_entry *const entry = last_entry(p);
    const size_t n = entry->n_targets;
    if ((n & (n - 1)) == 0) { /* full at 0, 1, 2, 4, 8 ...: double the capacity */
        const char **grown =
            lvlm_arena_alloc(p->arena, n > 0 ? 2 * n : 1, sizeof *grown);
        if (grown == NULL) return lvlm_fail_memory(p->err);
        if (n > 0) memcpy(grown, entry->targets, n * sizeof *grown);
        entry->targets = grown;
    }
    return copy_text(&entry->targets[entry->n_targets++], p);
}

static int read_file_index(parser *p)
{
    uint64_t file;
    TRY(lvlm_json_read_u64(&file, &p->reader, p->err));
    last_entry(p)->source.file = (size_t)file;
    return 0;
}

static int entry_member(parser *p, const char *key)
{
    lvlm_ledger_entry *const entry = last_entry(p);
    unsigned member = 0;
    while (member < N_MEMBERS && strcmp(key, member_names[member]) != 0) member++;
    p->seen |= 1u << member;
    switch (member) {
    case NAME: return copy_text(&entry->source.name, p);
    case FILE_INDEX: return read_file_index(p);
    case OFFSET: return lvlm_json_read_u64(&entry->source.offset, &p->reader, p->err);
    case DTYPE: return read_dtype(p);
    case SHAPE: return lvlm_shape_read(&entry->source.shape, &p->reader, p->err);
    case USE: return read_use(p);
    case TARGETS: return read_list(p, read_target);
    case DETACHED: return read_true(&entry->source.detached, p);
    case GROWN: return read_true(&entry->grown, p);
    case RULE: return copy_text(&entry->rule, p);
    case TRANSFORM: return read_object(p, transform_member);
    default: return unknown(key, p);
    }
}

static bool is_permutation(const lvlm_transform *t, size_t n_order)
{
    unsigned seen = 0;
    for (size_t i = 0; i < n_order; i++) {
        if (t->order[i] >= t->n || (seen >> t->order[i] & 1u) != 0 ||
            t->order[i] + 1u == t->select)
            return false;
        seen |= 1u << t->order[i];
    }
    return n_order == t->n - (t->select > 0);
}

static int check_transform(const parser *p, const lvlm_ledger_entry *entry)
{
    const lvlm_transform *const t = &entry->transform;
    lvlm_shape axes = { .n = t->n };
    uint64_t numel = 0;
    memcpy(axes.dims, t->axes, sizeof axes.dims);
    FAIL_IF(t->n == 0 || t->select > t->n, p->err, LVLM_EFORMAT,
            "transform: select is not an axis");
    FAIL_IF(!is_permutation(t, p->n_order), p->err, LVLM_EFORMAT,
            "transform: order is not a permutation of the axes");
    FAIL_IF(
        !lvlm_shape_numel(&numel, &axes) || numel != lvlm_tensor_numel(&entry->source),
        p->err, LVLM_EFORMAT,
        "transform: axes make %" PRIu64 " elements, the tensor has %" PRIu64, numel,
        lvlm_tensor_numel(&entry->source));
    FAIL_IF(entry->n_targets != (t->select > 0 ? t->axes[t->select - 1] : 1), p->err,
            LVLM_EFORMAT,
            "has %zu targets, not one for each index of the selected axis",
            entry->n_targets);
    return 0;
}

static int check_entry(const parser *p, lvlm_ledger_entry *entry)
{
    lvlm_tensor *const source = &entry->source;
    for (unsigned i = 0; i < N_NEEDED; i++)
        FAIL_IF((p->seen >> i & 1u) == 0, p->err, LVLM_EFORMAT, "has no %s",
                member_names[i]);
    FAIL_IF(!lvlm_shape_bytes(&source->n_bytes, &source->shape, source->dtype), p->err,
            LVLM_EFORMAT, "size overflows");
    FAIL_IF((entry->rule != NULL) != (entry->use == LVLM_USE_UNUSED), p->err,
            LVLM_EFORMAT, "a rule is required if unused, and only then");
    FAIL_IF(entry->n_targets == 0, p->err, LVLM_EFORMAT, "has no targets");
    FAIL_IF(entry->grown && (source->shape.n != 2 || (p->seen >> TRANSFORM & 1u) != 0 ||
                             entry->use == LVLM_USE_UNUSED),
            p->err, LVLM_EFORMAT, "only a table that is used as it is can have grown");
    if ((p->seen >> TRANSFORM & 1u) != 0) return check_transform(p, entry);
    FAIL_IF(entry->n_targets != 1, p->err, LVLM_EFORMAT, "has %zu targets, expected 1",
            entry->n_targets);
    return 0;
}

static int read_entry(parser *p)
{
    lvlm_ledger *const l = p->out;
    TRY(lvlm_list_room(&l->entries, &p->entry_room, l->n_entries, sizeof *l->entries,
                       p->err));
    l->entries[l->n_entries++] = (lvlm_ledger_entry){ 0 };
    p->seen = 0;
    p->n_order = 0;
    int rc = read_object(p, entry_member);
    if (rc == 0) rc = check_entry(p, last_entry(p));
    const char *const name = last_entry(p)->source.name;
    return name != NULL ? lvlm_within(rc, p->err, "tensor '%s': ", name)
                        : lvlm_within(rc, p->err, "tensor %zu: ", l->n_entries - 1);
}

static int made_member(parser *p, const char *key)
{
    assert(p->out->n_made > 0);
    lvlm_ledger_made *const made = &p->out->made[p->out->n_made - 1];
    if (strcmp(key, "target") == 0) return copy_text(&made->target, p);
    return strcmp(key, "how") == 0 ? copy_text(&made->how, p) : unknown(key, p);
}

static int read_made(parser *p)
{
    lvlm_ledger *const l = p->out;
    TRY(lvlm_list_room(&l->made, &p->made_room, l->n_made, sizeof *l->made, p->err));
    l->made[l->n_made++] = (lvlm_ledger_made){ 0 };
    TRY(read_object(p, made_member));
    const lvlm_ledger_made *const made = &l->made[l->n_made - 1];
    FAIL_IF(made->target == NULL || made->how == NULL, p->err, LVLM_EFORMAT,
            "number %zu has no target or does not say how", l->n_made - 1);
    return 0;
}

static int ledger_member(parser *p, const char *key)
{
    if (strcmp(key, "files") == 0) return read_list(p, read_file);
    if (strcmp(key, "tensors") == 0) return read_list(p, read_entry);
    return strcmp(key, "made") == 0 ? read_list(p, read_made) : unknown(key, p);
}

/* ---- all of it ------------------------------------------------------------------ */

static int check_files(const lvlm_ledger *l, lvlm_error *err)
{
    for (size_t i = 0; i < l->n_files; i++) {
        const char *const name = l->files[i].name;
        FAIL_IF(name == NULL, err, LVLM_EFORMAT, "file %zu has no name", i);
        FAIL_IF(!lvlm_ledger_names_file(name), err, LVLM_EFORMAT,
                "'%s' is not a plain file name", name);
    }
    return 0;
}

/* Does `t`, which follows `before` in the list, precede or overlap it in the file? */
static bool precedes(const lvlm_tensor *t, const lvlm_tensor *before)
{
    assert(before != NULL);
    if (t->file != before->file) return t->file < before->file;
    if (before->detached) return !t->detached;
    return !t->detached && t->offset < before->offset + before->n_bytes;
}

static int check_places(const lvlm_ledger *l, lvlm_error *err)
{
    for (size_t i = 0; i < l->n_entries; i++) {
        const lvlm_tensor *const t = &l->entries[i].source;
        const lvlm_tensor *const before = i > 0 ? &l->entries[i - 1].source : NULL;
        uint64_t end;
        FAIL_IF(t->file >= l->n_files, err, LVLM_EFORMAT,
                "tensor '%s': file is not an index into files", t->name);
        FAIL_IF(!lvlm_add_u64(&end, t->offset, t->detached ? 0 : t->n_bytes) ||
                    end > l->files[t->file].n_bytes,
                err, LVLM_EFORMAT, "tensor '%s': is outside of its file", t->name);
        FAIL_IF(before != NULL && precedes(t, before), err, LVLM_EFORMAT,
                "tensor '%s': overlaps or precedes '%s'", t->name, before->name);
    }
    return 0;
}

/* Names of source tensors are unique, and so are those of files. */
static int check_names(const lvlm_ledger *l, lvlm_arena *arena, lvlm_error *err)
{
    const size_t n = l->n_entries + l->n_files;
    const char **const names = lvlm_arena_alloc(arena, n + 1, sizeof *names);
    if (names == NULL) return lvlm_fail_memory(err);
    for (size_t i = 0; i < l->n_entries; i++) names[i] = l->entries[i].source.name;
    for (size_t i = 0; i < l->n_files; i++) names[l->n_entries + i] = l->files[i].name;
    qsort(names, l->n_entries, sizeof *names, lvlm_by_text);
    qsort(names + l->n_entries, l->n_files, sizeof *names, lvlm_by_text);
    for (size_t i = 1; i < n; i++)
        FAIL_IF(i != l->n_entries && strcmp(names[i - 1], names[i]) == 0, err,
                LVLM_EFORMAT, "'%s' is listed twice", names[i]);
    return 0;
}

/* Move the list at *at from the heap to the arena. */
static int move_to_arena(void *at, size_t n, size_t bytes, parser *p, int rc)
{
    void *const heap = *(void **)at;
    void *const kept = rc == 0 ? lvlm_arena_alloc(p->arena, n + 1, bytes) : NULL;
    if (kept != NULL && n > 0) memcpy(kept, heap, n * bytes);
    lvlm_free(heap);
    *(void **)at = kept;
    return rc < 0 || kept != NULL ? rc : lvlm_fail_memory(p->err);
}

int lvlm_ledger_read(lvlm_ledger *out, const char *text, size_t n_bytes,
                     lvlm_arena *arena, lvlm_error *err)
{
    parser p = { .out = out, .arena = arena, .err = err };
    *out = (lvlm_ledger){ 0 };
    TRY(lvlm_json_open(&p.reader, text, n_bytes, err));
    int rc = read_object(&p, ledger_member);
    if (rc == 0) rc = lvlm_json_end(&p.reader, err);
    lvlm_json_close(&p.reader);
    rc = move_to_arena(&out->files, out->n_files, sizeof *out->files, &p, rc);
    rc = move_to_arena(&out->entries, out->n_entries, sizeof *out->entries, &p, rc);
    rc = move_to_arena(&out->made, out->n_made, sizeof *out->made, &p, rc);
    if (rc < 0) return rc;
    TRY(check_files(out, err));
    TRY(check_places(out, err));
    return check_names(out, arena, err);
}

bool lvlm_ledger_names_file(const char *name)
{
    assert(name != NULL);
    return name[0] != '\0' && name[0] != '.' && strchr(name, '/') == NULL;
}

/* ---- printing ------------------------------------------------------------------- */

static void print_numbers(lvlm_strbuf *out, const char *key, const uint64_t *numbers,
                          size_t n)
{
    lvlm_strbuf_printf(out, "\"%s\":[", key);
    for (size_t i = 0; i < n; i++)
        lvlm_strbuf_printf(out, "%s%" PRIu64, i > 0 ? "," : "", numbers[i]);
    lvlm_strbuf_puts(out, "]");
}

static void print_text(lvlm_strbuf *out, const char *key, const char *text)
{
    lvlm_strbuf_printf(out, "\"%s\":", key);
    lvlm_json_put_text(out, text);
}

static void print_transform(lvlm_strbuf *out, const lvlm_transform *t)
{
    assert(t->n > 0 && t->n <= LVLM_MAX_DIMS);
    uint64_t order[LVLM_MAX_DIMS] = { 0 };
    const size_t n_order = t->n - (t->select > 0);
    for (size_t i = 0; i < n_order; i++) order[i] = t->order[i];
    lvlm_strbuf_puts(out, ",\"transform\":{");
    print_numbers(out, "axes", t->axes, t->n);
    lvlm_strbuf_printf(out, ",\"select\":%zu,", t->select);
    print_numbers(out, "order", order, n_order);
    lvlm_strbuf_puts(out, "}");
}

static void print_entry(lvlm_strbuf *out, const lvlm_ledger_entry *entry)
{
    assert(entry->use <= LVLM_USE_UNUSED && entry->n_targets > 0);
    const lvlm_tensor *const t = &entry->source;
    lvlm_strbuf_puts(out, "{");
    print_text(out, "name", t->name);
    lvlm_strbuf_printf(out, ",\"file\":%zu,\"offset\":%" PRIu64 ",\"dtype\":\"%s\",",
                       t->file, t->offset, lvlm_dtype_name(t->dtype));
    print_numbers(out, "shape", t->shape.dims, t->shape.n);
    lvlm_strbuf_printf(out, ",\"use\":\"%s\"", use_names[entry->use]);
    if (t->detached) lvlm_strbuf_puts(out, ",\"detached\":true");
    if (entry->grown) lvlm_strbuf_puts(out, ",\"grown\":true");
    if (entry->rule != NULL) {
        lvlm_strbuf_puts(out, ",");
        print_text(out, "rule", entry->rule);
    }
    lvlm_strbuf_puts(out, ",\"targets\":[");
    for (size_t i = 0; i < entry->n_targets; i++) {
        if (i > 0) lvlm_strbuf_puts(out, ",");
        lvlm_json_put_text(out, entry->targets[i]);
    }
    lvlm_strbuf_puts(out, "]");
    if (!lvlm_transform_is_keep(&entry->transform))
        print_transform(out, &entry->transform);
    lvlm_strbuf_puts(out, "}");
}

void lvlm_ledger_print(lvlm_strbuf *out, const lvlm_ledger *ledger)
{
    lvlm_strbuf_puts(out, "{\"files\":[");
    for (size_t i = 0; i < ledger->n_files; i++) {
        lvlm_strbuf_puts(out, i > 0 ? ",{" : "{");
        print_text(out, "name", ledger->files[i].name);
        lvlm_strbuf_printf(out, ",\"bytes\":%" PRIu64 "%s}", ledger->files[i].n_bytes,
                           ledger->files[i].compressed ? ",\"compressed\":true" : "");
    }
    lvlm_strbuf_puts(out, "],\"tensors\":[");
    for (size_t i = 0; i < ledger->n_entries; i++) {
        if (i > 0) lvlm_strbuf_puts(out, ",");
        print_entry(out, &ledger->entries[i]);
    }
    lvlm_strbuf_puts(out, "],\"made\":[");
    for (size_t i = 0; i < ledger->n_made; i++) {
        lvlm_strbuf_puts(out, i > 0 ? ",{" : "{");
        print_text(out, "target", ledger->made[i].target);
        lvlm_strbuf_puts(out, ",");
        print_text(out, "how", ledger->made[i].how);
        lvlm_strbuf_puts(out, "}");
    }
    lvlm_strbuf_puts(out, "]}");
}
