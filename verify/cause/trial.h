/* trial.h - what the sources of cause.h share: a stage at fault, and trials of what
 * may be wrong with it. Private to verify/cause. */
#ifndef LVLM_VERIFY_CAUSE_TRIAL_H
#define LVLM_VERIFY_CAUSE_TRIAL_H

#include "verify/cause/cause.h"
#include "verify/cause/variant.h"

LVLM_BEGIN_DECLS

enum { FEEDS = 1024 };

/* What came of a trial. */
typedef struct cause_finding {
    double error;     /* that is left */
    bool agrees;      /* which is within its band */
    size_t n_settled; /* so many of those with an error of their own agree then */
    bool breaks;      /* and others that were right do not */
} cause_finding;

/* The stage and what it is made of. */
typedef struct cause_session {
    lvlm_replay *replay;
    const lvlm_replay_stage *stage;
    const lvlm_manifest *manifest; /* of the model as it is */
    lvlm_model_options options;
    lvlm_cause *out;
    lvlm_arena arena; /* for the time of the search */
    /* Stages between the recorded one and this one, with it: if one is not recorded,
     * the mistake may be in any of them. */
    const char *const *span;
    size_t n_span;
    const lvlm_target *feeds[FEEDS]; /* tensors from which they are computed */
    size_t n_feeds;
    /* config.json of the checkpoint that was converted, or NULL */
    cJSON *source_config;
    /* The rows that are compared: as computed and as recorded.  (R,C) */
    double *got, *want;
    size_t R, C;
    size_t *places;      /* (R) of the rows, in the stage */
    bool only_relations; /* what differs is which rows attend to which */
    size_t most_tries;   /* more would take too long */
    variant changed;     /* the model with a mistake undone */
    size_t candidate_room;
    /* How `changed` is judged, and what that is about: "gradient". NULL: the stage is
     * computed with it, from recorded rows. */
    int (*judge)(void *user, cause_finding *out, lvlm_error *err);
    void *judge_user;
    const char *noun;
} cause_session;

/* ---- feeds.c --------------------------------------------------------------------- */

/* Find span and feeds. `stages` are all of the model, in order, and outlive `s`. */
void cause_find_feeds(cause_session *s, const char *const *stages, size_t n_stages);
/* The stage that a tensor feeds, in the arena of the session; NULL: not known. */
const char *cause_stage_of(cause_session *s, const lvlm_target *t);
/* Multiplications of one computation of the stage. */
uint64_t cause_work(const cause_session *s);
/* Is a stage of the span one of these: globs with '|' between them? */
bool cause_spans(const cause_session *s, const char *globs);
/* A number of the canonical configuration; 0: it is not there. */
size_t cause_count(const cause_session *s, const char *path);
/* The width of a head of the blocks that the tensor belongs to; 0: none. */
size_t cause_head_dim(const cause_session *s, const lvlm_target *t);
/* The bias that belongs to a weight, of the feeds; NULL: it has none. */
const lvlm_target *cause_bias(const cause_session *s, const lvlm_target *weight);
/* A tensor's name in the source, or else its own. */
const char *cause_name(const lvlm_target *t);
/* Value number `at` of a tensor. */
double cause_value(const lvlm_tensor *t, uint64_t at);
/* Is a tensor among these? */
bool cause_has(const lvlm_target *const *list, size_t n, const lvlm_target *t);
/* The names of tensors: "a, b and 2 more". In the session's arena. */
const char *cause_names(cause_session *s, const lvlm_target *const *list, size_t n);

/* ---- spelling.c ------------------------------------------------------------------ */

/* "rows 96 to 127 of NAME": rows [first, last] of a tensor by their numbers in the
 * source, where they are rows there, else in the native file. In the arena of the
 * session; NULL: out of memory. */
const char *cause_rows(cause_session *s, const lvlm_target *t, size_t first,
                       size_t last);
/* "rows 5 and 301 of NAME", of two that are different; the same. */
const char *cause_row_pair(cause_session *s, const lvlm_target *t, size_t a, size_t b);

/* ---- cause.c --------------------------------------------------------------------- */

/* Set the tensors of the result from s->feeds. */
LVLM_MUST_CHECK int cause_list_tensors(cause_session *s, lvlm_error *err);
/* Try the known mistakes of s->span and s->feeds. */
LVLM_MUST_CHECK int cause_search(cause_session *s, lvlm_error *err);

/* ---- trial.c --------------------------------------------------------------------- */

/* Compute the stage with s->changed, and keep it as a candidate if it agrees, or if
 * nothing came nearer; the variant is reset. `with` is what was changed ("rope_theta
 * 10000 instead of 1000000") and `see` where to look, both in the arena of the session;
 * NULL: out of memory. */
LVLM_MUST_CHECK int cause_try(cause_session *s, const char *mistake, const char *with,
                              const char *see, lvlm_error *err);
/* The same of one that was computed otherwise, and of which this came. */
LVLM_MUST_CHECK int cause_offer(cause_session *s, const char *mistake, const char *with,
                                const char *see, const cause_finding *found,
                                lvlm_error *err);
