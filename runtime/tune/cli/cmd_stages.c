/* cmd_stages.c - lvlm-tune stages: several trainings one after another.
 *
 *   recipe, records -> every stage is checked -> those not finished are trained
 *
 * Before a stage is trained its record is written, without an output; after it, with
 * one. So the command that was interrupted finds what is finished, what has a state to
 * resume from, and what has changed since. */
#include <assert.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "formats/base/alloc.h"
#include "formats/base/infile.h"
#include "formats/base/outfile.h"
#include "formats/native/native.h"
#include "runtime/tune/cli/recipe.h"
#include "runtime/tune/cli/stage_record.h"
#include "runtime/tune/cli/tune_commands.h"

typedef struct stages_args {
    lvlm_common_args common;
    const char *out;
    bool dry_run;
    bool force;
} stages_args;

// clang-format off
static const lvlm_option options[] = {
    { "out", "DIR", LVLM_OPTION_TEXT, offsetof(stages_args, out),
      "the folder of outputs, states and records (default: RECIPE without .json)" },
    { "dry-run", NULL, LVLM_OPTION_FLAG, offsetof(stages_args, dry_run),
      "check everything, print what would be trained, and write nothing" },
    { "force", NULL, LVLM_OPTION_FLAG, offsetof(stages_args, force),
      "train stages anew that have changed, and overwrite their outputs" },
    LVLM_OPTION_END,
};
// clang-format on

enum { PATH_BYTES = 4096 };

/* What is to be done with a stage. */
typedef enum status {
    TRAIN,    /* from its beginning */
    RESUME,   /* it was begun */
    FINISHED, /* nothing, if its input is the one that it had */
} status;

static const char *const status_words[] = { "to train", "to resume", "finished" };

typedef struct plan {
    const recipe_stage *stage;
    const char *input;   /* path of the model that it starts from */
    uint64_t resolution; /* of its pictures; 0: the first model's */
    stage_facts facts;
    status status;
    bool own;              /* its outputs, if they are there, are those of the record */
    size_t steps, batches; /* batches of an epoch */
    double n_trained;
    const char *trains; /* "connector", "adapter", ... */
} plan;

typedef struct stages_run {
    const stages_args *args;
    recipe recipe;
    plan *plans; /* (recipe.n) */
    lvlm_notes *notes;
    lvlm_printer printer;
} stages_run;

static int weights_of(lvlm_hex_digest out, const char *model, lvlm_error *err)
{
    lvlm_checkpoint *cp = NULL;
    TRY(lvlm_checkpoint_open(&cp, model, NULL, err));
    int rc = cp->kind == LVLM_CHECKPOINT_NATIVE
                 ? lvlm_native_weights_digest(out, cp, err)
                 : lvlm_fail(err, LVLM_EFORMAT, "is not a native file");
    if (rc == LVLM_EFORMAT) lvlm_prefix(err, "%s: ", model);
    lvlm_checkpoint_close(cp);
    return rc;
}

/* ---- checking ------------------------------------------------------------------- */

/* Check a stage as far as that is possible before the one before it is trained: with
 * the first model in place of its own. */
static int check_stage(stages_run *s, plan *p, lvlm_error *err)
{
    train_args quiet = p->stage->args;
    lvlm_error ignored;
    quiet.common.quiet = true;
    quiet.resolution = p->resolution;
    train_run r = TRAIN_RUN_INIT(&quiet, s->recipe.model, s->notes);
    int rc = train_check_all(&r, err);
    memcpy(p->facts.data, r.source.id, sizeof p->facts.data);
    p->steps = r.steps;
    p->batches = r.source.n;
    p->n_trained = r.n_trained;
    p->trains = r.options.lora != NULL ? "adapter" : lvlm_stage_name(r.options.stage);
    rc = train_run_free(&r, rc, &ignored);
    if (rc != LVLM_EUSAGE) return rc;
    err->code = LVLM_EFORMAT; /* it is in the recipe, not in the command line */
    return LVLM_EFORMAT;
}

