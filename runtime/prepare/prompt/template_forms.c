/* template_forms.c - released chat templates; see template_forms.h.
 *
 * A new one is a row here if a style writes what it renders, for every conversation
 * that lvlm_messages can hold, without tools and the caller's variables. */
#include "runtime/prepare/prompt/template_forms.h"

#include <stddef.h>

#include "formats/family/chat_templates.h"

// clang-format off

/* ---- Qwen2-VL, Qwen2.5-VL ------------------------------------------------------- */

#define QWEN_IMAGE "content['type'] == 'image' or 'image' in content or 'image_url' in content"
#define QWEN_VIDEO "content['type'] == 'video' or 'video' in content"

const template_form template_forms_chatml[] = {
    { "Qwen2-VL-Instruct",
      "{% set image_count = namespace(value=0) %}"
      "{% set video_count = namespace(value=0) %}"
      "{% for message in messages %}"
          "{% if loop.first and message['role'] != 'system' %}"
              "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n"
          "{% endif %}"
          "<|im_start|>{{ message['role'] }}\n"
          "{% if message['content'] is string %}"
              "{{ message['content'] }}<|im_end|>\n"
          "{% else %}"
              "{% for content in message['content'] %}"
                  "{% if " QWEN_IMAGE " %}"
                      "{% set image_count.value = image_count.value + 1 %}"
                      "{% if add_vision_id %}Picture {{ image_count.value }}: {% endif %}"
                      "<|vision_start|><|image_pad|><|vision_end|>"
                  "{% elif " QWEN_VIDEO " %}"
                      "{% set video_count.value = video_count.value + 1 %}"
                      "{% if add_vision_id %}Video {{ video_count.value }}: {% endif %}"
                      "<|vision_start|><|video_pad|><|vision_end|>"
                  "{% elif 'text' in content %}"
                      "{{ content['text'] }}"
                  "{% endif %}"
              "{% endfor %}"
              "<|im_end|>\n"
          "{% endif %}"
      "{% endfor %}"
      "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}" },
    { "lvlm's own fixtures",
      "{% for message in messages %}"
          "{% if loop.first and message['role'] != 'system' %}"
              "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n"
          "{% endif %}"
          "<|im_start|>{{ message['role'] }}\n"
          "{% if message['content'] is string %}"
              "{{ message['content'] }}"
          "{% else %}"
              "{% for part in message['content'] %}"
                  "{% if part['type'] == 'image' %}"
                      "<|vision_start|><|image_pad|><|vision_end|>"
                  "{% else %}"
                      "{{ part['text'] }}"
                  "{% endif %}"
              "{% endfor %}"
          "{% endif %}"
          "<|im_end|>\n"
      "{% endfor %}"
      "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}" },
    { NULL, NULL },
};

const template_form template_forms_qwen2_base[] = {
    { "Qwen2-VL",
      "{% if messages is string %}{{ messages }}{% else %}"
          "{% for content in messages %}"
              "{% if " QWEN_IMAGE " %}"
                  "<|vision_start|><|image_pad|><|vision_end|>"
              "{% elif " QWEN_VIDEO " %}"
                  "<|vision_start|><|video_pad|><|vision_end|>"
              "{% elif 'text' in content %}"
                  "{{ content['text'] }}"
              "{% endif %}"
          "{% endfor %}"
      "{% endif %}" },
    { "lvlm's own fixtures",
      "{% if messages is string %}{{ messages }}{% else %}"
          "{% for part in messages %}"
              "{% if part['type'] == 'image' %}"
                  "<|vision_start|><|image_pad|><|vision_end|>"
              "{% else %}"
                  "{{ part['text'] }}"
              "{% endif %}"
          "{% endfor %}"
      "{% endif %}" },
    { NULL, NULL },
};

/* ---- LLaVA, and language models that are composed ------------------------------- */

const template_form template_forms_llava[] = {
    { "llava-1.5-7b-hf", lvlm_chat_template_llava },
    { NULL, NULL },
};

