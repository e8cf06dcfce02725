/* program.c - dispatch of verbs, help, errors, exit status and JSON. */
#include "formats/cli/program.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "formats/base/alloc.h"
#include "formats/base/json.h"
#include "formats/base/processors.h"
#include "formats/base/version.h"
#include "formats/cli/cleanup.h"
#include "formats/cli/mapped.h"

enum { MAX_HELP = 1 << 16 };

/* ---- errors --------------------------------------------------------------------- */

static int exit_status(int rc)
{
    switch (rc) {
    case LVLM_OK: return 0;
    case LVLM_ECHECK: return 1;
    case LVLM_EUSAGE: return 2;
    case LVLM_ESTOPPED: return 128 + lvlm_stop_requested();
    default: return 3;
    }
}

/* The document of --json, a result or an error. */
static struct {
    atomic_bool pending;    /* still to be printed */
    cJSON *members;         /* of the error's document */
    atomic_bool incomplete; /* adding a member of a result failed */
} document;

/* Code that builds a result adds members without checking; a failure is found here,
 * before the document is printed. */
static void *allocate_json(size_t n_bytes)
{
    void *const block = lvlm_malloc(n_bytes);
    if (block == NULL) atomic_store(&document.incomplete, true);
    return block;
}

static void watch_json(void)
{
    cJSON_Hooks hooks = { allocate_json, lvlm_free };
    cJSON *null = NULL;
    if (lvlm_json_parse(&null, "null", 4, NULL) == 0) /* sets hooks of its own */
        lvlm_json_free(null);
    cJSON_InitHooks(&hooks);
}

bool lvlm_json_pending(void)
{
    return atomic_load(&document.pending);
}

static const char *code_name(lvlm_code code)
{
    switch (code) {
    case LVLM_ECHECK: return "check";
    case LVLM_EUSAGE: return "usage";
    case LVLM_EFORMAT: return "format";
    case LVLM_ENOMEM: return "memory";
    case LVLM_ESTOPPED: return "stopped";
    default: return "io";
    }
}

/* Print JSON text. Control characters are escaped, so that a terminal does not obey
 * them and a parser reads the same value; bytes that are not UTF-8 become U+FFFD. */
static void print_json_text(const char *text)
{
    const size_t n = strlen(text);
    size_t from = 0, length;
    atomic_store(&document.pending, false);
    for (size_t at = 0; at < n; at += length) {
        const bool whole =
            lvlm_utf8_next(&length, text + at, n - at) == LVLM_UTF8_WHOLE;
        const unsigned char first = (unsigned char)text[at];
        const unsigned char last = (unsigned char)text[at + length - 1];
        const bool c1 = length == 2 && first == 0xc2 && last < 0xa0;
        if (whole && first != 0x7f && !c1) continue;
        fwrite(text + from, 1, at - from, stdout);
        printf("\\u%04x", whole ? (unsigned)last : 0xfffdU);
        from = at + length;
    }
    fwrite(text + from, 1, n - from, stdout);
}

/* Without cJSON, because the error may be a lack of memory. `text` has no control
 * characters. */
static void print_error(lvlm_code code, const char *text)
{
    char *members = NULL;
    printf(
        "{\n  \"schema\": %d,\n  \"error\": {\n    \"code\": \"%s\",\n    \"text\": \"",
        LVLM_JSON_SCHEMA, code_name(code));
    for (const char *at = text; *at != '\0'; at++) {
        if (*at == '"' || *at == '\\') putchar('\\');
        putchar(*at);
    }
    printf("\",\n    \"exit_status\": %d\n  }", exit_status(code));
    if (document.members != NULL &&
        lvlm_json_print_pretty(&members, document.members, NULL) == 0) {
        members[strlen(members) - strlen("\n}\n")] = '\0';
        putchar(',');
        print_json_text(members + strlen("{"));
    }
    printf("\n}\n");
    lvlm_free(members);
    atomic_store(&document.pending, false);
}

/* Print "PROGRAM: MESSAGE" on stderr; returns the exit status of err->code. If --json
 * was given and no result has been printed, stdout gets the document of an error. */
