//! `[[rule]]`s, and how what they set is merged.

use super::Compiler;
use super::telling::Tellings;
use crate::cache::Config;
use crate::config::fault::Fault;
use crate::config::schema::Apply;
use crate::config::sections::{cache, rule};
use crate::proxy::{Compose, Rules, Terms};
use crate::rules::RuleSet;

/// Rules of one file. Far below what their numbers can count.
const MAX_RULES: usize = 10_000;

impl Compiler<'_> {
    pub(super) fn rules(&mut self, cache: &cache::Draft) -> Rules {
        let (mut list, mut conditions, mut settings) = (Vec::new(), Vec::new(), Vec::new());
        let mut tellings = Tellings::default();
        let values = self.array_of_tables("rule");
        if let Some(one_too_many) = values.get(MAX_RULES) {
            let title = format!("there are more than {MAX_RULES} rules");
            self.faults.push(Fault::at(one_too_many.span(), title).help("merge some of them"));
            return Rules::default();
        }
        for value in values {
            let before = self.faults.len();
            let mut draft = rule::Draft::default();
            self.fill("rule", &[rule::RULE], &value, &mut draft);
            if self.faults.len() > before {
                continue;
            }
            self.faults.extend(rule::contradictions(&value, &draft));
            let line = 1 + self.text[..value.span().start].matches('\n').count();
            let finished = draft.finish(self.text, line);
            tellings.add(&finished);
            let rule::Finished { rule, condition, apply, .. } = finished;
            list.push(rule);
            conditions.push(condition);
            settings.push(apply);
        }
        match RuleSet::new(conditions) {
            Ok(set) => Rules::new(set, list, Composer { cache: cache.clone(), settings, tellings }),
            Err(error) => {
                self.faults.push(
                    Fault::anywhere(None, error.to_string())
                        .help("write fewer or simpler patterns"),
                );
                Rules::default()
            }
        }
    }
}

/// Applies what rules set.
struct Composer {
    /// What the node's memory allows.
    cache: cache::Draft,
    /// By the rules' numbers.
    settings: Vec<Vec<Apply<rule::Terms>>>,
    tellings: Tellings,
}

impl std::fmt::Debug for Composer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Composer").field("rules", &self.settings.len()).finish_non_exhaustive()
    }
}

impl Compose for Composer {
    fn compose(&self, base: &Config, rules: &[u16]) -> Terms {
        let mut terms = rule::Terms::new(self.cache.over(base));
        let settings = rules.iter().filter_map(|rule| self.settings.get(usize::from(*rule)));
        for apply in settings.flatten() {
            apply(&mut terms);
        }
        let for_some = self.tellings.are_for_some(rules, terms.key());
        terms.finish(for_some)
    }
}
