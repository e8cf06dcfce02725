/* test_torchfile_made.c - torch files of both forms that are crafted here: what is read
 * and what is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "formats/base/alloc.h"
#include "formats/container/torchfile.h"
#include "tests/support/archive.h"

/* ---- crafted files -------------------------------------------------------------- */

#define PROTO                                                                          \
    "\x80"                                                                             \
    "\2"
#define TUPLE1 "\x85"
#define TUPLE2 "\x86"
#define FALSE_ "\x89"
#define BYTES(text) text, sizeof text - 1

/* A storage of `numel` (an opcode) elements under key "0". */
#define STORAGE(type, numel)                                                           \
    "(U\7storagectorch\n" type "\nU\1"                                                 \
    "0U\3cpu" numel "tQ"
#define FLOATS(numel) STORAGE("FloatStorage", numel)
#define TENSOR(storage, first, size, stride)                                           \
    "ctorch._utils\n_rebuild_tensor_v2\n(" storage first size stride FALSE_ "}tR"
#define PLAIN TENSOR(FLOATS("K\2"), "K\0", "K\2" TUPLE1, "K\1" TUPLE1)
/* Under the key "w" in a dictionary, which stays open. */
#define W PROTO "}U\1w"

/* An archive with this pickle and eight bytes as storage "0". */
static void build(archive *a, const char *pickle, size_t n)
{
    *a = (archive){ 0 };
    archive_add(a, "m/data.pkl", pickle, n, false);
    archive_add(a, "m/data/0", "\0\0\200\77\0\0\0\100", 8, false);
    archive_finish(a);
}

static int read_archive(const archive *a, lvlm_archive *torch, lvlm_arena *arena,
                        lvlm_error *err)
{
    const lvlm_infile file = { .bytes = a->bytes, .n_bytes = a->n };
    return lvlm_torchfile_read(torch, &file, false, arena, err);
}

static void refuse(const archive *a, const char *message)
{
    lvlm_arena arena = LVLM_ARENA_INIT;
    lvlm_archive torch;
    lvlm_error err = { .text = "" };
    const int rc = read_archive(a, &torch, &arena, &err);
    if (rc != LVLM_EFORMAT || strstr(err.text, message) == NULL)
        fail_msg("%d: %s\nexpected: %s", rc, err.text, message);
    lvlm_arena_free(&arena);
}

static void torchfile_reads_crafted_files(void **state)
{
    static const struct {
        const char *pickle;
        size_t n;
    } good[] = {
        { BYTES(W PLAIN "s.") },
        { BYTES(PROTO "}U\5modelK\1sU\5model}U\1w" PLAIN "ss.") },
        { BYTES(PROTO "}U\6module}U\1w" PLAIN "ss.") },
        { BYTES(W PLAIN "sU\1n}U\1xK\1ss.") },
        { BYTES(W "ctorch._utils\n_rebuild_parameter\n" PLAIN FALSE_ "}\x87Rs.") },
        { BYTES(W "ctorch._utils\n_rebuild_tensor\n(" FLOATS(
            "K\2") "K\0K\2" TUPLE1 "K\1" TUPLE1 "tRs.") },
        { BYTES(W TENSOR(FLOATS("K\2"), "K\0", "ctorch\nSize\nK\2" TUPLE1 TUPLE1 "R",
                         "K\1" TUPLE1) "s.") },
    };
    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        archive a;
        lvlm_arena arena = LVLM_ARENA_INIT;
        lvlm_archive torch;
        lvlm_error err;
        build(&a, good[i].pickle, good[i].n);
        if (read_archive(&a, &torch, &arena, &err) < 0)
            fail_msg("row %zu: %s", i, err.text);
        assert_int_equal(torch.n_tensors, 1);
        assert_string_equal(torch.tensors[0].name, "w");
        assert_int_equal(torch.tensors[0].dtype, LVLM_F32);
        assert_int_equal(torch.tensors[0].n_bytes, 8);
        assert_ptr_equal(torch.tensors[0].data, a.bytes + archive_data(&a, 1));
        lvlm_free(torch.copies);
        lvlm_arena_free(&arena);
    }
}

