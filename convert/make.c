/* make.c - counter-based random values: no state, so any part can be made alone. */
#include "convert/make.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TWO_PI 6.283185307179586476925

int lvlm_init_parse(lvlm_init *out, const char *text, uint64_t seed, lvlm_error *err)
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
    if (strncmp(text, normal, strlen(normal)) == 0) {
        char *end;
        out->kind = LVLM_INIT_NORMAL;
        out->std = strtod(text + strlen(normal), &end);
        if (*end == '\0' && end != text + strlen(normal) && out->std > 0 &&
            isfinite(out->std))
            return 0;
    }
    return lvlm_fail(err, LVLM_EUSAGE,
                     "--init-missing '%s': expected zeros, xavier or normal:STD "
                     "(such as normal:0.02)",
                     text);
}

void lvlm_init_describe(char text[96], const lvlm_init *init)
{
    if (init->kind == LVLM_INIT_ZEROS)
        snprintf(text, 96, "zeros");
    else if (init->kind == LVLM_INIT_NORMAL)
        snprintf(text, 96, "normal, std %g, seed %llu", init->std,
                 (unsigned long long)init->seed);
    else
        snprintf(text, 96, "xavier, seed %llu", (unsigned long long)init->seed);
}

/* SplitMix64 (Steele, Lea & Flood 2014): a bijective scramble of a counter. */
static uint64_t scramble(uint64_t x)
{
    x += 0x9e3779b97f4a7c15u;
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
    x = (x ^ x >> 27) * 0x94d049bb133111ebu;
    return x ^ x >> 31;
}

/* FNV-1a: tensors of one seed get streams of their own. */
static uint64_t stream_of(uint64_t seed, const char *name)
{
    uint64_t hash = 0xcbf29ce484222325u;
    for (; *name != '\0'; name++) hash = (hash ^ (unsigned char)*name) * 0x100000001b3u;
    return scramble(hash ^ scramble(seed));
}

/* In (0, 1): 53 random bits, never 0, so that log is finite. */
static double uniform(uint64_t stream, uint64_t counter)
{
    return ((double)(scramble(stream + counter) >> 11) + 0.5) * 0x1p-53;
}

void lvlm_init_values(float *to, uint64_t first, uint64_t count, const lvlm_init *init,
                      const lvlm_tensor *tensor)
{
    const uint64_t stream = stream_of(init->seed, tensor->name);
    const lvlm_shape *shape = &tensor->shape;
    if (init->kind == LVLM_INIT_ZEROS || shape->n < 2) {
        memset(to, 0, (size_t)count * sizeof *to);
        return;
    }
    assert(shape->n == 2);
    const double bound = sqrt(6.0 / (double)(shape->dims[0] + shape->dims[1]));
    for (uint64_t i = 0; i < count; i++) {
        const double u = uniform(stream, 2 * (first + i));
        if (init->kind == LVLM_INIT_XAVIER) {
            to[i] = (float)(bound * (2 * u - 1));
        } else { /* Box & Muller 1958 */
            const double v = uniform(stream, 2 * (first + i) + 1);
            to[i] = (float)(init->std * sqrt(-2 * log(u)) * cos(TWO_PI * v));
        }
    }
}
