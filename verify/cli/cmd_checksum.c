/* cmd_checksum.c - lvlm-verify checksum MODEL */
#include <stdio.h>

#include "formats/base/json.h"
#include "formats/cli/program.h"
#include "formats/native/native.h"
#include "verify/checksum.h"
#include "verify/cli/verify_commands.h"

static const lvlm_option options[] = { LVLM_OPTION_END };

/* One corrupt part, told as it is found. */
static void tell(void *user, const char *name, const char *recorded,
                 const char *computed)
{
    cJSON *list = user;
    if (list != NULL) {
        cJSON *row = cJSON_CreateObject();
        cJSON_AddStringToObject(row, "name", name);
        cJSON_AddStringToObject(row, "recorded", recorded);
        cJSON_AddStringToObject(row, "computed", computed);
        cJSON_AddItemToArray(list, row);
        return;
    }
    printf("%s %s\n  recorded %s\n  computed %s\n",
           lvlm_coloured(stdout, LVLM_RED, "corrupt:"), lvlm_shown(name),
           lvlm_shown(recorded), computed);
}

static int print_result(const lvlm_checkpoint *cp, cJSON *list, size_t n_corrupt,
                        lvlm_error *err)
{
    const char *root = lvlm_checkpoint_meta(cp, "root");
    if (list == NULL) {
        size_t n = 0;
        for (size_t i = 0; i < cp->n_tensors; i++)
            n += lvlm_native_is_model(&cp->tensors[i]);
        printf("%s: %zu tensors, %zu others and the header, %zu corrupt; root digest "
               "%s\n",
               cp->path, n, cp->n_tensors - n, n_corrupt, root);
        return 0;
    }
    cJSON *json = lvlm_json_document();
    cJSON_AddBoolToObject(json, "passed", n_corrupt == 0);
    cJSON_AddNumberToObject(json, "n_tensors", (double)cp->n_tensors);
    cJSON_AddStringToObject(json, "root", root);
    cJSON_AddItemToObject(json, "corrupt", list);
    return lvlm_print_json(json, err);
}

/* The file is ours and cannot be opened: that is what this command is asked. */
static int print_damage(const lvlm_common_args *a, const lvlm_error *damage)
{
    lvlm_error err;
    if (!a->json) {
        printf("%s %s\n", lvlm_coloured(stdout, LVLM_RED, "corrupt:"),
               lvlm_shown(damage->text));
        return lvlm_exit_status(LVLM_ECHECK);
    }
    cJSON *json = lvlm_json_document();
    cJSON_AddBoolToObject(json, "passed", false);
    cJSON *row = cJSON_CreateObject();
    cJSON_AddStringToObject(row, "name", "header");
    cJSON_AddStringToObject(row, "problem", damage->text);
    cJSON_AddItemToArray(cJSON_AddArrayToObject(json, "corrupt"), row);
    if (lvlm_print_json(json, &err) < 0) return lvlm_report(PROGRAM, &err);
    return lvlm_exit_status(LVLM_ECHECK);
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

static int check(const lvlm_checkpoint *cp, const lvlm_common_args *a)
{
    lvlm_progress bar;
    lvlm_error err;
    size_t n_corrupt = 0;
    cJSON *list = a->json ? cJSON_CreateArray() : NULL;
    lvlm_progress_init(&bar, "checking", a->quiet);
    const lvlm_run run = { lvlm_thread_count(a), lvlm_progress_bytes, &bar };
    int rc = lvlm_checksum(&n_corrupt, cp, tell, list, &run, &err);
    lvlm_progress_finish(&bar);
    if (rc == 0)
        rc = print_result(cp, list, n_corrupt, &err);
    else
        lvlm_json_free(list);
    if (rc < 0) return lvlm_report(PROGRAM, &err);
    return lvlm_exit_status(n_corrupt > 0 ? LVLM_ECHECK : LVLM_OK);
}

static int run(const void *arguments, const lvlm_operands *operands)
{
    const lvlm_common_args *a = arguments;
    const char *path = operands->at[0];
    lvlm_checkpoint *cp = NULL;
    lvlm_error err;
    const int rc = open_native(&cp, path, &err);
    const bool damaged = rc == LVLM_EFORMAT && lvlm_native_claims(path);
    const int status = rc == 0   ? check(cp, a)
                       : damaged ? print_damage(a, &err)
                                 : lvlm_report(PROGRAM, &err);
    lvlm_checkpoint_close(cp);
    return status;
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
