/* test_safetensors.c - the rules of safetensors.c: one row per malformed file, with the
 * expected message. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "formats/base/json.h"
#include "formats/container/safetensors.h"
#include "tests/support/scratch.h"

static int read_file(const char *path, bool headers_only, lvlm_error *err)
{
    lvlm_infile *file = NULL;
    lvlm_arena arena = LVLM_ARENA_INIT;
    lvlm_safetensors st;
    if (lvlm_infile_open(&file, path, err) < 0) fail_msg("%s", err->text);
    const int rc = lvlm_safetensors_read(&st, file, headers_only, &arena, err);
    lvlm_safetensors_free(&st);
    lvlm_arena_free(&arena);
    lvlm_infile_close(file);
    return rc;
}

/* ---- malformed files ------------------------------------------------------------ */

#define A "\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}"

static const struct malformed {
    const char *header;
    size_t data; /* bytes after it */
    const char *message;
} malformed[] = {
    { "[]", 0, "does not begin with '{'" },
    { "", 0, "does not begin with '{'" },
    { "{\"a\":", 0, "header: tensor 'a': not JSON at byte 5" },
    { "{} x", 0, "header: 1 byte after the value" },
    { "{\"\xff\":{}}", 0, "header: not UTF-8 at byte 2" },
    { "{\"\xed\xa0\x80\":{}}", 0, "header: not UTF-8" },
    { "{\"\\u0000\":{}}", 0, "zero character" },
    { "{" A "," A "}", 8, "header: duplicate key 'a'" },
    { "{\"a\":{\"dtype\":\"F32\",\"dtype\":\"F32\",\"shape\":[2],"
      "\"data_offsets\":[0,8]}}",
      8, "duplicate key 'dtype'" },
    { "{\"__metadata__\":[]}", 0, "__metadata__: not an object" },
    { "{\"__metadata__\":{\"k\":1}}", 0, "value of 'k' is not a string" },
    { "{\"a\":1}", 0, "tensor 'a': not an object" },
    { "{\"a\":{\"shape\":[2],\"data_offsets\":[0,8]}}", 8, "tensor 'a': has no dtype" },
    { "{\"a\":{\"dtype\":\"F32\",\"data_offsets\":[0,8]}}", 8,
      "tensor 'a': has no shape" },
    { "{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8],"
      "\"strides\":[1]}}",
      8, "tensor 'a': unknown member 'strides'" },
    { "{\"a\":{\"dtype\":\"F99\",\"shape\":[2],\"data_offsets\":[0,8]}}", 8,
      "unknown dtype 'F99'" },
    { "{\"a\":{\"dtype\":\"F4\",\"shape\":[2],\"data_offsets\":[0,1]}}", 1,
      "unknown dtype 'F4'" },
    { "{\"a\":{\"dtype\":\"F32\",\"shape\":2,\"data_offsets\":[0,8]}}", 8,
      "shape: not a list" },
    { "{\"a\":{\"dtype\":\"F32\",\"shape\":[-2],\"data_offsets\":[0,8]}}", 8,
      "shape: dimension 0: not a whole number" },
    { "{\"a\":{\"dtype\":\"F32\",\"shape\":[1,2.5],\"data_offsets\":[0,8]}}", 8,
      "shape: dimension 1: not a whole number" },
    { "{\"a\":{\"dtype\":\"F32\",\"shape\":[9007199254740993],\"data_offsets\":[0,8]}}",
      8, "F32 [9007199254740993] takes 36028797018963972 bytes" },
    { "{\"a\":{\"dtype\":\"F32\",\"shape\":[0.99999999999999999999],"
      "\"data_offsets\":[0,4]}}",
      4, "shape: dimension 0: not a whole number" },
    { "{\"a\":{\"dtype\":\"U8\",\"shape\":[18446744073709551615],"
      "\"data_offsets\":[0,18446744073709551615]}}",
      8, "beyond what a file can hold" },
    { "{\"a\":{\"dtype\":\"U8\",\"shape\":[18446744073709551616],"
      "\"data_offsets\":[0,8]}}",
      8, "shape: dimension 0: not a whole number" },
    { "{\"a\":{\"dtype\":\"F32\",\"shape\":[1,1,1,1,1,1,1,1,2],"
      "\"data_offsets\":[0,8]}}",
      8, "more than 8 dimensions" },
    { "{\"a\":{\"dtype\":\"F32\",\"shape\":[4294967296,4294967296,4],"
      "\"data_offsets\":[0,8]}}",
      8, "overflows 64 bits" },
    { "{\"a\":{\"dtype\":\"F32\",\"shape\":[2]}}", 8, "has no data_offsets" },
    { "{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8,8]}}", 8,
      "data_offsets: more than two numbers" },
    { "{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0]}}", 8,
      "data_offsets: not a pair of numbers" },
    { "{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[-8,0]}}", 8,
      "data_offsets: not a whole number" },
    { "{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[8,0]}}", 8,
      "begins at 8, after its end at 0" },
    { "{\"a\":{\"dtype\":\"F32\",\"shape\":[3],\"data_offsets\":[0,8]}}", 8,
      "F32 [3] takes 12 bytes, data_offsets span 8" },
    { "{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[4,12]}}", 12,
      "4 bytes belong to no tensor" },
    { "{" A ",\"b\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[10,12]}}", 12,
      "tensor 'b': begins at 10, the data before it ends at 8" },
    { "{" A ",\"b\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[6,10]}}", 10,
      "tensor 'b': begins at 6, inside 'a', which ends at 8" },
    { "{" A "}", 7, "ends at 8, the file holds 7 bytes of data; it is truncated" },
    { "{" A "}", 9, "1 bytes after the last tensor belong to no tensor" },
    { "{\"a\":[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[", 0,
      "tensor 'a': not an object" },
    { "{\"__metadata__\":{\"a\":"
      "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[",
      0, "nested deeper than 64" },
};

