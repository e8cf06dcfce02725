/* paligemma_npz.c - PaliGemma 1 and 2 as written by big_vision: keys, shapes, and the
 * config.json that such a file lacks.
 *
 *   img/   SigLIP; img/head, its classifier head, is the projection into the text
 *   llm/   Gemma or Gemma 2, with a tied head
 *
 * Kernels are [in, out]; heads and their width are separate axes. Background and traps:
 * family/paligemma.md. */
#include "formats/family/paligemma_npz.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "formats/base/strbuf.h"
#include "formats/base/text.h"
#include "formats/container/contents.h"
#include "formats/family/npz_names.h"

/* ---- keys ----------------------------------------------------------------------- */

// clang-format off
#define TRANSPOSED .order = { 1, 0 }

static const lvlm_npz_row tower[] = {
    { "patch.weight", "embedding/kernel", /* y, x, channel, out */
      "vision.patch, vision.patch, vision.channels, vision.hidden", .order = { 3, 2, 0, 1 } },
    { "patch.bias",       "embedding/bias",                 "vision.hidden" },
    { "positions.weight", "pos_embedding",                  "1, vision.grid*vision.grid, vision.hidden" },
    { "norm.weight",      "Transformer/encoder_norm/scale", "vision.hidden" },
    { "norm.bias",        "Transformer/encoder_norm/bias",  "vision.hidden" },
    { NULL },
};

#define ATTENTION "MultiHeadDotProductAttention_0/"
#define MLP_BLOCK "MlpBlock_0/"
#define SPLIT_HEADS(native, key)                                                         \
    { native ".weight", ATTENTION key "/kernel",                                         \
      "vision.hidden, vision.heads, vision.head_dim", .order = { 1, 2, 0 } }, \
    { native ".bias",   ATTENTION key "/bias", "vision.heads, vision.head_dim" }

static const lvlm_npz_row vision_block[] = {
    { "norm1.weight", "LayerNorm_0/scale", "vision.hidden" },
    { "norm1.bias",   "LayerNorm_0/bias",  "vision.hidden" },
    SPLIT_HEADS("attn.q", "query"),
    SPLIT_HEADS("attn.k", "key"),
    SPLIT_HEADS("attn.v", "value"),
    { "attn.out.weight", ATTENTION "out/kernel",
      "vision.heads, vision.head_dim, vision.hidden", .order = { 2, 0, 1 } },
    { "attn.out.bias",  ATTENTION "out/bias",       "vision.hidden" },
    { "norm2.weight",   "LayerNorm_1/scale",        "vision.hidden" },
    { "norm2.bias",     "LayerNorm_1/bias",         "vision.hidden" },
    { "mlp.fc1.weight", MLP_BLOCK "Dense_0/kernel", "vision.hidden, vision.mlp", TRANSPOSED },
    { "mlp.fc1.bias",   MLP_BLOCK "Dense_0/bias",   "vision.mlp" },
    { "mlp.fc2.weight", MLP_BLOCK "Dense_1/kernel", "vision.mlp, vision.hidden", TRANSPOSED },
    { "mlp.fc2.bias",   MLP_BLOCK "Dense_1/bias",   "vision.hidden" },
    { NULL },
};

static const lvlm_npz_row projector[] = {
    { "proj.weight", "kernel", "vision.hidden, text.hidden", TRANSPOSED },
    { "proj.bias",   "bias",   "text.hidden" },
    { NULL },
};

static const lvlm_npz_row decoder[] = {
    { "embed.weight", "embedder/input_embedding", "text.vocab, text.hidden" },
    { "norm.weight",  "final_norm/scale",         "text.hidden" },
    { NULL },
};

/* One of n stacked maps [heads, hidden, head_dim]. */
#define OF(n, i, heads) n ", " heads ", text.hidden, text.head_dim", 1, (i), { 1, 3, 2 }
/* Only Gemma 1 stores gating_einsum transposed. */
#define GATE(native, i)                                                                       \
    { native, "mlp/gating_einsum", "2, text.hidden, text.mlp", 1, (i), { 2, 1 } },   \
    { native, "mlp/gating_einsum", "2, text.mlp, text.hidden", 1, (i), { 1, 2 } }

