/* outside.c - a program that knows only what is installed; C and C++ at once. */
#include <stdio.h>
#include <string.h>

#include "formats/base/error.h"
#include "formats/base/version.h"
#include "formats/checkpoint/checkpoint.h"
#include "runtime/model.h"

#if LVLM_VERSION_NUMBER < 100
#error "the preprocessor does not know the version"
#endif

int main(void)
{
    lvlm_error err;
    lvlm_checkpoint *checkpoint = NULL;
    lvlm_model *model = NULL;
    if (lvlm_checkpoint_open(&checkpoint, "/nowhere", NULL, &err) == 0) return 1;
    if (lvlm_model_open(&model, "/nowhere", NULL, &err) == 0) return 1;
    return strcmp(lvlm_version(), LVLM_VERSION) != 0 || puts(err.text) < 0;
}
