use std::collections::BTreeSet;

use safetensors::SafeTensors;

use super::*;
use crate::testing::{TinyFormat, TinyModel};

fn opened(tiny: &TinyModel) -> (tempfile::TempDir, Model) {
    let dir = tempfile::tempdir().unwrap();
    let path = tiny.write(dir.path()).unwrap();
    (dir, Model::open(&path).unwrap())
}

#[test]
fn all_formats_give_one_configuration_and_the_same_weights() {
    for tiny in [
        TinyModel::new(3),
        TinyModel::new(3).qwen2().untied().scaled_rope(),
    ] {
        let formats = [
            TinyFormat::SafeTensors,
            TinyFormat::Sharded,
            TinyFormat::Gguf,
        ];
        let models = formats.map(|format| opened(&tiny.clone().format(format)));
        for (_dir, model) in &models {
            assert_eq!(model.config(), &tiny.config);
            for block in 0..tiny.config.blocks {
                for (name, shape) in names::block_tensors(&tiny.config, block) {
                    let [first, this] =
                        [&models[0].1, model].map(|m| m.tensor(&name, &shape).unwrap());
                    assert_eq!(first.load().unwrap(), this.load().unwrap(), "{name}");
                }
            }
        }
    }
}

#[test]
fn a_block_digest_is_over_the_documented_bytes() {
    let (dir, model) = opened(&TinyModel::new(4).qwen2());
    let file = std::fs::read(dir.path().join("model.safetensors")).unwrap();
    let tensors = SafeTensors::deserialize(&file).unwrap();
    let mut names = tensors.names();
    names.retain(|name| name.starts_with("model.layers.2."));
    names.sort();
    assert_eq!(names.len(), 12);
    let mut hasher = Hasher::new();
    for name in names {
        let tensor = tensors.tensor(name).unwrap();
        hasher.update((name.len() as u16).to_le_bytes());
        hasher.update(name);
        hasher.update([0, tensor.shape().len() as u8]);
        for size in tensor.shape() {
            hasher.update((*size as u64).to_le_bytes());
        }
        hasher.update(tensor.data());
    }
    let expected: [u8; 32] = hasher.finalize().into();
    assert_eq!(model.block_digest(2).unwrap(), expected);
}

#[test]
fn digests_tell_blocks_weights_and_row_orders_apart() {
    let (_dir, model) = opened(&TinyModel::new(5));
    let (_other_dir, other) = opened(&TinyModel::new(6));
    let (_sharded_dir, sharded) = opened(&TinyModel::new(5).format(TinyFormat::Sharded));
    let (_gguf_dir, gguf) = opened(&TinyModel::new(5).format(TinyFormat::Gguf));
    let mut seen = BTreeSet::new();
    for model in [&model, &other, &gguf] {
        seen.extend((0..4).map(|block| model.block_digest(block).unwrap()));
        let ends = model.ends_digests().unwrap();
        seen.extend([ends.embedding, ends.head, model.tokenizer_digest().unwrap()]);
    }
    // The two safetensors models share their tokenizer.
    assert_eq!(seen.len(), 3 * 7 - 1);
    for block in 0..4 {
        assert_eq!(
            model.block_digest(block).unwrap(),
            sharded.block_digest(block).unwrap()
        );
    }
    assert_eq!(
        model.ends_digests().unwrap(),
        sharded.ends_digests().unwrap()
    );
    assert!(matches!(
        model.block_digest(4),
        Err(WeightsError::NoSuchBlock {
            block: 4,
            blocks: 4
        })
    ));
}

