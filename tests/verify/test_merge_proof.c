/* test_merge_proof.c - merges that PEFT recorded are found to be PEFT's, whatever the
 * adapter; what is not a merge is named. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "verify/compare/merge_proof.h"

#define LORA LVLM_FIXTURES "/lora/"

/* A base, its adapter, and the base again, in which tensors are replaced. */
typedef struct pair {
    lvlm_checkpoint *base_file, *merged_file, *peft;
    lvlm_manifest base, merged;
    lvlm_adapter adapter;
    size_t n_neither;
    double times;        /* of the last adapted tensor */
    const char *problem; /* the last one */
    const char *renamed; /* what the merged model calls its first tensor; NULL: as the
                            base does */
} pair;

static void open_pair(pair *p, const char *name, const char *base)
{
    char path[512];
    lvlm_error err = { .text = "" };
    *p = (pair){ .n_neither = 0 };
    (void)snprintf(path, sizeof path, LVLM_FIXTURES "/%s/model", base);
    if (lvlm_checkpoint_open(&p->base_file, path, NULL, &err) < 0 ||
        lvlm_checkpoint_open(&p->merged_file, path, NULL, &err) < 0 ||
        lvlm_manifest_build(&p->base, p->base_file, &err) < 0)
        fail_msg("%s", err.text);
    (void)snprintf(path, sizeof path, LORA "%s/end", name);
    if (lvlm_adapter_open(&p->adapter, path, &p->base, &err) < 0)
        fail_msg("%s", err.text);
    (void)snprintf(path, sizeof path, LORA "%s/merged.safetensors", name);
    if (lvlm_checkpoint_open(&p->peft, path, NULL, &err) < 0) fail_msg("%s", err.text);
}

static void close_pair(pair *p)
{
    lvlm_adapter_free(&p->adapter);
    lvlm_manifest_free(&p->base);
    lvlm_manifest_free(&p->merged);
    lvlm_checkpoint_close(p->base_file);
    lvlm_checkpoint_close(p->merged_file);
    lvlm_checkpoint_close(p->peft);
}

static lvlm_tensor *tensor_of(pair *p, const char *name)
{
    for (size_t i = 0; i < p->merged_file->n_tensors; i++)
        if (strcmp(p->merged_file->tensors[i].name, name) == 0)
            return &p->merged_file->tensors[i];
    return NULL;
}

/* Give `target`'s source the values that PEFT recorded for `name`. */
static void replace(pair *p, const char *name, const lvlm_target *target)
{
    const lvlm_tensor *const recorded = lvlm_checkpoint_find(p->peft, name);
    lvlm_tensor *const t = tensor_of(p, target->source_name);
    if (target->state == LVLM_TARGET_TIED) return;
    if (recorded == NULL || t == NULL) fail_msg("%s: not recorded", name);
    assert_int_equal(recorded->dtype, t->dtype);
    assert_int_equal(recorded->n_bytes, t->n_bytes);
    t->data = recorded->data;
}

static void replace_all(pair *p)
{
    for (size_t i = 0; i < p->adapter.n; i++) {
        const lvlm_module *const m = p->adapter.at[i].module;
        char name[256];
        (void)snprintf(name, sizeof name, "%s.weight", m->name);
        replace(p, name, m->parts[0]);
    }
    for (size_t i = 0; i < p->adapter.n_saved; i++)
        replace(p, p->adapter.saved[i].name, p->adapter.saved[i].parts[0]);
}

static void take(void *user, const lvlm_merge_tensor *t)
{
    pair *const p = user;
    p->n_neither += t->fits == 0;
    if (t->kind == LVLM_MERGED_ADAPTED) p->times = t->times;
    if (t->problem != NULL) p->problem = t->problem;
}

