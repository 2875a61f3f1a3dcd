//! `[[rule]]`: which requests and responses it speaks of, and what it sets.

mod access;
mod answer;
mod class;
mod edits;
mod key;
mod matching;
mod tags;

use std::ops::Range;
use std::sync::Arc;

use super::cache;
use crate::config::fault::{Checked, Fault};
use crate::config::raw::{Value, collect};
use crate::config::schema::{Apply, Key, did_you_mean, fill, keys, sketch_table};
use crate::config::sketch;
use crate::config::units::Refused;
use crate::proxy;
use crate::rules::{
    Answer, Condition, FieldEdits, KeyRules, RequestEdits, ResponseCondition, TagRules,
};

pub(in crate::config) use access::ACCESS;
pub(in crate::config) use answer::{REDIRECT, RESPOND};
pub(in crate::config) use edits::{REQUEST, RESPONSE_EDITS};
pub(in crate::config) use key::KEY;
pub(in crate::config) use matching::{
    FIELD, MATCH, METHOD, RESPONSE, headers, method, not_a_pattern,
};
use matching::{Matcher, ResponseMatcher};
pub(in crate::config) use tags::TAGS;

/// What one `[[rule]]` says.
#[derive(Debug, Default)]
pub(in crate::config) struct Draft {
    name: Option<String>,
    conditions: Vec<Condition>,
    response: Option<ResponseCondition>,
    pub(in crate::config) settings: Vec<Setting>,
}

/// What rules set, while it is merged.
#[derive(Clone, Debug)]
pub(in crate::config) struct Terms {
    cache: cache::Draft,
    key: KeyRules,
    request: RequestEdits,
    response: FieldEdits,
    answer: Option<Arc<Answer>>,
    access: access::Draft,
}

impl Terms {
    /// What a route says alone.
    pub(in crate::config) fn new(cache: cache::Draft) -> Self {
        Self {
            cache,
            key: KeyRules::default(),
            request: RequestEdits::default(),
            response: FieldEdits::default(),
            answer: None,
            access: access::Draft::default(),
        }
    }

    /// What counts of requests.
    pub(in crate::config) const fn key(&self) -> &KeyRules {
        &self.key
    }

    /// `told_for_some`: whether request edits are for some only of the requests with one key.
    pub(in crate::config) fn finish(self, told_for_some: bool) -> proxy::Terms {
        let mut cache = self.cache.finish();
        cache.policy.share_unkeyed = self.request.share_unkeyed || self.key.origin_sees_dropped;
        cache.edits = (!self.response.is_empty()).then(|| Arc::new(self.response));
        // Where an edit is taken back for some, what they are told is the client's own request.
        let edited = told_for_some || !self.request.is_empty();
        let request = edited.then(|| self.request.keyed_by(&self.key, told_for_some));
        proxy::Terms {
            cache: Arc::new(cache),
            key: self.key,
            request: request.map(Arc::new),
            answer: self.answer,
            access: self.access.finish(),
        }
    }
}

/// One thing that a rule sets.
pub(in crate::config) struct Setting {
    /// The key, as it stands in the documentation: `cache.keep`.
    key: String,
    /// Where its value stands in the file.
    span: Range<usize>,
    /// Whether it tells the origin something of its own.
    tells_origin: bool,
    /// The class that it puts requests into.
    class: Option<Class>,
    pub(in crate::config) apply: Apply<Terms>,
}

/// A rule, as what is made of it knows it.
pub(in crate::config) struct Finished {
    /// As the proxy shows it.
    pub(in crate::config) rule: proxy::Rule,
    /// Which requests it is for.
    pub(in crate::config) condition: Condition,
    /// How its settings are made.
    pub(in crate::config) apply: Vec<Apply<Terms>>,
    /// What it changes of requests, by the settings' keys, and whether that tells the origin
    /// something.
    pub(in crate::config) request_edits: Vec<(String, bool)>,
    /// The classes that it puts requests into.
    pub(in crate::config) classes: Vec<Class>,
}

/// The name of a class, and which of those with this name it is.
pub(in crate::config) type Class = (String, String);

impl std::fmt::Debug for Setting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Setting").field("key", &self.key).finish_non_exhaustive()
    }
}

impl Draft {
    /// The rule, of which `line` is the first one in `text`.
    pub(in crate::config) fn finish(self, text: &str, line: usize) -> Finished {
        let (mut written, mut apply) = (Vec::new(), Vec::new());
        let (mut request_edits, mut classes) = (Vec::new(), Vec::new());
        for setting in self.settings {
            let value = text.get(setting.span).unwrap_or_default().to_owned();
            if setting.key.starts_with("request.") {
                request_edits.push((setting.key.clone(), setting.tells_origin));
            }
            classes.extend(setting.class);
            written.push(proxy::Setting { key: setting.key, value });
            apply.push(setting.apply);
        }
        let rule =
            proxy::Rule { name: self.name, line, response: self.response, settings: written };
        let condition = Condition::All(self.conditions.into());
        Finished { rule, condition, apply, request_edits, classes }
    }
}