/* With as many key heads as query heads, one array holds q, k and v. */
#define ATTENTION_AND_MLP                                                                     \
    { "attn.q.weight", "attn/q_einsum/w",                                                     \
      "text.heads, text.hidden, text.head_dim", .order = { 0, 2, 1 } },                     \
    { "attn.q.weight", "attn/qkv_einsum/w", OF("3", 0, "text.heads") },                            \
    { "attn.k.weight", "attn/kv_einsum/w",  OF("2", 0, "text.kv_heads") },                           \
    { "attn.k.weight", "attn/qkv_einsum/w", OF("3", 1, "text.heads") },                            \
    { "attn.v.weight", "attn/kv_einsum/w",  OF("2", 1, "text.kv_heads") },                           \
    { "attn.v.weight", "attn/qkv_einsum/w", OF("3", 2, "text.heads") },                            \
    { "attn.out.weight", "attn/attn_vec_einsum/w",                                            \
      "text.heads, text.head_dim, text.hidden", .order = { 2, 0, 1 } },                     \
    GATE("mlp.gate.weight", 0),                                                               \
    GATE("mlp.up.weight", 1),                                                                 \
    { "mlp.down.weight", "mlp/linear", "text.mlp, text.hidden", TRANSPOSED }

static const lvlm_npz_row gemma_block[] = {
    { "norm1.weight", "pre_attention_norm/scale", "text.hidden" },
    { "norm2.weight", "pre_ffw_norm/scale",       "text.hidden" },
    ATTENTION_AND_MLP,
    { NULL },
};

static const lvlm_npz_row gemma2_block[] = {
    { "norm1.weight",          "pre_attention_norm/scale",  "text.hidden" },
    { "post_attn_norm.weight", "post_attention_norm/scale", "text.hidden" },
    { "norm2.weight",          "pre_ffw_norm/scale",        "text.hidden" },
    { "post_mlp_norm.weight",  "post_ffw_norm/scale",       "text.hidden" },
    ATTENTION_AND_MLP,
    { NULL },
};

#define VISION_BLOCKS "img/Transformer/encoderblock"
#define TEXT_BLOCKS "llm/layers"

#define SECTIONS(block)                                                                           \
    { "vision.",            "img/",               NULL,              NULL,                  tower },       \
    { "vision.blocks.{i}.", VISION_BLOCKS "_{i}/", VISION_BLOCKS "/", "vision.layers", vision_block }, \
    { "connector.",         "img/head/",          NULL,              NULL,                  projector },    \
    { "text.",              "llm/",               NULL,              NULL,                  decoder },         \
    { "text.blocks.{i}.",   TEXT_BLOCKS "/{i}/",  TEXT_BLOCKS "/",   "text.layers",        block },        \
    { NULL }
// clang-format on

static const lvlm_npz_section gemma_sections[] = { SECTIONS(gemma_block) };
static const lvlm_npz_section gemma2_sections[] = { SECTIONS(gemma2_block) };

/* ---- shapes that are there ------------------------------------------------------ */

static const lvlm_tensor *find(const lvlm_checkpoint *cp, const char *key)
{
    char name[128 + 8];
    snprintf(name, sizeof name, "params/%s", key);
    const lvlm_tensor *t = lvlm_checkpoint_find(cp, name);
    return t != NULL ? t : lvlm_checkpoint_find(cp, key);
}

/* An array: of the whole, or of the blocks, stacked or block 0's. */
typedef struct array {
    const char *key;
    const lvlm_tensor *tensor; /* NULL: absent */
    const uint64_t *dims;      /* of the whole, or of one block */
    size_t n_dims;
    uint64_t n; /* blocks */
} array;

static array find_array(const lvlm_checkpoint *cp, const char *key)
{
    const lvlm_tensor *const t = find(cp, key);
    return t != NULL ? (array){ key, t, t->shape.dims, t->shape.n, 0 }
                     : (array){ .key = key };
}

/* `key` is that of stacked blocks and begins with `prefix`, the section's; `separator`
 * precedes the number of a block. */
