/* config_keys.c - how each key of a config.json is treated; see config_keys.h. */
#include "formats/family/config_keys.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "formats/base/json.h"
#include "formats/base/keys.h"
#include "formats/base/text.h"

enum { PATH_BYTES = 192 };

#define INERT LVLM_KEY_INERT
#define NOTED LVLM_KEY_NOTED
#define REFUSED LVLM_KEY_REFUSED
#define NO_EFFECT "changes nothing for this rope_type, nor in transformers"

// clang-format off
/* By name, in any section: keys of transformers and of released files that no family's
 * settings read. */
static const lvlm_key keys[] = {
    { "architectures" }, /* used to recognise families */
    { "model_type" },
    { "tie_word_embeddings" },
    { "quantization_config" }, /* refused earlier */
    { "layer_types" },
    { "eos_token_id" }, /* read where text is generated */
    { "pruned_heads", REFUSED, "whole heads are missing", "{}|[]" },
    { "auto_map", INERT, "code of the model's own is not run" },
    { "torch_dtype|dtype", INERT, "tensors have types of their own" },
    { "_*|transformers_version|finetuning_task", INERT, "says where the file came from" },
    { "max_position_embeddings", INERT, "a length, not a size of any tensor" },
    /* dropout matters in training only: lvlm-tune reports it */
    { "*dropout*|resid_pdrop|attn_pdrop|embd_pdrop|initializer_*", INERT, "of training" },
    { "use_cache|cache_implementation|*attn_implementation*|use_flash_attn|pretraining_tp|"
      "chunk_size_feed_forward", INERT, "how it is computed, not what" },
    { "softmax_in_fp32", INERT, "softmax is exact enough" },
    { "bf16|fp16|fp32", INERT, "--compute says it" },
    { "onnx_safe|torchscript", INERT, "of an export" },
    { "use_bfloat16|tf_legacy_loss", INERT, "of TensorFlow" },
    { "return_dict*|output_*", INERT, "of Python" },
    { "id2label|label2id|num_labels|problem_type", INERT, "of classifiers" },
    { "sep_token_id|decoder_start_token_id|tie_encoder_decoder|is_decoder|"
      "is_encoder_decoder|add_cross_attention|cross_attention_hidden_size",
      INERT, "of encoders, with a decoder or without" },
    { "attention_bias|mlp_bias", INERT, "the tensors show it" },
    { "vision_use_head", INERT, "the pooling head's output is not used" },
    { "projector_hidden_act|num_positions|vision_token_id|scale_attn_weights",
      INERT, "no code reads it" },
    { "use_bidirectional_attention" }, /* check_direction */
    { "ignore_index", INERT, "-100, as in all releases" },
    { "image_seq_length", INERT, "rows of an image follow from the tower" },
    { "num_image_tokens|hidden_size|num_hidden_layers|num_attention_heads|"
      "intermediate_size|vocab_size|projection_dim|vision_output_dim|"
      "spatial_patch_size|in_chans",
      INERT, "another part's setting, written a second time" },
    { "max_window_layers", INERT, "windows are refused" },
    { "sliding_window", INERT, "only where a window slides" },
    { "vision_start_token_id|vision_end_token_id", INERT, "is in the text already" },
    { "bos_token_id", INERT, "the prompt is written by its template" },
    { "pad_token_id", INERT, "masks tell padding" },
    { "tokenizer_*|unk_token_id", INERT, "the tokenizer has files of its own" },
    { "task_specific_params|prefix|max_length|min_length|do_sample|early_stopping|"
      "num_beam*|diversity_penalty|length_penalty|temperature|top_k|top_p|typical_p|"
      "repetition_penalty|*no_repeat_ngram_size|exponential_decay_length_penalty|"
      "bad_words_ids|suppress_tokens|begin_suppress_tokens|forced_*|"
      "num_return_sequences|remove_invalid_values",
      INERT, "generation_config.json is read for it" },
    { NULL },
};

/* Keys of rotary settings that the family does not follow. */
static const lvlm_key rope_keys[] = {
    { "rope_type" },
    { "type" },
    { "rope_theta" },
    { "finetuned", INERT, "says where the file came from" },
    { "mrope_interleaved", REFUSED, "pairs of the axes take turns", "false" },
    { "partial_rotary_factor", REFUSED, "only a part of each head rotates", "1" },
    { "factor", NOTED, NO_EFFECT, "1" },
    { "*_freq_factor|original_max_position_embeddings", NOTED, NO_EFFECT },
    { NULL },
};

