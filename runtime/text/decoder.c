/* decoder.c - the language model; see decoder.h for its equations. */
#include "runtime/text/decoder.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "formats/base/alloc.h"
#include "formats/base/json.h"
#include "runtime/model/configure.h"
#include "runtime/model/workspace.h"
#include "runtime/ops/add.h"
#include "runtime/ops/attention.h"
#include "runtime/ops/embed.h"
#include "runtime/ops/linear.h"
#include "runtime/ops/norm.h"
#include "runtime/ops/rope.h"
#include "runtime/ops/rows.h"
#include "runtime/text/cross.h"

static const config_row config_rows[] = {
    CONFIG("text.hidden", decoder_config, hidden),
    CONFIG("text.layers", decoder_config, layers),
    CONFIG("text.heads", decoder_config, heads),
    CONFIG("text.kv_heads", decoder_config, kv_heads),
    CONFIG("text.head_dim", decoder_config, head_dim),
    CONFIG("text.mlp", decoder_config, mlp),
    CONFIG("text.vocab", decoder_config, embed_rows),
    CONFIG_MAYBE("text.embed_rows", decoder_config, embed_rows), /* where they differ */
    CONFIG_MAYBE("text.embed_rows", decoder_config, own_rows),
    CONFIG("text.norm_eps", decoder_config, norm_eps),
    CONFIG("text.norm_offset", decoder_config, norm_offset),
    CONFIG("text.rope_theta", decoder_config, rope.theta),
    CONFIG_MAYBE("text.rope_factor", decoder_config, rope.factor),
    CONFIG_MAYBE("text.rope_low", decoder_config, rope.low),
    CONFIG_MAYBE("text.rope_high", decoder_config, rope.high),
    CONFIG_MAYBE("text.rope_original", decoder_config, rope.original),
    CONFIG_MAYBE("text.train_length", decoder_config, rope.train_length),
    CONFIG_MAYBE("text.dynamic_ntk", decoder_config, rope.dynamic_ntk),
    CONFIG_MAYBE("text.logn", decoder_config, rope.logn),
    CONFIG_MAYBE("vision.merge", decoder_config, rope.positions.merge),
    CONFIG_MAYBE("vision.tokens_per_second", decoder_config,
                 rope.positions.tokens_per_second),
    CONFIG("text.query_scalar", decoder_config, query_scalar),
    CONFIG_MAYBE("text.attn_softcap", decoder_config, attn_softcap),
    CONFIG_MAYBE("text.sliding_window", decoder_config, sliding_window),
    CONFIG("text.first_position", decoder_config, first_position),
    CONFIG("text.sandwich_norms", decoder_config, sandwich),
    CONFIG_MAYBE("text.qkv_bias", decoder_config, qkv_bias),
    CONFIG("text.activation", decoder_config, activation),
    CONFIG_END,
};

/* A configuration that asks for more than is written here is refused by name. */
enum { MASK_PREFIX_LM, MASK_CAUSAL };
static const char *const mask_words[] = { "prefix_lm", "causal", NULL };

enum { ROPE_DEFAULT, ROPE_LLAMA3 };
static const char *const rope_words[] = { "default", "llama3", NULL };

enum { EMBED_ONE, EMBED_SQRT_HIDDEN };
static const char *const embed_scale_words[] = {
    [EMBED_ONE] = "one",
    [EMBED_SQRT_HIDDEN] = "sqrt_hidden",
    NULL,
};

enum {
    HAS_SANDWICH = 1,
    HAS_BIAS = 2,
    IS_SELF = 4,
    IS_CROSS = 8,
    HEAD_ROWS = 16,
    OWN_ROWS = 32
};

// clang-format off
#define C LVLM_DIM_HIDDEN
#define Q LVLM_DIM_Q_DIM
#define D LVLM_DIM_HEAD_DIM
#define K LVLM_DIM_KV_DIM
#define F LVLM_DIM_MLP
#define TEXT(bits, field) WEIGHT_FIELD_WHEN(decoder, field, bits)
#define BLOCK(field) WEIGHT_FIELD(decoder_block, field)
#define WHEN(bits, field) WEIGHT_FIELD_WHEN(decoder_block, field, bits)

static const weight_row decoder_rows[] = {
    { "embed.weight", { LVLM_DIM_VOCAB, C },      TEXT(HEAD_ROWS, embed) },
    { "embed.weight", { LVLM_DIM_EMBED_ROWS, C }, TEXT(OWN_ROWS, embed) },
    { "norm.weight",  { C },                 WEIGHT_FIELD(decoder, norm) },
    WEIGHT_END,
};

