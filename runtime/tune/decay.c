/* decay.c - which weights decay; see decay.h. */
#include "runtime/tune/decay.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

enum { NAME_BYTES = 256 };

/* Does a part of the name, between dots, end with the word "norm": "norm", "q_norm"? */
static bool names_norm(const char *name)
{
    for (const char *at = name; (at = strstr(at, "norm")) != NULL; at += 4) {
        const bool begins = at == name || at[-1] == '.' || at[-1] == '_';
        if (begins && (at[4] == '\0' || at[4] == '.')) return true;
    }
    return false;
}

/* torch's LayerNorm is the one module whose weight is a vector and that has a bias. */
static bool is_layer_norm(const lvlm_manifest *manifest, const lvlm_target *t)
{
    static const char weight[] = "weight";
    char bias[NAME_BYTES];
    const size_t n = strlen(t->name), stem = n - (sizeof weight - 1);
    if (t->shape.n != 1 || n < sizeof weight || strcmp(t->name + stem, weight) != 0)
        return false;
    (void)snprintf(bias, sizeof bias, "%.*sbias", (int)stem, t->name);
    return lvlm_manifest_find(manifest, bias) != NULL;
}

bool lvlm_decays(const lvlm_manifest *manifest, const lvlm_target *t)
{
    static const char *const never[] = { "bias", "layernorm", "rmsnorm" };
    char name[NAME_BYTES];
    assert(t->section != NULL && t->row != NULL && t->row->source != NULL);
    (void)snprintf(name, sizeof name, "%s%s", t->section->source, t->row->source);
    for (size_t i = 0; i < sizeof never / sizeof *never; i++)
        if (strstr(name, never[i]) != NULL) return false;
    return !names_norm(name) && !is_layer_norm(manifest, t);
}
