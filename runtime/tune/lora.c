/* lora.c - the modules that words of --lora name; see lora.h. */
#include "runtime/tune/lora.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "formats/adapter/adapter_saved.h"
#include "formats/base/options.h"
#include "formats/base/random.h"
#include "formats/base/text.h"

/* ---- words ---------------------------------------------------------------------- */

static int read_number(double *out, const char *key, const char *text, double below,
                       lvlm_error *err)
{
    char *end;
    *out = strtod(text, &end);
    FAIL_IF(end == text || *end != '\0' || !(*out >= 0 && *out < below), err,
            LVLM_EUSAGE, "--lora %s=%s: expected a number from 0 to below %g", key,
            text, below);
    return 0;
}

static int read_rank(size_t *out, const char *text, lvlm_error *err)
{
    double value;
    TRY(read_number(&value, "r", text, 0x1p31, err));
    FAIL_IF(value != floor(value), err, LVLM_EUSAGE,
            "--lora r=%s: expected a whole number", text);
    FAIL_IF(value < 1, err, LVLM_EUSAGE, "--lora r=0: a rank is at least 1");
    *out = (size_t)value;
    return 0;
}

/* One of the words of a list. */
static int add_word(lvlm_lora *l, bool saved, const char *word, lvlm_error *err)
{
    const char **const list = saved ? l->saved : l->targets;
    size_t *const n = saved ? &l->n_saved : &l->n_targets;
    FAIL_IF(*n == LVLM_LORA_TARGETS, err, LVLM_EUSAGE, "--lora: more than %d %s",
            LVLM_LORA_TARGETS - 1, saved ? "modules to save" : "targets");
    FAIL_IF(saved && *word == '\0', err, LVLM_EUSAGE,
            "--lora save=: expected names of modules");
    list[(*n)++] = word;
    return 0;
}

static int read_key(lvlm_lora *l, const char *key, const char *value, lvlm_error *err)
{
    lvlm_adapter_config *const c = &l->config;
    if (strcmp(key, "dropout") == 0) {
        l->dropout = true;
        return read_number(&c->dropout, key, value, 1, err);
    }
    l->shaped = true;
    if (strcmp(key, "r") == 0) return read_rank(&c->r, value, err);
    if (strcmp(key, "alpha") == 0)
        return read_number(&c->alpha, key, value, HUGE_VAL, err);
    if (strcmp(key, "rslora") == 0) {
        c->rslora = strcmp(value, "true") == 0;
        FAIL_IF(!c->rslora && strcmp(value, "false") != 0, err, LVLM_EUSAGE,
                "--lora rslora=%s: expected true or false", value);
        return 0;
    }
    const bool saved = strcmp(key, "save") == 0;
    FAIL_IF(!saved && strcmp(key, "targets") != 0, err, LVLM_EUSAGE,
            "--lora %s: expected r, alpha, dropout, targets, save or rslora", key);
    return add_word(l, saved, value, err);
}

int lvlm_lora_parse(lvlm_lora *l, const char *text, lvlm_error *err)
{
    bool in_list = false, saved = false;
    char *next;
    memset(l, 0, sizeof *l);
    l->config.r = 8;
    l->config.alpha = 8;
    FAIL_IF(strlen(text) >= sizeof l->text, err, LVLM_EUSAGE,
            "--lora: longer than %d bytes", LVLM_LORA_TEXT - 1);
    memcpy(l->text, text, strlen(text) + 1);
    for (char *item = l->text; item != NULL; item = next) {
        if ((next = strchr(item, ',')) != NULL) *next++ = '\0';
        char *const equals = strchr(item, '=');
        FAIL_IF(*item == '\0' || (equals == NULL && !in_list), err, LVLM_EUSAGE,
                "--lora '%s': expected KEY=VALUE, such as r=8,alpha=16,targets=q,v",
                item);
        if (equals == NULL) {
            TRY(add_word(l, saved, item, err));
            continue;
        }
        *equals = '\0';
        TRY(read_key(l, item, equals + 1, err));
        saved = strcmp(item, "save") == 0;
        in_list = saved || strcmp(item, "targets") == 0;
    }
    return 0;
}

/* ---- modules -------------------------------------------------------------------- */

/* The parts of every module that were named, as bits. */
typedef struct choice {
    const lvlm_modules *modules;
    unsigned *parts; /* (modules->n) */
} choice;

