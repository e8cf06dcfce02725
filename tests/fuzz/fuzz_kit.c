/* fuzz_kit.c - see fuzz_kit.h. A failure here is an error of the harness: it aborts. */
#include "tests/fuzz/fuzz_kit.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "convert/import.h"
#include "formats/base/alloc.h"
#include "formats/container/numeric.h"
#include "formats/container/safetensors.h"
#include "formats/native/native.h"

enum { PATHS = 8, PATH_BYTES = 512, MAX_TENSORS = 4096 };

#define MAX_DATA ((uint64_t)4 << 20)

/* ---- files ---------------------------------------------------------------------- */

static char folder[PATH_BYTES / 2];

static void remove_path(const char *path)
{
    DIR *const dir = opendir(path);
    if (dir == NULL) {
        (void)unlink(path);
        return;
    }
    for (const struct dirent *e; (e = readdir(dir)) != NULL;) {
        char below[PATH_BYTES * 2];
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0) continue;
        (void)snprintf(below, sizeof below, "%s/%s", path, e->d_name);
        remove_path(below);
    }
    closedir(dir);
    (void)rmdir(path);
}

static void remove_folder(void)
{
    remove_path(folder);
}

const char *kit_folder(void)
{
    const char *const below = getenv("TMPDIR");
    if (folder[0] != '\0') return folder;
    (void)snprintf(folder, sizeof folder, "%s/lvlm-fuzz-XXXXXX",
                   below != NULL ? below : P_tmpdir);
    if (mkdtemp(folder) == NULL || atexit(remove_folder) != 0) abort();
    return folder;
}

static bool is_plain(const char *name)
{
    const char *const slash = strchr(name, '/');
    const char *const base = slash != NULL ? slash + 1 : name;
    return base[0] != '\0' && strchr(base, '/') == NULL && strcmp(base, ".") != 0 &&
           strcmp(base, "..") != 0 && strlen(name) < 200 && name[0] != '.' &&
           name[0] != '/';
}

const char *kit_path(const char *name)
{
    static char paths[PATHS][PATH_BYTES];
    static size_t next;
    char *const path = paths[next++ % PATHS];
    (void)snprintf(path, PATH_BYTES, "%s/%s", kit_folder(),
                   is_plain(name) ? name : "_");
    return path;
}

const char *kit_write(const char *name, const void *bytes, size_t n)
{
    const char *const path = kit_path(name);
    char parent[PATH_BYTES];
    (void)snprintf(parent, sizeof parent, "%s", path);
    *strrchr(parent, '/') = '\0';
    (void)mkdir(parent, 0700);
    FILE *const file = fopen(path, "wb");
    if (file == NULL) return path; /* a name that the system refuses */
    if ((n > 0 && fwrite(bytes, 1, n, file) != n) || fclose(file) != 0) abort();
    return path;
}

void kit_remove(const char *name)
{
    remove_path(kit_path(name));
}

/* ---- descriptions --------------------------------------------------------------- */

cJSON *kit_parse(const uint8_t *data, size_t size)
{
    cJSON *json = NULL;
    return lvlm_json_parse(&json, (const char *)data, size, NULL) == 0 ? json : NULL;
}

char *kit_text(const cJSON *json, const char *key)
{
    const cJSON *const item = lvlm_json_get(json, key);
    char *text = NULL;
    if (item == NULL) return NULL;
    if (lvlm_json_string(item) != NULL) return lvlm_strdup(lvlm_json_string(item));
    return lvlm_json_print(&text, item, NULL) == 0 ? text : NULL;
}

/* Element i of "data", which repeats, as a value of `dtype`. */
static void put_number(unsigned char *to, lvlm_dtype dtype, double value)
{
    const size_t width = lvlm_dtype_bytes(dtype);
    switch (dtype) {
    case LVLM_F64:
    case LVLM_F32:
    case LVLM_F16:
    case LVLM_BF16: lvlm_convert_values(to, dtype, &value, LVLM_F64, 1); return;
    default: break;
    }
    const int64_t whole = value >= -9.2e18 && value <= 9.2e18 ? (int64_t)value : -1;
    for (size_t i = 0; i < width; i++)
        to[i] = (unsigned char)((uint64_t)whole >> 8 * i);
}

