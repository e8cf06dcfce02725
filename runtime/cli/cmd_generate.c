/* cmd_generate.c - lvlm-run generate: a model's answer.
 *
 *   MODEL + prompt, images -> prompting.h -+-> session.h -> generate.h -> answer.h
 *         + IN.safetensors ----------------+                           -> ids
 *
 * Both are streamed to stdout. */
#include <assert.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "formats/cli/amounts.h"
#include "formats/cli/outputs.h"
#include "formats/cli/program.h"
#include "formats/native/digests.h"
#include "runtime/cli/answer.h"
#include "runtime/cli/generate_args.h"
#include "runtime/cli/run_commands.h"

// clang-format off
static const lvlm_option options[] = {
    PROMPTING_OPTIONS(generate_args, prompting),
    { "inputs", "IN.safetensors", LVLM_OPTION_TEXT, offsetof(generate_args, inputs),
      "instead of a prompt: input_ids, pixel_values and so on of one text; prints ids" },
    { "prompts", "FILE.jsonl", LVLM_OPTION_TEXT, offsetof(generate_args, prompts),
      "many prompts, one JSON object per line, answered together; prints one per line" },
    { "out", "FILE.jsonl", LVLM_OPTION_TEXT, offsetof(generate_args, out),
      "where the answers to --prompts go (default: standard output)" },
    { "boxes", "FILE.png", LVLM_OPTION_TEXT, offsetof(generate_args, boxes),
      "draw the boxes that the answer names on the first image, and list them" },
    { "force", NULL, LVLM_OPTION_FLAG, offsetof(generate_args, force),
      "overwrite the files of --boxes and --out" },
    { "max-new-tokens", "N", LVLM_OPTION_COUNT, offsetof(generate_args, max_new_tokens),
      "stop after that many (default: the model's own setting, or 512)", LVLM_COUNTED },
    { "temperature", "T", LVLM_OPTION_REAL, offsetof(generate_args, temperature),
      "draw tokens, the more evenly the higher (default 0: greedy)", LVLM_AT_LEAST(0) },
    { "top-k", "K", LVLM_OPTION_REAL, offsetof(generate_args, top_k),
      "draw from the K likeliest; 0: all (default: the model's own setting, or 50)",
      { LVLM_LEAST | LVLM_MOST | LVLM_WHOLE, 0, UINT32_MAX } },
    { "top-p", "P", LVLM_OPTION_REAL, offsetof(generate_args, top_p),
      "draw from the likeliest that make up P (default: the model's own setting, or 1)",
      LVLM_FROM_TO(0, 1) },
    { "seed", "N", LVLM_OPTION_COUNT, offsetof(generate_args, seed),
      "another seed draws other tokens (default 0)" },
    { "repetition-penalty", "R", LVLM_OPTION_REAL, offsetof(generate_args, penalty),
      "of tokens that the text holds, greedy or not (default: the model's own setting, or 1: none)",
      LVLM_MORE_THAN(0) },
    { "prompt-lookup", "N", LVLM_OPTION_COUNT, offsetof(generate_args, lookup),
      "propose up to N tokens that followed the same words before, and verify them in one pass: "
      "the same answer, sooner where it repeats its prompt",
      LVLM_FROM_TO(1, LVLM_STEP_TOKENS - 1) },
    { "cache", "keep|bf16", LVLM_OPTION_TEXT, offsetof(generate_args, cache),
      "keys and values of earlier tokens: as they are computed (keep, the default), or rounded to bf16, in half the memory" },
    RUN_MODEL_OPTIONS(generate_args, model, ""),
    LVLM_OPTION_END,
};
// clang-format on

/* The model's own settings, overridden by the options. */
static int read_settings(lvlm_generation *g, const lvlm_model *model,
                         const generate_args *a, lvlm_error *err)
{
    TRY(lvlm_generation_read(g, lvlm_model_manifest(model), err));
    lvlm_sampling *const s = &g->sampling;
    if (a->top_k.given) s->top_k = (uint64_t)a->top_k.value;
    if (a->top_p.given) s->top_p = a->top_p.value;
    if (a->penalty.given) s->penalty = a->penalty.value;
    s->temperature = a->temperature.value;
    s->seed = a->seed;
    if (a->max_new_tokens > 0) g->max_new_tokens = a->max_new_tokens;
    g->lookup = a->lookup;
    g->chatml &= a->inputs != NULL || !a->prompting.raw;
    return lvlm_sampling_check(s, err);
}

