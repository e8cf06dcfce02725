/* version.c - the version compiled into the library. */
#include "formats/base/version.h"

const char *lvlm_version(void)
{
    return LVLM_VERSION;
}

int lvlm_version_number(void)
{
    return LVLM_VERSION_NUMBER;
}
