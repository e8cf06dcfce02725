/* checkpoint_check.c - checks a checkpoint's data against the source's own checksums.
 *
 *   members of an archive      CRC-32, in parallel
 *   files of the hub's cache   SHA-256: the name of the blob that a link points to */
#include <assert.h>
#include <stdatomic.h>
#include <string.h>

#include "formats/base/digest.h"
#include "formats/base/workers.h"
#include "formats/checkpoint/checkpoint.h"
#include "formats/checkpoint/hub_cache.h"

/* ---- members of an archive ------------------------------------------------------ */

/* Members are checked in order of offset; the first bad one of a file is reported. */
typedef struct check {
    const lvlm_source_file *file;
    atomic_size_t next;
    atomic_size_t bad;    /* index of the first bad one; n_members: none */
    atomic_size_t n_good; /* non-empty members with a matching CRC-32 */
} check;

static void check_members(void *user)
{
    check *c = user;
    const lvlm_zip *zip = &c->file->zip;
    for (size_t i; (i = atomic_fetch_add(&c->next, 1)) < zip->n_members;) {
        const lvlm_zip_member *m = &zip->members[i];
        if (m->method != LVLM_ZIP_STORED) continue; /* already checked by inflating */
        if (lvlm_zip_check(m, c->file->map, NULL) == 0) {
            if (m->n_bytes > 0) atomic_fetch_add(&c->n_good, 1);
            continue;
        }
        size_t bad = atomic_load(&c->bad);
        while (i < bad && !atomic_compare_exchange_weak(&c->bad, &bad, i)) continue;
    }
}

/* torch.save can be told to write no checksums (set_crc32_options): the fields then
 * hold other numbers, and no member matches. */
static int check_archive(const lvlm_checkpoint *cp, const lvlm_source_file *file,
                         size_t n_threads, lvlm_error *err)
{
    check c = { .file = file, .bad = file->zip.n_members };
    lvlm_workers_run(n_threads, check_members, &c);
    if (c.bad == file->zip.n_members) return 0;
    if (c.n_good == 0 && cp->kind == LVLM_CHECKPOINT_HF)
        return lvlm_notes_add(cp->notes, err,
                              "%s: was written without checksums (no member has its "
                              "CRC-32): damage before this conversion is not noticed",
                              file->name);
    return lvlm_within(lvlm_zip_check(&file->zip.members[c.bad], file->map, err), err,
                       "%s: ", file->map->path);
}

/* ---- blobs ---------------------------------------------------------------------- */

static int check_blob(void *user, size_t i, lvlm_error *err)
{
    const lvlm_checkpoint *const cp = *(const lvlm_checkpoint **)user;
    assert(i < cp->n_files + cp->n_side_maps);
    const lvlm_infile *const file =
        i < cp->n_files ? cp->files[i].map : cp->side_maps[i - cp->n_files];
    lvlm_hex_digest named, got;
    if (!lvlm_hub_blob_digest(named, file->path)) return 0;
    TRY(lvlm_digest_bytes(got, file->bytes, (size_t)file->n_bytes, err));
    FAIL_IF(
        strcmp(named, got) != 0, err, LVLM_EFORMAT,
        "%s: is corrupt: the cache names it by its SHA-256 %s, it has %s; remove it "
        "and \"hf download\" fetches it again",
        file->path, named, got);
    return 0;
}

/* ---- public --------------------------------------------------------------------- */

int lvlm_checkpoint_check(const lvlm_checkpoint *cp, size_t n_threads, lvlm_error *err)
{
    assert(n_threads > 0 && !cp->headers_only);
    for (size_t i = 0; i < cp->n_files; i++)
        TRY(check_archive(cp, &cp->files[i], n_threads, err));
    if (cp->kind != LVLM_CHECKPOINT_HF) return 0;
    return lvlm_workers_each(n_threads, cp->n_files + cp->n_side_maps, check_blob, &cp,
                             err);
}
