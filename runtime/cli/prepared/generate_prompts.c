/* generate_prompts.c - many prompts, answered together.
 *
 *   lines, checked -> up to PLACES texts, each with a session -> steps of all of them
 *     ^                                                              |
 *     +---- the next line takes the place of a text that is done <---+
 *
 * Answers are printed in the order of their lines. */
#include <stdio.h>
#include <string.h>

#include "formats/base/alloc.h"
#include "formats/base/json.h"
#include "formats/base/list.h"
#include "formats/cli/amounts.h"
#include "formats/cli/printer.h"
#include "formats/cli/program.h"
#include "runtime/cli/answer.h"
#include "runtime/cli/generate_args.h"
#include "runtime/cli/prepared/prompt_lines.h"

enum { PLACES = LVLM_STEP_TOKENS };

/* A text that is being answered. */
typedef struct place {
    bool taken;
    size_t i; /* which line */
    prompt_line line;
    lvlm_session *session;
    lvlm_generator generator;
    answer text;
    cJSON *tokens; /* owned until the answer is made */
} place;

typedef struct answering {
    lvlm_model *model;
    const lvlm_generation *settings;
    prompt_lines lines;
    place places[PLACES];
    cJSON **answers; /* (n) of lines; NULL: not yet, or printed */
    size_t next, n;  /* the next line to begin; all */
    size_t n_printed;
    lvlm_outfile *out; /* NULL: stdout, unless --json */
    lvlm_printer printer;
    lvlm_progress bar;
    uint64_t n_tokens, n_steps;
} answering;

/* ---- one text -------------------------------------------------------------------- */

static int take(void *user, int64_t id, lvlm_error *err)
{
    place *const p = user;
    cJSON *const number = cJSON_CreateNumber((double)id);
    if (number == NULL || !cJSON_AddItemToArray(p->tokens, number)) {
        lvlm_json_free(number);
        return lvlm_fail_memory(err);
    }
    return answer_take(&p->text, id, err);
}

static void leave(place *p)
{
    if (!p->taken) return;
    lvlm_generator_free(&p->generator);
    lvlm_session_end(p->session);
    answer_free(&p->text);
    lvlm_json_free(p->tokens);
    prompt_line_free(&p->line);
    memset(p, 0, sizeof *p);
}

/* The next line begins here. */
static int begin(answering *a, place *p, lvlm_error *err)
{
    const lvlm_token_sink sink = { take, p };
    memset(p, 0, sizeof *p);
    p->taken = true;
    p->i = a->next++;
    answer_init(&p->text, a->lines.prompter, true);
    p->tokens = cJSON_CreateArray();
    if (p->tokens == NULL) return lvlm_fail_memory(err);
    TRY(prompt_line_make(&p->line, &a->lines, p->i, a->settings, err));
    int rc =
        lvlm_session_begin(&p->session, a->model, &p->line.inputs.batch, "", NULL, err);
    lvlm_prompt_inputs_free(&p->line.inputs); /* pixels are many */
    if (rc == 0)
        rc = lvlm_generator_begin(&p->generator, p->session, &p->line.settings, &sink,
                                  err);
    if (rc < 0) lvlm_jsonl_prefix(err, &a->lines.file, p->i);
    return rc;
}

/* Add a member, which becomes the object's. */
static bool set(cJSON *object, const char *key, cJSON **item)
{
    cJSON *const owned = *item;
    *item = NULL;
    return lvlm_json_set(object, key, owned);
}

static int make_answer(cJSON *out, place *p, lvlm_error *err)
{
    cJSON *text = cJSON_CreateString(p->text.text.text);
    cJSON *reason = cJSON_CreateString(generate_stopped(&p->generator.made));
    const bool ok = set(out, "id", &p->line.id) && set(out, "text", &text) &&
                    set(out, "tokens", &p->tokens) && set(out, "reason", &reason);
    lvlm_json_free(text);
    lvlm_json_free(reason);
    return ok ? 0 : lvlm_fail_memory(err);
}

/* The text is done: its answer is kept until those before it are printed. */
static int end(answering *a, place *p, lvlm_error *err)
{
    TRY(answer_end(&p->text, err));
    cJSON *const object = a->answers[p->i] = cJSON_CreateObject();
    if (object == NULL) return lvlm_fail_memory(err);
    TRY(make_answer(object, p, err));
    a->n_tokens += p->generator.made.n;
    leave(p);
    return 0;
}

/* ---- what comes out -------------------------------------------------------------- */

static int print_line(answering *a, const cJSON *json, lvlm_error *err)
{
    char *text = NULL;
    TRY(lvlm_json_print(&text, json, err));
    if (a->out != NULL) {
        lvlm_outfile_write(a->out, text, strlen(text));
        lvlm_outfile_write(a->out, "\n", 1);
    } else if (!a->printer.json) {
        lvlm_status_clear(&a->bar.status);
        puts(text);
        fflush(stdout);
    }
    lvlm_printer_tree(&a->printer, NULL, json);
    lvlm_free(text);
    return 0;
}

