/* adapter_saved.c - modules that are saved whole; see adapter_saved.h.
 *
 *   words of modules_to_save -> modules whose names end with one -> their tensors */
#include "formats/adapter/adapter_saved.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "formats/base/json.h"
#include "formats/base/text.h"
#include "formats/container/numeric.h"

/* ---- the list ------------------------------------------------------------------- */

/* One tensor of the model. */
typedef struct candidate {
    const char *name, *canonical;
    bool chosen;
} candidate;

/* Does `word` end the name of the module of length `length`? PEFT compares letters:
 * head names lm_head too. */
static bool ends_module(const char *name, size_t length, const char *word)
{
    const size_t n = strlen(word);
    return n <= length && memcmp(name + length - n, word, n) == 0;
}

/* How many of the modules around a tensor do the words name? */
static size_t count_named(const char *name, const cJSON *words)
{
    size_t n = 0;
    for (const char *dot = strchr(name, '.'); dot != NULL; dot = strchr(dot + 1, '.')) {
        const cJSON *word;
        bool named = false;
        LVLM_JSON_ITEMS (word, words)
            named |= ends_module(name, (size_t)(dot - name), lvlm_json_string(word));
        n += named;
    }
    return n;
}

static int choose(candidate *all, const lvlm_manifest *m, const cJSON *words,
                  lvlm_error *err)
{
    for (size_t i = 0; i < m->n_targets; i++) {
        if (m->targets[i].state == LVLM_TARGET_IDENTITY) continue;
        const size_t n = count_named(all[i].name, words);
        FAIL_IF(n > 1, err, LVLM_EFORMAT,
                "modules_to_save names modules inside of each other, as around %s",
                all[i].name);
        all[i].chosen = n == 1;
    }
    return 0;
}

static int check_word(const candidate *all, const lvlm_manifest *m, const cJSON *word,
                      lvlm_error *err)
{
    for (size_t i = 0; i < m->n_targets; i++) {
        const char *const name = all[i].chosen ? all[i].name : "";
        for (const char *dot = strchr(name, '.'); dot != NULL;
             dot = strchr(dot + 1, '.'))
            if (ends_module(name, (size_t)(dot - name), lvlm_json_string(word)))
                return 0;
    }
    return lvlm_fail(err, LVLM_EFORMAT,
                     "modules_to_save: '%.80s' names no module of %s",
                     lvlm_json_string(word), m->family->title);
}

/* A tied tensor and the one that has its values are chosen together. */
static void choose_tied(candidate *all, const lvlm_manifest *m)
{
    for (size_t i = 0; i < m->n_targets; i++) {
        const lvlm_target *const t = &m->targets[i];
        if (t->state != LVLM_TARGET_TIED) continue;
        const lvlm_target *const other = lvlm_manifest_find(m, t->row->tied_to);
        assert(other != NULL);
        candidate *const its = &all[other - m->targets];
        its->chosen = all[i].chosen = its->chosen || all[i].chosen;
    }
}

/* The one with this canonical name, or NULL. */
static lvlm_saved *find_canonical(const lvlm_adapter *x, const char *canonical)
{
    for (size_t i = x->n_saved; i-- > 0;)
        if (strcmp(x->saved[i].canonical, canonical) == 0) return &x->saved[i];
    return NULL;
}

static int add(lvlm_adapter *x, const lvlm_target *t, const candidate *c,
               lvlm_error *err)
{
    lvlm_saved *saved = find_canonical(x, c->canonical);
    if (saved == NULL) {
        saved = &x->saved[x->n_saved++];
        *saved = (lvlm_saved){ .name = c->name, .canonical = c->canonical };
        saved->value = (lvlm_tensor){ .dtype = LVLM_F32, .shape = t->hf.shape };
        FAIL_IF(!lvlm_shape_bytes(&saved->value.n_bytes, &t->hf.shape, LVLM_F32), err,
                LVLM_EFORMAT, "%s is too large", c->name);
    }
    assert(saved->n_parts < LVLM_MODULE_PARTS);
    assert(t->hf.transform.select == 0 || t->hf.transform.index == saved->n_parts);
    saved->parts[saved->n_parts++] = t;
    return 0;
}