static const char *const sections[] = { "text_config", "vision_config", "visual", "lvlm_connector", NULL };
// clang-format on

/* ---- what is followed ----------------------------------------------------------- */

static bool is_followed(const lvlm_setting_walk *settings, const char *path)
{
    lvlm_setting_walk walk = *settings;
    const lvlm_setting *s;
    while ((s = lvlm_setting_next(&walk)) != NULL)
        if (lvlm_is_listed(s->paths, path)) return true;
    return false;
}

/* The last of that name; NULL: none. */
static const lvlm_setting *find_setting(const lvlm_setting_walk *settings,
                                        const char *name)
{
    lvlm_setting_walk walk = *settings;
    const lvlm_setting *s, *last = NULL;
    while ((s = lvlm_setting_next(&walk)) != NULL)
        if (strcmp(s->canonical, name) == 0) last = s;
    return last;
}

/* ---- null ------------------------------------------------------------------------ */

/* The value of config.json for a setting; null if every path that is present is
 * null. */
static const cJSON *find_value(char path[PATH_BYTES], const lvlm_setting *s,
                               const cJSON *hf_config)
{
    const cJSON *null = NULL;
    for (const char *at = s->paths; at != NULL && *at != '\0'; at += *at == '|') {
        char here[PATH_BYTES];
        at += lvlm_copy_until(here, sizeof here, at, "|");
        const cJSON *const item = lvlm_json_path(hf_config, here);
        if (item != NULL && !cJSON_IsNull(item)) return item;
        if (item != NULL && null == NULL) {
            null = item;
            memcpy(path, here, sizeof here);
        }
    }
    return null;
}

/* A null number is its default here and None in the reference; a null switch is off
 * there. Words have a default in both. */
static int check_nulls(const lvlm_setting_walk *settings, const cJSON *hf_config,
                       lvlm_notes *notes, lvlm_error *err)
{
    lvlm_setting_walk walk = *settings;
    const lvlm_setting *s;
    while ((s = lvlm_setting_next(&walk)) != NULL) {
        char path[PATH_BYTES] = "";
        const bool number =
            s->kind == LVLM_SETTING_COUNT || s->kind == LVLM_SETTING_INDEX ||
            s->kind == LVLM_SETTING_NUMBER || s->kind == LVLM_SETTING_LIST;
        const bool on = s->kind == LVLM_SETTING_BOOL && s->fallback != NULL &&
                        strcmp(s->fallback, "true") == 0;
        const cJSON *const value = find_value(path, s, hf_config);
        if ((!number && !on) || s->fallback == NULL || !cJSON_IsNull(value)) continue;
        TRY(lvlm_notes_add(notes, err,
                           "config.json: '%s' is null: counts as its default, %s; the "
                           "reference %s",
                           path, s->fallback,
                           on ? "takes null for false" : "may take it for another"));
    }
    return 0;
}

/* ---- rotary settings ------------------------------------------------------------ */

/* Rotary settings of one `section` ("" is the top level). */
typedef struct rope {
    const lvlm_setting_walk *settings;
    const char *section;
    const cJSON *object;               /* of config.json: the section itself */
    const cJSON *parameters, *scaling; /* or NULL */
} rope;

static const char *dot(const rope *r)
{
    return *r->section != '\0' ? "." : "";
}

/* Towers have no rope_type. */
static const lvlm_word tower_types[] = {
    { "default", "default" },
    { "axial", "default" },
    { NULL },
};

/* Our word for a rope_type; NULL: it is not supported. */
static const char *word_for(const rope *r, const cJSON *type)
{
    const lvlm_setting *const s = find_setting(r->settings, "text.rope_type");
    const lvlm_word *w = s != NULL ? s->words : NULL;
    const char *const theirs = lvlm_json_string(type);
    if (strncmp(r->section, "vis", 3) == 0) w = tower_types;
    for (; theirs != NULL && w != NULL && w->theirs != NULL; w++)
        if (strcmp(w->theirs, theirs) == 0) return w->ours;
    return NULL;
}

