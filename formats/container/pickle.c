/* pickle.c - a stack machine for the opcodes of torch.save, and no others.
 *
 *   bytes -> opcode -> push a constant | close a container | memo | name or call
 *
 * `globals` lists all that may be named; `refused` has the names of other opcodes, for
 * messages. The growing arrays (stack, memo) are on the heap while a pickle is read,
 * values in the caller's arena. */
#include "formats/container/pickle.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

#include "formats/base/bytes.h"
#include "formats/base/list.h"

// clang-format off
static const lvlm_pickle_global globals[] = {
    { "collections",   "OrderedDict",        LVLM_ROLE_ORDERED_DICT, 0 },
    { "torch",         "Size",               LVLM_ROLE_SIZE,         0 },
    { "torch._utils",  "_rebuild_tensor",    LVLM_ROLE_TENSOR,       0 },
    { "torch._utils",  "_rebuild_tensor_v2", LVLM_ROLE_TENSOR_V2,    0 },
    { "torch._utils",  "_rebuild_tensor_v3", LVLM_ROLE_TENSOR_V3,    0 },
    { "torch._utils",  "_rebuild_parameter", LVLM_ROLE_PARAMETER,    0 },
    { "torch",         "DoubleStorage",      LVLM_ROLE_STORAGE,      LVLM_F64 },
    { "torch",         "FloatStorage",       LVLM_ROLE_STORAGE,      LVLM_F32 },
    { "torch",         "HalfStorage",        LVLM_ROLE_STORAGE,      LVLM_F16 },
    { "torch",         "BFloat16Storage",    LVLM_ROLE_STORAGE,      LVLM_BF16 },
    { "torch",         "LongStorage",        LVLM_ROLE_STORAGE,      LVLM_I64 },
    { "torch",         "IntStorage",         LVLM_ROLE_STORAGE,      LVLM_I32 },
    { "torch",         "ShortStorage",       LVLM_ROLE_STORAGE,      LVLM_I16 },
    { "torch",         "CharStorage",        LVLM_ROLE_STORAGE,      LVLM_I8 },
    { "torch",         "ByteStorage",        LVLM_ROLE_STORAGE,      LVLM_U8 },
    { "torch",         "BoolStorage",        LVLM_ROLE_STORAGE,      LVLM_BOOL },
    { "torch",         "UntypedStorage",     LVLM_ROLE_UNTYPED,      LVLM_U8 },
    { "torch.storage", "UntypedStorage",     LVLM_ROLE_UNTYPED,      LVLM_U8 },
    { "torch",         "float64",            LVLM_ROLE_DTYPE,        LVLM_F64 },
    { "torch",         "float32",            LVLM_ROLE_DTYPE,        LVLM_F32 },
    { "torch",         "float16",            LVLM_ROLE_DTYPE,        LVLM_F16 },
    { "torch",         "bfloat16",           LVLM_ROLE_DTYPE,        LVLM_BF16 },
    { "torch",         "float8_e4m3fn",      LVLM_ROLE_DTYPE,        LVLM_F8_E4M3 },
    { "torch",         "float8_e5m2",        LVLM_ROLE_DTYPE,        LVLM_F8_E5M2 },
    { "torch",         "int64",              LVLM_ROLE_DTYPE,        LVLM_I64 },
    { "torch",         "int32",              LVLM_ROLE_DTYPE,        LVLM_I32 },
    { "torch",         "int16",              LVLM_ROLE_DTYPE,        LVLM_I16 },
    { "torch",         "int8",               LVLM_ROLE_DTYPE,        LVLM_I8 },
    { "torch",         "uint64",             LVLM_ROLE_DTYPE,        LVLM_U64 },
    { "torch",         "uint32",             LVLM_ROLE_DTYPE,        LVLM_U32 },
    { "torch",         "uint16",             LVLM_ROLE_DTYPE,        LVLM_U16 },
    { "torch",         "uint8",              LVLM_ROLE_DTYPE,        LVLM_U8 },
    { "torch",         "bool",               LVLM_ROLE_DTYPE,        LVLM_BOOL },
};