int adapter_saved_list(lvlm_adapter *x, lvlm_error *err)
{
    const lvlm_manifest *const m = x->modules.manifest;
    const cJSON *word;
    if (x->config.modules_to_save == NULL) return 0;
    candidate *const all = lvlm_arena_alloc(&x->arena, m->n_targets + 1, sizeof *all);
    x->saved = lvlm_arena_alloc(&x->arena, m->n_targets + 1, sizeof *x->saved);
    if (all == NULL || x->saved == NULL) return lvlm_fail_memory(err);
    for (size_t i = 0; i < m->n_targets; i++) {
        const char *const canonical = lvlm_target_canonical(&m->targets[i], &x->arena);
        if (canonical == NULL) return lvlm_fail_memory(err);
        const char *const name =
            lvlm_names_source(m->family, canonical, LVLM_LAYOUT_MODULES, &x->arena);
        if (name == NULL) return lvlm_fail_memory(err);
        all[i] = (candidate){ .name = name, .canonical = canonical };
    }
    TRY(choose(all, m, x->config.modules_to_save, err));
    LVLM_JSON_ITEMS (word, x->config.modules_to_save)
        TRY(check_word(all, m, word, err));
    choose_tied(all, m);
    for (size_t i = 0; i < m->n_targets; i++)
        if (all[i].chosen) TRY(add(x, &m->targets[i], &all[i], err));
    return 0;
}

const lvlm_saved *lvlm_adapter_find_saved(size_t *part, const lvlm_adapter *x,
                                          const char *name)
{
    assert(name != NULL);
    for (size_t i = 0; i < x->n_saved; i++) {
        const lvlm_saved *const saved = &x->saved[i];
        for (*part = 0; *part < saved->n_parts; ++*part)
            if (strcmp(saved->parts[*part]->name, name) == 0) return saved;
    }
    return NULL;
}

bool lvlm_adapter_saves(const lvlm_adapter *adapter, const lvlm_target *target)
{
    size_t part;
    return lvlm_adapter_find_saved(&part, adapter, target->name) != NULL;
}

/* ---- what a file has ------------------------------------------------------------ */

static const char *const wrapper = ".modules_to_save.";

/* The name without "modules_to_save.default", which is how a model in memory has it.
 * NULL: out of memory. */
static const char *without_wrapper(const char *name, lvlm_arena *arena)
{
    const char *const at = strstr(name, wrapper);
    if (at == NULL) return name;
    const char *const rest = strchr(at + strlen(wrapper), '.');
    return lvlm_arena_printf(arena, "%.*s%s", (int)(at - name), name,
                             rest != NULL ? rest : "");
}

int adapter_saved_place(lvlm_adapter *x, const lvlm_tensor *t, lvlm_error *err)
{
    const lvlm_family *const family = x->modules.manifest->family;
    const char *const name = without_wrapper(t->name, &x->arena);
    bool known;
    if (name == NULL) return lvlm_fail_memory(err);
    const char *const canonical = lvlm_names_canonical(family, name, &known, &x->arena);
    if (canonical == NULL) return lvlm_fail_memory(err);
    lvlm_saved *const saved = find_canonical(x, canonical);
    FAIL_IF(!known || saved == NULL, err, LVLM_EFORMAT,
            "'%s' is not part of a low-rank pair, nor a tensor of %s in a module that "
            "modules_to_save names: biases and the like are not supported",
            t->name, family->title);
    lvlm_tensor *const place = &saved->value;
    FAIL_IF(place->data != NULL, err, LVLM_EFORMAT, "'%s' is there as '%s' too",
            t->name, place->name);
    return adapter_set_tensor(place, t, err);
}

/* The saved tensor that has the values of a tied one, or NULL. */
static const lvlm_saved *tied_to(const lvlm_adapter *x, const lvlm_saved *saved)
{
    const lvlm_target *const t = saved->parts[0];
    size_t part;
    if (t->state != LVLM_TARGET_TIED) return NULL;
    return lvlm_adapter_find_saved(&part, x, t->row->tied_to);
}

