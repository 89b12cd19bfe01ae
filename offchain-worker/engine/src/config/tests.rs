use super::*;
use crate::testing::TinyModel;

fn smollm2() -> ModelConfig {
    hf::parse(
        br#"{"architectures": ["LlamaForCausalLM"], "hidden_act": "silu", "hidden_size": 576,
            "intermediate_size": 1536, "max_position_embeddings": 8192, "num_attention_heads": 9,
            "num_hidden_layers": 30, "num_key_value_heads": 3, "rms_norm_eps": 1e-05,
            "rope_interleaved": false, "rope_scaling": null, "rope_theta": 100000,
            "tie_word_embeddings": true, "vocab_size": 49152}"#,
    )
    .unwrap()
}

fn patched(from: &str, to: &str) -> Result<ModelConfig, ConfigError> {
    let json = r#"{"architectures": ["LlamaForCausalLM"], "hidden_size": 64, "vocab_size": 300,
        "intermediate_size": 128, "max_position_embeddings": 512, "num_attention_heads": 4,
        "num_hidden_layers": 2, "num_key_value_heads": 2, "rms_norm_eps": 1e-6}"#;
    assert!(json.contains(from), "{from} is not in the configuration");
    hf::parse(json.replace(from, to).as_bytes())
}

#[test]
fn reads_the_configuration_of_smollm2() {
    let config = smollm2();
    assert_eq!(
        (config.blocks, config.hidden_size, config.head_dim),
        (30, 576, 64)
    );
    assert_eq!((config.rms_norm_eps, config.rope_theta), (1e-5, 1e5));
    assert!(config.tied_embeddings);
    // Known size of a block: 3 540 096 parameters.
    assert_eq!(config.block_parameters(), 3_540_096);
    assert_eq!(config.kv_bytes_per_token_and_block(), 2 * 192 * 4);
}

#[test]
fn a_manifest_keeps_every_field() {
    for config in [smollm2(), TinyModel::new(1).qwen2().scaled_rope().config] {
        let manifest = ManifestConfig::try_from(&config).unwrap();
        manifest.validate().unwrap();
        assert_eq!(ModelConfig::try_from(&manifest).unwrap(), config);
    }
}

#[test]
fn a_manifest_refuses_what_it_would_round() {
    let config = ModelConfig {
        rope_theta: 10_000.000_000_3,
        ..smollm2()
    };
    // In f32, in which frequencies are computed, that is 10 000.
    assert!(ManifestConfig::try_from(&config).is_ok());
    let config = ModelConfig {
        rope_theta: 1.000_4,
        ..smollm2()
    };
    let error = ManifestConfig::try_from(&config).unwrap_err();
    assert_eq!(error, ConfigError::NotRepresentable("rope_theta"));
}

#[test]
fn both_spellings_of_llama_3_scaling_are_read() {
    let expected = Some(RopeScaling {
        factor: 32.0,
        low_freq_factor: 1.0,
        high_freq_factor: 4.0,
        original_context: 8192,
    });
    let scaling = r#""factor": 32.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": 8192, "rope_type": "llama3""#;
    let old = format!(r#""rope_theta": 500000.0, "rope_scaling": {{{scaling}}}, "vocab_size""#);
    let new = format!(r#""rope_parameters": {{"rope_theta": 500000.0, {scaling}}}, "vocab_size""#);
    for spelling in [old, new] {
        let config = patched(r#""vocab_size""#, &spelling).unwrap();
        assert_eq!(
            (config.rope_scaling, config.rope_theta),
            (expected, 500_000.0)
        );
    }
}

#[test]
fn unsupported_models_are_named() {
    let cases = [
        (
            "LlamaForCausalLM",
            "MixtralForCausalLM",
            "MixtralForCausalLM",
        ),
        (
            r#""vocab_size""#,
            r#""attention_bias": true, "vocab_size""#,
            "biases in attention",
        ),
        (
            r#""vocab_size""#,
            r#""hidden_act": "gelu", "vocab_size""#,
            "activation",
        ),
        (
            r#""vocab_size""#,
            r#""rope_scaling": {"type": "yarn"}, "vocab_size""#,
            "yarn",
        ),
        (
            r#""vocab_size""#,
            r#""quantization_config": {}, "vocab_size""#,
            "quantised",
        ),
    ];
    for (from, to, what) in cases {
        match patched(from, to) {
            Err(ConfigError::Unsupported(text)) => assert!(text.contains(what), "{text}"),
            other => panic!("{to}: {other:?}"),
        }
    }
}

#[test]
fn impossible_shapes_are_refused() {
    let cases = [
        (r#""num_hidden_layers": 2"#, r#""num_hidden_layers": 0"#),
        (
            r#""num_hidden_layers": 2"#,
            r#""num_hidden_layers": 100000"#,
        ),
        (r#""num_key_value_heads": 2"#, r#""num_key_value_heads": 3"#),
        (r#""num_key_value_heads": 2"#, r#""num_key_value_heads": 0"#),
        (r#""num_attention_heads": 4"#, r#""num_attention_heads": 5"#),
        (
            r#""num_attention_heads": 4"#,
            r#""head_dim": 15, "num_attention_heads": 4"#,
        ),
        (r#""hidden_size": 64"#, r#""hidden_size": 9007199254740992"#),
        (r#""hidden_size": 64"#, r#""hidden_size": -64"#),
        (r#""rms_norm_eps": 1e-6"#, r#""rms_norm_eps": 0"#),
        (
            r#""rms_norm_eps": 1e-6"#,
            r#""rms_norm_eps": 1e-6, "rope_theta": -1"#,
        ),
    ];
    for (from, to) in cases {
        assert!(
            matches!(patched(from, to), Err(ConfigError::BadValue { .. })),
            "{to}"
        );
    }
    let missing = patched(r#""vocab_size": 300,"#, "");
    assert_eq!(missing, Err(ConfigError::Missing("vocab_size".into())));
}
