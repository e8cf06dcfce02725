/* fuzz_native.c - a native file that is assembled from its parts (kit_native). If it
 * opens, the command that "use" names reads it. */
#include <string.h>

#include "convert/export.h"
#include "formats/adapter/adapter_fold.h"
#include "formats/base/alloc.h"
#include "formats/native/rewrite.h"
#include "runtime/model.h"
#include "tests/fuzz/fuzz_kit.h"
#include "verify/checksum.h"
#include "verify/compare/compare.h"
#include "verify/projections.h"

static const uint64_t id_values[] = { 1, 2, 3 };

static void no_row(void *user, const lvlm_comparison *comparison)
{
    (void)user;
    (void)comparison;
}

static int no_stage(void *user, const lvlm_tensor *stage, lvlm_error *err)
{
    (void)user;
    (void)stage;
    (void)err;
    return 0;
}

/* `max_shard` 1: one file per tensor. */
static void export(const char *path, bool source, lvlm_layout layout,
                   uint64_t max_shard)
{
    const lvlm_export_options options = { .source = source,
                                          .layout = layout,
                                          .max_shard = max_shard };
    const lvlm_run writing = { .threads = 1 };
    lvlm_export *ex = NULL;
    lvlm_outdir *const dir = kit_outdir("out", &lvlm_model_set);
    if (lvlm_export_plan(&ex, path, &options, NULL) == 0)
        (void)!lvlm_export_execute(ex, dir, &writing, NULL);
    lvlm_outdir_close(dir);
    lvlm_export_free(ex);
    kit_remove("out");
}

static void run(const char *path)
{
    lvlm_tensor ids = { .name = "input_ids",
                        .dtype = LVLM_I64,
                        .shape = { 2, { 1, 3 } },
                        .data = (const unsigned char *)id_values,
                        .n_bytes = sizeof id_values };
    const lvlm_tensor *by_name = &ids;
    const lvlm_checkpoint inputs = { .kind = LVLM_CHECKPOINT_PLAIN,
                                     .tensors = &ids,
                                     .n_tensors = 1,
                                     .by_name = &by_name };
    const lvlm_model_options options = { .threads = 1 };
    const lvlm_stage_sink sink = { .take = no_stage };
    lvlm_model *model = NULL;
    if (lvlm_model_open(&model, path, &options, NULL) == 0)
        (void)!lvlm_model_forward(model, &inputs, "", &sink, NULL);
    lvlm_model_free(model);
}

/* Rewritten without changes, by the code of training and merging. */
static void rewrite(const lvlm_manifest *manifest)
{
    const lvlm_adapter_config config = { .r = 1, .alpha = 1 };
    lvlm_adapter adapter = { 0 };
    lvlm_fold_cost cost;
    const lvlm_run run = { .threads = 1 };
    if (lvlm_adapter_begin(&adapter, manifest, &config, NULL) == 0) {
        lvlm_outfile *const file = kit_outfile("again.lvlm");
        (void)!lvlm_fold_save(&cost, &adapter, 0, file, &run, NULL);
        lvlm_outfile_close(file);
    }
    lvlm_adapter_free(&adapter);
    kit_remove("again.lvlm");
}

static void account(const lvlm_checkpoint *cp)
{
    lvlm_manifest manifest;
    if (lvlm_manifest_build(&manifest, cp, NULL) == 0) {
        lvlm_projection_state state;
        lvlm_projection_cursor cursor = { 0 };
        while (lvlm_projections_next(&state, &manifest, &cursor)) continue;
        rewrite(&manifest);
    }
    lvlm_manifest_free(&manifest);
}

static void check(const lvlm_checkpoint *cp)
{
    const lvlm_run run = { .threads = 1 };
    size_t n_corrupt;
    (void)!lvlm_checksum(&n_corrupt, cp, NULL, NULL, &run, NULL);
    account(cp);
}

static void compare(const lvlm_checkpoint *cp)
{
    const lvlm_compare_options options = { .row = no_row };
    lvlm_compare_result result;
    if (lvlm_compare(&result, cp, cp, &options, NULL) == 0) lvlm_compare_free(&result);
}

/* "use" names one thing to do with the file, so that a run is short. */
static void use(const char *path, const char *what)
{
    lvlm_checkpoint *cp = NULL;
    if (lvlm_checkpoint_open(&cp, path, NULL, NULL) < 0) return;
    /* its metadata may describe another kind of file */
    if (cp->kind != LVLM_CHECKPOINT_NATIVE) what = "compare";
    if (strcmp(what, "compare") == 0)
        compare(cp);
    else if (strcmp(what, "source") == 0)
        export(path, true, LVLM_LAYOUT_HUB, 0);
    else if (strcmp(what, "shards") == 0)
        export(path, false, LVLM_LAYOUT_HUB, 1);
    else if (strcmp(what, "current") == 0)
        export(path, false, LVLM_LAYOUT_CURRENT, UINT64_MAX);
    else if (strcmp(what, "run") == 0)
        run(path);
    else
        check(cp);
    lvlm_checkpoint_close(cp);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    lvlm_strbuf file = LVLM_STRBUF_INIT(16 << 20);
    cJSON *const json = kit_parse(data, size);
    const char *const what = lvlm_json_string(lvlm_json_get(json, "use"));
    if (kit_native(&file, json))
        use(kit_write("m.lvlm", file.text, file.length), what != NULL ? what : "check");
    kit_remove("m.lvlm");
    lvlm_strbuf_free(&file);
    lvlm_json_free(json);
    return 0;
}