/* Opcodes of Python that no dictionary of tensors needs. */
static const struct { unsigned char code; const char *name; } refused[] = {
    { '2', "DUP" },          { 'F', "FLOAT" },       { 'I', "INT" },
    { 'L', "LONG" },         { 'P', "PERSID" },      { 'S', "STRING" },
    { 'V', "UNICODE" },      { 'd', "DICT" },        { 'g', "GET" },
    { 'i', "INST" },         { 'l', "LIST" },        { 'o', "OBJ" },
    { 'p', "PUT" },          { 0x81, "NEWOBJ" },     { 0x82, "EXT1" },
    { 0x83, "EXT2" },        { 0x84, "EXT4" },       { 0x8b, "LONG4" },
    { 0x91, "FROZENSET" },   { 0x92, "NEWOBJ_EX" },  { 0x96, "BYTEARRAY8" },
    { 0x97, "NEXT_BUFFER" }, { 0x98, "READONLY_BUFFER" },
};
// clang-format on

enum { MAX_PROTOCOL = 5 };

typedef lvlm_pickle_value value;

/* A growing list of values on the heap. */
typedef struct array {
    value **at;
    size_t n, capacity;
} array;

typedef struct machine {
    const unsigned char *bytes;
    size_t at, n_bytes;
    size_t op; /* position of the current opcode, for messages */
    bool cut;  /* n_bytes is the limit, not the end */
    array stack;
    array memo; /* by number; NULL: not set */
    array persistent;
    size_t marks[LVLM_PICKLE_MAX_MARKS]; /* heights of the stack */
    size_t n_marks;
    size_t n_values;
    bool stopped;
    lvlm_arena *arena;
    lvlm_error *err;
} machine;

/* ---- bytes, values, stack ------------------------------------------------------- */

/* The next n bytes, or an error. */
static int read_bytes(machine *m, const unsigned char **out, uint64_t n)
{
    assert(m->at <= m->n_bytes);
    if (n > m->n_bytes - m->at) {
        if (m->cut)
            return lvlm_fail(m->err, LVLM_EFORMAT, "is over the limit of %zu bytes",
                             LVLM_PICKLE_MAX_BYTES);
        return lvlm_fail(m->err, LVLM_EFORMAT,
                         "continues after the end of the data; the file is truncated");
    }
    *out = m->bytes + m->at;
    m->at += (size_t)n;
    return 0;
}

/* The next n bytes as a little-endian number. */
static int read_number(machine *m, uint64_t *out, size_t n)
{
    const unsigned char *bytes = NULL;
    TRY(read_bytes(m, &bytes, n));
    *out = lvlm_load_le(bytes, n);
    return 0;
}

/* Make room for an element at `index`, which may be beyond the end. */
static int reserve(machine *m, array *a, size_t index)
{
    assert(a->n <= a->capacity);
    const size_t before = a->capacity;
    TRY(lvlm_list_room(&a->at, &a->capacity, index, sizeof *a->at, m->err));
    if (a->capacity > before)
        memset(a->at + before, 0, (a->capacity - before) * sizeof *a->at);
    return 0;
}

static int append(machine *m, array *a, value *v)
{
    TRY(reserve(m, a, a->n));
    a->at[a->n++] = v;
    return 0;
}

static int push(machine *m, value *v)
{
    FAIL_IF(m->stack.n >= LVLM_PICKLE_MAX_STACK, m->err, LVLM_EFORMAT,
            "needs a stack of over %d values", LVLM_PICKLE_MAX_STACK);
    return append(m, &m->stack, v);
}

/* Push a new value. */
static int push_new(machine *m, value **out, lvlm_pickle_kind kind)
{
    FAIL_IF(m->n_values >= LVLM_PICKLE_MAX_VALUES, m->err, LVLM_EFORMAT,
            "makes over %d values", LVLM_PICKLE_MAX_VALUES);
    value *v = lvlm_arena_alloc(m->arena, 1, sizeof *v);
    if (v == NULL) return lvlm_fail_memory(m->err);
    m->n_values++;
    v->kind = kind;
    *out = v;
    return push(m, v);
}

