/* manifest_extras.c - source tensors that no target uses: unused by a rule, duplicate
 * or unknown. */
#include "formats/checkpoint/manifest_parts.h"

#include <assert.h>
#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>

#include "formats/base/json.h"
#include "formats/base/options.h"
#include "formats/base/text.h"
#include "formats/native/native.h"

/* The number of searches for a nearest name: people read only the first few. */
enum { MAX_NEAREST = 20 };

/* The limit of character pairs compared by all searches for nearest names: a fraction
 * of a second, enough for every name of every released model. */
#define MAX_NEAREST_WORK ((size_t)1 << 28)

/* Is it of a block that a rule with "{i}" is about? */
static bool matches_block(const lvlm_unused_rule *rule, const char *canonical,
                          const cJSON *config)
{
    assert(strstr(rule->glob, "{i}") != NULL);
    uint64_t from;
    const size_t prefix = (size_t)(strstr(rule->glob, "{i}") - rule->glob);
    if (strncmp(canonical, rule->glob, prefix) != 0 ||
        !lvlm_json_u64(&from, lvlm_json_path(config, rule->from)))
        return false;
    const char *const number = canonical + prefix;
    const size_t digits = strspn(number, "0123456789");
    return digits > 0 && digits < 10 && strtoull(number, NULL, 10) >= from &&
           fnmatch(rule->glob + prefix + strlen("{i}"), number + digits, 0) == 0;
}

/* Rules match names below a root of the family, except those that begin with '*'. */
static const lvlm_unused_rule *
find_rule(const lvlm_manifest *m, const manifest_name *name, const char *canonical)
{
    for (const lvlm_unused_rule *rule = m->family->unused; rule->name != NULL; rule++)
        if ((name->known || rule->glob[0] == '*') &&
            (rule->from != NULL ? matches_block(rule, canonical, m->config)
                                : fnmatch(rule->glob, canonical, 0) == 0))
            return rule;
    return NULL;
}

static size_t distance_between(size_t a, size_t b)
{
    return a > b ? a - b : b - a;
}

/* The known source name nearest to `name`; NULL if there is none or the limit of
 * searches is reached. */
static const char *nearest_source(manifest_builder *b, const char *name)
{
    const char *best = NULL;
    size_t best_distance = SIZE_MAX;
    const size_t n = strlen(name);
    if (b->n_nearest++ >= MAX_NEAREST) return NULL;
    for (size_t i = 0; i < b->m->n_targets; i++) {
        const char *const candidate = b->m->targets[i].source_name;
        const size_t m = strlen(candidate);
        if (distance_between(n, m) >= best_distance) continue;
        b->nearest_work += (n + 1) * (m + 1);
        if (b->nearest_work > MAX_NEAREST_WORK) return NULL;
        const size_t distance = lvlm_edit_distance(name, candidate);
        if (distance >= best_distance) continue;
        best = candidate;
        best_distance = distance;
    }
    return best;
}

static void classify(manifest_builder *b, lvlm_extra *extra, const manifest_name *name)
{
    assert(!name->used);
    const manifest_name *const first = manifest_find_name(b, name->canonical);
    extra->tensor = name->tensor;
    extra->canonical = name->canonical;
    if (manifest_is_native(b->m))
        (void)lvlm_native_section_of(&extra->canonical, name->canonical);
    extra->rule = find_rule(b->m, name, extra->canonical);
    if (name->known && (first->used || (first != name && extra->rule != NULL))) {
        extra->kind = LVLM_EXTRA_DUPLICATE;
        extra->other = first->tensor->name;
        return;
    }
    extra->kind = extra->rule != NULL ? LVLM_EXTRA_UNUSED : LVLM_EXTRA_UNKNOWN;
    if (extra->rule == NULL) extra->other = nearest_source(b, name->tensor->name);
}

static int extra_by_name(const void *a, const void *b)
{
    const lvlm_extra *x = a, *y = b;
    const int order = strcmp(x->canonical, y->canonical);
    return order != 0 ? order : strcmp(x->tensor->name, y->tensor->name);
}

int manifest_add_extras(manifest_builder *b)
{
    b->m->extras = lvlm_arena_alloc(&b->m->arena, b->n_names + 1, sizeof *b->m->extras);
    if (b->m->extras == NULL) return lvlm_fail_memory(b->err);
    for (size_t i = 0; i < b->n_names; i++) {
        const manifest_name *name = &b->names[i];
        if (name->used ||
            (manifest_is_native(b->m) &&
             lvlm_native_section_of(NULL, name->canonical) >= LVLM_SECTION_FRAMES))
            continue;
        classify(b, &b->m->extras[b->m->n_extras++], name);
    }
    /* removing "unused/" may change a native file's order */
    qsort(b->m->extras, b->m->n_extras, sizeof *b->m->extras, extra_by_name);
    return 0;
}

const lvlm_tensor *lvlm_manifest_find_extra(const lvlm_manifest *m,
                                            const char *canonical)
{
    assert(m->extras != NULL);
    const lvlm_extra *const found =
        bsearch(&canonical, m->extras, m->n_extras, sizeof *m->extras, lvlm_by_text);
    return found != NULL ? found->tensor : NULL;
}
