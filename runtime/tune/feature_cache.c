/* feature_cache.c - features by what they follow from; see feature_cache.h.
 *
 *   model -> digest of settings;  with images -> key -> file */
#include "runtime/tune/feature_cache.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "formats/base/alloc.h"
#include "formats/base/infile.h"
#include "formats/base/json.h"
#include "formats/base/outfile.h"
#include "formats/base/version.h"
#include "formats/container/safetensors.h"
#include "formats/native/digests.h"
#include "formats/native/native.h"
#include "runtime/batch/images.h"
#include "runtime/part.h"

#define FORMAT "lvlm-features"
#define VERSION "1"

enum { PATH_BYTES = 4096 };

/* ---- keys ----------------------------------------------------------------------- */

static void add_text(lvlm_digest *d, const char *text)
{
    lvlm_digest_update(d, text, strlen(text) + 1);
}

static void add_count(lvlm_digest *d, uint64_t n)
{
    lvlm_digest_update(d, &n, sizeof n);
}

/* An array that may not be there. */
static void add_array(lvlm_digest *d, const void *at, size_t n, size_t bytes)
{
    add_count(d, at != NULL ? n : 0);
    if (at != NULL) lvlm_digest_update(d, at, n * bytes);
}

static void add_pixels(lvlm_digest *d, const lvlm_tensor *t)
{
    add_count(d, t != NULL);
    if (t == NULL) return;
    add_count(d, t->dtype);
    add_array(d, t->shape.dims, t->shape.n, sizeof *t->shape.dims);
    lvlm_digest_update(d, t->data, (size_t)t->n_bytes);
}

/* What a tower reads of a batch's images (lvlm_images). */
static void add_images(lvlm_digest *d, const lvlm_images *images)
{
    const size_t n = images->n;
    /* pixels [B, M, tiles, ...] */
    const size_t tiles =
        images->live != NULL ? (size_t)images->pixels->shape.dims[2] : 0;
    add_count(d, n);
    add_count(d, images->n_videos);
    add_count(d, images->side);
    add_count(d, images->per_text);
    add_pixels(d, images->pixels);
    add_pixels(d, images->video_pixels);
    add_array(d, images->grids, n, sizeof *images->grids);
    add_array(d, images->aspect_ids, n, sizeof *images->aspect_ids);
    add_array(d, images->live, n * tiles, sizeof *images->live);
}

static int add_tower(lvlm_digest *d, const lvlm_manifest *m, lvlm_error *err)
{
    assert(m->checkpoint->kind == LVLM_CHECKPOINT_NATIVE);
    for (size_t i = 0; i < m->n_targets; i++) {
        const lvlm_tensor *const t = m->targets[i].here.tensor;
        if (t == NULL || lvlm_part_of(m->targets[i].name) != LVLM_PART_VISION) continue;
        const char *const hex = lvlm_native_digest_of(m->checkpoint, t);
        TRY(lvlm_native_digest_line(d, t, hex, err));
    }
    return 0;
}

int lvlm_feature_cache_begin(lvlm_feature_cache *c, const lvlm_model *model,
                             const lvlm_model_options *options, lvlm_error *err)
{
    const lvlm_manifest *const manifest = lvlm_model_manifest(model);
    const char *const reference = options->reference;
    char *config = NULL;
    TRY(lvlm_json_print(&config, manifest->config, err));
    lvlm_digest d = lvlm_digest_start();
    add_text(&d, FORMAT " " VERSION);
    add_text(&d, lvlm_version());
    add_text(&d, lvlm_compute_name(options->compute));
    add_text(&d, lvlm_kernel_name(options->compute));
    add_text(&d, reference != NULL ? reference : LVLM_REFERENCE_TRAINED);
    add_text(&d, config);
    lvlm_free(config);
    const int rc = add_tower(&d, manifest, err);
    if (rc == 0) return lvlm_digest_finish(&d, c->settings, err);
    lvlm_digest_free(&d);
    return rc;
}

/* ---- files ---------------------------------------------------------------------- */

static void path_of(char path[PATH_BYTES], const lvlm_feature_cache *c)
{
    (void)snprintf(path, PATH_BYTES, "%s/%s.safetensors", c->dir, c->key);
}

static int metadata_of(cJSON **out, const lvlm_feature_cache *c, lvlm_error *err)
{
    cJSON *const metadata = *out = cJSON_CreateObject();
    const bool ok = metadata != NULL &&
                    cJSON_AddStringToObject(metadata, "format", FORMAT) != NULL &&
                    cJSON_AddStringToObject(metadata, "version", VERSION) != NULL &&
                    cJSON_AddStringToObject(metadata, "key", c->key) != NULL;
    return ok ? 0 : lvlm_fail_memory(err);
}

