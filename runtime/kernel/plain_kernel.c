/* plain_kernel.c - the kernels in plain C: what the others are compared with.
 *
 * For blocks of LVLM_MOST_ROWS rows and two panels. */
#include <string.h>

#include "formats/container/numeric.h"
#include "runtime/kernel/kernel.h"

enum { COLUMNS = 2 * LVLM_PANEL };

static float half_at(const char *data, size_t i)
{
    uint16_t half;
    memcpy(&half, data + i * sizeof half, sizeof half);
    return lvlm_f32_of_bf16(half);
}

static float float_at(const char *data, size_t i)
{
    float value;
    memcpy(&value, data + i * sizeof value, sizeof value);
    return value;
}

static void put(float *to, float sum, bool adds)
{
    *to = adds ? *to + sum : sum;
}

static void terms(float *sums, const lvlm_block *b)
{
    for (size_t r = 0; r < LVLM_MOST_ROWS; r++)
        for (size_t c = 0; c < b->n_panels * LVLM_PANEL; c++) {
            const char *const right = b->right.data + c / LVLM_PANEL * b->right.panel;
            float sum = 0;
            LVLM_EACH_PAIR(b, i, j)
            for (size_t k = 0; k < lvlm_steps_of(b->n_values) * LVLM_STEP; k++) {
                const size_t s = k / LVLM_STEP, at = k % LVLM_STEP;
                const char *const left = b->left.data + s * b->left.step +
                                         r * b->left.row + i * b->left.term;
                const char *const pair = right + s * b->right.step + j * LVLM_TILE;
                sum += half_at(left, at) *
                       half_at(pair, at / 2 * COLUMNS + c % LVLM_PANEL * 2 + at % 2);
            }
            put(&sums[r * COLUMNS + c], sum, b->adds);
        }
}

static void floats(float *sums, const lvlm_block *b)
{
    for (size_t r = 0; r < LVLM_MOST_ROWS; r++)
        for (size_t c = 0; c < b->n_panels * LVLM_PANEL; c++) {
            const char *const right = b->right.data + c / LVLM_PANEL * b->right.panel;
            float sum = 0;
            for (size_t k = 0; k < b->n_values; k++) {
                const char *const left =
                    b->left.data + k / LVLM_STEP * b->left.step + r * b->left.row;
                sum += (b->left.is_float
                            ? float_at(left + k % LVLM_STEP * b->left.apart, 0)
                            : half_at(left, k % LVLM_STEP)) *
                       float_at(right, k * LVLM_PANEL + c % LVLM_PANEL);
            }
            put(&sums[r * COLUMNS + c], sum, b->adds);
        }
}

static void turn(float *to, const float *from, size_t line)
{
    for (size_t c = 0; c < LVLM_PANEL; c++)
        for (size_t r = 0; r < LVLM_PANEL; r++)
            to[c * LVLM_PANEL + r] = from[r * line + c];
}

static void pour(float *to, size_t ld, const float *from, size_t line, float scale,
                 const float *bias)
{
    for (size_t c = 0; c < LVLM_PANEL; c++)
        for (size_t r = 0; r < LVLM_PANEL; r++)
            to[c * ld + r] =
                scale * from[r * line + c] + (bias != NULL ? bias[r] : 0.0f);
}

const lvlm_kernel lvlm_plain_terms = {
    terms, LVLM_MOST_ROWS, 2, turn, pour, NULL, NULL
};
const lvlm_kernel lvlm_plain_floats = { floats, LVLM_MOST_ROWS, 2,   turn,
                                        pour,   NULL,           NULL };
