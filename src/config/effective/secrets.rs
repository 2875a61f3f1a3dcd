//! What is not told of rules: fields may carry credentials, and so may URLs.

use toml::Value;

use crate::headers::names_secret;

/// In place of what is not told.
const HIDDEN: &str = "hidden";

/// Hides what is secret in the value of a rule's key, and says whether there was something.
pub(super) fn hide(value: &mut Value) -> bool {
    match value {
        Value::String(text) => hide_userinfo(text),
        Value::Array(members) => some(members.iter_mut().map(hide)),
        Value::Table(table) => {
            some(table.iter_mut().map(
                |(name, value)| {
                    if names_secret(name) { blank(value) } else { hide(value) }
                },
            ))
        }
        _ => false,
    }
}

/// Whether any was hidden; all of them are looked at.
fn some(hidden: impl Iterator<Item = bool>) -> bool {
    hidden.filter(|hidden| *hidden).count() > 0
}

/// Hides every text: one value, several, or an expression. Other tables hold names of their own.
fn blank(value: &mut Value) -> bool {
    match value {
        Value::String(text) => {
            HIDDEN.clone_into(text);
            true
        }
        Value::Array(members) => some(members.iter_mut().map(blank)),
        Value::Table(table) if table.len() == 1 && table.contains_key("regex") => {
            some(table.iter_mut().map(|(_, it)| blank(it)))
        }
        other => hide(other),
    }
}

/// `https://user:password@host` (RFC 3986 §3.2.1).
fn hide_userinfo(text: &mut String) -> bool {
    let Some(start) = text.find("://").map(|at| at + "://".len()) else { return false };
    let rest = &text[start..];
    let authority = rest.find(['/', '?', '#']).map_or(rest, |end| &rest[..end]);
    let Some(end) = authority.rfind('@').map(|at| start + at) else { return false };
    text.replace_range(start..end, HIDDEN);
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_hidden_and_nothing_else_is() {
        for (value, shown) in [
            ("{ authorization = 'Basic x', x-a = 'b' }", "{ authorization = 'hidden', x-a = 'b' }"),
            ("{ X-Api-Key = ['a', 'b'] }", "{ X-Api-Key = ['hidden', 'hidden'] }"),
            ("{ cookie = { regex = 'a' } }", "{ cookie = { regex = 'hidden' } }"),
            (
                "{ cookie = { session = 'a', currency = 'b', sid = true } }",
                "{ cookie = { session = 'hidden', currency = 'b', sid = true } }",
            ),
            ("[{ header = { x-token = 'a' } }]", "[{ header = { x-token = 'hidden' } }]"),
            ("{ authorization = true }", "{ authorization = true }"),
            ("'https://a:b@c.test/d@e'", "'https://hidden@c.test/d@e'"),
            ("'https://c.test/d@e'", "'https://c.test/d@e'"),
        ] {
            let read = |text: &str| -> Value {
                toml::from_str::<toml::Table>(&format!("it = {text}")).unwrap()["it"].clone()
            };
            let mut hidden = read(value);
            assert_eq!(hide(&mut hidden), value != shown, "{value}");
            assert_eq!(hidden, read(shown));
        }
    }
}
