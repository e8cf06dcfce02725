/* test_torchfile.c - files of torch.save: recorded ones compared with the same values
 * as safetensors, and crafted ones that break one rule each. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "formats/checkpoint/checkpoint.h"
#include "formats/container/torchfile.h"
#include "formats/container/transform.h"
#include "tests/support/archive.h"
#include "tests/support/scratch.h"

#define FILES LVLM_FIXTURES "/torch-files"
#define HUB LVLM_FIXTURES "/paligemma-layouts/hub"

static lvlm_checkpoint *open_checkpoint(const char *path, bool headers_only)
{
    const lvlm_open_options options = { .headers_only = headers_only };
    lvlm_checkpoint *cp = NULL;
    lvlm_error err;
    if (lvlm_checkpoint_open(&cp, path, &options, &err) < 0) fail_msg("%s", err.text);
    return cp;
}

/* ---- recorded files ------------------------------------------------------------- */

static void expect_same_tensors(const char *a_path, const char *b_path)
{
    lvlm_checkpoint *a = open_checkpoint(a_path, false);
    lvlm_checkpoint *b = open_checkpoint(b_path, false);
    assert_int_equal(a->n_tensors, b->n_tensors);
    for (size_t i = 0; i < a->n_tensors; i++) {
        const lvlm_tensor *t = a->by_name[i], *u = b->by_name[i];
        assert_string_equal(t->name, u->name);
        if (t->dtype != u->dtype || !lvlm_shape_equal(&t->shape, &u->shape) ||
            (t->n_bytes > 0 && memcmp(t->data, u->data, (size_t)t->n_bytes) != 0))
            fail_msg("%s: '%s' differs", a_path, t->name);
    }
    lvlm_checkpoint_close(a);
    lvlm_checkpoint_close(b);
}

static void torchfile_reads_every_type_and_shape(void **state)
{
    (void)state;
    expect_same_tensors(FILES "/kinds.pt", FILES "/kinds.safetensors");
    expect_same_tensors(FILES "/kinds.pth", FILES "/kinds.safetensors");
    expect_same_tensors(FILES "/kinds-4.pt", FILES "/kinds.safetensors");
    expect_same_tensors(FILES "/kinds-4.pth", FILES "/kinds.safetensors");
    expect_same_tensors(FILES "/new.pt", FILES "/new.safetensors");
}

static void torchfile_reads_models(void **state)
{
    (void)state;
    expect_same_tensors(FILES "/zip", HUB);
    expect_same_tensors(FILES "/legacy", HUB);
    expect_same_tensors(FILES "/sharded", HUB);
    expect_same_tensors(FILES "/views", LVLM_FIXTURES "/paligemma-layouts/tied-copy");
    expect_same_tensors(FILES "/legacy/pytorch_model.bin", HUB "/model.safetensors");
}

/* Spans in order, disjoint, in the mapping; then detached tensors. */
static void check_places(const lvlm_checkpoint *cp)
{
    const lvlm_infile *map = cp->files[0].map;
    uint64_t end = 0;
    bool detached = false;
    for (size_t i = 0; i < cp->n_tensors; i++) {
        const lvlm_tensor *t = &cp->tensors[i];
        assert_true(t->detached || !detached);
        detached = t->detached;
        if (detached) continue;
        assert_true(t->offset >= end);
        end = t->offset + t->n_bytes;
        assert_true(end <= map->n_bytes);
        assert_ptr_equal(t->data, map->bytes + t->offset);
    }
}

