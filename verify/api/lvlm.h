/* lvlm.h - the library: convert a checkpoint, ask it, prove it, train it.
 *
 *     lvlm *model = NULL;
 *     char *answer = NULL;
 *     lvlm_error err;
 *     const char *images[] = { "cat.jpg" };
 *     if (lvlm_convert("paligemma2", "model.lvlm", NULL, &err) < 0 ||
 *         lvlm_open(&model, "model.lvlm", NULL, &err) < 0 ||
 *         lvlm_ask(model, &answer, "caption en", images, 1, NULL, &err) < 0)
 *         fprintf(stderr, "%s\n", err.text);
 *     else
 *         puts(answer);
 *     lvlm_free(answer);
 *     lvlm_close(model);
 *
 * Failures are described in code.h; a failed call leaves its outputs as they were.
 * Paths and texts are UTF-8 and are read during the call only. The library does not
 * print, exit, or install handlers of signals, and reads the environment only to find
 * the local cache of Hugging Face. Files appear whole under their names or not at all.
 *
 * Options: NULL is the same as all zero, which is a good choice everywhere. A structure
 * must be initialised ({ 0 }), because later versions have more members.
 *
 * Threads: any number of threads may call these functions at the same time, as long as
 * each object (lvlm, lvlm_training) and each output is used by one of them at a time. A
 * call computes with a team of its own threads; results do not depend on their number.
 * What is one for the process is changed: once something is computed OpenBLAS has one
 * thread, and OpenMP no dynamic adjustment of teams; the hooks of cJSON are malloc and
 * free. Threads of OpenBLAS that the program has started meanwhile are not used.
 *
 * Notes: what a file has and nothing follows is told in sentences, one after another,
 * by the thread that called the function, before it returns:
 *
 *     void note(void *user, const char *sentence)
 *
 * A sentence is valid during the call and has no new line at its end. It is worth
 * showing to people: what it is about may change a result. */
#ifndef LVLM_H
#define LVLM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "formats/base/code.h"
#include "formats/base/linkage.h"
#include "formats/base/version.h"

LVLM_BEGIN_DECLS

/* ---- checkpoints ---------------------------------------------------------------- */

typedef struct lvlm_convert_options {
    bool overwrite; /* an existing output is replaced; else it is LVLM_EUSAGE */
    size_t threads; /* 0: as many as affinity and control groups leave */
    void (*note)(void *user, const char *sentence); /* may be NULL */
    void *user;
} lvlm_convert_options;

/* Convert a checkpoint of Hugging Face to the native file `model`. `source` is a
 * folder, a model id in the local cache, or big_vision's .npz of PaliGemma.
 * LVLM_ECHECK: a tensor is missing, unexpected, misshapen or damaged. `model` must not
 * be one of the files of `source`. */
LVLM_API LVLM_MUST_CHECK int lvlm_convert(const char *source, const char *model,
                                          const lvlm_convert_options *options,
                                          lvlm_error *err);

/* Convert a native file back to a folder, byte for byte what came in; of a trained
 * model with its new values, in the types that came in. Every byte is compared with its
 * digest: LVLM_ECHECK names a tensor that is damaged. */
LVLM_API LVLM_MUST_CHECK int lvlm_convert_back(const char *model, const char *folder,
                                               const lvlm_convert_options *options,
                                               lvlm_error *err);

/* What lvlm_rederive found to be the same, bit for bit. */
typedef enum lvlm_rederived {
    LVLM_REDERIVED_FILE,     /* the whole file */
    LVLM_REDERIVED_CONTENTS, /* its tensors, configuration and ledger: another version
                                of this library converted it */
    LVLM_REDERIVED_BASE,     /* the weights that its training or merging began with */
} lvlm_rederived;

/* Convert `source` again as the native file `model` was converted, to a file `scratch`
 * that must not exist and is removed afterwards, and compare. LVLM_ECHECK: what differs
 * is named. LVLM_EUSAGE: it was composed or changed in a way that a conversion does not
 * give. `options`: overwrite has no effect. */
LVLM_API LVLM_MUST_CHECK int lvlm_rederive(lvlm_rederived *out, const char *source,
                                           const char *model, const char *scratch,
                                           const lvlm_convert_options *options,
                                           lvlm_error *err);

/* ---- answers -------------------------------------------------------------------- */

/* A native file that is open. Its weights stay in the mapped file, which must not
 * change meanwhile; a file that is replaced by another under its name does not matter.
 * */
typedef struct lvlm lvlm;

typedef struct lvlm_handle_options {
    bool in_double; /* compute in double; else in float */
    bool check; /* compare every weight with its digest first: LVLM_ECHECK. Tokenizer,
                       templates and settings are always compared */
    size_t threads;        /* as in lvlm_convert_options */
    const char *reference; /* whose behaviour, where versions differ: "trained" (also
                              NULL) or "transformers-X.Y[.Z]" */
    void (*note)(void *user, const char *sentence); /* may be NULL; called until */
    void *user;                                     /* lvlm_close */
} lvlm_handle_options;

/* On success *out must be freed with lvlm_close. LVLM_EFORMAT names the tensor or
 * setting that does not fit. */
LVLM_API LVLM_MUST_CHECK int lvlm_open(lvlm **out, const char *model,
                                       const lvlm_handle_options *options,
                                       lvlm_error *err);
/* NULL is allowed. */
LVLM_API void lvlm_close(lvlm *model);

