//! What rules change of a message's fields.

use std::net::IpAddr;

use http::header::{
    ACCEPT_RANGES, AGE, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, DATE, ETAG, EXPECT,
    FORWARDED, HOST, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE,
    LAST_MODIFIED, MAX_FORWARDS, RANGE, TRAILER, VIA,
};
use http::{HeaderMap, HeaderName, HeaderValue};
use smallvec::SmallVec;

use super::{KeyRules, Request, Rewrite, Template};
use crate::headers;

/// What is done with the fields of one name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FieldEdit {
    /// Whatever there is gives way to these values.
    Set(Box<[Template]>),
    /// These values come behind what there is.
    Add(Box<[Template]>),
    /// Whatever there is gives way to the client's address, as `X-Forwarded-For` tells it too:
    /// that is not counted as something that an answer could be made by.
    Client,
    /// None is left.
    Remove,
}

/// What is done with the fields of a message, one edit for each name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldEdits(Vec<(HeaderName, FieldEdit)>);

/// What is changed of a request on its way to the origin, after everything was decided by what the
/// client sent.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RequestEdits {
    /// Its fields.
    pub fields: FieldEdits,
    /// Its path.
    pub path: Option<Rewrite>,
    /// Dangerous: whether answers are shared although the origin is told what is not in the key.
    pub share_unkeyed: bool,
    unkeyed: bool,
}

impl RequestEdits {
    /// Whether nothing is changed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.fields.0.is_empty() && self.path.is_none()
    }

    /// The edits of requests that are keyed by `key`; `for_some` where that is not what decides
    /// which requests they are for.
    #[must_use]
    pub fn keyed_by(self, key: &KeyRules, for_some: bool) -> Self {
        let unkeyed = for_some || self.fields.read_unkeyed(key);
        Self { unkeyed, ..self }
    }

    /// Whether the origin is told something that may differ between requests with one key, so that
    /// its answer is for one client only.
    #[must_use]
    pub fn tells_unkeyed(&self) -> bool {
        self.unkeyed && !self.share_unkeyed
    }

    /// Whether it is told such a thing, and its answer is shared all the same.
    #[must_use]
    pub fn shares_unkeyed(&self) -> bool {
        self.unkeyed && self.share_unkeyed
    }
}

impl FieldEdits {
    /// Decides what is done with `name`; what was decided before is forgotten.
    pub fn put(&mut self, name: &HeaderName, edit: &FieldEdit) {
        self.0.retain(|(earlier, _)| earlier != name);
        self.0.push((name.clone(), edit.clone()));
    }

    /// Whether nothing is changed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether the origin gets the client's address in one of the fields that `Vary` names: the
    /// request as it came does not tell it.
    pub fn tell_client_in<'v>(&self, mut vary: impl Iterator<Item = &'v [u8]>) -> bool {
        let told = self.0.iter().filter(|(_, edit)| matches!(edit, FieldEdit::Client));
        let names: SmallVec<[&[u8]; 2]> = told.map(|(name, _)| name.as_str().as_bytes()).collect();
        let is_told = |member: &[u8]| names.iter().any(|name| member.eq_ignore_ascii_case(name));
        !names.is_empty() && vary.any(is_told)
    }

    fn read_unkeyed(&self, key: &KeyRules) -> bool {
        self.0.iter().any(|(_, edit)| match edit {
            FieldEdit::Set(values) | FieldEdit::Add(values) => {
                values.iter().any(|value| value.reads_unkeyed(key))
            }
            FieldEdit::Client | FieldEdit::Remove => false,
        })
    }

    /// What they come to for `request`. A value that comes out empty is left out.
    #[must_use]
    pub fn evaluate(&self, request: &Request<'_>) -> Evaluated {
        let evaluate = |(name, edit): &(HeaderName, FieldEdit)| {
            let value = |template: &Template| template.value(request);
            let values = match edit {
                FieldEdit::Set(templates) | FieldEdit::Add(templates) => {
                    templates.iter().filter_map(value).collect()
                }
                FieldEdit::Client => address(request.client).into_iter().collect(),
                FieldEdit::Remove => SmallVec::new(),
            };
            Change { name: name.clone(), replaces: !matches!(edit, FieldEdit::Add(_)), values }
        };
        Evaluated(self.0.iter().map(evaluate).collect())
    }
}