static void torchfile_detaches_what_is_no_span(void **state)
{
    static const char *const files[] = { FILES "/kinds.pt", FILES "/kinds.pth" };
    static const char *const in_place[] = { "view.slice", "view.row", "view.unit",
                                            "view.whole" };
    static const char *const copied[] = { "view.transposed", "view.columns",
                                          "view.expanded", "view.diagonal" };
    (void)state;
    for (size_t f = 0; f < 2; f++) {
        lvlm_checkpoint *cp = open_checkpoint(files[f], false);
        const lvlm_infile *map = cp->files[0].map;
        size_t n = 0;
        check_places(cp);
        for (size_t i = 0; i < cp->n_tensors; i++) n += cp->tensors[i].detached;
        assert_int_equal(n, 8);
        assert_false(lvlm_checkpoint_find(cp, "view.again")->detached);
        assert_false(lvlm_checkpoint_find(cp, "view.none")->detached);
        for (size_t i = 0; i < 4; i++) {
            const lvlm_tensor *t = lvlm_checkpoint_find(cp, in_place[i]);
            assert_true(t->detached);
            assert_ptr_equal(t->data, map->bytes + t->offset);
            t = lvlm_checkpoint_find(cp, copied[i]);
            assert_true(t->detached);
            assert_true(t->data < map->bytes || t->data >= map->bytes + map->n_bytes);
        }
        lvlm_checkpoint_close(cp);
    }
}

/* The same values, gathered in place in pieces of any size. */
static void strided_tensors_are_read_in_place(void **state)
{
    const lvlm_open_options options = { .in_place = true };
    static const char *const files[] = { FILES "/views", FILES "/kinds.pt",
                                         FILES "/kinds.pth",
                                         LVLM_FIXTURES "/npz/paligemma-odd.npz",
                                         LVLM_FIXTURES "/npz/paligemma2-odd.npz" };
    lvlm_checkpoint *copied = NULL, *placed = NULL;
    size_t n_strided = 0;
    (void)state;
    for (size_t f = 0; f < sizeof files / sizeof *files; f++) {
        assert_int_equal(lvlm_checkpoint_open(&copied, files[f], NULL, NULL), 0);
        assert_int_equal(lvlm_checkpoint_open(&placed, files[f], &options, NULL), 0);
        for (size_t i = 0; i < copied->n_tensors; i++) {
            const lvlm_tensor *t = &copied->tensors[i];
            const lvlm_elements in = lvlm_tensor_elements(&placed->tensors[i]);
            unsigned char *got = malloc((size_t)t->n_bytes + 1);
            n_strided += in.stride != NULL;
            for (uint64_t at = 0; at < in.n; at += 7)
                lvlm_elements_read(got + at * in.bytes, at,
                                   in.n - at < 7 ? in.n - at : 7, &in);
            if (t->n_bytes > 0) assert_memory_equal(got, t->data, (size_t)t->n_bytes);
            free(got);
        }
        lvlm_checkpoint_close(copied);
        lvlm_checkpoint_close(placed);
    }
    assert_true(n_strided > 3);
}

static void torchfile_reads_headers_alone(void **state)
{
    (void)state;
    lvlm_checkpoint *cp = open_checkpoint(FILES "/kinds.pt", true);
    assert_true(cp->n_tensors > 8);
    assert_null(cp->files[0].copies);
    for (size_t i = 0; i < cp->n_tensors; i++) assert_null(cp->tensors[i].data);
    lvlm_checkpoint_close(cp);
}

static void refuse_path(const char *path, const char *message)
{
    lvlm_checkpoint *cp = NULL;
    lvlm_error err = { .text = "" };
    const int rc = lvlm_checkpoint_open(&cp, path, NULL, &err);
    if (rc != LVLM_EFORMAT || strstr(err.text, message) == NULL)
        fail_msg("%s: %d: %s\nexpected: %s", path, rc, err.text, message);
}

