/* cmd_train.c - lvlm-tune train: the options of fine-tuning; the run itself is
 * train_run.c. */
#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "formats/cli/program.h"
#include "runtime/tune/cli/train_run.h"
#include "runtime/tune/cli/tune_commands.h"

// clang-format off
#define TEXT(name, value, field, help) { name, value, LVLM_OPTION_TEXT, offsetof(train_args, field), help }
#define REAL(name, value, field, help, ...) { name, value, LVLM_OPTION_REAL, offsetof(train_args, field), help, __VA_ARGS__ }
#define FLAG(name, field, help) { name, NULL, LVLM_OPTION_FLAG, offsetof(train_args, field), help }
#define COUNT(name, value, field, help) { name, value, LVLM_OPTION_COUNT, offsetof(train_args, field), help, LVLM_COUNTED }
#define BELOW_1 { LVLM_LEAST | LVLM_BELOW, 0, 1 }

static const lvlm_option options[] = {
    TEXT("out", "MODEL2", out, "the trained model; with LoRA, the adapter is merged into it"),
    TEXT("data", "FILE.jsonl", data, "examples, one per line or in one list: LLaVA's or Qwen-VL's conversations, PaliGemma's prefix and suffix"),
    TEXT("images", "DIR", images, "the folder of the images and videos that examples name"),
    COUNT("batch-size", "N", batch_size, "examples per batch (default 1), grouped by similar lengths"),
    COUNT("max-length", "N", max_length, "cut examples at N tokens, those of images counted (default: never)"),
    TEXT("template", "NAME", chat_template, "how conversations are written for LLaVA, in place of the model's own way: llava, vicuna_v1, chatml, gemma, or plain, its makers' first stage"),
    FLAG("pad-to-square", pad_to_square, "images in the middle of a square of the mean colour, as LLaVA-1.5 was trained"),
    COUNT("resolution", "S", resolution, "train at S x S pixels: the model is first changed as by lvlm-convert change --resolution"),
    FLAG("skip-bad", skip_bad, "leave out and report examples that cannot be used; without it the first one ends the run"),
    FLAG("in-order", in_order, "use them in the order of the file, not shuffled"),
    TEXT("eval", "FILE.jsonl", eval, "examples for the loss on data that is not trained on, at the end"),
    COUNT("eval-every", "N", eval_every, "and after every N steps"),
    TEXT("batches", "DIR", batches, "ready batches in place of --data: batch-000.safetensors, ... in order, again from the start"),
    FLAG("shuffle", shuffle, "shuffle ready batches too"),
    { "seed", "N", LVLM_OPTION_COUNT, offsetof(train_args, seed), "of the order, a new one for each epoch, and of what LoRA and dropout draw (default 0)" },
    TEXT("stage", "1|2|3|full|connector", stage, "what is trained: 1 vision and connector, 2 all that the makers trained, 3 connector and language model, only the connector, or everything (default full)"),
    TEXT("lora", "KEY=VALUE,...", lora, "train a low-rank adapter and leave the model as it is: r=8,alpha=8,dropout=0,rslora=false,targets=q,v; save=NAMES trains modules whole beside it"),
    TEXT("adapter", "DIR", adapter, "continue this PEFT adapter"),
    TEXT("adapter-out", "DIR", adapter_out, "the trained adapter, as PEFT writes it"),
    TEXT("base-name", "NAME", base_name, "what the adapter calls its base model, for PEFT: a model id or a folder (base_model_name_or_path)"),
    TEXT("dropout", "P|config", dropout, "in training, values of the model become 0 with probability P where its makers do that (PaliGemma: in what attention and MLP of the language model add; Qwen-VL: in looked-up words and attention probabilities; LLaVA: in attention probabilities of tower and language model; others: in those of the language model), or where config.json has a rate, at that. They follow from --seed, the step, and the text or image (default: none do)"),
    COUNT("steps", "N", steps, "how many steps"),
    REAL("epochs", "E", epochs, "or how many passes over the data", LVLM_MORE_THAN(0)),
    COUNT("accumulate", "N", accumulate, "batches per step (default 1); the loss is the mean over all their labels"),
    REAL("lr", "RATE", lr, "learning rate (default 5e-5)", LVLM_AT_LEAST(0)),
    REAL("lr-vision", "RATE", lr_part[LVLM_PART_VISION], "of the vision tower, where it differs; --stage freezes a part", LVLM_MORE_THAN(0)),
    REAL("lr-connector", "RATE", lr_part[LVLM_PART_CONNECTOR], "of the connector", LVLM_MORE_THAN(0)),
    REAL("lr-text", "RATE", lr_part[LVLM_PART_TEXT], "of the language model", LVLM_MORE_THAN(0)),
    REAL("min-lr", "RATE", min_lr, "what --schedule linear and cosine fall to at the last step, after a warm-up from 0; a part with a rate of its own falls by the same factor (default 0)", LVLM_MORE_THAN(0)),
    REAL("layer-decay", "F", layer_decay, "of the vision tower only: the rate of block i of its L is multiplied by F^(L-i), that of the patch embedding, and all else before the first block, by F^(L+1); after the last block it is the tower's (default 1)", { LVLM_ABOVE | LVLM_MOST, 0, 1 }),
    REAL("beta1", "B", beta1, "of AdamW (default 0.9)", BELOW_1),
    REAL("beta2", "B", beta2, "of AdamW (default 0.999)", BELOW_1),
    REAL("eps", "E", eps, "of AdamW (default 1e-8)", LVLM_AT_LEAST(0)),
    REAL("weight-decay", "D", weight_decay, "of AdamW (default 0)", LVLM_AT_LEAST(0)),
    TEXT("decay", "all|matrices", decay, "what decays: everything, or no biases and norms, as transformers' Trainer tells them (default matrices)"),
    REAL("clip", "NORM", clip, "largest norm of all gradients together (default 1; 0: none)", LVLM_AT_LEAST(0)),
    TEXT("schedule", "constant|linear|cosine", schedule, "of the learning rate (default linear)"),
    REAL("warmup", "N|RATIO", warmup, "steps in which it rises, or their share of all (default 0)", LVLM_AT_LEAST(0)),
    TEXT("log", "FILE.jsonl", log, "one object per step: step, loss, grad_norm before clipping, lr, tokens, labels, seconds; one per evaluation: step, eval_loss"),
    COUNT("report-every", "N", report_every, "a line on stderr after every N steps (default: one per minute if stderr is not a terminal)"),
    TEXT("plot", "FILE.svg", plot, "losses, those of --eval too, and the learning rate as a picture, at the end"),
    TEXT("state", "DIR", state, "save the state there at the end, when a signal stops the run, and after the last good step when one fails"),
    COUNT("save-every", "N", save_every, "and after every N steps (default: every ten minutes)"),
    TEXT("resume", "DIR", resume, "continue from the state in that folder, and save there"),
    TEXT("cache-features", "DIR", cache_features, "keep what a frozen vision tower makes of the images there, and compute it only once: the same bits. A file holds the images of one batch: --in-order, --batches and batches of 1 meet it again in the next epoch and run; shuffled batches of several do not"),
    FLAG("checkpointing", checkpointing, "compute activations again, block by block, instead of keeping them: less memory, a third more work, the same bits"),
    TEXT("compute", LVLM_COMPUTE_NAMES, compute, "precision of the computation (default f32): bf16x2 and bf16 round operands of matrix products, in f64 weights and moments are double too"),
    TEXT("reference", "trained|transformers-VERSION", reference, "whose behaviour is computed (default trained)"),
    FLAG("force", force, "overwrite MODEL2, the adapter, the log, the picture and the state of another run"),
    LVLM_OPTION_END,
};
// clang-format on

