/* settings.c - mistakes in settings: the stage computed with other values of
 * config.json; see trial.h. */
#include <stdio.h>
#include <string.h>

#include "formats/base/alloc.h"
#include "formats/base/json.h"
#include "formats/base/text.h"
#include "verify/cause/trial.h"

enum { TEXT_BYTES = 512, MOST_VALUES = 300 };

/* ---- values that depend on the model --------------------------------------------- */

/* Values of a setting, a list. */
typedef struct choices {
    cJSON *values;
    bool failed; /* out of memory */
} choices;

/* Append to the list, or to one that is to be appended to it; takes `item`. */
static void push(choices *c, cJSON *list, cJSON *item)
{
    if (list != NULL && item != NULL && cJSON_AddItemToArray(list, item)) return;
    lvlm_json_free(item);
    c->failed = true;
}

static void push_number(choices *c, cJSON *list, double value)
{
    push(c, list, cJSON_CreateNumber(value));
}

static void add(choices *c, double value)
{
    if (value > 0 && lvlm_json_count(c->values) < MOST_VALUES)
        push_number(c, c->values, value);
}

/* Numbers of heads that divide the width. */
static void list_heads(choices *c, const cause_session *s, const char *path)
{
    const bool text = lvlm_starts_with(path, "text.");
    const char *const of = strchr(path, '.');
    char width[32];
    (void)snprintf(width, sizeof width, "%.*s.hidden", (int)(of - path), path);
    const size_t W = text ? cause_count(s, path) * cause_count(s, "text.head_dim")
                          : cause_count(s, width);
    for (size_t heads = 1; heads <= W / 2; heads++)
        if (W % heads == 0) add(c, (double)heads);
}

static void list_query_scalars(choices *c, const cause_session *s, const char *path)
{
    const double hidden = (double)cause_count(s, "text.hidden");
    const double D = (double)cause_count(s, "text.head_dim");
    const double heads = (double)cause_count(s, "text.heads");
    (void)path;
    add(c, D);
    add(c, hidden / heads);
    add(c, hidden);
    add(c, heads);
    add(c, D * D);
    add(c, 1);
    add(c, 256);
}

/* The longest text of the batch. */
static size_t length_of(const cause_session *s)
{
    const lvlm_tensor *const ids = s->replay->recording.ids;
    return ids != NULL ? (size_t)ids->shape.dims[1] : 0;
}

/* Those that a text of this length can tell apart. */
static void list_lengths(choices *c, const cause_session *s, const char *path)
{
    const size_t T = length_of(s);
    (void)path;
    push(c, c->values, cJSON_CreateNull());
    for (size_t n = 1; n <= T && T < MOST_VALUES; n++) add(c, (double)n);
    for (size_t n = 256; n <= 65536; n *= 2) add(c, (double)n);
}

/* Which blocks have a window: none, all, even or odd ones. */
static void list_window_layers(choices *c, const cause_session *s, const char *path)
{
    const size_t layers = cause_count(s, "text.layers");
    (void)path;
    for (size_t step = 1; step <= 2; step++)
        for (size_t first = 0; first < step; first++) {
            cJSON *const list = cJSON_CreateArray();
            for (size_t i = first; i < layers; i += step)
                push_number(c, list, (double)i);
            push(c, c->values, list);
        }
    push(c, c->values, cJSON_CreateArray());
}

static void add_sections(choices *c, double x, double y, double z)
{
    const double xyz[3] = { x, y, z };
    if (lvlm_json_count(c->values) < MOST_VALUES)
        push(c, c->values, cJSON_CreateDoubleArray(xyz, 3));
}

/* Three numbers with the sum of a head's pairs: all where those are few, else those of
 * released models and other orders of the present ones. */
