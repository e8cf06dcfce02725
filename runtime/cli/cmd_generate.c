/* cmd_generate.c - lvlm-run generate: what a model says next.
 *
 *   MODEL + IN.safetensors -> session.h -> generate.h -> ids on stdout, one by one */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "formats/base/alloc.h"
#include "formats/base/json.h"
#include "formats/cli/program.h"
#include "runtime/cli/run_commands.h"
#include "runtime/generate/generate.h"

typedef struct generate_args {
    lvlm_common_args common;
    const char *inputs, *top_k, *top_p, *penalty, *compute, *reference;
    uint64_t max_new_tokens, seed;
    double temperature;
} generate_args;

// clang-format off
static const lvlm_option options[] = {
    { "inputs", "IN.safetensors", LVLM_OPTION_TEXT, offsetof(generate_args, inputs),
      "input_ids, pixel_values and so on of one text, as the family's processor makes them" },
    { "max-new-tokens", "N", LVLM_OPTION_COUNT, offsetof(generate_args, max_new_tokens),
      "stop after that many (default: the model's own setting, or 512)" },
    { "temperature", "T", LVLM_OPTION_REAL, offsetof(generate_args, temperature),
      "draw tokens, the more evenly the higher (default 0: greedy)" },
    { "top-k", "K", LVLM_OPTION_TEXT, offsetof(generate_args, top_k),
      "draw from the K likeliest; 0: all (default: the model's own setting, or 50)" },
    { "top-p", "P", LVLM_OPTION_TEXT, offsetof(generate_args, top_p),
      "draw from the likeliest that make up P (default: the model's own setting, or 1)" },
    { "seed", "N", LVLM_OPTION_COUNT, offsetof(generate_args, seed),
      "another seed draws other tokens (default 0)" },
    { "repetition-penalty", "R", LVLM_OPTION_TEXT, offsetof(generate_args, penalty),
      "of tokens that the text holds, greedy or not (default: the model's own setting, or 1: none)" },
    { "compute", "f32|f64", LVLM_OPTION_TEXT, offsetof(generate_args, compute),
      "precision of the computation (default f32)" },
    { "reference", "trained|transformers-VERSION", LVLM_OPTION_TEXT, offsetof(generate_args, reference),
      "whose behaviour, where versions of transformers differ from training (default trained)" },
    LVLM_OPTION_END,
};
// clang-format on

/* The model's own settings, and over them what was asked for. */
static int read_settings(lvlm_generation *g, const lvlm_model *model,
                         const generate_args *a, lvlm_error *err)
{
    double top_k;
    TRY(lvlm_generation_read(g, lvlm_model_manifest(model), err));
    lvlm_sampling *const s = &g->sampling;
    TRY(lvlm_option_number(&top_k, "top-k", a->top_k, (double)s->top_k, err));
    FAIL_IF(top_k != floor(top_k) || top_k > UINT32_MAX, err, LVLM_EUSAGE,
            "--top-k '%s': expected a whole number", a->top_k);
    TRY(lvlm_option_number(&s->top_p, "top-p", a->top_p, s->top_p, err));
    TRY(lvlm_option_number(&s->penalty, "repetition-penalty", a->penalty, s->penalty,
                           err));
    s->top_k = (uint64_t)top_k;
    s->temperature = a->temperature;
    s->seed = a->seed;
    if (a->max_new_tokens > 0) g->max_new_tokens = a->max_new_tokens;
    return lvlm_sampling_check(s, err);
}

static void say_what_is_ignored(const lvlm_generation *g, const generate_args *a)
{
    const bool drawn_only = a->top_k != NULL || a->top_p != NULL;
    if (a->common.quiet) return;
    if (g->ignored != NULL)
        fprintf(stderr, "%s: generation_config.json: %s is not followed\n", PROGRAM,
                g->ignored);
    if (drawn_only && a->temperature == 0)
        fprintf(stderr, "%s: --top-k and --top-p count only with --temperature\n",
                PROGRAM);
}

/* ---- what comes out ------------------------------------------------------------- */

typedef struct output {
    cJSON *ids; /* --json; else they are printed as they come */
    uint64_t n;
    double first; /* when the first one was there */
} output;

static int take(void *user, int64_t id, lvlm_error *err)
{
    output *const o = user;
    if (o->n == 0) o->first = lvlm_seconds();
    if (o->ids == NULL) {
        printf(o->n > 0 ? " %lld" : "%lld", (long long)id);
        fflush(stdout);
    } else {
        cJSON *const item = cJSON_CreateNumber((double)id);
        if (item == NULL || !cJSON_AddItemToArray(o->ids, item))
            return lvlm_fail_memory(err);
    }
    o->n++;
    return 0;
}

