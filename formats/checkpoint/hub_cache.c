/* hub_cache.c - resolves a ref to a snapshot; see hub_cache.h. */
#include "formats/checkpoint/hub_cache.h"

#include <assert.h>
#include <ctype.h>
#include <limits.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "formats/base/infile.h"
#include "formats/base/strbuf.h"

enum {
    MAX_COMMIT = 64,     /* of a ref, which holds the 40 digits of a commit */
    MAX_PATH = 1 << 16,  /* far above the system's limit */
    PASSWD_BYTES = 4096, /* of one entry */
};

static bool is_word(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           c == '-' || c == '_' || c == '.';
}

/* Length of the name at `at`: letters, digits, "-_.", not beginning with a dot. */
static size_t name_length(const char *at)
{
    size_t n = 0;
    while (is_word(at[n])) n++;
    return at[0] == '.' ? 0 : n;
}

bool lvlm_hub_id_is(const char *text)
{
    const size_t owner = name_length(text);
    if (owner == 0 || text[owner] != '/') return false;
    const char *name = text + owner + 1;
    const size_t length = name_length(name);
    if (length == 0) return false;
    if (name[length] == '\0') return true;
    /* a revision may have several parts: refs/pr/1 */
    const char *revision = name + length + 1;
    return name[length] == '@' && name_length(revision) > 0 &&
           strstr(revision, "..") == NULL && strchr(revision, '@') == NULL;
}

/* ---- where the cache is --------------------------------------------------------- */

/* Set by the hub's environment variables. */
static const char *variable(const char *name)
{
    const char *value = getenv(name); // lint: allow getenv
    return value != NULL && value[0] != '\0' ? value : NULL;
}

/* The home of "~" (n = 0) or of "~user", n bytes at `user`; NULL: there is none. */
static const char *home_of(const char *user, size_t n, lvlm_arena *arena)
{
    char *const buffer = lvlm_arena_alloc(arena, 1, PASSWD_BYTES);
    const char *const name = lvlm_arena_strndup(arena, user, n);
    struct passwd entry, *found = NULL;
    if (n == 0 && variable("HOME") != NULL) return variable("HOME");
    if (buffer == NULL || name == NULL) return NULL;
    if (n == 0)
        (void)getpwuid_r(getuid(), &entry, buffer, PASSWD_BYTES, &found);
    else
        (void)getpwnam_r(name, &entry, buffer, PASSWD_BYTES, &found);
    return found != NULL ? found->pw_dir : NULL;
}

/* Python's os.path.expanduser; NULL: out of memory. */
static const char *expand_user(const char *path, lvlm_arena *arena)
{
    if (path[0] != '~') return path;
    const size_t n = strcspn(path + 1, "/");
    const char *const home = home_of(path + 1, n, arena);
    return home != NULL ? lvlm_arena_printf(arena, "%s%s", home, path + 1 + n) : path;
}

/* The length of "$NAME" or "${NAME}" at `at`, and its value; 0 if there is neither. */
static size_t parse_variable(const char **value, const char *at, lvlm_arena *arena)
{
    const bool braces = at[1] == '{';
    const char *const name = at + 1 + braces;
    size_t n = 0;
    while (name[n] == '_' || isalnum((unsigned char)name[n]) ||
           (braces && name[n] != '}' && name[n] != '\0'))
        n++;
    if (n == 0 || (braces && name[n] != '}')) return 0;
    const char *const copy = lvlm_arena_strndup(arena, name, n);
    *value = copy != NULL ? getenv(copy) : NULL; // lint: allow getenv
    return *value != NULL ? (size_t)(name - at) + n + braces : 0;
}

/* Python's os.path.expandvars: unset variables are kept. NULL: out of memory. */
static const char *expand(const char *path, lvlm_arena *arena)
{
    lvlm_strbuf out = LVLM_STRBUF_INIT(MAX_PATH);
    path = expand_user(path, arena);
    for (size_t n; path != NULL && *path != '\0'; path += n) {
        const char *value = NULL;
        n = *path == '$' ? parse_variable(&value, path, arena) : 0;
        if (n > 0)
            lvlm_strbuf_puts(&out, value);
        else
            lvlm_strbuf_append(&out, path, n = 1);
    }
    const char *const kept =
        path != NULL && lvlm_strbuf_check(&out, NULL) == 0
            ? lvlm_arena_printf(arena, "%s", out.text != NULL ? out.text : "")
            : NULL;
    lvlm_strbuf_free(&out);
    return kept;
}

