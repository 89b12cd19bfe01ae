//! Which benchmarks are run, and at which values of their components.

use anyhow::{ensure, Context};
use frame_benchmarking::{BenchmarkList, BenchmarkParameter};

/// What was asked for. `*` stands for all.
#[derive(Debug)]
pub struct Selection<'a> {
    /// Crates of pallets.
    pub pallets: &'a [String],
    /// Names of benchmarks.
    pub benchmarks: &'a [String],
}

/// A value that a benchmark is measured over.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Component {
    /// Its letter.
    pub name: BenchmarkParameter,
    /// Its least value.
    pub low: u32,
    /// Its largest value.
    pub high: u32,
}

/// A benchmark to run.
#[derive(Clone, Debug, PartialEq)]
pub struct Benchmark {
    /// The crate of its pallet.
    pub pallet: String,
    /// The name of the pallet in the runtime.
    pub instance: String,
    /// Its own name.
    pub name: String,
    /// What it is measured over.
    pub components: Vec<Component>,
}

/// Values for the components of a benchmark, one each.
pub type Point = Vec<(BenchmarkParameter, u32)>;

impl Benchmark {
    /// Where it is measured: each component at `steps` values from its least to its largest, with
    /// the others at their largest.
    pub fn points(&self, steps: u32) -> Vec<Point> {
        if self.components.is_empty() {
            return vec![Point::new()];
        }
        let at = |moved: usize, value: u32| -> Point {
            let place = |(index, component): (usize, &Component)| match index == moved {
                true => (component.name, value),
                false => (component.name, component.high),
            };
            self.components.iter().enumerate().map(place).collect()
        };
        let mut points = Vec::new();
        for (index, component) in self.components.iter().enumerate() {
            let values = spread(component.low, component.high, steps);
            points.extend(values.into_iter().map(|value| at(index, value)));
        }
        points
    }
}

/// `count` values, as evenly as whole numbers can be, both ends among them; fewer where there are
/// fewer.
fn spread(low: u32, high: u32, count: u32) -> Vec<u32> {
    let (range, gaps) = (
        u64::from(high.saturating_sub(low)),
        u64::from(count.max(2) - 1),
    );
    let mut values: Vec<u32> = (0..=gaps)
        .map(|step| low + (range * step / gaps) as u32)
        .collect();
    values.dedup();
    values
}

/// The benchmarks that were asked for. An error where a name matches none.
pub fn select(lists: &[BenchmarkList], wanted: &Selection<'_>) -> anyhow::Result<Vec<Benchmark>> {
    let named = |names: &[String], name: &str| {
        names.iter().any(|wanted| {
            let wanted = wanted.trim().replace('-', "_");
            wanted == "*" || wanted == name
        })
    };
    let mut selected = Vec::new();
    for list in lists {
        let pallet = text(&list.pallet)?;
        if !named(wanted.pallets, &pallet) {
            continue;
        }
        for benchmark in &list.benchmarks {
            let name = text(&benchmark.name)?;
            if !named(wanted.benchmarks, &name) {
                continue;
            }
            let components = benchmark.components.iter();
            selected.push(Benchmark {
                pallet: pallet.clone(),
                instance: text(&list.instance)?,
                name,
                components: components
                    .map(|(name, low, high)| Component {
                        name: *name,
                        low: *low,
                        high: *high,
                    })
                    .collect(),
            });
        }
    }
    for name in wanted.pallets {
        let found = selected
            .iter()
            .any(|benchmark| named(std::slice::from_ref(name), &benchmark.pallet));
        ensure!(found, "no benchmark of pallet {name:?} matches, see --list");
    }
    Ok(selected)
}

fn text(bytes: &[u8]) -> anyhow::Result<String> {
    String::from_utf8(bytes.to_vec()).context("a name is not text")
}

#[cfg(test)]
mod tests {
    use super::*;
    use frame_benchmarking::BenchmarkMetadata;

    fn list(pallet: &str, benchmarks: &[&str]) -> BenchmarkList {
        BenchmarkList {
            pallet: pallet.into(),
            instance: b"Some".to_vec(),
            benchmarks: benchmarks
                .iter()
                .map(|name| BenchmarkMetadata {
                    name: name.as_bytes().to_vec(),
                    components: vec![(BenchmarkParameter::a, 1, 9), (BenchmarkParameter::b, 0, 2)],
                    pov_modes: vec![],
                })
                .collect(),
        }
    }

    fn names(pallets: &[&str], benchmarks: &[&str]) -> anyhow::Result<Vec<String>> {
        let own = |names: &[&str]| {
            names
                .iter()
                .map(|name| name.to_string())
                .collect::<Vec<_>>()
        };
        let lists = [list("pallet_one", &["x", "y"]), list("pallet_two", &["x"])];
        let wanted = Selection {
            pallets: &own(pallets),
            benchmarks: &own(benchmarks),
        };
        let found = select(&lists, &wanted)?;
        Ok(found
            .iter()
            .map(|benchmark| format!("{}::{}", benchmark.pallet, benchmark.name))
            .collect())
    }

    #[test]
    fn what_was_asked_for_is_selected() {
        let all = ["pallet_one::x", "pallet_one::y", "pallet_two::x"];
        assert_eq!(names(&["*"], &["*"]).unwrap(), all);
        assert_eq!(names(&["pallet-one"], &["*"]).unwrap(), all[..2]);
        assert_eq!(names(&["*"], &["x"]).unwrap(), [all[0], all[2]]);
        assert_eq!(
            names(&["pallet_two", "pallet_one"], &["y", "x"]).unwrap(),
            all
        );
    }

    #[test]
    fn a_name_that_matches_nothing_is_an_error() {
        assert!(names(&["pallet_three"], &["*"]).is_err());
        assert!(names(&["pallet_one", "pallet_three"], &["*"]).is_err());
        assert!(names(&["pallet_two"], &["y"]).is_err());
    }

    #[test]
    fn values_are_spread_over_the_whole_range() {
        assert_eq!(spread(1, 256, 2), [1, 256]);
        assert_eq!(spread(0, 10, 6), [0, 2, 4, 6, 8, 10]);
        assert_eq!(spread(1, 3, 50), [1, 2, 3]);
        assert_eq!(spread(7, 7, 50), [7]);
        let many = spread(0, u32::MAX, 50);
        assert_eq!((many.len(), many[0], many[49]), (50, 0, u32::MAX));
    }

    #[test]
    fn one_component_moves_while_the_others_are_at_their_largest() {
        use BenchmarkParameter::{a, b};
        let mut benchmark = select(
            &[list("pallet_one", &["x"])],
            &Selection {
                pallets: &["*".into()],
                benchmarks: &["*".into()],
            },
        )
        .unwrap()
        .remove(0);
        assert_eq!(
            benchmark.points(3),
            [
                [(a, 1), (b, 2)],
                [(a, 5), (b, 2)],
                [(a, 9), (b, 2)],
                [(a, 9), (b, 0)],
                [(a, 9), (b, 1)],
                [(a, 9), (b, 2)],
            ]
        );
        benchmark.components.clear();
        assert_eq!(benchmark.points(3), [Point::new()]);
    }
}
