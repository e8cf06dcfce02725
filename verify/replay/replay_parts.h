/* replay_parts.h - what the sources of replay.h and precision.h share. Private to
 * verify/. */
#ifndef LVLM_VERIFY_REPLAY_REPLAY_PARTS_H
#define LVLM_VERIFY_REPLAY_REPLAY_PARTS_H

#include "runtime/collect.h"
#include "verify/replay/replay.h"

LVLM_BEGIN_DECLS

/* ---- replay_stages.c: the contents of a recording, in order ---------------------- */

/* List the recorded stages in replay->stages, with their bands. */
LVLM_MUST_CHECK int lvlm_replay_list_stages(lvlm_replay *replay, lvlm_error *err);

/* Append the recorded gradients in the order of a backward pass, that of the last
 * weight first; then those of tensors that the model's source does not have.
 * LVLM_EFORMAT: none is recorded. */
LVLM_MUST_CHECK int lvlm_replay_list_gradients(lvlm_replay *replay,
                                               const lvlm_manifest *manifest,
                                               lvlm_error *err);

/* Append what is recorded as a stage, unless it is NULL. */
void lvlm_replay_list(lvlm_replay *replay, const lvlm_tensor *recorded);

/* Append the recorded tensors whose names start with `prefix`, which the name of a
 * source tensor follows: in order of use, or the last one first; then the others. */
LVLM_MUST_CHECK int lvlm_replay_list_by_source(lvlm_replay *replay,
                                               const lvlm_manifest *manifest,
                                               const char *prefix, bool last_first,
                                               lvlm_error *err);

/* NULL: not recorded. */
lvlm_replay_stage *lvlm_replay_find(const lvlm_replay *replay, const char *name);

/* ---- pass.c: one computation, with gradients as further stages ------------------- */

/* A forward over the tensors of `inputs` that start with `prefix`, as
 * lvlm_model_forward; with `grads` then a backward of the mean loss, whose gradients go
 * to the sink as "grad.NAME", by the names of the source checkpoint, in its order. The
 * model was opened with every weight trained (lvlm_pass_trains_all). LVLM_EFORMAT when
 * no label counts. */
LVLM_MUST_CHECK int lvlm_pass_run(lvlm_model *model, const lvlm_checkpoint *inputs,
                                  const char *prefix, bool grads,
                                  const lvlm_stage_sink *sink, lvlm_error *err);

/* For lvlm_model_options.trains. */
bool lvlm_pass_trains_all(void *user, const lvlm_manifest *manifest,
                          const lvlm_target *target);

/* ---- steps.c: recorded training ------------------------------------------------- */

/* Append the losses, norms and weights of the recorded steps. LVLM_EFORMAT: none are
 * recorded, or their settings cannot be read. */
LVLM_MUST_CHECK int lvlm_replay_list_steps(lvlm_replay *replay,
                                           const lvlm_manifest *manifest,
                                           lvlm_error *err);
/* Train them and compare; `options` as for the forward pass. */
LVLM_MUST_CHECK int lvlm_replay_steps(lvlm_replay *replay,
                                      const lvlm_model_options *options,
                                      lvlm_error *err);

/* ---- rounds.c: recorded tokens -------------------------------------------------- */

/* Append the logits of the recorded rounds, the tokens, and the cache after them, if
 * there are any. */
void lvlm_replay_list_rounds(lvlm_replay *replay);
/* Compute and compare them; the first other token is noted. LVLM_EFORMAT: the batch is
 * not of one text. */
LVLM_MUST_CHECK int lvlm_replay_rounds(lvlm_replay *replay, lvlm_model *model,
                                       lvlm_notes *notes, lvlm_error *err);

/* ---- judge.c: the verdict of a stage, from its error ----------------------------- */

/* The error of a comparison by which a stage or gradient is judged. */
double lvlm_judged_error(const lvlm_replay_stage *stage, const lvlm_stage_error *found);

/* Set the figures and the verdict of a stage from what was found. `exact`: both sides
 * are in double. */
void lvlm_judge(lvlm_replay_stage *stage, bool exact);

/* Compare what was computed of a stage with `recorded`, its recorded tensor or what was
 * made of it, and judge it. Another shape is a verdict; fails without memory only. */
LVLM_MUST_CHECK int lvlm_judge_computed(lvlm_replay_stage *stage,
                                        const lvlm_tensor *got,
                                        const lvlm_tensor *recorded, bool exact,
                                        lvlm_error *err);

/* Judge the gradients, or changes of weights, which are stages [first, end), relative
 * to the scale of all of them: the relative error of one that is only rounding means
 * nothing, so its norm counts as at least `share` of the average of its size
 * (bands.h). */
void lvlm_judge_wholes(lvlm_replay *replay, size_t first, size_t end, double share);

/* A stage that agrees and proves nothing is vacuous; so are gradients that are all
 * zero. */
void lvlm_judge_vacuous(lvlm_replay *replay);

/* Count the stages that fail, and find the first one. */
void lvlm_judge_all(lvlm_replay *replay);

/* ---- second_look.c: rounding, or a difference? ----------------------------------- */

/* Compute the stages that are out of their bands once more and compare three results at
 * each: what is recorded, our double, and our other computation.
 *
 *   computed in       our double   our other computation
 *   f32, bf16x2, bf16 the second   the first
 *   f64, recorded f32 the first    the second, in f32
 *   f64, both double  the first    the second, every input moved by its last bit
 *
 * A recording that is at most a few times (bands.h) as far from our double as the other
 * computation is differs by rounding. `kept` has these stages as they were computed
 * first, with `options`. */
LVLM_MUST_CHECK int lvlm_look_again(lvlm_replay *replay,
                                    const lvlm_model_options *options,
                                    const lvlm_stage_list *kept, lvlm_error *err);

/* How far a stage of the recording may be from our double by rounding, from
 * stage->own_error. */
double lvlm_rounding_explains(const lvlm_replay *replay,
                              const lvlm_replay_stage *stage);

/* ---- describe.c: the description of a model in a report -------------------------- */

/* Set the family of a replay, its differences, root digest and places; the latter from
 * the inputs of its recording, whose names begin with `prefix`. */
LVLM_MUST_CHECK int lvlm_replay_describe(lvlm_replay *replay, const lvlm_model *model,
                                         const char *prefix, lvlm_error *err);

/* Set whose behaviour to compute: the requested one, else the recorded one, else
 * "trained". */
void lvlm_replay_choose(lvlm_replay *replay, const lvlm_replay_options *options);

/* How a replay opens its model: with every weight checked, and trained if gradients are
 * compared. */
lvlm_model_options lvlm_replay_model_options(const lvlm_replay *replay,
                                             const lvlm_replay_options *options);

LVLM_END_DECLS

#endif
