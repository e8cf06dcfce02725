/* example_reader.h - private to example.h: a line that is being read.
 *
 *   example.c            which form; its images; conversations, prefix and suffix
 *   example_document.c   pairs, texts with images between */
#ifndef LVLM_RUNTIME_TUNE_DATA_EXAMPLE_READER_H
#define LVLM_RUNTIME_TUNE_DATA_EXAMPLE_READER_H

#include "runtime/tune/data/example.h"
#include "runtime/tune/data/example_video.h"

LVLM_BEGIN_DECLS

/* Where an image is in LLaVA's words; what comes before its file in Qwen-VL's. */
#define EXAMPLE_PLACE "<image>"
#define EXAMPLE_TAG "<img>"

/* An example that is being read. */
typedef struct example_reader {
    lvlm_example *out;
    bool tags;
    const char *key; /* "image", or "images" where the line has that */
    size_t n_beside; /* files of that key */
    size_t n_taken;  /* of them, by <image> */
    example_videos videos;
    size_t n_videos_taken; /* by <video> */
    size_t turn;           /* which one is being read */
    lvlm_notes *notes;
} example_reader;

/* Allocate `n` parts; append one to them, which have room. */
LVLM_MUST_CHECK int example_make_parts(lvlm_message *m, size_t n, example_reader *r,
                                       lvlm_error *err);
LVLM_MUST_CHECK int example_add_text(lvlm_message *m, const char *text, size_t n,
                                     example_reader *r, lvlm_error *err);
LVLM_MUST_CHECK int example_add_image(lvlm_message *m, const char *file, size_t n,
                                      example_reader *r, lvlm_error *err);
/* Append the file that `item` names to the list of files, which has room. */
LVLM_MUST_CHECK int example_read_image(example_reader *r, const cJSON *item,
                                       lvlm_error *err);

/* { "image", "caption" }; the image is listed already. */
LVLM_MUST_CHECK int example_read_pair(example_reader *r, const cJSON *json,
                                      lvlm_error *err);
/* { "interleaved" }. */
LVLM_MUST_CHECK int example_read_interleaved(example_reader *r, const cJSON *json,
                                             lvlm_error *err);

LVLM_END_DECLS

#endif
