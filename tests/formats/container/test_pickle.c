/* test_pickle.c - the pickle machine: what it reads, and that every other opcode and
 * function is refused by name. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "formats/container/pickle.h"

/* Opcodes that a C string cannot show: a hexadecimal escape swallows what follows. */
#define PROTO                                                                          \
    "\x80"                                                                             \
    "\2"
#define TUPLE1 "\x85"
#define TUPLE2 "\x86"
#define FALSE_ "\x89"
#define STACK_GLOBAL "\x93"
#define ORDERED_DICT "ccollections\nOrderedDict\n"
#define BYTES(text) text, sizeof text - 1

static int read_pickle(lvlm_pickle *out, const void *bytes, size_t n, lvlm_arena *arena,
                       lvlm_error *err)
{
    /* A separate block, so that a sanitizer detects a read after its end. */
    unsigned char *copy = malloc(n + 1);
    assert_non_null(copy);
    memcpy(copy, bytes, n);
    unsigned char *exact = realloc(copy, n > 0 ? n : 1);
    assert_non_null(exact);
    const int rc = lvlm_pickle_read(out, exact, n, arena, err);
    if (rc == 0) assert_true(out->n_bytes <= n);
    free(exact);
    return rc;
}

static void refuse(const void *bytes, size_t n, const char *message)
{
    lvlm_arena arena = LVLM_ARENA_INIT;
    lvlm_error err = { .text = "" };
    lvlm_pickle p;
    const int rc = read_pickle(&p, bytes, n, &arena, &err);
    if (rc != LVLM_EFORMAT || strstr(err.text, message) == NULL)
        fail_msg("%d: %s\nexpected: %s", rc, err.text, message);
    lvlm_arena_free(&arena);
}

/* ---- what is read --------------------------------------------------------------- */

static void pickle_reads_plain_values(void **state)
{
    static const char bytes[] = "\x80"
                                "\4"
                                "\x95"
                                "\0\0\0\0\0\0\0\0"
                                "(" /* PROTO, FRAME, MARK */
                                "N"
                                "\x88" FALSE_ "K\7"
                                "M\1\2"
                                "J\xfe\xff\xff\xff"
                                "\x8a"
                                "\0"
                                "\x8a"
                                "\1\x80"
                                "\x8a"
                                "\x0aLONG LONG!"
                                "G01234567"
                                "U\1u"
                                "X\2\0\0\0xy"
                                "\x8c"
                                "\0"
                                "C\1b"
                                "]"
                                "}"
                                "\x8f"
                                "t.and more";
    const char *const kinds = "\0\1\1\2\2\2\2\2\3\4\5\5\5\6\x8\xa\x9";
    lvlm_arena arena = LVLM_ARENA_INIT;
    lvlm_pickle p;
    (void)state;
    assert_int_equal(lvlm_pickle_read(&p, (const unsigned char *)bytes,
                                      sizeof bytes - 1, &arena, NULL),
                     0);
    assert_int_equal(p.n_bytes, sizeof bytes - 1 - strlen("and more"));
    assert_int_equal(p.value->kind, LVLM_PICKLE_TUPLE);
    assert_int_equal(p.value->n, 17);
    for (size_t i = 0; i < 17; i++) assert_int_equal(p.value->items[i]->kind, kinds[i]);
    static const int64_t integers[] = { 0, 1, 0, 7, 0x201, -2, 0, -128 };
    for (size_t i = 1; i < 8; i++)
        assert_int_equal(p.value->items[i]->integer, integers[i]);
    assert_int_equal(p.value->items[8]->n, 10);
    assert_true(lvlm_pickle_is_text(p.value->items[10], "u"));
    assert_true(lvlm_pickle_is_text(p.value->items[11], "xy"));
    assert_true(lvlm_pickle_is_text(p.value->items[12], ""));
    assert_false(lvlm_pickle_is_text(p.value->items[13], "b"));
    lvlm_arena_free(&arena);
}

