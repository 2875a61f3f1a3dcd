//! `[[test]]`s, held against the rules and upstreams that they name.

use super::Compiler;
use crate::config::fault::Fault;
use crate::config::raw::Lines;
use crate::config::schema::did_you_mean;
use crate::config::sections::test::{self, Draft, Placed, STEP, TEST};
use crate::proxy::{Rule, Rules};
use crate::trial::{Case, Want};
use crate::upstream;

impl Compiler<'_> {
    pub(super) fn tests(&mut self, rules: &Rules, upstreams: &[upstream::Config]) -> Vec<Case> {
        let rules: Vec<_> = rules.list().iter().map(Rule::known_as).collect();
        let upstreams: Vec<_> = upstreams.iter().map(|upstream| upstream.name.clone()).collect();
        let lines = Lines::new(self.text);
        let mut cases = Vec::new();
        for value in self.array_of_tables("test") {
            let before = self.faults.len();
            let mut draft = Draft::default();
            self.fill("test", &[TEST, STEP], &value, &mut draft);
            if self.faults.len() > before {
                continue;
            }
            self.faults.extend(test::contradictions(&value, &draft));
            for expected in draft.expectations() {
                self.faults.extend(unknown_name(expected, &rules, &upstreams));
            }
            if self.faults.len() == before {
                cases.extend(draft.finish(&lines, &value));
            }
        }
        cases
    }
}

/// A name that stands nowhere else would fail whatever happens.
fn unknown_name(expected: &Placed, rules: &[String], upstreams: &[String]) -> Option<Fault> {
    let (what, known, name) = match &expected.want {
        Want::Rules(names) => ("rule", rules, names.iter().find(|name| !rules.contains(name))?),
        Want::OriginUpstream(name) if !upstreams.contains(name) => ("upstream", upstreams, name),
        _ => return None,
    };
    let names: Vec<_> = known.iter().map(String::as_str).collect();
    let help = did_you_mean(name, &names).unwrap_or_else(|| match names.len() {
        0 => format!("there is no {what} in this file"),
        _ => format!("the {what}s are: {}", names.join(", ")),
    });
    let fault = Fault::at(expected.span.clone(), format!("there is no {what} `{name}`"));
    Some(fault.label(format!("unknown {what}")).help(help))
}
