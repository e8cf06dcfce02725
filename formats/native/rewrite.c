/* rewrite.c - plans one native file from another; see rewrite.h.
 *
 *   every tensor, same order and type: copied, or put by `write` */
#include "formats/native/rewrite.h"

#include <assert.h>

#include "formats/base/alloc.h"
#include "formats/base/json.h"

/* Either way the source's tensor is compared with its digest. */
static int plan_tensor(lvlm_plan *plan, const lvlm_rewrite *r, const lvlm_tensor *t,
                       lvlm_error *err)
{
    const char **const expect = lvlm_arena_alloc(plan->arena, 1, sizeof *expect);
    lvlm_step *step;
    if (expect == NULL) return lvlm_fail_memory(err);
    *expect = lvlm_native_digest_of(r->source, t);
    TRY(lvlm_plan_copy(&step, plan, t, t, err));
    step->expect = expect;
    if (!r->changes(r->user, t)) return 0;
    step->kind = LVLM_STEP_WRITTEN;
    step->write = r->write;
    step->user = r->user;
    return 0;
}

/* Everything except the provenance is the source's, which was checked when it was
 * opened. */
int lvlm_rewrite_run(lvlm_hex_digest root, lvlm_outfile *file,
                     const lvlm_rewrite *rewrite, const lvlm_run *run, lvlm_error *err)
{
    assert(rewrite->changes != NULL && rewrite->write != NULL);
    const lvlm_checkpoint *const cp = rewrite->source;
    lvlm_arena arena = LVLM_ARENA_INIT;
    lvlm_plan plan = { .arena = &arena };
    char *provenance = NULL;
    int rc;

    assert(cp->native != NULL);
    if ((rc = lvlm_json_print(&provenance, rewrite->provenance, err)) < 0) goto done;
    for (size_t i = 0; i < cp->n_tensors; i++)
        if ((rc = plan_tensor(&plan, rewrite, &cp->tensors[i], err)) < 0) goto done;
    const lvlm_native_parts parts = {
        .meta = { lvlm_checkpoint_meta(cp, "family"),
                  lvlm_checkpoint_meta(cp, "config"), provenance,
                  lvlm_checkpoint_meta(cp, "ledger") },
        .plan = &plan,
        .sources = { cp, rewrite->other },
        .finish = rewrite->finish,
        .user = rewrite->user,
    };
    rc = lvlm_native_write(root, file, &parts, run, err);
done:
    lvlm_arena_free(&arena);
    lvlm_free(provenance);
    return rc;
}

/* ---- what was done to the values ------------------------------------------------ */

int lvlm_provenance_add(cJSON *provenance, const char *member, uint64_t n,
                        lvlm_error *err)
{
    assert(cJSON_IsObject(provenance));
    uint64_t before = 0;
    (void)lvlm_json_u64(&before, lvlm_json_get(provenance, member));
    return lvlm_json_set(provenance, member, cJSON_CreateNumber((double)(before + n)))
               ? 0
               : lvlm_fail_memory(err);
}

bool lvlm_provenance_changed(const cJSON *provenance)
{
    static const char *const members[] = {
        LVLM_PROVENANCE_STEPS, LVLM_PROVENANCE_ADAPTERS, LVLM_PROVENANCE_EXCHANGED,
        LVLM_PROVENANCE_RESOLUTION, LVLM_PROVENANCE_RESHAPED
    };
    for (size_t i = 0; i < sizeof members / sizeof *members; i++)
        if (lvlm_json_get(provenance, members[i]) != NULL) return true;
    return false;
}

bool lvlm_provenance_reshaped(const cJSON *provenance)
{
    return lvlm_json_get(provenance, LVLM_PROVENANCE_RESHAPED) != NULL;
}