static int push_integer(machine *m, lvlm_pickle_kind kind, int64_t integer)
{
    value *v;
    TRY(push_new(m, &v, kind));
    v->integer = integer;
    return 0;
}

/* Opcodes may pop only values above the last mark. */
static size_t floor_of(const machine *m)
{
    assert(m->n_marks <= LVLM_PICKLE_MAX_MARKS);
    return m->n_marks > 0 ? m->marks[m->n_marks - 1] : 0;
}

static int pop(machine *m, value **out)
{
    FAIL_IF(m->stack.n <= floor_of(m), m->err, LVLM_EFORMAT,
            "takes a value from an empty stack");
    *out = m->stack.at[--m->stack.n];
    return 0;
}

static int top(machine *m, value **out)
{
    TRY(pop(m, out));
    m->stack.n++;
    return 0;
}

static int pop_mark(machine *m, size_t *height)
{
    FAIL_IF(m->n_marks == 0, m->err, LVLM_EFORMAT, "closes what was not opened");
    *height = m->marks[--m->n_marks];
    return 0;
}

/* ---- text and numbers ----------------------------------------------------------- */

/* Text or bytes after their length, a number of `width` bytes. */
static int push_text(machine *m, lvlm_pickle_kind kind, size_t width)
{
    uint64_t n;
    const unsigned char *bytes = NULL;
    value *v;
    TRY(read_number(m, &n, width));
    TRY(read_bytes(m, &bytes, n));
    TRY(push_new(m, &v, kind));
    v->text = (const char *)bytes;
    v->n = (size_t)n;
    return 0;
}

/* Two's complement; the first byte is the number of bytes. */
static int push_long(machine *m)
{
    value *v = NULL;
    TRY(push_text(m, LVLM_PICKLE_LONG, 1));
    TRY(top(m, &v));
    if (v->n > 8) return 0;
    const unsigned char *bytes = (const unsigned char *)v->text;
    uint64_t bits = lvlm_load_le(bytes, v->n);
    if (v->n > 0 && v->n < 8 && (bytes[v->n - 1] & 0x80) != 0)
        bits |= UINT64_MAX << 8 * v->n;
    v->kind = LVLM_PICKLE_INTEGER;
    v->integer = (int64_t)bits;
    return 0;
}

static int push_number(machine *m, size_t width)
{
    assert(width == 1 || width == 2 || width == 4);
    uint64_t bits;
    TRY(read_number(m, &bits, width));
    return push_integer(m, LVLM_PICKLE_INTEGER,
                        width == 4 ? (int64_t)(int32_t)(uint32_t)bits : (int64_t)bits);
}

static int push_float(machine *m)
{
    const unsigned char *bytes;
    value *v;
    TRY(read_bytes(m, &bytes, 8));
    return push_new(m, &v, LVLM_PICKLE_FLOAT);
}

/* ---- containers ----------------------------------------------------------------- */

/* A tuple of the topmost n values. */
static int push_tuple(machine *m, size_t n)
{
    value *v = NULL;
    value **items = lvlm_arena_alloc(m->arena, n, sizeof *items);
    if (items == NULL) return lvlm_fail_memory(m->err);
    FAIL_IF(m->stack.n - floor_of(m) < n, m->err, LVLM_EFORMAT,
            "takes a value from an empty stack");
    m->stack.n -= n;
    if (n > 0) memcpy(items, m->stack.at + m->stack.n, n * sizeof *items);
    TRY(push_new(m, &v, LVLM_PICKLE_TUPLE));
    v->items = items;
    v->n = n;
    return 0;
}

static int push_marked_tuple(machine *m)
{
    size_t height = 0;
    TRY(pop_mark(m, &height));
    return push_tuple(m, m->stack.n - height);
}

