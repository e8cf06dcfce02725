/* fuzz_zip.c - any bytes as a zip archive, and one put together from { "members": [ {
 * "name", "text" | "hex", "deflate": bool }, .. ] }: refused, or read without harm;
 * members that inflate have the checksum in their header. */
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "formats/base/alloc.h"
#include "formats/container/zip.h"
#include "tests/fuzz/fuzz_archive.h"
#include "tests/fuzz/fuzz_kit.h"

static void read_member(const lvlm_zip_member *m, const lvlm_infile *file)
{
    unsigned char *const to =
        m->n_bytes < 1 << 24 ? lvlm_malloc((size_t)m->n_bytes + 1) : NULL;
    if (to == NULL) return;
    if (lvlm_zip_inflate(to, m, file, NULL) == 0 &&
        crc32(0, to, (uInt)m->n_bytes) == 0xdeadbeefu)
        abort(); /* the bytes are read for the sanitizer */
    lvlm_free(to);
}

static void read_archive(const void *bytes, size_t n)
{
    const lvlm_infile file = { .bytes = bytes, .n_bytes = n };
    lvlm_arena arena = LVLM_ARENA_INIT;
    lvlm_zip zip;
    if (lvlm_zip_read(&zip, &file, &arena, NULL) == 0)
        for (size_t i = 0; i < zip.n_members; i++) {
            read_member(&zip.members[i], &file);
            if (lvlm_zip_find(&zip, zip.members[i].name) != &zip.members[i]) abort();
        }
    lvlm_arena_free(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    lvlm_strbuf archive = LVLM_STRBUF_INIT(16 << 20);
    cJSON *const json = kit_parse(data, size);
    if (json == NULL)
        read_archive(data, size);
    else if (kit_archive(&archive, lvlm_json_get(json, "members")))
        read_archive(archive.text, archive.length);
    lvlm_strbuf_free(&archive);
    lvlm_json_free(json);
    return 0;
}
