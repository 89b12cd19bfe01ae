//! What a trial's findings come to: a pure function.

use quipu_primitives::{
    audit::{Finding, Outcome, Round, Verdict},
    Digest,
};

/// The outcome on which enough members of the round's panel agree; `None` where too few do.
///
/// Who judged other work than that of `head` has not judged what the trial is about: its finding counts for
/// nothing, but for one that no data was handed over.
pub fn outcome(
    round: Round,
    head: &Digest,
    findings: impl IntoIterator<Item = Finding>,
) -> Option<Outcome> {
    let (mut pass, mut fail, mut withheld) = (0u32, 0u32, 0u32);
    for finding in findings {
        let is_about_it = finding.head == *head;
        let count = match finding.verdict {
            Verdict::Pass if is_about_it => &mut pass,
            Verdict::Fail if is_about_it => &mut fail,
            Verdict::Withheld => &mut withheld,
            _ => continue,
        };
        *count = count.saturating_add(1);
    }
    let quorum = round.quorum();
    let decided = [
        (fail, Outcome::Convicted),
        (withheld, Outcome::Withheld),
        (pass, Outcome::Acquitted),
    ];
    decided
        .into_iter()
        .find(|(count, _)| *count >= quorum)
        .map(|(_, outcome)| outcome)
}

/// Did who found this say what the trial about `head` came to?
pub fn agrees(outcome: Outcome, head: &Digest, finding: &Finding) -> bool {
    match (outcome, finding.verdict) {
        (Outcome::Convicted, Verdict::Fail) | (Outcome::Acquitted, Verdict::Pass) => {
            finding.head == *head
        }
        (Outcome::Withheld, Verdict::Withheld) => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: Digest = [1; 32];

    fn findings(counts: &[(Verdict, Digest, usize)]) -> Vec<Finding> {
        let of = |(verdict, head, count): &(Verdict, Digest, usize)| {
            let finding = Finding {
                verdict: *verdict,
                head: *head,
                projection: [0; 32],
            };
            std::iter::repeat_n(finding, *count)
        };
        counts.iter().flat_map(of).collect()
    }

    #[test]
    fn five_of_seven_and_eleven_of_fifteen_decide() {
        for (round, quorum) in [(Round::Committee, 5), (Round::Tribunal, 11)] {
            let rest = round.size() as usize - quorum;
            for (verdict, decided) in [
                (Verdict::Fail, Outcome::Convicted),
                (Verdict::Pass, Outcome::Acquitted),
                (Verdict::Withheld, Outcome::Withheld),
            ] {
                let against = if verdict == Verdict::Pass {
                    Verdict::Fail
                } else {
                    Verdict::Pass
                };
                let of = |agree: usize, against_it: usize| {
                    let all = [(verdict, HEAD, agree), (against, HEAD, against_it)];
                    outcome(round, &HEAD, findings(&all))
                };
                assert_eq!(of(quorum, rest), Some(decided));
                assert_eq!(of(round.size() as usize, 0), Some(decided));
                // One too few, whatever the others say, and where they say nothing.
                assert_eq!(of(quorum - 1, rest + 1), None);
                assert_eq!(of(quorum - 1, 0), None);
            }
        }
    }

    #[test]
    fn what_can_not_be_told_decides_nothing() {
        let all = [(Verdict::Inconclusive, HEAD, 7)];
        assert_eq!(outcome(Round::Committee, &HEAD, findings(&all)), None);
        let nobody = findings(&[]);
        assert_eq!(outcome(Round::Committee, &HEAD, nobody), None);
    }

    #[test]
    fn findings_about_other_work_count_for_nothing() {
        let other = [2; 32];
        for verdict in [Verdict::Fail, Verdict::Pass] {
            let all = [(verdict, HEAD, 4), (verdict, other, 3)];
            assert_eq!(outcome(Round::Committee, &HEAD, findings(&all)), None);
        }
        // Without data there is no head that one could name.
        let all = [(Verdict::Withheld, other, 5)];
        let decided = outcome(Round::Committee, &HEAD, findings(&all));
        assert_eq!(decided, Some(Outcome::Withheld));
    }
}
