/* change_part.c - the tower or the language model of another checkpoint, under the
 * native names of the model.
 *
 *   a whole model or native file   its own manifest
 *   a part by itself               opened as compose does, under the model's names
 *                                  and configuration -> a manifest
 *
 * Then every tensor and every setting of the part has to be what the model has. */
#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "convert/change/change_parts.h"
#include "convert/compose/compose_makers.h"
#include "formats/base/alloc.h"
#include "formats/base/json.h"
#include "formats/base/text.h"
#include "formats/container/contents_read.h"
#include "formats/container/side_file.h"

static const char *option_of(const lvlm_change_part *part)
{
    return strcmp(part->role, "text") == 0 ? "--text" : "--vision";
}

static const char *noun_of(const lvlm_change_part *part)
{
    return strcmp(part->role, "text") == 0 ? "language model" : "tower";
}

/* Is a native name of this part? */
static bool is_of(const lvlm_change_part *part, const char *name)
{
    const size_t n = strlen(part->role);
    return strncmp(name, part->role, n) == 0 && name[n] == '.';
}

/* ---- a part by itself ------------------------------------------------------------ */

/* What the model's own part is called by transformers. */
static const char *own_type(const lvlm_change *c, const lvlm_change_part *part)
{
    const cJSON *const config = c->to.manifest.config;
    if (strcmp(part->role, "vision") == 0)
        return lvlm_json_string(lvlm_json_path(config, "vision.tower"));
    const char *const decoder =
        lvlm_json_string(lvlm_json_path(config, "text.decoder"));
    return decoder != NULL ? decoder : c->to.manifest.family->text_type;
}

static int check_type(const lvlm_change *c, const lvlm_change_part *part,
                      lvlm_error *err)
{
    const char *const own = own_type(c, part);
    const char *const said =
        lvlm_json_string(lvlm_json_get(part->bare.config, "model_type"));
    const char *const type = said != NULL ? said : part->bare.type;
    const bool vision = strcmp(part->role, "vision") == 0;
    FAIL_IF(
        own == NULL || (vision ? !lvlm_starts_with(type, own) : strcmp(type, own) != 0),
        err, LVLM_EFORMAT,
        "%s: %s: is a %s, but the %s of %s is %s: give a whole %s, or one of the "
        "same type",
        option_of(part), part->bare.from->path, type, noun_of(part), c->to.model->path,
        own != NULL ? own : "its own", c->to.manifest.family->title);
    return 0;
}

/* config.json of the model with the settings of the part. Qwen2-VL's are also at the
 * top, and more than those of Qwen2: what the part does not say stays. */
static int merge_config(cJSON **out, const lvlm_change *c, const lvlm_change_part *part,
                        lvlm_error *err)
{
    const char *const key =
        strcmp(part->role, "text") == 0 ? "text_config" : "vision_config";
    const cJSON *member;
    TRY(lvlm_side_file_json(out, c->to.model, "config.json", err));
    assert(*out != NULL); /* change_config */
    if (!lvlm_starts_with(c->to.manifest.family->name, "qwen"))
        return lvlm_json_set_copy(*out, key, part->bare.config) ? 0
                                                                : lvlm_fail_memory(err);
    cJSON *const nested = cJSON_GetObjectItemCaseSensitive(*out, key);
    cJSON *const to = nested != NULL ? nested : *out;
    LVLM_JSON_MEMBERS (member, part->bare.config) {
        if (strcmp(member->string, "model_type") == 0 ||
            strcmp(member->string, "architectures") == 0 || cJSON_IsNull(member))
            continue;
        if (!lvlm_json_set_copy(to, member->string, member))
            return lvlm_fail_memory(err);
    }
    return 0;
}

static const char *hub_prefix(const lvlm_family *family, const char *native)
{
    const lvlm_root *root = family->roots;
    while (root->native != NULL && strcmp(root->native, native) != 0) root++;
    assert(root->native != NULL);
    return root->prefixes[0];
}

/* A name of LLaVA's layout under that of the model's family; the two have the same
 * names below these prefixes. */
static const char *rename_tensor(lvlm_change *c, const char *name)
{
    static const char *const prefixes[][2] = { { COMPOSE_TOWER, "vision." },
                                               { COMPOSE_WORDS, "text." },
                                               { COMPOSE_HEAD, "text.head." } };
    for (size_t i = 0; i < 3; i++)
        if (lvlm_starts_with(name, prefixes[i][0]))
            return lvlm_arena_printf(&c->to.arena, "%s%s",
                                     hub_prefix(c->to.manifest.family, prefixes[i][1]),
                                     name + strlen(prefixes[i][0]));
    return name;
}

