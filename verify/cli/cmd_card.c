/* cmd_card.c - lvlm-verify card CARD MODEL [GOLDEN...] */
#include <stdio.h>
#include <string.h>

#include "formats/base/infile.h"
#include "formats/base/json.h"
#include "formats/base/text.h"
#include "formats/cli/cleanup.h"
#include "formats/cli/program.h"
#include "verify/api/lvlm.h"
#include "verify/cli/verify_commands.h"
#include "verify/report/card.h"
#include "verify/report/report.h"

typedef struct args {
    verify_proof_args proof; /* what the card says of the replays */
    const char *rederive;
} args;

static const lvlm_option options[] = {
    { "rederive", "SRC", LVLM_OPTION_TEXT, offsetof(args, rederive),
      "also convert SRC again, as the file says that it was, and compare bits; needs "
      "as much space beside CARD as MODEL takes" },
    { "tolerance", "FILE.json", LVLM_OPTION_TEXT, offsetof(args, proof.tolerance),
      "the bands of a card that was made with some" },
    LVLM_OPTION_END,
};

/* One check of a card. */
typedef struct checking {
    const args *args;
    const lvlm_operands *operands;
    lvlm_notes *notes;
    cJSON *card, *now;
    lvlm_arena arena;
    const char *found[LVLM_MAX_OPERANDS]; /* recordings that are here */
    const char **missing;                 /* names of the others */
    size_t n_found, n_missing;
    lvlm_hex_digest digests[LVLM_MAX_OPERANDS]; /* of operands; "": not a file */
    lvlm_audit audit;
    bool has_audit;
    const char **disagreements;
    size_t n, room;
    bool failed;           /* out of memory */
    const char *rederived; /* in a sentence; NULL: not asked for */
    bool derives;
} checking;

/* ---- recordings ----------------------------------------------------------------- */

/* "": there is no such file. */
static void digest_file(lvlm_hex_digest hex, const char *path)
{
    lvlm_infile *file = NULL;
    hex[0] = '\0';
    if (!lvlm_path_exists(path) || lvlm_path_is_directory(path) ||
        lvlm_infile_map(&file, path, NULL) < 0)
        return;
    if (lvlm_digest_bytes(hex, file->bytes, (size_t)file->n_bytes, NULL) < 0)
        hex[0] = '\0';
    lvlm_infile_close(file);
}

/* A file of that name in the folder of `beside`. */
static const char *neighbour(checking *c, const char *beside, const char *name)
{
    const int n = (int)(lvlm_path_base(beside) - beside);
    return lvlm_arena_printf(&c->arena, "%.*s%s", n, beside, name);
}

/* By its digest: among the operands, beside the card, beside the model. */
static const char *find(checking *c, const char *name, const char *sha256)
{
    const char *const *const at = c->operands->at;
    if (*sha256 == '\0') return NULL;
    for (size_t i = 2; i < c->operands->n; i++)
        if (strcmp(c->digests[i], sha256) == 0) return at[i];
    for (size_t i = 0; i < 2; i++) {
        const char *const path = neighbour(c, at[i], name);
        lvlm_hex_digest hex;
        if (path == NULL) continue;
        digest_file(hex, path);
        if (strcmp(hex, sha256) == 0) return path;
    }
    return NULL;
}

/* Those of the card that are here; an operand that is not one of them is an error. */
static int find_goldens(checking *c, lvlm_error *err)
{
    const char *name, *sha256;
    const size_t n = lvlm_json_count(lvlm_json_get(c->card, "goldens"));
    c->missing = lvlm_arena_alloc(&c->arena, n + 1, sizeof *c->missing);
    if (c->missing == NULL) return lvlm_fail_memory(err);
    for (size_t i = 2; i < c->operands->n; i++)
        digest_file(c->digests[i], c->operands->at[i]);
    for (size_t i = 0; lvlm_card_golden(&name, &sha256, c->card, i); i++) {
        const char *const path = find(c, name, sha256);
        if (path == NULL) {
            c->missing[c->n_missing++] = name;
            continue;
        }
        FAIL_IF(c->n_found == LVLM_MAX_OPERANDS, err, LVLM_EFORMAT,
                "%s: more than %d recordings", c->operands->at[0], LVLM_MAX_OPERANDS);
        c->found[c->n_found++] = path;
    }
    for (size_t i = 2; i < c->operands->n; i++) {
        bool known = false;
        for (size_t k = 0; k < c->n_found; k++)
            known = known || c->found[k] == c->operands->at[i];
        FAIL_IF(!known, err, LVLM_ECHECK,
                "%s: is not one of the recordings of %s, by its digest",
                c->operands->at[i], c->operands->at[0]);
    }
    return 0;
}

