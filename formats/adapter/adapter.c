/* adapter.c - reads a PEFT directory; see adapter.h. Writing: adapter_save.c; merging:
 * adapter_fold.c.
 *
 *   adapter_config.json -> every key is known and supported
 *   every tensor        -> module and factor -> shape check -> the list */
#include "formats/adapter/adapter.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#include "formats/adapter/adapter_saved.h"
#include "formats/base/infile.h"
#include "formats/base/json.h"
#include "formats/base/text.h"
#include "formats/container/finite.h"

/* ---- configuration -------------------------------------------------------------- */

/* Keys that are read below or do not affect what a trained adapter computes. Every
 * other key must be null, false or empty. */
static const char known_keys[] =
    "alpha_pattern|auto_mapping|base_model_name_or_path|bias|ensure_weight_tying|"
    "eva_config|exclude_modules|inference_mode|init_lora_weights|layers_pattern|"
    "layers_to_transform|lora_alpha|lora_dropout|megatron_core|modules_to_save|"
    "peft_type|peft_version|qalora_group_size|r|rank_pattern|revision|runtime_config|"
    "target_modules|task_type|use_rslora";

/* Initialisations that keep the base weights; with the others (pissa, olora, corda,
 * loftq, lora_ga) the adapter belongs to modified base weights. */
static const char plain_beginnings[] = "gaussian|eva|orthogonal";

static bool is_nothing(const cJSON *item)
{
    return cJSON_IsNull(item) || cJSON_IsFalse(item) ||
           ((cJSON_IsArray(item) || cJSON_IsObject(item)) &&
            lvlm_json_first_item(item) == NULL && lvlm_json_first_member(item) == NULL);
}

static int check_keys(const cJSON *json, lvlm_error *err)
{
    const cJSON *item, *bias = lvlm_json_get(json, "bias");
    const cJSON *beginning = lvlm_json_get(json, "init_lora_weights");
    const char *type = lvlm_json_string(lvlm_json_get(json, "peft_type"));
    FAIL_IF(type == NULL || strcmp(type, "LORA") != 0, err, LVLM_EFORMAT,
            "peft_type is '%.40s', expected 'LORA'", type != NULL ? type : "(none)");
    FAIL_IF(bias != NULL && !is_nothing(bias) &&
                (!cJSON_IsString(bias) || strcmp(bias->valuestring, "none") != 0),
            err, LVLM_EFORMAT, "bias is not 'none': trained biases are not supported");
    FAIL_IF(
        cJSON_IsString(beginning) &&
            !lvlm_is_listed(plain_beginnings, beginning->valuestring),
        err, LVLM_EFORMAT,
        "init_lora_weights is '%.40s': such an adapter belongs to other base weights "
        "than the model's; PEFT converts it if "
        "path_initial_model_for_weight_conversion is given to save_pretrained",
        beginning->valuestring);
    LVLM_JSON_MEMBERS (item, json)
        FAIL_IF(!lvlm_is_listed(known_keys, item->string) && !is_nothing(item), err,
                LVLM_EFORMAT, "%.60s is set, which is not supported", item->string);
    return 0;
}

/* The rank of a module: at least 1. */
static bool is_rank(uint64_t *out, const cJSON *item)
{
    return lvlm_json_u64(out, item) && *out > 0 && *out <= INT32_MAX;
}

static bool is_alpha(double *out, const cJSON *item)
{
    return lvlm_json_double(out, item) && isfinite(*out);
}

/* { module: rank } or { module: alpha }. PEFT reads the names as regular expressions;
 * here they must be plain names. */
