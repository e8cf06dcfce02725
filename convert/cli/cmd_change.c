/* cmd_change.c - lvlm-convert change MODEL OUT */
#include <inttypes.h>

#include "convert/change/change.h"
#include "convert/cli/account.h"
#include "convert/cli/commands.h"
#include "formats/cli/outputs.h"
#include "formats/cli/printer.h"
#include "formats/cli/program.h"

typedef struct args {
    lvlm_common_args common;
    uint64_t vocab;
    const char *new_rows;
    uint64_t seed;
    uint64_t resolution;
    const char *text, *vision;
    bool force;
} args;

static const lvlm_option options[] = {
    { "vocab", "N", LVLM_OPTION_COUNT, offsetof(args, vocab),
      "rows of the word table and of an output layer that is not tied to it" },
    { "new-rows", "mean|zeros|normal:STD", LVLM_OPTION_TEXT, offsetof(args, new_rows),
      "what rows that are added hold (default: mean, of those before)" },
    { "seed", "N", LVLM_OPTION_COUNT, offsetof(args, seed),
      "seed of --new-rows normal:STD (default 0)" },
    { "resolution", "S", LVLM_OPTION_COUNT, offsetof(args, resolution),
      "pixels of a picture's side; tables of positions are interpolated" },
    { "text", "SRC", LVLM_OPTION_TEXT, offsetof(args, text),
      "take the language model from SRC" },
    { "vision", "SRC", LVLM_OPTION_TEXT, offsetof(args, vision),
      "take the vision tower from SRC" },
    { "force", NULL, LVLM_OPTION_FLAG, offsetof(args, force), "overwrite OUT" },
    LVLM_OPTION_END,
};

/* ---- the result ------------------------------------------------------------------ */

/* Two numbers, before and after, if they differ. */
static void print_pair(lvlm_printer *p, const char *key, const char *unit,
                       const uint64_t pair[2])
{
    if (pair[0] == pair[1]) return;
    lvlm_printer_line(p, "  %-10s %" PRIu64 " to %" PRIu64 " %s\n", key, pair[0],
                      pair[1], unit);
    lvlm_printer_object(p, key);
    lvlm_printer_count(p, "from", pair[0]);
    lvlm_printer_count(p, "to", pair[1]);
    lvlm_printer_end(p);
}

static void print_parts(lvlm_printer *p, const lvlm_change *c)
{
    lvlm_printer_list(p, "exchanged");
    for (size_t i = 0; i < LVLM_CHANGE_PARTS; i++) {
        const lvlm_change_part *const part = &c->parts[i];
        if (part->from == NULL) continue;
        lvlm_printer_line(p, "  %-10s %zu tensors of %s\n", part->role, part->n_tensors,
                          lvlm_shown(part->from->path));
        lvlm_printer_object(p, NULL);
        lvlm_printer_text(p, "part", part->role);
        lvlm_printer_text(p, "source", part->from->path);
        lvlm_printer_count(p, "n_tensors", part->n_tensors);
        lvlm_printer_end(p);
    }
    lvlm_printer_end(p);
}

static int print_result(const lvlm_change *c, const lvlm_common_args *a,
                        const char *out, const char *root, double seconds,
                        const lvlm_notes *notes, lvlm_error *err)
{
    lvlm_printer p;
    lvlm_printer_open(&p, a->json, !a->quiet);
    lvlm_printer_line(&p,
                      "%s: %s, %zu tensor%s of another shape, root digest %.16s...\n",
                      out, c->to.manifest.family->title, c->to.n_reshaped,
                      c->to.n_reshaped == 1 ? "" : "s", root);
    print_pair(&p, "vocabulary", "rows", c->to.rows);
    print_pair(&p, "resolution", "pixels", c->to.pixels);
    print_parts(&p, c);
    lvlm_printer_count(&p, "n_reshaped", c->to.n_reshaped);
    lvlm_printer_list(&p, "files");
    for (size_t i = 0; i < c->to.n_files; i++) {
        lvlm_printer_line(&p, "  %-10s %s\n", "edited", c->to.files[i].name);
        lvlm_printer_text(&p, NULL, c->to.files[i].name);
    }
    lvlm_printer_end(&p);
    lvlm_printer_text(&p, "root", root);
    lvlm_printer_seconds(&p, "seconds", seconds);
    return lvlm_printer_close(&p, notes, err);
}

/* ---- the command ----------------------------------------------------------------- */

static int read_options(lvlm_change_options *out, const args *a, lvlm_notes *notes,
                        lvlm_error *err)
{
    *out = (lvlm_change_options){ .vocab = a->vocab,
                                  .resolution = a->resolution,
                                  .text = a->text,
                                  .vision = a->vision,
                                  .notes = notes };
    return lvlm_growth_parse(&out->new_rows, "--new-rows",
                             a->new_rows != NULL ? a->new_rows : "mean", a->seed, err);
}

