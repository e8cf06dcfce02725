/* configure.h - a part reads its settings from the canonical configuration by a
 * table.
 *
 *   static const config_row rows[] = {
 *       CONFIG("text.hidden", decoder_config, hidden), ...
 *       CONFIG_END };
 *
 * The field's type says what is read: size_t a count above 0, int64_t an index,
 * double a number above 0, bool, lvlm_activation. CONFIG_MAYBE takes null or nothing
 * at all too, and leaves the field as it was. */
#ifndef LVLM_RUNTIME_BLOCK_CONFIGURE_H
#define LVLM_RUNTIME_BLOCK_CONFIGURE_H

#include <cjson/cJSON.h>
#include <stdbool.h>

#include "formats/base/error.h"
#include "runtime/ops/activation.h"

typedef enum config_kind {
    CONFIG_COUNT,
    CONFIG_INDEX,
    CONFIG_NUMBER,
    CONFIG_BOOL,
    CONFIG_ACTIVATION,
} config_kind;

typedef struct config_row {
    const char *path;
    config_kind kind;
    size_t offset;
    bool maybe;
} config_row;

// clang-format off
#define CONFIG_KIND(type, field)                                                      \
    _Generic(((type *)0)->field,                                                      \
             size_t: CONFIG_COUNT, int64_t: CONFIG_INDEX, double: CONFIG_NUMBER,      \
             bool: CONFIG_BOOL, lvlm_activation: CONFIG_ACTIVATION)
#define CONFIG(path, type, field)                                                     \
    { (path), CONFIG_KIND(type, field), offsetof(type, field), false }
#define CONFIG_MAYBE(path, type, field)                                               \
    { (path), CONFIG_KIND(type, field), offsetof(type, field), true }
#define CONFIG_END { NULL, CONFIG_COUNT, 0, false }
// clang-format on

/* Fill the fields of `config`. LVLM_EFORMAT names the setting and what it should be. */
int configure(void *config, const config_row *rows, const cJSON *json, lvlm_error *err);

/* The setting must be one of `words` (ends with NULL); *out is its index. */
int configure_word(size_t *out, const cJSON *json, const char *path,
                   const char *const *words, lvlm_error *err);

/* The setting must be a list of at most `capacity` whole numbers.  out (*n) */
int configure_list(size_t *out, size_t capacity, size_t *n, const cJSON *json,
                   const char *path, lvlm_error *err);

#endif