pub(in crate::config) const RULE: &[Key<Draft>] = keys! {
    "name" = Example("\"images\""), "A name for logs and explanations; else a rule is known by its line." => |draft, value| {
        draft.name = Some(value.formed(|| sketch::text("^[-_.A-Za-z0-9]{1,64}$"), rule_name)?);
        Ok(())
    };
    "match" = Example("{ path = \"/images/**\" }"), "Which requests it is for; everything in it has to hold. Left out: all of them." => |draft, value| {
        let mut matcher = Matcher::default();
        let table = value.table("write match = { path = \"/images/**\" }")?;
        fill("rule.match", &[MATCH], table, value.around(), &mut matcher)?;
        draft.conditions = matcher.conditions;
        Ok(())
    };
    "match_response" = Example("{ status = [200, 404] }"), "Which responses its settings are for, if not all to those requests. What is needed before there is a response can't depend on one: `key`, `access`, `redirect`, `respond`, `request`, and of `cache` what decides how the origin is asked (`enabled`, `lookup`, `collapse`, `wait`, `ranges`, `protect`, `request_directives`, `accept_encoding`, `normalize_accept_language`, `complete_partial_without_validator`, `compress` and its kin)." => |draft, value| {
        let mut matcher = ResponseMatcher::default();
        let table = value.table("write match_response = { status = [200, 404] }")?;
        fill("rule.match_response", &[RESPONSE], table, value.around(), &mut matcher)?;
        draft.response = Some(matcher.condition);
        Ok(())
    };
    "cache" = Example("{ default_lifetime = \"1h\" }"), "Keys of `[cache]`, but `memory`, `preallocate`, `optimise` and `max_variants`. Each of them is decided separately: the last rule that matches and sets it wins." => |draft, value| {
        draft.settings.extend(cache_settings(value)?);
        Ok(())
    };
    "key" = Example("{ drop_tracking = true }"), "What makes two requests ask for the same thing; see `[rule.key]`." => |draft, value| {
        let within = |apply: Apply<KeyRules>| -> Apply<Terms> {
            Arc::new(move |terms: &mut Terms| apply(&mut terms.key))
        };
        draft.settings.extend(settings("key", KEY, value, within)?);
        Ok(())
    };
    "class" = Example("{ login = \"yes\" }"), "Classes that requests are kept apart by, by names of your own: `class = { login = \"yes\" }` in a rule that matches by a session's cookie keeps what is made for those who are logged in from all others, without a copy for each of them. Every name is decided separately." => |draft, value| {
        draft.settings.extend(class::classes(value)?);
        Ok(())
    };
    "tags" = Example("{ add = [\"product:{path.2}\"] }"), "What responses can be purged by beside their URLs; see `[rule.tags]`." => |draft, value| {
        let within = |apply: Apply<TagRules>| -> Apply<Terms> {
            Arc::new(move |terms: &mut Terms| apply(Arc::make_mut(&mut terms.cache.rules.tags)))
        };
        draft.settings.extend(settings("tags", TAGS, value, within)?);
        Ok(())
    };
    "access" = Example("{ allow = [\"10.0.0.0/8\"] }"), "Who is let in, before anything is looked up or answered; see `[rule.access]`." => |draft, value| {
        let within = |apply: Apply<access::Draft>| -> Apply<Terms> {
            Arc::new(move |terms: &mut Terms| apply(&mut terms.access))
        };
        draft.settings.extend(settings("access", ACCESS, value, within)?);
        Ok(())
    };
    "redirect" = Example("{ to = \"https://www.example.com{path}\" }"), "Sends the client elsewhere, without an origin; see `[rule.redirect]`. It and `respond` are one setting: the last of them wins, and `\"off\"` takes it back." => |draft, value| {
        draft.settings.push(answer::redirect(value)?);
        Ok(())
    };
    "respond" = Example("{ status = 404, body = \"not here\" }"), "A fixed response, without an origin; see `[rule.respond]`." => |draft, value| {
        draft.settings.push(answer::respond(value)?);
        Ok(())
    };
    "request" = Example("{ remove = [\"x-debug\"] }"), "What is changed of requests on their way to the origin; see `[rule.request]`. Every field name is decided separately." => |draft, value| {
        draft.settings.extend(edits::edits("rule.request", REQUEST, value)?);
        Ok(())
    };
    "response" = Example("{ remove = [\"server\"] }"), "What is changed of responses on their way to the client; see `[rule.response]`. Every field name is decided separately." => |draft, value| {
        draft.settings.extend(edits::edits("rule.response", RESPONSE_EDITS, value)?);
        Ok(())
    };
};

