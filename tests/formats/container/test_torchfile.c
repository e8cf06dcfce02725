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

static void torchfile_detaches_views_of_a_storage(void **state)
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
    static const char *const files[] = { FILES "/views",
                                         FILES "/kinds.pt",
                                         FILES "/kinds.pth",
                                         LVLM_FIXTURES "/npz/paligemma-odd.npz",
                                         LVLM_FIXTURES "/npz/paligemma2-odd.npz",
                                         LVLM_FIXTURES "/npz/packed.npz" };
    const size_t n_files = sizeof files / sizeof *files;
    lvlm_checkpoint *copied = NULL, *placed = NULL;
    size_t n_strided = 0;
    (void)state;
    for (size_t f = 0; f < n_files; f++) {
        assert_int_equal(lvlm_checkpoint_open(&copied, files[f], NULL, NULL), 0);
        assert_int_equal(lvlm_checkpoint_open(&placed, files[f], &options, NULL), 0);
        /* memory does not grow with them, unless they are compressed */
        assert_int_equal(placed->files[0].copies != NULL, f == n_files - 1);
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

static void torchfile_can_read_only_headers(void **state)
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

/* Opens and checks the zip form of the model after `change`; returns the code.
 * *n_notes: how many notes there were. */
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

static void leave_unchanged(unsigned char *bytes, size_t n)
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
static void overwrite_checksums(unsigned char *bytes, size_t n)
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

static void checksums_are_checked_unless_all_are_wrong(void **state)
{
    lvlm_error err;
    size_t n_notes;
    (void)state;
    assert_int_equal(check_changed(leave_unchanged, &n_notes, &err), 0);
    assert_int_equal(n_notes, 0);
    assert_int_equal(check_changed(flip_a_bit, &n_notes, &err), LVLM_EFORMAT);
    assert_non_null(strstr(err.text, "/data/"));
    assert_non_null(strstr(err.text, "is corrupt: its CRC-32 is"));
    if (check_changed(overwrite_checksums, &n_notes, &err) < 0)
        fail_msg("%s", err.text);
    assert_int_equal(n_notes, 1);
}

/* Also the legacy form, where the cut is after the pickles. */
static void torchfile_refuses_truncated_files(void **state)
{
    static const char *const files[] = { FILES "/kinds.pt", FILES "/kinds.pth" };
    (void)state;
    for (size_t f = 0; f < 2; f++) {
        lvlm_infile *whole = NULL;
        assert_int_equal(lvlm_infile_open(&whole, files[f], NULL), 0);
        for (uint64_t n = 0; n < whole->n_bytes; n++) {
            const lvlm_infile cut = { .bytes = whole->bytes, .n_bytes = n };
            lvlm_arena arena = LVLM_ARENA_INIT;
            lvlm_archive torch;
            lvlm_error err = { .text = "" };
            const int rc = lvlm_torchfile_read(&torch, &cut, true, &arena, &err);
            if (rc != LVLM_EFORMAT || (n >= 4 && strstr(err.text, "truncated") == NULL))
                fail_msg("%s cut to %zu: %d: %s", files[f], (size_t)n, rc, err.text);
            lvlm_arena_free(&arena);
        }
        lvlm_infile_close(whole);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(torchfile_reads_every_type_and_shape),
        cmocka_unit_test(torchfile_reads_models),
        cmocka_unit_test(torchfile_detaches_views_of_a_storage),
        cmocka_unit_test(strided_tensors_are_read_in_place),
        cmocka_unit_test(torchfile_can_read_only_headers),
        cmocka_unit_test(torchfile_refuses_hostile_files),
        cmocka_unit_test(checksums_are_checked_unless_all_are_wrong),
        cmocka_unit_test(torchfile_refuses_truncated_files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
