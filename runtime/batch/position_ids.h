/* position_ids.h - positions that a batch brings along, as transformers 5 takes them.
 *
 *   [B, T]     on every axis
 *   [3, B, T]  time, row, column; of models with three axes
 *   [4, B, T]  the place within its text, then those three
 *
 * [.., 1, T] is for every text. Angles follow them. Without attention_mask they also
 * cut texts apart, for causal models: where the place within a text does not go up by
 * one, another text begins, and sees nothing before itself. That is noted where there
 * are several rows, in which only some of the reference's attentions do it; elsewhere,
 * places that go back are. */
#ifndef LVLM_RUNTIME_BATCH_POSITION_IDS_H
#define LVLM_RUNTIME_BATCH_POSITION_IDS_H

#include "runtime/batch/inputs.h"

LVLM_BEGIN_DECLS

/* Read inputs->positions and inputs->begins where the batch has position_ids. B, T,
 * real and has_mask are there. LVLM_EFORMAT names the shape that does not fit, and the
 * place of a position that float32 does not hold. */
LVLM_MUST_CHECK int lvlm_position_ids_read(lvlm_inputs *inputs,
                                           const lvlm_input_source *source,
                                           const lvlm_input_spec *spec,
                                           lvlm_notes *notes, lvlm_error *err);

LVLM_END_DECLS

#endif
