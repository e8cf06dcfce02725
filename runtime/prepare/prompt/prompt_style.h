/* prompt_style.h - private to prompts: the prompt format of a kind of model.
 *
 *   messages + style -> layout -> pieces of text, each with its kind
 *
 * A style is data: the strings around a turn and around an image, and the layout that
 * combines them. A model's style depends on its family's word and its chat template
 * (prompt_template.h). */
#ifndef LVLM_RUNTIME_PREPARE_PROMPT_PROMPT_STYLE_H
#define LVLM_RUNTIME_PREPARE_PROMPT_PROMPT_STYLE_H

#include "runtime/prepare/prompt/prompt.h"
#include "runtime/prepare/prompt/template_forms.h"

LVLM_BEGIN_DECLS

/* One stretch of text. */
typedef struct prompt_piece {
    const char *text;
    lvlm_span_kind kind;
    lvlm_role role;
    size_t message; /* or LVLM_NO_MESSAGE */
    bool apart;     /* tokenised separately from the previous piece */
    bool guarded;   /* only the style's tags are recognised as special tokens */
} prompt_piece;

typedef struct prompt_pieces {
    prompt_piece *at;
    size_t n, capacity;
    lvlm_arena *arena; /* holds texts and pieces */
} prompt_pieces;

typedef struct prompt_style prompt_style;

/* The input of a layout. */
typedef struct prompt_source {
    const prompt_style *style;
    const lvlm_messages *messages;
    /* messages before this one, except the system's, are dropped */
    size_t first;
    const lvlm_prompt_options *options;
    const char *bos, *eos; /* as spelled by the tokenizer */
} prompt_source;

typedef int prompt_layout(prompt_pieces *out, const prompt_source *source,
                          lvlm_error *err);

struct prompt_style {
    const char *name;
    const char
        *option; /* what lvlm_prompt_options.chat_template calls it; NULL: nothing */
    const char *word; /* of the families it is for */
    /* Chosen if the model's chat template is one of these forms, or
     * generation_config.json names this format. The base form is used for --raw and for
     * a model without a template. */
    bool base;
    const char *end;            /* of a document in the base form; NULL: eos */
    const template_form *forms; /* or NULL */
    const char *unturned; /* reason for using the base form; NULL: no other form */
    const char *chat_format;
    const char *trained_as; /* option of the style that training writes; NULL: this */
    prompt_layout *write;
    const char *place;         /* placeholder of an image in a text */
    const char *image;         /* written for an image ... */
    const char *image_close;   /* ... followed by its file and this; NULL: no file */
    bool numbered;             /* preceded by "Picture 1: " */
    const char *video_place;   /* placeholder of a video; NULL: there are none */
    const char *video;         /* written for a video */
    bool images_first;         /* in a turn, wherever its parts have them */
    const char *const *roles;  /* by lvlm_role; "": a turn has no header; NULL: ours */
    const char *open, *opened; /* before and after a turn's role */
    const char *lead;          /* before the content that a header opens; NULL: none */
    const char *text_end;      /* after each part that is text; NULL: none */
    const char *close;         /* after a turn's content */
    bool eos_closes;           /* an answer ends with eos in place of that */
    bool strips;               /* content is stripped of white space */
    bool alternates;           /* user and assistant in turn, no system */
    const char *system;        /* default system message */
    /* System text before the date, unless there are images, with which a system message
     * is not supported. */
    const char *knowledge;
    bool bos;      /* texts begin with it, or have it after leading images */
    bool affixed;  /* the tokenizer adds its usual tokens (prompt_affix.h) */
    bool separate; /* role, content and their delimiters are tokenised separately */
    bool joined;   /* no header begins with a special token: one text */
    lvlm_prompt_form form;   /* except ids */
    const char *const *tags; /* recognised in guarded pieces; ends with NULL */
    /* special tokens kept in answers, ends with NULL; NULL: none */
    const char *const *kept;
};

/* The style of a model. LVLM_EFORMAT: its template is unknown, or there is no style for
 * such a model. */
LVLM_MUST_CHECK int prompt_style_choose(const prompt_style **out,
                                        const lvlm_manifest *manifest,
                                        const lvlm_prompt_options *options,
                                        lvlm_error *err);
/* The base form of a model that has a style. */
const prompt_style *prompt_style_base(const lvlm_manifest *manifest);
/* How many tokens of history Qwen-VL's chat keeps; 0: all. */
LVLM_MUST_CHECK int prompt_style_window(size_t *out, const lvlm_checkpoint *cp,
                                        lvlm_error *err);

/* Turns, each with a header; ends with the assistant's header unless the last message
 * is the assistant's. */
prompt_layout prompt_write_turns;
/* One plain text. */
prompt_layout prompt_write_text;
/* One plain text; or images and what is to be learnt, ended by a new line. */
prompt_layout prompt_write_plain;
/* Images, bos, a prefix, a new line; then, tokenised separately, a suffix and eos. */
prompt_layout prompt_write_prefix;
/* Texts and images as they are, bos after the images at the start, and an end; for a
 * style with a prefix, that is empty and the texts are the suffix. */
prompt_layout prompt_write_document;

/* Does the user's text have placeholders of images? */
bool prompt_names_places(const prompt_source *source);

LVLM_END_DECLS

#endif
