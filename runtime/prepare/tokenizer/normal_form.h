/* normal_form.h - normalises a text before it is split, by a list of steps.
 *
 *   NFC          the canonical composition, of utf8proc's Unicode or of Unicode 9
 *   replace      one string by another, everywhere
 *   prepend      a string before non-empty text
 *   squeeze      drops leading spaces, and all but one of a run
 *   trim         a string at the end, repeatedly */
#ifndef LVLM_RUNTIME_PREPARE_TOKENIZER_NORMAL_FORM_H
#define LVLM_RUNTIME_PREPARE_TOKENIZER_NORMAL_FORM_H

#include "formats/base/strbuf.h"

LVLM_BEGIN_DECLS

enum { NORMAL_MAX_STEPS = 8 };

typedef enum normal_kind {
    NORMAL_NFC,
    /* as in the tokenizers library: newer marks neither move nor compose */
    NORMAL_NFC_UNICODE_9,
    NORMAL_REPLACE,
    NORMAL_PREPEND,
    NORMAL_SQUEEZE_SPACES,
    NORMAL_TRIM_END,
} normal_kind;

typedef struct normal_step {
    normal_kind kind;
    char *from, *to; /* owned; NUL-terminated */
} normal_step;

typedef struct normal_form {
    normal_step steps[NORMAL_MAX_STEPS];
    size_t n;
} normal_form;

/* `from` and `to` are copied; NULL if the kind has none. LVLM_EFORMAT: too many. */
LVLM_MUST_CHECK int normal_form_add(normal_form *form, normal_kind kind,
                                    const char *from, const char *to, lvlm_error *err);
void normal_form_free(normal_form *form);

/* Append the normal form of `text`, well-formed UTF-8, to `out`. */
LVLM_MUST_CHECK int normal_form_apply(const normal_form *form, lvlm_strbuf *out,
                                      const char *text, size_t n_bytes,
                                      lvlm_error *err);

LVLM_END_DECLS

#endif
