/* adapter_saved.h - the modules that an adapter saves whole; see adapter.h. */
#ifndef LVLM_FORMATS_ADAPTER_ADAPTER_SAVED_H
#define LVLM_FORMATS_ADAPTER_ADAPTER_SAVED_H

#include "formats/adapter/adapter.h"

LVLM_BEGIN_DECLS

/* Is the native tensor saved whole, by itself or as a part? */
bool lvlm_adapter_saves(const lvlm_adapter *adapter, const lvlm_target *target);

/* The saved tensor that the native tensor `name` is part of, and the index of that
 * part. NULL if there is none. */
const lvlm_saved *lvlm_adapter_find_saved(size_t *part, const lvlm_adapter *adapter,
                                          const char *name);

/* Values [first, first + n) of a native part, as `dtype`. The saved tensor has data. */
LVLM_MUST_CHECK int lvlm_saved_read(void *to, lvlm_dtype dtype, const lvlm_saved *saved,
                                    size_t part, uint64_t first, size_t n,
                                    lvlm_error *err);

/* ---- private to formats/adapter/ ------------------------------------------------ */

/* List what config.modules_to_save names. */
LVLM_MUST_CHECK int adapter_saved_list(lvlm_adapter *adapter, lvlm_error *err);
/* Take a tensor of the file that is not a factor. */
LVLM_MUST_CHECK int adapter_saved_place(lvlm_adapter *adapter, const lvlm_tensor *t,
                                        lvlm_error *err);
/* Is every tensor there, and are those of tied modules equal? */
LVLM_MUST_CHECK int adapter_saved_check(const lvlm_adapter *adapter, lvlm_error *err);
/* Check the shape and values of `t` against `wanted` and store it there. */
LVLM_MUST_CHECK int adapter_set_tensor(lvlm_tensor *wanted, const lvlm_tensor *t,
                                       lvlm_error *err);

/* Add modules_to_save as PEFT writes it: of tied modules only the one that has the
 * values. False: out of memory. */
bool adapter_saved_add_words(cJSON *config, const lvlm_adapter *adapter);
/* Are tied modules saved? That is ensure_weight_tying. */
bool adapter_saved_ties(const lvlm_adapter *adapter);

LVLM_END_DECLS

#endif
