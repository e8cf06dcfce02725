/* labels.c - each family's rule for what is learnt; see labels.h. */
#include "runtime/tune/data/labels.h"

#include <assert.h>
#include <string.h>

#include "formats/base/json.h"
#include "runtime/batch/inputs.h"

typedef struct label_rule {
    const char *word; /* of the families that have it */
    /* Set the labels that count; all of them are ignored before. */
    void (*mark)(int64_t *labels, const lvlm_labeller *l, const lvlm_prompt *p);
    const char *words[LVLM_LABEL_WORDS];
    const char *stop, *padding;
    bool hidden; /* padding, wherever it is */
} label_rule;

/* ---- rules ---------------------------------------------------------------------- */

/* Tokens [first, end) are learnt. */
static void learn(int64_t *labels, const lvlm_prompt *p, size_t first, size_t end)
{
    if (end > p->n) end = p->n;
    assert(first <= end);
    for (size_t i = first; i < end; i++) labels[i] = p->ids[i];
}

static bool is_at(const lvlm_label_word *word, const lvlm_prompt *p, size_t at)
{
    assert(at <= p->n);
    return word->n > 0 && p->n - at >= word->n &&
           memcmp(p->ids + at, word->ids, word->n * sizeof *word->ids) == 0;
}

/* What opens every turn, and what closes it; the assistant's words. */
static void mark_turns(int64_t *labels, const lvlm_labeller *l, const lvlm_prompt *p)
{
    (void)l;
    for (size_t i = 0; i < p->n_spans; i++) {
        const lvlm_span *const s = &p->spans[i];
        if (s->kind == LVLM_SPAN_HEADER)
            learn(labels, p, s->first, s->first + 1);
        else if (s->kind == LVLM_SPAN_END || s->role == LVLM_ROLE_ASSISTANT)
            learn(labels, p, s->first, s->end);
    }
}

/* From one token after the word up to one token after `stop`. What no `stop` ends is
 * not learnt. */
static void mark_answers(int64_t *labels, const lvlm_labeller *l, const lvlm_prompt *p)
{
    const lvlm_label_word *const word = &l->words[0];
    for (size_t at = 0; at < p->n; at++) {
        if (!is_at(word, p, at)) continue;
        const size_t first = at + word->n + 1;
        size_t end = first;
        while (end < p->n && p->ids[end] != l->stop) end++;
        if (end >= p->n) continue;
        learn(labels, p, first, end + 2);
        at = end;
    }
}

/* Everything but segments up to `stop` that hold word 0 or 1, and word 2 anywhere. */
static void mark_segments(int64_t *labels, const lvlm_labeller *l, const lvlm_prompt *p)
{
    size_t first = 0;
    bool asked = false;
    for (size_t at = 0; at < p->n; at++) {
        asked = asked || is_at(&l->words[0], p, at) || is_at(&l->words[1], p, at);
        if (p->ids[at] != l->stop && at + 1 < p->n) continue;
        if (!asked) learn(labels, p, first, at + 1);
        first = at + 1;
        asked = false;
    }
    for (size_t at = 0; at < p->n; at++)
        for (size_t i = 0; is_at(&l->words[2], p, at) && i < l->words[2].n; i++)
            labels[at + i] = LVLM_IGNORE_LABEL;
}

/* What is answered, and what ends it. */
static void mark_suffix(int64_t *labels, const lvlm_labeller *l, const lvlm_prompt *p)
{
    (void)l;
    for (size_t i = 0; i < p->n_spans; i++)
        if (p->spans[i].role == LVLM_ROLE_ASSISTANT &&
            p->spans[i].kind != LVLM_SPAN_HEADER)
            learn(labels, p, p->spans[i].first, p->spans[i].end);
}

// clang-format off
#define LLAMA_HEADER(role) "<|start_header_id|>" role "<|end_header_id|>"