/* Note options that have no effect. */
static int note_options(const generate_args *a, lvlm_notes *notes, lvlm_error *err)
{
    const prompting_args *const p = &a->prompting;
    if (a->inputs != NULL &&
        (p->system != NULL || p->date != NULL || p->raw || p->fps.given ||
         p->resampling != NULL || p->chat_template != NULL || p->pad_to_square))
        TRY(lvlm_notes_add(notes, err,
                           "--system, --raw, --template, --date, --fps, "
                           "--resampling and --pad-to-square count only with a "
                           "prompt"));
    if (a->temperature.value > 0 || !(a->top_k.given || a->top_p.given || a->seed > 0))
        return 0;
    return lvlm_notes_add(notes, err,
                          "--top-k, --top-p and --seed count only with a --temperature "
                          "above 0");
}

static void say_what_is_unchecked(const generate_args *a)
{
    if (a->model.check || a->common.quiet) return;
    fflush(stdout);
    fprintf(stderr, "%s: weights were not checked against their digests (--check)\n",
            PROGRAM);
}

/* ---- what comes out ------------------------------------------------------------- */

/* The text of an answer, or the ids after ready tensors. */
typedef struct output {
    const generate_args *args;
    lvlm_outfile *boxes; /* or NULL */
    lvlm_printer printer;
    answer *text; /* NULL: ids are printed */
    lvlm_notes *notes;
    uint64_t n;
    size_t n_prompt;      /* tokens */
    uint64_t cache_bytes; /* of their keys and values, and those of new ones */
    double started,
        seen; /* times when reading began and when the images were read; 0: no images */
    double first, last; /* times of the first and of the last token */
} output;

static int take(void *user, int64_t id, lvlm_error *err)
{
    output *const o = user;
    o->last = lvlm_seconds();
    assert(id >= 0);
    if (o->n++ == 0) o->first = o->last;
    lvlm_printer_count(&o->printer, NULL, (uint64_t)id);
    if (o->text != NULL) return answer_take(o->text, id, err);
    lvlm_printer_line(&o->printer, o->n > 1 ? " %" PRId64 : "%" PRId64, id);
    fflush(stdout);
    return 0;
}

const char *generate_stopped(const lvlm_generated *made)
{
    if (made->full) return "positions";
    return made->ended ? "end" : "limit";
}

/* Seconds per new token, without the first, which the prompt gives. */
static double token_seconds(const output *o)
{
    return o->n > 1 ? (o->last - o->first) / (double)(o->n - 1) : 0;
}

/* One line on stderr: the time per image and per token. */
static void tell_pace(const output *o, const lvlm_generated *made, size_t n_images)
{
    assert(o->last >= o->first);
    char pace[LVLM_PACE_TEXT], each[LVLM_AMOUNT_TEXT];
    if (o->args->common.quiet || o->n == 0) return;
    fflush(stdout);
    fprintf(stderr, PROGRAM ": ");
    if (o->seen > 0 && n_images > 0)
        fprintf(stderr, "%s; ",
                lvlm_pace_text(pace, n_images, "image", o->seen - o->started));
    else if (o->seen > 0)
        fprintf(stderr, "images in %s; ", lvlm_time_text(each, o->seen - o->started));
    fprintf(stderr, "prompt of %s",
            lvlm_pace_text(pace, o->n_prompt, "token",
                           o->first - (o->seen > 0 ? o->seen : o->started)));
    if (o->n > 1)
        fprintf(stderr, "; %llu new tokens, %s per token, %.1f tokens/s",
                (unsigned long long)o->n, lvlm_time_text(each, token_seconds(o)),
                1 / fmax(token_seconds(o), 1e-9));
    if (made->passes > 0 && o->args->lookup > 0)
        fprintf(stderr, ", %.2f tokens per pass",
                (double)(made->n - 1) / (double)made->passes);
    fputc('\n', stderr);
}

