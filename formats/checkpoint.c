/* checkpoint.c - opens a Hugging Face directory, a native file or a plain file of
 * tensors as one type.
 *
 *   add_file      maps a file and reads its tensors       (all kinds)
 *   open_dir      config.json, model files, side files    (Hugging Face)
 *   open_file     one file: native if its metadata says so; an .npz with the
 *                 config.json that its family derives from the shapes
 *   index_names   sorts tensors by name, checks the shard index
 *
 * A new container is added in add_file: anything that yields tensors in a mapped
 * file. */
#include "formats/checkpoint.h"

#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>

#include "formats/base/alloc.h"
#include "formats/base/json.h"
#include "formats/base/temporary.h"
#include "formats/base/text.h"
#include "formats/family.h"
#include "formats/hub_cache.h"
#include "formats/native.h"
#include "formats/npz.h"
#include "formats/packed.h"
#include "formats/safetensors.h"
#include "formats/shards.h"
#include "formats/side_file.h"
#include "formats/torchfile.h"

/* Files that hold weights are never kept as side files. */
static const char *const weight_globs[] = { "*.safetensors", "*.bin",       "*.pt",
                                            "*.pth",         "*.ckpt",      "*.gguf",
                                            "*.npz",         "*.h5",        "*.msgpack",
                                            "*.onnx",        "*.onnx_data", "*.lvlm" };

static bool holds_weights(const char *name)
{
    for (size_t i = 0; i < sizeof weight_globs / sizeof weight_globs[0]; i++)
        if (fnmatch(weight_globs[i], name, 0) == 0) return true;
    return false;
}

/* ---- tensors -------------------------------------------------------------------- */

/* Append the tensors of file number n_files. */
static int append_tensors(lvlm_checkpoint *cp, const lvlm_tensor *tensors, size_t n,
                          lvlm_error *err)
{
    lvlm_tensor *grown =
        lvlm_realloc(cp->tensors, cp->n_tensors + n + 1, sizeof *grown);
    if (grown == NULL) return lvlm_fail_memory(err);
    cp->tensors = grown;
    for (size_t i = 0; i < n; i++) {
        grown[cp->n_tensors] = tensors[i];
        grown[cp->n_tensors++].file = cp->n_files;
    }
    return 0;
}

static int refuse_pointer(const lvlm_infile *map, lvlm_error *err)
{
    FAIL_IF(lvlm_is_pointer(map->bytes, (size_t)map->n_bytes), err, LVLM_EFORMAT,
            LVLM_POINTER_TEXT);
    return 0;
}

/* Without a config.json the metadata of the first file becomes the checkpoint's. */
static int add_safetensors(lvlm_checkpoint *cp, const lvlm_infile *map, lvlm_error *err)
{
    lvlm_safetensors st = { 0 };
    TRY(lvlm_safetensors_read(&st, map, cp->headers_only, &cp->arena, err));
    int rc = 0;
    if (cp->tensors == NULL) { /* moved, not copied: there may be a million */
        cp->tensors = st.tensors;
        cp->n_tensors = st.n_tensors;
        st.tensors = NULL;
        cp->header_bytes = st.header_bytes;
        cp->header_in_order = st.metadata_first && st.data_in_order;
    } else {
        rc = append_tensors(cp, st.tensors, st.n_tensors, err);
    }
    if (rc == 0 && cp->metadata == NULL) {
        cp->metadata = st.metadata;
        st.metadata = NULL;
    }
    lvlm_safetensors_free(&st);
    return rc;
}

static lvlm_read how_to_read(const lvlm_checkpoint *cp)
{
    return cp->headers_only ? LVLM_READ_HEADERS
           : cp->in_place   ? LVLM_READ_IN_PLACE
                            : LVLM_READ_ALL;
}

static int add_torchfile(lvlm_checkpoint *cp, const lvlm_infile *map, lvlm_error *err)
{
    lvlm_torchfile torch;
    TRY(lvlm_torchfile_read(&torch, map, how_to_read(cp), &cp->arena, err));
    const int rc = append_tensors(cp, torch.tensors, torch.n_tensors, err);
    if (rc < 0) {
        lvlm_torchfile_free(&torch);
        return rc;
    }
    cp->files[cp->n_files].copies = torch.copies;
    cp->files[cp->n_files].zip = torch.zip;
    return 0;
}

