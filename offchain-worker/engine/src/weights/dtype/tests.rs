use serde::Deserialize;

use super::*;

/// What `scripts/fixtures/make_parity.py` writes: random blocks, and the values gguf-py gives them.
#[derive(Deserialize)]
struct Case {
    format: String,
    r#type: u32,
    bytes: String,
    values: String,
}

#[test]
fn every_format_gives_the_bits_of_the_reference() {
    let json = include_str!("../../../tests/fixtures/dequant.json");
    let cases: Vec<Case> = serde_json::from_str(json).unwrap();
    assert_eq!(cases.len(), 11);
    for case in cases {
        let format = Format::from_gguf(case.r#type).unwrap();
        let bytes = crate::testing::base64(&case.bytes);
        let expected: Vec<u32> = crate::testing::base64(&case.values)
            .chunks_exact(4)
            .map(|word| u32::from_le_bytes(word.try_into().unwrap()))
            .collect();
        assert_eq!(
            format.bytes_of(expected.len() as u64),
            Some(bytes.len() as u64)
        );
        let mut values = vec![f32::NAN; expected.len()];
        format.dequantize(&bytes, &mut values);
        let bits: Vec<u32> = values.iter().map(|value| value.to_bits()).collect();
        assert_eq!(bits, expected, "{}", case.format);
    }
}

#[test]
fn sizes_are_refused_where_they_cut_blocks_or_overflow() {
    assert_eq!(Format::Q4_1.bytes_of(64), Some(40));
    assert_eq!(Format::Q4_1.bytes_of(65), None);
    assert_eq!(Format::Q6K.bytes_of(255), None);
    assert_eq!(Format::F32.bytes_of(u64::MAX), None);
}
