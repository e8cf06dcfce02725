/* manifest.c - matches a checkpoint with its family's table.
 *
 *   configuration -> sections of its parts -> one target per row -> a source for each,
 *   by canonical name (manifest_naming.c)
 *                 -> extras (manifest_extras.c), ties (manifest_ties.c)
 *
 * A native file is its own source: its names are canonical, and its ledger has the
 * source names. */
#include "formats/checkpoint/manifest.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "formats/base/json.h"
#include "formats/base/text.h"
#include "formats/checkpoint/manifest_parts.h"
#include "formats/family/config_keys.h"
#include "formats/native/native.h"

/* The deepest released model has 100 blocks; a hostile config may say 10^15. */
enum { MAX_BLOCKS = 10000 };

/* ---- configuration -------------------------------------------------------------- */

static int read_native(manifest_builder *b)
{
    const lvlm_native *const native = b->m->checkpoint->native;
    b->m->family = native->family;
    b->m->ledger = native->ledger;
    b->m->config = cJSON_Duplicate(native->config, true);
    return b->m->config != NULL ? 0 : lvlm_fail_memory(b->err);
}

static int read_config(manifest_builder *b)
{
    const lvlm_checkpoint *cp = b->m->checkpoint;
    if (manifest_is_native(b->m)) return read_native(b);
    FAIL_IF(cp->kind == LVLM_CHECKPOINT_PLAIN, b->err, LVLM_EFORMAT,
            "is a bare .safetensors file; expected a model directory or a native file");
    TRY(lvlm_family_detect(&b->m->family, cp->config, b->err));
    FAIL_IF(cp->kind == LVLM_CHECKPOINT_NPZ && b->m->family->npz == NULL, b->err,
            LVLM_EFORMAT,
            "is an .npz, and its config.json that of %s, which has no such files",
            b->m->family->title);
    TRY(lvlm_config_check(b->m->family, cp->config, cp->notes, b->err));
    return lvlm_family_config(&b->m->config, b->m->family, cp->config, b->err);
}

/* ---- sections ------------------------------------------------------------------- */

static int add_sections(manifest_builder *b, const lvlm_root *root,
                        const lvlm_section *sections, size_t *capacity)
{
    for (const lvlm_section *s = sections; s->native != NULL; s++) {
        manifest_section *const all = lvlm_arena_room(
            &b->m->arena, b->sections, b->n_sections, capacity, sizeof *b->sections);
        if (all == NULL) return lvlm_fail_memory(b->err);
        b->sections = all;
        b->sections[b->n_sections++] = (manifest_section){ root, s };
    }
    return 0;
}

/* List the sections of the parts that the model has. */
static int list_sections(manifest_builder *b)
{
    size_t capacity = 0;
    for (const lvlm_root *root = b->m->family->roots; root->native != NULL; root++)
        for (const lvlm_model_part *part = root->parts; part->sections != NULL; part++)
            if (part->when == NULL || lvlm_config_says(b->m->config, part->when))
                TRY(add_sections(b, root, part->sections, &capacity));
    return 0;
}

/* ---- targets -------------------------------------------------------------------- */

static int count_blocks(uint64_t *out, manifest_builder *b, const lvlm_section *section)
{
    *out = 1;
    if (section->count == NULL) return 0;
    FAIL_IF(!lvlm_json_u64(out, lvlm_json_path(b->m->config, section->count)) ||
                *out > MAX_BLOCKS,
            b->err, LVLM_EFORMAT,
            "configuration: %s is missing or over the limit of %d", section->count,
            MAX_BLOCKS);
    return 0;
}

/* Resolve the shapes of a row, of a native file and of Hugging Face. */
static int resolve(lvlm_target *target, manifest_builder *b)
{
    assert(target->name != NULL && target->row->shape != NULL);
    const lvlm_row *row = target->row;
    const cJSON *config = b->m->config;
    target->hf.shape_text = row->source_shape != NULL ? row->source_shape : row->shape;
    FAIL_IF(!lvlm_shape_resolve(&target->shape, row->shape, config) ||
                !lvlm_shape_resolve(&target->hf.shape, target->hf.shape_text, config),
            b->err, LVLM_EFORMAT, "configuration: the shape of %s cannot be computed",
            target->name);
    lvlm_shape axes;
    lvlm_transform *const transform = &target->hf.transform;
    if (row->transform.axes == NULL) return 0;
    FAIL_IF(!lvlm_shape_resolve(&axes, row->transform.axes, config), b->err,
            LVLM_EFORMAT, "configuration: the layout of %s cannot be computed",
            target->name);
    *transform = (lvlm_transform){ .n = axes.n,
                                   .select = row->transform.select,
                                   .index = row->transform.index };
    memcpy(transform->axes, axes.dims, sizeof axes.dims);
    memcpy(transform->order, row->transform.order, sizeof row->transform.order);
    return 0;
}