static int add_npz(lvlm_checkpoint *cp, const lvlm_infile *map, lvlm_error *err)
{
    lvlm_npz npz;
    TRY(lvlm_npz_read(&npz, map, how_to_read(cp), &cp->arena, err));
    const int rc = append_tensors(cp, npz.tensors, npz.n_tensors, err);
    if (rc < 0) {
        lvlm_npz_free(&npz);
        return rc;
    }
    cp->files[cp->n_files].copies = npz.copies;
    cp->files[cp->n_files].compressed = npz.compressed;
    cp->files[cp->n_files].zip = npz.zip;
    return 0;
}

static bool is_npz(const char *name)
{
    return fnmatch("*.npz", name, 0) == 0;
}

static bool is_torchfile(const char *name, const lvlm_infile *map)
{
    if (fnmatch("*.safetensors", name, 0) == 0) return false;
    return fnmatch("*.bin", name, 0) == 0 || fnmatch("*.pt", name, 0) == 0 ||
           fnmatch("*.pth", name, 0) == 0 || lvlm_torchfile_is(map);
}

/* Map `path`, called `name`, and read its tensors. `files` has room and is zeroed. */
static int add_file(lvlm_checkpoint *cp, const char *path, const char *name,
                    lvlm_error *err)
{
    lvlm_infile *map = NULL;
    TRY(lvlm_infile_map(&map, path, err));
    int rc = refuse_pointer(map, err);
    if (rc == 0)
        rc = is_npz(name)              ? add_npz(cp, map, err)
             : is_torchfile(name, map) ? add_torchfile(cp, map, err)
                                       : add_safetensors(cp, map, err);
    if (rc < 0) {
        lvlm_prefix(err, "%s: ", path);
        lvlm_infile_close(map);
        return rc;
    }
    cp->files[cp->n_files].name = name;
    cp->files[cp->n_files++].map = map;
    return 0;
}

static int by_name(const void *a, const void *b)
{
    const lvlm_tensor *x = *(const lvlm_tensor *const *)a;
    const lvlm_tensor *y = *(const lvlm_tensor *const *)b;
    return strcmp(x->name, y->name);
}

static int index_names(lvlm_checkpoint *cp, lvlm_error *err)
{
    cp->by_name = lvlm_arena_alloc(&cp->arena, cp->n_tensors + 1, sizeof *cp->by_name);
    if (cp->by_name == NULL) return lvlm_fail_memory(err);
    for (size_t i = 0; i < cp->n_tensors; i++) cp->by_name[i] = &cp->tensors[i];
    qsort(cp->by_name, cp->n_tensors, sizeof *cp->by_name, by_name);
    return 0;
}

/* ---- a Hugging Face directory --------------------------------------------------- */

typedef struct listing {
    char **names;
    size_t n;
} listing;

static const char *join(lvlm_checkpoint *cp, const char *name)
{
    return lvlm_arena_printf(&cp->arena, "%s/%s", cp->path, name);
}

/* Add the note "NAME `what`". */
static int remark(lvlm_checkpoint *cp, const char *name, const char *what,
                  lvlm_error *err)
{
    return lvlm_notes_add(cp->notes, err, "%s/%s %s", cp->path, name, what);
}

/* Read one side file and list it. */
static int add_side_file(lvlm_checkpoint *cp, const char *name, lvlm_error *err)
{
    const char *path = join(cp, name);
    lvlm_side_file *side = &cp->side_files[cp->n_side_files];
    if (path == NULL) return lvlm_fail_memory(err);
    TRY(lvlm_infile_open(&cp->side_maps[cp->n_side_maps], path, err));
    const lvlm_infile *map = cp->side_maps[cp->n_side_maps++];
    *side = (lvlm_side_file){ lvlm_path_base(path), map->bytes, map->n_bytes };
    cp->n_side_files++;
    const bool refused_later = strcmp(name, "config.json") == 0;
    if (refused_later || !lvlm_is_pointer(map->bytes, (size_t)map->n_bytes)) return 0;
    return remark(cp, name, LVLM_POINTER_TEXT, err);
}