static void list_sections(choices *c, const cause_session *s, const char *path)
{
    enum { FEW = 12 };
    const size_t half = cause_count(s, "text.head_dim") / 2;
    const cJSON *const now = lvlm_json_path(s->manifest->config, path);
    double n[3] = { 0 };
    for (size_t i = 0; i < 3; i++)
        (void)lvlm_json_double(&n[i], lvlm_json_item(now, i));
    for (size_t a = 0; a <= half && half <= FEW; a++)
        for (size_t b = 0; a + b <= half; b++)
            add_sections(c, (double)a, (double)b, (double)(half - a - b));
    if (half <= FEW) return;
    add_sections(c, (double)half / 4, (double)half * 3 / 8, (double)half * 3 / 8);
    for (size_t i = 0; i < 3; i++)
        for (size_t k = 1; k <= 2; k++)
            add_sections(c, n[i], n[(i + k) % 3], n[(i + 3 - k) % 3]);
}

/* Windows of whole merged patches. */
static void list_windows(choices *c, const cause_session *s, const char *path)
{
    const size_t unit = cause_count(s, "vision.patch") * cause_count(s, "vision.merge");
    (void)path;
    for (size_t n = 1; n <= 16; n++) add(c, (double)(n * unit));
}

/* All lists of blocks of a small tower. */
static void list_subsets(choices *c, size_t layers)
{
    for (size_t set = 0; set < (size_t)1 << layers; set++) {
        cJSON *const list = cJSON_CreateArray();
        for (size_t block = 0; block < layers; block++)
            if ((set >> block & 1) != 0) push_number(c, list, (double)block);
        push(c, c->values, list);
    }
}

/* The list with each block of the tower in or out, all of them, and none. */
static void list_full_blocks(choices *c, const cause_session *s, const char *path)
{
    enum { FEW = 6 };
    const size_t layers = cause_count(s, "vision.layers");
    const cJSON *item, *const now = lvlm_json_path(s->manifest->config, path);
    if (layers <= FEW) {
        list_subsets(c, layers);
        return;
    }
    for (size_t i = 0; i < layers + 2; i++) {
        cJSON *const list = cJSON_CreateArray();
        for (size_t block = 0; block < layers; block++) {
            bool in = i == layers;
            LVLM_JSON_ITEMS (item, now)
                in |= i < layers && (size_t)item->valuedouble == block;
            if (i < layers ? in != (block == i) : in)
                push_number(c, list, (double)block);
        }
        push(c, c->values, list);
    }
}

/* Lists of states of the tower: each one by itself, and all of them one further or
 * one earlier. */
static void list_states(choices *c, const cause_session *s, const char *path)
{
    const size_t layers = cause_count(s, "vision.layers");
    const cJSON *item, *const now = lvlm_json_path(s->manifest->config, path);
    const bool one = lvlm_json_count(now) == 1;
    for (size_t i = 0; one && i <= layers; i++) {
        const double x = (double)i;
        push(c, c->values, cJSON_CreateDoubleArray(&x, 1));
    }
    for (int by = -2; by <= 2; by++) {
        cJSON *const list = cJSON_CreateArray();
        LVLM_JSON_ITEMS (item, now) push_number(c, list, item->valuedouble + by);
        push(c, c->values, list);
    }
    const size_t n = lvlm_json_count(now);
    for (size_t i = 1; i < n; i++) { /* in another order */
        cJSON *const list = cJSON_CreateArray();
        for (size_t k = 0; k < n; k++)
            push_number(c, list, lvlm_json_item(now, (k + i) % n)->valuedouble);
        push(c, c->values, list);
    }
    for (size_t i = 0; i < n; i++) /* one of them another */
        for (size_t state = 0; state <= layers; state++) {
            cJSON *const list = cJSON_CreateArray();
            size_t at = 0;
            LVLM_JSON_ITEMS (item, now)
                push_number(c, list, at++ == i ? (double)state : item->valuedouble);
            push(c, c->values, list);
        }
}

/* ---- the table ------------------------------------------------------------------- */

