/* head.c - logits and loss; see head.h. */
#include "runtime/text/head.h"

#include <assert.h>
#include <string.h>

#include "formats/base/alloc.h"
#include "runtime/block/configure.h"
#include "runtime/ops/linear.h"
#include "runtime/ops/loss.h"

_Static_assert(LVLM_IGNORE_LABEL < 0, "cross entropy leaves such targets out");

/* Rows whose logits are in memory at once when only the loss is wanted: with a
 * vocabulary of 257216 that is 263 MB in f32. */
enum { LOSS_ROWS = 256 };

static const config_row config_rows[] = {
    CONFIG("text.hidden", text_head_config, hidden),
    CONFIG("text.vocab", text_head_config, vocab),
    CONFIG_MAYBE("text.final_softcap", text_head_config, softcap),
    CONFIG_END,
};

static const weight_row rows[] = {
    { "weight", WEIGHT_FIELD(text_head, weight) },
    WEIGHT_END,
};

int head_open(text_head *head, const lvlm_manifest *manifest, const char *reference,
              lvlm_error *err)
{
    TRY(configure(&head->config, config_rows, manifest->config, err));
    if (!lvlm_reference_applies(manifest->family, LVLM_FINAL_SOFTCAP, reference))
        head->config.softcap = 0;
    if (!lvlm_reference_applies(manifest->family, LVLM_STORED_HEAD_IGNORED, reference))
        return 0;
    lvlm_ties ties;
    TRY(lvlm_manifest_ties(&ties, manifest, err));
    head->ignored = ties.text;
    return 0;
}

int head_bind(text_head *head, weights *w, lvlm_error *err)
{
    return weights_bind(w, head, rows, head->ignored ? "text.embed." : "text.head.",
                        err);
}

size_t head_scratch(const text_head *head, size_t n_threads)
{
    return linear_scratch(head->config.hidden, head->config.vocab, n_threads);
}

void head_announce(const lvlm_packing *packing, stages *s)
{
    stages_announce(s, "logits");
    if (packing->targets != NULL) stages_announce(s, "loss");
}

void head_project(real *logits, const real *x, const text_head *head, size_t N,
                  const ops_scratch *scratch)
{
    const text_head_config *const c = &head->config;
    assert(N > 0 && logits != NULL);
    dense_forward(logits, x, &head->weight, NULL, N, c->hidden, c->vocab, scratch);
    if (c->softcap > 0) softcap_forward(logits, logits, (real)c->softcap, N * c->vocab);
}

/* Sum of the losses of N rows, in order.  losses (N) */
static double sum_losses(double *losses, const real *logits, const int64_t *targets,
                         size_t N, size_t V)
{
    double sum = 0;
    cross_entropy_forward(losses, logits, targets, N, V);
    for (size_t n = 0; n < N; n++) sum += losses[n];
    return sum;
}

static int loss_of_all(double *sum, const real *logits, const lvlm_packing *p, size_t V,
                       lvlm_error *err)
{
    double *const losses = lvlm_calloc(p->N, sizeof *losses);
    FAIL_IF(losses == NULL, err, LVLM_ENOMEM, "loss: out of memory");
    *sum = sum_losses(losses, logits, p->targets, p->N, V);
    lvlm_free(losses);
    return 0;
}

static int emit_logits(const text_head *head, const real *x, const lvlm_packing *p,
                       stages *s, workspace_pool *pool, const ops_scratch *scratch,
                       lvlm_error *err)
{
    const size_t V = head->config.vocab;
    const bool with_loss = p->targets != NULL && stages_wants(s, "loss");
    const bool is_padded = p->N < p->B * p->T; /* then rows move in their memory */
    workspace memory = { .pool = pool };
    double sum = 0;
    real *logits = is_padded ? NULL : stages_place(s, "logits", SHAPE(p->B, p->T, V));
    if (logits == NULL)
        TRY(workspace_array(&logits, &memory, p->B * p->T, V, "logits", err));
    if (stages_computes(s, "logits")) head_project(logits, x, head, p->N, scratch);
    int rc = stages_emit_rows(s, "logits", logits, V, p, logits, err);
    if (rc == 0 && with_loss) rc = loss_of_all(&sum, logits, p, V, err);
    if (rc == 0 && with_loss)
        rc = stages_emit_scalar(s, "loss", (real)(sum / (double)p->n_targets), err);
    workspace_free(&memory);
    return rc;
}