/* ---- what was asked for --------------------------------------------------------- */

/* Whole numbers that a double holds: far above any run. */
#define MAX_COUNT 0x1p53

/* The options of the optimiser. */
static void read_numbers(lvlm_trainer_options *o, const train_args *a)
{
    const struct {
        double *to;
        lvlm_real from;
    } numbers[] = {
        { &o->adamw.lr, a->lr },
        { &o->lr_part[LVLM_PART_VISION], a->lr_part[LVLM_PART_VISION] },
        { &o->lr_part[LVLM_PART_CONNECTOR], a->lr_part[LVLM_PART_CONNECTOR] },
        { &o->lr_part[LVLM_PART_TEXT], a->lr_part[LVLM_PART_TEXT] },
        { &o->adamw.beta1, a->beta1 },
        { &o->adamw.beta2, a->beta2 },
        { &o->adamw.eps, a->eps },
        { &o->adamw.decay, a->weight_decay },
        { &o->clip, a->clip },
        { &o->min_lr, a->min_lr },
        { &o->layer_decay, a->layer_decay },
    };
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        if (numbers[i].from.given) *numbers[i].to = numbers[i].from.value;
}

/* A whole number of steps, or a share of them below 1. */
static int read_warmup(size_t *out, double value, size_t steps, lvlm_error *err)
{
    FAIL_IF(value >= 1 && value != floor(value), err, LVLM_EUSAGE,
            "--warmup '%g': expected a whole number of steps, or a share of them below "
            "1",
            value);
    FAIL_IF(value > (double)steps, err, LVLM_EUSAGE,
            "--warmup %g: a run of %zu steps would end before it reached the "
            "learning rate",
            value, steps);
    *out = value < 1 ? (size_t)ceil(value * (double)steps) : (size_t)value;
    return 0;
}

