/* cmd_hf2native.c - lvlm-convert hf2native SRC MODEL, npz2native FILE.npz MODEL */
#include "convert/cli/account.h"
#include "convert/cli/commands.h"
#include "convert/compose/compose.h"
#include "convert/compose/compose_makers.h"
#include "formats/cli/program.h"

typedef struct args {
    lvlm_common_args common;
    const char *dtype;
    bool dry_run;
    const char *init_missing;
    uint64_t seed;
    bool force;
    const char *config;
    const char *vision;
} args;

// clang-format off
#define COMMON_OPTIONS(source)                                                         \
    { "dtype", "keep|f32|bf16|f16", LVLM_OPTION_TEXT, offsetof(args, dtype),           \
      "store weights as this type, rounded to nearest even (default: keep)" },         \
    { "dry-run", NULL, LVLM_OPTION_FLAG, offsetof(args, dry_run),                      \
      "print the plan and write nothing; needs only the headers of " source },           \
    { "init-missing", "zeros|normal:STD|xavier", LVLM_OPTION_TEXT,                     \
      offsetof(args, init_missing),                                                    \
      "make the connector's projection if " source " has none; recorded as made" },     \
    { "seed", "N", LVLM_OPTION_COUNT, offsetof(args, seed),                            \
      "seed of the tensors that are made (default 0)" },                                            \
    { "force", NULL, LVLM_OPTION_FLAG, offsetof(args, force), "overwrite MODEL" }
// clang-format on

static const lvlm_option options[] = {
    COMMON_OPTIONS("SRC"),
    { "vision", "DIR", LVLM_OPTION_TEXT, offsetof(args, vision),
      "the vision tower of a LLaVA as its makers release it, which only names it" },
    LVLM_OPTION_END,
};

static const lvlm_option npz_options[] = {
    { "config", "FILE.json", LVLM_OPTION_TEXT, offsetof(args, config),
      "a Hugging Face config.json to use instead of one made from the shapes" },
    COMMON_OPTIONS("FILE.npz"),
    LVLM_OPTION_END,
};

/* ---- the command ---------------------------------------------------------------- */

typedef struct source {
    const args *args;
    const char *path, *model;
    bool npz;
    lvlm_compose compose; /* of a LLaVA as its makers save it */
} source;

static int plan(void *user, lvlm_import **import, lvlm_import_options *chosen,
                lvlm_error *err)
{
    source *const s = user;
    const args *const a = s->args;
    chosen->npz = s->npz;
    chosen->config = a->config;
    chosen->change_dtype = lvlm_dtype_from_option(&chosen->dtype, a->dtype);
    if (a->init_missing != NULL)
        TRY(lvlm_init_parse(&chosen->init, "--init-missing", a->init_missing, a->seed,
                            err));
    if (!s->npz && compose_is_makers_folder(s->path)) {
        const int rc =
            lvlm_compose_plan_makers(&s->compose, s->path, a->vision, chosen, err);
        *import = s->compose.import;
        s->compose.import = NULL; /* the caller's */
        return rc;
    }
    FAIL_IF(a->vision != NULL, err, LVLM_EUSAGE,
            "%s: --vision is for a LLaVA as its makers release it", s->path);
    return lvlm_import_plan(import, s->path, chosen, err);
}

/* The document has the plan last, the text first and even with --quiet. */
static int print(void *user, const lvlm_import *import, const char *root,
                 double seconds, lvlm_error *err)
{
    const source *const s = user;
    lvlm_notes *const notes = lvlm_import_planned(import).options->notes;
    lvlm_printer p;
    lvlm_printer_open(&p, s->args->common.json, true);
    if (s->args->dry_run && p.text) account_plan(&p, import);
    lvlm_print_notes(PROGRAM, notes);
    if (s->args->common.quiet) p.text = false;
    account_totals(&p, import, s->model, root, seconds);
    if (s->args->dry_run && p.json) account_plan(&p, import);
    return lvlm_printer_close(&p, notes, err);
}

