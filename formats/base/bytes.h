/* bytes.h - little-endian integers in byte strings, on any machine. */
#ifndef LVLM_FORMATS_BASE_BYTES_H
#define LVLM_FORMATS_BASE_BYTES_H

#include <stddef.h>
#include <stdint.h>

#include "formats/base/linkage.h"

LVLM_BEGIN_DECLS

static inline uint64_t lvlm_load_le(const unsigned char *from, size_t n_bytes)
{
    uint64_t value = 0;
    for (size_t i = n_bytes; i-- > 0;) value = value << 8 | from[i];
    return value;
}

static inline void lvlm_store_le(unsigned char *to, uint64_t value, size_t n_bytes)
{
    for (size_t i = 0; i < n_bytes; i++, value >>= 8) to[i] = (unsigned char)value;
}

LVLM_END_DECLS

#endif
