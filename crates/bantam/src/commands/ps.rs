//! `bantam ps`: the models that a running server has in memory.

use crate::client::{ServerArgs, ServerClient};
use crate::session::Session;
use crate::table::{Align, bytes, duration, table};
use anyhow::Context;
use serde::{Deserialize, Serialize};
use std::time::{SystemTime, UNIX_EPOCH};

/// List the models that the server has in memory
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  bantam ps\n  bantam ps --host https://models.example:11434\n\n\
BANTAM_API_KEY holds the key to ask with.")]
pub struct Args {
    #[command(flatten)]
    server: ServerArgs,
    /// Print JSON (shape: docs/json.md)
    #[arg(long)]
    json: bool,
}

/// What the endpoint tells of a model, as far as it is shown here.
#[derive(Deserialize)]
struct Told {
    name: String,
    size: u64,
    digest: Option<String>,
    context_length: Option<u64>,
    expires_at: Option<String>,
}

#[derive(Serialize)]
struct Row {
    name: String,
    memory_bytes: u64,
    digest: Option<String>,
    context: Option<u64>,
    expires: Option<String>,
}

pub fn execute(args: Args, session: &Session) -> anyhow::Result<()> {
    let rows = running(&ServerClient::new(&args.server)?)?;
    if args.json {
        return session.terminal.json(&rows);
    }
    if rows.is_empty() {
        session.terminal.note("no model is in memory");
        return Ok(());
    }
    let header =
        [("NAME", Align::Left), ("MEMORY", Align::Right), ("CONTEXT", Align::Right), ("UNLOADED IN", Align::Right)];
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let cells = rows.iter().map(|row| {
        let context = row.context.map_or("-".to_owned(), |context| context.to_string());
        vec![row.name.clone(), bytes(row.memory_bytes), context, time_left(row.expires.as_deref(), now)]
    });
    Ok(session.terminal.data(&table(&header, &cells.collect::<Vec<_>>()))?)
}

/// Names of the models in memory.
///
/// # Errors
/// No server, or one that refuses.
pub fn running_names(client: &ServerClient) -> anyhow::Result<Vec<String>> {
    Ok(running(client)?.into_iter().map(|row| row.name).collect())
}

fn running(client: &ServerClient) -> anyhow::Result<Vec<Row>> {
    let mut answer = client.get("/api/ps")?;
    let models: Vec<Told> = serde_json::from_value(answer["models"].take()).context("the server's list of models")?;
    let row = |told: Told| Row {
        name: told.name,
        memory_bytes: told.size,
        digest: told.digest,
        context: told.context_length,
        expires: told.expires_at,
    };
    Ok(models.into_iter().map(row).collect())
}

/// How long a model stays, at `now` in seconds since 1970. One that stays for ever has a time centuries from now.
fn time_left(expires: Option<&str>, now: u64) -> String {
    const CENTURY: u64 = 100 * 365 * 24 * 3600;
    match expires.map(seconds_since_1970) {
        None => "never".to_owned(),
        Some(None) => "-".to_owned(),
        Some(Some(at)) if at > now + CENTURY => "never".to_owned(),
        Some(Some(at)) => duration(at.saturating_sub(now)),
    }
}

/// A time of RFC 3339 in whole seconds since 1970; none where it is not one, or before 1970.
fn seconds_since_1970(text: &str) -> Option<u64> {
    let number = |from: usize, to: usize| text.get(from..to)?.parse::<i64>().ok();
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    let rest = text.get(19..)?.trim_start_matches('.').trim_start_matches(|digit: char| digit.is_ascii_digit());
    let offset = match rest.as_bytes() {
        b"Z" | b"z" => 0,
        [sign @ (b'+' | b'-'), _, _, b':', _, _] => {
            let minutes = rest[1..3].parse::<i64>().ok()? * 60 + rest[4..6].parse::<i64>().ok()?;
            if *sign == b'+' { minutes } else { -minutes }
        }
        _ => return None,
    };
    // Days before a date, years beginning in March (Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms").
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = 365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 1 - 719_468;
    u64::try_from(((days * 24 + hour) * 60 + minute - offset) * 60 + second).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_in_every_zone() {
        assert_eq!(seconds_since_1970("1970-01-01T00:00:00Z"), Some(0));
        assert_eq!(seconds_since_1970("2024-02-29T12:00:00.25Z"), Some(1_709_208_000));
        assert_eq!(seconds_since_1970("2024-02-29T14:00:00.123456789+02:00"), Some(1_709_208_000));
        assert_eq!(seconds_since_1970("2024-02-29T06:30:00-05:30"), Some(1_709_208_000));
        for wrong in ["", "now", "2024-02-29", "2024-02-29T12:00:00", "2024-02-29T12:00:00+2", "1969-12-31T23:59:59Z"] {
            assert_eq!(seconds_since_1970(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn what_is_left_is_told_as_people_say_it() {
        let now = 1_709_208_000;
        assert_eq!(time_left(Some("2024-02-29T12:04:30Z"), now), "4 min");
        assert_eq!(time_left(Some("2318-01-01T00:00:00Z"), now), "never");
        assert_eq!(time_left(None, now), "never");
        assert_eq!(time_left(Some("soon"), now), "-");
    }
}
