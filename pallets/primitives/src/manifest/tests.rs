use super::*;

/// A manifest of two blocks that passes.
fn manifest() -> Manifest {
    let mut manifest = Manifest {
        name: b"tiny".to_vec().try_into().unwrap(),
        config: ModelConfig {
            architecture: Architecture::Llama,
            blocks: 2,
            hidden_size: 16,
            intermediate_size: 32,
            heads: 4,
            kv_heads: 2,
            head_dim: 4,
            vocab_size: 64,
            context_length: 128,
            tied_embeddings: true,
            rms_norm_eps_pico: 10_000_000,
            rope_theta_milli: 10_000_000,
            rope_scaling: None,
        },
        block_digests: [[1; 32], [2; 32]].to_vec().try_into().unwrap(),
        embedding_digest: [3; 32],
        head_digest: [4; 32],
        weights_root: [0; 32],
        tokenizer_digest: [5; 32],
        profiles: [NumericProfile {
            weights: DType::F32,
            activations: DType::F32,
            kv: DType::F32,
            kernel: Kernel::FlexF32,
        }]
        .to_vec()
        .try_into()
        .unwrap(),
        license: b"Apache-2.0".to_vec().try_into().unwrap(),
        uri: b"hf://tiny".to_vec().try_into().unwrap(),
        terms: Terms {
            min_self_bond: 0,
            max_nodes: 16,
        },
    };
    manifest.weights_root = manifest.computed_weights_root();
    manifest
}

#[test]
fn the_parameters_of_a_block_are_those_of_its_matrices() {
    let config = manifest().config;
    let (hidden, inner) = (
        u64::from(config.hidden_size),
        u64::from(config.intermediate_size),
    );
    let queries = u64::from(config.heads) * u64::from(config.head_dim);
    let keys = u64::from(config.kv_heads) * u64::from(config.head_dim);
    let attention = 2 * hidden * queries + 2 * hidden * keys;
    assert_eq!(config.block_parameters(), attention + 3 * hidden * inner);
    let widest = ModelConfig {
        hidden_size: u32::MAX,
        intermediate_size: u32::MAX,
        heads: u16::MAX,
        kv_heads: u16::MAX,
        head_dim: u16::MAX,
        ..config
    };
    assert!(widest.block_parameters() > 0, "no overflow");
}

#[test]
fn a_sound_manifest_passes() {
    assert_eq!(manifest().validate(), Ok(()));
}

/// A change to a manifest, and the error that it must give.
type Case = (fn(&mut Manifest), ManifestError);

#[test]
fn impossible_manifests_are_refused() {
    let cases: &[Case] = &[
        (|m| m.config.hidden_size = 0, ManifestError::ZeroSize),
        (|m| m.config.rms_norm_eps_pico = 0, ManifestError::ZeroSize),
        (|m| m.config.heads = 3, ManifestError::HeadsNotGrouped),
        (|m| m.config.head_dim = 5, ManifestError::OddHeadDim),
        (|m| m.config.blocks = 257, ManifestError::TooManyBlocks),
        (
            |m| m.config.hidden_size = 1 << 21,
            ManifestError::SizeOutOfRange,
        ),
        (|m| m.config.blocks = 3, ManifestError::DigestCount),
        (|m| m.weights_root = [9; 32], ManifestError::WeightsRoot),
        (|m| m.block_digests[1] = [9; 32], ManifestError::WeightsRoot),
        (|m| m.profiles.clear(), ManifestError::NoProfile),
        (
            |m| m.profiles.try_push(m.profiles[0].clone()).unwrap(),
            ManifestError::DuplicateProfile,
        ),
        (|m| m.name.clear(), ManifestError::BadName),
        (
            |m| m.name = vec![0xff].try_into().unwrap(),
            ManifestError::BadName,
        ),
        (|m| m.config.rope_theta_milli = 0, ManifestError::BadRope),
        (|m| m.terms.max_nodes = 0, ManifestError::NoNodes),
    ];
    for (change, error) in cases {
        let mut bad = manifest();
        change(&mut bad);
        assert_eq!(bad.validate(), Err(*error));
    }
}

#[test]
fn the_digest_binds_the_terms() {
    let mut other = manifest();
    other.terms.max_nodes = 17;
    assert_ne!(manifest().digest(), other.digest());
}
