/* test_replace.c - replaces a set of files and kills the process before each call that
 * changes the folder: a loader finds the old set, the new one or none, and the next run
 * completes the new one. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "formats/base/infile.h"
#include "formats/base/outdir.h"
#include "formats/base/outfile.h"
#include "formats/base/temporary.h"
#include "tests/support/scratch.h"

/* ---- the kill ------------------------------------------------------------------- */

enum { KILLED = 77, MOST_CALLS = 40 };

static int calls_left = -1; /* -1: never */
static bool fails;          /* instead of being killed */
static char listed[512];    /* the temporary that a signal handler would remove */

/* Is this the call that fails? */
static bool count_call(void)
{
    if (calls_left == 0 && !fails) {
        calls_left = -1;
        if (listed[0] != '\0') lvlm_temporary_remove(listed, -1);
        _exit(KILLED);
    }
    if (calls_left >= 0) calls_left--;
    return calls_left == -1 && fails;
}

/* Replaces the C library's function for the code under test. */
int renameat(int from, const char *old, int to, const char *new)
{
    if (!count_call()) return (int)syscall(SYS_renameat2, from, old, to, new, 0);
    fails = false;
    errno = EIO;
    return -1;
}

int rename(const char *old, const char *new)
{
    return renameat(AT_FDCWD, old, AT_FDCWD, new);
}

int unlinkat(int dir, const char *name, int flags)
{
    if (!count_call()) return (int)syscall(SYS_unlinkat, dir, name, flags);
    fails = false;
    errno = EIO;
    return -1;
}

/* Disks do not fail here, and there are thousands of calls. */
int fsync(int fd)
{
    (void)fd;
    return 0;
}

int rmdir(const char *name)
{
    return unlinkat(AT_FDCWD, name, AT_REMOVEDIR);
}

/* ---- sets of files, and their loaders ------------------------------------------- */

#define INDEX "model.safetensors.index.json"
#define BIN_INDEX "pytorch_model.bin.index.json"

static const char *const model_parts[] = { BIN_INDEX, "pytorch_model*.bin", INDEX,
                                           "model*.safetensors", NULL };
static const char *const model_last[] = { "pytorch_model.bin", "model.safetensors",
                                          "*.index.json", NULL };
static const lvlm_outdir_set model_set = { model_parts, model_last };

static const char *const adapter_parts[] = { "adapter_config.json", "adapter_model*",
                                             NULL };
static const char *const adapter_last[] = { "adapter_config.json", NULL };
static const lvlm_outdir_set adapter_set = { adapter_parts, adapter_last };

/* Files of one set, NULL at the end; an index is followed by its number of shards. */
static const char *const kinds[][8] = {
    { "config.json", "model.safetensors" },
    { "config.json", "model-1-of-2.safetensors", "model-2-of-2.safetensors", INDEX },
    { "config.json", "model-1-of-3.safetensors", "model-2-of-3.safetensors",
      "model-3-of-3.safetensors", INDEX },
    { "config.json", "pytorch_model.bin" },
    { "config.json", "pytorch_model-1-of-2.bin", "pytorch_model-2-of-2.bin",
      BIN_INDEX },
    { "config.json", "model.safetensors", "pytorch_model.bin" },
    { "config.json", "model.safetensors", "model-1-of-1.safetensors", INDEX },
};

enum { N_KINDS = sizeof kinds / sizeof kinds[0] };

static const char *const adapters[][8] = {
    { "adapter_config.json", "adapter_model.safetensors" },
    { "adapter_config.json", "adapter_model.bin" },
};

/* Contents of a file: its set ('o' or 'n') and, of an index, the number of shards. */
typedef struct content {
    char tag; /* 0: no such file */
    char n;
} content;

static content read_file(const char *dir, const char *name)
{
    char path[2 * SCRATCH_PATH];
    content c = { 0 };
    (void)snprintf(path, sizeof path, "%s/%s", dir, name);
    const int fd = open(path, O_RDONLY);
    if (fd < 0) return c;
    assert_int_equal(read(fd, &c, 2), 2);
    assert_int_equal(close(fd), 0);
    return c;
}

static void write_set(const char *dir, const char *const *names, char tag)
{
    char n = '0';
    for (; *names != NULL; names++) {
        char path[2 * SCRATCH_PATH];
        const bool shard = strstr(*names, "-of-") != NULL;
        const bool index = strstr(*names, ".index.json") != NULL;
        const char bytes[2] = { tag, index ? n : '0' };
        n = (char)(n + shard);
        (void)snprintf(path, sizeof path, "%s/%s", dir, *names);
        if (lvlm_outfile_save(path, bytes, 2, true, NULL) < 0) fail_msg("%s", path);
    }
}