/* Is the folder of an output there, or made by run_stages? */
static bool has_folder(const stages_run *s, const char *output)
{
    const char *const made = s->recipe.folder;
    char folder[PATH_BYTES];
    const size_t n = (size_t)(lvlm_path_base(output) - output);
    if (n == 0 || (n == strlen(made) + 1 && strncmp(output, made, n - 1) == 0))
        return true;
    (void)snprintf(folder, sizeof folder, "%.*s", (int)n, output);
    return lvlm_path_is_directory(folder);
}

/* Can the outputs of a stage be written when its turn comes? */
static int check_outputs(const stages_run *s, const plan *p, bool own, lvlm_error *err)
{
    const train_args *const a = &p->stage->args;
    const char *const outputs[] = { a->out, a->adapter_out, a->log, a->plot };
    for (size_t i = 0; i < sizeof outputs / sizeof *outputs; i++) {
        if (outputs[i] == NULL) continue;
        FAIL_IF(!has_folder(s, outputs[i]), err, LVLM_EIO, "%s: has no folder",
                outputs[i]);
        FAIL_IF(!own && lvlm_path_exists(outputs[i]), err, LVLM_EUSAGE,
                "%s: exists; --force overwrites", outputs[i]);
    }
    return 0;
}

/* Is a finished stage's model the one that it wrote? *whole: it is there. */
static int check_model(bool *whole, const plan *p, const stage_facts *was,
                       lvlm_error *err)
{
    const char *const out = p->stage->args.out;
    lvlm_hex_digest now;
    assert(out != NULL);
    *whole = was->output[0] != '\0' && lvlm_path_exists(out);
    if (!*whole) return 0;
    TRY(weights_of(now, out, err));
    FAIL_IF(strcmp(now, was->output) != 0, err, LVLM_EUSAGE,
            "%s: is not the model that it wrote; --force trains it anew", out);
    return 0;
}

/* What is to be done, by the record. LVLM_EUSAGE: something has changed, or is in the
 * way. */
static int compare(const stages_run *s, plan *p, const stage_record *record,
                   lvlm_error *err)
{
    bool whole = false;
    if (record->exists) {
        TRY(stage_record_compare(record, &p->facts, err));
        TRY(check_model(&whole, p, &record->facts, err));
    }
    TRY(check_outputs(s, p, record->exists, err));
    p->own = record->exists;
    if (whole) {
        p->status = FINISHED;
        memcpy(p->facts.output, record->facts.output, sizeof p->facts.output);
    } else if (record->exists && record->facts.output[0] == '\0') {
        p->status = RESUME;
    }
    return 0;
}

static int read_status(const stages_run *s, plan *p, lvlm_error *err)
{
    stage_record record;
    int rc = stage_record_read(&record, p->stage->record, err);
    if (rc == 0) rc = compare(s, p, &record, err);
    stage_record_free(&record);
    return rc == LVLM_EUSAGE && s->args->force ? 0 : rc;
}

static int make_plan(stages_run *s, size_t i, lvlm_error *err)
{
    plan *const p = &s->plans[i];
    *p = (plan){ .stage = &s->recipe.stages[i], .status = TRAIN };
    p->facts.options = p->stage->options;
    p->input = i == 0 ? s->recipe.model : s->plans[i - 1].stage->args.out;
    p->resolution = p->stage->args.resolution;
    if (p->resolution == 0 && i > 0) p->resolution = p[-1].resolution;
    if (i == 0) TRY(weights_of(p->facts.input, p->input, err));
    if (i > 0) memcpy(p->facts.input, p[-1].facts.output, sizeof p->facts.input);
    TRY(check_stage(s, p, err));
    return read_status(s, p, err);
}

