/* digest.c - SHA-256 by OpenSSL's EVP, which uses the processor's SHA instructions. */
#include "formats/base/digest.h"

#include <assert.h>
#include <openssl/evp.h>
#include <string.h>

static int broken(lvlm_error *err)
{
    return lvlm_fail(err, LVLM_ENOMEM, "SHA-256 is not available (OpenSSL)");
}

const lvlm_hex_digest lvlm_zero_digest =
    "0000000000000000000000000000000000000000000000000000000000000000";

bool lvlm_digest_is(const char *text)
{
    return strlen(text) == LVLM_DIGEST_HEX &&
           strspn(text, "0123456789abcdef") == LVLM_DIGEST_HEX;
}

int lvlm_digest_start(lvlm_digest *digest, lvlm_error *err)
{
    digest->context = EVP_MD_CTX_new();
    if (digest->context == NULL ||
        EVP_DigestInit_ex(digest->context, EVP_sha256(), NULL) != 1)
        return broken(err);
    return 0;
}

int lvlm_digest_update(lvlm_digest *digest, const void *bytes, size_t n_bytes,
                       lvlm_error *err)
{
    assert(digest->context != NULL); /* started */
    if (n_bytes > 0 && EVP_DigestUpdate(digest->context, bytes, n_bytes) != 1)
        return broken(err);
    return 0;
}

int lvlm_digest_finish(lvlm_digest *digest, lvlm_hex_digest hex, lvlm_error *err)
{
    assert(digest->context != NULL);
    static const char digits[] = "0123456789abcdef";
    unsigned char raw[LVLM_DIGEST_HEX / 2];
    const int ok = EVP_DigestFinal_ex(digest->context, raw, NULL);
    lvlm_digest_free(digest);
    if (ok != 1) return broken(err);
    for (size_t i = 0; i < sizeof raw; i++) {
        hex[2 * i] = digits[raw[i] >> 4];
        hex[2 * i + 1] = digits[raw[i] & 15];
    }
    hex[LVLM_DIGEST_HEX] = '\0';
    return 0;
}

void lvlm_digest_free(lvlm_digest *digest)
{
    EVP_MD_CTX_free(digest->context);
    digest->context = NULL;
}

int lvlm_digest_bytes(lvlm_hex_digest hex, const void *bytes, size_t n_bytes,
                      lvlm_error *err)
{
    lvlm_digest digest = LVLM_DIGEST_INIT;
    int rc;
    if ((rc = lvlm_digest_start(&digest, err)) == 0 &&
        (rc = lvlm_digest_update(&digest, bytes, n_bytes, err)) == 0)
        rc = lvlm_digest_finish(&digest, hex, err);
    lvlm_digest_free(&digest);
    return rc;
}
