/* per_precision.h - the functions that exist once per precision.
 *
 * One line per function with external linkage below runtime/ whose source is compiled
 * for both precisions; x becomes x_f32 or x_f64. A function missing here shows up as
 * a duplicate definition at link time. Included by real.h only. */
#ifndef LVLM_RUNTIME_PER_PRECISION_H
#define LVLM_RUNTIME_PER_PRECISION_H

// clang-format off

/* ops/ */
#define gemm_nt                LVLM_PER_PRECISION(gemm_nt)
#define gemm_nn                LVLM_PER_PRECISION(gemm_nn)
#define gemm_tn                LVLM_PER_PRECISION(gemm_tn)
#define gemm_dot               LVLM_PER_PRECISION(gemm_dot)
#define vexp                   LVLM_PER_PRECISION(vexp)
#define vtanh                  LVLM_PER_PRECISION(vtanh)
#define vsum                   LVLM_PER_PRECISION(vsum)
#define vmax                   LVLM_PER_PRECISION(vmax)
#define vdot                   LVLM_PER_PRECISION(vdot)
#define ops_threads            LVLM_PER_PRECISION(ops_threads)
#define stored_widen           LVLM_PER_PRECISION(stored_widen)
#define stored_at              LVLM_PER_PRECISION(stored_at)
#define linear_scratch         LVLM_PER_PRECISION(linear_scratch)
#define linear_forward         LVLM_PER_PRECISION(linear_forward)
#define linear_backward        LVLM_PER_PRECISION(linear_backward)
#define norm_scratch           LVLM_PER_PRECISION(norm_scratch)
#define layernorm_forward      LVLM_PER_PRECISION(layernorm_forward)
#define layernorm_backward     LVLM_PER_PRECISION(layernorm_backward)
#define rmsnorm_forward        LVLM_PER_PRECISION(rmsnorm_forward)
#define rmsnorm_backward       LVLM_PER_PRECISION(rmsnorm_backward)
#define activation_forward     LVLM_PER_PRECISION(activation_forward)
#define activation_backward    LVLM_PER_PRECISION(activation_backward)
#define gated_forward          LVLM_PER_PRECISION(gated_forward)
#define gated_backward         LVLM_PER_PRECISION(gated_backward)
#define rope_table             LVLM_PER_PRECISION(rope_table)
#define rope_forward           LVLM_PER_PRECISION(rope_forward)
#define rope_backward          LVLM_PER_PRECISION(rope_backward)
#define attention_scratch      LVLM_PER_PRECISION(attention_scratch)
#define attention_forward      LVLM_PER_PRECISION(attention_forward)
#define attention_backward     LVLM_PER_PRECISION(attention_backward)
#define embed_forward          LVLM_PER_PRECISION(embed_forward)
#define embed_backward         LVLM_PER_PRECISION(embed_backward)
#define patchify_forward       LVLM_PER_PRECISION(patchify_forward)
#define patchify_backward      LVLM_PER_PRECISION(patchify_backward)
#define softcap_forward        LVLM_PER_PRECISION(softcap_forward)
#define softcap_backward       LVLM_PER_PRECISION(softcap_backward)
#define cross_entropy_forward  LVLM_PER_PRECISION(cross_entropy_forward)
#define cross_entropy_backward LVLM_PER_PRECISION(cross_entropy_backward)
#define add_forward            LVLM_PER_PRECISION(add_forward)
#define add_rows_forward       LVLM_PER_PRECISION(add_rows_forward)
#define add_rows_backward      LVLM_PER_PRECISION(add_rows_backward)

/* vision/ */
#define siglip_open            LVLM_PER_PRECISION(siglip_open)
#define siglip_bind            LVLM_PER_PRECISION(siglip_bind)
#define siglip_free            LVLM_PER_PRECISION(siglip_free)
#define siglip_rows            LVLM_PER_PRECISION(siglip_rows)
#define siglip_scratch         LVLM_PER_PRECISION(siglip_scratch)
#define siglip_announce        LVLM_PER_PRECISION(siglip_announce)
#define siglip_forward         LVLM_PER_PRECISION(siglip_forward)
#define siglip_block_forward   LVLM_PER_PRECISION(siglip_block_forward)

/* connector/ */
#define projector_open         LVLM_PER_PRECISION(projector_open)
#define projector_bind         LVLM_PER_PRECISION(projector_bind)
#define projector_scratch      LVLM_PER_PRECISION(projector_scratch)
#define projector_announce     LVLM_PER_PRECISION(projector_announce)
#define projector_forward      LVLM_PER_PRECISION(projector_forward)

/* text/ */
#define decoder_open           LVLM_PER_PRECISION(decoder_open)
#define decoder_bind           LVLM_PER_PRECISION(decoder_bind)
#define decoder_free           LVLM_PER_PRECISION(decoder_free)
#define decoder_scratch        LVLM_PER_PRECISION(decoder_scratch)
#define decoder_announce       LVLM_PER_PRECISION(decoder_announce)
#define decoder_acts_make      LVLM_PER_PRECISION(decoder_acts_make)
#define decoder_acts_free      LVLM_PER_PRECISION(decoder_acts_free)
#define decoder_forward        LVLM_PER_PRECISION(decoder_forward)
#define decoder_block_forward  LVLM_PER_PRECISION(decoder_block_forward)
#define head_open              LVLM_PER_PRECISION(head_open)
#define head_bind              LVLM_PER_PRECISION(head_bind)
#define head_scratch           LVLM_PER_PRECISION(head_scratch)
#define head_announce          LVLM_PER_PRECISION(head_announce)
#define head_forward           LVLM_PER_PRECISION(head_forward)

/* model/ */
#define configure              LVLM_PER_PRECISION(configure)
#define configure_word         LVLM_PER_PRECISION(configure_word)
#define weights_bind           LVLM_PER_PRECISION(weights_bind)
#define weights_bind_block     LVLM_PER_PRECISION(weights_bind_block)
#define weights_allocate       LVLM_PER_PRECISION(weights_allocate)
#define weights_free           LVLM_PER_PRECISION(weights_free)
#define workspace_allocate     LVLM_PER_PRECISION(workspace_allocate)
#define stages_wants           LVLM_PER_PRECISION(stages_wants)
#define stages_announce        LVLM_PER_PRECISION(stages_announce)
#define stages_announce_blocks LVLM_PER_PRECISION(stages_announce_blocks)
#define stages_block           LVLM_PER_PRECISION(stages_block)
#define stages_emit            LVLM_PER_PRECISION(stages_emit)
#define stages_emit_scalar     LVLM_PER_PRECISION(stages_emit_scalar)
#define stages_emit_rows       LVLM_PER_PRECISION(stages_emit_rows)

// clang-format on

#endif