// clang-format off
static const struct { const char *bytes; size_t n; } same[] = {
    { BYTES(PROTO "}(U\1aK\1U\1bK\2u.") },
    { BYTES(PROTO "}U\1aK\1sU\1bK\2s.") },
    { BYTES(PROTO "}q\0(U\1aq\1K\1U\1bK\2u0h\0.") },
    { BYTES(PROTO "}r\0\1\0\0(U\1aK\1U\1bK\2u0j\0\1\0\0.") },
    { BYTES(PROTO "}\x94" "N\x94" "0(U\1aK\1U\1bK\2u0h\0.") },
    { BYTES(PROTO "}(U\1aK\1U\1bK\2u(NN1.") },
    { BYTES(PROTO ORDERED_DICT ")Rq\0(U\1aK\1U\1bK\2u}b.") },
    { BYTES(PROTO ORDERED_DICT "](](U\1aK\1e](U\1bK\2ee" TUPLE1 "R.") },
    { BYTES(PROTO "U\x0b" "collectionsU\x0b" "OrderedDict" STACK_GLOBAL
            ")R(U\1aK\1U\1bK\2u.") },
    { BYTES(PROTO "}(U\1aK\7U\1aK\1U\1bK\2u.") }, /* the last one is used */
};
// clang-format on

static void pickle_reads_dictionaries(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof same / sizeof same[0]; i++) {
        lvlm_arena arena = LVLM_ARENA_INIT;
        lvlm_error err = { .text = "" };
        lvlm_pickle p;
        if (lvlm_pickle_read(&p, (const unsigned char *)same[i].bytes, same[i].n,
                             &arena, &err) < 0)
            fail_msg("row %zu: %s", i, err.text);
        assert_int_equal(lvlm_pickle_get(p.value, "a")->integer, 1);
        assert_int_equal(lvlm_pickle_get(p.value, "b")->integer, 2);
        assert_null(lvlm_pickle_get(p.value, "c"));
        assert_null(lvlm_pickle_get(p.value->items[1], "a"));
        lvlm_arena_free(&arena);
    }
}

static void pickle_keeps_calls_and_ids_as_data(void **state)
{
    static const char bytes[] = PROTO "ctorch._utils\n_rebuild_parameter\n"
                                      "(U\2idtQ(U\2idtQ" FALSE_ "ctorch\nSize\n"
                                      "K\1K\2" TUPLE2 TUPLE1 "RtR.";
    static const char marked[] =
        PROTO "ctorch._utils\n_rebuild_parameter\n"
              "((U\2idtQ(U\2idtQctorch\nSize\nK\1K\2" TUPLE2 TUPLE1 "RtR.";
    lvlm_arena arena = LVLM_ARENA_INIT;
    lvlm_pickle p;
    (void)state;
    refuse(BYTES(bytes), "closes what was not opened");
    assert_int_equal(lvlm_pickle_read(&p, (const unsigned char *)marked,
                                      sizeof marked - 1, &arena, NULL),
                     0);
    assert_true(lvlm_pickle_is_call(p.value, LVLM_ROLE_PARAMETER));
    assert_false(lvlm_pickle_is_call(p.value, LVLM_ROLE_TENSOR));
    assert_false(lvlm_pickle_is_call(NULL, LVLM_ROLE_TENSOR));
    assert_int_equal(p.value->n, 3);
    assert_int_equal(p.n_persistent, 2);
    for (size_t i = 0; i < 2; i++) {
        assert_ptr_equal(p.value->items[i], p.persistent[i]);
        assert_int_equal(p.persistent[i]->integer, i);
        assert_true(lvlm_pickle_is_text(p.persistent[i]->items[0], "id"));
    }
    assert_int_equal(p.value->items[2]->kind, LVLM_PICKLE_TUPLE); /* torch.Size */
    assert_int_equal(p.value->items[2]->n, 2);
    lvlm_arena_free(&arena);
}

static void pickle_may_contain_itself(void **state)
{
    lvlm_arena arena = LVLM_ARENA_INIT;
    lvlm_pickle p;
    (void)state;
    assert_int_equal(
        lvlm_pickle_read(&p, (const unsigned char *)"]q\0h\0a.", 7, &arena, NULL), 0);
    assert_ptr_equal(p.value->items[0], p.value);
    lvlm_arena_free(&arena);
}

/* ---- what is refused ------------------------------------------------------------ */