static int print_json(cJSON *result, const lvlm_generated *made, size_t n_prompt,
                      double started, double first, lvlm_error *err)
{
    const double now = lvlm_seconds();
    lvlm_json_add_number(result, "prompt_tokens", (double)n_prompt);
    lvlm_json_add_number(result, "new_tokens", (double)made->n);
    if (cJSON_AddStringToObject(result, "stopped", made->ended ? "end" : "limit") ==
        NULL)
        return lvlm_fail_memory(err);
    lvlm_json_add_number(result, "prompt_seconds", first - started);
    lvlm_json_add_number(result, "seconds", now - started);
    char *text = NULL;
    TRY(lvlm_json_print(&text, result, err));
    puts(text);
    lvlm_free(text);
    return 0;
}

static int open_session(lvlm_session **out, lvlm_model *model, const generate_args *a,
                        lvlm_error *err)
{
    lvlm_checkpoint *inputs = NULL;
    TRY(lvlm_checkpoint_open(&inputs, a->inputs, NULL, err));
    const int rc = lvlm_session_begin(out, model, inputs, "", NULL, err);
    if (rc == LVLM_EFORMAT) lvlm_prefix(err, "%s: ", a->inputs);
    lvlm_checkpoint_close(inputs);
    return rc;
}

static int generate(lvlm_model *model, const lvlm_generation *settings,
                    const generate_args *a, lvlm_error *err)
{
    cJSON *const result = a->common.json ? cJSON_CreateObject() : NULL;
    output out = { .ids = result != NULL ? cJSON_AddArrayToObject(result, "tokens")
                                         : NULL };
    const lvlm_token_sink sink = { take, &out };
    const double started = lvlm_seconds();
    lvlm_session *session = NULL;
    lvlm_generated made;
    size_t n_prompt = 0;
    int rc;
    if (a->common.json && out.ids == NULL) {
        rc = lvlm_fail_memory(err);
        goto done;
    }
    if ((rc = open_session(&session, model, a, err)) < 0) goto done;
    (void)lvlm_session_tokens(session, &n_prompt);
    rc = lvlm_generate(&made, session, settings, &sink, err);
    if (result == NULL && out.n > 0) putchar('\n');
    if (rc == 0 && result != NULL)
        rc = print_json(result, &made, n_prompt, started, out.first, err);
done:
    lvlm_session_end(session);
    lvlm_json_free(result);
    return rc;
}

static int run(const void *arguments, const lvlm_operands *operands)
{
    const generate_args *const args = arguments;
    const bool f64 = args->compute != NULL && strcmp(args->compute, "f64") == 0;
    const lvlm_model_options chosen = {
        .compute = f64 ? LVLM_COMPUTE_F64 : LVLM_COMPUTE_F32,
        .threads = lvlm_thread_count(&args->common),
        .reference = args->reference,
    };
    lvlm_model *model = NULL;
    lvlm_generation settings;
    lvlm_error err;
    int rc = 0;
    if (args->inputs == NULL)
        rc = lvlm_fail(&err, LVLM_EUSAGE, "--inputs IN.safetensors is needed");
    if (rc < 0 || (rc = lvlm_model_open(&model, operands->at[0], &chosen, &err)) < 0 ||
        (rc = read_settings(&settings, model, args, &err)) < 0)
        goto done;
    say_what_is_ignored(&settings, args);
    rc = generate(model, &settings, args, &err);
done:
    lvlm_model_free(model);
    return rc < 0 ? lvlm_report(PROGRAM, &err) : 0;
}

const lvlm_command command_generate = {
    "generate",
    "MODEL",
    1,
    1,
    "the tokens that come next",
    "Reads one text, with its images, as ready tensors and prints the ids of the "
    "tokens "
    "that\n"
    "come behind it, each as soon as it is known, the one that ends the text included. "
    "Greedy\n"
    "unless a temperature is given; what the model's own generation_config.json says "
    "of the\n"
    "end, of repetition and of sampling counts, unless an option says otherwise. The "
    "same\n"
    "inputs, options and seed give the same tokens, whatever --threads says.\n"
    "\n"
    "  lvlm-run generate model.lvlm --inputs in.safetensors --max-new-tokens 64",
    options,
    sizeof(generate_args),
    run,
};
