/* code.h - how a function says that it failed: a code, and one line of text.
 *
 * A function that can fail returns 0, or a negative lvlm_code. It then describes the
 * failure in the caller's lvlm_error, which may be NULL: one line in lower case without
 * a new line at its end, with the object, what is wrong, what was found and what was
 * expected ("model-00002.safetensors: tensor 'x': ends at ..."). Names from files are
 * in it as they are, control characters too. After a success it is unchanged. */
#ifndef LVLM_FORMATS_BASE_CODE_H
#define LVLM_FORMATS_BASE_CODE_H

#include "formats/base/linkage.h"

LVLM_BEGIN_DECLS

#if defined(__GNUC__)
#define LVLM_MUST_CHECK __attribute__((warn_unused_result))
#else
#define LVLM_MUST_CHECK
#endif

typedef enum lvlm_code {
    LVLM_OK = 0,
    LVLM_EUSAGE = -1,   /* the call or command line can be corrected: exit status 2 */
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
    char text[LVLM_ERROR_BYTES]; /* ends with a zero byte */
} lvlm_error;

LVLM_END_DECLS

#endif
