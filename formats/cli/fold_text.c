/* fold_text.c - prints facts about adapters; see fold_text.h. */
#include "formats/cli/fold_text.h"

#include <assert.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>

#include "formats/cli/program.h"

const char *lvlm_beside_text(char text[LVLM_BESIDE_TEXT], const lvlm_adapter *adapter)
{
    const char *const base = adapter->config.base;
    if (adapter->beside != LVLM_BESIDE_UNKNOWN) return NULL;
    (void)snprintf(text, LVLM_BESIDE_TEXT,
                   "does not record which weights it was trained beside; its maker "
                   "names %s%.300s%s",
                   base != NULL ? "'" : "", base != NULL ? lvlm_shown(base) : "none",
                   base != NULL ? "'" : "");
    return text;
}

const char *lvlm_beside_name(const lvlm_adapter *adapter)
{
    static const char *const names[] = { [LVLM_BESIDE_UNKNOWN] = "unknown",
                                         [LVLM_BESIDE_THESE] = "these",
                                         [LVLM_BESIDE_OTHERS] = "others" };
    assert((size_t)adapter->beside < sizeof names / sizeof *names);
    return names[adapter->beside];
}

/* Relative L2 of a part, from sums of squares. */
static double share(double part2, double whole2)
{
    assert(part2 >= 0);
    return whole2 > 0 ? sqrt(part2 / whole2) : 0;
}

void lvlm_fold_cost_print(lvlm_printer *p, const lvlm_fold_cost *c)
{
    const double of_weights = share(c->error2, c->exact2);
    const double of_change = share(c->error2, c->change2);
    if (c->n_replaced > 0)
        lvlm_printer_line(p, "  %zu of the tensors are replaced whole\n",
                          c->n_replaced);
    lvlm_printer_line(p,
                      "  rounding to the stored types: at most %.2g a value, %.2g of "
                      "the weights, %.2g of the change (relative L2)\n"
                      "  %" PRIu64 " of %" PRIu64
                      " values did not change although the adapter moves them\n",
                      c->max_error, of_weights, of_change, c->n_lost, c->n_values);
    lvlm_printer_count(p, "n_tensors", c->n_tensors);
    lvlm_printer_count(p, "replaced", c->n_replaced);
    lvlm_printer_count(p, "values", c->n_values);
    lvlm_printer_count(p, "lost", c->n_lost);
    lvlm_printer_number(p, "max_error", c->max_error);
    lvlm_printer_number(p, "relative_error", of_weights);
    lvlm_printer_number(p, "error_of_change", of_change);
}
