/* recipe.h - the recipe of several trainings, one after another: a JSON file.
 *
 *   { "about": "where its figures come from",
 *     "model": "model.lvlm",
 *     "stages": [ { "name": "align", "stage": "connector", "data": "pairs.jsonl",
 *                   "epochs": 1, "lr": 1e-3 },
 *                 { "name": "instruct", "stage": 3, ... } ] }
 *
 * or only that list. Every other key of a stage is an option of lvlm-tune train by its
 * long name: a number or a text, true for an option without a value. Relative paths are
 * relative to the recipe. A stage starts from the output of the one before it. */
#ifndef LVLM_RUNTIME_TUNE_CLI_RECIPE_H
#define LVLM_RUNTIME_TUNE_CLI_RECIPE_H

#include "runtime/tune/cli/train_run.h"

typedef struct recipe_stage {
    const char *name;     /* can be the name of a file */
    const cJSON *options; /* as the recipe has them, name and remarks included */
    train_args args;      /* the same, parsed; `out` is set */
    const char *record;   /* the file that says what was done (stage_record.h) */
    const char *state;    /* the folder of its state, while it is not finished */
} recipe_stage;

typedef struct recipe {
    const char *path;   /* as given */
    const char *model;  /* that the first stage starts from */
    const char *folder; /* of records, states, and outputs without a name */
    recipe_stage *stages;
    size_t n; /* at least 1 */
    cJSON *json;
    lvlm_arena arena;
} recipe;

/* Read the file at `path`. `model` and `folder` are those of the command line, or NULL:
 * the recipe's model, and a folder beside it with its name. LVLM_EFORMAT names the
 * stage and the key or option that is wrong, LVLM_EIO a file that does not exist,
 * LVLM_EUSAGE says that no model is given. Close with recipe_close, also after a
 * failure. */
LVLM_MUST_CHECK int recipe_open(recipe *out, const char *path, const char *model,
                                const char *folder, const lvlm_common_args *common,
                                lvlm_error *err);
void recipe_close(recipe *recipe);

#endif