static void safetensors_refuses_every_malformed_file(void **state)
{
    static const unsigned char zeros[16];
    scratch s;
    (void)state;
    scratch_make(&s);
    for (size_t i = 0; i < sizeof malformed / sizeof malformed[0]; i++) {
        const struct malformed *m = &malformed[i];
        const char *path = scratch_safetensors(&s, "bad", m->header, zeros, m->data);
        lvlm_error err = { .text = "" };
        assert_int_equal(read_file(path, false, &err), LVLM_EFORMAT);
        if (strstr(err.text, m->message) == NULL)
            fail_msg("%s\nexpected: %s\ngot: %s", m->header, m->message, err.text);
    }
    scratch_remove(&s);
}

static void expect(scratch *s, const void *bytes, size_t n, const char *message)
{
    lvlm_error err = { .text = "" };
    assert_int_equal(read_file(scratch_write(s, "bad", bytes, n), false, &err),
                     LVLM_EFORMAT);
    if (strstr(err.text, message) == NULL) fail_msg("%s", err.text);
}

static void safetensors_bounds_the_header(void **state)
{
    scratch s;
    (void)state;
    scratch_make(&s);
    expect(&s, "", 0, "too short for a safetensors header");
    expect(&s, "\1\0\0\0\0\0\0", 7, "is 7 bytes long, too short");
    expect(&s, "\377\377\377\377\377\377\377\377{}", 10, "over the limit");
    expect(&s, "\1\341\365\5\0\0\0\0{}", 10, "over the limit of 100000000");
    expect(&s, "\3\0\0\0\0\0\0\0{}", 10, "beyond the end of the file");
    scratch_remove(&s);
}

static void safetensors_headers_can_be_read_without_data(void **state)
{
    scratch s;
    lvlm_error err;
    (void)state;
    scratch_make(&s);
    const char *path = scratch_safetensors(&s, "cut", "{" A "}", NULL, 0);
    assert_int_equal(read_file(path, true, &err), 0);
    assert_int_equal(read_file(path, false, &err), LVLM_EFORMAT);
    scratch_remove(&s);
}

/* ---- round trip ----------------------------------------------------------------- */

