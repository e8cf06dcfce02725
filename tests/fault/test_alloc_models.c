/* test_alloc_models.c - fails allocations as test_alloc.c does, in operations that
 * compute: training, generation, images, prompts. */
#include "formats/reshape/resolution.h"
#include "runtime/generate/generate.h"
#include "runtime/prepare/prompt/prompt_inputs.h"
#include "runtime/tune/batches.h"
#include "runtime/tune/changes.h"
#include "runtime/tune/loss_plot.h"
#include "runtime/tune/trainer.h"
#include "runtime/tune/zero_gradients.h"
#include "tests/fault/torture_models.h"
#include "verify/replay/replay.h"

/* ---- operations ----------------------------------------------------------------- */

/* A step of a new adapter; the model with it folded in, then the adapter, which is
 * opened again. */
static int train_adapter(scratch *s, lvlm_error *err)
{
    static lvlm_lora lora;
    const lvlm_trainer_options options = { .adamw = { .eps = 1 },
                                           .model.threads = 1,
                                           .lora = &lora };
    const char *path = scratch_path(s, "new.lvlm");
    lvlm_checkpoint *batch = NULL;
    lvlm_trainer trainer = { .n_tensors = 0 };
    lvlm_trainer_report report;
    lvlm_fold_cost cost;
    lvlm_outfile *file = NULL;
    lvlm_outdir *dir = NULL;
    lvlm_adapter again = { .n = 0 };
    bool saved = false;
    int rc;
    if ((rc = lvlm_lora_parse(&lora, "r=2,targets=q_proj,dropout=0.5,save=lm_head",
                              err)) == 0 &&
        (rc = lvlm_trainer_open(&trainer, scratch_path(s, "adapted.lvlm"), &options,
                                err)) == 0 &&
        (rc = lvlm_checkpoint_open(&batch, ADAPTER "/../batch-000.safetensors", NULL,
                                   err)) == 0 &&
        (rc = lvlm_trainer_add(&trainer, batch, "", err)) == 0 &&
        (rc = lvlm_trainer_step(&trainer, &report, err)) == 0 &&
        (rc = lvlm_outfile_open(&file, path, false, err)) == 0 &&
        (rc = lvlm_trainer_save_merged(&trainer, file, &cost, err)) == 0) {
        assert_int_equal(unlink(path), 0);
        rc = lvlm_outdir_open(&dir, scratch_path(s, "newdir"), false, &lvlm_adapter_set,
                              err);
        if (rc == 0) rc = lvlm_trainer_save_adapter(&trainer, dir, err);
        saved = rc == 0;
        if (saved)
            rc = lvlm_adapter_open(&again, scratch_path(s, "newdir"), &trainer.manifest,
                                   err);
    }
    lvlm_adapter_free(&again);
    lvlm_outfile_close(file);
    lvlm_outdir_close(dir);
    lvlm_trainer_close(&trainer);
    lvlm_checkpoint_close(batch);
    if (saved) remove_files(s, "newdir");
    return rc;
}
static int replay(scratch *s, lvlm_error *err)
{
    const lvlm_replay_options options = { .threads = 1 };
    lvlm_replay r;
    int rc = lvlm_replay_run(&r, scratch_path(s, "other.lvlm"),
                             RECORDED "/golden.safetensors", &options, err);
    if (rc == 0) lvlm_replay_free(&r);
    return rc;
}
/* An image of every kind as the tensors of a model. */
static int prepare_images(scratch *s, lvlm_error *err)
{
    static const char *const names[] = { "/images/jpeg-cmyk.jpg",
                                         "/images/png-turned-6.png",
                                         "/images/webp-lossy-alpha.webp" };
    lvlm_checkpoint *checkpoint = NULL;
    lvlm_vision_input *input = NULL;
    lvlm_manifest manifest = { 0 };
    lvlm_vision_batch out = { 0 };
    char paths[3][SCRATCH_PATH];
    const char *images[3];
    const size_t all = 3;
    const lvlm_vision_request request = { images, all, &all, 1 };
    (void)s;
    for (size_t i = 0; i < 3; i++) {
        (void)snprintf(paths[i], SCRATCH_PATH, "%s%s", LVLM_FIXTURES, names[i]);
        images[i] = paths[i];
    }
    int rc =
        lvlm_checkpoint_open(&checkpoint, LVLM_FIXTURES "/mllama-odd/model", NULL, err);
    if (rc == 0) rc = lvlm_manifest_build(&manifest, checkpoint, err);
    if (rc == 0) rc = lvlm_vision_input_open(&input, &manifest, NULL, err);
    if (rc == 0) rc = lvlm_vision_input_read(&out, input, &request, err);
    lvlm_vision_batch_free(&out);
    lvlm_vision_input_close(input);
    lvlm_manifest_free(&manifest);
    lvlm_checkpoint_close(checkpoint);
    return rc;
}
static int ignore_token(void *user, int64_t id, lvlm_error *err)
{
    (void)user, (void)id, (void)err;
    return 0;
}
/* So many tokens that memory must grow. */
static int generate(scratch *s, lvlm_error *err)
{
    const lvlm_model_options options = { .threads = 1 };
    const lvlm_token_sink sink = { ignore_token, NULL };
    lvlm_checkpoint *inputs = NULL;
    lvlm_model *model = NULL;
    lvlm_session *session = NULL;
    lvlm_generation settings;
    lvlm_generated made;
    int rc;
    if ((rc = lvlm_model_open(&model, scratch_path(s, "spoken.lvlm"), &options, err)) <
            0 ||
        (rc = lvlm_checkpoint_open(&inputs, SPOKEN "/generate.safetensors", NULL,
                                   err)) < 0 ||
        (rc = lvlm_generation_read(&settings, lvlm_model_manifest(model), err)) < 0 ||
        (rc = lvlm_session_begin(&session, model, inputs, "in.", NULL, err)) < 0)
        goto done;
    settings.n_ends = 0;
    settings.max_new_tokens = 100;
    rc = lvlm_generate(&made, session, &settings, &sink, err);
done:
    lvlm_session_end(session);
    lvlm_checkpoint_close(inputs);
    lvlm_model_free(model);
    return rc;
}
/* Open, one step, its zeros, save and load the state, the model, what changed. */
static int take_a_step(lvlm_trainer *t, lvlm_batch_source *source, scratch *s,
                       lvlm_error *err)
{
    lvlm_zero_gradients zeros = { .arena = LVLM_ARENA_INIT };
    lvlm_trainer_report report;
    lvlm_batch batch;
    int rc;
    if ((rc = source->next(source->self, &batch, err)) == 0 &&
        (rc = lvlm_trainer_add(t, batch.tensors, "", err)) == 0 &&
        (rc = lvlm_zero_gradients_find(&zeros, t->model, &t->sum, err)) == 0 &&
        (rc = lvlm_trainer_step(t, &report, err)) == 0 &&
        (rc = lvlm_trainer_save_state(t, scratch_path(s, "state"), err)) == 0)
        rc = lvlm_trainer_load_state(t, scratch_path(s, "state"), err);
    lvlm_zero_gradients_free(&zeros);
    return rc;
}
static int train(scratch *s, lvlm_error *err)
{
    lvlm_outfile *file = NULL;
    const lvlm_trainer_options options = { .stage = LVLM_STAGE_3,
                                           .adamw = { .lr = 1, .eps = 1 },
                                           .accumulate = 1,
                                           .model.threads = 1 };
    const char *const state = scratch_path(s, "state");
    const char *const tuned = scratch_path(s, "tuned.lvlm");
    lvlm_batch_source source = { 0 };
    lvlm_trainer trainer = { 0 };
    lvlm_changes changes = { 0 };
    int rc;
    if ((rc = lvlm_batches_open(&source, BATCHES, true, 1, err)) == 0 &&
        (rc = lvlm_trainer_open(&trainer, scratch_path(s, "model.lvlm"), &options,
                                err)) == 0 &&
        (rc = take_a_step(&trainer, &source, s, err)) == 0 &&
        (rc = lvlm_outfile_open(&file, tuned, true, err)) == 0 &&
        (rc = lvlm_trainer_save(&trainer, file, err)) == 0)
        rc = lvlm_changes_find(&changes, trainer.model, tuned, err);
    lvlm_outfile_close(file);
    lvlm_changes_free(&changes);
    lvlm_trainer_close(&trainer);
    lvlm_batch_source_close(&source);
    (void)unlink(state); /* the step itself succeeded */
    (void)unlink(tuned);
    return rc;
}
/* Two tables of positions, interpolated. */
static int open_at_a_size(scratch *s, lvlm_error *err)
{
    lvlm_manifest manifest;
    lvlm_checkpoint *checkpoint;
    const int rc = lvlm_resolution_open(&manifest, &checkpoint,
                                        scratch_path(s, "spoken.lvlm"), 20, NULL, err);
    lvlm_manifest_free(&manifest);
    lvlm_checkpoint_close(checkpoint);
    return rc;
}
static int draw(scratch *s, lvlm_error *err)
{
    lvlm_loss_point points[] = { { 1, 3, 1 }, { 2, 1, 1 } };
    const lvlm_loss_plot plot = { .title = "<a>",
                                  .subtitle = "b",
                                  .steps = { points, 2, 2 },
                                  .evaluations = { points, 2, 2 },
                                  .evaluated = "c" };
    lvlm_outfile *file = NULL;
    int rc = lvlm_outfile_open(&file, scratch_path(s, "loss.svg"), true, err);
    if (rc == 0) rc = lvlm_loss_plot_save(file, &plot, err);
    lvlm_outfile_close(file);
    (void)unlink(scratch_path(s, "loss.svg"));
    return rc;
}
/* A conversation with an image and two videos as the tensors of a model. */
static int write_prompt(scratch *s, lvlm_error *err)
{
    static const char json[] =
        "[{\"role\": \"user\", \"content\": [{\"type\": \"image\", \"path\": "
        "\"" LVLM_FIXTURES "/images/png-one.png\"}, {\"type\": \"video\", \"video\": "
        "\"" LVLM_FIXTURES "/videos/tiny\"}, {\"type\": \"video\"}, "
        "{\"type\": \"text\", \"text\": \"a\"}]}, "
        "{\"role\": \"assistant\", \"content\": \"b\"}]";
    const char *const folder = LVLM_FIXTURES "/prompts/qwen2_vl/model";
    lvlm_checkpoint *checkpoint = NULL;
    static const char *const frames[] = { LVLM_FIXTURES "/videos/one/000.png" };
    static const lvlm_clip clip = { frames, 1, 2 };
    lvlm_vision_input *vision = NULL;
    lvlm_video_input *video = NULL;
    lvlm_prompter *prompter = NULL;
    lvlm_manifest manifest = { 0 };
    lvlm_messages messages = { 0 };
    lvlm_prompt prompt = { 0 };
    lvlm_prompt_inputs inputs;
    lvlm_prompt *const prompts[] = { &prompt };
    (void)s;
    memset(&inputs, 0, sizeof inputs);
    int rc = lvlm_checkpoint_open(&checkpoint, folder, NULL, err);
    if (rc == 0) rc = lvlm_manifest_build(&manifest, checkpoint, err);
    if (rc == 0) rc = lvlm_vision_input_open(&vision, &manifest, NULL, err);
    if (rc == 0) rc = lvlm_video_input_open(&video, &manifest, NULL, err);
    if (rc == 0) rc = lvlm_prompter_open(&prompter, &manifest, NULL, err);
    if (rc == 0)
        rc = lvlm_messages_parse(&messages, json, sizeof json - 1, NULL, 0, NULL, err);
    if (rc == 0) rc = lvlm_messages_give_videos(&messages, &clip, 1, err);
    if (rc == 0) rc = lvlm_prompt_write(&prompt, prompter, &messages, err);
    if (rc == 0) rc = lvlm_prompt_inputs_make(&inputs, prompts, 1, vision, video, err);
    if (rc == 0) assert_int_equal(prompt.n, 0x58);
    lvlm_prompt_inputs_free(&inputs);
    lvlm_prompt_free(&prompt);
    lvlm_messages_free(&messages);
    lvlm_prompter_close(prompter);
    lvlm_vision_input_close(vision);
    lvlm_video_input_close(video);
    lvlm_manifest_free(&manifest);
    lvlm_checkpoint_close(checkpoint);
    return rc;
}
static const char words[] = "a cat's <|im_end|>e\u0301 <loc0001><img>a</img>\n";