static const struct bad_tensor {
    const char *pickle;
    size_t n;
    const char *message;
} bad_tensors[] = {
    { BYTES(PROTO "]."), "holds no state dict" },
    { BYTES(PROTO "}U\1wK\1s."), "holds no state dict" },
    { BYTES(PROTO PLAIN "."), "holds no state dict" },
    { BYTES(W PLAIN "sU\1n}U\1x" PLAIN "ss."), "'n' holds tensors below those" },
    { BYTES(PROTO "}(U\1w" PLAIN "U\1w" PLAIN "u."), "tensor 'w': is listed twice" },
    { BYTES(PROTO "}K\1" PLAIN "s."), "the name of a tensor is not UTF-8" },
    { BYTES(PROTO "}U\1\377" PLAIN "s."), "the name of a tensor is not UTF-8" },
    { BYTES(PROTO "}U\1\0" PLAIN "s."), "the name of a tensor is not UTF-8" },
    { BYTES(W TENSOR(FLOATS("K\3"), "K\0", "K\2" TUPLE1, "K\1" TUPLE1) "s."),
      "member 'm/data/0': has 8 bytes, fewer than 3 elements of 4" },
    { BYTES(W TENSOR(FLOATS("\x8a\x8\0\0\0\0\0\0\0\100"), "K\0", "K\2" TUPLE1,
                     "K\1" TUPLE1) "s."),
      "has 8 bytes, fewer than 4611686018427387904 elements" },
    { BYTES(W TENSOR(FLOATS("K\2"), "K\1", "K\2" TUPLE1, "K\1" TUPLE1) "s."),
      "tensor 'w': goes from element 1 over the end of its storage, which has 2" },
    { BYTES(W TENSOR(FLOATS("K\1"), "K\0", "K\2" TUPLE1, "K\1" TUPLE1) "s."),
      "goes from element 0 over the end of its storage, which has 1" },
    { BYTES(W TENSOR(FLOATS("K\2"), "K\0", "K\2" TUPLE1, "K\2" TUPLE1) "s."),
      "goes from element 0 over the end" },
    { BYTES(W TENSOR(FLOATS("K\2"), "K\3", "K\0" TUPLE1, "K\1" TUPLE1) "s."),
      "goes from element 3 over the end" },
    { BYTES(W TENSOR(FLOATS("K\2"), "J\377\377\377\377", "K\2" TUPLE1,
                     "K\1" TUPLE1) "s."),
      "is not made of a storage and a place in it" },
    { BYTES(W TENSOR("K\1", "K\0", "K\2" TUPLE1, "K\1" TUPLE1) "s."),
      "is not made of a storage and a place in it" },
    { BYTES(W "ctorch._utils\n_rebuild_tensor_v2\n(" FLOATS("K\2") "tRs."),
      "is not made of a storage and a place in it" },
    { BYTES(W TENSOR(FLOATS("K\2"), "K\0", "K\2", "K\1" TUPLE1) "s."),
      "size is not a tuple of up to 8 numbers" },
    { BYTES(W TENSOR(FLOATS("K\2"), "K\0", "(K\1K\1K\1K\1K\1K\1K\1K\1K\1t",
                     "K\1" TUPLE1) "s."),
      "size is not a tuple of up to 8 numbers" },
    { BYTES(W TENSOR(FLOATS("K\2"), "K\0", "J\377\377\377\377" TUPLE1,
                     "K\1" TUPLE1) "s."),
      "size: not a whole number" },
    { BYTES(W TENSOR(FLOATS("K\2"), "K\0", "K\2" TUPLE1,
                     "J\377\377\377\377" TUPLE1) "s."),
      "stride: not a whole number" },
    { BYTES(W TENSOR(FLOATS("K\2"), "K\0", "K\2" TUPLE1, "K\2K\1" TUPLE2) "s."),
      "has 1 dimensions and 2 strides" },
    { BYTES(W TENSOR(FLOATS("K\2"), "K\0", "J\0\0\0\177J\0\0\0\177J\0\0\0\177\x87",
                     "K\0K\0K\0\x87") "s."),
      "size of the shape overflows 64 bits" },
    { BYTES(W TENSOR(FLOATS("K\2"), "K\0", "J\0\0\0\177" TUPLE1, "K\0" TUPLE1) "s."),
      "tensor 'w': is expanded" },
    { BYTES(W TENSOR(STORAGE("UntypedStorage", "K\x8"), "K\0", "K\2" TUPLE1,
                     "K\1" TUPLE1) "s."),
      "tensor 'w': has no dtype" },
    { BYTES(
          W TENSOR(STORAGE("float32", "K\2"), "K\0", "K\2" TUPLE1, "K\1" TUPLE1) "s."),
      "a storage has type torch.float32" },
    { BYTES(W "ctorch._utils\n_rebuild_tensor_v3\n(" FLOATS(
          "K\2") "K\0K\2" TUPLE1 "K\1" TUPLE1 FALSE_ "}U\1xtRs."),
      "tensor 'w': has no dtype" },
    { BYTES(W "(U\6moduleNNNNtQs."), "a persistent id does not describe a storage" },
    { BYTES(W "(U\7storageNNNNtQs."), "a persistent id does not describe a storage" },
    { BYTES(W "(U\7storagectorch\nFloatStorage\nU\1 U\3cpuK\1tQs."),
      "the key of a storage is not plain text" },
    { BYTES(W "(U\7storagectorch\nFloatStorage\nU\1"
              "1U\3cpuK\1tQs."),
      "holds no member 'm/data/1'" },
    { BYTES(W "(U\7storagectorch\nFloatStorage\nU\1"
              "0U\3cpuK\1Nr\377\377\377\377"),
      "m/data.pkl: pickle: byte " },
    { BYTES(W "(U\7storagectorch\nFloatStorage\nU\1"
              "0U\3cpuK\1U\1k"
              "K\1K\1\x87tQs."),
      "a view of a storage is outside of it" },
};

