/* test_transformer.c - gradients of every kind of transformer block compared with
 * finite differences, in double; and what a tape keeps when less is trained. */
#include "runtime/block/transformer.h"
#include "tests/runtime/block/block_test.h"

enum { N = 7, KEYS = 6, WANTED = 3, SCRATCH = 1 << 16 };

/* What a block has, besides its configuration. */
enum {
    BIASES = 1,
    GATES = 2,
    POST_NORMS = 4,
    ROPE = 8,
    LOGN = 16,
    CROSS = 32,
    HEAD_NORMS = 64,
    GATED = 128,
    DROPS = 256,
};

typedef struct bench {
    transformer_config config;
    transformer_block block;
    transformer_tape tape;
    transformer_view view;
    workspace memory;
    block_places places;
    double *x; /* (N,C) the input, which has a gradient too */
    double r[N * 64];
    double cosines[N * 8], sines[N * 8], logn[N], sees[N];
    size_t lo[N], hi[N];
    uint64_t rows[N];
    double scratch_data[SCRATCH];
    ops_scratch scratch;
} bench;

static double loss(void *context)
{
    bench *const b = context;
    const real *const out =
        transformer_tape_forward(&b->tape, 0, b->x, &b->view, &b->scratch);
    const size_t rows = b->view.wanted != NULL ? b->view.n_wanted : N;
    return gradcheck_dot(out, b->r, rows * b->config.hidden);
}

static norm_layer norm_of(bench *b, const char *name, const char *bias)
{
    norm_layer norm = b->config.norm;
    norm.w = block_vector(&b->places, name, b->config.hidden);
    if (!norm.rms) norm.b = block_vector(&b->places, bias, b->config.hidden);
    return norm;
}

static void fill_attention(bench *b, unsigned has)
{
    const transformer_config *const c = &b->config;
    const size_t C = c->hidden, Q = c->heads * c->head_dim;
    const size_t K = c->kv_heads * c->head_dim;
    const norm_layer of_heads = { .rms = true, .eps = c->norm.eps };
    block_places *const p = &b->places;
    transformer_block *const w = &b->block;
    w->is_cross = (has & CROSS) != 0;
    w->q_w = block_matrix(p, "q", Q, C);
    w->k_w = block_matrix(p, "k", K, C);
    w->v_w = block_matrix(p, "v", K, C);
    w->out_w = block_matrix(p, "out", C, Q);
    if (has & BIASES) {
        w->q_b = block_vector(p, "q bias", Q);
        w->k_b = block_vector(p, "k bias", K);
        w->v_b = block_vector(p, "v bias", K);
        w->out_b = block_vector(p, "out bias", C);
    }
    if (has & HEAD_NORMS) {
        w->q_norm = w->k_norm = of_heads;
        w->q_norm.w = block_vector(p, "q norm", c->head_dim);
        w->k_norm.w = block_vector(p, "k norm", c->head_dim);
    }
}

static void fill_block(bench *b, unsigned has)
{
    const transformer_config *const c = &b->config;
    const size_t C = c->hidden, F = c->mlp;
    block_places *const p = &b->places;
    transformer_block *const w = &b->block;
    w->norm1 = norm_of(b, "norm1", "norm1 bias");
    w->norm2 = norm_of(b, "norm2", "norm2 bias");
    fill_attention(b, has);
    w->gate_w = block_matrix(p, "gate", F, C);
    if (has & GATED) w->up_w = block_matrix(p, "up", F, C);
    w->down_w = block_matrix(p, "down", C, F);
    if (has & BIASES) {
        w->gate_b = block_vector(p, "gate bias", F);
        if (has & GATED) w->up_b = block_vector(p, "up bias", F);
        w->down_b = block_vector(p, "down bias", C);
    }
    if (has & POST_NORMS) {
        w->post_attn_norm = norm_of(b, "norm after attention", "its bias");
        w->post_mlp_norm = norm_of(b, "norm after the MLP", "its bias");
    }
    if (has & GATES) {
        w->attn_gate = block_vector(p, "gate of attention", 1);
        w->mlp_gate = block_vector(p, "gate of the MLP", 1);
    }
}

