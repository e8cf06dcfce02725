/* bands.h - how far a stage may be from its reference.
 *
 * Each constant has beside it what was measured with gcc 12 and OpenBLAS 0.3.21 on a
 * Zen 5 with AVX-512: on the recordings of all families (fixtures/), and on trained
 * weights (135M parameters in a Qwen2-VL frame, 30 blocks; fixtures/trained.py).
 * tests/bench/bands.sh measures both again. */
#ifndef LVLM_VERIFY_REPLAY_BANDS_H
#define LVLM_VERIFY_REPLAY_BANDS_H

#include "verify/replay/replay.h"

LVLM_BEGIN_DECLS

/* Double against double, errors by rows. Observed at most 4.4e-15 and 6.2e-13 at those
 * of families, 1.6e-14 and 1.6e-13 at trained weights. The lowest mantissa bit of one
 * of their bf16 values moves its stage by 1.6e-10 or more, in 100 draws. */
#define LVLM_BAND_EXACT 1e-12
#define LVLM_BAND_EXACT_GRADIENT 1e-10

/* If either side is float32. Observed at most 2.9e-6 at those of families, where
 * references are 3.0e-6 from double (4.1e-6 when recorded with AVX2) and we 2.2e-6; at
 * trained weights 1.3e-5, by rounding. */
#define LVLM_BAND_F32 1e-5
/* Gradients: observed at most 2.0e-4 at those of families, 2.9e-4 at trained weights;
 * ours are 1.3e-4 from double, those of references 2.8e-4, as they take their loss in
 * float32 even if everything else is in double. */
#define LVLM_BAND_F32_GRADIENT 2e-3

/* Divergence of any row of logits, in nats. Observed at most 4.8e-15 and 4.6e-9. */
#define LVLM_BAND_EXACT_KL 1e-12
#define LVLM_BAND_F32_KL 1e-6

/* If we compute in bf16x2. Observed at most 6.4e-5, 1.2e-3 and 8.0e-7 at the recordings
 * of families, from our own double; here and below apart from gradients of biases of
 * keys, which are 0 but for rounding. */
#define LVLM_BAND_BF16X2 5e-4
#define LVLM_BAND_BF16X2_GRADIENT 5e-3
#define LVLM_BAND_BF16X2_KL 1e-5

/* If we compute in bf16. Observed at most 3.2e-2, 0.49 and 0.16; at trained weights
 * 1.8e-2, 0.20 and 1.8e-2. */
#define LVLM_BAND_BF16 0.15
#define LVLM_BAND_BF16_GRADIENT 0.8
#define LVLM_BAND_BF16_KL 1.0

/* Training steps: losses and norms, and the change of each weight. Observed at most
 * 3.0e-15 and 1.4e-12 over three or four steps of four models of three families, at a
 * change in float32 3.7e-5. AdamW divides by the root of tiny second moments, so that
 * the reference in float32 is up to 7.5e-4 from itself in double. */
#define LVLM_BAND_EXACT_STEP 1e-10
#define LVLM_BAND_EXACT_CHANGE 1e-8
#define LVLM_BAND_F32_STEP 1e-4
#define LVLM_BAND_F32_CHANGE 5e-3

/* The least that a gradient, or the change of a weight, counts as, of the average of
 * its size. AdamW moves every weight by about the learning rate; those whose true
 * gradient is 0, the biases of keys, by the share of their rounding in its eps. */
#define LVLM_LEAST_GRADIENT 1e-3
#define LVLM_LEAST_CHANGE 0.1

/* Another token is chosen by rounding if the logits of both are at most this far
 * apart, or twice as far as the recorded logits are from ours. */
#define LVLM_TIE_EXACT 1e-9
#define LVLM_TIE_F32 2e-3

/* A stage outside of its band differs by rounding if the recording is at most this many
 * times as far from our double as our other computation is (replay_parts.h). Observed
 * at most 0.3 between float32 and double, 1.7 with another image; between double and
 * inputs moved by their last bit 4.0 at a stage, 34 at a gradient: rounding on the way
 * adds to that of the inputs. */
#define LVLM_ROUNDING 4.0
#define LVLM_ROUNDING_EXACT 64.0

/* Of a single number, such as a gate's gradient, the two may be equal by chance: they
 * differ by 4 times one of them in one case out of six, by 64 times in one of a
 * hundred. Then a multiple is this much larger. */
#define LVLM_ROUNDING_SINGLE 16.0

/* The same if either side is in bf16 or f16: times what our float32 is from double,
 * scaled by the ratio of their units (coarse.h). Observed at most 0.9 at a stage and
 * 1.5 at a loss, of the references of all families in bf16 and f16. */
#define LVLM_ROUNDING_COARSE 2.0

/* Set the bands of a stage or gradient; `exact`: both sides are double. */
void lvlm_bands_default(lvlm_replay_stage *stage, bool exact, lvlm_compute compute);

/* The divergence of logits, in a file of bands. */
#define LVLM_BAND_KL "logits.kl"

/* Bands from a file, { STAGE or GLOB: band, ... }. The first entry that matches a stage
 * is used, and for the divergence of logits the first that matches LVLM_BAND_KL;
 * without one it is scaled like the logits' band. `path` may be NULL. LVLM_EFORMAT: the
 * file is not such an object, or sets no band, a band is 1 or more, or a pattern
 * matches no stage of the recording nor of the model (NULL: of the recording only). */
LVLM_MUST_CHECK int lvlm_bands_read(lvlm_replay *replay, const lvlm_manifest *model,
                                    const char *path, lvlm_error *err);

LVLM_END_DECLS

#endif
