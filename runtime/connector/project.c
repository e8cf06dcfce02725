/* project.c - the connector that is one linear map: z = W h + b for every row.
 *
 * Where it comes from in each family is told by lvlm-verify projections. */
#include "formats/base/alloc.h"
#include "runtime/connector/connector.h"
#include "runtime/model/configure.h"
#include "runtime/ops/linear.h"

typedef struct linear {
    size_t in, out;       /* I, O */
    weight_matrix proj_w; /* (O,I) */
    weight_vector proj_b; /* (O) */
} linear;

static const config_row config_rows[] = {
    CONFIG("vision.out", linear, in),
    CONFIG("text.hidden", linear, out),
    CONFIG_END,
};

// clang-format off
static const weight_row rows[] = {
    { "proj.weight", { LVLM_DIM_HIDDEN, LVLM_DIM_VISION_OUT }, WEIGHT_FIELD(linear, proj_w) },
    { "proj.bias",   { LVLM_DIM_HIDDEN },                      WEIGHT_FIELD(linear, proj_b) },
    WEIGHT_END,
};
// clang-format on

static int linear_open(void **out, const lvlm_manifest *manifest, lvlm_error *err)
{
    linear *const c = *out = lvlm_calloc(1, sizeof *c);
    if (c == NULL) return lvlm_fail_memory(err);
    return configure(c, config_rows, manifest->config, err);
}

static int linear_bind(void *connector, weights *w, lvlm_error *err)
{
    return weights_bind(w, connector, rows, 0, "connector.", err);
}

static size_t linear_needs(const void *connector, const features *seen,
                           size_t n_threads)
{
    const linear *const c = connector;
    (void)seen;
    return linear_scratch(c->in, c->out, n_threads);
}

static void linear_announce(const void *connector, stages *s)
{
    (void)connector;
    stages_announce(s, "connector.out");
}

/* Nothing is needed but what goes in. */
static int linear_tape_make(const void *connector, void **tape, const features *seen,
                            bool keep, lvlm_error *err)
{
    (void)connector, (void)seen, (void)keep, (void)err;
    *tape = NULL;
    return 0;
}

static int linear_run(const void *connector, void *tape, real *out,
                      const features *seen, stages *s, const ops_scratch *scratch,
                      lvlm_error *err)
{
    const linear *const c = connector;
    (void)tape;
    dense_forward(out, seen->rows, &c->proj_w, &c->proj_b, seen->R, c->in, c->out,
                  scratch);
    return features_emit(s, "connector.out", out, seen, c->out, err);
}

static void linear_back(const void *connector, void *tape, real *drows,
                        const real *dout, const features *seen,
                        const ops_scratch *scratch)
{
    const linear *const c = connector;
    (void)tape;
    dense_backward(drows, dout, seen->rows, &c->proj_w, &c->proj_b, seen->R, c->in,
                   c->out, scratch);
}

const vision_connector linear_connector = {
    .word = "linear",
    .open = linear_open,
    .bind = linear_bind,
    .free = lvlm_free,
    .scratch = linear_needs,
    .announce = linear_announce,
    .tape_make = linear_tape_make,
    .tape_free = lvlm_free,
    .tape_bytes = workspace_bytes, /* there is none: 0 */
    .forward = linear_run,
    .backward = linear_back,
};