static void pickle_refuses_functions_by_name(void **state)
{
    static const char *const names[][2] = {
        { "posix", "system" },
        { "os", "system" },
        { "nt", "system" },
        { "subprocess", "Popen" },
        { "builtins", "eval" },
        { "builtins", "exec" },
        { "__builtin__", "eval" },
        { "builtins", "getattr" },
        { "torch", "load" },
        { "torch.hub", "load" },
        { "torch._utils", "_rebuild_tensor_v9" },
        { "collections", "Counter" },
        { "numpy", "ndarray" },
        { "torch", "ComplexFloatStorage" },
        { "Torch", "Size" },
        { "torch", "Size.__new__" },
        { "argparse", "Namespace" },
        { "torch.storage", "_load_from_bytes" },
    };
    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        char bytes[128], expected[128];
        const char *module = names[i][0], *name = names[i][1];
        (void)snprintf(
            expected, sizeof expected,
            "pickle: byte 2: calls %s.%s, which no state dict needs; nothing "
            "was executed",
            module, name);
        int n = snprintf(bytes, sizeof bytes, PROTO "c%s\n%s\n(U\1xtR.", module, name);
        refuse(bytes, (size_t)n, expected);
        (void)snprintf(expected, sizeof expected, "calls %s.%s,", module, name);
        n = snprintf(bytes, sizeof bytes, PROTO "U%c%sU%c%s" STACK_GLOBAL ".",
                     (int)strlen(module), module, (int)strlen(name), name);
        refuse(bytes, (size_t)n, expected);
    }
    refuse(BYTES("c\x1b[2J\nx\n."), "a function whose name is not plain text");
    refuse(BYTES("cos\n\n."), "a function whose name is not plain text");
}

/* Each opcode of Python (pickletools.opcodes) is read or refused by name; every other
 * byte is not an opcode. */
static void pickle_refuses_opcodes_by_name(void **state)
{
    static const char known[] = "().01BCGJKMNQRTUX]abcehjqrstu}";
    static const struct {
        unsigned char code;
        const char *name;
    } named[] = {
        { '2', "DUP" },
        { 'F', "FLOAT" },
        { 'I', "INT" },
        { 'L', "LONG" },
        { 'P', "PERSID" },
        { 'S', "STRING" },
        { 'V', "UNICODE" },
        { 'd', "DICT" },
        { 'g', "GET" },
        { 'i', "INST" },
        { 'l', "LIST" },
        { 'o', "OBJ" },
        { 'p', "PUT" },
        { 0x81, "NEWOBJ" },
        { 0x82, "EXT1" },
        { 0x83, "EXT2" },
        { 0x84, "EXT4" },
        { 0x8b, "LONG4" },
        { 0x91, "FROZENSET" },
        { 0x92, "NEWOBJ_EX" },
        { 0x96, "BYTEARRAY8" },
        { 0x97, "NEXT_BUFFER" },
        { 0x98, "READONLY_BUFFER" },
    };
    (void)state;
    for (unsigned code = 0; code < 256; code++) {
        const char byte = (char)code;
        char expected[96];
        const bool is_read = (code != 0 && code < 128 && strchr(known, (int)code)) ||
                             (code >= 0x80 && code <= 0x95 && code != 0x81 &&
                              code != 0x82 && code != 0x83 && code != 0x84 &&
                              code != 0x8b && code != 0x91 && code != 0x92);
        if (is_read) continue;
        (void)snprintf(expected, sizeof expected, "0x%02x is not an opcode", code);
        for (size_t i = 0; i < sizeof named / sizeof named[0]; i++)
            if (named[i].code == code)
                (void)snprintf(expected, sizeof expected,
                               "opcode %s, which no state dict needs", named[i].name);
        refuse(&byte, 1, expected);
    }
}

