/* about.h - what `--version` of a program says of this build and processor. */
#ifndef LVLM_RUNTIME_ABOUT_H
#define LVLM_RUNTIME_ABOUT_H

#include <stdio.h>

#include "runtime/kernel/kernel.h"
#include "runtime/model.h"

LVLM_BEGIN_DECLS

/* What multiplies matrices here, or why LVLM_KERNEL is refused. */
static inline const char *lvlm_about(void)
{
    static char line[sizeof((lvlm_error *)0)->text + 32];
    lvlm_error err;
    const bool ok = lvlm_unit_check(&err) == 0;
    (void)snprintf(line, sizeof line, "matrix products: %s",
                   ok ? lvlm_kernel_name(LVLM_COMPUTE_F32) : err.text);
    return line;
}

LVLM_END_DECLS

#endif