/* "paligemma2", "qwen2_vl" and so on. Borrowed from the model. */
LVLM_API const char *lvlm_family_of(const lvlm *model);

typedef struct lvlm_ask_options {
    const char *system; /* a system message in place of the model's own; NULL: that */
    bool raw;           /* the prompt as it is, without the model's chat template */
    size_t max_new_tokens; /* 0: the model's own setting, or 512 */
    double temperature; /* 0: greedy; above 0 tokens are drawn, as the model's settings
                              of top_k and top_p say */
    uint64_t seed;      /* of the drawing */
    /* Receives the answer in pieces of whole characters, as they are made; a result
     * that is not 0 ends the answer there. text (n_bytes), valid during the call. */
    int (*take)(void *user, const char *text, size_t n_bytes); /* may be NULL */
    void *user;
} lvlm_ask_options;

/* Ask about `n_images` images (JPEG, PNG or WebP files), which come where the prompt
 * names them or else before it. *answer, when `answer` is not NULL, is a text that is
 * freed with lvlm_free; a zero character in it is U+FFFD. LVLM_EFORMAT: the model has
 * no tokenizer or template that is known, or its prompts have no place for so many
 * images. LVLM_EUSAGE in a build without images, tokenizers and prompts (LVLM_PREPARE).
 * */
LVLM_API LVLM_MUST_CHECK int lvlm_ask(lvlm *model, char **answer, const char *prompt,
                                      const char *const *images, size_t n_images,
                                      const lvlm_ask_options *options, lvlm_error *err);

/* Free a text of this library. NULL is allowed. */
LVLM_API void lvlm_free(void *block);

/* ---- proofs --------------------------------------------------------------------- */

typedef struct lvlm_parity_options {
    bool gradients; /* compare the recorded gradients too */
    size_t threads; /* as in lvlm_convert_options */
    void (*note)(void *user, const char *sentence); /* may be NULL */
    void *user;
} lvlm_parity_options;

/* What a comparison found. */
typedef struct lvlm_parity {
    size_t n_stages; /* compared: stages, then gradients */
    size_t n_failed; /* of those: missing, of another shape, or out of their bands */
    bool exact;      /* recorded in double and computed in double */
    double error;    /* the largest relative error of those that were compared */
} lvlm_parity;

/* Run the inputs of `recording`, a .safetensors file of what a reference computed with
 * the same weights, and compare every stage that it holds. LVLM_ECHECK: the first stage
 * that failed is named, and *out is valid; or a weight is not what its digest says, and
 * n_stages is 0. `out` may be NULL. */
LVLM_API LVLM_MUST_CHECK int lvlm_replay_recording(lvlm_parity *out, const char *model,
                                                   const char *recording,
                                                   const lvlm_parity_options *options,
                                                   lvlm_error *err);

/* ---- training ------------------------------------------------------------------- */

/* A native file that is being trained, with its data. */
typedef struct lvlm_training lvlm_training;

typedef struct lvlm_training_options {
    /* The data, one of both: a folder of ready batches, batch-*.safetensors in order of
     * their names; or a file of examples, a line or an element of a list each, as
     * LLaVA, Qwen-VL and PaliGemma have them, shuffled by `seed`. */
    const char *batches;
    const char *data;
    const char *images; /* the folder of the images that examples name; NULL: none */
    size_t batch_size;  /* examples a batch; 0: 1 */
    size_t accumulate;  /* batches a step; 0: 1 */
    uint64_t seed;
    const char *stage;   /* what is trained: "1", "2", "3", "connector" or "full"; NULL:
                          full */
    const char *lora;    /* train an adapter instead: "r=8,alpha=16,targets=q,v" */
    double lr;           /* of AdamW; 0: 5e-5 */
    double weight_decay; /* of AdamW, of matrices only */
    size_t steps;   /* the rate falls to 0 over that many steps; 0: it is constant */
    size_t threads; /* as in lvlm_convert_options */
    void (*note)(void *user, const char *sentence); /* may be NULL; called until */
    void *user;                                     /* lvlm_training_close */
} lvlm_training_options;

/* What one step did. */
typedef struct lvlm_training_report {
    size_t step;      /* from 1 */
    double loss;      /* mean over the labels of its batches */
    double grad_norm; /* of all gradients together, before they are clipped to 1 */
    double lr;
    size_t n_labels; /* that counted */
} lvlm_training_report;

/* Open a native file for training; every tensor is compared with its digest first. On
 * success *out must be freed with lvlm_training_close. */
LVLM_API LVLM_MUST_CHECK int lvlm_training_open(lvlm_training **out, const char *model,
                                                const lvlm_training_options *options,
                                                lvlm_error *err);
/* Take the next step; after the last batch of the data the first one follows. `report`
 * may be NULL. LVLM_ECHECK: a loss or gradient is not finite; the weights are still
 * those of the step before. */
LVLM_API LVLM_MUST_CHECK int lvlm_training_step(lvlm_training *training,
                                                lvlm_training_report *report,
                                                lvlm_error *err);
/* Write the trained model, in the types that it came in, an adapter folded in. Training
 * can go on. */
LVLM_API LVLM_MUST_CHECK int lvlm_training_save(lvlm_training *training,
                                                const char *model, bool overwrite,
                                                lvlm_error *err);
/* NULL is allowed. */
LVLM_API void lvlm_training_close(lvlm_training *training);

LVLM_END_DECLS

#endif
