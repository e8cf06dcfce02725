/* api_unprepared.c - what lvlm.h refuses in a build without prepare/. */
#include "runtime/prepare/unprepared.h"
#include "verify/api/api.h"

int lvlm_ask(lvlm *model, char **answer, const char *prompt, const char *const *images,
             size_t n_images, const lvlm_ask_options *options, lvlm_error *err)
{
    (void)model, (void)answer, (void)prompt, (void)images, (void)n_images;
    (void)options;
    return lvlm_fail(err, LVLM_EUSAGE, "lvlm_ask " LVLM_UNPREPARED);
}

int api_examples_open(lvlm_training *training, const char *model,
                      const lvlm_training_options *options, lvlm_error *err)
{
    (void)training, (void)model, (void)options;
    return lvlm_fail(err, LVLM_EUSAGE, "training on examples " LVLM_UNPREPARED);
}

void api_examples_close(struct api_examples *examples)
{
    (void)examples;
}
