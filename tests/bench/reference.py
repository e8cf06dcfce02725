#!/usr/bin/env python3
"""Time the reference (transformers on torch) on a checkpoint and inputs that run.sh made.

usage: reference.py DIR IN.safetensors WORK [--dtype bf16|f32] [--calls N] [--threads N]
                    [--attention eager|sdpa] [--logits FILE]

WORK is forward, decode, or a step of training: full, connector, lora. Prints lines "load
SECONDS", "call SECONDS" for each call, "loss LOSS" of the first one, and "peak MB". --logits
keeps those of a forward pass.
"""
import argparse
import resource
import time

import torch
import transformers
from safetensors.torch import load_file, save_file

CONNECTOR = "multi_modal_projector", "merger"


def timed(call):
    start = time.perf_counter()
    result = call()
    print(f"call {time.perf_counter() - start:.4f}", flush=True)
    return result


def forward(model, batch, args):
    batch.pop("labels")
    with torch.no_grad():
        for _ in range(args.calls):
            logits = timed(lambda: model(**batch, use_cache=False)).logits
    if args.logits:
        save_file({"logits": logits.float().contiguous()}, args.logits)


def decode(model, batch, args):
    """Seconds a token after the first: of 25 tokens less those of one."""
    batch.pop("labels")
    settings = dict(do_sample=False, eos_token_id=None, pad_token_id=0)
    with torch.no_grad():
        for _ in range(args.calls):
            spans = []
            for n in 1, 25:
                start = time.perf_counter()
                model.generate(**batch, max_new_tokens=n, min_new_tokens=n, **settings)
                spans.append(time.perf_counter() - start)
            print(f"call {(spans[1] - spans[0]) / 24:.4f}", flush=True)


def train(model, batch, args):
    if args.work == "lora":
        import peft
        targets = r".*(language_model|^model\.layers).*\.(q_proj|v_proj)"
        model = peft.get_peft_model(model, peft.LoraConfig(r=8, lora_alpha=16, target_modules=targets))
    else:
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(args.work == "full" or any(part in name for part in CONNECTOR))
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-5)

    def step():
        loss = model(**batch, use_cache=False).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        return loss.item()

    losses = [timed(step) for _ in range(args.calls)]
    print("loss", losses[0])


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("dir")
    parser.add_argument("inputs")
    parser.add_argument("work", choices=["forward", "decode", "full", "connector", "lora"])
    parser.add_argument("--dtype", choices=["bf16", "f32"], default="f32")
    parser.add_argument("--calls", type=int, default=2)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--attention", default="sdpa")
    parser.add_argument("--logits")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    dtype = torch.bfloat16 if args.dtype == "bf16" else torch.float32
    name = transformers.AutoConfig.from_pretrained(args.dir).architectures[0]
    start = time.perf_counter()
    model = getattr(transformers, name).from_pretrained(args.dir, dtype=dtype, attn_implementation=args.attention)
    print(f"load {time.perf_counter() - start:.4f}", flush=True)
    batch = load_file(args.inputs)
    if "image_grid_thw" in batch:
        batch["mm_token_type_ids"] = (batch["input_ids"] == model.config.image_token_id).long()
    batch = {key: value.to(dtype) if value.is_floating_point() else value for key, value in batch.items()}
    dict(forward=forward, decode=decode).get(args.work, train)(model.eval(), batch, args)
    print(f"peak {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000:.0f}")


if __name__ == "__main__":
    main()