static const label_rule rules[] = {
    { "turns", mark_turns,
      .padding = "<|endoftext|>", .hidden = true },
    { "answers", mark_answers, .words = { "assistant" },
      .stop = "<|im_end|>", .padding = "<|endoftext|>", .hidden = true },
    { "segments", mark_segments,
      .words = { LLAMA_HEADER("system"), LLAMA_HEADER("user"), LLAMA_HEADER("assistant") },
      .stop = "<|eot_id|>", .padding = "<|finetune_right_pad_id|>" },
    { "suffix", mark_suffix },
};
// clang-format on

/* ---- a model's ------------------------------------------------------------------ */

static int rule_for(const label_rule **out, const lvlm_family *family, lvlm_error *err)
{
    FAIL_IF(family->labels == NULL, err, LVLM_EFORMAT,
            "%s: which tokens of a text are learnt is not known; only ready tensors "
            "train it",
            family->title);
    for (*out = rules; *out < rules + sizeof rules / sizeof *rules; ++*out)
        if (strcmp((*out)->word, family->labels) == 0) return 0;
    return lvlm_fail(err, LVLM_EFORMAT, "%s: its rule of labels '%s' is not known",
                     family->title, family->labels);
}

static int read_word(lvlm_label_word *out, const lvlm_tokenizer *tokenizer,
                     const char *text, lvlm_error *err)
{
    lvlm_ids ids = LVLM_IDS_INIT;
    if (text == NULL) return 0;
    int rc = lvlm_tokenizer_encode(tokenizer, &ids, text, strlen(text), NULL, err);
    if (rc == 0 && (ids.n == 0 || ids.n > LVLM_WORD_TOKENS))
        rc = lvlm_fail(err, LVLM_EFORMAT, "tokenizer: '%s' is %zu tokens, at most %d",
                       text, ids.n, LVLM_WORD_TOKENS);
    if (rc == 0) memcpy(out->ids, ids.at, ids.n * sizeof *ids.at);
    if (rc == 0) out->n = ids.n;
    lvlm_ids_free(&ids);
    return rc;
}

int lvlm_labeller_init(lvlm_labeller *out, const lvlm_manifest *manifest,
                       const lvlm_tokenizer *tokenizer, lvlm_error *err)
{
    lvlm_input_spec spec;
    assert(manifest->family != NULL);
    *out = (lvlm_labeller){ .stop = -1, .padding = -1 };
    TRY(lvlm_input_spec_read(&spec, manifest->config, err));
    TRY(rule_for(&out->rule, manifest->family, err));
    const label_rule *const rule = out->rule;
    out->hidden = rule->hidden;
    out->image = spec.image_token;
    out->video = spec.video_token;
    for (size_t i = 0; i < LVLM_LABEL_WORDS; i++)
        TRY(read_word(&out->words[i], tokenizer, rule->words[i], err));
    if (rule->stop != NULL) {
        out->stop = lvlm_tokenizer_id(tokenizer, rule->stop);
        FAIL_IF(out->stop < 0, err, LVLM_EFORMAT, "tokenizer: has no token %s",
                rule->stop);
    }
    if (rule->padding != NULL)
        out->padding = lvlm_tokenizer_id(tokenizer, rule->padding);
    return 0;
}

void lvlm_labels_make(int64_t *labels, const lvlm_labeller *l, const lvlm_prompt *p)
{
    for (size_t i = 0; i < p->n; i++) labels[i] = LVLM_IGNORE_LABEL;
    assert(l->rule != NULL);
    if (p->document)
        mark_suffix(labels, l, p);
    else
        l->rule->mark(labels, l, p);
    for (size_t i = 0; i < p->n; i++) {
        const bool ends = p->document && i + 1 == p->n; /* Qwen's end is its padding */
        if (labels[i] == l->image || labels[i] == l->video ||
            (labels[i] == l->padding && !ends))
            labels[i] = LVLM_IGNORE_LABEL;
    }
    if (p->document) labels[0] = LVLM_IGNORE_LABEL; /* nothing predicts it */
}
