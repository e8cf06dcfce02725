/* compose_draw.c - three cards, from left to right as a picture goes through the model,
 * and a strip of the text below them; see compose_draw.h.
 *
 *   title
 *   +--------------+    +--------------+    +----------------+
 *   | VISION TOWER |    | CONNECTOR    |    | LANGUAGE MODEL |
 *   | states [][x] |--->| | fc1        |--->| | embedding    |
 *   | files        |    | | fc2        |    | | blocks, head |
 *   +--------------+    +--------------+    +----------------+
 *   the text [ ][ ][x][x][x][x][ ][ ]
 *   legend: copied, made, not stored
 *
 * A card is drawn twice: the first time only to see how high it is. */
#include "convert/compose/compose_draw.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "convert/compose/compose_canvas.h"
#include "formats/base/json.h"
#include "formats/base/text.h"

/* In units of the view box. */
enum {
    WIDTH = 1240,
    MARGIN = 36,
    CARD = 344, /* the width of one */
    GAP = 68,
    PAD = 20,
    TOP = 132,      /* of the cards */
    MOST_FILES = 3, /* of a part, with their digests */
    MOST_CELLS = 17,
};

/* ---- what is copied and what is made --------------------------------------------- */

typedef struct amounts {
    uint64_t copied, made; /* values */
} amounts;

static uint64_t grown_values(const compose_canvas *d, const lvlm_target *t)
{
    const lvlm_compose_parts *const parts = &d->c->parts;
    for (size_t i = 0; i < parts->n_growths; i++)
        if (t->here.tensor != NULL &&
            strcmp(parts->growths[i].table->name, t->here.tensor->name) == 0)
            return (t->shape.dims[0] - parts->growths[i].table->shape.dims[0]) *
                   t->shape.dims[1];
    return 0;
}

static amounts amounts_of(const compose_canvas *d, const char *prefix)
{
    amounts sum = { 0, 0 };
    for (size_t i = 0; i < d->m->n_targets; i++) {
        const lvlm_target *const t = &d->m->targets[i];
        uint64_t n = 0;
        if (!lvlm_starts_with(t->name, prefix) || !lvlm_target_is_stored(t)) continue;
        (void)lvlm_shape_numel(&n, &t->shape);
        const uint64_t made = t->state == LVLM_TARGET_MADE ? n : grown_values(d, t);
        sum.made += made;
        sum.copied += n - made;
    }
    return sum;
}

static void put_amounts(compose_canvas *d, const char *prefix)
{
    const amounts sum = amounts_of(d, prefix);
    char a[32], b[32];
    if (sum.copied > 0)
        compose_put_line(d, "copied how", 20, "%s values copied",
                         compose_grouped(a, sum.copied));
    if (sum.made > 0)
        compose_put_line(d, "made how", 20, "%s values made",
                         compose_grouped(b, sum.made));
}

/* How a tensor came to be, for the eye and in words. */
static const char *origin_class(const lvlm_target *t)
{
    return t->state == LVLM_TARGET_MADE ? "made"
           : t->state == LVLM_TARGET_TIED || t->state == LVLM_TARGET_IDENTITY
               ? "tied"
               : "copied";
}

static const char *origin_words(const compose_canvas *d, const lvlm_target *t)
{
    for (size_t i = 0; i < d->ledger->n_made; i++)
        if (strcmp(d->ledger->made[i].target, t->name) == 0)
            return d->ledger->made[i].how;
    return t->state == LVLM_TARGET_TIED       ? "shared with the embedding"
           : t->state == LVLM_TARGET_IDENTITY ? "the identity, not stored"
                                              : NULL;
}

static void put_tensor(compose_canvas *d, const lvlm_target *t, const char *equation)
{
    static const char suffix[] = ".weight";
    char shape[LVLM_SHAPE_TEXT];
    const char *const how = origin_words(d, t);
    const uint64_t grown = grown_values(d, t);
    compose_box b = { .equation = equation, .origin = origin_class(t) };
    const size_t n = strlen(t->name) - strlen(suffix);
    assert(lvlm_ends_with(t->name, suffix));
    snprintf(b.name, sizeof b.name, "%.*s %s", (int)n, t->name,
             lvlm_shape_text(shape, &t->shape));
    snprintf(b.how, sizeof b.how, "%s%s", t->state == LVLM_TARGET_MADE ? "made: " : "",
             how != NULL ? how : "copied");
    if (grown > 0)
        snprintf(b.more, sizeof b.more, "%" PRIu64 " rows made",
                 grown / t->shape.dims[1]);
    compose_put_box(d, &b);
}