static const char *cache_directory(lvlm_arena *arena)
{
    static const struct {
        const char *name, *below;
    } places[] = { { "HF_HUB_CACHE", "" },
                   { "HUGGINGFACE_HUB_CACHE", "" },
                   { "HF_HOME", "/hub" },
                   { "XDG_CACHE_HOME", "/huggingface/hub" } };
    const char *at = "~", *below = "/.cache/huggingface/hub";
    for (size_t i = 0; i < sizeof places / sizeof *places; i++)
        if (variable(places[i].name) != NULL) {
            at = variable(places[i].name);
            below = places[i].below;
            break;
        }
    at = expand(at, arena);
    return at != NULL ? lvlm_arena_printf(arena, "%s%s", at, below) : NULL;
}

bool lvlm_hub_blob_digest(lvlm_hex_digest hex, const char *path)
{
    static const char folder[] = "/blobs/";
    char blob[PATH_MAX];
    if (realpath(path, blob) == NULL) return false;
    const char *const name = lvlm_path_base(blob);
    const size_t before = (size_t)(name - blob), skip = sizeof folder - 1;
    const bool is =
        before > skip && memcmp(name - skip, folder, skip) == 0 && lvlm_digest_is(name);
    if (is) memcpy(hex, name, LVLM_DIGEST_HEX + 1);
    return is;
}

/* ---- what is in it -------------------------------------------------------------- */

/* "CACHE/models--owner--name". */
static const char *model_directory(const char *cache, const char *id, lvlm_arena *arena)
{
    const size_t owner = strcspn(id, "/"), name = strcspn(id + owner + 1, "@");
    return lvlm_arena_printf(arena, "%s/models--%.*s--%.*s", cache, (int)owner, id,
                             (int)name, id + owner + 1);
}

/* The commit that a ref names, or the revision itself if there is no such ref. */
static int read_ref(const char **commit, const char *model, const char *revision,
                    lvlm_arena *arena, lvlm_error *err)
{
    assert(revision[0] != '\0');
    const char *path = lvlm_arena_printf(arena, "%s/refs/%s", model, revision);
    lvlm_infile *file = NULL;
    if (path == NULL) return lvlm_fail_memory(err);
    *commit = revision;
    if (!lvlm_path_exists(path)) return 0;
    TRY(lvlm_infile_open(&file, path, err));
    size_t n = 0;
    while (n < file->n_bytes && n < MAX_COMMIT && is_word((char)file->bytes[n])) n++;
    *commit = lvlm_arena_strndup(arena, (const char *)file->bytes, n);
    lvlm_infile_close(file);
    FAIL_IF(n == 0, err, LVLM_EFORMAT, "%s: names no commit", path);
    return *commit != NULL ? 0 : lvlm_fail_memory(err);
}

int lvlm_hub_cache_find(const char **out, const char *id, lvlm_arena *arena,
                        lvlm_error *err)
{
    assert(lvlm_hub_id_is(id));
    const char *at = strchr(id, '@');
    const char *revision = at != NULL ? at + 1 : "main";
    const char *cache = cache_directory(arena);
    const char *model = cache != NULL ? model_directory(cache, id, arena) : NULL;
    const char *commit = NULL;
    if (model == NULL) return lvlm_fail_memory(err);
    TRY(read_ref(&commit, model, revision, arena, err));
    *out = lvlm_arena_printf(arena, "%s/snapshots/%s", model, commit);
    if (*out == NULL) return lvlm_fail_memory(err);
    FAIL_IF(!lvlm_path_is_directory(*out), err, LVLM_EIO,
            "%s: is not a directory here, and not in the local Hugging Face cache "
            "(%s); nothing is downloaded: \"hf download %.*s --revision %s\" fetches "
            "it",
            id, cache, (int)strcspn(id, "@"), id, revision);
    return 0;
}
