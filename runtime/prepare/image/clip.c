/* clip.c - the files of a clip; see clip.h. */
#include "runtime/prepare/image/clip.h"

#include <ctype.h>
#include <string.h>

#include "formats/base/infile.h"

lvlm_clip *lvlm_clip_copy(const lvlm_clip *clip, lvlm_arena *arena)
{
    lvlm_clip *const copy = lvlm_arena_alloc(arena, 1, sizeof *copy);
    if (copy == NULL) return NULL;
    const char **const files =
        lvlm_arena_alloc(arena, clip->n_files + 1, sizeof *files);
    for (size_t i = 0; files != NULL && i < clip->n_files; i++) {
        files[i] = lvlm_arena_strndup(arena, clip->files[i], strlen(clip->files[i]));
        if (files[i] == NULL) return NULL;
    }
    *copy = (lvlm_clip){ files, clip->n_files, clip->fps };
    return files != NULL ? copy : NULL;
}

static bool is_digit(char c)
{
    return isdigit((unsigned char)c) != 0;
}

/* The first digit of the number that `text` has at `at`, its leading zeros skipped. */
static const char *number_at(const char *text, size_t at, size_t *n_digits)
{
    while (at > 0 && is_digit(text[at - 1])) at--;
    while (text[at] == '0') at++;
    *n_digits = 0;
    while (is_digit(text[at + *n_digits])) ++*n_digits;
    return text + at;
}

/* "f10.png", "f9.png": is the first number that differs larger in `a`? */
static bool counts_back(const char *a, const char *b)
{
    size_t at = 0, na, nb;
    while (a[at] != '\0' && a[at] == b[at]) at++;
    const char *const x = number_at(a, at, &na), *const y = number_at(b, at, &nb);
    if (na == 0 || nb == 0) return false;
    return na != nb ? na > nb : strncmp(x, y, na) > 0;
}

static int note_order(const char *folder, char *const *names, size_t n,
                      lvlm_notes *notes, lvlm_error *err)
{
    for (size_t i = 1; i < n; i++)
        if (counts_back(names[i - 1], names[i]))
            return lvlm_notes_add(notes, err,
                                  "%s: frames are in the order of their names: '%s' "
                                  "before '%s'; numbers of equal length, with zeros in "
                                  "front, are in order",
                                  folder, names[i - 1], names[i]);
    return 0;
}

static int keep_names(lvlm_clip *out, const char *folder, char *const *names, size_t n,
                      lvlm_arena *arena, lvlm_error *err)
{
    const char **const files = lvlm_arena_alloc(arena, n + 1, sizeof *files);
    if (files == NULL) return lvlm_fail_memory(err);
    out->files = files;
    out->n_files = 0;
    for (size_t i = 0; i < n; i++) {
        if (names[i][0] == '.') continue;
        const char *const path = lvlm_arena_printf(arena, "%s/%s", folder, names[i]);
        if (path == NULL) return lvlm_fail_memory(err);
        files[out->n_files++] = path;
    }
    FAIL_IF(out->n_files == 0, err, LVLM_EFORMAT, "%s: no frames are in this folder",
            folder);
    return 0;
}

static int list_folder(lvlm_clip *out, const char *folder, lvlm_arena *arena,
                       lvlm_notes *notes, lvlm_error *err)
{
    char **names;
    size_t n;
    TRY(lvlm_path_list(&names, &n, folder, err));
    int rc = keep_names(out, folder, names, n, arena, err);
    if (rc == 0) rc = note_order(folder, names, n, notes, err);
    lvlm_path_list_free(names, n);
    return rc;
}

int lvlm_clip_frames(lvlm_clip *out, const lvlm_clip *clip, lvlm_arena *arena,
                     lvlm_notes *notes, lvlm_error *err)
{
    *out = *clip;
    FAIL_IF(clip->n_files == 0, err, LVLM_EFORMAT, "a video has no frames");
    if (clip->n_files == 1 && lvlm_path_is_directory(clip->files[0]))
        return list_folder(out, clip->files[0], arena, notes, err);
    for (size_t i = 0; i < clip->n_files; i++) {
        FAIL_IF(!lvlm_path_exists(clip->files[i]), err, LVLM_EIO,
                "%s: there is no such %s", clip->files[i],
                clip->n_files == 1 ? "folder or frame" : "frame");
        FAIL_IF(lvlm_path_is_directory(clip->files[i]), err, LVLM_EFORMAT,
                "%s: a folder among the frames of a video, expected an image",
                clip->files[i]);
    }
    return 0;
}
