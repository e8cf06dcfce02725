/* cmd_tokenize.c - lvlm-run tokenize: lines of text to lines of ids, and back. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "formats/cli/printer.h"
#include "formats/cli/program.h"
#include "formats/cli/terminal.h"
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

/* One entry per line: a list of ids, or a text. */
static void print_ids(lvlm_printer *p, const lvlm_ids *ids)
{
    lvlm_printer_list(p, NULL);
    for (size_t i = 0; i < ids->n; i++) {
        lvlm_printer_line(p, "%s%" PRId64, i > 0 ? " " : "", ids->at[i]);
        lvlm_printer_count(p, NULL, (uint64_t)ids->at[i]);
    }
    lvlm_printer_end(p);
    lvlm_printer_line(p, "\n");
}

static int print_text(lvlm_printer *p, const lvlm_strbuf *text, char end,
                      lvlm_error *err)
{
    FAIL_IF(p->json && strlen(text->text) != text->length, err, LVLM_EFORMAT,
            "the text has a zero character, which JSON cannot hold here");
    lvlm_printer_text(p, NULL, text->text);
    if (!p->text) return 0;
    lvlm_print_made_text(text->text, text->length);
    putchar(end);
    return 0;
}

/* ---- lines ----------------------------------------------------------------------- */

static int encode_line(lvlm_printer *p, const lvlm_tokenizer *tokenizer,
                       const lvlm_strbuf *line, lvlm_ids *ids, lvlm_error *err)
{
    ids->n = 0;
    TRY(lvlm_tokenizer_encode(tokenizer, ids, line->text, line->length, NULL, err));
    print_ids(p, ids);
    return 0;
}

static int decode_line(lvlm_printer *p, const lvlm_tokenizer *tokenizer,
                       const tokenize_args *args, const lvlm_strbuf *line,
                       lvlm_ids *ids, lvlm_error *err)
{
    lvlm_strbuf text = LVLM_STRBUF_INIT(LVLM_TEXT_MAX);
    lvlm_strbuf_puts(&text, "");
    int rc = parse_ids(ids, line, err);
    if (rc == 0)
        rc = lvlm_tokenizer_decode(tokenizer, &text, ids->at, ids->n, NULL, err);
    if (rc == 0) rc = print_text(p, &text, end_of_text(args), err);
    lvlm_strbuf_free(&text);
    return rc;
}

static int each_line(lvlm_printer *p, const lvlm_tokenizer *tokenizer,
                     const tokenize_args *args, lvlm_error *err)
{
    const char end = args->decode ? '\n' : end_of_text(args);
    lvlm_strbuf line = LVLM_STRBUF_INIT(LVLM_TEXT_MAX);
    lvlm_ids ids = LVLM_IDS_INIT;
    int rc = 0;
    for (size_t n = 1; rc == 0 && read_up_to(&line, end); n++) {
        if ((rc = lvlm_strbuf_check(&line, err)) == 0)
            rc = args->decode ? decode_line(p, tokenizer, args, &line, &ids, err)
                              : encode_line(p, tokenizer, &line, &ids, err);
        if (rc < 0) lvlm_prefix(err, "line %zu: ", n);
    }
    if (rc == 0 && ferror(stdin)) rc = lvlm_fail_errno(err, "stdin: cannot read");
    lvlm_ids_free(&ids);
    lvlm_strbuf_free(&line);
    return rc;
}

static int open_tokenizer(lvlm_tokenizer **out, const char *path,
                          const lvlm_common_args *common, lvlm_notes *notes,
                          lvlm_error *err)
{
    lvlm_checkpoint *checkpoint;
    int rc = run_open_files(&checkpoint, path, common, notes, err);
    if (rc == 0) rc = lvlm_tokenizer_open(out, checkpoint, err);
    lvlm_checkpoint_close(checkpoint);
    return rc;
}

static int run(const void *arguments, const lvlm_operands *operands, lvlm_notes *notes,
               lvlm_error *err)
{
    const tokenize_args *const args = arguments;
    lvlm_tokenizer *tokenizer = NULL;
    lvlm_printer p;
    TRY(open_tokenizer(&tokenizer, operands->at[0], &args->common, notes, err));
    lvlm_print_notes(PROGRAM, notes);
    lvlm_printer_open(&p, args->common.json, true);
    lvlm_printer_list(&p, args->decode ? "texts" : "ids");
    int rc = each_line(&p, tokenizer, args, err);
    lvlm_printer_end(&p);
    if (rc == 0) rc = lvlm_printer_close(&p, notes, err);
    lvlm_printer_drop(&p);
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
