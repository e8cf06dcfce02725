/* converted.h - fixtures as native files, for tests. */
#ifndef LVLM_TESTS_CONVERT_CONVERTED_H
#define LVLM_TESTS_CONVERT_CONVERTED_H

#include <fnmatch.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "convert/import.h"
#include "formats/base/json.h"
#include "formats/base/outfile.h"
#include "formats/native/rewrite.h"
#include "tests/support/scratch.h"

/* Converts a Hugging Face directory; fails the test when it cannot. */
static inline void native_convert_as(const char *source, const char *native,
                                     const lvlm_import_options *options)
{
    const lvlm_run run = { .threads = 2 };
    char root[LVLM_DIGEST_HEX + 1];
    lvlm_outfile *const file = open_outfile(native);
    lvlm_import *import = NULL;
    lvlm_error err;
    if (lvlm_import_plan(&import, source, options, &err) < 0 ||
        lvlm_import_execute(import, file, &run, root, &err) < 0)
        fail_msg("%s: %s", source, err.text);
    lvlm_outfile_close(file);
    lvlm_import_free(import);
}

static inline void native_convert(const char *source, const char *native)
{
    const lvlm_import_options options = { 0 };
    native_convert_as(source, native, &options);
}

/* A checkpoint of any kind; fails the test when it cannot be opened. */
static inline lvlm_checkpoint *must_open(const char *path)
{
    lvlm_checkpoint *cp = NULL;
    lvlm_error err;
    if (lvlm_checkpoint_open(&cp, path, NULL, &err) < 0) fail_msg("%s", err.text);
    return cp;
}

/* The tensors that `glob` matches, and the change to their bytes. */
typedef struct native_edit {
    const char *glob;
    void (*change)(unsigned char *bytes, const lvlm_tensor *tensor);
} native_edit;

static inline bool native_edits(void *user, const lvlm_tensor *tensor)
{
    return fnmatch(((const native_edit *)user)->glob, tensor->name, 0) == 0;
}

static inline int native_edit_one(void *user, const lvlm_step *step, lvlm_sink *sink,
                                  lvlm_error *err)
{
    const lvlm_tensor *const tensor = step->inputs[0];
    unsigned char *const bytes = malloc((size_t)tensor->n_bytes);
    (void)err;
    assert_non_null(bytes);
    memcpy(bytes, tensor->data, (size_t)tensor->n_bytes);
    ((const native_edit *)user)->change(bytes, tensor);
    lvlm_sink_put(sink, tensor->dtype, bytes, (size_t)lvlm_tensor_numel(tensor));
    free(bytes);
    return 0;
}

/* Rewrites a native file, valid again, with `change` applied to the bytes of every
 * tensor that `glob` matches; at least one must. */
static inline void native_change(const char *native, const char *glob,
                                 void (*change)(unsigned char *bytes,
                                                const lvlm_tensor *tensor),
                                 const char *changed)
{
    native_edit edit = { glob, change };
    char root[LVLM_DIGEST_HEX + 1];
    lvlm_checkpoint *const cp = must_open(native);
    cJSON *provenance = NULL;
    lvlm_error err;
    size_t n = 0;
    if (lvlm_native_meta_json(&provenance, cp, "provenance", &err) < 0)
        fail_msg("%s", err.text);
    for (size_t i = 0; i < cp->n_tensors; i++)
        n += native_edits(&edit, &cp->tensors[i]);
    if (n == 0) fail_msg("%s: no such tensor", glob);
    const lvlm_rewrite rewrite = { .source = cp,
                                   .provenance = provenance,
                                   .changes = native_edits,
                                   .write = native_edit_one,
                                   .user = &edit };
    const lvlm_run run = { .threads = 1 };
    lvlm_outfile *const file = open_outfile(changed);
    if (lvlm_rewrite_run(root, file, &rewrite, &run, &err) < 0)
        fail_msg("%s", err.text);
    lvlm_outfile_close(file);
    lvlm_json_free(provenance);
    lvlm_checkpoint_close(cp);
}

/* A native file with bit `bit` of byte `at` of `tensor` flipped; of the whole file if
 * that is NULL. */
static inline void native_damage(const char *native, const char *tensor, uint64_t at,
                                 unsigned bit, const char *damaged)
{
    lvlm_checkpoint *const cp = must_open(native);
    lvlm_error err;
    const lvlm_infile *const map = cp->files[0].map;
    unsigned char *const bytes = malloc((size_t)map->n_bytes);
    assert_non_null(bytes);
    memcpy(bytes, map->bytes, (size_t)map->n_bytes);
    if (tensor != NULL) at += lvlm_checkpoint_find(cp, tensor)->offset;
    bytes[at] = (unsigned char)(bytes[at] ^ 1u << bit);
    if (lvlm_outfile_save(damaged, bytes, (size_t)map->n_bytes, true, &err) < 0)
        fail_msg("%s", err.text);
    free(bytes);
    lvlm_checkpoint_close(cp);
}

#endif
