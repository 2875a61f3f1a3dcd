//! An object a line.

use std::borrow::Cow;

use serde_json::{Map, Value};

use super::fields::FieldMap;
use super::slot::{Draft, Slot, Unit};
use super::{Broken, Entry, moment};

/// Reads a line.
pub(super) fn read<'a>(fields: &FieldMap, line: &'a [u8]) -> Result<Entry<'a>, Broken> {
    let value: Value = serde_json::from_slice(line).map_err(|_| Broken::Json)?;
    let Value::Object(members) = value else { return Err(Broken::Json) };
    let mut draft = Draft::default();
    let mut path = String::new();
    walk(fields, &mut path, &members, &mut draft)?;
    if members.get("request").and_then(|request| request.get("tls")).is_some() {
        // Caddy: there where it came by TLS.
        draft.secure = draft.secure.or(Some(true));
    }
    draft.finish()
}

fn walk(
    fields: &FieldMap,
    path: &mut String,
    members: &Map<String, Value>,
    draft: &mut Draft<'_>,
) -> Result<(), Broken> {
    for (name, value) in members {
        let length = path.len();
        path.push_str(name);
        match (value, fields.slot(path)) {
            (Value::Object(inner), _) => {
                path.push('.');
                walk(fields, path, inner, draft)?;
            }
            (_, Some(slot)) if overruled(fields, path, &slot) => {}
            (value, Some(slot)) => fill(draft, &slot, value)?,
            (_, None) => {}
        }
        path.truncate(length);
    }
    Ok(())
}

/// Where a name was given for something, the usual ones mean nothing.
fn overruled(fields: &FieldMap, path: &str, slot: &Slot) -> bool {
    fields.is_given(slot) && !fields.has_given(path)
}

fn fill(draft: &mut Draft<'_>, slot: &Slot, value: &Value) -> Result<(), Broken> {
    match (slot, value) {
        (Slot::Time, Value::Number(number)) => {
            let number = number.as_f64().ok_or(Broken::Time)?;
            draft.at = Some(moment::from_number(number).ok_or(Broken::Time)?);
            Ok(())
        }
        (Slot::Took(unit), Value::Number(number)) => {
            draft.millis = number.as_f64().and_then(|took| moment::millis(took * unit.in_millis()));
            Ok(())
        }
        // A text with its unit: "12.5ms".
        (Slot::Took(Unit::Seconds), Value::String(text)) => {
            let took = humantime::parse_duration(text).ok();
            match took {
                Some(took) => {
                    draft.millis = moment::millis(took.as_secs_f64() * 1000.0);
                    Ok(())
                }
                None => draft.fill(slot, owned(text)),
            }
        }
        (_, Value::String(text)) => draft.fill(slot, owned(text)),
        (_, Value::Number(number)) => draft.fill(slot, owned(&whole(number))),
        // Fields of messages may have several values.
        (Slot::RequestField(_) | Slot::ResponseField(_), Value::Array(values)) => {
            values.iter().filter(|value| value.is_string()).try_for_each(|it| fill(draft, slot, it))
        }
        _ => Ok(()),
    }
}

/// Some write whole numbers as floating-point ones.
fn whole(number: &serde_json::Number) -> String {
    match number.as_f64() {
        Some(float) if !number.is_u64() && (0.0..1e15).contains(&float) && float.fract() == 0.0 => {
            format!("{float:.0}")
        }
        _ => number.to_string(),
    }
}