static int run_any(const args *a, const lvlm_operands *operands, bool npz,
                   lvlm_notes *notes, lvlm_error *err)
{
    source s = {
        .args = a, .path = operands->at[0], .model = operands->at[1], .npz = npz
    };
    const account_job job = { .common = &a->common,
                              .dry_run = a->dry_run,
                              .force = a->force,
                              .label = "converting",
                              .model = s.model,
                              .other = npz ? a->config : a->vision,
                              .plan = plan,
                              .print = print,
                              .user = &s };
    lvlm_import *import = NULL;
    const int rc = account_run(&job, &import, notes, err);
    lvlm_import_free(import);
    lvlm_compose_free(&s.compose);
    return rc;
}

static int check(const void *arguments, const lvlm_operands *operands, lvlm_error *err)
{
    const args *const a = arguments;
    lvlm_init made;
    FAIL_IF(!a->dry_run && operands->n < 2, err, LVLM_EUSAGE,
            "MODEL is needed, the file to write, or --dry-run");
    if (a->init_missing != NULL)
        TRY(lvlm_init_parse(&made, "--init-missing", a->init_missing, a->seed, err));
    FAIL_IF(a->seed > 0 && (a->init_missing == NULL || made.kind == LVLM_INIT_ZEROS),
            err, LVLM_EUSAGE,
            "--seed decides nothing without --init-missing normal:STD or xavier");
    return 0;
}

static int run(const void *arguments, const lvlm_operands *operands, lvlm_notes *notes,
               lvlm_error *err)
{
    return run_any(arguments, operands, false, notes, err);
}

static int run_npz(const void *arguments, const lvlm_operands *operands,
                   lvlm_notes *notes, lvlm_error *err)
{
    return run_any(arguments, operands, true, notes, err);
}

const lvlm_command command_hf2native = {
    "hf2native",
    "SRC MODEL",
    1,
    2,
    "Hugging Face model directory to one native file",
    "SRC is a directory with config.json and model.safetensors or pytorch_model.bin,\n"
    "or shards and their index (a pickle is read, never executed); or a model id such\n"
    "as google/paligemma-3b-pt-224[@revision] in the local Hugging Face cache;\n"
    "nothing is downloaded; or a big_vision .npz, see npz2native. A LLaVA as its\n"
    "makers release it holds no vision tower: --vision names its folder.\n"
    "MODEL is the file to write, NAME.lvlm. Every source tensor is used, tied, or\n"
    "kept by a rule with a name; every native tensor has a source. Anything else is\n"
    "an error that names the tensor (exit 1) and nothing is written. Side files\n"
    "are stored inside, so the native file suffices to run the model and to export\n"
    "it again (native2hf).\n"
    "\n"
    "  lvlm-convert hf2native paligemma-3b-pt-224 model.lvlm\n"
    "  lvlm-convert hf2native paligemma-3b-pt-224 --dry-run | less",
    options,
    sizeof(args),
    run,
    .check = check,
};

const lvlm_command command_npz2native = {
    "npz2native",
    "FILE.npz MODEL",
    1,
    2,
    "PaliGemma as big_vision's .npz to one native file",
    "FILE.npz is PaliGemma 1 or 2 as big_vision and Kaggle have it: arrays below img/\n"
    "and llm/, with or without params/ before them, blocks stacked or separate. It\n"
    "has no configuration: one is made from the shapes, which is enough for every\n"
    "released model; give --config for others. Its tensors equal those of the native\n"
    "file from the Hugging Face checkpoint, which has 64 more rows of padding.\n"
    "native2hf writes a stored FILE.npz again byte for byte, or with --layout hub a\n"
    "Hugging Face directory.\n"
    "\n"
    "  lvlm-convert npz2native paligemma-3b-pt-224.npz model.lvlm\n"
    "  lvlm-convert native2hf model.lvlm hf --layout hub",
    npz_options,
    sizeof(args),
    run_npz,
    .check = check,
};
