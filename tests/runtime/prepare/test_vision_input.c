/* test_vision_input.c - the tensors of the processors, bit for bit; what they do not
 * support is refused by name. */
#include "runtime/prepare/image/vision_input.h"

#include "tests/runtime/prepare/bare_model.h"

/* ---- recorded runs -------------------------------------------------------------- */

enum { IMAGES = 16, TEXTS = 4 };

/* The request of a run: a list of names, or a list of names per text. */
typedef struct batch {
    char paths[IMAGES][RECORDED_PATH];
    const char *images[IMAGES];
    size_t per_text[TEXTS];
    lvlm_vision_request request;
} batch;

static void add_image(batch *b, const char *name)
{
    const size_t i = b->request.n_images++;
    assert_true(i < IMAGES);
    b->images[i] = recorded_path(b->paths[i], name);
}

static void batch_read(batch *b, const cJSON *texts)
{
    const cJSON *text, *name;
    *b = (batch){ .request = { .images = b->images, .per_text = b->per_text } };
    LVLM_JSON_ITEMS (text, texts) {
        if (cJSON_IsString(text)) {
            add_image(b, text->valuestring);
            continue;
        }
        assert_true(b->request.n_texts < TEXTS);
        b->per_text[b->request.n_texts++] = lvlm_json_count(text);
        LVLM_JSON_ITEMS (name, text) add_image(b, name->valuestring);
    }
    if (b->request.n_texts == 0)
        b->per_text[b->request.n_texts++] = b->request.n_images;
}

/* One run of a case, and its name in messages. */
typedef struct recorded_run {
    const bare_model *model;
    const char *resampling;
    bool drop_alpha, pad_to_square;
    const cJSON *run;
    const lvlm_checkpoint *whole; /* complete recorded tensors, ... */
    const char *case_name;        /* ... as CASE.RESAMPLING.TENSOR */
    char what[2 * RECORDED_PATH];
} recorded_run;

static void same_shape(const lvlm_tensor *got, const cJSON *shape, const char *what)
{
    char text[LVLM_SHAPE_TEXT];
    const cJSON *dim;
    bool same = got->shape.n == lvlm_json_count(shape);
    size_t i = 0;
    LVLM_JSON_ITEMS (dim, shape) {
        uint64_t value = 0;
        same = same && lvlm_json_u64(&value, dim) && got->shape.dims[i++] == value;
    }
    if (!same)
        fail_msg("%s: %s %s", what, got->name, lvlm_shape_text(text, &got->shape));
}

/* Complete tensors show more than a digest. */
static void same_values(const recorded_run *r, const lvlm_tensor *got)
{
    char name[2 * RECORDED_PATH];
    (void)snprintf(name, sizeof name, "%s.%s.%s", r->case_name, r->resampling,
                   got->name);
    const lvlm_tensor *const whole = lvlm_checkpoint_find(r->whole, name);
    const size_t bytes = lvlm_dtype_bytes(got->dtype);
    if (whole == NULL) return;
    assert_int_equal(got->n_bytes, whole->n_bytes);
    for (size_t i = 0; i < got->n_bytes / bytes; i++)
        if (memcmp(got->data + i * bytes, whole->data + i * bytes, bytes) != 0)
            fail_msg("%s: element %zu differs", name, i);
}

static void same_tensors(const recorded_run *r, const lvlm_vision_batch *out,
                         const cJSON *expected)
{
    const cJSON *entry;
    assert_int_equal(out->tensors.n, lvlm_json_count_members(expected));
    LVLM_JSON_MEMBERS (entry, expected) {
        size_t i = 0;
        while (i < out->tensors.n &&
               strcmp(out->tensors.at[i].name, entry->string) != 0)
            i++;
        if (i == out->tensors.n) fail_msg("%s: no %s", r->what, entry->string);
        const lvlm_tensor *const got = &out->tensors.at[i];
        same_shape(got, lvlm_json_get(entry, "shape"), r->what);
        same_values(r, got);
        if (!digest_is(got->data, got->n_bytes, recorded_word(entry, "sha256")))
            fail_msg("%s: %s: other values", r->what, got->name);
    }
}

static uint64_t setting(const bare_model *m, const char *path)
{
    uint64_t value = 0;
    (void)lvlm_json_u64(&value, lvlm_json_path(m->manifest.config, path));
    return value;
}

