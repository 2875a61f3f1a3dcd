//! `[rule.request]` and `[rule.response]`: what is changed of messages on their way.

use std::ops::Range;
use std::sync::Arc;

use http::HeaderName;

use super::matching::{FIELD, not_a_pattern};
use super::{Setting, Terms};
use crate::config::fault::{Checked, Faulty};
use crate::config::raw::Value;
use crate::config::schema::{Key, fill, keys};
use crate::config::sketch;
use crate::config::units::Refused;
use crate::key::normalize_path;
use crate::rules::{
    FieldEdit, FieldEdits, Rewrite, Template, TemplateError, is_fixed_in_requests,
    is_fixed_in_responses,
};

/// Values that one edit may give to a field.
const MOST_VALUES: usize = 16;

pub(in crate::config) const REQUEST: &[Key<Vec<Setting>>] = keys! {
    "set" = Example("{ x-shop = \"{host}\", x-section = \"{path.1}\" }"), "Fields that the origin gets with these values (one, or a list) instead of what the client sent. Values are templates, in which `{host}`, `{path}`, `{path.2}` (a segment), `{query}`, `{query.NAME}`, `{scheme}`, `{method}`, `{header.NAME}`, `{cookie.NAME}` and `{client}` are parts of the request. One that comes out empty is left out." => |settings, value| {
        settings.extend(Side::Request.fields(value, FieldEdit::Set)?);
        Ok(())
    };
    "add" = Example("{ x-via = \"edge\" }"), "Fields that it gets beside what the client sent." => |settings, value| {
        settings.extend(Side::Request.fields(value, FieldEdit::Add)?);
        Ok(())
    };
    "remove" = Example("[\"x-debug\"]"), "Fields that it does not get." => |settings, value| {
        settings.extend(Side::Request.removed(value)?);
        Ok(())
    };
    "client_address" = Example("\"X-Real-IP\""), "Fields that it gets the client's address in, whatever the client sent in them. It is what `X-Forwarded-For` tells it anyway, so that answers are shared as without it: an origin that answers by address has to say `private`." => |settings, value| {
        settings.extend(Side::Request.addressed(value)?);
        Ok(())
    };
    "path" = Example("{ strip = \"/app\" }"), "Another path for the origin: `{ strip = \"/app\" }`, `{ prefix = \"/app\", with = \"/v2\" }`, `{ regex = \"^/p/([0-9]+)$\", with = \"/product/$1\" }`, or `\"off\"`. Prefixes end where segments do. The client's path stays what is matched, keyed and purged; the query is the client's." => |settings, value| {
        let rewrite = if is_off(value) { None } else { Some(rewrite(value)?) };
        let path = whole("request.path", value, move |terms| terms.request.path.clone_from(&rewrite));
        settings.push(Setting { tells_origin: true, ..path });
        Ok(())
    };
    "share_unkeyed" = Default("false"), "Dangerous: whether answers are shared although `set`, `add` or `path` tell the origin something that is not in the key: `{header.NAME}`, `{cookie.NAME}` or `{client}`, or anything at all in a rule that matches by what is not keyed. If an answer depends on it, everybody gets what was made for one. Without this, such requests bypass the cache (`unkeyed-edit`)." => |settings, value| {
        let share = value.boolean()?;
        settings.push(setting("request.share_unkeyed", value.span(), move |terms| terms.request.share_unkeyed = share));
        Ok(())
    };
};

pub(in crate::config) const RESPONSE_EDITS: &[Key<Vec<Setting>>] = keys! {
    "set" = Example("{ x-frame-options = \"DENY\" }"), "Fields that the client gets with these values instead of what is stored or came, as in `[rule.request]`. What is stored stays the origin's, so a change of this holds at once." => |settings, value| {
        settings.extend(Side::Response.fields(value, FieldEdit::Set)?);
        Ok(())
    };
    "add" = Example("{ link = \"</style.css>; rel=preload\" }"), "Fields that it gets beside those." => |settings, value| {
        settings.extend(Side::Response.fields(value, FieldEdit::Add)?);
        Ok(())
    };
    "remove" = Example("[\"server\", \"x-powered-by\"]"), "Fields that it does not get." => |settings, value| {
        settings.extend(Side::Response.removed(value)?);
        Ok(())
    };
};