/* Every projection whose name begins so, in order, with its equation. */
static void put_projections(compose_canvas *d, const char *prefix)
{
    const lvlm_projection *row = d->m->family->projections;
    for (; row->role != NULL; row++) {
        const lvlm_target *const t = lvlm_manifest_projection(d->m, row);
        if (t != NULL && lvlm_starts_with(row->native, prefix))
            put_tensor(d, t, row->equation);
    }
}

/* ---- cards ----------------------------------------------------------------------- */

static uint64_t count(const compose_canvas *d, const char *path)
{
    return lvlm_json_whole(d->m->config, path);
}

static const char *word(const compose_canvas *d, const char *path)
{
    static const struct {
        const char *word, *shown;
    } names[] = {
        { "clip", "CLIP" },   { "siglip", "SigLIP" }, { "llama", "Llama" },
        { "qwen2", "Qwen2" }, { "gemma", "Gemma" },   { "gemma2", "Gemma 2" },
    };
    const char *const said = lvlm_json_string(lvlm_json_path(d->m->config, path));
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (said != NULL && strcmp(names[i].word, said) == 0) return names[i].shown;
    return said != NULL ? said : "";
}

/* Where a part is from, and the digests of its files. */
static void put_source(compose_canvas *d, const lvlm_compose_part *part)
{
    if (part->from == NULL) return;
    d->y += 14;
    PUT("<line class=\"rule\" x1=\"%d\" x2=\"%d\" y1=\"%d\" y2=\"%d\"/>\n", d->x,
        d->x + COMPOSE_INNER, d->y, d->y);
    d->y += 2;
    compose_put_path(d, part->from->path);
    const size_t n = part->from->n_files;
    for (size_t i = 0; i < n && i < MOST_FILES; i++) {
        compose_put_line(d, "text", 19, "%.44s, SHA-256", part->from->files[i].name);
        compose_put_line(d, "mono", 15, "%.32s", part->digests[i]);
        compose_put_line(d, "mono", 13, "%s", part->digests[i] + 32);
    }
    if (n > MOST_FILES) compose_put_line(d, "text", 19, "and %zu more", n - MOST_FILES);
}

/* One cell for each state, those that are the features filled. */
static void put_states(compose_canvas *d)
{
    const uint64_t n = d->c->parts.sizes.blocks + 1;
    const cJSON *const select = lvlm_json_path(d->m->config, "vision.select"), *item;
    const double wide = (double)COMPOSE_INNER / (double)n;
    compose_put_line(d, "text", 24,
                     "states 0 to %" PRIu64 ", one after each block:", n - 1);
    d->y += 8;
    for (uint64_t i = 0; i < n; i++) {
        bool taken = false;
        uint64_t at;
        LVLM_JSON_ITEMS (item, select) taken |= lvlm_json_u64(&at, item) && at == i;
        const double x = d->x + wide * (double)i;
        PUT("<rect class=\"%s\" x=\"%.1f\" y=\"%d\" width=\"%.1f\" height=\"26\" "
            "rx=\"2\"/>\n",
            taken ? "taken" : "cell", x + 1, d->y, wide > 4 ? wide - 2 : wide * 0.6);
        if (wide >= 22)
            PUT("<text class=\"%s\" x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">%" PRIu64
                "</text>\n",
                taken ? "on" : "text", x + wide / 2, d->y + 18, i);
    }
    d->y += 26;
}

