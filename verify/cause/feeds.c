/* feeds.c - which tensors a stage is computed from; see trial.h. */
#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "formats/base/json.h"
#include "formats/base/strbuf.h"
#include "formats/base/text.h"
#include "formats/container/numeric.h"
#include "verify/cause/trial.h"
#include "verify/replay/own.h"
#include "verify/replay/replay_parts.h"

enum { NAMED = 4, MOST_NAMES = 1 << 14, NAME_PART = 32 };

/* Stages and their tensors, both globs. A stage of a block has those below its name
 * besides. */
static const struct {
    const char *stage, *tensors;
} feeds[] = {
    { "vision.patches", "vision.patch.*" },
    { "vision.embed", "vision.class|vision.positions.*|vision.pre_tile.*|"
                      "vision.norm_pre.*" },
    { "vision.global_blocks.0", "vision.norm_post.*|vision.post_tile.*" },
    { "vision.out", "vision.norm.*" },
    { "connector.norm", "connector.norm.*" },
    { "connector.attn", "connector.kv.*|connector.queries|connector.positions.*|"
                        "connector.norm_q.*|connector.norm_kv.*|connector.attn.*" },
    { "connector.ln_post", "connector.norm_out.*" },
    { "connector.out", "connector.proj.*|connector.fc?.*" },
    { "text.embed", "text.embed.*" },
    { "text.norm", "text.norm.*" },
    { "logits", "text.head.*" },
};

bool cause_spans(const cause_session *s, const char *globs)
{
    for (size_t i = 0; i < s->n_span; i++)
        if (lvlm_matches_listed(globs, s->span[i])) return true;
    return false;
}

/* "connector.fc2.weight" of "connector.linear_2". */
static bool feeds_linear(const char *stage, const char *tensor)
{
    static const char linear[] = "connector.linear_", map[] = "connector.fc";
    return lvlm_starts_with(stage, linear) && lvlm_starts_with(tensor, map) &&
           stage[sizeof linear - 1] == tensor[sizeof map - 1];
}

/* Maps that have a stage of their own do not feed the last one. */
static bool has_own_stage(const char *const *stages, size_t n, const char *tensor)
{
    for (size_t i = 0; i < n; i++)
        if (feeds_linear(stages[i], tensor)) return true;
    return false;
}

/* Does the tensor feed the last of n stages? */
static bool feeds_last(const char *const *stages, size_t n, const char *tensor)
{
    const char *const stage = stages[n - 1];
    const size_t length = strlen(stage);
    if (strstr(stage, "blocks.") != NULL && strncmp(tensor, stage, length) == 0 &&
        tensor[length] == '.')
        return true;
    if (feeds_linear(stage, tensor)) return true;
    for (size_t i = 0; i < sizeof feeds / sizeof *feeds; i++)
        if (strcmp(feeds[i].stage, stage) == 0 &&
            lvlm_matches_listed(feeds[i].tensors, tensor))
            return !has_own_stage(stages, n - 1, tensor);
    return false;
}

const char *cause_stage_of(cause_session *s, const lvlm_target *t)
{
    const char *const blocks = strstr(t->name, "blocks.");
    const char *const end = blocks != NULL ? strchr(blocks + 7, '.') : NULL;
    if (end != NULL)
        return lvlm_arena_strndup(&s->arena, t->name, (size_t)(end - t->name));
    for (size_t i = 0; i < sizeof feeds / sizeof *feeds; i++)
        if (lvlm_matches_listed(feeds[i].tensors, t->name)) return feeds[i].stage;
    return NULL;
}

/* A head that is tied is the table of word vectors. */
static const lvlm_target *stored(const lvlm_manifest *m, const lvlm_target *t)
{
    if (t->state == LVLM_TARGET_TIED) t = lvlm_manifest_find(m, t->row->tied_to);
    return t != NULL && t->here.tensor != NULL ? t : NULL;
}

/* Tensors of the last of n stages. */
static void add_feeds(cause_session *s, const char *const *stages, size_t n)
{
    const lvlm_manifest *const m = s->manifest;
    for (size_t i = 0; i < m->n_targets && s->n_feeds < FEEDS; i++) {
        if (!feeds_last(stages, n, m->targets[i].name)) continue;
        const lvlm_target *const t = stored(m, &m->targets[i]);
        if (t != NULL) s->feeds[s->n_feeds++] = t;
    }
}

/* Does the stage read connector.out as it was recorded, and nothing before that? */
static bool images_are_given(const cause_session *s)
{
    const lvlm_replay_stage *const images =
        lvlm_replay_find(s->replay, "connector.out");
    return images != NULL && lvlm_is_givable(images) &&
           !lvlm_starts_with(s->stage->name, "vision.") &&
           !lvlm_starts_with(s->stage->name, "connector.");
}