/* Also if neither is there. */
static bool same_values(const lvlm_tensor *a, const lvlm_tensor *b)
{
    if (a->data == NULL || b->data == NULL) return a->data == b->data;
    return a->dtype == b->dtype && a->n_bytes == b->n_bytes &&
           memcmp(a->data, b->data, (size_t)a->n_bytes) == 0;
}

int adapter_saved_check(const lvlm_adapter *x, lvlm_error *err)
{
    for (size_t i = 0; i < x->n_saved; i++) {
        const lvlm_saved *const saved = &x->saved[i], *const other = tied_to(x, saved);
        FAIL_IF(other != NULL && !same_values(&saved->value, &other->value), err,
                LVLM_EFORMAT,
                "%s and %s were trained apart, and in this model they are one tensor; "
                "with ensure_weight_tying PEFT trains them together",
                saved->name, other->name);
        FAIL_IF(saved->value.data == NULL, err, LVLM_EFORMAT,
                "modules_to_save names the module of %s, and the values that it was "
                "trained to are not there",
                saved->name);
    }
    return 0;
}

/* ---- values --------------------------------------------------------------------- */

int lvlm_saved_read(void *to, lvlm_dtype dtype, const lvlm_saved *saved, size_t part,
                    uint64_t first, size_t n, lvlm_error *err)
{
    enum { CHUNK = 4096 };
    double some[CHUNK]; /* of any type */
    const lvlm_elements all = lvlm_tensor_elements(&saved->value);
    const lvlm_transform *const map = &saved->parts[part]->hf.transform;
    const bool keep = lvlm_transform_is_keep(map);
    assert(saved->value.data != NULL && part < saved->n_parts);
    for (size_t i = 0; i < n; i += CHUNK) {
        const size_t count = n - i < CHUNK ? n - i : CHUNK;
        if (keep) lvlm_elements_read(some, first + i, count, &all);
        FAIL_IF(!keep && !lvlm_transform_gather(some, first + i, count, map, all), err,
                LVLM_EFORMAT, "%s: is not made of its parts", saved->name);
        lvlm_convert_values((unsigned char *)to + i * lvlm_dtype_bytes(dtype), dtype,
                            some, saved->value.dtype, count);
    }
    return 0;
}

/* ---- what PEFT writes ----------------------------------------------------------- */

/* The saved tensor that has the values of another one, or NULL. */
static const lvlm_saved *find_tied(const lvlm_saved **to, const lvlm_adapter *x)
{
    for (size_t i = 0; i < x->n_saved; i++)
        if ((*to = tied_to(x, &x->saved[i])) != NULL) return &x->saved[i];
    return NULL;
}

bool adapter_saved_ties(const lvlm_adapter *x)
{
    const lvlm_saved *to;
    return find_tied(&to, x) != NULL;
}

static bool add_word(cJSON *list, const char *word)
{
    const cJSON *item;
    LVLM_JSON_ITEMS (item, list)
        if (strcmp(lvlm_json_string(item), word) == 0) return true;
    return cJSON_AddItemToArray(list, cJSON_CreateString(word));
}

/* The name of the module whose weight is called `name`. */
static void name_module(char *out, size_t size, const char *name)
{
    static const char end[] = ".weight";
    assert(lvlm_ends_with(name, end));
    (void)snprintf(out, size, "%.*s", (int)(strlen(name) - strlen(end)), name);
}

bool adapter_saved_add_words(cJSON *config, const lvlm_adapter *x)
{
    static const char key[] = "modules_to_save";
    enum { NAME = 512 };
    char own[NAME] = "", other[NAME];
    const cJSON *word;
    const lvlm_saved *to = NULL, *const tied = find_tied(&to, x);
    cJSON *const list = cJSON_AddArrayToObject(config, key);
    bool ok = list != NULL;
    if (tied != NULL) name_module(own, sizeof own, tied->name);
    LVLM_JSON_ITEMS (word, x->config.modules_to_save)
        if (ok && !lvlm_module_named(own, lvlm_json_string(word)))
            ok = add_word(list, lvlm_json_string(word));
    if (!ok || tied == NULL) return ok;
    name_module(other, sizeof other, to->name);
    return add_word(list, other);
}
