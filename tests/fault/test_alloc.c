/* test_alloc.c - fails the first, second, third ... allocation of every operation on
 * files: an error is returned, nothing leaks, no file is left. Operations that compute:
 * test_alloc_models.c. */
#include "convert/compose/compose.h"
#include "convert/export.h"
#include "formats/base/alloc.h"
#include "formats/base/json.h"
#include "tests/fault/torture_models.h"
#include "tests/support/merged.h"
#include "verify/checksum.h"
#include "verify/compare/compare.h"

/* ---- operations ----------------------------------------------------------------- */

static int parse_and_print(scratch *s, lvlm_error *err)
{
    static const char text[] = "{\"a\":[1,2.5,{\"b\":\"text\"}],\"c\":null,\"d\":true}";
    cJSON *json = NULL;
    char *printed = NULL;
    (void)s;
    int rc = lvlm_json_parse(&json, text, sizeof text - 1, err);
    if (rc == 0) rc = lvlm_json_print_pretty(&printed, json, err);
    lvlm_free(printed);
    lvlm_json_free(json);
    return rc;
}

/* An absent target is still absent after an error. */
static int save_new_file(scratch *s, lvlm_error *err)
{
    const char *path = scratch_path(s, "new");
    const int rc = lvlm_outfile_save(path, "text", 4, false, err);
    if (rc == 0) assert_int_equal(unlink(path), 0);
    return rc;
}

static int save_new_directory(scratch *s, lvlm_error *err)
{
    const char *path = scratch_path(s, "newdir");
    lvlm_outdir *dir = NULL;
    int rc = lvlm_outdir_open(&dir, path, false, NULL, err);
    for (int i = 0; i < 3 && rc == 0; i++) {
        char file[2 * SCRATCH_PATH];
        (void)snprintf(file, sizeof file, "%s/%d", lvlm_outdir_path(dir), i);
        rc = lvlm_outfile_save(file, "text", 4, false, err);
    }
    if (rc == 0) rc = lvlm_outdir_commit(dir, err);
    lvlm_outdir_close(dir);
    if (rc == 0) remove_files(s, "newdir");
    return rc;
}

static int read_and_print_a_ledger(scratch *s, lvlm_error *err)
{
    static const char text[] =
        "{\"files\":[{\"name\":\"m.safetensors\",\"bytes\":40}],\"tensors\":[{"
        "\"name\":\"t\",\"file\":0,\"offset\":8,\"dtype\":\"F32\",\"shape\":[6],"
        "\"use\":\"used\",\"targets\":[\"a\",\"b\",\"c\"],\"transform\":{\"axes\":"
        "[3,2],\"select\":1,\"order\":[1]}}],\"made\":[{\"target\":\"d\",\"how\":"
        "\"zeros\"}]}";
    lvlm_arena arena = LVLM_ARENA_INIT;
    lvlm_strbuf printed = LVLM_STRBUF_INIT(4096);
    lvlm_ledger ledger;
    (void)s;
    int rc = lvlm_ledger_read(&ledger, text, strlen(text), &arena, err);
    if (rc == 0) lvlm_ledger_print(&printed, &ledger);
    if (rc == 0) rc = lvlm_strbuf_check(&printed, err);
    if (rc == 0) assert_string_equal(printed.text, text);
    lvlm_strbuf_free(&printed);
    lvlm_arena_free(&arena);
    return rc;
}

static int open_and_account(const char *path, lvlm_error *err)
{
    lvlm_checkpoint *cp = NULL;
    lvlm_manifest m;
    int rc = lvlm_checkpoint_open(&cp, path, NULL, err);
    if (rc == 0 && (rc = lvlm_manifest_build(&m, cp, err)) == 0) {
        (void)lvlm_manifest_problems(&m, NULL, NULL);
        lvlm_manifest_free(&m);
    }
    lvlm_checkpoint_close(cp);
    return rc;
}

static int open_directory(scratch *s, lvlm_error *err)
{
    (void)s;
    return open_and_account(HUB, err);
}

static int open_shards(scratch *s, lvlm_error *err)
{
    (void)s;
    return open_and_account(SHARDED, err);
}

