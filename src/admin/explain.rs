//! What a request to explain says.

use std::net::IpAddr;

use serde::Deserialize;

/// A request that is to be explained; what it means is read by whoever explains it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Question {
    /// The method; `GET` if nothing is said.
    #[serde(default = "get")]
    pub method: String,
    /// The absolute URL.
    pub url: String,
    /// The other fields: names and values.
    #[serde(default)]
    pub headers: Vec<(String, String)>,
    /// The peer's address; one for documentation if nothing is said.
    pub client: Option<IpAddr>,
}

fn get() -> String {
    "GET".to_owned()
}

impl Question {
    /// Reads a question; the error says what is wrong, for the person who sent it.
    pub(super) fn parse(text: &[u8]) -> Result<Self, String> {
        serde_json::from_slice(text).map_err(|error| error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_is_a_request() {
        let all =
            br#"{"method":"HEAD","url":"http://a.test/","headers":[["a","b"]],"client":"::1"}"#;
        let question = Question::parse(all).expect("a question");
        assert_eq!((question.method.as_str(), question.url.as_str()), ("HEAD", "http://a.test/"));
        assert_eq!(question.headers, [("a".to_owned(), "b".to_owned())]);
        assert_eq!(Question::parse(br#"{"url":"x"}"#).expect("a question").method, "GET");
        for (bad, why) in [
            (&b""[..], "EOF"),
            (b"{}", "missing field `url`"),
            (br#"{"url":"x","header":[]}"#, "unknown field `header`"),
            (br#"{"url":"x","client":"home"}"#, "invalid IP address"),
        ] {
            let fault = Question::parse(bad).expect_err("no question");
            assert!(fault.contains(why), "{fault}");
        }
    }
}