static void put_numbers(unsigned char *to, uint64_t n, lvlm_dtype dtype,
                        const cJSON *numbers)
{
    const size_t width = lvlm_dtype_bytes(dtype);
    const cJSON *item = lvlm_json_first_item(numbers);
    for (uint64_t i = 0; i < n; i++) {
        double value = 0;
        if (item == NULL) item = lvlm_json_first_item(numbers);
        if (item != NULL && cJSON_IsNumber(item)) value = item->valuedouble;
        put_number(to + i * width, dtype, value);
        if (item != NULL) item = item->next;
    }
}

static void put_hex(unsigned char *to, uint64_t n, const char *hex)
{
    const size_t n_digits = strlen(hex) & ~(size_t)1;
    for (uint64_t i = 0; i < n && n_digits > 0; i++) {
        const size_t at = (size_t)(2 * i % n_digits);
        const char pair[] = { hex[at], hex[at + 1], '\0' };
        to[i] = (unsigned char)strtoul(pair, NULL, 16);
    }
}

static void put_data(unsigned char *to, const lvlm_tensor *t, const cJSON *json)
{
    const char *const text = lvlm_json_string(lvlm_json_get(json, "text"));
    const char *const hex = lvlm_json_string(lvlm_json_get(json, "hex"));
    if (text != NULL && text[0] != '\0')
        for (uint64_t i = 0; i < t->n_bytes; i++)
            to[i] = (unsigned char)text[i % strlen(text)];
    else if (hex != NULL)
        put_hex(to, t->n_bytes, hex);
    else
        put_numbers(to, lvlm_tensor_numel(t), t->dtype, lvlm_json_get(json, "data"));
}

static bool read_tensor(lvlm_tensor *t, const cJSON *json)
{
    const char *const dtype = lvlm_json_string(lvlm_json_get(json, "dtype"));
    const cJSON *dim;
    *t = (lvlm_tensor){ .name = json->string };
    if (dtype == NULL || !lvlm_dtype_from_name(&t->dtype, dtype)) return false;
    LVLM_JSON_ITEMS (dim, lvlm_json_get(json, "shape")) {
        if (t->shape.n == LVLM_MAX_DIMS ||
            !lvlm_json_u64(&t->shape.dims[t->shape.n++], dim))
            return false;
    }
    return lvlm_shape_bytes(&t->n_bytes, &t->shape, t->dtype) && t->n_bytes <= MAX_DATA;
}

/* A described file before it is assembled. */
typedef struct parts {
    lvlm_tensor *tensors;
    size_t n;
    unsigned char *data;
    uint64_t n_bytes;
} parts;

static bool read_parts(parts *p, const cJSON *json)
{
    const cJSON *const list = lvlm_json_get(json, "tensors"), *item;
    uint64_t at = 0;
    *p = (parts){ .tensors = lvlm_calloc(lvlm_json_count_members(list) + 1,
                                         sizeof *p->tensors) };
    if (p->tensors == NULL) abort();
    LVLM_JSON_MEMBERS (item, list) {
        lvlm_tensor *const t = &p->tensors[p->n++];
        if (p->n > MAX_TENSORS || !read_tensor(t, item)) return false;
        p->n_bytes += t->n_bytes;
        if (p->n_bytes > MAX_DATA) return false;
    }
    p->data = lvlm_calloc((size_t)p->n_bytes + 1, 1);
    if (p->data == NULL) abort();
    size_t i = 0;
    LVLM_JSON_MEMBERS (item, list) {
        p->tensors[i].data = p->data + at;
        put_data(p->data + at, &p->tensors[i], item);
        at += p->tensors[i++].n_bytes;
    }
    return true;
}

static void free_parts(parts *p)
{
    lvlm_free(p->tensors);
    lvlm_free(p->data);
}

/* All members as text; those named in `empty` may be empty. */
static cJSON *text_members(const cJSON *json)
{
    cJSON *const out = cJSON_CreateObject();
    const cJSON *item;
    LVLM_JSON_MEMBERS (item, json) {
        char *const text = kit_text(json, item->string);
        cJSON_AddStringToObject(out, item->string, text != NULL ? text : "");
        lvlm_free(text);
    }
    return out;
}