static int report(const char *program, const lvlm_error *err)
{
    assert(err->code < 0 && *err->text != '\0');
    char text[4 * LVLM_ERROR_BYTES], prefix[64];
    snprintf(prefix, sizeof prefix, "%s:", program);
    const char *const message = lvlm_visible(text, sizeof text, err->text);
    if (lvlm_json_pending()) print_error(err->code, message);
    fflush(stdout);
    fprintf(stderr, "%s %s\n", lvlm_coloured(stderr, LVLM_RED, prefix), message);
    return exit_status(err->code);
}

const char *lvlm_shown(const char *text)
{
    static _Thread_local char shown[8][1024];
    static _Thread_local size_t next;
    char *const to = shown[next++ % 8];
    return lvlm_visible(to, sizeof shown[0], text);
}

void lvlm_report_with(const char *key, cJSON *value)
{
    assert(key != NULL);
    if (document.members == NULL) document.members = cJSON_CreateObject();
    if (value != NULL && !cJSON_AddItemToObject(document.members, key, value))
        lvlm_json_free(value);
}

void lvlm_print_notes(const char *program, lvlm_notes *notes)
{
    fflush(stdout);
    for (; notes->n_printed < notes->n; notes->n_printed++)
        fprintf(stderr, "%s: note: %s\n", program,
                lvlm_shown(notes->at[notes->n_printed]));
}

/* ---- dispatch ------------------------------------------------------------------- */

static int print_text(const lvlm_program *program, lvlm_strbuf *text, FILE *to)
{
    lvlm_error err;
    const int rc = lvlm_strbuf_check(text, &err);
    if (rc == 0) fputs(text->text, to);
    lvlm_strbuf_free(text);
    if (rc < 0) return report(program->name, &err);
    return to == stdout ? 0 : exit_status(LVLM_EUSAGE);
}

static int print_commands(const lvlm_program *program, FILE *to)
{
    lvlm_strbuf text = LVLM_STRBUF_INIT(MAX_HELP);
    lvlm_commands_help(&text, program->name, program->summary, program->commands);
    return print_text(program, &text, to);
}

static int print_command(const lvlm_program *program, const lvlm_command *command)
{
    lvlm_strbuf text = LVLM_STRBUF_INIT(MAX_HELP);
    lvlm_options_help(&text, program->name, command);
    return print_text(program, &text, stdout);
}

static int print_version(const lvlm_program *program)
{
    printf("%s %s\n", program->name, LVLM_VERSION);
    if (program->about != NULL) printf("%s\n", program->about());
    return 0;
}

static const lvlm_command *find_command(const lvlm_program *program, const char *verb)
{
    assert(program->commands->name != NULL);
    const lvlm_command *best = program->commands;
    for (const lvlm_command *c = program->commands; c->name != NULL; c++) {
        if (strcmp(c->name, verb) == 0) return c;
        if (lvlm_edit_distance(verb, c->name) < lvlm_edit_distance(verb, best->name))
            best = c;
    }
    lvlm_error err;
    if (lvlm_is_near(verb, best->name))
        lvlm_fail(&err, LVLM_EUSAGE, "unknown command '%s'; did you mean %s?", verb,
                  best->name);
    else
        lvlm_fail(&err, LVLM_EUSAGE, "unknown command '%s'; \"%s --help\" lists them",
                  verb, program->name);
    (void)report(program->name, &err);
    return NULL;
}

static int refuse(const lvlm_program *program, const lvlm_command *command,
                  const lvlm_error *err)
{
    lvlm_strbuf usage = LVLM_STRBUF_INIT(MAX_HELP);
    const int status = report(program->name, err);
    lvlm_options_usage(&usage, SIZE_MAX, program->name, command);
    lvlm_strbuf_puts(&usage, "   (--help prints more)\n");
    if (status == exit_status(LVLM_EUSAGE))
        (void)print_text(program, &usage, stderr);
    else
        lvlm_strbuf_free(&usage);
    return status;
}

