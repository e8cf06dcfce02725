/* make.c - counter-based random values: each is computed independently. */
#include "convert/make.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "formats/base/random.h"
#include "formats/base/text.h"

#define TWO_PI 6.283185307179586476925

enum { CHUNK = 4096 }; /* values made at a time */

int lvlm_init_parse(lvlm_init *out, const char *what, const char *text, uint64_t seed,
                    lvlm_error *err)
{
    static const char normal[] = "normal:";
    *out = (lvlm_init){ .seed = seed };
    if (strcmp(text, "zeros") == 0) {
        out->kind = LVLM_INIT_ZEROS;
        return 0;
    }
    if (strcmp(text, "xavier") == 0) {
        out->kind = LVLM_INIT_XAVIER;
        return 0;
    }
    if (lvlm_starts_with(text, normal)) {
        char *end;
        out->kind = LVLM_INIT_NORMAL;
        out->std = strtod(text + strlen(normal), &end);
        if (*end == '\0' && end != text + strlen(normal) && out->std > 0 &&
            isfinite(out->std))
            return 0;
    }
    return lvlm_fail(
        err, LVLM_EUSAGE,
        "%s '%s': expected zeros, xavier or normal:STD (such as normal:0.02)", what,
        text);
}

void lvlm_init_describe(char text[96], const lvlm_init *init)
{
    static const char *const names[] = {
        [LVLM_INIT_ZEROS] = "zeros",   [LVLM_INIT_IDENTITY] = "identity",
        [LVLM_INIT_ONES] = "ones",     [LVLM_INIT_SINES] = "sines",
        [LVLM_INIT_MEAN] = "mean",     [LVLM_INIT_NORMAL] = NULL,
        [LVLM_INIT_XAVIER] = "xavier",
    };
    assert(init->kind != LVLM_INIT_NONE);
    const unsigned long long seed = init->seed;
    if (init->kind == LVLM_INIT_NORMAL)
        snprintf(text, 96, "normal, std %g, seed %llu", init->std, seed);
    else if (init->kind == LVLM_INIT_XAVIER)
        snprintf(text, 96, "xavier, seed %llu", seed);
    else
        snprintf(text, 96, "%s", names[init->kind]);
}

/* Element (row, column) of a table of places in a square. */
static double sine(uint64_t row, uint64_t column, const lvlm_shape *shape)
{
    const uint64_t side = (uint64_t)(sqrt((double)shape->dims[0]) + 0.5);
    const uint64_t width = shape->dims[1], quarter = width / 4;
    assert(quarter > 0 && width % 4 == 0 && side * side == shape->dims[0]);
    const double place = (double)(column < 2 * quarter ? row % side : row / side);
    const double w = pow(10000, -(double)(column % quarter) / (double)quarter);
    return column / quarter % 2 == 0 ? sin(place * w) : cos(place * w);
}

/* Element `i` of a matrix. */
static double value(const lvlm_init *init, uint64_t stream, const lvlm_shape *shape,
                    uint64_t i)
{
    const uint64_t row = i / shape->dims[1], column = i % shape->dims[1];
    if (init->kind == LVLM_INIT_IDENTITY) return row == column;
    if (init->kind == LVLM_INIT_SINES) return sine(row, column, shape);
    const double u = lvlm_random_uniform(stream, 2 * i);
    if (init->kind == LVLM_INIT_XAVIER)
        return sqrt(6.0 / (double)(shape->dims[0] + shape->dims[1])) * (2 * u - 1);
    assert(init->kind == LVLM_INIT_NORMAL);
    const double v = lvlm_random_uniform(stream, 2 * i + 1);
    return init->std * sqrt(-2 * log(u)) * cos(TWO_PI * v); /* Box & Muller 1958 */
}

void lvlm_init_values(float *to, uint64_t first, uint64_t count, const lvlm_init *init,
                      const lvlm_tensor *tensor)
{
    const uint64_t stream = lvlm_random_stream(init->seed, tensor->name);
    const lvlm_shape *const shape = &tensor->shape;
    const bool ones = init->kind == LVLM_INIT_ONES;
    const bool constant = ones || init->kind == LVLM_INIT_ZEROS || shape->n < 2;
    assert(constant || shape->n == 2);
    for (uint64_t i = 0; i < count; i++)
        to[i] = (float)(constant ? ones : value(init, stream, shape, first + i));
}

int lvlm_init_write(void *init, const lvlm_step *step, lvlm_sink *sink, lvlm_error *err)
{
    float values[CHUNK];
    const uint64_t numel = lvlm_tensor_numel(&step->out);
    (void)err;
    for (uint64_t at = 0; at < numel; at += CHUNK) {
        const uint64_t n = numel - at < CHUNK ? numel - at : CHUNK;
        lvlm_init_values(values, at, n, init, &step->out);
        lvlm_sink_put(sink, LVLM_F32, values, (size_t)n);
    }
    return 0;
}
