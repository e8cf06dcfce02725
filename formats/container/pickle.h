/* pickle.h - reads a pickle as data: describes what it would build and executes
 * nothing.
 *
 * A pickle is a program for a small stack machine that may call any function of Python.
 * This machine knows the opcodes that torch.save writes and the few functions that a
 * dictionary of tensors needs (the table in pickle.c); a call becomes a value that
 * holds the function and its arguments. Every other opcode and function is refused by
 * name:
 *
 *   pickle: byte 2: calls posix.system, which no state dict needs; nothing was executed
 *
 * Containers may contain themselves, as in Python: traverse them with a depth limit.
 * Not here: what tensors are made of (torchfile.h). Distinct objects may be used from
 * distinct threads. */
#ifndef LVLM_FORMATS_CONTAINER_PICKLE_H
#define LVLM_FORMATS_CONTAINER_PICKLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "formats/base/arena.h"
#include "formats/container/dtype.h"

LVLM_BEGIN_DECLS

/* Limits against bombs. A tensor takes some 200 bytes and 15 values of a pickle; the
 * largest released models have a few thousand tensors per file. */
#define LVLM_PICKLE_MAX_BYTES ((size_t)32 << 20)
enum {
    LVLM_PICKLE_MAX_VALUES = 1 << 21,
    LVLM_PICKLE_MAX_STACK = 1 << 20,
    LVLM_PICKLE_MAX_MARKS = 256, /* containers open at once: nesting */
};

/* What a permitted function or constant is for. */
typedef enum lvlm_pickle_role {
    LVLM_ROLE_ORDERED_DICT, /* collections.OrderedDict */
    LVLM_ROLE_SIZE,         /* torch.Size */
    LVLM_ROLE_TENSOR,       /* torch._utils._rebuild_tensor */
    LVLM_ROLE_TENSOR_V2,    /* torch._utils._rebuild_tensor_v2 */
    LVLM_ROLE_TENSOR_V3,    /* torch._utils._rebuild_tensor_v3 */
    LVLM_ROLE_PARAMETER,    /* torch._utils._rebuild_parameter */
    LVLM_ROLE_STORAGE,      /* torch.FloatStorage and so on */
    LVLM_ROLE_UNTYPED,      /* torch.storage.UntypedStorage: counts in bytes */
    LVLM_ROLE_DTYPE,        /* torch.float32 and so on */
} lvlm_pickle_role;

typedef struct lvlm_pickle_global {
    const char *module, *name;
    lvlm_pickle_role role;
    lvlm_dtype dtype; /* STORAGE, DTYPE */
} lvlm_pickle_global;

typedef enum lvlm_pickle_kind {
    LVLM_PICKLE_NONE,
    LVLM_PICKLE_BOOL,    /* integer */
    LVLM_PICKLE_INTEGER, /* integer */
    LVLM_PICKLE_LONG,    /* text: more than 8 bytes, little-endian */
    LVLM_PICKLE_FLOAT,   /* its value is not kept */
    LVLM_PICKLE_TEXT,    /* text, not checked to be UTF-8 */
    LVLM_PICKLE_BYTES,   /* text */
    LVLM_PICKLE_TUPLE,   /* items */
    LVLM_PICKLE_LIST,    /* items */
    LVLM_PICKLE_SET,     /* items */
    LVLM_PICKLE_DICT,    /* items: key, value, key, value ... */
    LVLM_PICKLE_GLOBAL,  /* global */
    /* global, items: the arguments. SIZE and ORDERED_DICT become TUPLE and DICT
     * instead */
    LVLM_PICKLE_CALL,
    /* items: the parts of a persistent id; integer: its index */
    LVLM_PICKLE_PERSISTENT,
} lvlm_pickle_kind;

typedef struct lvlm_pickle_value {
    lvlm_pickle_kind kind;
    int64_t integer;
    const char *text; /* n bytes inside the pickle, not NUL-terminated */
    size_t n;         /* of text, or of items */
    struct lvlm_pickle_value **items;
    size_t capacity; /* of items; not for callers */
    const lvlm_pickle_global *global;
} lvlm_pickle_value;

typedef struct lvlm_pickle {
    const lvlm_pickle_value *value;
    size_t n_bytes;                 /* of the pickle, including its final '.' */
    lvlm_pickle_value **persistent; /* every persistent id, in order */
    size_t n_persistent;
} lvlm_pickle;

/* Read one pickle from the start of `bytes`, which may continue after it. Values are in
 * `arena`, their text in `bytes`. LVLM_EFORMAT names the byte and the opcode, function
 * or limit. */
LVLM_MUST_CHECK int lvlm_pickle_read(lvlm_pickle *out, const unsigned char *bytes,
                                     uint64_t n_bytes, lvlm_arena *arena,
                                     lvlm_error *err);

/* Is `value` the text `text`? False for NULL. */
bool lvlm_pickle_is_text(const lvlm_pickle_value *value, const char *text);
/* The value of the last such key of a DICT, or NULL (also if it is not a DICT). */
const lvlm_pickle_value *lvlm_pickle_get(const lvlm_pickle_value *dict,
                                         const char *key);
/* Is `value` a call of a function of this role? False for NULL. */
bool lvlm_pickle_is_call(const lvlm_pickle_value *value, lvlm_pickle_role role);

LVLM_END_DECLS

#endif
