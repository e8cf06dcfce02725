/* fuzz_npz.c - an .npz put together from { "members": [ { "name", "header": text of the
 * .npy header, "text" | "hex": data, "deflate": bool }, .. ], "config": {..} }: read as
 * tensors, and as big_vision's PaliGemma. */
#include <stdlib.h>
#include <string.h>

#include "convert/import.h"
#include "formats/base/alloc.h"
#include "formats/container/npz.h"
#include "formats/container/transform.h"
#include "tests/fuzz/fuzz_archive.h"
#include "tests/fuzz/fuzz_kit.h"

static unsigned sum_of(const lvlm_tensor *tensor)
{
    const lvlm_elements elements = lvlm_tensor_elements(tensor);
    unsigned char one[8];
    unsigned sum = 0;
    for (uint64_t i = 0; i < elements.n; i++) {
        lvlm_elements_read(one, i, 1, &elements);
        for (size_t k = 0; k < elements.bytes; k++) sum += one[k];
    }
    return sum;
}

static void read_arrays(const lvlm_strbuf *file)
{
    const lvlm_infile map = { .bytes = (const unsigned char *)file->text,
                              .n_bytes = file->length };
    static const lvlm_read ways[] = { LVLM_READ_ALL, LVLM_READ_HEADERS,
                                      LVLM_READ_IN_PLACE };
    for (size_t way = 0; way < sizeof ways / sizeof *ways; way++) {
        lvlm_arena arena = LVLM_ARENA_INIT;
        lvlm_archive npz;
        unsigned sum = 0;
        if (lvlm_npz_read(&npz, &map, ways[way], &arena, NULL) == 0)
            for (size_t i = 0; i < npz.n_tensors; i++)
                if (ways[way] != LVLM_READ_HEADERS) sum += sum_of(&npz.tensors[i]);
        if (sum == 0xffffffffu) abort(); /* the bytes are read for the sanitizer */
        lvlm_free(npz.copies);
        lvlm_arena_free(&arena);
    }
}

static void convert(const lvlm_strbuf *file, const char *config)
{
    const char *const path = kit_write("m.npz", file->text, file->length);
    const lvlm_import_options options = {
        .npz = true,
        .config =
            config != NULL ? kit_write("config.json", config, strlen(config)) : NULL
    };
    const lvlm_run run = { .threads = 1 };
    char root[LVLM_DIGEST_HEX + 1];
    lvlm_import *import = NULL;
    lvlm_outfile *const out = kit_outfile("m.lvlm");
    if (lvlm_import_plan(&import, path, &options, NULL) == 0)
        (void)!lvlm_import_execute(import, out, &run, root, NULL);
    lvlm_outfile_close(out);
    lvlm_import_free(import);
    kit_remove("m.lvlm");
    kit_remove("m.npz");
    kit_remove("config.json");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    lvlm_strbuf archive = LVLM_STRBUF_INIT(16 << 20);
    cJSON *const json = kit_parse(data, size);
    char *const config = kit_text(json, "config");
    if (json == NULL) lvlm_strbuf_append(&archive, data, size);
    if (json == NULL || kit_archive(&archive, lvlm_json_get(json, "members"))) {
        read_arrays(&archive);
        convert(&archive, config);
    }
    lvlm_free(config);
    lvlm_strbuf_free(&archive);
    lvlm_json_free(json);
    return 0;
}