/* Blocks have as many values of queries and keys as before. */
static int follow_heads(cause_session *s, const cJSON *heads, lvlm_error *err)
{
    const size_t D = cause_count(s, "text.head_dim"), h = (size_t)heads->valuedouble;
    const size_t Q = cause_count(s, "text.heads") * D;
    const size_t K = cause_count(s, "text.kv_heads") * D;
    const size_t width = Q / h;
    if (width == 0 || K % width != 0) return LVLM_EUSAGE; /* no such model */
    cJSON *const dim = cJSON_CreateNumber((double)width);
    cJSON *const kv = cJSON_CreateNumber((double)(K / width));
    int rc = dim != NULL && kv != NULL ? 0 : lvlm_fail_memory(err);
    if (rc == 0) rc = variant_set(&s->changed, "text.head_dim", dim, err);
    if (rc == 0 && cause_count(s, "text.query_scalar") == D)
        rc = variant_set(&s->changed, "text.query_scalar", dim, err);
    if (rc == 0) rc = variant_set(&s->changed, "text.kv_heads", kv, err);
    lvlm_json_free(dim);
    lvlm_json_free(kv);
    return rc;
}

static int split_heads(cause_session *s, const cJSON *heads, lvlm_error *err)
{
    return cause_split_heads(s, (size_t)heads->valuedouble, err);
}

#define TEXT "text.blocks.*"
#define TOWER "vision.blocks.*|vision.global_blocks.*"
#define EPSILONS "[1e-5, 1e-6, 1e-8, 1e-12, 1e-4, 1e-3, 1e-2]"
#define THETAS "[10000, 500000, 1000000, 100000, 25000, 1000, 5000000, 8000000, 150000]"
#define WORDS                                                                          \
    "[\"gelu\", \"gelu_tanh\", \"quick_gelu\", \"silu\", \"relu\", \"identity\"]"

// clang-format off
/* Settings that a stage depends on and values that are known of them. */
static const struct setting_row {
    const char *mistake, *stages, *path;
    const char *values; /* a list in JSON; NULL: `list` makes it */
    void (*list)(choices *c, const cause_session *s, const char *path);
    int (*follow)(cause_session *s, const cJSON *value, lvlm_error *err);
    bool relations; /* which rows attend to which */
    bool is_number; /* positive, and any */
} rows[] = {
    { "rope_theta",      TEXT,  "text.rope_theta",   THETAS, .relations = true, .is_number = true },
    { "rope_theta",      TOWER, "vision.rope_theta", THETAS, .relations = true, .is_number = true },
    { "rope_type",       TEXT,  "text.rope_type",    "[\"default\", \"llama3\"]", .relations = true },
    { "rope_scaling",    TEXT,  "text.rope_factor",  "[1, 2, 4, 8, 16, 32, 64]", .relations = true, .is_number = true },
    { "rope_scaling",    TEXT,  "text.rope_low",     "[1, 2, 4]", .relations = true, .is_number = true },
    { "rope_scaling",    TEXT,  "text.rope_high",    "[2, 4, 8]", .relations = true, .is_number = true },
    { "rope_scaling",    TEXT,  "text.rope_original", .list = list_lengths, .relations = true },
    { "mrope_section",   TEXT,  "text.mrope_section", .list = list_sections, .relations = true },
    { "tokens_per_second", TEXT, "vision.tokens_per_second", "[1, 2, 3, 4, 5, 8, 10, 25]", .relations = true },
    { "dynamic_ntk",     TEXT,  "text.dynamic_ntk",  "[true, false]", .relations = true },
    { "logn",            TEXT,  "text.logn",         "[true, false]", .relations = true },
    { "train_length",    TEXT,  "text.train_length", .list = list_lengths, .relations = true },
    { "heads",           TEXT,  "text.heads",        .list = list_heads, .follow = follow_heads, .relations = true },
    { "heads",           TOWER, "vision.heads",      .list = list_heads, .follow = split_heads, .relations = true },
    { "heads",           "connector.attn", "connector.heads", .list = list_heads, .relations = true },
    { "scale",           TEXT,  "text.query_scalar", .list = list_query_scalars, .relations = true, .is_number = true },
    { "softcap",         TEXT,  "text.attn_softcap", "[null, 50, 30, 20, 10, 5, 100]", .relations = true, .is_number = true },
    { "mask",            TEXT,  "text.mask",         "[\"causal\", \"prefix_lm\"]", .relations = true },
    { "sliding_window",  TEXT,  "text.sliding_window", .list = list_lengths, .relations = true },
    { "window_layers",   TEXT,  "text.window_layers", .list = list_window_layers, .relations = true },
    { "window",          TOWER, "vision.window",     .list = list_windows, .relations = true },
    { "full_blocks",     TOWER, "vision.full_blocks", .list = list_full_blocks, .relations = true },
    { "epsilon",         TEXT "|text.norm", "text.norm_eps", EPSILONS, .is_number = true },
    { "epsilon",         TOWER "|vision.out|connector.norm|vision.embed", "vision.norm_eps", EPSILONS, .is_number = true },
    { "epsilon",         "vision.embed|vision.global_blocks.0", "vision.outer_norm_eps", EPSILONS, .is_number = true },
    { "epsilon",         "connector.*", "connector.norm_eps", EPSILONS, .is_number = true },
    { "activation",      TEXT,  "text.activation",   WORDS },
    { "activation",      TOWER, "vision.activation", WORDS },
    { "activation",      "connector.out|connector.linear_*", "connector.activation", WORDS },
    { "softcap",         "logits", "text.final_softcap", "[null, 30, 50, 20, 10, 5, 100]", .is_number = true },
    { "embed_scale",     "text.embed", "text.embed_scale", "[\"one\", \"sqrt_hidden\"]" },
    { "states",          "vision.out|connector.out|connector.linear_1|connector.norm", "vision.select", .list = list_states },
    { "states",          "vision.out", "vision.taps", .list = list_states },
};
// clang-format on

