/* step.h - tokens that continue texts, several at once. */
#ifndef LVLM_RUNTIME_MODEL_STEP_H
#define LVLM_RUNTIME_MODEL_STEP_H

#include <stddef.h>
#include <stdint.h>

/* Tokens of one step, of all texts together. */
enum { LVLM_STEP_TOKENS = 8 };

/* The next tokens of one text. */
typedef struct lvlm_continuation {
    struct lvlm_session *session;
    const int64_t *ids; /* (n) */
    size_t n;           /* at least 1 */
} lvlm_continuation;

#endif
