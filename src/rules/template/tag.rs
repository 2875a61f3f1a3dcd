//! Tags that are made of the URL: `product:{path.2}`.

use super::{Piece, Template, TemplateError};
use crate::key::Target;

/// A template of a tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TagTemplate(Template);

impl TagTemplate {
    /// Reads a template of which every part stands in the URL: whatever else a request says, the
    /// response may be given to those who say otherwise.
    ///
    /// # Errors
    /// [`TemplateError`] says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        let template = Template::parse(text)?;
        let stray = template.pieces.iter().find_map(|piece| match piece {
            Piece::Part(part) if !part.is_of_url() => Some(part.to_string()),
            _ => None,
        });
        stray.map_or(Ok(Self(template)), |part| Err(TemplateError::NotOfUrl(part)))
    }

    /// The tag of a response to a request for `target`, in which parts stand as they do there,
    /// percent-encoded. `None` where the target has not got them all, or nothing is left.
    #[must_use]
    pub fn fill(&self, target: &Target) -> Option<String> {
        let mut tag = String::new();
        for piece in &self.0.pieces {
            tag.push_str(match piece {
                Piece::Text(text) => text,
                Piece::Part(part) => part.of_url(target).filter(|text| !text.is_empty())?,
            });
        }
        // As those are trimmed by which it is purged.
        let trimmed = tag.trim_ascii();
        (!trimmed.is_empty()).then(|| trimmed.to_owned())
    }
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
            ("{scheme} {query}", Some("http id=7&x=&id=8")),
            ("{{{path}}}", Some("{/items/a%20b/}")),
            (" a b ", Some("a b")),
            (" ", None),
            ("{path.3}", None),
            ("{path.4}", None),
            ("{query.x}", None),
            ("{query.y}", None),
        ] {
            assert_eq!(filled(template, url).as_deref(), tag, "{template}");
        }
    }

    // A line feed stands between an origin and its group.
    #[test]
    fn what_is_no_template_of_a_tag_is_refused() {
        for (wrong, why) in [
            ("{path.0}", "stands for nothing"),
            ("{path", "other half"),
            ("path}", "other half"),
            ("{}", "stands for nothing"),
            ("http://h\ngroup", "control"),
            ("{cookie.a}", "`{cookie.a}`"),
            ("a{header.X-A}", "`{header.x-a}`"),
            ("{client}", "share"),
            ("{method}", "share"),
        ] {
            let error = TagTemplate::parse(wrong).expect_err(wrong).to_string();
            assert!(error.contains(why), "{wrong}: {error}");
        }
    }
}