/* Encode and decode with the tokenizer of `folder`, whose only file is `name`. Patterns
 * that cannot be compiled to machine code for lack of memory are interpreted. */
static int tokenize_with(const char *folder, const char *name, const char *expected,
                         lvlm_error *err)
{
    char path[512];
    lvlm_infile *file = NULL;
    lvlm_tokenizer *tokenizer = NULL;
    lvlm_ids ids = LVLM_IDS_INIT;
    lvlm_strbuf text = LVLM_STRBUF_INIT(1000);
    int rc;
    snprintf(path, sizeof path, LVLM_FIXTURES "/tokenizers/%s/%s", folder, name);
    if ((rc = lvlm_infile_open(&file, path, err)) < 0) return rc;
    lvlm_side_file side = { name, file->bytes, file->n_bytes };
    const lvlm_checkpoint checkpoint = { .path = folder,
                                         .side_files = &side,
                                         .n_side_files = 1 };
    if ((rc = lvlm_tokenizer_open(&tokenizer, &checkpoint, err)) == 0 &&
        (rc = lvlm_tokenizer_encode(tokenizer, &ids, words, strlen(words), NULL,
                                    err)) == 0)
        rc = lvlm_tokenizer_decode(tokenizer, &text, ids.at, ids.n, NULL, err);
    if (rc == 0) assert_string_equal(text.text, expected);
    lvlm_strbuf_free(&text);
    lvlm_ids_free(&ids);
    lvlm_tokenizer_close(tokenizer);
    lvlm_infile_close(file);
    return rc;
}
static int tokenize_json(scratch *s, lvlm_error *err)
{
    (void)s;
    return tokenize_with("llama2-json", "tokenizer.json", words, err);
}
static int tokenize_ranks(scratch *s, lvlm_error *err)
{
    (void)s;
    return tokenize_with("qwen-tiktoken", "qwen.tiktoken",
                         "a cat's <|im_end|>\u00e9 <loc0001><img>a</img>\n", err);
}
static int tokenize_pieces(scratch *s, lvlm_error *err)
{
    (void)s;
    return tokenize_with("sentencepiece-gemma", "tokenizer.model", words, err);
}

static void no_allocation_may_fail_badly(void **state)
{
    static const torture_row all[] = {
        { "train_adapter", train_adapter },
        { "replay", replay },
        { "prepare_images", prepare_images },
        { "tokenize_json", tokenize_json, .tolerates = true },
        { "tokenize_ranks", tokenize_ranks, .tolerates = true },
        { "tokenize_pieces", tokenize_pieces, .tolerates = true },
        { "generate", generate },
        { "train", train },
        { "open_at_a_size", open_at_a_size },
        { "draw", draw },
        { "write_prompt", write_prompt, .tolerates = true },
    };
    (void)state;
    torture_models(all, sizeof all / sizeof *all, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_allocation_may_fail_badly),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
