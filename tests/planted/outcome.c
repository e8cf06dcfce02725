/* outcome.c - see outcome.h. */
#include "tests/planted/outcome.h"

#include <math.h>
#include <stdio.h>

#include "formats/base/text.h"
#include "tests/convert/converted.h"
#include "verify/replay/replay_parts.h"

/* ---- planting -------------------------------------------------------------------- */

static void change(plant *p, const kind *k, const lvlm_target *t)
{
    const lvlm_target *const o = k->other != NULL ? kind_other(p, t, k->other) : NULL;
    if (k->other != NULL && o == NULL) return;
    if (k->whole != NULL) {
        k->whole(p, t, o, k->by);
        return;
    }
    plant_values v = plant_read(p, t), w = { .x = NULL };
    if (o != NULL) w = plant_read(p, o);
    if (o != NULL && v.n != w.n) return;
    k->values(&v, o != NULL ? &w : NULL, k->by);
    plant_write(&v);
    if (o != NULL) plant_write(&w);
}

/* Is anything wrong then? */
static bool plant_kind(plant *p, const kind *k)
{
    const lvlm_target *last = NULL;
    if (k->settings != NULL)
        return (k->where == NULL ||
                lvlm_matches_listed(k->where, p->manifest.family->name)) &&
               plant_set(p, k->settings) && plant_is_wrong(p);
    for (size_t i = 0; i < p->manifest.n_targets; i++) {
        const lvlm_target *const t = &p->manifest.targets[i];
        if (t->state != LVLM_TARGET_FOUND || !lvlm_matches_listed(k->where, t->name))
            continue;
        last = t;
        if (k->every) change(p, k, t);
    }
    if (last != NULL && !k->every) change(p, k, last);
    return plant_is_wrong(p);
}

/* ---- the stage that it must be --------------------------------------------------- */

static bool has_changed(plant *p, const lvlm_target *t)
{
    const lvlm_tensor *const now = plant_tensor(p, t), *const was = t->here.tensor;
    if (now->dtype != was->dtype) return true;
    const plant_values v = plant_read(p, t);
    const size_t width = lvlm_dtype_bytes(was->dtype);
    for (size_t i = 0; i < v.n; i++)
        if (memcmp(now->data + v.places[i] * width, was->data + v.places[i] * width,
                   width) != 0)
            return true;
    return false;
}

/* The first tensor, in order of use, whose values are others; NULL: none. */
static const lvlm_target *first_changed(plant *p)
{
    for (size_t i = 0; i < p->manifest.n_targets; i++) {
        const lvlm_target *const t = &p->manifest.targets[i];
        if (t->state == LVLM_TARGET_FOUND && has_changed(p, t)) return t;
    }
    return NULL;
}

/* Stages outside of blocks and the tensors that feed them. */
static const struct {
    const char *tensors, *stage;
} feeds[] = {
    { "vision.patch.*", "vision.patches" },
    { "vision.norm.*", "vision.out" },
    { "vision.norm_post.*|vision.post_tile.*", "vision.global_blocks.0" },
    { "vision.class|vision.positions.*|vision.pre_tile.*|vision.norm_pre.*",
      "vision.embed" },
    { "connector.norm.*", "connector.norm" },
    { "connector.norm_out.*", "connector.ln_post" },
    { "connector.proj.*|connector.fc*", "connector.out" },
    { "connector.*", "connector.attn" },
    { "text.embed.*", "text.embed" },
    { "text.norm.*", "text.norm" },
    { "text.head.*", "logits" },
};

/* The stage that a tensor feeds. */
static void stage_of(char stage[STAGE], const lvlm_replay *r, const char *tensor)
{
    const char *const block = strstr(tensor, "blocks.");
    size_t i = 0;
    if (block != NULL) {
        const char *const number = block + strlen("blocks.");
        (void)snprintf(stage, STAGE, "%.*s",
                       (int)(number - tensor + (long)strcspn(number, ".")), tensor);
        return;
    }
    if (lvlm_starts_with(tensor, "connector.fc")) {
        (void)snprintf(stage, STAGE, "connector.linear_%c",
                       tensor[strlen("connector.fc")]);
        if (lvlm_replay_find(r, stage) != NULL) return;
    }
    while (!lvlm_matches_listed(feeds[i].tensors, tensor)) i++;
    (void)snprintf(stage, STAGE, "%s", feeds[i].stage);
}

