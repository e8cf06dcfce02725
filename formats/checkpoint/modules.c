/* modules.c - groups the targets of a manifest by module. */
#include "formats/checkpoint/modules.h"

#include <assert.h>
#include <string.h>

#include "formats/base/text.h"

static const char weight_end[] = ".weight";

static bool is_weight(const lvlm_target *t)
{
    const char *const source = t->row->source;
    return t->hf.shape.n >= 2 &&
           (strcmp(source, weight_end + 1) == 0 || lvlm_ends_with(source, weight_end));
}

/* The module of this weight if it is already listed, or NULL. The parts of a module are
 * in one block of one section. */
static lvlm_module *listed(const lvlm_modules *m, const lvlm_target *t,
                           const char *canonical)
{
    for (size_t i = m->n; i-- > 0;) {
        const lvlm_target *other = m->at[i].parts[m->at[i].n_parts - 1];
        if (other->section != t->section || other->block != t->block) return NULL;
        if (strcmp(m->at[i].canonical, canonical) == 0) return &m->at[i];
    }
    return NULL;
}

static int begin(lvlm_module *module, const lvlm_target *t, const lvlm_family *family,
                 const char *canonical, lvlm_arena *arena, lvlm_error *err)
{
    char *name = lvlm_names_source(family, canonical, LVLM_LAYOUT_MODULES, arena);
    if (name == NULL) return lvlm_fail_memory(err);
    name[strlen(name) - strlen(weight_end)] = '\0';
    *module = (lvlm_module){ .name = name, .canonical = canonical };
    module->linear = t->hf.shape.n == 2 && !t->row->no_adapter;
    if (!module->linear) return 0;
    module->out = (size_t)t->hf.shape.dims[0];
    module->in = (size_t)t->hf.shape.dims[1];
    return 0;
}

static int add(lvlm_modules *m, const lvlm_target *t, const lvlm_family *family,
               lvlm_error *err)
{
    const char *canonical = lvlm_target_canonical(t, &m->arena);
    if (canonical == NULL) return lvlm_fail_memory(err);
    lvlm_module *module = listed(m, t, canonical);
    if (module == NULL) {
        module = &m->at[m->n];
        TRY(begin(module, t, family, canonical, &m->arena, err));
        m->n++;
    }
    assert(module->n_parts < LVLM_MODULE_PARTS);
    assert(t->hf.transform.select == 0 || t->hf.transform.index == module->n_parts);
    module->parts[module->n_parts++] = t;
    return 0;
}

int lvlm_modules_list(lvlm_modules *out, const lvlm_manifest *manifest, lvlm_error *err)
{
    assert(manifest->targets != NULL || manifest->n_targets == 0);
    *out = (lvlm_modules){ .manifest = manifest, .arena = LVLM_ARENA_INIT };
    out->at = lvlm_arena_alloc(&out->arena, manifest->n_targets + 1, sizeof *out->at);
    if (out->at == NULL) return lvlm_fail_memory(err);
    for (size_t i = 0; i < manifest->n_targets; i++) {
        const lvlm_target *const t = &manifest->targets[i];
        if (is_weight(t) && t->state != LVLM_TARGET_IDENTITY)
            TRY(add(out, t, manifest->family, err));
    }
    return 0;
}

void lvlm_modules_free(lvlm_modules *modules)
{
    lvlm_arena_free(&modules->arena);
    *modules = (lvlm_modules){ 0 };
}

const lvlm_module *lvlm_modules_find(const lvlm_modules *m, const char *canonical)
{
    assert(m->at != NULL);
    for (size_t i = 0; i < m->n; i++)
        if (strcmp(m->at[i].canonical, canonical) == 0) return &m->at[i];
    return NULL;
}

bool lvlm_module_named(const char *name, const char *target)
{
    const size_t n = strlen(name), skip = strlen(target);
    if (skip > n || strcmp(name + n - skip, target) != 0) return false;
    return skip == n || name[n - skip - 1] == '.';
}

lvlm_transform lvlm_module_rows(const lvlm_module *module, size_t part, size_t width)
{
    lvlm_transform rows = module->parts[part]->hf.transform;
    assert(module->linear && part < module->n_parts);
    if (rows.n == 0) return rows; /* all of it */
    assert(rows.axes[rows.n - 1] == module->in);
    rows.axes[rows.n - 1] = width;
    return rows;
}
