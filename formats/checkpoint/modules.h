/* modules.h - the modules of the Hugging Face model that a native file was made from,
 * as adapters name them, and the native tensors that make up each one's weight.
 *
 *   model.language_model.layers.0.self_attn.q_proj   text.blocks.0.attn.q.weight
 *   transformer.h.0.attn.c_attn                      text.blocks.0.attn.{q,k,v}.weight
 *
 * Only modules whose weight has two or more dimensions. Distinct objects may be used
 * from distinct threads. */
#ifndef LVLM_FORMATS_CHECKPOINT_MODULES_H
#define LVLM_FORMATS_CHECKPOINT_MODULES_H

#include "formats/checkpoint/manifest.h"

LVLM_BEGIN_DECLS

enum { LVLM_MODULE_PARTS = 3 }; /* most native tensors in one weight: q, k, v */

typedef struct lvlm_module {
    const char *name;      /* in the current library */
    const char *canonical; /* of its weight (names.h): equal in every generation */
    const lvlm_target *parts[LVLM_MODULE_PARTS]; /* by index of the selected axis */
    size_t n_parts;
    bool linear;    /* else a convolution, a table of vectors, or part of another */
    size_t in, out; /* linear: the weight is (out, in) */
} lvlm_module;

typedef struct lvlm_modules {
    const lvlm_manifest *manifest; /* borrowed */
    lvlm_module *at;               /* in order of use */
    size_t n;
    lvlm_arena arena;
} lvlm_modules;

/* `manifest` must outlive the list. Free with lvlm_modules_free, also after a
 * failure. */
LVLM_MUST_CHECK int lvlm_modules_list(lvlm_modules *out, const lvlm_manifest *manifest,
                                      lvlm_error *err);
void lvlm_modules_free(lvlm_modules *modules);

/* The module whose weight has this canonical name, or NULL. */
const lvlm_module *lvlm_modules_find(const lvlm_modules *modules,
                                     const char *canonical);

/* Is `target` the whole dotted path or a suffix of it that follows a dot? PEFT matches
 * module names this way. */
bool lvlm_module_named(const char *name, const char *target);

/* The rows of part number `part` in a matrix (out, width) that has the rows of the
 * module's weight. */
lvlm_transform lvlm_module_rows(const lvlm_module *module, size_t part, size_t width);

LVLM_END_DECLS

#endif
