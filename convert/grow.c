/* grow.c - the stored rows as they are, then new rows, one at a time. */
#include "convert/grow.h"

#include <assert.h>
#include <string.h>

#include "formats/base/alloc.h"

int lvlm_growth_parse(lvlm_init *out, const char *what, const char *text, uint64_t seed,
                      lvlm_error *err)
{
    *out = (lvlm_init){ .kind = LVLM_INIT_MEAN };
    if (strcmp(text, "mean") == 0) return 0;
    const int rc = lvlm_init_parse(out, what, text, seed, err);
    FAIL_IF(rc < 0 || out->kind == LVLM_INIT_XAVIER, err, LVLM_EUSAGE,
            "%s '%s': expected mean, zeros or normal:STD (such as normal:0.02)", what,
            text);
    return 0;
}

/* The mean of a table's rows. row (width); sum (width) is scratch */
static void mean_row(float *row, double *sum, const lvlm_tensor *table, uint64_t width)
{
    const uint64_t rows = table->shape.dims[0];
    assert(rows > 0);
    const uint64_t row_bytes = width * lvlm_dtype_bytes(table->dtype);
    memset(sum, 0, (size_t)width * sizeof *sum);
    for (uint64_t r = 0; r < rows; r++) {
        lvlm_convert_values(row, LVLM_F32, table->data + r * row_bytes, table->dtype,
                            (size_t)width);
        for (uint64_t c = 0; c < width; c++) sum[c] += row[c];
    }
    for (uint64_t c = 0; c < width; c++) row[c] = (float)(sum[c] / (double)rows);
}

int lvlm_growth_write(void *growth, const lvlm_step *step, lvlm_sink *sink,
                      lvlm_error *err)
{
    const lvlm_growth *const g = growth;
    const lvlm_tensor *const table = g->table;
    const uint64_t width = table->shape.dims[1];
    assert(table->shape.n == 2 && step->out.shape.n == 2);
    assert(step->out.shape.dims[0] > table->shape.dims[0]);
    assert(step->out.shape.dims[1] == width);
    FAIL_IF(table->stride != NULL, err, LVLM_EFORMAT,
            "'%s' is not stored row by row, so its rows cannot be extended",
            table->name);
    float *const row = lvlm_calloc((size_t)width, sizeof *row);
    double *const sum = lvlm_calloc((size_t)width, sizeof *sum);
    const int rc = row != NULL && sum != NULL ? 0 : lvlm_fail_memory(err);
    if (rc == 0) {
        lvlm_sink_put(sink, table->dtype, table->data,
                      (size_t)lvlm_tensor_numel(table));
        if (g->init.kind == LVLM_INIT_MEAN) mean_row(row, sum, table, width);
        for (uint64_t r = table->shape.dims[0]; r < step->out.shape.dims[0]; r++) {
            if (g->init.kind != LVLM_INIT_MEAN)
                lvlm_init_values(row, r * width, width, &g->init, &step->out);
            lvlm_sink_put(sink, LVLM_F32, row, (size_t)width);
        }
    }
    lvlm_free(row);
    lvlm_free(sum);
    return rc;
}