static int print_result(output *o, const lvlm_generated *made, size_t n_images,
                        lvlm_error *err)
{
    lvlm_printer *const p = &o->printer;
    lvlm_printer_count(p, "prompt_tokens", o->n_prompt);
    lvlm_printer_count(p, "new_tokens", made->n);
    if (o->args->lookup > 0) lvlm_printer_count(p, "passes", made->passes);
    lvlm_printer_text(p, "stopped", generate_stopped(made));
    lvlm_printer_flag(p, "checked", o->args->model.check);
    lvlm_printer_count(p, "cache_bytes", o->cache_bytes);
    if (o->seen > 0 && n_images > 0)
        lvlm_printer_seconds(p, "image_seconds",
                             (o->seen - o->started) / (double)n_images);
    lvlm_printer_seconds(p, "prompt_seconds", o->first - o->started);
    if (o->n > 1) lvlm_printer_seconds(p, "token_seconds", token_seconds(o));
    lvlm_printer_seconds(p, "seconds", lvlm_seconds() - o->started);
    return lvlm_printer_close(p, o->notes, err);
}

/* End the text, and draw its boxes. */
static int finish_text(output *o, const prompting *p, lvlm_error *err)
{
    TRY(answer_end(o->text, err));
    lvlm_printer_text(&o->printer, "text", o->text->text.text);
    return o->boxes != NULL ? answer_draw(o->text, p, o->boxes, &o->printer, err) : 0;
}

/* ---- all of it ------------------------------------------------------------------ */

/* Stages are used only to note when the images have been read. */
typedef struct reading {
    lvlm_progress bar;
    double seen;
} reading;

static bool is_last_of_images(void *user, const char *name)
{
    (void)user;
    return strcmp(name, "connector.out") == 0;
}

static int note_images(void *user, const lvlm_tensor *stage, lvlm_error *err)
{
    reading *const r = user;
    (void)stage, (void)err;
    r->seen = lvlm_seconds();
    return 0;
}

static void draw_reading(void *user, size_t done, size_t total)
{
    lvlm_progress_stages(&((reading *)user)->bar, done, total);
}

/* Videos are many images: what looking at them takes is said before. */
static int tell_memory(lvlm_model *model, const lvlm_checkpoint *inputs,
                       lvlm_error *err)
{
    char text[LVLM_AMOUNT_TEXT];
    uint64_t bytes;
    if (lvlm_checkpoint_find(inputs, "pixel_values_videos") == NULL) return 0;
    TRY(lvlm_model_images_bytes(model, &bytes, inputs, "", err));
    fprintf(stderr, "%s: looking at them takes %s of memory besides the pixels\n",
            PROGRAM, lvlm_bytes_text(text, (double)bytes));
    return 0;
}

static int begin(lvlm_session **out, output *o, lvlm_model *model,
                 const lvlm_checkpoint *inputs, lvlm_error *err)
{
    reading r = { .seen = 0 };
    if (!o->args->common.quiet) TRY(tell_memory(model, inputs, err));
    const lvlm_stage_sink sink = { .take = note_images,
                                   .wants = is_last_of_images,
                                   .user = &r,
                                   .progress = draw_reading };
    lvlm_progress_init(&r.bar, "reading", o->args->common.quiet);
    const int rc = lvlm_session_begin(out, model, inputs, "", &sink, err);
    lvlm_progress_finish(&r.bar);
    o->seen = r.seen;
    return rc;
}

static int open_session(lvlm_session **out, output *o, lvlm_model *model,
                        const prompting *p, lvlm_error *err)
{
    const generate_args *const a = o->args;
    lvlm_checkpoint *inputs = NULL;
    if (a->inputs == NULL) return begin(out, o, model, &p->inputs.batch, err);
    TRY(lvlm_checkpoint_open(&inputs, a->inputs, NULL, err));
    const int rc = begin(out, o, model, inputs, err);
    if (rc == LVLM_EFORMAT) lvlm_prefix(err, "%s: ", a->inputs);
    lvlm_checkpoint_close(inputs);
    return rc;
}

