/* cmd_tokenize.c - lvlm-run tokenize: lines of text to lines of ids, and back. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "formats/base/json.h"
#include "formats/cli/program.h"
#include "formats/cli/terminal.h"
#include "formats/native/digests.h"
#include "runtime/cli/run_commands.h"
#include "runtime/prepare/tokenizer/tokenizer.h"

typedef struct tokenize_args {
    lvlm_common_args common;
    bool decode;
    bool null;
} tokenize_args;

// clang-format off
static const lvlm_option options[] = {
    { "decode", NULL, LVLM_OPTION_FLAG, offsetof(tokenize_args, decode),
      "the inverse: lines of ids, separated by spaces, to lines of text" },
    { "null", NULL, LVLM_OPTION_FLAG, offsetof(tokenize_args, null),
      "a text ends with a zero byte instead of a new line, and so may hold new lines" },
    LVLM_OPTION_END,
};
// clang-format on

static char end_of_text(const tokenize_args *args)
{
    return args->null ? '\0' : '\n';
}

/* Stdin up to the next `end`, without it; false: there is nothing more. */
static bool read_up_to(lvlm_strbuf *line, char end)
{
    int c = getchar();
    line->length = 0;
    if (c == EOF) return false;
    lvlm_strbuf_append(line, "", 0); /* never NULL */
    for (; c != EOF && c != end; c = getchar()) {
        const char byte = (char)c;
        lvlm_strbuf_append(line, &byte, 1);
    }
    return true;
}

static int parse_ids(lvlm_ids *ids, const lvlm_strbuf *line, lvlm_error *err)
{
    const char *at = line->text;
    ids->n = 0;
    for (at += strspn(at, " "); *at != '\0'; at += strspn(at, " ")) {
        char *end;
        errno = 0;
        const long long id = strtoll(at, &end, 10);
        FAIL_IF(end == at || errno != 0 || (*end != ' ' && *end != '\0'), err,
                LVLM_EFORMAT, "'%.*s' is not an id", (int)strcspn(at, " "), at);
        TRY(lvlm_ids_append(ids, id, err));
        at = end;
    }
    FAIL_IF(at != line->text + line->length, err, LVLM_EFORMAT, "a zero byte");
    return 0;
}

/* ---- what is said about it ------------------------------------------------------- */

static void print_ids(const lvlm_ids *ids)
{
    for (size_t i = 0; i < ids->n; i++)
        printf("%s%" PRId64, i > 0 ? " " : "", ids->at[i]);
    putchar('\n');
}

/* One entry per line: a list of ids, or a text. */
static int add_ids(cJSON *list, const lvlm_ids *ids, lvlm_error *err)
{
    cJSON *const row = cJSON_CreateArray();
    if (row == NULL || !cJSON_AddItemToArray(list, row)) return lvlm_fail_memory(err);
    for (size_t i = 0; i < ids->n; i++) {
        cJSON *const id = cJSON_CreateNumber((double)ids->at[i]);
        if (id == NULL || !cJSON_AddItemToArray(row, id)) return lvlm_fail_memory(err);
    }
    return 0;
}

static int add_text(cJSON *list, const lvlm_strbuf *text, lvlm_error *err)
{
    cJSON *item;
    FAIL_IF(strlen(text->text) != text->length, err, LVLM_EFORMAT,
            "the text has a zero character, which JSON cannot hold here");
    if ((item = cJSON_CreateString(text->text)) == NULL ||
        !cJSON_AddItemToArray(list, item))
        return lvlm_fail_memory(err);
    return 0;
}

/* ---- lines ----------------------------------------------------------------------- */

static int encode_line(const lvlm_tokenizer *tokenizer, const lvlm_strbuf *line,
                       lvlm_ids *ids, cJSON *list, lvlm_error *err)
{
    ids->n = 0;
    TRY(lvlm_tokenizer_encode(tokenizer, ids, line->text, line->length, NULL, err));
    if (list != NULL) return add_ids(list, ids, err);
    print_ids(ids);
    return 0;
}

