//! Draws the schedule and the buckets of the public chain: `pallets/emission/schedule.svg`, or what the
//! first argument names.
//!
//! What is drawn comes from the pallet's own functions. Two tails show what follows the first period if a
//! quarter of what exists is burned in each.

use plotters::prelude::*;
use quipu_pallet_emission::{
    curve::{tail, Period, Shape},
    split, Shares,
};
use quipu_primitives::{economy::Bucket, money::QPU, Balance};
use sp_runtime::Perbill;

const DAY: u32 = 14_400;
const DAYS: u32 = 5_833;
const PERIODS: u32 = 3;
/// Days between two points.
const STEP: usize = 30;

/// In thousands of QPU.
fn thousands(amount: Balance) -> f64 {
    amount as f64 / (1_000 * QPU) as f64
}

/// The periods, each with what was burned before it.
fn periods() -> Vec<Period<u32>> {
    let mut all = vec![Period {
        starts_at: 0,
        day: DAY,
        days: DAYS,
        total: 42_000_000 * QPU,
        shape: Shape::Falling {
            first_day: 14_400 * QPU,
        },
        issued_before: 0,
    }];
    let mut supply = all[0].total;
    for _ in 1..PERIODS {
        let last = all[all.len() - 1];
        let burned = supply / 4;
        supply -= burned;
        let total = tail(
            burned,
            Perbill::from_percent(50),
            supply,
            Perbill::from_percent(16),
        );
        supply += total;
        all.push(Period {
            starts_at: last.ends_at(),
            total,
            shape: Shape::Even,
            issued_before: last.issued_before + last.total,
            ..last
        });
    }
    all
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let default = concat!(env!("CARGO_MANIFEST_DIR"), "/schedule.svg");
    let path = std::env::args().nth(1).unwrap_or_else(|| default.into());
    let shares = Shares {
        compute: Perbill::from_percent(24),
        capital: Perbill::from_percent(24),
        builders: Perbill::from_percent(24),
        community: Perbill::from_percent(24),
    };
    let periods = periods();
    let issued = |day: u32| {
        let block = day * DAY;
        let period = periods
            .iter()
            .rev()
            .find(|period| period.starts_at <= block);
        period.map_or(0, |period| period.issued_before + period.emitted(block))
    };
    let last = DAYS * PERIODS;
    let most = thousands(issued(last)) * 1.05;

    let canvas = SVGBackend::new(&path, (860, 440)).into_drawing_area();
    canvas.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&canvas)
        .margin(16)
        .x_label_area_size(40)
        .y_label_area_size(70)
        .caption("QPU issued, in thousands, by bucket", ("sans-serif", 18))
        .build_cartesian_2d(0..last, 0.0..most)?;
    chart
        .configure_mesh()
        .x_desc("days since genesis")
        .light_line_style(WHITE)
        .draw()?;

    // From the top down, so that each covers what is below the one before.
    let colours = [
        RGBColor(31, 119, 180),
        RGBColor(255, 127, 14),
        RGBColor(44, 160, 44),
        RGBColor(148, 103, 189),
        RGBColor(214, 39, 40),
    ];
    let days = || (0..=last).step_by(STEP).chain([last]);
    for (index, bucket) in Bucket::ALL.into_iter().enumerate().rev() {
        let colour = colours[index];
        let points = days().map(|day| {
            let parts = split(issued(day), &shares);
            let up_to = parts.iter().filter(|(other, _)| *other <= bucket);
            (day, thousands(up_to.map(|(_, part)| part).sum()))
        });
        chart
            .draw_series(AreaSeries::new(points, 0.0, colour.mix(0.8)))?
            .label(format!("{bucket:?}"))
            .legend(move |(x, y)| Rectangle::new([(x, y - 5), (x + 12, y + 5)], colour.filled()));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::LowerRight)
        .background_style(WHITE.mix(0.9))
        .border_style(BLACK)
        .draw()?;
    canvas.present()?;
    println!("{path}");
    for (number, period) in periods.iter().enumerate() {
        println!(
            "period {number}: {} QPU over {} days from block {}",
            period.total / QPU,
            period.days,
            period.starts_at
        );
    }
    Ok(())
}
