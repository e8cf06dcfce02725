/* test_block.c - blocks of the language model against finite differences, in double:
 * plain, with norms behind and caps, and looking at an image. */
#include "runtime/ops/linear.h"
#include "runtime/text/cross.h"
#include "tests/runtime/text/block_test.h"

enum { N = 7, KEYS = 6, SCRATCH = 1 << 16 };

typedef struct bench {
    decoder_config config;
    decoder_block block;
    decoder_acts acts;
    decoder_pass pass;
    lvlm_packing packing;
    cross_keys keys;
    cross_acts cross;
    lvlm_sight sight;
    bool looks;
    block_places places;
    double *x; /* (N,C) the input, a place too */
    double *states;
    double r[N * 64];
    double cosines[N * 8], sines[N * 8], logn[N];
    size_t lo[N], hi[N], key_lo[N], key_hi[N], tiles[2];
    bool sees[N];
    double scratch_data[SCRATCH];
    ops_scratch scratch;
} bench;

static double loss(void *context)
{
    bench *const b = context;
    const size_t n = N * b->config.hidden;
    memcpy(b->acts.x, b->x, n * sizeof *b->x);
    if (b->looks) {
        memcpy(b->keys.states, b->states, KEYS * b->config.hidden * sizeof(double));
        cross_keys_forward(&b->cross, &b->block, &b->config, &b->keys, &b->scratch);
        cross_block_forward(&b->acts, &b->cross, &b->block, &b->config, &b->keys, N,
                            &b->scratch);
    } else {
        decoder_block_forward(&b->acts, &b->block, &b->config, 0, &b->pass,
                              &b->scratch);
    }
    return gradcheck_dot(b->acts.out, b->r, b->pass.n_wanted * b->config.hidden);
}

/* Two texts of 4 and 3 rows, the first with a prefix of 2; angles, factors. */
static void fill_pass(bench *b)
{
    for (size_t n = 0; n < N; n++) {
        b->lo[n] = n < 4 ? 0 : 4;
        b->hi[n] = n < 2 ? 2 : n + 1;
        b->logn[n] = 1 + 0.1 * (double)n;
        for (size_t j = 0; j < b->config.head_dim / 2; j++) {
            const double angle = (double)n / (1 + (double)j);
            b->cosines[n * b->config.head_dim / 2 + j] = cos(angle);
            b->sines[n * b->config.head_dim / 2 + j] = sin(angle);
        }
    }
    b->packing = (lvlm_packing){ .N = N, .lo = b->lo, .hi = b->hi };
    b->pass = (decoder_pass){ .N = N,
                              .packing = &b->packing,
                              .cosines = b->cosines,
                              .sines = b->sines,
                              .logn = b->logn,
                              .n_wanted = N };
}

static void fill_block(bench *b)
{
    const decoder_config *const c = &b->config;
    const size_t C = c->hidden, Q = c->heads * c->head_dim, F = c->mlp;
    const size_t K = c->kv_heads * c->head_dim;
    block_places *const p = &b->places;
    decoder_block *const w = &b->block;
    w->norm1 = w->norm2 = w->post_attn_norm = w->post_mlp_norm = c->norm;
    w->q_norm = w->k_norm = (norm_layer){ .rms = true, .eps = c->norm.eps };
    w->norm1.w = block_vector(p, "norm1", C);
    w->q_w = block_matrix(p, "q", Q, C);
    w->k_w = block_matrix(p, "k", K, C);
    w->v_w = block_matrix(p, "v", K, C);
    w->out_w = block_matrix(p, "out", C, Q);
    w->norm2.w = block_vector(p, "norm2", C);
    w->gate_w = block_matrix(p, "gate", F, C);
    w->up_w = block_matrix(p, "up", F, C);
    w->down_w = block_matrix(p, "down", C, F);
    if (c->qkv_bias) {
        w->q_b = block_vector(p, "q bias", Q);
        w->k_b = block_vector(p, "k bias", K);
        w->v_b = block_vector(p, "v bias", K);
    }
    if (c->sandwich) {
        w->post_attn_norm.w = block_vector(p, "norm behind attention", C);
        w->post_mlp_norm.w = block_vector(p, "norm behind the MLP", C);
    }
    if (b->looks) {
        w->q_norm.w = block_vector(p, "q norm", c->head_dim);
        w->k_norm.w = block_vector(p, "k norm", c->head_dim);
        w->attn_gate = block_vector(p, "gate of attention", 1);
        w->mlp_gate = block_vector(p, "gate of the MLP", 1);
    }
}