/* Native files are shared, so packing a file from elsewhere must be reported. */
static int note_link(lvlm_checkpoint *cp, const char *name, lvlm_error *err)
{
    if (!lvlm_path_leads_out(cp->path, name)) return 0;
    return remark(cp, name,
                  "is a link to a file outside of the model's directory: its contents "
                  "become part of the model",
                  err);
}

static bool is_model_file(const lvlm_checkpoint *cp, const char *name)
{
    for (size_t i = 0; i < cp->n_files; i++)
        if (strcmp(cp->files[i].name, name) == 0) return true;
    return false;
}

/* Every file in the directory that holds no weights. */
static int add_side_files(lvlm_checkpoint *cp, const listing *files, size_t n,
                          lvlm_error *err)
{
    cp->side_files = lvlm_arena_alloc(&cp->arena, n, sizeof *cp->side_files);
    cp->side_maps = lvlm_arena_alloc(&cp->arena, n, sizeof *cp->side_maps);
    if (cp->side_files == NULL || cp->side_maps == NULL) return lvlm_fail_memory(err);
    for (size_t i = 0; i < files->n; i++) {
        const char *const name = files->names[i];
        if (holds_weights(name) || lvlm_temporary_is(name)) continue;
        const char *const path = join(cp, name);
        if (path == NULL) return lvlm_fail_memory(err);
        if (lvlm_native_is_file(path)) {
            TRY(remark(cp, name, "is a native file: left behind", err));
            continue;
        }
        TRY(add_side_file(cp, name, err));
        TRY(note_link(cp, name, err));
    }
    return 0;
}

/* Note weights that are not the model's, and `others`, which are not files. */
static int remark_others(lvlm_checkpoint *cp, const listing *files,
                         const listing *others, lvlm_error *err)
{
    for (size_t i = 0; i < files->n; i++)
        if (holds_weights(files->names[i]) && !is_model_file(cp, files->names[i]) &&
            !lvlm_temporary_is(files->names[i]))
            TRY(remark(cp, files->names[i], "holds other weights: left behind", err));
    for (size_t i = 0; i < others->n; i++) {
        const char *const path = join(cp, others->names[i]);
        if (path == NULL) return lvlm_fail_memory(err);
        TRY(remark(cp, others->names[i],
                   lvlm_path_is_directory(path) ? "is a folder: left behind"
                                                : "leads to no file: left behind",
                   err));
    }
    return 0;
}

static int read_config(lvlm_checkpoint *cp, lvlm_error *err)
{
    const lvlm_side_file *file = lvlm_checkpoint_side_file(cp, "config.json");
    if (file == NULL) return 0;
    const lvlm_infile text = { .bytes = file->bytes, .n_bytes = file->n_bytes };
    int rc = refuse_pointer(&text, err);
    if (rc == 0)
        rc = lvlm_json_parse(&cp->config, (const char *)file->bytes,
                             (size_t)file->n_bytes, err);
    if (rc < 0) lvlm_prefix(err, "%s/config.json: ", cp->path);
    return rc;
}

/* File names of models in the order in which the reference's loader looks for them: for
 * each kind a single file precedes an index. */
static const struct model_names {
    const char *file, *index, *suffix;
} model_names[] = {
    { LVLM_MODEL_FILE, LVLM_INDEX_FILE, ".safetensors" },
    { LVLM_BIN_FILE, LVLM_BIN_INDEX_FILE, ".bin" },
};

/* Map the shards that an index names and check the index against them. */
static int add_shards(lvlm_checkpoint *cp, const struct model_names *names,
                      lvlm_error *err)
{
    const char *path = join(cp, names->index);
    lvlm_infile *index = NULL;
    lvlm_shards shards;
    int rc;

    if (path == NULL) return lvlm_fail_memory(err);
    TRY(lvlm_infile_open(&index, path, err));
    if ((rc = refuse_pointer(index, err)) < 0 ||
        (rc = lvlm_shards_parse(&shards, (const char *)index->bytes,
                                (size_t)index->n_bytes, names->suffix, &cp->arena,
                                err)) < 0) {
        lvlm_prefix(err, "%s: ", path);
        goto done;
    }
    cp->files = lvlm_arena_alloc(&cp->arena, shards.n_files, sizeof *cp->files);
    if (cp->files == NULL) rc = lvlm_fail_memory(err);
    for (size_t i = 0; i < shards.n_files && rc == 0; i++) {
        const char *file = join(cp, shards.files[i]);
        rc = file == NULL ? lvlm_fail_memory(err)
                          : add_file(cp, file, shards.files[i], err);
    }
    if (rc == 0) rc = index_names(cp, err);
    if (rc == 0 &&
        (rc = lvlm_shards_agree(&shards, cp->by_name, cp->n_tensors, err)) < 0)
        lvlm_prefix(err, "%s: ", path);
done:
    lvlm_infile_close(index);
    return rc;
}