/* ---- in the words of config.json ------------------------------------------------- */

static const lvlm_setting *setting_of(const cause_session *s, const char *path)
{
    lvlm_setting_walk walk = { .config = s->manifest->config,
                               .table = s->manifest->family->settings };
    const lvlm_setting *setting, *found = NULL;
    while ((setting = lvlm_setting_next(&walk)) != NULL)
        if (strcmp(setting->canonical, path) == 0) found = setting;
    return found;
}

/* Where config.json has it, or would. *there: it has. */
static void key_of(char key[TEXT_BYTES], bool *there, const cause_session *s,
                   const lvlm_setting *setting)
{
    *there = false;
    for (const char *at = setting->paths; *at != '\0' && !*there; at += *at == '|') {
        at += lvlm_copy_until(key, TEXT_BYTES, at, "|");
        *there = lvlm_json_path(s->source_config, key) != NULL;
    }
    if (!*there) (void)lvlm_copy_until(key, TEXT_BYTES, setting->paths, "|");
}

/* A value as config.json would say it. */
static int value_text(char text[TEXT_BYTES], const lvlm_setting *setting,
                      const cJSON *value, lvlm_error *err)
{
    const char *const word = lvlm_json_string(value);
    const lvlm_word *w = setting != NULL ? setting->words : NULL;
    while (word != NULL && w != NULL && w->theirs != NULL && strcmp(w->ours, word) != 0)
        w++;
    if (word != NULL) {
        const bool known = w != NULL && w->theirs != NULL;
        (void)snprintf(text, TEXT_BYTES, "%s", known ? w->theirs : word);
        return 0;
    }
    if (lvlm_json_count(value) == 1) value = lvlm_json_item(value, 0);
    char *printed = NULL;
    if (value != NULL) TRY(lvlm_json_print(&printed, value, err));
    (void)snprintf(text, TEXT_BYTES, "%s", printed != NULL ? printed : "null");
    lvlm_free(printed);
    return 0;
}

static const char *last_part(const char *path)
{
    const char *const dot = strrchr(path, '.');
    return dot != NULL ? dot + 1 : path;
}