/* The rope_type of one of the two objects, as our word. */
static int check_type(const char **out, const rope *r, const cJSON *object,
                      const char *name, lvlm_error *err)
{
    const cJSON *const types[] = { lvlm_json_get(object, "rope_type"),
                                   lvlm_json_get(object, "type") };
    *out = NULL;
    for (size_t i = 0; i < 2; i++) {
        if (types[i] == NULL || cJSON_IsNull(types[i])) continue;
        const char *const word = word_for(r, types[i]);
        const char *const theirs = lvlm_json_string(types[i]);
        FAIL_IF(word == NULL, err, LVLM_EFORMAT,
                "config.json: %s%s%s: rope_type '%.40s' is not supported: it computes "
                "other positions than the model was trained with; without it the model "
                "runs, within its own length",
                r->section, dot(r), name, theirs != NULL ? theirs : "(no text)");
        FAIL_IF(*out != NULL && strcmp(*out, word) != 0, err, LVLM_EFORMAT,
                "config.json: %s%s%s: rope_type '%s' and type '%s' contradict each "
                "other; keep the one that is meant",
                r->section, dot(r), name, lvlm_json_string(types[0]), theirs);
        *out = word;
    }
    return 0;
}

static bool is_type(const char *key)
{
    return strcmp(key, "type") == 0 || strcmp(key, "rope_type") == 0;
}

static int contradict(const rope *r, const char *key, lvlm_error *err)
{
    return lvlm_fail(
        err, LVLM_EFORMAT,
        "config.json: %s%srope_scaling and rope_parameters do not agree on "
        "'%s': transformers 5 takes rope_scaling and nothing of "
        "rope_parameters; keep one of them",
        r->section, dot(r), key);
}

/* Every value of `a` must equal that of `b`. transformers reads theta elsewhere if
 * rope_scaling has none. */
static int compare(const rope *r, const cJSON *a, const cJSON *b, lvlm_error *err)
{
    const lvlm_setting *const theta = find_setting(r->settings, "text.rope_theta");
    const cJSON *item;
    LVLM_JSON_MEMBERS (item, a) {
        const cJSON *other = lvlm_json_get(b, item->string);
        cJSON *fallback = NULL;
        if (is_type(item->string) || cJSON_IsNull(item)) continue;
        if (other == NULL && b == r->scaling && strcmp(item->string, "rope_theta") == 0)
            other = lvlm_json_get(r->object, "rope_theta");
        if (other == NULL && b == r->scaling && theta != NULL &&
            strcmp(item->string, "rope_theta") == 0) {
            TRY(lvlm_json_parse(&fallback, theta->fallback, strlen(theta->fallback),
                                err));
            other = fallback;
        }
        const bool same = other != NULL && cJSON_Compare(item, other, true);
        lvlm_json_free(fallback);
        if (!same) return contradict(r, item->string, err);
    }
    return 0;
}

static int check_rope_keys(const rope *r, const cJSON *object, const char *name,
                           lvlm_notes *notes, lvlm_error *err)
{
    assert(name != NULL);
    char path[PATH_BYTES], where[PATH_BYTES];
    const cJSON *item;
    (void)snprintf(where, sizeof where, "config.json: %s%s%s", r->section, dot(r),
                   name);
    LVLM_JSON_MEMBERS (item, object) {
        (void)snprintf(path, sizeof path, "%s%s%s.%s", r->section, dot(r), name,
                       item->string);
        if (!is_followed(r->settings, path))
            TRY(lvlm_key_check(item->string, item, where, rope_keys, notes, err));
    }
    return 0;
}

/* `object`: the text section of config.json, or the whole. */
static int check_rope(const lvlm_setting_walk *settings, const cJSON *object,
                      const char *section, lvlm_notes *notes, lvlm_error *err)
{
    const char *words[2];
    rope r = { settings, section, object, lvlm_json_get(object, "rope_parameters"),
               lvlm_json_get(object, "rope_scaling") };
    if (!cJSON_IsObject(r.parameters)) r.parameters = NULL;
    if (!cJSON_IsObject(r.scaling)) r.scaling = NULL;
    TRY(check_type(&words[0], &r, r.parameters, "rope_parameters", err));
    TRY(check_type(&words[1], &r, r.scaling, "rope_scaling", err));
    TRY(check_rope_keys(&r, r.parameters, "rope_parameters", notes, err));
    TRY(check_rope_keys(&r, r.scaling, "rope_scaling", notes, err));
    if (r.parameters == NULL || r.scaling == NULL) return 0;
    if ((words[0] == NULL) != (words[1] == NULL) ||
        (words[0] != NULL && strcmp(words[0], words[1]) != 0))
        return contradict(&r, "rope_type", err);
    TRY(compare(&r, r.parameters, r.scaling, err));
    return compare(&r, r.scaling, r.parameters, err);
}