/// An address as origins read it; `None` where a trusted proxy did not say whose it is.
fn address(client: IpAddr) -> Option<HeaderValue> {
    let client = client.to_canonical();
    let told = (!client.is_unspecified()).then(|| client.to_string())?;
    HeaderValue::try_from(told).ok()
}

/// What edits come to for one request.
#[derive(Debug)]
pub struct Evaluated(SmallVec<[Change; 2]>);

#[derive(Debug)]
struct Change {
    name: HeaderName,
    /// Whether what there is goes.
    replaces: bool,
    values: SmallVec<[HeaderValue; 1]>,
}

impl Evaluated {
    /// Changes the fields.
    pub fn apply(self, headers: &mut HeaderMap) {
        for Change { name, replaces, values } in self.0 {
            if replaces {
                headers.remove(&name);
            }
            for value in values {
                headers.append(&name, value);
            }
        }
    }
}

/// Whether the field of a request is Seawall's own to say, or frames it, or is what its ranges and
/// preconditions are judged by.
#[must_use]
pub fn is_fixed_in_requests(name: &HeaderName) -> bool {
    const FIXED: [HeaderName; 13] = [
        CONTENT_LENGTH,
        CONTENT_RANGE,
        EXPECT,
        FORWARDED,
        HOST,
        IF_MATCH,
        IF_MODIFIED_SINCE,
        IF_NONE_MATCH,
        IF_RANGE,
        IF_UNMODIFIED_SINCE,
        MAX_FORWARDS,
        RANGE,
        TRAILER,
    ];
    let own = [&headers::X_FORWARDED_FOR, &headers::X_FORWARDED_PROTO, &headers::X_FORWARDED_HOST];
    FIXED.contains(name) || *name == VIA || own.contains(&name) || headers::is_hop_by_hop(name)
}

/// Whether the field of a response is Seawall's own to say, or frames it, or says what its bytes
/// are.
#[must_use]
pub fn is_fixed_in_responses(name: &HeaderName) -> bool {
    const FIXED: [HeaderName; 9] = [
        ACCEPT_RANGES,
        AGE,
        CONTENT_ENCODING,
        CONTENT_LENGTH,
        CONTENT_RANGE,
        DATE,
        ETAG,
        LAST_MODIFIED,
        TRAILER,
    ];
    FIXED.contains(name)
        || *name == VIA
        || *name == headers::CACHE_STATUS
        || headers::is_hop_by_hop(name)
}

#[cfg(test)]
mod tests {
    use http::Method;

    use super::*;
    use crate::key::Target;
    use crate::policy::testing::headers;

    fn values(texts: &[&str]) -> Box<[Template]> {
        texts.iter().map(|text| Template::parse(text).unwrap()).collect()
    }

    fn apply(edits: &FieldEdits, fields: &mut HeaderMap) {
        let target = Target::parse("http://h/a/b").unwrap();
        let request = Request {
            method: &Method::GET,
            target: &target,
            headers: fields,
            client: [192, 0, 2, 7].into(),
        };
        edits.evaluate(&request).apply(fields);
    }