/* Two texts of 4 and 3 rows, the first with a prefix of 2; angles, factors. */
static void fill_view(bench *b, unsigned has)
{
    const size_t half = b->config.head_dim / 2;
    for (size_t n = 0; n < N; n++) {
        b->lo[n] = n < 4 ? 0 : 4;
        b->hi[n] = n < 2 ? 2 : n + 1;
        b->logn[n] = 1 + 0.1 * (double)n;
        b->rows[n] = 10 * n;
        for (size_t j = 0; j < half; j++) {
            b->cosines[n * half + j] = cos((double)n / (1 + (double)j));
            b->sines[n * half + j] = sin((double)n / (1 + (double)j));
        }
    }
    b->view = (transformer_view){ .N = N, .lo = b->lo, .hi = b->hi };
    if (has & ROPE) b->view.cosines = b->cosines, b->view.sines = b->sines;
    if (has & LOGN) b->view.logn = b->logn;
    if (!(has & DROPS)) return;
    b->view.attention_drop = (dropout){ 0.3, 1, b->rows };
    b->view.attn_drop = (dropout){ 0.2, 2, b->rows };
    b->view.mlp_drop = (dropout){ 0.4, 3, b->rows };
}

/* Rows of the first text attend to one tile or both; one row to nothing. */
static void fill_cross(bench *b)
{
    const size_t n_states = KEYS * b->config.hidden;
    for (size_t n = 0; n < N; n++) {
        b->sees[n] = n != 4;
        b->lo[n] = n == 2 ? KEYS / 2 : 0;
        b->hi[n] = n == 4 ? 0 : n < 2 ? KEYS / 2 : KEYS;
    }
    double *const states = block_place(&b->places, "image rows", n_states, 1);
    b->view.S = KEYS;
    b->view.states = (real *)(void *)states;
    b->view.dstates = (real *)(void *)(states + n_states);
    b->view.sees = (real *)(void *)b->sees;
}

/* Runs forward and backward, then checks every array. With `wanted` (3) all other rows
 * end after attention. */
static void check_rows(const transformer_config *config, unsigned has,
                       const size_t *wanted)
{
    bench *const b = calloc(1, sizeof *b);
    assert_non_null(b);
    b->config = *config;
    b->scratch = (ops_scratch){ b->scratch_data, SCRATCH, 1 };
    const size_t n = N * config->hidden;
    const transformer_tape_options options = { .N = N,
                                               .has_states = (has & CROSS) != 0,
                                               .S = KEYS,
                                               .keep = TAPE_ALL,
                                               .narrows = wanted != NULL ? 0 : 1,
                                               .M = 3 };
    transformer_grads g;
    fill_block(b, has);
    fill_view(b, has);
    if (has & CROSS) fill_cross(b);
    if (wanted != NULL) b->view.wanted = wanted, b->view.n_wanted = 3;
    b->x = block_place(&b->places, "input", n, 1);
    gradcheck_fill(b->r, n, 5);
    assert_int_equal(transformer_tape_make(&b->tape, &b->memory, &b->config, &b->block,
                                           1, &options, NULL),
                     0);
    assert_int_equal(transformer_grads_make(&g, &b->memory, &b->tape, NULL), 0);
    (void)loss(b);
    memcpy(g.x, b->r, (wanted != NULL ? 3 : N) * config->hidden * sizeof *g.x);
    transformer_tape_backward(&b->tape, 0, &g, &b->view, &b->scratch);
    memcpy(b->x + n, g.x, n * sizeof *g.x);
    block_check(&b->places, loss, b);
    block_free(&b->places);
    workspace_free(&b->memory);
    free(b);
}

static void check(const transformer_config *config, unsigned has)
{
    check_rows(config, has, NULL);
}

static const transformer_config text = {
    .hidden = 10,
    .heads = 4,
    .kv_heads = 2,
    .head_dim = 6,
    .mlp = 13,
    .norm = { .rms = true, .eps = 1e-3 },
    .query_scalar = 6,
    .activation = LVLM_ACTIVATION_SILU,
};

