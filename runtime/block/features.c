/* features.c - features as stages; see features.h. */
#include "runtime/block/features.h"

int features_emit(stages *s, const char *name, const real *data, const features *f,
                  size_t C, lvlm_error *err)
{
    lvlm_shape shape = f->shape;
    shape.dims[shape.n++] = C;
    return stages_emit(s, name, data, shape, err);
}
