/* cmd_calibrate.c - lvlm-verify calibrate MODEL GOLDEN... */
#include <math.h>
#include <stdio.h>

#include "formats/cli/printer.h"
#include "formats/cli/program.h"
#include "verify/cli/verify_commands.h"
#include "verify/replay/calibrate.h"
#include "verify/report/report.h"

static const lvlm_option options[] = {
    { "out", "FILE.json", LVLM_OPTION_TEXT, offsetof(verify_proof_args, out),
      "write the bands, for replay --tolerance; not if one is refused" },
    VERIFY_COMPUTE,
    VERIFY_REFERENCE("recordings say"),
    { "grads", NULL, LVLM_OPTION_FLAG, offsetof(verify_proof_args, grads),
      "bands for the recorded gradients too" },
    { "force", NULL, LVLM_OPTION_FLAG, offsetof(verify_proof_args, force),
      "overwrite FILE" },
    LVLM_OPTION_END,
};

static const char *number(char text[16], bool known, double x)
{
    (void)snprintf(text, 16, known ? "%.1e" : "-", x);
    return text;
}

static void print_stage(lvlm_printer *p, const lvlm_calibrated *e)
{
    char spread[16], planted[16];
    lvlm_printer_line(p, "%-24s %9s %9.1e %9s %9.1e%s\n", lvlm_shown(e->name),
                      number(spread, e->n_pairs > 0, e->spread), e->distance,
                      number(planted, !isnan(e->planted), e->planted), e->band,
                      e->refused ? "  REFUSED" : "");
    lvlm_printer_object(p, NULL);
    lvlm_printer_text(p, "name", e->name);
    lvlm_printer_count(p, "n_recordings", e->n);
    if (e->n_pairs > 0) lvlm_printer_number(p, "spread", e->spread);
    lvlm_printer_number(p, "distance", e->distance);
    if (!isnan(e->planted)) lvlm_printer_number(p, "planted", e->planted);
    lvlm_printer_number(p, "band", e->band);
    lvlm_printer_flag(p, "refused", e->refused);
    lvlm_printer_end(p);
}

static size_t count_pairs(const lvlm_calibration *c)
{
    size_t most = 0;
    for (size_t i = 0; i < c->n; i++)
        if (c->at[i].n_pairs > most) most = c->at[i].n_pairs;
    return most;
}

static int print_result(const lvlm_calibration *c, bool json, const lvlm_notes *notes,
                        lvlm_error *err)
{
    lvlm_printer p;
    lvlm_printer_open(&p, json, true);
    lvlm_printer_flag(&p, "passed", c->n_refused == 0);
    lvlm_printer_text(&p, "model", c->model);
    lvlm_printer_count(&p, "n_recordings", c->n_recordings);
    lvlm_printer_count(&p, "n_pairs", count_pairs(c));
    lvlm_printer_line(&p, "%-24s %9s %9s %9s %9s\n", "stage", "spread", "from ours",
                      "planted", "band");
    lvlm_printer_list(&p, "stages");
    for (size_t i = 0; i < c->n; i++) print_stage(&p, &c->at[i]);
    lvlm_printer_end(&p);
    if (c->has_logits) {
        lvlm_printer_line(&p, "divergence of logits at most %.1e, band %.1e\n", c->kl,
                          c->band_kl);
        lvlm_printer_number(&p, "max_kl", c->kl);
        lvlm_printer_number(&p, "band_kl", c->band_kl);
    }
    if (count_pairs(c) == 0)
        lvlm_printer_line(&p, "no two recordings have the same inputs: there is no "
                              "spread, bands follow from our own distance\n");
    lvlm_printer_line(&p, "%zu of %zu stages have a band that hides no planted error\n",
                      c->n - c->n_refused, c->n);
    return lvlm_printer_close(&p, notes, err);
}

static int save(lvlm_outfile *file, const lvlm_calibration *c, lvlm_error *err)
{
    lvlm_strbuf text = LVLM_STRBUF_INIT(LVLM_MAX_REPORT);
    if (file == NULL || c->n_refused > 0) return 0;
    lvlm_calibration_print(&text, c);
    return verify_save(file, &text, err);
}

static int calibrate(lvlm_calibration *out, const verify_proof_args *a,
                     const lvlm_operands *operands, lvlm_notes *notes, lvlm_error *err)
{
    verify_watch watch;
    const lvlm_replay_options o = verify_watch_begin(&watch, "replaying", a, notes);
    const int rc = lvlm_calibrate(out, operands->at[0], operands->at + 1,
                                  operands->n - 1, &o, err);
    verify_watch_end(&watch, notes);
    return rc;
}

static int run(const void *arguments, const lvlm_operands *operands, lvlm_notes *notes,
               lvlm_error *err)
{
    const verify_proof_args *const a = arguments;
    lvlm_outputs outputs = { .force = a->force };
    lvlm_outfile *file = NULL;
    lvlm_calibration c;
    int rc = lvlm_outputs_file(&outputs, &file, a->out, err);
    if (rc == 0) rc = lvlm_outputs_spare(&outputs, operands->at, operands->n, err);
    if (rc == 0 && (rc = calibrate(&c, a, operands, notes, err)) == 0) {
        rc = print_result(&c, a->common.json, notes, err);
        if (rc == 0) rc = save(file, &c, err);
        if (rc == 0 && c.n_refused > 0) rc = 1;
        lvlm_calibration_free(&c);
    }
    lvlm_outputs_close(&outputs);
    return rc;
}

const lvlm_command command_calibrate = {
    "calibrate",
    "MODEL GOLDEN...",
    2,
    LVLM_MAX_OPERANDS,
    "propose bands from repeated recordings",
    "GOLDENs are recordings of one model, best several of the same inputs: by other\n"
    "versions, machines or thread counts. For each stage the band is four times the\n"
    "larger of their spread and of their distance from our own computation (twice, of\n"
    "bf16 and f16). It is refused (exit 1) if it would hide an error: one matrix of\n"
    "the stage, rounded to 8 significant bits (to one, of bf16 and f16). Such errors\n"
    "are planted in memory, at the price of a forward each.\n"
    "\n"
    "  lvlm-verify calibrate model.lvlm a.safetensors b.safetensors --out bands.json\n"
    "  lvlm-verify replay model.lvlm c.safetensors --tolerance bands.json",
    options,
    sizeof(verify_proof_args),
    run,
};
