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

/* The first failure sticks: later bytes are ignored, and lvlm_digest_finish reports
 * it. */
typedef struct lvlm_digest {
    void *context; /* EVP_MD_CTX; NULL: not started, or failed */
} lvlm_digest;

/* Start one; call lvlm_digest_finish or lvlm_digest_free afterwards. */
lvlm_digest lvlm_digest_start(void);
void lvlm_digest_update(lvlm_digest *digest, const void *bytes, size_t n_bytes);
/* Writes the digest, and frees it also after a failure. */
LVLM_MUST_CHECK int lvlm_digest_finish(lvlm_digest *digest, lvlm_hex_digest hex,
                                       lvlm_error *err);
void lvlm_digest_free(lvlm_digest *digest);
/* In one call. */
LVLM_MUST_CHECK int lvlm_digest_bytes(lvlm_hex_digest hex, const void *bytes,
                                      size_t n_bytes, lvlm_error *err);

LVLM_END_DECLS

#endif
