/* converted.h - fixtures as native files, for tests. */
#ifndef LVLM_TESTS_REPLAY_CONVERTED_H
#define LVLM_TESTS_REPLAY_CONVERTED_H

#include <fnmatch.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "convert/import.h"
#include "formats/base/outfile.h"

/* Converts a Hugging Face directory; fails the test when it cannot. */
static inline void native_convert_as(const char *source, const char *native,
                                     const lvlm_import_options *options)
{
    const lvlm_import_run run = { .threads = 2, .overwrite = true };
    char root[LVLM_DIGEST_HEX + 1];
    lvlm_import import;
    lvlm_error err;
    if (lvlm_import_plan(&import, source, options, false, NULL, NULL, &err) < 0 ||
        lvlm_import_execute(&import, native, &run, root, &err) < 0)
        fail_msg("%s: %s", source, err.text);
    lvlm_import_free(&import);
}

static inline void native_convert(const char *source, const char *native)
{
    const lvlm_import_options options = { 0 };
    native_convert_as(source, native, &options);
}

/* A native file again, with `change` done to the bytes of every tensor that `glob`
 * fits; at least one must. */
static inline void native_change(const char *native, const char *glob,
                                 void (*change)(unsigned char *bytes,
                                                const lvlm_tensor *tensor),
                                 const char *changed)
{
    lvlm_checkpoint *cp = NULL;
    lvlm_error err;
    size_t n = 0;
    if (lvlm_checkpoint_open(&cp, native, NULL, &err) < 0) fail_msg("%s", err.text);
    const lvlm_infile *const map = cp->files[0].map;
    unsigned char *const bytes = malloc((size_t)map->n_bytes);
    assert_non_null(bytes);
    memcpy(bytes, map->bytes, (size_t)map->n_bytes);
    for (size_t i = 0; i < cp->n_tensors; i++) {
        if (fnmatch(glob, cp->tensors[i].name, 0) != 0) continue;
        change(bytes + cp->tensors[i].offset, &cp->tensors[i]);
        n++;
    }
    if (n == 0) fail_msg("%s: no such tensor", glob);
    if (lvlm_outfile_save(changed, bytes, (size_t)map->n_bytes, true, &err) < 0)
        fail_msg("%s", err.text);
    free(bytes);
    lvlm_checkpoint_close(cp);
}

#endif