/* Is it the one that the kind expects? */
static void expect_stage(outcome *out, const lvlm_replay *r, const kind *k, plant *p)
{
    const lvlm_target *const t = first_changed(p);
    if (k->stage != NULL)
        (void)snprintf(out->expected, sizeof out->expected, "%s", k->stage);
    else
        stage_of(out->expected, r, t != NULL ? t->name : "text.norm.none");
    out->is_expected = lvlm_matches_listed(out->expected, out->stage);
}

/* ---- what catches it ------------------------------------------------------------- */

/* Converts the planted folder. False: refused. */
static bool convert(const char *source, const char *native)
{
    const lvlm_import_options options = { 0 };
    const lvlm_run run = { .threads = 1 };
    lvlm_outfile *const file = open_outfile(native);
    char root[LVLM_DIGEST_HEX + 1];
    lvlm_import *import = NULL;
    lvlm_error err;
    int rc = lvlm_import_plan(&import, source, &options, &err);
    if (rc == 0) rc = lvlm_import_execute(import, file, &run, root, &err);
    lvlm_outfile_close(file);
    lvlm_import_free(import);
    return rc == 0;
}

static void size_text(char text[16], double error)
{
    if (isfinite(error) && error > 0)
        (void)snprintf(text, 16, "1e%d", (int)floor(log10(error)));
    else
        (void)snprintf(text, 16, "%s", error == 0 ? "0" : "not finite");
}

static void judge(outcome *out, const lvlm_replay *r, const kind *k, plant *p,
                  bool grads)
{
    const lvlm_replay_stage *bad = r->first_bad;
    out->by = CAUGHT_BY_NOTHING;
    if (bad == NULL) return;
    if (bad->verdict == LVLM_VERDICT_OUT && r->cause != NULL) bad = r->cause;
    out->by = grads ? CAUGHT_BY_GRADS : CAUGHT_BY_REPLAY;
    out->cause = name_cause(k, r);
    (void)snprintf(out->stage, sizeof out->stage, "%s", bad->name);
    if (bad->verdict == LVLM_VERDICT_OUT)
        size_text(out->size, bad->share.known ? bad->share.own : bad->error);
    else
        (void)snprintf(out->size, sizeof out->size, "%s",
                       lvlm_verdict_name(bad->verdict));
    if (!grads) expect_stage(out, r, k, p);
}

static void replay(outcome *out, const kind *k, const fixture *f, plant *p,
                   const char *native)
{
    lvlm_replay r;
    lvlm_error err;
    for (int grads = 0; grads <= 1 && out->by <= CAUGHT_BY_NOTHING; grads++) {
        const lvlm_replay_options options = { .threads = 1, .grads = grads != 0 };
        if (lvlm_replay_run(&r, native, f->golden64, &options, &err) < 0) {
            out->by = CAUGHT_BY_REFUSAL;
            return;
        }
        judge(out, &r, k, p, grads != 0);
        lvlm_replay_free(&r);
    }
}

static cJSON *canonical(const lvlm_family *family, const cJSON *config)
{
    const lvlm_family *detected = NULL;
    cJSON *out = NULL;
    if (lvlm_family_detect(&detected, config, NULL) < 0 || detected != family ||
        lvlm_family_config(&out, family, config, NULL) < 0)
        return NULL;
    return out;
}

/* Do the settings come down to the same ones? Not if they are refused. */
static bool is_read_equal(const plant *p)
{
    cJSON *const a = canonical(p->manifest.family, p->right);
    cJSON *const b = canonical(p->manifest.family, p->config);
    const bool equal = a != NULL && b != NULL && cJSON_Compare(a, b, true) != 0;
    lvlm_json_free(a);
    lvlm_json_free(b);
    return equal;
}

outcome plant_and_replay(const kind *k, const fixture *f, scratch *s)
{
    outcome out = {
        .by = NOT_PLANTED, .in = f, .is_expected = true, .cause = name_none()
    };
    plant p;
    plant_open(&p, f->model);
    if (!plant_kind(&p, k)) {
        plant_close(&p);
        return out;
    }
    scratch_tree(s, (scratch_file[]){ { "/wrong/config.json", "" } }, 1);
    plant_save(&p, scratch_path(s, "wrong"));
    const char *const native = scratch_path(s, "wrong.lvlm");
    (void)remove(native);
    if (k->settings != NULL && is_read_equal(&p))
        out.by = NOT_READ;
    else if (convert(scratch_path(s, "wrong"), native))
        replay(&out, k, f, &p, native);
    else
        out.by = CAUGHT_BY_HF2NATIVE;
    plant_close(&p);
    return out;
}
