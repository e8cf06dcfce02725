/* api_ask.c - what a model of lvlm.h is asked.
 *
 *   prompt, images -> messages -> ids, pixels -> session -> tokens -> text */
#include <assert.h>
#include <string.h>

#include "formats/base/alloc.h"
#include "runtime/generate/generate.h"
#include "runtime/prepare/prompt/prompt_inputs.h"
#include "verify/api/api.h"

typedef struct question {
    const lvlm_ask_options *options;
    lvlm_messages messages;
    lvlm_prompter *prompter;
    lvlm_prompt prompt;
    lvlm_prompt_inputs inputs;
    lvlm_text_stream stream;
    lvlm_strbuf piece, answer;
    bool ended; /* by the caller */
} question;

static int make_inputs(question *q, const lvlm *m, lvlm_error *err)
{
    const lvlm_vision_options options = {
        .drop_alpha = m->as_trained && q->prompt.form.opaque,
    };
    lvlm_prompt *const prompts[] = { &q->prompt };
    lvlm_vision_input *vision = NULL;
    if (q->prompt.n_images > 0)
        TRY(lvlm_vision_input_open(&vision, lvlm_model_manifest(m->model), &options,
                                   err));
    const int rc = lvlm_prompt_inputs_make(&q->inputs, prompts, 1, vision, NULL, err);
    lvlm_vision_input_close(vision);
    return rc;
}

static int write_prompt(question *q, const lvlm *m, const char *prompt,
                        const char *const *images, size_t n_images, lvlm_error *err)
{
    const lvlm_prompt_options options = { .raw = q->options->raw,
                                          .as_trained = m->as_trained };
    TRY(lvlm_messages_make(&q->messages, q->options->system, prompt, NULL, images,
                           n_images, err));
    TRY(lvlm_prompter_open(&q->prompter, lvlm_model_manifest(m->model), &options, err));
    TRY(lvlm_prompt_write(&q->prompt, q->prompter, &q->messages, err));
    return make_inputs(q, m, err);
}

/* ---- the answer ----------------------------------------------------------------- */

/* Move the piece to the answer, with U+FFFD for zero characters. */
static int put_piece(question *q, lvlm_error *err)
{
    const lvlm_ask_options *const o = q->options;
    const lvlm_strbuf *const piece = &q->piece;
    TRY(lvlm_strbuf_check(piece, err));
    for (size_t at = 0; at < piece->length;) {
        const size_t n = strnlen(piece->text + at, piece->length - at);
        lvlm_strbuf_append(&q->answer, piece->text + at, n);
        at += n;
        if (at < piece->length) lvlm_strbuf_puts(&q->answer, "\xef\xbf\xbd"), at++;
    }
    if (piece->length > 0 && o->take != NULL)
        q->ended = o->take(o->user, piece->text, piece->length) != 0;
    q->piece.length = 0;
    return lvlm_strbuf_check(&q->answer, err);
}

/* A row of the model's table that no token has says nothing. */
static int take_token(void *user, int64_t id, lvlm_error *err)
{
    question *const q = user;
    size_t n;
    if (lvlm_tokenizer_token(q->stream.tokenizer, id, &n) == NULL) return 0;
    TRY(lvlm_text_stream_put(&q->stream, &q->piece, id, err));
    TRY(put_piece(q, err));
    return q->ended ? LVLM_ESTOPPED : 0;
}

static int read_settings(lvlm_generation *g, const lvlm *m, const lvlm_ask_options *o,
                         lvlm_error *err)
{
    TRY(lvlm_generation_read(g, lvlm_model_manifest(m->model), err));
    g->sampling.temperature = o->temperature;
    g->sampling.seed = o->seed;
    g->chatml &= !o->raw;
    if (o->max_new_tokens > 0) g->max_new_tokens = o->max_new_tokens;
    return lvlm_sampling_check(&g->sampling, err);
}

static int generate(question *q, lvlm *m, lvlm_error *err)
{
    const lvlm_token_sink sink = { take_token, q };
    lvlm_session *session = NULL;
    lvlm_generation settings;
    lvlm_generated made;
    TRY(read_settings(&settings, m, q->options, err));
    lvlm_text_stream_init(&q->stream, lvlm_prompter_tokenizer(q->prompter),
                          lvlm_prompter_answer(q->prompter));
    lvlm_strbuf_puts(&q->answer, "");
    TRY(lvlm_session_begin(&session, m->model, &q->inputs.batch, "", NULL, err));
    int rc = lvlm_generate(&made, session, &settings, &sink, err);
    lvlm_session_end(session);
    if (q->ended) return 0;
    TRY(rc);
    TRY(lvlm_text_stream_end(&q->stream, &q->piece, err));
    return put_piece(q, err);
}

static void free_question(question *q)
{
    lvlm_text_stream_free(&q->stream);
    lvlm_strbuf_free(&q->piece);
    lvlm_strbuf_free(&q->answer);
    lvlm_prompt_inputs_free(&q->inputs);
    lvlm_prompt_free(&q->prompt);
    lvlm_messages_free(&q->messages);
    lvlm_prompter_close(q->prompter);
}

int lvlm_ask(lvlm *model, char **answer, const char *prompt, const char *const *images,
             size_t n_images, const lvlm_ask_options *options, lvlm_error *err)
{
    static const lvlm_ask_options plain;
    question q;
    assert(model != NULL && prompt != NULL && (images != NULL || n_images == 0));
    memset(&q, 0, sizeof q);
    q.options = options != NULL ? options : &plain;
    q.piece.max = q.answer.max = LVLM_TEXT_MAX;
    int rc = write_prompt(&q, model, prompt, images, n_images, err);
    if (rc == 0) rc = generate(&q, model, err);
    if (rc == 0 && answer != NULL) {
        *answer = q.answer.text;
        q.answer.text = NULL;
    }
    free_question(&q);
    api_notes_tell(&model->notes);
    return rc;
}