/* The number of placeholders in the text equals the model's rows for these images. */
static void notes_fit(const recorded_run *r, const lvlm_vision_batch *out)
{
    const uint64_t merge = setting(r->model, "vision.merge");
    const uint64_t grid = setting(r->model, "vision.grid");
    const uint64_t queries = setting(r->model, "connector.queries");
    uint64_t got = 0, expected = out->n_images;
    for (size_t i = 0; i < out->n_images; i++) got += out->notes[i].tokens;
    if (out->tensors.at[0].shape.n == 2)
        expected = out->tensors.at[0].shape.dims[0] / (merge * merge);
    if (out->tensors.at[0].shape.n == 4)
        expected *= queries != 0 ? queries : grid * grid;
    if (expected != got) fail_msg("%s: %zu tokens", r->what, (size_t)got);
}

static void refused_by_name(const recorded_run *r, int rc, const lvlm_error *err,
                            const char *name)
{
    if (rc != LVLM_EFORMAT || strncmp(err->text, name, strlen(name)) != 0)
        fail_msg("%s: %s", r->what, err->text);
}

/* Returns true if there is such a run. */
static bool same_as_recorded(recorded_run *r)
{
    const cJSON *const expected = lvlm_json_get(r->run, r->resampling);
    const bool torchvision = strcmp(r->resampling, "torchvision") == 0;
    const lvlm_vision_options options = {
        .resampling =
            torchvision ? LVLM_RESAMPLING_TORCHVISION : LVLM_RESAMPLING_PILLOW,
        .drop_alpha = r->drop_alpha,
        .pad_to_square = r->pad_to_square,
    };
    lvlm_vision_input *input = NULL;
    lvlm_vision_batch out;
    lvlm_error err = { 0 };
    batch b;
    if (expected == NULL) return false;
    batch_read(&b, lvlm_json_get(r->run, "images"));
    (void)snprintf(r->what, sizeof r->what, "%s, %s, from %s", r->case_name,
                   r->resampling, b.images[0]);
    if (lvlm_vision_input_open(&input, &r->model->manifest, &options, &err) < 0)
        fail_msg("%s: %s", r->what, err.text);
    const int rc = lvlm_vision_input_read(&out, input, &b.request, &err);
    if (cJSON_IsNull(expected))
        refused_by_name(r, rc, &err, b.paths[0]);
    else if (rc < 0)
        fail_msg("%s: %s", r->what, err.text);
    else {
        same_tensors(r, &out, expected);
        notes_fit(r, &out);
    }
    lvlm_vision_batch_free(&out);
    lvlm_vision_input_close(input);
    return true;
}

/* Returns the number of runs. */
static size_t same_case(const cJSON *entry, const lvlm_checkpoint *whole)
{
    bare_model m;
    const cJSON *file;
    size_t n = 0;
    recorded_run r = { .model = &m,
                       .drop_alpha = lvlm_json_get(entry, "drop_alpha") != NULL,
                       .pad_to_square = lvlm_json_get(entry, "pad_to_square") != NULL,
                       .whole = whole,
                       .case_name = recorded_word(entry, "model") };
    bare_model_open(&m, r.case_name);
    LVLM_JSON_MEMBERS (file, lvlm_json_get(entry, "files")) {
        char *text = NULL;
        assert_int_equal(lvlm_json_print(&text, file, NULL), 0);
        bare_model_add(&m, file->string, text);
        lvlm_free(text);
    }
    LVLM_JSON_ITEMS (r.run, lvlm_json_get(entry, "runs")) {
        r.resampling = "pillow";
        n += same_as_recorded(&r);
        r.resampling = "torchvision";
        n += same_as_recorded(&r);
    }
    bare_model_close(&m);
    return n;
}

static void tensors_are_the_processors(void **state)
{
    char path[RECORDED_PATH];
    cJSON *const json = recorded_json();
    lvlm_checkpoint *whole = NULL;
    const cJSON *entry;
    size_t n = 0;
    (void)state;
    assert_int_equal(lvlm_checkpoint_open(
                         &whole, recorded_path(path, "whole.safetensors"), NULL, NULL),
                     0);
    LVLM_JSON_ITEMS (entry, lvlm_json_get(json, "processors"))
        n += same_case(entry, whole);
    assert_true(n >= 530);
    lvlm_checkpoint_close(whole);
    lvlm_json_free(json);
}