/* The common tag of an index's shards; 0: one is missing; '?': they differ. */
static char shards_of(const char *dir, const char *index, const char *pattern)
{
    const content c = read_file(dir, index);
    for (char i = '1'; i <= c.n; i++) {
        char name[128];
        (void)snprintf(name, sizeof name, pattern, i, c.n);
        const char tag = read_file(dir, name).tag;
        if (tag == 0) return 0;
        if (tag != c.tag) return '?';
    }
    return c.tag;
}

/* As in the reference's loader: the first of these that exists. */
static char load_model(const char *dir)
{
    const content config = read_file(dir, "config.json");
    char tag = read_file(dir, "model.safetensors").tag;
    if (tag == 0 && read_file(dir, INDEX).tag != 0)
        tag = shards_of(dir, INDEX, "model-%c-of-%c.safetensors");
    else if (tag == 0)
        tag = read_file(dir, "pytorch_model.bin").tag;
    if (tag == 0 && read_file(dir, INDEX).tag == 0 &&
        read_file(dir, BIN_INDEX).tag != 0)
        tag = shards_of(dir, BIN_INDEX, "pytorch_model-%c-of-%c.bin");
    return tag == 0 || config.tag == 0 ? 0 : tag == config.tag ? tag : '?';
}

static char load_adapter(const char *dir)
{
    const char config = read_file(dir, "adapter_config.json").tag;
    char tag = read_file(dir, "adapter_model.safetensors").tag;
    if (tag == 0) tag = read_file(dir, "adapter_model.bin").tag;
    return tag == 0 || config == 0 ? 0 : tag == config ? tag : '?';
}

/* ---- replacing ------------------------------------------------------------------ */

typedef struct replacement {
    const char *const *old, *const *new;
    const lvlm_outdir_set *set;
    char (*load)(const char *dir);
} replacement;

static int replace(const char *dir, const replacement *r, int calls, bool by_signal)
{
    lvlm_outdir *out = NULL;
    lvlm_error err;
    if (lvlm_outdir_open(&out, dir, true, r->set, &err) < 0) fail_msg("%s", err.text);
    write_set(lvlm_outdir_path(out), r->new, 'n');
    if (by_signal) (void)snprintf(listed, sizeof listed, "%s", lvlm_outdir_path(out));
    calls_left = calls;
    const int rc = lvlm_outdir_commit(out, &err);
    calls_left = -1;
    lvlm_outdir_close(out);
    return rc;
}

/* In a child process, which is killed before call number `calls`. */
static bool killed_at(const char *dir, const replacement *r, int calls, bool by_signal)
{
    int status = 0;
    const pid_t process = fork();
    assert_true(process >= 0);
    if (process == 0) _exit(replace(dir, r, calls, by_signal) == 0 ? 0 : 1);
    assert_int_equal(waitpid(process, &status, 0), process);
    assert_true(WIFEXITED(status));
    if (WEXITSTATUS(status) != KILLED) assert_int_equal(WEXITSTATUS(status), 0);
    return WEXITSTATUS(status) == KILLED;
}

/* A folder with the old set and an unrelated file. */
static void start(scratch *s, char dir[SCRATCH_PATH], const replacement *r)
{
    scratch_remove(s);
    scratch_make(s);
    (void)snprintf(dir, SCRATCH_PATH, "%s", scratch_path(s, "d"));
    assert_int_equal(mkdir(dir, 0777), 0);
    (void)scratch_write(s, "d/notes.txt", "mine", 4);
    write_set(dir, r->old, 'o');
}

static size_t count(const char *const *names)
{
    size_t n = 0;
    while (names[n] != NULL) n++;
    return n;
}

static void check_every_kill(scratch *s, const replacement *r)
{
    char dir[SCRATCH_PATH];
    bool seen_old = false;
    int calls = 0;
    for (bool killed = true; killed; calls++) {
        start(s, dir, r);
        killed = killed_at(dir, r, calls, false);
        const char tag = r->load(dir);
        if (tag == '?') fail_msg("call %d of %s: a mixture", calls, r->new[1]);
        seen_old |= tag == 'o';
        assert_int_equal(replace(dir, r, -1, false), 0); /* the next run */
        assert_int_equal(r->load(dir), 'n');
        assert_int_equal(scratch_count(s, "d"), count(r->new) + 1);
        assert_true(lvlm_path_exists(scratch_path(s, "d/notes.txt")));
        assert_true(calls < MOST_CALLS);
    }
    assert_true(seen_old); /* killed before the first call */
    assert_true(calls > 4);
}