static int say(output *o, lvlm_model *model, const lvlm_generation *settings,
               const prompting *p, lvlm_error *err)
{
    const lvlm_token_sink sink = { take, o };
    lvlm_session *session = NULL;
    lvlm_generated made;
    o->started = lvlm_seconds();
    int rc = open_session(&session, o, model, p, err);
    lvlm_print_notes(PROGRAM, o->notes);
    if (rc < 0) goto done;
    (void)lvlm_session_tokens(session, &o->n_prompt);
    lvlm_printer_list(&o->printer, "tokens");
    rc = lvlm_generate(&made, session, settings, &sink, err);
    o->cache_bytes = lvlm_session_cache_bytes(session);
    lvlm_printer_end(&o->printer);
    if (o->text == NULL && o->n > 0) lvlm_printer_line(&o->printer, "\n");
    if (rc == 0 && made.full)
        fprintf(stderr,
                "%s: stopped: the text has reached the last position that the model "
                "was made for (max_position_embeddings)\n",
                PROGRAM);
    if (rc == 0 && o->text != NULL) rc = finish_text(o, p, err);
    if (rc == 0) rc = print_result(o, &made, p->prompt.n_images, err);
    if (rc == 0) tell_pace(o, &made, p->prompt.n_images);
done:
    lvlm_session_end(session);
    return rc;
}

/* Generate after the prompt `p`, or after ready tensors. */
static int generate(lvlm_model *model, const lvlm_generation *settings,
                    const generate_args *a, const prompting *p, lvlm_outfile *boxes,
                    lvlm_notes *notes, lvlm_error *err)
{
    output out = { .args = a, .boxes = boxes, .notes = notes };
    answer text;
    lvlm_printer_open(&out.printer, a->common.json, true);
    if (a->inputs == NULL) {
        answer_init(&text, p->prompter, a->common.json);
        out.text = &text;
    }
    const int rc = say(&out, model, settings, p, err);
    if (out.text != NULL) answer_free(&text);
    lvlm_printer_drop(&out.printer);
    return rc;
}

static int check(const void *arguments, const lvlm_operands *operands, lvlm_error *err)
{
    const generate_args *const a = arguments;
    const prompting_args *const p = &a->prompting;
    (void)operands;
    FAIL_IF(a->out != NULL && a->prompts == NULL, err, LVLM_EUSAGE,
            "--out is for the answers to --prompts");
    FAIL_IF(a->prompts != NULL && (p->images.n > 0 || p->frames.n > 0 ||
                                   p->system != NULL || a->boxes != NULL),
            err, LVLM_EUSAGE,
            "--prompts takes the place of --image, --frames, --system and --boxes too; "
            "each line names its own");
    if (a->inputs == NULL) return prompting_check(p, err);
    FAIL_IF(p->images.n > 0 || p->frames.n > 0 || a->boxes != NULL, err, LVLM_EUSAGE,
            "--inputs takes the place of --image, --frames and --boxes too");
    return 0;
}

static prompting_how how_of(const lvlm_model *model, const generate_args *a)
{
    const char *const reference = run_reference(&a->model);
    const bool assumed = lvlm_reference_applies(lvlm_model_manifest(model)->family,
                                                LVLM_VIDEO_RATE_ASSUMED, reference);
    return (prompting_how){
        .as_trained = strcmp(reference, LVLM_REFERENCE_TRAINED) == 0,
        .fps = assumed ? LVLM_UNSAID_FPS : 0,
        .quiet = a->common.quiet,
    };
}

/* Make tensors of the prompt, unless tensors are given. */
static int read_prompt(prompting *p, const lvlm_model *model, const generate_args *a,
                       lvlm_notes *notes, lvlm_error *err)
{
    const prompting_how how = how_of(model, a);
    if (a->inputs != NULL) return 0;
    TRY(prompting_make(p, lvlm_model_manifest(model), &a->prompting, &how, notes, err));
    FAIL_IF(a->boxes != NULL && p->prompt.n_images == 0, err, LVLM_EUSAGE,
            "--boxes needs an image to draw on");
    FAIL_IF(p->answered, err, LVLM_EFORMAT,
            "the last message is the assistant's: there is nothing to say");
    return 0;
}

/* The side files are always checked: they say where an answer ends. */
static int open_model(lvlm_model **out, const char *path, const generate_args *a,
                      lvlm_notes *notes, lvlm_error *err)
{
    run_model_args how = a->model;
    how.cache_bf16 = a->cache != NULL && strcmp(a->cache, "bf16") == 0;
    TRY(run_open_model(out, path, &a->common, &how, notes, err));
    if (a->model.check) return 0;
    return lvlm_native_check_side_files(lvlm_model_manifest(*out)->checkpoint,
                                        lvlm_thread_count(&a->common), err);
}

