use burn::backend::Flex;

use super::*;
use crate::testing::TinyModel;

type Rows = Tensor<Flex, 3>;

fn rotate(rope: &Rope, position: usize, head: Vec<f32>) -> Vec<f32> {
    let device = Default::default();
    let width = head.len();
    let heads = Rows::from_data(TensorData::new(head, [1, 1, width]), &device);
    rope.rotation::<Flex>(position, 1, &device)
        .apply(heads)
        .into_data()
        .to_vec()
        .unwrap()
}

#[test]
fn position_zero_changes_nothing() {
    let rope = Rope::new(&TinyModel::new(0).config);
    let head: Vec<f32> = (0..8).map(|i| i as f32 - 3.5).collect();
    assert_eq!(rotate(&rope, 0, head.clone()), head);
}

#[test]
fn pairs_turn_by_their_frequency() {
    let rope = Rope::new(&TinyModel::new(0).config);
    // θ = 10⁴ and d = 8: frequencies 1, 0.1, 0.01, 0.001; entry i is paired with entry i + 4.
    for (i, frequency) in [1.0f32, 0.1, 0.01, 0.001].into_iter().enumerate() {
        let mut head = vec![0.0; 8];
        head[i] = 1.0;
        let turned = rotate(&rope, 7, head);
        let angle = 7.0 * frequency;
        assert!((turned[i] - angle.cos()).abs() < 1e-6, "{turned:?}");
        assert!((turned[i + 4] - angle.sin()).abs() < 1e-6, "{turned:?}");
        assert_eq!(turned.iter().filter(|value| **value != 0.0).count(), 2);
    }
}

#[test]
fn scaling_leaves_short_wavelengths_and_divides_long_ones() {
    let scaling = RopeScaling {
        factor: 32.0,
        low_freq_factor: 1.0,
        high_freq_factor: 4.0,
        original_context: 8192,
    };
    let divisors = divisors(500_000.0, 64, &scaling);
    assert_eq!(divisors.len(), 32);
    assert_eq!(divisors[0], 1.0);
    assert_eq!(divisors[31], 32.0);
    assert!(
        divisors.windows(2).all(|pair| pair[0] <= pair[1]),
        "{divisors:?}"
    );
}

#[test]
fn scaled_frequencies_are_those_of_the_reference() {
    let mut config = TinyModel::new(0).scaled_rope().config;
    config.head_dim = 64;
    config.rope_scaling.as_mut().unwrap().factor = 32.0;
    let rope = Rope::new(&config);
    // Llama 3.2's, as transformers 4.57 computes them.
    let expected: [(usize, f64); 9] = [
        (0, 1.0),
        (1, 0.663601279258728),
        (13, 0.00483942124992609),
        (14, 0.0032114461064338684),
        (15, 0.0012905480107292533),
        (16, 0.000429556705057621),
        (17, 9.708286233944818e-05),
        (18, 1.9461638657958247e-05),
        (31, 9.418306490260875e-08),
    ];
    for (i, frequency) in expected {
        let found = f64::from(rope.frequencies[i]);
        let distance = (found - frequency).abs() / frequency;
        assert!(distance < 1e-6, "{i}: {found} for {frequency}");
    }
}