/* Where to look: config.json, or what the family always has. */
static const char *see(cause_session *s, const char *path, const lvlm_setting *setting,
                       char key[TEXT_BYTES])
{
    bool there = false;
    if (setting == NULL || setting->paths == NULL) {
        (void)snprintf(key, TEXT_BYTES, "%s", last_part(path));
        return setting == NULL
                   ? "it follows from other settings of config.json"
                   : "config.json cannot say it: this family always has it so";
    }
    key_of(key, &there, s, setting);
    return lvlm_arena_printf(
        &s->arena, there ? "see %s in config.json" : "config.json lacks %s", key);
}

static int try_value(cause_session *s, const struct setting_row *row,
                     const cJSON *value, lvlm_error *err)
{
    const cJSON *const now = lvlm_json_path(s->manifest->config, row->path);
    const lvlm_setting *const setting = setting_of(s, row->path);
    char key[TEXT_BYTES], was[TEXT_BYTES], is[TEXT_BYTES];
    if (cJSON_Compare(now, value, true) || (now == NULL && cJSON_IsNull(value)))
        return 0;
    TRY(value_text(was, setting, now, err));
    TRY(value_text(is, setting, value, err));
    if (strcmp(was, is) == 0) return 0;
    const char *const where = see(s, row->path, setting, key);
    const char *const with =
        lvlm_arena_printf(&s->arena, "%s %s instead of %s", last_part(key), is, was);
    TRY(variant_set(&s->changed, row->path, value, err));
    const int rc = row->follow != NULL ? row->follow(s, value, err) : 0;
    if (rc == LVLM_EUSAGE) return variant_reset(&s->changed, err);
    if (rc < 0) return rc;
    return cause_try(s, row->mistake, with, where, err);
}

static int try_row(cause_session *s, const struct setting_row *row, lvlm_error *err)
{
    const char *const text = row->values != NULL ? row->values : "[]";
    const cJSON *value;
    choices c = { .values = NULL };
    int rc = lvlm_json_parse(&c.values, text, strlen(text), err);
    if (rc == 0 && row->list != NULL) row->list(&c, s, row->path);
    if (rc == 0 && c.failed) rc = lvlm_fail_memory(err);
    LVLM_JSON_ITEMS (value, c.values)
        if (rc == 0) rc = try_value(s, row, value, err);
    lvlm_json_free(c.values);
    return rc;
}

static bool applies(const cause_session *s, const struct setting_row *row)
{
    return cause_spans(s, row->stages) &&
           lvlm_json_path(s->manifest->config, row->path) != NULL;
}

int cause_try_settings(cause_session *s, bool relations, lvlm_error *err)
{
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (rows[i].relations == relations && applies(s, &rows[i]))
            TRY(try_row(s, &rows[i], err));
    return 0;
}

/* ---- any number ------------------------------------------------------------------ */

static int set_number(cause_session *s, void *user, double x, lvlm_error *err)
{
    const struct setting_row *const row = user;
    cJSON *const value = cJSON_CreateNumber(x);
    const int rc = value != NULL ? variant_set(&s->changed, row->path, value, err)
                                 : lvlm_fail_memory(err);
    lvlm_json_free(value);
    return rc;
}

static int fit_row(cause_session *s, const struct setting_row *row, lvlm_error *err)
{
    enum { START = 10 }; /* of one that is not there */
    struct setting_row copy = *row;
    cause_number number = { set_number, &copy, .start = START, .is_log = true };
    bool found;
    double x;
    number.is_now =
        lvlm_json_double(&number.start, lvlm_json_path(s->manifest->config, row->path));
    if (!(number.start > 0)) return 0;
    TRY(cause_fit(&found, &x, s, &number, err));
    if (!found) return 0;
    cJSON *const value = cJSON_CreateNumber(x);
    const int rc =
        value != NULL ? try_value(s, row, value, err) : lvlm_fail_memory(err);
    lvlm_json_free(value);
    return rc;
}

int cause_fit_settings(cause_session *s, bool relations, lvlm_error *err)
{
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (rows[i].is_number && rows[i].relations == relations && applies(s, &rows[i]))
            TRY(fit_row(s, &rows[i], err));
    return 0;
}
