/* fold_text.h - what an adapter was trained beside, and what folding it in has cost,
 * for people and programs. */
#ifndef LVLM_FORMATS_CLI_FOLD_TEXT_H
#define LVLM_FORMATS_CLI_FOLD_TEXT_H

#include "formats/adapter/adapter_fold.h"
#include "formats/cli/printer.h"

/* "does not record which weights it was trained beside; its maker names 'NAME'", about
 * an adapter that does not; NULL when it does. */
enum { LVLM_BESIDE_TEXT = 512 };
const char *lvlm_beside_text(char text[LVLM_BESIDE_TEXT], const lvlm_adapter *adapter);
/* "these", "others", "unknown": for JSON. */
const char *lvlm_beside_name(const lvlm_adapter *adapter);

/* Two indented lines, or members of the document. */
void lvlm_fold_cost_print(lvlm_printer *printer, const lvlm_fold_cost *cost);

#endif
