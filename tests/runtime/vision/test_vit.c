/* test_vit.c - the block that every tower stacks against finite differences, in double:
 * with LayerNorms, with RMS norms and a gated MLP, with gates. */
#include "runtime/vision/vit.h"
#include "tests/runtime/text/block_test.h"

enum { R = 6, SCRATCH = 1 << 16 };

typedef struct bench {
    vit_config config;
    vit_block block;
    vit_tape tape;
    vit_view view;
    block_places places;
    double *x; /* (R,C) the input, a place too */
    double r[R * 16];
    double cosines[R * 4], sines[R * 4];
    size_t lo[R], hi[R];
    double scratch_data[SCRATCH];
    ops_scratch scratch;
} bench;

static double loss(void *context)
{
    bench *const b = context;
    vit_acts *const a = vit_tape_enter(&b->tape, 0, b->x, &b->config);
    vit_block_forward(a, &b->block, &b->config, &b->view, &b->scratch);
    return gradcheck_dot(a->out, b->r, R * b->config.hidden);
}

static void fill_block(bench *b, bool biases, bool gates)
{
    const size_t C = b->config.hidden, M = b->config.mlp;
    block_places *const p = &b->places;
    vit_block *const w = &b->block;
    w->norm1 = w->norm2 = b->config.norm;
    w->norm1.w = block_vector(p, "norm1", C);
    w->norm2.w = block_vector(p, "norm2", C);
    if (!b->config.norm.rms) {
        w->norm1.b = block_vector(p, "norm1 bias", C);
        w->norm2.b = block_vector(p, "norm2 bias", C);
    }
    w->q_w = block_matrix(p, "q", C, C);
    w->k_w = block_matrix(p, "k", C, C);
    w->v_w = block_matrix(p, "v", C, C);
    w->out_w = block_matrix(p, "out", C, C);
    if (biases) {
        w->q_b = block_vector(p, "q bias", C);
        w->k_b = block_vector(p, "k bias", C);
        w->v_b = block_vector(p, "v bias", C);
        w->out_b = block_vector(p, "out bias", C);
    }
    w->fc1_w = block_matrix(p, "first layer", M, C);
    w->fc1_b = block_vector(p, "first bias", M);
    if (b->config.gated_mlp) {
        w->up_w = block_matrix(p, "up", M, C);
        w->up_b = block_vector(p, "up bias", M);
    }
    w->fc2_w = block_matrix(p, "second layer", C, M);
    w->fc2_b = block_vector(p, "second bias", C);
    if (gates) {
        w->attn_gate = block_vector(p, "gate of attention", 1);
        w->mlp_gate = block_vector(p, "gate of the MLP", 1);
    }
}

/* Two images of 4 and 2 rows. */
static void fill_view(bench *b, bool turns)
{
    const size_t half = b->config.hidden / b->config.heads / 2;
    for (size_t r = 0; r < R; r++) {
        b->lo[r] = r < 4 ? 0 : 4;
        b->hi[r] = r < 4 ? 4 : R;
        for (size_t j = 0; j < half; j++) {
            b->cosines[r * half + j] = cos((double)r / (1 + (double)j));
            b->sines[r * half + j] = sin((double)r / (1 + (double)j));
        }
    }
    b->view =
        (vit_view){ b->lo, b->hi, turns ? b->cosines : NULL, turns ? b->sines : NULL };
}

static void check(const vit_config *config, bool biases, bool gates, bool turns)
{
    bench *const b = calloc(1, sizeof *b);
    vit_grads g;
    assert_non_null(b);
    b->config = *config;
    b->scratch = (ops_scratch){ b->scratch_data, SCRATCH, 1 };
    const size_t n = R * config->hidden;
    fill_block(b, biases, gates);
    fill_view(b, turns);
    b->x = block_place(&b->places, "input", n, 1);
    gradcheck_fill(b->r, n, 5);
    assert_int_equal(vit_tape_make(&b->tape, config, R, 1, TAPE_ALL, NULL), 0);
    assert_int_equal(vit_grads_make(&g, config, R, NULL), 0);
    (void)loss(b);
    memcpy(g.x, b->r, n * sizeof *g.x);
    vit_tape_back(&b->tape, 0, &g, &b->block, config, &b->view, &b->scratch);
    memcpy(b->x + n, g.x, n * sizeof *g.x);
    block_check(&b->places, loss, b);
    block_free(&b->places);
    vit_grads_free(&g);
    vit_tape_free(&b->tape);
    free(b);
}

static const vit_config plain = { .hidden = 8,
                                  .heads = 2,
                                  .mlp = 11,
                                  .norm.eps = 1e-3,
                                  .activation = LVLM_ACTIVATION_GELU };

static void a_block_with_layer_norms_goes_back(void **state)
{
    (void)state;
    check(&plain, true, false, false);
    check(&plain, true, false, true);
}

static void a_block_with_rms_norms_and_a_gated_mlp_goes_back(void **state)
{
    vit_config c = plain;
    (void)state;
    c.norm.rms = true;
    c.gated_mlp = true;
    c.activation = LVLM_ACTIVATION_SILU;
    check(&c, true, false, true);
}

static void a_gated_block_goes_back(void **state)
{
    (void)state;
    check(&plain, false, true, false);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_block_with_layer_norms_goes_back),
        cmocka_unit_test(a_block_with_rms_norms_and_a_gated_mlp_goes_back),
        cmocka_unit_test(a_gated_block_goes_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
