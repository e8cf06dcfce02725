/* run_shared.c - opens a model as the options say, or its files alone. */
#include "formats/cli/program.h"
#include "formats/native/digests.h"
#include "runtime/cli/run_commands.h"

int run_open_files(lvlm_checkpoint **out, const char *path,
                   const lvlm_common_args *common, lvlm_notes *notes, lvlm_error *err)
{
    *out = NULL;
    TRY(lvlm_checkpoint_open(out, path, NULL, err));
    (*out)->notes = notes;
    return lvlm_native_check_side_files(*out, lvlm_thread_count(common), err);
}

const char *run_reference(const run_model_args *args)
{
    return args->reference != NULL ? args->reference : LVLM_REFERENCE_TRAINED;
}

int run_open_model(lvlm_model **out, const char *path, const lvlm_common_args *common,
                   const run_model_args *args, lvlm_notes *notes, lvlm_error *err)
{
    lvlm_progress bar;
    const lvlm_model_options chosen = {
        .compute = lvlm_compute_of(args->compute),
        .threads = lvlm_thread_count(common),
        .reference = args->reference,
        .once = args->once,
        .cache_bf16 = args->cache_bf16,
        .check = args->check,
        .checking = lvlm_progress_bytes,
        .checking_user = &bar,
        .notes = notes,
    };
    lvlm_progress_init(&bar, "checking", common->quiet);
    const int rc = lvlm_model_open(out, path, &chosen, err);
    lvlm_progress_finish(&bar);
    return rc;
}
