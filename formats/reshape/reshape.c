/* reshape.c - plans a native file whose tensors have other shapes; see reshape.h. */
#include "formats/reshape/reshape.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "formats/base/alloc.h"
#include "formats/base/json.h"
#include "formats/container/safetensors.h"
#include "formats/native/rewrite.h"

int lvlm_reshape_open(lvlm_reshape *out, const char *path, lvlm_notes *notes,
                      lvlm_error *err)
{
    *out = (lvlm_reshape){ 0 };
    TRY(lvlm_manifest_open(&out->manifest, &out->model, path, notes, err));
    const cJSON *const config = out->manifest.config;
    out->plan.arena = &out->arena;
    out->rows[0] = out->rows[1] = lvlm_json_whole(config, "text.vocab");
    out->pixels[0] = out->pixels[1] = lvlm_json_whole(config, "vision.image");
    out->provenance = cJSON_Duplicate(out->model->native->provenance, true);
    return out->provenance != NULL ? 0 : lvlm_fail_memory(err);
}

void lvlm_reshape_free(lvlm_reshape *r)
{
    lvlm_json_free(r->provenance);
    lvlm_json_free(r->config);
    lvlm_manifest_free(&r->manifest);
    lvlm_checkpoint_close(r->model);
    lvlm_arena_free(&r->arena);
    *r = (lvlm_reshape){ 0 };
}

/* ---- the plan -------------------------------------------------------------------- */

int lvlm_reshape_copy(lvlm_step **step, lvlm_reshape *r, const lvlm_tensor *out,
                      const lvlm_tensor *t, lvlm_error *err)
{
    const char **const digest = lvlm_arena_alloc(&r->arena, 1, sizeof *digest);
    lvlm_step *added = NULL;
    if (digest == NULL) return lvlm_fail_memory(err);
    TRY(lvlm_plan_copy(&added, &r->plan, out, t, err));
    *digest = lvlm_native_digest_of(r->model, t);
    added->expect = digest;
    if (step != NULL) *step = added;
    return 0;
}

static int add_tensor(lvlm_reshape *r, const lvlm_tensor *t, size_t *n_pads,
                      lvlm_reshape_add add, void *user, lvlm_error *err)
{
    const lvlm_target *const target = lvlm_manifest_find(&r->manifest, t->name);
    lvlm_tensor out = { .name = t->name, .dtype = t->dtype, .shape = t->shape };
    FAIL_IF(target != NULL &&
                !lvlm_shape_resolve(&out.shape, target->row->shape, r->config),
            err, LVLM_EFORMAT, "the new shape of %s cannot be computed", t->name);
    TRY(lvlm_native_add_pad(&r->plan, n_pads, &out, err));
    r->n_reshaped += !lvlm_shape_equal(&out.shape, &t->shape);
    return add(user, t, &out, err);
}

static int add_side_file(lvlm_reshape *r, const lvlm_tensor *t, const char *name,
                         lvlm_error *err)
{
    for (size_t i = 0; i < r->n_files; i++)
        if (strcmp(r->files[i].name, name) == 0)
            return lvlm_plan_bytes(&r->plan, t->name,
                                   (const unsigned char *)r->files[i].text,
                                   strlen(r->files[i].text), err);
    return lvlm_reshape_copy(NULL, r, t, t, err);
}

/* Sections follow one another, so that n_reshaped is final at the first frame. */
int lvlm_reshape_lay_out(lvlm_reshape *r, lvlm_reshape_add add, void *user,
                         lvlm_error *err)
{
    size_t n_pads = 0;
    assert(r->config != NULL && r->plan.n_steps == 0);
    for (size_t i = 0; i < r->model->n_tensors; i++) {
        const lvlm_tensor *const t = &r->model->tensors[i];
        const char *rest;
        switch (lvlm_native_section_of(&rest, t->name)) {
        case LVLM_SECTION_MODEL:
        case LVLM_SECTION_UNUSED: TRY(add_tensor(r, t, &n_pads, add, user, err)); break;
        case LVLM_SECTION_FRAMES:
            if (r->n_reshaped == 0) TRY(lvlm_reshape_copy(NULL, r, t, t, err));
            break;
        case LVLM_SECTION_FILES: TRY(add_side_file(r, t, rest, err)); break;
        case LVLM_SECTION_PAD: break; /* new ones */
        }
    }
    return 0;
}

/* ---- the ledger ------------------------------------------------------------------ */