static void torchfile_refuses_bad_tensors(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof bad_tensors / sizeof bad_tensors[0]; i++) {
        archive a;
        build(&a, bad_tensors[i].pickle, bad_tensors[i].n);
        refuse(&a, bad_tensors[i].message);
    }
}

static void torchfile_refuses_bad_archives(void **state)
{
    archive a = { 0 };
    (void)state;
    archive_finish(&a);
    refuse(&a, "is a zip archive without NAME/data.pkl");

    a = (archive){ 0 };
    archive_add(&a, "data.pkl", BYTES(W PLAIN "s."), false);
    archive_add(&a, "m/deeper/data.pkl", BYTES(W PLAIN "s."), false);
    archive_finish(&a);
    refuse(&a, "is a zip archive without NAME/data.pkl");

    a = (archive){ 0 };
    archive_add(&a, "a/data.pkl", BYTES(W PLAIN "s."), false);
    archive_add(&a, "b/data.pkl", BYTES(W PLAIN "s."), false);
    archive_finish(&a);
    refuse(&a, "holds two objects, 'a/data.pkl' and 'b/data.pkl'");

    a = (archive){ 0 };
    archive_add(&a, "a/data.pkl", BYTES(W PLAIN "s."), true);
    archive_add(&a, "a/byteorder", "big", 3, false);
    archive_finish(&a);
    refuse(&a, "member 'a/byteorder': expected \"little\"");

    a = (archive){ 0 };
    archive_add(&a, "a/data.pkl", BYTES(W PLAIN "s."), true); /* is inflated */
    archive_add(&a, "a/byteorder", "little", 6, true);
    archive_add(&a, "a/data/0", "12345678", 8, true);
    archive_finish(&a);
    refuse(&a, "member 'a/data/0': is compressed; torch stores tensors as they are");
}

/* ---- crafted files of the legacy form ------------------------------------------- */

#define MAGIC PROTO "\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19."
#define PROTOCOL PROTO "M\351\3."
#define SYSTEM PROTO "}U\x0dlittle_endian\x88s."
#define KEYS                                                                           \
    PROTO "]U\1"                                                                       \
          "0a."
#define TWO "\2\0\0\0\0\0\0\0"
#define VIEW                                                                           \
    "(U\7storagectorch\nFloatStorage\nU\1"                                             \
    "0U\3cpuK\2U\1vK\1K\1\x87tQ"

