/* fuzz_tar.c - any bytes as a tar of pairs: every member lies in the file, every pair
 * is refused or has an image and a caption. */
#include <stdint.h>
#include <stdlib.h>

#include "formats/base/json.h"
#include "formats/container/tar.h"
#include "runtime/tune/data/pairs.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char path[] = "data.tar";
    const lvlm_infile file = { .bytes = data, .n_bytes = size, .path = path };
    lvlm_tar tar = { .file = &file };
    lvlm_tar_member member;
    lvlm_jsonl pairs;
    lvlm_error err;
    while (lvlm_tar_next(&member, &tar, &err) > 0)
        if (member.offset > size || member.n_bytes > size - member.offset) abort();
    if (lvlm_pairs_read(&pairs, &file, &err) == 0)
        for (size_t i = 0; i < pairs.n; i++) {
            cJSON *json = NULL;
            if (lvlm_pairs_parse(&json, &pairs, i, &err) == 0 &&
                lvlm_json_string(lvlm_json_get(json, "caption")) == NULL)
                abort();
            lvlm_json_free(json);
        }
    lvlm_jsonl_close(&pairs);
    return 0;
}