static const transformer_config tower = {
    .hidden = 8,
    .heads = 2,
    .kv_heads = 2,
    .head_dim = 4,
    .mlp = 11,
    .norm = { .eps = 1e-3 },
    .query_scalar = 4,
    .activation = LVLM_ACTIVATION_GELU,
};

static void gradients_of_a_text_block_are_slopes(void **state)
{
    (void)state;
    check(&text, GATED | ROPE | LOGN);
    check(&text, GATED | ROPE | LOGN | BIASES);
    check(&text, GATED | ROPE | HEAD_NORMS);
}

static void gradients_of_a_tower_block_are_slopes(void **state)
{
    transformer_config c = tower;
    (void)state;
    check(&c, BIASES);
    check(&c, BIASES | ROPE);
    check(&c, GATES);
    c.norm.rms = true;
    check(&c, GATED | BIASES | ROPE);
}

static void gradients_with_post_norms_and_caps_are_slopes(void **state)
{
    transformer_config c = text;
    (void)state;
    c.norm.offset = 1;
    c.attn_softcap = 2;
    c.activation = LVLM_ACTIVATION_GELU_TANH;
    check(&c, GATED | ROPE | LOGN | POST_NORMS);
}

static void gradients_from_selected_rows_are_slopes(void **state)
{
    static const size_t wanted[] = { 0, 3, 5 };
    (void)state;
    check_rows(&text, GATED | ROPE | LOGN, wanted);
    check_rows(&text, GATED | ROPE | LOGN | POST_NORMS, wanted);
}

static void gradients_of_cross_attention_are_slopes(void **state)
{
    (void)state;
    check(&text, GATED | CROSS | HEAD_NORMS | GATES);
}

static void gradients_under_dropout_are_slopes(void **state)
{
    static const size_t wanted[] = { 0, 3, 5 };
    (void)state;
    check(&tower, BIASES | DROPS);
    check(&tower, GATES | DROPS);
    check(&text, GATED | ROPE | LOGN | POST_NORMS | DROPS);
    check(&text, GATED | CROSS | HEAD_NORMS | GATES | DROPS);
    check_rows(&text, GATED | ROPE | DROPS, wanted);
    check_rows(&text, GATED | ROPE | POST_NORMS | DROPS, wanted);
}

/* With a rate of nearly 1 a branch adds nothing: rows leave the block as they came. */
static void each_branch_is_dropped(void **state)
{
    (void)state;
    for (unsigned has = GATED | DROPS; has <= (GATED | DROPS | POST_NORMS);
         has += POST_NORMS) {
        bench *const b = calloc(1, sizeof *b);
        const transformer_tape_options options = { .N = N, .narrows = 1 };
        assert_non_null(b);
        b->config = text;
        b->scratch = (ops_scratch){ b->scratch_data, SCRATCH, 1 };
        fill_block(b, has);
        fill_view(b, has);
        b->view.attention_drop.rate = 0;
        b->view.attn_drop.rate = b->view.mlp_drop.rate = 1 - 0x1p-40;
        b->x = block_place(&b->places, "input", (size_t)N * text.hidden, 1);
        assert_int_equal(transformer_tape_make(&b->tape, &b->memory, &b->config,
                                               &b->block, 1, &options, NULL),
                         0);
        const real *const out =
            transformer_tape_forward(&b->tape, 0, b->x, &b->view, &b->scratch);
        assert_memory_equal(out, b->x, N * text.hidden * sizeof *out);
        block_free(&b->places);
        workspace_free(&b->memory);
        free(b);
    }
}

/* Arrays that only gradients of frozen weights would read are not kept; counting
 * allocates nothing and gives the bytes that are allocated. */
