/* version.h - the version of lvlm, for the preprocessor and at run time.
 *
 * CMake reads it from here. */
#ifndef LVLM_FORMATS_BASE_VERSION_H
#define LVLM_FORMATS_BASE_VERSION_H

#include "formats/base/linkage.h"

LVLM_BEGIN_DECLS

#define LVLM_VERSION "0.1.0"
#define LVLM_VERSION_NUMBER 100 /* for comparisons: 1.2.3 is 10203 */

/* The version of the library at run time, which may differ from the one at compile
 * time. The text is static. Any thread may call these at any time. */
LVLM_API const char *lvlm_version(void);
LVLM_API int lvlm_version_number(void);

LVLM_END_DECLS

#endif