/* ---- the check ------------------------------------------------------------------ */

static void disagree(void *user, const char *text)
{
    checking *const c = user;
    const char **const list =
        lvlm_arena_room(&c->arena, c->disagreements, c->n, &c->room, sizeof *list);
    char *const copy = lvlm_arena_strndup(&c->arena, text, strlen(text));
    if (list == NULL || copy == NULL) {
        c->failed = true;
        return;
    }
    c->disagreements = list;
    list[c->n++] = copy;
}

/* Replay as it was done for the card. */
static int read_options(verify_proof_args *out, const checking *c, lvlm_error *err)
{
    const cJSON *const o = lvlm_json_get(c->card, "options");
    *out = c->args->proof;
    out->grads = cJSON_IsTrue(lvlm_json_get(o, "grads"));
    out->compute = lvlm_json_string(lvlm_json_get(o, "compute"));
    out->reference = lvlm_json_string(lvlm_json_get(o, "reference"));
    FAIL_IF(out->compute != NULL && !lvlm_is_listed(LVLM_COMPUTE_NAMES, out->compute),
            err, LVLM_EFORMAT,
            "%s: its compute is '%.40s', expected " LVLM_COMPUTE_NAMES,
            c->operands->at[0], out->compute);
    FAIL_IF((lvlm_json_get(o, "tolerance") != NULL) != (out->tolerance != NULL), err,
            LVLM_EUSAGE, "%s: was made %s --tolerance", c->operands->at[0],
            out->tolerance != NULL ? "without" : "with");
    return 0;
}

static int audit(checking *c, lvlm_error *err)
{
    verify_proof_args a;
    verify_watch watch;
    TRY(read_options(&a, c, err));
    const lvlm_audit_options o = verify_audit_begin(&watch, &a, c->notes);
    const int rc =
        lvlm_audit_run(&c->audit, c->operands->at[1], c->found, c->n_found, &o, err);
    verify_watch_end(&watch, c->notes);
    TRY(rc);
    c->has_audit = true;
    TRY(lvlm_card_make(&c->now, &c->audit, err));
    (void)lvlm_card_compare(c->card, c->now, disagree, c);
    return c->failed ? lvlm_fail_memory(err) : 0;
}

static void take_note(void *user, const char *sentence)
{
    (void)!lvlm_notes_add(user, NULL, "%s", sentence);
}

/* Convert again, to a file beside the card that is removed afterwards. */
static int rederive(checking *c, lvlm_error *err)
{
    static const char *const words[] = {
        [LVLM_REDERIVED_FILE] = "the source gives the same file, bit for bit",
        [LVLM_REDERIVED_CONTENTS] =
            ("the source gives the same tensors, settings and account, bit for bit; "
             "only the provenance differs: another version converted it"),
        [LVLM_REDERIVED_BASE] =
            "the source gives the weights that its history began with, bit for bit",
    };
    const char *const scratch =
        lvlm_arena_printf(&c->arena, "%s.rederived", c->operands->at[0]);
    const lvlm_convert_options o = { .threads =
                                         lvlm_thread_count(&c->args->proof.common),
                                     .note = take_note,
                                     .user = c->notes };
    lvlm_rederived found = LVLM_REDERIVED_FILE;
    if (scratch == NULL) return lvlm_fail_memory(err);
    const int handle = lvlm_cleanup_add(scratch);
    const int rc =
        lvlm_rederive(&found, c->args->rederive, c->operands->at[1], scratch, &o, err);
    lvlm_cleanup_drop(handle);
    lvlm_print_notes(PROGRAM, c->notes);
    c->derives = rc == 0;
    if (rc == 0) {
        c->rederived = words[found];
    } else if (rc == LVLM_ECHECK) {
        c->rederived = lvlm_arena_strndup(&c->arena, err->text, strlen(err->text));
        if (c->rederived == NULL) return lvlm_fail_memory(err);
    }
    return rc == LVLM_ECHECK ? 0 : rc;
}

/* ---- the result ----------------------------------------------------------------- */

static bool is_passed(const checking *c)
{
    return c->n == 0 && (c->rederived == NULL || c->derives) &&
           cJSON_IsTrue(lvlm_json_get(c->card, "passed"));
}