static int decode_line(const lvlm_tokenizer *tokenizer, const tokenize_args *args,
                       const lvlm_strbuf *line, lvlm_ids *ids, cJSON *list,
                       lvlm_error *err)
{
    lvlm_strbuf text = LVLM_STRBUF_INIT(LVLM_TEXT_MAX);
    int rc;
    lvlm_strbuf_append(&text, "", 0);
    if ((rc = parse_ids(ids, line, err)) < 0 ||
        (rc = lvlm_tokenizer_decode(tokenizer, &text, ids->at, ids->n, NULL, err)) < 0)
        goto done;
    if (list != NULL) {
        rc = add_text(list, &text, err);
    } else {
        lvlm_print_made_text(text.text, text.length);
        putchar(end_of_text(args));
    }
done:
    lvlm_strbuf_free(&text);
    return rc;
}

static int each_line(const lvlm_tokenizer *tokenizer, const tokenize_args *args,
                     cJSON *list, lvlm_error *err)
{
    const char end = args->decode ? '\n' : end_of_text(args);
    lvlm_strbuf line = LVLM_STRBUF_INIT(LVLM_TEXT_MAX);
    lvlm_ids ids = LVLM_IDS_INIT;
    int rc = 0;
    for (size_t n = 1; rc == 0 && read_up_to(&line, end); n++) {
        if ((rc = lvlm_strbuf_check(&line, err)) == 0)
            rc = args->decode ? decode_line(tokenizer, args, &line, &ids, list, err)
                              : encode_line(tokenizer, &line, &ids, list, err);
        if (rc < 0) lvlm_prefix(err, "line %zu: ", n);
    }
    if (rc == 0 && ferror(stdin)) rc = lvlm_fail_errno(err, "stdin: cannot read");
    lvlm_ids_free(&ids);
    lvlm_strbuf_free(&line);
    return rc;
}

static int answer_json(const lvlm_tokenizer *tokenizer, const tokenize_args *args,
                       const lvlm_notes *notes, lvlm_error *err)
{
    cJSON *const result = lvlm_json_document();
    cJSON *const list = cJSON_AddArrayToObject(result, args->decode ? "texts" : "ids");
    int rc;
    if (list == NULL)
        rc = lvlm_fail_memory(err);
    else
        rc = each_line(tokenizer, args, list, err);
    if (rc == 0) {
        lvlm_add_notes(result, notes);
        return lvlm_print_json(result, err);
    }
    lvlm_json_free(result);
    return rc;
}

static int open_tokenizer(lvlm_tokenizer **out, const char *path, size_t threads,
                          lvlm_notes *notes, lvlm_error *err)
{
    lvlm_checkpoint *checkpoint = NULL;
    TRY(lvlm_checkpoint_open(&checkpoint, path, NULL, err));
    checkpoint->notes = notes; /* only now: which files a conversion would not
                                    keep does not matter here */
    int rc = lvlm_native_check_side_files(checkpoint, threads, err);
    if (rc == 0) rc = lvlm_tokenizer_open(out, checkpoint, err);
    lvlm_checkpoint_close(checkpoint);
    return rc;
}

static int run(const void *arguments, const lvlm_operands *operands, lvlm_notes *notes,
               lvlm_error *err)
{
    const tokenize_args *const args = arguments;
    lvlm_tokenizer *tokenizer = NULL;
    int rc = open_tokenizer(&tokenizer, operands->at[0],
                            lvlm_thread_count(&args->common), notes, err);
    lvlm_print_notes(PROGRAM, notes);
    if (rc == 0)
        rc = args->common.json ? answer_json(tokenizer, args, notes, err)
                               : each_line(tokenizer, args, NULL, err);
    lvlm_tokenizer_close(tokenizer);
    return rc;
}

const lvlm_command command_tokenize = {
    "tokenize",
    "MODEL",
    1,
    1,
    "lines of text to ids, and back",
    "Reads texts from stdin, one a line, and writes the ids of each on a line. No\n"
    "special tokens are added; those that are written in a text are recognised. The\n"
    "tokenizer is the one of the files that the model came with. --decode takes lines\n"
    "of ids and writes texts. A text that is not UTF-8 is refused with the place\n"
    "(exit status 3).\n"
    "\n"
    "  echo 'a photo of' | lvlm-run tokenize model.lvlm\n"
    "  echo '64 6548 315' | lvlm-run tokenize model.lvlm --decode",
    options,
    sizeof(tokenize_args),
    run,
};