static int check_pattern(const cJSON **out, const cJSON *json, const char *key,
                         bool ranks, lvlm_error *err)
{
    const cJSON *item;
    uint64_t rank;
    double alpha;
    *out = lvlm_json_get(json, key);
    if (*out == NULL || is_nothing(*out)) return 0;
    FAIL_IF(!cJSON_IsObject(*out), err, LVLM_EFORMAT, "%s is not an object", key);
    LVLM_JSON_MEMBERS (item, *out) {
        FAIL_IF(strspn(item->string, "abcdefghijklmnopqrstuvwxyz"
                                     "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") !=
                    strlen(item->string),
                err, LVLM_EFORMAT,
                "%s: '%.80s' is a regular expression; only plain names are supported",
                key, item->string);
        FAIL_IF(ranks ? !is_rank(&rank, item) : !is_alpha(&alpha, item), err,
                LVLM_EFORMAT, "%s: '%.80s' has no valid number", key, item->string);
    }
    return 0;
}

/* An empty name would be the end of every module's. */
static int check_saved(const cJSON **out, const cJSON *json, lvlm_error *err)
{
    const cJSON *const list = lvlm_json_get(json, "modules_to_save"), *item;
    if (list == NULL || is_nothing(list)) return 0;
    FAIL_IF(!cJSON_IsArray(list), err, LVLM_EFORMAT, "modules_to_save is not a list");
    LVLM_JSON_ITEMS (item, list) {
        const char *const word = lvlm_json_string(item);
        FAIL_IF(word == NULL || *word == '\0', err, LVLM_EFORMAT,
                "modules_to_save has an entry that is not a name");
    }
    *out = list;
    return 0;
}

int lvlm_adapter_config_read(lvlm_adapter_config *out, const cJSON *json,
                             lvlm_error *err)
{
    const cJSON *dropout = lvlm_json_get(json, "lora_dropout");
    uint64_t r = 8; /* the class defaults of LoraConfig */
    *out = (lvlm_adapter_config){ .alpha = 8 };
    FAIL_IF(!cJSON_IsObject(json), err, LVLM_EFORMAT, "is not an object");
    TRY(check_keys(json, err));
    const cJSON *rank = lvlm_json_get(json, "r");
    const cJSON *alpha = lvlm_json_get(json, "lora_alpha");
    FAIL_IF(rank != NULL && !is_rank(&r, rank), err, LVLM_EFORMAT,
            "r is not a whole number of at least 1");
    FAIL_IF(alpha != NULL && !is_alpha(&out->alpha, alpha), err, LVLM_EFORMAT,
            "lora_alpha is not a number");
    FAIL_IF(dropout != NULL && (!lvlm_json_double(&out->dropout, dropout) ||
                                !(out->dropout >= 0 && out->dropout < 1)),
            err, LVLM_EFORMAT, "lora_dropout is not a number from 0 to below 1");
    out->r = (size_t)r;
    out->rslora = cJSON_IsTrue(lvlm_json_get(json, "use_rslora"));
    out->base = lvlm_json_string(lvlm_json_get(json, "base_model_name_or_path"));
    TRY(check_saved(&out->modules_to_save, json, err));
    TRY(check_pattern(&out->rank_pattern, json, "rank_pattern", true, err));
    return check_pattern(&out->alpha_pattern, json, "alpha_pattern", false, err);
}

/* ---- the list ------------------------------------------------------------------- */

/* The number that a pattern has for a module, or NULL. */
static const cJSON *find_pattern(const cJSON *pattern, const lvlm_module *module)
{
    const cJSON *item;
    LVLM_JSON_MEMBERS (item, pattern)
        if (lvlm_module_named(module->name, item->string)) return item;
    return NULL;
}

int lvlm_adapter_begin(lvlm_adapter *out, const lvlm_manifest *manifest,
                       const lvlm_adapter_config *config, lvlm_error *err)
{
    assert(config->r > 0);
    *out = (lvlm_adapter){ .config = *config, .arena = LVLM_ARENA_INIT };
    TRY(lvlm_modules_list(&out->modules, manifest, err));
    out->at = lvlm_arena_alloc(&out->arena, out->modules.n + 1, sizeof *out->at);
    return out->at != NULL ? adapter_saved_list(out, err) : lvlm_fail_memory(err);
}

