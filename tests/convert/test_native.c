/* test_native.c - native files: what is refused, exact numbers, digests. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "convert/export.h"
#include "convert/import.h"
#include "formats/base/bytes.h"
#include "formats/base/json.h"
#include "formats/base/workers.h"
#include "formats/native/native.h"
#include "tests/convert/converted.h"

#define HUB LVLM_FIXTURES "/paligemma-layouts/hub"

static int import(const char *source, const char *native, bool to_f16, lvlm_error *err)
{
    const lvlm_import_options options = { .change_dtype = to_f16, .dtype = LVLM_F16 };
    const lvlm_run run = { .threads = 2 };
    char root[LVLM_DIGEST_HEX + 1];
    lvlm_import *im = NULL;
    int rc = lvlm_import_plan(&im, source, &options, err);
    lvlm_outfile *const file = open_outfile(native);
    if (rc == 0) rc = lvlm_import_execute(im, file, &run, root, err);
    lvlm_outfile_close(file);
    lvlm_import_free(im);
    return rc;
}

/* ---- crafted files -------------------------------------------------------------- */

static const char *const root_key = "\"root\":\"";

/* Replace `from` by `to` in the header of `native`, pad it again and update the root
 * digest, so that only the other rules can refuse it. */
static void craft(scratch *s, const char *native, const char *from, const char *to)
{
    lvlm_infile *in = NULL;
    char root[LVLM_DIGEST_HEX + 1];
    lvlm_strbuf out = LVLM_STRBUF_INIT(16 << 20);
    assert_int_equal(lvlm_infile_open(&in, native, NULL), 0);
    const size_t n = (size_t)lvlm_load_le(in->bytes, 8) + 8;
    const char *const header = (const char *)in->bytes;
    const char *const at = memmem(header, n, from, strlen(from));
    if (at == NULL) fail_msg("no %s in the header", from);
    size_t end = n;
    while (header[end - 1] == ' ') end--;
    lvlm_strbuf_append(&out, header, (size_t)(at - header));
    lvlm_strbuf_puts(&out, to);
    lvlm_strbuf_append(&out, at + strlen(from),
                       end - (size_t)(at - header) - strlen(from));
    while (out.length % LVLM_NATIVE_ALIGN_DATA != 0) lvlm_strbuf_puts(&out, " ");
    lvlm_store_le((unsigned char *)out.text, out.length - 8, 8);
    char *const digits = strstr(out.text + 8, root_key);
    if (digits != NULL) {
        memset(digits + strlen(root_key), '0', LVLM_DIGEST_HEX);
        assert_int_equal(lvlm_digest_bytes(root, out.text, out.length, NULL), 0);
        memcpy(digits + strlen(root_key), root, LVLM_DIGEST_HEX);
    }
    lvlm_strbuf_append(&out, in->bytes + n, (size_t)(in->n_bytes - n));
    (void)scratch_write(s, "crafted.lvlm", out.text, out.length);
    lvlm_strbuf_free(&out);
    lvlm_infile_close(in);
}

static void refuse(const char *native, const char *message)
{
    lvlm_checkpoint *cp = NULL;
    lvlm_error err = { .text = "" };
    assert_int_equal(lvlm_checkpoint_open(&cp, native, NULL, &err), LVLM_EFORMAT);
    if (strstr(err.text, message) == NULL)
        fail_msg("expected: %s\ngot: %s", message, err.text);
}

