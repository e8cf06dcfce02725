/* native_writer.c - header, data, header again; see native_writer.h.
 *
 * The header's length depends only on names, shapes and metadata, not on digests: it is
 * first composed with zeros, then the data is written in one pass, and last the header
 * with the digests of that data. */
#include "formats/native/native_writer.h"

#include <assert.h>
#include <string.h>

#include "formats/base/alloc.h"
#include "formats/base/json.h"
#include "formats/container/contents_read.h"
#include "formats/container/execute.h"
#include "formats/container/safetensors.h"

enum { MAX_HEADER = LVLM_SAFETENSORS_MAX_HEADER + 2 * LVLM_NATIVE_ALIGN_DATA };

int lvlm_native_add_pad(lvlm_plan *plan, size_t *n_pads, const lvlm_tensor *next,
                        lvlm_error *err)
{
    assert(plan->arena != NULL);
    lvlm_tensor pad = { .dtype = LVLM_U8, .shape = { 1, { 0 } } }, sized = *next;
    lvlm_step *step;
    FAIL_IF(!lvlm_shape_bytes(&sized.n_bytes, &next->shape, next->dtype), err,
            LVLM_EFORMAT, "tensor '%s': size overflows 64 bits", next->name);
    pad.shape.dims[0] = lvlm_native_pad(plan->n_bytes, &sized);
    if (pad.shape.dims[0] == 0) return 0;
    pad.name = lvlm_arena_printf(plan->arena, LVLM_NATIVE_PAD "%zu", (*n_pads)++);
    if (pad.name == NULL) return lvlm_fail_memory(err);
    TRY(lvlm_plan_add(&step, plan, &pad, err));
    step->kind = LVLM_STEP_ZEROS;
    return 0;
}

/* ---- the header ----------------------------------------------------------------- */

/* The digests that the steps have so far, else zeros. */
static int put_digests(lvlm_strbuf *out, const lvlm_plan *plan, lvlm_error *err)
{
    lvlm_strbuf_puts(out, "{");
    for (size_t i = 0; i < plan->n_steps; i++) {
        const char *const digest = plan->steps[i].digest;
        if (i > 0) lvlm_strbuf_puts(out, ",");
        lvlm_json_put_text(out, plan->steps[i].out.name);
        lvlm_strbuf_printf(out, ":\"%s\"",
                           digest[0] != '\0' ? digest : lvlm_zero_digest);
    }
    lvlm_strbuf_puts(out, "}");
    return lvlm_strbuf_check(out, err);
}

static cJSON *metadata_of(const lvlm_native_meta *meta, const char *digests)
{
    assert(meta->family != NULL && meta->config != NULL && meta->provenance != NULL &&
           meta->ledger != NULL);
    const char *const members[][2] = {
        { "format", "lvlm" },         { "version", LVLM_NATIVE_VERSION },
        { "root", lvlm_zero_digest }, { "family", meta->family },
        { "config", meta->config },   { "provenance", meta->provenance },
        { "ledger", meta->ledger },   { "digests", digests },
    };
    cJSON *m = cJSON_CreateObject();
    for (size_t i = 0; i < sizeof members / sizeof *members; i++) {
        if (cJSON_AddStringToObject(m, members[i][0], members[i][1]) != NULL) continue;
        lvlm_json_free(m);
        return NULL;
    }
    return m;
}

/* The header without its root digest. */
static int compose(lvlm_strbuf *header, const lvlm_native_meta *meta,
                   const lvlm_plan *plan, lvlm_error *err)
{
    lvlm_strbuf digests = LVLM_STRBUF_INIT(LVLM_SAFETENSORS_MAX_HEADER);
    lvlm_tensor *const tensors = lvlm_calloc(plan->n_steps + 1, sizeof *tensors);
    cJSON *metadata = NULL;
    int rc = tensors != NULL ? put_digests(&digests, plan, err) : lvlm_fail_memory(err);
    for (size_t i = 0; rc == 0 && i < plan->n_steps; i++)
        tensors[i] = plan->steps[i].out;
    if (rc == 0 && (metadata = metadata_of(meta, digests.text)) == NULL)
        rc = lvlm_fail_memory(err);
    if (rc == 0)
        rc = lvlm_safetensors_header(header, tensors, plan->n_steps, metadata,
                                     LVLM_NATIVE_ALIGN_DATA, err);
    lvlm_json_free(metadata);
    lvlm_free(tensors);
    lvlm_strbuf_free(&digests);
    return rc;
}

/* Free *out after success and failure. */
static int make_header(lvlm_strbuf *out, lvlm_hex_digest root,
                       const lvlm_native_meta *meta, const lvlm_plan *plan,
                       lvlm_error *err)
{
    const char *digits;
    *out = (lvlm_strbuf)LVLM_STRBUF_INIT(MAX_HEADER);
    TRY(compose(out, meta, plan, err));
    TRY(lvlm_native_root(root, &digits, out->text, out->length, err));
    memcpy(out->text + (digits - out->text), root, LVLM_DIGEST_HEX);
    return 0;
}

/* ---- the file ------------------------------------------------------------------- */

/* Step 1: the header's size. */
static int check(size_t *n_bytes, const lvlm_native_parts *parts,
                 const lvlm_outfile *file, lvlm_error *err)
{
    lvlm_strbuf header;
    lvlm_hex_digest root;
    int rc = make_header(&header, root, &parts->meta, parts->plan, err);
    if (rc == 0) rc = lvlm_native_check_header(header.text, header.length, err);
    if (rc == LVLM_EFORMAT)
        lvlm_prefix(err, "%s: would not be a native file: ", lvlm_outfile_path(file));
    *n_bytes = header.length;
    lvlm_strbuf_free(&header);
    return rc;
}

