//! The values of `compress` and its kin.

use smallvec::SmallVec;

use crate::config::fault::Checked;
use crate::config::raw::Value;
use crate::config::units::Refused;
use crate::policy::{Coding, Levels, MediaTypes};

/// `["br", "gzip"]`, or `"off"`.
pub(super) fn codings(value: &Value<'_>) -> Checked<SmallVec<[Coding; 3]>> {
    if value.is_off() {
        return Ok(SmallVec::new());
    }
    let words = Coding::ALL.map(|coding| (coding.token(), coding));
    let listed =
        value.list("write a list: [\"br\", \"gzip\"], or \"off\"", |value| value.one_of(&words))?;
    let mut codings = SmallVec::new();
    for coding in listed {
        if codings.contains(&coding) {
            let fault = value.fault(format!("`{}` stands there twice", coding.token()));
            return Err(fault.help("write each coding once, the best first").into());
        }
        codings.push(coding);
    }
    Ok(codings)
}

/// `{ br = 5 }`; what is not named keeps its default.
pub(super) fn levels(value: &Value<'_>) -> Checked<Levels> {
    let mut levels = Levels::default();
    let given =
        value.entries("write { br = 5, gzip = 6 }", "^(zstd|br|gzip)$", |name, value| {
            let (coding, range) = match name.text {
                "zstd" => (Some(Coding::Zstd), 1..=19),
                "br" => (Some(Coding::Br), 0..=11),
                "gzip" => (Some(Coding::Gzip), 1..=9),
                _ => (None, 0..=19),
            };
            let level = value.integer(range)? as u8;
            let fault = || name.fault("this is not a coding that Seawall can make");
            let coding = coding.ok_or_else(|| fault().help("its codings are: zstd, br, gzip"))?;
            Ok((coding, level))
        })?;
    for (coding, level) in given {
        match coding {
            Coding::Zstd => levels.zstd = level,
            Coding::Br => levels.br = level,
            Coding::Gzip => levels.gzip = level,
        }
    }
    Ok(levels)
}

/// `["usual", "application/x-own"]`.
pub(super) fn types(value: &Value<'_>) -> Checked<MediaTypes> {
    let instead = "write types like \"text/html\", \"text/*\", \"*+json\", or \"usual\"";
    let pattern = |text: &str| match MediaTypes::new([text]) {
        Ok(_) => Ok(text.to_owned()),
        Err(_) if text == "usual" => Ok(text.to_owned()),
        Err(_) => Err(Refused::new("this is not a pattern of media types", instead)),
    };
    let patterns = value.list("write a list: [\"text/*\"]", |value| value.parsed(pattern))?;
    let mut all: Vec<&str> =
        patterns.iter().map(String::as_str).filter(|it| *it != "usual").collect();
    if all.len() < patterns.len() {
        all.extend(MediaTypes::USUAL);
    }
    MediaTypes::new(all).map_err(|_| value.fault("these are no patterns").help(instead).into())
}
