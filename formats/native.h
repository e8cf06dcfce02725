/* native.h - the .lvlm file: a strict profile of safetensors.
 *
 *   1. u64 little-endian: length N of the header; 8 + N is a multiple of 4096.
 *   2. N bytes of JSON, padded with spaces. "__metadata__" comes first and holds
 *        format      "lvlm"
 *        version     "1"
 *        root        SHA-256 of items 1 and 2 whole, with these 64 digits read as '0'
 *        family      the family's name
 *        config      JSON: the canonical configuration
 *        provenance  JSON: what was converted, by which version, with which options
 *        ledger      JSON: every source file and tensor and what became of it
 *        digests     JSON: { NAME: SHA-256 of its bytes, ... } for every tensor below
 *   3. model tensors under canonical names in order of use
 *   4. "unused/NAME": source tensors that the model does not use, kept for the way back
 *   5. "frames/FILE": U8, the bytes of a source file that belong to no tensor
 *   6. "files/NAME": U8, side files as they were
 *   "pad/N": U8 zeros before a tensor that would start off its alignment: 64 bytes for
 *   tensors of LVLM_NATIVE_LARGE bytes and more, the element's size for smaller
 *   ones and for tensors of bytes.
 *
 * The same input gives the same bytes on every run. formats/NATIVE.md says the same
 * for programmers in other languages, with the ledger's fields. */
#ifndef LVLM_FORMATS_NATIVE_H
#define LVLM_FORMATS_NATIVE_H

#include "formats/base/digest.h"
#include "formats/checkpoint.h"

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

/* Bytes of padding that must stand before `tensor` when the data so far ends at
 * `end`. */
uint64_t lvlm_native_pad(uint64_t end, const lvlm_tensor *tensor);

/* What goes into a header besides the tensors; all borrowed. */
typedef struct lvlm_native_meta {
    const char *family;
    const cJSON *config;
    const cJSON *provenance;
    const cJSON *ledger;
    size_t provenance_bytes; /* its text is padded with spaces to as many, so that a
                                header with other numbers is as long; 0: is not */
} lvlm_native_meta;

/* The complete header (items 1 and 2) for `tensors`, pads included and in file order.
 * digests[i] is the SHA-256 of tensor i in hex; NULL fills in zeros everywhere, root
 * included, so that the length is known before the data is written. The length depends
 * on names, shapes and `meta` alone. */
LVLM_MUST_CHECK int lvlm_native_header(lvlm_strbuf *out, const lvlm_native_meta *meta,
                                       const lvlm_tensor *tensors, size_t n_tensors,
                                       char (*digests)[LVLM_DIGEST_HEX + 1],
                                       lvlm_error *err);

/* The root digest that stands in a composed header. LVLM_EFORMAT when there is none. */
LVLM_MUST_CHECK int lvlm_native_find_root(char hex[LVLM_DIGEST_HEX + 1], char *header,
                                          size_t n_bytes, lvlm_error *err);

/* Does metadata say that it is a native file? */
bool lvlm_native_is(const cJSON *metadata);

/* Does the file at `path` begin as a native file does, whatever its name? */
bool lvlm_native_is_file(const char *path);

/* Is the file at `path`, which cannot be opened as a native file, one all the same, and
 * damaged? By its name or by what the beginning of its header looks like. */
bool lvlm_native_claims(const char *path);

/* Check the header, its root digest included, and keep the digests that it records.
 * Not checked: the tensors against them (that reads every byte; lvlm-verify checksum
 * does, and whoever copies or computes with a tensor). */
LVLM_MUST_CHECK int lvlm_native_validate(lvlm_checkpoint *checkpoint, lvlm_error *err);

/* The part of that which every sealed file shares, native or not (digests.h): "root" is
 * the digest of the header, and "digests" has one for each tensor, which are kept. */
LVLM_MUST_CHECK int lvlm_native_check_seal(lvlm_checkpoint *checkpoint,
                                           lvlm_error *err);

/* The SHA-256 recorded for a tensor of a sealed file, in hex. O(1). */
const char *lvlm_native_digest_of(const lvlm_checkpoint *checkpoint,
                                  const lvlm_tensor *tensor);
/* Is it a tensor of the model, not an unused one, a frame, a side file or padding? */
bool lvlm_native_is_model(const lvlm_tensor *tensor);
/* SHA-256 over what is computed with: names, types, shapes and digests of the model's
 * tensors, family and configuration (NATIVE.md). Two files with the same one hold the
 * same weights, whatever else differs. Needs only the header. */
LVLM_MUST_CHECK int lvlm_native_weights_digest(char hex[LVLM_DIGEST_HEX + 1],
                                               const lvlm_checkpoint *checkpoint,
                                               lvlm_error *err);

/* A JSON member of the metadata, parsed. *out is owned: lvlm_json_free. */
LVLM_MUST_CHECK int lvlm_native_meta_json(cJSON **out,
                                          const lvlm_checkpoint *checkpoint,
                                          const char *key, lvlm_error *err);

/* SHA-256 of the header as item 2 defines `root`. */
LVLM_MUST_CHECK int lvlm_native_root(char hex[LVLM_DIGEST_HEX + 1],
                                     const lvlm_checkpoint *checkpoint,
                                     lvlm_error *err);

#endif