/* The shape that a source tensor would have for its targets' new ones. */
static int reshape_entry(lvlm_reshape *r, lvlm_ledger_entry *entry, lvlm_error *err)
{
    const lvlm_target *const t = lvlm_manifest_find(&r->manifest, entry->targets[0]);
    lvlm_shape shape;
    entry->source.detached = true;
    if (t == NULL) return 0;
    FAIL_IF(!lvlm_shape_resolve(&shape, t->row->shape, r->config), err, LVLM_EFORMAT,
            "the new shape of %s cannot be computed", t->name);
    if (lvlm_shape_equal(&shape, &t->shape)) return 0;
    assert(entry->n_targets == 1);
    if (lvlm_shape_equal(&entry->source.shape, &t->hf.shape) &&
        !lvlm_shape_resolve(&shape, t->hf.shape_text, r->config))
        return lvlm_fail(err, LVLM_EFORMAT, "the new shape of %s cannot be computed",
                         t->source_name);
    entry->source.shape = shape;
    entry->grown = false;
    entry->transform = (lvlm_transform){ 0 };
    return 0;
}

static int by_place(const void *a, const void *b)
{
    const lvlm_ledger_entry *const x = a, *const y = b;
    if (x->source.file != y->source.file)
        return x->source.file < y->source.file ? -1 : 1;
    return lvlm_tensor_span_order(&x->source, &y->source);
}

/* If shapes change, the source's files cannot be given back: they have no frames, and
 * no tensor has a span in them. */
static int print_ledger(lvlm_strbuf *out, lvlm_reshape *r, lvlm_error *err)
{
    lvlm_ledger l = r->manifest.ledger;
    l.files = lvlm_arena_alloc(&r->arena, l.n_files + 1, sizeof *l.files);
    l.entries = lvlm_arena_alloc(&r->arena, l.n_entries + 1, sizeof *l.entries);
    if (l.files == NULL || l.entries == NULL) return lvlm_fail_memory(err);
    for (size_t i = 0; i < l.n_files; i++) {
        l.files[i] = r->manifest.ledger.files[i];
        l.files[i].compressed = true;
    }
    for (size_t i = 0; i < l.n_entries; i++) {
        l.entries[i] = r->manifest.ledger.entries[i];
        TRY(reshape_entry(r, &l.entries[i], err));
    }
    qsort(l.entries, l.n_entries, sizeof *l.entries, by_place);
    lvlm_ledger_print(out, &l);
    return lvlm_strbuf_check(out, err);
}

static int set_ledger(const char **out, lvlm_reshape *r, lvlm_error *err)
{
    lvlm_strbuf text = LVLM_STRBUF_INIT(LVLM_SAFETENSORS_MAX_HEADER);
    *out = lvlm_checkpoint_meta(r->model, "ledger");
    if (r->n_reshaped == 0) return 0;
    int rc = print_ledger(&text, r, err);
    if (rc == 0) *out = lvlm_arena_strndup(&r->arena, text.text, text.length);
    if (rc == 0 && *out == NULL) rc = lvlm_fail_memory(err);
    lvlm_strbuf_free(&text);
    return rc;
}

/* ---- the other members ----------------------------------------------------------- */

bool lvlm_reshape_record(cJSON *provenance, const char *member, const uint64_t pair[2])
{
    uint64_t first = pair[0];
    (void)lvlm_json_u64(&first,
                        lvlm_json_get(lvlm_json_get(provenance, member), "from"));
    cJSON *const json = cJSON_CreateObject();
    return lvlm_json_set(provenance, member, json) &&
           lvlm_json_set(json, "from", cJSON_CreateNumber((double)first)) &&
           lvlm_json_set(json, "to", cJSON_CreateNumber((double)pair[1]));
}

static int describe(lvlm_reshape *r, lvlm_error *err)
{
    if (r->pixels[1] != r->pixels[0] &&
        !lvlm_reshape_record(r->provenance, LVLM_PROVENANCE_RESOLUTION, r->pixels))
        return lvlm_fail_memory(err);
    return r->n_reshaped == 0
               ? 0
               : lvlm_provenance_add(r->provenance, LVLM_PROVENANCE_RESHAPED,
                                     r->n_reshaped, err);
}

static int print(const char **out, lvlm_reshape *r, const cJSON *json, lvlm_error *err)
{
    char *text = NULL;
    TRY(lvlm_json_print(&text, json, err));
    *out = lvlm_arena_strndup(&r->arena, text, strlen(text));
    lvlm_free(text);
    return *out != NULL ? 0 : lvlm_fail_memory(err);
}

int lvlm_reshape_meta(lvlm_native_meta *out, lvlm_reshape *r, lvlm_error *err)
{
    *out = (lvlm_native_meta){ .family = r->manifest.family->name };
    TRY(describe(r, err));
    TRY(print(&out->config, r, r->config, err));
    TRY(print(&out->provenance, r, r->provenance, err));
    return set_ledger(&out->ledger, r, err);
}