/* Answer one prompt, or continue ready tensors. */
static int answer_one(lvlm_model *model, const lvlm_generation *settings,
                      const generate_args *args, const char *path,
                      const lvlm_outputs *outputs, lvlm_outfile *boxes,
                      lvlm_notes *notes, lvlm_error *err)
{
    prompting p;
    memset(&p, 0, sizeof p);
    int rc = read_prompt(&p, model, args, notes, err);
    if (rc == 0) rc = prompting_spare(&p, &args->prompting, outputs, path, err);
    if (rc == 0) rc = generate(model, settings, args, &p, boxes, notes, err);
    prompting_free(&p);
    return rc;
}

static int answer_many(lvlm_model *model, const lvlm_generation *settings,
                       const generate_args *args, const char *path,
                       const lvlm_outputs *outputs, lvlm_outfile *out,
                       lvlm_notes *notes, lvlm_error *err)
{
    const prompting_how how = how_of(model, args);
    const char *const files[] = { path, args->prompts };
    TRY(lvlm_outputs_spare(outputs, files, 2, err));
    return generate_prompts(model, settings, args, &how, outputs, out, notes, err);
}

static int run(const void *arguments, const lvlm_operands *operands, lvlm_notes *notes,
               lvlm_error *err)
{
    const generate_args *const args = arguments;
    const char *const path = operands->at[0];
    lvlm_model *model = NULL;
    lvlm_generation settings;
    lvlm_outputs outputs = { .force = args->force };
    lvlm_outfile *boxes = NULL, *out = NULL;
    int rc;
    if ((rc = lvlm_outputs_file(&outputs, &boxes, args->boxes, err)) < 0 ||
        (rc = lvlm_outputs_file(&outputs, &out, args->out, err)) < 0 ||
        (rc = open_model(&model, path, args, notes, err)) < 0 ||
        (rc = read_settings(&settings, model, args, err)) < 0 ||
        (rc = note_options(args, notes, err)) < 0)
        goto done;
    rc = args->prompts != NULL
             ? answer_many(model, &settings, args, path, &outputs, out, notes, err)
             : answer_one(model, &settings, args, path, &outputs, boxes, notes, err);
    if (rc == 0) say_what_is_unchecked(args);
done:
    lvlm_outputs_close(&outputs);
    lvlm_model_free(model);
    return rc;
}

const lvlm_command command_generate = {
    "generate",
    "MODEL",
    1,
    1,
    "what comes next, in words",
    "Answers a prompt about images, as text that streams as it is made; or reads\n"
    "ready tensors and prints the ids of the tokens after them, the one that ends\n"
    "the text included. The prompt is written as the model's chat template does it.\n"
    "Special tokens are left out of an answer but those that name things and places\n"
    "(<loc0000>, <seg000>, <ref>, <box>). Greedy unless a temperature is given; what\n"
    "the model's own generation_config.json says of the end, of repetition and of\n"
    "sampling counts, unless an option says otherwise. The same inputs, options and\n"
    "seed give the same tokens, whatever --threads says. Tokenizer, templates and\n"
    "settings are compared with their digests; weights are with --check.\n"
    "\n"
    "--prompts answers many: a line has prompt (and image, a file or a list, and\n"
    "system) or messages, and if needed id, max_new_tokens and seed; its answer has\n"
    "id, text, tokens and reason (end, limit, positions). All lines are checked\n"
    "first. Up to 8 texts are continued together, which reads weights once for all\n"
    "of them; every answer is the one that its prompt has by itself.\n"
    "\n"
    "--json has tokens, text, boxes, prompt_tokens, new_tokens, stopped (end, limit,\n"
    "positions), checked, cache_bytes (of keys and values), image_seconds (of one\n"
    "image), prompt_seconds (images and prompt), token_seconds (of one token after\n"
    "the first), seconds, notes; passes with --prompt-lookup; of --prompts only\n"
    "answers, new_tokens, passes, checked, seconds and notes.\n"
    "\n"
    "  lvlm-run generate model.lvlm --image cat.jpg --prompt \"caption en\"\n"
    "  lvlm-run generate model.lvlm --frames clip --fps 2 --prompt \"What happens?\"\n"
    "  lvlm-run generate model.lvlm --prompts questions.jsonl --out answers.jsonl\n"
    "  lvlm-run generate model.lvlm --inputs in.safetensors --max-new-tokens 64",
    options,
    sizeof(generate_args),
    run,
    "(--prompt TEXT | --messages FILE.json | --inputs IN.safetensors | --prompts "
    "FILE.jsonl)",
    check,
};