static int read_bytes(const char *bytes, size_t n, lvlm_archive *torch,
                      lvlm_arena *arena, lvlm_error *err)
{
    const lvlm_infile file = { .bytes = (const unsigned char *)bytes, .n_bytes = n };
    return lvlm_torchfile_read(torch, &file, false, arena, err);
}

static void torchfile_reads_legacy_views(void **state)
{
    static const char bytes[] = MAGIC PROTOCOL SYSTEM W TENSOR(
        VIEW, "K\0", "K\1" TUPLE1, "K\1" TUPLE1) "s." KEYS TWO "abcdefgh";
    lvlm_arena arena = LVLM_ARENA_INIT;
    lvlm_archive torch;
    lvlm_error err;
    (void)state;
    if (read_bytes(BYTES(bytes), &torch, &arena, &err) < 0) fail_msg("%s", err.text);
    assert_int_equal(torch.n_tensors, 1);
    assert_int_equal(torch.tensors[0].offset, sizeof bytes - 1 - 4);
    assert_memory_equal(torch.tensors[0].data, "efgh", 4);
    lvlm_free(torch.copies);
    lvlm_arena_free(&arena);
}

static void torchfile_refuses_bad_legacy_files(void **state)
{
    static const struct {
        const char *bytes;
        size_t n;
        const char *message;
    } bad[] = {
        { BYTES(""), "is not a file of torch.save" },
        { BYTES(PROTO "N."), "is not a file of torch.save" },
        { BYTES(PROTO "\x8a\x0a"
                      "0123456789."),
          "not one of torch.save" },
        { BYTES(MAGIC PROTO "K\1."), "is of an unknown protocol, expected 1001" },
        { BYTES(MAGIC PROTOCOL PROTO "}."), "is not little-endian" },
        { BYTES(MAGIC PROTOCOL PROTO "}U\x0dlittle_endian\x89s."),
          "is not little-end" },
        { BYTES(MAGIC PROTOCOL SYSTEM PROTO "cos\nsystem\n."),
          "object, at 42: pickle: byte 2: calls os.system" },
        { BYTES(MAGIC PROTOCOL SYSTEM W PLAIN "s." PROTO "}."), "are not a list" },
        { BYTES(MAGIC PROTOCOL SYSTEM W PLAIN "s." PROTO "]Na."), "is not text" },
        { BYTES(MAGIC PROTOCOL SYSTEM W PLAIN "s." PROTO "]U\1"
                                              "1a."),
          "holds a storage that nothing refers to" },
        { BYTES(MAGIC PROTOCOL SYSTEM W PLAIN "s." PROTO "]."),
          "refers to a storage that is not in the file" },
        { BYTES(MAGIC PROTOCOL SYSTEM W PLAIN "s." KEYS), "it is truncated" },
        { BYTES(MAGIC PROTOCOL SYSTEM W PLAIN "s." KEYS TWO "1234567"),
          "it is truncated" },
        { BYTES(MAGIC PROTOCOL SYSTEM W PLAIN "s." KEYS "\3\0\0\0\0\0\0\0"
                                              "12345678"),
          "a storage has 3 elements, a tensor takes it for 2 of 4 bytes" },
        { BYTES(MAGIC PROTOCOL SYSTEM W PLAIN "s." PROTO "](U\1"
                                              "0U\1"
                                              "0e." TWO "12345678" TWO "12345678"),
          "holds a storage twice" },
    };
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        lvlm_arena arena = LVLM_ARENA_INIT;
        lvlm_archive torch;
        lvlm_error err = { .text = "" };
        const int rc = read_bytes(bad[i].bytes, bad[i].n, &torch, &arena, &err);
        if (rc != LVLM_EFORMAT || strstr(err.text, bad[i].message) == NULL)
            fail_msg("row %zu: %d: %s\nexpected: %s", i, rc, err.text, bad[i].message);
        lvlm_arena_free(&arena);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(torchfile_reads_crafted_files),
        cmocka_unit_test(torchfile_refuses_bad_tensors),
        cmocka_unit_test(torchfile_refuses_bad_archives),
        cmocka_unit_test(torchfile_reads_legacy_views),
        cmocka_unit_test(torchfile_refuses_bad_legacy_files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
