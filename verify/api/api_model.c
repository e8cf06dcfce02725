/* api_model.c - an open model of lvlm.h; what it is asked is in prepared/api_ask.c. */
#include <assert.h>
#include <string.h>

#include "formats/base/alloc.h"
#include "formats/native/digests.h"
#include "verify/api/api.h"

static int open_model(lvlm *m, const char *path, const lvlm_handle_options *o,
                      lvlm_error *err)
{
    const lvlm_model_options chosen = {
        .compute = o->in_double ? LVLM_COMPUTE_F64 : LVLM_COMPUTE_F32,
        .threads = m->threads,
        .reference = o->reference,
        .check = o->check,
        .notes = &m->notes.list,
    };
    TRY(lvlm_model_open(&m->model, path, &chosen, err));
    if (o->check) return 0;
    return lvlm_native_check_side_files(lvlm_model_manifest(m->model)->checkpoint,
                                        m->threads, err);
}

int lvlm_open(lvlm **out, const char *model, const lvlm_handle_options *options,
              lvlm_error *err)
{
    static const lvlm_handle_options plain;
    const lvlm_handle_options *const o = options != NULL ? options : &plain;
    lvlm *const m = lvlm_calloc(1, sizeof *m);
    if (m == NULL) return lvlm_fail_memory(err);
    m->notes = (api_notes){ LVLM_NOTES_INIT, o->note, o->user };
    m->threads = api_threads(o->threads);
    m->as_trained =
        o->reference == NULL || strcmp(o->reference, LVLM_REFERENCE_TRAINED) == 0;
    const int rc = open_model(m, model, o, err);
    api_notes_tell(&m->notes);
    if (rc == 0)
        *out = m;
    else
        lvlm_close(m);
    return rc;
}

void lvlm_close(lvlm *model)
{
    if (model == NULL) return;
    lvlm_model_free(model->model);
    lvlm_notes_free(&model->notes.list);
    lvlm_free(model);
}

const char *lvlm_family_of(const lvlm *model)
{
    assert(model != NULL);
    return lvlm_model_manifest(model->model)->family->name;
}
