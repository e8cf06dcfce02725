/* export_source.c - rebuilds the source's files byte for byte.
 *
 *   frame bytes | tensor | frame bytes | tensor | ... | frame bytes
 *
 * No container format is known here: the ledger has the offset of each tensor, and the
 * frame has every byte in between, including those of detached tensors. */
#include <assert.h>
#include <string.h>

#include "convert/export_parts.h"
#include "formats/container/shards.h"
#include "formats/native/native.h"

/* Widened values narrow to the same bits or, if training or merging has changed them,
 * to the nearest ones. Rounded values cannot be restored. */
static bool can_restore(lvlm_dtype native, lvlm_dtype source)
{
    if (native == source) return true;
    return lvlm_dtype_is_weight(native) && lvlm_dtype_is_weight(source) &&
           lvlm_dtype_bytes(native) > lvlm_dtype_bytes(source);
}

static int add_tensor(lvlm_export *ex, lvlm_plan *plan, const lvlm_ledger_entry *entry,
                      lvlm_error *err)
{
    const lvlm_tensor *native = lvlm_checkpoint_find(ex->model, entry->targets[0]);
    assert(native != NULL); /* native_rules.c */
    FAIL_IF(!can_restore(native->dtype, entry->source.dtype), err, LVLM_EFORMAT,
            "was converted from %s to %s, which rounds: the source's bytes are lost; "
            "--layout hub writes the rounded weights",
            lvlm_dtype_name(entry->source.dtype), lvlm_dtype_name(native->dtype));
    return export_step(ex, plan, entry, err);
}

/* A file's frame, consumed from the start. It has as many bytes as the ledger needs:
 * native_rules.c. */
typedef struct frame {
    const lvlm_tensor *tensor;
    uint64_t at;
} frame;

static int add_frame(lvlm_plan *plan, frame *f, uint64_t n_bytes, lvlm_error *err)
{
    assert(n_bytes <= f->tensor->n_bytes - f->at);
    if (n_bytes == 0) return 0;
    const unsigned char *bytes = f->tensor->data + f->at;
    f->at += n_bytes;
    return lvlm_plan_bytes(plan, f->tensor->name, bytes, n_bytes, err);
}

/* The frame is used in pieces, so its digest is checked here. */
static int open_frame(lvlm_export *ex, frame *f, const char *file, lvlm_error *err)
{
    lvlm_hex_digest hex;
    const char *name = lvlm_arena_printf(&ex->arena, LVLM_NATIVE_FRAMES "%s", file);
    if (name == NULL) return lvlm_fail_memory(err);
    *f = (frame){ lvlm_checkpoint_find(ex->model, name), 0 };
    assert(f->tensor != NULL);
    TRY(lvlm_digest_bytes(hex, f->tensor->data, (size_t)f->tensor->n_bytes, err));
    FAIL_IF(strcmp(hex, lvlm_native_digest_of(ex->model, f->tensor)) != 0, err,
            LVLM_ECHECK, "tensor '%s' is corrupt", name);
    return 0;
}

static int lay_out(lvlm_export *ex, size_t index, lvlm_error *err)
{
    const lvlm_ledger *ledger = &ex->manifest.ledger;
    lvlm_export_file *file;
    frame f = { NULL, 0 };
    TRY(export_add_file(&file, ex, ledger->files[index].name, err));
    lvlm_plan *const plan = &file->plan;
    FAIL_IF(ledger->files[index].compressed, err, LVLM_EFORMAT,
            "%s was compressed, and compressed bytes are not kept: it cannot be "
            "rebuilt byte for byte; --layout hub writes its weights as safetensors",
            file->name);
    TRY(open_frame(ex, &f, file->name, err));
    for (size_t i = 0; i < ledger->n_entries; i++) {
        const lvlm_ledger_entry *entry = &ledger->entries[i];
        if (entry->source.file != index || entry->source.detached) continue;
        assert(entry->source.offset >= plan->n_bytes);
        TRY(add_frame(plan, &f, entry->source.offset - plan->n_bytes, err));
        TRY(add_tensor(ex, plan, entry, err));
    }
    TRY(add_frame(plan, &f, ledger->files[index].n_bytes - plan->n_bytes, err));
    assert(f.at == f.tensor->n_bytes);
    return 0;
}

bool export_is_elsewhere(const lvlm_export *ex, size_t file)
{
    assert(file < ex->manifest.ledger.n_files);
    return ex->is_makers && ex->manifest.ledger.files[file].compressed;
}

int export_source(lvlm_export *ex, lvlm_error *err)
{
    const lvlm_ledger *ledger = &ex->manifest.ledger;
    FAIL_IF(ledger->n_files == 0, err, LVLM_EFORMAT,
            "was not converted from files; --layout hub writes fresh ones");
    for (size_t i = 0; i < ledger->n_files; i++)
        if (!export_is_elsewhere(ex, i)) TRY(lay_out(ex, i, err));
    return 0;
}

int export_source_side_files(lvlm_export *ex, lvlm_error *err)
{
    const lvlm_ledger *ledger = &ex->manifest.ledger;
    for (size_t i = 0; i < ledger->n_files; i++)
        if (!lvlm_ledger_has_tensors(ledger, i) && !export_is_elsewhere(ex, i) &&
            strcmp(ledger->files[i].name, LVLM_INDEX_FILE) != 0 &&
            strcmp(ledger->files[i].name, LVLM_BIN_INDEX_FILE) != 0)
            TRY(lay_out(ex, i, err));
    return 0;
}
