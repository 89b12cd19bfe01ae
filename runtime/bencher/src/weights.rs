//! From samples to weights, and to the Rust that states them.

use crate::{
    measure::{Effort, Samples},
    plan::Benchmark,
};
use anyhow::{ensure, Context};
use frame_benchmarking::{Analysis, BenchmarkResult, BenchmarkSelector};
use frame_support::traits::StorageInfo;
use std::{
    collections::{BTreeMap, HashMap},
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

/// Bytes of a storage key that name the item.
const PREFIX: usize = 32;

/// A number that grows with the components.
#[derive(Clone, Debug, PartialEq)]
struct Line {
    base: u128,
    /// Letter, slope and standard error of each component that matters.
    slopes: Vec<(String, u128, u128)>,
}

/// What a benchmark costs.
#[derive(Clone, Debug)]
pub struct Weight {
    benchmark: Benchmark,
    /// Picoseconds.
    time: Line,
    reads: Line,
    writes: Line,
    /// Bytes.
    proof: Line,
    /// Picoseconds of the fastest run.
    fastest: u128,
    /// Each storage item with its most reads and writes.
    items: Vec<(String, u32, u32)>,
}

impl Line {
    fn through(samples: &Vec<BenchmarkResult>, what: BenchmarkSelector) -> anyhow::Result<Self> {
        let analysis = Analysis::min_squares_iqr(samples, what)?;
        let errors = analysis.errors.unwrap_or_default();
        let errors = errors.into_iter().chain(std::iter::repeat(0));
        let slopes = analysis.names.into_iter().zip(analysis.slopes).zip(errors);
        Ok(Self {
            base: analysis.base,
            slopes: slopes
                .map(|((name, slope), error)| (name, slope, error))
                .filter(|(_, slope, _)| *slope != 0)
                .collect(),
        })
    }

    fn depends_on(&self, name: &str) -> bool {
        self.slopes.iter().any(|(letter, ..)| letter == name)
    }

    /// As people write it: `7 + a * 3`.
    fn formula(&self) -> String {
        let mut text = digits(self.base);
        for (name, slope, _) in &self.slopes {
            let _ = write!(text, " + {name} * {}", digits(*slope));
        }
        text
    }
}

impl Weight {
    /// The weight that these samples come to.
    pub fn of(
        benchmark: Benchmark,
        samples: &Samples,
        items: &[StorageInfo],
    ) -> anyhow::Result<Self> {
        let fastest = samples.times.iter().map(|result| result.extrinsic_time);
        let fastest = fastest.min().context("nothing was measured")?;
        ensure!(!samples.counts.is_empty(), "nothing was counted");
        Ok(Self {
            time: Line::through(&samples.times, BenchmarkSelector::ExtrinsicTime)?,
            reads: Line::through(&samples.counts, BenchmarkSelector::Reads)?,
            writes: Line::through(&samples.counts, BenchmarkSelector::Writes)?,
            proof: Line::through(&samples.counts, BenchmarkSelector::ProofSize)?,
            fastest: fastest.saturating_mul(1_000),
            items: touched(&samples.counts, items),
            benchmark,
        })
    }

    /// One line for people.
    pub fn summary(&self) -> String {
        format!(
            "{} ps, reads {}, writes {}, proof {} bytes",
            self.time.formula(),
            self.reads.formula(),
            self.writes.formula(),
            self.proof.formula()
        )
    }

    fn lines(&self) -> [&Line; 4] {
        [&self.time, &self.reads, &self.writes, &self.proof]
    }

    fn render(&self, out: &mut String) -> std::fmt::Result {
        for (item, reads, writes) in &self.items {
            writeln!(out, "\t/// Storage: `{item}` (r:{reads} w:{writes})")?;
        }
        let mut parameters = String::new();
        for component in &self.benchmark.components {
            let (name, low, high) = (component.name.to_string(), component.low, component.high);
            writeln!(
                out,
                "\t/// The range of component `{name}` is `[{low}, {high}]`."
            )?;
            let unused = !self.lines().iter().any(|line| line.depends_on(&name));
            write!(parameters, "{}{name}: u32, ", if unused { "_" } else { "" })?;
        }
        writeln!(
            out,
            "\tfn {}({parameters}) -> Weight {{",
            self.benchmark.name
        )?;
        writeln!(
            out,
            "\t\t// Fastest run: {} picoseconds.",
            digits(self.fastest)
        )?;
        let (time, proof) = (digits(self.time.base), self.proof.base);
        write!(out, "\t\tWeight::from_parts({time}, {proof})")?;
        for (name, slope, error) in &self.time.slopes {
            write!(
                out,
                "\n\t\t\t// Standard error: {}\n\t\t\t.saturating_add(Weight::from_parts({}, 0).saturating_mul({name}.into()))",
                digits(*error),
                digits(*slope)
            )?;
        }
        for (kind, line) in [("reads", &self.reads), ("writes", &self.writes)] {
            if line.base != 0 {
                let base = line.base;
                write!(
                    out,
                    "\n\t\t\t.saturating_add(T::DbWeight::get().{kind}({base}_u64))"
                )?;
            }
            for (name, slope, _) in &line.slopes {
                write!(
                    out,
                    "\n\t\t\t.saturating_add(T::DbWeight::get().{kind}({slope}_u64.saturating_mul({name}.into())))"
                )?;
            }
        }
        for (name, slope, _) in &self.proof.slopes {
            write!(
                out,
                "\n\t\t\t.saturating_add(Weight::from_parts(0, {slope}).saturating_mul({name}.into()))"
            )?;
        }
        writeln!(out, "\n\t}}")
    }
}

/// Storage items by name with their most reads and writes in one run. Keys that every block touches
/// anyway are left out.
fn touched(counts: &[BenchmarkResult], items: &[StorageInfo]) -> Vec<(String, u32, u32)> {
    let names: HashMap<&[u8], String> = items
        .iter()
        .map(|item| {
            let (pallet, name) = (&item.pallet_name, &item.storage_name);
            let (pallet, name) = (
                String::from_utf8_lossy(pallet),
                String::from_utf8_lossy(name),
            );
            (item.prefix.as_slice(), format!("{pallet}::{name}"))
        })
        .collect();
    let mut most = BTreeMap::<String, (u32, u32)>::new();
    for result in counts {
        let mut sums = BTreeMap::<String, (u32, u32)>::new();
        for (key, reads, writes, known) in &result.keys {
            if *known {
                continue;
            }
            let prefix = &key[..key.len().min(PREFIX)];
            let name = match names.get(prefix) {
                Some(name) => name.clone(),
                None => format!("unknown 0x{}", hex(prefix)),
            };
            let sum = sums.entry(name).or_default();
            *sum = (sum.0.saturating_add(*reads), sum.1.saturating_add(*writes));
        }
        for (name, (reads, writes)) in sums {
            let entry = most.entry(name).or_default();
            *entry = (entry.0.max(reads), entry.1.max(writes));
        }
    }
    most.into_iter()
        .map(|(name, (reads, writes))| (name, reads, writes))
        .collect()
}

/// Writes a file for each pallet, and says which.
pub fn write(
    folder: &Path,
    header: &str,
    effort: &Effort,
    weights: &[Weight],
) -> anyhow::Result<Vec<PathBuf>> {
    let mut pallets = BTreeMap::<&str, Vec<&Weight>>::new();
    for weight in weights {
        pallets
            .entry(&weight.benchmark.pallet)
            .or_default()
            .push(weight);
    }
    fs::create_dir_all(folder).with_context(|| format!("making {folder:?}"))?;
    let mut written = Vec::new();
    for (pallet, weights) in pallets {
        let path = folder.join(format!("{pallet}.rs"));
        let text = file(pallet, header, effort, &weights).context("putting text together")?;
        fs::write(&path, text).with_context(|| format!("writing {path:?}"))?;
        written.push(path);
    }
    Ok(written)
}

fn file(
    pallet: &str,
    header: &str,
    effort: &Effort,
    weights: &[&Weight],
) -> Result<String, std::fmt::Error> {
    let mut out = header.to_owned();
    writeln!(
        out,
        "//! Weights of `{pallet}`, measured on this runtime's wasm. Generated: do not edit."
    )?;
    writeln!(out, "//!")?;
    writeln!(
        out,
        "//! Values of each component: {}; runs at each: {} or more.",
        effort.steps, effort.repeat
    )?;
    writeln!(
        out,
        "//! Proof sizes are those recorded; the chain does not bound them."
    )?;
    out.push_str(
        "
#![cfg_attr(rustfmt, rustfmt_skip)]

use core::marker::PhantomData;
use frame_support::{traits::Get, weights::Weight};

",
    );
    let of = match pallet {
        "frame_system_extensions" => "frame_system::ExtensionsWeightInfo".to_owned(),
        _ => format!("{pallet}::WeightInfo"),
    };
    writeln!(out, "/// Weights of `{pallet}`.")?;
    writeln!(out, "pub struct WeightInfo<T>(PhantomData<T>);")?;
    writeln!(
        out,
        "impl<T: frame_system::Config> {of} for WeightInfo<T> {{"
    )?;
    for weight in weights {
        weight.render(&mut out)?;
    }
    writeln!(out, "}}")?;
    Ok(out)
}

/// `1234567` as `1_234_567`.
fn digits(number: u128) -> String {
    let plain = number.to_string();
    let mut text = String::new();
    for (index, digit) in plain.chars().enumerate() {
        if index > 0 && (plain.len() - index).is_multiple_of(3) {
            text.push('_');
        }
        text.push(digit);
    }
    text
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Component;
    use frame_benchmarking::BenchmarkParameter;
    use std::time::Duration;

    /// A key of the item `Some::Thing`.
    fn key(last: u8) -> Vec<u8> {
        let mut key = vec![7; PREFIX];
        key.push(last);
        key
    }

    fn result(value: u32, nanoseconds: u128) -> BenchmarkResult {
        BenchmarkResult {
            components: vec![(BenchmarkParameter::n, value), (BenchmarkParameter::q, 3)],
            extrinsic_time: nanoseconds,
            reads: 2 + value,
            writes: 1,
            proof_size: 100 + 10 * value,
            keys: vec![
                (key(1), 1, 0, false),
                (key(2), value, 1, false),
                (vec![9; 40], 1, 0, false),
                (vec![8; 40], 5, 5, true),
            ],
            ..Default::default()
        }
    }

    fn benchmark() -> Benchmark {
        let component = |name, low, high| Component { name, low, high };
        Benchmark {
            pallet: "pallet_some".into(),
            instance: "Some".into(),
            name: "work".into(),
            components: vec![
                component(BenchmarkParameter::n, 0, 9),
                component(BenchmarkParameter::q, 1, 3),
            ],
        }
    }

    /// 5 µs and 2 µs for each `n`, once in ten runs disturbed; `q` changes nothing.
    fn weight() -> Weight {
        let mut times = Vec::new();
        for value in 0..10 {
            for run in 0..10 {
                let disturbed = u128::from(run == 3) * 1_000_000;
                times.push(result(value, 5_000 + 2_000 * u128::from(value) + disturbed));
            }
        }
        let mut counts: Vec<_> = (0..10).map(|value| result(value, 0)).collect();
        for q in 1..3 {
            let mut other = result(9, 5_000 + 2_000 * 9);
            other.components[1].1 = q;
            times.extend(vec![other.clone(); 10]);
            counts.push(other);
        }
        let items = [StorageInfo {
            pallet_name: b"Some".to_vec(),
            storage_name: b"Thing".to_vec(),
            prefix: vec![7; PREFIX],
            max_values: None,
            max_size: None,
        }];
        Weight::of(benchmark(), &Samples { times, counts }, &items).unwrap()
    }

    #[test]
    fn a_line_is_found_through_disturbed_samples() {
        let weight = weight();
        assert_eq!(weight.fastest, 5_000_000);
        assert!(
            weight.time.base.abs_diff(5_000_000) < 1_000,
            "{:?}",
            weight.time
        );
        let [(name, slope, _)] = weight.time.slopes.as_slice() else {
            panic!("{:?}", weight.time)
        };
        assert_eq!(name, "n");
        assert!(slope.abs_diff(2_000_000) < 1_000);
        assert_eq!(weight.reads.formula(), "2 + n * 1");
        assert_eq!(weight.writes.formula(), "1");
        assert_eq!(weight.proof.formula(), "100 + n * 10");
    }

    #[test]
    fn items_are_named_with_their_most_reads_and_writes() {
        let unknown = format!("unknown 0x{}", "09".repeat(PREFIX));
        assert_eq!(
            weight().items,
            [("Some::Thing".to_owned(), 10, 1), (unknown, 1, 0)]
        );
    }

    #[test]
    fn a_file_states_what_was_measured() {
        let mut weight = weight();
        weight.time = Line {
            base: 5_000_000,
            slopes: vec![("n".into(), 2_000_000, 12)],
        };
        weight.items.pop();
        let effort = Effort {
            steps: 10,
            repeat: 10,
            least: Duration::ZERO,
        };
        let text = file("pallet_some", "// A line.\n", &effort, &[&weight]).unwrap();
        assert!(text.starts_with("// A line.\n//! Weights of `pallet_some`"));
        let effort = "//! Values of each component: 10; runs at each: 10 or more.";
        assert!(text.lines().any(|line| line == effort), "{text}");
        let body = "\
impl<T: frame_system::Config> pallet_some::WeightInfo for WeightInfo<T> {
\t/// Storage: `Some::Thing` (r:10 w:1)
\t/// The range of component `n` is `[0, 9]`.
\t/// The range of component `q` is `[1, 3]`.
\tfn work(n: u32, _q: u32, ) -> Weight {
\t\t// Fastest run: 5_000_000 picoseconds.
\t\tWeight::from_parts(5_000_000, 100)
\t\t\t// Standard error: 12
\t\t\t.saturating_add(Weight::from_parts(2_000_000, 0).saturating_mul(n.into()))
\t\t\t.saturating_add(T::DbWeight::get().reads(2_u64))
\t\t\t.saturating_add(T::DbWeight::get().reads(1_u64.saturating_mul(n.into())))
\t\t\t.saturating_add(T::DbWeight::get().writes(1_u64))
\t\t\t.saturating_add(Weight::from_parts(0, 10).saturating_mul(n.into()))
\t}
}
";
        assert!(text.ends_with(body), "{text}");
    }

    #[test]
    fn nothing_measured_is_an_error() {
        let none = Samples {
            times: vec![],
            counts: vec![],
        };
        assert!(Weight::of(benchmark(), &none, &[]).is_err());
    }

    #[test]
    fn digits_are_grouped() {
        assert_eq!(digits(0), "0");
        assert_eq!(digits(999), "999");
        assert_eq!(digits(1_000), "1_000");
        assert_eq!(digits(12_345_678), "12_345_678");
    }
}