static array find_blocks(const lvlm_checkpoint *cp, const char *prefix,
                         const char *separator, const char *key)
{
    assert(lvlm_starts_with(key, prefix));
    const lvlm_tensor *t = find(cp, key);
    array a = { .key = key };
    if (t != NULL && t->shape.n > 0)
        return (array){ key, t, t->shape.dims + 1, t->shape.n - 1, t->shape.dims[0] };
    for (;; a.n++) {
        char name[128];
        snprintf(name, sizeof name, "%s%s%" PRIu64 "%s", prefix, separator, a.n,
                 key + strlen(prefix));
        t = find(cp, name);
        if (t == NULL) return a;
        if (a.n == 0) a = find_array(cp, name);
        a.key = key;
    }
}

static array vision_blocks(const lvlm_checkpoint *cp, const char *key)
{
    return find_blocks(cp, VISION_BLOCKS, "_", key);
}

static array text_blocks(const lvlm_checkpoint *cp, const char *key)
{
    return find_blocks(cp, TEXT_BLOCKS, "/", key);
}

/* config.json is derived from this array: check that it has `expected` dimensions, in
 * one block, none of them 0. */
static int expect(const array *a, size_t expected, lvlm_error *err)
{
    const lvlm_tensor *const t = a->tensor;
    char shape[LVLM_SHAPE_TEXT];
    FAIL_IF(t == NULL, err, LVLM_ECHECK,
            "tensor '%s' is missing: without it the sizes of the model are not known",
            a->key);
    uint64_t numel = 0;
    (void)lvlm_shape_numel(&numel, &t->shape);
    FAIL_IF(a->n_dims != expected || numel == 0, err, LVLM_ECHECK,
            "tensor '%s': has shape %s: expected %zu dimensions%s", t->name,
            lvlm_shape_text(shape, &t->shape), expected + t->shape.n - a->n_dims,
            a->n_dims != t->shape.n ? ", blocks first" : "");
    return 0;
}

/* The sizes given by shapes. */
typedef struct sizes {
    uint64_t patch, channels, vision_hidden, image;
    uint64_t vision_layers, vision_heads, vision_mlp;
    uint64_t positions;
    uint64_t rows, hidden, layers, heads, kv_heads, head_dim, mlp;
    lvlm_dtype dtype;
} sizes;

static int read_vision(sizes *s, const lvlm_checkpoint *cp, lvlm_error *err)
{
    const array patch = find_array(cp, "img/embedding/kernel");
    const array positions = find_array(cp, "img/pos_embedding");
    const array query = vision_blocks(cp, VISION_BLOCKS "/" ATTENTION "query/kernel");
    const array fc1 = vision_blocks(cp, VISION_BLOCKS "/" MLP_BLOCK "Dense_0/kernel");
    TRY(expect(&patch, 4, err));
    TRY(expect(&positions, 3, err));
    TRY(expect(&query, 3, err));
    TRY(expect(&fc1, 2, err));
    s->patch = patch.dims[0];
    s->channels = patch.dims[2];
    s->vision_hidden = patch.dims[3];
    s->vision_layers = query.n;
    s->vision_heads = query.dims[1];
    s->vision_mlp = fc1.dims[1];
    s->positions = positions.dims[1];
    uint64_t grid = 1;
    while (grid * grid < s->positions) grid++;
    FAIL_IF(grid * grid != s->positions, err, LVLM_ECHECK,
            "tensor '%s': %" PRIu64
            " positions are not a square of patches: give the image's size by --config "
            "FILE.json",
            positions.tensor->name, s->positions);
    s->image = grid * s->patch;
    return 0;
}

static int read_text(sizes *s, const lvlm_checkpoint *cp, lvlm_error *err)
{
    const array table = find_array(cp, "llm/embedder/input_embedding");
    const array q = text_blocks(cp, TEXT_BLOCKS "/attn/q_einsum/w");
    const array kv = text_blocks(cp, TEXT_BLOCKS "/attn/kv_einsum/w");
    const array qkv = text_blocks(cp, TEXT_BLOCKS "/attn/qkv_einsum/w");
    const array linear = text_blocks(cp, TEXT_BLOCKS "/mlp/linear");
    TRY(expect(&table, 2, err));
    TRY(expect(&linear, 2, err));
    if (qkv.tensor != NULL && q.tensor == NULL) {
        TRY(expect(&qkv, 4, err));
        s->heads = s->kv_heads = qkv.dims[1];
        s->head_dim = qkv.dims[3];
        s->layers = qkv.n;
    } else {
        TRY(expect(&q, 3, err));
        TRY(expect(&kv, 4, err));
        s->heads = q.dims[0];
        s->kv_heads = kv.dims[1];
        s->head_dim = q.dims[2];
        s->layers = q.n;
    }
    s->rows = table.dims[0];
    s->hidden = table.dims[1];
    s->mlp = linear.dims[0];
    s->dtype = table.tensor->dtype;
    return 0;
}