static void a_tape_keeps_only_what_backward_reads(void **state)
{
    bench *const b = calloc(1, sizeof *b);
    const transformer_tape_options options = { .N = N, .keep = TAPE_ALL, .narrows = 1 };
    uint64_t all = 0;
    (void)state;
    assert_non_null(b);
    b->config = text;
    fill_block(b, GATED);
    for (int counts = 0; counts <= 1; counts++) {
        workspace memory = { .counts = counts };
        transformer_tape tape;
        assert_int_equal(transformer_tape_make(&tape, &memory, &b->config, &b->block, 1,
                                               &options, NULL),
                         0);
        assert_true((tape.kept[0].hidden == NULL) == (counts == 1));
        if (counts == 1) assert_int_equal(memory.bytes, all);
        all = memory.bytes;
        workspace_free(&memory);
    }
    b->block.q_w.grad = b->block.k_w.grad = b->block.v_w.grad = NULL;
    b->block.gate_w.grad = b->block.up_w.grad = b->block.down_w.grad = NULL;
    b->block.out_w.grad = NULL;
    transformer_tape tape;
    assert_int_equal(transformer_tape_make(&tape, &b->memory, &b->config, &b->block, 1,
                                           &options, NULL),
                     0);
    assert_ptr_equal(tape.kept[0].hidden, tape.shared.gate);
    assert_ptr_equal(tape.kept[0].heads, tape.shared.q);
    assert_ptr_not_equal(tape.kept[0].gate, tape.shared.gate);
    workspace_free(&b->memory);
    block_free(&b->places);
    free(b);
}

/* The rows that are wanted, as they are if all queries are computed or only theirs. */
static void expect_only_keys(unsigned has, size_t first)
{
    const size_t wanted[WANTED] = { first, first + 1, first + 2 };
    const transformer_tape_options options = { .N = N, .M = WANTED };
    real kept[WANTED * 16];
    bench *const b = calloc(1, sizeof *b);
    assert_non_null(b);
    b->config = text;
    b->scratch = (ops_scratch){ b->scratch_data, SCRATCH, 1 };
    fill_block(b, has);
    fill_view(b, has);
    b->view.wanted = wanted;
    b->view.n_wanted = WANTED;
    b->x = block_place(&b->places, "input", N * text.hidden, 1);
    assert_int_equal(transformer_tape_make(&b->tape, &b->memory, &b->config, &b->block,
                                           1, &options, NULL),
                     0);
    const size_t Q = text.heads * text.head_dim;
    real *const q = b->tape.shared.q;
    for (int only_keys = 0; only_keys < 2; only_keys++) {
        b->view.only_keys = only_keys;
        for (size_t i = 0; i < N * Q; i++) q[i] = NAN;
        const real *const out =
            transformer_tape_forward(&b->tape, 0, b->x, &b->view, &b->scratch);
        for (size_t i = 0; i < WANTED * text.hidden; i++) {
            assert_true(!only_keys || fabs(out[i] - kept[i]) < 1e-13); /* observed 0 */
            kept[i] = out[i];
        }
        for (size_t i = WANTED * Q; i < N * Q; i++)
            assert_true((bool)isnan(q[i]) == (only_keys != 0));
    }
    block_free(&b->places);
    workspace_free(&b->memory);
    free(b);
}

static void only_keys_are_computed_of_rows_that_are_not_wanted(void **state)
{
    (void)state;
    for (size_t first = 0; first + WANTED <= N; first++) {
        expect_only_keys(GATED | ROPE | LOGN | BIASES, first);
        expect_only_keys(GATED | POST_NORMS, first);
        expect_only_keys(GATED | ROPE | HEAD_NORMS, first);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gradients_of_a_text_block_are_slopes),
        cmocka_unit_test(gradients_of_a_tower_block_are_slopes),
        cmocka_unit_test(gradients_with_post_norms_and_caps_are_slopes),
        cmocka_unit_test(gradients_from_selected_rows_are_slopes),
        cmocka_unit_test(gradients_of_cross_attention_are_slopes),
        cmocka_unit_test(gradients_under_dropout_are_slopes),
        cmocka_unit_test(each_branch_is_dropped),
        cmocka_unit_test(a_tape_keeps_only_what_backward_reads),
        cmocka_unit_test(only_keys_are_computed_of_rows_that_are_not_wanted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