/* ---- tests ---------------------------------------------------------------------- */

static void no_kill_leaves_a_mixture_of_two_models(void **state)
{
    scratch s;
    (void)state;
    scratch_make(&s);
    for (size_t i = 0; i < N_KINDS; i++)
        for (size_t k = 0; k < N_KINDS; k++) {
            const replacement r = { kinds[i], kinds[k], &model_set, load_model };
            check_every_kill(&s, &r);
        }
    scratch_remove(&s);
}

static void no_kill_leaves_a_mixture_of_two_adapters(void **state)
{
    scratch s;
    (void)state;
    scratch_make(&s);
    for (size_t i = 0; i < 2; i++)
        for (size_t k = 0; k < 2; k++) {
            const replacement r = { adapters[i], adapters[k], &adapter_set,
                                    load_adapter };
            check_every_kill(&s, &r);
        }
    scratch_remove(&s);
}

/* Ctrl-C removes the temporary, but never the only set. */
static void no_signal_loses_both_sets(void **state)
{
    const replacement r = { kinds[0], kinds[1], &model_set, load_model };
    char dir[SCRATCH_PATH], moving[SCRATCH_PATH + 16];
    scratch s;
    bool killed = true;
    (void)state;
    scratch_make(&s);
    for (int calls = 0; killed; calls++) {
        start(&s, dir, &r);
        (void)snprintf(moving, sizeof moving, "%s/.lvlm-moving", dir);
        killed = killed_at(dir, &r, calls, true);
        bool is_new = true;
        for (const char *const *name = r.new; *name != NULL; name++)
            is_new &=
                read_file(dir, *name).tag == 'n' || read_file(moving, *name).tag == 'n';
        if (!is_new) assert_int_equal(load_model(dir), 'o');
    }
    scratch_remove(&s);
}

static mode_t mode_of(const char *path)
{
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    return st.st_mode & 0777;
}

static void files_keep_their_modes_and_new_parts_are_as_private(void **state)
{
    const replacement r = { kinds[0], kinds[1], &model_set, load_model };
    scratch s;
    (void)state;
    scratch_make(&s);
    char dir[SCRATCH_PATH];
    (void)snprintf(dir, sizeof dir, "%s", scratch_path(&s, "d"));
    assert_int_equal(mkdir(dir, 0777), 0);
    write_set(dir, r.old, 'o');
    assert_int_equal(chmod(scratch_path(&s, "d/config.json"), 0640), 0);
    assert_int_equal(chmod(scratch_path(&s, "d/model.safetensors"), 0600), 0);
    assert_int_equal(replace(dir, &r, -1, false), 0);
    assert_int_equal(mode_of(scratch_path(&s, "d/config.json")), 0640);
    assert_int_equal(mode_of(scratch_path(&s, "d/model-1-of-2.safetensors")), 0600);
    scratch_remove(&s);
}

/* The new set is kept if its files could not be moved. */
static void a_move_that_fails_keeps_the_new_set(void **state)
{
    const replacement r = { kinds[0], kinds[1], &model_set, load_model };
    char dir[SCRATCH_PATH];
    scratch s;
    lvlm_error err;
    lvlm_outdir *out = NULL;
    (void)state;
    scratch_make(&s);
    start(&s, dir, &r);
    assert_int_equal(lvlm_outdir_open(&out, dir, true, r.set, NULL), 0);
    write_set(lvlm_outdir_path(out), r.new, 'n');
    fails = true;
    calls_left = 2; /* the old weights are removed, and nothing is moved yet */
    assert_int_equal(lvlm_outdir_commit(out, &err), LVLM_EIO);
    calls_left = -1;
    lvlm_outdir_close(out);
    assert_non_null(strstr(err.text, "config.json: cannot rename into place"));
    assert_non_null(strstr(err.text, "what is not in place yet is in"));
    assert_int_equal(scratch_count(&s, "d/.lvlm-moving"), count(r.new));
    scratch_remove(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_kill_leaves_a_mixture_of_two_models),
        cmocka_unit_test(no_kill_leaves_a_mixture_of_two_adapters),
        cmocka_unit_test(no_signal_loses_both_sets),
        cmocka_unit_test(files_keep_their_modes_and_new_parts_are_as_private),
        cmocka_unit_test(a_move_that_fails_keeps_the_new_set),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