static void torchfile_refuses_hostile_files(void **state)
{
    static const char *const hostile[][2] = {
        { "system.bin", "calls posix.system, which no state dict needs; nothing was" },
        { "system-legacy.bin", "calls posix.system, which no state dict needs;" },
        { "eval.bin", "calls __builtin__.eval, which" },
        { "complex.bin", "calls torch.ComplexFloatStorage, which" },
        { "negated.bin", "tensor 'w': is marked as negative or conjugate" },
        { "pickle.bin", "is not a file of torch.save" },
        { "cut.bin", "does not end like a zip archive; the file is truncated" },
        { "packed.bin", "member 'whole/data/0': is compressed" },
    };
    (void)state;
    for (size_t i = 0; i < sizeof hostile / sizeof hostile[0]; i++) {
        char path[512];
        (void)snprintf(path, sizeof path, FILES "/hostile/%s", hostile[i][0]);
        refuse_path(path, hostile[i][1]);
    }
}

/* Every truncated file is refused, in the legacy form also if cut after the pickles. */
/* The zip form of the model as the directory "m", after `change`; what checking says.
 * *n_notes: how many notes. */
static int check_changed(void (*change)(unsigned char *bytes, size_t n),
                         size_t *n_notes, lvlm_error *err)
{
    scratch s;
    lvlm_infile *file = NULL;
    lvlm_checkpoint *cp = NULL;
    lvlm_notes notes = LVLM_NOTES_INIT;
    const lvlm_open_options options = { .notes = &notes };
    scratch_make(&s);
    scratch_copy(&s, FILES "/zip", "m");
    assert_int_equal(lvlm_infile_open(&file, FILES "/zip/pytorch_model.bin", err), 0);
    const size_t n = (size_t)file->n_bytes;
    unsigned char *bytes = malloc(n);
    memcpy(bytes, file->bytes, n);
    change(bytes, n);
    scratch_write(&s, "m/pytorch_model.bin", bytes, n);
    int rc = lvlm_checkpoint_open(&cp, scratch_path(&s, "m"), &options, err);
    if (rc == 0) rc = lvlm_checkpoint_check(cp, 2, err);
    *n_notes = notes.n;
    lvlm_checkpoint_close(cp);
    lvlm_infile_close(file);
    lvlm_notes_free(&notes);
    free(bytes);
    scratch_remove(&s);
    return rc;
}

static void leave(unsigned char *bytes, size_t n)
{
    (void)bytes;
    (void)n;
}

/* In the middle, which is the data of some storage. */
static void flip_a_bit(unsigned char *bytes, size_t n)
{
    bytes[n / 2] ^= 4;
}

/* Like set_crc32_options(False): CRC-32 fields with other values. */
static void forget_checksums(unsigned char *bytes, size_t n)
{
    for (size_t i = 0; i + 20 < n; i++) {
        if (bytes[i] != 'P' || bytes[i + 1] != 'K') continue;
        const size_t field = memcmp(bytes + i + 2, "\3\4", 2) == 0    ? 14
                             : memcmp(bytes + i + 2, "\1\2", 2) == 0  ? 16
                             : memcmp(bytes + i + 2, "\7\10", 2) == 0 ? 4
                                                                      : 0;
        for (size_t k = 0; k < 4 && field > 0; k++)
            if ((bytes[i + 3] & 8) != 0 || bytes[i + field + k] != 0)
                bytes[i + field + k] = 0x5a;
    }
}

static void members_have_their_checksums_or_none_has(void **state)
{
    lvlm_error err;
    size_t n_notes;
    (void)state;
    assert_int_equal(check_changed(leave, &n_notes, &err), 0);
    assert_int_equal(n_notes, 0);
    assert_int_equal(check_changed(flip_a_bit, &n_notes, &err), LVLM_EFORMAT);
    assert_non_null(strstr(err.text, "/data/"));
    assert_non_null(strstr(err.text, "is corrupt: its CRC-32 is"));
    if (check_changed(forget_checksums, &n_notes, &err) < 0) fail_msg("%s", err.text);
    assert_int_equal(n_notes, 1);
}

