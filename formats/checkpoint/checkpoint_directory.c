/* checkpoint_directory.c - a Hugging Face directory: config.json, model files, side
 * files. */
#include "formats/checkpoint/checkpoint_parts.h"

#include <assert.h>
#include <string.h>

#include "formats/base/json.h"
#include "formats/base/temporary.h"
#include "formats/base/text.h"
#include "formats/checkpoint/packed.h"
#include "formats/container/contents_read.h"
#include "formats/container/shards.h"
#include "formats/container/side_file.h"
#include "formats/family/family.h"
#include "formats/native/native.h"

/* Files that hold weights are never kept as side files. */
static const char *const weight_globs[] = {
    "*.safetensors", "*.bin",     "*.pt",   "*.pth",       "*.ckpt", "*.gguf", "*.npz",
    "*.h5",          "*.msgpack", "*.onnx", "*.onnx_data", "*.lvlm", NULL
};

bool checkpoint_holds_weights(const char *name)
{
    return lvlm_matches(weight_globs, name);
}

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
    assert(cp->side_files != NULL && cp->side_maps != NULL);
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
        if (checkpoint_holds_weights(name) || lvlm_temporary_is(name)) continue;
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
        if (checkpoint_holds_weights(files->names[i]) &&
            !is_model_file(cp, files->names[i]) && !lvlm_temporary_is(files->names[i]))
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
    assert(cp->config == NULL);
    const lvlm_side_file *file = lvlm_checkpoint_side_file(cp, "config.json");
    if (file == NULL) return 0;
    const lvlm_infile text = { .bytes = file->bytes, .n_bytes = file->n_bytes };
    int rc = checkpoint_refuse_pointer(&text, err);
    if (rc == 0)
        rc = lvlm_json_parse(&cp->config, file->bytes, (size_t)file->n_bytes, err);
    return lvlm_within(rc, err, "%s/config.json: ", cp->path);
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
    if ((rc = checkpoint_refuse_pointer(index, err)) < 0 ||
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
                          : checkpoint_add_file(cp, file, shards.files[i], err);
    }
    if (rc == 0) rc = checkpoint_index_names(cp, err);
    if (rc == 0 &&
        (rc = lvlm_shards_agree(&shards, cp->by_name, cp->n_tensors, err)) < 0)
        lvlm_prefix(err, "%s: ", path);
done:
    lvlm_infile_close(index);
    return rc;
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
            return path == NULL
                       ? lvlm_fail_memory(err)
                       : checkpoint_add_single(cp, path, model_names[i].file, err);
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
int checkpoint_judge_config(const lvlm_checkpoint *cp, int rc, lvlm_error *err)
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
    if (rc < 0) return checkpoint_judge_config(cp, rc, err);
    FAIL_IF(cp->config == NULL, err, LVLM_EFORMAT,
            "%s: holds no config.json; is it a Hugging Face model directory?",
            cp->path);
    return lvlm_packed_refuse(cp, err);
}

int checkpoint_open_directory(lvlm_checkpoint *cp, lvlm_error *err)
{
    assert(cp->path != NULL && cp->n_files == 0);
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
