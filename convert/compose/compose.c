/* compose.c - the parts as one checkpoint, and its import.
 *
 *   spec -> parts -> config.json -> checks of sizes -> tensors of all parts -> import
 *
 * The composed checkpoint owns its list of tensors and its configuration; the tensors'
 * bytes stay in the parts' mapped files. */
#include "convert/compose/compose.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "convert/compose/compose_files.h"
#include "convert/compose/compose_makers.h"
#include "convert/part_files.h"
#include "formats/base/alloc.h"
#include "formats/base/json.h"
#include "formats/base/text.h"
#include "formats/container/contents_read.h"
#include "formats/native/digests.h"
#include "formats/native/rewrite.h"

/* ---- side files ------------------------------------------------------------------ */

static int by_file_name(const void *a, const void *b)
{
    return strcmp(((const lvlm_side_file *)a)->name, ((const lvlm_side_file *)b)->name);
}

static int add_text(lvlm_checkpoint *cp, const char *name, const char *text,
                    lvlm_error *err)
{
    const char *const copy = lvlm_arena_strndup(&cp->arena, text, strlen(text));
    if (copy == NULL) return lvlm_fail_memory(err);
    cp->side_files[cp->n_side_files++] =
        (lvlm_side_file){ name, (const unsigned char *)copy, strlen(copy) };
    return 0;
}

/* Keep a file of the language model, one of the tokenizer with the image token. */
static int keep_file(lvlm_checkpoint *cp, const lvlm_side_file *file,
                     const lvlm_compose *c, lvlm_error *err)
{
    char *text = NULL;
    TRY(lvlm_compose_tokenizer(&text, file, &c->parts, &c->spec, err));
    if (text == NULL) {
        cp->side_files[cp->n_side_files++] = *file;
        return 0;
    }
    const int rc = add_text(cp, file->name, text, err);
    lvlm_free(text);
    return rc;
}

/* Its chat template is kept unless the spec names one. */
static int keep_text_files(lvlm_checkpoint *cp, const lvlm_compose *c, lvlm_error *err)
{
    const char *const template = lvlm_compose_template(&c->spec);
    const char *const *names = lvlm_part_files("text");
    for (; *names != NULL; names++) {
        const lvlm_side_file *const file =
            lvlm_checkpoint_side_file(c->parts.text.from, *names);
        if (file == NULL ||
            (template != NULL && lvlm_starts_with(*names, "chat_template.")))
            continue;
        TRY(keep_file(cp, file, c, err));
    }
    return template != NULL ? add_text(cp, "chat_template.jinja", template, err) : 0;
}

static int add_added_tokens(lvlm_checkpoint *cp, const lvlm_compose *c, lvlm_error *err)
{
    char *text = NULL;
    TRY(lvlm_compose_added_tokens(&text, &c->parts, &c->spec, err));
    const int rc = text != NULL ? add_text(cp, "added_tokens.json", text, err) : 0;
    lvlm_free(text);
    return rc;
}

static int add_pictures(lvlm_checkpoint *cp, const lvlm_compose *c, lvlm_notes *notes,
                        lvlm_error *err)
{
    char *text = NULL;
    TRY(lvlm_compose_pictures(&text, &c->parts, &c->spec, notes, err));
    const int rc = add_text(cp, "preprocessor_config.json", text, err);
    lvlm_free(text);
    return rc;
}

/* Of a makers' folder: those that a ledger has no names for. */
static void keep_hidden_files(lvlm_checkpoint *cp, const lvlm_compose *c)
{
    const lvlm_checkpoint *const from = c->parts.text.from;
    for (size_t i = 0; c->is_makers && i < from->n_side_files; i++)
        if (!lvlm_ledger_names_file(from->side_files[i].name))
            cp->side_files[cp->n_side_files++] = from->side_files[i];
}

static int add_side_files(lvlm_checkpoint *cp, const lvlm_compose *c, lvlm_notes *notes,
                          lvlm_error *err)
{
    enum { MOST = 16 };
    const size_t most = MOST + c->parts.text.from->n_side_files;
    char *config = NULL, *processor = NULL;
    cp->side_files = lvlm_arena_alloc(&cp->arena, most, sizeof *cp->side_files);
    if (cp->side_files == NULL) return lvlm_fail_memory(err);
    int rc = lvlm_compose_config(&config, &c->parts, &c->spec, err);
    if (rc == 0) rc = lvlm_compose_processor(&processor, &c->parts, &c->spec, err);
    if (rc == 0) rc = add_text(cp, "config.json", config, err);
    if (rc == 0) rc = add_text(cp, "processor_config.json", processor, err);
    if (rc == 0) rc = lvlm_json_parse(&cp->config, config, strlen(config), err);
    lvlm_free(config);
    lvlm_free(processor);
    if (rc < 0) return rc;
    TRY(keep_text_files(cp, c, err));
    TRY(add_added_tokens(cp, c, err));
    TRY(add_pictures(cp, c, notes, err));
    keep_hidden_files(cp, c);
    qsort(cp->side_files, cp->n_side_files, sizeof *cp->side_files, by_file_name);
    return 0;
}

