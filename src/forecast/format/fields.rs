//! What fields are called: in the objects of JSON logs, in nginx's variables.

use std::collections::HashMap;

use http::HeaderName;

use super::slot::{Slot, Unit};

/// Which member of an object is what: those that are known, and those that were given.
#[derive(Clone, Debug, Default)]
pub struct FieldMap {
    given: HashMap<String, Slot>,
}

/// Why names of fields can't be understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FieldMapError {
    /// Not of the form.
    #[error("`{0}` is not of the form PART=NAME, like status=http.status")]
    Form(String),
    /// A part that no request has.
    #[error(
        "`{0}` is no part of a request; the parts are time, method, target, path, query, request, \
         status, bytes, host, scheme, seconds, millis, micros, client, user, request.NAME and \
         response.NAME"
    )]
    Part(String),
}

impl FieldMap {
    /// From `time=ts,status=http.status`: what is given goes before what is known. Members of
    /// members are reached by a full stop.
    ///
    /// # Errors
    /// [`FieldMapError`] for what is not understood.
    pub fn parse(text: &str) -> Result<Self, FieldMapError> {
        let mut given = HashMap::new();
        for pair in text.split(',').map(str::trim).filter(|pair| !pair.is_empty()) {
            let form = || FieldMapError::Form(pair.to_owned());
            let (part, name) = pair.split_once('=').ok_or_else(form)?;
            let slot = part_named(part.trim()).ok_or_else(|| FieldMapError::Part(part.into()))?;
            given.insert(name.trim().to_owned(), slot);
        }
        Ok(Self { given })
    }

    /// What the member at `path` is; `None` for one that is not looked at.
    pub(super) fn slot(&self, path: &str) -> Option<Slot> {
        let known = || known_member(path);
        self.given.get(path).cloned().or_else(known)
    }

    /// Whether the member at `path` was given a meaning.
    pub(super) fn has_given(&self, path: &str) -> bool {
        self.given.contains_key(path)
    }

    /// Whether `slot` was given a name, so that no other counts.
    pub(super) fn is_given(&self, slot: &Slot) -> bool {
        self.given.values().any(|given| given == slot)
    }
}

fn part_named(part: &str) -> Option<Slot> {
    Some(match part {
        "time" => Slot::Time,
        "method" => Slot::Method,
        "target" => Slot::Target,
        "path" => Slot::Path,
        "query" => Slot::Query,
        "request" => Slot::Request,
        "status" => Slot::Status,
        "bytes" => Slot::Bytes,
        "host" => Slot::Host,
        "scheme" => Slot::Scheme,
        "seconds" => Slot::Took(Unit::Seconds),
        "millis" => Slot::Took(Unit::Millis),
        "micros" => Slot::Took(Unit::Micros),
        "client" => Slot::Client,
        "user" => Slot::User,
        _ => {
            let (side, name) = part.split_once('.')?;
            let name = field_name(name)?;
            match side {
                "request" => Slot::RequestField(name),
                "response" => Slot::ResponseField(name),
                _ => return None,
            }
        }
    })
}

/// What nginx, Caddy, Traefik, Seawall and cloud services call things. Names that only nginx has
/// are its variables.
fn known_member(path: &str) -> Option<Slot> {
    Some(match path {
        "time" | "ts" | "timestamp" | "@timestamp" | "StartUTC" | "start_time" => Slot::Time,
        "method"
        | "verb"
        | "request.method"
        | "RequestMethod"
        | "http_method"
        | "httpRequest.requestMethod" => Slot::Method,
        "target"
        | "url"
        | "path"
        | "request.uri"
        | "request.url"
        | "RequestPath"
        | "httpRequest.requestUrl"
        | "request_url" => Slot::Target,
        "DownstreamStatus" | "status_code" | "response_status" | "response.status"
        | "http_status" | "httpRequest.status" | "code" => Slot::Status,
        "bytes"
        | "size"
        | "DownstreamContentSize"
        | "response_size"
        | "response.bytes"
        | "httpRequest.responseSize" => Slot::Bytes,
        "request.host" | "RequestHost" | "vhost" | "host_header" => Slot::Host,
        "RequestScheme" | "request.scheme" => Slot::Scheme,
        // Traefik counts nanoseconds, all others seconds.
        "Duration" => Slot::Took(Unit::Nanos),
        "duration" | "latency" => Slot::Took(Unit::Seconds),
        "duration_ms" | "latency_ms" => Slot::Took(Unit::Millis),
        "client"
        | "client_ip"
        | "remote_ip"
        | "request.client_ip"
        | "request.remote_ip"
        | "ClientHost"
        | "httpRequest.remoteIp" => Slot::Client,
        "user_id" | "ClientUsername" => Slot::User,
        "user_agent" | "httpRequest.userAgent" => Slot::RequestField(http::header::USER_AGENT),
        "referer" | "httpRequest.referer" => Slot::RequestField(http::header::REFERER),
        _ => match headers_of(path) {
            Some(slot) => slot,
            None => match variable(path)? {
                Slot::Ignored => return None,
                slot => slot,
            },
        },
    })
}

/// Fields of messages: an object of them as Caddy has it, or a prefix as Traefik.
fn headers_of(path: &str) -> Option<Slot> {
    for prefix in ["resp_headers.", "response.headers.", "downstream_"] {
        if let Some(name) = path.strip_prefix(prefix) {
            return field_name(name).map(Slot::ResponseField);
        }
    }
    for prefix in ["request.headers.", "request_"] {
        let name = path.strip_prefix(prefix).filter(|name| !name.contains('_'));
        let is_traefiks = name.is_some_and(|name| name.starts_with(|c: char| c.is_uppercase()));
        if let Some(name) = name.filter(|_| is_traefiks || prefix.ends_with('.')) {
            return field_name(name).map(Slot::RequestField);
        }
    }
    None
}

/// A variable of nginx, without its dollar sign; `None` for one that nginx does not know.
pub(super) fn variable(name: &str) -> Option<Slot> {
    Some(match name {
        "remote_addr" | "realip_remote_addr" => Slot::Client,
        "remote_user" => Slot::User,
        "time_local" | "time_iso8601" | "msec" => Slot::Time,
        "request" => Slot::Request,
        "request_method" => Slot::Method,
        "request_uri" => Slot::Target,
        "uri" | "document_uri" => Slot::Path,
        "args" | "query_string" => Slot::Query,
        "status" => Slot::Status,
        "body_bytes_sent" => Slot::Bytes,
        "bytes_sent" => Slot::MoreOrLessBytes,
        "host" | "http_host" | "server_name" => Slot::Host,
        "scheme" => Slot::Scheme,
        "request_time" | "upstream_response_time" => Slot::Took(Unit::Seconds),
        _ => {
            let dashed = |name: &str| field_name(&name.replace('_', "-"));
            for prefix in ["sent_http_", "upstream_http_"] {
                if let Some(name) = name.strip_prefix(prefix) {
                    return dashed(name).map(Slot::ResponseField);
                }
            }
            if let Some(name) = name.strip_prefix("http_") {
                return dashed(name).map(Slot::RequestField);
            }
            Slot::Ignored
        }
    })
}

/// A field's name, if it is one.
pub(super) fn field_name(name: &str) -> Option<HeaderName> {
    HeaderName::from_bytes(name.as_bytes()).ok()
}
