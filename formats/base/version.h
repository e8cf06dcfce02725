/* version.h - the version of lvlm, for the preprocessor and at run time.
 *
 * CMake reads it from here. */
#ifndef LVLM_FORMATS_BASE_VERSION_H
#define LVLM_FORMATS_BASE_VERSION_H

#include "formats/base/linkage.h"

LVLM_BEGIN_DECLS

#define LVLM_VERSION "0.1.0"
#define LVLM_VERSION_NUMBER 100 /* to compare with: 1.2.3 is 10203 */

/* Those of the library that a program runs with, which can be another than it was
 * compiled with. The text is static. */
const char *lvlm_version(void);
int lvlm_version_number(void);

LVLM_END_DECLS

#endif
