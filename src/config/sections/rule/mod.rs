//! `[[rule]]`: which requests and responses it speaks of, and what it sets.

mod access;
mod answer;
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
use matching::Matcher;
pub(in crate::config) use matching::{
    FIELD, MATCH, METHOD, RESPONSE, headers, method, not_a_pattern,
};
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

    pub(in crate::config) fn finish(self) -> proxy::Terms {
        let mut cache = self.cache.finish();
        cache.edits = (!self.response.is_empty()).then(|| Arc::new(self.response));
        let request = (!self.request.is_empty()).then(|| self.request.keyed_by(&self.key));
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
    pub(in crate::config) apply: Apply<Terms>,
}

impl std::fmt::Debug for Setting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Setting").field("key", &self.key).finish_non_exhaustive()
    }
}

impl Draft {
    /// The rule as the proxy knows it, its condition, and how its settings are made.
    pub(in crate::config) fn finish(
        self,
        text: &str,
        line: usize,
    ) -> (proxy::Rule, Condition, Vec<Apply<Terms>>) {
        let (mut written, mut apply) = (Vec::new(), Vec::new());
        for setting in self.settings {
            let value = text.get(setting.span).unwrap_or_default().to_owned();
            written.push(proxy::Setting { key: setting.key, value });
            apply.push(setting.apply);
        }
        let rule =
            proxy::Rule { name: self.name, line, response: self.response, settings: written };
        (rule, Condition::All(self.conditions.into()), apply)
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
    "match_response" = Example("{ status = [200, 404] }"), "Which responses its settings are for, if not all to those requests. Settings that are needed before there is a response (`enabled`, `lookup`, `collapse`, `wait`, `request_directives`, `accept_encoding`, `compress` and its kin) can't depend on one." => |draft, value| {
        let mut response = ResponseCondition::default();
        let table = value.table("write match_response = { status = [200, 404] }")?;
        fill("rule.match_response", &[RESPONSE], table, value.around(), &mut response)?;
        draft.response = Some(response);
        Ok(())
    };
    "cache" = Example("{ default_lifetime = \"1h\" }"), "Keys of `[cache]`, but `memory` and `max_variants`. Each of them is decided separately: the last rule that matches and sets it wins." => |draft, value| {
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

/// Keys that are read before there is a response.
const BEFORE_RESPONSE: [&str; 10] = [
    "enabled",
    "lookup",
    "collapse",
    "wait",
    "request_directives",
    "accept_encoding",
    "compress",
    "compress_levels",
    "compress_min_size",
    "compress_types",
];

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
        Ok(Setting { key: format!("{section}.{key}"), span: value.span(), apply })
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
            let key = setting.key.strip_prefix("cache.");
            let waits = ["tags.", "response."].iter().any(|it| setting.key.starts_with(it));
            if !waits && key.is_none_or(|key| BEFORE_RESPONSE.contains(&key)) {
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
