/* chat_templates.c - see chat_templates.h. */
#include "formats/family/chat_templates.h"

#include <stddef.h>
#include <string.h>

// clang-format off

#define PARTS_OF(type) "{% for content in message['content'] | selectattr('type', 'equalto', '" type "') %}"

/* A message's content: a text, or pictures and then texts. */
#define CONTENT \
    "{% if message['content'] is string %}" \
        "{{ message['content'] }}" \
    "{% else %}" \
        PARTS_OF("image") "{{ '<image>\\n' }}{% endfor %}" \
        PARTS_OF("text") "{{ content['text'] }}{% endfor %}" \
    "{% endif %}"

const char lvlm_chat_template_llava[] =
    "{% for message in messages %}"
        "{% if message['role'] != 'system' %}{{ message['role'].upper() + ': '}}{% endif %}"
        PARTS_OF("image") "{{ '<image>\\n' }}{% endfor %}"
        "{% if message['role'] != 'assistant' %}"
            PARTS_OF("text") "{{ content['text'] + ' '}}{% endfor %}"
        "{% else %}"
            PARTS_OF("text") "{% generation %}{{ content['text'] + ' '}}{% endgeneration %}{% endfor %}"
        "{% endif %}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ 'ASSISTANT:' }}{% endif %}";

const char lvlm_chat_template_vicuna_v1[] =
    "{% for message in messages %}"
        "{% if loop.first and message['role'] != 'system' %}"
            "{{ \"" LVLM_VICUNA_SYSTEM " \" }}"
        "{% endif %}"
        "{% if message['role'] != 'system' %}{{ message['role'].upper() + ': ' }}{% endif %}"
        CONTENT
        "{% if message['role'] == 'assistant' %}{{ eos_token }}{% else %}{{ ' ' }}{% endif %}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ 'ASSISTANT:' }}{% endif %}";

const char lvlm_chat_template_chatml[] =
    "{% for message in messages %}"
        "{% if loop.first and message['role'] != 'system' %}"
            "{{ '<|im_start|>system\\nYou are a helpful assistant.<|im_end|>\\n' }}"
        "{% endif %}"
        "{{ '<|im_start|>' + message['role'] + '\\n' }}"
        CONTENT
        "{{ '<|im_end|>\\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}";

const char lvlm_chat_template_gemma[] =
    "{{ bos_token }}"
    "{% for message in messages %}"
        "{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"
            "{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}"
        "{% endif %}"
        "{{ '<start_of_turn>' }}"
        "{% if message['role'] == 'assistant' %}{{ 'model\\n' }}{% else %}{{ 'user\\n' }}{% endif %}"
        "{% filter trim %}" CONTENT "{% endfilter %}"
        "{{ '<end_of_turn>\\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<start_of_turn>model\\n' }}{% endif %}";
// clang-format on

const char *lvlm_chat_template(const char *name)
{
    static const struct {
        const char *name, *text;
    } all[] = {
        { "llava", lvlm_chat_template_llava },
        { "vicuna_v1", lvlm_chat_template_vicuna_v1 },
        { "chatml", lvlm_chat_template_chatml },
        { "gemma", lvlm_chat_template_gemma },
    };
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        if (strcmp(all[i].name, name) == 0) return all[i].text;
    return NULL;
}
