/* native.h - the .lvlm file: a strict profile of safetensors. formats/NATIVE.md is its
 * description.
 *
 *   native.c          the header: composed, recognised, its digests
 *   native_rules.c    lvlm_native_validate: every rule, checked whenever one is opened
 *   native_writer.h   one way to write it, which reads its own header first
 *
 * Distinct objects may be used from distinct threads. */
#ifndef LVLM_FORMATS_NATIVE_H
#define LVLM_FORMATS_NATIVE_H

#include "formats/base/digest.h"
#include "formats/checkpoint.h"
#include "formats/family.h"
#include "formats/ledger.h"

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

/* Bytes of padding that must be before `tensor` when the data so far ends at
 * `end`. */
uint64_t lvlm_native_pad(uint64_t end, const lvlm_tensor *tensor);

/* ---- composing ------------------------------------------------------------------ */

/* What goes into a header besides the tensors; texts of JSON but for the family. All
 * borrowed. */
typedef struct lvlm_native_meta {
    const char *family;
    const char *config;
    const char *provenance;
    const char *ledger;
} lvlm_native_meta;

/* The complete header, padding included, for `tensors`, pads included and in file
 * order. digests[i] is the SHA-256 of tensor i in hex; NULL fills in zeros, so that the
 * length is known before the data is written: it depends on names, shapes and `meta`
 * only. `root` receives the root digest. */
LVLM_MUST_CHECK int lvlm_native_header(lvlm_strbuf *out, const lvlm_native_meta *meta,
                                       const lvlm_tensor *tensors, size_t n_tensors,
                                       lvlm_hex_digest *digests, lvlm_hex_digest root,
                                       lvlm_error *err);

/* ---- reading -------------------------------------------------------------------- */

/* What a header says besides tensors: checkpoint->native. Lives as long as that. */
typedef struct lvlm_native {
    const lvlm_family *family;
    cJSON *config;
    cJSON *provenance;
    lvlm_ledger ledger;
} lvlm_native;

/* Does metadata say that it is a native file? */
bool lvlm_native_is(const cJSON *metadata);

/* Does the file at `path` begin as a native file does, whatever its name? */
bool lvlm_native_is_file(const char *path);

/* Is the file at `path`, which cannot be opened as a native file, one all the same, and
 * damaged? By its name or by what the beginning of its header looks like. */
bool lvlm_native_claims(const char *path);

/* Check every rule of NATIVE.md that the header can show, the root digest included, and
 * set checkpoint->native. LVLM_EFORMAT names the first rule that is broken. Bytes of
 * tensors are not checked against their digests, which reads every byte: lvlm-verify
 * checksum does, and whoever copies or proves something with a tensor. */
LVLM_MUST_CHECK int lvlm_native_validate(lvlm_checkpoint *checkpoint, lvlm_error *err);
/* For lvlm_checkpoint_close. */
void lvlm_native_free(lvlm_native *native);

/* The part of that which every sealed file shares, native or not (digests.h): "root" is
 * the digest of the header, and "digests" has one for each tensor, which are kept. */
LVLM_MUST_CHECK int lvlm_native_check_seal(lvlm_checkpoint *checkpoint,
                                           lvlm_error *err);

/* A JSON member of the metadata, parsed. *out is owned: lvlm_json_free. */
LVLM_MUST_CHECK int lvlm_native_meta_json(cJSON **out,
                                          const lvlm_checkpoint *checkpoint,
                                          const char *key, lvlm_error *err);

/* ---- digests -------------------------------------------------------------------- */

/* The root digest as it should be: SHA-256 of the header with its own digits as '0'. */
LVLM_MUST_CHECK int lvlm_native_root(lvlm_hex_digest hex,
                                     const lvlm_checkpoint *checkpoint,
                                     lvlm_error *err);
/* The SHA-256 recorded for a tensor of a sealed file, in hex. O(1). */
const char *lvlm_native_digest_of(const lvlm_checkpoint *checkpoint,
                                  const lvlm_tensor *tensor);
/* SHA-256 over what is computed with: names, types, shapes and digests of the model's
 * tensors, family and configuration (NATIVE.md). Two files with the same one hold the
 * same weights, whatever else differs. Needs only the header. */
LVLM_MUST_CHECK int lvlm_native_weights_digest(lvlm_hex_digest hex,
                                               const lvlm_checkpoint *checkpoint,
                                               lvlm_error *err);

LVLM_END_DECLS

#endif
