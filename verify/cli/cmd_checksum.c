/* cmd_checksum.c - lvlm-verify checksum MODEL */
#include <stdio.h>

#include "formats/cli/printer.h"
#include "formats/cli/program.h"
#include "formats/native/native.h"
#include "verify/checksum.h"
#include "verify/cli/verify_commands.h"

static const lvlm_option options[] = { LVLM_OPTION_END };

/* One corrupt tensor; `rows` is a list. */
static void print_corrupt(void *rows, const char *name, const char *recorded,
                          const char *computed)
{
    lvlm_printer_line(rows, "%s %s\n  recorded %s\n  computed %s\n",
                      lvlm_coloured(stdout, LVLM_RED, "corrupt:"), lvlm_shown(name),
                      lvlm_shown(recorded), computed);
    lvlm_printer_object(rows, NULL);
    lvlm_printer_text(rows, "name", name);
    lvlm_printer_text(rows, "recorded", recorded);
    lvlm_printer_text(rows, "computed", computed);
    lvlm_printer_end(rows);
}

static int print_result(const lvlm_checkpoint *cp, const lvlm_printer *rows,
                        size_t n_corrupt, lvlm_error *err)
{
    const char *const root = lvlm_checkpoint_meta(cp, "root");
    lvlm_printer p;
    size_t n = 0;
    for (size_t i = 0; i < cp->n_tensors; i++)
        n += lvlm_native_is_model(&cp->tensors[i]);
    lvlm_printer_open(&p, rows->json, true);
    lvlm_printer_line(&p,
                      "%s: %zu tensors, %zu others and the header, %zu corrupt; root "
                      "digest %s\n",
                      cp->path, n, cp->n_tensors - n, n_corrupt, root);
    lvlm_printer_flag(&p, "passed", n_corrupt == 0);
    lvlm_printer_count(&p, "n_tensors", cp->n_tensors);
    lvlm_printer_text(&p, "root", root);
    lvlm_printer_tree(&p, "corrupt", rows->at[0]);
    return lvlm_printer_close(&p, NULL, err);
}

/* The file is ours and cannot be opened: that is the result, not an error. */
static int print_damage(bool json, lvlm_error *err)
{
    const char *const damage = err->text;
    lvlm_printer p;
    lvlm_printer_open(&p, json, true);
    lvlm_printer_line(&p, "%s %s\n", lvlm_coloured(stdout, LVLM_RED, "corrupt:"),
                      lvlm_shown(damage));
    lvlm_printer_flag(&p, "passed", false);
    lvlm_printer_list(&p, "corrupt");
    lvlm_printer_object(&p, NULL);
    lvlm_printer_text(&p, "name", "header");
    lvlm_printer_text(&p, "problem", damage);
    lvlm_printer_end(&p);
    lvlm_printer_end(&p);
    TRY(lvlm_printer_close(&p, NULL, err));
    return 1;
}

static int open_native(lvlm_checkpoint **cp, const char *path, lvlm_error *err)
{
    TRY(lvlm_checkpoint_open(cp, path, NULL, err));
    FAIL_IF((*cp)->kind != LVLM_CHECKPOINT_NATIVE, err, LVLM_EFORMAT,
            "%s: not a native file%s", path,
            lvlm_native_claims(path) ? ", by what its header says"
                                     : "; only those carry digests");
    return 0;
}

static int check(const lvlm_checkpoint *cp, const lvlm_common_args *a, lvlm_error *err)
{
    lvlm_progress bar;
    size_t n_corrupt = 0;
    lvlm_printer rows;
    lvlm_printer_open_rows(&rows, a->json);
    lvlm_progress_init(&bar, "checking", a->quiet);
    const lvlm_run run = { lvlm_thread_count(a), lvlm_progress_bytes, &bar };
    int rc = lvlm_checksum(&n_corrupt, cp, print_corrupt, &rows, &run, err);
    lvlm_progress_finish(&bar);
    if (rc == 0) rc = print_result(cp, &rows, n_corrupt, err);
    lvlm_printer_drop(&rows);
    return rc < 0 ? rc : n_corrupt > 0;
}

static int run(const void *arguments, const lvlm_operands *operands, lvlm_notes *notes,
               lvlm_error *err)
{
    const lvlm_common_args *const a = arguments;
    const char *const path = operands->at[0];
    lvlm_checkpoint *cp = NULL;
    (void)notes;
    int rc = open_native(&cp, path, err);
    if (rc == 0)
        rc = check(cp, a, err);
    else if (rc == LVLM_EFORMAT && lvlm_native_claims(path))
        rc = print_damage(a->json, err);
    lvlm_checkpoint_close(cp);
    return rc;
}

const lvlm_command command_checksum = {
    "checksum",
    "MODEL",
    1,
    1,
    "every tensor and the header of a native file against the digests inside",
    "Reads every byte once. Names each tensor that is not what was written (exit 1).\n"
    "The root digest printed at the end covers the whole file: two files with the\n"
    "same one are the same.",
    options,
    sizeof(lvlm_common_args),
    run,
};
