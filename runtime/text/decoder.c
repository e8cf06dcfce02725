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

static const config_row config_rows[] = {
    CONFIG("text.hidden", decoder_config, hidden),
    CONFIG("text.layers", decoder_config, layers),
    CONFIG("text.heads", decoder_config, heads),
    CONFIG("text.kv_heads", decoder_config, kv_heads),
    CONFIG("text.head_dim", decoder_config, head_dim),
    CONFIG("text.mlp", decoder_config, mlp),
    CONFIG("text.vocab", decoder_config, vocab),
    CONFIG("text.norm_eps", decoder_config, norm_eps),
    CONFIG("text.norm_offset", decoder_config, norm_offset),
    CONFIG("text.rope_theta", decoder_config, rope_theta),
    CONFIG("text.query_scalar", decoder_config, query_scalar),
    CONFIG_MAYBE("text.attn_softcap", decoder_config, attn_softcap),
    CONFIG_MAYBE("text.sliding_window", decoder_config, sliding_window),
    CONFIG("text.first_position", decoder_config, first_position),
    CONFIG("text.sandwich_norms", decoder_config, sandwich),
    CONFIG("text.activation", decoder_config, activation),
    CONFIG_END,
};

/* A configuration that asks for more than is written here is refused by name. */
static const char *const mask_words[] = { "prefix_lm", NULL };

enum { EMBED_ONE, EMBED_SQRT_HIDDEN };
static const char *const embed_scale_words[] = {
    [EMBED_ONE] = "one",
    [EMBED_SQRT_HIDDEN] = "sqrt_hidden",
    NULL,
};

enum { HAS_SANDWICH = 1 };

// clang-format off
#define C LVLM_DIM_HIDDEN
#define Q LVLM_DIM_Q_DIM
#define K LVLM_DIM_KV_DIM
#define F LVLM_DIM_MLP
#define BLOCK(field) WEIGHT_FIELD(decoder_block, field)
#define SANDWICH(field) WEIGHT_FIELD_WHEN(decoder_block, field, HAS_SANDWICH)

static const weight_row decoder_rows[] = {
    { "embed.weight", { LVLM_DIM_VOCAB, C }, WEIGHT_FIELD(decoder, embed) },
    { "norm.weight",  { C },                 WEIGHT_FIELD(decoder, norm) },
    WEIGHT_END,
};

static const weight_row block_rows[] = {
    { "norm1.weight",          { C },    BLOCK(norm1) },
    { "attn.q.weight",         { Q, C }, BLOCK(q_w) },
    { "attn.k.weight",         { K, C }, BLOCK(k_w) },
    { "attn.v.weight",         { K, C }, BLOCK(v_w) },
    { "attn.out.weight",       { C, Q }, BLOCK(out_w) },
    { "post_attn_norm.weight", { C },    SANDWICH(post_attn_norm) },
    { "norm2.weight",          { C },    BLOCK(norm2) },
    { "mlp.gate.weight",       { F, C }, BLOCK(gate_w) },
    { "mlp.up.weight",         { F, C }, BLOCK(up_w) },
    { "mlp.down.weight",       { C, F }, BLOCK(down_w) },
    { "post_mlp_norm.weight",  { C },    SANDWICH(post_mlp_norm) },
    WEIGHT_END,
};

#undef C
#undef Q
#undef K
#undef F
// clang-format on

static const char blocks[] = "text.blocks."; /* of weights and of stages */

/* ---- life --------------------------------------------------------------------- */

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
    TRY(configure_word(&word, config, "text.embed_scale", embed_scale_words, err));
    c->embed_scale = word == EMBED_SQRT_HIDDEN ? sqrt((double)c->hidden) : 1;
    return 0;
}

int decoder_open(decoder *text, const lvlm_manifest *manifest, const char *reference,
                 lvlm_error *err)
{
    decoder_config *const c = &text->config;
    TRY(configure(c, config_rows, manifest->config, err));
    TRY(read_words(c, manifest->config, err));
    TRY(check_config(c, err));
    c->window_cuts_prefix =
        lvlm_reference_applies(manifest->family, "sliding_window_prefix", reference);
    if (!c->window_cuts_prefix &&
        !lvlm_reference_applies(manifest->family, "sliding_window", reference))
        c->sliding_window = 0;
    text->blocks = lvlm_calloc(c->layers, sizeof *text->blocks);
    FAIL_IF(text->blocks == NULL, err, LVLM_ENOMEM, "out of memory for %zu blocks",
            c->layers);
    return 0;
}

