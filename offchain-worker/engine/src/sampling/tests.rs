use proptest::prelude::*;

use super::*;

fn sampling(temperature: f32, top_k: u32, top_p: f32, seed: u8) -> Sampling {
    Sampling {
        temperature,
        top_k,
        top_p,
        seed: [seed; 32],
    }
}

#[test]
fn zero_temperature_takes_the_first_of_the_likeliest() {
    let logits = [0.5, 3.0, -1.0, 3.0, 2.9];
    assert_eq!(Sampling::greedy().sample(&logits, 0), Ok(1));
    assert_eq!(sampling(0.0, 2, 0.5, 9).sample(&logits, 77), Ok(1));
}

#[test]
fn the_noise_is_the_documented_one() {
    // First block of ChaCha20 under a zero key and nonce: 76 b8 e0 ad a0 f1 3d 90 …
    let mut noise = Noise::new(&[0; 32], 0);
    for (token, word) in [(0u32, 0xade0_b876u32), (1, 0x903d_f1a0)] {
        let uniform = (f64::from(word) + 0.5) / 2f64.powi(32);
        let expected = -(-uniform.ln()).ln();
        assert!((noise.of(token) - expected).abs() < 1e-12);
    }
    // Any token can be asked for alone.
    let all: Vec<f64> = (0..100).map(|token| noise.of(token)).collect();
    let alone: Vec<f64> = (0..100)
        .rev()
        .map(|t| Noise::new(&[0; 32], 0).of(t))
        .rev()
        .collect();
    assert_eq!(all, alone);
    assert_ne!(Noise::new(&[0; 32], 1).of(0), all[0]);
    assert_ne!(Noise::new(&[1; 32], 0).of(0), all[0]);
}

#[test]
fn draws_follow_the_softmax() {
    let logits: Vec<f32> = [0.5f32, 0.25, 0.15, 0.1].map(f32::ln).to_vec();
    let params = sampling(1.0, 0, 1.0, 3);
    let mut counts = [0u32; 4];
    for position in 0..20_000 {
        counts[params.sample(&logits, position).unwrap() as usize] += 1;
    }
    // Four standard deviations of the most frequent one are 283.
    for (count, expected) in counts.into_iter().zip([10_000u32, 5_000, 3_000, 2_000]) {
        assert!(count.abs_diff(expected) < 283, "{counts:?}");
    }
}

#[test]
fn a_low_temperature_approaches_greedy() {
    let logits = [1.0, 1.2, 0.9];
    let params = sampling(0.001, 0, 1.0, 5);
    assert!((0..200).all(|position| params.sample(&logits, position) == Ok(1)));
}

#[test]
fn top_p_keeps_the_shortest_list_that_reaches_it() {
    let logits: Vec<f32> = [0.1f32, 0.4, 0.2, 0.3].map(f32::ln).to_vec();
    let kept = |p| sampling(1.0, 0, p, 0).candidates(&logits).unwrap();
    assert_eq!(kept(0.3), [1]);
    assert_eq!(kept(0.6), [1, 3]);
    assert_eq!(kept(0.8), [1, 2, 3]);
    assert_eq!(kept(0.95), [0, 1, 2, 3]);
    // Top-k comes first, and its candidates are what the probability is a share of.
    assert_eq!(sampling(1.0, 2, 0.5, 0).candidates(&logits).unwrap(), [1]);
    assert_eq!(
        sampling(1.0, 2, 0.6, 0).candidates(&logits).unwrap(),
        [1, 3]
    );
}

#[test]
fn bad_parameters_and_logits_are_refused() {
    let logits = [0.0, 1.0];
    let with = |t, p| sampling(t, 0, p, 0).sample(&logits, 0);
    assert_eq!(with(-1.0, 1.0), Err(SamplingError::BadTemperature(-1.0)));
    assert!(matches!(
        with(f32::NAN, 1.0),
        Err(SamplingError::BadTemperature(_))
    ));
    assert_eq!(with(1.0, 0.0), Err(SamplingError::BadTopP(0.0)));
    assert_eq!(with(1.0, 1.5), Err(SamplingError::BadTopP(1.5)));
    assert!(matches!(
        with(1.0, f32::NAN),
        Err(SamplingError::BadTopP(_))
    ));
    for params in [
        Sampling::greedy(),
        sampling(1.0, 0, 1.0, 0),
        sampling(1.0, 3, 0.5, 0),
    ] {
        assert_eq!(params.sample(&[], 0), Err(SamplingError::NoLogits));
        assert_eq!(
            params.sample(&[0.0, f32::NAN], 0),
            Err(SamplingError::NotFinite(1))
        );
        let infinite = [f32::INFINITY, 0.0];
        assert_eq!(
            params.sample(&infinite, 0),
            Err(SamplingError::NotFinite(0))
        );
    }
}

/// Candidates by sorting everything: slow and plain.
fn plain_candidates(params: &Sampling, logits: &[f32]) -> Vec<u32> {
    let mut ranked: Vec<u32> = (0..logits.len() as u32).collect();
    ranked.sort_by(|a, b| rank(logits, *a, *b));
    if params.top_k > 0 {
        ranked.truncate(params.top_k as usize);
    }
    let highest = logits[ranked[0] as usize];
    let weight =
        |token: u32| libm::exp(params.scaled(logits[token as usize]) - params.scaled(highest));
    let mut by_id = ranked.clone();
    by_id.sort();
    let enough: f64 = by_id.iter().map(|t| weight(*t)).sum::<f64>() * f64::from(params.top_p);
    let mut sum = 0.0;
    let reached = ranked.iter().position(|token| {
        sum += weight(*token);
        sum >= enough
    });
    if let (true, Some(last)) = (params.top_p < 1.0, reached) {
        ranked.truncate(last + 1);
    }
    ranked.sort();
    ranked
}

proptest! {
    #[test]
    fn candidates_are_those_of_a_full_sort(
        logits in prop::collection::vec(-20.0f32..20.0, 1..3000),
        temperature in 0.05f32..10.0,
        top_k in 0u32..3000,
        top_p in 0.01f32..=1.0,
    ) {
        let params = sampling(temperature, top_k, top_p, 0);
        prop_assert_eq!(params.candidates(&logits).unwrap(), plain_candidates(&params, &logits));
    }

    #[test]
    fn a_draw_is_one_of_the_candidates_and_repeats(
        logits in prop::collection::vec(-5.0f32..5.0, 1..400),
        top_k in 0u32..50,
        top_p in 0.1f32..=1.0,
        seed: u8,
        position: u64,
    ) {
        let params = sampling(0.8, top_k, top_p, seed);
        let token = params.sample(&logits, position).unwrap();
        prop_assert_eq!(params.sample(&logits, position).unwrap(), token);
        prop_assert!(params.candidates(&logits).unwrap().contains(&token));
    }
}