/* Those of the first lines that are there. */
static int print_answers(answering *a, lvlm_error *err)
{
    for (; a->n_printed < a->n && a->answers[a->n_printed] != NULL; a->n_printed++) {
        TRY(print_line(a, a->answers[a->n_printed], err));
        lvlm_json_free(a->answers[a->n_printed]);
        a->answers[a->n_printed] = NULL;
    }
    lvlm_progress_stages(&a->bar, a->n_printed, a->n);
    return a->out != NULL ? lvlm_outfile_check(a->out, err) : 0;
}

/* ---- all of them ----------------------------------------------------------------- */

/* Begin lines in free places, and end the texts that are done; *live of the others
 * remain. */
static int turn_over(answering *a, lvlm_generator **live, size_t *n_live,
                     lvlm_error *err)
{
    *n_live = 0;
    for (size_t k = 0; k < PLACES; k++) {
        place *const p = &a->places[k];
        while (p->taken ? p->generator.done : a->next < a->n) {
            if (p->taken)
                TRY(end(a, p, err));
            else
                TRY(begin(a, p, err));
        }
        if (p->taken) live[(*n_live)++] = &p->generator;
    }
    return print_answers(a, err);
}

static int answer_all(answering *a, lvlm_error *err)
{
    lvlm_generator *live[PLACES];
    size_t n_live;
    for (;;) {
        TRY(turn_over(a, live, &n_live, err));
        if (n_live == 0) return 0;
        TRY(lvlm_generators_step(live, n_live, err));
        a->n_steps++;
    }
}

static void tell_pace(const answering *a, double seconds, bool quiet)
{
    char text[LVLM_AMOUNT_TEXT];
    if (quiet) return;
    fprintf(stderr, PROGRAM ": %zu answer%s, %llu new tokens in %s, %.1f tokens/s",
            a->n, a->n == 1 ? "" : "s", (unsigned long long)a->n_tokens,
            lvlm_time_text(text, seconds),
            (double)a->n_tokens / (seconds > 1e-9 ? seconds : 1e-9));
    if (a->n_steps > 0)
        fprintf(stderr, ", %.2f tokens per pass",
                (double)(a->n_tokens - a->n) / (double)a->n_steps);
    fputc('\n', stderr);
}

/* Answer the lines, which have been checked. */
static int run(answering *a, const generate_args *args, lvlm_notes *notes,
               lvlm_error *err)
{
    const double started = lvlm_seconds();
    a->answers = lvlm_calloc(a->n, sizeof(cJSON *));
    if (a->answers == NULL) return lvlm_fail_memory(err);
    lvlm_printer_open(&a->printer, args->common.json, true);
    lvlm_progress_init(&a->bar, "answering", args->common.quiet);
    lvlm_printer_list(&a->printer, "answers");
    const int rc = answer_all(a, err);
    lvlm_progress_finish(&a->bar);
    lvlm_printer_end(&a->printer);
    TRY(rc);
    if (a->out != NULL) TRY(lvlm_outfile_commit(a->out, err));
    const double seconds = lvlm_seconds() - started;
    lvlm_printer_count(&a->printer, "new_tokens", a->n_tokens);
    lvlm_printer_count(&a->printer, "passes", a->n_steps);
    lvlm_printer_flag(&a->printer, "checked", args->model.check);
    lvlm_printer_seconds(&a->printer, "seconds", seconds);
    TRY(lvlm_printer_close(&a->printer, notes, err));
    tell_pace(a, seconds, args->common.quiet);
    return 0;
}

int generate_prompts(lvlm_model *model, const lvlm_generation *settings,
                     const generate_args *args, const prompting_how *how,
                     const lvlm_outputs *outputs, lvlm_outfile *out, lvlm_notes *notes,
                     lvlm_error *err)
{
    answering *const a = lvlm_calloc(1, sizeof *a);
    if (a == NULL) return lvlm_fail_memory(err);
    a->model = model;
    a->settings = settings;
    a->out = out;
    int rc = prompt_lines_open(&a->lines, args->prompts, lvlm_model_manifest(model),
                               &args->prompting, how, notes, err);
    if (rc == 0) rc = prompt_lines_check(&a->lines, settings, outputs, err);
    lvlm_print_notes(PROGRAM, notes);
    a->n = a->lines.file.n;
    if (rc == 0) rc = run(a, args, notes, err);
    for (size_t k = 0; k < PLACES; k++) leave(&a->places[k]);
    for (size_t i = 0; a->answers != NULL && i < a->n; i++)
        lvlm_json_free(a->answers[i]);
    lvlm_free(a->answers);
    lvlm_printer_drop(&a->printer);
    prompt_lines_close(&a->lines);
    lvlm_free(a);
    return rc;
}
