/* fold_text.h - what folding an adapter in has cost, for people and programs. */
#ifndef LVLM_FORMATS_CLI_FOLD_TEXT_H
#define LVLM_FORMATS_CLI_FOLD_TEXT_H

#include "formats/adapter_fold.h"

/* Two indented lines on stdout. */
void lvlm_fold_cost_print(const lvlm_fold_cost *cost);
/* Members of a JSON object. */
void lvlm_fold_cost_add(cJSON *json, const lvlm_fold_cost *cost);

#endif
