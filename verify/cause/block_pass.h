/* block_pass.h - a block computed with some of its maps taken out, from recorded rows
 * or any others. Private to verify/cause. */
#ifndef LVLM_VERIFY_CAUSE_BLOCK_PASS_H
#define LVLM_VERIFY_CAUSE_BLOCK_PASS_H

#include "verify/cause/trial.h"

LVLM_BEGIN_DECLS

/* Tensors that end the two halves of a block. */
#define BLOCK_OUT "*attn.out.*|*cross.out.*"
#define BLOCK_DOWN "*.mlp.down.*|*.mlp.fc2.*"

typedef struct block_pass {
    cause_session *s;
    const lvlm_replay_stage *from; /* what enters the block */
    size_t R, C;                   /* rows that are looked at */
    const size_t *at;              /* (R) which of the session's rows; NULL: the
                                      first ones */
    const double *z;               /* (R,C) they enter in place of recorded ones, or
                                      NULL */
    double *y;                     /* (R,C) what leaves it */
} block_pass;

/* Is the stage of the session one block, of which what enters it is recorded? Sets s,
 * from and C. */
bool block_pass_of(block_pass *p, cause_session *s);
/* Its tensor that matches; NULL: it has none. */
const lvlm_target *block_feed(const cause_session *s, const char *globs);

/* Put zeros into the tensors that match, in s->changed. */
LVLM_MUST_CHECK int block_clear(cause_session *s, const char *globs, lvlm_error *err);
/* Set p->y; `model` is one of s->changed. */
LVLM_MUST_CHECK int block_pass_run(block_pass *p, lvlm_model *model, lvlm_error *err);
/* Bind s->changed, compute once, and reset it. */
LVLM_MUST_CHECK int block_pass_once(block_pass *p, lvlm_error *err);

LVLM_END_DECLS

#endif
