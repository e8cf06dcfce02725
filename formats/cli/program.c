/* program.c - dispatch of verbs, help, errors, exit status and the progress bar. */
#include "formats/cli/program.h"

#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "formats/base/alloc.h"
#include "formats/base/json.h"

enum { MAX_HELP = 1 << 16 };

/* ---- errors --------------------------------------------------------------------- */

int lvlm_exit_status(int rc)
{
    switch (rc) {
    case LVLM_OK: return 0;
    case LVLM_ECHECK: return 1;
    case LVLM_EUSAGE: return 2;
    default: return 3;
    }
}

int lvlm_report(const char *program, const lvlm_error *err)
{
    fflush(stdout);
    fprintf(stderr, "%s: %s\n", program, err->text);
    return lvlm_exit_status(err->code);
}

void lvlm_print_notes(const char *program, lvlm_notes *notes)
{
    fflush(stdout);
    for (; notes->n_printed < notes->n; notes->n_printed++)
        fprintf(stderr, "%s: note: %s\n", program, notes->at[notes->n_printed]);
}

void lvlm_add_notes(cJSON *result, const lvlm_notes *notes)
{
    if (notes->n == 0) return;
    cJSON *const list = cJSON_AddArrayToObject(result, "notes");
    for (size_t i = 0; i < notes->n; i++)
        cJSON_AddItemToArray(list, cJSON_CreateString(notes->at[i]));
}

/* ---- dispatch ------------------------------------------------------------------- */

static int print_text(const lvlm_program *program, lvlm_strbuf *text, FILE *to)
{
    lvlm_error err;
    const int rc = lvlm_strbuf_check(text, &err);
    if (rc == 0) fputs(text->text, to);
    lvlm_strbuf_free(text);
    if (rc < 0) return lvlm_report(program->name, &err);
    return to == stdout ? 0 : lvlm_exit_status(LVLM_EUSAGE);
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
    return 0;
}

static const lvlm_command *find_command(const lvlm_program *program, const char *verb)
{
    const lvlm_command *best = program->commands;
    for (const lvlm_command *c = program->commands; c->name != NULL; c++) {
        if (strcmp(c->name, verb) == 0) return c;
        if (lvlm_edit_distance(verb, c->name) < lvlm_edit_distance(verb, best->name))
            best = c;
    }
    fprintf(stderr, "%s: unknown command '%s'; did you mean %s?\n", program->name, verb,
            best->name);
    return NULL;
}

static int run_command(const lvlm_program *program, const lvlm_command *command,
                       int argc, char *argv[])
{
    lvlm_operands operands;
    lvlm_error err;
    lvlm_common_args *args = lvlm_calloc(1, command->args_bytes);
    int status;

    if (args == NULL) {
        lvlm_fail_memory(&err);
        status = lvlm_report(program->name, &err);
    } else if (lvlm_options_parse(args, &operands, command, argc, argv, &err) < 0) {
        status = lvlm_report(program->name, &err);
        fprintf(stderr, "usage: %s %s %s [options]   (--help tells more)\n",
                program->name, command->name, command->operands);
    } else if (args->help) {
        status = print_command(program, command);
    } else if (args->version) {
        status = print_version(program);
    } else {
        status = command->run(args, &operands);
    }
    lvlm_free(args);
    return status;
}

static int dispatch(const lvlm_program *program, int argc, char *argv[])
{
    if (argc < 2) return print_commands(program, stderr);
    const char *verb = argv[1];
    if (strcmp(verb, "--help") == 0 || (strcmp(verb, "help") == 0 && argc < 3))
        return print_commands(program, stdout);
    if (strcmp(verb, "--version") == 0) return print_version(program);
    const bool help = strcmp(verb, "help") == 0;
    const lvlm_command *command = find_command(program, help ? argv[2] : verb);
    if (command == NULL) return lvlm_exit_status(LVLM_EUSAGE);
    if (help) return print_command(program, command);
    return run_command(program, command, argc - 2, argv + 2);
}

int lvlm_program_main(const lvlm_program *program, int argc, char *argv[])
{
    const int status = dispatch(program, argc, argv);
    if (fflush(stdout) == 0 && !ferror(stdout)) return status;
    fprintf(stderr, "%s: cannot write to standard output\n", program->name);
    return lvlm_exit_status(LVLM_EIO);
}

/* ---- for the commands ----------------------------------------------------------- */

int lvlm_print_json(cJSON *json, lvlm_error *err)
{
    char *text = NULL;
    const int rc = lvlm_json_print_pretty(&text, json, err);
    if (rc == 0) fputs(text, stdout);
    lvlm_free(text);
    lvlm_json_free(json);
    return rc;
}

size_t lvlm_thread_count(const lvlm_common_args *args)
{
    const long cores = sysconf(_SC_NPROCESSORS_ONLN);
    if (args->threads > 0) return (size_t)args->threads;
    return cores > 0 ? (size_t)cores : 1;
}

const char *lvlm_bytes_text(char text[32], double n_bytes)
{
    static const char *const units[] = { "B", "kB", "MB", "GB", "TB" };
    size_t unit = 0;
    while (n_bytes >= 1000 && unit + 1 < sizeof units / sizeof units[0]) {
        n_bytes /= 1000;
        unit++;
    }
    snprintf(text, 32, unit > 0 ? "%.1f %s" : "%.0f %s", n_bytes, units[unit]);
    return text;
}

double lvlm_seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

void lvlm_progress_init(lvlm_progress *progress, const char *label, uint64_t total,
                        bool quiet)
{
    *progress = (lvlm_progress){ .label = label,
                                 .total = total > 0 ? (double)total : 1,
                                 .started = lvlm_seconds(),
                                 .enabled = !quiet && isatty(STDERR_FILENO) == 1 };
    pthread_mutex_init(&progress->lock, NULL);
}

static void draw(lvlm_progress *p, double done, double now)
{
    char speed[32] = "";
    const double rate = done / (now - p->started);
    if (!p->stages) lvlm_bytes_text(speed, rate);
    fprintf(stderr, "\r%s %3.0f %%  %s%s  %.0f s left \033[K", p->label,
            100 * done / p->total, speed, p->stages ? "" : "/s",
            (p->total - done) / rate);
    p->drawn = now;
}

void lvlm_progress_update(void *progress, uint64_t done)
{
    lvlm_progress *p = progress;
    if (!p->enabled || done == 0 || pthread_mutex_trylock(&p->lock) != 0) return;
    const double now = lvlm_seconds();
    if (now - p->started > 1 && now - p->drawn > 0.1) draw(p, (double)done, now);
    pthread_mutex_unlock(&p->lock);
}

void lvlm_progress_bytes(void *progress, uint64_t done, uint64_t total)
{
    lvlm_progress *p = progress;
    p->total = (double)total;
    lvlm_progress_update(p, done);
}

void lvlm_progress_stages(void *progress, size_t done, size_t total)
{
    lvlm_progress *p = progress;
    p->stages = true;
    p->total = (double)total;
    lvlm_progress_update(p, done);
}

void lvlm_progress_finish(lvlm_progress *progress)
{
    if (progress->drawn > 0) fprintf(stderr, "\r\033[K");
    pthread_mutex_destroy(&progress->lock);
}
