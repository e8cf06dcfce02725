/* sign_rows.c - which rows of a stage are wrong: tokens, ids, images, tiles; see
 * signs.h. */
#include <inttypes.h>
#include <string.h>

#include "formats/base/strbuf.h"
#include "formats/base/text.h"
#include "runtime/batch/inputs.h"
#include "verify/cause/signs.h"

enum { NAMED = 4, TEXT = 1 << 12 };

/* A sentence that was built; the text is freed. */
static int say_built(const signs *g, lvlm_strbuf *text, lvlm_error *err)
{
    int rc = lvlm_strbuf_check(text, err);
    if (rc == 0) rc = SIGNS_SAY(g, err, "%s", text->text);
    lvlm_strbuf_free(text);
    return rc;
}

/* ---- rows of texts --------------------------------------------------------------- */

/* What is known of the tokens of all texts. */
typedef struct tokens {
    bool first_right; /* the first token of each is right */
    bool cut;         /* each is right up to a place and wrong from there on */
    size_t least_cut, most_cut; /* of those with a wrong row: that place */
    size_t n_texts;             /* with a wrong row */
} tokens;

static tokens look_at_tokens(const signs *g, size_t T)
{
    const cause_session *const s = g->s;
    tokens t = { .first_right = true, .cut = true, .least_cut = SIZE_MAX };
    for (size_t r = 0, next; r < s->R; r = next) {
        size_t first = SIZE_MAX;
        for (next = r; next < s->R && s->places[next] / T == s->places[r] / T; next++) {
            if (g->row[next] && first == SIZE_MAX) first = next;
            if (!g->row[next] && first != SIZE_MAX) t.cut = false;
        }
        if (g->row[r]) t.first_right = false;
        if (first == SIZE_MAX) continue;
        const size_t at = first - r;
        t.n_texts++;
        t.least_cut = at < t.least_cut ? at : t.least_cut;
        t.most_cut = at > t.most_cut ? at : t.most_cut;
    }
    return t;
}

static int say_tokens(signs *g, size_t T, lvlm_error *err)
{
    const tokens t = look_at_tokens(g, T);
    const bool block = lvlm_starts_with(g->s->stage->name, "text.blocks.");
    if (!t.first_right || t.n_texts == 0) return 0;
    g->s->only_relations = block;
    if (block && t.most_cut == 1)
        return SIGNS_SAY(
            g, err,
            "the first token of every text is right: what differs is which "
            "tokens look at which (queries, keys, positions), not values, output, "
            "MLP or norms");
    if (!block || !t.cut) return 0;
    if (t.least_cut == t.most_cut)
        return SIGNS_SAY(g, err,
                         "tokens before number %zu are right, and all from there on "
                         "wrong: compare that with lengths and windows, and with where "
                         "images are",
                         t.least_cut);
    return SIGNS_SAY(g, err,
                     "every text is right up to a token, number %zu to %zu, and wrong "
                     "from there on: it may be the first after an image",
                     t.least_cut, t.most_cut);
}

/* Are the wrong rows those of certain ids? */
static int say_ids(const signs *g, lvlm_error *err)
{
    const cause_session *const s = g->s;
    const lvlm_tensor *const ids = s->replay->recording.ids;
    lvlm_strbuf text = LVLM_STRBUF_INIT(TEXT);
    int64_t wrong[NAMED];
    size_t n = 0;
    for (size_t r = 0; r < s->R; r++) {
        const int64_t id = lvlm_input_integer(ids, s->places[r]);
        size_t k = 0;
        while (k < n && wrong[k] != id) k++;
        if (g->row[r] && k == n && n == NAMED) return 0; /* many */
        if (g->row[r] && k == n) wrong[n++] = id;
    }
    for (size_t r = 0; r < s->R; r++) /* a right row of one of them */
        for (size_t k = 0; k < n; k++)
            if (!g->row[r] && lvlm_input_integer(ids, s->places[r]) == wrong[k])
                return 0;
    lvlm_strbuf_puts(&text, "the rows that are wrong are those of id ");
    for (size_t k = 0; k < n; k++)
        lvlm_strbuf_printf(&text, "%s%" PRId64, k > 0 ? ", " : "", wrong[k]);
    lvlm_strbuf_puts(&text, ", all of them");
    return say_built(g, &text, err);
}

