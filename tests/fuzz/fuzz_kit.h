/* fuzz_kit.h - shared by fuzz targets: files built from a description, small models.
 *
 * The input of a target that reads whole files is a description of them in JSON, so
 * that mutation keeps what the first checks need (lengths, offsets, digests, checksums)
 * and changes everything else. */
#ifndef LVLM_TESTS_FUZZ_KIT_H
#define LVLM_TESTS_FUZZ_KIT_H

#include <stddef.h>
#include <stdint.h>

#include "formats/base/json.h"
#include "formats/base/outdir.h"
#include "formats/base/outfile.h"
#include "formats/base/strbuf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A folder of this process below $TMPDIR, removed at exit. */
const char *kit_folder(void);
/* "FOLDER/NAME"; valid until eight more calls. A name that is not a plain
 * file name becomes "_". */
const char *kit_path(const char *name);
/* Write a file of that name; returns its path. A folder before the name, "d/n", is
 * created. */
const char *kit_write(const char *name, const void *bytes, size_t n);
/* Remove a file, or a folder of files. */
void kit_remove(const char *name);

/* The input as JSON, or NULL. Owned: lvlm_json_free. */
cJSON *kit_parse(const uint8_t *data, size_t size);
/* Member `key` as text: a string as it is, anything else as JSON; NULL when absent.
 * Owned: lvlm_free. */
char *kit_text(const cJSON *json, const char *key);

/* The bytes of a safetensors file:
 *
 *   { "metadata": { key: text, ... },
 *     "tensors":  { NAME: { "dtype": "F32", "shape": [..], "data": [numbers] |
 *                           "text": text | "hex": digits }, ... } }
 *
 * Values repeat until the tensor is full. False: the JSON does not describe a file, or
 * one of more than a few megabytes. */
bool kit_safetensors(lvlm_strbuf *out, const cJSON *json);

/* The same as a native file, with `metadata` any JSON: values that are not text are
 * written as text; the root, and digests that are not given, are computed. */
bool kit_native(lvlm_strbuf *out, const cJSON *json);

/* Path of fixture `name` ("qwen2_vl-odd/model") as a native file, converted once. */
const char *kit_model(const char *name);

/* An output that may replace a file, for code that writes to an open one. Closed by the
 * caller. */
lvlm_outfile *kit_outfile(const char *name);
lvlm_outdir *kit_outdir(const char *name, const lvlm_outdir_set *set);

#endif
