//! What auditors say of honest servers, and of others.

use super::*;
use quipu_primitives::{Kernel, Span};
use quipu_protocol::{Activations, SignedReceipt};
use quipu_worker_core::{keys::EphemeralKey, Signer};

const HIDDEN: u32 = 2;

fn server() -> EphemeralKey {
    EphemeralKey::from_seed(&[1; 32])
}

fn profile(kernel: Kernel) -> NumericProfile {
    NumericProfile {
        weights: DType::F32,
        activations: DType::F32,
        kv: DType::F32,
        kernel,
    }
}

fn case() -> Case {
    Case {
        genesis: [7; 32],
        service: Service {
            session: 5,
            node: 3,
            span: Span { start: 10, end: 20 },
            weights_root: [1; 32],
            profile: [2; 32],
        },
        session_key: [4; 32],
        hotkeys: vec![[0; 32], server().public()],
        paid: 70,
        profile: profile(Kernel::ReproducibleV1),
        hidden: HIDDEN,
    }
}

fn rows(positions: u32) -> Vec<u8> {
    let values: Vec<f32> = (0..positions * HIDDEN).map(|value| value as f32).collect();
    let rows = Activations::from_f32(&values, HIDDEN).unwrap();
    rows.bytes.to_vec()
}

/// The blocks double what goes in.
fn replay(rows: &[u8]) -> Result<Vec<u8>, ComputeError> {
    let doubled = rows.chunks(4).flat_map(|bytes| {
        let value = f32::from_le_bytes(bytes.try_into().unwrap());
        (value * 2.0).to_le_bytes()
    });
    Ok(doubled.collect())
}

/// What a server shows that took `input` and gave `output`, and signs with this key.
fn signed(case: &Case, key: &EphemeralKey, input: Vec<u8>, output: Vec<u8>) -> Shown {
    let ranges = |end, rows: &[u8]| case.boundary(end).unwrap().all(rows).unwrap();
    let given = ranges(End::Entrance, &input);
    let receipts = case.service.receipts(given, ranges(End::Exit, &output));
    let receipts = receipts.into_iter();
    let receipts = receipts
        .map(|receipt| resigned(case, key, receipt))
        .collect();
    Shown {
        receipts,
        input,
        output,
    }
}

fn resigned(case: &Case, key: &EphemeralKey, receipt: Receipt) -> SignedReceipt {
    let signature = key.sign(&receipt.payload(&case.genesis, &case.session_key));
    SignedReceipt { receipt, signature }
}

fn honest() -> Shown {
    let input = rows(70);
    let output = replay(&input).unwrap();
    signed(&case(), &server(), input, output)
}

fn head(shown: &Shown) -> Digest {
    shown.receipts.last().unwrap().receipt.digest()
}

#[test]
fn an_honest_server_passes_and_its_head_is_named() {
    let shown = honest();
    let (finding, reason) = examine(&case(), &shown, replay);
    assert_eq!((finding.verdict, reason), (Verdict::Pass, Reason::Same));
    assert_eq!(finding.head, head(&shown));
    // Whoever replayed knows it, and it is not the server's commitment that could be copied.
    let projection = projection(&case(), &shown.output);
    assert_eq!(finding.projection, projection);
    assert_ne!(projection, Digest::default());
    assert!(shown
        .receipts
        .iter()
        .all(|one| one.receipt.output != projection));
    // More than is paid for is no fault.
    let less = Case { paid: 33, ..case() };
    assert_eq!(examine(&less, &shown, replay).0.verdict, Verdict::Pass);
}

#[test]
fn one_wrong_bit_fails_an_exact_profile_and_proves_nothing_of_another() {
    let input = rows(70);
    for position in [0, 31, 32, 69] {
        let mut output = replay(&input).unwrap();
        output[position * 8 + 5] ^= 1;
        let shown = signed(&case(), &server(), input.clone(), output);
        let (finding, reason) = examine(&case(), &shown, replay);
        assert_eq!(finding.verdict, Verdict::Fail);
        assert_eq!(reason, Reason::Differs(position as u32));
        assert_eq!(finding.head, head(&shown));
        // Of these nobody knows how far apart honest servers are.
        let unmeasured = Case {
            profile: profile(Kernel::Cuda),
            ..case()
        };
        let (finding, reason) = examine(&unmeasured, &shown, replay);
        assert_eq!(finding.verdict, Verdict::Inconclusive);
        assert_eq!(reason, Reason::Unmeasured(position as u32));
    }
}

