/* page.c - checks and derived settings that several pages share; see page.h. */
#include "formats/family/page.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

#include "formats/base/json.h"
#include "formats/base/size.h"
#include "formats/base/text.h"

/* Whole numbers up to this one are exact for most JSON readers. */
#define MAX_EXACT 0x1p53

const lvlm_word activation_words[] = {
    { "silu", "silu" },
    { "swish", "silu" },
    { "gelu", "gelu" },
    { "gelu_python", "gelu" },
    { "gelu_pytorch_tanh", "gelu_tanh" },
    { "gelu_python_tanh", "gelu_tanh" },
    { "gelu_new", "gelu_tanh" },
    { "gelu_fast", "gelu_tanh" },
    { "gelu_accurate", "gelu_tanh" },
    { "quick_gelu", "quick_gelu" },
    { NULL },
};

const lvlm_word llama_rope_words[] = {
    { "llama3", "llama3" },
    { "default", "default" },
    { NULL },
};

const lvlm_unused_rule rotary_buffer[] = { ROTARY_BUFFER, { NULL } };

uint64_t config_count(const cJSON *config, const char *path)
{
    assert(strchr(path, '.') != NULL);
    return lvlm_json_whole(config, path);
}

int config_set(cJSON *config, const char *path, uint64_t value, lvlm_error *err)
{
    char section[32];
    const size_t length = lvlm_copy_until(section, sizeof section, path, ".");
    assert(path[length] == '.');
    FAIL_IF((double)value > MAX_EXACT, err, LVLM_EFORMAT,
            "config.json: %s would be %" PRIu64 ", which is too large", path, value);
    cJSON *at = cJSON_GetObjectItemCaseSensitive(config, section);
    return lvlm_json_set(at, path + length + 1, cJSON_CreateNumber((double)value))
               ? 0
               : lvlm_fail_memory(err);
}

int config_product(uint64_t *out, uint64_t a, uint64_t b, uint64_t c, const char *what,
                   lvlm_error *err)
{
    FAIL_IF(!lvlm_mul_u64(out, a, b) || !lvlm_add_u64(out, *out, c), err, LVLM_EFORMAT,
            "config.json: %s is too large", what);
    return 0;
}

int config_add_vision_mlp(cJSON *config, lvlm_error *err)
{
    const uint64_t hidden = config_count(config, "vision.hidden");
    double ratio = 0;
    (void)lvlm_json_double(&ratio, lvlm_json_path(config, "vision.mlp_ratio"));
    const double mlp = (double)hidden * ratio;
    FAIL_IF(!(mlp >= 1 && mlp <= MAX_EXACT), err, LVLM_EFORMAT,
            "config.json: vision_config: mlp_ratio %g times the width %" PRIu64
            " is not a width",
            ratio, hidden);
    return config_set(config, "vision.mlp", (uint64_t)mlp, err);
}

int config_add_grid(cJSON *config, lvlm_error *err)
{
    const uint64_t image = config_count(config, "vision.image");
    const uint64_t patch = config_count(config, "vision.patch");
    FAIL_IF(image < patch, err, LVLM_EFORMAT,
            "config.json: vision.image %" PRIu64 " is below vision.patch %" PRIu64,
            image, patch);
    return config_set(config, "vision.grid", image / patch, err);
}

int config_add_quotient(cJSON *config, const char *part, const char *whole,
                        const char *n, lvlm_error *err)
{
    TRY(config_check_multiple(config, whole, n, err));
    return config_set(config, part,
                      config_count(config, whole) / config_count(config, n), err);
}

int config_check_multiple(const cJSON *config, const char *whole, const char *part,
                          lvlm_error *err)
{
    const uint64_t a = config_count(config, whole);
    const uint64_t b = config_count(config, part);
    FAIL_IF(b == 0 || a % b != 0, err, LVLM_EFORMAT,
            "config.json: %s %" PRIu64 " is not a multiple of %s %" PRIu64, whole, a,
            part, b);
    return 0;
}

int config_check_equal(const cJSON *config, const char *a, const char *b,
                       lvlm_error *err)
{
    const uint64_t x = config_count(config, a), y = config_count(config, b);
    FAIL_IF(x != y, err, LVLM_EFORMAT,
            "config.json: %s %" PRIu64 " is not %s %" PRIu64 ", which it must equal", a,
            x, b, y);
    return 0;
}