/* ---- the released sizes --------------------------------------------------------- */

/* Image tokens directly follow the 257152 rows of big_vision. */
enum { IMAGE_TOKEN = 257152, PADDED_ROWS = 257216 };

/* big_vision's names. query_scalar is the one number that does not follow from shapes:
 * the 27b is scaled by width / heads, all others by the width of a head. */
static const struct variant {
    const char *name;
    uint64_t hidden, layers, heads, kv_heads, head_dim, mlp, query_scalar;
} gemma2_variants[] = {
    { "gemma2_2b", 2304, 26, 8, 4, 256, 9216, 256 },
    { "gemma2_9b", 3584, 42, 16, 8, 256, 14336, 256 },
    { "gemma2_27b", 4608, 46, 32, 16, 128, 36864, 144 },
};

static const struct variant *find_variant(const sizes *s)
{
    for (size_t i = 0; i < sizeof gemma2_variants / sizeof gemma2_variants[0]; i++) {
        const struct variant *v = &gemma2_variants[i];
        if (v->hidden == s->hidden && v->layers == s->layers && v->heads == s->heads &&
            v->kv_heads == s->kv_heads && v->head_dim == s->head_dim &&
            v->mlp == s->mlp)
            return v;
    }
    return NULL;
}

/* ---- config.json ---------------------------------------------------------------- */

#define N(value) (unsigned long long)(value)

static void print_top(lvlm_strbuf *out, const sizes *s)
{
    lvlm_strbuf_printf(out,
                       "{\n"
                       "  \"architectures\": [\n"
                       "    \"PaliGemmaForConditionalGeneration\"\n"
                       "  ],\n"
                       "  \"bos_token_id\": 2,\n"
                       "  \"eos_token_id\": 1,\n"
                       "  \"hidden_size\": %llu,\n"
                       "  \"ignore_index\": -100,\n"
                       "  \"image_token_index\": %d,\n"
                       "  \"model_type\": \"paligemma\",\n"
                       "  \"pad_token_id\": 0,\n"
                       "  \"projection_dim\": %llu,\n",
                       N(s->hidden), IMAGE_TOKEN, N(s->hidden));
}

/* `generation` has the lines that only Gemma 2 needs. */
static void print_text(lvlm_strbuf *out, const sizes *s, const char *generation)
{
    lvlm_strbuf_printf(out,
                       "  \"text_config\": {\n"
                       "%s"
                       "    \"head_dim\": %llu,\n"
                       "    \"hidden_size\": %llu,\n"
                       "    \"intermediate_size\": %llu,\n"
                       "    \"num_attention_heads\": %llu,\n"
                       "    \"num_hidden_layers\": %llu,\n"
                       "    \"num_image_tokens\": %llu,\n"
                       "    \"num_key_value_heads\": %llu,\n"
                       "    \"torch_dtype\": \"%s\",\n"
                       "    \"vocab_size\": %llu\n"
                       "  },\n"
                       "  \"torch_dtype\": \"%s\",\n",
                       generation, N(s->head_dim), N(s->hidden), N(s->mlp), N(s->heads),
                       N(s->layers), N(s->positions), N(s->kv_heads),
                       lvlm_dtype_torch_name(s->dtype), N(s->rows),
                       lvlm_dtype_torch_name(s->dtype));
}

static void print_vision(lvlm_strbuf *out, const sizes *s)
{
    lvlm_strbuf_printf(out,
                       "  \"vision_config\": {\n"
                       "    \"hidden_size\": %llu,\n"
                       "    \"image_size\": %llu,\n"
                       "    \"intermediate_size\": %llu,\n"
                       "    \"model_type\": \"siglip_vision_model\",\n"
                       "    \"num_attention_heads\": %llu,\n"
                       "    \"num_channels\": %llu,\n"
                       "    \"num_hidden_layers\": %llu,\n"
                       "    \"patch_size\": %llu,\n"
                       "    \"projection_dim\": %llu,\n"
                       "    \"vision_use_head\": false\n"
                       "  }\n"
                       "}\n",
                       N(s->vision_hidden), N(s->image), N(s->vision_mlp),
                       N(s->vision_heads), N(s->channels), N(s->vision_layers),
                       N(s->patch), N(s->hidden));
}

