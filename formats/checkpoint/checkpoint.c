/* checkpoint.c - opens a Hugging Face directory, a native file or a plain file of
 * tensors as one type.
 *
 *   checkpoint_directory.c  config.json, model files, side files (Hugging Face)
 *   open_file               one file: native if its metadata says so; an .npz with the
 *                           config.json that its family derives from the shapes
 *   contents_read.c         maps a file and reads its tensors (all kinds) */
#include "formats/checkpoint/checkpoint.h"

#include <assert.h>
#include <string.h>

#include "formats/base/alloc.h"
#include "formats/base/json.h"
#include "formats/checkpoint/checkpoint_parts.h"
#include "formats/checkpoint/hub_cache.h"
#include "formats/container/contents_read.h"
#include "formats/family/family.h"
#include "formats/native/native.h"

/* ---- big_vision's .npz ---------------------------------------------------------- */

/* Use `bytes` as the config.json of an .npz. */
static int set_config(lvlm_checkpoint *cp, const char *path, const char *bytes,
                      uint64_t n_bytes, lvlm_error *err)
{
    assert(cp->config == NULL && cp->side_files == NULL);
    cp->kind = LVLM_CHECKPOINT_NPZ;
    cp->side_files = lvlm_arena_alloc(&cp->arena, 1, sizeof *cp->side_files);
    if (cp->side_files == NULL) return lvlm_fail_memory(err);
    cp->side_files[cp->n_side_files++] =
        (lvlm_side_file){ "config.json", (const unsigned char *)bytes, n_bytes };
    return lvlm_within(lvlm_json_parse(&cp->config, bytes, (size_t)n_bytes, err), err,
                       "%s: ", path);
}

static int give_config(lvlm_checkpoint *cp, const char *path, lvlm_error *err)
{
    cp->side_maps = lvlm_arena_alloc(&cp->arena, 1, sizeof *cp->side_maps);
    if (cp->side_maps == NULL) return lvlm_fail_memory(err);
    TRY(lvlm_infile_open(&cp->side_maps[0], path, err));
    const lvlm_infile *map = cp->side_maps[cp->n_side_maps++];
    return set_config(cp, path, (const char *)map->bytes, map->n_bytes, err);
}

/* The first family that recognises these tensors derives their config.json. */
static int make_config(lvlm_checkpoint *cp, lvlm_error *err)
{
    const char *text = NULL;
    const lvlm_family *const *f = lvlm_families();
    while (*f != NULL && ((*f)->npz == NULL || !(*f)->npz->recognises(cp))) f++;
    if (*f == NULL) return 0;
    TRY(lvlm_within((*f)->npz->config(&text, &cp->assumed, cp, &cp->arena, err), err,
                    "%s: ", cp->path));
    cp->config_made = true;
    return set_config(cp, cp->path, text, strlen(text), err);
}

static int open_file(lvlm_checkpoint *cp, const char *config, lvlm_error *err)
{
    cp->kind = LVLM_CHECKPOINT_PLAIN;
    TRY(checkpoint_add_single(cp, cp->path, lvlm_path_base(cp->path), err));
    if (checkpoint_is_npz(cp->path))
        return config != NULL ? give_config(cp, config, err) : make_config(cp, err);
    if (!lvlm_native_is(cp->metadata)) return 0;
    cp->kind = LVLM_CHECKPOINT_NATIVE;
    TRY(lvlm_within(lvlm_native_validate(cp, err), err, "%s: ", cp->path));
    return lvlm_native_list_files(cp, err);
}

/* ---- public --------------------------------------------------------------------- */

/* Resolve `path`: itself or, for a model id, its snapshot in the hub's cache. */
static int find(lvlm_checkpoint *cp, const char *path, lvlm_error *err)
{
    if (!lvlm_path_exists(path) && lvlm_hub_id_is(path) &&
        !checkpoint_holds_weights(path))
        return lvlm_hub_cache_find(&cp->path, path, &cp->arena, err);
    cp->path = lvlm_arena_strndup(&cp->arena, path, strlen(path));
    return cp->path != NULL ? 0 : lvlm_fail_memory(err);
}

/* A snapshot in the cache holds what was downloaded so far: perhaps only the tokenizer,
 * or not yet all shards. */
static void explain_partial(const lvlm_checkpoint *cp, const char *path, int rc,
                            lvlm_error *err)
{
    if (cp->path == NULL || strcmp(cp->path, path) == 0) return;
    if (checkpoint_judge_config(cp, 0, NULL) < 0)
        return; /* downloading more would not help */
    if (lvlm_path_is_directory(cp->path) && (rc == LVLM_EIO || cp->n_files == 0))
        lvlm_prefix(err,
                    "%s is not complete in the local Hugging Face cache (\"hf "
                    "download\" fetches the rest): ",
                    path);
}

int lvlm_checkpoint_open(lvlm_checkpoint **out, const char *path,
                         const lvlm_open_options *options, lvlm_error *err)
{
    assert(path != NULL);
    lvlm_checkpoint *cp = lvlm_calloc(1, sizeof *cp);
    const char *config = options != NULL ? options->config : NULL;
    int rc;

    if (cp == NULL) return lvlm_fail_memory(err);
    cp->headers_only = options != NULL && options->headers_only;
    cp->in_place = options != NULL && options->in_place;
    cp->notes = options != NULL ? options->notes : NULL;
    if ((rc = find(cp, path, err)) == 0)
        rc = lvlm_path_is_directory(cp->path) ? checkpoint_open_directory(cp, err)
                                              : open_file(cp, config, err);
    if (rc < 0) {
        explain_partial(cp, path, rc, err);
        lvlm_checkpoint_close(cp);
        return rc;
    }
    *out = cp;
    return 0;
}

void lvlm_checkpoint_close(lvlm_checkpoint *cp)
{
    if (cp == NULL) return;
    lvlm_native_free(cp->native);
    checkpoint_free(cp);
}