static int add_items(machine *m, value *to, value *const *items, size_t n)
{
    assert(to->n <= to->capacity);
    if (n > to->capacity - to->n) {
        const size_t capacity = 2 * to->capacity + n;
        value **grown = lvlm_arena_alloc(m->arena, capacity, sizeof *grown);
        if (grown == NULL) return lvlm_fail_memory(m->err);
        if (to->n > 0) memcpy(grown, to->items, to->n * sizeof *grown);
        to->items = grown;
        to->capacity = capacity;
    }
    if (n > 0) memcpy(to->items + to->n, items, n * sizeof *items);
    to->n += n;
    return 0;
}

/* Move everything above `height` into the container below it. */
static int fill(machine *m, lvlm_pickle_kind kind, size_t height)
{
    assert(height <= m->stack.n);
    static const char *const names[] = { [LVLM_PICKLE_LIST] = "a list",
                                         [LVLM_PICKLE_SET] = "a set",
                                         [LVLM_PICKLE_DICT] = "a dictionary" };
    value *to = NULL;
    const size_t n = m->stack.n - height;
    m->stack.n = height;
    TRY(top(m, &to));
    FAIL_IF(to->kind != kind, m->err, LVLM_EFORMAT, "fills something that is not %s",
            names[kind]);
    FAIL_IF(kind == LVLM_PICKLE_DICT && n % 2 != 0, m->err, LVLM_EFORMAT,
            "fills a dictionary with a key that has no value");
    return add_items(m, to, m->stack.at + height, n);
}

static int fill_marked(machine *m, lvlm_pickle_kind kind)
{
    size_t height = 0;
    TRY(pop_mark(m, &height));
    return fill(m, kind, height);
}

static int fill_some(machine *m, lvlm_pickle_kind kind, size_t n)
{
    FAIL_IF(m->stack.n - floor_of(m) < n, m->err, LVLM_EFORMAT,
            "takes a value from an empty stack");
    return fill(m, kind, m->stack.n - n);
}

/* ---- memo ----------------------------------------------------------------------- */

static int memo_put(machine *m, uint64_t index)
{
    value *v = NULL;
    TRY(top(m, &v));
    FAIL_IF(index >= LVLM_PICKLE_MAX_VALUES, m->err, LVLM_EFORMAT,
            "memo number %" PRIu64 " is over the limit of %d", index,
            LVLM_PICKLE_MAX_VALUES);
    TRY(reserve(m, &m->memo, (size_t)index));
    if (m->memo.at[index] == NULL) m->memo.n++;
    m->memo.at[index] = v;
    return 0;
}

static int memo_put_wide(machine *m, size_t width)
{
    uint64_t index;
    TRY(read_number(m, &index, width));
    return memo_put(m, index);
}

static int memo_get(machine *m, size_t width)
{
    uint64_t index;
    TRY(read_number(m, &index, width));
    FAIL_IF(index >= m->memo.capacity || m->memo.at[index] == NULL, m->err,
            LVLM_EFORMAT, "memo number %" PRIu64 " was never set", index);
    return push(m, m->memo.at[index]);
}

/* ---- functions ------------------------------------------------------------------ */

static bool is_same(const char *text, size_t n, const char *expected)
{
    return strlen(expected) == n && memcmp(text, expected, n) == 0;
}

/* Printable and short enough for a message. */
static bool is_printable(const char *text, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (text[i] < ' ' || text[i] > '~') return false;
    return n > 0 && n <= 200;
}

static int push_global(machine *m, const char *module, size_t n_module,
                       const char *name, size_t n_name)
{
    value *v;
    for (size_t i = 0; i < sizeof globals / sizeof globals[0]; i++) {
        if (!is_same(module, n_module, globals[i].module) ||
            !is_same(name, n_name, globals[i].name))
            continue;
        TRY(push_new(m, &v, LVLM_PICKLE_GLOBAL));
        v->global = &globals[i];
        return 0;
    }
    FAIL_IF(!is_printable(module, n_module) || !is_printable(name, n_name), m->err,
            LVLM_EFORMAT,
            "calls a function whose name is not plain text; nothing was executed");
    return lvlm_fail(m->err, LVLM_EFORMAT,
                     "calls %.*s.%.*s, which no state dict needs; nothing was executed",
                     (int)n_module, module, (int)n_name, name);
}