static lvlm_merge_result check(pair *p)
{
    const lvlm_merge_options options = { .row = take, .user = p };
    lvlm_merge_result result;
    lvlm_error err = { .text = "" };
    if (lvlm_manifest_build(&p->merged, p->merged_file, &err) < 0)
        fail_msg("%s", err.text);
    if (p->renamed != NULL) p->merged.targets[0].name = p->renamed;
    if (lvlm_merge_check(&result, &p->base, &p->adapter, &p->merged, &options, &err) <
        0)
        fail_msg("%s", err.text);
    assert_int_equal(p->n_neither, result.n_neither);
    return result;
}

static void recorded_merges_are_pefts(void **state)
{
    static const struct {
        const char *name, *base;
    } cases[] = {
        { "paligemma", "paligemma-odd" },
        { "qwen2_vl", "qwen2_vl-odd" },
        { "mllama", "mllama-odd" },
        { "qwen_vl", "qwen_vl-odd" },
        { "paligemma-saved", "paligemma-untied" },
        { "qwen2_vl-saved", "qwen2_vl-odd" },
        { "bf16", "paligemma2-bf16" },
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        pair p;
        open_pair(&p, cases[i].name, cases[i].base);
        replace_all(&p);
        const lvlm_merge_result r = check(&p);
        if (r.n_neither > 0) fail_msg("%s: %zu tensors", cases[i].name, r.n_neither);
        assert_true(r.n_adapted >= p.adapter.n);
        assert_true((r.n_saved > 0) == (p.adapter.n_saved > 0));
        assert_true((r.fits & 1U << LVLM_MERGE_PEFT) != 0);
        if (strcmp(cases[i].name, "bf16") == 0) /* no value is near a tie */
            assert_true((r.fits & 1U << LVLM_MERGE_ONCE) != 0);
        assert_true(p.times > 0.999 && p.times < 1.001);
        close_pair(&p);
    }
}

static void one_tensor_that_was_left_out_is_found(void **state)
{
    pair p;
    (void)state;
    open_pair(&p, "bf16", "paligemma2-bf16");
    const lvlm_target *const left = p.adapter.at[3].module->parts[0];
    lvlm_tensor *const t = tensor_of(&p, left->source_name);
    const unsigned char *const before = t->data;
    replace_all(&p);
    t->data = before;
    const lvlm_merge_result r = check(&p);
    assert_int_equal(r.n_neither, p.adapter.at[3].module->n_parts);
    assert_int_equal(r.fits, 0);
    assert_true((r.used & 1U << LVLM_MERGE_PEFT) != 0);
    close_pair(&p);
}

/* The last bit of one value, of an adapted tensor and of another one. */
static void one_bit_is_found(void **state)
{
    static unsigned char copy[1 << 20];
    (void)state;
    for (int adapted = 0; adapted < 2; adapted++) {
        pair p;
        open_pair(&p, "bf16", "paligemma2-bf16");
        replace_all(&p);
        const char *const name = adapted != 0
                                     ? p.adapter.at[0].module->parts[0]->source_name
                                     : p.base_file->tensors[0].name;
        lvlm_tensor *const t = tensor_of(&p, name);
        assert_true(t->n_bytes <= sizeof copy);
        memcpy(copy, t->data, (size_t)t->n_bytes);
        copy[t->n_bytes / 2 & ~(uint64_t)1] ^= 1;
        t->data = copy;
        assert_int_equal(check(&p).n_neither, 1);
        close_pair(&p);
    }
}

/* Under another name: one is missing, and one is of no base. */
static void an_added_tensor_is_found(void **state)
{
    pair p;
    char name[256];
    (void)state;
    open_pair(&p, "bf16", "paligemma2-bf16");
    replace_all(&p);
    (void)snprintf(name, sizeof name, "%s.more", p.base.targets[0].name);
    p.renamed = name;
    const lvlm_merge_result r = check(&p);
    assert_int_equal(r.n_neither, 2);
    assert_int_equal(r.fits, 0);
    assert_string_equal(p.problem, "is not in the base");
    close_pair(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(recorded_merges_are_pefts),
        cmocka_unit_test(one_tensor_that_was_left_out_is_found),
        cmocka_unit_test(one_bit_is_found),
        cmocka_unit_test(an_added_tensor_is_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
