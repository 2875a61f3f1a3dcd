//! Tags that are made of the request: `product:{path.2}`.

use http::uri::PathAndQuery;

use crate::key::Target;

/// A tag with places for parts of the request's target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TagTemplate(Vec<Piece>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    /// The whole path.
    Path,
    /// A segment of the path, counted from 1.
    Segment(usize),
    Host,
    /// The first value of a parameter of the query.
    Query(String),
}

impl TagTemplate {
    /// Reads a template; the error says what is wrong, for the person who wrote it.
    ///
    /// # Errors
    /// When a brace is not closed or not opened, or a place is none.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (mut pieces, mut rest) = (Vec::new(), text);
        while let Some(at) = rest.find(['{', '}']) {
            let (before, brace) = rest.split_at(at);
            if !before.is_empty() {
                pieces.push(Piece::Text(before.to_owned()));
            }
            let inner = brace.strip_prefix('{').and_then(|open| open.split_once('}'));
            let (place, after) = inner.ok_or("a brace has no partner")?;
            pieces.push(Piece::parse(place)?);
            rest = after;
        }
        if !rest.is_empty() {
            pieces.push(Piece::Text(rest.to_owned()));
        }
        if pieces.is_empty() { Err("the tag is empty".to_owned()) } else { Ok(Self(pieces)) }
    }

    /// The tag of a response to a request for `target`, in which parts stand as they do there,
    /// percent-encoded. `None` where the target has not got them all.
    #[must_use]
    pub fn fill(&self, target: &Target) -> Option<String> {
        let mut tag = String::new();
        for piece in &self.0 {
            tag.push_str(match piece {
                Piece::Text(text) => text,
                Piece::Path => target.path(),
                Piece::Segment(number) => {
                    target.path().split('/').nth(*number).filter(|segment| !segment.is_empty())?
                }
                Piece::Host => target.host(),
                Piece::Query(name) => parameter(&target.path_and_query, name)?,
            });
        }
        Some(tag)
    }
}

impl Piece {
    fn parse(place: &str) -> Result<Self, String> {
        match place.split_once('.') {
            None if place == "host" => Ok(Self::Host),
            None if place == "path" => Ok(Self::Path),
            Some(("path", number)) => match number.parse() {
                Ok(number @ 1..=100) => Ok(Self::Segment(number)),
                _ => Err("segments of the path are counted from 1: {path.1}".to_owned()),
            },
            Some(("query", name)) if !name.is_empty() => Ok(Self::Query(name.to_owned())),
            _ => {
                Err(format!("{{{place}}} is not {{host}}, {{path}}, {{path.1}} or {{query.NAME}}"))
            }
        }
    }
}

fn parameter<'a>(target: &'a PathAndQuery, name: &str) -> Option<&'a str> {
    let pairs = target.query()?.split('&');
    let mut pairs = pairs.map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    pairs
        .find(|(found, _)| *found == name)
        .map(|(_, value)| value)
        .filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(template: &str, url: &str) -> Option<String> {
        let target = Target::parse(url).expect("a URL");
        TagTemplate::parse(template).expect(template).fill(&target)
    }

    #[test]
    fn places_are_filled_and_what_lacks_a_part_has_no_tag() {
        let url = "http://shop.test:81/items/a%20b/?id=7&x=&id=8";
        for (template, tag) in [
            ("all", Some("all")),
            ("product:{path.2}", Some("product:a%20b")),
            ("{host}/{path.1}/{query.id}!", Some("shop.test/items/7!")),
            ("{path}", Some("/items/a%20b/")),
            ("{path.3}", None),
            ("{path.4}", None),
            ("{query.x}", None),
            ("{query.y}", None),
        ] {
            assert_eq!(filled(template, url).as_deref(), tag, "{template}");
        }
    }

    #[test]
    fn what_is_no_template_is_refused() {
        for wrong in ["", "{path.0}", "{path.x}", "{path", "path}", "{}", "{cookie.a}", "{query.}"]
        {
            assert!(TagTemplate::parse(wrong).is_err(), "{wrong}");
        }
    }
}