const template_form template_forms_vicuna_v1[] = {
    { "lvlm's vicuna_v1", lvlm_chat_template_vicuna_v1 },
    { NULL, NULL },
};

const template_form template_forms_text_chatml[] = {
    { "lvlm's chatml", lvlm_chat_template_chatml },
    { "Qwen2-Instruct",
      "{% for message in messages %}"
          "{% if loop.first and messages[0]['role'] != 'system' %}"
              "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n"
          "{% endif %}"
          "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n' }}"
      "{% endfor %}"
      "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}" },
    { NULL, NULL },
};

const template_form template_forms_text_gemma[] = {
    { "lvlm's gemma", lvlm_chat_template_gemma },
    { "gemma-it",
      "{{ bos_token }}"
      "{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
      "{% for message in messages %}"
          "{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"
              "{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}"
          "{% endif %}"
          "{% if (message['role'] == 'assistant') %}{% set role = 'model' %}"
          "{% else %}{% set role = message['role'] %}{% endif %}"
          "{{ '<start_of_turn>' + role + '\n' + message['content'] | trim + '<end_of_turn>\n' }}"
      "{% endfor %}"
      "{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}" },
    { NULL, NULL },
};

/* ---- Llama 3.2-Vision ----------------------------------------------------------- */

#define LLAMA_HEADER "<|start_header_id|>{{ message['role'] }}<|end_header_id|>\n\n"
#define LLAMA_ANSWER \
    "{% if add_generation_prompt %}" \
        "<|start_header_id|>assistant<|end_header_id|>\n\n" \
    "{% endif %}"

/* A message's content between its header and its end. */
#define LLAMA_CONTENT \
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}" \
        "{% for content in message['content'] %}" \
            "{% if content['type'] == 'image' %}<|image|>" \
            "{% elif content['type'] == 'text' %}{{ content['text'] }}{% endif %}" \
        "{% endfor %}" \
    "{% endif %}<|eot_id|>"
#define FIXTURE_CONTENT \
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}" \
        "{% for part in message['content'] %}" \
            "{{ '<|image|>' if part['type'] == 'image' else part['text'] }}" \
        "{% endfor %}" \
    "{% endif %}<|eot_id|>"

#define LLAMA_CALL_FORMAT \
    "Respond in the format {\"name\": function name, \"parameters\": dictionary of argument name and its value}." \
    "Do not use variables.\n\n"
#define LLAMA_TOOLS "{% for t in tools %}{{ t | tojson(indent=4) }}{{ '\\n\\n' }}{% endfor %}"

