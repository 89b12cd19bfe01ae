//! Figures as tables in a text.

use anyhow::{Context, Result};
use serde_json::Value;
use std::{fmt::Write, path::Path};

const BEGIN: &str = "<!-- figures -->";
const END: &str = "<!-- end -->";

/// Puts the figures between the two lines.
pub fn into(path: &Path, figures: &Value) -> Result<()> {
    let text = std::fs::read_to_string(path)?;
    let (before, rest) = text.split_once(BEGIN).context("no line <!-- figures -->")?;
    let (_, after) = rest.split_once(END).context("no line <!-- end -->")?;
    let tables = tables(figures)?;
    std::fs::write(path, format!("{before}{BEGIN}\n\n{tables}\n{END}{after}"))?;
    Ok(())
}

fn percent(share: &Value) -> String {
    let percent = share.as_f64().unwrap_or(f64::NAN) * 100.0;
    match percent {
        p if p == 0.0 || p == 100.0 => format!("{p:.0} %"),
        p if !(1.0..=99.0).contains(&p) => format!("{p:.2} %"),
        p => format!("{p:.1} %"),
    }
}

/// Share and interval of a count.
fn share(count: &Value) -> String {
    let (n, hits) = (&count["n"], &count["hits"]);
    let (low, high) = (percent(&count["low"]), percent(&count["high"]));
    format!("{hits} of {n} ({low} to {high})")
}

fn rows(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or(f64::NAN)
}

fn tables(figures: &Value) -> Result<String> {
    let mut out = String::new();
    writeln!(out, "Measured with `{}`.\n", text(&figures["made_with"]))?;
    writeln!(
        out,
        "Honest servers, who decoded what is replayed at once:\n"
    )?;
    writeln!(out, "| profile | FAIL | INCONCLUSIVE | farthest position |")?;
    writeln!(out, "|---|---|---|---|")?;
    for row in rows(&figures["honest"]) {
        let verdicts = &row["verdicts"];
        writeln!(
            out,
            "| {} | {} | {} | {:.1e} |",
            text(&row["profile"]),
            share(&verdicts["fail"]),
            share(&verdicts["inconclusive"]),
            number(&verdicts["farthest"]["most"]),
        )?;
    }
    writeln!(out, "\nCheats, in one audited session:\n")?;
    writeln!(out, "| cheat | profile | caught (FAIL) | INCONCLUSIVE |")?;
    writeln!(out, "|---|---|---|---|")?;
    for row in rows(&figures["cheats"]) {
        let verdicts = &row["verdicts"];
        let (cheat, profile) = (text(&row["cheat"]), text(&row["profile"]));
        let (fail, open) = (share(&verdicts["fail"]), share(&verdicts["inconclusive"]));
        writeln!(out, "| {cheat} | {profile} | {fail} | {open} |")?;
    }
    writeln!(
        out,
        "\nAnswers to jobs, judged by what the servers at both ends signed:\n"
    )?;
    writeln!(out, "| what is wrong | found |")?;
    writeln!(out, "|---|---|")?;
    for row in rows(&figures["answers"]) {
        writeln!(
            out,
            "| {} | {} |",
            text(&row["wrong"]),
            share(&row["caught"])
        )?;
    }
    writeln!(
        out,
        "\nRASTiC on the same (first, random and last token; `reproducible-v1`):\n"
    )?;
    writeln!(
        out,
        "| cheat | caught by RASTiC | answers with any other token |"
    )?;
    writeln!(out, "|---|---|---|")?;
    for row in rows(&figures["rastic"]) {
        let (caught, any) = (share(&row["caught"]), share(&row["any_token_differs"]));
        writeln!(out, "| {} | {caught} | {any} |", text(&row["cheat"]))?;
    }
    writeln!(
        out,
        "\nAn auditor's look against the server's work, each on one thread:\n"
    )?;
    writeln!(
        out,
        "| kernels | tokens | server, s | auditor, s | ratio | loading the blocks, s |"
    )?;
    writeln!(out, "|---|---|---|---|---|---|")?;
    for row in rows(&figures["times"]) {
        writeln!(
            out,
            "| {} | {} | {:.2} | {:.2} | {:.2} | {:.2} |",
            text(&row["kernel"]),
            row["tokens"],
            number(&row["serving_seconds"]),
            number(&row["looking_seconds"]),
            number(&row["ratio"]),
            number(&row["loading_seconds"]),
        )?;
    }
    let bytes = &figures["bytes"];
    writeln!(
        out,
        "\nA signed receipt is {} bytes on the wire for {} positions: {:.1} a token and hop.",
        bytes["receipt"],
        bytes["positions"],
        number(&bytes["per_token_and_hop"]),
    )?;
    Ok(out)
}