/* ---- windows -------------------------------------------------------------------- */

/* In families with a window only even layers slide. `section`: "text_config.", "". */
static int check_layers(const lvlm_setting_walk *settings, const cJSON *object,
                        const char *section, lvlm_error *err)
{
    const cJSON *const types = lvlm_json_get(object, "layer_types");
    const lvlm_setting *const window = find_setting(settings, "text.sliding_window");
    const bool slides = window != NULL && window->paths != NULL;
    const cJSON *item;
    size_t i = 0;
    LVLM_JSON_ITEMS (item, types) {
        const char *const word = lvlm_json_string(item);
        const char *const expected =
            slides && i % 2 == 0 ? "sliding_attention" : "full_attention";
        FAIL_IF(word == NULL || strcmp(word, expected) != 0, err, LVLM_EFORMAT,
                "config.json: %slayer_types[%zu]: got '%.40s', expected '%s': "
                "windows of other layers are not computed",
                section, i, word != NULL ? word : "(no text)", expected);
        i++;
    }
    return 0;
}

/* ---- direction ------------------------------------------------------------------ */

/* Where a prefix is seen as a whole, token types say what it is; elsewhere every text
 * is causal. */
static int check_direction(const lvlm_setting_walk *settings, const cJSON *object,
                           const char *section, lvlm_notes *notes, lvlm_error *err)
{
    const cJSON *const both = lvlm_json_get(object, "use_bidirectional_attention");
    const lvlm_setting *const mask = find_setting(settings, "text.mask");
    const bool prefix = mask != NULL && strcmp(mask->fallback, "\"prefix_lm\"") == 0;
    if (!cJSON_IsBool(both) || cJSON_IsTrue(both) == prefix) return 0;
    return lvlm_notes_add(
        notes, err, "config.json: %suse_bidirectional_attention %s is not followed: %s",
        section, prefix ? "false" : "true",
        prefix ? "token types say which tokens attend in both directions"
               : "every text is causal, as the model was trained");
}

/* ---- all of it ------------------------------------------------------------------ */

static bool is_section(const char *name)
{
    for (const char *const *s = sections; *s != NULL; s++)
        if (strcmp(*s, name) == 0) return true;
    return false;
}

/* The members of `object`: config.json or a section of it. */
static int check_members(const lvlm_setting_walk *settings, const cJSON *object,
                         const char *section, lvlm_notes *notes, lvlm_error *err)
{
    char path[PATH_BYTES], where[PATH_BYTES];
    const cJSON *item;
    const char *const between = *section != '\0' ? "." : "";
    (void)snprintf(where, sizeof where, "config.json%s%s", *section != '\0' ? ": " : "",
                   section);
    LVLM_JSON_MEMBERS (item, object) {
        (void)snprintf(path, sizeof path, "%s%s%s", section, between, item->string);
        if (strcmp(item->string, "rope_parameters") == 0 ||
            strcmp(item->string, "rope_scaling") == 0 || is_followed(settings, path) ||
            (*section == '\0' && is_section(item->string)))
            continue;
        TRY(lvlm_key_check(item->string, item, where, keys, notes, err));
    }
    return check_rope(settings, object, section, notes, err);
}

static int check_all(const lvlm_setting_walk *settings, const cJSON *hf_config,
                     lvlm_notes *notes, lvlm_error *err)
{
    const cJSON *const text = lvlm_json_get(hf_config, "text_config");
    TRY(check_layers(settings, text, "text_config.", err));
    TRY(check_layers(settings, hf_config, "", err));
    TRY(check_direction(settings, text, "text_config.", notes, err));
    TRY(check_direction(settings, hf_config, "", notes, err));
    TRY(check_nulls(settings, hf_config, notes, err));
    TRY(check_members(settings, hf_config, "", notes, err));
    for (const char *const *s = sections; *s != NULL; s++)
        TRY(check_members(settings, lvlm_json_get(hf_config, *s), *s, notes, err));
    return 0;
}

int lvlm_config_check(const lvlm_family *family, const cJSON *hf_config,
                      lvlm_notes *notes, lvlm_error *err)
{
    cJSON *words;
    TRY(lvlm_family_words(&words, family, hf_config, err));
    const lvlm_setting_walk settings = { .config = words, .table = family->settings };
    const int rc = check_all(&settings, hf_config, notes, err);
    lvlm_json_free(words);
    return rc;
}
