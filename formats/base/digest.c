/* digest.c - SHA-256 by OpenSSL's EVP, which uses the processor's SHA instructions. */
#include "formats/base/digest.h"

#include <assert.h>
#include <openssl/evp.h>
#include <string.h>

const lvlm_hex_digest lvlm_zero_digest =
    "0000000000000000000000000000000000000000000000000000000000000000";

bool lvlm_digest_is(const char *text)
{
    return strlen(text) == LVLM_DIGEST_HEX &&
           strspn(text, "0123456789abcdef") == LVLM_DIGEST_HEX;
}

lvlm_digest lvlm_digest_start(void)
{
    lvlm_digest digest = { EVP_MD_CTX_new() };
    if (digest.context != NULL &&
        EVP_DigestInit_ex(digest.context, EVP_sha256(), NULL) != 1)
        lvlm_digest_free(&digest);
    return digest;
}

void lvlm_digest_update(lvlm_digest *digest, const void *bytes, size_t n_bytes)
{
    assert(bytes != NULL || n_bytes == 0);
    if (digest->context != NULL && n_bytes > 0 &&
        EVP_DigestUpdate(digest->context, bytes, n_bytes) != 1)
        lvlm_digest_free(digest);
}

int lvlm_digest_finish(lvlm_digest *digest, lvlm_hex_digest hex, lvlm_error *err)
{
    static const char digits[] = "0123456789abcdef";
    unsigned char raw[LVLM_DIGEST_HEX / 2];
    const bool ok =
        digest->context != NULL && EVP_DigestFinal_ex(digest->context, raw, NULL) == 1;
    lvlm_digest_free(digest);
    FAIL_IF(!ok, err, LVLM_ENOMEM, "SHA-256 is not available (OpenSSL)");
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
    lvlm_digest digest = lvlm_digest_start();
    lvlm_digest_update(&digest, bytes, n_bytes);
    return lvlm_digest_finish(&digest, hex, err);
}