/* ---- rows of texts that are of images -------------------------------------------- */

/* Wrong rows and all rows: of words, and of each image. */
typedef struct shares {
    size_t wrong_words, words, wrong_rows, rows; /* the latter of images */
    size_t *wrong, *all;                         /* (n) of each image */
    size_t n, n_wrong, first;                    /* images, those with a wrong row */
} shares;

/* Count them; out->n 0: no row is of an image. */
static int share(shares *out, const signs *g, lvlm_inputs *in,
                 const lvlm_image_rows *rule, lvlm_error *err)
{
    cause_session *const s = g->s;
    size_t *const ends =
        lvlm_arena_alloc(&s->arena, 3 * in->images.n + 1, sizeof *ends);
    if (ends == NULL) return lvlm_fail_memory(err);
    out->n = in->images.n;
    out->wrong = ends + out->n;
    out->all = out->wrong + out->n;
    for (size_t i = 0; i < out->n; i++)
        ends[i] = lvlm_image_rows_count(rule, &in->images, 0, i + 1);
    for (size_t r = 0; r < s->R; r++) {
        const int64_t row = in->image_row[s->places[r]];
        size_t i = 0;
        while (row >= 0 && i < out->n && (size_t)row >= ends[i]) i++;
        if (row < 0 || i == out->n) {
            out->words++;
            out->wrong_words += g->row[r];
            continue;
        }
        out->rows++;
        out->wrong_rows += g->row[r];
        out->all[i]++;
        out->wrong[i] += g->row[r];
    }
    for (size_t i = out->n; i-- > 0;) {
        out->n_wrong += out->wrong[i] > 0;
        if (out->wrong[i] > 0) out->first = i;
    }
    return 0;
}

/* Are the wrong rows those of images, or of one image, or all others? */
static int say_shares(const signs *g, const shares *x, lvlm_error *err)
{
    if (x->rows == 0 || x->words == 0) return 0;
    if (x->wrong_rows == 0 && x->wrong_words == x->words)
        return SIGNS_SAY(g, err,
                         "the rows that are wrong are those of words, all of them: "
                         "those of images are right");
    if (x->wrong_words > 0) return 0;
    if (x->n_wrong == 1 && x->n > 1)
        return SIGNS_SAY(
            g, err,
            "the rows that are wrong are of image %zu of %zu (from 0): %zu "
            "of its %zu",
            x->first, x->n, x->wrong[x->first], x->all[x->first]);
    return SIGNS_SAY(g, err, "the rows that are wrong are of images: %zu of their %zu",
                     x->wrong_rows, x->rows);
}

static int say_images(const signs *g, lvlm_error *err)
{
    const cause_session *const s = g->s;
    const cJSON *const config = s->manifest->config;
    shares x = { .n = 0 };
    lvlm_input_spec spec;
    lvlm_inputs in;
    int rc = 0;
    if (lvlm_input_spec_read(&spec, config, NULL) < 0) return 0;
    const bool read = lvlm_inputs_read(&in, s->replay->recording.checkpoint,
                                       LVLM_RECORDED_INPUT, &spec, NULL, NULL) == 0;
    if (read && in.images.n > 0) rc = share(&x, g, &in, &spec.rows, err);
    lvlm_inputs_free(&in);
    return rc == 0 ? say_shares(g, &x, err) : rc;
}

/* ---- rows of images -------------------------------------------------------------- */

/* What the place of a compared row means. */
static lvlm_place place_of(const cause_session *s, size_t r)
{
    lvlm_place index, meaning;
    lvlm_place_of(&index, &meaning, &s->replay->places, s->stage->name, &s->stage->got,
                  s->places[r]);
    return meaning;
}

/* Along one axis of the places of rows: which indexes have wrong rows, and only wrong
 * ones? */