/* How many steps, and how many batches each. */
static int read_length(train_run *r, lvlm_error *err)
{
    const train_args *const a = r->args;
    const double each = a->accumulate > 0 ? (double)a->accumulate : 1;
    const double steps = a->steps > 0
                             ? (double)a->steps
                             : ceil(a->epochs.value * (double)r->source.n / each);
    assert((a->steps > 0) != (a->epochs.value > 0)); /* the command's needs */
    assert(r->source.n > 0);
    FAIL_IF(!(steps * each <= MAX_COUNT), err, LVLM_EUSAGE,
            "%s: %g batches in all, at most %g", a->steps > 0 ? "--steps" : "--epochs",
            steps * each, MAX_COUNT);
    r->options.accumulate = (size_t)each;
    r->steps = (size_t)steps;
    return 0;
}

static int read_lora(train_run *r, lvlm_error *err)
{
    const train_args *const a = r->args;
    if (a->lora == NULL && a->adapter == NULL) return 0;
    if (a->lora != NULL) TRY(lvlm_lora_parse(&r->lora, a->lora, err));
    r->options.lora = &r->lora;
    r->options.adapter = a->adapter;
    return 0;
}

int train_read_options(train_run *r, lvlm_error *err)
{
    const train_args *const a = r->args;
    lvlm_trainer_options *const o = &r->options;
    assert(r->source.self != NULL);
    *o = lvlm_trainer_defaults();
    o->data = r->source.id;
    o->data_file = r->source.file;
    o->batches = r->source.how;
    o->seed = a->seed;
    o->model = (lvlm_model_options){ .compute = lvlm_compute_of(a->compute),
                                     .checkpointing = a->checkpointing,
                                     .threads = lvlm_thread_count(&a->common),
                                     .resolution = a->resolution,
                                     .notes = r->notes,
                                     .reference = a->reference };
    TRY(read_length(r, err));
    o->decay_all = a->decay != NULL && strcmp(a->decay, "all") == 0;
    o->schedule.steps = r->steps;
    TRY(read_lora(r, err));
    TRY(lvlm_dropout_parse(&o->dropout, a->dropout, err));
    TRY(lvlm_stage_parse(&o->stage, a->stage, err));
    TRY(lvlm_schedule_parse(&o->schedule.kind, a->schedule, err));
    read_numbers(o, a);
    FAIL_IF(o->min_lr > o->adamw.lr, err, LVLM_EUSAGE,
            "--min-lr %g: is above the rate that it is reached from, --lr %g",
            o->min_lr, o->adamw.lr);
    return read_warmup(&o->schedule.warmup, a->warmup.value, r->steps, err);
}

static int check(const void *arguments, const lvlm_operands *operands, lvlm_error *err)
{
    const train_args *const a = arguments;
    const bool lora = a->lora != NULL || a->adapter != NULL;
    lvlm_dropout dropout;
    (void)operands;
    TRY(train_check_data(a, err));
    TRY(lvlm_dropout_parse(&dropout, a->dropout, err));
    FAIL_IF(a->save_every > 0 && a->state == NULL && a->resume == NULL, err,
            LVLM_EUSAGE, "--save-every needs --state DIR");
    FAIL_IF(!lora && a->adapter_out != NULL, err, LVLM_EUSAGE,
            "--adapter-out needs --lora or --adapter");
    FAIL_IF(a->base_name != NULL && a->adapter_out == NULL, err, LVLM_EUSAGE,
            "--base-name needs --adapter-out DIR");
    FAIL_IF(lora && a->stage != NULL, err, LVLM_EUSAGE,
            "--stage: with LoRA the model is frozen; targets say what is adapted");
    return 0;
}

static int run(const void *arguments, const lvlm_operands *operands, lvlm_notes *notes,
               lvlm_error *err)
{
    train_run r = TRAIN_RUN_INIT(arguments, operands->at[0], notes);
    const int rc = train_run_all(&r, err);
    return train_run_free(&r, rc, err);
}