/* "agrees with model.lvlm; 1 of 2 recordings is not here". */
static const char *verdict_of(checking *c)
{
    const size_t missing = c->n_missing, all = c->n_found + missing;
    const bool passed = cJSON_IsTrue(lvlm_json_get(c->card, "passed"));
    const char *const text = lvlm_arena_printf(
        &c->arena, "%s with %s%s%s", c->n == 0 ? "agrees" : "does not agree",
        c->operands->at[1],
        c->rederived != NULL && !c->derives ? ", which is not what the source gives"
                                            : "",
        passed ? "" : ", and says that not all of its checks passed");
    if (text == NULL || missing == 0) return text != NULL ? text : "";
    const char *const whole = lvlm_arena_printf(
        &c->arena, "%s; %zu of %zu recording%s %s not here", text, missing, all,
        all == 1 ? "" : "s", missing == 1 ? "is" : "are");
    return whole != NULL ? whole : "";
}

static void print_missing(lvlm_printer *p, const checking *c)
{
    lvlm_printer_list(p, "not_found");
    for (size_t i = 0; i < c->n_missing; i++) {
        lvlm_printer_line(p,
                          "replay       not tried  %s: there is no file with its "
                          "digest beside the card or the model, or among the "
                          "operands\n",
                          lvlm_shown(c->missing[i]));
        lvlm_printer_text(p, NULL, c->missing[i]);
    }
    lvlm_printer_end(p);
}

static int print_result(checking *c, lvlm_error *err)
{
    lvlm_printer p;
    const char *const verdict = verdict_of(c);
    lvlm_printer_open(&p, c->args->proof.common.json, true);
    lvlm_printer_flag(&p, "passed", is_passed(c));
    lvlm_printer_text(&p, "verdict", verdict);
    lvlm_printer_text(&p, "card", c->operands->at[0]);
    lvlm_printer_text(&p, "model", c->operands->at[1]);
    verify_print_checks(&p, &c->audit);
    print_missing(&p, c);
    lvlm_printer_list(&p, "disagreements");
    for (size_t i = 0; i < c->n; i++) {
        lvlm_printer_line(&p, "%s %s\n", lvlm_coloured(stdout, LVLM_RED, "disagrees:"),
                          lvlm_shown(c->disagreements[i]));
        lvlm_printer_text(&p, NULL, c->disagreements[i]);
    }
    lvlm_printer_end(&p);
    if (c->rederived != NULL) {
        lvlm_printer_line(&p, "rederived    %s  %s\n",
                          lvlm_coloured(stdout, c->derives ? LVLM_GREEN : LVLM_RED,
                                        c->derives ? "passed" : "failed"),
                          lvlm_shown(c->rederived));
        lvlm_printer_text(&p, "rederived", c->rederived);
    }
    lvlm_printer_line(&p, "%s: %s\n", lvlm_shown(c->operands->at[0]),
                      lvlm_shown(verdict));
    return lvlm_printer_close(&p, c->notes, err);
}

static int check(checking *c, lvlm_error *err)
{
    TRY(lvlm_card_read(&c->card, c->operands->at[0], err));
    TRY(find_goldens(c, err));
    TRY(audit(c, err));
    if (c->args->rederive != NULL) TRY(rederive(c, err));
    TRY(print_result(c, err));
    return is_passed(c) ? 0 : 1;
}

static int run(const void *arguments, const lvlm_operands *operands, lvlm_notes *notes,
               lvlm_error *err)
{
    checking c = { .args = arguments, .operands = operands, .notes = notes };
    const int rc = check(&c, err);
    if (c.has_audit) lvlm_audit_free(&c.audit);
    lvlm_json_free(c.card);
    lvlm_json_free(c.now);
    lvlm_arena_free(&c.arena);
    return rc;
}

const lvlm_command command_card = {
    "card",
    "CARD MODEL [GOLDEN...]",
    2,
    LVLM_MAX_OPERANDS,
    "check an evidence card again",
    "CARD is what lvlm-verify all --card wrote. Everything that it says of MODEL is\n"
    "made again and compared: digests, account, projections, every check, and the\n"
    "replay of each recording that is found by its digest: among the operands, beside\n"
    "CARD, beside MODEL. Recordings that are not found are named. --rederive converts\n"
    "the source again and compares bits: with the whole file; of a trained or merged\n"
    "model with the weights that its history began with. Exit 0 when the card agrees\n"
    "and all of its checks passed, else 1.\n"
    "\n"
    "  lvlm-verify card model.json model.lvlm --rederive hf-model",
    options,
    sizeof(args),
    run,
};
