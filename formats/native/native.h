/* native.h - the .lvlm file: a strict profile of safetensors. NATIVE.md is its
 * description.
 *
 *   native.c          recognises and digests the header
 *   native_rules.c    lvlm_native_validate: every rule, checked at every open
 *   native_writer.h   the one writer; it validates its header before it writes
 *
 * Distinct objects may be used from distinct threads. */
#ifndef LVLM_FORMATS_NATIVE_NATIVE_H
#define LVLM_FORMATS_NATIVE_NATIVE_H

#include "formats/base/digest.h"
#include "formats/container/contents.h"
#include "formats/family/family.h"
#include "formats/native/ledger.h"

LVLM_BEGIN_DECLS

#define LVLM_NATIVE_VERSION "1"
#define LVLM_NATIVE_UNUSED "unused/"
#define LVLM_NATIVE_FRAMES "frames/"
#define LVLM_NATIVE_FILES "files/"
#define LVLM_NATIVE_PAD "pad/"

enum {
    LVLM_NATIVE_ALIGN_DATA = 4096,
    LVLM_NATIVE_ALIGN_LARGE = 64,
    LVLM_NATIVE_LARGE = 4096,
};

/* Bytes of padding before `tensor` if the data so far ends at `end`. */
uint64_t lvlm_native_pad(uint64_t end, const lvlm_tensor *tensor);

/* The parts of the file, in their order; pads are anywhere. */
typedef enum lvlm_native_section {
    LVLM_SECTION_MODEL,
    LVLM_SECTION_UNUSED,
    LVLM_SECTION_FRAMES,
    LVLM_SECTION_FILES,
    LVLM_SECTION_PAD,
} lvlm_native_section;

/* The one that a tensor of this name is in. *rest, unless NULL, is the name after the
 * section's prefix. */
lvlm_native_section lvlm_native_section_of(const char **rest, const char *name);

/* ---- reading -------------------------------------------------------------------- */

/* The header's members besides tensors: checkpoint->native. Freed with the
 * checkpoint. */
typedef struct lvlm_native {
    const lvlm_family *family;
    cJSON *config;
    cJSON *provenance;
    lvlm_ledger ledger;
} lvlm_native;

/* Is this the metadata of a native file? */
bool lvlm_native_is(const cJSON *metadata);

/* Does the file at `path` begin like a native file, whatever its name? */
bool lvlm_native_is_file(const char *path);

/* Is the file at `path`, which cannot be opened, a damaged native file? Decided by its
 * name or the beginning of its header. */
bool lvlm_native_claims(const char *path);

/* Check every rule of NATIVE.md that needs only the header, including the root digest,
 * and set checkpoint->native. LVLM_EFORMAT names the first broken rule. Tensor bytes
 * are not compared with their digests here, which would read every byte: lvlm-verify
 * checksum does, and so do the commands that copy tensors or prove something with
 * them. */
LVLM_MUST_CHECK int lvlm_native_validate(lvlm_checkpoint *checkpoint, lvlm_error *err);
/* Then list its side files. */
LVLM_MUST_CHECK int lvlm_native_list_files(lvlm_checkpoint *checkpoint,
                                           lvlm_error *err);
/* Check a header in memory by every rule that opening a native file checks. For
 * writers, before they write it. */
LVLM_MUST_CHECK int lvlm_native_check_header(const void *header, size_t n_bytes,
                                             lvlm_error *err);
/* For lvlm_checkpoint_close. */
void lvlm_native_free(lvlm_native *native);

/* The part of those checks that applies to every sealed file, native or not
 * (digests.h): "root" is the digest of the header, and "digests" has one for each
 * tensor. Stores the digests in the checkpoint. */
LVLM_MUST_CHECK int lvlm_native_check_seal(lvlm_checkpoint *checkpoint,
                                           lvlm_error *err);

/* A JSON member of the metadata, parsed. *out is owned: lvlm_json_free. */
LVLM_MUST_CHECK int lvlm_native_meta_json(cJSON **out,
                                          const lvlm_checkpoint *checkpoint,
                                          const char *key, lvlm_error *err);

/* ---- digests -------------------------------------------------------------------- */

/* The root digest that a header, its length included, should have: its SHA-256 with the
 * recorded digits as '0'. *recorded is where those 64 digits begin. LVLM_EFORMAT if
 * there are none. */
LVLM_MUST_CHECK int lvlm_native_root(lvlm_hex_digest hex, const char **recorded,
                                     const void *header, size_t n_bytes,
                                     lvlm_error *err);
/* The SHA-256 recorded for a tensor of a sealed file, in hex. O(1). */
const char *lvlm_native_digest_of(const lvlm_checkpoint *checkpoint,
                                  const lvlm_tensor *tensor);
/* Add the line "NAME DTYPE [2048, 1152] HEX" and a newline to a digest of tensors. */
LVLM_MUST_CHECK int lvlm_native_digest_line(lvlm_digest *digest,
                                            const lvlm_tensor *tensor, const char *hex,
                                            lvlm_error *err);
/* Is it one of the model's tensors? An lvlm_selects (digests.h). */
bool lvlm_native_is_model(const lvlm_tensor *tensor);
/* The weights digest (NATIVE.md): SHA-256 over names, types, shapes and digests of the
 * model's tensors, family and configuration. Two files with the same one hold the same
 * weights, whatever else differs. Needs only the header. */
LVLM_MUST_CHECK int lvlm_native_weights_digest(lvlm_hex_digest hex,
                                               const lvlm_checkpoint *checkpoint,
                                               lvlm_error *err);

LVLM_END_DECLS

#endif
