/* api_rederive.c - converts a source again and compares the result with a native file.
 *
 *   provenance and ledger -> how it was converted -> the same again, to a scratch file
 *     -> root digests, or else tensors, configuration and ledger one by one */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "convert/import.h"
#include "formats/base/json.h"
#include "formats/base/outfile.h"
#include "formats/base/temporary.h"
#include "formats/native/history.h"
#include "formats/native/native.h"
#include "formats/native/rewrite.h"
#include "verify/api/api.h"

/* ---- how it was converted -------------------------------------------------------- */

/* From what lvlm_init_describe printed. */
static int read_init(lvlm_init *out, const char *how, lvlm_error *err)
{
    static const char normal[] = "normal, std ";
    char text[96];
    const char *const seed = strstr(how, ", seed ");
    const size_t n = seed != NULL ? (size_t)(seed - how) : strlen(how);
    FAIL_IF(n >= sizeof text, err, LVLM_EUSAGE, "made by '%.60s', which is not known",
            how);
    memcpy(text, how, n);
    text[n] = '\0';
    const uint64_t number =
        seed != NULL ? strtoull(seed + strlen(", seed "), NULL, 10) : 0;
    if (strncmp(text, normal, strlen(normal)) == 0) {
        char option[112];
        (void)snprintf(option, sizeof option, "normal:%s", text + strlen(normal));
        return lvlm_init_parse(out, "made", option, number, err);
    }
    return lvlm_init_parse(out, "made", text, number, err);
}

/* What was trained, merged or changed does not follow from the source; the weights that
 * the first step of a history began with do. */
static int check_origin(const lvlm_checkpoint *model, lvlm_error *err)
{
    const cJSON *const p = model->native->provenance;
    const char *const source = lvlm_json_string(lvlm_json_get(p, "source"));
    const char *const config = lvlm_json_string(lvlm_json_get(p, "config"));
    FAIL_IF(source == NULL || strcmp(source, "composed") == 0, err, LVLM_EUSAGE,
            "%s: was composed of parts: lvlm-convert compose makes it again",
            model->path);
    FAIL_IF(config != NULL && strcmp(config, "given") == 0, err, LVLM_EUSAGE,
            "%s: was converted with a config.json that was given beside its .npz",
            model->path);
    FAIL_IF(
        lvlm_provenance_changed(p) && lvlm_json_get(p, LVLM_PROVENANCE_HISTORY) == NULL,
        err, LVLM_EUSAGE,
        "%s: its values were changed after conversion, and it does not record which "
        "weights that began with",
        model->path);
    return 0;
}

static int read_options(lvlm_import_options *out, const lvlm_checkpoint *model,
                        lvlm_error *err)
{
    const cJSON *const p = model->native->provenance;
    const char *const dtype = lvlm_json_string(lvlm_json_get(p, "dtype"));
    const lvlm_ledger *const ledger = &model->native->ledger;
    TRY(check_origin(model, err));
    out->npz =
        strcmp(lvlm_json_string(lvlm_json_get(p, "source")), "big_vision npz") == 0;
    out->change_dtype = dtype != NULL && lvlm_dtype_from_name(&out->dtype, dtype);
    if (ledger->n_made == 0) return 0;
    return lvlm_within(read_init(&out->init, ledger->made[0].how, err), err,
                       "%s: '%s': ", model->path, ledger->made[0].target);
}

/* ---- comparing ------------------------------------------------------------------ */

static bool same_tensor(const lvlm_checkpoint *a, const lvlm_tensor *x,
                        const lvlm_checkpoint *b, const lvlm_tensor *y)
{
    return y != NULL && x->dtype == y->dtype &&
           lvlm_shape_equal(&x->shape, &y->shape) &&
           strcmp(lvlm_native_digest_of(a, x), lvlm_native_digest_of(b, y)) == 0;
}

