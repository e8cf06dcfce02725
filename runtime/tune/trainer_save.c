/* trainer_save.c - the native file again, in its order and types, trained tensors
 * replaced. */
#include <string.h>

#include "formats/base/alloc.h"
#include "formats/base/json.h"
#include "formats/numeric.h"
#include "formats/rewrite.h"
#include "runtime/tune/trainer.h"

enum { CHUNK = 1 << 16 }; /* values narrowed at a time */

static const lvlm_trained *find(const lvlm_trainer *t, const char *name)
{
    for (size_t i = 0; i < t->n_tensors; i++)
        if (strcmp(t->tensors[i].name, name) == 0) return &t->tensors[i];
    return NULL;
}

static bool is_trained(void *user, const lvlm_tensor *tensor)
{
    return find(user, tensor->name) != NULL;
}

/* Narrowed from its float32 values. */
static int write_trained(void *user, const lvlm_tensor *tensor, lvlm_rewrite_sink *sink,
                         lvlm_error *err)
{
    const lvlm_trained *const p = find(user, tensor->name);
    const size_t element = lvlm_dtype_bytes(tensor->dtype);
    unsigned char *const buffer = lvlm_malloc(CHUNK * sizeof(double));
    if (buffer == NULL) return lvlm_fail_memory(err);
    for (size_t i = 0; i < p->numel; i += CHUNK) {
        const size_t n = p->numel - i < CHUNK ? p->numel - i : CHUNK;
        lvlm_convert_values(buffer, tensor->dtype, p->w + i, LVLM_F32, n);
        lvlm_rewrite_put(sink, buffer, n * element);
    }
    lvlm_free(buffer);
    return 0;
}

int lvlm_trainer_save(const lvlm_trainer *t, const char *path, bool overwrite,
                      lvlm_error *err)
{
    const lvlm_checkpoint *const cp = lvlm_model_manifest(t->model)->checkpoint;
    lvlm_trainer user = *t;
    char root[LVLM_DIGEST_HEX + 1];
    cJSON *provenance = NULL;
    int rc = lvlm_native_meta_json(&provenance, cp, "provenance", err);
    if (rc == 0)
        rc = lvlm_provenance_add(provenance, LVLM_PROVENANCE_STEPS, t->step, err);
    if (rc == 0) {
        const lvlm_rewrite rewrite = { .source = cp,
                                       .provenance = provenance,
                                       .changes = is_trained,
                                       .write = write_trained,
                                       .user = &user,
                                       .threads = t->options.threads,
                                       .overwrite = overwrite };
        rc = lvlm_rewrite_run(&rewrite, path, root, err);
    }
    lvlm_json_free(provenance);
    return rc;
}