/* Of so many rows, those whose logits are in memory at once. */
static size_t rows_at_once(size_t n_targets)
{
    return n_targets < LOSS_ROWS ? n_targets : LOSS_ROWS;
}

/* Targets of the next rows that predict, from number `first` of them on; returns how
 * many those are.  targets (LOSS_ROWS) */
static size_t take_targets(int64_t *targets, const lvlm_packing *p, size_t first)
{
    assert(first < p->n_targets);
    const size_t n = rows_at_once(p->n_targets - first);
    for (size_t i = 0; i < n; i++) targets[i] = p->targets[p->predicting[first + i]];
    return n;
}

static int emit_loss(const text_head *head, const real *x, const lvlm_packing *p,
                     stages *s, workspace_pool *pool, const ops_scratch *scratch,
                     lvlm_error *err)
{
    const size_t C = head->config.hidden, V = head->config.vocab;
    int64_t targets[LOSS_ROWS];
    double losses[LOSS_ROWS], sum = 0;
    real *logits = NULL;
    workspace memory = { .pool = pool };
    TRY(workspace_array(&logits, &memory, rows_at_once(p->n_targets), V, "loss", err));
    for (size_t first = 0, n; first < p->n_targets; first += n) {
        n = take_targets(targets, p, first);
        head_project(logits, x + first * C, head, n, scratch);
        sum += sum_losses(losses, logits, targets, n, V);
    }
    workspace_free(&memory);
    return stages_emit_scalar(s, "loss", (real)(sum / (double)p->n_targets), err);
}

int head_forward(const text_head *head, const real *x, const lvlm_packing *packing,
                 stages *s, workspace_pool *pool, const ops_scratch *scratch,
                 lvlm_error *err)
{
    if (s->left == 0) return 0;
    assert(packing->targets != NULL || stages_wants(s, "logits"));
    if (stages_shows(s, "logits"))
        return emit_logits(head, x, packing, s, pool, scratch, err);
    return emit_loss(head, x, packing, s, pool, scratch, err);
}

/* ---- backward ------------------------------------------------------------------- */

int head_backward(const text_head *head, double *sum, real *dx, const real *x,
                  const lvlm_packing *p, double scale, workspace_pool *pool,
                  const ops_scratch *scratch, lvlm_error *err)
{
    const size_t C = head->config.hidden, V = head->config.vocab;
    const real cap = (real)head->config.softcap;
    int64_t targets[LOSS_ROWS];
    double losses[LOSS_ROWS];
    real *logits = NULL;
    workspace memory = { .pool = pool };
    assert(p->targets != NULL && p->n_targets > 0 && dx != x);
    TRY(workspace_array(&logits, &memory, rows_at_once(p->n_targets), V, "loss", err));
    memset(dx, 0, p->n_targets * C * sizeof *dx);
    *sum = 0;
    for (size_t first = 0, n; first < p->n_targets; first += n) {
        const real *const some = x + first * C;
        n = take_targets(targets, p, first);
        head_project(logits, some, head, n, scratch);
        cross_entropy_gradient(losses, logits, targets, scale, cap, n, V);
        for (size_t i = 0; i < n; i++) *sum += losses[i];
        dense_backward(dx + first * C, logits, some, &head->weight, NULL, n, C, V,
                       scratch);
    }
    workspace_free(&memory);
    return 0;
}

uint64_t head_backward_bytes(const text_head *head, size_t n_targets)
{
    return (uint64_t)rows_at_once(n_targets) * head->config.vocab * sizeof(real);
}
