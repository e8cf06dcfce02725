/* infile.h - a file mapped for reading. The file is never written to.
 *
 * The mapping is of the file as it was opened: replacing the file by rename
 * leaves it intact. Links are followed (a model directory in the hub's cache
 * holds links to blobs). Distinct objects may be used from distinct threads,
 * and one object from many threads for reading. */
#ifndef LVLM_FORMATS_BASE_INFILE_H
#define LVLM_FORMATS_BASE_INFILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "formats/base/error.h"

typedef struct lvlm_infile {
    const unsigned char *bytes; /* NULL when the file is empty */
    uint64_t n_bytes;
    char *path;
} lvlm_infile;

/* Map `path`, a regular file. On success *out must be closed with
 * lvlm_infile_close. LVLM_EIO: "PATH: cannot open: ..." and the like;
 * a directory or a device is LVLM_EIO too ("is not a regular file"). */
LVLM_MUST_CHECK int lvlm_infile_open(lvlm_infile **out, const char *path,
                                     lvlm_error *err);
void lvlm_infile_close(lvlm_infile *file);

/* Tell the kernel that these bytes are needed soon, or no more (they leave the
 * resident set, not the page cache). Advice only: never fails. */
void lvlm_infile_will_need(const lvlm_infile *file, uint64_t offset, uint64_t n_bytes);
void lvlm_infile_done_with(const lvlm_infile *file, uint64_t offset, uint64_t n_bytes);

/* True when `path` names something that exists (links followed). */
bool lvlm_path_exists(const char *path);
bool lvlm_path_is_directory(const char *path);
/* Part after the last '/', borrowed from `path`. */
const char *lvlm_path_base(const char *path);

/* The regular files (links followed) directly inside `dir`, names sorted bytewise.
 * *names_out is owned: free with lvlm_path_list_free. */
LVLM_MUST_CHECK int lvlm_path_list(char ***names_out, size_t *n_out, const char *dir,
                                   lvlm_error *err);
/* The same of what is no regular file: folders, links that lead nowhere. Names that
 * begin with a dot are not listed. */
LVLM_MUST_CHECK int lvlm_path_list_others(char ***names_out, size_t *n_out,
                                          const char *dir, lvlm_error *err);
void lvlm_path_list_free(char **names, size_t n);

#endif