const PATH: &[Key<PathDraft>] = keys! {
    "strip" = Example("\"/app\""), "A prefix that goes." => |draft, value| {
        draft.prefix = Some(value.parsed(prefix)?);
        draft.with.get_or_insert_default();
        Ok(())
    };
    "prefix" = Example("\"/app\""), "A prefix that gives way to `with`." => |draft, value| {
        draft.prefix = Some(value.parsed(prefix)?);
        Ok(())
    };
    "regex" = Example("\"^/p/([0-9]+)$\""), "An expression whose first match gives way to `with`." => |draft, value| {
        draft.regex = Some(value.string()?.to_owned());
        Ok(())
    };
    "with" = Example("\"/v2\""), "What comes; `$1` and its kin are groups of the expression." => |draft, value| {
        draft.with = Some(value.parsed(replacement)?);
        Ok(())
    };
};

#[derive(Default)]
struct PathDraft {
    prefix: Option<String>,
    regex: Option<String>,
    with: Option<String>,
}

/// Whose fields are changed.
#[derive(Clone, Copy)]
enum Side {
    Request,
    Response,
}

impl Side {
    const fn name(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::Response => "response",
        }
    }

    fn of(self, terms: &mut Terms) -> &mut FieldEdits {
        match self {
            Self::Request => &mut terms.request.fields,
            Self::Response => &mut terms.response,
        }
    }

    fn fields(
        self,
        value: &Value<'_>,
        edit: fn(Box<[Template]>) -> FieldEdit,
    ) -> Checked<Vec<Setting>> {
        value.entries("write { name = \"value\" }", FIELD, |name, value| {
            let refused = |refused: Refused| name.fault(refused.why).help(refused.instead);
            let field = self.field(name.text).map_err(refused)?;
            let templates = value.one_or_more(|value| value.parsed(template))?;
            if templates.len() > MOST_VALUES {
                let title = format!("a field gets {MOST_VALUES} values at most");
                return Err(value.fault(title).into());
            }
            Ok(self.edit(field, value.span(), edit(templates.into())))
        })
    }

    fn removed(self, value: &Value<'_>) -> Checked<Vec<Setting>> {
        value.one_or_more(|value| {
            let field = value.formed(|| sketch::text(FIELD), |name| self.field(name))?;
            Ok(self.edit(field, value.span(), FieldEdit::Remove))
        })
    }

    fn addressed(self, value: &Value<'_>) -> Checked<Vec<Setting>> {
        value.one_or_more(|value| {
            let field = value.formed(|| sketch::text(FIELD), |name| self.field(name))?;
            Ok(self.edit(field, value.span(), FieldEdit::Client))
        })
    }

    fn edit(self, field: HeaderName, span: Range<usize>, edit: FieldEdit) -> Setting {
        let key = format!("{}.{field}", self.name());
        let tells_origin = matches!(self, Self::Request) && !matches!(edit, FieldEdit::Remove);
        let edited = setting(&key, span, move |terms| self.of(terms).put(&field, &edit));
        Setting { tells_origin, ..edited }
    }

    fn field(self, name: &str) -> Result<HeaderName, Refused> {
        let field = HeaderName::from_bytes(name.as_bytes())
            .map_err(|_| Refused::new(format!("`{name}` is not a field name"), "write its name"))?;
        let (fixed, instead) = match self {
            Self::Request if field == http::header::HOST => {
                (true, "the host that an origin sees is set by `host` in [upstream.NAME]")
            }
            Self::Request => (
                is_fixed_in_requests(&field),
                "Seawall says it, or its framing and its decisions rest on it: leave it out",
            ),
            Self::Response => (
                is_fixed_in_responses(&field),
                "it frames the response, says what its bytes are, or is Seawall's: leave it out",
            ),
        };
        if fixed {
            return Err(Refused::new(format!("`{field}` can't be edited"), instead));
        }
        Ok(field)
    }
}