static const weight_row block_rows[] = {
    { "norm1.weight",          { C },    BLOCK(norm1) },
    { "attn.q.weight",         { Q, C }, WHEN(IS_SELF, q_w) },
    { "attn.k.weight",         { K, C }, WHEN(IS_SELF, k_w) },
    { "attn.v.weight",         { K, C }, WHEN(IS_SELF, v_w) },
    { "attn.q.bias",           { Q },    WHEN(IS_SELF | HAS_BIAS, q_b) },
    { "attn.k.bias",           { K },    WHEN(IS_SELF | HAS_BIAS, k_b) },
    { "attn.v.bias",           { K },    WHEN(IS_SELF | HAS_BIAS, v_b) },
    { "attn.out.weight",       { C, Q }, WHEN(IS_SELF, out_w) },
    { "cross.q.weight",        { Q, C }, WHEN(IS_CROSS, q_w) },
    { "cross.k.weight",        { K, C }, WHEN(IS_CROSS, k_w) },
    { "cross.v.weight",        { K, C }, WHEN(IS_CROSS, v_w) },
    { "cross.q_norm.weight",   { D },    WHEN(IS_CROSS, q_norm) },
    { "cross.k_norm.weight",   { D },    WHEN(IS_CROSS, k_norm) },
    { "cross.out.weight",      { C, Q }, WHEN(IS_CROSS, out_w) },
    { "attn_gate",             { LVLM_DIM_ONE }, WHEN(IS_CROSS, attn_gate) },
    { "post_attn_norm.weight", { C },    WHEN(HAS_SANDWICH, post_attn_norm) },
    { "norm2.weight",          { C },    BLOCK(norm2) },
    { "mlp.gate.weight",       { F, C }, BLOCK(gate_w) },
    { "mlp.up.weight",         { F, C }, BLOCK(up_w) },
    { "mlp.down.weight",       { C, F }, BLOCK(down_w) },
    { "mlp_gate",              { LVLM_DIM_ONE }, WHEN(IS_CROSS, mlp_gate) },
    { "post_mlp_norm.weight",  { C },    WHEN(HAS_SANDWICH, post_mlp_norm) },
    WEIGHT_END,
};

#undef C
#undef Q
#undef D
#undef K
#undef F
// clang-format on

static const char blocks[] = "text.blocks."; /* of weights and of stages */

/* ---- life ----------------------------------------------------------------------- */

static int check_config(const decoder_config *c, lvlm_error *err)
{
    FAIL_IF(c->heads % c->kv_heads != 0, err, LVLM_EFORMAT,
            "configuration: text.heads %zu is no multiple of text.kv_heads %zu",
            c->heads, c->kv_heads);
    FAIL_IF(c->head_dim % 2 != 0, err, LVLM_EFORMAT,
            "configuration: text.head_dim %zu is odd", c->head_dim);
    FAIL_IF(c->first_position > 1, err, LVLM_EFORMAT,
            "configuration: text.first_position %" PRId64 " is not 0 or 1",
            c->first_position);
    return 0;
}

static int read_words(decoder_config *c, const cJSON *config, lvlm_error *err)
{
    size_t word = 0;
    TRY(configure_word(&word, config, "text.mask", mask_words, err));
    c->causal = word == MASK_CAUSAL;
    TRY(configure_word(&word, config, "text.rope_type", rope_words, err));
    c->rope.llama3 = word == ROPE_LLAMA3;
    TRY(configure_word(&word, config, "text.embed_scale", embed_scale_words, err));
    c->embed_scale = word == EMBED_SQRT_HIDDEN ? sqrt((double)c->hidden) : 1;
    return 0;
}

/* Pairs of a head that turn by each axis, where there are three. */
static int read_sections(decoder_config *c, const cJSON *config, lvlm_error *err)
{
    size_t n = 0;
    const size_t *s = c->rope.sections;
    c->rope.axes = 1;
    if (lvlm_json_path(config, "text.mrope_section") == NULL) return 0;
    TRY(configure_list(c->rope.sections, 3, &n, config, "text.mrope_section", err));
    FAIL_IF(n != 3 || s[0] + s[1] + s[2] != c->head_dim / 2, err, LVLM_EFORMAT,
            "configuration: text.mrope_section does not add up to half of a head");
    c->rope.axes = 3;
    return 0;
}