fn owned(text: &str) -> Cow<'static, [u8]> {
    Cow::Owned(text.as_bytes().to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;

    fn entry(line: &str) -> Entry<'_> {
        read(&FieldMap::default(), line.as_bytes()).unwrap()
    }

    #[track_caller]
    fn assert_reads(line: &str, host: &str, target: &str, status: u16, bytes: u64, millis: u32) {
        let entry = entry(line);
        assert_eq!(entry.at, Timestamp::from_secs(1_700_000_000), "{line}");
        assert_eq!(entry.host.as_deref(), Some(host.as_bytes()), "{line}");
        assert_eq!(entry.target.as_ref(), target.as_bytes(), "{line}");
        assert_eq!((entry.status, entry.bytes, entry.millis), (status, Some(bytes), Some(millis)));
    }

    #[test]
    fn known_programs_are_understood() {
        let seawall = r#"{"time":"2023-11-14T22:13:20.000Z","client":"192.0.2.7","method":"GET","scheme":"https","host":"a.test","target":"/a?b","protocol":"HTTP/1.1","status":200,"bytes":512,"duration":0.0015,"first_byte":0.0009,"cache":"miss","detail":null,"referer":null,"user_agent":"x"}"#;
        assert_reads(seawall, "a.test", "/a?b", 200, 512, 1);
        assert_eq!(entry(seawall).secure, Some(true));
        let caddy = r#"{"level":"info","ts":1700000000.0,"logger":"http.log.access","request":{"remote_ip":"192.0.2.7","remote_port":"1","client_ip":"192.0.2.7","proto":"HTTP/2.0","method":"GET","host":"a.test","uri":"/a?b","headers":{"Cookie":["REDACTED"],"User-Agent":["x"]},"tls":{"resumed":false}},"bytes_read":0,"user_id":"","duration":0.012,"size":9,"status":404,"resp_headers":{"Cache-Control":["max-age=60"],"Etag":["\"x\""],"Content-Type":["text/html"]}}"#;
        assert_reads(caddy, "a.test", "/a?b", 404, 9, 12);
        let read = entry(caddy);
        assert_eq!((read.request.len(), read.response.len(), read.secure), (2, 3, Some(true)));
        assert!(read.response.iter().any(|(name, value)| name == "etag" && value == "\"x\""));
        let traefik = r#"{"ClientAddr":"192.0.2.7:1","ClientHost":"192.0.2.7","DownstreamContentSize":9,"DownstreamStatus":200,"Duration":12000000,"RequestHost":"a.test","RequestMethod":"GET","RequestPath":"/a?b","RequestScheme":"https","StartUTC":"2023-11-14T22:13:20Z","downstream_Cache-Control":"no-store","request_User-Agent":"x"}"#;
        assert_reads(traefik, "a.test", "/a?b", 200, 9, 12);
        assert_eq!(entry(traefik).response[0].0, "cache-control");
        let nginx = r#"{"time_iso8601":"2023-11-14T22:13:20+00:00","remote_addr":"192.0.2.7","request":"GET /a?b HTTP/1.1","status":"200","body_bytes_sent":"9","request_time":"0.012","http_host":"a.test","sent_http_cache_control":"public"}"#;
        assert_reads(nginx, "a.test", "/a?b", 200, 9, 12);
    }

    #[test]
    fn names_can_be_given() {
        let fields =
            FieldMap::parse("time=when, target=http.path,status=http.code,bytes=out").unwrap();
        let line = br#"{"when":1700000000,"path":"no","http":{"path":"/a","code":"200"},"out":7.0,"size":3}"#;
        let entry = read(&fields, line).unwrap();
        assert_eq!((&*entry.target, entry.status, entry.bytes), (&b"/a"[..], 200, Some(7)));
        assert!(FieldMap::parse("time").is_err() && FieldMap::parse("colour=x").is_err());
    }

    #[test]
    fn what_is_missing_or_wrong_has_its_kind() {
        for (line, broken) in [
            ("{", Broken::Json),
            ("[1]", Broken::Json),
            ("{}", Broken::Request),
            (r#"{"uri":"/","status":200}"#, Broken::Time),
            (r#"{"uri":"/","ts":1,"status":1000}"#, Broken::Status),
            (r#"{"uri":"/","ts":-1,"status":200}"#, Broken::Time),
            (r#"{"uri":"/","ts":1,"status":200,"bytes":"x"}"#, Broken::Size),
            (r#"{"uri":"/","ts":1,"status":200,"method":"G T"}"#, Broken::Request),
        ] {
            assert_eq!(read(&FieldMap::default(), line.as_bytes()).unwrap_err(), broken, "{line}");
        }
    }
}