/* Rows of the first text see one tile or both; one row sees nothing. */
static void fill_sight(bench *b)
{
    for (size_t n = 0; n < N; n++) {
        b->sees[n] = n != 4;
        b->key_lo[n] = n == 2 ? KEYS / 2 : 0;
        b->key_hi[n] = n == 4 ? 0 : n < 2 ? KEYS / 2 : KEYS;
    }
    b->tiles[0] = 0, b->tiles[1] = 1;
    b->sight = (lvlm_sight){ .tiles = b->tiles,
                             .n_tiles = 2,
                             .n_keys = KEYS,
                             .lo = b->key_lo,
                             .hi = b->key_hi,
                             .sees = b->sees };
    assert_int_equal(cross_keys_make(&b->keys, &b->config, &b->sight, N, true, NULL),
                     0);
    assert_int_equal(cross_acts_make(&b->cross, &b->config, &b->keys, true, NULL), 0);
    b->states = block_place(&b->places, "image rows", KEYS * b->config.hidden, 1);
}

/* There and back, then every array. With `wanted` (3) all other rows end behind
 * attention. */
static void check_rows(const decoder_config *config, bool looks, const size_t *wanted)
{
    bench *const b = calloc(1, sizeof *b);
    assert_non_null(b);
    b->config = *config;
    b->looks = looks;
    b->scratch = (ops_scratch){ b->scratch_data, SCRATCH, 1 };
    const size_t n = N * config->hidden;
    const decoder_acts_options options = { .N = N, .keep = true, .cross = looks };
    decoder_grads g;
    fill_pass(b);
    if (wanted != NULL) b->pass.wanted = wanted, b->pass.n_wanted = 3;
    fill_block(b);
    if (looks) fill_sight(b);
    b->x = block_place(&b->places, "input", n, 1);
    gradcheck_fill(b->r, n, 5);
    assert_int_equal(decoder_acts_make(&b->acts, config, &options, NULL), 0);
    assert_int_equal(decoder_grads_make(&g, config, N, NULL), 0);
    (void)loss(b);
    memcpy(g.x, b->r, b->pass.n_wanted * config->hidden * sizeof *g.x);
    if (looks)
        cross_block_backward(&g, &b->acts, &b->cross, &b->block, config, &b->keys, N,
                             &b->scratch);
    else
        decoder_block_backward(&g, &b->acts, &b->block, config, 0, &b->pass,
                               &b->scratch);
    memcpy(b->x + n, g.x, n * sizeof *g.x);
    if (looks)
        memcpy(b->states + KEYS * config->hidden, b->keys.dstates,
               KEYS * config->hidden * sizeof(double));
    block_check(&b->places, loss, b);
    block_free(&b->places);
    decoder_grads_free(&g);
    decoder_acts_free(&b->acts);
    cross_acts_free(&b->cross);
    cross_keys_free(&b->keys);
    free(b);
}

static void check(const decoder_config *config, bool looks)
{
    check_rows(config, looks, NULL);
}

static const decoder_config plain = {
    .hidden = 10,
    .layers = 1,
    .heads = 4,
    .kv_heads = 2,
    .head_dim = 6,
    .mlp = 13,
    .norm = { .rms = true, .eps = 1e-3 },
    .query_scalar = 6,
    .activation = LVLM_ACTIVATION_SILU,
};

static void a_plain_block_goes_back(void **state)
{
    decoder_config c = plain;
    (void)state;
    check(&c, false);
    c.qkv_bias = true;
    check(&c, false);
}

static void a_block_with_norms_behind_and_caps_goes_back(void **state)
{
    decoder_config c = plain;
    (void)state;
    c.sandwich = true;
    c.norm.offset = 1;
    c.attn_softcap = 2;
    c.activation = LVLM_ACTIVATION_GELU_TANH;
    check(&c, false);
}

static void a_last_block_goes_back_from_the_rows_that_are_wanted(void **state)
{
    static const size_t wanted[] = { 0, 3, 5 };
    decoder_config c = plain;
    (void)state;
    check_rows(&c, false, wanted);
    c.sandwich = true;
    check_rows(&c, false, wanted);
}

static void a_block_that_looks_goes_back(void **state)
{
    (void)state;
    check(&plain, true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_plain_block_goes_back),
        cmocka_unit_test(a_block_with_norms_behind_and_caps_goes_back),
        cmocka_unit_test(a_last_block_goes_back_from_the_rows_that_are_wanted),
        cmocka_unit_test(a_block_that_looks_goes_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
