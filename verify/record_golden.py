#!/usr/bin/env python3
"""Record what a Hugging Face model computes, for `lvlm-verify replay`.

usage: record_golden.py MODEL OUT.safetensors --prompt TEXT [--image FILE ...] [--answer TEXT]
       record_golden.py MODEL OUT.safetensors --messages FILE.json
       record_golden.py MODEL OUT.safetensors --inputs IN.safetensors [MORE.safetensors ...]

MODEL is a folder of Hugging Face's, or a model id. The recording has the inputs, what each block
makes of them, logits and loss, as formats/GOLDEN.md describes it:

    lvlm-convert hf2native MODEL model.lvlm
    lvlm-verify replay model.lvlm OUT.safetensors

Everything is computed in double, also what the library always casts to float32, so that a right
conversion agrees to 1e-12 whatever the model. The weights stay as they are stored: only those of
the module that is computed are widened (--whole: all of them at once, which is faster; --steps
needs that). Everything runs twice, and what comes out otherwise the second time is named.

--messages: a JSON list of {"role": ..., "content": TEXT or [{"type": "image", "image": FILE},
{"type": "text", "text": ...}]}, or a list of such lists, one for each row of a batch. An answer,
or a last message of the assistant, is what the loss is of; without one it is of all text.
--inputs: ready tensors, as the model's processor or `lvlm-run preprocess` makes them; more than one
file: the batches of --steps. The first is what stages, gradients and tokens are of.

Needs torch, transformers (4.49 or later) and safetensors, and pillow for images: no other file.
"""
import argparse
import contextlib
import copy
import fnmatch
import functools
import hashlib
import importlib.util
import inspect
import json
import math
import os
import re
import sys

try:
    import torch
    import transformers
    from safetensors import safe_open
    from safetensors.torch import load_file, save_file
    from torch.overrides import TorchFunctionMode
except ModuleNotFoundError as missing:
    sys.exit(f"{__doc__}\nrecord_golden: {missing.name} is not there: pip install torch transformers")

NAMES = {torch.float64: "F64", torch.float32: "F32", torch.bfloat16: "BF16", torch.float16: "F16",
         torch.int64: "I64", torch.int32: "I32", torch.int16: "I16", torch.int8: "I8", torch.uint8: "U8",
         torch.bool: "BOOL"}