/* Both have every tensor of the other, and the same account. */
static int compare_contents(const lvlm_checkpoint *model, const lvlm_checkpoint *again,
                            lvlm_error *err)
{
    static const char *const keys[] = { "family", "config", "ledger" };
    const char *first = NULL;
    size_t n = 0;
    for (size_t i = 0; i < model->n_tensors; i++) {
        const lvlm_tensor *const x = &model->tensors[i];
        if (same_tensor(model, x, again, lvlm_checkpoint_find(again, x->name)))
            continue;
        if (n++ == 0) first = x->name;
    }
    for (size_t i = 0; i < again->n_tensors; i++) {
        const char *const name = again->tensors[i].name;
        if (lvlm_checkpoint_find(model, name) != NULL) continue;
        if (n++ == 0) first = name;
    }
    FAIL_IF(n > 0, err, LVLM_ECHECK,
            "%s: %zu tensor%s %s not what the source gives, first '%s'", model->path, n,
            n == 1 ? "" : "s", n == 1 ? "is" : "are", first);
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        FAIL_IF(strcmp(lvlm_checkpoint_meta(model, keys[i]),
                       lvlm_checkpoint_meta(again, keys[i])) != 0,
                err, LVLM_ECHECK, "%s: its %s is not what the source gives",
                model->path, keys[i]);
    return 0;
}

/* Is `again` what the first step of the model's history began with? */
static int compare_base(const lvlm_checkpoint *model, const lvlm_checkpoint *again,
                        lvlm_error *err)
{
    const cJSON *const first = lvlm_json_first_item(
        lvlm_json_get(model->native->provenance, LVLM_PROVENANCE_HISTORY));
    const char *const base = lvlm_json_string(lvlm_json_get(first, "base"));
    lvlm_hex_digest weights;
    TRY(lvlm_native_weights_digest(weights, again, err));
    FAIL_IF(base == NULL || strcmp(base, weights) != 0, err, LVLM_ECHECK,
            "%s: began with weights of the digest %.16s..., the source gives %.16s...",
            model->path, base != NULL ? base : "(none)", weights);
    return 0;
}

static int compare(lvlm_rederived *out, const lvlm_checkpoint *model,
                   const char *scratch, const char *root, lvlm_error *err)
{
    const bool has_steps =
        lvlm_json_get(model->native->provenance, LVLM_PROVENANCE_HISTORY) != NULL;
    lvlm_checkpoint *again = NULL;
    if (!has_steps && strcmp(lvlm_checkpoint_meta(model, "root"), root) == 0) {
        *out = LVLM_REDERIVED_FILE;
        return 0;
    }
    TRY(lvlm_checkpoint_open(&again, scratch, NULL, err));
    const int rc = has_steps ? compare_base(model, again, err)
                             : compare_contents(model, again, err);
    if (rc == 0) *out = has_steps ? LVLM_REDERIVED_BASE : LVLM_REDERIVED_CONTENTS;
    lvlm_checkpoint_close(again);
    return rc;
}

/* ---- the call ------------------------------------------------------------------- */

static int convert(lvlm_hex_digest root, const char *source, const char *scratch,
                   const lvlm_import_options *chosen, size_t threads, lvlm_error *err)
{
    lvlm_import *import = NULL;
    lvlm_outfile *file = NULL;
    int rc = lvlm_outfile_open(&file, scratch, false, err);
    if (rc == 0) rc = api_import(&import, source, file, chosen, threads, root, err);
    lvlm_import_free(import);
    if (file != NULL) lvlm_outfile_close(file);
    return rc;
}

int lvlm_rederive(lvlm_rederived *out, const char *source, const char *model,
                  const char *scratch, const lvlm_convert_options *options,
                  lvlm_error *err)
{
    static const lvlm_convert_options plain;
    const lvlm_convert_options *const o = options != NULL ? options : &plain;
    api_notes notes = { LVLM_NOTES_INIT, o->note, o->user };
    lvlm_import_options chosen = { .notes = &notes.list };
    lvlm_manifest manifest = { 0 };
    lvlm_checkpoint *native = NULL;
    lvlm_hex_digest root;
    int rc = lvlm_manifest_open(&manifest, &native, model, &notes.list, err);
    if (rc == 0) rc = read_options(&chosen, native, err);
    if (rc == 0) {
        rc = convert(root, source, scratch, &chosen, api_threads(o->threads), err);
        if (rc == 0) {
            rc = compare(out, native, scratch, root, err);
            lvlm_temporary_remove(scratch, -1);
        }
    }
    lvlm_manifest_free(&manifest);
    lvlm_checkpoint_close(native);
    api_notes_end(&notes);
    return rc;
}