/* ---- requests ------------------------------------------------------------------- */

#define QWEN2 "real_sizes/Qwen2-VL-2B"
#define SIGLIP "real_sizes/paligemma-3b-448"
#define SIZE448 "\"size\":{\"height\":448,\"width\":448}"

/* One image through a model with that file. Returns the code; *out is to be freed. */
static int read_one(lvlm_vision_batch *out, const char *folder, const char *file,
                    const char *image, const lvlm_vision_options *options,
                    lvlm_error *err)
{
    bare_model m;
    char path[RECORDED_PATH];
    lvlm_vision_input *input = NULL;
    const char *const source = recorded_path(path, image);
    const size_t one = 1;
    const lvlm_vision_request request = { &source, one, &one, 1 };
    bare_model_open(&m, folder);
    bare_model_add(&m, "preprocessor_config.json", file);
    if (lvlm_vision_input_open(&input, &m.manifest, options, err) < 0)
        fail_msg("%s", err->text);
    const int rc = lvlm_vision_input_read(out, input, &request, err);
    lvlm_vision_input_close(input);
    bare_model_close(&m);
    return rc;
}

static void images_that_do_not_fit_are_named(void **state)
{
    static const struct {
        const char *folder, *file, *image, *message;
    } all[] = {
        { QWEN2, "{}", "png-column.png",
          "has 1 x 300 pixels, one side may be at most 200 times the other" },
        { QWEN2, "{\"do_resize\":false}", "png-rgb.png", "expected multiples of 28" },
        { QWEN2, "{\"min_pixels\":1000000000}", "png-rgb.png", "would be resized to" },
        { SIGLIP, "{" SIZE448 ",\"do_resize\":false}", "png-rgb.png",
          "has 160 x 120 pixels, expected 448 x 448" },
        { SIGLIP, "{" SIZE448 "}", "none.png", "none.png: cannot open" },
        { SIGLIP, "{" SIZE448 "}", "expected.json",
          "is not an image that can be read" },
    };
    (void)state;
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        lvlm_vision_batch out;
        lvlm_error err = { 0 };
        assert_true(
            read_one(&out, all[i].folder, all[i].file, all[i].image, NULL, &err) < 0);
        if (strstr(err.text, all[i].message) == NULL ||
            strstr(err.text, all[i].image) == NULL)
            fail_msg("expected \"%s\", got \"%s\"", all[i].message, err.text);
        assert_int_equal(out.tensors.n, 0);
        lvlm_vision_batch_free(&out);
    }
}

static void options_reach_the_decoder(void **state)
{
    const lvlm_vision_options small = { .image = { .max_pixels = 100 } };
    static const char name[] = "jpeg-turned-6.jpg";
    lvlm_vision_batch out;
    lvlm_error err = { 0 };
    (void)state;
    assert_int_equal(read_one(&out, QWEN2, "{}", name, NULL, &err), 0);
    assert_int_equal(out.notes[0].width, 19); /* not rotated */
    assert_true(out.notes[0].rows < out.notes[0].columns);
    lvlm_vision_batch_free(&out);
    assert_int_equal(read_one(&out, QWEN2, "{}", name, &small, &err), LVLM_EFORMAT);
    assert_non_null(strstr(err.text, "at most 100 are taken"));
}

static void without_images_there_is_no_tensor(void **state)
{
    bare_model m;
    lvlm_vision_input *input = NULL;
    lvlm_vision_batch out;
    const lvlm_vision_request request = { .n_images = 0 };
    (void)state;
    bare_model_open(&m, QWEN2);
    bare_model_add(&m, "preprocessor_config.json", "{}");
    assert_int_equal(lvlm_vision_input_open(&input, &m.manifest, NULL, NULL), 0);
    bare_model_close(&m); /* no longer needed */
    assert_int_equal(lvlm_vision_input_read(&out, input, &request, NULL), 0);
    assert_int_equal(out.tensors.n, 0);
    lvlm_vision_batch_free(&out);
    lvlm_vision_input_close(input);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tensors_are_the_processors),
        cmocka_unit_test(images_that_do_not_fit_are_named),
        cmocka_unit_test(options_reach_the_decoder),
        cmocka_unit_test(without_images_there_is_no_tensor),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
