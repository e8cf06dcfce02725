/* recipe.c - stages of training from a JSON file; see recipe.h.
 *
 *   members of a stage -> "--name=value" ... -> the parser of lvlm-tune train */
#include "runtime/tune/cli/recipe.h"

#include <assert.h>
#include <string.h>

#include "formats/base/alloc.h"
#include "formats/base/infile.h"
#include "formats/base/json.h"
#include "formats/base/text.h"
#include "runtime/tune/cli/tune_commands.h"

/* Members of a stage that are not options of train. */
static const char own[] = "name|about";

/* Options of train that belong to the whole, as those of every command do. */
static const char of_all[] = "state|resume|force";

/* Options whose values are paths. */
static const char inputs[] = "data|images|eval|batches|adapter";
static const char outputs[] = "out|adapter-out|log|plot|cache-features";

/* ---- paths ---------------------------------------------------------------------- */

/* The path as seen from here. NULL: out of memory. */
static const char *resolve(recipe *r, const char *path)
{
    const size_t folder = (size_t)(lvlm_path_base(r->path) - r->path);
    assert(path != NULL);
    return *path == '/'
               ? path
               : lvlm_arena_printf(&r->arena, "%.*s%s", (int)folder, r->path, path);
}

/* "recipe.json" -> "recipe" */
static const char *default_folder(recipe *r)
{
    const size_t n = strlen(r->path);
    return lvlm_ends_with(r->path, ".json")
               ? lvlm_arena_strndup(&r->arena, r->path, n - strlen(".json"))
               : lvlm_arena_printf(&r->arena, "%s.stages", r->path);
}

/* ---- a stage -------------------------------------------------------------------- */

/* A command line in the making. */
typedef struct arguments {
    char **at; /* room for one per member, and two */
    int n;
} arguments;

static int add(arguments *a, char *text, lvlm_error *err)
{
    if (text == NULL) return lvlm_fail_memory(err);
    a->at[a->n++] = text;
    return 0;
}

static const lvlm_option *find_option(const lvlm_option *o, const char *name)
{
    while (o->name != NULL && strcmp(o->name, name) != 0) o++;
    return o->name != NULL ? o : NULL;
}

/* The value as a command line has it. */
static int text_of(const char **out, recipe *r, const cJSON *item, lvlm_error *err)
{
    char *number = NULL;
    *out = lvlm_json_string(item);
    if (*out == NULL) {
        FAIL_IF(!cJSON_IsNumber(item), err, LVLM_EFORMAT,
                "\"%s\": expected a number or a text", item->string);
        TRY(lvlm_json_print(&number, item, err));
        *out = lvlm_arena_strndup(&r->arena, number, strlen(number));
        lvlm_free(number);
    }
    const bool is_input = lvlm_is_listed(inputs, item->string);
    if (*out != NULL && (is_input || lvlm_is_listed(outputs, item->string)))
        *out = resolve(r, *out);
    if (*out == NULL) return lvlm_fail_memory(err);
    FAIL_IF(is_input && !lvlm_path_exists(*out), err, LVLM_EIO,
            "\"%s\": %s does not exist", item->string, *out);
    return 0;
}

static int add_option(arguments *a, recipe *r, const cJSON *item, lvlm_error *err)
{
    const char *const name = item->string, *text;
    const lvlm_option *const option = find_option(command_train.options, name);
    FAIL_IF(
        lvlm_is_listed(of_all, name) || find_option(lvlm_common_options, name) != NULL,
        err, LVLM_EFORMAT,
        "\"%s\" is not an option of one stage: lvlm-tune stages itself resumes, and "
        "has the others for all",
        name);
    if (option != NULL && option->kind == LVLM_OPTION_FLAG) {
        FAIL_IF(!cJSON_IsBool(item), err, LVLM_EFORMAT,
                "\"%s\": expected true or false", name);
        if (cJSON_IsFalse(item)) return 0;
    }
    if (option == NULL || option->kind == LVLM_OPTION_FLAG)
        return add(a, lvlm_arena_printf(&r->arena, "--%s", name), err);
    TRY(text_of(&text, r, item, err));
    return add(a, lvlm_arena_printf(&r->arena, "--%s=%s", name, text), err);
}

/* Parse its options as lvlm-tune train does. */
static int read_options(recipe_stage *s, recipe *r, lvlm_error *err)
{
    static char operand[] = "MODEL"; /* another one for each stage */
    const size_t n = lvlm_json_count_members(s->options);
    arguments a = { .at = lvlm_arena_alloc(&r->arena, n + 2, sizeof *a.at) };
    lvlm_operands operands;
    const cJSON *item;
    if (a.at == NULL) return lvlm_fail_memory(err);
    TRY(add(&a, operand, err));
    if (lvlm_json_get(s->options, "out") == NULL)
        TRY(add(&a,
                lvlm_arena_printf(&r->arena, "--out=%s/%s.lvlm", r->folder, s->name),
                err));
    LVLM_JSON_MEMBERS (item, s->options)
        if (!lvlm_is_listed(own, item->string)) TRY(add_option(&a, r, item, err));
    assert((size_t)a.n <= n + 2);
    return lvlm_options_parse(&s->args, &operands, PROGRAM, &command_train, a.n, a.at,
                              err);
}

