/* audit.c - makes the checks one after another; see audit.h. */
#include "verify/audit.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

#include "formats/native/native.h"
#include "verify/checksum.h"
#include "verify/projection_values.h"

const char *lvlm_check_name(lvlm_check_kind kind)
{
    static const char *const names[] = { "checksum", "schema", "projections",
                                         "replay" };
    assert((size_t)kind < sizeof names / sizeof *names);
    return names[kind];
}

const char *lvlm_check_state_name(lvlm_check_state state)
{
    static const char *const names[] = { "passed", "failed", "error", "skipped" };
    assert((size_t)state < sizeof names / sizeof *names);
    return names[state];
}

/* ---- problems ------------------------------------------------------------------- */

typedef struct checking {
    lvlm_audit *audit;
    lvlm_check *check;
    bool failed; /* out of memory */
} checking;

/* Takes `text`, which is in the audit's arena; NULL: out of memory. */
static void add_problem(checking *c, const char *text)
{
    lvlm_check *const k = c->check;
    const char **const list =
        lvlm_arena_room(&c->audit->arena, k->problems, k->n_problems,
                        &c->audit->problem_room, sizeof *list);
    if (list == NULL || text == NULL) {
        c->failed = true;
        return;
    }
    k->problems = list;
    k->problems[k->n_problems++] = text;
}

static lvlm_check *begin(checking *c, lvlm_audit *a, lvlm_check_kind kind)
{
    lvlm_check *const check = &a->checks[a->n_checks++];
    check->kind = kind;
    a->problem_room = 0;
    *c = (checking){ a, check, false };
    return check;
}

static int finish(const checking *c, lvlm_error *err)
{
    lvlm_check *const k = c->check;
    if (c->failed) return lvlm_fail_memory(err);
    if (k->n_failed > 0) k->state = LVLM_CHECK_FAILED;
    return 0;
}

/* ---- the file ------------------------------------------------------------------- */

static void take_corrupt(void *user, const char *name, const char *recorded,
                         const char *computed)
{
    checking *const c = user;
    add_problem(
        c, lvlm_arena_printf(&c->audit->arena, "tensor '%s': recorded %s, computed %s",
                             name, recorded, computed));
}

static int check_digests(lvlm_audit *a, const lvlm_run *run, lvlm_error *err)
{
    checking c;
    lvlm_check *const check = begin(&c, a, LVLM_CHECK_CHECKSUM);
    check->n = a->checkpoint->n_tensors;
    TRY(lvlm_checksum(&check->n_failed, a->checkpoint, take_corrupt, &c, run, err));
    return finish(&c, err);
}

static void take_problem(void *user, const char *text)
{
    checking *const c = user;
    add_problem(c, lvlm_arena_strndup(&c->audit->arena, text, strlen(text)));
}

static int check_schema(lvlm_audit *a, lvlm_error *err)
{
    checking c;
    lvlm_check *const check = begin(&c, a, LVLM_CHECK_SCHEMA);
    check->n = a->manifest.n_targets;
    check->n_failed = lvlm_manifest_problems(&a->manifest, take_problem, &c);
    return finish(&c, err);
}

static void judge_projection(checking *c, const lvlm_projection_state *p,
                             const lvlm_projection_values *v)
{
    const bool missing = strcmp(p->form, "missing") == 0;
    c->check->n++;
    if (!missing && !lvlm_projection_values_fail(v, p)) return;
    c->check->n_failed++;
    add_problem(
        c, missing ? lvlm_arena_printf(&c->audit->arena, "%s '%s' is missing: %s",
                                       p->table->role, p->name, p->table->missing)
                   : lvlm_arena_printf(&c->audit->arena, "%s '%s': every value is %g",
                                       p->table->role, p->name, v->value));
}

static int check_projections(lvlm_audit *a, lvlm_error *err)
{
    checking c;
    (void)begin(&c, a, LVLM_CHECK_PROJECTIONS);
    lvlm_projection_cursor at = { 0, 0 };
    lvlm_projection_state p;
    lvlm_projection_values *values;
    TRY(lvlm_projection_values_read(&values, &a->manifest, &a->arena, err));
    a->values = values;
    for (size_t i = 0; lvlm_projections_next(&p, &a->manifest, &at); i++)
        judge_projection(&c, &p, &values[i]);
    return finish(&c, err);
}

/* ---- recordings ----------------------------------------------------------------- */

/* The digests were compared a moment ago, and are again only if one differs. What a
 * replay reads must then be the same file, as it was. */
