/* fit.c - tower, connector and decoder are chosen by words of the configuration; here
 * is what they must agree on, before there is a batch. */
#include "runtime/model/pipeline.h"

#include <assert.h>

static const char *const forms[] = {
    [LVLM_IMAGES_SQUARES] = "squares",
    [LVLM_IMAGES_PATCHES] = "grids of any shape",
    [LVLM_IMAGES_TILES] = "tiles",
};

/* Width and arrangement of the features. */
static int fit_connector(const pipeline *p, lvlm_error *err)
{
    const lvlm_image_spec *const images = &p->spec.images;
    const lvlm_image_rows *const rule = &p->spec.rows;
    assert(p->tower != NULL && p->connector != NULL && p->text.blocks != NULL);
    const char *const name = rule->connector, *const tower = images->tower;
    const size_t takes = p->connector->in, gives = p->tower->width, pool = rule->pool;
    const size_t grid = images->side / images->patch;
    FAIL_IF(takes != gives, err, LVLM_EFORMAT,
            "configuration: the connector '%s' takes features of width %zu, but the "
            "tower '%s' gives %zu",
            name, takes, tower, gives);
    FAIL_IF(rule->queries > 0 && images->form != LVLM_IMAGES_SQUARES, err, LVLM_EFORMAT,
            "configuration: the connector '%s' takes squares, but the tower '%s' gives "
            "%s",
            name, tower, forms[images->form]);
    FAIL_IF((pool > 1 || rule->queries > 0) && images->class_rows > 0, err,
            LVLM_EFORMAT,
            "configuration: the connector '%s' takes squares of patches, but the tower "
            "'%s' gives class rows among them",
            name, tower);
    FAIL_IF(!images->any_side && grid % pool != 0, err, LVLM_EFORMAT,
            "configuration: the connector '%s' takes squares of %zu x %zu patches, but "
            "the tower '%s' gives %zu x %zu",
            name, pool, pool, tower, grid, grid);
    return 0;
}

static bool has_cross_layers(const decoder *text)
{
    for (size_t i = 0; i < text->config.layers; i++)
        if (text->blocks[i].is_cross) return true;
    return false;
}

/* How images enter the text, or are attended to. */
static int fit_text(const pipeline *p, bool is_cut, lvlm_error *err)
{
    const lvlm_image_spec *const images = &p->spec.images;
    const char *const word = lvlm_splice_word(p->spec.splice);
    const bool crosses = p->spec.splice == LVLM_SPLICE_CROSS_ATTENTION;
    const bool has_layers = has_cross_layers(&p->text);
    const lvlm_image_form refused = crosses ? LVLM_IMAGES_PATCHES : LVLM_IMAGES_TILES;
    FAIL_IF(images->form == refused, err, LVLM_EFORMAT,
            "configuration: text.splice '%s' takes squares or %s, but the tower '%s' "
            "gives %s",
            word, crosses ? "tiles" : "grids", images->tower, forms[images->form]);
    FAIL_IF(p->text.config.rope.axes == 3 && !crosses && images->class_rows > 0, err,
            LVLM_EFORMAT,
            "configuration: text.splice '%s' with positions on three axes takes grids, "
            "but the tower '%s' gives class rows among them",
            word, images->tower);
    FAIL_IF(
        crosses && !has_layers && !is_cut, err, LVLM_EFORMAT,
        "configuration: text.splice '%s', but text.cross_layers names no block that "
        "looks at images",
        word);
    FAIL_IF(!crosses && has_layers, err, LVLM_EFORMAT,
            "configuration: text.splice '%s' puts images into the text, but the blocks "
            "of text.cross_layers look at them",
            word);
    return 0;
}

int pipeline_fit(const pipeline *p, bool is_cut, lvlm_error *err)
{
    TRY(fit_connector(p, err));
    return fit_text(p, is_cut, err);
}
