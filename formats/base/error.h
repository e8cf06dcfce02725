/* error.h - how every fallible function of the project reports failure.
 *
 * A fallible function returns 0, or a negative lvlm_code, and describes the failure in
 * one lower-case line: object, what is wrong, got, expected. Lower layers describe;
 * upper layers only prepend context (lvlm_prefix): "model-00002.safetensors: tensor
 * 'x': ends at ...". The lvlm_error is the caller's and may be NULL. Nothing here
 * prints. */
#ifndef LVLM_FORMATS_BASE_ERROR_H
#define LVLM_FORMATS_BASE_ERROR_H

#include "formats/base/linkage.h"

LVLM_BEGIN_DECLS

#if defined(__GNUC__)
#define LVLM_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#define LVLM_MUST_CHECK __attribute__((warn_unused_result))
#else
#define LVLM_PRINTF(fmt, args)
#define LVLM_MUST_CHECK
#endif

typedef enum lvlm_code {
    LVLM_OK = 0,
    LVLM_EUSAGE = -1,   /* the command line can be corrected: exit status 2 */
    LVLM_EFORMAT = -2,  /* a file breaks a rule of its format: exit status 3 */
    LVLM_EIO = -3,      /* reading or writing failed: exit status 3 */
    LVLM_ENOMEM = -4,   /* out of memory or over a limit: exit status 3 */
    LVLM_ECHECK = -5,   /* well-formed, but a check failed: exit status 1 */
    LVLM_ESTOPPED = -6, /* stopped cleanly by a signal: exit status 128 + its number */
} lvlm_code;

/* Longer messages are truncated. */
enum { LVLM_ERROR_BYTES = 1024 };

typedef struct lvlm_error {
    lvlm_code code;
    char text[LVLM_ERROR_BYTES];
} lvlm_error;

/* Describe a failure; returns `code`, so that `return lvlm_fail(...)` is one line. */
int lvlm_fail(lvlm_error *err, lvlm_code code, const char *fmt, ...) LVLM_PRINTF(3, 4);

/* Like lvlm_fail with LVLM_EIO; appends ": " and the text for errno. */
int lvlm_fail_errno(lvlm_error *err, const char *fmt, ...) LVLM_PRINTF(2, 3);

/* LVLM_ENOMEM, "out of memory". */
int lvlm_fail_memory(lvlm_error *err);

/* Prepend context to the message; keeps its code. */
void lvlm_prefix(lvlm_error *err, const char *fmt, ...) LVLM_PRINTF(2, 3);

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
