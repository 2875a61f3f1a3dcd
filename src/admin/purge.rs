//! What a purge request says.

use serde::Deserialize;

use crate::key::Target;
use crate::store::{Mode, Scope};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    kind: Kind,
    value: Option<String>,
    #[serde(default)]
    mode: Wish,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Url,
    Prefix,
    All,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Wish {
    #[default]
    Soft,
    Hard,
}

/// Reads a purge request; the error says what is wrong, for the person who sent it.
pub(super) fn parse(text: &[u8]) -> Result<(Scope, Mode), String> {
    let wanted: Wanted = serde_json::from_slice(text).map_err(|error| error.to_string())?;
    let mode = match wanted.mode {
        Wish::Soft => Mode::Soft,
        Wish::Hard => Mode::Hard,
    };
    let scope = match (wanted.kind, wanted.value) {
        (Kind::All, None) => Scope::All,
        (Kind::All, Some(_)) => return Err("`all` takes no `value`".to_owned()),
        (Kind::Url, Some(url)) => Scope::Url(normal(&url)?),
        (Kind::Prefix, Some(prefix)) => Scope::Prefix(normal(&prefix)?),
        (Kind::Url | Kind::Prefix, None) => {
            return Err("`url` and `prefix` need a `value`: an absolute URL".to_owned());
        }
    };
    Ok((scope, mode))
}

/// The URL as it stands in cache keys.
fn normal(url: &str) -> Result<String, String> {
    let target = Target::parse(url).map_err(|error| format!("`{url}`: {error}"))?;
    Ok(target.key().as_str().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_brought_into_the_keys_form() {
        let parsed = parse(br#"{"kind":"url","value":"HTTP://Shop.Example:80/a/../b?x"}"#);
        let url = Scope::Url("http://shop.example/b?x".to_owned());
        assert_eq!(parsed, Ok((url, Mode::Soft)));
        let parsed = parse(br#"{"kind":"prefix","value":"https://a.example","mode":"hard"}"#);
        assert_eq!(parsed, Ok((Scope::Prefix("https://a.example/".to_owned()), Mode::Hard)));
        assert_eq!(parse(br#"{"kind":"all"}"#), Ok((Scope::All, Mode::Soft)));
    }

    #[test]
    fn faults_say_what_is_wrong() {
        for (text, word) in [
            (r#"{"kind":"url"}"#, "need a `value`"),
            (r#"{"kind":"url","value":"/path"}"#, "/path"),
            (r#"{"kind":"all","value":"x"}"#, "takes no"),
            (r#"{"kind":"tag","value":"x"}"#, "tag"),
            (r#"{"kind":"all","hard":true}"#, "hard"),
            ("", "EOF"),
        ] {
            let fault = parse(text.as_bytes()).expect_err(text);
            assert!(fault.contains(word), "{fault}");
        }
    }
}