static void put_tower(compose_canvas *d)
{
    const lvlm_compose_sizes *const s = &d->c->parts.sizes;
    const uint64_t grid = count(d, "vision.grid");
    const char *const rows = d->c->spec.rows;
    compose_put_line(d, "part", 0, "VISION TOWER");
    compose_put_line(d, "kind", 28, "%s", word(d, "vision.tower"));
    compose_put_line(d, "text", 22, "%" PRIu64 " blocks of width %" PRIu64, s->blocks,
                     s->width);
    compose_put_line(d, "text", 18,
                     "pictures of %" PRIu64 "\u00d7%" PRIu64
                     " pixels, patches of %" PRIu64 "\u00d7%" PRIu64,
                     count(d, "vision.image"), count(d, "vision.image"), s->patch,
                     s->patch);
    compose_put_line(d, "text", 18, "%" PRIu64 "\u00d7%" PRIu64 " patches%s", grid,
                     grid, s->has_class_row ? " and a class row" : "");
    put_states(d);
    compose_put_line(d, "strong", 22, "%s%s",
                     d->c->spec.n_layers > 1 ? "those filled are taken, side by side"
                                             : "the filled one is taken",
                     !s->has_class_row              ? ", all rows"
                     : strcmp(rows, "patches") == 0 ? ", without class row"
                                                    : ", with its class row");
    put_amounts(d, "vision.");
    put_source(d, &d->c->parts.vision);
}

static void put_connector_kind(compose_canvas *d)
{
    const lvlm_compose_spec *const spec = &d->c->spec;
    if (strcmp(spec->kind, "linear") == 0)
        compose_put_line(d, "kind", 28, "One linear map");
    else if (strcmp(spec->kind, "merger") == 0)
        compose_put_line(d, "kind", 28,
                         "Merger of %" PRIu64 "\u00d7%" PRIu64 " patches", spec->merge,
                         spec->merge);
    else if (strcmp(spec->kind, "resampler") == 0)
        compose_put_line(d, "kind", 28, "Resampler, %" PRIu64 " queries",
                         spec->queries);
    else
        compose_put_line(d, "kind", 28, "MLP of %" PRIu64 " maps", spec->n_maps);
    if (strcmp(spec->kind, "mlp") == 0 || strcmp(spec->kind, "merger") == 0)
        compose_put_line(d, "text", 22, "act = %s", spec->activation);
    else if (strcmp(spec->kind, "resampler") == 0)
        compose_put_line(d, "text", 22,
                         "%" PRIu64 " heads; queries and their table of places",
                         spec->heads);
}

static void put_connector(compose_canvas *d)
{
    compose_put_line(d, "part", 0, "CONNECTOR");
    put_connector_kind(d);
    put_amounts(d, "connector.");
    put_projections(d, "connector.");
    put_source(d, &d->c->parts.connector);
}

static void put_blocks(compose_canvas *d)
{
    const uint64_t n = count(d, "text.layers");
    const amounts sum = amounts_of(d, "text.blocks.");
    char number[32];
    compose_box b = { .equation = "attention to what is before, then an MLP",
                      .origin = "copied" };
    snprintf(b.name, sizeof b.name, "text.blocks.0 to %" PRIu64, n - 1);
    snprintf(b.how, sizeof b.how, "copied: %s values",
             compose_grouped(number, sum.copied));
    compose_put_box(d, &b);
}

static void put_language_model(compose_canvas *d)
{
    const lvlm_target *const table = lvlm_manifest_find(d->m, LVLM_EMBED_TABLE);
    assert(table != NULL);
    compose_put_line(d, "part", 0, "LANGUAGE MODEL");
    compose_put_line(d, "kind", 28, "%s", word(d, "text.decoder"));
    compose_put_line(d, "text", 22, "%" PRIu64 " blocks of width %" PRIu64,
                     count(d, "text.layers"), count(d, "text.hidden"));
    compose_put_line(d, "text", 18, "%s is token %" PRIu64 "%s", d->c->spec.image_text,
                     d->c->parts.image_id,
                     d->c->parts.adds_token ? ", which is new" : "");
    put_amounts(d, "text.");
    put_tensor(d, table, "x[t] = E[token t]; rows of the image token are z instead");
    put_blocks(d);
    put_projections(d, "text.");
    put_source(d, &d->c->parts.text);
}

typedef void (*put_card)(compose_canvas *d);
static const put_card cards[] = { put_tower, put_connector, put_language_model };

