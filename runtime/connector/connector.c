/* connector.c - opening a connector by its word; see connector.h. */
#include "runtime/connector/connector.h"

#include <assert.h>

#include "formats/base/alloc.h"
#include "runtime/block/configure.h"

static const config_row config_rows[] = {
    CONFIG("text.hidden", vision_connector, out),
    CONFIG_END,
};

int connector_open(vision_connector **out, const lvlm_manifest *manifest,
                   const lvlm_image_rows *rule, lvlm_error *err)
{
    const connector_kind *const kind =
        rule->queries > 0 ? &resampler_connector : &projector_connector;
    vision_connector *const c = *out = lvlm_calloc(1, kind->size);
    assert(kind->size >= sizeof *c && rule->pool > 0);
    if (c == NULL) return lvlm_fail_memory(err);
    c->kind = kind;
    TRY(configure(c, config_rows, manifest->config, err));
    return kind->open(c, manifest, rule, err);
}

int connector_bind(vision_connector *c, weights *w, lvlm_error *err)
{
    return weights_bind(w, c, c->kind->rows, "connector.", err);
}