/* ---- tensors --------------------------------------------------------------------- */

/* A tensor of the composed checkpoint, and as its file has it. */
typedef struct placed {
    lvlm_tensor tensor; /* first: for sorting */
    lvlm_tensor original;
} placed;

/* By file, and in it in the order of a ledger. */
static int by_place(const void *a, const void *b)
{
    const lvlm_tensor *const x = a, *const y = b;
    if (x->file != y->file) return x->file < y->file ? -1 : 1;
    return lvlm_tensor_span_order(x, y);
}

/* Are a part's files those of the makers' folder, which can be given back? */
static bool is_given_back(const lvlm_compose *c, const lvlm_compose_part *part)
{
    return c->is_makers && strcmp(part->from->path, c->parts.text.from->path) == 0;
}

/* Append a part's files, unless they are there. Only those of a makers' folder are
 * given back; a tensor's bytes are not a span of the others. */
static int add_files(size_t *first, lvlm_checkpoint *cp, const lvlm_compose *c,
                     const lvlm_compose_part *part, lvlm_error *err)
{
    const bool back = is_given_back(c, part);
    *first = cp->n_files;
    for (size_t i = 0; back && i < cp->n_files; i++)
        if (strcmp(cp->files[i].name, part->from->files[0].name) == 0) {
            *first = i;
            return 0;
        }
    for (size_t f = 0; f < part->from->n_files; f++) {
        lvlm_source_file *const file = &cp->files[cp->n_files++];
        assert(part->from->files[f].map != NULL);
        *file = part->from->files[f];
        file->copies = NULL; /* the part frees them */
        if (back) continue;
        file->compressed = true;
        file->name = lvlm_arena_printf(&cp->arena, "%s.%s", part->role, file->name);
        if (file->name == NULL) return lvlm_fail_memory(err);
    }
    for (size_t i = 0; i < part->from->n_side_maps; i++)
        cp->side_maps[cp->n_side_maps++] = part->from->side_maps[i];
    return 0;
}

static int add_part(placed *list, size_t *n, lvlm_checkpoint *cp, const lvlm_compose *c,
                    const lvlm_compose_part *part, lvlm_error *err)
{
    size_t first;
    if (part->from == NULL) return 0;
    TRY(add_files(&first, cp, c, part, err));
    for (size_t i = 0; i < part->n_tensors; i++) {
        placed *const p = &list[(*n)++];
        *p = (placed){ part->tensors[i], *part->originals[i] };
        p->tensor.file = p->original.file = first + part->tensors[i].file;
        if (is_given_back(c, part)) continue;
        p->tensor.detached = true;
        p->original = p->tensor;
    }
    return 0;
}

/* Side files of a makers' folder are kept as they are beside those made of them: as
 * files without tensors. */
static void add_originals(lvlm_checkpoint *cp, const lvlm_compose *c)
{
    const lvlm_checkpoint *const from = c->parts.text.from;
    for (size_t i = 0; c->is_makers && i < from->n_side_files; i++)
        if (lvlm_ledger_names_file(from->side_files[i].name))
            cp->files[cp->n_files++] =
                (lvlm_source_file){ .name = from->side_files[i].name,
                                    .map = from->side_maps[i] };
}

static int add_parts(lvlm_checkpoint *cp, lvlm_compose *c, lvlm_error *err)
{
    const lvlm_compose_part *const all[] = { &c->parts.vision, &c->parts.text,
                                             &c->parts.connector };
    size_t n_files = c->parts.text.from->n_side_files, n_maps = 0, n_tensors = 0, n = 0;
    for (size_t i = 0; i < 3; i++) {
        n_tensors += all[i]->n_tensors;
        n_files += all[i]->from != NULL ? all[i]->from->n_files : 0;
        n_maps += all[i]->from != NULL ? all[i]->from->n_side_maps : 0;
    }
    placed *const list = lvlm_arena_alloc(&cp->arena, n_tensors + 1, sizeof *list);
    c->originals = lvlm_arena_alloc(&cp->arena, n_tensors + 1, sizeof(lvlm_tensor));
    cp->tensors = lvlm_calloc(n_tensors + 1, sizeof *cp->tensors);
    cp->files = lvlm_arena_alloc(&cp->arena, n_files + 1, sizeof *cp->files);
    cp->side_maps = lvlm_arena_alloc(&cp->arena, n_maps + 1, sizeof(lvlm_infile *));
    if (list == NULL || c->originals == NULL || cp->tensors == NULL ||
        cp->files == NULL || cp->side_maps == NULL)
        return lvlm_fail_memory(err);
    for (size_t i = 0; i < 3; i++) TRY(add_part(list, &n, cp, c, all[i], err));
    add_originals(cp, c);
    qsort(list, n, sizeof *list, by_place);
    for (size_t i = 0; i < n; i++) {
        cp->tensors[cp->n_tensors++] = list[i].tensor;
        c->originals[i] = list[i].original;
    }
    return checkpoint_index_names(cp, err);
}