static int card_left(size_t i)
{
    return MARGIN + (int)i * (CARD + GAP);
}

/* The lowest end of the cards. */
static int measure(const compose_canvas *d)
{
    int bottom = 0;
    for (size_t i = 0; i < 3; i++) {
        lvlm_strbuf nowhere = LVLM_STRBUF_INIT(COMPOSE_SVG);
        compose_canvas card = *d;
        card.out = &nowhere;
        card.x = card_left(i) + PAD;
        card.y = TOP + 30;
        cards[i](&card);
        lvlm_strbuf_free(&nowhere);
        if (card.y + PAD > bottom) bottom = card.y + PAD;
    }
    return bottom;
}

static void put_cards(const compose_canvas *d, int bottom)
{
    for (size_t i = 0; i < 3; i++) {
        compose_canvas card = *d;
        card.x = card_left(i) + PAD;
        card.y = TOP + 30;
        PUT("<rect class=\"card\" x=\"%d\" y=\"%d\" width=\"%d\" height=\"%d\" "
            "rx=\"10\"/>\n",
            card_left(i), TOP, CARD, bottom - TOP);
        cards[i](&card);
    }
}

/* ---- between and below the cards ------------------------------------------------- */

/* From card i to the next one: what goes there, rows of a width. */
static void put_arrow(const compose_canvas *d, size_t i, const char *name,
                      uint64_t rows, uint64_t width)
{
    const int x = card_left(i) + CARD, y = TOP + 64, middle = x + GAP / 2;
    PUT("<path class=\"arrow\" d=\"M%d %dH%d\"/><path class=\"head\" "
        "d=\"M%d %dl-11 -6v12z\"/>\n",
        x + 6, y, x + GAP - 14, x + GAP - 4, y);
    PUT("<text class=\"name\" x=\"%d\" y=\"%d\" text-anchor=\"middle\">%s</text>\n",
        middle - 3, y - 12, name);
    PUT("<text x=\"%d\" y=\"%d\" text-anchor=\"middle\">%" PRIu64 " rows</text>\n",
        middle - 3, y + 22, rows);
    PUT("<text x=\"%d\" y=\"%d\" text-anchor=\"middle\">of %" PRIu64 "</text>\n",
        middle - 3, y + 38, width);
}

/* Rows of the text: words, then those of a picture, then words. */
static void put_strip(const compose_canvas *d, int y)
{
    enum { CELL = 34, WORDS = 3 };
    const uint64_t rows = lvlm_compose_image_rows(&d->c->parts, &d->c->spec);
    const int shown = rows > MOST_CELLS ? MOST_CELLS : (int)rows;
    int x = MARGIN;
    compose_put_span(d, "strong", x, y + 22, "The text", strlen("The text"));
    x += 84;
    for (int i = 0; i < shown + 2 * WORDS; i++, x += CELL) {
        const bool image = i >= WORDS && i < WORDS + shown;
        const bool cut = image && rows > MOST_CELLS && i == WORDS + shown / 2;
        PUT("<rect class=\"%s\" x=\"%d\" y=\"%d\" width=\"%d\" height=\"%d\" "
            "rx=\"3\"/>\n",
            image && !cut ? "taken" : "cell", x, y, CELL - 4, CELL - 4);
        PUT("<text class=\"%s\" x=\"%d\" y=\"%d\" text-anchor=\"middle\">%s</text>\n",
            image && !cut ? "on" : "text", x + CELL / 2 - 2, y + 20,
            cut     ? "\u2026"
            : image ? "z"
                    : "x");
    }
    PUT("<text x=\"%d\" y=\"%d\">x: words, z: the %" PRIu64 " rows of a picture"
        "</text>\n",
        x + 12, y + 20, rows);
}