void lvlm_adapter_add(lvlm_adapter *adapter, const lvlm_module *module)
{
    assert(module->linear && adapter->n < adapter->modules.n);
    assert(adapter->n == 0 || adapter->at[adapter->n - 1].module < module);
    assert(!lvlm_adapter_saves(adapter, module->parts[0]));
    const lvlm_adapter_config *const c = &adapter->config;
    const cJSON *own_rank = find_pattern(c->rank_pattern, module);
    const cJSON *own_alpha = find_pattern(c->alpha_pattern, module);
    uint64_t r = c->r;
    double alpha = c->alpha;
    (void)lvlm_json_u64(&r, own_rank);
    (void)lvlm_json_double(&alpha, own_alpha);
    lvlm_adapted *const new = &adapter->at[adapter->n++];
    *new = (lvlm_adapted){ .module = module, .r = (size_t)r };
    new->scale = alpha / (c->rslora ? sqrt((double)r) : (double)r);
    new->a = (lvlm_tensor){ .dtype = LVLM_F32, .shape = { 2, { r, module->in } } };
    new->b = (lvlm_tensor){ .dtype = LVLM_F32, .shape = { 2, { module->out, r } } };
}

const lvlm_adapted *lvlm_adapter_find(size_t *part, const lvlm_adapter *adapter,
                                      const char *name)
{
    assert(name != NULL);
    for (size_t i = 0; i < adapter->n; i++) {
        const lvlm_module *const m = adapter->at[i].module;
        for (*part = 0; *part < m->n_parts; ++*part)
            if (strcmp(m->parts[*part]->name, name) == 0) return &adapter->at[i];
    }
    return NULL;
}

void lvlm_adapter_free(lvlm_adapter *adapter)
{
    lvlm_modules_free(&adapter->modules);
    lvlm_json_free(adapter->json);
    lvlm_checkpoint_close(adapter->file);
    lvlm_arena_free(&adapter->arena);
    *adapter = (lvlm_adapter){ 0 };
}

/* ---- tensors -------------------------------------------------------------------- */

/* The two factors that were found for each module. */
typedef struct factors {
    const lvlm_tensor *a, *b;
} factors;

static const char factor_mark[] = ".lora_";

/* The factor that a name belongs to; *end is the end of the module's name. */
static int split_name(bool *is_b, size_t *end, const char *name, lvlm_error *err)
{
    const char *const at = strstr(name, factor_mark);
    assert(at != NULL);
    FAIL_IF(strncmp(at, ".lora_embedding_", 16) == 0, err, LVLM_EFORMAT,
            "'%s' adapts a table of vectors, which is not supported", name);
    FAIL_IF(strncmp(at, ".lora_A.", 8) != 0 && strncmp(at, ".lora_B.", 8) != 0, err,
            LVLM_EFORMAT, "'%s' is neither lora_A nor lora_B: not supported", name);
    FAIL_IF(!lvlm_module_named(at, "weight"), err, LVLM_EFORMAT,
            "'%s' is not a weight: biases are not supported", name);
    *is_b = at[6] == 'B';
    *end = (size_t)(at - name);
    return 0;
}

static int find_module(size_t *out, lvlm_adapter *adapter, const lvlm_family *family,
                       const char *name, size_t end, lvlm_error *err)
{
    lvlm_arena *const arena = &adapter->arena;
    bool known;
    const char *weight = lvlm_arena_printf(arena, "%.*s.weight", (int)end, name);
    if (weight == NULL) return lvlm_fail_memory(err);
    const char *canonical = lvlm_names_canonical(family, weight, &known, arena);
    if (canonical == NULL) return lvlm_fail_memory(err);
    const lvlm_module *const m = lvlm_modules_find(&adapter->modules, canonical);
    FAIL_IF(!known || m == NULL || !m->linear, err, LVLM_EFORMAT,
            "'%s' names no linear map of %s", name, family->title);
    FAIL_IF(lvlm_adapter_saves(adapter, m->parts[0]), err, LVLM_EFORMAT,
            "'%s' adapts a module that modules_to_save names", name);
    *out = (size_t)(m - adapter->modules.at);
    return 0;
}