/* Soft caps and the window are those of gemma-2-2b-it, as in the hub's files. */
static void generation_lines(char text[512], uint64_t query_scalar)
{
    snprintf(text, 512,
             "    \"attn_logit_softcapping\": 50.0,\n"
             "    \"cache_implementation\": \"hybrid\",\n"
             "    \"final_logit_softcapping\": 30.0,\n"
             "    \"hidden_activation\": \"gelu_pytorch_tanh\",\n"
             "    \"model_type\": \"gemma2\",\n"
             "    \"query_pre_attn_scalar\": %llu,\n"
             "    \"sliding_window\": 4096,\n",
             N(query_scalar));
}

/* A sentence on what is assumed; none for released sizes. */
static int assume(const char **out, const sizes *s, bool gemma2, lvlm_arena *arena,
                  lvlm_error *err)
{
    const bool token = s->rows != IMAGE_TOKEN && s->rows != PADDED_ROWS;
    const bool scalar = gemma2 && find_variant(s) == NULL;
    if (!token && !scalar) return 0;
    *out = lvlm_arena_printf(
        arena,
        "no released model has these shapes, and they do not decide everything: "
        "assumed %s%s%s; give a config.json by --config FILE.json to change that",
        token ? "image token 257152" : "", token && scalar ? " and " : "",
        scalar ? "soft caps 50 and 30 and queries scaled by head_dim^-1/2" : "");
    return *out != NULL ? 0 : lvlm_fail_memory(err);
}

/* Norms after the branches are Gemma 2's. */
static bool is_gemma2(const lvlm_checkpoint *cp)
{
    return text_blocks(cp, TEXT_BLOCKS "/post_attention_norm/scale").tensor != NULL ||
           text_blocks(cp, TEXT_BLOCKS "/post_ffw_norm/scale").tensor != NULL;
}

static int compose(const char **out, const char **assumed, const lvlm_checkpoint *cp,
                   lvlm_arena *arena, lvlm_error *err)
{
    sizes s = { 0 };
    char generation[512] = "    \"model_type\": \"gemma\",\n";
    lvlm_strbuf json = LVLM_STRBUF_INIT(1 << 14);
    const bool gemma2 = is_gemma2(cp);
    TRY(read_vision(&s, cp, err));
    TRY(read_text(&s, cp, err));
    if (gemma2) {
        const struct variant *v = find_variant(&s);
        generation_lines(generation, v != NULL ? v->query_scalar : s.head_dim);
    }
    print_top(&json, &s);
    print_text(&json, &s, generation);
    print_vision(&json, &s);
    int rc = lvlm_strbuf_check(&json, err);
    if (rc == 0 && (*out = lvlm_arena_strndup(arena, json.text, json.length)) == NULL)
        rc = lvlm_fail_memory(err);
    lvlm_strbuf_free(&json);
    return rc == 0 ? assume(assumed, &s, gemma2, arena, err) : rc;
}

/* ---- the tables ----------------------------------------------------------------- */

static bool has_part(const lvlm_checkpoint *cp, const char *part)
{
    for (size_t i = 0; i < cp->n_tensors; i++)
        if (lvlm_starts_with(lvlm_npz_canonical(cp->tensors[i].name), part))
            return true;
    return false;
}

static bool is_paligemma(const lvlm_checkpoint *cp)
{
    return has_part(cp, "img/") && has_part(cp, "llm/") && !is_gemma2(cp);
}

static bool is_paligemma2(const lvlm_checkpoint *cp)
{
    return has_part(cp, "img/") && has_part(cp, "llm/") && is_gemma2(cp);
}

const lvlm_npz_table lvlm_npz_paligemma = { gemma_sections, is_paligemma, compose };
const lvlm_npz_table lvlm_npz_paligemma2 = { gemma2_sections, is_paligemma2, compose };
