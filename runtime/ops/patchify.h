/* patchify.h - an image as rows of patches: a patch convolution is then a linear. */
#ifndef LVLM_RUNTIME_OPS_PATCHIFY_H
#define LVLM_RUNTIME_OPS_PATCHIFY_H

#include "runtime/ops/ops.h"

/* Patches row-major (y then x), columns of a row in (c,y,x) order; the remainder at the
 * right and the bottom is dropped. rows (P,C*p*p), P = (Sy/p)*(Sx/p) image (C,Sy,Sx) */
void patchify_forward(real *rows, const real *image, size_t C, size_t Sy, size_t Sx,
                      size_t p);

#endif
