/* prompt_places.c - places that are found, filled and expanded; see prompt_places.h. */
#include "runtime/prepare/prompt/prompt_places.h"

#include <assert.h>
#include <string.h>

/* Of a prompt: more than any model supports. */
enum { MAX_TOKENS = 1 << 26 };

int prompt_places_find(size_t **places, size_t *n, lvlm_prompt *prompt, int64_t token,
                       lvlm_error *err)
{
    size_t most = 1;
    for (size_t i = 0; i < prompt->n; i++) most += prompt->ids[i] == token;
    *n = 0;
    *places = lvlm_arena_alloc(&prompt->arena, most, sizeof **places);
    if (*places == NULL) return lvlm_fail_memory(err);
    for (size_t i = 0; i < prompt->n; i++)
        if (prompt->ids[i] == token) (*places)[(*n)++] = i;
    return 0;
}

/* ---- more or fewer tokens ------------------------------------------------------- */

/* A place, and how many tokens it is to have. */
typedef struct change {
    size_t *place;
    size_t now;
} change;

static int check_length(const lvlm_prompt *out, const change *changes, size_t n_changes,
                        size_t old, size_t *n, lvlm_error *err)
{
    *n = out->n;
    for (size_t i = 0; i < n_changes; i++) {
        FAIL_IF(changes[i].now > MAX_TOKENS || *n > MAX_TOKENS, err, LVLM_EFORMAT,
                "a prompt of over %d tokens", MAX_TOKENS);
        *n = *n - old + changes[i].now;
    }
    return 0;
}

/* Change the number of tokens at the places, which are in order, from `old`: truncate,
 * or repeat the last one. Spans move along. */
static int resize(lvlm_prompt *out, const change *changes, size_t n_changes, size_t old,
                  lvlm_error *err)
{
    size_t n, from = 0, to = 0, span = 0;
    TRY(check_length(out, changes, n_changes, old, &n, err));
    int64_t *const ids = lvlm_arena_alloc(&out->arena, n + 1, sizeof *ids);
    if (ids == NULL) return lvlm_fail_memory(err);
    assert(old > 0);
    for (size_t i = 0; i <= n_changes; i++) {
        const size_t place = i < n_changes ? *changes[i].place : out->n;
        for (; span < out->n_spans && out->spans[span].end <= place; span++) {
            out->spans[span].end += to - from;
            if (span + 1 < out->n_spans)
                out->spans[span + 1].first = out->spans[span].end;
        }
        assert(place >= from && place + (i < n_changes ? old : 0) <= out->n);
        memcpy(ids + to, out->ids + from, (place - from) * sizeof *ids);
        to += place - from;
        from = place;
        if (i == n_changes) break;
        *changes[i].place = to;
        for (size_t j = 0; j < changes[i].now; j++)
            ids[to++] = out->ids[from + (j < old ? j : old - 1)];
        from += old;
    }
    out->ids = ids;
    out->n = n;
    return 0;
}

int prompt_places_cut(lvlm_prompt *prompt, size_t old, size_t now, lvlm_error *err)
{
    change *const all =
        lvlm_arena_alloc(&prompt->arena, prompt->n_images + 1, sizeof *all);
    if (all == NULL) return lvlm_fail_memory(err);
    for (size_t i = 0; i < prompt->n_images; i++)
        all[i] = (change){ &prompt->places[i], now };
    return resize(prompt, all, prompt->n_images, old, err);
}

int lvlm_prompt_expand(lvlm_prompt *prompt, const size_t *rows,
                       const size_t *video_rows, lvlm_error *err)
{
    const size_t n = prompt->n_images + prompt->n_videos;
    size_t i = 0, v = 0;
    assert(rows != NULL || prompt->n_images == 0);
    assert(video_rows != NULL || prompt->n_videos == 0);
    if (!prompt->form.expands || n == 0) return 0;
    change *const all = lvlm_arena_alloc(&prompt->arena, n, sizeof *all);
    if (all == NULL) return lvlm_fail_memory(err);
    while (i + v < n) {
        const bool video =
            i == prompt->n_images ||
            (v < prompt->n_videos && prompt->video_places[v] < prompt->places[i]);
        change *const next = &all[i + v];
        *next = video ? (change){ &prompt->video_places[v], video_rows[v] }
                      : (change){ &prompt->places[i], rows[i] };
        if (video)
            v++;
        else
            i++;
    }
    return resize(prompt, all, n, 1, err);
}

/* ---- videos --------------------------------------------------------------------- */

/* The videos that come with the messages, in order. */
static size_t given_videos(const lvlm_clip **out, const lvlm_messages *m)
{
    size_t n = 0;
    for (size_t i = 0; i < m->n_unplaced_videos; i++, n++)
        if (out != NULL) out[n] = m->unplaced_videos[i];
    for (size_t i = 0; i < m->n; i++)
        for (size_t j = 0; j < m->at[i].n_parts; j++) {
            if (m->at[i].parts[j].video == NULL) continue;
            if (out != NULL) out[n] = m->at[i].parts[j].video;
            n++;
        }
    return n;
}

int prompt_videos_check(const lvlm_messages *messages, const lvlm_prompt_form *form,
                        const prompt_style *style, lvlm_error *err)
{
    FAIL_IF(form->video_token < 0 && given_videos(NULL, messages) > 0, err,
            LVLM_EFORMAT, "a video is given: %s takes none", style->name);
    return 0;
}

int prompt_videos_name(lvlm_prompt *out, const lvlm_messages *messages,
                       const prompt_style *style, lvlm_error *err)
{
    const size_t n = given_videos(NULL, messages);
    FAIL_IF(n != out->n_videos, err, LVLM_EFORMAT,
            "videos: the text has %zu places (%s), %zu are given", out->n_videos,
            style->video_place != NULL ? style->video_place : "none", n);
    out->videos = lvlm_arena_alloc(&out->arena, n + 1, sizeof *out->videos);
    if (out->videos == NULL) return lvlm_fail_memory(err);
    (void)given_videos(out->videos, messages);
    for (size_t i = 0; i < n; i++) {
        out->videos[i] = lvlm_clip_copy(out->videos[i], &out->arena);
        if (out->videos[i] == NULL) return lvlm_fail_memory(err);
        FAIL_IF(out->videos[i]->n_files == 0, err, LVLM_EFORMAT,
                "videos: number %zu names no frames", i + 1);
    }
    return 0;
}
