//! Names and shapes of tensors. Hugging Face's names are the canonical ones: digests are over them.

use crate::config::ModelConfig;

pub(crate) const EMBEDDING: &str = "model.embed_tokens.weight";
pub(crate) const FINAL_NORM: &str = "model.norm.weight";
pub(crate) const HEAD: &str = "lm_head.weight";
/// Divisors of the rotary frequencies in a GGUF file. No block's tensor: it is folded into the
/// configuration.
pub(crate) const ROPE_DIVISORS: &str = "rope_freqs.weight";

/// Name of a block's tensor.
pub(crate) fn in_block(block: usize, rest: &str) -> String {
    format!("model.layers.{block}.{rest}")
}

/// GGUF's name of a part of a block beside the canonical one.
const BLOCK_PARTS: [(&str, &str); 9] = [
    ("attn_norm", "input_layernorm"),
    ("attn_q", "self_attn.q_proj"),
    ("attn_k", "self_attn.k_proj"),
    ("attn_v", "self_attn.v_proj"),
    ("attn_output", "self_attn.o_proj"),
    ("ffn_norm", "post_attention_layernorm"),
    ("ffn_gate", "mlp.gate_proj"),
    ("ffn_up", "mlp.up_proj"),
    ("ffn_down", "mlp.down_proj"),
];

/// The canonical name of a tensor in a GGUF file; other names stay as they are.
pub(crate) fn from_gguf(name: &str) -> String {
    match name {
        "token_embd.weight" => return EMBEDDING.into(),
        "output_norm.weight" => return FINAL_NORM.into(),
        "output.weight" => return HEAD.into(),
        _ => {}
    }
    let in_a_block = || {
        let (block, rest) = name.strip_prefix("blk.")?.split_once('.')?;
        let (part, kind) = rest.rsplit_once('.')?;
        let block: usize = block.parse().ok()?;
        let (_, canonical) = BLOCK_PARTS.iter().find(|(gguf, _)| *gguf == part)?;
        Some(in_block(block, &format!("{canonical}.{kind}")))
    };
    in_a_block().unwrap_or_else(|| name.to_owned())
}

/// GGUF's name of a canonical tensor: what [`from_gguf`] undoes.
#[cfg(any(test, feature = "testing"))]
pub(crate) fn to_gguf(name: &str) -> String {
    match name {
        EMBEDDING => return "token_embd.weight".into(),
        FINAL_NORM => return "output_norm.weight".into(),
        HEAD => return "output.weight".into(),
        _ => {}
    }
    let in_a_block = || {
        let (block, rest) = name.strip_prefix("model.layers.")?.split_once('.')?;
        let (part, kind) = rest.rsplit_once('.')?;
        let (gguf, _) = BLOCK_PARTS
            .iter()
            .find(|(_, canonical)| *canonical == part)?;
        Some(format!("blk.{block}.{gguf}.{kind}"))
    };
    in_a_block().unwrap_or_else(|| name.to_owned())
}

/// Every tensor of a block with its shape, outermost dimension first, in ascending order of names.
pub(crate) fn block_tensors(config: &ModelConfig, block: usize) -> Vec<(String, Vec<usize>)> {
    let (hidden, inner) = (config.hidden_size, config.intermediate_size);
    let (query, kv) = (config.query_width(), config.kv_width());
    let mut tensors = vec![
        ("input_layernorm.weight", vec![hidden]),
        ("mlp.down_proj.weight", vec![hidden, inner]),
        ("mlp.gate_proj.weight", vec![inner, hidden]),
        ("mlp.up_proj.weight", vec![inner, hidden]),
        ("post_attention_layernorm.weight", vec![hidden]),
        ("self_attn.k_proj.weight", vec![kv, hidden]),
        ("self_attn.o_proj.weight", vec![hidden, query]),
        ("self_attn.q_proj.weight", vec![query, hidden]),
        ("self_attn.v_proj.weight", vec![kv, hidden]),
    ];
    if config.qkv_bias() {
        tensors.extend([
            ("self_attn.k_proj.bias", vec![kv]),
            ("self_attn.q_proj.bias", vec![query]),
            ("self_attn.v_proj.bias", vec![kv]),
        ]);
    }
    tensors.sort();
    tensors
        .into_iter()
        .map(|(name, shape)| (in_block(block, name), shape))
        .collect()
}

/// Is this a block's tensor that changes what the block computes? Old checkpoints carry rotary
/// frequencies, which follow from the configuration.
pub(crate) fn computes(name: &str) -> bool {
    (name.starts_with("model.layers.") || name.starts_with("blk."))
        && !name.ends_with(".rotary_emb.inv_freq")
}
