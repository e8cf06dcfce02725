/* fold_text.h - prints the weights that an adapter was trained with, and the cost of
 * folding it in. */
#ifndef LVLM_FORMATS_CLI_FOLD_TEXT_H
#define LVLM_FORMATS_CLI_FOLD_TEXT_H

#include "formats/adapter/adapter_fold.h"
#include "formats/cli/printer.h"

/* "does not record which weights it was trained beside; its maker names 'NAME'"; NULL
 * if the adapter records them. */
enum { LVLM_BESIDE_TEXT = 512 };
const char *lvlm_beside_text(char text[LVLM_BESIDE_TEXT], const lvlm_adapter *adapter);
/* "these", "others", "unknown": for JSON. */
const char *lvlm_beside_name(const lvlm_adapter *adapter);

/* Two indented lines, or members of the document. */
void lvlm_fold_cost_print(lvlm_printer *printer, const lvlm_fold_cost *cost);

#endif