static int place_tensor(factors *found, lvlm_adapter *adapter,
                        const lvlm_family *family, const lvlm_tensor *t,
                        lvlm_error *err)
{
    bool is_b = false;
    size_t end = 0, i = 0;
    FAIL_IF(!lvlm_dtype_is_weight(t->dtype), err, LVLM_EFORMAT,
            "'%s': dtype %s, expected F32, F64, BF16 or F16", t->name,
            lvlm_dtype_name(t->dtype));
    if (strstr(t->name, factor_mark) == NULL)
        return adapter_saved_place(adapter, t, err);
    TRY(split_name(&is_b, &end, t->name, err));
    TRY(find_module(&i, adapter, family, t->name, end, err));
    const lvlm_tensor **const place = is_b ? &found[i].b : &found[i].a;
    FAIL_IF(*place != NULL, err, LVLM_EFORMAT, "'%s' is there as '%s' too", t->name,
            (*place)->name);
    *place = t;
    return 0;
}

int adapter_set_tensor(lvlm_tensor *wanted, const lvlm_tensor *t, lvlm_error *err)
{
    assert(wanted->data == NULL);
    char got[LVLM_SHAPE_TEXT], want[LVLM_SHAPE_TEXT];
    FAIL_IF(!lvlm_shape_equal(&t->shape, &wanted->shape), err, LVLM_EFORMAT,
            "'%s': shape %s, expected %s", t->name, lvlm_shape_text(got, &t->shape),
            lvlm_shape_text(want, &wanted->shape));
    TRY(lvlm_check_finite(t, err)); /* left by a run that diverged */
    *wanted = *t;
    return 0;
}

/* A name that matches no module here may match one in PEFT. */
static int check_names(const lvlm_adapter *adapter, const cJSON *pattern,
                       lvlm_error *err)
{
    const cJSON *item;
    LVLM_JSON_MEMBERS (item, pattern) {
        size_t i = 0;
        while (i < adapter->modules.n &&
               !lvlm_module_named(adapter->modules.at[i].name, item->string))
            i++;
        FAIL_IF(i == adapter->modules.n, err, LVLM_EFORMAT,
                "adapter_config.json: the pattern '%.80s' names no module",
                item->string);
    }
    return 0;
}

static int set_factors(lvlm_adapter *adapter, const factors *found, lvlm_error *err)
{
    TRY(check_names(adapter, adapter->config.rank_pattern, err));
    TRY(check_names(adapter, adapter->config.alpha_pattern, err));
    for (size_t i = 0; i < adapter->modules.n; i++) {
        const factors *const f = &found[i];
        if (f->a == NULL && f->b == NULL) continue;
        FAIL_IF(f->a == NULL || f->b == NULL, err, LVLM_EFORMAT, "'%s' has no lora_%c",
                f->a != NULL ? f->a->name : f->b->name, f->a != NULL ? 'B' : 'A');
        lvlm_adapter_add(adapter, &adapter->modules.at[i]);
        TRY(adapter_set_tensor(&adapter->at[adapter->n - 1].a, f->a, err));
        TRY(adapter_set_tensor(&adapter->at[adapter->n - 1].b, f->b, err));
    }
    FAIL_IF(adapter->n == 0, err, LVLM_EFORMAT, "holds no low-rank pair");
    return adapter_saved_check(adapter, err);
}

/* ---- the directory -------------------------------------------------------------- */

/* Names of files that hold weights. */
static const char *const weights[] = { "*.safetensors", "*.bin",  "*.pt",
                                       "*.pth",         "*.ckpt", NULL };

/* Names of the adapter itself and of a trainer's state. */
static const char *const known[] = {
    "adapter_model.safetensors",
    "adapter_model.bin",
    "training_args.bin",
    "optimizer*",
    "scheduler*",
    "scaler*",
    "rng_state*",
    "random_states*",
    "trainer_state*",
    NULL,
};

