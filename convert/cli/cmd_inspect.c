/* cmd_inspect.c - lvlm-convert inspect PATH */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "convert/cli/commands.h"
#include "formats/base/alloc.h"
#include "formats/base/json.h"
#include "formats/checkpoint/manifest.h"
#include "formats/cli/program.h"
#include "formats/native/native.h"

typedef struct args {
    lvlm_common_args common;
    bool tensors;
} args;

/* A section of the configuration: columns before its settings, bytes of them all. */
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
        if (t->source == NULL || t->state == LVLM_TARGET_TIED) continue;
        for (size_t p = 0; p < 3; p++)
            if (strncmp(t->name, s.parts[p].name, strlen(s.parts[p].name)) == 0)
                add(&s, p, t->source->dtype, &t->shape);
    }
    for (size_t i = 0; i < m->n_extras; i++)
        if (m->extras[i].kind == LVLM_EXTRA_UNUSED)
            add(&s, 3, m->extras[i].tensor->dtype, &m->extras[i].tensor->shape);
    return s;
}

/* ---- text ----------------------------------------------------------------------- */

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

static void print_tensor(const lvlm_tensor *t, const char *note, const char *other)
{
    char shape[LVLM_SHAPE_TEXT];
    printf("  %-52s %-5s %-18s %12" PRIu64 "%s%s\n", lvlm_shown(t->name),
           lvlm_dtype_name(t->dtype), lvlm_shape_text(shape, &t->shape), t->n_bytes,
           note, lvlm_shown(other));
}

static void print_tensors(const lvlm_checkpoint *cp)
{
    for (size_t i = 0; i < cp->n_tensors; i++) print_tensor(&cp->tensors[i], "", "");
}

static void print_ledger(const lvlm_manifest *m)
{
    size_t uses[3] = { 0 };
    for (size_t i = 0; i < m->ledger.n_entries; i++) uses[m->ledger.entries[i].use]++;
    printf("ledger: %zu source tensors in %zu file%s: %zu used, %zu tied, %zu kept "
           "unused; %zu made\n",
           m->ledger.n_entries, m->ledger.n_files, m->ledger.n_files == 1 ? "" : "s",
           uses[LVLM_USE_USED], uses[LVLM_USE_TIED], uses[LVLM_USE_UNUSED],
           m->ledger.n_made);
    for (size_t i = 0; i < m->ledger.n_made; i++)
        printf("  made: %s (%s)\n", lvlm_shown(m->ledger.made[i].target),
               lvlm_shown(m->ledger.made[i].how));
}

static void print_differences(const lvlm_family *family)
{
    const lvlm_difference *d = family->differences;
    if (d->name == NULL) return;
    printf(
        "where transformers computes something else than was trained (--reference):\n");
    for (; d->name != NULL; d++) {
        lvlm_strbuf line = LVLM_STRBUF_INIT(MAX_SECTION);
        lvlm_strbuf_printf(&line, "%s, seen at %s,", d->name, d->stage);
        if (d->since == NULL && d->until == NULL)
            lvlm_strbuf_puts(&line, " in all versions");
        if (d->since != NULL) lvlm_strbuf_printf(&line, " from %s", d->since);
        if (d->until != NULL) lvlm_strbuf_printf(&line, " before %s", d->until);
        lvlm_strbuf_printf(&line, ": %s", d->what);
        lvlm_print_folded("  - ", 4, line.text != NULL ? line.text : d->name);
        lvlm_strbuf_free(&line);
    }
}

static const char *kind_name(const lvlm_checkpoint *cp)
{
    return cp->kind == LVLM_CHECKPOINT_NATIVE ? "native file"
           : cp->kind == LVLM_CHECKPOINT_NPZ  ? "big_vision npz"
                                              : "Hugging Face directory";
}

static void print_model(const lvlm_manifest *m, const char *weights_digest)
{
    const lvlm_checkpoint *cp = m->checkpoint;
    const summary s = summarise(m);
    char size[32];
    printf("%s: %s, %s, %" PRIu64 " parameters, %s\n", cp->path, m->family->title,
           kind_name(cp), s.n_values, lvlm_bytes_text(size, (double)s.n_bytes));
    for (size_t i = 0; i < 4; i++)
        if (s.parts[i].n_tensors > 0)
            printf("  %-10s %6" PRIu64 " tensors %14" PRIu64 " values\n",
                   s.parts[i].name, s.parts[i].n_tensors, s.parts[i].n_values);
    printf("dtypes:");
    for (unsigned i = 0; i < LVLM_N_DTYPES; i++)
        if (s.dtypes[i] > 0)
            printf(" %s %" PRIu64, lvlm_dtype_name((lvlm_dtype)i), s.dtypes[i]);
    printf("\nconfiguration:\n");
    const cJSON *section;
    LVLM_JSON_MEMBERS (section, m->config) print_section(m->config, section->string);
    if (cp->assumed != NULL) printf("  %s\n", cp->assumed);
    if (cp->kind == LVLM_CHECKPOINT_NATIVE) {
        printf("weights digest: %s\n", weights_digest);
        printf("provenance: %s\n",
               lvlm_shown(lvlm_json_string(lvlm_json_get(cp->metadata, "provenance"))));
        print_ledger(m);
    }
    print_differences(m->family);
    const size_t n = lvlm_manifest_problems(m, NULL, NULL);
    if (n > 0) printf("%zu problems: lvlm-verify schema lists them\n", n);
}