static unsigned all_parts(const lvlm_module *m)
{
    assert(m->n_parts <= LVLM_MODULE_PARTS);
    return (1u << m->n_parts) - 1;
}

static bool is_head(const lvlm_module *m)
{
    assert(m->n_parts > 0);
    return lvlm_starts_with(m->parts[0]->name, "text.head.");
}

static void choose_all(const choice *c)
{
    for (size_t i = 0; i < c->modules->n; i++) {
        const lvlm_module *const m = &c->modules->at[i];
        if (m->linear && !is_head(m)) c->parts[i] = all_parts(m);
    }
}

/* By the names of modules. *found: does the word name any? */
static int choose_modules(bool *found, const choice *c, const char *word,
                          lvlm_error *err)
{
    *found = false;
    for (size_t i = 0; i < c->modules->n; i++) {
        const lvlm_module *const m = &c->modules->at[i];
        if (!lvlm_module_named(m->name, word)) continue;
        FAIL_IF(
            !m->linear, err, LVLM_EUSAGE,
            "--lora targets=%s: names %s, which is not a linear map of its own; name "
            "the others more exactly",
            word, m->name);
        c->parts[i] = all_parts(m);
        *found = true;
    }
    return 0;
}

/* The names after "text.blocks.N." that a short word means, or NULL. */
static const char *const *short_word(const char *word)
{
    static const struct {
        const char *word, *names[3];
    } words[] = {
        { "q", { "attn.q.weight", "cross.q.weight" } },
        { "k", { "attn.k.weight", "cross.k.weight" } },
        { "v", { "attn.v.weight", "cross.v.weight" } },
        { "o", { "attn.out.weight", "cross.out.weight" } },
        { "gate", { "mlp.gate.weight" } },
        { "up", { "mlp.up.weight" } },
        { "down", { "mlp.down.weight" } },
    };
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (strcmp(words[i].word, word) == 0) return words[i].names;
    return NULL;
}

/* Does a word mean the native weight `name`? */
static bool means(const char *word, const char *name)
{
    const char *const *ends = short_word(word);
    assert(lvlm_ends_with(name, ".weight"));
    if (ends == NULL) { /* the end of the name, without .weight */
        const size_t n = strlen(name) - strlen(".weight"), skip = strlen(word);
        return skip <= n && strncmp(name + n - skip, word, skip) == 0 &&
               (skip == n || name[n - skip - 1] == '.');
    }
    if (!lvlm_starts_with(name, "text.blocks.")) return false;
    for (; *ends != NULL; ends++)
        if (lvlm_module_named(name, *ends)) return true;
    return false;
}

/* By native names. */
static bool choose_native(const choice *c, const char *word)
{
    bool found = false;
    for (size_t i = 0; i < c->modules->n; i++) {
        const lvlm_module *const m = &c->modules->at[i];
        for (size_t p = 0; m->linear && p < m->n_parts; p++) {
            if (!means(word, m->parts[p]->name)) continue;
            c->parts[i] |= 1u << p;
            found = true;
        }
    }
    return found;
}

static const char *last_word(const char *name)
{
    const char *const dot = strrchr(name, '.');
    return dot != NULL ? dot + 1 : name;
}

static int refuse_word(const choice *c, const char *word, lvlm_error *err)
{
    const char *nearest = "";
    size_t least = SIZE_MAX;
    for (size_t i = 0; i < c->modules->n; i++) {
        const char *const name = last_word(c->modules->at[i].name);
        const size_t distance = lvlm_edit_distance(word, name);
        if (!c->modules->at[i].linear || distance >= least) continue;
        nearest = name;
        least = distance;
    }
    return lvlm_fail(err, LVLM_EUSAGE,
                     "--lora targets=%s: names no linear map of %s; the nearest is %s",
                     word, c->modules->manifest->family->title, nearest);
}

static int choose(const choice *c, const char *word, lvlm_error *err)
{
    bool found;
    assert(word != NULL && c->parts != NULL);
    if (strcmp(word, "all-linear") == 0) {
        choose_all(c);
        return 0;
    }
    TRY(choose_modules(&found, c, word, err));
    return found || choose_native(c, word) ? 0 : refuse_word(c, word, err);
}

