/* test_vision_settings.c - invalid settings are refused by name. */
#include "runtime/prepare/image/vision_input.h"

#include "tests/runtime/prepare/bare_model.h"

#define QWEN2 "real_sizes/Qwen2-VL-2B"
#define SIGLIP "real_sizes/paligemma-3b-448"
#define CLIP "real_sizes/llava-1.5-7b"
#define SIZE336 "\"size\":{\"shortest_edge\":336},\"crop_size\":336"
#define TILES "real_sizes/Llama-3.2-11B-Vision"
#define SIZE448 "\"size\":{\"height\":448,\"width\":448}"

typedef struct wrong_file {
    const char *folder, *text, *message;
} wrong_file;

static void is_named(const wrong_file *wrong)
{
    bare_model m;
    lvlm_vision_input *input = NULL;
    lvlm_error err = { 0 };
    bare_model_open(&m, wrong->folder);
    bare_model_add(&m, "preprocessor_config.json", wrong->text);
    assert_int_equal(lvlm_vision_input_open(&input, &m.manifest, NULL, &err),
                     LVLM_EFORMAT);
    if (strstr(err.text, wrong->message) == NULL ||
        strncmp(err.text, "model.lvlm: ", 12) != 0)
        fail_msg("expected \"%s\", got \"%s\"", wrong->message, err.text);
    assert_null(input);
    bare_model_close(&m);
}

static void wrong_settings_are_named(void **state)
{
    static const wrong_file all[] = {
        // clang-format off
        { QWEN2, "{", "preprocessor_config.json: " },
        { QWEN2, "[]", "preprocessor_config.json: is not an object" },
        { QWEN2, "{\"image_processor_type\":\"CLIPImageProcessor\"}", "image_processor_type is \"CLIPImageProcessor\", expected Qwen2VLImageProcessor" },
        { QWEN2, "{\"image_processor_type\":\"Qwen2VLImageProcessorX\"}", "expected Qwen2VLImageProcessor" },
        { QWEN2, "{\"do_resize\":1}", "do_resize is 1, expected true or false" },
        { QWEN2, "{\"do_center_crop\":true}", "do_center_crop is true, expected false" },
        { QWEN2, "{\"resample\":1}", "resample is 1, expected 2 (bilinear) or 3 (bicubic)" },
        { QWEN2, "{\"rescale_factor\":0}", "rescale_factor is 0, expected a number above 0" },
        { QWEN2, "{\"image_mean\":[0.5,0.5]}", "image_mean is [0.5,0.5], expected a number, or three" },
        { QWEN2, "{\"image_std\":[0.5,0,0.5]}", "image_std is [0.5,0,0.5], expected a number above 0, or three" },
        { QWEN2, "{\"patch_size\":16}", "patch_size is 16, the model takes 14" },
        { QWEN2, "{\"merge_size\":1}", "merge_size is 1, the model takes 2" },
        { QWEN2, "{\"temporal_patch_size\":1}", "temporal_patch_size is 1, the model takes 2" },
        { QWEN2, "{\"min_pixels\":0}", "min_pixels is 0, expected a whole number of at least 1" },
        { QWEN2, "{\"min_pixels\":3.5}", "min_pixels is 3.5, expected a whole number of at least 1" },
        { QWEN2, "{\"size\":{\"shortest_edge\":56}}", "expected shortest_edge and longest_edge" },
        { SIGLIP, "{}", "size is 224, the model takes 448" },
        { SIGLIP, "{\"size\":448}", "size is 448, expected equal height and width" },
        { SIGLIP, "{\"size\":{\"height\":448,\"width\":224}}", "expected equal height and width" },
        { SIGLIP, "{" SIZE448 ",\"image_seq_length\":256}", "image_seq_length is 256, the model takes 1024" },
        { TILES, "{" SIZE448 ",\"do_pad\":false}", "do_pad is false, expected true" },
        { TILES, "{" SIZE448 ",\"do_resize\":false}", "do_resize is false, expected true" },
        { TILES, "{" SIZE448 ",\"max_image_tiles\":9}", "max_image_tiles is 9, the model takes 4" },
        { TILES, "{\"size\":560}", "size is 560, the model takes 448" },
        // clang-format on
    };
    (void)state;
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) is_named(&all[i]);
}

