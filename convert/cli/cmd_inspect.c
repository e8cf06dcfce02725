/* cmd_inspect.c - lvlm-convert inspect PATH */
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "convert/cli/account.h"
#include "convert/cli/commands.h"
#include "formats/base/alloc.h"
#include "formats/base/json.h"
#include "formats/base/text.h"
#include "formats/checkpoint/manifest.h"
#include "formats/cli/program.h"
#include "formats/native/native.h"

typedef struct args {
    lvlm_common_args common;
    bool tensors;
} args;

/* A section of the configuration: columns before its settings, their maximum bytes. */
enum { INDENT = 13, MAX_SECTION = 1 << 20 };

static const lvlm_option options[] = {
    { "tensors", NULL, LVLM_OPTION_FLAG, offsetof(args, tensors), "list every tensor" },
    LVLM_OPTION_END,
};

/* ---- counting ------------------------------------------------------------------- */

typedef struct part {
    const char *name;
    uint64_t n_tensors;
    uint64_t n_values;
} part;

typedef struct summary {
    part parts[4]; /* vision, connector, text, unused */
    uint64_t dtypes[LVLM_N_DTYPES];
    uint64_t n_values;
    uint64_t n_bytes;
} summary;

static void add(summary *s, size_t index, lvlm_dtype dtype, const lvlm_shape *shape)
{
    uint64_t n = 0;
    assert(index < sizeof s->parts / sizeof *s->parts && dtype < LVLM_N_DTYPES);
    (void)lvlm_shape_numel(&n, shape);
    s->parts[index].n_tensors++;
    s->parts[index].n_values += n;
    s->dtypes[dtype]++;
    s->n_bytes += n * lvlm_dtype_bytes(dtype);
    if (index < 3) s->n_values += n;
}

static summary summarise(const lvlm_manifest *m)
{
    summary s = { .parts = {
                      { "vision" }, { "connector" }, { "text" }, { "unused" } } };
    for (size_t i = 0; i < m->n_targets; i++) {
        const lvlm_target *t = &m->targets[i];
        if (t->here.tensor == NULL || t->state == LVLM_TARGET_TIED) continue;
        for (size_t p = 0; p < 3; p++)
            if (lvlm_starts_with(t->name, s.parts[p].name))
                add(&s, p, t->here.tensor->dtype, &t->shape);
    }
    for (size_t i = 0; i < m->n_extras; i++)
        if (m->extras[i].kind == LVLM_EXTRA_UNUSED)
            add(&s, 3, m->extras[i].tensor->dtype, &m->extras[i].tensor->shape);
    return s;
}

/* ---- printing ------------------------------------------------------------------- */

static void print_section(const cJSON *config, const char *name)
{
    const cJSON *section = lvlm_json_get(config, name), *item;
    lvlm_strbuf line = LVLM_STRBUF_INIT(MAX_SECTION);
    char first[32];
    LVLM_JSON_MEMBERS (item, section) {
        char *text = NULL;
        if (lvlm_json_print(&text, item, NULL) == 0)
            lvlm_strbuf_printf(&line, "%s%s=%s", line.length > 0 ? " " : "",
                               lvlm_shown(item->string), lvlm_shown(text));
        lvlm_free(text);
    }
    snprintf(first, sizeof first, "  %-10s ", lvlm_shown(name));
    lvlm_print_folded(first, INDENT, line.text != NULL ? line.text : "");
    lvlm_strbuf_free(&line);
}

static void print_tensors(lvlm_printer *p, const lvlm_checkpoint *cp)
{
    char shape[LVLM_SHAPE_TEXT];
    lvlm_printer_list(p, "tensors");
    for (size_t i = 0; i < cp->n_tensors; i++) {
        const lvlm_tensor *const t = &cp->tensors[i];
        lvlm_printer_line(p, "  %-52s %-5s %-18s %12" PRIu64 "\n", lvlm_shown(t->name),
                          lvlm_dtype_name(t->dtype), lvlm_shape_text(shape, &t->shape),
                          t->n_bytes);
        lvlm_printer_tensor(p, t);
    }
    lvlm_printer_end(p);
}