const lvlm_command command_train = {
    "train",
    "MODEL",
    1,
    1,
    "fine-tune a native file on images and text, or on ready batches",
    "Trains the parts that --stage names with AdamW and writes the model again, in\n"
    "the types that it is stored in. What is frozen stays in the file as it is; a\n"
    "table at the end says which tensors changed. A loss that is not finite stops the\n"
    "run and names the batch and the first stage.\n"
    "\n"
    "A run that is stopped or killed resumes from its state, to the same bytes. INT,\n"
    "TERM and HUP let it finish the step, save the state where --state or --resume\n"
    "says, and end with 128 and the number of the signal (130 after Ctrl-C); a second\n"
    "one ends it at once. MODEL2 is not written: half of a run is not its result.\n"
    "With --schedule constant and more --steps, --resume makes a run longer.\n"
    "\n"
    "--lora trains a pair of small matrices beside each target, W + alpha/r B A, and\n"
    "leaves the model in its file. A target is the end of a module's name as PEFT\n"
    "matches it (q_proj: in the tower too, where it has one), q k v o gate up down\n"
    "for the blocks of the language model only, the end of a native name\n"
    "(vision.blocks.0.attn.q), or all-linear. Where q, k and v are one matrix in\n"
    "Hugging Face's model (c_attn, qkv) it is adapted whole. Modules that save=\n"
    "names, by the ends of their names in Hugging Face's model, are trained whole and\n"
    "saved with the adapter, as PEFT's modules_to_save: save=wte,lm_head is what\n"
    "Qwen-VL's makers train of the base model besides the targets c_attn,\n"
    "attn.c_proj, w1 and w2. A head that is tied to the embedding is trained and\n"
    "saved with it (ensure_weight_tying). --adapter-out is what\n"
    "PeftModel.from_pretrained loads; --out is the model with the adapter merged in,\n"
    "as lvlm-convert merge-lora does it; one of them is needed.\n"
    "\n"
    "  lvlm-tune train model.lvlm --out tuned.lvlm --data train.jsonl \\\n"
    "      --images photos/ --batch-size 4 --epochs 3 --stage 3 --lr 1e-5\n"
    "\n"
    "  lvlm-tune train model.lvlm --adapter-out adapter --data train.jsonl \\\n"
    "      --steps 500 --lora r=8,alpha=16,dropout=0.05,targets=q,v --lr 1e-4\n"
    "\n"
    "An example is one of\n"
    "\n"
    "  {\"conversations\": [\n"
    "     {\"from\": \"human\", \"value\": \"<image>\\nWhat is it?\"},\n"
    "     {\"from\": \"gpt\", \"value\": \"A cat.\"}], \"image\": \"cat.jpg\"}\n"
    "  {\"conversations\": [\n"
    "     {\"from\": \"user\",\n"
    "      \"value\": \"Picture 1: <img>cat.jpg</img>\\nWhat is it?\"},\n"
    "     {\"from\": \"assistant\", \"value\": \"A cat.\"}]}\n"
    "  {\"prefix\": \"caption en\", \"suffix\": \"a cat\", \"image\": \"cat.jpg\"}\n"
    "  {\"image\": \"cat.jpg\", \"caption\": \"a cat\"}  (or \"text\")\n"
    "  {\"interleaved\": [{\"text\": \"This is \"}, {\"image\": \"cat.jpg\"},\n"
    "     {\"text\": \", a cat.\"}]}\n"
    "\n"
    "or, in FILE.tar in place of FILE.jsonl, a pair of NAME.jpg, .jpeg, .png or .webp\n"
    "and NAME.txt or NAME.json (its \"caption\" or \"text\"), beside each other;\n"
    "for a model of any family; several images are a list of files. LLaVA's may have\n"
    "<video> too, and beside it \"video\": a folder of frames or a list of files, or\n"
    "one of these for each <video>, and \"fps\": how many frames a second there are.\n"
    "The conversations of a file, which are the first three, are all in one form.\n"
    "Their prompts are those of lvlm-run; which tokens are learnt is what the\n"
    "family's own fine-tuning code says. The last two may be among them. They are\n"
    "written as they stand, without turns whatever --template says. All words are\n"
    "learnt, and an end: a new line (LLaVA, as in its first stage), <|endoftext|>\n"
    "(Qwen-VL and Qwen2-VL), <|end_of_text|> (Llama 3.2), eos (PaliGemma, whose\n"
    "images come first, and whose prefix is empty). A line that cannot be used is\n"
    "named and ends the run, or with --skip-bad is left out and counted; so is what\n"
    "--max-length cuts.\n"
    "\n"
    "The loss at the end is a mean: of the last epoch, but of at most 100 steps and\n"
    "half of the run. --json has out, adapter, steps, loss, loss_steps (that it is\n"
    "the mean of), first_loss (of step 1), kernel (what multiplied matrices),\n"
    "seconds (of all steps), step_seconds, token_seconds, image_seconds (of one\n"
    "each), compared, parts (of tensors:\n"
    "trained_changed, trained_same, frozen_same, frozen_changed), trained_same\n"
    "(names), folded, features (hits, misses, damaged), template and pad_to_square\n"
    "(of LLaVA), data and eval (examples, left_out, cut, first_turn_left_out),\n"
    "eval_loss, notes.",
    options,
    sizeof(train_args),
    run,
    "(--out MODEL2 and/or --adapter-out DIR) (--data FILE.jsonl | --batches DIR) "
    "(--steps N | --epochs E)",
    check,
};
