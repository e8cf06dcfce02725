/* test_digest.c - SHA-256 of a stream, in pieces of any size. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "formats/base/digest.h"

/* FIPS 180-4's examples, and the empty message. */
static void digest_agrees_with_the_standard(void **state)
{
    static const struct {
        const char *message, *hex;
    } known[] = {
        { "abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad" },
        { "", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855" },
        { "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
          "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1" },
    };
    char hex[LVLM_DIGEST_HEX + 1];
    (void)state;
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        const size_t n = strlen(known[i].message);
        assert_int_equal(lvlm_digest_bytes(hex, known[i].message, n, NULL), 0);
        assert_string_equal(hex, known[i].hex);
    }
}

static void digest_of_pieces_equals_that_of_the_whole(void **state)
{
    enum { N = 1000000, PIECE = 4093 };
    char *million = malloc(N);
    lvlm_digest digest = lvlm_digest_start();
    char hex[LVLM_DIGEST_HEX + 1];
    (void)state;
    assert_non_null(million);
    memset(million, 'a', N);
    for (size_t at = 0; at < N; at += PIECE) {
        const size_t n = N - at < PIECE ? N - at : PIECE;
        lvlm_digest_update(&digest, million + at, n);
    }
    lvlm_digest_update(&digest, NULL, 0);
    assert_int_equal(lvlm_digest_finish(&digest, hex, NULL), 0);
    assert_string_equal(
        hex, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
    assert_null(digest.context); /* finish frees */
    lvlm_digest_free(&digest);
    free(million);
}

static void digest_can_be_freed_before_it_is_finished(void **state)
{
    lvlm_digest digest = lvlm_digest_start();
    (void)state;
    lvlm_digest_update(&digest, "a", 1);
    lvlm_digest_free(&digest);
    lvlm_digest_free(&digest);
    assert_null(digest.context);
}

static void digest_keeps_failing_after_a_failure(void **state)
{
    lvlm_digest digest = lvlm_digest_start();
    lvlm_hex_digest hex;
    lvlm_error err;
    (void)state;
    lvlm_digest_free(&digest); /* as after a failure */
    lvlm_digest_update(&digest, "a", 1);
    assert_int_equal(lvlm_digest_finish(&digest, hex, &err), LVLM_ENOMEM);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(digest_agrees_with_the_standard),
        cmocka_unit_test(digest_of_pieces_equals_that_of_the_whole),
        cmocka_unit_test(digest_can_be_freed_before_it_is_finished),
        cmocka_unit_test(digest_keeps_failing_after_a_failure),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