static int add_single(lvlm_checkpoint *cp, const char *path, const char *name,
                      lvlm_error *err)
{
    cp->files = lvlm_arena_alloc(&cp->arena, 1, sizeof *cp->files);
    if (cp->files == NULL) return lvlm_fail_memory(err);
    TRY(add_file(cp, path, name, err));
    return index_names(cp, err);
}

static bool lists(const listing *files, const char *name)
{
    for (size_t i = 0; i < files->n; i++)
        if (strcmp(name, files->names[i]) == 0) return true;
    return false;
}

/* None of the names that a model has: what is there instead? */
static int refuse_others(const lvlm_checkpoint *cp, const listing *files,
                         lvlm_error *err)
{
    const char *weights = NULL;
    for (size_t i = 0; i < files->n && weights == NULL; i++)
        if (lvlm_ends_with(files->names[i], ".safetensors") ||
            lvlm_ends_with(files->names[i], ".bin") ||
            lvlm_ends_with(files->names[i], ".gguf"))
            weights = files->names[i];
    FAIL_IF(weights != NULL && strstr(weights, "-of-") != NULL, err, LVLM_EFORMAT,
            "%s: has %s but no index; %s.index.json belongs to the shards", cp->path,
            weights, lvlm_ends_with(weights, ".bin") ? LVLM_BIN_FILE : LVLM_MODEL_FILE);
    return lvlm_fail(err, LVLM_EFORMAT, "%s: holds neither %s nor %s, nor an index%s%s",
                     cp->path, LVLM_MODEL_FILE, LVLM_BIN_FILE,
                     weights != NULL ? "; it has " : "",
                     weights != NULL ? weights : "");
}

static int add_model_files(lvlm_checkpoint *cp, const listing *files, lvlm_error *err)
{
    for (size_t i = 0; i < sizeof model_names / sizeof model_names[0]; i++) {
        if (lists(files, model_names[i].file)) {
            const char *path = join(cp, model_names[i].file);
            return path == NULL ? lvlm_fail_memory(err)
                                : add_single(cp, path, model_names[i].file, err);
        }
        if (lists(files, model_names[i].index))
            return add_shards(cp, &model_names[i], err);
    }
    FAIL_IF(lists(files, "adapter_config.json"), err, LVLM_EFORMAT,
            "%s: is an adapter (PEFT), not a model: convert the base model that its "
            "adapter_config.json names; lvlm-convert merge-lora folds it in",
            cp->path);
    return refuse_others(cp, files, err);
}

/* If config.json shows that the model is not supported, report that instead of weights
 * that cannot be read (pointers, missing shards, another type of file). */
static int judge_config(const lvlm_checkpoint *cp, int rc, lvlm_error *err)
{
    const lvlm_family *family;
    lvlm_error why;
    if (cp->config == NULL || rc == LVLM_ENOMEM) return rc;
    int judged = lvlm_packed_settings_refuse(cp, &why);
    if (judged == 0 && (judged = lvlm_family_detect(&family, cp->config, &why)) < 0)
        lvlm_prefix(&why, "%s: ", cp->path);
    if (judged == 0) return rc;
    if (err != NULL) *err = why;
    return judged;
}

/* Open the model's files and check config.json. */
static int add_weights(lvlm_checkpoint *cp, const listing *files, lvlm_error *err)
{
    const int rc = add_model_files(cp, files, err);
    if (rc < 0) return judge_config(cp, rc, err);
    FAIL_IF(cp->config == NULL, err, LVLM_EFORMAT,
            "%s: holds no config.json; is it a Hugging Face model directory?",
            cp->path);
    return lvlm_packed_refuse(cp, err);
}