/* LVLM_EUSAGE if OUT is one of the files that it is made of. */
static int spare(const lvlm_outputs *outputs, const lvlm_change *c, lvlm_error *err)
{
    TRY(account_spare(outputs, c->to.model, err));
    for (size_t i = 0; i < LVLM_CHANGE_PARTS; i++)
        if (c->parts[i].from != NULL)
            TRY(account_spare(outputs, c->parts[i].from, err));
    return 0;
}

static int write(lvlm_change *c, const args *a, lvlm_outfile *out, lvlm_hex_digest root,
                 lvlm_error *err)
{
    lvlm_progress bar;
    lvlm_progress_init(&bar, "changing", a->common.quiet);
    const lvlm_run run = { lvlm_thread_count(&a->common), lvlm_progress_bytes, &bar };
    const int rc = lvlm_change_execute(c, out, &run, root, err);
    lvlm_progress_finish(&bar);
    return rc;
}

static int run(const void *arguments, const lvlm_operands *operands, lvlm_notes *notes,
               lvlm_error *err)
{
    const args *const a = arguments;
    const char *const *const at = operands->at;
    const double started = lvlm_seconds();
    lvlm_outputs outputs = { .force = a->force };
    lvlm_outfile *out = NULL;
    lvlm_change_options chosen;
    lvlm_change change = { 0 };
    lvlm_hex_digest root;
    int rc;
    if ((rc = read_options(&chosen, a, notes, err)) == 0 &&
        (rc = lvlm_outputs_file(&outputs, &out, at[1], err)) == 0 &&
        (rc = lvlm_outputs_spare(&outputs, at, 1, err)) == 0 &&
        (rc = lvlm_change_plan(&change, at[0], &chosen, err)) == 0 &&
        (rc = spare(&outputs, &change, err)) == 0)
        rc = write(&change, a, out, root, err);
    if (rc == 0)
        rc = print_result(&change, &a->common, at[1], root, lvlm_seconds() - started,
                          notes, err);
    lvlm_outputs_close(&outputs);
    lvlm_change_free(&change);
    return rc;
}

static int check(const void *arguments, const lvlm_operands *operands, lvlm_error *err)
{
    const args *const a = arguments;
    lvlm_change_options chosen;
    (void)operands;
    TRY(read_options(&chosen, a, NULL, err));
    FAIL_IF(a->vocab == 0 && a->resolution == 0 && a->text == NULL && a->vision == NULL,
            err, LVLM_EUSAGE,
            "nothing to change: --vocab, --resolution, --text or --vision is needed");
    FAIL_IF(a->new_rows != NULL && a->vocab == 0, err, LVLM_EUSAGE,
            "--new-rows decides nothing without --vocab");
    FAIL_IF(a->seed > 0 && chosen.new_rows.kind != LVLM_INIT_NORMAL, err, LVLM_EUSAGE,
            "--seed decides nothing without --new-rows normal:STD");
    return 0;
}

const lvlm_command command_change = {
    "change",
    "MODEL OUT",
    2,
    2,
    "vocabulary, picture resolution, language model or tower of a native file",
    "OUT is MODEL with the changes that are asked for, all at once if there are more;\n"
    "MODEL stays as it is. Every other tensor is copied and compared with its digest.\n"
    "What was done is in the provenance, which inspect shows.\n"
    "\n"
    "--vocab N gives the word tables N rows: new ones after those that are there, or\n"
    "the first N, which is refused if that cuts off a token of the tokenizer. Its\n"
    "files stay: add tokens to them, with ids from the old number of rows on.\n"
    "--resolution S makes the tower take pictures of S x S pixels. Its table of\n"
    "positions is interpolated (bicubic, a = -0.75, as transformers does; a class\n"
    "row is kept), and the files that say how pictures are resized follow. Train the\n"
    "tower for some steps afterwards: it has not seen positions this close. Qwen2-VL\n"
    "and Qwen2.5-VL take every size as they are.\n"
    "--text SRC, --vision SRC exchange a part for one of the same shape, such as a\n"
    "fine-tune of it: SRC is its directory by itself (a Llama, a CLIP), that of a\n"
    "whole model of the family, or a native file. Every tensor and every setting has\n"
    "to be what MODEL has; the first that is not is named, got and expected. Word\n"
    "tables with other rows are taken if --vocab says how many there are to be, and a\n"
    "tower for other pictures if --resolution names their size.\n"
    "\n"
    "Where shapes have changed, native2hf writes safetensors in place of the files\n"
    "that came in. --layout hub writes what transformers loads.\n"
    "\n"
    "  lvlm-convert change model.lvlm grown.lvlm --vocab 32128 --new-rows normal:0.02\n"
    "  lvlm-convert change model.lvlm large.lvlm --resolution 448\n"
    "  lvlm-convert change model.lvlm tuned.lvlm --text vicuna-tuned",
    options,
    sizeof(args),
    run,
    .check = check,
};