static int run_command(const lvlm_program *program, const lvlm_command *command,
                       int argc, char *argv[])
{
    lvlm_operands operands;
    lvlm_notes notes = LVLM_NOTES_INIT;
    lvlm_error err;
    lvlm_common_args *args = lvlm_calloc(1, command->args_bytes);
    int status;
    assert(command->args_bytes >= sizeof *args);

    if (args == NULL) {
        lvlm_fail_memory(&err);
        status = report(program->name, &err);
    } else if (lvlm_options_parse(args, &operands, program->name, command, argc, argv,
                                  &err) < 0) {
        status = refuse(program, command, &err);
    } else if (args->help) {
        status = print_command(program, command);
    } else if (args->version) {
        status = print_version(program);
    } else {
        atomic_store(&document.pending, args->json);
        status = command->run(args, &operands, &notes, &err);
        lvlm_print_notes(program->name, &notes);
        if (status < 0) status = report(program->name, &err);
    }
    lvlm_notes_free(&notes);
    lvlm_free(args);
    return status;
}

/* No verb: help, the version, or an error. */
static int answer_options(const lvlm_program *program, int argc, char *argv[])
{
    for (int i = 0; i < argc; i++) {
        if (lvlm_options_is_flag(argv[i], "help"))
            return print_commands(program, stdout);
        if (lvlm_options_is_flag(argv[i], "version")) return print_version(program);
    }
    if (argc == 0) return print_commands(program, stderr);
    lvlm_error err;
    lvlm_fail(&err, LVLM_EUSAGE,
              "no command is given with %s; \"%s --help\" lists them", argv[0],
              program->name);
    return report(program->name, &err);
}

/* argv[0] is the first argument. */
static int dispatch(const lvlm_program *program, int argc, char *argv[])
{
    assert(argc >= 0);
    int at = lvlm_options_verb(program->commands, argc, argv);
    if (at < argc && strcmp(argv[at], "help") == 0) {
        if (++at == argc) return print_commands(program, stdout);
        const lvlm_command *const command = find_command(program, argv[at]);
        return command != NULL ? print_command(program, command)
                               : exit_status(LVLM_EUSAGE);
    }
    if (at == argc || strcmp(argv[at], "--") == 0)
        return answer_options(program, argc, argv);
    const lvlm_command *const command = find_command(program, argv[at]);
    if (command == NULL) return exit_status(LVLM_EUSAGE);
    memmove(argv + 1, argv, (size_t)at * sizeof *argv); /* removes the verb */
    return run_command(program, command, argc - 1, argv + 1);
}

/* No other file may get the number of a standard stream. Opened in the wrong direction,
 * so that using one is still an error. */
static void open_standard(void)
{
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
        if (fcntl(fd, F_GETFD) < 0 && errno == EBADF)
            (void)open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY);
}

/* For errors in the command line itself: --json, and the last --color. */
static void find_early_options(int argc, char *argv[])
{
    const char *colour = NULL;
    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++) {
        if (strcmp(argv[i], "--json") == 0) atomic_store(&document.pending, true);
        if (strncmp(argv[i], "--color=", 8) == 0) colour = argv[i] + 8;
        if (strcmp(argv[i], "--color") == 0 && i + 1 < argc) colour = argv[i + 1];
    }
    lvlm_terminal_colour(colour);
}

int lvlm_program_main(const lvlm_program *program, int argc, char *argv[])
{
    open_standard();
    lvlm_cleanup_install();
    lvlm_mapped_watch(program->name);
    lvlm_progress_install(program->name);
    atomic_store(&document.incomplete, false);
    watch_json();
    find_early_options(argc, argv);
    const int status = dispatch(program, argc - 1, argv + 1);
    lvlm_json_free(document.members);
    if (fflush(stdout) == 0 && !ferror(stdout)) return status;
    fprintf(stderr, "%s: cannot write to standard output\n", program->name);
    return exit_status(LVLM_EIO);
}

/* ---- for the commands ----------------------------------------------------------- */

int lvlm_print_json(cJSON *json, lvlm_error *err)
{
    char *text = NULL;
    const int rc = atomic_load(&document.incomplete)
                       ? lvlm_fail_memory(err)
                       : lvlm_json_print_pretty(&text, json, err);
    if (rc == 0) print_json_text(text);
    lvlm_free(text);
    lvlm_json_free(json);
    return rc;
}

size_t lvlm_thread_count(const lvlm_common_args *args)
{
    return args->threads > 0 ? (size_t)args->threads : lvlm_processors();
}