DTYPES = {"double": torch.float64, "float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}

VERSION = tuple(int(x) for x in re.findall(r"\d+", transformers.__version__)[:2])
DTYPE_KEY = "dtype" if VERSION >= (4, 56) else "torch_dtype"


class Refused(Exception):
    """Something that the caller can change."""


# ---- double throughout ---------------------------------------------------------------------------

NARROW = (torch.float32, torch.bfloat16, torch.float16)
REINTERPRETED = (torch.Tensor.view, torch.frombuffer)  # the bytes of a type stay of this type


def widened(x):
    return torch.float64 if isinstance(x, torch.dtype) and x in NARROW else x


def is_narrow(x):
    return isinstance(x, torch.Tensor) and x.dtype in NARROW


class Widening(TorchFunctionMode):
    """Every function and method of torch that would create, or cast to, a type narrower than float64
    gives float64; one that still returns a narrow one, computed from others, is an error."""

    paused = False  # while stored tensors are read

    def __torch_function__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if Widening.paused or function in REINTERPRETED:
            return function(*args, **kwargs)
        if function in (torch.Tensor.float, torch.Tensor.half, torch.Tensor.bfloat16):
            function = torch.Tensor.double
        result = function(*map(widened, args), **{k: widened(v) for k, v in kwargs.items()})
        if is_narrow(result) and not any(map(is_narrow, args)):
            raise TypeError(f"{function.__name__} made {result.dtype}")
        return result


@contextlib.contextmanager
def throughout(double=True):
    """Build the model inside as well: its modules compute tables when they are created."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64 if double else before)
    try:
        with Widening() if double else contextlib.nullcontext():
            yield
    finally:
        torch.set_default_dtype(before)


@contextlib.contextmanager
def as_stored():
    before, Widening.paused = Widening.paused, True
    try:
        yield
    finally:
        Widening.paused = before


def check(tensors):
    """Tensors by name must all be double and finite."""
    narrow = [n for n, t in tensors.items() if t.is_floating_point() and t.dtype != torch.float64]
    wild = [n for n, t in tensors.items() if not torch.isfinite(t).all()]
    if narrow or wild:
        raise TypeError(f"not double: {', '.join(narrow) or 'none'}; not finite: {', '.join(wild) or 'none'}")


# ---- the checkpoint ------------------------------------------------------------------------------

def model_type(folder):
    with open(f"{folder}/config.json") as f:
        return json.load(f).get("model_type")


class Checkpoint:
    """Tensors as they are stored, read one at a time from safetensors files or pickled shards."""

    def __init__(self, folder):
        self.folder, self.at, self.loaded = folder, {}, {}
        files = sorted(os.listdir(folder))
        kept = [f for f in files if f.endswith(".safetensors")] or [f for f in files if f.endswith(".bin")]
        for file in kept:
            path = f"{folder}/{file}"
            if file.endswith(".bin"):
                with as_stored():
                    self.loaded.update(torch.load(path, weights_only=True))
            else:
                with safe_open(path, "pt") as tensors:
                    self.at.update({name: path for name in tensors.keys()})
        if not self.at and not self.loaded:
            raise Refused(f"{folder}: has no model*.safetensors and no pytorch_model*.bin")

    def names(self):
        return sorted([*self.at, *self.loaded], key=str.encode)

    def tensor(self, name):
        if name in self.loaded:
            return self.loaded[name]
        with as_stored(), safe_open(self.at[name], "pt") as tensors:
            return tensors.get_tensor(name)

    def shape(self, name):
        if name in self.loaded:
            return list(self.loaded[name].shape), self.loaded[name].dtype
        with safe_open(self.at[name], "pt") as tensors:
            part = tensors.get_slice(name)
            return part.get_shape(), {v: k for k, v in NAMES.items()}[part.get_dtype()]

    def dtype(self):
        """The type of all weights, or the one that holds the values of each."""
        found = {t for t in (self.shape(name)[1] for name in self.names()) if t.is_floating_point}
        return found.pop() if len(found) == 1 else torch.float64 if torch.float64 in found else torch.float32

    def digest(self):
        """SHA-256 of a line for each tensor: name, type, shape, SHA-256 of its bytes."""
        listing = hashlib.sha256()
        for name in self.names():
            t = self.tensor(name)
            raw = t.contiguous().reshape(-1).view(torch.uint8).numpy()
            listing.update(f"{name} {NAMES[t.dtype]} {list(t.shape)} {hashlib.sha256(raw).hexdigest()}\n".encode())
        return listing.hexdigest()

    def names_of(self, parameters):
        """The names that the checkpoint has for a model's parameters, which versions of the library name
        in other ways: the same values, and of those the name with the longest end in common."""
        by_shape, found = {}, {}
        for name in self.names():
            by_shape.setdefault(tuple(self.shape(name)[0]), []).append(name)
        for name, p in parameters.items():
            ends = sorted(by_shape.get(tuple(p.shape), []), key=lambda n: -common_end(n, name))
            same = (n for n in ends if torch.equal(self.tensor(n).to(p.dtype), p.detach()))
            found[name] = next(same, None)
            if found[name] is None:
                raise Refused(f"{name}: the checkpoint has no tensor with these values")
        return found


def common_end(a, b):
    a, b = a.split(".")[::-1], b.split(".")[::-1]
    return next((i for i, (x, y) in enumerate(zip(a, b)) if x != y), min(len(a), len(b)))


# ---- the families: where stages are --------------------------------------------------------------
# A path may have alternatives, of versions of the library; a stage whose path is not there is not
# recorded. "<": what enters the module, else what leaves it.

QWEN2 = dict(tower="model.visual|visual", blocks={"vision.blocks": "blocks"},
             tower_stages={"vision.patches": "patch_embed", "connector.norm": "merger.ln_q", "connector.out": "merger"})
CLIP = dict(tower="model.vision_tower.vision_model|vision_tower.vision_model|model.vision_tower",
            projector="model.multi_modal_projector|multi_modal_projector", blocks={"vision.blocks": "encoder.layers"})
FAMILIES = {
    "qwen2_vl": QWEN2,
    "qwen2_5_vl": QWEN2,
    "paligemma": dict(CLIP, tower_stages={
        "vision.patches": "embeddings.patch_embedding", "vision.embed": "embeddings", "vision.out": "post_layernorm"}),
    "llava": dict(CLIP, tower_stages={
        "vision.patches": "embeddings.patch_embedding", "vision.embed": "pre_layrnorm|embeddings"},
        projector_stages={"vision.out": "<", "connector.linear_1": "linear_1"}),
    "mllama": dict(tower="model.vision_model|vision_model",
                   projector="model.multi_modal_projector|multi_modal_projector",
                   blocks={"vision.blocks": "transformer.layers", "vision.global_blocks": "global_transformer.layers"},
                   tower_stages={"vision.patches": "patch_embedding", "vision.embed": "layernorm_pre",
                                 "vision.out": ""}),
    # Qwen-VL (2023): its code goes through the blocks of its tower with the rows first
    "qwen": dict(tower="transformer.visual", blocks={"vision.blocks": "transformer.resblocks"}, rows_first=True,
                 text="transformer", layers="h", norm="ln_f",
                 tower_stages={"vision.patches": "conv1", "vision.embed": "ln_pre", "vision.out": "<attn_pool",
                               "connector.attn": "attn_pool", "connector.ln_post": "ln_post", "connector.out": ""}),
}
TEXT = "model.language_model.model|model.language_model|language_model.model|model"


def find(module, paths, needs=None):
    """The module at the first path that exists, and has the attribute `needs`; else None."""
    for path in paths.split("|"):
        at = module
        for step in filter(None, path.split(".")):
            at = getattr(at, step, None)
        if at is not None and (needs is None or hasattr(at, needs)):
            return at
    return None


def family_of(config):
    text = getattr(config, "text_config", None)
    second = config.model_type == "paligemma" and getattr(text, "model_type", "") == "gemma2"
    return "paligemma2" if second else "qwen_vl" if config.model_type == "qwen" else config.model_type


def used_blocks(config, n):
    """How many blocks of the tower lead to the states that LLaVA's features are."""
    layer = getattr(config, "vision_feature_layer", None)
    if config.model_type != "llava" or layer is None:
        return n
    return max(i if i >= 0 else n + 1 + i for i in (layer if isinstance(layer, (list, tuple)) else [layer]))


def watch(model, keep):
    """Hooks that hand each stage to keep(name, tensor), in the library's own shape and order of rows;
    a list of what removes them."""
    family = FAMILIES[model.config.model_type]
    layers_of = family.get("layers", "layers")
    tower, text = find(model, family["tower"]), find(model, family.get("text", TEXT), layers_of)
    projector = find(model, family["projector"]) if "projector" in family else None
    hooks = []

    def leaving(module, stage, rows_first=False):
        def take(_, args, out):
            x = out[0] if isinstance(out, tuple) else getattr(out, "last_hidden_state", out)
            x = x.flatten(2).transpose(1, 2) if x.dim() == 4 and "patches" in stage else x
            keep(stage, x.transpose(0, 1) if rows_first else x)
        hooks.append(module.register_forward_hook(take))

    def entering(module, stage):
        hooks.append(module.register_forward_pre_hook(
            lambda _, a, k: keep(stage, a[0] if a else k["hidden_states"]), with_kwargs=True))

    for root, stages in ((tower, family["tower_stages"]), (projector, family.get("projector_stages", {}))):
        for stage, path in stages.items():
            module = find(root, path.lstrip("<"))
            if module is not None:
                (entering if path.startswith("<") else leaving)(module, stage)
    if projector is not None:
        leaving(projector, "connector.out")
    for stage, path in family["blocks"].items():
        layers = find(tower, path)
        for n in range(used_blocks(model.config, len(layers))):
            leaving(layers[n], f"{stage}.{n}", family.get("rows_first", False))
    blocks = getattr(text, layers_of)
    entering(blocks[0], "text.embed")
    for n, layer in enumerate(blocks):
        leaving(layer, f"text.blocks.{n}")
    leaving(getattr(text, family.get("norm", "norm")), "text.norm")
    return hooks


# ---- the model -----------------------------------------------------------------------------------

def cut(config, layers):
    """The configuration of a model that ends after so many decoder blocks."""
    text = getattr(config, "text_config", None) or config
    if not 0 < layers <= text.num_hidden_layers:
        raise Refused(f"--layers {layers}: the model has {text.num_hidden_layers} decoder blocks")
    for part in {id(text): text, id(config): config}.values():
        if hasattr(part, "num_hidden_layers"):
            part.num_hidden_layers = layers
        if getattr(part, "layer_types", None):
            part.layer_types = part.layer_types[:layers]
    if getattr(text, "cross_attention_layers", None):
        text.cross_attention_layers = [i for i in text.cross_attention_layers if i < layers]


def from_pretrained(folder, dtype, layers=None, own_code=False):
    trust = {"trust_remote_code": True} if own_code else {}
    config = transformers.AutoConfig.from_pretrained(folder, **trust)
    if config.model_type not in FAMILIES:
        raise Refused(f"{folder}: is of {config.model_type}, which is not one of {', '.join(FAMILIES)}")
    if layers:
        cut(config, layers)
    library = transformers.AutoModelForCausalLM if own_code else transformers.AutoModelForImageTextToText
    return library.from_pretrained(
        folder, config=config, attn_implementation="eager", **{DTYPE_KEY: dtype}, **trust).eval()


class Unallocated(TorchFunctionMode):
    """Parameters that are about to be loaded take no memory before."""

    def __torch_function__(self, function, types, args=(), kwargs=None):
        return function(*args, **dict(kwargs or {}, **({"device": "meta"} if function is torch.empty else {})))


def owner_of(model, name):
    path, _, leaf = name.rpartition(".")
    return model.get_submodule(path), leaf


def in_double(loaded, whole):
    """The same model with tables that were computed in double; its parameters are those of `loaded`, as
    they are or, with `whole`, widened."""
    config = copy.deepcopy(loaded.config)
    for part in (config, *(getattr(config, k, None) for k in ("text_config", "vision_config"))):
        if isinstance(part, transformers.PretrainedConfig):
            setattr(part, DTYPE_KEY, torch.float64)
    with throughout(), Unallocated():
        model = type(loaded)(config)
    shared = {}  # tied ones stay tied
    for name, p in loaded.named_parameters(remove_duplicate=False):
        owner, leaf = owner_of(model, name)
        if id(p) not in shared:
            shared[id(p)] = torch.nn.Parameter(p.detach().double()) if whole else p
        owner._parameters[leaf] = shared[id(p)]
    stored = loaded.state_dict()
    for name, b in loaded.named_buffers():
        owner, leaf = owner_of(model, name)
        if name in stored:
            owner._buffers[leaf] = b.double() if b.is_floating_point() else b
    lost = [n for n, p in [*model.named_parameters(), *model.named_buffers()] if p.is_meta]
    if lost:
        raise Refused(f"{lost[0]}: is not in the checkpoint, as this version of transformers reads it")
    model.generation_config = loaded.generation_config
    return model.eval()


class Widened(torch.autograd.Function):
    """A stored weight in double, whose gradient goes to a dictionary."""

    @staticmethod
    def forward(ctx, anchor, stored, key, gradients):
        ctx.key, ctx.gradients = key, gradients
        return stored.detach().double()

    @staticmethod
    def backward(ctx, g):
        ctx.gradients[ctx.key] = ctx.gradients[ctx.key] + g if ctx.key in ctx.gradients else g.clone()
        return None, None, None, None


class Blockwise:
    """Widens the weights of each module before its forward and releases them after it; what autograd
    keeps of them is widened again when it is needed."""

    def __init__(self, model):
        self.gradients, self.live, self.put = {}, {}, {}
        self.anchor = torch.zeros((), requires_grad=True)
        self.keys = {id(p): n for n, p in model.named_parameters()}
        inside = {id(m) for outer in model.modules() if isinstance(outer, torch.nn.MultiheadAttention)
                  for m in outer.modules() if m is not outer}  # which uses their weights itself
        for module in model.modules():
            whole = module.modules() if isinstance(module, torch.nn.MultiheadAttention) else [module]
            own = [(m, n) for m in whole for n, p in m._parameters.items() if p is not None]
            if own and id(module) not in inside:
                module.register_forward_pre_hook(lambda m, a, own=own: self.widen(m, own))
                module.register_forward_hook(lambda m, a, o: self.release(m), always_call=True)

    def widen(self, module, own):
        self.put[module] = []
        for owner, name in own:
            p = owner._parameters.pop(name)
            w = Widened.apply(self.anchor, p, self.keys[id(p)], self.gradients)
            self.live[w.untyped_storage().data_ptr()] = p
            owner.__dict__[name] = w
            self.put[module].append((owner, name, p, w.untyped_storage().data_ptr()))

    def release(self, module):
        for owner, name, p, at in self.put.pop(module, []):
            del owner.__dict__[name]
            owner._parameters[name] = p
            self.live.pop(at, None)

    def saved(self):
        def pack(t):
            stored = self.live.get(t.untyped_storage().data_ptr()) if t.dtype == torch.float64 else None
            return t if stored is None else (stored, t.shape, t.stride(), t.storage_offset())

        def unpack(kept):
            if isinstance(kept, torch.Tensor):
                return kept
            return kept[0].detach().contiguous().double().as_strided(*kept[1:])
        return torch.autograd.graph.saved_tensors_hooks(pack, unpack)


def layers_of(past):
    """Keys and values of each layer, as [1, heads, rows, width], and whether it keeps only a window."""
    if past is None:
        raise Refused("--cache: the reference returns none")
    if hasattr(past, "layers"):
        return [(getattr(x, "keys", None), getattr(x, "values", None), getattr(x, "is_sliding", False))
                for x in past.layers]
    pairs = past if isinstance(past, tuple) else zip(past.key_cache, past.value_cache)
    return [(*tuple(x)[:2], False) for x in pairs]


def cached(past, mask, n, left):
    """Keys and values of the layers that kept a row for every token, or the last ones of a window, which
    are named, as [rows, heads * width], after n tokens, of which the last was not read."""
    real = torch.cat([mask.bool(), torch.ones(n - 1, dtype=torch.bool)])
    padded = not mask.all()
    found, lost = {}, 0
    for i, (keys, values, slides) in enumerate(layers_of(past)):
        m = keys.shape[2] if all(isinstance(x, torch.Tensor) and x.dim() == 4 for x in (keys, values)) else 0
        cut = slides and 0 < m < len(real)
        if m != len(real) and not cut:
            lost += 1
            continue
        # generate() does not count padding, the forward does: the angles of keys are others
        for name, x in [("values", values)] if padded else [("keys", keys), ("values", values)]:
            found[f"cache.{i}.{name}"] = x[0].transpose(0, 1).flatten(1)[real[-m:]]
            if cut:
                found[f"rows.cache.{i}.{name}"] = (real.cumsum(0) - 1)[-m:][real[-m:]]
    left += [f"the cache of {lost} layers"] if lost else []
    left += ["cached keys, as the text is padded"] if padded else []
    return found


class Reference:
    """A model that runs in one precision. `watcher` as watch()."""

    def __init__(self, model, double, watcher=watch, blockwise=None, restated=None, described=None):
        self.model, self.double, self.watcher, self.blockwise = model, double, watcher, blockwise
        self.restated = restated  # the module that computes in place of the library
        self.described = described  # what computes, if that is not the library
        self.past = None, None, 0  # after generate, for cached()
        for m in model.modules():
            for name, value in list(vars(m).items()):
                if isinstance(value, float) and (name.endswith("dropout") or isinstance(m, torch.nn.Dropout)):
                    setattr(m, name, 0.0)

    def cast(self, batch):
        """The inputs in the precision, without those that older versions do not know and do not need."""
        dtype = torch.float64 if self.double else next(iter(self.model.parameters())).dtype
        known = inspect.signature(self.model.forward).parameters
        return {k: v.to(dtype) if v.is_floating_point() else v.long() if k == "labels" else v
                for k, v in batch.items() if k in known or k != "mm_token_type_ids"}

    def forward(self, batch):
        """Stages in evaluation, in order of computation, logits and loss."""
        stages = {}
        with throughout(self.double), torch.no_grad():
            hooks = self.watcher(self.model, lambda name, x: stages.__setitem__(name, x.detach().clone()))
            out = self.model.eval()(**self.cast(batch), use_cache=False)
            for h in hooks:
                h.remove()
        stages["logits"] = out.logits.detach()
        if out.loss is not None:
            stages["loss"] = out.loss.detach()
        if self.double:
            check(stages)
        return stages

    def backward(self, batch):
        """The gradient of every parameter that has one, in training."""
        with throughout(self.double), self.blockwise.saved() if self.blockwise else contextlib.nullcontext():
            self.model.train()(**self.cast(batch), use_cache=False).loss.backward()
            self.model.eval()
        if self.blockwise:
            gradients, self.blockwise.gradients = self.blockwise.gradients, {}
        else:
            gradients = {n: p.grad for n, p in self.model.named_parameters() if p.grad is not None}
            self.model.zero_grad()
        if self.double:
            check(gradients)
        return gradients

    def generate(self, batch, n):
        """Greedy tokens with the cache, by the settings of generation_config.json, and the logits that
        each was chosen from."""
        prompt = {k: v for k, v in self.cast(batch).items() if k != "labels"}
        if prompt["input_ids"].shape[0] != 1:
            raise Refused("--tokens: needs a batch of one text")
        if self.restated:
            rounds = []
            self.model.cache = {}
            with throughout(self.double):
                tokens, _ = self.restated.generate(self.model, prompt, {"most": n}, rounds.append)
            pairs = tuple(tuple(x.unsqueeze(1) for x in pair) for pair in self.model.cache.values())
            self.past = pairs, torch.ones_like(prompt["input_ids"][0]), len(tokens)
            return tokens, {f"round.{i}.logits": x for i, x in enumerate(rounds)}
        turns = []
        if self.model.config.model_type == "qwen":
            turns = turns_of(self.model.generation_config)
            self.model.transformer.visual.pixels = prompt.pop("pixel_values", None)
        with throughout(self.double), torch.no_grad():
            out = self.model.generate(**prompt, max_new_tokens=n, do_sample=False, num_beams=1, output_logits=True,
                                      return_dict_in_generate=True,
                                      **({"stop_words_ids": [[t] for t in turns]} if turns else {}))
        tokens = out.sequences[0, prompt["input_ids"].shape[1]:]
        self.past = getattr(out, "past_key_values", None), prompt["attention_mask"][0], len(tokens)
        forced = [i + 1 for i, t in enumerate(tokens.tolist()) if t in turns]  # only the end can follow
        return tokens, {f"round.{i}.logits": x[0] for i, x in enumerate(out.logits) if i not in forced}


# ---- training ------------------------------------------------------------------------------------

TRAINING = {"lr": 5e-5, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "weight-decay": 0.0, "decay": "matrices",
            "clip": 1.0, "schedule": "linear", "warmup": 0, "accumulate": 1}
NO_DECAY = re.compile(r"bias|layernorm|rmsnorm|(^|\.)norm($|\.)|_norm($|\.)")


def decays(model):
    """Names of what decays by the rule of the library's Trainer: no biases, no norms that are called so."""
    kept = {n for n, m in model.named_modules() if isinstance(m, torch.nn.LayerNorm)}
    return {n for n, _ in model.named_parameters()
            if n.rpartition(".")[0] not in kept and not NO_DECAY.search(n.lower())}


def train(reference, batches, steps, o):
    """Tensors of the recording: step.I.loss, step.I.grad_norm; and the names of parameters that moved."""
    model, found = reference.model, {}
    with throughout(reference.double):
        some = decays(model) if o["decay"] == "matrices" else {n for n, _ in model.named_parameters()}
        groups = [dict(params=[p for n, p in model.named_parameters() if (n in some) == d],
                       weight_decay=o["weight-decay"] * d) for d in (True, False)]
        optimizer = torch.optim.AdamW([g for g in groups if g["params"]], lr=o["lr"],
                                      betas=(o["beta1"], o["beta2"]), eps=o["eps"])
        warmup = math.ceil(o["warmup"] * steps) if o["warmup"] < 1 else int(o["warmup"])
        kind = "constant_with_warmup" if o["schedule"] == "constant" else o["schedule"]
        schedule = transformers.get_scheduler(kind, optimizer, num_warmup_steps=warmup, num_training_steps=steps)
        model.train()
        moved = set()
        for step in range(steps):
            each = [batches[(step * o["accumulate"] + k) % len(batches)] for k in range(o["accumulate"])]
            counts = [int((b["labels"][:, 1:] != -100).sum()) for b in each]
            total = 0.0
            for b, n in zip(each, counts):
                part = model(**reference.cast(b), use_cache=False).loss * (n / sum(counts))
                part.backward()
                total = total + part.detach()
            norm = torch.nn.utils.clip_grad_norm_(model.parameters(), o["clip"] if o["clip"] > 0 else math.inf)
            found[f"step.{step + 1}.loss"], found[f"step.{step + 1}.grad_norm"] = total, norm.detach()
            moved |= {n for n, p in model.named_parameters() if p.grad is not None}
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
    return found, moved


def read_training(text):
    o = dict(TRAINING)
    for pair in filter(None, (text or "").split(",")):
        key, _, value = pair.partition("=")
        if key not in o:
            raise Refused(f"--training {key}: expected one of {', '.join(o)}")
        try:
            o[key] = type(o[key])(value) if key != "warmup" else float(value)
        except ValueError:
            raise Refused(f"--training {key}={value}: expected a number") from None
    words = {"decay": ("matrices", "all"), "schedule": ("constant", "linear", "cosine")}
    for key, allowed in words.items():
        if o[key] not in allowed:
            raise Refused(f"--training {key}={o[key]}: expected {' or '.join(allowed)}")
    return o


# ---- inputs --------------------------------------------------------------------------------------

def conversations_of(args):
    """A list of conversations, each a list of messages."""
    if args.messages:
        with open(args.messages) as f:
            read = json.load(f)
        if not isinstance(read, list) or not read:
            raise Refused(f"{args.messages}: expected a list of messages, or a list of such lists")
        return read if isinstance(read[0], list) else [read]
    content = [*({"type": "image", "image": i} for i in args.image), {"type": "text", "text": args.prompt}]
    answer = [{"role": "assistant", "content": args.answer}] if args.answer is not None else []
    return [[{"role": "user", "content": content}, *answer]]


def parts_of(message):
    content = message["content"]
    return [{"type": "text", "text": content}] if isinstance(content, str) else content


def images_of(messages, folder):
    files = [p.get("image", p.get("path")) for m in messages for p in parts_of(m) if p["type"] == "image"]
    if files and importlib.util.find_spec("PIL") is None:
        raise Refused("images need pillow: pip install pillow")
    return [read_image(os.path.join(folder, f)) for f in files]


def read_image(path):
    from PIL import Image
    return Image.open(path).convert("RGB")


def processor_of(folder):
    """What makes tensors of texts and images; what it lacks is named."""
    ready = "or make the tensors with `lvlm-run preprocess` and pass --inputs"
    if model_type(folder) == "qwen":
        raise Refused(f"{folder}: Qwen-VL (2023) has no processor of transformers' kind: make the tensors with "
                      "`lvlm-run preprocess` and pass --inputs")
    try:
        return transformers.AutoProcessor.from_pretrained(folder)
    except ImportError as e:
        lacks = sorted(set(re.findall(r"requires the (\w+) library", str(e)))) or [getattr(e, "name", None) or str(e)]
        packages = " ".join(PACKAGES.get(n, n.lower()) for n in lacks)
        raise Refused(f"{folder}: its processor needs {packages}: pip install {packages}; {ready}") from e
    except Exception as e:  # without a tokenizer the library fails in many ways
        raise Refused(f"{folder}: has no processor that transformers {transformers.__version__} reads "
                      f"({str(e).strip().partition(chr(10))[0]}): complete the folder, {ready}") from e


PACKAGES = {"PIL": "pillow"}


def rendered(processor, messages, prompt_only):
    """The text before tokens are made of it; without a chat template the parts one after another."""
    if prompt_only and messages[-1]["role"] == "assistant":
        messages = messages[:-1]
    bare = [dict(role=m["role"], content=[{k: v for k, v in p.items() if k in ("type", "text")} for p in parts_of(m)])
            for m in messages]
    if getattr(processor, "chat_template", None):
        return processor.apply_chat_template(bare, add_generation_prompt=messages[-1]["role"] != "assistant")
    return "".join("<image>" if p["type"] == "image" else p["text"] for m in bare for p in m["content"])


def processed(processor, texts, images):
    nested = "Mllama" in type(processor).__name__
    pictures = images if nested else [i for row in images for i in row]
    begun = {"add_special_tokens": False} if nested and getattr(processor, "chat_template", None) else {}
    return dict(processor(text=texts, images=pictures if any(images) else None, padding=True, return_tensors="pt",
                          **begun))


def read_messages(folder, args):
    """One batch of the conversations, with labels."""
    processor, config = processor_of(folder), transformers.AutoConfig.from_pretrained(folder)
    rows = conversations_of(args)
    images = [images_of(r, os.path.dirname(args.messages) if args.messages else "") for r in rows]
    answered = [r[-1]["role"] == "assistant" for r in rows]
    if config.model_type == "paligemma":
        if any(answered) and not all(answered):
            raise Refused("PaliGemma's texts of one batch have an answer each, or none has one")
        suffixes = ["".join(p["text"] for p in parts_of(r[-1])) for r in rows if all(answered)]
        texts = [rendered(processor, r, True) for r in rows]
        pictures = [i for row in images for i in row]
        batch = dict(processor(text=texts, images=pictures, padding=True, return_tensors="pt",
                               **({"suffix": suffixes} if all(answered) else {})))
        return batch if all(answered) else dict(batch, labels=labels_of(batch, config, None))
    batch = processed(processor, [rendered(processor, r, False) for r in rows], images)
    prompts = [processed(processor, [rendered(processor, r, True)], [i])["input_ids"].shape[1] if a else 0
               for r, i, a in zip(rows, images, answered)]
    return dict(batch, labels=labels_of(batch, config, prompts))


def labels_of(batch, config, prompts):
    """What follows each row's prompt is learnt; of a row without an answer all text."""
    ids, mask = batch["input_ids"], batch["attention_mask"]
    special = [getattr(config, k, None) for k in ("image_token_id", "image_token_index", "video_token_id")]
    labels = ids.masked_fill(mask == 0, -100)
    for token in {t for t in special if t is not None}:
        labels = labels.masked_fill(ids == token, -100)
    for row, n in enumerate(prompts or []):
        first = int(mask[row].argmax())
        labels[row, first:first + n] = -100
    return labels


def read_inputs(folder, args):
    batches = [{k.removeprefix("in."): v for k, v in load_file(f).items() if "." not in k.removeprefix("in.")}
               for f in args.inputs] or [read_messages(folder, args)]
    for file, batch in zip(args.inputs, batches):
        if "input_ids" not in batch:
            raise Refused(f"{file}: has no input_ids")
    for batch in batches:
        batch.setdefault("attention_mask", torch.ones_like(batch["input_ids"]))
        if "labels" in batch and not (batch["labels"][:, 1:] != -100).any():
            del batch["labels"]  # the mean over none is not a number
        if "labels" not in batch and (args.grads or args.steps):
            raise Refused("--grads and --steps: need labels in every batch, or a text to learn")
    return batches


# ---- the size ------------------------------------------------------------------------------------

LEAST_ROWS = 4


def size(t):
    return t.numel() * t.element_size()


def row_numbers(name, t, mask, n):
    """n rows spread over the stage, the first and the last among them; of texts only real tokens."""
    of_text = name.startswith("text.") or name == "logits"
    real = mask.flatten().nonzero()[:, 0] if of_text else torch.arange(t[..., 0].numel())
    return real[torch.linspace(0, len(real) - 1, min(n, len(real))).round().long().unique()]


def with_rows(stages, mask, n):
    """The stages, those with more than n rows cut to n; and which rows those are."""
    out, rows = {}, {}
    for name, t in stages.items():
        if t.dim() >= 2 and t[..., 0].numel() > n:
            rows[name] = row_numbers(name, t, mask, n)
            t = t.reshape(-1, t.shape[-1])[rows[name]]
        out[name] = t
    return out, rows


def fit(stages, most, mask):
    """At most `most` bytes of stages: fewer rows first, then fewer blocks. Stages, rows, what was done."""
    total = sum(map(size, stages.values()))
    if total <= most:
        return stages, {}, None
    n = max(t[..., 0].numel() for t in stages.values() if t.dim() >= 2)
    while True:
        out, rows = with_rows(stages, mask, n)
        if sum(map(size, out.values())) <= most or n <= LEAST_ROWS:
            break
        n = max(LEAST_ROWS, n * 3 // 4)
    blocks = [k for k in out if re.fullmatch(r".*blocks\.\d+", k)]
    dropped = []
    while sum(map(size, out.values())) > most and len(blocks) > 2:
        for name in blocks[1:-1][::2] if len(blocks) > 3 else blocks[1:-1]:
            dropped.append(name)
            del out[name]
            rows.pop(name, None)
        blocks = [k for k in blocks if k in out]
    left = f"{n} rows of a stage at most" + (f"; without {len(dropped)} blocks" if dropped else "")
    return out, rows, left


def ends_of(cache, most, left):
    """All layers, or only the first and the last."""
    def layer(name):
        return int(name.split(".")[-2])

    layers = sorted({layer(k) for k in cache})
    if sum(map(size, cache.values())) <= most or len(layers) < 3:
        return cache
    left.append(f"the cache of {len(layers) - 2} layers between the first and the last")
    return {k: t for k, t in cache.items() if layer(k) in (layers[0], layers[-1])}


def fit_largest(tensors, most):
    """As many as fit, the smallest first; and the names of the others."""
    kept, used = {}, 0
    for name, t in sorted(tensors.items(), key=lambda item: size(item[1])):
        if used + size(t) > most:
            break
        kept[name], used = t, used + size(t)
    return {k: v for k, v in tensors.items() if k in kept}, [k for k in tensors if k not in kept]


# ---- the recording -------------------------------------------------------------------------------

def save_recording(path, tensors, meta):
    """A safetensors file that appears whole or not at all, its metadata in order."""
    temporary = f"{path}.{os.getpid()}.tmp"
    try:
        save_file({k: v.detach().clone().contiguous() for k, v in tensors.items()}, temporary, metadata=meta)
        with open(temporary, "rb") as f:
            n = int.from_bytes(f.read(8), "little")
            header = json.loads(f.read(n))
            header["__metadata__"] = dict(sorted(meta.items()))
            text = json.dumps(header, separators=(",", ":")).encode()
            text += b" " * (-len(text) % 8)
            with open(temporary + "2", "wb") as out:
                out.write(len(text).to_bytes(8, "little") + text)
                while block := f.read(1 << 24):
                    out.write(block)
        os.chmod(temporary + "2", 0o644)
        os.replace(temporary + "2", path)
    finally:
        for left in (temporary, temporary + "2"):
            if os.path.exists(left):
                os.remove(left)


def metadata(family, precision):
    return {"family": family, "reference": f"transformers-{transformers.__version__}", "precision": precision,
            "transformers": transformers.__version__, "torch": torch.__version__, "attention": "eager",
            "instruction_set": torch.backends.cpu.get_cpu_capability()}


def differing(first, second):
    """How far each tensor is from itself, of those that are not the same bits."""
    return {k: float((a - second[k]).abs().max()) for k, a in first.items() if not torch.equal(a, second[k])}


def say(*words):
    print("record_golden:", *words, file=sys.stderr)


# ---- Qwen-VL (2023): code of its own, in the folder of the checkpoint ------------------------------

def turns_of(settings):
    """Ids that open and close a turn of a chat: in its vocabulary the two after the end of text."""
    end = settings.eos_token_id if getattr(settings, "chat_format", "") == "chatml" else None
    return [] if end is None else [end + 1, end + 2]


def given_pixels(model):
    """That code opens the images whose paths the ids spell: let it take pixels instead, whatever is spelt.
    In training it takes the rotary base of the evaluation before: let it start afresh."""
    visual, rotary, forward = model.transformer.visual, model.transformer.rotary_emb, model.forward
    opens = model.config.visual["image_start_id"]

    @functools.wraps(forward)
    def with_pixels(input_ids, pixel_values=None, **others):
        if pixel_values is not None:
            visual.pixels = pixel_values
        if model.training:
            rotary._ntk_alpha_cached, rotary._seq_len_cached = 1.0, 0
        ids = input_ids.clone()
        for (row, first), (_, end) in zip((ids == opens).nonzero(), (ids == opens + 1).nonzero()):
            ids[row, first + 1:end] = opens + 2
            ids[row, first + 1] = ord("a")
        return forward(ids, **others)
    visual.encode = lambda paths: visual(visual.pixels)
    model.forward = with_pixels
    return model


def by_own_code(args, folder, checkpoint):
    """The makers' code; Refused where it does not run. It is asked for two tokens to find out, and for
    the weights that it has loaded."""
    double = args.precision == "double"
    dtype, whole = checkpoint.dtype() if double else DTYPES[args.precision], args.whole or args.steps > 0
    try:
        model = from_pretrained(folder, dtype, args.layers, True).to(dtype)  # its table of positions is float32
        wrong = [n for n, p in model.named_parameters()
                 if not torch.equal(checkpoint.tensor(n).to(p.dtype), p.detach())]
        if wrong:
            raise Refused(f"{wrong[0]} has other values than in the checkpoint")
        model = given_pixels(in_double(model, whole) if double else model)
        with open(f"{folder}/modeling_qwen.py", "rb") as f:
            digest = hashlib.sha256(f.read()).hexdigest()
        reference = Reference(model, double, blockwise=Blockwise(model) if double and not whole else None,
                              described=f"the makers' code, modeling_qwen.py {digest}")
        text = torch.tensor([[0, 1]])
        reference.forward({"input_ids": text, "attention_mask": torch.ones_like(text)})
        return reference
    except Exception as e:  # whatever a library that is too new does to it
        reason = " ".join(str(e).split()) or type(e).__name__
        raise Refused(f"{folder}: its own code does not run in transformers {transformers.__version__}: {reason}") from e


def restatement(args, folder):
    """By a module that has of_checkpoint, watch and generate."""
    sys.path.insert(0, os.path.dirname(os.path.abspath(args.qwen_vl_restatement)))
    sys.modules["record_golden"] = sys.modules[__name__]  # which it may import: not twice
    spec = importlib.util.spec_from_file_location("restatement", args.qwen_vl_restatement)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    double = args.precision == "double"
    with throughout(double):
        model = module.of_checkpoint(folder, DTYPES[args.precision], args.layers)
    return Reference(model, double, module.watch, restated=module, described="a restatement of the makers' code")


def qwen_vl(args, folder, checkpoint):
    if not args.trust_remote_code and not args.qwen_vl_restatement:
        raise Refused(f"{folder}: is Qwen-VL (2023), which has code of its own: --trust-remote-code runs it, in a "
                      "transformers that it knows, such as 4.49; --qwen-vl-restatement FILE.py computes the same")
    if args.trust_remote_code:
        try:
            return by_own_code(args, folder, checkpoint)
        except Refused as e:
            if not args.qwen_vl_restatement:
                raise
            say(f"{e}; the restatement is recorded")
    return restatement(args, folder)


def open_reference(args, folder, checkpoint):
    if model_type(folder) == "qwen":
        return qwen_vl(args, folder, checkpoint)
    if args.precision != "double":
        return Reference(from_pretrained(folder, DTYPES[args.precision], args.layers), False)
    whole = args.whole or args.steps > 0
    model = in_double(from_pretrained(folder, checkpoint.dtype(), args.layers), whole)
    return Reference(model, True, blockwise=None if whole else Blockwise(model))


def twice(args, what, compute):
    """What it computes; where a second run differs is said, and listed."""
    first = compute()
    apart = {} if args.once else differing(first, compute())
    for name, distance in apart.items():
        say(f"{what}{name}: a second run differs by up to {distance:.1e}")
    return first, [what + name for name in apart]


def run(args):
    if os.path.exists(args.out) and not args.force:
        raise Refused(f"{args.out}: exists; --force overwrites it")
    if sum(bool(x) for x in (args.prompt is not None, args.messages, args.inputs)) != 1:
        raise Refused("one of --prompt, --messages and --inputs says what to record")
    if args.threads:
        torch.set_num_threads(args.threads)
    folder = args.model
    if not os.path.isdir(folder):
        if not re.fullmatch(r"[\w-][\w.-]*(/[\w.-]+)?", folder):
            raise Refused(f"{folder}: is not a folder")
        from huggingface_hub import snapshot_download
        folder = snapshot_download(folder)
    training = read_training(args.training)
    checkpoint, batches = Checkpoint(folder), read_inputs(folder, args)
    reference = open_reference(args, folder, checkpoint)
    config = reference.model.config
    batch, mask = batches[0], batches[0]["attention_mask"]
    meta = metadata(family_of(config), args.precision)
    meta.update(checkpoint=checkpoint.digest())
    if reference.described:
        meta.update(reference="trained", model=reference.described)
    if args.layers:
        meta["layers"] = str(args.layers)
    tensors = {f"in.{k}": v for k, v in batch.items()}
    tensors.update({f"batch.{i}.{k}": v for i, b in enumerate(batches) if i and args.steps for k, v in b.items()})

    left = []
    stages, apart = twice(args, "out.", lambda: reference.forward(batch))
    if args.tokens:
        tokens, rounds = reference.generate(batch, args.tokens)
        tensors.update(rounds, **{"out.tokens": tokens})
        settings = getattr(reference.model, "generation_config", None)
        if args.cache:
            cache = cached(*reference.past, left)
            tensors.update(ends_of(cache, args.max_size * 1e6 / 4, left))
        meta["repetition_penalty"] = str(getattr(settings, "repetition_penalty", None) or 1.0)
    gradients, weights = {}, {}
    if args.grads or args.steps:
        names = checkpoint.names_of(dict(reference.model.named_parameters()))
    if args.grads:
        found, more = twice(args, "grad.", lambda: reference.backward(batch))
        gradients, apart = {"grad." + names[n]: g for n, g in found.items()}, apart + more
    if args.steps:
        found, moved = train(reference, batches, args.steps, training)
        tensors.update(found)
        weights = {"weights." + names[n]: p for n, p in reference.model.named_parameters() if n in moved}
        meta["training"] = json.dumps(dict(training, steps=args.steps, stage="full"))

    room = args.max_size * 1e6 - sum(map(size, tensors.values()))
    wanted = {k: t for k, t in stages.items() if any(fnmatch.fnmatch(k, g) for g in args.stages.split(","))}
    some, rows, cut_to = fit(wanted, room / (2 if gradients or weights else 1), mask)
    room -= sum(map(size, some.values()))
    for group in (gradients, weights):
        kept, lost = fit_largest(group, room)
        room -= sum(map(size, kept.values()))
        tensors.update(kept)
        left += lost
    tensors.update({f"out.{k}": t for k, t in some.items()})
    tensors.update({f"rows.{k}": r for k, r in rows.items()})
    left += [cut_to] if cut_to else []
    meta.update({k: ", ".join(v) for k, v in (("left_out", left), ("not_repeated", apart)) if v})
    save_recording(args.out, tensors, meta)
    say(f"{args.out}: {len(some)} stages, {sum(k.startswith('grad.') for k in tensors)} gradients, "
        f"{os.path.getsize(args.out) / 1e6:.1f} MB" + (f"; left out: {', '.join(left)}" if left else ""))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter,
                                     usage=argparse.SUPPRESS)
    add = parser.add_argument
    add("model")
    add("out")
    add("--prompt", metavar="TEXT")
    add("--image", metavar="FILE", action="append", default=[], help="of --prompt, before it; several in order")
    add("--answer", metavar="TEXT", help="to --prompt")
    add("--messages", metavar="FILE.json")
    add("--inputs", metavar="FILE", nargs="+", default=[])
    add("--precision", choices=DTYPES, default="double",
        help="bfloat16: another processor gives other values, so the instruction set is recorded")
    add("--grads", action="store_true", help="gradients of the mean loss too")
    add("--tokens", metavar="N", type=int, default=0, help="N greedy tokens, and the logits of each")
    add("--cache", action="store_true", help="of --tokens: keys and values of the cache after them too")
    add("--steps", metavar="N", type=int, default=0, help="N training steps: losses, norms, weights after them")
    add("--training", metavar="KEY=VALUE,...", help="of --steps: " + ", ".join(f"{k}={v}" for k, v in TRAINING.items()))
    add("--layers", metavar="N", type=int, help="only the first N decoder blocks; replay computes as many")
    add("--stages", metavar="GLOB,...", default="*", help='only stages that fit: "text.*,logits"')
    add("--max-size", metavar="MB", type=float, default=1000.0,
        help="of the recording (default 1000): rows, blocks and gradients are left out, and named")
    add("--whole", action="store_true", help="widen all weights at once")
    add("--once", action="store_true", help="do not run a second time")
    add("--threads", metavar="N", type=int)
    add("--trust-remote-code", action="store_true",
        help="run the code in MODEL, which Qwen-VL (2023) has; transformers 4.49 can")
    add("--qwen-vl-restatement", metavar="FILE.py",
        help="a module that computes what Qwen-VL's code does, for where that does not run")
    add("--force", action="store_true", help="overwrite OUT")
    args = parser.parse_args()
    try:
        run(args)
        return 0
    except (Refused, OSError, ImportError) as e:
        say(str(e).strip().partition("\n")[0])
        return 2


if __name__ == "__main__":
    sys.exit(main())
