/* normal_form.h - what happens to a text before it is split: a list of steps.
 *
 *   NFC          the canonical composition, of utf8proc's Unicode or of Unicode 9
 *   replace      one string by another, wherever it stands
 *   prepend      a string in front of what is not empty
 *   squeeze      no spaces in front, one for a run of them
 *   trim         a string at the end, as often as it stands there */
#ifndef LVLM_RUNTIME_INPUT_NORMAL_FORM_H
#define LVLM_RUNTIME_INPUT_NORMAL_FORM_H

#include "formats/base/strbuf.h"

LVLM_BEGIN_DECLS

enum { NORMAL_MAX_STEPS = 8 };

typedef enum normal_kind {
    NORMAL_NFC,
    NORMAL_NFC_UNICODE_9, /* the tokenizers library's: later marks neither move nor
                             compose */
    NORMAL_REPLACE,
    NORMAL_PREPEND,
    NORMAL_SQUEEZE_SPACES,
    NORMAL_TRIM_END,
} normal_kind;

typedef struct normal_step {
    normal_kind kind;
    char *from, *to; /* owned; zero byte at the end */
} normal_step;

typedef struct normal_form {
    normal_step steps[NORMAL_MAX_STEPS];
    size_t n;
} normal_form;

/* `from` and `to` are copied; NULL where the kind has none. LVLM_EFORMAT: too many. */
LVLM_MUST_CHECK int normal_form_add(normal_form *form, normal_kind kind,
                                    const char *from, const char *to, lvlm_error *err);
void normal_form_free(normal_form *form);

/* Append the normal form of `text`, well-formed UTF-8, to `out`. */
LVLM_MUST_CHECK int normal_form_apply(const normal_form *form, lvlm_strbuf *out,
                                      const char *text, size_t n_bytes,
                                      lvlm_error *err);

LVLM_END_DECLS

#endif