static void print_ledger(const lvlm_printer *p, const lvlm_ledger *ledger)
{
    size_t n[LVLM_N_USES];
    account_uses(n, ledger);
    lvlm_printer_line(p,
                      "ledger: %zu source tensors in %zu file%s: %zu used, %zu tied, "
                      "%zu kept unused; %zu made\n",
                      ledger->n_entries, ledger->n_files,
                      ledger->n_files == 1 ? "" : "s", n[LVLM_USE_USED],
                      n[LVLM_USE_TIED], n[LVLM_USE_UNUSED], ledger->n_made);
    for (size_t i = 0; i < ledger->n_made; i++)
        lvlm_printer_line(p, "  made: %s (%s)\n", lvlm_shown(ledger->made[i].target),
                          lvlm_shown(ledger->made[i].how));
}

static void print_differences(const lvlm_family *family)
{
    const lvlm_difference *d = family->differences;
    if (d->behaviour == LVLM_AS_TRAINED) return;
    printf(
        "where transformers computes something else than was trained (--reference):\n");
    for (; d->behaviour != LVLM_AS_TRAINED; d++) {
        lvlm_strbuf line = LVLM_STRBUF_INIT(MAX_SECTION);
        lvlm_strbuf_printf(&line, "%s, seen at %s,", lvlm_difference_name(d), d->stage);
        if (d->since == NULL && d->until == NULL)
            lvlm_strbuf_puts(&line, " in all versions");
        if (d->since != NULL) lvlm_strbuf_printf(&line, " from %s", d->since);
        if (d->until != NULL) lvlm_strbuf_printf(&line, " before %s", d->until);
        lvlm_strbuf_printf(&line, ": %s", d->what);
        lvlm_print_folded("  - ", 4, line.text != NULL ? line.text : d->what);
        lvlm_strbuf_free(&line);
    }
}

static const char *kind_name(const lvlm_checkpoint *cp)
{
    return cp->kind == LVLM_CHECKPOINT_NATIVE ? "native file"
           : cp->kind == LVLM_CHECKPOINT_NPZ  ? "big_vision npz"
                                              : "Hugging Face directory";
}

static void print_parts(lvlm_printer *p, const summary *s)
{
    lvlm_printer_list(p, "parts");
    for (size_t i = 0; i < 4; i++) {
        const part *const x = &s->parts[i];
        if (x->n_tensors > 0)
            lvlm_printer_line(p, "  %-10s %6" PRIu64 " tensors %14" PRIu64 " values\n",
                              x->name, x->n_tensors, x->n_values);
        lvlm_printer_object(p, NULL);
        lvlm_printer_text(p, "part", x->name);
        lvlm_printer_count(p, "n_tensors", x->n_tensors);
        lvlm_printer_count(p, "parameters", x->n_values);
        lvlm_printer_end(p);
    }
    lvlm_printer_end(p);
}

static void print_dtypes(lvlm_printer *p, const summary *s)
{
    lvlm_printer_line(p, "dtypes:");
    lvlm_printer_object(p, "dtypes");
    for (unsigned i = 0; i < LVLM_N_DTYPES; i++) {
        const char *const name = lvlm_dtype_name((lvlm_dtype)i);
        if (s->dtypes[i] == 0) continue;
        lvlm_printer_line(p, " %s %" PRIu64, name, s->dtypes[i]);
        lvlm_printer_count(p, name, s->dtypes[i]);
    }
    lvlm_printer_end(p);
    lvlm_printer_line(p, "\n");
}

static void print_config(lvlm_printer *p, const lvlm_manifest *m)
{
    const cJSON *section;
    lvlm_printer_tree(p, "config", m->config);
    if (!p->text) return;
    printf("configuration:\n");
    LVLM_JSON_MEMBERS (section, m->config) print_section(m->config, section->string);
    if (m->checkpoint->assumed != NULL) printf("  %s\n", m->checkpoint->assumed);
}