/* Compute the stage with s->changed, which stays: its rows as s->got has them, and its
 * error; infinite if it cannot be computed. */
LVLM_MUST_CHECK int cause_compute(cause_session *s, double *rows, double *error,
                                  lvlm_error *err);
/* Does a candidate agree? */
bool cause_is_found(const cause_session *s);
/* One of this mistake? */
bool cause_names_it(const cause_session *s, const char *mistake);

/* ---- known mistakes -------------------------------------------------------------- */

/* Each tries those of its table that apply; with `relations` only those that change
 * which rows attend to which, else only the others. */
LVLM_MUST_CHECK int cause_try_settings(cause_session *s, bool relations,
                                       lvlm_error *err);
LVLM_MUST_CHECK int cause_try_values(cause_session *s, bool relations, lvlm_error *err);
LVLM_MUST_CHECK int cause_try_orders(cause_session *s, bool relations, lvlm_error *err);
LVLM_MUST_CHECK int cause_try_others(cause_session *s, bool relations, lvlm_error *err);
/* Queries, keys and values that the source has head by head in one tensor are split as
 * if there were `heads` of them. */
LVLM_MUST_CHECK int cause_split_heads(cause_session *s, size_t heads, lvlm_error *err);
/* Of these, the behaviour of other versions. */
LVLM_MUST_CHECK int cause_try_references(cause_session *s, lvlm_error *err);

/* Settings and factors that make the stage agree, of numbers that are in no table. */
LVLM_MUST_CHECK int cause_fit_settings(cause_session *s, bool relations,
                                       lvlm_error *err);
LVLM_MUST_CHECK int cause_fit_values(cause_session *s, bool relations, lvlm_error *err);

/* ---- fits.c ---------------------------------------------------------------------- */

/* A number on which the stage depends. */
typedef struct cause_number {
    int (*apply)(cause_session *s, void *user, double x, lvlm_error *err);
    void *user;
    double start;
    bool is_now; /* the model as it is has `start` */
    bool is_log; /* it is positive, and its order of magnitude is sought */
} cause_number;

/* The *x with which the stage comes nearest; not *found: none comes near. No candidate
 * is kept. */
LVLM_MUST_CHECK int cause_fit(bool *found, double *x, cause_session *s,
                              const cause_number *number, lvlm_error *err);

/* ---- orders, one by one (orders.c) ----------------------------------------------- */

enum { CAUSE_ORDER_TEXT = 96 };

/* One in which the values of a tensor may be stored. At first all zero. */
typedef struct cause_order {
    const char *mistake, *see;    /* from the table: "heads", "rows are stored" */
    char label[CAUSE_ORDER_TEXT]; /* "with the heads in reverse order" */
    size_t at, next;              /* for orders.c */
} cause_order;

/* The next one that tensor `t` may have; false: there are no more. */
bool cause_next_order(cause_order *o, const cause_session *s, const lvlm_target *t);
/* Values of its shape, put back into order; one that it cannot have changes nothing. */
void cause_arrange(double *to, const double *from, const cause_order *o,
                   const cause_session *s, const lvlm_target *t);
/* The same in s->changed. */
LVLM_MUST_CHECK int cause_undo_order(cause_session *s, const cause_order *o,
                                     const lvlm_target *t, lvlm_error *err);

/* ---- what can be seen without a trial -------------------------------------------- */

/* signs.c: sentences on the error. Sets s->only_relations. */
LVLM_MUST_CHECK int cause_find_signs(cause_session *s, lvlm_error *err);
/* sign_heads.c: a sentence if one head, or one row of the output map, is wrong; takes
 * some passes of the stage. */
LVLM_MUST_CHECK int cause_find_heads(cause_session *s, lvlm_error *err);
/* row_pairs.c: try two rows of a map exchanged, those of the channels with the largest
 * errors. */
LVLM_MUST_CHECK int cause_find_pair(cause_session *s, lvlm_error *err);
/* sign_numbers.c: the same of one number in the row of one wrong channel. */
LVLM_MUST_CHECK int cause_find_number(cause_session *s, lvlm_error *err);
/* tensors.c: sentences on the tensors. */
LVLM_MUST_CHECK int cause_find_weights(cause_session *s, lvlm_error *err);

/* Rows of a tensor that has the shape of the stage: those of s->got, or of these the
 * numbers `at`, unless it is NULL.  to (n,C), at (n) */
void cause_read_rows(double *to, const cause_session *s, const lvlm_tensor *from,
                     const size_t *at, size_t n);

/* Add a sentence to a list of the result. */
LVLM_MUST_CHECK int cause_say(cause_session *s, const char ***list, size_t *n,
                              lvlm_error *err, const char *fmt, ...) LVLM_PRINTF(5, 6);
/* To those on the error, and on the tensors. */
#define CAUSE_SAY_SIGN(s, err, ...)                                                    \
    cause_say(s, &(s)->out->signs, &(s)->out->n_signs, err, __VA_ARGS__)
#define CAUSE_SAY_WEIGHT(s, err, ...)                                                  \
    cause_say(s, &(s)->out->weights, &(s)->out->n_weights, err, __VA_ARGS__)

LVLM_END_DECLS

#endif
