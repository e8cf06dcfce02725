/* dropout.c - rates of dropout in config.json; see dropout.h. */
#include "runtime/tune/dropout.h"

#include <assert.h>
#include <fnmatch.h>
#include <string.h>

#include "formats/base/json.h"
#include "formats/container/side_file.h"

static const char *const names[] = { "*dropout*", "*_pdrop", "drop_path_rate", NULL };

static bool is_rate(const cJSON *item)
{
    double rate;
    for (const char *const *name = names; *name != NULL; name++)
        if (fnmatch(*name, item->string, 0) == 0)
            return lvlm_json_double(&rate, item) && rate > 0;
    return false;
}

static int note_section(const cJSON *section, const char *name, lvlm_notes *notes,
                        lvlm_error *err)
{
    const cJSON *item;
    LVLM_JSON_MEMBERS (item, section)
        if (is_rate(item))
            TRY(lvlm_notes_add(notes, err,
                               "config.json: %s%s is not followed: training drops "
                               "only what --lora says",
                               name, item->string));
    return 0;
}

int lvlm_dropout_note(const lvlm_manifest *manifest, lvlm_error *err)
{
    static const char *const sections[][2] = { { "text_config", "text_config." },
                                               { "vision_config", "vision_config." },
                                               { "visual", "visual." } };
    const lvlm_checkpoint *const cp = manifest->checkpoint;
    cJSON *config = NULL;
    assert(cp != NULL);
    TRY(lvlm_side_file_json(&config, cp, "config.json", err));
    int rc = note_section(config, "", cp->notes, err);
    for (size_t i = 0; rc == 0 && i < sizeof sections / sizeof *sections; i++)
        rc = note_section(lvlm_json_get(config, sections[i][0]), sections[i][1],
                          cp->notes, err);
    lvlm_json_free(config);
    return rc;
}