/* What only a native file has. */
static int print_native(lvlm_printer *p, const lvlm_manifest *m,
                        const char *weights_digest, lvlm_error *err)
{
    const lvlm_checkpoint *const cp = m->checkpoint;
    const char *const provenance = lvlm_checkpoint_meta(cp, "provenance");
    cJSON *ledger = NULL;
    lvlm_printer_line(p, "weights digest: %s\nprovenance: %s\n", weights_digest,
                      lvlm_shown(provenance));
    print_ledger(p, &m->ledger);
    lvlm_printer_tree(p, "provenance", cp->native->provenance);
    if (!p->json) return 0;
    TRY(lvlm_native_meta_json(&ledger, cp, "ledger", err));
    lvlm_printer_tree(p, "ledger", ledger);
    lvlm_json_free(ledger);
    return 0;
}

static int print_model(lvlm_printer *p, const lvlm_manifest *m,
                       const char *weights_digest, lvlm_error *err)
{
    const lvlm_checkpoint *const cp = m->checkpoint;
    const bool native = cp->kind == LVLM_CHECKPOINT_NATIVE;
    const size_t n_problems = lvlm_manifest_problems(m, NULL, NULL);
    const summary s = summarise(m);
    char size[LVLM_AMOUNT_TEXT];
    lvlm_printer_line(p, "%s: %s, %s, %" PRIu64 " parameters, %s\n", cp->path,
                      m->family->title, kind_name(cp), s.n_values,
                      lvlm_bytes_text(size, (double)s.n_bytes));
    lvlm_printer_text(p, "family", m->family->name);
    if (native) lvlm_printer_text(p, "weights_digest", weights_digest);
    lvlm_printer_count(p, "parameters", s.n_values);
    lvlm_printer_count(p, "bytes", s.n_bytes);
    print_parts(p, &s);
    print_dtypes(p, &s);
    print_config(p, m);
    if (native) TRY(print_native(p, m, weights_digest, err));
    if (p->text) print_differences(m->family);
    if (n_problems > 0)
        lvlm_printer_line(p, "%zu problems: lvlm-verify schema lists them\n",
                          n_problems);
    lvlm_printer_count(p, "n_problems", n_problems);
    return 0;
}

static int print_all(lvlm_printer *p, const lvlm_checkpoint *cp, bool tensors,
                     lvlm_error *err)
{
    char weights[LVLM_DIGEST_HEX + 1] = "";
    lvlm_manifest m;
    if (cp->kind == LVLM_CHECKPOINT_PLAIN) {
        lvlm_printer_line(p, "%s: %zu tensors, no model configuration\n", cp->path,
                          cp->n_tensors);
        print_tensors(p, cp);
        return 0;
    }
    TRY(lvlm_manifest_build(&m, cp, err));
    int rc = cp->kind == LVLM_CHECKPOINT_NATIVE
                 ? lvlm_native_weights_digest(weights, cp, err)
                 : 0;
    if (rc == 0) rc = print_model(p, &m, weights, err);
    if (rc == 0 && tensors) print_tensors(p, cp);
    lvlm_manifest_free(&m);
    return rc;
}

static int run(const void *arguments, const lvlm_operands *operands, lvlm_notes *notes,
               lvlm_error *err)
{
    const args *a = arguments;
    const lvlm_open_options open = { .headers_only = true, .notes = notes };
    lvlm_checkpoint *cp = NULL;
    lvlm_printer p;
    lvlm_printer_open(&p, a->common.json, true);
    int rc = lvlm_checkpoint_open(&cp, operands->at[0], &open, err);
    if (rc == 0) rc = print_all(&p, cp, a->tensors, err);
    if (rc == 0) rc = lvlm_printer_close(&p, notes, err);
    lvlm_printer_drop(&p);
    lvlm_checkpoint_close(cp);
    return rc;
}

const lvlm_command command_inspect = {
    "inspect",
    "PATH",
    1,
    1,
    "what is in a checkpoint: family, sizes, types, parts, ledger",
    "PATH is a model directory, a native file, a big_vision .npz, or any\n"
    ".safetensors, torch or .npz file. Only headers are read.\n"
    "\n"
    "  lvlm-convert inspect model.lvlm --tensors",
    options,
    sizeof(args),
    run,
};
