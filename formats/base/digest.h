/* digest.h - SHA-256 (FIPS 180-4, by OpenSSL EVP) of a stream of bytes. Distinct
 * objects may be used from distinct threads. */
#ifndef LVLM_FORMATS_BASE_DIGEST_H
#define LVLM_FORMATS_BASE_DIGEST_H

#include <stdbool.h>
#include <stddef.h>

#include "formats/base/error.h"

LVLM_BEGIN_DECLS

enum { LVLM_DIGEST_HEX = 64 };
/* Lower-case hexadecimal digits and a NUL. */
typedef char lvlm_hex_digest[LVLM_DIGEST_HEX + 1];
/* 64 times '0': in place of a digest that is not known yet. */
extern const lvlm_hex_digest lvlm_zero_digest;

/* Are these 64 lower-case hexadecimal digits? */
bool lvlm_digest_is(const char *text);

typedef struct lvlm_digest {
    void *context; /* EVP_MD_CTX */
} lvlm_digest;

#define LVLM_DIGEST_INIT                                                               \
    {                                                                                  \
        NULL                                                                           \
    }

LVLM_MUST_CHECK int lvlm_digest_start(lvlm_digest *digest, lvlm_error *err);
LVLM_MUST_CHECK int lvlm_digest_update(lvlm_digest *digest, const void *bytes,
                                       size_t n_bytes, lvlm_error *err);
/* Writes the digest and frees the context. */
LVLM_MUST_CHECK int lvlm_digest_finish(lvlm_digest *digest, lvlm_hex_digest hex,
                                       lvlm_error *err);
void lvlm_digest_free(lvlm_digest *digest);
/* In one call. */
LVLM_MUST_CHECK int lvlm_digest_bytes(lvlm_hex_digest hex, const void *bytes,
                                      size_t n_bytes, lvlm_error *err);

LVLM_END_DECLS

#endif
