/* import_frames.c - the bytes of a source file around its tensors; see
 * import_parts.h. */
#include "convert/import_parts.h"

#include <assert.h>

#include "formats/native/native.h"

uint64_t import_file_bytes(const lvlm_import *im, size_t file)
{
    uint64_t end = im->source->files[file].map->n_bytes;
    for (size_t i = 0; i < im->ledger.n_entries; i++) {
        const lvlm_tensor *t = &im->ledger.entries[i].source;
        if (t->file == file && !t->detached && t->offset + t->n_bytes > end)
            end = t->offset + t->n_bytes;
    }
    return end;
}

/* Bytes of a mapped file as a tensor; NULL: out of memory. */
static const lvlm_tensor *piece(lvlm_import *im, const char *name,
                                const unsigned char *bytes, uint64_t n_bytes)
{
    assert(n_bytes > 0);
    lvlm_tensor *t = lvlm_arena_alloc(&im->arena, 1, sizeof *t);
    if (t == NULL) return NULL;
    *t = (lvlm_tensor){ .name = name,
                        .dtype = LVLM_U8,
                        .shape = { 1, { n_bytes } },
                        .data = bytes,
                        .n_bytes = n_bytes };
    return t;
}

/* The pieces of a source file between and around its spans, in order, up to the end of
 * the mapping, which may be only the header. */
static int list_pieces(lvlm_step *frame, lvlm_import *im, size_t file, lvlm_error *err)
{
    assert(frame->out.shape.n == 1 && frame->out.shape.dims[0] == 0);
    const lvlm_ledger *const l = &im->ledger;
    const lvlm_infile *map = im->source->files[file].map;
    const uint64_t total = import_file_bytes(im, file);
    const lvlm_tensor **pieces = NULL;
    size_t n = 0, capacity = 0;
    uint64_t at = 0;
    for (size_t i = 0; i <= l->n_entries; i++) {
        const lvlm_tensor *t = i < l->n_entries ? &l->entries[i].source : NULL;
        if (t != NULL && (t->file != file || t->detached)) continue;
        const uint64_t until = t != NULL ? t->offset : total;
        if (until <= map->n_bytes && until > at) {
            pieces = lvlm_arena_room(&im->arena, pieces, n, &capacity, sizeof *pieces);
            if (pieces == NULL ||
                (pieces[n] = piece(im, frame->out.name, map->bytes + at, until - at)) ==
                    NULL)
                return lvlm_fail_memory(err);
            frame->out.shape.dims[0] += pieces[n++]->n_bytes;
        }
        at = t != NULL ? until + t->n_bytes : until;
    }
    frame->inputs = pieces;
    frame->n_inputs = n;
    return 0;
}

int import_frame(lvlm_import *im, size_t file, lvlm_error *err)
{
    assert(file < im->source->n_files);
    const lvlm_source_file *source = &im->source->files[file];
    lvlm_step frame = { .out = { .dtype = LVLM_U8, .shape = { 1, { 0 } } } }, *step;
    if (source->compressed) return 0;
    frame.out.name =
        lvlm_arena_printf(&im->arena, LVLM_NATIVE_FRAMES "%s", source->name);
    if (frame.out.name == NULL) return lvlm_fail_memory(err);
    TRY(list_pieces(&frame, im, file, err));
    TRY(lvlm_plan_add(&step, &im->plan, &frame.out, err));
    step->kind = LVLM_STEP_JOIN;
    step->inputs = frame.inputs;
    step->n_inputs = frame.n_inputs;
    return 0;
}
