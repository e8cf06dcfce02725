/* side_file.c - parses the small files next to a model's weights; see side_file.h. */
#include "formats/container/side_file.h"

#include <assert.h>
#include <string.h>

#include "formats/base/json.h"

bool lvlm_is_pointer(const void *bytes, size_t n_bytes)
{
    assert(bytes != NULL || n_bytes == 0);
    static const char start[] = "version https://git-lfs";
    return n_bytes >= sizeof start - 1 && memcmp(bytes, start, sizeof start - 1) == 0;
}

int lvlm_side_file_check(const lvlm_side_file *file, lvlm_error *err)
{
    FAIL_IF(lvlm_is_pointer(file->bytes, (size_t)file->n_bytes), err, LVLM_EFORMAT,
            "%s: " LVLM_POINTER_TEXT "; convert the model again then", file->name);
    return 0;
}

int lvlm_side_file_parse(cJSON **out, const lvlm_side_file *file, lvlm_error *err)
{
    *out = NULL;
    TRY(lvlm_side_file_check(file, err));
    return lvlm_within(lvlm_json_parse(out, file->bytes, (size_t)file->n_bytes, err),
                       err, "%s: ", file->name);
}

int lvlm_side_file_json(cJSON **out, const lvlm_checkpoint *checkpoint,
                        const char *name, lvlm_error *err)
{
    const lvlm_side_file *const file = lvlm_checkpoint_side_file(checkpoint, name);
    *out = NULL;
    return file != NULL ? lvlm_side_file_parse(out, file, err) : 0;
}
