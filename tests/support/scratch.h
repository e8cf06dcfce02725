/* scratch.h - a scratch directory per test, and crafted safetensors files. */
#ifndef LVLM_TESTS_SUPPORT_SCRATCH_H
#define LVLM_TESTS_SUPPORT_SCRATCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "formats/base/outdir.h"
#include "formats/base/outfile.h"

enum { SCRATCH_PATH = 512 };

typedef struct scratch {
    char dir[128];
    char path[8][SCRATCH_PATH]; /* buffers of scratch_path, used cyclically */
    size_t next;
} scratch;

/* Create a directory below $TMPDIR. Fails the test on an error. */
void scratch_make(scratch *s);
/* Remove it and everything in it. */
void scratch_remove(scratch *s);
/* Both as setup and teardown of a test or a group: *state is a scratch. */
int scratch_setup(void **state);
int scratch_teardown(void **state);

/* "DIR/NAME"; valid until eight more calls. */
const char *scratch_path(scratch *s, const char *name);
/* Write a file; returns its path. */
const char *scratch_write(scratch *s, const char *name, const void *bytes, size_t n);
/* A file of a tree, "/proc/self/cgroup" and its text. */
typedef struct scratch_file {
    const char *path, *text;
} scratch_file;
/* Write files and their folders; the list ends at the first without a path, or after
 * `most`. */
void scratch_tree(scratch *s, const scratch_file *files, size_t most);
/* A file of the 8-byte length, `header`, and `n` data bytes; returns its path. */
const char *scratch_safetensors(scratch *s, const char *name, const char *header,
                                const void *data, size_t n);
/* Copy a file or, with its plain files, a directory. */
void scratch_copy(scratch *s, const char *from, const char *name);
/* How many names the directory `name` of the scratch holds, hidden ones too ("" : it
 * itself). */
size_t scratch_count(scratch *s, const char *name);

bool files_equal(const char *a, const char *b);
/* Do both have the same names with the same bytes? */
bool directories_equal(const char *a, const char *b);
/* In file `path` replace the first `from` by `to`, which has the same length. */
void file_replace(const char *path, const char *from, const char *to);

/* An output that may replace a file, for code that writes to an open one. Fails the
 * test on an error. Closed by the caller. */
lvlm_outfile *open_outfile(const char *path);
lvlm_outdir *open_outdir(const char *path, const lvlm_outdir_set *set);

#endif
