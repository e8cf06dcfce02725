/* mistakes.c - see mistakes.h. */
#include "tests/planted/mistakes.h"

#include <stdio.h>

#include "formats/base/alloc.h"
#include "formats/container/numeric.h"
#include "formats/container/safetensors.h"
#include "formats/container/side_file.h"
#include "tests/convert/converted.h"

enum { MORE_TENSORS = 256 };

static void *room(plant *p, size_t n, size_t bytes)
{
    void *const memory = lvlm_arena_alloc(&p->arena, n + 1, bytes);
    assert_non_null(memory);
    return memory;
}

void plant_open(plant *p, const char *folder)
{
    lvlm_error err;
    *p = (plant){ .source = must_open(folder), .arena = LVLM_ARENA_INIT };
    if (lvlm_manifest_build(&p->manifest, p->source, &err) < 0 ||
        lvlm_side_file_json(&p->right, p->source, "config.json", &err) < 0)
        fail_msg("%s: %s", folder, err.text);
    p->config = cJSON_Duplicate(p->right, true);
    assert_non_null(p->config);
    p->n = p->source->n_tensors;
    p->tensors = room(p, p->n + MORE_TENSORS, sizeof *p->tensors);
    for (size_t i = 0; i < p->n; i++) {
        const lvlm_tensor *const t = &p->source->tensors[i];
        unsigned char *const bytes = room(p, (size_t)t->n_bytes, 1);
        memcpy(bytes, t->data, (size_t)t->n_bytes);
        p->tensors[i] = *t;
        p->tensors[i].data = bytes;
    }
}

void plant_close(plant *p)
{
    lvlm_json_free(p->right);
    lvlm_json_free(p->config);
    lvlm_manifest_free(&p->manifest);
    lvlm_checkpoint_close(p->source);
    lvlm_arena_free(&p->arena);
}

static bool same(const lvlm_tensor *a, const lvlm_tensor *b)
{
    return a->name != NULL && a->n_bytes == b->n_bytes &&
           strcmp(a->name, b->name) == 0 && lvlm_shape_equal(&a->shape, &b->shape) &&
           memcmp(a->data, b->data, (size_t)a->n_bytes) == 0;
}

bool plant_is_wrong(const plant *p)
{
    if (p->n != p->source->n_tensors) return true;
    for (size_t i = 0; i < p->n; i++)
        if (!same(&p->tensors[i], &p->source->tensors[i])) return true;
    return cJSON_Compare(p->right, p->config, true) == 0;
}

static void save_config(const plant *p, const char *folder)
{
    char path[2 * SCRATCH_PATH], *text = NULL;
    lvlm_error err;
    (void)snprintf(path, sizeof path, "%s/config.json", folder);
    if (lvlm_json_print_pretty(&text, p->config, &err) < 0 ||
        lvlm_outfile_save(path, text, strlen(text), true, &err) < 0)
        fail_msg("%s", err.text);
    lvlm_free(text);
}

void plant_save(plant *p, const char *folder)
{
    char path[2 * SCRATCH_PATH];
    lvlm_error err;
    lvlm_tensor *const kept = room(p, p->n, sizeof *kept);
    size_t n = 0;
    for (size_t i = 0; i < p->n; i++)
        if (p->tensors[i].name != NULL) kept[n++] = p->tensors[i];
    (void)snprintf(path, sizeof path, "%s/model.safetensors", folder);
    if (lvlm_safetensors_save(path, kept, n, NULL, true, &err) < 0)
        fail_msg("%s", err.text);
    save_config(p, folder);
}

/* ---- tensors --------------------------------------------------------------------- */

lvlm_tensor *plant_tensor(plant *p, const lvlm_target *target)
{
    assert_non_null(target->here.tensor);
    return &p->tensors[target->here.tensor - p->source->tensors];
}

const lvlm_target *plant_of_block(const plant *p, const lvlm_target *target,
                                  uint64_t block)
{
    const lvlm_target *const other =
        lvlm_manifest_find_in_block(&p->manifest, target, block);
    return other != NULL && other->here.tensor != NULL ? other : NULL;
}

size_t plant_count(const plant *p, const char *path)
{
    uint64_t n = 0;
    return lvlm_json_u64(&n, lvlm_json_path(p->manifest.config, path)) ? (size_t)n : 0;
}

/* ---- values ---------------------------------------------------------------------- */

/* Where in its tensor each value of the target is. */
static uint64_t *find_places(plant *p, const lvlm_target *target, size_t n)
{
    const size_t all = (size_t)lvlm_tensor_numel(target->here.tensor);
    uint64_t *const places = room(p, n, sizeof *places);
    uint64_t *const count = room(p, all, sizeof *count);
    for (size_t i = 0; i < all; i++) count[i] = i;
    const lvlm_elements elements = { .at = count, .n = all, .bytes = sizeof *count };
    if (lvlm_transform_is_keep(&target->here.transform))
        memcpy(places, count, n * sizeof *places);
    else
        assert_true(
            lvlm_transform_gather(places, 0, n, &target->here.transform, elements));
    return places;
}

plant_values plant_read(plant *p, const lvlm_target *target)
{
    plant_values v = { .p = p, .target = target, .tensor = plant_tensor(p, target) };
    uint64_t n = 0;
    assert_true(lvlm_shape_numel(&n, &target->shape));
    v.n = (size_t)n;
    v.rows = target->shape.n > 0 ? (size_t)target->shape.dims[0] : 1;
    v.columns = v.n / v.rows;
    v.places = find_places(p, target, v.n);
    v.x = room(p, v.n, sizeof *v.x);
    const size_t width = lvlm_dtype_bytes(v.tensor->dtype);
    for (size_t i = 0; i < v.n; i++)
        lvlm_convert_values(&v.x[i], LVLM_F64, v.tensor->data + v.places[i] * width,
                            v.tensor->dtype, 1);
    return v;
}

void plant_write(const plant_values *v)
{
    const size_t width = lvlm_dtype_bytes(v->tensor->dtype);
    unsigned char *const bytes = (unsigned char *)(uintptr_t)v->tensor->data;
    for (size_t i = 0; i < v->n; i++)
        lvlm_convert_values(bytes + v->places[i] * width, v->tensor->dtype, &v->x[i],
                            LVLM_F64, 1);
}