    #[test]
    fn each_edit() {
        let mut edits = FieldEdits::default();
        for (name, edit) in [
            ("x-set", FieldEdit::Set(values(&["{path.1}", "{client}"]))),
            ("x-add", FieldEdit::Add(values(&["2"]))),
            ("x-remove", FieldEdit::Remove),
            ("x-swap", FieldEdit::Set(values(&["{header.x-set}"]))),
            ("x-none", FieldEdit::Set(values(&["{query.none}"]))),
            ("x-real-ip", FieldEdit::Client),
        ] {
            edits.put(&HeaderName::from_static(name), &edit);
        }
        let mut fields = headers(&[
            ("x-set", "0"),
            ("x-add", "1"),
            ("x-remove", "1"),
            ("x-remove", "2"),
            ("x-none", "1"),
            ("x-kept", "1"),
            ("x-real-ip", "6.6.6.6"),
        ]);
        apply(&edits, &mut fields);
        let expected = headers(&[
            ("x-set", "a"),
            ("x-set", "192.0.2.7"),
            ("x-add", "1"),
            ("x-add", "2"),
            ("x-swap", "0"),
            ("x-kept", "1"),
            ("x-real-ip", "192.0.2.7"),
        ]);
        assert_eq!(fields, expected);
    }

    #[test]
    fn what_is_keyed_may_be_told_and_shared() {
        let key = KeyRules {
            fields: vec![HeaderName::from_static("accept-language")],
            cookies: Some(vec!["theme".to_owned()]),
            ..KeyRules::default()
        };
        for (value, unkeyed) in [
            ("{header.accept-language}/{cookie.theme}/{path}", false),
            ("{header.user-agent}", true),
            ("{cookie.session}", true),
            ("{client}", true),
        ] {
            let mut edits = RequestEdits::default();
            edits.fields.put(&HeaderName::from_static("x-a"), &FieldEdit::Set(values(&[value])));
            assert_eq!(edits.clone().keyed_by(&key, false).tells_unkeyed(), unkeyed, "{value}");
            assert!(edits.clone().keyed_by(&key, true).tells_unkeyed(), "{value}");
            let shared = RequestEdits { share_unkeyed: true, ..edits }.keyed_by(&key, false);
            assert!(!shared.tells_unkeyed(), "{value}");
            assert_eq!(shared.shares_unkeyed(), unkeyed, "{value}");
        }
    }

    #[test]
    fn the_clients_address_is_told_where_it_is_known() {
        assert_eq!(address("::ffff:192.0.2.7".parse().unwrap()).unwrap(), "192.0.2.7");
        assert_eq!(address("2001:db8::1".parse().unwrap()).unwrap(), "2001:db8::1");
        assert_eq!(address("0.0.0.0".parse().unwrap()), None);
        let mut edits = FieldEdits::default();
        edits.put(&HeaderName::from_static("x-real-ip"), &FieldEdit::Client);
        assert!(!edits.read_unkeyed(&KeyRules::default()));
    }

    #[test]
    fn the_last_edit_of_a_name_counts() {
        let name = HeaderName::from_static("x-a");
        let mut edits = FieldEdits::default();
        edits.put(&name, &FieldEdit::Set(values(&["{client}"])));
        assert!(edits.read_unkeyed(&KeyRules::default()));
        edits.put(&name, &FieldEdit::Remove);
        assert!(!edits.read_unkeyed(&KeyRules::default()));
        let mut fields = headers(&[("x-a", "1")]);
        apply(&edits, &mut fields);
        assert!(fields.is_empty());
    }

    #[test]
    fn what_frames_a_message_or_is_ours_is_fixed() {
        for name in ["host", "connection", "transfer-encoding", "content-length", "via", "range"] {
            assert!(is_fixed_in_requests(&HeaderName::from_static(name)), "{name}");
        }
        for name in ["authorization", "cookie", "accept-encoding", "x-real-ip"] {
            assert!(!is_fixed_in_requests(&HeaderName::from_static(name)), "{name}");
        }
        for name in ["age", "cache-status", "connection", "content-length", "trailer", "etag"] {
            assert!(is_fixed_in_responses(&HeaderName::from_static(name)), "{name}");
        }
        for name in ["cache-control", "set-cookie", "server", "vary", "content-type"] {
            assert!(!is_fixed_in_responses(&HeaderName::from_static(name)), "{name}");
        }
    }
}
