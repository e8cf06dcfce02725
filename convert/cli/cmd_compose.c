/* cmd_compose.c - lvlm-convert compose SPEC.json MODEL */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "convert/cli/account.h"
#include "convert/cli/commands.h"
#include "convert/compose/compose.h"
#include "convert/compose/compose_draw.h"
#include "formats/cli/program.h"

typedef struct args {
    lvlm_common_args common;
    bool explain;
    bool force;
    const char *svg;
} args;

static const lvlm_option options[] = {
    { "explain", NULL, LVLM_OPTION_FLAG, offsetof(args, explain),
      "print the parts, the projections between them, what is copied and what is made, "
      "and write nothing" },
    { "svg", "FILE", LVLM_OPTION_TEXT, offsetof(args, svg),
      "draw the parts, their files, and every projection with its equation, what is "
      "copied and what is made" },
    { "force", NULL, LVLM_OPTION_FLAG, offsetof(args, force),
      "overwrite MODEL and the file of --svg" },
    LVLM_OPTION_END,
};

/* ---- what a composed model is made of ------------------------------------------- */

/* A part: what it is, where it is, how much of it is taken, and its files. */
static void explain_part(lvlm_printer *p, const lvlm_compose_part *part)
{
    if (part->from == NULL) return;
    lvlm_printer_line(p, "%-10s %s, %s: %zu tensors", part->role,
                      part->type != NULL ? part->type : "weights", part->from->path,
                      part->n_tensors);
    if (part->n_left_out > 0)
        lvlm_printer_line(p, ", %zu of other parts left out", part->n_left_out);
    lvlm_printer_line(p, "\n");
    lvlm_printer_object(p, NULL);
    lvlm_printer_text(p, "part", part->role);
    if (part->type != NULL) lvlm_printer_text(p, "type", part->type);
    lvlm_printer_text(p, "source", part->from->path);
    lvlm_printer_count(p, "n_tensors", part->n_tensors);
    lvlm_printer_count(p, "n_left_out", part->n_left_out);
    lvlm_printer_list(p, "files");
    for (size_t i = 0; i < part->from->n_files; i++) {
        const lvlm_source_file *const file = &part->from->files[i];
        const char *const digest = part->digests[i];
        lvlm_printer_line(p, "             %s  SHA-256 %s\n", file->name, digest);
        lvlm_printer_object(p, NULL);
        lvlm_printer_text(p, "name", file->name);
        lvlm_printer_text(p, "sha256", digest);
        lvlm_printer_end(p);
    }
    lvlm_printer_end(p);
    lvlm_printer_end(p);
}

static const char *origin(const lvlm_target *t)
{
    return t->state == LVLM_TARGET_MADE   ? "made"
           : t->state == LVLM_TARGET_TIED ? "tied"
                                          : "copied";
}

/* Every projection of the family that this model has, with its equation. */
static void explain_projections(lvlm_printer *p, const lvlm_manifest *m)
{
    lvlm_printer_list(p, "projections");
    for (const lvlm_projection *row = m->family->projections; row->role != NULL;
         row++) {
        char shape[LVLM_SHAPE_TEXT];
        const lvlm_target *const t = lvlm_manifest_projection(m, row);
        if (t == NULL) continue;
        lvlm_printer_line(p, "%-10s %s %s, %s: %s\n", row->role, t->name,
                          lvlm_shape_text(shape, &t->shape), origin(t), row->equation);
        lvlm_printer_object(p, NULL);
        lvlm_printer_text(p, "role", row->role);
        lvlm_printer_text(p, "name", t->name);
        lvlm_printer_shape(p, "shape", &t->shape);
        lvlm_printer_text(p, "equation", row->equation);
        lvlm_printer_text(p, "origin", origin(t));
        lvlm_printer_end(p);
    }
    lvlm_printer_end(p);
}

static void explain_made(lvlm_printer *p, const lvlm_ledger *ledger)
{
    lvlm_printer_list(p, "created");
    for (size_t i = 0; i < ledger->n_made; i++) {
        lvlm_printer_line(p, "made       %s: %s\n", ledger->made[i].target,
                          ledger->made[i].how);
        lvlm_printer_object(p, NULL);
        lvlm_printer_text(p, "name", ledger->made[i].target);
        lvlm_printer_text(p, "how", ledger->made[i].how);
        lvlm_printer_end(p);
    }
    lvlm_printer_end(p);
}

/* The image token, and the rows that the word tables get for it. */
static void explain_words(lvlm_printer *p, const lvlm_compose *c)
{
    const lvlm_compose_parts *const parts = &c->parts;
    lvlm_printer_object(p, "image_token");
    lvlm_printer_line(p, "image      %s is token %" PRIu64 "%s\n", c->spec.image_text,
                      parts->image_id,
                      parts->adds_token ? ", which is added to the tokenizer" : "");
    lvlm_printer_text(p, "text", c->spec.image_text);
    lvlm_printer_count(p, "id", parts->image_id);
    lvlm_printer_flag(p, "added", parts->adds_token);
    lvlm_printer_end(p);
    lvlm_printer_list(p, "grown");
    for (size_t i = 0; i < parts->n_growths; i++) {
        const lvlm_growth *const g = &parts->growths[i];
        char how[96];
        lvlm_init_describe(how, &g->init);
        lvlm_printer_line(p, "grown      %s: %" PRIu64 " to %" PRIu64 " rows, %s\n",
                          g->table->name, g->table->shape.dims[0], parts->rows, how);
        lvlm_printer_object(p, NULL);
        lvlm_printer_text(p, "name", g->table->name);
        lvlm_printer_count(p, "from", g->table->shape.dims[0]);
        lvlm_printer_count(p, "to", parts->rows);
        lvlm_printer_text(p, "how", how);
        lvlm_printer_end(p);
    }
    lvlm_printer_end(p);
}