/// What can wait for a response: what becomes of it, and what the client gets of it. All else is
/// asked before there is one, so that a rule on responses would say it in vain.
const AFTER_RESPONSE: [&str; 32] = [
    "cache.store",
    "cache.max_object_size",
    "cache.default_lifetime",
    "cache.lifetime",
    "cache.lifetimes",
    "cache.min_lifetime",
    "cache.max_lifetime",
    "cache.browser_ttl",
    "cache.jitter",
    "cache.early_refresh",
    "cache.heuristic",
    "cache.heuristic_fraction",
    "cache.heuristic_max",
    "cache.heuristic_error_statuses",
    "cache.negative",
    "cache.stale_while_revalidate",
    "cache.stale_if_error",
    "cache.stale_when_disconnected",
    "cache.keep",
    "cache.hit_for_miss",
    "cache.fill_grace",
    "cache.stall_timeout",
    "cache.window",
    "cache.targeted",
    "cache.surrogate_control",
    "cache.x_accel_expires",
    "cache.store_set_cookie",
    "cache.share_authorized",
    "cache.serve_forbidden_stale",
    "cache.no_vary_search",
    "cache.accept_short_partial",
    "cache.not_modified_without_last_modified",
];

/// Whether a rule on responses may set a key.
fn can_wait(key: &str) -> bool {
    ["tags.", "response."].iter().any(|table| key.starts_with(table))
        || AFTER_RESPONSE.contains(&key)
}

fn cache_settings(value: &Value<'_>) -> Checked<Vec<Setting>> {
    settings("cache", cache::RULES, value, |apply| {
        Arc::new(move |terms: &mut Terms| apply(&mut terms.cache))
    })
}

/// The keys of one table of a rule; `within` finds what they set among the terms.
fn settings<T>(
    section: &str,
    rows: &'static [Key<T>],
    value: &Value<'_>,
    within: impl Fn(Apply<T>) -> Apply<Terms>,
) -> Checked<Vec<Setting>> {
    let table = value.table(&format!("write [rule.{section}] below the rule"))?;
    if let Some(sketch) = value.around().sketch {
        let read = |row: &Key<T>, value: &Value<'_>| drop(row.read.map(|read| read(value)));
        sketch_table(sketch, &format!("rule.{section}"), &[rows], &mut { read });
        return Ok(Vec::new());
    }
    collect(table.iter().map(|(name, node)| {
        let key = name.get_ref();
        let row = rows.iter().find(|row| row.name == key.as_ref());
        let Some(read) = row.and_then(|row| row.read) else {
            let names: Vec<_> = rows.iter().map(|row| row.name).collect();
            let help = did_you_mean(key, &names)
                .unwrap_or_else(|| format!("its keys are: {}", names.join(", ")));
            let title = format!("[rule.{section}] has no key `{key}`");
            return Err(Fault::at(name.span(), title).label("unknown key").help(help).into());
        };
        let value = Value::new(node, value.around());
        let apply = within(read(&value)?);
        let key = format!("{section}.{key}");
        Ok(Setting { key, span: value.span(), tells_origin: false, class: None, apply })
    }))
}

/// What only the whole of a rule shows.
pub(in crate::config) fn contradictions(value: &Value<'_>, draft: &Draft) -> Vec<Fault> {
    let mut faults = Vec::new();
    if draft.settings.is_empty() {
        faults.push(
            Fault::at(value.span(), "this rule sets nothing")
                .help("write below it what it sets, like cache = { default_lifetime = \"1h\" }"),
        );
    }
    for (index, setting) in draft.settings.iter().enumerate() {
        if draft.settings[..index].iter().any(|earlier| earlier.key == setting.key) {
            let title = format!("`{}` is decided twice in one rule", setting.key);
            let fault = Fault::at(setting.span.clone(), title);
            faults.push(fault.help("leave one of them out, or write a rule for each"));
        }
    }
    if draft.response.is_some() {
        for setting in &draft.settings {
            if !can_wait(&setting.key) {
                let title =
                    format!("`{}` is decided before there is a response to match", setting.key);
                faults.push(
                    Fault::at(setting.span.clone(), title)
                        .help("move it to a rule without match_response"),
                );
            }
        }
    }
    faults
}

fn rule_name(text: &str) -> Result<String, Refused> {
    let well_named = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if text.len() > 64 || !text.bytes().all(well_named) {
        return Err(Refused::new(
            "this is not a name for a rule",
            "write letters, digits, `-`, `_` and `.`; 64 at most",
        ));
    }
    Ok(text.to_owned())
}
