//! `class` of a rule: requests that are kept apart from others with the same URL.

use super::Setting;
use super::edits::setting;
use crate::config::fault::Checked;
use crate::config::raw::Value;
use crate::config::sketch;
use crate::config::units::Refused;

/// Names, and what has one.
const WORD: &str = "^[-_.A-Za-z0-9]{1,64}$";

/// Classes that one rule may put requests into.
const MOST_CLASSES: usize = 16;

pub(super) fn classes(value: &Value<'_>) -> Checked<Vec<Setting>> {
    let settings = value.entries("write { login = \"yes\" }", WORD, |name, value| {
        let refused = |refused: Refused| name.fault(refused.why).help(refused.instead);
        word(name.text).map_err(refused)?;
        let class = value.formed(|| sketch::text(WORD), word)?;
        let named = (name.text.to_owned(), class);
        let (key, span) = (format!("class.{}", name.text), value.span());
        let put = named.clone();
        let setting = setting(&key, span, move |terms| terms.key.put_class(&put.0, &put.1));
        Ok(Setting { class: Some(named), ..setting })
    })?;
    if settings.len() > MOST_CLASSES {
        let title = format!("a rule puts requests into {MOST_CLASSES} classes at most");
        return Err(value
            .fault(title)
            .help("keep apart only what the origin answers apart")
            .into());
    }
    Ok(settings)
}

fn word(text: &str) -> Result<String, Refused> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if text.is_empty() || text.len() > 64 || !text.bytes().all(plain) {
        return Err(Refused::new(
            "this is not a name for a class",
            "write letters, digits, `-`, `_` and `.`; 64 at most",
        ));
    }
    Ok(text.to_owned())
}
