/* adapter.h - low-rank adapters as PEFT keeps them, beside the modules of one model.
 *
 *   DIR/adapter_config.json         rank, alpha, dropout, which modules
 *   DIR/adapter_model.safetensors   base_model.model.MODULE.lora_A.weight   (r, in)
 *                                   base_model.model.MODULE.lora_B.weight   (out, r)
 *
 *                                   base_model.model.MODULE.weight, .bias, ...: all
 *                                   tensors of a module that is saved whole
 *
 *   y = W x + scale B (A x)     scale = alpha / r, or alpha / sqrt(r) with rsLoRA
 *
 * Modules are read under the names of every generation (names.h), with the adapter's
 * own name in between (lora_A.default.weight) and from adapter_model.bin, and written
 * under those of the current library. What else PEFT can put into an adapter (DoRA,
 * biases, ...) is refused by name.
 *
 * Modules that modules_to_save names were trained whole: their values take the place of
 * the model's. Where the head is tied to the embedding, a tied model can have only one
 * table: both are saved, with equal values, as PEFT does with ensure_weight_tying.
 *
 * An adapter that is written here is sealed (digests.h): the metadata of its tensors
 * has their digests, the members of adapter_config.json that decide what it computes,
 * and the family and the weights that it was trained with. PEFT does not read metadata,
 * while unknown keys in adapter_config.json are a warning in some of its versions and
 * an error in others. The seal is checked when the adapter is opened again. An adapter
 * from other software records nothing and is read as it is.
 *
 * A module that holds several native tensors (fused q, k and v) has one A and one B.
 * Each native tensor is adapted by A and its own rows of B. Distinct objects may be
 * used from distinct threads. */
#ifndef LVLM_FORMATS_ADAPTER_ADAPTER_H
#define LVLM_FORMATS_ADAPTER_ADAPTER_H

#include "formats/base/outdir.h"
#include "formats/checkpoint/modules.h"

LVLM_BEGIN_DECLS

typedef struct lvlm_adapter_config {
    size_t r;
    double alpha, dropout;
    bool rslora;
    const char *base; /* base_model_name_or_path as written, or NULL */
    const cJSON *rank_pattern, *alpha_pattern; /* { module: number }, or NULL */
    const cJSON *modules_to_save;              /* [ name ], or NULL for none */
} lvlm_adapter_config;

/* From adapter_config.json. Borrows from it. LVLM_EFORMAT names the key that is
 * missing, malformed or not supported. */
LVLM_MUST_CHECK int lvlm_adapter_config_read(lvlm_adapter_config *out,
                                             const cJSON *json, lvlm_error *err);

/* What an adapter records of the weights beside which it was trained. */
typedef enum lvlm_adapter_beside {
    LVLM_BESIDE_UNKNOWN, /* nothing, as PEFT */
    LVLM_BESIDE_THESE,   /* they are the model's */
    LVLM_BESIDE_OTHERS,
} lvlm_adapter_beside;

/* One adapted module. */
typedef struct lvlm_adapted {
    const lvlm_module *module;
    size_t r;
    double scale;
    lvlm_tensor a, b; /* (r, in), (out, r); data: borrowed, or NULL for none yet */
} lvlm_adapted;

/* One tensor of a module that is saved whole. */
typedef struct lvlm_saved {
    const char *name;      /* "lm_head.weight": in the current library */
    const char *canonical; /* names.h */
    const lvlm_target *parts[LVLM_MODULE_PARTS]; /* by index of the selected axis */
    size_t n_parts;
    lvlm_tensor
        value; /* of Hugging Face's shape; data: borrowed, or NULL for none yet */
} lvlm_saved;

typedef struct lvlm_adapter {
    lvlm_adapter_config config;
    lvlm_modules modules; /* all of the model */
    lvlm_adapted *at;     /* (modules.n) in order of use, each module once */
    size_t n;
    lvlm_saved *saved; /* in order of use: of config.modules_to_save */
    size_t n_saved;
    lvlm_adapter_beside beside;    /* of one that was opened */
    lvlm_hex_digest config_digest; /* SHA-256 of adapter_config.json as it was read */
    /* owned below: what was read */
    cJSON *json;
    lvlm_checkpoint *file;
    lvlm_arena arena;
} lvlm_adapter;

/* An adapter for the model of `manifest` without adapted modules; those that are saved
 * whole have no values. `manifest` and what `config` points at must outlive it. Free
 * with lvlm_adapter_free, also after a failure. LVLM_EFORMAT names a word of
 * modules_to_save that names nothing. */
LVLM_MUST_CHECK int lvlm_adapter_begin(lvlm_adapter *out, const lvlm_manifest *manifest,
                                       const lvlm_adapter_config *config,
                                       lvlm_error *err);
/* Adapt one more of adapter->modules. It must be linear and follow those already
 * added, and not be saved whole. */
void lvlm_adapter_add(lvlm_adapter *adapter, const lvlm_module *module);

/* The adapted module that the native tensor `name` is part of, and the index of that
 * part. NULL if there is none. */
const lvlm_adapted *lvlm_adapter_find(size_t *part, const lvlm_adapter *adapter,
                                      const char *name);

/* Open a PEFT directory for that model. Free as above. LVLM_EFORMAT names the file, the
 * tensor and what does not fit. LVLM_ECHECK names a tensor with values that are not
 * finite or, in a sealed adapter, what has changed or the other family that it was
 * trained with. An adapter that was trained with other weights than the model's is
 * noted (checkpoint->notes). */
LVLM_MUST_CHECK int lvlm_adapter_open(lvlm_adapter *out, const char *dir,
                                      const lvlm_manifest *manifest, lvlm_error *err);
void lvlm_adapter_free(lvlm_adapter *adapter);

/* Add the digests of the adapter's two files to a step of a history (history.h); none
 * of one that was not opened. */
LVLM_MUST_CHECK int lvlm_adapter_record(cJSON *step, const lvlm_adapter *adapter,
                                        lvlm_error *err);

/* The members of adapter_config.json that decide what the adapter computes. *out is
 * owned: lvlm_json_free, also after a failure. */
LVLM_MUST_CHECK int lvlm_adapter_settings(cJSON **out, const lvlm_adapter *adapter,
                                          lvlm_error *err);

/* Check the seal of a sealed adapter whose `json` and `file` are open: every tensor's
 * digest, and the recorded settings against `json`. A different base is noted. */
LVLM_MUST_CHECK int lvlm_adapter_check_seal(lvlm_adapter *adapter, lvlm_error *err);
/* Add the seal of an adapter that is about to be written to `metadata`. `tensors` have
 * their names in the file. */
LVLM_MUST_CHECK int lvlm_adapter_seal(cJSON *metadata, const lvlm_adapter *adapter,
                                      const lvlm_tensor *tensors, size_t n_tensors,
                                      lvlm_error *err);

/* Note every file in `dir` that may hold weights trained together with the adapter:
 * trainers save connectors, embeddings and heads next to it. Opening does so. */
LVLM_MUST_CHECK int lvlm_adapter_note_folder(const char *dir, lvlm_notes *notes,
                                             lvlm_error *err);

/* The files that PEFT reads, for lvlm_outdir_open. */
extern const lvlm_outdir_set lvlm_adapter_set;

/* Write an adapter as a PEFT directory and commit it. Every a, b and saved tensor must
 * have data. The same adapter gives the same bytes. */
LVLM_MUST_CHECK int lvlm_adapter_save(const lvlm_adapter *adapter, lvlm_outdir *dir,
                                      lvlm_error *err);

LVLM_END_DECLS

#endif