static int say_axis(const signs *g, size_t axis, lvlm_error *err)
{
    enum { MOST = 256 };
    const cause_session *const s = g->s;
    unsigned char seen[MOST] = { 0 }; /* 1: right rows, 2: wrong ones */
    const char *name = NULL;
    size_t n_wrong = 0, n_values = 0;
    for (size_t r = 0; r < s->R; r++) {
        const lvlm_place meaning = place_of(s, r);
        if (axis >= meaning.n || meaning.at[axis].index >= MOST) return 0;
        name = meaning.at[axis].axis;
        seen[meaning.at[axis].index] |= g->row[r] ? 2 : 1;
    }
    for (size_t i = 0; i < MOST; i++) {
        if (seen[i] == 3) return 0;
        n_values += seen[i] != 0;
        n_wrong += seen[i] == 2;
    }
    if (n_wrong == 0 || n_wrong == n_values || name == NULL) return 0;
    const bool most = n_values - n_wrong < n_wrong;
    if ((most ? n_values - n_wrong : n_wrong) > NAMED) return 0;
    lvlm_strbuf text = LVLM_STRBUF_INIT(TEXT);
    lvlm_strbuf_printf(&text, "the rows that are wrong are all%s with %s",
                       most ? " but those" : "", name);
    const char *between = " ";
    for (size_t i = 0; i < MOST; i++) {
        if (seen[i] != (most ? 1 : 2)) continue;
        lvlm_strbuf_printf(&text, "%s%zu", between, i);
        between = ", ";
    }
    return say_built(g, &text, err);
}

/* ---- rows of tiles and frames ---------------------------------------------------- */

enum { PARTS = 3, MOST_INDEX = 16, CELLS = MOST_INDEX * MOST_INDEX * MOST_INDEX };

/* The axes of a place that are larger than a row, at most PARTS. */
static size_t part_axes(size_t axes[PARTS], const lvlm_place *place)
{
    size_t n = 0;
    for (size_t i = 0; i < place->n && n < PARTS; i++)
        if (lvlm_is_listed("text|image|video|frame|tile", place->at[i].axis))
            axes[n++] = i;
    return n;
}

/* The cell of a row along those of `axes` that `set` has; CELLS: beyond. */
static size_t cell_of(const lvlm_place *place, const size_t *axes, size_t n, size_t set)
{
    size_t cell = 0;
    for (size_t i = 0; i < n; i++) {
        if ((set >> i & 1) == 0) continue;
        const uint64_t index = place->at[axes[i]].index;
        if (index >= MOST_INDEX) return CELLS;
        cell = cell * MOST_INDEX + (size_t)index;
    }
    return cell;
}

/* "tile 2 of image 1" */
static void put_cell(lvlm_strbuf *text, const lvlm_place *place, const size_t *axes,
                     size_t n, size_t set)
{
    const char *between = "";
    for (size_t i = n; i-- > 0;) {
        if ((set >> i & 1) == 0) continue;
        lvlm_strbuf_printf(text, "%s%s %" PRIu64, between, place->at[axes[i]].axis,
                           place->at[axes[i]].index);
        between = " of ";
    }
}

/* Are the wrong rows all of a few cells? */
static int say_cells(const signs *g, size_t set, bool *said, lvlm_error *err)
{
    const cause_session *const s = g->s;
    unsigned char seen[CELLS] = { 0 }; /* 1: right rows, 2: wrong ones, 4: named */
    lvlm_strbuf text = LVLM_STRBUF_INIT(TEXT);
    size_t axes[PARTS], n_wrong = 0, n_right = 0, n = 0;
    for (size_t r = 0; r < s->R; r++) {
        const lvlm_place place = place_of(s, r);
        n = part_axes(axes, &place);
        const size_t cell = cell_of(&place, axes, n, set);
        if (set >> n != 0 || cell == CELLS) return 0;
        seen[cell] |= g->row[r] ? 2 : 1;
    }
    for (size_t i = 0; i < CELLS; i++) {
        if (seen[i] == 3) return 0;
        n_wrong += seen[i] == 2;
        n_right += seen[i] == 1;
    }
    if (n_wrong == 0 || n_wrong > NAMED || n_right == 0) return 0;
    for (size_t r = 0, named = 0; r < s->R; r++) {
        const lvlm_place place = place_of(s, r);
        const size_t cell = cell_of(&place, axes, n, set);
        if (seen[cell] != 2) continue;
        seen[cell] = 4;
        lvlm_strbuf_puts(&text,
                         named++ == 0 ? "the rows that are wrong are all of " : ", ");
        put_cell(&text, &place, axes, n, set);
    }
    *said = true;
    return say_built(g, &text, err);
}

