/* make.h - values for a projection that a checkpoint does not have. Every function may
 * be called from several threads at once. */
#ifndef LVLM_CONVERT_MAKE_H
#define LVLM_CONVERT_MAKE_H

#include "formats/container/plan.h"

LVLM_BEGIN_DECLS

/* How a tensor is made. */
typedef struct lvlm_init {
    enum {
        LVLM_INIT_NONE,
        LVLM_INIT_ZEROS,
        LVLM_INIT_NORMAL,
        LVLM_INIT_XAVIER,
        LVLM_INIT_IDENTITY, /* of a square weight */
        LVLM_INIT_ONES,
        LVLM_INIT_SINES, /* of places in a square: [side^2, width] */
        LVLM_INIT_MEAN,  /* of the rows before it (grow.h) */
    } kind;
    double std; /* NORMAL */
    uint64_t seed;
} lvlm_init;

/* "zeros", "normal:STD" or "xavier"; otherwise LVLM_EUSAGE, and the message begins with
 * `what`. */
LVLM_MUST_CHECK int lvlm_init_parse(lvlm_init *out, const char *what, const char *text,
                                    uint64_t seed, lvlm_error *err);

/* "normal, std 0.02, seed 7": what the ledger records. */
void lvlm_init_describe(char text[96], const lvlm_init *init);

/* Values [first, first + count) of a tensor of that name and shape. Each value depends
 * only on seed, name and index. Biases (one dimension) are zero. normal: N(0, std^2).
 * xavier: uniform in +-sqrt(6 / (fan_in + fan_out)) for a weight [out, in] (Glorot &
 * Bengio 2010, eq. 16). sines: row y * side + x is sin(x w), cos(x w), sin(y w),
 * cos(y w), each for width / 4 frequencies w = 10000^(-4 i / width), as Qwen-VL's
 * resampler begins. */
void lvlm_init_values(float *to, uint64_t first, uint64_t count, const lvlm_init *init,
                      const lvlm_tensor *tensor);
/* The lvlm_write of a step that makes such a tensor; `init` is an lvlm_init. */
LVLM_MUST_CHECK int lvlm_init_write(void *init, const lvlm_step *step, lvlm_sink *sink,
                                    lvlm_error *err);

LVLM_END_DECLS

#endif
