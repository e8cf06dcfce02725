/* checksum.c - computes the digests of all tensors by a few threads, then compares them
 * in file order. */
#include "verify/checksum.h"

#include <assert.h>
#include <string.h>

#include "formats/base/alloc.h"
#include "formats/native/digests.h"
#include "formats/native/native.h"

int lvlm_checksum(size_t *n_corrupt, const lvlm_checkpoint *native,
                  lvlm_corrupt corrupt, void *user, const lvlm_run *run,
                  lvlm_error *err)
{
    assert(native->kind == LVLM_CHECKPOINT_NATIVE);
    lvlm_hex_digest *const got = lvlm_calloc(native->n_tensors + 1, sizeof *got);
    *n_corrupt = 0;
    if (got == NULL) return lvlm_fail_memory(err);
    const int rc = lvlm_digests_compute(got, native, NULL, run, err);
    for (size_t i = 0; rc == 0 && i < native->n_tensors; i++) {
        const lvlm_tensor *const t = &native->tensors[i];
        const char *const expected = lvlm_native_digest_of(native, t);
        if (strcmp(expected, got[i]) == 0) continue;
        ++*n_corrupt;
        if (corrupt != NULL) corrupt(user, t->name, expected, got[i]);
    }
    lvlm_free(got);
    return rc;
}