/* One line of text. */
static int read_line(machine *m, const char **out, size_t *n)
{
    const unsigned char *from = m->bytes + m->at;
    const unsigned char *end = memchr(from, '\n', m->n_bytes - m->at);
    TRY(read_bytes(m, &from, end != NULL ? (uint64_t)(end - from) + 1 : UINT64_MAX));
    *out = (const char *)from;
    *n = (size_t)(end - from);
    return 0;
}

static int push_global_lines(machine *m)
{
    const char *module = NULL, *name = NULL;
    size_t n_module = 0, n_name = 0;
    TRY(read_line(m, &module, &n_module));
    TRY(read_line(m, &name, &n_name));
    return push_global(m, module, n_module, name, n_name);
}

static int push_global_stack(machine *m)
{
    value *name = NULL, *module = NULL;
    TRY(pop(m, &name));
    TRY(pop(m, &module));
    FAIL_IF(name->kind != LVLM_PICKLE_TEXT || module->kind != LVLM_PICKLE_TEXT, m->err,
            LVLM_EFORMAT, "names a function by something that is not text");
    return push_global(m, module->text, module->n, name->text, name->n);
}

/* OrderedDict() or, from Python 2, OrderedDict([[key, value], ...]). */
static int make_dict(machine *m, value *dict, const value *arguments)
{
    dict->kind = LVLM_PICKLE_DICT;
    if (arguments->n == 0) return 0;
    const value *list = arguments->items[0];
    FAIL_IF(arguments->n > 1 || list->kind != LVLM_PICKLE_LIST, m->err, LVLM_EFORMAT,
            "makes an OrderedDict of something that is not a list");
    FAIL_IF(list->n > LVLM_PICKLE_MAX_VALUES - m->n_values, m->err, LVLM_EFORMAT,
            "makes over %d values", LVLM_PICKLE_MAX_VALUES);
    m->n_values += list->n; /* a list may be copied repeatedly */
    for (size_t i = 0; i < list->n; i++) {
        const value *pair = list->items[i];
        const bool is_pair =
            (pair->kind == LVLM_PICKLE_LIST || pair->kind == LVLM_PICKLE_TUPLE) &&
            pair->n == 2;
        FAIL_IF(!is_pair, m->err, LVLM_EFORMAT,
                "makes an OrderedDict of something that is not a pair");
        TRY(add_items(m, dict, pair->items, 2));
    }
    return 0;
}

static int call(machine *m)
{
    value *arguments = NULL, *function = NULL, *v;
    TRY(pop(m, &arguments));
    TRY(pop(m, &function));
    FAIL_IF(arguments->kind != LVLM_PICKLE_TUPLE, m->err, LVLM_EFORMAT,
            "calls with something that is not a tuple");
    FAIL_IF(function->kind != LVLM_PICKLE_GLOBAL ||
                function->global->role > LVLM_ROLE_PARAMETER,
            m->err, LVLM_EFORMAT, "calls something that is not a function");
    TRY(push_new(m, &v, LVLM_PICKLE_CALL));
    v->global = function->global;
    if (v->global->role == LVLM_ROLE_ORDERED_DICT) return make_dict(m, v, arguments);
    v->items = arguments->items;
    v->n = arguments->n;
    if (v->global->role != LVLM_ROLE_SIZE) return 0;
    FAIL_IF(v->n != 1 || v->items[0]->kind != LVLM_PICKLE_TUPLE, m->err, LVLM_EFORMAT,
            "makes a torch.Size of something that is not a tuple");
    v->kind = LVLM_PICKLE_TUPLE;
    v->n = v->items[0]->n;
    v->items = v->items[0]->items;
    return 0;
}