static void pickle_refuses_inconsistent_opcodes(void **state)
{
    static const struct {
        const char *bytes;
        size_t n;
        const char *message;
    } bad[] = {
        { BYTES(""), "byte 0: continues after the end of the data" },
        { BYTES("."), "byte 0: takes a value from an empty stack" },
        { BYTES("NN."), "ends with more than one value" },
        { BYTES("N(."), "ends inside a container" },
        { BYTES("\x80\6."), "is of protocol 6, known are those up to 5" },
        { BYTES("t."), "closes what was not opened" },
        { BYTES("u."), "closes what was not opened" },
        { BYTES("1."), "closes what was not opened" },
        { BYTES("N" TUPLE2 "."), "takes a value from an empty stack" },
        { BYTES("N(" TUPLE1 "."), "takes a value from an empty stack" },
        { BYTES("N(0."), "takes a value from an empty stack" },
        { BYTES("}Ns."), "takes a value from an empty stack" },
        { BYTES("NNa."), "fills something that is not a list" },
        { BYTES("]NNs."), "fills something that is not a dictionary" },
        { BYTES("](N\x90."), "fills something that is not a set" },
        { BYTES("}(Nu."), "a key that has no value" },
        { BYTES("(Ne."), "takes a value from an empty stack" },
        { BYTES("q\0."), "takes a value from an empty stack" },
        { BYTES("h\0."), "memo number 0 was never set" },
        { BYTES("Nq\5h\4."), "memo number 4 was never set" },
        { BYTES("Nj\0\0\0\200."), "memo number 2147483648 was never set" },
        { BYTES("Nr\377\377\377\377."), "memo number 4294967295 is over the limit" },
        { BYTES("N)R."), "calls something that is not a function" },
        { BYTES("ctorch\nfloat32\n)R."), "calls something that is not a function" },
        { BYTES("ctorch\nFloatStorage\n)R."),
          "calls something that is not a function" },
        { BYTES(ORDERED_DICT "]R."), "calls with something that is not a tuple" },
        { BYTES(ORDERED_DICT "N" TUPLE1 "R."),
          "an OrderedDict of something that is no" },
        { BYTES(ORDERED_DICT "]Na" TUPLE1 "R."), "something that is not a pair" },
        { BYTES("ctorch\nSize\n)R."), "a torch.Size of something that is not a tuple" },
        { BYTES("}}b."),
          "BUILD sets attributes of something that is not an OrderedDict" },
        { BYTES("NQ."), "a persistent id is not a tuple" },
        { BYTES("NU\1x" STACK_GLOBAL "."), "names a function by something" },
        { BYTES("X\377\377\377\377x."), "continues after the end of the data" },
        { BYTES("\x8d\377\377\377\377\377\377\377\377x."), "continues after the end" },
        { BYTES("ctorch\nSize"), "continues after the end of the data" },
    };
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        refuse(bad[i].bytes, bad[i].n, bad[i].message);
}

static void pickle_refuses_truncated_streams(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof same / sizeof same[0]; i++)
        for (size_t n = 0; n < same[i].n; n++)
            refuse(same[i].bytes, n, "the file is truncated");
}

/* ---- bombs ---------------------------------------------------------------------- */

/* `lead`, then `unit` n times. */
static void refuse_many(const char *lead, size_t n_lead, const char *unit,
                        size_t n_unit, size_t n, const char *message)
{
    char *bytes = malloc(n_lead + n * n_unit);
    assert_non_null(bytes);
    memcpy(bytes, lead, n_lead);
    for (size_t i = 0; i < n; i++) memcpy(bytes + n_lead + i * n_unit, unit, n_unit);
    refuse(bytes, n_lead + n * n_unit, message);
    free(bytes);
}

static void pickle_bounds_the_objects_it_creates(void **state)
{
    (void)state;
    refuse_many("", 0, BYTES("("), LVLM_PICKLE_MAX_MARKS + 1,
                "is nested deeper than 256");
    refuse_many(BYTES("Nq\0"), BYTES("h\0"), LVLM_PICKLE_MAX_STACK,
                "needs a stack of over 1048576 values");
    refuse_many("", 0, BYTES("N0"), LVLM_PICKLE_MAX_VALUES + 1,
                "makes over 2097152 values");
    /* A list of a thousand pairs, copied to many OrderedDicts. */
    char list[16 + 2 * 1000 + 1] = "NN\x86q\1"
                                   "0]q\0(";
    size_t n = 10;
    for (size_t i = 0; i < 1000; i++, n += 2) memcpy(list + n, "h\1", 2);
    list[n++] = 'e';
    refuse_many(list, n, BYTES("0" ORDERED_DICT "h\0" TUPLE1 "R"), 3000,
                "makes over 2097152 values");
}

static void pickle_bounds_its_length(void **state)
{
    const size_t n = LVLM_PICKLE_MAX_BYTES + 64;
    char *bytes = calloc(n, 1);
    (void)state;
    assert_non_null(bytes);
    memcpy(bytes, "X\0\0\0\2", 5); /* 32 MiB */
    refuse(bytes, n, "byte 0: is over the limit of 33554432 bytes");
    refuse(bytes, 64, "the file is truncated");
    free(bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pickle_reads_plain_values),
        cmocka_unit_test(pickle_reads_dictionaries),
        cmocka_unit_test(pickle_keeps_calls_and_ids_as_data),
        cmocka_unit_test(pickle_may_contain_itself),
        cmocka_unit_test(pickle_refuses_functions_by_name),
        cmocka_unit_test(pickle_refuses_opcodes_by_name),
        cmocka_unit_test(pickle_refuses_inconsistent_opcodes),
        cmocka_unit_test(pickle_refuses_truncated_streams),
        cmocka_unit_test(pickle_bounds_the_objects_it_creates),
        cmocka_unit_test(pickle_bounds_its_length),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