static bool is_file_name(const char *name)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                  "0123456789_-.";
    return *name != '\0' && *name != '.' && name[strspn(name, letters)] == '\0';
}

static int read_stage(recipe_stage *s, recipe *r, size_t i, lvlm_error *err)
{
    FAIL_IF(!cJSON_IsObject(s->options), err, LVLM_EFORMAT,
            "stage %zu: expected an object", i + 1);
    s->name = lvlm_json_string(lvlm_json_get(s->options, "name"));
    FAIL_IF(s->name == NULL || !is_file_name(s->name), err, LVLM_EFORMAT,
            "stage %zu: \"name\": expected letters, digits, '_', '-' and '.'", i + 1);
    for (size_t k = 0; k < i; k++)
        FAIL_IF(strcmp(r->stages[k].name, s->name) == 0, err, LVLM_EFORMAT,
                "stages %zu and %zu are both called '%s'", k + 1, i + 1, s->name);
    s->record = lvlm_arena_printf(&r->arena, "%s/%s.json", r->folder, s->name);
    s->state = lvlm_arena_printf(&r->arena, "%s/%s.state", r->folder, s->name);
    if (s->record == NULL || s->state == NULL) return lvlm_fail_memory(err);
    s->args.state = s->state;
    const int rc = lvlm_within(read_options(s, r, err), err, "stage '%s': ", s->name);
    if (rc != LVLM_EUSAGE) return rc;
    err->code = LVLM_EFORMAT; /* it is in the file, not in the command line */
    return LVLM_EFORMAT;
}

/* ---- the whole ------------------------------------------------------------------ */

/* No output may replace the model or another output. */
static int check_outputs(recipe *r, lvlm_error *err)
{
    enum { EACH = 4 };
    assert(r->n > 0 && r->model != NULL);
    const char **const all = lvlm_arena_alloc(&r->arena, EACH * r->n + 1, sizeof *all);
    size_t n = 0;
    if (all == NULL) return lvlm_fail_memory(err);
    all[n++] = r->model;
    for (size_t i = 0; i < r->n; i++) {
        const train_args *const a = &r->stages[i].args;
        const char *const written[EACH] = { a->out, a->adapter_out, a->log, a->plot };
        for (size_t k = 0; k < EACH; k++) {
            for (size_t l = 0; l < n && written[k] != NULL; l++)
                FAIL_IF(strcmp(written[k], all[l]) == 0, err, LVLM_EFORMAT,
                        "stage '%s': would overwrite %s, which is the model or another "
                        "output",
                        r->stages[i].name, all[l]);
            if (written[k] != NULL) all[n++] = written[k];
        }
    }
    return 0;
}

static int read_all(recipe *r, const char *model, const lvlm_common_args *common,
                    lvlm_error *err)
{
    const bool bare = cJSON_IsArray(r->json);
    assert(r->folder != NULL && common != NULL);
    const cJSON *const list = bare ? r->json : lvlm_json_get(r->json, "stages"), *item;
    LVLM_JSON_MEMBERS (item, r->json)
        FAIL_IF(!lvlm_is_listed("about|model|stages", item->string), err, LVLM_EFORMAT,
                "unknown key '%s'; a recipe has about, model and stages", item->string);
    r->n = lvlm_json_count(list);
    FAIL_IF(r->n == 0, err, LVLM_EFORMAT, "\"stages\": expected a list of stages");
    const cJSON *const given = lvlm_json_get(r->json, "model");
    const char *const named = lvlm_json_string(given);
    FAIL_IF(given != NULL && named == NULL, err, LVLM_EFORMAT,
            "\"model\": expected the path of a native file");
    FAIL_IF(model == NULL && named == NULL, err, LVLM_EUSAGE,
            "names no \"model\", and none is given after it");
    r->model = model != NULL ? model : resolve(r, named);
    r->stages = lvlm_arena_alloc(&r->arena, r->n, sizeof *r->stages);
    if (r->model == NULL || r->stages == NULL) return lvlm_fail_memory(err);
    for (size_t i = 0; i < r->n; i++) {
        r->stages[i].options = lvlm_json_item(list, i);
        r->stages[i].args.common = *common;
        TRY(read_stage(&r->stages[i], r, i, err));
    }
    return check_outputs(r, err);
}

int recipe_open(recipe *out, const char *path, const char *model, const char *folder,
                const lvlm_common_args *common, lvlm_error *err)
{
    *out = (recipe){ .path = path };
    out->folder = folder != NULL ? folder : default_folder(out);
    if (out->folder == NULL) return lvlm_fail_memory(err);
    TRY(lvlm_json_load(&out->json, path, err));
    return lvlm_within(read_all(out, model, common, err), err, "%s: ", path);
}

void recipe_close(recipe *r)
{
    lvlm_json_free(r->json);
    lvlm_arena_free(&r->arena);
    *r = (recipe){ .n = 0 };
}