static int add_target(manifest_builder *b, const manifest_section *section,
                      const lvlm_row *row, uint64_t block)
{
    lvlm_manifest *const m = b->m;
    lvlm_target *const all = lvlm_arena_room(&m->arena, m->targets, m->n_targets,
                                             &b->target_room, sizeof *all);
    if (all == NULL) return lvlm_fail_memory(b->err);
    m->targets = all;
    lvlm_target *const target = &all[m->n_targets++];
    *target = (lvlm_target){
        .root = section->root, .section = section->of, .row = row, .block = block
    };
    target->name = lvlm_names_join(section->of->native, block, row->native, &m->arena);
    if (target->name == NULL) return lvlm_fail_memory(b->err);
    TRY(resolve(target, b));
    if (row->identity_if_square && target->shape.dims[0] == target->shape.dims[1]) {
        target->state = LVLM_TARGET_IDENTITY;
        target->source_name = target->name;
        return 0;
    }

    manifest_name *found;
    TRY(b->naming->locate(&found, b, target));
    if (found != NULL) {
        found->used = true;
        target->state = LVLM_TARGET_FOUND;
        target->here.tensor = found->tensor;
        target->source_name = found->tensor->name;
        target->here.wrong_shape =
            !lvlm_shape_equal(&found->tensor->shape, &target->here.shape);
        return 0;
    }
    target->state = row->tied_to != NULL ? LVLM_TARGET_TIED : LVLM_TARGET_MISSING;
    return 0;
}

/* The source of the row `native`, which is not in a block, or NULL. */
static int find_row(const lvlm_tensor **out, manifest_builder *b, const char *native)
{
    *out = NULL;
    for (size_t i = 0; i < b->n_sections; i++) {
        const lvlm_section *const s = b->sections[i].of;
        for (const lvlm_row *row = s->rows; row->native != NULL; row++) {
            char *name = lvlm_names_join(s->native, 0, row->native, &b->m->arena);
            lvlm_target t = {
                .name = name, .root = b->sections[i].root, .section = s, .row = row
            };
            manifest_name *found;
            if (name == NULL) return lvlm_fail_memory(b->err);
            if (strcmp(name, native) != 0) continue;
            TRY(b->naming->locate(&found, b, &t));
            *out = found != NULL ? found->tensor : NULL;
            return 0;
        }
    }
    return 0;
}

/* Set counts that are decided by the rows of an embedding. */
static int settle_row_counts(manifest_builder *b)
{
    const lvlm_row_count *count = b->m->family->row_counts;
    for (; count->setting != NULL; count++) {
        char section[32];
        const lvlm_tensor *table;
        const size_t length =
            lvlm_copy_until(section, sizeof section, count->setting, ".");
        TRY(find_row(&table, b, count->tensor));
        if (table == NULL || table->shape.n != 2) continue;
        cJSON *rows = cJSON_GetObjectItemCaseSensitive(
            cJSON_GetObjectItemCaseSensitive(b->m->config, section),
            count->setting + length + 1);
        if (rows != NULL) cJSON_SetNumberValue(rows, (double)table->shape.dims[0]);
    }
    return 0;
}

static bool lists_block(const cJSON *config, const char *path, uint64_t block)
{
    const cJSON *item;
    uint64_t listed;
    LVLM_JSON_ITEMS (item, lvlm_json_path(config, path))
        if (lvlm_json_u64(&listed, item) && listed == block) return true;
    return false;
}

static bool has_block(const lvlm_manifest *m, const lvlm_section *s, uint64_t block)
{
    if (s->only_blocks != NULL) return lists_block(m->config, s->only_blocks, block);
    return s->not_blocks == NULL || !lists_block(m->config, s->not_blocks, block);
}

/* Does `next` continue the blocks of `s`? */
static bool same_blocks(const lvlm_section *s, const lvlm_section *next)
{
    return s->count != NULL && next->count != NULL &&
           strcmp(s->native, next->native) == 0 && strcmp(s->count, next->count) == 0;
}