static const float values[] = { 1, 2, 3, 4, 5, 6 };

static lvlm_tensor tensor(const char *name, lvlm_dtype dtype, lvlm_shape shape)
{
    lvlm_tensor t = { .name = name, .dtype = dtype, .shape = shape };
    t.data = (const unsigned char *)values;
    assert_true(lvlm_shape_bytes(&t.n_bytes, &t.shape, dtype));
    return t;
}

static void safetensors_reads_what_it_wrote(void **state)
{
    const lvlm_tensor tensors[] = {
        tensor("w", LVLM_F32, (lvlm_shape){ 2, { 2, 3 } }),
        tensor("scalar", LVLM_F32, (lvlm_shape){ 0, { 0 } }),
        tensor("empty", LVLM_BF16, (lvlm_shape){ 2, { 0, 7 } }),
        tensor("quote\"\\\n\xc3\xa9", LVLM_U8, (lvlm_shape){ 1, { 5 } }),
    };
    scratch s;
    lvlm_infile *file = NULL;
    lvlm_arena arena = LVLM_ARENA_INIT;
    lvlm_safetensors st;
    cJSON *metadata = cJSON_CreateObject();
    (void)state;
    scratch_make(&s);
    cJSON_AddStringToObject(metadata, "format", "pt");
    const char *path = scratch_path(&s, "x.safetensors");
    assert_int_equal(lvlm_safetensors_save(path, tensors, 4, metadata, false, NULL), 0);
    assert_int_equal(lvlm_infile_open(&file, path, NULL), 0);
    assert_int_equal(lvlm_safetensors_read(&st, file, false, &arena, NULL), 0);
    assert_int_equal(st.n_tensors, 4);
    assert_int_equal(st.header_bytes % 8, 0);
    assert_string_equal(lvlm_json_string(lvlm_json_get(st.metadata, "format")), "pt");
    for (size_t i = 0, found = 0; i < 4; i++, found = 0) {
        for (size_t j = 0; j < 4; j++) {
            if (strcmp(st.tensors[j].name, tensors[i].name) != 0) continue;
            found++;
            assert_true(lvlm_shape_equal(&st.tensors[j].shape, &tensors[i].shape));
            assert_int_equal(st.tensors[j].dtype, tensors[i].dtype);
            assert_memory_equal(st.tensors[j].data, values, tensors[i].n_bytes);
        }
        assert_int_equal(found, 1);
    }
    const char *again = scratch_path(&s, "y.safetensors");
    assert_int_equal(lvlm_safetensors_save(again, tensors, 4, metadata, false, NULL),
                     0);
    assert_true(files_equal(path, again));
    assert_int_equal(lvlm_safetensors_save(path, tensors, 4, NULL, false, NULL),
                     LVLM_EUSAGE);
    lvlm_safetensors_free(&st);
    lvlm_arena_free(&arena);
    lvlm_infile_close(file);
    lvlm_json_free(metadata);
    scratch_remove(&s);
}

static void safetensors_orders_by_dtype_then_name(void **state)
{
    lvlm_tensor t[] = { tensor("b", LVLM_BF16, (lvlm_shape){ 0, { 0 } }),
                        tensor("a", LVLM_U8, (lvlm_shape){ 0, { 0 } }),
                        tensor("c", LVLM_F32, (lvlm_shape){ 0, { 0 } }),
                        tensor("a", LVLM_BF16, (lvlm_shape){ 0, { 0 } }) };
    (void)state;
    qsort(t, 4, sizeof t[0], lvlm_safetensors_order);
    assert_int_equal(t[0].dtype, LVLM_F32);
    assert_string_equal(t[1].name, "a");
    assert_string_equal(t[2].name, "b");
    assert_int_equal(t[3].dtype, LVLM_U8);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(safetensors_refuses_every_malformed_file),
        cmocka_unit_test(safetensors_bounds_the_header),
        cmocka_unit_test(safetensors_headers_can_be_read_without_data),
        cmocka_unit_test(safetensors_reads_what_it_wrote),
        cmocka_unit_test(safetensors_orders_by_dtype_then_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
