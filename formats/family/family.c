/* family.c - the list of families, their shapes, and references.
 * family_settings.c reads config.json; the tables are in family/. */
#include "formats/family/family.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "formats/base/json.h"
#include "formats/base/size.h"
#include "formats/base/text.h"

/* ---- the list ------------------------------------------------------------------- */

#define LVLM_FAMILY(name) extern const lvlm_family lvlm_family_##name;
#include "formats/family/families.def"
#undef LVLM_FAMILY

static const lvlm_family *const families[] = {
#define LVLM_FAMILY(name) &lvlm_family_##name,
#include "formats/family/families.def"
#undef LVLM_FAMILY
    NULL,
};

const lvlm_family *const *lvlm_families(void)
{
    return families;
}

const lvlm_family *lvlm_family_by_name(const char *name)
{
    assert(name != NULL);
    for (const lvlm_family *const *f = families; *f != NULL; f++)
        if (strcmp((*f)->name, name) == 0) return *f;
    return NULL;
}

int lvlm_family_detect(const lvlm_family **out, const cJSON *hf_config, lvlm_error *err)
{
    const char *const type = lvlm_json_string(lvlm_json_get(hf_config, "model_type"));
    char known[256] = "";
    for (const lvlm_family *const *f = families; *f != NULL; f++) {
        if (type != NULL && strcmp((*f)->model_type, type) == 0 &&
            ((*f)->recognises == NULL || (*f)->recognises(hf_config))) {
            *out = *f;
            return 0;
        }
        const size_t used = strlen(known);
        snprintf(known + used, sizeof known - used, "%s%s", used > 0 ? ", " : "",
                 (*f)->name);
    }
    const bool has_vision = cJSON_IsObject(lvlm_json_get(hf_config, "vision_config")) ||
                            cJSON_IsObject(lvlm_json_get(hf_config, "visual"));
    return lvlm_fail(err, LVLM_EFORMAT,
                     "config.json: model_type '%s'%s is not a known family (known: %s)",
                     type != NULL ? type : "(none)",
                     has_vision ? "" : ", without a section about vision,", known);
}

/* ---- shapes --------------------------------------------------------------------- */

/* The longest setting in any shape is far shorter. */
enum { PATH_BYTES = 64 };

/* One factor of a product, a number or a path into the configuration, and its
 * length. */
static bool factor_value(uint64_t *out, size_t *length, const char *text,
                         const cJSON *config)
{
    char path[PATH_BYTES];
    *length = lvlm_copy_until(path, sizeof path, text, "*,");
    if (path[0] >= '0' && path[0] <= '9') {
        char *end;
        *out = strtoull(path, &end, 10);
        return *end == '\0';
    }
    return lvlm_json_u64(out, lvlm_json_path(config, path));
}

bool lvlm_shape_resolve(lvlm_shape *out, const char *text, const cJSON *config)
{
    *out = (lvlm_shape){ .n = 1, .dims = { 1 } };
    for (;;) {
        uint64_t factor, *const dim = &out->dims[out->n - 1];
        size_t length;
        if (!factor_value(&factor, &length, text, config) ||
            !lvlm_mul_u64(dim, *dim, factor))
            return false;
        text += length;
        if (*text == '\0') return true;
        if (*text == ',') {
            assert(out->n < LVLM_ROW_DIMS);
            out->dims[out->n++] = 1;
        }
        text += strspn(text, "*, ");
    }
}

bool lvlm_config_says(const cJSON *config, const char *when)
{
    char path[PATH_BYTES];
    const size_t length = lvlm_copy_until(path, sizeof path, when, " ");
    assert(when[length] == ' ');
    const cJSON *const value = lvlm_json_path(config, path);
    const char *const word = cJSON_IsBool(value)
                                 ? cJSON_IsTrue(value) ? "true" : "false"
                                 : lvlm_json_string(value);
    return word != NULL && strcmp(word, when + length + 1) == 0;
}

/* ---- references ----------------------------------------------------------------- */

#define TRANSFORMERS "transformers-"

typedef struct version {
    unsigned long part[3];
} version;

/* "5.23.0", "4.51", "5.0.0rc1", "5.24.0.dev0"; false for anything else. Anything after
 * the third number is ignored. */
static bool parse_version(version *out, const char *text)
{
    *out = (version){ { 0, 0, 0 } };
    for (size_t i = 0; i < 3; i++) {
        char *end;
        if (*text < '0' || *text > '9') return false;
        out->part[i] = strtoul(text, &end, 10);
        if (*end == '\0') return i > 0;
        if (i == 2) return *end == '.' || (*end >= 'a' && *end <= 'z');
        if (*end != '.') return false;
        text = end + 1;
    }
    return false;
}

static int compare_versions(const version *a, const char *text)
{
    version b;
    const bool ok = parse_version(&b, text);
    assert(ok);
    (void)ok;
    for (size_t i = 0; i < 3; i++)
        if (a->part[i] != b.part[i]) return a->part[i] < b.part[i] ? -1 : 1;
    return 0;
}

/* "transformers-5.23.0". */
static bool parse_reference(version *out, const char *reference)
{
    return lvlm_starts_with(reference, TRANSFORMERS) &&
           parse_version(out, reference + strlen(TRANSFORMERS));
}

int lvlm_reference_check(const char *reference, lvlm_error *err)
{
    version unused;
    FAIL_IF(strcmp(reference, LVLM_REFERENCE_TRAINED) != 0 &&
                !parse_reference(&unused, reference),
            err, LVLM_EUSAGE,
            "reference '%s' is neither 'trained' nor 'transformers-VERSION' "
            "(such as transformers-5.23.0)",
            reference);
    return 0;
}

const char *lvlm_difference_name(const lvlm_difference *difference)
{
    static const char *const names[] = {
#define LVLM_BEHAVIOUR(behaviour, name) [behaviour] = name,
        LVLM_BEHAVIOURS(LVLM_BEHAVIOUR)
#undef LVLM_BEHAVIOUR
    };
    assert(difference->behaviour != LVLM_AS_TRAINED);
    return names[difference->behaviour];
}

bool lvlm_family_differs(const lvlm_family *family, lvlm_behaviour behaviour)
{
    assert(behaviour != LVLM_AS_TRAINED);
    const lvlm_difference *d = family->differences;
    while (d->behaviour != LVLM_AS_TRAINED && d->behaviour != behaviour) d++;
    return d->behaviour != LVLM_AS_TRAINED;
}

bool lvlm_reference_applies(const lvlm_family *family, lvlm_behaviour behaviour,
                            const char *reference)
{
    assert(lvlm_reference_check(reference, NULL) == 0);
    version at;
    if (!parse_reference(&at, reference)) return false;
    for (const lvlm_difference *d = family->differences;
         d->behaviour != LVLM_AS_TRAINED; d++)
        if (d->behaviour == behaviour &&
            (d->since == NULL || compare_versions(&at, d->since) >= 0) &&
            (d->until == NULL || compare_versions(&at, d->until) < 0))
            return true;
    return false;
}

uint64_t lvlm_reference_behaviours(const lvlm_family *family, const char *reference)
{
    uint64_t bits = 0;
    for (const lvlm_difference *d = family->differences;
         d->behaviour != LVLM_AS_TRAINED; d++)
        if (lvlm_reference_applies(family, d->behaviour, reference))
            bits |= UINT64_C(1) << d->behaviour;
    return bits;
}
