/* names.c - matches the longest prefix of all roots; see names.h. */
#include "formats/family/names.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

#include "formats/base/text.h"

/* Prefixes that training wrappers add to every name. */
static const char *const wrappers[] = {
    "base_model.model.",     "module.", "_orig_mod.", "_forward_module.",
    "_fsdp_wrapped_module.", NULL
};

char *lvlm_names_canonical(const lvlm_family *family, const char *source, bool *known,
                           lvlm_arena *arena)
{
    const lvlm_root *best = NULL;
    size_t best_length = 0;
    for (const char *const *w = wrappers; *w != NULL;) {
        const bool wrapped = lvlm_starts_with(source, *w);
        if (wrapped) source += strlen(*w);
        w = wrapped ? wrappers : w + 1; /* in any order */
    }
    for (const lvlm_root *root = family->roots; root->native != NULL; root++) {
        for (size_t i = 0; i < LVLM_MAX_PREFIXES && root->prefixes[i] != NULL; i++) {
            const size_t length = strlen(root->prefixes[i]);
            if ((best != NULL && length <= best_length) ||
                !lvlm_starts_with(source, root->prefixes[i]))
                continue;
            best = root;
            best_length = length;
        }
    }
    *known = best != NULL;
    return lvlm_arena_printf(arena, "%s%s", best != NULL ? best->native : "",
                             source + best_length);
}

char *lvlm_names_source(const lvlm_family *family, const char *canonical,
                        lvlm_layout layout, lvlm_arena *arena)
{
    const lvlm_root *best = NULL;
    for (const lvlm_root *root = family->roots; root->native != NULL; root++)
        if (lvlm_starts_with(canonical, root->native) &&
            (best == NULL || strlen(root->native) > strlen(best->native)))
            best = root;
    if (best == NULL) return lvlm_arena_strndup(arena, canonical, strlen(canonical));
    const size_t which = layout == LVLM_LAYOUT_CURRENT   ? best->current
                         : layout == LVLM_LAYOUT_MODULES ? best->modules
                                                         : 0;
    return lvlm_arena_printf(arena, "%s%s", best->prefixes[which],
                             canonical + strlen(best->native));
}

char *lvlm_names_join(const char *prefix, uint64_t block, const char *rest,
                      lvlm_arena *arena)
{
    assert(prefix != NULL && rest != NULL);
    const char *hole = strstr(prefix, "{i}");
    if (hole == NULL) return lvlm_arena_printf(arena, "%s%s", prefix, rest);
    return lvlm_arena_printf(arena, "%.*s%" PRIu64 "%s%s", (int)(hole - prefix), prefix,
                             block, hole + 3, rest);
}