/* Of the fewest axes that tell them apart, of at least two. */
static int say_parts(const signs *g, lvlm_error *err)
{
    static const size_t sets[] = { 3, 5, 6, 7 };
    bool said = false;
    for (size_t i = 0; i < sizeof sets / sizeof *sets && !said; i++)
        TRY(say_cells(g, sets[i], &said, err));
    return 0;
}

/* Does a row of a tower with tiles fill up, after the patches or where no tile is? */
static bool is_padding(const cause_session *s, size_t r)
{
    const lvlm_places *const p = &s->replay->places;
    const lvlm_place place = place_of(s, r);
    const size_t grid = cause_count(s, "vision.grid");
    uint64_t at[4] = { 0 };
    for (size_t i = 0; i < place.n; i++)
        for (size_t k = 0; k < 4; k++)
            if (strcmp(place.at[i].axis,
                       (const char *[]){ "text", "image", "tile", "patch" }[k]) == 0)
                at[k] = place.at[i].index;
    const size_t image = (size_t)at[0] * p->images.per_text + (size_t)at[1];
    if (at[3] > grid * grid) return true;
    return image < p->images.n && p->images.live[image * p->tiles + (size_t)at[2]] == 0;
}

static int say_padding(const signs *g, lvlm_error *err)
{
    const cause_session *const s = g->s;
    const lvlm_places *const p = &s->replay->places;
    size_t wrong = 0, all = 0;
    if (p->form != LVLM_IMAGES_TILES || p->images.live == NULL ||
        !lvlm_starts_with(s->stage->name, "vision."))
        return 0;
    for (size_t r = 0; r < s->R; r++) {
        const bool padding = is_padding(s, r);
        all += padding;
        wrong += padding && g->row[r];
    }
    if (all == 0 || all == s->R) return 0;
    if (wrong == g->n_rows)
        return SIGNS_SAY(g, err,
                         "the rows that are wrong are padding (after the patches, or "
                         "where there is no tile): %zu of its %zu",
                         wrong, all);
    if (wrong == 0 && g->n_rows == s->R - all)
        return SIGNS_SAY(g, err,
                         "the rows that are wrong are all but padding (after the "
                         "patches, or where there is no tile)");
    return 0;
}

/* Every how many rows does the pattern of wrong ones repeat? 0: it does not. */
static size_t period(const signs *g)
{
    const size_t R = g->s->R;
    for (size_t p = 2; p <= R / 3; p++) {
        size_t r = p;
        while (r < R && g->row[r] == g->row[r - p]) r++;
        if (r == R) return p;
    }
    return 0;
}

int signs_say_rows(signs *g, lvlm_error *err)
{
    const cause_session *const s = g->s;
    const lvlm_tensor *const ids = s->stage->rows.ids;
    if (s->R < 2) return 0;
    TRY(SIGNS_SAY(
        g, err,
        g->n_rows == s->R ? "all %zu rows are wrong" : "%zu of %zu rows are wrong",
        g->n_rows, s->R));
    if (g->n_rows == s->R) return 0;
    if (ids != NULL) {
        TRY(say_tokens(g, (size_t)ids->shape.dims[1], err));
        const size_t n = s->out->n_signs;
        TRY(say_images(g, err));
        return s->out->n_signs > n ? 0 : say_ids(g, err);
    }
    const size_t before = s->out->n_signs;
    TRY(say_padding(g, err));
    for (size_t axis = 0; axis < 5; axis++) TRY(say_axis(g, axis, err));
    if (s->out->n_signs == before) TRY(say_parts(g, err));
    const size_t p = period(g);
    if (p == 0 || s->out->n_signs > before) return 0;
    return SIGNS_SAY(g, err, "which rows are wrong repeats every %zu rows", p);
}