#[test]
fn only_the_shards_of_the_span_are_needed() {
    let tiny = TinyModel::new(7).format(TinyFormat::Sharded);
    let dir = tempfile::tempdir().unwrap();
    let path = tiny.write(dir.path()).unwrap();
    std::fs::remove_file(dir.path().join("model-00001-of-00002.safetensors")).unwrap();
    let model = Model::open(&path).unwrap();
    assert!(model.block_digest(3).is_ok());
    match model.block_digest(0) {
        Err(WeightsError::Io { path, .. }) => {
            assert!(path.ends_with("model-00001-of-00002.safetensors"))
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_index_can_not_reach_out_of_its_folder() {
    let dir = tempfile::tempdir().unwrap();
    let path = TinyModel::new(8)
        .format(TinyFormat::Sharded)
        .write(dir.path())
        .unwrap();
    for name in [
        "../secret.safetensors",
        "/etc/passwd",
        "a/b.safetensors",
        "..",
    ] {
        let index = serde_json::json!({ "weight_map": { names::EMBEDDING: name } });
        std::fs::write(dir.path().join(INDEX), index.to_string()).unwrap();
        let error = Model::open(&path).unwrap_err();
        assert!(
            matches!(&error, WeightsError::Corrupt { .. }),
            "{name}: {error}"
        );
    }
}

#[test]
fn truncated_files_are_told_from_unknown_ones() {
    for format in [TinyFormat::SafeTensors, TinyFormat::Gguf] {
        let dir = tempfile::tempdir().unwrap();
        let path = TinyModel::new(9).format(format).write(dir.path()).unwrap();
        let file = if path.is_dir() {
            path.join(SINGLE)
        } else {
            path.clone()
        };
        let bytes = std::fs::read(&file).unwrap();
        for len in [bytes.len() - 1, bytes.len() / 2, 100, 10] {
            std::fs::write(&file, &bytes[..len]).unwrap();
            let error = Model::open(&path).unwrap_err();
            assert!(error.is_corruption(), "{format:?} cut to {len}: {error}");
            assert!(error.to_string().contains("fetch it again"), "{error}");
        }
    }
    let dir = tempfile::tempdir().unwrap();
    assert!(matches!(
        Model::open(dir.path()),
        Err(WeightsError::NotAModel { .. })
    ));
    assert!(matches!(
        Model::open(&dir.path().join("none.gguf")),
        Err(WeightsError::Io { .. })
    ));
}

#[test]
fn a_file_that_shrinks_while_it_is_open_gives_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let path = TinyModel::new(10)
        .format(TinyFormat::Gguf)
        .write(dir.path())
        .unwrap();
    let model = Model::open(&path).unwrap();
    std::fs::File::options()
        .write(true)
        .open(&path)
        .unwrap()
        .set_len(5000)
        .unwrap();
    assert!(matches!(
        model.block_digest(3),
        Err(WeightsError::Io { .. })
    ));
}

#[test]
fn tensors_of_the_wrong_shape_and_missing_ones_are_named() {
    let tiny = TinyModel::new(11);
    let dir = tempfile::tempdir().unwrap();
    let path = tiny.write(dir.path()).unwrap();
    let config = std::fs::read_to_string(dir.path().join("config.json")).unwrap();
    let patch = |from: &str, to: &str| {
        assert!(config.contains(from), "{config}");
        std::fs::write(dir.path().join("config.json"), config.replace(from, to)).unwrap();
        Model::open(&path).unwrap()
    };
    let model = patch("\"intermediate_size\":64", "\"intermediate_size\":65");
    assert!(matches!(
        model.block_digest(0),
        Err(WeightsError::WrongShape { name, expected, found })
            if name.ends_with("mlp.down_proj.weight") && expected == [32, 65] && found == [32, 64]
    ));
    let model = patch("\"num_hidden_layers\":4", "\"num_hidden_layers\":5");
    assert!(matches!(
        model.block_digest(4),
        Err(WeightsError::MissingTensor(_))
    ));
}

#[test]
fn a_model_with_more_tensors_than_the_engine_computes_is_refused() {
    // Qwen2's biases under a configuration that says Llama.
    let dir = tempfile::tempdir().unwrap();
    let path = TinyModel::new(12).qwen2().write(dir.path()).unwrap();
    let config = std::fs::read_to_string(dir.path().join("config.json")).unwrap();
    let config = config.replace("Qwen2ForCausalLM", "LlamaForCausalLM");
    std::fs::write(dir.path().join("config.json"), config).unwrap();
    let error = Model::open(&path).unwrap_err();
    assert!(error.to_string().contains("k_proj.bias"), "{error}");
    assert!(!error.is_corruption());
}

/// Gives the tensors of a GGUF file that `wanted` names another type number.
fn retype(file: &Path, wanted: impl Fn(&str) -> bool, number: u32) {
    let mut bytes = std::fs::read(file).unwrap();
    for block in 0..4 {
        for part in [
            "attn_q",
            "attn_k",
            "attn_v",
            "attn_output",
            "ffn_gate",
            "ffn_up",
            "ffn_down",
        ] {
            let name = format!("blk.{block}.{part}.weight");
            if !wanted(&name) {
                continue;
            }
            let start = bytes
                .windows(name.len())
                .position(|window| window == name.as_bytes())
                .unwrap();
            // Behind the name: the number of dimensions, two of them, the type.
            let kind = start + name.len() + 4 + 2 * 8;
            assert_eq!(bytes[kind..][..4], [0; 4]);
            bytes[kind..][..4].copy_from_slice(&number.to_le_bytes());
        }
    }
    std::fs::write(file, bytes).unwrap();
}

#[test]
fn the_type_of_the_weights_is_that_of_every_matrix() {
    let everything = |_: &str| true;
    let one = |name: &str| name == "blk.3.ffn_up.weight";
    let (q8_0, q5_0) = (8, 6);
    for (wanted, number, expected) in [
        (&everything as &dyn Fn(&str) -> bool, 0, DType::F32),
        (&everything, q8_0, DType::Q8_0),
        (&everything, q5_0, DType::Mixed),
        (&one, q8_0, DType::Mixed),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let tiny = TinyModel::new(12).format(TinyFormat::Gguf);
        let path = tiny.write(dir.path()).unwrap();
        retype(&path, wanted, number);
        let found = Model::open(&path).unwrap().weights_type().unwrap();
        assert_eq!(found, expected);
    }
    let (_dir, safetensors) = opened(&TinyModel::new(12));
    assert_eq!(safetensors.weights_type().unwrap(), DType::F32);
}