pub(super) fn setting(
    key: &str,
    span: Range<usize>,
    apply: impl Fn(&mut Terms) + Send + Sync + 'static,
) -> Setting {
    Setting { key: key.to_owned(), span, tells_origin: false, class: None, apply: Arc::new(apply) }
}

/// A setting whose keys are decided together.
pub(super) fn whole(
    key: &str,
    value: &Value<'_>,
    apply: impl Fn(&mut Terms) + Send + Sync + 'static,
) -> Setting {
    let mut span = value.span();
    // Below a header of its own, a table stands where its values do.
    for node in value.table("").into_iter().flat_map(|table| table.values()) {
        span = span.start.min(node.span().start)..span.end.max(node.span().end);
    }
    setting(key, span, apply)
}

/// Reads a table of a rule whose keys make settings.
pub(super) fn edits(
    section: &str,
    rows: &'static [Key<Vec<Setting>>],
    value: &Value<'_>,
) -> Checked<Vec<Setting>> {
    let table = value.table(&format!("write [{section}] below the rule"))?;
    let mut settings = Vec::new();
    fill(section, &[rows], table, value.around(), &mut settings)?;
    Ok(settings)
}

/// Whether what an earlier rule set is taken back.
pub(super) fn is_off(value: &Value<'_>) -> bool {
    value.is_word("off")
}

pub(super) fn template(text: &str) -> Result<Template, Refused> {
    Template::parse(text).map_err(|error| not_a_template(&error))
}

pub(super) fn not_a_template(error: &TemplateError) -> Refused {
    let instead = match error {
        TemplateError::Unknown(_) => "write one of these names",
        TemplateError::NotOfUrl(_) => "write what stands in the URL, like \"product:{path.2}\"",
        TemplateError::Unbalanced => "close it, or write it twice",
        TemplateError::Control | TemplateError::TooLong => "write it in one short line",
    };
    Refused::new(error.to_string(), instead)
}

fn rewrite(value: &Value<'_>) -> Checked<Rewrite> {
    let mut draft = PathDraft::default();
    let table = value.table("write path = { strip = \"/app\" }")?;
    let several = ["strip", "prefix", "regex"].into_iter().filter(|key| value.has_key(key)).count();
    fill("rule.request.path", &[PATH], table, value.around(), &mut draft)?;
    match draft {
        _ if several > 1 => Err(value
            .fault("a path is rewritten in one way")
            .help("write strip, prefix or regex")
            .into()),
        PathDraft { prefix: Some(from), with: Some(to), .. } => {
            if !to.is_empty() && prefix(&to).is_err() {
                return Err(Faulty::from(
                    value.fault("what comes for a prefix is a path").help("write \"/v2\""),
                ));
            }
            Ok(Rewrite::prefix(&from, &to))
        }
        PathDraft { regex: Some(regex), with: Some(with), .. } => Rewrite::regex(&regex, &with)
            .map_err(|error| {
                let Refused { why, instead } = not_a_pattern(&error);
                value.fault(why).help(instead).into()
            }),
        _ => Err(value
            .fault("this path is not rewritten")
            .help("write strip, or prefix or regex and with it `with`")
            .into()),
    }
}

fn prefix(text: &str) -> Result<String, Refused> {
    let normal = normalize_path(text).is_ok_and(|normal| normal == text);
    if !normal || !text.starts_with('/') || text.contains('?') {
        return Err(Refused::new(
            "this is not a path as the origin gets it",
            "write it like \"/app\": with a slash at its beginning, and without dots and a query",
        ));
    }
    Ok(text.to_owned())
}

fn replacement(text: &str) -> Result<String, Refused> {
    if text.contains(['?', '#']) || text.chars().any(|c| c.is_control() || c == ' ') {
        return Err(Refused::new(
            "a path has no query, no fragment and no spaces",
            "write the path alone; the query is the client's",
        ));
    }
    Ok(text.to_owned())
}
