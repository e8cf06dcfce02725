/* test_audit.c - an audit compares every digest once, and does not take another file
 * for the one that it checked. */
#include <sys/time.h>

#include "tests/replay/recordings.h"
#include "verify/audit.h"

#define GOLDEN LVLM_FIXTURES "/paligemma-odd/golden64.safetensors"

/* ---- how often ------------------------------------------------------------------- */

static void count_checks(void *user, uint64_t done, uint64_t total)
{
    if (done == total) ++*(size_t *)user;
}

static void digests_are_compared_once(void **state)
{
    static const char *const goldens[] = { GOLDEN, GOLDEN };
    scratch *const s = *state;
    size_t first = 0, again = 0;
    const lvlm_audit_options options = {
        .checksum = { 1, count_checks, &first },
        .replay = { .threads = 1, .checking = count_checks, .checking_user = &again },
    };
    lvlm_audit audit;
    native_convert(LVLM_FIXTURES "/paligemma-odd/model", scratch_path(s, "one.lvlm"));
    assert_int_equal(
        lvlm_audit_run(&audit, scratch_path(s, "one.lvlm"), goldens, 2, &options, NULL),
        0);
    assert_null(audit.worst);
    assert_int_equal(first, 1);
    assert_int_equal(again, 0);
    lvlm_audit_free(&audit);
}

/* ---- another file ---------------------------------------------------------------- */

typedef struct swap {
    const char *model, *other; /* NULL: the model itself, as if it was written to */
    bool done;
} swap;

static void swap_files(void *user, uint64_t done, uint64_t total)
{
    static const struct timeval long_ago[2] = { { 1, 0 }, { 1, 0 } };
    swap *const x = user;
    if (done != total || x->done) return;
    assert_int_equal(
        x->other != NULL ? rename(x->other, x->model) : utimes(x->model, long_ago), 0);
    x->done = true;
}

static void set_zero(unsigned char *bytes, const lvlm_tensor *t)
{
    memset(bytes, 0, (size_t)t->n_bytes);
}

/* The model changes once its digests are compared. */
static void audit_swapped(swap *x, const char *says)
{
    static const char *const golden = GOLDEN;
    const lvlm_audit_options options = { .checksum = { 1, swap_files, x },
                                         .replay = { .threads = 1 } };
    lvlm_audit audit;
    assert_int_equal(lvlm_audit_run(&audit, x->model, &golden, 1, &options, NULL), 0);
    assert_true(x->done);
    assert_non_null(audit.worst);
    assert_int_equal(audit.worst->kind, LVLM_CHECK_REPLAY);
    assert_int_equal(audit.worst->state, LVLM_CHECK_ERROR);
    assert_int_equal(audit.worst->error.code, LVLM_EIO);
    assert_non_null(strstr(audit.worst->error.text, says));
    lvlm_audit_free(&audit);
}

static void a_file_that_changes_is_an_error(void **state)
{
    scratch *const s = *state;
    const char *const model = scratch_path(s, "model.lvlm");
    const char *const other = scratch_path(s, "other.lvlm");
    native_convert(LVLM_FIXTURES "/paligemma-odd/model", model);
    audit_swapped(&(swap){ .model = model }, "was written to");
    native_change(model, "text.norm.weight", set_zero, other);
    audit_swapped(&(swap){ .model = model, .other = other }, "was replaced");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(digests_are_compared_once),
        cmocka_unit_test(a_file_that_changes_is_an_error),
    };
    return cmocka_run_group_tests(tests, scratch_setup, scratch_teardown);
}
