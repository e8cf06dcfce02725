/* fuzz_archive.c - see fuzz_archive.h; the layout is APPNOTE.TXT's, without zip64. */
#include "tests/fuzz/fuzz_archive.h"

#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "formats/base/alloc.h"

enum { MAX_MEMBERS = 64, MAX_MEMBER = 1 << 20 };

typedef struct member {
    const char *name;
    lvlm_strbuf data; /* as stored */
    uint32_t crc, n_bytes, offset;
    bool deflated;
} member;

static void put(lvlm_strbuf *out, uint64_t value, int n_bytes)
{
    for (int i = 0; i < n_bytes; i++) {
        const char byte = (char)(i < 8 ? value >> 8 * i : 0);
        lvlm_strbuf_append(out, &byte, 1);
    }
}

static void put_hex(lvlm_strbuf *out, const char *hex)
{
    for (; hex[0] != '\0' && hex[1] != '\0'; hex += 2) {
        const char pair[] = { hex[0], hex[1], '\0' };
        put(out, strtoul(pair, NULL, 16), 1);
    }
}

/* What goes before the elements of an array. */
static void put_npy(lvlm_strbuf *out, const char *header)
{
    lvlm_strbuf_puts(out, "\x93NUMPY");
    put(out, 1, 2); /* version 1.0 */
    put(out, strlen(header), 2);
    lvlm_strbuf_puts(out, header);
}

static void put_values(lvlm_strbuf *out, const cJSON *json)
{
    const char *const text = lvlm_json_string(lvlm_json_get(json, "text"));
    const char *const hex = lvlm_json_string(lvlm_json_get(json, "hex"));
    uint64_t repeat = 1;
    (void)lvlm_json_u64(&repeat, lvlm_json_get(json, "repeat"));
    for (uint64_t i = 0; i < repeat && i < MAX_MEMBER && !out->failed; i++) {
        if (text != NULL) lvlm_strbuf_puts(out, text);
        if (hex != NULL) put_hex(out, hex);
        if (text == NULL && hex == NULL) return;
    }
}

static void deflate_into(lvlm_strbuf *out, const lvlm_strbuf *plain)
{
    z_stream z = { 0 };
    const uLong bound = compressBound((uLong)plain->length) + 64;
    unsigned char *const to = lvlm_malloc(bound);
    if (to == NULL ||
        deflateInit2(&z, 6, Z_DEFLATED, -15, 8, Z_DEFAULT_STRATEGY) != Z_OK)
        abort();
    z.next_in = (unsigned char *)plain->text;
    z.avail_in = (uInt)plain->length;
    z.next_out = to;
    z.avail_out = (uInt)bound;
    if (deflate(&z, Z_FINISH) != Z_STREAM_END) abort();
    lvlm_strbuf_append(out, to, z.total_out);
    (void)deflateEnd(&z);
    lvlm_free(to);
}

static bool make_member(member *m, const cJSON *json)
{
    lvlm_strbuf plain = LVLM_STRBUF_INIT(MAX_MEMBER);
    const char *const header = lvlm_json_string(lvlm_json_get(json, "header"));
    *m = (member){ .name = lvlm_json_string(lvlm_json_get(json, "name")),
                   .data = LVLM_STRBUF_INIT(2 * MAX_MEMBER),
                   .deflated = cJSON_IsTrue(lvlm_json_get(json, "deflate")) };
    lvlm_strbuf_puts(&plain, "");
    if (header != NULL) put_npy(&plain, header);
    put_values(&plain, json);
    const bool ok = m->name != NULL && strlen(m->name) < UINT16_MAX && !plain.failed;
    if (ok) {
        m->n_bytes = (uint32_t)plain.length;
        m->crc =
            (uint32_t)crc32(0, (const unsigned char *)plain.text, (uInt)plain.length);
        if (m->deflated)
            deflate_into(&m->data, &plain);
        else
            lvlm_strbuf_append(&m->data, plain.text, plain.length);
    }
    lvlm_strbuf_free(&plain);
    return ok;
}

/* The common part of a member's local header and its directory entry. */
static void put_fields(lvlm_strbuf *out, const member *m)
{
    put(out, 20, 2); /* version needed */
    put(out, 0, 2);
    put(out, m->deflated ? 8 : 0, 2);
    put(out, 0, 4); /* time and date */
    put(out, m->crc, 4);
    put(out, m->data.length, 4);
    put(out, m->n_bytes, 4);
    put(out, strlen(m->name), 2);
    put(out, 0, 2); /* no extra field */
}

static void put_archive(lvlm_strbuf *out, member *members, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        members[i].offset = (uint32_t)out->length;
        put(out, 0x04034b50, 4);
        put_fields(out, &members[i]);
        lvlm_strbuf_puts(out, members[i].name);
        lvlm_strbuf_append(out, members[i].data.text, members[i].data.length);
    }
    const size_t directory = out->length;
    for (size_t i = 0; i < n; i++) {
        put(out, 0x02014b50, 4);
        put(out, 20, 2); /* made by */
        put_fields(out, &members[i]);
        put(out, 0, 2 + 2 + 2 + 4); /* comment, disk, attributes */
        put(out, members[i].offset, 4);
        lvlm_strbuf_puts(out, members[i].name);
    }
    const size_t n_bytes = out->length - directory;
    put(out, 0x06054b50, 4);
    put(out, 0, 2 + 2); /* disks */
    put(out, n, 2);
    put(out, n, 2);
    put(out, n_bytes, 4);
    put(out, directory, 4);
    put(out, 0, 2);
}

bool kit_archive(lvlm_strbuf *out, const cJSON *list)
{
    member members[MAX_MEMBERS];
    const cJSON *item;
    size_t n = 0;
    bool ok = true;
    LVLM_JSON_ITEMS (item, list) {
        ok = ok && n < MAX_MEMBERS;
        if (ok) ok = make_member(&members[n++], item);
    }
    if (ok) put_archive(out, members, n);
    for (size_t i = 0; i < n; i++) lvlm_strbuf_free(&members[i].data);
    return ok && n > 0 && lvlm_strbuf_check(out, NULL) == 0;
}