static int open_torch_zip(scratch *s, lvlm_error *err)
{
    (void)s;
    return open_and_account(TORCH "/views", err);
}

static int open_torch_legacy(scratch *s, lvlm_error *err)
{
    (void)s;
    return open_and_account(TORCH "/legacy", err);
}

static int open_torch_shards(scratch *s, lvlm_error *err)
{
    (void)s;
    return open_and_account(TORCH "/sharded", err);
}

static int open_npz_stored(scratch *s, lvlm_error *err)
{
    (void)s;
    return open_and_account(NPZ "/paligemma-odd.npz", err);
}

static int open_npz_packed(scratch *s, lvlm_error *err)
{
    (void)s;
    return open_and_account(NPZ "/packed.npz", err);
}

/* Members that are inflated. */
static int inflate_archive(scratch *s, lvlm_error *err)
{
    lvlm_infile *file = NULL;
    lvlm_arena arena = LVLM_ARENA_INIT;
    lvlm_zip zip;
    unsigned char bytes[1024];
    (void)s;
    int rc = lvlm_infile_open(&file, TORCH "/hostile/packed.bin", err);
    if (rc == 0) rc = lvlm_zip_read(&zip, file, &arena, err);
    for (size_t i = 0; rc == 0 && i < zip.n_members; i++) {
        assert_true(zip.members[i].n_bytes <= sizeof bytes);
        rc = lvlm_zip_inflate(bytes, &zip.members[i], file, err);
    }
    lvlm_arena_free(&arena);
    lvlm_infile_close(file);
    return rc;
}

static int open_native(scratch *s, lvlm_error *err)
{
    return open_and_account(scratch_path(s, "model.lvlm"), err);
}

static int import_hub(scratch *s, lvlm_error *err)
{
    return import(HUB, scratch_path(s, "model.lvlm"), err); /* replaces it */
}

static int import_new(scratch *s, lvlm_error *err)
{
    const char *path = scratch_path(s, "new.lvlm");
    const int rc = import(SHARDED, path, err);
    if (rc == 0) assert_int_equal(unlink(path), 0);
    return rc;
}

static int compose(scratch *s, lvlm_error *err)
{
    const lvlm_run run = { .threads = 1 };
    lvlm_hex_digest root;
    lvlm_outfile *file = NULL;
    lvlm_compose c = { 0 };
    const char *const path = scratch_path(s, "composed.lvlm");
    const lvlm_import_options options = { .headers_only = false };
    int rc = lvlm_compose_plan(&c, PARTS "/spec.json", &options, err);
    if (rc == 0) rc = lvlm_outfile_open(&file, path, true, err);
    if (rc == 0) rc = lvlm_import_execute(c.import, file, &run, root, err);
    lvlm_outfile_close(file);
    lvlm_compose_free(&c);
    if (rc == 0) assert_int_equal(unlink(path), 0);
    return rc;
}

static int export_new(scratch *s, lvlm_error *err)
{
    const lvlm_export_options options = { .source = true };
    const lvlm_run writing = { .threads = 1 };
    lvlm_outdir *out = NULL;
    lvlm_export *ex = NULL;
    int rc = lvlm_export_plan(&ex, scratch_path(s, "model.lvlm"), &options, err);
    if (rc == 0)
        rc = lvlm_outdir_open(&out, scratch_path(s, "newdir"), false, &lvlm_model_set,
                              err);
    if (rc == 0) rc = lvlm_export_execute(ex, out, &writing, err);
    lvlm_outdir_close(out);
    lvlm_export_free(ex);
    if (rc == 0) remove_files(s, "newdir");
    return rc;
}

static int export_in(scratch *s, bool source, lvlm_error *err)
{
    const lvlm_export_options options = { .source = source, .max_shard = 20000 };
    const lvlm_run writing = { .threads = 1 };
    lvlm_outdir *out = NULL;
    lvlm_export *ex = NULL;
    int rc = lvlm_export_plan(&ex, scratch_path(s, "model.lvlm"), &options, err);
    if (rc == 0)
        rc = lvlm_outdir_open(&out, scratch_path(s, "dir"), true, &lvlm_model_set, err);
    if (rc == 0) rc = lvlm_export_execute(ex, out, &writing, err);
    lvlm_outdir_close(out);
    lvlm_export_free(ex);
    return rc;
}