int decoder_bind(decoder *text, weights *w, lvlm_error *err)
{
    const unsigned has = text->config.sandwich ? HAS_SANDWICH : 0;
    TRY(weights_bind(w, text, decoder_rows, has, "text.", err));
    for (size_t i = 0; i < text->config.layers; i++)
        TRY(weights_bind_block(w, &text->blocks[i], block_rows, has, blocks, i, err));
    return 0;
}

void decoder_free(decoder *text)
{
    lvlm_free(text->blocks);
    text->blocks = NULL;
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

size_t decoder_scratch(const decoder *text, size_t N, size_t n_threads)
{
    const decoder_config *const c = &text->config;
    const size_t Q = c->heads * c->head_dim, K = c->kv_heads * c->head_dim;
    const size_t needs[] = {
        linear_scratch(c->hidden, Q, n_threads),
        linear_scratch(c->hidden, K, n_threads),
        linear_scratch(Q, c->hidden, n_threads),
        linear_scratch(c->hidden, c->mlp, n_threads),
        linear_scratch(c->mlp, c->hidden, n_threads),
        attention_scratch(N, N, c->heads, c->head_dim, n_threads),
    };
    size_t most = 0;
    for (size_t i = 0; i < sizeof needs / sizeof *needs; i++)
        if (needs[i] > most) most = needs[i];
    return most;
}

/* ---- forward ------------------------------------------------------------------ */

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
    linear_forward(a->q, a->normed, b->q_w, NULL, N, C, Q, scratch);
    linear_forward(a->k, a->normed, b->k_w, NULL, N, C, K, scratch);
    linear_forward(a->v, a->normed, b->v_w, NULL, N, C, K, scratch);
    rope_forward(a->q, a->q, a->cosines, a->sines, N, c->heads, D);
    rope_forward(a->k, a->k, a->cosines, a->sines, N, c->kv_heads, D);
    attention_forward(a->q, a->q, a->k, a->v, dims, scratch);
    linear_forward(a->branch, a->q, b->out_w, NULL, N, Q, C, scratch);
    if (c->sandwich) rms(a->branch, a->branch, b->post_attn_norm, a, c);
}

static void mlp_branch(decoder_acts *a, const decoder_block *b, const decoder_config *c,
                       const ops_scratch *scratch)
{
    const size_t N = a->N, C = c->hidden, F = c->mlp;
    rms(a->normed, a->x, b->norm2, a, c);
    linear_forward(a->gate, a->normed, b->gate_w, NULL, N, C, F, scratch);
    linear_forward(a->up, a->normed, b->up_w, NULL, N, C, F, scratch);
    gated_forward(a->gate, a->gate, a->up, c->activation, N * F);
    linear_forward(a->branch, a->gate, b->down_w, NULL, N, F, C, scratch);
    if (c->sandwich) rms(a->branch, a->branch, b->post_mlp_norm, a, c);
}

void decoder_block_forward(decoder_acts *acts, const decoder *text, size_t i,
                           const lvlm_packing *packing, const ops_scratch *scratch)
{
    const decoder_config *const c = &text->config;
    const attention_dims dims = visible(acts, c, i, packing);
    attention_branch(acts, &text->blocks[i], c, &dims, scratch);
    add_forward(acts->x, acts->branch, acts->N * c->hidden);
    mlp_branch(acts, &text->blocks[i], c, scratch);
    add_forward(acts->x, acts->branch, acts->N * c->hidden);
}

/* x = scaled embeddings, and image rows as they are. */
static void embed(decoder_acts *acts, const decoder *text, const lvlm_packing *p,
                  const real *image_rows)
{
    const decoder_config *const c = &text->config;
    const size_t C = c->hidden;
    embed_forward(acts->x, text->embed, p->ids, (real)c->embed_scale, p->N, c->vocab,
                  C);
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

int decoder_forward(const decoder *text, decoder_acts *acts,
                    const lvlm_packing *packing, const real *image_rows, stages *s,
                    const ops_scratch *scratch, lvlm_error *err)
{
    const decoder_config *const c = &text->config;
    const size_t C = c->hidden;
    embed(acts, text, packing, image_rows);
    TRY(stages_emit_rows(s, "text.embed", acts->x, C, packing, acts->spare, err));
    rope_table(acts->cosines, acts->sines, packing->positions, acts->N, c->head_dim,
               c->rope_theta);
    for (size_t i = 0; i < c->layers && s->left > 0; i++) {
        char name[STAGE_NAME_BYTES];
        decoder_block_forward(acts, text, i, packing, scratch);
        TRY(stages_emit_rows(s, stages_block(name, blocks, i), acts->x, C, packing,
                             acts->spare, err));
    }
    if (s->left == 0) return 0;
    rms(acts->normed, acts->x, text->norm, acts, c);
    return stages_emit_rows(s, "text.norm", acts->normed, C, packing, acts->spare, err);
}