static bool has(const lvlm_checkpoint *file, const char *key, const char *value)
{
    const char *const text = lvlm_checkpoint_meta(file, key);
    return text != NULL && strcmp(text, value) == 0;
}

/* Checks what it has copied: a mapped file may change. */
static int copy_values(void *values, lvlm_checkpoint *file, const lvlm_feature_cache *c,
                       const lvlm_tensor *rows, lvlm_error *err)
{
    lvlm_hex_digest hex;
    FAIL_IF(!has(file, "format", FORMAT) || !has(file, "version", VERSION) ||
                !has(file, "key", c->key),
            err, LVLM_EFORMAT, "does not hold the features that its name says");
    TRY(lvlm_native_check_seal(file, err));
    const lvlm_tensor *const t = lvlm_checkpoint_find(file, rows->name);
    FAIL_IF(t == NULL || t->dtype != rows->dtype ||
                !lvlm_shape_equal(&t->shape, &rows->shape),
            err, LVLM_EFORMAT, "features of another type or shape");
    memcpy(values, t->data, (size_t)t->n_bytes);
    TRY(lvlm_digest_bytes(hex, values, (size_t)t->n_bytes, err));
    FAIL_IF(strcmp(hex, lvlm_native_digest_of(file, t)) != 0, err, LVLM_ECHECK,
            "the features are not those of the recorded digest");
    return 0;
}

static int read_file(void *values, const char *path, const lvlm_feature_cache *c,
                     const lvlm_tensor *rows, lvlm_error *err)
{
    lvlm_checkpoint *file = NULL;
    TRY(lvlm_checkpoint_open(&file, path, NULL, err));
    const int rc =
        lvlm_within(copy_values(values, file, c, rows, err), err, "%s: ", path);
    lvlm_checkpoint_close(file);
    return rc;
}

static int find(void *user, bool *found, const lvlm_images *images,
                const lvlm_tensor *rows, void *values, lvlm_error *err)
{
    lvlm_feature_cache *const c = user;
    char path[PATH_BYTES];
    lvlm_error why;
    assert(lvlm_digest_is(c->settings)); /* begun */
    lvlm_digest d = lvlm_digest_start();
    add_text(&d, c->settings);
    add_images(&d, images);
    TRY(lvlm_digest_finish(&d, c->key, err));
    path_of(path, c);
    const bool exists = lvlm_path_exists(path);
    *found = exists && read_file(values, path, c, rows, &why) == 0;
    c->n_hits += *found;
    c->n_misses += !*found;
    if (!exists || *found) return 0;
    c->n_damaged++;
    return lvlm_notes_add(c->notes, err, "%s; computed again", why.text);
}

static int save(const lvlm_feature_cache *c, const lvlm_tensor *rows, lvlm_error *err)
{
    char path[PATH_BYTES];
    cJSON *metadata = NULL;
    path_of(path, c);
    int rc = metadata_of(&metadata, c, err);
    if (rc == 0) rc = lvlm_seal(metadata, rows, 1, 1, err);
    if (rc == 0) rc = lvlm_safetensors_save(path, rows, 1, metadata, true, err);
    lvlm_json_free(metadata);
    return rc;
}

/* What cannot be kept can still be trained with. */
static int keep(void *user, const lvlm_tensor *rows, lvlm_error *err)
{
    lvlm_feature_cache *const c = user;
    lvlm_error why;
    assert(lvlm_digest_is(c->key));
    if (c->full || save(c, rows, &why) == 0) return 0;
    c->full = true;
    return lvlm_notes_add(c->notes, err, "%s; no more features are kept in this run",
                          why.text);
}

int lvlm_feature_cache_open(lvlm_feature_cache *out, const char *dir, lvlm_notes *notes,
                            lvlm_error *err)
{
    *out = (lvlm_feature_cache){ .dir = dir, .notes = notes };
    out->store = (lvlm_feature_store){ .find = find, .keep = keep, .user = out };
    FAIL_IF(strlen(dir) >= PATH_BYTES - 2 * LVLM_DIGEST_HEX, err, LVLM_EUSAGE,
            "%.40s...: the path is too long", dir);
    TRY(lvlm_folder_make(dir, err));
    FAIL_IF(!lvlm_path_is_directory(dir), err, LVLM_EUSAGE, "%s: is not a folder", dir);
    return 0;
}