/* What of the family's differences is in force. */
static void read_differences(decoder_config *c, const lvlm_family *family,
                             const char *reference)
{
    lvlm_position_rules *const p = &c->rope.positions;
    c->window_cuts_prefix =
        lvlm_reference_applies(family, "sliding_window_prefix", reference);
    if (!c->window_cuts_prefix &&
        !lvlm_reference_applies(family, "sliding_window", reference))
        c->sliding_window = 0;
    c->attends_unseeing =
        lvlm_reference_applies(family, "unseeing_rows_attend", reference);
    p->image_time_scaled =
        lvlm_reference_applies(family, "image_time_scaled", reference);
    p->collapsed =
        lvlm_reference_applies(family, "video_positions_collapsed", reference);
    p->overlaps = lvlm_reference_applies(family, "video_overlaps_text", reference);
    p->truncated = lvlm_reference_applies(family, "video_seconds_truncated", reference);
}

/* Which blocks look at the image. */
static int read_cross(decoder *text, const cJSON *config, lvlm_error *err)
{
    const cJSON *item;
    cJSON_ArrayForEach (item, lvlm_json_path(config, "text.cross_layers")) {
        uint64_t i;
        FAIL_IF(!lvlm_json_u64(&i, item) || i >= text->config.layers, err, LVLM_EFORMAT,
                "configuration: text.cross_layers names a block that is not there");
        text->is_cross[i] = true;
    }
    return 0;
}

int decoder_open(decoder *text, const lvlm_manifest *manifest, const char *reference,
                 lvlm_error *err)
{
    decoder_config *const c = &text->config;
    TRY(configure(c, config_rows, manifest->config, err));
    TRY(read_words(c, manifest->config, err));
    TRY(check_config(c, err));
    TRY(read_sections(c, manifest->config, err));
    read_differences(c, manifest->family, reference);
    text->blocks = lvlm_calloc(c->layers, sizeof *text->blocks);
    text->is_cross = lvlm_calloc(c->layers, sizeof *text->is_cross);
    FAIL_IF(text->blocks == NULL || text->is_cross == NULL, err, LVLM_ENOMEM,
            "out of memory for %zu blocks", c->layers);
    return read_cross(text, manifest->config, err);
}

int decoder_bind(decoder *text, weights *w, lvlm_error *err)
{
    const decoder_config *const c = &text->config;
    const unsigned has =
        (c->sandwich ? HAS_SANDWICH : 0) | (c->qkv_bias ? HAS_BIAS : 0);
    TRY(weights_bind(w, text, decoder_rows, c->own_rows > 0 ? OWN_ROWS : HEAD_ROWS,
                     "text.", err));
    for (size_t i = 0; i < c->layers; i++)
        TRY(weights_bind_block(w, &text->blocks[i], block_rows,
                               has | (text->is_cross[i] ? IS_CROSS : IS_SELF), blocks,
                               i, err));
    return 0;
}

void decoder_free(decoder *text)
{
    lvlm_free(text->blocks);
    lvlm_free(text->is_cross);
    text->blocks = NULL;
    text->is_cross = NULL;
}

static bool uses_logn(const decoder_config *c, const lvlm_packing *packing)
{
    return c->rope.logn && packing->T > c->rope.train_length;
}

int decoder_acts_make(decoder_acts *acts, const decoder *text,
                      const lvlm_packing *packing, lvlm_error *err)
{
    const decoder_config *const c = &text->config;
    const size_t N = packing->N, C = c->hidden, cells = packing->B * packing->T;
    const size_t Q = c->heads * c->head_dim, K = c->kv_heads * c->head_dim;
    *acts = (decoder_acts){ .N = N };
    const workspace_slot slots[] = {
        { &acts->x, N, C },
        { &acts->normed, N, C },
        { &acts->q, N, Q },
        { &acts->k, N, K },
        { &acts->v, N, K },
        { &acts->gate, N, c->mlp },
        { &acts->up, N, c->mlp },
        { &acts->branch, N, C },
        { &acts->cosines, N, c->head_dim / 2 },
        { &acts->sines, N, c->head_dim / 2 },
        { &acts->logn, uses_logn(c, packing) ? N : 0, 1 },
        { &acts->spare, N < cells ? cells : 0, C },
    };
    return workspace_allocate(&acts->memory, slots, sizeof slots / sizeof *slots,
                              "language model", err);
}