/* Attributes of a dictionary: torch keeps _metadata there. They are dropped. */
static int build(machine *m)
{
    value *attributes, *object = NULL;
    TRY(pop(m, &attributes));
    TRY(top(m, &object));
    FAIL_IF(object->kind != LVLM_PICKLE_DICT || object->global == NULL, m->err,
            LVLM_EFORMAT,
            "BUILD sets attributes of something that is not an "
            "OrderedDict");
    return 0;
}

static int push_persistent(machine *m)
{
    value *id = NULL, *v;
    TRY(pop(m, &id));
    FAIL_IF(id->kind != LVLM_PICKLE_TUPLE, m->err, LVLM_EFORMAT,
            "a persistent id is not a tuple");
    TRY(push_new(m, &v, LVLM_PICKLE_PERSISTENT));
    v->items = id->items;
    v->n = id->n;
    v->integer = (int64_t)m->persistent.n;
    return append(m, &m->persistent, v);
}

/* ---- opcodes -------------------------------------------------------------------- */

static int push_mark(machine *m)
{
    FAIL_IF(m->n_marks == LVLM_PICKLE_MAX_MARKS, m->err, LVLM_EFORMAT,
            "is nested deeper than %d", LVLM_PICKLE_MAX_MARKS);
    m->marks[m->n_marks++] = m->stack.n;
    return 0;
}

static int check_protocol(machine *m)
{
    uint64_t protocol;
    TRY(read_number(m, &protocol, 1));
    FAIL_IF(protocol > MAX_PROTOCOL, m->err, LVLM_EFORMAT,
            "is of protocol %" PRIu64 ", known are those up to %d", protocol,
            MAX_PROTOCOL);
    return 0;
}

static int refuse(machine *m, unsigned char code)
{
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++)
        FAIL_IF(refused[i].code == code, m->err, LVLM_EFORMAT,
                "opcode %s, which no state dict needs; nothing was executed",
                refused[i].name);
    return lvlm_fail(m->err, LVLM_EFORMAT, "0x%02x is not an opcode", code);
}

static int pop_value(machine *m)
{
    value *dropped;
    return pop(m, &dropped);
}

static int pop_marked(machine *m)
{
    return pop_mark(m, &m->stack.n);
}

static int skip_frame(machine *m)
{
    const unsigned char *length; /* of a frame, which is skipped */
    return read_bytes(m, &length, 8);
}

/* Opcodes that push a new value. */
static int step_push(machine *m, unsigned char code)
{
    value *v;
    switch (code) {
    case 'N': return push_new(m, &v, LVLM_PICKLE_NONE);
    case 0x88: return push_integer(m, LVLM_PICKLE_BOOL, 1);
    case 0x89: return push_integer(m, LVLM_PICKLE_BOOL, 0);
    case 'K': return push_number(m, 1);
    case 'M': return push_number(m, 2);
    case 'J': return push_number(m, 4);
    case 0x8a: return push_long(m);
    case 'G': return push_float(m);
    case 0x8c: return push_text(m, LVLM_PICKLE_TEXT, 1); /* SHORT_BINUNICODE */
    case 'X': return push_text(m, LVLM_PICKLE_TEXT, 4);  /* BINUNICODE */
    case 0x8d: return push_text(m, LVLM_PICKLE_TEXT, 8); /* BINUNICODE8 */
    case 'U': return push_text(m, LVLM_PICKLE_TEXT, 1);  /* text of Python 2 */
    case 'T': return push_text(m, LVLM_PICKLE_TEXT, 4);
    case 'C': return push_text(m, LVLM_PICKLE_BYTES, 1);
    case 'B': return push_text(m, LVLM_PICKLE_BYTES, 4);
    case 0x8e: return push_text(m, LVLM_PICKLE_BYTES, 8);
    case ')': return push_tuple(m, 0);
    case 0x85: return push_tuple(m, 1);
    case 0x86: return push_tuple(m, 2);
    case 0x87: return push_tuple(m, 3);
    case 't': return push_marked_tuple(m);
    case ']': return push_new(m, &v, LVLM_PICKLE_LIST);
    case '}': return push_new(m, &v, LVLM_PICKLE_DICT);
    case 0x8f: return push_new(m, &v, LVLM_PICKLE_SET);
    default: return refuse(m, code);
    }
}

