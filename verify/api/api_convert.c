/* api_convert.c - checkpoints of lvlm.h: convert/ with an output to open and close. */
#include <stdio.h>

#include "convert/export.h"
#include "convert/import.h"
#include "formats/base/outdir.h"
#include "formats/base/outfile.h"
#include "formats/base/processors.h"
#include "verify/api/api.h"

void api_notes_tell(api_notes *notes)
{
    lvlm_notes *const list = &notes->list;
    for (; list->n_printed < list->n; list->n_printed++)
        if (notes->take != NULL) notes->take(notes->user, list->at[list->n_printed]);
}

void api_notes_end(api_notes *notes)
{
    api_notes_tell(notes);
    lvlm_notes_free(&notes->list);
}

size_t api_threads(size_t asked)
{
    return asked > 0 ? asked : lvlm_processors();
}

/* ---- to a native file ----------------------------------------------------------- */

/* The first problem is the error; all of them are notes. */
typedef struct problems {
    lvlm_notes *notes;
    char first[LVLM_ERROR_BYTES];
} problems;

static void take_problem(void *user, const char *text)
{
    problems *const p = user;
    if (*p->first == '\0') snprintf(p->first, sizeof p->first, "%s", text);
    (void)!lvlm_notes_add(p->notes, NULL, "%s", text);
}

int api_import(lvlm_import **import, const char *source, lvlm_outfile *file,
               const lvlm_import_options *chosen, size_t threads, lvlm_hex_digest root,
               lvlm_error *err)
{
    problems found = { chosen->notes, "" };
    lvlm_import_options options = *chosen;
    const lvlm_run run = { .threads = threads };
    options.problem = take_problem;
    options.problem_user = &found;
    const int rc = lvlm_import_plan(import, source, &options, err);
    if (rc < 0 && *found.first != '\0')
        return lvlm_fail(err, (lvlm_code)rc, "%s: %s", source, found.first);
    TRY(rc);
    return lvlm_import_execute(*import, file, &run, root, err);
}

int lvlm_convert(const char *source, const char *model,
                 const lvlm_convert_options *options, lvlm_error *err)
{
    static const lvlm_convert_options plain;
    const lvlm_convert_options *const o = options != NULL ? options : &plain;
    api_notes notes = { LVLM_NOTES_INIT, o->note, o->user };
    const lvlm_import_options chosen = { .notes = &notes.list };
    lvlm_hex_digest root;
    lvlm_import *import = NULL;
    lvlm_outfile *file = NULL;
    int rc = lvlm_outfile_open(&file, model, o->overwrite, err);
    if (rc == 0)
        rc = api_import(&import, source, file, &chosen, api_threads(o->threads), root,
                        err);
    lvlm_import_free(import);
    if (file != NULL) lvlm_outfile_close(file);
    api_notes_end(&notes);
    return rc;
}

/* ---- to a folder ---------------------------------------------------------------- */

int lvlm_convert_back(const char *model, const char *folder,
                      const lvlm_convert_options *options, lvlm_error *err)
{
    static const lvlm_convert_options plain;
    const lvlm_convert_options *const o = options != NULL ? options : &plain;
    api_notes notes = { LVLM_NOTES_INIT, o->note, o->user };
    const lvlm_export_options chosen = { .source = true, .notes = &notes.list };
    const lvlm_run run = { .threads = api_threads(o->threads) };
    lvlm_export *ex = NULL;
    lvlm_outdir *dir = NULL;
    int rc = lvlm_outdir_open(&dir, folder, o->overwrite, &lvlm_model_set, err);
    if (rc == 0) rc = lvlm_export_plan(&ex, model, &chosen, err);
    if (rc == 0) rc = lvlm_export_execute(ex, dir, &run, err);
    lvlm_export_free(ex);
    if (dir != NULL) lvlm_outdir_close(dir);
    api_notes_end(&notes);
    return rc;
}