static int add_chosen(lvlm_adapter *x, const choice *c, lvlm_error *err)
{
    for (size_t i = 0; i < c->modules->n; i++) {
        const lvlm_module *const m = &c->modules->at[i];
        if (c->parts[i] == 0 || lvlm_adapter_saves(x, m->parts[0])) continue;
        FAIL_IF(
            c->parts[i] != all_parts(m), err, LVLM_EUSAGE,
            "--lora: the targets mean a part of %s, which is one matrix of q, k and "
            "v: name it whole (%s), or all three",
            m->name, last_word(m->name));
        FAIL_IF(is_head(m) && x->config.dropout > 0, err, LVLM_EUSAGE,
                "--lora: dropout before the output layer (%s) is not supported",
                m->name);
        lvlm_adapter_add(x, m);
    }
    FAIL_IF(x->n == 0, err, LVLM_EUSAGE,
            "--lora: every target is in a module that save= names");
    return 0;
}

/* An adapter without pairs, with the modules that `save` names. */
static int begin_saved(lvlm_adapter *out, const lvlm_lora *lora,
                       const lvlm_manifest *manifest, lvlm_error *err)
{
    lvlm_adapter_config config = lora->config;
    *out = (lvlm_adapter){ .n = 0 };
    if (lora->n_saved == 0) return lvlm_adapter_begin(out, manifest, &config, err);
    cJSON *const words = cJSON_CreateStringArray(lora->saved, (int)lora->n_saved);
    if (words == NULL) return lvlm_fail_memory(err);
    config.modules_to_save = words;
    lvlm_error why;
    const int rc = lvlm_adapter_begin(out, manifest, &config, &why);
    out->json = words;
    if (rc == LVLM_EFORMAT)
        return lvlm_fail(err, LVLM_EUSAGE, "--lora save: %s", why.text);
    return rc < 0 ? lvlm_fail(err, rc, "%s", why.text) : 0;
}

static int begin(lvlm_adapter *out, const lvlm_lora *lora,
                 const lvlm_manifest *manifest, lvlm_error *err)
{
    static const char *const q_and_v[] = { "q", "v" };
    const char *const *const words = lora->n_targets > 0 ? lora->targets : q_and_v;
    const size_t n = lora->n_targets > 0 ? lora->n_targets : 2;
    assert(lora->config.r > 0);
    TRY(begin_saved(out, lora, manifest, err));
    const choice c = { &out->modules, lvlm_arena_alloc(&out->arena, out->modules.n + 1,
                                                       sizeof *c.parts) };
    if (c.parts == NULL) return lvlm_fail_memory(err);
    for (size_t i = 0; i < n; i++) TRY(choose(&c, words[i], err));
    return add_chosen(out, &c, err);
}

int lvlm_lora_open(lvlm_adapter *out, const lvlm_lora *lora, const char *dir,
                   const lvlm_manifest *manifest, lvlm_error *err)
{
    *out = (lvlm_adapter){ .n = 0 };
    if (dir == NULL) return begin(out, lora, manifest, err);
    FAIL_IF(
        lora->shaped, err, LVLM_EUSAGE,
        "--lora: %s decides about rank, alpha, targets and what is saved whole; only "
        "dropout can be given with --adapter",
        dir);
    TRY(lvlm_adapter_open(out, dir, manifest, err));
    if (lora->dropout) out->config.dropout = lora->config.dropout;
    for (size_t i = 0; i < out->n; i++)
        FAIL_IF(is_head(out->at[i].module) && out->config.dropout > 0, err, LVLM_EUSAGE,
                "%s: dropout before the output layer is not supported; give --lora "
                "dropout=0",
                dir);
    return 0;
}

void lvlm_lora_draw(lvlm_dtype dtype, void *a, const lvlm_adapted *adapted,
                    uint64_t seed)
{
    assert(adapted->r > 0 && adapted->module->in > 0);
    const size_t n = adapted->r * adapted->module->in;
    const uint64_t stream = lvlm_random_stream(seed, adapted->module->name);
    const double bound = 1 / sqrt((double)adapted->module->in);
    for (size_t i = 0; i < n; i++) {
        const float value = (float)(bound * (2 * lvlm_random_uniform(stream, i) - 1));
        if (dtype == LVLM_F64)
            ((double *)a)[i] = value;
        else
            ((float *)a)[i] = value;
    }
}