static int export_source(scratch *s, lvlm_error *err)
{
    return export_in(s, true, err);
}

static int export_shards(scratch *s, lvlm_error *err)
{
    return export_in(s, false, err);
}

static int merge_one(scratch *s, lvlm_error *err)
{
    const char *path = scratch_path(s, "new.lvlm");
    const char *const model = scratch_path(s, "adapted.lvlm");
    lvlm_fold_cost cost;
    lvlm_outfile *file = NULL;
    int rc = lvlm_outfile_open(&file, path, false, err);
    if (rc == 0) rc = merge_adapter(&cost, model, ADAPTER, file, 1, err);
    lvlm_outfile_close(file);
    if (rc == 0) assert_int_equal(unlink(path), 0);
    return rc;
}

static int write_adapter(scratch *s, lvlm_error *err)
{
    lvlm_outdir *out = NULL;
    lvlm_checkpoint *cp = NULL;
    lvlm_manifest manifest;
    lvlm_adapter adapter = { .n = 0 };
    int rc =
        lvlm_manifest_open(&manifest, &cp, scratch_path(s, "adapted.lvlm"), NULL, err);
    if (rc == 0) rc = lvlm_adapter_open(&adapter, ADAPTER, &manifest, err);
    if (rc == 0)
        rc = lvlm_outdir_open(&out, scratch_path(s, "newdir"), false, &lvlm_adapter_set,
                              err);
    if (rc == 0) rc = lvlm_adapter_save(&adapter, out, err);
    lvlm_outdir_close(out);
    lvlm_adapter_free(&adapter);
    lvlm_manifest_free(&manifest);
    lvlm_checkpoint_close(cp);
    if (rc == 0) remove_files(s, "newdir");
    return rc;
}

static void ignore_row(void *user, const lvlm_comparison *comparison)
{
    (void)user;
    (void)comparison;
}

static int check_and_compare(scratch *s, lvlm_error *err)
{
    const lvlm_run run = { .threads = 1 };
    const lvlm_compare_options compare = { .row = ignore_row };
    lvlm_compare_result result;
    lvlm_checkpoint *a = NULL, *b = NULL;
    size_t n_corrupt = 0;
    int rc;
    if ((rc = lvlm_checkpoint_open(&a, scratch_path(s, "model.lvlm"), NULL, err)) ==
            0 &&
        (rc = lvlm_checkpoint_open(&b, HUB, NULL, err)) == 0 &&
        (rc = lvlm_checksum(&n_corrupt, a, NULL, NULL, &run, err)) == 0)
        rc = lvlm_compare(&result, a, b, &compare, err);
    if (b != NULL && rc == 0) lvlm_compare_free(&result);
    lvlm_checkpoint_close(a);
    lvlm_checkpoint_close(b);
    return rc;
}

static void failing_allocations_are_reported(void **state)
{
    static const torture_row all[] = {
        { "parse_and_print", parse_and_print },
        { "save_new_file", save_new_file },
        { "save_new_directory", save_new_directory },
        { "read_and_print_a_ledger", read_and_print_a_ledger },
        { "open_directory", open_directory },
        { "open_shards", open_shards },
        { "open_torch_zip", open_torch_zip },
        { "open_torch_legacy", open_torch_legacy },
        { "open_torch_shards", open_torch_shards },
        { "open_npz_stored", open_npz_stored },
        { "open_npz_packed", open_npz_packed },
        { "inflate_archive", inflate_archive },
        { "open_native", open_native },
        { "import_hub", import_hub },
        { "import_new", import_new },
        { "compose", compose },
        { "export_new", export_new },
        { "export_source", export_source },
        { "export_shards", export_shards },
        { "merge_adapter", merge_one },
        { "write_adapter", write_adapter },
        { "check_and_compare", check_and_compare },
    };
    (void)state;
    torture_models(all, sizeof all / sizeof *all, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(failing_allocations_are_reported),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
