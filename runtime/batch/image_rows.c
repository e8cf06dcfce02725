/* image_rows.c - rows of an image by words of the configuration; see image_rows.h. */
#include "runtime/batch/image_rows.h"

#include <assert.h>
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "formats/base/json.h"

enum { MAX_SIDE = 1 << 16 }; /* of queries on a square grid, of pooled squares */

/* Connectors that pool or query read here how much. */
static const struct {
    const char *word, *pool, *queries;
} connectors[] = {
    { "linear", NULL, NULL },
    { "mlp", NULL, NULL },
    { "deep_mlp", NULL, NULL },
    { "merger", "vision.merge", NULL },
    { "resampler", NULL, "connector.queries" },
};

static int read_count(size_t *out, const cJSON *config, const char *path, uint64_t most,
                      lvlm_error *err)
{
    uint64_t value;
    if (path == NULL) return 0;
    FAIL_IF(!lvlm_json_u64(&value, lvlm_json_path(config, path)) || value == 0 ||
                value > most,
            err, LVLM_EFORMAT,
            "configuration: %s is not a whole number from 1 to %" PRIu64, path, most);
    *out = (size_t)value;
    return 0;
}

static size_t side_of(size_t queries)
{
    return (size_t)(sqrt((double)queries) + 0.5);
}

int lvlm_image_rows_read(lvlm_image_rows *out, const cJSON *config,
                         const lvlm_image_spec *images, lvlm_error *err)
{
    const char *const word = lvlm_json_string(lvlm_json_path(config, "connector.kind"));
    const size_t n = sizeof connectors / sizeof *connectors;
    size_t i = 0;
    while (i < n && (word == NULL || strcmp(connectors[i].word, word) != 0)) i++;
    FAIL_IF(i == n, err, LVLM_EFORMAT,
            "configuration: connector.kind '%s' is not one that can be run",
            word != NULL ? word : "(none)");
    *out = (lvlm_image_rows){ .connector = connectors[i].word,
                              .class_rows = images->class_rows,
                              .pool = 1 };
    TRY(read_count(&out->pool, config, connectors[i].pool, MAX_SIDE, err));
    TRY(read_count(&out->queries, config, connectors[i].queries,
                   (uint64_t)MAX_SIDE * MAX_SIDE, err));
    FAIL_IF(side_of(out->queries) * side_of(out->queries) != out->queries, err,
            LVLM_EFORMAT, "configuration: connector.queries %zu is not a square number",
            out->queries);
    return 0;
}

lvlm_grid lvlm_image_rows_grid(const lvlm_image_rows *rule, const lvlm_grid *patches)
{
    const size_t side = side_of(rule->queries);
    assert(rule->pool > 0 && (rule->pool == 1 || rule->queries == 0));
    if (rule->queries > 0) return (lvlm_grid){ patches->t, side, side };
    return (lvlm_grid){ patches->t, patches->h / rule->pool, patches->w / rule->pool };
}

size_t lvlm_image_rows_frame(const lvlm_image_rows *rule, const lvlm_grid *patches)
{
    const lvlm_grid g = lvlm_image_rows_grid(rule, patches);
    return g.h * g.w + (rule->queries > 0 ? 0 : rule->class_rows);
}

size_t lvlm_image_rows_square(const lvlm_image_rows *rule, const lvlm_image_spec *spec)
{
    assert(spec->patch > 0);
    const size_t side = spec->side / spec->patch;
    const lvlm_grid square = { 1, side, side };
    return lvlm_image_rows_frame(rule, &square);
}

size_t lvlm_image_rows_count(const lvlm_image_rows *rule, const lvlm_images *images,
                             size_t first, size_t end)
{
    size_t n = 0;
    assert(first <= end && end <= images->n);
    for (size_t i = first; i < end; i++)
        n += images->grids[i].t * lvlm_image_rows_frame(rule, &images->grids[i]);
    return n;
}