static int open_dir(lvlm_checkpoint *cp, lvlm_error *err)
{
    listing files = { NULL, 0 }, others = { NULL, 0 };
    int rc;

    cp->kind = LVLM_CHECKPOINT_HF;
    if ((rc = lvlm_path_list(&files.names, &files.n, cp->path, err)) == 0 &&
        (rc = lvlm_path_list_others(&others.names, &others.n, cp->path, err)) == 0 &&
        (rc = add_side_files(cp, &files, files.n + others.n + 1, err)) == 0 &&
        (rc = read_config(cp, err)) == 0 && (rc = add_weights(cp, &files, err)) == 0)
        rc = remark_others(cp, &files, &others, err);
    lvlm_path_list_free(files.names, files.n);
    lvlm_path_list_free(others.names, others.n);
    return rc;
}

/* ---- one file ------------------------------------------------------------------- */

/* The side files inside a native file. */
static int carry_side_files(lvlm_checkpoint *cp, lvlm_error *err)
{
    const size_t skip = strlen(LVLM_NATIVE_FILES);
    cp->side_files =
        lvlm_arena_alloc(&cp->arena, cp->n_tensors + 1, sizeof *cp->side_files);
    if (cp->side_files == NULL) return lvlm_fail_memory(err);
    for (size_t i = 0; i < cp->n_tensors; i++) {
        const lvlm_tensor *t = cp->by_name[i];
        if (strncmp(t->name, LVLM_NATIVE_FILES, skip) != 0) continue;
        cp->side_files[cp->n_side_files++] =
            (lvlm_side_file){ t->name + skip, t->data, t->n_bytes };
    }
    return 0;
}

/* ---- big_vision's .npz ---------------------------------------------------------- */

/* Use `bytes` as the config.json of an .npz. */
static int set_config(lvlm_checkpoint *cp, const char *path, const char *bytes,
                      uint64_t n_bytes, lvlm_error *err)
{
    cp->kind = LVLM_CHECKPOINT_NPZ;
    cp->side_files = lvlm_arena_alloc(&cp->arena, 1, sizeof *cp->side_files);
    if (cp->side_files == NULL) return lvlm_fail_memory(err);
    cp->side_files[cp->n_side_files++] =
        (lvlm_side_file){ "config.json", (const unsigned char *)bytes, n_bytes };
    const int rc = lvlm_json_parse(&cp->config, bytes, (size_t)n_bytes, err);
    if (rc < 0) lvlm_prefix(err, "%s: ", path);
    return rc;
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
    const int rc = (*f)->npz->config(&text, &cp->assumed, cp, &cp->arena, err);
    if (rc < 0) {
        lvlm_prefix(err, "%s: ", cp->path);
        return rc;
    }
    cp->config_made = true;
    return set_config(cp, cp->path, text, strlen(text), err);
}

static int open_file(lvlm_checkpoint *cp, const char *config, lvlm_error *err)
{
    cp->kind = LVLM_CHECKPOINT_PLAIN;
    TRY(add_single(cp, cp->path, lvlm_path_base(cp->path), err));
    if (is_npz(cp->path))
        return config != NULL ? give_config(cp, config, err) : make_config(cp, err);
    if (!lvlm_native_is(cp->metadata)) return 0;
    cp->kind = LVLM_CHECKPOINT_NATIVE;
    const int rc = lvlm_native_validate(cp, err);
    if (rc < 0) {
        lvlm_prefix(err, "%s: ", cp->path);
        return rc;
    }
    return carry_side_files(cp, err);
}

int lvlm_checkpoint_check_native(const void *header, size_t n_bytes, lvlm_error *err)
{
    lvlm_infile map = { .bytes = header, .n_bytes = n_bytes };
    lvlm_source_file file = { .name = "", .map = &map };
    lvlm_checkpoint *cp = lvlm_calloc(1, sizeof *cp);
    if (cp == NULL) return lvlm_fail_memory(err);
    cp->kind = LVLM_CHECKPOINT_NATIVE;
    cp->headers_only = true;
    cp->files = &file;
    int rc = add_safetensors(cp, &map, err);
    if (rc == 0) rc = index_names(cp, err);
    if (rc == 0) rc = lvlm_native_validate(cp, err);
    lvlm_checkpoint_close(cp); /* n_files is 0: the header is still the caller's */
    return rc;
}

/* ---- public --------------------------------------------------------------------- */