/* The part as a checkpoint of the model's family that has no other part. */
static int join(lvlm_change *c, lvlm_change_part *part, lvlm_error *err)
{
    const lvlm_compose_part *const bare = &part->bare;
    lvlm_checkpoint *const cp = lvlm_calloc(1, sizeof *cp);
    if (cp == NULL) return lvlm_fail_memory(err);
    part->joined = cp;
    cp->kind = LVLM_CHECKPOINT_HF;
    cp->path = bare->from->path;
    cp->files = bare->from->files;
    cp->n_files = bare->from->n_files;
    TRY(merge_config(&cp->config, c, part, err));
    cp->tensors = lvlm_calloc(bare->n_tensors + 1, sizeof *cp->tensors);
    if (cp->tensors == NULL) return lvlm_fail_memory(err);
    for (size_t i = 0; i < bare->n_tensors; i++) {
        lvlm_tensor *const t = &cp->tensors[cp->n_tensors++];
        *t = bare->tensors[i];
        if ((t->name = rename_tensor(c, t->name)) == NULL) return lvlm_fail_memory(err);
    }
    return checkpoint_index_names(cp, err);
}

static int open_bare(lvlm_change *c, lvlm_change_part *part, const char *path,
                     lvlm_error *err)
{
    const lvlm_open_options open = { .notes = c->options.notes };
    TRY(lvlm_compose_open_part(&part->bare, part->role, option_of(part), path, &open,
                               &c->to.arena, err));
    TRY(check_type(c, part, err));
    TRY(join(c, part, err));
    return lvlm_manifest_build(&part->manifest, part->joined, err);
}

/* ---- a whole model --------------------------------------------------------------- */

/* What LLaVA's makers save is parts of one: compose reads them. */
static bool is_whole(const lvlm_checkpoint *cp)
{
    const lvlm_family *family;
    if (compose_is_makers(cp->config)) return false;
    return cp->kind == LVLM_CHECKPOINT_NATIVE || cp->kind == LVLM_CHECKPOINT_NPZ ||
           lvlm_family_detect(&family, cp->config, NULL) == 0;
}

static int open_part(lvlm_change *c, lvlm_change_part *part, const char *path,
                     lvlm_error *err)
{
    const lvlm_open_options open = { .notes = c->options.notes };
    TRY(lvlm_within(lvlm_checkpoint_open(&part->from, path, &open, err), err,
                    "%s: ", option_of(part)));
    if (!is_whole(part->from)) {
        lvlm_checkpoint_close(part->from);
        part->from = NULL;
        TRY(open_bare(c, part, path, err));
        part->from = part->bare.from;
        return 0;
    }
    TRY(lvlm_within(lvlm_manifest_build(&part->manifest, part->from, err), err,
                    "%s: ", option_of(part)));
    FAIL_IF(part->manifest.family != c->to.manifest.family, err, LVLM_EFORMAT,
            "%s: %s: is %s, expected %s or a %s by itself", option_of(part), path,
            part->manifest.family->title, c->to.manifest.family->title, noun_of(part));
    return 0;
}

/* ---- what has to be equal -------------------------------------------------------- */

/* Word tables that --vocab gives other rows anyway. */
static bool rows_change(const lvlm_change *c, const lvlm_target *t)
{
    return c->options.vocab > 0 && change_is_words(t->name);
}

/* Is it what --resolution makes of the model's? */
static bool is_changed_shape(const lvlm_change *c, const lvlm_target *t,
                             const lvlm_shape *shape)
{
    lvlm_shape after;
    return lvlm_shape_resolve(&after, t->row->shape, c->to.config) &&
           lvlm_shape_equal(&after, shape);
}

/* Also if it is not what the configuration of its own source says. */
static int check_shape(const lvlm_change *c, const lvlm_change_part *part,
                       const lvlm_target *t, const lvlm_target *got, lvlm_error *err)
{
    char a[LVLM_SHAPE_TEXT], b[LVLM_SHAPE_TEXT];
    lvlm_shape expected = t->shape, found = got->shape;
    if (rows_change(c, t)) expected.dims[0] = found.dims[0];
    if (!got->here.wrong_shape &&
        (lvlm_shape_equal(&expected, &found) || is_changed_shape(c, t, &found)))
        return 0;
    if (got->here.wrong_shape) {
        found = got->here.tensor->shape;
        expected = got->here.shape;
    }
    return lvlm_fail(err, LVLM_EFORMAT,
                     "%s: %s: tensor '%s' (%s): got %s, expected %s%s", option_of(part),
                     part->from->path, got->source_name, t->name,
                     lvlm_shape_text(a, &found), lvlm_shape_text(b, &expected),
                     got->here.wrong_shape ? ", as its config.json says" : "");
}

/* Is the tensor of the source one that the model's can be exchanged for? */
static int check_target(const lvlm_change *c, lvlm_change_part *part,
                        const lvlm_target *t, lvlm_error *err)
{
    const lvlm_target *const got = lvlm_manifest_find(&part->manifest, t->name);
    const bool stored = lvlm_target_is_stored(t);
    char shape[LVLM_SHAPE_TEXT];
    FAIL_IF(stored && (got == NULL || got->here.tensor == NULL), err, LVLM_EFORMAT,
            "%s: %s: has no tensor for %s, expected %s%s", option_of(part),
            part->from->path, t->name, lvlm_shape_text(shape, &t->shape),
            got != NULL && got->state == LVLM_TARGET_TIED
                ? ": its output layer is tied to the word table, the model's is not"
                : "");
    FAIL_IF(!stored && got != NULL && lvlm_target_is_stored(got), err, LVLM_EFORMAT,
            "%s: %s: '%s' differs from the word table, which is the output layer of "
            "the model: it has no place for another one",
            option_of(part), part->from->path, got->source_name);
    if (!stored) return 0;
    part->n_tensors++;
    return check_shape(c, part, t, got, err);
}