const template_form template_forms_llama32[] = {
    { "Llama-3.2-Vision-Instruct",
      "{{ bos_token }}"
      "{% if custom_tools is defined %}{% set tools = custom_tools %}{% endif %}"
      "{% if not tools_in_user_message is defined %}{% set tools_in_user_message = true %}{% endif %}"
      "{% if not date_string is defined %}"
          "{% if strftime_now is defined %}{% set date_string = strftime_now('%d %b %Y') %}"
          "{% else %}{% set date_string = '26 Jul 2024' %}{% endif %}"
      "{% endif %}"
      "{% if not tools is defined %}{% set tools = none %}{% endif %}"
      "{% if messages[0]['role'] == 'system' %}"
          "{% set system_message = messages[0]['content'] | trim %}"
          "{% set messages = messages[1:] %}"
      "{% else %}{% set system_message = '' %}{% endif %}"
      "{% set image_ns = namespace(has_images=false) %}"
      "{% for message in messages %}"
          "{% for content in message['content'] %}"
              "{% if content['type'] == 'image' %}{% set image_ns.has_images = true %}{% endif %}"
          "{% endfor %}"
      "{% endfor %}"
      "{% if image_ns.has_images and not system_message == '' %}"
          "{{ raise_exception('Prompting with images is incompatible with system messages.') }}"
      "{% endif %}"
      "{% if not image_ns.has_images %}"
          "<|start_header_id|>system<|end_header_id|>\n\n"
          "{% if tools is not none %}{{ 'Environment: ipython\\n' }}{% endif %}"
          "Cutting Knowledge Date: December 2023\nToday Date: {{ date_string }}\n\n"
          "{% if tools is not none and not tools_in_user_message %}"
              "You have access to the following functions. "
              "To call a function, please respond with JSON for a function call."
              LLAMA_CALL_FORMAT
              LLAMA_TOOLS
          "{% endif %}"
          "{{ system_message }}<|eot_id|>"
      "{% endif %}"
      "{% if tools_in_user_message and not tools is none %}"
          "{% if messages | length != 0 %}"
              "{% set first_user_message = messages[0]['content'] | trim %}"
              "{% set messages = messages[1:] %}"
          "{% else %}"
              "{{ raise_exception(\"Cannot put tools in the first user message when there's no first user message!\") }}"
          "{% endif %}"
          "<|start_header_id|>user<|end_header_id|>\n\n"
          "Given the following functions, please respond with a JSON for a function call "
          "with its proper arguments that best answers the given prompt.\n\n"
          LLAMA_CALL_FORMAT
          LLAMA_TOOLS
          "{{ first_user_message }}<|eot_id|>"
      "{% endif %}"
      "{% for message in messages %}"
          "{% if not (message.role == 'ipython' or message.role == 'tool' or 'tool_calls' in message) %}"
              LLAMA_HEADER LLAMA_CONTENT
          "{% elif 'tool_calls' in message %}"
              "{% if not message.tool_calls | length == 1 %}"
                  "{{ raise_exception('This model only supports single tool-calls at once!') }}"
              "{% endif %}"
              "{% set tool_call = message.tool_calls[0].function %}"
              "<|start_header_id|>assistant<|end_header_id|>\n\n"
              "{{ '{\"name\": \"' + tool_call.name + '\", \"parameters\": ' }}"
              "{{ tool_call.arguments | tojson }}"
              "{{ '}<|eot_id|>' }}"
          "{% elif message.role == 'tool' or message.role == 'ipython' %}"
              "<|start_header_id|>ipython<|end_header_id|>\n\n"
              "{% if message.content is mapping or message.content is iterable %}"
                  "{{ message.content | tojson }}"
              "{% else %}"
                  "{{ message.content }}"
              "{% endif %}"
              "<|eot_id|>"
          "{% endif %}"
      "{% endfor %}"
      LLAMA_ANSWER },
    { "lvlm's own fixtures",
      "{{ bos_token }}"
      "{% set seen = namespace(picture=false) %}"
      "{% set system = messages[0]['content'] | trim if messages[0]['role'] == 'system' else '' %}"
      "{% set said = messages[1:] if messages[0]['role'] == 'system' else messages %}"
      "{% for message in said %}"
          "{% for part in message['content'] %}"
              "{% if part['type'] == 'image' %}{% set seen.picture = true %}{% endif %}"
          "{% endfor %}"
      "{% endfor %}"
      "{% if seen.picture and system != '' %}"
          "{{ raise_exception('Prompting with images is incompatible with system messages.') }}"
      "{% endif %}"
      "{% if not seen.picture %}"
          "<|start_header_id|>system<|end_header_id|>\n\n"
          "Cutting Knowledge Date: December 2023\nToday Date: {{ (date_string or '26 Jul 2024') }}\n\n"
          "{{ system }}<|eot_id|>"
      "{% endif %}"
      "{% for message in said %}" LLAMA_HEADER FIXTURE_CONTENT "{% endfor %}"
      LLAMA_ANSWER },
    { NULL, NULL },
};

const template_form template_forms_llama3[] = {
    { "transformers' conversion of Meta's checkpoints",
      "{% for message in messages %}"
          "{% if loop.index0 == 0 %}{{ bos_token }}{% endif %}"
          LLAMA_HEADER LLAMA_CONTENT
      "{% endfor %}"
      LLAMA_ANSWER },
    { "lvlm's own fixtures",
      "{{ bos_token }}{% for message in messages %}" LLAMA_HEADER FIXTURE_CONTENT "{% endfor %}"
      LLAMA_ANSWER },
    { NULL, NULL },
};
// clang-format on
