/* coverage.c - what was not compared; see coverage.h. */
#include "verify/replay/coverage.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "formats/base/json.h"
#include "formats/base/strbuf.h"
#include "formats/base/text.h"
#include "runtime/batch/input_tensor.h"

enum { MOST_TEXT = 1 << 16 };

/* ---- stages --------------------------------------------------------------------- */

void lvlm_coverage_skip(lvlm_replay *r, const char *name)
{
    for (size_t i = 0; i < r->n_skipped; i++)
        if (strcmp(r->skipped[i], name) == 0) return;
    const char **const list = lvlm_arena_room(&r->arena, r->skipped, r->n_skipped,
                                              &r->skipped_room, sizeof *list);
    const char *const copy = lvlm_arena_strndup(&r->arena, name, strlen(name));
    r->lacks_skipped |= list == NULL || copy == NULL;
    if (r->lacks_skipped) return;
    r->skipped = list;
    r->skipped[r->n_skipped++] = copy;
}

/* The length of "text.blocks." in "text.blocks.7"; 0: the name has no number. */
static size_t numbered(const char *name)
{
    const char *const dot = strrchr(name, '.');
    return dot != NULL && dot[1] >= '0' && dot[1] <= '9' ? (size_t)(dot + 1 - name) : 0;
}

static bool is_result(const char *name)
{
    return strcmp(name, "logits") == 0 || strcmp(name, "loss") == 0;
}

/* Without images cross-attention layers are passed over. */
static bool is_computed(const lvlm_replay *r, const cJSON *config, const char *name)
{
    const cJSON *item;
    uint64_t block;
    if (lvlm_images_present(&r->places.images) > 0 ||
        !lvlm_starts_with(name, "text.blocks."))
        return true;
    LVLM_JSON_ITEMS (item, lvlm_json_path(config, "text.cross_layers"))
        if (lvlm_json_u64(&block, item) &&
            block == strtoull(name + strlen("text.blocks."), NULL, 10))
            return false;
    return true;
}

/* Drop the stages that are not computed for these inputs. */
static void drop_absent(lvlm_replay *r, const cJSON *config)
{
    size_t n = 0;
    for (size_t i = 0; i < r->n_skipped; i++)
        if (is_computed(r, config, r->skipped[i])) r->skipped[n++] = r->skipped[i];
    r->n_skipped = n;
}

/* "text.blocks.* (12)" for all of a kind, at the first of them. */
static void put_skipped(lvlm_strbuf *out, const lvlm_replay *r, size_t i)
{
    const char *const name = r->skipped[i];
    const size_t length = numbered(name);
    size_t n = 0;
    for (size_t j = 0; length > 0 && j < r->n_skipped; j++) {
        if (numbered(r->skipped[j]) != length ||
            memcmp(r->skipped[j], name, length) != 0)
            continue;
        if (j < i) return;
        n++;
    }
    if (out->length > 0) lvlm_strbuf_puts(out, ", ");
    if (n < 2)
        lvlm_strbuf_puts(out, name);
    else
        lvlm_strbuf_printf(out, "%.*s* (%zu)", (int)length, name, n);
}

/* Logits and loss first: without them nothing is known about the end of the model. */
static int find_stages(lvlm_replay *r, lvlm_error *err)
{
    lvlm_strbuf names = LVLM_STRBUF_INIT(MOST_TEXT);
    if (r->n_skipped == 0) return 0;
    for (int results = 1; results >= 0; results--)
        for (size_t i = 0; i < r->n_skipped; i++)
            if (is_result(r->skipped[i]) == results) put_skipped(&names, r, i);
    int rc = lvlm_strbuf_check(&names, err);
    if (rc == 0)
        rc = lvlm_notes_add(&r->not_compared, err, "%s: computed, not recorded",
                            names.text);
    lvlm_strbuf_free(&names);
    return rc;
}

/* ---- rows ----------------------------------------------------------------------- */

static uint64_t rows_of(const lvlm_shape *shape)
{
    uint64_t n = 1;
    for (size_t i = 0; i + 1 < shape->n; i++) n *= shape->dims[i];
    return n;
}

/* Rows that the recording left out. */
static int find_rows(lvlm_replay *r, lvlm_error *err)
{
    const lvlm_replay_stage *first = NULL;
    size_t n = 0;
    for (size_t i = 0; i < r->n_stages; i++) {
        const lvlm_replay_stage *const s = &r->stages[i];
        if (s->rows.kept == NULL || !lvlm_verdict_compared(s->verdict) ||
            rows_of(&s->shape) >= rows_of(&s->got))
            continue;
        if (n++ == 0) first = s;
    }
    if (n == 0) return 0;
    if (n == 1)
        return lvlm_notes_add(
            &r->not_compared, err, "%s: %" PRIu64 " of %" PRIu64 " rows are recorded",
            first->name, rows_of(&first->shape), rows_of(&first->got));
    return lvlm_notes_add(&r->not_compared, err,
                          "of %zu stages only some rows are recorded: of %s %" PRIu64
                          " of %" PRIu64,
                          n, first->name, rows_of(&first->shape), rows_of(&first->got));
}

static int find_padding(lvlm_replay *r, lvlm_error *err)
{
    const lvlm_tensor *const mask = r->recording.mask;
    size_t n = 0;
    if (mask == NULL) return 0;
    const size_t all = (size_t)lvlm_tensor_numel(mask);
    for (size_t i = 0; i < all; i++) n += lvlm_input_integer(mask, i) == 0;
    if (n == 0) return 0;
    return lvlm_notes_add(&r->not_compared, err, "%zu of %zu tokens, which are padding",
                          n, all);
}

int lvlm_coverage_find(lvlm_replay *r, const lvlm_model *model, lvlm_error *err)
{
    if (r->lacks_skipped) return lvlm_fail_memory(err);
    drop_absent(r, lvlm_model_manifest(model)->config);
    TRY(find_stages(r, err));
    TRY(find_rows(r, err));
    TRY(find_padding(r, err));
    if (r->layers > 0)
        TRY(lvlm_notes_add(&r->not_compared, err, "decoder blocks after the first %zu",
                           r->layers));
    TRY(lvlm_notes_add(&r->not_compared, err, "how images and prompts are prepared%s",
                       r->recording.tokens == NULL ? "; generation" : ""));
    return lvlm_coverage_inputs(r, model, err);
}