/* Add the rows of sections [first, end), block by block. */
static int add_blocks(manifest_builder *b, size_t first, size_t end)
{
    assert(first < end && end <= b->n_sections);
    uint64_t blocks;
    TRY(count_blocks(&blocks, b, b->sections[first].of));
    for (uint64_t i = 0; i < blocks; i++)
        for (size_t k = first; k < end; k++) {
            const manifest_section *const s = &b->sections[k];
            if (!has_block(b->m, s->of, i)) continue;
            for (const lvlm_row *row = s->of->rows; row->native != NULL; row++)
                TRY(add_target(b, s, row, s->of->first + i));
        }
    return 0;
}

static int add_targets(manifest_builder *b)
{
    TRY(list_sections(b));
    if (!manifest_is_native(b->m)) TRY(settle_row_counts(b));
    for (size_t i = 0, end; i < b->n_sections; i = end) {
        end = i + 1;
        while (end < b->n_sections &&
               same_blocks(b->sections[i].of, b->sections[end].of))
            end++;
        TRY(add_blocks(b, i, end));
    }
    return 0;
}

static int index_targets(manifest_builder *b)
{
    lvlm_manifest *m = b->m;
    m->by_name = lvlm_arena_alloc(&m->arena, m->n_targets + 1, sizeof *m->by_name);
    if (m->by_name == NULL) return lvlm_fail_memory(b->err);
    for (size_t i = 0; i < m->n_targets; i++) m->by_name[i] = &m->targets[i];
    qsort(m->by_name, m->n_targets, sizeof *m->by_name, lvlm_by_name);
    return 0;
}

const lvlm_target *lvlm_manifest_find(const lvlm_manifest *m, const char *name)
{
    assert(m->by_name != NULL || m->n_targets == 0);
    return lvlm_find_name(name, m->by_name, m->n_targets);
}

const lvlm_target *lvlm_manifest_find_in_block(const lvlm_manifest *m,
                                               const lvlm_target *target,
                                               uint64_t block)
{
    static const char before[] = "blocks.";
    char name[256];
    const char *const at = strstr(target->name, before);
    if (at == NULL) return NULL;
    const char *const number = at + sizeof before - 1;
    const int n =
        snprintf(name, sizeof name, "%.*s%" PRIu64 "%s", (int)(number - target->name),
                 target->name, block, number + strcspn(number, "."));
    assert(n > 0 && (size_t)n < sizeof name);
    (void)n;
    return lvlm_manifest_find(m, name);
}

const lvlm_target *lvlm_manifest_projection(const lvlm_manifest *m,
                                            const lvlm_projection *row)
{
    char name[128];
    if (row->when != NULL && !lvlm_config_says(m->config, row->when)) return NULL;
    (void)snprintf(name, sizeof name, "%s.weight", row->native);
    return lvlm_manifest_find(m, name);
}

bool lvlm_target_is_stored(const lvlm_target *target)
{
    return target->state != LVLM_TARGET_TIED && target->state != LVLM_TARGET_IDENTITY;
}

/* ---- public --------------------------------------------------------------------- */

int lvlm_manifest_build(lvlm_manifest *out, const lvlm_checkpoint *checkpoint,
                        lvlm_error *err)
{
    *out = (lvlm_manifest){ .checkpoint = checkpoint };
    manifest_builder b = { .m = out,
                           .naming = manifest_naming_of(checkpoint->kind),
                           .err = err };
    int rc;

    if ((rc = read_config(&b)) < 0 || (rc = manifest_name_sources(&b)) < 0 ||
        (rc = add_targets(&b)) < 0 || (rc = index_targets(&b)) < 0 ||
        (rc = manifest_add_extras(&b)) < 0) {
        lvlm_prefix(err, "%s: ", checkpoint->path);
        lvlm_manifest_free(out);
        return rc;
    }
    manifest_resolve_ties(out);
    if (manifest_is_native(out)) manifest_apply_ledger(out);
    return 0;
}

int lvlm_manifest_open(lvlm_manifest *out, lvlm_checkpoint **checkpoint,
                       const char *path, lvlm_notes *notes, lvlm_error *err)
{
    const lvlm_open_options options = { .notes = notes };
    *out = (lvlm_manifest){ 0 };
    *checkpoint = NULL;
    TRY(lvlm_checkpoint_open(checkpoint, path, &options, err));
    FAIL_IF((*checkpoint)->kind != LVLM_CHECKPOINT_NATIVE, err, LVLM_EFORMAT,
            "%s: is not a native model; lvlm-convert hf2native makes one of a Hugging "
            "Face directory",
            path);
    return lvlm_manifest_build(out, *checkpoint, err);
}

void lvlm_manifest_free(lvlm_manifest *m)
{
    lvlm_json_free(m->config);
    lvlm_arena_free(&m->arena);
    *m = (lvlm_manifest){ 0 };
}
