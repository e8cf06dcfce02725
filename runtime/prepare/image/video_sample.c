/* video_sample.c - computed in double like in Python; see video_sample.h. */
#include "runtime/prepare/image/video_sample.h"

#include <assert.h>
#include <inttypes.h>
#include <math.h>

/* As many as the processor wants: a multiple of `of`. */
static int count(double *out, const video_sampling *s, size_t of, size_t total,
                 double fps, lvlm_error *err)
{
    const double step = (double)of, all = (double)total;
    FAIL_IF((s->n == 0) == (s->fps == 0), err, LVLM_EFORMAT,
            "do_sample_frames is true: expected either fps or num_frames beside it");
    if (s->n != 0) {
        *out = rint((double)s->n / step) * step; /* halves to even */
        return 0;
    }
    FAIL_IF(
        fps == 0, err, LVLM_EFORMAT,
        "%g frames a second are sampled: how many there are must be said (--fps, or "
        "\"fps\" beside the video)",
        s->fps);
    const double most = floor(fmin((double)s->most, all) / step) * step;
    const double wanted = fmax(all / fps * s->fps, (double)s->least);
    *out = floor(fmin(fmin(wanted, most), all) / step) * step;
    return 0;
}

int video_sample(size_t **out, size_t *n, const video_sampling *s, size_t step,
                 size_t total, double fps, lvlm_arena *arena, lvlm_error *err)
{
    double wanted = (double)total;
    assert(total > 0 && step > 0);
    if (s->on) TRY(count(&wanted, s, step, total, fps, err));
    FAIL_IF(!(wanted >= 1 && wanted <= (double)total), err, LVLM_EFORMAT,
            "%.0f of %zu frames would be sampled, which the processor refuses", wanted,
            total);
    *n = (size_t)wanted;
    *out = lvlm_arena_alloc(arena, *n, sizeof **out);
    if (*out == NULL) return lvlm_fail_memory(err);
    const double between = (double)total / wanted;
    for (size_t i = 0; i < *n; i++) {
        const size_t at =
            (size_t)(float)((double)i * between); /* torch.arange of floats */
        (*out)[i] = at < total ? at : total - 1;
    }
    return 0;
}
