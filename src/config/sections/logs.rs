//! `[access_log]`, `[log]` and `[error_pages]`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use tracing_subscriber::filter::EnvFilter;

use crate::config::fault::Checked;
use crate::config::raw::Value;
use crate::config::schema::{Key, keys};
use crate::config::units::Refused;
use crate::telemetry::{Config, Format};

const FORMATS: [(&str, Option<Format>); 3] =
    [("text", Some(Format::Text)), ("json", Some(Format::Json)), ("off", None)];

pub(in crate::config) const ACCESS_LOG: &[Key<Config>] = keys! {
    "format" = Default("\"text\""), "`\"text\"`, `\"json\"` (one object a line) or `\"off\"`." => |draft, value| {
        draft.access.format = value.one_of(&FORMATS)?;
        Ok(())
    };
    "path" = Default("\"-\""), "The file, opened again on SIGUSR1; `\"-\"` for standard output." => |draft, value| {
        draft.access.path = if value.string()? == "-" { None } else { Some(value.path()?) };
        Ok(())
    };
};

pub(in crate::config) const LOG: &[Key<Config>] = keys! {
    "level" = Default("\"info\""), "What the program itself logs, to standard error: `\"error\"`, `\"warn\"`, `\"info\"`, `\"debug\"`, or by part: `\"seawall::upstream=debug,info\"`." => |draft, value| {
        draft.level = value.parsed(level)?;
        Ok(())
    };
    "format" = Default("\"text\""), "`\"text\"` or `\"json\"`." => |draft, value| {
        draft.format = value.one_of(&[("text", Format::Text), ("json", Format::Json)])?;
        Ok(())
    };
};

/// A filter of the program's log.
///
/// # Errors
/// [`Refused`] where it does not parse.
pub(in crate::config) fn level(text: &str) -> Result<String, Refused> {
    const WORDS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
    // A bare word that is no level would be taken for a module's name and silence everything.
    let is_level = |part: &str| {
        part.contains(['=', ':', '[']) || WORDS.contains(&part.to_ascii_lowercase().as_str())
    };
    if text.split(',').all(|part| is_level(part.trim())) && EnvFilter::builder().parse(text).is_ok()
    {
        return Ok(text.to_owned());
    }
    Err(Refused::new(
        "this is not a log level",
        format!("write one of {}, or like \"seawall::upstream=debug,info\"", WORDS.join(", ")),
    ))
}

/// `[error_pages]`: files by status.
pub(in crate::config) fn error_pages(value: &Value<'_>) -> Checked<BTreeMap<u16, PathBuf>> {
    let instead = "write [error_pages] and below it lines like 502 = \"502.html\"";
    let pages = value.entries(instead, "^[45][0-9]{2}$", |status, file| {
        let file = file.readable_file();
        match status.text.parse() {
            Ok(code @ 400..=599) => Ok((code, file?)),
            _ => Err(status
                .fault("this is not the status of an error")
                .help("write a status from 400 to 599: 502 = \"502.html\"")
                .into()),
        }
    })?;
    Ok(pages.into_iter().collect())
}
