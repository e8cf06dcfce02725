/* api.h - private to lvlm.h's implementation: what is behind its handles.
 *
 * verify/api/ is above all layers, and nothing includes it. */
#ifndef LVLM_VERIFY_API_API_H
#define LVLM_VERIFY_API_API_H

#include "convert/import.h"
#include "formats/base/notes.h"
#include "runtime/model.h"
#include "runtime/tune/batch_source.h"
#include "runtime/tune/trainer.h"
#include "verify/api/lvlm.h"

LVLM_BEGIN_DECLS

/* Notes on their way to the caller's function, which may be NULL. */
typedef struct api_notes {
    lvlm_notes list;
    void (*take)(void *user, const char *sentence);
    void *user;
} api_notes;

/* Pass on those that were not passed on before; at the end of every call, failed ones
 * too. */
void api_notes_tell(api_notes *notes);
/* The same, of a call without an object, and free them. */
void api_notes_end(api_notes *notes);

size_t api_threads(size_t asked);

struct lvlm {
    lvlm_model *model;
    api_notes notes;
    size_t threads;
    bool as_trained; /* behaves as trained, not as a version of the reference */
};

struct lvlm_training {
    lvlm_trainer trainer;
    lvlm_trainer_options options;
    lvlm_lora lora;
    lvlm_batch_source source;
    struct api_examples *examples; /* what the source reads; NULL: ready batches */
    api_notes notes;
    bool opened; /* the trainer was */
};

/* Convert `source` as `chosen` says, whose problem functions are set here, to `file`,
 * and commit it (api_convert.c). Free *import, also after a failure. */
LVLM_MUST_CHECK int api_import(lvlm_import **import, const char *source,
                               lvlm_outfile *file, const lvlm_import_options *chosen,
                               size_t threads, lvlm_hex_digest root, lvlm_error *err);

/* Examples as the source of a training (prepared/api_examples.c): sets both members.
 * Close with api_examples_close, also after a failure. */
LVLM_MUST_CHECK int api_examples_open(lvlm_training *training, const char *model,
                                      const lvlm_training_options *options,
                                      lvlm_error *err);
void api_examples_close(struct api_examples *examples);

LVLM_END_DECLS

#endif
