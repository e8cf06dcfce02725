/* fuzz_archive.h - zip archives for fuzz targets, with correct checksums and
 * offsets. */
#ifndef LVLM_TESTS_FUZZ_ARCHIVE_H
#define LVLM_TESTS_FUZZ_ARCHIVE_H

#include "formats/base/json.h"
#include "formats/base/strbuf.h"

/* From a list of { "name": text, "text": text | "hex": digits, "repeat": n, "deflate":
 * bool }. With "header" (the text of an .npy header) the data become an array of NumPy.
 * False: the list does not describe an archive. */
bool kit_archive(lvlm_strbuf *out, const cJSON *members);

#endif