static int make_plans(stages_run *s, lvlm_error *err)
{
    s->plans = lvlm_calloc(s->recipe.n, sizeof *s->plans);
    if (s->plans == NULL) return lvlm_fail_memory(err);
    for (size_t i = 0; i < s->recipe.n; i++) {
        const int rc = make_plan(s, i, err);
        TRY(lvlm_within(rc, err, "%s: stage '%s': ", s->recipe.path,
                        s->recipe.stages[i].name));
    }
    return 0;
}

/* ---- training ------------------------------------------------------------------- */

/* Remove a state that nothing resumes from. */
static void remove_state(const char *folder)
{
    char path[PATH_BYTES];
    if (snprintf(path, sizeof path, "%s/" TRAIN_STATE_FILE, folder) < (int)sizeof path)
        (void)unlink(path);
    (void)rmdir(folder);
}

static int train(stages_run *s, const plan *p, lvlm_error *err)
{
    train_args args = p->stage->args;
    assert(p->status != FINISHED);
    const bool resumes = p->status == RESUME && lvlm_path_is_directory(p->stage->state);
    args.resume = resumes ? p->stage->state : NULL;
    args.state = resumes ? NULL : p->stage->state;
    args.force = s->args->force || p->own;
    train_run r = TRAIN_RUN_INIT(&args, p->input, s->notes);
    r.printer = &s->printer;
    int rc = train_run_all(&r, err);
    const size_t step = r.trainer.step;
    rc = train_run_free(&r, rc, err);
    if (rc == LVLM_ESTOPPED)
        return lvlm_fail(err, rc, "stopped at step %zu; the same command continues",
                         step);
    return rc;
}

/* Train a stage whose input is there, unless that is done. */
static int run_stage(stages_run *s, plan *p, lvlm_error *err)
{
    lvlm_hex_digest input;
    assert(p->facts.options != NULL && p->facts.data[0] != '\0');
    TRY(weights_of(input, p->input, err));
    if (strcmp(input, p->facts.input) != 0) { /* it was not there before */
        memcpy(p->facts.input, input, sizeof input);
        p->facts.output[0] = '\0';
        p->status = TRAIN;
        TRY(read_status(s, p, err));
    }
    if (p->status == FINISHED) {
        lvlm_printer_line(&s->printer, "%s: finished\n", p->stage->args.out);
        lvlm_printer_text(&s->printer, "status", "finished");
        lvlm_printer_text(&s->printer, "out", p->stage->args.out);
        return 0;
    }
    lvlm_printer_text(&s->printer, "status", "trained");
    if (p->status == TRAIN) remove_state(p->stage->state); /* it was another run's */
    TRY(stage_record_write(p->stage->record, &p->facts, err));
    TRY(train(s, p, err));
    TRY(weights_of(p->facts.output, p->stage->args.out, err));
    TRY(stage_record_write(p->stage->record, &p->facts, err));
    remove_state(p->stage->state);
    return 0;
}

static int run_stages(stages_run *s, lvlm_error *err)
{
    TRY(lvlm_folder_make(s->recipe.folder, err));
    for (size_t i = 0; i < s->recipe.n; i++) {
        plan *const p = &s->plans[i];
        if (!s->args->common.quiet)
            fprintf(stderr, PROGRAM ": stage %zu of %zu, '%s'\n", i + 1, s->recipe.n,
                    p->stage->name);
        lvlm_printer_object(&s->printer, NULL);
        lvlm_printer_text(&s->printer, "name", p->stage->name);
        const int rc = run_stage(s, p, err);
        TRY(lvlm_within(rc, err, "stage '%s': ", p->stage->name));
        lvlm_printer_end(&s->printer);
    }
    return 0;
}

/* ---- without training ----------------------------------------------------------- */

/* Of a stage that is finished it may not be known yet whether its input changes. */
static const char *word_of(const plan *p)
{
    return p->status == FINISHED && p->facts.input[0] == '\0'
               ? "finished, if its model stays"
               : status_words[p->status];
}

