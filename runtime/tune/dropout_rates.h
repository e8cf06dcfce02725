/* dropout_rates.h - --dropout: at which rates training drops values of a model, at the
 * places that its family has (lvlm_dropout_row).
 *
 *   a number   that rate, wherever the family's makers drop values
 *   "config"   what config.json says, wherever transformers drops values */
#ifndef LVLM_RUNTIME_TUNE_DROPOUT_RATES_H
#define LVLM_RUNTIME_TUNE_DROPOUT_RATES_H

#include "formats/checkpoint/manifest.h"

LVLM_BEGIN_DECLS

/* All zero: not given, nothing is dropped. */
typedef struct lvlm_dropout {
    bool given, from_config;
    double rate; /* of a number */
} lvlm_dropout;

/* `text` NULL: not given. LVLM_EUSAGE unless it is "config" or from 0 to below 1. */
LVLM_MUST_CHECK int lvlm_dropout_parse(lvlm_dropout *out, const char *text,
                                       lvlm_error *err);

/* The rates of a model. The checkpoint's notes receive which places have which, and
 * every rate above 0 of config.json that is not followed. LVLM_EFORMAT names one that
 * is not from 0 to below 1.  rates (LVLM_N_DROPOUTS) */
LVLM_MUST_CHECK int lvlm_dropout_rates(double *rates, const lvlm_dropout *dropout,
                                       const lvlm_manifest *manifest, lvlm_error *err);

/* "text.attention" */
const char *lvlm_dropout_name(lvlm_dropout_place place);

LVLM_END_DECLS

#endif
