/* dataset.h - a file of training data as batches.
 *
 *   open     parses and checks every example once, as far as that is possible without
 *            reading images; examples are not kept
 *   batch i  order.h chooses the examples -> example.h reads -> encoder.h encodes
 *
 * A line that cannot be used ends the run, or with `skip_bad` is left out: it is
 * reported and counted, and its batch is smaller. Truncated examples are counted too.
 *
 * One thread may make batches while another one notes those that were made; all else is
 * for one thread at a time. */
#ifndef LVLM_RUNTIME_TUNE_DATA_DATASET_H
#define LVLM_RUNTIME_TUNE_DATA_DATASET_H

#include "runtime/tune/batch_source.h"
#include "runtime/tune/data/encoder.h"
#include "runtime/tune/data/jsonl.h"
#include "runtime/tune/order.h"

LVLM_BEGIN_DECLS

typedef struct lvlm_dataset_options {
    size_t batch_size; /* 0: 1 */
    bool shuffled;     /* else in the file's order */
    uint64_t seed;
    bool skip_bad;
    /* Called once per line that is left out, with "FILE:LINE: why"; may be NULL. */
    void (*tell)(void *user, const char *text);
    void *user;
} lvlm_dataset_options;

/* Lines by what became of them. */
typedef struct lvlm_dataset_counts {
    size_t bad;      /* left out */
    size_t cut;      /* truncated to the maximal length, so far */
    size_t left_out; /* began with an answer without a question
                        (lvlm_example.left_out) */
} lvlm_dataset_counts;

typedef struct lvlm_dataset {
    lvlm_jsonl file;
    const lvlm_encoder *encoder; /* borrowed */
    lvlm_dataset_options options;
    size_t *values;  /* (n) values of the file that can be used, as far as is known */
    size_t *lengths; /* (n) estimated, in tokens */
    size_t n;
    size_t n_images, n_videos;
    lvlm_order order;
    lvlm_dataset_counts counts;
    unsigned char *noted;   /* (file.n) what has been counted for each line */
    lvlm_hex_digest id;     /* the same for the same lines in the same batches */
    lvlm_hex_digest sha256; /* of the file */
    char how[128];          /* lvlm_batch_source.how */
} lvlm_dataset;

/* Open the file at `path`. LVLM_EFORMAT names the first bad line, which may also be one
 * of another form than the conversations before it or one whose image does not exist;
 * or no line can be used. Close with lvlm_dataset_close, also after a failure.
 * `encoder` must outlive it. */
LVLM_MUST_CHECK int lvlm_dataset_open(lvlm_dataset *out, const char *path,
                                      const lvlm_encoder *encoder,
                                      const lvlm_dataset_options *options,
                                      lvlm_error *err);
void lvlm_dataset_close(lvlm_dataset *dataset);

/* A line of a batch that is reported. */
typedef struct lvlm_dataset_note {
    struct lvlm_dataset_note *next;
    size_t value;
    const char *bad; /* why it was left out; NULL: it was truncated */
} lvlm_dataset_note;

typedef struct lvlm_dataset_batch {
    lvlm_encoded *encoded;           /* NULL: none of its examples can be used */
    const char *name;                /* "data.jsonl lines 3, 17" */
    lvlm_dataset_note *notes, **end; /* of the list */
    lvlm_arena arena;
} lvlm_dataset_batch;

/* Make batch number `i` of a run or, if none of its examples can be used, the first of
 * the `n` batches from `i` on that has any. *out is owned: lvlm_dataset_batch_free. */
LVLM_MUST_CHECK int lvlm_dataset_make(lvlm_dataset_batch **out, lvlm_dataset *dataset,
                                      size_t i, size_t n, lvlm_error *err);
void lvlm_dataset_batch_free(lvlm_dataset_batch *batch);

/* Make and discard every batch of an epoch: LVLM_EFORMAT as when they are used, or if
 * no example can be used. Finds before a run what would end it hours later. */
LVLM_MUST_CHECK int lvlm_dataset_check(lvlm_dataset *dataset, lvlm_error *err);

/* Report and count the lines that were left out or truncated, each line once. */
void lvlm_dataset_note_batch(lvlm_dataset *dataset, const lvlm_dataset_batch *batch);

/* Enough batches made ahead of a computation. */
enum { LVLM_DATASET_AHEAD = 2 };

/* The dataset as a source for training. `depth` batches are prefetched by a thread; 0:
 * none. A batch without a usable example is replaced by the next one that has any.
 * `dataset` is borrowed. On success close it with lvlm_batch_source_close. */
LVLM_MUST_CHECK int lvlm_dataset_source(lvlm_batch_source *out, lvlm_dataset *dataset,
                                        size_t depth, lvlm_error *err);

LVLM_END_DECLS

#endif
