//! What is keyed beside the URI, as text that can be confused with nothing else.

use http::HeaderName;
use http::uri::PathAndQuery;

/// Ends the URI in a key, and each part after it: it stands in no URI and in no field value.
const SEPARATOR: char = '\n';

/// What makes a key of a target beside its URI.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Beside {
    /// The parts, each after a separator.
    text: String,
    /// The request's whole `Cookie` is among them.
    pub(super) cookies: bool,
    /// What the origin gets, where that is more than what is keyed.
    pub(super) sent: Option<PathAndQuery>,
}

impl Beside {
    /// No parts, but what the origin gets.
    #[must_use]
    pub fn sending(sent: Option<PathAndQuery>) -> Self {
        Self { sent, ..Self::default() }
    }

    /// Adds the lines of a field; that it is missing is another part than that it is empty.
    pub fn add_field<'a>(&mut self, name: &HeaderName, lines: impl Iterator<Item = &'a [u8]>) {
        let mut missing = true;
        for line in lines {
            missing = false;
            self.add(name.as_str(), Some(line));
        }
        if missing {
            self.add(name.as_str(), None);
        }
    }

    /// Adds all that the origin gets to see of `Cookie`; `None` if that is nothing.
    pub fn add_cookies(&mut self, value: Option<&[u8]>) {
        self.cookies = true;
        self.add(http::header::COOKIE.as_str(), value);
    }

    /// Adds the class that a request is in, of those with this name. No field's name has an `@`.
    pub fn add_class(&mut self, name: &str, class: &str) {
        self.add(&format!("@{name}"), Some(class.as_bytes()));
    }

    /// A name is a token, so the first `=` ends it. Bytes that are not plain ASCII are escaped.
    fn add(&mut self, name: &str, value: Option<&[u8]>) {
        self.text.push(SEPARATOR);
        self.text.push_str(name);
        let Some(value) = value else { return };
        self.text.push('=');
        for &byte in value {
            if (b' '..=b'~').contains(&byte) && byte != b'%' {
                self.text.push(char::from(byte));
            } else {
                self.text.extend(format!("%{byte:02X}").chars());
            }
        }
    }

    /// Adds the mark of those who share a response. No name has a question mark, so it can be
    /// taken for no other part.
    pub(super) fn add_mark(&mut self, mark: u64) {
        self.text.push(SEPARATOR);
        self.text.extend(["?", mark.to_string().as_str()]);
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }
}

/// The URL that a key's text begins with.
#[must_use]
pub fn url_of(key: &str) -> &str {
    key.split_once(SEPARATOR).map_or(key, |(url, _)| url)
}

/// The URL of a key without its query.
#[must_use]
pub fn path_of(key: &str) -> &str {
    let url = url_of(key);
    url.split_once('?').map_or(url, |(path, _)| path)
}

#[cfg(test)]
mod tests {
    use http::header::{ACCEPT, ACCEPT_LANGUAGE};
    use proptest::prelude::*;

    use super::*;

    type Lines = Vec<Vec<u8>>;

    fn key(accept: &Lines, language: &Lines, cookies: Option<&[u8]>) -> String {
        let mut beside = Beside::default();
        beside.add_field(&ACCEPT, accept.iter().map(Vec::as_slice));
        beside.add_field(&ACCEPT_LANGUAGE, language.iter().map(Vec::as_slice));
        beside.add_cookies(cookies);
        beside.text().to_owned()
    }

    #[test]
    fn parts_stand_after_the_url() {
        let text = key(&vec![b"a%\xff".to_vec(), Vec::new()], &Vec::new(), Some(b"a=b"));
        assert_eq!(text, "\naccept=a%25%FF\naccept=\naccept-language\ncookie=a=b");
        assert_eq!(url_of(&format!("http://h/?a{text}")), "http://h/?a");
        assert_eq!(url_of("http://h/"), "http://h/");
        assert_eq!(path_of("http://h/?a\nb?c"), "http://h/");
        assert_eq!(path_of("http://h/\nb?c"), "http://h/");
    }

    /// Bytes of a field value, and of what looks like parts of a key.
    fn value() -> impl Strategy<Value = Vec<u8>> {
        let pieces = prop::sample::select(vec![
            &b"a"[..],
            b"=",
            b"%",
            b"%0A",
            b"cookie",
            b"accept",
            b"\xff",
            b"\t",
            b" ",
            b";",
        ]);
        prop::collection::vec(pieces, 0..4).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn other_parts_are_another_key(
            one in (prop::collection::vec(value(), 0..3), prop::collection::vec(value(), 0..3), prop::option::of(value())),
            other in (prop::collection::vec(value(), 0..3), prop::collection::vec(value(), 0..3), prop::option::of(value())),
        ) {
            let text = |(accept, language, cookies): &(Lines, Lines, Option<Vec<u8>>)| {
                key(accept, language, cookies.as_deref())
            };
            prop_assert_eq!(one == other, text(&one) == text(&other));
        }
    }
}
