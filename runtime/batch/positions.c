/* positions.c - positions on three axes; see positions.h. */
#include "runtime/batch/positions.h"

#include <assert.h>
#include <inttypes.h>
#include <math.h>

/* How far the pass over the packed rows is. */
typedef struct cursor {
    lvlm_packing *p;
    const lvlm_inputs *in;
    const lvlm_input_spec *spec;
    const lvlm_position_rules *rules;
    int64_t first_video_row;       /* of the connector */
    size_t next_image, next_video; /* grids that no run has taken yet */
} cursor;

static int64_t at_least(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

/* A value of the computation, rounded to f32 where that is what it runs in. */
static double rounded(const cursor *w, double x)
{
    return w->rules->in_double ? x : (double)(float)x;
}

/* Steps from the first frame of the grid that was taken last to frame number `frame`:
 * the reference's products in its order. */
static double time_of(const cursor *w, bool video, size_t frame)
{
    const double rate = rounded(w, w->rules->tokens_per_second), count = (double)frame;
    if (rate == 0) return count;
    if (!video) return w->rules->image_time_scaled ? rounded(w, count * rate) : count;
    const size_t first_video = w->in->images.n - w->in->images.n_videos;
    const double seconds =
        rounded(w, w->in->images.seconds[w->next_video - 1 - first_video]);
    const double since =
        rounded(w, count * (w->rules->truncated ? trunc(seconds) : seconds));
    return rounded(w, since * rate);
}

/* Position of row number i of a grid that starts at `start`; false: a time that is not
 * a position. */
static bool place(int64_t at[3], const cursor *w, const lvlm_grid *g, size_t i,
                  int64_t start, bool video)
{
    const bool odd = video ? w->rules->collapsed : w->rules->image_time_scaled;
    const double steps = time_of(w, video, odd ? 1 : i / (g->h * g->w));
    if (!(steps >= 0 && steps < LVLM_MAX_POSITIONS)) return false;
    at[0] = odd ? start * (int64_t)steps : start + (int64_t)steps;
    at[1] = start + (int64_t)(i / g->w % g->h);
    at[2] = start + (int64_t)(i % g->w);
    if (video && w->rules->collapsed) at[1] = start + (int64_t)(i / (g->w * g->t));
    return true;
}

static int refuse_position(const cursor *w, size_t n, lvlm_error *err)
{
    return lvlm_fail(
        err, LVLM_EFORMAT,
        "input_ids[%zu, %zu]: its position would be beyond %d, where float "
        "does not tell one from the next%s",
        w->p->cell[n] / w->p->T, w->p->cell[n] % w->p->T, LVLM_MAX_POSITIONS - 1,
        w->in->images.n_videos > 0 ? "; see second_per_grid_ts" : "");
}

/* Rows [n, n + grid) of the next image or video; text continues at the new *start. */
static int take_grid(int64_t *start, cursor *w, size_t *n, size_t end, bool video,
                     lvlm_error *err)
{
    size_t *const next = video ? &w->next_video : &w->next_image;
    const lvlm_images *images = &w->in->images;
    assert(*next < images->n && *n < end && end <= w->p->N);
    const lvlm_grid *g = &images->grids[(*next)++];
    const lvlm_grid of_rows = lvlm_image_rows_grid(&w->spec->rows, g);
    const size_t rows = of_rows.t * of_rows.h * of_rows.w, N = w->p->N;
    int64_t most = *start;
    FAIL_IF(rows > end - *n, err, LVLM_EFORMAT,
            "input_ids[%zu, %zu]: the text ends after %zu of the %zu places that "
            "the grid %zu x %zu x %zu has",
            w->p->cell[*n] / w->p->T, w->p->cell[*n] % w->p->T, end - *n, rows, g->t,
            g->h, g->w);
    for (size_t i = 0; i < rows; i++, ++*n) {
        int64_t at[3];
        FAIL_IF(w->p->image_row[*n] < 0, err, LVLM_EFORMAT,
                "input_ids[%zu, %zu]: expected place %zu of the %zu that the grid "
                "%zu x %zu x %zu has",
                w->p->cell[*n] / w->p->T, w->p->cell[*n] % w->p->T, i, rows, g->t, g->h,
                g->w);
        if (!place(at, w, &of_rows, i, *start, video))
            return refuse_position(w, *n, err);
        for (size_t axis = 0; axis < 3; axis++) {
            if (at[axis] >= LVLM_MAX_POSITIONS) return refuse_position(w, *n, err);
            w->p->positions[axis * N + *n] = at[axis];
            most = at_least(most, at[axis]);
        }
    }
    const size_t side = of_rows.h > of_rows.w ? of_rows.h : of_rows.w;
    *start = w->rules->overlaps ? *start + (int64_t)side : most + 1;
    return 0;
}

/* Rows [n, end) of one text. */
static int place_text(cursor *w, size_t n, size_t end, lvlm_error *err)
{
    int64_t start = 0;
    while (n < end) {
        if (w->p->image_row[n] >= 0) {
            const bool video = w->p->image_row[n] >= w->first_video_row;
            TRY(take_grid(&start, w, &n, end, video, err));
            continue;
        }
        if (start >= LVLM_MAX_POSITIONS) return refuse_position(w, n, err);
        for (size_t axis = 0; axis < 3; axis++)
            w->p->positions[axis * w->p->N + n] = start;
        start++, n++;
    }
    return 0;
}

int lvlm_positions_grids(lvlm_packing *p, const lvlm_inputs *in,
                         const lvlm_input_spec *spec, const lvlm_position_rules *rules,
                         lvlm_error *err)
{
    const size_t n_stills = in->images.n - in->images.n_videos;
    assert(p->axes == 3 && spec->rows.class_rows == 0);
    if (in->images.n == 0 || in->positions != NULL) return 0;
    cursor w = {
        .p = p, .in = in, .spec = spec, .rules = rules, .next_video = n_stills
    };
    w.first_video_row =
        (int64_t)lvlm_image_rows_count(&spec->rows, &in->images, 0, n_stills);
    for (size_t i = 0; i < p->n_texts; i++)
        TRY(place_text(&w, p->texts[i], p->texts[i + 1], err));
    return 0;
}
