/* pairs.h - a tar of pairs of image and caption, as WebDataset and img2dataset write
 * it, as values of JSON Lines (jsonl.h).
 *
 *   NAME.jpg, .jpeg, .png or .webp; NAME.txt, or without it NAME.json
 *       -> { "image": "FILE.tar/NAME.jpg", "caption": ... }
 *
 * The files of a pair follow each other. A text loses the new lines at its end; of
 * NAME.json "caption" or "text" is read. Other files are passed over. */
#ifndef LVLM_RUNTIME_TUNE_DATA_PAIRS_H
#define LVLM_RUNTIME_TUNE_DATA_PAIRS_H

#include "runtime/tune/data/jsonl.h"

LVLM_BEGIN_DECLS

/* Find the pairs of a mapped tar, which must outlive *out. LVLM_EFORMAT: it is damaged
 * (tar.h), or has no pair. Close with lvlm_jsonl_close, also after a failure. */
LVLM_MUST_CHECK int lvlm_pairs_read(lvlm_jsonl *out, const lvlm_infile *file,
                                    lvlm_error *err);
/* Pair `i` < n as JSON: lvlm_json_free. LVLM_EFORMAT: one without image or caption. */
LVLM_MUST_CHECK int lvlm_pairs_parse(cJSON **out, const lvlm_jsonl *pairs, size_t i,
                                     lvlm_error *err);

LVLM_END_DECLS

#endif