void decoder_acts_free(decoder_acts *acts)
{
    lvlm_free(acts->memory);
    acts->memory = NULL;
}

size_t decoder_scratch(const decoder *text, size_t N, size_t n_keys, size_t n_threads)
{
    const decoder_config *const c = &text->config;
    const size_t Q = c->heads * c->head_dim, K = c->kv_heads * c->head_dim;
    const size_t needs[] = {
        linear_scratch(c->hidden, Q, n_threads),
        linear_scratch(c->hidden, K, n_threads),
        linear_scratch(Q, c->hidden, n_threads),
        linear_scratch(c->hidden, c->mlp, n_threads),
        linear_scratch(c->mlp, c->hidden, n_threads),
        attention_scratch(N, N > n_keys ? N : n_keys, c->heads, c->head_dim, n_threads),
    };
    size_t most = 0;
    for (size_t i = 0; i < sizeof needs / sizeof *needs; i++)
        if (needs[i] > most) most = needs[i];
    return most;
}

/* ---- forward -------------------------------------------------------------------- */

static void rms(real *y, const real *x, const real *w, const decoder_acts *a,
                const decoder_config *c)
{
    rmsnorm_forward(y, x, w, (real)c->norm_offset, (real)c->norm_eps, a->N, c->hidden);
}

/* Even blocks slide where a window is in force. */
static attention_dims visible(const decoder_acts *a, const decoder_config *c, size_t i,
                              const lvlm_packing *p)
{
    const bool slides = p->window_lo != NULL && i % 2 == 0;
    return (attention_dims){
        .Tq = a->N,
        .Tk = a->N,
        .heads = c->heads,
        .kv_heads = c->kv_heads,
        .D = c->head_dim,
        .scale = (real)(1 / sqrt(c->query_scalar)),
        .softcap = (real)c->attn_softcap,
        .lo = slides ? p->window_lo : p->lo,
        .hi = p->hi,
    };
}

static void attention_branch(decoder_acts *a, const decoder_block *b,
                             const decoder_config *c, const attention_dims *dims,
                             const ops_scratch *scratch)
{
    const size_t N = a->N, C = c->hidden, D = c->head_dim;
    const size_t Q = c->heads * D, K = c->kv_heads * D;
    rms(a->normed, a->x, b->norm1, a, c);
    linear_forward(a->q, a->normed, b->q_w, b->q_b, N, C, Q, scratch);
    linear_forward(a->k, a->normed, b->k_w, b->k_b, N, C, K, scratch);
    linear_forward(a->v, a->normed, b->v_w, b->v_b, N, C, K, scratch);
    rope_forward(a->q, a->q, a->cosines, a->sines, N, c->heads, D);
    rope_forward(a->k, a->k, a->cosines, a->sines, N, c->kv_heads, D);
    if (a->logn != NULL) scale_rows_forward(a->q, a->logn, N, Q);
    attention_forward(a->q, a->q, a->k, a->v, dims, scratch);
    linear_forward(a->branch, a->q, b->out_w, NULL, N, Q, C, scratch);
    if (c->sandwich) rms(a->branch, a->branch, b->post_attn_norm, a, c);
}

void decoder_mlp_branch(decoder_acts *a, const decoder_block *b,
                        const decoder_config *c, const ops_scratch *scratch)
{
    const size_t N = a->N, C = c->hidden, F = c->mlp;
    rms(a->normed, a->x, b->norm2, a, c);
    linear_forward(a->gate, a->normed, b->gate_w, NULL, N, C, F, scratch);
    linear_forward(a->up, a->normed, b->up_w, NULL, N, C, F, scratch);
    gated_forward(a->gate, a->gate, a->up, c->activation, N * F);
    linear_forward(a->branch, a->gate, b->down_w, NULL, N, F, C, scratch);
    if (c->sandwich) rms(a->branch, a->branch, b->post_mlp_norm, a, c);
}

static void self_block(decoder_acts *acts, const decoder *text, size_t i,
                       const lvlm_packing *packing, const ops_scratch *scratch)
{
    const decoder_config *const c = &text->config;
    const attention_dims dims = visible(acts, c, i, packing);
    attention_branch(acts, &text->blocks[i], c, &dims, scratch);
    add_forward(acts->x, acts->branch, acts->N * c->hidden);
    decoder_mlp_branch(acts, &text->blocks[i], c, scratch);
    add_forward(acts->x, acts->branch, acts->N * c->hidden);
}

