//! The values of `compress` and its kin.

use smallvec::SmallVec;

use crate::config::fault::{Checked, Fault};
use crate::config::raw::{Value, collect};
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
    let table = value.table("write { br = 5, gzip = 6 }")?;
    let mut levels = Levels::default();
    collect(table.iter().map(|(name, node)| {
        let (level, range) = match name.get_ref().as_ref() {
            "zstd" => (&mut levels.zstd, 1..=19),
            "br" => (&mut levels.br, 0..=11),
            "gzip" => (&mut levels.gzip, 1..=9),
            _ => {
                let fault = Fault::at(name.span(), "this is not a coding that Seawall can make");
                return Err(fault.help("its codings are: zstd, br, gzip").into());
            }
        };
        *level = Value::new(node, value.around()).integer(range)? as u8;
        Ok(())
    }))?;
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