static int step(machine *m)
{
    const unsigned char *code = NULL;
    m->op = m->at;
    TRY(read_bytes(m, &code, 1));
    switch (*code) {
    case 0x80: return check_protocol(m);
    case 0x95: return skip_frame(m);
    case '.': m->stopped = true; return 0;
    case '(': return push_mark(m);
    case '0': return pop_value(m);
    case '1': return pop_marked(m);
    case 'a': return fill_some(m, LVLM_PICKLE_LIST, 1);
    case 'e': return fill_marked(m, LVLM_PICKLE_LIST);
    case 's': return fill_some(m, LVLM_PICKLE_DICT, 2);
    case 'u': return fill_marked(m, LVLM_PICKLE_DICT);
    case 0x90: return fill_marked(m, LVLM_PICKLE_SET);
    case 'q': return memo_put_wide(m, 1);
    case 'r': return memo_put_wide(m, 4);
    case 0x94: return memo_put(m, m->memo.n);
    case 'h': return memo_get(m, 1);
    case 'j': return memo_get(m, 4);
    case 'c': return push_global_lines(m);
    case 0x93: return push_global_stack(m);
    case 'R': return call(m);
    case 'b': return build(m);
    case 'Q': return push_persistent(m);
    default: return step_push(m, *code);
    }
}

static int finish(lvlm_pickle *out, machine *m)
{
    value *result = NULL;
    FAIL_IF(m->n_marks > 0, m->err, LVLM_EFORMAT, "ends inside a container");
    TRY(pop(m, &result));
    FAIL_IF(m->stack.n > 0, m->err, LVLM_EFORMAT, "ends with more than one value");
    out->value = result;
    out->n_bytes = m->at;
    out->n_persistent = m->persistent.n;
    out->persistent =
        lvlm_arena_alloc(m->arena, out->n_persistent + 1, sizeof *out->persistent);
    if (out->persistent == NULL) return lvlm_fail_memory(m->err);
    if (out->n_persistent > 0)
        memcpy(out->persistent, m->persistent.at,
               out->n_persistent * sizeof *out->persistent);
    return 0;
}

int lvlm_pickle_read(lvlm_pickle *out, const unsigned char *bytes, uint64_t n_bytes,
                     lvlm_arena *arena, lvlm_error *err)
{
    assert(bytes != NULL || n_bytes == 0);
    machine m = { .bytes = bytes, .arena = arena, .err = err };
    int rc = 0;

    *out = (lvlm_pickle){ 0 };
    m.cut = n_bytes > LVLM_PICKLE_MAX_BYTES;
    m.n_bytes = m.cut ? LVLM_PICKLE_MAX_BYTES : (size_t)n_bytes;
    while (rc == 0 && !m.stopped) rc = step(&m);
    if (rc == 0) rc = finish(out, &m);
    if (rc == LVLM_EFORMAT) lvlm_prefix(err, "pickle: byte %zu: ", m.op);
    lvlm_free(m.stack.at);
    lvlm_free(m.memo.at);
    lvlm_free(m.persistent.at);
    return rc;
}

/* ---- questions ------------------------------------------------------------------ */

bool lvlm_pickle_is_text(const lvlm_pickle_value *v, const char *text)
{
    return v != NULL && v->kind == LVLM_PICKLE_TEXT && is_same(v->text, v->n, text);
}

const lvlm_pickle_value *lvlm_pickle_get(const lvlm_pickle_value *dict, const char *key)
{
    if (dict == NULL || dict->kind != LVLM_PICKLE_DICT) return NULL;
    for (size_t i = dict->n; i >= 2; i -= 2)
        if (lvlm_pickle_is_text(dict->items[i - 2], key)) return dict->items[i - 1];
    return NULL;
}

bool lvlm_pickle_is_call(const lvlm_pickle_value *v, lvlm_pickle_role role)
{
    return v != NULL && v->kind == LVLM_PICKLE_CALL && v->global->role == role;
}
