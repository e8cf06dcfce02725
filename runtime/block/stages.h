/* stages.h - reports intermediate results to the sink, in order.
 *
 *   announce every stage that the input leads to -> compute, emit, stop at the last one
 */
#ifndef LVLM_RUNTIME_BLOCK_STAGES_H
#define LVLM_RUNTIME_BLOCK_STAGES_H

#include "runtime/batch/packing.h"
#include "runtime/model.h"
#include "runtime/real.h"

enum { STAGE_NAME_BYTES = 64 };

typedef struct stages {
    const lvlm_stage_sink *sink;
    size_t left; /* announced, wanted and not yet emitted; 0: nothing more to compute */
    size_t done, total; /* announced stages, wanted or not: the progress */
} stages;

/* Everything is computed and nothing is reported. */
stages stages_silent(void);
/* A sink that takes nothing and reports the progress: lvlm_model_options.progress. */
lvlm_stage_sink stages_counting(void (*progress)(void *user, size_t done, size_t total),
                                void *user);

bool stages_wants(const stages *s, const char *name);
bool stages_gives(const stages *s, const char *name);
/* Is the stage to be computed? Not when it is given and nobody wants it. */
bool stages_computes(const stages *s, const char *name);
/* Do all its rows take part in the pass: is it wanted or given? */
bool stages_shows(const stages *s, const char *name);

/* A stage that will be emitted. */
void stages_announce(stages *s, const char *name);
void stages_announce_blocks(stages *s, const char *prefix, size_t n_blocks);
/* The name of the stage that leaves block i: `prefix` ("text.blocks.") and i. */
const char *stages_block(char name[STAGE_NAME_BYTES], const char *prefix, size_t i);
/* `n` that are computed and never emitted; advance when some of them are done. */
void stages_announce_hidden(stages *s, size_t n);
void stages_advance(stages *s, size_t n);

/* SHAPE(N, P, C): the shape of a stage. */
#define SHAPE(...)                                                                     \
    ((lvlm_shape){ sizeof((uint64_t[]){ __VA_ARGS__ }) / sizeof(uint64_t),             \
                   { __VA_ARGS__ } })

/* Emit a stage, if wanted, then put what is given in its place, if it is.
 * data: of that shape */
int stages_emit(stages *s, const char *name, real *data, lvlm_shape shape,
                lvlm_error *err);
int stages_emit_scalar(stages *s, const char *name, real value, lvlm_error *err);

/* The same for packed rows, as [B, T, C] with zeros in rows of padding. `spare` (B*T,C)
 * may be packed, which is then spread in place for the time; NULL without padding.
 * packed (N,C) */
int stages_emit_rows(stages *s, const char *name, real *packed, size_t C,
                     const lvlm_packing *packing, real *spare, lvlm_error *err);

/* The sink's memory for a stage that it only takes, or NULL. */
real *stages_place(const stages *s, const char *name, lvlm_shape shape);

#endif