/* The composed checkpoint, as if its directory had been opened. */
static int join(lvlm_checkpoint **out, lvlm_compose *c,
                const lvlm_import_options *options, lvlm_error *err)
{
    lvlm_checkpoint *const cp = lvlm_calloc(1, sizeof *cp);
    if (cp == NULL) return lvlm_fail_memory(err);
    *out = cp;
    cp->kind = LVLM_CHECKPOINT_HF;
    cp->path = c->spec.path;
    cp->headers_only = options->headers_only;
    cp->in_place = true;
    TRY(add_side_files(cp, c, options->notes, err));
    return add_parts(cp, c, err);
}

/* ---- public ---------------------------------------------------------------------- */

/* Native parts record digests: what is copied from them is checked first. */
static int check_part(const lvlm_compose_part *part, const lvlm_run *run,
                      lvlm_error *err)
{
    const lvlm_run quiet = { .threads = run->threads };
    if (part->from == NULL || part->from->kind != LVLM_CHECKPOINT_NATIVE) return 0;
    const int rc = lvlm_digests_check(part->from, NULL, &quiet, err);
    if (rc < 0) lvlm_prefix(err, "%s.source: %s: ", part->role, part->from->path);
    return rc;
}

static int check_parts(void *compose, const lvlm_run *run, lvlm_error *err)
{
    const lvlm_compose *const c = compose;
    TRY(check_part(&c->parts.vision, run, err));
    return check_part(&c->parts.text, run, err);
}

/* Plan what out->spec says. */
static int plan_spec(lvlm_compose *out, const lvlm_import_options *options,
                     lvlm_error *err)
{
    const lvlm_open_options open = { .headers_only = options->headers_only,
                                     .in_place = true,
                                     .notes = options->notes };
    const lvlm_compose_spec *const spec = &out->spec;
    lvlm_import_options chosen = *options;
    int rc = lvlm_compose_parts_open(&out->parts, spec, &open, &out->arena, err);
    if (rc == 0) rc = lvlm_compose_check(spec, &out->parts, err);
    if (rc == 0) rc = join(&out->joined, out, options, err);
    TRY(lvlm_within(rc, err, "%s: ", spec->path));
    /* one linear map is LLaVA's two without an activation, the second the identity */
    if (strcmp(spec->kind, "linear") == 0) chosen.identity = "connector.fc2.";
    if (spec->init.kind != LVLM_INIT_NONE) chosen.init = spec->init;
    chosen.growths = out->parts.growths;
    chosen.n_growths = out->parts.n_growths;
    chosen.joined = out->is_makers ? LVLM_PROVENANCE_MAKERS : "composed";
    if (out->is_makers) chosen.originals = out->originals;
    if (spec->dtype != NULL)
        chosen.change_dtype = lvlm_dtype_from_option(&chosen.dtype, spec->dtype);
    chosen.check = check_parts;
    chosen.check_user = out;
    return lvlm_import_plan_source(&out->import, out->joined, &chosen, err);
}

int lvlm_compose_plan(lvlm_compose *out, const char *spec_path,
                      const lvlm_import_options *options, lvlm_error *err)
{
    *out = (lvlm_compose){ 0 };
    TRY(lvlm_compose_spec_read(&out->spec, spec_path, &out->arena, err));
    return plan_spec(out, options, err);
}

int lvlm_compose_plan_makers(lvlm_compose *out, const char *path, const char *vision,
                             const lvlm_import_options *options, lvlm_error *err)
{
    *out = (lvlm_compose){ .is_makers = true };
    TRY(lvlm_within(compose_makers_spec(&out->spec, path, vision, &out->arena, err),
                    err, "%s: ", path));
    return plan_spec(out, options, err);
}

static int digest_files(lvlm_compose_part *part, lvlm_arena *arena, lvlm_error *err)
{
    if (part->from == NULL || part->digests != NULL) return 0;
    const size_t n = part->from->n_files;
    lvlm_hex_digest *const digests = lvlm_arena_alloc(arena, n, sizeof *digests);
    if (digests == NULL) return lvlm_fail_memory(err);
    for (size_t i = 0; i < n; i++) {
        const lvlm_infile *const map = part->from->files[i].map;
        TRY(lvlm_digest_bytes(digests[i], map->bytes, (size_t)map->n_bytes, err));
    }
    part->digests = digests;
    return 0;
}

int lvlm_compose_digest_files(lvlm_compose *c, lvlm_error *err)
{
    TRY(digest_files(&c->parts.vision, &c->arena, err));
    TRY(digest_files(&c->parts.connector, &c->arena, err));
    return digest_files(&c->parts.text, &c->arena, err);
}

void lvlm_compose_free(lvlm_compose *c)
{
    lvlm_import_free(c->import);
    if (c->joined != NULL) /* these are the parts' */
        c->joined->n_files = c->joined->n_side_maps = 0;
    lvlm_checkpoint_close(c->joined);
    lvlm_compose_parts_close(&c->parts);
    lvlm_arena_free(&c->arena);
}
