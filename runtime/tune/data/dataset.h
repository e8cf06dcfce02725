/* dataset.h - a file of training data as batches.
 *
 *   open     every example is parsed and looked at once, for what can be told without
 *            reading images; examples are not kept
 *   batch i  order.h says which examples those are -> example.h -> encoder.h
 *
 * A line that cannot be used stops everything, or with `skip_bad` is left out: told,
 * counted, and its batch is that much smaller. What is cut is counted as well.
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
    /* Told of each line that is left out, once, as "FILE:LINE: why"; may be NULL. */
    void (*tell)(void *user, const char *text);
    void *user;
} lvlm_dataset_options;

/* Lines by what became of them. */
typedef struct lvlm_dataset_counts {
    size_t bad;      /* left out */
    size_t cut;      /* longer than an example may be; met so far */
    size_t left_out; /* began with an answer to nothing (lvlm_example.left_out) */
} lvlm_dataset_counts;

typedef struct lvlm_dataset {
    lvlm_jsonl file;
    const lvlm_encoder *encoder; /* borrowed */
    lvlm_dataset_options options;
    size_t *values;  /* (n) those of the file that can be used, as far as is known */
    size_t *lengths; /* (n) roughly, in tokens */
    size_t n;
    size_t n_images;
    lvlm_order order;
    lvlm_dataset_counts counts;
    unsigned char *noted; /* (file.n) what was counted of each line */
    lvlm_hex_digest id;   /* the same for the same lines in the same batches */
} lvlm_dataset;

/* Open the file at `path`. LVLM_EFORMAT names the first bad line, also when its form is
 * not the first line's, or an image is not there; or says that none can be used. Close
 * with lvlm_dataset_close, also after a failure. `encoder` must outlive it. */
LVLM_MUST_CHECK int lvlm_dataset_open(lvlm_dataset *out, const char *path,
                                      const lvlm_encoder *encoder,
                                      const lvlm_dataset_options *options,
                                      lvlm_error *err);
void lvlm_dataset_close(lvlm_dataset *dataset);

/* One line of a batch that is told of. */
typedef struct lvlm_dataset_note {
    struct lvlm_dataset_note *next;
    size_t value;
    const char *bad; /* why it was left out; NULL: it was cut */
} lvlm_dataset_note;

typedef struct lvlm_dataset_batch {
    lvlm_encoded *encoded;           /* NULL: nothing of it can be used */
    const char *name;                /* "data.jsonl lines 3, 17" */
    lvlm_dataset_note *notes, *last; /* of the list */
    lvlm_arena arena;
} lvlm_dataset_batch;

/* Make batch number `i` of a run. *out is owned: lvlm_dataset_batch_free. */
LVLM_MUST_CHECK int lvlm_dataset_make(lvlm_dataset_batch **out, lvlm_dataset *dataset,
                                      size_t i, lvlm_error *err);
void lvlm_dataset_batch_free(lvlm_dataset_batch *batch);

/* Make every batch of a walk and let it go: LVLM_EFORMAT as when they are used, or when
 * not one example can be. What a run would meet hours later is met before it. */
LVLM_MUST_CHECK int lvlm_dataset_check(lvlm_dataset *dataset, lvlm_error *err);

/* Tell and count what its lines went through, each line once. */
void lvlm_dataset_note_batch(lvlm_dataset *dataset, const lvlm_dataset_batch *batch);

/* The dataset as a source for training. `depth` batches are made ahead, in a thread of
 * their own; 0: none. In place of a batch of which nothing can be used stands the next
 * one that is not so. `dataset` is borrowed. On success close it with
 * lvlm_batch_source_close. */
LVLM_MUST_CHECK int lvlm_dataset_source(lvlm_batch_source *out, lvlm_dataset *dataset,
                                        size_t depth, lvlm_error *err);

LVLM_END_DECLS

#endif