static void print_plan(lvlm_printer *out, const plan *p)
{
    assert(p->stage->args.out != NULL);
    lvlm_printer_line(out, "%s: %s: %s, %.0f values, %zu step%s, %s -> %s\n",
                      p->stage->name, word_of(p), p->trains, p->n_trained, p->steps,
                      p->steps == 1 ? "" : "s", p->input, p->stage->args.out);
    lvlm_printer_object(out, NULL);
    lvlm_printer_text(out, "name", p->stage->name);
    lvlm_printer_text(out, "status", word_of(p));
    lvlm_printer_text(out, "trains", p->trains);
    lvlm_printer_count(out, "values", (uint64_t)p->n_trained);
    lvlm_printer_count(out, "steps", p->steps);
    lvlm_printer_count(out, "batches", p->batches);
    lvlm_printer_text(out, "model", p->input);
    lvlm_printer_text(out, "out", p->stage->args.out);
    lvlm_printer_end(out);
}

/* ---- the command ---------------------------------------------------------------- */

static int run_all(stages_run *s, const lvlm_operands *operands, lvlm_error *err)
{
    const stages_args *const a = s->args;
    TRY(recipe_open(&s->recipe, operands->at[0],
                    operands->n > 1 ? operands->at[1] : NULL, a->out, &a->common, err));
    TRY(make_plans(s, err));
    lvlm_printer_open(&s->printer, a->common.json, !a->common.quiet);
    lvlm_printer_list(&s->printer, "stages");
    for (size_t i = 0; a->dry_run && i < s->recipe.n; i++)
        print_plan(&s->printer, &s->plans[i]);
    if (!a->dry_run) TRY(run_stages(s, err));
    lvlm_printer_end(&s->printer);
    return lvlm_printer_close(&s->printer, s->notes, err);
}

static int run(const void *arguments, const lvlm_operands *operands, lvlm_notes *notes,
               lvlm_error *err)
{
    stages_run s = { .args = arguments, .notes = notes };
    const int rc = run_all(&s, operands, err);
    lvlm_printer_drop(&s.printer);
    lvlm_free(s.plans);
    recipe_close(&s.recipe);
    return rc;
}

const lvlm_command command_stages = {
    "stages",
    "RECIPE.json [MODEL]",
    1,
    2,
    "several trainings one after another",
    "Trains the stages of a recipe, each from the model that the one before it\n"
    "wrote, the first from MODEL or the recipe's own:\n"
    "\n"
    "  { \"about\": \"LLaVA-1.5\", \"model\": \"composed.lvlm\",\n"
    "    \"stages\": [\n"
    "      { \"name\": \"align\", \"stage\": \"connector\", \"lr\": 1e-3,\n"
    "        \"data\": \"pairs.jsonl\", \"epochs\": 1, \"schedule\": \"cosine\" },\n"
    "      { \"name\": \"instruct\", \"stage\": 3, \"lr\": 2e-5,\n"
    "        \"data\": \"talks.jsonl\", \"epochs\": 1, \"checkpointing\": true } ] }\n"
    "\n"
    "A stage has a name and options of lvlm-tune train by their long names; true is\n"
    "for options without a value. Paths are relative to the recipe. Models go to\n"
    "DIR/NAME.lvlm unless a stage says \"out\"; with \"lora\" the adapter is merged\n"
    "into it. A \"resolution\" is that of the stages after it too. Options, data and\n"
    "memory of all stages are checked before the first is trained.\n"
    "\n"
    "The same command again continues: a finished stage is left as it is, an\n"
    "interrupted one resumes from DIR/NAME.state, to the same bytes. DIR/NAME.json\n"
    "records options, and digests of data and models. A stage that is not what its\n"
    "record says is named, and trained anew only with --force.\n"
    "\n"
    "  lvlm-tune stages recipe.json composed.lvlm --out run1 --dry-run\n"
    "\n"
    "--json has stages (name, status, and what train has; with --dry-run trains,\n"
    "values, steps, batches of an epoch, model, out), notes.",
    options,
    sizeof(stages_args),
    run,
};