void cause_find_feeds(cause_session *s, const char *const *stages, size_t n_stages)
{
    const char *const from = s->stage->share.from;
    size_t last = 0, first = 0;
    while (last < n_stages && strcmp(stages[last], s->stage->name) != 0) last++;
    assert(last < n_stages);
    for (size_t i = 0; i < last; i++)
        if (from != NULL && strcmp(stages[i], from) == 0) first = i + 1;
    if (from == NULL && s->stage->share.is_direct) first = last;
    if (from == NULL && images_are_given(s))
        while (first < last && !lvlm_starts_with(stages[first], "text.")) first++;
    s->span = stages + first;
    s->n_span = last + 1 - first;
    for (size_t i = first; i <= last; i++) add_feeds(s, stages, i + 1);
}

uint64_t cause_work(const cause_session *s)
{
    uint64_t work = 1;
    for (size_t i = 0; i < s->n_feeds; i++)
        work += lvlm_tensor_numel(s->feeds[i]->here.tensor) * (uint64_t)s->R;
    return work;
}

size_t cause_count(const cause_session *s, const char *path)
{
    uint64_t value = 0;
    (void)lvlm_json_u64(&value, lvlm_json_path(s->manifest->config, path));
    return (size_t)value;
}

size_t cause_head_dim(const cause_session *s, const lvlm_target *t)
{
    if (lvlm_starts_with(t->name, "text.")) return cause_count(s, "text.head_dim");
    const bool vision = lvlm_starts_with(t->name, "vision.");
    const size_t width = cause_count(s, vision ? "vision.hidden" : "connector.hidden");
    const size_t heads = cause_count(s, vision ? "vision.heads" : "connector.heads");
    return heads > 0 ? width / heads : 0;
}

const lvlm_target *cause_bias(const cause_session *s, const lvlm_target *weight)
{
    enum { NAME = 256 };
    char name[NAME];
    const size_t n = strlen(weight->name) - strlen(".weight");
    if (!lvlm_ends_with(weight->name, ".weight") || n + sizeof ".bias" > NAME)
        return NULL;
    (void)snprintf(name, sizeof name, "%.*s.bias", (int)n, weight->name);
    const lvlm_target *const t = lvlm_manifest_find(s->manifest, name);
    return t != NULL && t->here.tensor != NULL ? t : NULL;
}

/* How much of two names is the same, up to a dot. */
static size_t same_start(const char *a, const char *b)
{
    size_t n = 0;
    for (size_t i = 0; a[i] != '\0' && a[i] == b[i]; i++)
        if (a[i] == '.') n = i + 1;
    return n;
}

double cause_value(const lvlm_tensor *t, uint64_t at)
{
    double x;
    lvlm_convert_values(&x, LVLM_F64, t->data + at * lvlm_dtype_bytes(t->dtype),
                        t->dtype, 1);
    return x;
}

bool cause_has(const lvlm_target *const *list, size_t n, const lvlm_target *t)
{
    for (size_t i = 0; i < n; i++)
        if (list[i] == t) return true;
    return false;
}

const char *cause_name(const lvlm_target *t)
{
    return t->source_name != NULL ? t->source_name : t->name;
}

/* " (q)": which part of the source it is, if that has several; else "". */
static const char *part_of(char text[NAME_PART], const lvlm_target *t)
{
    const char *const end = strrchr(t->name, '.');
    const char *from = end;
    *text = '\0';
    if (t->source_name == NULL || t->hf.transform.select == 0 || end == NULL)
        return text;
    while (from > t->name && from[-1] != '.') from--;
    (void)snprintf(text, NAME_PART, " (%.*s)", (int)(end - from), from);
    return text;
}

const char *cause_names(cause_session *s, const lvlm_target *const *list, size_t n)
{
    lvlm_strbuf text = LVLM_STRBUF_INIT(MOST_NAMES);
    const char *first = NULL;
    size_t named = 0, left = 0;
    for (size_t i = 0; i < n; i++) {
        const char *const name = cause_name(list[i]);
        char part[NAME_PART];
        if (named == NAMED) {
            left++;
            continue;
        }
        lvlm_strbuf_printf(&text, "%s%s%s", named++ > 0 ? ", " : "",
                           first == NULL ? name : name + same_start(first, name),
                           part_of(part, list[i]));
        if (first == NULL) first = name;
    }
    if (left > 0) lvlm_strbuf_printf(&text, " and %zu more", left);
    char *const kept =
        text.failed ? NULL : lvlm_arena_strndup(&s->arena, text.text, text.length);
    lvlm_strbuf_free(&text);
    return kept;
}