/* x = scaled embeddings, and image rows as they are. */
static void embed(decoder_acts *acts, const decoder *text, const lvlm_packing *p,
                  const real *image_rows)
{
    const decoder_config *const c = &text->config;
    const size_t C = c->hidden;
    embed_forward(acts->x, text->embed, p->ids, (real)c->embed_scale, p->N,
                  c->embed_rows, C);
    for (size_t n = 0; n < p->N; n++)
        if (p->image_row[n] >= 0)
            memcpy(acts->x + n * C, image_rows + (size_t)p->image_row[n] * C,
                   C * sizeof *acts->x);
}

void decoder_announce(const decoder *text, stages *s)
{
    stages_announce(s, "text.embed");
    stages_announce_blocks(s, blocks, text->config.layers);
    stages_announce(s, "text.norm");
}

/* Past the length it was trained for, a Qwen of 2023 turns more slowly. */
static double theta_of(const decoder_rope *rope, size_t T, size_t D)
{
    if (!rope->dynamic_ntk || T <= rope->train_length) return rope->theta;
    const double ratio = log2((double)T / (double)rope->train_length);
    const double alpha = exp2(ceil(ratio + 1)) - 1;
    return rope->theta * pow(alpha, (double)D / (double)(D - 2));
}

static int fill_positions(decoder_acts *acts, const decoder_config *c,
                          const lvlm_packing *p, lvlm_error *err)
{
    const decoder_rope *const rope = &c->rope;
    const size_t half = c->head_dim / 2, *s = rope->sections;
    float *const inv_freq = lvlm_malloc(half * sizeof *inv_freq);
    unsigned char *const axis = lvlm_calloc(half, 1);
    if (inv_freq != NULL && axis != NULL) {
        for (size_t j = 0; rope->axes == 3 && j < half; j++)
            axis[j] = (unsigned char)((j >= s[0]) + (j >= s[0] + s[1]));
        rope_frequencies(inv_freq, half, theta_of(rope, p->T, c->head_dim));
        if (rope->llama3)
            rope_scale_llama3(inv_freq, half, rope->factor, rope->low, rope->high,
                              rope->original);
        rope_table(acts->cosines, acts->sines, p->positions, axis, inv_freq, acts->N,
                   half);
    }
    for (size_t n = 0; acts->logn != NULL && n < acts->N; n++) {
        const double at = (double)p->positions[n] + 1,
                     most = (double)rope->train_length;
        acts->logn[n] = at > most ? (real)(log(at) / log(most)) : 1;
    }
    const bool ok = inv_freq != NULL && axis != NULL;
    lvlm_free(inv_freq);
    lvlm_free(axis);
    return ok ? 0 : lvlm_fail_memory(err);
}

static int run_blocks(const decoder *text, decoder_acts *acts, cross_acts *cross,
                      const lvlm_packing *packing, const lvlm_sight *sight, stages *s,
                      const ops_scratch *scratch, lvlm_error *err)
{
    const decoder_config *const c = &text->config;
    for (size_t i = 0; i < c->layers && s->left > 0; i++) {
        char name[STAGE_NAME_BYTES];
        if (!text->is_cross[i])
            self_block(acts, text, i, packing, scratch);
        else if (sight != NULL)
            cross_block_forward(acts, cross, &text->blocks[i], c, sight, scratch);
        TRY(stages_emit_rows(s, stages_block(name, blocks, i), acts->x, c->hidden,
                             packing, acts->spare, err));
    }
    return 0;
}

int decoder_forward(const decoder *text, decoder_acts *acts,
                    const lvlm_packing *packing, const real *image_rows,
                    const lvlm_sight *sight, stages *s, const ops_scratch *scratch,
                    lvlm_error *err)
{
    const decoder_config *const c = &text->config;
    const size_t C = c->hidden;
    cross_acts cross = { 0 };
    embed(acts, text, packing, image_rows);
    TRY(stages_emit_rows(s, "text.embed", acts->x, C, packing, acts->spare, err));
    TRY(fill_positions(acts, c, packing, err));
    int rc =
        sight != NULL ? cross_acts_make(&cross, c, sight, acts->N, image_rows, err) : 0;
    if (rc == 0) rc = run_blocks(text, acts, &cross, packing, sight, s, scratch, err);
    cross_acts_free(&cross);
    if (rc < 0 || s->left == 0) return rc;
    rms(acts->normed, acts->x, text->norm, acts, c);
    return stages_emit_rows(s, "text.norm", acts->normed, C, packing, acts->spare, err);
}
