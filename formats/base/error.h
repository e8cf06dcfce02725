/* error.h - how every fallible function of the project fails; code.h is what its
 * callers see of it.
 *
 * Lower layers describe; upper layers only prepend context (lvlm_prefix):
 * "m.safetensors: tensor 'x': ends at ...". Nothing here prints. */
#ifndef LVLM_FORMATS_BASE_ERROR_H
#define LVLM_FORMATS_BASE_ERROR_H

#include "formats/base/code.h"

LVLM_BEGIN_DECLS

#if defined(__GNUC__)
#define LVLM_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#else
#define LVLM_PRINTF(fmt, args)
#endif

/* Describe a failure; returns `code`, so that `return lvlm_fail(...)` is one line. */
int lvlm_fail(lvlm_error *err, lvlm_code code, const char *fmt, ...) LVLM_PRINTF(3, 4);

/* Like lvlm_fail with LVLM_EIO; appends ": " and the text for errno. */
int lvlm_fail_errno(lvlm_error *err, const char *fmt, ...) LVLM_PRINTF(2, 3);

/* LVLM_ENOMEM, "out of memory". */
int lvlm_fail_memory(lvlm_error *err);

/* Prepend context to the message; keeps its code. */
void lvlm_prefix(lvlm_error *err, const char *fmt, ...) LVLM_PRINTF(2, 3);
/* The same if `rc`, the result of a call, is a failure; returns `rc`. The call does not
 * change what the context is made of: it may be evaluated before. */
int lvlm_within(int rc, lvlm_error *err, const char *fmt, ...) LVLM_PRINTF(3, 4);

/* Return the code of a failed call, in functions that own nothing yet. Functions that
 * own something use `goto done`. */
#define TRY(call)                                                                      \
    do {                                                                               \
        const int try_rc_ = (call);                                                    \
        if (try_rc_ < 0) return try_rc_;                                               \
    } while (0)

#define FAIL_IF(cond, err, code, ...)                                                  \
    do {                                                                               \
        if (cond) return lvlm_fail((err), (code), __VA_ARGS__);                        \
    } while (0)

LVLM_END_DECLS

#endif
