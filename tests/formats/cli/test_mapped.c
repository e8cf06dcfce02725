/* test_mapped.c - a program whose mapped file is shortened ends with status 3 and one
 * line that names the file. The program is a child of the test. */
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "formats/base/infile.h"
#include "formats/cli/outputs.h"
#include "formats/cli/program.h"
#include "tests/support/scratch.h"

enum { BYTES = 64 * 1024 };

typedef struct args {
    lvlm_common_args common;
} args;

/* The command: shortens its last operand and reads the end of it, while an output is
 * open. The other operand was mapped and closed. */
static int run(const void *arguments, const lvlm_operands *operands, lvlm_notes *notes,
               lvlm_error *err)
{
    lvlm_infile *closed = NULL, *file = NULL;
    lvlm_outputs outputs = { .force = false };
    lvlm_outfile *output = NULL;
    char path[SCRATCH_PATH + 8];
    (void)arguments, (void)notes, (void)err;
    snprintf(path, sizeof path, "%s.new", operands->at[0]);
    if (lvlm_outputs_file(&outputs, &output, path, NULL) < 0) return 95;
    if (lvlm_infile_map(&closed, operands->at[0], NULL) < 0 ||
        lvlm_infile_map(&file, operands->at[1], NULL) < 0)
        return 99;
    lvlm_infile_close(closed);
    if (truncate(operands->at[1], 1) < 0) return 98;
    const volatile unsigned char *const end = file->bytes + BYTES - 1;
    return *end == 'x' ? 97 : 96; /* not reached */
}

static const lvlm_option options[] = { LVLM_OPTION_END };

/* Runs the child. `out` and `json` receive its output; returns its status of
 * waitpid. */
static int in_child(scratch *s, const char *name, char *json, char out[4096],
                    char err[4096])
{
    const lvlm_command commands[] = {
        { "cut", "A B", 2, 2, "", "", options, sizeof(args), run }, { .name = NULL }
    };
    const lvlm_program program = { "lvlm-cut", "", commands };
    static char bytes[BYTES];
    char program_name[] = "lvlm-cut", verb[] = "cut";
    char *argv[] = { program_name, verb, NULL, NULL, json, NULL };
    const char *const to[] = { scratch_path(s, "out"), scratch_path(s, "err") };
    char *const texts[] = { out, err };
    int status = 0;

    memset(bytes, 'x', sizeof bytes);
    argv[2] = (char *)(uintptr_t)scratch_write(s, "whole", bytes, sizeof bytes);
    argv[3] = (char *)(uintptr_t)scratch_write(s, name, bytes, sizeof bytes);
    const pid_t pid = fork();
    if (pid == 0) {
        for (int i = 0; i < 2; i++)
            dup2(open(to[i], O_WRONLY | O_CREAT | O_TRUNC, 0600), i + 1);
        _exit(lvlm_program_main(&program, json != NULL ? 5 : 4, argv));
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    for (int i = 0; i < 2; i++) {
        FILE *const file = fopen(to[i], "r");
        texts[i][fread(texts[i], 1, 4095, file)] = '\0';
        fclose(file);
    }
    return status;
}

static void a_shortened_file_ends_the_program_with_one_line(void **state)
{
    char out[4096], err[4096];
    scratch s;
    (void)state;
    scratch_make(&s);
    const int status = in_child(&s, "model.lvlm", NULL, out, err);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 3);
    assert_string_equal(out, "");
    assert_ptr_equal(strstr(err, "lvlm-cut: "), err);
    assert_non_null(
        strstr(err, "/model.lvlm: became shorter while it was in use, or its disk"));
    assert_ptr_equal(strchr(err, '\n'), err + strlen(err) - 1);
    assert_int_equal(scratch_count(&s, ""), 4); /* no temporary file */
    scratch_remove(&s);
}

static void a_shortened_file_gives_json_its_document(void **state)
{
    static const char begin[] = "{\n  \"schema\": 1,\n  \"error\": {\n"
                                "    \"code\": \"io\",\n    \"text\": \"/";
    char out[4096], err[4096];
    scratch s;
    (void)state;
    scratch_make(&s);
    char json[] = "--json";
    const int status = in_child(&s, "a\"b\x1b.lvlm", json, out, err);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 3);
    assert_ptr_equal(strstr(out, begin), out);
    assert_non_null(strstr(out, "/a\\\"b\\\\x1b.lvlm: became shorter"));
    assert_non_null(strstr(out, "\",\n    \"exit_status\": 3\n  }\n}\n"));
    assert_non_null(strstr(err, "/a\"b\\x1b.lvlm: became shorter"));
    scratch_remove(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_shortened_file_ends_the_program_with_one_line),
        cmocka_unit_test(a_shortened_file_gives_json_its_document),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