static void put_legend(const compose_canvas *d, int y)
{
    static const struct {
        const char *class, *text;
        int width;
    } entries[] = {
        { "copied", "copied from the part", 190 },
        { "made", "made: to be trained", 184 },
        { "tied", "shared, or the identity: not stored", 282 },
        { "taken", "states that are taken, rows of a picture", 314 },
    };
    int x = MARGIN;
    for (size_t i = 0; i < sizeof entries / sizeof *entries; i++) {
        PUT("<rect class=\"%s\" x=\"%d\" y=\"%d\" width=\"14\" height=\"14\" "
            "rx=\"3\"/>\n",
            entries[i].class, x, y);
        compose_put_span(d, "text", x + 22, y + 12, entries[i].text,
                         strlen(entries[i].text));
        x += entries[i].width;
    }
    PUT("<text x=\"%d\" y=\"%d\">matrices W are [out, in]</text>\n", x, y + 12);
}

/* ---- in words -------------------------------------------------------------------- */

static void describe(const compose_canvas *d)
{
    const lvlm_projection *row = d->m->family->projections;
    PUT("<desc id=\"words\">The features of a %s tower of %" PRIu64
        " blocks go through a connector (",
        word(d, "vision.tower"), d->c->parts.sizes.blocks);
    compose_put_text(d, d->c->spec.kind, strlen(d->c->spec.kind));
    PUT(") to the rows of the image token of a %s. ", word(d, "text.decoder"));
    for (; row->role != NULL; row++) {
        char shape[LVLM_SHAPE_TEXT];
        const lvlm_target *const t = lvlm_manifest_projection(d->m, row);
        if (t == NULL) continue;
        const char *const how = origin_words(d, t);
        PUT("%s %s: ", row->native, lvlm_shape_text(shape, &t->shape));
        compose_put_text(d, how != NULL ? how : "copied", COMPOSE_TEXT - 1);
        PUT(". ");
    }
    PUT("</desc>\n");
}

/* ---- all of it ------------------------------------------------------------------- */

static void put_all(const compose_canvas *d)
{
    const lvlm_compose_parts *const parts = &d->c->parts;
    const amounts sum = amounts_of(d, "");
    const uint64_t rows = lvlm_compose_image_rows(parts, &d->c->spec);
    const uint64_t features =
        count(d, "vision.rows") > 0 && strcmp(d->c->spec.rows, "all") == 0
            ? count(d, "vision.rows")
            : count(d, "vision.grid") * count(d, "vision.grid");
    const int bottom = measure(d), height = bottom + 148;
    char copied[32], made[32];
    compose_canvas top = *d;
    PUT("<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" width=\"%d\" "
        "height=\"%d\" role=\"img\" aria-labelledby=\"name words\">\n"
        "<title id=\"name\">",
        WIDTH, height, WIDTH, height);
    compose_put_text(d, d->c->spec.path, COMPOSE_TEXT - 1);
    PUT(", a composed model</title>\n");
    describe(d);
    PUT("%s<rect class=\"page\" width=\"%d\" height=\"%d\"/>\n", compose_style, WIDTH,
        height);
    top.x = MARGIN;
    top.y = 0;
    compose_put_line(&top, "title", 58, "%s + %s", word(d, "vision.tower"),
                     word(d, "text.decoder"));
    compose_put_line(
        &top, "text", 32, "%s: %s values, %s copied, %s made", d->c->spec.path,
        compose_grouped((char[32]){ 0 }, sum.copied + sum.made),
        compose_grouped(copied, sum.copied), compose_grouped(made, sum.made));
    put_cards(d, bottom);
    put_arrow(d, 0, "h", features, count(d, "vision.out"));
    put_arrow(d, 1, "z", rows, count(d, "text.hidden"));
    put_strip(d, bottom + 30);
    put_legend(d, bottom + 100);
    PUT("</svg>\n");
}

int lvlm_compose_draw(lvlm_outfile *file, const lvlm_compose *compose, lvlm_error *err)
{
    lvlm_strbuf out = LVLM_STRBUF_INIT(COMPOSE_SVG);
    assert(compose->import != NULL);
    const lvlm_import_view planned = lvlm_import_planned(compose->import);
    const compose_canvas d = {
        .out = &out, .c = compose, .m = planned.manifest, .ledger = planned.ledger
    };
    put_all(&d);
    const int rc = lvlm_strbuf_check(&out, err);
    lvlm_outfile_write(file, out.text, rc == 0 ? out.length : 0);
    lvlm_strbuf_free(&out);
    return rc;
}
