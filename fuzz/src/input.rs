//! The text form of what the policy is asked, so that a corpus can be read and written by people:
//! a line of numbers, then fields, those of the request behind a `>`.

use http::{HeaderMap, HeaderName, HeaderValue};
use seawall::policy::{Heuristic, Overrides, RequestDirectivesPolicy};

/// A request, a response, and whatever numbers a target needs.
pub struct Input {
    numbers: Vec<i64>,
    /// The request's fields.
    pub request: HeaderMap,
    /// The response's fields.
    pub response: HeaderMap,
}

impl Input {
    /// Reads any bytes: what is no number is 0, what is no field is left out.
    pub fn read(data: &[u8]) -> Self {
        let mut lines = data.split(|&byte| byte == b'\n');
        let first = String::from_utf8_lossy(lines.next().unwrap_or_default()).into_owned();
        let numbers = first.split(' ').map(|word| word.parse().unwrap_or(0)).collect();
        let (mut request, mut response) = (HeaderMap::new(), HeaderMap::new());
        for line in lines {
            let (headers, line) = match line.strip_prefix(b">") {
                Some(line) => (&mut request, line),
                None => (&mut response, line),
            };
            let Some(colon) = line.iter().position(|&byte| byte == b':') else { continue };
            let name = HeaderName::from_bytes(&line[..colon]);
            let value = HeaderValue::from_bytes(line[colon + 1..].trim_ascii());
            if let (Ok(name), Ok(value)) = (name, value) {
                headers.append(name, value);
            }
        }
        Self { numbers, request, response }
    }

    /// The number at `index`; 0 if there is none.
    pub fn number(&self, index: usize) -> i64 {
        self.numbers.get(index).copied().unwrap_or(0)
    }
}

/// What configuration may say: nothing, and as much as it can.
pub fn overrides() -> [Overrides; 2] {
    let generous = Overrides {
        heuristic: Some(Heuristic { error_statuses: true, ..Heuristic::default() }),
        request_directives: RequestDirectivesPolicy::Honour,
        surrogate_control: true,
        x_accel_expires: true,
        store_set_cookie: true,
        no_vary_search: true,
        accept_short_partial: true,
        not_modified_without_last_modified: true,
        complete_partial_without_validator: true,
        normalize_accept_language: true,
        negative: vec![(404, std::time::Duration::from_secs(1))],
        ..Overrides::default()
    };
    [Overrides::default(), generous]
}
