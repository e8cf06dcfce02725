/* adapter_folder.c - other files in an adapter's folder; see adapter_folder.h. */
#include "formats/adapter/adapter_folder.h"

#include "formats/base/infile.h"
#include "formats/base/text.h"

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