#[test]
fn on_other_profiles_what_is_a_little_off_passes_and_what_is_far_off_fails() {
    let case = Case {
        profile: profile(Kernel::FlexF32),
        ..case()
    };
    let limits = Calibration::committed().limits(Pair {
        signed: Kernel::FlexF32,
        replayed: Kernel::FlexF32,
        activations: DType::F32,
    });
    let limits = limits.unwrap();
    let input = rows(70);
    // What the blocks add, so many times too much at so many positions.
    let off = |by: f64, positions: std::ops::Range<usize>| {
        let mut output = replay(&input).unwrap();
        let values = output.chunks_mut(4).zip(input.chunks(4)).enumerate();
        for (index, (gives, given)) in values {
            if positions.contains(&(index / HIDDEN as usize)) {
                let value = |bytes: &[u8]| f32::from_le_bytes(bytes.try_into().unwrap());
                let wrong = value(gives) + by as f32 * value(given);
                gives.copy_from_slice(&wrong.to_le_bytes());
            }
        }
        let shown = signed(&case, &server(), input.clone(), output);
        examine(&case, &shown, replay)
    };
    let (finding, reason) = off(limits.pass.median / 2.0, 0..70);
    assert_eq!(finding.verdict, Verdict::Pass, "{reason}");
    assert!(matches!(reason, Reason::Off { .. }), "{reason}");
    let between = (limits.pass.median + limits.fail.median) / 2.0;
    let (finding, reason) = off(between, 0..70);
    assert_eq!(finding.verdict, Verdict::Inconclusive, "{reason}");
    let (finding, reason) = off(2.0 * limits.fail.median, 0..70);
    assert_eq!(finding.verdict, Verdict::Fail, "{reason}");
    // One position is enough, and so is what is no number.
    let (finding, reason) = off(-1.0, 69..70);
    assert_eq!(finding.verdict, Verdict::Fail, "{reason}");
    let (finding, reason) = off(f64::NAN, 3..4);
    assert_eq!(finding.verdict, Verdict::Fail, "{reason}");
}

#[test]
fn who_signed_that_it_computed_something_else_fails() {
    let shown = honest();
    for other in [
        Service {
            weights_root: [9; 32],
            ..case().service
        },
        Service {
            profile: [9; 32],
            ..case().service
        },
        Service {
            span: Span { start: 10, end: 19 },
            ..case().service
        },
    ] {
        let case = Case {
            service: other,
            ..case()
        };
        let (finding, reason) = examine(&case, &shown, replay);
        assert_eq!(finding.verdict, Verdict::Fail, "{reason}");
    }
}

#[test]
fn what_is_not_shown_whole_is_withheld() {
    let verdict = |shown: &Shown| examine(&case(), shown, replay);
    let nothing = Shown::default();
    let (finding, reason) = verdict(&nothing);
    assert_eq!(
        (finding.verdict, reason),
        (Verdict::Withheld, Reason::Nothing)
    );
    assert_eq!(finding.head, Digest::default());

    let mut cut = honest();
    cut.receipts.pop();
    cut.input.truncate(64 * 8);
    cut.output.truncate(64 * 8);
    let (finding, reason) = verdict(&cut);
    assert_eq!(finding.verdict, Verdict::Withheld);
    let unpaid = Reason::Unpaid {
        positions: 64,
        paid: 70,
    };
    assert_eq!(reason, unpaid);

    // A gap, an order, a chain that does not hold.
    let mut gap = honest();
    gap.receipts.remove(1);
    let mut swapped = honest();
    swapped.receipts.swap(0, 1);
    let mut broken = honest();
    let mut receipt = broken.receipts[1].receipt.clone();
    receipt.previous = [0; 32];
    broken.receipts[1] = resigned(&case(), &server(), receipt);
    for shown in [gap, swapped, broken] {
        let (finding, reason) = verdict(&shown);
        assert_eq!(finding.verdict, Verdict::Withheld, "{reason}");
        assert!(matches!(reason, Reason::Chain(_)), "{reason}");
    }

    // Rows that were not signed, at either end, and too few or too many of them.
    let changes: [fn(&mut Shown); 4] = [
        |shown| shown.input[3] ^= 1,
        |shown| shown.output[560 - 1] ^= 1,
        |shown| shown.input.truncate(69 * 8),
        |shown| shown.output.extend([0; 8]),
    ];
    for change in changes {
        let mut shown = honest();
        change(&mut shown);
        let (finding, reason) = verdict(&shown);
        assert_eq!(finding.verdict, Verdict::Withheld, "{reason}");
        assert!(matches!(reason, Reason::Rows(_)), "{reason}");
    }
}

#[test]
fn what_others_signed_or_for_others_is_nothing() {
    let input = rows(70);
    let output = replay(&input).unwrap();
    let stranger = EphemeralKey::from_seed(&[9; 32]);
    let forged = signed(&case(), &stranger, input.clone(), output.clone());
    let (finding, reason) = examine(&case(), &forged, replay);
    assert_eq!(finding.verdict, Verdict::Withheld);
    assert_eq!(reason, Reason::Unsigned(0));
    assert_eq!(finding.head, Digest::default(), "nobody stands for it");
    // Of another session of this number, and of another chain.
    let others = [
        Case {
            session_key: [8; 32],
            ..case()
        },
        Case {
            genesis: [8; 32],
            ..case()
        },
    ];
    for other in others {
        let shown = signed(&other, &server(), input.clone(), output.clone());
        let (_, reason) = examine(&case(), &shown, replay);
        assert_eq!(reason, Reason::Unsigned(0));
    }
}

#[test]
fn what_can_not_be_replayed_proves_nothing() {
    let fails = |_: &[u8]| Err(ComputeError::Input("not finite".into()));
    let (finding, reason) = examine(&case(), &honest(), fails);
    assert_eq!(finding.verdict, Verdict::Inconclusive);
    assert_eq!(reason, Reason::Unplayable);
}
