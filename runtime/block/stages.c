/* stages.c - stages on their way to the sink; see stages.h. */
#include "runtime/block/stages.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

static bool wants_nothing(void *user, const char *name)
{
    (void)user, (void)name;
    return false;
}

stages stages_silent(void)
{
    static const lvlm_stage_sink nobody = { .wants = wants_nothing };
    return (stages){ .sink = &nobody, .left = 1 };
}

lvlm_stage_sink stages_counting(void (*progress)(void *user, size_t done, size_t total),
                                void *user)
{
    return (
        lvlm_stage_sink){ .wants = wants_nothing, .progress = progress, .user = user };
}

bool stages_wants(const stages *s, const char *name)
{
    return s->sink->wants == NULL || s->sink->wants(s->sink->user, name);
}

bool stages_gives(const stages *s, const char *name)
{
    return s->sink->gives != NULL && s->sink->gives(s->sink->user, name);
}

bool stages_computes(const stages *s, const char *name)
{
    return !stages_gives(s, name) || stages_wants(s, name);
}

bool stages_shows(const stages *s, const char *name)
{
    return stages_wants(s, name) || stages_gives(s, name);
}

void stages_announce(stages *s, const char *name)
{
    s->left += stages_wants(s, name);
    s->total++;
}

const char *stages_block(char name[STAGE_NAME_BYTES], const char *prefix, size_t i)
{
    const int n = snprintf(name, STAGE_NAME_BYTES, "%s%zu", prefix, i);
    assert(n > 0 && n < STAGE_NAME_BYTES);
    (void)n;
    return name;
}

void stages_announce_blocks(stages *s, const char *prefix, size_t n_blocks)
{
    char name[STAGE_NAME_BYTES];
    for (size_t i = 0; i < n_blocks; i++)
        stages_announce(s, stages_block(name, prefix, i));
}

void stages_announce_hidden(stages *s, size_t n)
{
    s->total += n;
}

/* So many more are computed, whether or not anyone wants them. */
void stages_advance(stages *s, size_t n)
{
    s->done += n;
    assert(s->sink->progress == NULL || s->done <= s->total);
    if (s->sink->progress != NULL) s->sink->progress(s->sink->user, s->done, s->total);
}

int stages_emit(stages *s, const char *name, real *data, lvlm_shape shape,
                lvlm_error *err)
{
    const lvlm_stage_sink *const sink = s->sink;
    lvlm_tensor stage = { .name = name, .dtype = LVLM_REAL_DTYPE, .shape = shape };
    stage.data = (const unsigned char *)data;
    stages_advance(s, 1);
    if (!stages_shows(s, name)) return 0;
    FAIL_IF(!lvlm_shape_bytes(&stage.n_bytes, &shape, stage.dtype), err, LVLM_ENOMEM,
            "stage %s is too large", name);
    if (stages_wants(s, name)) {
        assert(s->left > 0);
        s->left--;
        TRY(sink->take(sink->user, &stage, err));
    }
    return stages_gives(s, name) ? sink->give(sink->user, &stage, data, err) : 0;
}

real *stages_place(const stages *s, const char *name, lvlm_shape shape)
{
    const lvlm_stage_sink *const sink = s->sink;
    lvlm_tensor stage = { .name = name, .dtype = LVLM_REAL_DTYPE, .shape = shape };
    if (sink->place == NULL || !stages_wants(s, name) || stages_gives(s, name) ||
        !lvlm_shape_bytes(&stage.n_bytes, &shape, stage.dtype))
        return NULL;
    return sink->place(sink->user, &stage);
}

int stages_emit_scalar(stages *s, const char *name, real value, lvlm_error *err)
{
    return stages_emit(s, name, &value, (lvlm_shape){ 0, { 0 } }, err);
}

/* cell[n] >= n and both increase, so going down never overwrites a row that is still to
 * be moved, even in place. */
static void spread(real *to, const real *packed, size_t C, const lvlm_packing *packing)
{
    size_t n = packing->N;
    assert(n <= packing->B * packing->T);
    for (size_t cell = packing->B * packing->T; cell-- > 0;) {
        if (n > 0 && packing->cell[n - 1] == cell) {
            n--;
            memmove(to + cell * C, packed + n * C, C * sizeof *to);
        } else {
            memset(to + cell * C, 0, C * sizeof *to);
        }
    }
}

/* The inverse: going up never overwrites a row that is still to be moved. */
static void pack(real *packed, const real *from, size_t C, const lvlm_packing *packing)
{
    for (size_t n = 0; n < packing->N; n++)
        memmove(packed + n * C, from + packing->cell[n] * C, C * sizeof *packed);
}

int stages_emit_rows(stages *s, const char *name, real *packed, size_t C,
                     const lvlm_packing *packing, real *spare, lvlm_error *err)
{
    if (!stages_shows(s, name)) {
        stages_advance(s, 1);
        return 0;
    }
    const bool padded = packing->N < packing->B * packing->T;
    assert(!padded || spare != NULL);
    if (padded) spread(spare, packed, C, packing);
    TRY(stages_emit(s, name, padded ? spare : packed, SHAPE(packing->B, packing->T, C),
                    err));
    if (padded && (spare == packed || stages_gives(s, name)))
        pack(packed, spare, C, packing);
    return 0;
}