bool kit_safetensors(lvlm_strbuf *out, const cJSON *json)
{
    parts p;
    cJSON *const metadata = text_members(lvlm_json_get(json, "metadata"));
    const bool ok =
        read_parts(&p, json) &&
        lvlm_safetensors_header(out, p.tensors, p.n,
                                lvlm_json_first_member(metadata) ? metadata : NULL, 8,
                                NULL) == 0;
    if (ok) lvlm_strbuf_append(out, p.data, (size_t)p.n_bytes);
    free_parts(&p);
    lvlm_json_free(metadata);
    return ok && lvlm_strbuf_check(out, NULL) == 0;
}

/* ---- native files --------------------------------------------------------------- */

static void add_digests(cJSON *metadata, const parts *p)
{
    cJSON *const digests = cJSON_CreateObject();
    char hex[LVLM_DIGEST_HEX + 1], *text = NULL;
    for (size_t i = 0; i < p->n; i++) {
        if (lvlm_digest_bytes(hex, p->tensors[i].data, (size_t)p->tensors[i].n_bytes,
                              NULL) < 0)
            abort();
        cJSON_AddStringToObject(digests, p->tensors[i].name, hex);
    }
    if (lvlm_json_print(&text, digests, NULL) < 0) abort();
    cJSON_AddStringToObject(metadata, "digests", text);
    lvlm_free(text);
    lvlm_json_free(digests);
}

static void fix_root(lvlm_strbuf *header)
{
    char hex[LVLM_DIGEST_HEX + 1];
    const char key[] = "\"root\":\"";
    char *const at = memmem(header->text, header->length, key, strlen(key));
    if (at == NULL ||
        (size_t)(header->text + header->length - at) < strlen(key) + LVLM_DIGEST_HEX)
        return;
    memset(at + strlen(key), '0', LVLM_DIGEST_HEX);
    if (lvlm_digest_bytes(hex, header->text, header->length, NULL) < 0) abort();
    memcpy(at + strlen(key), hex, LVLM_DIGEST_HEX);
}

bool kit_native(lvlm_strbuf *out, const cJSON *json)
{
    parts p;
    cJSON *const metadata = text_members(lvlm_json_get(json, "metadata"));
    bool ok = read_parts(&p, json);
    if (ok && lvlm_json_get(metadata, "digests") == NULL) add_digests(metadata, &p);
    ok = ok && lvlm_safetensors_header(out, p.tensors, p.n, metadata,
                                       LVLM_NATIVE_ALIGN_DATA, NULL) == 0;
    if (ok) fix_root(out);
    if (ok) lvlm_strbuf_append(out, p.data, (size_t)p.n_bytes);
    free_parts(&p);
    lvlm_json_free(metadata);
    return ok && lvlm_strbuf_check(out, NULL) == 0;
}

/* ---- models --------------------------------------------------------------------- */

static void convert(const char *source, const char *native)
{
    const lvlm_import_options options = { 0 };
    const lvlm_run run = { .threads = 1 };
    char root[LVLM_DIGEST_HEX + 1];
    lvlm_outfile *file = NULL;
    lvlm_import *import = NULL;
    lvlm_error err;
    if (lvlm_import_plan(&import, source, &options, &err) < 0 ||
        lvlm_outfile_open(&file, native, true, &err) < 0 ||
        lvlm_import_execute(import, file, &run, root, &err) < 0) {
        (void)fprintf(stderr, "%s: %s\n", source, err.text);
        abort();
    }
    lvlm_outfile_close(file);
    lvlm_import_free(import);
}

const char *kit_model(const char *name)
{
    char source[PATH_BYTES], flat[PATH_BYTES / 2];
    (void)snprintf(source, sizeof source, "%s/%s", LVLM_FIXTURES, name);
    (void)snprintf(flat, sizeof flat, "%s.lvlm", name);
    for (char *at = flat; *at != '\0'; at++)
        if (*at == '/') *at = '-';
    const char *const native = kit_path(flat);
    if (access(native, F_OK) != 0) convert(source, native);
    return native;
}

lvlm_outfile *kit_outfile(const char *name)
{
    lvlm_outfile *file = NULL;
    if (lvlm_outfile_open(&file, kit_path(name), true, NULL) < 0) abort();
    return file;
}

lvlm_outdir *kit_outdir(const char *name, const lvlm_outdir_set *set)
{
    lvlm_outdir *dir = NULL;
    if (lvlm_outdir_open(&dir, kit_path(name), true, set, NULL) < 0) abort();
    return dir;
}