static void wrong_settings_of_crops_are_named(void **state)
{
    static const wrong_file all[] = {
        // clang-format off
        { CLIP, "{}", "crop_size is 224, the model takes 336" },
        { CLIP, "{\"size\":336,\"crop_size\":224}", "crop_size is 224, the model takes 336" },
        { CLIP, "{\"size\":224,\"do_center_crop\":false}", "size is 224, the model takes 336" },
        { CLIP, "{\"size\":{\"shortest_edge\":336,\"longest_edge\":672},\"crop_size\":336}", "expected shortest_edge, or equal height and width" },
        { CLIP, "{\"size\":336,\"crop_size\":{\"height\":336,\"width\":224}}", "expected equal height and width" },
        { CLIP, "{\"size\":{\"height\":336},\"crop_size\":336}", "expected equal height and width" },
        { CLIP, "{" SIZE336 ",\"do_pad\":true}", "do_pad is true, expected false with any class but LlavaImageProcessor" },
        { CLIP, "{" SIZE336 ",\"image_processor_type\":\"ViTImageProcessor\"}", "image_processor_type is \"ViTImageProcessor\", expected CLIPImageProcessor" },
        { CLIP, "{" SIZE336 ",\"feature_extractor_type\":\"ViTFeatureExtractor\"}", "feature_extractor_type is \"ViTFeatureExtractor\", expected CLIPImageProcessor" },
        { CLIP, "{" SIZE336 ",\"image_seq_length\":577}", "image_seq_length is 577, the model takes 576" },
        { CLIP, "{\"image_processor_type\":\"SiglipImageProcessor\"}", "size is 224, the model takes 336" },
        // clang-format on
    };
    (void)state;
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) is_named(&all[i]);
}

/* Stock settings give no note, nor does the older name of a class. */
static void settings_that_are_not_followed_are_noted(void **state)
{
    static const struct {
        const char *folder, *text, *note;
    } all[] = {
        // clang-format off
        { QWEN2, "{\"min_pixels\":3136,\"max_pixels\":12845056,\"patch_size\":14,\"temporal_patch_size\":2,\"merge_size\":2,\"image_mean\":[0.48,0.45,0.40],\"image_std\":[0.26,0.26,0.27],\"image_processor_type\":\"Qwen2VLImageProcessor\",\"processor_class\":\"Qwen2VLProcessor\"}", NULL },
        { QWEN2, "{\"image_processor_type\":\"Qwen2_5_VLImageProcessor\"}", NULL },
        { QWEN2, "{\"crop_size\":null,\"data_format\":\"channels_first\",\"default_to_square\":true,\"device\":null,\"disable_grouping\":null,\"do_center_crop\":null,\"do_convert_rgb\":true,\"do_normalize\":true,\"image_processor_type\":\"Qwen2VLImageProcessorFast\",\"input_data_format\":null,\"return_tensors\":null,\"size\":{\"longest_edge\":12845056,\"shortest_edge\":3136}}", NULL },
        { SIGLIP, "{" SIZE448 ",\"do_convert_rgb\":null,\"image_seq_length\":1024,\"_valid_processor_keys\":[\"images\"]}", NULL },
        { CLIP, "{" SIZE336 ",\"do_convert_rgb\":true,\"do_pad\":false,\"processor_class\":\"LlavaProcessor\"}", NULL },
        { CLIP, "{" SIZE336 ",\"use_square_size\":true}", "preprocessor_config.json: 'use_square_size' is not followed: size says what becomes of the sides" },
        { QWEN2, "{\"max_pixel\":64}", "preprocessor_config.json: 'max_pixel' is not known and not followed; did you mean 'max_pixels'?" },
        { QWEN2, "{\"do_convert_rgb\":false}", "preprocessor_config.json: 'do_convert_rgb' is not followed: every image is read as RGB" },
        { QWEN2, "{\"do_pad\":true}", "preprocessor_config.json: 'do_pad' is not followed: images keep their shape" },
        { QWEN2, "{\"do_rescale\":null}", "preprocessor_config.json: 'do_rescale' is null: counts as true, as in transformers 5; earlier versions read it as false" },
        { QWEN2, "{\"size\":{\"longest_edge\":12845056,\"shortest_edge\":3136,\"height\":4}}", "preprocessor_config.json: size: 'height' is not known and not followed" },
        // clang-format on
    };
    (void)state;
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        bare_model m;
        lvlm_vision_input *input = NULL;
        lvlm_notes notes = LVLM_NOTES_INIT;
        lvlm_error err = { 0 };
        bare_model_open(&m, all[i].folder);
        bare_model_add(&m, "preprocessor_config.json", all[i].text);
        m.checkpoint.notes = &notes;
        if (lvlm_vision_input_open(&input, &m.manifest, NULL, &err) < 0)
            fail_msg("%s", err.text);
        assert_int_equal(notes.n, all[i].note != NULL);
        if (notes.n > 0) assert_string_equal(notes.at[0], all[i].note);
        lvlm_vision_input_close(input);
        lvlm_notes_free(&notes);
        bare_model_close(&m);
    }
}