/* Tensors of the source that the model has no place for. */
static int check_surplus(const lvlm_change *c, const lvlm_change_part *part,
                         lvlm_error *err)
{
    const lvlm_manifest *const m = &part->manifest;
    char shape[LVLM_SHAPE_TEXT];
    for (size_t i = 0; i < m->n_targets; i++) {
        const lvlm_target *const t = &m->targets[i];
        FAIL_IF(is_of(part, t->name) && t->here.tensor != NULL &&
                    lvlm_manifest_find(&c->to.manifest, t->name) == NULL,
                err, LVLM_EFORMAT, "%s: %s: tensor '%s' (%s): got %s, expected none",
                option_of(part), part->from->path, t->source_name, t->name,
                lvlm_shape_text(shape, &t->shape));
    }
    for (size_t i = 0; i < m->n_extras; i++)
        FAIL_IF(m->extras[i].kind != LVLM_EXTRA_UNUSED, err, LVLM_EFORMAT,
                "%s: %s: tensor '%s' is not known: %s has none of that name",
                option_of(part), part->from->path, m->extras[i].tensor->name,
                m->family->title);
    return 0;
}

static bool is_row_count(const lvlm_family *family, const char *setting)
{
    const lvlm_row_count *count = family->row_counts;
    while (count->setting != NULL && strcmp(count->setting, setting) != 0) count++;
    return count->setting != NULL;
}

/* The model's configuration stays, so that the part has to be made for it. */
static int check_settings(const lvlm_change *c, const lvlm_change_part *part,
                          lvlm_error *err)
{
    const cJSON *item, *const theirs = lvlm_json_get(part->manifest.config, part->role);
    LVLM_JSON_MEMBERS (item, lvlm_json_get(c->to.manifest.config, part->role)) {
        const cJSON *const got = lvlm_json_get(theirs, item->string);
        char name[96], *a = NULL, *b = NULL;
        (void)snprintf(name, sizeof name, "%s.%s", part->role, item->string);
        if (cJSON_Compare(item, got, true) ||
            cJSON_Compare(lvlm_json_path(c->to.config, name), got, true) ||
            (c->options.vocab > 0 && is_row_count(c->to.manifest.family, name)))
            continue;
        int rc = lvlm_json_print(&a, item, err);
        if (rc == 0 && got != NULL) rc = lvlm_json_print(&b, got, err);
        if (rc == 0)
            rc = lvlm_fail(err, LVLM_EFORMAT, "%s: %s: %s: got %s, expected %s",
                           option_of(part), part->from->path, name,
                           b != NULL ? b : "none", a);
        lvlm_free(a);
        lvlm_free(b);
        return rc;
    }
    return 0;
}

/* ---- what is kept ---------------------------------------------------------------- */

/* How words and pictures are read stays the model's: say so where the source has it
 * otherwise. */
static int note_files(const lvlm_change *c, const lvlm_change_part *part,
                      lvlm_error *err)
{
    const char *const name =
        strcmp(part->role, "text") == 0 ? "tokenizer.json" : "preprocessor_config.json";
    const lvlm_side_file *const theirs = lvlm_checkpoint_side_file(part->from, name);
    const lvlm_side_file *const own = lvlm_checkpoint_side_file(c->to.model, name);
    if (theirs == NULL || own == NULL ||
        (theirs->n_bytes == own->n_bytes &&
         memcmp(theirs->bytes, own->bytes, (size_t)own->n_bytes) == 0))
        return 0;
    return lvlm_notes_add(c->options.notes, err,
                          "%s: its %s differs from the model's, which is kept",
                          part->from->path, name);
}

int change_part_open(lvlm_change *c, lvlm_change_part *part, const char *path,
                     lvlm_error *err)
{
    TRY(open_part(c, part, path, err));
    for (size_t i = 0; i < c->to.manifest.n_targets; i++)
        if (is_of(part, c->to.manifest.targets[i].name))
            TRY(check_target(c, part, &c->to.manifest.targets[i], err));
    TRY(check_surplus(c, part, err));
    TRY(check_settings(c, part, err));
    return note_files(c, part, err);
}

lvlm_change_part *change_part_of(lvlm_change *c, const char *name)
{
    for (size_t i = 0; i < LVLM_CHANGE_PARTS; i++)
        if (c->parts[i].from != NULL && is_of(&c->parts[i], name)) return &c->parts[i];
    return NULL;
}

void change_part_close(lvlm_change_part *part)
{
    lvlm_manifest_free(&part->manifest);
    if (part->joined != NULL) part->joined->n_files = 0; /* they are the source's */
    lvlm_checkpoint_close(part->joined);
    if (part->from != part->bare.from) lvlm_checkpoint_close(part->from);
    lvlm_compose_close_part(&part->bare);
}