static void torchfile_refuses_cut_files(void **state)
{
    static const char *const files[] = { FILES "/kinds.pt", FILES "/kinds.pth" };
    (void)state;
    for (size_t f = 0; f < 2; f++) {
        lvlm_infile *whole = NULL;
        assert_int_equal(lvlm_infile_open(&whole, files[f], NULL), 0);
        for (uint64_t n = 0; n < whole->n_bytes; n++) {
            const lvlm_infile cut = { .bytes = whole->bytes, .n_bytes = n };
            lvlm_arena arena = LVLM_ARENA_INIT;
            lvlm_torchfile torch;
            lvlm_error err = { .text = "" };
            const int rc = lvlm_torchfile_read(&torch, &cut, true, &arena, &err);
            if (rc != LVLM_EFORMAT || (n >= 4 && strstr(err.text, "truncated") == NULL))
                fail_msg("%s cut to %zu: %d: %s", files[f], (size_t)n, rc, err.text);
            lvlm_arena_free(&arena);
        }
        lvlm_infile_close(whole);
    }
}

/* ---- made files ----------------------------------------------------------------- */

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

static int read_archive(const archive *a, lvlm_torchfile *torch, lvlm_arena *arena,
                        lvlm_error *err)
{
    const lvlm_infile file = { .bytes = a->bytes, .n_bytes = a->n };
    return lvlm_torchfile_read(torch, &file, false, arena, err);
}

static void refuse(const archive *a, const char *message)
{
    lvlm_arena arena = LVLM_ARENA_INIT;
    lvlm_torchfile torch;
    lvlm_error err = { .text = "" };
    const int rc = read_archive(a, &torch, &arena, &err);
    if (rc != LVLM_EFORMAT || strstr(err.text, message) == NULL)
        fail_msg("%d: %s\nexpected: %s", rc, err.text, message);
    lvlm_arena_free(&arena);
}

static void torchfile_reads_a_made_file(void **state)
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
        lvlm_torchfile torch;
        lvlm_error err;
        build(&a, good[i].pickle, good[i].n);
        if (read_archive(&a, &torch, &arena, &err) < 0)
            fail_msg("row %zu: %s", i, err.text);
        assert_int_equal(torch.n_tensors, 1);
        assert_string_equal(torch.tensors[0].name, "w");
        assert_int_equal(torch.tensors[0].dtype, LVLM_F32);
        assert_int_equal(torch.tensors[0].n_bytes, 8);
        assert_ptr_equal(torch.tensors[0].data, a.bytes + archive_data(&a, 1));
        lvlm_torchfile_free(&torch);
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

/* ---- made files of the legacy form ---------------------------------------------- */

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

static int read_bytes(const char *bytes, size_t n, lvlm_torchfile *torch,
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
    lvlm_torchfile torch;
    lvlm_error err;
    (void)state;
    if (read_bytes(BYTES(bytes), &torch, &arena, &err) < 0) fail_msg("%s", err.text);
    assert_int_equal(torch.n_tensors, 1);
    assert_int_equal(torch.tensors[0].offset, sizeof bytes - 1 - 4);
    assert_memory_equal(torch.tensors[0].data, "efgh", 4);
    lvlm_torchfile_free(&torch);
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
        lvlm_torchfile torch;
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
        cmocka_unit_test(torchfile_reads_every_type_and_shape),
        cmocka_unit_test(torchfile_reads_models),
        cmocka_unit_test(torchfile_detaches_what_is_no_span),
        cmocka_unit_test(strided_tensors_are_read_in_place),
        cmocka_unit_test(torchfile_reads_headers_alone),
        cmocka_unit_test(torchfile_refuses_hostile_files),
        cmocka_unit_test(members_have_their_checksums_or_none_has),
        cmocka_unit_test(torchfile_refuses_cut_files),
        cmocka_unit_test(torchfile_reads_a_made_file),
        cmocka_unit_test(torchfile_refuses_bad_tensors),
        cmocka_unit_test(torchfile_refuses_bad_archives),
        cmocka_unit_test(torchfile_reads_legacy_views),
        cmocka_unit_test(torchfile_refuses_bad_legacy_files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