static int replay(lvlm_replay *out, const lvlm_audit *a, const char *golden,
                  const lvlm_replay_options *options, lvlm_error *err)
{
    const char *const root = lvlm_checkpoint_meta(a->checkpoint, "root");
    lvlm_replay_options once = *options;
    once.checked = a->checks[0].state == LVLM_CHECK_PASSED;
    TRY(lvlm_replay_run(out, a->model, golden, &once, err));
    int rc = lvlm_checkpoint_unchanged(a->checkpoint, err);
    if (rc == 0 && strcmp(out->model_root, root) != 0)
        rc = lvlm_fail(err, LVLM_EIO, "%s: was replaced while it was in use; try again",
                       a->model);
    if (rc < 0) lvlm_replay_free(out);
    return rc;
}

static void check_parity(lvlm_audit *a, const char *golden,
                         const lvlm_replay_options *options)
{
    checking c;
    lvlm_check *const check = begin(&c, a, LVLM_CHECK_REPLAY);
    lvlm_replay *const r = &check->replay;
    check->golden = golden;
    if (replay(r, a, golden, options, &check->error) < 0) {
        check->state =
            check->error.code == LVLM_ECHECK ? LVLM_CHECK_FAILED : LVLM_CHECK_ERROR;
        return;
    }
    check->n = r->n_stages;
    check->n_failed = r->n_failed;
    if (r->n_failed > 0) check->state = LVLM_CHECK_FAILED;
}

/* ---- all of it ------------------------------------------------------------------ */

/* The header of the file is damaged: that is what the checksum finds. */
static void list_damaged(lvlm_audit *a, const char *const *goldens, size_t n,
                         const lvlm_error *damage)
{
    checking c;
    lvlm_check *const first = begin(&c, a, LVLM_CHECK_CHECKSUM);
    first->state = LVLM_CHECK_FAILED;
    first->n = first->n_failed = 1;
    first->error = *damage;
    begin(&c, a, LVLM_CHECK_SCHEMA)->state = LVLM_CHECK_SKIPPED;
    begin(&c, a, LVLM_CHECK_PROJECTIONS)->state = LVLM_CHECK_SKIPPED;
    for (size_t i = 0; i < n; i++) {
        lvlm_check *const check = begin(&c, a, LVLM_CHECK_REPLAY);
        check->state = LVLM_CHECK_SKIPPED;
        check->golden = goldens[i];
    }
}

static void find_worst(lvlm_audit *a)
{
    const lvlm_check *failed = NULL, *error = NULL;
    for (size_t i = a->n_checks; i > 0; i--) {
        const lvlm_check *const check = &a->checks[i - 1];
        a->n_passed += check->state == LVLM_CHECK_PASSED;
        if (check->state == LVLM_CHECK_FAILED) failed = check;
        if (check->state == LVLM_CHECK_ERROR) error = check;
    }
    a->worst = error != NULL ? error : failed;
}

static int check_all(lvlm_audit *a, const char *const *goldens, size_t n,
                     const lvlm_audit_options *options, lvlm_error *err)
{
    a->checks = lvlm_arena_alloc(&a->arena, LVLM_CHECK_REPLAY + n, sizeof *a->checks);
    if (a->checks == NULL) return lvlm_fail_memory(err);
    const int rc =
        lvlm_manifest_open(&a->manifest, &a->checkpoint, a->model, options->notes, err);
    if (rc == LVLM_EFORMAT && a->checkpoint == NULL && lvlm_native_claims(a->model)) {
        list_damaged(a, goldens, n, err);
        return 0;
    }
    TRY(rc);
    TRY(check_digests(a, &options->checksum, err));
    TRY(check_schema(a, err));
    TRY(check_projections(a, err));
    for (size_t i = 0; i < n; i++) check_parity(a, goldens[i], &options->replay);
    return 0;
}

int lvlm_audit_run(lvlm_audit *out, const char *model, const char *const *goldens,
                   size_t n_goldens, const lvlm_audit_options *options, lvlm_error *err)
{
    *out = (lvlm_audit){ .model = model, .options = options->replay };
    const int rc = check_all(out, goldens, n_goldens, options, err);
    if (rc < 0)
        lvlm_audit_free(out);
    else
        find_worst(out);
    return rc;
}

void lvlm_audit_free(lvlm_audit *audit)
{
    for (size_t i = 0; audit->checks != NULL && i < audit->n_checks; i++)
        lvlm_replay_free(&audit->checks[i].replay);
    lvlm_manifest_free(&audit->manifest);
    lvlm_checkpoint_close(audit->checkpoint);
    lvlm_arena_free(&audit->arena);
    *audit = (lvlm_audit){ 0 };
}
