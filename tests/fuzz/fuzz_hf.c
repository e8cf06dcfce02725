/* fuzz_hf.c - a Hugging Face directory: { "texts": { NAME: JSON or text, .. },
 * "shards": { NAME: { "metadata", "tensors" }, .. } }, converted, read, written back,
 * compared. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "convert/export.h"
#include "convert/import.h"
#include "formats/base/alloc.h"
#include "tests/fuzz/fuzz_kit.h"
#include "verify/compare/compare.h"

static void no_row(void *user, const lvlm_comparison *comparison)
{
    (void)user;
    (void)comparison;
}

static const char *path_in(char name[256], const char *file)
{
    (void)snprintf(name, 256, "hf/%.200s", file);
    return name;
}

static void write_files(const cJSON *json)
{
    const cJSON *const texts = lvlm_json_get(json, "texts"), *item;
    char name[256];
    LVLM_JSON_MEMBERS (item, texts) {
        char *const text = kit_text(texts, item->string);
        if (text != NULL)
            (void)kit_write(path_in(name, item->string), text, strlen(text));
        lvlm_free(text);
    }
    LVLM_JSON_MEMBERS (item, lvlm_json_get(json, "shards")) {
        lvlm_strbuf file = LVLM_STRBUF_INIT(16 << 20);
        if (kit_safetensors(&file, item))
            (void)kit_write(path_in(name, item->string), file.text, file.length);
        lvlm_strbuf_free(&file);
    }
}

/* Export to the source layout restores the source's bytes. */
static void back(const char *native)
{
    const lvlm_export_options options = { .source = true };
    const lvlm_run writing = { .threads = 1 };
    const lvlm_compare_options compare = { .row = no_row };
    lvlm_compare_result result;
    lvlm_checkpoint *a = NULL, *b = NULL;
    lvlm_export *ex = NULL;
    lvlm_outdir *const dir = kit_outdir("back", &lvlm_model_set);
    lvlm_error err;
    if (lvlm_export_plan(&ex, native, &options, &err) < 0 ||
        lvlm_export_execute(ex, dir, &writing, &err) < 0 ||
        lvlm_checkpoint_open(&a, kit_path("hf"), NULL, &err) < 0 ||
        lvlm_checkpoint_open(&b, kit_path("back"), NULL, &err) < 0 ||
        lvlm_compare(&result, a, b, &compare, &err) < 0) {
        (void)fprintf(stderr, "%s\n", err.text);
        abort();
    }
    if (result.n_differ > 0) abort();
    lvlm_compare_free(&result);
    lvlm_checkpoint_close(a);
    lvlm_checkpoint_close(b);
    lvlm_outdir_close(dir);
    lvlm_export_free(ex);
    kit_remove("back");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const lvlm_import_options options = { 0 };
    const lvlm_run run = { .threads = 1 };
    char root[LVLM_DIGEST_HEX + 1];
    lvlm_import *import = NULL;
    lvlm_outfile *const file = kit_outfile("m.lvlm");
    cJSON *const json = kit_parse(data, size);
    write_files(json);
    if (lvlm_import_plan(&import, kit_path("hf"), &options, NULL) == 0 &&
        lvlm_import_execute(import, file, &run, root, NULL) == 0)
        back(kit_path("m.lvlm"));
    lvlm_outfile_close(file);
    lvlm_import_free(import);
    kit_remove("m.lvlm");
    kit_remove("hf");
    lvlm_json_free(json);
    return 0;
}