int lvlm_native_write(lvlm_hex_digest root, lvlm_outfile *file,
                      const lvlm_native_parts *parts, const lvlm_run *run,
                      lvlm_error *err)
{
    assert(run->threads > 0);
    lvlm_native_meta meta = parts->meta;
    lvlm_strbuf header;
    size_t n_bytes;
    TRY(check(&n_bytes, parts, file, err));
    TRY(lvlm_execute(parts->plan, file, n_bytes, run, err));
    if (parts->finish != NULL) TRY(parts->finish(parts->user, &meta, err));
    for (size_t i = 0; i < LVLM_NATIVE_SOURCES; i++)
        if (parts->sources[i] != NULL)
            TRY(lvlm_checkpoint_unchanged(parts->sources[i], err));
    int rc = make_header(&header, root, &meta, parts->plan, err);
    if (rc == 0) {
        assert(header.length == n_bytes);
        lvlm_outfile_write_at(file, 0, header.text, header.length, NULL);
        rc = lvlm_outfile_commit(file, err);
    }
    lvlm_strbuf_free(&header);
    return rc;
}

/* ---- without writing it --------------------------------------------------------- */

/* Does this step only copy bytes that have a digest? */
static bool is_unchanged(const lvlm_step *step)
{
    return lvlm_step_keeps_bytes(step) && step->expect != NULL;
}

/* Compute what is not copied, and set all digests. *out is owned: the computed bytes,
 * one step after another. */
static int compute(unsigned char **out, lvlm_plan *plan, lvlm_error *err)
{
    uint64_t n_bytes = 0, at = 0;
    for (size_t i = 0; i < plan->n_steps; i++)
        if (!is_unchanged(&plan->steps[i])) n_bytes += plan->steps[i].out.n_bytes;
    *out = lvlm_malloc((size_t)n_bytes + 1);
    FAIL_IF(*out == NULL, err, LVLM_ENOMEM,
            "out of memory for tensors of other shapes");
    for (size_t i = 0; i < plan->n_steps; i++) {
        lvlm_step *const step = &plan->steps[i];
        if (is_unchanged(step)) {
            memcpy(step->digest, step->expect[0], LVLM_DIGEST_HEX + 1);
            continue;
        }
        TRY(lvlm_execute_step(*out + at, step, err));
        at += step->out.n_bytes;
    }
    return 0;
}

/* Read a header as that of a file. cp->files has room and is zeroed. */
static int read_header(lvlm_checkpoint *cp, const lvlm_strbuf *header, lvlm_error *err)
{
    lvlm_infile map = { .bytes = (const unsigned char *)header->text,
                        .n_bytes = header->length };
    cp->headers_only = true;
    cp->files[0].map = &map;
    int rc = checkpoint_add_safetensors(cp, &map, err);
    if (rc == 0) rc = checkpoint_index_names(cp, err);
    if (rc == 0) rc = lvlm_native_validate(cp, err);
    cp->headers_only = false;
    cp->files[0].map = NULL;
    return rc;
}

/* The tensors' bytes: those of the source, and the computed ones. */
static void place(lvlm_checkpoint *cp, const lvlm_plan *plan,
                  const unsigned char *computed)
{
    assert(cp->n_tensors == plan->n_steps);
    for (size_t i = 0; i < plan->n_steps; i++) {
        const lvlm_step *const step = &plan->steps[i];
        lvlm_tensor *const t = &cp->tensors[i];
        assert(strcmp(t->name, step->out.name) == 0);
        t->detached = !is_unchanged(step);
        if (t->detached) {
            t->data = computed;
            computed += t->n_bytes;
        } else {
            t->data = step->inputs[0]->data;
            t->map = step->inputs[0]->map;
            t->offset = step->inputs[0]->offset;
        }
    }
}

static int view(lvlm_checkpoint *cp, const lvlm_checkpoint *source,
                const lvlm_native_meta *meta, lvlm_plan *plan, lvlm_error *err)
{
    lvlm_strbuf header;
    lvlm_hex_digest root;
    cp->kind = LVLM_CHECKPOINT_NATIVE;
    cp->notes = source->notes;
    cp->path = lvlm_arena_strndup(&cp->arena, source->path, strlen(source->path));
    cp->files = lvlm_arena_alloc(&cp->arena, 1, sizeof *cp->files);
    if (cp->path == NULL || cp->files == NULL) return lvlm_fail_memory(err);
    TRY(compute(&cp->files[0].copies, plan, err));
    int rc = make_header(&header, root, meta, plan, err);
    if (rc == 0) rc = read_header(cp, &header, err);
    lvlm_strbuf_free(&header);
    TRY(rc);
    place(cp, plan, cp->files[0].copies);
    return lvlm_native_list_files(cp, err);
}

int lvlm_native_view(lvlm_checkpoint **out, lvlm_checkpoint *source,
                     const lvlm_native_meta *meta, lvlm_plan *plan, lvlm_error *err)
{
    assert(source->kind == LVLM_CHECKPOINT_NATIVE && source->n_files == 1);
    lvlm_checkpoint *const cp = lvlm_calloc(1, sizeof *cp);
    if (cp == NULL) return lvlm_fail_memory(err);
    const int rc = view(cp, source, meta, plan, err);
    if (rc < 0) {
        if (cp->files != NULL) lvlm_free(cp->files[0].copies);
        lvlm_native_free(cp->native);
        checkpoint_free(cp);
        return rc;
    }
    cp->files[0].name = lvlm_path_base(cp->path);
    cp->files[0].map = source->files[0].map;
    cp->n_files = 1;
    source->n_files = 0;
    *out = cp;
    return 0;
}
