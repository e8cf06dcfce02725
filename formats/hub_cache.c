/* hub_cache.c - follows a ref to a snapshot; see hub_cache.h. */
#include "formats/hub_cache.h"

#include <stdlib.h>
#include <string.h>

#include "formats/base/infile.h"

/* A ref holds the 40 digits of a commit. */
enum { MAX_COMMIT = 64 };

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
    /* a revision may have parts of its own: refs/pr/1 */
    const char *revision = name + length + 1;
    return name[length] == '@' && name_length(revision) > 0 &&
           strstr(revision, "..") == NULL && strchr(revision, '@') == NULL;
}

/* Where the cache is, is the hub's convention and no setting of ours. */
static const char *variable(const char *name)
{
    const char *value = getenv(name); // lint: allow getenv
    return value != NULL && value[0] != '\0' ? value : NULL;
}

static const char *cache_directory(lvlm_arena *arena)
{
    const char *at;
    if ((at = variable("HF_HUB_CACHE")) != NULL)
        return lvlm_arena_printf(arena, "%s", at);
    if ((at = variable("HF_HOME")) != NULL)
        return lvlm_arena_printf(arena, "%s/hub", at);
    if ((at = variable("XDG_CACHE_HOME")) != NULL)
        return lvlm_arena_printf(arena, "%s/huggingface/hub", at);
    at = variable("HOME");
    return lvlm_arena_printf(arena, "%s/.cache/huggingface/hub", at != NULL ? at : "");
}

/* "CACHE/models--owner--name". */
static const char *model_directory(const char *cache, const char *id, lvlm_arena *arena)
{
    const size_t owner = strcspn(id, "/"), name = strcspn(id + owner + 1, "@");
    return lvlm_arena_printf(arena, "%s/models--%.*s--%.*s", cache, (int)owner, id,
                             (int)name, id + owner + 1);
}

/* The commit that a ref names, or the revision itself where there is no such ref. */
static int read_ref(const char **commit, const char *model, const char *revision,
                    lvlm_arena *arena, lvlm_error *err)
{
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
            "%s: is no directory here, and not in the local Hugging Face cache (%s); "
            "nothing is downloaded: \"hf download %.*s --revision %s\" fetches it",
            id, cache, (int)strcspn(id, "@"), id, revision);
    return 0;
}
