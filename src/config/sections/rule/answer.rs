//! `[rule.redirect]` and `[rule.respond]`: answers without an origin.

use std::sync::Arc;

use http::{HeaderValue, StatusCode};

use super::Setting;
use super::edits::{is_off, template, whole};
use crate::config::fault::Checked;
use crate::config::raw::Value;
use crate::config::schema::{Key, fill, keys};
use crate::config::units::Refused;
use crate::rules::{Answer, Fixed, Redirect, Template};

/// Bytes of a fixed response's content.
const MOST_BODY: u64 = 1024 * 1024;

pub(in crate::config) const REDIRECT: &[Key<RedirectDraft>] = keys! {
    "to" = Required("\"https://www.example.com{path}\""), "Where to: a URL, or a path on the same host. A template, but with nothing that a client chooses where a host stands, except for `{host}`." => |draft, value| {
        draft.to = Some(value.parsed(destination)?);
        Ok(())
    };
    "status" = Default("302"), "301 and 308 are for good, and browsers keep them; 302, 303 and 307 are not. 307 and 308 keep the method." => |draft, value| {
        draft.status = value.integer(301..=308).and_then(|status| match status {
            301 | 302 | 303 | 307 | 308 => Ok(status as u16),
            _ => Err(value.fault(format!("{status} is no redirection")).help("write 301, 302, 303, 307 or 308").into()),
        })?;
        Ok(())
    };
    "keep_query" = Default("true"), "Whether the client's query goes along." => |draft, value| {
        draft.keep_query = value.boolean()?;
        Ok(())
    };
};

pub(in crate::config) const RESPOND: &[Key<RespondDraft>] = keys! {
    "status" = Default("200"), "The status, from 200 to 599." => |draft, value| {
        draft.status = value.integer(200..=599)? as u16;
        Ok(())
    };
    "body" = Example("\"closed for today\""), "The content." => |draft, value| {
        draft.body = Some(value.string()?.to_owned());
        Ok(())
    };
    "body_file" = Example("\"closed.html\""), "The same, from a file of up to 1 MiB that is read at the start." => |draft, value| {
        draft.body = Some(value.text_in_file(MOST_BODY)?);
        Ok(())
    };
    "content_type" = Default("\"text/plain; charset=utf-8\""), "Its media type. Other fields come by `[rule.response]`." => |draft, value| {
        draft.content_type = value.parsed(media_type)?;
        Ok(())
    };
};

pub(in crate::config) struct RedirectDraft {
    to: Option<Template>,
    status: u16,
    keep_query: bool,
}

pub(in crate::config) struct RespondDraft {
    status: u16,
    body: Option<String>,
    content_type: HeaderValue,
}

pub(super) fn redirect(value: &Value<'_>) -> Checked<Setting> {
    if is_off(value) {
        return Ok(answer(value, None));
    }
    let mut draft = RedirectDraft { to: None, status: 302, keep_query: true };
    let table = value.table("write redirect = { to = \"https://www.example.com{path}\" }")?;
    fill("rule.redirect", &[REDIRECT], table, value.around(), &mut draft)?;
    let Some(to) = draft.to else {
        return Err(value
            .fault("a redirection leads somewhere")
            .help("write to = \"/new\"")
            .into());
    };
    let status = StatusCode::from_u16(draft.status).unwrap_or(StatusCode::FOUND);
    let redirect = Redirect { status, to, keep_query: draft.keep_query };
    Ok(answer(value, Some(Answer::Redirect(redirect))))
}

pub(super) fn respond(value: &Value<'_>) -> Checked<Setting> {
    if is_off(value) {
        return Ok(answer(value, None));
    }
    let content_type = HeaderValue::from_static("text/plain; charset=utf-8");
    let mut draft = RespondDraft { status: 200, body: None, content_type };
    let table = value.table("write respond = { status = 404, body = \"not here\" }")?;
    fill("rule.respond", &[RESPOND], table, value.around(), &mut draft)?;
    let twice = value.has_key("body") && value.has_key("body_file");
    if twice {
        return Err(value
            .fault("body and body_file both give the content")
            .help("leave one of them out")
            .into());
    }
    // RFC 9110 §15: these statuses have no content.
    if draft.body.is_some() && matches!(draft.status, 204 | 205 | 304) {
        let title = format!("a {} has no content", draft.status);
        return Err(value.fault(title).help("leave body out, or write another status").into());
    }
    let fixed = Fixed {
        status: StatusCode::from_u16(draft.status).unwrap_or(StatusCode::OK),
        body: draft.body.unwrap_or_default().into(),
        content_type: draft.content_type,
    };
    Ok(answer(value, Some(Answer::Fixed(fixed))))
}

/// Both decide the same: the last rule that has either wins.
fn answer(value: &Value<'_>, answer: Option<Answer>) -> Setting {
    let answer = answer.map(Arc::new);
    whole("answer", value, move |terms| terms.answer.clone_from(&answer))
}

fn destination(text: &str) -> Result<Template, Refused> {
    let to = template(text)?;
    if to.leaves_host_open() {
        return Err(Refused::new(
            "a client could choose the host that this leads to",
            "begin with a slash, or with a URL whose host ends before what is put in: \"https://www.example.com/{path.1}\"",
        ));
    }
    Ok(to)
}

fn media_type(text: &str) -> Result<HeaderValue, Refused> {
    let refused = || Refused::new("this is not a media type", "write it like \"text/html\"");
    if !text.contains('/') {
        return Err(refused());
    }
    HeaderValue::from_str(text).map_err(|_| refused())
}
