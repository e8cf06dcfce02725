/* train_unprepared.c - the examples of train_run.h in a build without prepare/: they
 * are refused where the command line is checked, and ready batches train. */
#include "runtime/prepare/unprepared.h"
#include "runtime/tune/cli/train_run.h"

int train_check_examples(const train_args *a, lvlm_error *err)
{
    FAIL_IF(a->data != NULL || a->eval != NULL, err, LVLM_EUSAGE,
            "--%s: " LVLM_UNPREPARED, a->data != NULL ? "data" : "eval");
    FAIL_IF(a->images != NULL || a->batch_size > 0 || a->max_length > 0 ||
                a->skip_bad || a->chat_template != NULL || a->pad_to_square,
            err, LVLM_EUSAGE,
            "--images, --batch-size, --max-length, --skip-bad, --template and "
            "--pad-to-square: " LVLM_UNPREPARED);
    return 0;
}

int train_open_examples(train_run *r, lvlm_error *err)
{
    (void)r, (void)err;
    return 0;
}

void train_close_examples(train_run *r)
{
    (void)r;
}

int train_evaluate(train_run *r, lvlm_error *err)
{
    (void)r, (void)err;
    return 0;
}

void train_tell_data(const train_run *r)
{
    (void)r;
}

void train_print_data(lvlm_printer *p, const train_run *r)
{
    (void)p, (void)r;
}