/* ---- JSON ----------------------------------------------------------------------- */

static cJSON *model_json(const lvlm_manifest *m, const char *weights_digest)
{
    const summary s = summarise(m);
    cJSON *json = lvlm_json_document();
    cJSON_AddStringToObject(json, "family", m->family->name);
    if (m->checkpoint->kind == LVLM_CHECKPOINT_NATIVE)
        cJSON_AddStringToObject(json, "weights_digest", weights_digest);
    cJSON_AddNumberToObject(json, "parameters", (double)s.n_values);
    cJSON_AddNumberToObject(json, "bytes", (double)s.n_bytes);
    cJSON *parts = cJSON_AddArrayToObject(json, "parts");
    for (size_t i = 0; i < 4; i++) {
        cJSON *row = cJSON_CreateObject();
        cJSON_AddStringToObject(row, "part", s.parts[i].name);
        cJSON_AddNumberToObject(row, "n_tensors", (double)s.parts[i].n_tensors);
        cJSON_AddNumberToObject(row, "parameters", (double)s.parts[i].n_values);
        cJSON_AddItemToArray(parts, row);
    }
    cJSON *dtypes = cJSON_AddObjectToObject(json, "dtypes");
    for (unsigned i = 0; i < LVLM_N_DTYPES; i++)
        if (s.dtypes[i] > 0)
            cJSON_AddNumberToObject(dtypes, lvlm_dtype_name((lvlm_dtype)i),
                                    (double)s.dtypes[i]);
    cJSON_AddItemToObject(json, "config", cJSON_Duplicate(m->config, true));
    static const char *const members[] = { "provenance", "ledger" };
    for (size_t i = 0; i < 2 && m->checkpoint->kind == LVLM_CHECKPOINT_NATIVE; i++) {
        cJSON *value = NULL;
        if (lvlm_native_meta_json(&value, m->checkpoint, members[i], NULL) == 0)
            cJSON_AddItemToObject(json, members[i], value);
    }
    cJSON_AddNumberToObject(json, "n_problems",
                            (double)lvlm_manifest_problems(m, NULL, NULL));
    return json;
}

static int print_json(const lvlm_checkpoint *cp, const lvlm_manifest *m,
                      const char *weights_digest, bool tensors, lvlm_error *err)
{
    cJSON *json = m != NULL ? model_json(m, weights_digest) : lvlm_json_document();
    if (tensors || m == NULL) {
        cJSON *all = cJSON_AddArrayToObject(json, "tensors");
        for (size_t i = 0; i < cp->n_tensors; i++)
            cJSON_AddItemToArray(all, lvlm_tensor_json(&cp->tensors[i]));
    }
    lvlm_add_notes(json, cp->notes);
    return lvlm_print_json(json, err);
}

static int run(const void *arguments, const lvlm_operands *operands)
{
    const args *a = arguments;
    lvlm_notes notes = LVLM_NOTES_INIT;
    const lvlm_open_options open = { .headers_only = true, .notes = &notes };
    lvlm_checkpoint *cp = NULL;
    lvlm_manifest m = { 0 };
    char weights[LVLM_DIGEST_HEX + 1] = "";
    bool model;
    lvlm_error err;
    int rc = lvlm_checkpoint_open(&cp, operands->at[0], &open, &err);
    if (rc < 0) goto done;
    model = cp->kind != LVLM_CHECKPOINT_PLAIN;
    if (model && (rc = lvlm_manifest_build(&m, cp, &err)) < 0) goto done;
    if (cp->kind == LVLM_CHECKPOINT_NATIVE &&
        (rc = lvlm_native_weights_digest(weights, cp, &err)) < 0)
        goto done;
    if (a->common.json) {
        rc = print_json(cp, model ? &m : NULL, weights, a->tensors, &err);
        goto done;
    }
    if (model) print_model(&m, weights);
    if (!model)
        printf("%s: %zu tensors, no model configuration\n", cp->path, cp->n_tensors);
    if (a->tensors || !model) print_tensors(cp);
done:
    if (m.family != NULL) lvlm_manifest_free(&m);
    lvlm_checkpoint_close(cp);
    lvlm_print_notes(PROGRAM, &notes);
    lvlm_notes_free(&notes);
    return rc < 0 ? lvlm_report(PROGRAM, &err) : 0;
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
