/* slope_labels.h - backward passes over a recording's inputs with other labels, for
 * what may be another loss. Private to verify/cause. */
#ifndef LVLM_VERIFY_CAUSE_SLOPE_LABELS_H
#define LVLM_VERIFY_CAUSE_SLOPE_LABELS_H

#include "runtime/batch/inputs.h"
#include "verify/cause/slope.h"

LVLM_BEGIN_DECLS

/* The texts of a recording and their labels. */
typedef struct texts {
    const lvlm_tensor *ids, *mask, *labels; /* mask NULL: all are tokens */
    size_t B, T;
    int64_t image;   /* token */
    size_t n_labels; /* that count */
    size_t n_first;  /* of first tokens: nothing predicts these */
    size_t n_tokens; /* without padding */
    size_t *of_text; /* (B) labels that count */
    size_t *counted; /* (n_counted) texts with such labels */
    size_t n_counted;
} texts;

/* Sets out->n_labels 0 if the recording has none that can be changed. */
LVLM_MUST_CHECK int texts_read(texts *out, slopes *l, lvlm_error *err);
/* Is cell `i` of (B,T) a token? */
bool texts_is_real(const texts *t, size_t i);
/* The label of place `at` of text `b`, as recorded; beyond the text none. */
int64_t texts_label(const texts *t, size_t b, size_t at);

/* The recording with other labels, and a column more, of padding, if there is a mask:
 * the token before it can have a label then. */
typedef struct relabelled {
    lvlm_checkpoint inputs;
    int64_t *labels; /* (B,W) to be filled in */
    size_t W;
    lvlm_arena arena;
} relabelled;

/* Free out->arena, also after a failure. */
LVLM_MUST_CHECK int relabel(relabelled *out, const texts *t, const lvlm_checkpoint *in,
                            lvlm_error *err);

/* Set the gradients of l->other to zero; it is made if need be. */
LVLM_MUST_CHECK int relabelled_begin(slopes *l, lvlm_error *err);
/* Add those of a pass to them (slopes_pass). *done false: the inputs are refused. */
LVLM_MUST_CHECK int relabelled_pass(slopes *l, bool *done, const relabelled *x,
                                    double scale, lvlm_error *err);

/* slope_texts.c: find texts that count otherwise. */
LVLM_MUST_CHECK int slopes_try_texts(slopes *l, const texts *t, relabelled *x,
                                     lvlm_error *err);

LVLM_END_DECLS

#endif