/* From, to, and the message: each breaks one rule of native_rules.c. */
static const struct crafted {
    const char *from, *to, *message;
} crafted[] = {
    { "\"version\":\"1\"", "\"version\":\"2\"", "native file of version 2" },
    { "\"root\":", "\"boot\":", "without a root digest" },
    { "\"family\":", "\"famile\":", "expected 'family' as member 3, got 'famile'" },
    { "\"family\":\"paligemma\",", "", "expected 'family' as member 3, got 'config'" },
    { "\"family\":\"paligemma\"", "\"family\":\"paligemna\"",
      "family 'paligemna' is not known" },
    { "\"format\":\"lvlm\",\"version\":\"1\"", "\"version\":\"1\",\"format\":\"lvlm\"",
      "expected 'format' as member 0" },
    { "}\"},\"", "}\",\"more\":\"x\"},\"", "unknown member 'more'" },
    { "\\\"rope_theta\\\":", "\\\"rope_tetha\\\":", "text.rope_theta is missing" },
    { "\\\"tower\\\":\\\"siglip", "\\\"tower\\\":\\\"qwen2",
      "vision.tower cannot be \"qwen2\"" },
    { "\\\"mask\\\":\\\"prefix_lm", "\\\"mask\\\":\\\"causal",
      "text.mask cannot be \"causal\"" },
    { "\\\"rope_type\\\":\\\"default", "\\\"rope_type\\\":\\\"llama3",
      "text.rope_type cannot be \"llama3\"" },
    { "\\\"dtype\\\":\\\"keep\\\"", "\\\"dtype\\\":\\\"I32\\\"",
      "unknown dtype 'I32'" },
    { "\\\"converter\\\":", "\\\"convertor\\\":", "'converter' is missing" },
    { "\"digests\":\"{", "\"digests\":\"[1,2,3]\",\"x\":\"{", "unknown member 'x'" },
    { "\"digests\":\"{\\\"vision", "\"digests\":\"[{\\\"vision",
      "digests: not an object" },
    { "\"digests\":\"{\\\"vision", "\"digests\":\"{\\\"wision",
      "expected tensor 'vision" },
    { "\"ledger\":\"{\\\"files\\\":[{\\\"name\\\":",
      "\"ledger\":\"{\\\"files\\\":[{\\\"mane\\\":",
      "ledger: files: mane: unknown member 'mane'" },
    { "\"ledger\":\"{",
      "\"ledger\":\"{\\\"files\\\":{\\\"k0\\\":{\\\"name\\\":\\\"A\\\"}},",
      "ledger: files: not a list" },
    { "\\\"tensors\\\":[", "\\\"tensors\\\":[{},",
      "ledger: tensors: tensor 0: has no name" },
    { "\\\"targets\\\":[\\\"text.embed.weight\\\"]",
      "\\\"grown\\\":true,\\\"targets\\\":[\\\"text.embed.weight\\\"]",
      "has not grown to 'text.embed.weight'" },
    { "\\\"targets\\\":[\\\"text.embed.weight\\\"]", "\\\"targets\\\":[]",
      "has no targets" },
    { "\\\"targets\\\":[\\\"text.embed.weight\\\"]",
      "\\\"targets\\\":[\\\"text.embed\\\"]",
      "its target 'text.embed' is not in the file" },
    { "\\\"targets\\\":[\\\"text.embed.weight\\\"]",
      "\\\"targets\\\":[\\\"connector.proj.weight\\\"]",
      "values for 'connector.proj.weight'" },
    { "\\\"targets\\\":[\\\"text.blocks.0.mlp.up.weight\\\"]",
      "\\\"targets\\\":[\\\"text.blocks.0.mlp.gate.weight\\\"]",
      "'text.blocks.0.mlp.gate.weight' has another source too" },
    { "\\\"made\\\":[]",
      "\\\"made\\\":[{\\\"target\\\":\\\"text.embed.weight\\\",\\\"how\\\":\\\"x\\\"}]",
      "made: 'text.embed.weight' is not in the file or has a source" },
    { "\\\"name\\\":\\\"model.safetensors\\\"",
      "\\\"name\\\":\\\"model.safetensorz\\\"", "its frame is missing" },
    { "\"},\"vision", "\"},\"wision", "digests: expected tensor" },
    { "\"files/config.json\":{", "\"files/conf/ig.js\":{", "is not a plain file name" },
    { "\"frames/model.safetensors\":{", "\"grames/model.safetensors\":{",
      "is of no section of a native file" },
};

static void every_rule_of_a_native_file_is_checked(void **state)
{
    scratch *s = *state;
    assert_int_equal(import(HUB, scratch_path(s, "sound.lvlm"), false, NULL), 0);
    craft(s, scratch_path(s, "sound.lvlm"), "lvlm-convert", "lvlm-canvert");
    lvlm_checkpoint_close(must_open(scratch_path(s, "crafted.lvlm")));
    for (size_t i = 0; i < sizeof crafted / sizeof crafted[0]; i++) {
        craft(s, scratch_path(s, "sound.lvlm"), crafted[i].from, crafted[i].to);
        refuse(scratch_path(s, "crafted.lvlm"), crafted[i].message);
    }
}

typedef struct flips {
    const unsigned char *header;
    size_t n;
} flips;