/* processor_config.json precedes the older file, if it has an image_processor. */
static void the_newer_file_takes_precedence(void **state)
{
    static const struct {
        const char *newer;
        int code;
    } all[] = {
        { "{\"image_processor\":{" SIZE448 "}}", 0 },
        { "{\"image_processor\":{}}", LVLM_EFORMAT },
        { "{\"image_seq_length\":1024}", 0 },
        { "{\"image_processor\":null}", LVLM_EFORMAT },
    };
    (void)state;
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        bare_model m;
        lvlm_vision_input *input = NULL;
        lvlm_error err = { 0 };
        bare_model_open(&m, SIGLIP);
        bare_model_add(&m, "preprocessor_config.json", "{" SIZE448 "}");
        bare_model_add(&m, "processor_config.json", all[i].newer);
        assert_int_equal(lvlm_vision_input_open(&input, &m.manifest, NULL, &err),
                         all[i].code);
        if (all[i].code != 0)
            assert_non_null(strstr(err.text, "processor_config.json: image_processor"));
        lvlm_vision_input_close(input);
        bare_model_close(&m);
    }
}

/* The processor's number of placeholders per image, and the model's number of rows. */
static void numbers_of_placeholders_are_compared(void **state)
{
    static const struct {
        const char *rows, *message;
    } all[] = {
        { "\"patch_size\":14,\"num_additional_image_tokens\":1,"
          "\"vision_feature_select_strategy\":\"default\"",
          NULL },
        { "\"patch_size\":14,\"vision_feature_select_strategy\":\"default\"", NULL },
        { "\"patch_size\":null,\"num_additional_image_tokens\":7", NULL },
        { "\"patch_size\":14,\"num_additional_image_tokens\":1,"
          "\"vision_feature_select_strategy\":\"full\"",
          "writes 577 placeholders for an image (576 patches of 14, 1 more, 0 dropped)"
          ", the model has 576 rows for it" },
        { "\"patch_size\":14,\"num_additional_image_tokens\":0,"
          "\"vision_feature_select_strategy\":\"default\"",
          "writes 575 placeholders" },
        { "\"patch_size\":16", "writes 441 placeholders" },
        { "\"patch_size\":0", "patch_size is not a whole number of at least 1" },
        { "\"patch_size\":14,\"num_additional_image_tokens\":-1",
          "num_additional_image_tokens is not a whole number" },
    };
    (void)state;
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        char text[512];
        bare_model m;
        lvlm_vision_input *input = NULL;
        lvlm_error err = { 0 };
        (void)snprintf(text, sizeof text, "{%s}", all[i].rows);
        bare_model_open(&m, CLIP);
        bare_model_add(&m, "preprocessor_config.json", "{" SIZE336 "}");
        bare_model_add(&m, "processor_config.json", text);
        const int rc = lvlm_vision_input_open(&input, &m.manifest, NULL, &err);
        assert_int_equal(rc, all[i].message != NULL ? LVLM_EFORMAT : 0);
        if (rc < 0 && strstr(err.text, all[i].message) == NULL)
            fail_msg("%s", err.text);
        lvlm_vision_input_close(input);
        bare_model_close(&m);
    }
}

static void refused(const char *folder, lvlm_resampling resampling, bool pad, int code,
                    const char *message)
{
    bare_model m;
    const lvlm_vision_options options = { .resampling = resampling,
                                          .pad_to_square = pad };
    lvlm_vision_input *input = NULL;
    lvlm_error err = { 0 };
    bare_model_open(&m, folder);
    assert_int_equal(lvlm_vision_input_open(&input, &m.manifest, &options, &err), code);
    if (strstr(err.text, message) == NULL) fail_msg("%s", err.text);
    bare_model_close(&m);
}

static void unsupported_options_are_refused(void **state)
{
    (void)state;
    refused(QWEN2, LVLM_RESAMPLING_PILLOW, false, LVLM_EFORMAT,
            "has no preprocessor_config.json");
    refused("real_sizes/Qwen-VL", LVLM_RESAMPLING_TORCHVISION, false, LVLM_EUSAGE,
            "resized only by Pillow");
    refused("real_sizes/Qwen-VL", LVLM_RESAMPLING_PILLOW, true, LVLM_EUSAGE,
            "its images are not padded to squares");
    refused(SIGLIP, LVLM_RESAMPLING_PILLOW, true, LVLM_EUSAGE,
            "its images are not padded to squares");
    refused(QWEN2, LVLM_RESAMPLING_PILLOW, true, LVLM_EUSAGE,
            "its images are not padded to squares");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(wrong_settings_are_named),
        cmocka_unit_test(wrong_settings_of_crops_are_named),
        cmocka_unit_test(settings_that_are_not_followed_are_noted),
        cmocka_unit_test(the_newer_file_takes_precedence),
        cmocka_unit_test(numbers_of_placeholders_are_compared),
        cmocka_unit_test(unsupported_options_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
