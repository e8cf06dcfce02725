/* terms.h - loops that turn values into terms of bf16 (pack.h), and bf16 into floats.
 * Private to kernel.
 *
 * A step is LVLM_STEP values of a row, a pair two rows of memory. Where `rest` is not
 * NULL it receives what is left of the values, for the next term; it may be `from`. */
#ifndef LVLM_RUNTIME_KERNEL_TERMS_H
#define LVLM_RUNTIME_KERNEL_TERMS_H

#include "runtime/kernel/kernel.h"

/* Steps of a row, each `apart` bytes after the one before.
 * from, rest (n_steps,LVLM_STEP) */
void lvlm_take_steps(char *to, size_t apart, float *rest, const float *from,
                     size_t n_steps);

/* Pairs of LVLM_PANEL columns, of row stride ld.  to (LVLM_STEP / 2,LVLM_PANEL,2)
 * from (LVLM_STEP,LVLM_PANEL)  rest the same, dense */
void lvlm_take_pairs(char *to, float *rest, const float *from, size_t ld);
/* The same of values that are bf16, for panels that are `panel` bytes apart. */
void lvlm_copy_pairs(char *to, size_t panel, size_t n_panels, const uint16_t *from,
                     size_t ld);

/* to (n,LVLM_PANEL) = n rows of row stride ld. */
void lvlm_widen_columns(float *to, const uint16_t *from, size_t ld, size_t n);
void lvlm_widen_bf16(float *to, const uint16_t *from, size_t n);
void lvlm_widen_f16(float *to, const uint16_t *from, size_t n);

#endif
