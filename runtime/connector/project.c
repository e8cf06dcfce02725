/* project.c - the connector that is one linear map; see project.h. */
#include "runtime/connector/project.h"

#include "runtime/model/configure.h"
#include "runtime/ops/linear.h"

static const config_row config_rows[] = {
    CONFIG("vision.hidden", projector_config, in),
    CONFIG("text.hidden", projector_config, out),
    CONFIG_END,
};

// clang-format off
static const weight_row rows[] = {
    { "proj.weight", { LVLM_DIM_HIDDEN, LVLM_DIM_VISION_HIDDEN }, WEIGHT_FIELD(projector, proj_w) },
    { "proj.bias",   { LVLM_DIM_HIDDEN },                         WEIGHT_FIELD(projector, proj_b) },
    WEIGHT_END,
};
// clang-format on

int projector_open(projector *connector, const cJSON *config, lvlm_error *err)
{
    return configure(&connector->config, config_rows, config, err);
}

int projector_bind(projector *connector, weights *w, lvlm_error *err)
{
    return weights_bind(w, connector, rows, 0, "connector.", err);
}

size_t projector_scratch(const projector *connector, size_t n_threads)
{
    return linear_scratch(connector->config.in, connector->config.out, n_threads);
}

void projector_announce(stages *s)
{
    stages_announce(s, "connector.out");
}

int projector_forward(const projector *connector, real *out, const real *x,
                      size_t n_images, size_t P, stages *s, const ops_scratch *scratch,
                      lvlm_error *err)
{
    const projector_config *const c = &connector->config;
    linear_forward(out, x, connector->proj_w, connector->proj_b, n_images * P, c->in,
                   c->out, scratch);
    return stages_emit(s, "connector.out", out, n_images, P, c->out, err);
}