static int explain(lvlm_printer *p, lvlm_compose *c, lvlm_error *err)
{
    TRY(lvlm_compose_digest_files(c, err));
    lvlm_printer_list(p, "parts");
    explain_part(p, &c->parts.vision);
    explain_part(p, &c->parts.connector);
    explain_part(p, &c->parts.text);
    lvlm_printer_end(p);
    explain_projections(p, lvlm_import_planned(c->import).manifest);
    explain_made(p, lvlm_import_planned(c->import).ledger);
    explain_words(p, c);
    return 0;
}

/* ---- the command ----------------------------------------------------------------- */

typedef struct composition {
    const args *args;
    const char *spec, *model;
    lvlm_compose compose;
} composition;

static int plan(void *user, lvlm_import **import, lvlm_import_options *chosen,
                lvlm_error *err)
{
    composition *const c = user;
    const int rc = lvlm_compose_plan(&c->compose, c->spec, chosen, err);
    *import = c->compose.import;
    return rc;
}

static int print(void *user, const lvlm_import *import, const char *root,
                 double seconds, lvlm_error *err)
{
    composition *const c = user;
    const lvlm_common_args *const a = &c->args->common;
    lvlm_printer p;
    lvlm_printer_open(&p, a->json, !a->quiet);
    int rc = c->args->explain ? explain(&p, &c->compose, err) : 0;
    if (rc == 0) {
        account_totals(&p, import, c->model, root, seconds);
        rc = lvlm_printer_close(&p, lvlm_import_planned(import).options->notes, err);
    }
    lvlm_printer_drop(&p);
    return rc;
}

static int draw(void *user, lvlm_outfile *file, lvlm_error *err)
{
    composition *const c = user;
    TRY(lvlm_compose_digest_files(&c->compose, err));
    return lvlm_compose_draw(file, &c->compose, err);
}

static int run(const void *arguments, const lvlm_operands *operands, lvlm_notes *notes,
               lvlm_error *err)
{
    composition c = { .args = arguments,
                      .spec = operands->at[0],
                      .model = operands->at[1] };
    const account_job job = { .common = &c.args->common,
                              .dry_run = c.args->explain,
                              .force = c.args->force,
                              .label = "composing",
                              .model = c.model,
                              .other = c.spec,
                              .drawing = c.args->svg,
                              .draw = draw,
                              .plan = plan,
                              .print = print,
                              .user = &c };
    lvlm_import *import = NULL;
    const int rc = account_run(&job, &import, notes, err);
    lvlm_compose_free(&c.compose);
    return rc;
}

static int check(const void *arguments, const lvlm_operands *operands, lvlm_error *err)
{
    const args *const a = arguments;
    FAIL_IF(!a->explain && operands->n < 2, err, LVLM_EUSAGE,
            "MODEL is needed, the file to write, or --explain");
    return 0;
}

const lvlm_command command_compose = {
    "compose",
    "SPEC.json MODEL",
    1,
    2,
    "a new model from a vision tower, a connector and a language model",
    "SPEC.json names the parts: a vision tower (CLIP, SigLIP) and a language model\n"
    "(Llama, Qwen2, Gemma, Gemma 2), each a directory of its own, a whole LLaVA or a\n"
    "native file; which state of the tower the features are; and the connector\n"
    "between them, its weights in a file or how they are made:\n"
    "\n"
    "  { \"format\": \"lvlm-compose-1\",\n"
    "    \"vision\": { \"source\": \"clip-vit-large-patch14-336\", \"layer\": -2,\n"
    "                \"rows\": \"patches\" },\n"
    "    \"connector\": { \"kind\": \"mlp\", \"layers\": 2, \"activation\": \"gelu\",\n"
    "                   \"init\": { \"weights\": \"normal:0.02\", \"seed\": 1 } },\n"
    "    \"text\": { \"source\": \"vicuna-7b-v1.5\" },\n"
    "    \"image_token\": { \"id\": \"next\", \"new_rows\": \"mean\" } }\n"
    "\n"
    "The connector is \"linear\" or \"mlp\", which LLaVA has too, a \"merger\" of\n"
    "squares of patches (\"merge\": 2), or a \"resampler\" (\"queries\": 64,\n"
    "\"heads\": 8). An \"mlp\" has 1 to 8 \"layers\", LLaVA's has 2, and between\n"
    "them an \"activation\": gelu, gelu_pytorch_tanh, quick_gelu, silu, relu, linear.\n"
    "An image token \"next\" is the tokenizer's own; if it has none, one is added to\n"
    "it and to the word tables.\n"
    "Pictures are prepared as the tower's processor does it, conversations as the\n"
    "language model's chat template says, or the one that \"template\" names: llava,\n"
    "vicuna_v1, chatml or gemma.\n"
    "Paths are relative to the spec. Every size is checked against the one that it\n"
    "has to meet; an error names both, whose they are, and what makes them meet.\n"
    "What is made is recorded as made. MODEL is a model like any other; native2hf\n"
    "--layout hub writes one that LLaVA has a form for as\n"
    "LlavaForConditionalGeneration reads it.\n"
    "\n"
    "  lvlm-convert compose spec.json --explain --svg model.svg\n"
    "  lvlm-convert compose spec.json model.lvlm",
    options,
    sizeof(args),
    run,
    .check = check,
};
