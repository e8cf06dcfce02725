/* converted.h - fixtures as native files, for tests. */
#ifndef LVLM_TESTS_REPLAY_CONVERTED_H
#define LVLM_TESTS_REPLAY_CONVERTED_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "convert/import.h"

/* Converts a Hugging Face directory; fails the test when it cannot. */
static inline void native_convert(const char *source, const char *native)
{
    const lvlm_import_options options = { 0 };
    const lvlm_import_run run = { .threads = 2, .overwrite = true };
    char root[LVLM_DIGEST_HEX + 1];
    lvlm_import import;
    lvlm_error err;
    if (lvlm_import_plan(&import, source, &options, false, NULL, NULL, &err) < 0 ||
        lvlm_import_execute(&import, native, &run, root, &err) < 0)
        fail_msg("%s: %s", source, err.text);
    lvlm_import_free(&import);
}

#endif