/* Resolve `path`: itself or, for a model id, its snapshot in the hub's cache. */
static int find(lvlm_checkpoint *cp, const char *path, lvlm_error *err)
{
    if (!lvlm_path_exists(path) && lvlm_hub_id_is(path) && !holds_weights(path))
        return lvlm_hub_cache_find(&cp->path, path, &cp->arena, err);
    cp->path = lvlm_arena_strndup(&cp->arena, path, strlen(path));
    return cp->path != NULL ? 0 : lvlm_fail_memory(err);
}

/* A snapshot in the cache holds what was downloaded so far: perhaps only the tokenizer,
 * or not yet all shards. */
static void tell_partial(const lvlm_checkpoint *cp, const char *path, int rc,
                         lvlm_error *err)
{
    if (cp->path == NULL || strcmp(cp->path, path) == 0) return;
    if (judge_config(cp, 0, NULL) < 0) return; /* downloading more would not help */
    if (lvlm_path_is_directory(cp->path) && (rc == LVLM_EIO || cp->n_files == 0))
        lvlm_prefix(err,
                    "%s is not complete in the local Hugging Face cache (\"hf "
                    "download\" fetches the rest): ",
                    path);
}

int lvlm_checkpoint_open(lvlm_checkpoint **out, const char *path,
                         const lvlm_open_options *options, lvlm_error *err)
{
    lvlm_checkpoint *cp = lvlm_calloc(1, sizeof *cp);
    const char *config = options != NULL ? options->config : NULL;
    int rc;

    if (cp == NULL) return lvlm_fail_memory(err);
    cp->headers_only = options != NULL && options->headers_only;
    cp->in_place = options != NULL && options->in_place;
    cp->notes = options != NULL ? options->notes : NULL;
    if ((rc = find(cp, path, err)) == 0)
        rc = lvlm_path_is_directory(cp->path) ? open_dir(cp, err)
                                              : open_file(cp, config, err);
    if (rc < 0) {
        tell_partial(cp, path, rc, err);
        lvlm_checkpoint_close(cp);
        return rc;
    }
    *out = cp;
    return 0;
}

void lvlm_checkpoint_close(lvlm_checkpoint *cp)
{
    if (cp == NULL) return;
    for (size_t i = 0; i < cp->n_files; i++) {
        lvlm_infile_close(cp->files[i].map);
        lvlm_free(cp->files[i].copies);
    }
    for (size_t i = 0; i < cp->n_side_maps; i++) lvlm_infile_close(cp->side_maps[i]);
    lvlm_native_free(cp->native);
    lvlm_json_free(cp->config);
    lvlm_json_free(cp->metadata);
    lvlm_free(cp->tensors);
    lvlm_arena_free(&cp->arena);
    lvlm_free(cp);
}

/* ---- changes -------------------------------------------------------------------- */

int lvlm_checkpoint_unchanged(const lvlm_checkpoint *cp, lvlm_error *err)
{
    for (size_t i = 0; i < cp->n_files; i++)
        TRY(lvlm_infile_unchanged(cp->files[i].map, err));
    for (size_t i = 0; i < cp->n_side_maps; i++)
        TRY(lvlm_infile_unchanged(cp->side_maps[i], err));
    return 0;
}

/* ---- finding -------------------------------------------------------------------- */

static int name_of_tensor(const void *name, const void *tensor)
{
    return strcmp(name, (*(const lvlm_tensor *const *)tensor)->name);
}

const lvlm_tensor *lvlm_checkpoint_find(const lvlm_checkpoint *cp, const char *name)
{
    if (cp->n_tensors == 0) return NULL;
    const lvlm_tensor *const *found =
        bsearch(name, cp->by_name, cp->n_tensors, sizeof *cp->by_name, name_of_tensor);
    return found != NULL ? *found : NULL;
}

static int name_of_side_file(const void *name, const void *side)
{
    return strcmp(name, ((const lvlm_side_file *)side)->name);
}

const lvlm_side_file *lvlm_checkpoint_side_file(const lvlm_checkpoint *cp,
                                                const char *name)
{
    if (cp->n_side_files == 0) return NULL;
    return bsearch(name, cp->side_files, cp->n_side_files, sizeof *cp->side_files,
                   name_of_side_file);
}