/* Flip all bits of byte `i`, in a copy. */
static int flip_byte(void *user, size_t i, lvlm_error *err)
{
    const flips *const f = user;
    unsigned char *const header = malloc(f->n);
    int rc = 0;
    memcpy(header, f->header, f->n);
    for (int bit = 0; bit < 8 && rc == 0; bit++) {
        header[i] ^= (unsigned char)(1 << bit);
        if (lvlm_native_check_header(header, f->n, NULL) != LVLM_EFORMAT)
            rc = lvlm_fail(err, LVLM_ECHECK, "bit %d of byte %zu can be flipped", bit,
                           i);
        header[i] ^= (unsigned char)(1 << bit);
    }
    free(header);
    return rc;
}

/* In the length, the JSON, the spaces after it, and the digest itself. */
static void a_change_of_any_byte_of_a_header_is_detected(void **state)
{
    scratch *s = *state;
    lvlm_infile *in = NULL;
    lvlm_error err;
    assert_int_equal(import(HUB, scratch_path(s, "bits.lvlm"), false, NULL), 0);
    assert_int_equal(lvlm_infile_open(&in, scratch_path(s, "bits.lvlm"), NULL), 0);
    flips f = { in->bytes, (size_t)lvlm_load_le(in->bytes, 8) + 8 };
    assert_int_equal(lvlm_native_check_header(f.header, f.n, NULL), 0);
    if (lvlm_workers_each(4, f.n, flip_byte, &f, &err) < 0) fail_msg("%s", err.text);
    lvlm_infile_close(in);
}

/* Rename the side file config.json to `name`. */
static void refuse_side_file(scratch *s, const char *name, const char *message)
{
    const lvlm_export_options options = { .source = true };
    const char *const native = scratch_path(s, "crafted.lvlm");
    char tensor[64], digest[64];
    lvlm_export *ex = NULL;
    lvlm_error err = { .text = "" };
    (void)snprintf(tensor, sizeof tensor, "\"files/%s\":", name);
    (void)snprintf(digest, sizeof digest, "\\\"files/%s\\\":", name);
    craft(s, scratch_path(s, "side.lvlm"), "\"files/config.json\":", tensor);
    craft(s, native, "\\\"files/config.json\\\":", digest);
    assert_int_equal(lvlm_export_plan(&ex, native, &options, &err), LVLM_EFORMAT);
    if (strstr(err.text, message) == NULL) fail_msg("%s", err.text);
    lvlm_export_free(ex);
}

/* After export, a loader of the folder would read them as the model. */
static void side_files_named_like_weights_are_refused(void **state)
{
    scratch *s = *state;
    assert_int_equal(import(HUB, scratch_path(s, "side.lvlm"), false, NULL), 0);
    refuse_side_file(s, "model.safetensors", "is a source file and a side file");
    refuse_side_file(s, "more.safetensors",
                     "has 'more.safetensors', a file of weights");
    refuse_side_file(s, "pytorch_model.bin",
                     "has 'pytorch_model.bin', a file of weights");
}

/* ---- exact numbers -------------------------------------------------------------- */

/* The hub's model with one more unused, empty tensor whose extent is not exact in a
 * double. */
static void make_wide(scratch *s)
{
    static const char more[] =
        "{\"vision_tower.vision_model.head.extra\":{\"dtype\":\"F32\",\"shape\":"
        "[0,18446744073709551615],\"data_offsets\":[0,0]},";
    lvlm_infile *in = NULL;
    lvlm_strbuf header = LVLM_STRBUF_INIT(1 << 20);
    scratch_copy(s, HUB, "wide");
    assert_int_equal(lvlm_infile_open(&in, HUB "/model.safetensors", NULL), 0);
    const size_t n = (size_t)lvlm_load_le(in->bytes, 8);
    lvlm_strbuf_puts(&header, more);
    lvlm_strbuf_append(&header, in->bytes + 9, n - 1);
    (void)scratch_safetensors(s, "wide/model.safetensors", header.text,
                              in->bytes + 8 + n, (size_t)in->n_bytes - 8 - n);
    lvlm_strbuf_free(&header);
    lvlm_infile_close(in);
}