int lvlm_adapter_note_folder(const char *dir, lvlm_notes *notes, lvlm_error *err)
{
    char **names;
    size_t n;
    int rc = 0;
    TRY(lvlm_path_list(&names, &n, dir, err));
    for (size_t i = 0; rc == 0 && i < n; i++)
        if (lvlm_matches(weights, names[i]) && !lvlm_matches(known, names[i]))
            rc = lvlm_notes_add(notes, err,
                                "%s: %s is not followed: it may hold weights that were "
                                "trained together with the adapter",
                                dir, names[i]);
    lvlm_path_list_free(names, n);
    return rc;
}

static int parse_config(cJSON **json, lvlm_hex_digest digest, const char *path,
                        lvlm_error *err)
{
    lvlm_infile *file = NULL;
    TRY(lvlm_infile_open(&file, path, err));
    const size_t n = (size_t)file->n_bytes;
    int rc = lvlm_within(lvlm_json_parse(json, file->bytes, n, err), err, "%s: ", path);
    if (rc == 0) rc = lvlm_digest_bytes(digest, file->bytes, n, err);
    lvlm_infile_close(file);
    return rc;
}

static int read_config(cJSON **json, lvlm_hex_digest digest,
                       lvlm_adapter_config *config, const char *dir, lvlm_error *err)
{
    lvlm_arena arena = LVLM_ARENA_INIT;
    const char *path = lvlm_arena_printf(&arena, "%s/adapter_config.json", dir);
    int rc =
        path != NULL ? parse_config(json, digest, path, err) : lvlm_fail_memory(err);
    if (rc == 0)
        rc = lvlm_within(lvlm_adapter_config_read(config, *json, err), err,
                         "%s: ", path);
    lvlm_arena_free(&arena);
    return rc;
}

static int read_tensors(lvlm_adapter *adapter, const char *dir,
                        const lvlm_manifest *manifest, lvlm_error *err)
{
    lvlm_arena *const arena = &adapter->arena;
    const char *path = lvlm_arena_printf(arena, "%s/adapter_model.safetensors", dir);
    const char *bin = lvlm_arena_printf(arena, "%s/adapter_model.bin", dir);
    factors *found = lvlm_arena_alloc(arena, adapter->modules.n + 1, sizeof *found);
    if (path == NULL || bin == NULL || found == NULL) return lvlm_fail_memory(err);
    if (!lvlm_path_exists(path) && lvlm_path_exists(bin)) path = bin;
    TRY(lvlm_checkpoint_open(&adapter->file, path, NULL, err));
    int rc = lvlm_adapter_check_seal(adapter, err);
    for (size_t i = 0; rc == 0 && i < adapter->file->n_tensors; i++)
        rc = place_tensor(found, adapter, manifest->family, &adapter->file->tensors[i],
                          err);
    if (rc == 0) rc = set_factors(adapter, found, err);
    return lvlm_within(rc, err, "%s: ", path);
}

int lvlm_adapter_open(lvlm_adapter *out, const char *dir, const lvlm_manifest *manifest,
                      lvlm_error *err)
{
    lvlm_adapter_config config;
    lvlm_hex_digest digest = "";
    cJSON *json = NULL;
    *out = (lvlm_adapter){ 0 };
    int rc = read_config(&json, digest, &config, dir, err);
    if (rc == 0) rc = lvlm_adapter_note_folder(dir, manifest->checkpoint->notes, err);
    if (rc == 0) rc = lvlm_adapter_begin(out, manifest, &config, err);
    out->json = json;
    memcpy(out->config_digest, digest, sizeof digest);
    return rc < 0 ? rc : read_tensors(out, dir, manifest, err);
}

int lvlm_adapter_record(cJSON *step, const lvlm_adapter *adapter, lvlm_error *err)
{
    if (adapter->file == NULL) return 0;
    assert(adapter->file->n_files > 0);
    const lvlm_infile *const file = adapter->file->files[0].map;
    lvlm_hex_digest hex;
    TRY(lvlm_digest_bytes(hex, file->bytes, (size_t)file->n_bytes, err));
    if (cJSON_AddStringToObject(step, "adapter", hex) == NULL ||
        cJSON_AddStringToObject(step, "adapter_config", adapter->config_digest) == NULL)
        return lvlm_fail_memory(err);
    return 0;
}
