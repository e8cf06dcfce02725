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
    assert(init->kind != LVLM_INIT_NONE);
    if (init->kind == LVLM_INIT_ZEROS)
        snprintf(text, 96, "zeros");
    else if (init->kind == LVLM_INIT_IDENTITY)
        snprintf(text, 96, "identity");
    else if (init->kind == LVLM_INIT_MEAN)
        snprintf(text, 96, "mean");
    else if (init->kind == LVLM_INIT_NORMAL)
        snprintf(text, 96, "normal, std %g, seed %llu", init->std,
                 (unsigned long long)init->seed);
    else
        snprintf(text, 96, "xavier, seed %llu", (unsigned long long)init->seed);
}

void lvlm_init_values(float *to, uint64_t first, uint64_t count, const lvlm_init *init,
                      const lvlm_tensor *tensor)
{
    const uint64_t stream = lvlm_random_stream(init->seed, tensor->name);
    const lvlm_shape *shape = &tensor->shape;
    assert(init->kind != LVLM_INIT_NONE && init->kind != LVLM_INIT_MEAN);
    if (init->kind == LVLM_INIT_ZEROS || shape->n < 2) {
        memset(to, 0, (size_t)count * sizeof *to);
        return;
    }
    assert(shape->n == 2 && init->kind != LVLM_INIT_MEAN);
    if (init->kind == LVLM_INIT_IDENTITY) {
        for (uint64_t i = 0; i < count; i++)
            to[i] = (first + i) / shape->dims[1] == (first + i) % shape->dims[1];
        return;
    }
    const double bound = sqrt(6.0 / (double)(shape->dims[0] + shape->dims[1]));
    for (uint64_t i = 0; i < count; i++) {
        const double u = lvlm_random_uniform(stream, 2 * (first + i));
        if (init->kind == LVLM_INIT_XAVIER) {
            to[i] = (float)(bound * (2 * u - 1));
        } else { /* Box & Muller 1958 */
            const double v = lvlm_random_uniform(stream, 2 * (first + i) + 1);
            to[i] = (float)(init->std * sqrt(-2 * log(u)) * cos(TWO_PI * v));
        }
    }
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