static void a_shape_beyond_doubles_is_restored(void **state)
{
    const lvlm_export_options options = { .source = true };
    const lvlm_run writing = { .threads = 2 };
    scratch *s = *state;
    lvlm_outdir *out = NULL;
    lvlm_export *ex = NULL;
    lvlm_error err;
    make_wide(s);
    if (import(scratch_path(s, "wide"), scratch_path(s, "wide.lvlm"), false, &err) < 0)
        fail_msg("%s", err.text);
    int rc = lvlm_export_plan(&ex, scratch_path(s, "wide.lvlm"), &options, &err);
    if (rc == 0)
        rc = lvlm_outdir_open(&out, scratch_path(s, "back"), false, &lvlm_model_set,
                              &err);
    if (rc == 0) rc = lvlm_export_execute(ex, out, &writing, &err);
    lvlm_outdir_close(out);
    lvlm_export_free(ex);
    if (rc < 0) fail_msg("%s", err.text);
    assert_true(directories_equal(scratch_path(s, "wide"), scratch_path(s, "back")));
}

/* ---- digests -------------------------------------------------------------------- */

static void the_root_digest_covers_the_header(void **state)
{
    scratch *s = *state;
    lvlm_checkpoint *cp = NULL;
    char root[LVLM_DIGEST_HEX + 1];
    const char *digits;
    assert_int_equal(import(HUB, scratch_path(s, "root.lvlm"), false, NULL), 0);
    cp = must_open(scratch_path(s, "root.lvlm"));
    assert_int_equal(lvlm_native_root(root, &digits, cp->files[0].map->bytes,
                                      (size_t)cp->header_bytes, NULL),
                     0);
    assert_string_equal(root, lvlm_checkpoint_meta(cp, "root"));
    assert_memory_equal(root, digits, LVLM_DIGEST_HEX);
    for (size_t i = 0; i < cp->n_tensors; i++)
        if (cp->tensors[i].n_bytes >= 4096 && cp->tensors[i].dtype != LVLM_U8)
            assert_int_equal(cp->tensors[i].offset % 64, 0);
    lvlm_checkpoint_close(cp);
    file_replace(scratch_path(s, "root.lvlm"), "\"family\":\"paligemma\"",
                 "\"famile\":\"paligemma\"");
    lvlm_error err;
    assert_int_equal(
        lvlm_checkpoint_open(&cp, scratch_path(s, "root.lvlm"), NULL, &err),
        LVLM_EFORMAT);
    assert_non_null(strstr(err.text, "header is corrupt"));
    file_replace(scratch_path(s, "root.lvlm"), "\"famile\"", "\"family\"");
    file_replace(scratch_path(s, "root.lvlm"), "norm_eps", "norm_epz");
    assert_int_equal(
        lvlm_checkpoint_open(&cp, scratch_path(s, "root.lvlm"), NULL, &err),
        LVLM_EFORMAT);
    assert_non_null(strstr(err.text, "header is corrupt"));
    assert_non_null(strstr(err.text, root));
}

static void digest_weights(char hex[LVLM_DIGEST_HEX + 1], scratch *s,
                           const char *source, bool to_f16)
{
    lvlm_error err;
    if (import(source, scratch_path(s, "digest.lvlm"), to_f16, &err) < 0)
        fail_msg("%s", err.text);
    lvlm_checkpoint *cp = must_open(scratch_path(s, "digest.lvlm"));
    assert_int_equal(lvlm_native_weights_digest(hex, cp, NULL), 0);
    lvlm_checkpoint_close(cp);
}

static void the_weights_digest_ignores_side_files(void **state)
{
    scratch *s = *state;
    char was[LVLM_DIGEST_HEX + 1], is[LVLM_DIGEST_HEX + 1];
    digest_weights(was, s, HUB, false);
    scratch_copy(s, HUB, "noted");
    scratch_write(s, "noted/notes.txt", "more", 4);
    digest_weights(is, s, scratch_path(s, "noted"), false);
    assert_string_equal(was, is);
    digest_weights(is, s, HUB, true);
    assert_string_not_equal(was, is);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_rule_of_a_native_file_is_checked),
        cmocka_unit_test(a_change_of_any_byte_of_a_header_is_detected),
        cmocka_unit_test(side_files_named_like_weights_are_refused),
        cmocka_unit_test(a_shape_beyond_doubles_is_restored),
        cmocka_unit_test(the_root_digest_covers_the_header),
        cmocka_unit_test(the_weights_digest_ignores_side_files),
    };
    return cmocka_run_group_tests(tests, scratch_setup, scratch_teardown);
}
